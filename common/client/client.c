/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client.c - connects the client's core to rpc.h, the clock and the callers.
 *
 * Threads, and what they may touch:
 *
 *     callers       submit: step the core under the lock and send at once (lowest latency)
 *     rpc's thread  opened, message, closed: the same (closed may come on any of these threads)
 *     the timer     waits for the core's deadline, ticks
 *
 * Every field of struct kith_client below `lock` is protected by it. Callbacks run after the lock
 * is let go, on the thread whose step ended the request; then the results are released. Changes
 * under watches come by messages only, so their callbacks run on rpc's thread, one after the other,
 * before those of the requests that the same step ended and before the next message is taken.
 * Whether a watch is live is set under the lock, thus before any callback of that step, and read
 * without it. */
#include "client/client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/client_core.h"
#include "client/epoch.h"
#include "client/hard.h"
#include "rpc/rpc.h"

#define CONNECT_TIMEOUT_MS 10000u
#define CLOSE_LINGER_MS    1000u
#define CONN_BUCKETS       256u
#define NEVER              UINT64_MAX
#define REASON_SIZE        128u
#define REASONS_SIZE       360u /* of an error's 512 bytes */

/* One connection: the core's number and rpc's. */
struct conn {
    uint64_t core;
    uint64_t rpc; /* 0: rpc refused it */
    struct conn *core_chain;
    struct conn *rpc_chain;
    struct conn *early_next;
    char reason[REASON_SIZE]; /* early */
};

struct request {
    kith_client_cb cb;
    void *arg;
    const struct kith_client_result *result; /* once done */
    struct kith_client_done *done;
    struct request *next; /* among those done in one step */
};

/* Protected by the client's lock, but for `epoch` and what never changes. */
struct kith_watch {
    struct kith_epoch epoch;
    uint64_t made_ns;             /* the owners were asked before */
    _Atomic(uint64_t) since_ns;   /* of the first epoch; kith_watch_since */
    struct kith_group group;
    kith_client_watch_cb cb;
    void *arg;
    struct kith_watch *next, *prev; /* of the client's */
    /* a change to be told; rpc's thread reads it without the lock while `calling` */
    bool calling;
    struct kith_watch *told_next;
    const struct kith_bytes *names; /* of the message, which on_message holds */
    uint32_t name_count;
};

struct kith_client {
    struct kith_rpc *rpc;
    pthread_t timer;
    uint32_t connect_timeout_ms;
    uint32_t turned_down_ms; /* 0: of no matter */

    pthread_mutex_t lock;
    pthread_cond_t timer_wake; /* an earlier deadline, or the end */
    pthread_cond_t changed;    /* the table came; nobody is at the servers; a callback ended */
    pthread_cond_t quiet;      /* callbacks of watches ended */
    struct kith_client_core *core;
    uint64_t random;
    uint64_t timer_at_ms;
    uint64_t hard_told_ms;
    uint32_t calling; /* threads that run callbacks */
    bool timer_runs;
    bool closing;
    struct conn *by_core[CONN_BUCKETS];
    struct conn *by_rpc[CONN_BUCKETS];
    struct conn *connecting; /* the one that kith_rpc_connect is called for */
    struct kith_watch *watches;
    struct kith_watch *told; /* by the step just made: their callbacks are to be called */
    struct conn *early; /* ended inside a call of ours: the core hears of it after its effects */
};

