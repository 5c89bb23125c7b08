/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_watch.c - watches in the client's core (watch.c): when they are live, what is told,
 * and how often the nodes are asked. What ends the number of a watch: test_epoch.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "watching.h"

/* ---- When it is live ---- */

static void test_majority(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].silent = my->nodes[1].silent = my->nodes[2].silent = true;
    watch(w, 1);
    for (uint32_t i = 0; i < WORLD_NODES; i++) { /* all owners are asked, with all they must know */
        assert_int_equal(1, my->nodes[i].asks);
        assert_int_equal(KITH_WATCH_LEASE_MS, my->nodes[i].req.lease_ms);
        assert_int_equal(1, my->nodes[i].req.own); /* the world's random[0] */
        assert_int_equal(0, kith_group_compare(&WORLD_GROUP, &my->nodes[i].req.group));
        assert_int_equal(0, kith_table_id_compare(&w->table->id, &my->nodes[i].req.table));
    }
    uint64_t asked_ms = w->now;
    world_pass(w, 300);
    late_answer(w, 2);
    assert_int_equal(0, epoch(w, 1)); /* one is none */
    assert_int_equal(0, my->follow[1].watched);
    late_answer(w, 1);
    assert_int_equal(1, epoch(w, 1));
    /* counted from the asking, not from the answer */
    assert_int_equal(asked_ms + LASTS, atomic_load(&my->follow[1].epoch.until_ms));
}

static void test_own_is_half_of_request_ids(void **state)
{
    struct client_world *w = *state;
    struct kith_request_id id = kith_client_core_request_id(w->core);
    watch(w, 1);
    uint64_t half = 0;
    for (uint32_t i = 0; i < 8; i++) {
        half = half << 8 | id.bytes[i];
    }
    assert_int_equal(half, of(w)->nodes[0].req.own);
}

static void test_renewal_keeps_the_number(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w);
    for (uint32_t i = 0; i < 200; i++) {
        world_pass(w, 50);
        assert_int_equal(1, epoch(w, 1));
    }
    assert_int_equal(0, my->follow[1].breaks);
    for (uint32_t i = 0; i < WORLD_NODES; i++) { /* in 10 s: each 750 to 1025 ms */
        assert_in_range(my->nodes[i].asks, 10, 14);
    }
}

/* The end comes by the clock, before any tick sees to it. */
static void test_lapse(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].says = KITH_ENOTREADY;
    watch(w, 1);
    world_pass(w, 5000);
    my->nodes[1].silent = true;
    uint64_t until_ms = my->nodes[1].at_ms + LASTS;
    world_pass(w, until_ms - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    assert_int_equal(0, my->follow[1].breaks);
    w->now++;
    assert_int_equal(0, epoch(w, 1));
    world_pass(w, 0);
    assert_int_equal(1, my->follow[1].breaks); /* and is told in the same millisecond */
    my->nodes[1].silent = false;
    world_pass(w, 20000);
    assert_int_equal(2, epoch(w, 1));
}

/* Over here and not at the node: what was promised goes for reads from now on, whatever it was that
 * the node answered. */
static void test_over_here_only(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    const struct kith_group other = {{9, 9}};
    for (uint32_t round = 0; round < 2; round++) {
        watch(w, 1);
        for (uint32_t i = 0; i < WORLD_NODES; i++) {
            my->nodes[i].silent = true;
        }
        world_pass(w, 3100);
        assert_int_equal(0, epoch(w, 1));
        uint64_t number = atomic_load(&my->follow[1].epoch.number);
        for (uint32_t i = 0; i < WORLD_NODES; i++) {
            my->nodes[i].silent = false;
            my->nodes[i].lease_ms = w->now + KITH_WATCH_LEASE_MS;
        }
        if (round == 0) { /* a request for something else */
            assert_int_equal(KITH_OK, begin(w, 2, &other));
            assert_int_equal(1, epoch(w, 2));
        } else { /* the renewal */
            late_answer(w, 0);
            late_answer(w, 1);
        }
        assert_int_equal(number + 1, epoch(w, 1));
        (void)read_a(w);
        world_pass(w, 5000);
        assert_int_equal(number + 1, epoch(w, 1));
        unwatch(w, 1);
        kith_epoch_tell(&my->follow[1].epoch, 0); /* the next is another watch */
    }
}

