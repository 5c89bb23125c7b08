/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * attr.c - attributes: stat, setattr, and the row beside the inode.
 *
 * A change before the flush goes with it. After it, times and modes that only narrow access wait
 * for the next put of the file, at most ATTR_DELAY_NS; everything else is put before the answer.
 *
 * A directory's link count is 1 ("not counted", as on btrfs); its mtime is what was set last, or
 * the last change of its entries that this mount made itself. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

#define STAT_BLOCK      512u         /* unit of st_blocks */
#define BLOCK_SIZE      4096u        /* st_blksize of directories and specials */
#define FILE_BLOCK_SIZE (128u << 10) /* what programs should write at once */

static struct timespec spec_of(const struct kith_time *time)
{
    struct timespec spec = {time->sec, (long)time->nsec};
    return spec;
}

static mode_t type_bits(enum kith_type type)
{
    switch (type) {
    case KITH_TYPE_DIR:
        return S_IFDIR;
    case KITH_TYPE_SYMLINK:
        return S_IFLNK;
    case KITH_TYPE_FIFO:
        return S_IFIFO;
    case KITH_TYPE_SOCKET:
        return S_IFSOCK;
    case KITH_TYPE_CHAR:
        return S_IFCHR;
    case KITH_TYPE_BLOCK:
        return S_IFBLK;
    default:
        return S_IFREG;
    }
}

void kith_inode_stat(const struct kith_inode *inode, struct stat *ret_stat)
{
    memset(ret_stat, 0, sizeof *ret_stat);
    struct kith_time ctime = kith_attrs_ctime(&inode->attrs);
    ret_stat->st_ino = inode->id;
    ret_stat->st_mode = type_bits(inode->type) | (mode_t)inode->attrs.mode;
    ret_stat->st_uid = inode->attrs.uid;
    ret_stat->st_gid = inode->attrs.gid;
    ret_stat->st_rdev = (dev_t)inode->rdev;
    ret_stat->st_nlink = 1;
    if (inode->unlinked) {
        ret_stat->st_nlink = 0;
    } else if (inode->shared) {
        ret_stat->st_nlink = inode->name_count;
    }
    ret_stat->st_size = (off_t)inode->size;
    uint64_t allocated = inode->allocated;
    if (kith_inode_dirty(inode) && allocated < inode->size && inode->type == KITH_TYPE_FILE &&
        allocated == 0) {
        allocated = inode->size; /* not known before the flush; tools take 0 for a hole */
    }
    ret_stat->st_blocks = (blkcnt_t)((allocated + STAT_BLOCK - 1) / STAT_BLOCK);
    ret_stat->st_blksize = inode->type == KITH_TYPE_FILE ? FILE_BLOCK_SIZE : BLOCK_SIZE;
    ret_stat->st_atim = spec_of(&inode->attrs.atime);
    ret_stat->st_mtim = spec_of(&inode->attrs.mtime);
    ret_stat->st_ctim = spec_of(&ctime);
}

enum kith_err kith_attr_update(struct kith_inode *inode, struct kith_arena *arena,
                               struct kith_rowname *name, struct kith_put_update *ret_update)
{
    struct kith_group group;
    struct kith_rowname row;
    memset(ret_update, 0, sizeof *ret_update);
    if (!kith_inode_place(inode, &group, &row)) {
        return KITH_EINVAL;
    }
    kith_rowname_attr(kith_rowname_bytes(&row), name);
    struct kith_attr_record record = {inode->id, inode->attr_changed, inode->attrs};
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_attr_record_encode(&record, &buf);
    ret_update->name = kith_rowname_bytes(name);
    ret_update->has_sibling = true;
    ret_update->value =
        kith_bytes_make(buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size), buf.size);
    ret_update->context = kith_bytes_make(
        kith_arena_copy(arena, inode->attr_ctx.data, inode->attr_ctx.size), inode->attr_ctx.size);
    kith_buf_release(&buf);
    bool ok = ret_update->value.data != NULL && ret_update->context.data != NULL;
    return ok ? KITH_OK : KITH_ENOMEM;
}

static struct kith_time time_of(const struct timespec *spec, bool now_flag,
                                const struct kith_time *now)
{
    struct kith_time time = {spec->tv_sec, (uint32_t)spec->tv_nsec};
    return now_flag ? *now : time;
}

/* fs->lock held. Takes the new values; returns the bits that changed. *ret_widens: somebody may do
 * more than before, so that it must not wait. */
