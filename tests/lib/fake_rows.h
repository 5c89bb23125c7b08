/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_rows.h - the rows of a cluster in memory: a sorted array by (group, name) of encoded states.
 *
 * No lock of its own. */
#ifndef KITH_TESTS_LIB_FAKE_ROWS_H
#define KITH_TESTS_LIB_FAKE_ROWS_H

#include "base/alloc.h"
#include "data/row.h"

struct fake_row {
    struct kith_group group;
    struct kith_buf name;
    struct kith_buf state;
};

struct fake_rows { /* zero = none */
    struct fake_row **rows;
    size_t count, capacity;
};

void fake_rows_release(struct fake_rows *rows);
/* The first row at or after (group, name). */
size_t fake_rows_seek(const struct fake_rows *rows, const struct kith_group *group,
                      struct kith_bytes name);
/* The row at this place where it is of the group, else NULL. */
struct fake_row *fake_rows_at(const struct fake_rows *rows, size_t at,
                              const struct kith_group *group);
struct fake_row *fake_rows_find(const struct fake_rows *rows, const struct kith_group *group,
                                struct kith_bytes name);
KITH_MUST_CHECK enum kith_err fake_rows_store(struct fake_rows *rows,
                                              const struct kith_group *group,
                                              struct kith_bytes name, const struct kith_row *state);
/* The row, decoded into a copy of its bytes; where there is none it is empty. */
KITH_MUST_CHECK enum kith_err fake_rows_load(const struct fake_rows *rows, struct kith_arena *arena,
                                             const struct kith_group *group, struct kith_bytes name,
                                             struct kith_row *ret_row);

#endif
