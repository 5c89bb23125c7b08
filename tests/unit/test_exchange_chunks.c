/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Anti-entropy of chunks, one message at a time: what is asked, over which connection, what an
 * answer may not bring, and what becomes of it when the connection fails. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

#define PEER  2u
#define MANY  6u /* chunks that he has: more than are fetched at a time */
#define ATIME 4u

static struct kith_sum sums[KITH_TREE_LEAVES];
static struct kith_chunk_entry chunks[MANY];
static struct kith_blob *blobs[MANY];

static const struct kith_store_op *asked(const struct world *world, enum kith_store_kind kind)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == kind &&
            (kind != KITH_STORE_SUMS || effect->op->u.sums.chunks)) {
            return effect->op;
        }
    }
    return NULL;
}

static void stored(struct world *world, uint64_t id, struct kith_store_done *done)
{
    struct kith_event event = {.kind = KITH_EVENT_STORED, .done = done};
    done->id = id;
    done->message = "";
    done->reached = KITH_DURABLE_OS;
    step(world, &event);
}

/* The bulk connection that the last step asked for; 0: none. */
static uint64_t bulk_asked(const struct world *world)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_CONNECT && effect->cls == KITH_CONN_BULK) {
            return effect->conn;
        }
    }
    return 0;
}

static void make_chunks(uint32_t partition)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        struct kith_chunk_id *id = &chunks[i].id;
        do {
            memset(id, 0, sizeof *id);
            id->bytes[19] = (uint8_t)number;
            number++;
        } while (kith_chunk_partition(id, 8) != partition);
        if (blobs[i] == NULL) {
            blobs[i] = kith_blob_new(1000 + i);
            assert_non_null(blobs[i]);
            memset(blobs[i]->data, (int)i, blobs[i]->size);
        }
        chunks[i].checksum = kith_checksum_of(kith_bytes_make(blobs[i]->data, blobs[i]->size));
        chunks[i].size = (uint32_t)blobs[i]->size;
    }
}

/* The node under test has asked for the list of a partition's chunks; its connection. */
static uint64_t list_asked(struct world *world, struct kith_msg *ret_req)
{
    world_new(world, 2);
    uint64_t conn = peer_up(world, PEER);
    const struct kith_store_op *op = asked(world, KITH_STORE_SUMS);
    for (uint32_t i = 0; i < 20 && op == NULL; i++) {
        tick(world, 100);
        op = asked(world, KITH_STORE_SUMS);
    }
    assert_non_null(op);
    struct kith_store_done done = {.err = KITH_OK};
    done.u.sums = sums;
    stored(world, op->id, &done);
    const struct kith_msg *req = sent(world, KITH_MSG_SUMS_REQ);
    assert_true(req != NULL && req->u.sums_req.chunks);
    static struct kith_checksum leaves[KITH_TREE_LEAVES];
    memset(leaves, 1, sizeof leaves);
    struct kith_msg res = {.kind = KITH_MSG_SUMS_RES, .id = req->id};
    res.u.sums_res.status.message = "";
    res.u.sums_res.leaf_count = KITH_TREE_LEAVES;
    res.u.sums_res.leaves = leaves;
    message(world, conn, &res);
    assert_non_null(sent(world, KITH_MSG_CHUNK_LIST_REQ));
    *ret_req = *sent(world, KITH_MSG_CHUNK_LIST_REQ);
    assert_false(ret_req->u.chunk_list_req.has_after);
    make_chunks(ret_req->u.chunk_list_req.partition);
    return conn;
}

static void list_answer(struct world *world, uint64_t conn, uint64_t id, bool more, uint32_t count)
{
    struct kith_msg res = {.kind = KITH_MSG_CHUNK_LIST_RES, .id = id};
    res.u.chunk_list_res.status.message = "";
    res.u.chunk_list_res.more = more;
    res.u.chunk_list_res.chunk_count = count;
    res.u.chunk_list_res.chunks = chunks;
    message(world, conn, &res);
}

/* All of them are lacking. */
static void lack_answer(struct world *world, uint32_t count)
{
    const struct kith_store_op *op = asked(world, KITH_STORE_CHUNK_LACK);
    assert_non_null(op);
    assert_int_equal(op->u.chunk_lack.count, count);
    struct kith_store_done done = {.err = KITH_OK};
    done.u.chunk_list.count = count;
    done.u.chunk_list.chunks = chunks;
    stored(world, op->id, &done);
}

