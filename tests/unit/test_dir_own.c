/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One directory of one that two mounts make: the id that both draw, and when it is not to be used. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <time.h>

#include "fs/conflicts/conflicts.h"
#include "fs/orphans/orphans.h"
#include "fs/rows/rows.h"
#include "lib/two_fs.h"

/* The id of a directory that is to be made in "d". */
static void ids_of(struct two_fs *place, unsigned mount, const char *name, uint64_t ret_ids[2])
{
    struct kith_fs *fs = place->fs[mount];
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_read(fs, place->dir[mount], name, &entry), 0);
    pthread_mutex_lock(&fs->lock);
    kith_dir_ids(fs, entry, ret_ids);
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
}

/* What the own row of that id says, as `mount` reads it. */
static enum kith_dir_id state_of(struct two_fs *place, unsigned mount, const char *name,
                                 const uint64_t ids[2])
{
    struct kith_fs *fs = place->fs[mount];
    struct kith_group group = kith_dir_group(fs, ids);
    struct kith_bytes self = kith_bytes_make(NULL, 0);
    struct kith_client_answer answer;
    assert_int_equal(kith_rows_get(fs, &group, &self, 1, &answer), 0);
    enum kith_dir_id state = kith_dir_id_state(place->dir[mount], name, &answer.result);
    kith_client_answer_release(&answer);
    return state;
}

static void test_same_for_both(void **state)
{
    struct two_fs *place = *state;
    uint64_t mine[2], theirs[2], other[2];
    ids_of(place, TWO_MINE, "new", mine);
    ids_of(place, TWO_OTHER, "new", theirs);
    ids_of(place, TWO_MINE, "newer", other);
    assert_memory_equal(mine, theirs, sizeof mine);
    assert_true(mine[0] > 1);
    assert_true(mine[0] != other[0]);
    assert_int_equal(state_of(place, TWO_MINE, "new", mine), KITH_DIR_ID_FREE);

    /* made at one mount: the other one, which has not seen the name, may take the same */
    struct kith_inode *made = two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "new");
    assert_int_equal(made->id, theirs[0]);
    assert_int_equal(state_of(place, TWO_MINE, "new", mine), KITH_DIR_ID_HERE);
    assert_int_equal(state_of(place, TWO_MINE, "another", mine), KITH_DIR_ID_OTHER);
}

/* The old name is free again, also for a mount to which nobody tells of its clock: a day later it is
 * forgotten. The id is not. */
static void test_moved(void **state)
{
    struct two_fs *place = *state;
    uint64_t before[2], after[2];
    ids_of(place, TWO_OTHER, "moves", before);
    two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "moves");
    two_work(two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER], place->sub[TWO_OTHER], "moves",
                     "there", kith_do_rename));
    assert_int_equal(state_of(place, TWO_MINE, "moves", before), KITH_DIR_ID_OTHER);
    ids_of(place, TWO_MINE, "moves", after);
    assert_true(before[0] != after[0]);
    assert_int_equal(state_of(place, TWO_MINE, "moves", after), KITH_DIR_ID_FREE);
}

static void test_removed(void **state)
{
    struct two_fs *place = *state;
    uint64_t before[2], after[2];
    ids_of(place, TWO_OTHER, "goes", before);
    two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "goes");
    two_work(
        two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER], NULL, "goes", "", kith_do_rmdir));
    assert_int_equal(state_of(place, TWO_MINE, "goes", before), KITH_DIR_ID_OTHER);
    ids_of(place, TWO_MINE, "goes", after);
    assert_true(before[0] != after[0]);
    struct kith_inode *again = two_made_dir(place->fs[TWO_MINE], place->dir[TWO_MINE], "goes");
    assert_int_equal(again->id, after[0]);
}

/* Nobody can say: then no id is shared. */
static void test_unknown(void **state)
{
    struct two_fs *place = *state;
    const struct kith_client_result failed = {.err = KITH_EUNREACH};
    assert_int_equal(kith_dir_id_state(place->dir[TWO_MINE], "any", &failed), KITH_DIR_ID_OTHER);
}

/* Something is made in a directory that another mount has removed: it is there again, with what was
 * made in it. */
