/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * row.h - a row's state: a dotted version vector set with explicit dots.
 *
 *     row   = clock {actor -> counter}, siblings {dot -> (request id, time, writer, refs, value)}
 *     merge = clock: the larger counter per actor;
 *             siblings: those both have, and each side's whose dot the other's clock does not cover
 *     put(context, kept, value | nothing), under a fresh dot:
 *             row = merge(row, (context, kept)); clock[actor] = counter;
 *             if a value: siblings[dot] = value
 *
 * A delete takes a dot like any write and adds no sibling: therefore EQUAL CLOCKS MEAN EQUAL STATES
 * (invariant 2). Siblings are never altered, only present or not; two that look equal stay two. A
 * row without siblings is a tombstone. DESIGN section 3; Preguica et al. 2012 (dotted version
 * vectors); Almeida et al. 2014 (DVV sets).
 *
 * Encoded state, canonical (a state has exactly one encoding; decode refuses any other):
 *
 *     u8      format, KITH_ROW_FORMAT
 *     varint  number of clock entries
 *       each: u64 run (LE), varint epoch, varint counter     strictly ascending by (run, epoch)
 *     varint  number of siblings
 *       each: varint index of its actor in the clock, varint counter   strictly ascending by
 *                                       (run, epoch, counter), counter <= the clock's (covered)
 *             u8 kind, 16 bytes request id, u64 time (LE), sized writer (<= KITH_WRITER_MAX),
 *             varint number of refs, refs * 20 bytes chunk ids,
 *             sized value (<= KITH_INLINE_VALUE_MAX)
 *
 * Counters are at least 1. The empty row (never written) is no bytes at all.
 *
 * Rows are immutable values. Everything a function returns lies in the arena given or borrows from
 * its inputs, which must outlive it. Pure; any thread. Checked by tests/unit/test_row.c. */
#ifndef KITH_DATA_ROW_H
#define KITH_DATA_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "data/key.h"

#define KITH_ROW_FORMAT 1u
#define KITH_WRITER_MAX 64u          /* bytes of "user@host", enough to name a conflict file by */
#define KITH_CLOCK_ENTRIES_MAX 4096u /* a decoder's bound; 24 bytes each: far below the row limit */
#define KITH_SIBLINGS_MAX 1024u      /* a decoder's bound: merges are never refused below it */
#define KITH_SIBLINGS_WARN 25u
#define KITH_SIBLINGS_REFUSE 100u /* blind puts above this are refused before a dot is drawn */
#define KITH_REFS_MAX 16384u      /* chunk ids one sibling may name; longer lists live in chunks */

struct kith_actor {
    uint64_t run;   /* 64 random bits of one start of a daemon */
    /* the counter at which this run first coordinated the row since it has held it */
    uint64_t epoch;
};

struct kith_dot {
    struct kith_actor actor;
    uint64_t counter; /* from 1; unique within the run, node-wide */
};

struct kith_clock_entry {
    struct kith_actor actor;
    uint64_t counter;
};

struct kith_clock {
    uint32_t count;
    const struct kith_clock_entry *entries; /* strictly ascending by actor */
};

enum kith_sibling_kind {
    KITH_SIBLING_VALUE = 0,
    /* no version: says where the contents went (rename); the meaning is the writer's */
    KITH_SIBLING_MARK = 1,
};

struct kith_sibling {
    struct kith_dot dot;
    uint8_t kind; /* enum kith_sibling_kind; unknown kinds are kept and passed on */
    struct kith_request_id request;
    uint64_t time;            /* hybrid logical clock, see hlc.h */
    struct kith_bytes writer; /* "user@host" */
    uint32_t ref_count;
    const struct kith_chunk_id *refs; /* chunks that value refers to */
    struct kith_bytes value;
};

struct kith_row {
    struct kith_clock clock;
    uint32_t sibling_count;
    const struct kith_sibling *siblings; /* strictly ascending by dot */
};

/* What a put wants. context and kept come from one earlier state (row) that the writer read.
 * Siblings with one request id are one write under several dots (a retry elsewhere): of those that
 * he saw the writer keeps all or none; where he drops one, nodes remove the others. */
struct kith_row_update {
    struct kith_clock context;
    uint32_t kept_count;
    const struct kith_sibling *kept; /* whole, ascending by dot, all covered by context */
    bool has_sibling;                /* false: a plain delete */
    uint8_t kind;
    struct kith_bytes writer;
    uint32_t ref_count;
    const struct kith_chunk_id *refs;
    struct kith_bytes value;
};

