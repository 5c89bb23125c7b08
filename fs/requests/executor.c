/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * executor.c - threads for work that may wait, and the end of waiting for who was interrupted.
 *
 * Threads are made when a job finds none idle, up to THREADS_MAX; they stay. A job is answered
 * once: by its own work, or with EINTR by the timer when its caller got a signal that means to end
 * it (caller.c) and the work took too long. Jobs that the client's callbacks bring to their end
 * need no thread; they are counted, so that the end waits for them. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/mount/mount.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define THREADS_MAX 64u   /* requests that wait at the same time; each may wait for op_timeout */
#define QUEUE_MAX   4096u /* waiting jobs: far above what the kernel has in the air; beyond it EIO \
                           */
#define STACK_SIZE (512u << 10) /* bytes; the largest frames are path and name buffers */

struct kith_executor {
    struct kith_fs *fs;
    pthread_mutex_t lock; /* protects all below, and answered/interrupted of jobs */
    pthread_cond_t wake;
    struct kith_job *first, *last;
    uint32_t queued;
    struct kith_job *interrupted; /* linked by int_prev and int_next */
    pthread_t threads[THREADS_MAX];
    uint32_t thread_count, idle;
    uint32_t begun;         /* jobs in the hands of callbacks */
    pthread_cond_t drained; /* begun fell to 0 */
    bool ending;
};

/* lock held */
static void interrupted_remove(struct kith_executor *executor, struct kith_job *job)
{
    if (!job->interrupted) {
        return;
    }
    job->interrupted = false;
    *(job->int_prev != NULL ? &job->int_prev->int_next : &executor->interrupted) = job->int_next;
    if (job->int_next != NULL) {
        job->int_next->int_prev = job->int_prev;
    }
}

/* Called by libfuse, in any of its workers. */
static void on_interrupt(fuse_req_t req, void *data)
{
    struct kith_job *job = data;
    struct kith_executor *executor = job->fs->executor;
    (void)req;
    pthread_mutex_lock(&executor->lock);
    if (!job->answered && job->interrupted_at == 0) {
        job->interrupted_at = kith_mono_ns();
        job->judge_at = job->interrupted_at + INTERRUPT_GRACE_NS;
        job->interrupted = true;
        job->int_prev = NULL;
        job->int_next = executor->interrupted;
        if (job->int_next != NULL) {
            job->int_next->int_prev = job;
        }
        executor->interrupted = job;
    }
    pthread_mutex_unlock(&executor->lock);
    kith_timer_wake(job->fs->timer);
}

bool kith_job_take(struct kith_job *job)
{
    struct kith_executor *executor = job->fs->executor;
    if (job->req == NULL) {
        return false;
    }
    pthread_mutex_lock(&executor->lock);
    bool mine = !job->answered;
    job->answered = true;
    interrupted_remove(executor, job);
    pthread_mutex_unlock(&executor->lock);
    if (mine) {
        fuse_req_interrupt_func(job->req, NULL, NULL); /* waits until on_interrupt has left */
    }
    return mine;
}

bool kith_job_answered(struct kith_job *job)
{
    struct kith_executor *executor = job->fs->executor;
    pthread_mutex_lock(&executor->lock);
    bool answered = job->answered;
    pthread_mutex_unlock(&executor->lock);
    return answered;
}

/* Answers one interrupted job EINTR where its caller means to end; false: none is left to judge.
 * *ret_next: when to come again, or 0. */
