/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * relay.c - a chunk goes to another zone once: to one of its owners there, who passes it on to the
 * others (node/core/requests/relay.c).
 *
 * Each owner's answer is his own: it comes back through the relay under an id of its own, and
 * counts as if it had come from him. What the relay says of itself counts for the relay. He who is
 * to get the chunk through a relay is sent to directly, as all were without one, where the relay
 * refuses, is lost or silent (nodes.c, DOUBT), cannot reach him, or has stored the chunk itself and
 * CC_RELAY_MS later has no answer of his. A relay that is slow at receiving is left the time: over
 * the same way the same bytes would come no sooner.
 *
 * Small chunks go to each owner directly; so does one that is thin (chunk.c), for then every owner
 * counts and none is to be waited for through another. A client that does not know its zone relays
 * nothing. */
#include <string.h>

#include "client/core.h"

/* Whether it could be sent to now, and through another as well as directly. */
static bool is_open(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    const struct cc_rep *rep = &op->reps[i];
    return rep->state == CC_REP_NEW && (op->u.chunk.direct >> i & 1u) == 0 &&
           cc_peer_link(core, rep->peer, true) != NULL && rep->peer->bulk_asks < CC_WINDOW;
}

static bool is_good_relay(const struct cc_peer *peer)
{
    return !peer->slow && !peer->mute && peer->doubt_ms == 0;
}

/* The targets' asks are there before the message is, so that none of it is half done. */
static void ask_through(struct kith_client_core *core, struct cc_op *op, uint32_t relay,
                        uint32_t targets)
{
    struct cc_chunk *chunk = &op->u.chunk;
    struct kith_relay_to *to = kith_arena_alloc(&op->arena, op->slots * sizeof *to);
    struct kith_msg *msg = to == NULL ? NULL : cc_chunk_put_message(core, op);
    uint32_t count = 0;
    if (msg == NULL) {
        return; /* directly, then */
    }
    for (uint32_t i = 0; i < op->slots; i++) {
        if ((targets >> i & 1u) != 0 &&
            cc_ask_through(core, op, i, op->reps[relay].peer, &to[count].id)) {
            to[count].node = op->reps[i].peer->uuid;
            count++;
            chunk->relayed |= 1u << i;
            chunk->via[i] = (uint8_t)relay;
        }
    }
    msg->u.chunk_put_req.relay_count = count;
    msg->u.chunk_put_req.relays = to;
    cc_chunk_put_sent(core, op, relay, msg);
    if (op->reps[relay].state != CC_REP_ASKED) {
        cc_relay_fail(core, op, relay);
    }
}

void cc_relay_ask(struct kith_client_core *core, struct cc_op *op)
{
    const struct cc_chunk *chunk = &op->u.chunk;
    if (op->table->zones < 2 || !(core->zone_known || core->zone_given) || chunk->thin ||
        chunk->payload->size < core->relay_min) {
        return;
    }
    uint32_t turn = chunk->id.bytes[KITH_CHUNK_ID_SIZE - 1]; /* random: the load spreads */
    const struct kith_member *members = op->table->members;
    uint16_t owners[KITH_HOLDERS_MAX]; /* reps[i] is owners[i] */
    (void)kith_table_holders(op->table, op->partition, owners);
    for (uint32_t n = 0; n < op->slots; n++) {
        uint32_t relay = (turn + n) % op->slots;
        const char *zone = members[owners[relay]].zone;
        uint32_t targets = 0;
        if (strcmp(zone, core->zone) == 0 || !is_open(core, op, relay) ||
            !is_good_relay(op->reps[relay].peer)) {
            continue;
        }
        for (uint32_t i = 0; i < op->slots; i++) {
            bool near = i != relay && strcmp(members[owners[i]].zone, zone) == 0;
            targets |= near && is_open(core, op, i) ? 1u << i : 0;
        }
        if (targets != 0) {
            ask_through(core, op, relay, targets);
        }
    }
}

void cc_relay_fail(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    struct cc_chunk *chunk = &op->u.chunk;
    for (uint32_t k = 0; k < op->slots; k++) {
        if ((chunk->relayed >> k & 1u) == 0 || (k != i && chunk->via[k] != i)) {
            continue;
        }
        chunk->relayed &= ~(1u << k);
        chunk->direct |= 1u << k;
        cc_ask_forget(core, op, k);
        op->reps[k].state = CC_REP_NEW;
    }
}

void cc_relay_look(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_chunk *chunk = &op->u.chunk;
    for (uint32_t k = 0; k < op->slots && chunk->relayed != 0; k++) {
        if ((chunk->relayed >> k & 1u) == 0) {
            continue;
        }
        const struct cc_rep *relay = &op->reps[chunk->via[k]];
        bool stored = relay->state == CC_REP_HAVE;
        uint64_t until_ms = relay->had_ms + CC_RELAY_MS;
        if (op->reps[k].state != CC_REP_ASKED) { /* its connection, the relay's, was lost */
            chunk->relayed &= ~(1u << k);
            chunk->direct |= 1u << k;
        } else if (stored && core->now < until_ms) {
            cc_op_wake(core, op, until_ms);
        } else if (stored || relay->state != CC_REP_ASKED || relay->peer->slow ||
                   cc_peer_mute(core, op, relay->peer, relay->asked_ms)) {
            cc_relay_fail(core, op, k);
        }
    }
}
