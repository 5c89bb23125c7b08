/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * put_relay.c - copies of a write that go to another zone once, through one of the owners there.
 *
 * Between data centres a byte costs time and money that it does not cost within one. Where a zone
 * that is not ours has several owners who can be reached, the states go to one of them, the relay,
 * with the names of the others; it passes them on (relay.c). States below relay_min go to each
 * directly: a copy through a relay costs two messages more, and saves little.
 *
 * WHAT COUNTS is as ever that an owner has said that he has it; what he says comes back through the
 * relay, in his name. The relay's own answer is the relay's alone.
 *
 * WHERE A RELAY FAILS (it refuses, says that it cannot reach somebody, is lost, or has not brought
 * his answer within KITH_RELAY_MS) its targets are sent to directly: the states are read again
 * (put_spread.c, REREAD). So that this is done for owners whose copies nobody waits for, too, the
 * put is kept for so long after its answer (put_linger), where there is room. What comes back
 * through the relay afterwards is not heard any more: nobody counts twice.
 *
 * The relay is the first of them in the table's order, so that the load is as even as the table is,
 * who was not late and is not in doubt (peers.c). */
#include <string.h>

#include "core/internal.h"

static const char *zone_of(const struct kith_node *node, uint16_t peer)
{
    return node->peers[peer].info.zone;
}

static bool is_good_relay(const struct kith_node *node, const struct pending_put *put, uint32_t i)
{
    const struct peer *peer = &node->peers[put->others[i]];
    return put_takes(node, put, put->others[i]) && node->now_ms >= peer->late_ms &&
           (peer->doubt_ms == 0 || peer->asked_ms == 0);
}

void put_relays(const struct kith_node *node, const struct pending_put *put, size_t bytes,
                uint8_t via[KITH_PUT_PLACES])
{
    for (uint8_t i = 0; i < put->other_count; i++) {
        via[i] = i;
    }
    if (node->table->zones < 2 || node->self == KITH_NO_MEMBER || bytes < node->relay_min) {
        return;
    }
    const char *own = node->table->members[node->self].zone;
    for (uint8_t i = 0; i < put->other_count; i++) {
        const char *zone = zone_of(node, put->others[i]);
        bool known = via[i] != i || strcmp(zone, own) == 0;
        for (uint8_t k = 0; k < i && !known; k++) { /* its relay has been sought in vain */
            known = strcmp(zone_of(node, put->others[k]), zone) == 0 && via[k] == k &&
                    put_takes(node, put, put->others[k]);
        }
        uint8_t relay = i;
        while (!known && relay < put->other_count &&
               (strcmp(zone_of(node, put->others[relay]), zone) != 0 ||
                !is_good_relay(node, put, relay))) {
            relay++;
        }
        for (uint8_t k = i; !known && relay < put->other_count && k < put->other_count; k++) {
            via[k] = strcmp(zone_of(node, put->others[k]), zone) == 0 ? relay : via[k];
        }
    }
}

void put_relay_through(struct kith_node *node, struct pending *pending, uint32_t i,
                       const uint8_t via[KITH_PUT_PLACES], struct kith_relay_to *to,
                       struct kith_msg *msg)
{
    struct pending_put *put = &pending->u.put;
    struct kith_replicate_req *req = &msg->u.replicate_req;
    uint32_t count = 0;
    for (uint32_t k = 0; k < put->other_count; k++) {
        uint16_t bit = (uint16_t)(1u << k);
        if (k == i || via[k] != i || !put_takes(node, put, put->others[k])) {
            continue;
        }
        to[count].node = node->peers[put->others[k]].uuid;
        to[count].id = pending->id;
        count++;
        put->waiting |= bit;
        put->asked |= bit;
        put->relayed |= bit;
        put->via[k] = (uint8_t)i;
        msg->may_wait = msg->may_wait && (put->urgent & bit) == 0;
    }
    req->may_wait = msg->may_wait;
    req->relay_count = count;
    req->relays = to;
}

int put_relay_place(const struct kith_node *node, const struct pending_put *put, uint16_t peer,
                    const struct kith_replicate_res *res)
{
    if (kith_uuid_is_nil(&res->node)) {
        int i = put_other(put, peer);
        return i >= 0 && (put->relayed & (1u << i)) != 0 ? -1 : i;
    }
    for (uint32_t i = 0; i < put->other_count; i++) {
        if ((put->relayed & put->waiting & (1u << i)) != 0 && put->others[put->via[i]] == peer &&
            kith_uuid_equal(&node->peers[put->others[i]].uuid, &res->node)) {
            return (int)i;
        }
    }
    return -1;
}

static void send_directly(struct pending_put *put, uint32_t i)
{
    uint16_t bit = (uint16_t)(1u << i);
    put->relayed &= (uint16_t)~bit;
    put->waiting &= (uint16_t)~bit;
    put->direct |= bit;
}

void put_relay_failed(struct pending_put *put, uint32_t i)
{
    if ((put->relayed & (1u << i)) != 0) {
        send_directly(put, i);
    }
    for (uint32_t k = 0; k < put->other_count; k++) {
        if ((put->relayed & (1u << k)) != 0 && put->via[k] == i) {
            send_directly(put, k);
        }
    }
}

bool put_relay_lost(struct pending_put *put, uint16_t peer)
{
    uint16_t before = put->direct;
    for (uint32_t k = 0; k < put->other_count && put->relayed != 0; k++) {
        uint16_t bit = (uint16_t)(1u << k);
        if ((put->relayed & bit) != 0 && put->others[k] == peer) {
            put->relayed &= (uint16_t)~bit; /* he himself is: nobody waits for him */
        } else if ((put->relayed & bit) != 0 && put->others[put->via[k]] == peer) {
            send_directly(put, k);
        }
    }
    return put->direct != before;
}

bool put_relays_late(const struct kith_node *node, struct pending_put *put)
{
    if (put->relayed == 0 || node->now_ms < put->spread_ms + KITH_RELAY_MS) {
        return false;
    }
    for (uint32_t k = 0; k < put->other_count; k++) {
        if ((put->relayed & (1u << k)) != 0) {
            send_directly(put, k);
        }
    }
    return true;
}

void put_linger(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    bool more = (put->relayed | put->direct) != 0 && !put_outdated(node, put) &&
                node->pending_count < KITH_PENDING_MAX / 2;
    if (!more) {
        put->relayed = put->direct = 0;
        pending_end(node, pending);
        return;
    }
    put->lingers = true;
    (void)put_relays_late(node, put);
    if (put->direct != 0 && !pending->op_out && put->phase == PUT_SPREAD) {
        put_reread(node, pending);
    }
    pending_set_due(node, pending,
                    put->relayed != 0 ? put->spread_ms + KITH_RELAY_MS : pending->deadline_ms);
}
