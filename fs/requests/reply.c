/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * reply.c - answers to the kernel. Where the request was answered EINTR already, or the kernel says
 * that it is gone (ENOENT), what the answer would have handed out (a lookup, a handle) is taken
 * back. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

static double seconds_until(uint64_t until, double most)
{
    uint64_t now = kith_mono_ns();
    double left = until <= now ? 0.0 : (double)(until - now) / (double)NSEC_PER_SEC;
    return left < most ? left : most;
}

void kith_entry_param(struct kith_fs *fs, struct kith_inode *inode, uint64_t valid_until,
                      bool checked, struct fuse_entry_param *ret_param)
{
    memset(ret_param, 0, sizeof *ret_param);
    ret_param->ino = kith_inode_ino(fs, inode);
    kith_inode_stat(inode, &ret_param->attr);
    ret_param->entry_timeout = seconds_until(valid_until, fs->options->entry_timeout);
    bool ours = kith_inode_dirty(inode);
    ret_param->attr_timeout = ours || kith_watch_knows_inode(inode)
                                  ? fs->options->attr_timeout
                                  : seconds_until(inode->valid_until, fs->options->attr_timeout);
    ret_param->attr_timeout = kith_told_timeout(inode, ret_param->attr_timeout, checked);
    if (ours) {
        ret_param->entry_timeout = fs->options->entry_timeout;
    }
    if (inode->nlookup++ == 0) {
        kith_inode_hold(inode);
    }
}

static void forget_one(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    kith_inode_forget(fs, inode, 1);
    pthread_mutex_unlock(&fs->lock);
}

void kith_reply_entry(struct kith_job *job, struct kith_inode *inode, uint64_t valid_until,
                      bool checked)
{
    struct fuse_entry_param param;
    if (!kith_job_take(job)) {
        return;
    }
    pthread_mutex_lock(&job->fs->lock);
    kith_entry_param(job->fs, inode, valid_until, checked, &param);
    pthread_mutex_unlock(&job->fs->lock);
    if (fuse_reply_entry(job->req, &param) == -ENOENT) {
        forget_one(job->fs, inode);
    }
}

void kith_reply_create(struct kith_job *job, struct kith_inode *inode)
{
    struct fuse_entry_param param;
    if (!kith_job_take(job)) {
        kith_inode_cache_stays(job->fs, inode);
        kith_inode_close(job->fs, inode);
        return;
    }
    pthread_mutex_lock(&job->fs->lock);
    kith_entry_param(job->fs, inode, kith_mono_ns() + job->fs->entry_ns, false, &param);
    pthread_mutex_unlock(&job->fs->lock);
    if (fuse_reply_create(job->req, &param, &job->fi) == -ENOENT) {
        kith_inode_cache_stays(job->fs, inode);
        kith_inode_close(job->fs, inode);
        forget_one(job->fs, inode);
    }
}

void kith_reply_open(struct kith_job *job, struct kith_inode *inode)
{
    if (!kith_job_take(job)) {
        kith_inode_cache_stays(job->fs, inode);
        kith_inode_close(job->fs, inode);
        return;
    }
    if (fuse_reply_open(job->req, &job->fi) == -ENOENT) {
        kith_inode_cache_stays(job->fs, inode);
        kith_inode_close(job->fs, inode);
    }
}

void kith_reply_attr(struct kith_job *job, struct kith_inode *inode, bool checked)
{
    struct stat attr;
    if (!kith_job_take(job)) {
        return;
    }
    pthread_mutex_lock(&job->fs->lock);
    kith_inode_stat(inode, &attr);
    double timeout = kith_told_timeout(inode, job->fs->options->attr_timeout, checked);
    if (inode == job->fs->root) {
        attr.st_ino = FUSE_ROOT_ID;
    }
    pthread_mutex_unlock(&job->fs->lock);
    fuse_reply_attr(job->req, &attr, timeout);
}

void kith_reply_data(struct kith_job *job, const void *data, size_t size)
{
    if (kith_job_take(job)) {
        fuse_reply_buf(job->req, data, size);
    }
}

void kith_reply_written(struct kith_job *job, size_t size)
{
    if (kith_job_take(job)) {
        fuse_reply_write(job->req, size);
    }
}

void kith_reply_xattr_size(struct kith_job *job, size_t size)
{
    if (kith_job_take(job)) {
        fuse_reply_xattr(job->req, size);
    }
}

void kith_reply_offset(struct kith_job *job, off_t offset)
{
    if (kith_job_take(job)) {
        fuse_reply_lseek(job->req, offset);
    }
}
