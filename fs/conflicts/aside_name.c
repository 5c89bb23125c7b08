/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * aside_name.c - an open file whose name another one bears gets a name of its own.
 *
 * Whoever has it open goes on writing, and what he writes must have a row. His version stands
 * beside the name (others.c): it becomes a file of its own, which is put like any other from then
 * on. Where another mount has done that, or chosen it, or moved the file, it is found under its
 * name. Where the version has been removed what is written is an edit of it, and is kept: under the
 * name that it had beside the other. */
#include <errno.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/files/files.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define SCAN_AGAIN_NS (10 * NSEC_PER_SEC) /* a flush is tried again each second */

static bool is_aside(struct kith_fs *fs, const struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    bool is = kith_aside_is(inode);
    pthread_mutex_unlock(&fs->lock);
    return is;
}

/* What the name leads to by now; *ret_there: something does. */
static int read_name(struct kith_fs *fs, struct kith_inode *dir, const char *name, bool *ret_there)
{
    struct kith_entry *entry;
    int error = kith_dir_read(fs, dir, name, &entry);
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        *ret_there = entry->inode != NULL;
        entry->pins--;
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

/* Its version beside the bearer of the name becomes a file. ENOENT: it is not there. */
static int part_version(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_aside *aside)
{
    struct kith_other *others;
    struct kith_arena arena;
    uint32_t count;
    kith_arena_init(&arena, 0);
    int error = kith_others_all(fs, aside->dir, aside->base, &arena, &others, &count);
    struct kith_other *mine = NULL;
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < count && error == 0 && kith_aside_is(inode); i++) {
        const struct kith_version *version = &others[i].version;
        bool it = !others[i].of_inode && version->record.file_id == aside->file_id &&
                  kith_dot_equal(&version->sibling->dot, &inode->dot);
        mine = it ? &others[i] : mine;
    }
    if (mine != NULL && inode->id != mine->id) { /* it goes under its own, which the row gets */
        if (inode->id == aside->file_id) {
            kith_inode_rename(fs, inode, kith_inode_free_id(fs, inode->id, &inode->dot));
        }
        mine->id = inode->id;
    }
    pthread_mutex_unlock(&fs->lock);
    if (error == 0) {
        error = mine != NULL ? kith_other_part_from(fs, aside->dir, aside->base, mine) : ENOENT;
    }
    kith_arena_release(&arena);
    return error;
}

/* A name that leads to a file of that number. */
struct search {
    uint64_t id;
    bool found;
    char name[KITH_FS_NAME_MAX + 1];
};

static int on_name(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
{
    struct search *search = arg;
    if (!search->found && type == KITH_TYPE_FILE && id == search->id) {
        search->found = true;
        memcpy(search->name, name, size);
        search->name[size] = '\0';
    }
    return 0;
}

/* fs->lock held. Nobody needs the inode of the number: it gives it up. */
static bool take_number(struct kith_fs *fs, struct kith_inode *inode, uint64_t id)
{
    struct kith_inode *other = kith_inode_find(fs, id);
    if (other == inode) {
        return true;
    }
    if (other != NULL) {
        if (other->opens > 0 || other->is_open || other->opening || other->content != NULL ||
            other->row_busy || other->shared || kith_inode_dirty(other) ||
            other->attr_changed != 0) {
            return false;
        }
        other->valid_until = 0;
        kith_inode_rename(fs, other, kith_inode_free_id(fs, id, &inode->dot));
    }
    kith_inode_rename(fs, inode, id);
    return true;
}

/* Looks through the directory, for the file where another mount has moved it, and for its version
 * where that has become a file. What is found is read, and so known (seen.c). */
static int search_dir(struct kith_fs *fs, struct kith_inode *inode, const struct kith_aside *aside)
{
    struct kith_dir_page page = {.more = true};
    struct kith_bytes after;
    struct search search = {.found = false};
    struct kith_arena arena;
    int error = 0;
    kith_arena_init(&arena, 0);
    pthread_mutex_lock(&fs->lock);
    search.id = kith_seen_other_id(aside->file_id, &inode->dot);
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < LOAD_PAGES_MAX && error == 0 && page.more && !search.found; i++) {
        after = page.last;
        error = kith_dir_page(fs, aside->dir, i == 0 ? NULL : &after, load, &arena, on_name,
                              &search, &page);
    }
    kith_arena_release(&arena);
    if (error != 0 || !search.found) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_find(aside->dir, search.name);
    bool mine = kith_aside_is(inode) && entry != NULL && take_number(fs, inode, search.id);
    if (mine) {
        kith_entry_doubt(entry);
        kith_notify_entry(fs->notifier, kith_inode_ino(fs, aside->dir), entry->name,
                          entry->name_size, false);
    }
    pthread_mutex_unlock(&fs->lock);
    bool there;
    return mine ? read_name(fs, aside->dir, search.name, &there) : 0;
}

