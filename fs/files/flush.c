/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * flush.c - one put a file: name, attributes and contents as one row.
 *
 * Versions instead of a dirty flag: what was written while the put was under way is still dirty
 * after it. A put that failed leaves everything as it was; the timer tries again every RETRY_NS.
 *
 * What another file has taken the name of gets one of its own first (aside_name.c): for that a
 * directory must be taken before the row, so only kith_inode_flush does it. */
#include <errno.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/orphans/orphans.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

#define RETRY_NS NSEC_PER_SEC

/* What an inode has to put. fs->lock held. */
struct unsent {
    bool row;   /* its row, and with it its attributes */
    bool attrs; /* the attribute row beside it */
    bool names; /* what its names are now */
    bool count; /* whether they are */
};

static struct unsent unsent_of(const struct kith_inode *inode, enum kith_durability durability)
{
    bool disk = durability == KITH_DURABLE_DISK;
    struct unsent unsent = {.row = kith_inode_dirty(inode) || (disk && inode->os_only),
                            .names = inode->untold,
                            .count = inode->recount && kith_mono_ns() >= inode->recount_at};
    unsent.attrs = !unsent.row && (inode->attr_changed != 0 || (disk && inode->attr_os_only));
    return unsent;
}

void kith_put_failed(struct kith_fs *fs, const struct kith_inode *inode, int error)
{
    char path[KITH_ERROR_MESSAGE_SIZE];
    pthread_mutex_lock(&fs->lock);
    kith_inode_path(fs, inode, path, sizeof path);
    bool made = inode->pending && inode->awaited;
    pthread_mutex_unlock(&fs->lock);
    atomic_fetch_add(&fs->put_failures, 1);
    if (made) {
        kith_log_warn("flush", "%s could not be made: %s; it is not tried again", path,
                      strerror(error));
        return;
    }
    kith_log_warn("flush", "%s could not be stored yet: %s; it stays in memory and is tried again",
                  path, strerror(error));
}

