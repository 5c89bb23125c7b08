/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * world.c - the network, and the processes on it. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define WALL_MS      UINT64_C(1795000000000)
#define BREAK_MAX_US 4000000u /* until a broken stream ends: longer than a lease */
#define CLOSE_MAX_US 21000u   /* until who is to know that a connection has ended knows */
#define MAY_WAIT_US 5000u /* the transport holds such a message back for so long at most */

static void store_op_free(struct store_op *op)
{
    if (op) {
        kith_msg_box_drop(op->box);
        kith_blob_drop(op->blob);
        kith_arena_release(&op->arena);
        kith_free(op);
    }
}

static void event_free(struct sim_event *event)
{
    store_op_free(event->op);
    kith_free(event->bytes);
    kith_free(event);
}

/* ---- links ---- */

static uint64_t start_of(struct sim *sim, uint32_t entity)
{
    return entity < SIM_NODES_MAX ? sim->nodes[entity].start : 0;
}

static bool alive(struct sim *sim, uint32_t entity, uint64_t start)
{
    return entity >= SIM_NODES_MAX || (sim->nodes[entity].up && sim->nodes[entity].start == start);
}

static uint32_t link_find(struct sim *sim, uint32_t entity, uint64_t conn, uint32_t *ret_side)
{
    for (uint32_t i = 0; i < sim->link_count; i++) {
        struct sim_link *link = &sim->links[i];
        for (uint32_t side = 0; link->used && side < 2; side++) {
            if (link->end[side] == entity && link->conn[side] == conn &&
                link->start[side] == start_of(sim, entity)) {
                *ret_side = side;
                return i;
            }
        }
    }
    return UINT32_MAX;
}

static void node_step(struct sim *sim, struct sim_node *node, struct kith_event *event,
                      struct kith_msg_box *box);
static void client_step(struct sim *sim, struct sim_client *client,
                        struct kith_client_event *event);
static void send_msg(struct sim *sim, uint32_t entity, uint64_t conn, const struct kith_msg *msg);

static void tell_closed(struct sim *sim, struct sim_event *event)
{
    struct sim_link *link = &sim->links[event->link];
    uint32_t entity = link->end[event->side];
    uint64_t conn = link->conn[event->side];
    if (!alive(sim, entity, event->start) || conn == 0) {
        return;
    }
    link->conn[event->side] = 0;
    if (entity < SIM_NODES_MAX) {
        struct kith_event closed = {.kind = KITH_EVENT_CLOSED, .conn = conn};
        node_step(sim, &sim->nodes[entity], &closed, NULL);
    } else {
        struct kith_client_event closed = {
            .kind = KITH_CLIENT_EVENT_CLOSED, .conn = conn, .reason = "cut"};
        client_step(sim, &sim->clients[entity - SIM_NODES_MAX], &closed);
    }
}

/* Ends the link; `side` (2 = both) hears of it. */
static void link_close(struct sim *sim, uint32_t index, uint32_t side)
{
    struct sim_link *link = &sim->links[index];
    link->open = false;
    for (uint32_t s = 0; s < 2; s++) {
        if (side == s || side == 2) {
            uint32_t delay = 200 + sim_below(sim, CLOSE_MAX_US - 1000);
            struct sim_event *event = sim_at(sim, sim->now_us + delay, tell_closed);
            event->link = index;
            event->side = (uint8_t)s;
            event->start = link->start[s];
        }
    }
}

static void take_box(void *arg, struct kith_msg_box *box)
{
    *(struct kith_msg_box **)arg = box;
}

