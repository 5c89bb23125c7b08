/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The sending side of a stream. At most one gRPC message is under way; what is sent meanwhile is
 * appended to the queue, and leaves in one message when that one has completed. So a lone message
 * leaves at once on the caller's thread, and under load packing grows by itself. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "rpc/rpc_impl.h"

#define COPY_MAX_BYTES 2048u /* up to here copying is cheaper than handing the memory over */
#define SPARE_MAX_BYTES (16u << 10)
#define WAIT_MAX_BYTES (64u << 10) /* with so much waiting it leaves at once */
#define SHARE_BYTES     ((size_t)1 << 20) /* that each queue may hold, whatever all hold together */
#define SHED_MS         10u       /* between looks for who reads slowest: some 100 us with 4,096 */
#define CORKED_MAX 64u       /* connections that one thread holds back; more are sent at once */

/* ---- Corking: per thread ---- */

static _Thread_local unsigned cork_depth;
static _Thread_local unsigned corked_count;
static _Thread_local struct rpc_conn *corked[CORKED_MAX];

static void send_next(struct rpc_conn *conn);

/* Whether the connection's queue waits for this thread's uncork. */
static bool hold_back(struct rpc_conn *conn)
{
    if (cork_depth == 0) {
        return false;
    }
    for (unsigned i = corked_count; i > 0; i--) {
        if (corked[i - 1] == conn) {
            return true;
        }
    }
    if (corked_count == CORKED_MAX) {
        return false;
    }
    rpc_conn_hold(conn);
    corked[corked_count++] = conn;
    return true;
}

void rpc_cork_enter(void)
{
    cork_depth++;
}

void rpc_cork_leave(void)
{
    KITH_ASSERT(cork_depth > 0);
    if (--cork_depth > 0) {
        return;
    }
    for (unsigned i = 0; i < corked_count; i++) {
        send_next(corked[i]);
        rpc_conn_drop(corked[i]);
    }
    corked_count = 0;
}

void kith_rpc_cork(struct kith_rpc *rpc)
{
    (void)rpc; /* a thread belongs to one rpc object at a time */
    rpc_cork_enter();
}

void kith_rpc_uncork(struct kith_rpc *rpc)
{
    (void)rpc;
    rpc_cork_leave();
}

/* ---- The queue ---- */

static struct rpc_packet *packet_new(struct rpc_conn *conn)
{
    struct rpc_packet *packet = conn->spare;
    conn->spare = NULL;
    return packet ? packet : kith_calloc(1, sizeof *packet);
}

static void packet_free(struct rpc_packet *packet)
{
    kith_buf_release(&packet->buf);
    kith_blob_drop(packet->payload);
    kith_free(packet);
}

/* conn->lock held. Keeps the memory of one packet for the next. */
static void packet_retire(struct rpc_conn *conn, struct rpc_packet *packet)
{
    if (conn->spare || packet->buf.capacity > SPARE_MAX_BYTES) {
        packet_free(packet);
        return;
    }
    kith_buf_clear(&packet->buf);
    kith_blob_drop(packet->payload);
    packet->payload = NULL;
    packet->messages = 0;
    packet->next = NULL;
    conn->spare = packet;
}

/* ---- What all queues hold ---- */

static uint64_t over_share(size_t bytes)
{
    return bytes > SHARE_BYTES ? bytes - SHARE_BYTES : 0;
}

/* conn->lock held. Costs nothing for a queue that is not long. */
static void set_queued(struct rpc_conn *conn, size_t bytes)
{
    uint64_t before = over_share(conn->queued_bytes), after = over_share(bytes);
    conn->queued_bytes = bytes;
    if (before != after) {
        __atomic_add_fetch(&conn->rpc->excess, after - before, __ATOMIC_RELAXED); /* modulo 2^64 */
    }
}

/* Who reads slowest pays: each queue has a limit, but a few hundred that are just below it would be
 * all of the memory. Those that are told to end already count no more. */
