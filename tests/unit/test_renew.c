/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Chunks that were swept while an open file names them: written anew where their bytes are to be
 * had, and else an error, with nothing of what is dirty lost. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fs/content/content.h"
#include "lib/fake_client.h"

#define MIB (1u << 20)

struct world {
    struct kith_fake_cluster *cluster;
    struct kith_client *client;
    struct kith_content_store *store;
    struct kith_arena arena;
    struct kith_content *content;
};

static struct kith_content_store *store_new(const struct world *world, size_t dirty_bytes)
{
    struct kith_content_store *store;
    struct kith_content_options options = {
        .client = world->client, .volume = KITH_VOLUME_FS, .dirty_bytes = dirty_bytes};
    assert_int_equal(kith_content_store_new(&options, &store), KITH_OK);
    return store;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->cluster = kith_fake_cluster_new();
    assert_non_null(world->cluster);
    world->client = kith_fake_client_new(world->cluster, "anna@mars");
    assert_non_null(world->client);
    world->store = store_new(world, 0);
    kith_arena_init(&world->arena, 0);
    assert_int_equal(
        kith_content_new(world->store, kith_bytes_make(NULL, 0), &world->content), KITH_OK);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    kith_content_free(world->content);
    kith_content_store_free(world->store);
    kith_client_close(world->client);
    kith_fake_cluster_free(world->cluster);
    kith_arena_release(&world->arena);
    free(world);
    return 0;
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) * 7 + (offset >> 16));
}

static void write_at(struct world *world, uint64_t offset, size_t size)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = byte_at(offset + i);
    }
    assert_int_equal(kith_content_write(world->content, offset, bytes, size), KITH_OK);
    free(bytes);
}

/* That they are what write_at wrote, or a copy from `moved` bytes before. */
static void check_moved(struct kith_content *content, uint64_t offset, size_t size, uint64_t moved)
{
    uint8_t *bytes = malloc(size);
    size_t got = 0;
    assert_non_null(bytes);
    assert_int_equal(kith_content_read(content, offset, bytes, size, &got), KITH_OK);
    assert_int_equal(got, size);
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != byte_at(offset + i - moved)) {
            fail_msg("another byte at %llu", (unsigned long long)(offset + i));
        }
    }
    free(bytes);
}

static void check(struct kith_content *content, uint64_t offset, size_t size)
{
    check_moved(content, offset, size, 0);
}

/* At `os`: `disk` would look for the young ones by itself, as if their owners had lost them. */
static enum kith_err try_flush(struct world *world, struct kith_content_image *ret_image)
{
    uint64_t generation;
    enum kith_err err =
        kith_content_flush(world->content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX, &world->arena,
                           ret_image, &generation);
    if (err == KITH_OK) {
        kith_content_flushed(world->content, generation);
    }
    return err;
}

/* All that the image names is there. */
static struct kith_content_image flush(struct world *world)
{
    struct kith_content_image image;
    assert_int_equal(try_flush(world, &image), KITH_OK);
    for (uint32_t i = 0; i < image.ref_count; i++) {
        assert_true(kith_fake_has_chunk(world->cluster, &image.refs[i], false));
    }
    assert_false(kith_content_dirty(world->content));
    return image;
}

/* What another mount reads: `count` pieces so far apart. */
static void check_pieces(struct world *world, const struct kith_content_image *image, size_t size,
                         uint32_t count, uint64_t apart)
{
    struct kith_content_store *store = store_new(world, 0);
    struct kith_content *content;
    assert_int_equal(kith_content_new(store, image->encoded, &content), KITH_OK);
    for (uint32_t i = 0; i < count; i++) {
        check(content, i * apart, size);
    }
    kith_content_free(content);
    kith_content_store_free(store);
}

static void check_image(struct world *world, const struct kith_content_image *image, size_t size)
{
    check_pieces(world, image, size, 1, 0);
}

static void sweep(struct world *world, const struct kith_content_image *image)
{
    for (uint32_t i = 0; i < image->ref_count; i++) {
        kith_fake_sweep_chunk(world->cluster, &image->refs[i], false);
    }
}

