/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/histogram.h"

static void test_bounds(void **state)
{
    (void)state;
    struct kith_histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    for (uint32_t i = 0; i < KITH_HISTOGRAM_BOUNDS; i++) {
        assert_true(i == 0 || kith_histogram_bounds_ns[i] > kith_histogram_bounds_ns[i - 1]);
        kith_histogram_add(&histogram, kith_histogram_bounds_ns[i]); /* inclusive */
        assert_int_equal(histogram.buckets[i], 1);
        kith_histogram_add(&histogram, kith_histogram_bounds_ns[i] + 1);
        assert_int_equal(histogram.buckets[i + 1], 1);
        histogram.buckets[i + 1] = 0;
    }
    assert_int_equal(kith_histogram_bounds_ns[0], 100000);
    assert_int_equal(kith_histogram_bounds_ns[KITH_HISTOGRAM_BOUNDS - 1], UINT64_C(10000000000));
}

static void test_quantile(void **state)
{
    (void)state;
    struct kith_histogram histogram, before, since;
    memset(&histogram, 0, sizeof histogram);
    memset(&since, 0, sizeof since);
    assert_int_equal(kith_histogram_quantile(&histogram, 0.5), 0);
    for (int i = 0; i < 90; i++) {
        kith_histogram_add(&histogram, 300000); /* above 250 us, up to 500 */
    }
    before = histogram;
    for (int i = 0; i < 10; i++) {
        kith_histogram_add(&histogram, 30000000); /* above 25 ms, up to 50 */
    }
    assert_int_equal(kith_histogram_count(&histogram), 100);
    assert_int_equal(histogram.sum_ns, 90 * UINT64_C(300000) + 10 * UINT64_C(30000000));
    uint64_t half = kith_histogram_quantile(&histogram, 0.5);
    assert_in_range(half, 250001, 500000);
    assert_in_range(kith_histogram_quantile(&histogram, 0.99), 25000001, 50000000);
    assert_true(kith_histogram_quantile(&histogram, 0.1) < half);
    assert_int_equal(kith_histogram_quantile(&histogram, 0.9), 500000);
    kith_histogram_since(&since, &histogram, &before);
    assert_int_equal(kith_histogram_count(&since), 10);
    assert_int_equal(since.sum_ns, 10 * UINT64_C(30000000));
    assert_in_range(kith_histogram_quantile(&since, 0.5), 25000001, 50000000);
}

/* What takes longer than all bounds is not told as less than it was known to take. */
static void test_beyond(void **state)
{
    (void)state;
    struct kith_histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    kith_histogram_add(&histogram, UINT64_C(3600000000000));
    assert_int_equal(kith_histogram_quantile(&histogram, 0.5), UINT64_C(10000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_quantile),
        cmocka_unit_test(test_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
