/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pending.h - what the core remembers of a request, or of work of its own, while it is under way. */
#ifndef KITH_CORE_PENDING_H
#define KITH_CORE_PENDING_H

#include "base/assert.h"
#include "core/limits.h"
#include "core/members/swim.h"
#include "core/node.h"
#include "core/table/decide.h"
#include "core/table/inquiry.h"
#include "data/hlc.h"
#include "data/quorum.h"
#include "data/tree.h"

/* ---- Pending: one request under way ---- */

enum pending_kind {
    PENDING_FREE = 0,
    PENDING_PUT,        /* put.c */
    PENDING_MERGE,      /* replicate.c: a store op for a coordinator */
    PENDING_READ,       /* get.c: GET, SCAN, FIND */
    PENDING_REPAIR,     /* repair.c */
    PENDING_CHUNK,      /* chunk.c */
    PENDING_STATUS,     /* status.c */
    PENDING_META,       /* meta.c */
    PENDING_ADMIN,      /* join.c: INIT_REQ, JOIN_CMD */
    PENDING_JOIN,       /* agree.c: a JOIN_REQ that waits for a decision */
    PENDING_VOTE,       /* agree.c: a vote that waits for a count or a record on disk */
    PENDING_EXCHANGE,   /* exchange.c */
    PENDING_FETCH,      /* exchange_chunks.c */
    PENDING_SCRUB,      /* scrub.c */
    PENDING_HANDOFF,    /* handoff.c: hints on their way to an owner */
    PENDING_ABSORB,     /* handoff.c: what comes that way */
    PENDING_HINTS,      /* handoff.c: the list of what is kept; what is too old */
    PENDING_SPACE,      /* space.c */
    PENDING_LEFTOVER,   /* leftovers.c */
    PENDING_SWEEP,      /* sweep.c */
    PENDING_SWEPT,      /* sweep_answer.c */
    PENDING_REAP,       /* reap.c */
    PENDING_LEASE,      /* lease.c */
    PENDING_RELAY,      /* relay.c: a copy that was passed on */
    PENDING_KINDS
};

enum put_phase {
    PUT_FIND,
    PUT_MERGE,
    PUT_STORE,
    PUT_SPREAD,
    PUT_REREAD, /* the states are read again, for more nodes to stand in */
    PUT_NOTE,   /* it is noted on disk that there are too few copies */
    PUT_LEASE,  /* chunks that it refers to are leased; then STORE again */
};

/* Other owners, and who stands in for them. */
#define KITH_PUT_PLACES (2u * KITH_REPLICAS_MAX)

/* What was leased for a put or a chunk. */
struct pending_leases {
    uint32_t rounds, count;
    struct kith_chunk_id *ids; /* in the arena, ascending */
};

struct pending_put {
    enum put_phase phase;
    enum kith_durability durability;
    uint32_t w;
    uint32_t need;   /* copies for an answer: w, or fewer where fewer nodes are alive */
    uint32_t w_min;
    struct kith_quorum quorum; /* which of the owners must have it, beside `need`; no set: any */
    bool strict;     /* only owners count */
    bool lingers;    /* answered; copies through relays are still on their way */
    bool owner;      /* we are one; else we stand in */
    bool value;      /* not only deletes: nodes without room are left out */
    bool thin;       /* it is noted that there are fewer than w copies */
    bool own_due;    /* our own copy is on its way to `durability` */
    uint32_t copies;        /* stores that have it at `durability`, and count */
    uint32_t owner_copies;  /* those of owners */
    uint8_t other_count;    /* other owners: the first of the places */
    uint8_t place_count;
    uint16_t others[KITH_PUT_PLACES]; /* peers */
    uint16_t stands_for[KITH_PUT_PLACES]; /* behind the owners: the member */
    uint16_t waiting; /* bit i: an answer of others[i] is due */
    uint16_t urgent;  /* bit i: the answer to the client waits for others[i] */
    uint16_t counts;  /* bit i: its copy counts */
    uint16_t got;     /* bit i: it has said that it has it */
    uint16_t asked;   /* bit i: it was sent the states (before), and is not asked again */
    uint16_t relayed; /* bit i: through others[via[i]], and his answer is due that way */
    uint16_t direct;  /* bit i: that has failed; he is to be sent them directly */
    uint8_t via[KITH_PUT_PLACES];
    uint64_t spread_ms;          /* when the copies went out */
    uint64_t hedged_ms;          /* when those that are late were last looked at */
    uint64_t find_until_ms;      /* PUT_FIND: then it is carried out without the rest */
    struct kith_table_id table;     /* under which it began */
    const struct kith_put_req *req; /* in the message (while its op is out) or in the arena */
    uint32_t result_count;
    struct kith_put_result *results; /* in the arena, like names */
    struct kith_bytes *names;
    struct pending_leases leases;
    struct kith_group group; /* from PUT_SPREAD on, when req may be gone; so the next one */
    struct kith_request_id request;
    bool retry;
};

