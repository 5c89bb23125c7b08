/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * inbox.h - what waits for the core's thread: many threads put, one takes all there is.
 *
 * The taker waits elsewhere (for the network): before, it says so with kith_inbox_sleep, and the
 * first who puts then calls `wake`. Messages are bounded (KITH_INBOX_MAX); completions,
 * ends of connections and orders are always taken, since each belongs to something bounded
 * elsewhere. */
#ifndef KITH_SHELL_INBOX_H
#define KITH_SHELL_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define KITH_INBOX_MAX                                                                             \
    65536u /* eight times what the core takes (KITH_PENDING_MAX): it answers the rest */

enum kith_inbox_kind {
    KITH_INBOX_ACCEPTED = 1,
    KITH_INBOX_ACCEPTED_BULK,
    KITH_INBOX_OPENED,
    KITH_INBOX_CLOSED,
    KITH_INBOX_MESSAGE, /* pointer: struct kith_msg_box */
    KITH_INBOX_STORED,  /* pointer: struct kith_store_results */
    KITH_INBOX_ASK,     /* pointer: struct door_ask */
    KITH_INBOX_STOP,    /* end in order */
    KITH_INBOX_FATAL,   /* end in order, the store has failed */
};

struct kith_inbox_item {
    enum kith_inbox_kind kind;
    uint64_t conn;
    void *pointer;
};

struct kith_inbox {
    void (*wake)(void *arg); /* on the putter's thread, without the lock */
    void *arg;
    pthread_mutex_t lock;
    struct kith_inbox_item *items; /* protected by lock, like all below */
    uint32_t count, capacity;
    bool sleeping;
    struct kith_inbox_item *taken; /* the taker's: what it works on, swapped with items */
    uint32_t taken_capacity;
};

KITH_MUST_CHECK enum kith_err kith_inbox_init(struct kith_inbox *inbox, void (*wake)(void *arg),
                                              void *arg);
void kith_inbox_release(struct kith_inbox *inbox);
/* ELIMIT for a message beyond the bound; ENOMEM. Any thread. */
KITH_MUST_CHECK enum kith_err kith_inbox_put(struct kith_inbox *inbox, enum kith_inbox_kind kind,
                                             uint64_t conn, void *pointer);
/* Gives all there is, valid until the next take; the taker is awake. The taker's thread. */
uint32_t kith_inbox_take(struct kith_inbox *inbox, const struct kith_inbox_item **ret_items);
/* Whether the taker may wait: there is nothing, and the next put will wake it, once. */
KITH_MUST_CHECK bool kith_inbox_sleep(struct kith_inbox *inbox);

#endif
