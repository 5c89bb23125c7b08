/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two ends in one process over loopback. Every wait is for a condition, with a limit that only a
 * failing test reaches. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "rpc/rpc_impl.h"

#define WAIT_MAX_S 20
#define CONNS_MAX 64u

/* One end and what it has seen; all protected by lock. */
struct end {
    struct kith_rpc *rpc;
    pthread_t driver; /* not protected, as the flag below */
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t accepted, opened, closed;
    uint64_t last_accepted;
    char reason[256];
    uint32_t messages;
    uint64_t next_id; /* messages must come in the order of their ids */
    bool out_of_order;
    bool echo;        /* answers pings and chunk puts */
    bool hold;        /* handlers block while this is set */
    struct kith_checksum checksum;
    uint32_t calls;
    bool stream_gone;
    uint32_t drained;
};

static void lock(struct end *end)
{
    pthread_mutex_lock(&end->lock);
}

static void unlock(struct end *end)
{
    pthread_cond_broadcast(&end->changed);
    pthread_mutex_unlock(&end->lock);
}

/* What the other end's handlers did before what was awaited is visible behind this. */
static void see(struct end *end)
{
    lock(end);
    unlock(end);
}

static void set_echo(struct end *end)
{
    lock(end);
    end->echo = true;
    unlock(end);
}

static void on_accepted(void *arg, uint64_t conn, enum kith_rpc_class cls, const char *peer)
{
    struct end *end = arg;
    (void)cls;
    assert_non_null(peer);
    lock(end);
    end->accepted++;
    end->last_accepted = conn;
    unlock(end);
}

static void on_opened(void *arg, uint64_t conn)
{
    struct end *end = arg;
    (void)conn;
    lock(end);
    end->opened++;
    unlock(end);
}

static void on_closed(void *arg, uint64_t conn, const char *reason)
{
    struct end *end = arg;
    (void)conn;
    lock(end);
    end->closed++;
    (void)snprintf(end->reason, sizeof end->reason, "%s", reason);
    unlock(end);
}

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct end *end = arg;
    lock(end);
    while (end->hold) {
        pthread_cond_wait(&end->changed, &end->lock);
    }
    end->messages++;
    end->out_of_order |= box->msg.id != end->next_id;
    end->next_id = box->msg.id + 1;
    bool echo = end->echo;
    if (box->blob) {
        end->checksum = kith_checksum_of(kith_bytes_make(box->blob->data, box->blob->size));
    }
    unlock(end);
    if (echo) {
        struct kith_msg answer = {.id = box->msg.id, .kind = KITH_MSG_PING};
        if (box->msg.kind == KITH_MSG_CHUNK_PUT_REQ) {
            answer.kind = KITH_MSG_CHUNK_RES;
            answer.u.chunk_res.payload = box->blob;
        }
        (void)!kith_rpc_send(end->rpc, conn, &answer);
    }
    kith_msg_box_drop(box);
}

struct pages {
    struct end *end;
    struct kith_rpc_call *call;
    uint32_t left;
};

static void next_page(void *arg)
{
    struct pages *pages = arg;
    lock(pages->end);
    pages->end->drained++;
    unlock(pages->end);
    uint8_t page[1000] = {0x0a, 0xe5, 0x07};
    if (pages->left > 0 && kith_rpc_stream(pages->call, kith_bytes_make(page, sizeof page))) {
        pages->left--;
        kith_rpc_when_drained(pages->call, next_page, pages);
        return;
    }
    lock(pages->end);
    pages->end->stream_gone = pages->left > 0;
    unlock(pages->end);
    kith_rpc_finish(pages->call, kith_bytes_make(NULL, 0), NULL);
    kith_free(pages);
}

