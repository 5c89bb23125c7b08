/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * timer.c - the thread that starts what is due: flushes, answers to interrupted requests, the
 * sweep, the end of watches. */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "fs/control/control.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/orphans/orphans.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

#define TICK_NS      (NSEC_PER_SEC / 20) /* while something is unsent: a flush is as late at most */
#define SWEEP_NS     NSEC_PER_SEC
#define SWEEP_MOST   20000u /* entries looked at in one sweep: some milliseconds under fs->lock */
#define TRIM_ENTRIES 20000u /* fewer, some 20 MiB with their inodes, are not worth a look at the heap */
#define FLUSHES_MOST 256u   /* under way at a time: more would only wait for the nodes */

#define FOLLOWS_MOST 8u     /* of open files at a time: while no node answers each takes a thread */

struct kith_timer {
    struct kith_fs *fs;
    pthread_t thread;
    pthread_mutex_t lock; /* protects `woken` and `ending` */
    pthread_cond_t wake;
    bool woken, ending;
};

static void do_due(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    int error = kith_inode_flush(fs, job->inode, KITH_DURABLE_OS);
    if (error == 0) {
        kith_inode_settle(fs, job->inode);
    }
    pthread_mutex_lock(&fs->lock);
    job->inode->flushing = false;
    pthread_mutex_unlock(&fs->lock);
}

static void do_follow(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    kith_inode_follow(fs, job->inode);
    pthread_mutex_lock(&fs->lock);
    fs->following--;
    job->inode->flushing = false;
    pthread_mutex_unlock(&fs->lock);
}

static void due_done(void *arg, int error)
{
    struct kith_job *job = arg;
    struct kith_fs *fs = job->fs;
    pthread_mutex_lock(&fs->lock);
    job->inode->flushing = false;
    kith_busy_give(fs, false, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    if (error == 0) {
        kith_inode_settle_soon(fs, job->inode);
    }
    kith_job_end(job);
}

/* fs->lock held. Out of the ring. */
static void dequeue(struct kith_fs *fs, struct kith_inode *inode)
{
    if (inode->dirty_next == inode) {
        fs->dirty = NULL;
    } else {
        inode->dirty_prev->dirty_next = inode->dirty_next;
        inode->dirty_next->dirty_prev = inode->dirty_prev;
        fs->dirty = fs->dirty == inode ? inode->dirty_next : fs->dirty;
    }
    inode->queued = false;
    kith_unput_forget(inode);
    kith_inode_drop(fs, inode);
}

/* fs->lock held */
static bool is_due(const struct kith_fs *fs, const struct kith_inode *inode, uint64_t now)
{
    if (inode->row_busy || inode->flushing || now < inode->retry_at) {
        return false;
    }
    if (inode->follow) {
        return fs->following < FOLLOWS_MOST;
    }
    if (kith_inode_dirty(inode)) {
        uint64_t delay = inode->size > LARGE_CONTENT ? FLUSH_LARGE_DELAY_NS : FLUSH_DELAY_NS;
        return now >= inode->dirty_since + delay;
    }
    if (inode->attr_changed == 0 && !inode->untold && inode->recount) {
        return now >= inode->recount_at;
    }
    if (inode->attr_changed == 0 && !inode->untold && kith_dir_untold(inode)) {
        return now >= inode->dir->touched_at + fs->options->dir_time_ms * UINT64_C(1000000);
    }
    return now + TICK_NS >= inode->attr_since + ATTR_DELAY_NS; /* the next tick is too late */
}

/* Starts what is due; true when something is left to be looked at again. */
static bool flush_due(struct kith_fs *fs, uint64_t now)
{
    struct kith_inode *due[FLUSHES_MOST];
    bool follows[FLUSHES_MOST];
    unsigned count = 0, under_way = 0;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = fs->dirty, *last = inode != NULL ? inode->dirty_prev : NULL;
    while (inode != NULL) {
        struct kith_inode *next = inode == last ? NULL : inode->dirty_next;
        bool unsent = !inode->unlinked &&
                      (kith_inode_dirty(inode) || inode->attr_changed != 0 || inode->untold ||
                       inode->recount || inode->follow || kith_dir_untold(inode));
        /* what a rename carried along after the last close failed to put it */
        bool lingers = !unsent && inode->opens == 0 && inode->is_open;
        under_way += inode->flushing ? 1 : 0;
        if (!unsent && !lingers && !inode->row_busy) {
            dequeue(fs, inode);
        } else if ((unsent || lingers) && count + under_way < FLUSHES_MOST && is_due(fs, inode, now)) {
            inode->flushing = true;
            kith_inode_hold(inode);
            follows[count] = inode->follow;
            fs->following += inode->follow ? 1u : 0u;
            due[count++] = inode;
            if (kith_dir_untold(inode)) {
                kith_dir_tell_time(inode);
            }
        }
        inode = next;
    }
    bool left = fs->dirty != NULL;
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < count; i++) {
        struct kith_job *job = kith_job_new(fs, NULL, kith_inode_ino(fs, due[i]), 0,
                                            follows[i] ? do_follow : do_due);
        if (job != NULL && follows[i]) {
            job = kith_job_start_or_discard(job) ? job : NULL;
        } else if (job != NULL) {
            kith_start_put(job, KITH_DURABLE_OS, due_done);
        }
        pthread_mutex_lock(&fs->lock);
        due[i]->flushing = due[i]->flushing && job != NULL;
        fs->following -= follows[i] && job == NULL ? 1u : 0u;
        kith_inode_drop(fs, due[i]);
        pthread_mutex_unlock(&fs->lock);
    }
    return left;
}

