/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store.h - the storage operations that the core asks for, and what comes back.
 *
 * The core never touches storage: it emits operations (node.h, KITH_EFFECT_STORE) and gets one or
 * two completions for each. node/store/store_wt.c carries them out on WiredTiger,
 * tests/sim/store_ops.c on a simulated disk; both build rows with the pure functions of rowop.h, so
 * that they cannot differ.
 *
 * Order: operations on one partition take effect in the order in which they were emitted. A read
 * sees every write that was completed before the read was emitted.
 *
 * Completions: a write that asks for durability `os` is completed once, when it is at `os`. One
 * that asks for `disk` is completed twice: at `os` (reached = OS, with the results) and at `disk`
 * (reached = DISK, without results). An error is always the last completion. AN ACKNOWLEDGEMENT IS
 * AN EFFECT OF A COMPLETION, never of arrival. */
#ifndef KITH_CORE_STORE_H
#define KITH_CORE_STORE_H

#include "core/rows/floor.h"
#include "core/rows/sweepop.h"
#include "data/tree.h"
#include "wire/msg.h"

enum kith_store_kind {
    KITH_STORE_PUT = 1,    /* coordinate: draw dots for a batch in one transaction */
    KITH_STORE_MERGE,      /* merge states of others */
    KITH_STORE_GET,        /* rows by name */
    KITH_STORE_SCAN,       /* rows of a group in name order */
    KITH_STORE_GROUPS,     /* groups of a volume that have a row without a name */
    KITH_STORE_FIND,       /* what a request id made, see kith_request_find_req */
    KITH_STORE_META_PUT,   /* the node's own small records; always disk; one completion (DISK) */
    KITH_STORE_CHUNK_PUT,
    KITH_STORE_CHUNK_GET,
    KITH_STORE_CHUNK_SYNC, /* always disk; one completion (DISK) */
    KITH_STORE_COUNT,      /* how much is held */
    KITH_STORE_SUMS,       /* the sums of a partition's leaves (tree.h) */
    KITH_STORE_LEAF,       /* the rows of some leaves */
    KITH_STORE_ABSORB,     /* merge rows of many groups, as they came from a leaf */
    KITH_STORE_CHUNK_LIST, /* the chunks of some leaves */
    KITH_STORE_CHUNK_LACK, /* which chunks are not here */
    KITH_STORE_SCRUB,      /* read a leaf: is all there as it was written? */
    /* What is kept for others (hintop.h). */
    KITH_STORE_HINT_NOTE,  /* rows of ours that stand on fewer than W copies; always disk, one
                              completion (DISK) */
    KITH_STORE_HINT_PAGE,  /* hints that an owner is to have */
    KITH_STORE_HINT_ACK,   /* an owner has them */
    KITH_STORE_HINT_DROP,  /* plain hints that are too old go */
    KITH_STORE_HINT_LIST,  /* which partitions have hints */
    KITH_STORE_DROP,       /* some of what is stored of a partition goes */
    /* Sweeping (sweep.h). The last three are always disk, one completion (DISK). */
    KITH_STORE_SWEEP_LIST, /* chunks that may have to go: older ones to which nothing here refers */
    KITH_STORE_SWEEP_LOOK, /* to which of these something here refers; all that it says is on disk */
    KITH_STORE_SWEEP_STEP, /* CONDEMN, DOOM, DELETE (sweepop.h) */
    KITH_STORE_CHUNK_LEASE,
    /* Reaping (reap.h). */
    KITH_STORE_REAP_LIST, /* what there is of rows that are gone */
    KITH_STORE_REAP,      /* a step; always disk, one completion (DISK) */
};

/* That a write is kept for others; beside a PUT, MERGE or HINT_NOTE. */
struct kith_hint_want {
    bool custody; /* it counts as a copy: never dropped, never refused for their number */
    bool thin;    /* the row is among our own, and is marked; else the hint has the row */
    uint32_t target_count;
    const struct kith_uuid *targets; /* owners that are to have it */
};