static void on_call(void *arg, struct kith_rpc_call *call, const char *method,
                    struct kith_bytes request)
{
    struct end *end = arg;
    lock(end);
    end->calls++;
    unlock(end);
    if (strcmp(method, "/kith.v1.Kv/Get") == 0) {
        kith_rpc_finish(call, request, NULL);
    } else if (strcmp(method, "/kith.v1.Kv/Scan") == 0) {
        struct pages *pages = kith_malloc(sizeof *pages);
        assert_non_null(pages);
        *pages = (struct pages){end, call, 100};
        next_page(pages);
    } else if (strcmp(method, "/kith.v1.Kv/Put") == 0) {
        uint32_t left = kith_rpc_call_timeout_ms(call);
        struct kith_error error;
        (void)kith_error_set(&error, KITH_EUNREACH, "%s", left > 3000 && left <= 5100 ? "ok" : "bad");
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
    } else {
        struct kith_error error;
        (void)kith_error_set(&error, KITH_EVERSION, "no method %s", method);
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
    }
}

/* All cases run twice: with queue threads, and with one thread that drives. */
static bool driven;

static void *drive(void *arg)
{
    struct end *end = arg;
    while (!atomic_load(&end->stop)) {
        kith_rpc_drive(end->rpc, UINT64_MAX); /* so every wait must be ended by an event or a wake */
    }
    kith_rpc_free(end->rpc);
    return NULL;
}

static void end_start(struct end *end, const struct kith_rpc_options *options)
{
    memset(end, 0, sizeof *end);
    pthread_mutex_init(&end->lock, NULL);
    pthread_cond_init(&end->changed, NULL);
    const struct kith_rpc_handlers handlers = {end,       on_accepted, on_opened,
                                               on_message, on_closed,  on_call};
    struct kith_rpc_options own = {.threads = 0};
    if (options) {
        own = *options;
    }
    own.driven = driven;
    assert_int_equal(kith_rpc_new(&own, &handlers, &end->rpc, NULL), KITH_OK);
    if (driven) {
        assert_int_equal(pthread_create(&end->driver, NULL, drive, end), 0);
    }
}

static void end_stop(struct end *end)
{
    if (driven) {
        atomic_store(&end->stop, true);
        kith_rpc_wake(end->rpc);
        pthread_join(end->driver, NULL);
    } else {
        kith_rpc_free(end->rpc);
    }
    pthread_cond_destroy(&end->changed);
    pthread_mutex_destroy(&end->lock);
}

static void address_of(char *address, size_t size, uint16_t port)
{
    (void)snprintf(address, size, "127.0.0.1:%u", (unsigned)port);
}

/* Waits until the counter has reached `want`. */
static void wait_count(struct end *end, const uint32_t *counter, uint32_t want)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MAX_S;
    pthread_mutex_lock(&end->lock);
    int failed = 0;
    while (*counter < want && failed == 0) {
        failed = pthread_cond_timedwait(&end->changed, &end->lock, &until);
    }
    uint32_t got = *counter;
    pthread_mutex_unlock(&end->lock);
    if (failed != 0) {
        fail_msg("waited for %u, got %u", want, got);
    }
}

static double now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

struct pair {
    struct end server, client;
    char address[32];
    uint64_t conn;
};

static void pair_start(struct pair *pair, enum kith_rpc_class cls,
                       const struct kith_rpc_options *options)
{
    end_start(&pair->server, options);
    end_start(&pair->client, options);
    uint16_t port = 0;
    struct kith_error error;
    if (kith_rpc_listen(pair->server.rpc, "127.0.0.1:0", &port, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    address_of(pair->address, sizeof pair->address, port);
    assert_int_equal(kith_rpc_connect(pair->client.rpc, pair->address, cls, &pair->conn, NULL), KITH_OK);
    wait_count(&pair->client, &pair->client.opened, 1);
    wait_count(&pair->server, &pair->server.accepted, 1);
}

static void pair_stop(struct pair *pair)
{
    end_stop(&pair->client);
    end_stop(&pair->server);
    assert_int_equal(pair->client.closed, pair->client.opened);
    assert_int_equal(pair->server.closed, pair->server.accepted);
}

static struct kith_msg ping(uint64_t id)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING, .id = id};
    return msg;
}

