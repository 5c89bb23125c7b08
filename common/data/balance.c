/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * balance.c - moves owners until each member owns what it should.
 *
 * 1. The last table's owners are carried over; those of members that left leave holes. Where the
 *    zones' bounds have changed, copies that break them give way to holes.
 * 2. Holes are filled with the member that is furthest below its target and may stand there.
 * 3. Single moves from the most over- to the most underloaded member, at most one in a partition
 *    in each round, until no direct one is left.
 * 4. What remains goes along paths of moves (a -> c in one partition, c -> b in another): the
 *    shortest augmenting path of the flow partition -> zone -> member. Paths that shift only what
 *    was moved in this plan anyhow come first, for they cost no data. By the choice of the targets
 *    a path always exists as long as somebody is over his target. A shortest path never meets a
 *    partition twice in such a way that the two moves disturb each other: it could be cut short. */
#include "data/balance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "data/balance_internal.h"

#define SCATTER 2654435761u /* odd: visits all partitions, neighbours far apart */

static uint32_t zone_copies(const struct kith_plan *plan, const uint16_t *owners, uint32_t zone)
{
    uint32_t copies = 0;
    for (uint32_t i = 0; i < plan->slots; i++) {
        copies += owners[i] != KITH_NO_MEMBER && plan->zone[owners[i]] == zone;
    }
    return copies;
}

static uint32_t hole_count(const struct kith_plan *plan, const uint16_t *owners)
{
    uint32_t holes = 0;
    for (uint32_t i = 0; i < plan->slots; i++) {
        holes += owners[i] == KITH_NO_MEMBER;
    }
    return holes;
}

/* How many zones must still get a copy. */
static uint32_t zones_missing(const struct kith_plan *plan, const uint16_t *owners)
{
    if (plan->floor == 0) {
        return 0;
    }
    uint32_t present = 0;
    for (uint32_t i = 0; i < plan->slots; i++) {
        bool first = owners[i] != KITH_NO_MEMBER;
        for (uint32_t j = 0; first && j < i; j++) {
            first = owners[j] == KITH_NO_MEMBER || plan->zone[owners[j]] != plan->zone[owners[i]];
        }
        present += first;
    }
    return plan->zones - present;
}

/* Whether `member` may take a hole of the partition with these owners. */
static bool may_fill(const struct kith_plan *plan, const uint16_t *owners, uint16_t member)
{
    if (kith_plan_slot(owners, plan->slots, member) < plan->slots) {
        return false;
    }
    uint32_t zone = plan->zone[member];
    uint32_t copies = zone_copies(plan, owners, zone);
    return copies < plan->cap[zone] &&
           (copies < plan->floor || hole_count(plan, owners) > zones_missing(plan, owners));
}

/* Whether `to` may take the place of `from` in a partition without holes. */
static bool may_move(const struct kith_plan *plan, const uint16_t *owners, uint16_t from,
                     uint16_t to)
{
    if (kith_plan_slot(owners, plan->slots, to) < plan->slots) {
        return false;
    }
    uint32_t zone = plan->zone[to];
    return zone == plan->zone[from] || (zone_copies(plan, owners, zone) < plan->cap[zone] &&
                                        zone_copies(plan, owners, plan->zone[from]) > plan->floor);
}

static void owner_set(struct kith_plan *plan, uint32_t partition, uint16_t from, uint16_t to)
{
    uint16_t *owners = kith_plan_owners(plan, partition);
    uint32_t slot = kith_plan_slot(owners, plan->slots, from);
    KITH_ASSERT(slot < plan->slots);
    KITH_ASSERT(to == KITH_NO_MEMBER || kith_plan_slot(owners, plan->slots, to) == plan->slots);
    owners[slot] = to;
    if (from != KITH_NO_MEMBER) {
        plan->load[from]--;
    }
    if (to != KITH_NO_MEMBER) {
        plan->load[to]++;
    }
}

static int64_t excess(const struct kith_plan *plan, uint16_t member)
{
    return (int64_t)plan->load[member] - (int64_t)plan->target[member];
}

/* Whether the member already owned the partition in the last table. */
static bool owned_before(const struct kith_plan *plan, uint32_t partition, uint16_t member)
{
    const uint16_t *before = plan->before + (size_t)partition * plan->slots;
    return kith_plan_slot(before, plan->slots, member) < plan->slots;
}

/* ---- Step 1: holes where the zones' bounds are broken ---- */

