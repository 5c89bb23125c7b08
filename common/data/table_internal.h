/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * table_internal.h - how tables are made: table.c and table_move.c. */
#ifndef KITH_DATA_TABLE_INTERNAL_H
#define KITH_DATA_TABLE_INTERNAL_H

#include "data/table.h"

struct kith_table_shape {
    uint32_t partitions, replicas, member_count, owner_slots;
    uint32_t next_slots; /* 0: not joint */
};

/* Where to write what the table points to. */
struct kith_table_parts {
    struct kith_member *members;
    uint16_t *owners;
    struct kith_member_next *after; /* joint ones, as next is */
    uint16_t *next;
};

/* Zeroed but for its shape, refs = 1; kith_free gives it back as long as it is not sealed. */
struct kith_table *kith_table_alloc(const struct kith_table_shape *shape,
                                    struct kith_table_parts *ret_parts);
bool kith_table_valid(const struct kith_table *table);
/* Once all is written: checks it, and computes what follows from it. EINVAL, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_table_seal(struct kith_table *table);

#endif
