/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir_own.c - a directory's own row: where the directory is, or the mark that it is removed.
 *
 * It is marked before its name goes, and the mark is taken back where the name stays.
 *
 * ONE DIRECTORY. Two mounts that make the same directory at once, or on two sides of a cut network,
 * make one: its id is drawn from the parent's, the name and the clock of the name's row, which are
 * the same for both. What was removed or renamed has left a clock under the old name, and another
 * id comes of that. When the row was forgotten a day later (node/core/collect/reap.h) the clock is none
 * again; so the own row of that id is looked at: where it says that the directory is elsewhere, or
 * removed, the new one gets an id of its own. Therefore a directory that is moved has its own row
 * say so before its name does. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

struct kith_group kith_dir_own_row(struct kith_fs *fs, struct kith_inode *inode,
                                   const struct kith_inode *parent, const char *name, bool removed,
                                   struct kith_buf *buf)
{
    struct kith_inode_record record;
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.has_parent = true;
    record.removed = removed;
    record.parent_name = kith_bytes_make(name, strlen(name));
    if (parent == NULL && inode->entry != NULL) {
        parent = inode->entry->dir;
    }
    if (parent != NULL) {
        record.parent = parent->dir->group;
    }
    kith_inode_record_encode(&record, buf);
    struct kith_group group = inode->dir->group;
    pthread_mutex_unlock(&fs->lock);
    return group;
}

int kith_dir_put_own(struct kith_fs *fs, struct kith_inode *inode, const struct kith_inode *parent,
                     const char *name, bool removed, struct kith_bytes context)
{
    struct kith_client_answer answer;
    struct kith_buf buf;
    kith_buf_init(&buf);
    struct kith_group group = kith_dir_own_row(fs, inode, parent, name, removed, &buf);
    struct kith_put_update update = {
        .has_sibling = true,
        .kind = removed ? KITH_SIBLING_MARK : KITH_SIBLING_VALUE,
        .context = context,
        .value = kith_buf_bytes(&buf)};
    int error = ENOMEM;
    if (!buf.failed) {
        error = kith_rows_put(fs, &group, KITH_DURABLE_OS, &update, 1, &answer);
        pthread_mutex_lock(&fs->lock);
        if (error != 0) {
            /* one that may be there yet goes with what is put then (kith_inode_tell) */
            inode->untold = inode->untold || (removed && answer.result.err == KITH_EUNKNOWN);
        } else if (!removed) {
            kith_octets_clear(&inode->dir->mark);
        } else if (!kith_octets_set(&inode->dir->mark,
                                    answer.result.u.put.results[0].context)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&buf);
    return error;
}

void kith_dir_ids(struct kith_fs *fs, const struct kith_entry *entry, uint64_t ret_ids[2])
{
    struct kith_arena arena;
    struct kith_row row;
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    kith_buf_put(&buf, entry->dir->dir->group.bytes, KITH_GROUP_SIZE);
    kith_buf_put_sized(&buf, kith_entry_bytes(entry));
    bool ok = kith_row_decode(&arena, kith_octets_bytes(&entry->ctx), &row) == KITH_OK;
    for (uint32_t i = 0; ok && i < row.clock.count; i++) {
        kith_buf_put_u64(&buf, row.clock.entries[i].actor.run);
        kith_buf_put_u64(&buf, row.clock.entries[i].actor.epoch);
        kith_buf_put_u64(&buf, row.clock.entries[i].counter);
    }
    struct kith_checksum sum = kith_checksum_of(kith_buf_bytes(&buf));
    memcpy(ret_ids, sum.bytes, sizeof sum.bytes);
    /* one that this mount has made before, and lost */
    if (!ok || buf.failed || ret_ids[0] <= 1 || kith_inode_find(fs, ret_ids[0]) != NULL) {
        ret_ids[0] = 0;
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

struct kith_group kith_dir_group(const struct kith_fs *fs, const uint64_t ids[2])
{
    uint8_t own[KITH_DIR_ID_SIZE];
    memcpy(own, &ids[0], 8); /* kith_dir_find counts on it */
    memcpy(own + 8, &ids[1], 4);
    return kith_group_make(fs->volume, own);
}

enum kith_dir_id kith_dir_id_state(const struct kith_inode *dir, const char *name,
                                   const struct kith_client_result *result)
{
    struct kith_arena arena;
    struct kith_inode_record record;
    enum kith_dir_id state = KITH_DIR_ID_OTHER;
    if (result->err != KITH_OK) {
        return state;
    }
    const struct kith_row *row = &result->u.rows.rows[0].row;
    if (kith_row_is_empty(row)) {
        return KITH_DIR_ID_FREE;
    }
    kith_arena_init(&arena, 0);
    bool here = row->sibling_count > 0;
    for (uint32_t i = 0; i < row->sibling_count && here; i++) {
        here = row->siblings[i].kind == KITH_SIBLING_VALUE &&
               kith_inode_record_decode(&arena, row->siblings[i].value, &record) == KITH_OK &&
               record.has_parent && !record.removed &&
               kith_group_compare(&record.parent, &dir->dir->group) == 0 &&
               kith_bytes_equal(record.parent_name, kith_bytes_make(name, strlen(name)));
    }
    kith_arena_release(&arena);
    return here ? KITH_DIR_ID_HERE : state;
}

/* First the mark, then the look whether it is empty: what was made elsewhere before the mark is
 * seen. Where memory does not know it to be empty a look comes before, too: few directories are
 * marked in vain. */
int kith_dir_remove(struct kith_fs *fs, struct kith_inode *inode)
{
    int error = kith_dir_seems_empty(fs, inode) ? 0 : kith_dir_empty(fs, inode);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    char name[KITH_FS_NAME_MAX + 1] = "";
    if (inode->entry != NULL) {
        memcpy(name, inode->entry->name, inode->entry->name_size + 1u);
    }
    pthread_mutex_unlock(&fs->lock);
    error = kith_dir_put_own(fs, inode, NULL, name, true, kith_octets_bytes(&inode->dir->mark));
    pthread_mutex_lock(&fs->lock);
    bool untold = error != 0 && inode->untold;
    pthread_mutex_unlock(&fs->lock);
    if (untold) {
        kith_inode_untold(fs, inode, error);
    }
    if (error == 0) {
        error = kith_dir_empty(fs, inode);
        if (error != 0) {
            kith_dir_restore(fs, inode, false);
        }
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        inode->dir->removed = true; /* nothing can be made in it here: up to now it was busy */
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

int kith_dir_unmark(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_client_answer answer;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    pthread_mutex_lock(&fs->lock);
    /* what the mark's put answered: all that was there but the mark, which is what goes then */
    struct kith_put_update update = {.context = kith_octets_bytes(&inode->dir->mark)};
    update.context.data = kith_arena_copy(&arena, update.context.data, update.context.size);
    struct kith_group group = inode->dir->group;
    pthread_mutex_unlock(&fs->lock);
    int error = ENOMEM;
    if (update.context.data != NULL) {
        error = kith_rows_put(fs, &group, KITH_DURABLE_OS, &update, 1, &answer);
        kith_client_answer_release(&answer);
    }
    kith_arena_release(&arena);
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        kith_octets_clear(&inode->dir->mark);
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

void kith_dir_restore(struct kith_fs *fs, struct kith_inode *inode, bool unknown)
{
    pthread_mutex_lock(&fs->lock);
    inode->dir->removed = false;
    pthread_mutex_unlock(&fs->lock);
    int error = unknown ? 0 : kith_dir_unmark(fs, inode);
    if (error != 0) {
        kith_inode_untold(fs, inode, error);
    }
}
