/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * restore.h - a backup into a cluster, as NEW WRITES: each version that a row had is put again, and gets
 * a dot of its own. So no dot is ever used twice (row.h), whatever the cluster was before, and nothing
 * that the cluster has is overwritten: where its row says something else, the restored version stands
 * beside that, as any concurrent write would.
 *
 *     rows     a row without versions of contents was deleted: it is left out, also where it says where
 *              its contents were moved to, for they are there. Several versions of one row are put one
 *              after the other, each blind, the oldest first: so all of them stand again, and the latest
 *              bears the plain name. One that is there already, with the same contents, is not put: what
 *              was restored once changes nothing the second time, and what was broken off is gone on with.
 *              No value holds a dot of another row, so that values stand as they were.
 *     chunks   under the ids that they had, those that others refer to first, leased (msg.h) before the row
 *              that names them is put; those that are there are not sent again
 *
 * SEVERAL BATCHES of rows are under way at a time (restore_pool.c), of one group and of many: what is put is
 * blind, and each row is in one batch. What they share is protected by one lock. A chunk that two of them
 * name may be sent twice: it is the same. */
#ifndef KITH_CTL_RESTORE_H
#define KITH_CTL_RESTORE_H

#include <pthread.h>

#include "client/client.h"
#include "ctl/backup/backup_dir.h"
#include "ctl/backup/backup_limit.h"
#include "ctl/ctl.h"

/* kithctl backup --check DIR: every record, and that every chunk that a row names is there. */
int kith_ctl_backup_check(const struct kith_ctl_args *args);

#define KITH_RESTORE_SENT 1u /* a chunk that was not there before */

struct kith_restore {
    struct kith_client *client;
    struct kith_backup_limit limit;
    const struct kith_backup_dir *dir; /* NULL: chunks came in a stream, before the rows */
    pthread_mutex_t lock;
    /* protected by lock, which is held where warn is called: */
    struct kith_backup_index done; /* chunks that are there, leased; `pack`: KITH_RESTORE_SENT, or 0 */
    uint64_t rows, rows_put, versions_put, chunks_put, bytes; /* bytes: sent */
    uint64_t lost; /* versions whose chunks the backup has not */
    uint64_t held; /* bytes of chunks that are taken up and not there yet */
    void (*warn)(void *arg, const char *text);
    void *warn_arg;
};

/* ---- Chunks: restore_chunks.c ---- */

#define KITH_RESTORE_CHUNKS 64u        /* at a time ... */
#define KITH_RESTORE_BYTES  (8u << 20) /* ... and of these together: one more is at most a mebibyte */
/* Of all batches together: where so much is held a batch goes with what it has. One chunk more of each. */
#define KITH_RESTORE_HELD (32u << 20)

struct kith_restore_chunk {
    struct kith_chunk_id id;
    struct kith_checksum checksum;
    uint32_t ref_count;
    struct kith_chunk_id *refs; /* its own */
    struct kith_blob *payload;
};
/* Chunks that are on their way; all zero at first. */
struct kith_restore_batch {
    uint32_t count;
    size_t bytes;
    struct kith_restore *restore; /* NULL: it is empty */
    struct kith_restore_chunk chunks[KITH_RESTORE_CHUNKS];
};

/* Takes a chunk up; those that were taken up before are there once it refers to others, or many are. */
KITH_MUST_CHECK enum kith_err kith_restore_chunk_add(struct kith_restore *restore,
                                                     struct kith_restore_batch *batch,
                                                     const struct kith_backup_record *record,
                                                     struct kith_error *error);
/* All that were taken up are there, and leased. EBUSY with a message: but for some that the cluster does
 * not take now. */
KITH_MUST_CHECK enum kith_err kith_restore_chunks_flush(struct kith_restore *restore,
                                                        struct kith_restore_batch *batch,
                                                        struct kith_error *error);
void kith_restore_batch_release(struct kith_restore_batch *batch);
/* The ids and all that they refer to, from the folder. ENOTFOUND, ECORRUPT with a message: the backup has
 * not all of them; EBUSY: the cluster does not take one of them now; others: it does not answer. */
KITH_MUST_CHECK enum kith_err kith_restore_chunks(struct kith_restore *restore,
                                                  const struct kith_chunk_id *ids, uint32_t count,
                                                  struct kith_error *error);

/* ---- Rows: restore_rows.c ---- */

struct kith_restore_row {
    struct kith_bytes name;
    struct kith_bytes state; /* encoded */
};

/* Rows of one group, at most KITH_BATCH_MAX, each name once. */
KITH_MUST_CHECK enum kith_err kith_restore_rows(struct kith_restore *restore,
                                                const struct kith_group *group,
                                                const struct kith_restore_row *rows,
                                                uint32_t count, struct kith_error *error);

/* ---- Several at a time: restore_pool.c ---- */

struct kith_restore_pool;

/* `over` is called on the pool's threads, once for each batch that was added, when what its rows point to
 * is needed no more. */
KITH_MUST_CHECK enum kith_err kith_restore_pool_new(struct kith_restore *restore,
                                                    void (*over)(void *arg),
                                                    struct kith_restore_pool **ret_pool,
                                                    struct kith_error *error);
/* Rows as of kith_restore_rows, to be restored some time from now on; waits while many are waiting. Any
 * error of one that was added before: then this one is not, and `over` not called; nor is any begun. */
KITH_MUST_CHECK enum kith_err kith_restore_pool_add(struct kith_restore_pool *pool,
                                                    const struct kith_group *group,
                                                    const struct kith_restore_row *rows,
                                                    uint32_t count, void *arg,
                                                    struct kith_error *error);
/* All that were added are through. The first error of any of them. */
KITH_MUST_CHECK enum kith_err kith_restore_pool_wait(struct kith_restore_pool *pool,
                                                     struct kith_error *error);
void kith_restore_pool_free(struct kith_restore_pool *pool); /* NULL is fine; waits, too */

#endif
