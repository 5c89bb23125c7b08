/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Floors: what they cover, how they are noted and come into force, and what a row makes of a late
 * copy of what was deleted under one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/rows/rowop.h"

#define GRACE UINT64_C(1000)

static uint8_t secret_bytes[192];
static const struct kith_bytes secret = {secret_bytes, sizeof secret_bytes};
static const struct kith_bytes nothing = {NULL, 0};
static const struct kith_key key = {.name = {(const uint8_t *)"row", 3}};
static const struct kith_request_id nobody;

static struct kith_dot dot_of(uint64_t run, uint64_t counter)
{
    struct kith_dot dot = {{run, counter}, counter};
    return dot;
}

static void it_covers_up_to_its_counters(void **state)
{
    (void)state;
    static const struct kith_floor_entry entries[] = {{3, 10}, {5, 1}, {UINT64_MAX, 7}};
    const struct kith_floor floor = {3, entries};
    static const struct {
        uint64_t run, counter;
        bool covered;
    } cases[] = {{3, 10, true},         {3, 11, false},        {5, 1, true},
                 {5, 2, false},         {4, 1, false},         {0, 1, false},
                 {UINT64_MAX, 7, true}, {UINT64_MAX, 8, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kith_dot dot = dot_of(cases[i].run, cases[i].counter);
        const struct kith_clock_entry entry = {dot.actor, dot.counter};
        const struct kith_clock clock = {1, &entry};
        assert_int_equal(kith_floor_covers(&floor, &dot), cases[i].covered);
        assert_int_equal(kith_floor_covers_clock(&floor, &clock), cases[i].covered);
    }
}

static void joined_has_the_larger_of_each(void **state)
{
    (void)state;
    static const struct kith_floor_entry a[] = {{1, 5}, {3, 9}, {8, 2}};
    static const struct kith_floor_entry b[] = {{2, 1}, {3, 7}, {8, 4}, {9, 9}};
    static const struct kith_floor_entry both[] = {{1, 5}, {2, 1}, {3, 9}, {8, 4}, {9, 9}};
    const struct kith_floor of_a = {3, a}, of_b = {4, b};
    struct kith_floor joined, again;
    struct kith_arena arena = {0};
    assert_int_equal(kith_floor_join(&arena, &of_a, &of_b, &joined), KITH_OK);
    assert_int_equal(kith_floor_join(&arena, &of_b, &of_a, &again), KITH_OK);
    assert_int_equal(joined.count, 5);
    assert_memory_equal(joined.entries, both, sizeof both);
    assert_int_equal(again.count, 5);
    assert_memory_equal(again.entries, both, sizeof both);
    kith_arena_release(&arena);
}

/* One that is full takes no other runs; those that it has go on. */
static void a_full_one_keeps_its_runs(void **state)
{
    (void)state;
    static struct kith_floor_entry many[KITH_FLOOR_RUNS_MAX];
    static const struct kith_floor_entry few[] = {{1, 9}, {2, 9}, {3, 9}};
    for (uint32_t i = 0; i < KITH_FLOOR_RUNS_MAX; i++) {
        many[i].run = 2 + 2u * (uint64_t)i;
        many[i].counter = 5;
    }
    const struct kith_floor a = {KITH_FLOOR_RUNS_MAX, many}, b = {3, few};
    struct kith_floor joined;
    struct kith_arena arena = {0};
    assert_int_equal(kith_floor_join(&arena, &a, &b, &joined), KITH_OK);
    assert_int_equal(joined.count, KITH_FLOOR_RUNS_MAX);
    struct kith_dot grown = dot_of(2, 9), left_out = dot_of(3, 1);
    assert_true(kith_floor_covers(&joined, &grown));
    assert_false(kith_floor_covers(&joined, &left_out));
    kith_arena_release(&arena);
}

static void a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    static const struct kith_floor_entry now[] = {{4, 44}, {5, 1}}, next[] = {{4, 50}};
    struct kith_floor_record record = {9, {2, now}, 12, 777, {1, next}}, back;
    struct kith_arena arena = {0};
    struct kith_bytes bytes;
    assert_int_equal(kith_floor_encode(&arena, &record, &bytes), KITH_OK);
    assert_int_equal(kith_floor_decode(&arena, bytes, &back), KITH_OK);
    assert_int_equal(back.stamp, 9);
    assert_int_equal(back.next_stamp, 12);
    assert_int_equal(back.next_since_ms, 777);
    assert_int_equal(back.floor.count, 2);
    assert_memory_equal(back.floor.entries, now, sizeof now);
    assert_int_equal(back.next.count, 1);
    assert_memory_equal(back.next.entries, next, sizeof next);
    for (size_t i = 0; i < bytes.size; i++) { /* no damage is taken for a floor */
        uint8_t *copy = kith_arena_copy(&arena, bytes.data, bytes.size);
        copy[i] ^= 4;
        assert_int_equal(kith_floor_decode(&arena, kith_bytes_make(copy, bytes.size), &back),
                         KITH_ECORRUPT);
        assert_int_equal(kith_floor_decode(&arena, kith_bytes_make(bytes.data, i), &back),
                         i == 0 ? KITH_OK : KITH_ECORRUPT);
    }
    kith_arena_release(&arena);
}

