/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_move.c - requests while data moves: reads ask a majority of the owners, and enough of
 * those that own it next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client_world.h"

#define SLOTS_MAX 5u

struct layout {
    uint32_t count; /* owners */
    uint16_t now[SLOTS_MAX], next[SLOTS_MAX];
    uint32_t members_now, members_next; /* the first ones; 0: all */
};

static const char *const ONE_ZONE[WORLD_MEMBERS] = {"", "", "", "", "", "", ""};

/* The table that has these owners in every partition. */
static struct kith_table *table_of(const struct layout *layout, const char *const *zones, bool next)
{
    struct kith_member members[WORLD_MEMBERS];
    uint16_t owners[WORLD_PARTITIONS * SLOTS_MAX];
    struct kith_uuid cluster = {{7}};
    struct kith_table *table = NULL;
    uint32_t count = next ? layout->members_next : layout->members_now;
    count = count == 0 ? WORLD_MEMBERS : count;
    uint32_t slots = count < layout->count ? count : layout->count;
    memset(members, 0, sizeof members);
    for (uint32_t i = 0; i < count; i++) {
        members[i].uuid = world_uuid(i);
        members[i].weight = 1;
        (void)strcpy(members[i].zone, zones[i]);
    }
    for (uint32_t i = 0; i < WORLD_PARTITIONS * slots; i++) {
        owners[i] = next ? layout->next[i % slots] : layout->now[i % slots];
    }
    assert_int_equal(kith_table_new(&cluster, 1, next ? 2 : 1, WORLD_PARTITIONS, layout->count,
                                    members, count, owners, &table),
                     KITH_OK);
    return table;
}

/* A client in zone `own` that goes by the joint table. */
static struct client_world *moving(void **state, const struct layout *layout, const char *own,
                                   const char *const zones[WORLD_MEMBERS])
{
    struct client_world *w = world_new_zones(own, zones);
    struct kith_table *now = table_of(layout, zones, false);
    struct kith_table *next = table_of(layout, zones, true);
    kith_table_drop(w->table);
    assert_int_equal(kith_table_move(now, next, false, NULL, 0, &w->table), KITH_OK);
    kith_table_drop(next);
    kith_table_drop(now);
    world_start(w);
    assert_true(kith_client_core_ready(w->core));
    *state = w;
    return w;
}

/* The same row on the first so many. */
static void write_first(struct client_world *w, uint32_t count, const char *value)
{
    world_write_on(w, 0, "a", value);
    for (uint32_t i = 1; i < count; i++) {
        world_copy_row(w, 0, i, "a");
    }
}

static uint32_t asked(const struct client_world *w)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < WORLD_MEMBERS; i++) {
        mask |= w->nodes[i].gets + w->nodes[i].digests + w->nodes[i].scans > 0 ? 1u << i : 0;
    }
    return mask;
}

/* What those alone have acknowledged who own it next is seen: the move may be settled. */
static void test_both(void **state)
{
    static const struct layout layout = {.count = 3, .now = {0, 1, 2}, .next = {3, 4, 5}};
    struct client_world *w = moving(state, &layout, "", ONE_ZONE);
    write_first(w, 3, "old");
    for (uint32_t i = 4; i < 6; i++) { /* any two of them */
        world_write_on(w, i, "a", "new");
    }
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_non_null(strstr(world_values(w, tag), "new"));
    assert_false(world_done(w, tag)->result->degraded);
    uint32_t pages = 0;
    assert_string_equal(world_scan_all(w, 8, &pages), "a ");
}

/* Where most owners stay nobody else is asked. */
static void test_few(void **state)
{
    static const struct layout layout = {.count = 3, .now = {0, 1, 2}, .next = {3, 1, 0}};
    struct client_world *w = moving(state, &layout, "", ONE_ZONE);
    write_first(w, 3, "one");
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal(world_values(w, tag), "one");
    assert_int_equal(asked(w), 3);
    assert_int_equal(w->nodes[0].repairs + w->nodes[1].repairs, 0);
}