static void shed(struct kith_rpc *rpc)
{
    uint64_t now_ms = kith_mono_ms(), last_ms = __atomic_load_n(&rpc->shed_ms, __ATOMIC_RELAXED);
    uint64_t all = 0;
    size_t most = 0;
    struct rpc_conn *largest = NULL;
    if (now_ms - last_ms < SHED_MS ||
        !__atomic_compare_exchange_n(&rpc->shed_ms, &last_ms, now_ms, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        return;
    }
    pthread_mutex_lock(&rpc->lock);
    for (size_t i = 0; i < RPC_BUCKETS; i++) {
        for (struct rpc_conn *conn = rpc->buckets[i]; conn; conn = conn->next) {
            pthread_mutex_lock(&conn->lock);
            size_t bytes = conn->closing || conn->over ? 0 : conn->queued_bytes;
            pthread_mutex_unlock(&conn->lock);
            all += over_share(bytes);
            if (bytes > most) {
                most = bytes;
                largest = conn;
            }
        }
    }
    if (all <= rpc->options.send_total_bytes) {
        largest = NULL;
    } else if (largest) {
        rpc_conn_hold(largest);
    }
    pthread_mutex_unlock(&rpc->lock);
    if (largest) {
        static struct kith_log_limit limit;
        kith_log_limited(&limit, KITH_LOG_WARN, "rpc",
                         "the connection with %s is ended: it has not read %zu MiB, and all "
                         "together more than %zu MiB",
                         largest->peer, most >> 20, rpc->options.send_total_bytes >> 20);
        rpc_conn_cancel(largest, GRPC_STATUS_RESOURCE_EXHAUSTED, "too much unread");
        rpc_conn_drop(largest);
    }
}

void rpc_conn_drop_queue(struct rpc_conn *conn)
{
    while (conn->head) {
        struct rpc_packet *packet = conn->head;
        conn->head = packet->next;
        packet_free(packet);
    }
    conn->tail = NULL;
    set_queued(conn, conn->sending_bytes);
    if (conn->spare) {
        packet_free(conn->spare);
        conn->spare = NULL;
    }
}

static void append(struct rpc_conn *conn, struct rpc_packet *packet)
{
    if (conn->tail) {
        conn->tail->next = packet;
    } else {
        conn->head = packet;
    }
    conn->tail = packet;
}

/* The limit counts what is queued before; so one message always fits an empty queue. */
static bool is_full(const struct rpc_conn *conn, size_t size)
{
    return conn->queued_bytes != 0 &&
           conn->queued_bytes + size > conn->rpc->options.send_limit_bytes;
}

/* Packs a frame into the last packet, or begins one. conn->lock held. */
static enum kith_err queue_frame(struct rpc_conn *conn, const struct kith_msg *msg)
{
    struct rpc_packet *packet = conn->tail;
    bool fresh = !packet || packet->buf.size >= RPC_PACK_MAX;
    if (fresh) {
        packet = packet_new(conn);
        if (!packet) {
            return KITH_ENOMEM;
        }
    }
    size_t before = packet->buf.size;
    enum kith_err err = kith_wire_try_append(msg, &packet->buf, NULL);
    size_t size = packet->buf.size - before;
    if (err == KITH_OK && size > KITH_MESSAGE_MAX) {
        err = KITH_ETOOBIG;
    } else if (err == KITH_OK && is_full(conn, size)) {
        err = KITH_ELIMIT;
    }
    if (err == KITH_OK && !fresh && packet->buf.size > RPC_PACK_MAX) {
        /* together they would be too large: the frame gets a packet of its own */
        struct rpc_packet *own = packet_new(conn);
        if (own) {
            kith_buf_put(&own->buf, packet->buf.data + before, size);
        }
        if (!own || own->buf.failed) {
            if (own) {
                packet_free(own);
            }
            err = KITH_ENOMEM;
        } else {
            packet->buf.size = before;
            packet = own;
            fresh = true;
        }
    }
    if (err != KITH_OK) {
        packet->buf.size = before;
        if (fresh) {
            packet_retire(conn, packet);
        }
        return err;
    }
    packet->messages++;
    set_queued(conn, conn->queued_bytes + size);
    if (fresh) {
        append(conn, packet);
    }
    return KITH_OK;
}

/* A bulk message is a packet of its own. conn->lock held. */
static enum kith_err queue_bulk(struct rpc_conn *conn, const struct kith_msg *msg)
{
    struct rpc_packet *packet = packet_new(conn);
    if (!packet) {
        return KITH_ENOMEM;
    }
    struct kith_blob *payload;
    kith_wire_bulk_prefix(msg, &packet->buf, &payload);
    size_t size = packet->buf.size + (payload ? payload->size : 0);
    enum kith_err err = packet->buf.failed          ? KITH_EINVAL
                        : size > KITH_MESSAGE_MAX   ? KITH_ETOOBIG
                        : is_full(conn, size)       ? KITH_ELIMIT
                                                    : KITH_OK;
    if (err != KITH_OK) {
        packet_retire(conn, packet);
        return err;
    }
    packet->payload = payload ? kith_blob_hold(payload) : NULL;
    packet->messages = 1;
    set_queued(conn, conn->queued_bytes + size);
    append(conn, packet);
    return KITH_OK;
}

static bool fits_class(enum kith_rpc_class cls, enum kith_msg_kind kind)
{
    if (cls == KITH_RPC_ROWS) {
        return !kith_wire_is_bulk(kind);
    }
    return kith_wire_is_bulk(kind) || kind == KITH_MSG_HELLO || kind == KITH_MSG_CHUNK_SYNC_REQ ||
           kind == KITH_MSG_CHUNK_SYNC_RES;
}

enum kith_err rpc_conn_send(struct rpc_conn *conn, const struct kith_msg *msg)
{
    if (!fits_class(conn->cls, msg->kind)) {
        return KITH_EINVAL;
    }
    pthread_mutex_lock(&conn->lock);
    enum kith_err err = conn->closing || conn->over    ? KITH_ECLOSED
                        : conn->cls == KITH_RPC_BULK   ? queue_bulk(conn, msg)
                                                       : queue_frame(conn, msg);
    bool idle = !conn->sending;
    bool waits = err == KITH_OK && idle && msg->may_wait && conn->queued_bytes < WAIT_MAX_BYTES;
    bool first = waits && conn->leave_ms == 0;
    uint64_t leave_ms = first ? rpc_late_ms() : 0;
    if (first) {
        conn->leave_ms = leave_ms;
    }
    if (err == KITH_OK) {
        rpc_read_sent(conn, msg->kind);
    }
    pthread_mutex_unlock(&conn->lock);
    if (first) {
        rpc_put_off(conn, leave_ms);
    } else if (err == KITH_OK && idle && !waits && !hold_back(conn)) {
        send_next(conn);
    }
    if (__atomic_load_n(&conn->rpc->excess, __ATOMIC_RELAXED) >
        conn->rpc->options.send_total_bytes) {
        shed(conn->rpc);
    }
    return err;
}

/* ---- To gRPC ---- */

static void drop_blob(void *blob)
{
    rpc_take_over(blob);
    kith_blob_drop(blob);
}

static void free_bytes(void *bytes)
{
    rpc_take_over(bytes);
    kith_free(bytes);
}

/* The packet as gRPC's bytes; large memory goes over without a copy. */
static grpc_byte_buffer *to_grpc(struct rpc_packet *packet)
{
    grpc_slice slices[2];
    size_t count = 1;
    if (packet->buf.size <= COPY_MAX_BYTES) {
        slices[0] = grpc_slice_from_copied_buffer((const char *)packet->buf.data, packet->buf.size);
    } else {
        rpc_hand_over(packet->buf.data);
        slices[0] = grpc_slice_new(packet->buf.data, packet->buf.size, free_bytes);
        kith_buf_init(&packet->buf);
    }
    if (packet->payload) {
        rpc_hand_over(packet->payload);
        slices[count++] = grpc_slice_new_with_user_data(
            packet->payload->data, packet->payload->size, drop_blob, packet->payload);
        packet->payload = NULL;
    }
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(slices, count);
    for (size_t i = 0; i < count; i++) {
        grpc_slice_unref(slices[i]);
    }
    return bytes;
}

/* Takes the next packet to send, counted as under way; NULL: nothing to send now. *ret_end: what
 * remains is the end. */
static struct rpc_packet *take_packet(struct rpc_conn *conn, bool *ret_end)
{
    pthread_mutex_lock(&conn->lock);
    conn->leave_ms = 0;
    struct rpc_packet *packet = conn->head;
    bool idle = !conn->sending && !conn->over && !conn->ending;
    *ret_end = idle && !packet && conn->closing;
    if (!idle || (!packet && !conn->closing)) {
        pthread_mutex_unlock(&conn->lock);
        return NULL;
    }
    conn->pending++;
    if (!packet) {
        conn->ending = true;
        pthread_mutex_unlock(&conn->lock);
        return NULL;
    }
    conn->head = packet->next;
    if (!conn->head) {
        conn->tail = NULL;
    }
    conn->sending = true;
    conn->lone = !conn->is_server && !conn->rpc->options.driven && conn->cls == KITH_RPC_ROWS &&
                 conn->unanswered > 0 && conn->unanswered <= packet->messages;
    conn->sending_bytes = packet->buf.size + (packet->payload ? packet->payload->size : 0);
    pthread_mutex_unlock(&conn->lock);
    return packet;
}

/* conn->lock held. */
static void note_sent(struct rpc_conn *conn)
{
    conn->sending = false;
    set_queued(conn, conn->queued_bytes - conn->sending_bytes);
    conn->sending_bytes = 0;
}

/* Most sends complete while they are started, and their completion would wake the thread that waits
 * in the queue for nothing. gRPC can keep one completion back for the thread in which it comes (its
 * own C++ server does so). Only while no other question is on its way: under load the way through
 * the queue is what gives messages the time to pack. True: the packet has been sent, and that is
 * noted. */
static bool start_send(struct rpc_conn *conn, const grpc_op *op)
{
    struct kith_rpc *rpc = conn->rpc;
    if (!conn->lone) {
        rpc_start(conn->call, op, 1, &conn->send_tag);
        return false;
    }
    void *kept = NULL;
    int ok = 0;
    grpc_completion_queue_thread_local_cache_init(rpc->queue);
    rpc_start(conn->call, op, 1, &conn->send_tag);
    if (grpc_completion_queue_thread_local_cache_flush(rpc->queue, &kept, &ok) == 0) {
        return false;
    }
    struct rpc_tag *tag = kept;
    rpc_take_over(tag);
    bool sent = false;
    if (tag == &conn->send_tag) {
        pthread_mutex_lock(&conn->lock);
        sent = conn->pending > 1; /* else it is the last, and `closed` belongs on a queue thread */
        if (sent) {
            conn->pending--;
            note_sent(conn);
        }
        pthread_mutex_unlock(&conn->lock);
    }
    if (!sent) { /* another's, by chance: it is for who waits in the queue */
        rpc_post(rpc, tag, ok != 0);
    }
    return sent;
}

static bool send_one(struct rpc_conn *conn, struct rpc_packet *packet)
{
    struct kith_rpc_stats *stats = &conn->rpc->stats;
    rpc_count(&stats->packets_sent, 1);
    rpc_count(&stats->messages_sent, packet->messages);
    rpc_count(&stats->bytes_sent, packet->buf.size + (packet->payload ? packet->payload->size : 0));
    grpc_byte_buffer *bytes = to_grpc(packet);
    pthread_mutex_lock(&conn->lock);
    packet_retire(conn, packet);
    pthread_mutex_unlock(&conn->lock);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = bytes;
    bool sent = start_send(conn, &op);
    grpc_byte_buffer_destroy(bytes);
    rpc_read_resume(conn);
    return sent;
}

/* Sends what is queued, as far as nothing is under way; or the end, if that is what remains. */
static void send_next(struct rpc_conn *conn)
{
    bool end = false;
    for (;;) {
        struct rpc_packet *packet = take_packet(conn, &end);
        if (!packet) {
            break;
        }
        if (!send_one(conn, packet)) {
            return; /* rpc_conn_sent goes on */
        }
    }
    if (end) {
        rpc_conn_end(conn);
    }
}

void rpc_send_late(struct rpc_conn *conn)
{
    send_next(conn);
}

void rpc_conn_sent(void *owner, bool ok)
{
    struct rpc_conn *conn = owner;
    (void)ok; /* a failure is told by the end of the call, which follows */
    pthread_mutex_lock(&conn->lock);
    note_sent(conn);
    pthread_mutex_unlock(&conn->lock);
    send_next(conn);
    rpc_conn_done(conn);
}
