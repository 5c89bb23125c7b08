/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * read.c - reading, reading ahead, looking for holes, and copying ranges. */
#include <string.h>

#include "fs/content/impl.h"

#define PARTS_INLINE 16u /* parts of one read that need no heap */
#define AHEAD_PARTS 64u  /* chunks that one read may ask for ahead */
#define AHEAD_SLACK (2u << 20) /* bytes; parallel reads of the kernel come out of order */
#define AHEAD_FIRST (1u << 20)
#define COPY_STEP KITH_REGION_SIZE

/* A range that comes from a chunk. */
struct part {
    size_t at; /* in the caller's buffer */
    uint32_t length;
    uint32_t chunk_offset;
    struct kith_chunk_ref ref;
    struct entry *entry; /* held, or NULL: not in memory */
};

struct plan {
    struct part *parts;
    uint32_t count, capacity;
    struct part first[PARTS_INLINE];
};

static enum kith_err plan_add(struct plan *plan, struct kith_content_store *store, size_t at,
                              uint32_t length, const struct kith_extent *extent, uint64_t offset)
{
    if (plan->count == plan->capacity) {
        uint32_t capacity = plan->capacity * 2;
        struct part *parts = kith_malloc(capacity * sizeof(*parts));
        if (parts == NULL) {
            return KITH_ENOMEM;
        }
        memcpy(parts, plan->parts, plan->count * sizeof(*parts));
        if (plan->parts != plan->first) {
            kith_free(plan->parts);
        }
        plan->parts = parts;
        plan->capacity = capacity;
    }
    struct part *part = &plan->parts[plan->count++];
    part->at = at;
    part->length = length;
    part->chunk_offset = extent->chunk_offset + (uint32_t)(offset - extent->offset);
    part->ref = extent->chunk;
    part->entry = kith_store_lookup(store, &part->ref.id);
    return KITH_OK;
}

/* [offset, end) from extents and holes; data is where `base` goes. */
static enum kith_err plan_clean(struct kith_content *content, struct plan *plan, uint64_t base,
                                uint64_t offset, uint64_t end, uint8_t *data)
{
    while (offset < end) {
        const struct kith_extent *extent = kith_extents_find(&content->extents, offset);
        uint64_t start = extent == NULL ? end : kith_min_u64(extent->offset, end);
        if (start > offset) {
            memset(data + (offset - base), 0, (size_t)(start - offset));
            offset = start;
            continue;
        }
        uint64_t stop = kith_min_u64(end, extent->offset + extent->length);
        enum kith_err err = plan_add(plan, content->store, (size_t)(offset - base),
                                     (uint32_t)(stop - offset), extent, offset);
        if (err != KITH_OK) {
            return err;
        }
        offset = stop;
    }
    return KITH_OK;
}

/* With the lock: copies what is dirty, zeroes holes, plans the rest. */
static enum kith_err plan_make(struct kith_content *content, struct plan *plan, uint64_t offset,
                               uint64_t end, uint8_t *data)
{
    uint64_t at = offset;
    uint32_t index = kith_regions_seek(content, offset);
    for (; index < content->region_count && content->regions[index].start < end; index++) {
        const struct region *region = &content->regions[index];
        for (uint32_t i = 0; i < region->count; i++) {
            const struct piece *piece = &region->pieces[i];
            uint64_t from = piece->offset > at ? piece->offset : at;
            uint64_t to = kith_min_u64(piece->offset + piece->length, end);
            if (from >= to) {
                continue;
            }
            enum kith_err err = plan_clean(content, plan, offset, at, from, data);
            if (err != KITH_OK) {
                return err;
            }
            memcpy(data + (from - offset), piece->blob->data + (from - piece->offset),
                   (size_t)(to - from));
            at = to;
        }
    }
    return plan_clean(content, plan, offset, at, end, data);
}

