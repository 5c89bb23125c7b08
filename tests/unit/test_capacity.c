/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What can be stored in a cluster, from its table and the figures of its nodes. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "data/balance.h"
#include "data/capacity.h"

#define PARTITIONS 1024u
#define MEMBERS    6u
#define GIB        (UINT64_C(1) << 30)

static const struct kith_uuid cluster = {{0xc1}};

struct place {
    struct kith_table *table;
    uint32_t count;
    struct kith_capacity_node nodes[MEMBERS];
    uint32_t held[MEMBERS]; /* partitions */
};

/* `weights` end with 0; zones is a letter for each, or NULL. Each node has 100 GiB of room, and
 * holds what it should of 60 GiB in 6,000 rows. */
static void place_make(struct place *place, uint32_t replicas, const uint32_t *weights,
                       const char *zones)
{
    struct kith_member members[MEMBERS];
    memset(place, 0, sizeof *place);
    memset(members, 0, sizeof members);
    while (weights[place->count] != 0) {
        struct kith_member *member = &members[place->count];
        member->uuid.bytes[0] = (uint8_t)++place->count;
        member->weight = weights[place->count - 1];
        member->zone[0] = zones != NULL ? zones[place->count - 1] : '\0';
    }
    assert_int_equal(kith_balance(NULL, &cluster, PARTITIONS, replicas, members, place->count,
                                  &place->table),
                     KITH_OK);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t i = 0; i < place->table->owner_slots; i++) {
            place->held[kith_table_owners(place->table, p)[i]]++;
        }
    }
    for (uint32_t i = 0; i < place->count; i++) {
        struct kith_capacity_node *node = &place->nodes[i];
        node->node = place->table->members[i].uuid;
        node->seen = 1;
        node->room_bytes = 100 * GIB;
        node->data_bytes = 60 * GIB / PARTITIONS * place->held[i];
        node->rows = 6000 * place->held[i] / PARTITIONS;
    }
}

static struct kith_capacity capacity(const struct place *place)
{
    struct kith_capacity capacity;
    assert_int_equal(kith_capacity_of(place->table, place->nodes, place->count, &capacity), KITH_OK);
    return capacity;
}

/* To two thousandths: of partitions some nodes have one more than others. */
static void near(uint64_t is, double want)
{
    if ((double)is < want * 0.998 || (double)is > want * 1.002) {
        fail_msg("%llu, and not %f", (unsigned long long)is, want);
    }
}

static double share(const struct place *place, uint32_t node)
{
    return (double)place->held[node] / PARTITIONS;
}

static void stored_is_right(const struct place *place)
{
    near(capacity(place).stored_bytes, 60.0 * GIB);
    near(capacity(place).rows, 6000.0);
}

