/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * lease.c - leases for the chunks that a write newly refers to (sweep.h), asked of their owners by the
 * node that coordinates the write, before it stores it.
 *
 * A chunk is leased once W of its owners have noted it on their disks (who does not hold it, and knows
 * nothing of it, agrees only) and one of them holds it. Where
 * fewer can be reached, those there are: see sweep.h. Else the write is refused. This costs a round
 * trip and a flush, and comes seldom: a file that was copied, moved to another folder or written again
 * after a long time, whose chunks nothing on this node refers to. */
#include <string.h>

#include "core/internal.h"

#define LEASE_OUT_MAX    (2u * KITH_REPLICAS_MAX) /* members that are asked at a time */
#define LEASE_TIMEOUT_MS 5000u
#define LEASE_ROUNDS_MAX (KITH_REFS_MAX / KITH_SWEEP_MAX + 8u) /* of one write */

enum kith_err leases_add(struct kith_arena *arena, struct pending_leases *leases, uint32_t count,
                         const struct kith_chunk_id *ids)
{
    struct kith_chunk_id *all =
        kith_arena_alloc(arena, (leases->count + count + 1u) * sizeof *all);
    if (!all) {
        return KITH_ENOMEM;
    }
    uint32_t i = 0, j = 0, at = 0;
    while (i < leases->count || j < count) {
        int order = i == leases->count ? 1
                    : j == count       ? -1
                                       : memcmp(&leases->ids[i], &ids[j], sizeof *ids);
        all[at++] = order <= 0 ? leases->ids[i] : ids[j];
        i += order <= 0 ? 1 : 0;
        j += order >= 0 ? 1 : 0;
    }
    leases->ids = all;
    leases->count = at;
    return KITH_OK;
}

struct kith_refs_rule leases_rule(const struct kith_node *node, const struct pending_leases *leases)
{
    struct kith_refs_rule rule = {.now_ms = node->wall_ms,
                                  .grace_ms = node->sweep.grace_ms,
                                  .own = exchange_caught_up(node),
                                  .leased_count = leases->count,
                                  .leased = leases->ids};
    return rule;
}

/* ---- The end ---- */

static void lease_end(struct kith_node *node, struct pending *pending, enum kith_err err,
                      const char *message)
{
    struct pending *parent =
        pending->answered ? NULL : pending_get(node, pending->u.lease.parent);
    if (parent && parent->kind == PENDING_PUT) {
        put_leased(node, parent, err, message);
    } else if (parent && parent->kind == PENDING_CHUNK) {
        chunk_leased(node, parent, err, message);
    }
    pending_end(node, pending);
}

/* Of those who hold the chunk; while it moves a majority of the owners and of those to be. */
static uint32_t needed(const struct kith_node *node, const struct kith_chunk_id *id)
{
    return kith_table_need(node->table, kith_chunk_partition(id, node->table->partitions), 0);
}

static bool all_leased(const struct kith_node *node, const struct pending_lease *lease)
{
    for (uint32_t i = 0; i < lease->count; i++) {
        if (lease->leased[i] < needed(node, &lease->ids[i]) || lease->held[i] == 0) {
            return false;
        }
    }
    return true;
}

/* Nobody is left to answer. */
static void judge(struct kith_node *node, struct pending *pending)
{
    const struct pending_lease *lease = &pending->u.lease;
    bool gone = false;
    for (uint32_t i = 0; i < lease->count; i++) {
        uint32_t w = needed(node, &lease->ids[i]);
        bool enough = lease->leased[i] >= w && lease->held[i] > 0;
        if (!enough && (lease->gone[i] || lease->leased[i] >= w)) {
            gone = true;
        } else if (!enough && lease->held[i] == 0) {
            lease_end(node, pending, KITH_EUNREACH,
                      "no owner of a chunk that it refers to can be reached");
            return;
        }
    }
    lease_end(node, pending, gone ? KITH_EREFUSED : KITH_OK,
              "a chunk that it refers to is gone: nothing has referred to it for long");
}

/* ---- Asking ---- */

static uint32_t ids_of(struct kith_node *node, const struct pending_lease *lease, uint32_t member,
                       struct kith_chunk_id *ret_ids)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lease->count; i++) {
        uint32_t partition = kith_chunk_partition(&lease->ids[i], node->table->partitions);
        if (kith_table_holds(node->table, partition, (uint16_t)member)) {
            ret_ids[count++] = lease->ids[i];
        }
    }
    return count;
}

static void ask_self(struct kith_node *node, struct pending *pending, uint32_t count,
                     const struct kith_chunk_id *ids)
{
    pending->u.lease.self_out = true;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_CHUNK_LEASE,
                   kith_chunk_partition(&ids[0], node->table->partitions));
    op->durability = KITH_DURABLE_DISK;
    op->u.lease.now_ms = node->wall_ms;
    op->u.lease.grace_ms = node->sweep.grace_ms;
    op->u.lease.count = count;
    op->u.lease.ids = ids;
}

static void ask_peer(struct kith_node *node, struct pending *pending, uint16_t index,
                     uint32_t count, const struct kith_chunk_id *ids)
{
    struct pending_lease *lease = &pending->u.lease;
    if (!peer_want(node, &node->peers[index])) {
        return;
    }
    lease->out++;
    lease->waits[index / 8] = (uint8_t)(lease->waits[index / 8] | 1u << index % 8);
    peer_doubt(node, index, node->now_ms);
    struct kith_lease_req *req =
        &core_send(node, node->peers[index].conn, KITH_MSG_LEASE_REQ, pending->id)->u.lease_req;
    req->table = lease->table;
    req->id_count = count;
    req->ids = ids;
}

