/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * impl.h - the inside of .kith, shared by its files only. */
#ifndef KITH_FS_CONTROL_IMPL_H
#define KITH_FS_CONTROL_IMPL_H

#include "fs/control/control.h"
#include "fs/control/log_ring.h"
#include "fs/control/meter.h"
#include "fs/requests/requests.h"

#define KITH_LOG_READERS_MAX 8u /* accesslogs open at a time; more are EBUSY */
#define KITH_LOG_RING_BYTES                                                                        \
    (1u << 20)               /* of each: some 8,000 lines; what does not fit is left out */
#define KITH_WALKS_MAX    4u /* conflicts being opened at a time, of the executor's 64 threads */
#define KITH_SNAPSHOT_MAX (64u << 20) /* bytes of what conflicts tells; more is EFBIG */

struct kith_log_reader;
struct kith_root_asked;

struct kith_control {
    struct kith_fs *fs;
    struct kith_time since; /* by the wall clock */
    struct kith_meter meter;
    atomic_uint walks;
    atomic_uint readers;  /* of the log: nobody pays for lines while there are none */
    pthread_mutex_t lock; /* fs.h; never held over a callback or an answer */
    struct kith_log_reader *first;      /* protected by lock */
    bool ending;                        /* protected by lock */
    struct kith_root_asked *root_asked; /* root.c; protected by lock */
    bool root_busy;                     /* the root is being read; the same */
};

static inline struct kith_control *kith_control_of(fuse_req_t req)
{
    struct kith_fs *fs = fuse_req_userdata(req);
    return fs->control;
}

/* ---- root.c: the attributes and ACLs of the mount's root ---- */
void kith_control_getattr_root(fuse_req_t req, struct fuse_file_info *fi);
void kith_control_getxattr_root(fuse_req_t req, const char *name, size_t size);

/* ---- dir.c: what is there ---- */
void kith_control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void kith_control_getattr(fuse_req_t req, fuse_ino_t node);
void kith_control_readdir(fuse_req_t req, size_t size, off_t off, bool plus);

/* ---- file.c: contents, as they were when the file was opened ---- */
struct kith_control_file {
    struct kith_buf text;
};
/* NULL: memory is short. */
struct kith_control_file *kith_control_file_new(void);
void kith_control_file_free(struct kith_control_file *file);
void kith_control_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void kith_control_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                       struct fuse_file_info *fi);
void kith_control_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void kith_control_poll(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
                       struct fuse_pollhandle *handle);

/* ---- figures.c: the text of status and stats. False: memory is short ---- */
KITH_MUST_CHECK bool kith_control_status(struct kith_control *control, struct kith_buf *out);
KITH_MUST_CHECK bool kith_control_stats(struct kith_control *control, struct kith_buf *out);

/* ---- conflicts.c ---- */
/* Answers the open, in a thread of the executor. */
void kith_control_open_conflicts(fuse_req_t req, const struct fuse_file_info *fi);

/* ---- accesslog.c ---- */
void kith_accesslog_open(fuse_req_t req, struct fuse_file_info *fi);
void kith_accesslog_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void kith_accesslog_release(fuse_req_t req, struct fuse_file_info *fi);
void kith_accesslog_poll(fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *handle);
/* The end: readers whom the kernel will not close any more. */
void kith_accesslog_free(struct kith_control *control);
/* The line of a request that has just come, up to its result, on the heap; NULL: memory is short.
 */
char *kith_accesslog_begin_line(struct kith_fs *fs, const void *request, size_t size);
/* It is answered: the line goes to all readers, and is freed. result: an errno, or the bytes of a
 * read or write. */
void kith_accesslog_end_line(struct kith_control *control, char *line, int error, uint64_t bytes,
                             bool has_bytes, uint64_t took_ns);

#endif
