/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_rpc_tls.c - who is let in, who is not, and what becomes of connections when certificates
 * change. Peers that our own code would not make are plain gRPC clients and servers, and sockets.
 * test_rpc.c runs with certificates, too. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/certs.h"
#include "lib/rpc_ends.h"
#include "rpc/rpc_impl.h"

#define DAY_S 86400

static struct certs ca;
static struct certs_files node, client; /* of 'oak', and of 'anna' */

static void put_new(const struct certs *from, struct certs_files *files, enum kith_cert_role role,
                    const char *name, struct kith_cert *ret_says)
{
    struct certs_own own;
    certs_issue(from, role, name, 10, 0, &own);
    certs_files_put(files, from, &own);
    if (ret_says) {
        *ret_says = own.says;
    }
    certs_own_release(&own);
}

static int start(void **state)
{
    (void)state;
    certs_start(&ca, "home");
    certs_files_start(&node);
    certs_files_start(&client);
    put_new(&ca, &node, KITH_CERT_NODE, "oak", NULL);
    put_new(&ca, &client, KITH_CERT_CLIENT, "anna", NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    certs_files_stop(&node);
    certs_files_stop(&client);
    certs_stop(&ca);
    return 0;
}

static void serve(struct end *end, char address[32])
{
    struct kith_rpc_options options = {.tls = &node.files,
                                       .near = ends_near ? "127.0.0.1:0" : NULL};
    struct kith_error error;
    uint16_t port = 0;
    end_start(end, &options);
    end_echo(end);
    if (kith_rpc_listen(end->rpc, "127.0.0.1:0", &port, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    end_address(address, 32, port);
}

static void start_client(struct end *end, const struct kith_identity_files *files,
                         enum kith_peer_role role)
{
    const struct kith_rpc_options options = {.tls = files, .role = role};
    end_start(end, &options);
}

static uint64_t dial(struct end *end, const char *address, enum kith_rpc_class cls)
{
    uint64_t conn = 0;
    assert_int_equal(kith_rpc_connect(end->rpc, address, cls, &conn, NULL), KITH_OK);
    return conn;
}

static void says(const char *text, const char *words)
{
    if (!strstr(text, words)) {
        fail_msg("'%s' does not say '%s'", text, words);
    }
}

/* It is let in, and answered. */
static uint64_t let_in(struct end *from, struct end *to, const char *address)
{
    end_lock(from);
    uint32_t opened = from->opened + 1, messages = from->messages + 1;
    end_unlock(from);
    end_lock(to);
    uint32_t accepted = to->accepted + 1;
    to->next_id = 0;
    end_unlock(to);
    uint64_t conn = dial(from, address, KITH_RPC_ROWS);
    end_wait(from, &from->opened, opened);
    end_wait(to, &to->accepted, accepted);
    struct kith_msg msg = end_ping(0);
    assert_int_equal(kith_rpc_send(from->rpc, conn, &msg), KITH_OK);
    end_wait(from, &from->messages, messages);
    return conn;
}

/* It gets no answer, for that reason, and no handler of the other side hears of it. */
static void kept_out(struct end *from, struct end *to, const char *address, const char *words)
{
    end_see(to);
    end_lock(from);
    uint32_t closed = from->closed + 1, opened = from->opened;
    end_unlock(from);
    uint32_t accepted = to->accepted;
    (void)dial(from, address, KITH_RPC_ROWS);
    end_wait(from, &from->closed, closed);
    end_see(from);
    assert_int_equal(from->opened, opened);
    says(from->reason, words);
    end_see(to);
    assert_int_equal(to->accepted, accepted);
}

/* ---- Among ourselves ---- */

static void test_let_in(void **state)
{
    (void)state;
    struct end server, anna;
    char address[32];
    serve(&server, address);
    start_client(&anna, &client.files, KITH_ROLE_CLIENT);
    (void)let_in(&anna, &server, address);
    ends_near_wait(address, ends_near ? 2 : 0);
    end_see(&server);
    assert_true(server.known);
    assert_int_equal(server.who.grant.role, KITH_CERT_CLIENT);
    assert_string_equal(server.who.grant.name, "anna");
    assert_string_equal(server.who.cluster, "home");
    end_stop(&anna);
    struct end elm; /* a node, with the node's certificate */
    start_client(&elm, &node.files, KITH_ROLE_NODE);
    (void)let_in(&elm, &server, address);
    end_see(&server);
    assert_int_equal(server.who.grant.role, KITH_CERT_NODE);
    assert_string_equal(server.who.grant.name, "oak");
    end_stop(&elm);
    end_stop(&server);
}

/* What is confined comes through with all it says. */
static void test_confined(void **state)
{
    (void)state;
    struct end server, ben;
    struct certs_files files;
    struct certs_own own;
    char address[32];
    struct kith_cert_grant grant = certs_grant_make(KITH_CERT_CLIENT, "ben");
    grant.all_volumes = false;
    grant.read_only = true;
    grant.volume_count = 2;
    grant.volumes[0] = 7;
    grant.volumes[1] = 9;
    certs_grant(&ca, &grant, 10, 0, &own);
    certs_files_start(&files);
    certs_files_put(&files, &ca, &own);
    serve(&server, address);
    start_client(&ben, &files.files, KITH_ROLE_CLIENT);
    (void)let_in(&ben, &server, address);
    end_see(&server);
    assert_memory_equal(&server.who.grant, &grant, sizeof grant);
    end_stop(&ben);
    end_stop(&server);
    certs_files_stop(&files);
    certs_own_release(&own);
}

static void test_without(void **state)
{
    (void)state;
    struct end server, plain, anna;
    char address[32];
    uint16_t port = 0;
    serve(&server, address);
    end_start(&plain, NULL);
    kept_out(&plain, &server, address, "");
    /* and the other way round */
    struct end bare;
    end_start(&bare, NULL);
    assert_int_equal(kith_rpc_listen(bare.rpc, "127.0.0.1:0", &port, NULL), KITH_OK);
    end_address(address, sizeof address, port);
    start_client(&anna, &client.files, KITH_ROLE_CLIENT);
    kept_out(&anna, &bare, address, "does not speak TLS");
    end_stop(&anna);
    end_stop(&plain);
    end_stop(&bare);
    end_stop(&server);
}

static void test_other_authority(void **state)
{
    (void)state;
    struct certs other;
    struct certs_files files;
    struct end server, stranger;
    char address[32];
    certs_start(&other, "home");
    certs_files_start(&files);
    put_new(&other, &files, KITH_CERT_NODE, "oak", NULL);
    serve(&server, address);
    start_client(&stranger, &files.files, KITH_ROLE_NODE);
    kept_out(&stranger, &server, address, "not of this cluster's authority"); /* seen by himself */
    end_stop(&stranger);
    end_stop(&server);
    certs_files_stop(&files);
    certs_stop(&other);
}

/* A client's certificate opens no stream of nodes. */
static void test_no_peer(void **state)
{
    (void)state;
    struct end server, anna;
    char address[32];
    serve(&server, address);
    start_client(&anna, &client.files, KITH_ROLE_NODE);
    kept_out(&anna, &server, address, "'anna' is no node's");
    end_stop(&anna);
    end_stop(&server);
}

/* ---- Certificates change ---- */

static void test_revoked(void **state)
{
    (void)state;
    struct certs home;
    struct certs_files files;
    struct kith_cert anna_says, ben_says;
    struct end server, anna, ben;
    char address[32];
    certs_start(&home, "home");
    certs_files_start(&files);
    struct certs_files own = node, ben_files;
    certs_files_start(&node);
    certs_files_start(&ben_files);
    put_new(&home, &node, KITH_CERT_NODE, "oak", NULL);
    put_new(&home, &files, KITH_CERT_CLIENT, "anna", &anna_says);
    put_new(&home, &ben_files, KITH_CERT_CLIENT, "ben", &ben_says);
    serve(&server, address);
    start_client(&anna, &files.files, KITH_ROLE_CLIENT);
    start_client(&ben, &ben_files.files, KITH_ROLE_CLIENT);
    (void)let_in(&anna, &server, address);
    uint64_t good = let_in(&ben, &server, address);
    certs_revoke(&home, anna_says.serial);
    certs_files_put_list(&node, &home);
    end_wait(&anna, &anna.closed, 1); /* what was open is closed */
    says(anna.reason, "'anna' has been revoked");
    kept_out(&anna, &server, address, "'anna' has been revoked");
    struct kith_msg msg = end_ping(1);
    assert_int_equal(kith_rpc_send(ben.rpc, good, &msg), KITH_OK); /* and nobody else's is */
    end_wait(&ben, &ben.messages, 2);
    assert_int_equal(ben.closed, 0);
    end_stop(&anna);
    end_stop(&ben);
    end_stop(&server);
    certs_files_stop(&node);
    certs_files_stop(&ben_files);
    certs_files_stop(&files);
    certs_stop(&home);
    node = own;
    node.files = (struct kith_identity_files){node.cert, node.key, node.ca, node.crl, NULL};
}

/* A client hears that a node was revoked, and leaves it. */
static void test_node_revoked(void **state)
{
    (void)state;
    struct certs home;
    struct certs_files files;
    struct kith_cert oak_says;
    struct end server, anna;
    char address[32];
    struct certs_files own = node;
    certs_start(&home, "home");
    certs_files_start(&files);
    certs_files_start(&node);
    put_new(&home, &node, KITH_CERT_NODE, "oak", &oak_says);
    put_new(&home, &files, KITH_CERT_CLIENT, "anna", NULL);
    serve(&server, address);
    start_client(&anna, &files.files, KITH_ROLE_CLIENT);
    (void)let_in(&anna, &server, address);
    certs_revoke(&home, oak_says.serial);
    certs_files_put_list(&files, &home);
    end_wait(&anna, &anna.closed, 1);
    end_see(&anna);
    says(anna.reason, "'oak' has been revoked");
    kept_out(&anna, &server, address, "'oak' has been revoked");
    end_stop(&anna);
    end_stop(&server);
    certs_files_stop(&node);
    certs_files_stop(&files);
    certs_stop(&home);
    node = own;
    node.files = (struct kith_identity_files){node.cert, node.key, node.ca, node.crl, NULL};
}

struct between {
    int listener;
    struct sockaddr_in to;
};

/* Carries one connection to where it belongs, until either side ends. */
static void *carry(void *arg)
{
    struct between *between = arg;
    char bytes[4096];
    struct pollfd ends[2] = {{.events = POLLIN}, {.events = POLLIN}};
    ends[0].fd = accept(between->listener, NULL, NULL);
    ends[1].fd = socket(AF_INET, SOCK_STREAM, 0);
    bool good = connect(ends[1].fd, (struct sockaddr *)&between->to, sizeof between->to) == 0;
    while (good && poll(ends, 2, WAIT_MAX_S * 1000) > 0) {
        for (int i = 0; i < 2 && good; i++) {
            ssize_t got = ends[i].revents ? recv(ends[i].fd, bytes, sizeof bytes, 0) : 1;
            good = got > 0 && (!ends[i].revents ||
                               send(ends[1 - i].fd, bytes, (size_t)got, MSG_NOSIGNAL) == got);
        }
    }
    close(ends[0].fd);
    close(ends[1].fd);
    return NULL;
}

/* The handshake began before the list came that revokes the node, and ends after. */
static void test_revoked_between(void **state)
{
    (void)state;
    struct certs home;
    struct certs_files files;
    struct kith_cert oak_says;
    struct end server, anna;
    struct between between = {.to = {.sin_family = AF_INET}};
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    pthread_t thread;
    char address[32];
    struct certs_files own = node;
    certs_start(&home, "home");
    certs_files_start(&files);
    certs_files_start(&node);
    put_new(&home, &node, KITH_CERT_NODE, "oak", &oak_says);
    put_new(&home, &files, KITH_CERT_CLIENT, "anna", NULL);
    serve(&server, address);
    between.to.sin_addr.s_addr = at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    between.to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    between.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(between.listener, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(between.listener, 1), 0);
    assert_int_equal(getsockname(between.listener, (struct sockaddr *)&at, &size), 0);
    end_address(address, sizeof address, ntohs(at.sin_port));
    start_client(&anna, &files.files, KITH_ROLE_CLIENT);
    (void)dial(&anna, address, KITH_RPC_ROWS);
    struct pollfd wait = {.fd = between.listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, WAIT_MAX_S * 1000), 1);
    certs_revoke(&home, oak_says.serial);
    certs_files_put_list(&files, &home);
    double until = end_now_ms() + 1e3 * WAIT_MAX_S;
    while (rpc_tls_edition(anna.rpc) < 2) {
        assert_true(end_now_ms() < until);
        (void)poll(NULL, 0, 5);
    }
    assert_int_equal(pthread_create(&thread, NULL, carry, &between), 0);
    end_wait(&anna, &anna.closed, 1);
    end_see(&anna);
    says(anna.reason, "'oak' has been revoked");
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(between.listener);
    end_stop(&anna);
    end_stop(&server);
    certs_files_stop(&node);
    certs_files_stop(&files);
    certs_stop(&home);
    node = own;
    node.files = (struct kith_identity_files){node.cert, node.key, node.ca, node.crl, NULL};
}

/* A connection does not outlive the certificate of its peer. */
static void test_ends(void **state)
{
    (void)state;
    struct certs_files files;
    struct certs_own own;
    struct end server, anna;
    char address[32];
    certs_files_start(&files);
    /* it was issued a day ago for a day and three seconds */
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 1, (int64_t)time(NULL) - DAY_S + 3, &own);
    certs_files_put(&files, &ca, &own);
    serve(&server, address);
    start_client(&anna, &files.files, KITH_ROLE_CLIENT);
    (void)let_in(&anna, &server, address);
    end_wait(&anna, &anna.closed, 1);
    end_see(&anna);
    says(anna.reason, "'anna' expired at");
    assert_true((int64_t)time(NULL) > own.says.not_after_s);
    kept_out(&anna, &server, address, ""); /* OpenSSL's word, in the handshake */
    certs_own_release(&own);
    end_stop(&anna);
    end_stop(&server);
    certs_files_stop(&files);
}

/* New certificates on both sides, one file after the other: what is open goes on, what is new has
 * them. */
static void test_renewed(void **state)
{
    (void)state;
    struct end server, anna;
    struct kith_cert before, after, oak_before;
    char address[32];
    put_new(&ca, &client, KITH_CERT_CLIENT, "anna", &before);
    put_new(&ca, &node, KITH_CERT_NODE, "oak", &oak_before);
    serve(&server, address);
    start_client(&anna, &client.files, KITH_ROLE_CLIENT);
    uint64_t old = let_in(&anna, &server, address);
    end_see(&server);
    assert_string_equal(server.who.serial, before.serial);
    put_new(&ca, &client, KITH_CERT_CLIENT, "anna", &after);
    put_new(&ca, &node, KITH_CERT_NODE, "oak", NULL);
    double until = end_now_ms() + 1e3 * WAIT_MAX_S;
    uint64_t sent = 1;
    for (bool taken = false; !taken;) {
        assert_true(end_now_ms() < until);
        (void)let_in(&anna, &server, address); /* stays open: it would share the old connection */
        end_see(&server);
        taken = strcmp(server.who.serial, after.serial) == 0;
        sent++;
        const struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
    }
    struct kith_msg msg = end_ping(sent);
    assert_int_equal(kith_rpc_send(anna.rpc, old, &msg), KITH_OK);
    end_wait(&anna, &anna.messages, (uint32_t)sent + 1);
    end_see(&anna);
    assert_int_equal(anna.closed, 0);
    /* the server shows its new one, too: the old one is not taken any more */
    certs_revoke(&ca, oak_before.serial);
    certs_files_put_list(&client, &ca);
    end_wait(&anna, &anna.closed, 1);
    end_see(&anna);
    says(anna.reason, "'oak' has been revoked");
    (void)let_in(&anna, &server, address);
    end_stop(&anna);
    end_stop(&server);
}

/* ---- Strangers ---- */

/* What a TLS client of gRPC gets from the server for one call: the status, and details. */
static grpc_status_code call_method(const char *method, const char *address,
                                    const struct kith_buf *authority, const struct certs_own *own,
                                    char details[256])
{
    grpc_init();
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    char *texts[3] = {NULL, NULL, NULL};
    const struct kith_buf *pems[3] = {authority, own ? &own->key : NULL, own ? &own->cert : NULL};
    for (size_t i = 0; i < 3; i++) {
        texts[i] = pems[i] ? strndup((const char *)pems[i]->data, pems[i]->size) : NULL;
    }
    grpc_ssl_pem_key_cert_pair pair = {texts[1], texts[2]};
    grpc_channel_credentials *credentials =
        authority ? grpc_ssl_credentials_create_ex(texts[0], own ? &pair : NULL, NULL, NULL)
                  : grpc_insecure_credentials_create();
    grpc_arg name = {.type = GRPC_ARG_STRING,
                     .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG};
    name.value.string = (char *)(uintptr_t)KITH_CERT_DNS;
    grpc_channel_args args = {1, &name};
    grpc_channel *channel = grpc_channel_create(address, credentials, &args);
    grpc_call *call = grpc_channel_create_call(
        channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, grpc_slice_from_static_string(method), NULL,
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(WAIT_MAX_S, GPR_TIMESPAN)),
        NULL);
    grpc_metadata_array metadata, trailing;
    grpc_metadata_array_init(&metadata);
    grpc_metadata_array_init(&trailing);
    grpc_slice none = grpc_empty_slice(), text = grpc_empty_slice();
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&none, 1), *response = NULL;
    grpc_status_code status = GRPC_STATUS_UNKNOWN;
    grpc_op ops[6];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &metadata;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &response;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[5].data.recv_status_on_client.status = &status;
    ops[5].data.recv_status_on_client.status_details = &text;
    assert_int_equal(grpc_call_start_batch(call, ops, 6, ops, NULL), GRPC_CALL_OK);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    (void)snprintf(details, 256, "%.*s", (int)GRPC_SLICE_LENGTH(text),
                   (const char *)GRPC_SLICE_START_PTR(text));
    if (response) {
        grpc_byte_buffer_destroy(response);
    }
    grpc_byte_buffer_destroy(request);
    grpc_slice_unref(text);
    grpc_metadata_array_destroy(&metadata);
    grpc_metadata_array_destroy(&trailing);
    grpc_call_unref(call);
    grpc_channel_destroy(channel);
    grpc_channel_credentials_release(credentials);
    grpc_completion_queue_shutdown(queue);
    while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
           GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(queue);
    grpc_shutdown();
    for (size_t i = 0; i < 3; i++) {
        free(texts[i]);
    }
    return status;
}

