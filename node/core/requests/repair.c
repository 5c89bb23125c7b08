/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * repair.c - read repair: a reader has seen that our rows are behind, and names who has newer ones.
 *
 * We fetch them from that owner ourselves and merge; nobody answers. Above KITH_REPAIRS_MAX at a
 * time a request is dropped: the next read of a row that is behind asks again. */
#include <string.h>

#include "core/internal.h"

void repair_end(struct kith_node *node, struct pending *pending)
{
    if (!pending->answered) {
        node->repairs_out--;
    }
    pending->u.repair.waiting = false;
    pending_end(node, pending);
}

static bool repair_wanted(struct kith_node *node, const struct kith_repair_req *req,
                          uint32_t partition, struct peer **ret_peer)
{
    *ret_peer = peer_find(node, &req->from);
    uint16_t member = kith_table_find(node->table, &req->from);
    if (!*ret_peer || !(*ret_peer)->up || member == KITH_NO_MEMBER ||
        node->self == KITH_NO_MEMBER || join_frozen(node) ||
        node->repairs_out >= KITH_REPAIRS_MAX || req->name_count == 0 ||
        req->name_count > KITH_NAMES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < req->name_count; i++) {
        if (req->names[i].size > KITH_NAME_MAX) {
            return false;
        }
    }
    return kith_table_owns(node->table, partition, node->self) &&
           kith_table_owns(node->table, partition, member);
}

static bool repair_copy(struct pending *pending, const struct kith_repair_req *req)
{
    struct pending_repair *repair = &pending->u.repair;
    repair->group = req->group;
    repair->name_count = req->name_count;
    repair->names =
        kith_arena_copy(&pending->arena, req->names, req->name_count * sizeof *req->names);
    repair->rows =
        kith_arena_calloc(&pending->arena, req->name_count, sizeof(struct kith_replica_row));
    bool good = repair->names && repair->rows;
    for (uint32_t i = 0; good && i < req->name_count; i++) {
        repair->names[i].data =
            kith_arena_copy(&pending->arena, req->names[i].data, req->names[i].size);
        good = repair->names[i].data != NULL;
    }
    return good;
}

void repair_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    (void)conn;
    const struct kith_repair_req *req = &msg->u.repair_req;
    struct peer *peer = NULL;
    if (!node->has_cluster) {
        return;
    }
    uint32_t partition = kith_group_partition(&req->group, node->table->partitions);
    if (!repair_wanted(node, req, partition, &peer)) {
        return;
    }
    struct pending *pending = pending_new(node, PENDING_REPAIR, 0, NULL, KITH_REPAIR_TIMEOUT_MS);
    if (!pending) {
        return;
    }
    node->repairs_out++;
    pending->u.repair.peer = peer_index(node, peer);
    if (!repair_copy(pending, req)) {
        repair_end(node, pending); /* dropped, as above the limit */
        return;
    }
    pending->u.repair.waiting = true;
    peer_doubt(node, pending->u.repair.peer, node->now_ms);
    struct kith_get_req *get =
        &core_send(node, peer->conn, KITH_MSG_GET_REQ, pending->id)->u.get_req;
    get->table = node->table->id;
    get->timeout_ms = KITH_REPAIR_TIMEOUT_MS;
    get->group = pending->u.repair.group;
    get->name_count = req->name_count;
    get->names = pending->u.repair.names;
}

enum kith_err repair_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                         const struct kith_get_res *res)
{
    struct pending_repair *repair = &pending->u.repair;
    if (!repair->waiting || repair->peer != peer) {
        return KITH_OK;
    }
    repair->waiting = false;
    uint32_t count = 0;
    if (res->status.err == KITH_OK && res->row_count == repair->name_count && !join_frozen(node)) {
        for (uint32_t i = 0; i < res->row_count; i++) {
            if (res->rows[i].state.size > 0 && res->rows[i].state.size <= KITH_ROW_STATE_MAX) {
                repair->rows[count].name = repair->names[i];
                repair->rows[count].state = res->rows[i].state;
                count++;
            }
        }
    } else if (res->status.err == KITH_ESTALE) {
        table_learn(node, res->table);
    }
    if (count == 0) {
        repair_end(node, pending);
        return KITH_OK;
    }
    repair->row_count = count;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_MERGE,
                   kith_group_partition(&repair->group, node->table->partitions));
    op->u.merge.group = repair->group;
    op->u.merge.wall_ms = node->wall_ms;
    op->u.merge.row_count = count;
    op->u.merge.rows = repair->rows;
    return KITH_OK;
}

void repair_stored(struct kith_node *node, struct pending *pending)
{
    const struct pending_repair *repair = &pending->u.repair;
    core_stored_last(node, pending);
    watch_tell_rows(node, &repair->group, NULL, repair->row_count, repair->rows);
    repair_end(node, pending);
}
