/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * data.c - reading and writing open files, and their flush. In the executor: contents may wait. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

void kith_do_open(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    if (job->inode->type != KITH_TYPE_FILE) {
        kith_job_fail(job, job->inode->type == KITH_TYPE_DIR ? EISDIR : ENXIO);
        return;
    }
    int error = kith_inode_open(fs, job->inode);
    if (error == 0 && (job->fi.flags & O_TRUNC) != 0) {
        error = kith_inode_cut(job, job->inode);
    } else if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        error = kith_told_open(fs, job->inode, job->fi.flags, job->ctx.pid) ? ESTALE : 0;
        pthread_mutex_unlock(&fs->lock);
        if (error != 0) {
            kith_inode_close(fs, job->inode);
        }
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        pthread_mutex_lock(&fs->lock);
        kith_inode_opened(job->inode, &job->fi);
        pthread_mutex_unlock(&fs->lock);
        kith_reply_open(job, job->inode);
    }
}

/* Of one version; kith_inode_read_over follows where that is well. */
static int read_whole(struct kith_job *job, struct kith_content *content, struct kith_blob *blob,
                      size_t *ret_size)
{
    struct kith_fs *fs = job->fs;
    int error = 0;
    bool counts = false;
    while (error == 0 && !counts) { /* the next version comes after a request to the cluster */
        uint64_t read;
        pthread_mutex_lock(&fs->lock);
        while (!kith_inode_read_begin(job->inode, &read)) {
            pthread_cond_wait(&fs->changed, &fs->lock);
        }
        pthread_mutex_unlock(&fs->lock);
        error = kith_errno(
            kith_content_read(content, (uint64_t)job->offset, blob->data, job->size, ret_size));
        counts = error == 0 && kith_inode_read_counts(fs, job->inode, read);
    }
    return error;
}

void kith_do_read(struct kith_job *job)
{
    struct kith_content *content;
    size_t size = 0;
    int error = kith_inode_content(job->fs, job->inode, &content);
    struct kith_blob *blob = error == 0 ? kith_blob_new(job->size) : NULL;
    if (error == 0 && blob == NULL) {
        error = ENOMEM;
    }
    if (error == 0) {
        error = read_whole(job, content, blob, &size);
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_data(job, blob->data, size);
        kith_inode_read_over(job->fs, job->inode);
    }
    kith_blob_drop(blob);
}

bool kith_read_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode, size_t size,
                    off_t offset)
{
    size_t got = 0, most = size < KITH_CONTENT_INLINE_MAX ? size : KITH_CONTENT_INLINE_MAX;
    uint64_t begun;
    pthread_mutex_lock(&fs->lock);
    bool may = kith_inode_read_begin(inode, &begun) && inode->size <= KITH_CONTENT_INLINE_MAX;
    struct kith_content *content = may ? inode->content : NULL;
    pthread_mutex_unlock(&fs->lock);
    uint8_t *data = content != NULL ? kith_malloc(most + 1) : NULL;
    bool read = data != NULL &&
                kith_content_try_read(content, (uint64_t)offset, data, most, &got) == KITH_OK &&
                kith_inode_read_counts(fs, inode, begun);
    if (read) {
        fuse_reply_buf(req, (const char *)data, got);
        kith_inode_read_over(fs, inode);
    }
    kith_free(data);
    return read;
}

bool kith_write_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode, const char *data,
                     size_t size, off_t offset, const struct fuse_file_info *fi)
{
    struct kith_content *content;
    struct kith_group group;
    pthread_mutex_lock(&fs->lock);
    bool placed = kith_inode_goes_to(inode, &group);
    pthread_mutex_unlock(&fs->lock);
    bool append = (fi->flags & O_APPEND) != 0 && !fi->writepage;
    if ((placed && !kith_fs_defers(fs, &group)) || (uint64_t)offset + size > KITH_FILE_SIZE_MAX ||
        kith_inode_content(fs, inode, &content) != 0) {
        return false;
    }
    bool part = kith_whole_part(fs, inode, fuse_req_ctx(req)->pid, (uint64_t)offset, size, fi);
    if (kith_content_try_write(content, append, (uint64_t)offset, (const uint8_t *)data, size) !=
        KITH_OK) {
        return false;
    }
    kith_inode_written_by(fs, inode, fi);
    kith_inode_written(fs, inode, kith_content_size(content));
    if (!part && !fi->writepage) {
        kith_whole_over(fs, inode);
    }
    fuse_reply_write(req, size);
    return true;
}

static int write_data(struct kith_job *job, struct kith_content *content)
{
    uint64_t at = (uint64_t)job->offset;
    enum kith_err err;
    if (at + job->size > KITH_FILE_SIZE_MAX) {
        return EFBIG;
    }
    bool part = kith_whole_part(job->fs, job->inode, job->ctx.pid, at, job->size, &job->fi);
    if ((job->fi.flags & O_APPEND) != 0 && !job->fi.writepage) {
        err = kith_content_append(content, job->data, job->size, &at);
    } else {
        err = kith_content_write(content, at, job->data, job->size);
    }
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    kith_inode_written_by(job->fs, job->inode, &job->fi);
    kith_inode_written(job->fs, job->inode, kith_content_size(content));
    if (part) {
        return 0; /* what follows puts it, and tells how that went */
    }
    if (!job->fi.writepage) {
        kith_whole_over(job->fs, job->inode);
    }
    return kith_inode_write_through(job->fs, job->inode);
}

