/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * files.h - what a name leads to: open files, their contents and attributes, and the flush that
 * puts both.
 *
 * Over the contents (content.h), the tables and rows; jobs and answers are those of requests.h. An
 * inode's row is read again by names.h (dir_read.c); where its names have changed meanwhile the
 * flush has the row told so (tell.c) or counted (links.h). */
#ifndef KITH_FS_FILES_FILES_H
#define KITH_FS_FILES_FILES_H

#include "format/acl.h"
#include "fs/fs.h"

/* ---- image.c ---- */
/* Image of the contents as they are now, for a put; *ret_generation for kith_inode_image_stored. */
struct kith_image {
    struct kith_bytes bytes;
    uint32_t ref_count;
    const struct kith_chunk_id *refs;
    uint64_t size, allocated, generation, write_version, attr_version;
    bool flushed; /* comes from kith_content_flush */
};
int kith_inode_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image);
/* The same from memory alone: EBUSY where it would have to wait. row_busy held. */
int kith_inode_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image);
/* The row with this image is stored under `dot`; without fs->lock, row_busy held. */
void kith_inode_image_stored(struct kith_fs *fs, struct kith_inode *inode,
                             const struct kith_image *image, const struct kith_dot *dot,
                             enum kith_durability durability);

/* ---- row_put.c ---- */
/* Puts the row itself or, attrs, the attribute row beside it, and waits. row_busy held. */
int kith_inode_put_one(struct kith_fs *fs, struct kith_inode *inode,
                       enum kith_durability durability, bool attrs);
/* The same without waiting, as kith_inode_put_begin does it. */
KITH_MUST_CHECK bool kith_inode_put_one_begin(struct kith_fs *fs, struct kith_inode *inode,
                                              enum kith_durability durability, bool attrs,
                                              void (*done)(void *arg, int error), void *arg);
/* To be called before names or rows of the inode are changed otherwise: a put of its row whose
 * outcome is unknown is put again, the same under the same request id, so that nothing of it comes
 * back later. 0 when there is none (any more). row_busy held. */
int kith_inode_put_again(struct kith_fs *fs, struct kith_inode *inode);
/* Forgets it. */
void kith_inode_put_forget(struct kith_inode *inode);

/* ---- flush.c (may wait) ---- */
int kith_inode_flush(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability);
/* The same with row_busy held by the caller. */
int kith_inode_flush_busy(struct kith_fs *fs, struct kith_inode *inode,
                          enum kith_durability durability);
/* The same without waiting, row_busy held: begins the put and calls `done` once with its outcome,
 * on a client's thread or here; row_busy stays the caller's, who also holds the inode until then.
 * False: a thread must do it, or there is nothing to put; `done` is not called. */
KITH_MUST_CHECK bool kith_inode_put_begin(struct kith_fs *fs, struct kith_inode *inode,
                                          enum kith_durability durability,
                                          void (*done)(void *arg, int error), void *arg);
/* What is unsent of the job's inode, with the job taken over: row_busy is taken, and `done`, who
 * gets the job, gives it back and ends the job. Else job->run does it in a thread. */
void kith_start_put(struct kith_job *job, enum kith_durability durability,
                    void (*done)(void *job, int error));
/* A put of something unsent failed: it stays unsent, the timer tries again. */
void kith_inode_flush_failed(struct kith_fs *fs, struct kith_inode *inode, int error);
/* Counts and logs a put that failed. */
void kith_put_failed(struct kith_fs *fs, const struct kith_inode *inode, int error);
/* Everything that is unsent, until the deadline; names what could not be put. Returns how many. */
unsigned kith_fs_flush_all(struct kith_fs *fs, uint64_t deadline);
void kith_start_flush(struct kith_job *job, enum kith_durability durability);

/* ---- unput.c: what could not be put so far ---- */
/* fs->lock held. A put of it failed, and is tried again. message: what the client said, or NULL. */
void kith_unput_note(struct kith_inode *inode, int error, const char *message);
/* fs->lock held. It is stored, or need not be any more. */
void kith_unput_forget(struct kith_inode *inode);

/* ---- open.c (may wait) ---- */
/* To be called before the row of a file gets another place or other names: where it is open with
 * an older version than its row has been seen with, and nothing is unsent, it takes over the newer
 * one, as with an open; the row of a shared inode is read where memory is over. With something
 * unsent it keeps its own, and what replaces the row leaves the other beside it (kith_entry_ctx).
 * row_busy held. */
