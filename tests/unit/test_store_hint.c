/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a store keeps for others: apart from its own rows, merged per row, counted, handed out page
 * by page, and gone when those who are to have it do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#define GROUP 1u

static struct kith_uuid nodes[5]; /* 1, 2, 3 own; 4 does not */

static struct kith_hint_want want_of(uint32_t target, bool custody)
{
    return (struct kith_hint_want){
        .custody = custody, .target_count = target > 0 ? 1 : 0, .targets = &nodes[target]};
}

static struct kith_bytes text(const char *name)
{
    return kith_bytes_make(name, strlen(name));
}

/* ---- Operations ---- */

/* A write that another node has coordinated: the state in `from` of the row. */
static enum kith_err merge_hint(struct place *place, const char *name, struct kith_bytes row_state,
                                const struct kith_hint_want *want)
{
    struct kith_replica_row row = {.name = text(name), .state = row_state};
    struct kith_store_op op = {.id = 1, .kind = KITH_STORE_MERGE};
    op.u.merge.group = group_of(GROUP);
    op.partition = kith_group_partition(&op.u.merge.group, PARTITIONS);
    op.u.merge.wall_ms = 1000;
    op.u.merge.row_count = 1;
    op.u.merge.rows = &row;
    op.u.merge.hint = want;
    return ask(place, &op)->err;
}

/* A write that is coordinated here, without being an owner. */
static struct kith_dot put_hint(struct place *place, const char *name, const char *value,
                                const struct kith_hint_want *want)
{
    struct kith_put_update update = update_of(name, value);
    struct kith_store_op op = put_op(GROUP, &update, 1);
    op.u.put.hint = want;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done->u.put.rows[0].dot;
}

static size_t hint_size(struct place *place, const char *name)
{
    struct kith_bytes names[1] = {text(name)};
    struct kith_store_op op = get_op(GROUP, names, 1);
    op.u.get.hints = true;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done->u.rows.rows[0].state.size;
}

/* The page that `node` gets, from behind `after` (NULL: from the beginning). */
static const struct kith_store_done *page(struct place *place, uint32_t node, const char *after,
                                          uint32_t most)
{
    struct kith_group group = group_of(GROUP);
    struct kith_store_op op = {.id = 2, .kind = KITH_STORE_HINT_PAGE};
    op.partition = kith_group_partition(&group, PARTITIONS);
    op.u.hint_page.node = nodes[node];
    op.u.hint_page.owner_count = 3;
    op.u.hint_page.owners = nodes + 1;
    op.u.hint_page.w = 2;
    op.u.hint_page.has_after = after != NULL;
    op.u.hint_page.after_group = group;
    op.u.hint_page.after_name = text(after != NULL ? after : "");
    op.u.hint_page.max_rows = most;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done;
}

static uint32_t page_rows(struct place *place, uint32_t node)
{
    return page(place, node, NULL, 0)->u.hint_page.row_count;
}

struct sent {
    uint32_t count;
    struct kith_leaf_row rows[32];
    char names[32][16];
};

static void keep(const struct kith_store_done *done, struct sent *sent)
{
    sent->count = done->u.hint_page.row_count;
    assert_true(sent->count <= 32);
    for (uint32_t i = 0; i < sent->count; i++) {
        sent->rows[i] = done->u.hint_page.rows[i];
        struct kith_bytes name = sent->rows[i].name;
        assert_true(name.size < sizeof sent->names[i]);
        memcpy(sent->names[i], name.data, name.size);
        sent->rows[i].name.data = (const uint8_t *)sent->names[i];
        sent->rows[i].state = kith_bytes_make(NULL, 0); /* an ack needs none */
    }
}

static void ack(struct place *place, uint32_t node, const struct sent *sent)
{
    struct kith_group group = group_of(GROUP);
    struct kith_store_op op = {.id = 3, .kind = KITH_STORE_HINT_ACK};
    op.partition = kith_group_partition(&group, PARTITIONS);
    op.u.hint_ack.node = nodes[node];
    op.u.hint_ack.owner_count = 3;
    op.u.hint_ack.owners = nodes + 1;
    op.u.hint_ack.w = 2;
    op.u.hint_ack.row_count = sent->count;
    op.u.hint_ack.rows = sent->rows;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
}

static void deliver(struct place *place, uint32_t node)
{
    struct sent sent;
    keep(page(place, node, NULL, 0), &sent);
    ack(place, node, &sent);
}

static void counts_are(struct place *place, uint64_t count, uint64_t custody, uint64_t thin)
{
    for (uint32_t again = 0; again < 2; again++) {
        struct kith_store_hints hints = kith_store_counts(place->store).hints;
        assert_true(hints.count == count && hints.custody == custody && hints.thin == thin);
        assert_int_equal(hints.bytes == 0, count == thin);
        assert_int_equal(hints.first_ms != 0, count > 0);
        must_close(place); /* as they were before a start */
        must_open(place);
    }
}