/* Asked in time, answered too late: the node may have taken it after its lease was over. */
static void test_answer_after_the_end(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].says = KITH_ENOTREADY;
    watch(w, 1);
    uint64_t first_ms = my->nodes[1].at_ms;
    my->nodes[1].silent = true;
    /* the last ask before the end is answered right after it */
    world_pass(w, first_ms + LASTS - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    assert_true(my->nodes[1].asks >= 2 && my->nodes[1].at_ms < w->now);
    w->now++; /* no tick comes in between */
    uint64_t asked_ms = my->nodes[1].at_ms;
    late_answer(w, 1);
    assert_int_equal(1, my->follow[1].breaks);
    assert_int_equal(2, epoch(w, 1));
    /* the same a millisecond before the end goes on */
    assert_true(asked_ms + LASTS > w->now && my->nodes[1].at_ms > asked_ms);
    world_pass(w, asked_ms + LASTS - 1 - w->now);
    assert_int_equal(2, epoch(w, 1));
    late_answer(w, 1);
    w->now++;
    assert_int_equal(2, epoch(w, 1));
}

static void test_connection_lost(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    world_set_mode(w, 2, DEAD);
    assert_int_equal(1, epoch(w, 1)); /* two are left, and nothing was read */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(0, epoch(w, 1)); /* at once */
    assert_int_equal(1, my->follow[1].breaks);
    uint32_t asks = my->nodes[1].asks;
    w->nodes[1].mode = ALIVE;
    world_pass(w, 5000);
    assert_true(my->nodes[1].asks > asks);
    assert_int_equal(2, epoch(w, 1));
}

static void test_before_the_table(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    kith_client_core_free(w->core); /* one that knows nobody yet */
    static const char *const servers[] = {"n0:1"};
    struct kith_client_core_options options = {
        .server_count = 1, .servers = servers, .mono_ms = w->now, .random = {5, 6, 7, 8}};
    assert_int_equal(KITH_OK, kith_client_core_new(&options, &w->core, NULL));
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_WATCH, .tag = 1, .group = &WORLD_GROUP};
    assert_int_equal(KITH_OK, world_step(w, &event));
    assert_int_equal(0, my->asks);
    world_pass(w, 100);
    assert_int_equal(1, epoch(w, 1));
}

/* ---- Changes ---- */

static void test_changes(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    const struct kith_group other = {{9, 9}};
    watch(w, 1);
    assert_int_equal(KITH_OK, begin(w, 2, &other));
    watch(w, 3); /* the same group twice */
    tell(w, 2, &WORLD_GROUP, "xy", false);
    assert_int_equal(1, my->follow[1].changed);
    assert_string_equal("x y ", my->follow[1].names);
    assert_string_equal("x y ", my->follow[3].names);
    assert_int_equal(0, my->follow[2].changed);
    tell(w, 0, &other, "", false); /* any */
    assert_int_equal(1, my->follow[2].changed);
    assert_int_equal(0, my->follow[2].name_count);
    assert_int_equal(1, my->follow[1].changed);
    unwatch(w, 1);
    uint32_t watched = my->follow[1].watched;
    tell(w, 1, &WORLD_GROUP, "z", false);
    assert_string_equal("z ", my->follow[3].names);
    world_pass(w, 3000);
    assert_int_equal(1, my->follow[1].changed);
    assert_int_equal(watched, my->follow[1].watched);
    assert_int_equal(1, epoch(w, 3));
    assert_int_equal(0, my->nodes[0].ended); /* the other one rests on it */
    unwatch(w, 3);
    end(w, 2, &other);
    uint32_t asks = my->asks;
    world_pass(w, 1100);
    assert_int_equal(asks + 3, my->asks); /* the nodes are told, once */
    assert_int_equal(2, my->nodes[0].ended);
    assert_false(my->nodes[0].req.has_group);
    world_pass(w, 3000);
    assert_int_equal(asks + 3, my->asks);
    end(w, 2, &other); /* nobody */
}