static void random_fill(void *data, size_t size)
{
    uint8_t *at = data;
    while (size > 0) {
        ssize_t n = getrandom(at, size, 0);
        KITH_ASSERT(n > 0 || errno == EINTR);
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static uint64_t next_random(struct kith_client *client)
{
    /* xorshift64* (Vigna 2016), seeded by the system */
    client->random ^= client->random >> 12;
    client->random ^= client->random << 25;
    client->random ^= client->random >> 27;
    return client->random * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- Connections ---- */

static struct conn *conn_of_core(const struct kith_client *client, uint64_t core)
{
    struct conn *conn = client->by_core[core % CONN_BUCKETS];
    while (conn != NULL && conn->core != core) {
        conn = conn->core_chain;
    }
    return conn;
}

static struct conn *conn_of_rpc(const struct kith_client *client, uint64_t rpc)
{
    struct conn *conn = client->by_rpc[rpc % CONN_BUCKETS];
    while (conn != NULL && conn->rpc != rpc) {
        conn = conn->rpc_chain;
    }
    return conn;
}

static void conn_add(struct kith_client *client, struct conn *conn)
{
    conn->core_chain = client->by_core[conn->core % CONN_BUCKETS];
    client->by_core[conn->core % CONN_BUCKETS] = conn;
    conn->rpc_chain = client->by_rpc[conn->rpc % CONN_BUCKETS];
    client->by_rpc[conn->rpc % CONN_BUCKETS] = conn;
}

static void conn_remove(struct kith_client *client, struct conn *conn)
{
    struct conn **at = &client->by_core[conn->core % CONN_BUCKETS];
    while (*at != conn) {
        at = &(*at)->core_chain;
    }
    *at = conn->core_chain;
    at = &client->by_rpc[conn->rpc % CONN_BUCKETS];
    while (*at != conn) {
        at = &(*at)->rpc_chain;
    }
    *at = conn->rpc_chain;
    at = &client->early;
    while (*at != NULL && *at != conn) {
        at = &(*at)->early_next;
    }
    if (*at == conn) {
        *at = conn->early_next;
    }
    kith_free(conn);
}

/* ---- Effects ---- */

/* rpc may tell an end on the thread that calls it, in the middle of the effects: then this is the
 * client whose lock that thread holds. */
static _Thread_local struct kith_client *stepping;

static void early_add(struct kith_client *client, struct conn *conn, const char *reason)
{
    (void)snprintf(conn->reason, sizeof(conn->reason), "%s", reason); /* cut: for people */
    conn->early_next = client->early;
    client->early = conn;
}

static void do_connect(struct kith_client *client, const struct kith_client_effect *effect)
{
    struct kith_error error = {KITH_OK, ""};
    struct conn *conn = kith_calloc(1, sizeof(*conn));
    if (conn == NULL) {
        return; /* the core gives a connection that does not come up another try */
    }
    conn->core = effect->conn;
    client->connecting = conn;
    enum kith_err err =
        kith_rpc_connect(client->rpc, effect->address, effect->bulk ? KITH_RPC_BULK : KITH_RPC_ROWS,
                         &conn->rpc, &error);
    client->connecting = NULL;
    if (err != KITH_OK) {
        conn->rpc = 0;
        early_add(client, conn, error.message);
    }
    conn_add(client, conn);
}

static void do_send(struct kith_client *client, const struct kith_client_effect *effect)
{
    const struct conn *conn = conn_of_core(client, effect->conn);
    if (conn == NULL) {
        return;
    }
    enum kith_err err = kith_rpc_send(client->rpc, conn->rpc, effect->msg);
    if (err != KITH_OK && err != KITH_ECLOSED) {
        /* a full queue: the node takes nothing any more; the core hears no answer and goes on */
        kith_log_debug("client", "%s was not sent: %s", kith_msg_kind_name(effect->msg->kind),
                       kith_err_text((int)err));
    }
}

static void do_changed(struct kith_client *client, const struct kith_client_effect *effect)
{
    struct kith_watch *watch = (struct kith_watch *)(uintptr_t)effect->tag;
    KITH_ASSERT(!watch->calling); /* rpc has one thread, which calls back before it goes on */
    watch->calling = true;
    watch->names = effect->names;
    watch->name_count = effect->name_count;
    watch->told_next = client->told;
    client->told = watch;
}

static struct request *apply(struct kith_client *client, const struct kith_client_effects *effects,
                             struct request *done)
{
    for (uint32_t i = 0; i < effects->count; i++) {
        const struct kith_client_effect *effect = &effects->effects[i];
        switch (effect->kind) {
        case KITH_CLIENT_EFFECT_SEND:
            do_send(client, effect);
            break;
        case KITH_CLIENT_EFFECT_CONNECT:
            if (!client->closing) {
                do_connect(client, effect);
            }
            break;
        case KITH_CLIENT_EFFECT_CLOSE: {
            struct conn *conn = conn_of_core(client, effect->conn);
            if (conn != NULL) {
                uint64_t rpc = conn->rpc;
                conn_remove(client, conn); /* first: its end is of no interest any more */
                kith_rpc_close(client->rpc, rpc, effect->reason);
            }
            break;
        }
        case KITH_CLIENT_EFFECT_DONE: {
            struct request *request = (struct request *)(uintptr_t)effect->tag;
            request->result = effect->result;
            request->done = effect->done;
            request->next = done;
            done = request;
            break;
        }
        case KITH_CLIENT_EFFECT_WATCHED: {
            struct kith_watch *watch = (struct kith_watch *)(uintptr_t)effect->tag;
            if (effect->since_made) { /* first: who sees the number finds it */
                atomic_store_explicit(&watch->since_ns, watch->made_ns, memory_order_release);
            }
            kith_epoch_tell(&watch->epoch, effect->until_ms);
            break;
        }
        case KITH_CLIENT_EFFECT_CHANGED:
            do_changed(client, effect);
            break;
        }
    }
    return done;
}

/* One step with its effects, under the lock; what ended is put before `*done`. */
static enum kith_err step(struct kith_client *client, struct kith_client_event *event,
                          struct request **done)
{
    struct kith_client_effects effects;
    bool was_ready = kith_client_core_ready(client->core);
    event->mono_ms = kith_mono_ms();
    event->random = next_random(client);
    stepping = client;
    enum kith_err err = kith_client_core_step(client->core, event, &effects);
    *done = apply(client, &effects, *done);
    while (client->early != NULL) {
        struct conn *conn = client->early;
        struct kith_client_event closed = {.kind = KITH_CLIENT_EVENT_CLOSED,
                                           .conn = conn->core,
                                           .reason = conn->reason,
                                           .mono_ms = event->mono_ms};
        closed.random = next_random(client);
        uint64_t core = conn->core;
        client->early = conn->early_next;
        if (kith_client_core_step(client->core, &closed, &effects) == KITH_OK) {
            *done = apply(client, &effects, *done);
        } /* without memory: the core's own timer sees to the connection */
        conn = conn_of_core(client, core);
        if (conn != NULL) {
            conn_remove(client, conn);
        }
    }
    stepping = NULL;
    kith_hard_tell(client->core, event->mono_ms, &client->hard_told_ms);
    if (client->closing && kith_client_core_lingering(client->core) == 0) {
        (void)pthread_cond_broadcast(&client->changed);
    }
    if (!was_ready && (kith_client_core_ready(client->core) ||
                       kith_client_core_turned_down(client->core) != NEVER)) {
        (void)pthread_cond_broadcast(&client->changed);
    }
    if (effects.deadline_ms < client->timer_at_ms) {
        client->timer_at_ms = effects.deadline_ms;
        (void)pthread_cond_signal(&client->timer_wake);
    }
    return err;
}

/* Calls back for the changes of the last step, without the lock, which is held before and after. */
static void call_watches(struct kith_client *client)
{
    struct kith_watch *told = client->told;
    if (told == NULL) {
        return;
    }
    client->told = NULL;
    client->calling++;
    (void)pthread_mutex_unlock(&client->lock);
    for (const struct kith_watch *watch = told; watch != NULL; watch = watch->told_next) {
        watch->cb(watch->arg, watch->names, watch->name_count);
    }
    (void)pthread_mutex_lock(&client->lock);
    for (struct kith_watch *watch = told; watch != NULL; watch = watch->told_next) {
        watch->calling = false; /* unwatch waits for the lock at least as long as this loop */
    }
    client->calling--;
    (void)pthread_cond_broadcast(&client->quiet);
    if (client->closing) {
        (void)pthread_cond_broadcast(&client->changed);
    }
}

/* Calls back for what ended, without the lock, and releases it. Takes the lock held, gives it back.
 */
static void call_back(struct kith_client *client, struct request *done)
{
    call_watches(client);
    if (done == NULL) {
        (void)pthread_mutex_unlock(&client->lock);
        return;
    }
    client->calling++;
    (void)pthread_mutex_unlock(&client->lock);
    struct request *in_order = NULL;
    while (done != NULL) { /* they were collected last first */
        struct request *next = done->next;
        done->next = in_order;
        in_order = done;
        done = next;
    }
    for (struct request *request = in_order; request != NULL; request = request->next) {
        request->cb(request->arg, request->result);
    }
    (void)pthread_mutex_lock(&client->lock);
    while (in_order != NULL) {
        struct request *request = in_order;
        in_order = request->next;
        kith_client_core_release(client->core, request->done);
        kith_free(request);
    }
    client->calling--;
    if (client->closing) {
        (void)pthread_cond_broadcast(&client->changed);
    }
    (void)pthread_mutex_unlock(&client->lock);
}

/* ---- rpc's handlers ---- */

static void conn_event(struct kith_client *client, uint64_t rpc, struct kith_client_event *event)
{
    struct request *done = NULL;
    (void)pthread_mutex_lock(&client->lock);
    struct conn *conn = conn_of_rpc(client, rpc);
    if (conn != NULL) {
        event->conn = conn->core;
        if (event->kind == KITH_CLIENT_EVENT_CLOSED) {
            conn_remove(client, conn);
        }
        if (step(client, event, &done) != KITH_OK) {
            kith_log_warn("client", "an event was lost: out of memory");
        }
    }
    call_back(client, done);
}

static void on_opened(void *arg, uint64_t conn)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_OPENED};
    conn_event(arg, conn, &event);
}

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_MESSAGE, .msg = &box->msg, .box = box};
    conn_event(arg, conn, &event);
    kith_msg_box_drop(box);
}

