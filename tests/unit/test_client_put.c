/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_put.c - putting through the client's core: retries, refusals, and unknown
 * outcomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client_world.h"

static void test_put_retry(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_mute = true; /* carried out, the answer is lost */
    uint64_t start = w->now;
    uint64_t tag = world_put(w, "a", "one", 0);
    assert_false(w->nodes[0].last_retry);
    world_pass(w, 1000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 400, 410);
    assert_true(w->nodes[1].last_retry);
    assert_memory_equal(&w->nodes[0].last_request, &w->nodes[1].last_request,
                        sizeof(w->nodes[0].last_request));
    /* the slow one is not asked first any more; a new put has a new id */
    struct kith_request_id first = w->nodes[1].last_request;
    tag = world_put(w, "b", "one", 0);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_memory_not_equal(&first, &w->nodes[1].last_request, sizeof(first));
}

static uint32_t siblings_on(struct client_world *w, uint32_t node, const char *name)
{
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_bytes state = world_row_state(world_row(&w->nodes[node], text(name)));
    assert_int_equal(KITH_OK, kith_row_decode(&arena, state, &row));
    uint32_t count = row.sibling_count;
    kith_arena_release(&arena);
    return count;
}

/* A put that is carried out at two coordinators draws two dots. When what the answer told of has
 * been replaced, the other is no file that is back (invariant 9), and goes: other clients cannot
 * tell it from a file, and the nodes may not know any more what it is. While it has not, both are
 * one write. */
static void test_put_twin(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_mute = true; /* carried out there alone, and it ends */
    w->nodes[0].put_copies = 1;
    w->nodes[1].put_copies = 6;
    uint64_t tag = world_put(w, "a", "one", 0);
    world_set_mode(w, 0, DEAD);
    world_pass(w, 1000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    const struct kith_client_result *written = world_done(w, tag)->result;
    struct kith_put_update update = {.name = text("a"),
                                     .context = written->u.put.results[0].context};
    for (uint32_t replaced = 0; replaced < 2; replaced++) {
        if (replaced == 1) {
            world_set_mode(w, 0, DEAD);
            struct kith_client_op removal = {.kind = KITH_CLIENT_PUT};
            removal.u.put.group = WORLD_GROUP;
            removal.u.put.update_count = 1;
            removal.u.put.updates = &update;
            assert_int_equal(KITH_OK, world_err(w, world_submit(w, &removal)));
        }
        world_set_mode(w, 0, ALIVE);
        world_pass(w, 5000);
        world_set_mode(w, 2, DEAD); /* node 0 is one of those that answer */
        assert_string_equal(replaced == 1 ? "" : "one+one",
                            world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 0)));
        uint32_t pages;
        assert_string_equal(replaced == 1 ? "" : "a ", world_scan_all(w, 0, &pages));
        world_set_mode(w, 2, ALIVE);
        world_pass(w, 5000);
        assert_int_equal(replaced == 1 ? 0 : 1, siblings_on(w, 0, "a"));
        assert_int_equal(0, kith_client_core_pending(w->core));
    }
}

/* What goes is the twin alone: what another client wrote meanwhile stays,
 * and what it did not keep. */
static void test_put_twin_goes(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_mute = true;
    w->nodes[0].put_copies = 1;
    w->nodes[1].put_copies = 6;
    uint64_t tag = world_put(w, "a", "one", 0);
    world_set_mode(w, 0, DEAD);
    world_pass(w, 1000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    world_write_on(w, 1, "a", "two"); /* over it */
    world_copy_row(w, 1, 2, "a");
    w->nodes[0].put_mute = false;
    w->nodes[0].put_copies = 7;
    world_set_mode(w, 0, ALIVE);
    world_pass(w, 5000);
    world_set_mode(w, 2, DEAD);
    uint32_t puts = w->nodes[0].puts + w->nodes[1].puts;
    assert_string_equal("two", world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 0)));
    assert_int_equal(puts + 1, w->nodes[0].puts + w->nodes[1].puts);
    for (uint32_t node = 0; node < WORLD_NODES; node++) {
        assert_int_equal(1, siblings_on(w, node, "a"));
    }
    world_set_mode(w, 2, ALIVE);
    world_pass(w, 5000);
    assert_string_equal("two", world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 0)));
    assert_int_equal(puts + 1, w->nodes[0].puts + w->nodes[1].puts); /* once */
}

