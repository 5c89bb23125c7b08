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
 * THE WRITER'S CONTEXT is what a client says, and clocks never shrink. So what it may bring is
 * bounded, and nothing that it says is believed to be harmless:
 *   - Dots of this node's own run that the run has not given out. An honest client has read them
 *     where a machine was put back from a snapshot of its memory, or runs twice; a disk that was
 *     put back never shows them, since every start draws a run. Such a dot is never drawn again,
 *     whatever it costs: the put is carried out under a new run or not at all. But whoever may
 *     write can invent such dots, and each new run is one entry more in the clock of every row that
 *     is written under it: so runs come from a budget (run_budget.h), a few at once and one a day.
 *     Where it is spent a put on such a row is refused here (another node may take it), and a
 *     merge, which is never refused, takes the state as it is: the row then tells the next put.
 *   - Actors that the row here lacks. They may bring the row's clock to KITH_CLOCK_CONTEXT_MAX
 *     entries, no further: the rest of KITH_CLOCK_ENTRIES_MAX is for what nodes add. A row that has
 *     honestly grown beyond that is written where it is known, as then nothing is lacking.
 *   - Chunks of the siblings that it keeps: of the row's volume alone, as are those of the update.
 * Invariant: however many puts name what they like, a node adds no more actors to the clocks of rows
 * for them than its budget has runs, and a row stays below KITH_CLOCK_CONTEXT_MAX entries and those;
 * where a node refuses such a row it takes it again with the next run, within a day, or once started
 * anew. No dot is drawn twice for them.
 *
 * Pure; the caller owns all memory through the arena. Checked by tests/unit/test_rowop.c and, over
 * whole histories, by test_rowop_history.c. */
#ifndef KITH_CORE_ROWOP_H
#define KITH_CORE_ROWOP_H

#include "core/rows/floor.h"
#include "core/store.h"

#define KITH_RECORD_FORMAT 1u
#define KITH_REQUESTS_PER_CLIENT 4u
#define KITH_REQUESTS_MAX 64u
#define KITH_RETRIES_MAX  32u /* of them */
#define KITH_REQUEST_KEEP_MS 3600000u
/* An eighth of what a clock can hold, for that many nodes could be given other actors at one time.
 * A row has so many when its owners have been started some 170 times between two writes to it. */
#define KITH_CLOCK_CONTEXT_MAX (KITH_CLOCK_ENTRIES_MAX / 8u)

struct kith_rowop_env {
    uint64_t run;
    uint64_t counter; /* put: drawn for this update alone, inside the row's critical section; above
                         all drawn before in this run. Merge: 0, until it asks for one */
    uint64_t counter_last; /* the highest this run has given out (>= counter for a put) */
    uint64_t wall_ms;
    struct kith_bytes secret;
    bool retry; /* another coordinator may have carried the request out, too */
    const struct kith_floor *floor; /* of the row's partition here (floor.h); NULL: none */
    bool
        run_stays; /* merge: no new run can be had, so foreign dots of this one are merged as any */
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
 * kept sibling is not covered by its context, or a chunk is of another volume than the row;
 * ENOTREADY when the context brings more actors than it may; ELIMIT above KITH_SIBLINGS_REFUSE
 * siblings for an update whose context is empty (before anything is drawn); ETOOBIG; ENOMEM. */
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
