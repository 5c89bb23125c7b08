/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as an image, a leaf and a list of entries: an error, or something that encodes to these
 * very bytes and can be changed. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "format/extents.h"

static void change(struct kith_extents *list)
{
    uint64_t start;
    const struct kith_extent *first = kith_extents_find(list, 0);
    if (first != NULL) {
        struct kith_extent extent = *first;
        extent.length = (extent.length + 1) / 2;
        KITH_ASSERT(kith_extents_insert(list, &extent) == KITH_OK);
        KITH_ASSERT(kith_extents_punch(list, extent.offset + 1, 1000) == KITH_OK);
    }
    (void)kith_extents_crowded(list, 0, &start);
    kith_extents_tidy(list);
    kith_extents_truncate(list, KITH_REGION_SIZE + 7);
    kith_extents_truncate(list, 0);
    KITH_ASSERT(list->allocated == 0 && list->count == 0);
}

static void leaf(struct kith_bytes bytes)
{
    struct kith_extents list = {.leaf_count = 0};
    enum kith_err err = kith_leaf_decode(&list, bytes, 0, KITH_IMAGE_SIZE_MAX);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT);
    if (err == KITH_OK) {
        struct kith_buf buf;
        uint32_t refs;
        kith_buf_init(&buf);
        KITH_ASSERT(kith_leaf_encode(&list.leaves[0], 0, &buf, NULL, &refs) == KITH_OK);
        KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
        kith_buf_release(&buf);
        change(&list);
    }
    kith_extents_release(&list);
}

static void entries(struct kith_bytes bytes)
{
    struct kith_arena arena;
    struct kith_list_entry *found;
    uint32_t count;
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_entries_decode(&arena, bytes, 0, KITH_IMAGE_SIZE_MAX, &found, &count);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT);
    if (err == KITH_OK) {
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_entries_encode(found, count, 0, &buf);
        KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
        kith_buf_release(&buf);
    }
    kith_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_bytes bytes = kith_bytes_make(data, size);
    struct kith_image image;
    enum kith_err err = kith_image_parse(bytes, &image);
    if (err == KITH_OK && size > 0) {
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_image_put_head(&buf, image.kind, image.size, image.allocated);
        kith_buf_put(&buf, image.body.data, image.body.size);
        KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
        kith_buf_release(&buf);
        leaf(image.body);
        entries(image.body);
    }
    leaf(bytes);
    entries(bytes);
    return 0;
}

/* Images of 0 to 7 extents over 1 to 3 chunks, and entries. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    if (number >= 16) {
        return 0;
    }
    struct kith_extents list = {.leaf_count = 0};
    struct kith_list_entry listed[3];
    struct kith_buf buf;
    uint32_t refs = 0;
    memset(listed, 0, sizeof(listed));
    kith_buf_init(&buf);
    for (uint32_t i = 0; i < 1 + number % 8; i++) {
        struct kith_extent extent = {.offset = (uint64_t)i * 700000, .length = 4000 + i};
        extent.chunk_offset = i;
        extent.chunk.size = KITH_CHUNK_MAX;
        extent.chunk.id.bytes[19] = (uint8_t)(i % 3);
        extent.length = (uint32_t)(KITH_REGION_SIZE - extent.offset % KITH_REGION_SIZE) < 5000
                            ? 1
                            : extent.length;
        KITH_ASSERT(kith_extents_insert(&list, &extent) == KITH_OK);
        listed[i % 3].ref = extent.chunk;
        listed[i % 3].start = (uint64_t)(i % 3) * KITH_REGION_SIZE * 5;
    }
    bool lists = number >= 8;
    kith_image_put_head(&buf, lists ? KITH_IMAGE_LISTS : KITH_IMAGE_EXTENTS, 1u << 26, 5000);
    if (lists) {
        kith_entries_encode(listed, number % 8 < 2 ? 1 : 3, 0, &buf);
    } else {
        KITH_ASSERT(kith_leaf_encode(&list.leaves[0], 0, &buf, NULL, &refs) == KITH_OK);
    }
    KITH_ASSERT(!buf.failed && buf.size <= KITH_FUZZ_SEED_MAX);
    memcpy(data, buf.data, buf.size);
    size_t size = buf.size;
    kith_buf_release(&buf);
    kith_extents_release(&list);
    return size;
}
