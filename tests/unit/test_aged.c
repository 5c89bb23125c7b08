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
    holds = 0;
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

/* ---- Partitions that come here later ---- */

#define MOVED 5u

/* Its owners: indices into the members of the table, of which this node is 0. */
static const uint16_t ours[3] = {0, 1, 2}, others[3] = {1, 2, 3}, not_2s[3] = {0, 2, 3};

/* The table after the one in use, where MOVED is theirs; joint where `joins`. The node learns it;
 * or, where it is down, has it. */
static void table_next(struct world *world, bool joins, const uint16_t members[3])
{
    struct kith_bytes old = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    struct kith_table *last = NULL, *wanted = NULL, *next = NULL;
    uint16_t owners[8][3];
    assert_int_equal(kith_table_decode(old, &last), KITH_OK);
    memcpy(owners, last->owners, sizeof owners);
    memcpy(owners[MOVED], members, sizeof owners[MOVED]);
    assert_int_equal(kith_table_new(&last->cluster, last->id.epoch, last->id.version + 1, 8, 3,
                                    last->members, last->member_count, owners[0], &wanted),
                     KITH_OK);
    if (joins) {
        assert_int_equal(kith_table_move(last, wanted, false, NULL, 0, &next), KITH_OK);
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(joins ? next : wanted, &buf);
    if (world->node) {
        struct kith_msg msg = {.kind = KITH_MSG_TABLE_RES};
        struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conns[2], .msg = &msg};
        msg.u.table_res.status.message = "";
        msg.u.table_res.table = kith_buf_bytes(&buf);
        step(world, &event);
        serve(world);
    } else {
        memcpy(world->meta[KITH_META_TABLE], buf.data, buf.size);
        world->meta_size[KITH_META_TABLE] = buf.size;
    }
    kith_buf_release(&buf);
    kith_table_drop(last);
    kith_table_drop(wanted);
    kith_table_drop(next);
}

/* One of four, and all owners of what it has but one are up. It owns MOVED by the table it starts
 * with, or does not. */
static void world_four(struct world *world, bool owns)
{
    world_alive(world, 3);
    kith_node_free(world->node);
    world->node = NULL;
    table_next(world, false, owns ? ours : others);
    world_later_ms += GRACE_MS;
    start(world);
    hello(world, 1, KITH_PROTOCOL_VERSION, 0);
    up(world, 2);
    up(world, 3);
    holds = 1u << MOVED;
}

/* MOVED left here, and what is here of it may have been reaped elsewhere. It is to be this node's. */
static void comes_later(struct world *world)
{
    compare(world, 5000);
    assert_int_equal(reads(world, MOVED), KITH_ESTALE);
    assert_int_equal(world->node->aged.left, 0); /* nobody waits for it */
    table_next(world, true, ours);
    assert_int_equal(world->node->aged.left, 1);
    assert_int_equal(reads(world, MOVED), KITH_ENOTREADY);
    lacking = conns[2];
    compare(world, 20000);
    assert_int_equal(reads(world, MOVED), KITH_ENOTREADY);
    assert_false(world->node->moves.synced); /* the owners of before are still needed */
    lacking = 0;
    compare(world, 5000);
    assert_int_equal(reads(world, MOVED), KITH_OK);
    assert_int_equal(world->node->aged.left, 0);
    assert_true(world->node->moves.synced);
    kith_node_free(world->node);
}

static void test_left_and_comes(void **state)
{
    (void)state;
    struct world world;
    world_four(&world, true);
    assert_int_equal(reads(&world, MOVED), KITH_ENOTREADY);
    table_next(&world, false, others);
    comes_later(&world);
}

static void test_left_long_ago(void **state)
{
    (void)state;
    struct world world;
    world_four(&world, false);
    comes_later(&world);
}

/* The time that it may take at most is that of the table which brings it here. */
static void test_comes_late(void **state)
{
    (void)state;
    struct world world;
    world_four(&world, false);
    compare(&world, AGED_MOST_MS + 5000);
    table_next(&world, true, ours);
    lacking = conns[2];
    compare(&world, AGED_MOST_MS - 10000);
    assert_int_equal(reads(&world, MOVED), KITH_ENOTREADY);
    compare(&world, 20000);
    assert_int_equal(reads(&world, MOVED), KITH_OK);
    kith_node_free(world.node);
}

/* Nothing is left of it when it comes. While there was, a node that starts again began anew. */
static void test_left_and_gone(void **state)
{
    (void)state;
    struct world world;
    uint8_t note[META_MAX];
    world_four(&world, true);
    size_t size = world.meta_size[KITH_META_ALIVE];
    memcpy(note, world.meta[KITH_META_ALIVE], size);
    table_next(&world, false, others);
    compare(&world, 30000);
    assert_int_equal(world.node->aged.left, 0);
    assert_memory_equal(world.meta[KITH_META_ALIVE], note, size);
    holds = 0; /* it was dropped */
    compare(&world, 90000);
    assert_memory_not_equal(world.meta[KITH_META_ALIVE], note, size);
    table_next(&world, true, ours);
    assert_int_equal(reads(&world, MOVED), KITH_OK);
    again(&world);
    assert_int_equal(world.node->aged.left, 0);
    kith_node_free(world.node);
}

/* The owners ask it, though it is none yet: they know which of its rows are dead. */
static void test_shows_owners(void **state)
{
    (void)state;
    struct world world;
    world_four(&world, false);
    compare(&world, 5000);
    table_next(&world, true, ours);
    assert_true(says_refilling(&world, false));
    kith_node_free(world.node);
}

/* And of this one, as an owner: while the partition moves it asks one that is to own it where that
 * one tells it to look. */
static void test_looks_at_next(void **state)
{
    (void)state;
    struct world world;
    world_alive(&world, 3);
    up(&world, 2);
    up(&world, 3);
    table_next(&world, false, not_2s);
    table_next(&world, true, ours);
    asked = 0;
    compare(&world, 10000);
    assert_int_equal(asked & 1u << MOVED, 0);
    struct kith_msg msg = {.kind = KITH_MSG_SUMS_REQ, .id = 79};
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = 12, .msg = &msg};
    msg.u.sums_req.table = table_id(&world);
    msg.u.sums_req.partition = MOVED;
    msg.u.sums_req.hurry = true;
    step(&world, &event);
    serve(&world);
    compare(&world, 1000);
    assert_int_not_equal(asked & 1u << MOVED, 0);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_reads_before),      cmocka_unit_test(test_not_for_long),
        cmocka_unit_test(test_more_is_not_the_same), cmocka_unit_test(test_never_the_same),
        cmocka_unit_test(test_all_that_are_up),      cmocka_unit_test(test_alone),
        cmocka_unit_test(test_clock_leaps),          cmocka_unit_test(test_later_start),
        cmocka_unit_test(test_note),                 cmocka_unit_test(test_meanwhile),
        cmocka_unit_test(test_left_and_comes),       cmocka_unit_test(test_left_long_ago),
        cmocka_unit_test(test_comes_late),           cmocka_unit_test(test_left_and_gone),
        cmocka_unit_test(test_shows_owners),         cmocka_unit_test(test_looks_at_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
