/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * scrub.h - reads everything that is here once in a while (scrub.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_SCRUB_H
#define KITH_CORE_SCRUB_H

#include "core/pending.h"
#include "core/repair/pace.h"

struct kith_node;

struct scrub {
    uint64_t period_ms; /* of a pass; 0: only when asked for */
    struct pace pace;
    bool asked;         /* a pass is to be as fast as it may */
    bool anew;          /* it has begun; an operation that is out is of the one before */
    bool out;           /* an operation is */
    bool rested;        /* it has waited before what comes next */
    /* where it is */
    uint32_t partition, leaf;
    bool chunks, has_after;
    struct kith_chunk_id after;
    uint32_t left;    /* partitions of this pass, this one included */
    uint64_t slot_ms; /* when the partition's rows, or chunks, were begun */
    uint64_t due_ms;
    uint64_t saved_ms;
    /* of this pass */
    uint64_t begun_wall_ms, rows, chunk_count, bytes, damaged, wrong;
    uint64_t ended_wall_ms; /* the last one; 0: none yet */
    uint64_t ended_damaged; /* what that found */
};

/* From the record where the last run of the daemon was; empty: none. `rate` as pace_set has it. */
void scrub_load(struct kith_node *node, uint64_t period_ms, uint64_t rate,
                struct kith_bytes record);
/* A pass from here on, as fast as it may; or no longer so. */
void scrub_ask(struct kith_node *node, bool begin);
void scrub_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
void scrub_tick(struct kith_node *node);
uint64_t scrub_due(const struct kith_node *node);

#endif
