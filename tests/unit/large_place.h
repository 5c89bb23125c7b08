/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * large_place.h - a mount of a cluster in memory, with a directory of many names that another mount
 * fills and changes. For test_pack.c and neighbours_ask.h; include it after cmocka.h. */
#ifndef KITH_TESTS_LARGE_PLACE_H
#define KITH_TESTS_LARGE_PLACE_H

#include <stdio.h>
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

#define FIRST_ID 1000u /* of f00000 */

struct place {
    struct kith_fake_cluster *cluster;
    struct kith_client *other;
    struct kith_fs_options options;
    struct kith_fs *fs;
    struct kith_inode *dir; /* "d" */
    uint64_t gets, scans;   /* when they were looked at last */
};

/* ---- The other mount ---- */

static inline struct kith_put_update file_update(struct kith_buf *buf, struct kith_bytes name,
                                                 uint64_t id)
{
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_FILE;
    record.file_id = id;
    record.attrs.have = KITH_ATTR_ALL;
    record.attrs.mode = 0640;
    kith_inode_record_encode(&record, buf);
    struct kith_put_update update = {
        .name = name, .has_sibling = true, .value = kith_buf_bytes(buf)};
    return update;
}

static inline void put(struct place *place, const struct kith_group *group,
                       const struct kith_put_update updates[], uint32_t count)
{
    struct kith_client_answer answer;
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = *group;
    op.u.put.updates = updates;
    op.u.put.update_count = count;
    assert_int_equal(kith_client_call(place->other, &op, &answer), KITH_OK);
    kith_client_answer_release(&answer);
}

/* What is there is replaced; id 0: removed. */
static inline void theirs(struct place *place, const char *name, uint64_t id)
{
    const struct kith_group group = place->dir->dir->group;
    struct kith_client_answer answer;
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
    op.u.get.group = group;
    op.u.get.names = &bytes;
    op.u.get.name_count = 1;
    assert_int_equal(kith_client_call(place->other, &op, &answer), KITH_OK);
    const struct kith_row *row = &answer.result.u.rows.rows[0].row;
    struct kith_put_update update = {.name = bytes};
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (id != 0) {
        update = file_update(&buf, bytes, id);
    }
    if (!kith_row_is_empty(row)) {
        assert_int_equal(
            kith_row_context(&answer.arena, row, kith_row_winner(row), &update.context), KITH_OK);
    }
    put(place, &group, &update, 1);
    kith_buf_release(&buf);
    kith_client_answer_release(&answer);
}

static inline void fill(struct place *place, const struct kith_group *group, uint32_t count)
{
    static char names[KITH_BATCH_MAX][16];
    static struct kith_put_update updates[KITH_BATCH_MAX];
    static struct kith_buf bufs[KITH_BATCH_MAX];
    for (uint32_t first = 0; first < count; first += KITH_BATCH_MAX) {
        uint32_t size = count - first < KITH_BATCH_MAX ? count - first : KITH_BATCH_MAX;
        for (uint32_t i = 0; i < size; i++) {
            int length = snprintf(names[i], sizeof names[i], "f%05u", first + i);
            kith_buf_init(&bufs[i]);
            updates[i] = file_update(&bufs[i], kith_bytes_make(names[i], (size_t)length),
                                     FIRST_ID + first + i);
        }
        put(place, group, updates, size);
        for (uint32_t i = 0; i < size; i++) {
            kith_buf_release(&bufs[i]);
        }
    }
}

/* ---- This mount ---- */

/* Work of the mount itself, here and now. */
static inline void work(struct place *place, struct kith_inode *dir, const char *name,
                        void (*run)(struct kith_job *))
{
    struct kith_job *job = kith_job_new(place->fs, NULL, kith_inode_ino(place->fs, dir), 0, run);
    assert_non_null(job);
    snprintf(job->name, sizeof job->name, "%s", name);
    job->mode = 0644;
    kith_job_begin(job);
    run(job);
    kith_job_end(job);
}

/* A lookup finds it; -errno. */
static inline int found(struct place *place, const char *name)
{
    struct kith_entry *entry = NULL;
    int error = kith_dir_entry(place->fs, place->dir, name, &entry);
    if (error != 0) {
        return -error;
    }
    bool there = entry->inode != NULL;
    kith_entry_unpin(place->fs, entry);
    return there;
}