/* What a PUT or CHUNK_PUT may refer to: chunks that are young (kith_chunk_is_young), those to which
 * a row of our own refers already, which goes on in the same transaction (`own`: our rows are not those
 * of an old disk), and those that were leased for it. Others: it is ECANCELED, nothing is written, and they are named. */
struct kith_refs_rule {
    uint64_t now_ms, grace_ms; /* grace 0: there is no sweeping, and all may be */
    bool own;
    uint32_t leased_count;
    const struct kith_chunk_id *leased; /* ascending */
};

/* A chunk that nothing here refers to, with its mark (sweepop.h). */
struct kith_sweep_entry {
    struct kith_chunk_id id;
    uint64_t stamp;
    bool ripe;  /* DOOM is due */
    bool fresh; /* CONDEMN is */
};

enum kith_meta_key { /* what META_PUT writes; all are given back at the start, see kith_start */
    KITH_META_NODE = 1,     /* node uuid, 16 bytes, with incarnation u64 */
    KITH_META_CLUSTER = 2,  /* encoded kith_cluster */
    KITH_META_TABLE = 3,    /* encoded table */
    KITH_META_DECIDE = 4,   /* Paxos: promises and acceptances */
    KITH_META_MEMBERS = 5,  /* last known membership records */
    KITH_META_SCRUB = 6,    /* how far the scrub is (scrub.c) */
    KITH_META_MOVE = 7,     /* the table whose moves to this node are done (moves.c) */
    KITH_META_FLUSH = 8,    /* nothing: written so that all that was stored before is on disk */
    KITH_META_LOST = 9,     /* what the disk has lost, and is not back yet (refill.h) */
    KITH_META_RUNS = 10,    /* the runs of this disk, u64 (LE) each, newest last: the store's own */
    KITH_META_ALIVE = 11,   /* when its node was last known to run (aged.h) */
    KITH_META_KEYS = 12,
};

#define KITH_DROP_MAX 256u /* rows or chunks in one DROP; rows in one REMOVE */
#define KITH_RUNS_MAX 8192u /* in KITH_META_RUNS: the oldest are forgotten, their tombstones stay */