static void test_comes_back(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *dir = two_made_dir(fs, place->dir[TWO_MINE], "lost");
    two_work(
        two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER], NULL, "lost", "", kith_do_rmdir));
    two_work(two_job(fs, dir, NULL, "file", "", kith_do_mknod)); /* it has not seen that */
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_read(fs, place->dir[TWO_MINE], "lost", &entry), 0);
    kith_entry_unpin(fs, entry);
    assert_null(entry->inode);
    kith_dir_lost_end(fs, 0);
    struct kith_inode *seen = two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "lost");
    assert_non_null(seen);
    assert_non_null(two_inode_at(place->fs[TWO_OTHER], seen, "file"));
    assert_non_null(two_inode_at(fs, place->dir[TWO_MINE], "lost"));
    /* and nothing comes back that is empty */
    struct kith_inode *empty = two_made_dir(fs, place->dir[TWO_MINE], "empty");
    two_work(two_job(fs, empty, NULL, "file", "", kith_do_mknod));
    two_work(two_job(fs, empty, NULL, "file", "", kith_do_unlink));
    two_work(
        two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER], NULL, "empty", "", kith_do_rmdir));
    assert_int_equal(kith_dir_read(fs, place->dir[TWO_MINE], "empty", &entry), 0);
    kith_entry_unpin(fs, entry);
    kith_dir_lost_end(fs, 0);
    assert_null(two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "empty"));
}

static void remove_dir(struct two_fs *place, unsigned mount, struct kith_inode *in,
                       const char *name)
{
    two_work(two_job(place->fs[mount], in, NULL, name, "", kith_do_rmdir));
}

static void make_file(struct two_fs *place, unsigned mount, struct kith_inode *in, const char *name)
{
    two_work(two_job(place->fs[mount], in, NULL, name, "", kith_do_mknod));
}

/* What the cluster says of the name now. */
static struct kith_inode *read_again(struct two_fs *place, unsigned mount, struct kith_inode *in,
                                     const char *name)
{
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_read(place->fs[mount], in, name, &entry), 0);
    kith_entry_unpin(place->fs[mount], entry);
    return entry->inode;
}

/* All that is to be looked at is, also what that brings up. */
static void bring_lost(struct two_fs *place)
{
    kith_dir_lost_end(place->fs[TWO_MINE], kith_mono_ns() + 10 * NSEC_PER_SEC);
}

/* Its parent was removed with it. */
static void test_parent(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *other = place->fs[TWO_OTHER];
    struct kith_inode *above = two_made_dir(other, place->dir[TWO_OTHER], "above");
    two_made_dir(other, above, "below");
    struct kith_inode *mine = two_inode_at(fs, place->dir[TWO_MINE], "above");
    struct kith_inode *below = two_inode_at(fs, mine, "below");
    pthread_mutex_lock(&fs->lock);
    kith_inode_hold(below);
    pthread_mutex_unlock(&fs->lock);
    remove_dir(place, TWO_OTHER, above, "below");
    remove_dir(place, TWO_OTHER, place->dir[TWO_OTHER], "above");
    make_file(place, TWO_MINE, below, "file");
    assert_null(read_again(place, TWO_MINE, mine, "below"));
    bring_lost(place);
    for (unsigned i = 0; i < 1000; i++) { /* the timer may have taken the parent */
        const struct timespec tick = {0, 10000000};
        if (read_again(place, TWO_OTHER, place->dir[TWO_OTHER], "above") != NULL) {
            break;
        }
        nanosleep(&tick, NULL);
    }
    struct kith_inode *back = read_again(place, TWO_OTHER, place->dir[TWO_OTHER], "above");
    assert_non_null(back);
    back = read_again(place, TWO_OTHER, back, "below");
    assert_non_null(back);
    assert_non_null(read_again(place, TWO_OTHER, back, "file"));
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, below);
    pthread_mutex_unlock(&fs->lock);
}

