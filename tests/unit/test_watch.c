/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a mount knows under a watch: which questions need no request, and what makes it ask again.
 * The mount's tables over a cluster in memory; no kernel. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
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

#define WATCHES_MAX 8192u /* as in watch.c */
#define VAIN_MAX    64u   /* as there */

struct place {
    struct kith_fake_cluster *cluster;
    struct kith_client *client, *other;
    struct kith_fs_options options;
    struct kith_fs *fs;
    struct kith_inode *dir; /* "d", made by the mount */
    uint64_t gets, scans;   /* when they were looked at last */
};

/* Work of the mount itself, here and now. */
static void work(struct place *place, struct kith_inode *dir, const char *name,
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

static struct kith_inode *made_dir(struct place *place, struct kith_inode *in, const char *name)
{
    struct kith_entry *entry = NULL;
    work(place, in, name, kith_do_mkdir);
    assert_int_equal(kith_dir_entry(place->fs, in, name, &entry), 0);
    kith_entry_unpin(place->fs, entry);
    assert_non_null(entry->inode);
    return entry->inode;
}

/* Requests since this was asked last. */
static void asked(struct place *place, uint64_t *ret_gets, uint64_t *ret_scans)
{
    struct kith_fake_counts counts;
    kith_fake_counts(place->cluster, &counts);
    *ret_gets = counts.ops[KITH_CLIENT_GET] - place->gets;
    *ret_scans = counts.ops[KITH_CLIENT_SCAN] - place->scans;
    place->gets = counts.ops[KITH_CLIENT_GET];
    place->scans = counts.ops[KITH_CLIENT_SCAN];
}

static void assert_asked(struct place *place, uint64_t gets, uint64_t scans)
{
    uint64_t got, scanned;
    asked(place, &got, &scanned);
    assert_int_equal(got, gets);
    assert_int_equal(scanned, scans);
}

static int setup_with(void **state, const char *options)
{
    struct place *place = kith_calloc(1, sizeof *place);
    struct kith_error error;
    char program[] = "kithfs", source[] = "fake:1", at[] = "/nowhere", o[] = "-o", list[32];
    char *words[5] = {program, source, at, o, list};
    snprintf(list, sizeof list, "%s", options);
    assert_non_null(place);
    assert_int_equal(kith_fs_options_parse(5, words, &place->options, &error), KITH_OK);
    place->cluster = kith_fake_cluster_new();
    assert_non_null(place->cluster);
    kith_fake_set_watches(place->cluster, true);
    place->client = kith_fake_client_new(place->cluster, "we@here");
    place->other = kith_fake_client_new(place->cluster, "they@there");
    assert_non_null(place->client);
    assert_non_null(place->other);
    assert_int_equal(kith_fs_new(&place->options, place->client, &place->fs, &error), KITH_OK);
    place->dir = made_dir(place, place->fs->root, "d");
    *state = place;
    uint64_t gets, scans;
    asked(place, &gets, &scans);
    return 0;
}

/* entry_timeout=0: nothing is answered from memory but under a watch. */
static int setup(void **state)
{
    return setup_with(state, "entry_timeout=0");
}

static int setup_nowatch(void **state)
{
    return setup_with(state, "nowatch");
}

static int teardown(void **state)
{
    struct place *place = *state;
    assert_int_equal(kith_fs_free(place->fs), 0);
    kith_client_close(place->other);
    assert_int_equal(kith_fake_watches(place->cluster), 0);
    kith_fake_cluster_free(place->cluster);
    kith_fs_options_release(&place->options);
    kith_free(place);
    return 0;
}

/* Whether the name, asked for as before an exclusive create, is there; -errno. */
static int is_there(struct place *place, const char *name)
{
    struct kith_entry *entry = NULL;
    int error = kith_name_fresh_in(place->fs, place->dir, name, &entry);
    if (error != 0) {
        return -error;
    }
    bool there = entry->inode != NULL;
    kith_entry_unpin(place->fs, entry);
    return there;
}

/* A lookup finds it; -errno. */
static int found(struct place *place, const char *name)
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

static bool known(struct place *place, const char *name)
{
    pthread_mutex_lock(&place->fs->lock);
    bool knows = kith_watch_entry(place->fs, place->dir, name) != NULL;
    pthread_mutex_unlock(&place->fs->lock);
    return knows;
}

/* The other mount puts a file; it replaces nothing that it has not seen. */
static void theirs(struct place *place, const char *name, uint64_t file_id)
{
    struct kith_inode_record record;
    struct kith_client_answer answer;
    struct kith_buf buf;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_FILE;
    record.file_id = file_id;
    kith_buf_init(&buf);
    kith_inode_record_encode(&record, &buf);
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .has_sibling = true,
                                     .value = kith_buf_bytes(&buf)};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = place->dir->dir->group;
    op.u.put.updates = &update;
    op.u.put.update_count = 1;
    assert_int_equal(kith_client_call(place->other, &op, &answer), KITH_OK);
    kith_client_answer_release(&answer);
    kith_buf_release(&buf);
}

