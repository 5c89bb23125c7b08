/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * seen.c - rows as they were read, and what the mount's tables take over from them.
 *
 * An answer is worth nothing for what this mount changed after the request began (changed_at), or
 * is changing just now: the answer may be older than the change. */
#include <string.h>

#include "format/versions.h"
#include "fs/files/files.h"
#include "fs/fs.h"
#include "fs/hook/hook.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/orphans/orphans.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define NAMES_DELAY_NS (NSEC_PER_SEC / 2) /* who put the name may be about to tell the row */
#define ATTR_SIBLINGS_MAX                                                                          \
    64u /* concurrent attribute rows that are joined; more are too odd to matter */

/* The clock alone: an attribute row that has been read is replaced whole. */
static enum kith_err bare_context(struct kith_arena *arena, const struct kith_row *row,
                                  struct kith_bytes *ret_context)
{
    struct kith_row bare = {row->clock, 0, NULL};
    return kith_row_context(arena, &bare, NULL, ret_context);
}

static enum kith_err seen_attr(struct kith_arena *arena, const struct kith_row *attr,
                               struct kith_seen *seen)
{
    struct kith_attr_record records[ATTR_SIBLINGS_MAX];
    uint32_t count = 0;
    seen->attr_row = false;
    for (uint32_t i = 0; i < attr->sibling_count && count < ATTR_SIBLINGS_MAX; i++) {
        const struct kith_sibling *sibling = &attr->siblings[i];
        if (sibling->kind != KITH_SIBLING_VALUE) {
            continue;
        }
        seen->attr_row = true;
        enum kith_err err = kith_attr_record_decode(sibling->value, &records[count]);
        if (err != KITH_OK) {
            return err;
        }
        if (records[count].file_id == seen->record.file_id) {
            count++;
        }
    }
    if (count > 0) {
        struct kith_attrs attrs;
        kith_attr_records_join(records, count, &attrs);
        kith_attrs_merge(&seen->record.attrs, &attrs);
        seen->record.attrs.xattrs = seen->record.attrs.xattrs || attrs.xattrs;
    }
    return bare_context(arena, attr, &seen->attr_ctx);
}

/* What is alike to the version that bears the name goes with it. Two mounts that made a directory
 * at once made one: its attributes are those of both. */
static enum kith_err join_alike(struct kith_arena *arena, const struct kith_row *row,
                                struct kith_seen *seen)
{
    struct kith_sibling *others =
        kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *others);
    struct kith_row rest = {row->clock, 0, others};
    if (others == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        struct kith_inode_record record;
        if (sibling == seen->winner) {
            continue;
        }
        if (!kith_versions_alike(sibling, seen->winner)) {
            others[rest.sibling_count++] = *sibling;
        } else if (seen->record.type == KITH_TYPE_DIR &&
                   kith_inode_record_decode(arena, sibling->value, &record) == KITH_OK) {
            kith_attrs_merge(&seen->record.attrs, &record.attrs);
        }
    }
    return kith_row_context(arena, &rest, NULL, &seen->ctx);
}

enum kith_err kith_seen_entry(struct kith_arena *arena, const struct kith_row *row,
                              const struct kith_row *attr, struct kith_seen *ret_seen)
{
    struct kith_seen seen;
    memset(&seen, 0, sizeof seen);
    seen.winner = kith_versions_winner(row);
    enum kith_err err = KITH_OK;
    if (seen.winner != NULL) {
        seen.live = true;
        seen.dot = seen.winner->dot;
        err = kith_inode_record_decode(arena, seen.winner->value, &seen.record);
        seen.row_id = seen.record.file_id;
    }
    if (err == KITH_OK) {
        err = seen.live && row->sibling_count > 1
                  ? join_alike(arena, row, &seen)
                  : kith_row_context(arena, row, seen.winner, &seen.ctx);
    }
    if (err == KITH_OK && seen.live && seen.record.type == KITH_TYPE_LINK) {
        seen.link = true;
        seen.link_group = seen.record.link;
    } else if (err == KITH_OK && seen.live && attr != NULL) {
        err = seen_attr(arena, attr, &seen);
    }
    if (err == KITH_OK) {
        *ret_seen = seen;
    }
    return err;
}