static struct kith_msg_box *unpack(struct sim *sim, const struct sim_event *event)
{
    struct kith_msg_box *box = NULL;
    struct kith_error error = {0};
    struct kith_bytes bytes = kith_bytes_make(event->bytes, event->size);
    enum kith_err err = KITH_OK;
    if (!event->bulk) {
        err = kith_wire_unpack(bytes, take_box, &box, &error);
    } else {
        size_t prefix = 0, size = 0;
        struct kith_blob *blob = NULL;
        err = kith_wire_bulk_split(bytes, bytes.size, &prefix, &size);
        if (err == KITH_OK && size > 0) {
            blob = kith_blob_new(size);
            KITH_ASSERT(blob);
            memcpy(blob->data, bytes.data + prefix, size);
        }
        if (err == KITH_OK) {
            err = kith_wire_bulk_unpack(kith_bytes_make(bytes.data, prefix), blob, &box, &error);
        }
    }
    if (err != KITH_OK || !box) {
        sim_fail(sim, "a message does not decode: %s", error.message);
        return NULL;
    }
    return box;
}

/* Deliberate faults of a coordinator or a replica, done to its messages. */
static void mutate(struct sim *sim, struct sim_node *node, uint64_t conn, struct kith_msg *msg)
{
    if (sim->mutant == MUTANT_COUNT_TWICE && msg->kind == KITH_MSG_PUT_REQ) {
        msg->u.put_req.w = 1;
    }
    if (sim->mutant == MUTANT_EMPTY_PROMISE && msg->kind == KITH_MSG_WATCH_REQ && node->index > 0) {
        msg->u.watch_req.group.bytes[KITH_GROUP_SIZE - 1] ^= 0x55; /* of which nothing changes */
    }
    if (sim->mutant == MUTANT_REPLICA_EARLY && msg->kind == KITH_MSG_REPLICATE_REQ) {
        struct kith_msg early;
        memset(&early, 0, sizeof early);
        early.kind = KITH_MSG_REPLICATE_RES;
        early.id = msg->id;
        early.u.replicate_res.status.message = "";
        send_msg(sim, node->index, conn, &early);
    }
}

static void link_over(struct sim *sim, struct sim_event *event)
{
    if (sim->links[event->link].open) {
        link_close(sim, event->link, 2);
    }
}

/* A stream has no holes: where what one end tells unasked is lost, nothing follows it, and the
 * connection ends, at the latest when the keepalive sees it. Answers that are lost are missed by
 * those who asked: for them a hole does. */
static void link_break(struct sim *sim, uint32_t index)
{
    if (!sim->links[index].broken) {
        uint32_t delay = sim_below(sim, BREAK_MAX_US);
        sim->links[index].broken = true;
        sim_at(sim, sim->now_us + delay, link_over)->link = index;
        struct sim_client *client = &sim->clients[sim->links[index].end[0] - SIM_NODES_MAX];
        uint64_t known_us = sim->now_us + delay + CLOSE_MAX_US;
        client->deaf_until_us = known_us > client->deaf_until_us ? known_us : client->deaf_until_us;
    }
}

/* As a node does that has too many: what it stores is told to nobody here. */
static bool watch_refused(struct sim *sim, const struct sim_link *link, uint32_t side,
                          const struct kith_msg *asked)
{
    uint32_t entity = link->end[side];
    if (entity >= SIM_NODES_MAX || !sim->nodes[entity].full || asked->kind != KITH_MSG_WATCH_REQ) {
        return false;
    }
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_WATCH_RES;
    msg.id = asked->id;
    msg.u.watch_res.status.err = KITH_ELIMIT;
    msg.u.watch_res.status.message = "";
    send_msg(sim, entity, link->conn[side], &msg);
    return true;
}

