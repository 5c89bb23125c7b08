/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rows that are gone, on a real store: they are found, forgotten under a floor with all that is
 * derived from them, and a late copy of what they had does not come back; for as long as the store
 * has held its rows without a break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_flip.h"

#define GRACE UINT64_C(1000)
#define GROUP 1u
#define MANY  (2u * KITH_DROP_MAX + 60u)

static uint32_t partition_of(uint32_t group)
{
    struct kith_group id = group_of(group);
    return kith_group_partition(&id, PARTITIONS);
}

/* What its writer had read goes. */
static void delete (struct place *place, const char *name)
{
    struct kith_bytes old = state_of(place, GROUP, name);
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_buf context;
    kith_buf_init(&context);
    assert_int_equal(kith_row_decode(&arena, old, &row), KITH_OK);
    row.sibling_count = 0;
    kith_row_encode(&row, &context);
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .context = kith_buf_bytes(&context)};
    struct kith_store_op op = put_op(GROUP, &update, 1);
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    kith_arena_release(&arena);
    kith_buf_release(&context);
    free_bytes(old);
}

struct list {
    uint32_t ready, waiting, others, runs;
    struct kith_floor_entry entries[8];
    uint64_t stamp, next_stamp;
    bool next_ripe;
};

static struct list list(struct place *place, uint64_t now_ms)
{
    struct list found = {.ready = 0};
    struct kith_store_op op = {.kind = KITH_STORE_REAP_LIST, .partition = partition_of(GROUP)};
    op.u.reap_list.now_ms = now_ms;
    op.u.reap_list.grace_ms = GRACE;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_false(done->u.reap_list.more);
    found.ready = done->u.reap_list.ready;
    found.waiting = done->u.reap_list.waiting;
    found.others = done->u.reap_list.others;
    found.runs = done->u.reap_list.entry_count;
    assert_true(found.runs <= 8);
    if (found.runs > 0) {
        memcpy(found.entries, done->u.reap_list.entries, found.runs * sizeof found.entries[0]);
    }
    found.stamp = done->u.reap_list.stamp;
    found.next_stamp = done->u.reap_list.next_stamp;
    found.next_ripe = done->u.reap_list.next_ripe;
    return found;
}

static struct kith_store_op step_op(enum kith_reap_step step, uint64_t now_ms, uint64_t stamp)
{
    struct kith_store_op op = {.id = 4,
                               .kind = KITH_STORE_REAP,
                               .partition = partition_of(GROUP),
                               .durability = KITH_DURABLE_DISK};
    op.u.reap.step = step;
    op.u.reap.now_ms = now_ms;
    op.u.reap.grace_ms = GRACE;
    op.u.reap.stamp = stamp;
    op.u.reap.owner = true;
    return op;
}

static struct kith_store_done take(struct place *place, const struct kith_store_op *op)
{
    const struct kith_store_done *done = ask(place, op);
    assert_int_equal(done->reached, done->err == KITH_OK ? KITH_DURABLE_DISK : done->reached);
    return *done;
}

/* This run, and what was drawn under it, as the store says. */
static struct kith_floor_entry own_run(struct place *place, const struct list *of)
{
    struct kith_store_op op = step_op(KITH_REAP_ASK, 0, 0);
    op.u.reap.entry_count = of->runs;
    op.u.reap.entries = of->entries;
    struct kith_store_done done = take(place, &op);
    assert_int_equal(done.err, KITH_OK);
    assert_false(done.u.reap.owes);
    assert_int_equal(done.u.reap.entry_count, of->runs);
    struct kith_floor_entry entry = {done.u.reap.run, 0};
    for (uint32_t i = 0; i < of->runs; i++) {
        bool now = done.u.reap.entries[i].run == done.u.reap.run;
        assert_true(now || done.u.reap.entries[i].counter == UINT64_MAX);
        entry.counter = now ? done.u.reap.entries[i].counter : entry.counter;
    }
    return entry;
}

static enum kith_err set(struct place *place, uint64_t run, uint64_t stamp, uint64_t now_ms,
                         const struct kith_floor_entry *entries, uint32_t count)
{
    struct kith_store_op op = step_op(KITH_REAP_SET, now_ms, stamp);
    op.u.reap.run = run;
    op.u.reap.entry_count = count;
    op.u.reap.entries = entries;
    return take(place, &op).err;
}

static uint8_t promote(struct place *place, uint64_t stamp, uint64_t now_ms)
{
    struct kith_store_op op = step_op(KITH_REAP_PROMOTE, now_ms, stamp);
    struct kith_store_done done = take(place, &op);
    assert_int_equal(done.err, KITH_OK);
    return done.u.reap.verdict;
}

static uint32_t reap(struct place *place, uint64_t stamp, uint64_t now_ms)
{
    uint32_t count = 0;
    bool more = true;
    while (more) {
        struct kith_store_op op = step_op(KITH_REAP_REMOVE, now_ms, stamp);
        struct kith_store_done done = take(place, &op);
        assert_int_equal(done.err, KITH_OK);
        assert_true(done.u.reap.reaped <= KITH_DROP_MAX);
        count += done.u.reap.reaped;
        more = done.u.reap.more;
    }
    return count;
}

