/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node_freeze.c - one core, events by hand: promises to a change of the table, and what they
 * stop. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "core/table/decide.h"
#include "node_world.h"

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

/* Who has promised a change takes no write until a table is decided, whatever ballots come and go.
 */
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

/* Who proposes has opened connections of both kinds, and cannot be reached: a vote goes back as
 * what is small does, wherever that connection stands among the others. */
static void test_vote_way(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    for (uint64_t conn = 20; conn < 28; conn++) {
        enum kith_conn_class cls = conn == 24 ? KITH_CONN_ROWS : KITH_CONN_BULK;
        struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = conn, .cls = cls};
        run(&world, &accepted);
        struct kith_msg msg = {.kind = KITH_MSG_HELLO};
        msg.u.hello.protocol = kith_protocol_ours();
        msg.u.hello.role = KITH_ROLE_NODE;
        msg.u.hello.node = uuid_of(2);
        msg.u.hello.incarnation = 1;
        msg.u.hello.address = "there:2";
        msg.u.hello.software = "test";
        message(&world, conn, &msg);
    }
    struct kith_buf buf;
    struct kith_msg msg = prepare_msg(&world, 1, &buf);
    message(&world, 24, &msg);
    assert_int_equal(world.phase, KITH_DECIDE_PROMISE);
    assert_int_equal(world.answer_conn, 24);
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* Restarts with a record of promises that cannot be read. */
static void restart_damaged(struct world *world)
{
    kith_node_free(world->node);
    world->meta[KITH_META_DECIDE][0] = 99;
    world->meta_size[KITH_META_DECIDE] = 40;
    start(world);
}

/* The record of promises is damaged: what may have been promised holds until a table is learnt. */
static void test_freeze_damaged(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    restart_damaged(&world);
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
    restart_damaged(&world);
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 2};
    run(&world, &accepted);
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = kith_protocol_ours();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze),        cmocka_unit_test(test_objection),
        cmocka_unit_test(test_freeze_alone),  cmocka_unit_test(test_freeze_damaged),
        cmocka_unit_test(test_damaged_alone), cmocka_unit_test(test_vote_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