static void deliver(struct sim *sim, struct sim_event *event)
{
    struct sim_link *link = &sim->links[event->link];
    uint32_t side = event->side;
    uint32_t entity = link->end[side];
    if (!link->open || !alive(sim, entity, link->start[side]) ||
        !alive(sim, link->end[1 - side], link->start[1 - side]) ||
        (link->broken && entity >= SIM_NODES_MAX)) {
        return;
    }
    if (sim->cut[link->end[0]][link->end[1]]) {
        if (event->event) {
            link_break(sim, event->link);
        }
        return;
    }
    struct kith_msg_box *box = unpack(sim, event);
    if (!box || !joins_deliver(sim, entity, &box->msg) ||
        watch_refused(sim, link, side, &box->msg)) {
        kith_msg_box_drop(box);
        return;
    }
    sim_trace(sim, "%u<-%u %s %llu", entity, link->end[1 - side], kith_msg_kind_name(box->msg.kind),
              (unsigned long long)box->msg.id);
    if (entity < SIM_NODES_MAX) {
        mutate(sim, &sim->nodes[entity], link->conn[side], &box->msg);
        link = &sim->links[event->link];
        struct kith_event message = {
            .kind = KITH_EVENT_MESSAGE, .conn = link->conn[side], .msg = &box->msg};
        node_step(sim, &sim->nodes[entity], &message, box);
    } else {
        struct kith_client_event message = {.kind = KITH_CLIENT_EVENT_MESSAGE,
                                            .conn = link->conn[side],
                                            .msg = &box->msg,
                                            .box = box};
        client_step(sim, &sim->clients[entity - SIM_NODES_MAX], &message);
    }
    kith_msg_box_drop(box);
}

static void send_msg(struct sim *sim, uint32_t entity, uint64_t conn, const struct kith_msg *msg)
{
    uint32_t side = 0;
    uint32_t index = link_find(sim, entity, conn, &side);
    if (index == UINT32_MAX || !sim->links[index].open) {
        return;
    }
    bool hello = msg->kind == KITH_MSG_HELLO;
    bool event_of_watch = msg->kind == KITH_MSG_WATCH_EVENT;
    if (!hello && sim->faults && sim_chance(sim, 15)) { /* lost */
        if (event_of_watch) {
            link_break(sim, index);
        }
        return;
    }
    /* Streams never deliver twice. Between nodes it is done all the same, for what they say is
     * idempotent; of a client's it would belie an answer: a put that was refused must not come a
     * second time. */
    bool nodes =
        sim->links[index].end[0] < SIM_NODES_MAX && sim->links[index].end[1] < SIM_NODES_MAX;
    uint32_t copies = nodes && !hello && sim->faults && sim_chance(sim, 15) ? 2 : 1;
    struct kith_buf buf;
    kith_buf_init(&buf);
    bool bulk = kith_wire_is_bulk(msg->kind);
    /* What a watch rests on is the order of a stream: a promise is older than the answer to what
     * was asked after it. Other messages may overtake each other. */
    bool watches = event_of_watch || msg->kind == KITH_MSG_WATCH_REQ ||
                   msg->kind == KITH_MSG_WATCH_RES;
    if (bulk) {
        struct kith_blob *payload = NULL;
        kith_wire_bulk_prefix(msg, &buf, &payload);
        kith_buf_put(&buf, payload ? payload->data : NULL, payload ? payload->size : 0);
    } else {
        kith_wire_append(msg, &buf);
    }
    KITH_ASSERT(!buf.failed);
    for (uint32_t i = 0; i < copies; i++) {
        uint32_t delay = hello ? 0 : 50 + sim_below(sim, sim->faults ? 3000 : 300);
        if (!hello && sim->faults && sim_chance(sim, 10)) {
            delay += sim_below(sim, 300000);
        }
        delay += msg->may_wait ? MAY_WAIT_US : 0;
        uint64_t *after_us = &sim->links[index].watch_us[1 - side];
        uint64_t at_us = sim->now_us + delay > *after_us ? sim->now_us + delay : *after_us;
        *after_us = watches ? at_us : *after_us;
        struct sim_event *event = sim_at(sim, at_us, deliver);
        event->link = index;
        event->side = (uint8_t)(1 - side);
        event->event = event_of_watch;
        event->bytes = kith_malloc(buf.size + 1);
        KITH_ASSERT(event->bytes);
        memcpy(event->bytes, buf.data, buf.size);
        event->size = buf.size;
        event->bulk = bulk;
    }
    kith_buf_release(&buf);
}

