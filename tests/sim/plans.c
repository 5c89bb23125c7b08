/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plans.c - an administrator who changes the members while all else goes on, so that data moves
 * between them, and gives some of these moves up again.
 *
 * WEIGHTS of members change. A member LEAVES; once it holds nothing any more it may be wiped, and
 * come back as another node. A node that is in no cluster JOINS. Where a member's disk is lost with
 * all its records nobody is that member any more (absent): a new node, often the very machine with
 * an empty disk, REPLACES it, at the latest when all is healed.
 *
 * WHOSE STORES COUNT. Those of the members of the newest table (plans_counts): what a member that
 * has left still holds is no copy any more; but of a row of which it is noted that its owners lack
 * it, for then it is kept until they have it.
 *
 * THE EDGE. When the first node goes by a table that begins or ends a move, some owners of before
 * who do not have it yet are cut off now and then, with a client: they must not answer him as if
 * they were owners still.
 *
 * Which seeds have an administrator, and when he does what, comes from chance of its own: other
 * seeds are not changed by him. */
#include <string.h>

#include "data/balance.h"
#include "sim.h"

#define EDGE_MAX_US 3000000u

static uint64_t draw(struct sim *sim, uint64_t below)
{
    uint64_t *x = &sim->plan_chance;
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x % below;
}

/* Much is to move at once, and often: else these are caught too seldom. */
static bool much(const struct sim *sim)
{
    return sim->mutant == MUTANT_MOVED_EARLY || sim->mutant == MUTANT_JOINT_OWNERS;
}

void plans_init(struct sim *sim)
{
    sim->plan_chance = (sim->seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (uint32_t i = 0; i < 8; i++) {
        (void)draw(sim, 2);
    }
    sim->plans = draw(sim, 2) == 0;
    if (much(sim)) {
        sim->plans = true;
        sim->node_count = SIM_NODES_MAX;
        sim->late = SIM_NODES_MAX;
    }
}

/* ---- Who is what ---- */

static bool identity(const struct sim *sim, uint32_t node, struct kith_uuid *ret_uuid)
{
    uint8_t self = KITH_META_NODE;
    struct kith_bytes bytes = store_sim_get(&sim->nodes[node].store, 'm', &self, 1);
    if (bytes.size < sizeof ret_uuid->bytes) {
        return false;
    }
    memcpy(ret_uuid->bytes, bytes.data, sizeof ret_uuid->bytes);
    return true;
}

static bool is_member(const struct sim *sim, uint32_t node, const struct kith_table *table)
{
    struct kith_uuid uuid;
    return identity(sim, node, &uuid) && kith_table_find(table, &uuid) != KITH_NO_MEMBER;
}

bool plans_counts(const struct sim *sim, uint32_t node)
{
    return !sim->newest || is_member(sim, node, sim->newest);
}

/* Whether some node still is that member: its disk may have been lost. */
static bool lives(const struct sim *sim, const struct kith_uuid *uuid)
{
    struct kith_uuid each;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (identity(sim, i, &each) && kith_uuid_equal(&each, uuid)) {
            return true;
        }
    }
    return false;
}

/* The first member that nobody is; KITH_NO_MEMBER: none. */
static uint16_t absent(const struct sim *sim, const struct kith_table *table)
{
    for (uint16_t m = 0; m < table->member_count; m++) {
        if (!lives(sim, &table->members[m].uuid)) {
            return m;
        }
    }
    return KITH_NO_MEMBER;
}

uint32_t plans_absent(const struct sim *sim)
{
    uint32_t count = 0;
    for (uint32_t m = 0; sim->newest && m < sim->newest->member_count; m++) {
        count += lives(sim, &sim->newest->members[m].uuid) ? 0 : 1;
    }
    return count;
}

/* A node that runs, and is in no cluster; NULL: there is none. */
static struct sim_node *outsider(struct sim *sim)
{
    struct kith_uuid uuid;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->up && !node->away && !world_in_cluster(node) && identity(sim, i, &uuid)) {
            return node;
        }
    }
    return NULL;
}

