/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflict_row.h - what the rows of a name tell of versions in conflict, as a mount shows them
 * (fs/conflicts/conflicts.h): the versions of the entry's row, and where it refers to a shared
 * inode those of that row; references to shared inodes are none. Pure; any thread. */
#ifndef KITH_CONFLICTS_CONFLICT_ROW_H
#define KITH_CONFLICTS_CONFLICT_ROW_H

#include "format/versions.h"

/* Lies in the arena and borrows from the rows. */
struct kith_conflict {
    uint32_t count;                /* versions that are shown; 0: the name leads nowhere */
    struct kith_version *versions; /* the one that bears the name, the others the latest first */
    uint64_t since_ms;             /* when the oldest of the others was written */
    uint32_t writer_count;
    struct kith_bytes *writers; /* of all of them, each once, by name */
};

/* Whether the row alone shows that its name is no directory, no reference and in no conflict. */
bool kith_conflict_none(const struct kith_row *row);
/* shared: the row that the entry refers to; NULL where it refers to none, or that is gone. ENOMEM;
 * where what bears the name cannot be read, why. */
KITH_MUST_CHECK enum kith_err kith_conflict_of(struct kith_arena *arena, const struct kith_row *row,
                                               const struct kith_row *shared,
                                               struct kith_conflict *ret_conflict);

#endif