static void tell(struct place *place, const char *row, size_t size)
{
    struct kith_bytes name = kith_bytes_make(row, size);
    assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group,
                                    row == NULL ? NULL : &name, row == NULL ? 0 : 1),
                     1);
}

/* ---- Cases ---- */

static void test_complete(void **state)
{
    struct place *place = *state;
    assert_int_equal(is_there(place, "a"), 0);
    assert_asked(place, 0, 1); /* the scan takes the place of the first question */
    assert_int_equal(is_there(place, "b"), 0);
    assert_int_equal(found(place, "c"), 0);
    assert_asked(place, 0, 0);
    work(place, place->dir, "b", kith_do_mknod);
    assert_int_equal(is_there(place, "b"), 1);
    assert_int_equal(found(place, "b"), 1);
    assert_asked(place, 0, 0);
}

static void test_told_of_a_name(void **state)
{
    struct place *place = *state;
    assert_int_equal(is_there(place, "a"), 0);
    assert_int_equal(is_there(place, "b"), 0);
    assert_asked(place, 0, 1);
    theirs(place, "new", 7); /* a name that was never asked for */
    assert_false(known(place, "new"));
    assert_true(known(place, "b"));
    assert_int_equal(found(place, "new"), 1);
    assert_asked(place, 1, 0);
    assert_true(known(place, "new"));
    theirs(place, "b", 8);
    assert_int_equal(is_there(place, "b"), 1);
    assert_asked(place, 1, 0);
    assert_int_equal(is_there(place, "a"), 0);
    assert_int_equal(is_there(place, "b"), 1);
    assert_asked(place, 0, 0);
}

static void test_told_of_what_stands_beside(void **state)
{
    struct place *place = *state;
    work(place, place->dir, "f", kith_do_mknod);
    assert_int_equal(is_there(place, "f"), 1);
    assert_true(known(place, "f"));
    tell(place, "f\0a", 3);
    assert_false(known(place, "f"));
    assert_int_equal(found(place, "f"), 1);
    assert_true(known(place, "f"));
    tell(place, "f\0xuser.a", 9);
    assert_false(known(place, "f"));
    assert_int_equal(found(place, "f"), 1);
    tell(place, "\0weird", 6); /* of a later version: nothing of ours */
    assert_true(known(place, "f"));
    tell(place, "", 0); /* the directory itself: known by its name above */
    assert_true(known(place, "f"));
}

static void test_told_of_anything(void **state)
{
    struct place *place = *state;
    assert_int_equal(is_there(place, "a"), 0);
    assert_asked(place, 0, 1);
    tell(place, NULL, 0);
    assert_false(known(place, "a"));
    assert_false(known(place, "b"));
    assert_int_equal(is_there(place, "b"), 0);
    assert_asked(place, 0, 1);
    assert_true(known(place, "a"));
}

static void test_lapse(void **state)
{
    struct place *place = *state;
    assert_int_equal(is_there(place, "a"), 0);
    assert_asked(place, 0, 1);
    kith_fake_set_watches(place->cluster, false);
    assert_false(known(place, "a"));
    assert_int_equal(is_there(place, "a"), 0);
    assert_int_equal(is_there(place, "a"), 0);
    assert_asked(place, 2, 0); /* as without a watch */
    kith_fake_set_watches(place->cluster, true);
    assert_false(known(place, "a"));
    assert_false(known(place, "b"));
    assert_int_equal(is_there(place, "b"), 0);
    assert_asked(place, 0, 1);
    assert_true(known(place, "a"));
    kith_fake_set_watches(place->cluster, false); /* between two looks */
    kith_fake_set_watches(place->cluster, true);
    assert_false(known(place, "a"));
}

