/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * floor.h - down to where every write of a partition has been with all its owners, pure.
 *
 * A FLOOR says for some runs: every dot of that run in this partition, up to this counter, has been
 * covered by a row of each owner (counters are drawn for a whole node, so one number stands for all
 * rows). Beside the rows it is what allows a store to forget tombstones (reap.h):
 *
 *   A sibling that comes in, whose dot is at or under the floor, and that the clock of the row which
 *   is here does not cover, is DEAD. For the store has had a row that covered the dot, and has held
 *   the partition since without a break; clocks only grow, and a row leaves only by being reaped,
 *   without a version of contents. So somebody has deleted that sibling, and this is a late copy.
 *
 * So a floor holds for the one store that has agreed to it, and for as long as that has held the
 * rows without a break: it lies in the table of rows itself, and goes when they do. An old copy of
 * a disk has the old floor, which fits its rows.
 *
 * What a store keeps of a partition:
 *
 *     u8      format, KITH_FLOOR_FORMAT
 *     u64     stamp of the floor in force (LE), 0 = none
 *     floor   in force: varint number of runs, each: u64 run (LE), varint counter, ascending
 *     u64     stamp of the next one (LE), 0 = none
 *     u64     wall ms: since when it is known here (LE)
 *     floor   the next one
 *     16      checksum of all before
 *
 * The next one comes into force a grace later, when nothing is on its way any more that was sent
 * before it was agreed.
 *
 * Pure; the caller owns all memory. Checked by tests/unit/test_floor.c. */
#ifndef KITH_CORE_FLOOR_H
#define KITH_CORE_FLOOR_H

#include "data/row.h"
#include "wire/msg.h"

#define KITH_FLOOR_FORMAT   1u

struct kith_floor {
    uint32_t count;
    const struct kith_floor_entry *entries; /* strictly ascending by run; counters of at least 1 */
};

struct kith_floor_record {
    uint64_t stamp; /* of `floor`; 0: none is in force */
    struct kith_floor floor;
    uint64_t next_stamp, next_since_ms; /* 0: there is none */
    struct kith_floor next;
};

enum kith_floor_verdict {
    KITH_FLOOR_HAS = 1, /* that one is in force */
    KITH_FLOOR_LACKS,   /* there is none of that stamp; or stamp 0 was asked for, and there is one */
    KITH_FLOOR_EARLY,   /* it is not old enough here */
};

/* Whether the entries are as they are to be. */
bool kith_floor_is_sound(const struct kith_floor *floor);
bool kith_floor_covers(const struct kith_floor *floor, const struct kith_dot *dot);
bool kith_floor_covers_clock(const struct kith_floor *floor, const struct kith_clock *clock);
/* The larger counter of each run. Runs beyond KITH_FLOOR_RUNS_MAX that only b has are left out.
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_floor_join(struct kith_arena *arena, const struct kith_floor *a,
                                              const struct kith_floor *b,
                                              struct kith_floor *ret_floor);

/* A floor that is wished for: each run once, ascending. Zero-initialised is an empty one. */
struct kith_floor_wish {
    uint32_t count;
    bool full; /* there were more runs */
    struct kith_floor_entry entries[KITH_REAP_RUNS_MAX];
};
/* So that it covers the entry, too. */
void kith_floor_wish(struct kith_floor_wish *wish, uint64_t run, uint64_t counter);

/* Rows that are gone: */
struct kith_floor_census {
    uint32_t ready;   /* under the floor in force; */
    uint32_t waiting; /* not those, but under it and the next one; */
    uint32_t others;
    struct kith_floor_wish wish; /* what would cover all of them */
};
/* `both`: of the record's floors. */
void kith_floor_count(struct kith_floor_census *census, const struct kith_floor_record *record,
                      const struct kith_floor *both, const struct kith_clock *clock);

/* Which of the runs that are asked for (ascending) are among `own`, u64 (LE) each, and with what:
 * the one that is under way with `counter`, earlier ones with UINT64_MAX. ret_entries has room for all.
 * */
uint32_t kith_floor_own(struct kith_bytes own, uint64_t run, uint64_t counter, uint32_t count,
                        const struct kith_floor_entry *asked, struct kith_floor_entry *ret_entries);

/* Empty bytes are no record: all zero. The entries lie in the arena. ECORRUPT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_floor_decode(struct kith_arena *arena, struct kith_bytes bytes,
                                                struct kith_floor_record *ret_record);
/* Into the arena. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_floor_encode(struct kith_arena *arena,
                                                const struct kith_floor_record *record,
                                                struct kith_bytes *ret_bytes);
/* Notes the next floor, in place of one that is noted already. */
void kith_floor_set(struct kith_floor_record *record, uint64_t stamp, uint64_t now_ms,
                    const struct kith_floor *next);
/* Whether there is a next one, a grace old. */
bool kith_floor_is_ripe(const struct kith_floor_record *record, uint64_t now_ms, uint64_t grace_ms);
/* Brings the next one into force, where it has that stamp and is a grace old; *ret_changed: the
 * record is another one then. Stamp 0: none is in force. `now_ms`: the owner's own clock; one that was put back makes it wait longer.
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_floor_promote(struct kith_arena *arena,
                                                 struct kith_floor_record *record, uint64_t stamp,
                                                 uint64_t now_ms, uint64_t grace_ms,
                                                 enum kith_floor_verdict *ret_verdict,
                                                 bool *ret_changed);

#endif
