/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * content_chunks.c - every chunk that contents lie in: data, lists of extents and their index. */
#include <stdlib.h>
#include <string.h>

#include "fs/content/impl.h"

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, KITH_CHUNK_ID_SIZE);
}

/* With the lock, and the lists loaded. */
static void name_all(const struct kith_content *content, struct kith_buf *ids)
{
    const struct kith_extents *list = &content->extents;
    for (uint32_t i = 0; i < content->index_count; i++) {
        kith_buf_put(ids, content->index[i].id.bytes, KITH_CHUNK_ID_SIZE);
    }
    for (uint32_t i = 0; i < list->leaf_count; i++) {
        const struct kith_leaf *leaf = &list->leaves[i];
        if (leaf->stored) {
            kith_buf_put(ids, leaf->ref.id.bytes, KITH_CHUNK_ID_SIZE);
        }
        for (uint32_t k = 0; k < leaf->count; k++) {
            kith_buf_put(ids, leaf->extents[k].chunk.id.bytes, KITH_CHUNK_ID_SIZE);
        }
    }
}

/* Sorted, each once. */
static void make_distinct(struct kith_buf *ids)
{
    size_t count = ids->size / KITH_CHUNK_ID_SIZE, kept = 0;
    if (count > 0) {
        qsort(ids->data, count, KITH_CHUNK_ID_SIZE, compare_ids);
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *id = ids->data + i * KITH_CHUNK_ID_SIZE;
        if (kept == 0 || compare_ids(ids->data + (kept - 1) * KITH_CHUNK_ID_SIZE, id) != 0) {
            memmove(ids->data + kept++ * KITH_CHUNK_ID_SIZE, id, KITH_CHUNK_ID_SIZE);
        }
    }
    ids->size = kept * KITH_CHUNK_ID_SIZE;
}

enum kith_err kith_content_chunks(struct kith_content_store *store, struct kith_bytes encoded,
                                  struct kith_buf *ids)
{
    struct kith_content *content;
    enum kith_err err = kith_content_new(store, encoded, &content);
    if (err != KITH_OK) {
        return err;
    }
    pthread_mutex_lock(&content->lock);
    err = kith_content_load(content);
    if (err == KITH_OK) {
        name_all(content, ids);
    }
    pthread_mutex_unlock(&content->lock);
    kith_content_free(content);
    if (err == KITH_OK && ids->failed) {
        return KITH_ENOMEM;
    }
    if (err == KITH_OK) {
        make_distinct(ids);
    }
    return err;
}