void kith_do_write(struct kith_job *job)
{
    struct kith_content *content;
    int error = kith_inode_content(job->fs, job->inode, &content);
    if (error == 0) {
        error = write_data(job, content);
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_written(job, job->size);
    }
}

/* close(2): what is unsent goes at `os`. */
void kith_do_flush(struct kith_job *job)
{
    kith_job_fail(job, kith_inode_flush(job->fs, job->inode, KITH_DURABLE_OS));
}

void kith_do_fsync(struct kith_job *job)
{
    kith_job_fail(job, kith_inode_flush(job->fs, job->inode, KITH_DURABLE_DISK));
}

/* A shared mmap writes after the last flush. */
void kith_do_release(struct kith_job *job)
{
    int error = 0;
    pthread_mutex_lock(&job->fs->lock);
    bool dirty = kith_inode_dirty(job->inode);
    pthread_mutex_unlock(&job->fs->lock);
    if (dirty) {
        error = kith_inode_flush(job->fs, job->inode, KITH_DURABLE_OS);
    }
    kith_inode_close(job->fs, job->inode);
    kith_job_fail(job, error);
}

void kith_start_release(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    pthread_mutex_lock(&fs->lock);
    bool clean = inode->unlinked || !kith_inode_dirty(inode);
    if (clean) {
        KITH_ASSERT(inode->opens > 0);
        inode->opens--;
    }
    pthread_mutex_unlock(&fs->lock);
    if (!clean) {
        kith_job_start(job);
        return;
    }
    kith_job_begin(job);
    kith_inode_settle_soon(fs, inode);
    kith_job_fail(job, 0);
    kith_job_end(job);
}

static int allocate(struct kith_job *job, struct kith_content *content)
{
    uint64_t offset = (uint64_t)job->offset, size = job->size;
    if (offset + size > KITH_FILE_SIZE_MAX) {
        return EFBIG;
    }
    bool keep = (job->flags & FALLOC_FL_KEEP_SIZE) != 0;
    switch (job->flags & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
        return kith_errno(kith_content_allocate(content, offset, size, keep));
    case FALLOC_FL_PUNCH_HOLE:
        return keep ? kith_errno(kith_content_punch(content, offset, size)) : EOPNOTSUPP;
    case FALLOC_FL_ZERO_RANGE: {
        uint64_t end = kith_content_size(content);
        uint64_t stop = offset + size < end ? offset + size : end;
        enum kith_err err = KITH_OK;
        if (stop > offset) {
            err = kith_content_punch(content, offset, stop - offset);
        }
        if (err == KITH_OK) {
            err = kith_content_allocate(content, offset, size, keep);
        }
        return kith_errno(err);
    }
    default:
        return EOPNOTSUPP; /* COLLAPSE_RANGE, INSERT_RANGE: programs expect and handle this */
    }
}

void kith_do_fallocate(struct kith_job *job)
{
    struct kith_content *content;
    int error = kith_inode_content(job->fs, job->inode, &content);
    if (error == 0) {
        error = allocate(job, content);
    }
    if (error == 0) {
        kith_inode_written_by(job->fs, job->inode, &job->fi);
        kith_inode_written(job->fs, job->inode, kith_content_size(content));
        error = kith_inode_write_through(job->fs, job->inode);
    }
    kith_job_fail(job, error);
}

void kith_do_lseek(struct kith_job *job)
{
    struct kith_content *content;
    uint64_t offset = 0;
    int error = kith_inode_content(job->fs, job->inode, &content);
    if (error == 0 && job->whence != SEEK_DATA && job->whence != SEEK_HOLE) {
        error = EINVAL;
    }
    if (error == 0) {
        enum kith_err err =
            kith_content_seek(content, (uint64_t)job->offset, job->whence == SEEK_DATA, &offset);
        error = err == KITH_ENOTFOUND ? ENXIO : kith_errno(err);
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_offset(job, (off_t)offset);
    }
}

void kith_do_copy_range(struct kith_job *job)
{
    struct kith_content *from, *to;
    uint64_t done = 0;
    int error = kith_inode_content(job->fs, job->inode, &from);
    if (error == 0) {
        error = kith_inode_content(job->fs, job->inode2, &to);
    }
    if (error == 0) {
        error = kith_errno(kith_content_copy_range(from, (uint64_t)job->offset, to,
                                                   (uint64_t)job->offset2, job->size, &done));
    }
    if (error == 0) {
        kith_inode_written_by(job->fs, job->inode2, &job->fi2);
        kith_inode_written(job->fs, job->inode2, kith_content_size(to));
        error = kith_inode_write_through(job->fs, job->inode2);
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_written(job, (size_t)done);
    }
}
