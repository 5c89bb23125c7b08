/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One core, events by hand: hello, owners, stale tables, deadlines, durability, freezing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/decide.h"
#include "core/node.h"
#include "data/balance.h"

#define META_MAX 4096u

struct world {
    struct kith_node *node;
    uint8_t meta[KITH_META_KEYS][META_MAX];
    size_t meta_size[KITH_META_KEYS];
    struct kith_effects last;
    uint64_t now_ms;
    struct kith_store_op put; /* the last PUT operation */
    bool has_put;
    struct kith_store_op op; /* the last MERGE or COUNT operation */
    uint32_t ops;            /* all of these */
    uint64_t peer_conn;      /* the last CONNECT */
    uint32_t answers;        /* DECIDEs that were sent, and the last one's phase and error */
    enum kith_decide_phase phase;
    enum kith_err answer;
    char text[300];
};

static void step(struct world *world, struct kith_event *event)
{
    event->mono_ms = world->now_ms;
    event->wall_ms = 1000000 + world->now_ms;
    event->random = world->now_ms * 7919;
    assert_int_equal(kith_node_step(world->node, event, &world->last), KITH_OK);
}

/* The message of kind that the last step sent, NULL when there is none. */
static const struct kith_msg *sent(const struct world *world, enum kith_msg_kind kind)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == kind) {
            return effect->msg;
        }
    }
    return NULL;
}

static bool closed(const struct world *world, uint64_t conn)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        if (world->last.effects[i].kind == KITH_EFFECT_CLOSE && world->last.effects[i].conn == conn) {
            return true;
        }
    }
    return false;
}

/* Steps, and completes meta writes until there are none; keeps what a test looks at. */
static void run(struct world *world, struct kith_event *event)
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
        if (effect->kind == KITH_EFFECT_STORE && (effect->op->kind == KITH_STORE_MERGE ||
                                                  effect->op->kind == KITH_STORE_COUNT)) {
            world->op = *effect->op;
            world->ops++;
        }
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_DECIDE) {
            const struct kith_decide *decide = &effect->msg->u.decide;
            world->answers++;
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
        struct kith_store_done done = {
            .id = metas[i].id, .message = "", .reached = KITH_DURABLE_DISK};
        struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
        run(world, &stored);
    }
}

static void tick(struct world *world, uint64_t ms)
{
    struct kith_event event = {.kind = KITH_EVENT_TICK};
    world->now_ms += ms;
    run(world, &event);
}

static void message(struct world *world, uint64_t conn, const struct kith_msg *msg)
{
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = msg};
    run(world, &event);
}

static void hello(struct world *world, uint64_t conn, uint32_t protocol, uint8_t cluster)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = conn};
    run(world, &accepted);
    assert_non_null(sent(world, KITH_MSG_HELLO));
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = protocol;
    memset(msg.u.hello.cluster.bytes, cluster, 16);
    msg.u.hello.address = "there:1";
    msg.u.hello.software = "test";
    message(world, conn, &msg);
}

static struct kith_uuid uuid_of(uint8_t byte)
{
    struct kith_uuid uuid;
    memset(uuid.bytes, byte, 16);
    return uuid;
}

static void start(struct world *world)
{
    struct kith_node_options options = {.address = "here:1", .software = "test"};
    struct kith_start begin = {.node = uuid_of(1), .random = {1, 2, 3, 4}};
    struct kith_error error;
    for (uint32_t i = 0; i < KITH_META_KEYS; i++) {
        begin.meta[i] = kith_bytes_make(world->meta[i], world->meta_size[i]);
    }
    assert_int_equal(kith_node_new(&options, &begin, &world->node, &error), KITH_OK);
    tick(world, 1);
}

/* A cluster of this node; with `others` > 0 a table that names as many more, all of them down. */
static void world_new(struct world *world, uint32_t others)
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
    struct kith_member members[4];
    memset(members, 0, sizeof members);
    for (uint8_t i = 0; i <= others; i++) {
        members[i].uuid = uuid_of((uint8_t)(i + 1));
        members[i].weight = 1;
    }
    struct kith_bytes old = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(old, &table), KITH_OK);
    assert_int_equal(kith_balance(table, &table->cluster, 8, 3, members, others + 1, &next), KITH_OK);
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

static struct kith_table_id table_id(const struct world *world)
{
    struct kith_table *table = NULL;
    struct kith_bytes bytes = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    struct kith_table_id id = table->id;
    kith_table_drop(table);
    return id;
}