struct kith_store_op {
    uint64_t id; /* the core's; comes back in the completion */
    enum kith_store_kind kind;
    uint32_t partition;
    enum kith_durability durability;
    /* What the op points to lies in the message of the event that is being handled (the shell holds
     * its box for the life of the op) or in core memory that stays until the last completion. */
    union {
        struct {
            struct kith_group group;
            struct kith_request_id request;
            struct kith_bytes writer;
            uint64_t time;    /* HLC for all siblings of the batch */
            uint64_t wall_ms; /* for the request log's hour */
            bool retry;       /* see struct kith_rowop_env; in merge, too */
            uint32_t update_count;
            const struct kith_put_update *updates;
            const struct kith_hint_want *hint; /* NULL: nothing is kept for others */
            struct kith_refs_rule refs;
        } put;
        struct {
            struct kith_group group;
            struct kith_request_id request; /* all zero: none to note */
            uint64_t wall_ms;
            bool retry;
            uint32_t row_count;
            const struct kith_replica_row *rows;
            /* NULL: into our own rows. Else into hints; a plain one is ELIMIT where there are too
             * many. */
            const struct kith_hint_want *hint;
        } merge;
        struct {
            struct kith_group group;
            bool hints; /* of hints, not of our own rows; so in scan and find */
            bool digest;
            uint32_t name_count;
            const struct kith_bytes *names;
        } get;
        struct {
            struct kith_group group;
            bool hints;
            bool has_after;
            struct kith_bytes after;
            uint32_t max_rows;
            uint32_t max_bytes;
        } scan;
        struct {
            uint32_t volume;
            bool has_after; /* those behind `after` */
            struct kith_group after;
        } groups; /* up to KITH_GROUPS_MAX */
        struct {
            struct kith_group group;
            bool hints;
            struct kith_request_id request;
            uint32_t name_count;
            const struct kith_bytes *names;
        } find;
        struct {
            enum kith_meta_key key;
            struct kith_bytes value;
        } meta;
        struct {
            struct kith_chunk_id id;
            struct kith_checksum checksum;
            uint32_t ref_count;
            const struct kith_chunk_id *refs;
            struct kith_blob *payload; /* the store holds its own reference */
            struct kith_refs_rule rule;
        } chunk_put;
        struct {
            struct kith_chunk_id id;
            uint32_t offset;
            uint32_t size; /* 0 = to the end */
            bool refs;     /* they are wanted, too */
        } chunk_get;
        struct {
            struct kith_leaf_set leaves;
            bool has_after; /* from behind this one on, in its leaf */
            struct kith_chunk_id after;
        } chunk_list; /* up to KITH_CHUNK_LIST_MAX; one whose record is damaged is left out */
        struct {
            uint32_t count; /* of the partition, at most KITH_CHUNK_LIST_MAX */
            const struct kith_chunk_entry *chunks;
        } chunk_lack;
        struct {
            bool chunks; /* else rows */
            uint32_t leaf;  /* this one, and those behind it as far as little is in them */
            bool has_after; /* chunks: go on behind this one */
            struct kith_chunk_id after;
            /* Rows, from leaf 0 on: all other owners' rows have been compared with, from the first
             * leaf to the last, since then (monotonic, in ms, as in events). What was gone, was set
             * aside before that, and has not come back is so nowhere else. 0: they have not, or
             * there are none. */
            uint64_t compared_ms;
        } scrub;
        struct {
            uint32_t id_count;
            const struct kith_chunk_id *ids;
        } chunk_sync;
        struct {
            bool chunks; /* of the tree of chunks; else of that of rows */
        } sums;
        struct {
            struct kith_leaf_set leaves;
            bool digest; /* the hashes alone, of up to KITH_LEAF_HASHES_MAX rows */
            /* else: those rows whose hash is not among these, KITH_LEAF_ROWS_MAX or
             * KITH_PAGE_BYTES_MAX of states, at least one, those of one leaf before those of the next.
             * A row that does not fit its checksum is left out and logged. */
            uint32_t have_count;
            const struct kith_checksum *have;
            bool sums; /* and those of all leaves, as of the same moment */
            /* of one leaf: only rows behind `after`, up to and with `until`, by group and name */
            bool part, has_after, has_until;
            struct kith_key after, until;
        } leaf;
        struct {
            uint64_t wall_ms;
            uint32_t row_count; /* each key once */
            const struct kith_leaf_row *rows;
        } absorb;
        struct {
            struct kith_group group;
            uint64_t wall_ms;
            uint32_t name_count;
            const struct kith_bytes *names;
            const struct kith_hint_want *hint;
        } hint_note;
        struct {
            struct kith_uuid node; /* that wants them; our own: those that we own by now */
            uint32_t owner_count;  /* of the partition, by the newest table */
            const struct kith_uuid *owners;
            uint32_t w; /* as in HINT_ACK */
            bool has_after; /* start behind this key */
            struct kith_group after_group;
            struct kith_bytes after_name;
            uint32_t max_rows; /* 0 = KITH_LEAF_ROWS_MAX */
        } hint_page;
        struct {
            struct kith_uuid node;
            uint32_t owner_count;
            const struct kith_uuid *owners;
            uint32_t w; /* so many owners are to have what was counted as a copy */
            uint32_t row_count;
            const struct kith_leaf_row *rows; /* with the hashes of what was sent */
        } hint_ack;
        struct {
            uint64_t before_ms; /* wall: what was first kept before that */
        } hint_drop;
        struct {
            bool chunks; /* else rows; up to KITH_DROP_MAX at a time */
        } drop;
        struct {
            uint64_t now_ms, grace_ms; /* as sweepop.h has them; so in the next ones */
            bool marks_only; /* forget marks that say nothing any more; list nothing */
            bool has_after;  /* from behind this one on */
            struct kith_chunk_id after;
        } sweep_list; /* a condemnation of what is referred to here is void then */
        struct {
            uint64_t now_ms, grace_ms;
            enum kith_sweep_step step; /* STEP */
            uint32_t count;            /* at most KITH_SWEEP_MAX, of the partition */
            const struct kith_sweep_chunk *chunks;
        } sweep; /* LOOK, STEP */
        struct {
            uint64_t now_ms, grace_ms;
            uint32_t count; /* of any partitions */
            const struct kith_chunk_id *ids;
        } lease;
        struct {
            uint64_t now_ms, grace_ms;
            bool has_after; /* from behind this one on */
            struct kith_group after_group;
            struct kith_bytes after_name;
        } reap_list;
        struct {
            enum kith_reap_step step;
            uint64_t now_ms, grace_ms;
            uint64_t stamp, run; /* as in struct kith_reap_req; so is what follows */
            uint32_t entry_count;
            const struct kith_floor_entry *entries;
            const struct kith_checksum *sums; /* EQUAL: KITH_TREE_LEAVES */
            bool owner; /* ASK: of the partition; else it is to hold no row of it */
        } reap;
    } u;
};

