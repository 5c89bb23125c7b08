/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook_queue.h - places that the hook's thread is to look at, and when.
 *
 * A place is a name in a directory, or (name "") all names of a directory. Who adds it says that there
 * may be something new; its turn comes when that was a moment ago:
 *
 *   - QUIET after it was said last, so that versions that arrive one after the other are one set, and
 *     what somebody settles at once none; but 5 QUIET after it was said first at the latest.
 *   - Up to a QUIET more by chance: where two mounts' hooks settle one conflict at the same moment they
 *     make the next, and this ends that soon.
 *   - QUIET doubles with each run for the place within an hour (64-fold at most), for programs that do
 *     not settle but make more of it.
 *
 * Full is full: what waits is nearer to its turn than what comes, and what is refused is not lost to
 * its file, which is found when its directory is looked through or listed next.
 *
 * Pure; the caller's lock. Times are kith_mono_ns's. Checked by tests/unit/test_hook_queue.c. */
#ifndef KITH_FS_HOOK_QUEUE_H
#define KITH_FS_HOOK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KITH_HOOK_RAN_MAX   256u /* runs that QUIET depends on; older ones are forgotten */
#define KITH_HOOK_TRIES_MAX 6u   /* looks at a place that cannot be read: for about a minute */

struct kith_hook_place {
    void *dir;  /* the caller's */
    char *name; /* on the heap; "": all names */
    uint64_t first, due;
    uint32_t tries; /* that failed */
};

struct kith_hook_queue {
    uint64_t quiet_ns;
    uint32_t names_most, dirs_most; /* how many of each may wait */
    uint32_t count, dirs;           /* of both; of directories as a whole */
    uint64_t *keys;                 /* of each place: a hash by which it is found */
    struct kith_hook_place *places;
    struct {
        uint64_t key, at;
    } ran[KITH_HOOK_RAN_MAX];
    uint32_t ran_count; /* in all */
};

enum kith_hook_added {
    KITH_HOOK_ADDED, /* the place holds `dir` now */
    KITH_HOOK_WAITS, /* it did already */
    KITH_HOOK_FULL,  /* nothing has changed; the same where memory is short */
};

KITH_MUST_CHECK enum kith_err kith_hook_queue_init(struct kith_hook_queue *queue, uint64_t quiet_ns,
                                                   uint32_t names_most, uint32_t dirs_most);
/* What is in it is the caller's to take out before. */
void kith_hook_queue_release(struct kith_hook_queue *queue);
/* key: the same for the same place, of others almost never. chance: any number. */
enum kith_hook_added kith_hook_queue_add(struct kith_hook_queue *queue, uint64_t key, void *dir,
                                         const char *name, uint64_t now, uint64_t chance);
/* The same with one that was taken out and could not be read: later each time. FULL also when it has
 * been tried often enough. */
enum kith_hook_added kith_hook_queue_again(struct kith_hook_queue *queue, uint64_t key,
                                           const struct kith_hook_place *place, uint64_t now);
/* The hook ran for the place. */
void kith_hook_queue_ran(struct kith_hook_queue *queue, uint64_t key, uint64_t now);
/* When the next is due; UINT64_MAX: none waits. */
uint64_t kith_hook_queue_next(const struct kith_hook_queue *queue);
/* Takes out the one that is due first, if that is so at `now`: with its name, which is the caller's
 * to free. */
bool kith_hook_queue_take(struct kith_hook_queue *queue, uint64_t now,
                          struct kith_hook_place *ret_place);

#endif
