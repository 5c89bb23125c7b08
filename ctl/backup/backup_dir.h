/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_dir.h - a backup as a folder:
 *
 *     cluster          text: format, the cluster's uuid, its partitions, since when
 *     lock             held (flock) by who writes; shared by who reads
 *     runs             text: a line for each run that came to its end
 *     rows/NNNN        one log for each partition that has rows: HEAD, then ROWs and MARKs
 *     chunks/NNNNNN    packs of at most KITH_BACKUP_PACK_SIZE: HEAD, then CHUNKs; refs come first
 *
 * Files only grow (backup_record.h), but where older runs are forgotten (backup_forget.h), so that a run
 * that was killed is gone on with by the next one: what it had written whole counts as held, and what was
 * torn off is cut. What belongs together is flushed in this order: chunks, rows, the partition's MARK, the
 * line in `runs`. The line says what each partition's last MARK is (as one checksum over all), so that a
 * log that has lost its end is found.
 *
 * Damage, as opposed to an end that was being written, is an error that names file and byte.
 * One thread. Checked by tests/unit/test_backup_dir.c. */
#ifndef KITH_CTL_BACKUP_DIR_H
#define KITH_CTL_BACKUP_DIR_H

#include "ctl/backup/backup_record.h"
#include "ctl/backup/backup_state.h"

#define KITH_BACKUP_PACK_SIZE (UINT64_C(1) << 30)

/* ---- A file of records: backup_file.c ---- */

struct kith_backup_map {
    const uint8_t *data;
    size_t size; /* 0: there is no such file, or it is empty */
};

/* EIO with a message. A file that is not there is an empty one. */
KITH_MUST_CHECK enum kith_err kith_backup_map(const char *path, struct kith_backup_map *ret_map,
                                              struct kith_error *error);
void kith_backup_unmap(struct kith_backup_map *map);

/* What follows from `at` on; `next` is 0 at the end. */
struct kith_backup_walk {
    const char *path;
    struct kith_backup_map map;
    struct kith_arena arena; /* of the record at hand */
    size_t at;               /* behind the last one; at the end: of what is whole */
    bool heads;              /* CHUNKs are not read but for their ids, all but the last one */
};

/* The next record. KITH_ENOTFOUND: that was the last whole one (what is behind walk->at was being
 * written). ECORRUPT: damaged at walk->at, with a message; EVERSION, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_backup_walk_next(struct kith_backup_walk *walk,
                                                    struct kith_backup_record *ret_record,
                                                    struct kith_error *error);

/* A file that grows. */
struct kith_backup_file {
    int fd; /* -1: not open */
    uint64_t size;
    struct kith_buf buf; /* not yet written */
    char path[4200];
};

/* Opens it, made where it is not there, cut to `size`; a new one begins with a HEAD. EIO, ENOSPC. */
KITH_MUST_CHECK enum kith_err kith_backup_file_open(struct kith_backup_file *file,
                                                    const char *path, uint64_t size,
                                                    const struct kith_backup_record *head,
                                                    struct kith_error *error);
KITH_MUST_CHECK enum kith_err kith_backup_file_add(struct kith_backup_file *file,
                                                   const struct kith_backup_record *record,
                                                   struct kith_error *error);
/* All that was added is written. */
KITH_MUST_CHECK enum kith_err kith_backup_file_flush(struct kith_backup_file *file,
                                                     struct kith_error *error);
/* ... and on the disk. */
KITH_MUST_CHECK enum kith_err kith_backup_file_sync(struct kith_backup_file *file,
                                                    struct kith_error *error);
void kith_backup_file_close(struct kith_backup_file *file);

/* ---- Which chunks there are: backup_index.c ---- */

struct kith_backup_place {
    struct kith_chunk_id id;
    uint32_t pack; /* from 1; 0: in no pack, as in a stream */
    uint64_t at;
};
struct kith_backup_index {
    struct kith_backup_place *places; /* by hash; all zero ids are free */
    size_t count, capacity;
};
void kith_backup_index_release(struct kith_backup_index *index);
/* ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_backup_index_add(struct kith_backup_index *index,
                                                    const struct kith_backup_place *place);
const struct kith_backup_place *kith_backup_index_find(const struct kith_backup_index *index,
                                                       const struct kith_chunk_id *id);

/* ---- The folder: backup_dir.c ---- */