static void test_put_lost_connection(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_silent = true;
    uint64_t start = w->now;
    uint64_t tag = world_put(w, "a", "one", 0);
    assert_null(world_done(w, tag));
    world_set_mode(w, 0, DEAD);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(start, world_done(w, tag)->at_ms);
    assert_true(w->nodes[1].last_retry);
}

static void freeze_all_but(struct client_world *w, uint32_t node)
{
    for (uint32_t i = 0; i < WORLD_MEMBERS; i++) {
        world_set_mode(w, i, i == node ? ALIVE : FROZEN);
    }
}

/* All owners are silent, and who could stand in but one: he is found after one silence, and at once
 * by the next put. */
static void test_put_all_silent(void **state)
{
    struct client_world *w = *state;
    for (uint32_t alive = 3; alive < WORLD_MEMBERS; alive++) {
        freeze_all_but(w, alive);
        uint64_t start = w->now;
        uint64_t tag = world_put(w, "a", "one", 3000);
        world_pass(w, 3000);
        assert_int_equal(KITH_OK, world_err(w, tag));
        assert_in_range(world_done(w, tag)->at_ms - start, 400, 650);
        assert_int_equal(1, w->nodes[alive].puts);
        start = w->now;
        tag = world_put(w, "b", "one", 3000);
        world_pass(w, 100);
        assert_int_equal(KITH_OK, world_err(w, tag));
        assert_int_equal(start, world_done(w, tag)->at_ms);
        for (uint32_t i = 0; i < WORLD_MEMBERS; i++) {
            world_set_mode(w, i, ALIVE);
            w->nodes[i].puts = 0;
        }
        world_pass(w, 120000); /* all is forgotten */
    }
}

/* Silence is what counts: one that is only late is passed over, and nobody is put behind others for
 * having had nothing to say. An owner that lives comes before who stands in. */
static void test_put_owner_first(void **state)
{
    struct client_world *w = *state;
    freeze_all_but(w, 2);
    world_set_mode(w, 3, ALIVE);
    uint64_t start = w->now;
    uint64_t tag = world_put(w, "a", "one", 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 400, 650);
    assert_int_equal(1, w->nodes[2].puts);
    assert_int_equal(0, w->nodes[3].puts);
}

static void test_put_unknown(void **state)
{
    struct client_world *w = *state;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_silent = true;
    }
    uint64_t tag = world_put(w, "a", "one", 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
    /* one may have it, the others refuse: still unknown */
    w->nodes[0].put_silent = false;
    w->nodes[0].put_mute = true;
    w->nodes[1].put_silent = w->nodes[2].put_silent = false;
    w->nodes[1].put_err = w->nodes[2].put_err = KITH_ENOSPC;
    world_pass(w, 60000);
    tag = world_put(w, "a", "one", 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
    /* the same with a verdict that ends it at once */
    w->nodes[1].put_err = w->nodes[2].put_err = KITH_ELIMIT;
    w->nodes[1].put_silent = w->nodes[2].put_silent = false;
    world_pass(w, 60000);
    tag = world_put(w, "a", "one", 3000);
    world_pass(w, 1000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
}

/* The user puts the same again under the same id: a retry from the first try on, and never refused.
 */
static void test_put_again(void **state)
{
    struct client_world *w = *state;
    struct kith_put_update update = {.name = text("a"), .has_sibling = true, .value = text("one")};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = 3000};
    op.u.put.group = WORLD_GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    op.u.put.request = kith_client_core_request_id(w->core);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_silent = true;
    }
    uint64_t tag = world_submit(w, &op);
    assert_false(w->nodes[0].last_retry);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
    op.u.put.again = true;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_silent = false;
        w->nodes[i].put_err = KITH_ENOSPC;
    }
    world_pass(w, 60000);
    tag = world_submit(w, &op);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_err = KITH_OK;
        w->nodes[i].last_retry = false;
        memset(&w->nodes[i].last_request, 0, sizeof(w->nodes[i].last_request));
    }
    world_pass(w, 60000);
    assert_int_equal(KITH_OK, world_err(w, world_submit(w, &op)));
    uint32_t asked = 0;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        asked += w->nodes[i].last_retry && memcmp(&w->nodes[i].last_request, &op.u.put.request,
                                                  sizeof(op.u.put.request)) == 0;
    }
    assert_int_equal(1, asked);
}

