/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_conflict.h - within the store: the index of rows of files in conflict, and how many there are.
 * See store_conflict.c. From the worker's seat but where said otherwise. */
#ifndef KITH_SHELL_STORE_CONFLICT_H
#define KITH_SHELL_STORE_CONFLICT_H

#include "store/store_int.h"

/* In the transaction under way: a row of the partition came into conflict, or is in none any more. */
struct store_conflict_change {
    uint16_t partition;
    bool more;
};

/* None. Again: none any more. */
KITH_MUST_CHECK enum kith_err store_conflicts_init(struct kith_store *store);
/* At open: how many there are, from the index. ECORRUPT where that has what it cannot have. */
KITH_MUST_CHECK enum kith_err store_conflicts_load(struct kith_store *store,
                                                   struct kith_error *error);
/* The partitions that have some, in the arena. Any thread. */
KITH_MUST_CHECK enum kith_err store_conflicts_list(struct kith_store *store,
                                                   struct kith_arena *arena,
                                                   struct kith_store_counts *counts);
/* After a commit; after a rollback. */
void store_conflicts_commit(struct store_worker *worker);
void store_conflicts_rollback(struct store_worker *worker);
/* The row under that key in `rows` is written: before it is, while what its states borrow from the
 * page lies there. Moves no cursor but that of the index. */
KITH_MUST_CHECK enum kith_err store_conflict_change(struct store_worker *worker,
                                                    struct kith_bytes key,
                                                    const struct kith_row *before,
                                                    const struct kith_row *after);
/* The row goes. */
KITH_MUST_CHECK enum kith_err store_conflict_gone(struct store_worker *worker,
                                                  struct kith_bytes key);
/* Whether the row of that key (a whole one) is to be in the index; no row is where its state cannot be
 * read. ENOMEM. */
KITH_MUST_CHECK enum kith_err store_conflict_is(struct kith_arena *arena, struct kith_bytes key,
                                                struct kith_bytes state, bool *ret_is);

#endif
