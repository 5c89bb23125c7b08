/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * where.h - the inside of WHERE, for where.c and those that begin and drive it (core.h). */
#ifndef KITH_CLIENT_WHERE_H
#define KITH_CLIENT_WHERE_H

#include "client/core.h"

/* One owner's part of a WHERE: a row, or all its chunks. */
struct cc_where_part {
    struct cc_peer *peer;
    uint16_t member; /* of op->table */
    enum cc_rep_state state;
    uint64_t asked_ms;
    bool chunks;
    uint32_t row;           /* a row, and its state as the owner has it */
    struct kith_bytes copy; /* held, or in the op's arena */
    uint32_t count;         /* chunks, and their places in the op's list */
    struct kith_chunk_id *ids;
    uint32_t *at;
};
struct cc_where {
    uint32_t row_count;
    struct kith_client_row_name *rows;
    uint32_t id_count;
    struct kith_chunk_id *ids;
    uint32_t *holders; /* of each id: its owners, a bit each */
    uint32_t part_count;
    struct cc_where_part **parts;       /* rows' first, by row and owner */
    struct cc_where_part **chunk_parts; /* by member; NULL: it owns none */
};

void cc_where_drive(struct kith_client_core *core, struct cc_op *op);
void cc_where_answer(struct kith_client_core *core, struct cc_op *op, uint32_t part,
                     const struct kith_msg *msg, struct kith_msg_box *box);
void cc_where_lost(struct cc_op *op, uint32_t part);

#endif
