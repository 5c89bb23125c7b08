/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * other_put.c - a version beside the one that bears the name goes, or becomes a file of its own.
 *
 * Which versions there are is read anew: what stays must be named in the put (row.h).
 *
 * A version of a shared inode's row may be the only one that knows of one of the inode's names:
 * then the one that bears the name gets it before the other goes, else the row might be removed with
 * the last name that it knows. */
#include <errno.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* A version, found by its name, with what its row is now. */
struct found {
    struct kith_arena arena;
    struct kith_other other;
    char base[KITH_FS_NAME_MAX + 1];
    struct kith_group group; /* its row */
    struct kith_rowname row;
    struct kith_bytes context; /* which drops it, and what is alike */
};

static enum kith_err rest_of(struct kith_arena *arena, bool of_inode, const struct kith_row *row,
                             const struct kith_sibling *goes, struct kith_bytes *ret_context)
{
    struct kith_sibling *kept = kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *kept);
    struct kith_row rest = {row->clock, 0, kept};
    if (kept == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (!kith_other_same(of_inode, &row->siblings[i], goes)) {
            kept[rest.sibling_count++] = row->siblings[i];
        }
    }
    return kith_row_context(arena, &rest, NULL, ret_context);
}

/* Where its row is. */
static int place(struct kith_fs *fs, struct kith_inode *dir, struct found *found)
{
    pthread_mutex_lock(&fs->lock);
    const struct kith_entry *entry = kith_entry_find(dir, found->base);
    bool placed = true;
    if (!found->other.of_inode) {
        found->group = dir->dir->group;
        kith_rowname_entry(kith_bytes_make(found->base, strlen(found->base)), &found->row);
    } else {
        placed = entry != NULL && entry->inode != NULL && entry->inode->shared &&
                 kith_inode_place(entry->inode, &found->group, &found->row);
    }
    pthread_mutex_unlock(&fs->lock);
    return placed ? 0 : ESTALE;
}

/* The inode's names and those of the versions that go; 0 where it has them all. fs->lock held. */
static uint32_t join_names(const struct kith_inode *inode, const struct kith_inode_record *record,
                           struct kith_link_name ret_names[])
{
    uint32_t count = 0, mine = 0, theirs = 0;
    bool more = false;
    while ((mine < inode->name_count || theirs < record->name_count) && count < KITH_LINKS_MAX) {
        int order = mine == inode->name_count ? 1
                    : theirs == record->name_count
                        ? -1
                        : kith_link_name_compare(&inode->names[mine], &record->names[theirs]);
        more = more || order > 0;
        ret_names[count++] = order <= 0 ? inode->names[mine] : record->names[theirs];
        mine += order <= 0 ? 1 : 0;
        theirs += order >= 0 ? 1 : 0;
    }
    return more ? count : 0;
}

/* The names that only a version which goes has are put into the one that stays. row_busy held. */
static int put_names(struct kith_fs *fs, struct kith_inode *inode,
                     const struct kith_inode_record *record)
{
    struct kith_link_name names[KITH_LINKS_MAX];
    int error = kith_inode_put_again(fs, inode);
    if (error == 0) {
        error = kith_inode_renew(fs, inode);
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && (!inode->shared || inode->unlinked)) {
        error = ESTALE;
    }
    uint32_t count = error == 0 ? join_names(inode, record, names) : 0;
    if (count > 0 && !kith_inode_names_set(inode, names, count)) {
        error = ENOMEM;
    }
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && count > 0) {
        error = kith_link_put_names(fs, inode, inode->names, count);
    }
    return error;
}