static void link_up(struct sim *sim, struct sim_event *event)
{
    struct sim_link *link = &sim->links[event->link];
    uint32_t from = link->end[0];
    uint32_t to = link->end[1];
    if (!alive(sim, from, link->start[0]) || link->conn[0] == 0) {
        return;
    }
    if (to >= SIM_NODES_MAX || !sim->nodes[to].up || sim->cut[from][to]) {
        link_close(sim, event->link, 0);
        return;
    }
    link->start[1] = sim->nodes[to].start;
    link->conn[1] = sim->conn_next;
    sim->conn_next++;
    link->open = true;
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = link->conn[1]};
    node_step(sim, &sim->nodes[to], &accepted, NULL);
    link = &sim->links[event->link];
    if (from < SIM_NODES_MAX) {
        struct kith_event opened = {.kind = KITH_EVENT_OPENED, .conn = link->conn[0]};
        node_step(sim, &sim->nodes[from], &opened, NULL);
    } else {
        struct kith_client_event opened = {.kind = KITH_CLIENT_EVENT_OPENED, .conn = link->conn[0]};
        client_step(sim, &sim->clients[from - SIM_NODES_MAX], &opened);
    }
}

static void link_connect(struct sim *sim, uint32_t entity, uint64_t conn, const char *address)
{
    if (sim->link_count == sim->link_capacity) {
        sim->link_capacity = sim->link_capacity ? sim->link_capacity * 2 : 64;
        sim->links = kith_realloc(sim->links, sim->link_capacity * sizeof *sim->links);
        KITH_ASSERT(sim->links);
    }
    struct sim_link *link = &sim->links[sim->link_count];
    memset(link, 0, sizeof *link);
    link->used = true;
    link->end[0] = entity;
    link->conn[0] = conn;
    link->start[0] = start_of(sim, entity);
    link->end[1] = (uint32_t)(address[1] - '0');
    uint32_t delay = 100 + sim_below(sim, 500);
    struct sim_event *event = sim_at(sim, sim->now_us + delay, link_up);
    event->link = sim->link_count;
    sim->link_count++;
}

static void conn_close(struct sim *sim, uint32_t entity, uint64_t conn)
{
    uint32_t side = 0;
    uint32_t index = link_find(sim, entity, conn, &side);
    if (index != UINT32_MAX) {
        sim->links[index].conn[side] = 0;
        link_close(sim, index, 1 - side);
    }
}

/* ---- store ---- */