int kith_actor_compare(const struct kith_actor *a, const struct kith_actor *b);
int kith_dot_compare(const struct kith_dot *a, const struct kith_dot *b);
bool kith_dot_equal(const struct kith_dot *a, const struct kith_dot *b);

/* The counter of `actor`, 0 where it is missing. */
uint64_t kith_clock_get(const struct kith_clock *clock, const struct kith_actor *actor);
bool kith_clock_covers(const struct kith_clock *clock, const struct kith_dot *dot);

enum kith_clock_order {
    KITH_CLOCK_EQUAL,
    KITH_CLOCK_BEFORE,
    KITH_CLOCK_AFTER,
    KITH_CLOCK_CONCURRENT
};
enum kith_clock_order kith_clock_compare(const struct kith_clock *a, const struct kith_clock *b);

/* ret = the merge of a and b. Arrays that come out as they were in a (else in b) are that row's
 * own, so a merge that changes nothing gives *a itself. ENOMEM; ELIMIT when it would pass the
 * decoder's bounds. */
KITH_MUST_CHECK enum kith_err kith_row_merge(struct kith_arena *arena, const struct kith_row *a,
                                             const struct kith_row *b, struct kith_row *ret_row);

/* ret = `row` after `update` under `dot` at `time`. The caller guarantees that dot is new: greater
 * than clock[dot.actor] in row and in the context (asserted). ENOMEM; EINVAL when a kept sibling is
 * not covered by the context or out of order, or the writer is too long; ELIMIT; ETOOBIG when value
 * or refs are too large, or the encoded state would pass KITH_ROW_STATE_MAX and does not shrink by
 * this. */
KITH_MUST_CHECK enum kith_err kith_row_put(struct kith_arena *arena, const struct kith_row *row,
                                           const struct kith_row_update *update,
                                           const struct kith_dot *dot, uint64_t time,
                                           const struct kith_request_id *request,
                                           struct kith_row *ret_row);

/* Appends the encoded state. Check buf->failed. */
void kith_row_encode(const struct kith_row *row, struct kith_buf *buf);
size_t kith_row_encoded_size(const struct kith_row *row);
/* The encoded state to `out`, which has room for kith_row_encoded_size; the end of it. */
uint8_t *kith_row_write(const struct kith_row *row, uint8_t *out);
/* The row in `bytes`, which it borrows; the arrays lie in the arena. EFORMAT for anything that
 * kith_row_encode would not have written; EVERSION for another format; ENOMEM. Empty bytes give the
 * empty row (never written). */
KITH_MUST_CHECK enum kith_err kith_row_decode(struct kith_arena *arena, struct kith_bytes bytes,
                                              struct kith_row *ret_row);

/* How many siblings an encoded state has, by its first bytes alone; 0 where they are no state. */
uint32_t kith_row_count_siblings(struct kith_bytes bytes);

/* A copy that borrows nothing. */
KITH_MUST_CHECK enum kith_err kith_row_copy(struct kith_arena *arena, const struct kith_row *row,
                                            struct kith_row *ret_row);
KITH_MUST_CHECK enum kith_err kith_clock_copy(struct kith_arena *arena,
                                              const struct kith_clock *clock,
                                              struct kith_clock *ret_clock);
/* The clock of a merge. */
KITH_MUST_CHECK enum kith_err kith_clock_join(struct kith_arena *arena, const struct kith_clock *a,
                                              const struct kith_clock *b,
                                              struct kith_clock *ret_clock);

static inline bool kith_row_is_empty(const struct kith_row *row)
{
    return row->clock.count == 0; /* never written; a tombstone has a clock */
}
/* Whether it says no more than that there is nothing: it was written, and none of its siblings is a
 * version of contents. */
bool kith_row_is_gone(const struct kith_row *row);
/* The sibling with the highest (time, dot) among those of kind VALUE: the one that bears the plain
 * name. NULL where there is none. */
const struct kith_sibling *kith_row_winner(const struct kith_row *row);
/* The sibling with that dot, or NULL. */
const struct kith_sibling *kith_row_find(const struct kith_row *row, const struct kith_dot *dot);

/* The hash of a state for trees and digests: XXH3-128 with the cluster's secret over the key's and
 * the encoded state's XXH3-128 with it. secret.size >= 136 (XXH3_SECRET_SIZE_MIN), asserted, as is
 * the name's limit. */
struct kith_checksum kith_row_hash(const struct kith_key *key, struct kith_bytes state,
                                   struct kith_bytes secret);

#endif