/* One that is just starting again, to be an outsider. */
static bool outsider_starts(const struct sim *sim)
{
    bool starts = false;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        starts = starts || (!node->up && !node->away && !node->held && !world_in_cluster(node));
    }
    return starts;
}

/* It asks a member for the table: by itself, where it was told of one. */
static void knock(struct sim *sim, struct sim_node *node, const struct kith_table *table)
{
    struct sim_node *member = NULL;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (i == node->index || !world_in_cluster(&sim->nodes[i]) || !is_member(sim, i, table)) {
            continue;
        }
        if (node->join == sim->nodes[i].address) {
            return;
        }
        member = &sim->nodes[i];
    }
    if (member) {
        node->join = member->address;
        world_crash(sim, node->index, false);
    }
}

/* ---- Plans ---- */

enum { MEMBERS_MOST = SIM_NODES_MAX + 2u };

/* The members as they are to be. */
struct wish {
    const struct kith_table *last;
    uint32_t count;
    struct kith_member members[MEMBERS_MOST];
    struct sim_node *comes; /* NULL: nobody */
    uint32_t gone_count;
    struct kith_uuid gone; /* it is replaced, and nobody waits for it */
    bool force;            /* too few are left to agree to it */
};

static void wish_weights(struct sim *sim, struct wish *wish)
{
    for (uint32_t i = 0; i < wish->count; i++) {
        wish->members[i].weight = draw(sim, 2) == 0 ? 1 : 20; /* much moves at once */
    }
}

static void wish_leave(struct sim *sim, struct wish *wish)
{
    uint64_t who = draw(sim, wish->count);
    wish->count--;
    wish->members[who] = wish->members[wish->count];
}

static bool wish_comes(struct sim *sim, struct wish *wish, struct kith_member *member)
{
    wish->comes = outsider(sim);
    if (!wish->comes || !identity(sim, wish->comes->index, &member->uuid)) {
        return false;
    }
    const char *zone = zones_name(sim, wish->comes->index);
    memset(member->zone, 0, sizeof member->zone);
    memcpy(member->zone, zone, strlen(zone));
    return true;
}

static bool wish_join(struct sim *sim, struct wish *wish)
{
    struct kith_member *member = &wish->members[wish->count];
    memset(member, 0, sizeof *member);
    member->weight = 1 + (uint32_t)draw(sim, 4);
    wish->count++;
    return wish_comes(sim, wish, member);
}

static bool wish_replace(struct sim *sim, struct wish *wish, uint16_t who)
{
    wish->gone = wish->members[who].uuid;
    wish->gone_count = 1;
    return wish_comes(sim, wish, &wish->members[who]);
}

/* NULL: nothing is to be changed, or it cannot be. */
static struct kith_table *wish_table(const struct wish *wish)
{
    const struct kith_table *last = wish->last;
    struct kith_table *next = NULL, *joint = NULL;
    if (kith_balance(last, &last->cluster, last->partitions, last->replicas, wish->members,
                     wish->count, &next) == KITH_OK) {
        KITH_ASSERT(kith_table_move(last, next, wish->force, &wish->gone, wish->gone_count, &joint) ==
                    KITH_OK);
        kith_table_drop(next);
    }
    return joint;
}

static bool wish_init(struct wish *wish, const struct kith_table *last)
{
    memset(wish, 0, sizeof *wish);
    wish->last = last;
    wish->count = last->member_count;
    if (kith_table_is_joint(last) || wish->count + 1 > MEMBERS_MOST) {
        return false;
    }
    memcpy(wish->members, last->members, wish->count * sizeof *wish->members);
    return true;
}