/* A floor for all that is gone now, in force; its stamp. */
static uint64_t floor_now(struct place *place, uint64_t stamp)
{
    struct list gone = list(place, 0);
    struct kith_floor_entry own = own_run(place, &gone);
    for (uint32_t i = 0; i < gone.runs; i++) {
        gone.entries[i].counter =
            gone.entries[i].run == own.run ? own.counter : gone.entries[i].counter;
    }
    assert_int_equal(set(place, own.run, stamp, 5000, gone.entries, gone.runs), KITH_OK);
    assert_int_equal(promote(place, stamp, 5000 + GRACE), KITH_FLOOR_HAS);
    return stamp;
}

/* A state that another owner brings. */
static void absorb(struct place *place, const char *name, struct kith_bytes state)
{
    struct kith_leaf_row row = {.group = group_of(GROUP),
                                .name = kith_bytes_make(name, strlen(name)),
                                .state = state};
    struct kith_store_op op = {.kind = KITH_STORE_ABSORB, .partition = partition_of(GROUP)};
    op.u.absorb.wall_ms = 9000;
    op.u.absorb.row_count = 1;
    op.u.absorb.rows = &row;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.absorb.failed, 0);
}

static uint32_t siblings(struct place *place, const char *name)
{
    char text[32];
    return siblings_of(place, GROUP, name, text);
}

/* ---- Tests ---- */

static void they_are_forgotten_under_a_floor(void **state)
{
    struct place *place = *state;
    char name[16];
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "row%u", i);
        put_text(place, GROUP, name, "value");
        delete (place, name);
    }
    put_text(place, GROUP, "kept", "value");
    put_text(place, GROUP, "again", "value");
    delete (place, "again");
    put_text(place, GROUP, "again", "value"); /* not gone any more */
    struct list gone = list(place, 0);
    assert_int_equal(gone.others, MANY);
    assert_int_equal(gone.runs, 1);
    assert_int_equal(gone.stamp, 0);
    struct kith_floor_entry own = own_run(place, &gone);
    assert_int_equal(own.run, gone.entries[0].run);
    assert_true(own.counter >= gone.entries[0].counter);
    assert_int_equal(set(place, own.run + 1, 7, 5000, &own, 1), KITH_ECANCELED);
    assert_int_equal(promote(place, 7, 9000), KITH_FLOOR_LACKS);
    assert_int_equal(set(place, own.run, 7, 5000, &own, 1), KITH_OK);
    assert_false(list(place, 5000 + GRACE - 1).next_ripe);
    assert_true(list(place, 5000 + GRACE).next_ripe);
    assert_int_equal(list(place, 0).waiting, MANY);
    assert_int_equal(promote(place, 7, 5000 + GRACE - 1), KITH_FLOOR_EARLY);
    assert_int_equal(reap(place, 7, 5000), 0);
    assert_int_equal(promote(place, 7, 5000 + GRACE), KITH_FLOOR_HAS);
    assert_int_equal(list(place, 0).ready, MANY);
    verify(place, MANY + 2, 0);
    assert_int_equal(reap(place, 7, 5000 + GRACE), MANY);
    static const struct kith_checksum sums[KITH_TREE_LEAVES];
    struct kith_store_op op = step_op(KITH_REAP_EQUAL, 0, 0);
    op.u.reap.sums = sums;
    struct kith_store_done said = take(place, &op); /* for owners who have none */
    assert_int_equal(said.u.reap.entry_count, 1);
    assert_memory_equal(said.u.reap.entries, &own, sizeof own);
    gone = list(place, 0);
    assert_int_equal(gone.ready + gone.waiting + gone.others, 0);
    verify(place, 2, 0);
    assert_int_equal(siblings(place, "kept"), 1);
    assert_int_equal(siblings(place, "again"), 1);
}

static void leaves_are_told_apart(void **state)
{
    struct place *place = *state;
    struct kith_checksum sums[KITH_TREE_LEAVES];
    put_text(place, GROUP, "a", "value");
    struct kith_store_op op = {.kind = KITH_STORE_SUMS, .partition = partition_of(GROUP)};
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        kith_sum_encode(&done->u.sums[i], &sums[i]);
    }
    op = step_op(KITH_REAP_EQUAL, 0, 0);
    op.u.reap.sums = sums;
    struct kith_store_done said = take(place, &op);
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        assert_true(kith_leaf_in(&said.u.reap.equal, i));
    }
    assert_int_equal(said.u.reap.entry_count, 0); /* there is no floor here */
    const struct kith_key key = {group_of(GROUP), kith_bytes_make("b", 1)};
    put_text(place, GROUP, "b", "value");
    said = take(place, &op);
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        assert_int_equal(kith_leaf_in(&said.u.reap.equal, i), i != kith_tree_leaf(&key));
    }
}

