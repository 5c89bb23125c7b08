/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * msg_admin.h - messages about the cluster: who is up, who is a member, which table is to follow, and what an
 * administrator asks and orders. Part of msg.h. */
#ifndef KITH_WIRE_MSG_ADMIN_H
#define KITH_WIRE_MSG_ADMIN_H

#include "wire/msg_base.h"

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
/* How many took longer than the bucket before allows, and not longer than this one does. */
struct kith_duration_bucket {
    uint64_t up_to_ns; /* UINT64_MAX: no bound */
    uint64_t count;    /* since its start */
};
struct kith_status_res {
    struct kith_status status;
    struct kith_node_status node;
    uint32_t member_count;
    const struct kith_member_info *members;
    /* How long it takes to answer, by the node's own clock: gets and scans; puts. None: it does not say. */
    uint32_t read_time_count, write_time_count;
    const struct kith_duration_bucket *read_times, *write_times;
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

#endif
