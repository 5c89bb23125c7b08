/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * msg_data.h - messages about rows and chunks: what clients ask of nodes, what coordinators ask of owners, and
 * what is told to who watches. Part of msg.h. */
#ifndef KITH_WIRE_MSG_DATA_H
#define KITH_WIRE_MSG_DATA_H

#include "wire/msg_base.h"

struct kith_put_update {
    struct kith_bytes name;
    /* The encoded row (row.h) that the writer read, with only those siblings that he keeps: its
     * clock is the context. Empty = a blind put. */
    struct kith_bytes context;
    bool has_sibling; /* false: a plain delete */
    uint8_t kind;
    uint32_t ref_count;
    const struct kith_chunk_id *refs;
    struct kith_bytes value;
};
/* To an owner, which becomes the coordinator. All updates are of one group, names distinct, applied
 * in one transaction under one request id. */
struct kith_put_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    struct kith_request_id request;
    bool retry; /* another coordinator may have it already: ask the replicas for the id first */
    enum kith_durability durability;
    uint32_t w; /* acknowledgements wanted; 0 = a majority of N */
    struct kith_group group;
    struct kith_bytes writer;
    uint32_t update_count;
    const struct kith_put_update *updates;
    bool strict;    /* only owners count; without w of them it is refused */
    uint32_t w_min; /* not strict: where fewer than w nodes are alive, so many suffice; 0 = 1 */
    bool fallback;  /* no owner can be reached: the receiver, which is none, stands in */
    enum kith_level level; /* LOCAL_QUORUM, EACH_QUORUM: beside w, which is 0; else QUORUM */
    const char *zone;      /* the caller's; NULL = "" */
};
struct kith_put_result {
    struct kith_dot dot;
    /* The row after the put without the writer's own sibling, encoded: at once the context of his
     * next put (its clock) and what he has to keep (its siblings: others' concurrent ones). */
    struct kith_bytes context;
    uint64_t time; /* of the new sibling; 0: this was a retry, and others have replaced it already */
};
struct kith_put_res {
    struct kith_status status; /* OK, EREFUSED.. (nothing happened), EUNKNOWN, ESTALE (table follows) */
    struct kith_bytes table;   /* with ESTALE: the newer table */
    uint32_t copies;           /* stores that have it at the durability asked */
    uint32_t result_count;
    const struct kith_put_result *results; /* in the order of the updates */
    uint32_t owners;                       /* owners among the copies */
    bool settled;                          /* these alone are enough for the level */
};

/* Reads one replica's rows. */
struct kith_get_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    bool digest; /* only the hashes of the states */
    struct kith_group group;
    uint32_t name_count;
    const struct kith_bytes *names;
    bool fallback; /* to a node that is no owner: what it keeps for owners */
};
struct kith_got_row {
    struct kith_bytes name;    /* in scans; empty in gets (the order of the request) */
    struct kith_checksum hash; /* of the state; all zero for a row never written */
    struct kith_bytes state;   /* encoded; empty for a row never written, and in digests */
};
struct kith_get_res {
    struct kith_status status; /* ENOTREADY: not synchronised, no vote; ESTALE */
    struct kith_bytes table;
    uint32_t row_count;
    const struct kith_got_row *rows;
};

/* One page of one replica's rows of a group, in name order. Tombstones come too: they take part in
 * the merge. */
struct kith_scan_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    struct kith_group group;
    bool has_after;          /* start behind `after`; else with the first row */
    struct kith_bytes after;
    uint32_t max_rows;       /* 0 = KITH_PAGE_ROWS_MAX */
    uint32_t max_bytes;      /* 0 = KITH_PAGE_BYTES_MAX */
    bool fallback;           /* as in get_req */
};
struct kith_scan_res {
    struct kith_status status;
    struct kith_bytes table;
    bool more;
    uint32_t row_count;
    const struct kith_got_row *rows;
};

/* Read repair: "your rows are behind: fetch them from node `from`". No answer. A client never sends
 * a row as repair: one that wakes after three days would bring the dead back. */
struct kith_repair_req {
    struct kith_group group;
    struct kith_uuid from;
    uint32_t name_count;
    const struct kith_bytes *names;
};

/* One more owner, to whom the receiver passes the same on: he is nearer to the receiver than to the
 * sender. His answer is passed back under that id; nobody answers for another. EUNREACH: it could not
 * be passed on, or he was not heard of again. */
struct kith_relay_to {
    struct kith_uuid node;
    uint64_t id;
};

