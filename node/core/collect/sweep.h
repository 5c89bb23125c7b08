/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sweep.h - chunks to which nothing refers any more go (DESIGN section 6; invariant 10).
 *
 * WHO. The first owner of a chunk's partition leads. It lists its older chunks to which nothing in its
 * own store refers, a page at a time, and takes them through these steps, each answered once it is on
 * the disk of who answers:
 *
 *     ASK      all members: does anything refer to it there? Rows, chunks, and what is kept for others
 *              (`refs`, whoever owns the referrer now)
 *     CONDEMN  all owners of the chunk: made, and last leased, more than a grace ago?
 *     ... a grace (24 h) later, by the clock of every owner
 *     ASK      once more
 *     DOOM     all owners: still condemned under that stamp? From now on no lease is granted
 *     DELETE   all owners, the leader last
 *
 * Any "no", any silence, any other table ends the step for those chunks; nothing is lost by that, and
 * the next pass begins anew. So nothing is swept while a member is away.
 *
 * WHO REFERS ANEW. A row, or a chunk that is a list of others, may name a chunk if it is young; or if a
 * row in the very store that coordinates it does so already, as one transaction takes the new
 * reference and drops the old (and as long as that store is no old copy of a disk:
 * exchange_caught_up); or if its owners grant a lease first (lease.c), which voids a condemnation.
 * One that is doomed is not leased: the write is refused.
 *
 * WHY NOTHING IS SWEPT THAT IS REFERRED TO. Let X be deleted: all owners have DOOMED it under one stamp,
 * so no owner has granted a lease since the CONDEMN, nor for a grace before it. Say that a store S holds
 * a row that names X, not superseded, and let P be the put that made that sibling.
 *   1. P took a lease. Then it did so more than a grace before CONDEMN, since a lease voids what was
 *      before and bars what follows for so long; or after DOOM, which is refused. So P was stored, at
 *      its coordinator, long before the first ASK: a put ends within minutes.
 *   2. X was young: then P was stored before the first ASK, too, which comes three quarters of a grace
 *      after X was made, at least. (Clocks may differ by a quarter. The second ASK forgives more.)
 *   3. P found a reference in its coordinator's own rows. By induction that one goes back to a put of
 *      the first kind or the second; and from that one on the store has never been without: the first
 *      ASK there has met one or the other.
 * So the sibling, or one that it came from, was in some store before the first ASK. Rows move by being
 * copied, and the source stays; only what is kept for others, and what former owners have left, leaves
 * its holder, for owners who have it on their disks. A state that moves so while the first ASK goes
 * round may be missed by it, on its way from one who is asked late to one who was asked early; it is
 * with an owner then, who stays one (one table), and the second ASK, a grace later, meets it. Both
 * would have to miss it, and what is not with an owner by the second was made after the first: see 1
 * to 3. All that ASK says is on disk before it is said, so no loss of power brings a reference back;
 * an old copy of a disk brings back only what other owners have superseded.
 *   A store whose rows were damaged, or are missing, keeps their references, or answers nothing at all.
 *
 * WHY IT DOES NOT COME BACK. Owners delete at different times, and anti-entropy would fetch a chunk from
 * one who still has it: the mark GONE says not to (KITH_STORE_CHUNK_LACK), for a grace. The leader goes
 * last, so that who was away is asked again.
 *
 * A lease at one owner is enough to keep a chunk: DOOM needs them all. W are asked for as an owner may
 * lose its disk. An owner who neither holds the chunk nor has a mark of it notes nothing, for ids can
 * be invented without end, and agrees all the same: he has condemned nothing that the lease would
 * have to void, and one who holds it has noted it, or the write is refused (lease.c). He may condemn it
 * right after; but by the second ASK, a grace later, the reference is long where ASK finds it.
 *   Where fewer can be reached those there are suffice, while none of them refuses:
 * nothing is doomed while an owner is away, and what was doomed before says so. */
#ifndef KITH_CORE_SWEEP_H
#define KITH_CORE_SWEEP_H

#include "core/rows/sweepop.h"

struct kith_node;
struct kith_msg;
struct kith_sweep_res;
struct kith_lease_res;
struct kith_store_done;
struct pending;

#define KITH_SWEEP_GRACE_MS 86400000u /* 24 h: a mount may hold a file open, and write, for days */

struct sweep {
    uint64_t grace_ms; /* 0: nothing is swept */
    bool out;          /* a page is under way */
    uint32_t partition, left; /* left: partitions of this pass, this one included */
    bool has_after;
    struct kith_chunk_id after;
    uint64_t due_ms;
    uint64_t begun_ms, whole_ms; /* this pass; the last one carried through, 0 = none */
    uint64_t condemned, swept, swept_bytes; /* since the start */
    char waits[160];   /* why the page at hand is not done; "" = nothing is in its way */
};

void sweep_start(struct kith_node *node, uint64_t grace_ms);
void sweep_tick(struct kith_node *node);
uint64_t sweep_due(const struct kith_node *node);
void sweep_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
void sweep_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_sweep_res *res);
void sweep_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
void sweep_expire(struct kith_node *node, struct pending *pending);

/* ---- sweep_answer.c: what others ask ---- */

void sweep_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void lease_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void sweep_answered(struct kith_node *node, struct pending *pending,
                    const struct kith_store_done *done);

/* ---- lease.c: leases for what this node coordinates ---- */

/* For the put or chunk that `parent` is: put_leased or chunk_leased follows, in another step. ids
 * (ascending) are copied. False: it cannot be done now. */
bool lease_begin(struct kith_node *node, struct pending *parent, uint32_t count,
                 const struct kith_chunk_id *ids);
void lease_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
void lease_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_lease_res *res);
void lease_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
void lease_expire(struct kith_node *node, struct pending *pending);

#endif
