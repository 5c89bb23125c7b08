/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * world.c - network, nodes and their small records; see scale.h. */
#include <stdio.h>
#include <string.h>

#include "data/tree.h"
#include "scale.h"

#define WALL_MS 1700000000000u
#define DISK_US 1000u

static uint64_t draw(struct scale *scale)
{
    scale->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = scale->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t scale_below(struct scale *scale, uint32_t bound)
{
    return (uint32_t)(draw(scale) % bound);
}

/* ---- Events: a heap by time, then number ---- */

static bool before(const struct scale_event *a, const struct scale_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void event_add(struct scale *scale, struct scale_event event)
{
    if (scale->event_count == scale->event_capacity) {
        scale->event_capacity = scale->event_capacity ? 2 * scale->event_capacity : 4096;
        scale->events = kith_realloc(scale->events, scale->event_capacity * sizeof *scale->events);
        KITH_ASSERT(scale->events);
    }
    event.number = scale->number++;
    uint32_t at = scale->event_count++;
    while (at > 0 && before(&event, &scale->events[(at - 1) / 2])) {
        scale->events[at] = scale->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    scale->events[at] = event;
}

static struct scale_event event_take(struct scale *scale)
{
    struct scale_event first = scale->events[0];
    struct scale_event last = scale->events[--scale->event_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= scale->event_count) {
            break;
        }
        child += child + 1 < scale->event_count &&
                         before(&scale->events[child + 1], &scale->events[child])
                     ? 1
                     : 0;
        if (!before(&scale->events[child], &last)) {
            break;
        }
        scale->events[at] = scale->events[child];
        at = child;
    }
    scale->events[at] = last;
    return first;
}

/* ---- Links ---- */

static bool alive(const struct scale *scale, uint32_t node, uint64_t start)
{
    return scale->nodes[node].core && scale->nodes[node].start == start;
}

static uint32_t link_of(const struct scale *scale, uint32_t node, uint64_t conn)
{
    if (conn < KITH_CONN_CORE_BASE) {
        return (uint32_t)conn - 1;
    }
    uint64_t number = conn - KITH_CONN_CORE_BASE;
    const struct scale_node *of = &scale->nodes[node];
    return number < of->link_count ? of->links[number] : UINT32_MAX;
}

static void node_step(struct scale *scale, uint32_t index, struct kith_event *event);

static void tell_closed(struct scale *scale, uint32_t link, uint32_t side)
{
    struct scale_event event = {.at_us = scale->now_us + 100 + scale_below(scale, 400),
                                .kind = SCALE_CLOSED,
                                .link = link,
                                .side = side,
                                .node = scale->links[link].end[side],
                                .start = scale->links[link].start[side]};
    event_add(scale, event);
}

static void connect_to(struct scale *scale, uint32_t index, uint64_t conn, const char *address)
{
    struct scale_node *node = &scale->nodes[index];
    unsigned to = 0, port = 0;
    KITH_ASSERT(sscanf(address, "n%u:%u", &to, &port) == 2 && to < scale->count);
    if (scale->link_count == scale->link_capacity) {
        scale->link_capacity = scale->link_capacity ? 2 * scale->link_capacity : 4096;
        scale->links = kith_realloc(scale->links, scale->link_capacity * sizeof *scale->links);
        KITH_ASSERT(scale->links);
    }
    uint32_t number = (uint32_t)(conn - KITH_CONN_CORE_BASE);
    if (number >= node->link_capacity) {
        node->link_capacity = 2 * number + 64;
        node->links = kith_realloc(node->links, node->link_capacity * sizeof *node->links);
        KITH_ASSERT(node->links);
    }
    while (node->link_count <= number) {
        node->links[node->link_count++] = UINT32_MAX;
    }
    node->links[number] = scale->link_count;
    struct scale_link *link = &scale->links[scale->link_count];
    memset(link, 0, sizeof *link);
    link->end[0] = index;
    link->end[1] = to;
    link->port = port;
    link->conn = conn;
    link->start[0] = node->start;
    struct scale_event event = {.at_us = scale->now_us + 300 + scale_below(scale, 400),
                                .kind = SCALE_CONNECT,
                                .link = scale->link_count};
    scale->link_count++;
    event_add(scale, event);
}

static bool apart(const struct scale *scale, const struct scale_link *link)
{
    uint32_t half = scale->count / 2;
    return scale->split && (link->end[0] < half) != (link->end[1] < half);
}

static void connected(struct scale *scale, uint32_t index)
{
    struct scale_link *link = &scale->links[index];
    const struct scale_node *to = &scale->nodes[link->end[1]];
    if (!alive(scale, link->end[0], link->start[0]) || link->over || apart(scale, link)) {
        return;
    }
    if (!to->core || to->port != link->port) {
        if (to->core || !to->silent) {
            tell_closed(scale, index, 0);
        }
        return;
    }
    link->open = true;
    link->start[1] = to->start;
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = index + 1};
    struct kith_event opened = {.kind = KITH_EVENT_OPENED, .conn = link->conn};
    uint32_t opener = link->end[0];
    node_step(scale, link->end[1], &accepted);
    node_step(scale, opener, &opened);
}

static bool of_membership(enum kith_msg_kind kind)
{
    return kind == KITH_MSG_PING || kind == KITH_MSG_PROBE_REQ || kind == KITH_MSG_PROBE_RES ||
           kind == KITH_MSG_MEMBERS_SYNC || kind == KITH_MSG_HELLO;
}

static void send_msg(struct scale *scale, uint32_t index, uint64_t conn, const struct kith_msg *msg)
{
    uint32_t at = link_of(scale, index, conn);
    if (at == UINT32_MAX || !scale->links[at].open) {
        return;
    }
    struct scale_link *link = &scale->links[at];
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_wire_append(msg, &buf);
    KITH_ASSERT(!buf.failed);
    if (of_membership(msg->kind)) {
        scale->nodes[index].bytes += buf.size;
        scale->bytes += buf.size;
        scale->messages++;
    } else {
        scale->other_bytes += buf.size;
    }
    if (msg->kind != KITH_MSG_HELLO && scale_below(scale, 1000) < scale->loss) {
        kith_buf_release(&buf);
        return;
    }
    struct scale_event event = {.at_us = scale->now_us + (msg->kind == KITH_MSG_HELLO ? 50 : 51) +
                                         scale_below(scale, 450),
                                .kind = SCALE_MESSAGE,
                                .link = at,
                                .side = link->end[0] == index && link->conn == conn ? 1 : 0,
                                .bytes = kith_malloc(buf.size),
                                .size = buf.size};
    KITH_ASSERT(event.bytes);
    memcpy(event.bytes, buf.data, buf.size);
    kith_buf_release(&buf);
    event_add(scale, event);
}

static void take_box(void *arg, struct kith_msg_box *box)
{
    *(struct kith_msg_box **)arg = box;
}

static void deliver(struct scale *scale, struct scale_event *event)
{
    struct scale_link *link = &scale->links[event->link];
    uint32_t to = link->end[event->side];
    bool there = alive(scale, to, link->start[event->side]);
    if (link->open && !there &&
        scale->nodes[to].core) { /* it has started again: it knows nothing */
        link->open = false;
        link->over = true;
        tell_closed(scale, event->link, 1 - event->side);
    } else if (link->open && there && !apart(scale, link)) {
        struct kith_msg_box *box = NULL;
        enum kith_err err =
            kith_wire_unpack(kith_bytes_make(event->bytes, event->size), take_box, &box, NULL);
        KITH_ASSERT(err == KITH_OK && box);
        struct kith_event message = {.kind = KITH_EVENT_MESSAGE,
                                     .conn = event->side == 0 ? link->conn : event->link + 1,
                                     .msg = &box->msg};
        node_step(scale, to, &message);
        kith_msg_box_drop(box);
    }
    kith_free(event->bytes);
}

static void close_conn(struct scale *scale, uint32_t index, uint64_t conn)
{
    uint32_t at = link_of(scale, index, conn);
    if (at != UINT32_MAX && !scale->links[at].over) {
        struct scale_link *link = &scale->links[at];
        bool was_open = link->open;
        link->open = false;
        link->over = true;
        if (was_open && !apart(scale, link)) {
            tell_closed(scale, at, conn >= KITH_CONN_CORE_BASE ? 1 : 0);
        }
    }
}

/* ---- Nodes ---- */

static void store(struct scale *scale, uint32_t index, const struct kith_store_op *op)
{
    struct scale_node *node = &scale->nodes[index];
    if (op->kind == KITH_STORE_META_PUT) {
        struct kith_buf *meta = &node->meta[op->u.meta.key];
        kith_buf_clear(meta);
        kith_buf_put(meta, op->u.meta.value.data, op->u.meta.value.size);
    }
    struct scale_event event = {.at_us = scale->now_us + DISK_US,
                                .kind = SCALE_STORED,
                                .node = index,
                                .start = node->start,
                                .id = op->id,
                                .sums = op->kind == KITH_STORE_SUMS};
    event_add(scale, event);
}

static void tick_at(struct scale *scale, uint32_t index, uint64_t deadline_ms)
{
    struct scale_node *node = &scale->nodes[index];
    if (deadline_ms == UINT64_MAX) {
        return;
    }
    uint64_t at_us = deadline_ms * 1000 > scale->now_us ? deadline_ms * 1000 : scale->now_us + 10;
    if (at_us < node->tick_us) {
        node->tick_us = at_us;
        struct scale_event event = {
            .at_us = at_us, .kind = SCALE_TICK, .node = index, .start = node->start};
        event_add(scale, event);
    }
}

static void note_log(struct scale *scale, const char *text)
{
    unsigned about = SCALE_MAX;
    if (sscanf(text, "node n%u:", &about) == 1 && about < scale->count &&
        !scale->nodes[about].faulty && strstr(text, "is said to be down")) {
        scale->downs++;
    }
}

static void node_step(struct scale *scale, uint32_t index, struct kith_event *event)
{
    struct scale_node *node = &scale->nodes[index];
    struct kith_effects effects;
    event->mono_ms = scale->now_us / 1000;
    event->wall_ms = WALL_MS + scale->now_us / 1000;
    event->random = draw(scale);
    enum kith_err err = kith_node_step(node->core, event, &effects);
    KITH_ASSERT(err == KITH_OK);
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_effect *effect = &effects.effects[i];
        switch (effect->kind) {
        case KITH_EFFECT_SEND:
            send_msg(scale, index, effect->conn, effect->msg);
            break;
        case KITH_EFFECT_CONNECT:
            connect_to(scale, index, effect->conn, effect->address);
            break;
        case KITH_EFFECT_CLOSE:
            close_conn(scale, index, effect->conn);
            break;
        case KITH_EFFECT_STORE:
            store(scale, index, effect->op);
            break;
        case KITH_EFFECT_LOG:
            note_log(scale, effect->text);
            break;
        case KITH_EFFECT_READY:
            break;
        }
    }
    tick_at(scale, index, effects.deadline_ms);
}

