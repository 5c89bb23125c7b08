/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_ask.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl/ask/greeting.h"

#define NODES_MAX  KITH_MEMBERS_MAX
#define SHUNNED_MS 5000u /* who could not be reached is not asked again for so long */

struct asked_node {
    char address[KITH_ADDRESS_SIZE];
    uint64_t conn;
    bool open, ready; /* ready: the stream is there */
    uint64_t shunned_ms; /* until then */
    struct kith_error error;
};

struct kith_backup_asker {
    struct kith_rpc *rpc;
    struct kith_uuid self;
    uint64_t last_id;
    /* Recursive: connect, send and close may run `closed` on the spot, in their caller's thread. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock: */
    struct asked_node *nodes;
    uint32_t count;
    struct asked_node *node; /* that is asked; NULL: nobody is */
    const struct kith_msg *question;
    struct kith_msg_box *box;
    bool failed; /* node->error says why */
};

/* With the lock held. */
static struct asked_node *node_of(struct kith_backup_asker *asker, uint64_t conn)
{
    for (uint32_t i = 0; i < asker->count; i++) {
        if (asker->nodes[i].open && asker->nodes[i].conn == conn) {
            return &asker->nodes[i];
        }
    }
    return NULL;
}

static void fail(struct kith_backup_asker *asker, struct asked_node *node,
                 const struct kith_error *why)
{
    if (asker->node == node && !asker->failed && !asker->box) {
        node->error = *why;
        asker->failed = true;
        pthread_cond_signal(&asker->changed);
    }
}

static void fail_text(struct kith_backup_asker *asker, struct asked_node *node, enum kith_err err,
                      const char *text)
{
    struct kith_error why;
    (void)kith_error_set(&why, err, "%s: %s", node->address, text);
    fail(asker, node, &why);
}

static void on_opened(void *arg, uint64_t conn)
{
    struct kith_backup_asker *asker = arg;
    pthread_mutex_lock(&asker->lock);
    struct asked_node *node = node_of(asker, conn);
    enum kith_err err = KITH_OK;
    if (node) {
        node->ready = true;
        err = kith_greeting_send(asker->rpc, conn, &asker->self);
    }
    if (node && err == KITH_OK && asker->node == node) {
        err = kith_rpc_send(asker->rpc, conn, asker->question);
    }
    if (err != KITH_OK) {
        fail_text(asker, node, err, kith_err_text((int)err));
    }
    pthread_mutex_unlock(&asker->lock);
}

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct kith_backup_asker *asker = arg;
    pthread_mutex_lock(&asker->lock);
    struct asked_node *node = node_of(asker, conn);
    struct kith_error refusal;
    if (node && kith_greeting_is(&box->msg, node->address, &refusal)) {
        if (refusal.code != KITH_OK) {
            fail(asker, node, &refusal);
        }
    } else if (node && node == asker->node && box->msg.id == asker->last_id && !asker->box &&
               !asker->failed) {
        asker->box = kith_msg_box_hold(box);
        pthread_cond_signal(&asker->changed);
    }
    pthread_mutex_unlock(&asker->lock);
    kith_msg_box_drop(box);
}

static void on_closed(void *arg, uint64_t conn, const char *reason)
{
    struct kith_backup_asker *asker = arg;
    pthread_mutex_lock(&asker->lock);
    struct asked_node *node = node_of(asker, conn);
    if (node) {
        node->open = false;
        fail_text(asker, node, KITH_EUNREACH, reason);
        pthread_cond_signal(&asker->changed);
    }
    pthread_mutex_unlock(&asker->lock);
}

