/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Questions in a large directory that bring the names behind the one that is asked for: how many
 * requests there are, in order and in none; and that what is known by them is right, whatever is
 * changed meanwhile and wherever a window is cut. The mount's tables over a cluster in memory; no
 * kernel. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/random.h"
#include "neighbours_ask.h"

#define FIRST 16u /* rows of a window at first */

/* ---- How many ---- */

static void test_in_order(void **state)
{
    struct place *place = *state;
    const uint32_t rows[] = {FIRST, FIRST * 4, FIRST * 16, FIRST * 32, PAGE, PAGE};
    uint32_t number = MIDDLE;
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask_number(place, number);
        assert_asked(place, 0, 1);
        /* the last one may have more rows: it is left out */
        assert_int_equal(known_from(place, number), rows[i] - 1);
        for (uint32_t end = number + rows[i] - 1; number < end; number++) {
            ask_number(place, number);
        }
        assert_asked(place, 0, 0);
    }
    for (; number < LARGE; number++) {
        ask_number(place, number);
    }
    uint64_t gets, scans;
    asked(place, &gets, &scans);
    assert_int_equal(gets, 0);
    assert_true(scans <= LARGE / PAGE);
}

/* Two go through it at once, one of whom leaves out a name now and then. */
static void test_two_streams(void **state)
{
    struct place *place = *state;
    uint64_t gets, scans;
    for (uint32_t i = 0; i < 4000; i++) {
        ask_number(place, MIDDLE + i);
        if (i % 3 != 0) {
            ask_number(place, MIDDLE + 10000 + i);
        }
    }
    asked(place, &gets, &scans);
    assert_true(gets + scans < 40);
}

static void test_no_order(void **state)
{
    struct place *place = *state;
    struct test_random random = {7};
    uint64_t gets, scans;
    for (uint32_t i = 0; i < 900; i++) {
        ask_number(place, MIDDLE + test_random_below(&random, LARGE - MIDDLE));
    }
    asked(place, &gets, &scans);
    /* it was loaded in vain (16 pages); and few more */
    assert_true(scans < LOAD_PAGES_MAX + 12);
    assert_true(gets > 700);
    (void)grow(place, MIDDLE + 3000); /* it is noticed when there is order */
    asked(place, &gets, &scans);
    assert_true(gets < 300);
    assert_true(scans < 20);
}

static void test_shrink(void **state)
{
    struct place *place = *state;
    uint32_t number = grow(place, MIDDLE), before = PAGE * 2;
    uint32_t rows = PAGE * 2;
    for (uint32_t i = 0; rows > 1; i++) {
        assert_true(i < 10);
        ask_number(place, number); /* and none of those behind it */
        rows = known_from(place, number);
        assert_true(rows <= before / 2 || rows == 1);
        number += rows;
        before = rows;
    }
    count_anew(place);
    for (uint32_t i = 0; i < 100; i++) {
        ask_number(place, LARGE - 1 - 17 * i);
    }
    uint64_t gets, scans;
    asked(place, &gets, &scans);
    assert_true(scans < LOAD_PAGES_MAX + 8);
}

/* A name is asked for before it is made: the window tells which are not there. */
static void test_new_names(void **state)
{
    struct place *place = *state;
    uint64_t gets, scans;
    char name[32];
    for (uint32_t i = 0; i < 600; i++) {
        /* between others; or behind the last, where others were removed */
        snprintf(name, sizeof name, "%c%05unew", i < 300 ? 'f' : 'n', MIDDLE + i);
        if (i >= 300) {
            theirs(place, name, 7000000 + i);
            theirs(place, name, 0);
        }
    }
    count_anew(place);
    for (uint32_t i = 0; i < 600; i++) {
        if (i == 300) { /* what was told of is asked for alone, but the others were not */
            asked(place, &gets, &scans);
            assert_true(gets + scans < LOAD_PAGES_MAX + 8);
        }
        snprintf(name, sizeof name, "%c%05unew", i < 300 ? 'f' : 'n', MIDDLE + i);
        assert_int_equal(ask(place, name), 0);
        work(place, place->dir, name, kith_do_mknod);
        assert_int_not_equal(ask(place, name), 0);
    }
    asked(place, &gets, &scans);
    assert_true(scans < LOAD_PAGES_MAX + 12);
}

