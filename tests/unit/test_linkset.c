/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What becomes of the row of a shared inode that no name refers to: it may go only as far as who
 * removed the names has seen it, and the rest comes back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <time.h>

#include "fs/files/files.h"
#include "fs/rows/rows.h"
#include "lib/two_fs.h"

#define VERSIONS_MAX 8u

/* A version of the row, by its birth time: it is copied with the record, and tells two apart. */
static void put_version(struct kith_fs *fs, const struct kith_inode *inode, int64_t mark)
{
    struct kith_inode_record record;
    struct kith_rowname name;
    struct kith_buf buf;
    struct kith_client_answer answer;
    struct kith_content *content;
    struct kith_content_image image;
    struct kith_arena arena;
    uint64_t generation;
    kith_buf_init(&buf);
    kith_arena_init(&arena, 0);
    kith_inode_record_of(inode, &record);
    assert_int_equal(kith_content_new(fs->store, kith_bytes_make(NULL, 0), &content), KITH_OK);
    assert_int_equal(kith_content_write(content, 0, (const uint8_t *)&mark, sizeof mark), KITH_OK);
    assert_int_equal(kith_content_flush(content, KITH_DURABLE_OS, KITH_CONTENT_INLINE_MAX, &arena,
                                        &image, &generation),
                     KITH_OK);
    record.contents = image.encoded;
    record.btime.sec = mark;
    kith_inode_record_encode(&record, &buf);
    kith_link_rowname(inode->share_own, inode->id, &name);
    /* no context: it stands beside what is there */
    struct kith_put_update update = {
        .name = kith_rowname_bytes(&name), .has_sibling = true, .value = kith_buf_bytes(&buf)};
    assert_int_equal(kith_rows_put(fs, &inode->share_group, KITH_DURABLE_OS, &update, 1, &answer),
                     0);
    kith_client_answer_release(&answer);
    kith_content_free(content);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

/* The name's row goes, and nobody tells the inode's. */
static void drop_name(struct kith_fs *fs, const struct kith_inode *dir, const char *name)
{
    struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
    struct kith_client_answer got, put;
    struct kith_put_update update = {.name = bytes};
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_rows_get(fs, &dir->dir->group, &bytes, 1, &got), 0);
    const struct kith_row *row = &got.result.u.rows.rows[0].row;
    assert_int_equal(kith_row_context(&arena, row, kith_row_winner(row), &update.context), KITH_OK);
    assert_int_equal(kith_rows_put(fs, &dir->dir->group, KITH_DURABLE_OS, &update, 1, &put), 0);
    kith_client_answer_release(&put);
    kith_client_answer_release(&got);
    kith_arena_release(&arena);
}

struct found {
    int64_t marks[VERSIONS_MAX]; /* of files that are no links, wherever they are */
    uint32_t count;
};

static void find_each(void *arg, struct kith_bytes name, const struct kith_row *row)
{
    struct found *found = arg;
    struct kith_rowname_parts parts;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; i < row->sibling_count && found->count < VERSIONS_MAX; i++) {
        struct kith_inode_record record;
        if (name.size > 0 && kith_rowname_parse(name, &parts) == KITH_OK &&
            parts.kind == KITH_ROWNAME_ENTRY && row->siblings[i].kind == KITH_SIBLING_VALUE &&
            kith_inode_record_decode(&arena, row->siblings[i].value, &record) == KITH_OK &&
            record.type == KITH_TYPE_FILE) {
            found->marks[found->count++] = record.btime.sec;
        }
    }
    kith_arena_release(&arena);
}

static bool found(struct two_fs *place, int64_t mark)
{
    struct found found = {.count = 0};
    kith_fake_each_row(place->cluster, find_each, &found);
    for (uint32_t i = 0; i < found.count; i++) {
        if (found.marks[i] == mark) {
            return true;
        }
    }
    return false;
}

static bool row_lives(struct kith_fs *fs, const struct kith_link_at *at)
{
    struct kith_linkset set;
    assert_int_equal(kith_linkset_read(fs, &at->group, at->own, at->id, &set), 0);
    bool live = set.live;
    kith_linkset_free(&set);
    return live;
}

/* The timer's thread may be at it. */
static void bring_back(struct kith_fs *fs, const struct kith_link_at *at)
{
    const struct timespec pause = {0, 1000000};
    uint64_t until = kith_mono_ns() + 10 * NSEC_PER_SEC;
    kith_link_left_end(fs, until);
    while (row_lives(fs, at) && kith_mono_ns() < until) {
        nanosleep(&pause, NULL);
    }
    assert_false(row_lives(fs, at));
}

