/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tables.c - the partition table in use, and how a newer one comes to be used.
 *
 * A newer table (of an answer, a decision, or asked for after a ping named it) is written to disk
 * first and used from the completion on: a node that has acted under a table never forgets it.
 *
 * A request names the table that its sender goes by. Where ours is newer the sender is told with
 * ESTALE; where his is newer we fetch it, and only take what cannot do harm: rows to merge. (Old
 * tables are not kept, so any difference counts, not only one in the partition at hand; tables
 * change rarely.) */
#include <string.h>

#include "core/internal.h"

#define TABLE_ASK_MS 200u /* between two questions for a newer table */

enum kith_err table_use(struct kith_node *node, struct kith_table *table, struct kith_bytes encoded)
{
    uint16_t *map = NULL;
    struct kith_buf bytes;
    kith_buf_init(&bytes);
    kith_buf_put(&bytes, encoded.data, encoded.size);
    enum kith_err err = bytes.failed ? KITH_ENOMEM : peers_prepare(node, table, &map);
    if (err != KITH_OK) {
        kith_buf_release(&bytes);
        return err;
    }
    kith_free(node->peer_of_member);
    node->peer_of_member = map;
    kith_table_drop(node->table);
    node->table = kith_table_hold(table);
    kith_buf_release(&node->table_retired);
    node->table_retired = node->table_bytes;
    node->table_bytes = bytes;
    node->self = kith_table_find(table, &node->uuid);
    node->members_dirty = true;
    watch_end_all(node);
    put_table_changed(node);
    exchange_table_changed(node);
    node->handoffs.listed = false;
    handoff_wake(node, 0);
    moves_table_changed(node);
    leftovers_table_changed(node);
    refill_table_changed(node, false);
    aged_table_changed(node);
    node->table_told = 0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        if (map[i] != KITH_NO_PEER) {
            struct kith_member_info *info = &node->peers[map[i]].info;
            memcpy(info->zone, table->members[i].zone, sizeof info->zone);
            info->weight = table->members[i].weight;
        }
    }
    peers_keep(node);
    swim_table_changed(node);
    for (uint32_t i = 0; i < KITH_CONN_SLOTS; i++) { /* who came before the table knew him */
        struct conn *conn = &node->conns[i];
        if (conn->id != 0 && conn->hello && conn->role == KITH_ROLE_NODE &&
            conn->peer == KITH_NO_PEER) {
            struct peer *peer = peer_find(node, &conn->node);
            conn->peer = peer ? peer_index(node, peer) : KITH_NO_PEER;
        }
    }
    return KITH_OK;
}

void table_stranger(struct kith_node *node)
{
    if (node->self != KITH_NO_MEMBER) {
        node->stranger_told = false;
    } else if (!node->stranger_told) {
        node->stranger_told = true;
        core_log(node, LEVEL_WARN,
                 "no member of cluster %.30s any more (table %llu.%llu): this node left, or was "
                 "replaced. What it holds is handed to the owners, and stays here. Stop it; to use "
                 "it again start it with an empty directory, then: kithctl plan join %s",
                 node->cluster.name, (unsigned long long)node->table->id.epoch,
                 (unsigned long long)node->table->id.version, node->address);
    }
}

static void table_next_drop(struct kith_node *node)
{
    kith_table_drop(node->table_next);
    node->table_next = NULL;
    kith_buf_release(&node->table_next_bytes);
}

static void table_stored(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    struct kith_table *table = node->table_next;
    if (err == KITH_OK && kith_table_id_compare(&table->id, &node->table->id) > 0) {
        if (table_use(node, table, kith_buf_bytes(&node->table_next_bytes)) == KITH_OK) {
            node->join->may_not_vote = false; /* the promises that were lost led to this table */
            refill_table_changed(node, true);
            core_log(node, LEVEL_INFO, "table %llu.%llu with %u members is in use",
                     (unsigned long long)table->id.epoch, (unsigned long long)table->id.version,
                     table->member_count);
            table_stranger(node);
        } else {
            core_log(node, LEVEL_ERROR, "no memory for a newer table; it is asked for again");
        }
    }
    table_next_drop(node);
    agree_table_used(node);
}

