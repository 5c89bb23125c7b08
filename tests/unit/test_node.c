/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node.c - one core, events by hand: hello, owners, stale tables, deadlines, durability,
 * copies. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "core/internal.h"
#include "node_world.h"

/* Puts, and returns whose copy does not wait for company: the number of that one in the effects. */
static uint32_t urgent_copy(struct world *world, uint64_t *ret_id, uint64_t ret_conns[2])
{
    struct kith_msg msg = put_msg(world, KITH_DURABLE_OS);
    message(world, 1, &msg);
    put_done(world, KITH_DURABLE_OS);
    assert_int_equal(sent_count(world, KITH_MSG_REPLICATE_REQ), 2);
    uint32_t count = 0;
    uint32_t urgent = 2;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind != KITH_EFFECT_SEND || effect->msg->kind != KITH_MSG_REPLICATE_REQ) {
            continue;
        }
        assert_int_equal(effect->msg->may_wait, effect->msg->u.replicate_req.may_wait);
        if (!effect->msg->may_wait) {
            assert_int_equal(urgent, 2); /* one: W is 2, our own copy counts */
            urgent = count;
        }
        *ret_id = effect->msg->id;
        ret_conns[count] = effect->conn;
        count++;
    }
    assert_true(urgent < 2);
    return urgent;
}

static void copied(struct world *world, uint64_t conn, uint64_t id)
{
    struct kith_msg res = {.kind = KITH_MSG_REPLICATE_RES, .id = id};
    res.u.replicate_res.status.message = "";
    message(world, conn, &res);
}

/* W - 1 copies leave at once, the others may wait; a node that is late changes places for a while.
 */
static void test_copies_wait(void **state)
{
    (void)state;
    struct world world;
    uint64_t id, conns[2];
    world_new(&world, 2);
    peer_up(&world, 2);
    peer_up(&world, 3);
    uint32_t first = urgent_copy(&world, &id, conns);
    copied(&world, conns[first], id);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_OK);
    assert_int_equal(urgent_copy(&world, &id, conns), first);
    world.now_ms += 19; /* the other one is faster, by little */
    copied(&world, conns[1 - first], id);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.copies, 2);
    assert_int_equal(urgent_copy(&world, &id, conns), first);
    world.now_ms += 20;
    copied(&world, conns[1 - first], id);
    assert_non_null(sent(&world, KITH_MSG_PUT_RES));
    assert_int_equal(urgent_copy(&world, &id, conns), 1 - first);
    copied(&world, conns[1 - first], id);
    world.now_ms += 1000;
    assert_int_equal(urgent_copy(&world, &id, conns), first);

    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS); /* all are waited for: none may wait */
    msg.u.put_req.w = 3;
    message(&world, 1, &msg);
    put_done(&world, KITH_DURABLE_OS);
    for (uint32_t i = 0; i < world.last.count; i++) {
        const struct kith_effect *effect = &world.last.effects[i];
        assert_false(effect->kind == KITH_EFFECT_SEND && effect->msg->may_wait);
    }
    kith_node_free(world.node);
}

static uint32_t closed_count(const struct world *world, uint64_t conn)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        count += effect->kind == KITH_EFFECT_CLOSE && (conn == 0 || effect->conn == conn) ? 1 : 0;
    }
    return count;
}

static uint32_t lines(const struct world *world, const char *words)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        count += effect->kind == KITH_EFFECT_LOG && strstr(effect->text, words) ? 1 : 0;
    }
    return count;
}

/* Who connects and says nothing is closed; who has said hello stays; and time in which the node
 * itself stood still is not his. */