/* There were files of these names, whose rows may yet be there: no others come with the scan. */
static void test_new_names_again(void **state)
{
    struct place *place = *state;
    char name[32];
    uint64_t gets, scans;
    for (uint32_t i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "n%05u", i);
        theirs(place, name, 7000000 + i);
        theirs(place, name, 0);
    }
    evict_all(place);
    count_anew(place);
    for (uint32_t i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "n%05u", i);
        assert_int_equal(ask(place, name), 0);
        work(place, place->dir, name, kith_do_mknod);
    }
    asked(place, &gets, &scans);
    assert_true(gets + scans < LOAD_PAGES_MAX + 10);
}

/* All that it made may leave the table as it goes on. */
static void test_new_names_leave(void **state)
{
    struct place *place = *state;
    char name[32];
    uint64_t gets, scans;
    for (uint32_t i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "n%05u", i);
        assert_int_equal(ask(place, name), 0);
        work(place, place->dir, name, kith_do_mknod);
        if (i >= 10) {
            snprintf(name, sizeof name, "n%05u", i - 10);
            evict(place, name);
            assert_false(known(place, name));
        }
    }
    asked(place, &gets, &scans);
    assert_true(gets + scans < 20);
    snprintf(name, sizeof name, "n%05u", 3);
    assert_int_not_equal(ask(place, name), 0);
}

/* What is known of all names is asked for one by one: the few that were told of. */
static void test_told_of_few(void **state)
{
    struct place *place = *state;
    uint32_t number = grow(place, MIDDLE);
    char name[16];
    for (uint32_t i = 0; i < 100; i++) {
        name_of(name, number - 200 + i);
        theirs(place, name, 7000000 + i);
    }
    count_anew(place);
    for (uint32_t i = 0; i < 100; i++) {
        name_of(name, number - 200 + i);
        assert_int_equal(ask(place, name), 7000000 + i);
    }
    assert_asked(place, 100, 0);
}

/* ---- What is known ---- */

static void test_missing(void **state)
{
    struct place *place = *state;
    assert_int_equal(ask(place, "f20000x"), 0);
    assert_asked(place, 0, 1);
    assert_true(known(place, "f20000x"));
    assert_true(known(place, "f20003"));
    assert_true(known(place, "f20001x"));
    assert_int_equal(ask(place, "f20003.lock"), 0);
    assert_asked(place, 0, 0);
    assert_false(known(place, "f20000")); /* it is before it */
    assert_false(known(place, "f20000wx")); /* and nothing is claimed there */
    assert_false(known(place, "f19999x"));
    assert_false(known(place, "f30000x"));
    theirs(place, "f20000x", 7000000);
    assert_int_equal(ask(place, "f20000x"), 7000000);
    theirs(place, "f20002x", 7000002);
    assert_int_equal(ask(place, "f20002x"), 7000002);
    assert_true(known(place, "f20001y"));
    evict(place, "f20002x"); /* it is there, and nobody remembers it */
    assert_false(known(place, "f20002x"));
    assert_false(known(place, "f20001z"));
    assert_true(known(place, "f20002y"));
    assert_int_equal(ask(place, "f20002x"), 7000002);
    evict(place, "f20001y"); /* of which all is known as before */
    assert_true(known(place, "f20003y"));
    count_anew(place);
    assert_int_equal(ask(place, "z"), 0); /* behind the end, */
    assert_true(known(place, "zz"));
    assert_true(known(place, "\xff\xff"));
    theirs(place, "zz", 7000003);
    assert_int_equal(ask(place, "zz"), 7000003); /* and no more */
    theirs(place, "z", 7000001);
    assert_int_equal(ask(place, "z"), 7000001);
}

