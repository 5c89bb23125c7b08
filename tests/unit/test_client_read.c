/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_read.c - reading rows through the client's core: quorums, digests, nodes that are
 * slow or gone, and scans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client_world.h"

static void test_get_quorum(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", world_values(w, tag));
    assert_false(world_done(w, tag)->result->degraded);
    assert_int_equal(1, w->nodes[0].gets);
    assert_int_equal(1, w->nodes[1].digests);
    assert_int_equal(0, w->nodes[1].gets + w->nodes[2].gets + w->nodes[2].digests);
    tag = world_get(w, "never", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("", world_values(w, tag));
    assert_true(kith_row_is_empty(&world_done(w, tag)->result->u.rows.rows[0].row));
    tag = world_get(w, "a", KITH_LEVEL_ALL, 0);
    assert_string_equal("one", world_values(w, tag));
}

static void test_get_mismatch(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "old");
    world_write_on(w, 1, "a", "new");
    assert_string_equal("new", world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 0)));
    assert_int_equal(1, w->nodes[1].gets); /* the differing row in full */
    assert_int_equal(1, w->nodes[0].repairs);
    assert_int_equal(1, w->nodes[0].last_repair_from);
    assert_int_equal(0, w->nodes[1].repairs);
    /* concurrent: both siblings, and each learns from the other */
    world_write_on(w, 0, "b", "left");
    world_write_on(w, 1, "b", "right");
    assert_string_equal("left+right", world_values(w, world_get(w, "b", KITH_LEVEL_QUORUM, 0)));
    assert_int_equal(2, w->nodes[0].repairs);
    assert_int_equal(1, w->nodes[1].repairs);
    /* only the second has it */
    world_write_on(w, 1, "c", "lone");
    assert_string_equal("lone", world_values(w, world_get(w, "c", KITH_LEVEL_QUORUM, 0)));
}

/* The one that has the state falls silent after its digest, and the next is asked for a digest too:
 * the state comes from there, and never is the row said to be absent. */
static void test_get_digest_only(void **state)
{
    struct client_world *w = *state;
    world_write_on(w, 1, "a", "new");
    world_copy_row(w, 1, 2, "a");
    w->nodes[1].full_mute = true;
    uint64_t start = w->now;
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 5000);
    world_pass(w, 1000);
    assert_string_equal("new", world_values(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 50, 200);
}

static void test_get_many(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "1");
    world_write_all(w, "b", "2");
    world_write_on(w, 1, "b", "3");
    struct kith_bytes names[] = {text("a"), text("b"), text("z")};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = WORLD_GROUP;
    op.u.get.name_count = 3;
    op.u.get.names = names;
    struct world_done *done = world_done(w, world_submit(w, &op));
    assert_int_equal(KITH_OK, done->result->err);
    assert_int_equal(3, done->result->u.rows.row_count);
    const struct kith_client_row *rows = done->result->u.rows.rows;
    assert_memory_equal("1", rows[0].row.siblings[0].value.data, 1);
    assert_memory_equal("3", rows[1].row.siblings[0].value.data, 1);
    assert_true(kith_row_is_empty(&rows[2].row));
}

static void test_frozen(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    world_set_mode(w, 0, FROZEN);
    uint64_t start = w->now;
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    world_pass(w, 500);
    assert_string_equal("one", world_values(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 50, 60); /* one hedge */
    /* the second request comes before the node counts as slow, later ones do not ask it first */
    tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    world_pass(w, 500);
    for (uint32_t i = 0; i < 6; i++) {
        start = w->now;
        tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
        uint64_t written = world_put(w, "b", "x", 0);
        world_pass(w, 7000);
        assert_string_equal("one", world_values(w, tag));
        assert_int_equal(start, world_done(w, tag)->at_ms);
        assert_int_equal(KITH_OK, world_err(w, written));
        assert_int_equal(start, world_done(w, written)->at_ms);
    }
    world_set_mode(w, 0, ALIVE); /* a probe finds it */
    world_pass(w, 40000);
    uint32_t before = w->nodes[0].gets;
    (void)world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_int_equal(before + 1, w->nodes[0].gets);
}

static void test_dead(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    world_set_mode(w, 0, DEAD);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", world_values(w, tag)); /* at once */
    assert_false(world_done(w, tag)->result->degraded);
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "a", "two", 0)));
    world_set_mode(w, 1, DEAD);
    assert_false(kith_client_core_writable(w->core, &WORLD_GROUP));
    tag = world_get(w, "c", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("", world_values(w, tag));
    assert_true(world_done(w, tag)->result->degraded);
    world_set_mode(w, 2, DEAD);
    tag = world_get(w, "a", KITH_LEVEL_QUORUM, 2000);
    world_pass(w, 1999);
    assert_null(world_done(w, tag));
    world_pass(w, 1);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag));
    /* all come back: the client finds them by itself */
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world_set_mode(w, i, ALIVE);
    }
    tag = world_get(w, "c", KITH_LEVEL_QUORUM, 0);
    world_pass(w, 3000);
    assert_string_equal("", world_values(w, tag));
    assert_true(kith_client_core_writable(w->core, &WORLD_GROUP));
}

/* A node that is back is found before an answer degrades or a put is given up, not after the
 * back-off: nodes that are restarted one after the other never leave too few. */
