/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_int.h - what the parts of the WiredTiger store share; nobody else includes it.
 *
 * Which thread may touch what is said at each field: "worker" is the thread that owns the worker.
 */
#ifndef KITH_SHELL_STORE_INT_H
#define KITH_SHELL_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <wiredtiger.h>

#include "core/rows/hintop.h"
#include "core/rows/rowop.h"
#include "core/rows/run_budget.h"
#include "data/tree.h"
#include "store/segments.h"
#include "store/store_wt.h"

#define KITH_ROUND_OPS         64u   /* one log flush (10 us) for as many costs 0.2 us an op */
#define KITH_ROUND_UPDATES     512u  /* rows in one transaction: bounds what a redo repeats */
#define KITH_ROUND_UNIT        2048u /* bytes that count as much as a row: 1 MiB a round */
#define KITH_LEND_OPS          48u   /* some 0.5 ms; more of them are worth a second thread */
#define KITH_LEND_WEIGHT       64u   /* rows and units of bytes of them together */
#define KITH_LEND_ROWS         16u   /* rows of a scan, or rows and units of bytes of another op */
#define KITH_LEND_SLOW_NS      UINT64_C(2000000) /* a round in the cache takes 20 to 700 us */
#define KITH_LEND_PAUSE        50u /* times what a slow one took: waits are 2 % of a lender's time */
#define KITH_LEND_PAUSE_MAX_NS UINT64_C(10000000000)
#define KITH_RESULTS_POOL      16u  /* kept for reuse; each may keep an arena block */
#define KITH_ROLLBACK_RETRIES  100u /* WT_ROLLBACK: another's transaction, or a full cache, and */
#define KITH_ROLLBACK_AT_ONCE  3u   /* eviction, need a moment: the first ones do not wait for it; */
#define KITH_ROLLBACK_PAUSE_NS 50000L /* then this, doubled each time, */
#define KITH_ROLLBACK_DOUBLED  8u     /* at most so often: 1.2 s in all */
#define KITH_ROW_KEY_MAX       (2u + KITH_GROUP_SIZE + KITH_NAME_MAX)
#define KITH_LEAF_KEY_MAX      (KITH_ROW_KEY_MAX + 1u)
#define KITH_REF_KEY_MAX       (KITH_CHUNK_ID_SIZE + 1u + KITH_ROW_KEY_MAX)
#define STORE_CHUNK_KEY_ID     3u /* behind partition and leaf */
#define KITH_CHUNK_KEY_SIZE    (STORE_CHUNK_KEY_ID + KITH_CHUNK_ID_SIZE)
#define KITH_SECRET_MAX        192u
#define KITH_SECRET_MIN        136u
#define STORE_FOLD_MAX         32u /* partitions written with one transaction */

/* The second part of a key in `refs`. */
enum store_referrer {
    STORE_REFERRER_ROW = 'r',
    STORE_REFERRER_CHUNK = 'c',
    STORE_REFERRER_HINT = 'h', /* a row that is kept for others */
};

/* ---- Results ---- */

/* What a chunk took of a segment, and nothing does any more. */
struct store_hole {
    uint32_t segment, size;
    uint64_t offset;
};

struct store_results {
    struct kith_store_results pub; /* first: pub is cast back */
    struct kith_store *store;
    struct kith_arena arena;
    struct kith_store_done dones[KITH_ROUND_OPS];
    uint32_t ended;      /* operations whose last completion is here */
    uint64_t bulk_bytes; /* contents of the chunk puts among them */
    uint32_t box_count;
    struct kith_msg_box *boxes[KITH_ROUND_OPS];
    uint32_t blob_count;
    struct kith_blob
        *blobs[2u * KITH_ROUND_OPS]; /* dropped with the results; a round may run twice */
    uint32_t hole_count;
    const struct store_hole *holes; /* in the arena: to be made once all before is on the disk */
};

/* Empty results, from the pool if possible; NULL when memory is short. */
KITH_MUST_CHECK struct store_results *store_results_new(struct kith_store *store);
/* Gives them to the store's owner. */
void store_results_deliver(struct store_results *results);

/* ---- Trees (store_tree.c) ---- */

struct store_leaf {
    struct kith_sum sum;
    uint64_t bytes; /* chunks: of contents */
    uint32_t count;
    uint32_t serial; /* of the transaction that last touched it */
};

struct store_tree {
    /* [KITH_PARTITIONS_MAX], each NULL or [KITH_TREE_LEAVES]; loaded at open, then each partition
     * is its worker's */
    struct store_leaf **partitions;
    bool *dirty; /* [KITH_PARTITIONS_MAX]: changed since its record was written (store_sums.c) */
};

struct store_touched {
    struct store_leaf *leaf;
    struct store_leaf before;
    uint16_t partition;
    uint8_t number;
};

