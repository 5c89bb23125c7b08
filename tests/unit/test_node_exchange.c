/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Anti-entropy, one message at a time: who may ask, what is refused, and what an answer may not
 * bring. That it brings replicas together is the simulator's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/limits.h"
#include "data/tree.h"
#include "node_world.h"

#define PEER 2u

/* The first operation of that kind, not about chunks, that the last step asked for. */
static const struct kith_store_op *asked(const struct world *world, enum kith_store_kind kind)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == kind &&
            !(kind == KITH_STORE_SUMS && effect->op->u.sums.chunks)) {
            return effect->op;
        }
    }
    return NULL;
}

static struct kith_sum sums[KITH_TREE_LEAVES];

static void stored(struct world *world, const struct kith_store_op *op,
                   struct kith_store_done *done)
{
    struct kith_event event = {.kind = KITH_EVENT_STORED, .done = done};
    done->id = op->id;
    done->message = "";
    done->reached = KITH_DURABLE_OS;
    step(world, &event);
}

static void sums_read(struct world *world, const struct kith_store_op *op)
{
    struct kith_store_done done = {.err = KITH_OK};
    done.u.sums = sums;
    stored(world, op, &done);
}

static struct kith_store_op chunk_sums; /* the first one about chunks, of that step */

/* A node that has been asked for its sums by the one under test, with the question. */
static uint64_t asking(struct world *world, struct kith_msg *ret_msg)
{
    world_new(world, 2);
    uint64_t conn = peer_up(world, PEER);
    const struct kith_store_op *op = asked(world, KITH_STORE_SUMS);
    for (uint32_t i = 0; i < 20 && op == NULL; i++) {
        tick(world, 100);
        op = asked(world, KITH_STORE_SUMS);
    }
    assert_non_null(op);
    for (uint32_t i = world->last.count; i > 0; i--) {
        const struct kith_store_op *other = world->last.effects[i - 1].op;
        if (other != NULL && other->kind == KITH_STORE_SUMS && other->u.sums.chunks) {
            chunk_sums = *other;
        }
    }
    sums_read(world, op);
    assert_non_null(sent(world, KITH_MSG_SUMS_REQ));
    *ret_msg = *sent(world, KITH_MSG_SUMS_REQ);
    return conn;
}

static void answer_sums(struct world *world, uint64_t conn, uint64_t id, uint32_t count,
                        const struct kith_checksum *leaves)
{
    struct kith_msg res = {.kind = KITH_MSG_SUMS_RES, .id = id};
    res.u.sums_res.status.message = "";
    res.u.sums_res.leaf_count = count;
    res.u.sums_res.leaves = leaves;
    message(world, conn, &res);
}

/* Others' leaves, of which so many are not as here. */
static const struct kith_checksum *leaves_with(uint32_t different)
{
    static struct kith_checksum leaves[KITH_TREE_LEAVES];
    memset(leaves, 0, sizeof leaves);
    for (uint32_t i = 0; i < different; i++) {
        leaves[i].bytes[15] = 1;
    }
    return leaves;
}

static struct kith_node_status status_of(struct world *world)
{
    struct kith_msg req = {.kind = KITH_MSG_STATUS_REQ, .id = 77};
    message(world, 10 + PEER, &req);
    const struct kith_store_op *op = asked(world, KITH_STORE_COUNT);
    assert_non_null(op);
    struct kith_store_done done = {.err = KITH_OK};
    done.u.counts.row_bytes = 4096;
    stored(world, op, &done);
    assert_non_null(sent(world, KITH_MSG_STATUS_RES));
    return sent(world, KITH_MSG_STATUS_RES)->u.status_res.node;
}

/* Of the group's pair with the peer. */
static struct kith_explain_pair explained(struct world *world, const struct kith_group *group)
{
    struct kith_msg req = {.kind = KITH_MSG_EXPLAIN_REQ, .id = 78};
    req.u.explain_req.group = *group;
    message(world, 10 + PEER, &req);
    const struct kith_msg *res = sent(world, KITH_MSG_EXPLAIN_RES);
    assert_non_null(res);
    assert_int_equal(res->u.explain_res.status.err, KITH_OK);
    struct kith_uuid peer = uuid_of(PEER);
    for (uint32_t i = 0; i < res->u.explain_res.pair_count; i++) {
        if (kith_uuid_equal(&res->u.explain_res.pairs[i].node, &peer)) {
            return res->u.explain_res.pairs[i];
        }
    }
    fail_msg("the pair is missing");
    return (struct kith_explain_pair){0};
}

