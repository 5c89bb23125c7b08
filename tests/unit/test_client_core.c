/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_core.c - the client's core as a whole: its start, its limits, and nodes that come and
 * go at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/client_world.h"

static void test_status(void **state)
{
    struct client_world *w = *state;
    struct kith_client_op op = {.kind = KITH_CLIENT_STATUS};
    struct world_done *done = world_done(w, world_submit(w, &op));
    assert_int_equal(KITH_OK, done->result->err);
    assert_string_equal("fake", done->result->u.status->node.cluster_name);
    char address[8];
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        (void)snprintf(address, sizeof(address), "n%u:1", i);
        op.u.status.address = address;
        uint64_t tag = world_submit(w, &op);
        world_pass(w, 100);
        done = world_done(w, tag);
        assert_non_null(done);
        struct kith_uuid uuid = world_uuid(i);
        assert_memory_equal(&uuid, &done->result->u.status->node.node, sizeof(uuid));
    }
    world_set_mode(w, 2, DEAD);
    world_pass(w, 1000);
    uint64_t tag = world_submit(w, &op);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag));
    assert_string_equal("n2:1: connection refused", world_done(w, tag)->result->message);
}

static void test_before_table(void **state)
{
    struct client_world *w = world_new();
    *state = w;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].mode = DEAD;
    }
    world_start(w);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 500);
    world_pass(w, 500);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag));
    char reasons[128];
    kith_client_core_reasons(w->core, reasons, sizeof(reasons));
    assert_string_equal("n0:1: connection refused, n1:1: connection refused", reasons);
    w->nodes[1].mode = w->nodes[2].mode = ALIVE;
    tag = world_get(w, "a", KITH_LEVEL_QUORUM, 5000);
    world_pass(w, 5000);
    assert_string_equal("", world_values(w, tag));
}

/* That nobody is at the servers is said only of all of them, and not while one is only silent. */
static void test_turned_down(void **state)
{
    struct client_world *w = world_new();
    *state = w;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].mode = DEAD;
    }
    w->nodes[1].mode = FROZEN;
    assert_true(kith_client_core_turned_down(w->core) == UINT64_MAX);
    world_start(w);
    world_pass(w, 1000);
    assert_true(kith_client_core_turned_down(w->core) == UINT64_MAX);
    world_set_mode(w, 1, DEAD); /* the end of a connection that stood turns nobody down */
    uint64_t dead_ms = w->now;
    assert_true(kith_client_core_turned_down(w->core) == UINT64_MAX);
    world_pass(w, 5000);
    assert_in_range(kith_client_core_turned_down(w->core), dead_ms + 1, dead_ms + 200);
    w->nodes[1].mode = FROZEN; /* it comes up, slowly */
    world_pass(w, 2000);
    assert_true(kith_client_core_turned_down(w->core) == UINT64_MAX);
    w->nodes[1].mode = ALIVE;
    world_pass(w, 5000);
    assert_true(kith_client_core_ready(w->core));
    assert_true(kith_client_core_turned_down(w->core) == UINT64_MAX);
}

/* A member so new that nobody knows where it listens: asked for until somebody does. */
static void test_placeless(void **state)
{
    struct client_world *w = world_new();
    *state = w;
    w->placeless = true;
    world_start(w);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_ALL, 5000);
    world_pass(w, 2000);
    assert_null(world_done(w, tag));
    w->placeless = false;
    world_pass(w, 1500);
    assert_string_equal("", world_values(w, tag));
}

static void test_limits(void **state)
{
    struct client_world *w = *state;
    struct kith_bytes names[] = {text("a")};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .timeout_ms = 5000};
    op.u.get.names = names;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = &op};
    assert_int_equal(KITH_EINVAL, world_step(w, &event)); /* no name */
    op.u.get.name_count = 1;
    names[0].size = KITH_NAME_MAX + 1;
    assert_int_equal(KITH_EINVAL, world_step(w, &event));
    names[0].size = 1;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world_set_mode(w, i, FROZEN);
    }
    for (uint32_t i = 0; i < KITH_CLIENT_OPS_MAX; i++) {
        event.tag = ++w->tag;
        assert_int_equal(KITH_OK, world_step(w, &event));
    }
    assert_int_equal(KITH_ELIMIT, world_step(w, &event));
    struct kith_client_event cancel = {.kind = KITH_CLIENT_EVENT_CANCEL, .tag = w->tag};
    assert_int_equal(KITH_OK, world_step(w, &cancel));
    assert_int_equal(1, w->done_count);
    assert_int_equal(KITH_ECANCELED, world_err(w, w->tag));
    cancel.all = true;
    assert_int_equal(KITH_OK, world_step(w, &cancel));
    assert_int_equal(KITH_CLIENT_OPS_MAX, w->done_count);
    assert_int_equal(0, kith_client_core_pending(w->core));
}

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* Nodes die, freeze and come back at random: every request ends once, by its deadline. */
static void test_random(void **state)
{
    struct client_world *w = *state;
    uint64_t seed = 42;
    uint64_t until[512];
    uint64_t tags[512];
    for (uint32_t i = 0; i < 512; i++) {
        uint64_t node = draw(&seed) % WORLD_NODES;
        if (draw(&seed) % 8 == 0) {
            world_set_mode(w, (uint32_t)node, (enum world_mode)(draw(&seed) % 3));
        }
        uint32_t timeout_ms = 1 + (uint32_t)(draw(&seed) % 3000);
        uint64_t what = draw(&seed) % 5;
        until[i] = w->now + timeout_ms;
        tags[i] = what == 0   ? world_get(w, "r", KITH_LEVEL_QUORUM, timeout_ms)
                  : what == 1 ? world_put(w, "r", "v", timeout_ms)
                  : what == 2 ? world_scan(w, NULL, 0, timeout_ms)
                  : what == 3 ? world_chunk_put(w, timeout_ms)
                              : world_chunk_get(w, (uint8_t)i, timeout_ms);
        for (uint32_t n = 0; n < WORLD_NODES; n++) {
            w->nodes[n].row_count = i % 16 == 0 ? 0 : w->nodes[n].row_count; /* bounded siblings */
        }
        uint64_t ms = draw(&seed) % 200;
        world_pass(w, ms);
    }
    world_pass(w, 10000);
    for (uint32_t i = 0; i < 512; i++) {
        struct world_done *done = world_done(w, tags[i]);
        assert_non_null(done);
        assert_true(done->at_ms <= until[i]);
    }
    assert_int_equal(0, kith_client_core_pending(w->core));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status, world_setup, world_teardown),
        cmocka_unit_test_teardown(test_before_table, world_teardown),
        cmocka_unit_test_teardown(test_turned_down, world_teardown),
        cmocka_unit_test_teardown(test_placeless, world_teardown),
        cmocka_unit_test_setup_teardown(test_limits, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_random, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