/* What is kept for others of a partition; changed by its worker, read by any thread. */
struct store_hint_sum {
    _Atomic uint64_t count, bytes, custody, thin;
    _Atomic uint64_t first_ms; /* the oldest; what goes may leave it too old until the next look */
};
struct store_hint_change {
    uint32_t partition;
    int64_t count, bytes, custody, thin;
    uint64_t first_ms; /* of one that is new; else UINT64_MAX */
};

/* A worker's part of the journal of sums (store_sums.c). */
struct store_pass {
    bool on;
    uint32_t next;    /* the partition to look at */
    uint64_t began;   /* how many records there were */
    uint64_t covered; /* so many from the start may be overwritten */
};

struct store_journal {
    uint64_t written; /* records in this run */
    struct store_pass pass;
    /* of the transaction under way */
    bool wrote;
    struct store_pass after; /* once it is committed */
    uint16_t folded[STORE_FOLD_MAX];
    uint32_t folded_count;
    struct kith_buf record;
};

/* ---- Workers ---- */

struct store_task {
    struct kith_store_op op;
    struct kith_msg_box *box;
};

struct store_queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_task *tasks; /* protected by lock, like the next three */
    uint32_t count;
    uint32_t capacity;
    bool stop;
    bool lent;             /* another thread sits in the worker's seat; protected by lock, too */
    uint64_t lend_from_ns; /* not lent before; protected by lock, too */
    atomic_bool sleeping;  /* set under lock; read without it by kick */
};

struct store_worker {
    struct kith_store *store;
    struct store_queue queue;
    pthread_t thread;
    bool started;
    bool bulk;
    uint32_t index;
    /* all below: worker, or who sits in its seat (store_queue.c) */
    struct store_task *tasks; /* taken from the queue */
    uint32_t capacity;
    WT_SESSION *session;
    WT_CURSOR *rows, *leaves, *tree, *journal_cursor, *refs, *chunks, *segs, *meta, *bad, *hints,
        *marks, *gone, *conflicts;
    struct store_tree *sums;
    struct store_journal journal;
    struct store_touched *touched;
    uint32_t touched_count, touched_capacity;
    struct store_hint_change *hint_changes; /* of the transaction under way */
    uint32_t hint_change_count, hint_change_capacity;
    struct store_conflict_change *conflict_changes; /* the same (store_conflict.h) */
    uint32_t conflict_change_count, conflict_change_capacity;
    struct store_hole *holes; /* of this round; those of the transaction from hole_kept on */
    uint32_t hole_count, hole_capacity, hole_kept;
    uint32_t serial;
    uint32_t writes;              /* WiredTiger writes in this transaction */
    int64_t bad_change;           /* of entries of `bad`, in this transaction */
    uint64_t aside_ms;            /* monotonic: when it set something aside last; 0: not in this run */
    bool broken;                  /* this transaction must be rolled back */
    bool retry;                   /* ... and may succeed when done again */
    _Atomic uint64_t promised;    /* of the disk, to the operation that is being done */
    struct kith_segment *segment; /* bulk: appended to now; NULL before the first */
    struct kith_segment *full;    /* the one before, when this transaction filled it; else NULL */
    struct kith_segment_cache reads;
    struct kith_buf sealed; /* a chunk, encrypted */
    struct store_results *round;
};

struct store_committer {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* protected by lock, like the next three */
    struct store_results *waiting, **waiting_end;
    struct kith_segment_list dirty;
    WT_SESSION *session; /* the committer's */
};

/* What the disk can still take; see store_space.c. */
struct store_space {
    _Atomic int64_t room; /* free bytes, less what a checkpoint may write and what was promised */
    _Atomic uint64_t disk_total, disk_free, seen_ms;
    uint64_t disk_id; /* fixed at open; 0: not known */
    _Atomic uint32_t level; /* enum kith_space; set under lock */
    uint64_t reserve_bytes; /* fixed at open, like the next two */
    uint64_t edge_bytes;    /* with less free, the dirty pages are counted */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* the thread's */
    pthread_cond_t ended; /* a checkpoint */
    bool stop;            /* protected by lock, like all below */
    uint64_t wanted, begun, done; /* numbers of the thread's checkpoints */
    uint64_t ended_ms;            /* when the last of them ended */
    uint64_t need;                /* what the next checkpoint may add to the disk */
    WT_SESSION *session;          /* for the statistics */
    WT_SESSION *thread_session;   /* the thread's */
};

#define STORE_CONFIG_KEY                                                                           \
    0xf1u /* in meta: u32 partitions (LE), the secret: recovery needs them                         \
             before the core does */
#define STORE_IDENTITY_KEYS 5u

struct store_identity { /* store_identity.c */
    bool found, good;   /* the file; at open */
    pthread_mutex_t lock;
    struct kith_buf records[STORE_IDENTITY_KEYS]; /* protected by lock */
};