static struct kith_group group_in(uint32_t partition);

static void test_equal_roots(void **state)
{
    (void)state;
    struct world world;
    struct kith_msg req;
    uint64_t conn = asking(&world, &req);
    struct kith_sum root = kith_tree_root(sums);
    struct kith_checksum bytes;
    kith_sum_encode(&root, &bytes);
    assert_memory_equal(&req.u.sums_req.root, &bytes, sizeof bytes);
    struct kith_node_status before = status_of(&world);
    assert_true(before.pairs > 1 && before.pairs_never == before.pairs);
    assert_int_equal(before.row_bytes, 4096);
    answer_sums(&world, conn, req.id, 0, NULL);
    assert_null(asked(&world, KITH_STORE_LEAF));
    assert_int_equal(status_of(&world).pairs_never, before.pairs); /* its chunks were not yet */
    assert_int_equal(chunk_sums.partition, req.u.sums_req.partition);
    sums_read(&world, &chunk_sums);
    const struct kith_msg *chunks = sent(&world, KITH_MSG_SUMS_REQ);
    assert_true(chunks != NULL && chunks->u.sums_req.chunks);
    answer_sums(&world, conn, chunks->id, 0, NULL);
    tick(&world, 2000);
    struct kith_node_status after = status_of(&world);
    assert_int_equal(after.pairs_never, before.pairs - 1); /* this one was compared */
    assert_int_equal(after.pairs_oldest_ms, 2000);
    struct kith_group group = group_in(req.u.sums_req.partition);
    assert_int_equal(explained(&world, &group).rows_ms_ago, 2000);
    kith_node_free(world.node);
}

/* Many leaves differ: they are fetched at once, those before `end`. */
static uint64_t leaf_asked(struct world *world, uint32_t end, struct kith_msg *ret_req,
                           struct kith_msg *ret_sums)
{
    uint64_t conn = asking(world, ret_sums);
    answer_sums(world, conn, ret_sums->id, KITH_TREE_LEAVES, leaves_with(KITH_TREE_LEAVES));
    const struct kith_store_op *op = asked(world, KITH_STORE_LEAF);
    assert_non_null(op);
    assert_true(op->u.leaf.digest);
    assert_true(kith_leaf_in(&op->u.leaf.leaves, 0) && kith_leaf_in(&op->u.leaf.leaves, 255));
    struct kith_leaf_row row = {.hash = {{9}}};
    struct kith_store_done done = {.err = KITH_OK};
    done.u.leaf.end = end;
    done.u.leaf.row_count = 1;
    done.u.leaf.rows = &row;
    stored(world, op, &done);
    assert_non_null(sent(world, KITH_MSG_LEAF_REQ));
    *ret_req = *sent(world, KITH_MSG_LEAF_REQ);
    assert_int_equal(ret_req->u.leaf_req.have_count, 1);
    assert_memory_equal(ret_req->u.leaf_req.have, &row.hash, sizeof row.hash);
    return conn;
}

static struct kith_group group_in(uint32_t partition)
{
    struct kith_group group;
    uint8_t own[12] = {0};
    do {
        own[0]++;
        group = kith_group_make(KITH_VOLUME_FS, own);
    } while (kith_group_partition(&group, 8) != partition);
    return group;
}

static void answer_leaf(struct world *world, uint64_t conn, uint64_t id, bool more, uint32_t count,
                        const struct kith_leaf_row *rows)
{
    struct kith_msg res = {.kind = KITH_MSG_LEAF_RES, .id = id};
    res.u.leaf_res.status.message = "";
    res.u.leaf_res.more = more;
    res.u.leaf_res.row_count = count;
    res.u.leaf_res.rows = rows;
    message(world, conn, &res);
}

