/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sweepop.h - what an owner of a chunk notes while it may be swept (sweep.h), pure.
 *
 *     u8      format, KITH_MARK_FORMAT
 *     u8      state: enum kith_mark_state
 *     u64     stamp of the condemnation (LE)
 *     u64     wall ms: since when the state is this (LE)
 *     u64     wall ms of the last lease, 0 = none (LE)
 *
 * A mark is a record of its own beside the chunk, and may be there without it: an owner that has lost
 * its copy is asked like any other. Both stores (store.h) take every step through these functions.
 *
 *     NONE --condemn--> CONDEMNED --doom, a grace later--> DOOMED --delete--> GONE
 *       ^                   |                                ^                  |
 *       +------lease--------+     no lease is granted while  +------------------+
 *
 * A condemnation under another stamp replaces whatever state there is. The clock is the owner's own; a
 * time that lies ahead of it (it was put back) has not passed: waits grow longer, never shorter.
 *
 * Pure; the caller owns all memory. Checked by tests/unit/test_sweepop.c. */
#ifndef KITH_CORE_SWEEPOP_H
#define KITH_CORE_SWEEPOP_H

#include "data/key.h"
#include "wire/msg.h"

#define KITH_MARK_FORMAT 1u
#define KITH_MARK_SIZE   26u

enum kith_mark_state {
    KITH_MARK_NONE = 0,
    KITH_MARK_CONDEMNED,
    KITH_MARK_DOOMED,
    KITH_MARK_GONE, /* deleted here; it is not fetched from an owner that still has it */
};

struct kith_mark {
    enum kith_mark_state state;
    uint64_t stamp, since_ms, lease_ms;
};

/* Empty bytes are no mark: all zero. ECORRUPT. */
KITH_MUST_CHECK enum kith_err kith_mark_decode(struct kith_bytes bytes, struct kith_mark *ret_mark);
void kith_mark_encode(const struct kith_mark *mark, uint8_t ret_bytes[KITH_MARK_SIZE]);

/* Takes a step but ASK; false, and no change: not now. `grace_ms` is the time for which a chunk is
 * left alone after it was made, after a lease, and between CONDEMN and DOOM. */
KITH_MUST_CHECK bool kith_mark_step(struct kith_mark *mark, enum kith_sweep_step step,
                                    const struct kith_chunk_id *id, uint64_t stamp, uint64_t now_ms,
                                    uint64_t grace_ms);
/* Grants a lease; false, and no change: the chunk is being deleted. */
KITH_MUST_CHECK bool kith_mark_lease(struct kith_mark *mark, uint64_t now_ms);
/* Something here refers to the chunk: a condemnation is void. False: there was none. */
bool kith_mark_clear(struct kith_mark *mark);
/* Whether DOOM is due by this mark, or what follows it. */
bool kith_mark_ripe(const struct kith_mark *mark, uint64_t now_ms, uint64_t grace_ms);
/* Whether the mark says nothing any more, and may be forgotten. */
bool kith_mark_over(const struct kith_mark *mark, uint64_t now_ms, uint64_t grace_ms);

/* Whether a chunk was made so short a time ago, by its id, that a new reference to it needs no lease:
 * half of the grace, so that clocks may differ by as much. One made so far ahead is none of those. */
bool kith_chunk_is_young(const struct kith_chunk_id *id, uint64_t now_ms, uint64_t grace_ms);

#endif
