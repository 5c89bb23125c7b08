/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * net.c - the network: connections between nodes, and of clients to nodes, and what goes wrong on
 * them. */
#include <string.h>

#include "sim.h"

#define BREAK_MAX_US 4000000u /* until a broken stream ends: longer than a lease */
#define CLOSE_MAX_US 21000u   /* until who is to know that a connection has ended knows */
#define MAY_WAIT_US 5000u /* the transport holds such a message back for so long at most */

/* Chains of links by (entity, connection). */
static uint32_t *link_chain(struct sim *sim, uint32_t entity, uint64_t conn)
{
    uint64_t hash = (conn + entity) * UINT64_C(0x9e3779b97f4a7c15);
    return &sim->link_heads[hash >> 32 & (SIM_LINK_HEADS - 1)];
}

static void link_enter(struct sim *sim, uint32_t index, uint32_t side)
{
    struct sim_link *link = &sim->links[index];
    uint32_t *head = link_chain(sim, link->end[side], link->conn[side]);
    link->next[side] = *head;
    *head = 2 * index + side + 1;
}

static uint32_t link_find(struct sim *sim, uint32_t entity, uint64_t conn, uint32_t *ret_side)
{
    uint32_t at = *link_chain(sim, entity, conn);
    while (at != 0) {
        uint32_t index = (at - 1) / 2;
        uint32_t side = (at - 1) % 2;
        const struct sim_link *link = &sim->links[index];
        if (link->end[side] == entity && link->conn[side] == conn &&
            link->start[side] == world_start_of(sim, entity)) {
            *ret_side = side;
            return index;
        }
        at = link->next[side];
    }
    return UINT32_MAX;
}

