/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sweep_answer.c - what other nodes ask of this one's store: steps of their sweeps, leases, steps of
 * their reaping. */
#include "core/internal.h"

#define SWEPT_TIMEOUT_MS 60000u

/* Under the very table that this node has; settled: one that moves nothing, and no other in sight. */
static bool same_table(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                       const struct kith_table_id *table, bool settled)
{
    if (!node->has_cluster || node->self == KITH_NO_MEMBER || (settled && !table_settled(node)) ||
        kith_table_id_compare(table, &node->table->id) != 0) {
        core_refuse(node, conn, msg, KITH_ENOTREADY, "the table changes, or is another one here");
        return false;
    }
    return true;
}

static bool sweep_sound(const struct kith_node *node, const struct kith_sweep_req *req)
{
    bool sound = req->chunk_count > 0 && req->chunk_count <= KITH_SWEEP_MAX &&
                 req->step >= KITH_SWEEP_ASK && req->step <= KITH_SWEEP_CLEAR &&
                 req->partition < node->table->partitions &&
                 (req->step == KITH_SWEEP_ASK ||
                  kith_table_owns(node->table, req->partition, node->self));
    for (uint32_t i = 0; sound && i < req->chunk_count; i++) {
        sound = kith_chunk_partition(&req->chunks[i].id, node->table->partitions) ==
                req->partition;
    }
    return sound;
}

void sweep_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_sweep_req *req = &msg->u.sweep_req;
    if (!conn_is_node(node, conn, msg) || !same_table(node, conn, msg, &req->table, true)) {
        return;
    }
    if (!sweep_sound(node, req)) {
        core_refuse(node, conn, msg, KITH_EINVAL, "a step of a sweep that cannot be");
        return;
    }
    if (node->sweep.grace_ms == 0) {
        core_refuse(node, conn, msg, KITH_EREFUSED, "nothing is swept here");
        return;
    }
    if (refill_any(node)) { /* what refers to a chunk here may be what is missing */
        core_refuse(node, conn, msg, KITH_ENOTREADY, "it waits for what its disk has lost");
        return;
    }
    struct pending *pending = pending_new(node, PENDING_SWEPT, conn, msg, SWEPT_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    bool ask = req->step == KITH_SWEEP_ASK;
    struct kith_store_op *op = core_store(
        node, pending, ask ? KITH_STORE_SWEEP_LOOK : KITH_STORE_SWEEP_STEP, req->partition);
    op->durability = KITH_DURABLE_DISK;
    op->u.sweep.now_ms = node->wall_ms;
    op->u.sweep.grace_ms = node->sweep.grace_ms;
    op->u.sweep.step = req->step;
    op->u.sweep.count = req->chunk_count;
    op->u.sweep.chunks = req->chunks;
}

void lease_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_lease_req *req = &msg->u.lease_req;
    if (!conn_is_node(node, conn, msg) || !same_table(node, conn, msg, &req->table, false)) {
        return;
    }
    bool sound = req->id_count > 0 && req->id_count <= KITH_SWEEP_MAX;
    for (uint32_t i = 0; sound && i < req->id_count; i++) {
        uint32_t partition = kith_chunk_partition(&req->ids[i], node->table->partitions);
        sound = kith_table_holds(node->table, partition, node->self);
    }
    if (!sound) {
        core_refuse(node, conn, msg, KITH_EINVAL, "leases that cannot be");
        return;
    }
    struct pending *pending = pending_new(node, PENDING_SWEPT, conn, msg, SWEPT_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_CHUNK_LEASE,
                   kith_chunk_partition(&req->ids[0], node->table->partitions));
    op->durability = KITH_DURABLE_DISK;
    op->u.lease.now_ms = node->wall_ms;
    op->u.lease.grace_ms = node->sweep.grace_ms;
    op->u.lease.count = req->id_count;
    op->u.lease.ids = req->ids;
}

