/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"
#include "lib/fake_client.h"

#define OLD_NS (2 * NSEC_PER_SEC) /* made so long ago: not just now */

/* A mount without a kernel over a cluster in memory: jobs bear no request. */
struct world {
    struct kith_fs_options options;
    struct kith_fake_cluster *cluster;
    struct kith_fs *fs;
    struct kith_inode *dir; /* held by the mount's tables */
    bool old;               /* the directory was made long ago */
};

static uint64_t puts_of(const struct world *world)
{
    struct kith_fake_counts counts;
    kith_fake_counts(world->cluster, &counts);
    return counts.ops[KITH_CLIENT_PUT];
}

static struct kith_job *job_of(struct world *world, struct kith_inode *inode,
                               void (*run)(struct kith_job *))
{
    struct kith_job *job =
        kith_job_new(world->fs, NULL, kith_inode_ino(world->fs, inode), 0, run);
    assert_non_null(job);
    return job;
}

/* Until it has nothing unsent and nobody is at work on it. */
static void await_quiet(struct world *world, const struct kith_inode *inode)
{
    const struct timespec tick = {0, 1000000};
    bool quiet = false;
    for (unsigned i = 0; i < 10000 && !quiet; i++) {
        pthread_mutex_lock(&world->fs->lock);
        quiet = !inode->row_busy && !inode->flushing && inode->attr_changed == 0 &&
                !kith_inode_dirty(inode);
        pthread_mutex_unlock(&world->fs->lock);
        if (!quiet) {
            nanosleep(&tick, NULL);
        }
    }
    assert_true(quiet);
}

static struct kith_inode *made(struct world *world, const char *name)
{
    const struct timespec tick = {0, 1000000};
    struct kith_inode *inode = NULL;
    for (unsigned i = 0; i < 10000 && inode == NULL; i++) {
        pthread_mutex_lock(&world->fs->lock);
        struct kith_entry *entry = kith_entry_find(world->fs->root, name);
        bool there = entry != NULL && entry->inode != NULL && !entry->inode->row_busy &&
                     !world->fs->root->dir_busy;
        inode = there ? entry->inode : NULL;
        pthread_mutex_unlock(&world->fs->lock);
        if (inode == NULL) {
            nanosleep(&tick, NULL);
        }
    }
    assert_non_null(inode);
    return inode;
}

static int set_up(void **state)
{
    struct world *world = test_calloc(1, sizeof *world);
    struct kith_error error;
    char program[] = "kithfs", source[] = "fake:1", place[] = "/nowhere";
    char *words[3] = {program, source, place};
    assert_int_equal(kith_fs_options_parse(3, words, &world->options, &error), KITH_OK);
    world->options.no_watch = true;
    world->cluster = kith_fake_cluster_new();
    struct kith_client *client = kith_fake_client_new(world->cluster, "test@unit");
    assert_non_null(client);
    assert_int_equal(kith_fs_new(&world->options, client, &world->fs, &error), KITH_OK);
    struct kith_job *job = job_of(world, world->fs->root, kith_do_mkdir);
    memcpy(job->name, "d", 2);
    job->mode = 0700;
    kith_start_mkdir(job);
    world->dir = made(world, "d");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    if (world->fs != NULL) {
        assert_int_equal(kith_fs_free(world->fs), 0);
    }
    kith_fake_cluster_free(world->cluster);
    kith_fs_options_release(&world->options);
    test_free(world);
    return 0;
}

/* chmod that may wait: whether it did. The directory was made just now, or long ago
 * (`old`), however slow the machine is. */
static bool waits(struct world *world, mode_t mode)
{
    struct stat attr, now;
    double timeout = 0;
    pthread_mutex_lock(&world->fs->lock);
    world->dir->made_at = kith_mono_ns() - (world->old ? OLD_NS : 0);
    pthread_mutex_unlock(&world->fs->lock);
    memset(&attr, 0, sizeof attr);
    attr.st_mode = mode;
    bool taken =
        kith_setattr_fast(world->fs, world->dir, &attr, FUSE_SET_ATTR_MODE, &now, &timeout);
    assert_true(!taken || (now.st_mode & 07777) == mode);
    return taken;
}

static void set_mode(struct world *world, mode_t mode)
{
    struct kith_job *job = job_of(world, world->dir, kith_do_setattr);
    job->attr.st_mode = mode;
    job->flags = FUSE_SET_ATTR_MODE;
    kith_start_setattr(job);
}

/* Keeps the timer from it, so that what waits is not put meanwhile on a slow machine. */
static void keep(struct world *world, bool kept)
{
    pthread_mutex_lock(&world->fs->lock);
    world->dir->flushing = kept;
    pthread_mutex_unlock(&world->fs->lock);
}


static void await_put(const struct world *world, uint64_t puts)
{
    const struct timespec tick = {0, 1000000};
    for (unsigned i = 0; i < 10000 && puts_of(world) == puts; i++) {
        nanosleep(&tick, NULL);
    }
}