static const struct kith_put_update update = {.has_sibling = true};

static struct kith_msg put_msg(const struct world *world, enum kith_durability durability)
{
    struct kith_msg msg = {.kind = KITH_MSG_PUT_REQ, .id = 77};
    msg.u.put_req.table = table_id(world);
    msg.u.put_req.timeout_ms = 1000;
    msg.u.put_req.durability = durability;
    msg.u.put_req.update_count = 1;
    msg.u.put_req.updates = &update;
    return msg;
}

static void put_done(struct world *world, enum kith_durability reached)
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
static uint64_t peer_up(struct world *world, uint8_t byte)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 10u + byte};
    run(world, &accepted);
    char address[] = "there:?";
    address[6] = (char)('0' + byte);
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = KITH_PROTOCOL_VERSION;
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
    return conn;
}

static uint32_t sent_count(const struct world *world, enum kith_msg_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        count += effect->kind == KITH_EFFECT_SEND && effect->msg->kind == kind ? 1 : 0;
    }
    return count;
}

static void op_done(struct world *world)
{
    struct kith_store_done done = {
        .id = world->op.id, .message = "", .reached = KITH_DURABLE_OS};
    done.u.counts.rows = world->op.kind == KITH_STORE_COUNT ? 7 : 0;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(world, &stored);
}

/* Puts, and returns whose copy does not wait for company: the number of that one in the effects. */
static uint32_t urgent_copy(struct world *world, uint64_t *ret_id, uint64_t ret_conns[2])
{
    struct kith_msg msg = put_msg(world, KITH_DURABLE_OS);
    message(world, 1, &msg);
    put_done(world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(world, KITH_MSG_REPLICATE_REQ), 2);
    uint32_t count = 0;
    uint32_t urgent = 2;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind != KITH_EFFECT_SEND || effect->msg->kind != KITH_MSG_REPLICATE_REQ) {
            continue;
        }
        assert_int_equal(effect->msg->may_wait, effect->msg->u.replicate_req.may_wait);
        if (!effect->msg->may_wait) {
            assert_int_equal(urgent, 2); /* one: W is 2, our own copy counts */
            urgent = count;
        }
        *ret_id = effect->msg->id;
        ret_conns[count] = effect->conn;
        count++;
    }
    assert_true(urgent < 2);
    return urgent;
}

static void copied(struct world *world, uint64_t conn, uint64_t id)
{
    struct kith_msg res = {.kind = KITH_MSG_REPLICATE_RES, .id = id};
    res.u.replicate_res.status.message = "";
    message(world, conn, &res);
}

/* W - 1 copies leave at once, the others may wait; a node that is late changes places for a while. */
static void test_copies_wait(void **state)
{
    (void)state;
    struct world world;
    uint64_t id, conns[2];
    world_new(&world, 2);
    peer_up(&world, 2);
    peer_up(&world, 3);
    uint32_t first = urgent_copy(&world, &id, conns);
    copied(&world, conns[first], id);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_OK);
    assert_int_equal(urgent_copy(&world, &id, conns), first);
    world.now_ms += 19; /* the other one is faster, by little */
    copied(&world, conns[1 - first], id);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.copies, 2);
    assert_int_equal(urgent_copy(&world, &id, conns), first);
    world.now_ms += 20;
    copied(&world, conns[1 - first], id);
    assert_non_null(sent(&world, KITH_MSG_PUT_RES));
    assert_int_equal(urgent_copy(&world, &id, conns), 1 - first);
    copied(&world, conns[1 - first], id);
    world.now_ms += 1000;
    assert_int_equal(urgent_copy(&world, &id, conns), first);

    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS); /* all are waited for: none may wait */
    msg.u.put_req.w = 3;
    message(&world, 1, &msg);
    put_done(&world, KITH_DURABLE_OS);
    for (uint32_t i = 0; i < world.last.count; i++) {
        const struct kith_effect *effect = &world.last.effects[i];
        assert_false(effect->kind == KITH_EFFECT_SEND && effect->msg->may_wait);
    }
    kith_node_free(world.node);
}

