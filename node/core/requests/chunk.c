/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * chunk.c - chunks: immutable values, stored and read one replica at a time.
 *
 * The writer sends a chunk to its owners himself and counts their answers; a chunk is never merged,
 * so there is nothing to coordinate. Contents pass by reference; the store checks them against
 * their checksum on its own threads. */
#include <string.h>

#include "core/internal.h"

static uint32_t chunk_timeout(uint32_t asked)
{
    return asked == 0 || asked > KITH_TIMEOUT_MAX_MS ? KITH_PUT_TIMEOUT_MS : asked;
}

static struct pending *chunk_begin(struct kith_node *node, uint64_t conn,
                                   const struct kith_msg *msg, uint32_t timeout_ms)
{
    struct pending *pending =
        pending_new(node, PENDING_CHUNK, conn, msg, chunk_timeout(timeout_ms));
    if (!pending) {
        core_refuse_full(node, conn, msg);
    }
    return pending;
}

static void chunk_store(struct kith_node *node, struct pending *pending)
{
    const struct kith_chunk_put_req *req = &pending->u.chunk.req;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_CHUNK_PUT,
                   kith_chunk_partition(&req->id, node->table->partitions));
    op->durability = pending->durability;
    op->u.chunk_put.id = req->id;
    op->u.chunk_put.checksum = req->checksum;
    op->u.chunk_put.ref_count = req->ref_count;
    op->u.chunk_put.refs = req->refs;
    op->u.chunk_put.payload = req->payload;
    op->u.chunk_put.rule = leases_rule(node, &pending->u.chunk.leases);
}

static void chunk_put(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_chunk_put_req *req = &msg->u.chunk_put_req;
    uint32_t partition =
        node->has_cluster ? kith_chunk_partition(&req->id, node->table->partitions) : 0;
    if (!table_admit_holder(node, conn, msg, &req->table, partition)) {
        return;
    }
    if (!req->payload || req->payload->size > KITH_CHUNK_MAX || req->ref_count > KITH_REFS_MAX) {
        core_refuse(node, conn, msg, KITH_EINVAL, "a chunk without contents, or too large");
        return;
    }
    for (uint32_t i = 0; i < req->ref_count; i++) {
        if (kith_chunk_id_volume(&req->refs[i]) != kith_chunk_id_volume(&req->id)) {
            core_refuse(node, conn, msg, KITH_EINVAL, "a chunk that refers to another volume's");
            return;
        }
    }
    if (join_frozen(node)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY, "a table change is being decided");
        return;
    }
    relay_chunk(node, conn, msg); /* whether there is room here or not */
    if (space_refuses(node, conn, msg, KITH_SPACE_FULL)) {
        return;
    }
    struct pending *pending = chunk_begin(node, conn, msg, req->timeout_ms);
    if (!pending) {
        return;
    }
    pending->durability =
        req->durability == KITH_DURABLE_DISK ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    pending->thin = req->thin;
    pending->u.chunk.req = *req;
    chunk_store(node, pending);
}

/* A list of other, older chunks that nothing here refers to: they are leased first (sweep.h). */
static void chunk_lease(struct kith_node *node, struct pending *pending,
                        const struct kith_store_done *done)
{
    struct kith_chunk_put_req *req = &pending->u.chunk.req;
    const struct kith_chunk_id *refs =
        kith_arena_copy(&pending->arena, req->refs, req->ref_count * sizeof *refs);
    if (!refs || !lease_begin(node, pending, done->u.unleased.count, done->u.unleased.ids)) {
        pending_refuse(node, pending, KITH_EREFUSED, "the chunks that it refers to cannot be leased");
        pending_end(node, pending);
        return;
    }
    if (!pending->blob) {
        kith_blob_hold(req->payload);
        pending->blob = req->payload;
    }
    req->refs = refs;
}

void chunk_leased(struct kith_node *node, struct pending *pending, enum kith_err err,
                  const char *message)
{
    if (pending->answered || pending->op_out) {
        return;
    }
    if (err == KITH_OK && (join_frozen(node) ||
                           kith_table_id_compare(&pending->u.chunk.req.table, &node->table->id))) {
        err = KITH_ENOTREADY;
        message = "the table changes";
    }
    if (err == KITH_OK) {
        chunk_store(node, pending);
        return;
    }
    pending_refuse(node, pending, err, message);
    pending_end(node, pending);
}

static void chunk_get(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_chunk_get_req *req = &msg->u.chunk_get_req;
    uint32_t partition =
        node->has_cluster ? kith_chunk_partition(&req->id, node->table->partitions) : 0;
    /* who has a copy may give it, whoever owns it */
    if (table_check(node, &req->table, partition) != TABLE_NOT_OURS &&
        !table_admit(node, conn, msg, &req->table, partition)) {
        return;
    }
    struct pending *pending = chunk_begin(node, conn, msg, req->timeout_ms);
    if (!pending) {
        return;
    }
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_CHUNK_GET, partition);
    op->u.chunk_get.id = req->id;
    op->u.chunk_get.offset = req->offset;
    op->u.chunk_get.size = req->size;
    op->u.chunk_get.refs = req->refs;
}