/* With the lock. A reader that goes on where the last one ended gets twice as much ahead. */
static uint32_t ahead_plan(struct kith_content *content, uint64_t offset, uint64_t end,
                           struct kith_chunk_ref *refs)
{
    uint64_t next = content->next_offset;
    if (offset > next + AHEAD_SLACK || offset + AHEAD_SLACK < next) {
        content->window = 0;
        content->next_offset = end;
        return 0;
    }
    content->next_offset = end > next ? end : next;
    uint64_t window = content->window == 0 ? AHEAD_FIRST : content->window * 2;
    content->window = kith_min_u64(window, content->store->readahead);
    uint64_t stop = content->next_offset + content->window;
    const struct kith_extent *extent = kith_extents_find(&content->extents, end);
    uint32_t count = 0;
    while (extent != NULL && extent->offset < stop && count < AHEAD_PARTS) {
        if (count == 0 ||
            memcmp(&refs[count - 1].id, &extent->chunk.id, sizeof(extent->chunk.id)) != 0) {
            refs[count++] = extent->chunk;
        }
        extent = kith_extents_find(&content->extents, extent->offset + extent->length);
    }
    return count;
}

static enum kith_err plan_run(struct kith_content_store *store, struct plan *plan, uint8_t *data)
{
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; i < plan->count && err == KITH_OK; i++) { /* all at once */
        if (plan->parts[i].entry == NULL) {
            err = kith_store_fetch(store, &plan->parts[i].ref, &plan->parts[i].entry);
        }
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        struct part *part = &plan->parts[i];
        struct kith_blob *blob = NULL;
        if (part->entry == NULL) {
            continue;
        }
        if (err != KITH_OK) {
            kith_store_drop(part->entry);
            continue;
        }
        err = kith_store_wait(part->entry, &blob);
        if (err == KITH_OK) {
            /* the sizes were compared when it came */
            memcpy(data + part->at, blob->data + part->chunk_offset, part->length);
            kith_blob_drop(blob);
        }
    }
    return err;
}

enum kith_err kith_content_try_read(struct kith_content *content, uint64_t offset, uint8_t *data,
                                    size_t size, size_t *ret_size)
{
    if (pthread_mutex_trylock(&content->lock) != 0) {
        return KITH_EBUSY;
    }
    bool here = content->is_inline && !content->loading && content->failure == KITH_OK &&
                content->lists.kind == KITH_IMAGE_INLINE;
    if (here) {
        *ret_size = offset >= content->size ? 0 : kith_min_size(size, content->size - offset);
        if (*ret_size > 0) {
            memcpy(data, content->bytes + offset, *ret_size);
        }
    }
    pthread_mutex_unlock(&content->lock);
    return here ? KITH_OK : KITH_EBUSY;
}

enum kith_err kith_content_read(struct kith_content *content, uint64_t offset, uint8_t *data,
                                size_t size, size_t *ret_size)
{
    struct kith_content_store *store = content->store;
    struct kith_chunk_ref ahead[AHEAD_PARTS];
    struct plan plan;
    plan.parts = plan.first;
    plan.count = 0;
    plan.capacity = PARTS_INLINE;
    uint32_t ahead_count = 0;
    pthread_mutex_lock(&content->lock);
    enum kith_err err = kith_content_load(content);
    if (err != KITH_OK || offset >= content->size || size == 0) {
        pthread_mutex_unlock(&content->lock);
        if (err == KITH_OK) {
            *ret_size = 0;
        }
        return err;
    }
    size = (size_t)kith_min_u64(size, content->size - offset);
    if (content->is_inline) {
        memcpy(data, content->bytes + offset, size);
    } else {
        err = plan_make(content, &plan, offset, offset + size, data);
        ahead_count = ahead_plan(content, offset, offset + size, ahead);
    }
    pthread_mutex_unlock(&content->lock);
    if (err == KITH_OK && ahead_count > 0 && plan.count > 0) {
        /* what is read now goes first */
        for (uint32_t i = 0; i < plan.count && err == KITH_OK; i++) {
            if (plan.parts[i].entry == NULL) {
                err = kith_store_fetch(store, &plan.parts[i].ref, &plan.parts[i].entry);
            }
        }
    }
    for (uint32_t i = 0; i < ahead_count && err == KITH_OK; i++) {
        struct entry *entry;
        if (kith_store_fetch(store, &ahead[i], &entry) != KITH_OK) {
            break; /* only a guess: whoever needs it asks again */
        }
        kith_store_drop(entry);
    }
    if (err == KITH_OK) {
        err = plan_run(store, &plan, data);
    } else {
        for (uint32_t i = 0; i < plan.count; i++) {
            if (plan.parts[i].entry != NULL) {
                kith_store_drop(plan.parts[i].entry);
            }
        }
    }
    if (plan.parts != plan.first) {
        kith_free(plan.parts);
    }
    if (err == KITH_OK) {
        *ret_size = size;
    }
    return err;
}