static void test_silent(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    for (uint64_t conn = 100; conn < 300; conn++) {
        struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = conn};
        run(&world, &accepted);
    }
    hello(&world, 300, KITH_PROTOCOL_VERSION, 0);
    uint64_t began_ms = world.now_ms;
    while (world.now_ms + 1000 < began_ms + KITH_HELLO_MS) {
        tick(&world, 1000);
        assert_int_equal(closed_count(&world, 0), 0);
    }
    uint32_t closed = 0, told = 0;
    for (uint32_t i = 0; i < 8; i++) {
        tick(&world, i == 0 ? began_ms + KITH_HELLO_MS - world.now_ms : 0);
        assert_in_range(closed_count(&world, 0), 0, KITH_STEP_HELLOS);
        assert_int_equal(closed_count(&world, 300), 0);
        closed += closed_count(&world, 0);
        told += lines(&world, "nobody says who");
    }
    assert_int_equal(closed, 200);
    assert_int_equal(told, KITH_REFUSALS_TOLD);
    assert_null(conn_find(world.node, 100));
    assert_non_null(conn_find(world.node, 300));
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 400};
    run(&world, &accepted);
    tick(&world, KITH_HELLO_MS + KITH_PAUSE_MS + 1); /* it was stopped */
    assert_int_equal(closed_count(&world, 400), 0);
    for (uint32_t i = 0; i < KITH_HELLO_MS / 1000 - 1; i++) {
        tick(&world, 1000);
        assert_int_equal(closed_count(&world, 400), 0);
    }
    tick(&world, 1000);
    assert_int_equal(closed_count(&world, 400), 1);
    assert_int_equal(lines(&world, "190 more connections were closed"), 1);
    accepted.conn = 500;
    run(&world, &accepted);
    told = 0;
    for (uint32_t i = 0; i < 50; i++) { /* who refuses us fills no disk either */
        struct kith_msg msg = {.kind = KITH_MSG_ADMIN_RES};
        msg.u.admin_res.status.message = "no";
        message(&world, 500, &msg);
        told += lines(&world, "a peer closes the connection: no");
    }
    assert_int_equal(told, KITH_REFUSALS_TOLD - 1);
    kith_node_free(world.node);
}

/* A retry: the other owners are asked what became of the first try, before a dot is drawn. */
static void test_retry(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn[2];
    conn[0] = peer_up(&world, 2);
    conn[1] = peer_up(&world, 3);
    for (uint32_t found = 0; found < 3; found++) { /* known to one; to nobody; one is frozen */
        struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
        msg.u.put_req.retry = true;
        msg.u.put_req.request.bytes[0] = (uint8_t)(found + 1);
        world.has_put = false;
        world.ops = 0;
        message(&world, 1, &msg);
        assert_false(world.has_put);
        assert_int_equal(sent_count(&world, KITH_MSG_REQUEST_FIND_REQ), 2);
        struct kith_msg res = {.kind = KITH_MSG_REQUEST_FIND_RES,
                               .id = sent(&world, KITH_MSG_REQUEST_FIND_REQ)->id};
        res.u.request_find_res.status.message = "";
        message(&world, conn[0], &res);
        assert_false(world.has_put);
        struct kith_replica_row row = {.has_dot = true, .dot = {{5, 1}, 4}};
        res.u.request_find_res.found = true;
        res.u.request_find_res.row_count = 1;
        res.u.request_find_res.rows = &row;
        if (found == 0) {
            message(&world, conn[1], &res);
            assert_int_equal(world.ops, 1); /* what it made comes here first */
            assert_memory_equal(&world.op.u.merge.request, &msg.u.put_req.request,
                                sizeof world.op.u.merge.request);
            assert_false(world.has_put);
            op_done(&world);
        } else if (found == 1) {
            res.u.request_find_res.found = false;
            message(&world, conn[1], &res);
        } else {
            tick(&world, 240);
            assert_false(world.has_put);
            tick(&world, 10); /* in all: the first answer bought no more time */
            res.u.request_find_res.found = true;
            message(&world, conn[1], &res); /* too late */
            assert_int_equal(world.ops, 0);
        }
        assert_true(world.has_put);
        assert_memory_equal(&world.put.u.put.request, &msg.u.put_req.request,
                            sizeof world.put.u.put.request);
        put_done(&world, KITH_DURABLE_OS);
        assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    }
    kith_node_free(world.node);
}