static void *look(void *arg)
{
    struct place *place = arg;
    struct kith_entry *entry = NULL;
    if (kith_dir_read(place->fs, place->dir, "b", &entry) == 0) {
        kith_entry_unpin(place->fs, entry);
    }
    return NULL;
}

static void await_under_way(struct place *place)
{
    const struct timespec tick = {0, 1000000};
    struct kith_fake_counts counts;
    kith_fake_counts(place->cluster, &counts);
    while (counts.under_way == 0) {
        nanosleep(&tick, NULL);
        kith_fake_counts(place->cluster, &counts);
    }
}

/* What a read brings that began before the event must not count. */
static void test_told_during_a_read(void **state)
{
    struct place *place = *state;
    pthread_t thread;
    assert_int_equal(is_there(place, "a"), 0);
    for (unsigned i = 0; i < 3; i++) {
        static const char *const rows[3] = {"b", NULL, "a"};
        kith_fake_hold(place->cluster, KITH_CLIENT_GET, true);
        assert_int_equal(pthread_create(&thread, NULL, look, place), 0);
        await_under_way(place);
        tell(place, rows[i], rows[i] == NULL ? 0 : 1);
        kith_fake_hold(place->cluster, KITH_CLIENT_GET, false);
        pthread_join(thread, NULL);
        assert_int_equal(known(place, "b"), i == 2); /* another name's event costs nothing */
        (void)is_there(place, "a");
        (void)is_there(place, "b");
        assert_true(known(place, "b"));
    }
}

static void *scan(void *arg)
{
    struct place *place = arg;
    kith_dir_scan(place->fs, place->dir);
    return NULL;
}

/* A scan during which a change of this row (NULL: of any) is told. */
static void scan_and_tell(struct place *place, const char *row)
{
    pthread_t thread;
    tell(place, NULL, 0);
    (void)known(place, "a"); /* live again, with nothing known */
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, true);
    assert_int_equal(pthread_create(&thread, NULL, scan, place), 0);
    await_under_way(place);
    tell(place, row, row == NULL ? 0 : strlen(row));
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    pthread_join(thread, NULL);
}

static void test_told_during_a_scan(void **state)
{
    struct place *place = *state;
    uint64_t gets, scans;
    assert_int_equal(is_there(place, "a"), 0);
    scan_and_tell(place, "b");
    assert_true(known(place, "c"));
    assert_false(known(place, "b"));
    asked(place, &gets, &scans);
    assert_int_equal(found(place, "b"), 0);
    assert_asked(place, 1, 0);
    scan_and_tell(place, NULL);
    assert_false(known(place, "c"));
}

/* A put whose outcome is unknown may come later, and nobody would tell: it is our own. */
static void test_own_put_failed(void **state)
{
    struct place *place = *state;
    work(place, place->dir, "f", kith_do_mknod);
    assert_int_equal(is_there(place, "f"), 1);
    assert_true(known(place, "f"));
    place->options.op_timeout_ms = 1; /* it is not put again */
    kith_fake_fail_next(place->cluster, KITH_CLIENT_PUT, 1, KITH_EUNKNOWN, true);
    work(place, place->dir, "f", kith_do_unlink);
    assert_false(known(place, "f"));
    assert_int_equal(found(place, "f"), 0); /* it did happen */
    assert_false(known(place, "f"));
    uint64_t gets, scans;
    asked(place, &gets, &scans);
    assert_int_equal(found(place, "f"), 0);
    asked(place, &gets, &scans);
    assert_int_equal(gets, 1); /* asked again each time */
    assert_true(known(place, "g"));
}

static void test_eviction(void **state)
{
    struct place *place = *state;
    work(place, place->dir, "f", kith_do_mknod);
    assert_int_equal(is_there(place, "a"), 0);
    assert_true(known(place, "b"));
    pthread_mutex_lock(&place->fs->lock);
    kith_entry_remove(place->fs, kith_entry_find(place->dir, "a"));
    pthread_mutex_unlock(&place->fs->lock);
    assert_true(known(place, "a")); /* was known to be missing */
    pthread_mutex_lock(&place->fs->lock);
    kith_entry_remove(place->fs, kith_entry_find(place->dir, "f"));
    pthread_mutex_unlock(&place->fs->lock);
    assert_false(known(place, "f"));
    assert_false(known(place, "c"));
    assert_int_equal(is_there(place, "f"), 1);
    tell(place, "g", 1); /* and one that is unknown */
    pthread_mutex_lock(&place->fs->lock);
    kith_entry_remove(place->fs, kith_entry_find(place->dir, "g"));
    pthread_mutex_unlock(&place->fs->lock);
    assert_false(known(place, "g"));
}