/* His side of it is up; the node sends what waited for it. */
static void bulk_up(struct world *world, uint64_t bulk)
{
    struct kith_event opened = {.kind = KITH_EVENT_OPENED, .conn = bulk};
    run(world, &opened);
    assert_non_null(sent(world, KITH_MSG_HELLO));
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = kith_protocol_ours();
    msg.u.hello.role = KITH_ROLE_NODE;
    msg.u.hello.node = uuid_of(PEER);
    msg.u.hello.incarnation = 1;
    msg.u.hello.address = "there:2";
    msg.u.hello.software = "test";
    message(world, bulk, &msg);
    tick(world, 0);
}

/* MANY chunks are lacking, and the first ones asked for over the connection. */
static uint64_t fetching(struct world *world, uint64_t *ret_conn, uint64_t ids[ATIME])
{
    struct kith_msg req;
    *ret_conn = list_asked(world, &req);
    list_answer(world, *ret_conn, req.id, false, MANY);
    lack_answer(world, MANY);
    uint64_t bulk = bulk_asked(world);
    assert_true(bulk != 0);
    assert_null(sent(world, KITH_MSG_CHUNK_GET_REQ));
    bulk_up(world, bulk);
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_CHUNK_GET_REQ) {
            assert_true(count < ATIME && effect->conn == bulk);
            assert_memory_equal(&effect->msg->u.chunk_get_req.id, &chunks[count].id, 20);
            assert_true(effect->msg->u.chunk_get_req.refs);
            ids[count++] = effect->msg->id;
        }
    }
    assert_int_equal(count, ATIME);
    return bulk;
}

static void chunk_answer(struct world *world, uint64_t conn, uint64_t id, uint32_t number)
{
    struct kith_msg res = {.kind = KITH_MSG_CHUNK_RES, .id = id};
    res.u.chunk_res.status.message = "";
    res.u.chunk_res.checksum = chunks[number].checksum;
    res.u.chunk_res.chunk_size = chunks[number].size;
    res.u.chunk_res.payload = blobs[number];
    res.u.chunk_res.ref_count = 1;
    res.u.chunk_res.refs = &chunks[0].id;
    message(world, conn, &res);
}

static void test_fetches(void **state)
{
    (void)state;
    struct world world;
    uint64_t conn, ids[MANY];
    uint64_t bulk = fetching(&world, &conn, ids);
    for (uint32_t i = 0; i < MANY; i++) {
        chunk_answer(&world, bulk, ids[i], i);
        const struct kith_store_op *op = asked(&world, KITH_STORE_CHUNK_PUT);
        assert_non_null(op);
        assert_memory_equal(&op->u.chunk_put.id, &chunks[i].id, 20);
        assert_ptr_equal(op->u.chunk_put.payload, blobs[i]);
        assert_int_equal(op->u.chunk_put.ref_count, 1); /* they travel with it */
        assert_null(sent(&world, KITH_MSG_CHUNK_GET_REQ));
        struct kith_store_done done = {.err = KITH_OK};
        stored(&world, op->id, &done); /* the next one only when this is stored */
        const struct kith_msg *next = sent(&world, KITH_MSG_CHUNK_GET_REQ);
        assert_true((next != NULL) == (i + ATIME < MANY));
        if (next != NULL) {
            ids[i + ATIME] = next->id;
        }
    }
    kith_node_free(world.node);
}