static void on_closed(void *arg, uint64_t conn, const char *reason)
{
    struct kith_client *client = arg;
    if (stepping == client) {
        struct conn *ended = client->connecting;
        if (ended == NULL || ended->rpc != conn) {
            ended = conn_of_rpc(client, conn);
        }
        if (ended != NULL) {
            early_add(client, ended, reason);
        }
        return;
    }
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_CLOSED, .reason = reason};
    conn_event(arg, conn, &event);
}

/* ---- The timer ---- */

static struct timespec timespec_of(uint64_t at_ms)
{
    struct timespec at = {(time_t)(at_ms / 1000), (long)(at_ms % 1000) * 1000000};
    return at;
}

static void *timer_main(void *arg)
{
    struct kith_client *client = arg;
    (void)pthread_mutex_lock(&client->lock);
    while (client->timer_runs) {
        if (client->timer_at_ms == NEVER) {
            (void)pthread_cond_wait(&client->timer_wake, &client->lock);
            continue;
        }
        if (kith_mono_ms() < client->timer_at_ms) {
            struct timespec at = timespec_of(client->timer_at_ms);
            (void)pthread_cond_timedwait(&client->timer_wake, &client->lock, &at);
            continue;
        }
        struct request *done = NULL;
        struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
        client->timer_at_ms = NEVER;
        if (step(client, &event, &done) != KITH_OK) {
            kith_log_warn("client", "a tick was lost: out of memory");
        }
        call_back(client, done);
        (void)pthread_mutex_lock(&client->lock);
    }
    (void)pthread_mutex_unlock(&client->lock);
    return NULL;
}