static bool names_any(const struct kith_content_image *image, const struct kith_content_image *of)
{
    for (uint32_t i = 0; i < image->ref_count; i++) {
        for (uint32_t k = 0; k < of->ref_count; k++) {
            if (memcmp(&image->refs[i], &of->refs[k], sizeof image->refs[i]) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Opened again with another cache, which knows nothing. */
static void reopen(struct world *world, const struct kith_content_image *image, size_t dirty_bytes)
{
    kith_content_free(world->content);
    kith_content_store_free(world->store);
    world->store = store_new(world, dirty_bytes);
    assert_int_equal(kith_content_new(world->store, image->encoded, &world->content), KITH_OK);
}

/* ---- */

static void test_cached(void **state)
{
    struct world *world = *state;
    struct kith_fake_counts counts;
    write_at(world, 0, 3 * MIB + 500);
    struct kith_content_image old = flush(world);
    assert_int_equal(old.ref_count, 4);
    sweep(world, &old);
    write_at(world, MIB + 1000, 5000);
    struct kith_content_image image; /* nobody asks before there is a reason */
    assert_int_equal(try_flush(world, &image), KITH_OK);
    assert_true(names_any(&image, &old));
    kith_fake_counts(world->cluster, &counts);
    assert_int_equal(counts.leased, 0);
    kith_content_store_refused(world->store);
    image = flush(world);
    assert_false(names_any(&image, &old));
    check_image(world, &image, 3 * MIB + 500);
    check(world->content, 0, 3 * MIB + 500);
    assert_int_equal(image.allocated, 3 * MIB + 500);
    kith_fake_counts(world->cluster, &counts);
    uint64_t leased = counts.leased;
    assert_int_equal(leased, 5);
    image = flush(world); /* once for each reason */
    kith_fake_counts(world->cluster, &counts);
    assert_int_equal(counts.leased, leased);
}

/* Where all is there a refusal had another reason. */
static void test_not_gone(void **state)
{
    struct world *world = *state;
    struct kith_fake_counts before, after;
    write_at(world, 0, 2 * MIB);
    struct kith_content_image old = flush(world);
    kith_content_store_refused(world->store);
    kith_fake_counts(world->cluster, &before);
    struct kith_content_image image = flush(world);
    kith_fake_counts(world->cluster, &after);
    assert_int_equal(image.ref_count, old.ref_count);
    assert_memory_equal(image.refs, old.refs, old.ref_count * sizeof *old.refs);
    assert_int_equal(after.ops[KITH_CLIENT_CHUNK_PUT], before.ops[KITH_CLIENT_CHUNK_PUT]);
    assert_int_equal(after.leased, 2);
    /* and where nobody can be asked, it is asked again */
    write_at(world, 0, 10);
    kith_content_store_refused(world->store);
    kith_fake_fail_next(world->cluster, KITH_CLIENT_CHUNK_SYNC, 1, KITH_EUNREACH, false);
    assert_int_equal(try_flush(world, &image), KITH_EUNREACH);
    assert_true(kith_content_dirty(world->content));
    sweep(world, &old);
    image = flush(world);
    assert_false(names_any(&image, &old));
    check_image(world, &image, 2 * MIB);
}

/* What is in no cache is gone for good: said each time, until it is overwritten. */
static void test_lost(void **state)
{
    struct world *world = *state;
    struct kith_content_image image;
    write_at(world, 0, 3 * MIB);
    struct kith_content_image old = flush(world);
    reopen(world, &old, 0);
    check(world->content, 0, MIB); /* in the cache now, with what was read ahead */
    reopen(world, &old, 0);
    kith_fake_sweep_chunk(world->cluster, &old.refs[1], false);
    write_at(world, 2 * MIB + 77, 1000);
    kith_content_store_refused(world->store);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(try_flush(world, &image), KITH_EIO);
        assert_true(kith_content_dirty(world->content));
        check(world->content, 2 * MIB + 77, 1000);
    }
    write_at(world, MIB, MIB - 1);
    assert_int_equal(try_flush(world, &image), KITH_EIO); /* one byte is missing still */
    write_at(world, 2 * MIB - 1, 1);
    image = flush(world);
    check_image(world, &image, 3 * MIB);
    /* or cut off */
    old = image;
    reopen(world, &old, 0);
    sweep(world, &old);
    assert_int_equal(kith_content_truncate(world->content, 0), KITH_OK);
    kith_content_store_refused(world->store);
    write_at(world, 0, MIB);
    image = flush(world);
    check_image(world, &image, MIB);
}

/* One that an owner still has: it is about to be deleted. */
static void test_doomed(void **state)
{
    struct world *world = *state;
    write_at(world, 0, 2 * MIB);
    struct kith_content_image old = flush(world);
    reopen(world, &old, 0);
    for (uint32_t i = 0; i < old.ref_count; i++) {
        kith_fake_sweep_chunk(world->cluster, &old.refs[i], true);
    }
    kith_content_store_refused(world->store);
    struct kith_content_image image = flush(world);
    assert_false(names_any(&image, &old));
    check_image(world, &image, 2 * MIB);
}

/* One chunk in two regions, and in two pieces of one. */
static void test_shared(void **state)
{
    struct world *world = *state;
    uint64_t copied = 0;
    write_at(world, 0, MIB);
    struct kith_content_image old = flush(world);
    assert_int_equal(kith_content_copy_range(world->content, 0, world->content, MIB, MIB, &copied),
                     KITH_OK);
    assert_int_equal(copied, MIB);
    old = flush(world);
    assert_int_equal(old.ref_count, 1);
    write_at(world, 400000, 5000);
    sweep(world, &old);
    kith_content_store_refused(world->store);
    struct kith_content_image image = flush(world);
    assert_false(names_any(&image, &old));
    check_image(world, &image, MIB);
    check(world->content, 0, MIB);
    check_moved(world->content, MIB, MIB, MIB);
    assert_int_equal(image.allocated, 2 * MIB);
    assert_int_equal(image.ref_count, 3); /* one for each region, and what was written */
}

struct watcher {
    struct kith_content_store *store;
    atomic_bool over;
    size_t peak;
};

static void *watch_dirty(void *arg)
{
    struct watcher *watcher = arg;
    while (!atomic_load(&watcher->over)) {
        struct kith_content_stats stats;
        kith_content_store_stats(watcher->store, &stats);
        watcher->peak = stats.dirty_bytes > watcher->peak ? stats.dirty_bytes : watcher->peak;
        sched_yield();
    }
    return NULL;
}

/* More than may be dirty at a time. */
static void test_budget(void **state)
{
    struct world *world = *state;
    pthread_t thread;
    write_at(world, 0, 20 * MIB);
    struct kith_content_image old = flush(world);
    reopen(world, &old, 2 * MIB);
    check(world->content, 0, 20 * MIB); /* into the cache */
    sweep(world, &old);
    kith_content_store_refused(world->store);
    kith_fake_set_delay(world->cluster, 2000);
    struct watcher watcher = {.store = world->store};
    assert_int_equal(pthread_create(&thread, NULL, watch_dirty, &watcher), 0);
    struct kith_content_image image = flush(world);
    atomic_store(&watcher.over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(watcher.peak, MIB, 3 * MIB);
    assert_false(names_any(&image, &old));
    check_image(world, &image, 20 * MIB);
}

#define PARTS 6000u
#define APART (UINT64_C(160) * MIB)
#define PART  64u /* bytes */

/* A list of extents in chunks of their own: one of those is gone, or one of what they name, of
 * which the list that is made then is refused. */
static void test_lists(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 0; i < PARTS; i++) {
        write_at(world, i * APART, PART);
    }
    struct kith_content_image old = flush(world);
    assert_true(old.ref_count > 2 && old.ref_count < 20);
    kith_fake_sweep_chunk(world->cluster, &old.refs[1], false);
    kith_content_store_refused(world->store);
    struct kith_content_image image = flush(world);
    assert_int_equal(image.ref_count, old.ref_count);
    assert_memory_equal(&image.refs[0], &old.refs[0], sizeof old.refs[0]);
    assert_memory_not_equal(&image.refs[1], &old.refs[1], sizeof old.refs[1]);
    check_pieces(world, &image, PART, PARTS / 100, 100 * APART);
    assert_int_equal(kith_fake_sweep_sized(world->cluster, PART, 40), 40);
    for (uint32_t i = 0; i < PARTS; i += 500) { /* lists are made anew, and name some of those */
        write_at(world, i * APART, 10);
    }
    image = flush(world);
    check_pieces(world, &image, PART, PARTS, APART);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doomed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
