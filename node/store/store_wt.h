/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_wt.h - the store on disk: rows, trees, references, chunks and the node's records on
 * WiredTiger.
 *
 * Carries out the operations of core/store.h. What an operation makes of a record is decided by the
 * pure functions of core/rows/rowop.h; here it is read, written and made durable.
 *
 *     DIR/lock                 flock of the process that has the store open; its pid
 *     DIR/encryption           where all else is encrypted: with which key (store_crypt.h)
 *     DIR/wt/                  WiredTiger's home: tables below and its log
 *     DIR/chunks/NNNNNN.seg    contents of chunks above KITH_CHUNK_INLINE_MAX, append-only
 * (segments.h)
 *     DIR/damaged/             files of tables that were set aside (store_aside.c), for a person
 *     DIR/aside-TABLE, rebuild what the next start has to do (store_aside.c, store_derived.c)
 *
 *     table    key                                          value
 *     rows     u16be partition, 16 group, name              record (core/rows/rowop.h)
 *              u16be partition                              floors (core/rows/floor.h)
 *     leaves   u16be partition, u8 leaf, 16 group, name     -            written when a row is new
 *     tree     u16be partition                              sums of its leaves (store_sums.c)
 *     refs     20 chunk id, u8 kind, key in rows or chunks  -            who refers to a chunk
 *     chunks   u16be partition, u8 leaf, 20 chunk id        record (chunks.c)
 *     ctree    u16be partition                              the same for chunks
 *     sums     u8 kind, u8 worker, u32be slot               the newest sums, journal (store_sums.c)
 *     segs     tag, u32be segment [, u64be offset]          see segments.h
 *     bad      u8 kind, key in rows or chunks               a damaged record (store_damage.c)
 *     gone     as rows                                      -            rows without contents
 *     conflicts as rows                                     -            of files in conflict
 *     meta     u8 enum kith_meta_key                        value
 *     hints    as rows                                      record (core/rows/hintop.h)
 *
 * All that one operation changes is one transaction (so invariant 5 holds at every commit, and
 * after every recovery); operations that wait together share one, and are done again singly if it
 * fails.
 *
 * THREADS. `workers` row workers and `bulk_workers` chunk workers; a partition belongs to one of
 * each, which gives the order that core/store.h demands and makes the tree's sums the worker's
 * alone. Little work is done by the thread that brings it (kith_store_lend), in the seat of its
 * worker, which sleeps meanwhile. A worker takes what is queued, in rounds of at most
 * KITH_ROUND_OPS: transaction, one log_flush("sync=off") for all, completions in one call. What
 * must be on disk goes on to the committer, which does fdatasync of the written segments and one
 * log_flush("sync=on") for everyone who waits. (A commit alone is not even `os`: after 1,000 of
 * them and a kill -9 nothing was left; a sync for each commit gave 3-5 k/s, one for a batch 22-27
 * k/s.)
 *
 * DAMAGE. A row or chunk that does not fit its checksum is set aside (store_damage.c); what only
 * says again what they say - leaves, tree, ctree, sums, refs, gone, conflicts - is made anew
 * (store_derived.c). A damaged page of rows, chunks or another table ends the store; at the next
 * start the whole table is set aside in DIR/damaged, an empty one takes its place, and the core is
 * told what was lost (store_aside.c, core/repair/refill.h). Only meta, which says who this node is, wants a
 * person.
 *
 * A FULL DISK. Each completion says how full it is (enum kith_space). WiredTiger gives up (panics)
 * when it finds no space. So value-bearing writes are refused with ENOSPC while less is free than
 * the next checkpoint may add to the files and a reserve of ten log files, deletes and the node's
 * records below a quarter of that reserve (store_space.c). When another program takes even that,
 * the store fails, see `fatal`.
 *
 * Checked by tests/unit/test_store_wt.c and test_store_space.c; speed by tests/bench/store_bench.c.
 * DESIGN sections 5, 6, 8. */
#ifndef KITH_SHELL_STORE_WT_H
#define KITH_SHELL_STORE_WT_H

#include "core/node.h"

struct kith_store;
struct kith_crypt_key;

/* The completions of one round. Taken over by the callback's receiver, who gives it back with
 * kith_store_results_free once all are handled; until then everything they point to stays valid,
 * and the boxes of their operations are held. */
struct kith_store_results {
    uint32_t count;
    const struct kith_store_done *dones;
    struct kith_store_results *next; /* for the receiver's use */
};
void kith_store_results_free(struct kith_store_results *results);
/* How many operations end with these (not those that go on to the disk), and the bytes of the
 * chunks whose puts are among them: for bounds on what is under way. */
uint32_t kith_store_results_ended(const struct kith_store_results *results);
uint64_t kith_store_results_bulk(const struct kith_store_results *results);

