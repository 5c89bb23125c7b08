/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * requests.h - the way of a request from the kernel: the threads that read it (loop.c), its handler
 * (ops.c, opendir.c), the job that it becomes where memory cannot answer (executor.c), the answer
 * (reply.c).
 *
 * The work itself is done in names, links and files: kith_do_X in a thread of the executor.
 * kith_start_X does the same without a thread that waits, from libfuse's workers: the job is taken
 * over, and handed to the executor where memory does not know enough, something is busy, or much is
 * to be done. Handlers answer from the tables; nothing in this folder waits for the cluster but
 * opendir.c, in a job. */
#ifndef KITH_FS_REQUESTS_REQUESTS_H
#define KITH_FS_REQUESTS_REQUESTS_H

#include "fs/fs.h"

/* ---- loop.c ---- */
/* From now on SIGTERM, SIGINT and SIGHUP, where nobody else handles or ignores them, end the
 * session: its kith_loop, also one that is yet to begin. SIGPIPE does nothing. For one session at a
 * time. KITH_EIO. */
KITH_MUST_CHECK enum kith_err kith_loop_signals(struct fuse_session *session,
                                                struct kith_error *error);
/* They do again what they did before kith_loop_signals, if that was called. */
void kith_loop_signals_end(void);
/* Reads and handles the session's requests, by so many threads, until it is unmounted or a signal
 * ends it (kith_loop_signals was called). 0, or the errno of what went wrong. */
int kith_loop(struct fuse_session *session, unsigned threads);

/* ---- ops.c ---- */
extern const struct fuse_lowlevel_ops kith_fs_ops;
void kith_do_no_memory(struct kith_job *job);

/* ---- opendir.c ---- */
void kith_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void kith_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi);
void kith_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                         struct fuse_file_info *fi);
void kith_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ---- executor.c ---- */
struct kith_job {
    struct kith_job *next;                /* in the queue */
    struct kith_job *int_prev, *int_next; /* among the interrupted */
    struct kith_fs *fs;
    fuse_req_t req;
    void (*run)(struct kith_job *);
    void (*done)(struct kith_job *, const struct kith_client_result *); /* kith_job_send */
    void *state;      /* of the request under way */
    uint64_t started; /* when it was sent */
    uint64_t load;    /* of a scan */
    bool answered, interrupted; /* protected by the executor's lock */
    uint64_t interrupted_at, judge_at;
    struct fuse_ctx ctx;
    struct kith_inode *inode, *inode2; /* one ref each */
    struct fuse_file_info fi, fi2;
    bool has_fi;
    int flags;
    mode_t mode;
    dev_t rdev;
    off_t offset, offset2;
    size_t size;
    struct stat attr;
    int whence;
    uint8_t *data; /* on the heap, the job's */
    char name[KITH_FS_NAME_MAX + 1], name2[KITH_FS_NAME_MAX + 1];
};
KITH_MUST_CHECK enum kith_err kith_executor_new(struct kith_fs *fs,
                                                struct kith_executor **ret_executor);
/* Runs what is queued, then ends the threads. */
void kith_executor_free(struct kith_executor *executor);
/* A job for a request (req NULL: work of the mount itself). NULL when memory is short. The inodes
 * are held for it (ino 0: none). */
struct kith_job *kith_job_new(struct kith_fs *fs, fuse_req_t req, fuse_ino_t ino, fuse_ino_t ino2,
                              void (*run)(struct kith_job *));
/* Hands it over. A full queue answers the request EIO. */
void kith_job_start(struct kith_job *job);
/* The same for work of the mount itself (no req). False: the queue is full, the job is gone. */
KITH_MUST_CHECK bool kith_job_start_or_discard(struct kith_job *job);
/* One that was not started, and answers nobody; may be NULL. */
void kith_job_discard(struct kith_job *job);
/* Instead of start: callbacks bring the job to its end, no thread waits for it. */
void kith_job_begin(struct kith_job *job);
void kith_job_end(struct kith_job *job);   /* it is answered: freed */
void kith_job_defer(struct kith_job *job); /* a thread must do it after all: job->run */
/* Lets a thread run `run` for a job that callbacks brought so far. False: too much waits already,
 * the job is still the caller's. */
KITH_MUST_CHECK bool kith_job_go_on(struct kith_job *job, void (*run)(struct kith_job *));
/* True for the one who may answer the request. */
KITH_MUST_CHECK bool kith_job_take(struct kith_job *job);
/* It has been: nobody waits for its work any more. */
bool kith_job_answered(struct kith_job *job);
void kith_job_fail(struct kith_job *job, int error); /* 0 = plain success */
/* Answers those that were interrupted before `now` - grace and whose callers mean to end; the next
 * deadline, or 0. */
uint64_t kith_executor_interrupts(struct kith_executor *executor, uint64_t now);

/* Sends one request to the cluster; `done` gets the result on a client's thread (or here, when it
 * fails at once) and must not wait. */
void kith_job_send(struct kith_job *job, const struct kith_client_op *op,
                   void (*done)(struct kith_job *, const struct kith_client_result *));

/* ---- caller.c: what a signal to the thread that waits for us means ---- */
enum kith_caller {
    KITH_CALLER_UNKNOWN, /* in another pid namespace, or gone from /proc */
    KITH_CALLER_ENDS,    /* dying, or told to end by a signal that it catches */
    KITH_CALLER_STAYS,   /* SIGALRM, SIGCHLD, SIGWINCH ...: it counts on the call */
};
enum kith_caller kith_caller_state(pid_t thread);

/* ---- reply.c: answers, undone where the kernel no longer waits ---- */
/* checked: as in kith_told_timeout */
void kith_reply_entry(struct kith_job *job, struct kith_inode *inode, uint64_t valid_until,
                      bool checked);
void kith_reply_create(struct kith_job *job, struct kith_inode *inode);
void kith_reply_open(struct kith_job *job, struct kith_inode *inode);
void kith_reply_attr(struct kith_job *job, struct kith_inode *inode, bool checked);
void kith_reply_data(struct kith_job *job, const void *data, size_t size);
void kith_reply_written(struct kith_job *job, size_t size);
void kith_reply_xattr_size(struct kith_job *job, size_t size);
void kith_reply_offset(struct kith_job *job, off_t offset);
/* The entry_param for an inode; counts a lookup. fs->lock held. */
void kith_entry_param(struct kith_fs *fs, struct kith_inode *inode, uint64_t valid_until,
                      bool checked, struct fuse_entry_param *ret_param);

#endif