static bool answer_one(struct kith_executor *executor, uint64_t now, uint64_t *ret_next)
{
    fuse_req_t req = NULL;
    pid_t caller = 0;
    bool late = false;
    *ret_next = 0;
    pthread_mutex_lock(&executor->lock);
    struct kith_job *job = executor->interrupted;
    while (job != NULL && job->judge_at > now) {
        *ret_next = *ret_next == 0 || job->judge_at < *ret_next ? job->judge_at : *ret_next;
        job = job->int_next;
    }
    if (job != NULL) {
        caller = job->ctx.pid;
        late = now >= job->interrupted_at + INTERRUPT_UNKNOWN_NS;
        enum kith_caller state = kith_caller_state(caller);
        if (state == KITH_CALLER_ENDS || (state == KITH_CALLER_UNKNOWN && late)) {
            req = job->req;
            job->answered = true;
            interrupted_remove(executor, job);
        } else {
            job->judge_at = now + INTERRUPT_GRACE_NS;
        }
    }
    pthread_mutex_unlock(&executor->lock);
    if (req != NULL) {
        fuse_reply_err(req, EINTR);
    }
    return job != NULL;
}

uint64_t kith_executor_interrupts(struct kith_executor *executor, uint64_t now)
{
    uint64_t next = 0;
    while (answer_one(executor, now, &next)) {
    }
    return next;
}

void kith_job_fail(struct kith_job *job, int error)
{
    if (kith_job_take(job)) {
        fuse_reply_err(job->req, error);
    }
}

static void job_free(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    pthread_mutex_lock(&fs->lock);
    if (job->inode != NULL) {
        kith_inode_drop(fs, job->inode);
    }
    if (job->inode2 != NULL) {
        kith_inode_drop(fs, job->inode2);
    }
    pthread_mutex_unlock(&fs->lock);
    kith_free(job->data);
    kith_free(job);
}

static void job_run(struct kith_job *job)
{
    job->run(job);
    KITH_ASSERT(job->req == NULL || job->answered);
    job_free(job);
}

static void *executor_main(void *arg)
{
    struct kith_executor *executor = arg;
    pthread_mutex_lock(&executor->lock);
    for (;;) {
        while (executor->first == NULL && !executor->ending) {
            executor->idle++;
            pthread_cond_wait(&executor->wake, &executor->lock);
            executor->idle--;
        }
        struct kith_job *job = executor->first;
        if (job == NULL) {
            break;
        }
        executor->first = job->next;
        executor->last = executor->first == NULL ? NULL : executor->last;
        executor->queued--;
        job->next = NULL;
        pthread_mutex_unlock(&executor->lock);
        job_run(job);
        pthread_mutex_lock(&executor->lock);
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

enum kith_err kith_executor_new(struct kith_fs *fs, struct kith_executor **ret_executor)
{
    struct kith_executor *executor = kith_calloc(1, sizeof *executor);
    if (executor == NULL) {
        return KITH_ENOMEM;
    }
    executor->fs = fs;
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->wake, NULL);
    pthread_cond_init(&executor->drained, NULL);
    *ret_executor = executor;
    return KITH_OK;
}

void kith_executor_free(struct kith_executor *executor)
{
    if (executor == NULL) {
        return;
    }
    pthread_mutex_lock(&executor->lock);
    while (executor->begun > 0) { /* each ends by its request's deadline */
        pthread_cond_wait(&executor->drained, &executor->lock);
    }
    executor->ending = true;
    pthread_cond_broadcast(&executor->wake);
    uint32_t count = executor->thread_count;
    pthread_mutex_unlock(&executor->lock);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(executor->threads[i], NULL);
    }
    pthread_cond_destroy(&executor->wake);
    pthread_cond_destroy(&executor->drained);
    pthread_mutex_destroy(&executor->lock);
    kith_free(executor);
}

struct kith_job *kith_job_new(struct kith_fs *fs, fuse_req_t req, fuse_ino_t ino, fuse_ino_t ino2,
                              void (*run)(struct kith_job *))
{
    struct kith_job *job = kith_calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    job->fs = fs;
    job->req = req;
    job->run = run;
    if (req != NULL) {
        job->ctx = *fuse_req_ctx(req);
    }
    pthread_mutex_lock(&fs->lock);
    if (ino != 0) {
        job->inode = kith_inode_of(fs, ino);
        kith_inode_hold(job->inode);
    }
    if (ino2 != 0) {
        job->inode2 = kith_inode_of(fs, ino2);
        kith_inode_hold(job->inode2);
    }
    pthread_mutex_unlock(&fs->lock);
    return job;
}

