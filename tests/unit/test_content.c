/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_content.c - contents against a plain array of bytes, over a cluster in memory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/content/content.h"
#include "lib/fake_client.h"

#define MIB (1u << 20)
#define MODEL_MAX (5u * MIB)

struct world {
    struct kith_fake_cluster *cluster;
    struct kith_client *client;
    struct kith_content_store *store;
};

static struct world world_new(size_t dirty_bytes, size_t cache_bytes, uint32_t timeout_ms)
{
    struct world world;
    world.cluster = kith_fake_cluster_new();
    assert_non_null(world.cluster);
    world.client = kith_fake_client_new(world.cluster, "anna@mars");
    assert_non_null(world.client);
    struct kith_content_options options = {.client = world.client,
                                           .volume = KITH_VOLUME_FS,
                                           .dirty_bytes = dirty_bytes,
                                           .cache_bytes = cache_bytes,
                                           .timeout_ms = timeout_ms};
    assert_int_equal(kith_content_store_new(&options, &world.store), KITH_OK);
    return world;
}

static void world_free(struct world *world)
{
    kith_content_store_free(world->store);
    kith_client_close(world->client);
    kith_fake_cluster_free(world->cluster);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = draw(&seed);
        memcpy(data + i, &word, size - i < 8 ? size - i : 8);
    }
}

static struct kith_content *empty(struct world *world)
{
    struct kith_content *content;
    assert_int_equal(kith_content_new(world->store, kith_bytes_make(NULL, 0), &content), KITH_OK);
    return content;
}

/* Flushes, checks that every chunk named is there, and says the image is stored. */
static struct kith_content_image flush(struct world *world, struct kith_content *content,
                                       enum kith_durability durability, size_t inline_max,
                                       struct kith_arena *arena)
{
    struct kith_content_image image;
    uint64_t generation, size, allocated;
    assert_int_equal(
        kith_content_flush(content, durability, inline_max, arena, &image, &generation), KITH_OK);
    for (uint32_t i = 0; i < image.ref_count; i++) {
        assert_true(kith_fake_has_chunk(world->cluster, &image.refs[i],
                                        durability == KITH_DURABLE_DISK));
    }
    assert_int_equal(kith_content_image_stat(image.encoded, &size, &allocated), KITH_OK);
    assert_int_equal(size, image.size);
    assert_int_equal(allocated, image.allocated);
    assert_true(image.encoded.size <= KITH_INLINE_VALUE_MAX);
    kith_content_flushed(content, generation);
    assert_false(kith_content_dirty(content));
    return image;
}

/* ---- random operations ---- */

struct model {
    uint8_t *bytes;
    size_t size;
};

static void check_all(struct kith_content *content, const struct model *model, uint8_t *buffer)
{
    size_t got = 0;
    assert_int_equal(kith_content_size(content), model->size);
    if (model->size > 0) {
        assert_int_equal(kith_content_read(content, 0, buffer, MODEL_MAX, &got), KITH_OK);
    }
    assert_int_equal(got, model->size);
    assert_memory_equal(buffer, model->bytes, model->size);
}

static void model_resize(struct model *model, size_t size)
{
    if (size > model->size) {
        memset(model->bytes + model->size, 0, size - model->size);
    }
    model->size = size;
}

/* SEEK_DATA and SEEK_HOLE: what lies in a hole is zero, and they alternate up to the end. */
static void check_seek(struct kith_content *content, const struct model *model)
{
    uint64_t at = 0;
    while (at < model->size) {
        uint64_t data = model->size, hole = 0;
        enum kith_err err = kith_content_seek(content, at, true, &data);
        assert_true(err == KITH_OK || err == KITH_ENOTFOUND);
        for (uint64_t i = at; i < data; i++) {
            assert_int_equal(model->bytes[i], 0);
        }
        if (err == KITH_ENOTFOUND) {
            return;
        }
        assert_int_equal(kith_content_seek(content, data, false, &hole), KITH_OK);
        assert_true(hole > data && hole <= model->size);
        at = hole;
    }
}

