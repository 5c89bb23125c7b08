/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_rpc_calls.c - what others than our own ends send to the port: plain gRPC calls, bad
 * envelopes, noise. All cases run twice: with queue threads, and with one thread that drives. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "lib/rpc_ends.h"
#include "rpc/rpc_impl.h"

static int raw_connect(const char *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)},
                             .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Noise on the port, and an HTTP/2 preface with noise behind it: the peer is dropped, we live on.
 */
static void test_garbage_on_the_port(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    end_echo(&pair.server);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (int round = 0; round < 20; round++) {
        int fd = raw_connect(pair.address);
        uint8_t noise[4096];
        for (size_t i = 0; i < sizeof noise; i++) {
            noise[i] = (uint8_t)((unsigned)rand() >> 7);
        }
        if (round % 2 == 1) {
            memcpy(noise, preface, sizeof preface - 1);
        }
        (void)!send(fd, noise, sizeof noise, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        struct timeval limit = {WAIT_MAX_S, 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ssize_t got;
        do {
            got = recv(fd, noise, sizeof noise, 0);
        } while (got > 0);
        assert_true(got == 0 || errno == ECONNRESET);
        close(fd);
    }
    struct kith_msg msg = end_ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    end_wait(&pair.client, &pair.client.messages, 1);
    pair_stop(&pair);
}

/* ---- A plain gRPC client, as another program would be ---- */

struct caller {
    grpc_completion_queue *queue;
    grpc_channel *channel;
};

static void caller_start(struct caller *caller, const char *address)
{
    grpc_init();
    caller->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    caller->channel = grpc_channel_create(address, credentials, NULL);
    grpc_channel_credentials_release(credentials);
}

static void caller_stop(struct caller *caller)
{
    grpc_channel_destroy(caller->channel);
    grpc_completion_queue_shutdown(caller->queue);
    grpc_event event;
    do {
        event = grpc_completion_queue_next(caller->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    } while (event.type != GRPC_QUEUE_SHUTDOWN);
    grpc_completion_queue_destroy(caller->queue);
    grpc_shutdown();
}

static void batch(struct caller *caller, grpc_call *call, grpc_op *ops, size_t count)
{
    assert_int_equal(grpc_call_start_batch(call, ops, count, ops, NULL), GRPC_CALL_OK);
    grpc_event event = grpc_completion_queue_next(
        caller->queue,
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(WAIT_MAX_S, GPR_TIMESPAN)),
        NULL);
    assert_int_equal(event.type, GRPC_OP_COMPLETE);
}

/* One call; returns the status, how many responses came and the size of the last. */
static grpc_status_code do_call(struct caller *caller, const char *method, size_t request_size,
                                uint32_t *ret_responses, char *ret_details, uint32_t stop_after)
{
    grpc_slice method_slice = grpc_slice_from_copied_string(method);
    grpc_call *call = grpc_channel_create_call(
        caller->channel, NULL, GRPC_PROPAGATE_DEFAULTS, caller->queue, method_slice, NULL,
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_millis(5000, GPR_TIMESPAN)), NULL);
    grpc_slice_unref(method_slice);
    grpc_slice slice = grpc_slice_malloc(request_size);
    memset(GRPC_SLICE_START_PTR(slice), 0x2a, request_size);
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op ops[3];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    batch(caller, call, ops, 3);
    grpc_metadata_array metadata;
    grpc_metadata_array_init(&metadata);
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[0].data.recv_initial_metadata.recv_initial_metadata = &metadata;
    batch(caller, call, ops, 1);
    uint32_t responses = 0;
    for (;;) {
        grpc_byte_buffer *response = NULL;
        memset(ops, 0, sizeof ops);
        ops[0].op = GRPC_OP_RECV_MESSAGE;
        ops[0].data.recv_message.recv_message = &response;
        batch(caller, call, ops, 1);
        if (!response) {
            break;
        }
        responses++;
        grpc_byte_buffer_destroy(response);
        if (responses == stop_after) {
            grpc_call_cancel(call, NULL);
        }
    }
    grpc_metadata_array trailing;
    grpc_metadata_array_init(&trailing);
    grpc_status_code status;
    grpc_slice details = grpc_empty_slice();
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[0].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[0].data.recv_status_on_client.status = &status;
    ops[0].data.recv_status_on_client.status_details = &details;
    batch(caller, call, ops, 1);
    (void)snprintf(ret_details, 256, "%.*s", (int)GRPC_SLICE_LENGTH(details),
                   (const char *)GRPC_SLICE_START_PTR(details));
    *ret_responses = responses;
    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&trailing);
    grpc_metadata_array_destroy(&metadata);
    grpc_byte_buffer_destroy(request);
    grpc_call_unref(call);
    return status;
}

