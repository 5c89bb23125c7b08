/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Directories that no name leads to, where the mounts that could have told have ended: the check finds
 * them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "fs/orphans/orphans.h"
#include "fs/orphans/place.h"
#include "fs/rows/rows.h"
#include "lib/two_fs.h"

static bool go_on(void *arg)
{
    (void)arg;
    return true;
}

/* before: of the wall clock; UINT64_MAX: whatever is said of a directory is old enough. */
static struct kith_orphans check(struct two_fs *place, unsigned mount, uint64_t before)
{
    struct kith_orphans orphans = {0};
    assert_int_equal(kith_check_all(place->fs[mount], before, go_on, NULL, &orphans), 0);
    assert_int_equal(orphans.failed, 0);
    return orphans;
}

/* Mends that much, and nothing the second time, at either mount. */
static void check_finds(struct two_fs *place, uint64_t back, uint64_t found)
{
    struct kith_orphans orphans = check(place, TWO_OTHER, 1);
    assert_int_equal(orphans.back + orphans.found, 0); /* all of it is young */
    orphans = check(place, TWO_OTHER, UINT64_MAX);
    assert_int_equal(orphans.back, back);
    assert_int_equal(orphans.found, found);
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        orphans = check(place, i, UINT64_MAX);
        assert_int_equal(orphans.back + orphans.found, 0);
    }
}

static void make_file(struct two_fs *place, unsigned mount, struct kith_inode *in, const char *name)
{
    two_work(two_job(place->fs[mount], in, NULL, name, "", kith_do_mknod));
    assert_int_equal(kith_inode_flush(place->fs[mount],
                                      two_inode_at(place->fs[mount], in, name), KITH_DURABLE_OS),
                     0);
}

/* As the other mount sees it. */
static struct kith_inode *at(struct two_fs *place, struct kith_inode *dir, const char *name)
{
    return dir == NULL ? NULL : two_inode_at(place->fs[TWO_OTHER], dir, name);
}

static struct kith_inode *found(struct two_fs *place, const char *name)
{
    return at(place, at(place, place->fs[TWO_OTHER]->root, "lost+found"), name);
}

/* A row goes, or gets another value, behind the mounts' backs. */
static void put_raw(struct two_fs *place, const struct kith_group *group, const char *name,
                    const struct kith_inode_record *record, enum kith_sibling_kind kind)
{
    struct kith_fs *fs = place->fs[TWO_OTHER];
    struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
    struct kith_client_answer answer;
    struct kith_arena arena;
    struct kith_buf buf;
    struct kith_put_update update = {.name = bytes, .has_sibling = record != NULL};
    update.kind = (uint8_t)kind;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    assert_int_equal(kith_rows_get(fs, group, &bytes, 1, &answer), 0);
    const struct kith_row bare = {answer.result.u.rows.rows[0].row.clock, 0, NULL};
    assert_int_equal(kith_row_context(&arena, &bare, NULL, &update.context), KITH_OK);
    kith_client_answer_release(&answer);
    if (record != NULL) {
        kith_inode_record_encode(record, &buf);
        update.value = kith_buf_bytes(&buf);
    }
    assert_int_equal(kith_rows_put(fs, group, KITH_DURABLE_OS, &update, 1, &answer), 0);
    kith_client_answer_release(&answer);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

static void test_all_well(void **state)
{
    struct two_fs *place = *state;
    char name[16];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%u", i);
        struct kith_inode *dir =
            two_made_dir(place->fs[TWO_OTHER], place->sub[TWO_OTHER], name);
        make_file(place, TWO_OTHER, dir, "file");
    }
    two_make_linked(place, "linked"); /* has a group of its own, too */
    two_work(two_job(place->fs[TWO_OTHER], place->sub[TWO_OTHER], place->dir[TWO_OTHER], "n3",
                     "moved", kith_do_rename));
    two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "goes");
    two_work(two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER], NULL, "goes", "", kith_do_rmdir));
    check_finds(place, 0, 0);
    assert_true(check(place, TWO_MINE, UINT64_MAX).looked >= 22);
    assert_null(at(place, place->fs[TWO_OTHER]->root, "lost+found"));
    assert_null(at(place, place->dir[TWO_OTHER], "goes"));
}

