/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * upload.c - dirty pieces become chunks, and chunks go to the cluster in the background. */
#include <string.h>

#include "base/log.h"
#include "fs/content/impl.h"

static void list_remove(struct upload *upload)
{
    struct upload_list *list = &upload->content->uploads[upload->state];
    *(upload->prev == NULL ? &list->head : &upload->prev->next) = upload->next;
    *(upload->next == NULL ? &list->tail : &upload->next->prev) = upload->prev;
    list->count--;
}

static void list_append(struct upload *upload)
{
    struct upload_list *list = &upload->content->uploads[upload->state];
    upload->next = NULL;
    upload->prev = list->tail;
    *(list->tail == NULL ? &list->head : &list->tail->next) = upload;
    list->tail = upload;
    list->count++;
}

void kith_upload_move(struct upload *upload, enum upload_state state)
{
    list_remove(upload);
    upload->state = state;
    list_append(upload);
}

void kith_upload_first(struct upload *upload)
{
    struct upload_list *list = &upload->content->uploads[upload->state];
    list_remove(upload);
    upload->prev = NULL;
    upload->next = list->head;
    *(list->head == NULL ? &list->tail : &list->head->prev) = upload;
    list->head = upload;
    list->count++;
}

/* Its memory is no longer needed: stored, or given up. */
static void upload_settle(struct upload *upload, bool stored)
{
    if (upload->blob == NULL) {
        return;
    }
    kith_store_unpin(upload->content->store, &upload->ref.id, stored);
    kith_blob_drop(upload->blob);
    upload->blob = NULL;
    kith_store_charge(upload->content->store, 0, upload->charge);
    upload->charge = 0;
}

void kith_upload_drop(struct upload *upload)
{
    KITH_ASSERT(upload->state != UPLOAD_SENT);
    upload_settle(upload, false);
    list_remove(upload);
    kith_free(upload->refs);
    kith_free(upload);
}

enum kith_err kith_upload_new(struct kith_content *content, enum kith_image_kind kind,
                              uint64_t start, struct kith_blob *blob, size_t charge,
                              struct upload **ret_upload)
{
    struct upload *upload = kith_calloc(1, sizeof(*upload));
    if (upload == NULL) {
        return KITH_ENOMEM;
    }
    upload->content = content;
    upload->kind = kind;
    upload->start = start;
    upload->ref.id = kith_client_chunk_id(content->store->client, content->store->volume);
    upload->ref.checksum = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
    upload->ref.size = (uint32_t)blob->size;
    enum kith_err err = kith_store_pin(content->store, &upload->ref, blob);
    if (err != KITH_OK) {
        kith_free(upload);
        return err;
    }
    upload->blob = blob;
    upload->charge = charge;
    upload->state = UPLOAD_QUEUED;
    list_append(upload);
    *ret_upload = upload;
    return KITH_OK;
}

/* ---- cutting ---- */

/* The bytes of the touching pieces [first, last) as one blob of just their size. */
static struct kith_blob *join_pieces(const struct region *region, uint32_t first, uint32_t last)
{
    const struct piece *piece = &region->pieces[first];
    size_t size = 0;
    for (uint32_t i = first; i < last; i++) {
        size += region->pieces[i].length;
    }
    if (last - first == 1 && piece->capacity - piece->length <= piece->length / 4) {
        struct kith_blob *blob = kith_blob_hold(piece->blob);
        blob->size = size; /* nobody else knows the blob yet */
        return blob;
    }
    struct kith_blob *blob = kith_blob_new(size);
    size_t at = 0;
    for (uint32_t i = first; blob != NULL && i < last; i++) {
        memcpy(blob->data + at, region->pieces[i].blob->data, region->pieces[i].length);
        at += region->pieces[i].length;
    }
    return blob;
}

static enum kith_err cut_run(struct kith_content *content, struct region *region, uint32_t first,
                             uint32_t last)
{
    struct kith_blob *blob = join_pieces(region, first, last);
    struct upload *upload = NULL;
    if (blob == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err =
        kith_upload_new(content, KITH_IMAGE_EXTENTS, region->start, blob, 0, &upload);
    if (err != KITH_OK) {
        kith_blob_drop(blob);
        return err;
    }
    struct kith_extent extent = {
        .offset = region->pieces[first].offset,
        .length = upload->ref.size,
        .chunk = upload->ref,
    };
    err = kith_extents_insert(&content->extents, &extent);
    if (err != KITH_OK) {
        kith_upload_drop(upload);
        return err;
    }
    upload->charge = blob->size;
    size_t freed = 0;
    for (uint32_t i = first; i < last; i++) {
        freed += region->pieces[i].capacity;
        kith_blob_drop(region->pieces[i].blob);
    }
    kith_store_charge(content->store, upload->charge, freed);
    return KITH_OK;
}

enum kith_err kith_region_cut(struct kith_content *content, uint32_t index)
{
    struct region *region = &content->regions[index];
    enum kith_err err = KITH_OK;
    while (region->count > 0) { /* from the end: what is left is in order also after an error */
        uint32_t last = region->count, first = last - 1;
        while (first > 0 && region->pieces[first - 1].offset + region->pieces[first - 1].length ==
                                region->pieces[first].offset) {
            first--;
        }
        err = cut_run(content, region, first, last);
        if (err != KITH_OK) {
            return err;
        }
        region->count = first;
    }
    kith_free(region->pieces);
    memmove(region, region + 1, (content->region_count - index - 1) * sizeof(*region));
    content->region_count--;
    return KITH_OK;
}

enum kith_err kith_regions_cut(struct kith_content *content)
{
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && content->region_count > 0) {
        err = kith_region_cut(content, content->region_count - 1);
    }
    return err;
}