/* Level ONE asks an owner, however near one is who has nothing of it yet. */
static void test_one(void **state)
{
    static const struct layout layout = {.count = 3, .now = {0, 1, 2}, .next = {0, 1, 3}};
    static const char *const zones[] = {"west", "west", "west", "east", "west", "west", "west"};
    struct client_world *w = moving(state, &layout, "east", zones);
    write_first(w, 3, "one");
    uint64_t tag = world_get(w, "a", KITH_LEVEL_ONE, 0);
    assert_non_null(world_done(w, tag));
    assert_string_equal(world_values(w, tag), "one");
}

/* Two that are in both are down, and those that come first are not enough of either: others are. */
static void test_overlap(void **state)
{
    static const struct layout layout = {
        .count = 5, .now = {0, 1, 2, 3, 4}, .next = {0, 1, 2, 5, 6}};
    static const char *const zones[] = {"west", "west", "east", "east", "west", "east", "west"};
    struct client_world *w = moving(state, &layout, "east", zones);
    write_first(w, 5, "one");
    world_set_mode(w, 0, DEAD);
    world_set_mode(w, 1, DEAD);
    world_pass(w, 2000);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 5000);
    assert_non_null(world_done(w, tag));
    assert_string_equal(world_values(w, tag), "one");
    assert_false(world_done(w, tag)->result->degraded);
    assert_int_equal(asked(w), 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6);
}

/* "There is nothing" is for owners to say, not for those that own it next. */
static void test_not_found(void **state)
{
    static const struct layout layout = {.count = 3, .now = {0, 1, 2}, .next = {3, 4, 5}};
    struct client_world *w = moving(state, &layout, "", ONE_ZONE);
    write_first(w, 3, "one");
    for (uint32_t i = 0; i < 3; i++) {
        world_set_mode(w, i, DEAD);
    }
    world_pass(w, 2000);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 2000);
    world_pass(w, 2500);
    assert_int_not_equal(world_err(w, tag), KITH_OK);
    world_write_on(w, 4, "a", "two"); /* what is found is shown */
    tag = world_get(w, "a", KITH_LEVEL_QUORUM, 2000);
    world_pass(w, 2500);
    assert_string_equal(world_values(w, tag), "two");
    assert_true(world_done(w, tag)->result->degraded);
}

/* A cluster of one gets a second node: until that has all, reads need it not, for no write of the two
 * can be without the first. */
static void test_second(void **state)
{
    static const struct layout layout = {
        .count = 3, .now = {0}, .next = {0, 1}, .members_now = 1, .members_next = 2};
    struct client_world *w = moving(state, &layout, "", ONE_ZONE);
    world_write_on(w, 0, "a", "one");
    world_set_mode(w, 1, DEAD);
    world_pass(w, 2000);
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_non_null(world_done(w, tag));
    assert_string_equal(world_values(w, tag), "one");
    assert_false(world_done(w, tag)->result->degraded);
}

/* A chunk that no owner has may be at a member that leaves. */
static void test_leaver(void **state)
{
    static const struct layout layout = {
        .count = 3, .now = {0, 1, 2}, .next = {0, 1, 2}, .members_next = 6};
    struct client_world *w = moving(state, &layout, "", ONE_ZONE);
    for (uint32_t i = 0; i < 6; i++) {
        w->nodes[i].chunk_err = KITH_ENOTFOUND;
    }
    uint64_t tag = world_chunk_get(w, 0, 0);
    world_pass(w, 100);
    assert_int_equal(world_err(w, tag), KITH_OK);
    assert_int_equal(w->nodes[6].chunk_gets, 1);
    world_set_mode(w, 6, DEAD);
    world_pass(w, 2000);
    tag = world_chunk_get(w, 0, 2000);
    world_pass(w, 2500);
    assert_int_equal(world_err(w, tag), KITH_EUNREACH); /* it cannot be said that it is nowhere */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_both, world_teardown),
        cmocka_unit_test_teardown(test_few, world_teardown),
        cmocka_unit_test_teardown(test_one, world_teardown),
        cmocka_unit_test_teardown(test_overlap, world_teardown),
        cmocka_unit_test_teardown(test_not_found, world_teardown),
        cmocka_unit_test_teardown(test_second, world_teardown),
        cmocka_unit_test_teardown(test_leaver, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
