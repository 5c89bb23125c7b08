/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "metrics/served.h"

#define MS UINT64_C(1000000)

static struct kith_served *requests;
static const struct kith_served_figures *figures;

static int setup(void **state)
{
    (void)state;
    requests = kith_served_new();
    assert_non_null(requests);
    figures = kith_served_figures(requests);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kith_served_free(requests);
    return 0;
}

static void came(enum kith_msg_kind kind, uint64_t conn, uint64_t id, uint64_t at_ns)
{
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = kind;
    msg.id = id;
    kith_served_begin(requests, conn, &msg, at_ns);
}

static void goes(enum kith_msg_kind kind, uint64_t conn, uint64_t id, enum kith_err err,
                 uint64_t at_ns)
{
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = kind;
    msg.id = id;
    msg.u.get_res.status.err = err; /* it comes first in all answers */
    kith_served_end(requests, conn, &msg, at_ns);
}

static uint64_t answered(enum kith_op op)
{
    uint64_t count = 0;
    for (int i = 0; i < KITH_RESULTS; i++) {
        count += figures->counts[op][i];
    }
    assert_int_equal(count, kith_histogram_count(&figures->durations[op]));
    return count;
}

static void test_kinds(void **state)
{
    static const struct {
        enum kith_msg_kind req, res;
        enum kith_op op;
    } kinds[] = {
        {KITH_MSG_PUT_REQ, KITH_MSG_PUT_RES, KITH_OP_PUT},
        {KITH_MSG_GET_REQ, KITH_MSG_GET_RES, KITH_OP_GET},
        {KITH_MSG_SCAN_REQ, KITH_MSG_SCAN_RES, KITH_OP_SCAN},
        {KITH_MSG_GROUPS_REQ, KITH_MSG_GROUPS_RES, KITH_OP_GROUPS},
        {KITH_MSG_CHUNK_PUT_REQ, KITH_MSG_CHUNK_RES, KITH_OP_CHUNK_PUT},
        {KITH_MSG_CHUNK_GET_REQ, KITH_MSG_CHUNK_RES, KITH_OP_CHUNK_GET},
        {KITH_MSG_CHUNK_SYNC_REQ, KITH_MSG_CHUNK_SYNC_RES, KITH_OP_CHUNK_SYNC},
        {KITH_MSG_REPLICATE_REQ, KITH_MSG_REPLICATE_RES, KITH_OP_REPLICATE},
        {KITH_MSG_HANDOFF_REQ, KITH_MSG_HANDOFF_RES, KITH_OP_HANDOFF},
        {KITH_MSG_SUMS_REQ, KITH_MSG_SUMS_RES, KITH_OP_COMPARE},
        {KITH_MSG_WATCH_REQ, KITH_MSG_WATCH_RES, KITH_OP_WATCH},
    };
    (void)state;
    assert_int_equal(sizeof kinds / sizeof kinds[0], KITH_OPS);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_true(kith_served_begins(kinds[i].req) && !kith_served_ends(kinds[i].req));
        assert_true(kith_served_ends(kinds[i].res) && !kith_served_begins(kinds[i].res));
        came(kinds[i].req, 7, 100 + i, 5 * MS);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        goes(kinds[i].res, 7, 100 + i, KITH_OK, 8 * MS);
        assert_int_equal(answered(kinds[i].op), 1);
        assert_int_equal(figures->durations[kinds[i].op].sum_ns, 3 * MS);
    }
    came(KITH_MSG_PING, 7, 1, 0); /* others are not counted */
    goes(KITH_MSG_STATUS_RES, 7, 1, KITH_OK, 1);
}

/* Only what was asked on that connection counts, once. */
static void test_matched(void **state)
{
    (void)state;
    came(KITH_MSG_GET_REQ, 1, 10, 0);
    goes(KITH_MSG_GET_RES, 2, 10, KITH_OK, MS);
    goes(KITH_MSG_GET_RES, 1, 11, KITH_OK, MS);
    assert_int_equal(answered(KITH_OP_GET), 0);
    goes(KITH_MSG_GET_RES, 1, 10, KITH_ENOTREADY, MS);
    goes(KITH_MSG_GET_RES, 1, 10, KITH_OK, MS);
    assert_int_equal(answered(KITH_OP_GET), 1);
    assert_int_equal(figures->counts[KITH_OP_GET][KITH_RESULT_NOT_READY], 1);
}

/* All that a node can have under way are remembered; of more than there is room for, the latest. */
static void test_many(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < KITH_SERVED_NOTED / 2; i++) {
        came(KITH_MSG_PUT_REQ, 1 + i % 5, i, i);
    }
    for (uint64_t i = 0; i < KITH_SERVED_NOTED / 2; i++) {
        goes(KITH_MSG_PUT_RES, 1 + i % 5, i, KITH_OK, MS);
    }
    assert_true(answered(KITH_OP_PUT) > KITH_SERVED_NOTED / 2 / 10 * 9);
    for (uint64_t i = 0; i < 100000; i++) { /* never answered */
        came(KITH_MSG_SCAN_REQ, 9, i, i);
    }
    came(KITH_MSG_SCAN_REQ, 9, 100000, 100000);
    goes(KITH_MSG_SCAN_RES, 9, 100000, KITH_OK, MS);
    assert_int_equal(answered(KITH_OP_SCAN), 1);
}

static void test_put(void **state)
{
    (void)state;
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    for (uint32_t owners = 1; owners <= 2; owners++) {
        came(KITH_MSG_PUT_REQ, 1, owners, 0);
        msg.kind = KITH_MSG_PUT_RES;
        msg.id = owners;
        msg.u.put_res.copies = 2;
        msg.u.put_res.owners = owners;
        kith_served_end(requests, 1, &msg, MS);
    }
    assert_int_equal(figures->stood_in, 1);
    came(KITH_MSG_PUT_REQ, 1, 3, 0);
    goes(KITH_MSG_PUT_RES, 1, 3, KITH_EUNKNOWN, 20000 * MS);
    assert_int_equal(figures->counts[KITH_OP_PUT][KITH_RESULT_UNKNOWN], 1);
    assert_int_equal(figures->durations[KITH_OP_PUT].buckets[KITH_HISTOGRAM_BOUNDS], 1);
}

static void test_bytes(void **state)
{
    (void)state;
    struct kith_blob blob = {.size = 1000};
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_CHUNK_PUT_REQ;
    msg.u.chunk_put_req.payload = &blob;
    kith_served_begin(requests, 1, &msg, 0);
    assert_int_equal(figures->bytes_in, 1000);
    came(KITH_MSG_CHUNK_GET_REQ, 1, 5, 0);
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_CHUNK_RES;
    msg.id = 5;
    msg.u.chunk_res.payload = &blob;
    kith_served_end(requests, 1, &msg, MS);
    assert_int_equal(figures->bytes_out, 1000);
    assert_int_equal(answered(KITH_OP_CHUNK_GET), 1);
    assert_int_equal(answered(KITH_OP_CHUNK_PUT), 0);
}

/* A time that goes back is no time. */
static void test_clock(void **state)
{
    (void)state;
    came(KITH_MSG_GET_REQ, 1, 1, 5 * MS);
    goes(KITH_MSG_GET_RES, 1, 1, KITH_OK, 4 * MS);
    assert_int_equal(figures->durations[KITH_OP_GET].sum_ns, 0);
    assert_int_equal(figures->durations[KITH_OP_GET].buckets[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