static void test_echo_in_order(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    set_echo(&pair.server);
    for (uint64_t id = 0; id < 10000; id++) {
        struct kith_msg msg = ping(id);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    wait_count(&pair.client, &pair.client.messages, 10000);
    see(&pair.server);
    assert_false(pair.server.out_of_order);
    assert_false(pair.client.out_of_order);
    pair_stop(&pair);
}

/* What comes unasked on a connection on which no answer is awaited is read too, soon and in order. */
static void test_unasked(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    set_echo(&pair.server);
    struct kith_msg msg = ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    wait_count(&pair.client, &pair.client.messages, 1);
    for (uint32_t id = 1; id < 50; id++) {
        msg = ping(id);
        see(&pair.server);
        assert_int_equal(kith_rpc_send(pair.server.rpc, pair.server.last_accepted, &msg), KITH_OK);
        if (id % 3 != 0) { /* alone, and on the heels of another */
            wait_count(&pair.client, &pair.client.messages, id + 1);
        }
    }
    wait_count(&pair.client, &pair.client.messages, 50);
    assert_false(pair.client.out_of_order);
    /* and the end is told though nothing has been sent since */
    kith_rpc_close(pair.server.rpc, pair.server.last_accepted, "enough");
    wait_count(&pair.client, &pair.client.closed, 1);
    pair_stop(&pair);
}

/* What is sent while a send is under way, or corked, leaves in few gRPC messages. */
static void test_packing(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    kith_rpc_cork(pair.client.rpc);
    for (uint64_t id = 0; id < 1000; id++) {
        struct kith_msg msg = ping(id);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    struct kith_rpc_stats stats;
    kith_rpc_stats(pair.client.rpc, &stats);
    assert_int_equal(stats.packets_sent, 0);
    kith_rpc_uncork(pair.client.rpc);
    wait_count(&pair.server, &pair.server.messages, 1000);
    kith_rpc_stats(pair.client.rpc, &stats);
    assert_int_equal(stats.packets_sent, 1);
    assert_int_equal(stats.messages_sent, 1000);
    /* 200,000 without a cork: sends complete slower than one thread appends */
    for (uint64_t id = 1000; id < 201000; id++) {
        struct kith_msg msg = ping(id);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    wait_count(&pair.server, &pair.server.messages, 201000);
    assert_false(pair.server.out_of_order);
    kith_rpc_stats(pair.client.rpc, &stats);
    assert_true(stats.packets_sent < 100000);
    struct kith_rpc_stats received;
    kith_rpc_stats(pair.server.rpc, &received);
    assert_true(received.packets_received == stats.packets_sent);
    assert_true(received.bytes_received == stats.bytes_sent);
    pair_stop(&pair);
}

/* What may wait leaves with the next that does not, in order; or by itself. */
static void test_may_wait(void **state)
{
    (void)state;
    struct pair pair;
    struct kith_rpc_stats stats;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    for (uint64_t id = 0; id < 3; id++) {
        struct kith_msg msg = ping(id);
        msg.may_wait = true;
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    wait_count(&pair.server, &pair.server.messages, 3); /* nothing follows: its time runs out */
    uint64_t done = 3;
    bool together = false;
    for (uint32_t i = 0; i < 100 && !together; i++) { /* the timer may come between */
        kith_rpc_stats(pair.client.rpc, &stats);
        uint64_t before = stats.packets_sent;
        for (uint32_t k = 0; k < 10; k++) {
            struct kith_msg msg = ping(done++);
            msg.may_wait = k < 9;
            assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
        }
        wait_count(&pair.server, &pair.server.messages, (uint32_t)done);
        kith_rpc_stats(pair.client.rpc, &stats);
        together = stats.packets_sent == before + 1;
    }
    assert_true(together);
    for (uint32_t k = 0; k < 5; k++) { /* and what waits is sent before the end */
        struct kith_msg msg = ping(done++);
        msg.may_wait = true;
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    kith_rpc_close(pair.client.rpc, pair.conn, "done");
    wait_count(&pair.server, &pair.server.closed, 1);
    assert_int_equal(pair.server.messages, done);
    assert_false(pair.server.out_of_order);
    pair_stop(&pair);
}

#define SENDERS 4u
#define SENDS_EACH 20000u

static void *send_many(void *arg)
{
    struct pair *pair = arg;
    for (uint32_t i = 0; i < SENDS_EACH; i++) {
        struct kith_msg msg = ping(i);
        if (i % 100 == 0) {
            kith_rpc_cork(pair->client.rpc);
        }
        enum kith_err err = kith_rpc_send(pair->client.rpc, pair->conn, &msg);
        if (i % 100 == 49) {
            kith_rpc_uncork(pair->client.rpc);
        }
        if (err != KITH_OK) {
            return pair;
        }
    }
    return NULL;
}

/* Many threads send on one connection, corked and not, while two queue threads answer. */
static void test_many_threads(void **state)
{
    (void)state;
    struct kith_rpc_options options = {.threads = 2};
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, &options);
    set_echo(&pair.server);
    pthread_t threads[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &pair), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    wait_count(&pair.client, &pair.client.messages, SENDERS * SENDS_EACH);
    see(&pair.server);
    assert_int_equal(pair.server.messages, SENDERS * SENDS_EACH);
    pair_stop(&pair);
}

/* Frames above what is packed go alone, and still in order; too large ones are refused. */
static void test_large_frames(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    uint8_t *state_bytes = kith_calloc(1, KITH_ROW_STATE_MAX);
    assert_non_null(state_bytes);
    struct kith_got_row rows[5];
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < 5; i++) {
        rows[i].state = kith_bytes_make(state_bytes, KITH_ROW_STATE_MAX);
    }
    struct kith_msg msg = {.kind = KITH_MSG_GET_RES};
    msg.u.get_res.status.message = "";
    msg.u.get_res.rows = rows;
    kith_rpc_cork(pair.client.rpc);
    for (uint64_t id = 0; id < 12; id++) {
        msg.id = id;
        msg.u.get_res.row_count = (uint32_t)(id % 4);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    msg.u.get_res.row_count = 5;
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_ETOOBIG);
    msg.u.get_res.row_count = KITH_NAMES_MAX + 1;
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_EINVAL);
    kith_rpc_uncork(pair.client.rpc);
    msg.kind = KITH_MSG_CHUNK_GET_REQ;
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_EINVAL);
    wait_count(&pair.server, &pair.server.messages, 12);
    assert_false(pair.server.out_of_order);
    kith_free(state_bytes);
    pair_stop(&pair);
}

static void send_chunk(struct pair *pair, uint64_t id, size_t size)
{
    struct kith_blob *blob = kith_blob_new(size);
    assert_non_null(blob);
    for (size_t i = 0; i < size; i++) {
        blob->data[i] = (uint8_t)(i * 31 + id + (i >> 8));
    }
    struct kith_checksum sum = kith_checksum_of(kith_bytes_make(blob->data, size));
    struct kith_chunk_id refs[2000];
    memset(refs, 7, sizeof refs);
    struct kith_msg msg = {.kind = KITH_MSG_CHUNK_PUT_REQ, .id = id};
    msg.u.chunk_put_req.payload = blob;
    msg.u.chunk_put_req.ref_count = id % 2 == 0 ? 0 : 2000; /* a prefix of 44 KiB */
    msg.u.chunk_put_req.refs = refs;
    assert_int_equal(kith_rpc_send(pair->client.rpc, pair->conn, &msg), KITH_OK);
    kith_blob_drop(blob);
    wait_count(&pair->client, &pair->client.messages, (uint32_t)id + 1);
    see(&pair->server);
    assert_memory_equal(sum.bytes, pair->server.checksum.bytes, sizeof sum.bytes);
    assert_memory_equal(sum.bytes, pair->client.checksum.bytes, sizeof sum.bytes);
}

static void test_bulk(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_BULK, NULL);
    set_echo(&pair.server);
    static const size_t sizes[] = {1, 100, 4095, 4096, 65536, 100000, KITH_CHUNK_MAX};
    uint64_t id = 0;
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            send_chunk(&pair, id++, sizes[i]);
        }
    }
    struct kith_msg msg = ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_EINVAL);
    pair_stop(&pair);
}

