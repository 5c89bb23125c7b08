/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * balance_order.c - who is asked first.
 *
 * Slot 0 of a partition is asked first and coordinates puts, slot 1 is the second of a read
 * quorum; so each member should stand in slot s in proportion to what it owns. Slot by slot: of
 * the pairs not yet placed a member owns L; it should be in this slot floor(L / slots left) or
 * ceil(...) times. Exchanges along shortest augmenting paths (a gives its place in one partition
 * to c, c in another to b) get there, since L / slots left everywhere is a fractional solution.
 * Order moves no data. */
#include "base/assert.h"
#include "data/balance_internal.h"

#define PATH_START  0xfffeu
#define NOT_REACHED 0xffffu

struct order {
    struct kith_plan *plan;
    uint32_t slot;  /* being placed */
    uint32_t *left; /* [count] pairs in this slot or later ones */
    uint32_t *here; /* [count] pairs in this slot */
};

static uint32_t low_bound(const struct order *order, uint32_t member)
{
    return order->left[member] / (order->plan->slots - order->slot);
}

static uint32_t high_bound(const struct order *order, uint32_t member)
{
    uint32_t left = order->plan->slots - order->slot;
    return (order->left[member] + left - 1) / left;
}

/* Puts `to` into the slot and the one that was there into his place. */
static void exchange(struct order *order, uint32_t partition, uint16_t to)
{
    struct kith_plan *plan = order->plan;
    uint16_t *owners = kith_plan_owners(plan, partition);
    uint32_t from_slot = kith_plan_slot(owners, plan->slots, to);
    KITH_ASSERT(from_slot > order->slot && from_slot < plan->slots);
    order->here[owners[order->slot]]--;
    order->here[to]++;
    owners[from_slot] = owners[order->slot];
    owners[order->slot] = to;
}

/* Where a path may begin and end: first from those above their bounds to anyone who may take one
 * more, then from anyone who can spare one to those below. */
static bool is_start(const struct order *order, uint32_t member, bool over)
{
    return over ? order->here[member] > high_bound(order, member)
                : order->here[member] > low_bound(order, member);
}

static bool is_end(const struct order *order, uint32_t member, bool over)
{
    return over ? order->here[member] < high_bound(order, member)
                : order->here[member] < low_bound(order, member);
}

/* One shortest path; false: none is left. */
static bool path_exchange(struct order *order, bool over)
{
    struct kith_plan *plan = order->plan;
    uint32_t queued = 0;
    bool wanted = false;
    for (uint32_t m = 0; m < plan->count; m++) {
        bool start = is_start(order, m, over);
        wanted |= over ? start : is_end(order, m, over);
        plan->via[m] = start ? PATH_START : NOT_REACHED;
        if (start) {
            plan->queue[queued++] = (uint16_t)m;
        }
    }
    for (uint32_t at = 0; wanted && at < queued; at++) {
        uint16_t member = plan->queue[at];
        for (uint32_t p = 0; p < plan->partitions; p++) {
            const uint16_t *owners = kith_plan_owners(plan, p);
            if (owners[order->slot] != member) {
                continue;
            }
            for (uint32_t i = order->slot + 1; i < plan->slots; i++) {
                uint16_t to = owners[i];
                if (plan->via[to] != NOT_REACHED) {
                    continue;
                }
                plan->via[to] = member;
                plan->through[to] = p;
                plan->queue[queued++] = to;
                if (!is_end(order, to, over)) {
                    continue;
                }
                while (plan->via[to] != PATH_START) {
                    exchange(order, plan->through[to], to);
                    to = plan->via[to];
                }
                return true;
            }
        }
    }
    return false;
}

/* Most of the way: in each partition the place goes to who lacks it most. */
static void greedy(struct order *order)
{
    struct kith_plan *plan = order->plan;
    for (uint32_t p = 0; p < plan->partitions; p++) {
        const uint16_t *owners = kith_plan_owners(plan, p);
        uint16_t first = owners[order->slot];
        if (order->here[first] <= high_bound(order, first)) {
            continue;
        }
        uint16_t best = KITH_NO_MEMBER;
        int64_t most = 0;
        for (uint32_t i = order->slot + 1; i < plan->slots; i++) {
            int64_t lack = (int64_t)high_bound(order, owners[i]) - (int64_t)order->here[owners[i]];
            if (lack > most) {
                most = lack;
                best = owners[i];
            }
        }
        if (best != KITH_NO_MEMBER) {
            exchange(order, p, best);
        }
    }
}

void kith_balance_order(struct kith_plan *plan)
{
    uint32_t left[KITH_MEMBERS_MAX];
    uint32_t here[KITH_MEMBERS_MAX];
    struct order order = {plan, 0, left, here};
    for (uint32_t m = 0; m < plan->count; m++) {
        left[m] = plan->load[m];
    }
    for (; order.slot + 1 < plan->slots; order.slot++) {
        for (uint32_t m = 0; m < plan->count; m++) {
            here[m] = 0;
        }
        for (uint32_t p = 0; p < plan->partitions; p++) {
            here[kith_plan_owners(plan, p)[order.slot]]++;
        }
        greedy(&order);
        while (path_exchange(&order, true) || path_exchange(&order, false)) {
            /* each brings one member nearer to its bounds */
        }
        for (uint32_t m = 0; m < plan->count; m++) {
            left[m] -= here[m];
        }
    }
}