static enum kith_floor_verdict promote(struct kith_arena *arena, struct kith_floor_record *record,
                                       uint64_t stamp, uint64_t now_ms, bool *ret_changed)
{
    enum kith_floor_verdict verdict;
    assert_int_equal(
        kith_floor_promote(arena, record, stamp, now_ms, GRACE, &verdict, ret_changed), KITH_OK);
    return verdict;
}

static void it_comes_into_force_a_grace_later(void **state)
{
    (void)state;
    static const struct kith_floor_entry first[] = {{4, 10}, {6, 3}}, second[] = {{4, 8}, {5, 2}};
    const struct kith_floor a = {2, first}, b = {2, second};
    struct kith_floor_record record = {.stamp = 0};
    struct kith_arena arena = {0};
    bool changed = false;
    assert_int_equal(promote(&arena, &record, 7, 5000, &changed), KITH_FLOOR_LACKS);
    assert_int_equal(promote(&arena, &record, 0, 5000, &changed), KITH_FLOOR_HAS); /* none */
    kith_floor_set(&record, 7, 5000, &a);
    assert_int_equal(promote(&arena, &record, 7, 5999, &changed), KITH_FLOOR_EARLY);
    assert_int_equal(promote(&arena, &record, 7, 100, &changed), KITH_FLOOR_EARLY);
    assert_int_equal(promote(&arena, &record, 8, 9000, &changed), KITH_FLOOR_LACKS);
    assert_false(changed);
    assert_int_equal(promote(&arena, &record, 7, 6000, &changed), KITH_FLOOR_HAS);
    assert_true(changed);
    assert_int_equal(promote(&arena, &record, 0, 6000, &changed), KITH_FLOOR_LACKS); /* there is one */
    assert_int_equal(promote(&arena, &record, 7, 6000, &changed), KITH_FLOOR_HAS);
    assert_false(changed);
    kith_floor_set(&record, 9, 7000, &b);
    assert_int_equal(promote(&arena, &record, 7, 7000, &changed), KITH_FLOOR_HAS);
    assert_int_equal(promote(&arena, &record, 9, 8000, &changed), KITH_FLOOR_HAS);
    struct kith_dot kept = dot_of(4, 10), new_one = dot_of(5, 2);
    assert_true(kith_floor_covers(&record.floor, &kept)); /* a floor never sinks */
    assert_true(kith_floor_covers(&record.floor, &new_one));
    assert_int_equal(promote(&arena, &record, 7, 9000, &changed), KITH_FLOOR_LACKS);
    kith_arena_release(&arena);
}

static void own_runs_are_told_from_others(void **state)
{
    (void)state;
    static const struct kith_floor_entry asked[] = {{2, 5}, {3, 6}, {4, 7}};
    struct kith_floor_entry found[3];
    struct kith_buf own;
    kith_buf_init(&own);
    kith_buf_put_u64(&own, 4);
    kith_buf_put_u64(&own, 9);
    kith_buf_put_u64(&own, 2);
    assert_int_equal(kith_floor_own(kith_buf_bytes(&own), 2, 88, 3, asked, found), 2);
    assert_int_equal(found[0].run, 2);
    assert_int_equal(found[0].counter, 88);
    assert_int_equal(found[1].run, 4);
    assert_int_equal(found[1].counter, UINT64_MAX);
    kith_buf_release(&own);
}

/* ---- Rows ---- */

static struct kith_rowop_env env_of(uint64_t run, uint64_t counter, const struct kith_floor *floor)
{
    struct kith_rowop_env env = {run, counter, counter, 1000000, secret, false, floor, false};
    return env;
}

