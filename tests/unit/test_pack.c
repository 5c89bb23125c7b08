/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names of a large directory that are known without an entry: what is answered from memory while the
 * directory is read ahead and after, what is not, and that it is right whatever happens meanwhile.
 * The mount's tables over a cluster in memory; no kernel. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "large_place.h"
#include "lib/random.h"

#define LARGE     20000u /* names: more than LOAD_PAGES_MAX pages */
#define MODEL     2600u  /* three pages */
#define STEPS     20000u
#define QUESTIONS 4000u  /* by then a directory of LARGE names is read ahead */

/* What the pack's reader keeps; zero where there is no pack. */
static struct kith_ahead ahead_of(struct place *place)
{
    struct kith_ahead ahead = {0};
    pthread_mutex_lock(&place->fs->lock);
    struct kith_pack *pack = kith_pack_of(place->dir);
    if (pack != NULL) {
        ahead = *kith_pack_ahead(pack);
    }
    pthread_mutex_unlock(&place->fs->lock);
    return ahead;
}

static void await_page(struct place *place)
{
    const struct timespec tick = {0, 200000};
    while (ahead_of(place).under_way) {
        nanosleep(&tick, NULL);
    }
}

static void await_held(struct place *place)
{
    const struct timespec tick = {0, 200000};
    struct kith_fake_counts counts = {0};
    while (counts.under_way == 0) {
        nanosleep(&tick, NULL);
        kith_fake_counts(place->cluster, &counts);
    }
}

/* Looks up names from `first` on, some with no entry, until the pack is as far; how many. */
static uint32_t ask_until(struct place *place, uint32_t pages, bool whole)
{
    char name[16];
    uint32_t i = 0;
    for (; i < QUESTIONS; i++) {
        struct kith_ahead ahead = ahead_of(place);
        if (whole ? ahead.whole : ahead.pages >= pages) {
            break;
        }
        snprintf(name, sizeof name, "n%05u", i);
        assert_int_equal(found(place, name), 0);
        await_page(place);
    }
    return i;
}

/* ---- Setup ---- */

static int setup(void **state)
{
    return setup_with(state, LARGE);
}

static int setup_model(void **state)
{
    return setup_with(state, MODEL);
}

/* Asks until all of it is known, and leaves no entry. */
static void make_whole(struct place *place)
{
    (void)ask_until(place, 0, true);
    assert_true(ahead_of(place).whole);
    evict_all(place);
    count_anew(place);
}

/* ---- Cases ---- */

static void test_whole(void **state)
{
    struct place *place = *state;
    struct kith_entry *entry = NULL;
    char name[16];
    uint32_t questions = ask_until(place, 0, true);
    assert_true(questions > 1000); /* who asks little has nothing read */
    assert_true(questions < QUESTIONS);
    assert_int_equal(ahead_of(place).pages, (LARGE + 1023) / 1024);
    evict_all(place);
    count_anew(place);
    for (uint32_t i = 0; i < LARGE; i += 97) {
        name_of(name, i);
        assert_int_equal(kith_dir_entry(place->fs, place->dir, name, &entry), 0);
        assert_non_null(entry->inode);
        assert_int_equal(entry->inode->id, FIRST_ID + i);
        assert_int_equal(entry->inode->attrs.mode, 0640);
        pthread_mutex_lock(&place->fs->lock);
        bool attrs = kith_attrs_known(place->fs, entry->inode);
        pthread_mutex_unlock(&place->fs->lock);
        assert_true(attrs);
        kith_entry_unpin(place->fs, entry);
        name[0] = 'g';
        assert_int_equal(found(place, name), 0);
    }
    assert_int_equal(kith_name_fresh_in(place->fs, place->dir, "new", &entry), 0);
    assert_null(entry->inode); /* the question before a new name */
    kith_entry_unpin(place->fs, entry);
    assert_asked(place, 0, 0);
    pthread_mutex_lock(&place->fs->lock);
    bool listable = kith_dir_listable(place->dir, kith_mono_ns());
    bool lacks[2] = {kith_pack_lacks(place->dir, "nothing"), kith_pack_lacks(place->dir, "f00001")};
    pthread_mutex_unlock(&place->fs->lock);
    assert_false(listable); /* the table alone is not all */
    assert_true(lacks[0] && !lacks[1]);
}

