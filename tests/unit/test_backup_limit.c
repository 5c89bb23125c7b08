/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ctl/backup/backup_limit.h"

/* A second's bytes go at once, and from then on as many as the rate allows; a pause is not saved up. */
static void test_rate(void **state)
{
    (void)state;
    struct kith_backup_limit limit = {.rate = 1000};
    uint64_t now_ms = 5000;
    assert_int_equal(kith_backup_limit_take(&limit, now_ms, 1000), 0);
    assert_in_range(kith_backup_limit_take(&limit, now_ms, 500), 500, 501);
    now_ms += 500;
    assert_in_range(kith_backup_limit_take(&limit, now_ms, 0), 0, 1);
    uint64_t moved = 0, begun_ms = now_ms;
    while (moved < 100000) {
        moved += 700;
        now_ms += kith_backup_limit_take(&limit, now_ms, 700);
    }
    assert_in_range(now_ms - begun_ms, 99000, 101000);
    now_ms += 3600000;
    assert_int_equal(kith_backup_limit_take(&limit, now_ms, 1000), 0);
    assert_in_range(kith_backup_limit_take(&limit, now_ms, 1000), 999, 1001);
    limit.rate = 0;
    assert_int_equal(kith_backup_limit_take(&limit, now_ms, UINT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