static void test_alike(void **state)
{
    (void)state;
    static const uint32_t one[] = {1, 0}, two[] = {1, 1, 0}, three[] = {1, 1, 1, 0},
                          six[] = {1, 1, 1, 1, 1, 1, 0};
    struct place place;
    place_make(&place, 3, one, NULL); /* fewer nodes than copies: as many copies as nodes */
    near(capacity(&place).free_bytes, 100.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
    place_make(&place, 3, two, NULL);
    near(capacity(&place).free_bytes, 100.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
    place_make(&place, 3, three, NULL);
    near(capacity(&place).free_bytes, 100.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
    place_make(&place, 3, six, NULL);
    near(capacity(&place).free_bytes, 200.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
    place_make(&place, 1, six, NULL);
    near(capacity(&place).free_bytes, 100.0 * GIB * PARTITIONS / 171); /* 1024 / 6 and a bit */
    stored_is_right(&place);
    kith_table_drop(place.table);
    place_make(&place, 5, six, NULL);
    near(capacity(&place).free_bytes, 120.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
}

static void test_fullest_for_its_share(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 2, 2, 3, 0};
    struct place place;
    place_make(&place, 3, weights, NULL);
    uint32_t least = 0;
    for (uint32_t i = 1; i < 4; i++) { /* the same room: who has most to take is full first */
        least = place.held[i] > place.held[least] ? i : least;
    }
    assert_true(share(&place, least) > 0.8);
    near(capacity(&place).free_bytes, 100.0 * GIB / share(&place, least));
    for (uint32_t i = 0; i < 4; i++) { /* room by weight: all are full at once */
        place.nodes[i].room_bytes = (uint64_t)(share(&place, i) * 50.0 * GIB);
    }
    near(capacity(&place).free_bytes, 50.0 * GIB);
    place.nodes[0].room_bytes /= 5;
    near(capacity(&place).free_bytes, 10.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
}

/* Two zones of three and one: the one has a copy of everything. */
static void test_zones(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 1, 1, 1, 0};
    struct place place;
    place_make(&place, 2, weights, "aaab");
    assert_int_equal(place.held[3], PARTITIONS);
    near(capacity(&place).free_bytes, 100.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
}

static void test_one_disk(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 1, 1, 0};
    struct place place;
    place_make(&place, 3, weights, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        place.nodes[i].disk = 7;
    }
    near(capacity(&place).free_bytes, 100.0 * GIB / 3);
    place.nodes[1].room_bytes = 90 * GIB; /* the last word counts, whoever says it */
    place.nodes[1].seen = 2;
    near(capacity(&place).free_bytes, 30.0 * GIB);
    place.nodes[2].disk = 8;
    near(capacity(&place).free_bytes, 45.0 * GIB);
    place.nodes[2].room_bytes = 20 * GIB;
    near(capacity(&place).free_bytes, 20.0 * GIB);
    for (uint32_t i = 0; i < 3; i++) { /* not known: each has its own */
        place.nodes[i].disk = 0;
    }
    near(capacity(&place).free_bytes, 20.0 * GIB);
    stored_is_right(&place);
    kith_table_drop(place.table);
}

/* Others stand in for a full one. */
static void test_full(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 1, 1, 1, 1, 0};
    struct place place;
    place_make(&place, 3, weights, NULL);
    near(capacity(&place).free_bytes, 100.0 * GIB * PARTITIONS / 615); /* 3072 / 5 and a bit */
    place.nodes[1].full = true;
    place.nodes[1].room_bytes = 0;
    near(capacity(&place).free_bytes, 400.0 * GIB / 3);
    place.nodes[2].full = place.nodes[3].full = true; /* each of two takes a copy, not one and a half */
    near(capacity(&place).free_bytes, 100.0 * GIB);
    stored_is_right(&place);
    place.nodes[0].full = place.nodes[4].full = true;
    assert_int_equal(capacity(&place).free_bytes, 0);
    stored_is_right(&place);
    kith_table_drop(place.table);
}

/* Was never heard, or is none of the table. */
static void test_unknown(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 1, 1, 1, 0};
    struct place place;
    struct kith_capacity_node stranger = {.node = {{0x99}}, .room_bytes = 1, .data_bytes = GIB};
    struct kith_capacity result;
    place_make(&place, 3, weights, NULL);
    place.count = 3;
    near(capacity(&place).free_bytes, 400.0 * GIB / 3);
    stored_is_right(&place);
    place.nodes[3] = stranger;
    place.count = 4;
    near(capacity(&place).free_bytes, 400.0 * GIB / 3);
    stored_is_right(&place);
    assert_int_equal(kith_capacity_of(place.table, &stranger, 1, &result), KITH_ENOTFOUND);
    assert_int_equal(kith_capacity_of(place.table, NULL, 0, &result), KITH_ENOTFOUND);
    kith_table_drop(place.table);
}

/* A node joins: what is written goes to it, and to those that give to it, too. */
static void test_moving(void **state)
{
    (void)state;
    static const uint32_t before[] = {1, 1, 1, 0}, after[] = {1, 1, 1, 1, 0};
    struct place place, next;
    struct kith_table *joint = NULL;
    place_make(&place, 3, before, NULL);
    place_make(&next, 3, after, NULL);
    assert_int_equal(kith_table_move(place.table, next.table, false, NULL, 0, &joint), KITH_OK);
    next.nodes[3].data_bytes = GIB; /* some of it has come */
    struct kith_capacity result;
    assert_int_equal(kith_capacity_of(joint, next.nodes, 4, &result), KITH_OK);
    near(result.free_bytes, 100.0 * GIB); /* three take everything yet */
    for (uint32_t i = 0; i < 3; i++) {
        next.nodes[i].data_bytes = 60 * GIB;
    }
    assert_int_equal(kith_capacity_of(joint, next.nodes, 4, &result), KITH_OK);
    near(result.stored_bytes, 60.0 * GIB);
    next.nodes[3].room_bytes = 3 * GIB;
    assert_int_equal(kith_capacity_of(joint, next.nodes, 4, &result), KITH_OK);
    near(result.free_bytes, 4.0 * GIB);
    kith_table_drop(joint);
    kith_table_drop(place.table);
    kith_table_drop(next.table);
}

static void test_large(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 1, 1, 1, 1, 1, 0};
    struct place place;
    place_make(&place, 1, weights, NULL);
    for (uint32_t i = 0; i < 6; i++) {
        place.nodes[i].room_bytes = place.nodes[i].data_bytes = UINT64_MAX;
        place.nodes[i].rows = UINT64_MAX;
    }
    struct kith_capacity result = capacity(&place);
    assert_true(result.free_bytes >= UINT64_C(1) << 62);
    assert_true(result.free_bytes + result.stored_bytes > result.free_bytes);
    kith_table_drop(place.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alike),   cmocka_unit_test(test_fullest_for_its_share),
        cmocka_unit_test(test_zones),   cmocka_unit_test(test_one_disk),
        cmocka_unit_test(test_full),    cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_moving),  cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
