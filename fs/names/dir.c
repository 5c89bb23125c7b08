/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir.c - what is known of a directory: its names one by one, or all of them after a scan.
 *
 * A lookup costs one GET of (name, name NUL a). Who looks up one name after the other is better
 * served by a scan, which fills the table whole; so from the MISSES_MIN-th miss within a second on
 * (later in large directories: a scan costs about what 64 rows' share of it saves) the directory is
 * loaded. Under a live watch (watch.c) one page is scanned with the first question: then the table
 * answers, for as long as the watch lives. What is larger than LOAD_PAGES_MAX pages is not loaded;
 * under a watch a question there may bring the names behind it (neighbours.c), and it is read ahead
 * in the end (dir_ahead.c). */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/orphans/orphans.h"
#include "fs/tables/tables.h"

#define MISSES_MIN         3u
#define MISSES_PER_ENTRIES 64u

/* All pages are read: what neither this load nor a later one, which is under way, has seen is not
 * there. */
void kith_dir_complete(struct kith_fs *fs, struct kith_inode *dir, uint64_t load, uint64_t started)
{
    /* entries may have left since and been made anew, of what was read besides */
    const bool evicted = dir->dir->evicted_at >= started;
    for (uint32_t i = 0; i < dir->dir->bucket_count; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            if (entry->load >= load || entry->changed_at >= started || kith_entry_unsent(entry)) {
                continue;
            }
            if (evicted) { /* it may be younger than the scan: who needs it asks */
                entry->valid_until = 0;
                continue;
            }
            if (entry->inode == NULL || (!entry->inode->pending && !entry->inode->row_busy)) {
                if (entry->inode != NULL && entry->inode->dir != NULL) {
                    kith_dir_lost(fs, entry, entry->inode);
                }
                kith_aside_note(fs, entry, NULL);
                kith_entry_lead(fs, entry, NULL);
                entry->valid_until = kith_watch_until(fs, entry, started);
                kith_watch_saw(entry, started, true);
            }
        }
    }
    if (dir->dir->told_at < started && dir->dir->evicted_at < started) {
        dir->dir->complete_until = started + fs->entry_ns;
    }
    kith_watch_scanned(dir, started);
    kith_dir_counted(fs, dir);
}

bool kith_dir_scan_due(struct kith_inode *dir)
{
    return kith_watch_live(dir) != 0 && !kith_watch_complete(dir) && !dir->dir->loading &&
           !dir->dir->large && dir->dir->pack == NULL &&
           dir->dir->entry_count < KITH_PAGE_ROWS_MAX / 2;
}

struct kith_entry *kith_dir_missing(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                    uint64_t now)
{
    bool timed = now < dir->dir->complete_until;
    if (!timed && !kith_watch_complete(dir)) {
        struct kith_entry *packed = kith_pack_entry(fs, dir, name);
        return packed != NULL ? packed : kith_near_missing(fs, dir, name);
    }
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    if (entry != NULL) {
        entry->valid_until = timed ? dir->dir->complete_until : 0;
        entry->live = kith_watch_complete(dir) ? dir->dir->complete : 0;
    }
    return entry;
}

bool kith_dir_listable(struct kith_inode *dir, uint64_t now)
{
    return (now < dir->dir->complete_until || kith_watch_complete(dir)) &&
           dir->dir->doubt_at <= dir->dir->complete_from;
}

/* pages: no more than so many. */
static void dir_load(struct kith_fs *fs, struct kith_inode *dir, unsigned pages)
{
    pthread_mutex_lock(&fs->lock);
    bool runs = dir->dir->loading;
    dir->dir->loading = true;
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    if (runs) {
        return;
    }
    uint64_t started = kith_mono_ns();
    struct kith_dir_page page = {.more = true};
    int error = 0;
    struct kith_arena arenas[2]; /* one holds the place where the other's page begins */
    kith_arena_init(&arenas[0], 0);
    kith_arena_init(&arenas[1], 0);
    for (unsigned i = 0; i < pages && page.more && error == 0; i++) {
        struct kith_bytes after = page.last;
        kith_arena_reset(&arenas[i & 1]);
        error =
            kith_dir_page(fs, dir, i == 0 ? NULL : &after, load, &arenas[i & 1], NULL, NULL, &page);
    }
    kith_arena_release(&arenas[0]);
    kith_arena_release(&arenas[1]);
    pthread_mutex_lock(&fs->lock);
    dir->dir->loading = false;
    dir->dir->misses = 0;
    if (error == 0 && !page.more && !page.degraded) {
        kith_dir_complete(fs, dir, load, started);
    } else {
        dir->dir->large = true;
    }
    pthread_mutex_unlock(&fs->lock);
}

