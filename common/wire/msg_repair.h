/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * msg_repair.h - messages by which owners bring each other to the same state, and agree on what may be
 * forgotten: trees, hints, sweeps of chunks, floors of what was deleted. Part of msg.h. */
#ifndef KITH_WIRE_MSG_REPAIR_H
#define KITH_WIRE_MSG_REPAIR_H

#include "wire/msg_data.h"

/* Anti-entropy: sums of a partition's leaves (data/tree.h, kith_sum_encode). */
struct kith_sums_req {
    struct kith_table_id table;
    uint32_t partition;
    struct kith_checksum root; /* the asker's sum of all leaves */
    bool chunks;               /* of the tree of chunks; else of that of rows */
    bool hurry;                /* the asker has what others may lack: they are to ask him, too */
};
struct kith_sums_res {
    struct kith_status status;
    struct kith_bytes table; /* ESTALE */
    uint32_t leaf_count;     /* 0: the root is the asker's */
    const struct kith_checksum *leaves;
    bool refilling; /* some of what was here was lost, and is not back yet */
};
/* The rows of some leaves that are not as the asker has them. */
struct kith_leaf_req {
    struct kith_table_id table;
    uint32_t partition;
    struct kith_leaf_set leaves;
    uint32_t have_count; /* hashes of (key, state) of the rows that the asker has in them */
    const struct kith_checksum *have;
    bool sums;                 /* with what a backup needs: the rows' hashes, and the sums */
    struct kith_checksum root; /* of what the asker has; where it is ours, there are no sums */
    /* with sums, of one leaf: only rows behind `after`, up to and with `until`, by group and name */
    bool part, has_after, has_until;
    struct kith_key after, until;
};
struct kith_leaf_row {
    struct kith_group group;
    struct kith_bytes name;
    struct kith_bytes state;   /* encoded */
    struct kith_checksum hash; /* not sent */
};
struct kith_leaf_res {
    struct kith_status status;
    struct kith_bytes table;
    bool more; /* ask again with what there is then */
    uint32_t row_count;
    const struct kith_leaf_row *rows; /* by leaf and key */
    /* where the question wanted them; of the partition as it was when the rows were read: */
    uint32_t hash_count; /* that of the rows */
    const struct kith_checksum *hashes;
    uint32_t sum_count; /* of all leaves; 0: more follows, or the root is the asker's */
    const struct kith_checksum *sums;
    bool part; /* false: from a node that knows no parts; else: */
    struct kith_checksum part_sum; /* of all rows of the part; with more: up to the last of these */
};
/* Which chunks there are in some leaves of the tree of chunks. */
struct kith_chunk_list_req {
    struct kith_table_id table;
    uint32_t partition;
    struct kith_leaf_set leaves;
    bool has_after; /* from behind `after` on, in its leaf; else from the first one */
    struct kith_chunk_id after;
};
struct kith_chunk_entry {
    struct kith_chunk_id id;
    struct kith_checksum checksum; /* of its contents */
    uint32_t size;                 /* of them */
};
struct kith_chunk_list_res {
    struct kith_status status;
    struct kith_bytes table;
    bool more; /* there are more behind the last one */
    uint32_t chunk_count;
    const struct kith_chunk_entry *chunks; /* by leaf and id */
};

/* Steps of a sweep of chunks that nobody refers to (core/collect/sweep.h). Who leads it asks all members, then
 * the owners. Under one table: ENOTREADY where the answerer has another, or is about to. */
enum kith_sweep_step {
    KITH_SWEEP_ASK = 1, /* does anything in your store refer to it? Answered once that is on disk */
    KITH_SWEEP_CONDEMN, /* owners: it may go, once so much time has passed and nobody wanted it */
    KITH_SWEEP_DOOM,    /* owners: that time has passed; from now on nobody may refer to it anew */
    KITH_SWEEP_DELETE,  /* owners: all have said so: it goes */
    KITH_SWEEP_CLEAR,   /* owners: something refers to it: the condemnation is void */
};
struct kith_sweep_chunk {
    struct kith_chunk_id id;
    uint64_t stamp; /* of the condemnation; one of another stamp is another */
};
struct kith_sweep_req {
    struct kith_table_id table;
    enum kith_sweep_step step;
    uint32_t partition; /* that of the chunks */
    uint32_t chunk_count;
    const struct kith_sweep_chunk *chunks;
};
struct kith_sweep_res {
    struct kith_status status;
    uint32_t kept_count; /* those for which the answer is no: in the order of the question */
    const struct kith_chunk_id *kept;
};

/* Steps of reaping what was deleted (core/collect/reap.h). Who leads it asks all members, then the owners.
 * Under one table: ENOTREADY where the answerer has another, or is about to. */
enum kith_reap_step {
    KITH_REAP_ASK = 1, /* members: what have you given out, and is all of it with owners? */
    KITH_REAP_EQUAL,   /* owners: which leaves of rows are as the asker's? */
    KITH_REAP_SET,     /* owners: note this as the next floor */
    KITH_REAP_PROMOTE, /* owners: bring it into force, if it is old enough */
    KITH_REAP_REMOVE,  /* owners: forget some tombstones at or under the floor in force */
};
struct kith_floor_entry { /* of a floor (core/rows/floor.h): every dot of the run, up to the counter */
    uint64_t run, counter;
};
struct kith_reap_req {
    struct kith_table_id table;
    enum kith_reap_step step;
    uint32_t partition;
    uint64_t stamp; /* SET, PROMOTE, REMOVE: of the floor */
    uint64_t run;   /* SET: the run that the answerer had in EQUAL; REFUSED under another one */
    uint32_t entry_count; /* ASK: runs that are asked for; SET: the floor */
    const struct kith_floor_entry *entries; /* strictly ascending by run */
    uint32_t sum_count; /* EQUAL: the asker's sums, of all leaves; else 0 */
    const struct kith_checksum *sums;
};
struct kith_reap_res {
    struct kith_status status;
    uint8_t verdict; /* PROMOTE, REMOVE: enum kith_floor_verdict */
    uint64_t run;    /* EQUAL: that the answerer is in */
    bool owes;       /* ASK: something is kept here for owners, or was left over */
    /* ASK: those of the runs that are the answerer's, in their order: what was drawn so far,
     * UINT64_MAX: an earlier run. EQUAL: the floor that is in force there. */
    uint32_t entry_count;
    const struct kith_floor_entry *entries;
    struct kith_leaf_set equal; /* EQUAL */
    uint32_t reaped;            /* REMOVE */
    bool more;
};

/* "A row, or a chunk, will refer to these older chunks": their owners sweep none of them for a
 * while. One that has no copy at the moment notes it all the same. */
struct kith_lease_req {
    struct kith_table_id table;
    uint32_t id_count;
    const struct kith_chunk_id *ids;
};
struct kith_lease_res {
    struct kith_status status;
    /* of those asked for, in their order: held here; refused, for they are being swept */
    uint32_t held_count, gone_count;
    const struct kith_chunk_id *held, *gone;
};

/* What was kept for an owner, handed to him: merged and flushed before the answer. One request at a
 * time from a sender; without rows it only asks for leave. */
struct kith_handoff_req {
    struct kith_table_id table;
    uint32_t partition;
    uint32_t row_count;
    const struct kith_leaf_row *rows;
};
struct kith_handoff_res {
    struct kith_status status; /* EBUSY: others hand over now */
    struct kith_bytes table;
    uint32_t wait_ms; /* the next one comes no sooner */
};

#endif