/* A directory larger than the table: when the last page is read the names of the first are not
 * there any more, and that does not make them missing. */
static void test_eviction_during_a_scan(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs;
    struct kith_dir_page page = {.more = true};
    struct kith_arena arena;
    work(place, place->dir, "f", kith_do_mknod);
    for (unsigned evict = 0; evict < 2; evict++) {
        tell(place, NULL, 0);
        pthread_mutex_lock(&fs->lock);
        (void)kith_watch_live(place->dir); /* again, with nothing known */
        pthread_mutex_unlock(&fs->lock);
        uint64_t started = kith_mono_ns(), load = ++fs->load_count;
        kith_arena_init(&arena, 0);
        assert_int_equal(kith_dir_page(fs, place->dir, NULL, load, &arena, NULL, NULL, &page), 0);
        kith_arena_release(&arena);
        assert_false(page.more);
        pthread_mutex_lock(&fs->lock);
        if (evict) {
            kith_entry_remove(fs, kith_entry_find(place->dir, "f"));
        }
        kith_dir_complete(fs, place->dir, load, started);
        bool listable = kith_dir_listable(place->dir, kith_mono_ns());
        pthread_mutex_unlock(&fs->lock);
        assert_int_equal(listable, evict == 0);
        assert_int_equal(found(place, "f"), 1);
    }
}

static void test_eviction_during_a_scan_unwatched(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs;
    struct kith_dir_page page = {.more = true};
    struct kith_arena arena;
    work(place, place->dir, "f", kith_do_mknod);
    uint64_t started = kith_mono_ns(), load = ++fs->load_count;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_dir_page(fs, place->dir, NULL, load, &arena, NULL, NULL, &page), 0);
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    kith_entry_remove(fs, kith_entry_find(place->dir, "f"));
    kith_dir_complete(fs, place->dir, load, started);
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(found(place, "f"), 1);
}

/* The name was seen, left the table, and was looked up again: it is there, though the entry is not
 * the scan's. */
static void test_looked_up_during_a_scan(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs;
    struct kith_dir_page page = {.more = true};
    struct kith_arena arena;
    work(place, place->dir, "f", kith_do_mknod);
    uint64_t started = kith_mono_ns(), load = ++fs->load_count;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_dir_page(fs, place->dir, NULL, load, &arena, NULL, NULL, &page), 0);
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    kith_entry_remove(fs, kith_entry_find(place->dir, "f"));
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(found(place, "f"), 1);
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_entry_find(place->dir, "f")->inode;
    kith_inode_hold(inode); /* as the kernel does */
    kith_dir_complete(fs, place->dir, load, started);
    bool leads = kith_entry_find(place->dir, "f")->inode == inode;
    kith_inode_drop(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    assert_true(leads);
    assert_int_equal(found(place, "f"), 1);
}

static void test_open(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs;
    struct kith_entry *entry = NULL;
    work(place, place->dir, "f", kith_do_mknod);
    assert_int_equal(found(place, "f"), 1);
    assert_int_equal(kith_dir_entry(fs, place->dir, "f", &entry), 0);
    struct kith_inode *inode = entry->inode;
    uint64_t gets, scans;
    asked(place, &gets, &scans);
    assert_int_equal(kith_inode_open(fs, inode), 0);
    assert_asked(place, 0, 0);
    assert_non_null(inode->content);
    assert_true(kith_bytes_equal(kith_octets_bytes(&inode->open_ctx),
                                 kith_octets_bytes(&entry->ctx)));
    kith_inode_close(fs, inode);
    assert_null(inode->content);
    tell(place, "f", 1);
    assert_int_equal(kith_inode_open(fs, inode), 0);
    assert_asked(place, 1, 0); /* told: read again */
    assert_int_equal(kith_inode_open(fs, inode), 0);
    assert_asked(place, 0, 0); /* joins */
    kith_inode_close(fs, inode);
    kith_inode_close(fs, inode);
    theirs(place, "f", inode->id + 1); /* another file under the name, beside ours */
    int error = kith_inode_open(fs, inode);
    asked(place, &gets, &scans);
    assert_int_equal(gets, 1);
    if (error == 0) {
        kith_inode_close(fs, inode);
    }
    kith_entry_unpin(fs, entry);
}