struct kith_store_put_row {
    struct kith_dot dot;
    uint64_t time;           /* of the sibling; an earlier one where the request was a duplicate */
    struct kith_bytes state; /* the whole row after the put, encoded */
};

/* What is kept for others, of a partition or in all. */
struct kith_store_hints {
    uint32_t partition; /* HINT_LIST */
    uint64_t count, bytes; /* thin rows are among the count, and have no bytes */
    uint64_t custody, thin;
    uint64_t first_ms; /* wall: the oldest of it, at most a while too old; 0: none */
};

/* Of a partition that has some. */
struct kith_store_conflicts {
    uint32_t partition;
    uint32_t files; /* in conflict; what a file is, and when that is so, the store knows */
};

struct kith_store_counts {
    uint64_t rows, chunks, chunk_bytes;
    uint64_t row_bytes; /* of the file that they lie in */
    uint64_t bad_rows, bad_chunks; /* damaged and set aside, and not back yet */
    uint64_t disk_total_bytes, disk_free_bytes;
    uint64_t disk_id; /* the same for stores on one disk, in this run of the system; 0: not known */
    uint64_t disk_room_bytes; /* of the free: what values may take */
    struct kith_store_hints hints;
    uint32_t conflict_count;                      /* of partitions; by COUNT alone, like the list */
    const struct kith_store_conflicts *conflicts; /* ascending */
};

/* How full the disk is. Each has what those before it have. */
enum kith_space {
    KITH_SPACE_WIDE = 0,
    KITH_SPACE_LOW,    /* background work that needs space stops */
    KITH_SPACE_SCARCE, /* nothing is kept for others that was not kept before */
    KITH_SPACE_FULL,   /* deletes and repairs only; other nodes leave it out */
};

