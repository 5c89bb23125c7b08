/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How many names a mount keeps, and which it lets go. The mount's tables over a cluster in memory;
 * no kernel. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/two_fs.h"

#define EXTRA 5000u

/* The directory is held, for the tables let go of what nobody uses; their end frees it. */
static struct kith_fs *mine(void **state, struct kith_inode **ret_dir)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    *ret_dir = place->dir[TWO_MINE];
    pthread_mutex_lock(&fs->lock);
    kith_inode_hold(*ret_dir);
    pthread_mutex_unlock(&fs->lock);
    return fs;
}

/* fs->lock held. A name that leads to a file of its own; kernel: which the kernel knows. */
static struct kith_entry *add(struct kith_fs *fs, struct kith_inode *dir, uint32_t number,
                              bool kernel)
{
    char name[16];
    int size = snprintf(name, sizeof name, "f%u", number);
    struct kith_entry *entry = kith_entry_make(fs, dir, name, (size_t)size);
    struct kith_inode *inode = kith_inode_new(fs, 1000 + number, KITH_TYPE_FILE);
    if (entry != NULL && inode != NULL) {
        kith_entry_lead(fs, entry, inode);
        if (kernel) {
            kith_inode_hold(inode);
            inode->nlookup = 1;
        }
        kith_inode_drop(fs, inode);
    }
    return entry;
}

/* fs->lock held. One more than may stay, and EXTRA beyond that. */
static void fill(struct kith_fs *fs, struct kith_inode *dir, bool kernel)
{
    for (uint32_t i = 0; fs->entry_count < ENTRIES_MAX + EXTRA; i++) {
        (void)add(fs, dir, i, kernel);
    }
}

static void test_bound(void **state)
{
    struct kith_inode *dir;
    struct kith_fs *fs = mine(state, &dir);
    pthread_mutex_lock(&fs->lock);
    fill(fs, dir, false);
    kith_entry_touch(fs, kith_entry_find(dir, "f0"));
    struct kith_entry *pinned = kith_entry_find(dir, "f1");
    pinned->pins++;
    bool more = kith_entry_sweep(fs, 0, EXTRA / 2);
    uint32_t half = fs->entry_count;
    bool rest = kith_entry_sweep(fs, 0, EXTRA);
    uint32_t count = fs->entry_count;
    bool used = kith_entry_find(dir, "f0") != NULL, held = kith_entry_find(dir, "f1") != NULL;
    bool old = kith_entry_find(dir, "f2") != NULL;
    bool last = kith_entry_find(dir, "f100000") != NULL;
    pinned->pins--;
    pthread_mutex_unlock(&fs->lock);
    assert_true(more);
    assert_false(rest);
    assert_true(half > ENTRIES_MAX);
    assert_int_equal(count, ENTRIES_MAX);
    assert_true(used);
    assert_true(held);
    assert_true(last);
    assert_false(old); /* the least recently used goes first */
}

/* Below the bound nothing goes before its time. */
static void test_young(void **state)
{
    struct kith_inode *dir;
    struct kith_fs *fs = mine(state, &dir);
    pthread_mutex_lock(&fs->lock);
    (void)add(fs, dir, 0, false);
    uint32_t before = fs->entry_count;
    bool over = kith_entry_sweep(fs, 0, EXTRA);
    uint32_t after = fs->entry_count;
    uint64_t soon = kith_mono_ns() + NSEC_PER_SEC;
    (void)kith_entry_sweep(fs, soon, EXTRA);
    bool gone = kith_entry_find(dir, "f0") == NULL;
    pthread_mutex_unlock(&fs->lock);
    assert_false(over);
    assert_int_equal(before, after);
    assert_true(gone);
}

/* What this mount has just changed an answer that is on its way might bring back as it was. */
static void test_changed_here(void **state)
{
    struct kith_inode *dir;
    struct kith_fs *fs = mine(state, &dir);
    pthread_mutex_lock(&fs->lock);
    fill(fs, dir, false);
    struct kith_entry *entry = kith_entry_find(dir, "f0");
    entry->changed_at = kith_mono_ns();
    kith_entry_sweep(fs, 0, 2 * EXTRA);
    bool there = kith_entry_find(dir, "f0") != NULL;
    uint32_t count = fs->entry_count;
    pthread_mutex_unlock(&fs->lock);
    assert_true(there);
    assert_int_equal(count, ENTRIES_MAX);
}

/* Above the bound, which packs lower, what the kernel forgets goes at once; and who makes entries
 * sweeps. */
static void test_forgotten(void **state)
{
    struct kith_inode *dir;
    struct kith_fs *fs = mine(state, &dir);
    pthread_mutex_lock(&fs->lock);
    fill(fs, dir, true);
    const uint32_t full = fs->entry_count;
    struct kith_entry *entry = kith_entry_find(dir, "f7");
    kith_entry_forgotten(fs, entry); /* it has not */
    const uint32_t known = fs->entry_count;
    kith_inode_forget(fs, entry->inode, 1);
    kith_entry_forgotten(fs, entry);
    const uint32_t forgotten = fs->entry_count;
    for (uint32_t i = 0; i < full; i++) { /* the kernel is gone */
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        entry = kith_entry_find(dir, name);
        if (entry != NULL) {
            kith_inode_forget(fs, entry->inode, 1);
        }
    }
    kith_entry_sweep_few(fs);
    const uint32_t swept = fs->entry_count;
    fs->pack_bytes += PACKS_MAX;
    for (uint32_t i = 0; i < 200; i++) {
        kith_entry_sweep_few(fs);
    }
    const uint32_t packed = fs->entry_count;
    entry = kith_entry_find(dir, "f200000");
    fs->pack_bytes -= PACKS_MAX;
    kith_entry_forgotten(fs, entry); /* there is room */
    const bool there = kith_entry_find(dir, "f200000") == entry;
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(known, full);
    assert_int_equal(forgotten, full - 1);
    assert_in_range(swept, ENTRIES_MAX, ENTRIES_MAX + 2048);
    assert_in_range(packed, ENTRIES_LEAST, ENTRIES_LEAST + 2048);
    assert_non_null(entry);
    assert_true(there);
}

/* What the kernel knows stays until it forgets. */
static void test_kernel_knows(void **state)
{
    struct kith_inode *dir;
    struct kith_fs *fs = mine(state, &dir);
    pthread_mutex_lock(&fs->lock);
    fill(fs, dir, true);
    bool over = kith_entry_sweep(fs, 0, ENTRIES_MAX);
    uint32_t kept = fs->entry_count; /* but for what others there were */
    for (uint32_t i = 0; i < 2 * EXTRA; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        kith_inode_forget(fs, kith_entry_find(dir, name)->inode, 1);
    }
    bool still = kith_entry_sweep(fs, 0, 2 * ENTRIES_MAX);
    uint32_t count = fs->entry_count;
    for (uint32_t i = 0; i < ENTRIES_MAX + EXTRA; i++) { /* the kernel is gone */
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        struct kith_entry *entry = kith_entry_find(dir, name);
        if (entry != NULL) {
            kith_inode_forget(fs, entry->inode, 1);
        }
    }
    pthread_mutex_unlock(&fs->lock);
    assert_true(over);
    assert_in_range(kept, ENTRIES_MAX + EXTRA - 4, ENTRIES_MAX + EXTRA);
    assert_false(still);
    assert_int_equal(count, ENTRIES_MAX);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, two_setup, two_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_bound),
        CASE(test_young),
        CASE(test_changed_here),
        CASE(test_kernel_knows),
        CASE(test_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