/* Bulk. The payload is a slice of its own on the wire and a blob here. */
struct kith_chunk_put_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    struct kith_chunk_id id;
    struct kith_checksum checksum; /* of the payload; verified before it is stored */
    enum kith_durability durability;
    uint32_t ref_count; /* a chunk that holds an extent list names the chunks in it */
    const struct kith_chunk_id *refs;
    struct kith_blob *payload;
    bool thin; /* the sender cannot reach W owners: the others are to be told of it */
    uint32_t relay_count;
    const struct kith_relay_to *relays;
};
struct kith_chunk_get_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    struct kith_chunk_id id;
    uint32_t offset;
    uint32_t size; /* 0 = all from offset */
    bool refs;     /* also what it refers to: for who will hold it */
};
struct kith_chunk_res { /* answers both; payload only for a get */
    struct kith_status status; /* ENOTFOUND, ECORRUPT, ENOSPC, ESTALE .. */
    struct kith_checksum checksum; /* of the payload as sent */
    uint32_t chunk_size;           /* of the whole chunk */
    uint32_t ref_count; /* where the get asked for them */
    const struct kith_chunk_id *refs;
    struct kith_blob *payload;
};
/* Makes chunks that were stored at `os` durable. */
struct kith_chunk_sync_req {
    uint32_t timeout_ms;
    uint32_t id_count;
    const struct kith_chunk_id *ids;
    struct kith_table_id table; /* by which the owners are counted; who knows a newer one says ESTALE */
    /* They need not be flushed, but are to stay for a day though nothing may refer to them: somebody
     * has a file open that had them. One that is being swept is missing. */
    bool lease;
};
struct kith_chunk_sync_res {
    struct kith_status status;
    uint32_t missing_count; /* ids this node does not hold: put them again */
    const struct kith_chunk_id *missing;
};

/* Coordinator to owner: merge these states. */
struct kith_replica_row {
    struct kith_bytes name;
    struct kith_bytes state;
    bool has_dot; /* the dot that the request made in this row: noted, so that a retry finds it */
    struct kith_dot dot;
};
struct kith_replicate_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    struct kith_request_id request; /* all zero: a repair, no request */
    enum kith_durability durability;
    bool has_hint; /* the receiver stands in for `hint_for` */
    struct kith_uuid hint_for;
    struct kith_group group;
    uint32_t row_count;
    const struct kith_replica_row *rows;
    bool may_wait; /* the sender does not wait for the answer: it may leave with others */
    bool custody;  /* a hint that counts as a copy */
    bool retry;    /* another coordinator may have carried the request out, too */
    uint32_t relay_count; /* none with a hint */
    const struct kith_relay_to *relays;
};
struct kith_replicate_res {
    struct kith_status status;
    struct kith_bytes table;
    struct kith_uuid node; /* passed back: whose answer it is; nil: the sender's */
};

/* The groups of a volume in a partition that have a row without a name, a directory's own row, whatever
 * it says. */
struct kith_groups_req {
    struct kith_table_id table;
    uint32_t timeout_ms;
    uint32_t partition;
    uint32_t volume;
    bool has_after; /* from behind `after` on; else from the first one */
    struct kith_group after;
};
struct kith_groups_res {
    struct kith_status status;
    struct kith_bytes table;
    bool more; /* there are more behind the last one */
    uint32_t group_count;
    const struct kith_group *groups; /* ascending */
};

/* "Do you know what this request made?" Answers with the states of the rows where it does. */
struct kith_request_find_req {
    struct kith_group group;
    struct kith_request_id request;
    uint32_t name_count;
    const struct kith_bytes *names;
};
struct kith_request_find_res {
    struct kith_status status;
    bool found; /* in every row named: a batch is all or nothing */
    uint32_t row_count;
    const struct kith_replica_row *rows;
};

/* "Tell me what changes in this group": the watch of DESIGN section 7. For clients. All watches of a
 * connection share one lease, which each of these requests prolongs (one a second does for all of
 * them), and end with it. */
struct kith_watch_req {
    struct kith_table_id table;
    uint32_t lease_ms; /* from when the node takes it; 1 to KITH_WATCH_LEASE_MAX_MS */
    /* The first half of the ids of the asker's own requests (big-endian): what those change is not
     * told to it. */
    uint64_t own;
    uint32_t ended_count; /* groups that are watched no more; taken before `group` is added */
    const struct kith_group *ended;
    bool has_group; /* false: no watch is added */
    struct kith_group group;
};
struct kith_watch_res {
    struct kith_status status; /* OK: from now on, for lease_ms, every change that is stored here */
    struct kith_bytes table;   /* ESTALE */
    /* OK: the lease has not been over, by the node's clock, since this number came first: nothing
     * slipped between, and all that was asked for under it is told. Under another number nothing
     * is that was asked for before. The asker's clock cannot tell: it stands still while his machine
     * sleeps. Never 0. */
    uint64_t session;
};
/* Unasked, from a node to who watches there, in the order in which it stored the changes and before
 * or with the answer to who made them. */
struct kith_watch_event {
    struct kith_group group;
    bool ended; /* the node tells no more, of any group: the table has changed, or it could not tell */
    uint32_t name_count; /* of rows that may have changed; 0: any of the group */
    const struct kith_bytes *names;
};

#endif
