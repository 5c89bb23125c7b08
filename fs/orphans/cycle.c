/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cycle.c - directories that were moved into one another.
 *
 * Two mounts, on two sides of a cut network or at the same moment: one moves "a" into "b", the other
 * "b" into "a", or into what is below it. Each is right by what it sees, and then no name leads to
 * either of them from the root.
 *
 * A mount remembers the directories that it has moved into another one. When it sees that another
 * mount has taken a directory away, it follows the own rows up from each of those: where that comes back to
 * where it was, the cycle is cut at the latest move, which is the same for all who look (by the time and
 * dot of the own rows), and that directory goes to "lost+found" in the root, with all that is in it. Each
 * step is the same for two mounts that do it at once, and may be done again. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/fs.h"
#include "fs/mount/mount.h"
#include "fs/orphans/orphans.h"
#include "fs/orphans/place.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

#define MOVED_MAX      64u
#define LOOK_NS        (FLUSH_DELAY_NS + FLUSH_DELAY_NS / 2)
#define RETRY_NS       (2 * NSEC_PER_SEC)

struct kith_moved {
    struct kith_moved *next; /* moved before it */
    struct kith_group group;
};

void kith_dir_moved(struct kith_fs *fs, const struct kith_inode *inode)
{
    struct kith_moved *moved = kith_calloc(1, sizeof *moved);
    if (moved == NULL) {
        kith_log_warn("names", "no memory to remember what was moved");
        return;
    }
    moved->group = inode->dir->group;
    moved->next = fs->moved;
    fs->moved = moved;
    struct kith_moved **at = &moved->next;
    for (uint32_t count = 1; *at != NULL;) {
        struct kith_moved *old = *at;
        if (count >= MOVED_MAX || kith_group_compare(&old->group, &moved->group) == 0) {
            *at = old->next;
            kith_free(old);
        } else {
            at = &old->next;
            count++;
        }
    }
}

void kith_dir_vanished(struct kith_fs *fs)
{
    if (fs->moved != NULL && fs->cycles_due == 0) {
        fs->cycles_due = kith_mono_ns() + LOOK_NS;
        kith_timer_wake(fs->timer);
    }
}

static int look(struct kith_fs *fs, const struct kith_group *group)
{
    struct kith_arena arena;
    struct kith_place *last = NULL;
    const struct kith_place *again = NULL;
    kith_arena_init(&arena, 0);
    int error = kith_way_up(fs, &arena, group, NULL, NULL, &last, &again);
    if (error == 0 && again != NULL) {
        error = kith_found_put(fs, &arena, kith_way_latest(last, again), KITH_FOUND_CYCLE);
    }
    kith_arena_release(&arena);
    return error;
}

int kith_cycles_look(struct kith_fs *fs)
{
    struct kith_group groups[MOVED_MAX];
    uint32_t count = 0;
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    for (const struct kith_moved *moved = fs->moved; moved != NULL && count < MOVED_MAX;
         moved = moved->next) {
        groups[count++] = moved->group;
    }
    pthread_mutex_unlock(&fs->lock);
    for (uint32_t i = 0; i < count; i++) {
        int failed = look(fs, &groups[i]);
        error = error == 0 ? failed : error;
    }
    return error;
}

static void do_cycles(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    int error = kith_cycles_look(fs);
    if (error != 0) {
        kith_log_debug("names", "whether directories are in one another: %s", strerror(error));
    }
    pthread_mutex_lock(&fs->lock);
    fs->cycles_busy = false;
    if (error != 0) {
        fs->cycles_due = kith_mono_ns() + RETRY_NS;
    }
    pthread_mutex_unlock(&fs->lock);
}

void kith_cycles_start(struct kith_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    bool due = fs->cycles_due != 0 && fs->cycles_due <= kith_mono_ns() && !fs->cycles_busy;
    pthread_mutex_unlock(&fs->lock);
    struct kith_job *job = due ? kith_job_new(fs, NULL, 0, 0, do_cycles) : NULL;
    if (job == NULL) {
        return; /* where memory is short: the next tick */
    }
    pthread_mutex_lock(&fs->lock);
    fs->cycles_due = 0;
    fs->cycles_busy = true;
    pthread_mutex_unlock(&fs->lock);
    kith_job_begin(job);
    if (!kith_job_go_on(job, do_cycles)) { /* too much waits already */
        kith_job_end(job);
        pthread_mutex_lock(&fs->lock);
        fs->cycles_busy = false;
        fs->cycles_due = kith_mono_ns() + RETRY_NS;
        pthread_mutex_unlock(&fs->lock);
    }
}

void kith_cycles_end(struct kith_fs *fs)
{
    int error = fs->cycles_due != 0 ? kith_cycles_look(fs) : 0;
    if (error != 0) {
        kith_log_error("names", "whether directories that were moved are in one another by now is "
                       "not known: %s", strerror(error));
    }
    while (fs->moved != NULL) {
        struct kith_moved *moved = fs->moved;
        fs->moved = moved->next;
        kith_free(moved);
    }
}