void kith_dir_scan(struct kith_fs *fs, struct kith_inode *dir)
{
    dir_load(fs, dir, 1);
}

bool kith_dir_missed(struct kith_dir *dir, uint64_t now)
{
    if (now - dir->miss_since > NSEC_PER_SEC) {
        dir->miss_since = now;
        dir->misses = 0;
    }
    dir->misses++;
    return !dir->loading && dir->misses >= MISSES_MIN + dir->entry_count / MISSES_PER_ENTRIES &&
           dir->pack == NULL && dir->entry_count < KITH_LOAD_NAMES_MAX;
}

/* fs->lock held. From memory, pinned; NULL when it is not known. */
static struct kith_entry *known(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    uint64_t now = kith_mono_ns();
    struct kith_entry *entry = kith_entry_find(dir, name);
    if (entry == NULL) {
        entry = kith_dir_missing(fs, dir, name, now);
    }
    if (entry == NULL || !kith_entry_valid(entry, now)) {
        return NULL;
    }
    entry->pins++;
    kith_near_used(entry);
    kith_entry_touch(fs, entry);
    kith_entry_sweep_few(fs); /* it may be new */
    return entry;
}

void kith_entry_unpin(struct kith_fs *fs, struct kith_entry *entry)
{
    pthread_mutex_lock(&fs->lock);
    KITH_ASSERT(entry->pins > 0);
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
}

int kith_dir_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                   struct kith_entry **ret_entry)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = known(fs, dir, name);
    bool load = entry == NULL && kith_dir_missed(dir->dir, kith_mono_ns());
    bool scan = entry == NULL && !load && kith_dir_scan_due(dir);
    bool begin = entry == NULL && kith_watch_asked(fs, dir, false);
    pthread_mutex_unlock(&fs->lock);
    if (begin) {
        kith_watch_begin(fs, dir);
    }
    if (load || scan) {
        dir_load(fs, dir, load ? LOAD_PAGES_MAX : 1);
        pthread_mutex_lock(&fs->lock);
        entry = known(fs, dir, name);
        pthread_mutex_unlock(&fs->lock);
    }
    if (entry == NULL) {
        return kith_dir_read(fs, dir, name, ret_entry);
    }
    *ret_entry = entry;
    return 0;
}

static int empty_each(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
{
    (void)arg, (void)name, (void)size, (void)type, (void)id;
    return ENOTEMPTY;
}

/* fs->lock held */
static bool has_pending(const struct kith_inode *dir)
{
    for (uint32_t i = 0; i < dir->dir->bucket_count; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            if (entry->inode != NULL && entry->inode->pending) {
                return true;
            }
        }
    }
    return false;
}

bool kith_dir_seems_empty(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    bool empty = kith_dir_listable(dir, kith_mono_ns());
    for (uint32_t i = 0; i < dir->dir->bucket_count && empty; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            empty = empty && entry->inode == NULL;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return empty;
}

int kith_dir_empty(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    bool pending = has_pending(dir);
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    if (pending) {
        return ENOTEMPTY;
    }
    struct kith_dir_page page = {.more = true, .strict = true};
    struct kith_arena arenas[2];
    kith_arena_init(&arenas[0], 0);
    kith_arena_init(&arenas[1], 0);
    int error = 0;
    for (unsigned i = 0; page.more && error == 0; i++) {
        struct kith_bytes after = page.last;
        kith_arena_reset(&arenas[i & 1]);
        error = kith_dir_page(fs, dir, i == 0 ? NULL : &after, load, &arenas[i & 1], empty_each,
                              NULL, &page);
    }
    kith_arena_release(&arenas[0]);
    kith_arena_release(&arenas[1]);
    return error;
}