/* One mount removes it and another makes something in it; that one does not learn of it. */
static void test_removed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *mine = place->fs[TWO_MINE], *other = place->fs[TWO_OTHER];
    struct kith_inode *outer = two_made_dir(mine, place->dir[TWO_MINE], "outer");
    struct kith_inode *inner = two_made_dir(mine, outer, "inner");
    struct kith_inode *theirs = at(place, place->dir[TWO_OTHER], "outer");
    two_work(two_job(other, theirs, NULL, "inner", "", kith_do_rmdir));
    two_work(two_job(other, place->dir[TWO_OTHER], NULL, "outer", "", kith_do_rmdir));
    make_file(place, TWO_MINE, inner, "file");
    struct kith_orphans orphans = check(place, TWO_OTHER, UINT64_MAX);
    assert_in_range(orphans.back, 1, 2); /* what is above one that comes back the timer may have brought */
    assert_int_equal(orphans.found, 0);
    check_finds(place, 0, 0);
    assert_non_null(
        at(place, at(place, at(place, place->dir[TWO_OTHER], "outer"), "inner"), "file"));
}

/* Its name is gone and nothing says why; something else may have it by then, and the one beside it. */
static void test_nameless(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *other = place->fs[TWO_OTHER];
    struct kith_group parent = place->dir[TWO_OTHER]->dir->group;
    for (unsigned round = 0; round < 3; round++) {
        struct kith_inode *dir = two_made_dir(other, place->dir[TWO_OTHER], "a");
        struct kith_inode *deep = two_made_dir(other, dir, "deep");
        char beside[32];
        uint32_t mark;
        memcpy(&mark, dir->dir->group.bytes + 4, sizeof mark);
        snprintf(beside, sizeof beside, "a.conflict-%08x", mark);
        make_file(place, TWO_OTHER, deep, "file");
        put_raw(place, &parent, "a", NULL, KITH_SIBLING_VALUE);
        if (round > 0) {
            make_file(place, TWO_OTHER, place->dir[TWO_OTHER], "a");
        }
        if (round > 1) {
            make_file(place, TWO_OTHER, place->dir[TWO_OTHER], beside);
        }
        check_finds(place, round < 2 ? 1 : 0, round < 2 ? 0 : 1);
        struct kith_inode *back =
            round == 0   ? at(place, place->dir[TWO_OTHER], "a")
            : round == 1 ? at(place, place->dir[TWO_OTHER], beside)
                         : found(place, "a");
        assert_non_null(at(place, at(place, back, "deep"), "file"));
        if (round == 0) {
            two_work(two_job(other, place->dir[TWO_OTHER], place->sub[TWO_OTHER], "a", "first",
                             kith_do_rename));
        } else if (round == 1) {
            two_work(
                two_job(other, place->dir[TWO_OTHER], NULL, "a", "", kith_do_unlink));
        }
    }
}

/* An empty one that has no name stays away: it was removed, or never came to be. */
static void test_empty(void **state)
{
    struct two_fs *place = *state;
    struct kith_inode *dir = two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "a");
    assert_non_null(dir);
    put_raw(place, &place->dir[TWO_OTHER]->dir->group, "a", NULL, KITH_SIBLING_VALUE);
    check_finds(place, 0, 0);
    assert_null(at(place, place->dir[TWO_OTHER], "a"));
}

/* The directory that it was in is gone without a trace, or is removed and empty. */
static void test_no_parent(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *other = place->fs[TWO_OTHER];
    for (unsigned named = 0; named < 2; named++) { /* an empty one, as above, or with a name */
        struct kith_inode *outer = two_made_dir(other, place->dir[TWO_OTHER], "outer");
        struct kith_group group = outer->dir->group, parent = place->dir[TWO_OTHER]->dir->group;
        two_made_dir(other, outer, "empty");
        put_raw(place, &group, "", NULL, KITH_SIBLING_VALUE);
        if (named == 0) {
            put_raw(place, &group, "empty", NULL, KITH_SIBLING_VALUE);
        }
        put_raw(place, &parent, "outer", NULL, KITH_SIBLING_VALUE);
        check_finds(place, 0, named);
    }
    for (unsigned marked = 0; marked < 2; marked++) {
        char name[8];
        snprintf(name, sizeof name, "keep%u", marked);
        struct kith_inode *outer = two_made_dir(other, place->dir[TWO_OTHER], "outer");
        struct kith_inode *inner = two_made_dir(other, outer, name);
        struct kith_group group = outer->dir->group, parent = place->dir[TWO_OTHER]->dir->group;
        make_file(place, TWO_OTHER, inner, "file");
        struct kith_inode_record record;
        kith_inode_record_of(outer, &record);
        record.has_parent = record.removed = true;
        record.parent = parent;
        record.parent_name = kith_bytes_make("outer", 5);
        put_raw(place, &group, "", marked != 0 ? &record : NULL,
                marked != 0 ? KITH_SIBLING_MARK : KITH_SIBLING_VALUE);
        if (marked != 0) {
            put_raw(place, &group, name, NULL, KITH_SIBLING_VALUE);
        }
        put_raw(place, &parent, "outer", NULL, KITH_SIBLING_VALUE);
        check_finds(place, 0, 1);
        assert_non_null(at(place, found(place, name), "file"));
    }
}

