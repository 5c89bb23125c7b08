/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a mount takes over of names that another one changes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/rows/rows.h"
#include "lib/two_fs.h"

static bool has_context(const struct kith_entry *entry, const struct kith_octets *ctx)
{
    return kith_bytes_equal(kith_octets_bytes(&entry->ctx), kith_octets_bytes(ctx));
}

/* The other mount exchanges two links. This one has read the directory, but not the rows that the
 * names refer to now; or it is at work on the inode that the name led to. A put for that one must
 * not bear the context of what is there now: it would take the other file's name away. */
static void test_context_with_inode(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_entry *entry = NULL;
    struct kith_octets was = {NULL, 0};
    two_make_linked(place, "a");
    two_make_linked(place, "b");
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    assert_int_equal(kith_dir_entry(fs, place->dir[TWO_MINE], "a", &entry), 0);
    assert_true(kith_entry_leads(entry, a));
    assert_true(kith_octets_set(&was, kith_octets_bytes(&entry->ctx)));

    struct kith_job *job = two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER],
                                   place->dir[TWO_OTHER], "a", "b", kith_do_rename);
    job->flags = 2; /* RENAME_EXCHANGE */
    two_work(job);
    two_set_busy(fs, a, true);
    kith_dir_scan(fs, place->dir[TWO_MINE]);
    kith_entry_unpin(fs, entry);
    assert_int_equal(kith_dir_read(fs, place->dir[TWO_MINE], "a", &entry), 0);
    assert_false(kith_entry_leads(entry, a));
    assert_true(entry->inode != a || has_context(entry, &was));
    two_set_busy(fs, a, false);
    kith_dir_scan(fs, place->dir[TWO_MINE]);
    assert_false(kith_entry_leads(entry, a));
    assert_true(entry->inode != a || has_context(entry, &was));

    kith_entry_unpin(fs, entry); /* read with its inode, it is known */
    assert_int_equal(kith_dir_entry(fs, place->dir[TWO_MINE], "a", &entry), 0);
    assert_ptr_not_equal(entry->inode, a);
    assert_true(kith_entry_leads(entry, entry->inode));
    assert_false(has_context(entry, &was));
    kith_entry_unpin(fs, entry);
    kith_octets_clear(&was);
}

/* The same of a name that did not exist: what is made there must not take its place. */
static void test_context_of_none(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_entry *entry = NULL;
    assert_int_equal(kith_dir_entry(fs, place->dir[TWO_MINE], "a", &entry), 0);
    assert_true(kith_entry_leads(entry, NULL));
    two_make_linked(place, "a");
    kith_dir_scan(fs, place->dir[TWO_MINE]);
    assert_false(kith_entry_leads(entry, NULL));
    assert_true(entry->inode != NULL || entry->ctx.size == 0);
    kith_entry_unpin(fs, entry);
    assert_non_null(two_inode_at(fs, place->dir[TWO_MINE], "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_context_with_inode, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_context_of_none, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