void table_learn(struct kith_node *node, struct kith_bytes encoded)
{
    struct kith_table *table = NULL;
    if (!node->has_cluster || node->table_next || encoded.size == 0 ||
        kith_table_decode(encoded, &table) != KITH_OK) {
        return; /* one at a time: pings name a still newer one again */
    }
    if (!kith_uuid_equal(&table->cluster, &node->cluster.uuid) ||
        table->partitions != node->cluster.partitions ||
        kith_table_id_compare(&table->id, &node->table->id) <= 0) {
        kith_table_drop(table);
        return;
    }
    node->table_next = table;
    kith_buf_clear(&node->table_next_bytes);
    kith_buf_put(&node->table_next_bytes, encoded.data, encoded.size);
    if (node->table_next_bytes.failed ||
        meta_put(node, KITH_META_TABLE, encoded, table_stored, 0) != KITH_OK) {
        table_next_drop(node);
    }
}

void table_ask(struct kith_node *node, uint64_t conn)
{
    if (node->now_ms < node->table_asked_ms + TABLE_ASK_MS) {
        return;
    }
    node->table_asked_ms = node->now_ms;
    struct kith_msg *msg = core_send(node, conn, KITH_MSG_TABLE_REQ, 0);
    msg->u.table_req.known = node->table->id;
}

void table_ask_anyone(struct kith_node *node)
{
    uint32_t start = node->peer_count > 0 ? (uint32_t)(core_random(node) % node->peer_count) : 0;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[(start + i) % node->peer_count];
        if (peer->up) {
            table_ask(node, peer->conn);
            return;
        }
    }
}

void table_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    if (!node->has_cluster) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has no cluster yet", node->address));
        return;
    }
    struct kith_table_res *res = &core_send(node, conn, KITH_MSG_TABLE_RES, msg->id)->u.table_res;
    res->status = core_ok();
    if (kith_table_id_compare(&msg->u.table_req.known, &node->table->id) < 0) {
        res->table = kith_buf_bytes(&node->table_bytes);
    }
    res->member_count = members_all(node, &res->members);
}

void table_res(struct kith_node *node, const struct kith_msg *msg)
{
    const struct kith_table_res *res = &msg->u.table_res;
    if (res->status.err != KITH_OK) {
        return;
    }
    table_learn(node, res->table);
    for (uint32_t i = 0; i < res->member_count && i < KITH_MEMBERS_MAX; i++) {
        members_learn(node, &res->members[i]);
    }
}

/* Clients that ask for nothing would not hear of it, and, where all that they know is gone, would
 * find nobody. */
void table_tell(struct kith_node *node)
{
    uint32_t told = 0, count = 0;
    const struct kith_member_info *members = NULL;
    while (node->table_told < KITH_CONN_SLOTS && told < KITH_STEP_PINGS / 2) {
        const struct conn *conn = &node->conns[node->table_told++];
        if (conn->id != 0 && conn->hello && conn->role == KITH_ROLE_CLIENT && !conn->theirs_bulk) {
            struct kith_table_res *res =
                &core_send(node, conn->id, KITH_MSG_TABLE_RES, 0)->u.table_res;
            res->status = core_ok();
            res->table = kith_buf_bytes(&node->table_bytes);
            count = told == 0 ? members_all(node, &members) : count;
            res->member_count = count;
            res->members = members;
            told++;
        }
    }
}

uint64_t table_tell_due(const struct kith_node *node)
{
    return node->table_told < KITH_CONN_SLOTS ? node->now_ms : UINT64_MAX;
}

bool table_settled(const struct kith_node *node)
{
    return node->has_cluster && node->self != KITH_NO_MEMBER && !node->table_next &&
           !join_frozen(node) && !kith_table_is_joint(node->table);
}