static void one_write(struct kith_content *content, struct model *model, uint64_t *random,
                      uint8_t *buffer)
{
    static const size_t sizes[] = {1, 100, 4096, 4096, 8192, 70000, 262144, MIB};
    size_t size = sizes[draw(random) % 8];
    if (draw(random) % 2 == 0) {
        size = 1 + (size_t)(draw(random) % size);
    }
    size_t offset = (size_t)(draw(random) % (draw(random) % 3 == 0 ? MODEL_MAX : 200000));
    if (draw(random) % 2 == 0) {
        offset -= offset % 4096;
    }
    size = size < MODEL_MAX - offset ? size : MODEL_MAX - offset;
    fill(buffer, size, draw(random));
    if (draw(random) % 4 == 0 && model->size + size <= MODEL_MAX) {
        uint64_t where;
        assert_int_equal(kith_content_append(content, buffer, size, &where), KITH_OK);
        assert_int_equal(where, model->size);
        offset = model->size;
    } else {
        assert_int_equal(kith_content_write(content, offset, buffer, size), KITH_OK);
    }
    if (offset + size > model->size) {
        model_resize(model, offset + size);
    }
    memcpy(model->bytes + offset, buffer, size);
}

static void one_copy(struct kith_content *content, struct model *model, uint64_t *random)
{
    size_t size = 1 + (size_t)(draw(random) % (2 * MIB));
    size_t from = (size_t)(draw(random) % MODEL_MAX), to = (size_t)(draw(random) % MODEL_MAX);
    size = size < MODEL_MAX - to ? size : MODEL_MAX - to;
    size_t avail = from < model->size ? model->size - from : 0;
    size_t expect = size < avail ? size : avail;
    if (from < to + expect && to < from + expect) {
        return; /* overlapping ranges are refused by the kernel */
    }
    uint64_t done = 0;
    assert_int_equal(kith_content_copy_range(content, from, content, to, size, &done), KITH_OK);
    assert_int_equal(done, expect);
    if (expect > 0) {
        if (to + expect > model->size) {
            model_resize(model, to + expect);
        }
        memmove(model->bytes + to, model->bytes + from, expect);
    }
}

static void one_change(struct kith_content *content, struct model *model, uint64_t *random)
{
    size_t a = (size_t)(draw(random) % (draw(random) % 3 == 0 ? 30000 : MODEL_MAX));
    size_t b = 1 + (size_t)(draw(random) % 300000);
    b = b < MODEL_MAX - a ? b : MODEL_MAX - a;
    switch (draw(random) % 3) {
    case 0:
        assert_int_equal(kith_content_truncate(content, a), KITH_OK);
        model_resize(model, a);
        break;
    case 1:
        assert_int_equal(kith_content_punch(content, a, b), KITH_OK);
        if (a < model->size) {
            memset(model->bytes + a, 0, b < model->size - a ? b : model->size - a);
        }
        break;
    default:
        assert_int_equal(kith_content_allocate(content, a, b, b % 2 == 0), KITH_OK);
        if (b % 2 != 0 && a + b > model->size) {
            model_resize(model, a + b);
        }
    }
}

