/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/internal.h"

#define INQUIRY_OUT_MAX (2u * KITH_REPLICAS_MAX) /* who are asked at a time */

bool inquiry_init(struct kith_node *node, struct kith_arena *arena, struct inquiry *inquiry)
{
    inquiry->peers = kith_arena_calloc(arena, node->peer_count + 1u, sizeof *inquiry->peers);
    inquiry->waits = kith_arena_calloc(arena, node->peer_count / 8u + 1u, 1);
    inquiry->waits_peers = node->peer_count;
    return inquiry->peers && inquiry->waits;
}

void inquiry_choose(const struct kith_node *node, struct inquiry *inquiry, uint32_t partition,
                  bool members)
{
    const struct kith_table *table = node->table;
    inquiry->peer_count = inquiry->next = 0;
    for (uint32_t m = 0; m < table->member_count; m++) {
        uint16_t peer = node->peer_of_member[m];
        if (peer != KITH_NO_PEER && peer < inquiry->waits_peers &&
            (members || kith_table_owns(table, partition, (uint16_t)m))) {
            inquiry->peers[inquiry->peer_count++] = peer;
        }
    }
}

bool inquiry_left(const struct inquiry *inquiry)
{
    return inquiry->next < inquiry->peer_count && inquiry->out < INQUIRY_OUT_MAX;
}

const struct peer *inquiry_next(struct kith_node *node, struct inquiry *inquiry)
{
    uint16_t index = inquiry->peers[inquiry->next];
    struct peer *peer = &node->peers[index];
    if (!peer_want(node, peer)) {
        return NULL;
    }
    inquiry->next++;
    inquiry->out++;
    inquiry->waits[index / 8] = (uint8_t)(inquiry->waits[index / 8] | 1u << index % 8);
    peer_doubt(node, index, node->now_ms);
    return peer;
}

const char *inquiry_unreached(struct kith_node *node, const struct inquiry *inquiry)
{
    return core_text(node, "node %s cannot be reached",
                     node->peers[inquiry->peers[inquiry->next]].info.address);
}

bool inquiry_waits(const struct inquiry *inquiry, uint16_t peer)
{
    return inquiry->waits && peer < inquiry->waits_peers &&
           (inquiry->waits[peer / 8] & 1u << peer % 8) != 0;
}

bool inquiry_got(struct inquiry *inquiry, uint16_t peer)
{
    if (!inquiry_waits(inquiry, peer)) {
        return false;
    }
    inquiry->waits[peer / 8] = (uint8_t)(inquiry->waits[peer / 8] & ~(1u << peer % 8));
    inquiry->out--;
    return true;
}
