/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A store that comes back after a long time: no reads before each leaf was the same at other owners;
 * how that is known, and what does not count. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "compare_world.h"

#define GRACE_MS 86400000u

/* A cluster with `others` more, of which this node was just seen alive. */
static void world_alive(struct world *world, uint32_t others)
{
    world_grace_ms = GRACE_MS;
    world_later_ms = 0;
    weak = lacking = 0;
    world_new(world, others);
    for (uint32_t i = 0; i < 3; i++) {
        tick(world, 100);
    }
    assert_int_not_equal(world->meta_size[KITH_META_ALIVE], 0);
}

/* It was off for so long. */
static void away(struct world *world, uint64_t ms)
{
    world_later_ms += ms;
    again(world);
    hurried = 0;
}

static void world_away(struct world *world, uint32_t others, uint64_t ms)
{
    world_alive(world, others);
    away(world, ms);
}

static void test_no_reads_before(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS / 2 + 1000);
    assert_int_equal(read_count(&world), 0);
    up(&world, 2);
    compare(&world, 1000);
    assert_int_equal(read_count(&world), 8); /* with this one that is a majority */
    assert_int_equal(hurried, 8);
    assert_int_equal(world.node->aged.left, 0);
    again(&world);
    assert_int_equal(read_count(&world), 8); /* the note says so */
    kith_node_free(world.node);
}

static void test_not_for_long(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS / 2 - 1000);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
    world_grace_ms = 0; /* nothing is ever reaped: there is no note */
    world_new(&world, 2);
    away(&world, 10 * GRACE_MS);
    assert_int_equal(read_count(&world), 8);
    assert_int_equal(world.meta_size[KITH_META_ALIVE], 0);
    kith_node_free(world.node);
}

/* It has all that the other one has, and more: he must have seen that first. */
static void test_more_is_not_the_same(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS);
    up(&world, 2);
    lacking = conns[2];
    compare(&world, 10000);
    assert_int_equal(read_count(&world), 0);
    assert_true(hurried >= 16); /* again and again */
    lacking = 0;
    compare(&world, 5000);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* A leaf that never becomes the same: not for ever. */
static void test_never_the_same(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS);
    up(&world, 2);
    lacking = conns[2];
    compare(&world, AGED_MOST_MS - 10000);
    assert_int_equal(read_count(&world), 0);
    compare(&world, 20000);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* One that is up and has not said yet: he is waited for. */
static void test_all_that_are_up(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS);
    up(&world, 2);
    up(&world, 3);
    lacking = conns[3];
    compare(&world, 5000);
    assert_int_equal(read_count(&world), 0);
    lacking = 0;
    weak = conns[2]; /* an aged one himself */
    compare(&world, 5000);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* Nobody else is up: what there is is read, after a while; until somebody is. Started anew, it is
 * as it was. */
static void test_alone(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS);
    compare(&world, AGED_ALONE_MS - 500);
    assert_int_equal(read_count(&world), 0);
    compare(&world, 1000);
    assert_int_equal(read_count(&world), 8);
    assert_int_equal(world.node->aged.left, 8);
    again(&world);
    assert_int_equal(read_count(&world), 0);
    compare(&world, AGED_ALONE_MS);
    up(&world, 2);
    assert_int_equal(read_count(&world), 0);
    kith_node_free(world.node);
    world_away(&world, 0, GRACE_MS); /* there is nobody else */
    compare(&world, 500);
    assert_int_equal(read_count(&world), 8);
    assert_int_equal(world.node->aged.left, 0);
    kith_node_free(world.node);
}

/* The clock leaps while it runs; a little, or back, says nothing. */
static void test_clock_leaps(void **state)
{
    (void)state;
    struct world world;
    world_alive(&world, 2);
    up(&world, 2);
    compare(&world, 1000);
    world_later_ms += GRACE_MS / 4;
    assert_int_equal(read_count(&world), 8);
    world_later_ms += GRACE_MS;
    assert_int_equal(read_count(&world), 0);
    compare(&world, 4000);
    assert_int_equal(read_count(&world), 8);
    world_later_ms -= GRACE_MS;
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* Others know a later start of it. */
static void test_later_start(void **state)
{
    (void)state;
    struct world world;
    world_alive(&world, 2);
    up(&world, 2);
    compare(&world, 1000);
    assert_int_equal(read_count(&world), 8);
    struct kith_member_news news = {.uuid = uuid_of(1),
                                    .incarnation = 99,
                                    .state = KITH_ALIVE,
                                    .address = "here:1",
                                    .software = "test"};
    news.check = swim_check(&news);
    struct kith_msg ping = {.kind = KITH_MSG_PING};
    ping.u.ping.is_answer = true;
    ping.u.ping.news_count = 1;
    ping.u.ping.news = &news;
    message(&world, conns[2], &ping);
    assert_int_equal(read_count(&world), 0);
    compare(&world, 4000);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* A note from days ahead, or one that is damaged, is no better than an old one. */
static void test_note(void **state)
{
    (void)state;
    struct world world;
    world_alive(&world, 2);
    world_later_ms = GRACE_MS; /* no leap: the store is opened by one whose clock is wrong */
    world.meta_size[KITH_META_ALIVE] = 0;
    again(&world);
    tick(&world, 1000);
    assert_int_not_equal(world.meta_size[KITH_META_ALIVE], 0);
    assert_int_equal(read_count(&world), 8);
    world_later_ms = 0;
    again(&world);
    assert_int_equal(read_count(&world), 0);
    kith_node_free(world.node);
    world_alive(&world, 2);
    again(&world);
    assert_int_equal(read_count(&world), 8);
    world.meta[KITH_META_ALIVE][2] ^= 1;
    again(&world);
    assert_int_equal(read_count(&world), 0);
    kith_node_free(world.node);
}

/* Writes are taken all the time; who compares with it is told. */
static void test_meanwhile(void **state)
{
    (void)state;
    struct world world;
    world_away(&world, 2, GRACE_MS);
    struct kith_msg put = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &put);
    assert_true(world.has_put);
    (void)peer_up(&world, 2);
    assert_true(says_refilling(&world, false));
    assert_false(says_refilling(&world, true)); /* chunks bear their checksums */
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_reads_before),   cmocka_unit_test(test_not_for_long),
        cmocka_unit_test(test_more_is_not_the_same), cmocka_unit_test(test_never_the_same), cmocka_unit_test(test_all_that_are_up),
        cmocka_unit_test(test_alone),             cmocka_unit_test(test_clock_leaps),
        cmocka_unit_test(test_later_start),       cmocka_unit_test(test_note),
        cmocka_unit_test(test_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
