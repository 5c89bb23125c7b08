/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * node_world.h - one core, events by hand: it is started, greeted, given a cluster and peers, and
 * what it wants stored of itself is stored. For test_node.c and test_node_freeze.c; include it
 * after cmocka.h. */
#ifndef KITH_TESTS_NODE_WORLD_H
#define KITH_TESTS_NODE_WORLD_H

#include <stdio.h>
#include <string.h>

#include "core/node.h"
#include "data/balance.h"

#define META_MAX 4096u

struct world {
    struct kith_node *node;
    uint8_t meta[KITH_META_KEYS][META_MAX];
    size_t meta_size[KITH_META_KEYS];
    struct kith_effects last;
    uint64_t now_ms;
    enum kith_space space; /* as the store has it */
    struct kith_store_op put; /* the last PUT operation */
    bool has_put;
    struct kith_store_op op; /* the last MERGE or COUNT operation */
    uint32_t ops;            /* all of these */
    uint64_t hints_id;       /* the last HINT_LIST, or HINT_PAGE or HINT_ACK for node 2, */
    enum kith_store_kind hints_kind;
    uint64_t handoff_id; /* and HANDOFF_REQ */
    uint32_t handoffs;   /* all of those */
    uint64_t peer_conn;      /* the last CONNECT */
    uint32_t answers;        /* DECIDEs that were sent, and the last one's phase, error and way */
    uint64_t answer_conn;
    enum kith_decide_phase phase;
    enum kith_err answer;
    char text[300];
};

static uint64_t world_grace_ms; /* of sweeps; 0: there are none */
static uint8_t world_self = 1;  /* the node's uuid, among those of the members: 1, 2, ... */
static uint64_t world_later_ms; /* by which the wall clock is ahead of the steady one, and more */

static inline uint64_t wall_ms(const struct world *world)
{
    return 1000000 + world->now_ms + world_later_ms;
}

static inline void step(struct world *world, struct kith_event *event)
{
    event->mono_ms = world->now_ms;
    event->wall_ms = wall_ms(world);
    event->random = world->now_ms * 7919;
    assert_int_equal(kith_node_step(world->node, event, &world->last), KITH_OK);
}

/* The message of kind that the last step sent, NULL when there is none. */
static inline const struct kith_msg *sent(const struct world *world, enum kith_msg_kind kind)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == kind) {
            return effect->msg;
        }
    }
    return NULL;
}

static inline bool closed(const struct world *world, uint64_t conn)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        if (world->last.effects[i].kind == KITH_EFFECT_CLOSE &&
            world->last.effects[i].conn == conn) {
            return true;
        }
    }
    return false;
}

/* Steps, and completes meta writes until there are none; keeps what a test looks at. */
static inline void run(struct world *world, struct kith_event *event)
{
    struct kith_store_op metas[16];
    uint32_t count = 0;
    step(world, event);
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_CONNECT) {
            world->peer_conn = effect->conn;
        }
        if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_PUT) {
            world->put = *effect->op;
            world->has_put = true;
        }
        if (effect->kind == KITH_EFFECT_STORE &&
            (effect->op->kind == KITH_STORE_MERGE || effect->op->kind == KITH_STORE_COUNT)) {
            world->op = *effect->op;
            world->ops++;
        }
        const struct kith_store_op *op = effect->kind == KITH_EFFECT_STORE ? effect->op : NULL;
        if (op && (op->kind == KITH_STORE_HINT_LIST ||
                   (op->kind == KITH_STORE_HINT_PAGE && op->u.hint_page.node.bytes[0] == 2) ||
                   (op->kind == KITH_STORE_HINT_ACK && op->u.hint_ack.node.bytes[0] == 2))) {
            world->hints_id = effect->op->id;
            world->hints_kind = effect->op->kind;
        }
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_HANDOFF_REQ) {
            world->handoff_id = effect->msg->id;
            world->handoffs++;
        }
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_DECIDE) {
            const struct kith_decide *decide = &effect->msg->u.decide;
            world->answers++;
            world->answer_conn = effect->conn;
            world->phase = decide->phase;
            world->answer = decide->status.err;
            (void)snprintf(world->text, sizeof world->text, "%s",
                           decide->status.message ? decide->status.message : "");
        }
        if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_META_PUT) {
            assert_true(count < 16);
            metas[count] = *effect->op;
            count++;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_bytes value = metas[i].u.meta.value;
        assert_true(value.size <= META_MAX);
        memcpy(world->meta[metas[i].u.meta.key], value.data, value.size);
        world->meta_size[metas[i].u.meta.key] = value.size;
        struct kith_store_done done = {.id = metas[i].id,
                                       .message = "",
                                       .reached = KITH_DURABLE_DISK,
                                       .space = world->space};
        struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
        run(world, &stored);
    }
}

static inline void tick(struct world *world, uint64_t ms)
{
    struct kith_event event = {.kind = KITH_EVENT_TICK};
    world->now_ms += ms;
    run(world, &event);
}

static inline void message(struct world *world, uint64_t conn, const struct kith_msg *msg)
{
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = msg};
    run(world, &event);
}

static inline void hello(struct world *world, uint64_t conn, uint32_t protocol, uint8_t cluster)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = conn};
    run(world, &accepted);
    assert_non_null(sent(world, KITH_MSG_HELLO));
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol.newest = protocol;
    memset(msg.u.hello.cluster.bytes, cluster, 16);
    msg.u.hello.address = "there:1";
    msg.u.hello.software = "test";
    message(world, conn, &msg);
}

