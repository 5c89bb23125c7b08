/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_session.c - what one client wrote or read it reads from then on (invariant 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "client/core.h"
#include "lib/client_world.h"

static void test_session_own_writes(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "old");
    w->nodes[0].put_copies = 1; /* W owners had it; but 0 they have lost it (a power loss) */
    w->nodes[0].put_owners = 2;
    struct kith_bytes context = world_row_state(world_row(&w->nodes[0], text("a")));
    struct kith_put_update update = {
        .name = text("a"), .has_sibling = true, .value = text("mine"), .context = context};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = WORLD_GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    assert_int_equal(KITH_OK, world_err(w, world_submit(w, &op)));
    world_set_mode(w, 0, DEAD);
    enum kith_level levels[] = {KITH_LEVEL_QUORUM, KITH_LEVEL_ONE};
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t tag = world_get(w, "a", levels[i], 2000);
        world_pass(w, 2000);
        assert_int_equal(KITH_ETIMEOUT, world_err(w, tag)); /* never the older state */
    }
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 5000);
    world_pass(w, 1000);
    assert_null(world_done(w, tag));
    world_set_mode(w, 0, ALIVE);
    world_pass(w, 3999);
    assert_non_null(strstr(world_values(w, tag), "mine"));
}

static void test_session_reads(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "old");
    world_write_on(w, 0, "a", "new"); /* a put that has reached one owner */
    assert_string_equal("new", world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 0)));
    world_set_mode(w, 0, DEAD);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 3000);
    world_pass(w, 500);
    assert_null(world_done(w, tag));
    world_copy_row(w, 0, 1, "a"); /* the repair reaches another */
    world_pass(w, 2499);
    assert_string_equal("new", world_values(w, tag));
    /* on a majority: forgotten, an owner that is behind is outvoted again */
    world_copy_row(w, 0, 2, "a");
    assert_string_equal("new", world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 0)));
}

/* What was read from one owner that then lost it: told once, by a get and by a scan alike, never
 * passed over in silence, and no error for good. */
static void test_session_lost(void **state)
{
    struct client_world *w = *state;
    for (uint32_t i = 0; i < 4; i++) {
        const char *name = i < 2 ? "a" : "b"; /* b: on no page, a: on one that is older */
        bool scans = i % 2 == 1;
        if (i < 2) {
            world_write_all(w, name, "old");
        }
        world_write_on(w, 0, name, "new");
        (void)world_values(w, world_get(w, name, KITH_LEVEL_QUORUM, 0));
        if (i < 2) {
            world_copy_row(w, 1, 0, name); /* a power loss at node 0, before the flush */
        } else {
            world_lose_row(w, 0, name);
        }
        uint64_t tag =
            scans ? world_scan(w, NULL, 0, 2000) : world_get(w, name, KITH_LEVEL_QUORUM, 2000);
        world_pass(w, 1900);
        assert_null(world_done(w, tag));
        world_pass(w, 100);
        assert_int_equal(KITH_EIO, world_err(w, tag));
        assert_non_null(strstr(world_done(w, tag)->result->message, "on no owner any more"));
        tag = world_get(w, name, KITH_LEVEL_QUORUM, 2000);
        assert_string_equal(i < 2 ? "old" : "", world_values(w, tag));
    }
}

/* Rounds of answers that were given before the session came to want what they lack are no sign of a
 * loss: here two of them, each overtaken by the answer of a put (sim seed 4586). */
static void test_session_overtaken(void **state)
{
    struct client_world *w = *state;
    for (uint32_t scans = 0; scans < 2; scans++) {
        const char *name = scans == 0 ? "a" : "b";
        world_write_all(w, name, "old");
        w->nodes[0].put_copies = 1; /* as above */
        w->nodes[0].put_owners = 2;
        struct kith_bytes names[] = {text(name)};
        struct kith_client_op read = {.kind = KITH_CLIENT_GET, .timeout_ms = 2000};
        read.u.get.group = WORLD_GROUP;
        read.u.get.name_count = 1;
        read.u.get.names = names;
        if (scans == 1) {
            memset(&read.u, 0, sizeof(read.u));
            read.kind = KITH_CLIENT_SCAN;
            read.u.scan.group = WORLD_GROUP;
        }
        struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = &read};
        uint64_t tag = event.tag = ++w->tag;
        assert_int_equal(KITH_OK, world_step(w, &event));
        for (uint32_t round = 0; round < 2; round++) {
            struct kith_put_update update = {
                .name = text(name), .has_sibling = true, .value = text(round == 0 ? "one" : "two")};
            update.context = world_row_state(world_row(&w->nodes[0], text(name)));
            struct kith_client_op put = {.kind = KITH_CLIENT_PUT};
            put.u.put.group = WORLD_GROUP;
            put.u.put.update_count = 1;
            put.u.put.updates = &update;
            world_submit_overtaking(w, &put);
            uint32_t asked = w->tail;
            while (round == 0 && w->tail == asked) { /* to the next round's asks */
                struct kith_client_event tick = {.kind = KITH_CLIENT_EVENT_TICK};
                w->now = w->deadline > w->now ? w->deadline : w->now;
                assert_int_equal(KITH_OK, world_step(w, &tick));
            }
        }
        world_set_mode(w, 0, DEAD);
        world_pass(w, 2000);
        assert_int_equal(KITH_ETIMEOUT, world_err(w, tag));
        world_set_mode(w, 0, ALIVE);
        world_pass(w, 3000);
        assert_non_null(strstr(world_values(w, world_get(w, name, KITH_LEVEL_QUORUM, 0)), "two"));
    }
}
/* What stand-ins took is kept until W owners have it, and is in every answer meanwhile: in a get,
 * in a scan (where no page has the row, too), with other people's versions beside it. */