static bool crash_here(struct sim *sim, uint32_t node, uint32_t per_mille)
{
    if (!sim->faults || !sim_chance(sim, sim->storm ? 8 * per_mille : per_mille)) {
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
    op->done.reached = reached;
    struct kith_event done = {.kind = KITH_EVENT_STORED, .done = &op->done};
    sim_trace(sim, "%u stored kind %d at %d: %d", event->entity, (int)op->op.kind, (int)reached,
              (int)op->done.err);
    sim->untold = sim->mutant == MUTANT_UNTOLD &&
                  (op->op.kind == KITH_STORE_MERGE || op->op.kind == KITH_STORE_ABSORB);
    node_step(sim, &sim->nodes[event->entity], &done, NULL);
    sim->untold = false;
}

/* phases: 0 carry out, 1 at the operating system, 2 on disk */
static void stored(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->entity];
    struct store_op *op = event->op;
    if (!alive(sim, event->entity, event->start)) {
        return;
    }
    enum kith_store_kind kind = op->op.kind;
    bool write = kind == KITH_STORE_PUT || kind == KITH_STORE_MERGE ||
                 kind == KITH_STORE_ABSORB ||
                 kind == KITH_STORE_META_PUT || kind == KITH_STORE_CHUNK_PUT ||
                 kind == KITH_STORE_CHUNK_SYNC;
    bool once = kind == KITH_STORE_META_PUT || kind == KITH_STORE_CHUNK_SYNC; /* at disk */
    bool disk = op->op.durability == KITH_DURABLE_DISK;
    if (event->phase == 0) {
        uint64_t wall = WALL_MS + sim->now_us / 1000 + (uint64_t)node->skew_ms;
        store_sim_apply(&node->store, op, wall, sim->secret);
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
        if (alive(sim, event->entity, start) && !crash_here(sim, event->entity, 4) && disk) {
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

static void store_submit(struct sim *sim, struct sim_node *node, const struct kith_store_op *op,
                         struct kith_msg_box *box)
{
    struct store_op *copy = kith_calloc(1, sizeof *copy);
    KITH_ASSERT(copy);
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

/* ---- nodes ---- */

static void node_tick(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->entity];
    if (alive(sim, event->entity, event->start)) {
        node->tick_us = UINT64_MAX;
        struct kith_event tick = {.kind = KITH_EVENT_TICK};
        node_step(sim, node, &tick, NULL);
    }
}

static void node_schedule(struct sim *sim, struct sim_node *node, uint64_t deadline_ms)
{
    if (deadline_ms == UINT64_MAX) {
        return;
    }
    uint64_t at = deadline_ms * 1000;
    at = at > sim->now_us + 100 ? at : sim->now_us + 100;
    if (at < node->tick_us) {
        node->tick_us = at;
        struct sim_event *event = sim_at(sim, at, node_tick);
        event->entity = node->index;
        event->start = node->start;
    }
}

static void node_step(struct sim *sim, struct sim_node *node, struct kith_event *event,
                      struct kith_msg_box *box)
{
    struct kith_effects effects;
    event->mono_ms = sim->now_us / 1000;
    event->wall_ms = WALL_MS + sim->now_us / 1000 + (uint64_t)node->skew_ms;
    event->random = sim_random(sim);
    if (kith_node_step(node->core, event, &effects) != KITH_OK) {
        sim_fail(sim, "node %u does not take an event", node->index);
        return;
    }
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_effect *effect = &effects.effects[i];
        switch (effect->kind) {
        case KITH_EFFECT_SEND:
            if (!sim->untold || effect->msg->kind != KITH_MSG_WATCH_EVENT) {
                send_msg(sim, node->index, effect->conn, effect->msg);
            }
            break;
        case KITH_EFFECT_CONNECT:
            link_connect(sim, node->index, effect->conn, effect->address);
            break;
        case KITH_EFFECT_CLOSE:
            sim_trace(sim, "%u closes: %s", node->index, effect->reason);
            conn_close(sim, node->index, effect->conn);
            break;
        case KITH_EFFECT_STORE:
            store_submit(sim, node, effect->op, box);
            break;
        case KITH_EFFECT_LOG:
            sim_trace(sim, "%u log: %s", node->index, effect->text);
            break;
        case KITH_EFFECT_READY:
            node->ready = true;
            sim->secret = kith_bytes_make(sim->secret_bytes, sizeof sim->secret_bytes);
            memcpy(sim->secret_bytes, kith_node_secret(node->core).data, sizeof sim->secret_bytes);
            break;
        }
    }
    node_schedule(sim, node, effects.deadline_ms);
}

void world_start(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    struct kith_node_options options = {
        .address = node->address, .software = "sim", .join = index > 0 ? "n0" : NULL};
    struct kith_start start;
    memset(&start, 0, sizeof start);
    node->start++;
    for (uint32_t i = 0; i < 4; i++) {
        start.random[i] = sim_random(sim);
    }
    start.mono_ms = sim->now_us / 1000;
    start.wall_ms = WALL_MS + sim->now_us / 1000 + (uint64_t)node->skew_ms;
    for (uint8_t key = 1; key < KITH_META_KEYS; key++) {
        start.meta[key] = store_sim_get(&node->store, 'm', &key, 1);
    }
    start.has_data = store_sim_has_data(&node->store);
    uint64_t run = sim_random(sim) | 1;
    store_sim_start(&node->store, run);
    struct kith_error error;
    if (kith_node_new(&options, &start, &node->core, &error) != KITH_OK) {
        sim_fail(sim, "node %u does not start: %s", index, error.message);
        return;
    }
    node->up = true;
    node->tick_us = UINT64_MAX;
    sim_trace(sim, "%u starts", index);
    node_schedule(sim, node, 0);
}

static void node_restart(struct sim *sim, struct sim_event *event)
{
    if (!sim->nodes[event->entity].up && !sim->nodes[event->entity].held && !sim->failed) {
        world_start(sim, event->entity);
    }
}

/* The core is freed after the event at hand, which may still use it. */
static void node_bury(struct sim *sim, struct sim_event *event)
{
    (void)sim;
    kith_node_free((struct kith_node *)(void *)event->bytes);
    event->bytes = NULL;
}

bool world_may_lose_power(const struct sim *sim)
{
    return sim->newest && sim->newest->owner_slots > 1;
}

void world_crash(struct sim *sim, uint32_t index, bool power)
{
    struct sim_node *node = &sim->nodes[index];
    if (!node->up) {
        return;
    }
    sim->crashes++;
    sim->power_losses += power ? 1 : 0;
    sim_trace(sim, "%u %s", index, power ? "loses power" : "is killed");
    for (uint32_t i = 0; i < sim->link_count; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            if (sim->links[i].open && sim->links[i].end[side] == index &&
                sim->links[i].start[side] == node->start) {
                link_close(sim, i, 1 - side);
            }
        }
    }
    node->up = false;
    struct sim_event *bury = sim_at(sim, sim->now_us, node_bury);
    bury->bytes = (uint8_t *)(void *)node->core;
    node->core = NULL;
    store_sim_crash(&node->store, power);
    uint32_t delay = 20000 + sim_below(sim, 2000000);
    struct sim_event *event = sim_at(sim, sim->now_us + delay, node_restart);
    event->entity = index;
}

/* ---- clients ---- */

static void client_tick(struct sim *sim, struct sim_event *event)
{
    struct sim_client *client = &sim->clients[event->entity];
    client->tick_us = UINT64_MAX;
    struct kith_client_event tick = {.kind = KITH_CLIENT_EVENT_TICK};
    client_step(sim, client, &tick);
}

static void client_step(struct sim *sim, struct sim_client *client, struct kith_client_event *event)
{
    struct kith_client_effects effects;
    event->mono_ms = sim->now_us / 1000;
    event->random = sim_random(sim);
    uint32_t entity = SIM_NODES_MAX + client->index;
    if (kith_client_core_step(client->core, event, &effects) != KITH_OK) {
        sim_fail(sim, "client %u does not take an event", client->index);
        return;
    }
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_client_effect *effect = &effects.effects[i];
        switch (effect->kind) {
        case KITH_CLIENT_EFFECT_SEND:
            send_msg(sim, entity, effect->conn, effect->msg);
            break;
        case KITH_CLIENT_EFFECT_CONNECT:
            link_connect(sim, entity, effect->conn, effect->address);
            break;
        case KITH_CLIENT_EFFECT_CLOSE:
            conn_close(sim, entity, effect->conn);
            break;
        case KITH_CLIENT_EFFECT_DONE:
            scenario_done(sim, client->index, effect->tag, effect->op_kind, effect->result);
            kith_client_core_release(client->core, effect->done);
            break;
        case KITH_CLIENT_EFFECT_WATCHED:
        case KITH_CLIENT_EFFECT_CHANGED:
            watches_effect(sim, client->index, effect);
            break;
        }
    }
    uint64_t at = effects.deadline_ms == UINT64_MAX ? UINT64_MAX : effects.deadline_ms * 1000;
    at = at > sim->now_us + 100 ? at : sim->now_us + 100;
    if (at < client->tick_us) {
        client->tick_us = at;
        sim_at(sim, at, client_tick)->entity = client->index;
    }
}

