/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon.c - the core's thread: events in, effects out. It also waits for the network and reads
 * from it (kith_rpc_drive): a message costs no change of thread on its way to the core and back. */
#include "shell/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/assert.h"
#include "base/log.h"
#include "shell/daemon_int.h"

#define STOP_MS        2000u /* what is under way may take so long when the daemon ends */
#define STALL_RETRY_MS 10u   /* a completion that the core could not take is given again then */
#define LEND_TURNS     4u    /* then look at the network again */
#define TICK_EVENTS    64u   /* look at the deadline at least after so many events */

/* ---- Clock and randomness ---- */

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void daemon_random(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0) {
            KITH_ASSERT(errno == EINTR); /* nothing else can happen on Linux since 3.17 */
            continue;
        }
        at += got;
        size -= (size_t)got;
    }
}

static uint64_t next_random(struct daemon *daemon)
{
    if (daemon->random_at == DAEMON_RANDOM_COUNT) {
        daemon_random(daemon->random, sizeof daemon->random);
        daemon->random_at = 0;
    }
    return daemon->random[daemon->random_at++];
}

/* ---- Effects ---- */

/* A completion that the store will not give; handled after the step that asked. */
static void complete_here(struct daemon *daemon, const struct kith_store_op *op, enum kith_err err)
{
    if (daemon->own_count == daemon->own_capacity) {
        uint32_t capacity = daemon->own_capacity == 0 ? 16u : 2u * daemon->own_capacity;
        struct kith_store_done *own = kith_realloc(daemon->own, capacity * sizeof *own);
        if (own == NULL) { /* the request ends at its deadline */
            kith_log_error("kithd", "out of memory");
            return;
        }
        daemon->own = own;
        daemon->own_capacity = capacity;
    }
    struct kith_store_done *done = &daemon->own[daemon->own_count++];
    memset(done, 0, sizeof *done);
    done->id = op->id;
    done->err = err;
    done->message =
        err == KITH_ELIMIT ? "this node has too much to store; try again" : kith_err_text((int)err);
}

static void do_store(struct daemon *daemon, const struct kith_store_op *op,
                     struct kith_msg_box *box)
{
    uint64_t bulk = 0;
    enum kith_err err = KITH_OK;
    if (op->kind == KITH_STORE_CHUNK_PUT) {
        bulk = op->u.chunk_put.payload->size;
        if (daemon->bulk_bytes + bulk > KITH_BULK_BYTES_MAX) {
            err = KITH_ELIMIT;
        }
    }
    if (err == KITH_OK && daemon->store_running) {
        err = kith_store_submit(daemon->store, op, box);
    } else if (err == KITH_OK) {
        err = KITH_ECLOSED;
    }
    if (err != KITH_OK) {
        complete_here(daemon, op, err);
        return;
    }
    daemon->ops_out++;
    daemon->bulk_bytes += bulk;
}

/* The transport's number of a connection of the core; 0 when there is none. */
static uint64_t rpc_conn(struct daemon *daemon, uint64_t conn)
{
    uint64_t found = 0;
    if (conn < KITH_CONN_CORE_BASE) {
        return conn;
    }
    return kith_conn_map_get(&daemon->to_rpc, conn, &found) ? found : 0;
}

static void do_send(struct daemon *daemon, const struct kith_effect *effect)
{
    if (effect->conn == DAEMON_DOOR_CONN) {
        daemon_ask_answer(daemon, effect->msg);
        return;
    }
    uint64_t conn = rpc_conn(daemon, effect->conn);
    if (conn == 0) {
        return;
    }
    struct kith_msg room;
    const struct kith_msg *msg = daemon_metrics_goes(daemon, conn, effect->msg, &room);
    enum kith_err err = kith_rpc_send(daemon->rpc, conn, msg);
    if (err == KITH_ELIMIT) { /* it does not read: a stream with a hole in it is worth nothing */
        kith_rpc_close(daemon->rpc, conn, "too much unread");
    } else if (err != KITH_OK && err != KITH_ECLOSED) {
        kith_log_warn("kithd", "a %s could not be sent: %s", kith_msg_kind_name(effect->msg->kind),
                      kith_err_text((int)err));
        if (effect->msg->kind == KITH_MSG_WATCH_EVENT) { /* nobody would ask for it again */
            kith_rpc_close(daemon->rpc, conn, "a change could not be told");
        }
    }
}