/* One transaction here, one message to each other owner; one answer a node counts. */
static void test_batch(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, 2);
    peer_up(&world, 3);
    struct kith_put_update two[2] = {update, update};
    two[1].name = kith_bytes_make("b", 1);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    msg.u.put_req.update_count = 2;
    msg.u.put_req.updates = two;
    msg.u.put_req.w = 3;
    message(&world, 1, &msg);
    assert_int_equal(world.put.u.put.update_count, 2);
    struct kith_clock_entry entry = {{9, 1}, 2};
    struct kith_row row = {.clock = {1, &entry}};
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_store_put_row results[2] = {{.dot = {{9, 1}, 1}, .state = kith_buf_bytes(&buf)},
                                            {.dot = {{9, 1}, 2}, .state = kith_buf_bytes(&buf)}};
    struct kith_store_done done = {.id = world.put.id, .message = "", .reached = KITH_DURABLE_OS};
    done.u.put.row_count = 2;
    done.u.put.rows = results;
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(&world, &stored);
    assert_int_equal(sent_count(&world, KITH_MSG_REPLICATE_REQ), 2);
    assert_int_equal(sent(&world, KITH_MSG_REPLICATE_REQ)->u.replicate_req.row_count, 2);
    struct kith_msg res = {.kind = KITH_MSG_REPLICATE_RES,
                           .id = sent(&world, KITH_MSG_REPLICATE_REQ)->id};
    res.u.replicate_res.status.message = "";
    for (uint32_t i = 0; i < 3; i++) { /* said again and again: one copy */
        message(&world, conn, &res);
        assert_null(sent(&world, KITH_MSG_PUT_RES));
    }
    tick(&world, 1000);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNKNOWN);
    kith_buf_release(&buf);
    kith_node_free(world.node);
}

/* An error of the store that says "not written": nothing happened, and nobody else is told. */
static void test_not_written(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    peer_up(&world, 2);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_DISK);
    message(&world, 1, &msg);
    struct kith_store_done done = {.id = world.put.id, .err = KITH_ENOSPC, .message = "full"};
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    step(&world, &stored);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ENOSPC);
    assert_null(sent(&world, KITH_MSG_REPLICATE_REQ));
    kith_node_free(world.node);
}

static void test_hello(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    hello(&world, 2, KITH_PROTOCOL_VERSION + 1, 0);
    assert_true(closed(&world, 2));
    const char *text = sent(&world, KITH_MSG_ADMIN_RES)->u.admin_res.status.message;
    assert_non_null(strstr(text, "version 2"));
    assert_non_null(strstr(text, "version 1"));
    hello(&world, 3, KITH_PROTOCOL_VERSION, 0xcc);
    assert_true(closed(&world, 3));
    assert_int_equal(sent(&world, KITH_MSG_ADMIN_RES)->u.admin_res.status.err, KITH_ECLUSTER);
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 4};
    run(&world, &accepted);
    struct kith_msg msg = {.kind = KITH_MSG_STATUS_REQ};
    message(&world, 4, &msg);
    assert_true(closed(&world, 4)); /* not a hello */
    kith_node_free(world.node);
}

/* Answered by the completion at the durability asked, and not before. */
static void test_put(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &msg);
    assert_true(world.has_put);
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    put_done(&world, KITH_DURABLE_OS);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_OK);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.copies, 1);
    msg = put_msg(&world, KITH_DURABLE_DISK);
    message(&world, 1, &msg);
    put_done(&world, KITH_DURABLE_OS);
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    put_done(&world, KITH_DURABLE_DISK);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_OK);
    kith_node_free(world.node);
}

static void test_put_deadline(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    message(&world, 1, &msg);
    tick(&world, 999);
    assert_null(sent(&world, KITH_MSG_PUT_RES));
    tick(&world, 1);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNKNOWN);
    put_done(&world, KITH_DURABLE_OS);
    assert_null(sent(&world, KITH_MSG_PUT_RES)); /* once */
    kith_node_free(world.node);
}

static void test_put_refused(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    msg.u.put_req.strict = true;
    world.has_put = false;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNREACH);
    assert_non_null(strstr(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.message, "strict"));
    msg.u.put_req.strict = false;
    msg.u.put_req.w_min = 2;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNREACH);
    assert_non_null(strstr(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.message, "w_min"));
    assert_false(world.has_put);
    msg.u.put_req.strict = true;
    msg.u.put_req.w = 1; /* for one copy nobody else is needed */
    message(&world, 1, &msg);
    assert_true(world.has_put);
    kith_node_free(world.node);
}

