/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a node takes, and where it sends copies, as disks fill up and empty again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

/* The store says how full it is, with a completion of the node's own question. */
static void fill(struct world *world, enum kith_space space)
{
    world->space = space;
    world->node->space_ms = world->now_ms; /* whatever was not answered before */
    for (uint32_t i = 0; i < 2 * KITH_SPACE_MS / 100; i++) {
        uint32_t before = world->ops;
        tick(world, 100);
        if (world->ops > before && world->op.kind == KITH_STORE_COUNT) {
            struct kith_store_done done = {.id = world->op.id, .message = "", .space = space};
            struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
            run(world, &stored);
            assert_int_equal(world->node->space, space);
            return;
        }
    }
    fail_msg("nobody asked the store");
}

/* OK: it went to the store. */
static enum kith_err put(struct world *world, bool value)
{
    static struct kith_put_update one; /* they live as long as the put */
    static struct kith_msg msg;
    one.has_sibling = value;
    msg = put_msg(world, KITH_DURABLE_OS);
    msg.u.put_req.w = 1;
    msg.u.put_req.updates = &one;
    world->has_put = false;
    message(world, 1, &msg);
    const struct kith_msg *res = sent(world, KITH_MSG_PUT_RES);
    assert_true(world->has_put == (res == NULL));
    return res ? res->u.put_res.status.err : KITH_OK;
}

static enum kith_err replicate(struct world *world, uint64_t conn, size_t size)
{
    static const uint8_t state[1000];
    static struct kith_replica_row row;
    static struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_REPLICATE_REQ;
    msg.id = 3;
    row.state = kith_bytes_make(state, size);
    msg.u.replicate_req.table = table_id(world);
    msg.u.replicate_req.row_count = 1;
    msg.u.replicate_req.rows = &row;
    uint32_t before = world->ops;
    message(world, conn, &msg);
    const struct kith_msg *res = sent(world, KITH_MSG_REPLICATE_RES);
    assert_true((world->ops > before) == (res == NULL));
    if (!res) {
        op_done(world);
        return KITH_OK;
    }
    return res->u.replicate_res.status.err;
}

static enum kith_err chunk(struct world *world)
{
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_PUT_REQ, .id = 4};
    msg.u.chunk_put_req.table = table_id(world);
    msg.u.chunk_put_req.payload = kith_blob_new(100);
    assert_non_null(msg.u.chunk_put_req.payload);
    message(world, 1, &msg);
    kith_blob_drop(msg.u.chunk_put_req.payload);
    const struct kith_msg *res = sent(world, KITH_MSG_CHUNK_RES);
    return res ? res->u.chunk_res.status.err : KITH_OK;
}

static void test_takes(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)peer_up(&world, 2);
    fill(&world, KITH_SPACE_SCARCE);
    (void)peer_up(&world, 3);
    assert_int_equal(put(&world, true), KITH_OK);
    assert_int_equal(chunk(&world), KITH_OK);
    fill(&world, KITH_SPACE_FULL);
    (void)peer_up(&world, 3); /* the others were silent meanwhile */
    assert_int_equal(put(&world, true), KITH_ENOSPC);
    assert_int_equal(put(&world, false), KITH_OK);
    assert_int_equal(chunk(&world), KITH_ENOSPC);
    assert_int_equal(replicate(&world, 12, 900), KITH_ENOSPC);
    assert_int_equal(replicate(&world, 12, 100), KITH_OK);
    fill(&world, KITH_SPACE_WIDE); /* nobody but the store has told it */
    assert_int_equal(put(&world, true), KITH_OK);
    assert_int_equal(replicate(&world, 12, 900), KITH_OK);
    kith_node_free(world.node);
}

static void ping(struct world *world, uint64_t conn, enum kith_space space)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.is_answer = true;
    msg.u.ping.table = table_id(world);
    msg.u.ping.space = space;
    message(world, conn, &msg);
}

/* Copies of values go only where there is room; those of deletes to all. */
static void test_left_out(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t two = peer_up(&world, 2);
    uint64_t three = peer_up(&world, 3);
    ping(&world, two, KITH_SPACE_WIDE);
    ping(&world, three, KITH_SPACE_SCARCE);
    assert_int_equal(put(&world, true), KITH_OK);
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    ping(&world, three, KITH_SPACE_FULL);
    assert_int_equal(put(&world, true), KITH_OK);
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 1);
    assert_int_equal(put(&world, false), KITH_OK);
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    ping(&world, three, KITH_SPACE_LOW);
    assert_int_equal(put(&world, true), KITH_OK);
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    kith_node_free(world.node);
}

/* It says so, and looks for no chunks. */
static void test_says_so(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    fill(&world, KITH_SPACE_LOW);
    (void)peer_up(&world, 2);
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.table = table_id(&world);
    message(&world, 12, &msg);
    assert_non_null(sent(&world, KITH_MSG_PING));
    assert_int_equal(sent(&world, KITH_MSG_PING)->u.ping.space, KITH_SPACE_LOW);
    tick(&world, 1);
    assert_true(world.node->exchanges.out[EXCHANGE_ROWS] > 0);
    assert_int_equal(world.node->exchanges.out[EXCHANGE_CHUNKS], 0);
    fill(&world, KITH_SPACE_WIDE);
    (void)peer_up(&world, 2);
    tick(&world, 1);
    assert_true(world.node->exchanges.out[EXCHANGE_CHUNKS] > 0);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
