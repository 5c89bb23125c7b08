/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * entry.c - the names that a mount knows: each directory's table, and the list by last use. */
#include <string.h>

#include "fs/fs.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define BUCKETS_FIRST 8u
#define SWEEP_BURST \
    2048u /* above the bound; the kernel asks for attributes again where it forgets while it looks up */

/* FNV-1a: names are short, and a table is of one directory. */
uint32_t kith_entry_hash(const char *name, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    }
    return hash;
}

struct kith_entry *kith_entry_find(const struct kith_inode *dir, const char *name)
{
    const struct kith_dir *table = dir->dir;
    if (table->buckets == NULL) {
        return NULL;
    }
    size_t size = strlen(name);
    uint32_t hash = kith_entry_hash(name, size);
    struct kith_entry *entry = table->buckets[hash & (table->bucket_count - 1)];
    while (entry != NULL && (entry->hash != hash || entry->name_size != size ||
                             memcmp(entry->name, name, size) != 0)) {
        entry = entry->next;
    }
    return entry;
}

static bool table_grow(struct kith_dir *table)
{
    uint32_t count = table->bucket_count == 0 ? BUCKETS_FIRST : table->bucket_count * 2;
    struct kith_entry **buckets = kith_calloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return table->buckets != NULL; /* an overfull table still works */
    }
    for (uint32_t i = 0; i < table->bucket_count; i++) {
        struct kith_entry *entry = table->buckets[i];
        while (entry != NULL) {
            struct kith_entry *next = entry->next;
            entry->next = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
            entry = next;
        }
    }
    kith_free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    return true;
}

static void list_take_out(struct kith_fs *fs, struct kith_entry *entry)
{
    *(entry->old != NULL ? &entry->old->young : &fs->oldest) = entry->young;
    *(entry->young != NULL ? &entry->young->old : &fs->youngest) = entry->old;
}

static void list_append(struct kith_fs *fs, struct kith_entry *entry)
{
    entry->young = NULL;
    entry->old = fs->youngest;
    *(fs->youngest != NULL ? &fs->youngest->young : &fs->oldest) = entry;
    fs->youngest = entry;
}

void kith_entry_touch(struct kith_fs *fs, struct kith_entry *entry)
{
    entry->used_at = kith_mono_ns();
    if (fs->youngest != entry) {
        list_take_out(fs, entry);
        list_append(fs, entry);
    }
}

struct kith_entry *kith_entry_make(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                   size_t size)
{
    KITH_ASSERT(size > 0 && size <= KITH_FS_NAME_MAX);
    struct kith_entry *entry = kith_entry_find(dir, name);
    if (entry != NULL) {
        return entry;
    }
    struct kith_dir *table = dir->dir;
    if (table->entry_count >= table->bucket_count && !table_grow(table)) {
        return NULL;
    }
    entry = kith_calloc(1, sizeof *entry + size + 1);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->name, name, size);
    entry->name_size = (uint8_t)size;
    entry->hash = kith_entry_hash(name, size);
    entry->told_at = kith_pack_told(dir, name, size);
    entry->dir = dir;
    kith_inode_hold(dir);
    struct kith_entry **bucket = &table->buckets[entry->hash & (table->bucket_count - 1)];
    entry->next = *bucket;
    *bucket = entry;
    table->entry_count++;
    fs->entry_count++;
    entry->used_at = kith_mono_ns();
    list_append(fs, entry);
    return entry;
}

/* Another known name of an inode that is shared within this directory; NULL when none is known. */
static struct kith_entry *other_name(const struct kith_entry *entry, const struct kith_inode *inode)
{
    for (uint32_t i = 0; i < inode->name_count && inode->shared && !inode->share_own; i++) {
        char name[KITH_FS_NAME_MAX + 1];
        struct kith_bytes bytes = inode->names[i].name;
        memcpy(name, bytes.data, bytes.size);
        name[bytes.size] = '\0';
        struct kith_entry *other = kith_entry_find(entry->dir, name);
        if (other != NULL && other != entry && other->inode == inode) {
            return other;
        }
    }
    return NULL;
}

static void get_name(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *entry)
{
    if (inode->entry == NULL) {
        inode->entry = entry;
        kith_aside_forget(fs, inode);
    }
}

