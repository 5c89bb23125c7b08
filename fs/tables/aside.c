/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * aside.c - open files whose name another file bears now: what is remembered of the name.
 *
 * Two mounts make a file of one name at once, or one of them a directory, and keep theirs open; the
 * other's bears the name when they learn of each other. Then the open one has no name in memory,
 * and stands in the cluster as a version beside the name's bearer (format/versions.h). Until
 * something more is written to it, it goes here under the number of that version: it is what the
 * made name leads to. conflicts/aside_name.c gives it a row of its own when there is something to
 * put. */
#include <errno.h>
#include <string.h>

#include "format/versions.h"
#include "fs/fs.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

bool kith_aside_is(const struct kith_inode *inode)
{
    return inode->aside != NULL && inode->entry == NULL && !inode->unlinked;
}

bool kith_aside_of(const struct kith_inode *inode, const struct kith_inode *dir, const char *base)
{
    return kith_aside_is(inode) && inode->aside->dir == dir &&
           strcmp(inode->aside->base, base) == 0;
}

uint64_t kith_inode_free_id(struct kith_fs *fs, uint64_t id, const struct kith_dot *dot)
{
    do {
        id = kith_seen_other_id(id, dot);
    } while (kith_inode_find(fs, id) != NULL);
    return id;
}

/* A version beside the bearer of a name has the number: it has been shown as what it was when it
 * was looked up, and whoever reads that goes on. false: something else has it. */
static bool make_way(struct kith_fs *fs, uint64_t id, const struct kith_dot *dot)
{
    struct kith_inode *other = kith_inode_find(fs, id);
    if (other != NULL && other->made) {
        kith_inode_rename(fs, other, kith_inode_free_id(fs, id, dot));
        other = NULL;
    }
    return other == NULL;
}

/* The version as the row has it, where it has it still; else as this mount knows it. */
static bool version_of(const struct kith_fs *fs, struct kith_arena *arena,
                       const struct kith_inode *inode, const struct kith_seen *seen,
                       struct kith_sibling *ret_sibling)
{
    struct kith_row row;
    const struct kith_sibling *sibling = NULL;
    if (seen != NULL && kith_row_decode(arena, seen->ctx, &row) == KITH_OK) {
        sibling = kith_row_find(&row, &inode->dot);
    }
    memset(ret_sibling, 0, sizeof *ret_sibling);
    if (sibling != NULL) {
        *ret_sibling = *sibling;
        return true;
    }
    const struct kith_time *time = &inode->attrs.mtime;
    ret_sibling->dot = inode->dot;
    ret_sibling->time = ((uint64_t)time->sec * 1000 + time->nsec / 1000000) << 16; /* hlc.h */
    ret_sibling->writer = kith_bytes_make(fs->writer, strlen(fs->writer));
    return false;
}

void kith_aside_note(struct kith_fs *fs, const struct kith_entry *entry,
                     const struct kith_seen *seen)
{
    struct kith_inode *inode = entry->inode;
    if (inode == NULL || inode->type != KITH_TYPE_FILE || inode->entry != entry || inode->shared ||
        inode->unlinked || !inode->is_open || !inode->has_dot) {
        return;
    }
    struct kith_aside *aside = kith_calloc(1, sizeof *aside);
    if (aside == NULL) { /* it has no name then: flushes say so (put_nowhere) */
        kith_log_error("conflicts", "%s: another file has the name, and memory is short",
                       entry->name);
        return;
    }
    struct kith_sibling version;
    struct kith_arena arena;
    kith_aside_forget(fs, inode);
    kith_arena_init(&arena, 0);
    bool beside = version_of(fs, &arena, inode, seen, &version);
    uint64_t id = kith_seen_other_id(inode->id, &inode->dot);
    aside->dir = entry->dir;
    kith_inode_hold(aside->dir);
    memcpy(aside->base, entry->name, entry->name_size + 1u);
    kith_conflict_name(kith_entry_bytes(entry), &version, fs->options->conflict_names, false,
                       aside->name);
    kith_conflict_name(kith_entry_bytes(entry), &version, fs->options->conflict_names, true,
                       aside->wide_name);
    aside->file_id = inode->id;
    if (beside && make_way(fs, id, &inode->dot)) {
        aside->shown = true;
        kith_inode_rename(fs, inode, id);
    }
    kith_arena_release(&arena);
    inode->aside = aside;
    inode->was_named = true;
}

int kith_aside_refusal(const struct kith_inode *inode)
{
    return inode->was_named ? ESTALE : EPERM;
}

void kith_aside_forget(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_aside *aside = inode->aside;
    inode->aside = NULL;
    if (aside != NULL) {
        kith_inode_drop(fs, aside->dir);
        kith_free(aside);
    }
}

bool kith_inode_goes_to(const struct kith_inode *inode, struct kith_group *ret_group)
{
    struct kith_rowname name;
    bool aside = kith_aside_is(inode);
    if (aside) {
        *ret_group = inode->aside->dir->dir->group;
    }
    return aside || kith_inode_place(inode, ret_group, &name);
}

void kith_aside_close(struct kith_fs *fs, struct kith_inode *inode)
{
    if (kith_aside_is(inode) && inode->aside->shown) {
        inode->made = true; /* one like any other, until it is looked up again */
    }
    kith_aside_forget(fs, inode);
}

uint64_t kith_aside_returns(struct kith_fs *fs, const struct kith_entry *entry,
                            const struct kith_seen *seen)
{
    if (!seen->live || seen->link) {
        return 0;
    }
    const uint64_t id = seen->record.file_id;
    struct kith_inode *old = entry->inode, *known = kith_inode_find(fs, id);
    const struct kith_inode *other = kith_inode_find(fs, kith_seen_other_id(id, &seen->dot));
    if (other != NULL && kith_aside_of(other, entry->dir, entry->name)) {
        return other->id;
    }
    bool chosen = old != NULL && old->is_open && old->type == KITH_TYPE_FILE && old->has_dot &&
                  !old->shared && !old->row_busy && old->type == seen->record.type &&
                  id == kith_seen_other_id(old->id, &old->dot);
    if (!chosen || (known != NULL && !known->made) || !make_way(fs, id, &old->dot)) {
        return 0;
    }
    bool alike =
        old->image_known && kith_bytes_equal(kith_octets_bytes(&old->image), seen->record.contents);
    kith_inode_rename(fs, old, id);
    if (alike && kith_octets_set(&old->open_ctx, seen->ctx)) {
        old->dot = seen->dot;
    }
    return id;
}
