/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store.c - what the contents of a mount share: cache of chunks, joined fetches, dirty budget. */
#include <string.h>

#include "base/log.h"
#include "fs/content/impl.h"

static struct entry **slot_of(struct kith_content_store *store, const struct kith_chunk_id *id)
{
    uint64_t hash; /* the end of an id is random */
    memcpy(&hash, id->bytes + KITH_CHUNK_ID_SIZE - sizeof(hash), sizeof(hash));
    struct entry **slot = &store->buckets[hash & (store->bucket_count - 1)];
    while (*slot != NULL && memcmp(&(*slot)->ref.id, id, sizeof(*id)) != 0) {
        slot = &(*slot)->hash_next;
    }
    return slot;
}

static size_t entry_bytes(const struct entry *entry)
{
    return sizeof(*entry) + entry->ref.size;
}

static void lru_remove(struct entry *entry)
{
    if (!entry->in_lru) {
        return;
    }
    entry->lru_prev->lru_next = entry->lru_next;
    entry->lru_next->lru_prev = entry->lru_prev;
    entry->in_lru = false;
    entry->store->stats.cached_bytes -= entry_bytes(entry);
}

static void entry_drop(struct entry *entry)
{
    KITH_ASSERT(entry->refs > 0);
    if (--entry->refs == 0) {
        KITH_ASSERT(!entry->in_table && !entry->in_lru);
        kith_blob_drop(entry->blob);
        kith_free(entry);
    }
}

static void table_remove(struct entry *entry)
{
    if (!entry->in_table) {
        return;
    }
    struct entry **slot = slot_of(entry->store, &entry->ref.id);
    KITH_ASSERT(*slot == entry);
    *slot = entry->hash_next;
    entry->in_table = false;
    lru_remove(entry);
    entry_drop(entry);
}

/* What is clean and what is dirty share the memory: the least recently used ones go beyond the
 * limit, but never those of the last moments, or reading ahead would be in vain. */
static void lru_shrink(struct kith_content_store *store, const struct entry *keep)
{
    size_t least = store->cache_limit / CACHE_CLEAN_PART;
    size_t dirty = store->stats.dirty_bytes;
    size_t limit = dirty < store->cache_limit - least ? store->cache_limit - dirty : least;
    while (store->stats.cached_bytes > limit && store->lru.lru_prev != keep &&
           store->lru.lru_prev != &store->lru) {
        table_remove(store->lru.lru_prev);
    }
}

/* Most recently used. */
static void lru_push(struct entry *entry)
{
    struct kith_content_store *store = entry->store;
    lru_remove(entry);
    entry->lru_prev = &store->lru;
    entry->lru_next = store->lru.lru_next;
    entry->lru_prev->lru_next = entry;
    entry->lru_next->lru_prev = entry;
    entry->in_lru = true;
    store->stats.cached_bytes += entry_bytes(entry);
    lru_shrink(store, entry);
}

static struct entry *entry_new(struct kith_content_store *store, const struct kith_chunk_ref *ref)
{
    struct entry *entry = kith_calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return NULL;
    }
    entry->store = store;
    entry->ref = *ref;
    entry->refs = 1;
    entry->in_table = true;
    struct entry **slot = slot_of(store, &ref->id);
    KITH_ASSERT(*slot == NULL);
    *slot = entry;
    return entry;
}

enum kith_err kith_store_pin(struct kith_content_store *store, const struct kith_chunk_ref *ref,
                             struct kith_blob *blob)
{
    pthread_mutex_lock(&store->lock);
    struct entry *entry = entry_new(store, ref);
    if (entry != NULL) {
        entry->state = ENTRY_READY;
        entry->blob = kith_blob_hold(blob);
        entry->pinned = true;
    }
    pthread_mutex_unlock(&store->lock);
    return entry == NULL ? KITH_ENOMEM : KITH_OK;
}

void kith_store_unpin(struct kith_content_store *store, const struct kith_chunk_id *id, bool keep)
{
    pthread_mutex_lock(&store->lock);
    struct entry *entry = *slot_of(store, id);
    KITH_ASSERT(entry != NULL && entry->pinned);
    entry->pinned = false;
    if (keep) {
        lru_push(entry);
    } else {
        table_remove(entry);
    }
    pthread_mutex_unlock(&store->lock);
}

