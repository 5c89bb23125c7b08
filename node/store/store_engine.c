/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_engine.c - what WiredTiger says, and what follows when it gives up. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

static struct kith_store *store_of_handler(WT_EVENT_HANDLER *handler)
{
    return (struct kith_store *)((char *)handler - offsetof(struct kith_store, handler));
}

/* How much an error tells of the cause. */
static int error_rank(int error)
{
    switch (error) {
    case WT_PANIC: /* "the process must exit" */
        return 1;
    case ENOSPC:
    case EDQUOT:
    case EIO:
    case EROFS:
        return 3;
    default:
        return 2; /* "the checkpoint failed" */
    }
}

/* The last one of those that tell most. */
static void remember_message(struct kith_store *store, int error, const char *message)
{
    const char *words = strstr(message, "], "); /* behind the time and the thread */
    pthread_mutex_lock(&store->message_lock);
    if (error_rank(error) >= store->wt_message_rank) {
        store->wt_message_rank = error_rank(error);
        snprintf(store->wt_message, sizeof store->wt_message, "%s",
                 words == NULL ? message : words + 3);
    }
    pthread_mutex_unlock(&store->message_lock);
}

void store_engine_said(struct kith_store *store, char *ret_text)
{
    pthread_mutex_lock(&store->message_lock);
    memcpy(ret_text, store->wt_message, sizeof store->wt_message);
    pthread_mutex_unlock(&store->message_lock);
}

void store_fatal(struct kith_store *store, const char *what, int ret)
{
    atomic_store(&store->failed, true);
    if (atomic_exchange(&store->fatal_told, true)) {
        return;
    }
    char said[sizeof store->wt_message];
    store_engine_said(store, said);
    const char *cause = said[0] != '\0' ? said : wiredtiger_strerror(ret);
    char message[KITH_ERROR_MESSAGE_SIZE];
    bool space = store_space_is_gone(store);
    bool aside = !space && store_aside_note(store);
    if (aside) {
        snprintf(message, sizeof message,
                 "%s: %s; start kithd again: it sets the damaged file aside, and fetches what it "
                 "held from the other owners (%s)",
                 store->wt_path, what, cause);
    } else if (space) {
        snprintf(message, sizeof message,
                 "%s: the disk is full, and %s; free some space there, then start kithd again "
                 "(%s)",
                 store->path, what, cause);
    } else {
        snprintf(message, sizeof message,
                 "%s: %s; check the disk and its free space, then start kithd again (%s)",
                 store->wt_path, what, cause);
    }
    pthread_mutex_lock(&store->message_lock);
    memcpy(store->fatal_message, message, sizeof message);
    store->fatal_space = space;
    pthread_mutex_unlock(&store->message_lock);
    kith_log_error("store", "%s", message);
    if (store_derived_named(said)) {
        (void)store_derived_note(store); /* false: it is there */
    }
    if (atomic_load(&store->opened) && store->options.fatal != NULL) {
        store->options.fatal(store->options.arg, message);
    }
}

enum kith_err store_fail_failed(struct store_worker *worker, struct kith_store_done *done,
                                enum kith_err err)
{
    struct kith_store *store = worker->store;
    char message[KITH_ERROR_MESSAGE_SIZE];
    pthread_mutex_lock(&store->message_lock);
    memcpy(message, store->fatal_message, sizeof message);
    bool space = store->fatal_space;
    pthread_mutex_unlock(&store->message_lock);
    if (message[0] == '\0') { /* another thread is about to say why */
        snprintf(message, sizeof message, "%s: the store has failed; see the log of this node",
                 store->path);
    }
    if (err == KITH_OK) {
        err = space ? KITH_ENOSPC : KITH_EIO;
    }
    return store_fail(worker, done, err, "%s", message);
}

static int on_error(WT_EVENT_HANDLER *handler, WT_SESSION *session, int error, const char *message)
{
    (void)session;
    struct kith_store *store = store_of_handler(handler);
    if (error == WT_PANIC) {
        atomic_store(&store->gave_up, true);
    }
    remember_message(store, error, message);
    store_aside_heard(store, message);
    if (strstr(message, "corrupt_dump") != NULL) { /* a page, byte for byte */
        kith_log_debug("wiredtiger", "%s", message);
        return 0;
    }
    if (atomic_load(&store->opened)) {
        kith_log_error("wiredtiger", "%s", message);
        if (error == WT_PANIC) {
            store_fatal(store, "the storage engine gave up", error);
        }
    }
    return 0;
}

static int on_message(WT_EVENT_HANDLER *handler, WT_SESSION *session, const char *message)
{
    (void)handler;
    (void)session;
    kith_log_debug("wiredtiger", "%s", message);
    return 0;
}

void store_engine_listen(struct kith_store *store)
{
    store->handler.handle_error = on_error;
    store->handler.handle_message = on_message;
}