static void test_changed_during_the_read(void **state)
{
    struct place *place = *state;
    char name[16];
    (void)ask_until(place, 5, false);
    assert_false(ahead_of(place).whole);
    /* a page is under way, others are behind and before it */
    pthread_mutex_lock(&place->fs->lock);
    kith_pack_ahead(place->dir->dir->pack)->credit = KITH_PAGE_ROWS_MAX;
    pthread_mutex_unlock(&place->fs->lock);
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, true);
    assert_int_equal(found(place, "m"), 0);
    await_held(place);
    uint32_t first = ahead_of(place).pages * 1024, at[3] = {100, first + 100, LARGE - 100};
    for (uint32_t i = 0; i < 3; i++) {
        name_of(name, at[i]);
        theirs(place, name, 0);
        name_of(name, at[i] + 1);
        theirs(place, name, 7000000 + i); /* another file */
        name_of(name, at[i] + 2);
        name[0] = 'e'; /* before all of them */
        theirs(place, name, 8000000 + i);
        name_of(name, at[i] + 2);
        (void)strcat(name, "x"); /* among them */
        theirs(place, name, 9000000 + i);
        evict_all(place);
    }
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    await_page(place);
    (void)ask_until(place, 0, true);
    assert_true(ahead_of(place).whole);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            struct kith_entry *entry = NULL;
            name_of(name, at[i]);
            assert_int_equal(found(place, name), 0);
            name_of(name, at[i] + 1);
            assert_int_equal(kith_dir_entry(place->fs, place->dir, name, &entry), 0);
            assert_int_equal(entry->inode->id, 7000000 + i);
            kith_entry_unpin(place->fs, entry);
            name_of(name, at[i] + 2);
            assert_int_equal(found(place, name), 1);
            (void)strcat(name, "x");
            assert_int_equal(found(place, name), 1);
            name_of(name, at[i] + 2);
            name[0] = 'e';
            assert_int_equal(found(place, name), 1);
        }
        evict_all(place);
    }
}

static void test_told_when_whole(void **state)
{
    struct place *place = *state;
    make_whole(place);
    theirs(place, "f00010", 0);
    theirs(place, "new", 7000000);
    evict(place, "f00010"); /* before anybody asked */
    evict(place, "new");
    count_anew(place);
    assert_int_equal(found(place, "f00010"), 0);
    assert_int_equal(found(place, "new"), 1);
    assert_asked(place, 2, 0);
    evict(place, "f00010");
    evict(place, "new");
    assert_int_equal(found(place, "f00010"), 0);
    assert_int_equal(found(place, "new"), 1);
    assert_int_equal(found(place, "f00011"), 1);
    assert_int_equal(found(place, "other"), 0);
    assert_asked(place, 0, 0);
}

/* What this mount changed is what an entry takes along when it leaves. */
static void test_own_changes(void **state)
{
    struct place *place = *state;
    struct kith_entry *entry = NULL;
    make_whole(place);
    work(place, place->dir, "own", kith_do_mknod);
    work(place, place->dir, "f00020", kith_do_unlink);
    assert_int_equal(kith_dir_entry(place->fs, place->dir, "f00021", &entry), 0);
    pthread_mutex_lock(&place->fs->lock);
    struct kith_attrs attrs = entry->inode->attrs;
    attrs.mode = 0600;
    attrs.mode_stamp = kith_wall_time();
    assert_true(kith_attrs_take(place->fs, entry->inode, &attrs, KITH_ATTR_MODE));
    pthread_mutex_unlock(&place->fs->lock);
    kith_entry_unpin(place->fs, entry);
    assert_int_equal(kith_fs_flush_all(place->fs, kith_mono_ns() + NSEC_PER_SEC), 0);
    const struct timespec tick = {0, 1000000};
    for (bool queued = true; queued;) { /* the timer takes them off its list */
        pthread_mutex_lock(&place->fs->lock);
        queued = place->fs->dirty != NULL;
        pthread_mutex_unlock(&place->fs->lock);
        nanosleep(&tick, NULL);
    }
    count_anew(place);
    evict_all(place);
    assert_null(kith_entry_find(place->dir, "f00021"));
    assert_int_equal(found(place, "own"), 1);
    assert_int_equal(found(place, "f00020"), 0);
    assert_int_equal(kith_dir_entry(place->fs, place->dir, "f00021", &entry), 0);
    assert_int_equal(entry->inode->attrs.mode, 0600);
    assert_true(entry->inode->attr_row);
    kith_entry_unpin(place->fs, entry);
    assert_asked(place, 0, 0);
    struct kith_fake_counts counts;
    kith_fake_counts(place->cluster, &counts);
    assert_int_equal(counts.conflicts, 0); /* the contexts were those of the rows */
}

