/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file is open at one mount when another file, or a directory, takes its name over: what is
 * written to it is stored as a file beside that, whatever becomes of the version meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "aside_place.h"

static void test_goes_on(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL), *found;
    char name[KITH_FS_NAME_MAX + 1];
    learns(place, mine);
    assert_int_equal(kith_aside_refusal(mine), ESTALE); /* "f" may lead to it still */
    both_have(place, "f=theirs f!=mine");
    made_name(place, TWO_OTHER, "f", name);
    append(fs, mine, "-");
    assert_int_equal(kith_other_inode(fs, place->dir[TWO_MINE], name, &found), 0);
    assert_ptr_equal(found, mine); /* it is one file, whoever looks at it */
    assert_int_equal(kith_aside_refusal(mine), EPERM);
    assert_false(found->made);     /* and who has it open may go on */
    assert_int_equal(found->size, strlen("mine-"));
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, found);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        append(fs, mine, "+");
        assert_int_equal(kith_inode_flush(fs, mine, i == 0 ? KITH_DURABLE_DISK : KITH_DURABLE_OS),
                         0);
        assert_false(kith_inode_dirty(mine));
        assert_int_equal(mine->size, strlen("mine-+") + i);
        both_have(place, i == 0 ? "f=theirs f!=mine-+" : "f=theirs f!=mine-++");
    }
    found = two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], name);
    assert_non_null(found); /* under the name that it had */
    assert_int_equal(found->id, mine->id);
    append(fs, mine, "!");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine-++!");
}

/* fsync of what close has put already. */
static void test_clean_on_disk(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    assert_false(mine->os_only);
    both_have(place, "f=theirs f!=mine");
    closed(fs, mine);
}

static void test_directory(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "f");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    learns(place, mine);
    both_have(place, "f/ f!=mine+");
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    both_have(place, "f/ f!=mine++");
    closed(fs, mine);
    both_have(place, "f/ f!=mine++");
}

/* Nothing but its attributes: they are of the file that it is. */
static void test_attributes(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    const struct stat attr = {.st_mode = 0600};
    struct stat now;
    double timeout;
    learns(place, mine);
    if (kith_setattr_fast(fs, mine, &attr, FUSE_SET_ATTR_MODE, &now, &timeout)) {
        assert_int_equal(now.st_mode & 07777u, 0600);
    }
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    assert_int_equal(mine->attr_changed, 0);
    assert_non_null(mine->entry);
    struct kith_inode *seen =
        two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], mine->entry->name);
    assert_non_null(seen);
    assert_int_equal(seen->attrs.mode & 07777u, 0600);
    both_have(place, "f=theirs f!=mine");
    closed(fs, mine);
}

/* The same where it is closed at once, while they wait for the next put. */
static void test_attributes_closed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = lost(place, NULL), *seen = NULL;
    const struct stat attr = {.st_mode = 0600};
    struct stat now;
    double timeout;
    char name[KITH_FS_NAME_MAX + 1];
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    assert_true(kith_setattr_fast(fs, mine, &attr, FUSE_SET_ATTR_MODE, &now, &timeout));
    kith_inode_close(fs, mine);
    for (unsigned i = 0; i < 1000 && (seen == NULL || (seen->attrs.mode & 0777u) != 0600); i++) {
        const struct timespec tick = {0, 10000000};
        nanosleep(&tick, NULL);
        seen = two_inode_at(others, place->dir[TWO_OTHER], name);
    }
    assert_non_null(seen);
    assert_int_equal(seen->attrs.mode & 0777u, 0600);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, mine);
    pthread_mutex_unlock(&fs->lock);
    both_have(place, "f=theirs f!=mine");
}

static void test_winner(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *other, *mine = lost(place, &other);
    learns(place, mine);
    append(others, other, "+");
    assert_int_equal(kith_inode_flush(others, other, KITH_DURABLE_OS), 0);
    both_have(place, "f=theirs+ f!=mine");
    append(fs, mine, "+");
    append(others, other, "+");
    closed(fs, mine);
    closed(others, other);
    both_have(place, "f=theirs++ f!=mine+");
}

/* Who has something unsent when he learns of it puts that under the name; then it is the newest,
 * and the other one goes on beside it. */
static void test_unsent(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *other, *mine = lost(place, &other);
    append(fs, mine, "+");
    assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    closed(fs, mine);
    both_have(place, "f=mine+ f!=theirs");
    append(others, other, "+");
    closed(others, other);
    both_have(place, "f=mine+ f!=theirs+");
}

static void test_two_handles(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    pthread_mutex_lock(&fs->lock);
    mine->opens++; /* it was opened twice before */
    pthread_mutex_unlock(&fs->lock);
    learns(place, mine);
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, mine);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine++");
}

/* Nobody writes to it any more: it is a version like any other, also for who looks again. */
static void test_closed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL), *found;
    char name[KITH_FS_NAME_MAX + 1];
    learns(place, mine);
    kith_inode_close(fs, mine);
    both_have(place, "f=theirs f!=mine");
    made_name(place, TWO_MINE, "f", name);
    assert_int_equal(kith_other_inode(fs, place->dir[TWO_MINE], name, &found), 0);
    assert_ptr_equal(found, mine);
    assert_true(found->made);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, found);
    kith_inode_drop(fs, mine);
    pthread_mutex_unlock(&fs->lock);
}

/* What is done here to the two names while it is open. */
static void test_changed_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL); /* the name's bearer moves */
    learns(place, mine);
    append(fs, mine, "+");
    renames(place, TWO_MINE, "f", "g");
    assert_non_null(mine->entry);
    assert_string_equal(listing(place, TWO_OTHER), "f!=mine g=theirs"); /* not sent yet */
    closed(fs, mine);
    both_have(place, "f!=mine+ g=theirs");
}

/* A third file takes the name, made here. */
static void test_replaced_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    struct kith_inode *third = created(place, TWO_MINE, "z");
    append(fs, third, "third");
    closed(fs, third);
    renames(place, TWO_MINE, "z", "f");
    both_have(place, "f=third f!=mine");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=third f!=mine+");
}

static void test_version_moved_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    append(fs, mine, "+");
    made_name(place, TWO_MINE, "f", name);
    renames(place, TWO_MINE, name, "g");
    both_have(place, "f=theirs g=mine+");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs g=mine++");
}

static void test_version_chosen_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_MINE, "f", name);
    renames(place, TWO_MINE, name, "f");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=mine+");
}

/* Removed here it is as any file is that is removed while it is open. */
static void test_removed_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1], text[TEXT_SIZE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_MINE, "f", name);
    removes(place, TWO_MINE, name);
    assert_true(mine->unlinked);
    append(fs, mine, "+");
    text_of(fs, mine, text);
    assert_string_equal(text, "mine+");
    closed(fs, mine);
    both_have(place, "f=theirs");
}

/* The same where it has become a file by then; and the bearer of the name goes. */
static void test_removed_after(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    removes(place, TWO_MINE, "f");
    both_have(place, "f!=mine+");
    removes(place, TWO_MINE, mine->entry->name);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_on, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_clean_on_disk, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_directory, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_attributes, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_attributes_closed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_winner, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_unsent, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_handles, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_closed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_changed_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_replaced_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_moved_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_chosen_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed_after, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
