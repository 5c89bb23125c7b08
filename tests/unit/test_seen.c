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

/* Another row of the inode, in a group of its own, and a name in "sub" that leads there: what is
 * left where a mount moved the inode and another gave it a name, both at once. */
static void put_other_row(struct two_fs *place, const struct kith_inode *inode, const char *name)
{
    struct kith_fs *fs = place->fs[TWO_OTHER];
    const struct kith_group *sub = &place->sub[TWO_OTHER]->dir->group;
    struct kith_link_name bears = {*sub, kith_bytes_make(name, strlen(name))};
    struct kith_inode_record row = {.type = KITH_TYPE_FILE, .file_id = inode->id, .names = &bears,
                                    .name_count = 1};
    struct kith_inode_record link = {.type = KITH_TYPE_LINK, .file_id = inode->id};
    const uint8_t own[KITH_DIR_ID_SIZE] = {7};
    struct kith_inode_record *records[] = {&row, &link};
    const struct kith_group groups[] = {kith_group_make(fs->volume, own), *sub};
    link.link = groups[0];
    for (unsigned i = 0; i < 2; i++) {
        struct kith_client_answer answer;
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_inode_record_encode(records[i], &buf);
        struct kith_put_update update = {
            .name = kith_bytes_make(name, i == 0 ? 0 : strlen(name)),
            .has_sibling = true,
            .value = kith_buf_bytes(&buf)};
        assert_int_equal(kith_rows_put(fs, &groups[i], KITH_DURABLE_OS, &update, 1, &answer), 0);
        kith_client_answer_release(&answer);
        kith_buf_release(&buf);
    }
}

/* What a mount has open stays at the row that it was opened from, while names lead to that: a name
 * that leads to another row of the same id is another file's, and its removal ends only that one.
 * What was written meanwhile is put into the row that it was read from. */
static void check_other_row(struct two_fs *place, struct kith_inode *inode, const char *name)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_content *content;
    const struct kith_group group = inode->share_group;
    put_other_row(place, inode, "c");
    assert_int_equal(kith_inode_open(fs, inode), 0);
    kith_dir_scan(fs, place->sub[TWO_MINE]);
    assert_int_equal(kith_group_compare(&inode->share_group, &group), 0);
    struct kith_inode *other = two_inode_at(fs, place->sub[TWO_MINE], "c");
    assert_non_null(other);
    assert_ptr_not_equal(other, inode);
    assert_true(other->id != inode->id);
    assert_int_equal(kith_inode_row_id(other), kith_inode_row_id(inode));
    assert_int_equal(kith_group_compare(&inode->share_group, &group), 0);
    kith_dir_scan(fs, place->sub[TWO_MINE]);
    assert_ptr_equal(two_inode_at(fs, place->sub[TWO_MINE], "c"), other);
    assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], name), inode);

    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    assert_int_equal(kith_content_write(content, 0, (const uint8_t *)"w", 1), KITH_OK);
    kith_inode_written(fs, inode, 1);
    two_work(two_job(fs, place->sub[TWO_MINE], NULL, "c", "", kith_do_unlink));
    assert_null(two_inode_at(fs, place->sub[TWO_MINE], "c"));
    assert_false(inode->unlinked);
    assert_int_equal(kith_inode_flush(fs, inode, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, inode);
    struct kith_inode *there = two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], name);
    assert_int_equal(there->size, 1);
    assert_int_equal(kith_group_compare(&there->share_group, &group), 0);
}

static void test_two_rows_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_OTHER];
    two_work(two_job(fs, place->dir[TWO_OTHER], NULL, "a", "", kith_do_mknod));
    two_work(two_job(fs, two_inode_at(fs, place->dir[TWO_OTHER], "a"), place->dir[TWO_OTHER], "b",
                     "", kith_do_link));
    check_other_row(place, two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "b"), "b");
}

static void test_two_rows_own(void **state)
{
    struct two_fs *place = *state;
    two_make_linked(place, "a");
    check_other_row(place, two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "a"), "a");
}

/* Who went under the number of the row's place has got another row, and kept the number; names lead
 * to the one that it had all the same. */
static void test_three_rows(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    const uint8_t own[KITH_DIR_ID_SIZE] = {8};
    const struct kith_group group = kith_group_make(fs->volume, own);
    two_make_linked(place, "a");
    struct kith_inode *inode = two_inode_at(fs, place->dir[TWO_MINE], "a");
    put_other_row(place, inode, "c");
    struct kith_inode *other = two_inode_at(fs, place->sub[TWO_MINE], "c");
    assert_ptr_not_equal(other, inode);
    pthread_mutex_lock(&fs->lock);
    kith_inode_hold(other);
    kith_link_share(other, &group, true);
    pthread_mutex_unlock(&fs->lock);
    struct kith_inode *third = two_inode_at(fs, place->sub[TWO_MINE], "c");
    assert_non_null(third);
    assert_ptr_not_equal(third, inode);
    assert_ptr_not_equal(third, other);
    assert_ptr_equal(two_inode_at(fs, place->sub[TWO_MINE], "c"), third);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, other);
    pthread_mutex_unlock(&fs->lock);
}

/* The row that memory knows has gone: the inode is where its names lead to now. */
static void test_row_moved(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_OTHER];
    two_work(two_job(fs, place->dir[TWO_OTHER], NULL, "a", "", kith_do_mknod));
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_OTHER], "a");
    two_work(two_job(fs, a, place->dir[TWO_OTHER], "b", "", kith_do_link));
    struct kith_inode *mine = two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "b");
    assert_true(mine->shared && !mine->share_own);
    two_work(two_job(fs, a, place->sub[TWO_OTHER], "c", "", kith_do_link));
    assert_ptr_equal(two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "b"), mine);
    assert_true(mine->share_own && mine->id == a->id);
    assert_ptr_equal(two_inode_at(place->fs[TWO_MINE], place->sub[TWO_MINE], "c"), mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_context_with_inode, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_context_of_none, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_rows_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_rows_own, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_three_rows, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_row_moved, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