/* ---- Opening and closing ---- */

static void sync_init(struct kith_client *client)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&client->lock, NULL);
    (void)pthread_cond_init(&client->timer_wake, &attr);
    (void)pthread_cond_init(&client->changed, &attr);
    (void)pthread_cond_init(&client->quiet, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static enum kith_err start(struct kith_client *client, const struct kith_client_options *options,
                           struct kith_error *error)
{
    struct kith_client_core_options core_options = {.server_count = options->server_count,
                                                    .servers = options->servers,
                                                    .op_timeout_ms = options->op_timeout_ms,
                                                    .hedge_ms = options->hedge_ms,
                                                    .writer = options->writer,
                                                    .strict = options->strict,
                                                    .w_min = options->w_min,
                                                    .zone = options->zone,
                                                    .read_level = options->read_level,
                                                    .write_level = options->write_level,
                                                    .mono_ms = kith_mono_ms()};
    random_fill(core_options.random, sizeof(core_options.random));
    random_fill(&client->random, sizeof(client->random));
    client->random |= 1; /* xorshift stays at zero */
    client->timer_at_ms = NEVER;
    enum kith_err err = kith_client_core_new(&core_options, &client->core, error);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_rpc_options rpc_options = {.threads = 1, .tls = options->tls};
    struct kith_rpc_handlers handlers = {
        .arg = client, .opened = on_opened, .message = on_message, .closed = on_closed};
    err = kith_rpc_new(&rpc_options, &handlers, &client->rpc, error);
    if (err != KITH_OK) {
        return err;
    }
    client->timer_runs = true;
    int code = pthread_create(&client->timer, NULL, timer_main, client);
    if (code != 0) {
        client->timer_runs = false;
        return kith_error_set(error, KITH_ENOMEM, "cannot start a thread: %s", strerror(code));
    }
    return KITH_OK;
}

/* turned_down: it gives up before the timeout, for nobody is there. */
static enum kith_err unreachable(struct kith_client *client,
                                 const struct kith_client_options *options, bool turned_down,
                                 struct kith_error *error)
{
    char names[128] = "";
    char reasons[REASONS_SIZE];
    size_t at = 0;
    for (uint32_t i = 0; i < options->server_count; i++) {
        size_t room = sizeof(names) - at;
        int n = snprintf(names + at, room, "%s%s", i > 0 ? "," : "", options->servers[i]);
        if (i > 0 && (n < 0 || (size_t)n + sizeof(",...") > room)) { /* half a name is another's */
            (void)snprintf(names + at, room, ",...");
            break;
        }
        at += n < 0 || (size_t)n >= room ? room - 1 : (size_t)n;
    }
    kith_client_core_reasons(client->core, reasons, sizeof(reasons));
    uint32_t ms = turned_down ? client->turned_down_ms : client->connect_timeout_ms;
    if (ms % 1000 == 0) {
        return kith_error_set(error, KITH_EUNREACH, "no node of %s answered within %u s (%s)",
                              names, ms / 1000, reasons);
    }
    return kith_error_set(error, KITH_EUNREACH, "no node of %s answered within %u ms (%s)", names,
                          ms, reasons);
}

static enum kith_err wait_ready(struct kith_client *client,
                                const struct kith_client_options *options, struct kith_error *error)
{
    struct request *done = NULL;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
    uint64_t end_ms = kith_mono_ms() + client->connect_timeout_ms;
    uint64_t until_ms = end_ms;
    enum kith_err err = KITH_OK;
    (void)pthread_mutex_lock(&client->lock);
    if (step(client, &event, &done) != KITH_OK) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    while (err == KITH_OK && !kith_client_core_ready(client->core) && kith_mono_ms() < until_ms) {
        struct timespec until = timespec_of(until_ms);
        (void)pthread_cond_timedwait(&client->changed, &client->lock, &until);
        uint64_t since_ms = kith_client_core_turned_down(client->core);
        bool nobody = client->turned_down_ms > 0 && since_ms != NEVER;
        until_ms = nobody && since_ms + client->turned_down_ms < end_ms
                       ? since_ms + client->turned_down_ms
                       : end_ms;
    }
    if (err == KITH_OK && !kith_client_core_ready(client->core)) {
        err = unreachable(client, options, until_ms < end_ms, error);
    }
    (void)pthread_mutex_unlock(&client->lock);
    return err;
}

enum kith_err kith_client_open(const struct kith_client_options *options,
                               struct kith_client **ret_client, struct kith_error *error)
{
    struct kith_client *client = kith_calloc(1, sizeof(*client));
    if (client == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    sync_init(client);
    client->connect_timeout_ms =
        options->connect_timeout_ms != 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    client->turned_down_ms = options->turned_down_ms;
    enum kith_err err = start(client, options, error);
    if (err == KITH_OK) {
        err = wait_ready(client, options, error);
    }
    if (err != KITH_OK) {
        kith_client_close(client);
        return err;
    }
    *ret_client = client;
    return KITH_OK;
}

static void cancel_all(struct kith_client *client)
{
    struct request *done = NULL;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_CANCEL, .all = true};
    (void)pthread_mutex_lock(&client->lock);
    client->closing = true;
    while (kith_client_core_pending(client->core) > 0 && step(client, &event, &done) != KITH_OK) {
        kith_log_warn("client", "closing waits for memory");
    }
    call_back(client, done);
    (void)pthread_mutex_lock(&client->lock);
    while (client->calling > 0) {
        (void)pthread_cond_wait(&client->changed, &client->lock);
    }
    (void)pthread_mutex_unlock(&client->lock);
}

/* Copies that nobody sends any more are brought by the owners' comparison, which may be an hour away. */
static void linger(struct kith_client *client)
{
    struct timespec until = timespec_of(kith_mono_ms() + CLOSE_LINGER_MS);
    int late = 0;
    (void)pthread_mutex_lock(&client->lock);
    client->closing = true;
    while (late == 0 && kith_client_core_lingering(client->core) > 0) {
        late = pthread_cond_timedwait(&client->changed, &client->lock, &until);
    }
    (void)pthread_mutex_unlock(&client->lock);
}

void kith_client_close(struct kith_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->timer_runs) {
        linger(client);
    }
    if (client->core != NULL) {
        cancel_all(client);
    }
    if (client->timer_runs) {
        (void)pthread_mutex_lock(&client->lock);
        client->timer_runs = false;
        (void)pthread_cond_signal(&client->timer_wake);
        (void)pthread_mutex_unlock(&client->lock);
        (void)pthread_join(client->timer, NULL);
    }
    if (client->rpc != NULL) {
        kith_rpc_free(client->rpc);
    }
    for (uint32_t i = 0; i < CONN_BUCKETS; i++) {
        while (client->by_core[i] != NULL) {
            conn_remove(client, client->by_core[i]);
        }
    }
    kith_client_core_free(client->core);
    while (client->watches != NULL) {
        struct kith_watch *watch = client->watches;
        client->watches = watch->next;
        kith_free(watch);
    }
    (void)pthread_cond_destroy(&client->timer_wake);
    (void)pthread_cond_destroy(&client->changed);
    (void)pthread_cond_destroy(&client->quiet);
    (void)pthread_mutex_destroy(&client->lock);
    kith_free(client);
}

