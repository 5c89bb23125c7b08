/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_rpc_limits.c - who does not read, alone and with others, and what nobody has read. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <string.h>

#include "lib/rpc_ends.h"
#include "rpc/rpc_impl.h"

/* The other end does not read: its window fills, then the queue, then send says so. */
static void test_send_limit(void **state)
{
    (void)state;
    struct kith_rpc_options options = {.send_limit_bytes = 4u << 20};
    struct pair pair;
    pair_start(&pair, KITH_RPC_BULK, &options);
    end_lock(&pair.server);
    pair.server.hold = true;
    end_unlock(&pair.server);
    struct kith_blob *blob = kith_blob_new(KITH_CHUNK_MAX);
    assert_non_null(blob);
    memset(blob->data, 1, blob->size);
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_PUT_REQ};
    msg.u.chunk_put_req.payload = blob;
    uint32_t sent = 0;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && sent < 1000) {
        msg.id = sent;
        err = kith_rpc_send(pair.client.rpc, pair.conn, &msg);
        sent += err == KITH_OK;
    }
    assert_int_equal(err, KITH_ELIMIT);
    end_lock(&pair.server);
    pair.server.hold = false;
    end_unlock(&pair.server);
    end_wait(&pair.server, &pair.server.messages, sent);
    msg.id = sent;
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    end_wait(&pair.server, &pair.server.messages, sent + 1);
    assert_false(pair.server.out_of_order);
    kith_blob_drop(blob);
    pair_stop(&pair);
}

/* Several that do not read, each below its own limit: the one that has most unread goes, and who
 * reads stays. */
static void test_send_total(void **state)
{
    (void)state;
    struct kith_rpc_options options = {.send_total_bytes = 24u << 20, .threads = 2};
    struct pair pair;
    struct end others[2];
    uint64_t conns[2];
    pair_start(&pair, KITH_RPC_BULK, &options);
    uint64_t good = pair.server.last_accepted;
    for (uint32_t i = 0; i < 2; i++) {
        end_start(&others[i], NULL);
        others[i].hold = true;
        assert_int_equal(
            kith_rpc_connect(others[i].rpc, pair.address, KITH_RPC_BULK, &conns[i], NULL), KITH_OK);
        end_wait(&pair.server, &pair.server.accepted, i + 2);
        end_see(&pair.server);
        conns[i] = pair.server.last_accepted;
    }
    struct kith_blob *blob = kith_blob_new(KITH_CHUNK_MAX);
    assert_non_null(blob);
    memset(blob->data, 1, blob->size);
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_RES};
    msg.u.chunk_res.status.message = "";
    msg.u.chunk_res.payload = blob;
    double until = end_now_ms() + 1e3 * WAIT_MAX_S;
    uint32_t sent = 0;
    for (bool ended = false; !ended;) { /* a third more to the second */
        assert_true(end_now_ms() < until);
        for (uint32_t i = 0; i < 7; i++) {
            enum kith_err err = kith_rpc_send(pair.server.rpc, conns[i % 2 == 0], &msg);
            assert_true(err == KITH_OK || (err == KITH_ECLOSED && i % 2 == 0));
            ended = ended || err == KITH_ECLOSED;
        }
        msg.id = sent++;
        assert_int_equal(kith_rpc_send(pair.server.rpc, good, &msg), KITH_OK);
        end_wait(&pair.client, &pair.client.messages, sent);
        (void)poll(NULL, 0, 1);
    }
    end_wait(&pair.server, &pair.server.closed, 1);
    end_see(&pair.server);
    assert_string_equal(pair.server.reason, "too much unread");
    assert_int_equal(pair.server.closed, 1);
    assert_int_equal(kith_rpc_send(pair.server.rpc, conns[0], &msg), KITH_OK);
    for (uint32_t i = 0; i < 2; i++) {
        end_lock(&others[i]);
        others[i].hold = false;
        end_unlock(&others[i]);
        end_stop(&others[i]);
    }
    kith_blob_drop(blob);
    end_stop(&pair.client);
    end_stop(&pair.server);
}

/* What arrives and is not read has a bound for all connections together: gRPC ends some. */
static void test_receive_total(void **state)
{
    (void)state;
    enum { STREAMS = 12 };
    struct kith_rpc_options options = {.receive_total_bytes = 24u << 20, .threads = 2};
    struct pair pair;
    uint64_t conns[STREAMS];
    pair_start(&pair, KITH_RPC_BULK, &options);
    conns[0] = pair.conn;
    for (uint32_t i = 1; i < STREAMS; i++) {
        assert_int_equal(
            kith_rpc_connect(pair.client.rpc, pair.address, KITH_RPC_BULK, &conns[i], NULL),
            KITH_OK);
    }
    end_wait(&pair.client, &pair.client.opened, STREAMS);
    end_wait(&pair.server, &pair.server.accepted, STREAMS);
    end_lock(&pair.server);
    pair.server.hold = true;
    end_unlock(&pair.server);
    struct kith_blob *blob = kith_blob_new(KITH_CHUNK_MAX);
    assert_non_null(blob);
    memset(blob->data, 1, blob->size);
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_PUT_REQ};
    msg.u.chunk_put_req.payload = blob;
    for (uint32_t i = 0; i < 8 * STREAMS; i++) {
        enum kith_err err = kith_rpc_send(pair.client.rpc, conns[i % STREAMS], &msg);
        assert_true(err == KITH_OK || err == KITH_ECLOSED);
    }
    end_wait(&pair.client, &pair.client.closed, 1);
    end_lock(&pair.server);
    pair.server.hold = false;
    end_unlock(&pair.server);
    kith_blob_drop(blob);
    end_stop(&pair.client);
    end_stop(&pair.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_limit),
        cmocka_unit_test(test_send_total),
        cmocka_unit_test(test_receive_total),
    };
    int failed = cmocka_run_group_tests_name("with queue threads", tests, NULL, NULL);
    ends_driven = true;
    failed += cmocka_run_group_tests_name("driven", tests, NULL, NULL);
    ends_near = true;
    return failed + cmocka_run_group_tests_name("driven, by a local socket", tests, NULL, NULL);
}
