/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <time.h>

#include "base/clock.h"

/* Milliseconds of the clock that condition variables and nanosleep wait by. */
static void test_mono(void **state)
{
    (void)state;
    struct timespec until;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &until), 0);
    uint64_t start = kith_mono_ms();
    assert_true(start >= (uint64_t)until.tv_sec * 1000);
    until.tv_nsec += 50000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
    }
    uint64_t end = kith_mono_ms();
    assert_true(end - start >= 49); /* both ends are cut to whole milliseconds */
    assert_true(end < (uint64_t)until.tv_sec * 1000 + 600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mono)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
