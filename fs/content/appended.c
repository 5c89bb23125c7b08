/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * appended.c - whether a newer version of a file is the one in memory, with something appended.
 *
 * What lies in the same place of the same chunk is the same, and is not read. The rest is compared:
 * the contents of a small file, and regions that were rewritten since because they had become too
 * fragmented. */
#include <string.h>

#include "fs/content/impl.h"

#define STEP (64u << 10) /* bytes read at once */
#define COMPARE_MAX (4u << 20)  /* bytes; where more lies elsewhere the file counts as another one */

/* What there is at an offset: a part of a chunk, a hole, or bytes that are not in chunks. */
struct place {
    bool extents;
    bool hole;
    struct kith_chunk_id id;
    uint64_t at;  /* in the chunk */
    uint64_t end; /* in the file */
};

static enum kith_err place_at(struct kith_content *content, uint64_t offset,
                              struct place *ret_place)
{
    memset(ret_place, 0, sizeof *ret_place);
    pthread_mutex_lock(&content->lock);
    enum kith_err err = kith_content_load(content);
    ret_place->extents = !content->is_inline && content->region_count == 0;
    if (err == KITH_OK && ret_place->extents) {
        const struct kith_extent *extent = kith_extents_find(&content->extents, offset);
        ret_place->hole = extent == NULL || extent->offset > offset;
        if (extent == NULL) {
            ret_place->end = KITH_FILE_SIZE_MAX;
        } else if (ret_place->hole) {
            ret_place->end = extent->offset;
        } else {
            ret_place->id = extent->chunk.id;
            ret_place->at = extent->chunk_offset + (offset - extent->offset);
            ret_place->end = extent->offset + extent->length;
        }
    }
    pthread_mutex_unlock(&content->lock);
    return err;
}

/* *ret_end: up to there they have the same from `offset` on, by where it lies; else `offset`. */
static enum kith_err alike_until(struct kith_content *older, struct kith_content *newer,
                                 uint64_t offset, uint64_t *ret_end)
{
    struct place a, b;
    enum kith_err err = place_at(older, offset, &a);
    if (err == KITH_OK) {
        err = place_at(newer, offset, &b);
    }
    if (err != KITH_OK) {
        return err;
    }
    bool alike = a.extents && b.extents && a.hole == b.hole &&
                 (a.hole || (a.at == b.at && memcmp(&a.id, &b.id, sizeof a.id) == 0));
    *ret_end = alike ? kith_min_u64(a.end, b.end) : offset;
    return KITH_OK;
}

/* *ret_same: so many bytes from `offset` on are the same. buffer has room for both. */
static enum kith_err compare(struct kith_content *older, struct kith_content *newer,
                             uint64_t offset, size_t size, uint8_t *buffer, bool *ret_same)
{
    size_t a = 0, b = 0;
    enum kith_err err = kith_content_read(older, offset, buffer, size, &a);
    if (err == KITH_OK) {
        err = kith_content_read(newer, offset, buffer + size, size, &b);
    }
    *ret_same =
        err == KITH_OK && a == size && b == size && memcmp(buffer, buffer + size, size) == 0;
    return err;
}

static enum kith_err begins(struct kith_content *older, struct kith_content *newer, uint64_t size,
                            bool *ret_begins)
{
    uint8_t *buffer = kith_malloc(2 * STEP);
    enum kith_err err = buffer != NULL ? KITH_OK : KITH_ENOMEM;
    uint64_t at = 0, compared = 0;
    bool same = true;
    while (err == KITH_OK && same && at < size) {
        uint64_t end = at;
        err = alike_until(older, newer, at, &end);
        if (err == KITH_OK && end == at) {
            size_t step = (size_t)kith_min_u64(STEP, size - at);
            compared += step;
            end = at + step;
            same = compared <= COMPARE_MAX;
            if (same) {
                err = compare(older, newer, at, step, buffer, &same);
            }
        }
        at = end;
    }
    kith_free(buffer);
    *ret_begins = err == KITH_OK && same;
    return err;
}

enum kith_err kith_content_appended(struct kith_content *content, struct kith_bytes encoded,
                                    bool *ret_appended)
{
    struct kith_content *newer;
    enum kith_err err = kith_content_new(content->store, encoded, &newer);
    if (err != KITH_OK) {
        return err;
    }
    uint64_t size = kith_content_size(content);
    *ret_appended = false;
    if (kith_content_size(newer) > size && !kith_content_dirty(content)) {
        err = begins(content, newer, size, ret_appended);
    }
    kith_content_free(newer);
    return err;
}
