/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a node says of files in conflict: those of the partitions that no owner before it tells of. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node_world.h"

#define SELF 3u

static uint64_t told(struct world *world, const struct kith_store_conflicts *list, uint32_t count)
{
    struct kith_msg req = {.kind = KITH_MSG_STATUS_REQ, .id = 77};
    message(world, 1, &req);
    assert_int_equal(world->op.kind, KITH_STORE_COUNT);
    struct kith_store_done done = {
        .id = world->op.id, .message = "", .reached = KITH_DURABLE_OS, .space = world->space};
    done.u.counts.disk_id = 77;
    done.u.counts.disk_room_bytes = 1000;
    done.u.counts.conflict_count = count;
    done.u.counts.conflicts = list;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(world, &stored);
    const struct kith_msg *res = sent(world, KITH_MSG_STATUS_RES);
    assert_non_null(res);
    assert_int_equal(res->u.status_res.status.err, KITH_OK);
    return res->u.status_res.node.conflicts;
}

/* The disk's number and room, as the store says; no room where no values are taken. */
static void test_disk(void **state)
{
    (void)state;
    static struct world world;
    world_self = SELF;
    world_new(&world, 4);
    for (uint32_t space = KITH_SPACE_WIDE; space <= KITH_SPACE_FULL; space++) {
        world.space = (enum kith_space)space;
        assert_int_equal(told(&world, NULL, 0), 0);
        const struct kith_node_status *node = &sent(&world, KITH_MSG_STATUS_RES)->u.status_res.node;
        assert_int_equal(node->disk_id, 77);
        assert_int_equal(node->disk_room_bytes, space == KITH_SPACE_FULL ? 0 : 1000);
    }
    kith_node_free(world.node);
}

/* Each partition has a number of its own of them, by which it is known in the sum. */
static void expect(struct world *world, unsigned up)
{
    struct kith_store_conflicts list[8];
    struct kith_table *table = NULL;
    struct kith_bytes bytes = {world->meta[KITH_META_TABLE], world->meta_size[KITH_META_TABLE]};
    uint64_t want = 0;
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    for (uint32_t p = 0; p < 8; p++) {
        const uint16_t *owners = kith_table_owners(table, p);
        list[p] = (struct kith_store_conflicts){.partition = p, .files = 1u << (3 * p)};
        for (uint32_t i = 0; i < table->owner_slots; i++) {
            uint8_t node = table->members[owners[i]].uuid.bytes[0];
            if (node == SELF || (up & 1u << node) != 0) {
                want += node == SELF ? list[p].files : 0;
                break;
            }
        }
    }
    kith_table_drop(table);
    assert_int_equal(told(world, list, 8), want);
    assert_int_equal(told(world, NULL, 0), 0);
}

static void test_first_owner_up(void **state)
{
    (void)state;
    static struct world world;
    world_self = SELF;
    world_new(&world, 4); /* three of five own a partition */
    expect(&world, 0);
    (void)peer_up(&world, 2);
    expect(&world, 1u << 2);
    (void)peer_up(&world, 1);
    expect(&world, 1u << 2 | 1u << 1);
    (void)peer_up(&world, 4);
    expect(&world, 1u << 2 | 1u << 1 | 1u << 4);
    kith_node_free(world.node);
}

static void test_no_cluster(void **state)
{
    (void)state;
    static struct world world;
    world_self = 1;
    memset(&world, 0, sizeof world);
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    struct kith_msg req = {.kind = KITH_MSG_STATUS_REQ, .id = 77};
    message(&world, 1, &req);
    assert_int_equal(sent(&world, KITH_MSG_STATUS_RES)->u.status_res.node.conflicts, 0);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk),
        cmocka_unit_test(test_first_owner_up),
        cmocka_unit_test(test_no_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
