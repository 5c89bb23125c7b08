/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the judge of sessions (sessions.c) expects of a client, at once and after it has slept, when
 * owners that are cut apart tell it of different writes. The oracle here knows what the case says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sim.h"

#define ROW      1u
#define BEGIN_US UINT64_C(1000000)
#define SLEEP_US (UINT64_C(1000) * SWEEPS_SESSION_MS)

struct case_state {
    struct sim *sim;
    struct oracle_write writes[2]; /* of client 0: dot 1 of run 1, dot 1 of run 2 */
    struct sim_op ops[4];
    uint32_t op_count;
};

/* ---- An oracle ---- */

static bool first_is_replaced;

bool oracle_replaced(struct sim *sim, uint32_t row, const struct kith_dot *dot,
                     const struct kith_clock *seen)
{
    (void)sim;
    (void)row;
    const struct kith_dot by = {{2, 1}, 1};
    return first_is_replaced && dot->actor.run == 1 && kith_clock_covers(seen, &by);
}

bool oracle_superseded(struct sim *sim, uint32_t row, const struct kith_dot *dot)
{
    (void)sim;
    (void)row;
    return first_is_replaced && dot->actor.run == 1;
}

bool oracle_holds(const struct kith_row *row, uint64_t number)
{
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (row->siblings[i].dot.actor.run == number) {
            return true;
        }
    }
    return false;
}

void oracle_whole_clock(struct sim *sim, struct kith_arena *arena, uint32_t row,
                        const struct kith_clock *clock, struct kith_clock *ret_clock)
{
    (void)sim;
    (void)arena;
    (void)row;
    *ret_clock = *clock; /* nothing was reaped */
}

struct sim_reading watches_reading(const struct sim *sim, uint32_t client, uint32_t row)
{
    (void)sim;
    (void)client;
    (void)row;
    struct sim_reading none = {0};
    return none;
}

/* ---- Clients ---- */

static int begin(void **state)
{
    struct case_state *all = kith_calloc(1, sizeof *all);
    assert_non_null(all);
    all->sim = kith_calloc(1, sizeof *all->sim);
    assert_non_null(all->sim);
    all->sim->sweeps = true;
    all->sim->now_us = BEGIN_US;
    all->sim->client_count = 1;
    for (uint32_t i = 0; i < 2; i++) {
        all->writes[i].row = ROW;
        all->writes[i].number = i + 1u;
        all->writes[i].state = WRITE_OK;
        all->writes[i].dot = (struct kith_dot){{i + 1u, 1}, 1};
    }
    all->sim->oracle.writes = all->writes;
    all->sim->oracle.count = 2;
    first_is_replaced = false;
    *state = all;
    return 0;
}

static int end(void **state)
{
    struct case_state *all = *state;
    for (uint32_t i = 0; i < all->op_count; i++) {
        sim_bytes_clear(&all->ops[i].seen[0]);
        sim_bytes_clear(&all->ops[i].gone[0]);
    }
    sim_bytes_clear(&all->sim->clients[0].seen[ROW]);
    sim_bytes_clear(&all->sim->clients[0].gone[ROW]);
    kith_free(all->sim);
    kith_free(all);
    return 0;
}

/* The client asks for the row. */
static struct sim_op *asks(struct case_state *all)
{
    assert_true(all->op_count < sizeof all->ops / sizeof *all->ops);
    struct sim_op *op = &all->ops[all->op_count++];
    op->begun_us = all->sim->now_us;
    op->row_count = 1;
    sessions_note(all->sim, op, 0, ROW);
    return op;
}

static const struct kith_clock_entry both[] = {{{1, 1}, 1}, {{2, 1}, 1}};

/* It is told of the writes from that one on, `count` of them, with contents or without; and is
 * judged. False: it was to be told more. */
static bool is_told(struct case_state *all, const struct sim_op *op, uint32_t from, uint32_t count,
                    bool gone)
{
    struct kith_sibling siblings[2] = {{.dot = all->writes[0].dot}, {.dot = all->writes[1].dot}};
    const struct kith_row row = {.clock = {count, both + from},
                                 .sibling_count = gone ? 0 : count,
                                 .siblings = siblings + from};
    sessions_read(all->sim, op, 0, &row);
    bool good = !all->sim->failed;
    all->sim->failed = false;
    sessions_join(all->sim, 0, ROW, &row.clock, gone);
    return good;
}

