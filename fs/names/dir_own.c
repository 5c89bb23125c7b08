/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir_own.c - a directory's own row: where the directory is, or the mark that it is removed.
 *
 * It is marked before its name goes, and the mark is taken back where the name stays. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

struct kith_group kith_dir_own_row(struct kith_fs *fs, struct kith_inode *inode, const char *name,
                                   bool removed, struct kith_buf *buf)
{
    struct kith_inode_record record;
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.has_parent = true;
    record.removed = removed;
    record.parent_name = kith_bytes_make(name, strlen(name));
    if (inode->entry != NULL) {
        record.parent = inode->entry->dir->dir->group;
    }
    kith_inode_record_encode(&record, buf);
    struct kith_group group = inode->dir->group;
    pthread_mutex_unlock(&fs->lock);
    return group;
}

int kith_dir_put_own(struct kith_fs *fs, struct kith_inode *inode, const char *name, bool removed,
                     struct kith_bytes context)
{
    struct kith_client_answer answer;
    struct kith_buf buf;
    kith_buf_init(&buf);
    struct kith_group group = kith_dir_own_row(fs, inode, name, removed, &buf);
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
    error = kith_dir_put_own(fs, inode, name, true, kith_octets_bytes(&inode->dir->mark));
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
