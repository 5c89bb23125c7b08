/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * segments.h - append-only files for the contents of large chunks.
 *
 * WiredTiger would copy a value into its log, its cache and its file; a segment takes one copy into
 * the page cache, and a sync of many chunks is one fdatasync. Bytes are written first, then the
 * transaction commits that refers to them; what lies behind the last committed extent is cut off at
 * the next start. In table `segs`:
 *
 *     'S', u32be segment                 u64 synced: bytes before it are known to be on disk
 *     'E', u32be segment, u64be offset   23 bytes key in `chunks`, u32 size in the segment (LE)
 *                                        one for each chunk
 *
 *     'P', u32be segment, u64be offset   u32 size (LE): a chunk that was swept. Its place is given
 * back once that is on the disk; at the next start once more
 *
 * After a crash the extents behind `synced` are read and compared with their checksums, and what a
 * power loss took is removed from the index, so that "this node holds it" is never said of a chunk
 * whose bytes are gone. Each bulk worker appends to a segment of its own.
 *
 * Where the store is encrypted (store_crypt.h) each chunk is one block, bound to its place, and
 * takes so many bytes more in the segment. Sizes below are of the contents. */
#ifndef KITH_SHELL_SEGMENTS_H
#define KITH_SHELL_SEGMENTS_H

#include <stdatomic.h>

#include "base/buf.h"

#define KITH_SEGMENT_MAX (UINT64_C(1) << 30) /* bytes; then the next one */
#define KITH_SEGMENT_DIRTY_MAX                                                                     \
    (UINT64_C(256) << 20)      /* written and not synced: what a start re-reads */
#define KITH_SEGMENT_CACHE 64u /* descriptors that a reader keeps open */

struct kith_store;
struct store_worker;

/* One that is written to. Reference-counted: its worker and the committer hold it. */
struct kith_segment {
    atomic_uint refs;
    uint32_t number;
    int fd;
    uint64_t end;             /* the worker's: where the next bytes go */
    uint64_t committed;       /* the worker's: end of what is committed */
    bool fresh;               /* the worker's: has no 'S' record yet */
    _Atomic uint64_t written; /* committed, for the committer */
    _Atomic uint64_t synced;  /* on disk; the committer's */
    bool dirty;               /* in the committer's list; protected by its lock */
    bool entry_synced;        /* the committer's: its directory entry is on disk */
};

/* Segments waiting for fdatasync; protected by the committer's lock. */
struct kith_segment_list {
    uint32_t count, capacity;
    struct kith_segment **segments;
};

struct kith_segment_cache {
    struct {
        uint32_t number;
        bool used;
        int fd;
    } slots[KITH_SEGMENT_CACHE];
};

void segment_drop(struct kith_segment *segment);
/* Appends; the bytes count once the transaction commits. ENOSPC, EIO, ENOMEM. */
KITH_MUST_CHECK enum kith_err segment_append(struct store_worker *worker, struct kith_bytes bytes,
                                             uint32_t *ret_segment, uint64_t *ret_offset);
/* Notes in the worker's transaction that a chunk lies there. */
KITH_MUST_CHECK enum kith_err segment_extent_put(struct store_worker *worker, uint32_t segment,
                                                 uint64_t offset, struct kith_bytes chunk_key,
                                                 uint32_t size);
KITH_MUST_CHECK enum kith_err segment_extent_remove(struct store_worker *worker, uint32_t segment,
                                                    uint64_t offset);
/* The same for a chunk that was swept: the place is given back when its transaction is on the disk. */
KITH_MUST_CHECK enum kith_err segment_hole_put(struct store_worker *worker, uint32_t segment,
                                               uint64_t offset, uint32_t size);
struct store_hole;
struct store_results;
/* A round is over: its holes to the results that wait for the disk. */
void segment_holes_take(struct store_worker *worker, struct store_results *later);
/* They are on it. Any thread. */
void segment_holes_make(struct kith_store *store, uint32_t count, const struct store_hole *holes);
/* Around the worker's commit. */
KITH_MUST_CHECK enum kith_err segment_before_commit(struct store_worker *worker);
void segment_after_commit(struct store_worker *worker);
void segment_rollback(struct store_worker *worker);

/* The chunk there, or with `size` less than it, where nothing is encrypted, a part of it. ECORRUPT
 * when the file is missing or ends before, or the block does not open; EIO. */
KITH_MUST_CHECK enum kith_err segment_read(struct kith_store *store,
                                           struct kith_segment_cache *cache, uint32_t segment,
                                           uint64_t offset, uint32_t size, uint8_t *buffer);
void segment_cache_init(struct kith_segment_cache *cache);
void segment_cache_release(struct kith_segment_cache *cache);

/* At open: cuts tails, checks what may have been lost, removes files nobody refers to, gives each
 * bulk worker a segment to go on with. `worker` does the work; the workers do not run yet. */
KITH_MUST_CHECK enum kith_err
segments_recover(struct kith_store *store, struct store_worker *worker, struct kith_error *error);
/* At close, after a sync of everything: records it, so that the next start need not read. */
KITH_MUST_CHECK enum kith_err segments_finish(struct kith_store *store,
                                              struct store_worker *worker);

#endif
