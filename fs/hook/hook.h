/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook.h - a program of the user's, run when a file has concurrent versions (-o on_conflict=CMD).
 *
 * WHEN. The tables tell of each entry beside which they have other versions (kith_hook_saw: one test
 * of a pointer where there is no hook), the watches of names and directories that others have changed
 * (kith_hook_told, kith_hook_told_all). Those places wait (hook_queue.h) for a thread of its own, which
 * reads the name anew by quorum, and runs the program if a version stands beside it that the program
 * was not told of yet. So it runs once for a set of versions however often they are seen, once more
 * when another joins, once for a file with several names; not when the file that bears the name is
 * written on or the directory renamed; and not at all for what is settled before its turn, by whomever.
 * What it was told of is remembered (hook_known.h) until the mount ends, and a run that fails is a run.
 *
 * WITH WHAT. CMD PATH VERSION..., absolute paths as the mount shows them, any bytes but NUL. In the
 * environment KITH_PATH, KITH_VERSIONS (the versions' paths, a line each) and KITH_MOUNT. Where versions
 * are hidden (conflicts=hide) nothing leads to them, and none is named. hook_run.h says what else the
 * process finds, and its limits.
 *
 * WATCHES. With a hook a directory is watched from the first question on, looked through when its watch
 * becomes live unless somebody lists it then, and watched on when nobody uses it (tables/watch.c): that
 * is how a conflict comes to be known in which nobody looks at the file.
 *
 * NOTHING WAITS FOR IT. The program may work in the mount as any other: the thread holds no lock
 * while it runs, and serves no request. At the end of the mount kith_hook_stop comes first (SIGTERM,
 * and SIGKILL three seconds later), then the connection to the kernel ends, and with it each call of the
 * program's that hangs in the mount, and only then does anybody wait for the thread.
 *
 * Locks: its own, behind fs->lock; never held over anything that waits. Uses what names.h and
 * conflicts.h read; mount/ begins and ends it. Checked by tests/unit/test_hook.c and
 * tests/integration/test_on_conflict.sh. */
#ifndef KITH_FS_HOOK_HOOK_H
#define KITH_FS_HOOK_HOOK_H

#include "fs/fs.h"

#define KITH_HOOK_FAILURE_SIZE 512u

struct kith_hook_figures {
    uint64_t runs, failures; /* of those the ones that did not end with status 0 */
    uint64_t looks;          /* places that were looked at: names, and directories as a whole */
    uint64_t dropped;        /* places that were not looked at: too many waited, or no node answered */
    uint32_t waiting;        /* places */
    uint64_t failed_ms;      /* the last failure, by the wall clock; 0: none */
    char failure[KITH_HOOK_FAILURE_SIZE]; /* "PATH: what" */
};

/* options->on_conflict is the absolute path of a program. Sets fs->hook. ENOMEM, ELIMIT. */
KITH_MUST_CHECK enum kith_err kith_hook_new(struct kith_fs *fs);
/* It runs nothing any more, and what runs is told to end. Does not wait; hook may be NULL. */
void kith_hook_stop(struct kith_hook *hook);
/* The same, and waits for that; fs->hook is NULL then. The client and the tables are still there. */
void kith_hook_free(struct kith_fs *fs);
/* hook may be NULL. Any thread. */
void kith_hook_figures(struct kith_hook *hook, struct kith_hook_figures *ret_figures);

/* ---- fs->lock held; any thread; hook.c does nothing where fs->hook is NULL ---- */
/* What is known of the entry's row, or of its inode's, is new. */
void kith_hook_saw(struct kith_fs *fs, const struct kith_entry *entry);
/* Another mount has changed the row of the name, or of the inode that it leads to. */
void kith_hook_told(struct kith_fs *fs, const struct kith_entry *entry);
/* Others may have changed anything in the directory. False: too many wait. */
bool kith_hook_told_all(struct kith_fs *fs, struct kith_inode *dir);

#endif