static void test_pages(void **state)
{
    (void)state;
    struct world world;
    struct kith_msg req;
    uint64_t conn = list_asked(&world, &req);
    list_answer(&world, conn, req.id, true, 2);
    lack_answer(&world, 2);
    uint64_t bulk = bulk_asked(&world);
    bulk_up(&world, bulk);
    uint64_t first = sent(&world, KITH_MSG_CHUNK_GET_REQ)->id;
    assert_int_equal(sent_count(&world, KITH_MSG_CHUNK_GET_REQ), 2);
    uint64_t second = 0;
    for (uint32_t i = 0; i < world.last.count; i++) {
        const struct kith_msg *msg = world.last.effects[i].msg;
        second = msg != NULL && msg->kind == KITH_MSG_CHUNK_GET_REQ ? msg->id : second;
    }
    for (uint32_t i = 0; i < 2; i++) {
        chunk_answer(&world, bulk, i == 0 ? first : second, i);
        struct kith_store_done done = {.err = KITH_OK};
        stored(&world, asked(&world, KITH_STORE_CHUNK_PUT)->id, &done);
    }
    const struct kith_msg *next = sent(&world, KITH_MSG_CHUNK_LIST_REQ);
    assert_non_null(next);
    assert_true(next->u.chunk_list_req.has_after);
    assert_memory_equal(&next->u.chunk_list_req.after, &chunks[1].id, 20);
    assert_true(kith_leaf_in(&next->u.chunk_list_req.leaves, kith_tree_chunk_leaf(&chunks[1].id)));
    list_answer(&world, conn, next->id, false, 0);
    assert_null(asked(&world, KITH_STORE_CHUNK_LACK));
    kith_node_free(world.node);
}

/* Other contents, an error, contents that the store refuses: the others come all the same. */
static void test_bad_ones(void **state)
{
    (void)state;
    struct world world;
    uint64_t conn, ids[MANY];
    uint64_t bulk = fetching(&world, &conn, ids);
    chunk_answer(&world, bulk, ids[0], 1);
    assert_null(asked(&world, KITH_STORE_CHUNK_PUT));
    assert_non_null(sent(&world, KITH_MSG_CHUNK_GET_REQ)); /* it goes on with the fifth */
    struct kith_msg res = {.kind = KITH_MSG_CHUNK_RES, .id = ids[1]};
    res.u.chunk_res.status.err = KITH_ECORRUPT;
    res.u.chunk_res.status.message = "damaged";
    message(&world, bulk, &res);
    assert_non_null(sent(&world, KITH_MSG_CHUNK_GET_REQ));
    chunk_answer(&world, bulk, ids[2], 2);
    const struct kith_store_op *op = asked(&world, KITH_STORE_CHUNK_PUT);
    assert_non_null(op);
    struct kith_store_done done = {.err = KITH_ECORRUPT};
    stored(&world, op->id, &done);
    chunk_answer(&world, 10 + PEER + 1, ids[3], 3); /* not his connection */
    assert_null(asked(&world, KITH_STORE_CHUNK_PUT));
    chunk_answer(&world, bulk, ids[3], 3);
    assert_non_null(asked(&world, KITH_STORE_CHUNK_PUT));
    kith_node_free(world.node);
}

static void test_unsound_list(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct world world;
        struct kith_msg req;
        uint64_t conn = list_asked(&world, &req);
        if (i == 0) { /* a page that leads nowhere */
            list_answer(&world, conn, req.id, true, 0);
        } else {
            make_chunks((req.u.chunk_list_req.partition + 1) % 8);
            list_answer(&world, conn, req.id, false, 1);
        }
        assert_null(asked(&world, KITH_STORE_CHUNK_LACK));
        assert_null(sent(&world, KITH_MSG_CHUNK_LIST_REQ));
        kith_node_free(world.node);
    }
}

/* Ends what the last step began of other partitions; true: it has begun that of `chunks` again. */
static bool others_are_equal(struct world *world, uint64_t conn)
{
    uint64_t ids[16];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_store_op *op = world->last.effects[i].op;
        if (op == NULL || op->kind != KITH_STORE_SUMS) {
            continue;
        }
        if (op->u.sums.chunks && op->partition == kith_chunk_partition(&chunks[0].id, 8)) {
            return true;
        }
        ids[count++] = op->id;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_store_done done = {.err = KITH_OK};
        done.u.sums = sums;
        stored(world, ids[i], &done);
        struct kith_msg res = {.kind = KITH_MSG_SUMS_RES};
        res.id = sent(world, KITH_MSG_SUMS_REQ)->id;
        res.u.sums_res.status.message = "";
        message(world, conn, &res);
    }
    return false;
}

