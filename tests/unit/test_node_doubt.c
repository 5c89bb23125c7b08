/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node_doubt.c - the request path's own view of a peer: who is waited for and says nothing is
 * left out within a second, and whatever he says brings him back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

/* Ticks of 10 ms; how many pings went to conn meanwhile. */
static uint32_t pass(struct world *world, uint64_t ms, uint64_t conn)
{
    uint32_t pings = 0;
    for (uint64_t at = 0; at < ms; at += 10) {
        tick(world, 10);
        for (uint32_t i = 0; i < world->last.count; i++) {
            const struct kith_effect *effect = &world->last.effects[i];
            pings += effect->kind == KITH_EFFECT_SEND && effect->conn == conn &&
                     effect->msg->kind == KITH_MSG_PING;
        }
    }
    return pings;
}

static void says(struct world *world, uint64_t conn)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.is_answer = true;
    message(world, conn, &msg);
}

static const struct peer *peer_at(const struct world *world, uint8_t byte)
{
    struct kith_uuid uuid = uuid_of(byte);
    return peer_find(world->node, &uuid);
}

/* A put that wants all three copies, stored here and sent; both others have just been heard. */
static void put_all(struct world *world, const uint64_t conns[2])
{
    static struct kith_msg msg; /* outlives the write */
    (void)pass(world, 1000, 0);
    says(world, conns[0]);
    says(world, conns[1]);
    msg = put_msg(world, KITH_DURABLE_OS);
    msg.u.put_req.w = 3;
    msg.u.put_req.strict = true; /* nobody stands in */
    msg.u.put_req.timeout_ms = 5000;
    message(world, 1, &msg);
    put_done(world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(world, KITH_MSG_REPLICATE_REQ), 2);
}

static void world_of_three(struct world *world, uint64_t conns[2])
{
    world_new(world, 2);
    conns[0] = peer_up(world, 2);
    conns[1] = peer_up(world, 3);
}

/* Node 3 is frozen: the put that waits for it ends in 600 ms,
 * the next one does not begin to wait. */
static void test_frozen(void **state)
{
    (void)state;
    struct world world;
    uint64_t conns[2];
    world_of_three(&world, conns);
    put_all(&world, conns);
    uint64_t id = sent(&world, KITH_MSG_REPLICATE_REQ)->id;
    uint64_t sent_ms = world.now_ms;
    struct kith_msg res = {.kind = KITH_MSG_REPLICATE_RES, .id = id};
    res.u.replicate_res.status.message = "";
    message(&world, conns[0], &res);
    (void)pass(&world, KITH_DOUBT_AFTER_MS - 10, conns[1]);
    assert_int_equal(peer_at(&world, 3)->asked_ms, 0);
    assert_int_equal(pass(&world, 10, conns[1]), 1); /* asked for a sign of life */
    while (world.now_ms < sent_ms + 1000 && !sent(&world, KITH_MSG_PUT_RES)) {
        says(&world, conns[0]);
        tick(&world, 10);
    }
    assert_non_null(sent(&world, KITH_MSG_PUT_RES));
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNKNOWN);
    assert_in_range(world.now_ms - sent_ms, KITH_DOUBT_MS, KITH_DOUBT_MS + 20);
    assert_true(peer_at(&world, 2)->up);
    assert_false(peer_at(&world, 3)->up);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &msg);
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 1);
    says(&world, conns[1]); /* and is back */
    assert_true(peer_at(&world, 3)->up);
    kith_node_free(world.node);
}

/* Who answers late, but says anything, stays up; and nobody is asked anything while he answers. */
static void test_slow(void **state)
{
    (void)state;
    struct world world;
    uint64_t conns[2];
    world_of_three(&world, conns);
    put_all(&world, conns);
    (void)pass(&world, KITH_DOUBT_MS - 20, conns[1]);
    says(&world, conns[0]);
    says(&world, conns[1]);
    (void)pass(&world, 900, conns[1]);
    assert_true(peer_at(&world, 3)->up);
    for (uint32_t i = 0; i < 10; i++) {
        put_all(&world, conns);
        (void)pass(&world, KITH_DOUBT_AFTER_MS - 20, 0);
        says(&world, conns[0]);
        says(&world, conns[1]);
        uint64_t next = peer_at(&world, 3)->ping_ms - world.now_ms;
        assert_int_equal(pass(&world, next - 10, conns[1]), 0);
    }
    assert_true(peer_at(&world, 3)->up);
    kith_node_free(world.node);
}

/* Nobody waits: silence is judged by KITH_DOWN_MS alone. */
static void test_idle(void **state)
{
    (void)state;
    struct world world;
    uint64_t conns[2];
    world_of_three(&world, conns);
    says(&world, conns[1]);
    (void)pass(&world, KITH_DOWN_MS - 10, conns[1]);
    assert_true(peer_at(&world, 3)->up);
    (void)pass(&world, 10, conns[1]);
    assert_false(peer_at(&world, 3)->up);
    kith_node_free(world.node);
}

/* This node stands still, and finds answers unread: before and after it has asked. */
static void test_paused(void **state)
{
    (void)state;
    static const uint64_t before[] = {100, 300};
    static const uint64_t pauses[] = {900, 1900, 2500, 60000};
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t k = 0; k < 4; k++) {
            struct world world;
            uint64_t conns[2];
            world_of_three(&world, conns);
            put_all(&world, conns);
            (void)pass(&world, before[i], conns[1]);
            tick(&world, pauses[k]);
            assert_true(peer_at(&world, 3)->up);
            (void)pass(&world, 100, conns[1]);
            assert_true(peer_at(&world, 3)->up);
            says(&world, conns[1]);
            (void)pass(&world, KITH_DOUBT_MS + 20, conns[1]);
            assert_true(peer_at(&world, 3)->up);
            assert_false(peer_at(&world, 2)->up); /* it has said nothing since */
            kith_node_free(world.node);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