/* Whose turn it is; of a connection: who accepts it. */
static uint32_t node_of(const struct scale *scale, const struct scale_event *event)
{
    switch (event->kind) {
    case SCALE_CONNECT:
        return scale->links[event->link].end[1];
    case SCALE_MESSAGE:
        return scale->links[event->link].end[event->side];
    case SCALE_TICK:
    case SCALE_CLOSED:
    case SCALE_STORED:
        break;
    }
    return event->node;
}

/* A frozen node does what there was to do in the meantime, in order, when it thaws. */
static bool frozen(struct scale *scale, const struct scale_event *event)
{
    struct scale_node *node = &scale->nodes[node_of(scale, event)];
    uint64_t held_us = node->core ? node->held_us : 0;
    if (event->kind == SCALE_CONNECT) {
        uint64_t other_us = scale->nodes[scale->links[event->link].end[0]].held_us;
        held_us = other_us > held_us ? other_us : held_us;
    }
    if (scale->now_us >= held_us) {
        return false;
    }
    struct scale_event later = *event;
    later.at_us = held_us;
    if (event->kind == SCALE_TICK && node->tick_us == event->at_us) {
        node->tick_us = later.at_us;
    }
    event_add(scale, later);
    return true;
}

static void stored(struct scale *scale, const struct scale_event *event)
{
    static const struct kith_sum sums[KITH_TREE_LEAVES]; /* nobody has a row */
    struct kith_store_done done = {.id = event->id, .message = "", .reached = KITH_DURABLE_DISK};
    if (event->sums) {
        done.u.sums = sums;
    }
    struct kith_event completed = {.kind = KITH_EVENT_STORED, .done = &done};
    node_step(scale, event->node, &completed);
}