static void absorbed(struct world *world, const struct kith_store_op *op, uint32_t changed)
{
    struct kith_store_done done = {.err = KITH_OK};
    done.u.absorb.changed = changed;
    stored(world, op, &done);
}

/* The rows of a page are merged; then comes the next one, with what is left of the leaves. */
static void test_rows_are_merged(void **state)
{
    (void)state;
    struct world world;
    struct kith_msg req, first;
    uint64_t conn = leaf_asked(&world, KITH_TREE_LEAVES, &req, &first);
    uint32_t partition = req.u.leaf_req.partition;
    struct kith_leaf_row rows[2];
    memset(rows, 0, sizeof rows);
    for (uint32_t i = 0; i < 2; i++) {
        rows[i].group = group_in(partition);
        rows[i].name = kith_bytes_make(&"ab"[i], 1);
        rows[i].state = kith_bytes_make("x", 1);
    }
    const struct kith_key last = {rows[1].group, rows[1].name};
    uint32_t leaf = kith_tree_leaf(&last);
    assert_true(leaf > 0);
    answer_leaf(&world, conn, req.id, true, 2, rows);
    const struct kith_store_op *op = asked(&world, KITH_STORE_ABSORB);
    assert_non_null(op);
    assert_int_equal(op->u.absorb.row_count, 2);
    assert_memory_equal(op->u.absorb.rows[1].name.data, "b", 1);
    absorbed(&world, op, 2); /* it goes on where that page ended */
    op = asked(&world, KITH_STORE_LEAF);
    assert_non_null(op);
    assert_false(kith_leaf_in(&op->u.leaf.leaves, leaf - 1));
    assert_true(kith_leaf_in(&op->u.leaf.leaves, leaf));

    struct kith_store_done done = {.err = KITH_OK};
    done.u.leaf.end = KITH_TREE_LEAVES;
    stored(&world, op, &done);
    uint64_t id = sent(&world, KITH_MSG_LEAF_REQ)->id;
    answer_leaf(&world, conn, id, true, 2, rows);
    absorbed(&world, asked(&world, KITH_STORE_ABSORB), 0); /* nothing new: not that leaf again */
    op = asked(&world, KITH_STORE_LEAF);
    assert_non_null(op);
    assert_false(kith_leaf_in(&op->u.leaf.leaves, leaf));

    stored(&world, op, &done);
    id = sent(&world, KITH_MSG_LEAF_REQ)->id;
    answer_leaf(&world, conn, id, false, 0, NULL);
    assert_null(asked(&world, KITH_STORE_ABSORB));
    assert_null(asked(&world, KITH_STORE_LEAF));
    kith_node_free(world.node);
}

static uint32_t told(const struct world *world)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        count += effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_WATCH_EVENT &&
                 !effect->msg->u.watch_event.ended;
    }
    return count;
}

/* Who watches is told of every row, though one step cannot tell all; then the exchange goes on. */
static void test_watchers_are_told(void **state)
{
    (void)state;
    enum { GROUPS = 8, CLIENTS = 400 };
    struct world world;
    struct kith_msg req, first;
    uint64_t conn = leaf_asked(&world, KITH_TREE_LEAVES, &req, &first);
    struct kith_leaf_row rows[GROUPS];
    memset(rows, 0, sizeof rows);
    rows[0].group = group_in(req.u.leaf_req.partition);
    for (uint32_t i = 0; i < GROUPS; i++) {
        if (i > 0) {
            rows[i].group = rows[i - 1].group;
            do {
                uint8_t *last = &rows[i].group.bytes[15];
                rows[i].group.bytes[14] = (uint8_t)(rows[i].group.bytes[14] + (*last == 255));
                (*last)++;
            } while (kith_group_partition(&rows[i].group, 8) != req.u.leaf_req.partition);
        }
        rows[i].name = kith_bytes_make("a", 1);
        rows[i].state = kith_bytes_make("x", 1);
    }
    for (uint64_t client = 100; client < 100 + CLIENTS; client++) {
        hello(&world, client, KITH_PROTOCOL_VERSION, 0);
        for (uint32_t i = 0; i < GROUPS; i++) {
            struct kith_msg watch = {.kind = KITH_MSG_WATCH_REQ, .id = i};
            watch.u.watch_req.table = table_id(&world);
            watch.u.watch_req.has_group = true;
            watch.u.watch_req.group = rows[i].group;
            watch.u.watch_req.lease_ms = 3000;
            message(&world, client, &watch);
            assert_int_equal(sent(&world, KITH_MSG_WATCH_RES)->u.watch_res.status.err, KITH_OK);
        }
    }
    answer_leaf(&world, conn, req.id, false, GROUPS, rows);
    absorbed(&world, asked(&world, KITH_STORE_ABSORB), GROUPS);
    uint32_t count = told(&world), steps = 1;
    for (; count < GROUPS * CLIENTS && steps < 20; steps++) {
        assert_null(asked(&world, KITH_STORE_LEAF));
        assert_true(world.last.deadline_ms <= world.now_ms);
        tick(&world, 0);
        count += told(&world);
    }
    assert_int_equal(count, GROUPS * CLIENTS);
    assert_in_range(steps, 3, 5);
    kith_node_free(world.node);
}

