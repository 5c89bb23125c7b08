/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_restore_pool.c - batches of rows that are restored side by side, into a cluster in memory: all of
 * them, once, as one after the other; and what one that fails does to the others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/backup/restore.h"
#include "lib/fake_client.h"

#define GROUPS 120u
#define ROWS   3u /* of each */
#define TOGETHER 8u

static const uint8_t noise[10] = {5};
static const struct kith_uuid uuid = {{1, 2, 3}};
static char folder[64];
static struct kith_fake_cluster *cluster;
static struct kith_restore restore;
static struct kith_backup_dir dir;
static uint32_t warned;
static bool held; /* reads, until TOGETHER of them are under way */

struct batch {
    struct kith_buf states[ROWS];
    struct kith_restore_row rows[ROWS];
    char names[ROWS][8];
    uint32_t over;
};
static struct batch batches[GROUPS];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void on_warn(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    warned++; /* the lock is held */
}

static struct kith_chunk_id chunk_id(uint32_t number)
{
    return kith_chunk_id_make(KITH_VOLUME_FS, number, noise);
}

/* A backup's folder with one chunk, number 1. */
static void folder_make(void)
{
    struct kith_error error;
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_CHUNK;
    record.u.chunk.id = chunk_id(1);
    record.u.chunk.contents = kith_bytes_make("contents", 8);
    record.u.chunk.checksum = kith_checksum_of(record.u.chunk.contents);
    assert_int_equal(kith_backup_dir_write(&dir, folder, &uuid, 4, &error), KITH_OK);
    assert_int_equal(kith_backup_dir_chunk(&dir, &record, &error), KITH_OK);
    assert_int_equal(kith_backup_file_sync(&dir.pack, &error), KITH_OK);
    kith_backup_dir_close(&dir);
    assert_int_equal(kith_backup_dir_read(&dir, folder, NULL, NULL, &error), KITH_OK);
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/kith-test-pool.XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    folder_make();
    memset(&restore, 0, sizeof restore);
    memset(batches, 0, sizeof batches);
    warned = 0;
    held = false;
    cluster = kith_fake_cluster_new();
    restore.client = kith_fake_client_new(cluster, "restorer@here");
    restore.dir = &dir;
    restore.warn = on_warn;
    pthread_mutex_init(&restore.lock, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < GROUPS; i++) {
        for (uint32_t k = 0; k < ROWS; k++) {
            kith_buf_release(&batches[i].states[k]);
        }
    }
    kith_backup_index_release(&restore.done);
    kith_client_close(restore.client);
    kith_fake_cluster_free(cluster);
    kith_backup_dir_close(&dir);
    pthread_mutex_destroy(&restore.lock);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct kith_group group_of(uint32_t number)
{
    uint8_t own[12] = {7, (uint8_t)number};
    return kith_group_make(KITH_VOLUME_FS, own);
}

/* Row k of each group names chunk k: none; one that the backup has; one that it has not. */
static void batches_make(uint32_t rows)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct batch *batch = &batches[i];
        batch->over = 0;
        for (uint32_t k = 0; k < rows; k++) {
            struct kith_clock_entry entry = {{77, 1}, 1};
            struct kith_chunk_id id = chunk_id(k);
            struct kith_sibling sibling = {.dot = {{77, 1}, 1}, .time = 10,
                                           .writer = kith_bytes_make("anna@mars", 9),
                                           .ref_count = k > 0 ? 1 : 0, .refs = &id,
                                           .value = kith_bytes_make("value", 5)};
            struct kith_row row = {.clock = {1, &entry}, .sibling_count = 1, .siblings = &sibling};
            kith_buf_release(&batch->states[k]);
            kith_buf_init(&batch->states[k]);
            kith_row_encode(&row, &batch->states[k]);
            int size = snprintf(batch->names[k], sizeof batch->names[k], "n%u", k);
            batch->rows[k].name = kith_bytes_make(batch->names[k], (size_t)size);
            batch->rows[k].state = kith_buf_bytes(&batch->states[k]);
        }
    }
}

