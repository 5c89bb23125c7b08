/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pending.c - requests under way: a fixed pool, and a heap of the times at which each is due.
 *
 * A slot that has a store operation out is never reused before the last completion, because the
 * operation points into the slot's arena; it is only marked as answered. So a store that hangs
 * fills the pool, and further requests are REFUSED: the bound on memory holds whatever the disk
 * does. What requests bring is counted as well: thousands of them with a chunk each would be too much.
 *
 * Ids are (use * KITH_PENDING_MAX + slot), where `use` counts allocations: an answer or completion
 * that comes too late finds another id in the slot and is dropped. */
#include <inttypes.h>
#include <string.h>

#include "core/internal.h"

enum kith_err pending_init(struct kith_node *node)
{
    node->pendings = kith_calloc(KITH_PENDING_MAX, sizeof *node->pendings);
    node->heap = kith_calloc(KITH_PENDING_MAX, sizeof *node->heap);
    if (!node->pendings || !node->heap) {
        return KITH_ENOMEM;
    }
    node->pending_free = KITH_PENDING_MAX;
    node->pending_ended = KITH_PENDING_MAX;
    return KITH_OK;
}

void pending_release_all(struct kith_node *node)
{
    for (uint32_t i = 0; node->pendings && i < node->pending_fresh; i++) {
        kith_blob_drop(node->pendings[i].blob);
        kith_arena_release(&node->pendings[i].arena);
    }
    kith_free(node->pendings);
    kith_free(node->heap);
}

/* ---- The heap: smallest due_ms first, ties by id so that order never depends on history ---- */

static bool heap_before(const struct kith_node *node, uint32_t a, uint32_t b)
{
    const struct pending *pa = &node->pendings[a];
    const struct pending *pb = &node->pendings[b];
    return pa->due_ms != pb->due_ms ? pa->due_ms < pb->due_ms : pa->id < pb->id;
}

static void heap_set(struct kith_node *node, uint32_t at, uint32_t slot)
{
    node->heap[at] = slot;
    node->pendings[slot].heap_at = at;
}

static void heap_fix(struct kith_node *node, uint32_t at)
{
    uint32_t slot = node->heap[at];
    while (at > 0 && heap_before(node, slot, node->heap[(at - 1) / 2])) {
        heap_set(node, at, node->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= node->heap_count) {
            break;
        }
        if (child + 1 < node->heap_count &&
            heap_before(node, node->heap[child + 1], node->heap[child])) {
            child++;
        }
        if (!heap_before(node, node->heap[child], slot)) {
            break;
        }
        heap_set(node, at, node->heap[child]);
        at = child;
    }
    heap_set(node, at, slot);
}

static void heap_remove(struct kith_node *node, struct pending *pending)
{
    uint32_t at = pending->heap_at;
    if (at == KITH_NOT_HEAPED) {
        return;
    }
    pending->heap_at = KITH_NOT_HEAPED;
    node->heap_count--;
    if (at < node->heap_count) {
        heap_set(node, at, node->heap[node->heap_count]);
        heap_fix(node, at);
    }
}

/* ---- Life ---- */

