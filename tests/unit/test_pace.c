/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The bound on what background work moves, over times and rates of all sizes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "core/internal.h"

/* Moves pieces of `size` for so long, as soon as it may; the bytes. */
static uint64_t moved(struct kith_node *node, uint64_t size, uint64_t for_ms)
{
    uint64_t bytes = 0, end = node->now_ms + for_ms;
    while (node->now_ms < end) {
        uint64_t wait_ms = pace_wait_ms(&node->pace, node->now_ms);
        if (wait_ms > 0) {
            node->now_ms += wait_ms;
            continue;
        }
        pace_took(&node->pace, node->now_ms, size);
        bytes += size;
    }
    return bytes;
}

static void test_rates(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 7, 999, 1000, 12345, 1 << 20, UINT64_C(1) << 40};
    static const uint64_t sizes[] = {1, 100, 4096, 1 << 20};
    static struct kith_node node;
    for (uint32_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (uint32_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            memset(&node, 0, sizeof node);
            node.now_ms = 1000000;
            pace_set(&node.pace, node.now_ms, rates[r]);
            uint64_t rate = rates[r] > 100 * (1 << 20) ? 0 : rates[r];
            if (rate / sizes[s] > 100000) {
                continue; /* too many pieces for a test */
            }
            uint64_t seconds = sizes[s] / rates[r] * 4 + 100;
            uint64_t bytes = moved(&node, sizes[s], rate == 0 ? 0 : seconds * 1000);
            if (rate > 0) { /* a piece too many at the end, a second's worth at the beginning */
                assert_in_range(bytes, rate * seconds * 98 / 100 - rate,
                                rate * seconds + sizes[s] + rate);
            }
        }
    }
}

static void test_no_bound(void **state)
{
    (void)state;
    static struct kith_node node;
    pace_set(&node.pace, node.now_ms, 0);
    pace_took(&node.pace, node.now_ms, UINT64_C(1) << 50);
    assert_int_equal(pace_wait_ms(&node.pace, node.now_ms), 0);
}

/* What was not used is not saved for long; another rate begins anew, whatever was owed. */
static void test_no_saving(void **state)
{
    (void)state;
    static struct kith_node node;
    memset(&node, 0, sizeof node);
    pace_set(&node.pace, node.now_ms, 1000);
    node.now_ms = UINT64_C(1) << 41;
    assert_int_equal(pace_wait_ms(&node.pace, node.now_ms), 0);
    pace_took(&node.pace, node.now_ms, 3000);
    assert_in_range(pace_wait_ms(&node.pace, node.now_ms), 1990, 2010);
    pace_set(&node.pace, node.now_ms, 50);
    assert_int_equal(pace_wait_ms(&node.pace, node.now_ms), 0);
    pace_took(&node.pace, node.now_ms, 50);
    assert_in_range(pace_wait_ms(&node.pace, node.now_ms), 990, 1010);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_no_bound),
        cmocka_unit_test(test_no_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
