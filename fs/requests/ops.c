/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ops.c - what the kernel asks: answered here where memory knows, else handed to the executor.
 *
 * Nothing in this file may wait for the network or for contents. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

static struct kith_fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* Hands a prepared job over; NULL: memory was short. */
static void start(fuse_req_t req, struct kith_job *job)
{
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
    } else {
        kith_job_start(job);
    }
}

/* The same for work that may need no thread. */
static void start_with(fuse_req_t req, struct kith_job *job, void (*starts)(struct kith_job *))
{
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
    } else {
        starts(job);
    }
}

static bool name_fits(fuse_req_t req, const char *name)
{
    if (strlen(name) <= KITH_FS_NAME_MAX) {
        return true;
    }
    fuse_reply_err(req, ENAMETOOLONG);
    return false;
}

static struct kith_job *named(fuse_req_t req, fuse_ino_t ino, const char *name,
                              void (*run)(struct kith_job *))
{
    struct kith_job *job = kith_job_new(fs_of(req), req, ino, 0, run);
    if (job != NULL) {
        memcpy(job->name, name, strlen(name) + 1);
    }
    return job;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct kith_fs *fs = userdata;
    unsigned off = FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_HANDLE_KILLPRIV |
                   FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                   FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_ACL |
                   FUSE_CAP_DONT_MASK;
    unsigned acl = FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK; /* both or none (acl.c) */
    unsigned on = FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
                  FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_READ | FUSE_CAP_EXPIRE_ONLY;
    conn->want &= ~off;
    conn->want |= on & conn->capable;
    fs->acl = !fs->options->no_acl && (conn->capable & acl) == acl;
    conn->want |= fs->acl ? acl : 0;
    conn->max_write = KITH_WRITE_MAX;
    conn->max_readahead = 1u << 20;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
    conn->time_gran = 1;
    if (fs->on_ready != NULL) {
        fs->on_ready(fs->on_ready_arg, 0, "");
    }
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct kith_fs *fs = fs_of(req);
    struct kith_inode *inode = NULL;
    struct fuse_entry_param param;
    if (!name_fits(req, name)) {
        return;
    }
    uint64_t now = kith_mono_ns();
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *dir = kith_inode_of(fs, parent);
    struct kith_entry *entry = dir->dir != NULL ? kith_entry_find(dir, name) : NULL;
    bool known = entry != NULL && kith_entry_valid(entry, now);
    bool none = entry == NULL && dir->dir != NULL;
    bool timed = none && now < dir->dir->complete_until;
    bool complete = timed || (none && (kith_watch_complete(dir) || kith_pack_lacks(dir, name) ||
                                         kith_near_lacks(dir, name)));
    if (none && !complete) { /* it may be known without an entry */
        entry = kith_pack_entry(fs, dir, name);
        known = entry != NULL && kith_entry_valid(entry, now);
    }
    bool missing = known ? entry->inode == NULL : complete;
    if ((known && now >= entry->valid_until) || (missing && !known && !timed)) {
        kith_watch_saved(fs, KITH_SAVED_LOOKUP);
    }
    if (entry != NULL) {
        entry->fresh_tid = 0;
    }
    if (known) {
        kith_near_used(entry);
        kith_entry_touch(fs, entry);
        inode = entry->inode;
    }
    if (inode != NULL) {
        kith_entry_param(fs, inode, kith_entry_until(fs, entry, now), true, &param);
    }
    if (none && known) {
        kith_entry_sweep_few(fs); /* one more */
    }
    int failed = !known && !missing ? kith_lookup_failed(fs, dir, name) : 0;
    pthread_mutex_unlock(&fs->lock);
    if (failed != 0) {
        fuse_reply_err(req, failed);
    } else if (inode != NULL) {
        if (fuse_reply_entry(req, &param) == -ENOENT) {
            pthread_mutex_lock(&fs->lock);
            kith_inode_forget(fs, inode, 1);
            pthread_mutex_unlock(&fs->lock);
        }
    } else if (missing && !kith_conflicts_like(fs, name)) {
        fuse_reply_err(req, ENOENT);
    } else {
        start_with(req, named(req, parent, name, kith_do_lookup), kith_start_lookup);
    }
}

