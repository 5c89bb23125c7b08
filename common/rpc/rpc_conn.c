/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One stream. Every batch under way counts as pending; the one that waits for the end of
 * the call completes last of all or lets nothing new begin, so `closed` is given when pending
 * reaches 0, once, after everything else. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "rpc/rpc_impl.h"

static void on_open(void *owner, bool ok);
static void on_recv(void *owner, bool ok);
static void on_status(void *owner, bool ok);
static void on_end(void *owner, bool ok);

void rpc_conn_hold(struct rpc_conn *conn)
{
    __atomic_add_fetch(&conn->refs, 1, __ATOMIC_RELAXED);
}

void rpc_conn_drop(struct rpc_conn *conn)
{
    if (__atomic_sub_fetch(&conn->refs, 1, __ATOMIC_ACQ_REL) != 0) {
        return;
    }
    grpc_metadata_array_destroy(&conn->initial);
    grpc_metadata_array_destroy(&conn->trailing);
    grpc_slice_unref(conn->details);
    grpc_call_unref(conn->call);
    rpc_who_drop(conn->who);
    rpc_conn_drop_queue(conn);
    pthread_mutex_destroy(&conn->lock);
    kith_free(conn);
}

struct rpc_conn *rpc_conn_new(struct kith_rpc *rpc, enum kith_rpc_class cls, grpc_call *call,
                              struct rpc_channel *channel, const char *peer, struct rpc_who *who)
{
    struct rpc_conn *conn = kith_calloc(1, sizeof *conn);
    if (!conn) {
        rpc_who_drop(who);
        grpc_call_unref(call);
        return NULL;
    }
    conn->rpc = rpc;
    conn->cls = cls;
    conn->refs = 1; /* the table's, until `closed` has been given */
    conn->pending = 1; /* whoever made it, until all that belongs to the start is under way */
    conn->call = call;
    conn->channel = channel;
    conn->who = who;
    conn->is_server = channel == NULL;
    (void)snprintf(conn->peer, sizeof conn->peer, "%s", peer);
    pthread_mutex_init(&conn->lock, NULL);
    conn->open_tag = rpc_tag_make(on_open, conn);
    conn->send_tag = rpc_tag_make(rpc_conn_sent, conn);
    conn->recv_tag = rpc_tag_make(on_recv, conn);
    conn->status_tag = rpc_tag_make(on_status, conn);
    conn->end_tag = rpc_tag_make(on_end, conn);
    grpc_metadata_array_init(&conn->initial);
    grpc_metadata_array_init(&conn->trailing);
    conn->details = grpc_empty_slice();
    rpc_live_add(rpc);
    pthread_mutex_lock(&rpc->lock);
    conn->id = ++rpc->next_id;
    struct rpc_conn **bucket = &rpc->buckets[conn->id % RPC_BUCKETS];
    conn->next = *bucket;
    *bucket = conn;
    pthread_mutex_unlock(&rpc->lock);
    return conn;
}

static void begin(struct rpc_conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    conn->pending++;
    pthread_mutex_unlock(&conn->lock);
}

static grpc_metadata protocol_metadata(void)
{
    grpc_metadata metadata;
    memset(&metadata, 0, sizeof metadata);
    metadata.key = grpc_slice_from_static_string(RPC_METADATA_KEY);
    metadata.value = grpc_slice_from_static_string("1");
    return metadata;
}

void rpc_read_start(struct rpc_conn *conn)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &conn->received;
    rpc_start(conn->call, &op, 1, &conn->recv_tag);
}

void rpc_conn_serve(struct rpc_conn *conn)
{
    grpc_metadata metadata = protocol_metadata();
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &conn->canceled;
    begin(conn);
    rpc_start(conn->call, &op, 1, &conn->status_tag);
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_SEND_INITIAL_METADATA;
    op.data.send_initial_metadata.count = 1;
    op.data.send_initial_metadata.metadata = &metadata;
    begin(conn);
    rpc_start(conn->call, &op, 1, &conn->open_tag);
    if (conn->rpc->handlers.accepted) {
        conn->rpc->handlers.accepted(conn->rpc->handlers.arg, conn->id, conn->cls, conn->peer,
                                     conn->who ? &conn->who->cert : NULL);
    }
    begin(conn);
    rpc_read_start(conn);
    rpc_conn_done(conn);
}