/* ---- Requests ---- */

void kith_client_hard(struct kith_client *client, bool hard)
{
    struct request *done = NULL;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
    (void)pthread_mutex_lock(&client->lock);
    kith_client_core_hard(client->core, hard);
    if (step(client, &event, &done) != KITH_OK) {
        kith_log_warn("client", "a tick was lost: out of memory");
    }
    call_back(client, done);
}

enum kith_err kith_client_submit(struct kith_client *client, const struct kith_client_op *op,
                                 kith_client_cb cb, void *arg)
{
    struct request *request = kith_malloc(sizeof(*request));
    if (request == NULL) {
        return KITH_ENOMEM;
    }
    request->cb = cb;
    request->arg = arg;
    struct request *done = NULL;
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_SUBMIT, .op = op, .tag = (uint64_t)(uintptr_t)request};
    (void)pthread_mutex_lock(&client->lock);
    enum kith_err err = client->closing ? KITH_ECANCELED : step(client, &event, &done);
    call_back(client, done);
    if (err != KITH_OK) {
        kith_free(request);
    }
    return err;
}

struct kith_chunk_id kith_client_chunk_id(struct kith_client *client, uint32_t volume)
{
    (void)client; /* ids need no state: their random bits are the system's */
    struct timespec now;
    uint8_t random[10];
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    random_fill(random, sizeof(random));
    return kith_chunk_id_make(volume, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                              random);
}