struct kith_store_options {
    const char *path;      /* data directory; made when missing */
    /* All that is written is encrypted with it (store_crypt.h); NULL: it is not. For the time of the
     * call. EINVAL where the store is of another one, or of none. */
    const struct kith_crypt_key *key;
    uint64_t cache_bytes;  /* WiredTiger's cache; 0 = by the memory (kith_memory_cache) */
    uint32_t workers;      /* for rows; 0 = one for 4 cores; at most KITH_STORE_WORKERS_MAX */
    uint32_t bulk_workers; /* for chunks; 0 = 2 */
    uint32_t checkpoint_s; /* 0 = 60 */
    uint64_t
        log_file_bytes; /* size of WiredTiger's log files; 0 = a 96th of the disk, at most 64 MiB */
    uint32_t journal_slots; /* of a worker, for the trees' sums (store_sums.c); 0 = 16,384 */
    /* Of states kept for others that need not be (plain hints); 0 = a 16th of the disk. */
    uint64_t hint_bytes_max;
    uint64_t run; /* random bits for this start; never 0 */
    /* Of the disk, when so much is used: LOW, SCARCE, FULL of enum kith_space; 0 = 85, 92, 95. One
     * ends when it is a percent less again. FULL, too, as long as values are refused for the sake
     * of the reserve (below). */
    uint32_t space_percent[3];
    void *arg;
    /* From any of the store's threads, several at a time. Must not block nor call the store. */
    void (*completed)(void *arg, struct kith_store_results *results);
    /* The store cannot go on (a damaged file, a failed log write): every later operation is
     * answered EIO, or ENOSPC when that was the reason; the process should end in order and a
     * person look at it. Once. May be NULL. */
    void (*fatal)(void *arg, const char *message);
};

#define KITH_STORE_CACHE_MIN   (UINT64_C(8) << 20)
#define KITH_STORE_WORKERS_MAX 16u
#define KITH_CHUNK_INLINE_MAX  (64u << 10) /* bytes; larger contents lie in segments */

/* Opens or makes the store and recovers it. EBUSY: another process has it; EROFS, EPERM, ENOSPC,
 * EIO, ECORRUPT, EVERSION: the message names the path and what helps. Starts threads.
 * ENOTREADY: a file is damaged, which is noted, and the engine can be neither used nor closed in this
 * process any more, which keeps the lock: the next one (exec) sets the file aside and goes on. */
KITH_MUST_CHECK enum kith_err kith_store_open(const struct kith_store_options *options,
                                              struct kith_store **ret_store,
                                              struct kith_error *error);
/* Completes what is queued and ends the threads; when it returns the last completion has been
 * handed over, and submit says ECLOSED. The results may be used and given back until close. */
void kith_store_stop(struct kith_store *store);
/* Stops if need be, flushes everything to disk, writes a checkpoint, frees. All results must have
 * been given back. EIO with a message when the last flush failed. The store is gone in any case;
 * only after `fatal` this process keeps its lock and its memory, and has to end. */
enum kith_err kith_store_close(struct kith_store *store, struct kith_error *error);

/* What was found at open: has_data and meta[] (valid until close); the rest is left alone. */
void kith_store_start(const struct kith_store *store, struct kith_start *start);

/* The cluster's secret (copied, 136 to 192 bytes) and Q, before the first operation on rows or
 * chunks. Kept: EINVAL when out of bounds or not what the store was configured with before. One
 * thread. */
KITH_MUST_CHECK enum kith_err kith_store_configure(struct kith_store *store,
                                                   struct kith_bytes secret, uint32_t partitions);

/* Queues a copy of *op; what it points to must live until the completion (core/store.h). `box` (may
 * be NULL) is held until the last completion of the op has been given back. Wakes nobody: see kick.
 * ENOMEM, ELIMIT (KITH_STORE_QUEUE_MAX), ENOTREADY (not configured),
 * ECLOSED: no completion follows. Any thread. */
KITH_MUST_CHECK enum kith_err kith_store_submit(struct kith_store *store,
                                                const struct kith_store_op *op,
                                                struct kith_msg_box *box);
/* Wakes the workers that sleep and have something to do. Once after a number of submits. */
void kith_store_kick(struct kith_store *store);
/* Like kick; but where a row worker sleeps and less than a millisecond's work waits for it
 * (KITH_LEND_OPS), the caller's thread does it itself: a change of threads and back takes as long
 * as two puts or five reads, and where cores are few, there is nobody to take it over. `completed`
 * runs inside. It may wait for the disk; after a slow round the work goes to the worker for a
 * while. True when it did some. Any thread, never inside `completed`. */
bool kith_store_lend(struct kith_store *store);
#define KITH_STORE_QUEUE_MAX (8u * KITH_PENDING_MAX) /* ops waiting for one worker */

/* Counts kept with the trees, not scanned, without the list of conflicts; the disk figures may be a
 * second old. Any thread. */
struct kith_store_counts kith_store_counts(struct kith_store *store);

struct kith_store_cache {
    uint64_t size_bytes, used_bytes, dirty_bytes;
    uint64_t pages_asked, pages_read; /* since open */
};
/* WiredTiger's own figures of its cache. Waits for no disk. EIO. Any thread, between open and stop. */
KITH_MUST_CHECK enum kith_err kith_store_cache(struct kith_store *store,
                                               struct kith_store_cache *ret);

/* What kith_store_verify found. */
struct kith_store_verdict {
    uint64_t rows, chunks;   /* visited */
    uint64_t corrupt_rows;   /* record does not fit its hash */
    uint64_t corrupt_chunks; /* contents do not fit their checksum (only with contents) */
    uint64_t wrong_leaves;   /* sums or counts that differ from those recomputed (invariant 5) */
    uint64_t wrong_index;    /* rows missing in `leaves`, or entries there without a row */
    uint64_t wrong_refs;     /* references missing in `refs`, or there without a referrer */
    char first[256];         /* the first thing that was found wrong, in words */
};
/* Recomputes everything that is derived from rows and chunks within one snapshot and compares;
 * `contents` reads the chunks too. Takes long and gets in nobody's way. OK also when something is
 * wrong: see the verdict. Any thread. */
KITH_MUST_CHECK enum kith_err kith_store_verify(struct kith_store *store, bool contents,
                                                struct kith_store_verdict *ret_verdict,
                                                struct kith_error *error);

#endif