static void fire(struct scale *scale, struct scale_event *event)
{
    struct kith_event tick = {.kind = KITH_EVENT_TICK}, closed = {.kind = KITH_EVENT_CLOSED};
    if (frozen(scale, event)) {
        return;
    }
    switch (event->kind) {
    case SCALE_TICK:
        if (alive(scale, event->node, event->start) &&
            scale->nodes[event->node].tick_us == event->at_us) {
            scale->nodes[event->node].tick_us = UINT64_MAX;
            node_step(scale, event->node, &tick);
        }
        return;
    case SCALE_CONNECT:
        connected(scale, event->link);
        return;
    case SCALE_MESSAGE:
        deliver(scale, event);
        return;
    case SCALE_CLOSED:
        if (alive(scale, event->node, event->start)) {
            closed.conn = event->side == 0 ? scale->links[event->link].conn : event->link + 1;
            node_step(scale, event->node, &closed);
        }
        return;
    case SCALE_STORED:
        if (alive(scale, event->node, event->start)) {
            stored(scale, event);
        }
        return;
    }
}

void scale_run(struct scale *scale, uint64_t ms)
{
    uint64_t until = scale->now_us + ms * 1000;
    while (scale->event_count > 0 && scale->events[0].at_us <= until) {
        struct scale_event event = event_take(scale);
        scale->now_us = event.at_us;
        fire(scale, &event);
    }
    scale->now_us = until;
}