/* The state of a row that has been put into another group, as if at another node. */
static struct kith_bytes elsewhere(struct place *place, const char *value)
{
    put_text(place, 2, "row", value);
    return state_of(place, 2, "row");
}

/* ---- Tests ---- */

static void test_plain(void **state)
{
    struct place *place = *state;
    struct kith_bytes row = elsewhere(place, "v");
    struct kith_hint_want want = want_of(2, false);
    assert_int_equal(merge_hint(place, "a", row, &want), KITH_OK);
    assert_true(hint_size(place, "a") > 0);
    struct kith_bytes own = state_of(place, GROUP, "a");
    assert_int_equal(own.size, 0); /* none of ours */
    free_bytes(own);
    counts_are(place, 1, 0, 0);
    verify(place, 1, 0);
    assert_int_equal(page_rows(place, 1), 0);
    assert_int_equal(page_rows(place, 2), 1);
    deliver(place, 1); /* nothing */
    assert_int_equal(page_rows(place, 2), 1);
    deliver(place, 2);
    assert_int_equal(hint_size(place, "a"), 0);
    counts_are(place, 0, 0, 0);
    free_bytes(row);
}

/* What has changed since it was sent stays, and is sent again. */
static void test_changed_meanwhile(void **state)
{
    struct place *place = *state;
    struct kith_hint_want want = want_of(2, false);
    struct sent sent;
    (void)put_hint(place, "a", "first", &want);
    keep(page(place, 2, NULL, 0), &sent);
    (void)put_hint(place, "a", "second", &want);
    ack(place, 2, &sent);
    assert_int_equal(page_rows(place, 2), 1);
    deliver(place, 2);
    assert_int_equal(page_rows(place, 2), 0);
    counts_are(place, 0, 0, 0);
}

static void test_custody(void **state)
{
    struct place *place = *state;
    struct kith_bytes row = elsewhere(place, "v");
    struct kith_hint_want custody = want_of(3, true);
    assert_int_equal(merge_hint(place, "a", row, &custody), KITH_OK);
    counts_are(place, 1, 1, 0);
    deliver(place, 3);
    deliver(place, 3);
    counts_are(place, 1, 1, 0);
    assert_int_equal(page_rows(place, 3), 0);
    assert_int_equal(page_rows(place, 1), 1);
    deliver(place, 1);
    counts_are(place, 0, 0, 0);
    free_bytes(row);
}

/* Invariant 3: a stand-in's actor lasts as long as what it stands on. */
static void test_actor(void **state)
{
    struct place *place = *state;
    struct kith_hint_want want = want_of(2, false);
    struct kith_dot first = put_hint(place, "a", "1", &want);
    struct kith_dot second = put_hint(place, "a", "2", &want);
    assert_true(second.actor.run == first.actor.run && second.actor.epoch == first.actor.epoch);
    assert_true(second.counter > first.counter);
    deliver(place, 2);
    assert_int_equal(hint_size(place, "a"), 0);
    struct kith_dot third = put_hint(place, "a", "3", &want);
    assert_true(third.actor.epoch != first.actor.epoch);
    put_text(place, GROUP, "a", "our own"); /* an owner by now: another actor */
    char value[32];
    assert_int_equal(siblings_of(place, GROUP, "a", value), 1);
    assert_string_equal(value, "our own");
}

/* A row of ours that stands on too few copies is marked; the row itself is what is sent. */
static void test_thin(void **state)
{
    struct place *place = *state;
    struct kith_hint_want want = {.thin = true};
    struct kith_bytes names[1] = {text("a")};
    struct kith_store_op op = {.id = 4, .kind = KITH_STORE_HINT_NOTE};
    struct sent sent;
    put_text(place, GROUP, "a", "thin");
    op.u.hint_note.group = group_of(GROUP);
    op.partition = kith_group_partition(&op.u.hint_note.group, PARTITIONS);
    op.durability = KITH_DURABLE_DISK;
    op.u.hint_note.wall_ms = 1000;
    op.u.hint_note.name_count = 1;
    op.u.hint_note.names = names;
    op.u.hint_note.hint = &want;
    assert_int_equal(ask(place, &op)->reached, KITH_DURABLE_DISK);
    counts_are(place, 1, 0, 1);
    assert_int_equal(hint_size(place, "a"), 0); /* it is among the rows */
    struct kith_bytes own = state_of(place, GROUP, "a");
    const struct kith_store_done *done = page(place, 2, NULL, 0);
    assert_int_equal(done->u.hint_page.row_count, 1);
    assert_true(kith_bytes_equal(done->u.hint_page.rows[0].state, own));
    keep(done, &sent);
    free_bytes(own);
    put_text(place, GROUP, "a", "later"); /* with W copies: but not what was sent */
    ack(place, 2, &sent);
    ack(place, 3, &sent);
    counts_are(place, 1, 0, 1);
    deliver(place, 2);
    counts_are(place, 1, 0, 1);
    deliver(place, 1);
    counts_are(place, 0, 0, 0);
}

