/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a mount takes over of names that another one changes. The tables of two mounts over one
 * cluster in memory; no kernel. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "lib/fake_client.h"

enum { MINE, OTHER, MOUNTS };

struct place {
    struct kith_fake_cluster *cluster;
    struct kith_fs_options options;
    struct kith_fs *fs[MOUNTS];
    struct kith_inode *dir[MOUNTS], *sub[MOUNTS]; /* "d", "d/sub" */
};

static struct kith_job *job_new(struct kith_fs *fs, struct kith_inode *a, struct kith_inode *b,
                                const char *name, const char *name2, void (*run)(struct kith_job *))
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
static void work(struct kith_job *job)
{
    kith_job_begin(job);
    job->run(job);
    kith_job_end(job);
}

static struct kith_inode *inode_at(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_entry(fs, dir, name, &entry), 0);
    kith_entry_unpin(fs, entry);
    return entry->inode;
}

static struct kith_inode *made_dir(struct kith_fs *fs, struct kith_inode *in, const char *name)
{
    work(job_new(fs, in, NULL, name, "", kith_do_mkdir));
    return inode_at(fs, in, name);
}

static int setup(void **state)
{
    struct place *place = kith_calloc(1, sizeof *place);
    struct kith_error error;
    char program[] = "kithfs", source[] = "fake:1", at[] = "/nowhere", o[] = "-o";
    char list[] = "nowatch,entry_timeout=0";
    char *words[5] = {program, source, at, o, list};
    assert_non_null(place);
    assert_int_equal(kith_fs_options_parse(5, words, &place->options, &error), KITH_OK);
    place->cluster = kith_fake_cluster_new();
    assert_non_null(place->cluster);
    for (unsigned i = 0; i < MOUNTS; i++) {
        struct kith_client *client = kith_fake_client_new(place->cluster, "who@where");
        assert_non_null(client);
        assert_int_equal(kith_fs_new(&place->options, client, &place->fs[i], &error), KITH_OK);
    }
    place->dir[OTHER] = made_dir(place->fs[OTHER], place->fs[OTHER]->root, "d");
    place->sub[OTHER] = made_dir(place->fs[OTHER], place->dir[OTHER], "sub");
    place->dir[MINE] = inode_at(place->fs[MINE], place->fs[MINE]->root, "d");
    place->sub[MINE] = inode_at(place->fs[MINE], place->dir[MINE], "sub");
    assert_non_null(place->dir[MINE]);
    assert_non_null(place->sub[MINE]);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    for (unsigned i = 0; i < MOUNTS; i++) {
        assert_int_equal(kith_fs_free(place->fs[i]), 0);
    }
    kith_fake_cluster_free(place->cluster);
    kith_fs_options_release(&place->options);
    kith_free(place);
    return 0;
}

/* A file of the other mount, with a second name in "sub", so that its row is in a group of its own. */
static void make_linked(struct place *place, const char *name)
{
    struct kith_fs *fs = place->fs[OTHER];
    work(job_new(fs, place->dir[OTHER], NULL, name, "", kith_do_mknod));
    struct kith_inode *inode = inode_at(fs, place->dir[OTHER], name);
    assert_non_null(inode);
    work(job_new(fs, inode, place->sub[OTHER], name, "", kith_do_link));
    assert_true(inode->shared && inode->share_own);
}

static void set_busy(struct kith_fs *fs, struct kith_inode *inode, bool busy)
{
    pthread_mutex_lock(&fs->lock);
    if (busy) {
        kith_busy_take(fs, false, &inode, 1);
    } else {
        kith_busy_give(fs, false, &inode, 1);
    }
    pthread_mutex_unlock(&fs->lock);
}

static bool has_context(const struct kith_entry *entry, const struct kith_octets *ctx)
{
    return kith_bytes_equal(kith_octets_bytes(&entry->ctx), kith_octets_bytes(ctx));
}

/* The other mount exchanges two links. This one has read the directory, but not the rows that the names
 * refer to now; or it is at work on the inode that the name led to. A put for that one must not bear
 * the context of what is there now: it would take the other file's name away. */
static void test_context_with_inode(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs[MINE];
    struct kith_entry *entry = NULL;
    struct kith_octets was = {NULL, 0};
    make_linked(place, "a");
    make_linked(place, "b");
    struct kith_inode *a = inode_at(fs, place->dir[MINE], "a");
    assert_int_equal(kith_dir_entry(fs, place->dir[MINE], "a", &entry), 0);
    assert_true(kith_entry_leads(entry, a));
    assert_true(kith_octets_set(&was, kith_octets_bytes(&entry->ctx)));

    struct kith_job *job = job_new(place->fs[OTHER], place->dir[OTHER], place->dir[OTHER], "a", "b",
                                   kith_do_rename);
    job->flags = 2; /* RENAME_EXCHANGE */
    work(job);
    set_busy(fs, a, true);
    kith_dir_scan(fs, place->dir[MINE]);
    kith_entry_unpin(fs, entry);
    assert_int_equal(kith_dir_read(fs, place->dir[MINE], "a", &entry), 0);
    assert_false(kith_entry_leads(entry, a));
    assert_true(entry->inode != a || has_context(entry, &was));
    set_busy(fs, a, false);
    kith_dir_scan(fs, place->dir[MINE]);
    assert_false(kith_entry_leads(entry, a));
    assert_true(entry->inode != a || has_context(entry, &was));

    kith_entry_unpin(fs, entry); /* read with its inode, it is known */
    assert_int_equal(kith_dir_entry(fs, place->dir[MINE], "a", &entry), 0);
    assert_ptr_not_equal(entry->inode, a);
    assert_true(kith_entry_leads(entry, entry->inode));
    assert_false(has_context(entry, &was));
    kith_entry_unpin(fs, entry);
    kith_octets_clear(&was);
}

/* The same of a name that did not exist: what is made there must not take its place. */
static void test_context_of_none(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs[MINE];
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_entry(fs, place->dir[MINE], "a", &entry), 0);
    assert_true(kith_entry_leads(entry, NULL));
    make_linked(place, "a");
    kith_dir_scan(fs, place->dir[MINE]);
    assert_false(kith_entry_leads(entry, NULL));
    assert_true(entry->inode != NULL || entry->ctx.size == 0);
    kith_entry_unpin(fs, entry);
    assert_non_null(inode_at(fs, place->dir[MINE], "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_context_with_inode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_context_of_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