static void what_was_forgotten_does_not_come_back(void **state)
{
    struct place *place = *state;
    put_text(place, GROUP, "a", "dead");
    struct kith_bytes late = state_of(place, GROUP, "a");
    delete (place, "a");
    uint64_t stamp = floor_now(place, 9);
    assert_int_equal(reap(place, stamp, 7000), 1);
    verify(place, 0, 0);
    absorb(place, "a", late); /* a node that was away has it */
    assert_int_equal(siblings(place, "a"), 0);
    assert_int_equal(list(place, 0).others, 1); /* deleted anew, under a dot of its own */
    verify(place, 1, 0);
    stamp = floor_now(place, 10);
    assert_int_equal(reap(place, stamp, 7000), 1);
    verify(place, 0, 0);
    must_close(place);
    must_open(place); /* the floor lies with the rows */
    absorb(place, "a", late);
    assert_int_equal(siblings(place, "a"), 0);
    stamp = floor_now(place, 11); /* of two runs: one is an earlier one */
    assert_int_equal(reap(place, stamp, 7000), 1);
    verify(place, 0, 0);
    free_bytes(late);
}

/* Then it says nothing of what is here, or is not. */
static void a_floor_goes_with_its_rows(void **state)
{
    struct place *place = *state;
    char name[16];
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "row%u", i);
        put_text(place, GROUP, name, "value");
    }
    put_text(place, GROUP, "a", "value");
    struct kith_bytes copy = state_of(place, GROUP, "a");
    delete (place, "a");
    uint64_t stamp = floor_now(place, 9);
    struct kith_store_op op = {.id = 9, .kind = KITH_STORE_DROP, .partition = partition_of(GROUP)};
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_true(done->u.drop.more); /* with the first of them: the node may own the rest again */
    assert_int_equal(promote(place, stamp, 9000), KITH_FLOOR_LACKS);
    while (ask(place, &op)->u.drop.more) {
    }
    verify(place, 0, 0);
    absorb(place, "a", copy);
    assert_int_equal(siblings(place, "a"), 1);
    verify(place, 1, 0);
    free_bytes(copy);
}

/* It is missing, and was not reaped: what other owners have of it is no late copy. */
static void a_row_that_was_damaged_comes_back(void **state)
{
    struct place *place = *state;
    put_text(place, GROUP, "a", "first");
    struct kith_bytes late = state_of(place, GROUP, "a");
    put_text(place, GROUP, "a", "value");
    put_text(place, GROUP, "b", "value");
    struct kith_bytes copy = state_of(place, GROUP, "a");
    delete (place, "b");
    (void)floor_now(place, 9); /* "a" is under it, too */
    flip_row(place, "a");
    struct kith_bytes names[1] = {kith_bytes_make("a", 1)};
    struct kith_store_op op = get_op(GROUP, names, 1);
    assert_int_equal(ask(place, &op)->err, KITH_ECORRUPT);
    absorb(place, "a", late); /* an older one comes first */
    absorb(place, "a", copy);
    char text[32];
    assert_int_equal(siblings_of(place, GROUP, "a", text), 1);
    assert_string_equal(text, "value");
    free_bytes(late);
    free_bytes(copy);
}

/* Who looks at all rows of the partition meets the floor, too: it is no row, and none is damaged. */
static void a_floor_is_no_damaged_row(void **state)
{
    struct place *place = *state;
    for (uint32_t how = 0; how < 2; how++) {
        put_text(place, GROUP, "a", "value");
        put_text(place, GROUP, "b", "value");
        delete (place, "b");
        (void)floor_now(place, 9 + how);
        flip_row(place, "a");
        struct kith_store_op op = {.partition = partition_of(GROUP)};
        op.kind = how == 0 ? KITH_STORE_SCRUB : KITH_STORE_LEAF;
        if (how == 1) {
            memset(&op.u.leaf.leaves, 0xff, sizeof op.u.leaf.leaves);
        }
        const struct kith_store_done *done = ask(place, &op);
        while (how == 0 && done->damaged == 0 && done->u.scrub.leaf < KITH_TREE_LEAVES) {
            op.u.scrub.leaf = done->u.scrub.leaf;
            done = ask(place, &op);
        }
        assert_int_equal(done->err, KITH_OK);
        assert_int_equal(done->damaged, 1);
        assert_int_equal(kith_store_counts(place->store).bad_rows, 1);
        verify(place, 1, 0);
        struct kith_store_op drop = {.kind = KITH_STORE_DROP, .partition = op.partition};
        assert_int_equal(ask(place, &drop)->err, KITH_OK);
        assert_int_equal(kith_store_counts(place->store).bad_rows, 0);
    }
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_forgotten_under_a_floor, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_forgotten_does_not_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_floor_goes_with_its_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_row_that_was_damaged_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_floor_is_no_damaged_row, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