/* Plain hints are capped, custody is not. */
static void test_cap(void **state)
{
    struct place *place = *state;
    must_close(place);
    place->hint_bytes_max = 1000;
    must_open(place);
    struct kith_bytes row = elsewhere(place, "v");
    struct kith_hint_want plain = want_of(2, false), custody = want_of(2, true);
    enum kith_err err = KITH_OK;
    char name[16];
    uint32_t kept = 0;
    for (; err == KITH_OK && kept < 100; kept++) {
        snprintf(name, sizeof name, "%u", kept);
        err = merge_hint(place, name, row, &plain);
    }
    assert_int_equal(err, KITH_ELIMIT);
    assert_in_range(kept, 2, 99);
    assert_int_equal(merge_hint(place, "custody", row, &custody), KITH_OK);
    deliver(place, 2);
    assert_int_equal(merge_hint(place, name, row, &plain), KITH_OK); /* there is room again */
    free_bytes(row);
}

/* Page by page, also where others' hints lie between. */
static void test_pages(void **state)
{
    struct place *place = *state;
    struct kith_bytes row = elsewhere(place, "v");
    struct kith_hint_want two = want_of(2, false), three = want_of(3, false);
    char name[16], after[16] = "";
    uint32_t rows = 0, pages = 0;
    for (uint32_t i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "%02u", i);
        assert_int_equal(merge_hint(place, name, row, i % 3 == 0 ? &two : &three), KITH_OK);
    }
    for (bool more = true; more; pages++) {
        const struct kith_store_done *done = page(place, 2, pages > 0 ? after : NULL, 7);
        for (uint32_t i = 0; i < done->u.hint_page.row_count; i++) {
            snprintf(name, sizeof name, "%02u", 3 * rows++);
            assert_true(kith_bytes_equal(done->u.hint_page.rows[i].name, text(name)));
        }
        more = done->u.hint_page.more;
        if (more) {
            struct kith_bytes last = done->u.hint_page.last_name;
            assert_true(last.size < sizeof after);
            memcpy(after, last.data, last.size);
            after[last.size] = '\0';
        }
    }
    assert_int_equal(rows, 20);
    assert_int_equal(pages, 3);
    free_bytes(row);
}

/* By age go plain hints alone. */
static void test_age(void **state)
{
    struct place *place = *state;
    struct kith_bytes row = elsewhere(place, "v");
    struct kith_hint_want plain = want_of(2, false), custody = want_of(2, true);
    struct kith_store_op op = {.id = 6, .kind = KITH_STORE_HINT_DROP};
    struct kith_group group = group_of(GROUP);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(merge_hint(place, names[i], row, i % 2 == 0 ? &plain : &custody),
                         KITH_OK);
    }
    op.partition = kith_group_partition(&group, PARTITIONS);
    op.u.hint_drop.before_ms = 1000; /* no older */
    assert_int_equal(ask(place, &op)->u.absorb.changed, 0);
    op.u.hint_drop.before_ms = 1001;
    assert_int_equal(ask(place, &op)->u.absorb.changed, 3);
    assert_int_equal(ask(place, &op)->u.absorb.changed, 0);
    counts_are(place, 3, 3, 0);
    assert_int_equal(page_rows(place, 2), 3);
    free_bytes(row);
}

/* As a reader asks a stand-in: what is kept, in order. */
static void test_scan(void **state)
{
    struct place *place = *state;
    struct kith_bytes row = elsewhere(place, "v");
    struct kith_hint_want want = want_of(2, false);
    struct kith_store_op op = {.id = 7, .kind = KITH_STORE_SCAN};
    put_text(place, GROUP, "own", "x");
    assert_int_equal(merge_hint(place, "b", row, &want), KITH_OK);
    assert_int_equal(merge_hint(place, "a", row, &want), KITH_OK);
    op.u.scan.group = group_of(GROUP);
    op.partition = kith_group_partition(&op.u.scan.group, PARTITIONS);
    op.u.scan.hints = true;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.rows.row_count, 2);
    assert_true(kith_bytes_equal(done->u.rows.rows[0].name, text("a")));
    assert_true(kith_bytes_equal(done->u.rows.rows[1].state, row));
    op.u.scan.hints = false;
    assert_int_equal(ask(place, &op)->u.rows.row_count, 1);
    free_bytes(row);
}

int main(void)
{
    place_secret();
    for (uint8_t i = 0; i < 5; i++) {
        memset(nodes[i].bytes, i, sizeof nodes[i].bytes);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_custody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_actor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_thin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_age, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