/* Of contents; names and lists are small. One message has no more than some MiB. */
static uint32_t bytes_of(const struct kith_msg *msg)
{
    uint64_t bytes = 0;
    if (msg->kind == KITH_MSG_PUT_REQ) {
        for (uint32_t i = 0; i < msg->u.put_req.update_count; i++) {
            const struct kith_put_update *update = &msg->u.put_req.updates[i];
            bytes += update->value.size + update->context.size +
                     update->ref_count * sizeof update->refs[0];
        }
    } else if (msg->kind == KITH_MSG_REPLICATE_REQ) {
        for (uint32_t i = 0; i < msg->u.replicate_req.row_count; i++) {
            bytes += msg->u.replicate_req.rows[i].state.size;
        }
    } else if (msg->kind == KITH_MSG_CHUNK_PUT_REQ && msg->u.chunk_put_req.payload != NULL) {
        bytes = msg->u.chunk_put_req.payload->size;
    }
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

struct pending *pending_new(struct kith_node *node, enum pending_kind kind, uint64_t conn,
                            const struct kith_msg *asked, uint64_t timeout_ms)
{
    bool fresh = node->pending_free == KITH_PENDING_MAX;
    uint32_t slot = fresh ? node->pending_fresh : node->pending_free;
    uint32_t bytes = asked ? bytes_of(asked) : 0;
    if (slot == KITH_PENDING_MAX ||
        (bytes > 0 && node->pending_bytes + bytes > KITH_PENDING_BYTES_MAX)) {
        return NULL;
    }
    struct pending *pending = &node->pendings[slot];
    if (fresh) {
        node->pending_fresh++;
    } else {
        node->pending_free = pending->next_free;
    }
    memset(pending, 0, sizeof *pending);
    kith_arena_init(&pending->arena, 0);
    node->pending_use++;
    node->pending_count++;
    node->pending_bytes += bytes;
    pending->bytes = bytes;
    pending->kind = kind;
    pending->slot = slot;
    pending->id = node->pending_use * KITH_PENDING_MAX + slot;
    pending->conn = conn;
    if (asked) {
        pending->msg_id = asked->id;
        pending->asked = asked->kind;
    }
    pending->heap_at = KITH_NOT_HEAPED;
    pending->deadline_ms = UINT64_MAX;
    if (timeout_ms != UINT64_MAX) {
        pending->deadline_ms = node->now_ms + timeout_ms;
        pending->due_ms = pending->deadline_ms;
        node->heap[node->heap_count] = slot;
        pending->heap_at = node->heap_count;
        node->heap_count++;
        heap_fix(node, pending->heap_at);
    }
    return pending;
}

void pending_renew(struct kith_node *node, struct pending *pending)
{
    node->pending_use++;
    pending->id = node->pending_use * KITH_PENDING_MAX + pending->slot;
    if (pending->heap_at != KITH_NOT_HEAPED) {
        heap_fix(node, pending->heap_at);
    }
}

struct pending *pending_get(struct kith_node *node, uint64_t id)
{
    struct pending *pending = &node->pendings[id % KITH_PENDING_MAX];
    return pending->kind != PENDING_FREE && pending->id == id ? pending : NULL;
}

void pending_end(struct kith_node *node, struct pending *pending)
{
    pending->answered = true;
    heap_remove(node, pending);
    if (pending->op_out) {
        return;
    }
    pending->kind = PENDING_FREE;
    pending->next_free = node->pending_ended;
    node->pending_ended = pending->slot;
    node->pending_count--;
}

void pending_bury(struct kith_node *node)
{
    while (node->pending_ended != KITH_PENDING_MAX) {
        struct pending *pending = &node->pendings[node->pending_ended];
        node->pending_ended = pending->next_free;
        kith_blob_drop(pending->blob);
        pending->blob = NULL;
        node->pending_bytes -= pending->bytes;
        kith_arena_release(&pending->arena);
        pending->next_free = node->pending_free;
        node->pending_free = pending->slot;
    }
}

void pending_set_due(struct kith_node *node, struct pending *pending, uint64_t due_ms)
{
    if (pending->heap_at != KITH_NOT_HEAPED) {
        pending->due_ms = due_ms < pending->deadline_ms ? due_ms : pending->deadline_ms;
        heap_fix(node, pending->heap_at);
    }
}

void core_stored_last(struct kith_node *node, struct pending *pending)
{
    pending->op_out = false;
    if (pending->writing) {
        pending->writing = false;
        node->writes_out--;
    }
}

void pending_poke(struct kith_node *node, struct pending *pending)
{
    pending->recheck = true;
    pending_set_due(node, pending, node->now_ms);
}

uint64_t pending_due(const struct kith_node *node)
{
    return node->heap_count > 0 ? node->pendings[node->heap[0]].due_ms : UINT64_MAX;
}

static void pending_expire(struct kith_node *node, struct pending *pending)
{
    switch (pending->kind) {
    case PENDING_PUT:
        put_expire(node, pending);
        return;
    case PENDING_REPAIR:
        repair_end(node, pending);
        return;
    case PENDING_EXCHANGE:
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        return;
    case PENDING_FETCH:
        fetch_expire(node, pending);
        return;
    case PENDING_HANDOFF:
        handoff_expire(node, pending);
        return;
    case PENDING_RELAY:
        relay_expire(node, pending);
        return;
    case PENDING_SWEEP:
        sweep_expire(node, pending);
        return;
    case PENDING_LEASE:
        lease_expire(node, pending);
        return;
    case PENDING_REAP:
        reap_expire(node, pending);
        return;
    default:
        pending_refuse(node, pending, KITH_ETIMEOUT, "the deadline passed");
        pending_end(node, pending);
    }
}

void pending_tick(struct kith_node *node)
{
    for (uint32_t i = 0; i < KITH_STEP_TIMERS && pending_due(node) <= node->now_ms; i++) {
        struct pending *pending = &node->pendings[node->heap[0]];
        if (pending->recheck && pending->deadline_ms > node->now_ms) {
            pending->recheck = false;
            pending_set_due(node, pending, pending->deadline_ms);
            if (pending->kind == PENDING_PUT) {
                put_recheck(node, pending);
            } else if (pending->kind == PENDING_EXCHANGE) {
                exchange_recheck(node, pending);
            }
            continue;
        }
        pending_expire(node, pending);
    }
}

/* ---- Answers that are only a status ---- */

static void refuse(struct kith_node *node, uint64_t conn, enum kith_msg_kind asked, uint64_t id,
                   struct kith_status status)
{
    switch (asked) {
    case KITH_MSG_TABLE_REQ:
        core_send(node, conn, KITH_MSG_TABLE_RES, id)->u.table_res.status = status;
        return;
    case KITH_MSG_PUT_REQ:
        core_send(node, conn, KITH_MSG_PUT_RES, id)->u.put_res.status = status;
        return;
    case KITH_MSG_GET_REQ:
        core_send(node, conn, KITH_MSG_GET_RES, id)->u.get_res.status = status;
        return;
    case KITH_MSG_SCAN_REQ:
        core_send(node, conn, KITH_MSG_SCAN_RES, id)->u.scan_res.status = status;
        return;
    case KITH_MSG_GROUPS_REQ:
        core_send(node, conn, KITH_MSG_GROUPS_RES, id)->u.groups_res.status = status;
        return;
    case KITH_MSG_CHUNK_PUT_REQ:
    case KITH_MSG_CHUNK_GET_REQ:
        core_send(node, conn, KITH_MSG_CHUNK_RES, id)->u.chunk_res.status = status;
        return;
    case KITH_MSG_CHUNK_SYNC_REQ:
        core_send(node, conn, KITH_MSG_CHUNK_SYNC_RES, id)->u.chunk_sync_res.status = status;
        return;
    case KITH_MSG_REPLICATE_REQ:
        core_send(node, conn, KITH_MSG_REPLICATE_RES, id)->u.replicate_res.status = status;
        return;
    case KITH_MSG_REQUEST_FIND_REQ:
        core_send(node, conn, KITH_MSG_REQUEST_FIND_RES, id)->u.request_find_res.status = status;
        return;
    case KITH_MSG_INIT_REQ:
    case KITH_MSG_JOIN_CMD:
    case KITH_MSG_REVOKED_CMD:
        core_send(node, conn, KITH_MSG_ADMIN_RES, id)->u.admin_res.status = status;
        return;
    case KITH_MSG_JOIN_REQ:
        core_send(node, conn, KITH_MSG_JOIN_RES, id)->u.join_res.status = status;
        return;
    case KITH_MSG_REPAIR_CMD:
        core_send(node, conn, KITH_MSG_REPAIR_RES, id)->u.repair_res.status = status;
        return;
    case KITH_MSG_OFFER_REQ:
        core_send(node, conn, KITH_MSG_OFFER_RES, id)->u.offer_res.status = status;
        return;
    case KITH_MSG_PLAN_REQ:
        core_send(node, conn, KITH_MSG_PLAN_RES, id)->u.plan_res.status = status;
        return;
    case KITH_MSG_STATUS_REQ:
        core_send(node, conn, KITH_MSG_STATUS_RES, id)->u.status_res.status = status;
        return;
    case KITH_MSG_WATCH_REQ:
        core_send(node, conn, KITH_MSG_WATCH_RES, id)->u.watch_res.status = status;
        return;
    case KITH_MSG_SUMS_REQ:
        core_send(node, conn, KITH_MSG_SUMS_RES, id)->u.sums_res.status = status;
        return;
    case KITH_MSG_LEAF_REQ:
        core_send(node, conn, KITH_MSG_LEAF_RES, id)->u.leaf_res.status = status;
        return;
    case KITH_MSG_EXPLAIN_REQ:
        core_send(node, conn, KITH_MSG_EXPLAIN_RES, id)->u.explain_res.status = status;
        return;
    case KITH_MSG_CHUNK_LIST_REQ:
        core_send(node, conn, KITH_MSG_CHUNK_LIST_RES, id)->u.chunk_list_res.status = status;
        return;
    case KITH_MSG_HANDOFF_REQ:
        core_send(node, conn, KITH_MSG_HANDOFF_RES, id)->u.handoff_res.status = status;
        return;
    case KITH_MSG_SWEEP_REQ:
        core_send(node, conn, KITH_MSG_SWEEP_RES, id)->u.sweep_res.status = status;
        return;
    case KITH_MSG_REAP_REQ:
        core_send(node, conn, KITH_MSG_REAP_RES, id)->u.reap_res.status = status;
        return;
    case KITH_MSG_LEASE_REQ:
        core_send(node, conn, KITH_MSG_LEASE_RES, id)->u.lease_res.status = status;
        return;
    default:
        return; /* answers, pings and repairs: nobody waits */
    }
}

void pending_refuse(struct kith_node *node, struct pending *pending, enum kith_err err,
                    const char *message)
{
    if (!pending->answered) {
        pending->answered = true;
        refuse(node, pending->conn, pending->asked, pending->msg_id, core_status(err, message));
    }
}

void core_refuse(struct kith_node *node, uint64_t conn, const struct kith_msg *asked,
                 enum kith_err err, const char *message)
{
    refuse(node, conn, asked->kind, asked->id, core_status(err, message));
}

void core_refuse_full(struct kith_node *node, uint64_t conn, const struct kith_msg *asked)
{
    core_refuse(node, conn, asked, KITH_EREFUSED,
                core_text(node, "%u requests with %" PRIu64 " MiB of contents are under way in this node",
                          node->pending_count, node->pending_bytes >> 20));
}
