/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pace.c - a bound on what background work moves (exchange.c) or reads (scrub.c): a token bucket.
 *
 * What begins may take as much as it needs and leaves a debt; the next waits until that is paid.
 * So a chunk of 1 MiB passes at 1 KiB/s, too, and the next one a quarter of an hour later. What was
 * not used can be used later, but no more than a second's worth.
 *
 * What is exchanged with nodes of other zones, and handed over to them, has a bound of its own
 * beside (zone_pace): the way there may be narrow, and requests go there, too. */
#include <string.h>

#include "core/internal.h"

/* Time pays. */
static void pay(struct pace *pace, uint64_t now_ms)
{
    uint64_t lacks = (uint64_t)((int64_t)pace->rate - pace->balance); /* to a second's worth */
    uint64_t passed = now_ms - pace->at_ms;
    uint64_t bytes = lacks;
    if (passed < lacks / pace->rate * 1000u + 1000u) { /* else all of it */
        uint64_t parts = pace->rate % 1000u * passed + pace->parts;
        bytes = pace->rate / 1000u * passed + parts / 1000u;
        pace->parts = (uint32_t)(parts % 1000u);
    }
    pace->at_ms = now_ms;
    pace->balance += (int64_t)(bytes < lacks ? bytes : lacks);
}

uint64_t pace_wait_ms(struct pace *pace, uint64_t now_ms)
{
    if (pace->rate == 0) {
        return 0;
    }
    pay(pace, now_ms);
    return pace->balance >= 0 ? 0 : (uint64_t)-pace->balance * 1000u / pace->rate + 1u;
}

void pace_took(struct pace *pace, uint64_t now_ms, uint64_t bytes)
{
    if (pace->rate > 0) {
        pay(pace, now_ms);
        pace->balance -= (int64_t)bytes;
    }
}

/* Whether the peer is in another zone than this node. */
static bool far(const struct kith_node *node, uint16_t peer)
{
    return node->self != KITH_NO_MEMBER &&
           strcmp(node->peers[peer].info.zone, node->table->members[node->self].zone) != 0;
}

uint64_t pace_far_wait_ms(struct kith_node *node, uint16_t peer)
{
    return far(node, peer) ? pace_wait_ms(&node->zone_pace, node->now_ms) : 0;
}

void pace_far_took(struct kith_node *node, uint16_t peer, uint64_t bytes)
{
    if (far(node, peer)) {
        pace_took(&node->zone_pace, node->now_ms, bytes);
    }
}

uint64_t pace_repair_wait_ms(struct kith_node *node, uint16_t peer)
{
    uint64_t wait_ms = pace_wait_ms(&node->pace, node->now_ms);
    uint64_t far_ms = pace_far_wait_ms(node, peer);
    return wait_ms > far_ms ? wait_ms : far_ms;
}

void pace_repair_took(struct kith_node *node, uint16_t peer, uint64_t bytes)
{
    pace_took(&node->pace, node->now_ms, bytes);
    pace_far_took(node, peer, bytes);
}

void pace_set(struct pace *pace, uint64_t now_ms, uint64_t rate)
{
    pace->rate = rate > KITH_PACE_MAX ? KITH_PACE_MAX : rate;
    pace->balance = 0;
    pace->parts = 0;
    pace->at_ms = now_ms;
}