struct pending_relay { /* to one owner */
    uint16_t peer;
    bool chunk; /* else rows */
    struct kith_uuid node;
};

struct pending_repair {
    uint16_t peer;
    bool waiting;
    struct kith_group group;
    uint32_t name_count;
    struct kith_bytes *names;       /* in the arena */
    uint32_t row_count;             /* of those that are merged */
    struct kith_replica_row *rows;  /* in the arena */
};

enum exchange_phase {
    EXCHANGE_SUMS,       /* our leaves are being read */
    EXCHANGE_SUMS_ASKED,
    /* exchange_rows.c */
    EXCHANGE_LEAF,       /* the hashes of our rows of those that differ are */
    EXCHANGE_LEAF_ASKED,
    EXCHANGE_ABSORB,     /* his rows are being merged */
    /* exchange_chunks.c */
    EXCHANGE_LIST_ASKED, /* which chunks he has in those that differ */
    EXCHANGE_LACK,       /* which of them are not here is being read */
    EXCHANGE_FETCH,      /* they are being fetched */
};

struct pending_exchange {
    enum exchange_phase phase;
    uint32_t pair;     /* index */
    uint16_t peer;
    bool chunks;       /* else rows */
    bool first;        /* something is known to be missing */
    bool paused;       /* it goes on when it is looked at next */
    bool failed;       /* something of his could not be brought here */
    bool rested;       /* it has paused before what comes next */
    bool waiting;      /* for his answer */
    uint64_t until_ms; /* no further leaf is begun then */
    uint64_t taken;    /* rows, or chunks, that it has brought */
    struct kith_sum *sums; /* in the arena, until they are compared */
    struct kith_leaf_set want; /* the leaves that differ */
    uint32_t leaf;             /* those from this one on are still to be fetched */
    uint32_t end;              /* and those before this one are asked for */
    /* the page at work, in the arena */
    bool more; /* some of these leaves are left there */
    bool progress; /* the page has brought something */
    uint32_t row_count, told; /* rows; those that who watches was told of */
    const struct kith_leaf_row *rows;
    struct kith_chunk_id after; /* the last chunk of the page */
    bool has_after;
    uint32_t lack_count, lack_at; /* chunks that are not here; the next one to be fetched */
    const struct kith_chunk_entry *lack;
    uint32_t fetches; /* under way */
};

struct pending_fetch { /* one chunk */
    uint64_t parent;   /* the exchange's pending */
    uint16_t peer;
    bool waiting;      /* for his answer */
    struct kith_chunk_entry chunk;
};

enum handoff_phase {
    HANDOFF_PAGE,   /* hints are being read */
    HANDOFF_ASKED,  /* they are on their way */
    HANDOFF_ABSORB, /* this node owns the partition by now: they are being merged here */
    HANDOFF_ACK,    /* it is being noted that they are there */
    HANDOFF_PAUSE,  /* the owner wants it to wait */
};

struct pending_handoff {
    enum handoff_phase phase;
    uint16_t peer; /* KITH_NO_PEER: this node itself */
    struct kith_uuid node;
    struct kith_table_id table;
    uint32_t partition;
    uint32_t w;
    uint32_t owner_count;
    struct kith_uuid owners[KITH_HOLDERS_MAX]; /* those to be among them */
    bool waiting; /* for its answer */
    bool more;
    bool has_after; /* where this page begins; in the arena, like the next ones */
    struct kith_group after_group, last_group;
    struct kith_bytes after_name, last_name;
    uint32_t row_count;
    const struct kith_leaf_row *rows;
    uint32_t singly;  /* so many rows go one by one: a page of them failed */
    uint32_t failed;  /* ABSORB: rows that did not merge */
    uint32_t wait_ms; /* before the next page */
    uint64_t rows_sent;
};

struct pending_absorb {
    const struct kith_handoff_req *req; /* in the message, while its op is out */
    uint32_t failed;
};

enum sweep_phase { /* in this order; those without chunks are passed over */
    SWEEPING_LIST,
    SWEEPING_ASK,
    SWEEPING_CLEAR,   /* what was condemned, and is referred to */
    SWEEPING_DOOM,
    SWEEPING_DELETE,
    SWEEPING_CONDEMN,
    SWEEPING_END
};

struct sweep_item {
    struct kith_sweep_chunk chunk;
    bool ripe;    /* condemned so long ago that it may be doomed; else it is to be condemned */
    bool kept;    /* something refers to it */
    bool refused; /* some owner has not taken the step of `phase`, or one before it */
};

struct pending_sweep {
    enum sweep_phase phase;
    uint32_t partition;
    struct kith_table_id table;
    bool more; /* pages follow, behind `last` */
    struct kith_chunk_id last;
    uint64_t stamp;   /* for CONDEMN */
    /* in the arena */
    uint32_t item_count;
    struct sweep_item *items;
    uint32_t chunk_count;  /* those of the phase */
    struct kith_sweep_chunk *chunks;
    struct inquiry inquiry; /* of this phase */
};

