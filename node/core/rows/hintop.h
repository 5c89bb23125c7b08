/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hintop.h - what a node keeps for others: the record of a hint, pure.
 *
 * A node that stands in for an owner keeps the row's state apart from its own rows, under the same
 * key, until the owners have it. One record a key, whoever it is for, so hints are merged per row:
 *
 *     u8      format, KITH_HINT_FORMAT
 *     u8      flags: 1 = custody, 2 = thin
 *     varint  wall ms of the first of it that is not delivered
 *     u8      number of targets, then 16 bytes each: owners that are to have it
 *     u8      number of acked, then 16 bytes each: owners that have it as it is now
 *     16      checksum of all before
 *     ...     a record (rowop.h) with an actor note and requests of its own; empty: none
 *
 * PLAIN. The write had its W copies without us: the record helps a target to catch up, and may be
 * dropped, for anti-entropy does the same.
 *
 * CUSTODY. We were counted as one of the W copies. It has no age and is never dropped; it goes when
 * W owners of the newest table have stored it (DESIGN section 5).
 *
 * THIN. This node is an owner; the row is among its own and stands on fewer than W copies, for too
 * few nodes were alive. Nothing else is kept of it here than that. It goes as custody does; this
 * node is one of the W.
 *
 * THE ACTOR. A stand-in that coordinates does so on the hint's record, whose note it takes along
 * when it goes: the next time a new epoch begins (rowop.h). A former owner's note in `rows` is never
 * used here, nor this one there.
 *
 * Pure; the caller owns all memory. Checked by tests/unit/test_hintop.c. */
#ifndef KITH_CORE_HINTOP_H
#define KITH_CORE_HINTOP_H

#include "core/rows/rowop.h"

#define KITH_HINT_FORMAT    1u
#define KITH_HINT_NODES_MAX 16u /* of a kind; a record that more want is custody's: for all owners */

struct kith_hint {
    bool exists;
    bool custody, thin;
    uint64_t first_ms;
    uint32_t target_count, acked_count;
    struct kith_uuid targets[KITH_HINT_NODES_MAX], acked[KITH_HINT_NODES_MAX];
    struct kith_bytes record; /* borrowed */
};

/* The owners of the partition by the newest table. */
struct kith_hint_owners {
    uint32_t count;
    const struct kith_uuid *uuids;
    uint32_t w; /* so many of them must have what was counted as a copy */
};

/* Empty bytes are no hint. ECORRUPT. */
KITH_MUST_CHECK enum kith_err kith_hint_decode(struct kith_bytes bytes, struct kith_hint *ret_hint);
/* Into the arena. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_hint_encode(struct kith_arena *arena,
                                               const struct kith_hint *hint,
                                               struct kith_bytes *ret_bytes);
/* Takes up what an operation wants kept. `changed`: the state is another one than was acked. */
void kith_hint_take(struct kith_hint *hint, const struct kith_hint_want *want, uint64_t wall_ms,
                    bool changed);
/* The same for what is there already: a row of ours becomes thin, or the record in a hint custody.
 * False: there is no record (any more), and nothing is to be written: who has it is enough. */
KITH_MUST_CHECK bool kith_hint_mark(struct kith_hint *hint, const struct kith_hint_want *want,
                                    uint64_t wall_ms);
/* Whether it is to be sent to this owner: what is custody or thin, what is for it, and what is for
 * somebody who owns the partition no longer. Nothing that this owner has acked, unless nobody needs it
 * any more since there are other owners than there were at the last ack: then its next one tells. */
bool kith_hint_wanted(const struct kith_hint *hint, const struct kith_uuid *node,
                      const struct kith_hint_owners *owners);
/* The owner has stored it at `disk`. True: nobody needs it any more. */
bool kith_hint_ack(struct kith_hint *hint, const struct kith_uuid *node,
                   const struct kith_hint_owners *owners);
/* The state that is to be sent: the record's and, where it is thin, that of the row's own record,
 * together. With its hash (kith_row_hash), by which an ack names it. Empty where there is neither.
 * ECORRUPT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_hint_state(struct kith_arena *arena, const struct kith_key *key,
                                              const struct kith_hint *hint,
                                              struct kith_bytes row_record,
                                              struct kith_bytes secret,
                                              struct kith_bytes *ret_state,
                                              struct kith_checksum *ret_hash);

#endif