static bool reads(struct case_state *all, uint32_t from, uint32_t count, bool gone)
{
    return is_told(all, asks(all), from, count, gone);
}

/* ---- Cases ---- */

static void test_awake(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, false));
    all->sim->now_us += SLEEP_US - 1000;
    assert_false(reads(all, 1, 1, false));
}

/* Two owners that are cut apart, and each has a write: what the client has read of both binds it no
 * more when it has slept, and is not remembered again when it reads of one. */
static void test_asleep(void **state)
{
    struct case_state *all = *state;
    all->sim->now_us += 999;
    assert_true(reads(all, 0, 2, false));
    all->sim->now_us += SLEEP_US - 999; /* of ms, so many have passed */
    assert_true(reads(all, 1, 1, false));
    all->sim->now_us += 5000000;
    assert_true(reads(all, 1, 1, false));
    assert_false(reads(all, 0, 1, false)); /* for it has read of the second one since */
}

/* A request that was under way meanwhile is not bound by what was forgotten either. */
static void test_asleep_under_way(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, false));
    all->sim->now_us += SLEEP_US - 1000;
    const struct sim_op *op = asks(all);
    all->sim->now_us += 1000;
    assert_true(reads(all, 1, 1, false));
    assert_true(is_told(all, op, 1, 1, false));
}

static void test_gone(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, true));
    assert_false(reads(all, 1, 1, false));
}

/* The owner that is reached now has not heard of the deletion. */
static void test_gone_asleep(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, true));
    all->sim->now_us += SLEEP_US;
    assert_true(reads(all, 1, 1, false));
    all->sim->now_us += 5000000;
    assert_true(reads(all, 1, 1, false));
}

/* The row was reaped: the client is told of nothing at all, and sleeps no later for that. */
static void test_reaped_asleep(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, true));
    all->sim->now_us += SLEEP_US / 2;
    assert_true(reads(all, 0, 0, true));
    all->sim->now_us += SLEEP_US / 2;
    assert_true(reads(all, 1, 1, false));
}

static void test_absent(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, false));
    sessions_absent(all->sim, asks(all), 0);
    assert_false(reads(all, 1, 1, false));
}

/* A scan that leaves the row out says nothing that the client could note: it sleeps no later for
 * that. */
static void test_absent_asleep(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, false));
    all->sim->now_us += SLEEP_US / 2;
    sessions_absent(all->sim, asks(all), 0);
    all->sim->now_us += SLEEP_US / 2;
    assert_true(reads(all, 1, 1, false));
}

static void test_left_out(void **state)
{
    struct case_state *all = *state;
    assert_true(reads(all, 0, 2, false));
    const struct sim_op *op = asks(all);
    sessions_left_out(all->sim, op, 0);
    assert_true(all->sim->failed);
    all->sim->failed = false;
    all->sim->now_us += SLEEP_US;
    sessions_left_out(all->sim, op, 0);
    assert_false(all->sim->failed);
}

/* The client's first write was replaced by its second one, which the other owner has not. */
static void test_own_write(void **state)
{
    struct case_state *all = *state;
    first_is_replaced = true;
    assert_true(reads(all, 1, 1, false));
    assert_false(reads(all, 0, 1, false));
    all->sim->now_us += SLEEP_US;
    assert_true(reads(all, 0, 1, false));
}

/* Where nothing is swept nobody sleeps for so long. */
static void test_not_swept(void **state)
{
    struct case_state *all = *state;
    all->sim->sweeps = false;
    assert_true(reads(all, 0, 2, false));
    all->sim->now_us += 10 * SLEEP_US;
    assert_false(reads(all, 1, 1, false));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_awake),     CASE(test_asleep),        CASE(test_asleep_under_way),
        CASE(test_gone),      CASE(test_gone_asleep),   CASE(test_reaped_asleep),
        CASE(test_absent),    CASE(test_absent_asleep), CASE(test_left_out),
        CASE(test_own_write), CASE(test_not_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
