/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Dots of a node's own run that it has not given out: a machine that was put back from a snapshot,
 * whose clients know what it has forgotten, and clients that invent them (rowop.h, THE WRITER'S
 * CONTEXT). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rows/run_budget.h"
#include "store_place.h"

#define PUTS 5000u

static struct kith_arena arena;

static struct kith_row row_of(struct place *place, uint32_t group, const char *name)
{
    struct kith_bytes state = state_of(place, group, name);
    struct kith_row row, copy;
    assert_int_equal(kith_row_decode(&arena, state, &row), KITH_OK);
    assert_int_equal(kith_row_copy(&arena, &row, &copy), KITH_OK);
    free_bytes(state);
    return copy;
}

/* The row's clock, with `ahead` added to the counter of each actor: what its run has not given out.
 */
static struct kith_bytes ahead_of(const struct kith_row *row, uint64_t ahead)
{
    struct kith_clock_entry *entries =
        kith_arena_copy(&arena, row->clock.entries, row->clock.count * sizeof *entries);
    for (uint32_t i = 0; i < row->clock.count; i++) {
        entries[i].counter += ahead;
    }
    struct kith_row context = {.clock = {row->clock.count, entries}};
    uint8_t *bytes = kith_arena_alloc(&arena, kith_row_encoded_size(&context) + 1);
    return kith_bytes_make(bytes, (size_t)(kith_row_write(&context, bytes) - bytes));
}

static enum kith_err put_with(struct place *place, const char *name, struct kith_bytes context,
                              struct kith_dot *ret_dot)
{
    struct kith_put_update update = update_of(name, "new");
    update.context = context;
    struct kith_store_op op = put_op(1, &update, 1);
    const struct kith_store_done *done = ask(place, &op);
    if (done->err == KITH_OK && ret_dot != NULL) {
        *ret_dot = done->u.put.rows[0].dot;
    }
    return done->err;
}

static enum kith_err merge_with(struct place *place, const char *name, struct kith_bytes state)
{
    struct kith_replica_row row = {.name = kith_bytes_make(name, strlen(name)), .state = state};
    struct kith_store_op op = {.id = 6, .kind = KITH_STORE_MERGE};
    op.u.merge.group = group_of(1);
    op.partition = kith_group_partition(&op.u.merge.group, PARTITIONS);
    op.u.merge.row_count = 1;
    op.u.merge.rows = &row;
    return ask(place, &op)->err;
}

/* What the store forgot is known to a client: his write is taken, and no dot that was given out is
 * given out again. */
static void test_snapshot(void **state)
{
    struct place *place = *state;
    put_text(place, 1, "a", "old");
    struct kith_row before = row_of(place, 1, "a");
    struct kith_bytes known = ahead_of(&before, 500); /* written after the snapshot */
    struct kith_dot dot;
    assert_int_equal(put_with(place, "a", known, &dot), KITH_OK);
    assert_true(dot.actor.run != before.clock.entries[0].actor.run);
    struct kith_row row = row_of(place, 1, "a");
    assert_int_equal(row.sibling_count, 1); /* the context covered the old one */
    assert_int_equal(row.clock.count, 2);
    /* the next one goes on under that run, and costs nothing more */
    put_text(place, 1, "a", "newer");
    assert_int_equal(row_of(place, 1, "a").clock.count, 2);
    /* other rows, too: the twin may have written them under the old run */
    assert_int_equal(put_with(place, "b", (struct kith_bytes){NULL, 0}, &dot), KITH_OK);
    assert_true(dot.actor.run != before.clock.entries[0].actor.run);
}

/* The attack: each put names what the run has not given out. Runs end, the row is written on. */
static void test_invented(void **state)
{
    struct place *place = *state;
    uint32_t taken = 0;
    put_text(place, 1, "a", "old");
    for (uint32_t i = 0; i < PUTS; i++) {
        struct kith_row row = row_of(place, 1, "a");
        enum kith_err err = put_with(place, "a", ahead_of(&row, 100000), NULL);
        assert_true(err == KITH_OK || err == KITH_ENOTREADY);
        taken += err == KITH_OK;
        kith_arena_reset(&arena);
    }
    assert_int_equal(taken, KITH_RUNS_AT_ONCE);
    put_text(place, 1, "a", "honest");
    put_text(place, 1, "b", "honest");
    assert_int_equal(row_of(place, 1, "a").clock.count, 1 + KITH_RUNS_AT_ONCE);
    char text[32];
    assert_int_equal(siblings_of(place, 1, "a", text), 1);
    assert_string_equal(text, "honest");
    verify(place, 2, 0);
}

/* The same through another node, whose merges bring it. They are all taken; the row then is not
 * written here before a run comes back, and no dot of it is drawn twice. */
static void test_merged(void **state)
{
    struct place *place = *state;
    put_text(place, 1, "a", "old");
    put_text(place, 1, "b", "old");
    for (uint32_t i = 0; i < 100; i++) {
        struct kith_row own = row_of(place, 1, "b");
        assert_int_equal(merge_with(place, "a", ahead_of(&own, 100000 + i)), KITH_OK);
        enum kith_err err = put_with(place, "b", ahead_of(&own, 0), NULL);
        assert_int_equal(err, KITH_OK);
    }
    struct kith_row row = row_of(place, 1, "a"), own = row_of(place, 1, "b");
    assert_true(row.clock.count <= 2 + KITH_RUNS_AT_ONCE);
    assert_int_equal(own.clock.count, 1 + KITH_RUNS_AT_ONCE);
    assert_int_equal(put_with(place, "a", ahead_of(&row, 0), NULL), KITH_ENOTREADY);
    must_close(place); /* a start has a run of its own */
    must_open(place);
    assert_int_equal(put_with(place, "a", ahead_of(&row, 0), NULL), KITH_OK);
}

int main(void)
{
    place_secret();
    kith_arena_init(&arena, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invented, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merged, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kith_arena_release(&arena);
    return failed;
}
