/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_forget.h - older runs of a backup are forgotten, and what only they needed goes: --keep.
 *
 *     1  `runs` without their lines. From here on they are forgotten, whatever comes of the rest.
 *     2  each log in which more is dead than alive: anew, with what the kept runs say. Alive is
 *            - what stands as of the oldest kept run's MARK, in the place of all before it,
 *            - of what follows, up to each MARK that a kept run goes by, the last ROW of each row,
 *            - those MARKs, unchanged, so that `runs` holds; and what stands behind the last one.
 *     3  each pack in which more is dead than alive: anew, with the chunks that a row of 2 names, and those
 *        that these refer to. One of which nothing is alive becomes a HEAD alone: its number stays taken.
 *
 * A file is written beside the old one (*.new), flushed, and renamed over it, so that one that is killed
 * anywhere leaves the old one or the new one, and both say the same of the kept runs. What it left is
 * removed by the next one. Nothing is forgotten but by this.
 *
 * One thread. Checked by tests/unit/test_backup_forget.c, killed at each step. */
#ifndef KITH_CTL_BACKUP_BACKUP_FORGET_H
#define KITH_CTL_BACKUP_BACKUP_FORGET_H

#include "ctl/backup/backup_dir.h"

/* Less than that is not worth the two flushes that a new file costs. */
#define KITH_BACKUP_DEAD_MIN (UINT64_C(1) << 20)

struct kith_backup_forget {
    struct kith_backup_dir *dir; /* open for writing; to be closed afterwards, for it is as of before */
    uint64_t keep;     /* so many whole runs, and others behind the oldest of these */
    uint64_t dead_min; /* bytes: a file with less of what is dead stays as it is */
    void (*step)(void *arg, const char *path); /* before each change to the folder; NULL: nobody looks */
    void *step_arg;
    /* so many of so many logs or packs were looked at; NULL: nobody looks */
    void (*progress)(void *arg, uint64_t done, uint64_t all, const char *what);
    void *progress_arg;
    uint32_t runs;                 /* that were forgotten */
    uint64_t oldest;               /* that is kept; 0: none has ended */
    uint64_t freed;                /* bytes */
    struct kith_backup_index live; /* chunks that the kept runs need */
};

/* EIO, ENOSPC, ENOMEM; ECORRUPT: damaged, with the file and the byte; what was done until then holds. */
KITH_MUST_CHECK enum kith_err kith_backup_forget(struct kith_backup_forget *forget,
                                                 struct kith_error *error);

/* ---- Its steps ---- */

/* Step 2, for one log; notes the chunks that it names. backup_compact.c */
KITH_MUST_CHECK enum kith_err kith_backup_compact(struct kith_backup_forget *forget,
                                                  uint32_t partition, struct kith_error *error);
/* Step 3, when all logs were looked at. backup_sweep.c */
KITH_MUST_CHECK enum kith_err kith_backup_sweep(struct kith_backup_forget *forget,
                                                struct kith_error *error);

void kith_backup_forget_progress(const struct kith_backup_forget *forget, uint64_t done,
                                 uint64_t all, const char *what);
/* Whether a file of so many bytes, of which so many are alive, is written anew. */
bool kith_backup_mostly_dead(const struct kith_backup_forget *forget, uint64_t size, uint64_t live);
/* Begins a file in the place of the one at `path`, with its HEAD. */
KITH_MUST_CHECK enum kith_err kith_backup_anew(struct kith_backup_forget *forget, const char *path,
                                               uint32_t partition, struct kith_backup_file *file,
                                               struct kith_error *error);
/* With OK so far it takes the place of the one of `size` bytes; else it goes. Closes it; returns err, or
 * what became of it. */
KITH_MUST_CHECK enum kith_err kith_backup_anew_done(struct kith_backup_forget *forget,
                                                    const char *path, uint64_t size,
                                                    struct kith_backup_file *file,
                                                    enum kith_err err, struct kith_error *error);

#endif
