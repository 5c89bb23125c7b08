/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_restore_rows.c - rows and chunks of a backup into a cluster in memory: as new writes, once, and
 * beside what is there. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ctl/backup/restore.h"
#include "lib/fake_client.h"

static const uint8_t own[12] = {7}, noise[10] = {5};
static struct kith_fake_cluster *cluster;
static struct kith_restore restore;
static char warned[600];

static struct kith_group the_group(void)
{
    return kith_group_make(KITH_VOLUME_FS, own);
}

static void on_warn(void *arg, const char *text)
{
    (void)arg;
    (void)snprintf(warned, sizeof warned, "%s", text);
}

static int setup(void **state)
{
    (void)state;
    memset(&restore, 0, sizeof restore);
    warned[0] = '\0';
    pthread_mutex_init(&restore.lock, NULL);
    cluster = kith_fake_cluster_new();
    restore.client = kith_fake_client_new(cluster, "restorer@here");
    restore.warn = on_warn;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kith_backup_index_release(&restore.done);
    kith_client_close(restore.client);
    kith_fake_cluster_free(cluster);
    return 0;
}

/* A version: its text, when, of what kind, of which chunk (0: none). */
struct version {
    const char *text;
    uint64_t time;
    uint8_t kind, chunk;
};

static struct kith_chunk_id chunk_id(uint8_t number)
{
    return kith_chunk_id_make(KITH_VOLUME_FS, number, noise);
}

static void encode(const struct version *versions, uint32_t count, struct kith_buf *buf)
{
    struct kith_clock_entry entry = {{77, 1}, 100};
    struct kith_sibling siblings[8];
    struct kith_chunk_id ids[8];
    memset(siblings, 0, sizeof siblings);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = chunk_id(versions[i].chunk);
        siblings[i].dot.actor = entry.actor;
        siblings[i].dot.counter = i + 1;
        siblings[i].kind = versions[i].kind;
        siblings[i].time = versions[i].time;
        siblings[i].writer = kith_bytes_make("anna@mars", 9);
        siblings[i].ref_count = versions[i].chunk > 0 ? 1 : 0;
        siblings[i].refs = &ids[i];
        siblings[i].value = kith_bytes_make(versions[i].text, strlen(versions[i].text));
    }
    struct kith_row row = {.clock = {1, &entry}, .sibling_count = count, .siblings = siblings};
    kith_row_encode(&row, buf);
}

static enum kith_err give(const char *name, const struct version *versions, uint32_t count)
{
    struct kith_group group = the_group();
    struct kith_error error;
    struct kith_buf buf;
    kith_buf_init(&buf);
    encode(versions, count, &buf);
    struct kith_restore_row row = {kith_bytes_make(name, strlen(name)), kith_buf_bytes(&buf)};
    enum kith_err err = kith_restore_rows(&restore, &group, &row, 1, &error);
    kith_buf_release(&buf);
    return err;
}

/* "one,two": what the row has by now, the latest last. */
static void now(const char *name, char text[200])
{
    struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
    struct kith_client_op op;
    struct kith_client_answer answer;
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_GET;
    op.u.get.group = the_group();
    op.u.get.name_count = 1;
    op.u.get.names = &bytes;
    assert_int_equal(kith_client_call(restore.client, &op, &answer), KITH_OK);
    const struct kith_row *row = &answer.result.u.rows.rows[0].row;
    uint64_t time = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *next = NULL;
        for (uint32_t k = 0; k < row->sibling_count; k++) {
            const struct kith_sibling *one = &row->siblings[k];
            next = one->time > time && (!next || one->time < next->time) ? one : next;
        }
        assert_non_null(next);
        time = next->time;
        size_t used = strlen(text);
        (void)snprintf(text + used, 200 - used, "%s%.*s", used > 0 ? "," : "",
                       (int)next->value.size, (const char *)next->value.data);
    }
    kith_client_answer_release(&answer);
}

static void assert_now(const char *name, const char *expected)
{
    char text[200];
    now(name, text);
    assert_string_equal(text, expected);
}