/* The table after `last`, which all go by; NULL: none. */
static struct kith_table *plan(struct sim *sim, const struct kith_table *last)
{
    struct kith_table *next = NULL;
    struct wish wish;
    if (kith_table_is_joint(last)) {
        return draw(sim, 12) == 0 && kith_table_revert(last, &next) == KITH_OK ? next : NULL;
    }
    if (!wish_init(&wish, last)) {
        return NULL;
    }
    uint16_t missing = absent(sim, last);
    uint64_t what = much(sim) ? 7 : draw(sim, 8);
    bool good = true;
    if (missing != KITH_NO_MEMBER) {
        good = wish_replace(sim, &wish, missing);
    } else if (what < 3 && last->member_count >= 2 && outsider(sim)) {
        good = wish_join(sim, &wish);
    } else if (sim->mutant == MUTANT_JOINT_OWNERS && wish.count == SIM_NODES_MAX) {
        wish_leave(sim, &wish); /* most owners of something change at once */
        wish_leave(sim, &wish);
        wish_leave(sim, &wish);
    } else if (what > 2 && last->member_count > last->owner_slots) { /* else all own everything */
        wish_weights(sim, &wish);
    } else if (last->member_count >= SIM_REPLICAS) {
        wish_leave(sim, &wish);
    } else {
        good = false;
    }
    next = good ? wish_table(&wish) : NULL;
    if (next && wish.comes) {
        knock(sim, wish.comes, last);
    }
    return next;
}

static void propose(struct sim *sim, struct sim_node *node, const struct kith_table *next)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(next, &buf);
    KITH_ASSERT(!buf.failed);
    uint32_t flags[8] = {0};
    for (uint32_t m = 0; kith_table_is_joint(next) && m < next->member_count; m++) {
        flags[next->after[m].flags & 7u]++;
    }
    sim_trace(sim, "%u is to have table %llu.%llu, %u members, %s: %u join, %u leave, %u are gone",
              node->index, (unsigned long long)next->id.epoch, (unsigned long long)next->id.version,
              next->member_count,
              kith_table_is_joint(next) ? "which moves data" : "and no move",
              flags[KITH_MEMBER_JOINS], flags[KITH_MEMBER_LEAVES],
              flags[KITH_MEMBER_LEAVES | KITH_MEMBER_GONE]);
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_PLAN_REQ;
    msg.u.plan_req.table = kith_buf_bytes(&buf);
    world_admin_ask(sim, node, &msg);
    kith_buf_release(&buf);
}

/* The newest table that a node goes by, but that one; NULL: none does by any. What was decided, and lost
 * by who alone knew it, is nobody's: the next proposal brings it up. */
static struct kith_table *in_use_but(const struct sim *sim, uint32_t but)
{
    struct kith_table *newest = NULL;
    uint8_t meta = KITH_META_TABLE;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct kith_bytes bytes = store_sim_get(&sim->nodes[i].store, 'm', &meta, 1);
        struct kith_table *table = NULL;
        if (i == but || bytes.size == 0 || kith_table_decode(bytes, &table) != KITH_OK) {
            continue;
        }
        bool newer = !newest || kith_table_id_compare(&table->id, &newest->id) > 0;
        kith_table_drop(newer ? newest : table);
        newest = newer ? table : newest;
    }
    return newest;
}

static struct kith_table *in_use(const struct sim *sim)
{
    return in_use_but(sim, SIM_NODES_MAX);
}

uint32_t plans_members(const struct sim *sim, uint32_t but)
{
    struct kith_table *table = in_use_but(sim, but);
    uint32_t count = table ? table->member_count : 0;
    kith_table_drop(table);
    return count;
}

bool plans_moving(const struct sim *sim)
{
    struct kith_table *table = in_use(sim);
    bool moving = table && kith_table_is_joint(table);
    kith_table_drop(table);
    return moving;
}

