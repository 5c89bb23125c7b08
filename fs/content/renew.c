/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * renew.c - chunks that were swept while an open file still names them are written anew.
 *
 * A mount that was away for days (a laptop that slept) has renewed no lease (lease.c). If another
 * mount has removed or replaced the file meanwhile, nothing refers to its chunks any more, and the
 * nodes have swept them; the next put of what was open here names them, and is refused
 * (node/core/collect/lease.c). So once any put was refused, each content asks before its next image whether
 * its chunks are still there, and leases them with the same question. Those that are gone are
 * written under new ids, from the cache or from an owner that still has them. Where neither has the
 * bytes the flush fails, each time, until those bytes have been overwritten or cut off; what is
 * dirty stays. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fs/content/impl.h"

#define RENEW_IDS_MAX 1024u /* in one request */

struct renewal {
    struct kith_content *content;
    size_t count, capacity;
    struct kith_chunk_id *ids; /* named; then those that are gone; ascending */
    uint64_t lost, lost_at;    /* bytes that nobody has, and where they begin */
};

void kith_content_store_refused(struct kith_content_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->refusals++;
    pthread_mutex_unlock(&store->lock);
}

uint64_t kith_renew_refusals(struct kith_content_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t refusals = store->refusals;
    pthread_mutex_unlock(&store->lock);
    return refusals;
}

/* ---- What is gone ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, KITH_CHUNK_ID_SIZE);
}

static bool is_gone(const struct renewal *renewal, const struct kith_chunk_id *id)
{
    return renewal->count > 0 &&
           bsearch(id, renewal->ids, renewal->count, sizeof(*id), compare_ids) != NULL;
}

/* One that is not stored yet is left out: it is about to be. */
static bool name(struct renewal *renewal, const struct kith_chunk_id *id)
{
    if (renewal->count > 0 && compare_ids(&renewal->ids[renewal->count - 1], id) == 0) {
        return true; /* the extents of one chunk often follow each other */
    }
    if (kith_store_is_pinned(renewal->content->store, id)) {
        return true;
    }
    if (renewal->count == renewal->capacity) {
        size_t capacity = renewal->capacity == 0 ? 64 : renewal->capacity * 2;
        struct kith_chunk_id *ids = kith_realloc(renewal->ids, capacity * sizeof(*ids));
        if (ids == NULL) {
            return false;
        }
        renewal->ids = ids;
        renewal->capacity = capacity;
    }
    renewal->ids[renewal->count++] = *id;
    return true;
}

/* With the lock. Lists that are stored name what is in them, but may be gone themselves. */
static bool name_all(struct renewal *renewal)
{
    const struct kith_content *content = renewal->content;
    const struct kith_extents *list = &content->extents;
    bool good = true;
    for (uint32_t i = 0; good && i < content->index_count; i++) {
        good = name(renewal, &content->index[i].id);
    }
    for (uint32_t i = 0; good && i < list->leaf_count; i++) {
        const struct kith_leaf *leaf = &list->leaves[i];
        good = !leaf->stored || name(renewal, &leaf->ref.id);
        for (uint32_t k = 0; good && k < leaf->count; k++) {
            good = name(renewal, &leaf->extents[k].chunk.id);
        }
    }
    if (!good || renewal->count == 0) {
        return good;
    }
    qsort(renewal->ids, renewal->count, sizeof(*renewal->ids), compare_ids);
    size_t kept = 1;
    for (size_t i = 1; i < renewal->count; i++) {
        if (compare_ids(&renewal->ids[kept - 1], &renewal->ids[i]) != 0) {
            renewal->ids[kept++] = renewal->ids[i];
        }
    }
    renewal->count = kept;
    return true;
}

/* Without the lock: leaves those that their owners do not hold. */
static enum kith_err ask(struct renewal *renewal)
{
    struct kith_content_store *store = renewal->content->store;
    enum kith_err err = KITH_OK;
    size_t gone = 0;
    for (size_t at = 0; at < renewal->count && err == KITH_OK; at += RENEW_IDS_MAX) {
        struct kith_client_answer answer;
        struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC,
                                    .timeout_ms = store->timeout_ms};
        op.u.chunk_sync.lease = true;
        op.u.chunk_sync.ids = renewal->ids + at;
        op.u.chunk_sync.id_count = (uint32_t)kith_min_size(RENEW_IDS_MAX, renewal->count - at);
        err = kith_client_call(store->client, &op, &answer);
        uint32_t missing = err == KITH_OK ? answer.result.u.chunk_sync.missing_count : 0;
        for (uint32_t i = 0; i < missing && gone < at + op.u.chunk_sync.id_count; i++) {
            renewal->ids[gone++] = answer.result.u.chunk_sync.missing[i];
        }
        kith_client_answer_release(&answer);
    }
    renewal->count = gone;
    if (gone > 0) {
        qsort(renewal->ids, gone, sizeof(*renewal->ids), compare_ids);
    }
    return err;
}