void kith_inode_flush_failed(struct kith_fs *fs, struct kith_inode *inode, int error)
{
    pthread_mutex_lock(&fs->lock);
    inode->retry_at = kith_mono_ns() + RETRY_NS;
    if (!(inode->pending && inode->awaited)) { /* else its maker is told, and it never was */
        kith_unput_note(inode, error, NULL);
    }
    kith_inode_enqueue(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    kith_put_failed(fs, inode, error);
}

int kith_inode_flush_busy(struct kith_fs *fs, struct kith_inode *inode,
                          enum kith_durability durability)
{
    int error = kith_inode_put_again(fs, inode);
    pthread_mutex_lock(&fs->lock);
    struct unsent unsent = unsent_of(inode, durability);
    bool unlinked = inode->unlinked;
    pthread_mutex_unlock(&fs->lock);
    if (unlinked ||
        (!unsent.row && !unsent.attrs && !unsent.names && !unsent.count)) {
        return 0;
    }
    if (error == 0 && unsent.names) {
        error = kith_inode_tell(fs, inode);
        pthread_mutex_lock(&fs->lock);
        unsent = unsent_of(inode, durability);
        unsent.row = unsent.row && !inode->unlinked; /* it was the last name that had gone */
        unsent.attrs = unsent.attrs && !inode->unlinked;
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0 && (unsent.row || unsent.attrs)) {
        error = kith_inode_put_one(fs, inode, durability, unsent.attrs);
    }
    if (error != 0) {
        kith_inode_flush_failed(fs, inode, error);
    } else if (unsent.count) { /* nobody waits for that: it is tried again where it fails */
        (void)kith_link_recount(fs, inode);
    }
    return error;
}

/* *ret_aside: it cannot be put as it is, another file has its name. */
static int flush_once(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                      bool *ret_aside)
{
    pthread_mutex_lock(&fs->lock);
    struct unsent unsent = unsent_of(inode, durability);
    *ret_aside = kith_aside_is(inode) && (unsent.row || unsent.attrs);
    bool nothing = !unsent.row && !unsent.attrs && !unsent.names && !unsent.count;
    if (*ret_aside || (nothing && !inode->row_busy)) {
        pthread_mutex_unlock(&fs->lock);
        return 0; /* a clean flush sends nothing */
    }
    kith_busy_take(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    int error = kith_inode_flush_busy(fs, inode, durability);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, &inode, 1);
    *ret_aside = error == ESTALE && kith_aside_is(inode); /* since a moment ago */
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* There is nowhere to put it. Attributes alone are not worth a row: where the file is found they
 * are brought along (seen.c). */
static int flush_nowhere(struct kith_fs *fs, struct kith_inode *inode,
                         enum kith_durability durability)
{
    pthread_mutex_lock(&fs->lock);
    bool attrs = !unsent_of(inode, durability).row;
    if (attrs) {
        inode->attr_changed = 0;
        inode->attr_os_only = false;
    }
    pthread_mutex_unlock(&fs->lock);
    if (!attrs) {
        kith_inode_flush_failed(fs, inode, ESTALE);
    }
    return attrs ? 0 : ESTALE;
}

int kith_inode_flush(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability)
{
    bool aside;
    int error = flush_once(fs, inode, durability, &aside);
    for (unsigned i = 0; i < KITH_LOOKS_MAX && aside; i++) {
        error = kith_aside_name(fs, inode);
        if (error == ESTALE) {
            return flush_nowhere(fs, inode, durability);
        }
        if (error != 0) {
            kith_inode_flush_failed(fs, inode, error);
            return error;
        }
        error = flush_once(fs, inode, durability, &aside);
    }
    return aside && error == 0 ? EIO : error; /* others take each name of it away */
}

bool kith_inode_put_begin(struct kith_fs *fs, struct kith_inode *inode,
                          enum kith_durability durability, void (*done)(void *arg, int error),
                          void *arg)
{
    pthread_mutex_lock(&fs->lock);
    KITH_ASSERT(inode->row_busy);
    struct unsent unsent = unsent_of(inode, durability);
    bool now = (unsent.row || unsent.attrs) && !unsent.names && !unsent.count &&
               !inode->unlinked && inode->again == NULL;
    pthread_mutex_unlock(&fs->lock);
    return now && kith_inode_put_one_begin(fs, inode, durability, unsent.attrs, done, arg);
}

void kith_start_put(struct kith_job *job, enum kith_durability durability,
                    void (*done)(void *job, int error))
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    pthread_mutex_lock(&fs->lock);
    struct unsent unsent = unsent_of(inode, durability);
    bool nothing = inode->unlinked ||
                   (!unsent.row && !unsent.attrs && !unsent.names && !unsent.count);
    bool now = !inode->row_busy;
    inode->row_busy = true;
    pthread_mutex_unlock(&fs->lock);
    if (!now) {
        kith_job_start(job);
        return;
    }
    kith_job_begin(job);
    if (nothing) {
        done(job, 0);
    } else if (!kith_inode_put_begin(fs, inode, durability, done, job)) {
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        kith_job_defer(job);
    }
}

static void flush_done(void *arg, int error)
{
    struct kith_job *job = arg;
    pthread_mutex_lock(&job->fs->lock);
    kith_busy_give(job->fs, false, &job->inode, 1);
    pthread_mutex_unlock(&job->fs->lock);
    kith_job_fail(job, error);
    kith_job_end(job);
}

void kith_start_flush(struct kith_job *job, enum kith_durability durability)
{
    kith_start_put(job, durability, flush_done);
}

/* The next one with something unsent, held; NULL when there is none. */
static struct kith_inode *next_unsent(struct kith_fs *fs)
{
    struct kith_inode *found = NULL;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = fs->dirty;
    while (inode != NULL && found == NULL) {
        if (!inode->unlinked &&
            (kith_inode_dirty(inode) || inode->attr_changed != 0 || inode->untold ||
             inode->recount || kith_dir_untold(inode))) {
            found = inode;
            if (kith_dir_untold(inode)) {
                kith_dir_tell_time(inode);
            }
            inode->recount_at = 0; /* at once: the mount ends */
            kith_inode_hold(inode);
        }
        inode = inode->dirty_next == fs->dirty ? NULL : inode->dirty_next;
    }
    pthread_mutex_unlock(&fs->lock);
    return found;
}

/* Gives up what could not be put, by name. */
static unsigned give_up(struct kith_fs *fs)
{
    unsigned lost = 0;
    struct kith_inode *inode;
    while ((inode = next_unsent(fs)) != NULL) {
        char path[KITH_ERROR_MESSAGE_SIZE];
        pthread_mutex_lock(&fs->lock);
        bool time_only = inode->dir != NULL && inode->dir->time_only &&
                         inode->attr_changed == KITH_ATTR_MTIME; /* nobody set it */
        bool counts = kith_inode_dirty(inode) || (inode->attr_changed != 0 && !time_only) ||
                      inode->untold;
        inode->recount = false;
        kith_inode_path(fs, inode, path, sizeof path);
        kith_inode_put_forget(inode);
        inode->write_flushed = inode->write_version;
        inode->pending = inode->untold = false;
        inode->attr_changed = 0;
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
        if (counts) {
            kith_log_error("flush", "%s could not be stored and is given up", path);
            lost++;
        }
    }
    return lost;
}

unsigned kith_fs_flush_all(struct kith_fs *fs, uint64_t deadline)
{
    struct kith_inode *inode;
    while ((inode = next_unsent(fs)) != NULL && kith_mono_ns() < deadline) {
        int error = kith_inode_flush(fs, inode, KITH_DURABLE_OS);
        bool wait = error != 0;
        pthread_mutex_lock(&fs->lock);
        inode->recount = false; /* once; the next mount that meets it does what is left */
        if (wait) { /* others first; and not more often than the timer would */
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += 1;
            fs->dirty = fs->dirty != NULL ? fs->dirty->dirty_next : NULL;
            pthread_cond_timedwait(&fs->changed, &fs->lock, &until);
        }
        kith_inode_drop(fs, inode);
        inode = NULL;
        pthread_mutex_unlock(&fs->lock);
    }
    if (inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_dir_lost_end(fs, deadline);
    kith_link_left_end(fs, deadline); /* after the files: it may try again until the deadline */
    return give_up(fs);
}