static void random_run(uint64_t seed, unsigned steps)
{
    struct world world = world_new(16 * MIB, 4 * MIB, 0);
    struct model model = {calloc(1, MODEL_MAX), 0};
    uint8_t *buffer = malloc(MODEL_MAX);
    uint64_t random = seed;
    struct kith_content *content = empty(&world);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (unsigned step = 0; step < steps; step++) {
        unsigned dice = (unsigned)(draw(&random) % 100);
        if (dice < 55) {
            one_write(content, &model, &random, buffer);
        } else if (dice < 65) {
            one_change(content, &model, &random);
        } else if (dice < 70) {
            one_copy(content, &model, &random);
        } else if (dice < 80) {
            size_t got = 0, offset = (size_t)(draw(&random) % MODEL_MAX);
            size_t size = 1 + (size_t)(draw(&random) % 200000);
            assert_int_equal(kith_content_read(content, offset, buffer, size, &got), KITH_OK);
            size_t left = offset < model.size ? model.size - offset : 0;
            assert_int_equal(got, size < left ? size : left);
            assert_memory_equal(buffer, model.bytes + offset, got);
        } else if (dice < 85) {
            check_seek(content, &model);
        } else {
            struct kith_arena arena;
            kith_arena_init(&arena, 0);
            size_t inline_max = draw(&random) % 3 == 0 ? 4096 : KITH_CONTENT_INLINE_MAX;
            enum kith_durability durability = (enum kith_durability)(draw(&random) % 2);
            struct kith_content_image image =
                flush(&world, content, durability, inline_max, &arena);
            if (durability == KITH_DURABLE_DISK) {
                kith_fake_lose_unsynced(world.cluster);
            }
            assert_int_equal(image.allocated, kith_content_allocated(content));
            if (draw(&random) % 2 == 0) {
                kith_content_free(content);
                assert_int_equal(kith_content_new(world.store, image.encoded, &content), KITH_OK);
            } else if (draw(&random) % 2 == 0) {
                assert_int_equal(kith_content_replace(content, image.encoded), KITH_OK);
            }
            check_all(content, &model, buffer);
            kith_arena_release(&arena);
        }
    }
    check_all(content, &model, buffer);
    kith_content_free(content);
    world_free(&world);
    free(model.bytes);
    free(buffer);
}

static void test_random(void **state)
{
    (void)state;
    const char *first = getenv("KITH_SEED");
    uint64_t seed = first == NULL ? 1 : strtoull(first, NULL, 10);
    for (uint64_t i = 0; i < (first == NULL ? 12 : 1); i++) {
        random_run(seed + i, 300);
    }
}

/* ---- shapes ---- */

/* A sequential write goes out as whole chunks, before any flush, several at once. */
static void test_sequential(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *content = empty(&world);
    uint8_t *buffer = malloc(MIB);
    fill(buffer, MIB, 5);
    kith_fake_set_delay(world.cluster, 2000);
    for (uint64_t i = 0; i < 32; i++) {
        assert_int_equal(kith_content_write(content, i * MIB, buffer, MIB), KITH_OK);
    }
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_content_image image =
        flush(&world, content, KITH_DURABLE_DISK, KITH_CONTENT_INLINE_MAX, &arena);
    struct kith_fake_counts counts;
    kith_fake_counts(world.cluster, &counts);
    assert_int_equal(image.ref_count, 32);
    assert_int_equal(counts.ops[KITH_CLIENT_CHUNK_PUT], 32);
    assert_int_equal(counts.ops[KITH_CLIENT_CHUNK_SYNC], 1);
    assert_in_range(counts.under_way_max, 4, 8);
    /* a 4 KiB overwrite is a 4 KiB chunk */
    assert_int_equal(kith_content_write(content, 5 * MIB + 8192, buffer, 4096), KITH_OK);
    uint64_t before = counts.chunk_bytes;
    flush(&world, content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX, &arena);
    kith_fake_counts(world.cluster, &counts);
    assert_int_equal(counts.chunk_bytes - before, 4096);
    struct kith_content_stats stats;
    kith_content_store_stats(world.store, &stats);
    assert_int_equal(stats.dirty_bytes, 0);
    kith_arena_release(&arena);
    kith_content_free(content);
    free(buffer);
    world_free(&world);
}

