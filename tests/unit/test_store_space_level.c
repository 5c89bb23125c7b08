/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When a disk counts as filling up, nearly full, full; and when no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store_int.h"

static const uint32_t percent[3] = {85, 92, 95};

static enum kith_space level(enum kith_space before, uint64_t used)
{
    return store_space_level(before, 1000000, 1000000 - used, percent);
}

static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(level(KITH_SPACE_WIDE, 0), KITH_SPACE_WIDE);
    assert_int_equal(level(KITH_SPACE_WIDE, 848000), KITH_SPACE_WIDE);
    assert_int_equal(level(KITH_SPACE_WIDE, 852000), KITH_SPACE_LOW);
    assert_int_equal(level(KITH_SPACE_WIDE, 918000), KITH_SPACE_LOW);
    assert_int_equal(level(KITH_SPACE_WIDE, 922000), KITH_SPACE_SCARCE);
    assert_int_equal(level(KITH_SPACE_LOW, 952000), KITH_SPACE_FULL);
    assert_int_equal(level(KITH_SPACE_WIDE, 1000000), KITH_SPACE_FULL);
}

/* A percent below where it began. */
static void test_back(void **state)
{
    (void)state;
    assert_int_equal(level(KITH_SPACE_FULL, 948000), KITH_SPACE_FULL);
    assert_int_equal(level(KITH_SPACE_FULL, 938000), KITH_SPACE_SCARCE);
    assert_int_equal(level(KITH_SPACE_SCARCE, 915000), KITH_SPACE_SCARCE);
    assert_int_equal(level(KITH_SPACE_SCARCE, 900000), KITH_SPACE_LOW);
    assert_int_equal(level(KITH_SPACE_FULL, 845000), KITH_SPACE_LOW);
    assert_int_equal(level(KITH_SPACE_LOW, 830000), KITH_SPACE_WIDE);
}

/* Sizes that are not known, or do not fit together; and very large ones. */
static void test_odd(void **state)
{
    (void)state;
    assert_int_equal(store_space_level(KITH_SPACE_WIDE, 0, 0, percent), KITH_SPACE_WIDE);
    assert_int_equal(store_space_level(KITH_SPACE_FULL, 10, 20, percent), KITH_SPACE_WIDE);
    uint64_t large = UINT64_C(1) << 62;
    assert_int_equal(store_space_level(KITH_SPACE_WIDE, large, large / 100, percent),
                     KITH_SPACE_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_back),
        cmocka_unit_test(test_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
