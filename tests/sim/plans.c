/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plans.c - an administrator who changes the members' weights while all else goes on, so that data
 * moves between members, and gives some of these moves up again.
 *
 * Which seeds have one, and when he does what, comes from chance of its own: other seeds are not
 * changed by him. */
#include <string.h>

#include "data/balance.h"
#include "sim.h"

static uint64_t draw(struct sim *sim, uint64_t below)
{
    uint64_t *x = &sim->plan_chance;
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x % below;
}

void plans_init(struct sim *sim)
{
    sim->plan_chance = (sim->seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (uint32_t i = 0; i < 8; i++) {
        (void)draw(sim, 2);
    }
    sim->plans = draw(sim, 2) == 0;
}

/* To a node, from a connection of its own; the answer goes nowhere. */
static void order(struct sim *sim, struct sim_node *node, struct kith_bytes table)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = sim->conn_next};
    uint64_t conn = sim->conn_next;
    sim->conn_next++;
    world_node_step(sim, node, &accepted, NULL);
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_HELLO;
    msg.u.hello.protocol = KITH_PROTOCOL_VERSION;
    msg.u.hello.address = "";
    msg.u.hello.software = "";
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = &msg};
    world_node_step(sim, node, &event, NULL);
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_PLAN_REQ;
    msg.id = 1;
    msg.u.plan_req.table = table;
    world_node_step(sim, node, &event, NULL);
}

/* The table that leads to other weights; or, out of one that moves data, back. NULL: none. */
static struct kith_table *plan(struct sim *sim)
{
    const struct kith_table *last = sim->newest;
    struct kith_table *next = NULL, *joint = NULL;
    if (kith_table_is_joint(last)) {
        return draw(sim, 3) == 0 && kith_table_revert(last, &next) == KITH_OK ? next : NULL;
    }
    struct kith_member members[8];
    if (last->member_count <= last->owner_slots || last->member_count > 8) {
        return NULL; /* all own everything */
    }
    for (uint32_t i = 0; i < last->member_count; i++) {
        members[i] = last->members[i];
        members[i].weight = 1 + (uint32_t)draw(sim, 4);
    }
    if (kith_balance(last, &last->cluster, last->partitions, last->replicas, members,
                     last->member_count, &next) == KITH_OK) {
        KITH_ASSERT(kith_table_move(last, next, false, NULL, 0, &joint) == KITH_OK);
        kith_table_drop(next);
    }
    return joint;
}

static void propose(struct sim *sim, struct sim_node *node, const struct kith_table *next)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(next, &buf);
    KITH_ASSERT(!buf.failed);
    sim_trace(sim, "%u is to have table %llu.%llu%s", node->index,
              (unsigned long long)next->id.epoch, (unsigned long long)next->id.version,
              kith_table_is_joint(next) ? ", which moves data" : ", and no move");
    order(sim, node, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
}

/* Whether some node still is that member: its disk may have been lost. */
static bool lives(const struct sim *sim, const struct kith_uuid *uuid)
{
    uint8_t self = KITH_META_NODE;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct kith_bytes identity = store_sim_get(&sim->nodes[i].store, 'm', &self, 1);
        if (identity.size >= sizeof uuid->bytes &&
            memcmp(identity.data, uuid->bytes, sizeof uuid->bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* The newest table that a node goes by; NULL: none does by any. What was decided, and lost by who
 * alone knew it, is nobody's: the next proposal brings it up. */
static struct kith_table *in_use(const struct sim *sim)
{
    struct kith_table *newest = NULL;
    uint8_t meta = KITH_META_TABLE;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct kith_bytes bytes = store_sim_get(&sim->nodes[i].store, 'm', &meta, 1);
        struct kith_table *table = NULL;
        if (bytes.size == 0 || kith_table_decode(bytes, &table) != KITH_OK) {
            continue;
        }
        bool newer = !newest || kith_table_id_compare(&table->id, &newest->id) > 0;
        kith_table_drop(newer ? newest : table);
        newest = newer ? table : newest;
    }
    return newest;
}

bool plans_moving(const struct sim *sim)
{
    struct kith_table *table = in_use(sim);
    bool moving = table && kith_table_is_joint(table);
    kith_table_drop(table);
    return moving;
}

static bool target_lost(const struct sim *sim, const struct kith_table *joint)
{
    bool lost = false;
    for (uint32_t p = 0; p < joint->partitions; p++) {
        const uint16_t *owners = kith_table_next_owners(joint, p);
        for (uint32_t i = 0; i < joint->next_slots && !lost; i++) {
            lost = !kith_table_owns(joint, p, owners[i]) &&
                   !lives(sim, &joint->members[owners[i]].uuid);
        }
    }
    return lost;
}

void plans_mend(struct sim *sim, bool force)
{
    struct kith_table *table = in_use(sim), *next = NULL, *forced = NULL;
    bool lost = table && kith_table_is_joint(table) && target_lost(sim, table) &&
                kith_table_revert(table, &next) == KITH_OK;
    if (lost && force) {
        KITH_ASSERT(kith_table_new(&next->cluster, next->id.epoch + 1, next->id.version,
                                   next->partitions, next->replicas, next->members,
                                   next->member_count, next->owners, &forced) == KITH_OK);
    }
    for (uint32_t i = 0; lost && i < sim->node_count; i++) {
        if (sim->nodes[i].up && sim->nodes[i].ready) {
            propose(sim, &sim->nodes[i], forced ? forced : next);
        }
    }
    kith_table_drop(forced);
    kith_table_drop(next);
    kith_table_drop(table);
}

bool plans_stray(const struct sim *sim, const struct kith_chunk_id *id)
{
    for (uint32_t n = 0; n < sim->node_count; n++) {
        bool holds = store_sim_get(&sim->nodes[n].store, 'c', id->bytes, sizeof id->bytes).size > 0;
        if (holds && !sim_owns(sim, n, kith_chunk_partition(id, SIM_PARTITIONS))) {
            return true;
        }
    }
    return false;
}

bool plans_loses(const struct sim *sim, uint32_t node, uint32_t partition)
{
    uint8_t self = KITH_META_NODE;
    struct kith_bytes identity = store_sim_get(&sim->nodes[node].store, 'm', &self, 1);
    struct kith_uuid uuid;
    if (!sim->newest || !kith_table_is_joint(sim->newest) || identity.size < sizeof uuid.bytes) {
        return false;
    }
    memcpy(uuid.bytes, identity.data, sizeof uuid.bytes);
    uint16_t member = kith_table_find(sim->newest, &uuid);
    const uint16_t *next = kith_table_next_owners(sim->newest, partition);
    bool stays = member == KITH_NO_MEMBER;
    for (uint32_t i = 0; i < sim->newest->next_slots; i++) {
        stays = stays || next[i] == member;
    }
    return !stays && kith_table_owns(sim->newest, partition, member);
}

void plans_step(struct sim *sim)
{
    if (!sim->plans || !sim->newest || !sim->working || draw(sim, 6) != 0) {
        return;
    }
    struct sim_node *node = &sim->nodes[draw(sim, sim->node_count)];
    if (!node->up || !node->ready || node->away) {
        return;
    }
    struct kith_table *next = plan(sim);
    if (next) {
        propose(sim, node, next);
        kith_table_drop(next);
    }
}