/* A retry: the other owners are asked what became of the first try, before a dot is drawn. */
static void test_retry(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn[2];
    conn[0] = peer_up(&world, 2);
    conn[1] = peer_up(&world, 3);
    for (uint32_t found = 0; found < 3; found++) { /* known to one; to nobody; one is frozen */
        struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
        msg.u.put_req.retry = true;
        msg.u.put_req.request.bytes[0] = (uint8_t)(found + 1);
        world.has_put = false;
        world.ops = 0;
        message(&world, 1, &msg);
        assert_false(world.has_put);
        assert_int_equal(sent_count(&world, KITH_MSG_REQUEST_FIND_REQ), 2);
        struct kith_msg res = {.kind = KITH_MSG_REQUEST_FIND_RES,
                               .id = sent(&world, KITH_MSG_REQUEST_FIND_REQ)->id};
        res.u.request_find_res.status.message = "";
        message(&world, conn[0], &res);
        assert_false(world.has_put);
        struct kith_replica_row row = {.has_dot = true, .dot = {{5, 1}, 4}};
        res.u.request_find_res.found = true;
        res.u.request_find_res.row_count = 1;
        res.u.request_find_res.rows = &row;
        if (found == 0) {
            message(&world, conn[1], &res);
            assert_int_equal(world.ops, 1); /* what it made comes here first */
            assert_memory_equal(&world.op.u.merge.request, &msg.u.put_req.request,
                                sizeof world.op.u.merge.request);
            assert_false(world.has_put);
            op_done(&world);
        } else if (found == 1) {
            res.u.request_find_res.found = false;
            message(&world, conn[1], &res);
        } else {
            tick(&world, 240);
            assert_false(world.has_put);
            tick(&world, 10); /* in all: the first answer bought no more time */
            res.u.request_find_res.found = true;
            message(&world, conn[1], &res); /* too late */
            assert_int_equal(world.ops, 0);
        }
        assert_true(world.has_put);
        assert_memory_equal(&world.put.u.put.request, &msg.u.put_req.request,
                            sizeof world.put.u.put.request);
        put_done(&world, KITH_DURABLE_OS);
        assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    }
    kith_node_free(world.node);
}

/* One transaction here, one message to each other owner; one answer a node counts. */
static void test_batch(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, 2);
    peer_up(&world, 3);
    struct kith_put_update two[2] = {update, update};
    two[1].name = kith_bytes_make("b", 1);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    msg.u.put_req.update_count = 2;
    msg.u.put_req.updates = two;
    msg.u.put_req.w = 3;
    message(&world, 1, &msg);
    assert_int_equal(world.put.u.put.update_count, 2);
    struct kith_clock_entry entry = {{9, 1}, 2};
    struct kith_row row = {.clock = {1, &entry}};
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_store_put_row results[2] = {
        {.dot = {{9, 1}, 1}, .state = kith_buf_bytes(&buf)},
        {.dot = {{9, 1}, 2}, .state = kith_buf_bytes(&buf)}};
    struct kith_store_done done = {
        .id = world.put.id, .message = "", .reached = KITH_DURABLE_OS};
    done.u.put.row_count = 2;
    done.u.put.rows = results;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(&world, &stored);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    assert_int_equal(sent(&world, KITH_MSG_REPLICATE_REQ)->u.replicate_req.row_count, 2);
    struct kith_msg res = {.kind = KITH_MSG_REPLICATE_RES,
                           .id = sent(&world, KITH_MSG_REPLICATE_REQ)->id};
    res.u.replicate_res.status.message = "";
    for (uint32_t i = 0; i < 3; i++) { /* said again and again: one copy */
        message(&world, conn, &res);
        assert_null(sent(&world, KITH_MSG_PUT_RES));
    }
    tick(&world, 1000);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNKNOWN);
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* An error of the store that says "not written": nothing happened, and nobody else is told. */
static void test_not_written(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    peer_up(&world, 2);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_DISK);
    message(&world, 1, &msg);
    struct kith_store_done done = {.id = world.put.id, .err = KITH_ENOSPC, .message = "full"};
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(&world, &stored);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ENOSPC);
    assert_null(sent(&world, KITH_MSG_REPLICATE_REQ));
    kith_node_free(world.node);
}