/* Whoever closes, both hear of it once, and what was queued before arrives. */
static void close_from(bool server_side)
{
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    struct end *from = server_side ? &pair.server : &pair.client;
    struct end *to = server_side ? &pair.client : &pair.server;
    uint64_t conn = server_side ? pair.server.last_accepted : pair.conn;
    kith_rpc_cork(from->rpc);
    for (uint64_t id = 0; id < 100; id++) {
        struct kith_msg msg = ping(id);
        assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_OK);
    }
    kith_rpc_close(from->rpc, conn, "enough of it");
    struct kith_msg msg = ping(100);
    assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_ECLOSED);
    kith_rpc_uncork(from->rpc);
    wait_count(from, &from->closed, 1);
    wait_count(to, &to->closed, 1);
    assert_int_equal(to->messages, 100);
    assert_string_equal(from->reason, "enough of it");
    assert_string_equal(to->reason, server_side ? "enough of it" : "closed by the peer");
    assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_ECLOSED);
    kith_rpc_close(from->rpc, conn, "again");
    /* the address can be used again at once */
    assert_int_equal(kith_rpc_connect(pair.client.rpc, pair.address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    wait_count(&pair.client, &pair.client.opened, 2);
    pair_stop(&pair);
}

static void test_close(void **state)
{
    (void)state;
    close_from(false);
    close_from(true);
}

/* Nobody listens: the answer comes at once, every time, and a server that appears is found at once. */
static void test_refused(void **state)
{
    (void)state;
    struct end probe, client;
    end_start(&probe, NULL);
    uint16_t port;
    assert_int_equal(kith_rpc_listen(probe.rpc, "127.0.0.1:0", &port, NULL), KITH_OK);
    end_stop(&probe);
    char address[32];
    address_of(address, sizeof address, port);
    end_start(&client, NULL);
    uint64_t conn;
    double start = now_ms();
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
        wait_count(&client, &client.closed, i + 1);
        assert_string_equal(client.reason, "connection refused");
    }
    /* with the back-off of gRPC's channels (1 s, growing to 120 s) it would be minutes */
    assert_true(now_ms() - start < WAIT_MAX_S * 1e3);
    end_start(&probe, NULL);
    assert_int_equal(kith_rpc_listen(probe.rpc, address, &port, NULL), KITH_OK);
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    wait_count(&client, &client.opened, 1);
    struct kith_error error;
    assert_int_equal(kith_rpc_connect(client.rpc, "nonsense", KITH_RPC_ROWS, &conn, &error), KITH_EINVAL);
    assert_int_equal(kith_rpc_connect(client.rpc, "h:0", KITH_RPC_ROWS, &conn, &error), KITH_EINVAL);
    assert_int_equal(kith_rpc_connect(client.rpc, ":7", KITH_RPC_ROWS, &conn, &error), KITH_EINVAL);
    end_stop(&client);
    end_stop(&probe);
}