static void test_calls(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    struct caller caller;
    caller_start(&caller, pair.address);
    uint32_t responses;
    char details[256];
    for (int i = 0; i < 50; i++) {
        assert_int_equal(do_call(&caller, "/kith.v1.Kv/Get", 3000, &responses, details, 0),
                         GRPC_STATUS_OK);
        assert_int_equal(responses, 1);
    }
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Get", 0, &responses, details, 0),
                     GRPC_STATUS_OK);
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Scan", 10, &responses, details, 0),
                     GRPC_STATUS_OK);
    assert_int_equal(responses, 100);
    end_see(&pair.server);
    assert_int_equal(pair.server.drained, 101);
    assert_false(pair.server.stream_gone);
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Put", 10, &responses, details, 0),
                     GRPC_STATUS_UNAVAILABLE);
    assert_string_equal(details, "ok"); /* the deadline came through */
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Nothing", 10, &responses, details, 0),
                     GRPC_STATUS_UNIMPLEMENTED);
    assert_int_equal(do_call(&caller, "/other.Service/Nothing", 10, &responses, details, 0),
                     GRPC_STATUS_UNIMPLEMENTED);
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Scan", 10, &responses, details, 5),
                     GRPC_STATUS_CANCELLED);
    assert_int_equal(
        do_call(&caller, "/kith.v1.Kv/Get", KITH_MESSAGE_MAX + 1, &responses, details, 0),
        GRPC_STATUS_RESOURCE_EXHAUSTED);
    caller_stop(&caller);
    pair_stop(&pair);
}

/* Envelopes that are none, and ones above the limit, close their connection; others live on. */
static void test_bad_envelope(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    end_echo(&pair.server);
    kith_log_set_level(KITH_LOG_ERROR);
    struct caller caller;
    caller_start(&caller, pair.address);
    uint32_t responses;
    char details[256];
    static const char *const methods[] = {"/kith.v1.ClientStream/Rows",
                                          "/kith.v1.ClientStream/Bulk", "/kith.v1.PeerStream/Rows",
                                          "/kith.v1.PeerStream/Bulk"};
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(do_call(&caller, methods[i], 100, &responses, details, 0),
                         GRPC_STATUS_ABORTED);
        assert_true(details[0] != '\0');
        end_wait(&pair.server, &pair.server.closed, 2 * i + 1);
        (void)do_call(&caller, methods[i], KITH_MESSAGE_MAX + 1, &responses, details, 0);
        end_wait(&pair.server, &pair.server.closed, 2 * i + 2);
    }
    caller_stop(&caller);
    kith_log_set_level(KITH_LOG_INFO);
    struct kith_msg msg = end_ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    end_wait(&pair.client, &pair.client.messages, 1);
    pair_stop(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_on_the_port),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_bad_envelope),
    };
    int failed = cmocka_run_group_tests_name("with queue threads", tests, NULL, NULL);
    ends_driven = true;
    return failed + cmocka_run_group_tests_name("driven", tests, NULL, NULL);
}