/* One that ended, and was begun again before the nodes knew: what they are told last is the watch. */
static void test_again(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    const struct kith_group other = {{9, 9}};
    watch(w, 1);
    assert_int_equal(KITH_OK, begin(w, 2, &other)); /* so that there is a lease to renew */
    unwatch(w, 1);
    assert_int_equal(0, my->nodes[0].ended);
    watch(w, 3);
    assert_int_equal(1, my->nodes[0].ended);
    assert_true(my->nodes[0].req.has_group);
    assert_int_equal(1, my->nodes[0].req.ended_count);
    world_pass(w, 5000);
    assert_int_equal(1, my->nodes[0].ended);
    assert_int_equal(1, epoch(w, 3));
    /* many that end are told before the renewal */
    for (uint64_t i = 0; i < 3000; i++) {
        struct kith_group group = {{(uint8_t)(i >> 8), (uint8_t)i, 7}};
        assert_int_equal(KITH_OK, begin(w, 100 + i, &group));
    }
    world_pass(w, 10);
    uint64_t from_ms = w->now;
    for (uint64_t i = 0; i < 3000; i++) {
        struct kith_group group = {{(uint8_t)(i >> 8), (uint8_t)i, 7}};
        end(w, 100 + i, &group);
    }
    world_pass(w, 10);
    assert_in_range(my->nodes[0].ended, 2001, 3001);
    assert_true(w->now - from_ms < 100);
    world_pass(w, 1100);
    assert_int_equal(3001, my->nodes[0].ended);
    assert_int_equal(1, epoch(w, 3));
}

/* Where memory is short for telling a change, the number ends: then nothing is believed. */
static void test_short_of_memory(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    enum { MANY = 100 }; /* effects of one step: more than there was room for so far */
    for (uint64_t i = 0; i < MANY; i++) {
        watch(w, 1000 + i);
    }
    world_pass(w, 10);
    assert_int_equal(0, my->breaks);
    kith_alloc_fail_at(1);
    struct kith_bytes name = text("x");
    struct kith_msg msg = {.kind = KITH_MSG_WATCH_EVENT};
    msg.u.watch_event.group = WORLD_GROUP;
    msg.u.watch_event.name_count = 1;
    msg.u.watch_event.names = &name;
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_MESSAGE, .msg = &msg, .conn = my->nodes[0].conn};
    (void)world_step(w, &event);
    kith_alloc_fail_at(0);
    world_pass(w, 0);
    assert_int_equal(MANY - 1, my->changed); /* one has found no room */
    assert_int_equal(1, my->breaks);
}

/* ---- Asking ---- */

static void test_refused(void **state)
{
    static const enum kith_err errors[] = {KITH_ELIMIT, KITH_EINVAL};
    struct client_world *w = *state;
    struct watching *my = of(w);
    for (uint32_t i = 0; i < 2; i++) {
        my->nodes[0].says = errors[i];
        watch(w, 1);
        assert_int_equal(i + 1, epoch(w, 1));
        world_pass(w, 60000);
        assert_in_range(my->nodes[0].gap_ms, 9000, 10100); /* seldom, in the end */
        my->nodes[0].says = KITH_OK;
        world_pass(w, 20000);
        assert_in_range(my->nodes[0].gap_ms, 700, 1100);
        unwatch(w, 1);
        kith_epoch_tell(&my->follow[1].epoch, 0); /* the next is another watch */
    }
    my->nodes[0].says = KITH_ENOTREADY; /* that passes: as often as one renews */
    watch(w, 1);
    world_pass(w, 30000);
    assert_in_range(my->nodes[0].gap_ms, 900, 1100);
}