static void partition_fit(struct kith_plan *plan, uint32_t partition)
{
    uint16_t *owners = kith_plan_owners(plan, partition);
    for (;;) {
        bool starved = zones_missing(plan, owners) > hole_count(plan, owners);
        uint16_t victim = KITH_NO_MEMBER;
        for (uint32_t i = 0; i < plan->slots; i++) {
            uint16_t member = owners[i];
            if (member == KITH_NO_MEMBER) {
                continue;
            }
            uint32_t copies = zone_copies(plan, owners, plan->zone[member]);
            bool gives =
                copies > plan->cap[plan->zone[member]] || (starved && copies > plan->floor);
            if (gives &&
                (victim == KITH_NO_MEMBER || excess(plan, member) > excess(plan, victim))) {
                victim = member;
            }
        }
        if (victim == KITH_NO_MEMBER) {
            return;
        }
        owner_set(plan, partition, victim, KITH_NO_MEMBER);
    }
}

/* ---- Steps 2 and 3: the direct way ---- */

/* The member furthest below its target (or, with `any`, least above) that may take a hole. */
static uint16_t best_filler(const struct kith_plan *plan, const uint16_t *owners, bool any)
{
    uint16_t best = KITH_NO_MEMBER;
    for (uint32_t m = 0; m < plan->count; m++) {
        uint16_t member = (uint16_t)m;
        if ((any || excess(plan, member) < 0) &&
            (best == KITH_NO_MEMBER || excess(plan, member) < excess(plan, best)) &&
            may_fill(plan, owners, member)) {
            best = member;
        }
    }
    return best;
}

/* Moves one copy of the partition from an over- to an underloaded member; false: none can. */
static bool partition_relieve(struct kith_plan *plan, uint32_t partition)
{
    uint16_t *owners = kith_plan_owners(plan, partition);
    uint16_t from = KITH_NO_MEMBER;
    uint16_t to = KITH_NO_MEMBER;
    int64_t gain = 1;
    for (uint32_t i = 0; i < plan->slots; i++) {
        int64_t over = excess(plan, owners[i]);
        for (uint32_t m = 0; over > 0 && m < plan->count; m++) {
            int64_t under = -excess(plan, (uint16_t)m);
            if (under > 0 && over + under > gain &&
                may_move(plan, owners, owners[i], (uint16_t)m)) {
                gain = over + under;
                from = owners[i];
                to = (uint16_t)m;
            }
        }
    }
    if (from == KITH_NO_MEMBER) {
        return false;
    }
    owner_set(plan, partition, from, to);
    return true;
}

static bool somebody_over(const struct kith_plan *plan)
{
    for (uint32_t m = 0; m < plan->count; m++) {
        if (excess(plan, (uint16_t)m) > 0) {
            return true;
        }
    }
    return false;
}

static void relieve_directly(struct kith_plan *plan)
{
    bool moved = true;
    while (moved && somebody_over(plan)) {
        moved = false;
        for (uint32_t i = 0; i < plan->partitions; i++) {
            moved |= partition_relieve(plan, (i * SCATTER) & (plan->partitions - 1));
        }
    }
}

/* ---- Step 4: paths ---- */

#define PATH_START  0xfffeu /* via: a path begins here */
#define NOT_REACHED 0xffffu

/* Extends the search by one member: everybody to whom a partition of his can go. False once
 * somebody below his target is reached, who is then *ret_end. */
static bool search_from(struct kith_plan *plan, uint16_t member, bool fresh_only, uint32_t *queued,
                        uint16_t *ret_end)
{
    for (uint32_t p = 0; p < plan->partitions; p++) {
        const uint16_t *owners = kith_plan_owners(plan, p);
        if (kith_plan_slot(owners, plan->slots, member) == plan->slots ||
            hole_count(plan, owners) > 0 || (fresh_only && owned_before(plan, p, member))) {
            continue;
        }
        for (uint32_t m = 0; m < plan->count; m++) {
            if (plan->via[m] != NOT_REACHED || !may_move(plan, owners, member, (uint16_t)m)) {
                continue;
            }
            plan->via[m] = member;
            plan->through[m] = p;
            plan->queue[(*queued)++] = (uint16_t)m;
            if (excess(plan, (uint16_t)m) < 0) {
                *ret_end = (uint16_t)m;
                return false;
            }
        }
        if (*queued == plan->count) {
            return true;
        }
    }
    return true;
}

/* From the members in the queue (each marked PATH_START) to one below its target; carries the
 * moves out. *ret_start is where the path began. */