struct kith_store {
    struct kith_store_options options;
    uint32_t checkpoint_logs; /* files of the log from one checkpoint to the next */
    char *path, *wt_path, *chunks_path;
    struct store_crypt *crypt; /* NULL: not encrypted; store_crypt.h */
    int lock_fd;
    int chunks_fd; /* the directory */
    WT_CONNECTION *conn;
    WT_EVENT_HANDLER handler;
    pthread_mutex_t message_lock;
    char wt_message[256]; /* protected by message_lock: the cause that WiredTiger told */
    int wt_message_rank;  /* protected by it, too */
    atomic_bool opened;   /* the handler logs quietly before */
    atomic_bool failed;   /* the store cannot go on */
    atomic_bool gave_up;  /* the engine has: who asks it for anything may wait for ever */
    uint32_t stuck_ms;    /* for so long threads were waited for since */
    bool begins_again;    /* what it gave up over is noted: the next process makes it anew */
    atomic_bool fatal_told;
    char fatal_message[KITH_ERROR_MESSAGE_SIZE]; /* protected by message_lock: why */
    bool fatal_space;                            /* protected by it, too: for lack of space */
    atomic_bool configured;
    uint8_t secret[KITH_SECRET_MAX]; /* found at open, or fixed by configure */
    size_t secret_size;
    uint32_t partitions;
    _Atomic uint64_t run;
    _Atomic uint64_t counter; /* the last one drawn */
    struct kith_run_budget run_budget; /* protected by pool_lock, like the next one */
    uint64_t run_told_ms;              /* monotonic: not said again before */
    _Atomic uint64_t row_count, chunk_count, chunk_bytes;
    _Atomic uint64_t bad[2]; /* rows, chunks that are set aside (store_damage.c) */
    struct store_space space;
    struct store_tree row_tree, chunk_tree;
    bool derived_marked;            /* the tables of these are whole; at open */
    _Atomic uint32_t aside;         /* tables that the engine called damaged (store_aside.c) */
    _Atomic bool damage;            /* it said so of any file */
    bool refs_anew;                 /* at open: `refs` is empty, and to be made anew */
    struct store_identity identity;
    struct store_hint_sum *hint_sums; /* [KITH_PARTITIONS_MAX] */
    struct store_hint_sum hint_total; /* first_ms is not kept here */
    /* [KITH_PARTITIONS_MAX]: files in conflict; changed by the partition's worker, read by any thread */
    _Atomic uint32_t *conflicts;
    struct store_floor_slot *floors; /* [KITH_PARTITIONS_MAX], each its worker's: store_reap.c */
    _Atomic uint64_t sums_sequence; /* the last one drawn */
    _Atomic uint32_t segment_last;  /* the highest number in use */
    uint32_t worker_count, bulk_count;
    struct store_worker *workers; /* [worker_count + bulk_count], rows first */
    struct store_committer committer;
    struct kith_bytes meta[KITH_META_KEYS]; /* as found at open */
    pthread_mutex_t pool_lock; /* held for a moment */
    struct kith_store_results *pool; /* protected by pool_lock, like pool_count */
    uint32_t pool_count;
};

/* ---- store_log.c ---- */

/* Before WiredTiger opens: log files that were being made when the node ended. */
KITH_MUST_CHECK enum kith_err store_log_mend(const struct kith_store *store,
                                             struct kith_error *error);

/* ---- store_engine.c ---- */

/* Before WiredTiger opens: what it says from now on is heard. */
void store_engine_listen(struct kith_store *store);
/* The cause that it told last, into a buffer of the size of store->wt_message. */
void store_engine_said(struct kith_store *store, char *ret_text);
/* Remembers that the store cannot go on and tells the owner, once. */
void store_fatal(struct kith_store *store, const char *what, int ret);
/* Waits for its end; where the engine gave up for some seconds, all threads together, for it may wait there
 * for ever: the store is abandoned then (store_wt.c). */
void store_join(struct kith_store *store, pthread_t thread);
/* Answers with the reason and err; OK: with ENOSPC or EIO, for an operation that was not begun. */
enum kith_err store_fail_failed(struct store_worker *worker, struct kith_store_done *done,
                                enum kith_err err);

/* ---- store_wt.c ---- */

/* The code for a return value of WiredTiger or an errno. */
enum kith_err store_err(int ret);
static inline struct kith_bytes store_secret(const struct kith_store *store)
{
    return kith_bytes_make(store->secret, store->secret_size);
}
/* 64 random bits, never 0. */
KITH_MUST_CHECK enum kith_err store_random(uint64_t *ret_value);
int store_table_create(WT_SESSION *session, const char *table);
/* Opens a session and the cursor of a table. */
int store_session(struct kith_store *store, WT_SESSION **ret_session);
int store_cursor(WT_SESSION *session, const char *table, WT_CURSOR **ret_cursor);

