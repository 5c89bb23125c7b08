/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * As test_aside.c, where the version is removed, moved or chosen at the other mount meanwhile; and what
 * can fail. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "aside_place.h"

/* Another mount has removed the version: what is written is an edit, and stays. */
static void test_removed_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    removes(place, TWO_OTHER, name);
    both_have(place, "f=theirs");
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    both_have(place, "f=theirs f!=mine+");
    assert_non_null(two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], name));
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine++");
}

/* Nobody here has seen it before it was gone: the name is taken over by a file that knew of it, as
 * editors do that save by renaming. */
static void test_replaced_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    struct kith_inode *other = created(place, TWO_OTHER, "tmp");
    append(others, other, "saved");
    closed(others, other);
    assert_non_null(two_inode_at(others, place->dir[TWO_OTHER], "f"));
    renames(place, TWO_OTHER, "tmp", "f");
    learns(place, mine);
    both_have(place, "f=saved");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=saved f!=mine+");
}

/* Moved there, and another made in its place: it is found. */
static void test_moved_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    renames(place, TWO_OTHER, "f", "f.1");
    struct kith_inode *other = created(place, TWO_OTHER, "f");
    append(others, other, "next");
    closed(others, other);
    assert_ptr_not_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=next f.1=mine+");
}

/* Another mount has chosen it for the name: so he writes on there. known: this mount has learnt of
 * the other file before; looks: or of the choice, before it writes. */
static void chosen_there(struct two_fs *place, bool known, bool looks, const char *want)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    if (known) {
        learns(place, mine);
    }
    made_name(place, TWO_OTHER, "f", name);
    renames(place, TWO_OTHER, name, "f");
    assert_string_equal(listing(place, TWO_OTHER), "f=mine");
    if (looks) {
        assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    }
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, want);
}

static void test_chosen_there(void **state)
{
    chosen_there(*state, true, false, "f=mine+");
    removes(*state, TWO_OTHER, "f");
    chosen_there(*state, true, true, "f=mine+");
    removes(*state, TWO_OTHER, "f");
    chosen_there(*state, false, true, "f=mine+");
    removes(*state, TWO_OTHER, "f");
    chosen_there(*state, false, false, "f=mine+ f!=mine"); /* he wrote before he knew */
}

/* The bearer of the name goes, and leaves it to what stood beside it. */
static void test_bears_again(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_put_update update = {.name = kith_bytes_make("f", 1)};
    struct kith_group group = place->dir[TWO_MINE]->dir->group;
    struct kith_client_answer answer, put;
    struct kith_arena arena;
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_rows_get(fs, &group, &update.name, 1, &answer), 0);
    const struct kith_row *row = &answer.result.u.rows.rows[0].row;
    assert_int_equal(kith_row_context(&arena, row, kith_versions_winner(row), &update.context),
                     KITH_OK);
    assert_int_equal(kith_rows_put(place->fs[TWO_OTHER], &group, KITH_DURABLE_OS, &update, 1, &put),
                     0);
    kith_client_answer_release(&put);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=mine+");
}

struct remover {
    struct two_fs *place;
    const char *name;
};

static void *removes_it(void *arg)
{
    struct remover *remover = arg;
    removes(remover->place, TWO_MINE, remover->name);
    return NULL;
}

/* While it becomes a file nobody puts it: what is put then has the context of the new row. */
static void test_taken_meanwhile(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    struct remover remover = {place, "f"};
    const struct kith_bytes nobody = kith_bytes_make("\0z", 2);
    pthread_t thread;
    learns(place, mine);
    kith_fake_hold(place->cluster, KITH_CLIENT_PUT, true);
    assert_int_equal(pthread_create(&thread, NULL, removes_it, &remover), 0);
    while (!kith_fake_intrude(place->cluster, fs->client, nobody, nobody)) {
        sched_yield(); /* until its put waits */
    }
    pthread_mutex_lock(&fs->lock);
    bool busy = mine->row_busy;
    pthread_mutex_unlock(&fs->lock);
    kith_fake_hold(place->cluster, KITH_CLIENT_PUT, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(busy);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f!=mine+");
}

/* It has become a file there, as its name's bearer went: he writes on in that one. */
static void parted_there(struct two_fs *place, bool known)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    if (known) {
        learns(place, mine);
    }
    removes(place, TWO_OTHER, "f");
    assert_null(two_inode_at(fs, place->dir[TWO_MINE], "f"));
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    both_have(place, "f!=mine+");
    removes(place, TWO_MINE, mine->entry->name);
    closed(fs, mine);
    both_have(place, "");
}