/* lock held. One more thread, where all are at work. */
static void thread_add(struct kith_executor *executor)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (pthread_create(&executor->threads[executor->thread_count], &attr, executor_main,
                       executor) == 0) {
        executor->thread_count++;
    } else if (executor->thread_count == 0) {
        kith_log_error("executor", "no thread can be made");
    }
    pthread_attr_destroy(&attr);
}

/* Into the queue, where that has room. */
static bool enqueue(struct kith_job *job)
{
    struct kith_executor *executor = job->fs->executor;
    pthread_mutex_lock(&executor->lock);
    bool fits = executor->queued < QUEUE_MAX;
    if (fits) {
        job->next = NULL;
        *(executor->last != NULL ? &executor->last->next : &executor->first) = job;
        executor->last = job;
        executor->queued++;
        /* at the end only jobs add jobs: their own threads do them,
         * and nobody would join another */
        if (!executor->ending && executor->queued > executor->idle &&
            executor->thread_count < THREADS_MAX) {
            thread_add(executor);
        }
        pthread_cond_signal(&executor->wake);
    }
    pthread_mutex_unlock(&executor->lock);
    return fits;
}

static void enqueue_or_refuse(struct kith_job *job)
{
    if (!enqueue(job)) {
        kith_log_error("executor", "%u requests wait already: one is refused", QUEUE_MAX);
        kith_job_fail(job, EIO);
        job_free(job);
    }
}

void kith_job_start(struct kith_job *job)
{
    if (job->req != NULL) {
        fuse_req_interrupt_func(job->req, on_interrupt, job);
    }
    enqueue_or_refuse(job);
}

bool kith_job_start_or_discard(struct kith_job *job)
{
    KITH_ASSERT(job->req == NULL);
    bool started = enqueue(job);
    if (!started) {
        job_free(job);
    }
    return started;
}

void kith_job_discard(struct kith_job *job)
{
    if (job != NULL) {
        job_free(job);
    }
}

void kith_job_begin(struct kith_job *job)
{
    struct kith_executor *executor = job->fs->executor;
    pthread_mutex_lock(&executor->lock);
    executor->begun++;
    pthread_mutex_unlock(&executor->lock);
    if (job->req != NULL) {
        fuse_req_interrupt_func(job->req, on_interrupt, job);
    }
}

static void leave(struct kith_executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    if (--executor->begun == 0) {
        pthread_cond_broadcast(&executor->drained);
    }
    pthread_mutex_unlock(&executor->lock);
}

void kith_job_end(struct kith_job *job)
{
    struct kith_executor *executor = job->fs->executor;
    KITH_ASSERT(job->req == NULL || job->answered);
    job_free(job);
    leave(executor);
}

/* Its request may have been answered with EINTR since kith_job_begin, and is libfuse's again then:
 * it is not touched. */
void kith_job_defer(struct kith_job *job)
{
    struct kith_executor *executor = job->fs->executor;
    enqueue_or_refuse(job);
    leave(executor);
}

bool kith_job_go_on(struct kith_job *job, void (*run)(struct kith_job *))
{
    struct kith_executor *executor = job->fs->executor;
    void (*before)(struct kith_job *) = job->run;
    job->run = run;
    if (!enqueue(job)) {
        job->run = before;
        return false;
    }
    leave(executor);
    return true;
}

static void on_result(void *arg, const struct kith_client_result *result)
{
    struct kith_job *job = arg;
    if (result->err != KITH_OK) {
        kith_rows_failed(job->fs, result);
    }
    job->done(job, result);
}

void kith_job_send(struct kith_job *job, const struct kith_client_op *op,
                   void (*done)(struct kith_job *, const struct kith_client_result *))
{
    job->done = done;
    enum kith_err err = kith_client_submit(job->fs->client, op, on_result, job);
    if (err != KITH_OK) {
        struct kith_client_result failed = {.err = err, .message = kith_err_text((int)err)};
        done(job, &failed);
    }
}