/* Before the name are so many rows that the scan does not come to it. */
static void test_not_covered(void **state)
{
    struct place *place = *state;
    char name[8] = "f\xff\x01";
    for (uint32_t i = 0; i < 2 * FIRST; i++) {
        name[2] = (char)(i + 1);
        theirs(place, name, 7000000 + i);
    }
    count_anew(place);
    assert_int_equal(ask(place, "g"), 0);
    assert_asked(place, 1, 1);
    theirs(place, "g", 8000000);
    anew(place);
    evict_all(place);
    assert_int_equal(ask(place, "g"), 8000000);
}

static void mode_put(struct place *place, uint32_t number, mode_t mode)
{
    const struct kith_group group = place->dir->dir->group;
    struct kith_attr_record record = {.file_id = FIRST_ID + number, .changed = KITH_ATTR_MODE};
    struct kith_put_update update = {.has_sibling = true};
    struct kith_rowname row;
    struct kith_buf buf;
    char name[16];
    record.attrs.have = KITH_ATTR_MODE;
    record.attrs.mode = mode;
    record.attrs.mode_stamp = kith_wall_time();
    kith_buf_init(&buf);
    kith_attr_record_encode(&record, &buf);
    name_of(name, number);
    kith_rowname_attr(kith_bytes_make(name, strlen(name)), &row);
    update.name = kith_rowname_bytes(&row);
    update.value = kith_buf_bytes(&buf);
    put(place, &group, &update, 1);
    kith_buf_release(&buf);
}

static void xattrs_put(struct place *place, uint32_t number, uint32_t count)
{
    const struct kith_group group = place->dir->dir->group;
    struct kith_put_update update = {.has_sibling = true, .value = kith_bytes_make("value", 5)};
    struct kith_rowname row;
    char name[16], attribute[16];
    name_of(name, number);
    for (uint32_t i = 0; i < count; i++) {
        int size = snprintf(attribute, sizeof attribute, "user.%u", i);
        assert_int_equal(kith_rowname_xattr(kith_bytes_make(name, strlen(name)),
                                            kith_bytes_make(attribute, (size_t)size), &row),
                         KITH_OK);
        update.name = kith_rowname_bytes(&row);
        put(place, &group, &update, 1);
    }
}

/* What stands beside a name may be behind the cut. */
static void test_cut(void **state)
{
    struct place *place = *state;
    char name[16];
    mode_t mode = 0;
    mode_put(place, MIDDLE + FIRST - 1, 0600); /* a row behind the cut */
    ask_number(place, MIDDLE);
    name_of(name, MIDDLE + FIRST - 2);
    assert_true(known(place, name));
    name_of(name, MIDDLE + FIRST - 1);
    assert_false(known(place, name));
    assert_int_equal(ask_mode(place, name, &mode), FIRST_ID + MIDDLE + FIRST - 1);
    assert_int_equal(mode, 0600);
    /* the same of the name that is asked for: of its rows only the first ones come */
    const uint32_t number = MIDDLE + 5000;
    mode_put(place, number, 0604);
    xattrs_put(place, number, 2 * FIRST);
    anew(place);
    name_of(name, number);
    assert_int_equal(ask_mode(place, name, &mode), FIRST_ID + number);
    assert_int_equal(mode, 0604);
    /* or the first alone, where others were before it */
    char before[16] = "f30000\xff\x01";
    for (uint32_t i = 0; i < FIRST - 1; i++) {
        before[7] = (char)(i + 1);
        theirs(place, before, 7000000 + i);
        theirs(place, before, 0);
    }
    mode_put(place, 30001, 0606);
    anew(place);
    count_anew(place);
    assert_int_equal(ask_mode(place, "f30001", &mode), FIRST_ID + 30001);
    assert_int_equal(mode, 0606);
    assert_asked(place, 1, 1);
}

