/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_epoch.c - the number under which a watch is live (epoch.h), and what ends it in the client's
 * core (watch.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "watching.h"

/* ---- What ends a number ---- */

/* An owner that answered a read leaves, two others promise: nobody may have told what it stores
 * from now on. One that answered none may leave. */
static void test_reader_leaves(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w); /* by 0 and 1 */
    world_set_mode(w, 2, DEAD);
    assert_int_equal(1, epoch(w, 1));
    w->nodes[2].mode = ALIVE;
    world_pass(w, 3000);
    assert_int_equal(1, epoch(w, 1)); /* and back */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(2, epoch(w, 1));
    assert_int_equal(1, my->follow[1].breaks);
    w->nodes[1].mode = ALIVE;
    world_pass(w, 3000);
    assert_int_equal(2, epoch(w, 1)); /* under this one nothing was read */
}

/* The set that slides: 0 and 1 promise and answer; 2 joins; 0 falls silent. There are two all the
 * time, and a change that 2 stored before and 0 stores after is told by none. */
static void test_sliding_set(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].silent = true;
    watch(w, 1);
    (void)read_a(w);
    assert_int_equal(1, epoch(w, 1));
    my->nodes[2].silent = false;
    world_pass(w, 2000);
    assert_int_equal(1, epoch(w, 1)); /* who joins breaks nothing */
    uint64_t end_ms = my->nodes[0].at_ms + LASTS;
    my->nodes[0].silent = true;
    world_pass(w, end_ms - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    w->now++; /* by the clock: though 1 and 2 promise, and no tick comes */
    assert_int_equal(0, epoch(w, 1));
    world_pass(w, 0);
    assert_int_equal(2, epoch(w, 1)); /* live at once, under another number */
}

/* The same where nothing was read: what is known without, as of what was just made, needs R that
 * have promised from then on. */
static void test_founders(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].silent = true;
    watch(w, 1);
    my->nodes[2].silent = false;
    world_pass(w, 2000);
    assert_int_equal(1, epoch(w, 1));
    uint64_t end_ms = my->nodes[0].at_ms + LASTS;
    my->nodes[0].silent = true;
    world_pass(w, end_ms - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    w->now++; /* by the clock */
    assert_int_equal(0, epoch(w, 1));
    world_pass(w, 0);
    assert_int_equal(2, epoch(w, 1)); /* 1 and 2 */
    my->nodes[0].silent = false;
    world_pass(w, 11000);
    world_set_mode(w, 0, DEAD); /* who joined late may go */
    assert_int_equal(2, epoch(w, 1));
    world_set_mode(w, 2, DEAD);
    assert_int_equal(0, epoch(w, 1));
}

/* All three are founders of the second number (a read of too few ends the first): then one may go,
 * unless it answered a read, and what comes back is a founder no more. */
static void test_three_founders(void **state)
{
    struct client_world *w = *state;
    watch(w, 1);
    (void)world_get(w, "a", KITH_LEVEL_ONE, 0);
    assert_int_equal(2, epoch(w, 1));
    world_set_mode(w, 1, DEAD);
    assert_int_equal(2, epoch(w, 1));
    w->nodes[1].mode = ALIVE;
    world_pass(w, 5000);
    assert_int_equal(2, epoch(w, 1));
    world_set_mode(w, 2, DEAD);
    assert_int_equal(3, epoch(w, 1)); /* of 0 and 1 */
    w->nodes[2].mode = ALIVE;
    world_pass(w, 5000);
    (void)world_get(w, "a", KITH_LEVEL_ONE, 0);
    (void)read_a(w);
    assert_int_equal(4, epoch(w, 1)); /* of all */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(5, epoch(w, 1));
}

/* Answered by one that promised nothing: the others never hear of what only it and a node that had
 * the change before will store. The watch breaks before the read's callback. */