static bool path_move(struct kith_plan *plan, uint32_t queued, bool fresh_only, uint16_t *ret_start)
{
    uint16_t end = KITH_NO_MEMBER;
    for (uint32_t at = 0; at < queued && end == KITH_NO_MEMBER; at++) {
        (void)search_from(plan, plan->queue[at], fresh_only, &queued, &end);
    }
    if (end == KITH_NO_MEMBER) {
        return false;
    }
    while (plan->via[end] != PATH_START) {
        owner_set(plan, plan->through[end], plan->via[end], end);
        end = plan->via[end];
    }
    *ret_start = end;
    return true;
}

static void search_reset(struct kith_plan *plan)
{
    for (uint32_t m = 0; m < plan->count; m++) {
        plan->via[m] = NOT_REACHED;
    }
}

/* Fills one hole through a path: who takes it gives another partition away. */
static bool hole_path(struct kith_plan *plan, uint32_t partition)
{
    uint16_t *owners = kith_plan_owners(plan, partition);
    uint32_t queued = 0;
    search_reset(plan);
    for (uint32_t m = 0; m < plan->count; m++) {
        if (may_fill(plan, owners, (uint16_t)m)) {
            plan->via[m] = PATH_START;
            plan->queue[queued++] = (uint16_t)m;
        }
    }
    uint16_t start = KITH_NO_MEMBER;
    if (!path_move(plan, queued, true, &start)) {
        return false;
    }
    owner_set(plan, partition, KITH_NO_MEMBER, start);
    return true;
}

static bool over_path(struct kith_plan *plan, bool fresh_only)
{
    uint32_t queued = 0;
    search_reset(plan);
    for (uint32_t m = 0; m < plan->count; m++) {
        if (excess(plan, (uint16_t)m) > 0) {
            plan->via[m] = PATH_START;
            plan->queue[queued++] = (uint16_t)m;
        }
    }
    uint16_t start = KITH_NO_MEMBER;
    return queued > 0 && path_move(plan, queued, fresh_only, &start);
}

static void holes_fill(struct kith_plan *plan)
{
    for (uint32_t i = 0; i < plan->partitions; i++) {
        uint32_t p = (i * SCATTER) & (plan->partitions - 1);
        const uint16_t *owners = kith_plan_owners(plan, p);
        while (hole_count(plan, owners) > 0) {
            uint16_t filler = best_filler(plan, owners, false);
            if (filler == KITH_NO_MEMBER) {
                if (hole_path(plan, p)) {
                    continue;
                }
                filler = best_filler(plan, owners, true);
            }
            KITH_ASSERT(filler != KITH_NO_MEMBER); /* the caps leave room for every slot */
            owner_set(plan, p, KITH_NO_MEMBER, filler);
        }
    }
}

static void plan_make(struct kith_plan *plan, const struct kith_member *members)
{
    kith_balance_targets(plan, members);
    for (uint32_t p = 0; p < plan->partitions; p++) {
        partition_fit(plan, p);
    }
    holes_fill(plan);
    relieve_directly(plan);
    while (over_path(plan, true) || over_path(plan, false)) {
        /* each brings one member nearer to its target */
    }
    kith_balance_order(plan);
}

/* ---- In and out ---- */

static enum kith_err plan_init(struct kith_plan *plan, uint32_t partitions, uint32_t slots,
                               uint32_t count)
{
    memset(plan, 0, sizeof(*plan));
    plan->partitions = partitions;
    plan->slots = slots;
    plan->count = count;
    size_t pairs = (size_t)partitions * slots;
    plan->cap = kith_calloc(count, sizeof(*plan->cap));
    plan->zone = kith_calloc(count, sizeof(*plan->zone));
    plan->load = kith_calloc(count, sizeof(*plan->load));
    plan->target = kith_calloc(count, sizeof(*plan->target));
    plan->owners = kith_calloc(pairs, sizeof(*plan->owners));
    plan->before = kith_calloc(pairs, sizeof(*plan->before));
    plan->via = kith_calloc(count, sizeof(*plan->via));
    plan->through = kith_calloc(count, sizeof(*plan->through));
    plan->queue = kith_calloc(count, sizeof(*plan->queue));
    if (!plan->cap || !plan->zone || !plan->load || !plan->target || !plan->owners ||
        !plan->before || !plan->via || !plan->through || !plan->queue) {
        return KITH_ENOMEM;
    }
    return KITH_OK;
}

static void plan_release(struct kith_plan *plan)
{
    kith_free(plan->cap);
    kith_free(plan->zone);
    kith_free(plan->load);
    kith_free(plan->target);
    kith_free(plan->owners);
    kith_free(plan->before);
    kith_free(plan->via);
    kith_free(plan->through);
    kith_free(plan->queue);
}