static void forget(struct kith_fs *fs, struct kith_inode *inode, uint64_t count)
{
    struct kith_entry *entry = inode->entry; /* which has a ref where it leads there */
    bool leads = entry != NULL && entry->inode == inode;
    kith_inode_forget(fs, inode, count);
    if (leads) {
        kith_entry_forgotten(fs, entry);
    }
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    struct kith_fs *fs = fs_of(req);
    pthread_mutex_lock(&fs->lock);
    if (ino != FUSE_ROOT_ID) {
        forget(fs, kith_inode_of(fs, ino), nlookup);
    }
    pthread_mutex_unlock(&fs->lock);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct kith_fs *fs = fs_of(req);
    pthread_mutex_lock(&fs->lock);
    for (size_t i = 0; i < count; i++) {
        if (forgets[i].ino != FUSE_ROOT_ID) {
            forget(fs, kith_inode_of(fs, forgets[i].ino), forgets[i].nlookup);
        }
    }
    pthread_mutex_unlock(&fs->lock);
    fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct kith_fs *fs = fs_of(req);
    struct stat attr;
    double timeout = 0;
    (void)fi;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_of(fs, ino);
    bool known = kith_attrs_known(fs, inode);
    if (known) {
        kith_inode_stat(inode, &attr);
        timeout = kith_told_timeout(inode, fs->options->attr_timeout, true);
    }
    if (known && inode->entry != NULL) {
        kith_near_used(inode->entry);
    }
    bool root = inode == fs->root;
    struct kith_inode *dir = !known && inode->entry != NULL ? inode->entry->dir : NULL;
    bool begin = dir != NULL && kith_watch_asked(fs, dir, false);
    pthread_mutex_unlock(&fs->lock);
    if (begin) {
        kith_watch_begin(fs, dir);
    }
    if (known) {
        attr.st_ino = root ? FUSE_ROOT_ID : attr.st_ino;
        fuse_reply_attr(req, &attr, timeout);
    } else {
        start_with(req, kith_job_new(fs, req, ino, 0, kith_do_getattr), kith_start_getattr);
    }
}

/* Another version of a file beside it is read, removed, or moved: what else is asked is refused. Who
 * has it open since it bore the name (aside.c) goes on; open: what is asked may be of a handle. */