static void test_restarted_in_turn(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    for (uint32_t turn = 0; turn < 6; turn++) {
        uint32_t back = turn % WORLD_NODES, next = (turn + 1) % WORLD_NODES;
        world_set_mode(w, back, DEAD);
        world_pass(w, 9000 + turn * 300); /* the back-off is at its longest, at any place in it */
        world_set_mode(w, back, ALIVE);
        world_pass(w, 60);
        world_set_mode(w, next, DEAD);
        uint64_t reads[2] = {world_get(w, "a", KITH_LEVEL_QUORUM, 0), world_scan(w, NULL, 0, 0)};
        uint64_t written = world_put(w, "a", "one", 0);
        world_pass(w, 10);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(KITH_OK, world_err(w, reads[i]));
            assert_false(world_done(w, reads[i])->result->degraded);
        }
        assert_int_equal(KITH_OK, world_err(w, written));
        world_set_mode(w, next, ALIVE);
        world_pass(w, 5000);
    }
}

/* What asks for it is never answered by fewer than a quorum: it waits for one, unless too few have
 * been there for long. */
static void test_strict(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    world_set_mode(w, 0, DEAD);
    world_set_mode(w, 1, DEAD);
    for (uint32_t i = 0; i < 4; i++) {
        struct kith_bytes names[] = {text("a")};
        struct kith_client_op op = {
            .kind = KITH_CLIENT_GET, .timeout_ms = 2000, .strict = i < 2};
        op.u.get.group = WORLD_GROUP;
        op.u.get.name_count = 1;
        op.u.get.names = names;
        if (i % 2 == 1) {
            memset(&op.u, 0, sizeof(op.u));
            op.kind = KITH_CLIENT_SCAN;
            op.u.scan.group = WORLD_GROUP;
        }
        uint64_t tag = world_submit(w, &op);
        world_pass(w, 1999);
        if (!op.strict) {
            assert_int_equal(KITH_OK, world_err(w, tag));
            assert_true(world_done(w, tag)->result->degraded);
            continue;
        }
        assert_null(world_done(w, tag));
        world_pass(w, 1);
        assert_int_equal(KITH_ETIMEOUT, world_err(w, tag));
        tag = world_submit(w, &op);
        world_set_mode(w, 1, ALIVE);
        world_pass(w, 1999);
        assert_int_equal(KITH_OK, world_err(w, tag));
        assert_false(world_done(w, tag)->result->degraded);
        world_set_mode(w, 1, DEAD);
    }
    world_pass(w, 4000); /* they will not be back at once */
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .timeout_ms = 9000, .strict = true};
    op.u.scan.group = WORLD_GROUP;
    uint64_t tag = world_submit(w, &op);
    world_pass(w, 100);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag));
    assert_non_null(strstr(world_done(w, tag)->result->message, "1 of the 2 owners"));
}

static void test_not_ready_has_no_vote(void **state)
{
    struct client_world *w = *state;
    world_write_on(w, 1, "a", "one");
    world_copy_row(w, 1, 2, "a");
    w->nodes[0].get_err = KITH_ENOTREADY;
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", world_values(w, tag));
    assert_false(world_done(w, tag)->result->degraded);
}

/* What a certificate does not allow is told at once, not at the deadline. */
static void test_denied(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].get_err = KITH_EPERM;
    }
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 10000);
    world_pass(w, 1);
    assert_int_equal(KITH_EPERM, world_err(w, tag));
    tag = world_get(w, "a", KITH_LEVEL_QUORUM, 10000);
    world_pass(w, 1); /* and no node is slow or gone for that */
    assert_int_equal(KITH_EPERM, world_err(w, tag));
}

static void test_stale_table(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "one");
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].stale = true;
    }
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", world_values(w, tag));
    assert_int_equal(2, kith_client_core_table(w->core)->id.version);
    assert_int_equal(1, w->nodes[2].gets); /* the first owner of the newer table */
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].stale = false;
        w->nodes[i].put_err = KITH_ESTALE; /* but no newer table: asked again, until the deadline */
    }
    tag = world_put(w, "a", "two", 1000);
    world_pass(w, 999);
    assert_null(world_done(w, tag));
    world_pass(w, 1);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag));
}

static void test_scan_pages(void **state)
{
    struct client_world *w = *state;
    uint32_t pages;
    assert_string_equal("", world_scan_all(w, 0, &pages));
    for (const char *name = "abcdefghijkl"; *name != '\0'; name++) {
        char one[2] = {*name, '\0'};
        world_write_all(w, one, "x");
    }
    world_write_on(w, 0, "bb", "only on 0");
    world_write_on(w, 1, "ee", "only on 1");
    world_write_on(w, 1, "c", NULL); /* deleted on one: the tombstone wins */
    static const char *const all = "a b bb d e ee f g h i j k l ";
    assert_string_equal(all, world_scan_all(w, 0, &pages));
    assert_int_equal(1, pages);
    assert_true(w->nodes[0].repairs > 0 && w->nodes[1].repairs > 0);
    for (uint32_t zero = 1; zero < 7; zero++) { /* pages that end at different names */
        for (uint32_t one = 1; one < 7; one++) {
            w->nodes[0].page_rows = zero;
            w->nodes[1].page_rows = one;
            assert_string_equal(all, world_scan_all(w, 0, &pages));
            assert_string_equal(all, world_scan_all(w, 3, &pages));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get_quorum, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_get_mismatch, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_get_digest_only, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_get_many, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_frozen, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_dead, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_restarted_in_turn, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_strict, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_not_ready_has_no_vote, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_denied, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_stale_table, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_scan_pages, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
