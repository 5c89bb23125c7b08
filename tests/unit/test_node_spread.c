/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node_spread.c - the copies of a write that a node coordinates (put_spread.c): who stands in
 * for owners that are late or silent, what counts, and what is done where too few are left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "spread_world.h"

/* Both owners are silent, and all who may stand in but one: the one that lives has it as soon as it
 * is known who does not, and nobody is asked twice. */
static void test_all_silent_but_one(void **state)
{
    (void)state;
    for (uint32_t alive = 0; alive < 4; alive++) {
        struct cluster *c = cluster_new(7, 0);
        for (uint8_t i = 2; i <= 7; i++) {
            c->others[i].mode = i == c->rest[alive] ? ALIVE : SILENT;
        }
        struct kith_msg msg = request(c, 2, false);
        put(c, &msg);
        pass(c, 2000);
        expect_ok(c, 2, 1);
        assert_in_range(c->ended_ms - c->begun_ms, KITH_STAND_IN_MS, 2 * KITH_STAND_IN_MS + 20);
        for (uint8_t i = 2; i <= 7; i++) {
            assert_true(c->others[i].asked <= 1);
        }
        assert_int_equal(c->others[c->rest[alive]].custody, 1);
        assert_int_equal(c->notes, 0);
        cluster_free(c);
    }
}

/* A node that is only late is not replaced a second time: who stands in for it will answer. */
static void test_late(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    for (uint8_t i = 2; i <= 7; i++) {
        c->others[i].mode = SLOW;
    }
    struct kith_msg msg = request(c, 2, false);
    put(c, &msg);
    pass(c, 3000);
    uint32_t asked = 0;
    for (uint8_t i = 2; i <= 7; i++) {
        asked += c->others[i].asked;
    }
    assert_int_equal(c->ends, 0);
    assert_int_equal(asked, 4); /* each owner, and one for each: as many as there are */
    answers(c, c->others[c->rest[0]].conn, c->others[c->rest[0]].asked_id);
    expect_ok(c, 2, 1);
    cluster_free(c);
}

/* Each answer counts once, whoever was asked meanwhile; what comes after the end changes nothing.
 */
static void test_counted_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    for (uint8_t i = 2; i <= 7; i++) {
        c->others[i].mode = SLOW;
    }
    struct kith_msg msg = request(c, 3, false);
    put(c, &msg);
    pass(c, KITH_STAND_IN_MS + 20);
    struct other *first = &c->others[c->rest[0]];
    struct other *second = &c->others[c->rest[1]];
    assert_int_equal(first->custody, 1);
    assert_int_equal(second->custody, 1);
    uint64_t id = first->asked_id;
    answers(c, first->conn, id);
    answers(c, first->conn, id);
    answers(c, first->conn, id);
    assert_int_equal(c->ends, 0);
    struct other *owner = &c->others[c->owners[1]];
    answers(c, owner->conn, id);
    expect_ok(c, 3, 2);
    answers(c, second->conn, id);
    answers(c, c->others[c->owners[0]].conn, id);
    assert_int_equal(c->ends, 1);
    cluster_free(c);
}

/* An owner is down, and a plain hint for it was given beside the copies; then the other owner is
 * silent, and there is nobody else: the hint becomes custody, and counts then only. `slow`: its
 * first answer comes after the owner was given up. */
static void check_promoted(bool slow)
{
    struct cluster *c = cluster_new(4, 0);
    uint8_t down = c->owners[1];
    cluster_free(c);
    c = cluster_new(4, 1u << down);
    struct other *hinted = &c->others[c->rest[0]];
    c->others[c->owners[0]].mode = SILENT;
    hinted->mode = slow ? SLOW : ALIVE;
    struct kith_msg msg = request(c, 2, false);
    put(c, &msg);
    assert_int_equal(hinted->asked, 1);
    assert_int_equal(hinted->custody, 0);
    assert_int_equal(c->ends, 0);
    if (slow) {
        pass(c, 1000);
        assert_int_equal(c->ends, 0); /* nor is it thin: it may have it, too */
        assert_int_equal(c->notes, 0);
        hinted->mode = ALIVE;
        answers(c, hinted->conn, hinted->asked_id);
        assert_int_equal(c->ends, 0);
    }
    pass(c, 1000);
    assert_int_equal(hinted->asked, 2);
    assert_int_equal(hinted->custody, 1);
    assert_int_equal(c->notes, 0);
    expect_ok(c, 2, 1);
    cluster_free(c);
}

static void test_promoted(void **state)
{
    (void)state;
    check_promoted(false);
    check_promoted(true);
}

/* Nobody is left: it is noted, on the disk, before the answer; with w_min it is unknown. */
static void test_thin(void **state)
{
    (void)state;
    for (uint32_t w_min = 0; w_min <= 2; w_min++) {
        struct cluster *c = cluster_new(5, 0);
        for (uint8_t i = 2; i <= 5; i++) {
            c->others[i].mode = SILENT;
        }
        struct kith_msg msg = request(c, 2, false);
        msg.u.put_req.w_min = w_min;
        put(c, &msg);
        pass(c, 3000);
        assert_int_equal(c->ends, 1);
        assert_in_range(c->ended_ms - c->begun_ms, KITH_DOUBT_MS, KITH_DOUBT_MS + 400);
        assert_int_equal(c->notes, w_min == 2 ? 0 : 1);
        assert_int_equal(c->res.status.err, w_min == 2 ? KITH_EUNKNOWN : KITH_OK);
        if (w_min < 2) {
            expect_ok(c, 1, 1);
        }
        cluster_free(c);
    }
}

/* Strict: nobody stands in, whoever lives. */
static void test_strict(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    c->others[c->owners[0]].mode = c->others[c->owners[1]].mode = SILENT;
    struct kith_msg msg = request(c, 2, true);
    put(c, &msg);
    pass(c, 3000);
    assert_int_equal(c->ends, 1);
    assert_int_equal(c->res.status.err, KITH_EUNKNOWN);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(c->others[c->rest[i]].asked, 0);
    }
    cluster_free(c);
}

/* Where all is well nobody stands in, and nobody is asked for anything beside. */
static void test_well(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    struct kith_msg msg = request(c, 2, false);
    put(c, &msg);
    expect_ok(c, 2, 2);
    assert_int_equal(c->ended_ms, c->begun_ms);
    assert_int_equal(c->rereads, 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(c->others[c->rest[i]].asked, 0);
    }
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well),
        cmocka_unit_test(test_all_silent_but_one),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_counted_once),
        cmocka_unit_test(test_promoted),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