void scale_start(struct scale *scale, uint32_t index, uint32_t join)
{
    struct scale_node *node = &scale->nodes[index];
    char address[32], through[32];
    (void)snprintf(address, sizeof address, "n%u:%u", index, node->port);
    (void)snprintf(through, sizeof through, "n%u:1", join);
    struct kith_member member = scale_member(index);
    struct kith_node_options options = {.address = address,
                                        .zone = member.zone,
                                        .weight = member.weight,
                                        .software = "kithd scale",
                                        .join = join < SCALE_MAX ? through : NULL};
    struct kith_start begin = {.mono_ms = scale->now_us / 1000,
                               .wall_ms = WALL_MS + scale->now_us / 1000};
    for (uint32_t i = 0; i < 4; i++) {
        begin.random[i] = draw(scale);
    }
    for (uint32_t i = 0; i < KITH_META_KEYS; i++) {
        begin.meta[i] = kith_buf_bytes(&node->meta[i]);
    }
    struct kith_error error;
    enum kith_err err = kith_node_new(&options, &begin, &node->core, &error);
    KITH_ASSERT(err == KITH_OK);
    node->uuid = node->core->uuid;
    node->silent = false;
    node->start++;
    node->link_count = 0;
    node->tick_us = UINT64_MAX;
    tick_at(scale, index, 0);
}

void scale_stop(struct scale *scale, uint32_t index, bool power)
{
    struct scale_node *node = &scale->nodes[index];
    for (uint32_t i = 0; i < scale->link_count && !power; i++) {
        struct scale_link *link = &scale->links[i];
        for (uint32_t side = 0; side < 2 && link->open; side++) {
            if (link->end[side] == index && link->start[side] == node->start) {
                link->open = false;
                link->over = true;
                tell_closed(scale, i, 1 - side);
            }
        }
    }
    node->silent = power;
    kith_node_free(node->core);
    node->core = NULL;
}

/* ---- What is looked at ---- */

const struct peer *scale_peer(const struct scale *scale, uint32_t node, uint32_t of)
{
    const struct kith_node *core = scale->nodes[node].core;
    uint16_t member = kith_table_find(core->table, &scale->nodes[of].uuid);
    bool there = member != KITH_NO_MEMBER && core->peer_of_member[member] != KITH_NO_PEER;
    return there ? &core->peers[core->peer_of_member[member]] : NULL;
}