/* A list of chunks names those of its own volume: by the volume nodes judge who may refer to them. */
static void test_chunk_of_two_volumes(void **state)
{
    (void)state;
    struct world world;
    const uint8_t random[10] = {1};
    world_new(&world, 0);
    struct kith_chunk_id refs[2] = {kith_chunk_id_make(7, 1, random),
                                    kith_chunk_id_make(8, 1, random)};
    struct kith_blob *blob = kith_blob_new(10);
    assert_non_null(blob);
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_PUT_REQ, .id = 9};
    struct kith_chunk_put_req *req = &msg.u.chunk_put_req;
    req->table = table_id(&world);
    req->id = kith_chunk_id_make(7, 2, random);
    req->refs = refs;
    req->payload = blob;
    req->ref_count = 2;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_CHUNK_RES)->u.chunk_res.status.err, KITH_EINVAL);
    req->ref_count = 1;
    message(&world, 1, &msg);
    assert_null(sent(&world, KITH_MSG_CHUNK_RES)); /* it is with the store */
    kith_blob_drop(blob);
    kith_node_free(world.node);
}

/* The operation of that kind that the last step wants. */
static uint64_t wanted(const struct world *world, enum kith_store_kind kind)
{
    for (uint32_t i = 0; i < world->last.count; i++) {
        const struct kith_effect *effect = &world->last.effects[i];
        if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == kind) {
            return effect->op->id;
        }
    }
    fail();
    return 0;
}

/* A store that hangs: chunks are taken up to a bound on their bytes, and what brings none still is; when
 * one is stored there is room for another. */
static void test_contents_bound(void **state)
{
    (void)state;
    struct world world;
    uint8_t random[10] = {1};
    world_new(&world, 0);
    struct kith_blob *blob = kith_blob_new(KITH_CHUNK_MAX);
    assert_non_null(blob);
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_PUT_REQ, .id = 9};
    struct kith_chunk_put_req *req = &msg.u.chunk_put_req;
    req->table = table_id(&world);
    req->payload = blob;
    uint64_t first = 0;
    for (uint32_t i = 0; i < KITH_PENDING_BYTES_MAX / KITH_CHUNK_MAX; i++) {
        random[1] = (uint8_t)i;
        random[2] = (uint8_t)(i >> 8);
        req->id = kith_chunk_id_make(7, 2, random);
        message(&world, 1, &msg);
        assert_null(sent(&world, KITH_MSG_CHUNK_RES));
        first = i == 0 ? wanted(&world, KITH_STORE_CHUNK_PUT) : first;
    }
    message(&world, 1, &msg);
    const struct kith_status *status = &sent(&world, KITH_MSG_CHUNK_RES)->u.chunk_res.status;
    assert_int_equal(status->err, KITH_EREFUSED);
    assert_non_null(strstr(status->message, "1024 MiB"));
    struct kith_msg get = {.kind = KITH_MSG_CHUNK_GET_REQ, .id = 10};
    get.u.chunk_get_req.table = table_id(&world);
    get.u.chunk_get_req.id = req->id;
    message(&world, 1, &get);
    assert_null(sent(&world, KITH_MSG_CHUNK_RES));
    struct kith_store_done done = {.id = first, .message = "", .reached = KITH_DURABLE_OS};
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(&world, &stored);
    assert_int_equal(sent(&world, KITH_MSG_CHUNK_RES)->u.chunk_res.status.err, KITH_OK);
    message(&world, 1, &msg); /* the slot is free by then */
    assert_null(sent(&world, KITH_MSG_CHUNK_RES));
    kith_blob_drop(blob);
    kith_node_free(world.node);
}

static void test_put_malformed(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_put_update twice[2] = {update, update};
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    msg.u.put_req.update_count = 2;
    msg.u.put_req.updates = twice;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EINVAL);
    msg.u.put_req.update_count = 0;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EINVAL);
    kith_node_free(world.node);
}

static void test_table(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    memset(&msg.u.put_req.table, 0, sizeof msg.u.put_req.table);
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ESTALE);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.table.size,
                     world.meta_size[KITH_META_TABLE]);
    struct kith_chunk_id id = {{1}};
    struct kith_msg sync = {.kind = KITH_MSG_CHUNK_SYNC_REQ, .id = 78}; /* counts by old owners */
    sync.u.chunk_sync_req.id_count = 1;
    sync.u.chunk_sync_req.ids = &id;
    sync.u.chunk_sync_req.table = table_id(&world);
    sync.u.chunk_sync_req.table.epoch--;
    message(&world, 1, &sync);
    assert_non_null(sent(&world, KITH_MSG_CHUNK_SYNC_RES));
    assert_int_equal(sent(&world, KITH_MSG_CHUNK_SYNC_RES)->u.chunk_sync_res.status.err,
                     KITH_ESTALE);
    msg.u.put_req.table.epoch = 99; /* newer than ours */
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ENOTREADY);
    kith_node_free(world.node);
}