/* The rows of one name are more than a window holds: it tells nothing, least of all of that one. */
static void test_cut_first(void **state)
{
    struct place *place = *state;
    xattrs_put(place, MIDDLE, 2 * FIRST);
    anew(place);
    evict_all(place);
    hold_scan(place, "f20000");
    kith_fake_hold(place->cluster, KITH_CLIENT_GET, true); /* by which it is asked for then */
    struct kith_fake_counts counts;
    kith_fake_counts(place->cluster, &counts);
    const uint64_t scans = counts.ops[KITH_CLIENT_SCAN];
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    while (counts.ops[KITH_CLIENT_SCAN] == scans || counts.under_way == 0 || counts.calling > 0) {
        nanosleep(&(struct timespec){0, 100000}, NULL);
        kith_fake_counts(place->cluster, &counts);
    }
    assert_false(known(place, "f20000"));
    held = 0;
    kith_fake_hold(place->cluster, KITH_CLIENT_GET, false);
    await_quiet(place);
    assert_int_equal(ask(place, "f20000"), FIRST_ID + MIDDLE);
}

/* By a question that is under way. */
static void await_known(struct place *place, const char *name)
{
    const struct timespec tick = {0, 1000000};
    for (uint32_t i = 0; !known(place, name); i++) {
        assert_true(i < 5000);
        nanosleep(&tick, NULL);
    }
}

static void test_told_meanwhile(void **state)
{
    struct place *place = *state;
    hold_scan(place, "f20000");
    theirs(place, "f20000", 7000000); /* the one that is asked for */
    theirs(place, "f20003", 7000003);
    theirs(place, "f20004", 0);
    theirs(place, "f20005x", 7000005);
    struct kith_bytes told = kith_bytes_make("f20006", 6); /* what the scan may not have seen */
    assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &told, 1), 1);
    ask_number(place, MIDDLE + 7); /* meanwhile others are asked for alone */
    let_go(place);
    await_known(place, "f20000"); /* it is asked for again */
    assert_false(known(place, "f20003"));
    assert_false(known(place, "f20004"));
    assert_false(known(place, "f20005x"));
    assert_false(known(place, "f20006"));
    assert_true(known(place, "f20002"));
    assert_true(known(place, "f20007"));
    assert_int_equal(ask(place, "f20000"), 7000000);
    assert_int_equal(ask(place, "f20003"), 7000003);
    assert_int_equal(ask(place, "f20004"), 0);
    assert_int_equal(ask(place, "f20005x"), 7000005);
    /* what was told of has left the table since: nobody remembers which name it was */
    hold_scan(place, "f25000");
    told = kith_bytes_make("f25003", 6);
    assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &told, 1), 1);
    evict(place, "f25003");
    let_go(place);
    assert_false(known(place, "f25003"));
    /* the missing one was told of, and may have been made behind what the scan saw */
    hold_scan(place, "f26000x");
    told = kith_bytes_make("f26000x", 7);
    assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &told, 1), 1);
    let_go(place);
    assert_false(known(place, "f26000x"));
    /* it was made meanwhile */
    hold_scan(place, "f27000x");
    theirs(place, "f27000x", 7000009);
    let_go(place);
    assert_int_equal(ask(place, "f27000x"), 7000009);
}

/* What this mount has changed since the scan began is newer. */
static void test_own_meanwhile(void **state)
{
    struct place *place = *state;
    hold_scan(place, "f20000x");
    work(place, place->dir, "f20003", kith_do_unlink);
    work(place, place->dir, "f20000x", kith_do_mknod);
    let_go(place);
    assert_int_equal(ask(place, "f20003"), 0);
    assert_int_not_equal(ask(place, "f20000x"), 0);
    struct kith_fake_counts counts;
    kith_fake_counts(place->cluster, &counts);
    assert_int_equal(counts.conflicts, 0);
}

