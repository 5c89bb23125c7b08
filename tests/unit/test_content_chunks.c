/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_content_chunks.c - the chunks that an image's contents lie in, over a cluster in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "fs/content/content.h"
#include "lib/fake_client.h"

#define MIB (1u << 20)

struct world {
    struct kith_fake_cluster *cluster;
    struct kith_client *client;
    struct kith_content_store *store;
    struct kith_content *content;
    struct kith_arena arena;
    struct kith_buf ids;
};

static int setup(void **state)
{
    struct world *w = kith_calloc(1, sizeof *w);
    assert_non_null(w);
    w->cluster = kith_fake_cluster_new();
    w->client = kith_fake_client_new(w->cluster, "me@here");
    struct kith_content_options options = {.client = w->client, .volume = KITH_VOLUME_FS};
    assert_int_equal(KITH_OK, kith_content_store_new(&options, &w->store));
    assert_int_equal(KITH_OK, kith_content_new(w->store, kith_bytes_make(NULL, 0), &w->content));
    kith_arena_init(&w->arena, 0);
    kith_buf_init(&w->ids);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    kith_content_free(w->content);
    kith_content_store_free(w->store);
    kith_client_close(w->client);
    kith_fake_cluster_free(w->cluster);
    kith_arena_release(&w->arena);
    kith_buf_release(&w->ids);
    kith_free(w);
    return 0;
}

static struct kith_bytes image(struct world *w)
{
    struct kith_content_image made;
    uint64_t generation;
    assert_int_equal(KITH_OK,
                     kith_content_flush(w->content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX,
                                        &w->arena, &made, &generation));
    kith_content_flushed(w->content, generation);
    return made.encoded;
}

/* Each is there, and each once; how many. */
static size_t count(struct world *w, struct kith_bytes encoded)
{
    struct kith_chunk_id last, id;
    kith_buf_clear(&w->ids);
    assert_int_equal(KITH_OK, kith_content_chunks(w->store, encoded, &w->ids));
    assert_int_equal(0, w->ids.size % sizeof id);
    for (size_t at = 0; at < w->ids.size; at += sizeof id) {
        memcpy(&id, w->ids.data + at, sizeof id);
        assert_true(kith_fake_has_chunk(w->cluster, &id, false));
        assert_true(at == 0 || memcmp(&last, &id, sizeof id) < 0);
        last = id;
    }
    return w->ids.size / sizeof id;
}

static void write_at(struct world *w, uint64_t offset, size_t size)
{
    static uint8_t data[4 * MIB];
    memset(data, (int)(offset >> 12) | 1, size);
    assert_int_equal(KITH_OK, kith_content_write(w->content, offset, data, size));
}

static void test_few(void **state)
{
    struct world *w = *state;
    assert_int_equal(0, count(w, kith_bytes_make(NULL, 0)));
    write_at(w, 0, 100);
    assert_int_equal(0, count(w, image(w))); /* in the row */
    write_at(w, 0, 3 * MIB);
    struct kith_bytes three = image(w);
    assert_int_equal(3, count(w, three));
    write_at(w, 3 * MIB, 2 * MIB);
    assert_int_equal(5, count(w, image(w)));
    assert_int_equal(3, count(w, three)); /* of that image, whatever was written since */
    assert_int_equal(KITH_EFORMAT,
                     kith_content_chunks(w->store, kith_bytes_make("\x01\xff", 2), &w->ids));
}

/* So many extents that they are written down in chunks of their own: those are named, too; and
 * where one of them cannot be had, that is an error and no short list. */
static void test_lists(void **state)
{
    struct world *w = *state;
    struct kith_fake_counts counts;
    for (uint64_t i = 0; i < 4000; i++) {
        write_at(w, i * 16384, 4096);
    }
    struct kith_bytes encoded = image(w);
    kith_fake_counts(w->cluster, &counts);
    size_t all = count(w, encoded);
    assert_true(all > 4000 * 16384 / MIB); /* a chunk for each region's data at least, and lists */
    assert_int_equal(counts.chunks, all);
    kith_content_free(w->content); /* with what it has in memory of them */
    kith_content_store_free(w->store);
    struct kith_content_options options = {.client = w->client, .volume = KITH_VOLUME_FS};
    assert_int_equal(KITH_OK, kith_content_store_new(&options, &w->store));
    assert_int_equal(KITH_OK, kith_content_new(w->store, kith_bytes_make(NULL, 0), &w->content));
    assert_int_equal(all, count(w, encoded));
    kith_fake_set_unreachable(w->cluster, true);
    kith_content_free(w->content);
    kith_content_store_free(w->store);
    assert_int_equal(KITH_OK, kith_content_store_new(&options, &w->store));
    assert_int_equal(KITH_OK, kith_content_new(w->store, kith_bytes_make(NULL, 0), &w->content));
    kith_buf_clear(&w->ids);
    assert_int_not_equal(KITH_OK, kith_content_chunks(w->store, encoded, &w->ids));
    assert_int_equal(0, w->ids.size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_few, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