static void tell_closed(struct sim *sim, struct sim_event *event)
{
    struct sim_link *link = &sim->links[event->link];
    uint32_t entity = link->end[event->side];
    uint64_t conn = link->conn[event->side];
    if (!world_alive(sim, entity, event->start) || conn == 0 ||
        faults_frozen(sim, entity, event)) {
        return;
    }
    link->conn[event->side] = 0;
    if (entity < SIM_NODES_MAX) {
        struct kith_event closed = {.kind = KITH_EVENT_CLOSED, .conn = conn};
        world_node_step(sim, &sim->nodes[entity], &closed, NULL);
    } else {
        struct kith_client_event closed = {
            .kind = KITH_CLIENT_EVENT_CLOSED, .conn = conn, .reason = "cut"};
        world_client_step(sim, &sim->clients[entity - SIM_NODES_MAX], &closed);
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
            delay += zones_distance_us(sim, link->end[1 - s], link->end[s]);
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

/* NULL where it cannot be read. */
static struct kith_msg_box *unpack(const struct sim_event *event, struct kith_error *error)
{
    struct kith_msg_box *box = NULL;
    struct kith_bytes bytes = kith_bytes_make(event->bytes, event->size);
    enum kith_err err = KITH_OK;
    if (!event->bulk) {
        err = kith_wire_unpack(bytes, take_box, &box, error);
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
            err = kith_wire_bulk_unpack(kith_bytes_make(bytes.data, prefix), blob, &box, error);
        }
    }
    return box;
}

/* A mutant: whoever is to pass a copy on answers for those who are to get it. */
static void relay_acks(struct sim *sim, const struct sim_node *node, uint64_t conn,
                       const struct kith_msg *msg)
{
    bool chunk = msg->kind == KITH_MSG_CHUNK_PUT_REQ;
    const struct kith_relay_to *to =
        chunk ? msg->u.chunk_put_req.relays : msg->u.replicate_req.relays;
    uint32_t count = chunk ? msg->u.chunk_put_req.relay_count : msg->u.replicate_req.relay_count;
    for (uint32_t i = 0; i < count; i++) {
        struct kith_msg early;
        memset(&early, 0, sizeof early);
        early.kind = chunk ? KITH_MSG_CHUNK_RES : KITH_MSG_REPLICATE_RES;
        early.id = to[i].id;
        if (chunk) {
            early.u.chunk_res.status.message = "";
        } else {
            early.u.replicate_res.status.message = "";
            early.u.replicate_res.node = to[i].node;
        }
        net_send(sim, node->index, conn, &early);
    }
}

/* Deliberate faults of a coordinator or a replica, done to its messages. */
static void mutate(struct sim *sim, struct sim_node *node, uint64_t conn, struct kith_msg *msg)
{
    if (sim->mutant == MUTANT_COUNT_TWICE && msg->kind == KITH_MSG_PUT_REQ) {
        msg->u.put_req.w = 1;
    }
    if (sim->mutant == MUTANT_WAIT_ALL && msg->kind == KITH_MSG_PUT_REQ) {
        msg->u.put_req.w = SIM_REPLICAS;
    }
    if (sim->mutant == MUTANT_EMPTY_PROMISE && msg->kind == KITH_MSG_WATCH_REQ && node->index > 0) {
        msg->u.watch_req.group.bytes[KITH_GROUP_SIZE - 1] ^= 0x55; /* of which nothing changes */
    }
    if (sim->mutant == MUTANT_MOVED_EARLY && msg->kind == KITH_MSG_PING) {
        msg->u.ping.moved = true;
    }
    if (sim->mutant == MUTANT_LEFT_EARLY && msg->kind == KITH_MSG_OFFER_RES) {
        msg->u.offer_res.done = true;
    }
    if (sim->mutant == MUTANT_RELAY_ACKS && (msg->kind == KITH_MSG_REPLICATE_REQ ||
                                              msg->kind == KITH_MSG_CHUNK_PUT_REQ)) {
        relay_acks(sim, node, conn, msg);
    }
    if (sim->mutant == MUTANT_REPLICA_EARLY && msg->kind == KITH_MSG_REPLICATE_REQ) {
        struct kith_msg early;
        memset(&early, 0, sizeof early);
        early.kind = KITH_MSG_REPLICATE_RES;
        early.id = msg->id;
        early.u.replicate_res.status.message = "";
        net_send(sim, node->index, conn, &early);
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
        const uint32_t *end = sim->links[index].end;
        uint64_t far_us = zones_distance_us(sim, end[1], end[0]);
        sim->links[index].broken = true;
        sim_at(sim, sim->now_us + delay, link_over)->link = index;
        watches_deaf(sim, end[0] - SIM_NODES_MAX, sim->now_us + delay + CLOSE_MAX_US + far_us);
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
    net_send(sim, entity, link->conn[side], &msg);
    return true;
}

static void deliver(struct sim *sim, struct sim_event *event)
{
    struct sim_link *link = &sim->links[event->link];
    struct kith_error error = {0};
    uint32_t side = event->side;
    uint32_t entity = link->end[side];
    if (!link->open || !world_alive(sim, entity, link->start[side]) ||
        !world_alive(sim, link->end[1 - side], link->start[1 - side]) ||
        (link->broken && entity >= SIM_NODES_MAX)) {
        return;
    }
    if (sim->cut[link->end[1 - side]][entity]) {
        if (event->event) {
            link_break(sim, event->link);
        }
        return;
    }
    if (faults_frozen(sim, entity, event)) {
        return;
    }
    if (event->corrupt) { /* the decoder may say what it likes; the transport ends it all */
        kith_msg_box_drop(unpack(event, &error));
        sim_trace(sim, "%u<-%u a corrupt message", entity, link->end[1 - side]);
        link_close(sim, event->link, 2);
        return;
    }
    struct kith_msg_box *box = unpack(event, &error);
    if (!box) {
        sim_fail(sim, "a message does not decode: %s", error.message);
    }
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
        world_node_step(sim, &sim->nodes[entity], &message, box);
    } else {
        struct kith_client_event message = {.kind = KITH_CLIENT_EVENT_MESSAGE,
                                            .conn = link->conn[side],
                                            .msg = &box->msg,
                                            .box = box};
        world_client_step(sim, &sim->clients[entity - SIM_NODES_MAX], &message);
    }
    kith_msg_box_drop(box);
}

/* Now and then a byte is another one. */
static void corrupt(struct sim *sim, struct sim_event *event)
{
    if (event->size > 0 && faults_has(sim, KIND_CORRUPT) && sim_chance(sim, 3)) {
        size_t at = sim_random(sim) % event->size;
        event->bytes[at] ^= (uint8_t)(1u << sim_below(sim, 8));
        event->corrupt = true;
    }
}

void net_send(struct sim *sim, uint32_t entity, uint64_t conn, const struct kith_msg *msg)
{
    uint32_t side = 0;
    uint32_t index = link_find(sim, entity, conn, &side);
    if (index == UINT32_MAX || !sim->links[index].open) {
        return;
    }
    bool hello = msg->kind == KITH_MSG_HELLO;
    bool event_of_watch = msg->kind == KITH_MSG_WATCH_EVENT;
    bool moves = sim->mutant == MUTANT_JOINT_OWNERS; /* they come to an end soon */
    if (!hello && sim->faults && !moves && sim_chance(sim, 15)) { /* lost */
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
    uint32_t far_us = zones_distance_us(sim, entity, sim->links[index].end[1 - side]);
    struct kith_buf buf;
    kith_buf_init(&buf);
    bool bulk = kith_wire_is_bulk(msg->kind);
    if (nodes && !hello && bulk != (sim->links[index].cls == KITH_CONN_BULK)) {
        sim_fail(sim, "a %s on a connection of another class", kith_msg_kind_name(msg->kind));
    }
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
        delay += far_us;
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
        corrupt(sim, event);
    }
    kith_buf_release(&buf);
}

static void link_up(struct sim *sim, struct sim_event *event)
{
    struct sim_link *link = &sim->links[event->link];
    uint32_t from = link->end[0];
    uint32_t to = link->end[1];
    if (!world_alive(sim, from, link->start[0]) || link->conn[0] == 0 ||
        faults_frozen(sim, from, event)) {
        return;
    }
    if (to >= SIM_NODES_MAX || !sim->nodes[to].up || sim->cut[from][to] || sim->cut[to][from]) {
        link_close(sim, event->link, 0);
        return;
    }
    if (faults_frozen(sim, to, event)) {
        return;
    }
    link->start[1] = sim->nodes[to].start;
    link->conn[1] = sim->conn_next;
    sim->conn_next++;
    link->open = true;
    link_enter(sim, event->link, 1);
    struct kith_event accepted = {
        .kind = KITH_EVENT_ACCEPTED, .conn = link->conn[1], .cls = link->cls};
    world_node_step(sim, &sim->nodes[to], &accepted, NULL);
    link = &sim->links[event->link];
    if (from < SIM_NODES_MAX) {
        struct kith_event opened = {.kind = KITH_EVENT_OPENED, .conn = link->conn[0]};
        world_node_step(sim, &sim->nodes[from], &opened, NULL);
    } else {
        struct kith_client_event opened = {.kind = KITH_CLIENT_EVENT_OPENED, .conn = link->conn[0]};
        world_client_step(sim, &sim->clients[from - SIM_NODES_MAX], &opened);
    }
}

void net_connect(struct sim *sim, uint32_t entity, uint64_t conn, const char *address,
                 enum kith_conn_class cls)
{
    if (sim->link_count == sim->link_capacity) {
        sim->link_capacity = sim->link_capacity ? sim->link_capacity * 2 : 64;
        sim->links = kith_realloc(sim->links, sim->link_capacity * sizeof *sim->links);
        KITH_ASSERT(sim->links);
    }
    struct sim_link *link = &sim->links[sim->link_count];
    memset(link, 0, sizeof *link);
    link->cls = cls;
    link->end[0] = entity;
    link->conn[0] = conn;
    link->start[0] = world_start_of(sim, entity);
    link->end[1] = (uint32_t)(address[1] - '0');
    uint32_t delay = 100 + sim_below(sim, 500);
    delay += zones_distance_us(sim, entity, link->end[1]) +
             zones_distance_us(sim, link->end[1], entity);
    struct sim_event *event = sim_at(sim, sim->now_us + delay, link_up);
    event->link = sim->link_count;
    link_enter(sim, sim->link_count, 0);
    sim->link_count++;
}

void net_close(struct sim *sim, uint32_t entity, uint64_t conn)
{
    uint32_t side = 0;
    uint32_t index = link_find(sim, entity, conn, &side);
    if (index != UINT32_MAX) {
        sim->links[index].conn[side] = 0;
        link_close(sim, index, 1 - side);
    }
}

void net_crashed(struct sim *sim, uint32_t node)
{
    for (uint32_t i = 0; i < sim->link_count; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            if (sim->links[i].open && sim->links[i].end[side] == node &&
                sim->links[i].start[side] == sim->nodes[node].start) {
                link_close(sim, i, 1 - side);
            }
        }
    }
}
