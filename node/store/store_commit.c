/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_commit.c - the committer: one sync for all who wait. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_int.h"

int store_committer_init(struct kith_store *store)
{
    struct store_committer *committer = &store->committer;
    committer->waiting_end = &committer->waiting;
    if (pthread_mutex_init(&committer->lock, NULL) != 0 ||
        pthread_cond_init(&committer->wake, NULL) != 0) {
        return ENOMEM;
    }
    return store_session(store, &committer->session);
}

void store_committer_release(struct kith_store *store)
{
    struct store_committer *committer = &store->committer;
    if (committer->waiting_end == NULL) {
        return; /* never prepared */
    }
    for (uint32_t i = 0; i < committer->dirty.count; i++) {
        segment_drop(committer->dirty.segments[i]);
    }
    kith_free(committer->dirty.segments);
    pthread_mutex_destroy(&committer->lock);
    pthread_cond_destroy(&committer->wake);
}

void store_committer_stop(struct store_committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    committer->stop = true;
    pthread_cond_signal(&committer->wake);
    pthread_mutex_unlock(&committer->lock);
}

void store_commit_later(struct kith_store *store, struct store_results *results)
{
    struct store_committer *committer = &store->committer;
    pthread_mutex_lock(&committer->lock);
    bool first = committer->waiting == NULL;
    results->pub.next = NULL;
    *committer->waiting_end = results;
    committer->waiting_end = (struct store_results **)&results->pub.next;
    if (first) {
        pthread_cond_signal(&committer->wake);
    }
    pthread_mutex_unlock(&committer->lock);
}

static bool list_add(struct kith_segment_list *list, struct kith_segment *segment)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 8u : 2u * list->capacity;
        struct kith_segment **segments =
            kith_realloc(list->segments, capacity * sizeof(struct kith_segment *));
        if (segments == NULL) {
            return false;
        }
        list->segments = segments;
        list->capacity = capacity;
    }
    list->segments[list->count++] = segment;
    return true;
}

void store_commit_dirty(struct kith_store *store, struct kith_segment *segment)
{
    struct store_committer *committer = &store->committer;
    pthread_mutex_lock(&committer->lock);
    if (!segment->dirty) {
        if (list_add(&committer->dirty, segment)) {
            segment->dirty = true;
            atomic_fetch_add(&segment->refs, 1);
        } else {
            pthread_mutex_unlock(&committer->lock);
            store_fatal(store, "no memory to note what must be synced", ENOMEM);
            return;
        }
    }
    if (atomic_load(&segment->written) - atomic_load(&segment->synced) > KITH_SEGMENT_DIRTY_MAX) {
        pthread_cond_signal(&committer->wake);
    }
    pthread_mutex_unlock(&committer->lock);
}

static enum kith_err sync_segment(struct kith_store *store, struct kith_segment *segment)
{
    uint64_t written = atomic_load(&segment->written);
    if (fdatasync(segment->fd) != 0 || (!segment->entry_synced && fsync(store->chunks_fd) != 0)) {
        int saved = errno; /* what was not written is lost to the page cache: no later sync tells */
        store_fatal(store, "a chunk segment cannot be synced", saved);
        return store_err(saved);
    }
    segment->entry_synced = true;
    atomic_store(&segment->synced, written);
    return KITH_OK;
}

enum kith_err store_commit_sync(struct kith_store *store)
{
    struct store_committer *committer = &store->committer;
    pthread_mutex_lock(&committer->lock);
    struct kith_segment_list dirty = committer->dirty;
    committer->dirty = (struct kith_segment_list){0, 0, NULL};
    for (uint32_t i = 0; i < dirty.count; i++) {
        dirty.segments[i]->dirty = false;
    }
    pthread_mutex_unlock(&committer->lock);
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; i < dirty.count; i++) {
        enum kith_err one = sync_segment(store, dirty.segments[i]);
        err = err == KITH_OK ? one : err;
        segment_drop(dirty.segments[i]);
    }
    kith_free(dirty.segments);
    if (err == KITH_OK) { /* the index after what it refers to */
        int ret = committer->session->log_flush(committer->session, "sync=on");
        if (ret != 0) {
            store_fatal(store, "the log cannot be flushed to disk", ret);
            err = store_err(ret);
        }
    }
    return err;
}

static void deliver_all(struct store_results *list, enum kith_err err)
{
    while (list != NULL) {
        struct store_results *next = (struct store_results *)list->pub.next;
        for (uint32_t i = 0; i < list->pub.count; i++) {
            struct kith_store_done *done = &list->dones[i];
            if (err != KITH_OK && done->err == KITH_OK) {
                done->err = err;
                done->message = "the disk did not take it; see the log of this node";
            }
        }
        list->pub.next = NULL;
        store_results_deliver(list);
        list = next;
    }
}

static bool much_dirty(const struct store_committer *committer)
{
    for (uint32_t i = 0; i < committer->dirty.count; i++) {
        struct kith_segment *segment = committer->dirty.segments[i];
        if (atomic_load(&segment->written) - atomic_load(&segment->synced) >
            KITH_SEGMENT_DIRTY_MAX) {
            return true;
        }
    }
    return false;
}

void *store_committer_main(void *arg)
{
    struct kith_store *store = arg;
    struct store_committer *committer = &store->committer;
    pthread_setname_np(pthread_self(), "committer");
    for (;;) {
        pthread_mutex_lock(&committer->lock);
        while (committer->waiting == NULL && !committer->stop &&
               (!much_dirty(committer) || atomic_load(&store->failed))) {
            pthread_cond_wait(&committer->wake, &committer->lock);
        }
        struct store_results *list = committer->waiting;
        bool stop = committer->stop && list == NULL;
        committer->waiting = NULL;
        committer->waiting_end = &committer->waiting;
        pthread_mutex_unlock(&committer->lock);
        if (stop) {
            return NULL;
        }
        enum kith_err err = atomic_load(&store->failed) ? KITH_EIO : store_commit_sync(store);
        for (struct store_results *one = err == KITH_OK ? list : NULL; one != NULL;
             one = (struct store_results *)one->pub.next) {
            segment_holes_make(store, one->hole_count, one->holes);
        }
        deliver_all(list, err);
    }
}
