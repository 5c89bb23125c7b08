/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Watches of a node's core (watch.c), events by hand: what is told, to whom, before which answer;
 * what ends a watch; the bounds; and random watches against a list. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "core/node.h"
#include "data/balance.h"
#include "lib/random.h"

#define META_MAX   4096u
#define PARTITIONS 8u
#define OPS_MAX    16u
#define LEASE_MS   3000u
#define CONNS_MAX  200u /* of the test that ends watches */

struct world {
    struct kith_node *node;
    uint8_t meta[KITH_META_KEYS][META_MAX];
    size_t meta_size[KITH_META_KEYS];
    struct kith_effects last;
    uint64_t now_ms;
    struct kith_store_op op;         /* the last PUT or MERGE */
    uint32_t ops;                    /* all of these */
    uint64_t peer_conn;              /* the last CONNECT */
    uint32_t ended;                /* sessions that were said to have ended, */
    bool ended_conn[CONNS_MAX];    /* by connection */
};

static struct kith_uuid uuid_of(uint8_t byte)
{
    struct kith_uuid uuid;
    memset(uuid.bytes, byte, 16);
    return uuid;
}

static void note_ended(struct world *world, uint64_t conn, const struct kith_watch_event *event)
{
    assert_true(conn < CONNS_MAX);
    assert_false(world->ended_conn[conn]); /* once */
    assert_int_equal(event->name_count, 0);
    world->ended_conn[conn] = true;
    world->ended++;
}

/* Steps, and completes what is written of the node's own records. */
static void run(struct world *world, struct kith_event *event)
{
    struct kith_store_op metas[OPS_MAX];
    uint32_t count = 0;
    event->mono_ms = world->now_ms;
    event->wall_ms = 1000000 + world->now_ms;
    event->random = world->now_ms * 7919;
    assert_int_equal(kith_node_step(world->node, event, &world->last), KITH_OK);
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_CONNECT) {
            world->peer_conn = effect->conn;
        } else if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_WATCH_EVENT &&
                   effect->msg->u.watch_event.ended) {
            note_ended(world, effect->conn, &effect->msg->u.watch_event);
        } else if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_META_PUT) {
            assert_true(count < OPS_MAX);
            metas[count] = *effect->op;
            count++;
        } else if (effect->kind == KITH_EFFECT_STORE && effect->op->kind != KITH_STORE_HINT_LIST &&
                   effect->op->kind != KITH_STORE_COUNT) {
            world->op = *effect->op;
            world->ops++;
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

static void accept_client(struct world *world, uint64_t conn)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = conn};
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = kith_protocol_ours();
    msg.u.hello.address = "";
    msg.u.hello.software = "test";
    run(world, &accepted);
    message(world, conn, &msg);
}

static void hang_up(struct world *world, uint64_t conn)
{
    struct kith_event closed = {.kind = KITH_EVENT_CLOSED, .conn = conn};
    run(world, &closed);
}

/* What the last step sent, from the `from`th effect on; NULL when there is none. */
static const struct kith_effect *sent_from(const struct world *world, enum kith_msg_kind kind,
                                           uint32_t from)
{
    for (uint32_t i = from; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == kind) {
            return effect;
        }
    }
    return NULL;
}

static const struct kith_msg *sent(const struct world *world, enum kith_msg_kind kind)
{
    const struct kith_effect *effect = sent_from(world, kind, 0);
    return effect ? effect->msg : NULL;
}

/* The event that the last step sent to conn. */
static const struct kith_watch_event *told(const struct world *world, uint64_t conn)
{
    const struct kith_watch_event *event = NULL;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND && effect->conn == conn &&
            effect->msg->kind == KITH_MSG_WATCH_EVENT) {
            assert_null(event); /* once */
            event = &effect->msg->u.watch_event;
        }
    }
    return event;
}

static void assert_told(const struct world *world, uint64_t conn, const char *name)
{
    const struct kith_watch_event *event = told(world, conn);
    assert_non_null(event);
    assert_false(event->ended);
    assert_int_equal(event->name_count, 1);
    assert_int_equal(event->names[0].size, strlen(name));
    assert_memory_equal(event->names[0].data, name, strlen(name));
}