/* What was made since the scan began, and has left the table before it came, is there. */
static void test_left_meanwhile(void **state)
{
    struct place *place = *state;
    anew(place);
    struct kith_job *job = job_for(place, "g00000");
    pthread_mutex_lock(&place->fs->lock);
    assert_int_equal(kith_near_take(place->dir, job->name), FIRST);
    pthread_mutex_unlock(&place->fs->lock);
    job->load = ++place->fs->load_count;
    job->started = kith_mono_ns();
    work(place, place->dir, "g00003", kith_do_mknod);
    work(place, place->dir, "g00005", kith_do_mknod);
    evict(place, "g00003");
    const struct kith_client_result nothing = {.err = KITH_OK};
    struct kith_entry *entry = kith_near_saw(job, place->dir, &nothing);
    assert_non_null(entry);
    assert_null(entry->inode);
    kith_entry_unpin(place->fs, entry);
    kith_job_begin(job);
    kith_job_end(job);
    assert_false(known(place, "g00001")); /* nothing is said of what is before it, either */
    assert_false(known(place, "g00003"));
    assert_true(known(place, "g00004"));
    assert_int_not_equal(ask(place, "g00003"), 0);
    assert_int_not_equal(ask(place, "g00005"), 0);
}

/* The watch became another one after the scan was taken: what left before that is not remembered. */
static void test_another_watch_meanwhile(void **state)
{
    struct place *place = *state;
    anew(place);
    struct kith_job *job = job_for(place, "g00000");
    pthread_mutex_lock(&place->fs->lock);
    assert_int_equal(kith_near_take(place->dir, job->name), FIRST);
    pthread_mutex_unlock(&place->fs->lock);
    const struct kith_bytes none = {NULL, 0};
    (void)kith_fake_tell(place->cluster, &place->dir->dir->group, &none, 0);
    pthread_mutex_lock(&place->fs->lock);
    assert_int_not_equal(kith_watch_live(place->dir), 0);
    place->dir->dir->large = true;
    assert_int_equal(kith_near_take(place->dir, "h"), 0); /* one is under way */
    pthread_mutex_unlock(&place->fs->lock);
    job->load = ++place->fs->load_count;
    job->started = kith_mono_ns();
    const struct kith_client_result nothing = {.err = KITH_OK};
    struct kith_entry *entry = kith_near_saw(job, place->dir, &nothing);
    assert_non_null(entry);
    kith_entry_unpin(place->fs, entry);
    kith_job_begin(job);
    kith_job_end(job);
    assert_false(known(place, "g00004"));
}

/* A put of unknown outcome may be carried out behind the scan. */
static void test_doubt(void **state)
{
    struct place *place = *state;
    kith_fake_fail_next(place->cluster, KITH_CLIENT_PUT, 1, KITH_EUNKNOWN, false);
    work(place, place->dir, "g00003", kith_do_mknod);
    evict(place, "g00003");
    anew(place);
    count_anew(place);
    kith_start_lookup(job_for(place, "g00000"));
    await_quiet(place);
    assert_asked(place, 0, 1);
    assert_false(known(place, "g00003"));
    assert_false(known(place, "g00004"));
}

static void test_scan_fails(void **state)
{
    struct place *place = *state;
    kith_fake_fail_next(place->cluster, KITH_CLIENT_SCAN, 1, KITH_EUNREACH, false);
    ask_number(place, MIDDLE);
    assert_asked(place, 1, 0); /* one that fails is not counted */
    for (uint32_t i = 1; i < 15; i++) { /* not again at once */
        ask_number(place, MIDDLE + i);
    }
    assert_asked(place, 14, 0);
}

