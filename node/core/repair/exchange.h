/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange.h - anti-entropy: exchange.c, and of rows exchange_rows.c, of chunks exchange_chunks.c. Part of
 * internal.h. One thread. */
#ifndef KITH_CORE_EXCHANGE_H
#define KITH_CORE_EXCHANGE_H

#include "core/pending.h"

struct kith_node;

struct exchange_pair { /* a partition of ours, and another owner of it */
    uint32_t partition;
    uint16_t peer;
    bool out;       /* an exchange is under way */
    bool again;     /* at once after the one that is under way */
    bool tell;      /* the other owner is told to ask us, too */
    bool first;     /* it comes before all others */
    bool weak;      /* when it was asked last, the other owner had lost some of it himself */
    bool suspected; /* leaves have differed: */
    struct kith_leaf_set suspects;
    struct kith_leaf_set looked; /* those that were fetched since they were first suspected */
    struct kith_leaf_set same;   /* where the store is aged: those that were the same once */
    uint64_t due_ms;
    uint64_t ended_ms; /* the last one; 0: none yet */
    uint64_t brought, bytes; /* rows, or chunks, since `round_ms` */
    uint64_t tree_bytes;     /* sums and hashes that were exchanged to find them */
    uint64_t whole_ms; /* the last one that was carried through; 0: none yet */
};

enum exchange_class { EXCHANGE_ROWS, EXCHANGE_CHUNKS, EXCHANGE_CLASSES };

struct exchanges {
    bool made; /* the pairs are those of the table */
    bool first;                  /* some of the pairs may be */
    uint32_t own_count;          /* pairs with other owners, of each class; behind them guests */
    uint32_t pair_count;         /* of each class, both */
    uint32_t rows_left;          /* pairs of rows that were never carried through */
    struct exchange_pair *pairs; /* those of rows, then those of chunks */
    uint32_t next[EXCHANGE_CLASSES]; /* the pair of each class to look at */
    uint32_t out[EXCHANGE_CLASSES];  /* under way */
    uint32_t fetches;                /* chunks that are being fetched */
    uint64_t due_ms;
    uint64_t gap_ms; /* while the node is busy none begins before */
    uint64_t taken[EXCHANGE_CLASSES]; /* since it said so last */
    uint64_t damaged;    /* rows and chunks found so, since the start */
    uint64_t round_ms;   /* when all pairs began to be compared */
    bool stopped;        /* by an administrator */
    uint32_t tells;      /* of this step */
};

/* ---- The side that wants to catch up: exchange.c ---- */

void exchange_release(struct kith_node *node);
/* Another table is in use: other pairs. */
void exchange_table_changed(struct kith_node *node);
void exchange_peer_up(struct kith_node *node, uint16_t peer);
/* A pair with a former owner of a partition of ours, in that place; whether it was compared to the
 * end; whether nothing of it is under way. */
void exchange_guest_set(struct kith_node *node, uint32_t guest, uint32_t partition, uint16_t peer);
bool exchange_guest_whole(const struct kith_node *node, uint32_t guest);
bool exchange_guest_rests(const struct kith_node *node, uint32_t guest);
/* A chunk of the partition was put here, and not on all owners: they are told to look for it. */
void exchange_thin(struct kith_node *node, uint32_t partition);
/* A chunk of the partition that a client has put is not here. It may be on its way; else it comes from
 * the other owners. */
void exchange_late(struct kith_node *node, uint32_t partition);
/* The peer has something of the partition that may be missing here. */
void exchange_hurry(struct kith_node *node, uint32_t partition, uint16_t peer, bool chunks);
/* So many rows or chunks of the partition were damaged here, and are missing now. */
void exchange_damaged(struct kith_node *node, uint32_t partition, uint32_t count);
/* An exchange or a fetch. */
void exchange_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
/* The peer's bulk connection is there; it could not be opened, or has ended. */
void exchange_bulk_up(struct kith_node *node, uint16_t peer);
void exchange_bulk_down(struct kith_node *node, uint16_t peer);
/* SUMS_RES, LEAF_RES or CHUNK_LIST_RES of that peer. */
void exchange_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                  const struct kith_msg *msg);
void exchange_stored(struct kith_node *node, struct pending *pending,
                     const struct kith_store_done *done);
/* Goes on with what one step could not do. */
void exchange_recheck(struct kith_node *node, struct pending *pending);
/* The pair is due again after so long; 0: with all others. */
void exchange_end(struct kith_node *node, struct pending *pending, uint64_t again_ms);
/* What one has brought. */
void exchange_brought(struct kith_node *node, struct pending *pending, uint64_t count,
                      uint64_t bytes);
/* Whether all that the other owners had when this node started, or since, is here: its rows are none of
 * an old copy of its disk any more, and it can be told what they refer to. */
bool exchange_caught_up(const struct kith_node *node);
/* The store has become an aged one (aged.h): none of its leaves is known to be the same elsewhere. */
void exchange_aged(struct kith_node *node);
/* Whether each leaf was since. */
bool exchange_same(const struct exchange_pair *pair);
/* All pairs are due; or none is compared any more. */
void exchange_start(struct kith_node *node);
void exchange_stop(struct kith_node *node);
void exchange_tick(struct kith_node *node);
uint64_t exchange_due(const struct kith_node *node);

/* ---- What the files of anti-entropy share ---- */

/* exchange.c */
struct exchange_pair *exchange_pair_of(struct kith_node *node, const struct pending *pending);
/* A message to the other owner; NULL, and the exchange has ended: he is down. */
struct kith_msg *exchange_ask(struct kith_node *node, struct pending *pending,
                              enum kith_msg_kind kind);
/* The leaves from `leaf` on that are wanted, and before `end`. */
struct kith_leaf_set exchange_wanted(const struct pending_exchange *exchange, uint32_t end);
/* Whether it is to begin no further page: it has ended (all leaves are done, or its slice is over),
 * or waits until it may move more (exchange_recheck). Else `leaf` is one that is wanted. */
bool exchange_rests(struct kith_node *node, struct pending *pending);
/* Looked at again after so long. */
void exchange_pause(struct kith_node *node, struct pending *pending, uint64_t ms);
/* What clients wait for goes first. */
bool exchange_busy(const struct kith_node *node);
/* exchange_rows.c */
void exchange_rows_next(struct kith_node *node, struct pending *pending);
void exchange_rows_stored(struct kith_node *node, struct pending *pending,
                          const struct kith_store_done *done);
void exchange_rows_got(struct kith_node *node, struct pending *pending,
                       const struct kith_leaf_res *res);
void exchange_rows_recheck(struct kith_node *node, struct pending *pending);
bool exchange_rows_tell(struct kith_node *node, struct pending_exchange *exchange);
/* exchange_chunks.c */
void exchange_chunks_next(struct kith_node *node, struct pending *pending);
void exchange_chunks_stored(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done);
void exchange_chunks_got(struct kith_node *node, struct pending *pending,
                         const struct kith_chunk_list_res *res);
void exchange_chunks_recheck(struct kith_node *node, struct pending *pending);
void fetch_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_chunk_res *res);
void fetch_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
void fetch_expire(struct kith_node *node, struct pending *pending);
void fetch_lost(struct kith_node *node, struct pending *pending);

#endif