void scale_decide(struct scale *scale, uint32_t index, const struct kith_table *table)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(table, &buf);
    struct kith_msg msg = {.kind = KITH_MSG_DECIDE};
    msg.u.decide.phase = KITH_DECIDE_DECIDED;
    msg.u.decide.status.message = "";
    msg.u.decide.table = kith_buf_bytes(&buf);
    for (uint32_t i = 0; i < scale->link_count; i++) {
        const struct scale_link *link = &scale->links[i];
        if (link->open && link->end[1] == index && alive(scale, index, link->start[1])) {
            struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = i + 1, .msg = &msg};
            node_step(scale, index, &event);
            break;
        }
    }
    kith_buf_release(&buf);
}

/* ---- Life ---- */

struct kith_member scale_member(uint32_t index)
{
    struct kith_member member;
    memset(&member, 0, sizeof member);
    member.uuid.bytes[0] = (uint8_t)(index * 61u);
    member.uuid.bytes[14] = (uint8_t)((index + 1) >> 8);
    member.uuid.bytes[15] = (uint8_t)(index + 1);
    member.weight = 1u << index % 3;
    (void)snprintf(member.zone, sizeof member.zone, "zone%u", index / 3 % 3);
    return member;
}

static void records_make(struct scale *scale)
{
    uint32_t count = scale->count - 1;
    struct kith_member *members = kith_calloc(count, sizeof *members);
    struct kith_member_info *infos = kith_calloc(count, sizeof *infos);
    struct kith_table *table = NULL;
    struct kith_cluster cluster;
    KITH_ASSERT(members && infos);
    memset(&cluster, 0, sizeof cluster);
    cluster.uuid.bytes[0] = 7;
    cluster.partitions = SCALE_PARTITIONS;
    cluster.replicas = SCALE_REPLICAS;
    memcpy(cluster.name, "scale", 5);
    for (uint32_t i = 0; i < count; i++) {
        members[i] = scale_member(i);
        infos[i].uuid = members[i].uuid;
        infos[i].incarnation = 1;
        (void)snprintf(infos[i].address, sizeof infos[i].address, "n%u:1", i);
    }
    enum kith_err err = kith_balance(NULL, &cluster.uuid, cluster.partitions, cluster.replicas,
                                     members, count, &table);
    KITH_ASSERT(err == KITH_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_buf *meta = scale->nodes[i].meta;
        kith_buf_put(&meta[KITH_META_NODE], members[i].uuid.bytes, 16);
        kith_buf_put_u64(&meta[KITH_META_NODE], 0);
        meta_encode_cluster(&cluster, &meta[KITH_META_CLUSTER]);
        kith_table_encode(table, &meta[KITH_META_TABLE]);
        members_encode(infos, count, &meta[KITH_META_MEMBERS]);
    }
    kith_table_drop(table);
    kith_free(members);
    kith_free(infos);
}

void scale_init(struct scale *scale, uint32_t count, uint32_t loss, uint64_t seed)
{
    memset(scale, 0, sizeof *scale);
    scale->count = count;
    scale->loss = loss;
    scale->random = seed;
    scale->now_us = 1000000;
    records_make(scale);
    for (uint32_t i = 0; i < count; i++) {
        scale->nodes[i].port = 1;
    }
    for (uint32_t i = 0; i < count - 1; i++) {
        scale_start(scale, i, SCALE_MAX);
        scale_run(scale, 1000 / count);
    }
}

void scale_release(struct scale *scale)
{
    while (scale->event_count > 0) {
        struct scale_event event = event_take(scale);
        kith_free(event.bytes);
    }
    for (uint32_t i = 0; i < scale->count; i++) {
        kith_node_free(scale->nodes[i].core);
        kith_free(scale->nodes[i].links);
        for (uint32_t k = 0; k < KITH_META_KEYS; k++) {
            kith_buf_release(&scale->nodes[i].meta[k]);
        }
    }
    kith_free(scale->events);
    kith_free(scale->links);
}