/* ---- holes ---- */

/* The first dirty or mapped byte at or after `offset`, and where that range ends. */
static bool data_at(const struct kith_content *content, uint64_t offset, uint64_t *ret_start,
                    uint64_t *ret_end)
{
    const struct kith_extent *extent = kith_extents_find(&content->extents, offset);
    uint64_t start = UINT64_MAX, end = 0;
    if (extent != NULL) {
        start = extent->offset;
        end = start + extent->length;
    }
    for (uint32_t at = kith_regions_seek(content, offset); at < content->region_count; at++) {
        const struct region *region = &content->regions[at];
        for (uint32_t i = 0; i < region->count; i++) {
            const struct piece *piece = &region->pieces[i];
            if (piece->offset + piece->length > offset) {
                if (piece->offset < start) {
                    start = piece->offset;
                    end = start + piece->length;
                }
                goto out;
            }
        }
    }
out:
    if (start == UINT64_MAX) {
        return false;
    }
    *ret_start = start > offset ? start : offset;
    *ret_end = end;
    return true;
}

enum kith_err kith_content_seek(struct kith_content *content, uint64_t offset, bool data,
                                uint64_t *ret_offset)
{
    pthread_mutex_lock(&content->lock);
    enum kith_err err = kith_content_load(content);
    if (err == KITH_OK && offset >= content->size) {
        err = KITH_ENOTFOUND;
    }
    uint64_t at = offset, start = 0, end = 0;
    if (err == KITH_OK && content->is_inline) {
        at = data ? offset : content->size;
    } else if (err == KITH_OK && data) {
        if (data_at(content, offset, &start, &end) && start < content->size) {
            at = start;
        } else {
            err = KITH_ENOTFOUND;
        }
    } else if (err == KITH_OK) {
        while (at < content->size && data_at(content, at, &start, &end) && start == at) {
            at = end;
        }
        at = kith_min_u64(at, content->size); /* there is a hole at the end of every file */
    }
    pthread_mutex_unlock(&content->lock);
    if (err == KITH_OK) {
        *ret_offset = at;
    }
    return err;
}

/* ---- copy_file_range ---- */

/* With the lock of `from`: what stands at `offset`, at most `*length` bytes of one sort. */
enum copy_sort { COPY_BYTES, COPY_HOLE, COPY_SHARE };

static enum copy_sort copy_look(struct kith_content *from, uint64_t offset, uint64_t *length,
                                struct kith_extent *ret_extent)
{
    if (from->is_inline) {
        return COPY_BYTES;
    }
    uint64_t start, end;
    if (!data_at(from, offset, &start, &end)) {
        return COPY_HOLE;
    }
    if (start > offset) {
        *length = kith_min_u64(*length, start - offset);
        return COPY_HOLE;
    }
    *length = kith_min_u64(*length, end - offset);
    uint32_t at = kith_regions_seek(from, offset);
    const struct kith_extent *extent = kith_extents_find(&from->extents, offset);
    if ((at < from->region_count && from->regions[at].start < offset + *length) ||
        extent == NULL || extent->offset > offset ||
        kith_store_is_pinned(from->store, &extent->chunk.id)) {
        return COPY_BYTES; /* dirty, or not yet acknowledged: nobody else may name it */
    }
    *length = kith_min_u64(*length, extent->offset + extent->length - offset);
    *ret_extent = *extent;
    ret_extent->chunk_offset += (uint32_t)(offset - extent->offset);
    return COPY_SHARE;
}

