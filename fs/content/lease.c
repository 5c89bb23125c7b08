/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * lease.c - keeps the chunks of files that are open for long: nodes sweep what nothing refers to
 * any more (node/core/collect/sweep.h), and an open file may be unlinked, or another version of it be put
 * by another mount.
 *
 * Every few hours what a file's image names is leased: its chunks, or the lists of them, which keep
 * theirs. What is read from a row is safe for a day from then on; so the first time comes later. */
#include <string.h>

#include "fs/content/impl.h"

#define LEASE_LOOKS      64u       /* between two of a file all are looked at so often */
#define LEASE_IDS_MAX    1024u     /* in one request */

struct lease {
    struct kith_content *content;
    uint32_t count, at;
    struct kith_chunk_id *ids;
};

/* ---- What the contents name ---- */

static bool leaf_names(const struct kith_leaf *leaf, struct kith_buf *ids)
{
    if (leaf->stored) {
        kith_buf_put(ids, leaf->ref.id.bytes, KITH_CHUNK_ID_SIZE);
        return !ids->failed;
    }
    for (uint32_t i = 0; i < leaf->count; i++) {
        kith_buf_put(ids, leaf->extents[i].chunk.id.bytes, KITH_CHUNK_ID_SIZE);
    }
    return !ids->failed;
}

/* Lists that are not loaded yet. */
static bool lists_name(const struct kith_content *content, struct kith_buf *ids)
{
    struct kith_arena arena;
    struct kith_list_entry *entries = NULL;
    uint32_t count = 0;
    kith_arena_init(&arena, 0);
    bool good = kith_entries_decode(&arena, content->lists.body, 0, content->lists.size, &entries,
                                    &count) == KITH_OK;
    for (uint32_t i = 0; good && i < count; i++) {
        kith_buf_put(ids, entries[i].ref.id.bytes, KITH_CHUNK_ID_SIZE);
    }
    kith_arena_release(&arena);
    return good && !ids->failed;
}

/* With the lock. */
static bool names(const struct kith_content *content, struct kith_buf *ids)
{
    bool good = content->lists.kind == KITH_IMAGE_INLINE || lists_name(content, ids);
    for (uint32_t i = 0; good && i < content->index_count; i++) {
        kith_buf_put(ids, content->index[i].id.bytes, KITH_CHUNK_ID_SIZE);
    }
    for (uint32_t i = 0; good && i < content->extents.leaf_count; i++) {
        good = leaf_names(&content->extents.leaves[i], ids);
    }
    return good && !ids->failed;
}

/* ---- Asking ---- */

static void lease_end(struct lease *lease)
{
    struct kith_content_store *store = lease->content->store;
    kith_content_drop(lease->content);
    kith_free(lease->ids);
    kith_free(lease);
    kith_store_op_end(store);
}

static void lease_done(void *arg, const struct kith_client_result *result);

static void lease_next(struct lease *lease)
{
    struct kith_content_store *store = lease->content->store;
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC, .timeout_ms = store->timeout_ms};
    uint32_t left = lease->count - lease->at;
    op.u.chunk_sync.lease = true;
    op.u.chunk_sync.ids = lease->ids + lease->at;
    op.u.chunk_sync.id_count = left < LEASE_IDS_MAX ? left : LEASE_IDS_MAX;
    lease->at += op.u.chunk_sync.id_count;
    if (op.u.chunk_sync.id_count == 0 ||
        kith_client_submit(store->client, &op, lease_done, lease) != KITH_OK) {
        lease_end(lease);
    }
}

/* What is missing is gone: who reads it is told so. */
static void lease_done(void *arg, const struct kith_client_result *result)
{
    struct lease *lease = arg;
    if (result->err != KITH_OK) { /* soon again */
        struct kith_content_store *store = lease->content->store;
        pthread_mutex_lock(&store->lock);
        lease->content->leased_ms -= store->lease_ms - store->lease_ms / LEASE_LOOKS;
        pthread_mutex_unlock(&store->lock);
        lease->at = lease->count;
    }
    lease_next(lease);
}

static void lease_begin(struct kith_content *content)
{
    struct lease *lease = kith_calloc(1, sizeof(*lease));
    struct kith_buf ids;
    kith_buf_init(&ids);
    pthread_mutex_lock(&content->lock);
    bool good = lease != NULL && !content->dead && names(content, &ids);
    pthread_mutex_unlock(&content->lock);
    if (good) {
        lease->content = content;
        lease->count = (uint32_t)(ids.size / KITH_CHUNK_ID_SIZE);
        lease->ids = kith_malloc(ids.size + 1);
        good = lease->ids != NULL && lease->count > 0;
    }
    if (good) {
        memcpy(lease->ids, ids.data, ids.size);
    }
    kith_buf_release(&ids);
    if (!good) {
        if (lease != NULL) {
            kith_free(lease->ids);
            kith_free(lease);
        }
        kith_content_drop(content);
        return;
    }
    kith_store_op_begin(content->store);
    lease_next(lease);
}

/* ---- When ---- */

void kith_lease_list(struct kith_content *content)
{
    struct kith_content_store *store = content->store;
    pthread_mutex_lock(&store->lock);
    content->all_next = store->all;
    content->all_prev = NULL;
    if (store->all != NULL) {
        store->all->all_prev = content;
    }
    store->all = content;
    pthread_mutex_unlock(&store->lock);
}

void kith_lease_unlist(struct kith_content *content)
{
    struct kith_content_store *store = content->store;
    *(content->all_prev == NULL ? &store->all : &content->all_prev->all_next) = content->all_next;
    if (content->all_next != NULL) {
        content->all_next->all_prev = content->all_prev;
    }
}

void kith_content_store_lease(struct kith_content_store *store, uint64_t now_ms)
{
    struct kith_content *due = NULL;
    uint64_t every_ms = store->lease_ms;
    pthread_mutex_lock(&store->lock);
    if (now_ms >= store->lease_look_ms) {
        for (struct kith_content *content = store->all; content != NULL && due == NULL;
             content = content->all_next) {
            content->leased_ms = content->leased_ms == 0 ? now_ms : content->leased_ms;
            due = now_ms >= content->leased_ms + every_ms ? content : NULL;
        }
        /* one after the other */
        store->lease_look_ms = due != NULL ? now_ms : now_ms + every_ms / LEASE_LOOKS;
    }
    if (due != NULL) {
        due->leased_ms = now_ms;
        due->refs++;
    }
    pthread_mutex_unlock(&store->lock);
    if (due != NULL) {
        lease_begin(due);
    }
}