static struct kith_msg prepare_msg(const struct world *world, uint64_t round, struct kith_buf *buf)
{
    struct kith_msg msg = {.kind = KITH_MSG_DECIDE};
    struct kith_table *table = NULL;
    struct kith_table *next = NULL;
    struct kith_member members[4];
    struct kith_bytes old = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    memset(members, 0, sizeof members);
    assert_int_equal(kith_table_decode(old, &table), KITH_OK);
    for (uint8_t i = 0; i < 4; i++) {
        members[i].uuid = uuid_of((uint8_t)(i + 1));
        members[i].weight = 1;
    }
    assert_int_equal(kith_balance(table, &table->cluster, 8, 3, members, 4, &next), KITH_OK);
    kith_buf_init(buf);
    kith_table_encode(next, buf);
    msg.u.decide.phase = KITH_DECIDE_PREPARE;
    msg.u.decide.epoch = table->id.epoch;
    msg.u.decide.version = table->id.version + 1;
    msg.u.decide.ballot.round = round;
    msg.u.decide.ballot.proposer = uuid_of(2);
    msg.u.decide.status.message = "";
    msg.u.decide.table = kith_buf_bytes(buf);
    kith_table_drop(table);
    kith_table_drop(next);
    return msg;
}

/* The same for the table as it is, with another version. */
static struct kith_msg settle_msg(const struct world *world, enum kith_decide_phase phase,
                                  uint64_t round, struct kith_buf *buf)
{
    struct kith_msg msg = prepare_msg(world, round, buf);
    struct kith_table *table = NULL;
    struct kith_bytes old = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(old, &table), KITH_OK);
    kith_buf_clear(buf);
    assert_int_equal(kith_decide_unchanged(table, buf), KITH_OK);
    kith_table_drop(table);
    msg.u.decide.phase = phase;
    msg.u.decide.table = kith_buf_bytes(buf);
    return msg;
}

static enum kith_err try_put(struct world *world)
{
    static struct kith_msg msg; /* outlives the write */
    msg = put_msg(world, KITH_DURABLE_OS);
    world->has_put = false;
    message(world, 1, &msg);
    const struct kith_msg *res = sent(world, KITH_MSG_PUT_RES);
    assert_int_equal(res == NULL, world->has_put);
    return res ? res->u.put_res.status.err : KITH_OK;
}

