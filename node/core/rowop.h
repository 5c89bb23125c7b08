/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rowop.h - what one operation makes of one stored record: the critical section of a row, pure.
 *
 * A record is what a store keeps under a key: the row's state, which replicas share, and what is
 * local to this node: the actor under which it coordinates the row, and which requests made which
 * dots.
 *
 *     u8      format, KITH_RECORD_FORMAT
 *     u8      flags: bit 0 = an actor note follows, bit 1 = marks of retries do
 *     [u64 run, varint epoch]                           the note (LE)
 *     varint  number of request entries, newest last
 *     [u64    bit i: entry i is of a retry]             the marks (LE)
 *       each: 16 bytes request id, u64 run, varint epoch, varint counter (the dot), varint wall ms
 *     16      hash of (key, state), see kith_row_hash: what the tree's leaf counts, and the row's
 *             checksum at rest: every operation verifies it
 *     ...     the encoded state (row.h), to the end
 *
 * THE ACTOR. A clock entry (a, n) says "I have every dot of a up to n", so a node coordinates a row
 * only under an actor all of whose dots for that row it has held without a break: (run, epoch),
 * where run is fresh at every start of the daemon and epoch is the counter at which this run first
 * coordinated the row. No note, or a note of another run: a new epoch begins. Records that are
 * quarantined, given away or forgotten take their note with them. (A kept actor was wrong in 1,897
 * of 2,000 modelled histories with disk loss; riak_kv#679 lost data to it.) Invariant 3.
 *
 * REQUESTS. A request id is (client 8 bytes, sequence 8 bytes); a record keeps for an hour, for
 * each client, the last KITH_REQUESTS_PER_CLIENT, and at most KITH_REQUESTS_MAX in all, oldest
 * dropped. Those that were tried again may have a twin on a node that is away: they are not counted
 * with their client's, for a row that is written often would forget them in a moment; the last
 * KITH_RETRIES_MAX of them stay, whatever comes after.
 *
 * TWINS. A retry at a coordinator that could not reach the first one draws a second dot for the
 * same write: siblings with one request id are one write, and who replaces one of them (a context
 * that covers it and does not keep it) replaces all. He may never have seen the other: it lies on
 * the disk of a node that was away. A clock cannot cover it in advance, and a merge must not drop
 * it by itself, for then the order of merges would matter (equal clocks, different states). So it
 * is removed by WRITES: the put that replaces one takes along the twins that the coordinator has;
 * and who meets a twin in a merge removes it under a new dot of its own, which is an ordinary
 * delete to everybody else. Several may do so at the same time; deletes merge. What proves that a
 * write has been replaced: a state (ours, what came, a put's context with what it keeps) whose
 * clock covers a dot that the request is known to have made, and which is without that sibling. The
 * dots are known from siblings and from the log of requests. The proof stands on row.h's rule for
 * contexts: of the siblings of one request that a writer saw he keeps all or none. A node whose log
 * knows only the twin that has come back sees nothing to remove; the next that knows the other one
 * does.
 *
 * THE DEAD. What comes in may have siblings that were deleted before the row was reaped (floor.h):
 * they are taken out as twins are, by a write.
 *
 * Pure; the caller owns all memory through the arena. Checked by tests/unit/test_rowop.c and, over
 * whole histories, by test_rowop_history.c. */
#ifndef KITH_CORE_ROWOP_H
#define KITH_CORE_ROWOP_H

#include "core/floor.h"
#include "core/store.h"

#define KITH_RECORD_FORMAT 1u
#define KITH_REQUESTS_PER_CLIENT 4u
#define KITH_REQUESTS_MAX 64u
#define KITH_RETRIES_MAX  32u /* of them */
#define KITH_REQUEST_KEEP_MS 3600000u

struct kith_rowop_env {
    uint64_t run;
    uint64_t counter; /* put: drawn for this update alone, inside the row's critical section; above
                         all drawn before in this run. Merge: 0, until it asks for one */
    uint64_t counter_last; /* the highest this run has given out (>= counter for a put) */
    uint64_t wall_ms;
    struct kith_bytes secret;
    bool retry; /* another coordinator may have carried the request out, too */
    const struct kith_floor *floor; /* of the row's partition here (floor.h); NULL: none */
};

struct kith_rowop_result {
    bool changed;             /* false: record need not be written */
    bool existed;             /* there was a record before */
    struct kith_bytes record; /* to be written when changed */
    struct kith_checksum old_hash; /* all zero when it did not exist */
    struct kith_checksum new_hash;
    struct kith_row old_row, new_row; /* for the reference index: refs gone, refs new */
    struct kith_bytes state;          /* new_row encoded (within record, or the old one's) */
    bool duplicate;                   /* put: the request had been carried out; dot is its */
    struct kith_dot dot;
    uint64_t time; /* put: of its sibling; 0: a duplicate whose sibling is not there any more */
    /* The state has a dot of this very run above counter_last: another process draws under it (a
     * copied disk image, a restored VM). Nothing was done; take a new run and do the op again. */
    bool foreign_run;
    /* merge: it needs a dot to remove a twin, or what is dead. Nothing was done; draw a counter and
     * do it again. */
    bool wants_counter;
};

/* Coordinates one update on `old` (empty bytes: no record). ECORRUPT when the record's hash does
 * not fit its state or it does not decode; EFORMAT when update->context is no row; EINVAL when a
 * kept sibling is not covered by its context; ELIMIT above KITH_SIBLINGS_REFUSE siblings for an
 * update whose context is empty (before anything is drawn); ETOOBIG; ENOMEM. */
KITH_MUST_CHECK enum kith_err
kith_rowop_put(struct kith_arena *arena, const struct kith_rowop_env *env,
               const struct kith_key *key, struct kith_bytes old,
               const struct kith_put_update *update, struct kith_bytes writer, uint64_t time,
               const struct kith_request_id *request, struct kith_rowop_result *ret_result);

/* Merges an incoming state into `old`; notes (request, dot) when has_dot and request is not zero.
 * Removes twins and the dead, see above: then result->dot is the dot of the removal. */
KITH_MUST_CHECK enum kith_err kith_rowop_merge(struct kith_arena *arena,
                                               const struct kith_rowop_env *env,
                                               const struct kith_key *key, struct kith_bytes old,
                                               const struct kith_replica_row *incoming,
                                               const struct kith_request_id *request,
                                               struct kith_rowop_result *ret_result);

/* The state and its hash in a record, without decoding the row. Verifies the hash. ECORRUPT. */
KITH_MUST_CHECK enum kith_err kith_rowop_state(const struct kith_key *key, struct kith_bytes record,
                                               struct kith_bytes secret,
                                               struct kith_bytes *ret_state,
                                               struct kith_checksum *ret_hash);

/* The dot that `request` made in this record; ENOTFOUND. */
KITH_MUST_CHECK enum kith_err kith_rowop_find(struct kith_bytes record,
                                              const struct kith_request_id *request,
                                              struct kith_dot *ret_dot);
#endif
