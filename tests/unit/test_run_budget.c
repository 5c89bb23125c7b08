/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/rows/run_budget.h"

static uint32_t take_all(struct kith_run_budget *budget, uint64_t now_ms)
{
    uint32_t taken = 0;
    while (taken <= KITH_RUNS_AT_ONCE && kith_run_budget_take(budget, now_ms)) {
        taken++;
    }
    return taken;
}

static void a_few_at_once_and_one_a_day(void **state)
{
    (void)state;
    struct kith_run_budget budget = {0};
    uint64_t now = 5;
    assert_int_equal(take_all(&budget, now), KITH_RUNS_AT_ONCE);
    assert_int_equal(take_all(&budget, now - 1), 0);
    assert_int_equal(take_all(&budget, now + KITH_RUN_REFILL_MS - 1), 0);
    assert_int_equal(take_all(&budget, now + KITH_RUN_REFILL_MS), 1);
    assert_int_equal(take_all(&budget, now + 4u * (uint64_t)KITH_RUN_REFILL_MS), 3);
    now += 1000u * (uint64_t)KITH_RUN_REFILL_MS;
    assert_int_equal(take_all(&budget, now), KITH_RUNS_AT_ONCE);
}

/* Whoever asks all the time gets no more than that. */
static void asking_often_brings_no_more(void **state)
{
    (void)state;
    struct kith_run_budget budget = {0};
    uint32_t taken = 0;
    for (uint64_t now = 0; now < 30u * (uint64_t)KITH_RUN_REFILL_MS; now += 60000) {
        taken += kith_run_budget_take(&budget, now) ? 1 : 0;
    }
    assert_int_equal(taken, KITH_RUNS_AT_ONCE + 29);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_at_once_and_one_a_day),
        cmocka_unit_test(asking_often_brings_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
