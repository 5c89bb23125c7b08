/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * orphans.h - directories that no name leads to any more, and how they come back.
 *
 *     lost.c    one mount makes something in a directory that another one removes: it gets its name back
 *     cycle.c   two mounts move directories into one another: the later move goes to /lost+found
 *     check.c   now and then all directories are looked at, for those whose mounts have ended before they
 *               could do the above: look.c says what becomes of one
 *
 * place.h reads what a directory's own row says, found.c has /lost+found. Each step is the same for
 * two mounts that do it at once, and may be done again. Invariant 11. */
#ifndef KITH_FS_ORPHANS_ORPHANS_H
#define KITH_FS_ORPHANS_ORPHANS_H

#include "fs/fs.h"

/* ---- lost.c ---- */
/* fs->lock held. The name led to that directory, and another mount has removed it: where this one
 * has made something in it meanwhile, it gets its name back. */
void kith_dir_lost(struct kith_fs *fs, const struct kith_entry *entry,
                   const struct kith_inode *inode);
/* Begins that, for all that are due; from the timer. What fails is tried again later. */
void kith_dir_lost_start(struct kith_fs *fs);
/* Does it, also what is not due yet: the mount ends. What has failed by the deadline is named. */
void kith_dir_lost_end(struct kith_fs *fs, uint64_t deadline);

/* ---- cycle.c ---- */
/* fs->lock held. This mount has moved that directory into another one. */
void kith_dir_moved(struct kith_fs *fs, const struct kith_inode *inode);
/* fs->lock held. Another mount has taken a directory away from a name that is known here: where it
 * was moved below one that this mount has moved, the cycle is cut a moment later. */
void kith_dir_vanished(struct kith_fs *fs);
/* Begins that, where it is due; from the timer. */
void kith_cycles_start(struct kith_fs *fs);
/* Does it now. May wait. */
int kith_cycles_look(struct kith_fs *fs);
/* The mount ends: does what is due, once, and frees what is remembered. */
void kith_cycles_end(struct kith_fs *fs);

/* ---- check.c ---- */
struct kith_checker;
/* The thread that looks at all directories, now and then (options->check_s); one mount of those that
 * there are does it. ELIMIT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_checker_new(struct kith_fs *fs,
                                               struct kith_checker **ret_checker);
/* It begins nothing more. */
void kith_checker_stop(struct kith_checker *checker);
/* Waits for the request that is under way, if any. NULL: nothing. */
void kith_checker_free(struct kith_checker *checker);

#endif