/* ---- One worker's storage calls (store_worker.c); they note `broken` and `retry` ---- */

/* Positions on the key; ENOTFOUND leaves the transaction good. *ret_value borrows from the page
 * until the cursor moves or the transaction ends. */
KITH_MUST_CHECK enum kith_err store_read(struct store_worker *worker, WT_CURSOR *cursor,
                                         struct kith_bytes key, struct kith_bytes *ret_value);
/* Writes. Without a key (data NULL) under the one on which the cursor stands: no second search. */
KITH_MUST_CHECK enum kith_err store_write(struct store_worker *worker, WT_CURSOR *cursor,
                                          struct kith_bytes key, struct kith_bytes value);
KITH_MUST_CHECK enum kith_err store_remove(struct store_worker *worker, WT_CURSOR *cursor,
                                           struct kith_bytes key);
/* Notes a failed call of WiredTiger; returns its code. */
enum kith_err store_break(struct store_worker *worker, int ret);
/* Sets done->err and its message; returns err. */
enum kith_err store_fail(struct store_worker *worker, struct kith_store_done *done,
                         enum kith_err err, const char *format, ...) KITH_PRINTF(4, 5);
void *store_worker_main(void *arg);
void store_worker_release(struct store_worker *worker);
/* Gives what WiredTiger said, like store_committer_init. */
int store_worker_init(struct store_worker *worker, struct kith_store *store, uint32_t index,
                      bool bulk);
/* A round: a transaction, a flush of the log, completions. From the worker's seat. */
void store_round(struct store_worker *worker, const struct store_task *tasks, uint32_t count);

/* ---- store_queue.c ---- */

int store_queue_init(struct store_queue *queue); /* 0 or an errno */
void store_queue_release(struct store_queue *queue);
void store_queue_stop(struct store_queue *queue);
/* The worker's thread: waits for work and takes it to worker->tasks; 0: stopped and empty. */
uint32_t store_queue_take(struct store_worker *worker);
/* Works off worker->tasks[0..count). From the worker's seat. */
void store_rounds(struct store_worker *worker, uint32_t count);

/* ---- A worker's transactions (store_worker.c) ---- */

/* A transaction outside the loop, for recovery. */
KITH_MUST_CHECK enum kith_err store_begin(struct store_worker *worker);
KITH_MUST_CHECK enum kith_err store_commit(struct store_worker *worker);
void store_rollback(struct store_worker *worker);
/* Whether what was just rolled back is tried again, as its try number `attempt`, from 0: where
 * another transaction was in its way. Waits for that one a moment. */
bool store_again(const struct store_worker *worker, uint32_t attempt);

/* ---- store_commit.c ---- */

void *store_committer_main(void *arg);
int store_committer_init(struct kith_store *store);
void store_committer_release(struct kith_store *store);
void store_committer_stop(struct store_committer *committer);
/* Hands over completions to be delivered once all before is on disk; takes them. */
void store_commit_later(struct kith_store *store, struct store_results *results);
/* Puts everything on disk that is committed; the committer's thread, or after its end. */
KITH_MUST_CHECK enum kith_err store_commit_sync(struct kith_store *store);
/* Notes that a segment has bytes that are not on disk. */
void store_commit_dirty(struct kith_store *store, struct kith_segment *segment);

/* ---- store_tree.c ---- */

KITH_MUST_CHECK enum kith_err store_tree_init(struct store_tree *tree);
void store_tree_release(struct store_tree *tree);
/* The leaf in memory; NULL when memory is short. */
struct store_leaf *store_tree_leaf(struct store_tree *tree, uint32_t partition, uint32_t number);
/* Entries and bytes of all leaves. */
void store_tree_count(const struct store_tree *tree, uint64_t *ret_count, uint64_t *ret_bytes);
struct store_change {
    const struct kith_checksum *old_hash, *new_hash; /* all zero: nothing */
    int count;                                       /* by which the number of entries changes */
    int64_t bytes;
};
KITH_MUST_CHECK enum kith_err store_tree_change(struct store_worker *worker, uint32_t partition,
                                                uint32_t leaf, const struct store_change *change);
/* The leaf as it was summed up anew. */
KITH_MUST_CHECK enum kith_err store_tree_set(struct store_worker *worker, uint32_t partition,
                                             uint32_t leaf, const struct store_leaf *to);
/* DROP: up to KITH_DROP_MAX rows, or chunks, of the partition go. */
KITH_MUST_CHECK enum kith_err store_drop(struct store_worker *worker,
                                         const struct kith_store_op *op,
                                         struct kith_store_done *done);
/* After a commit: forgets what was touched; or takes everything back. */
void store_tree_commit(struct store_worker *worker);
void store_tree_rollback(struct store_worker *worker);