/* Events come before any answer of the step. */
static void assert_before(const struct world *world, enum kith_msg_kind answer)
{
    const struct kith_effect *first = sent_from(world, answer, 0);
    assert_non_null(first);
    assert_non_null(sent_from(world, KITH_MSG_WATCH_EVENT, 0));
    assert_null(sent_from(world, KITH_MSG_WATCH_EVENT, (uint32_t)(first - world->last.effects)));
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

static struct kith_table *table_of(const struct world *world)
{
    struct kith_table *table = NULL;
    struct kith_bytes bytes = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    return table;
}

static struct kith_table_id table_id(const struct world *world)
{
    struct kith_table *table = table_of(world);
    struct kith_table_id id = table->id;
    kith_table_drop(table);
    return id;
}

/* The next table, with so many members beside this node, encoded. */
static void next_table(const struct world *world, uint32_t others, struct kith_buf *buf)
{
    struct kith_table *table = table_of(world);
    struct kith_table *next = NULL;
    struct kith_member members[5];
    memset(members, 0, sizeof members);
    for (uint8_t i = 0; i <= others; i++) {
        members[i].uuid = uuid_of((uint8_t)(i + 1));
        members[i].weight = 1;
    }
    enum kith_err err =
        kith_balance(table, &table->cluster, PARTITIONS, 3, members, others + 1, &next);
    assert_int_equal(err, KITH_OK);
    kith_buf_init(buf);
    kith_table_encode(next, buf);
    kith_table_drop(table);
    kith_table_drop(next);
}

/* A member of a cluster with `others` more, all of them down; conn 1 is a client's. */
static void world_new(struct world *world, uint32_t others)
{
    memset(world, 0, sizeof *world);
    start(world);
    accept_client(world, 1);
    struct kith_msg msg = {.kind = KITH_MSG_INIT_REQ, .id = 5};
    msg.u.init_req.name = "test";
    msg.u.init_req.partitions = PARTITIONS;
    msg.u.init_req.zone = "";
    message(world, 1, &msg);
    assert_int_equal(sent(world, KITH_MSG_ADMIN_RES)->u.admin_res.status.err, KITH_OK);
    if (others > 0) {
        struct kith_buf buf;
        next_table(world, others, &buf);
        assert_true(buf.size <= META_MAX);
        memcpy(world->meta[KITH_META_TABLE], buf.data, buf.size);
        world->meta_size[KITH_META_TABLE] = buf.size;
        kith_buf_release(&buf);
        kith_node_free(world->node);
        start(world);
        accept_client(world, 1);
    }
}

/* Node 2 connects, and is connected to: up. Its conn to this node is 12. */
static uint64_t peer_up(struct world *world)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 12};
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = kith_protocol_ours();
    msg.u.hello.role = KITH_ROLE_NODE;
    msg.u.hello.node = uuid_of(2);
    msg.u.hello.incarnation = 1;
    msg.u.hello.address = "there:2";
    msg.u.hello.software = "test";
    run(world, &accepted);
    message(world, 12, &msg);
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

static struct kith_group group_of(uint32_t number)
{
    uint8_t own[12] = {0};
    memcpy(own, &number, sizeof number);
    return kith_group_make(KITH_VOLUME_FS, own);
}

static struct kith_msg watch_msg(const struct world *world, uint32_t group, uint64_t own)
{
    struct kith_msg msg = {.kind = KITH_MSG_WATCH_REQ, .id = 33};
    msg.u.watch_req.table = table_id(world);
    msg.u.watch_req.has_group = true;
    msg.u.watch_req.group = group_of(group);
    msg.u.watch_req.lease_ms = LEASE_MS;
    msg.u.watch_req.own = own;
    return msg;
}

static const struct kith_watch_res *watch_answer(const struct world *world)
{
    const struct kith_msg *res = sent(world, KITH_MSG_WATCH_RES);
    assert_non_null(res);
    assert_int_equal(res->id, 33);
    return &res->u.watch_res;
}

