/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>

#include "base/alloc.h"
#include "fs/control/meter.h"

static int setup(void **state)
{
    *state = kith_calloc(1, sizeof(struct kith_meter));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    kith_free(*state);
    return 0;
}

static void test_counts(void **state)
{
    struct kith_meter *meter = *state;
    struct kith_meter_request request;
    char line[] = "x";
    assert_true(kith_meter_begin(meter, 2, FUSE_LOOKUP, 1000, line));
    assert_true(kith_meter_begin(meter, 4, FUSE_LOOKUP, 2000, NULL));
    assert_int_equal(2, meter->under_way);
    assert_true(kith_meter_end(meter, 4, ENOENT, 2000 + 10000, &request)); /* just in the first */
    assert_int_equal(FUSE_LOOKUP, request.opcode);
    assert_int_equal(10000, request.took_ns);
    assert_null(request.line);
    assert_true(kith_meter_end(meter, 2, 0, 1000 + 10001, &request));
    assert_ptr_equal(line, request.line);
    assert_false(kith_meter_end(meter, 2, 0, 3000, &request)); /* once */
    assert_false(kith_meter_end(meter, 6, 0, 3000, &request));
    const struct kith_meter_op *op = &meter->ops[FUSE_LOOKUP];
    assert_int_equal(2, op->count);
    assert_int_equal(20001, op->sum_ns);
    assert_int_equal(1, op->buckets[0]);
    assert_int_equal(1, op->buckets[1]);
    assert_int_equal(1, meter->errors[FUSE_LOOKUP][ENOENT]);
    assert_int_equal(0, meter->under_way);
    kith_meter_count(meter, FUSE_FORGET);
    assert_int_equal(1, meter->ops[FUSE_FORGET].count);
    assert_int_equal(0, meter->untimed);
}

/* A clock that stands, times beyond all bounds, numbers that nobody knows. */
static void test_bounds(void **state)
{
    struct kith_meter *meter = *state;
    struct kith_meter_request request;
    assert_true(kith_meter_begin(meter, 2, 4000000000u, 1000, NULL));
    assert_true(kith_meter_end(meter, 2, 100000, 500, &request));
    assert_int_equal(0, request.took_ns);
    assert_int_equal(1, meter->ops[0].count);
    assert_int_equal(1, meter->errors[0][0]);
    assert_true(kith_meter_begin(meter, 2, FUSE_READ, 0, NULL));
    assert_true(kith_meter_end(meter, 2, -3, UINT64_C(60000000000), &request));
    assert_int_equal(1, meter->ops[FUSE_READ].buckets[KITH_METER_BUCKETS - 1]);
    assert_int_equal(1, meter->errors[FUSE_READ][0]);
}

/* Requests that wait for long are found still, whatever came and went meanwhile; of those for which
 * there is no place the coming is counted. */
static void test_many(void **state)
{
    struct kith_meter *meter = *state;
    struct kith_meter_request request;
    uint64_t taken = 0;
    for (uint64_t i = 1; i <= KITH_METER_PROBES; i++) { /* all have the same place of their own */
        assert_true(kith_meter_begin(meter, i * 2 * KITH_METER_SLOTS, FUSE_READ, i, NULL));
    }
    assert_false(kith_meter_begin(meter, 2 * KITH_METER_SLOTS * 1000, FUSE_READ, 1, NULL));
    assert_int_equal(1, meter->untimed);
    assert_int_equal(1, meter->ops[FUSE_READ].count);
    for (uint64_t i = 1; i <= 100000; i++) {
        uint64_t unique = UINT64_C(1) << 40 | i << 1;
        taken += kith_meter_begin(meter, unique, FUSE_GETATTR, i, NULL) &&
                 kith_meter_end(meter, unique, 0, i + 1, &request);
    }
    assert_true(taken > 99000); /* those that fall among the waiting ones find no place */
    for (uint64_t i = 1; i <= KITH_METER_PROBES; i++) {
        assert_true(kith_meter_end(meter, i * 2 * KITH_METER_SLOTS, 0, 1000, &request));
        assert_int_equal(1000 - i, request.took_ns);
    }
    assert_int_equal(0, meter->under_way);
}

#define THREADS  4u
#define REQUESTS 20000u

static void *worker(void *arg)
{
    static atomic_uint_fast64_t next = 2;
    struct kith_meter *meter = arg;
    struct kith_meter_request request;
    uint64_t lost = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint64_t unique = atomic_fetch_add(&next, 2);
        lost += !kith_meter_begin(meter, unique, FUSE_WRITE, unique, NULL) ||
                !kith_meter_end(meter, unique, 0, unique + 7, &request) || request.took_ns != 7;
    }
    return (void *)(uintptr_t)lost;
}

static void test_threads(void **state)
{
    struct kith_meter *meter = *state;
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(0, pthread_create(&threads[i], NULL, worker, meter));
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *lost;
        assert_int_equal(0, pthread_join(threads[i], &lost));
        assert_null(lost);
    }
    assert_int_equal(THREADS * REQUESTS, meter->ops[FUSE_WRITE].count);
    assert_int_equal(THREADS * REQUESTS * 7, meter->ops[FUSE_WRITE].sum_ns);
    assert_int_equal(0, meter->under_way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