static int save_names(struct kith_fs *fs, struct kith_inode *dir, const struct found *found,
                      const struct kith_row *row)
{
    struct kith_arena arena;
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_find(dir, found->base);
    struct kith_inode *inode = entry != NULL ? entry->inode : NULL;
    if (inode == NULL) {
        pthread_mutex_unlock(&fs->lock);
        return ESTALE;
    }
    kith_inode_hold(inode);
    kith_busy_take(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; i < row->sibling_count && error == 0; i++) {
        struct kith_inode_record record;
        if (kith_other_same(true, &row->siblings[i], found->other.version.sibling) &&
            kith_inode_record_decode(&arena, row->siblings[i].value, &record) == KITH_OK) {
            error = put_names(fs, inode, &record);
        }
    }
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, &inode, 1);
    kith_inode_drop(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* Reads the row, as far as it has that version, beside the one that bears the name: who removes that
 * one leaves the name to the other. ENOENT. */
static int look(struct kith_fs *fs, struct kith_inode *dir, struct found *found, bool names)
{
    struct kith_client_answer answer;
    struct kith_bytes row_name = kith_rowname_bytes(&found->row);
    int error = kith_rows_get(fs, &found->group, &row_name, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_sibling *sibling =
            kith_row_find(row, &found->other.version.sibling->dot);
        const struct kith_sibling *winner = kith_versions_winner(row);
        bool beside = sibling != NULL && !kith_other_same(found->other.of_inode, winner, sibling);
        error = !beside ? ENOENT
                : names         ? save_names(fs, dir, found, row)
                                : kith_errno(rest_of(&found->arena, found->other.of_inode, row,
                                                     sibling, &found->context));
    }
    kith_client_answer_release(&answer);
    return error;
}

/* That one beside `base`, which lives as long. To be released, whatever is returned. ENOENT: it is
 * not there (any more). */
static int find_from(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                     const struct kith_other *other, struct found *ret_found)
{
    struct found *found = ret_found;
    if (found->base != base) {
        memcpy(found->base, base, strlen(base) + 1);
    }
    found->other = *other;
    int error = place(fs, dir, found);
    if (error == 0 && found->other.of_inode) {
        error = look(fs, dir, found, true);
    }
    return error == 0 ? look(fs, dir, found, false) : error;
}

static void found_init(struct found *found)
{
    memset(found, 0, sizeof *found);
    kith_arena_init(&found->arena, 0);
}

/* To be released, whatever is returned. ENOENT: it is not there (any more). */
static int find(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                struct found *ret_found)
{
    struct kith_other other;
    found_init(ret_found);
    int error = kith_other_find(fs, dir, name, &ret_found->arena, &other, ret_found->base);
    return error == 0 ? find_from(fs, dir, ret_found->base, &other, ret_found) : error;
}

/* fs->lock held. The context without that version: nobody shows it any more. */
static void forget(struct kith_octets *context, bool of_inode, const struct kith_sibling *goes)
{
    struct kith_arena arena;
    struct kith_row row;
    struct kith_bytes rest;
    kith_arena_init(&arena, 0);
    bool less = kith_row_decode(&arena, kith_octets_bytes(context), &row) == KITH_OK &&
                kith_row_find(&row, &goes->dot) != NULL &&
                rest_of(&arena, of_inode, &row, goes, &rest) == KITH_OK &&
                kith_octets_set(context, rest);
    if (!less) {
        kith_log_debug("conflicts", "a version that is gone may be shown once more");
    }
    kith_arena_release(&arena);
}

/* The tables after the put, or one that may yet be carried out. */
static void settle(struct kith_fs *fs, struct kith_inode *dir, const struct found *found, int error)
{
    const struct kith_sibling *goes = found->other.version.sibling;
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_find(dir, found->base);
    if (entry != NULL && error == 0) {
        entry->changed_at = kith_mono_ns(); /* what was read before is over */
        if (!found->other.of_inode) {
            forget(&entry->ctx, false, goes);
        } else if (entry->link && entry->inode != NULL) {
            entry->inode->changed_at = entry->changed_at;
            forget(&entry->inode->ctx, true, goes);
        }
    }
    if (entry != NULL) {
        kith_entry_doubt(entry);
        kith_watch_doubt(entry);
    }
    pthread_mutex_unlock(&fs->lock);
}

/* Where this mount has that version open since it bore the name, it is removed here now. */
static void unlink_open(struct kith_fs *fs, const struct kith_inode *dir, const struct found *found)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_find(fs, found->other.id);
    if (inode != NULL && kith_aside_of(inode, dir, found->base)) {
        inode->unlinked = true;
        inode->attr_changed = 0;
        inode->changed_at = kith_mono_ns();
        kith_inode_named(inode);
        kith_aside_forget(fs, inode);
    }
    pthread_mutex_unlock(&fs->lock);
}

