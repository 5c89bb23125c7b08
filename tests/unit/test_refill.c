/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a disk has lost: no reads before it was compared with enough of the other owners, writes all
 * the time; who has lost it, too, is not enough; and what the record says over a start. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "compare_world.h"

#define BOTH (KITH_LOST_ROWS | KITH_LOST_CHUNKS)

static void mark(struct world *world, uint32_t lost)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_lost_encode(
        lost, kith_bytes_make(world->meta[KITH_META_LOST], world->meta_size[KITH_META_LOST]), &buf);
    assert_false(buf.failed);
    memcpy(world->meta[KITH_META_LOST], buf.data, buf.size);
    world->meta_size[KITH_META_LOST] = buf.size;
    kith_buf_release(&buf);
}

static void world_lost(struct world *world, uint32_t others, uint32_t lost)
{
    world_new(world, others);
    mark(world, lost);
    again(world);
}

static void test_no_reads_before(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 2, BOTH);
    assert_int_equal(read_count(&world), 0);
    assert_int_equal(refill_left(world.node), 8);
    up(&world, 2);
    compare(&world, 5000);
    assert_int_equal(read_count(&world), 0); /* the other one may have what nobody else has */
    again(&world);
    assert_int_equal(read_count(&world), 0);
    up(&world, 2);
    up(&world, 3);
    compare(&world, 5000);
    assert_int_equal(read_count(&world), 8);
    assert_int_equal(world.meta_size[KITH_META_LOST], 0);
    again(&world);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* Writes are taken, and count. */
static void test_writes(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 2, BOTH);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &msg);
    assert_true(world.has_put);
    kith_node_free(world.node);
}

/* Chunks bear their checksum: rows are read. Sweeps wait. */
static void test_chunks_alone(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 2, KITH_LOST_CHUNKS);
    assert_int_equal(read_count(&world), 8);
    assert_true(refill_any(world.node));
    up(&world, 2);
    up(&world, 3);
    compare(&world, 5000);
    assert_false(refill_any(world.node));
    kith_node_free(world.node);
}

/* One that has lost it, too, does where the other has not; where all have, nobody says "not found".
 */
static void test_others_have_lost_it(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 2, BOTH);
    up(&world, 2);
    up(&world, 3);
    weak = conns[2];
    compare(&world, 8000);
    weak = 0;
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
    world_lost(&world, 1, BOTH);
    up(&world, 2);
    weak = conns[2];
    compare(&world, 8000);
    weak = 0;
    assert_int_equal(read_count(&world), 0);
    compare(&world, 8000); /* he has it again: from where, is not ours to ask */
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* Nobody else has it, or ever had. */
static void test_alone(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 0, BOTH);
    compare(&world, 1000);
    assert_int_equal(read_count(&world), 8);
    kith_node_free(world.node);
}

/* This node says of itself that it is such a one. */
static void test_is_told(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 2, KITH_LOST_ROWS);
    (void)peer_up(&world, 2);
    assert_true(says_refilling(&world, false));
    assert_false(says_refilling(&world, true));
    kith_node_free(world.node);
}

/* A second loss while the first is not made good; a record that is damaged itself. */
static void test_record(void **state)
{
    (void)state;
    struct world world;
    world_lost(&world, 2, KITH_LOST_CHUNKS);
    mark(&world, KITH_LOST_ROWS);
    again(&world);
    assert_int_equal(read_count(&world), 0);
    assert_int_equal(world.node->refill.left[EXCHANGE_CHUNKS], 8);
    assert_false(world.node->join->may_not_vote);
    world.meta[KITH_META_LOST][1] ^= 4;
    again(&world);
    assert_int_equal(read_count(&world), 0);
    assert_true(world.node->join->may_not_vote);
    kith_node_free(world.node);
    world_lost(&world, 2, BOTH | KITH_LOST_RECORDS);
    assert_true(world.node->join->may_not_vote);
    again(&world);
    assert_true(world.node->join->may_not_vote); /* until there is a newer table */
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_reads_before), cmocka_unit_test(test_writes),
        cmocka_unit_test(test_chunks_alone),    cmocka_unit_test(test_others_have_lost_it),
        cmocka_unit_test(test_alone),           cmocka_unit_test(test_is_told),
        cmocka_unit_test(test_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