struct entry *kith_store_lookup(struct kith_content_store *store, const struct kith_chunk_id *id)
{
    pthread_mutex_lock(&store->lock);
    struct entry *entry = *slot_of(store, id);
    if (entry != NULL) {
        entry->refs++;
        store->stats.hits++;
        if (entry->in_lru) {
            lru_push(entry);
        }
    }
    pthread_mutex_unlock(&store->lock);
    return entry;
}

bool kith_store_is_pinned(struct kith_content_store *store, const struct kith_chunk_id *id)
{
    pthread_mutex_lock(&store->lock);
    struct entry *entry = *slot_of(store, id);
    bool pinned = entry != NULL && entry->pinned;
    pthread_mutex_unlock(&store->lock);
    return pinned;
}

/* With the lock. */
static void fetch_ended(struct entry *entry, enum kith_err err, struct kith_blob *blob)
{
    if (err == KITH_OK && (blob == NULL || blob->size != entry->ref.size)) {
        err = KITH_ECORRUPT;
    }
    if (err == KITH_OK) {
        entry->state = ENTRY_READY;
        entry->blob = kith_blob_hold(blob);
        lru_push(entry);
    } else {
        /* a file that names a chunk which nobody has is damaged, not missing */
        entry->err = err == KITH_ENOTFOUND ? KITH_EIO : err;
        entry->state = ENTRY_FAILED;
        table_remove(entry); /* the next reader asks again */
    }
    pthread_cond_broadcast(&entry->store->cond);
    entry_drop(entry);
}

static void fetch_done(void *arg, const struct kith_client_result *result)
{
    struct entry *entry = arg;
    struct kith_content_store *store = entry->store;
    if (result->err != KITH_OK && result->err != KITH_ECANCELED) {
        kith_log_warn("content", "a chunk of %u bytes cannot be read: %s", entry->ref.size,
                      result->message == NULL ? kith_err_text((int)result->err) : result->message);
    }
    pthread_mutex_lock(&store->lock);
    fetch_ended(entry, result->err, result->err == KITH_OK ? result->u.chunk.payload : NULL);
    pthread_mutex_unlock(&store->lock);
    kith_store_op_end(store);
}

enum kith_err kith_store_fetch(struct kith_content_store *store, const struct kith_chunk_ref *ref,
                               struct entry **ret_entry)
{
    if (kith_chunk_id_volume(&ref->id) != store->volume) {
        kith_log_warn("content", "an image names a chunk of volume %u; it is not read",
                      kith_chunk_id_volume(&ref->id));
        return KITH_EFORMAT;
    }
    pthread_mutex_lock(&store->lock);
    struct entry *entry = *slot_of(store, &ref->id);
    if (entry != NULL) {
        entry->refs++;
        store->stats.hits++;
        if (entry->in_lru) {
            lru_push(entry);
        }
        pthread_mutex_unlock(&store->lock);
        *ret_entry = entry;
        return KITH_OK;
    }
    entry = entry_new(store, ref);
    if (entry == NULL) {
        pthread_mutex_unlock(&store->lock);
        return KITH_ENOMEM;
    }
    entry->state = ENTRY_FETCHING;
    entry->refs += 2; /* the caller's and the fetch's */
    store->stats.misses++;
    store->ops++;
    pthread_mutex_unlock(&store->lock);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_GET, .timeout_ms = store->timeout_ms};
    op.u.chunk_get.id = ref->id;
    op.u.chunk_get.checksum = ref->checksum;
    enum kith_err err = kith_client_submit(store->client, &op, fetch_done, entry);
    if (err != KITH_OK) {
        pthread_mutex_lock(&store->lock);
        fetch_ended(entry, err, NULL);
        pthread_mutex_unlock(&store->lock);
        kith_store_op_end(store);
    }
    *ret_entry = entry;
    return KITH_OK;
}

enum kith_err kith_store_wait(struct entry *entry, struct kith_blob **ret_blob)
{
    struct kith_content_store *store = entry->store;
    pthread_mutex_lock(&store->lock);
    while (entry->state == ENTRY_FETCHING) { /* ends by the client's deadline */
        pthread_cond_wait(&store->cond, &store->lock);
    }
    enum kith_err err = entry->state == ENTRY_READY ? KITH_OK : entry->err;
    if (err == KITH_OK) {
        *ret_blob = kith_blob_hold(entry->blob);
    }
    entry_drop(entry);
    pthread_mutex_unlock(&store->lock);
    return err;
}