/* A region of many small pieces is rewritten; the figures for st_blocks stay. */
static void test_compaction(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *content = empty(&world);
    uint8_t *buffer = malloc(2 * MIB), *back = malloc(2 * MIB);
    fill(buffer, 2 * MIB, 7);
    assert_int_equal(kith_content_write(content, 0, buffer, 2 * MIB), KITH_OK);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    flush(&world, content, KITH_DURABLE_OS, 0, &arena);
    for (uint32_t i = 0; i < 120; i++) {
        buffer[i * 8192u] ^= 1;
        assert_int_equal(kith_content_write(content, i * 8192u, buffer + i * 8192u, 100), KITH_OK);
    }
    struct kith_content_image image = flush(&world, content, KITH_DURABLE_OS, 0, &arena);
    struct kith_fake_counts counts;
    kith_fake_counts(world.cluster, &counts);
    assert_int_equal(image.ref_count, 2);
    assert_int_equal(image.allocated, 2 * MIB);
    assert_int_equal(counts.ops[KITH_CLIENT_CHUNK_PUT], 3);
    size_t got;
    assert_int_equal(kith_content_read(content, 0, back, 2 * MIB, &got), KITH_OK);
    assert_memory_equal(back, buffer, 2 * MIB);
    kith_arena_release(&arena);
    kith_content_free(content);
    free(buffer);
    free(back);
    world_free(&world);
}

static void *watch_dirty(void *store)
{
    struct kith_content_stats stats = {.dirty_bytes = 1};
    size_t peak = 0;
    while (stats.dirty_bytes > 0) { /* until the flush has ended */
        kith_content_store_stats(store, &stats);
        peak = stats.dirty_bytes > peak ? stats.dirty_bytes : peak;
    }
    return (void *)peak;
}

/* A flush that rewrites much sends it meanwhile. */
static void test_compaction_budget(void **state)
{
    (void)state;
    struct world world = world_new(8 * MIB, 8 * MIB, 0);
    struct kith_content *content = empty(&world);
    uint8_t *buffer = calloc(1, MIB);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    for (uint64_t i = 0; i < 24; i++) {
        assert_int_equal(kith_content_write(content, i * MIB, buffer, MIB), KITH_OK);
    }
    flush(&world, content, KITH_DURABLE_OS, 0, &arena);
    kith_fake_set_delay(world.cluster, 2000);
    for (uint64_t i = 0; i < 24 * 100; i++) {
        uint64_t at = i / 100 * MIB + i % 100 * 8192u;
        assert_int_equal(kith_content_write(content, at, buffer, 10), KITH_OK);
    }
    pthread_t thread;
    void *peak;
    assert_int_equal(pthread_create(&thread, NULL, watch_dirty, world.store), 0);
    assert_int_equal(flush(&world, content, KITH_DURABLE_OS, 0, &arena).ref_count, 24);
    assert_int_equal(pthread_join(thread, &peak), 0);
    assert_in_range((size_t)peak, 4 * MIB, 8 * MIB);
    kith_arena_release(&arena);
    kith_content_free(content);
    free(buffer);
    world_free(&world);
}

/* Runs between wide holes share the new chunk, packed; the holes stay. */
static void test_compaction_holes(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *content = empty(&world);
    uint8_t *bytes = calloc(1, MIB), *back = malloc(MIB);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    for (uint32_t round = 0; round < 5; round++) { /* runs of 5 extents, 40 of them */
        for (uint32_t i = 39; i < 40; i--) { /* from behind: never inline */
            uint32_t at = i * 20000 + round * 1000;
            fill(bytes + at, 1000, i * 100 + round);
            assert_int_equal(kith_content_write(content, at, bytes + at, 1000), KITH_OK);
        }
        flush(&world, content, KITH_DURABLE_OS, 0, &arena);
    }
    struct kith_content_image image = flush(&world, content, KITH_DURABLE_OS, 0, &arena);
    assert_in_range(image.ref_count, 1, 41);
    assert_int_equal(image.allocated, 200000);
    kith_content_free(content);
    assert_int_equal(kith_content_new(world.store, image.encoded, &content), KITH_OK);
    size_t got;
    uint64_t hole;
    assert_int_equal(kith_content_read(content, 0, back, MIB, &got), KITH_OK);
    assert_int_equal(got, 39 * 20000 + 5000);
    assert_memory_equal(back, bytes, got);
    assert_int_equal(kith_content_seek(content, 20000, false, &hole), KITH_OK);
    assert_int_equal(hole, 25000);
    kith_arena_release(&arena);
    kith_content_free(content);
    free(bytes);
    free(back);
    world_free(&world);
}

