/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tables.h - the partition table in use (tables.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_TABLES_H
#define KITH_CORE_TABLES_H

#include "core/conns.h"

struct kith_node;

/* Takes over `table`; used once it is on disk. Nothing where it is not newer. */
void table_learn(struct kith_node *node, struct kith_bytes encoded);
enum kith_err table_use(struct kith_node *node, struct kith_table *table,
                        struct kith_bytes encoded);
void table_ask(struct kith_node *node, uint64_t conn);
void table_ask_anyone(struct kith_node *node);
/* Tells clients of the table in use, some in each tick. */
void table_tell(struct kith_node *node);
uint64_t table_tell_due(const struct kith_node *node);
/* Logs, once, that this node is no member any more, and what to do then. */
void table_stranger(struct kith_node *node);
void table_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void table_res(struct kith_node *node, const struct kith_msg *msg);
/* Whether one table is decided and in use here, as far as this node knows, and none about to be. That
 * others have it too, who asks them learns. */
bool table_settled(const struct kith_node *node);
enum table_verdict { TABLE_FITS, TABLE_STALE, TABLE_AHEAD, TABLE_NOT_OURS, TABLE_NONE };
/* How the table that a request names stands to ours, and whether we own the partition. */
enum table_verdict table_check(const struct kith_node *node, const struct kith_table_id *named,
                               uint32_t partition);
/* Answers what does not fit; true where the request may go on. */
bool table_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                 const struct kith_table_id *named, uint32_t partition);
/* The same for what those take and answer as well who are to own the partition next. */
bool table_admit_holder(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                        const struct kith_table_id *named, uint32_t partition);
/* Whether this node takes and answers what is of the partition: as an owner, or the next one. */
bool table_holds(const struct kith_node *node, uint32_t partition);

#endif