void world_client_op(struct sim *sim, uint32_t index, const struct kith_client_op *op, uint64_t tag)
{
    struct kith_client_event submit = {.kind = KITH_CLIENT_EVENT_SUBMIT, .tag = tag, .op = op};
    client_step(sim, &sim->clients[index], &submit);
}

void world_client_watch(struct sim *sim, uint32_t index, uint32_t group, bool begin)
{
    struct sim_watch *watch = &sim->clients[index].watches[group];
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_UNWATCH, .tag = watch->tag};
    struct kith_key key;
    sim_key(group * SIM_NAMES, &key);
    if (begin) {
        sim->watch_tag++;
        event.kind = KITH_CLIENT_EVENT_WATCH;
        event.tag = sim->watch_tag;
        event.group = &key.group;
    }
    kith_epoch_tell(&watch->epoch, 0);
    watch->tag = begin ? event.tag : 0;
    sim_trace(sim, "client %u %s group %u", index, begin ? "watches" : "no longer watches", group);
    client_step(sim, &sim->clients[index], &event);
}

void world_admin_init(struct sim *sim)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = sim->conn_next};
    uint64_t conn = sim->conn_next;
    sim->conn_next++;
    node_step(sim, &sim->nodes[0], &accepted, NULL);
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_HELLO;
    msg.u.hello.protocol = KITH_PROTOCOL_VERSION;
    msg.u.hello.address = "";
    msg.u.hello.software = "";
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = &msg};
    node_step(sim, &sim->nodes[0], &event, NULL);
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_INIT_REQ;
    msg.id = 1;
    msg.u.init_req.name = "sim";
    msg.u.init_req.partitions = SIM_PARTITIONS;
    msg.u.init_req.zone = "";
    node_step(sim, &sim->nodes[0], &event, NULL);
}

