/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * create.c - CREATE: a name is opened, or a file made under it and opened. mknod, mkdir and symlink
 * are in make.c.
 *
 * A new file is in memory alone at first, where the cluster is well (kith_fs_defers): then nobody
 * waits for more than the question whether the name is there. Whoever changes names in a directory
 * holds its dir_busy from the check to the end of the put. */
#include <errno.h>
#include <fcntl.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

struct kith_inode *kith_inode_make(struct kith_fs *fs, struct kith_entry *entry, uint64_t id,
                                   enum kith_type type, mode_t mode, const struct fuse_ctx *ctx)
{
    struct kith_inode *inode = kith_inode_new(fs, id, type);
    if (inode == NULL) {
        return NULL;
    }
    struct kith_time now = kith_wall_time();
    struct kith_inode *dir = entry->dir;
    struct kith_attrs attrs = {.have = KITH_ATTR_ALL,
                               .mode = mode & 07777u,
                               .uid = ctx->uid,
                               .gid = ctx->gid};
    if ((dir->attrs.mode & S_ISGID) != 0) { /* a directory with set-gid gives its group */
        attrs.gid = dir->attrs.gid;
        attrs.mode |= type == KITH_TYPE_DIR ? S_ISGID : 0;
    }
    attrs.atime = attrs.mtime = now;
    attrs.mode_stamp = attrs.owner_stamp = attrs.atime_stamp = now;
    attrs.mtime_stamp = attrs.xattrs_stamp = now;
    if (type == KITH_TYPE_DIR) {
        attrs.have |= KITH_ATTR_SUBDIRS; /* none */
        attrs.subdirs_stamp = now;
    }
    kith_acl_make(fs, dir, type, ctx->umask, &attrs);
    if (!kith_inode_attrs_set(inode, &attrs)) {
        kith_inode_drop(fs, inode);
        return NULL;
    }
    inode->btime = now;
    inode->pending = true;
    inode->has_kernel_dot = true; /* the kernel's pages are what it wrote itself */
    inode->dirty_since = inode->made_at = kith_mono_ns();
    kith_entry_lead(fs, entry, inode);
    entry->link = false;
    if (entry->fresh_tid != 0 && dir->dir->misses > 0 && dir->dir->live == 0) {
        dir->dir->misses--; /* no scan saves the question that comes before a new name, but under a
                               live watch */
    }
    entry->fresh_tid = 0;
    entry->changed_at = inode->dirty_since;
    entry->valid_until = inode->valid_until = inode->dirty_since + fs->entry_ns;
    kith_entry_touch(fs, entry);
    kith_dir_changed(fs, dir, type == KITH_TYPE_DIR ? 1 : 0);
    return inode;
}

/* fs->lock held. A new file under `entry`, open once; one ref for the caller. NULL when memory is
 * short. */
static struct kith_inode *make_file(struct kith_fs *fs, struct kith_entry *entry, uint64_t id,
                                    mode_t mode, const struct fuse_ctx *ctx)
{
    struct kith_inode *inode = kith_inode_make(fs, entry, id, KITH_TYPE_FILE, mode, ctx);
    if (inode != NULL) {
        inode->opens = 1;
        inode->is_open = kith_octets_set(&inode->open_ctx, kith_octets_bytes(&entry->ctx));
        kith_inode_enqueue(fs, inode);
    }
    return inode;
}

void kith_inode_unmake(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    inode->unlinked = true;
    inode->pending = false;
    inode->write_flushed = inode->write_version;
    if (entry->inode == inode) {
        kith_entry_lead(fs, entry, NULL);
    }
    entry->valid_until = 0; /* the outcome may be unknown */
    kith_watch_doubt(entry);
    pthread_mutex_unlock(&fs->lock);
}

bool kith_create_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *dir, const char *name,
                      mode_t mode, struct fuse_file_info *fi)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    uint64_t id = kith_fs_random(fs);
    struct fuse_entry_param param;
    struct kith_inode *inode = NULL;
    if (!kith_fs_defers(fs, &dir->dir->group) || kith_conflicts_like(fs, name)) {
        return false;
    }
    pthread_mutex_lock(&fs->lock);
    uint64_t now = kith_mono_ns();
    struct kith_entry *entry = kith_entry_find(dir, name);
    entry = entry == NULL ? kith_dir_missing(fs, dir, name, now) : entry;
    bool known = entry != NULL && kith_entry_leads(entry, NULL) && !dir->dir_busy &&
                 !dir->dir->removed;
    bool watch = known && kith_watch_knows(entry);
    if (known && (watch || kith_name_asked(entry, ctx->pid) ||
                  ((fi->flags & O_EXCL) == 0 && kith_entry_valid(entry, now)))) {
        if (watch && entry->fresh_tid != ctx->pid) {
            kith_watch_saved(fs, KITH_SAVED_NEW);
        }
        inode = make_file(fs, entry, id, mode, ctx);
    }
    if (inode != NULL) {
        kith_entry_param(fs, inode, inode->valid_until, false, &param);
        kith_inode_drop(fs, inode);
    }
    pthread_mutex_unlock(&fs->lock);
    if (inode == NULL) {
        return false;
    }
    fi->keep_cache = 1;
    if (fuse_reply_create(req, &param, fi) == -ENOENT) { /* interrupted: the kernel forgot it */
        pthread_mutex_lock(&fs->lock);
        inode->opens--;
        kith_inode_forget(fs, inode, 1);
        pthread_mutex_unlock(&fs->lock);
    }
    return true;
}