/* More rows here than one question can name: so many leaves at a time, and one at least. */
static void test_leaves_in_turn(void **state)
{
    (void)state;
    for (uint32_t end = 0; end <= 100; end += 100) {
        struct world world;
        struct kith_msg req, first;
        uint64_t conn = leaf_asked(&world, end, &req, &first);
        uint32_t next = end > 0 ? end : 1;
        assert_true(kith_leaf_in(&req.u.leaf_req.leaves, next - 1));
        assert_false(kith_leaf_in(&req.u.leaf_req.leaves, next));
        answer_leaf(&world, conn, req.id, false, 0, NULL);
        const struct kith_store_op *op = asked(&world, KITH_STORE_LEAF);
        assert_non_null(op);
        assert_false(kith_leaf_in(&op->u.leaf.leaves, next - 1));
        assert_true(kith_leaf_in(&op->u.leaf.leaves, next));
        kith_node_free(world.node);
    }
}

/* Rows of another partition, rows without a state, an answer from somebody else, and a late one. */
static void test_unsound_rows(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct world world;
        struct kith_msg req, first;
        uint64_t conn = leaf_asked(&world, KITH_TREE_LEAVES, &req, &first);
        uint32_t partition = req.u.leaf_req.partition;
        struct kith_leaf_row row = {.name = kith_bytes_make("a", 1)};
        row.group = group_in(i == 0 ? (partition + 1) % 8 : partition);
        row.state = kith_bytes_make("x", i == 1 ? 0 : 1);
        conn = i == 2 ? 1 : conn;
        if (i == 3) {
            tick(&world, 60000);
        }
        answer_leaf(&world, conn, req.id, false, 1, &row);
        assert_null(asked(&world, KITH_STORE_ABSORB));
        kith_node_free(world.node);
    }
}

/* A few leaves that differ are looked at again, and only what differs then, too, is fetched. */
static void test_looks_twice(void **state)
{
    (void)state;
    struct world world;
    struct kith_msg req;
    uint64_t conn = asking(&world, &req);
    uint32_t partition = req.u.sums_req.partition;
    answer_sums(&world, conn, req.id, KITH_TREE_LEAVES, leaves_with(3));
    assert_null(asked(&world, KITH_STORE_LEAF));
    const struct kith_store_op *op = NULL;
    for (uint32_t i = 0; i < 40 && op == NULL; i++) { /* other pairs come in between */
        tick(&world, 100);
        op = asked(&world, KITH_STORE_SUMS);
        if (op == NULL) {
            continue;
        }
        bool it = op->partition == partition;
        sums_read(&world, op);
        const struct kith_msg *again = sent(&world, KITH_MSG_SUMS_REQ);
        assert_non_null(again);
        uint64_t id = again->id;
        answer_sums(&world, conn, id, it ? KITH_TREE_LEAVES : 0, leaves_with(2));
        op = asked(&world, KITH_STORE_LEAF);
        assert_true(it == (op != NULL));
    }
    assert_non_null(op);
    assert_int_equal(op->partition, partition);
    assert_true(kith_leaf_in(&op->u.leaf.leaves, 1));
    assert_false(kith_leaf_in(&op->u.leaf.leaves, 2));
    kith_node_free(world.node);
}

