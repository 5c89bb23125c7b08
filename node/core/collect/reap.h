/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * reap.h - rows that were deleted long ago are forgotten, by proof (DESIGN section 6; invariant 4).
 *
 * WHY THEY CANNOT JUST GO. A tombstone says "what these dots stand for is deleted". Without it a
 * copy of the row that comes late - a hint, an owner that was away, an old disk - is taken for a
 * row that nobody here has heard of, and the file is back. What replaces it is the FLOOR of the
 * partition (floor.h): one number for each run, instead of a row for each name.
 *
 * HOW A FLOOR IS AGREED. The first owner of a partition leads. A page of its rows that are gone
 * names the runs that are wanted, and then, under one decided table that moves nothing:
 *
 *     ASK    all members, and all of it is on the disk of who answers before he does: do you keep
 *            anything of this partition that is for others, or left over? Which of the runs are
 *            yours: up to which counter have you drawn in the present one; which are earlier ones?
 *     EQUAL  all owners: which leaves of your tree are as mine? Again, until each leaf has been the
 *            same at all of them at one of these looks. Which floor is in force at yours?
 *     SET    all owners, unless they were started anew in between: this is the next floor, on top
 *            of those that are in force at any of them
 *     ... a grace (24 h) later, by the clock of every owner
 *     PROMOTE  all owners: it is in force
 *     REMOVE   all owners: rows that are gone, all of whose dots are at or under the floor, go
 *
 * Where nothing is gone that would need a floor, owners are asked whether they have the one in force
 * here: one that is new, or has lost its disk, has none, and might be all there is one day. It is
 * brought to it in the same way, with no run added.
 *
 * WHY IT IS TRUE. Let d be a dot in this partition of a run r that node M said is its own, not
 * above the counter in the floor. Whoever coordinates stores the write first: d was in M's rows, or
 * among what M keeps for others, when M answered, unless it had gone from there before. What is
 * kept for others goes when W owners have it on their disks; the rows of a former owner go when all
 * have it. So, when ASK was over, d was covered by a row of M, if M is an owner, or of another
 * owner; or it existed nowhere (M lost it with a disk, and nobody had it yet: it never had W
 * copies), but for messages under way. What an owner covers it covers for good; so when the leaf of
 * d's row was equal at all owners after that, all of them covered d, or none. And what was on its
 * way at that time has arrived, or is no more, a day later, when the floor is in force.
 *   Of an earlier run the counter is the highest in the clocks of rows that are gone; nothing is
 *   drawn under it any more.
 *   A run that no member calls its own is never in a floor, and what it has deleted stays: its node
 *   was removed, and may come back one day with writes that nobody has seen.
 *
 * WHY A STORE THAT GOES BY IT FORGETS NOTHING. See floor.h: it may take a sibling under the floor,
 * that its row does not cover, for dead. It removes it by a write of its own, which is an ordinary
 * delete to all others. A tombstone that comes in is stored like any other row; all owners reap it
 * again in time.
 *   REMOVE needs nothing but the floor of the very store. It is led, and asks for the same floor at
 *   all owners first, only so that they do it at about the same time: else they would bring it to
 *   each other again and again.
 *
 * AN OLD DISK may show a row that was reaped elsewhere, until it is compared with the other owners,
 * at once when it is back. It is at least a grace old then, as its store covered every dot of the
 * floor when that was set. */
#ifndef KITH_CORE_REAP_H
#define KITH_CORE_REAP_H

#include "core/rows/floor.h"
#include "core/store.h"

struct kith_node;
struct pending;

struct reap {
    uint64_t grace_ms; /* 0: nothing is reaped */
    bool out;          /* a partition is under way: */
    uint64_t pending;
    uint32_t partition, left; /* left: partitions of this pass, this one included */
    uint64_t due_ms;
    uint64_t begun_ms, whole_ms; /* this pass; the last one carried through, 0 = none */
    uint64_t reaped, floors;     /* since the start: rows here; floors that this node led to */
    char waits[160]; /* why the partition at hand is not done; "" = nothing is in its way */
};

void reap_start(struct kith_node *node, uint64_t grace_ms);
void reap_tick(struct kith_node *node);
uint64_t reap_due(const struct kith_node *node);
void reap_stored(struct kith_node *node, struct pending *pending,
                 const struct kith_store_done *done);
void reap_got(struct kith_node *node, struct pending *pending, uint16_t peer,
              const struct kith_reap_res *res);
void reap_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
void reap_expire(struct kith_node *node, struct pending *pending);

/* ---- sweep_answer.c ---- */

void reap_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);

#endif