static void test_no_rows_from_clients(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 0);
    struct kith_replica_row row = {.has_dot = false};
    struct kith_msg msg = {.kind = KITH_MSG_REPLICATE_REQ, .id = 3};
    msg.u.replicate_req.table = table_id(&world);
    msg.u.replicate_req.row_count = 1;
    msg.u.replicate_req.rows = &row;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_REPLICATE_RES)->u.replicate_res.status.err, KITH_EPERM);
    kith_node_free(world.node);
}

static void test_no_cluster(void **state)
{
    (void)state;
    struct world world;
    memset(&world, 0, sizeof world);
    start(&world);
    hello(&world, 1, KITH_PROTOCOL_VERSION, 0);
    struct kith_msg msg = {.kind = KITH_MSG_PUT_REQ, .id = 3};
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_ENOTREADY);
    msg.kind = KITH_MSG_TABLE_REQ;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_TABLE_RES)->u.table_res.status.err, KITH_ENOTREADY);
    msg.kind = KITH_MSG_STATUS_REQ;
    message(&world, 1, &msg);
    assert_int_equal(sent(&world, KITH_MSG_STATUS_RES)->u.status_res.status.err, KITH_OK);
    kith_node_free(world.node);
}

/* The disk is full at the start: it is tried once a second, and then the node serves. */
static void test_start_retry(void **state)
{
    (void)state;
    struct world world;
    memset(&world, 0, sizeof world);
    const struct kith_node_options options = {.address = "here:1"};
    const struct kith_start begin = {.random = {1, 2, 3, 4}};
    struct kith_error error;
    assert_int_equal(kith_node_new(&options, &begin, &world.node, &error), KITH_OK);
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = 1};
    run(&world, &accepted);
    for (uint32_t i = 0; i < 3; i++) {
        struct kith_event event = {.kind = KITH_EVENT_TICK};
        world.now_ms += i > 0 ? 999 : 0;
        step(&world, &event);
        assert_int_equal(world.last.count, i > 0 ? 0 : 1); /* too early */
        world.now_ms += i > 0 ? 1 : 0;
        if (i > 0) {
            step(&world, &event);
        }
        assert_int_equal(world.last.count, 1);
        assert_int_equal(world.last.effects[0].kind, KITH_EFFECT_STORE);
        struct kith_store_done done = {.id = world.last.effects[0].op->id,
                                       .message = "",
                                       .err = i < 2 ? KITH_ENOSPC : KITH_OK,
                                       .reached = KITH_DURABLE_DISK};
        struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
        step(&world, &stored);
        assert_true(i == 2 || world.last.deadline_ms == world.now_ms + 1000);
    }
    assert_non_null(sent(&world, KITH_MSG_HELLO));
    kith_node_free(world.node);
}

/* All have stood still, and go on: nobody was silent, and nobody is down. */
static void test_pause(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)peer_up(&world, 2);
    (void)peer_up(&world, 3);
    for (uint32_t i = 0; i < 2; i++) {
        struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
        world.now_ms += i == 0 ? 600000 : 0;
        world.has_put = false;
        message(&world, 1, &msg);
        assert_true(world.has_put);
        put_done(&world, KITH_DURABLE_OS);
        if (i == 0) { /* still nobody? then they are down */
            tick(&world, KITH_DOUBT_AFTER_MS);
        }
    }
    for (uint32_t k = 0; k < 40; k++) {
        tick(&world, 50);
    }
    struct kith_msg msg = put_msg(&world, KITH_DURABLE_OS);
    msg.u.put_req.strict = true;
    world.has_put = false;
    message(&world, 1, &msg);
    assert_false(world.has_put);
    assert_int_equal(sent(&world, KITH_MSG_PUT_RES)->u.put_res.status.err, KITH_EUNREACH);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_put_deadline),
        cmocka_unit_test(test_put_refused),
        cmocka_unit_test(test_put_malformed),
        cmocka_unit_test(test_chunk_of_two_volumes),
        cmocka_unit_test(test_contents_bound),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_no_rows_from_clients),
        cmocka_unit_test(test_no_cluster),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_copies_wait),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_not_written),
        cmocka_unit_test(test_start_retry),
        cmocka_unit_test(test_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