/* The bulk connection cannot be opened, or ends: that for rows stays, and it is tried again. */
static void test_connection_fails(void **state)
{
    (void)state;
    for (uint32_t how = 0; how < 2; how++) {
        struct world world;
        struct kith_msg req;
        uint64_t conn, ids[MANY], bulk;
        if (how == 0) {
            conn = list_asked(&world, &req);
            list_answer(&world, conn, req.id, false, MANY);
            lack_answer(&world, MANY);
            bulk = bulk_asked(&world);
        } else {
            bulk = fetching(&world, &conn, ids);
        }
        struct kith_event gone = {.kind = KITH_EVENT_CLOSED, .conn = bulk};
        run(&world, &gone);
        assert_false(closed(&world, conn));
        assert_int_equal(bulk_asked(&world), 0);
        struct kith_msg ping = {.kind = KITH_MSG_PING};
        ping.u.ping.is_answer = true;
        bool again = false;
        for (uint32_t i = 0; i < 400 && !again; i++) {
            message(&world, conn, &ping);
            tick(&world, 100);
            again = others_are_equal(&world, conn);
        }
        assert_true(again);
        kith_node_free(world.node);
    }
}

/* No answer on it: it is given up, and no longer than that does anything wait. */
static void test_silence(void **state)
{
    (void)state;
    struct world world;
    uint64_t conn, ids[MANY];
    uint64_t bulk = fetching(&world, &conn, ids);
    struct kith_msg ping = {.kind = KITH_MSG_PING};
    ping.u.ping.is_answer = true;
    bool given_up = false;
    for (uint32_t i = 0; i < 310 && !given_up; i++) {
        message(&world, conn, &ping);
        tick(&world, 100);
        given_up = closed(&world, bulk);
        assert_false(closed(&world, conn));
    }
    assert_true(given_up);
    kith_node_free(world.node);
}

/* The bound on what comes from other zones: one chunk, then a rest; of the own zone as many as may.
 */
static void test_zone_rate(void **state)
{
    (void)state;
    for (uint32_t far = 0; far < 2; far++) {
        struct world world;
        struct kith_msg req, ping = {.kind = KITH_MSG_PING};
        world_zones = far == 1 ? "aba" : "aab";
        uint64_t conn = list_asked(&world, &req);
        world_zones = NULL;
        ping.u.ping.is_answer = true;
        pace_set(&world.node->zone_pace, world.now_ms, 500);
        list_answer(&world, conn, req.id, false, MANY);
        lack_answer(&world, MANY);
        uint64_t bulk = bulk_asked(&world);
        bulk_up(&world, bulk);
        uint32_t asked_for = sent_count(&world, KITH_MSG_CHUNK_GET_REQ);
        assert_int_equal(asked_for, far == 1 ? 1 : ATIME);
        if (far == 1) { /* 1,000 bytes at 500 a second, and a second's worth was there */
            chunk_answer(&world, bulk, sent(&world, KITH_MSG_CHUNK_GET_REQ)->id, 0);
            struct kith_store_done done = {.err = KITH_OK};
            stored(&world, asked(&world, KITH_STORE_CHUNK_PUT)->id, &done);
            uint64_t waited = 0;
            while (sent_count(&world, KITH_MSG_CHUNK_GET_REQ) == 0 && waited < 5000) {
                message(&world, conn, &ping);
                tick(&world, 100);
                waited += 100;
            }
            assert_in_range(waited, 900, 2100);
        }
        kith_node_free(world.node);
    }
}

/* The sums that the last step asks for: of chunks they are noted in `busy` and stay out, those of
 * rows end: nothing differs. */
static void settle(struct world *world, uint64_t conn, uint32_t *busy)
{
    struct kith_store_op ops[16];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_store_op *op = world->last.effects[i].op;
        if (op != NULL && op->kind == KITH_STORE_SUMS) {
            assert_true(count < 16);
            ops[count++] = *op;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].u.sums.chunks && busy != NULL) {
            *busy |= 1u << ops[i].partition;
            continue;
        }
        struct kith_store_done done = {.err = KITH_OK};
        done.u.sums = sums;
        stored(world, ops[i].id, &done);
        struct kith_msg res = {.kind = KITH_MSG_SUMS_RES};
        res.id = sent(world, KITH_MSG_SUMS_REQ)->id;
        res.u.sums_res.status.message = "";
        message(world, conn, &res);
    }
}

static void settle_for(struct world *world, uint64_t conn, uint64_t ms, uint32_t *busy)
{
    struct kith_msg ping = {.kind = KITH_MSG_PING};
    ping.u.ping.is_answer = true;
    for (uint64_t at = 0; at < ms; at += 100) {
        message(world, conn, &ping);
        tick(world, 100);
        settle(world, conn, busy);
    }
}