static void test_session_kept(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "old");
    w->nodes[0].put_copies = 1; /* custody elsewhere: no other owner has it */
    struct kith_bytes context = world_row_state(world_row(&w->nodes[0], text("a")));
    struct kith_put_update update = {
        .name = text("a"), .has_sibling = true, .value = text("mine"), .context = context};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = WORLD_GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    assert_int_equal(KITH_OK, world_err(w, world_submit(w, &op)));
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "b", "fresh", 0)));
    world_set_mode(w, 0, DEAD);
    enum kith_level levels[] = {KITH_LEVEL_QUORUM, KITH_LEVEL_ONE};
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t tag = world_get(w, "a", levels[i], 2000);
        assert_non_null(strstr(world_values(w, tag), "mine"));
        assert_string_equal("fresh", world_values(w, world_get(w, "b", levels[i], 2000)));
    }
    uint32_t pages;
    assert_string_equal("a b ", world_scan_all(w, 0, &pages));
    world_set_mode(w, 2, DEAD); /* degraded, but not wrong */
    assert_string_equal("a b ", world_scan_all(w, 0, &pages));
    world_set_mode(w, 2, ALIVE);
    world_write_on(w, 1, "b", "theirs"); /* blind: concurrent */
    uint64_t tag = world_get(w, "b", KITH_LEVEL_QUORUM, 2000);
    assert_non_null(strstr(world_values(w, tag), "theirs"));
    assert_non_null(strstr(world_values(w, tag), "fresh"));
    /* handed over, and read by a quorum: nothing is kept any more */
    world_set_mode(w, 0, ALIVE);
    world_pass(w, 3000);
    for (uint32_t to = 1; to < 3; to++) {
        world_copy_row(w, 0, to, "a");
    }
    tag = world_get(w, "a", KITH_LEVEL_ALL, 2000); /* level ONE may meet any: all must have it */
    assert_non_null(strstr(world_values(w, tag), "mine"));
    for (uint32_t to = 0; to < 3; to++) {
        world_lose_row(w, to, "a");
    }
    world_pass(w, 10);
    assert_string_equal("", world_values(w, world_get(w, "a", KITH_LEVEL_QUORUM, 2000)));
}

/* The answer to a retry: somebody has read the write and replaced it meanwhile. It is not kept. */
static void test_session_replaced(void **state)
{
    struct client_world *w = *state;
    w->nodes[0].put_copies = 1;
    w->nodes[0].put_replaced = true;
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "c", "mine", 0)));
    world_set_mode(w, 0, DEAD);
    assert_string_equal("", world_values(w, world_get(w, "c", KITH_LEVEL_QUORUM, 2000)));
}

static void test_scan_session(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "x");
    world_write_all(w, "z", "x");
    w->nodes[0].put_copies = 1 | 4; /* 0 and 2 have it */
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "mine", "x", 0)));
    world_set_mode(w, 0, DEAD);
    uint32_t pages;
    assert_string_equal("a mine z ", world_scan_all(w, 0, &pages));
    world_set_mode(w, 2, DEAD); /* only 1 is left, which lacks it */
    uint64_t tag = world_scan(w, NULL, 0, 2000);
    world_pass(w, 2000);
    assert_int_equal(KITH_ETIMEOUT, world_err(w, tag));
    tag = world_scan(w, "n", 0, 2000); /* behind it: degraded, but not wrong */
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_true(world_done(w, tag)->result->degraded);
}