/* ---- Connecting ---- */

static const char *method_of(const struct kith_rpc *rpc, enum kith_rpc_class cls)
{
    if (rpc->options.role == KITH_ROLE_NODE) {
        return cls == KITH_RPC_BULK ? "/kith.v1.PeerStream/Bulk" : "/kith.v1.PeerStream/Rows";
    }
    return cls == KITH_RPC_BULK ? "/kith.v1.ClientStream/Bulk" : "/kith.v1.ClientStream/Rows";
}

static void start_client(struct rpc_conn *conn)
{
    rpc_timer_set(conn, conn->rpc->options.connect_timeout_ms);
    begin(conn);
    begin(conn);
    grpc_metadata metadata = protocol_metadata();
    grpc_op ops[2];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[0].data.recv_status_on_client.trailing_metadata = &conn->trailing;
    ops[0].data.recv_status_on_client.status = &conn->status;
    ops[0].data.recv_status_on_client.status_details = &conn->details;
    rpc_start(conn->call, ops, 1, &conn->status_tag);
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = 1;
    ops[0].data.send_initial_metadata.metadata = &metadata;
    ops[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &conn->initial;
    rpc_start(conn->call, ops, 2, &conn->open_tag);
}

enum kith_err kith_rpc_connect(struct kith_rpc *rpc, const char *address, enum kith_rpc_class cls,
                               uint64_t *ret_conn, struct kith_error *error)
{
    struct rpc_channel *channel;
    enum kith_err err = rpc_channel_get(rpc, address, &channel, error);
    if (err != KITH_OK) {
        return err;
    }
    grpc_slice method = grpc_slice_from_static_string(method_of(rpc, cls));
    grpc_call *call =
        grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, rpc->queue,
                                 method, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    struct rpc_conn *conn = rpc_conn_new(rpc, cls, call, channel, address, NULL);
    if (!conn) {
        rpc_channel_drop(rpc, channel, false);
        return kith_error_set(error, KITH_ENOMEM, "no memory for a connection to %s", address);
    }
    *ret_conn = conn->id;
    start_client(conn);
    pthread_mutex_lock(&rpc->lock);
    bool stopping = rpc->stopping;
    pthread_mutex_unlock(&rpc->lock);
    if (stopping) {
        rpc_conn_cancel(conn, GRPC_STATUS_CANCELLED, "shut down");
    }
    /* an empty batch completes on a queue thread: were ours the last to end, `closed` would run
     * here, inside a call of the user's */
    rpc_start(conn->call, NULL, 0, &conn->end_tag);
    return KITH_OK;
}

static bool has_protocol(const grpc_metadata_array *array)
{
    for (size_t i = 0; i < array->count; i++) {
        if (grpc_slice_str_cmp(array->metadata[i].key, RPC_METADATA_KEY) == 0) {
            return true;
        }
    }
    return false;
}

/* The client's opening, or the server's first bytes on their way. */
static void on_open(void *owner, bool ok)
{
    struct rpc_conn *conn = owner;
    if (!conn->is_server) {
        pthread_mutex_lock(&conn->lock);
        conn->opened = ok && !conn->over && has_protocol(&conn->initial);
        bool opened = conn->opened;
        pthread_mutex_unlock(&conn->lock);
        if (opened) {
            rpc_timer_set(conn, 0);
            if (conn->rpc->handlers.opened) {
                conn->rpc->handlers.opened(conn->rpc->handlers.arg, conn->id);
            }
            begin(conn);
            rpc_read_start(conn);
        } else {
            /* where the call has failed already, this changes nothing and its own reason stands */
            grpc_call_cancel_with_status(conn->call, GRPC_STATUS_UNIMPLEMENTED,
                                         "the other side is no kithfs node", NULL);
        }
    }
    rpc_conn_done(conn);
}

void rpc_conn_late(struct rpc_conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    bool closing = conn->closing;
    bool late = !conn->over && (closing || !conn->opened);
    pthread_mutex_unlock(&conn->lock);
    if (late) {
        rpc_conn_cancel(conn, GRPC_STATUS_DEADLINE_EXCEEDED,
                        closing ? "timed out at the end" : "timed out");
    }
}

/* ---- Reading ---- */

static void on_recv(void *owner, bool ok)
{
    struct rpc_conn *conn = owner;
    grpc_byte_buffer *bytes = conn->received;
    conn->received = NULL;
    if (!ok || !bytes) {
        if (conn->is_server) {
            rpc_conn_close(conn, "closed by the peer");
        }
        rpc_conn_done(conn);
        return;
    }
    pthread_mutex_lock(&conn->lock);
    bool closing = conn->closing;
    pthread_mutex_unlock(&conn->lock);
    struct kith_error error;
    if (!closing && rpc_conn_deliver(conn, bytes, &error) != KITH_OK) {
        kith_log_warn("rpc", "connection with %s closed: %s", conn->peer, error.message);
        rpc_conn_close(conn, error.message);
    }
    grpc_byte_buffer_destroy(bytes);
    pthread_mutex_lock(&conn->lock);
    bool over = conn->over;
    conn->pending += over ? 0 : 1;
    pthread_mutex_unlock(&conn->lock);
    if (!over) {
        rpc_read_on(conn);
    }
    rpc_conn_done(conn);
}

/* ---- The end ---- */

void rpc_conn_set_reason(struct rpc_conn *conn, const char *reason)
{
    if (conn->reason[0] == '\0') {
        (void)snprintf(conn->reason, sizeof conn->reason, "%s", reason);
    }
}

void rpc_conn_cancel(struct rpc_conn *conn, grpc_status_code code, const char *reason)
{
    pthread_mutex_lock(&conn->lock);
    rpc_conn_set_reason(conn, reason);
    conn->closing = true;
    pthread_mutex_unlock(&conn->lock);
    grpc_call_cancel_with_status(conn->call, code, reason, NULL);
}

void rpc_conn_close(struct rpc_conn *conn, const char *reason)
{
    pthread_mutex_lock(&conn->lock);
    if (conn->closing || conn->over) {
        pthread_mutex_unlock(&conn->lock);
        return;
    }
    rpc_conn_set_reason(conn, reason);
    conn->closing = true;
    bool cancel = !conn->is_server && !conn->opened;
    bool end = !cancel && !conn->sending && !conn->head;
    conn->ending = end;
    conn->pending += end ? 1 : 0;
    pthread_mutex_unlock(&conn->lock);
    rpc_timer_set(conn, KITH_RPC_DRAIN_MS);
    if (cancel) {
        grpc_call_cancel_with_status(conn->call, GRPC_STATUS_CANCELLED, reason, NULL);
    } else if (end) {
        rpc_conn_end(conn);
    }
}

void kith_rpc_close(struct kith_rpc *rpc, uint64_t id, const char *reason)
{
    struct rpc_conn *conn = rpc_find(rpc, id);
    if (conn) {
        rpc_conn_close(conn, reason);
        rpc_conn_drop(conn);
    }
}

void rpc_conn_end(struct rpc_conn *conn)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    if (!conn->is_server) {
        op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        rpc_start(conn->call, &op, 1, &conn->end_tag);
        return;
    }
    grpc_slice details = grpc_slice_from_copied_string(conn->reason);
    op.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op.data.send_status_from_server.status = GRPC_STATUS_ABORTED;
    op.data.send_status_from_server.status_details = &details;
    rpc_start(conn->call, &op, 1, &conn->end_tag);
    grpc_slice_unref(details);
}

