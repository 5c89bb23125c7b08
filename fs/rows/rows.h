/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rows.h - requests to the cluster from threads that may wait, and updates that are put together.
 *
 * Above the client (client.h) and the encoding of rows (common/format) alone; of the tables only
 * where the row of an inode is. */
#ifndef KITH_FS_ROWS_ROWS_H
#define KITH_FS_ROWS_ROWS_H

#include "fs/fs.h"

/* ---- rows.c: requests to the cluster, errno in, errno out ---- */
KITH_MUST_CHECK bool kith_octets_set(struct kith_octets *octets, struct kith_bytes bytes);
void kith_octets_clear(struct kith_octets *octets);
static inline struct kith_bytes kith_octets_bytes(const struct kith_octets *octets)
{
    return kith_bytes_make(octets->data, octets->size);
}
/* Of one file, so that they move with it in one batch; it is largest where two files are exchanged
 * within a directory: four rows each, and the bytes of both in one request. */
#define KITH_XATTRS_MAX       60u
#define KITH_XATTRS_BYTES_MAX (1u << 20) /* names and values together */
/* Reads rows; *ret_answer must be released, whatever is returned. */
int kith_rows_get(struct kith_fs *fs, const struct kith_group *group,
                  const struct kith_bytes names[], uint32_t count,
                  struct kith_client_answer *ret_answer);
/* The same, never degraded. */
int kith_rows_get_strict(struct kith_fs *fs, const struct kith_group *group,
                         const struct kith_bytes names[], uint32_t count,
                         struct kith_client_answer *ret_answer);
/* strict: never degraded, for what must not be done on the word of fewer than a quorum. */
int kith_rows_scan(struct kith_fs *fs, const struct kith_group *group,
                   const struct kith_bytes *after, uint32_t max_rows, bool strict,
                   struct kith_client_answer *ret_answer);
/* A page of the groups of the mount's volume in a partition that have a row without a name; after: NULL, or
 * the last of the page before. */
int kith_rows_groups(struct kith_fs *fs, uint32_t partition, const struct kith_group *after,
                     struct kith_client_answer *ret_answer);
/* Each row of an extended attribute of the row `base`, by name, however many pages they take; until
 * `each` answers something else than 0, which is returned. strict: as above. May wait. */
int kith_rows_xattrs(struct kith_fs *fs, const struct kith_group *group, struct kith_bytes base,
                     bool strict,
                     int (*each)(void *arg, const struct kith_client_row *row,
                                 struct kith_bytes attribute),
                     void *arg);
/* Where the outcome is unknown the same goes again under the same request id until it is known or
 * the mount's deadline for a request has passed (ret_answer tells EUNKNOWN then). */
int kith_rows_put(struct kith_fs *fs, const struct kith_group *group,
                  enum kith_durability durability, const struct kith_put_update updates[],
                  uint32_t count, struct kith_client_answer *ret_answer);
/* The same for an op that has a request id, or (again, client.h) that was sent already; until: a
 * time of kith_mono_ns. */
int kith_rows_put_op(struct kith_fs *fs, const struct kith_client_op *op, uint64_t until,
                     struct kith_client_answer *ret_answer);
/* When a put that begins now is given up. */
uint64_t kith_rows_until(const struct kith_fs *fs);
/* Whether the put that ended so is to be put again: for callbacks, which let a thread do it. */
bool kith_rows_open(const struct kith_client_result *result, uint64_t until);
/* A put of one row that goes on while its sender does something else; wait ends it. update NULL:
 * its memory was short, and so is the put's outcome. */
struct kith_put_wait {
    struct kith_fs *fs;
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t cond;
    bool done;
    int error;
};
void kith_rows_put_begin(struct kith_fs *fs, const struct kith_group *group,
                         const struct kith_put_update *update, struct kith_put_wait *ret_wait);
int kith_rows_put_wait(struct kith_put_wait *wait);
/* Tells the log of a request that failed; now and then as a warning where nodes cannot be reached,
 * for the caller sees no more than EIO. Any thread. */
void kith_rows_failed(struct kith_fs *fs, const struct kith_client_result *result);
/* What a put came to, for callbacks: errno; the mount takes note of trouble. */
int kith_rows_put_end(struct kith_fs *fs, const struct kith_client_result *result, uint32_t count);
/* What replaces the version `winner` (NULL: none) of `row`: clock and the siblings that stay. In
 * the arena. */
KITH_MUST_CHECK enum kith_err kith_row_context(struct kith_arena *arena, const struct kith_row *row,
                                               const struct kith_sibling *winner,
                                               struct kith_bytes *ret_context);
/* Whether a row that was put has no other version than the one just put. */
bool kith_context_is_alone(struct kith_bytes context);
/* True when the mount may keep small writes for the group in memory. */
bool kith_fs_defers(struct kith_fs *fs, const struct kith_group *group);

/* ---- batch.c: updates of one group ---- */
struct kith_batch {
    struct kith_arena arena;
    struct kith_put_update updates[KITH_BATCH_MAX];
    uint32_t count;
};
KITH_MUST_CHECK struct kith_batch *kith_batch_new(void);
void kith_batch_free(struct kith_batch *batch);
/* Adds one update; name, context and value are copied. Returns its index or -1 (ENOMEM, full). */
int kith_batch_add(struct kith_batch *batch, struct kith_bytes name, struct kith_bytes context,
                   const struct kith_bytes *value, uint8_t kind, const struct kith_chunk_id *refs,
                   uint32_t ref_count);
/* Removes the attribute rows of an inode that stand beside its row; with `to`, the extended
 * attributes are written beside that row instead (in the batch of another group where `into`
 * differs). May wait. */
int kith_batch_attrs(struct kith_fs *fs, struct kith_batch *from, struct kith_batch *into,
                     struct kith_inode *inode, const struct kith_rowname *to);
/* Puts a batch; the answer must be released, whatever is returned. */
int kith_batch_put(struct kith_fs *fs, struct kith_batch *batch, const struct kith_group *group,
                   struct kith_client_answer *ret_answer);
/* Takes over the context that the put answered for the update `at`. fs->lock held. ENOMEM. */
int kith_batch_note(struct kith_octets *octets, const struct kith_client_answer *answer, int at);
/* The record of an inode, with its image, as a value in the batch's arena. */
int kith_batch_record(struct kith_batch *batch, const struct kith_inode_record *record,
                      struct kith_bytes *ret_value);

#endif