/* A copy shares chunks that are stored, and never one that is only on its way. */
static void test_copy_range(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *from = empty(&world), *to = empty(&world);
    uint8_t *buffer = malloc(MIB), *back = malloc(MIB);
    struct kith_arena arena;
    struct kith_fake_counts before, after;
    uint64_t done;
    size_t got;
    kith_arena_init(&arena, 0);
    fill(buffer, MIB, 11);
    kith_fake_fail_next(world.cluster, KITH_CLIENT_CHUNK_PUT, 1, KITH_EIO, false);
    assert_int_equal(kith_content_write(from, 0, buffer, MIB), KITH_OK);
    assert_int_equal(kith_content_copy_range(from, 0, to, 0, MIB, &done), KITH_OK);
    assert_int_equal(done, MIB);
    flush(&world, to, KITH_DURABLE_OS, 0, &arena); /* all that it names is there, `from` or not */
    flush(&world, from, KITH_DURABLE_OS, 0, &arena);
    kith_fake_counts(world.cluster, &before);
    assert_int_equal(kith_content_copy_range(from, 1000, to, 3 * MIB - 500, 8000, &done), KITH_OK);
    assert_int_equal(done, 8000);
    struct kith_content_image image = flush(&world, to, KITH_DURABLE_DISK, 0, &arena);
    assert_int_equal(image.size, 3 * MIB + 7500);
    kith_fake_counts(world.cluster, &after);
    assert_int_equal(after.chunks, before.chunks);
    assert_int_equal(kith_content_read(to, 3 * MIB - 500, back, 8000, &got), KITH_OK);
    assert_int_equal(got, 8000);
    assert_memory_equal(back, buffer + 1000, 8000);
    kith_arena_release(&arena);
    kith_content_free(from);
    kith_content_free(to);
    free(buffer);
    free(back);
    world_free(&world);
}

/* Sparse and long: lists in chunks, and a small change rewrites one of them only. */
static void test_lists(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *content = empty(&world);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    uint8_t block[512], back[512];
    uint32_t count = 6000;
    for (uint32_t i = 0; i < count; i++) {
        fill(block, sizeof(block), i);
        uint64_t offset = (uint64_t)i * 160 * MIB; /* 940 GiB */
        assert_int_equal(kith_content_write(content, offset, block, sizeof(block)), KITH_OK);
    }
    struct kith_content_image image =
        flush(&world, content, KITH_DURABLE_DISK, KITH_CONTENT_INLINE_MAX, &arena);
    assert_true(image.ref_count < 20);
    assert_int_equal(image.allocated, count * sizeof(block));
    kith_content_free(content);
    struct kith_fake_counts before, after;
    kith_fake_counts(world.cluster, &before);
    assert_int_equal(before.chunks, count + image.ref_count);
    assert_int_equal(kith_content_new(world.store, image.encoded, &content), KITH_OK);
    for (uint32_t i = 0; i < count; i += 37) {
        size_t got;
        fill(block, sizeof(block), i);
        assert_int_equal(kith_content_read(content, (uint64_t)i * 160 * MIB, back, 512, &got),
                         KITH_OK);
        assert_memory_equal(back, block, sizeof(block));
    }
    assert_int_equal(kith_content_write(content, 3000 * (uint64_t)MIB, block, 100), KITH_OK);
    image = flush(&world, content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX, &arena);
    kith_fake_counts(world.cluster, &after);
    assert_int_equal(after.chunks - before.chunks, 2); /* the data and one list */
    kith_arena_release(&arena);
    kith_content_free(content);
    world_free(&world);
}

