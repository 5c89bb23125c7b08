/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * aged.h - a store that comes back after a long time is compared before it is read.
 *
 * WHY. The disk of a node may have been put back from an older copy: a backup of its machine, a
 * snapshot. Such a store lacks what was acknowledged since, and holds rows that were deleted since.
 * The tombstones of those keep readers from them as long as there are any; but where they have been
 * reaped (reap.h) no other owner has a word about the row, and a reader who asks a quorum would be
 * shown a file that was deleted days ago. To reap takes at least a grace; so a copy that can show
 * such a row is at least as old.
 *
 * HOW IT IS KNOWN. While a node runs it leaves a note of its wall clock in its store, many in a
 * grace (KITH_META_ALIVE). A store whose note is further from now than half a grace is an AGED one, or
 * its node was only off for so long, which cannot be told apart. So is one whose clock leaps while it
 * runs: a machine that goes on from a snapshot of its memory. Half a grace is left to clocks that differ.
 * And so is one of which others know a later start (swim.c), however young it is.
 *
 * WHAT IS DONE. All partitions of an aged store are marked. What is marked is not read by clients, and
 * who compares with it does not count it as one who has all (as in refill.h); it takes writes as ever.
 * The mark goes when each leaf was, once, THE SAME here as at each other owner that is up, and at
 * enough of them that a majority is the same, this one included. To have all that they have would not
 * do: they must have seen the rows that only this one has, and have said which of them are dead; the
 * comparison tells them to come and look (SUMS_REQ, hurry). Where nothing differs, as when a whole
 * cluster was off, that is one question a partition.
 *   Owners that are aged, too, count: they have not what nobody has any more, either, and else a
 * cluster that was off would not come up.
 *   Where leaves stay different, as with a row that is damaged everywhere, it ends after AGED_MOST_MS
 * all the same, for owners whose rows have all come here since: they were told to look long ago.
 *   Where no other owner of a partition is up, and has not been for AGED_ALONE_MS, it is read all
 * the same: a client gets no quorum then, and who asks for what there is gets it.
 *
 * WHAT IS NOT HELD HERE, or is no more, is marked as well: rows of it may be left (leftovers.c), and a
 * joint table that gives it to this node has it read here at once. Nobody waits for such a mark. It
 * goes when there is no row of the partition here; where the partition comes before that, it is
 * compared as above, before the move is settled (moves.c), and the time that may take begins with
 * the table.
 *
 * While marks are left, of whatever partitions, the note is not renewed: a node that is started again
 * begins anew.
 *
 * A younger copy of which others know no later start is not known as one: it shows no row that was reaped,
 * but may lack what was acknowledged, as a disk that has lied about its flushes and loses power. A
 * quorum meets another owner then, where W - 1 nodes at most are in that state.
 *
 * Part of internal.h. One thread. Checked by tests/unit/test_aged.c, and with old disks by the
 * simulator (kith_sim --sweeps). */
#ifndef KITH_CORE_AGED_H
#define KITH_CORE_AGED_H

#include "base/buf.h"

#define AGED_ALONE_MS 3000u
#define AGED_MOST_MS  600000u

struct kith_node;

struct aged {
    uint64_t grace_ms; /* 0: nothing is reaped, and nothing is aged */
    uint8_t *open;     /* a bit for each partition; NULL: none was ever marked */
    uint32_t marks;    /* bits in open; */
    uint32_t left;     /* those of partitions that are held */
    uint64_t seen_ms;  /* the wall clock, at the last step */
    uint64_t since_ms; /* the marks, or the table; by the steady clock, as what follows */
    uint64_t due_ms;   /* the next look, or the next note */
    bool told;         /* to the log */
    bool writing;      /* the note is on its way to the disk */
};

/* From the note (empty: there is none, and the store is new), once the cluster is known. ENOMEM. */
KITH_MUST_CHECK enum kith_err aged_load(struct kith_node *node, uint64_t grace_ms,
                                        struct kith_bytes note);
void aged_release(struct kith_node *node);
/* Others know that it is an older copy. */
void aged_copy(struct kith_node *node);
/* The wall clock has been read: with each step, before all else. */
void aged_clock(struct kith_node *node);
void aged_table_changed(struct kith_node *node);
/* There is no row of the partition, which is not held, here. */
void aged_empty(struct kith_node *node, uint32_t partition);
/* Whether the rows of the partition, which is held, may be those of an old copy. */
bool aged_wants(const struct kith_node *node, uint32_t partition);
/* Whether clients wait for that. */
bool aged_bars(const struct kith_node *node, uint32_t partition);
void aged_tick(struct kith_node *node);
uint64_t aged_due(const struct kith_node *node);

#endif
