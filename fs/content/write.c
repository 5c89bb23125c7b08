/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * write.c - what is written stands in memory: inline bytes, or pieces of a region.
 *
 * A piece grows at its end, so that a sequential writer copies each byte once, from the caller's
 * buffer into what becomes the chunk. A region that is full is cut and sent at once; the others
 * wait for the flush, or until memory is short. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "fs/content/impl.h"

#define PIECE_MIN 512u            /* bytes; the smallest buffer of a piece */
#define PIECE_WHOLE (128u << 10) /* a first write of so much gets the buffer of a whole region */

static uint64_t piece_end(const struct piece *piece)
{
    return piece->offset + piece->length;
}

/* ---- inline bytes ---- */

void kith_content_inline_charge(struct kith_content *content, bool dirty)
{
    size_t target = dirty ? content->bytes_capacity : 0;
    kith_store_charge(content->store, target, content->bytes_charged);
    content->bytes_charged = target;
}

/* Room for `size` bytes, zeros behind the old end. */
static enum kith_err inline_grow(struct kith_content *content, size_t size)
{
    if (size > content->bytes_capacity) {
        size_t capacity = content->bytes_capacity * 2 > size ? content->bytes_capacity * 2 : size;
        uint8_t *bytes = kith_realloc(content->bytes, capacity);
        if (bytes == NULL) {
            return KITH_ENOMEM;
        }
        content->bytes = bytes;
        content->bytes_capacity = capacity;
    }
    if (size > content->size) {
        memset(content->bytes + content->size, 0, size - (size_t)content->size);
        content->size = size;
    }
    return KITH_OK;
}

enum kith_err kith_content_spread(struct kith_content *content)
{
    if (!content->is_inline) {
        return KITH_OK;
    }
    if (content->size > 0) {
        enum kith_err err =
            kith_pieces_write(content, 0, content->bytes, (size_t)content->size);
        if (err != KITH_OK) {
            kith_pieces_release(content);
            return err;
        }
    }
    content->is_inline = false;
    kith_content_inline_charge(content, false);
    kith_free(content->bytes);
    content->bytes = NULL;
    content->bytes_capacity = 0;
    return KITH_OK;
}

/* ---- pieces ---- */

