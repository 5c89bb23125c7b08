/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * refill.h - what a disk has lost comes back from the other owners, and is not read here before.
 *
 * A store that had to set a table aside (node/store/store_aside.c) leaves a record of it,
 * KITH_META_LOST, before anything of the table is gone. From then on this node is an owner that is
 * NOT SYNCHRONISED: it takes writes, which count, but answers no read of the rows of a partition
 * (invariant 7), for it would miss what it has acknowledged. The mark of a partition goes once it
 * was compared to the end with the other owners, as in a move (moves_compared), and what came is on
 * disk. Rows and chunks are marked apart: chunks bear their checksum, so a missing one is only not
 * there, and nothing is barred for them but sweeps, which ask what refers to a chunk.
 *
 * Who is asked by another owner that compares says that he is such a one (SUMS_RES, refilling):
 * what he has does not stand for what was acknowledged. So where all owners have lost a partition
 * none of them ever says "not found": an administrator has to put a copy back, or to accept the
 * loss (plan replace).
 *
 * Where the promises of this node went with the rest it does not vote either, until it has learnt a
 * table that was decided since (DESIGN section 4).
 *
 * Part of internal.h, but for the record, which stores write. One thread. Checked by
 * tests/unit/test_refill.c, and with disks that are lost by the simulator (faults.c). */
#ifndef KITH_CORE_REFILL_H
#define KITH_CORE_REFILL_H

#include "base/buf.h"

#define KITH_LOST_ROWS    1u /* of all partitions; so with the others */
#define KITH_LOST_CHUNKS  2u
#define KITH_LOST_HINTS   4u /* what was kept for others: gone, as with any disk */
#define KITH_LOST_RECORDS 8u /* promises, which no other has */

/* The record of a store that has just lost these (an OR of the above): nothing of it is back yet.
 * Where there was one before, `before` (may be empty), it says what that said, too. Check
 * buf->failed. */
void kith_lost_encode(uint32_t lost, struct kith_bytes before, struct kith_buf *buf);

struct kith_node;

#define REFILL_CLASSES 2u /* as enum exchange_class */

struct refill {
    uint8_t *open[REFILL_CLASSES]; /* a bit for each partition; NULL: nothing is lost */
    uint8_t *done[REFILL_CLASSES]; /* those that the record on its way leaves out */
    uint32_t left[REFILL_CLASSES]; /* bits in open */
    uint32_t total;                /* partitions that were marked when this node started */
    bool told;                     /* to the log */
    bool mute;                     /* no vote */
    bool stale;                    /* the record says more than is so */
    bool writing;                  /* it is on its way to the disk */
    uint64_t due_ms;
};

/* From the record (empty: nothing was lost), once the cluster is known. ENOMEM. */
KITH_MUST_CHECK enum kith_err refill_load(struct kith_node *node, struct kith_bytes record);
void refill_release(struct kith_node *node);
/* What is not held here any more need not come back. A table that is newer than the promises that
 * were lost lets this node vote (`learnt`). */
void refill_table_changed(struct kith_node *node, bool learnt);
/* Whether rows (chunks) of the partition may be missing that this node has acknowledged. */
bool refill_wants(const struct kith_node *node, uint32_t partition, bool chunks);
/* Whether that is so of any partition. */
bool refill_any(const struct kith_node *node);
/* Partitions of which something is still missing. */
uint32_t refill_left(const struct kith_node *node);
void refill_tick(struct kith_node *node);
uint64_t refill_due(const struct kith_node *node);

#endif