static void test_listing(void **state)
{
    struct place *place = *state;
    assert_int_equal(is_there(place, "a"), 0);
    pthread_mutex_lock(&place->fs->lock);
    assert_true(kith_dir_listable(place->dir, kith_mono_ns()));
    pthread_mutex_unlock(&place->fs->lock);
    theirs(place, "b", 7);
    pthread_mutex_lock(&place->fs->lock);
    assert_false(kith_dir_listable(place->dir, kith_mono_ns()));
    pthread_mutex_unlock(&place->fs->lock);
}

static void scan_page(struct place *place, uint64_t load)
{
    struct kith_dir_page page = {.strict = false};
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_dir_page(place->fs, place->dir, NULL, load, &arena, NULL, NULL, &page),
                     0);
    kith_arena_release(&arena);
}

static void complete(struct place *place, uint64_t load, uint64_t started)
{
    pthread_mutex_lock(&place->fs->lock);
    kith_dir_complete(place->fs, place->dir, load, started);
    pthread_mutex_unlock(&place->fs->lock);
}

/* Two scans of a directory at once, whichever ends first: what both have seen is there. */
static void test_two_scans(void **state)
{
    struct place *place = *state;
    struct kith_entry *entry = NULL;
    theirs(place, "b", 7);
    assert_int_equal(kith_dir_entry(place->fs, place->dir, "b", &entry), 0);
    assert_non_null(entry->inode);
    uint64_t load = place->fs->load_count += 2;
    uint64_t started = kith_mono_ns();
    scan_page(place, load - 1);
    scan_page(place, load); /* a lookup's, while a listing goes on */
    complete(place, load - 1, started);
    assert_non_null(entry->inode);
    scan_page(place, load);
    scan_page(place, load - 1);
    complete(place, load, started);
    assert_non_null(entry->inode);
    kith_entry_unpin(place->fs, entry);
}

static void test_begins_where_work_is(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs;
    struct kith_dir *root = fs->root->dir; /* two questions were asked in it for "d" */
    assert_non_null(root->watch);
    assert_int_equal(kith_fake_watches(place->cluster), 2);
    kith_watch_tick(fs, kith_mono_ns() + 290 * NSEC_PER_SEC);
    assert_int_equal(kith_fake_watches(place->cluster), 2);
    kith_watch_tick(fs, kith_mono_ns() + 310 * NSEC_PER_SEC);
    assert_int_equal(kith_fake_watches(place->cluster), 0);
    assert_null(root->watch);
    assert_false(known(place, "a"));
}

/* The volume's root is in no directory: its own watch tells of its attributes. */
static void test_root(void **state)
{
    struct place *place = *state;
    struct kith_inode *root = place->fs->root;
    struct kith_bytes attr = kith_bytes_make("\0a", 2), other = kith_bytes_make("d\0a", 3);
    assert_non_null(root->dir->watch); /* a name was made in it */
    const struct kith_bytes *told[4] = {NULL, &attr, &other, NULL};
    for (unsigned i = 0; i < 4; i++) {
        pthread_mutex_lock(&place->fs->lock);
        root->valid_until = 0;
        bool knew = kith_watch_knows_inode(root);
        pthread_mutex_unlock(&place->fs->lock);
        assert_int_equal(knew, i == 3); /* by what was read before; another row's event costs nothing */
        work(place, root, "", kith_do_getattr);
        assert_true(kith_watch_knows_inode(root) && kith_attrs_known(place->fs, root));
        if (i < 3) {
            assert_int_equal(kith_fake_tell(place->cluster, &root->dir->group, told[i],
                                            told[i] == NULL ? 0 : 1),
                             1);
        }
    }
    root->retry_at = kith_mono_ns(); /* a put of its attributes failed */
    assert_false(kith_watch_knows_inode(root));
    work(place, root, "", kith_do_getattr);
    assert_true(kith_watch_knows_inode(root));
    kith_watch_doubt_inode(place->fs, root);
    work(place, root, "", kith_do_getattr); /* what failed may be carried out yet */
    assert_false(kith_watch_knows_inode(root));
}