/* How full a disk is of which that much is free, when it was `before`; store_wt.h. */
enum kith_space store_space_level(enum kith_space before, uint64_t total_bytes,
                                  uint64_t free_bytes, const uint32_t percent[3]);

/* ---- store_derived.c ---- */

/* At open: reads the trees, or makes them and the index of leaves anew. */
KITH_MUST_CHECK enum kith_err store_derived_load(struct kith_store *store,
                                                 struct kith_error *error);
/* Then, with the workers there, before their threads run: from here on the whole journal may be
 * overwritten. */
KITH_MUST_CHECK enum kith_err store_derived_settle(struct kith_store *store,
                                                   struct kith_error *error);
bool store_derived_is_mark(struct kith_bytes key);
/* Whether the engine's message names the file of such a table. */
bool store_derived_named(const char *message);
/* The next start is to make them anew. */
bool store_derived_note(const struct kith_store *store);
/* Removes their files, for an engine that could not be opened with them. */
void store_derived_discard(const struct kith_store *store);

/* ---- store_aside.c ---- */

/* What the engine said: remembers which table it calls damaged. Any thread. */
void store_aside_heard(struct kith_store *store, const char *message);
/* Notes these for the next start, or the next try; false: there are none, or no note can be left.
 */
bool store_aside_note(struct kith_store *store);
/* Sets those aside that are noted, before anything reads them. ECORRUPT and others as for open. */
KITH_MUST_CHECK enum kith_err store_aside_apply(struct kith_store *store, struct kith_error *error);
/* All that follows from them is on the disk: the notes go. */
void store_aside_done(struct kith_store *store);
/* Where the store does not open and no table is to blame alone: notes that all of it is to be set
 * aside; false: that would not help. */
bool store_aside_note_all(struct kith_store *store);
/* Does so, before WiredTiger opens. */
KITH_MUST_CHECK enum kith_err store_aside_all(struct kith_store *store, struct kith_error *error);

/* ---- store_identity.c ---- */

/* Reads DIR/identity. */
void store_identity_load(struct kith_store *store);
/* What is in the file, into meta. */
int store_identity_restore(const struct kith_store *store, WT_CURSOR *cursor);
/* A record of meta as it was found at open. */
void store_identity_begin(struct kith_store *store, uint8_t key, struct kith_bytes value);
/* One that is about to be written there, to the file first. Any thread. */
void store_identity_keep(struct kith_store *store, uint8_t key, struct kith_bytes value);
void store_identity_release(struct kith_store *store);
int store_meta_write_format(WT_CURSOR *cursor);

/* ---- store_sums.c ---- */

/* Reads a tree, at open; its `dirty` says what must be settled. */
KITH_MUST_CHECK enum kith_err store_sums_load(struct kith_store *store, bool bulk,
                                              struct kith_error *error);
/* Before the threads run: writes what the journal says to where it belongs. Any worker of the kind.
 */
KITH_MUST_CHECK enum kith_err store_sums_settle(struct store_worker *worker);
/* Before a commit: writes what was touched. After it: counts it. */
KITH_MUST_CHECK enum kith_err store_sums_write(struct store_worker *worker);
void store_sums_commit(struct store_worker *worker);
/* The records, for who checks them. */
struct store_sums_entry {
    uint32_t partition, number;
    struct store_leaf leaf;
};
uint8_t store_sums_kind(bool bulk); /* the first byte of a key in `sums` */
KITH_MUST_CHECK bool store_sums_table_decode(struct kith_bytes value,
                                             struct store_leaf leaves[KITH_TREE_LEAVES],
                                             uint64_t *ret_as_of);
KITH_MUST_CHECK bool store_sums_sequence(struct kith_bytes record, uint64_t *ret_sequence);
/* The next leaf of a record of the journal; *at is 0 at first. */
bool store_sums_next(struct kith_bytes record, size_t *at, struct store_sums_entry *ret_entry);

/* ---- The operations; each fills *done ---- */

enum kith_err store_put(struct store_worker *worker, const struct kith_store_op *op,
                        struct kith_store_done *done);
enum kith_err store_merge(struct store_worker *worker, const struct kith_store_op *op,
                          struct kith_store_done *done);
enum kith_err store_get(struct store_worker *worker, const struct kith_store_op *op,
                        struct kith_store_done *done);
enum kith_err store_scan(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done);
enum kith_err store_groups(struct store_worker *worker, const struct kith_store_op *op,
                           struct kith_store_done *done);
enum kith_err store_find(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done);

/* ---- What anti-entropy reads (store_leaf.c) ---- */

