/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * msg.h - the messages between clients and nodes and among nodes, as plain structs.
 *
 * The core and the client's core see only these; wire.h turns them into the protobuf frames of
 * proto/ and back. A message borrows all that it points to. On the wire a message is a Frame with
 * an id; an answer bears the id of its request and comes back on the same connection. */
#ifndef KITH_WIRE_MSG_H
#define KITH_WIRE_MSG_H

#include "data/protocol.h"
#include "data/quorum.h"
#include "data/row.h"
#include "data/table.h"
#include "data/tree.h"

#define KITH_BATCH_MAX 256u         /* updates in one batch; a hard-link rename needs 6 */
#define KITH_NAMES_MAX 256u         /* names in one get */
#define KITH_RELAY_TO_MAX KITH_HOLDERS_MAX /* owners that a message is passed on to */
#define KITH_PAGE_ROWS_MAX 1024u    /* rows in one page of a scan */
#define KITH_LEAF_SUMS_MAX 256u     /* leaves of a tree, data/tree.h */
#define KITH_LEAF_ROWS_MAX 512u     /* of leaves, in one answer */
#define KITH_LEAF_HASHES_MAX 16384u /* rows that an asker names */
#define KITH_REVOKED_MAX (3u << 20) /* bytes of a list of what is revoked: some 60,000 */
#define KITH_CHUNK_LIST_MAX 4096u   /* chunks named in one answer */
#define KITH_GROUPS_MAX 1024u        /* groups named in one answer */
#define KITH_REAP_RUNS_MAX 256u    /* runs that are asked for in one step of reaping */
#define KITH_FLOOR_RUNS_MAX 4096u  /* in a floor: tombstones of further runs stay */
#define KITH_SWEEP_MAX 1024u        /* chunks in one step of a sweep, or one lease: 32 KiB */
#define KITH_PAGE_BYTES_MAX (1u << 20) /* bytes of states in one page; at least one row always comes */
#define KITH_MESSAGE_MAX (4u << 20) /* bytes of one encoded gRPC message; larger ones are refused */
#define KITH_ADDRESS_SIZE 280u      /* "host:port" or "[v6]:port" with the NUL */
#define KITH_TIMEOUT_MAX_MS 600000u
#define KITH_WATCH_LEASE_MAX_MS 10000u
#define KITH_WATCH_ENDED_MAX    4096u /* in one request */
#define KITH_PING_NEWS_MAX 64u      /* records in one ping */
#define KITH_SYNC_SUMS 64u          /* of members by the first byte of their uuid */

enum kith_durability {
    KITH_DURABLE_OS = 0,   /* in the operating system: survives kill -9 of the daemon */
    KITH_DURABLE_DISK = 1, /* flushed: survives power loss */
};

enum kith_peer_role { KITH_ROLE_CLIENT = 0, KITH_ROLE_NODE = 1 };

/* First on every connection, both ways. */
struct kith_hello {
    struct kith_protocol protocol;
    enum kith_peer_role role;
    struct kith_uuid cluster; /* nil: a client that does not know it yet, or a node without one */
    struct kith_uuid node;    /* a node's uuid; a client's random id */
    uint64_t incarnation;     /* rises with every start of a node */
    const char *address;      /* where a node can be reached; "" for clients */
    const char *software;     /* version text, for status */
};

struct kith_member_info {
    struct kith_uuid uuid;
    uint64_t incarnation; /* of the address below: the higher wins */
    char address[KITH_ADDRESS_SIZE];
    char zone[KITH_ZONE_SIZE];
    uint32_t weight;
    bool up;              /* as seen by the sender */
    uint64_t seen_ms_ago; /* since the sender last heard from it */
    char software[32];
    uint64_t features; /* bits (data/protocol.h), as it said last; 0 where software is "" */
};

/* What is known of a member. The newest wins, by (incarnation, said, state): a node's own word takes
 * the next number, and so beats all that others have said of it. */