/* ---- failures ---- */

static void test_failures(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *content = empty(&world);
    uint8_t *buffer = malloc(MIB), *back = malloc(MIB);
    struct kith_arena arena;
    struct kith_content_image image;
    uint64_t generation;
    kith_arena_init(&arena, 0);
    fill(buffer, MIB, 9);
    /* the flush tells, and the next one succeeds with the same data */
    assert_int_equal(kith_content_write(content, 0, buffer, 100000), KITH_OK);
    kith_fake_fail_next(world.cluster, KITH_CLIENT_CHUNK_PUT, 1, KITH_ENOSPC, false);
    assert_int_equal(
        kith_content_flush(content, KITH_DURABLE_OS, 60000, &arena, &image, &generation),
        KITH_ENOSPC);
    assert_true(kith_content_dirty(content));
    flush(&world, content, KITH_DURABLE_OS, 60000, &arena);
    /* a background upload: the next write tells, once */
    kith_fake_fail_next(world.cluster, KITH_CLIENT_CHUNK_PUT, 1, KITH_EIO, false);
    assert_int_equal(kith_content_write(content, MIB, buffer, MIB), KITH_OK);
    struct kith_content_stats stats;
    do {
        kith_content_store_stats(world.store, &stats);
        sched_yield();
    } while (stats.upload_failures < 2);
    enum kith_err err = KITH_OK;
    while (err == KITH_OK) { /* the failure is counted just before it is noted */
        err = kith_content_write(content, 10, buffer, 1);
    }
    assert_int_equal(err, KITH_EIO);
    assert_int_equal(kith_content_write(content, 10, buffer + 10, 1), KITH_OK);
    image = flush(&world, content, KITH_DURABLE_DISK, 60000, &arena);
    size_t got;
    assert_int_equal(kith_content_read(content, MIB, back, MIB, &got), KITH_OK);
    assert_memory_equal(back, buffer, MIB);
    /* lost before the sync: put again */
    assert_int_equal(kith_content_write(content, MIB, buffer, MIB), KITH_OK);
    image = flush(&world, content, KITH_DURABLE_OS, 60000, &arena);
    assert_int_equal(kith_fake_lose_unsynced(world.cluster) > 0, 1);
    image = flush(&world, content, KITH_DURABLE_DISK, 60000, &arena);
    /* chunks of another volume are not read, though they are there */
    kith_content_free(content);
    struct world other = world;
    struct kith_content_options options = {.client = world.client, .volume = KITH_VOLUME_FS + 7};
    assert_int_equal(kith_content_store_new(&options, &other.store), KITH_OK);
    assert_int_equal(kith_content_new(other.store, image.encoded, &content), KITH_OK);
    assert_int_equal(kith_content_read(content, 0, back, 4096, &got), KITH_EFORMAT);
    kith_content_free(content);
    kith_content_store_free(other.store);
    /* a chunk that is nowhere is an error, never zeros */
    options.volume = KITH_VOLUME_FS;
    assert_int_equal(kith_content_store_new(&options, &other.store), KITH_OK);
    assert_int_equal(kith_content_new(other.store, image.encoded, &content), KITH_OK);
    for (uint32_t i = 0; i < image.ref_count; i++) {
        assert_true(kith_fake_lose_chunk(world.cluster, &image.refs[i]));
    }
    assert_int_equal(kith_content_read(content, 0, back, 4096, &got), KITH_EIO);
    kith_content_free(content);
    kith_content_store_free(other.store);
    kith_arena_release(&arena);
    free(buffer);
    free(back);
    world_free(&world);
}