static enum kith_err watch(struct world *world, uint64_t conn, uint32_t group, uint64_t own)
{
    struct kith_msg msg = watch_msg(world, group, own);
    message(world, conn, &msg);
    return watch_answer(world)->status.err;
}

/* A request that asks for nothing new; what is of no more use. */
static const struct kith_watch_res *renew(struct world *world, uint64_t conn, uint32_t ended)
{
    struct kith_group groups[2] = {group_of(ended), group_of(ended + 1)};
    struct kith_msg msg = watch_msg(world, 0, 0);
    msg.u.watch_req.has_group = false;
    msg.u.watch_req.ended = groups;
    msg.u.watch_req.ended_count = ended == 0 ? 0 : 2;
    message(world, conn, &msg);
    assert_int_equal(watch_answer(world)->status.err, KITH_OK);
    return watch_answer(world);
}

/* ---- Writes ---- */

/* A client's half of a request id: its first byte. */
static struct kith_request_id request_of(uint8_t client)
{
    struct kith_request_id request = {{client, [15] = 1}};
    return request;
}
#define OWN(client) ((uint64_t)(client) << 56)

static const struct kith_put_update updates[2] = {
    {.name = {(const uint8_t *)"a", 1}, .has_sibling = true},
    {.name = {(const uint8_t *)"bc", 2}, .has_sibling = true}};
static const struct kith_replica_row replica_row = {.name = {(const uint8_t *)"a", 1}};
static struct kith_msg write; /* outlives the operation */

static void put_begin(struct world *world, uint32_t group, uint8_t client, bool disk)
{
    memset(&write, 0, sizeof write);
    write.kind = KITH_MSG_PUT_REQ;
    write.id = 77;
    write.u.put_req.table = table_id(world);
    write.u.put_req.timeout_ms = 9000;
    write.u.put_req.durability = disk ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    write.u.put_req.w = 1;
    write.u.put_req.request = request_of(client);
    write.u.put_req.group = group_of(group);
    write.u.put_req.update_count = 1;
    write.u.put_req.updates = updates;
    uint32_t ops = world->ops;
    message(world, 1, &write);
    assert_int_equal(world->ops, ops + 1);
    assert_int_equal(world->op.kind, KITH_STORE_PUT);
}

static void merge_begin(struct world *world, uint32_t group, uint8_t client, bool disk)
{
    memset(&write, 0, sizeof write);
    write.kind = KITH_MSG_REPLICATE_REQ;
    write.id = 78;
    write.u.replicate_req.table = table_id(world);
    write.u.replicate_req.request = request_of(client);
    write.u.replicate_req.durability = disk ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    write.u.replicate_req.group = group_of(group);
    write.u.replicate_req.row_count = 1;
    write.u.replicate_req.rows = &replica_row;
    uint32_t ops = world->ops;
    message(world, 12, &write);
    assert_int_equal(world->ops, ops + 1);
    assert_int_equal(world->op.kind, KITH_STORE_MERGE);
}

static void op_done(struct world *world, enum kith_durability reached, enum kith_err err)
{
    struct kith_clock_entry entry = {{9, 1}, 1};
    struct kith_row row = {.clock = {1, &entry}};
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_store_put_row results[2] = {{.dot = {{9, 1}, 1}, .state = kith_buf_bytes(&buf)},
                                            {.dot = {{9, 1}, 2}, .state = kith_buf_bytes(&buf)}};
    struct kith_store_done done = {
        .id = world->op.id, .err = err, .message = "", .reached = reached};
    if (world->op.kind == KITH_STORE_PUT) {
        done.u.put.row_count = world->op.u.put.update_count;
        done.u.put.rows = results;
    }
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(world, &stored);
    kith_buf_release(&buf);
}

static void put(struct world *world, uint32_t group, uint8_t client)
{
    put_begin(world, group, client, false);
    op_done(world, KITH_DURABLE_OS, KITH_OK);
}

/* ---- Tests ---- */

