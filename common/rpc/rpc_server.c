/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "rpc/rpc_impl.h"

/* One request to gRPC for the next incoming call. */
struct accept {
    struct rpc_tag tag;
    struct kith_rpc *rpc;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

static void request_call(struct accept *accept)
{
    rpc_hand_over(&accept->tag);
    grpc_call_error err = grpc_server_request_call(
        accept->rpc->server, &accept->call, &accept->details, &accept->metadata, accept->rpc->queue,
        accept->rpc->queue, &accept->tag);
    if (err != GRPC_CALL_OK) {
        kith_log_error("rpc", "cannot take further calls: gRPC error %d", (int)err);
        grpc_call_details_destroy(&accept->details);
        grpc_metadata_array_destroy(&accept->metadata);
        rpc_live_drop(accept->rpc);
        kith_free(accept);
    }
}

/* The stream class of a method, and whether it is for nodes; false: it is a call. */
static bool is_stream(grpc_slice method, enum kith_rpc_class *ret_class, bool *ret_peers)
{
    static const struct {
        const char *method;
        enum kith_rpc_class cls;
        bool peers;
    } streams[] = {
        {"/kith.v1.ClientStream/Rows", KITH_RPC_ROWS, false},
        {"/kith.v1.ClientStream/Bulk", KITH_RPC_BULK, false},
        {"/kith.v1.PeerStream/Rows", KITH_RPC_ROWS, true},
        {"/kith.v1.PeerStream/Bulk", KITH_RPC_BULK, true},
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        if (grpc_slice_str_cmp(method, streams[i].method) == 0) {
            *ret_class = streams[i].cls;
            *ret_peers = streams[i].peers;
            return true;
        }
    }
    return false;
}

/* Nobody hears of the call. */
static void refuse(grpc_call *call, const struct kith_error *error)
{
    char *from = grpc_call_get_peer(call);
    rpc_tls_log("a call from %s was refused: %s", from, error->message);
    gpr_free(from);
    grpc_call_cancel_with_status(call, GRPC_STATUS_UNAUTHENTICATED, error->message, NULL);
    grpc_call_unref(call);
}

static void serve(struct kith_rpc *rpc, grpc_call *call, grpc_slice method, gpr_timespec deadline)
{
    enum kith_rpc_class cls;
    bool peers = false;
    bool stream = is_stream(method, &cls, &peers);
    struct kith_error error;
    struct rpc_who *who = rpc->tls ? rpc_tls_caller(rpc, call, &error) : NULL;
    if (who && peers && who->cert.grant.role != KITH_CERT_NODE) {
        (void)kith_error_set(&error, KITH_EPERM, "the certificate of '%s' is no node's",
                             who->cert.grant.name);
        rpc_who_drop(who);
        who = NULL;
    }
    if (rpc->tls && !who) {
        refuse(call, &error);
        return;
    }
    rpc_door_known(rpc, call);
    if (!stream) {
        rpc_call_serve(rpc, call, method, deadline, who);
        return;
    }
    char *from = grpc_call_get_peer(call);
    const char *peer = strncmp(from, "unix", 4) == 0 ? "a process of this machine" : from;
    struct rpc_conn *conn = rpc_conn_new(rpc, cls, call, NULL, peer, who);
    if (conn) {
        rpc_conn_serve(conn);
    } else {
        kith_log_error("rpc", "no memory for a connection from %s", peer);
    }
    gpr_free(from);
}

static void on_accept(void *owner, bool ok)
{
    struct accept *accept = owner;
    struct kith_rpc *rpc = accept->rpc;
    if (!ok) { /* the server is being shut down */
        grpc_call_details_destroy(&accept->details);
        grpc_metadata_array_destroy(&accept->metadata);
        kith_free(accept);
        rpc_live_drop(rpc);
        return;
    }
    grpc_call *call = accept->call;
    grpc_slice method = grpc_slice_ref(accept->details.method);
    gpr_timespec deadline = accept->details.deadline;
    grpc_call_details_destroy(&accept->details);
    grpc_metadata_array_destroy(&accept->metadata);
    grpc_call_details_init(&accept->details);
    grpc_metadata_array_init(&accept->metadata);
    request_call(accept);
    serve(rpc, call, method, deadline);
    grpc_slice_unref(method);
}

/* Why gRPC could not listen: it only says that it could not, so the same is tried by hand. */
static enum kith_err explain(const char *address, struct kith_error *error)
{
    char host[KITH_ADDRESS_SIZE];
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t)(colon - address) : 0;
    if (!colon || size == 0 || size >= sizeof host) {
        return kith_error_set(error, KITH_EINVAL, "'%.200s' is no address: host:port is wanted",
                              address);
    }
    bool bracketed = address[0] == '[' && address[size - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(bracketed ? size - 2 : size),
                   address + (bracketed ? 1 : 0));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    int failed = getaddrinfo(host, colon + 1, &hints, &list);
    if (failed != 0) {
        return kith_error_set(error, KITH_EINVAL, "cannot listen on %s: %s", address,
                              gai_strerror(failed));
    }
    int reason = 0;
    for (struct addrinfo *at = list; at && reason == 0; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;
        if (fd < 0) {
            reason = errno;
            continue;
        }
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
            bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, 1) != 0) {
            reason = errno;
        }
        close(fd);
    }
    freeaddrinfo(list);
    if (reason == EADDRINUSE) {
        return kith_error_set(error, KITH_EBUSY, "cannot listen on %s: the port is in use",
                              address);
    }
    return kith_error_set(error, KITH_EINVAL, "cannot listen on %s: %s", address,
                          reason ? strerror(reason) : "the address was refused");
}