/* Clean chunks give way to dirty ones, but not all of them. */
static void test_shared_memory(void **state)
{
    (void)state;
    struct world world = world_new(8 * MIB, 8 * MIB, 300);
    struct kith_content *content = empty(&world), *other = empty(&world);
    uint8_t *buffer = calloc(1, MIB);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(kith_content_write(content, i * MIB, buffer, MIB), KITH_OK);
    }
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    (void)flush(&world, content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX, &arena);
    kith_arena_release(&arena);
    struct kith_content_stats stats;
    for (size_t i = 0, got; i < 10; i++) {
        assert_int_equal(kith_content_read(content, i * MIB, buffer, MIB, &got), KITH_OK);
    }
    kith_content_store_stats(world.store, &stats);
    assert_in_range(stats.cached_bytes, 7 * MIB, 8 * MIB);
    kith_fake_hold(world.cluster, 0, true);
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(kith_content_write(other, i * MIB, buffer, MIB), KITH_OK);
        kith_content_store_stats(world.store, &stats);
        assert_int_equal(stats.dirty_bytes, (i + 1) * MIB);
        assert_in_range(stats.cached_bytes, (i < 6 ? 6 - i : 1) * MIB, (i < 6 ? 7 - i : 2) * MIB);
    }
    kith_content_free(content);
    kith_content_free(other);
    kith_fake_hold(world.cluster, 0, false); /* or the store waits for ever */
    free(buffer);
    world_free(&world);
}

static void test_budget(void **state)
{
    (void)state;
    struct world world = world_new(4 * MIB, 4 * MIB, 300);
    struct kith_content *content = empty(&world), *small = empty(&world);
    uint8_t *buffer = malloc(MIB);
    fill(buffer, MIB, 3);
    kith_fake_hold(world.cluster, 0, true);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(kith_content_write(content, i * MIB, buffer, MIB), KITH_OK);
    }
    assert_int_equal(kith_content_write(small, 0, buffer, 1), KITH_ETIMEOUT);
    kith_fake_hold(world.cluster, 0, false); /* of one that waits: test_content_wait.c */
    assert_int_equal(kith_content_write(small, 0, buffer, 1), KITH_OK);
    /* partial regions are sent when memory is short */
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(kith_content_write(content, i * MIB + 5, buffer, 200000), KITH_OK);
    }
    struct kith_content_stats stats;
    kith_content_store_stats(world.store, &stats);
    assert_true(stats.dirty_bytes < 6 * MIB);
    kith_content_free(content);
    kith_content_free(small);
    free(buffer);
    world_free(&world);
}

/* ---- threads ---- */

struct worker {
    struct world *world;
    struct kith_content *content;
    uint64_t seed;
};

