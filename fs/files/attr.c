/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * attr.c - attributes: stat, setattr, and the row beside the inode.
 *
 * A change before the flush goes with it. After it, what may wait (must_go_now) waits for the next
 * put of the file, a rename included, at most ATTR_DELAY_NS; everything else is put before the
 * answer, which comes from the put's completion.
 *
 * A chmod changes the file's ACL with it: the mode has the ACL's classes (format/acl.h).
 *
 * A directory's link count is 2 and one for each directory in it: as memory has them where it has all
 * of its names; else as whoever changed its names last has counted them. Its mtime is what was set
 * last, or the last change of its entries; a mount that has changed some puts that time and the count as
 * attributes some seconds later (options.h: dir_time_ms), one put for all that it changes meanwhile. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define STAT_BLOCK      512u         /* unit of st_blocks */
#define BLOCK_SIZE      4096u        /* st_blksize of directories and specials */
#define FILE_BLOCK_SIZE (128u << 10) /* what programs should write at once */
#define ROOT_MS         300u         /* the mount's root is asked for so long; root_as_known */
#define YOUNG_NS        NSEC_PER_SEC /* the making of a small file by tar, cp or rsync takes less */

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

static nlink_t link_count(struct kith_inode *inode)
{
    if (inode->made) {
        return (nlink_t)inode->made_links;
    }
    if (inode->unlinked) {
        return 0;
    }
    if (inode->dir != NULL && kith_dir_listable(inode, kith_mono_ns())) {
        return 2 + (nlink_t)inode->dir->subdirs;
    }
    if (inode->dir != NULL) {
        return (inode->attrs.have & KITH_ATTR_SUBDIRS) != 0 ? 2 + (nlink_t)inode->attrs.subdirs : 1;
    }
    return inode->shared ? inode->name_count : 1;
}