static grpc_status_code call_as(const char *address, const struct kith_buf *authority,
                                const struct certs_own *own, char details[256])
{
    return call_method("/kith.v1.Kv/Get", address, authority, own, details);
}

struct caller {
    char address[32], details[256];
    const struct kith_buf *authority;
    const struct certs_own *own;
    grpc_status_code status;
};

static void *hold_call(void *arg)
{
    struct caller *caller = arg;
    caller->status = call_method("/kith.v1.Test/Hold", caller->address, caller->authority,
                                 caller->own, caller->details);
    return NULL;
}

/* A call that is under way ends when its caller is revoked, and another's goes on. */
static void test_call_revoked(void **state)
{
    (void)state;
    struct certs_own bad, good;
    struct end server;
    struct kith_rpc_call *calls[2];
    struct caller callers[2] = {{.authority = &ca.cert, .own = &good},
                                {.authority = &ca.cert, .own = &bad}};
    pthread_t threads[2];
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &bad);
    certs_issue(&ca, KITH_CERT_CLIENT, "ben", 10, 0, &good);
    serve(&server, callers[0].address);
    memcpy(callers[1].address, callers[0].address, sizeof callers[1].address);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hold_call, &callers[i]), 0);
        end_wait(&server, &server.calls, i + 1);
        calls[i] = server.held;
    }
    certs_revoke(&ca, bad.says.serial);
    certs_files_put_list(&node, &ca);
    certs_files_put_list(&client, &ca);
    assert_int_equal(pthread_join(threads[1], NULL), 0);
    assert_int_equal(callers[1].status, GRPC_STATUS_UNAUTHENTICATED);
    says(callers[1].details, "'anna' has been revoked");
    kith_rpc_finish(calls[0], kith_bytes_make(NULL, 0), NULL);
    kith_rpc_finish(calls[1], kith_bytes_make(NULL, 0), NULL);
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    assert_int_equal(callers[0].status, GRPC_STATUS_OK);
    end_stop(&server);
    certs_own_release(&bad);
    certs_own_release(&good);
}