static bool reap_sound(const struct kith_node *node, const struct kith_reap_req *req)
{
    bool sound = req->step >= KITH_REAP_ASK && req->step <= KITH_REAP_REMOVE &&
                 req->partition < node->table->partitions &&
                 req->sum_count == (req->step == KITH_REAP_EQUAL ? KITH_TREE_LEAVES : 0) &&
                 (req->step == KITH_REAP_ASK
                      ? req->entry_count <= KITH_REAP_RUNS_MAX
                      : kith_table_owns(node->table, req->partition, node->self));
    return sound && kith_floor_is_sound(&(struct kith_floor){req->entry_count, req->entries});
}

void reap_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_reap_req *req = &msg->u.reap_req;
    if (!conn_is_node(node, conn, msg) || !same_table(node, conn, msg, &req->table, true)) {
        return;
    }
    if (!reap_sound(node, req)) {
        core_refuse(node, conn, msg, KITH_EINVAL, "a step of reaping that cannot be");
        return;
    }
    if (node->reap.grace_ms == 0) {
        core_refuse(node, conn, msg, KITH_EREFUSED, "nothing is reaped here");
        return;
    }
    struct pending *pending = pending_new(node, PENDING_SWEPT, conn, msg, SWEPT_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_REAP, req->partition);
    op->durability = KITH_DURABLE_DISK;
    op->u.reap.step = req->step;
    op->u.reap.now_ms = node->wall_ms;
    op->u.reap.grace_ms = node->reap.grace_ms;
    op->u.reap.stamp = req->stamp;
    op->u.reap.run = req->run;
    op->u.reap.entry_count = req->entry_count;
    op->u.reap.entries = req->entries;
    op->u.reap.sums = req->sums;
    op->u.reap.owner = kith_table_owns(node->table, req->partition, node->self);
}

static void reap_answer(struct kith_node *node, const struct pending *pending,
                        const struct kith_store_done *done)
{
    struct kith_reap_res *res =
        &core_send(node, pending->conn, KITH_MSG_REAP_RES, pending->msg_id)->u.reap_res;
    res->status = core_ok();
    res->verdict = done->u.reap.verdict;
    res->run = done->u.reap.run;
    res->owes = done->u.reap.owes;
    res->entry_count = done->u.reap.entry_count;
    res->entries = done->u.reap.entries;
    res->equal = done->u.reap.equal;
    res->reaped = done->u.reap.reaped;
    res->more = done->u.reap.more;
    node->reap.reaped += done->u.reap.reaped;
}

void sweep_answered(struct kith_node *node, struct pending *pending,
                    const struct kith_store_done *done)
{
    core_stored_last(node, pending);
    bool sweep = pending->asked == KITH_MSG_SWEEP_REQ;
    if (done->err == KITH_OK && sweep) {
        node->sweep.swept += done->u.sweep.deleted;
        node->sweep.swept_bytes += done->u.sweep.bytes;
    }
    if (done->err != KITH_OK) {
        pending_refuse(node, pending, done->err, core_text(node, "%s", done->message));
    } else if (!pending->answered && pending->asked == KITH_MSG_REAP_REQ) {
        reap_answer(node, pending, done);
    } else if (!pending->answered && sweep) {
        struct kith_sweep_res *res =
            &core_send(node, pending->conn, KITH_MSG_SWEEP_RES, pending->msg_id)->u.sweep_res;
        res->status = core_ok();
        res->kept_count = done->u.sweep.kept_count;
        res->kept = done->u.sweep.kept;
    } else if (!pending->answered) {
        struct kith_lease_res *res =
            &core_send(node, pending->conn, KITH_MSG_LEASE_RES, pending->msg_id)->u.lease_res;
        res->status = core_ok();
        res->held_count = done->u.lease.held_count;
        res->held = done->u.lease.held;
        res->gone_count = done->u.lease.gone_count;
        res->gone = done->u.lease.gone;
    }
    pending_end(node, pending);
}