static void test_refused(void **state)
{
    (void)state;
    struct world world;
    memset(&world, 0, sizeof world);
    start(&world);
    accept_client(&world, 1);
    struct kith_msg msg = {.kind = KITH_MSG_WATCH_REQ, .id = 33};
    message(&world, 1, &msg);
    assert_int_equal(watch_answer(&world)->status.err, KITH_ENOTREADY);
    kith_node_free(world.node);

    world_new(&world, 4);
    peer_up(&world);
    uint32_t owned = 0, other = 0; /* groups whose partition is ours, and is not */
    struct kith_table *table = table_of(&world);
    struct kith_uuid uuid = uuid_of(1);
    uint16_t self = kith_table_find(table, &uuid);
    for (uint32_t i = 1; owned == 0 || other == 0; i++) {
        struct kith_group group = group_of(i);
        bool ours = kith_table_owns(table, kith_group_partition(&group, PARTITIONS), self);
        owned = ours ? i : owned;
        other = ours ? other : i;
    }
    kith_table_drop(table);
    assert_int_equal(watch(&world, 1, owned, 1), KITH_OK);
    assert_int_equal(watch(&world, 1, other, 1), KITH_ESTALE);
    assert_int_equal(watch_answer(&world)->table.size, world.meta_size[KITH_META_TABLE]);
    assert_int_equal(watch(&world, 12, owned, 1), KITH_EPERM);
    msg = watch_msg(&world, owned, 1);
    msg.u.watch_req.table.epoch--;
    message(&world, 1, &msg);
    assert_int_equal(watch_answer(&world)->status.err, KITH_ESTALE);
    assert_int_equal(watch_answer(&world)->table.size, world.meta_size[KITH_META_TABLE]);
    msg.u.watch_req.table.epoch += 2;
    message(&world, 1, &msg);
    assert_int_equal(watch_answer(&world)->status.err, KITH_ENOTREADY);
    static const uint32_t leases[] = {0, KITH_WATCH_LEASE_MAX_MS + 1, KITH_WATCH_LEASE_MAX_MS, 1};
    for (uint32_t i = 0; i < 4; i++) {
        msg = watch_msg(&world, owned, 1);
        msg.u.watch_req.lease_ms = leases[i];
        message(&world, 1, &msg);
        assert_int_equal(watch_answer(&world)->status.err, i < 2 ? KITH_EINVAL : KITH_OK);
    }
    kith_node_free(world.node);
}

/* A put that is stored here is told before it is answered; to whom it concerns. */
static void test_put(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    for (uint64_t conn = 2; conn <= 5; conn++) {
        accept_client(&world, conn);
    }
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK);
    assert_int_equal(watch(&world, 3, 1, OWN(3)), KITH_OK);
    assert_int_equal(watch(&world, 4, 2, OWN(4)), KITH_OK);
    put_begin(&world, 1, 3, false);
    assert_null(sent(&world, KITH_MSG_WATCH_EVENT)); /* it is not stored yet */
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 2, "a");
    assert_null(told(&world, 3)); /* its own */
    assert_null(told(&world, 4)); /* another group */
    assert_before(&world, KITH_MSG_PUT_RES);

    put_begin(&world, 1, 9, false); /* two rows; group 1 has one more watcher when it is stored */
    write.u.put_req.update_count = 2;
    world.op.u.put.update_count = 2;
    assert_int_equal(watch(&world, 5, 1, 0), KITH_OK);
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_int_equal(told(&world, 2)->name_count, 2);
    assert_int_equal(told(&world, 3)->name_count, 2);
    assert_int_equal(told(&world, 5)->name_count, 2);
    assert_int_equal(told(&world, 5)->names[1].size, 2);

    put_begin(&world, 1, 9, true); /* readable from `os` on; the answer comes with the disk */
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 2, "a");
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    op_done(&world, KITH_DURABLE_DISK, KITH_OK);
    assert_null(sent(&world, KITH_MSG_WATCH_EVENT));
    assert_non_null(sent(&world, KITH_MSG_PUT_RES));

    put_begin(&world, 1, 9, false); /* it may be there all the same */
    op_done(&world, KITH_DURABLE_OS, KITH_EIO);
    assert_told(&world, 2, "a");
    assert_before(&world, KITH_MSG_PUT_RES);

    put_begin(&world, 1, 9, false); /* nobody waits for its answer any more */
    tick(&world, 2000);
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK);
    tick(&world, 7500);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNKNOWN);
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK);
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 2, "a");
    kith_node_free(world.node);
}

