/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a hook was told of is known again, the last ones for sure, in memory that does not grow. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "fs/hook/hook_known.h"

#define MOST 8u

/* A key like a hash's. */
static uint64_t key(uint64_t number)
{
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void test_few(void **state)
{
    (void)state;
    struct kith_hook_known known;
    assert_int_equal(kith_hook_known_init(&known, MOST), KITH_OK);
    assert_false(kith_hook_known_has(&known, 0)); /* 0 is a hash, too */
    kith_hook_known_add(&known, 0);
    assert_true(kith_hook_known_has(&known, 0));
    for (uint64_t i = 0; i < MOST - 1; i++) {
        assert_false(kith_hook_known_has(&known, key(i)));
        kith_hook_known_add(&known, key(i));
        kith_hook_known_add(&known, key(i)); /* counts once */
    }
    for (uint64_t i = 0; i < MOST - 1; i++) {
        assert_true(kith_hook_known_has(&known, key(i)));
    }
    kith_hook_known_release(&known);
}

/* All keys fall on one slot at first. */
static void test_collisions(void **state)
{
    (void)state;
    struct kith_hook_known known;
    assert_int_equal(kith_hook_known_init(&known, MOST), KITH_OK);
    for (uint64_t i = 1; i <= MOST; i++) {
        kith_hook_known_add(&known, i << 16 | i << 48);
    }
    for (uint64_t i = 1; i <= MOST; i++) {
        assert_true(kith_hook_known_has(&known, i << 16 | i << 48));
        assert_false(kith_hook_known_has(&known, i << 17 | i << 49 | 1));
    }
    kith_hook_known_release(&known);
}

static void test_many(void **state)
{
    (void)state;
    struct kith_hook_known known;
    assert_int_equal(kith_hook_known_init(&known, MOST), KITH_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        kith_hook_known_add(&known, key(i));
        assert_true(known.count <= MOST);
        for (uint64_t k = i >= MOST ? i - MOST + 1 : 0; k <= i; k++) {
            assert_true(kith_hook_known_has(&known, key(k))); /* the last MOST */
        }
        assert_true(i < 4 * MOST || !kith_hook_known_has(&known, key(i - 4 * MOST)));
    }
    kith_hook_known_release(&known);
}

/* What is asked for again and again stays, whatever comes. */
static void test_used(void **state)
{
    (void)state;
    struct kith_hook_known known;
    assert_int_equal(kith_hook_known_init(&known, MOST), KITH_OK);
    kith_hook_known_add(&known, key(1000000));
    for (uint64_t i = 0; i < 1000; i++) {
        kith_hook_known_add(&known, key(i));
        assert_true(kith_hook_known_has(&known, key(1000000)));
    }
    kith_hook_known_release(&known);
}

static void test_memory(void **state)
{
    (void)state;
    struct kith_hook_known known;
    for (uint64_t k = 1; k <= 2; k++) {
        kith_alloc_fail_at(k);
        assert_int_equal(kith_hook_known_init(&known, MOST), KITH_ENOMEM);
        kith_alloc_fail_at(0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few),  cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_many), cmocka_unit_test(test_used),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