struct kith_backup_run {
    uint64_t run;
    bool whole;
    char when[24];
    struct kith_checksum marks; /* over each partition's last MARK; zeros: an older kithctl ended it */
};

struct kith_backup_dir {
    char path[4096];
    int lock;
    bool writes;
    struct kith_uuid cluster;
    uint32_t partitions;
    uint32_t run_count;
    struct kith_backup_run *runs; /* ascending */
    struct kith_backup_index chunks;
    uint32_t packs;
    struct kith_backup_file pack; /* the last one, while it is written */
};

/* To write: makes it where there is none, or an empty folder. ECLUSTER: it is of another cluster, or has
 * other partitions; EEXIST: something else is there; EBUSY: locked; EVERSION; ECORRUPT; EIO; ENOSPC. */
KITH_MUST_CHECK enum kith_err kith_backup_dir_write(struct kith_backup_dir *dir, const char *path,
                                                    const struct kith_uuid *cluster,
                                                    uint32_t partitions, struct kith_error *error);
/* To read. ENOTFOUND: there is none; else as above. Chunks of a pack that is damaged are found up to
 * the damage, which `damaged(arg, message)` is told. */
KITH_MUST_CHECK enum kith_err kith_backup_dir_read(struct kith_backup_dir *dir, const char *path,
                                                   void (*damaged)(void *arg, const char *message),
                                                   void *arg, struct kith_error *error);
void kith_backup_dir_close(struct kith_backup_dir *dir);

/* A chunk that is not there yet. */
KITH_MUST_CHECK enum kith_err kith_backup_dir_chunk(struct kith_backup_dir *dir,
                                                    const struct kith_backup_record *record,
                                                    struct kith_error *error);
/* A chunk that is there, verified; its contents borrow from *ret_map, its refs from the arena.
 * ECORRUPT with a message. */
KITH_MUST_CHECK enum kith_err kith_backup_dir_read_chunk(const struct kith_backup_dir *dir,
                                                         const struct kith_backup_place *place,
                                                         struct kith_arena *arena,
                                                         struct kith_backup_record *ret_record,
                                                         struct kith_buf *bytes,
                                                         struct kith_error *error);
/* A line for a run, also in dir->runs; all that was written before is on the disk then, too. */
KITH_MUST_CHECK enum kith_err kith_backup_dir_done(struct kith_backup_dir *dir, uint64_t run,
                                                   bool whole,
                                                   const struct kith_checksum marks[],
                                                   const char *figures, struct kith_error *error);
/* Over the sums of each partition's last MARK (kith_backup_mark_sum); zeros: it has none. */
struct kith_checksum kith_backup_marks(const struct kith_checksum marks[], uint32_t partitions);
/* Whether they are as the run left them, as far as it said. */
bool kith_backup_marks_fit(const struct kith_backup_run *run, const struct kith_checksum marks[],
                           uint32_t partitions);
struct kith_checksum kith_backup_mark_sum(const struct kith_backup_record *mark);
void kith_backup_log_path(const struct kith_backup_dir *dir, uint32_t partition, char path[4200]);
void kith_backup_pack_path(const struct kith_backup_dir *dir, uint32_t pack, char path[4200]);

/* What a partition's log says, into state's HELD, as of the run (UINT64_MAX: all that is whole, also
 * behind the last MARK). Its states borrow from *ret_map. */
struct kith_backup_log {
    struct kith_backup_map map;
    bool marked;                    /* there is a MARK of that run or before: */
    struct kith_backup_record mark; /* the last one */
    struct kith_checksum mark_sum;  /* of it; zeros: none */
    uint64_t mark_end;              /* 0: none */
    uint64_t end;                   /* of what is whole */
    bool loose;                     /* rows stand behind the last MARK */
};
/* ECORRUPT with a message: damaged, or the rows are not those that the MARK sums up; with `*ret_log` as
 * of the last MARK before the damage. */
KITH_MUST_CHECK enum kith_err kith_backup_log_read(const struct kith_backup_dir *dir,
                                                   uint32_t partition, uint64_t run,
                                                   struct kith_backup_state *state,
                                                   struct kith_backup_log *ret_log,
                                                   struct kith_error *error);
void kith_backup_log_release(struct kith_backup_log *log);

#endif
