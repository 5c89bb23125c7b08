/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_extents.c - extents against an array that says for each byte where it comes from. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "format/extents.h"
#include "lib/random.h"

#define REGIONS 6u
#define MODEL_SIZE (REGIONS * KITH_REGION_SIZE)

static struct kith_chunk_ref chunk_ref(uint32_t number, uint32_t size)
{
    struct kith_chunk_ref ref = {.size = size};
    memcpy(ref.id.bytes + 16, &number, sizeof(number));
    memcpy(ref.checksum.bytes, &number, sizeof(number));
    return ref;
}

/* Of each byte: 0 = hole, else number * 2^20 + offset in the chunk. */
static void check(const struct kith_extents *list, const uint64_t *model)
{
    uint64_t at = 0, allocated = 0, count = 0;
    const struct kith_extent *extent;
    while ((extent = kith_extents_find(list, at)) != NULL) {
        uint32_t number;
        memcpy(&number, extent->chunk.id.bytes + 16, sizeof(number));
        assert_true(extent->offset >= at && extent->length > 0);
        assert_int_equal(extent->offset / KITH_REGION_SIZE,
                         (extent->offset + extent->length - 1) / KITH_REGION_SIZE);
        for (; at < extent->offset; at++) {
            assert_int_equal(model[at], 0);
        }
        for (uint32_t i = 0; i < extent->length; i++, at++) {
            assert_int_equal(model[at], ((uint64_t)number << 20) + extent->chunk_offset + i);
        }
        allocated += extent->length;
        count++;
    }
    for (; at < MODEL_SIZE; at++) {
        assert_int_equal(model[at], 0);
    }
    assert_int_equal(list->allocated, allocated);
    assert_int_equal(list->count, count);
}

/* Each leaf through bytes and back; and every shorter input is refused. */
static void check_codec(const struct kith_extents *list)
{
    struct kith_extents back = {.leaf_count = 0};
    struct kith_buf buf, again;
    kith_buf_init(&buf);
    kith_buf_init(&again);
    for (uint32_t i = 0; i < list->leaf_count; i++) {
        const struct kith_leaf *leaf = &list->leaves[i];
        uint64_t end = i + 1 < list->leaf_count ? leaf[1].start : MODEL_SIZE;
        uint32_t refs;
        kith_buf_clear(&buf);
        assert_int_equal(kith_leaf_encode(leaf, leaf->start, &buf, NULL, &refs), KITH_OK);
        assert_int_equal(kith_leaf_decode(&back, kith_buf_bytes(&buf), leaf->start, end), KITH_OK);
        const struct kith_leaf *copy = &back.leaves[i];
        assert_int_equal(copy->count, leaf->count);
        assert_int_equal(copy->allocated, leaf->allocated);
        kith_buf_clear(&again);
        assert_int_equal(kith_leaf_encode(copy, leaf->start, &again, NULL, &refs), KITH_OK);
        assert_true(kith_bytes_equal(kith_buf_bytes(&buf), kith_buf_bytes(&again)));
    }
    if (list->leaf_count > 0) {
        struct kith_extents none = {.leaf_count = 0};
        kith_buf_clear(&buf);
        uint32_t refs;
        assert_int_equal(kith_leaf_encode(&list->leaves[0], 0, &buf, NULL, &refs), KITH_OK);
        for (size_t size = 0; size < buf.size && size < 300; size++) {
            assert_int_equal(
                kith_leaf_decode(&none, kith_bytes_make(buf.data, size), 0, MODEL_SIZE),
                KITH_EFORMAT);
        }
        kith_extents_release(&none);
    }
    kith_extents_release(&back);
    kith_buf_release(&buf);
    kith_buf_release(&again);
}

static void random_run(uint64_t seed, uint32_t steps, uint32_t length_max)
{
    struct test_random random = {seed};
    struct kith_extents list = {.leaf_count = 0};
    uint64_t *model = calloc(MODEL_SIZE, sizeof(*model));
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint32_t step = 1; step <= steps; step++) {
        uint32_t dice = test_random_below(&random, 100);
        uint64_t offset = test_random_below(&random, MODEL_SIZE);
        uint32_t length = 1 + test_random_below(&random, length_max);
        if (dice < 90) {
            uint32_t room = (uint32_t)(KITH_REGION_SIZE - offset % KITH_REGION_SIZE);
            length = length < room ? length : room;
            uint32_t inside = test_random_below(&random, KITH_CHUNK_MAX - length + 1);
            struct kith_extent extent = {
                offset, length, inside, chunk_ref(step, KITH_CHUNK_MAX)};
            assert_int_equal(kith_extents_insert(&list, &extent), KITH_OK);
            for (uint32_t i = 0; i < length; i++) {
                model[offset + i] = ((uint64_t)step << 20) + inside + i;
            }
        } else if (dice < 99) {
            uint64_t end = offset + (uint64_t)length * 4;
            end = end < MODEL_SIZE ? end : MODEL_SIZE;
            assert_int_equal(kith_extents_punch(&list, offset, end - offset), KITH_OK);
            memset(model + offset, 0, (end - offset) * sizeof(*model));
        } else if (dice == 99 && step % 7 == 0) {
            kith_extents_truncate(&list, offset);
            memset(model + offset, 0, (MODEL_SIZE - offset) * sizeof(*model));
        }
        if (step % 50 == 0) {
            kith_extents_tidy(&list);
        }
        if (step % (steps / 4) == 0) {
            check(&list, model);
            check_codec(&list);
        }
    }
    kith_extents_release(&list);
    free(model);
}

