/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "ctl/screens/bar.h"

static struct kith_bar bar;
static char text[KITH_BAR_SIZE];

static int setup(void **state)
{
    (void)state;
    memset(&bar, 0, sizeof bar);
    return 0;
}

static void is(uint64_t now_ms, uint64_t done, uint64_t all, uint64_t bytes, const char *want)
{
    kith_bar_format(&bar, now_ms, done, all, bytes, "replicas", text);
    assert_string_equal(text, want);
}

/* What was done before it began to look counts for how far it is, and not for how fast. */
static void test_rates(void **state)
{
    (void)state;
    is(5000, 300, 1000, 1 << 20, "300 of 1 000 replicas  [######--------------] 30%");
    is(5900, 301, 1000, 9 << 20, "301 of 1 000 replicas  [######--------------] 30%");
    is(15000, 400, 1000, 21 << 20,
       "400 of 1 000 replicas  [########------------] 40%  2.0 MiB/s  ETA 60 s");
    is(25000, 999, 1000, 21 << 20,
       "999 of 1 000 replicas  [###################-] 99%  1.0 MiB/s  ETA 1 s");
    is(25100, 1000, 1000, 21 << 20,
       "1 000 of 1 000 replicas  [####################] 100%  1018 KiB/s");
}

/* Nothing happens: no rate, and no end in sight. */
static void test_stuck(void **state)
{
    (void)state;
    is(0, 5, 10, 77, "5 of 10 replicas  [##########----------] 50%");
    is(60000, 5, 10, 77, "5 of 10 replicas  [##########----------] 50%");
}

static void test_odd(void **state)
{
    (void)state;
    is(0, 0, 0, 0, "0 of 0 replicas  [####################] 100%");
    is(9000, 7, 5, 0, "5 of 5 replicas  [####################] 100%");
    memset(&bar, 0, sizeof bar);
    is(9500, 4, 5, 0, "4 of 5 replicas  [################----] 80%");
    is(10000, 2, 5, 0, "2 of 5 replicas  [########------------] 40%"); /* it has begun again */
    is(20000, 3, 5, 0, "3 of 5 replicas  [############--------] 60%  ETA 20 s");
    kith_bar_format(&bar, 0, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX,
                    "words that are far longer than there is room for in such a line", text);
    kith_bar_format(&bar, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                    "words that are far longer than there is room for in such a line", text);
    assert_true(strlen(text) < KITH_BAR_SIZE);
}

/* Of an hour's work some seventy lines, and of a short one none. */
static void test_pace(void **state)
{
    (void)state;
    struct kith_bar_pace pace = {0, 0};
    uint32_t lines = 0;
    uint64_t last_ms = 5000;
    for (uint64_t now_ms = 5000; now_ms < 5000 + 3600000; now_ms += 200) {
        if (kith_bar_due(&pace, now_ms)) {
            assert_true(lines > 0 || now_ms == 7000);
            assert_true(now_ms - last_ms <= 60000);
            last_ms = now_ms;
            lines++;
        }
    }
    assert_in_range(lines, 60, 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rates, setup),
        cmocka_unit_test_setup(test_stuck, setup),
        cmocka_unit_test_setup(test_odd, setup),
        cmocka_unit_test_setup(test_pace, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