static uint32_t take_attrs(struct kith_inode *inode, const struct stat *attr, int valid,
                           bool *ret_widens)
{
    struct kith_time now = kith_wall_time();
    struct kith_attrs *attrs = &inode->attrs;
    uint32_t changed = 0;
    *ret_widens = false;
    if ((valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
        attrs->uid = (valid & FUSE_SET_ATTR_UID) != 0 ? attr->st_uid : attrs->uid;
        attrs->gid = (valid & FUSE_SET_ATTR_GID) != 0 ? attr->st_gid : attrs->gid;
        attrs->owner_stamp = now;
        changed |= KITH_ATTR_OWNER;
        *ret_widens = true;
    }
    if ((valid & FUSE_SET_ATTR_MODE) != 0) {
        uint32_t mode = attr->st_mode & 07777u;
        *ret_widens = *ret_widens || (mode & ~attrs->mode) != 0;
        attrs->mode = mode;
        attrs->mode_stamp = now;
        changed |= KITH_ATTR_MODE;
    }
    if ((valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) != 0) {
        attrs->atime = time_of(&attr->st_atim, (valid & FUSE_SET_ATTR_ATIME_NOW) != 0, &now);
        attrs->atime_stamp = now;
        changed |= KITH_ATTR_ATIME;
    }
    if ((valid & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0) {
        attrs->mtime = time_of(&attr->st_mtim, (valid & FUSE_SET_ATTR_MTIME_NOW) != 0, &now);
        attrs->mtime_stamp = now;
        changed |= KITH_ATTR_MTIME;
    }
    attrs->have |= changed;
    return changed;
}

/* Size: an open file's contents, or the file is opened for it. */
static int set_size(struct kith_fs *fs, struct kith_inode *inode, uint64_t size)
{
    bool keep = false;
    if (inode->type != KITH_TYPE_FILE) {
        return inode->type == KITH_TYPE_DIR ? EISDIR : EINVAL;
    }
    int error = kith_inode_open(fs, inode, &keep);
    if (error != 0) {
        return error;
    }
    struct kith_content *content;
    error = kith_inode_content(fs, inode, &content);
    if (error == 0) {
        error = kith_errno(kith_content_truncate(content, size));
    }
    if (error == 0) {
        kith_inode_written(fs, inode, size);
        pthread_mutex_lock(&fs->lock);
        bool only = inode->opens == 1; /* truncate(path): opens, flushes and closes */
        pthread_mutex_unlock(&fs->lock);
        error = only ? kith_inode_flush(fs, inode, KITH_DURABLE_OS)
                     : kith_inode_write_through(fs, inode);
    }
    kith_inode_close(fs, inode);
    return error;
}

/* fs->lock held. True when a put must go out before the answer. */
static bool set_attrs(struct kith_fs *fs, struct kith_inode *inode, const struct stat *attr,
                      int valid, struct kith_group *ret_group)
{
    struct kith_rowname name;
    bool widens = false;
    uint32_t changed = take_attrs(inode, attr, valid, &widens);
    bool placed = kith_inode_place(inode, ret_group, &name) && !inode->unlinked;
    if (changed != 0 && placed) {
        inode->attr_since = inode->attr_changed == 0 ? kith_mono_ns() : inode->attr_since;
        inode->attr_changed |= changed;
        inode->attr_version++;
        kith_inode_enqueue(fs, inode);
    }
    return changed != 0 && placed && widens && !kith_inode_dirty(inode);
}

bool kith_setattr_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode,
                       const struct stat *attr, int valid)
{
    const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME |
                      FUSE_SET_ATTR_MTIME_NOW;
    struct kith_group group;
    struct kith_rowname name;
    struct stat now;
    pthread_mutex_lock(&fs->lock);
    bool placed = kith_inode_place(inode, &group, &name);
    bool waits = (valid & FUSE_SET_ATTR_SIZE) != 0 ||
                 ((valid & ~times) != 0 && !kith_inode_dirty(inode) && !inode->unlinked);
    pthread_mutex_unlock(&fs->lock);
    if (waits || (placed && !kith_fs_defers(fs, &group))) {
        return false;
    }
    pthread_mutex_lock(&fs->lock);
    (void)set_attrs(fs, inode, attr, valid, &group);
    kith_inode_stat(inode, &now);
    now.st_ino = inode == fs->root ? FUSE_ROOT_ID : now.st_ino;
    pthread_mutex_unlock(&fs->lock);
    fuse_reply_attr(req, &now, fs->options->attr_timeout);
    return true;
}

void kith_do_setattr(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    int error = 0;
    if ((job->flags & FUSE_SET_ATTR_SIZE) != 0) {
        error = set_size(fs, inode, (uint64_t)job->attr.st_size);
    }
    if (error == 0 && (job->flags & ~FUSE_SET_ATTR_SIZE) != 0) {
        struct kith_group group;
        pthread_mutex_lock(&fs->lock);
        bool put = set_attrs(fs, inode, &job->attr, job->flags, &group);
        bool waits = inode->attr_changed != 0 && !inode->unlinked;
        pthread_mutex_unlock(&fs->lock);
        if (put || (waits && !kith_fs_defers(fs, &group))) {
            error = kith_inode_flush(fs, inode, KITH_DURABLE_OS);
        }
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_attr(job, inode);
    }
}

void kith_do_getattr(struct kith_job *job)
{
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    kith_arena_init(&arena, 0);
    int error = kith_inode_read(job->fs, job->inode, &arena, &answer, &seen);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_attr(job, job->inode);
    }
}