static void zones_number(struct kith_plan *plan, const struct kith_member *members)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t j = 0;
        while (j < i && strcmp(members[i].zone, members[j].zone) != 0) {
            j++;
        }
        plan->zone[i] = j < i ? plan->zone[j] : (uint16_t)plan->zones++;
    }
}

/* The last table's owners under their new numbers. Where there are fewer slots now, the last ones
 * go. */
static void carry_over(struct kith_plan *plan, const struct kith_table *last,
                       const struct kith_member *members)
{
    size_t pairs = (size_t)plan->partitions * plan->slots;
    for (size_t i = 0; i < pairs; i++) {
        plan->owners[i] = KITH_NO_MEMBER;
    }
    uint16_t number[KITH_MEMBERS_MAX];
    for (uint32_t i = 0; last && i < last->member_count; i++) {
        number[i] = KITH_NO_MEMBER;
        for (uint32_t j = 0; j < plan->count; j++) {
            if (kith_uuid_equal(&last->members[i].uuid, &members[j].uuid)) {
                number[i] = (uint16_t)j;
            }
        }
    }
    for (uint32_t p = 0; last && p < plan->partitions; p++) {
        const uint16_t *old = kith_table_owners(last, p);
        uint16_t *owners = kith_plan_owners(plan, p);
        uint32_t filled = 0;
        for (uint32_t i = 0; i < last->owner_slots && filled < plan->slots; i++) {
            if (number[old[i]] != KITH_NO_MEMBER) {
                owners[filled++] = number[old[i]];
                plan->load[number[old[i]]]++;
            }
        }
    }
    memcpy(plan->before, plan->owners, pairs * sizeof(*plan->before));
}

/* The caller's order of members must not decide anything: by uuid. */
static struct kith_member *members_sorted(const struct kith_member *members, uint32_t count)
{
    struct kith_member *sorted = kith_calloc(count, sizeof(*sorted));
    for (uint32_t i = 0; sorted && i < count; i++) {
        uint32_t at = i;
        while (at > 0 && kith_uuid_compare(&members[i].uuid, &sorted[at - 1].uuid) < 0) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = members[i];
    }
    return sorted;
}

/* What kith_table_new would refuse and what the plan relies on. */
static bool input_valid(uint32_t partitions, uint32_t replicas, const struct kith_member *members,
                        uint32_t count)
{
    if (partitions < 1 || partitions > KITH_PARTITIONS_MAX ||
        (partitions & (partitions - 1)) != 0 || replicas < 1 || replicas > KITH_REPLICAS_MAX ||
        count < 1 || count > KITH_MEMBERS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].weight < 1 || members[i].weight > KITH_WEIGHT_MAX ||
            strnlen(members[i].zone, KITH_ZONE_SIZE) == KITH_ZONE_SIZE) {
            return false;
        }
    }
    return true;
}

enum kith_err kith_balance(const struct kith_table *last, const struct kith_uuid *cluster,
                           uint32_t partitions, uint32_t replicas,
                           const struct kith_member *members, uint32_t member_count,
                           struct kith_table **ret_table)
{
    uint64_t epoch = 1;
    uint64_t version = 1;
    if (last) {
        partitions = last->partitions;
        replicas = last->replicas;
        cluster = &last->cluster;
        epoch = last->id.epoch;
        version = last->id.version + 1;
    }
    if (!input_valid(partitions, replicas, members, member_count)) {
        return KITH_EINVAL;
    }
    struct kith_plan plan;
    enum kith_err err = plan_init(&plan, partitions,
                                  replicas < member_count ? replicas : member_count, member_count);
    struct kith_member *sorted = members_sorted(members, member_count);
    if (err == KITH_OK && !sorted) {
        err = KITH_ENOMEM;
    }
    if (err == KITH_OK) {
        zones_number(&plan, sorted);
        carry_over(&plan, last, sorted);
        plan_make(&plan, sorted);
        err = kith_table_new(cluster, epoch, version, partitions, replicas, sorted, member_count,
                             plan.owners, ret_table);
    }
    kith_free(sorted);
    plan_release(&plan);
    return err;
}

uint32_t kith_balance_moves(const struct kith_table *last, const struct kith_table *next)
{
    uint32_t moves = 0;
    for (uint32_t p = 0; p < next->partitions; p++) {
        const uint16_t *owners = kith_table_owners(next, p);
        for (uint32_t i = 0; i < next->owner_slots; i++) {
            uint16_t old =
                last ? kith_table_find(last, &next->members[owners[i]].uuid) : KITH_NO_MEMBER;
            moves += old == KITH_NO_MEMBER || !kith_table_owns(last, p, old);
        }
    }
    return moves;
}