/* The names of both into the first, without doubles; false: they are too many for a row. */
static bool join_names(struct kith_arena *arena, struct kith_link_names *names,
                       const struct kith_inode_record *other)
{
    struct kith_link_name *both =
        kith_arena_calloc(arena, names->count + other->name_count + 1u, sizeof *both);
    uint32_t count = 0, mine = 0, theirs = 0;
    while (both != NULL && (mine < names->count || theirs < other->name_count)) {
        int order = mine == names->count          ? 1
                    : theirs == other->name_count ? -1
                                                  : kith_link_name_compare(&names->names[mine],
                                                                           &other->names[theirs]);
        both[count++] = order <= 0 ? names->names[mine] : other->names[theirs];
        mine += order <= 0 ? 1 : 0;
        theirs += order >= 0 ? 1 : 0;
    }
    if (both == NULL || count > KITH_LINKS_MAX) {
        return false;
    }
    names->names = both;
    names->count = count;
    return true;
}

/* Concurrent versions of a shared inode's row. Those that differ in names and attributes alone are
 * one version, with the names of all: the next put takes the place of all of them. A name that has
 * gone does no harm there (linkset.c takes it out), one that is missing would let the row be
 * removed while it refers to it. A version with other contents stays beside it, with its names: who
 * acts on what refers to the row must look at those, too (all_names). */
static enum kith_err join_versions(struct kith_arena *arena, const struct kith_row *row,
                                   const struct kith_sibling *winner, struct kith_seen *seen)
{
    struct kith_sibling *others =
        kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *others);
    struct kith_row rest = {row->clock, 0, others};
    if (others == NULL) {
        return KITH_ENOMEM;
    }
    struct kith_link_names names = {seen->record.name_count, seen->record.names};
    seen->all_names = names;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        struct kith_inode_record record;
        if (sibling == winner || sibling->kind != KITH_SIBLING_VALUE) {
            continue;
        }
        enum kith_err err = kith_inode_record_decode(arena, sibling->value, &record);
        if (err == KITH_ENOMEM) {
            return err;
        }
        bool alike = err == KITH_OK && record.type == seen->record.type &&
                     kith_bytes_equal(record.contents, seen->record.contents) &&
                     kith_bytes_equal(record.target, seen->record.target) &&
                     join_names(arena, &names, &record);
        if (err == KITH_OK && !join_names(arena, &seen->all_names, &record)) {
            seen->names_missing = true;
        }
        if (alike) {
            kith_attrs_merge(&seen->record.attrs, &record.attrs);
            seen->unsettled =
                seen->unsettled || !kith_bytes_equal(sibling->value, winner->value);
        } else {
            others[rest.sibling_count++] = *sibling;
        }
    }
    seen->record.names = names.names;
    seen->record.name_count = names.count;
    return kith_row_context(arena, &rest, NULL, &seen->inode_ctx);
}

enum kith_err kith_seen_shared(struct kith_arena *arena, const struct kith_row *row,
                               const struct kith_row *attr, struct kith_seen *seen)
{
    const struct kith_sibling *winner = kith_row_winner(row);
    if (winner == NULL) {
        return KITH_ENOTFOUND;
    }
    uint64_t id = seen->record.file_id;
    enum kith_err err = kith_inode_record_decode(arena, winner->value, &seen->record);
    if (err == KITH_OK && (seen->record.file_id != id || seen->record.type == KITH_TYPE_LINK)) {
        err = KITH_EFORMAT;
    }
    if (err == KITH_OK) {
        err = join_versions(arena, row, winner, seen);
    }
    if (err == KITH_OK && attr != NULL) {
        err = seen_attr(arena, attr, seen);
    }
    if (err == KITH_OK) {
        seen->winner = winner;
        seen->dot = winner->dot;
        seen->resolved = true;
    }
    return err;
}

