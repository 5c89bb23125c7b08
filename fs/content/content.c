/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * content.c - the life of one content: from an image, lists loaded when needed, to its end. */
#include "fs/content/content.h"

#include <string.h>

#include "fs/content/impl.h"

enum kith_err kith_content_image_stat(struct kith_bytes encoded, uint64_t *ret_size,
                                      uint64_t *ret_allocated)
{
    struct kith_image image;
    enum kith_err err = kith_image_parse(encoded, &image);
    if (err == KITH_OK) {
        *ret_size = image.size;
        *ret_allocated = image.allocated;
    }
    return err;
}

/* Everything that an image sets, empty. */
static void reset(struct kith_content *content)
{
    kith_pieces_release(content);
    kith_extents_release(&content->extents);
    kith_content_inline_charge(content, false);
    kith_free(content->bytes);
    kith_free(content->lists_bytes);
    kith_free(content->index);
    content->bytes = NULL;
    content->bytes_capacity = 0;
    content->lists_bytes = NULL;
    content->index = NULL;
    content->index_count = 0;
    content->lists.kind = KITH_IMAGE_INLINE;
    content->size = 0;
    content->is_inline = true;
    content->others_synced = false;
}

/* The parts that an image gives; the caller installs them when all went well. */
struct parsed {
    struct kith_image image;
    uint8_t *bytes;
    struct kith_extents extents;
};

static enum kith_err parse(struct kith_bytes encoded, struct parsed *parsed)
{
    memset(parsed, 0, sizeof(*parsed));
    enum kith_err err = kith_image_parse(encoded, &parsed->image);
    if (err != KITH_OK) {
        return err;
    }
    if (parsed->image.kind == KITH_IMAGE_EXTENTS) {
        err = kith_leaf_decode(&parsed->extents, parsed->image.body, 0, parsed->image.size);
        if (err == KITH_OK && parsed->extents.allocated != parsed->image.allocated) {
            kith_extents_release(&parsed->extents);
            err = KITH_EFORMAT;
        }
        return err;
    }
    parsed->bytes = kith_malloc(parsed->image.body.size + 1);
    if (parsed->bytes == NULL) {
        return KITH_ENOMEM;
    }
    if (parsed->image.body.size > 0) {
        memcpy(parsed->bytes, parsed->image.body.data, parsed->image.body.size);
    }
    return KITH_OK;
}

static void install(struct kith_content *content, const struct parsed *parsed)
{
    content->size = parsed->image.size;
    if (parsed->image.kind == KITH_IMAGE_INLINE) {
        content->bytes = parsed->bytes;
        content->bytes_capacity = parsed->image.body.size + 1;
        return;
    }
    content->is_inline = false;
    if (parsed->image.kind == KITH_IMAGE_EXTENTS) {
        content->extents = parsed->extents;
        return;
    }
    content->lists = parsed->image;
    content->lists_bytes = parsed->bytes;
    content->lists.body.data = parsed->bytes;
}

enum kith_err kith_content_new(struct kith_content_store *store, struct kith_bytes encoded,
                               struct kith_content **ret_content)
{
    struct kith_content *content = kith_calloc(1, sizeof(*content));
    if (content == NULL) {
        return KITH_ENOMEM;
    }
    struct parsed parsed;
    enum kith_err err = parse(encoded, &parsed);
    if (err != KITH_OK) {
        kith_free(content);
        return err;
    }
    KITH_ASSERT(pthread_mutex_init(&content->lock, NULL) == 0);
    KITH_ASSERT(pthread_cond_init(&content->cond, NULL) == 0);
    content->store = store;
    content->refs = 1;
    content->is_inline = true;
    content->refusals = kith_renew_refusals(store); /* what a row names is there */
    install(content, &parsed);
    kith_lease_list(content);
    *ret_content = content;
    return KITH_OK;
}

/* With store->lock. */
static void unlist(struct kith_content *content)
{
    if (!content->listed) {
        return;
    }
    struct kith_content_store *store = content->store;
    *(content->dirty_prev == NULL ? &store->dirty_head : &content->dirty_prev->dirty_next) =
        content->dirty_next;
    *(content->dirty_next == NULL ? &store->dirty_tail : &content->dirty_next->dirty_prev) =
        content->dirty_prev;
    content->listed = false;
}

void kith_content_hold(struct kith_content *content)
{
    pthread_mutex_lock(&content->store->lock);
    content->refs++;
    pthread_mutex_unlock(&content->store->lock);
}