static void test_listen_errors(void **state)
{
    (void)state;
    struct end one, two, three;
    end_start(&one, NULL);
    end_start(&two, NULL);
    end_start(&three, NULL);
    uint16_t port;
    struct kith_error error;
    assert_int_equal(kith_rpc_listen(one.rpc, "127.0.0.1:0", &port, &error), KITH_OK);
    assert_int_equal(kith_rpc_listen(one.rpc, "127.0.0.1:0", &port, &error), KITH_EINVAL);
    char address[32];
    address_of(address, sizeof address, port);
    assert_int_equal(kith_rpc_listen(two.rpc, address, &port, &error), KITH_EBUSY);
    assert_non_null(strstr(error.message, "in use"));
    assert_int_equal(kith_rpc_listen(three.rpc, "192.0.2.1:7070", &port, &error), KITH_EINVAL);
    end_stop(&three);
    end_stop(&two);
    end_stop(&one);
}

/* A socket that takes the connection and says nothing: closed at connect_timeout. */
static void test_silent_peer(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    char address[32];
    address_of(address, sizeof address, ntohs(at.sin_port));
    struct kith_rpc_options options = {.connect_timeout_ms = 300};
    struct end client;
    end_start(&client, &options);
    uint64_t conn;
    double start = now_ms();
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    struct kith_msg msg = ping(1);
    assert_int_equal(kith_rpc_send(client.rpc, conn, &msg), KITH_OK);
    wait_count(&client, &client.closed, 1);
    double took = now_ms() - start;
    assert_true(took > 200 && took < 3000);
    assert_string_equal(client.reason, "timed out");
    assert_int_equal(client.opened, 0);
    end_stop(&client);
    close(fd);
}