static inline struct kith_uuid uuid_of(uint8_t byte)
{
    struct kith_uuid uuid;
    memset(uuid.bytes, byte, 16);
    return uuid;
}

static inline void start(struct world *world)
{
    struct kith_node_options options = {
        .address = "here:1", .software = "test", .sweep_ms = world_grace_ms};
    struct kith_start begin = {.node = uuid_of(world_self),
                               .wall_ms = wall_ms(world),
                               .mono_ms = world->now_ms,
                               .random = {1, 2, 3, 4}};
    struct kith_error error;
    for (uint32_t i = 0; i < KITH_META_KEYS; i++) {
        begin.meta[i] = kith_bytes_make(world->meta[i], world->meta_size[i]);
    }
    assert_int_equal(kith_node_new(&options, &begin, &world->node, &error), KITH_OK);
    tick(world, 1);
}

static const char *world_zones; /* of the members, a letter each; NULL: none */

/* A cluster of this node; with `others` > 0 a table that names as many more, all of them down. */
static inline void world_new(struct world *world, uint32_t others)
{
    memset(world, 0, sizeof *world);
    start(world);
    hello(world, 1, KITH_PROTOCOL_VERSION, 0);
    struct kith_msg msg = {.kind = KITH_MSG_INIT_REQ, .id = 5};
    msg.u.init_req.name = "test";
    msg.u.init_req.partitions = 8;
    msg.u.init_req.zone = "";
    message(world, 1, &msg);
    assert_non_null(sent(world, KITH_MSG_ADMIN_RES));
    assert_int_equal(sent(world, KITH_MSG_ADMIN_RES)->u.admin_res.status.err, KITH_OK);
    if (others == 0) {
        return;
    }
    struct kith_table *table = NULL;
    struct kith_table *next = NULL;
    struct kith_member members[8];
    assert_true(others < 8);
    memset(members, 0, sizeof members);
    for (uint8_t i = 0; i <= others; i++) {
        members[i].uuid = uuid_of((uint8_t)(i + 1));
        members[i].weight = 1;
        members[i].zone[0] = world_zones ? world_zones[i] : 0;
    }
    struct kith_bytes old = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(old, &table), KITH_OK);
    assert_int_equal(kith_balance(table, &table->cluster, 8, 3, members, others + 1, &next),
                     KITH_OK);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(next, &buf);
    memcpy(world->meta[KITH_META_TABLE], buf.data, buf.size);
    world->meta_size[KITH_META_TABLE] = buf.size;
    kith_buf_release(&buf);
    kith_table_drop(table);
    kith_table_drop(next);
    kith_node_free(world->node);
    start(world);
    hello(world, 1, KITH_PROTOCOL_VERSION, 0);
}

static inline struct kith_table_id table_id(const struct world *world)
{
    struct kith_table *table = NULL;
    struct kith_bytes bytes = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    struct kith_table_id id = table->id;
    kith_table_drop(table);
    return id;
}

static const struct kith_put_update update = {.has_sibling = true};

static inline struct kith_msg put_msg(const struct world *world, enum kith_durability durability)
{
    struct kith_msg msg = {.kind = KITH_MSG_PUT_REQ, .id = 77};
    msg.u.put_req.table = table_id(world);
    msg.u.put_req.timeout_ms = 1000;
    msg.u.put_req.durability = durability;
    msg.u.put_req.update_count = 1;
    msg.u.put_req.updates = &update;
    return msg;
}

static inline void put_done(struct world *world, enum kith_durability reached)
{
    struct kith_clock_entry entry = {{9, 1}, 1};
    struct kith_row row = {.clock = {1, &entry}};
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_store_put_row result = {.dot = {{9, 1}, 1}, .state = kith_buf_bytes(&buf)};
    struct kith_store_done done = {.id = world->put.id, .message = "", .reached = reached};
    done.u.put.row_count = 1;
    done.u.put.rows = &result;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(world, &stored);
    kith_buf_release(&buf);
}

/* ---- With others up ---- */

/* Node `byte` connects, and is connected to: up. Its conn to this node is 10 + byte. */
static inline uint64_t peer_up(struct world *world, uint8_t byte)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 10u + byte};
    run(world, &accepted);
    char address[] = "there:?";
    address[6] = (char)('0' + byte);
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = kith_protocol_ours();
    msg.u.hello.role = KITH_ROLE_NODE;
    msg.u.hello.node = uuid_of(byte);
    msg.u.hello.incarnation = 1;
    msg.u.hello.address = address;
    msg.u.hello.software = "test";
    message(world, 10u + byte, &msg);
    world->peer_conn = 0;
    for (uint32_t i = 0; i < 100 && world->peer_conn == 0; i++) {
        tick(world, 100);
    }
    uint64_t conn = world->peer_conn;
    assert_true(conn != 0);
    struct kith_event opened = {.kind = KITH_EVENT_OPENED, .conn = conn};
    run(world, &opened);
    message(world, conn, &msg);
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_PING;
    msg.u.ping.is_answer = true; /* to the one that was sent at once */
    message(world, conn, &msg);
    return conn;
}

static inline uint32_t sent_count(const struct world *world, enum kith_msg_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        count += effect->kind == KITH_EFFECT_SEND && effect->msg->kind == kind ? 1 : 0;
    }
    return count;
}

static inline void op_done(struct world *world)
{
    struct kith_store_done done = {
        .id = world->op.id, .message = "", .reached = KITH_DURABLE_OS, .space = world->space};
    done.u.counts.rows = world->op.kind == KITH_STORE_COUNT ? 7 : 0;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(world, &stored);
}

#endif