/* The mode as the cluster has it. */
static uint32_t stored_mode(struct world *world)
{
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    struct kith_rowname row, attr;
    kith_arena_init(&arena, 0);
    kith_rowname_entry(kith_bytes_make("d", 1), &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    assert_int_equal(
        kith_rows_get(world->fs, &world->fs->root->dir->group, names, 2, &answer), 0);
    const struct kith_client_row *rows = answer.result.u.rows.rows;
    assert_int_equal(kith_seen_entry(&arena, &rows[0].row, &rows[1].row, &seen), KITH_OK);
    assert_true(seen.live);
    uint32_t mode = seen.record.attrs.mode;
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return mode;
}

static void test_young(void **state)
{
    struct world *world = *state;
    uint64_t puts = puts_of(world);
    keep(world, true);
    assert_true(waits(world, 0755)); /* opened as it is made */
    assert_true(waits(world, 0755)); /* no change but of ctime */
    assert_int_equal(puts_of(world), puts);
    keep(world, false);
    await_quiet(world, world->dir);
    assert_int_equal(puts_of(world), puts + 1);
    assert_int_equal(stored_mode(world), 0755);
    assert_false(waits(world, 0700)); /* what is put into it next depends on it */
    assert_int_equal(puts_of(world), puts + 1);
}

static void test_old(void **state)
{
    struct world *world = *state;
    world->old = true;
    uint64_t puts = puts_of(world);
    keep(world, true);
    assert_true(waits(world, 0700));
    assert_false(waits(world, 0755));
    set_mode(world, 0755);
    await_put(world, puts);
    keep(world, false);
    await_quiet(world, world->dir);
    assert_int_equal(stored_mode(world), 0755);
    assert_int_equal(puts_of(world), puts + 1); /* the one that waited went with it */
}

/* Nothing waits while puts fail; what failed stays and is put later. */
static void test_failed(void **state)
{
    struct world *world = *state;
    kith_fake_fail_next(world->cluster, KITH_CLIENT_PUT, 1, KITH_EUNREACH, false);
    uint64_t puts = puts_of(world);
    set_mode(world, 0711);
    const struct timespec tick = {0, 1000000};
    for (unsigned i = 0; i < 10000 && !atomic_load(&world->fs->put_trouble); i++) {
        nanosleep(&tick, NULL);
    }
    assert_true(atomic_load(&world->fs->put_trouble));
    assert_false(waits(world, 0711));
    await_quiet(world, world->dir);
    assert_int_equal(stored_mode(world), 0711);
    assert_true(puts_of(world) > puts);
}

/* What waits is put by a sync, for the disk, where only the attributes are unsent. */
static void test_sync(void **state)
{
    struct world *world = *state;
    assert_int_equal(kith_inode_flush(world->fs, world->dir, KITH_DURABLE_DISK), 0);
    uint64_t puts = puts_of(world);
    assert_int_equal(kith_inode_flush(world->fs, world->dir, KITH_DURABLE_DISK), 0);
    assert_int_equal(puts_of(world), puts); /* clean */
    keep(world, true);
    assert_true(waits(world, 0755));
    assert_int_equal(kith_inode_flush(world->fs, world->dir, KITH_DURABLE_DISK), 0);
    assert_int_equal(puts_of(world), puts + 1);
    assert_int_equal(stored_mode(world), 0755);
    assert_true(waits(world, 0775));
    assert_int_equal(kith_inode_flush(world->fs, world->dir, KITH_DURABLE_OS), 0);
    assert_int_equal(kith_inode_flush(world->fs, world->dir, KITH_DURABLE_DISK), 0);
    assert_int_equal(puts_of(world), puts + 3); /* `os` is not the disk */
}

/* What a close has put at `os` is for the disk at the fsync of a later open, too (sync FILE after
 * cp). */
static void test_sync_later(void **state)
{
    struct world *world = *state;
    struct kith_content *content = NULL;
    struct kith_job *job = job_of(world, world->fs->root, kith_do_mknod);
    memcpy(job->name, "f", 2);
    job->mode = S_IFREG | 0600;
    kith_start_mknod(job);
    struct kith_inode *file = made(world, "f");
    assert_int_equal(kith_inode_open(world->fs, file), 0);
    assert_int_equal(kith_inode_content(world->fs, file, &content), 0);
    assert_int_equal(kith_content_write(content, 0, (const uint8_t *)"hi", 2), KITH_OK);
    kith_inode_written(world->fs, file, 2);
    assert_int_equal(kith_inode_flush(world->fs, file, KITH_DURABLE_OS), 0);
    kith_inode_close(world->fs, file);
    kith_inode_settle(world->fs, file);
    for (uint64_t rest = 1; rest < 2; rest--) { /* owed once */
        uint64_t puts = puts_of(world);
        assert_int_equal(kith_inode_open(world->fs, file), 0);
        assert_int_equal(kith_inode_flush(world->fs, file, KITH_DURABLE_DISK), 0);
        assert_int_equal(puts_of(world), puts + rest);
        kith_inode_close(world->fs, file);
        kith_inode_settle(world->fs, file);
    }
}

static void test_end(void **state)
{
    struct world *world = *state;
    keep(world, true);
    assert_true(waits(world, 0755));
    uint64_t puts = puts_of(world);
    assert_int_equal(kith_fs_free(world->fs), 0);
    world->fs = NULL;
    assert_int_equal(puts_of(world), puts + 2); /* and when the directory was changed */
}

int main(void)
{
    kith_log_set_level(KITH_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_young, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
