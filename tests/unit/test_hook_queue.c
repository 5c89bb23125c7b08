/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When a place's turn comes, and how many may wait. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "fs/hook/hook_queue.h"

#define QUIET 1000u
#define NAMES 4u
#define DIRS  2u

static struct kith_hook_queue queue;
static int dirs[8]; /* whose addresses are directories */

static int setup(void **state)
{
    (void)state;
    return kith_hook_queue_init(&queue, QUIET, NAMES, DIRS) == KITH_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct kith_hook_place place;
    (void)state;
    while (kith_hook_queue_take(&queue, UINT64_MAX, &place)) {
        kith_free(place.name);
    }
    assert_int_equal(queue.dirs, 0);
    kith_hook_queue_release(&queue);
    return 0;
}

static uint64_t key_of(const char *name)
{
    return (uint64_t)(unsigned char)name[0] + 7;
}

static enum kith_hook_added add_by(int *dir, const char *name, uint64_t now, uint64_t chance)
{
    return kith_hook_queue_add(&queue, key_of(name), dir, name, now, chance);
}

static enum kith_hook_added add(const char *name, uint64_t now)
{
    return add_by(&dirs[0], name, now, 0);
}

static void assert_next(uint64_t now, const char *name)
{
    struct kith_hook_place place;
    assert_true(kith_hook_queue_take(&queue, now, &place));
    assert_string_equal(place.name, name);
    kith_free(place.name);
}

static void assert_none(uint64_t now)
{
    struct kith_hook_place place;
    assert_false(kith_hook_queue_take(&queue, now, &place));
}

static void test_order(void **state)
{
    (void)state;
    assert_int_equal(kith_hook_queue_next(&queue), UINT64_MAX);
    assert_none(UINT64_MAX);
    assert_int_equal(add("a", 100), KITH_HOOK_ADDED);
    assert_int_equal(add("b", 50), KITH_HOOK_ADDED);
    assert_int_equal(kith_hook_queue_next(&queue), 50 + QUIET);
    assert_none(49 + QUIET);
    assert_next(50 + QUIET, "b");
    assert_none(99 + QUIET);
    assert_next(5000, "a");
    assert_none(UINT64_MAX);
}

/* Quiet again and again, but not for ever. */
static void test_quiet(void **state)
{
    (void)state;
    assert_int_equal(add("a", 0), KITH_HOOK_ADDED);
    for (uint64_t now = 500; now <= 3500; now += 500) {
        assert_int_equal(add("a", now), KITH_HOOK_WAITS);
        assert_int_equal(kith_hook_queue_next(&queue), now + QUIET);
    }
    assert_int_equal(add("a", 4500), KITH_HOOK_WAITS);
    assert_int_equal(kith_hook_queue_next(&queue), 5 * QUIET);
    assert_int_equal(add("a", 4999), KITH_HOOK_WAITS);
    assert_int_equal(kith_hook_queue_next(&queue), 5 * QUIET);
    assert_next(5 * QUIET, "a");
    assert_int_equal(add_by(&dirs[0], "a", 9000, 12345), KITH_HOOK_ADDED);
    assert_int_equal(kith_hook_queue_next(&queue), 9000 + QUIET + 345); /* by chance */
}

/* One hash for two places does not make them one. */
static void test_same_hash(void **state)
{
    (void)state;
    assert_int_equal(add("a", 0), KITH_HOOK_ADDED);
    assert_int_equal(add("ab", 1), KITH_HOOK_ADDED);
    assert_int_equal(add_by(&dirs[1], "a", 2, 0), KITH_HOOK_ADDED);
    assert_int_equal(add("a", 0), KITH_HOOK_WAITS);
    assert_int_equal(queue.count, 3);
}

