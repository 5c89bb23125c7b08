/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * disk.c - when a node's store carries out an operation, and when what it wrote is safe: at the
 * operating system, then on the disk. Crashes lie just before and just after each of these. */
#include <string.h>

#include "sim.h"

#define SMALL_STATE_BYTES 80u /* of the simulation's rows, one or two siblings */

static bool crash_here(struct sim *sim, uint32_t node, uint32_t per_mille)
{
    bool moves = sim->mutant == MUTANT_JOINT_OWNERS; /* they come to an end */
    if (!sim->faults || moves || !sim_chance(sim, sim->storm ? 8 * per_mille : per_mille)) {
        return false;
    }
    bool power = sim->nodes[node].power_victim && sim_chance(sim, sim->storm ? 900 : 500);
    world_crash(sim, node, power && world_may_lose_power(sim));
    return true;
}

static void stored(struct sim *sim, struct sim_event *event);

static void store_next(struct sim *sim, struct sim_event *event, uint8_t phase, uint32_t delay)
{
    struct sim_event *next = sim_at(sim, sim->now_us + delay, stored);
    next->entity = event->entity;
    next->start = event->start;
    next->phase = phase;
    next->op = event->op;
    event->op = NULL;
}

static void store_complete(struct sim *sim, struct sim_event *event, enum kith_durability reached)
{
    struct store_op *op = event->op;
    static const enum kith_space spaces[] = {KITH_SPACE_WIDE, KITH_SPACE_SCARCE, KITH_SPACE_FULL,
                                             KITH_SPACE_FULL};
    op->done.reached = reached;
    op->done.partition = op->op.partition;
    op->done.space = spaces[sim->nodes[event->entity].space];
    struct kith_event done = {.kind = KITH_EVENT_STORED, .done = &op->done};
    sim_trace(sim, "%u stored kind %d at %d: %d", event->entity, (int)op->op.kind, (int)reached,
              (int)op->done.err);
    sim->untold = sim->mutant == MUTANT_UNTOLD &&
                  (op->op.kind == KITH_STORE_MERGE || op->op.kind == KITH_STORE_ABSORB);
    world_node_step(sim, &sim->nodes[event->entity], &done, NULL);
    sim->untold = false;
}

/* Its flush finds no space: what it wrote may be there or not, and the node ends in order. */
static void flush_fails(struct sim *sim, struct sim_event *event)
{
    struct store_sim *store = &sim->nodes[event->entity].store;
    struct store_op *op = event->op;
    bool there = sim_chance(sim, 500);
    store->os_seq = there && op->seq > store->os_seq ? op->seq : store->os_seq;
    op->done.err = KITH_EIO;
    op->done.message = "the log cannot be written";
    store_complete(sim, event, KITH_DURABLE_OS);
    world_crash(sim, event->entity, false);
}

static bool is_value(size_t bytes, uint32_t rows)
{
    return bytes > rows * SMALL_STATE_BYTES;
}

/* What the operation needs, as in node/store: store_rows.c, chunks.c, store_meta.c. */
static enum disk_space room_needed(const struct kith_store_op *op)
{
    size_t bytes = 0;
    bool value = false;
    switch (op->kind) {
    case KITH_STORE_PUT:
        for (uint32_t i = 0; i < op->u.put.update_count; i++) {
            value = value || op->u.put.updates[i].has_sibling;
        }
        return value ? DISK_TIGHT : DISK_SMALL;
    case KITH_STORE_MERGE:
        for (uint32_t i = 0; i < op->u.merge.row_count; i++) {
            bytes += op->u.merge.rows[i].state.size;
        }
        return is_value(bytes, op->u.merge.row_count) ? DISK_TIGHT : DISK_SMALL;
    case KITH_STORE_ABSORB:
    case KITH_STORE_CHUNK_PUT:
        return DISK_TIGHT;
    case KITH_STORE_META_PUT:
        return DISK_SMALL;
    default:
        return DISK_FULL;
    }
}

