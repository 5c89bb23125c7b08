/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The marks of chunks that may be swept: every step from every state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/rows/sweepop.h"

#define GRACE UINT64_C(1000)
#define MADE  UINT64_C(50000)
#define OLD   (MADE + GRACE)

static struct kith_chunk_id chunk(void)
{
    static const uint8_t random[10] = {1};
    return kith_chunk_id_make(KITH_VOLUME_FS, MADE, random);
}

static bool step(struct kith_mark *mark, enum kith_sweep_step which, uint64_t stamp, uint64_t now)
{
    struct kith_chunk_id id = chunk();
    struct kith_mark before = *mark;
    bool taken = kith_mark_step(mark, which, &id, stamp, now, GRACE);
    if (!taken) {
        assert_memory_equal(&before, mark, sizeof before);
    }
    return taken;
}

static void test_whole_way(void **state)
{
    (void)state;
    struct kith_mark mark = {KITH_MARK_NONE, 0, 0, 0};
    assert_false(step(&mark, KITH_SWEEP_CONDEMN, 7, OLD - 1)); /* too young */
    assert_false(step(&mark, KITH_SWEEP_CONDEMN, 7, MADE - 1)); /* made later than now */
    assert_false(step(&mark, KITH_SWEEP_DOOM, 7, OLD));
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 7, OLD));
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 7, OLD + 5)); /* once more: since the first time */
    assert_false(kith_mark_ripe(&mark, OLD + GRACE - 1, GRACE));
    assert_false(step(&mark, KITH_SWEEP_DOOM, 7, OLD + GRACE - 1));
    assert_false(step(&mark, KITH_SWEEP_DOOM, 7, OLD - 1)); /* the clock was put back */
    assert_false(step(&mark, KITH_SWEEP_DELETE, 7, OLD + GRACE));
    assert_true(kith_mark_ripe(&mark, OLD + GRACE, GRACE));
    assert_false(step(&mark, KITH_SWEEP_DOOM, 8, OLD + GRACE)); /* another condemnation */
    assert_true(step(&mark, KITH_SWEEP_DOOM, 7, OLD + GRACE));
    assert_true(step(&mark, KITH_SWEEP_DOOM, 7, OLD + GRACE));
    assert_false(kith_mark_lease(&mark, OLD + GRACE));
    assert_false(kith_mark_clear(&mark));
    assert_true(step(&mark, KITH_SWEEP_DELETE, 7, OLD + GRACE));
    assert_int_equal(mark.state, KITH_MARK_GONE);
    /* asked again, by who knows no better */
    assert_true(step(&mark, KITH_SWEEP_DOOM, 7, OLD + GRACE));
    assert_true(step(&mark, KITH_SWEEP_DELETE, 7, OLD + GRACE));
    assert_false(kith_mark_lease(&mark, OLD + GRACE));
    assert_false(kith_mark_over(&mark, OLD + 2 * GRACE - 1, GRACE));
    assert_true(kith_mark_over(&mark, OLD + 2 * GRACE, GRACE));
}

static void test_lease(void **state)
{
    (void)state;
    struct kith_mark mark = {KITH_MARK_NONE, 0, 0, 0};
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 7, OLD));
    assert_true(kith_mark_lease(&mark, OLD + 10));
    assert_int_equal(mark.state, KITH_MARK_NONE);
    assert_false(step(&mark, KITH_SWEEP_DOOM, 7, OLD + GRACE));
    assert_false(kith_mark_over(&mark, OLD + 10 + GRACE - 1, GRACE));
    assert_false(step(&mark, KITH_SWEEP_CONDEMN, 8, OLD + 10 + GRACE - 1));
    assert_false(step(&mark, KITH_SWEEP_CONDEMN, 8, OLD)); /* a lease ahead of the clock */
    assert_true(kith_mark_over(&mark, OLD + 10 + GRACE, GRACE));
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 8, OLD + 10 + GRACE));
}

static void test_anew(void **state)
{
    (void)state;
    struct kith_mark mark = {KITH_MARK_NONE, 0, 0, 0};
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 7, OLD));
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 8, OLD + 600)); /* its time begins again */
    assert_false(step(&mark, KITH_SWEEP_DOOM, 8, OLD + GRACE));
    assert_true(step(&mark, KITH_SWEEP_CLEAR, 7, OLD + 600)); /* not this one */
    assert_int_equal(mark.state, KITH_MARK_CONDEMNED);
    assert_true(step(&mark, KITH_SWEEP_CLEAR, 8, OLD + 600));
    assert_int_equal(mark.state, KITH_MARK_NONE);
    mark = (struct kith_mark){KITH_MARK_DOOMED, 7, OLD, 0};
    assert_true(step(&mark, KITH_SWEEP_CONDEMN, 9, OLD + 1)); /* some owner had not doomed it */
    assert_int_equal(mark.state, KITH_MARK_CONDEMNED);
    assert_true(kith_mark_lease(&mark, OLD + 2));
}

static void test_record(void **state)
{
    (void)state;
    struct kith_mark mark = {KITH_MARK_DOOMED, UINT64_MAX - 5, 123456789, 42}, back;
    uint8_t bytes[KITH_MARK_SIZE + 1];
    kith_mark_encode(&mark, bytes);
    assert_int_equal(kith_mark_decode(kith_bytes_make(bytes, KITH_MARK_SIZE), &back), KITH_OK);
    assert_int_equal(back.state, mark.state);
    assert_true(back.stamp == mark.stamp && back.since_ms == mark.since_ms &&
                back.lease_ms == mark.lease_ms);
    assert_int_equal(kith_mark_decode(kith_bytes_make(NULL, 0), &back), KITH_OK);
    assert_int_equal(back.state, KITH_MARK_NONE);
    for (size_t size = 1; size <= sizeof bytes; size++) {
        if (size != KITH_MARK_SIZE) {
            assert_int_equal(kith_mark_decode(kith_bytes_make(bytes, size), &back), KITH_ECORRUPT);
        }
    }
    bytes[1] = KITH_MARK_GONE + 1;
    assert_int_equal(kith_mark_decode(kith_bytes_make(bytes, KITH_MARK_SIZE), &back),
                     KITH_ECORRUPT);
}

static void test_young(void **state)
{
    (void)state;
    struct kith_chunk_id id = chunk();
    assert_true(kith_chunk_is_young(&id, MADE, GRACE));
    assert_true(kith_chunk_is_young(&id, MADE + GRACE / 2 - 1, GRACE));
    assert_false(kith_chunk_is_young(&id, MADE + GRACE / 2, GRACE));
    assert_true(kith_chunk_is_young(&id, MADE - GRACE / 2 + 1, GRACE));
    assert_false(kith_chunk_is_young(&id, MADE - GRACE / 2, GRACE)); /* our clock may be wrong */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_way), cmocka_unit_test(test_lease),
        cmocka_unit_test(test_anew),      cmocka_unit_test(test_record),
        cmocka_unit_test(test_young),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