static void test_read_by_stranger(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[1].says = KITH_ELIMIT;
    watch(w, 1);
    assert_int_equal(1, epoch(w, 1));
    uint64_t tag = read_a(w); /* by 0 and 1 */
    assert_int_equal(2, epoch(w, 1));
    assert_ptr_equal(&w->dones[my->follow[1].dones], world_done(w, tag));
    uint32_t pages = 0;
    (void)world_scan_all(w, 0, &pages);
    assert_int_equal(3, epoch(w, 1));
    /* another group, another matter */
    const struct kith_group other = {{9, 9}};
    assert_int_equal(KITH_OK, begin(w, 2, &other));
    (void)read_a(w);
    assert_int_equal(1, epoch(w, 2));
    world_set_mode(w, 1, DEAD);
    (void)read_a(w); /* by 0 and 2 */
    assert_int_equal(4, epoch(w, 1));
}

/* A promise that came while the read was under way is no older than the answer: unless it was asked
 * for first, then the node took it first. */
static void test_promise_within_a_read(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[1].silent = true;
    watch(w, 1);
    assert_int_equal(1, epoch(w, 1));
    uint64_t tag = read_begin(w); /* behind the question, before its answer */
    struct held held = hold(w);
    late_answer(w, 1); /* first, as they were asked */
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, epoch(w, 1));
    /* lost and back, with a read that began before: its answer may be older than the promise */
    my->nodes[1].silent = false;
    my->nodes[1].says = KITH_ENOTREADY;
    world_pass(w, 2200);
    assert_int_equal(2, epoch(w, 1));
    w->nodes[0].mode = FROZEN; /* so that the read waits for 1 */
    tag = read_begin(w);
    held = hold(w); /* and 1 takes long to answer it */
    w->nodes[0].mode = ALIVE;
    my->nodes[1].says = KITH_OK;
    world_pass(w, 1100);
    assert_int_equal(2, epoch(w, 1));
    assert_null(world_done(w, tag));
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(3, epoch(w, 1));
    (void)read_a(w); /* from now on it is one like the others */
    assert_int_equal(3, epoch(w, 1));
}

/* A read at the heels of the watch: its owners were asked before, so it counts, and who answered it
 * may not leave. Not where one of them was asked later. */
static void test_at_the_heels(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].silent = my->nodes[1].silent = my->nodes[2].silent = true;
    watch(w, 1);
    uint64_t tag = read_begin(w);
    struct held held = hold(w);
    late_answer(w, 0);
    late_answer(w, 1);
    assert_int_equal(1, epoch(w, 1));
    assert_true(my->follow[1].since_made);
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, epoch(w, 1));
    my->nodes[0].silent = my->nodes[1].silent = my->nodes[2].silent = false;
    world_pass(w, 2000);
    assert_int_equal(1, epoch(w, 1)); /* of all by now */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(2, epoch(w, 1));
    assert_false(my->follow[1].since_made); /* that was before it */
    unwatch(w, 1);

    my->nodes[0].silent = true; /* 1 comes back when the watch has begun already */
    watch(w, 2);
    (void)read_a(w);
    w->nodes[1].mode = ALIVE;
    world_pass(w, 3000);
    assert_int_equal(1, epoch(w, 2));
    assert_false(my->follow[2].since_made); /* that read began before 1 was asked */
}

/* What fewer than R say is no ground for anything, nor is what began before the number. */
static void test_degraded_read(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    w->nodes[1].get_err = w->nodes[2].get_err = KITH_ENOTREADY;
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_true(world_done(w, tag)->result->degraded);
    assert_int_equal(1, my->follow[1].breaks);
    assert_int_equal(2, epoch(w, 1));
    w->nodes[1].get_err = w->nodes[2].get_err = KITH_OK;
    (void)world_get(w, "a", KITH_LEVEL_ONE, 0);
    assert_int_equal(3, epoch(w, 1));
    unwatch(w, 1);
    my->nodes[1].says = KITH_ELIMIT;
    tag = read_begin(w);
    struct held held = hold(w);
    watch(w, 2);
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, epoch(w, 2));
    assert_int_equal(0, my->follow[2].breaks);
}