/* The next exchange of rows of the partition, others being equal: up to its question. False: none
 * in so long. */
static bool next_of(struct world *world, uint64_t conn, uint32_t partition, uint64_t ms,
                    uint64_t *ret_id)
{
    struct kith_msg ping = {.kind = KITH_MSG_PING};
    ping.u.ping.is_answer = true;
    bool found = false;
    for (uint64_t at = 0; at < ms && !found; at += 20) {
        struct kith_store_op ops[16];
        uint32_t count = 0;
        message(world, conn, &ping);
        tick(world, 20);
        for (uint32_t i = 0; i < world->last.count; i++) {
            const struct kith_store_op *op = world->last.effects[i].op;
            if (op != NULL && op->kind == KITH_STORE_SUMS) {
                assert_true(count < 16);
                ops[count++] = *op;
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            sums_read(world, &ops[i]);
            assert_non_null(sent(world, KITH_MSG_SUMS_REQ));
            uint64_t id = sent(world, KITH_MSG_SUMS_REQ)->id;
            if (ops[i].partition == partition && !ops[i].u.sums.chunks) {
                *ret_id = id;
                found = true;
            } else {
                answer_sums(world, conn, id, 0, NULL);
            }
        }
    }
    return found;
}

/* What differs only at the second look has one of its own: it does not wait for the next hour. */
static void test_looks_again(void **state)
{
    (void)state;
    struct world world;
    struct kith_msg req;
    uint64_t id = 0, conn = asking(&world, &req);
    uint32_t partition = req.u.sums_req.partition;
    answer_sums(&world, conn, req.id, KITH_TREE_LEAVES, leaves_with(1));
    assert_true(next_of(&world, conn, partition, 4000, &id));
    answer_sums(&world, conn, id, KITH_TREE_LEAVES, leaves_with(3));
    const struct kith_store_op *op = asked(&world, KITH_STORE_LEAF);
    assert_non_null(op);
    assert_true(kith_leaf_in(&op->u.leaf.leaves, 0));
    assert_false(kith_leaf_in(&op->u.leaf.leaves, 1));
    struct kith_store_done done = {.err = KITH_OK};
    done.u.leaf.end = KITH_TREE_LEAVES;
    stored(&world, op, &done);
    assert_non_null(sent(&world, KITH_MSG_LEAF_REQ));
    answer_leaf(&world, conn, sent(&world, KITH_MSG_LEAF_REQ)->id, false, 0, NULL);
    assert_true(next_of(&world, conn, partition, 2 * KITH_EXCHANGE_AGAIN_MS, &id));
    answer_sums(&world, conn, id, KITH_TREE_LEAVES, leaves_with(3));
    op = asked(&world, KITH_STORE_LEAF);
    assert_non_null(op);
    assert_true(kith_leaf_in(&op->u.leaf.leaves, 1) && kith_leaf_in(&op->u.leaf.leaves, 2));
    assert_false(kith_leaf_in(&op->u.leaf.leaves, 0)); /* it differs anew: its second look comes */
    kith_node_free(world.node);
}

/* Ends the exchanges that the last step began: nothing differs. Those that were of `partition`. */
static uint32_t all_equal(struct world *world, uint64_t conn, uint32_t partition)
{
    struct kith_store_op ops[16];
    uint32_t count = 0, found = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_store_op *op = world->last.effects[i].op;
        if (op != NULL && op->kind == KITH_STORE_SUMS) {
            assert_true(count < 16);
            ops[count++] = *op;
            found += op->partition == partition ? 1 : 0;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        sums_read(world, &ops[i]);
        const struct kith_msg *req = sent(world, KITH_MSG_SUMS_REQ);
        assert_non_null(req);
        uint64_t id = req->id;
        answer_sums(world, conn, id, 0, NULL);
    }
    return found;
}

/* What is found damaged here is compared with the other owners at once, its rows and its chunks,
 * though that was done just before. */
static void test_damaged(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, PEER);
    uint32_t found = all_equal(&world, conn, 3);
    for (uint32_t i = 0; i < 100; i++) {
        tick(&world, 10);
        found += all_equal(&world, conn, 3);
    }
    assert_int_equal(found, 2);
    struct kith_msg status = {.kind = KITH_MSG_STATUS_REQ, .id = 77};
    message(&world, 10 + PEER, &status);
    struct kith_store_done done = {.err = KITH_OK, .damaged = 1, .partition = 3};
    stored(&world, asked(&world, KITH_STORE_COUNT), &done);
    tick(&world, 1);
    assert_int_equal(all_equal(&world, conn, 3), 2);
    tick(&world, 10);
    assert_int_equal(all_equal(&world, conn, 3), 0);
    kith_node_free(world.node);
}