static void do_connect(struct daemon *daemon, const struct kith_effect *effect)
{
    struct kith_error error = {KITH_OK, ""};
    uint64_t conn = 0;
    enum kith_err err =
        kith_rpc_connect(daemon->rpc, effect->address,
                         effect->cls == KITH_CONN_BULK ? KITH_RPC_BULK : KITH_RPC_ROWS, &conn,
                         &error);
    if (err == KITH_OK) {
        err = kith_conn_map_put(&daemon->to_rpc, effect->conn, conn);
        if (err == KITH_OK) {
            err = kith_conn_map_put(&daemon->to_core, conn, effect->conn);
        }
        if (err != KITH_OK) {
            kith_conn_map_remove(&daemon->to_rpc, effect->conn);
            kith_rpc_close(daemon->rpc, conn, "out of memory");
        }
    }
    if (err != KITH_OK) {
        kith_log_debug("kithd", "connect to %s: %s", effect->address, error.message);
        daemon_put(daemon, KITH_INBOX_CLOSED, effect->conn, NULL);
    }
}

static void do_close(struct daemon *daemon, const struct kith_effect *effect)
{
    if (effect->conn == DAEMON_DOOR_CONN) {
        daemon->door_accepted = false;
        daemon_asks_end(daemon, effect->reason == NULL ? "" : effect->reason);
        return;
    }
    uint64_t conn = rpc_conn(daemon, effect->conn);
    if (conn == 0) {
        return;
    }
    kith_log_debug("kithd", "connection %" PRIu64 " closed: %s", conn,
                   effect->reason == NULL ? "" : effect->reason);
    kith_rpc_close(daemon->rpc, conn, effect->reason == NULL ? "" : effect->reason);
    if (effect->conn >= KITH_CONN_CORE_BASE) {
        /* what still comes from it belongs to nobody; the entry goes with its `closed` */
        kith_conn_map_remove(&daemon->to_rpc, effect->conn);
        if (kith_conn_map_put(&daemon->to_core, conn, 0) != KITH_OK) {
            KITH_ASSERT(false); /* replacing a value takes no memory */
        }
    }
}

static void do_ready(struct daemon *daemon)
{
    enum kith_err err = kith_store_configure(daemon->store, kith_node_secret(daemon->node),
                                             kith_node_partitions(daemon->node));
    if (err != KITH_OK) {
        kith_error_set(&daemon->error, KITH_ECLUSTER,
                       "%s: the store belongs to another cluster than "
                       "the node's record says (%s); put both back from one backup",
                       daemon->options->data, kith_err_text((int)err));
        daemon->stopping = true;
        return;
    }
    kith_log_info("kithd", "serving on %s", daemon->address);
    kith_supervisor_say("Serving on %s", daemon->address);
    atomic_store(&daemon->ready, true);
}

static void do_effects(struct daemon *daemon, const struct kith_effects *effects,
                       struct kith_msg_box *box)
{
    daemon->deadline_ms = effects->deadline_ms;
    for (uint32_t i = 0; i < effects->count; i++) {
        const struct kith_effect *effect = &effects->effects[i];
        switch (effect->kind) {
        case KITH_EFFECT_SEND:
            do_send(daemon, effect);
            break;
        case KITH_EFFECT_CONNECT:
            do_connect(daemon, effect);
            break;
        case KITH_EFFECT_CLOSE:
            do_close(daemon, effect);
            break;
        case KITH_EFFECT_STORE:
            do_store(daemon, effect->op, box);
            break;
        case KITH_EFFECT_LOG:
            kith_log((enum kith_log_level)effect->level, "node", "%s", effect->text);
            break;
        case KITH_EFFECT_READY:
            do_ready(daemon);
            break;
        }
    }
}

/* ---- Events ---- */

static enum kith_err step_once(struct daemon *daemon, struct kith_event *event,
                               struct kith_msg_box *box)
{
    struct kith_effects effects;
    event->mono_ms = clock_ms(CLOCK_MONOTONIC);
    event->wall_ms = clock_ms(CLOCK_REALTIME);
    event->random = next_random(daemon);
    enum kith_err err = kith_node_step(daemon->node, event, &effects);
    if (err == KITH_OK) {
        do_effects(daemon, &effects, box);
    }
    return err;
}

/* One step, and those that follow from completions made here. */
static enum kith_err step(struct daemon *daemon, struct kith_event *event, struct kith_msg_box *box)
{
    enum kith_err err = step_once(daemon, event, box);
    while (daemon->own_count > 0) {
        struct kith_store_done done = daemon->own[--daemon->own_count];
        struct kith_event own = {.kind = KITH_EVENT_STORED, .done = &done};
        enum kith_err own_err = step_once(daemon, &own, NULL);
        if (own_err != KITH_OK) { /* the request ends at its deadline */
            kith_log_error("kithd", "a completion was not taken: %s", kith_err_text((int)own_err));
        }
    }
    return err;
}