enum table_verdict table_check(const struct kith_node *node, const struct kith_table_id *named,
                               uint32_t partition)
{
    if (!node->has_cluster) {
        return TABLE_NONE;
    }
    int order = kith_table_id_compare(named, &node->table->id);
    if (order != 0) {
        return order < 0 ? TABLE_STALE : TABLE_AHEAD;
    }
    bool owner = node->self != KITH_NO_MEMBER &&
                 kith_table_owns(node->table, partition, node->self);
    return owner ? TABLE_FITS : TABLE_NOT_OURS;
}

/* ESTALE with our table, of the kind that fits the question. */
static void table_answer_stale(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                               const char *why)
{
    struct kith_status status = core_status(KITH_ESTALE, why);
    struct kith_bytes table = kith_buf_bytes(&node->table_bytes);
    struct kith_msg *res = NULL;
    switch (msg->kind) {
    case KITH_MSG_PUT_REQ:
        res = core_send(node, conn, KITH_MSG_PUT_RES, msg->id);
        res->u.put_res.status = status;
        res->u.put_res.table = table;
        return;
    case KITH_MSG_GET_REQ:
        res = core_send(node, conn, KITH_MSG_GET_RES, msg->id);
        res->u.get_res.status = status;
        res->u.get_res.table = table;
        return;
    case KITH_MSG_SCAN_REQ:
        res = core_send(node, conn, KITH_MSG_SCAN_RES, msg->id);
        res->u.scan_res.status = status;
        res->u.scan_res.table = table;
        return;
    case KITH_MSG_GROUPS_REQ:
        res = core_send(node, conn, KITH_MSG_GROUPS_RES, msg->id);
        res->u.groups_res.status = status;
        res->u.groups_res.table = table;
        return;
    case KITH_MSG_WATCH_REQ:
        res = core_send(node, conn, KITH_MSG_WATCH_RES, msg->id);
        res->u.watch_res.status = status;
        res->u.watch_res.table = table;
        return;
    case KITH_MSG_REPLICATE_REQ:
        res = core_send(node, conn, KITH_MSG_REPLICATE_RES, msg->id);
        res->u.replicate_res.status = status;
        res->u.replicate_res.table = table;
        return;
    case KITH_MSG_SUMS_REQ:
        res = core_send(node, conn, KITH_MSG_SUMS_RES, msg->id);
        res->u.sums_res.status = status;
        res->u.sums_res.table = table;
        return;
    case KITH_MSG_LEAF_REQ:
        res = core_send(node, conn, KITH_MSG_LEAF_RES, msg->id);
        res->u.leaf_res.status = status;
        res->u.leaf_res.table = table;
        return;
    case KITH_MSG_CHUNK_LIST_REQ:
        res = core_send(node, conn, KITH_MSG_CHUNK_LIST_RES, msg->id);
        res->u.chunk_list_res.status = status;
        res->u.chunk_list_res.table = table;
        return;
    case KITH_MSG_HANDOFF_REQ:
        res = core_send(node, conn, KITH_MSG_HANDOFF_RES, msg->id);
        res->u.handoff_res.status = status;
        res->u.handoff_res.table = table;
        return;
    default:
        core_refuse(node, conn, msg, KITH_ESTALE, why);
    }
}

bool table_holds(const struct kith_node *node, uint32_t partition)
{
    return node->self != KITH_NO_MEMBER && kith_table_holds(node->table, partition, node->self);
}

bool table_admit_holder(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                        const struct kith_table_id *named, uint32_t partition)
{
    return (table_check(node, named, partition) == TABLE_NOT_OURS &&
            table_holds(node, partition)) ||
           table_admit(node, conn, msg, named, partition);
}

bool table_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                 const struct kith_table_id *named, uint32_t partition)
{
    switch (table_check(node, named, partition)) {
    case TABLE_FITS:
        return true;
    case TABLE_NONE:
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has no cluster yet", node->address));
        return false;
    case TABLE_STALE:
        table_answer_stale(node, conn, msg, "");
        return false;
    case TABLE_NOT_OURS:
        table_answer_stale(node, conn, msg,
                           core_text(node, "node %s does not own partition %u", node->address,
                                     partition));
        return false;
    case TABLE_AHEAD:
        table_ask_anyone(node);
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s is fetching a newer table", node->address));
        return false;
    }
    return false;
}
