/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * status.c - what this node says of itself, of the members that it knows, and of a row. */
#include <string.h>

#include "core/internal.h"

/* How far anti-entropy is. The pairs of a table that has just come are made a moment later. */
static void pairs_count(const struct kith_node *node, struct kith_node_status *self)
{
    const struct exchange_pair *pairs = node->exchanges.pairs;
    uint32_t all = node->exchanges.pair_count;
    self->pairs = node->exchanges.own_count;
    for (uint32_t i = 0; i < self->pairs; i++) { /* a pair's rows, and its chunks */
        uint64_t rows_ms = pairs[i].whole_ms, chunks_ms = pairs[all + i].whole_ms;
        uint64_t whole_ms = rows_ms < chunks_ms ? rows_ms : chunks_ms;
        uint64_t ago_ms = node->now_ms - whole_ms;
        if (whole_ms == 0) {
            self->pairs_never++;
        } else if (ago_ms > self->pairs_oldest_ms) {
            self->pairs_oldest_ms = ago_ms;
        }
    }
}

/* Whether this node is the first owner that is up, as far as it knows: it tells of the partition. */
static bool tells_of(const struct kith_node *node, uint32_t partition)
{
    const uint16_t *owners = kith_table_owners(node->table, partition);
    for (uint32_t i = 0; i < node->table->owner_slots; i++) {
        uint16_t peer = node->peer_of_member[owners[i]];
        if (owners[i] == node->self) {
            return true;
        }
        if (peer != KITH_NO_PEER && peer_alive(&node->peers[peer])) {
            return false;
        }
    }
    return false;
}

static uint64_t conflicts_count(const struct kith_node *node,
                                const struct kith_store_counts *counts)
{
    uint64_t files = 0;
    for (uint32_t i = 0; i < counts->conflict_count; i++) {
        const struct kith_store_conflicts *some = &counts->conflicts[i];
        files += tells_of(node, some->partition) ? some->files : 0;
    }
    return files;
}

static void status_answer(struct kith_node *node, uint64_t conn, uint64_t id,
                          const struct kith_store_counts *counts)
{
    struct kith_status_res *res = &core_send(node, conn, KITH_MSG_STATUS_RES, id)->u.status_res;
    res->status = core_ok();
    struct kith_node_status *self = &res->node;
    self->node = node->uuid;
    self->cluster_name = "";
    self->software = node->software;
    if (node->has_cluster) {
        self->cluster = node->cluster.uuid;
        self->cluster_name = node->cluster.name;
        self->table = node->table->id;
        self->partitions = node->cluster.partitions;
        self->replicas = node->cluster.replicas;
    }
    self->rows = counts->rows;
    self->row_bytes = counts->row_bytes;
    self->chunks = counts->chunks;
    self->chunk_bytes = counts->chunk_bytes;
    self->disk_total_bytes = counts->disk_total_bytes;
    self->disk_free_bytes = counts->disk_free_bytes;
    self->disk_id = counts->disk_id;
    self->disk_room_bytes = node->space < KITH_SPACE_FULL ? counts->disk_room_bytes : 0;
    self->space = node->space;
    self->puts = node->puts;
    self->gets = node->gets;
    self->scans = node->scans;
    self->hints = counts->hints.count;
    self->hint_bytes = counts->hints.bytes;
    self->custody = counts->hints.custody;
    self->thin_rows = counts->hints.thin;
    if (counts->hints.first_ms != 0 && counts->hints.first_ms < node->wall_ms) {
        self->hint_oldest_ms = node->wall_ms - counts->hints.first_ms;
    }
    self->uptime_ms = node->now_ms - node->started_ms;
    self->move_gains = node->moves.gained;
    self->move_complete = node->moves.synced ? node->moves.gained : node->moves.complete;
    self->move_bytes = node->moves.bytes;
    self->moved = moves_done(node);
    const struct sweep *sweep = &node->sweep;
    self->sweep.condemned = sweep->condemned;
    self->sweep.swept = sweep->swept;
    self->sweep.swept_bytes = sweep->swept_bytes;
    self->sweep.ms_ago = sweep->whole_ms > 0 ? node->now_ms - sweep->whole_ms : UINT64_MAX;
    self->sweep.waits = sweep->waits;
    const struct reap *reap = &node->reap;
    self->sweep.reaped = reap->reaped;
    self->sweep.floors = reap->floors;
    self->sweep.reap_ms_ago = reap->whole_ms > 0 ? node->now_ms - reap->whole_ms : UINT64_MAX;
    self->sweep.reap_waits = reap->waits;
    self->refill_left = refill_left(node);
    self->refill_total = self->refill_left > 0 ? node->refill.total : 0;
    self->aged_left = node->aged.left;
    self->conflicts = conflicts_count(node, counts);
    pairs_count(node, self);
    res->member_count = members_all(node, &res->members);
}

void status_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    if (!node->has_cluster) {
        struct kith_store_counts none = {0}; /* the store is not yet configured: nothing is held */
        status_answer(node, conn, msg->id, &none);
        return;
    }
    struct pending *pending = pending_new(node, PENDING_STATUS, conn, msg, KITH_READ_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    core_store(node, pending, KITH_STORE_COUNT, 0);
}

void status_stored(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done)
{
    core_stored_last(node, pending);
    if (done->err != KITH_OK) {
        pending_refuse(node, pending, done->err, core_text(node, "%s", done->message));
    } else if (!pending->answered) {
        pending->answered = true;
        if (pending->asked == KITH_MSG_REPAIR_CMD) {
            repair_answer(node, pending, &done->u.counts);
        } else {
            status_answer(node, pending->conn, pending->msg_id, &done->u.counts);
        }
    }
    pending_end(node, pending);
}

/* ---- For kithctl explain ---- */

static uint64_t ms_ago(const struct kith_node *node, uint64_t whole_ms)
{
    return whole_ms > 0 ? node->now_ms - whole_ms : UINT64_MAX;
}

void explain_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    if (!node->has_cluster) {
        core_refuse(node, conn, msg, KITH_ENOTREADY, "this node has no cluster yet");
        return;
    }
    const struct exchanges *exchanges = &node->exchanges;
    uint32_t partition =
        kith_group_partition(&msg->u.explain_req.group, node->table->partitions);
    struct kith_explain_pair *list =
        kith_arena_calloc(&node->arena, KITH_REPLICAS_MAX, sizeof *list);
    if (!list) {
        core_refuse(node, conn, msg, KITH_ENOMEM, "out of memory");
        return;
    }
    struct kith_explain_res *res =
        &core_send(node, conn, KITH_MSG_EXPLAIN_RES, msg->id)->u.explain_res;
    res->status = core_ok();
    res->pairs = list;
    for (uint32_t i = 0; i < exchanges->pair_count; i++) { /* a pair's rows, and its chunks */
        const struct exchange_pair *rows = &exchanges->pairs[i];
        const struct exchange_pair *chunks = &exchanges->pairs[exchanges->pair_count + i];
        if (rows->partition == partition && res->pair_count < KITH_REPLICAS_MAX) {
            struct kith_explain_pair *pair = &list[res->pair_count++];
            pair->node = node->peers[rows->peer].uuid;
            pair->rows_ms_ago = ms_ago(node, rows->whole_ms);
            pair->chunks_ms_ago = ms_ago(node, chunks->whole_ms);
        }
    }
}