static struct kith_rowop_result put(struct kith_arena *arena, const struct kith_rowop_env *env,
                                    struct kith_bytes old, struct kith_bytes context,
                                    const char *value)
{
    struct kith_put_update update = {.context = context,
                                     .has_sibling = value != NULL,
                                     .value = kith_bytes_make(value, value ? strlen(value) : 0)};
    struct kith_rowop_result result;
    assert_int_equal(kith_rowop_put(arena, env, &key, old, &update, kith_bytes_make("a@b", 3), 1,
                                    &nobody, &result),
                     KITH_OK);
    return result;
}

static struct kith_rowop_result merge(struct kith_arena *arena, const struct kith_rowop_env *env,
                                      struct kith_bytes old, struct kith_bytes incoming)
{
    struct kith_replica_row row = {.state = incoming};
    struct kith_rowop_result result;
    assert_int_equal(kith_rowop_merge(arena, env, &key, old, &row, &nobody, &result), KITH_OK);
    return result;
}

/* The floor that a row was reaped under: runs 7 and 8, up to 100. */
static const struct kith_floor_entry reaped[] = {{7, 100}, {8, 100}};
static const struct kith_floor floor_now = {2, reaped};

static void a_late_copy_is_deleted_again(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_rowop_env writer = env_of(7, 50, NULL), owner = env_of(9, 5, &floor_now);
    struct kith_rowop_result late = put(&arena, &writer, nothing, nothing, "dead");
    owner.counter = 0;
    struct kith_rowop_result result = merge(&arena, &owner, nothing, late.state);
    assert_true(result.wants_counter && !result.changed);
    owner.counter = owner.counter_last = 6;
    result = merge(&arena, &owner, nothing, late.state);
    assert_true(result.changed);
    assert_int_equal(result.new_row.sibling_count, 0);
    assert_true(kith_clock_covers(&result.new_row.clock, &late.dot));
    assert_true(kith_row_is_gone(&result.new_row));
    /* who has the late copy, and no floor, learns of it as of any delete */
    struct kith_rowop_env other = env_of(10, 0, NULL);
    other.counter_last = 4;
    struct kith_rowop_result told = merge(&arena, &other, late.record, result.state);
    assert_true(kith_checksum_equal(&told.new_hash, &result.new_hash));
    /* what the row covers is no late copy: it is judged by its clock, as ever */
    struct kith_rowop_result kept = merge(&arena, &owner, late.record, late.state);
    assert_false(kept.changed);
    assert_int_equal(kept.new_row.sibling_count, 1);
    kith_arena_release(&arena);
}

static void what_is_above_the_floor_stays(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_rowop_env old = env_of(7, 50, NULL), fresh = env_of(7, 101, NULL),
                          other = env_of(6, 1, NULL), owner = env_of(9, 5, &floor_now);
    struct kith_rowop_result dead = put(&arena, &old, nothing, nothing, "dead");
    struct kith_rowop_result both = put(&arena, &fresh, dead.record, nothing, "live");
    both = put(&arena, &other, both.record, nothing, "also");
    assert_int_equal(both.new_row.sibling_count, 3);
    struct kith_rowop_result result = merge(&arena, &owner, nothing, both.state);
    assert_int_equal(result.new_row.sibling_count, 2);
    assert_null(kith_row_find(&result.new_row, &dead.dot));
    kith_arena_release(&arena);
}

/* A client that wakes after three days writes on from what it knew, and means to keep it. */
static void a_late_context_brings_nothing_back(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_rowop_env writer = env_of(7, 50, NULL), owner = env_of(9, 5, &floor_now);
    struct kith_rowop_result late = put(&arena, &writer, nothing, nothing, "dead");
    struct kith_rowop_result result = put(&arena, &owner, nothing, late.state, "new");
    assert_int_equal(result.new_row.sibling_count, 1);
    assert_non_null(kith_row_find(&result.new_row, &result.dot));
    assert_true(kith_clock_covers(&result.new_row.clock, &late.dot));
    owner.floor = NULL; /* without a floor both are there */
    result = put(&arena, &owner, nothing, late.state, "new");
    assert_int_equal(result.new_row.sibling_count, 2);
    kith_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_covers_up_to_its_counters),
        cmocka_unit_test(joined_has_the_larger_of_each),
        cmocka_unit_test(a_full_one_keeps_its_runs),
        cmocka_unit_test(a_record_comes_back_as_it_was),
        cmocka_unit_test(it_comes_into_force_a_grace_later),
        cmocka_unit_test(own_runs_are_told_from_others),
        cmocka_unit_test(a_late_copy_is_deleted_again),
        cmocka_unit_test(what_is_above_the_floor_stays),
        cmocka_unit_test(a_late_context_brings_nothing_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
