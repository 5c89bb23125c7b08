/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "data/hlc.h"

static void time_only_rises(void **state)
{
    (void)state;
    struct kith_hlc hlc = {0};
    uint64_t last = 0;
    static const uint64_t walls[] = {1000, 1000, 999, 5000, 0, 5001};
    for (unsigned i = 0; i < 600000; i++) {
        uint64_t now = kith_hlc_now(&hlc, walls[i / 100000]);
        assert_true(now > last);
        last = now;
    }
    assert_true(kith_hlc_ms(last) >= 5001);
    hlc.last = 0;
    uint64_t first = kith_hlc_now(&hlc, UINT64_MAX);
    uint64_t second = kith_hlc_now(&hlc, UINT64_MAX);
    assert_true(second > first);
}

static void time_far_ahead_is_not_adopted(void **state)
{
    (void)state;
    struct kith_hlc hlc = {0};
    uint64_t now = kith_hlc_now(&hlc, 100000);
    uint64_t edge = (uint64_t)(100000 + KITH_HLC_AHEAD_MAX_MS) << 16 | 0xffff;
    assert_false(kith_hlc_observe(&hlc, edge + 1, 100000));
    assert_true(hlc.last == now);
    assert_true(kith_hlc_observe(&hlc, edge, 100000));
    assert_true(hlc.last == edge);
    assert_true(kith_hlc_observe(&hlc, now, 100000));
    assert_true(hlc.last == edge);
    assert_true(kith_hlc_now(&hlc, 100000) > edge);
    assert_false(kith_hlc_observe(&hlc, UINT64_MAX, 100000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_only_rises),
        cmocka_unit_test(time_far_ahead_is_not_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