static void chunk_sync(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_chunk_sync_req *req = &msg->u.chunk_sync_req;
    if (!node->has_cluster) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has no cluster yet", node->address));
        return;
    }
    if (req->id_count == 0 || req->id_count > KITH_REFS_MAX) {
        core_refuse(node, conn, msg, KITH_EINVAL, "chunk ids out of bounds");
        return;
    }
    /* an older table may have fewer owners: who counts by it would call too few copies durable */
    if (req->table.version > 0 && kith_table_id_compare(&req->table, &node->table->id) < 0) {
        core_refuse(node, conn, msg, KITH_ESTALE, "the owners have changed");
        return;
    }
    struct pending *pending = chunk_begin(node, conn, msg, req->timeout_ms);
    if (!pending) {
        return;
    }
    bool lease = req->lease && node->sweep.grace_ms > 0;
    pending->u.chunk.lease = lease ? req : NULL;
    struct kith_store_op *op =
        core_store(node, pending, lease ? KITH_STORE_CHUNK_LEASE : KITH_STORE_CHUNK_SYNC,
                   kith_chunk_partition(&req->ids[0], node->table->partitions));
    op->durability = KITH_DURABLE_DISK;
    if (lease) {
        op->u.lease.now_ms = node->wall_ms;
        op->u.lease.grace_ms = node->sweep.grace_ms;
        op->u.lease.count = req->id_count;
        op->u.lease.ids = req->ids;
        return;
    }
    op->u.chunk_sync.id_count = req->id_count;
    op->u.chunk_sync.ids = req->ids;
}

void chunk_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    if (msg->kind == KITH_MSG_CHUNK_PUT_REQ) {
        chunk_put(node, conn, msg);
    } else if (msg->kind == KITH_MSG_CHUNK_GET_REQ) {
        chunk_get(node, conn, msg);
    } else {
        chunk_sync(node, conn, msg);
    }
}

/* A lease in the terms of a sync: who is not held, or goes, is missing. */
static uint32_t not_held(struct kith_node *node, const struct kith_chunk_sync_req *req,
                         const struct kith_store_done *done, const struct kith_chunk_id **ret_ids)
{
    struct kith_chunk_id *ids = kith_arena_alloc(&node->arena, (req->id_count + 1u) * sizeof *ids);
    uint32_t count = 0, held = 0;
    for (uint32_t i = 0; ids && i < req->id_count; i++) {
        if (held < done->u.lease.held_count &&
            memcmp(&req->ids[i], &done->u.lease.held[held], sizeof *ids) == 0) {
            held++;
        } else {
            ids[count++] = req->ids[i];
        }
    }
    *ret_ids = ids;
    return count;
}

void chunk_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done)
{
    if (done->err == KITH_OK && pending->asked == KITH_MSG_CHUNK_PUT_REQ &&
        done->reached != pending->durability) {
        return; /* at os; the disk follows */
    }
    core_stored_last(node, pending);
    if (done->err == KITH_ECANCELED && pending->asked == KITH_MSG_CHUNK_PUT_REQ &&
        !pending->answered) {
        chunk_lease(node, pending, done);
        return;
    }
    if (done->err == KITH_OK && pending->thin) {
        exchange_thin(node, done->partition);
    }
    if (done->err != KITH_OK) {
        pending_refuse(node, pending, done->err,
                       core_text(node, "node %s: %s", node->address, done->message));
    } else if (pending->answered) {
        /* too late: nobody waits */
    } else if (pending->asked == KITH_MSG_CHUNK_SYNC_REQ) {
        struct kith_chunk_sync_res *res =
            &core_send(node, pending->conn, KITH_MSG_CHUNK_SYNC_RES, pending->msg_id)
                 ->u.chunk_sync_res;
        res->status = core_ok();
        if (pending->u.chunk.lease) {
            res->missing_count = not_held(node, pending->u.chunk.lease, done, &res->missing);
        } else {
            res->missing_count = done->u.chunk_sync.missing_count;
            res->missing = done->u.chunk_sync.missing;
            for (uint32_t i = 0; i < res->missing_count; i++) {
                exchange_late(node, kith_chunk_partition(&res->missing[i],
                                                         node->table->partitions));
            }
        }
    } else {
        struct kith_chunk_res *res =
            &core_send(node, pending->conn, KITH_MSG_CHUNK_RES, pending->msg_id)->u.chunk_res;
        res->status = core_ok();
        if (pending->asked == KITH_MSG_CHUNK_GET_REQ) {
            res->checksum = done->u.chunk.checksum;
            res->chunk_size = done->u.chunk.chunk_size;
            res->ref_count = done->u.chunk.ref_count;
            res->refs = done->u.chunk.refs;
            res->payload = done->u.chunk.payload;
        }
    }
    pending_end(node, pending);
}
