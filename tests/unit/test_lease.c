/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that are open for long: their chunks are leased now and then, one file after the other. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "fs/content/content.h"
#include "lib/fake_client.h"

#define MIB   (1u << 20)
#define EVERY 6400u

struct world {
    struct kith_fake_cluster *cluster;
    struct kith_client *client;
    struct kith_content_store *store;
};

static int setup(void **state)
{
    static struct world world;
    world.cluster = kith_fake_cluster_new();
    world.client = kith_fake_client_new(world.cluster, "anna@mars");
    const struct kith_content_options options = {
        .client = world.client, .volume = KITH_VOLUME_FS, .lease_ms = EVERY};
    assert_int_equal(kith_content_store_new(&options, &world.store), KITH_OK);
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    kith_content_store_free(world->store);
    kith_client_close(world->client);
    kith_fake_cluster_free(world->cluster);
    return 0;
}

/* Contents of so many MiB, flushed; its image as another mount would open it. */
static struct kith_content *written(struct world *world, uint32_t mib, struct kith_arena *arena,
                                    struct kith_content_image *image)
{
    static uint8_t bytes[MIB];
    struct kith_content *content;
    assert_int_equal(kith_content_new(world->store, kith_bytes_make(NULL, 0), &content), KITH_OK);
    for (uint32_t i = 0; i < mib; i++) {
        memset(bytes, (int)i + 1, sizeof bytes);
        assert_int_equal(kith_content_write(content, (uint64_t)i * MIB, bytes, MIB), KITH_OK);
    }
    uint64_t generation;
    assert_int_equal(kith_content_flush(content, KITH_DURABLE_OS, 0, arena, image, &generation),
                     KITH_OK);
    return content;
}

/* Ticks at that time; the chunks that were leased then. */
static uint64_t leased(struct world *world, uint64_t now_ms)
{
    struct kith_fake_counts before, after;
    kith_fake_counts(world->cluster, &before);
    kith_content_store_lease(world->store, now_ms);
    do {
        kith_fake_counts(world->cluster, &after);
    } while (after.under_way > 0 || after.calling > 0);
    return after.leased - before.leased;
}

static void test_due(void **state)
{
    struct world *world = *state;
    struct kith_arena arena;
    struct kith_content_image image;
    struct kith_content *small, *other;
    kith_arena_init(&arena, 0);
    struct kith_content *content = written(world, 5, &arena, &image);
    assert_int_equal(kith_content_new(world->store, kith_bytes_make(NULL, 0), &small), KITH_OK);
    assert_int_equal(kith_content_new(world->store, image.encoded, &other), KITH_OK);
    assert_int_equal(leased(world, 1000), 0);
    assert_int_equal(leased(world, 1000 + EVERY - 1), 0);
    uint64_t count = 0;
    for (uint32_t i = 0; i < 4; i++) { /* one file with each tick; the small one has none */
        uint64_t once = leased(world, 1000 + EVERY + EVERY / 60 + i);
        assert_true(once == 0 || once == 5);
        count += once;
    }
    assert_int_equal(count, 10);
    assert_int_equal(leased(world, 1000 + 2 * EVERY - 1), 0);
    kith_content_free(other);
    kith_content_free(small);
    count = 0;
    for (uint32_t i = 0; i < 4; i++) {
        count += leased(world, 1000 + 3 * EVERY + i);
    }
    assert_int_equal(count, 5);
    kith_content_free(content);
    assert_int_equal(leased(world, 1000 + 9 * EVERY), 0);
    kith_arena_release(&arena);
}

/* Who cannot be reached is asked again soon. */
static void test_failed(void **state)
{
    struct world *world = *state;
    struct kith_arena arena;
    struct kith_content_image image;
    kith_arena_init(&arena, 0);
    struct kith_content *content = written(world, 3, &arena, &image);
    (void)leased(world, 1000);
    kith_fake_fail_next(world->cluster, KITH_CLIENT_CHUNK_SYNC, 1, KITH_EUNREACH, false);
    assert_int_equal(leased(world, 1000 + EVERY + EVERY / 60), 0);
    (void)leased(world, 1000 + EVERY + EVERY / 60 + 1); /* nobody is due: looks again later */
    assert_int_equal(leased(world, 1000 + EVERY + EVERY / 10), 3);
    kith_content_free(content);
    kith_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_due, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