static void test_unanswered(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].silent = true;
    watch(w, 1);
    world_pass(w, 999);
    assert_int_equal(1, my->nodes[0].asks); /* never two at once */
    world_pass(w, 1);
    assert_int_equal(2, my->nodes[0].asks);
    world_pass(w, 1000);
    assert_int_equal(2, my->nodes[0].asks); /* then less often */
    world_pass(w, 60000);
    assert_in_range(my->nodes[0].gap_ms, 10000, 11100);
    /* an answer that comes at last counts for what it is worth, and starts it all again */
    uint32_t asks = my->nodes[0].asks;
    my->nodes[0].silent = false;
    late_answer(w, 0);
    world_pass(w, 1100);
    assert_true(my->nodes[0].asks > asks);
    assert_true(my->nodes[0].gap_ms < 12000);
    /* one that is not for what was asked last is none */
    my->nodes[0].silent = true;
    world_pass(w, 1100);
    world_set_mode(w, 1, DEAD);
    world_pass(w, LASTS);
    assert_int_equal(0, epoch(w, 1));
    uint64_t id = my->nodes[0].id;
    my->nodes[0].id -= UINT64_C(1) << 18; /* of another time */
    late_answer(w, 0);
    assert_int_equal(0, epoch(w, 1));
    /* nor one from elsewhere */
    my->nodes[0].id = id;
    my->nodes[0].under_way = true;
    uint64_t conn = my->nodes[0].conn;
    my->nodes[0].conn = my->nodes[2].conn;
    late_answer(w, 0);
    assert_int_equal(0, epoch(w, 1));
    my->nodes[0].conn = conn;
    my->nodes[0].under_way = true;
    late_answer(w, 0);
    assert_int_equal(0, epoch(w, 1)); /* the node's lease was over, too: it is asked for all again */
    my->nodes[0].silent = false;
    world_pass(w, 2 * 25);
    assert_int_not_equal(0, epoch(w, 1));
}

/* As many as there may be: one message a second to each node, and no burst is without bound. */
static void test_many(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    uint32_t most = 0;
    uint32_t ticks = 0;
    my->from_ms = w->now;
    for (uint64_t i = 0; i < KITH_WATCHES_MAX; i++) {
        struct kith_group group = {{(uint8_t)(i >> 8), (uint8_t)i, 7}};
        assert_int_equal(KITH_OK, begin(w, 1 + i, &group));
    }
    assert_int_equal(KITH_ELIMIT, begin(w, 5000, &WORLD_GROUP));
    assert_int_equal(3 * KITH_WATCHES_MAX, my->asks);
    world_pass(w, 10000);
    for (uint32_t i = 5000; i < 10000; i++) {
        most = my->at[i] > most ? my->at[i] : most;
        ticks += my->at[i] > 0;
    }
    assert_in_range(most, 1, 3);
    assert_in_range(ticks, 5, 21); /* in 5 s, each after 750 to 1025 ms */
    for (uint64_t tag = 1; tag <= TAGS; tag++) {
        assert_int_equal(1, epoch(w, tag));
    }
    for (uint32_t i = 0; i < KITH_WATCHES_MAX; i++) { /* each change to its own watch */
        struct kith_group group = {{(uint8_t)(i >> 8), (uint8_t)i, 7}};
        tell(w, 1, &group, "x", false);
        assert_int_equal(i + 1, my->changed);
    }
    assert_int_equal(1, my->follow[TAGS].changed);
    /* a node comes back: all are asked, not in one step */
    my->from_ms = w->now + 1;
    memset(my->at, 0, sizeof(my->at));
    world_set_mode(w, 2, DEAD);
    w->nodes[2].mode = ALIVE;
    uint32_t asks = my->nodes[2].asks;
    world_pass(w, 200);
    assert_in_range(my->nodes[2].asks, asks + KITH_WATCHES_MAX, UINT32_MAX);
    for (uint32_t i = 0; i < 200; i++) {
        assert_in_range(my->at[i], 0, 256);
    }
    struct kith_group one = {{0, 76, 7}};
    end(w, 77, &one);
    assert_int_equal(KITH_OK, begin(w, 5000, &WORLD_GROUP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_majority),
        WATCH_TEST(test_own_is_half_of_request_ids),
        WATCH_TEST(test_renewal_keeps_the_number),
        WATCH_TEST(test_lapse),
        WATCH_TEST(test_answer_after_the_end),
        WATCH_TEST(test_connection_lost),
        WATCH_TEST(test_before_the_table),
        WATCH_TEST(test_changes),
        WATCH_TEST(test_again),
        WATCH_TEST(test_over_here_only),
        WATCH_TEST(test_short_of_memory),
        WATCH_TEST(test_refused),
        WATCH_TEST(test_unanswered),
        WATCH_TEST(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