enum reap_phase { /* LIST, then PROMOTE and REMOVE; or ASK to SET */
    REAPING_LIST,
    REAPING_PROMOTE,
    REAPING_REMOVE,
    REAPING_ASK,
    REAPING_SUMS,
    REAPING_EQUAL,
    REAPING_SET
};

struct reap_entry {
    uint64_t run, counter; /* the highest in the clock of a row that is gone */
    uint64_t floor;        /* 0: nobody has said anything of that run */
};

struct pending_reap {
    enum reap_phase phase;
    uint32_t partition;
    struct kith_table_id table;
    bool has_after; /* LIST goes on behind this one */
    struct kith_group after_group;
    struct kith_bytes after_name;
    uint64_t stamp, next_stamp; /* of the floors here; then, the one that is worked with */
    bool next_ripe;
    uint64_t ready, others; /* rows that are gone; struct kith_floor_census */
    bool lacks, early;      /* PROMOTE: some owner has not got that floor, or not long enough */
    bool more;              /* REMOVE: some owner has more of them */
    bool checks;            /* PROMOTE is only to say whether all have the same floor */
    bool mends;             /* some owner has not got the floor that others have in force */
    uint32_t looks;         /* at the sums */
    uint64_t look_ms;       /* when the next one is due, UINT64_MAX: one is under way */
    struct kith_leaf_set equal, look; /* leaves that were equal everywhere once; that are now */
    /* in the arena */
    struct inquiry inquiry;
    uint64_t *runs; /* by peer: the run that it is in, 0 = it has said nothing; then our own */
    uint32_t entry_count;
    struct reap_entry *entries; /* KITH_REAP_RUNS_MAX, ascending by run */
    struct kith_floor in_force; /* here; and, once EQUAL has been asked, at any owner */
    struct kith_floor goes;     /* with the step */
    struct kith_checksum *sums;
};

struct pending_lease {
    uint64_t parent; /* the pending that it is for */
    struct kith_table_id table;
    bool self_out;   /* our own store is at it, */
    bool self_done;
    uint32_t next;   /* members from this one on are still to be asked */
    uint32_t out;    /* answers that are due */
    /* in the arena */
    uint8_t *waits;  /* a bit for each of `waits_peers` */
    uint32_t waits_peers; /* there were; others come */
    uint32_t count;
    struct kith_chunk_id *ids;
    uint8_t *leased, *held; /* [count] owners that have; */
    bool *gone;             /* [count] one that refuses */
};

struct pending {
    enum pending_kind kind;
    bool op_out;   /* a store operation is out: the slot stays until its last completion */
    bool answered; /* the asker has his answer (or never wanted one) */
    bool recheck;  /* a peer was lost: look at it in the next tick */
    bool writing;  /* the operation that is out may bring data */
    bool may_wait; /* nobody waits for the answer */
    uint32_t slot;
    uint32_t heap_at; /* place in the heap of deadlines, KITH_NOT_HEAPED */
    uint32_t next_free;
    uint32_t bytes; /* of contents, in the message: it is held as long */
    uint64_t id; /* unique for ever: use * KITH_PENDING_MAX + slot */
    uint64_t deadline_ms;
    uint64_t due_ms; /* the heap's key: deadline_ms, or earlier to look at it */
    uint64_t conn;   /* who asked */
    uint64_t msg_id; /* of the question */
    enum kith_msg_kind asked;
    enum kith_durability durability; /* at which a write is answered */
    bool thin;                       /* a chunk that other owners are to be told of */
    struct kith_blob *blob; /* held, like the arena */
    struct kith_arena arena;
    union {
        struct pending_put put;
        struct pending_repair repair;
        struct pending_exchange exchange;
        struct pending_fetch fetch;
        struct {
            struct kith_checksum root; /* SUMS_REQ: the asker's */
            bool refilling;            /* ... and how it stood here when he asked */
        } read;
        struct {
            const struct kith_replicate_req *req; /* in the message, while its op is out */
            struct kith_hint_want want;           /* where it is a hint */
            struct kith_uuid target;
        } merge;
        struct pending_relay relay;
        struct pending_handoff handoff;
        struct pending_absorb absorb;
        struct pending_sweep sweep;
        struct pending_reap reap;
        struct pending_lease lease;
        struct {
            struct kith_chunk_put_req req; /* its lists in the arena, once it waits for leases */
            struct pending_leases leases;
            const struct kith_chunk_sync_req *lease; /* in the message, while its op is out */
        } chunk;
        struct {
            enum kith_meta_key key;
            void (*then)(struct kith_node *node, uint64_t arg, enum kith_err err);
            uint64_t arg;
        } meta;
        struct {
            struct kith_decide decide; /* in the arena what it points to */
            struct kith_uuid from;     /* who is to be answered; nil: our own proposer */
        } vote;
    } u;
};

#endif