static enum kith_err refused(struct world *world, uint64_t conn, const struct kith_msg *msg)
{
    message(world, conn, msg);
    const struct kith_msg *sums_res = sent(world, KITH_MSG_SUMS_RES);
    const struct kith_msg *leaf_res = sent(world, KITH_MSG_LEAF_RES);
    assert_true(sums_res != NULL || leaf_res != NULL);
    return sums_res != NULL ? sums_res->u.sums_res.status.err : leaf_res->u.leaf_res.status.err;
}

/* Clients get no sums: they are made with the cluster's secret. Bad numbers and old tables are
 * refused. */
static void test_who_may_ask(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)peer_up(&world, PEER);
    struct kith_msg msg = {.kind = KITH_MSG_SUMS_REQ, .id = 9};
    msg.u.sums_req.table = table_id(&world);
    assert_int_equal(refused(&world, 1, &msg), KITH_EPERM);
    msg.u.sums_req.partition = 8;
    assert_int_equal(refused(&world, 10 + PEER, &msg), KITH_EINVAL);
    msg.u.sums_req.partition = 0;
    msg.u.sums_req.table.version--;
    assert_int_equal(refused(&world, 10 + PEER, &msg), KITH_ESTALE);
    assert_true(sent(&world, KITH_MSG_SUMS_RES)->u.sums_res.table.size > 0);
    struct kith_msg leaf = {.kind = KITH_MSG_LEAF_REQ, .id = 10};
    leaf.u.leaf_req.table = table_id(&world);
    assert_int_equal(refused(&world, 1, &leaf), KITH_EPERM);
    leaf.u.leaf_req.have_count = KITH_LEAF_HASHES_MAX + 1;
    assert_int_equal(refused(&world, 10 + PEER, &leaf), KITH_EINVAL);
    leaf.u.leaf_req.have_count = 0;
    message(&world, 10 + PEER, &leaf);
    assert_non_null(asked(&world, KITH_STORE_LEAF));
    kith_node_free(world.node);
}

/* A backup asks as a client, and gets the rows' hashes, and the sums of the same moment once no more
 * rows follow, but not where it has all of it already. */
static void test_backup_asks(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)peer_up(&world, PEER);
    struct kith_sum here[KITH_TREE_LEAVES];
    struct kith_leaf_row row = {.name = kith_bytes_make("a", 1), .hash = {{7}}};
    memset(here, 0, sizeof here);
    here[3].low = 5;
    struct kith_sum root = kith_tree_root(here);
    for (uint32_t i = 0; i < 3; i++) { /* the end, more, an equal root */
        struct kith_msg leaf = {.kind = KITH_MSG_LEAF_REQ, .id = 10 + i};
        struct kith_store_done done = {.err = KITH_OK};
        leaf.u.leaf_req.table = table_id(&world);
        leaf.u.leaf_req.sums = true;
        if (i == 2) {
            kith_sum_encode(&root, &leaf.u.leaf_req.root);
        }
        message(&world, 1, &leaf);
        const struct kith_store_op *op = asked(&world, KITH_STORE_LEAF);
        assert_true(op != NULL && op->u.leaf.sums && !op->u.leaf.digest);
        done.u.leaf.more = i == 1;
        done.u.leaf.row_count = 1;
        done.u.leaf.rows = &row;
        done.u.leaf.sums = here;
        stored(&world, op, &done);
        const struct kith_msg *msg = sent(&world, KITH_MSG_LEAF_RES);
        assert_non_null(msg);
        const struct kith_leaf_res *res = &msg->u.leaf_res;
        assert_int_equal(res->status.err, KITH_OK);
        assert_int_equal(res->hash_count, 1);
        assert_memory_equal(res->hashes, &row.hash, sizeof row.hash);
        assert_int_equal(res->sum_count, i == 0 ? KITH_TREE_LEAVES : 0);
        for (uint32_t k = 0; k < res->sum_count; k++) {
            struct kith_sum sum;
            kith_sum_decode(&res->sums[k], &sum);
            assert_true(kith_sum_equal(&sum, &here[k]));
        }
    }
    struct kith_msg leaf = {.kind = KITH_MSG_LEAF_REQ, .id = 20};
    leaf.u.leaf_req.sums = true; /* without a table it is as far behind as can be */
    assert_int_equal(refused(&world, 1, &leaf), KITH_ESTALE);
    leaf.u.leaf_req.table = table_id(&world);
    leaf.u.leaf_req.partition = 8;
    assert_int_equal(refused(&world, 1, &leaf), KITH_EINVAL);
    kith_node_free(world.node);
}