uint32_t kith_regions_seek(const struct kith_content *content, uint64_t offset)
{
    uint32_t low = 0, high = content->region_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (content->regions[middle].start + KITH_REGION_SIZE <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum kith_err region_get(struct kith_content *content, uint64_t start, struct region **ret)
{
    uint32_t at = kith_regions_seek(content, start);
    if (at < content->region_count && content->regions[at].start == start) {
        *ret = &content->regions[at];
        return KITH_OK;
    }
    if (content->region_count == content->region_capacity) {
        uint32_t capacity = content->region_capacity == 0 ? 2 : content->region_capacity * 2;
        struct region *regions = kith_realloc(content->regions, capacity * sizeof(*regions));
        if (regions == NULL) {
            return KITH_ENOMEM;
        }
        content->regions = regions;
        content->region_capacity = capacity;
    }
    memmove(content->regions + at + 1, content->regions + at,
            (content->region_count - at) * sizeof(*content->regions));
    content->region_count++;
    content->regions[at] = (struct region){.start = start};
    *ret = &content->regions[at];
    return KITH_OK;
}

static enum kith_err region_room(struct region *region)
{
    if (region->count < region->capacity) {
        return KITH_OK;
    }
    uint32_t capacity = region->capacity == 0 ? 1 : region->capacity * 2;
    struct piece *pieces = kith_realloc(region->pieces, capacity * sizeof(*pieces));
    if (pieces == NULL) {
        return KITH_ENOMEM;
    }
    region->pieces = pieces;
    region->capacity = capacity;
    return KITH_OK;
}

/* A buffer for `length` bytes at `offset`, with room to grow up to the region's end. */
static enum kith_err piece_make(struct piece *piece, uint64_t offset, uint32_t length,
                                uint32_t capacity)
{
    uint32_t most = (uint32_t)(kith_region_of(offset) + KITH_REGION_SIZE - offset);
    capacity = capacity < PIECE_MIN ? PIECE_MIN : capacity;
    capacity = length >= PIECE_WHOLE || capacity > most ? most : capacity;
    KITH_ASSERT(capacity >= length);
    piece->blob = kith_blob_new(capacity);
    if (piece->blob == NULL) {
        return KITH_ENOMEM;
    }
    piece->offset = offset;
    piece->length = length;
    piece->capacity = capacity;
    return KITH_OK;
}

/* The first piece that ends at or after `offset`. */
static uint32_t piece_seek(const struct region *region, uint64_t offset)
{
    uint32_t low = 0, high = region->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (piece_end(&region->pieces[middle]) < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Replaces pieces [first, last) by `piece`, or inserts it where first == last. There is room. */
static void piece_replace(struct kith_content *content, struct region *region, uint32_t first,
                          uint32_t last, const struct piece *piece)
{
    size_t freed = 0;
    for (uint32_t i = first; i < last; i++) {
        freed += region->pieces[i].capacity;
        kith_blob_drop(region->pieces[i].blob);
    }
    memmove(region->pieces + first + 1, region->pieces + last,
            (region->count - last) * sizeof(*region->pieces));
    region->pieces[first] = *piece;
    region->count = region->count - (last - first) + 1;
    kith_store_charge(content->store, piece->capacity, freed);
}

static enum kith_err region_write(struct kith_content *content, struct region *region,
                                  uint64_t offset, const uint8_t *data, uint32_t size, bool whole)
{
    uint64_t end = offset + size;
    uint32_t first = piece_seek(region, offset), last = first;
    while (last < region->count && region->pieces[last].offset < end) {
        last++;
    }
    struct piece *old = first < last ? &region->pieces[first] : NULL; /* pieces may be NULL */
    if (last - first == 1 && old->offset <= offset && end - old->offset <= old->capacity) {
        memcpy(old->blob->data + (offset - old->offset), data, size);
        old->length = (uint32_t)(end > piece_end(old) ? end - old->offset : old->length);
        return KITH_OK;
    }
    enum kith_err err = region_room(region);
    if (err != KITH_OK) {
        return err;
    }
    uint64_t low = offset, high = end;
    uint32_t capacity = whole ? KITH_REGION_SIZE : 0;
    if (first < last) {
        old = &region->pieces[first];
        low = old->offset < low ? old->offset : low;
        high = piece_end(&region->pieces[last - 1]) > high ? piece_end(&region->pieces[last - 1])
                                                           : high;
        capacity = (uint32_t)(high - low) * 2;
    }
    struct piece piece;
    capacity = capacity < high - low ? (uint32_t)(high - low) : capacity;
    err = piece_make(&piece, low, (uint32_t)(high - low), capacity);
    if (err != KITH_OK) {
        return err;
    }
    for (uint32_t i = first; i < last; i++) {
        memcpy(piece.blob->data + (region->pieces[i].offset - low), region->pieces[i].blob->data,
               region->pieces[i].length);
    }
    memcpy(piece.blob->data + (offset - low), data, size);
    piece_replace(content, region, first, last, &piece);
    return KITH_OK;
}

enum kith_err kith_pieces_write(struct kith_content *content, uint64_t offset, const uint8_t *data,
                                size_t size)
{
    while (size > 0) {
        uint64_t start = kith_region_of(offset);
        uint32_t part = (uint32_t)kith_min_u64(size, start + KITH_REGION_SIZE - offset);
        struct region *region;
        enum kith_err err = region_get(content, start, &region);
        if (err != KITH_OK) {
            return err;
        }
        /* at a region's start, behind the end of what was there: a sequential writer */
        bool whole = offset == start && start > 0 && offset >= content->size;
        err = region_write(content, region, offset, data, part, whole);
        if (err != KITH_OK) {
            return err;
        }
        if (region->count == 1 && region->pieces[0].length == KITH_REGION_SIZE &&
            !content->is_inline) {
            err = kith_region_cut(content, (uint32_t)(region - content->regions));
            KITH_ASSERT(err == KITH_OK || err == KITH_ENOMEM); /* then the flush cuts it */
        }
        offset += part;
        data += part;
        size -= part;
    }
    return KITH_OK;
}

static enum kith_err region_punch(struct kith_content *content, struct region *region,
                                  uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < region->count;) {
        struct piece *piece = &region->pieces[i];
        uint64_t end = piece_end(piece);
        if (end <= from || piece->offset >= to) {
            i++;
            continue;
        }
        if (end > to) { /* its tail gets a buffer of its own: one blob, one owner */
            enum kith_err err = region_room(region);
            struct piece tail;
            if (err == KITH_OK) {
                err = piece_make(&tail, to, (uint32_t)(end - to), (uint32_t)(end - to));
            }
            if (err != KITH_OK) {
                return err;
            }
            piece = &region->pieces[i];
            memcpy(tail.blob->data, piece->blob->data + (to - piece->offset), tail.length);
            piece->length = (uint32_t)(to - piece->offset);
            piece_replace(content, region, i + 1, i + 1, &tail);
            piece = &region->pieces[i];
        }
        if (piece->offset < from) {
            piece->length = (uint32_t)(from - piece->offset);
            i++;
            continue;
        }
        kith_store_charge(content->store, 0, piece->capacity);
        kith_blob_drop(piece->blob);
        memmove(piece, piece + 1, (region->count - i - 1) * sizeof(*piece));
        region->count--;
    }
    return KITH_OK;
}

enum kith_err kith_pieces_punch(struct kith_content *content, uint64_t offset, uint64_t end)
{
    uint32_t at = kith_regions_seek(content, offset);
    while (at < content->region_count && content->regions[at].start < end) {
        struct region *region = &content->regions[at];
        enum kith_err err = region_punch(content, region, offset, end);
        if (err != KITH_OK) {
            return err;
        }
        if (region->count > 0) {
            at++;
            continue;
        }
        kith_free(region->pieces);
        memmove(region, region + 1, (content->region_count - at - 1) * sizeof(*region));
        content->region_count--;
    }
    return KITH_OK;
}

void kith_pieces_release(struct kith_content *content)
{
    for (uint32_t i = 0; i < content->region_count; i++) {
        struct region *region = &content->regions[i];
        for (uint32_t k = 0; k < region->count; k++) {
            kith_store_charge(content->store, 0, region->pieces[k].capacity);
            kith_blob_drop(region->pieces[k].blob);
        }
        kith_free(region->pieces);
    }
    kith_free(content->regions);
    content->regions = NULL;
    content->region_count = content->region_capacity = 0;
}

/* ---- the dirty budget ---- */

/* Sends what others and we have in pieces, so that memory becomes free before their flush. */
static void relieve(struct kith_content *content)
{
    struct kith_content_store *store = content->store;
    for (uint32_t i = 0; i < PRESSURE_CONTENTS; i++) {
        pthread_mutex_lock(&store->lock);
        struct kith_content *victim = store->dirty_head;
        if (victim != NULL) { /* to the end: the next writer takes the next ones */
            victim->refs++;
            if (victim != store->dirty_tail) {
                store->dirty_head = victim->dirty_next;
                store->dirty_head->dirty_prev = NULL;
                victim->dirty_prev = store->dirty_tail;
                victim->dirty_next = NULL;
                store->dirty_tail->dirty_next = victim;
                store->dirty_tail = victim;
            }
        }
        bool enough = store->stats.dirty_bytes < store->dirty_limit;
        pthread_mutex_unlock(&store->lock);
        if (victim == NULL) {
            return;
        }
        if (!enough) {
            pthread_mutex_lock(&victim->lock);
            enum kith_err err = victim->dead ? KITH_OK : kith_regions_cut(victim);
            if (err == KITH_OK && !victim->flushing) {
                while (victim->uploads[UPLOAD_FAILED].head != NULL) {
                    kith_upload_move(victim->uploads[UPLOAD_FAILED].head, UPLOAD_QUEUED);
                }
                victim->paused = false;
            }
            pthread_mutex_unlock(&victim->lock);
            kith_uploads_pump(victim);
        }
        kith_content_drop(victim);
        if (enough) {
            return;
        }
    }
}

/* Waits until there is room for more dirty memory. A single writer may pass the limit by what one
 * call brings. Gives up when nothing became free for the time of one transfer, unless the mount is
 * hard. */
static enum kith_err gate(struct kith_content *content)
{
    struct kith_content_store *store = content->store;
    pthread_mutex_lock(&store->lock);
    bool open = store->stats.dirty_bytes < store->dirty_limit;
    pthread_mutex_unlock(&store->lock);
    if (open) {
        return KITH_OK;
    }
    relieve(content);
    uint32_t timeout_ms = store->timeout_ms == 0 ? TIMEOUT_DEFAULT_MS : store->timeout_ms;
    enum kith_err err = KITH_OK;
    pthread_mutex_lock(&store->lock);
    size_t before = store->stats.dirty_bytes;
    uint64_t failures = store->stats.upload_failures;
    struct timespec until = {0, 0};
    while (store->stats.dirty_bytes >= store->dirty_limit && err == KITH_OK) {
        if (until.tv_sec == 0 || store->stats.dirty_bytes < before) {
            before = store->stats.dirty_bytes;
            KITH_ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
            until.tv_sec += (time_t)(timeout_ms / 1000u) + 1;
        }
        if (pthread_cond_timedwait(&store->cond, &store->lock, &until) == ETIMEDOUT) {
            until.tv_sec = 0; /* hard: from now on again */
            err = store->hard ? KITH_OK : KITH_ETIMEOUT;
        } else if (store->stats.upload_failures > failures) {
            err = KITH_EBUSY; /* ours? then it is named below */
            failures = store->stats.upload_failures;
        }
        if (err == KITH_EBUSY) {
            pthread_mutex_unlock(&store->lock);
            pthread_mutex_lock(&content->lock);
            err = content->failure;
            content->failure = KITH_OK;
            pthread_mutex_unlock(&content->lock);
            pthread_mutex_lock(&store->lock);
        }
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}

/* ---- the public ones ---- */

/* With the lock: an earlier failure is told now, once; else the extents are there. */
static enum kith_err begin_change(struct kith_content *content)
{
    enum kith_err err = content->failure;
    content->failure = KITH_OK;
    return err == KITH_OK ? kith_content_load(content) : err;
}

static enum kith_err write_locked(struct kith_content *content, uint64_t offset,
                                  const uint8_t *data, size_t size)
{
    if (offset > KITH_FILE_SIZE_MAX || size > KITH_FILE_SIZE_MAX - offset) {
        return KITH_ETOOBIG;
    }
    uint64_t end = offset + size;
    if (size == 0) {
        return KITH_OK;
    }
    enum kith_err err;
    if (content->is_inline && end <= KITH_CONTENT_INLINE_MAX) {
        err = inline_grow(content, (size_t)end > content->size ? (size_t)end
                                                              : (size_t)content->size);
        if (err == KITH_OK) {
            memcpy(content->bytes + offset, data, size);
            kith_content_inline_charge(content, true);
        }
    } else {
        err = kith_content_spread(content);
        if (err == KITH_OK) {
            err = kith_pieces_write(content, offset, data, size);
        }
    }
    if (err == KITH_OK) {
        content->size = end > content->size ? end : content->size;
        kith_content_touch(content);
    }
    return err;
}

enum kith_err kith_content_write(struct kith_content *content, uint64_t offset, const uint8_t *data,
                                 size_t size)
{
    enum kith_err err = gate(content);
    if (err != KITH_OK) {
        return err;
    }
    pthread_mutex_lock(&content->lock);
    err = begin_change(content);
    if (err == KITH_OK) {
        err = write_locked(content, offset, data, size);
    }
    pthread_mutex_unlock(&content->lock);
    kith_uploads_pump(content);
    return err;
}

enum kith_err kith_content_try_write(struct kith_content *content, bool append, uint64_t offset,
                                     const uint8_t *data, size_t size)
{
    struct kith_content_store *store = content->store;
    if (pthread_mutex_trylock(&content->lock) != 0) {
        return KITH_EBUSY;
    }
    pthread_mutex_lock(&store->lock);
    bool open = store->stats.dirty_bytes < store->dirty_limit;
    pthread_mutex_unlock(&store->lock);
    bool waits = !open || content->failure != KITH_OK || content->loading ||
                 content->lists.kind != KITH_IMAGE_INLINE;
    enum kith_err err = KITH_EBUSY;
    if (!waits) {
        err = write_locked(content, append ? content->size : offset, data, size);
    }
    bool pump = !content->is_inline;
    pthread_mutex_unlock(&content->lock);
    if (pump) {
        kith_uploads_pump(content);
    }
    return err;
}

enum kith_err kith_content_append(struct kith_content *content, const uint8_t *data, size_t size,
                                  uint64_t *ret_offset)
{
    enum kith_err err = gate(content);
    if (err != KITH_OK) {
        return err;
    }
    pthread_mutex_lock(&content->lock);
    err = begin_change(content);
    uint64_t offset = content->size;
    if (err == KITH_OK) {
        err = write_locked(content, offset, data, size);
    }
    pthread_mutex_unlock(&content->lock);
    kith_uploads_pump(content);
    if (err == KITH_OK) {
        *ret_offset = offset;
    }
    return err;
}

enum kith_err kith_content_truncate(struct kith_content *content, uint64_t size)
{
    if (size > KITH_FILE_SIZE_MAX) {
        return KITH_ETOOBIG;
    }
    pthread_mutex_lock(&content->lock);
    enum kith_err err = size == 0 ? KITH_OK : kith_content_load(content);
    if (err == KITH_OK && size == content->size && content->lists.kind == KITH_IMAGE_INLINE) {
        pthread_mutex_unlock(&content->lock);
        return KITH_OK;
    }
    if (err == KITH_OK && size == 0 && !content->loading) { /* never needs what was there */
        content->lists.kind = KITH_IMAGE_INLINE;
    } else if (err == KITH_OK) {
        err = kith_content_load(content);
    }
    if (err == KITH_OK && content->is_inline && size <= KITH_CONTENT_INLINE_MAX) {
        err = size > content->size ? inline_grow(content, (size_t)size) : KITH_OK;
        if (err == KITH_OK) {
            content->size = size;
            kith_content_inline_charge(content, true);
        }
    } else if (err == KITH_OK) {
        err = kith_content_spread(content);
        if (err == KITH_OK) {
            err = kith_pieces_punch(content, size, UINT64_MAX);
        }
        if (err == KITH_OK) {
            kith_extents_truncate(&content->extents, size);
            content->size = size;
            content->is_inline = size == 0; /* most often what is written next is small */
        }
    }
    if (err == KITH_OK) {
        kith_content_touch(content);
    }
    pthread_mutex_unlock(&content->lock);
    return err;
}

enum kith_err kith_content_punch(struct kith_content *content, uint64_t offset, uint64_t size)
{
    pthread_mutex_lock(&content->lock);
    enum kith_err err = begin_change(content);
    uint64_t end = size > UINT64_MAX - offset ? UINT64_MAX : offset + size;
    end = kith_min_u64(end, content->size);
    if (err == KITH_OK && offset < end) {
        if (content->is_inline) {
            memset(content->bytes + offset, 0, (size_t)(end - offset));
            kith_content_inline_charge(content, true);
        } else {
            err = kith_pieces_punch(content, offset, end);
            if (err == KITH_OK) {
                err = kith_extents_punch(&content->extents, offset, end - offset);
            }
        }
        if (err == KITH_OK) {
            kith_content_touch(content);
        }
    }
    pthread_mutex_unlock(&content->lock);
    return err;
}

enum kith_err kith_content_allocate(struct kith_content *content, uint64_t offset, uint64_t size,
                                    bool keep_size)
{
    if (offset > KITH_FILE_SIZE_MAX || size > KITH_FILE_SIZE_MAX - offset) {
        return KITH_ETOOBIG;
    }
    if (keep_size || offset + size <= kith_content_size(content)) {
        return KITH_OK; /* holes read as zeros as they are */
    }
    return kith_content_truncate(content, offset + size);
}