/* What a page begun at `started` says; row NULL: there is none. */
static bool page_says(struct place *place, const char *name, const struct kith_bytes *row,
                      uint64_t started)
{
    pthread_mutex_lock(&place->fs->lock);
    bool ok = kith_pack_saw(place->dir, name, strlen(name), row, row != NULL, started);
    pthread_mutex_unlock(&place->fs->lock);
    return ok;
}

/* The id of the file that the pack knows under the name, as an entry now; 1: of none; 0: not known. */
static uint64_t unpacked(struct place *place, const char *name)
{
    pthread_mutex_lock(&place->fs->lock);
    const struct kith_entry *entry = kith_pack_entry(place->fs, place->dir, name);
    uint64_t id = entry == NULL ? 0 : entry->inode == NULL ? 1 : entry->inode->id;
    pthread_mutex_unlock(&place->fs->lock);
    return id;
}

static bool knows(struct place *place, const char *name)
{
    pthread_mutex_lock(&place->fs->lock);
    const struct kith_entry *entry = kith_entry_find(place->dir, name);
    bool it = entry != NULL && kith_watch_knows(entry);
    pthread_mutex_unlock(&place->fs->lock);
    return it;
}

/* A page that was asked for before does not tell what is now. */
static void test_old_page(void **state)
{
    struct place *place = *state;
    const char *const name = "f00060";
    struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
    struct kith_seen seen;
    struct kith_buf buf;
    make_whole(place);
    const uint64_t before = kith_mono_ns();
    kith_buf_init(&buf);
    memset(&seen, 0, sizeof seen);
    seen.live = true;
    seen.record.type = KITH_TYPE_FILE;
    seen.record.file_id = seen.row_id = 7000000;
    seen.dot.counter = 1;
    assert_true(kith_pack_encode(&seen, &buf));
    const struct kith_bytes row = kith_buf_bytes(&buf);
    for (uint32_t i = 0; i < 2; i++) {
        if (i == 0) { /* unknown, or known */
            assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &bytes, 1), 1);
        } else {
            assert_int_equal(found(place, name), 1);
        }
        evict(place, name);
        assert_true(page_says(place, name, &row, before));
        assert_true(page_says(place, name, NULL, before));
        assert_int_equal(unpacked(place, name), i == 0 ? 0 : FIRST_ID + 60);
    }
    evict(place, name);
    assert_true(page_says(place, name, &row, kith_mono_ns())); /* one of now does */
    assert_int_equal(unpacked(place, name), 7000000);
    kith_buf_release(&buf);
}

static void *read_name(void *arg)
{
    struct place *place = arg;
    struct kith_entry *entry = NULL;
    if (kith_dir_read(place->fs, place->dir, "f00030", &entry) == 0) {
        kith_entry_unpin(place->fs, entry);
    }
    return NULL;
}

/* A read that began before the change, and ends when the entry that was told of it has left. */
static void test_old_read(void **state)
{
    struct place *place = *state;
    pthread_t thread;
    make_whole(place);
    kith_fake_set_delay(place->cluster, 200000);
    assert_int_equal(pthread_create(&thread, NULL, read_name, place), 0);
    await_held(place);
    kith_fake_set_delay(place->cluster, 0);
    struct kith_bytes name = kith_bytes_make("f00030", 6);
    assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &name, 1), 1);
    evict(place, "f00030");
    assert_int_equal(found(place, "f00030"), 1); /* by a new read: it is known, */
    assert_true(knows(place, "f00030"));
    evict(place, "f00030"); /* leaves again, */
    assert_int_equal(unpacked(place, "f00030"), FIRST_ID + 30); /* and comes back */
    assert_true(knows(place, "f00030"));
    pthread_join(thread, NULL);
    assert_false(knows(place, "f00030")); /* what the old one brought may be old */
}

