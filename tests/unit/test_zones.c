/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_zones.c - a client's own zone: told, or where the fastest answer comes from; its owners come
 * first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client_world.h"

/* Owners are members 0, 1 and 2. */
static const char *const ZONES[WORLD_MEMBERS] = {"east",  "east", "west", "west",
                                                 "north", "east", "north"};

static void check_first(struct client_world *w, uint32_t node, uint32_t second)
{
    static char name[] = "check-a";
    uint32_t puts = w->nodes[node].puts, gets[WORLD_NODES];
    name[6]++;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        gets[i] = w->nodes[i].gets + w->nodes[i].digests;
    }
    assert_int_equal(KITH_OK, world_err(w, world_put(w, name, "one", 0)));
    assert_int_equal(puts + 1, w->nodes[node].puts);
    assert_string_equal("one", world_values(w, world_get(w, name, KITH_LEVEL_QUORUM, 0)));
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        uint32_t now = w->nodes[i].gets + w->nodes[i].digests;
        assert_int_equal(now > gets[i], i == node || i == second);
    }
    (void)world_chunk_get(w, 0, 0); /* opens connections */
    world_pass(w, 100);
    uint32_t chunks = w->nodes[node].chunk_gets;
    for (uint8_t last = 0; last < 6; last++) { /* wherever its load would go else */
        (void)world_chunk_get(w, last, 0);
    }
    assert_true(second == 1 || w->nodes[node].chunk_gets == chunks + 6);
}

static void end(struct client_world *w)
{
    void *state = w;
    assert_int_equal(0, world_teardown(&state));
}

static void test_told(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("west", ZONES);
    world_start(w);
    check_first(w, 2, 0);
    end(w);
    w = world_new_zones("east", ZONES);
    world_start(w);
    check_first(w, 0, 1);
    end(w);
}

/* A slow owner of the own zone comes after those of others, and one that stands in is near. */
static void test_late(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("west", ZONES);
    world_start(w);
    world_set_mode(w, 2, FROZEN);
    uint64_t tag = world_put(w, "a", "one", 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    uint32_t puts = w->nodes[0].puts;
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "b", "one", 3000)));
    assert_int_equal(puts + 1, w->nodes[0].puts);
    world_set_mode(w, 0, FROZEN);
    world_set_mode(w, 1, FROZEN);
    world_set_mode(w, 4, FROZEN);
    tag = world_put(w, "c", "one", 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, w->nodes[3].puts);
    end(w);
}

/* What TABLE_REQs are answered with, after so long. */
static uint64_t delay_ms[WORLD_MEMBERS];
static struct {
    uint64_t conn, at_ms;
    struct kith_msg msg;
} held[64];
static uint32_t held_count;

static bool hold(struct client_world *w, uint64_t conn, uint32_t node, const struct kith_msg *msg)
{
    if (msg->kind != KITH_MSG_TABLE_REQ || delay_ms[node] == 0) {
        return false;
    }
    assert_true(held_count < 64);
    held[held_count].conn = conn;
    held[held_count].at_ms = w->now + delay_ms[node];
    held[held_count].msg = *msg;
    held_count++;
    return true;
}

static void pass(struct client_world *w, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at++) {
        world_pass(w, 1);
        for (uint32_t i = 0; i < held_count; i++) {
            if (held[i].at_ms <= w->now && held[i].conn != 0) {
                w->on_message = NULL;
                world_node_receives(w, held[i].conn, &held[i].msg);
                w->on_message = hold;
                held[i].conn = 0;
                world_deliver(w);
            }
        }
    }
}

static struct client_world *distant(const uint64_t delays[WORLD_MEMBERS])
{
    struct client_world *w = world_new_zones(NULL, ZONES);
    memcpy(delay_ms, delays, sizeof(delay_ms));
    held_count = 0;
    w->on_message = hold;
    world_start(w);
    pass(w, 300);
    return w;
}

