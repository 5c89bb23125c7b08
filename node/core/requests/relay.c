/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * relay.c - copies that are passed on to other owners in this zone.
 *
 * Who writes from another zone sends a copy there once, to one owner (put_relay.c; the client for
 * chunks), with the names of the others. To each of them it is sent from here as it came, but
 * without those names; and what each answers is passed back, in his name.
 *
 *     writer --copy, {b, c}--> a --copy--> b --stored--> a --"b: stored"--> writer
 *                              |--copy--> c ...
 *                              `--stored, as any owner ----------------> writer
 *
 * A relay promises nothing and keeps nothing: it answers for itself alone, and an answer of another
 * is passed back only once that other has given it. Who cannot be reached from here, or goes away
 * meanwhile, is told of with EUNREACH; then, and where the relay itself fails or refuses, the
 * writer sends to him directly, as he would have done without a relay. The answer goes back through
 * the relay, for between two zones there may be no other way at that moment, and the writer waits
 * for the relay's anyhow. The same is done in Cassandra (FORWARD_TO in a mutation), where targets
 * answer the coordinator directly.
 *
 * Bounds: a pending for each target, and KITH_RELAY_CHUNKS chunks to one peer; beyond them it is
 * not passed on. */
#include "core/internal.h"

static void answer(struct kith_node *node, const struct pending *pending, struct kith_status status,
                   struct kith_bytes table)
{
    if (pending->asked == KITH_MSG_CHUNK_PUT_REQ) {
        core_send(node, pending->conn, KITH_MSG_CHUNK_RES, pending->msg_id)->u.chunk_res.status =
            status;
        return;
    }
    struct kith_msg *msg = core_send(node, pending->conn, KITH_MSG_REPLICATE_RES, pending->msg_id);
    msg->may_wait = pending->may_wait && status.err == KITH_OK;
    msg->u.replicate_res.status = status;
    msg->u.replicate_res.table = table;
    msg->u.replicate_res.node = pending->u.relay.node;
}

static void relay_end(struct kith_node *node, struct pending *pending)
{
    if (pending->u.relay.chunk) {
        node->peers[pending->u.relay.peer].relays--;
    }
    pending_end(node, pending);
}

static void unreachable(struct kith_node *node, struct pending *pending)
{
    const struct kith_uuid *uuid = &pending->u.relay.node;
    const struct peer *peer = peer_find(node, uuid);
    answer(node, pending,
           core_status(KITH_EUNREACH,
                       core_text(node, "%s cannot be reached from %s",
                                 peer && peer->info.address[0] ? peer->info.address : "an owner",
                                 node->address)),
           kith_bytes_make(NULL, 0));
}

/* The connection on which the message may go to the peer now; 0: there is none, or it has enough to
 * do. */
static uint64_t way_to(struct kith_node *node, const struct peer *peer, bool chunk)
{
    uint64_t conn = 0;
    if (!peer || !peer->member || !peer->up) {
        return 0;
    }
    if (!chunk) {
        return peer->conn;
    }
    return peer->relays < KITH_RELAY_CHUNKS && bulk_conn(node, peer_index(node, peer), &conn) ? conn
                                                                                              : 0;
}

/* The message to the next one; NULL: it cannot be passed on, and that was answered. */
static struct kith_msg *pass_on(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                                const struct kith_relay_to *to, uint32_t timeout_ms)
{
    bool chunk = msg->kind == KITH_MSG_CHUNK_PUT_REQ;
    struct peer *peer = peer_find(node, &to->node);
    uint64_t way = way_to(node, peer, chunk);
    struct pending *pending = way ? pending_new(node, PENDING_RELAY, conn, msg, timeout_ms) : NULL;
    if (!pending) {
        struct pending none = {.conn = conn, .asked = msg->kind, .msg_id = to->id};
        none.u.relay.node = to->node;
        unreachable(node, &none);
        return NULL;
    }
    pending->msg_id = to->id;
    pending->may_wait = !chunk && msg->u.replicate_req.may_wait;
    pending->u.relay.node = to->node;
    pending->u.relay.peer = peer_index(node, peer);
    pending->u.relay.chunk = chunk;
    peer->relays += chunk ? 1 : 0;
    peer_doubt(node, pending->u.relay.peer, node->now_ms);
    struct kith_msg *copy = core_send(node, way, msg->kind, pending->id);
    copy->u = msg->u;
    return copy;
}

static uint32_t timeout_of(uint32_t asked)
{
    return asked > 0 && asked <= KITH_TIMEOUT_MAX_MS ? asked : KITH_PUT_TIMEOUT_MS;
}

void relay_rows(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_replicate_req *req = &msg->u.replicate_req;
    for (uint32_t i = 0; i < req->relay_count && !req->has_hint; i++) {
        struct kith_msg *copy =
            pass_on(node, conn, msg, &req->relays[i], timeout_of(req->timeout_ms));
        if (copy) {
            copy->may_wait = req->may_wait;
            copy->u.replicate_req.relay_count = 0;
        }
    }
}

void relay_chunk(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_chunk_put_req *req = &msg->u.chunk_put_req;
    for (uint32_t i = 0; i < req->relay_count; i++) {
        struct kith_msg *copy =
            pass_on(node, conn, msg, &req->relays[i], timeout_of(req->timeout_ms));
        if (copy) {
            copy->u.chunk_put_req.relay_count = 0;
        }
    }
}

void relay_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_msg *msg)
{
    bool chunk = msg->kind == KITH_MSG_CHUNK_RES;
    if (pending->u.relay.peer != peer || pending->u.relay.chunk != chunk) {
        return;
    }
    if (chunk) {
        answer(node, pending, msg->u.chunk_res.status, kith_bytes_make(NULL, 0));
    } else {
        answer(node, pending, msg->u.replicate_res.status, msg->u.replicate_res.table);
        if (msg->u.replicate_res.status.err == KITH_ESTALE) {
            table_learn(node, msg->u.replicate_res.table);
        }
    }
    relay_end(node, pending);
}

void relay_expire(struct kith_node *node, struct pending *pending)
{
    unreachable(node, pending);
    relay_end(node, pending);
}

void relay_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (pending->u.relay.peer == peer) {
        pending_set_due(node, pending, node->now_ms);
    }
}

void relay_bulk_down(struct kith_node *node, uint16_t peer)
{
    for (uint32_t i = 0; node->peers[peer].relays > 0 && i < node->pending_fresh; i++) {
        struct pending *pending = &node->pendings[i];
        if (pending->kind == PENDING_RELAY && pending->u.relay.chunk) {
            relay_peer_lost(node, pending, peer);
        }
    }
}