static void test_read_fails(void **state)
{
    struct place *place = *state;
    (void)ask_until(place, 3, false);
    uint32_t pages = ahead_of(place).pages;
    kith_fake_fail_next(place->cluster, KITH_CLIENT_SCAN, 1, KITH_EUNREACH, false);
    for (uint32_t i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%05u", i);
        assert_int_equal(found(place, name), 0);
        await_page(place);
    }
    struct kith_ahead ahead = ahead_of(place);
    assert_int_equal(ahead.pages, pages); /* not again at once */
    assert_false(ahead.whole);
    assert_true(ahead.again_at > kith_mono_ns());
    pthread_mutex_lock(&place->fs->lock);
    kith_pack_ahead(place->dir->dir->pack)->again_at = 0;
    pthread_mutex_unlock(&place->fs->lock);
    make_whole(place);
    for (uint32_t i = 0; i < LARGE; i += 501) {
        char name[16];
        name_of(name, i);
        assert_int_equal(found(place, name), 1);
    }
    assert_asked(place, 0, 0);
}

static void test_idle(void **state)
{
    struct place *place = *state;
    make_whole(place);
    assert_true(place->fs->pack_bytes > LARGE * 50);
    pthread_mutex_lock(&place->fs->lock);
    kith_pack_sweep(place->fs, kith_mono_ns() + 20 * NSEC_PER_SEC);
    bool kept = place->dir->dir->pack != NULL;
    kith_pack_sweep(place->fs, kith_mono_ns() + 40 * NSEC_PER_SEC);
    size_t bytes = place->fs->pack_bytes;
    pthread_mutex_unlock(&place->fs->lock);
    assert_true(kept);
    assert_int_equal(bytes, 0);
    assert_int_equal(found(place, "f00070"), 1);
    assert_int_equal(found(place, "g"), 0);
    uint64_t gets, scans;
    asked(place, &gets, &scans);
    assert_true(gets + scans > 1);
}

static void test_lapse(void **state)
{
    struct place *place = *state;
    make_whole(place);
    kith_fake_set_watches(place->cluster, false);
    theirs(place, "f00040", 0);
    kith_fake_set_watches(place->cluster, true);
    assert_int_equal(found(place, "f00040"), 0);
    assert_int_equal(found(place, "f00041"), 1);
    assert_null(place->dir->dir->pack);
    make_whole(place);
    struct kith_bytes none = {NULL, 0};
    assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &none, 0), 1);
    assert_null(place->dir->dir->pack); /* any name may have changed */
    assert_int_equal(place->fs->pack_bytes, 0);
    assert_int_equal(found(place, "f00040"), 0);
}

static void set_room(struct place *place, size_t *taken, bool full)
{
    pthread_mutex_lock(&place->fs->lock);
    *taken = full ? PACKS_MAX - place->fs->pack_bytes : *taken;
    place->fs->pack_bytes += full ? *taken : -*taken;
    pthread_mutex_unlock(&place->fs->lock);
}

static void test_no_room(void **state)
{
    struct place *place = *state;
    char name[16];
    size_t taken = 0;
    (void)ask_until(place, 3, false);
    set_room(place, &taken, true);
    assert_int_equal(ask_until(place, 0, true), QUESTIONS);
    struct kith_ahead ahead = ahead_of(place);
    assert_true(ahead.over && !ahead.whole);
    for (uint32_t i = 0; i < LARGE; i += 501) {
        name_of(name, i);
        assert_int_equal(found(place, name), 1);
        name[0] = 'g';
        assert_int_equal(found(place, name), 0);
    }
    for (uint32_t i = 0; place->dir->dir->pack != NULL; i++) { /* until what is left over is used */
        assert_true(i < LARGE);
        snprintf(name, sizeof name, "t%u", i);
        struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
        assert_int_equal(kith_fake_tell(place->cluster, &place->dir->dir->group, &bytes, 1), 1);
        evict(place, name);
    }
    set_room(place, &taken, false);
    assert_int_equal(place->fs->pack_bytes, 0);
    assert_int_equal(found(place, "t1"), 0);
    assert_int_equal(found(place, "f00050"), 1);
    assert_int_equal(ask_until(place, 1, false), QUESTIONS); /* not again under this watch */
}

static void *release_scans(void *arg)
{
    struct place *place = arg;
    const struct timespec soon = {0, 50000000}; /* the end waits by then, or comes to wait */
    nanosleep(&soon, NULL);
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    return NULL;
}

