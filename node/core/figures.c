/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/figures.h"

#include <stdio.h>
#include <string.h>

#include "core/internal.h"

static void peer_fill(const struct kith_node *node, const struct peer *peer,
                      struct kith_peer_figures *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->uuid = peer->uuid;
    (void)snprintf(ret->address, sizeof ret->address, "%s", peer->info.address);
    (void)snprintf(ret->zone, sizeof ret->zone, "%s", peer->info.zone);
    (void)snprintf(ret->software, sizeof ret->software, "%s", peer->info.software);
    ret->member = peer->member;
    ret->up = peer_alive(peer);
    ret->full = peer->full;
    ret->state = peer->live;
    ret->seen_ms_ago = peer->seen_ms > 0 ? node->now_ms - peer->seen_ms : UINT64_MAX;
}

static void pair_add(const struct kith_node *node, const struct exchange_pair *pair, bool chunks,
                     struct kith_peer_figures *peer)
{
    bool never = pair->whole_ms == 0;
    uint64_t ago_ms = never ? UINT64_MAX : node->now_ms - pair->whole_ms;
    peer->pairs++;
    peer->running += pair->out ? 1 : 0;
    peer->compared += !never && pair->whole_ms >= node->exchanges.round_ms ? 1 : 0;
    peer->backlog += never || pair->suspected || pair->again || pair->first ? 1 : 0;
    if (ago_ms > peer->oldest_ms_ago) {
        peer->oldest_ms_ago = ago_ms;
    }
    *(chunks ? &peer->chunks : &peer->rows) += pair->brought;
    peer->bytes += pair->bytes;
    peer->tree_bytes += pair->tree_bytes;
}

static void pairs_add(const struct kith_node *node, struct kith_peer_figures peers[], uint32_t room)
{
    const struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < EXCHANGE_CLASSES * exchanges->pair_count; i++) {
        const struct exchange_pair *pair = &exchanges->pairs[i];
        if (pair->peer < room) { /* KITH_NO_PEER is beyond any */
            pair_add(node, pair, i >= exchanges->pair_count, &peers[pair->peer]);
        }
    }
}

static uint32_t owned_count(const struct kith_node *node)
{
    uint32_t owned = 0;
    for (uint32_t p = 0; node->table && p < node->table->partitions; p++) {
        owned += node->self != KITH_NO_MEMBER && kith_table_owns(node->table, p, node->self);
    }
    return owned;
}

uint32_t kith_node_peer_count(const struct kith_node *node)
{
    return node->peer_count;
}

void kith_node_figures(const struct kith_node *node, struct kith_node_figures *ret,
                       struct kith_peer_figures peers[], uint32_t room)
{
    uint32_t count = node->peer_count < room ? node->peer_count : room;
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < count; i++) {
        peer_fill(node, &node->peers[i], &peers[i]);
    }
    if (node->has_cluster) {
        pairs_add(node, peers, count);
    }
    ret->requests = node->pending_count;
    ret->connections = node->conn_count;
    ret->watches = node->watches.count;
    ret->reconnects = node->reconnects;
    ret->refuted = node->swim.refuted;
    ret->unsound = node->swim.unsound;
    ret->handoffs = node->handoffs.out;
    ret->repair_stopped = node->exchanges.stopped;
    ret->damaged = node->exchanges.damaged;
    ret->scrub.left = node->scrub.left;
    ret->scrub.rows = node->scrub.rows;
    ret->scrub.chunks = node->scrub.chunk_count;
    ret->scrub.bytes = node->scrub.bytes;
    ret->scrub.ended = node->scrub.ended_wall_ms;
    ret->owned = owned_count(node);
}

struct kith_table *kith_node_table_hold(const struct kith_node *node)
{
    return node->table ? kith_table_hold(node->table) : NULL;
}
