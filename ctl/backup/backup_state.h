/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_state.h - the rows of one partition, as a backup holds them and takes them from the owners.
 *
 * An owner is asked for what is not as it is here (LeafReq), until the sums of what is here are those
 * that came with an answer, which are of the moment at which the rows of that answer were read: then
 * what is here is exactly what the owner had at that moment, with no half of a batch. That is its VIEW;
 * the views of all owners that answer are merged, row by row, as replicas merge: each acknowledged write
 * is in a majority of the owners, and so in the views of a majority.
 *
 *     HELD    what the backup's log has of the partition
 *     VIEW    of the owner at hand; begins as what is held, for then only what has changed comes
 *     MERGED  of the owners so far; what differs from HELD is written
 *
 * A leaf with more rows than can be named is asked for in PARTS, one behind the other by the order of its
 * keys, each with as many rows as can be named, and each verified by the sum of all of its rows, so that
 * rows that the owner has no more are found there. A part says nothing of the one before it: as of one
 * moment is the leaf when its sum is, as ever; else its parts are asked for again, and what has changed
 * since comes.
 *
 * What is held but in no view is gone: a deleted row that all owners have forgotten. It must not be
 * merged into what is new, or it would come back. This stands for "the sequence" of an increment: a
 * sequence number would be one store's, and void when its node is replaced.
 *
 * One thread. Checked by tests/unit/test_backup_state.c against owners that change meanwhile. */
#ifndef KITH_CTL_BACKUP_STATE_H
#define KITH_CTL_BACKUP_STATE_H

#include "data/tree.h"
#include "wire/msg.h"

#define KITH_BACKUP_ROUNDS 8u /* after which an owner that changes all the time is not settled */

struct kith_backup_version {
    bool there;
    struct kith_checksum hash; /* as nodes make it, with their secret; all zero: not known */
    struct kith_bytes state;   /* encoded */
};

struct kith_backup_row {
    struct kith_backup_row *next, *next_in_leaf, *next_in_slot;
    struct kith_group group;
    struct kith_bytes name;
    uint32_t leaf;
    struct kith_backup_version held, view, merged;
};

struct kith_backup_state {
    struct kith_arena arena;
    uint32_t partition, partitions;
    uint32_t named_max; /* rows that a question may name: KITH_LEAF_HASHES_MAX */
    struct kith_backup_row *rows; /* all, by `next`, in the order in which they were met */
    struct kith_backup_row **last;
    struct kith_backup_row *leaves[KITH_TREE_LEAVES];
    struct kith_backup_row **slots;
    size_t slot_count, row_count;
    struct kith_sum sums[KITH_TREE_LEAVES]; /* of the view */
    uint32_t counts[KITH_TREE_LEAVES];      /* rows in it */
    uint64_t bytes; /* of rows that came */
    uint64_t held_rows;     /* as they were held last: of those that are there, ... */
    struct kith_sum held_sum; /* ... the sum of the hashes */
};

/* Asks one owner. The question's table and partition are the callee's to fill in; the answer is valid
 * until the next one. */
struct kith_backup_owner {
    const char *name; /* for messages */
    void *arg;
    enum kith_err (*ask)(void *arg, struct kith_leaf_req *req, struct kith_leaf_res *ret_res,
                         struct kith_error *error);
};

void kith_backup_state_init(struct kith_backup_state *state, uint32_t partition,
                            uint32_t partitions);
void kith_backup_state_release(struct kith_backup_state *state);

/* The log says so of a row; an empty state: it is gone. Borrows the state. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_backup_state_hold(struct kith_backup_state *state,
                                                     const struct kith_group *group,
                                                     struct kith_bytes name,
                                                     const struct kith_checksum *hash,
                                                     struct kith_bytes encoded);
/* All that is held stands. Before the first owner, and to begin anew. */
void kith_backup_state_begin(struct kith_backup_state *state);
/* Takes what the owner has into MERGED. Not *ret_settled: it changed faster than it could be read, or
 * has damaged rows; what came is merged, but is of several moments. Whatever ask says, then nothing is
 * merged; EFORMAT: an answer that makes no sense; EVERSION: it knows no parts; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_backup_state_take(struct kith_backup_state *state,
                                                     const struct kith_backup_owner *owner,
                                                     bool *ret_settled, struct kith_error *error);
/* Whether the row is to be written. */
bool kith_backup_row_changed(const struct kith_backup_row *row);
/* Of what the log has said so far: rows, and the sum of their hashes; takes no look at them. */
void kith_backup_state_held(const struct kith_backup_state *state, uint64_t *ret_rows,
                            struct kith_checksum *ret_root);
/* Of MERGED, or of what is held: rows, and the sum of their hashes. */
void kith_backup_state_root(const struct kith_backup_state *state, bool held, uint64_t *ret_rows,
                            struct kith_checksum *ret_root);

#endif