/* What a node says of itself, as that its disk fails, is told, also when the others and it are
 * silent afterwards. */
static void test_put_reason(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_err = KITH_EIO;
    w->nodes[1].put_silent = w->nodes[2].put_silent = true;
    uint64_t tag = world_put(w, "a", "one", 3000);
    world_set_mode(w, 0, DEAD);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
    assert_non_null(strstr(world_done(w, tag)->result->message, "n0:1: as scripted"));
}

static void test_put_refused(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_err = KITH_ENOSPC; /* never refused while any node can take it */
    uint64_t tag = world_put(w, "a", "one", 0);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_false(w->nodes[1].last_retry);
    w->nodes[1].put_err = w->nodes[2].put_err = KITH_ENOSPC;
    tag = world_put(w, "a", "one", 0);
    assert_int_equal(KITH_ENOSPC, world_err(w, tag));
    w->nodes[0].put_err = w->nodes[1].put_err = w->nodes[2].put_err = KITH_ELIMIT;
    uint32_t before = w->nodes[0].puts + w->nodes[1].puts + w->nodes[2].puts;
    tag = world_put(w, "a", "one", 0);
    assert_int_equal(KITH_ELIMIT, world_err(w, tag));
    assert_int_equal(before + 1, w->nodes[0].puts + w->nodes[1].puts + w->nodes[2].puts);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world_set_mode(w, i, DEAD);
    }
    tag = world_put(w, "a", "one", 1000);
    world_pass(w, 1000);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag)); /* nothing was sent */
}

/* Answers every put with own->results[own->which]. */
struct liar {
    struct kith_put_result results[3];
    uint32_t which;
};

static bool lie(struct client_world *w, uint64_t conn, uint32_t node, const struct kith_msg *msg)
{
    const struct liar *liar = w->own;
    (void)node;
    if (msg->kind != KITH_MSG_PUT_REQ) {
        return false;
    }
    struct kith_put_res *res = &world_answer(w, conn, KITH_MSG_PUT_RES, msg->id)->u.put_res;
    res->copies = res->owners = 1; /* too few: the client keeps the row */
    res->result_count = 1;
    res->results = world_keep(w, &liar->results[liar->which], sizeof(liar->results[0]));
    return true;
}

/* A node that tells of a row without the dot that it has given, or with another's sibling under it:
 * the client does not know what became of the write, and goes on. */
static void test_put_nonsense(void **state)
{
    struct client_world *w = *state;
    struct kith_clock_entry entry = {{100, 1}, 7};
    struct kith_sibling other = {.dot = {{100, 1}, 7}, .value = text("x")};
    struct kith_row bare = {{1, &entry}, 0, NULL}, taken = {{1, &entry}, 1, &other};
    struct kith_buf bare_bytes, taken_bytes;
    kith_buf_init(&bare_bytes);
    kith_buf_init(&taken_bytes);
    kith_row_encode(&bare, &bare_bytes);
    kith_row_encode(&taken, &taken_bytes);
    struct liar liar = {{{{{200, 1}, 1}, kith_buf_bytes(&bare_bytes), 5}, /* unknown to the clock */
                         {{{100, 1}, 8}, kith_buf_bytes(&bare_bytes), 5}, /* above it */
                         {{{100, 1}, 7}, kith_buf_bytes(&taken_bytes), 5}}, /* there already */
                        0};
    w->own = &liar;
    w->on_message = lie;
    for (liar.which = 0; liar.which < 3; liar.which++) {
        assert_int_equal(KITH_EUNKNOWN, world_err(w, world_put(w, "a", "one", 1000)));
    }
    w->on_message = NULL;
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "a", "two", 1000)));
    kith_buf_release(&bare_bytes);
    kith_buf_release(&taken_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_retry, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_again, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_twin, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_twin_goes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_lost_connection, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_all_silent, world_setup_many, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_owner_first, world_setup_many, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_unknown, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_reason, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_put_nonsense, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