static void test_full(void **state)
{
    (void)state;
    char name[2] = "a";
    for (; name[0] < 'a' + (int)NAMES; name[0]++) {
        assert_int_equal(add(name, 0), KITH_HOOK_ADDED);
    }
    assert_int_equal(add("z", 0), KITH_HOOK_FULL);
    assert_int_equal(add("a", 0), KITH_HOOK_WAITS);
    for (unsigned i = 0; i < DIRS; i++) { /* their room is another */
        assert_int_equal(add_by(&dirs[i], "", 1, 0), KITH_HOOK_ADDED);
        assert_int_equal(add_by(&dirs[i], "", 1, 0), KITH_HOOK_WAITS);
    }
    assert_int_equal(add_by(&dirs[7], "", 1, 0), KITH_HOOK_FULL);
    assert_next(UINT64_MAX, "a");
    assert_int_equal(add_by(&dirs[7], "", 1, 0), KITH_HOOK_FULL);
    assert_int_equal(add("z", 0), KITH_HOOK_ADDED);
}

/* Later each time, and not for ever. */
static void test_again(void **state)
{
    (void)state;
    struct kith_hook_place place;
    uint64_t now = 0;
    assert_int_equal(add("a", now), KITH_HOOK_ADDED);
    for (unsigned tries = 1; tries < KITH_HOOK_TRIES_MAX; tries++) {
        assert_true(kith_hook_queue_take(&queue, UINT64_MAX, &place));
        assert_int_equal(kith_hook_queue_again(&queue, key_of("a"), &place, now), KITH_HOOK_ADDED);
        kith_free(place.name);
        assert_int_equal(kith_hook_queue_next(&queue), now + (QUIET << tries));
        now += QUIET << tries;
    }
    assert_true(kith_hook_queue_take(&queue, now, &place));
    assert_int_equal(kith_hook_queue_again(&queue, key_of("a"), &place, now), KITH_HOOK_FULL);
    assert_int_equal(add("a", now), KITH_HOOK_ADDED); /* news: tried anew */
    assert_int_equal(kith_hook_queue_again(&queue, key_of("a"), &place, now), KITH_HOOK_WAITS);
    kith_free(place.name);
}

/* Each run for the place within the hour makes the next one wait twice as long. */
static void test_runs(void **state)
{
    (void)state;
    const uint64_t hour = UINT64_C(3600000000000);
    for (unsigned runs = 0; runs < 10; runs++) {
        assert_int_equal(add("a", 100), KITH_HOOK_ADDED);
        assert_int_equal(kith_hook_queue_next(&queue), 100 + (QUIET << (runs < 6 ? runs : 6)));
        assert_next(UINT64_MAX, "a");
        kith_hook_queue_ran(&queue, key_of("a"), 100);
    }
    assert_int_equal(add("b", 100), KITH_HOOK_ADDED); /* another one's do not count */
    assert_int_equal(kith_hook_queue_next(&queue), 100 + QUIET);
    assert_next(UINT64_MAX, "b");
    assert_int_equal(add("a", 100 + hour), KITH_HOOK_ADDED);
    assert_int_equal(kith_hook_queue_next(&queue), 100 + hour + QUIET);
    assert_next(UINT64_MAX, "a");
    for (unsigned i = 0; i < KITH_HOOK_RAN_MAX; i++) {
        kith_hook_queue_ran(&queue, key_of("b"), 100);
    }
    assert_int_equal(add("a", 100), KITH_HOOK_ADDED); /* forgotten for others */
    assert_int_equal(kith_hook_queue_next(&queue), 100 + QUIET);
}

static void test_memory(void **state)
{
    struct kith_hook_queue other;
    (void)state;
    for (uint64_t k = 1; k <= 2; k++) {
        kith_alloc_fail_at(k);
        assert_int_equal(kith_hook_queue_init(&other, QUIET, NAMES, DIRS), KITH_ENOMEM);
    }
    kith_alloc_fail_at(1);
    assert_int_equal(add("a", 0), KITH_HOOK_FULL);
    kith_alloc_fail_at(0);
    assert_int_equal(queue.count, 0);
    assert_int_equal(add("a", 0), KITH_HOOK_ADDED);
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_order), QUEUE_TEST(test_quiet), QUEUE_TEST(test_same_hash),
        QUEUE_TEST(test_full),  QUEUE_TEST(test_again), QUEUE_TEST(test_runs),
        QUEUE_TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
