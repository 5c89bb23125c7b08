/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * agree.h - table changes, a member's side (agree.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_AGREE_H
#define KITH_CORE_AGREE_H

#include "core/pending.h"

struct kith_node;

bool join_frozen(const struct kith_node *node); /* a table change is being decided: no writes */
void agree_join_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void agree_decide(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
void agree_counted(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done);
void agree_table_used(struct kith_node *node);
/* Proposes a table that may follow ours although there is data (kith_table_follows). EBUSY, ENOMEM. */
enum kith_err agree_propose(struct kith_node *node, const struct kith_table *next,
                            uint64_t timeout_ms);
/* The table that an administrator wants. */
void agree_plan_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void agree_tick(struct kith_node *node);
uint64_t agree_due(struct kith_node *node);

#endif
