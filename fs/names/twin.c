/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * twin.c - a file in conflict that gets another name, or none: what stays under the old one.
 *
 * A row holds concurrent versions of one file; a rename or unlink takes the one that bears the
 * name, and no put throws away another. Those that this mount has shown beside it are files of
 * their own by then (kith_others_keep of conflicts.h). One that nobody here has seen before bears
 * the old name afterwards. It has the file id of the other, which may be open, and a mount would
 * take the two for one. Therefore it is put once more in its place, as a file of its own: the same,
 * with another id. The put of the old name tells of it; without a conflict nothing is put.
 *
 * A reference to the same inode that stays, because another mount gave the inode this name at the
 * same time, is no other version: it goes, too, else it would be a name that the inode's row does
 * not know of. */
#include <errno.h>
#include <string.h>

#include "format/versions.h"
#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define PART_PAUSE_NS 200000000 /* between tries */

/* The version that bears the name now, in its place under a new id; false where there is none. */
static bool part_update(struct kith_fs *fs, struct kith_arena *arena, struct kith_bytes context,
                        struct kith_buf *buf, struct kith_put_update *ret_update)
{
    struct kith_row row;
    struct kith_inode_record record;
    if (kith_row_decode(arena, context, &row) != KITH_OK) {
        return false;
    }
    const struct kith_sibling *twin = kith_versions_winner(&row);
    if (twin == NULL || kith_inode_record_decode(arena, twin->value, &record) != KITH_OK ||
        record.type == KITH_TYPE_LINK || record.type == KITH_TYPE_DIR ||
        kith_row_context(arena, &row, twin, &ret_update->context) != KITH_OK) {
        return false;
    }
    record.file_id = kith_fs_random(fs);
    kith_inode_record_encode(&record, buf);
    ret_update->has_sibling = true;
    ret_update->kind = KITH_SIBLING_VALUE;
    ret_update->value = kith_buf_bytes(buf);
    ret_update->refs = twin->refs;
    ret_update->ref_count = twin->ref_count;
    return !buf->failed;
}

/* What refers to another row of the id, in a group of its own, is another file's name, and perhaps
 * its only one. */
static bool refers(const struct kith_inode_record *record, const struct kith_link_at *at,
                   const struct kith_group *dir)
{
    return record->type == KITH_TYPE_LINK && record->file_id == at->id &&
           (kith_group_compare(&record->link, &at->group) == 0 ||
            kith_group_compare(&record->link, dir) == 0);
}

/* All versions under the name but references to the inode; false where there are none of those. */
static bool unlink_update(struct kith_arena *arena, struct kith_bytes context,
                          const struct kith_link_at *at, const struct kith_group *dir,
                          struct kith_put_update *ret_update)
{
    struct kith_row row;
    struct kith_inode_record record;
    if (kith_row_decode(arena, context, &row) != KITH_OK) {
        return false;
    }
    struct kith_sibling *others = kith_arena_calloc(arena, row.sibling_count + 1u, sizeof *others);
    struct kith_row rest = {row.clock, 0, others};
    for (uint32_t i = 0; i < row.sibling_count && others != NULL; i++) {
        const struct kith_sibling *sibling = &row.siblings[i];
        bool goes = sibling->kind == KITH_SIBLING_VALUE &&
                    kith_inode_record_decode(arena, sibling->value, &record) == KITH_OK &&
                    refers(&record, at, dir);
        if (!goes) {
            others[rest.sibling_count++] = *sibling;
        }
    }
    ret_update->has_sibling = false;
    return others != NULL && rest.sibling_count < row.sibling_count &&
           kith_row_context(arena, &rest, NULL, &ret_update->context) == KITH_OK;
}

/* Puts it until it is put, and what the name's row is then. */
static int part_put(struct kith_fs *fs, const struct kith_group *group,
                    const struct kith_put_update *update, struct kith_arena *arena,
                    struct kith_bytes *ret_context)
{
    const struct timespec pause = {0, PART_PAUSE_NS};
    struct kith_client_answer answer;
    uint64_t until = kith_rows_until(fs);
    int error;
    while ((error = kith_rows_put(fs, group, KITH_DURABLE_OS, update, 1, &answer)) != 0 &&
           kith_mono_ns() < until) {
        kith_client_answer_release(&answer);
        nanosleep(&pause, NULL);
    }
    if (error == 0) {
        *ret_context = answer.result.u.put.results[0].context;
        ret_context->data = kith_arena_copy(arena, ret_context->data, ret_context->size);
        error = ret_context->data == NULL ? ENOMEM : 0;
    }
    kith_client_answer_release(&answer);
    return error;
}

/* Where the inode's row is, or was. */
static struct kith_link_at link_at(struct kith_fs *fs, const struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_link_at at = {inode->share_group, inode->share_own, inode->share_id};
    if (at.id == 0) { /* it had none; another mount may have given it one */
        at.id = inode->id;
    }
    pthread_mutex_unlock(&fs->lock);
    return at;
}

static void log_stays(const struct kith_entry *entry, int error)
{
    kith_log_error("twin",
                   "%s: another version of the file that had this name stays under it "
                   "and cannot be told from it: %s",
                   entry->name, strerror(error));
}

void kith_twin_unlink(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode,
                      struct kith_bytes context)
{
    struct kith_put_update update = {.name = kith_entry_bytes(entry)};
    const struct kith_group *dir = &entry->dir->dir->group;
    const struct kith_link_at at = link_at(fs, inode);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    if (unlink_update(&arena, context, &at, dir, &update)) {
        int error = part_put(fs, dir, &update, &arena, &context);
        if (error != 0) {
            log_stays(entry, error);
        }
    }
    kith_arena_release(&arena);
}

bool kith_twin_stays(const struct kith_entry *entry)
{
    return !kith_context_is_alone(kith_octets_bytes(&entry->ctx));
}

static void part(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode)
{
    struct kith_put_update update = {.name = kith_entry_bytes(entry)};
    struct kith_group group = entry->dir->dir->group;
    const struct kith_link_at at = link_at(fs, inode);
    struct kith_arena arena;
    struct kith_buf buf;
    int error = 0;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    pthread_mutex_lock(&fs->lock); /* a lookup may replace it meanwhile */
    struct kith_bytes context = kith_octets_bytes(&entry->ctx);
    context.data = kith_arena_copy(&arena, context.data, context.size);
    pthread_mutex_unlock(&fs->lock);
    error = context.data == NULL ? ENOMEM : 0;
    if (error == 0 && unlink_update(&arena, context, &at, &group, &update)) {
        error = part_put(fs, &group, &update, &arena, &context);
    }
    if (error == 0 && part_update(fs, &arena, context, &buf, &update)) {
        error = part_put(fs, &group, &update, &arena, &context);
    }
    if (error != 0) {
        log_stays(entry, error);
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    entry->valid_until = 0;
    kith_watch_doubt(entry);
    pthread_mutex_unlock(&fs->lock);
}

void kith_twin_part(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    bool stays = kith_twin_stays(entry);
    pthread_mutex_unlock(&fs->lock);
    if (stays) {
        part(fs, entry, inode);
    }
}