int kith_inode_renew(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. Whether kith_inode_renew has something to do. */
bool kith_inode_outdated(const struct kith_inode *inode);
struct kith_seen;
/* row_busy held. The version that a read begun at `started` saw becomes the open one, as with an open;
 * not where something is unsent, or this mount has changed the row since. */
int kith_inode_take_over(struct kith_fs *fs, struct kith_inode *inode, const struct kith_seen *seen,
                         uint64_t started);
/* Opens: content made or renewed from a fresh read. */
int kith_inode_open(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. An open is about to be answered: the answer's fh and keep_cache. */
void kith_inode_opened(struct kith_inode *inode, struct fuse_file_info *fi);
/* That answer was not given; before the file is closed. */
void kith_inode_cache_stays(struct kith_fs *fs, struct kith_inode *inode);
void kith_inode_close(struct kith_fs *fs, struct kith_inode *inode);
/* Lets go of the contents where nobody needs them any more. */
void kith_inode_settle(struct kith_fs *fs, struct kith_inode *inode);
/* The same for threads that must not wait: where the row is busy
 * a thread of the executor does it. */
void kith_inode_settle_soon(struct kith_fs *fs, struct kith_inode *inode);
/* The contents of an open file, made at the first use. */
int kith_inode_content(struct kith_fs *fs, struct kith_inode *inode,
                       struct kith_content **ret_content);
/* fs->lock held. A read of an open file's contents begins; false: they are just being replaced. */
KITH_MUST_CHECK bool kith_inode_read_begin(const struct kith_inode *inode, uint64_t *ret_read);
/* fs->lock not held. What it has read is still what the file has, and stays so until it is answered
 * and kith_inode_read_over; false: another version has taken its place, it is to be read again. */
KITH_MUST_CHECK bool kith_inode_read_counts(struct kith_fs *fs, struct kith_inode *inode,
                                            uint64_t read);
void kith_inode_read_over(struct kith_fs *fs, struct kith_inode *inode);
/* It has been written to through that handle. Where the contents were renewed since it was opened,
 * its writer may not have seen them: they stay beside what he wrote.
 * An append keeps them anyway. */
void kith_inode_written_by(struct kith_fs *fs, struct kith_inode *inode,
                           const struct fuse_file_info *fi);
/* A write or truncate has happened: the size, times, and when it must go out. */
void kith_inode_written(struct kith_fs *fs, struct kith_inode *inode, uint64_t size);
/* O_TRUNC of a file that the job has just opened: nothing is left of it, nor of its set-id bits,
 * but where root opens. Where that fails it is closed. */
int kith_inode_cut(struct kith_job *job, struct kith_inode *inode);
/* Puts at once where nothing may wait in memory. */
int kith_inode_write_through(struct kith_fs *fs, struct kith_inode *inode);
void kith_start_open(struct kith_job *job);

/* ---- follow.c: what other mounts append to open files ---- */
/* fs->lock held. There may be another version of the file, or there is this one (dot, may be NULL):
 * where the mount has the file open, for reading alone, that is looked at soon (kith_inode_follow). */
void kith_inode_follow_soon(struct kith_fs *fs, struct kith_inode *inode,
                            const struct kith_dot *dot);
/* Takes over the newest version where that is the open one with something appended. Nobody waits for
 * it: an error leaves things as they are. */
void kith_inode_follow(struct kith_fs *fs, struct kith_inode *inode);

/* ---- data.c: reading and writing open files ---- */
void kith_do_open(struct kith_job *job);
void kith_do_read(struct kith_job *job);
void kith_do_write(struct kith_job *job);
void kith_do_flush(struct kith_job *job);
void kith_do_fsync(struct kith_job *job);
void kith_do_release(struct kith_job *job);
void kith_do_fallocate(struct kith_job *job);
void kith_do_lseek(struct kith_job *job);
void kith_do_copy_range(struct kith_job *job);
void kith_start_release(struct kith_job *job);
/* Done at once from memory: true, and the request is answered. */
bool kith_write_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode, const char *data,
                     size_t size, off_t offset, const struct fuse_file_info *fi);
bool kith_read_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode, size_t size,
                    off_t offset);

/* ---- statfs.c: the room in the cluster ---- */
/* Starts the first refresh, in the executor, and waits half a second at most for it. */
KITH_MUST_CHECK enum kith_err kith_statfs_new(struct kith_fs *fs);
/* May be NULL; no refresh is under way. */
void kith_statfs_free(struct kith_statfs *statfs);
/* fs->lock held. The last known figures. True for the one who shall call kith_statfs_refresh
 * now. */
KITH_MUST_CHECK bool kith_statfs(struct kith_fs *fs, struct statvfs *ret_figures);
/* fs->lock not held. Does not wait. */
void kith_statfs_refresh(struct kith_fs *fs);

/* ---- whole.c: what is put has no half of a write in it ---- */
/* Before the data of a WRITE is in the contents. True: it may be a part of a write, and more
 * follows. */
KITH_MUST_CHECK bool kith_whole_part(struct kith_fs *fs, struct kith_inode *inode, pid_t thread,
                                     uint64_t offset, size_t size,
                                     const struct fuse_file_info *fi);
/* No write to the file is under way: the kernel's lock of it is held, or the data of the last WRITE
 * of one is in the contents. */
void kith_whole_over(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. None by that thread is: it asks for something else. */
void kith_whole_asked(struct kith_fs *fs, struct kith_inode *inode, pid_t thread);
/* kith_inode_image and kith_inode_image_now, for who comes without the kernel's lock of the file:
 * they wait until a write that is under way is over, some time; or say EBUSY. */
int kith_whole_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image);
int kith_whole_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image);

