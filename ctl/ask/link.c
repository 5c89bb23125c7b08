/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ask/link.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl/ask/greeting.h"

#define QUESTION_ID 1u

struct kith_link {
    struct kith_rpc *rpc;
    struct kith_uuid self;
    /* Recursive: connect, send and close may run `closed` on the spot, in their caller's thread. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock: */
    struct kith_link_ask *asks;
    uint32_t count;
    const struct kith_msg *question;
    uint32_t open_count; /* connections whose `closed` has not come */
};

/* With the lock held. NULL: not of this round. */
static struct kith_link_ask *ask_find(struct kith_link *link, uint64_t conn)
{
    for (uint32_t i = 0; i < link->count; i++) {
        if (link->asks[i].open && link->asks[i].conn == conn) {
            return &link->asks[i];
        }
    }
    return NULL;
}

static void on_opened(void *arg, uint64_t conn)
{
    struct kith_link *link = arg;
    pthread_mutex_lock(&link->lock);
    struct kith_link_ask *ask = ask_find(link, conn);
    if (ask && !ask->done) {
        enum kith_err err = kith_greeting_send(link->rpc, conn, &link->self);
        if (err == KITH_OK) {
            err = kith_rpc_send(link->rpc, conn, link->question);
        }
        if (err != KITH_OK && !ask->done) {
            (void)kith_error_set(&ask->error, err, "%s: cannot send: %s", ask->address,
                                 kith_err_text((int)err));
            ask->done = true;
            pthread_cond_signal(&link->changed);
        }
    }
    pthread_mutex_unlock(&link->lock);
}

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct kith_link *link = arg;
    pthread_mutex_lock(&link->lock);
    struct kith_link_ask *ask = ask_find(link, conn);
    if (ask && !ask->done) {
        struct kith_error refusal;
        if (kith_greeting_is(&box->msg, ask->address, &refusal)) {
            if (refusal.code != KITH_OK) {
                ask->error = refusal;
                ask->done = true;
            }
        } else if (box->msg.id == QUESTION_ID) {
            ask->box = kith_msg_box_hold(box);
            ask->done = true;
        }
        pthread_cond_signal(&link->changed);
    }
    pthread_mutex_unlock(&link->lock);
    kith_msg_box_drop(box);
}

static void on_closed(void *arg, uint64_t conn, const char *reason)
{
    struct kith_link *link = arg;
    pthread_mutex_lock(&link->lock);
    struct kith_link_ask *ask = ask_find(link, conn);
    if (ask) {
        ask->open = false;
        link->open_count--;
        if (!ask->done) {
            (void)kith_error_set(&ask->error, KITH_EUNREACH, "%s: %s", ask->address, reason);
            ask->done = true;
        }
        pthread_cond_signal(&link->changed);
    }
    pthread_mutex_unlock(&link->lock);
}

enum kith_err kith_link_new(struct kith_link **ret_link, struct kith_error *error)
{
    struct kith_link *link = kith_calloc(1, sizeof(*link));
    if (!link) {
        return kith_error_set(error, KITH_ENOMEM, "no memory for a connection");
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&link->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_cond_init(&link->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    struct kith_rpc_handlers handlers;
    memset(&handlers, 0, sizeof(handlers));
    handlers.arg = link;
    handlers.opened = on_opened;
    handlers.message = on_message;
    handlers.closed = on_closed;
    enum kith_err err = kith_greeting_rpc(&handlers, &link->rpc, &link->self, error);
    if (err != KITH_OK) {
        link->rpc = NULL;
        kith_link_free(link);
        return err;
    }
    *ret_link = link;
    return KITH_OK;
}

void kith_link_free(struct kith_link *link)
{
    if (!link) {
        return;
    }
    if (link->rpc) {
        kith_rpc_free(link->rpc);
    }
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->lock);
    kith_free(link);
}

static bool all_done(const struct kith_link *link)
{
    for (uint32_t i = 0; i < link->count; i++) {
        if (!link->asks[i].done) {
            return false;
        }
    }
    return true;
}

static bool any_answered(const struct kith_link *link)
{
    for (uint32_t i = 0; i < link->count; i++) {
        if (link->asks[i].box) {
            return true;
        }
    }
    return false;
}

/* With the lock held. Until all are done; returns how long it would have waited at most, in ms. */
static uint64_t wait_all(struct kith_link *link, uint64_t timeout_ms, uint64_t patience_ms)
{
    uint64_t start = kith_mono_ms();
    bool answered = false;
    int waited = 0;
    while (!all_done(link) && waited != ETIMEDOUT) {
        uint64_t spent = kith_mono_ms() - start;
        if (!answered && any_answered(link)) {
            answered = true;
            timeout_ms = spent + patience_ms < timeout_ms ? spent + patience_ms : timeout_ms;
        }
        uint64_t until = start + timeout_ms;
        struct timespec deadline = {(time_t)(until / 1000), (long)(until % 1000) * 1000000};
        waited = pthread_cond_timedwait(&link->changed, &link->lock, &deadline);
    }
    return timeout_ms;
}

static void connect_all(struct kith_link *link)
{
    for (uint32_t i = 0; i < link->count; i++) {
        struct kith_link_ask *ask = &link->asks[i];
        struct kith_error error;
        ask->box = NULL;
        ask->done = false;
        ask->open = true;
        link->open_count++;
        if (kith_rpc_connect(link->rpc, ask->address, KITH_RPC_ROWS, &ask->conn, &error) !=
            KITH_OK) {
            link->open_count--; /* none was given out: `closed` does not come */
            ask->open = false;
            ask->error = error;
            ask->done = true;
        }
    }
}

void kith_link_ask(struct kith_link *link, struct kith_link_ask *asks, uint32_t count,
                   const struct kith_msg *question, uint64_t timeout_ms, uint64_t patience_ms)
{
    struct kith_msg numbered = *question;
    numbered.id = QUESTION_ID;
    pthread_mutex_lock(&link->lock);
    link->asks = asks;
    link->count = count;
    link->question = &numbered;
    connect_all(link);
    timeout_ms = wait_all(link, timeout_ms, patience_ms);
    for (uint32_t i = 0; i < count; i++) {
        if (!asks[i].done) {
            (void)kith_error_set(&asks[i].error, KITH_ETIMEOUT, "%s: no answer within %llu ms",
                                 asks[i].address, (unsigned long long)timeout_ms);
            asks[i].done = true;
        }
        if (asks[i].open) {
            kith_rpc_close(link->rpc, asks[i].conn, "done");
        }
    }
    while (link->open_count > 0) { /* each connection that was given out is closed once */
        pthread_cond_wait(&link->changed, &link->lock);
    }
    link->count = 0;
    pthread_mutex_unlock(&link->lock);
}