static void test_found(void **state)
{
    (void)state;
    static const uint64_t west[WORLD_MEMBERS] = {20, 20, 1, 1, 40, 20, 40};
    struct client_world *w = distant(west);
    check_first(w, 2, 0);
    end(w);
    /* differences by chance: where it was heard first it stays */
    static const uint64_t house[WORLD_MEMBERS] = {3, 3, 2, 2, 2, 3, 2};
    w = distant(house);
    check_first(w, 0, 1);
    end(w);
}

/* Where it is it stays, whoever becomes slow later; and it goes on if its zone is gone. */
static void test_stays(void **state)
{
    (void)state;
    static const uint64_t west[WORLD_MEMBERS] = {20, 20, 1, 1, 40, 20, 40};
    struct client_world *w = distant(west);
    delay_ms[2] = delay_ms[3] = 90;
    world_set_mode(w, 2, DEAD);
    world_set_mode(w, 3, DEAD);
    pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, world_put(w, "a", "one", 0)));
    assert_true(w->nodes[0].puts > 0);
    world_set_mode(w, 2, ALIVE);
    world_set_mode(w, 3, ALIVE);
    pass(w, 5000);
    check_first(w, 2, 0);
    end(w);
}

/* ---- Levels ---- */

static enum kith_level put_level;
static char put_zone[KITH_ZONE_SIZE];
static uint32_t put_w;

static bool see_put(struct client_world *w, uint64_t conn, uint32_t node,
                    const struct kith_msg *msg)
{
    (void)w;
    (void)conn;
    (void)node;
    if (msg->kind == KITH_MSG_PUT_REQ) {
        put_level = msg->u.put_req.level;
        put_w = msg->u.put_req.w;
        (void)snprintf(put_zone, sizeof(put_zone), "%s", msg->u.put_req.zone);
    }
    return false;
}

static uint64_t put_at(struct client_world *w, enum kith_level level)
{
    struct kith_put_update update = {.name = text("a"), .has_sibling = true, .value = text("one")};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = 3000, .level = level};
    op.u.put.group = WORLD_GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    return world_submit(w, &op);
}

static void test_put_level(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("west", ZONES);
    world_start(w);
    w->on_message = see_put;
    assert_int_equal(KITH_OK, world_err(w, put_at(w, KITH_LEVEL_LOCAL_QUORUM)));
    assert_int_equal(KITH_LEVEL_LOCAL_QUORUM, put_level);
    assert_int_equal(0, put_w);
    assert_string_equal("west", put_zone);
    assert_int_equal(KITH_OK, world_err(w, put_at(w, KITH_LEVEL_ALL)));
    assert_int_equal(KITH_LEVEL_QUORUM, put_level);
    assert_int_equal(3, put_w);
    end(w);
}

static uint32_t reads(const struct client_world *w, uint32_t node)
{
    return w->nodes[node].gets + w->nodes[node].digests + w->nodes[node].scans;
}

/* A local quorum asks its own zone alone, whatever the others do; without it what others say is
 * told, as degraded. */
static void test_local_read(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("east", ZONES); /* owners 0 and 1 */
    world_start(w);
    world_write_all(w, "a", "one");
    world_set_mode(w, 2, FROZEN);
    world_lose_row(w, 2, "a");
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t start = w->now;
        uint64_t tag = world_get(w, "a", KITH_LEVEL_LOCAL_QUORUM, 3000);
        assert_string_equal("one", world_values(w, tag));
        assert_false(world_done(w, tag)->result->degraded);
        assert_int_equal(start, world_done(w, tag)->at_ms);
        world_pass(w, 1000);
    }
    assert_int_equal(0, reads(w, 2));
    assert_true(reads(w, 0) > 0 && reads(w, 1) > 0);
    world_set_mode(w, 2, ALIVE);
    world_set_mode(w, 1, DEAD);
    world_pass(w, 5000);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_LOCAL_QUORUM, 3000);
    world_pass(w, 3000);
    assert_string_equal("one", world_values(w, tag));
    assert_true(world_done(w, tag)->result->degraded);
    end(w);
}