enum kith_liveness { KITH_ALIVE = 0, KITH_SUSPECT = 1, KITH_DOWN = 2 };
struct kith_member_news {
    struct kith_uuid uuid;
    uint64_t incarnation; /* of its start */
    uint64_t said;        /* how often it has said since then that it is alive after all */
    enum kith_liveness state;
    struct kith_uuid by; /* SUSPECT, DOWN: who says so */
    const char *address;
    const char *software;
    uint64_t features; /* bits, data/protocol.h */
    uint64_t check;    /* of all the above: core/members/swim.c */
};

/* Every answer begins with this. `message` is for people; "" where there is none to tell. */
struct kith_status {
    enum kith_err err;
    const char *message;
};

struct kith_table_req { struct kith_table_id known; };
struct kith_table_res {
    struct kith_status status;
    struct kith_bytes table; /* encoded; empty when the asker knows the same or a newer one */
    uint32_t member_count;
    const struct kith_member_info *members;
};

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

/* What was kept for an owner, handed to him: merged and flushed before the answer. One request at a
 * time from a sender; without rows it only asks for leave. */
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

/* A node's sign of life, and what it knows; the answer is the same message back. */
struct kith_ping {
    bool is_answer;
    struct kith_table_id table;
    uint64_t wall_ms;
    uint32_t member_count; /* learnt from, not sent any more: news has taken its place */
    const struct kith_member_info *members;
    uint64_t digest; /* of all the sender's records of the members of that table */
    uint32_t news_count;
    const struct kith_member_news *news;
    uint32_t space; /* how full the sender's disk is: enum kith_space of core/store.h */
    bool moved; /* the sender has done its part of what that table moves (core/table/moves.c) */
};

/* Administrator to a node: the table that is to follow the one in use. */
struct kith_plan_req { struct kith_bytes table; };
/* A former owner to an owner: "compare with me what you have of that partition". */
struct kith_offer_req {
    struct kith_table_id table;
    uint32_t partition;
    struct kith_member_info member; /* the asker: it may be no member any more */
};
struct kith_offer_res {
    struct kith_status status;
    struct kith_table_id table; /* in use there */
    uint32_t partition;
    bool done; /* all that the asker had of it under that table is there, on disk */
};
struct kith_plan_res {
    struct kith_status status;
    struct kith_bytes table; /* in use here by then */
};

/* "I hear nothing from that member: does it answer you?" */
struct kith_probe_req { struct kith_uuid target; };
struct kith_probe_res { bool alive; /* false: nor do I */ };

/* Compares records, and exchanges those that differ: core/members/swim.c. */
struct kith_members_sync {
    struct kith_table_id table; /* with another one nothing is compared */
    bool is_answer;
    struct kith_bytes sums; /* KITH_SYNC_SUMS of 8 bytes, big-endian; or empty */
    uint32_t news_count;
    const struct kith_member_news *news;
};

/* Everything a node must know to be a member, made once at init. */
struct kith_cluster {
    struct kith_uuid uuid;
    char name[64];
    uint32_t partitions;
    uint32_t replicas;
    uint8_t secret[192]; /* for tree hashes; never sent to clients */
};

struct kith_init_req { /* administrator to a node without a cluster */
    const char *name;
    uint32_t partitions; /* 0 = default */
    uint32_t replicas;   /* 0 = default */
    const char *zone;
    uint32_t weight; /* 0 = 1 */
};
struct kith_join_cmd { /* administrator to a node without a cluster */
    const char *through; /* the address of any member */
    const char *zone;
    uint32_t weight;
};
struct kith_admin_res { struct kith_status status; };
/* From an administrator: the authority's newer list of what is revoked, PEM. ADMIN_RES answers. */
struct kith_revoked_cmd {
    struct kith_bytes list;
};

struct kith_join_req { struct kith_member_info member; }; /* new node to a member */
struct kith_join_res {
    struct kith_status status;
    struct kith_cluster cluster;
    struct kith_bytes table;
    uint32_t member_count;
    const struct kith_member_info *members;
};

/* Single-decree Paxos, one instance a table version: instance = (epoch, version) to be decided,
 * among the members of the version before. Ballots: (round, proposer). */