static void on_message(struct daemon *daemon, uint64_t rpc, struct kith_msg_box *box)
{
    uint64_t conn = rpc;
    uint64_t core = 0;
    if (kith_conn_map_get(&daemon->to_core, rpc, &core)) {
        conn = core;
    }
    if (conn != 0) {
        struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = &box->msg};
        enum kith_err err = step(daemon, &event, box);
        if (err != KITH_OK) {
            kith_log_warn("kithd", "a %s was not taken: %s", kith_msg_kind_name(box->msg.kind),
                          kith_err_text((int)err));
            kith_rpc_close(daemon->rpc, rpc, kith_err_text((int)err));
        }
    }
    kith_msg_box_drop(box);
}

/* OPENED and CLOSED of one that the core asked for, ACCEPTED and CLOSED of others. */
static void on_connection(struct daemon *daemon, enum kith_event_kind kind, uint64_t rpc,
                          enum kith_conn_class cls)
{
    uint64_t conn = rpc;
    uint64_t core = 0;
    if (kith_conn_map_get(&daemon->to_core, rpc, &core)) {
        conn = core;
        if (kind == KITH_EVENT_CLOSED) {
            kith_conn_map_remove(&daemon->to_core, rpc);
            kith_conn_map_remove(&daemon->to_rpc, core);
        }
    }
    if (conn == 0) {
        return; /* the core has closed it */
    }
    struct kith_event event = {.kind = kind, .conn = conn, .cls = cls};
    enum kith_err err = step(daemon, &event, NULL);
    if (err != KITH_OK && kind != KITH_EVENT_CLOSED) {
        kith_rpc_close(daemon->rpc, rpc, kith_err_text((int)err));
    }
}

/* Gives completions to the core, one after the other; false when it could not take one now. */
static bool feed_results(struct daemon *daemon)
{
    while (daemon->stalled != NULL) {
        struct kith_store_results *results = daemon->stalled;
        while (daemon->stalled_at < results->count) {
            const struct kith_store_done *done = &results->dones[daemon->stalled_at];
            struct kith_event event = {.kind = KITH_EVENT_STORED, .done = done};
            enum kith_err err = step(daemon, &event, NULL);
            if (err != KITH_OK) {
                return false;
            }
            daemon->stalled_at++;
        }
        daemon->stalled = results->next;
        daemon->stalled_at = 0;
        if (daemon->stalled == NULL) {
            daemon->stalled_end = &daemon->stalled;
        }
        daemon->bulk_bytes -= kith_store_results_bulk(results);
        daemon->ops_out -= kith_store_results_ended(results);
        kith_store_results_free(results);
    }
    return true;
}

static void on_results(struct daemon *daemon, struct kith_store_results *results)
{
    results->next = NULL;
    *daemon->stalled_end = results;
    daemon->stalled_end = &results->next;
    (void)feed_results(daemon); /* where it cannot go on now, the loop tries again */
}

/* The door's own connection: opened like any client's, at the first question. */
static void on_ask(struct daemon *daemon, struct door_ask *ask)
{
    if (!daemon->door_accepted) {
        struct kith_msg hello = {.kind = KITH_MSG_HELLO};
        hello.u.hello.protocol = kith_protocol_ours();
        hello.u.hello.role = KITH_ROLE_CLIENT;
        daemon_random(&hello.u.hello.node, sizeof hello.u.hello.node);
        hello.u.hello.address = "";
        hello.u.hello.software = "door";
        struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = DAEMON_DOOR_CONN};
        struct kith_event event = {
            .kind = KITH_EVENT_MESSAGE, .conn = DAEMON_DOOR_CONN, .msg = &hello};
        daemon->door_accepted = true;
        if (step(daemon, &accepted, NULL) != KITH_OK || step(daemon, &event, NULL) != KITH_OK) {
            kith_log_warn("kithd", "short of memory: the door waits");
        }
    }
    struct kith_msg_box *box = daemon_ask_begin(daemon, ask);
    struct kith_event event = {
        .kind = KITH_EVENT_MESSAGE, .conn = DAEMON_DOOR_CONN, .msg = &box->msg};
    enum kith_err err = step(daemon, &event, box);
    if (err != KITH_OK) {
        daemon_asks_end(daemon, kith_err_text((int)err));
    }
    kith_msg_box_drop(box);
}

