/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * compare_world.h - a core of which is asked what it reads, and that compares its partitions with
 * others, who answer by hand. For test_refill.c and test_aged.c; after node_world.h. */
#ifndef KITH_TESTS_COMPARE_WORLD_H
#define KITH_TESTS_COMPARE_WORLD_H

#include "core/internal.h"
#include "node_world.h"

static uint64_t conns[4]; /* to nodes 2 and 3; 0: it is down */
static uint64_t weak;     /* who is asked on that one has lost it, too */
static uint64_t lacking;  /* and on that one lacks a row of leaf 3 in each partition */
static uint32_t hurried;  /* how often others were told to come and look */
static uint32_t asked;    /* bit p: node 2 was asked for the sums of the rows of partition p */
static uint32_t holds;    /* bit p: a row of leaf 3 of partition p is here */

static inline void again(struct world *world)
{
    kith_node_free(world->node);
    memset(conns, 0, sizeof conns);
    start(world);
    hello(world, 1, KITH_PROTOCOL_VERSION, 0);
}

/* What a read of partition p's rows is answered; OK: the store is asked. */
static inline enum kith_err reads(struct world *world, uint32_t p)
{
    struct kith_bytes name = kith_bytes_make("a", 1);
    struct kith_msg msg = {.kind = KITH_MSG_GET_REQ, .id = 78};
    msg.u.get_req.table = table_id(world);
    msg.u.get_req.name_count = 1;
    msg.u.get_req.names = &name;
    for (uint8_t i = 0;; i++) {
        uint8_t own[12] = {i};
        msg.u.get_req.group = kith_group_make(KITH_VOLUME_FS, own);
        if (kith_group_partition(&msg.u.get_req.group, 8) == p) {
            break;
        }
    }
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = 1, .msg = &msg};
    step(world, &event);
    const struct kith_msg *res = sent(world, KITH_MSG_GET_RES);
    return res ? res->u.get_res.status.err : KITH_OK;
}

/* So many of the partitions are read. */
static inline uint32_t read_count(struct world *world)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < 8; p++) {
        enum kith_err err = reads(world, p);
        assert_true(err == KITH_OK || err == KITH_ENOTREADY);
        count += err == KITH_OK ? 1 : 0;
    }
    return count;
}

static inline void up(struct world *world, uint8_t byte)
{
    exchange_stop(world->node); /* what begins meanwhile would wait for its store for ever */
    conns[byte] = peer_up(world, byte);
}

/* What the step wants to be stored, or asks others for, is done and answered. */
static inline void serve(struct world *world)
{
    static struct kith_sum none[KITH_TREE_LEAVES], some[KITH_TREE_LEAVES];
    static struct kith_checksum leaves[KITH_TREE_LEAVES];
    struct {
        struct kith_store_done done;
        struct kith_msg msg;
        uint64_t conn; /* 0: it is `done` */
    } jobs[64];
    uint32_t count = 0;
    memset(jobs, 0, sizeof jobs);
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        kith_sum_encode(&none[i], &leaves[i]);
    }
    leaves[3].bytes[0] ^= 1;
    some[3].low = 2;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        const struct kith_store_op *op = effect->kind == KITH_EFFECT_STORE ? effect->op : NULL;
        const struct kith_msg *msg = effect->kind == KITH_EFFECT_SEND ? effect->msg : NULL;
        assert_true(count < 64);
        if (op && op->kind == KITH_STORE_META_PUT) {
            struct kith_bytes value = op->u.meta.value;
            assert_true(value.size <= META_MAX);
            memcpy(world->meta[op->u.meta.key], value.data, value.size);
            world->meta_size[op->u.meta.key] = value.size;
            jobs[count].done.reached = KITH_DURABLE_DISK;
            jobs[count++].done.id = op->id;
        } else if (op && (op->kind == KITH_STORE_SUMS || op->kind == KITH_STORE_LEAF)) {
            if (op->kind == KITH_STORE_SUMS) {
                bool has = (holds >> op->partition & 1u) != 0;
                jobs[count].done.u.sums = has && !op->u.sums.chunks ? some : none;
            }
            jobs[count++].done.id = op->id;
        } else if (msg && msg->kind == KITH_MSG_SUMS_REQ) {
            struct kith_msg *res = &jobs[count].msg;
            bool differs = effect->conn == lacking && !msg->u.sums_req.chunks;
            hurried += msg->u.sums_req.hurry ? 1 : 0;
            asked |= effect->conn == conns[2] && !msg->u.sums_req.chunks
                         ? 1u << msg->u.sums_req.partition
                         : 0;
            res->kind = KITH_MSG_SUMS_RES;
            res->id = msg->id;
            res->u.sums_res.refilling = effect->conn == weak;
            res->u.sums_res.leaf_count = differs ? KITH_TREE_LEAVES : 0;
            res->u.sums_res.leaves = leaves;
            res->u.sums_res.status.message = "";
            jobs[count++].conn = effect->conn;
        } else if (msg && msg->kind == KITH_MSG_LEAF_REQ) {
            jobs[count].msg.kind = KITH_MSG_LEAF_RES;
            jobs[count].msg.id = msg->id;
            jobs[count].msg.u.leaf_res.status.message = "";
            jobs[count++].conn = effect->conn;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &jobs[i].done};
        struct kith_event answer = {
            .kind = KITH_EVENT_MESSAGE, .conn = jobs[i].conn, .msg = &jobs[i].msg};
        jobs[i].done.message = "";
        step(world, jobs[i].conn == 0 ? &stored : &answer);
        serve(world);
    }
}

/* For so long; nothing differs but as said above. */
static inline void compare(struct world *world, uint64_t ms)
{
    exchange_start(world->node);
    for (uint64_t at = 0; at < ms; at += 10) {
        struct kith_msg ping = {.kind = KITH_MSG_PING};
        struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .msg = &ping};
        struct kith_event clock = {.kind = KITH_EVENT_TICK};
        ping.u.ping.is_answer = true;
        for (uint32_t i = 2; i < 4 && at % 100 == 0; i++) {
            event.conn = conns[i];
            if (conns[i] != 0) {
                step(world, &event);
                serve(world);
            }
        }
        world->now_ms += 10;
        step(world, &clock);
        serve(world);
    }
}

/* What node 2, which is up, is told when it asks for the sums of partition 5: that some of it is
 * missing here, or may be old. */
static inline bool says_refilling(struct world *world, bool chunks)
{
    static struct kith_sum sums[KITH_TREE_LEAVES];
    struct kith_msg msg = {.kind = KITH_MSG_SUMS_REQ, .id = 79};
    msg.u.sums_req.table = table_id(world);
    msg.u.sums_req.partition = 5;
    msg.u.sums_req.chunks = chunks;
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = 12, .msg = &msg};
    step(world, &event);
    uint64_t id = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        id = effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_SUMS
                 ? effect->op->id
                 : id;
    }
    struct kith_store_done done = {.id = id, .message = "", .u.sums = sums};
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(world, &stored);
    assert_non_null(sent(world, KITH_MSG_SUMS_RES));
    return sent(world, KITH_MSG_SUMS_RES)->u.sums_res.refilling;
}

#endif