static void recount(struct kith_fs *fs, struct kith_inode *inode)
{
    two_set_busy(fs, inode, true);
    assert_int_equal(kith_link_recount(fs, inode), 0);
    two_set_busy(fs, inode, false);
}

/* This mount has only read the file. The other one has removed its names, and has ended, or has not
 * told the row yet. What is in the row may be an edit that it has not seen. */
static void test_not_seen_by_who_removed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    two_make_linked(place, "a");
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    const struct kith_link_at at = {a->share_group, a->share_own, a->id};
    put_version(place->fs[TWO_OTHER], a, 7);
    drop_name(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "a");
    drop_name(place->fs[TWO_OTHER], place->sub[TWO_OTHER], "a");
    recount(fs, a);
    kith_link_left_start(fs);
    assert_true(row_lives(fs, &at));
    bring_back(fs, &at);
    assert_true(found(place, 7));
}

/* This mount has written to the file: all versions come back, not only the newest. */
static void test_all_versions_come_back(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    two_make_linked(place, "a");
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    const struct kith_link_at at = {a->share_group, a->share_own, a->id};
    put_version(place->fs[TWO_OTHER], a, 7);
    put_version(place->fs[TWO_OTHER], a, 8);
    a->wrote = true;
    drop_name(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "a");
    drop_name(place->fs[TWO_OTHER], place->sub[TWO_OTHER], "a");
    recount(fs, a);
    bring_back(fs, &at);
    assert_true(found(place, 7));
    assert_true(found(place, 8));
}

/* It comes back while it is open: what is written then is not taken for stored and dropped. */
static void test_written_after_it_came_back(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_content *content;
    two_make_linked(place, "a");
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    const struct kith_link_at at = {a->share_group, a->share_own, a->id};
    assert_int_equal(kith_inode_open(fs, a), 0);
    a->wrote = true;
    drop_name(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "a");
    drop_name(place->fs[TWO_OTHER], place->sub[TWO_OTHER], "a");
    recount(fs, a);
    bring_back(fs, &at);
    assert_int_equal(kith_inode_content(fs, a, &content), 0);
    assert_int_equal(kith_content_write(content, 0, (const uint8_t *)"b", 1), KITH_OK);
    kith_inode_written(fs, a, 1);
    assert_int_equal(kith_inode_flush(fs, a, KITH_DURABLE_OS), 0);
    assert_true(row_lives(fs, &at));
    recount(fs, a);
    bring_back(fs, &at);
    kith_inode_close(fs, a);
}

/* The last name has gone, and the row cannot be told. Until it can another mount writes to the
 * file: that stays, and what was there when the name was removed does not. */
static void test_told_later(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    two_make_linked(place, "a");
    drop_name(place->fs[TWO_OTHER], place->sub[TWO_OTHER], "a");
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    const struct kith_link_at at = {a->share_group, a->share_own, a->id};
    struct kith_link_name name = {place->dir[TWO_MINE]->dir->group, kith_bytes_make("a", 1)};
    two_set_busy(fs, a, true);
    pthread_mutex_lock(&fs->lock);
    assert_true(kith_inode_names_set(a, &name, 1));
    pthread_mutex_unlock(&fs->lock);
    drop_name(fs, place->dir[TWO_MINE], "a");
    kith_fake_fail_next(place->cluster, KITH_CLIENT_PUT, 1, KITH_EREFUSED, false);
    kith_link_tell(fs, a, NULL, 0, NULL);
    two_set_busy(fs, a, false);
    assert_true(a->unlinked);
    put_version(place->fs[TWO_OTHER], a, 7);
    bring_back(fs, &at);
    assert_true(found(place, 7));
}

/* What cannot be brought back now is tried again, not forgotten. */
static void test_tried_again(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    two_make_linked(place, "a");
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    const struct kith_link_at at = {a->share_group, a->share_own, a->id};
    struct kith_link_name name = {place->dir[TWO_MINE]->dir->group, kith_bytes_make("a", 1)};
    put_version(place->fs[TWO_OTHER], a, 7);
    drop_name(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "a");
    drop_name(place->fs[TWO_OTHER], place->sub[TWO_OTHER], "a");
    kith_fake_fail_next(place->cluster, KITH_CLIENT_PUT, 2, KITH_EREFUSED, false);
    pthread_mutex_lock(&fs->lock);
    kith_link_left(fs, &at, &name, kith_bytes_make(NULL, 0));
    pthread_mutex_unlock(&fs->lock);
    bring_back(fs, &at);
    assert_true(found(place, 7));
}