/* Another owner says that he has something that came to him alone: it is looked for before all
 * other work, which fills all places, and fetched without a second look, however few leaves differ.
 */
static void test_thin(void **state)
{
    (void)state;
    struct world world;
    uint32_t busy = 0, partition = 0;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, PEER);
    settle_for(&world, conn, 20000, NULL);
    exchange_start(world.node); /* all are due, and those of chunks do not end */
    settle_for(&world, conn, 1000, &busy);
    assert_int_equal(__builtin_popcount(busy), KITH_EXCHANGES_CHUNKS);
    while ((busy & (1u << partition)) != 0) {
        partition++;
    }
    partition++; /* the first would be the next one anyhow */
    assert_true(partition < 8 && (busy & (1u << partition)) == 0);
    struct kith_msg req = {.kind = KITH_MSG_SUMS_REQ, .id = 9};
    req.u.sums_req.table = table_id(&world);
    req.u.sums_req.partition = partition;
    req.u.sums_req.chunks = true;
    req.u.sums_req.hurry = true;
    message(&world, 10 + PEER, &req);
    tick(&world, KITH_EXCHANGE_THIN_MS);
    const struct kith_store_op *op = asked(&world, KITH_STORE_SUMS);
    assert_non_null(op);
    assert_int_equal(op->partition, partition);
    struct kith_store_done done = {.err = KITH_OK};
    done.u.sums = sums;
    stored(&world, op->id, &done);
    assert_non_null(sent(&world, KITH_MSG_SUMS_REQ));
    static struct kith_checksum leaves[KITH_TREE_LEAVES];
    memset(leaves, 0, sizeof leaves);
    leaves[7].bytes[15] = 1;
    struct kith_msg res = {.kind = KITH_MSG_SUMS_RES, .id = sent(&world, KITH_MSG_SUMS_REQ)->id};
    res.u.sums_res.status.message = "";
    res.u.sums_res.leaf_count = KITH_TREE_LEAVES;
    res.u.sums_res.leaves = leaves;
    message(&world, conn, &res);
    const struct kith_msg *list = sent(&world, KITH_MSG_CHUNK_LIST_REQ);
    assert_non_null(list);
    assert_true(kith_leaf_in(&list->u.chunk_list_req.leaves, 7));
    kith_node_free(world.node);
}

/* A client asks for chunks to be flushed, and one is not here: it has the time to come, and then the
 * others are asked for it. */
static void test_late(void **state)
{
    (void)state;
    struct world world;
    static const struct kith_chunk_id ids[2] = {{{1}}, {{2}}};
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, PEER);
    settle_for(&world, conn, 20000, NULL);
    struct kith_msg req = {.kind = KITH_MSG_CHUNK_SYNC_REQ, .id = 9};
    req.u.chunk_sync_req.table = table_id(&world);
    req.u.chunk_sync_req.timeout_ms = 1000;
    req.u.chunk_sync_req.id_count = 2;
    req.u.chunk_sync_req.ids = ids;
    message(&world, 10 + PEER, &req);
    const struct kith_store_op *op = asked(&world, KITH_STORE_CHUNK_SYNC);
    assert_non_null(op);
    struct kith_store_done done = {.err = KITH_OK};
    done.u.chunk_sync.missing_count = 1;
    done.u.chunk_sync.missing = &ids[1];
    stored(&world, op->id, &done);
    assert_int_equal(sent(&world, KITH_MSG_CHUNK_SYNC_RES)->u.chunk_sync_res.missing_count, 1);
    uint32_t looked = 0;
    settle_for(&world, conn, KITH_EXCHANGE_LATE_MS - 200, &looked);
    assert_int_equal(looked, 0);
    settle_for(&world, conn, 400, &looked);
    assert_int_equal(looked, 1u << kith_chunk_partition(&ids[1], 8));
    kith_node_free(world.node);
}

static int free_blobs(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        kith_blob_drop(blobs[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetches),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_unsound_list),
        cmocka_unit_test(test_connection_fails),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_zone_rate),
    };
    return cmocka_run_group_tests(tests, NULL, free_blobs);
}