/* One lease for all that a connection watches, until its very end; own changes by the last word. */
static void test_lease(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    accept_client(&world, 2);
    accept_client(&world, 3);
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK);
    uint64_t session = watch_answer(&world)->session;
    assert_int_not_equal(session, 0);
    tick(&world, LEASE_MS);
    put(&world, 1, 9);
    assert_told(&world, 2, "a");
    tick(&world, 1);
    put(&world, 1, 9);
    assert_null(told(&world, 2));
    /* over: another session, and the groups of the one before are not told */
    assert_int_equal(watch(&world, 2, 2, OWN(2)), KITH_OK);
    assert_int_not_equal(watch_answer(&world)->session, session);
    session = watch_answer(&world)->session;
    put(&world, 1, 9);
    assert_null(told(&world, 2));
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK);
    assert_int_equal(watch_answer(&world)->session, session);
    /* any request prolongs it for all, a shorter one does not shorten it */
    tick(&world, LEASE_MS);
    assert_int_equal(renew(&world, 2, 0)->session, session);
    tick(&world, 1);
    struct kith_msg msg = watch_msg(&world, 3, OWN(9));
    msg.u.watch_req.lease_ms = 1;
    message(&world, 2, &msg);
    tick(&world, LEASE_MS - 1);
    put(&world, 1, 9);
    assert_null(told(&world, 2));
    put(&world, 1, 2);
    assert_told(&world, 2, "a");
    put(&world, 2, 2);
    assert_told(&world, 2, "a");
    tick(&world, 1);
    put(&world, 1, 2);
    assert_null(told(&world, 2));
    assert_int_not_equal(renew(&world, 2, 0)->session, session);
    put(&world, 2, 2);
    assert_null(told(&world, 2));
    kith_node_free(world.node);
}

/* What is of no more use is told no more; to others it is. */
static void test_ended(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    accept_client(&world, 2);
    for (uint32_t group = 1; group <= 3; group++) {
        assert_int_equal(watch(&world, 1, group, 0), KITH_OK);
        assert_int_equal(watch(&world, 2, group, 0), KITH_OK);
    }
    (void)renew(&world, 2, 2); /* 2 and 3 */
    (void)renew(&world, 2, 7); /* which it does not watch */
    for (uint32_t group = 1; group <= 3; group++) {
        put(&world, group, 9);
        assert_told(&world, 1, "a");
        assert_int_equal(told(&world, 2) != NULL, group == 1);
    }
    /* ended and begun by one request: it is watched */
    struct kith_group again = group_of(1);
    struct kith_msg msg = watch_msg(&world, 1, 0);
    msg.u.watch_req.ended = &again;
    msg.u.watch_req.ended_count = 1;
    message(&world, 2, &msg);
    assert_int_equal(watch_answer(&world)->status.err, KITH_OK);
    put(&world, 1, 9);
    assert_told(&world, 2, "a");
    kith_node_free(world.node);
}

/* Rows that come with a coordinator's put. */
static void test_merge(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    peer_up(&world);
    accept_client(&world, 2);
    assert_int_equal(watch(&world, 1, 1, OWN(1)), KITH_OK);
    merge_begin(&world, 1, 1, false);
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK); /* while it is under way */
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_null(told(&world, 1)); /* his own */
    assert_told(&world, 2, "a");
    assert_before(&world, KITH_MSG_REPLICATE_RES);
    merge_begin(&world, 1, 0, true); /* no request: told to all, even to whom 0 is his own */
    assert_int_equal(watch(&world, 1, 1, 0), KITH_OK);
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 1, "a");
    assert_told(&world, 2, "a");
    op_done(&world, KITH_DURABLE_DISK, KITH_OK);
    assert_null(sent(&world, KITH_MSG_WATCH_EVENT));
    assert_non_null(sent(&world, KITH_MSG_REPLICATE_RES));
    merge_begin(&world, 1, 9, false);
    op_done(&world, KITH_DURABLE_OS, KITH_EIO);
    assert_told(&world, 1, "a");

    kith_node_free(world.node);
}

