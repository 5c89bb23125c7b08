/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * msg.h - the messages between clients and nodes and among nodes, as plain structs.
 *
 * The core and the client's core see only these; wire.h turns them into the protobuf frames of
 * proto/ and back. A message borrows all that it points to. On the wire a message is a Frame with
 * an id; an answer bears the id of its request and comes back on the same connection. */
#ifndef KITH_WIRE_MSG_H
#define KITH_WIRE_MSG_H

#include "wire/msg_admin.h"
#include "wire/msg_data.h"
#include "wire/msg_repair.h"

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