/* Another directory has the name by then, also where the first try fails: it stands beside that. */
static void test_made_anew(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *dir = two_made_dir(fs, place->dir[TWO_MINE], "anew");
    pthread_mutex_lock(&fs->lock);
    kith_inode_hold(dir);
    pthread_mutex_unlock(&fs->lock);
    remove_dir(place, TWO_OTHER, place->dir[TWO_OTHER], "anew");
    two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "anew");
    make_file(place, TWO_MINE, dir, "file");
    assert_ptr_not_equal(read_again(place, TWO_MINE, place->dir[TWO_MINE], "anew"), dir);
    char name[32];
    uint32_t mark;
    memcpy(&mark, dir->dir->group.bytes + (KITH_GROUP_SIZE - KITH_DIR_ID_SIZE), sizeof mark);
    (void)snprintf(name, sizeof name, "anew.conflict-%08x", mark);
    kith_fake_fail_next(place->cluster, KITH_CLIENT_PUT, 1, KITH_EUNREACH, false);
    bring_lost(place);
    struct kith_inode *back = read_again(place, TWO_OTHER, place->dir[TWO_OTHER], name);
    assert_non_null(back);
    assert_non_null(read_again(place, TWO_OTHER, back, "file"));
    assert_ptr_not_equal(read_again(place, TWO_OTHER, place->dir[TWO_OTHER], "anew"), back);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, dir);
    pthread_mutex_unlock(&fs->lock);
}

/* Who removed it has it in memory still, and goes on in it. */
static void test_back_at_remover(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *other = place->fs[TWO_OTHER];
    struct kith_inode *dir = two_made_dir(place->fs[TWO_MINE], place->dir[TWO_MINE], "back");
    struct kith_inode *theirs = two_inode_at(other, place->dir[TWO_OTHER], "back");
    pthread_mutex_lock(&other->lock);
    kith_inode_hold(theirs);
    pthread_mutex_unlock(&other->lock);
    remove_dir(place, TWO_OTHER, place->dir[TWO_OTHER], "back");
    make_file(place, TWO_MINE, dir, "file");
    assert_null(read_again(place, TWO_MINE, place->dir[TWO_MINE], "back"));
    bring_lost(place);
    assert_ptr_equal(read_again(place, TWO_OTHER, place->dir[TWO_OTHER], "back"), theirs);
    assert_non_null(read_again(place, TWO_OTHER, theirs, "file"));
    assert_false(theirs->dir->removed);
    pthread_mutex_lock(&other->lock);
    kith_inode_drop(other, theirs);
    pthread_mutex_unlock(&other->lock);
}

/* A version that becomes a file of its own is no more open to others than the file beside it. */
static void test_version_mode(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_client_answer answer;
    struct kith_inode_record record;
    struct kith_other *others;
    struct kith_arena arena;
    struct kith_buf buf;
    uint32_t count;
    char name[KITH_FS_NAME_MAX + 1];
    make_file(place, TWO_MINE, place->dir[TWO_MINE], "secret");
    struct kith_inode *file = two_inode_at(fs, place->dir[TWO_MINE], "secret");
    pthread_mutex_lock(&fs->lock);
    kith_inode_hold(file);
    pthread_mutex_unlock(&fs->lock);
    kith_buf_init(&buf);
    kith_inode_record_of(file, &record);
    record.attrs.mtime.sec++;
    kith_inode_record_encode(&record, &buf);
    struct kith_put_update update = {.name = kith_bytes_make("secret", 6), .has_sibling = true,
                                     .value = kith_buf_bytes(&buf)};
    struct kith_group group = place->dir[TWO_MINE]->dir->group;
    assert_int_equal(
        kith_rows_put(place->fs[TWO_OTHER], &group, KITH_DURABLE_OS, &update, 1, &answer), 0);
    kith_client_answer_release(&answer);
    kith_buf_release(&buf);
    (void)read_again(place, TWO_MINE, place->dir[TWO_MINE], "secret");
    pthread_mutex_lock(&fs->lock);
    file->attrs.mode = 0600;
    file->attrs.mode_stamp = kith_wall_time();
    file->attr_changed |= KITH_ATTR_MODE;
    file->attr_version++;
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(kith_inode_flush(fs, file, KITH_DURABLE_OS), 0);
    kith_arena_init(&arena, 0);
    assert_int_equal(
        kith_others_list(fs, place->dir[TWO_MINE], "secret", &arena, &others, &count), 0);
    assert_int_equal(count, 1);
    memcpy(name, others[0].name, sizeof name);
    kith_arena_release(&arena);
    two_work(two_job(fs, place->dir[TWO_MINE], NULL, "secret", "", kith_do_unlink));
    struct kith_inode *made = read_again(place, TWO_OTHER, place->dir[TWO_OTHER], name);
    assert_non_null(made);
    assert_int_equal(made->attrs.mode & 0777u, 0600);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, file);
    pthread_mutex_unlock(&fs->lock);
}