/* Whether it waits for a member that nobody is. */
static bool waits_in_vain(const struct sim *sim, const struct kith_table *joint)
{
    bool lost = false;
    for (uint32_t m = 0; m < joint->member_count; m++) {
        unsigned leaves = joint->after[m].flags & (KITH_MEMBER_LEAVES | KITH_MEMBER_GONE);
        lost = lost || (leaves == KITH_MEMBER_LEAVES && !lives(sim, &joint->members[m].uuid));
    }
    for (uint32_t p = 0; p < joint->partitions; p++) {
        const uint16_t *owners = kith_table_next_owners(joint, p);
        for (uint32_t i = 0; i < joint->next_slots && !lost; i++) {
            bool gains = joint->next_slots < joint->owner_slots || /* as moves.c has it */
                         !kith_table_owns(joint, p, owners[i]);
            lost = gains && !lives(sim, &joint->members[owners[i]].uuid);
        }
    }
    return lost;
}

static void give_up(struct sim *sim, const struct kith_table *joint, bool force)
{
    struct kith_table *next = NULL, *forced = NULL;
    KITH_ASSERT(kith_table_revert(joint, &next) == KITH_OK);
    if (force) {
        KITH_ASSERT(kith_table_new(&next->cluster, next->id.epoch + 1, next->id.version,
                                   next->partitions, next->replicas, next->members,
                                   next->member_count, next->owners, &forced) == KITH_OK);
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->nodes[i].up && sim->nodes[i].ready) {
            propose(sim, &sim->nodes[i], forced ? forced : next);
        }
    }
    kith_table_drop(forced);
    kith_table_drop(next);
}

/* How many owners, or others, hold the chunk. */
static uint32_t holders(const struct sim *sim, const struct kith_chunk_id *id, bool owners)
{
    uint32_t count = 0, partition = kith_chunk_partition(id, SIM_PARTITIONS);
    for (uint32_t n = 0; n < sim->node_count; n++) {
        bool holds = store_sim_get(&sim->nodes[n].store, 'c', id->bytes, sizeof id->bytes).size > 0;
        /* who has left, and does not know it, owns nothing */
        bool owner = sim_owns(sim, n, partition) && plans_counts(sim, n);
        count += holds && owner == owners ? 1 : 0;
    }
    return count;
}

bool plans_stray(const struct sim *sim, const struct kith_chunk_id *id)
{
    return holders(sim, id, false) > 0;
}

/* A chunk that was acknowledged, and is nowhere but where it does not belong. */
static bool strays(const struct sim *sim)
{
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        const struct oracle_chunk *chunk = &sim->oracle.chunks[c];
        if (chunk->state == WRITE_OK && holders(sim, &chunk->id, true) == 0 &&
            holders(sim, &chunk->id, false) > 0) {
            return true;
        }
    }
    return false;
}

bool plans_owes(struct sim *sim)
{
    struct kith_table *table = sim->plans && sim->gone ? in_use(sim) : NULL;
    bool owes = table && absent(sim, table) != KITH_NO_MEMBER &&
                (outsider(sim) || outsider_starts(sim));
    kith_table_drop(table);
    return owes || (sim->plans && strays(sim));
}

/* Through any member that is there, if somebody is to be replaced, and can be. */
static void replace(struct sim *sim, const struct kith_table *last, bool force)
{
    struct wish wish;
    uint16_t who = absent(sim, last);
    struct kith_table *next = NULL;
    if (who != KITH_NO_MEMBER && wish_init(&wish, last) && wish_replace(sim, &wish, who)) {
        wish.force = force && last->member_count == 2;
        next = wish_table(&wish);
    }
    uint64_t first = draw(sim, sim->node_count);
    for (uint32_t i = 0; next && i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[(first + i) % sim->node_count];
        if (node->up && world_in_cluster(node) && is_member(sim, node->index, last)) {
            knock(sim, wish.comes, last);
            propose(sim, node, next);
            break;
        }
    }
    kith_table_drop(next);
}

void plans_mend(struct sim *sim, bool force)
{
    struct kith_table *table = in_use(sim);
    if (table && kith_table_is_joint(table) && waits_in_vain(sim, table)) {
        give_up(sim, table, force);
    } else if (table && !kith_table_is_joint(table) && sim->plans && sim->gone) {
        replace(sim, table, force);
    }
    kith_table_drop(table);
}