/* Everything it points to stays valid until the event that carries it has been handled. */
struct kith_store_done {
    uint64_t id;
    enum kith_err err; /* OK; ELIMIT (too many siblings), ECANCELED (unleased), ETOOBIG, EINVAL, ENOSPC, EIO, ECORRUPT, ENOTFOUND */
    const char *message; /* for people, when err is not OK; may be "" */
    enum kith_durability reached;
    /* Rows or chunks of the partition that were met, do not fit their checksum, and were set aside:
     * they are missing here now, and other owners have them. Also with an error. */
    uint32_t damaged;
    uint32_t partition; /* the operation's */
    enum kith_space space; /* a second ago, at most */
    union {
        struct {
            bool duplicate; /* the request was known: nothing was written, these are its results */
            uint32_t row_count;
            const struct kith_store_put_row *rows;
        } put;
        struct { /* PUT, CHUNK_PUT: ECANCELED */
            uint32_t count;
            const struct kith_chunk_id *ids; /* ascending, each once */
        } unleased;
        struct {
            bool changed; /* at least one row was different before */
        } merge;
        struct {
            bool more; /* scan */
            uint32_t row_count;
            const struct kith_got_row *rows;
        } rows; /* GET and SCAN */
        struct {
            bool more;
            uint32_t count;
            const struct kith_group *groups; /* ascending */
        } groups;
        struct {
            bool found;
            uint32_t row_count;
            const struct kith_replica_row *rows;
        } find;
        struct {
            struct kith_checksum checksum; /* of the payload */
            uint32_t chunk_size;
            uint32_t ref_count; /* GET, where they are wanted */
            const struct kith_chunk_id *refs;
            struct kith_blob *payload; /* GET; the receiver holds its own reference to keep it */
        } chunk;
        struct {
            uint32_t missing_count;
            const struct kith_chunk_id *missing;
        } chunk_sync;
        struct {
            bool more;
            uint32_t count;
            const struct kith_chunk_entry *chunks;
        } chunk_list; /* CHUNK_LIST, and CHUNK_LACK: in the order of the question */
        struct {
            uint32_t leaf; /* to go on with; KITH_TREE_LEAVES: that was the last one */
            bool more; /* chunks: with those behind `after` */
            struct kith_chunk_id after;
            uint32_t count; /* rows, or chunks, that were read */
            uint64_t bytes;
            bool wrong; /* the leaf's sum was, and has been put right */
        } scrub; /* what was damaged: `damaged` above */
        struct kith_store_counts counts;
        const struct kith_sum *sums; /* SUMS: [KITH_TREE_LEAVES] */
        struct {
            bool more;
            uint32_t end; /* digest: the first leaf that is not there in full; else unused */
            uint32_t row_count;
            const struct kith_leaf_row *rows; /* digest: hashes only */
            const struct kith_sum *sums; /* [KITH_TREE_LEAVES] where they were asked for */
            bool part;                   /* as asked; then: */
            struct kith_sum part_sum; /* of all rows of it; with more: up to the last of these rows */
        } leaf;
        struct {
            uint32_t changed; /* rows */
            uint32_t failed;  /* each of them logged: the stored one is corrupt, or too large then */
        } absorb;
        struct {
            uint32_t count;
            const struct kith_store_hints *list;
        } hint_list;
        struct {
            uint32_t count; /* that went */
            bool more;
        } drop;
        /* HINT_PAGE: KITH_PAGE_BYTES_MAX of states, or one row. One that does not fit its checksum
         * is left out and logged. With `more` the next page begins behind `last`, and this one may
         * be empty: so many hints are for others. */
        struct {
            bool more;
            struct kith_group last_group;
            struct kith_bytes last_name;
            uint32_t row_count;
            const struct kith_leaf_row *rows; /* with hashes */
        } hint_page;
        struct {
            bool more; /* there are some behind `last` */
            struct kith_chunk_id last;
            uint32_t count; /* at most KITH_SWEEP_MAX */
            const struct kith_sweep_entry *chunks;
        } sweep_list;
        struct {
            uint32_t kept_count; /* LOOK: referred to; STEP: the step was not taken */
            const struct kith_chunk_id *kept; /* in the order of the question */
            uint32_t deleted;                 /* copies that went, */
            uint64_t bytes;                   /* and theirs */
        } sweep;
        struct {
            uint32_t held_count, gone_count; /* as kith_lease_res */
            const struct kith_chunk_id *held, *gone;
        } lease;
        struct {
            uint64_t stamp, next_stamp; /* of the floors, 0 = none */
            bool next_ripe;             /* the next one may come into force here */
            bool more;                  /* behind: */
            struct kith_group group;
            struct kith_bytes name;
            uint32_t ready, waiting, others; /* struct kith_floor_census */
            uint32_t entry_count;            /* its wish */
            const struct kith_floor_entry *entries;
            struct kith_floor floor; /* in force */
        } reap_list;
        struct {
            uint8_t verdict; /* as in struct kith_reap_res; so is what follows */
            uint64_t run;
            bool owes;
            uint32_t entry_count;
            const struct kith_floor_entry *entries;
            struct kith_leaf_set equal;
            uint32_t reaped;
            bool more;
        } reap; /* ECANCELED: SET under another run */
    } u;
};

#endif