/* ---- life ---- */

void world_init(struct sim *sim)
{
    static const char *const servers[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6"};
    sim->conn_next = 1;
    sim->now_us = 1000000;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->index = i;
        node->store.sim = sim;
        node->store.node = i;
        node->skew_ms = (int64_t)sim_below(sim, 4000) - 2000;
        (void)snprintf(node->address, sizeof node->address, "n%u", i);
        if (i != sim->late) {
            world_start(sim, i);
        }
    }
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = &sim->clients[i];
        client->index = i;
        client->tick_us = UINT64_MAX;
        struct kith_client_core_options options = {.server_count = sim->node_count,
                                                   .servers = servers,
                                                   .op_timeout_ms = 3000,
                                                   .writer = "sim",
                                                   .mono_ms = sim->now_us / 1000};
        for (uint32_t k = 0; k < 4; k++) {
            options.random[k] = sim_random(sim);
        }
        struct kith_error error;
        enum kith_err err = kith_client_core_new(&options, &client->core, &error);
        KITH_ASSERT(err == KITH_OK);
        sim_at(sim, sim->now_us, client_tick)->entity = i;
    }
}

void world_release(struct sim *sim)
{
    while (sim->event_count > 0) {
        struct sim_event *event = sim_next(sim);
        if (event->fire == node_bury) {
            node_bury(sim, event);
        }
        event_free(event);
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        kith_node_free(sim->nodes[i].core);
        store_sim_release(&sim->nodes[i].store);
    }
    for (uint32_t i = 0; i < sim->client_count; i++) {
        kith_client_core_free(sim->clients[i].core);
        for (uint32_t k = 0; k < SIM_ROWS; k++) {
            sim_bytes_clear(&sim->clients[i].context[k]);
            sim_bytes_clear(&sim->clients[i].seen[k]);
        }
    }
    watches_release(sim);
    kith_free(sim->links);
    kith_free(sim->events);
    kith_table_drop(sim->newest);
    oracle_release(&sim->oracle);
}

void world_run(struct sim *sim, uint64_t until_us)
{
    while (!sim->failed && sim->event_count > 0 && sim->events[0]->at_us <= until_us) {
        struct sim_event *event = sim_next(sim);
        sim->now_us = event->at_us;
        event->fire(sim, event);
        event_free(event);
    }
    if (!sim->failed) {
        sim->now_us = until_us;
    }
}

void world_heal(struct sim *sim)
{
    sim->faults = false;
    memset(sim->cut, 0, sizeof sim->cut);
    for (uint32_t i = 0; i < sim->node_count && !sim->failed; i++) {
        if (!sim->nodes[i].up) {
            world_start(sim, i);
        }
    }
}