void kith_inode_stat(struct kith_inode *inode, struct stat *ret_stat)
{
    kith_told_size(inode);
    memset(ret_stat, 0, sizeof *ret_stat);
    struct kith_time ctime = kith_attrs_ctime(&inode->attrs);
    ret_stat->st_ino = inode->id;
    ret_stat->st_mode = type_bits(inode->type) | (mode_t)inode->attrs.mode;
    ret_stat->st_uid = inode->attrs.uid;
    ret_stat->st_gid = inode->attrs.gid;
    ret_stat->st_rdev = (dev_t)inode->rdev;
    ret_stat->st_nlink = link_count(inode);
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
    struct kith_attr_record record = {kith_inode_row_id(inode), inode->attr_changed, inode->attrs};
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

/* ctime is the latest stamp of an attribute (attrs.h): the atime gets a new one. Of the attributes
 * it is the one by which least is lost where another mount sets it at the same time: nothing but
 * utimes() changes it. */
void kith_inode_named(struct kith_inode *inode)
{
    struct kith_attrs *attrs = &inode->attrs;
    struct kith_time now = kith_wall_time();
    if ((attrs->have & KITH_ATTR_ATIME) != 0 && kith_time_compare(&now, &attrs->atime_stamp) > 0) {
        attrs->atime_stamp = now;
    }
}

static struct kith_time time_of(const struct timespec *spec, bool now_flag,
                                const struct kith_time *now)
{
    struct kith_time time = {spec->tv_sec, (uint32_t)spec->tv_nsec};
    return now_flag ? *now : time;
}

/* The attributes with the new values. */
static struct kith_attrs attrs_with(const struct kith_attrs *old, const struct stat *attr,
                                    int valid)
{
    struct kith_time now = kith_wall_time();
    struct kith_attrs attrs = *old;
    if ((valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
        attrs.uid = (valid & FUSE_SET_ATTR_UID) != 0 ? attr->st_uid : attrs.uid;
        attrs.gid = (valid & FUSE_SET_ATTR_GID) != 0 ? attr->st_gid : attrs.gid;
        attrs.owner_stamp = now; /* also of the same owner: another mount may have changed it */
        attrs.have |= KITH_ATTR_OWNER;
    }
    if ((valid & FUSE_SET_ATTR_MODE) != 0) {
        attrs.mode = attr->st_mode & 07777u;
        attrs.mode_stamp = now;
        attrs.have |= KITH_ATTR_MODE;
    }
    if ((valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) != 0) {
        attrs.atime = time_of(&attr->st_atim, (valid & FUSE_SET_ATTR_ATIME_NOW) != 0, &now);
        attrs.atime_stamp = now;
        attrs.have |= KITH_ATTR_ATIME;
    }
    if ((valid & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0) {
        attrs.mtime = time_of(&attr->st_mtim, (valid & FUSE_SET_ATTR_MTIME_NOW) != 0, &now);
        attrs.mtime_stamp = now;
        attrs.have |= KITH_ATTR_MTIME;
    }
    return attrs;
}

static uint32_t changed_bits(int valid)
{
    const int atime = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW;
    const int mtime = FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW;
    uint32_t bits = 0;
    bits |= (valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0 ? KITH_ATTR_OWNER : 0u;
    bits |= (valid & FUSE_SET_ATTR_MODE) != 0 ? KITH_ATTR_MODE : 0u;
    bits |= (valid & atime) != 0 ? KITH_ATTR_ATIME : 0u;
    bits |= (valid & mtime) != 0 ? KITH_ATTR_MTIME : 0u;
    return bits;
}

/* fs->lock held. Whether a change of what is stored already must be put before its answer.
 *
 * Times, and what changes nothing, may wait, and so may modes and owners that only narrow access to
 * a file: its contents take them along. For a directory that is not so: what is put into it next
 * lies in another group, and must not be open to those whom the directory already shuts out.
 *
 * What widens access goes at once, so that no other mount refuses for long what is granted here,
 * and no crash takes back a grant that somebody relies on: but not where this mount made the thing
 * less than YOUNG_NS ago. Then the change belongs to its making (tar, cp and rsync make 0600 or
 * 0700, fill, then open), nobody else can have relied on what it was before, other mounts may show
 * what they saw for attr_timeout anyway, and what a crash of this machine within ATTR_DELAY_NS
 * leaves is closer than it should be, never more open. rsync's rename takes it along. */
static bool must_go_now(const struct kith_inode *inode, const struct kith_attrs *new)
{
    const struct kith_attrs *old = &inode->attrs;
    bool young = inode->made_at != 0 && kith_mono_ns() - inode->made_at < YOUNG_NS;
    return (kith_attrs_widen(old, new) && !young) ||
           (kith_attrs_narrow(old, new) && inode->type == KITH_TYPE_DIR);
}

/* Size: an open file's contents, or the file is opened for it. Through a handle it keeps the
 * version that it has, as with a write: its caller has not seen any other. */
static int set_size(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    uint64_t size = (uint64_t)job->attr.st_size;
    bool opened = job->has_fi;
    if (inode->type != KITH_TYPE_FILE) {
        return inode->type == KITH_TYPE_DIR ? EISDIR : EINVAL;
    }
    int error = 0;
    if (opened) {
        pthread_mutex_lock(&fs->lock);
        inode->opens++;
        pthread_mutex_unlock(&fs->lock);
    } else {
        error = kith_inode_open(fs, inode);
    }
    if (error != 0) {
        return error;
    }
    struct kith_content *content;
    error = kith_inode_content(fs, inode, &content);
    if (error == 0) {
        error = kith_errno(kith_content_truncate(content, size));
    }
    if (error == 0 && opened) {
        kith_inode_written_by(fs, inode, &job->fi);
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

bool kith_attrs_take(struct kith_fs *fs, struct kith_inode *inode, const struct kith_attrs *attrs,
                     uint32_t changed)
{
    if (!kith_inode_attrs_set(inode, attrs)) {
        return false;
    }
    if (changed != 0 && inode->dir != NULL) {
        inode->dir->time_only = false;
        inode->dir->touched_at = 0; /* it goes with them: a row has all attributes */
    }
    if (changed != 0 && !inode->unlinked) {
        inode->attr_since = inode->attr_changed == 0 ? kith_mono_ns() : inode->attr_since;
        inode->attr_changed |= changed;
        inode->attr_version++;
        kith_inode_enqueue(fs, inode);
    }
    return true;
}

/* fs->lock held. The same of what setattr changes: ACLs stay, so that takes no memory. */
static void set_attrs(struct kith_fs *fs, struct kith_inode *inode, const struct kith_attrs *attrs,
                      int valid)
{
    bool taken = kith_attrs_take(fs, inode, attrs, changed_bits(valid));
    KITH_ASSERT(taken);
}

/* fs->lock held */
static bool has_place(const struct kith_inode *inode, struct kith_group *ret_group)
{
    struct kith_rowname name;
    return kith_inode_place(inode, ret_group, &name) && !inode->unlinked;
}

bool kith_attrs_may_wait(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_group group;
    pthread_mutex_lock(&fs->lock);
    bool placed = has_place(inode, &group);
    pthread_mutex_unlock(&fs->lock);
    return !placed || kith_fs_defers(fs, &group);
}

bool kith_attrs_wait(const struct kith_inode *inode, const struct kith_attrs *attrs)
{
    return inode->unlinked || kith_inode_dirty(inode) || !must_go_now(inode, attrs);
}

bool kith_attrs_known(struct kith_fs *fs, struct kith_inode *inode)
{
    uint64_t now = kith_mono_ns();
    if (inode->is_open && now >= inode->valid_until && now >= inode->follow_from &&
        !kith_watch_knows_inode(inode)) {
        kith_inode_follow_soon(fs, inode, NULL);
    }
    if (inode->made || inode->is_open || inode->unlinked || kith_inode_dirty(inode) ||
        inode->attr_changed != 0 || now < inode->valid_until) {
        return true;
    }
    bool watch = kith_watch_knows_inode(inode);
    if (watch) {
        kith_watch_saved(fs, KITH_SAVED_ATTR);
    }
    return watch;
}

bool kith_setattr_fast(struct kith_fs *fs, struct kith_inode *inode, const struct stat *attr,
                       int valid, struct stat *ret_stat, double *ret_timeout)
{
    if ((valid & FUSE_SET_ATTR_SIZE) != 0 || !kith_attrs_may_wait(fs, inode)) {
        return false;
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_attrs attrs = attrs_with(&inode->attrs, attr, valid);
    bool waits = kith_attrs_wait(inode, &attrs);
    if (waits) {
        set_attrs(fs, inode, &attrs, valid);
        kith_inode_stat(inode, ret_stat);
        *ret_timeout = kith_told_timeout(inode, fs->options->attr_timeout, false);
        ret_stat->st_ino = inode == fs->root ? FUSE_ROOT_ID : ret_stat->st_ino;
    }
    pthread_mutex_unlock(&fs->lock);
    return waits;
}

/* Takes the attributes of a job; what must be put now is the caller's to put. */
static void take_attrs(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    int valid = job->flags & ~FUSE_SET_ATTR_SIZE;
    pthread_mutex_lock(&fs->lock);
    struct kith_attrs attrs = attrs_with(&job->inode->attrs, &job->attr, valid);
    set_attrs(fs, job->inode, &attrs, valid);
    pthread_mutex_unlock(&fs->lock);
}

static void attr_reply(struct kith_job *job, int error, bool checked)
{
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_attr(job, job->inode, checked);
    }
}

/* With a size, or where something else of the inode is on its way: the attributes are taken. */
void kith_do_setattr(struct kith_job *job)
{
    int error = 0;
    if ((job->flags & FUSE_SET_ATTR_SIZE) != 0) {
        error = set_size(job);
        job->flags &= ~FUSE_SET_ATTR_SIZE;
        if (error == 0 && changed_bits(job->flags) != 0) {
            take_attrs(job);
        }
    }
    if (error == 0 && changed_bits(job->flags) != 0) {
        error = kith_inode_flush(job->fs, job->inode, KITH_DURABLE_OS);
    }
    attr_reply(job, error, false);
}

static void setattr_done(void *arg, int error)
{
    struct kith_job *job = arg;
    pthread_mutex_lock(&job->fs->lock);
    kith_busy_give(job->fs, false, &job->inode, 1);
    pthread_mutex_unlock(&job->fs->lock);
    attr_reply(job, error, false);
    kith_job_end(job);
}

void kith_start_setattr(struct kith_job *job)
{
    if ((job->flags & FUSE_SET_ATTR_SIZE) != 0) {
        kith_job_start(job);
        return;
    }
    take_attrs(job);
    kith_start_put(job, KITH_DURABLE_OS, setattr_done);
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
    attr_reply(job, error, true);
}

/* The root of the mount is what programs look at before they ask for anything of the mount, df
 * first of all. When no node answers soon it is shown as it was: that promises nothing of what is
 * in it. */
static bool root_as_known(const struct kith_job *job, const struct kith_client_result *result)
{
    return job->inode == job->fs->root &&
           (result->err == KITH_ETIMEOUT || result->err == KITH_EUNREACH);
}

static void getattr_done(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_arena arena;
    struct kith_seen seen;
    kith_arena_init(&arena, 0);
    int error = root_as_known(job, result) ? 0 : kith_errno(result->err);
    if (error == 0 && result->err == KITH_OK) {
        error = kith_inode_saw(job->fs, job->inode, NULL, &arena, result, job->started, &seen);
    }
    kith_arena_release(&arena);
    attr_reply(job, error, true);
    kith_job_end(job);
}

/* fs->lock held. The directory in whose group the row of the mount's root lies, which programs that
 * work in the mount look at again and again, though nobody may list it; NULL: this is another inode. */
static struct kith_inode *root_is_in(const struct kith_fs *fs, const struct kith_inode *inode)
{
    if (inode != fs->root) {
        return NULL;
    }
    return inode->entry != NULL ? inode->entry->dir : fs->root;
}

static void getattr_near(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *entry = kith_near_saw(job, job->inode2, result);
    pthread_mutex_lock(&fs->lock);
    bool known = entry != NULL && kith_entry_leads(entry, job->inode) &&
                 (kith_watch_knows(entry) || kith_mono_ns() < job->inode->valid_until);
    if (entry != NULL) {
        entry->pins--;
    }
    pthread_mutex_unlock(&fs->lock);
    if (!known) {
        kith_job_defer(job);
        return;
    }
    kith_reply_attr(job, job->inode, true);
    kith_job_end(job);
}

/* fs->lock held. The name of the inode is asked for with those behind it (neighbours.c): how many
 * rows. 0: it is not. */
static uint32_t take_near(struct kith_job *job)
{
    const struct kith_entry *entry = job->inode == job->fs->root ? NULL : job->inode->entry;
    uint32_t rows = entry == NULL ? 0 : kith_near_take(entry->dir, entry->name);
    if (rows > 0) {
        memcpy(job->name, entry->name, entry->name_size + 1u);
        job->inode2 = entry->dir;
        kith_inode_hold(job->inode2);
    }
    return rows;
}

void kith_start_getattr(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_group group;
    struct kith_rowname row, attr;
    pthread_mutex_lock(&fs->lock);
    bool now = !job->inode->shared && kith_inode_place(job->inode, &group, &row);
    struct kith_inode *watched = root_is_in(fs, job->inode);
    bool watch = watched != NULL && kith_watch_asked(fs, watched, true);
    uint32_t rows = now ? take_near(job) : 0;
    pthread_mutex_unlock(&fs->lock);
    if (watch) {
        kith_watch_begin(fs, watched);
    }
    if (!now) { /* the row of an inode with several names */
        kith_job_start(job);
        return;
    }
    if (rows > 0) {
        kith_near_send(job, job->inode2, rows, getattr_near);
        return;
    }
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = group;
    op.u.get.names = names;
    op.u.get.name_count = 2;
    if (job->inode == fs->root && (op.timeout_ms = ROOT_MS) > fs->options->op_timeout_ms) {
        op.timeout_ms = fs->options->op_timeout_ms;
    }
    op.soft = job->inode == fs->root;
    job->started = kith_mono_ns();
    kith_job_begin(job);
    kith_job_send(job, &op, getattr_done);
}