/* ---- Writing anew ---- */

/* With the lock: lists are made again from what is in memory. */
static void forget_lists(const struct renewal *renewal)
{
    struct kith_content *content = renewal->content;
    for (uint32_t i = 0; i < content->extents.leaf_count; i++) {
        struct kith_leaf *leaf = &content->extents.leaves[i];
        leaf->stored = leaf->stored && !is_gone(renewal, &leaf->ref.id);
    }
    for (uint32_t i = 0; i < content->index_count; i++) {
        if (is_gone(renewal, &content->index[i].id)) {
            content->index_count = 0;
        }
    }
}

/* With the lock: the region's extents of that chunk are of a new one with the same bytes. */
static enum kith_err replace(struct kith_content *content, uint64_t start,
                             const struct kith_chunk_ref *old, struct kith_blob *blob)
{
    struct upload *upload = NULL;
    const struct kith_extent *extent = kith_extents_find(&content->extents, start);
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && extent != NULL && extent->offset < start + KITH_REGION_SIZE) {
        struct kith_extent renewed = *extent;
        if (compare_ids(&renewed.chunk.id, &old->id) == 0) {
            if (upload == NULL) { /* not before: it may have been overwritten meanwhile */
                err = kith_upload_new(content, KITH_IMAGE_EXTENTS, start, kith_blob_hold(blob), 0,
                                      &upload);
                if (err != KITH_OK) {
                    kith_blob_drop(blob);
                    return err;
                }
                upload->charge = blob->size;
                kith_store_charge(content->store, upload->charge, 0);
            }
            renewed.chunk = upload->ref;
            err = kith_extents_insert(&content->extents, &renewed);
        }
        extent = kith_extents_find(&content->extents, renewed.offset + renewed.length);
    }
    return err;
}

/* With the lock, given up meanwhile: the chunk of that extent, as far as its region names it. */
static enum kith_err renew_one(struct renewal *renewal, const struct kith_extent *extent)
{
    struct kith_content *content = renewal->content;
    struct kith_blob *blob = NULL;
    struct entry *entry;
    pthread_mutex_unlock(&content->lock);
    enum kith_err err = kith_store_fetch(content->store, &extent->chunk, &entry);
    if (err == KITH_OK) {
        err = kith_store_wait(entry, &blob);
    }
    pthread_mutex_lock(&content->lock);
    if (err == KITH_EIO) { /* nobody has it: the others first, so that nothing else is lost */
        renewal->lost_at = renewal->lost == 0 ? extent->offset : renewal->lost_at;
        renewal->lost += extent->length;
        return KITH_OK;
    }
    if (err == KITH_OK) {
        err = replace(content, kith_region_of(extent->offset), &extent->chunk, blob);
        kith_blob_drop(blob);
    }
    if (err == KITH_OK) {
        kith_flush_relieve(content);
    }
    return err;
}

/* With the lock, given up meanwhile. */
static enum kith_err renew_all(struct renewal *renewal)
{
    struct kith_content *content = renewal->content;
    const struct kith_extent *extent = kith_extents_find(&content->extents, 0);
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && extent != NULL) {
        struct kith_extent at = *extent;
        if (is_gone(renewal, &at.chunk.id)) {
            err = renew_one(renewal, &at);
        }
        extent = kith_extents_find(&content->extents, at.offset + at.length);
    }
    return err;
}

enum kith_err kith_content_renew(struct kith_content *content)
{
    uint64_t refusals = kith_renew_refusals(content->store);
    struct renewal renewal = {.content = content};
    if (content->refusals == refusals || content->is_inline) {
        content->refusals = refusals;
        return KITH_OK;
    }
    enum kith_err err = name_all(&renewal) ? KITH_OK : KITH_ENOMEM;
    if (err == KITH_OK) {
        pthread_mutex_unlock(&content->lock);
        err = ask(&renewal);
        pthread_mutex_lock(&content->lock);
    }
    if (err == KITH_OK && renewal.count > 0) {
        forget_lists(&renewal);
        err = renew_all(&renewal);
    }
    if (err == KITH_OK && renewal.lost > 0) {
        kith_log_error("content",
                       "%llu bytes of an open file, the first at %llu, are gone: another mount has "
                       "removed or replaced it since, and this one was away for too long; it can "
                       "be stored once they are overwritten or cut off",
                       (unsigned long long)renewal.lost, (unsigned long long)renewal.lost_at);
        err = KITH_EIO;
    } else if (err == KITH_OK && renewal.count > 0) {
        kith_log_info("content",
                      "%zu of the chunks of an open file were swept, as another mount has removed "
                      "or replaced it since; they are written anew",
                      renewal.count);
    }
    if (err == KITH_OK) {
        content->refusals = refusals;
    }
    kith_free(renewal.ids);
    return err;
}
