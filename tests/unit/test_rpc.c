/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_rpc.c - connections between our own ends. All cases run twice: with queue threads, and with
 * one thread that drives. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "lib/certs.h"
#include "lib/rpc_ends.h"
#include "rpc/rpc_impl.h"

static void test_echo_in_order(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    end_echo(&pair.server);
    for (uint64_t id = 0; id < 10000; id++) {
        struct kith_msg msg = end_ping(id);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    end_wait(&pair.client, &pair.client.messages, 10000);
    end_see(&pair.server);
    assert_false(pair.server.out_of_order);
    assert_false(pair.client.out_of_order);
    pair_stop(&pair);
}

/* What comes unasked on a connection on which no answer is awaited is read too, soon and in order.
 */
static void test_unasked(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    end_echo(&pair.server);
    struct kith_msg msg = end_ping(0);
    assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    end_wait(&pair.client, &pair.client.messages, 1);
    for (uint32_t id = 1; id < 50; id++) {
        msg = end_ping(id);
        end_see(&pair.server);
        assert_int_equal(kith_rpc_send(pair.server.rpc, pair.server.last_accepted, &msg), KITH_OK);
        if (id % 3 != 0) { /* alone, and on the heels of another */
            end_wait(&pair.client, &pair.client.messages, id + 1);
        }
    }
    end_wait(&pair.client, &pair.client.messages, 50);
    assert_false(pair.client.out_of_order);
    /* and the end is told though nothing has been sent since */
    kith_rpc_close(pair.server.rpc, pair.server.last_accepted, "enough");
    end_wait(&pair.client, &pair.client.closed, 1);
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
        struct kith_msg msg = end_ping(id);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    struct kith_rpc_stats stats;
    kith_rpc_stats(pair.client.rpc, &stats);
    assert_int_equal(stats.packets_sent, 0);
    kith_rpc_uncork(pair.client.rpc);
    end_wait(&pair.server, &pair.server.messages, 1000);
    kith_rpc_stats(pair.client.rpc, &stats);
    assert_int_equal(stats.packets_sent, 1);
    assert_int_equal(stats.messages_sent, 1000);
    /* 200,000 without a cork: sends complete slower than one thread appends */
    for (uint64_t id = 1000; id < 201000; id++) {
        struct kith_msg msg = end_ping(id);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    end_wait(&pair.server, &pair.server.messages, 201000);
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
        struct kith_msg msg = end_ping(id);
        msg.may_wait = true;
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    end_wait(&pair.server, &pair.server.messages, 3); /* nothing follows: its time runs out */
    uint64_t done = 3;
    bool together = false;
    for (uint32_t i = 0; i < 100 && !together; i++) { /* the timer may come between */
        kith_rpc_stats(pair.client.rpc, &stats);
        uint64_t before = stats.packets_sent;
        for (uint32_t k = 0; k < 10; k++) {
            struct kith_msg msg = end_ping(done++);
            msg.may_wait = k < 9;
            assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
        }
        end_wait(&pair.server, &pair.server.messages, (uint32_t)done);
        kith_rpc_stats(pair.client.rpc, &stats);
        together = stats.packets_sent == before + 1;
    }
    assert_true(together);
    for (uint32_t k = 0; k < 5; k++) { /* and what waits is sent before the end */
        struct kith_msg msg = end_ping(done++);
        msg.may_wait = true;
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
    }
    kith_rpc_close(pair.client.rpc, pair.conn, "done");
    end_wait(&pair.server, &pair.server.closed, 1);
    assert_int_equal(pair.server.messages, done);
    assert_false(pair.server.out_of_order);
    pair_stop(&pair);
}

#define SENDERS    4u
#define SENDS_EACH 20000u

static void *send_many(void *arg)
{
    struct pair *pair = arg;
    for (uint32_t i = 0; i < SENDS_EACH; i++) {
        struct kith_msg msg = end_ping(i);
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
    end_echo(&pair.server);
    pthread_t threads[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &pair), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    end_wait(&pair.client, &pair.client.messages, SENDERS * SENDS_EACH);
    end_see(&pair.server);
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
    end_wait(&pair.server, &pair.server.messages, 12);
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
    end_wait(&pair->client, &pair->client.messages, (uint32_t)id + 1);
    end_see(&pair->server);
    assert_memory_equal(sum.bytes, pair->server.checksum.bytes, sizeof sum.bytes);
    assert_memory_equal(sum.bytes, pair->client.checksum.bytes, sizeof sum.bytes);
}

static void test_bulk(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_BULK, NULL);
    end_echo(&pair.server);
    static const size_t sizes[] = {1, 100, 4095, 4096, 65536, 100000, KITH_CHUNK_MAX};
    uint64_t id = 0;
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            send_chunk(&pair, id++, sizes[i]);
        }
    }
    struct kith_msg msg = end_ping(0);
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
        struct kith_msg msg = end_ping(id);
        assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_OK);
    }
    kith_rpc_close(from->rpc, conn, "enough of it");
    struct kith_msg msg = end_ping(100);
    assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_ECLOSED);
    kith_rpc_uncork(from->rpc);
    end_wait(from, &from->closed, 1);
    end_wait(to, &to->closed, 1);
    assert_int_equal(to->messages, 100);
    assert_string_equal(from->reason, "enough of it");
    assert_string_equal(to->reason, server_side ? "enough of it" : "closed by the peer");
    assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_ECLOSED);
    kith_rpc_close(from->rpc, conn, "again");
    /* the address can be used again at once */
    assert_int_equal(kith_rpc_connect(pair.client.rpc, pair.address, KITH_RPC_ROWS, &conn, NULL),
                     KITH_OK);
    end_wait(&pair.client, &pair.client.opened, 2);
    pair_stop(&pair);
}

