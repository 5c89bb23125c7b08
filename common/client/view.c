/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * view.c - what the client sees of the nodes, and what it has done: for people and for figures. */
#include <string.h>

#include "client/core.h"

/* The step's clock has milliseconds, and an answer takes less than one: but how often one is late
 * by a tick is as its time is to the tick, so that the mean of many is right. */
#define MEAN_OF 32u /* about so many answers weigh */

void cc_view_answered(struct kith_client_core *core, struct cc_peer *peer, uint64_t sent_ms)
{
    uint64_t took_ms = core->now - sent_ms;
    uint32_t took_us = (uint32_t)(took_ms < CC_RTT_MAX_MS ? took_ms : CC_RTT_MAX_MS) * 1000u;
    if (peer->answer_us == 0) {
        peer->answer_us = took_us > 0 ? took_us : 1;
        return;
    }
    peer->answer_us = (uint32_t)(((uint64_t)peer->answer_us * (MEAN_OF - 1) + took_us) / MEAN_OF);
    peer->answer_us += peer->answer_us == 0 ? 1 : 0;
}

static enum kith_client_node_state state_of(const struct cc_peer *peer)
{
    if (!cc_peer_up(peer)) {
        return KITH_NODE_DOWN;
    }
    if (peer->mute || (peer->slow && !peer->heard)) {
        return KITH_NODE_SILENT;
    }
    return peer->slow ? KITH_NODE_SLOW : KITH_NODE_UP;
}

static uint64_t ago(uint64_t now_ms, uint64_t then_ms)
{
    return then_ms == 0 ? UINT64_MAX : now_ms > then_ms ? now_ms - then_ms : 0;
}

static void node_view(const struct cc_peer *peer, const struct kith_member *member, uint64_t now_ms,
                      struct kith_client_node *node)
{
    memset(node, 0, sizeof(*node));
    node->uuid = member->uuid;
    memcpy(node->zone, member->zone, sizeof(node->zone));
    memcpy(node->address, peer->address, sizeof(node->address));
    node->near = peer->near;
    node->state = state_of(peer);
    node->answer_us = peer->answer_us != 0 ? peer->answer_us
                      : peer->rtt_known    ? peer->rtt_ms * 1000u + 1u
                                           : 0;
    node->heard_ms_ago = ago(now_ms, peer->heard_ms);
    node->lost_ms_ago =
        node->state == KITH_NODE_DOWN ? ago(now_ms, peer->rows.lost_ms) : UINT64_MAX;
    if (node->state == KITH_NODE_DOWN) {
        memcpy(node->reason, peer->reason, sizeof(node->reason));
    }
}

enum kith_err kith_client_core_view(const struct kith_client_core *core, uint64_t mono_ms,
                                    struct kith_arena *arena, struct kith_client_view *ret_view)
{
    const struct kith_table *table = core->table;
    uint32_t count = table != NULL ? table->member_count : 0;
    struct kith_client_node *nodes = kith_arena_calloc(arena, count, sizeof(*nodes));
    if (nodes == NULL) {
        return KITH_ENOMEM;
    }
    struct kith_client_view view = {.pending = core->pending,
                                    .lingering = core->lingering,
                                    .session_rows = core->session.count,
                                    .watches = core->watches.count,
                                    .node_count = count,
                                    .nodes = nodes,
                                    .counts = core->counts};
    if (core->zone_known || core->zone_given) {
        memcpy(view.zone, core->zone, sizeof(view.zone));
    }
    if (table != NULL) {
        view.cluster = table->cluster;
        view.table = table->id;
        view.moving = kith_table_is_joint(table);
        view.partitions = table->partitions;
        view.replicas = table->replicas;
    }
    for (uint32_t i = 0; i < count; i++) {
        node_view(core->by_member[i], &table->members[i], mono_ms, &nodes[i]);
    }
    *ret_view = view;
    return KITH_OK;
}