void kith_content_drop(struct kith_content *content)
{
    pthread_mutex_lock(&content->store->lock);
    bool last = --content->refs == 0;
    pthread_mutex_unlock(&content->store->lock);
    if (!last) {
        return;
    }
    for (unsigned i = 0; i < UPLOAD_STATES; i++) {
        while (content->uploads[i].head != NULL) {
            kith_upload_drop(content->uploads[i].head);
        }
    }
    reset(content);
    pthread_cond_destroy(&content->cond);
    pthread_mutex_destroy(&content->lock);
    kith_free(content);
}

void kith_content_free(struct kith_content *content)
{
    if (content == NULL) {
        return;
    }
    pthread_mutex_lock(&content->lock);
    content->dead = true;
    for (unsigned i = 0; i < UPLOAD_STATES; i++) {
        while (i != UPLOAD_SENT && content->uploads[i].head != NULL) {
            kith_upload_drop(content->uploads[i].head);
        }
    }
    kith_pieces_release(content);
    kith_content_inline_charge(content, false);
    pthread_mutex_lock(&content->store->lock);
    unlist(content);
    kith_lease_unlist(content);
    pthread_mutex_unlock(&content->store->lock);
    pthread_mutex_unlock(&content->lock);
    kith_content_drop(content);
}

enum kith_err kith_content_replace(struct kith_content *content, struct kith_bytes encoded)
{
    struct parsed parsed;
    enum kith_err err = parse(encoded, &parsed);
    if (err != KITH_OK) {
        return err;
    }
    pthread_mutex_lock(&content->lock);
    if (content->generation != content->flushed || content->flushing || content->loading) {
        pthread_mutex_unlock(&content->lock);
        kith_free(parsed.bytes);
        kith_extents_release(&parsed.extents);
        return KITH_EBUSY;
    }
    reset(content);
    install(content, &parsed);
    content->next_offset = content->window = 0;
    pthread_mutex_unlock(&content->lock);
    return KITH_OK;
}

uint64_t kith_content_size(struct kith_content *content)
{
    pthread_mutex_lock(&content->lock);
    uint64_t size = content->size;
    pthread_mutex_unlock(&content->lock);
    return size;
}

uint64_t kith_content_allocated(struct kith_content *content)
{
    pthread_mutex_lock(&content->lock);
    uint64_t allocated = content->is_inline ? content->size : content->extents.allocated;
    if (content->lists.kind != KITH_IMAGE_INLINE) {
        allocated = content->lists.allocated;
    }
    for (uint32_t i = 0; i < content->region_count; i++) { /* pieces where no extent is yet */
        for (uint32_t k = 0; k < content->regions[i].count; k++) {
            const struct piece *piece = &content->regions[i].pieces[k];
            uint64_t at = piece->offset, end = at + piece->length;
            while (at < end) {
                const struct kith_extent *extent = kith_extents_find(&content->extents, at);
                uint64_t next = extent == NULL ? end : kith_min_u64(end, extent->offset);
                allocated += next > at ? next - at : 0;
                at = extent == NULL ? end : extent->offset + extent->length;
            }
        }
    }
    pthread_mutex_unlock(&content->lock);
    return allocated;
}

bool kith_content_dirty(struct kith_content *content)
{
    pthread_mutex_lock(&content->lock);
    bool dirty = content->generation != content->flushed;
    pthread_mutex_unlock(&content->lock);
    return dirty;
}

void kith_content_touch(struct kith_content *content)
{
    struct kith_content_store *store = content->store;
    content->generation++;
    pthread_mutex_lock(&store->lock);
    if (!content->listed) {
        content->listed = true;
        content->dirty_next = NULL;
        content->dirty_prev = store->dirty_tail;
        *(store->dirty_tail == NULL ? &store->dirty_head : &store->dirty_tail->dirty_next) =
            content;
        store->dirty_tail = content;
    }
    pthread_mutex_unlock(&store->lock);
}

void kith_content_flushed(struct kith_content *content, uint64_t generation)
{
    pthread_mutex_lock(&content->lock);
    content->flushed = generation > content->flushed ? generation : content->flushed;
    if (content->flushed == content->generation) {
        kith_content_inline_charge(content, false);
        pthread_mutex_lock(&content->store->lock);
        unlist(content);
        pthread_mutex_unlock(&content->store->lock);
    }
    pthread_mutex_unlock(&content->lock);
}

/* ---- lists of extents that lie in chunks ---- */

struct loader {
    struct kith_content_store *store;
    struct kith_arena arena;
    uint64_t size;
    struct kith_extents extents;
    uint32_t index_count;
    struct kith_chunk_ref *index;
};

/* The body of each entry's chunk, in order; fetched UPLOADS_MAX at a time. */
static enum kith_err load_entries(struct loader *loader, const struct kith_list_entry *entries,
                                  uint32_t count, uint64_t end, enum kith_image_kind kind);

