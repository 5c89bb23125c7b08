/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_where.c - what each owner has of rows and chunks (where.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/client_world.h"

#define TIMEOUT_MS 4000u

static uint64_t ask(struct client_world *w, const char *const names[], uint32_t row_count,
                    uint32_t id_count)
{
    struct kith_client_row_name rows[4];
    struct kith_chunk_id ids[4];
    for (uint32_t i = 0; i < row_count; i++) {
        rows[i].group = WORLD_GROUP;
        rows[i].name = text(names[i]);
    }
    for (uint32_t i = 0; i < id_count; i++) {
        ids[i] = world_chunk_id((uint8_t)i);
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_WHERE, .timeout_ms = TIMEOUT_MS};
    op.u.where.row_count = row_count;
    op.u.where.rows = rows;
    op.u.where.id_count = id_count;
    op.u.where.ids = ids;
    return world_submit(w, &op);
}

static const struct kith_client_where *found(struct client_world *w, uint64_t tag)
{
    assert_int_equal(KITH_OK, world_err(w, tag));
    return world_done(w, tag)->result->u.where;
}

static const struct kith_client_where_node *node_of(const struct kith_client_where *where,
                                                    uint32_t node)
{
    struct kith_uuid uuid = world_uuid(node);
    for (uint32_t i = 0; i < where->node_count; i++) {
        if (memcmp(&where->nodes[i].uuid, &uuid, sizeof uuid) == 0) {
            return &where->nodes[i];
        }
    }
    fail_msg("node %u is not told of", node);
    return NULL;
}

static const char *const a_and_none[] = {"a", "never"};

/* A row that nobody has is none. */
static void test_everywhere(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "1");
    const struct kith_client_where *where = found(w, ask(w, a_and_none, 2, 2));
    assert_int_equal(3, where->owners);
    assert_int_equal(3, where->copies);
    assert_false(where->missing || where->unknown);
    assert_int_equal(WORLD_NODES, where->node_count);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        const struct kith_client_where_node *node = node_of(where, i);
        assert_true(node->answered);
        assert_int_equal(1, node->rows);
        assert_int_equal(1, node->rows_have);
        assert_int_equal(2, node->chunks);
        assert_int_equal(2, node->chunks_have);
    }
    assert_int_equal(2, where->row_count);
    assert_int_equal(1, where->rows[0].row.sibling_count);
    assert_int_equal(0, where->rows[1].row.sibling_count);
}

/* Of two writes that do not know of each other nobody has both. */
static void test_behind(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "1");
    world_write_on(w, 1, "a", "2");
    const struct kith_client_where *where = found(w, ask(w, a_and_none, 1, 0));
    assert_int_equal(1, where->copies);
    assert_true(where->missing && !where->unknown);
    assert_int_equal(0, node_of(where, 0)->rows_have);
    assert_int_equal(1, node_of(where, 1)->rows_have);
    world_write_on(w, 2, "a", "3");
    where = found(w, ask(w, a_and_none, 1, 0));
    assert_int_equal(0, where->copies);
    assert_int_equal(2, where->rows[0].row.sibling_count);
    world_lose_row(w, 0, "a");
    where = found(w, ask(w, a_and_none, 1, 0));
    assert_int_equal(1, node_of(where, 0)->rows);
    assert_int_equal(0, node_of(where, 0)->rows_have);
}

static void test_chunk_missing(void **state)
{
    struct client_world *w = *state;
    w->nodes[2].sync_missing = true;
    const struct kith_client_where *where = found(w, ask(w, NULL, 0, 3));
    assert_int_equal(2, where->copies);
    assert_true(where->missing && !where->unknown);
    assert_int_equal(3, node_of(where, 2)->chunks);
    assert_int_equal(2, node_of(where, 2)->chunks_have); /* it says so of the last */
    assert_true(node_of(where, 2)->answered);
    assert_int_equal(3, node_of(where, 0)->chunks_have);
}

/* One that is dead is not waited for; one that says nothing for a while; the answer comes in time.
 */