/* What a read of the root brings that began before the event, or before the watch, does not count. */
static void *look_root(void *arg)
{
    work(arg, ((struct place *)arg)->fs->root, "", kith_do_getattr);
    return NULL;
}

static void test_root_told_during_a_read(void **state)
{
    struct place *place = *state;
    struct kith_inode *root = place->fs->root;
    struct kith_bytes rows[2] = {kith_bytes_make("\0a", 2), kith_bytes_make("", 0)};
    pthread_t thread;
    for (unsigned i = 0; i < 2; i++) {
        kith_fake_hold(place->cluster, KITH_CLIENT_GET, true);
        assert_int_equal(pthread_create(&thread, NULL, look_root, place), 0);
        await_under_way(place);
        assert_int_equal(kith_fake_tell(place->cluster, &root->dir->group, &rows[i], 1), 1);
        kith_fake_hold(place->cluster, KITH_CLIENT_GET, false);
        pthread_join(thread, NULL);
        assert_false(kith_watch_knows_inode(root));
        look_root(place);
        assert_true(kith_watch_knows_inode(root));
    }
    kith_fake_set_watches(place->cluster, false);
    assert_false(kith_watch_knows_inode(root));
}

/* Told much that nobody asks for: it ends soon. */
static void test_in_vain(void **state)
{
    struct place *place = *state;
    struct kith_fs *fs = place->fs;
    for (unsigned i = 0; i < VAIN_MAX; i++) {
        tell(place, "na", 2);
    }
    assert_int_equal(is_there(place, "a"), 0); /* but it is of use */
    kith_watch_tick(fs, kith_mono_ns() + 10 * NSEC_PER_SEC);
    assert_int_equal(kith_fake_watches(place->cluster), 2);
    for (unsigned i = 0; i < VAIN_MAX; i++) {
        tell(place, "na", 2);
    }
    kith_watch_tick(fs, kith_mono_ns() + 4 * NSEC_PER_SEC);
    assert_int_equal(kith_fake_watches(place->cluster), 2);
    kith_watch_tick(fs, kith_mono_ns() + 6 * NSEC_PER_SEC);
    assert_int_equal(kith_fake_watches(place->cluster), 1);
    assert_null(place->dir->dir->watch);
}

static void test_bounded(void **state)
{
    struct place *place = *state;
    for (unsigned i = 0; i < WATCHES_MAX + 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%u", i);
        (void)made_dir(place, place->dir, name);
        assert_true(kith_fake_watches(place->cluster) <= WATCHES_MAX);
    }
    kith_watch_tick(place->fs, kith_mono_ns());
    assert_true(kith_fake_watches(place->cluster) < WATCHES_MAX);
    assert_true(kith_fake_watches(place->cluster) > WATCHES_MAX / 2);
}

static void test_nowatch(void **state)
{
    struct place *place = *state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(is_there(place, "a"), 0);
    }
    assert_asked(place, 3, 0);
    assert_int_equal(kith_fake_watches(place->cluster), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_complete),
        CASE(test_told_of_a_name),
        CASE(test_told_of_what_stands_beside),
        CASE(test_told_of_anything),
        CASE(test_lapse),
        CASE(test_told_during_a_read),
        CASE(test_told_during_a_scan),
        CASE(test_own_put_failed),
        CASE(test_eviction),
        CASE(test_eviction_during_a_scan),
        cmocka_unit_test_setup_teardown(test_eviction_during_a_scan_unwatched, setup_nowatch,
                                        teardown),
        CASE(test_looked_up_during_a_scan),
        cmocka_unit_test_setup_teardown(test_looked_up_during_a_scan, setup_nowatch, teardown),
        CASE(test_open),
        CASE(test_listing),
        CASE(test_two_scans),
        CASE(test_root),
        CASE(test_root_told_during_a_read),
        CASE(test_begins_where_work_is),
        CASE(test_in_vain),
        CASE(test_bounded),
        cmocka_unit_test_setup_teardown(test_nowatch, setup_nowatch, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