static bool made_refused(fuse_req_t req, fuse_ino_t ino, bool open)
{
    struct kith_fs *fs = fs_of(req);
    pthread_mutex_lock(&fs->lock);
    const struct kith_inode *inode = kith_inode_of(fs, ino);
    bool made = inode->made || (!open && kith_aside_is(inode));
    int refusal = kith_aside_refusal(inode);
    pthread_mutex_unlock(&fs->lock);
    if (made) {
        fuse_reply_err(req, refusal);
    }
    return made;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                       struct fuse_file_info *fi)
{
    struct kith_fs *fs = fs_of(req);
    int valid = to_set & ~FUSE_SET_ATTR_CTIME;
    struct stat now;
    double timeout;
    if (made_refused(req, ino, true)) {
        return;
    }
    kith_whole_over(fs, kith_inode_of(fs, ino));
    if (kith_setattr_fast(fs, kith_inode_of(fs, ino), attr, valid, &now, &timeout)) {
        fuse_reply_attr(req, &now, timeout);
        return;
    }
    struct kith_job *job = kith_job_new(fs, req, ino, 0, kith_do_setattr);
    if (job != NULL) {
        job->attr = *attr;
        job->flags = valid;
        job->has_fi = fi != NULL;
        job->fi = fi != NULL ? *fi : job->fi;
    }
    start_with(req, job, kith_start_setattr);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct kith_fs *fs = fs_of(req);
    char target[KITH_SYMLINK_MAX + 1];
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_of(fs, ino);
    size_t size = inode->target.size;
    if (size > 0) {
        memcpy(target, inode->target.data, size);
    }
    target[size] = '\0';
    bool link = inode->type == KITH_TYPE_SYMLINK;
    pthread_mutex_unlock(&fs->lock);
    if (link) {
        fuse_reply_readlink(req, target);
    } else {
        fuse_reply_err(req, EINVAL);
    }
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    if (!name_fits(req, name)) {
        return;
    }
    struct kith_job *job = named(req, parent, name, kith_do_mknod);
    if (job != NULL) {
        job->mode = mode;
        job->rdev = rdev;
    }
    start_with(req, job, kith_start_mknod);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    if (!name_fits(req, name)) {
        return;
    }
    struct kith_job *job = named(req, parent, name, kith_do_mkdir);
    if (job != NULL) {
        job->mode = mode;
    }
    start_with(req, job, kith_start_mkdir);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    size_t size = strlen(target);
    if (!name_fits(req, name)) {
        return;
    }
    if (size > KITH_SYMLINK_MAX) {
        fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    struct kith_job *job = named(req, parent, name, kith_do_symlink);
    if (job != NULL) {
        job->data = (uint8_t *)kith_strdup(target);
        job->size = job->data != NULL ? size : 0;
    }
    start_with(req, job, kith_start_symlink);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (name_fits(req, name)) {
        start_with(req, named(req, parent, name, kith_do_unlink), kith_start_unlink);
    }
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (name_fits(req, name)) {
        start(req, named(req, parent, name, kith_do_rmdir));
    }
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned int flags)
{
    if (!name_fits(req, name) || !name_fits(req, newname)) {
        return;
    }
    struct kith_job *job = kith_job_new(fs_of(req), req, parent, newparent, kith_do_rename);
    if (job != NULL) {
        memcpy(job->name, name, strlen(name) + 1);
        memcpy(job->name2, newname, strlen(newname) + 1);
        job->flags = (int)flags;
    }
    start_with(req, job, kith_start_rename);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    if (!name_fits(req, newname) || made_refused(req, ino, false)) {
        return;
    }
    struct kith_job *job = kith_job_new(fs_of(req), req, ino, newparent, kith_do_link);
    if (job != NULL) {
        memcpy(job->name, newname, strlen(newname) + 1);
    }
    kith_whole_over(fs_of(req), kith_inode_of(fs_of(req), ino));
    start(req, job);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct kith_fs *fs = fs_of(req);
    if (!name_fits(req, name)) {
        return;
    }
    if (kith_create_fast(fs, req, kith_inode_of(fs, parent), name, mode, fi)) {
        return;
    }
    struct kith_job *job = named(req, parent, name, kith_do_create);
    if (job != NULL) {
        job->mode = mode;
        job->fi = *fi;
    }
    start_with(req, job, kith_start_create);
}

static struct kith_job *with_file(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi,
                                  void (*run)(struct kith_job *))
{
    struct kith_job *job = kith_job_new(fs_of(req), req, ino, 0, run);
    if (job != NULL && fi != NULL) {
        job->fi = *fi;
        job->has_fi = true;
    }
    return job;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    bool writes = (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0;
    if (writes && made_refused(req, ino, false)) {
        return;
    }
    start_with(req, with_file(req, ino, fi, kith_do_open), kith_start_open);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    struct kith_fs *fs = fs_of(req);
    if (kith_read_fast(fs, req, kith_inode_of(fs, ino), size, off)) {
        return;
    }
    struct kith_job *job = with_file(req, ino, fi, kith_do_read);
    if (job != NULL) {
        job->size = size;
        job->offset = off;
    }
    start(req, job);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct kith_fs *fs = fs_of(req);
    if (kith_write_fast(fs, req, kith_inode_of(fs, ino), data, size, off, fi)) {
        return;
    }
    struct kith_job *job = with_file(req, ino, fi, kith_do_write);
    if (job != NULL) {
        job->size = size;
        job->offset = off;
        job->data = kith_malloc(size + 1);
        if (job->data == NULL) {
            job->run = kith_do_no_memory;
        } else {
            memcpy(job->data, data, size);
        }
    }
    start(req, job);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct kith_fs *fs = fs_of(req);
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_of(fs, ino);
    bool clean = inode->unlinked || (!kith_inode_dirty(inode) && !inode->row_busy);
    kith_whole_asked(fs, inode, fuse_req_ctx(req)->pid);
    pthread_mutex_unlock(&fs->lock);
    if (clean) {
        fuse_reply_err(req, 0); /* a clean flush sends nothing */
        return;
    }
    struct kith_job *job = with_file(req, ino, fi, kith_do_flush);
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
    } else {
        kith_start_flush(job, KITH_DURABLE_OS);
    }
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    struct kith_job *job = with_file(req, ino, fi, kith_do_fsync);
    kith_whole_over(fs_of(req), kith_inode_of(fs_of(req), ino));
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
    } else {
        kith_start_flush(job, KITH_DURABLE_DISK);
    }
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    start_with(req, with_file(req, ino, fi, kith_do_release), kith_start_release);
}

/* A directory's names are stored before its makers are answered, but for files not flushed yet. */
static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    start(req, with_file(req, ino, fi, kith_do_fsync));
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct kith_fs *fs = fs_of(req);
    (void)ino;
    pthread_mutex_lock(&fs->lock);
    struct statvfs figures;
    bool due = kith_statfs(fs, &figures);
    pthread_mutex_unlock(&fs->lock);
    fuse_reply_statfs(req, &figures);
    if (due) {
        kith_statfs_refresh(fs);
    }
}

/* What Linux says of a name: 0 where it is one of a namespace that is kept; who may use which the
 * kernel has looked. ACLs (system.*) come here only where the mount has none: said plainly, so that
 * cp and tar go on without. */
static int xattr_name(const char *name)
{
    static const char *const spaces[] = {"user.", "security.", "trusted."};
    for (unsigned i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        size_t size = strlen(spaces[i]);
        if (strncmp(name, spaces[i], size) == 0) {
            return name[size] != '\0' ? 0 : EINVAL;
        }
    }
    return EOPNOTSUPP;
}

static bool xattr_refused(fuse_req_t req, const char *name)
{
    int error = xattr_name(name);
    if (error != 0) {
        fuse_reply_err(req, error);
        return true;
    }
    if (strlen(name) > KITH_FS_XATTR_NAME_MAX) {
        fuse_reply_err(req, ERANGE);
        return true;
    }
    return false;
}