/* Rows that node 2 has of a put's first try; and its newer ones, by a repair. */
static void test_fetched(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t peer = peer_up(&world);
    accept_client(&world, 2);
    assert_int_equal(watch(&world, 1, 1, 0), KITH_OK);
    assert_int_equal(watch(&world, 2, 1, OWN(2)), KITH_OK);
    memset(&write, 0, sizeof write);
    write.kind = KITH_MSG_PUT_REQ;
    write.u.put_req.table = table_id(&world);
    write.u.put_req.request = request_of(2);
    write.u.put_req.group = group_of(1);
    write.u.put_req.update_count = 1;
    write.u.put_req.updates = updates;
    write.u.put_req.retry = true;
    message(&world, 1, &write);
    struct kith_msg found = {.kind = KITH_MSG_REQUEST_FIND_RES,
                             .id = sent(&world, KITH_MSG_REQUEST_FIND_REQ)->id};
    found.u.request_find_res.status.message = "";
    found.u.request_find_res.found = true;
    found.u.request_find_res.row_count = 1;
    found.u.request_find_res.rows = &replica_row;
    message(&world, peer, &found);
    assert_int_equal(world.op.kind, KITH_STORE_MERGE);
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 1, "a");
    assert_null(told(&world, 2));
    assert_int_equal(world.op.kind, KITH_STORE_PUT);
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 1, "a");

    struct kith_bytes names[2] = {updates[0].name, updates[1].name};
    struct kith_msg repair = {.kind = KITH_MSG_REPAIR_REQ};
    repair.u.repair_req.group = group_of(1);
    repair.u.repair_req.from = uuid_of(2);
    repair.u.repair_req.name_count = 2;
    repair.u.repair_req.names = names;
    message(&world, 1, &repair);
    struct kith_got_row rows[2] = {{.name = names[0]},
                                   {.name = names[1], .state = {names[0].data, 1}}};
    struct kith_msg got = {.kind = KITH_MSG_GET_RES, .id = sent(&world, KITH_MSG_GET_REQ)->id};
    got.u.get_res.status.message = "";
    got.u.get_res.row_count = 2;
    got.u.get_res.rows = rows;
    message(&world, peer, &got);
    assert_int_equal(world.op.kind, KITH_STORE_MERGE);
    op_done(&world, KITH_DURABLE_OS, KITH_OK);
    assert_told(&world, 1, "bc");
    assert_told(&world, 2, "bc");
    kith_node_free(world.node);
}

static void test_connection(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    accept_client(&world, 2);
    accept_client(&world, 3);
    assert_int_equal(watch(&world, 2, 1, 0), KITH_OK);
    assert_int_equal(watch(&world, 3, 1, 0), KITH_OK);
    assert_int_equal(watch(&world, 2, 2, 0), KITH_OK);
    hang_up(&world, 2);
    put(&world, 1, 9);
    assert_null(told(&world, 2));
    assert_told(&world, 3, "a");
    accept_client(&world, 2); /* the same number: another connection */
    put(&world, 2, 9);
    assert_null(sent(&world, KITH_MSG_WATCH_EVENT));
    kith_node_free(world.node);
}