static void on_end(void *owner, bool ok)
{
    (void)ok;
    rpc_conn_done(owner);
}

/* gRPC's words for what happens often are long; ours are for a person's eyes. */
static const char *plain_reason(const struct rpc_conn *conn, const char *details)
{
    static const struct {
        const char *sign, *reason;
    } plain[] = {
        {"Connection refused", "connection refused"},
        {"No route to host", "no route to host"},
        {"Network is unreachable", "network is unreachable"},
        {"Connection reset", "connection reset"},
        {"Broken pipe", "connection reset"},
        {"Socket closed", "connection lost"},
        {"keepalive watchdog", "the peer is silent"},
        {"ping timeout", "the peer is silent"},
        {"timed out", "timed out"}, /* gRPC's own limit of a connection attempt, just before ours */
        {"Timeout occurred", "timed out"},
        {"DNS resolution failed", "unknown host"},
        {"larger than max", "a message is above the limit"},
    };
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strstr(details, plain[i].sign)) {
            return plain[i].reason;
        }
    }
    const char *tls = conn->rpc->tls ? rpc_tls_reason(details) : NULL;
    if (tls || details[0] != '\0') {
        return tls ? tls : details;
    }
    return conn->opened ? "closed by the peer" : "not answered";
}

/* The call is over: on the client with a status. */
static void on_status(void *owner, bool ok)
{
    struct rpc_conn *conn = owner;
    (void)ok;
    char details[RPC_REASON_SIZE] = "";
    if (!conn->is_server) {
        size_t size = GRPC_SLICE_LENGTH(conn->details);
        size = size < sizeof details ? size : sizeof details - 1;
        memcpy(details, GRPC_SLICE_START_PTR(conn->details), size);
        if (conn->channel->verify && !conn->opened &&
            rpc_verify_refused(conn->channel->verify, details)) {
            rpc_tls_log("%s was refused as a node: %s", conn->peer, details);
        }
    }
    pthread_mutex_lock(&conn->lock);
    rpc_conn_set_reason(conn, conn->is_server ? "connection lost, or canceled by the peer"
                                              : plain_reason(conn, details));
    conn->over = true;
    rpc_conn_drop_queue(conn);
    pthread_mutex_unlock(&conn->lock);
    rpc_read_resume(conn); /* every read must come to its end */
    if (conn->is_server) {
        /* frees what gRPC still holds for a stream that was broken off */
        grpc_call_cancel(conn->call, NULL);
    }
    rpc_conn_done(conn);
}