/* The other end does not read: its window fills, then the queue, then send says so. */
static void test_send_limit(void **state)
{
    (void)state;
    struct kith_rpc_options options = {.send_limit_bytes = 4u << 20};
    struct pair pair;
    pair_start(&pair, KITH_RPC_BULK, &options);
    lock(&pair.server);
    pair.server.hold = true;
    unlock(&pair.server);
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
    lock(&pair.server);
    pair.server.hold = false;
    unlock(&pair.server);
    wait_count(&pair.server, &pair.server.messages, sent);
    msg.id = sent;
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    wait_count(&pair.server, &pair.server.messages, sent + 1);
    assert_false(pair.server.out_of_order);
    kith_blob_drop(blob);
    pair_stop(&pair);
}

static int raw_connect(const char *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)},
                             .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Noise on the port, and an HTTP/2 preface with noise behind it: the peer is dropped, we live on. */
static void test_garbage_on_the_port(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    set_echo(&pair.server);
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
    struct kith_msg msg = ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    wait_count(&pair.client, &pair.client.messages, 1);
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
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(WAIT_MAX_S, GPR_TIMESPAN)), NULL);
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
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Get", 0, &responses, details, 0), GRPC_STATUS_OK);
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Scan", 10, &responses, details, 0), GRPC_STATUS_OK);
    assert_int_equal(responses, 100);
    see(&pair.server);
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
    assert_int_equal(do_call(&caller, "/kith.v1.Kv/Get", KITH_MESSAGE_MAX + 1, &responses, details, 0),
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
    set_echo(&pair.server);
    kith_log_set_level(KITH_LOG_ERROR);
    struct caller caller;
    caller_start(&caller, pair.address);
    uint32_t responses;
    char details[256];
    static const char *const methods[] = {"/kith.v1.ClientStream/Rows", "/kith.v1.ClientStream/Bulk",
                                          "/kith.v1.PeerStream/Rows", "/kith.v1.PeerStream/Bulk"};
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(do_call(&caller, methods[i], 100, &responses, details, 0),
                         GRPC_STATUS_ABORTED);
        assert_true(details[0] != '\0');
        wait_count(&pair.server, &pair.server.closed, 2 * i + 1);
        (void)do_call(&caller, methods[i], KITH_MESSAGE_MAX + 1, &responses, details, 0);
        wait_count(&pair.server, &pair.server.closed, 2 * i + 2);
    }
    caller_stop(&caller);
    kith_log_set_level(KITH_LOG_INFO);
    struct kith_msg msg = ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    wait_count(&pair.client, &pair.client.messages, 1);
    pair_stop(&pair);
}

/* ---- A peer that is killed ---- */

static int serve_until_killed(int out)
{
    struct end server;
    end_start(&server, NULL);
    set_echo(&server);
    uint16_t port;
    if (kith_rpc_listen(server.rpc, "127.0.0.1:0", &port, NULL) != KITH_OK ||
        write(out, &port, sizeof port) != (ssize_t)sizeof port) {
        return 1;
    }
    for (;;) {
        pause();
    }
}