/* What most owners had when it was read, and the one that is left has not: an error, never less. */
static void test_session_past(void **state)
{
    struct client_world *w = *state;
    const char *const names[] = {"changed", "made", "deleted", "same"};
    world_write_all(w, "changed", "old");
    world_write_all(w, "deleted", "x");
    world_write_all(w, "same", "x");
    world_write_on(w, 0, "changed", "new");
    world_write_on(w, 0, "made", "x");
    world_write_on(w, 0, "deleted", NULL);
    for (uint32_t i = 0; i < 3; i++) {
        world_copy_row(w, 0, 1, names[i]);
    }
    world_set_mode(w, 2, DEAD);
    for (uint32_t i = 0; i < 4; i++) {
        (void)world_values(w, world_get(w, names[i], KITH_LEVEL_QUORUM, 0));
    }
    world_set_mode(w, 2, ALIVE);
    world_set_mode(w, 0, DEAD);
    world_set_mode(w, 1, DEAD);
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t tag = world_get(w, names[i], KITH_LEVEL_QUORUM, 2000);
        world_pass(w, 2000);
        assert_int_equal(i < 3 ? KITH_ETIMEOUT : KITH_OK, world_err(w, tag));
        assert_true(i < 3 || world_done(w, tag)->result->degraded);
    }
    uint64_t tag = world_scan(w, NULL, 0, 2000);
    world_pass(w, 2000);
    assert_int_equal(KITH_ETIMEOUT, world_err(w, tag)); /* an older row */
    world_copy_row(w, 0, 2, "changed");
    world_copy_row(w, 0, 2, "deleted");
    tag = world_scan(w, NULL, 0, 2000);
    world_pass(w, 2000);
    assert_int_equal(KITH_ETIMEOUT, world_err(w, tag)); /* one that is missing */
    world_set_mode(w, 1, ALIVE);
    world_pass(w, 5000);
    uint32_t pages;
    assert_string_equal("changed made same ", world_scan_all(w, 0, &pages));
}

/* Of too many rows those go first that most owners had when they were read, the oldest of them first. */
static void test_session_bound(void **state)
{
    (void)state;
    enum { OPEN = 10, PAST = 20 };
    struct cc_session session = {.now_ms = 1};
    struct kith_clock_entry entries[] = {{.counter = 3}};
    struct kith_clock clock = {1, entries};
    static const struct kith_row none;
    char name[24];
    assert_int_equal(cc_session_init(&session), KITH_OK);
    for (uint32_t i = 0; i < OPEN + KITH_SESSION_ROWS_MAX + PAST; i++) {
        struct kith_bytes bytes =
            kith_bytes_make(name, (size_t)snprintf(name, sizeof name, "%u", i));
        assert_true(i < OPEN
                        ? cc_session_note(&session, &WORLD_GROUP, bytes, &clock, false)
                        : cc_session_settle(&session, &WORLD_GROUP, bytes, &clock, false, 5));
        if (i == OPEN + 2) { /* read again */
            assert_true(cc_session_settle(&session, &WORLD_GROUP, text("11"), &clock, false, 5));
        }
    }
    assert_int_equal(session.count, KITH_SESSION_ROWS_MAX);
    for (uint32_t i = 0; i < OPEN + KITH_SESSION_ROWS_MAX + PAST; i++) {
        struct kith_bytes bytes =
            kith_bytes_make(name, (size_t)snprintf(name, sizeof name, "%u", i));
        bool any = !cc_session_covered(&session, CC_SESSION_ANY, &WORLD_GROUP, bytes, &none);
        assert_int_equal(any, i < OPEN || i >= OPEN + OPEN + PAST);
        assert_int_equal(!cc_session_covered(&session, 9, &WORLD_GROUP, bytes, &none), i < OPEN);
    }
    /* one that was wanted, and is seen on most owners, binds those that had begun, until they end */
    assert_true(cc_session_settle(&session, &WORLD_GROUP, text("0"), &clock, false, 5));
    for (uint32_t swept = 0; swept < 2; swept++) {
        bool covered = cc_session_covered(&session, 5, &WORLD_GROUP, text("0"), &none);
        assert_int_equal(covered, swept == 1);
        assert_true(cc_session_covered(&session, 6, &WORLD_GROUP, text("0"), &none));
        assert_false(
            cc_session_covered(&session, CC_SESSION_ANY, &WORLD_GROUP, text("0"), &none));
        cc_session_sweep(&session, 6);
    }
    cc_session_forget(&session, 1000, 999);
    assert_int_equal(session.count, 0);
    cc_session_release(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_session_own_writes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_reads, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_lost, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_overtaken, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_kept, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_replaced, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_scan_session, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_past, world_setup, world_teardown),
        cmocka_unit_test(test_session_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