/* ---- attr.c ---- */
/* What the kernel is told. fs->lock held. */
void kith_inode_stat(struct kith_inode *inode, struct stat *ret_stat);
/* fs->lock held. Its names are about to change: its ctime does, and goes with the row that is put
 * for that. */
void kith_inode_named(struct kith_inode *inode);
void kith_do_setattr(struct kith_job *job);
void kith_do_getattr(struct kith_job *job);
void kith_start_setattr(struct kith_job *job);
void kith_start_getattr(struct kith_job *job);
/* Takes attributes that may wait for the next put: true, and *ret_stat is as they are now, for so
 * many seconds. False: they must be put before the answer, and nothing has changed. */
bool kith_setattr_fast(struct kith_fs *fs, struct kith_inode *inode, const struct stat *attr,
                       int valid, struct stat *ret_stat, double *ret_timeout);
/* One attribute row update for a batch; in the arena. fs->lock held. */
KITH_MUST_CHECK enum kith_err kith_attr_update(struct kith_inode *inode, struct kith_arena *arena,
                                               struct kith_rowname *name,
                                               struct kith_put_update *ret_update);

/* The parts of a change of attributes, for acl.c: */
/* fs->lock held. Whether memory has the attributes as they are. */
bool kith_attrs_known(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock not held. Whether anything of that inode may wait for a put. */
bool kith_attrs_may_wait(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. Whether these attributes may, where anything may. */
bool kith_attrs_wait(const struct kith_inode *inode, const struct kith_attrs *attrs);
/* fs->lock held. Takes the new values, to be put, with bits of what changed. False: memory is short,
 * and nothing has changed; not where the ACLs are those that the inode has. */
KITH_MUST_CHECK bool kith_attrs_take(struct kith_fs *fs, struct kith_inode *inode,
                                     const struct kith_attrs *attrs, uint32_t changed);

/* ---- acl.c ---- */
/* Whether an extended attribute of that name is an ACL; never where the mount has none. */
bool kith_acl_name(const struct kith_fs *fs, const char *name);
/* Answer SETXATTR, REMOVEXATTR and GETXATTR of one. */
void kith_op_setacl(fuse_req_t req, fuse_ino_t ino, const char *name, const void *value,
                    size_t size, int flags);
void kith_op_removeacl(fuse_req_t req, fuse_ino_t ino, const char *name);
/* fs->lock held. The ACL of that name as memory knows it: its size, 0 where there is none. */
size_t kith_acl_now(const struct kith_inode *inode, const char *name,
                    uint8_t ret_acl[KITH_ACL_SIZE_MAX]);
void kith_op_getacl(fuse_req_t req, fuse_ino_t ino, const char *name, size_t room);
/* fs->lock held. The names of those that the inode has, with a NUL each. */
void kith_acl_names(const struct kith_fs *fs, const struct kith_inode *inode, struct kith_buf *buf);
/* fs->lock held. What the umask, or the directory's default ACL, makes of the attributes of
 * something new in it; they borrow from the directory. */
void kith_acl_make(const struct kith_fs *fs, const struct kith_inode *dir, enum kith_type type,
                   mode_t umask, struct kith_attrs *attrs);

/* ---- xattr.c ---- */
void kith_do_setxattr(struct kith_job *job);
void kith_do_getxattr(struct kith_job *job);
void kith_do_listxattr(struct kith_job *job);
void kith_do_removexattr(struct kith_job *job);
/* Answers with the value; room 0 asks how much there is. */
void kith_xattr_answer(struct kith_job *job, const void *data, size_t size, size_t room);

/* ---- xattr_own.c ---- */
/* One that the mount makes up, and nobody sets. */
bool kith_xattr_own(const char *name);
void kith_do_getxattr_own(struct kith_job *job);
/* where.c: one of them */
void kith_do_getxattr_where(struct kith_job *job);

/* ---- told.c: the size that the kernel has of a file ---- */
/* fs->lock held, but for kith_told_before. */

/* Its size goes to the kernel. */
void kith_told_size(struct kith_inode *inode);
/* Its size is another after a write, truncate and the like. */
void kith_told_written(struct kith_inode *inode);
/* For how long the kernel may keep that, of so many seconds. checked: it drops the answer where it
 * has learnt a size since it asked, as with LOOKUP, GETATTR and READDIRPLUS. */
double kith_told_timeout(const struct kith_inode *inode, double seconds, bool checked);
/* The kernel does not know the file any more. */
void kith_told_forget(struct kith_inode *inode);
/* The contents are about to be replaced by others of that size. Where the kernel may have a smaller
 * one, from now on who reads asks for it. True: kith_told_after follows when the size is the new
 * one, or will not be. row_busy held; not fs->lock. */
KITH_MUST_CHECK bool kith_told_before(struct kith_fs *fs, struct kith_inode *inode, uint64_t size);
void kith_told_after(struct kith_inode *inode);
/* Before an open is answered, which counts in inode->opens: the kernel has the size of what was
 * opened, or asks for it. True: it must have it at once, and is to look up the name and to open
 * once more (ESTALE). fs->lock comes and goes. */
KITH_MUST_CHECK bool kith_told_open(struct kith_fs *fs, struct kith_inode *inode, int flags,
                                    pid_t thread);

#endif