/* A put that was under way for long tells of a name that has gone, after everybody has counted. Who
 * knows that it has counts again when he meets the row. */
static void test_late_name(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *other = place->fs[TWO_OTHER];
    two_make_linked(place, "a");
    struct kith_inode *theirs = two_inode_at(other, place->dir[TWO_OTHER], "a");
    struct kith_link_name names[3] = {theirs->names[0], theirs->names[1], theirs->names[1]};
    bool after = kith_link_name_compare(&names[1], &names[0]) > 0;
    assert_int_equal(theirs->name_count, 2);
    assert_true(after);
    names[2].name = kith_bytes_make("gone", 4);
    fs->entry_ns = 10 * NSEC_PER_SEC;
    assert_null(two_inode_at(fs, place->dir[TWO_MINE], "gone"));
    assert_null(two_inode_at(fs, place->sub[TWO_MINE], "gone"));
    two_set_busy(other, theirs, true);
    assert_int_equal(kith_link_put_names(other, theirs, names, 3), 0);
    two_set_busy(other, theirs, false);

    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    pthread_mutex_lock(&fs->lock);
    bool soon = a->recount;
    pthread_mutex_unlock(&fs->lock);
    assert_true(soon);
    recount(fs, a);
    assert_int_equal(a->name_count, 2);
    struct kith_linkset set;
    assert_int_equal(kith_linkset_read(fs, &a->share_group, a->share_own, a->id, &set), 0);
    assert_int_equal(set.seen.record.name_count, 2);
    kith_linkset_free(&set);
}

/* A second name here, of a file that another mount gives one elsewhere: what the batch for it was
 * made from is over when it comes. */
struct late_link {
    struct kith_batch *batch;
    struct kith_group group;
};

static void late_link_make(struct kith_fs *fs, struct kith_inode *dir, struct kith_inode *inode,
                           const char *name, struct late_link *ret_link)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_entry *entry = NULL;
    struct kith_image image;
    uint32_t count = 0;
    assert_non_null(batch);
    assert_int_equal(kith_dir_entry(fs, dir, name, &entry), 0);
    two_set_busy(fs, inode, true);
    assert_int_equal(kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image), 0);
    struct kith_link_name *names = kith_link_names_with(&batch->arena, inode, NULL, entry, &count);
    assert_non_null(names);
    assert_int_equal(kith_link_row(fs, batch, inode, names, count, &image), 0);
    ret_link->group = inode->share_group;
    assert_int_equal(
        kith_link_name_row(fs, batch, entry, &entry->ctx, inode, &ret_link->group), 1);
    two_set_busy(fs, inode, false);
    kith_entry_unpin(fs, entry);
    ret_link->batch = batch;
}

static void late_link_put(struct kith_fs *fs, struct late_link *link)
{
    struct kith_client_answer answer;
    assert_int_equal(kith_batch_put(fs, link->batch, &link->group, &answer), 0);
    kith_client_answer_release(&answer);
    kith_batch_free(link->batch);
}

/* Two rows of one inode, by two mounts: "a" and "b" in d and "a" in sub lead to one in a group of
 * its own, "c" in d to the one in d. */
static struct kith_inode *two_rows(struct two_fs *place, struct kith_link_at *ret_was)
{
    struct kith_fs *fs = place->fs[TWO_MINE], *other = place->fs[TWO_OTHER];
    struct late_link link;
    two_work(two_job(other, place->dir[TWO_OTHER], NULL, "a", "", kith_do_mknod));
    struct kith_inode *theirs = two_inode_at(other, place->dir[TWO_OTHER], "a");
    two_work(two_job(other, theirs, place->dir[TWO_OTHER], "b", "", kith_do_link));
    struct kith_inode *a = two_inode_at(fs, place->dir[TWO_MINE], "a");
    assert_true(a->shared && !a->share_own);
    const struct kith_link_at was = {a->share_group, false, a->id};
    late_link_make(fs, place->dir[TWO_MINE], a, "c", &link);
    two_work(two_job(other, theirs, place->sub[TWO_OTHER], "a", "", kith_do_link));
    assert_true(theirs->share_own);
    late_link_put(fs, &link);
    assert_true(row_lives(fs, &was));
    *ret_was = was;
    return theirs;
}