/* Chunks `first` to `last`, together. */
static void add_chunks(uint8_t first, uint8_t last, const char *text)
{
    struct kith_restore_batch batch;
    struct kith_error error;
    memset(&batch, 0, sizeof batch);
    for (uint8_t number = first; number <= last; number++) {
        struct kith_backup_record record;
        memset(&record, 0, sizeof record);
        record.type = KITH_BACKUP_CHUNK;
        record.u.chunk.id = chunk_id(number);
        record.u.chunk.contents = kith_bytes_make(text, strlen(text));
        record.u.chunk.checksum = kith_checksum_of(record.u.chunk.contents);
        assert_int_equal(kith_restore_chunk_add(&restore, &batch, &record, &error), KITH_OK);
    }
    enum kith_err err = kith_restore_chunks_flush(&restore, &batch, &error);
    assert_true(err == KITH_OK || err == KITH_EBUSY);
}

static void add_chunk(uint8_t number, const char *text)
{
    add_chunks(number, number, text);
}

/* All versions stand again, the latest as the latest; a second time nothing is written. */
static void test_once(void **state)
{
    (void)state;
    static const struct version versions[] = {{"latest", 30, 0, 0}, {"first", 10, 0, 0},
                                              {"middle", 20, 0, 0}};
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(give("a", versions, 3), KITH_OK);
        assert_now("a", "first,middle,latest");
        assert_int_equal(restore.versions_put, 3);
        assert_int_equal(restore.rows_put, 1);
    }
}

/* What was broken off is gone on with: only what is missing is put. */
static void test_goes_on(void **state)
{
    (void)state;
    static const struct version versions[] = {{"one", 10, 0, 0}, {"two", 20, 0, 0}};
    kith_fake_fail_later(cluster, KITH_CLIENT_PUT, 1, 1, KITH_EUNREACH, false);
    assert_int_equal(give("a", versions, 2), KITH_EUNREACH);
    assert_now("a", "one");
    assert_int_equal(give("a", versions, 2), KITH_OK);
    assert_now("a", "one,two");
}

/* What the cluster has is neither overwritten nor removed; what was deleted in the backup is left out. */
static void test_beside(void **state)
{
    (void)state;
    static const struct version there[] = {{"theirs", 10, 0, 0}};
    static const struct version ours[] = {{"ours", 10, 0, 0}};
    static const struct version moved[] = {{"to b", 10, KITH_SIBLING_MARK, 0}};
    assert_int_equal(give("a", there, 1), KITH_OK);
    assert_int_equal(give("a", ours, 1), KITH_OK);
    assert_now("a", "theirs,ours");
    assert_int_equal(give("a", NULL, 0), KITH_OK);
    assert_int_equal(give("a", moved, 1), KITH_OK);
    assert_now("a", "theirs,ours");
    assert_int_equal(give("b", moved, 1), KITH_OK);
    assert_now("b", "");
}

/* A row is put when its chunks are there; those that are there are not sent again; one that the backup
 * has not, or that the cluster does not take now, costs its version and no other. */
static void test_chunks(void **state)
{
    (void)state;
    static const struct version versions[] = {{"good", 10, 0, 1}, {"lost", 20, 0, 2},
                                              {"plain", 30, 0, 0}};
    add_chunk(1, "contents");
    assert_int_equal(restore.chunks_put, 1);
    assert_int_equal(give("a", versions, 3), KITH_OK);
    assert_now("a", "good,plain");
    assert_int_equal(restore.lost, 1);
    assert_non_null(strstr(warned, "'a' is left out: the backup has no chunk"));
    kith_backup_index_release(&restore.done); /* as another run */
    add_chunk(1, "contents");
    assert_int_equal(restore.chunks_put, 1);
    add_chunk(4, "contents");
    kith_backup_index_release(&restore.done);
    add_chunks(3, 5, "contents"); /* of these the one in the middle is there */
    assert_int_equal(restore.chunks_put, 4);
    add_chunk(1, "contents");
    struct kith_chunk_id id = chunk_id(2);
    kith_fake_sweep_chunk(cluster, &id, false);
    add_chunk(2, "swept there");
    assert_int_equal(give("a", versions, 3), KITH_OK);
    assert_now("a", "good,plain");
    assert_int_equal(restore.lost, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
