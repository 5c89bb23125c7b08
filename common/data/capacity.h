/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * capacity.h - what users have stored in a cluster, and what they can store yet. Pure.
 *
 * A write of D bytes lands with each node in proportion to its SHARE: the partitions that it holds,
 * of all. The shares of all nodes add up to N. So
 *
 *     stored = what all nodes hold / N           free = the least of (a disk's room / its share)
 *
 * over the disks, not the nodes: nodes may lie on one disk, and its share is the sum of theirs. The
 * fullest disk for its share ends it for all, as it does for Ceph (PGMap::get_rule_avail) and Garage
 * (garage stats): a sum over the nodes would promise what the partitions' places do not allow. What
 * the zones and weights are has its effect on the table, and by that on the shares.
 *
 * - A node's room ends where it takes no values any more (node/core/space.h), not where its disk
 *   does. Where it has come to that, other nodes stand in for it: it is left out, and the rest have
 *   its share, in proportion to theirs, up to one copy of everything each. When there is no other,
 *   nothing is free.
 * - A node that is away counts with what it said last. One that was never heard is taken to be like
 *   the others, share for share, which changes none of the two results.
 * - While a table moves data, what is written goes to the next owners as well: their partitions
 *   count in the shares that bound what is free; for what is stored the owners alone do. */
#ifndef KITH_DATA_CAPACITY_H
#define KITH_DATA_CAPACITY_H

#include "data/table.h"

/* What a node says of itself (kith_node_status in wire/msg.h). */
struct kith_capacity_node {
    struct kith_uuid node;
    uint64_t seen;       /* when it said so, by any clock: of one disk the latest word counts */
    bool full;           /* takes no values */
    uint64_t disk;       /* nodes with one number share a disk; 0: it has one of its own */
    uint64_t room_bytes; /* what values may take yet of its disk */
    uint64_t data_bytes; /* of rows and chunks, held */
    uint64_t rows;
};

struct kith_capacity {
    uint64_t stored_bytes, free_bytes; /* as users count: a byte once, not N times */
    uint64_t rows;                     /* stored, once each */
};

/* nodes: members of the table, each once, in any order; others are passed over. Whoever is missing
 * was never heard. ENOTFOUND: no member that holds anything was heard. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_capacity_of(const struct kith_table *table,
                                               const struct kith_capacity_node *nodes,
                                               uint32_t count, struct kith_capacity *ret_capacity);

#endif