static void test_peer_killed(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    char out[16];
    (void)snprintf(out, sizeof out, "%d", fds[1]);
    pid_t child = fork(); /* it executes this program anew: a forked child cannot use gRPC */
    if (child == 0) {
        execl("/proc/self/exe", "test_rpc", "--serve", out, (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    uint16_t port = 0;
    assert_int_equal(read(fds[0], &port, sizeof port), sizeof port);
    close(fds[0]);
    struct end client;
    end_start(&client, NULL);
    char address[32];
    address_of(address, sizeof address, port);
    uint64_t conn;
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    struct kith_msg msg = ping(0);
    assert_int_equal(kith_rpc_send(client.rpc, conn, &msg), KITH_OK);
    wait_count(&client, &client.messages, 1);
    double start = now_ms();
    kill(child, SIGKILL);
    wait_count(&client, &client.closed, 1);
    assert_true(now_ms() - start < 1000);
    waitpid(child, NULL, 0);
    start = now_ms();
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    wait_count(&client, &client.closed, 2);
    assert_true(now_ms() - start < 500);
    end_stop(&client);
}

/* The end of a connection may come with any of its events, also with the last send's: the driver must get
 * his thread back then, for what he has been told lies where only he looks. */
static void test_driver_told(void **state)
{
    (void)state;
    if (!driven) {
        return;
    }
    struct end end = {.rpc = NULL};
    pthread_mutex_init(&end.lock, NULL);
    pthread_cond_init(&end.changed, NULL);
    const struct kith_rpc_handlers handlers = {&end, NULL, NULL, NULL, on_closed, NULL};
    const struct kith_rpc_options options = {.driven = true};
    assert_int_equal(kith_rpc_new(&options, &handlers, &end.rpc, NULL), KITH_OK);
    grpc_channel *channel = grpc_lame_client_channel_create("x", GRPC_STATUS_UNAVAILABLE, "");
    grpc_call *call = grpc_channel_create_call(
        channel, NULL, GRPC_PROPAGATE_DEFAULTS, end.rpc->queue, grpc_slice_from_static_string("/x"),
        NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    struct rpc_conn *conn = rpc_conn_new(end.rpc, KITH_RPC_ROWS, call, NULL, "x");
    assert_non_null(conn);
    conn->over = true; /* all that is left is the send under way */
    conn->sending = true;
    rpc_start(conn->call, NULL, 0, &conn->send_tag);
    double start = now_ms();
    kith_rpc_drive(end.rpc, (uint64_t)start + 2000);
    assert_int_equal(end.closed, 1);
    assert_true(now_ms() - start < 1000);
    kith_rpc_free(end.rpc);
    grpc_channel_destroy(channel);
    pthread_cond_destroy(&end.changed);
    pthread_mutex_destroy(&end.lock);
}

/* An end in the middle of a talk leaves nothing behind of a stream whose read has been put off. */
static void test_free_while_put_off(void **state)
{
    (void)state;
    enum { WARM = 20, ROUNDS = 100, LEFT_MAX = 200000 }; /* a call with its stream takes 10 kB */
    size_t before = 0;
    for (uint32_t round = 0; round < WARM + ROUNDS; round++) {
        struct pair pair;
        before = round == WARM ? mallinfo2().uordblks : before;
        pair_start(&pair, KITH_RPC_ROWS, NULL);
        set_echo(&pair.server);
        struct kith_msg msg = ping(0);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
        wait_count(&pair.client, &pair.client.messages, 1);
        pair_stop(&pair);
    }
    size_t after = mallinfo2().uordblks;
    if (after > before + LEFT_MAX) {
        fail_msg("%zu bytes are left behind", after - before);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--serve") == 0) {
        return serve_until_killed(atoi(argv[2]));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_killed),
        cmocka_unit_test(test_echo_in_order),
        cmocka_unit_test(test_unasked),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_may_wait),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_large_frames),
        cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_silent_peer),
        cmocka_unit_test(test_send_limit),
        cmocka_unit_test(test_garbage_on_the_port),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_bad_envelope),
        cmocka_unit_test(test_driver_told),
        cmocka_unit_test(test_free_while_put_off),
    };
    int failed = cmocka_run_group_tests_name("with queue threads", tests, NULL, NULL);
    driven = true;
    return failed + cmocka_run_group_tests_name("driven", tests, NULL, NULL);
}