struct kith_request_id kith_client_request_id(struct kith_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    struct kith_request_id request = kith_client_core_request_id(client->core);
    (void)pthread_mutex_unlock(&client->lock);
    return request;
}

bool kith_client_writable(struct kith_client *client, const struct kith_group *group)
{
    (void)pthread_mutex_lock(&client->lock);
    bool writable = kith_client_core_writable(client->core, group);
    (void)pthread_mutex_unlock(&client->lock);
    return writable;
}

struct kith_table *kith_client_table(struct kith_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    struct kith_table *table = kith_table_hold(kith_client_core_table(client->core));
    (void)pthread_mutex_unlock(&client->lock);
    return table;
}

struct kith_uuid kith_client_cluster(struct kith_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    struct kith_uuid cluster = kith_client_core_table(client->core)->cluster;
    (void)pthread_mutex_unlock(&client->lock);
    return cluster;
}

enum kith_err kith_client_view(struct kith_client *client, struct kith_arena *arena,
                               struct kith_client_view *ret_view)
{
    (void)pthread_mutex_lock(&client->lock);
    enum kith_err err = kith_client_core_view(client->core, kith_mono_ms(), arena, ret_view);
    (void)pthread_mutex_unlock(&client->lock);
    return err;
}

/* ---- Watches ---- */