/* Another table: all sessions end, in as many ticks as it takes, not those that come after it. */
static void test_table(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t peer = peer_up(&world);
    const uint64_t first = 20, last = CONNS_MAX - 1;
    for (uint64_t conn = first; conn <= last; conn++) {
        accept_client(&world, conn);
        assert_int_equal(watch(&world, conn, (uint32_t)conn, 0), KITH_OK);
    }
    uint64_t session = watch_answer(&world)->session;
    struct kith_buf buf;
    next_table(&world, 3, &buf);
    struct kith_msg msg = {.kind = KITH_MSG_TABLE_RES};
    msg.u.table_res.status.message = "";
    msg.u.table_res.table = kith_buf_bytes(&buf);
    message(&world, peer, &msg);
    kith_buf_release(&buf);
    assert_true(world.last.deadline_ms <= world.now_ms);
    struct kith_table *table = table_of(&world);
    assert_int_equal(table->member_count, 4);
    struct kith_uuid uuid = uuid_of(1);
    uint16_t self = kith_table_find(table, &uuid);
    uint32_t group_number = 0;
    struct kith_group group = group_of(group_number);
    while (!kith_table_owns(table, kith_group_partition(&group, PARTITIONS), self)) {
        group_number++;
        group = group_of(group_number);
    }
    kith_table_drop(table);
    uint64_t waits = 0; /* one that has not been told yet */
    for (uint64_t conn = first; conn <= last; conn++) {
        waits = world.ended_conn[conn] ? waits : conn;
    }
    assert_true(waits != 0);
    assert_int_equal(watch(&world, waits, group_number, 0), KITH_OK);
    assert_true(world.ended_conn[waits]); /* then the new one begins */
    assert_before(&world, KITH_MSG_WATCH_RES);
    assert_true(watch_answer(&world)->session > session);
    for (uint32_t i = 0; i < 20 && world.last.deadline_ms <= world.now_ms; i++) {
        uint32_t before = world.ended;
        if (i < 3) { /* others move in the table of connections */
            hang_up(&world, first + i);
            accept_client(&world, first + i);
        }
        tick(&world, 0);
        assert_true(world.ended <= before + 64); /* KITH_STEP_WATCHES */
    }
    assert_true(world.last.deadline_ms > world.now_ms);
    for (uint64_t conn = first + 3; conn <= last; conn++) {
        assert_true(world.ended_conn[conn]);
    }
    put(&world, group_number, 9);
    assert_told(&world, waits, "a");
    kith_node_free(world.node);
}

/* More than a connection, a group or the node may have is refused, and lapses make room. */
static void test_bounds(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    for (uint64_t conn = 2; conn <= KITH_WATCH_GROUP_MAX + 2; conn++) {
        accept_client(&world, conn);
        bool last = conn == KITH_WATCH_GROUP_MAX + 2;
        assert_int_equal(watch(&world, conn, 7, 0), last ? KITH_ELIMIT : KITH_OK);
    }
    assert_int_equal(watch(&world, 2, 7, 0), KITH_OK); /* it is in already */
    put(&world, 7, 9);
    for (uint64_t conn = 2; conn < KITH_WATCH_GROUP_MAX + 2; conn++) {
        assert_told(&world, conn, "a");
    }
    assert_before(&world, KITH_MSG_PUT_RES);
    hang_up(&world, 100);
    assert_int_equal(watch(&world, KITH_WATCH_GROUP_MAX + 2, 7, 0), KITH_OK);
    tick(&world, LEASE_MS + 1);
    assert_int_equal(watch(&world, 1, 7, 0), KITH_OK);

    for (uint32_t group = 0; group <= KITH_WATCH_CONN_MAX; group++) {
        bool last = group == KITH_WATCH_CONN_MAX;
        assert_int_equal(watch(&world, 1, group, 0), last ? KITH_ELIMIT : KITH_OK);
    }
    tick(&world, LEASE_MS);
    assert_int_equal(watch(&world, 1, KITH_WATCH_CONN_MAX, 0), KITH_ELIMIT);
    assert_int_not_equal(watch_answer(&world)->session, 0); /* which this prolonged */
    (void)renew(&world, 1, 5);
    assert_int_equal(watch(&world, 1, KITH_WATCH_CONN_MAX, 0), KITH_OK);
    assert_int_equal(watch(&world, 1, 5, 0), KITH_OK);
    assert_int_equal(watch(&world, 1, 6, 0), KITH_ELIMIT);
    tick(&world, LEASE_MS + 1);
    assert_int_equal(watch(&world, 1, 6, 0), KITH_OK);

    hang_up(&world, 1);
    accept_client(&world, 1);
    uint32_t count = 0;
    for (uint64_t conn = 1; conn <= KITH_WATCH_MAX / KITH_WATCH_CONN_MAX; conn++) {
        for (uint32_t i = 0; i < KITH_WATCH_CONN_MAX; i++) {
            assert_int_equal(watch(&world, conn, count, 0), KITH_OK);
            count++;
        }
    }
    assert_int_equal(count, KITH_WATCH_MAX);
    assert_int_equal(watch(&world, 99, 0, 0), KITH_ELIMIT);
    put(&world, KITH_WATCH_MAX - 1, 9);
    assert_told(&world, KITH_WATCH_MAX / KITH_WATCH_CONN_MAX, "a");
    tick(&world, LEASE_MS + 1);
    assert_int_equal(watch(&world, 99, 0, 0), KITH_OK);
    kith_node_free(world.node);
}