enum kith_err store_sums_read(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_absorb(struct store_worker *worker, const struct kith_store_op *op,
                           struct kith_store_done *done);
enum kith_err store_leaf_read(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_chunk_list(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done);
enum kith_err store_chunk_lack(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done);
enum kith_err store_meta_put(struct store_worker *worker, const struct kith_store_op *op,
                             struct kith_store_done *done);
enum kith_err store_chunk_put(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_chunk_get(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_chunk_sync(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done);

/* ---- store_sweep.c ---- */

enum kith_err store_sweep_list(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done);
enum kith_err store_sweep_look(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done);
enum kith_err store_sweep_step(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done);
enum kith_err store_chunk_lease(struct store_worker *worker, const struct kith_store_op *op,
                                struct kith_store_done *done);
/* Whether the chunk under that key was swept here a short time ago. */
KITH_MUST_CHECK enum kith_err store_chunk_gone(struct store_worker *worker, struct kith_bytes key,
                                               bool *ret_gone);
/* All marks of a partition that others own. */
KITH_MUST_CHECK enum kith_err store_marks_forget(struct store_worker *worker, uint32_t partition);
struct store_refs;
/* Which chunks an operation names anew without leave (struct kith_refs_rule). */
struct store_unleased {
    const struct kith_refs_rule *rule;
    bool own; /* what rows here name may be named */
    uint32_t count, dropped_count;
    struct kith_chunk_id *ids;     /* so far; in the round's arena */
    struct kith_chunk_id *dropped; /* named before by rows that the operation has changed; ascending */
};
void store_unleased_begin(struct store_unleased *check, const struct kith_refs_rule *rule,
                          bool own);
/* One of its rows, before the index is changed. */
KITH_MUST_CHECK enum kith_err store_unleased_check(struct store_worker *worker,
                                                   struct store_unleased *check,
                                                   const struct store_refs *before,
                                                   const struct store_refs *after);
/* ECANCELED and the list in done, where there are any. */
KITH_MUST_CHECK enum kith_err store_unleased_end(struct store_worker *worker,
                                                 struct store_unleased *check,
                                                 struct kith_store_done *done);

/* ---- store_damage.c ---- */

/* At open: how many are set aside. */
KITH_MUST_CHECK enum kith_err store_damage_count(struct kith_store *store);
/* After a round: sets aside what its operations have met; their dones say how many. True: it has
 * written. */
bool store_damage_settle(struct store_worker *worker, const struct store_task *tasks,
                         uint32_t count);
/* Whether the row, or chunk, under that key is set aside; moves the cursor of `bad`. */
KITH_MUST_CHECK enum kith_err store_damage_aside(struct store_worker *worker, struct kith_bytes key,
                                                 bool *ret_aside);
/* Whether the operation would read what is set aside. */
bool store_damage_bars(struct store_worker *worker, const struct kith_store_op *op);
/* What of the partition was set aside is not to come back: other nodes own it. */
KITH_MUST_CHECK enum kith_err store_damage_forget(struct store_worker *worker, uint32_t partition);
/* SCRUB: what of the partition was gone when it was set aside, and that no other owner has, is not to
 * come back either. */
KITH_MUST_CHECK enum kith_err store_damage_nowhere(struct store_worker *worker,
                                                   const struct kith_store_op *op);
/* The operation may have brought what was set aside. */
KITH_MUST_CHECK enum kith_err store_damage_mended(struct store_worker *worker,
                                                  const struct kith_store_op *op);

/* ---- What is kept for others (store_hint.c) ---- */

/* Reads the table, at open: how much there is. */
KITH_MUST_CHECK enum kith_err store_hints_load(struct kith_store *store, struct kith_error *error);
/* After a commit; after a rollback. */
void store_hints_commit(struct store_worker *worker);
void store_hints_rollback(struct store_worker *worker);
/* Plain ones are as many bytes as may be. */
bool store_hints_full(const struct kith_store *store);
struct kith_store_hints store_hints_total(const struct kith_store *store);
/* The record in a hint, empty where there is none; borrowed from the page. */
KITH_MUST_CHECK enum kith_err store_hint_record(struct store_worker *worker, uint32_t partition,
                                                const struct kith_key *key,
                                                struct kith_bytes *ret_record);
/* One row of a PUT or MERGE; as store_put and store_merge do with `rows`. */
KITH_MUST_CHECK enum kith_err store_hint_put(struct store_worker *worker,
                                             const struct kith_store_op *op,
                                             const struct kith_put_update *update,
                                             struct kith_rowop_result *result,
                                             struct store_unleased *check);
/* What a merge notes in a record: whose it is, and when. */
struct store_request {
    const struct kith_request_id *id; /* all zero: nobody's */
    uint64_t wall_ms;
    bool retry; /* see struct kith_rowop_env */
};
KITH_MUST_CHECK enum kith_err store_hint_merge(struct store_worker *worker, uint32_t partition,
                                               const struct kith_key *key,
                                               const struct kith_replica_row *incoming,
                                               const struct store_request *request,
                                               const struct kith_hint_want *want);
/* Notes that a row of ours is thin. */
KITH_MUST_CHECK enum kith_err store_hint_mark(struct store_worker *worker, uint32_t partition,
                                              const struct kith_key *key,
                                              const struct kith_hint_want *want, uint64_t wall_ms);
enum kith_err store_hint_note(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_hint_page(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_hint_ack(struct store_worker *worker, const struct kith_store_op *op,
                             struct kith_store_done *done);
enum kith_err store_hint_drop(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_hint_list(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);

/* ---- store_reap.c ---- */

struct store_floor_slot {
    struct store_floor *known; /* NULL: none is in force */
    bool read;                 /* else the record was not looked at yet */
};
/* At open. No floor is true any more where something was set aside (store_aside.c): they go. */
KITH_MUST_CHECK enum kith_err store_floors_init(struct kith_store *store);
void store_floors_release(struct kith_store *store);
/* The floor that rows of the partition are held against; NULL: none. Moves the cursor of rows. */
KITH_MUST_CHECK enum kith_err store_floor_get(struct store_worker *worker, uint32_t partition,
                                              const struct kith_floor **ret_floor);
KITH_MUST_CHECK enum kith_err store_floor_drop(struct store_worker *worker, uint32_t partition);
/* The row under that key was gone (kith_row_is_gone), or is. */
KITH_MUST_CHECK enum kith_err store_gone_change(struct store_worker *worker, struct kith_bytes key,
                                                bool was, bool is);
enum kith_err store_reap_list(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done);
enum kith_err store_reap(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done);

/* What rowop.h does, with the counters and runs of this store (store_rows.c). */
KITH_MUST_CHECK enum kith_err store_rowop_put(struct store_worker *worker,
                                              const struct kith_store_op *op,
                                              const struct kith_key *key, struct kith_bytes old,
                                              const struct kith_put_update *update,
                                              const struct kith_floor *floor,
                                              struct kith_rowop_result *result);
KITH_MUST_CHECK enum kith_err store_rowop_merge(struct store_worker *worker,
                                                const struct kith_key *key, struct kith_bytes old,
                                                const struct kith_replica_row *incoming,
                                                const struct store_request *request,
                                                const struct kith_floor *floor,
                                                struct kith_rowop_result *result);

/* Adds up the leaf that begins with the prefix (partition, leaf): damaged records count as entries
 * and in *damaged, and rows in *bytes. */
KITH_MUST_CHECK enum kith_err store_damage_sum(struct store_worker *worker,
                                               const uint8_t prefix[3],
                                               struct store_leaf *ret_leaf, uint32_t *damaged,
                                               uint64_t *bytes);

/* ---- store_scrub.c ---- */

#define STORE_SCRUB_CHUNKS 32u
#define STORE_SCRUB_ROWS   512u /* or so: the rest of the leaf comes, too */
#define STORE_SCRUB_BYTES  (4u << 20) /* then a page is full: what a request may have to wait for */
struct store_scrub_page { /* chunks of a leaf */
    uint32_t count;
    bool more;
    uint8_t keys[STORE_SCRUB_CHUNKS][KITH_CHUNK_KEY_SIZE];
};
KITH_MUST_CHECK enum kith_err store_scrub_page(struct store_worker *worker,
                                               const struct kith_store_op *op,
                                               const uint8_t prefix[3],
                                               struct store_scrub_page *ret_page);
enum kith_err store_scrub(struct store_worker *worker, const struct kith_store_op *op,
                          struct kith_store_done *done);

/* ---- store_refs.c ---- */

/* Brings `refs` in step: the chunks that `referrer` named before and names now. */
struct store_refs {
    uint32_t count;
    struct kith_chunk_id *ids; /* ascending, distinct */
};
KITH_MUST_CHECK enum kith_err store_refs_of_row(struct kith_arena *arena,
                                                const struct kith_row *row,
                                                struct store_refs *ret_refs);
/* Of the row whose record is under `key` in `rows`. ECORRUPT: it is damaged. */
KITH_MUST_CHECK enum kith_err store_refs_of_record(struct store_worker *worker,
                                                   struct kith_arena *arena,
                                                   struct kith_bytes key,
                                                   struct kith_bytes record,
                                                   struct store_refs *ret_refs);
KITH_MUST_CHECK enum kith_err store_refs_of_ids(struct kith_arena *arena,
                                                const struct kith_chunk_id *ids, uint32_t count,
                                                struct store_refs *ret_refs);
KITH_MUST_CHECK enum kith_err store_refs_change(struct store_worker *worker,
                                                const struct store_refs *before,
                                                const struct store_refs *after,
                                                enum store_referrer kind,
                                                struct kith_bytes referrer);
struct kith_bytes store_ref_key(const struct kith_chunk_id *id, enum store_referrer kind,
                                struct kith_bytes referrer, uint8_t buffer[KITH_REF_KEY_MAX]);

/* ---- store_stale.c ---- */

/* The row under that key is not what that damaged record was any more, and names those in `kept`:
 * what the record named beside goes, as far as it can be read, and the rest is looked for. */
KITH_MUST_CHECK enum kith_err store_stale_read(struct store_worker *worker, struct kith_bytes key,
                                               struct kith_bytes record,
                                               const struct store_refs *kept);
/* With a SCRUB of rows: looks through some of the index, for what is left of such rows. */
KITH_MUST_CHECK enum kith_err store_stale_walk(struct store_worker *worker);

/* ---- Keys (store_rows.c, chunks.c) ---- */

struct kith_bytes store_row_key(uint32_t partition, const struct kith_group *group,
                                struct kith_bytes name, uint8_t buffer[KITH_ROW_KEY_MAX]);
struct kith_bytes store_leaf_key(uint32_t partition, uint32_t leaf, const struct kith_group *group,
                                 struct kith_bytes name, uint8_t buffer[KITH_LEAF_KEY_MAX]);
struct kith_bytes store_chunk_key(uint32_t partition, const struct kith_chunk_id *id,
                                  uint8_t buffer[KITH_CHUNK_KEY_SIZE]);
struct kith_chunk_id store_chunk_id(struct kith_bytes key);

/* A chunk's record, decoded; see chunks.c for its bytes. */
struct store_chunk {
    struct kith_checksum checksum;
    uint32_t size;
    uint32_t ref_count;
    const uint8_t *refs; /* ref_count * KITH_CHUNK_ID_SIZE bytes */
    bool in_segment;
    uint32_t segment;
    uint64_t offset;
    struct kith_bytes contents; /* when not in a segment */
};
KITH_MUST_CHECK enum kith_err store_chunk_decode(struct kith_bytes record, struct store_chunk *ret);
/* What a chunk adds to its leaf (kith_tree_chunk_leaf). */
struct kith_checksum store_chunk_hash(const struct kith_store *store,
                                      const struct kith_chunk_id *id,
                                      const struct kith_checksum *checksum);
/* Reads `size` bytes from `offset` of the contents. ECORRUPT when the segment ends before. */
KITH_MUST_CHECK enum kith_err store_chunk_read(struct kith_store *store,
                                               struct kith_segment_cache *cache,
                                               const struct store_chunk *chunk, uint32_t offset,
                                               uint32_t size, uint8_t *buffer);
/* Whether its contents are whole. */
KITH_MUST_CHECK enum kith_err store_chunk_check(struct store_worker *worker,
                                                const struct store_chunk *chunk, bool *ret_good);
/* Removes everything that is kept of a chunk, in the worker's transaction. */
KITH_MUST_CHECK enum kith_err store_chunk_remove(struct store_worker *worker,
                                                 struct kith_bytes key);

/* ---- store_meta.c ---- */

KITH_MUST_CHECK enum kith_err store_meta_load(struct kith_store *store, struct kith_error *error);
/* Keeps secret and Q for the next start. */
KITH_MUST_CHECK enum kith_err store_config_keep(struct kith_store *store);
void store_meta_release(struct kith_store *store);

/* ---- store_space.c ---- */

#define STORE_PAGES_ROW   (128u << 10) /* bytes of pages that a written row may make dirty */
#define STORE_PAGES_REF   (16u << 10)  /* ... and each of its references */
#define STORE_PAGES_CHUNK (144u << 10) /* ... and a chunk */

/* First of all; and last of all. */
void store_space_prepare(struct store_space *space);
void store_space_release(struct store_space *space);
/* Before WiredTiger is opened: the disk's size in bytes, and what is kept back of it. */
uint64_t store_space_disk(struct kith_store *store);
void store_space_size(struct kith_store *store, uint64_t reserve_bytes);
/* Afterwards; gives what WiredTiger said. */
int store_space_init(struct kith_store *store);
KITH_MUST_CHECK bool store_space_start(struct kith_store *store);
void store_space_stop(struct kith_store *store); /* after the workers */
/* Looks at the disk again when that was a second ago. */
void store_space_look(struct kith_store *store);
/* Whether the disk has not even left what small things need. Looks at it. */
bool store_space_is_gone(struct kith_store *store);
/* Whether nobody will have to wait for room soon. */
bool store_space_wide(struct kith_store *store);
enum store_space_use { STORE_SPACE_VALUE, STORE_SPACE_SMALL };
/* Whether the disk can take it: `bytes` for the log and the tables, pages included. Promises them
 * to the worker's operation. May wait for a checkpoint. From the worker's seat. */
bool store_space_allows(struct store_worker *worker, enum store_space_use use, uint64_t bytes);
/* What was promised last has been committed or rolled back. */
void store_space_settle(struct store_worker *worker);
/* Answers with ENOSPC. */
enum kith_err store_fail_space(struct store_worker *worker, struct kith_store_done *done);
extern const char *const store_tables[];
extern const size_t store_table_count;

#endif
