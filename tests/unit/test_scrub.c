/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The scrub of a node: that it visits everything, how fast, and that a start goes on with it. What
 * a store finds is test_store_scrub.c's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

enum { PARTITIONS = 8, LEAVES_A_STEP = 64, STEPS_MAX = 100000 };

struct seen {
    uint32_t visits[PARTITIONS][2]; /* of their first leaf: rows, chunks */
    uint32_t ops;
    uint64_t bytes_each; /* what each operation has read */
    uint32_t damaged;    /* that many find something first */
    uint64_t compared_ms[PARTITIONS]; /* what they were told at the first leaf of rows */
};

/* Completes the scrub's operation if the last step asked for one. */
static bool serve(struct world *world, struct seen *seen)
{
    const struct kith_store_op *op = NULL;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_SCRUB) {
            op = effect->op;
        }
    }
    if (op == NULL) {
        return false;
    }
    seen->ops++;
    seen->visits[op->partition][op->u.scrub.chunks] += op->u.scrub.leaf == 0;
    if (op->u.scrub.leaf == 0 && !op->u.scrub.chunks) {
        seen->compared_ms[op->partition] = op->u.scrub.compared_ms;
    } else {
        assert_int_equal(op->u.scrub.compared_ms, 0);
    }
    struct kith_store_done done = {
        .id = op->id, .message = "", .reached = KITH_DURABLE_OS, .partition = op->partition};
    done.u.scrub.leaf = op->u.scrub.leaf + LEAVES_A_STEP;
    done.u.scrub.count = 10;
    done.u.scrub.bytes = seen->bytes_each;
    if (seen->damaged > 0) {
        seen->damaged--;
        done.damaged = 1;
        done.u.scrub.leaf = op->u.scrub.leaf;
    }
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(world, &stored);
    return true;
}

static struct kith_repair_res command(struct world *world, enum kith_repair_action action)
{
    struct kith_msg req = {.kind = KITH_MSG_REPAIR_CMD, .id = 88};
    req.u.repair_cmd.action = action;
    message(world, 1, &req);
    struct kith_store_done done = {.id = world->op.id, .message = ""};
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    assert_int_equal(world->op.kind, KITH_STORE_COUNT);
    run(world, &stored);
    assert_non_null(sent(world, KITH_MSG_REPAIR_RES));
    return sent(world, KITH_MSG_REPAIR_RES)->u.repair_res;
}

/* Goes on until a pass has ended, or so many operations were carried out; the time that took. */
static uint64_t go_on(struct world *world, struct seen *seen, uint32_t ops, uint64_t step_ms)
{
    uint64_t begun_ms = world->now_ms;
    for (uint32_t i = 0; seen->ops < ops; i++) {
        assert_true(i < STEPS_MAX);
        while (seen->ops < ops && serve(world, seen)) {
            if (command(world, KITH_REPAIR_STATUS).scrub.left == 0) {
                return world->now_ms - begun_ms;
            }
            tick(world, 0);
        }
        tick(world, step_ms);
    }
    return world->now_ms - begun_ms;
}

static void visited_once(const struct seen *seen)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(seen->visits[p][0], 1);
        assert_int_equal(seen->visits[p][1], 1);
    }
}

/* One that was asked for: at once, and no faster than the rate. */
static void test_asked(void **state)
{
    (void)state;
    struct world world;
    struct seen seen = {.damaged = 3};
    world_new(&world, 0);
    assert_int_equal(command(&world, KITH_REPAIR_STATUS).scrub.begun, 0);
    struct kith_repair_res res = command(&world, KITH_SCRUB_START);
    assert_true(res.scrub.asked && res.scrub.left == PARTITIONS);
    tick(&world, 0);
    assert_int_equal(go_on(&world, &seen, UINT32_MAX, 1), 0);
    res = command(&world, KITH_REPAIR_STATUS);
    assert_true(!res.scrub.asked && res.scrub.ended > 0);
    assert_int_equal(res.scrub.ended_damaged, 3);
    assert_int_equal(seen.ops, PARTITIONS * 2 * (KITH_TREE_LEAVES / LEAVES_A_STEP) + 3);
    assert_int_equal(res.scrub.rows + res.scrub.chunks, 10 * seen.ops);
    seen = (struct seen){.bytes_each = 1000};
    pace_set(&world.node->scrub.pace, world.now_ms, 10000);
    (void)command(&world, KITH_SCRUB_START);
    tick(&world, 0);
    assert_in_range(go_on(&world, &seen, UINT32_MAX, 10), 4000, 7000); /* 64 kB at 10 kB/s */
    visited_once(&seen);
    kith_node_free(world.node);
}

/* One of its own accord: once in the period. */
static void test_period(void **state)
{
    (void)state;
    enum { PERIOD = 8000000 };
    struct world world;
    struct seen seen = {0};
    world_new(&world, 0);
    world.node->scrub.period_ms = PERIOD;
    world.node->scrub.due_ms = world.now_ms;
    tick(&world, 0);
    assert_in_range(go_on(&world, &seen, UINT32_MAX, 1000), PERIOD * 8 / 10, PERIOD * 11 / 10);
    visited_once(&seen);
    struct kith_repair_res res = command(&world, KITH_REPAIR_STATUS);
    assert_int_equal(res.scrub.damaged, 0);
    seen = (struct seen){0};
    assert_in_range(go_on(&world, &seen, UINT32_MAX, 1000), PERIOD * 8 / 10, PERIOD * 11 / 10);
    visited_once(&seen);
    kith_node_free(world.node);
}