static inline void evict(struct place *place, const char *name)
{
    pthread_mutex_lock(&place->fs->lock);
    struct kith_entry *entry = kith_entry_find(place->dir, name);
    bool leaves =
        entry != NULL && entry->pins == 0 && (entry->inode == NULL || entry->inode->refs == 1);
    if (leaves) {
        kith_entry_remove(place->fs, entry);
    }
    pthread_mutex_unlock(&place->fs->lock);
    assert_true(leaves);
}

static inline void evict_all(struct place *place)
{
    pthread_mutex_lock(&place->fs->lock);
    for (uint32_t i = 0; i < place->dir->dir->bucket_count; i++) {
        struct kith_entry *next, *entry = place->dir->dir->buckets[i];
        for (; entry != NULL; entry = next) {
            next = entry->next;
            if (entry->pins == 0 && (entry->inode == NULL || entry->inode->refs == 1)) {
                kith_entry_remove(place->fs, entry);
            }
        }
    }
    pthread_mutex_unlock(&place->fs->lock);
}

static inline void asked(struct place *place, uint64_t *ret_gets, uint64_t *ret_scans)
{
    struct kith_fake_counts counts;
    kith_fake_counts(place->cluster, &counts);
    *ret_gets = counts.ops[KITH_CLIENT_GET] - place->gets;
    *ret_scans = counts.ops[KITH_CLIENT_SCAN] - place->scans;
    place->gets = counts.ops[KITH_CLIENT_GET];
    place->scans = counts.ops[KITH_CLIENT_SCAN];
}

static inline void count_anew(struct place *place)
{
    uint64_t gets, scans;
    asked(place, &gets, &scans);
}

static inline void assert_asked(struct place *place, uint64_t gets, uint64_t scans)
{
    uint64_t got, scanned;
    asked(place, &got, &scanned);
    assert_int_equal(got, gets);
    assert_int_equal(scanned, scans);
}

static inline void name_of(char name[16], uint32_t number)
{
    snprintf(name, 16, "f%05u", number);
}

/* ---- Setup ---- */

static inline int setup_with(void **state, uint32_t names)
{
    struct place *place = kith_calloc(1, sizeof *place);
    struct kith_entry *entry = NULL;
    struct kith_error error;
    struct kith_fs *maker;
    char program[] = "kithfs", source[] = "fake:1", at[] = "/nowhere", o[] = "-o";
    char list[] = "entry_timeout=0";
    char *words[5] = {program, source, at, o, list};
    assert_non_null(place);
    assert_int_equal(kith_fs_options_parse(5, words, &place->options, &error), KITH_OK);
    place->cluster = kith_fake_cluster_new();
    assert_non_null(place->cluster);
    kith_fake_set_watches(place->cluster, true);
    place->other = kith_fake_client_new(place->cluster, "they@there");
    assert_non_null(place->other);
    struct kith_client *client = kith_fake_client_new(place->cluster, "they@there");
    assert_int_equal(kith_fs_new(&place->options, client, &maker, &error), KITH_OK);
    place->fs = maker;
    work(place, maker->root, "d", kith_do_mkdir);
    assert_int_equal(kith_dir_entry(maker, maker->root, "d", &entry), 0);
    const struct kith_group group = entry->inode->dir->group;
    kith_entry_unpin(maker, entry);
    assert_int_equal(kith_fs_free(maker), 0);
    fill(place, &group, names);
    client = kith_fake_client_new(place->cluster, "we@here");
    assert_int_equal(kith_fs_new(&place->options, client, &place->fs, &error), KITH_OK);
    assert_int_equal(kith_dir_entry(place->fs, place->fs->root, "d", &entry), 0);
    kith_entry_unpin(place->fs, entry);
    place->dir = entry->inode;
    assert_non_null(place->dir);
    *state = place;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *place = *state;
    if (place->fs != NULL) {
        assert_int_equal(kith_fs_free(place->fs), 0);
    }
    kith_client_close(place->other);
    assert_int_equal(kith_fake_watches(place->cluster), 0);
    kith_fake_cluster_free(place->cluster);
    kith_fs_options_release(&place->options);
    kith_free(place);
    return 0;
}

#endif