/* Two mounts move directories into one another, and end. */
static void test_cycle(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *mine = place->fs[TWO_MINE], *other = place->fs[TWO_OTHER];
    struct kith_inode *a[TWO_MOUNTS], *b[TWO_MOUNTS], *deep;
    a[TWO_OTHER] = two_made_dir(other, place->dir[TWO_OTHER], "a");
    b[TWO_OTHER] = two_made_dir(other, place->dir[TWO_OTHER], "b");
    deep = two_made_dir(other, b[TWO_OTHER], "deep");
    make_file(place, TWO_OTHER, a[TWO_OTHER], "file");
    a[TWO_MINE] = two_inode_at(mine, place->dir[TWO_MINE], "a");
    b[TWO_MINE] = two_inode_at(mine, place->dir[TWO_MINE], "b");
    two_work(two_job(mine, place->dir[TWO_MINE], a[TWO_MINE], "b", "b", kith_do_rename));
    two_work(two_job(other, place->dir[TWO_OTHER], deep, "a", "a", kith_do_rename));
    check_finds(place, 0, 1);
    struct kith_inode *moved = found(place, "a"); /* the later one */
    assert_non_null(at(place, moved, "file"));
    assert_non_null(at(place, at(place, moved, "b"), "deep"));
    assert_null(at(place, at(place, at(place, moved, "b"), "deep"), "a"));
}

static bool end(void *arg)
{
    unsigned *left = arg;
    return (*left)-- > 0;
}

/* It ends early when it is told to, and where nodes do not answer. */
static void test_ends(void **state)
{
    struct two_fs *place = *state;
    struct kith_orphans orphans = {0};
    unsigned left = 1;
    assert_int_equal(kith_check_all(place->fs[TWO_MINE], 1, end, &left, &orphans), ECANCELED);
    assert_int_equal(orphans.looked, 2);
    kith_fake_set_unreachable(place->cluster, true);
    assert_int_not_equal(kith_check_all(place->fs[TWO_MINE], 1, go_on, NULL, &orphans), 0);
    kith_fake_set_unreachable(place->cluster, false);
}

struct rival {
    struct two_fs *place;
    bool won;
};

/* Another mount notes its claim in the moment in which this one waits. */
static bool rival_claims(void *arg)
{
    struct rival *rival = arg;
    uint64_t next = 0;
    assert_int_equal(kith_check_claim(rival->place->fs[TWO_OTHER], 0, go_on, NULL, &rival->won,
                                      &next),
                     0);
    return true;
}

static void test_claim(void **state)
{
    struct two_fs *place = *state;
    struct rival rival = {place, false};
    uint64_t next = 0;
    bool mine = false;
    assert_int_equal(
        kith_check_claim(place->fs[TWO_MINE], 60000, rival_claims, &rival, &mine, &next), 0);
    assert_true(rival.won && !mine);
    for (unsigned i = 0; i < TWO_MOUNTS; i++) { /* for a while it is done */
        assert_int_equal(
            kith_check_claim(place->fs[i], 60000, go_on, NULL, &mine, &next), 0);
        assert_false(mine);
        assert_in_range(next, 1, 60000);
    }
    assert_int_equal(kith_check_claim(place->fs[TWO_MINE], 0, go_on, NULL, &mine, &next), 0);
    assert_true(mine);
    unsigned none = 0;
    assert_int_equal(kith_check_claim(place->fs[TWO_MINE], 0, end, &none, &mine, &next),
                     ECANCELED);
    assert_false(mine);
    assert_int_equal(kith_check_claim(place->fs[TWO_OTHER], 60000, go_on, NULL, &mine, &next), 0);
    assert_true(mine); /* who ended in that moment holds up nobody */
    assert_int_equal(check(place, TWO_MINE, UINT64_MAX).found, 0); /* the row is no directory */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_well, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_nameless, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_empty, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_no_parent, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_cycle, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_ends, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_claim, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