/* ---- Against a list ---- */

#define MODEL_CONNS  12u
#define MODEL_GROUPS 40u

/* Watches, their ends, hang-ups, puts and time in random order: told is who watches and has a
 * lease, and a session is as long as that lasts. */
static void test_random(void **state)
{
    (void)state;
    struct world world;
    bool watches[MODEL_CONNS + 1][MODEL_GROUPS] = {{0}};
    uint64_t until[MODEL_CONNS + 1] = {0}, own[MODEL_CONNS + 1] = {0};
    uint64_t session[MODEL_CONNS + 1] = {0};
    world_new(&world, 0);
    for (uint64_t conn = 2; conn <= MODEL_CONNS; conn++) {
        accept_client(&world, conn);
    }
    struct test_random random = {20};
    for (uint32_t round = 0; round < 40000; round++) {
        uint64_t conn = 2u + test_random_below(&random, MODEL_CONNS - 1);
        uint32_t group = test_random_below(&random, MODEL_GROUPS);
        uint8_t client = (uint8_t)(1 + test_random_below(&random, 3));
        uint32_t what = test_random_below(&random, 100);
        if (what < 40) {
            struct kith_group ended = group_of(test_random_below(&random, MODEL_GROUPS));
            uint32_t ended_number;
            memcpy(&ended_number, ended.bytes + 4, sizeof ended_number);
            struct kith_msg msg = watch_msg(&world, group, OWN(client));
            msg.u.watch_req.has_group = what < 25;
            msg.u.watch_req.ended = &ended;
            msg.u.watch_req.ended_count = what % 2;
            message(&world, conn, &msg);
            assert_int_equal(watch_answer(&world)->status.err, KITH_OK);
            bool same = session[conn] != 0 && until[conn] >= world.now_ms;
            assert_int_equal(watch_answer(&world)->session == session[conn], same);
            if (!same) {
                memset(watches[conn], 0, sizeof watches[conn]);
            }
            session[conn] = watch_answer(&world)->session;
            until[conn] = world.now_ms + LEASE_MS;
            own[conn] = OWN(client);
            watches[conn][ended_number] = watches[conn][ended_number] && what % 2 == 0;
            watches[conn][group] = watches[conn][group] || what < 25;
        } else if (what < 41) {
            hang_up(&world, conn);
            accept_client(&world, conn);
            memset(watches[conn], 0, sizeof watches[conn]);
            session[conn] = 0;
        } else if (what < 50) {
            tick(&world, test_random_below(&random, 1000));
        } else {
            put(&world, group, client);
            for (uint64_t c = 2; c <= MODEL_CONNS; c++) {
                bool is = watches[c][group] && until[c] >= world.now_ms && own[c] != OWN(client);
                assert_int_equal(told(&world, c) != NULL, is);
            }
        }
    }
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_put),
        cmocka_unit_test(test_lease),   cmocka_unit_test(test_merge),
        cmocka_unit_test(test_fetched), cmocka_unit_test(test_connection),
        cmocka_unit_test(test_table),   cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_random),  cmocka_unit_test(test_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