void kith_store_drop(struct entry *entry)
{
    struct kith_content_store *store = entry->store;
    pthread_mutex_lock(&store->lock);
    entry_drop(entry);
    pthread_mutex_unlock(&store->lock);
}

void kith_store_charge(struct kith_content_store *store, size_t more, size_t less)
{
    if (more == less) {
        return;
    }
    pthread_mutex_lock(&store->lock);
    KITH_ASSERT(store->stats.dirty_bytes + more >= less);
    store->stats.dirty_bytes = store->stats.dirty_bytes + more - less;
    if (less > more) {
        pthread_cond_broadcast(&store->cond);
    } else {
        lru_shrink(store, NULL);
    }
    pthread_mutex_unlock(&store->lock);
}

bool kith_store_is_pressed(struct kith_content_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool pressed = store->stats.dirty_bytes >= store->dirty_limit / 2;
    pthread_mutex_unlock(&store->lock);
    return pressed;
}

void kith_store_op_begin(struct kith_content_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->ops++;
    pthread_mutex_unlock(&store->lock);
}

void kith_store_op_end(struct kith_content_store *store)
{
    pthread_mutex_lock(&store->lock);
    KITH_ASSERT(store->ops > 0);
    store->ops--;
    pthread_cond_broadcast(&store->cond);
    pthread_mutex_unlock(&store->lock);
}

enum kith_err kith_content_store_new(const struct kith_content_options *options,
                                     struct kith_content_store **ret_store)
{
    struct kith_content_store *store = kith_calloc(1, sizeof(*store));
    if (store == NULL) {
        return KITH_ENOMEM;
    }
    store->client = options->client;
    store->volume = options->volume;
    store->timeout_ms = options->timeout_ms;
    store->cache_limit = options->cache_bytes == 0 ? CACHE_BYTES_DEFAULT : options->cache_bytes;
    store->dirty_limit = options->dirty_bytes == 0 ? DIRTY_BYTES_DEFAULT : options->dirty_bytes;
    store->readahead = options->readahead_bytes == 0 ? READAHEAD_DEFAULT : options->readahead_bytes;
    store->lease_ms = options->lease_ms == 0 ? LEASE_DEFAULT_MS : options->lease_ms;
    store->bucket_count = 1024;
    while (store->bucket_count < store->cache_limit / 16384) { /* one for 16 KiB of chunks */
        store->bucket_count *= 2;
    }
    store->buckets = kith_calloc(store->bucket_count, sizeof(struct entry *));
    if (store->buckets == NULL) {
        kith_free(store);
        return KITH_ENOMEM;
    }
    store->lru.lru_prev = store->lru.lru_next = &store->lru;
    pthread_condattr_t attr;
    KITH_ASSERT(pthread_condattr_init(&attr) == 0);
    KITH_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    KITH_ASSERT(pthread_mutex_init(&store->lock, NULL) == 0);
    KITH_ASSERT(pthread_cond_init(&store->cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
    *ret_store = store;
    return KITH_OK;
}

void kith_content_store_hard(struct kith_content_store *store, bool hard)
{
    pthread_mutex_lock(&store->lock);
    store->hard = hard;
    pthread_mutex_unlock(&store->lock);
}

void kith_content_store_free(struct kith_content_store *store)
{
    if (store == NULL) {
        return;
    }
    pthread_mutex_lock(&store->lock);
    while (store->ops > 0) {
        pthread_cond_wait(&store->cond, &store->lock);
    }
    KITH_ASSERT(store->dirty_head == NULL && store->stats.dirty_bytes == 0);
    for (size_t i = 0; i < store->bucket_count; i++) {
        while (store->buckets[i] != NULL) {
            table_remove(store->buckets[i]);
        }
    }
    pthread_mutex_unlock(&store->lock);
    pthread_cond_destroy(&store->cond);
    pthread_mutex_destroy(&store->lock);
    kith_free(store->buckets);
    kith_free(store);
}

void kith_content_store_stats(struct kith_content_store *store,
                              struct kith_content_stats *ret_stats)
{
    pthread_mutex_lock(&store->lock);
    *ret_stats = store->stats;
    pthread_mutex_unlock(&store->lock);
}
