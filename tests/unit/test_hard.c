/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_hard.c - requests of a hard client wait until the cluster answers, and are one request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client_world.h"

#define ALL_KINDS 5u

static void modes_set(struct client_world *w, enum world_mode mode)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world_set_mode(w, i, mode);
    }
}

static void submit_all(struct client_world *w, uint64_t tags[ALL_KINDS])
{
    tags[0] = world_get(w, "here", KITH_LEVEL_QUORUM, 1000);
    tags[1] = world_scan(w, NULL, 0, 1000);
    tags[2] = world_put(w, "new", "one", 1000);
    tags[3] = world_chunk_put(w, 1000);
    tags[4] = world_chunk_get(w, 0, 1000);
}

static uint32_t waiting(struct client_world *w)
{
    const char *why = NULL;
    uint32_t count = kith_client_core_parked(w->core, &why);
    assert_true(count == 0 || *why != '\0');
    return count;
}

static void set_hard(struct client_world *w, bool hard)
{
    kith_client_core_hard(w->core, hard);
    struct kith_client_event tick = {.kind = KITH_CLIENT_EVENT_TICK};
    assert_int_equal(world_step(w, &tick), KITH_OK);
}

/* They wait for a minute, sixty times what each attempt may take, and go on by themselves. */
static void all_wait(struct client_world *w, enum world_mode mode)
{
    uint64_t tags[ALL_KINDS];
    world_write_all(w, "here", "there");
    assert_int_equal(KITH_OK, world_err(w, world_chunk_put(w, 0)));
    set_hard(w, true);
    modes_set(w, mode);
    submit_all(w, tags);
    bool parked = false;
    for (uint32_t i = 0; i < 60; i++) {
        world_pass(w, 1000);
        parked = parked || waiting(w) == ALL_KINDS;
        for (uint32_t k = 0; k < ALL_KINDS; k++) {
            assert_null(world_done(w, tags[k]));
        }
    }
    assert_true(parked); /* all at the same time, at times */
    assert_int_equal(kith_client_core_pending(w->core), ALL_KINDS);
    modes_set(w, ALIVE);
    world_pass(w, 5000);
    for (uint32_t k = 0; k < ALL_KINDS; k++) {
        assert_int_equal(KITH_OK, world_err(w, tags[k]));
    }
    assert_string_equal(world_values(w, tags[0]), "there");
    assert_string_equal(world_values(w, world_get(w, "new", KITH_LEVEL_QUORUM, 0)), "one");
    assert_int_equal(kith_client_core_pending(w->core), 0);
    assert_int_equal(waiting(w), 0);
}

static void test_dead(void **state)
{
    all_wait(*state, DEAD);
}

static void test_frozen(void **state)
{
    all_wait(*state, FROZEN);
}

/* Whether an attempt was carried out nobody says: every one bears the same id, and says that it is
 * a retry. */
static void test_one_write(void **state)
{
    struct client_world *w = *state;
    set_hard(w, true);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_silent = true;
    }
    uint64_t tag = world_put(w, "a", "one", 1000);
    struct kith_request_id id = w->nodes[0].last_request;
    world_pass(w, 30000);
    assert_null(world_done(w, tag));
    assert_true(w->nodes[0].puts + w->nodes[1].puts + w->nodes[2].puts > 20);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        assert_true(w->nodes[i].puts == 0 || w->nodes[i].last_retry);
        assert_true(w->nodes[i].puts == 0 ||
                    memcmp(&w->nodes[i].last_request, &id, sizeof id) == 0);
        w->nodes[i].put_silent = false;
    }
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    uint64_t other = world_put(w, "b", "one", 1000);
    assert_int_equal(KITH_OK, world_err(w, other));
    assert_memory_not_equal(&w->nodes[0].last_request, &id, sizeof id);
}

/* What is refused for good is not waited for; also not by who does not know what became of an
 * earlier attempt. */
static void test_refused(void **state)
{
    struct client_world *w = *state;
    static const enum kith_err errs[] = {KITH_ENOSPC, KITH_ELIMIT, KITH_ETOOBIG, KITH_EPERM,
                                         KITH_EREFUSED};
    set_hard(w, true);
    for (uint32_t e = 0; e < sizeof errs / sizeof errs[0]; e++) {
        for (uint32_t i = 0; i < WORLD_NODES; i++) {
            w->nodes[i].put_err = errs[e];
        }
        assert_int_equal(errs[e], world_err(w, world_put(w, "a", "one", 1000)));
    }
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_err = KITH_OK;
        w->nodes[i].put_silent = true;
    }
    uint64_t tag = world_put(w, "a", "one", 1000);
    world_pass(w, 5000);
    assert_null(world_done(w, tag));
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].put_silent = false;
        w->nodes[i].put_err = KITH_ENOSPC;
    }
    world_pass(w, 5000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
}

static void test_soft(void **state)
{
    struct client_world *w = *state;
    set_hard(w, true);
    modes_set(w, DEAD);
    const struct kith_bytes name = text("a");
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .timeout_ms = 1000, .soft = true};
    op.u.get.group = WORLD_GROUP;
    op.u.get.names = &name;
    op.u.get.name_count = 1;
    uint64_t get = world_submit(w, &op);
    struct kith_client_op question = {.kind = KITH_CLIENT_STATUS, .timeout_ms = 1000};
    uint64_t status = world_submit(w, &question);
    world_pass(w, 1001);
    assert_int_equal(KITH_EUNREACH, world_err(w, get));
    assert_int_equal(KITH_EUNREACH, world_err(w, status));
}

/* At the end of a mount. */
static void test_hard_no_more(void **state)
{
    struct client_world *w = *state;
    uint64_t tags[ALL_KINDS];
    set_hard(w, true);
    modes_set(w, DEAD);
    submit_all(w, tags);
    do {
        world_pass(w, 10);
    } while (waiting(w) < ALL_KINDS);
    uint64_t before = w->now;
    set_hard(w, false);
    for (uint32_t k = 0; k < ALL_KINDS; k++) {
        assert_int_equal(KITH_EUNREACH, world_err(w, tags[k]));
        assert_int_equal(world_done(w, tags[k])->at_ms, before);
    }
    uint64_t later = world_get(w, "here", KITH_LEVEL_QUORUM, 1000);
    world_pass(w, 1001);
    assert_int_equal(KITH_EUNREACH, world_err(w, later));
}

static void test_canceled(void **state)
{
    struct client_world *w = *state;
    uint64_t tags[ALL_KINDS];
    set_hard(w, true);
    modes_set(w, DEAD);
    submit_all(w, tags);
    do {
        world_pass(w, 10);
    } while (waiting(w) < ALL_KINDS);
    struct kith_client_event cancel = {.kind = KITH_CLIENT_EVENT_CANCEL, .tag = tags[1]};
    assert_int_equal(world_step(w, &cancel), KITH_OK);
    assert_int_equal(KITH_ECANCELED, world_err(w, tags[1]));
    assert_null(world_done(w, tags[0]));
    assert_int_equal(waiting(w), ALL_KINDS - 1);
    cancel.all = true;
    assert_int_equal(world_step(w, &cancel), KITH_OK);
    for (uint32_t k = 0; k < ALL_KINDS; k++) {
        assert_int_equal(KITH_ECANCELED, world_err(w, tags[k]));
    }
    assert_int_equal(kith_client_core_pending(w->core), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dead, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_frozen, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_one_write, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_soft, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_hard_no_more, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_canceled, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