/* Who has promised a change takes no write until a table is decided, whatever ballots come and go. */
static void test_freeze(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, 2);
    struct kith_buf buf;
    struct kith_msg msg = prepare_msg(&world, 1, &buf);
    msg.u.decide.phase = KITH_DECIDE_ASK;
    message(&world, conn, &msg);
    assert_int_equal(world.phase, KITH_DECIDE_OPINION);
    assert_int_equal(world.answer, KITH_OK);
    assert_int_equal(world.meta_size[KITH_META_DECIDE], 0); /* promises nothing */
    msg.u.decide.phase = KITH_DECIDE_PREPARE;
    message(&world, conn, &msg);
    assert_int_equal(world.phase, KITH_DECIDE_PROMISE);
    assert_int_equal(world.answer, KITH_OK);
    assert_true(world.meta_size[KITH_META_DECIDE] > 0); /* promised on disk */
    assert_int_equal(try_put(&world), KITH_ENOTREADY);
    kith_node_free(world.node); /* a promise outlives a restart */
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    conn = peer_up(&world, 2);
    assert_int_equal(try_put(&world), KITH_ENOTREADY);
    msg.u.decide.phase = KITH_DECIDE_DECIDED; /* of nothing */
    msg.u.decide.table = kith_bytes_make(NULL, 0);
    message(&world, conn, &msg);
    assert_int_equal(try_put(&world), KITH_ENOTREADY);
    kith_buf_release(&buf);
    msg = settle_msg(&world, KITH_DECIDE_PREPARE, 2, &buf);
    message(&world, conn, &msg);
    assert_int_equal(world.phase, KITH_DECIDE_PROMISE);
    assert_int_equal(world.answer, KITH_OK);
    assert_int_equal(try_put(&world), KITH_ENOTREADY);
    world.phase = KITH_DECIDE_DECIDED;
    tick(&world, 999); /* node 2 is up and at it; */
    assert_int_equal(world.phase, KITH_DECIDE_DECIDED);
    tick(&world, 1001); /* it takes long: we do it */
    assert_int_equal(world.phase, KITH_DECIDE_PREPARE);
    msg.u.decide.phase = KITH_DECIDE_DECIDED;
    message(&world, conn, &msg);
    assert_int_equal(try_put(&world), KITH_OK);
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* A node with data objects to what moves it, before anything is promised; and never freezes. */
static void test_objection(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, 2);
    static const enum kith_decide_phase phases[] = {KITH_DECIDE_ASK, KITH_DECIDE_PREPARE,
                                                    KITH_DECIDE_ACCEPT};
    struct kith_buf buf;
    assert_int_equal(try_put(&world), KITH_OK);
    for (uint32_t i = 0; i < 6; i++) { /* while the write is under way, and with its data */
        struct kith_msg msg = prepare_msg(&world, i + 1, &buf);
        msg.u.decide.phase = phases[i % 3];
        if (i == 3) {
            put_done(&world, KITH_DURABLE_OS);
        }
        message(&world, conn, &msg);
        if (i >= 3) {
            assert_int_equal(world.op.kind, KITH_STORE_COUNT);
            op_done(&world);
            assert_non_null(strstr(world.text, "holds 7 rows"));
        }
        assert_int_equal(world.answer, KITH_EREFUSED);
        kith_buf_release(&buf);
    }
    struct kith_msg msg = settle_msg(&world, KITH_DECIDE_PREPARE, 9, &buf);
    message(&world, conn, &msg);
    assert_int_equal(world.phase, KITH_DECIDE_PROMISE);
    assert_int_equal(world.answer, KITH_OK);
    assert_int_equal(try_put(&world), KITH_OK);
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* Who began a change is gone: those who hold need not wait for long. */
static void test_freeze_alone(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, 2);
    struct kith_buf buf;
    struct kith_msg msg = prepare_msg(&world, 1, &buf);
    message(&world, conn, &msg);
    assert_int_equal(world.phase, KITH_DECIDE_PROMISE);
    peer_up(&world, 3);
    struct kith_event gone = {.kind = KITH_EVENT_CLOSED, .conn = conn};
    run(&world, &gone);
    assert_int_equal(world.phase, KITH_DECIDE_PROMISE);
    tick(&world, 100);
    assert_int_equal(world.phase, KITH_DECIDE_PREPARE);
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* The record of promises is damaged: what may have been promised holds until a table is learnt. */
static void test_freeze_damaged(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    kith_node_free(world.node);
    world.meta[KITH_META_DECIDE][0] = 99;
    world.meta_size[KITH_META_DECIDE] = 40;
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    uint64_t conn = peer_up(&world, 2);
    assert_int_equal(try_put(&world), KITH_ENOTREADY);
    struct kith_buf buf;
    struct kith_msg msg = settle_msg(&world, KITH_DECIDE_PREPARE, 1, &buf);
    message(&world, conn, &msg);
    assert_int_equal(world.answer, KITH_ENOTREADY);
    msg.u.decide.phase = KITH_DECIDE_DECIDED;
    message(&world, conn, &msg);
    assert_int_equal(try_put(&world), KITH_OK);
    kith_buf_release(&buf);
    msg = settle_msg(&world, KITH_DECIDE_PREPARE, 2, &buf);
    message(&world, conn, &msg);
    assert_int_equal(world.answer, KITH_OK); /* it votes on the next */
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* The only member: what it promised concerns nobody else. */
static void test_damaged_alone(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    kith_node_free(world.node);
    world.meta[KITH_META_DECIDE][0] = 99;
    world.meta_size[KITH_META_DECIDE] = 40;
    start(&world);
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 2};
    run(&world, &accepted);
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = KITH_PROTOCOL_VERSION;
    msg.u.hello.role = KITH_ROLE_NODE;
    msg.u.hello.node = uuid_of(2);
    msg.u.hello.address = "there:2";
    msg.u.hello.software = "test";
    message(&world, 2, &msg);
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_JOIN_REQ;
    msg.u.join_req.member.uuid = uuid_of(2);
    message(&world, 2, &msg);
    assert_non_null(sent(&world, KITH_MSG_JOIN_RES));
    assert_int_equal(sent(&world, KITH_MSG_JOIN_RES)->u.join_res.status.err, KITH_OK);
    assert_int_equal(table_id(&world).version, 2);
    kith_node_free(world.node);
}

