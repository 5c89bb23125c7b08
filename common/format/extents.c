/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * extents.c - see extents.h. The bytes are in extents_codec.c. */
#include "format/extents.h"

#include <string.h>

#include "base/assert.h"

static uint64_t extent_end(const struct kith_extent *extent)
{
    return extent->offset + extent->length;
}

static uint64_t region_start(uint64_t offset)
{
    return offset - offset % KITH_REGION_SIZE;
}

void kith_extents_release(struct kith_extents *list)
{
    for (uint32_t i = 0; i < list->leaf_count; i++) {
        kith_free(list->leaves[i].extents);
    }
    kith_free(list->leaves);
    memset(list, 0, sizeof(*list));
}

/* The leaf whose range holds `offset`. */
static uint32_t leaf_of(const struct kith_extents *list, uint64_t offset)
{
    uint32_t low = 0, high = list->leaf_count;
    while (low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->leaves[middle].start <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first extent of the leaf that ends after `offset`. */
static uint32_t leaf_seek(const struct kith_leaf *leaf, uint64_t offset)
{
    uint32_t low = 0, high = leaf->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (extent_end(&leaf->extents[middle]) <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum kith_err leaf_room(struct kith_leaf *leaf, uint32_t more)
{
    if (leaf->capacity - leaf->count >= more) {
        return KITH_OK;
    }
    uint32_t capacity = leaf->capacity < 8 ? 8 : leaf->capacity + leaf->capacity / 2;
    capacity = capacity < leaf->count + more ? leaf->count + more : capacity;
    struct kith_extent *extents = kith_realloc(leaf->extents, capacity * sizeof(*extents));
    if (extents == NULL) {
        return KITH_ENOMEM;
    }
    leaf->extents = extents;
    leaf->capacity = capacity;
    return KITH_OK;
}

static enum kith_err leaves_room(struct kith_extents *list)
{
    if (list->leaf_count < list->leaf_capacity) {
        return KITH_OK;
    }
    uint32_t capacity = list->leaf_capacity == 0 ? 1 : list->leaf_capacity * 2;
    struct kith_leaf *leaves = kith_realloc(list->leaves, capacity * sizeof(*leaves));
    if (leaves == NULL) {
        return KITH_ENOMEM;
    }
    list->leaves = leaves;
    list->leaf_capacity = capacity;
    return KITH_OK;
}

static uint64_t sum_lengths(const struct kith_extent *extents, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += extents[i].length;
    }
    return sum;
}

/* Replaces what the leaf has in [from, to) by `extent` (NULL: by nothing), keeping the parts of the
 * border extents that stick out. */
static enum kith_err leaf_replace(struct kith_extents *list, struct kith_leaf *leaf, uint64_t from,
                                  uint64_t to, const struct kith_extent *extent)
{
    uint32_t first = leaf_seek(leaf, from), last = first;
    while (last < leaf->count && leaf->extents[last].offset < to) {
        last++;
    }
    if (first == last && extent == NULL) {
        return KITH_OK;
    }
    enum kith_err err = leaf_room(leaf, 2);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_extent parts[3];
    uint32_t count = 0;
    if (first < last && leaf->extents[first].offset < from) {
        parts[count] = leaf->extents[first];
        parts[count].length = (uint32_t)(from - parts[count].offset);
        count++;
    }
    if (extent != NULL) {
        parts[count++] = *extent;
    }
    if (first < last && extent_end(&leaf->extents[last - 1]) > to) {
        struct kith_extent right = leaf->extents[last - 1];
        uint32_t cut = (uint32_t)(to - right.offset);
        right.offset += cut;
        right.chunk_offset += cut;
        right.length -= cut;
        parts[count++] = right;
    }
    uint64_t before = sum_lengths(leaf->extents + first, last - first);
    uint64_t after = sum_lengths(parts, count);
    memmove(leaf->extents + first + count, leaf->extents + last,
            (leaf->count - last) * sizeof(*leaf->extents));
    memcpy(leaf->extents + first, parts, count * sizeof(*parts));
    leaf->count = leaf->count - (last - first) + count;
    leaf->allocated = leaf->allocated - before + after;
    leaf->stored = false;
    leaf->crowded = true;
    list->allocated = list->allocated - before + after;
    list->count = list->count - (last - first) + count;
    return KITH_OK;
}

/* Divides a leaf that has grown too long at the region boundary nearest to its middle. Where memory
 * is short, or it holds one region only, it stays as it is. */
static void leaf_divide(struct kith_extents *list, uint32_t index)
{
    struct kith_leaf *leaf = &list->leaves[index];
    uint32_t at = leaf->count / 2;
    /* appended files: leave the left one nearly full */
    if (index + 1 == list->leaf_count) {
        at = leaf->count - leaf->count / 8;
    }
    while (at > 0 && region_start(leaf->extents[at - 1].offset) ==
                         region_start(leaf->extents[at].offset)) {
        at--;
    }
    if (at == 0) {
        at = leaf->count / 2 + 1;
        while (at < leaf->count && region_start(leaf->extents[at - 1].offset) ==
                                       region_start(leaf->extents[at].offset)) {
            at++;
        }
        if (at == leaf->count) {
            return;
        }
    }
    uint32_t count = leaf->count - at;
    struct kith_extent *extents = kith_malloc(count * sizeof(*extents));
    if (extents == NULL || leaves_room(list) != KITH_OK) {
        kith_free(extents);
        return;
    }
    leaf = &list->leaves[index];
    memcpy(extents, leaf->extents + at, count * sizeof(*extents));
    struct kith_leaf right = {
        .start = region_start(extents[0].offset),
        .allocated = sum_lengths(extents, count),
        .count = count,
        .capacity = count,
        .extents = extents,
        .crowded = leaf->crowded,
    };
    leaf->count = at;
    leaf->allocated -= right.allocated;
    memmove(leaf + 2, leaf + 1, (list->leaf_count - index - 1) * sizeof(*leaf));
    leaf[1] = right;
    list->leaf_count++;
}

enum kith_err kith_extents_insert(struct kith_extents *list, const struct kith_extent *extent)
{
    KITH_ASSERT(extent->length > 0);
    KITH_ASSERT(region_start(extent->offset) == region_start(extent_end(extent) - 1));
    KITH_ASSERT((uint64_t)extent->chunk_offset + extent->length <= extent->chunk.size);
    if (list->leaf_count == 0) {
        enum kith_err err = leaves_room(list);
        if (err != KITH_OK) {
            return err;
        }
        memset(&list->leaves[0], 0, sizeof(list->leaves[0]));
        list->leaf_count = 1;
    }
    uint32_t index = leaf_of(list, extent->offset);
    enum kith_err err = leaf_replace(list, &list->leaves[index], extent->offset,
                                     extent_end(extent), extent);
    if (err == KITH_OK && list->leaves[index].count > KITH_LEAF_EXTENTS) {
        leaf_divide(list, index);
    }
    return err;
}

enum kith_err kith_extents_punch(struct kith_extents *list, uint64_t offset, uint64_t length)
{
    uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
    if (list->leaf_count == 0 || length == 0) {
        return KITH_OK;
    }
    for (uint32_t i = leaf_of(list, offset); i < list->leaf_count && list->leaves[i].start < end;
         i++) {
        enum kith_err err = leaf_replace(list, &list->leaves[i], offset, end, NULL);
        if (err != KITH_OK) {
            return err;
        }
    }
    return KITH_OK;
}

void kith_extents_truncate(struct kith_extents *list, uint64_t size)
{
    if (list->leaf_count == 0) {
        return;
    }
    uint32_t keep = leaf_of(list, size);
    for (uint32_t i = keep + 1; i < list->leaf_count; i++) {
        list->allocated -= list->leaves[i].allocated;
        list->count -= list->leaves[i].count;
        kith_free(list->leaves[i].extents);
    }
    list->leaf_count = keep + 1;
    struct kith_leaf *leaf = &list->leaves[keep];
    uint32_t first = leaf_seek(leaf, size);
    if (first == leaf->count) {
        return;
    }
    uint64_t before = sum_lengths(leaf->extents + first, leaf->count - first), after = 0;
    list->count -= leaf->count - first;
    leaf->count = first;
    if (leaf->extents[first].offset < size) { /* only shortened: needs no room */
        after = size - leaf->extents[first].offset;
        leaf->extents[first].length = (uint32_t)after;
        leaf->count++;
        list->count++;
    }
    leaf->allocated = leaf->allocated - before + after;
    list->allocated = list->allocated - before + after;
    leaf->stored = false;
}

const struct kith_extent *kith_extents_find(const struct kith_extents *list, uint64_t offset)
{
    if (list->leaf_count == 0) {
        return NULL;
    }
    for (uint32_t i = leaf_of(list, offset); i < list->leaf_count; i++) {
        const struct kith_leaf *leaf = &list->leaves[i];
        uint32_t at = leaf_seek(leaf, offset);
        if (at < leaf->count) {
            return &leaf->extents[at];
        }
    }
    return NULL;
}

static uint32_t region_count(const struct kith_leaf *leaf, uint32_t first, uint32_t *ret_runs)
{
    uint64_t end = region_start(leaf->extents[first].offset) + KITH_REGION_SIZE;
    uint32_t at = first, runs = 0;
    for (; at < leaf->count && leaf->extents[at].offset < end; at++) {
        runs += at == first ||
                leaf->extents[at].offset - extent_end(&leaf->extents[at - 1]) >= KITH_HOLE_MIN;
    }
    *ret_runs = runs;
    return at - first;
}

uint32_t kith_extents_region(const struct kith_extents *list, uint64_t start, uint32_t *ret_runs)
{
    *ret_runs = 0;
    if (list->leaf_count == 0) {
        return 0;
    }
    const struct kith_leaf *leaf = &list->leaves[leaf_of(list, start)];
    uint32_t first = leaf_seek(leaf, start);
    if (first == leaf->count || leaf->extents[first].offset >= start + KITH_REGION_SIZE) {
        return 0;
    }
    return region_count(leaf, first, ret_runs);
}

bool kith_extents_crowded(struct kith_extents *list, uint64_t from, uint64_t *ret_start)
{
    if (list->leaf_count == 0) {
        return false;
    }
    for (uint32_t i = leaf_of(list, from); i < list->leaf_count; i++) {
        struct kith_leaf *leaf = &list->leaves[i];
        if (!leaf->crowded) {
            continue;
        }
        bool whole = leaf->start >= from;
        for (uint32_t at = leaf_seek(leaf, from); at < leaf->count;) {
            uint32_t runs, count = region_count(leaf, at, &runs);
            if (count > KITH_REGION_EXTENTS_MAX && runs <= count / 2) {
                *ret_start = region_start(leaf->extents[at].offset);
                return true;
            }
            at += count;
        }
        leaf->crowded = leaf->crowded && !whole;
    }
    return false;
}

void kith_extents_tidy(struct kith_extents *list)
{
    for (uint32_t i = 0; i + 1 < list->leaf_count;) {
        struct kith_leaf *leaf = &list->leaves[i], *next = leaf + 1;
        bool changed = !leaf->stored || !next->stored;
        if (!changed || leaf->count + next->count > KITH_LEAF_EXTENTS / 2) {
            i++;
            continue;
        }
        if (leaf_room(leaf, next->count) != KITH_OK) {
            return; /* they stay two */
        }
        if (next->count > 0) {
            memcpy(leaf->extents + leaf->count, next->extents,
                   next->count * sizeof(*leaf->extents));
        }
        leaf->count += next->count;
        leaf->allocated += next->allocated;
        leaf->crowded = leaf->crowded || next->crowded;
        leaf->stored = false;
        kith_free(next->extents);
        memmove(next, next + 1, (list->leaf_count - i - 2) * sizeof(*leaf));
        list->leaf_count--;
    }
}