static void test_away(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "1");
    world_set_mode(w, 0, DEAD);
    world_pass(w, 3000);
    world_set_mode(w, 1, FROZEN);
    uint64_t began = w->now, tag = ask(w, a_and_none, 1, 1);
    world_pass(w, TIMEOUT_MS);
    const struct kith_client_where *where = found(w, tag);
    assert_true(world_done(w, tag)->at_ms - began <= TIMEOUT_MS / 2);
    assert_int_equal(1, where->copies);
    assert_true(where->unknown && !where->missing);
    assert_false(node_of(where, 0)->answered || node_of(where, 1)->answered);
    assert_true(node_of(where, 2)->answered);
    assert_int_equal(1, node_of(where, 1)->rows); /* it owns it all the same */
    world_set_mode(w, 1, DEAD);
    world_set_mode(w, 2, DEAD);
    tag = ask(w, a_and_none, 1, 1);
    world_pass(w, TIMEOUT_MS);
    where = found(w, tag);
    assert_int_equal(0, where->copies);
    assert_int_equal(0, where->rows[0].row.sibling_count);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        assert_false(node_of(where, i)->answered);
        assert_int_equal(1, node_of(where, i)->rows); /* it may be there: nobody has said no */
    }
}

/* One that gives signs of life, and flushes for ever: the answer comes in half of the time. */
static void test_slow(void **state)
{
    struct client_world *w = *state;
    w->nodes[1].sync_mute = true;
    uint64_t began = w->now, tag = ask(w, NULL, 0, 2);
    world_pass(w, TIMEOUT_MS + 1);
    const struct kith_client_where *where = found(w, tag);
    assert_true(world_done(w, tag)->at_ms - began <= TIMEOUT_MS / 2 + 1);
    assert_false(node_of(where, 1)->answered);
    assert_int_equal(2, where->copies);
    assert_true(where->unknown && !where->missing);
}

/* Connections that end in the middle. */
static void test_lost(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "1");
    world_set_mode(w, 1, FROZEN);
    uint64_t tag = ask(w, a_and_none, 1, 1);
    assert_null(world_done(w, tag));
    world_set_mode(w, 1, DEAD);
    world_deliver(w);
    const struct kith_client_where *where = found(w, tag);
    assert_int_equal(2, where->copies);
    assert_false(node_of(where, 1)->answered);
}

static void test_refused(void **state)
{
    struct client_world *w = *state;
    world_write_all(w, "a", "1");
    w->nodes[1].get_err = KITH_ENOTREADY; /* not synchronised: what it lacks says nothing */
    const struct kith_client_where *where = found(w, ask(w, a_and_none, 1, 0));
    assert_int_equal(2, where->copies);
    assert_true(where->unknown && !where->missing);
    assert_false(node_of(where, 1)->answered);
}

static void test_zones(void **state)
{
    static const char *const zones[WORLD_MEMBERS] = {"ams", "ams", "fra", "ams", "fra", "", ""};
    (void)state;
    struct client_world *w = world_new_zones("ams", zones);
    world_start(w);
    world_write_all(w, "a", "1");
    const struct kith_client_where *where = found(w, ask(w, a_and_none, 1, 1));
    assert_int_equal(2, where->zone_count); /* of the owners */
    assert_true(where->zones[0].whole && where->zones[1].whole);
    assert_int_equal(WORLD_NODES, where->node_count);
    w->nodes[2].sync_missing = true;
    where = found(w, ask(w, a_and_none, 1, 1));
    for (uint32_t i = 0; i < where->zone_count; i++) {
        assert_int_equal(strcmp(where->zones[i].name, "ams") == 0, where->zones[i].whole);
    }
    w->nodes[2].sync_missing = false;
    w->nodes[0].sync_missing = true; /* the other one of ams has it */
    where = found(w, ask(w, a_and_none, 1, 1));
    assert_true(where->zones[0].whole && where->zones[1].whole && where->missing);
    void *teardown = w;
    assert_int_equal(0, world_teardown(&teardown));
}

static void test_limits(void **state)
{
    struct client_world *w = *state;
    struct kith_client_op op = {.kind = KITH_CLIENT_WHERE};
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = &op, .tag = 9999};
    assert_int_equal(KITH_EINVAL, world_step(w, &event));
    op.u.where.row_count = KITH_CLIENT_WHERE_ROWS_MAX + 1;
    assert_int_equal(KITH_EINVAL, world_step(w, &event));
    op.u.where.row_count = 0;
    op.u.where.id_count = KITH_CLIENT_SYNC_MAX + 1;
    assert_int_equal(KITH_EINVAL, world_step(w, &event));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everywhere, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_behind, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_missing, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_away, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_slow, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_lost, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test(test_zones),
        cmocka_unit_test_setup_teardown(test_limits, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
