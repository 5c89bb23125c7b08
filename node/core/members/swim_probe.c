/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * swim_probe.c - one member after the other is asked for a sign of life, by this node or through
 * others; see swim.c. Checked by tests/unit/test_swim.c. */
#include "core/internal.h"

#define PROBE_DIRECT_MS 500u   /* without an answer by then others are asked */
#define HELPERS         3u
#define RELAY_MS        400u   /* a helper that hears nothing by then says so */

static bool round_next(struct kith_node *node, uint16_t *ret_index)
{
    struct swim *swim = &node->swim;
    for (uint32_t turn = 0; turn < 2; turn++) {
        while (swim->order_at < swim->order_count) {
            uint16_t index = swim->order[swim->order_at++];
            if (node->peers[index].live != KITH_DOWN) {
                *ret_index = index;
                return true;
            }
        }
        swim->order_at = swim->order_count = 0;
        for (uint32_t i = 0; i < node->table->member_count; i++) {
            uint16_t index = node->peer_of_member[i];
            if (index == KITH_NO_PEER) {
                continue;
            }
            uint64_t random = core_random(node);
            uint32_t at = (uint32_t)(random % (swim->order_count + 1));
            swim->order[swim->order_count] = swim->order[at];
            swim->order[at] = index;
            swim->order_count++;
        }
    }
    return false;
}

static void probe_begin(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    uint64_t times = swim->health + 1;
    uint16_t index = 0;
    swim->period_ms = node->now_ms + KITH_PROBE_MS * times;
    swim->phase = PROBE_NONE;
    if (!round_next(node, &index)) {
        return;
    }
    swim->phase = PROBE_DIRECT;
    swim->target = index;
    swim->helpers = swim->nacks = 0;
    swim->probe_id++;
    swim->indirect_ms = node->now_ms + PROBE_DIRECT_MS * times;
    if (peer_want(node, &node->peers[index])) {
        peer_ping(node, &node->peers[index]);
    } /* else it is pinged once the connection is open */
}

static void probe_indirect(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    uint32_t start = (uint32_t)(core_random(node) % node->peer_count);
    swim->phase = PROBE_INDIRECT;
    for (uint32_t i = 0; i < node->peer_count && swim->helpers < HELPERS; i++) {
        uint32_t index = (start + i) % node->peer_count;
        const struct peer *peer = &node->peers[index];
        if (index != swim->target && peer->up && peer->live != KITH_DOWN) {
            swim->helpers++;
            core_send(node, peer->conn, KITH_MSG_PROBE_REQ, swim->probe_id)->u.probe_req.target =
                node->peers[swim->target].uuid;
        }
    }
}

/* Who asked others in vain and was not told so by all of them had better doubt himself. */
static void probe_failed(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    struct peer *peer = &node->peers[swim->target];
    uint32_t missing = swim->helpers - (swim->nacks < swim->helpers ? swim->nacks : swim->helpers);
    swim_health(node, swim->helpers > 0 ? (int)missing : 1);
    swim->phase = PROBE_NONE;
    swim_suspect(node, peer, &node->uuid);
}

void swim_answered(struct kith_node *node, uint16_t index)
{
    struct swim *swim = &node->swim;
    if (swim->phase != PROBE_NONE && swim->target == index) {
        swim->phase = PROBE_NONE;
        swim_health(node, -1);
    }
    for (uint32_t i = 0; i < swim->relay_count;) {
        struct relay *relay = &swim->relays[i];
        if (relay->target != index) {
            i++;
            continue;
        }
        core_send(node, relay->conn, KITH_MSG_PROBE_RES, relay->id)->u.probe_res.alive = true;
        swim->relay_count--;
        *relay = swim->relays[swim->relay_count];
    }
}

void swim_probe_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    struct swim *swim = &node->swim;
    const struct peer *target = peer_find(node, &msg->u.probe_req.target);
    if (!swim_active(node) || conn->peer == KITH_NO_PEER || !target ||
        swim->relay_count == KITH_RELAYS_MAX) {
        return;
    }
    uint16_t index = peer_index(node, target);
    struct relay *relay = &swim->relays[swim->relay_count++];
    relay->conn = conn->id;
    relay->id = msg->id;
    relay->target = index;
    relay->until_ms = node->now_ms + RELAY_MS;
    swim->due_ms = relay->until_ms < swim->due_ms ? relay->until_ms : swim->due_ms;
    if (peer_want(node, &node->peers[index])) {
        peer_ping(node, &node->peers[index]);
    }
}

void swim_probe_res(struct kith_node *node, const struct kith_msg *msg)
{
    struct swim *swim = &node->swim;
    if (swim->phase != PROBE_INDIRECT || msg->id != swim->probe_id) {
        return;
    }
    if (msg->u.probe_res.alive) {
        swim->phase = PROBE_NONE;
    } else {
        swim->nacks++;
    }
}

uint64_t swim_relays_tick(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < swim->relay_count;) {
        struct relay *relay = &swim->relays[i];
        if (node->now_ms < relay->until_ms) {
            next = relay->until_ms < next ? relay->until_ms : next;
            i++;
            continue;
        }
        core_send(node, relay->conn, KITH_MSG_PROBE_RES, relay->id)->u.probe_res.alive = false;
        swim->relay_count--;
        *relay = swim->relays[swim->relay_count];
    }
    return next;
}

uint64_t swim_probes_tick(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    if (node->now_ms >= swim->period_ms) {
        if (swim->phase != PROBE_NONE) {
            probe_failed(node);
        }
        probe_begin(node);
    } else if (swim->phase == PROBE_DIRECT && node->now_ms >= swim->indirect_ms) {
        probe_indirect(node);
    }
    return swim->phase == PROBE_DIRECT ? swim->indirect_ms : swim->period_ms;
}