/* fs->lock held. As a file that was never put, under the name, which leads nowhere. */
static int make_anew(struct kith_fs *fs, struct kith_inode *inode, const struct kith_aside *aside,
                     const char *name)
{
    struct kith_entry *entry = kith_entry_find(aside->dir, name);
    if (entry == NULL || entry->inode != NULL || entry->over || aside->dir->dir->removed) {
        return ESTALE;
    }
    if (!kith_octets_set(&inode->open_ctx, kith_octets_bytes(&entry->ctx))) {
        return ENOMEM;
    }
    if (inode->id == aside->file_id) { /* by which it may be found where it was moved */
        kith_inode_rename(fs, inode, kith_inode_free_id(fs, inode->id, &inode->dot));
    }
    kith_entry_lead(fs, entry, inode);
    entry->link = false;
    inode->pending = true;
    inode->attr_row = false;
    inode->attrs.xattrs = false; /* their rows went with the name */
    kith_octets_clear(&inode->attr_ctx);
    inode->dirty_since = entry->changed_at = inode->changed_at = kith_mono_ns();
    entry->valid_until = inode->valid_until = entry->changed_at + fs->entry_ns;
    kith_inode_enqueue(fs, inode);
    kith_dir_changed(fs, aside->dir, 0);
    return 0;
}

/* The made name is a file's, which is not this one: it has the longer one. */
static int make_under(struct kith_fs *fs, struct kith_inode *inode, const struct kith_aside *aside,
                      const char *name, bool *ret_there)
{
    int error = read_name(fs, aside->dir, name, ret_there);
    if (error != 0 || *ret_there || !is_aside(fs, inode)) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, false, &inode, 1);
    error = kith_aside_is(inode) ? make_anew(fs, inode, aside, name) : 0;
    kith_busy_give(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* fs->lock not held. Due now and then: a directory may be large. */
static bool search_due(struct kith_fs *fs, struct kith_inode *inode)
{
    uint64_t now = kith_mono_ns();
    pthread_mutex_lock(&fs->lock);
    struct kith_aside *aside = kith_aside_is(inode) ? inode->aside : NULL;
    bool due =
        aside != NULL && (aside->scanned_at == 0 || now >= aside->scanned_at + SCAN_AGAIN_NS);
    if (due) {
        aside->scanned_at = now;
    }
    pthread_mutex_unlock(&fs->lock);
    return due;
}

/* The directory is taken. */
static int find_name(struct kith_fs *fs, struct kith_inode *inode, const struct kith_aside *aside)
{
    bool borne = false, taken = false;
    int error = read_name(fs, aside->dir, aside->base, &borne);
    if (error == 0 && is_aside(fs, inode)) {
        error = part_version(fs, inode, aside);
        error = error == ENOENT ? 0 : error;
    }
    if (error == 0 && is_aside(fs, inode) && search_due(fs, inode)) {
        error = search_dir(fs, inode, aside);
    }
    if (error == 0 && is_aside(fs, inode) && borne) {
        error = make_under(fs, inode, aside, aside->name, &taken);
    }
    if (error == 0 && is_aside(fs, inode) && taken) {
        error = make_under(fs, inode, aside, aside->wide_name, &taken);
    }
    return error != 0 || !is_aside(fs, inode) ? error : ESTALE;
}

int kith_aside_name(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_aside aside; /* the inode's may go with what is learnt */
    pthread_mutex_lock(&fs->lock);
    bool is = kith_aside_is(inode);
    if (is) {
        aside = *inode->aside;
        kith_inode_hold(aside.dir);
    }
    pthread_mutex_unlock(&fs->lock);
    if (!is) {
        return 0;
    }
    kith_dir_take(fs, aside.dir);
    int error = find_name(fs, inode, &aside);
    kith_dir_give(fs, aside.dir);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, aside.dir);
    pthread_mutex_unlock(&fs->lock);
    return error;
}