bool plans_loses(const struct sim *sim, uint32_t node, uint32_t partition)
{
    struct kith_uuid uuid;
    if (!sim->newest || !kith_table_is_joint(sim->newest) || !identity(sim, node, &uuid)) {
        return false;
    }
    uint16_t member = kith_table_find(sim->newest, &uuid);
    const uint16_t *next = kith_table_next_owners(sim->newest, partition);
    bool stays = member == KITH_NO_MEMBER;
    for (uint32_t i = 0; i < sim->newest->next_slots; i++) {
        stays = stays || next[i] == member;
    }
    return !stays && kith_table_owns(sim->newest, partition, member);
}

/* The nodes that own the partition by `last`, and not, or not for long, by `next`. */
static uint32_t former(const struct sim *sim, const struct kith_table *last,
                       const struct kith_table *next, uint32_t partition)
{
    uint32_t nodes = 0;
    struct kith_uuid uuid;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!identity(sim, i, &uuid) ||
            !kith_table_owns(last, partition, kith_table_find(last, &uuid))) {
            continue;
        }
        uint16_t member = kith_table_find(next, &uuid);
        const uint16_t *owners = kith_table_is_joint(next)
                                     ? kith_table_next_owners(next, partition)
                                     : kith_table_owners(next, partition);
        uint32_t slots = kith_table_is_joint(next) ? next->next_slots : next->owner_slots;
        bool stays = false;
        for (uint32_t slot = 0; slot < slots; slot++) {
            stays = stays || owners[slot] == member;
        }
        nodes |= stays ? 0 : 1u << i;
    }
    return nodes;
}

void plans_edge(struct sim *sim, uint32_t node, const struct kith_table *next)
{
    const struct kith_table *last = sim->newest;
    if (!sim->plans || !sim->faults || !last || last->partitions != next->partitions ||
        kith_table_is_joint(last) == kith_table_is_joint(next) ||
        (sim->mutant == MUTANT_JOINT_OWNERS ? kith_table_is_joint(next) : draw(sim, 3) != 0)) {
        return;
    }
    uint32_t first = (uint32_t)draw(sim, last->partitions), side = 0;
    for (uint32_t i = 0; i < last->partitions; i++) { /* the one with the most */
        uint32_t each = former(sim, last, next, (first + i) % last->partitions) & ~(1u << node);
        side = __builtin_popcount(each) > __builtin_popcount(side) ? each : side;
    }
    sim_trace(sim, "%x owned what is not theirs %s", side,
              kith_table_is_joint(next) ? "for long" : "any more");
    side |= 1u << (SIM_NODES_MAX + draw(sim, sim->client_count));
    faults_side(sim, side, 100000 + (uint32_t)draw(sim, EDGE_MAX_US));
}

/* A member that has left, and has nothing left: wiped, it is a new node. */
static void retire(struct sim *sim, const struct kith_table *last)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->up && !node->away && world_in_cluster(node) && !is_member(sim, i, last) &&
            !plans_counts(sim, i) && store_sim_empty(&node->store)) {
            world_crash(sim, i, false);
            store_sim_wipe(&node->store);
            node->ready = false;
            node->join = NULL; /* until it is to join */
            sim_trace(sim, "%u, which has left, is wiped", i);
        }
    }
}

void plans_step(struct sim *sim)
{
    if (!sim->plans || !sim->newest || !sim->working || draw(sim, 2) != 0) {
        return;
    }
    struct sim_node *node = &sim->nodes[draw(sim, sim->node_count)];
    struct kith_table *last = in_use(sim);
    if (last && draw(sim, 2) == 0) {
        retire(sim, last);
    }
    if (!last || !node->up || !node->ready || node->away || !is_member(sim, node->index, last)) {
        kith_table_drop(last);
        return;
    }
    struct kith_table *next = plan(sim, last);
    if (next && node->up) {
        propose(sim, node, next);
    }
    kith_table_drop(next);
    kith_table_drop(last);
}
