/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * extents.h - which bytes of a file lie in which chunk, and how that is written down.
 *
 * An extent maps a range of a file to a range of a chunk. Extents are sorted, do not overlap and
 * never cross a REGION boundary (1 MiB of the file): a region is what is rewritten when it has
 * become too fragmented. What no extent covers is a hole and reads as zeros.
 *
 * In memory extents stand in LEAVES, sorted arrays that each hold whole regions; a change in the
 * middle of a 100 GiB file moves at most one leaf. On disk a list that is too long for the row is
 * written leaf by leaf into chunks of their own ("list chunks", whose refs are the data chunks),
 * and a leaf that did not change keeps its chunk.
 *
 * Image, a part of the inode's row:
 *
 *     u8      format, KITH_IMAGE_FORMAT
 *     u8      kind
 *     varint  size of the file in bytes (<= 2^60)
 *     varint  allocated bytes
 *     body    INLINE   exactly `size` bytes
 *             EXTENTS  one leaf
 *             LISTS    entries of leaves          (list chunk = u8 format, u8 LEAF, leaf)
 *             INDEX    entries of index chunks    (chunk = u8 format, u8 LISTS, entries)
 *     leaf    varint chunks, each: 20 id, 16 checksum, varint size - 1, in the order of first use
 *             varint extents, each: varint gap since the end of the one before (the first: since
 *                     the leaf's start), varint length - 1, varint index of the chunk, varint
 *                     offset in it
 *     entries varint count >= 1, each: varint regions since the start of the one before (0 for the
 *             first, which starts where its parent does, and only there), varint allocated, 20 id,
 *             16 checksum, varint size - 1
 *
 * Canonical: the same extents in the same leaves have one encoding, and decoding refuses any other.
 * Pure; one thread at a time. Checked by tests/unit/test_extents.c, tests/fuzz/fuzz_extents.c. */
#ifndef KITH_FORMAT_EXTENTS_H
#define KITH_FORMAT_EXTENTS_H

#include <stdbool.h>

#include "base/alloc.h"
#include "data/key.h"

#define KITH_IMAGE_FORMAT 1u
#define KITH_IMAGE_SIZE_MAX (UINT64_C(1) << 60)
#define KITH_REGION_SIZE KITH_CHUNK_MAX     /* bytes */
#define KITH_REGION_EXTENTS_MAX 64u         /* above it a region is worth rewriting */
#define KITH_HOLE_MIN 4096u                 /* bytes; rewriting fills narrower holes with zeros */
#define KITH_LEAF_EXTENTS 1024u             /* a leaf is divided above it: 45 KiB of list chunk */
#define KITH_LEAF_EXTENTS_MAX 16384u        /* one region's at most: the refs of one chunk */
#define KITH_INDEX_ENTRIES 1024u            /* of one index chunk: 45 KiB */

enum kith_image_kind {
    KITH_IMAGE_INLINE = 0,
    KITH_IMAGE_EXTENTS = 1,
    KITH_IMAGE_LISTS = 2,
    KITH_IMAGE_INDEX = 3,
    KITH_IMAGE_LEAF = 4, /* only in list chunks */
};

struct kith_chunk_ref {
    struct kith_chunk_id id;
    struct kith_checksum checksum; /* of the whole chunk */
    uint32_t size;                 /* of the whole chunk, 1 to KITH_CHUNK_MAX */
};

struct kith_extent {
    uint64_t offset; /* in the file */
    uint32_t length;
    uint32_t chunk_offset;
    struct kith_chunk_ref chunk;
};

struct kith_leaf {
    uint64_t start; /* a region boundary; ends where the next leaf starts */
    uint64_t allocated;
    uint32_t count, capacity;
    struct kith_extent *extents;
    bool stored; /* `ref` is the list chunk with exactly these extents */
    bool crowded; /* may hold a region that is worth rewriting */
    struct kith_chunk_ref ref;
};

struct kith_extents {
    uint32_t leaf_count, leaf_capacity;
    struct kith_leaf *leaves; /* none for no extents; else leaves[0].start == 0 */
    uint64_t allocated;       /* sum of lengths */
    uint64_t count;
};

/* Zero-initialised is a valid empty list. */
void kith_extents_release(struct kith_extents *list);

/* Maps [offset, offset + length) to the chunk, over whatever was there. The range lies in one
 * region and in the chunk (asserted). ENOMEM: nothing changed. */
KITH_MUST_CHECK enum kith_err kith_extents_insert(struct kith_extents *list,
                                                  const struct kith_extent *extent);
/* Makes a hole; any range. ENOMEM: regions before the one that failed are holes already. */
KITH_MUST_CHECK enum kith_err kith_extents_punch(struct kith_extents *list, uint64_t offset,
                                                 uint64_t length);
/* Drops everything from `size` on. */
void kith_extents_truncate(struct kith_extents *list, uint64_t size);

/* The first extent that ends after `offset`, whole; NULL where there is none. Valid until a
 * change. */
const struct kith_extent *kith_extents_find(const struct kith_extents *list, uint64_t offset);

/* Extents in the region that begins at `start`, and in *ret_runs how many there would be after a
 * rewrite (contiguous in the file but for holes below KITH_HOLE_MIN). */
uint32_t kith_extents_region(const struct kith_extents *list, uint64_t start, uint32_t *ret_runs);
/* The first region at or after `from` that is worth rewriting: more than KITH_REGION_EXTENTS_MAX
 * extents of which a rewrite saves half. False where there is none. Looks only where something
 * changed. */
bool kith_extents_crowded(struct kith_extents *list, uint64_t from, uint64_t *ret_start);

/* Joins small neighbouring leaves, before lists are written. */
void kith_extents_tidy(struct kith_extents *list);

/* ---- bytes ---- */

struct kith_image {
    enum kith_image_kind kind; /* INLINE, EXTENTS, LISTS or INDEX */
    uint64_t size;
    uint64_t allocated;
    struct kith_bytes body;
};
/* EFORMAT, EVERSION. Empty bytes = an empty inline image. The body is checked when it is
 * decoded. */
KITH_MUST_CHECK enum kith_err kith_image_parse(struct kith_bytes bytes,
                                               struct kith_image *ret_image);
void kith_image_put_head(struct kith_buf *buf, enum kith_image_kind kind, uint64_t size,
                         uint64_t allocated);

/* The leaf's body; with refs != NULL the distinct chunks too, room for leaf->count. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_leaf_encode(const struct kith_leaf *leaf, uint64_t start,
                                               struct kith_buf *buf, struct kith_chunk_id *refs,
                                               uint32_t *ret_ref_count);
/* Decodes a leaf's body whose extents must lie in [start, end) and appends it as a leaf. `stored`
 * and `ref` are left false. EFORMAT, ENOMEM: the list is unchanged. */
KITH_MUST_CHECK enum kith_err kith_leaf_decode(struct kith_extents *list, struct kith_bytes body,
                                               uint64_t start, uint64_t end);

struct kith_list_entry {
    uint64_t start;
    uint64_t allocated;
    struct kith_chunk_ref ref;
};
void kith_entries_encode(const struct kith_list_entry *entries, uint32_t count, uint64_t start,
                         struct kith_buf *buf);
/* Entries within [start, end); *ret_entries lies in the arena. EFORMAT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_entries_decode(struct kith_arena *arena, struct kith_bytes body,
                                                  uint64_t start, uint64_t end,
                                                  struct kith_list_entry **ret_entries,
                                                  uint32_t *ret_count);
/* A list or index chunk: strips format and kind. EFORMAT when it is of another kind. */
KITH_MUST_CHECK enum kith_err kith_list_chunk_body(struct kith_bytes bytes,
                                                   enum kith_image_kind kind,
                                                   struct kith_bytes *ret_body);

#endif
