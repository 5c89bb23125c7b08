/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * balance.h - computes the next partition table from the last one.
 *
 * Deterministic: the same inputs give the same table on every machine. Targets are in proportion
 * to weight ("water-filled": nobody owns a partition twice, a zone gets at most ceil(slots /
 * zones) copies of one); then single moves from the most over- to the most underloaded member,
 * while distinct owners and the spread over zones hold (invariant 6: only the joiner's or leaver's
 * share moves). DESIGN section 4. Integer arithmetic only, so that compilers cannot disagree.
 * Checked by tests/unit/test_balance.c. */
#ifndef KITH_DATA_BALANCE_H
#define KITH_DATA_BALANCE_H

#include "data/table.h"

/* The table after `last` (version + 1, same epoch, partitions and replicas) for these members;
 * `last` may be NULL: then a first table (epoch 1, version 1) with `partitions` and `replicas` is
 * made. EINVAL as kith_table_new; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_balance(const struct kith_table *last,
                                           const struct kith_uuid *cluster, uint32_t partitions,
                                           uint32_t replicas, const struct kith_member *members,
                                           uint32_t member_count, struct kith_table **ret_table);

/* How many (partition, owner) pairs of `next` are not in `last`: what has to be copied. */
uint32_t kith_balance_moves(const struct kith_table *last, const struct kith_table *next);

#endif
