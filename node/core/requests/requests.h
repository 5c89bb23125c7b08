/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * requests.h - what others ask of this node: puts, reads, chunks, orders. Part of internal.h. One thread. */
#ifndef KITH_CORE_REQUESTS_H
#define KITH_CORE_REQUESTS_H

#include "core/pending.h"

struct kith_node;

void put_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
enum kith_err put_stored(struct kith_node *node, struct pending *pending,
                         const struct kith_store_done *done);
enum kith_err put_found(struct kith_node *node, struct pending *pending, uint16_t peer,
                        const struct kith_msg *msg);
void put_replicated(struct kith_node *node, struct pending *pending, uint16_t peer,
                    const struct kith_replicate_res *res);
void put_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
void put_recheck(struct kith_node *node, struct pending *pending);
/* Another table is in use: those under way count their copies by the one before, and end. */
void put_table_changed(struct kith_node *node);
void put_expire(struct kith_node *node, struct pending *pending);
/* put.c, for put_spread.c */
void put_answer_ok(struct kith_node *node, struct pending *pending);
uint32_t put_timeout(const struct kith_node *node, uint32_t asked);
/* The place of a peer whose answer is due; -1. */
int put_other(const struct pending_put *put, uint16_t peer);
const char *put_down_names(struct kith_node *node, const struct pending_put *put);
/* put_spread.c */
/* How many copies are wanted beside those at `places` (a mask; what counts alone) and, where `own`,
 * ours. */
uint32_t put_lacks(const struct kith_node *node, const struct pending_put *put, uint32_t places,
                   bool own);
/* Our own store has it at `os`: copies go out. ENOMEM: nothing has happened. */
enum kith_err put_stored_os(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done);
/* The completion of a REREAD or NOTE. */
enum kith_err put_again_stored(struct kith_node *node, struct pending *pending,
                               const struct kith_store_done *done);
/* After a change of copies, of those who are waited for, or of time: answers when the outcome is
 * known, and sees to more copies. */
void put_progress(struct kith_node *node, struct pending *pending);
/* Whether it was begun under another table than the one in use. */
bool put_outdated(const struct kith_node *node, const struct pending_put *put);
/* How many nodes could stand in, `most` at most. */
uint32_t put_stand_ins_up(const struct kith_node *node, const struct pending_put *put,
                          uint32_t partition, uint32_t most);
/* Places for nodes that may have stood in for the first try. */
/* Whether a copy may go there: it is up, and takes such a write. */
bool put_takes(const struct kith_node *node, const struct pending_put *put, uint16_t peer);
void put_add_fallbacks(const struct kith_node *node, struct pending_put *put, uint32_t partition);
/* In the pending's arena: what our own store keeps for the owners; NULL: no memory. */
const struct kith_hint_want *put_hint_want(struct kith_node *node, struct pending *pending,
                                           uint32_t partition);

void replicate_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void replicate_stored(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done);
void get_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void scan_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void groups_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void find_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void sums_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void leaf_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void chunk_list_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void read_stored(struct kith_node *node, struct pending *pending,
                 const struct kith_store_done *done);
void repair_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
enum kith_err repair_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                         const struct kith_get_res *res);
void repair_stored(struct kith_node *node, struct pending *pending);
void repair_end(struct kith_node *node, struct pending *pending);
void chunk_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void chunk_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
/* lease.c: its leases are there, or (err) cannot be had. */
void chunk_leased(struct kith_node *node, struct pending *pending, enum kith_err err,
                  const char *message);
void put_leased(struct kith_node *node, struct pending *pending, enum kith_err err,
                const char *message);
/* Takes what was leased to what was before. ENOMEM. */
enum kith_err leases_add(struct kith_arena *arena, struct pending_leases *leases, uint32_t count,
                         const struct kith_chunk_id *ids);
struct kith_refs_rule leases_rule(const struct kith_node *node,
                                  const struct pending_leases *leases);
/* repair_cmd.c */
void repair_cmd(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void repair_answer(struct kith_node *node, const struct pending *pending,
                   const struct kith_store_counts *counts);
void status_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void explain_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void status_stored(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done);

#endif