static void test_table_changes(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    world_pass(w, 500);
    uint32_t asks = my->asks;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].stale = true;
    }
    (void)read_a(w); /* learns of the newer table */
    assert_int_equal(1, my->follow[1].breaks);
    assert_int_equal(2, epoch(w, 1)); /* asked again at once, by the new table */
    assert_int_equal(asks + 3, my->asks);
    assert_int_equal(0, kith_table_id_compare(&w->newer->id, &my->nodes[0].req.table));
}

static void test_stale(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].says = KITH_ESTALE;
    my->nodes[1].silent = my->nodes[2].silent = true;
    watch(w, 1);
    assert_int_equal(0, kith_table_id_compare(&w->newer->id, &my->nodes[0].req.table));
    assert_int_equal(0, epoch(w, 1));
    assert_int_equal(2, my->nodes[0].asks); /* stale still, of a table no newer: it passes */
    my->nodes[0].says = my->nodes[1].says = my->nodes[2].says = KITH_OK;
    my->nodes[1].silent = my->nodes[2].silent = false;
    world_pass(w, 1100);
    assert_int_equal(1, epoch(w, 1));
}

/* By its own clock the client is in time; but that stood still for as long as a lease and more. */
static void test_slept(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w);
    my->nodes[2].begins = true;
    world_pass(w, 1100);
    assert_int_equal(1, epoch(w, 1)); /* it had answered nothing */
    my->nodes[1].begins = true;
    world_pass(w, 1100);
    assert_int_equal(2, epoch(w, 1));
    assert_int_equal(1, my->follow[1].breaks);
    (void)read_a(w);
    world_pass(w, 5000);
    assert_int_equal(2, epoch(w, 1));
}

static void test_ended(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w);
    uint32_t asks = my->nodes[1].asks;
    my->nodes[1].silent = true;
    tell(w, 1, &WORLD_GROUP, "", true);
    assert_int_equal(0, my->follow[1].changed); /* "ended" is no change of any row */
    assert_int_equal(2, epoch(w, 1));
    world_pass(w, 100);
    assert_int_equal(asks + 1, my->nodes[1].asks); /* asked again soon */
    tell(w, 0, &WORLD_GROUP, "", true);
    assert_int_equal(0, epoch(w, 1));
    my->nodes[1].silent = false;
    world_pass(w, 5000);
    assert_int_equal(3, epoch(w, 1));
}

/* ---- epoch.h ---- */

static void test_epoch(void **state)
{
    (void)state;
    struct kith_epoch epoch = {0};
    assert_int_equal(0, kith_epoch_at(&epoch, 0));
    kith_epoch_tell(&epoch, 100);
    assert_int_equal(1, kith_epoch_at(&epoch, 99));
    assert_int_equal(0, kith_epoch_at(&epoch, 100));
    kith_epoch_tell(&epoch, 200); /* goes on */
    kith_epoch_tell(&epoch, 150); /* for less */
    assert_int_equal(1, kith_epoch_at(&epoch, 149));
    assert_int_equal(0, kith_epoch_at(&epoch, 150));
    kith_epoch_tell(&epoch, 0);
    assert_int_equal(0, kith_epoch_at(&epoch, 1));
    kith_epoch_tell(&epoch, 0);
    kith_epoch_tell(&epoch, 300);
    assert_int_equal(2, kith_epoch_at(&epoch, 299));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_reader_leaves),
        WATCH_TEST(test_sliding_set),
        WATCH_TEST(test_founders),
        WATCH_TEST(test_three_founders),
        WATCH_TEST(test_read_by_stranger),
        WATCH_TEST(test_promise_within_a_read),
        WATCH_TEST(test_at_the_heels),
        WATCH_TEST(test_degraded_read),
        WATCH_TEST(test_table_changes),
        WATCH_TEST(test_stale),
        WATCH_TEST(test_slept),
        WATCH_TEST(test_ended),
        cmocka_unit_test(test_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