/* Blocks of 4 KiB each hold one byte value: a torn read would show two. */
static void *work(void *arg)
{
    struct worker *worker = arg;
    uint8_t block[4096];
    for (unsigned i = 0; i < 400; i++) {
        uint64_t offset = draw(&worker->seed) % 700 * 4096;
        size_t got = 0;
        if (i % 3 == 0) {
            memset(block, (int)(draw(&worker->seed) & 0xff), sizeof(block));
            if (kith_content_write(worker->content, offset, block, sizeof(block)) != KITH_OK) {
                abort();
            }
        } else if (i % 50 == 1) {
            struct kith_arena arena;
            struct kith_content_image image;
            uint64_t generation;
            kith_arena_init(&arena, 0);
            if (kith_content_flush(worker->content, (enum kith_durability)(i % 2), 1000, &arena,
                                   &image, &generation) != KITH_OK) {
                abort();
            }
            kith_content_flushed(worker->content, generation);
            kith_arena_release(&arena);
        } else if (kith_content_read(worker->content, offset, block, sizeof(block), &got) !=
                   KITH_OK) {
            abort();
        }
        for (size_t k = 1; k < got; k++) {
            if (block[k] != block[0]) {
                abort();
            }
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct world world = world_new(2 * MIB, MIB, 0);
    struct kith_content *content = empty(&world);
    kith_fake_set_delay(world.cluster, 200);
    struct worker workers[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){&world, content, 100 + i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    kith_content_free(content);
    world_free(&world);
}

/* Identical reads at once ask the cluster once; a sequential reader finds what comes next there. */
static void *read_one(void *arg)
{
    struct worker *worker = arg;
    uint8_t block[4096];
    size_t got;
    if (kith_content_read(worker->content, 0, block, sizeof(block), &got) != KITH_OK) {
        abort();
    }
    return NULL;
}

static void test_join(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_content *content = empty(&world);
    uint8_t *buffer = malloc(MIB);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    fill(buffer, MIB, 8);
    assert_int_equal(kith_content_write(content, 0, buffer, MIB), KITH_OK);
    struct kith_content_image image = flush(&world, content, KITH_DURABLE_OS, 0, &arena);
    kith_content_free(content);
    struct kith_content_options options = {.client = world.client, .volume = KITH_VOLUME_FS};
    struct kith_content_store *cold;
    assert_int_equal(kith_content_store_new(&options, &cold), KITH_OK);
    assert_int_equal(kith_content_new(cold, image.encoded, &content), KITH_OK);
    kith_fake_set_delay(world.cluster, 20000);
    struct worker worker = {&world, content, 0};
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_one, &worker), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    struct kith_fake_counts counts;
    kith_fake_counts(world.cluster, &counts);
    assert_int_equal(counts.ops[KITH_CLIENT_CHUNK_GET], 1);
    kith_content_free(content);
    kith_content_store_free(cold);
    kith_arena_release(&arena);
    free(buffer);
    world_free(&world);
}

/* What must not wait: done for small contents, left to others where a chunk is concerned. */
static void test_try(void **state)
{
    (void)state;
    struct world world = world_new(0, 0, 0);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_content *content = empty(&world);
    uint8_t bytes[16];
    size_t got = 9;
    assert_int_equal(kith_content_try_read(content, 0, bytes, sizeof bytes, &got), KITH_OK);
    assert_int_equal(got, 0);
    assert_int_equal(kith_content_try_write(content, false, 0, (const uint8_t *)"abc", 3), KITH_OK);
    assert_int_equal(kith_content_try_write(content, true, 0, (const uint8_t *)"de", 2), KITH_OK);
    assert_int_equal(kith_content_try_read(content, 1, bytes, sizeof bytes, &got), KITH_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(bytes, "bcde", 4);
    struct kith_content_image image;
    uint64_t generation, size, allocated;
    assert_int_equal(kith_content_try_flush(content, 4, &arena, &image, &generation), KITH_EBUSY);
    assert_int_equal(kith_content_try_flush(content, 5, &arena, &image, &generation), KITH_OK);
    assert_int_equal(kith_content_image_stat(image.encoded, &size, &allocated), KITH_OK);
    assert_int_equal(size, 5);
    assert_int_equal(image.ref_count, 0);
    assert_true(kith_content_dirty(content));
    kith_content_flushed(content, generation);
    assert_false(kith_content_dirty(content));
    uint8_t *large = calloc(1, MIB);
    assert_non_null(large);
    assert_int_equal(kith_content_try_write(content, true, 0, large, MIB), KITH_OK);
    assert_int_equal(kith_content_size(content), MIB + 5);
    assert_int_equal(kith_content_try_read(content, 0, bytes, sizeof bytes, &got), KITH_EBUSY);
    assert_int_equal(kith_content_try_flush(content, MIB, &arena, &image, &generation), KITH_EBUSY);
    free(large);
    kith_content_free(content);
    kith_arena_release(&arena);
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequential), cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_lists),      cmocka_unit_test(test_failures),
        cmocka_unit_test(test_budget),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_join),       cmocka_unit_test(test_random),
        cmocka_unit_test(test_copy_range), cmocka_unit_test(test_compaction_holes),
        cmocka_unit_test(test_try),        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_compaction_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
