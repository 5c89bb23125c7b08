/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * two_fs.h - the tables of two mounts over one cluster in memory; no kernel. For tests with cmocka.
 */
#ifndef KITH_TESTS_LIB_TWO_FS_H
#define KITH_TESTS_LIB_TWO_FS_H

#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"
#include "lib/fake_client.h"

enum { TWO_MINE, TWO_OTHER, TWO_MOUNTS };

struct two_fs {
    struct kith_fake_cluster *cluster;
    struct kith_fs_options options;
    struct kith_fs *fs[TWO_MOUNTS];
    struct kith_inode *dir[TWO_MOUNTS], *sub[TWO_MOUNTS]; /* "d", "d/sub" */
};

static inline struct kith_job *two_job(struct kith_fs *fs, struct kith_inode *a,
                                       struct kith_inode *b, const char *name, const char *name2,
                                       void (*run)(struct kith_job *))
{
    struct kith_job *job =
        kith_job_new(fs, NULL, kith_inode_ino(fs, a), b != NULL ? kith_inode_ino(fs, b) : 0, run);
    assert_non_null(job);
    snprintf(job->name, sizeof job->name, "%s", name);
    snprintf(job->name2, sizeof job->name2, "%s", name2);
    job->mode = 0644;
    return job;
}

/* Work of the mount itself, here and now. */
static inline void two_work(struct kith_job *job)
{
    kith_job_begin(job);
    job->run(job);
    kith_job_end(job);
}

static inline struct kith_inode *two_inode_at(struct kith_fs *fs, struct kith_inode *dir,
                                              const char *name)
{
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_entry(fs, dir, name, &entry), 0);
    kith_entry_unpin(fs, entry);
    return entry->inode;
}

static inline struct kith_inode *two_made_dir(struct kith_fs *fs, struct kith_inode *in,
                                              const char *name)
{
    two_work(two_job(fs, in, NULL, name, "", kith_do_mkdir));
    return two_inode_at(fs, in, name);
}

static inline int two_setup(void **state)
{
    struct two_fs *place = kith_calloc(1, sizeof *place);
    struct kith_error error;
    char program[] = "kithfs", source[] = "fake:1", at[] = "/nowhere", o[] = "-o";
    char list[] = "nowatch,entry_timeout=0";
    char *words[5] = {program, source, at, o, list};
    assert_non_null(place);
    assert_int_equal(kith_fs_options_parse(5, words, &place->options, &error), KITH_OK);
    place->cluster = kith_fake_cluster_new();
    assert_non_null(place->cluster);
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        struct kith_client *client = kith_fake_client_new(place->cluster, "who@where");
        assert_non_null(client);
        assert_int_equal(kith_fs_new(&place->options, client, &place->fs[i], &error), KITH_OK);
    }
    place->dir[TWO_OTHER] = two_made_dir(place->fs[TWO_OTHER], place->fs[TWO_OTHER]->root, "d");
    place->sub[TWO_OTHER] = two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "sub");
    place->dir[TWO_MINE] = two_inode_at(place->fs[TWO_MINE], place->fs[TWO_MINE]->root, "d");
    place->sub[TWO_MINE] = two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "sub");
    assert_non_null(place->dir[TWO_MINE]);
    assert_non_null(place->sub[TWO_MINE]);
    *state = place;
    return 0;
}

static inline int two_teardown(void **state)
{
    struct two_fs *place = *state;
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        assert_int_equal(kith_fs_free(place->fs[i]), 0);
    }
    kith_fake_cluster_free(place->cluster);
    kith_fs_options_release(&place->options);
    kith_free(place);
    return 0;
}

/* A file of the other mount, with a second name in "sub", so that its row is in a group of its own.
 */
static inline void two_make_linked(struct two_fs *place, const char *name)
{
    struct kith_fs *fs = place->fs[TWO_OTHER];
    two_work(two_job(fs, place->dir[TWO_OTHER], NULL, name, "", kith_do_mknod));
    struct kith_inode *inode = two_inode_at(fs, place->dir[TWO_OTHER], name);
    assert_non_null(inode);
    two_work(two_job(fs, inode, place->sub[TWO_OTHER], name, "", kith_do_link));
    assert_true(inode->shared && inode->share_own);
}

static inline void two_set_busy(struct kith_fs *fs, struct kith_inode *inode, bool busy)
{
    pthread_mutex_lock(&fs->lock);
    if (busy) {
        kith_busy_take(fs, false, &inode, 1);
    } else {
        kith_busy_give(fs, false, &inode, 1);
    }
    pthread_mutex_unlock(&fs->lock);
}

#endif