struct kith_watch *kith_client_watch(struct kith_client *client, const struct kith_group *group,
                                     kith_client_watch_cb cb, void *arg)
{
    struct kith_watch *watch = kith_calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return NULL;
    }
    watch->cb = cb;
    watch->arg = arg;
    watch->group = *group;
    struct request *done = NULL;
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_WATCH, .group = group, .tag = (uint64_t)(uintptr_t)watch};
    (void)pthread_mutex_lock(&client->lock);
    enum kith_err err = client->closing ? KITH_ECANCELED : step(client, &event, &done);
    if (err == KITH_OK) {
        watch->made_ns = kith_mono_ns(); /* the lock is held: no answer was taken meanwhile */
        watch->next = client->watches;
        if (watch->next != NULL) {
            watch->next->prev = watch;
        }
        client->watches = watch;
    }
    call_back(client, done);
    if (err != KITH_OK) {
        kith_free(watch);
        return NULL;
    }
    return watch;
}

void kith_client_unwatch(struct kith_client *client, struct kith_watch *watch)
{
    struct request *done = NULL;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_UNWATCH,
                                      .group = &watch->group,
                                      .tag = (uint64_t)(uintptr_t)watch};
    (void)pthread_mutex_lock(&client->lock);
    if (step(client, &event, &done) != KITH_OK) { /* ended all the same: that takes no memory */
        kith_log_warn("client", "out of memory");
    }
    if (watch->next != NULL) {
        watch->next->prev = watch->prev;
    }
    if (watch->prev != NULL) {
        watch->prev->next = watch->next;
    } else {
        client->watches = watch->next;
    }
    call_back(client, done);
    (void)pthread_mutex_lock(&client->lock);
    while (watch->calling) {
        (void)pthread_cond_wait(&client->quiet, &client->lock);
    }
    (void)pthread_mutex_unlock(&client->lock);
    kith_free(watch);
}

uint64_t kith_watch_epoch(const struct kith_watch *watch)
{
    return kith_epoch_at(&watch->epoch, kith_mono_ms());
}

uint64_t kith_watch_since(const struct kith_watch *watch, uint64_t epoch)
{
    return epoch == 1 ? atomic_load_explicit(&watch->since_ns, memory_order_acquire) : 0;
}
