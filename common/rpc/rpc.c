/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <grpc/support/log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "rpc/rpc_impl.h"

#define SEND_LIMIT_DEFAULT_BYTES ((size_t)64 << 20)
#define SEND_TOTAL_DEFAULT_BYTES   ((size_t)512 << 20)
#define CONNECT_TIMEOUT_DEFAULT_MS 5000u
#define KEEPALIVE_DEFAULT_MS 10000u
#define THREADS_MAX 64u
#define BUSY_NS UINT64_C(10000) /* an event that is there so soon was not waited for */
#define SWARM_LOOKS 16u /* without success, then events are taken to come alone */
#define LINGER_NS UINT64_C(150000) /* within that another node's copy is stored and answered */
#define LINGER_SWARM_NS UINT64_C(6000) /* then others on this machine mostly have work, too */
#define LINGER_OTHER_NS UINT64_C(20000) /* the processor was away for longer: another wants it */
#define LINGER_MAX 8u
#define LINGER_TRY_AGAIN 64u /* sleeps */
#define DRIVE_EVENTS_MAX 64u /* of gRPC in one kith_rpc_drive: the driver has other work too */

/* gRPC's own lines are for its developers; what matters reaches us as reasons. But for the last one:
 * it ends the process behind it. */
static void log_grpc(gpr_log_func_args *args)
{
    if (args->severity == GPR_LOG_SEVERITY_ERROR && strstr(args->message, "Handshake failed")) {
        const char *reason = rpc_tls_reason(args->message);
        rpc_tls_log("a connection was refused: %s", reason ? reason : args->message);
    } else if (args->severity == GPR_LOG_SEVERITY_ERROR &&
               strstr(args->message, "assertion failed")) {
        kith_log_error("grpc", "%s:%d: %s", args->file, args->line, args->message);
    } else {
        kith_log_debug("grpc", "%s", args->message);
    }
}

/* Debian builds Abseil with the checks of a debug build; then every lock that gRPC takes is entered
 * into a graph of what was locked under what, to find deadlocks: without it some 3 % more puts
 * under load (tests/bench/README.md). Abseil has a switch for it (absl/synchronization/mutex.h), in
 * C++ only; the name is that of Debian's build. Where it is missing, nothing is lost. */
