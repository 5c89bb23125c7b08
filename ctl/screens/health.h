/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * health.h - what can be read and written with the nodes that are up: computed from the partition
 * table. Pure. While data moves (a joint table) owners alone are read from, and a write must reach
 * enough of them and of those that are to own it. */
#ifndef KITH_CTL_HEALTH_H
#define KITH_CTL_HEALTH_H

#include <stdbool.h>

#include "data/table.h"

/* Who answers, and whom each of these holds for up. */
struct kith_reach {
    uint32_t count;    /* members of the table */
    const bool *up;    /* [count] */
    const bool *hears; /* [count * count], row: the one that says it; NULL: all hear all */
    const bool *reads; /* [count] those that are up and answer reads; NULL: all that are up */
};

struct kith_partition_health {
    uint32_t up;   /* owners */
    bool readable; /* R of them are, and answer reads */
    bool writable; /* one of them that is up hears W - 1 others that are, and W next owners */
};

struct kith_health {
    uint32_t quorum; /* R = W: a majority of the owners */
    uint32_t partitions;
    uint32_t unreadable; /* partitions */
    uint32_t unwritable;
    uint32_t ownerless; /* without any owner that is up: among the unreadable */
    uint32_t thin;      /* with fewer owners up than they have */
};

struct kith_partition_health kith_partition_health(const struct kith_table *table,
                                                   uint32_t partition,
                                                   const struct kith_reach *reach);
struct kith_health kith_health_of(const struct kith_table *table, const struct kith_reach *reach);

#endif