/* The same for who would change it. */
static bool xattr_kept(fuse_req_t req, const char *name)
{
    if (xattr_refused(req, name)) {
        return true;
    }
    if (kith_xattr_own(name)) {
        fuse_reply_err(req, EPERM);
        return true;
    }
    return false;
}

/* True when memory knows that the file has no extended attributes. */
static bool has_none(struct kith_fs *fs, fuse_ino_t ino)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_of(fs, ino);
    bool none = (inode->attrs.have & KITH_ATTR_XATTRS) != 0 && !inode->attrs.xattrs;
    pthread_mutex_unlock(&fs->lock);
    return none;
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
    bool acl = kith_acl_name(fs_of(req), name);
    if ((!acl && xattr_kept(req, name)) || made_refused(req, ino, true)) {
        return;
    }
    if (acl) {
        kith_op_setacl(req, ino, name, value, size, flags);
        return;
    }
    struct kith_job *job = named(req, ino, name, kith_do_setxattr);
    if (job != NULL) {
        job->flags = flags;
        job->size = size;
        job->data = kith_malloc(size + 1);
        if (job->data == NULL) {
            job->run = kith_do_no_memory;
        } else {
            memcpy(job->data, value, size);
        }
    }
    start(req, job);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (kith_acl_name(fs_of(req), name)) {
        kith_op_getacl(req, ino, name, size);
        return;
    }
    if (xattr_refused(req, name)) {
        return;
    }
    bool own = kith_xattr_own(name);
    if (!own && has_none(fs_of(req), ino)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    struct kith_job *job = named(req, ino, name, own ? kith_do_getxattr_own : kith_do_getxattr);
    if (job != NULL) {
        job->size = size;
    }
    start(req, job);
}

/* Of what has no other extended attributes. */
static void list_acls(fuse_req_t req, fuse_ino_t ino, size_t room)
{
    struct kith_fs *fs = fs_of(req);
    struct kith_buf names;
    kith_buf_init(&names);
    pthread_mutex_lock(&fs->lock);
    kith_acl_names(fs, kith_inode_of(fs, ino), &names);
    pthread_mutex_unlock(&fs->lock);
    if (names.failed) {
        fuse_reply_err(req, ENOMEM);
    } else if (room == 0) {
        fuse_reply_xattr(req, names.size);
    } else if (names.size > room) {
        fuse_reply_err(req, ERANGE);
    } else {
        fuse_reply_buf(req, (const char *)names.data, names.size);
    }
    kith_buf_release(&names);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    if (has_none(fs_of(req), ino)) {
        list_acls(req, ino, size);
        return;
    }
    struct kith_job *job = kith_job_new(fs_of(req), req, ino, 0, kith_do_listxattr);
    if (job != NULL) {
        job->size = size;
    }
    start(req, job);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    if (kith_acl_name(fs_of(req), name)) {
        if (!made_refused(req, ino, true)) {
            kith_op_removeacl(req, ino, name);
        }
        return;
    }
    if (xattr_kept(req, name)) {
        return;
    }
    if (has_none(fs_of(req), ino)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    start(req, named(req, ino, name, kith_do_removexattr));
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                         struct fuse_file_info *fi)
{
    struct kith_job *job = with_file(req, ino, fi, kith_do_fallocate);
    if (job != NULL) {
        job->flags = mode;
        job->offset = offset;
        job->size = (size_t)length;
    }
    start(req, job);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                               struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                               struct fuse_file_info *fi_out, size_t len, int flags)
{
    (void)fi_in, (void)flags;
    struct kith_job *job = kith_job_new(fs_of(req), req, ino_in, ino_out, kith_do_copy_range);
    if (job != NULL) {
        job->offset = off_in;
        job->offset2 = off_out;
        job->fi2 = *fi_out;
        job->size = len;
    }
    start(req, job);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                     struct fuse_file_info *fi)
{
    struct kith_job *job = with_file(req, ino, fi, kith_do_lseek);
    if (job != NULL) {
        job->offset = off;
        job->whence = whence;
    }
    start(req, job);
}

void kith_do_no_memory(struct kith_job *job)
{
    kith_job_fail(job, ENOMEM);
}

const struct fuse_lowlevel_ops kith_fs_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .symlink = op_symlink,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .rename = op_rename,
    .link = op_link,
    .create = op_create,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .release = op_release,
    .opendir = kith_op_opendir,
    .readdir = kith_op_readdir,
    .readdirplus = kith_op_readdirplus,
    .releasedir = kith_op_releasedir,
    .fsyncdir = op_fsyncdir,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .fallocate = op_fallocate,
    .copy_file_range = op_copy_file_range,
    .lseek = op_lseek,
};