static void skip_lock_graph(void)
{
    void (*set_mode)(int);
    *(void **)&set_mode = dlsym(
        RTLD_DEFAULT, "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
    if (set_mode) {
        set_mode(0); /* OnDeadlockCycle::kIgnore */
    }
}

static void run_tag(struct rpc_tag *tag, bool ok)
{
    rpc_take_over(tag);
    bool failed = tag->failed;
    tag->failed = false;
    tag->done(tag->owner, ok && !failed);
}

static void *run_queue(void *arg)
{
    struct kith_rpc *rpc = arg;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(rpc->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        struct rpc_tag *tag = event.tag;
        run_tag(tag, event.success != 0);
    }
}

/* ---- Driven by the owner's thread ---- */

static void on_wake(void *owner, bool ok)
{
    (void)owner;
    (void)ok;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Handles one event; false: there was none until then. */
static bool drive_one(struct kith_rpc *rpc, gpr_timespec until)
{
    grpc_event event = grpc_completion_queue_next(rpc->queue, until, NULL);
    if (event.type != GRPC_OP_COMPLETE) {
        return false;
    }
    run_tag(event.tag, event.success != 0);
    return true;
}

/* Looks for an event for a moment. Under load the next one comes sooner than a thread falls
 * asleep and is woken; so it lingers while most looks find something, and tries again now and then.
 * Who else is ready to run on this processor goes first, and ends it. */
static bool linger(struct kith_rpc *rpc, grpc_event *ret_event)
{
    if (rpc->linger == 0) {
        rpc->linger = ++rpc->slept % LINGER_TRY_AGAIN == 0 ? 1 : 0;
        return false;
    }
    uint64_t now = now_ns();
    uint64_t end = now + (rpc->swarm > 0 ? LINGER_SWARM_NS : LINGER_NS);
    while (now < end) {
        *ret_event = grpc_completion_queue_next(rpc->queue, gpr_time_0(GPR_CLOCK_MONOTONIC), NULL);
        if (ret_event->type != GRPC_QUEUE_TIMEOUT) {
            rpc->linger += rpc->linger < LINGER_MAX ? 1 : 0;
            return true;
        }
        sched_yield();
        uint64_t then = now;
        now = now_ns();
        if (now - then > LINGER_OTHER_NS) {
            break;
        }
    }
    rpc->linger--;
    return false;
}

/* Events often come alone, and then the look for a second one costs as much as the first; or in
 * swarms, and then much at a time is worth most. So there is a second look only while it finds
 * something now and then, or when an event was there before the driver came. */
void kith_rpc_drive(struct kith_rpc *rpc, uint64_t until_ms)
{
    __atomic_store_n(&rpc->driver, pthread_self(), __ATOMIC_RELAXED);
    rpc_read_all(rpc);
    uint64_t due_ms = rpc_read_drive(rpc);
    until_ms = due_ms < until_ms ? due_ms : until_ms;
    gpr_timespec until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (until_ms / 1000u < INT64_MAX / 1000) {
        until.tv_sec = (int64_t)(until_ms / 1000u);
        until.tv_nsec = (int32_t)(until_ms % 1000u) * 1000000;
    }
    uint32_t got = 0;
    for (uint32_t i = 0; i < DRIVE_EVENTS_MAX; i++) {
        uint64_t began = got == 0 ? now_ns() : 0;
        grpc_event event;
        if (got > 0 || until_ms == 0 || !linger(rpc, &event)) {
            event = grpc_completion_queue_next(rpc->queue, until, NULL);
        }
        if (event.type != GRPC_OP_COMPLETE) {
            rpc->swarm -= rpc->swarm > 0 ? 1 : 0;
            break;
        }
        struct rpc_tag *tag = event.tag;
        rpc_take_over(tag);
        bool sent = tag->done == rpc_conn_sent; /* the driver hears of it only if it is the last */
        if (!sent && (got > 0 || now_ns() - began < BUSY_NS)) {
            rpc->swarm = SWARM_LOOKS;
        }
        rpc->told = false;
        run_tag(tag, event.success != 0);
        got += sent && !rpc->told ? 0 : 1;
        if (got > 0 && rpc->swarm == 0) {
            break;
        }
        until = got > 0 ? gpr_time_0(GPR_CLOCK_MONOTONIC) : until;
    }
}

/* gRPC's C interface has no way to post to a queue but operations on calls: an empty batch is one
 * that completes at once. */
void kith_rpc_wake(struct kith_rpc *rpc)
{
    rpc_start(rpc->wake_call, NULL, 0, &rpc->wake_tag);
}

void rpc_post(struct kith_rpc *rpc, struct rpc_tag *tag, bool ok)
{
    tag->failed = !ok;
    rpc_start(rpc->wake_call, NULL, 0, tag);
}

static void prepare_wake(struct kith_rpc *rpc)
{
    rpc->wake_tag = rpc_tag_make(on_wake, rpc);
    rpc->wake_channel = grpc_lame_client_channel_create("wake", GRPC_STATUS_UNAVAILABLE, "");
    rpc->wake_call = grpc_channel_create_call(
        rpc->wake_channel, NULL, GRPC_PROPAGATE_DEFAULTS, rpc->queue,
        grpc_slice_from_static_string("/wake"), NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

void rpc_start(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
    rpc_hand_over(tag);
    grpc_call_error err = grpc_call_start_batch(call, ops, count, tag, NULL);
    KITH_ASSERT(err == GRPC_CALL_OK);
}

void rpc_live_add(struct kith_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->live++;
    pthread_mutex_unlock(&rpc->lock);
}

void rpc_live_drop(struct kith_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    KITH_ASSERT(rpc->live > 0);
    rpc->live--;
    bool wake = rpc->options.driven && rpc->stopping;
    pthread_cond_broadcast(&rpc->changed);
    if (wake) { /* under the lock: kith_rpc_free must not be through before */
        kith_rpc_wake(rpc);
    }
    pthread_mutex_unlock(&rpc->lock);
}

/* Also for an object that was half made. */
static void end_threads(struct kith_rpc *rpc)
{
    if (rpc->wake_call) {
        grpc_call_unref(rpc->wake_call);
        grpc_channel_destroy(rpc->wake_channel);
    }
    grpc_completion_queue_shutdown(rpc->queue);
    while (rpc->options.driven && drive_one(rpc, gpr_inf_future(GPR_CLOCK_MONOTONIC))) {
    }
    for (uint32_t i = 0; i < rpc->thread_count; i++) {
        pthread_join(rpc->threads[i], NULL);
    }
    grpc_completion_queue_destroy(rpc->queue);
    rpc_timer_stop(rpc);
    grpc_shutdown();
    rpc_tls_free(rpc->tls);
    pthread_cond_destroy(&rpc->changed);
    pthread_mutex_destroy(&rpc->lock);
    kith_free(rpc->threads);
    kith_free(rpc);
}

enum kith_err kith_rpc_new(const struct kith_rpc_options *options,
                           const struct kith_rpc_handlers *handlers, struct kith_rpc **ret_rpc,
                           struct kith_error *error)
{
    uint32_t threads = options->driven ? 0 : options->threads == 0 ? 1 : options->threads;
    if (threads > THREADS_MAX) {
        return kith_error_set(error, KITH_EINVAL, "%u queue threads are above the limit of %u",
                              threads, THREADS_MAX);
    }
    struct kith_rpc *rpc = kith_calloc(1, sizeof *rpc);
    pthread_t *list = kith_calloc(threads + 1, sizeof *list);
    if (!rpc || !list) {
        kith_free(rpc);
        kith_free(list);
        return kith_error_set(error, KITH_ENOMEM, "no memory for the network");
    }
    rpc->options = *options;
    rpc->handlers = *handlers;
    struct kith_rpc_options *o = &rpc->options;
    o->send_limit_bytes = o->send_limit_bytes ? o->send_limit_bytes : SEND_LIMIT_DEFAULT_BYTES;
    o->send_total_bytes = o->send_total_bytes ? o->send_total_bytes : SEND_TOTAL_DEFAULT_BYTES;
    o->connect_timeout_ms =
        o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_DEFAULT_MS;
    o->keepalive_ms = o->keepalive_ms ? o->keepalive_ms : KEEPALIVE_DEFAULT_MS;
    enum kith_err err = o->tls ? rpc_tls_new(o->tls, &rpc->tls, error) : KITH_OK;
    if (err != KITH_OK) {
        kith_free(list);
        kith_free(rpc);
        return err;
    }
    rpc->threads = list;
    pthread_mutex_init(&rpc->lock, NULL);
    pthread_cond_init(&rpc->changed, NULL);
    gpr_set_log_function(log_grpc);
    skip_lock_graph();
    grpc_init();
    int failed = rpc_timer_start(rpc);
    if (failed != 0) {
        grpc_shutdown();
        rpc_tls_free(rpc->tls);
        kith_free(list);
        kith_free(rpc);
        return kith_error_set(error, KITH_ENOMEM, "cannot start a thread: %s", strerror(failed));
    }
    rpc->queue = grpc_completion_queue_create_for_next(NULL);
    prepare_wake(rpc);
    for (; rpc->thread_count < threads; rpc->thread_count++) {
        failed = pthread_create(&list[rpc->thread_count], NULL, run_queue, rpc);
        if (failed != 0) {
            end_threads(rpc);
            return kith_error_set(error, KITH_ENOMEM, "cannot start a thread: %s",
                                  strerror(failed));
        }
    }
    *ret_rpc = rpc;
    return KITH_OK;
}

/* The next connection that has not been told to end; held. */
static struct rpc_conn *next_open(struct kith_rpc *rpc, uint64_t above)
{
    struct rpc_conn *best = NULL;
    pthread_mutex_lock(&rpc->lock);
    for (size_t i = 0; i < RPC_BUCKETS; i++) {
        for (struct rpc_conn *conn = rpc->buckets[i]; conn; conn = conn->next) {
            if (conn->id > above && (!best || conn->id < best->id)) {
                best = conn;
            }
        }
    }
    if (best) {
        rpc_conn_hold(best);
    }
    pthread_mutex_unlock(&rpc->lock);
    return best;
}

void kith_rpc_free(struct kith_rpc *rpc)
{
    if (!rpc) {
        return;
    }
    pthread_mutex_lock(&rpc->lock);
    rpc->stopping = true;
    pthread_mutex_unlock(&rpc->lock);
    uint64_t done = 0;
    for (;;) {
        struct rpc_conn *conn = next_open(rpc, done);
        if (!conn) {
            break;
        }
        done = conn->id;
        rpc_conn_cancel(conn, GRPC_STATUS_UNAVAILABLE, "shut down");
        rpc_conn_drop(conn);
    }
    rpc_server_stop(rpc);
    pthread_mutex_lock(&rpc->lock);
    while (rpc->live > 0 || (rpc->server && !rpc->server_down)) {
        if (rpc->options.driven) {
            pthread_mutex_unlock(&rpc->lock);
            kith_rpc_drive(rpc, UINT64_MAX);
            pthread_mutex_lock(&rpc->lock);
        } else {
            pthread_cond_wait(&rpc->changed, &rpc->lock);
        }
    }
    pthread_mutex_unlock(&rpc->lock);
    if (rpc->server) {
        grpc_server_destroy(rpc->server);
        rpc_door_close(rpc);
    }
    KITH_ASSERT(!rpc->channels);
    end_threads(rpc);
}

struct rpc_conn *rpc_find(struct kith_rpc *rpc, uint64_t id)
{
    pthread_mutex_lock(&rpc->lock);
    struct rpc_conn *conn = rpc->buckets[id % RPC_BUCKETS];
    while (conn && conn->id != id) {
        conn = conn->next;
    }
    if (conn) {
        rpc_conn_hold(conn);
    }
    pthread_mutex_unlock(&rpc->lock);
    return conn;
}

enum kith_err kith_rpc_send(struct kith_rpc *rpc, uint64_t id, const struct kith_msg *msg)
{
    struct rpc_conn *conn = rpc_find(rpc, id);
    if (!conn) {
        return KITH_ECLOSED;
    }
    enum kith_err err = rpc_conn_send(conn, msg);
    rpc_conn_drop(conn);
    return err;
}

void kith_rpc_stats(struct kith_rpc *rpc, struct kith_rpc_stats *ret_stats)
{
#define LOAD(member) ret_stats->member = __atomic_load_n(&rpc->stats.member, __ATOMIC_RELAXED)
    LOAD(packets_sent);
    LOAD(messages_sent);
    LOAD(bytes_sent);
    LOAD(packets_received);
    LOAD(messages_received);
    LOAD(bytes_received);
#undef LOAD
}

/* ---- Channels ---- */

/* "host:port" to gRPC's target: a socket of this machine, or what says for numbers that there is no
 * name to resolve. */
static enum kith_err make_target(const char *address, char *target, size_t size,
                                 struct kith_error *error)
{
    char host[KITH_ADDRESS_SIZE];
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;
    size_t host_size = colon ? (size_t)(colon - address) : 0;
    if (!colon || host_size == 0 || host_size >= sizeof host || colon[1] < '0' || colon[1] > '9' ||
        *end != '\0' || port < 1 || port > 65535) {
        return kith_error_set(error, KITH_EINVAL, "'%.200s' is no address: host:port is wanted",
                              address);
    }
    if (rpc_near_listens(address) && rpc_near_target(address, target, size)) {
        return KITH_OK;
    }
    memcpy(host, address, host_size);
    host[host_size] = '\0';
    struct in_addr v4;
    const char *scheme = host[0] == '['                        ? "ipv6:"
                         : inet_pton(AF_INET, host, &v4) == 1 ? "ipv4:"
                                                              : "dns:///";
    (void)snprintf(target, size, "%s%s:%ld", scheme, host, port);
    return KITH_OK;
}

enum kith_err rpc_channel_get(struct kith_rpc *rpc, const char *address,
                              struct rpc_channel **ret_channel, struct kith_error *error)
{
    char target[KITH_ADDRESS_SIZE + RPC_SCHEME_MAX];
    uint64_t edition = rpc_tls_edition(rpc);
    pthread_mutex_lock(&rpc->lock);
    struct rpc_channel *channel = rpc->channels;
    while (channel &&
           (strcmp(channel->address, address) != 0 || channel->edition != edition)) {
        channel = channel->next;
    }
    if (channel) {
        channel->refs++;
    }
    pthread_mutex_unlock(&rpc->lock);
    if (!channel) {
        enum kith_err err = make_target(address, target, sizeof target, error);
        if (err != KITH_OK) {
            return err;
        }
        channel = kith_calloc(1, sizeof *channel);
        grpc_channel_credentials *credentials =
            channel ? rpc_channel_credentials(rpc, channel) : NULL;
        if (!credentials) {
            if (channel) {
                rpc_verify_drop(channel->verify);
            }
            kith_free(channel);
            return kith_error_set(error, KITH_ENOMEM, "no memory for a connection to %s", address);
        }
        struct rpc_args args;
        rpc_client_args(&rpc->options, &args);
        channel->channel = grpc_channel_create(target, credentials, &args.header);
        grpc_channel_credentials_release(credentials);
        (void)snprintf(channel->address, sizeof channel->address, "%s", address);
        channel->refs = 1;
        channel->listed = true;
        pthread_mutex_lock(&rpc->lock);
        channel->next = rpc->channels; /* a second one to the address does no harm */
        rpc->channels = channel;
        pthread_mutex_unlock(&rpc->lock);
    }
    *ret_channel = channel;
    return KITH_OK;
}

void rpc_channel_drop(struct kith_rpc *rpc, struct rpc_channel *channel, bool failed)
{
    pthread_mutex_lock(&rpc->lock);
    bool last = --channel->refs == 0;
    if ((last || failed) && channel->listed) {
        struct rpc_channel **at = &rpc->channels;
        while (*at != channel) {
            at = &(*at)->next;
        }
        *at = channel->next;
        channel->listed = false;
    }
    pthread_mutex_unlock(&rpc->lock);
    if (last) {
        grpc_channel_destroy(channel->channel);
        rpc_verify_drop(channel->verify);
        kith_free(channel);
    }
}