/* A start goes on with the pass, at least with the partition after those that were noted. */
static void test_start(void **state)
{
    (void)state;
    struct world world;
    struct seen seen = {0};
    world_new(&world, 0);
    (void)command(&world, KITH_SCRUB_START);
    tick(&world, 0);
    for (uint32_t i = 0; i < 3 * 8; i++) { /* three partitions, a minute each */
        assert_true(serve(&world, &seen));
        tick(&world, 10000);
    }
    uint32_t left = command(&world, KITH_REPAIR_STATUS).scrub.left;
    assert_int_equal(left, PARTITIONS - 3);
    kith_node_free(world.node);
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    struct kith_repair_res res = command(&world, KITH_REPAIR_STATUS);
    assert_true(res.scrub.asked);
    assert_in_range(res.scrub.left, left, left + 1);
    assert_true(res.scrub.rows > 0);
    (void)go_on(&world, &seen, UINT32_MAX, 1);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_in_range(seen.visits[p][0], 1, 2);
        assert_in_range(seen.visits[p][1], 1, 2);
    }
    kith_node_free(world.node);
    world.meta[KITH_META_SCRUB][3] ^= 1; /* a damaged record is no reason not to start */
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    assert_int_equal(command(&world, KITH_REPAIR_STATUS).scrub.begun, 0);
    kith_node_free(world.node);
}

/* It begins anew while an operation is out: what that one read is of the pass before. */
static void test_begun_anew(void **state)
{
    (void)state;
    struct world world;
    struct seen seen = {0};
    world_new(&world, 0);
    (void)command(&world, KITH_SCRUB_START);
    tick(&world, 0);
    assert_true(serve(&world, &seen));
    tick(&world, 0); /* the next one is out */
    struct kith_effects out = world.last;
    struct kith_store_op op = {0};
    for (uint32_t i = 0; i < out.count; i++) {
        if (out.effects[i].kind == KITH_EFFECT_STORE) {
            op = *out.effects[i].op;
        }
    }
    assert_int_equal(op.kind, KITH_STORE_SCRUB);
    assert_int_equal(command(&world, KITH_SCRUB_START).scrub.rows, 0);
    struct kith_store_done done = {.id = op.id, .message = "", .partition = op.partition};
    done.u.scrub.leaf = KITH_TREE_LEAVES;
    done.u.scrub.count = 10;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(&world, &stored);
    assert_int_equal(command(&world, KITH_REPAIR_STATUS).scrub.rows, 0);
    seen = (struct seen){0};
    tick(&world, 0);
    (void)go_on(&world, &seen, UINT32_MAX, 1);
    visited_once(&seen);
    kith_node_free(world.node);
}

/* The store is told since when all other owners were compared with: the one longest ago, and some
 * more; and nothing while one was not, or had lost rows himself. */
static void test_compared(void **state)
{
    (void)state;
    struct world world;
    struct seen seen = {0};
    world_new(&world, 2);
    (void)peer_up(&world, 2);
    (void)command(&world, KITH_REPAIR_STOP);
    tick(&world, 1);
    struct exchanges *exchanges = &world.node->exchanges;
    assert_true(exchanges->made && exchanges->own_count == 2 * PARTITIONS);
    for (uint32_t i = 0; i < exchanges->own_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[i];
        pair->whole_ms = KITH_EXCHANGE_BEGAN_MS + 1000 + 2 * i;
        pair->weak = pair->partition == 3 && i % 2 == 1;
        pair->whole_ms = pair->partition == 5 && i % 2 == 0 ? 0 : pair->whole_ms;
    }
    (void)command(&world, KITH_SCRUB_START);
    tick(&world, 0);
    (void)go_on(&world, &seen, UINT32_MAX, 1);
    visited_once(&seen);
    for (uint32_t i = 0; i < exchanges->own_count; i += 2) {
        uint32_t p = exchanges->pairs[i].partition;
        assert_int_equal(exchanges->pairs[i + 1].partition, p);
        assert_int_equal(seen.compared_ms[p], p == 3 || p == 5 ? 0 : 1000 + 2 * i);
    }
    kith_node_free(world.node);
    world_new(&world, 0); /* there is none */
    seen = (struct seen){0};
    (void)command(&world, KITH_SCRUB_START);
    tick(&world, 0);
    (void)go_on(&world, &seen, UINT32_MAX, 1);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(seen.compared_ms[p], 0);
    }
    kith_node_free(world.node);
}

/* Anti-entropy is stopped, started, and bounded. */
static void test_repair(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)peer_up(&world, 2);
    assert_true(!command(&world, KITH_REPAIR_STATUS).stopped);
    struct kith_repair_res res = command(&world, KITH_REPAIR_STOP);
    assert_true(res.stopped);
    for (uint32_t i = 0; i < 10; i++) {
        tick(&world, 100);
        assert_null(sent(&world, KITH_MSG_SUMS_REQ));
    }
    assert_int_equal(world.node->exchanges.out[EXCHANGE_ROWS], 0);
    res = command(&world, KITH_REPAIR_START);
    assert_true(!res.stopped);
    assert_int_equal(res.peer_count, 2);
    assert_true(res.peers[0].pairs > 0 && res.peers[0].compared == 0);
    tick(&world, 1);
    assert_true(world.node->exchanges.out[EXCHANGE_ROWS] > 0);
    struct kith_msg req = {.kind = KITH_MSG_REPAIR_CMD, .id = 89};
    req.u.repair_cmd.action = KITH_REPAIR_LIMIT;
    req.u.repair_cmd.rate = 4711;
    message(&world, 1, &req);
    assert_int_equal(command(&world, KITH_REPAIR_STATUS).rate, 4711);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked),  cmocka_unit_test(test_period),
        cmocka_unit_test(test_start),  cmocka_unit_test(test_begun_anew),
        cmocka_unit_test(test_repair), cmocka_unit_test(test_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