static void test_parted_there(void **state)
{
    parted_there(*state, true);
    parted_there(*state, false);
}

/* It is moved on from there. */
static void test_version_moved_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    renames(place, TWO_OTHER, name, "g");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs g=mine+");
}

/* A file that is gone with its name is so here, too: nobody can say that it is stored. */
static void test_gone(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    removes(place, TWO_OTHER, "f");
    assert_null(two_inode_at(fs, place->dir[TWO_MINE], "f"));
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), ESTALE);
    assert_true(kith_inode_dirty(mine));
    pthread_mutex_lock(&fs->lock);
    mine->write_flushed = mine->write_version; /* and nothing is said of attributes alone */
    mine->attr_changed |= KITH_ATTR_MODE;
    mine->attr_version++;
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    assert_int_equal(mine->attr_changed, 0);
    both_have(place, "");
    pthread_mutex_lock(&fs->lock);
    mine->unlinked = true; /* for the end of the test */
    pthread_mutex_unlock(&fs->lock);
    closed(fs, mine);
}

/* The cluster fails in between: said, and stored later. */
static void test_fails(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    for (unsigned at = 0; at < 2; at++) {
        for (unsigned applied = 0; applied < 2; applied++) {
            struct kith_inode *mine = lost(place, NULL);
            learns(place, mine);
            append(fs, mine, "+");
            kith_fake_fail_later(place->cluster, KITH_CLIENT_PUT, at, 1,
                                 applied != 0 ? KITH_EUNKNOWN : KITH_EUNREACH, applied != 0);
            int error = kith_inode_flush(fs, mine, KITH_DURABLE_OS);
            assert_true(error != 0 || applied != 0);
            assert_int_equal(kith_inode_dirty(mine), error != 0);
            assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
            assert_false(kith_inode_dirty(mine));
            both_have(place, "f=theirs f!=mine+");
            removes(place, TWO_OTHER, "f");
            removes(place, TWO_OTHER, mine->entry->name);
            assert_string_equal(listing(place, TWO_MINE), "");
            pthread_mutex_lock(&fs->lock);
            mine->unlinked = true;
            pthread_mutex_unlock(&fs->lock);
            closed(fs, mine);
            both_have(place, "");
        }
    }
}

/* A file of the made name is there: it keeps that. */
static void test_name_taken(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    removes(place, TWO_OTHER, name);
    struct kith_inode *saved = created(place, TWO_OTHER, name);
    append(others, saved, "saved");
    closed(others, saved);
    append(fs, mine, "+");
    closed(fs, mine);
    const char *told = listing(place, TWO_OTHER);
    assert_non_null(strstr(told, "f!=saved"));
    assert_non_null(strstr(told, "f!=mine+"));
    assert_non_null(strstr(told, "f=theirs"));
}

/* Where other versions are not shown it is a file all the same, and no version is left behind. */
static void test_hidden(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    place->options.hide_conflicts = true;
    learns(place, mine);
    both_have(place, "f=theirs");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine+");
    place->options.hide_conflicts = false;
    both_have(place, "f=theirs f!=mine+");
}

/* While nodes cannot be reached a write says so itself; what is not stored has a name in the log.
 */
static void test_write_through(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    char path[64];
    learns(place, mine);
    pthread_mutex_lock(&fs->lock);
    kith_inode_path(fs, mine, path, sizeof path);
    pthread_mutex_unlock(&fs->lock);
    assert_string_equal(path, "/d/f");
    kith_fake_set_unreachable(place->cluster, true);
    append(fs, mine, "+");
    assert_int_not_equal(kith_inode_write_through(fs, mine), 0);
    kith_fake_set_unreachable(place->cluster, false);
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    both_have(place, "f=theirs f!=mine+");
    closed(fs, mine);
}

/* The mount ends with something unsent. */
static void test_mount_ends(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    append(fs, mine, "+");
    assert_int_equal(kith_fs_flush_all(fs, kith_mono_ns() + 10 * NSEC_PER_SEC), 0);
    assert_string_equal(listing(place, TWO_OTHER), "f=theirs f!=mine+");
    closed(fs, mine);
}

/* It ends while it is aside, and open. */
static void test_ends_open(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    assert_non_null(mine->aside);
    closed(fs, mine);
    assert_string_equal(listing(place, TWO_OTHER), "f=theirs f!=mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_removed_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_replaced_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_moved_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_chosen_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_bears_again, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_taken_meanwhile, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_parted_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_moved_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_gone, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_fails, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_name_taken, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_hidden, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_write_through, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_mount_ends, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_ends_open, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