static void move_dir(struct two_fs *place, unsigned mount, struct kith_inode *from,
                     struct kith_inode *to, const char *name)
{
    two_work(two_job(place->fs[mount], from, to, name, name, kith_do_rename));
}

/* Whether that mount finds the directory "a" in /lost+found, with "b" in it, or the other way round, and
 * what was made in both. */
static unsigned found_in_one(struct two_fs *place, unsigned mount)
{
    struct kith_fs *fs = place->fs[mount];
    struct kith_inode *kept = two_inode_at(fs, fs->root, "lost+found");
    unsigned files = 0, directories = 0;
    for (unsigned i = 0; kept != NULL && i < 2; i++) {
        struct kith_inode *outer = two_inode_at(fs, kept, i == 0 ? "a" : "b");
        struct kith_inode *inner =
            outer != NULL ? two_inode_at(fs, outer, i == 0 ? "b" : "a") : NULL;
        struct kith_inode *below = inner != NULL ? two_inode_at(fs, inner, "deep") : NULL;
        directories += outer != NULL ? 1 : 0;
        files += outer != NULL && two_inode_at(fs, outer, "file") != NULL ? 1 : 0;
        files += inner != NULL && two_inode_at(fs, inner, "file") != NULL ? 1 : 0;
        assert_true(below == NULL || two_inode_at(fs, below, i == 0 ? "a" : "b") == NULL);
    }
    return directories == 1 ? files : 100 + directories;
}

/* Two directories are moved into one another, the second into one below the first: no name would lead
 * to either. One mount finds it, or both, or both at once. */
static void test_cycle(void **state)
{
    struct two_fs *place = *state;
    for (unsigned who = 0; who < 2; who++) {
        struct kith_inode *a[TWO_MOUNTS], *b[TWO_MOUNTS], *deep;
        struct kith_fs *other = place->fs[TWO_OTHER];
        a[TWO_OTHER] = two_made_dir(other, place->dir[TWO_OTHER], "a");
        b[TWO_OTHER] = two_made_dir(other, place->dir[TWO_OTHER], "b");
        make_file(place, TWO_OTHER, a[TWO_OTHER], "file");
        make_file(place, TWO_OTHER, b[TWO_OTHER], "file");
        deep = two_made_dir(other, b[TWO_OTHER], "deep");
        for (unsigned i = 0; i < TWO_MOUNTS; i++) {
            a[i] = two_inode_at(place->fs[i], place->dir[i], "a");
            b[i] = two_inode_at(place->fs[i], place->dir[i], "b");
        }
        move_dir(place, TWO_MINE, place->dir[TWO_MINE], a[TWO_MINE], "b");
        move_dir(place, TWO_OTHER, place->dir[TWO_OTHER], deep, "a");
        assert_null(two_inode_at(other, place->dir[TWO_OTHER], "b"));
        assert_null(two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "a"));
        assert_true(place->fs[TWO_MINE]->cycles_due != 0); /* it has seen that "a" is gone */
        assert_int_equal(kith_cycles_look(place->fs[who]), 0);
        assert_int_equal(kith_cycles_look(place->fs[1 - who]), 0);
        for (unsigned i = 0; i < TWO_MOUNTS; i++) {
            assert_int_equal(found_in_one(place, i), 2);
        }
        struct kith_inode *kept = two_inode_at(other, other->root, "lost+found");
        move_dir(place, TWO_OTHER, kept, place->sub[TWO_OTHER], "a"); /* a person tidies up */
        move_dir(place, TWO_OTHER, kept, place->sub[TWO_OTHER], "b");
        two_work(two_job(other, place->dir[TWO_OTHER], other->root, "sub", who == 0 ? "x" : "y",
                         kith_do_rename));
        assert_int_equal(kith_cycles_look(place->fs[TWO_MINE]), 0);
        assert_int_equal(kith_cycles_look(other), 0);
        assert_non_null(two_inode_at(other, other->root, who == 0 ? "x" : "y"));
        place->sub[TWO_OTHER] = two_made_dir(other, place->dir[TWO_OTHER], "sub");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_for_both, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_moved, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_unknown, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_comes_back, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_parent, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_made_anew, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_back_at_remover, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_mode, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_cycle, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