static void on_over(void *arg)
{
    struct batch *batch = arg;
    __atomic_add_fetch(&batch->over, 1, __ATOMIC_SEQ_CST);
    memset(batch->names, 0, sizeof batch->names); /* nobody needs them any more */
    memset(batch->rows, 0, sizeof batch->rows);
}

static struct kith_fake_counts counts(void)
{
    struct kith_fake_counts now;
    kith_fake_counts(cluster, &now);
    return now;
}

/* Restores all of them; how many were taken on. */
static enum kith_err restore_all(uint32_t rows, uint32_t *ret_added)
{
    struct kith_restore_pool *pool = NULL;
    struct kith_error error;
    enum kith_err err = KITH_OK;
    batches_make(rows);
    kith_fake_hold(cluster, KITH_CLIENT_GET, held);
    assert_int_equal(kith_restore_pool_new(&restore, on_over, &pool, &error), KITH_OK);
    for (*ret_added = 0; *ret_added < GROUPS && err == KITH_OK;) {
        struct kith_group group = group_of(*ret_added);
        struct batch *batch = &batches[*ret_added];
        err = kith_restore_pool_add(pool, &group, batch->rows, rows, batch, &error);
        *ret_added += err == KITH_OK ? 1 : 0;
        if (held && *ret_added == TOGETHER) {
            uint64_t until_ms = kith_mono_ms() + 20000;
            while (counts().under_way < TOGETHER && kith_mono_ms() < until_ms) {
                (void)sched_yield();
            }
            assert_int_equal(counts().under_way, TOGETHER);
            held = false;
            kith_fake_hold(cluster, KITH_CLIENT_GET, false);
        }
    }
    enum kith_err all = kith_restore_pool_wait(pool, &error);
    assert_true(err == KITH_OK || err == all);
    for (uint32_t i = 0; i < GROUPS; i++) {
        assert_int_equal(batches[i].over, i < *ret_added ? 1 : 0);
    }
    kith_restore_pool_free(pool);
    return all;
}

/* Many are under way at a time; each is put once, the chunk that all of them name is counted once, and twice
 * is as once. */
static void test_side_by_side(void **state)
{
    (void)state;
    uint32_t added = 0;
    held = true; /* so many of them are read before the first one is put */
    assert_int_equal(restore_all(2, &added), KITH_OK);
    assert_int_equal(added, GROUPS);
    assert_int_equal(restore.rows_put, 2 * GROUPS);
    assert_int_equal(restore.versions_put, 2 * GROUPS);
    assert_int_equal(restore.chunks_put, 1);
    assert_int_equal(restore.held, 0);
    assert_int_equal(counts().put_updates, 2 * GROUPS);
    assert_int_equal(counts().chunks, 1);
    assert_int_equal(restore_all(2, &added), KITH_OK);
    assert_int_equal(counts().put_updates, 2 * GROUPS);
    assert_int_equal(restore.rows_put, 2 * GROUPS);
}

/* One is not taken: that is told, what was taken on ends, nothing more is begun; the same again goes on. */
static void test_fails(void **state)
{
    (void)state;
    uint32_t added = 0;
    kith_fake_set_delay(cluster, 1000); /* so that many wait by then */
    kith_fake_fail_later(cluster, KITH_CLIENT_PUT, 10, 1, KITH_EUNREACH, false);
    assert_int_equal(restore_all(1, &added), KITH_EUNREACH);
    uint64_t put = counts().put_updates;
    assert_true(put >= 10 && put < 40);
    assert_int_equal(restore_all(1, &added), KITH_OK);
    assert_int_equal(added, GROUPS);
    assert_int_equal(counts().conflicts, 0);
    assert_int_equal(restore_all(1, &added), KITH_OK);
    uint64_t all = counts().put_updates;
    assert_int_equal(restore_all(1, &added), KITH_OK);
    assert_int_equal(counts().put_updates, all);
}

/* What the backup has not is left out and told, of each. */
static void test_lost(void **state)
{
    (void)state;
    uint32_t added = 0;
    assert_int_equal(restore_all(3, &added), KITH_OK);
    assert_int_equal(restore.lost, GROUPS);
    assert_int_equal(warned, GROUPS);
    assert_int_equal(restore.rows_put, 2 * GROUPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
