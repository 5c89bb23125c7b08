/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a newer version of a file is an older one with something appended. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "fs/content/content.h"
#include "lib/fake_client.h"

#define MIB  (1u << 20)
#define SIZE (3u * MIB)

struct world {
    struct kith_fake_cluster *cluster;
    struct kith_client *client;
    struct kith_content_store *store;
    struct kith_content *older, *newer; /* of the same contents at first */
    struct kith_arena arena;
    uint8_t bytes[SIZE];
};

static struct world the_world;

static struct kith_bytes image_of(struct world *world, struct kith_content *content)
{
    struct kith_content_image image;
    uint64_t generation;
    assert_int_equal(kith_content_flush(content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX,
                                        &world->arena, &image, &generation),
                     KITH_OK);
    kith_content_flushed(content, generation);
    return image.encoded;
}

/* Two of the same image with so many bytes, of which there are some from `at` on: before, a hole.
 */
static struct world *begin(size_t at, size_t size)
{
    struct world *world = &the_world;
    memset(world, 0, sizeof *world);
    world->cluster = kith_fake_cluster_new();
    world->client = kith_fake_client_new(world->cluster, "anna@mars");
    struct kith_content_options options = {.client = world->client, .volume = KITH_VOLUME_FS};
    assert_int_equal(kith_content_store_new(&options, &world->store), KITH_OK);
    for (size_t i = 0; i < SIZE; i++) {
        world->bytes[i] = (uint8_t)(i * 7 + i / 251 + 1);
    }
    struct kith_bytes none = kith_bytes_make(NULL, 0);
    assert_int_equal(kith_content_new(world->store, none, &world->older), KITH_OK);
    if (size > at) {
        assert_int_equal(kith_content_write(world->older, at, world->bytes + at, size - at),
                         KITH_OK);
    }
    struct kith_bytes image = image_of(world, world->older);
    assert_int_equal(kith_content_new(world->store, image, &world->newer), KITH_OK);
    return world;
}

static void end(struct world *world)
{
    kith_content_free(world->older);
    kith_content_free(world->newer);
    kith_content_store_free(world->store);
    kith_client_close(world->client);
    kith_fake_cluster_free(world->cluster);
    kith_arena_release(&world->arena);
}

static void append(struct world *world, size_t size)
{
    uint64_t at;
    assert_int_equal(kith_content_append(world->newer, world->bytes, size, &at), KITH_OK);
}

static bool appended(struct world *world)
{
    bool is = false;
    struct kith_bytes image = image_of(world, world->newer);
    assert_int_equal(kith_content_appended(world->older, image, &is), KITH_OK);
    return is;
}

/* From nothing, from a row, from chunks; within the row, and out of it. */
static void test_appended(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 60000, 100000, MIB, 2 * MIB + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t more = 1; more < MIB; more *= 300) {
            for (size_t hole = 0; hole <= sizes[i]; hole += sizes[i] / 2 + 1) {
                struct world *world = begin(hole, sizes[i]);
                assert_false(appended(world)); /* the same */
                append(world, more);
                assert_true(appended(world));
                append(world, more);
                assert_true(appended(world));
                end(world);
            }
        }
    }
}

static void test_changed(void **state)
{
    (void)state;
    static const size_t sizes[] = {10, 60000, 100000, 2 * MIB + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t places[] = {0, sizes[i] / 2, sizes[i] - 1};
        for (size_t k = 0; k < 3; k++) {
            struct world *world = begin(0, sizes[i]);
            const uint8_t other = (uint8_t)(world->bytes[places[k]] + 1);
            append(world, 100);
            assert_int_equal(kith_content_write(world->newer, places[k], &other, 1), KITH_OK);
            assert_false(appended(world));
            end(world);
            world = begin(0, sizes[i]); /* cut, and longer again */
            assert_int_equal(kith_content_truncate(world->newer, places[k]), KITH_OK);
            assert_false(appended(world));
            assert_int_equal(kith_content_truncate(world->newer, sizes[i] + 100), KITH_OK);
            assert_false(appended(world));
            end(world);
        }
    }
}

/* The same bytes, written anew: they lie in other chunks, and are read. */
static void test_written_anew(void **state)
{
    (void)state;
    struct world *world = begin(0, 2 * MIB);
    assert_int_equal(kith_content_write(world->newer, 0, world->bytes, 2 * MIB), KITH_OK);
    append(world, 5);
    assert_true(appended(world));
    struct kith_fake_counts before, after;
    kith_fake_counts(world->cluster, &before);
    append(world, 5); /* no chunk that both have is read for it */
    struct kith_bytes image = image_of(world, world->newer);
    assert_int_equal(kith_content_replace(world->older, image), KITH_OK);
    append(world, 5);
    assert_true(appended(world));
    kith_fake_counts(world->cluster, &after);
    assert_int_equal(before.ops[KITH_CLIENT_CHUNK_GET], after.ops[KITH_CLIENT_CHUNK_GET]);
    end(world);
}

/* What was written here is not replaced by anything. */
static void test_unsent(void **state)
{
    (void)state;
    struct world *world = begin(0, 100);
    bool is = true;
    append(world, 5);
    struct kith_bytes image = image_of(world, world->newer);
    assert_int_equal(kith_content_write(world->older, 0, world->bytes, 1), KITH_OK);
    assert_int_equal(kith_content_appended(world->older, image, &is), KITH_OK);
    assert_false(is);
    is = true;
    assert_int_equal(kith_content_appended(world->older, kith_bytes_make("\x09", 1), &is),
                     KITH_EVERSION);
    end(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appended),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_written_anew),
        cmocka_unit_test(test_unsent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