/* Asks some more; or the outcome is known. */
static void lease_go(struct kith_node *node, struct pending *pending)
{
    struct pending_lease *lease = &pending->u.lease;
    const struct kith_table *table = node->table;
    if (kith_table_id_compare(&lease->table, &table->id) != 0) {
        lease_end(node, pending, KITH_ENOTREADY, "the table changes");
        return;
    }
    while (lease->next < table->member_count && lease->out < LEASE_OUT_MAX) {
        uint32_t member = lease->next++;
        struct kith_chunk_id *ids =
            kith_arena_alloc(&pending->arena, lease->count * sizeof *ids);
        uint32_t count = ids ? ids_of(node, lease, member, ids) : 0;
        if (count == 0) {
            continue;
        }
        if (member == node->self) {
            ask_self(node, pending, count, ids);
        } else {
            ask_peer(node, pending, node->peer_of_member[member], count, ids);
        }
    }
    if (all_leased(node, lease)) {
        lease_end(node, pending, KITH_OK, "");
    } else if (lease->out == 0 && !lease->self_out) {
        judge(node, pending);
    }
}

bool lease_begin(struct kith_node *node, struct pending *parent, uint32_t count,
                 const struct kith_chunk_id *ids)
{
    struct pending_leases *leases = parent->kind == PENDING_PUT ? &parent->u.put.leases
                                                                : &parent->u.chunk.leases;
    uint64_t left_ms = parent->deadline_ms - node->now_ms;
    struct pending *pending = NULL;
    if (count > 0 && count <= KITH_SWEEP_MAX && leases->rounds < LEASE_ROUNDS_MAX &&
        node->self != KITH_NO_MEMBER && leases_add(&parent->arena, leases, count, ids) == KITH_OK) {
        pending = pending_new(node, PENDING_LEASE, 0, NULL,
                              left_ms < LEASE_TIMEOUT_MS ? left_ms : LEASE_TIMEOUT_MS);
    }
    if (!pending) {
        return false;
    }
    leases->rounds++;
    struct pending_lease *lease = &pending->u.lease;
    struct kith_arena *arena = &pending->arena;
    lease->parent = parent->id;
    lease->table = node->table->id;
    lease->count = count;
    lease->ids = kith_arena_copy(arena, ids, count * sizeof *ids);
    lease->leased = kith_arena_calloc(arena, count, 1);
    lease->held = kith_arena_calloc(arena, count, 1);
    lease->gone = kith_arena_calloc(arena, count, sizeof *lease->gone);
    lease->waits = kith_arena_calloc(arena, node->peer_count / 8u + 1u, 1);
    lease->waits_peers = node->peer_count;
    if (!lease->ids || !lease->leased || !lease->held || !lease->gone || !lease->waits) {
        pending_end(node, pending);
        return false;
    }
    pending_set_due(node, pending, node->now_ms); /* it begins with the next tick */
    return true;
}

/* ---- Answers ---- */

/* Of those that member was asked for: who of them it holds, and whom it refuses. */
static void take(struct kith_node *node, struct pending_lease *lease, uint32_t member,
                 uint32_t held_count, const struct kith_chunk_id *held, uint32_t gone_count,
                 const struct kith_chunk_id *gone)
{
    uint32_t h = 0, g = 0;
    for (uint32_t i = 0; i < lease->count; i++) {
        const struct kith_chunk_id *id = &lease->ids[i];
        uint32_t partition = kith_chunk_partition(id, node->table->partitions);
        if (!kith_table_holds(node->table, partition, (uint16_t)member)) {
            continue;
        }
        if (g < gone_count && memcmp(id, &gone[g], sizeof *id) == 0) {
            lease->gone[i] = true;
            g++;
            continue;
        }
        lease->leased[i]++;
        if (h < held_count && memcmp(id, &held[h], sizeof *id) == 0) {
            lease->held[i]++;
            h++;
        }
    }
}

void lease_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done)
{
    struct pending_lease *lease = &pending->u.lease;
    core_stored_last(node, pending);
    if (pending->answered) {
        pending_end(node, pending);
        return;
    }
    lease->self_out = false;
    if (done->err == KITH_OK && kith_table_id_compare(&lease->table, &node->table->id) == 0) {
        take(node, lease, node->self, done->u.lease.held_count, done->u.lease.held,
             done->u.lease.gone_count, done->u.lease.gone);
    }
    lease_go(node, pending);
}

static bool answers(const struct pending *pending, uint16_t peer)
{
    return !pending->answered && peer < pending->u.lease.waits_peers &&
           (pending->u.lease.waits[peer / 8] & 1u << peer % 8) != 0;
}

static void answered(struct pending_lease *lease, uint16_t peer)
{
    lease->waits[peer / 8] = (uint8_t)(lease->waits[peer / 8] & ~(1u << peer % 8));
    lease->out--;
}

void lease_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_lease_res *res)
{
    struct pending_lease *lease = &pending->u.lease;
    if (!answers(pending, peer)) {
        return;
    }
    answered(lease, peer);
    uint16_t member = kith_table_find(node->table, &node->peers[peer].uuid);
    if (res->status.err == KITH_OK && member != KITH_NO_MEMBER &&
        kith_table_id_compare(&lease->table, &node->table->id) == 0) {
        take(node, lease, member, res->held_count, res->held, res->gone_count, res->gone);
    }
    lease_go(node, pending);
}

void lease_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (answers(pending, peer)) {
        answered(&pending->u.lease, peer);
        pending_set_due(node, pending, node->now_ms); /* no step has too much to do */
    }
}

void lease_expire(struct kith_node *node, struct pending *pending)
{
    if (node->now_ms < pending->deadline_ms) {
        pending_set_due(node, pending, pending->deadline_ms);
        lease_go(node, pending);
    } else {
        judge(node, pending);
    }
}