/* ---- sending ---- */

/* With the lock. */
static void upload_ended(struct upload *upload, enum kith_err err)
{
    struct kith_content *content = upload->content;
    pthread_mutex_lock(&content->store->lock);
    content->store->stats.uploads += err == KITH_OK;
    content->store->stats.upload_failures += err != KITH_OK;
    pthread_cond_broadcast(&content->store->cond);
    pthread_mutex_unlock(&content->store->lock);
    bool wanted = content->flushing && upload->wanted == content->flush_serial;
    if (err == KITH_OK) {
        kith_upload_move(upload, UPLOAD_STORED);
        upload_settle(upload, true);
        content->flush_waiting -= wanted;
    } else {
        kith_upload_move(upload, UPLOAD_FAILED);
        content->paused = true;
        if (wanted) {
            content->flush_err = err;
        } else if (content->failure == KITH_OK) {
            content->failure = err;
        }
    }
    if (content->dead) {
        kith_upload_drop(upload);
    }
    pthread_cond_broadcast(&content->cond);
}

static void upload_done(void *arg, const struct kith_client_result *result)
{
    struct upload *upload = arg;
    struct kith_content *content = upload->content;
    struct kith_content_store *store = content->store;
    if (result->err != KITH_OK && result->err != KITH_ECANCELED) {
        kith_log_warn("content", "a chunk of %u bytes cannot be stored, it stays in memory: %s",
                      upload->ref.size,
                      result->message == NULL ? kith_err_text((int)result->err) : result->message);
    }
    pthread_mutex_lock(&content->lock);
    upload_ended(upload, result->err);
    pthread_mutex_unlock(&content->lock);
    if (result->err == KITH_OK) { /* after an error the queue is paused: no recursion from submit */
        kith_uploads_pump(content);
    }
    kith_content_drop(content);
    kith_store_op_end(store);
}

void kith_uploads_pump(struct kith_content *content)
{
    struct kith_content_store *store = content->store;
    for (;;) {
        pthread_mutex_lock(&content->lock);
        struct upload *upload = content->uploads[UPLOAD_QUEUED].head;
        if (upload == NULL || content->paused || content->dead ||
            content->uploads[UPLOAD_SENT].count >= UPLOADS_MAX) {
            pthread_mutex_unlock(&content->lock);
            return;
        }
        kith_upload_move(upload, UPLOAD_SENT);
        struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_PUT, .timeout_ms = store->timeout_ms};
        op.u.chunk_put.id = upload->ref.id;
        op.u.chunk_put.durability = KITH_DURABLE_OS;
        op.u.chunk_put.checksum = upload->ref.checksum;
        op.u.chunk_put.ref_count = upload->ref_count;
        op.u.chunk_put.refs = upload->refs;
        op.u.chunk_put.payload = upload->blob;
        pthread_mutex_unlock(&content->lock);
        kith_content_hold(content);
        kith_store_op_begin(store);
        enum kith_err err = kith_client_submit(store->client, &op, upload_done, upload);
        if (err == KITH_OK) {
            continue;
        }
        pthread_mutex_lock(&content->lock);
        if (err == KITH_ELIMIT && content->uploads[UPLOAD_SENT].count > 1 && !content->dead) {
            kith_upload_move(upload, UPLOAD_QUEUED); /* goes on when one of ours ends */
        } else {
            upload_ended(upload, err);
        }
        pthread_mutex_unlock(&content->lock);
        kith_content_drop(content);
        kith_store_op_end(store);
        return;
    }
}

static bool same_id(const struct kith_chunk_id *a, const struct kith_chunk_id *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Whether the contents still name the chunk: data can be overwritten before it is sent. */
bool kith_upload_is_named(const struct upload *upload)
{
    const struct kith_content *content = upload->content;
    const struct kith_extents *list = &content->extents;
    if (upload->kind == KITH_IMAGE_EXTENTS) {
        uint64_t end = upload->start + KITH_REGION_SIZE;
        const struct kith_extent *extent = kith_extents_find(list, upload->start);
        while (extent != NULL && extent->offset < end) {
            if (same_id(&extent->chunk.id, &upload->ref.id)) {
                return true;
            }
            extent = kith_extents_find(list, extent->offset + extent->length);
        }
        return false;
    }
    if (upload->kind == KITH_IMAGE_LEAF) {
        for (uint32_t i = 0; i < list->leaf_count && list->leaves[i].start <= upload->start; i++) {
            if (list->leaves[i].start == upload->start) {
                return list->leaves[i].stored && same_id(&list->leaves[i].ref.id, &upload->ref.id);
            }
        }
        return false;
    }
    for (uint32_t i = 0; i < content->index_count; i++) {
        if (same_id(&content->index[i].id, &upload->ref.id)) {
            return true;
        }
    }
    return false;
}