/* The address that options.near stands for. */
static void near_address(const char *near, int port, char *address, size_t size)
{
    const char *colon = strrchr(near, ':');
    if (colon && strcmp(colon, ":0") == 0) {
        (void)snprintf(address, size, "%.*s:%d", (int)(colon - near), near, port);
    } else {
        (void)snprintf(address, size, "%s", near);
    }
}

/* Beside the port, before the server is started. */
static enum kith_err listen_near(struct kith_rpc *rpc, grpc_server *server, int port,
                                 char address[KITH_ADDRESS_SIZE], struct kith_error *error)
{
    const struct kith_rpc_options *options = &rpc->options;
    char target[KITH_ADDRESS_SIZE + RPC_SCHEME_MAX];
    address[0] = '\0';
    if (!options->near) {
        return KITH_OK;
    }
    near_address(options->near, port, address, KITH_ADDRESS_SIZE);
    if (!rpc_near_target(address, target, sizeof target)) {
        return KITH_OK; /* too long a name: they come by TCP */
    }
    grpc_server_credentials *credentials = rpc_server_credentials(rpc);
    int added = grpc_server_add_http2_port(server, target, credentials);
    grpc_server_credentials_release(credentials);
    if (added <= 0) {
        return kith_error_set(error, KITH_EBUSY,
                              "cannot listen on the local socket @%s: another process has it",
                              strchr(target, ':') + 1);
    }
    return KITH_OK;
}

enum kith_err kith_rpc_listen(struct kith_rpc *rpc, const char *address, uint16_t *ret_port,
                              struct kith_error *error)
{
    pthread_mutex_lock(&rpc->lock);
    bool again = rpc->listening;
    rpc->listening = true;
    pthread_mutex_unlock(&rpc->lock);
    if (again) {
        return kith_error_set(error, KITH_EINVAL, "cannot listen on %s: it listens already",
                              address);
    }
    enum kith_err may = rpc->tls ? rpc_tls_may_listen(rpc, address, error) : KITH_OK;
    if (may != KITH_OK) {
        return may;
    }
    struct rpc_args args;
    rpc_server_args(&rpc->options, &args);
    grpc_server *server = grpc_server_create(&args.header, NULL);
    rpc_args_release(&args);
    grpc_server_register_completion_queue(server, rpc->queue, NULL);
    grpc_server_credentials *credentials = rpc_server_credentials(rpc);
    int port = grpc_server_add_http2_port(server, address, credentials);
    char near[KITH_ADDRESS_SIZE];
    enum kith_err err = port <= 0 ? KITH_OK : listen_near(rpc, server, port, near, error);
    grpc_server_credentials_release(credentials);
    pthread_mutex_lock(&rpc->lock);
    rpc->server = server; /* also where it failed: it must be shut down like any other */
    pthread_mutex_unlock(&rpc->lock);
    if (port <= 0 || err != KITH_OK) {
        return port <= 0 ? explain(address, error) : err;
    }
    if (rpc_door_open(rpc, (uint16_t)port, near[0] ? near : NULL) != KITH_OK) {
        return kith_error_set(error, KITH_ENOMEM, "no memory to listen on %s", address);
    }
    grpc_server_start(server);
    for (unsigned i = 0; i < RPC_ACCEPTS; i++) {
        struct accept *accept = kith_calloc(1, sizeof *accept);
        if (!accept) {
            return kith_error_set(error, KITH_ENOMEM, "no memory to listen on %s", address);
        }
        accept->tag = rpc_tag_make(on_accept, accept);
        accept->rpc = rpc;
        grpc_call_details_init(&accept->details);
        grpc_metadata_array_init(&accept->metadata);
        rpc_live_add(rpc);
        request_call(accept);
    }
    *ret_port = (uint16_t)port;
    return KITH_OK;
}

static void on_down(void *owner, bool ok)
{
    struct kith_rpc *rpc = owner;
    (void)ok;
    pthread_mutex_lock(&rpc->lock);
    rpc->server_down = true;
    pthread_cond_broadcast(&rpc->changed);
    pthread_mutex_unlock(&rpc->lock);
}

void rpc_server_stop(struct kith_rpc *rpc)
{
    if (!rpc->server) {
        return;
    }
    rpc->server_down_tag = rpc_tag_make(on_down, rpc);
    rpc_hand_over(&rpc->server_down_tag);
    grpc_server_shutdown_and_notify(rpc->server, rpc->queue, &rpc->server_down_tag);
    grpc_server_cancel_all_calls(rpc->server);
}