/* For a part of a leaf; of several leaves there are none. */
static void test_backup_asks_parts(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)peer_up(&world, PEER);
    struct kith_sum here[KITH_TREE_LEAVES];
    struct kith_store_done done = {.err = KITH_OK};
    struct kith_msg leaf = {.kind = KITH_MSG_LEAF_REQ, .id = 10};
    memset(here, 0, sizeof here);
    leaf.u.leaf_req.table = table_id(&world);
    leaf.u.leaf_req.sums = leaf.u.leaf_req.part = true;
    leaf.u.leaf_req.has_after = leaf.u.leaf_req.has_until = true;
    leaf.u.leaf_req.after.name = kith_bytes_make("a", 1);
    leaf.u.leaf_req.until.name = kith_bytes_make("b", 1);
    assert_int_equal(refused(&world, 1, &leaf), KITH_EINVAL); /* of none */
    kith_leaf_add(&leaf.u.leaf_req.leaves, 3);
    kith_leaf_add(&leaf.u.leaf_req.leaves, 200);
    assert_int_equal(refused(&world, 1, &leaf), KITH_EINVAL);
    memset(&leaf.u.leaf_req.leaves, 0, sizeof leaf.u.leaf_req.leaves);
    kith_leaf_add(&leaf.u.leaf_req.leaves, 200);
    leaf.u.leaf_req.sums = false;
    assert_int_equal(refused(&world, 10 + PEER, &leaf), KITH_EINVAL);
    leaf.u.leaf_req.sums = true;
    message(&world, 1, &leaf);
    const struct kith_store_op *op = asked(&world, KITH_STORE_LEAF);
    assert_true(op && op->u.leaf.part && op->u.leaf.has_after && op->u.leaf.has_until);
    assert_true(kith_bytes_equal(op->u.leaf.after.name, leaf.u.leaf_req.after.name));
    assert_true(kith_bytes_equal(op->u.leaf.until.name, leaf.u.leaf_req.until.name));
    done.u.leaf.part = true;
    done.u.leaf.part_sum.low = 7;
    done.u.leaf.sums = here;
    stored(&world, op, &done);
    const struct kith_msg *msg = sent(&world, KITH_MSG_LEAF_RES);
    assert_true(msg && msg->u.leaf_res.status.err == KITH_OK && msg->u.leaf_res.part);
    struct kith_sum sum;
    kith_sum_decode(&msg->u.leaf_res.part_sum, &sum);
    assert_int_equal(sum.low, 7);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_roots),       cmocka_unit_test(test_rows_are_merged),
        cmocka_unit_test(test_watchers_are_told), cmocka_unit_test(test_leaves_in_turn),
        cmocka_unit_test(test_unsound_rows),      cmocka_unit_test(test_looks_twice),
        cmocka_unit_test(test_looks_again),       cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_who_may_ask),       cmocka_unit_test(test_backup_asks),
        cmocka_unit_test(test_backup_asks_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