struct kith_ballot {
    uint64_t round; /* 0 = none */
    struct kith_uuid proposer;
};
enum kith_decide_phase {
    KITH_DECIDE_PREPARE = 1,
    KITH_DECIDE_PROMISE = 2,
    KITH_DECIDE_ACCEPT = 3,
    KITH_DECIDE_ACCEPTED = 4,
    KITH_DECIDE_DECIDED = 5, /* table follows; needs no answer */
    KITH_DECIDE_ASK = 6,     /* would you object to this table? promises nothing */
    KITH_DECIDE_OPINION = 7, /* the answer to that */
    KITH_DECIDE_LAST = KITH_DECIDE_OPINION,
};
struct kith_decide {
    enum kith_decide_phase phase;
    struct kith_status status; /* in answers; EREFUSED with the reason, e.g. "this node has data" */
    uint64_t epoch;
    uint64_t version;
    struct kith_ballot ballot;
    struct kith_ballot accepted; /* in a promise: the ballot already accepted; with EBUSY: the promised one */
    /* ask and prepare: what is wanted; accept; decided; in a promise what was accepted */
    struct kith_bytes table;
};

struct kith_status_req { uint32_t unused; };
/* Sweeping, since start: chunks that were condemned under this node's lead; copies here that went, and
 * their bytes. Then how long ago all partitions that it leads were looked through, and why that has
 * not gone on: "" where it does. */
struct kith_sweep_status {
    uint64_t condemned, swept, swept_bytes;
    uint64_t ms_ago; /* UINT64_MAX: not yet */
    const char *waits;
    /* The same of reaping: rows here that were deleted long ago and are forgotten; floors agreed
     * under this node's lead. */
    uint64_t reaped, floors, reap_ms_ago;
    const char *reap_waits;
};
struct kith_node_status {
    struct kith_uuid node;
    struct kith_uuid cluster; /* nil: none yet */
    const char *cluster_name;
    const char *software;
    struct kith_table_id table;
    uint32_t partitions, replicas;
    uint64_t rows, chunks, chunk_bytes; /* held here */
    uint64_t disk_total_bytes, disk_free_bytes;
    uint64_t puts, gets, scans; /* since start */
    uint64_t uptime_ms;
    uint64_t hints, hint_bytes, hint_oldest_ms; /* what it keeps for others */
    uint64_t custody;                           /* those that count as copies */
    uint64_t thin_rows; /* rows of its own that stand on fewer than W copies */
    uint64_t row_bytes; /* of the table of the rows, on disk */
    /* Anti-entropy: partitions held here times their other owners; those among them that were not
     * compared since the start; how long ago that was for the one of the rest that was last. */
    uint32_t pairs, pairs_never;
    uint64_t pairs_oldest_ms;
    uint32_t space; /* enum kith_space of core/store.h */
    /* What the table in use moves here: partitions, those of them that are complete, bytes that
     * came; whether all is done that this node has to do for it. */
    uint32_t move_gains, move_complete;
    uint64_t move_bytes;
    bool moved;
    struct kith_sweep_status sweep;
    /* Partitions of which the disk has lost something; those of which something is still missing.
     */
    uint32_t refill_total, refill_left;
    uint32_t aged_left; /* partitions that are compared before they are read: core/repair/aged.h */
    /* Files in conflict, of the partitions of which this node is the first owner that it holds for up:
     * in the sum over all nodes each counts once. 0 by a node that does not tell. */
    uint64_t conflicts;
    uint64_t disk_id; /* nodes that say the same lie on one disk; 0: not known */
    /* What values may take of it before this node refuses them. Counts where disk_id is not 0. */
    uint64_t disk_room_bytes;
};
struct kith_status_res {
    struct kith_status status;
    struct kith_node_status node;
    uint32_t member_count;
    const struct kith_member_info *members;
};

