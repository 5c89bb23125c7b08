/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_conn_map.c - the map against a plain table, where keys collide, go and come again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "lib/random.h"
#include "shell/conn_map.h"

#define KEYS  200u
#define STEPS 200000u

static void put(struct kith_conn_map *map, uint64_t key, uint64_t value)
{
    assert_int_equal(kith_conn_map_put(map, key, value), KITH_OK);
}

/* The value under the key, which is there. */
static uint64_t value_of(const struct kith_conn_map *map, uint64_t key)
{
    uint64_t value = 0;
    assert_true(kith_conn_map_get(map, key, &value));
    return value;
}

static void test_empty(void **state)
{
    (void)state;
    struct kith_conn_map map = {0, 0, NULL};
    uint64_t value = 7;
    assert_false(kith_conn_map_get(&map, 1, &value));
    assert_int_equal(value, 7); /* untouched */
    kith_conn_map_remove(&map, 1);
    put(&map, 1, 2);
    assert_false(kith_conn_map_get(&map, 2, &value));
    kith_conn_map_remove(&map, 2);
    assert_int_equal(value_of(&map, 1), 2);
    kith_conn_map_release(&map);
    assert_int_equal(map.count, 0);
    assert_false(kith_conn_map_get(&map, 1, &value));
    kith_conn_map_release(&map); /* again: nothing */
}

static void test_replaced(void **state)
{
    (void)state;
    struct kith_conn_map map = {0, 0, NULL};
    put(&map, UINT64_MAX, 1);
    put(&map, UINT64_MAX, 0); /* a value like any other */
    assert_int_equal(map.count, 1);
    assert_int_equal(value_of(&map, UINT64_MAX), 0);
    kith_conn_map_remove(&map, UINT64_MAX);
    assert_int_equal(map.count, 0);
    kith_conn_map_release(&map);
}

/* At most half full, and all are found again after each growth. */
static void test_growth(void **state)
{
    (void)state;
    struct kith_conn_map map = {0, 0, NULL};
    for (uint64_t key = 1; key <= 5000; key++) {
        put(&map, key, ~key);
        assert_int_equal(map.count, key);
        assert_true(2 * map.count <= map.capacity);
        assert_int_equal(map.capacity & (map.capacity - 1), 0);
    }
    for (uint64_t key = 1; key <= 5000; key++) {
        assert_int_equal(value_of(&map, key), ~key);
    }
    kith_conn_map_release(&map);
}

/* Short memory leaves the map as it was. */
static void test_no_memory(void **state)
{
    (void)state;
    struct kith_conn_map map = {0, 0, NULL};
    kith_alloc_fail_at(1);
    assert_int_equal(kith_conn_map_put(&map, 1, 1), KITH_ENOMEM);
    kith_alloc_fail_at(0);
    uint64_t key = 0;
    do {
        key++;
        put(&map, key, key);
    } while (2 * (map.count + 1) <= map.capacity);
    uint32_t capacity = map.capacity;
    kith_alloc_fail_at(1);
    assert_int_equal(kith_conn_map_put(&map, key + 1, 1), KITH_ENOMEM);
    kith_alloc_fail_at(0);
    uint64_t value = 0;
    assert_int_equal(map.count, key);
    assert_int_equal(map.capacity, capacity);
    assert_false(kith_conn_map_get(&map, key + 1, &value));
    for (uint64_t i = 1; i <= key; i++) {
        assert_int_equal(value_of(&map, i), i);
    }
    kith_conn_map_release(&map);
}

/* Random puts and removals of few keys, so that many share a place and gaps are closed across the
 * end of the table: after each step the map is the table. */
static void test_model(void **state)
{
    (void)state;
    struct test_random random = {1};
    for (uint32_t run = 0; run < 8; run++) {
        struct kith_conn_map map = {0, 0, NULL};
        uint64_t keys[KEYS], values[KEYS] = {0};
        uint32_t count = 0, many = 20 + run * 25;
        for (uint32_t i = 0; i < KEYS; i++) {
            keys[i] = run % 2 == 0 ? i + 1 : test_random_next(&random) | 1;
        }
        for (uint32_t step = 0; step < STEPS / 8; step++) {
            uint32_t at = test_random_below(&random, many);
            if (test_random_below(&random, 2) == 0) {
                count += values[at] == 0;
                values[at] = step + 1;
                put(&map, keys[at], values[at]);
            } else {
                count -= values[at] != 0;
                values[at] = 0;
                kith_conn_map_remove(&map, keys[at]);
            }
            assert_int_equal(map.count, count);
            for (uint32_t i = 0; i < many; i++) {
                uint64_t value = 0;
                bool there = kith_conn_map_get(&map, keys[i], &value);
                if (there != (values[i] != 0) || value != values[i]) {
                    fail_msg("run %u, step %u: key %u", run, step, i);
                }
            }
        }
        kith_conn_map_release(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),     cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_growth),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