static void all_lead_to(struct kith_fs *fs, const struct two_fs *place, unsigned mount,
                        const struct kith_inode *inode)
{
    assert_ptr_equal(two_inode_at(fs, place->dir[mount], "a"), inode);
    assert_ptr_equal(two_inode_at(fs, place->dir[mount], "b"), inode);
    assert_ptr_equal(two_inode_at(fs, place->dir[mount], "c"), inode);
    assert_ptr_equal(two_inode_at(fs, place->sub[mount], "a"), inode);
    assert_int_equal(inode->name_count, 4);
}

/* Who counts makes them one, with all names; memory has it there. */
static void join_rows(struct two_fs *place, struct kith_inode *a, struct kith_inode *theirs,
                      const struct kith_link_at *was)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    for (unsigned i = 0; i < 3; i++) { /* two versions, and then no more */
        recount(fs, a);
    }
    bring_back(fs, was);
    assert_true(a->shared && a->share_own && a->name_count == 4 && !a->beside);
    all_lead_to(fs, place, TWO_MINE, a);
    all_lead_to(place->fs[TWO_OTHER], place, TWO_OTHER, theirs);
    recount(fs, a);
    all_lead_to(fs, place, TWO_MINE, a);
}

/* Memory has met both rows, and has them as two files until somebody counts; or the one in the
 * directory alone. */
static void test_two_rows(void **state)
{
    struct two_fs *place = *state;
    struct kith_link_at was;
    struct kith_inode *theirs = two_rows(place, &was);
    struct kith_inode *a = two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "c");
    struct kith_inode *other = two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "a");
    assert_ptr_not_equal(other, a);
    assert_true(other->share_own && !a->share_own);
    assert_true(a->beside && a->recount);
    join_rows(place, a, theirs, &was);
}

static void test_two_rows_one_met(void **state)
{
    struct two_fs *place = *state;
    struct kith_link_at was;
    struct kith_inode *theirs = two_rows(place, &was);
    struct kith_inode *a = kith_inode_find(place->fs[TWO_MINE], was.id);
    assert_non_null(a);
    assert_false(a->share_own || a->beside);
    join_rows(place, a, theirs, &was);
}

/* They hold different contents: those of the one that goes come back. */
static void test_two_rows_that_differ(void **state)
{
    struct two_fs *place = *state;
    struct kith_link_at was;
    struct kith_inode *theirs = two_rows(place, &was);
    struct kith_inode *a = kith_inode_find(place->fs[TWO_MINE], was.id);
    assert_non_null(a);
    put_version(place->fs[TWO_OTHER], a, 7);
    join_rows(place, a, theirs, &was);
    assert_true(found(place, 7));
}

/* Two mounts changed the row at once: one added a name, the newest version does not have it. Who
 * gives the row another place takes the name along, else it would refer to none. */
static void test_names_of_all_versions(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_OTHER];
    struct kith_inode *dir = place->dir[TWO_OTHER];
    two_work(two_job(fs, dir, NULL, "a", "", kith_do_mknod));
    struct kith_inode *a = two_inode_at(fs, dir, "a");
    two_work(two_job(fs, a, dir, "b", "", kith_do_link));
    assert_true(a->shared && !a->share_own);
    struct kith_link_name name = {dir->dir->group, kith_bytes_make("a", 1)};
    pthread_mutex_lock(&fs->lock);
    assert_true(kith_inode_names_set(a, &name, 1));
    pthread_mutex_unlock(&fs->lock);
    put_version(fs, a, 7);

    struct kith_fs *mine = place->fs[TWO_MINE];
    struct kith_inode *there = two_inode_at(mine, place->dir[TWO_MINE], "a");
    two_work(two_job(mine, there, place->sub[TWO_MINE], "c", "", kith_do_link));
    assert_true(there->share_own);
    assert_ptr_equal(two_inode_at(mine, place->dir[TWO_MINE], "a"), there);
    assert_ptr_equal(two_inode_at(mine, place->dir[TWO_MINE], "b"), there);
    assert_ptr_equal(two_inode_at(mine, place->sub[TWO_MINE], "c"), there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_seen_by_who_removed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_all_versions_come_back, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_written_after_it_came_back, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_told_later, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_tried_again, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_late_name, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_rows, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_rows_one_met, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_rows_that_differ, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_names_of_all_versions, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
