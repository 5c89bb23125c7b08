/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/client_world.h"

/* What a person is told of the nodes: view.c. */
static struct kith_client_view view_of(struct client_world *w, struct kith_arena *arena)
{
    struct kith_client_view view;
    kith_arena_reset(arena);
    assert_int_equal(KITH_OK, kith_client_core_view(w->core, w->now, arena, &view));
    return view;
}

/* The node that listens where the world's `node` does. */
static const struct kith_client_node *find(const struct kith_client_view *view, uint32_t node)
{
    struct kith_uuid uuid = world_uuid(node);
    for (uint32_t i = 0; i < view->node_count; i++) {
        if (memcmp(&view->nodes[i].uuid, &uuid, sizeof uuid) == 0) {
            return &view->nodes[i];
        }
    }
    fail_msg("node %u is not in the view", node);
    return NULL;
}

static void test_nodes(void **state)
{
    struct client_world *w = *state;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    world_write_all(w, "a", "1");
    assert_int_equal(KITH_OK, world_err(w, world_get(w, "a", KITH_LEVEL_ALL, 1000)));
    struct kith_client_view view = view_of(w, &arena);
    assert_int_equal(WORLD_NODES, view.node_count);
    assert_int_equal(0, kith_table_id_compare(&w->table->id, &view.table));
    assert_int_equal(0, view.pending);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        assert_int_equal(KITH_NODE_UP, find(&view, i)->state);
        assert_true(find(&view, i)->answer_us > 0);
        assert_true(find(&view, i)->lost_ms_ago == UINT64_MAX);
        assert_string_equal("", find(&view, i)->reason);
    }
    world_set_mode(w, 1, DEAD);
    world_pass(w, 5000);
    view = view_of(w, &arena);
    assert_int_equal(KITH_NODE_DOWN, find(&view, 1)->state);
    assert_in_range(find(&view, 1)->lost_ms_ago, 4000, 5000);
    assert_true(find(&view, 1)->reason[0] != '\0');
    assert_int_equal(KITH_NODE_UP, find(&view, 2)->state);
    world_set_mode(w, 1, ALIVE);
    world_pass(w, 5000);
    view = view_of(w, &arena);
    assert_int_equal(KITH_NODE_UP, find(&view, 1)->state);
    assert_true(find(&view, 1)->lost_ms_ago == UINT64_MAX);
    kith_arena_release(&arena);
}

/* Connected all the time, but who asks it waits in vain. */
static void test_silent(void **state)
{
    struct client_world *w = *state;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    world_write_all(w, "a", "1");
    world_set_mode(w, 0, FROZEN);
    for (unsigned i = 0; i < 20; i++) {
        (void)world_get(w, "a", KITH_LEVEL_QUORUM, 3000);
        world_pass(w, 200);
    }
    struct kith_client_view view = view_of(w, &arena);
    assert_int_equal(KITH_NODE_SILENT, find(&view, 0)->state);
    assert_true(find(&view, 0)->heard_ms_ago >= 3000);
    kith_arena_release(&arena);
}

static void test_counts(void **state)
{
    struct client_world *w = *state;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_client_view before = view_of(w, &arena);
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "a", "1", 1000)));
    assert_int_equal(KITH_OK, world_err(w, world_get(w, "a", KITH_LEVEL_QUORUM, 1000)));
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        world_set_mode(w, i, DEAD);
    }
    uint64_t late = world_get(w, "b", KITH_LEVEL_QUORUM, 1000);
    assert_int_equal(1, view_of(w, &arena).pending);
    world_pass(w, 5000);
    assert_int_not_equal(KITH_OK, world_err(w, late));
    struct kith_client_view view = view_of(w, &arena);
    assert_int_equal(before.counts.requests[KITH_CLIENT_PUT] + 1,
                     view.counts.requests[KITH_CLIENT_PUT]);
    assert_int_equal(2, view.counts.requests[KITH_CLIENT_GET]);
    assert_int_equal(1, view.counts.failed[KITH_CLIENT_GET]);
    assert_int_equal(0, view.counts.failed[KITH_CLIENT_PUT]);
    assert_int_equal(before.counts.messages[KITH_MSG_PUT_REQ] + 1,
                     view.counts.messages[KITH_MSG_PUT_REQ]);
    assert_true(view.counts.messages[KITH_MSG_GET_REQ] >= 2);
    assert_string_equal("chunk_sync", kith_client_kind_name(KITH_CLIENT_CHUNK_SYNC));
    kith_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nodes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_silent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_counts, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