void kith_entry_lead(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode)
{
    struct kith_inode *old = entry->inode;
    entry->over = false;
    if (old == inode) {
        if (inode != NULL) {
            get_name(fs, inode, entry);
        }
        return;
    }
    if (inode != NULL) {
        kith_inode_hold(inode);
        get_name(fs, inode, entry);
    }
    struct kith_dir *dir = entry->dir->dir;
    dir->subdirs += inode != NULL && inode->type == KITH_TYPE_DIR ? 1u : 0u;
    dir->subdirs -= old != NULL && old->type == KITH_TYPE_DIR ? 1u : 0u;
    entry->inode = inode;
    if (old != NULL) {
        if (old->entry == entry) {
            old->entry = other_name(entry, old);
        }
        kith_inode_drop(fs, old);
    }
}

void kith_entry_remove(struct kith_fs *fs, struct kith_entry *entry)
{
    KITH_ASSERT(entry->pins == 0);
    struct kith_inode *dir = entry->dir;
    struct kith_entry **link = &dir->dir->buckets[entry->hash & (dir->dir->bucket_count - 1)];
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    dir->dir->entry_count--;
    /* a name that is not in the table any more is not known to be missing */
    dir->dir->complete_until = 0;
    kith_watch_evicts(entry);
    fs->entry_count--;
    list_take_out(fs, entry);
    kith_entry_lead(fs, entry, NULL);
    kith_octets_clear(&entry->ctx);
    kith_free(entry);
    kith_inode_drop(fs, dir);
}

/* What this mount changed itself must stay longer than the requests that began before. */
static bool removable(const struct kith_entry *entry, uint64_t before)
{
    const struct kith_inode *inode = entry->inode;
    return entry->pins == 0 && (inode == NULL || inode->refs == 1) &&
           (entry->used_at < before || entry->changed_at < before);
}

static uint32_t most_entries(const struct kith_fs *fs)
{
    uint64_t packed = fs->pack_bytes / ENTRY_COST;
    return packed < ENTRIES_MAX - ENTRIES_LEAST ? ENTRIES_MAX - (uint32_t)packed : ENTRIES_LEAST;
}

/* The kernel knows it, and the table is full: it shall forget. Where a directory is told so, who
 * works in it has no path any more until somebody looks it up; so the kernel keeps these unless
 * there are very many. */
static void ask_to_forget(struct kith_fs *fs, const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    uint32_t most = most_entries(fs);
    bool spare = inode->dir != NULL &&
                 (inode->dir->entry_count > 0 || fs->entry_count < most + most / 2);
    if (inode->nlookup > 0 && inode->opens == 0 && !spare) {
        kith_notify_forget(fs->notifier, kith_inode_ino(fs, inode), kith_inode_ino(fs, entry->dir),
                           entry->name, entry->name_size);
    }
}

bool kith_entry_sweep(struct kith_fs *fs, uint64_t before, uint32_t most)
{
    uint64_t now = kith_mono_ns();
    uint64_t changed_before = now > SWEEP_AGE_NS ? now - SWEEP_AGE_NS : 0;
    for (uint32_t i = 0; i < most && fs->oldest != NULL; i++) {
        struct kith_entry *entry = fs->oldest;
        bool over = fs->entry_count > most_entries(fs);
        if (entry->used_at >= before && !over) {
            break;
        }
        if (removable(entry, changed_before) && (over || !kith_watch_holds(entry))) {
            kith_entry_remove(fs, entry);
            continue;
        }
        if (entry->inode != NULL && entry->inode->content == NULL && !entry->inode->row_busy) {
            kith_inode_image_forget(fs, entry->inode);
        }
        if (over && entry->inode != NULL) {
            ask_to_forget(fs, entry);
        }
        list_take_out(fs, entry); /* in use: its turn comes again later */
        list_append(fs, entry);
        entry->used_at = now;
    }
    return fs->entry_count > most_entries(fs);
}

void kith_entry_sweep_few(struct kith_fs *fs)
{
    if (fs->entry_count > most_entries(fs) + SWEEP_BURST) {
        (void)kith_entry_sweep(fs, 0, 2 * SWEEP_BURST);
    }
}

void kith_entry_forgotten(struct kith_fs *fs, struct kith_entry *entry)
{
    uint64_t now = kith_mono_ns();
    if (fs->entry_count > most_entries(fs) &&
        removable(entry, now > SWEEP_AGE_NS ? now - SWEEP_AGE_NS : 0)) {
        kith_entry_remove(fs, entry);
    }
}

void kith_dir_free(struct kith_fs *fs, struct kith_dir *dir)
{
    (void)fs;
    KITH_ASSERT(dir->entry_count == 0 && dir->pack == NULL); /* that goes with the watch */
    kith_octets_clear(&dir->mark);
    kith_free(dir->near);
    kith_free(dir->buckets);
    kith_free(dir);
}

