/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * replicate.c - the other owners' part in a put, and that of a node that stands in for one: merge
 * the states, answer when they are stored. A stand-in keeps them apart (hintop.h).
 *
 * Only nodes may send rows: a client that wakes after days would bring the dead back. From a sender
 * whose table is newer than ours an owner takes rows (they are mergeable whatever the table), and
 * fetches the table. Who is none by the table that it knows takes none before it has the newer one:
 * what it has of the partition may be about to go (moves.h). Nor does anybody who has the newer
 * table take them from a sender with an older one, who counts too few copies. */
#include <string.h>

#include "core/internal.h"

static bool replicate_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                            uint32_t partition, bool *ret_hint)
{
    const struct kith_replicate_req *req = &msg->u.replicate_req;
    if (!conn_is_node(node, conn, msg)) {
        return false;
    }
    enum table_verdict verdict = table_check(node, &req->table, partition);
    bool holder = verdict != TABLE_NONE && table_holds(node, partition);
    *ret_hint = req->has_hint && !holder;
    if (verdict == TABLE_AHEAD && (holder || req->has_hint)) {
        table_ask(node, conn);
    } else if (verdict == TABLE_NOT_OURS && req->has_hint) {
        /* that is why */
    } else if (!table_admit_holder(node, conn, msg, &req->table, partition)) {
        return false;
    }
    if (join_frozen(node)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY, "a table change is being decided");
        return false;
    }
    bool sound = req->row_count > 0 && req->row_count <= KITH_BATCH_MAX;
    for (uint32_t i = 0; sound && i < req->row_count; i++) {
        sound = req->rows[i].name.size <= KITH_NAME_MAX &&
                req->rows[i].state.size <= KITH_ROW_STATE_MAX;
    }
    if (!sound) {
        core_refuse(node, conn, msg, KITH_EINVAL, "rows out of bounds");
        return false;
    }
    bool value = node->space == KITH_SPACE_FULL && space_is_value(req->rows, req->row_count);
    return !space_refuses(node, conn, msg,
                          *ret_hint ? KITH_SPACE_SCARCE
                          : value   ? KITH_SPACE_FULL
                                    : KITH_SPACE_FULL + 1u);
}

void replicate_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_replicate_req *req = &msg->u.replicate_req;
    uint32_t partition =
        node->has_cluster ? kith_group_partition(&req->group, node->table->partitions) : 0;
    bool hint = false;
    if (!replicate_admit(node, conn, msg, partition, &hint)) {
        return;
    }
    uint32_t timeout = req->timeout_ms > 0 && req->timeout_ms <= KITH_TIMEOUT_MAX_MS
                           ? req->timeout_ms
                           : KITH_PUT_TIMEOUT_MS;
    struct pending *pending = pending_new(node, PENDING_MERGE, conn, msg, timeout);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    relay_rows(node, conn, msg);
    pending->durability =
        req->durability == KITH_DURABLE_DISK ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    pending->may_wait = req->may_wait;
    pending->u.merge.req = req;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_MERGE, partition);
    op->durability = pending->durability;
    op->u.merge.group = req->group;
    op->u.merge.request = req->request;
    op->u.merge.retry = req->retry;
    op->u.merge.wall_ms = node->wall_ms;
    op->u.merge.row_count = req->row_count;
    op->u.merge.rows = req->rows;
    if (hint) {
        struct kith_hint_want *want = &pending->u.merge.want;
        pending->u.merge.target = req->hint_for;
        want->custody = req->custody;
        want->target_count = 1;
        want->targets = &pending->u.merge.target;
        op->u.merge.hint = want;
        handoff_wake(node, KITH_HANDOFF_SOON_MS);
    }
}

void replicate_stored(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    const struct kith_replicate_req *req = pending->u.merge.req;
    if (done->err != KITH_OK || done->reached == KITH_DURABLE_OS) { /* the first completion */
        watch_tell_rows(node, &req->group, &req->request, req->row_count, req->rows);
    }
    if (done->err == KITH_OK && done->reached != pending->durability) {
        return; /* at os; the disk follows */
    }
    core_stored_last(node, pending);
    if (done->err == KITH_OK && !pending->answered) {
        struct kith_msg *msg =
            core_send(node, pending->conn, KITH_MSG_REPLICATE_RES, pending->msg_id);
        msg->u.replicate_res.status = core_ok();
        msg->may_wait = pending->may_wait;
    } else if (done->err != KITH_OK) {
        pending_refuse(node, pending, done->err, core_text(node, "%s", done->message));
    }
    pending_end(node, pending);
}