static void test_random_operations(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        random_run(seed, 800, 100000);
        random_run(seed + 100, 8000, 300); /* many leaves */
    }
}

static void test_crowded(void **state)
{
    (void)state;
    struct kith_extents list = {.leaf_count = 0};
    for (uint32_t i = 0; i < 200; i++) {
        struct kith_extent extent = {KITH_REGION_SIZE + i * 100, 100, 0, chunk_ref(i, 100)};
        assert_int_equal(kith_extents_insert(&list, &extent), KITH_OK);
    }
    uint64_t start;
    uint32_t runs;
    assert_true(kith_extents_crowded(&list, 0, &start));
    assert_int_equal(start, KITH_REGION_SIZE);
    assert_int_equal(kith_extents_region(&list, start, &runs), 200);
    assert_int_equal(runs, 1);
    assert_false(kith_extents_crowded(&list, 2 * KITH_REGION_SIZE, &start));
    /* apart by wide holes: a rewrite would not help */
    kith_extents_truncate(&list, 0);
    for (uint32_t i = 0; i < 120; i++) {
        struct kith_extent extent = {i * 8192, 100, 0, chunk_ref(i, 100)};
        assert_int_equal(kith_extents_insert(&list, &extent), KITH_OK);
    }
    assert_false(kith_extents_crowded(&list, 0, &start));
    kith_extents_release(&list);
}

/* 100 GiB written from front to end: leaves stay well filled. */
static void test_dense(void **state)
{
    (void)state;
    struct kith_extents list = {.leaf_count = 0};
    for (uint32_t i = 0; i < 102400; i++) {
        struct kith_extent extent = {(uint64_t)i << 20, KITH_CHUNK_MAX, 0,
                                     chunk_ref(i, KITH_CHUNK_MAX)};
        assert_int_equal(kith_extents_insert(&list, &extent), KITH_OK);
    }
    assert_int_equal(list.allocated, UINT64_C(100) << 30);
    assert_in_range(list.leaf_count, 100, 125);
    kith_extents_truncate(&list, 5);
    assert_int_equal(list.allocated, 5);
    kith_extents_release(&list);
}

static void test_entries(void **state)
{
    (void)state;
    struct kith_list_entry entries[3] = {{KITH_REGION_SIZE, 7, chunk_ref(1, 100)},
                                         {KITH_REGION_SIZE * 5ull, 9, chunk_ref(2, 200)},
                                         {KITH_REGION_SIZE * 900ull, 0, chunk_ref(3, 300)}};
    struct kith_list_entry *back;
    struct kith_arena arena;
    struct kith_buf buf;
    uint32_t count;
    uint64_t end = KITH_REGION_SIZE * 1000ull;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    kith_entries_encode(entries, 3, KITH_REGION_SIZE, &buf);
    assert_int_equal(kith_entries_decode(&arena, kith_buf_bytes(&buf), KITH_REGION_SIZE, end, &back,
                                         &count),
                     KITH_OK);
    assert_int_equal(count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(back[i].start, entries[i].start);
        assert_int_equal(back[i].allocated, entries[i].allocated);
        assert_memory_equal(&back[i].ref.id, &entries[i].ref.id, KITH_CHUNK_ID_SIZE);
    }
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_equal(kith_entries_decode(&arena, kith_bytes_make(buf.data, size),
                                             KITH_REGION_SIZE, end, &back, &count),
                         KITH_EFORMAT);
    }
    assert_int_equal(kith_entries_decode(&arena, kith_buf_bytes(&buf), KITH_REGION_SIZE,
                                         KITH_REGION_SIZE * 900ull, &back, &count),
                     KITH_EFORMAT);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

static void test_image(void **state)
{
    (void)state;
    struct kith_image image;
    struct kith_buf buf;
    kith_buf_init(&buf);
    assert_int_equal(kith_image_parse(kith_bytes_make(NULL, 0), &image), KITH_OK);
    assert_int_equal(image.size, 0);
    kith_image_put_head(&buf, KITH_IMAGE_INLINE, 3, 3);
    assert_int_equal(kith_image_parse(kith_buf_bytes(&buf), &image), KITH_EFORMAT);
    kith_buf_put(&buf, "abc", 3);
    assert_int_equal(kith_image_parse(kith_buf_bytes(&buf), &image), KITH_OK);
    assert_memory_equal(image.body.data, "abc", 3);
    buf.data[0] = 9;
    assert_int_equal(kith_image_parse(kith_buf_bytes(&buf), &image), KITH_EVERSION);
    buf.data[0] = KITH_IMAGE_FORMAT;
    buf.data[1] = KITH_IMAGE_LEAF; /* only in list chunks */
    assert_int_equal(kith_image_parse(kith_buf_bytes(&buf), &image), KITH_EFORMAT);
    kith_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations), cmocka_unit_test(test_crowded),
        cmocka_unit_test(test_dense),             cmocka_unit_test(test_entries),
        cmocka_unit_test(test_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