/* Administrator to a node: what its anti-entropy (exchange.c) and its scrub do, or are to do. */
enum kith_repair_action {
    KITH_REPAIR_STATUS = 0,
    KITH_REPAIR_START = 1, /* compare everything with every other owner, now */
    KITH_REPAIR_STOP = 2,  /* none until it is started again */
    KITH_REPAIR_LIMIT = 3,
    KITH_SCRUB_START = 4, /* read everything, now */
    KITH_SCRUB_STOP = 5,  /* no faster than the node's option says */
};
struct kith_repair_cmd {
    enum kith_repair_action action;
    uint64_t rate; /* LIMIT: bytes a second; 0 = no bound */
};
/* What a node shares with another one. A pair is a partition of both, its rows or its chunks. */
struct kith_repair_peer {
    struct kith_uuid peer;
    const char *address;
    bool up;
    uint32_t pairs;
    uint32_t compared; /* of them, since the start or the last REPAIR_START */
    uint32_t running;
    uint64_t rows, chunks, bytes; /* that came from there since */
    uint64_t tree_bytes;          /* sums and hashes that it took to find them */
};
struct kith_repair_scrub {
    bool asked;         /* SCRUB_START is being carried out */
    uint64_t period_ms; /* else a pass takes so long; 0: there is none */
    uint32_t left, partitions;
    uint64_t begun, ended; /* wall clock, ms; 0 = never */
    uint64_t rows, chunks, bytes, damaged, wrong; /* of this pass */
    uint64_t eta_ms; /* until its end; 0: not known */
    uint64_t ended_damaged; /* what the pass before found, wrong sums, too */
};
struct kith_repair_res {
    struct kith_status status;
    bool stopped;
    uint64_t rate;
    uint64_t since_ms; /* so long ago all pairs began to be compared */
    uint64_t found;    /* rows and chunks found damaged since the node's start */
    uint64_t bad_rows, bad_chunks; /* set aside, and not back yet */
    struct kith_repair_scrub scrub;
    uint32_t peer_count;
    const struct kith_repair_peer *peers;
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

/* For kithctl explain: what a node does for the partition of that row. */
struct kith_explain_req {
    struct kith_group group;
    struct kith_bytes name;
};
struct kith_explain_pair { /* another owner of the partition */
    struct kith_uuid node;
    /* since all that it had was here, as far as this run of the node knows; UINT64_MAX: not yet */
    uint64_t rows_ms_ago, chunks_ms_ago;
};
struct kith_explain_res {
    struct kith_status status;
    uint32_t pair_count; /* 0: the node owns no copy of it, or has only just learnt so */
    const struct kith_explain_pair *pairs;
};

/* X(NAME, number = the Frame's oneof field, struct member) */
#define KITH_MSG_MAP(X)                          \
    X(HELLO, 2, hello, kith_hello)               \
    X(TABLE_REQ, 3, table_req, kith_table_req)   \
    X(TABLE_RES, 4, table_res, kith_table_res)   \
    X(PUT_REQ, 5, put_req, kith_put_req)         \
    X(PUT_RES, 6, put_res, kith_put_res)         \
    X(GET_REQ, 7, get_req, kith_get_req)         \
    X(GET_RES, 8, get_res, kith_get_res)         \
    X(SCAN_REQ, 9, scan_req, kith_scan_req)      \
    X(SCAN_RES, 10, scan_res, kith_scan_res)     \
    X(REPAIR_REQ, 11, repair_req, kith_repair_req) \
    X(CHUNK_PUT_REQ, 12, chunk_put_req, kith_chunk_put_req) \
    X(CHUNK_GET_REQ, 13, chunk_get_req, kith_chunk_get_req) \
    X(CHUNK_RES, 14, chunk_res, kith_chunk_res)  \
    X(CHUNK_SYNC_REQ, 15, chunk_sync_req, kith_chunk_sync_req) \
    X(CHUNK_SYNC_RES, 16, chunk_sync_res, kith_chunk_sync_res) \
    X(REPLICATE_REQ, 17, replicate_req, kith_replicate_req) \
    X(REPLICATE_RES, 18, replicate_res, kith_replicate_res) \
    X(REQUEST_FIND_REQ, 19, request_find_req, kith_request_find_req) \
    X(REQUEST_FIND_RES, 20, request_find_res, kith_request_find_res) \
    X(PING, 21, ping, kith_ping)                 \
    X(INIT_REQ, 22, init_req, kith_init_req)     \
    X(JOIN_CMD, 23, join_cmd, kith_join_cmd)     \
    X(ADMIN_RES, 24, admin_res, kith_admin_res)  \
    X(JOIN_REQ, 25, join_req, kith_join_req)     \
    X(JOIN_RES, 26, join_res, kith_join_res)     \
    X(DECIDE, 27, decide, kith_decide)           \
    X(STATUS_REQ, 28, status_req, kith_status_req) \
    X(STATUS_RES, 29, status_res, kith_status_res) \
    X(WATCH_REQ, 30, watch_req, kith_watch_req)  \
    X(WATCH_RES, 31, watch_res, kith_watch_res)  \
    X(WATCH_EVENT, 32, watch_event, kith_watch_event) \
    X(SUMS_REQ, 33, sums_req, kith_sums_req)     \
    X(SUMS_RES, 34, sums_res, kith_sums_res)     \
    X(LEAF_REQ, 35, leaf_req, kith_leaf_req)     \
    X(LEAF_RES, 36, leaf_res, kith_leaf_res)     \
    X(HANDOFF_REQ, 37, handoff_req, kith_handoff_req) \
    X(HANDOFF_RES, 38, handoff_res, kith_handoff_res) \
    X(CHUNK_LIST_REQ, 39, chunk_list_req, kith_chunk_list_req) \
    X(CHUNK_LIST_RES, 40, chunk_list_res, kith_chunk_list_res) \
    X(REPAIR_CMD, 41, repair_cmd, kith_repair_cmd) \
    X(REPAIR_RES, 42, repair_res, kith_repair_res) \
    X(PROBE_REQ, 43, probe_req, kith_probe_req)  \
    X(PROBE_RES, 44, probe_res, kith_probe_res)  \
    X(MEMBERS_SYNC, 45, members_sync, kith_members_sync) \
    X(EXPLAIN_REQ, 47, explain_req, kith_explain_req) \
    X(EXPLAIN_RES, 48, explain_res, kith_explain_res) \
    X(PLAN_REQ, 49, plan_req, kith_plan_req)     \
    X(PLAN_RES, 50, plan_res, kith_plan_res)     \
    X(OFFER_REQ, 51, offer_req, kith_offer_req)  \
    X(OFFER_RES, 52, offer_res, kith_offer_res) \
    X(SWEEP_REQ, 61, sweep_req, kith_sweep_req)  \
    X(SWEEP_RES, 62, sweep_res, kith_sweep_res)  \
    X(LEASE_REQ, 63, lease_req, kith_lease_req)  \
    X(LEASE_RES, 64, lease_res, kith_lease_res)  \
    X(REAP_REQ, 65, reap_req, kith_reap_req)     \
    X(REAP_RES, 66, reap_res, kith_reap_res)     \
    X(GROUPS_REQ, 67, groups_req, kith_groups_req) \
    X(GROUPS_RES, 68, groups_res, kith_groups_res) \
    X(REVOKED_CMD, 71, revoked_cmd, kith_revoked_cmd)

enum kith_msg_kind {
#define X(name, number, member, type) KITH_MSG_##name = number,
    KITH_MSG_MAP(X)
#undef X
};

struct kith_msg {
    enum kith_msg_kind kind;
    uint64_t id; /* of the request; chosen by the asker, unique on its connection */
    bool may_wait; /* not sent. Nobody waits for it: it leaves with the next that may not (rpc.h) */
    union {
#define X(name, number, member, type) struct type member;
        KITH_MSG_MAP(X)
#undef X
    } u;
};

#define KITH_MSG_KINDS_MAX 96u /* above the highest number of a kind (msg.c) */
const char *kith_msg_kind_name(enum kith_msg_kind kind);

/* A received message with the memory it borrows from. Reference-counted (atomic): whoever must keep
 * parts of the message beyond a callback holds the box. */
struct kith_msg_box {
    uint32_t refs;
    struct kith_arena arena;
    struct kith_blob *blob; /* the payload of bulk messages, else NULL */
    struct kith_msg msg;
};
KITH_MUST_CHECK struct kith_msg_box *kith_msg_box_new(size_t arena_limit_bytes);
struct kith_msg_box *kith_msg_box_hold(struct kith_msg_box *box);
void kith_msg_box_drop(struct kith_msg_box *box);

#endif