static void on_item(struct daemon *daemon, const struct kith_inbox_item *item)
{
    switch (item->kind) {
    case KITH_INBOX_ACCEPTED:
        on_connection(daemon, KITH_EVENT_ACCEPTED, item->conn, KITH_CONN_ROWS);
        break;
    case KITH_INBOX_ACCEPTED_BULK:
        on_connection(daemon, KITH_EVENT_ACCEPTED, item->conn, KITH_CONN_BULK);
        break;
    case KITH_INBOX_OPENED:
        on_connection(daemon, KITH_EVENT_OPENED, item->conn, KITH_CONN_ROWS);
        break;
    case KITH_INBOX_CLOSED:
        on_connection(daemon, KITH_EVENT_CLOSED, item->conn, KITH_CONN_ROWS);
        break;
    case KITH_INBOX_MESSAGE:
        on_message(daemon, item->conn, item->pointer);
        break;
    case KITH_INBOX_STORED:
        on_results(daemon, item->pointer);
        break;
    case KITH_INBOX_ASK:
        on_ask(daemon, item->pointer);
        break;
    case KITH_INBOX_STOP:
        daemon->stopping = true;
        break;
    case KITH_INBOX_FATAL:
        daemon->stopping = true;
        kith_error_set(&daemon->error, KITH_EIO, "%s", daemon->fatal_message);
        break;
    }
}

static void tick(struct daemon *daemon)
{
    struct kith_event event = {.kind = KITH_EVENT_TICK};
    enum kith_err err = step(daemon, &event, NULL);
    if (err != KITH_OK) {
        daemon->deadline_ms = clock_ms(CLOCK_MONOTONIC) + STALL_RETRY_MS;
    }
}

/* What is in the inbox, in one batch: messages leave together, the store is called once. */
static void run_inbox(struct daemon *daemon)
{
    const struct kith_inbox_item *items;
    uint32_t count = kith_inbox_take(&daemon->inbox, &items);
    kith_rpc_cork(daemon->rpc);
    if (!feed_results(daemon)) {
        kith_log_warn("kithd", "short of memory: completions wait");
    }
    for (uint32_t i = 0; i < count; i++) {
        on_item(daemon, &items[i]);
        if (i % TICK_EVENTS == TICK_EVENTS - 1u) {
            if (clock_ms(CLOCK_MONOTONIC) >= daemon->deadline_ms) {
                tick(daemon);
            }
            /* let both sides begin while the rest is worked on */
            kith_rpc_uncork(daemon->rpc);
            kith_store_kick(daemon->store);
            kith_rpc_cork(daemon->rpc);
        }
    }
    if (clock_ms(CLOCK_MONOTONIC) >= daemon->deadline_ms) {
        tick(daemon);
    }
    kith_rpc_uncork(daemon->rpc);
}

/* What the network and others have brought; and what comes of it at once, where the store needs no
 * other thread for it. */
static void run_batch(struct daemon *daemon, uint64_t until_ms)
{
    kith_rpc_drive(daemon->rpc, kith_inbox_sleep(&daemon->inbox) ? until_ms : 0);
    run_inbox(daemon);
    for (uint32_t i = 0; i < LEND_TURNS && kith_store_lend(daemon->store); i++) {
        run_inbox(daemon);
    }
    kith_store_kick(daemon->store); /* what the last turn has brought */
}

void daemon_loop(struct daemon *daemon)
{
    daemon->deadline_ms = 0; /* the first step is a TICK */
    while (!daemon->stopping) {
        uint64_t now = clock_ms(CLOCK_MONOTONIC);
        uint64_t fed = kith_supervisor_turn(&daemon->supervisor, now);
        uint64_t until = fed < daemon->deadline_ms ? fed : daemon->deadline_ms;
        if (daemon->stalled != NULL) {
            until = now + STALL_RETRY_MS < until ? now + STALL_RETRY_MS : until;
        }
        run_batch(daemon, until);
    }
}

void daemon_drain(struct daemon *daemon)
{
    uint64_t end = clock_ms(CLOCK_MONOTONIC) + STOP_MS;
    while (daemon->ops_out > 0 && clock_ms(CLOCK_MONOTONIC) < end) {
        run_batch(daemon, end < daemon->deadline_ms ? end : daemon->deadline_ms);
    }
    daemon->store_running = false;
    kith_store_stop(daemon->store);
    run_batch(daemon, 0); /* the answers that its last completions make */
}

void daemon_discard_item(struct daemon *daemon, const struct kith_inbox_item *item)
{
    (void)daemon;
    if (item->kind == KITH_INBOX_MESSAGE) {
        kith_msg_box_drop(item->pointer);
    } else if (item->kind == KITH_INBOX_STORED) {
        kith_store_results_free(item->pointer);
    } else if (item->kind == KITH_INBOX_ASK) {
        daemon_ask_discard(item->pointer);
    }
}

void daemon_discard(struct daemon *daemon)
{
    const struct kith_inbox_item *items;
    uint32_t count;
    while ((count = kith_inbox_take(&daemon->inbox, &items)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            daemon_discard_item(daemon, &items[i]);
        }
    }
    while (daemon->stalled != NULL) {
        struct kith_store_results *results = daemon->stalled;
        daemon->stalled = results->next;
        kith_store_results_free(results);
    }
    daemon->stalled_end = &daemon->stalled;
}