static void test_hello(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    hello(&world, 2, KITH_PROTOCOL_VERSION + 1, 0);
    assert_true(closed(&world, 2));
    const char *text = sent(&world, KITH_MSG_ADMIN_RES)->u.admin_res.status.message;
    assert_non_null(strstr(text, "version 2"));
    assert_non_null(strstr(text, "version 1"));
    hello(&world, 3, KITH_PROTOCOL_VERSION, 0xcc);
    assert_true(closed(&world, 3));
    assert_int_equal(sent(&world, KITH_MSG_ADMIN_RES)->u.admin_res.status.err, KITH_ECLUSTER);
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 4};
    run(&world, &accepted);
    struct kith_msg msg = {.kind = KITH_MSG_STATUS_REQ};
    message(&world, 4, &msg);
    assert_true(closed(&world, 4)); /* not a hello */
    kith_node_free(world.node);
}

/* Answered by the completion at the durability asked, and not before. */
static void test_put(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &msg);
    assert_true(world.has_put);
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_OK);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.copies, 1);
    msg = put_msg(&world, KITH_DURABLE_DISK);
    message(&world, 1, &msg);
    put_done(&world, KITH_DURABLE_OS);
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    put_done(&world, KITH_DURABLE_DISK);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_OK);
    kith_node_free(world.node);
}

static void test_put_deadline(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &msg);
    tick(&world, 999);
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    tick(&world, 1);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNKNOWN);
    put_done(&world, KITH_DURABLE_OS);
    assert_null(sent(&world, KITH_MSG_PUT_RES)); /* once */
    kith_node_free(world.node);
}

static void test_put_refused(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    world.has_put = false;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNREACH);
    assert_false(world.has_put);
    msg.u.put_req.w = 1; /* for one copy nobody else is needed */
    message(&world, 1, &msg);
    assert_true(world.has_put);
    kith_node_free(world.node);
}

static void test_put_malformed(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_put_update twice[2] = {update, update};
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    msg.u.put_req.update_count = 2;
    msg.u.put_req.updates = twice;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EINVAL);
    msg.u.put_req.update_count = 0;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EINVAL);
    kith_node_free(world.node);
}

static void test_table(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    memset(&msg.u.put_req.table, 0, sizeof msg.u.put_req.table);
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ESTALE);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.table.size,
                     world.meta_size[KITH_META_TABLE]);
    struct kith_chunk_id id = {{1}};
    struct kith_msg sync = {.kind = KITH_MSG_CHUNK_SYNC_REQ, .id = 78}; /* counts by old owners */
    sync.u.chunk_sync_req.id_count = 1;
    sync.u.chunk_sync_req.ids = &id;
    sync.u.chunk_sync_req.table = table_id(&world);
    sync.u.chunk_sync_req.table.epoch--;
    message(&world, 1, &sync);
    assert_non_null(sent(&world, KITH_MSG_CHUNK_SYNC_RES));
    assert_int_equal(sent(&world, KITH_MSG_CHUNK_SYNC_RES)->u.chunk_sync_res.status.err,
                     KITH_ESTALE);
    msg.u.put_req.table.epoch = 99; /* newer than ours */
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ENOTREADY);
    kith_node_free(world.node);
}

static void test_no_rows_from_clients(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_replica_row row = {.has_dot = false};
    struct kith_msg msg = {.kind = KITH_MSG_REPLICATE_REQ, .id = 3};
    msg.u.replicate_req.table = table_id(&world);
    msg.u.replicate_req.row_count = 1;
    msg.u.replicate_req.rows = &row;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_REPLICATE_RES)->u.replicate_res.status.err, KITH_EPERM);
    kith_node_free(world.node);
}

static void test_no_cluster(void **state)
{
    (void)state;
    struct world world;
    memset(&world, 0, sizeof world);
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    struct kith_msg msg = {.kind = KITH_MSG_PUT_REQ, .id = 3};
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ENOTREADY);
    msg.kind = KITH_MSG_TABLE_REQ;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_TABLE_RES)->u.table_res.status.err, KITH_ENOTREADY);
    msg.kind = KITH_MSG_STATUS_REQ;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_STATUS_RES)->u.status_res.status.err, KITH_OK);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),           cmocka_unit_test(test_put),
        cmocka_unit_test(test_put_deadline),    cmocka_unit_test(test_put_refused),
        cmocka_unit_test(test_put_malformed),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_no_rows_from_clients), cmocka_unit_test(test_no_cluster),
        cmocka_unit_test(test_copies_wait),
        cmocka_unit_test(test_retry),           cmocka_unit_test(test_batch),
        cmocka_unit_test(test_not_written),     cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_objection),       cmocka_unit_test(test_freeze_alone),
        cmocka_unit_test(test_freeze_damaged),  cmocka_unit_test(test_damaged_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
