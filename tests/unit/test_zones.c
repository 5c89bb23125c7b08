/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_zones.c - a client's own zone: told, or where the fastest answer comes from; its owners come
 * first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