static enum kith_err copy_bytes(struct kith_content *from, uint64_t from_offset,
                                struct kith_content *to, uint64_t to_offset, uint64_t *length)
{
    size_t size = (size_t)kith_min_u64(*length, COPY_STEP), got = 0;
    uint8_t *bytes = kith_malloc(size);
    if (bytes == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err = kith_content_read(from, from_offset, bytes, size, &got);
    if (err == KITH_OK) {
        err = kith_content_write(to, to_offset, bytes, got);
    }
    kith_free(bytes);
    *length = got;
    return err;
}

/* A hole or a shared extent (NULL: hole) at `offset`, which may make the file longer. */
static enum kith_err copy_map(struct kith_content *to, uint64_t offset, uint64_t length,
                              const struct kith_extent *shared)
{
    pthread_mutex_lock(&to->lock);
    enum kith_err err = kith_content_load(to);
    if (err == KITH_OK) {
        err = kith_content_spread(to);
    }
    if (err == KITH_OK) {
        err = kith_pieces_punch(to, offset, offset + length);
    }
    if (err == KITH_OK && shared == NULL) {
        err = kith_extents_punch(&to->extents, offset, length);
    } else if (err == KITH_OK) {
        struct kith_extent extent = *shared;
        extent.offset = offset;
        extent.length = (uint32_t)length;
        err = kith_extents_insert(&to->extents, &extent);
        to->others_synced = false; /* another object put it */
    }
    if (err == KITH_OK) {
        to->size = offset + length > to->size ? offset + length : to->size;
        kith_content_touch(to);
    }
    pthread_mutex_unlock(&to->lock);
    return err;
}

enum kith_err kith_content_copy_range(struct kith_content *from, uint64_t from_offset,
                                      struct kith_content *to, uint64_t to_offset, uint64_t size,
                                      uint64_t *ret_size)
{
    uint64_t done = 0;
    if (to_offset > KITH_FILE_SIZE_MAX || size > KITH_FILE_SIZE_MAX - to_offset) {
        return KITH_ETOOBIG;
    }
    /* as long as `from` is now: within one file the copy itself makes it longer */
    uint64_t end = kith_content_size(from);
    size = from_offset >= end ? 0 : kith_min_u64(size, end - from_offset);
    enum kith_err err = KITH_OK;
    while (done < size && err == KITH_OK) {
        uint64_t offset = from_offset + done, target = to_offset + done;
        struct kith_extent extent;
        pthread_mutex_lock(&from->lock);
        err = kith_content_load(from);
        if (err != KITH_OK || offset >= from->size) {
            pthread_mutex_unlock(&from->lock);
            break;
        }
        uint64_t length = kith_min_u64(size - done, from->size - offset);
        enum copy_sort sort = copy_look(from, offset, &length, &extent);
        pthread_mutex_unlock(&from->lock);
        if (sort == COPY_BYTES) {
            err = copy_bytes(from, offset, to, target, &length);
        } else {
            if (sort == COPY_SHARE) { /* an extent never crosses a region */
                length = kith_min_u64(length, kith_region_of(target) + KITH_REGION_SIZE - target);
            }
            err = copy_map(to, target, length, sort == COPY_SHARE ? &extent : NULL);
        }
        if (err == KITH_OK && length == 0) {
            break; /* it became shorter meanwhile */
        }
        done += err == KITH_OK ? length : 0;
    }
    if (err == KITH_OK || done > 0) {
        *ret_size = done;
        return KITH_OK;
    }
    return err;
}
