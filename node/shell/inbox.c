/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * inbox.c - see inbox.h. */
#include "shell/inbox.h"

#include "base/alloc.h"

enum kith_err kith_inbox_init(struct kith_inbox *inbox, void (*wake)(void *arg), void *arg)
{
    *inbox = (struct kith_inbox){.wake = wake, .arg = arg};
    return pthread_mutex_init(&inbox->lock, NULL) == 0 ? KITH_OK : KITH_ENOMEM;
}

void kith_inbox_release(struct kith_inbox *inbox)
{
    kith_free(inbox->items);
    kith_free(inbox->taken);
    pthread_mutex_destroy(&inbox->lock);
}

/* Room for one more; lock held. */
static enum kith_err make_room(struct kith_inbox *inbox, enum kith_inbox_kind kind)
{
    if (kind == KITH_INBOX_MESSAGE && inbox->count >= KITH_INBOX_MAX) {
        return KITH_ELIMIT;
    }
    if (inbox->count < inbox->capacity) {
        return KITH_OK;
    }
    uint32_t capacity = inbox->capacity == 0 ? 256u : 2u * inbox->capacity;
    struct kith_inbox_item *items = kith_realloc(inbox->items, capacity * sizeof *items);
    if (items == NULL) {
        return KITH_ENOMEM;
    }
    inbox->items = items;
    inbox->capacity = capacity;
    return KITH_OK;
}

enum kith_err kith_inbox_put(struct kith_inbox *inbox, enum kith_inbox_kind kind, uint64_t conn,
                             void *pointer)
{
    pthread_mutex_lock(&inbox->lock);
    enum kith_err err = make_room(inbox, kind);
    if (err == KITH_OK) {
        inbox->items[inbox->count++] =
            (struct kith_inbox_item){.kind = kind, .conn = conn, .pointer = pointer};
    }
    bool wake = inbox->sleeping;
    inbox->sleeping = false; /* one wake-up is enough */
    pthread_mutex_unlock(&inbox->lock);
    if (wake) {
        inbox->wake(inbox->arg);
    }
    return err;
}

uint32_t kith_inbox_take(struct kith_inbox *inbox, const struct kith_inbox_item **ret_items)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->sleeping = false;
    struct kith_inbox_item *items = inbox->items;
    uint32_t count = inbox->count;
    uint32_t capacity = inbox->capacity;
    inbox->items = inbox->taken;
    inbox->capacity = inbox->taken_capacity;
    inbox->count = 0;
    inbox->taken = items;
    inbox->taken_capacity = capacity;
    pthread_mutex_unlock(&inbox->lock);
    *ret_items = items;
    return count;
}

bool kith_inbox_sleep(struct kith_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    bool empty = inbox->count == 0;
    inbox->sleeping = empty;
    pthread_mutex_unlock(&inbox->lock);
    return empty;
}