static void test_lapse(void **state)
{
    struct place *place = *state;
    uint32_t number = grow(place, MIDDLE);
    kith_fake_set_watches(place->cluster, false);
    count_anew(place);
    char name[16];
    for (uint32_t i = 0; i < 2; i++) { /* it would bring nothing that counts */
        struct kith_entry *entry;
        name_of(name, number + i);
        assert_int_equal(kith_dir_entry(place->fs, place->dir, name, &entry), 0);
        kith_entry_unpin(place->fs, entry);
    }
    assert_asked(place, 2, 0);
    kith_fake_set_watches(place->cluster, true);
    assert_false(known(place, name));
    theirs(place, name, 7000000);
    assert_int_equal(ask(place, name), 7000000);
}

/* Attributes of names that are in the table, and of which nothing is known any more. */
static void test_attributes(void **state)
{
    struct place *place = *state;
    static struct kith_inode *inodes[1000];
    uint64_t gets, scans;
    uint32_t first = grow(place, MIDDLE) - 1000;
    char name[16];
    /* it is loaded in vain, where enough is asked within a second: there are many names */
    for (uint32_t i = 0; place->dir->dir->entry_count < KITH_LOAD_NAMES_MAX; i++) {
        assert_true(i < 500);
        ask_number(place, LARGE - 1 - 31 * i);
    }
    pthread_mutex_lock(&place->fs->lock);
    for (uint32_t i = 0; i < 1000; i++) {
        name_of(name, first + i);
        inodes[i] = kith_entry_find(place->dir, name)->inode;
        kith_inode_hold(inodes[i]);
    }
    pthread_mutex_unlock(&place->fs->lock);
    kith_fake_set_watches(place->cluster, false);
    kith_fake_set_watches(place->cluster, true);
    mode_put(place, first + 500, 0600);
    count_anew(place);
    for (uint32_t i = 0; i < 1000; i++) {
        pthread_mutex_lock(&place->fs->lock);
        bool is = kith_attrs_known(place->fs, inodes[i]);
        if (is) {
            kith_near_used(inodes[i]->entry);
        }
        pthread_mutex_unlock(&place->fs->lock);
        if (!is) {
            struct kith_job *job = kith_job_new(place->fs, NULL,
                                                kith_inode_ino(place->fs, inodes[i]), 0,
                                                kith_do_getattr);
            assert_non_null(job);
            kith_start_getattr(job);
            await_quiet(place);
        }
        pthread_mutex_lock(&place->fs->lock);
        assert_true(kith_attrs_known(place->fs, inodes[i]));
        assert_int_equal(inodes[i]->attrs.mode, i == 500 ? 0600 : 0640);
        pthread_mutex_unlock(&place->fs->lock);
    }
    asked(place, &gets, &scans);
    assert_true(gets + scans < 12);
    pthread_mutex_lock(&place->fs->lock);
    for (uint32_t i = 0; i < 1000; i++) {
        kith_inode_drop(place->fs, inodes[i]);
    }
    pthread_mutex_unlock(&place->fs->lock);
}

static void test_unmount_meanwhile(void **state)
{
    struct place *place = *state;
    hold_scan(place, "f20000");
    held = 0;
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    assert_int_equal(kith_fs_free(place->fs), 0);
    place->fs = NULL;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_in_order),
        CASE(test_two_streams),
        CASE(test_no_order),
        CASE(test_shrink),
        CASE(test_new_names),
        CASE(test_new_names_again),
        CASE(test_new_names_leave),
        CASE(test_told_of_few),
        CASE(test_missing),
        CASE(test_not_covered),
        CASE(test_cut),
        CASE(test_cut_first),
        CASE(test_told_meanwhile),
        CASE(test_own_meanwhile),
        CASE(test_left_meanwhile),
        CASE(test_another_watch_meanwhile),
        CASE(test_doubt),
        CASE(test_scan_fails),
        CASE(test_lapse),
        CASE(test_attributes),
        CASE(test_unmount_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