static void timer_wait(struct kith_timer *timer, uint64_t until)
{
    struct timespec spec = {(time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC)};
    pthread_mutex_lock(&timer->lock);
    int waited = 0;
    while (!timer->woken && !timer->ending && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&timer->wake, &timer->lock, &spec);
    }
    timer->woken = false;
    pthread_mutex_unlock(&timer->lock);
}

/* Entries that went leave their memory with malloc, spread over the heap: where most of them have
 * gone the system gets it back. */
static void heap_trim(uint32_t *most, uint32_t count)
{
    *most = count > *most ? count : *most;
    if (*most > TRIM_ENTRIES && count < *most / 2) {
        malloc_trim(0);
        *most = count;
    }
}

static void *timer_main(void *arg)
{
    struct kith_timer *timer = arg;
    struct kith_fs *fs = timer->fs;
    uint64_t sweep_at = 0;
    uint32_t entries_most = 0; /* since the heap was trimmed */
    for (;;) {
        pthread_mutex_lock(&timer->lock);
        bool ending = timer->ending;
        pthread_mutex_unlock(&timer->lock);
        if (ending) {
            return NULL;
        }
        uint64_t now = kith_mono_ns();
        uint64_t until = now + SWEEP_NS;
        uint64_t interrupts = kith_executor_interrupts(fs->executor, now);
        if (interrupts != 0 && interrupts < until) {
            until = interrupts;
        }
        uint64_t late = kith_control_late(fs->control, now);
        if (late != 0 && late < until) {
            until = late;
        }
        if (flush_due(fs, now) && now + TICK_NS < until) {
            until = now + TICK_NS;
        }
        if (now >= sweep_at) {
            pthread_mutex_lock(&fs->lock);
            bool over =
                kith_entry_sweep(fs, now > SWEEP_AGE_NS ? now - SWEEP_AGE_NS : 0, SWEEP_MOST);
            kith_pack_sweep(fs, now);
            uint32_t count = fs->entry_count + (uint32_t)(fs->pack_bytes / ENTRY_COST);
            pthread_mutex_unlock(&fs->lock);
            heap_trim(&entries_most, count);
            kith_content_store_lease(fs->store, now / 1000000u + 1u);
            kith_control_tick(fs->control);
            sweep_at = now + (over ? TICK_NS : SWEEP_NS);
            until = sweep_at < until ? sweep_at : until;
        }
        kith_link_left_start(fs);
        kith_dir_lost_start(fs);
        kith_cycles_start(fs);
        kith_watch_tick(fs, now);
        timer_wait(timer, until);
    }
}

enum kith_err kith_timer_new(struct kith_fs *fs, struct kith_timer **ret_timer)
{
    struct kith_timer *timer = kith_calloc(1, sizeof *timer);
    if (timer == NULL) {
        return KITH_ENOMEM;
    }
    timer->fs = fs;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&timer->lock, NULL);
    pthread_cond_init(&timer->wake, &attr);
    pthread_condattr_destroy(&attr);
    *ret_timer = timer;
    if (pthread_create(&timer->thread, NULL, timer_main, timer) != 0) {
        *ret_timer = NULL;
        pthread_cond_destroy(&timer->wake);
        pthread_mutex_destroy(&timer->lock);
        kith_free(timer);
        return KITH_ELIMIT;
    }
    return KITH_OK;
}

void kith_timer_free(struct kith_timer *timer)
{
    if (timer == NULL) {
        return;
    }
    pthread_mutex_lock(&timer->lock);
    timer->ending = true;
    pthread_cond_signal(&timer->wake);
    pthread_mutex_unlock(&timer->lock);
    pthread_join(timer->thread, NULL);
    pthread_cond_destroy(&timer->wake);
    pthread_mutex_destroy(&timer->lock);
    kith_free(timer);
}

void kith_timer_wake(struct kith_timer *timer)
{
    if (timer == NULL) {
        return; /* the mount is being made or ends */
    }
    pthread_mutex_lock(&timer->lock);
    timer->woken = true;
    pthread_cond_signal(&timer->wake);
    pthread_mutex_unlock(&timer->lock);
}