static void sync_init(struct kith_backup_asker *asker)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&asker->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_cond_init(&asker->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum kith_err kith_backup_asker_new(struct kith_backup_asker **ret_asker, struct kith_error *error)
{
    struct kith_backup_asker *asker = kith_calloc(1, sizeof *asker);
    struct asked_node *nodes = kith_calloc(NODES_MAX, sizeof *nodes);
    if (!asker || !nodes) {
        kith_free(asker);
        kith_free(nodes);
        return kith_error_set(error, KITH_ENOMEM, "no memory for connections");
    }
    asker->nodes = nodes;
    sync_init(asker);
    struct kith_rpc_handlers handlers;
    memset(&handlers, 0, sizeof handlers);
    handlers.arg = asker;
    handlers.opened = on_opened;
    handlers.message = on_message;
    handlers.closed = on_closed;
    enum kith_err err = kith_greeting_rpc(&handlers, &asker->rpc, &asker->self, error);
    asker->rpc = err == KITH_OK ? asker->rpc : NULL;
    if (err != KITH_OK) {
        kith_backup_asker_free(asker);
        return err;
    }
    *ret_asker = asker;
    return KITH_OK;
}

void kith_backup_asker_free(struct kith_backup_asker *asker)
{
    if (!asker) {
        return;
    }
    if (asker->rpc) {
        kith_rpc_free(asker->rpc); /* closes all, and waits for it */
    }
    pthread_cond_destroy(&asker->changed);
    pthread_mutex_destroy(&asker->lock);
    kith_free(asker->nodes);
    kith_free(asker);
}

/* With the lock held; NULL: there are too many. */
static struct asked_node *node_at(struct kith_backup_asker *asker, const char *address)
{
    for (uint32_t i = 0; i < asker->count; i++) {
        if (strcmp(asker->nodes[i].address, address) == 0) {
            return &asker->nodes[i];
        }
    }
    if (asker->count == NODES_MAX || strlen(address) >= KITH_ADDRESS_SIZE) {
        return NULL;
    }
    struct asked_node *node = &asker->nodes[asker->count++];
    (void)strncpy(node->address, address, sizeof node->address - 1);
    return node;
}

/* With the lock held: the question is on its way, or has failed. */
static void begin(struct kith_backup_asker *asker, struct asked_node *node)
{
    if (node->open && !node->ready) {
        return; /* it is sent when the stream is there */
    }
    if (node->open) {
        enum kith_err err = kith_rpc_send(asker->rpc, node->conn, asker->question);
        if (err != KITH_OK) {
            fail_text(asker, node, KITH_EUNREACH, kith_err_text((int)err));
        }
        return;
    }
    node->open = true;
    node->ready = false;
    if (kith_rpc_connect(asker->rpc, node->address, KITH_RPC_ROWS, &node->conn, &node->error) !=
        KITH_OK) {
        node->open = false;
        asker->failed = true;
    }
}

enum kith_err kith_backup_ask(struct kith_backup_asker *asker, const char *address,
                              const struct kith_msg *question, uint32_t timeout_ms,
                              struct kith_msg_box **ret_box, struct kith_error *error)
{
    struct kith_msg numbered = *question;
    uint64_t until = kith_mono_ms() + timeout_ms;
    struct timespec deadline = {(time_t)(until / 1000), (long)(until % 1000) * 1000000};
    pthread_mutex_lock(&asker->lock);
    struct asked_node *node = node_at(asker, address);
    enum kith_err err = KITH_OK;
    if (!node) {
        err = kith_error_set(error, KITH_ELIMIT, "%s: too many nodes", address);
    } else if (kith_mono_ms() < node->shunned_ms) {
        *error = node->error;
        err = error->code;
    } else {
        int waited = 0;
        numbered.id = ++asker->last_id;
        asker->node = node;
        asker->question = &numbered;
        asker->failed = false;
        begin(asker, node);
        while (!asker->box && !asker->failed && waited != ETIMEDOUT) {
            waited = pthread_cond_timedwait(&asker->changed, &asker->lock, &deadline);
        }
        if (!asker->box && !asker->failed) {
            (void)kith_error_set(&node->error, KITH_ETIMEOUT, "%s: no answer within %u ms", address,
                                 timeout_ms);
            asker->failed = true;
        }
        if (asker->failed) {
            *error = node->error;
            err = error->code;
            node->shunned_ms = kith_mono_ms() + SHUNNED_MS;
        } else {
            *ret_box = asker->box;
        }
        asker->box = NULL;
        asker->node = NULL;
    }
    pthread_mutex_unlock(&asker->lock);
    return err;
}