static enum kith_err load_one(struct loader *loader, const struct kith_list_entry *entry,
                              uint64_t end, enum kith_image_kind kind, struct kith_blob *blob)
{
    struct kith_bytes body;
    enum kith_err err = kith_list_chunk_body(kith_bytes_make(blob->data, blob->size), kind, &body);
    if (err != KITH_OK) {
        return err;
    }
    uint64_t before = loader->extents.allocated;
    if (kind == KITH_IMAGE_LISTS) {
        struct kith_list_entry *below;
        uint32_t count;
        err = kith_entries_decode(&loader->arena, body, entry->start, end, &below, &count);
        if (err == KITH_OK) {
            err = load_entries(loader, below, count, end, KITH_IMAGE_LEAF);
        }
    } else {
        err = kith_leaf_decode(&loader->extents, body, entry->start,
                               kith_min_u64(end, loader->size));
        if (err == KITH_OK) {
            struct kith_leaf *leaf = &loader->extents.leaves[loader->extents.leaf_count - 1];
            leaf->stored = true;
            leaf->ref = entry->ref;
        }
    }
    if (err == KITH_OK && loader->extents.allocated - before != entry->allocated) {
        err = KITH_EFORMAT;
    }
    return err;
}

static enum kith_err load_entries(struct loader *loader, const struct kith_list_entry *entries,
                                  uint32_t count, uint64_t end, enum kith_image_kind kind)
{
    struct entry *ahead[UPLOADS_MAX];
    uint32_t asked = 0, at = 0;
    enum kith_err err = KITH_OK;
    for (; at < count && err == KITH_OK; at++) {
        for (; asked < count && asked - at < UPLOADS_MAX; asked++) {
            err = kith_store_fetch(loader->store, &entries[asked].ref, &ahead[asked % UPLOADS_MAX]);
            if (err != KITH_OK) {
                break;
            }
        }
        if (err != KITH_OK) {
            break;
        }
        struct kith_blob *blob = NULL;
        err = kith_store_wait(ahead[at % UPLOADS_MAX], &blob);
        if (err == KITH_OK) {
            uint64_t next = at + 1 < count ? entries[at + 1].start : end;
            err = entries[at].start >= loader->size
                      ? KITH_EFORMAT
                      : load_one(loader, &entries[at], next, kind, blob);
            kith_blob_drop(blob);
        }
    }
    for (; at < asked; at++) {
        kith_store_drop(ahead[at % UPLOADS_MAX]);
    }
    return err;
}

static enum kith_err load_all(struct loader *loader, const struct kith_image *image)
{
    struct kith_list_entry *entries;
    uint32_t count;
    enum kith_err err = kith_entries_decode(&loader->arena, image->body, 0, image->size, &entries,
                                            &count);
    if (err != KITH_OK) {
        return err;
    }
    bool index = image->kind == KITH_IMAGE_INDEX;
    if (index) {
        loader->index = kith_calloc(count, sizeof(*loader->index));
        if (loader->index == NULL) {
            return KITH_ENOMEM;
        }
        for (uint32_t i = 0; i < count; i++) {
            loader->index[i] = entries[i].ref;
        }
        loader->index_count = count;
    }
    err = load_entries(loader, entries, count, image->size,
                       index ? KITH_IMAGE_LISTS : KITH_IMAGE_LEAF);
    if (err == KITH_OK && loader->extents.allocated != image->allocated) {
        err = KITH_EFORMAT;
    }
    return err;
}

enum kith_err kith_content_load(struct kith_content *content)
{
    while (content->loading) {
        pthread_cond_wait(&content->cond, &content->lock);
    }
    if (content->lists.kind == KITH_IMAGE_INLINE) {
        return KITH_OK;
    }
    content->loading = true; /* nobody changes lists and size until it is done */
    struct loader loader = {.store = content->store, .size = content->size};
    pthread_mutex_unlock(&content->lock);
    enum kith_err err = load_all(&loader, &content->lists);
    kith_arena_release(&loader.arena);
    pthread_mutex_lock(&content->lock);
    content->loading = false;
    if (err == KITH_OK) {
        content->extents = loader.extents;
        content->index = loader.index;
        content->index_count = loader.index_count;
        content->lists.kind = KITH_IMAGE_INLINE;
        kith_free(content->lists_bytes);
        content->lists_bytes = NULL;
    } else {
        kith_extents_release(&loader.extents);
        kith_free(loader.index);
    }
    pthread_cond_broadcast(&content->cond);
    return err;
}