static void test_strangers(void **state)
{
    (void)state;
    struct certs other;
    struct certs_own good, foreign, ended, early, revoked;
    struct end server;
    char address[32], details[256];
    int64_t now = (int64_t)time(NULL);
    certs_start(&other, "home");
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &good);
    certs_issue(&other, KITH_CERT_CLIENT, "anna", 10, 0, &foreign);
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 1, now - DAY_S - 5, &ended);
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 1, now + 2 * KITH_CERT_BACKDATE_S, &early);
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &revoked);
    certs_revoke(&ca, revoked.says.serial);
    certs_files_put_list(&node, &ca);
    certs_files_put_list(&client, &ca);
    serve(&server, address);
    assert_int_equal(call_as(address, &ca.cert, &good, details), GRPC_STATUS_OK);
    end_see(&server);
    assert_int_equal(server.calls, 1);
    assert_int_equal(call_as(address, &ca.cert, &good, details), GRPC_STATUS_OK);
    assert_int_equal(call_as(address, &ca.cert, &revoked, details), GRPC_STATUS_UNAUTHENTICATED);
    says(details, "'anna' has been revoked");
    assert_int_equal(call_as(address, &ca.cert, &foreign, details), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(call_as(address, &ca.cert, &ended, details), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(call_as(address, &ca.cert, &early, details), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(call_as(address, &ca.cert, NULL, details), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(call_as(address, NULL, NULL, details), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(call_as(address, &other.cert, &good, details), GRPC_STATUS_UNAVAILABLE);
    end_see(&server);
    assert_int_equal(server.calls, 2);
    assert_int_equal(server.accepted, 0);
    end_stop(&server);
    certs_own_release(&good);
    certs_own_release(&foreign);
    certs_own_release(&ended);
    certs_own_release(&early);
    certs_own_release(&revoked);
    certs_stop(&other);
}

/* Not one byte of HTTP/2 is answered to who speaks it in plain text; and garbage ends. */
static void test_plain_bytes(void **state)
{
    (void)state;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    struct end server;
    char address[32];
    serve(&server, address);
    for (uint32_t i = 0; i < 3; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        if (i < 2) {
            assert_true(send(fd, i == 0 ? preface : "GET / HTTP/1.1\r\n\r\n",
                             i == 0 ? sizeof preface : 18, MSG_NOSIGNAL) > 0);
        } else {
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
        }
        uint8_t bytes[256];
        ssize_t got, all = 0;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        do {
            assert_int_equal(poll(&wait, 1, WAIT_MAX_S * 1000), 1);
            got = recv(fd, bytes, sizeof bytes, 0);
            if (got > 0 && all == 0) {
                assert_int_equal(bytes[0], 21); /* a TLS alert */
            }
            all += got > 0 ? got : 0;
        } while (got > 0);
        assert_true(all <= 7); /* and nothing but that one */
        close(fd);
    }
    end_see(&server);
    assert_int_equal(server.accepted + server.calls, 0);
    end_stop(&server);
}

/* Who is signed by the cluster's authority, but is no node, can pass for none. */
static void test_no_node(void **state)
{
    (void)state;
    static const enum kith_cert_role roles[] = {KITH_CERT_CLIENT, KITH_CERT_ADMIN};
    for (size_t i = 0; i < 2; i++) {
        struct certs_own own;
        struct end anna;
        char address[32], key[1024], cert[4096], root[4096];
        certs_issue(&ca, roles[i], "mallory", 10, 0, &own);
        (void)snprintf(key, sizeof key, "%.*s", (int)own.key.size, (const char *)own.key.data);
        (void)snprintf(cert, sizeof cert, "%.*s", (int)own.cert.size, (const char *)own.cert.data);
        (void)snprintf(root, sizeof root, "%.*s", (int)ca.cert.size, (const char *)ca.cert.data);
        grpc_init();
        grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
        grpc_server *server = grpc_server_create(NULL, NULL);
        grpc_server_register_completion_queue(server, queue, NULL);
        grpc_ssl_pem_key_cert_pair pair = {key, cert};
        grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_ex(
            root, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
        int port = grpc_server_add_http2_port(server, "127.0.0.1:0", credentials);
        assert_true(port > 0);
        grpc_server_start(server);
        end_address(address, sizeof address, (uint16_t)port);
        start_client(&anna, &client.files, KITH_ROLE_CLIENT);
        (void)dial(&anna, address, KITH_RPC_ROWS);
        end_wait(&anna, &anna.closed, 1);
        assert_int_equal(anna.opened, 0);
        says(anna.reason, "certificate");
        end_stop(&anna);
        grpc_server_shutdown_and_notify(server, queue, NULL);
        (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        grpc_server_destroy(server);
        grpc_server_credentials_release(credentials);
        grpc_completion_queue_shutdown(queue);
        while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
               GRPC_QUEUE_SHUTDOWN) {
        }
        grpc_completion_queue_destroy(queue);
        grpc_shutdown();
        certs_own_release(&own);
    }
}

static void test_bad_options(void **state)
{
    (void)state;
    struct kith_rpc_handlers handlers = {0};
    struct kith_rpc_options options = {.tls = &client.files};
    struct kith_rpc *rpc = NULL;
    struct kith_error error;
    uint16_t port;
    assert_int_equal(chmod(client.key, 0644), 0);
    assert_int_equal(kith_rpc_new(&options, &handlers, &rpc, &error), KITH_EPERM);
    says(error.message, "chmod 600");
    assert_null(rpc);
    assert_int_equal(chmod(client.key, 0600), 0);
    assert_int_equal(kith_rpc_new(&options, &handlers, &rpc, &error), KITH_OK);
    assert_int_equal(kith_rpc_listen(rpc, "127.0.0.1:0", &port, &error), KITH_EPERM);
    says(error.message, "kithctl cert node");
    kith_rpc_free(rpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_let_in),       cmocka_unit_test(test_confined),
        cmocka_unit_test(test_without),      cmocka_unit_test(test_other_authority),
        cmocka_unit_test(test_no_peer),      cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_node_revoked), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_call_revoked), cmocka_unit_test(test_revoked_between),
        cmocka_unit_test(test_renewed),      cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_plain_bytes),  cmocka_unit_test(test_no_node),
        cmocka_unit_test(test_bad_options),
    };
    int failed = cmocka_run_group_tests_name("with queue threads", tests, start, stop);
    ends_driven = true;
    ends_near = true;
    return failed + cmocka_run_group_tests_name("driven, by a local socket", tests, start, stop);
}