/* What belongs to the version: contents, size, names. */
static enum kith_err take_version(struct kith_fs *fs, struct kith_inode *inode,
                                  const struct kith_seen *seen)
{
    const struct kith_inode_record *record = &seen->record;
    uint64_t size = record->target.size;
    uint64_t allocated = 0;
    if (seen->bare) {
        size = seen->size;
        allocated = seen->allocated;
    } else if (record->contents.size > 0) {
        enum kith_err err = kith_content_image_stat(record->contents, &size, &allocated);
        if (err != KITH_OK) {
            return err;
        }
    }
    bool same = inode->has_dot && kith_dot_equal(&inode->dot, &seen->dot);
    inode->size = size;
    inode->allocated = allocated;
    inode->dot = seen->dot;
    inode->has_dot = true;
    if (seen->bare) {
        kith_inode_image_forget(fs, inode);
    } else if (!same || !inode->image_known) {
        kith_inode_image_set(fs, inode, record->contents, seen->winner->refs,
                             seen->winner->ref_count);
    }
    inode->btime = record->btime;
    inode->rdev = record->rdev;
    bool ok = kith_octets_set(&inode->target, record->target) &&
              kith_octets_set(&inode->unknown, record->unknown) &&
              kith_inode_names_take(inode, record->names, record->name_count, same);
    return ok ? KITH_OK : KITH_ENOMEM;
}

/* This mount's own change is newer than what a request begun at `started` saw. */
static bool own_is_newer(const struct kith_inode *inode, uint64_t started)
{
    return inode->row_busy || inode->changed_at >= started || kith_inode_dirty(inode);
}

bool kith_seen_taken(const struct kith_inode *inode, const struct kith_seen *seen, uint64_t started)
{
    return !seen->degraded && !own_is_newer(inode, started) && inode->has_dot &&
           kith_dot_equal(&inode->dot, &seen->dot);
}

enum kith_err kith_seen_inode(struct kith_fs *fs, struct kith_inode *inode,
                              const struct kith_seen *seen, uint64_t started)
{
    if (own_is_newer(inode, started)) {
        return KITH_OK;
    }
    if (!kith_octets_set(&inode->attr_ctx, seen->attr_ctx)) {
        return KITH_ENOMEM;
    }
    inode->attr_row = seen->attr_row;
    bool same = inode->has_dot && kith_dot_equal(&inode->dot, &seen->dot);
    struct kith_attrs attrs = seen->record.attrs;
    if (inode->is_open && !same) {
        attrs.have &= ~(uint32_t)KITH_ATTR_MTIME; /* it shows the version that it opened */
    }
    bool xattrs = (inode->attrs.have & KITH_ATTR_XATTRS) != 0 && inode->attrs.xattrs;
    if (!kith_inode_attrs_merge(inode, &attrs)) {
        return KITH_ENOMEM;
    }
    inode->attrs.xattrs = inode->attrs.xattrs || (attrs.xattrs && !xattrs);
    inode->valid_until = kith_watch_until(fs, inode->entry, started);
    if (seen->link && !kith_octets_set(&inode->ctx, seen->inode_ctx)) {
        return KITH_ENOMEM;
    }
    if (inode->is_open) {
        if (!same) { /* kith_inode_outdated sees it, too */
            kith_inode_follow_soon(fs, inode, &seen->dot);
        }
        return KITH_OK;
    }
    return take_version(fs, inode, seen);
}

/* fs->lock held. Whether memory has the inode's row where it was seen. */
static bool same_place(const struct kith_inode *inode, const struct kith_entry *entry,
                       const struct kith_seen *seen)
{
    if (seen->link) {
        return inode->shared && kith_group_compare(&inode->share_group, &seen->link_group) == 0;
    }
    return !inode->shared && inode->entry == entry;
}

/* fs->lock held. It is elsewhere: context and attributes belong to the row. What is open was read
 * from the row that it had before: where that moved with the same contents the next put replaces
 * them, else it leaves them beside it. */