/* The table has the change already. Where it has all names that is the number; else it is as far off
 * as it was. */
static void count_subdirs(struct kith_inode *dir, const struct kith_time *now, int more)
{
    struct kith_attrs *attrs = &dir->attrs;
    bool less = more < 0 && attrs->subdirs < (uint32_t)-more;
    if (kith_dir_listable(dir, kith_mono_ns())) {
        attrs->have |= KITH_ATTR_SUBDIRS;
        attrs->subdirs = dir->dir->subdirs;
    } else if ((attrs->have & KITH_ATTR_SUBDIRS) != 0) {
        attrs->subdirs = less ? 0 : attrs->subdirs + (uint32_t)more;
    }
    attrs->subdirs_stamp = *now;
}

void kith_dir_changed(struct kith_fs *fs, struct kith_inode *dir, int more)
{
    struct kith_time now = kith_wall_time();
    count_subdirs(dir, &now, more);
    dir->dir->changed_at = kith_mono_ns();
    dir->dir->miscounted = false;
    dir->attrs.have |= KITH_ATTR_MTIME;
    dir->attrs.mtime = dir->attrs.mtime_stamp = now;
    if (fs->options->dir_time_ms != 0 && dir->dir->touched_at == 0 && !dir->unlinked) {
        dir->dir->touched_at = dir->dir->changed_at;
        kith_inode_enqueue(fs, dir);
    }
}

static bool counts_other(struct kith_inode *dir)
{
    return (dir->attrs.have & KITH_ATTR_SUBDIRS) != 0 && dir->attrs.subdirs != dir->dir->subdirs &&
           kith_dir_listable(dir, kith_mono_ns());
}

void kith_dir_counted(struct kith_fs *fs, struct kith_inode *dir)
{
    bool may_put = fs->options->dir_time_ms != 0 && !fs->options->read_only && !dir->unlinked;
    if (may_put && dir->dir->touched_at == 0 && counts_other(dir)) {
        dir->dir->miscounted = true;
        dir->dir->touched_at = kith_mono_ns(); /* who has changed it may be about to say so */
        kith_inode_enqueue(fs, dir);
    }
}

void kith_dir_tell_time(struct kith_inode *inode)
{
    bool other = counts_other(inode);
    bool settled = inode->dir->miscounted && !other;
    inode->dir->miscounted = false;
    if (other) {
        inode->attrs.subdirs = inode->dir->subdirs;
        inode->attrs.subdirs_stamp = kith_wall_time();
    }
    if (settled) {
        inode->dir->touched_at = 0;
        return;
    }
    inode->dir->touched_at = 0;
    inode->dir->time_only = inode->attr_changed == 0;
    inode->attr_since = inode->attr_changed == 0 ? kith_mono_ns() : inode->attr_since;
    inode->attr_changed |= KITH_ATTR_MTIME;
    inode->attr_version++;
}

void kith_entry_refer(struct kith_entry *entry, const struct kith_group *group)
{
    entry->link = true;
    entry->link_group = *group;
    entry->over = false;
}

bool kith_entry_current(const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    if (entry->over) {
        return false;
    }
    if (inode == NULL || inode->unlinked) {
        return inode == NULL; /* a row that was found to have no name was removed */
    }
    if (!entry->link) {
        return !inode->shared && inode->entry == entry;
    }
    return inode->shared && kith_group_compare(&inode->share_group, &entry->link_group) == 0;
}

bool kith_entry_leads(const struct kith_entry *entry, const struct kith_inode *inode)
{
    return entry->inode == inode && kith_entry_current(entry);
}

void kith_entry_doubt(struct kith_entry *entry)
{
    entry->valid_until = 0;
    entry->live = 0;
}

bool kith_entry_valid(const struct kith_entry *entry, uint64_t now)
{
    if (!kith_entry_current(entry)) {
        return false;
    }
    if (entry->inode != NULL && kith_inode_dirty(entry->inode)) {
        return true; /* what this mount has not put yet nobody knows better */
    }
    return now < entry->valid_until || kith_watch_knows(entry);
}

uint64_t kith_entry_until(const struct kith_fs *fs, const struct kith_entry *entry, uint64_t now)
{
    return kith_watch_knows(entry) ? now + fs->entry_ns : entry->valid_until;
}

bool kith_entry_unsent(const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    return inode != NULL && inode->entry == entry && !inode->unlinked && kith_inode_dirty(inode);
}
