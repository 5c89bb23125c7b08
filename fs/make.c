/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * make.c - mknod, mkdir and symlink: names that must not be there, made and put before the answer. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

void kith_dir_own_begin(struct kith_fs *fs, struct kith_inode *inode, const char *name, bool removed,
                        struct kith_bytes context, struct kith_put_wait *ret_wait)
{
    struct kith_inode_record record;
    struct kith_buf buf;
    kith_buf_init(&buf);
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.has_parent = true;
    record.removed = removed;
    record.parent_name = kith_bytes_make(name, strlen(name));
    if (inode->entry != NULL) {
        record.parent = inode->entry->dir->dir->group;
    }
    kith_inode_record_encode(&record, &buf);
    struct kith_group group = inode->dir->group;
    pthread_mutex_unlock(&fs->lock);
    struct kith_put_update update = {
        .has_sibling = true,
        .kind = removed ? KITH_SIBLING_MARK : KITH_SIBLING_VALUE,
        .context = context,
        .value = kith_buf_bytes(&buf)};
    kith_rows_put_begin(fs, &group, buf.failed ? NULL : &update, ret_wait);
    kith_buf_release(&buf);
}

int kith_dir_put_own(struct kith_fs *fs, struct kith_inode *inode, const char *name, bool removed,
                     struct kith_bytes context)
{
    struct kith_put_wait wait;
    kith_dir_own_begin(fs, inode, name, removed, context, &wait);
    return kith_rows_put_wait(&wait);
}

/* A new name's row, and with a directory its own at the same time: whoever finds the name without the
 * own row sees an empty directory, which it is. */
static int put_name(struct kith_fs *fs, struct kith_inode *inode, const char *name)
{
    struct kith_put_wait own;
    bool dir = inode->type == KITH_TYPE_DIR;
    if (dir) {
        kith_dir_own_begin(fs, inode, name, false, kith_bytes_make(NULL, 0), &own);
    }
    int error = kith_inode_flush(fs, inode, KITH_DURABLE_OS);
    int own_error = dir ? kith_rows_put_wait(&own) : 0;
    return error != 0 ? error : own_error;
}

/* mknod, mkdir and symlink: made and put before the answer. */
static void make_name(struct kith_job *job, enum kith_type type)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *entry = NULL;
    struct kith_inode *inode = NULL;
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, true, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    int error = kith_name_fresh(job, &entry);
    if (error == 0) {
        uint64_t id = kith_fs_random(fs), low = kith_fs_random(fs);
        pthread_mutex_lock(&fs->lock);
        if (entry->inode != NULL) {
            error = EEXIST;
        } else if (job->inode->dir->removed) {
            error = ENOENT;
        } else {
            inode = kith_inode_make(fs, entry, id, type, job->mode, &job->ctx);
            error = inode == NULL ? ENOMEM : 0;
        }
        if (inode != NULL) {
            inode->rdev = job->rdev;
            if (type == KITH_TYPE_SYMLINK) {
                inode->size = job->size;
                error = kith_octets_set(&inode->target, kith_bytes_make(job->data, job->size))
                            ? 0
                            : ENOMEM;
            }
            if (type == KITH_TYPE_DIR) {
                uint8_t own[KITH_DIR_ID_SIZE];
                memcpy(own, &id, 8);
                memcpy(own + 8, &low, 4);
                inode->dir->group = kith_group_make(fs->volume, own);
                /* nobody else knows the id yet: the directory is empty */
                inode->dir->complete_until = kith_mono_ns() + fs->entry_ns;
            }
        }
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0) {
        error = put_name(fs, inode, job->name);
    }
    if (error != 0 && inode != NULL) {
        kith_inode_unmake(fs, entry, inode);
    }
    if (entry != NULL) {
        kith_entry_unpin(fs, entry);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, true, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_entry(job, inode, kith_mono_ns() + fs->entry_ns);
    }
    if (inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
}

void kith_do_mknod(struct kith_job *job)
{
    enum kith_type type = KITH_TYPE_FILE;
    if (S_ISFIFO(job->mode)) {
        type = KITH_TYPE_FIFO;
    } else if (S_ISSOCK(job->mode)) {
        type = KITH_TYPE_SOCKET;
    } else if (S_ISCHR(job->mode)) {
        type = KITH_TYPE_CHAR;
    } else if (S_ISBLK(job->mode)) {
        type = KITH_TYPE_BLOCK;
    }
    make_name(job, type);
}

void kith_do_mkdir(struct kith_job *job)
{
    make_name(job, KITH_TYPE_DIR);
}

void kith_do_symlink(struct kith_job *job)
{
    job->mode = 0777;
    make_name(job, KITH_TYPE_SYMLINK);
}
