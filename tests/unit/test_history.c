/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "metrics/history.h"

static struct kith_history history;
static struct kith_served_figures figures;

static int setup(void **state)
{
    (void)state;
    memset(&history, 0, sizeof history);
    memset(&figures, 0, sizeof figures);
    return 0;
}

static void answer(enum kith_op op, enum kith_result result, uint64_t ns, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        figures.counts[op][result]++;
        kith_histogram_add(&figures.durations[op], ns);
    }
}

/* The first call only begins: what came before is of no known time. */
static void test_samples(void **state)
{
    (void)state;
    answer(KITH_OP_PUT, KITH_RESULT_OK, 1000000, 50);
    kith_history_add(&history, 5000, &figures);
    assert_int_equal(history.count, 0);
    kith_history_add(&history, 5000, &figures); /* the same once more */
    assert_int_equal(history.count, 0);
    answer(KITH_OP_PUT, KITH_RESULT_OK, 400000, 20);
    answer(KITH_OP_PUT, KITH_RESULT_UNKNOWN, 9000000000, 1);
    answer(KITH_OP_GET, KITH_RESULT_OK, 80000, 7);
    answer(KITH_OP_GET, KITH_RESULT_NOT_READY, 80000, 1);
    answer(KITH_OP_GET, KITH_RESULT_STALE, 80000, 1);
    answer(KITH_OP_SCAN, KITH_RESULT_OK, 80000, 3);
    answer(KITH_OP_REPLICATE, KITH_RESULT_ERROR, 80000, 3); /* of nodes: not shown */
    figures.bytes_in += 500;
    kith_history_add(&history, 15000, &figures);
    assert_int_equal(history.count, 1);
    const struct kith_history_sample *sample = kith_history_at(&history, 0);
    assert_int_equal(sample->end_ms, 15000);
    assert_int_equal(sample->span_ms, 10000);
    assert_int_equal(sample->failures, 1);
    assert_int_equal(sample->bytes_in, 500);
    assert_int_equal(sample->kinds[KITH_HISTORY_WRITES].count, 21);
    assert_int_equal(sample->kinds[KITH_HISTORY_READS].count, 12);
    assert_in_range(sample->kinds[KITH_HISTORY_WRITES].p50_us, 250, 500);
    assert_in_range(sample->kinds[KITH_HISTORY_WRITES].p99_us, 5000000, 10000000);
    assert_in_range(sample->kinds[KITH_HISTORY_READS].p99_us, 1, 100);
}

static void test_ring(void **state)
{
    (void)state;
    for (uint64_t i = 0; i <= KITH_HISTORY_SAMPLES + 5; i++) {
        answer(KITH_OP_PUT, KITH_RESULT_OK, 1, (uint32_t)i);
        kith_history_add(&history, 1 + i * KITH_HISTORY_STEP_MS, &figures);
    }
    assert_int_equal(history.count, KITH_HISTORY_SAMPLES);
    for (uint32_t i = 0; i < KITH_HISTORY_SAMPLES; i++) {
        assert_int_equal(kith_history_at(&history, i)->kinds[KITH_HISTORY_WRITES].count, i + 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_samples, setup),
        cmocka_unit_test_setup(test_ring, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