int kith_other_remove(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct kith_client_answer answer;
    struct found found;
    int error = find(fs, dir, name, &found);
    if (error == 0 && found.other.version.record.type == KITH_TYPE_DIR) {
        error = EISDIR;
    }
    if (error == 0) {
        struct kith_put_update update = {.name = kith_rowname_bytes(&found.row),
                                         .context = found.context};
        error = kith_rows_put(fs, &found.group, KITH_DURABLE_OS, &update, 1, &answer);
        kith_client_answer_release(&answer);
        settle(fs, dir, &found, error);
        if (error == 0) {
            unlink_open(fs, dir, &found);
        }
    }
    kith_arena_release(&found.arena);
    return error;
}

/* What replaces nothing in the row of the made name. */
static int free_context(struct kith_fs *fs, struct kith_inode *dir, struct kith_bytes name,
                        struct kith_arena *arena, struct kith_bytes *ret_context)
{
    struct kith_client_answer answer;
    int error = kith_rows_get(fs, &dir->dir->group, &name, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        error = kith_versions_winner(row) != NULL
                    ? EEXIST
                    : kith_errno(kith_row_context(arena, row, NULL, ret_context));
    }
    kith_client_answer_release(&answer);
    return error;
}

/* Adds the new row, and takes the version out of the old one. */
static int part_build(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                      struct found *found, struct kith_batch *into, struct kith_batch *from)
{
    const struct kith_sibling *sibling = found->other.version.sibling;
    struct kith_inode_record record = found->other.version.record;
    struct kith_bytes row_name = kith_bytes_make(name, strlen(name)), context, value;
    record.file_id = found->other.id;
    record.names = NULL;
    record.name_count = 0;
    pthread_mutex_lock(&fs->lock); /* as it is shown: who may use it, as of the file beside it */
    const struct kith_entry *base = kith_entry_find(dir, found->base);
    const struct kith_inode *beside = base != NULL ? base->inode : NULL;
    if (beside != NULL && kith_inode_row_id(beside) == found->other.version.record.file_id) {
        kith_attrs_merge(&record.attrs, &beside->attrs);
        record.attrs.mtime = found->other.version.record.attrs.mtime;
        record.attrs.mtime_stamp = found->other.version.record.attrs.mtime_stamp;
    }
    int error = kith_errno(kith_attrs_keep(&record.attrs, &found->arena));
    pthread_mutex_unlock(&fs->lock);
    record.attrs.xattrs = false; /* their rows stay with the file */
    if (error == 0) {
        error = free_context(fs, dir, row_name, &found->arena, &context);
    }
    if (error == 0) {
        error = kith_batch_record(into, &record, &value);
    }
    if (error == 0 &&
        (kith_batch_add(into, row_name, context, &value, KITH_SIBLING_VALUE, sibling->refs,
                        sibling->ref_count) < 0 ||
         kith_batch_add(from, kith_rowname_bytes(&found->row), found->context, NULL, 0, NULL, 0) <
             0)) {
        error = ENOMEM;
    }
    return error;
}

