/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * balance_internal.h - what the parts of the balancer share: the plan in the making.
 *
 * balance_target.c says how many partitions each member should own, balance.c moves owners until
 * it is so, balance_order.c puts each partition's owners into an even order of preference. */
#ifndef KITH_DATA_BALANCE_INTERNAL_H
#define KITH_DATA_BALANCE_INTERNAL_H

#include "data/balance.h"

struct kith_plan {
    uint32_t partitions;
    uint32_t slots;    /* owners of a partition */
    uint32_t count;    /* members */
    uint32_t zones;    /* distinct ones */
    uint32_t floor;    /* copies of a partition that each zone must have: 1 or 0 */
    uint32_t *cap;     /* [zones] copies of a partition that a zone may have */
    uint16_t *zone;    /* [count] */
    uint32_t *load;    /* [count] partitions owned now */
    uint32_t *target;  /* [count] to be owned; their sum is partitions * slots */
    uint16_t *owners;  /* [partitions][slots]; KITH_NO_MEMBER = still to be filled */
    uint16_t *before;  /* the same from the last table, members as numbered here */
    uint16_t *via;     /* [count] search: the member that the path comes from */
    uint32_t *through; /* [count] search: the partition in which it gets here */
    uint16_t *queue;   /* [count] search */
};

static inline uint16_t *kith_plan_owners(const struct kith_plan *plan, uint32_t partition)
{
    return plan->owners + (size_t)partition * plan->slots;
}

/* The slot of `member` in the `slots` owners, or `slots`. */
static inline uint32_t kith_plan_slot(const uint16_t *owners, uint32_t slots, uint16_t member)
{
    uint32_t slot = 0;
    while (slot < slots && owners[slot] != member) {
        slot++;
    }
    return slot;
}

/* Sets floor and cap from zone, then target from weights; wants load to be that of the last table,
 * so that rounding follows what members own already. */
void kith_balance_targets(struct kith_plan *plan, const struct kith_member *members);

/* Orders each partition's owners (none missing) so that every member is in each slot in proportion
 * to what it owns; changes the order that is there as little as that needs. */
void kith_balance_order(struct kith_plan *plan);

#endif
