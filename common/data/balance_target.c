/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * balance_target.c - how many partitions each member should own.
 *
 * Zones: each may have at most `cap` copies of a partition, where the caps are the smallest equal
 * ones (a zone of few members has fewer) that leave room for all slots; and where there are not
 * more zones than slots each must have one copy. So a partition lies in as many zones as there
 * are.
 *
 * Members: t = min(Q, level * weight), the level being the one at which all slots are given out,
 * while the sum of a zone stays within its bounds ("water-filling"). Fixed point with 32
 * fractional bits; then rounded so that the sums are exact, in favour of those that own more
 * already: a change of rounding alone must not move data. Each such target can be met exactly:
 * owners are an integral flow partition -> zone -> member, of which t / Q everywhere is a
 * fractional one. */
#include <string.h>

#include "base/assert.h"
#include "data/balance_internal.h"

#define FRACTION_BITS 32

/* floor(level * weight), at most full; level and the result in fixed point. */
static uint64_t share(uint64_t level, uint32_t weight, uint64_t full)
{
    return level >= full / weight + 1 ? full : (level * weight < full ? level * weight : full);
}

static uint64_t zone_sum(const struct kith_plan *plan, const struct kith_member *members,
                         uint32_t zone, uint64_t level)
{
    uint64_t full = (uint64_t)plan->partitions << FRACTION_BITS;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->zone[i] == zone) {
            sum += share(level, members[i].weight, full);
        }
    }
    return sum;
}

/* What all zones get at a level, each within its bounds; per_zone may be NULL. */
static uint64_t total_sum(const struct kith_plan *plan, const struct kith_member *members,
                          uint64_t level, uint64_t *per_zone)
{
    uint64_t full = (uint64_t)plan->partitions << FRACTION_BITS;
    uint64_t sum[KITH_MEMBERS_MAX] = {0};
    uint64_t total = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        sum[plan->zone[i]] += share(level, members[i].weight, full);
    }
    for (uint32_t z = 0; z < plan->zones; z++) {
        uint64_t low = full * plan->floor;
        uint64_t high = full * plan->cap[z];
        sum[z] = sum[z] < low ? low : sum[z] > high ? high : sum[z];
        total += sum[z];
    }
    if (per_zone) {
        memcpy(per_zone, sum, plan->zones * sizeof(sum[0]));
    }
    return total;
}

static void caps_set(struct kith_plan *plan)
{
    uint32_t size[KITH_MEMBERS_MAX] = {0};
    for (uint32_t i = 0; i < plan->count; i++) {
        size[plan->zone[i]]++;
    }
    uint32_t room = 0;
    for (uint32_t cap = 1; room < plan->slots; cap++) {
        room = 0;
        for (uint32_t z = 0; z < plan->zones; z++) {
            plan->cap[z] = size[z] < cap ? size[z] : cap;
            room += plan->cap[z];
        }
    }
    plan->floor = plan->zones <= plan->slots ? 1 : 0;
}

struct rounding {
    uint64_t exact; /* fixed point */
    uint32_t held;  /* what is owned now */
    uint32_t high;  /* the result's bound */
};

/* Whether a comes before b among those that are rounded up. */
static bool round_before(const struct rounding *a, const struct rounding *b)
{
    const uint64_t fraction = (UINT64_C(1) << FRACTION_BITS) - 1;
    bool a_holds = a->held > a->exact >> FRACTION_BITS;
    bool b_holds = b->held > b->exact >> FRACTION_BITS;
    if (a_holds != b_holds) {
        return a_holds;
    }
    return (a->exact & fraction) > (b->exact & fraction);
}

/* result[i] = exact[i] rounded down or up, so that the sum is `total`. */
static void round_to(const struct rounding *values, uint32_t count, uint64_t total,
                     uint32_t *result)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        result[i] = (uint32_t)(values[i].exact >> FRACTION_BITS);
        sum += result[i];
    }
    while (sum < total) {
        uint32_t best = count;
        for (uint32_t i = 0; i < count; i++) {
            if (result[i] > values[i].exact >> FRACTION_BITS || result[i] >= values[i].high) {
                continue; /* rounded up already, or full */
            }
            if (best == count || round_before(&values[i], &values[best])) {
                best = i;
            }
        }
        KITH_ASSERT(best < count); /* less than one each is missing, by the choice of the level */
        result[best]++;
        sum++;
    }
}

/* The targets of one zone's members, together `total`. */
static void zone_targets(struct kith_plan *plan, const struct kith_member *members, uint32_t zone,
                         uint32_t total)
{
    uint64_t full = (uint64_t)plan->partitions << FRACTION_BITS;
    uint64_t low = 0;
    uint64_t high = full + 1; /* a weight is at least 1: there everybody is full */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (zone_sum(plan, members, zone, middle) <= (uint64_t)total << FRACTION_BITS) {
            low = middle;
        } else {
            high = middle;
        }
    }
    struct rounding values[KITH_MEMBERS_MAX];
    uint32_t result[KITH_MEMBERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->zone[i] == zone) {
            struct rounding value = {share(low, members[i].weight, full), plan->load[i],
                                     plan->partitions};
            values[count++] = value;
        }
    }
    round_to(values, count, total, result);
    count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->zone[i] == zone) {
            plan->target[i] = result[count++];
        }
    }
}

void kith_balance_targets(struct kith_plan *plan, const struct kith_member *members)
{
    caps_set(plan);
    uint64_t wanted = (uint64_t)plan->partitions * plan->slots;
    uint64_t low = 0;
    uint64_t high = ((uint64_t)plan->partitions << FRACTION_BITS) + 1;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (total_sum(plan, members, middle, NULL) <= wanted << FRACTION_BITS) {
            low = middle;
        } else {
            high = middle;
        }
    }
    uint64_t per_zone[KITH_MEMBERS_MAX];
    (void)total_sum(plan, members, low, per_zone);
    struct rounding values[KITH_MEMBERS_MAX];
    uint32_t zone_total[KITH_MEMBERS_MAX];
    for (uint32_t z = 0; z < plan->zones; z++) {
        struct rounding value = {per_zone[z], 0, plan->partitions * plan->cap[z]};
        values[z] = value;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        values[plan->zone[i]].held += plan->load[i];
    }
    round_to(values, plan->zones, wanted, zone_total);
    for (uint32_t z = 0; z < plan->zones; z++) {
        zone_targets(plan, members, z, zone_total[z]);
    }
}