/* phases: 0 carry out, 1 at the operating system, 2 on disk */
static void stored(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->entity];
    struct store_op *op = event->op;
    if (!world_alive(sim, event->entity, event->start) ||
        faults_frozen(sim, event->entity, event)) {
        return;
    }
    enum kith_store_kind kind = op->op.kind;
    bool write = kind == KITH_STORE_PUT || kind == KITH_STORE_MERGE ||
                 kind == KITH_STORE_ABSORB || kind == KITH_STORE_HINT_NOTE ||
                 kind == KITH_STORE_HINT_ACK || kind == KITH_STORE_HINT_DROP ||
                 kind == KITH_STORE_DROP ||
                 kind == KITH_STORE_META_PUT || kind == KITH_STORE_CHUNK_PUT ||
                 kind == KITH_STORE_CHUNK_SYNC || kind == KITH_STORE_SWEEP_LIST ||
                 kind == KITH_STORE_SWEEP_STEP || kind == KITH_STORE_CHUNK_LEASE ||
                 kind == KITH_STORE_REAP;
    bool once = kind == KITH_STORE_META_PUT || kind == KITH_STORE_CHUNK_SYNC ||
                kind == KITH_STORE_HINT_NOTE || kind == KITH_STORE_SWEEP_LOOK ||
                kind == KITH_STORE_SWEEP_STEP || kind == KITH_STORE_CHUNK_LEASE ||
                kind == KITH_STORE_REAP; /* at disk */
    bool disk = op->op.durability == KITH_DURABLE_DISK;
    if (event->phase == 0) {
        uint64_t wall = world_wall_ms(sim, node);
        bool full = node->space > room_needed(&op->op);
        if (full && sim->mutant == MUTANT_FULL_WRITES && kind == KITH_STORE_PUT) {
            store_sim_apply(&node->store, op, wall, sim->secret);
        }
        if (full) {
            op->done.id = op->op.id;
            op->done.err = KITH_ENOSPC;
            op->done.message = "the disk is full";
        } else {
            store_sim_apply(&node->store, op, wall, sim->secret);
        }
        if (op->done.err != KITH_OK) {
            store_complete(sim, event, KITH_DURABLE_OS);
        } else if (sim->mutant == MUTANT_ACK_EARLY && write && !once && !disk) {
            store_complete(sim, event, KITH_DURABLE_OS);
        } else { /* reads too wait until what they have seen is at the operating system */
            uint64_t order = node->store.busy_us + 1;
            node->store.busy_us = order > sim->now_us + 200 ? order : sim->now_us + 200;
            uint32_t delay = (uint32_t)(node->store.busy_us - sim->now_us);
            store_next(sim, event, 1, delay);
        }
        return;
    }
    if (event->phase == 1) {
        if (write && crash_here(sim, event->entity, 4)) {
            return;
        }
        if (write && node->space == DISK_FULL && sim_chance(sim, 200)) {
            flush_fails(sim, event);
            return;
        }
        node->store.os_seq = op->seq > node->store.os_seq ? op->seq : node->store.os_seq;
        if (write && crash_here(sim, event->entity, 4)) {
            return;
        }
        uint64_t start = node->start;
        if (kind == KITH_STORE_CHUNK_SYNC && sim->mutant == MUTANT_SYNC_LIES) {
            store_complete(sim, event, KITH_DURABLE_DISK);
            return;
        }
        if (!once) {
            store_complete(sim, event, KITH_DURABLE_OS);
        }
        if (world_alive(sim, event->entity, start) && !crash_here(sim, event->entity, 4) && disk) {
            uint32_t delay = 500 + sim_below(sim, 2000);
            store_next(sim, event, 2, delay);
        }
        return;
    }
    if (crash_here(sim, event->entity, 4)) {
        return;
    }
    node->store.disk_seq = op->seq > node->store.disk_seq ? op->seq : node->store.disk_seq;
    store_complete(sim, event, KITH_DURABLE_DISK);
    (void)crash_here(sim, event->entity, 4);
}

void disk_submit(struct sim *sim, struct sim_node *node, const struct kith_store_op *op,
                         struct kith_msg_box *box)
{
    struct store_op *copy = kith_calloc(1, sizeof *copy);
    KITH_ASSERT(copy);
    if (op->kind == KITH_STORE_PUT) { /* whatever its clock does */
        uint64_t time =
            sim->mutant == MUTANT_WALL_TIME ? world_wall_ms(sim, node) << 16 : op->u.put.time;
        if (time < node->stamped || (time == node->stamped && sim->mutant != MUTANT_WALL_TIME)) {
            sim_fail(sim, "node %u stamps a write no later than the one before", node->index);
        }
        node->stamped = time;
    }
    copy->op = *op;
    copy->box = box ? kith_msg_box_hold(box) : NULL;
    kith_arena_init(&copy->arena, 0);
    uint32_t delay = 20 + sim_below(sim, sim->faults ? 800 : 100);
    uint64_t order = node->store.busy_us + 1;
    node->store.busy_us = order > sim->now_us + delay ? order : sim->now_us + delay;
    struct sim_event *event = sim_at(sim, node->store.busy_us, stored);
    event->entity = node->index;
    event->start = node->start;
    event->op = copy;
}