static void test_unmount_during_the_read(void **state)
{
    struct place *place = *state;
    pthread_t thread;
    (void)ask_until(place, 2, false);
    pthread_mutex_lock(&place->fs->lock);
    kith_pack_ahead(place->dir->dir->pack)->credit = 3 * KITH_PAGE_ROWS_MAX;
    pthread_mutex_unlock(&place->fs->lock);
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, true);
    assert_int_equal(found(place, "m"), 0);
    assert_true(ahead_of(place).under_way);
    assert_int_equal(pthread_create(&thread, NULL, release_scans, place), 0);
    assert_int_equal(kith_fs_free(place->fs), 0);
    place->fs = NULL;
    pthread_join(thread, NULL);
}

/* ---- A model: what names there are, and anything may happen in any order ---- */

static void begin_pack(struct place *place)
{
    pthread_mutex_lock(&place->fs->lock);
    struct kith_pack *pack = kith_pack_of(place->dir);
    pack = pack != NULL ? pack : kith_pack_begin(place->fs, place->dir);
    if (pack != NULL) {
        kith_pack_ahead(pack)->credit = KITH_PAGE_ROWS_MAX;
        kith_pack_ahead(pack)->again_at = 0;
    }
    pthread_mutex_unlock(&place->fs->lock);
}

static void model_step(struct place *place, struct test_random *random, uint64_t ids[],
                       uint64_t *next_id)
{
    char name[16];
    uint32_t number = test_random_below(random, MODEL + 200);
    uint32_t near = test_random_below(random, 8);
    uint32_t what = test_random_below(random, 100);
    number = near < 6 ? number % 64 * 40 : number; /* some again and again */
    name_of(name, number);
    if (what < 12) {
        ids[number] = test_random_below(random, 3) == 0 ? 0 : ++*next_id;
        theirs(place, name, ids[number]);
    } else if (what < 20) {
        work(place, place->dir, name, ids[number] != 0 ? kith_do_unlink : kith_do_mknod);
        ids[number] = ids[number] != 0 ? 0 : 1; /* its own id is its own */
    } else if (what < 55) {
        pthread_mutex_lock(&place->fs->lock);
        struct kith_entry *entry = kith_entry_find(place->dir, name);
        if (entry != NULL && entry->pins == 0 && (entry->inode == NULL || entry->inode->refs == 1)) {
            kith_entry_remove(place->fs, entry);
        }
        pthread_mutex_unlock(&place->fs->lock);
    } else if (what < 57) {
        evict_all(place);
    } else if (what < 58 && test_random_below(random, 20) == 0) {
        struct kith_bytes none = {NULL, 0};
        (void)kith_fake_tell(place->cluster, &place->dir->dir->group, &none, 0);
    } else if (what < 60) {
        kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, true);
    } else if (what < 65) {
        kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    } else if (what < 70) {
        begin_pack(place);
    } else {
        struct kith_entry *entry = NULL;
        assert_int_equal(kith_dir_entry(place->fs, place->dir, name, &entry), 0);
        assert_int_equal(entry->inode != NULL, ids[number] != 0);
        if (ids[number] > 1) {
            assert_int_equal(entry->inode->id, ids[number]);
        }
        kith_entry_unpin(place->fs, entry);
    }
}

static void test_model(void **state)
{
    struct place *place = *state;
    static uint64_t ids[MODEL + 200];
    struct test_random random = {1};
    uint64_t next_id = 1000000;
    uint32_t wholes = 0;
    for (uint32_t i = 0; i < MODEL; i++) {
        ids[i] = FIRST_ID + i;
    }
    assert_int_equal(found(place, "f00000"), 1); /* a watch begins */
    assert_int_equal(found(place, "f00001"), 1);
    for (uint32_t i = 0; i < STEPS; i++) {
        /* held scans must not be waited for: a directory with a pack is not loaded */
        if (place->dir->dir->pack == NULL) {
            kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
            begin_pack(place);
        }
        model_step(place, &random, ids, &next_id);
        wholes += ahead_of(place).whole ? 1 : 0;
    }
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    assert_true(wholes > STEPS / 10);
    assert_true(wholes < STEPS);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_whole),
        CASE(test_changed_during_the_read),
        CASE(test_told_when_whole),
        CASE(test_own_changes),
        CASE(test_old_page),
        CASE(test_old_read),
        CASE(test_read_fails),
        CASE(test_idle),
        CASE(test_lapse),
        CASE(test_no_room),
        CASE(test_unmount_during_the_read),
        cmocka_unit_test_setup_teardown(test_model, setup_model, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