/* A node of the own zone has come up just now, and the others have answered before it: it is asked
 * all the same. */
static void test_local_read_early(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("east", ZONES);
    world_start(w);
    world_write_all(w, "a", "one");
    world_set_mode(w, 1, DEAD);
    world_pass(w, 3000);
    w->nodes[1].mode = ALIVE; /* nobody has tried it since */
    uint64_t start = w->now;
    uint64_t tag = world_get(w, "a", KITH_LEVEL_LOCAL_QUORUM, 3000);
    world_pass(w, 400);
    assert_string_equal("one", world_values(w, tag));
    assert_false(world_done(w, tag)->result->degraded);
    assert_in_range(world_done(w, tag)->at_ms - start, 0, 300);
    end(w);
}

static void test_each_read(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("east", ZONES);
    world_start(w);
    world_write_all(w, "a", "one");
    uint64_t tag = world_get(w, "a", KITH_LEVEL_EACH_QUORUM, 3000);
    assert_string_equal("one", world_values(w, tag));
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(reads(w, i) > 0); /* both of east, and the one of west */
    }
    world_set_mode(w, 2, DEAD);
    tag = world_get(w, "a", KITH_LEVEL_EACH_QUORUM, 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_true(world_done(w, tag)->result->degraded);
    end(w);
}

/* A chunk waits for another zone only where the level says so. */
static void test_chunk_level(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("east", ZONES);
    world_start(w);
    (void)world_chunk_put(w, 3000);
    world_pass(w, 100);
    world_set_mode(w, 2, FROZEN);
    struct kith_blob *blob = kith_blob_new(WORLD_CHUNK_SIZE);
    assert_non_null(blob);
    memcpy(blob->data, WORLD_CHUNK, WORLD_CHUNK_SIZE);
    for (uint32_t level = 0; level < KITH_LEVELS; level++) {
        struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_PUT, .timeout_ms = 3000};
        op.level = (enum kith_level)level;
        op.u.chunk_put.id = world_chunk_id((uint8_t)level);
        op.u.chunk_put.payload = blob;
        op.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
        uint64_t start = w->now;
        uint64_t tag = world_submit(w, &op);
        bool waits = level == KITH_LEVEL_EACH_QUORUM || level == KITH_LEVEL_ALL;
        assert_true(waits == (world_done(w, tag) == NULL));
        world_pass(w, 3000);
        assert_true(waits || world_done(w, tag)->at_ms == start);
    }
    kith_blob_drop(blob);
    end(w);
}

/* Both owners of the own zone are silent: the one elsewhere coordinates, though a local quorum wants
 * copies of theirs. */
static void test_own_mute(void **state)
{
    (void)state;
    struct client_world *w = world_new_zones("east", ZONES);
    struct kith_put_update update = {.name = text("a"), .has_sibling = true, .value = text("one")};
    struct kith_client_op op = {
        .kind = KITH_CLIENT_PUT, .level = KITH_LEVEL_LOCAL_QUORUM, .timeout_ms = 3000};
    op.u.put.group = WORLD_GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    op.u.put.durability = KITH_DURABLE_DISK; /* so patiently that both are known for mute */
    world_start(w);
    world_set_mode(w, 0, FROZEN);
    world_set_mode(w, 1, FROZEN);
    uint64_t start = w->now;
    uint64_t tag = world_submit(w, &op);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, w->nodes[2].puts);
    assert_in_range(world_done(w, tag)->at_ms - start, 1, 700);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_stays),
        cmocka_unit_test(test_put_level),
        cmocka_unit_test(test_local_read),
        cmocka_unit_test(test_local_read_early),
        cmocka_unit_test(test_each_read),
        cmocka_unit_test(test_chunk_level),
        cmocka_unit_test(test_own_mute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