static enum kith_err take_place(struct kith_fs *fs, struct kith_inode *inode,
                                struct kith_entry *entry, const struct kith_seen *seen)
{
    const struct kith_inode_record *record = &seen->record;
    if (inode->recount) { /* whoever gave it the new place may not have seen what this mount put */
        const struct kith_link_at was = {inode->share_group, inode->share_own, inode->share_id};
        const struct kith_link_name name = {entry->dir->dir->group, kith_entry_bytes(entry)};
        kith_link_left(fs, &was, &name, record->contents);
        inode->recount = inode->wrote = false;
    }
    if (inode->shared && seen->link) { /* it moved, or has two rows: linkset.c looks there, too */
        inode->beside = true;
        inode->beside_own = inode->share_own;
        inode->beside_group = inode->share_group;
    }
    struct kith_bytes context = seen->link ? seen->inode_ctx : seen->ctx;
    bool alike = inode->image_known &&
                 kith_bytes_equal(kith_octets_bytes(&inode->image), record->contents);
    inode->shared = seen->link;
    inode->share_group = seen->link_group;
    inode->share_id = seen->link ? seen->row_id : inode->share_id;
    inode->share_own =
        seen->link && kith_group_compare(&seen->link_group, &entry->dir->dir->group) != 0;
    inode->attr_row = seen->attr_row;
    bool ok = kith_octets_set(&inode->attr_ctx, seen->attr_ctx) &&
              (!seen->link || kith_octets_set(&inode->ctx, context)) &&
              kith_inode_names_take(inode, record->names, seen->link ? record->name_count : 0,
                                    false);
    inode->entry = entry; /* of the directory in whose group the row is, where it is in one */
    if (!seen->link) {
        inode->untold = inode->untold && inode->dir != NULL;
        ok = kith_inode_names_set(inode, NULL, 0) && ok;
    }
    if (inode->is_open) {
        ok = kith_octets_set(&inode->open_ctx, alike ? context : kith_bytes_make(NULL, 0)) && ok;
    }
    if (inode->beside) {
        kith_link_recount_soon(fs, inode);
    }
    return ok ? KITH_OK : KITH_ENOMEM;
}

/* fs->lock held. Whether memory knows now that one of the row's names leads elsewhere,
 * or is none. */
static bool tells_of_gone(struct kith_fs *fs, const struct kith_inode *inode,
                          const struct kith_inode_record *record)
{
    uint64_t now = kith_mono_ns();
    bool gone = false;
    for (uint32_t i = 0; i < record->name_count && !gone; i++) {
        char name[KITH_FS_NAME_MAX + 1];
        struct kith_bytes bytes = record->names[i].name;
        struct kith_inode *dir = kith_dir_find(fs, &record->names[i].group);
        if (dir == NULL) {
            continue;
        }
        memcpy(name, bytes.data, bytes.size);
        name[bytes.size] = '\0';
        const struct kith_entry *entry = kith_entry_find(dir, name);
        gone = entry == NULL ? kith_watch_complete(dir)
                             : entry->inode != inode && kith_entry_valid(entry, now);
    }
    return gone;
}

/* fs->lock held. What the row tells of its names: where this one is missing it is added there, for
 * who put it saw another row. One too many is looked after in a moment: a put that was under way
 * for long may have brought it after everybody has counted. */
static enum kith_err check_names(struct kith_fs *fs, struct kith_inode *inode,
                                 const struct kith_entry *entry, const struct kith_seen *seen)
{
    struct kith_arena arena;
    uint32_t count = 0;
    kith_arena_init(&arena, 0);
    struct kith_link_name *names = kith_link_names_with(&arena, inode, NULL, entry, &count);
    bool ok = names != NULL;
    if (ok && count > inode->name_count && count <= KITH_LINKS_MAX) {
        ok = kith_inode_names_set(inode, names, count);
        inode->untold = true;
        inode->retry_at = kith_mono_ns() + NAMES_DELAY_NS;
        kith_inode_enqueue(fs, inode);
    }
    kith_arena_release(&arena);
    if (seen->unsettled || tells_of_gone(fs, inode, &seen->record)) {
        kith_link_recount_soon(fs, inode);
    }
    return ok ? KITH_OK : KITH_ENOMEM;
}