static void test_close(void **state)
{
    (void)state;
    close_from(false);
    close_from(true);
}

/* Nobody listens: the answer comes at once, every time, and a server that appears is found at once.
 */
/* A port on which nobody listens, and that nobody else can take while the socket is there. */
static int port_held(uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(held >= 0);
    assert_int_equal(bind(held, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(held, (struct sockaddr *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return held;
}

static void test_refused(void **state)
{
    (void)state;
    struct end probe, client;
    uint16_t port;
    int held = port_held(&port);
    char address[32];
    end_address(address, sizeof address, port);
    end_start(&client, NULL);
    uint64_t conn;
    double start = end_now_ms();
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL),
                         KITH_OK);
        end_wait(&client, &client.closed, i + 1);
        assert_string_equal(client.reason, "connection refused");
    }
    /* with the back-off of gRPC's channels (1 s, growing to 120 s) it would be minutes */
    assert_true(end_now_ms() - start < WAIT_MAX_S * 1e3);
    close(held);
    end_start(&probe, NULL);
    assert_int_equal(kith_rpc_listen(probe.rpc, address, &port, NULL), KITH_OK);
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    end_wait(&client, &client.opened, 1);
    struct kith_error error;
    assert_int_equal(kith_rpc_connect(client.rpc, "nonsense", KITH_RPC_ROWS, &conn, &error),
                     KITH_EINVAL);
    assert_int_equal(kith_rpc_connect(client.rpc, "h:0", KITH_RPC_ROWS, &conn, &error),
                     KITH_EINVAL);
    assert_int_equal(kith_rpc_connect(client.rpc, ":7", KITH_RPC_ROWS, &conn, &error), KITH_EINVAL);
    end_stop(&client);
    end_stop(&probe);
}

struct again {
    struct end client, server;
    int held;
    uint16_t port;
    char address[32];
};

static void listen_and_connect(void *arg)
{
    struct again *again = arg;
    uint64_t conn;
    if (again->held >= 0) {
        close(again->held);
        again->held = -1;
        assert_int_equal(kith_rpc_listen(again->server.rpc, again->address, &again->port, NULL),
                         KITH_OK);
        assert_int_equal(
            kith_rpc_connect(again->client.rpc, again->address, KITH_RPC_ROWS, &conn, NULL),
            KITH_OK);
    }
}

/* Who is told that a connection was refused may try again at once, and gets no answer of old. */
static void test_connect_in_closed(void **state)
{
    (void)state;
    struct again again;
    uint64_t conn;
    again.held = port_held(&again.port);
    end_address(again.address, sizeof again.address, again.port);
    end_start(&again.server, NULL);
    end_start(&again.client, NULL);
    again.client.on_closed_arg = &again;
    again.client.on_closed = listen_and_connect;
    assert_int_equal(
        kith_rpc_connect(again.client.rpc, again.address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    end_wait(&again.client, &again.client.opened, 1);
    end_stop(&again.client);
    end_stop(&again.server);
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
    end_address(address, sizeof address, port);
    assert_int_equal(kith_rpc_listen(two.rpc, address, &port, &error), KITH_EBUSY);
    assert_non_null(strstr(error.message, "in use"));
    assert_int_equal(kith_rpc_listen(three.rpc, "192.0.2.1:7070", &port, &error), KITH_EINVAL);
    end_stop(&three);
    end_stop(&two);
    end_stop(&one);
}

static void ping_once(struct end *client, struct end *server, const char *address)
{
    uint64_t conn;
    end_lock(client);
    uint32_t opened = client->opened, messages = client->messages;
    struct kith_msg msg = end_ping(client->next_id);
    end_unlock(client);
    end_echo(server);
    assert_int_equal(kith_rpc_connect(client->rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    end_wait(client, &client->opened, opened + 1);
    assert_int_equal(kith_rpc_send(client->rpc, conn, &msg), KITH_OK);
    end_wait(client, &client->messages, messages + 1);
}

/* Who comes by the address that is told as near needs no TCP; who does not is served all the same,
 * and both by one channel that is made anew. */
static void test_near(void **state)
{
    (void)state;
    static const struct kith_rpc_options near = {.near = "127.0.0.1:0"};
    struct end client, server, other, far;
    struct kith_error error;
    char address[32];
    uint16_t port;
    end_start(&client, NULL);
    end_start(&server, &near);
    assert_int_equal(kith_rpc_listen(server.rpc, "0.0.0.0:0", &port, NULL), KITH_OK);
    end_address(address, sizeof address, port);
    ping_once(&client, &server, address);
    ends_near_wait(address, 2);

    struct kith_rpc_options taken = {.near = address};
    end_start(&other, &taken);
    assert_int_equal(kith_rpc_listen(other.rpc, "127.0.0.1:0", &port, &error), KITH_EBUSY);
    assert_non_null(strstr(error.message, address));
    assert_non_null(strstr(error.message, "local socket"));
    end_stop(&other);

    end_stop(&server);
    end_wait(&client, &client.closed, 1);
    end_start(&far, NULL);
    assert_int_equal(kith_rpc_listen(far.rpc, address, &port, NULL), KITH_OK);
    ping_once(&client, &far, address);
    ends_near_wait(address, 0);
    end_stop(&far);
    end_stop(&client);
}

/* Names that are no names of hosts as gRPC's targets want them, or too long for a socket's. */
static void test_near_names(void **state)
{
    (void)state;
    static const struct {
        const char *near, *name; /* the socket's; NULL = there is none. Before a number: there is
                                    one of a name on the whole machine */
    } cases[] = {
        {"[::1]:", "_::1_:"},
        {"a_%20/host@x?y#z:", "a__20_host_x_y_z:"},
        {"no-port-", "no-port-"},
        {"a-host-of-which-the-name-is-longer-than-the-place-that-there-is-in-the-address-of-a-local-"
         "socket.example:",
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char near[160], name[160];
        int number = getpid() % 60000 + 1;
        (void)snprintf(near, sizeof near, "%s%d", cases[i].near, number);
        (void)snprintf(name, sizeof name, "%s%d", cases[i].name ? cases[i].name : "", number);
        struct kith_rpc_options options = {.near = near};
        struct end client, server;
        char address[32];
        uint16_t port;
        end_start(&client, NULL);
        end_start(&server, &options);
        assert_int_equal(kith_rpc_listen(server.rpc, "127.0.0.1:0", &port, NULL), KITH_OK);
        if (cases[i].name) {
            ends_near_wait(name, 1);
        }
        if (near[0] == '[') {
            ping_once(&client, &server, near);
            ends_near_wait(name, 2);
        }
        end_address(address, sizeof address, port);
        ping_once(&client, &server, address);
        ends_near_wait(address, 0);
        end_stop(&client);
        end_stop(&server);
    }
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
    end_address(address, sizeof address, ntohs(at.sin_port));
    struct kith_rpc_options options = {.connect_timeout_ms = 300};
    struct end client;
    end_start(&client, &options);
    uint64_t conn;
    double start = end_now_ms();
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    struct kith_msg msg = end_ping(1);
    assert_int_equal(kith_rpc_send(client.rpc, conn, &msg), KITH_OK);
    end_wait(&client, &client.closed, 1);
    double took = end_now_ms() - start;
    assert_true(took > 200);
    assert_string_equal(client.reason, "timed out");
    assert_int_equal(client.opened, 0);
    end_stop(&client);
    close(fd);
}

/* ---- A peer that is killed ---- */

static int serve_until_killed(int out)
{
    struct end server;
    end_start(&server, NULL);
    end_echo(&server);
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
        execl("/proc/self/exe", "test_rpc", "--serve", out, ends_tls ? ends_tls->cert : NULL,
              ends_tls ? ends_tls->key : NULL, ends_tls ? ends_tls->ca : NULL, (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    uint16_t port = 0;
    assert_int_equal(read(fds[0], &port, sizeof port), sizeof port);
    close(fds[0]);
    struct end client;
    end_start(&client, NULL);
    char address[32];
    end_address(address, sizeof address, port);
    uint64_t conn;
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    struct kith_msg msg = end_ping(0);
    assert_int_equal(kith_rpc_send(client.rpc, conn, &msg), KITH_OK);
    end_wait(&client, &client.messages, 1);
    kill(child, SIGKILL);
    end_wait(&client, &client.closed, 1);
    /* lost or reset, as it came; silence would have shown it later */
    assert_string_not_equal(client.reason, "the peer is silent");
    assert_string_not_equal(client.reason, "timed out");
    waitpid(child, NULL, 0);
    assert_int_equal(kith_rpc_connect(client.rpc, address, KITH_RPC_ROWS, &conn, NULL), KITH_OK);
    end_wait(&client, &client.closed, 2);
    assert_string_equal(client.reason, "connection refused");
    end_stop(&client);
}

/* The end of a connection may come with any of its events, also with the last send's: the driver
 * must get his thread back then, for what he has been told lies where only he looks. */
static void test_driver_told(void **state)
{
    (void)state;
    if (!ends_driven) {
        return;
    }
    struct end end = {.rpc = NULL};
    pthread_mutex_init(&end.lock, NULL);
    pthread_cond_init(&end.changed, NULL);
    const struct kith_rpc_handlers handlers = {&end, NULL, NULL, NULL, end_on_closed, NULL};
    const struct kith_rpc_options options = {.driven = true};
    assert_int_equal(kith_rpc_new(&options, &handlers, &end.rpc, NULL), KITH_OK);
    grpc_channel *channel = grpc_lame_client_channel_create("x", GRPC_STATUS_UNAVAILABLE, "");
    grpc_call *call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                               end.rpc->queue, grpc_slice_from_static_string("/x"),
                                               NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    struct rpc_conn *conn = rpc_conn_new(end.rpc, KITH_RPC_ROWS, call, NULL, "x", NULL);
    assert_non_null(conn);
    conn->over = true; /* all that is left is the send under way */
    conn->sending = true;
    rpc_start(conn->call, NULL, 0, &conn->send_tag);
    uint64_t until_ms = (uint64_t)(end_now_ms() + WAIT_MAX_S * 1e3);
    kith_rpc_drive(end.rpc, until_ms);
    assert_int_equal(end.closed, 1);
    assert_true(end_now_ms() < (double)until_ms); /* told, and not because his time was over */
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
        end_echo(&pair.server);
        struct kith_msg msg = end_ping(0);
        assert_int_equal(kith_rpc_send(pair.client.rpc, pair.conn, &msg), KITH_OK);
        end_wait(&pair.client, &pair.client.messages, 1);
        pair_stop(&pair);
    }
    size_t after = mallinfo2().uordblks;
    if (after > before + LEFT_MAX) {
        fail_msg("%zu bytes are left behind", after - before);
    }
}

static struct certs ca;
static struct certs_files files;

/* With one thread that drives, as nodes are, by TCP. */
static int with_certificates(void **state)
{
    (void)state;
    struct certs_own own;
    certs_start(&ca, "home");
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &own);
    certs_files_start(&files);
    certs_files_put(&files, &ca, &own);
    certs_own_release(&own);
    ends_tls = &files.files;
    ends_near = false;
    ends_driven = true;
    return 0;
}

static int without_certificates(void **state)
{
    (void)state;
    ends_tls = NULL;
    certs_files_stop(&files);
    certs_stop(&ca);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--serve") == 0) {
        struct kith_identity_files given = {0};
        if (argc == 6) {
            given = (struct kith_identity_files){argv[3], argv[4], argv[5], NULL, NULL};
            ends_tls = &given;
        }
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
        cmocka_unit_test(test_connect_in_closed),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_near_names),
        cmocka_unit_test(test_silent_peer),
        cmocka_unit_test(test_driver_told),
        cmocka_unit_test(test_free_while_put_off),
    };
    int failed = cmocka_run_group_tests_name("with queue threads", tests, NULL, NULL);
    ends_driven = true;
    failed += cmocka_run_group_tests_name("driven", tests, NULL, NULL);
    ends_near = true;
    failed += cmocka_run_group_tests_name("driven, by a local socket", tests, NULL, NULL);
    ends_driven = false;
    failed += cmocka_run_group_tests_name("by a local socket", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("with certificates", tests, with_certificates,
                                                without_certificates);
}