static void unlist(struct rpc_conn *conn)
{
    struct kith_rpc *rpc = conn->rpc;
    pthread_mutex_lock(&rpc->lock);
    struct rpc_conn **at = &rpc->buckets[conn->id % RPC_BUCKETS];
    while (*at != conn) {
        at = &(*at)->next;
    }
    *at = conn->next;
    pthread_mutex_unlock(&rpc->lock);
}

void rpc_conn_done(struct rpc_conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    KITH_ASSERT(conn->pending > 0);
    bool last = --conn->pending == 0;
    pthread_mutex_unlock(&conn->lock);
    if (!last) {
        return;
    }
    struct kith_rpc *rpc = conn->rpc;
    unlist(conn);
    kith_log_debug("rpc", "connection %llu with %s closed: %s", (unsigned long long)conn->id,
                   conn->peer, conn->reason);
    if (rpc->options.driven) {
        rpc->told = true;
    }
    if (conn->channel) { /* first: who hears of the end and connects again must not get it */
        rpc_channel_drop(rpc, conn->channel, !conn->opened || conn->status != GRPC_STATUS_OK);
        conn->channel = NULL;
    }
    if (rpc->handlers.closed) {
        rpc->handlers.closed(rpc->handlers.arg, conn->id, conn->reason);
    }
    rpc_conn_drop(conn);
    rpc_live_drop(rpc);
}