static struct kith_inode *inode_for(struct kith_fs *fs, const struct kith_seen *seen)
{
    struct kith_inode *inode = kith_inode_find(fs, seen->record.file_id);
    if (inode != NULL) {
        if (inode->type != seen->record.type) {
            return NULL;
        }
        kith_inode_hold(inode);
        return inode;
    }
    inode = kith_inode_new(fs, seen->record.file_id, seen->record.type);
    if (inode != NULL && inode->dir != NULL) {
        inode->dir->group = kith_group_make(fs->volume, seen->record.dir_id);
    }
    return inode;
}

/* The finalizer of splitmix64 (Steele et al. 2014) over each part in turn. */
static uint64_t mixed(uint64_t id, const uint64_t parts[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        id = (id ^ parts[i]) + UINT64_C(0x9e3779b97f4a7c15);
        id = (id ^ id >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        id = (id ^ id >> 27) * UINT64_C(0x94d049bb133111eb);
        id ^= id >> 31;
    }
    return id > 1 ? id : id + 2;
}

uint64_t kith_seen_other_id(uint64_t id, const struct kith_dot *dot)
{
    const uint64_t parts[] = {dot->actor.run, dot->actor.epoch, dot->counter};
    return mixed(id, parts, sizeof parts / sizeof parts[0]);
}

uint64_t kith_seen_place_id(struct kith_fs *fs, uint64_t id, const struct kith_group *group,
                            struct kith_inode **ret_inode)
{
    const uint64_t row_id = id;
    uint64_t parts[KITH_GROUP_SIZE / sizeof(uint64_t)];
    memcpy(parts, group->bytes, sizeof parts);
    bool other = true;
    while (other) { /* who went under that number may have got another row since, and kept it */
        id = mixed(id, parts, sizeof parts / sizeof parts[0]);
        *ret_inode = kith_inode_find(fs, id);
        other = *ret_inode != NULL &&
                !((*ret_inode)->shared && (*ret_inode)->share_id == row_id &&
                  kith_group_compare(&(*ret_inode)->share_group, group) == 0);
    }
    return id;
}

/* fs->lock held. The inode of the very row that a link was seen to lead to, where it goes under the
 * number of its place, and none under the row's own. */
static struct kith_inode *at_place(struct kith_fs *fs, const struct kith_seen *seen)
{
    const struct kith_inode *plain = kith_inode_find(fs, seen->row_id);
    struct kith_inode *inode = NULL;
    if (seen->link && (plain == NULL || !plain->shared ||
                       kith_group_compare(&plain->share_group, &seen->link_group) != 0)) {
        (void)kith_seen_place_id(fs, seen->row_id, &seen->link_group, &inode);
    }
    return inode;
}

/* fs->lock held. The name leads to that version already, under the other id. */
static bool parted(const struct kith_entry *entry, const struct kith_seen *seen)
{
    return entry != NULL && entry->inode != NULL && seen->live && !seen->link &&
           entry->inode->id != seen->record.file_id &&
           entry->inode->id == kith_seen_other_id(seen->record.file_id, &seen->dot);
}

/* fs->lock held. It is a shared inode, whose row is not what was seen. */
static bool at_other_row(const struct kith_inode *inode, const struct kith_seen *seen)
{
    return inode->shared && !inode->unlinked &&
           !(seen->link && kith_group_compare(&inode->share_group, &seen->link_group) == 0);
}

bool kith_seen_other_row(struct kith_fs *fs, const struct kith_inode *dir, const char *name,
                         const struct kith_seen *seen, struct kith_link_at *ret_at)
{
    const struct kith_inode *inode = seen->live ? kith_inode_find(fs, seen->row_id) : NULL;
    if (inode == NULL || !at_other_row(inode, seen) || at_place(fs, seen) != NULL ||
        parted(kith_entry_find(dir, name), seen)) {
        return false;
    }
    ret_at->group = inode->share_group;
    ret_at->own = inode->share_own;
    ret_at->id = inode->share_id;
    return true;
}

struct kith_entry *kith_seen_elsewhere(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                       const struct kith_seen *seen)
{
    const struct kith_inode *inode =
        seen->live ? kith_inode_find(fs, seen->record.file_id) : NULL;
    const struct kith_entry *entry = kith_entry_find(dir, name);
    if (inode == NULL || inode->type == KITH_TYPE_DIR || inode->entry == NULL ||
        inode->entry == entry || inode->unlinked || parted(entry, seen) || inode->shared ||
        !kith_entry_leads(inode->entry, inode)) {
        return NULL;
    }
    return inode->entry;
}

/* fs->lock held. The name leads to what was seen. */
static bool as_seen(const struct kith_entry *entry, const struct kith_seen *seen)
{
    if (entry->inode == NULL || !seen->live || entry->inode->id != seen->record.file_id) {
        return entry->inode == NULL && !seen->live;
    }
    return entry->link == seen->link &&
           (!seen->link || kith_group_compare(&entry->link_group, &seen->link_group) == 0);
}

/* fs->lock held. The name leads elsewhere, which cannot be taken over now. It keeps its context
 * with its inode: a put with the one of what was seen would take that away for the other file. */
static void leads_elsewhere(struct kith_entry *entry)
{
    kith_entry_doubt(entry);
    entry->fresh_tid = 0;
    entry->over = true;
}

/* fs->lock held. The row is in another place, which another mount gave it; what this one has set
 * meanwhile beside the place before goes there, too. */
static void attrs_follow(struct kith_fs *fs, struct kith_inode *inode, const struct kith_seen *seen)
{
    const struct kith_attrs *mine = &inode->attrs, *theirs = &seen->record.attrs;
    uint32_t later = 0;
    if ((mine->have & theirs->have & KITH_ATTR_MODE) != 0 &&
        kith_time_compare(&mine->mode_stamp, &theirs->mode_stamp) > 0) {
        later |= KITH_ATTR_MODE;
    }
    if ((mine->have & theirs->have & KITH_ATTR_OWNER) != 0 &&
        kith_time_compare(&mine->owner_stamp, &theirs->owner_stamp) > 0) {
        later |= KITH_ATTR_OWNER;
    }
    if ((mine->have & KITH_ATTR_DEFAULT_ACL) != 0 &&
        ((theirs->have & KITH_ATTR_DEFAULT_ACL) == 0 ||
         kith_time_compare(&mine->default_acl_stamp, &theirs->default_acl_stamp) > 0)) {
        later |= KITH_ATTR_DEFAULT_ACL;
    }
    later &= ~inode->attr_changed;
    if (later != 0 && !seen->degraded && !inode->unlinked) {
        inode->attr_since = inode->attr_changed == 0 ? kith_mono_ns() : inode->attr_since;
        inode->attr_changed |= later;
        inode->attr_version++;
        kith_inode_enqueue(fs, inode);
    }
}

/* fs->lock held. The inode that the name was seen to lead to, with what was seen of it. */
static enum kith_err absorb_inode(struct kith_fs *fs, struct kith_entry *entry,
                                  struct kith_inode *inode, const struct kith_seen *seen,
                                  uint64_t started)
{
    /* what this mount changed since, or is changing now, is where it has put it, and stays in
     * memory as it is: then the context of a row that holds contents does not go with them, and the
     * name is read again */
    bool mine = inode->row_busy || inode->changed_at >= started;
    bool led = entry->inode == inode && entry->link == seen->link, moves = false;
    enum kith_err err = KITH_OK;
    bool moved = seen->moved && kith_group_compare(&inode->share_group, &seen->moved_from) == 0;
    if (at_other_row(inode, seen) && !moved) {
        /* who needs it reads it, and looks at that row: who has the inode open would read from the
         * one that was seen, and write to it */
        leads_elsewhere(entry);
        return KITH_OK;
    }
    if ((seen->link || !mine) && !kith_octets_set(&entry->ctx, seen->ctx)) {
        return KITH_ENOMEM;
    }
    if (!mine) {
        moves = !same_place(inode, entry, seen);
        if (moves) {
            err = take_place(fs, inode, entry, seen);
        }
        inode->entry = inode->entry == NULL ? entry : inode->entry;
        kith_aside_forget(fs, inode);
        inode->unlinked = false;
        if (inode->dir != NULL) {
            inode->dir->removed = false; /* it came back */
        }
        inode->made = false; /* it was a version beside another one, and is a file now */
    }
    if (entry->inode != NULL && entry->inode != inode && entry->inode->dir != NULL) {
        kith_dir_lost(fs, entry, entry->inode);
    }
    if (entry->inode != inode) {
        kith_aside_note(fs, entry, seen);
    }
    kith_entry_lead(fs, entry, inode);
    entry->link = false;
    if (seen->link) {
        kith_entry_refer(entry, &seen->link_group);
    }
    entry->valid_until = kith_watch_until(fs, entry, started);
    if (mine && !seen->link) {
        kith_entry_doubt(entry);
        entry->over = !led;
        return KITH_OK;
    }
    err = err == KITH_OK ? kith_seen_inode(fs, inode, seen, started) : err;
    if (moves && err == KITH_OK) {
        attrs_follow(fs, inode, seen);
    }
    kith_watch_saw(entry, started,
                   err == KITH_OK && !seen->link && kith_seen_taken(inode, seen, started));
    if (err == KITH_OK && seen->link && kith_entry_leads(entry, inode) &&
        !own_is_newer(inode, started)) {
        err = check_names(fs, inode, entry, seen);
    }
    return err;
}

enum kith_err kith_seen_absorb(struct kith_fs *fs, struct kith_entry *entry,
                               const struct kith_seen *was, uint64_t started)
{
    struct kith_seen other = *was;
    const struct kith_seen *seen = &other;
    struct kith_inode *old = entry->inode;
    entry->dangling = 0;
    const struct kith_inode *placed =
        was->live && was->record.file_id == was->row_id ? at_place(fs, was) : NULL;
    if (placed != NULL) {
        other.record.file_id = placed->id;
    } else if (parted(entry, was)) {
        other.record.file_id = old->id;
    }
    if (entry->changed_at >= started || (old != NULL && old->pending) ||
        entry->dir->dir->removed) {
        return KITH_OK;
    }
    uint64_t returns = kith_aside_returns(fs, entry, was);
    if (returns != 0) {
        other.record.file_id = returns;
    }
    if (old != NULL && old->row_busy) {
        if (!as_seen(entry, seen)) {
            leads_elsewhere(entry);
        }
        return KITH_OK;
    }
    if (kith_entry_unsent(entry) && (!seen->live || seen->record.file_id != old->id)) {
        entry->live = 0;
        return KITH_OK;
    }
    if (seen->link && !seen->resolved && !as_seen(entry, seen)) {
        leads_elsewhere(entry); /* who needs it reads it with its inode */
        return KITH_OK;
    }
    if (!seen->live || (seen->link && !seen->resolved)) {
        if (!kith_octets_set(&entry->ctx, seen->ctx)) {
            return KITH_ENOMEM;
        }
        if (seen->live) { /* the link that it was: who needs it reads it with its inode */
            kith_entry_doubt(entry);
            return KITH_OK;
        }
        if (old != NULL && old->dir != NULL) {
            kith_dir_lost(fs, entry, old);
        }
        kith_aside_note(fs, entry, seen);
        kith_entry_lead(fs, entry, NULL);
        entry->link = false;
        entry->valid_until = kith_watch_until(fs, entry, started);
        kith_watch_saw(entry, started, !seen->degraded);
        return KITH_OK;
    }
    struct kith_inode *inode = inode_for(fs, seen);
    if (inode == NULL) {
        return KITH_EFORMAT;
    }
    enum kith_err err = absorb_inode(fs, entry, inode, seen, started);
    kith_inode_drop(fs, inode);
    kith_hook_saw(fs, entry);
    return err;
}