/* The inode under the name that is a row's now; who has it open goes on with it. */
static int adopt(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct kith_entry *entry;
    int error = kith_dir_read(fs, dir, name, &entry);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = entry->inode;
    bool tell = inode != NULL && inode->dir != NULL;
    if (tell) {
        kith_inode_hold(inode);
        kith_busy_take(fs, false, &inode, 1);
    }
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
    if (tell) { /* the directory's own row says where it is */
        kith_dir_tell(fs, inode, name);
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

/* Where this mount has that version open since it bore the name (aside.c): its inode, held, its row
 * taken; else NULL. */
static struct kith_inode *take_open(struct kith_fs *fs, const struct kith_inode *dir,
                                    const struct found *found)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_find(fs, found->other.id);
    if (inode != NULL && kith_aside_of(inode, dir, found->base)) {
        kith_inode_hold(inode);
        kith_busy_take(fs, false, &inode, 1);
    } else {
        inode = NULL;
    }
    pthread_mutex_unlock(&fs->lock);
    return inode;
}

static void give_open(struct kith_fs *fs, struct kith_inode *inode)
{
    if (inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
}

/* It goes on under the name that was put: the contents that it has of the cluster are those. */
static int lead_open(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                     struct kith_inode *inode, const struct kith_put_result *result)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    bool ok = entry != NULL && kith_octets_set(&entry->ctx, result->context) &&
              kith_octets_set(&inode->open_ctx, result->context);
    if (ok) {
        kith_entry_lead(fs, entry, inode);
        entry->link = false;
        if (inode->has_kernel_dot && kith_dot_equal(&inode->kernel_dot, &inode->dot)) {
            inode->kernel_dot = result->dot;
        }
        inode->dot = result->dot;
        inode->attr_row = false; /* the record has them all, but for extended ones: part_build */
        inode->attrs.xattrs = false;
        kith_octets_clear(&inode->attr_ctx);
        entry->changed_at = inode->changed_at = kith_mono_ns();
        entry->valid_until = inode->valid_until = entry->changed_at + fs->entry_ns;
        kith_dir_changed(fs, dir, 0);
    }
    pthread_mutex_unlock(&fs->lock);
    return ok ? 0 : ENOMEM;
}

static int part_found(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                      struct found *found)
{
    struct kith_batch *into = kith_batch_new(), *from = kith_batch_new();
    struct kith_client_answer answer, rest;
    bool here = kith_group_compare(&found->group, &dir->dir->group) == 0;
    struct kith_inode *open = take_open(fs, dir, found);
    int error = into == NULL || from == NULL
                    ? ENOMEM
                    : part_build(fs, dir, name, found, into, here ? into : from);
    bool put = error == 0;
    if (error == 0) {
        error = kith_batch_put(fs, into, &dir->dir->group, &answer);
        if (error == 0 && !here) {
            error = kith_batch_put(fs, from, &found->group, &rest);
            kith_client_answer_release(&rest);
        }
        settle(fs, dir, found, error);
    }
    if (error == 0 && open != NULL) {
        error = lead_open(fs, dir, name, open, &answer.result.u.put.results[0]);
    }
    if (put) {
        kith_client_answer_release(&answer);
    }
    give_open(fs, open);
    if (error == 0 && open == NULL) {
        error = adopt(fs, dir, name);
    }
    kith_batch_free(into);
    kith_batch_free(from);
    return error;
}

int kith_other_part(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct found found;
    int error = find(fs, dir, name, &found);
    if (error == 0) {
        error = part_found(fs, dir, name, &found);
    }
    kith_arena_release(&found.arena);
    return error;
}

int kith_other_part_from(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                         const struct kith_other *other)
{
    struct found found;
    found_init(&found);
    int error = find_from(fs, dir, base, other, &found);
    if (error == 0) {
        error = part_found(fs, dir, other->name, &found);
    }
    kith_arena_release(&found.arena);
    return error;
}

/* Whether the inode has other names. */
static bool has_names(struct kith_fs *fs, struct kith_inode *dir, const char *base)
{
    pthread_mutex_lock(&fs->lock);
    const struct kith_entry *entry = kith_entry_find(dir, base);
    bool has = entry != NULL && entry->inode != NULL && entry->inode->name_count > 1;
    pthread_mutex_unlock(&fs->lock);
    return has;
}

int kith_others_keep(struct kith_fs *fs, struct kith_inode *dir, const char *base)
{
    struct kith_other *others;
    struct kith_arena arena;
    struct kith_entry *entry;
    uint32_t count;
    if (kith_dir_entry(fs, dir, base, &entry) != 0) {
        return 0; /* who removes or moves it says why, or removes a name that dangles */
    }
    kith_entry_unpin(fs, entry);
    kith_arena_init(&arena, 0);
    int error = kith_others_list(fs, dir, base, &arena, &others, &count);
    for (uint32_t i = 0; i < count && error == 0; i++) {
        if (!others[i].of_inode || !has_names(fs, dir, base)) {
            error = kith_other_part(fs, dir, others[i].name);
            error = error == ENOENT ? 0 : error; /* another mount has removed it */
        }
    }
    kith_arena_release(&arena);
    return error;
}
