/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * msg_base.h - what messages are made of: bounds, who speaks, who is a member. Part of msg.h. */
#ifndef KITH_WIRE_MSG_BASE_H
#define KITH_WIRE_MSG_BASE_H

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
#define KITH_DURATIONS_MAX 64u     /* buckets of a histogram */
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

#endif