/* CREATE of a name that is there: an open, cut to nothing with O_TRUNC. */
static int open_existing(struct kith_job *job, struct kith_inode *inode)
{
    struct kith_fs *fs = job->fs;
    if (inode->type != KITH_TYPE_FILE) {
        return inode->type == KITH_TYPE_DIR ? EISDIR : ESTALE;
    }
    int error = kith_inode_open(fs, inode);
    if (error == 0 && (job->fi.flags & O_TRUNC) != 0) {
        error = kith_inode_cut(job, inode);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_opened(inode, &job->fi);
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

static int create_new(struct kith_job *job, struct kith_entry *entry, struct kith_inode **ret_inode)
{
    struct kith_fs *fs = job->fs;
    uint64_t id = kith_fs_random(fs);
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = NULL;
    int error = job->inode->dir->removed ? ENOENT : kith_entry_leads(entry, NULL) ? 0 : ESTALE;
    if (error == 0) {
        inode = make_file(fs, entry, id, job->mode, &job->ctx);
        error = inode == NULL ? ENOMEM : 0;
    }
    pthread_mutex_unlock(&fs->lock);
    if (inode != NULL && !kith_fs_defers(fs, &job->inode->dir->group)) {
        pthread_mutex_lock(&fs->lock);
        inode->awaited = true;
        pthread_mutex_unlock(&fs->lock);
        error = kith_inode_flush(fs, inode, KITH_DURABLE_OS);
        if (error != 0) {
            kith_inode_unmake(fs, entry, inode);
            kith_inode_close(fs, inode);
            pthread_mutex_lock(&fs->lock);
            kith_inode_drop(fs, inode);
            pthread_mutex_unlock(&fs->lock);
        }
    }
    *ret_inode = inode;
    return error;
}

void kith_do_create(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *entry = NULL;
    struct kith_inode *inode = NULL;
    kith_dir_take(fs, job->inode);
    int error = (job->fi.flags & O_EXCL) != 0 ? kith_name_fresh(job, &entry)
                                              : kith_dir_entry(fs, job->inode, job->name, &entry);
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        inode = entry->inode;
        if (inode != NULL) {
            kith_inode_hold(inode);
        }
        pthread_mutex_unlock(&fs->lock);
        job->fi.keep_cache = 1;
        if (inode == NULL) {
            error = kith_other_taken(fs, job->inode, job->name);
            if (error == EEXIST && (job->fi.flags & O_EXCL) == 0) {
                error = ESTALE; /* the kernel looks again, and opens it */
            } else if (error == 0) {
                error = create_new(job, entry, &inode);
            }
            inode = error == 0 ? inode : NULL;
        } else {
            error = (job->fi.flags & O_EXCL) != 0 ? EEXIST : open_existing(job, inode);
        }
        kith_entry_unpin(fs, entry);
    }
    kith_dir_give(fs, job->inode);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_create(job, inode);
    }
    if (inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
}

/* The fresh answer for a name that must not exist. dir_busy is not held over the question: what was
 * done to the name here meanwhile is newer than the answer, and is kept. */
static void create_end(struct kith_job *job, int error, bool defer, struct kith_entry *entry)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dir = job->inode, *inode = NULL;
    if (entry != NULL) {
        uint64_t id = kith_fs_random(fs);
        bool waits = kith_fs_defers(fs, &dir->dir->group);
        pthread_mutex_lock(&fs->lock);
        defer = dir->dir_busy || !waits; /* a thread waits, or puts it at once */
        if (!defer) {
            bool may = kith_entry_leads(entry, NULL) && !dir->dir->removed;
            inode = may ? make_file(fs, entry, id, job->mode, &job->ctx) : NULL;
            error = may                     ? inode == NULL ? ENOMEM : 0
                    : entry->inode != NULL  ? EEXIST
                    : dir->dir->removed     ? ENOENT
                                            : ESTALE; /* the kernel looks again */
        }
        entry->pins--;
        pthread_mutex_unlock(&fs->lock);
    }
    if (defer) {
        kith_job_defer(job);
        return;
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        job->fi.keep_cache = 1;
        kith_reply_create(job, inode);
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_job_end(job);
}

static void create_done(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = NULL;
    bool link = false;
    int error = kith_name_saw(job, result, &link, &entry);
    create_end(job, error, link, entry);
}

static void create_scanned(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = NULL;
    bool ask = false;
    int error = kith_names_saw(job, result, &ask, &entry);
    create_end(job, error, ask, entry);
}

void kith_start_create(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dir = job->inode;
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_find(dir, job->name);
    bool now = (job->fi.flags & O_EXCL) != 0 && !dir->dir_busy && !dir->dir->removed &&
               (entry == NULL || entry->inode == NULL);
    bool scan = now && kith_dir_scan_due(dir);
    pthread_mutex_unlock(&fs->lock);
    if (kith_conflicts_like(fs, job->name)) {
        kith_job_start(job);
    } else if (scan) {
        kith_names_send(job, create_scanned);
    } else if (now) {
        kith_name_send(job, create_done);
    } else {
        kith_job_start(job);
    }
}
