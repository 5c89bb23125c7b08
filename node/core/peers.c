/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * peers.c - the other members as seen from here.
 *
 *     IDLE --retry_ms--> CONNECTING --OPENED--> OPENED --their HELLO--> READY
 *       ^______________________________closed, or silent_____________________|
 *
 * This node asks every member over a connection of its own; what they ask comes over theirs. A peer
 * is up while it is READY and was heard from (on any connection) within KITH_DOWN_MS. Up and down
 * only route: ownership never follows from them. What waits for a peer is failed the moment it goes
 * down.
 *
 * THE FAST VIEW. While a request waits for a peer that says nothing, KITH_DOWN_MS would be too long:
 *
 *     sent --200 ms silent--> asked for a sign of life --400 ms silent--> not up
 *
 * Whatever is heard ends the doubt, and brings the peer back. Time in which this node itself stood
 * still does not count: it may have been told, and not have read it. */
#include <string.h>

#include "core/internal.h"

struct peer *peer_find(struct kith_node *node, const struct kith_uuid *uuid)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        if (kith_uuid_equal(&node->peers[i].uuid, uuid)) {
            return &node->peers[i];
        }
    }
    return NULL;
}

uint16_t peer_index(const struct kith_node *node, const struct peer *peer)
{
    return (uint16_t)(peer - node->peers);
}

static void peer_init(struct kith_node *node, struct peer *peer, const struct kith_member *member)
{
    memset(peer, 0, sizeof *peer);
    peer->uuid = member->uuid;
    peer->info.uuid = member->uuid;
    memcpy(peer->info.zone, member->zone, sizeof peer->info.zone);
    peer->info.weight = member->weight;
    peer->retry_ms = node->now_ms;
}

enum kith_err peers_prepare(struct kith_node *node, const struct kith_table *table,
                            uint16_t **ret_peer_of_member)
{
    uint32_t most = node->peer_count + table->member_count;
    if (most > node->peer_capacity) {
        struct peer *peers = kith_realloc(node->peers, most * sizeof *peers);
        if (!peers) {
            return KITH_ENOMEM;
        }
        node->peers = peers;
        node->peer_capacity = most;
    }
    uint16_t *map = kith_calloc(table->member_count, sizeof *map);
    if (!map) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < table->member_count; i++) {
        const struct kith_member *member = &table->members[i];
        map[i] = KITH_NO_PEER;
        if (kith_uuid_equal(&member->uuid, &node->uuid)) {
            continue;
        }
        struct peer *peer = peer_find(node, &member->uuid);
        if (!peer) {
            peer = &node->peers[node->peer_count];
            peer_init(node, peer, member);
            node->peer_count++;
        }
        map[i] = peer_index(node, peer);
    }
    node->peers_due_ms = node->now_ms;
    *ret_peer_of_member = map;
    return KITH_OK;
}

/* Fails what waits for it: in the next tick, so that no step has too much to do. */
static void peer_fail(struct kith_node *node, struct peer *peer)
{
    uint16_t index = peer_index(node, peer);
    for (uint32_t i = 0; node->pending_count > 0 && i < KITH_PENDING_MAX; i++) {
        struct pending *pending = &node->pendings[i];
        if (pending->kind == PENDING_PUT) {
            put_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_REPAIR && pending->u.repair.waiting &&
                   pending->u.repair.peer == index) {
            repair_end(node, pending);
        } else if (pending->kind == PENDING_EXCHANGE || pending->kind == PENDING_FETCH) {
            exchange_peer_lost(node, pending, index);
        }
    }
}

static void peer_set_up(struct kith_node *node, struct peer *peer, bool up)
{
    if (peer->up == up) {
        return;
    }
    peer->up = up;
    core_log(node, up ? LEVEL_INFO : LEVEL_WARN, "node %s is %s",
             peer->info.address, up ? "up" : "down");
    if (up) {
        exchange_peer_up(node, peer_index(node, peer));
    } else {
        peer_fail(node, peer);
    }
}

void peer_seen(struct kith_node *node, uint16_t index)
{
    if (index == KITH_NO_PEER) {
        return;
    }
    struct peer *peer = &node->peers[index];
    peer->seen_ms = node->now_ms;
    peer->doubt_ms = 0;
    if (peer->state == PEER_READY) {
        peer_set_up(node, peer, true);
    }
}

void peer_doubt(struct kith_node *node, uint16_t index, uint64_t since_ms)
{
    struct peer *peer = &node->peers[index];
    if (!peer->up || peer->doubt_ms != 0 || peer->seen_ms > since_ms) {
        return;
    }
    peer->doubt_ms = since_ms;
    peer->asked_ms = 0;
    if (since_ms + KITH_DOUBT_AFTER_MS < node->peers_due_ms) {
        node->peers_due_ms = since_ms + KITH_DOUBT_AFTER_MS;
    }
}

/* When a peer that is up is to be asked, or given up, for a request that waits. */
static uint64_t doubt_due(const struct peer *peer)
{
    if (!peer->up || peer->doubt_ms == 0) {
        return UINT64_MAX;
    }
    return peer->asked_ms == 0 ? peer->doubt_ms + KITH_DOUBT_AFTER_MS
                               : peer->asked_ms + KITH_DOUBT_MS - KITH_DOUBT_AFTER_MS;
}

/* True: it has not answered what it was asked in doubt. */
static bool doubt_tick(struct kith_node *node, struct peer *peer)
{
    if (node->now_ms < doubt_due(peer)) {
        return false;
    }
    if (peer->asked_ms != 0) {
        return true;
    }
    peer->asked_ms = node->now_ms;
    peer->ping_ms = node->now_ms;
    return false;
}

static void peer_idle(struct kith_node *node, struct peer *peer)
{
    peer->state = PEER_IDLE;
    peer->since_ms = node->now_ms;
    peer->conn = 0;
    uint32_t backoff = peer->backoff_ms;
    uint64_t jitter = core_random(node) % (backoff / 2 + 1);
    peer->retry_ms = node->now_ms + backoff / 2 + jitter + 1;
    peer->backoff_ms = backoff * 2 < KITH_BACKOFF_MAX_MS ? backoff * 2 : KITH_BACKOFF_MAX_MS;
    node->peers_due_ms = node->now_ms;
    peer_set_up(node, peer, false);
}

void peer_retry_now(struct kith_node *node, struct peer *peer)
{
    peer->backoff_ms = KITH_BACKOFF_MIN_MS;
    if (peer->state == PEER_IDLE) {
        peer->retry_ms = node->now_ms;
        node->peers_due_ms = node->now_ms;
    }
}

static struct peer *peer_of(struct kith_node *node, const struct conn *conn)
{
    if (!conn->ours || conn->peer == KITH_NO_PEER) {
        return NULL;
    }
    struct peer *peer = &node->peers[conn->peer];
    return peer->conn == conn->id ? peer : NULL;
}

void peers_opened(struct kith_node *node, struct conn *conn)
{
    if (conn->bulk) {
        bulk_opened(node, conn);
        return;
    }
    struct peer *peer = peer_of(node, conn);
    if (peer && peer->state == PEER_CONNECTING) {
        peer->state = PEER_OPENED;
        peer->since_ms = node->now_ms;
        conn_hello(node, conn->id);
    }
}

void peers_closed(struct kith_node *node, struct conn *conn)
{
    if (conn->bulk) {
        bulk_closed(node, conn);
        return;
    }
    struct peer *peer = peer_of(node, conn);
    if (peer) {
        peer_idle(node, peer);
    }
}

void peers_ready(struct kith_node *node, struct conn *conn)
{
    if (conn->bulk) {
        bulk_ready(node, conn);
        return;
    }
    struct peer *peer = peer_of(node, conn);
    if (!peer || peer->state == PEER_READY) {
        return;
    }
    peer->state = PEER_READY;
    peer->since_ms = node->now_ms;
    peer->backoff_ms = KITH_BACKOFF_MIN_MS;
    peer->ping_ms = node->now_ms;
    node->peers_due_ms = node->now_ms;
    peer_seen(node, conn->peer);
}

static void peer_connect(struct kith_node *node, struct peer *peer)
{
    if (!peer->info.address[0]) {
        peer->retry_ms = node->now_ms + KITH_BACKOFF_MAX_MS; /* learning it brings this forward */
        return;
    }
    struct conn *conn = conn_add(node, KITH_CONN_CORE_BASE + node->conn_next, true);
    if (!conn) {
        peer->retry_ms = node->now_ms + KITH_BACKOFF_MAX_MS;
        return;
    }
    node->conn_next++;
    conn->peer = peer_index(node, peer);
    peer->conn = conn->id;
    peer->state = PEER_CONNECTING;
    peer->since_ms = node->now_ms;
    core_connect(node, conn->id, peer->info.address);
}

static void peer_give_up(struct kith_node *node, struct peer *peer, const char *why)
{
    uint64_t conn = peer->conn;
    core_close(node, conn, why);
    conn_remove(node, conn);
    peer_idle(node, peer);
}

static void ping_fill(struct kith_node *node, struct kith_ping *ping, bool is_answer)
{
    ping->is_answer = is_answer;
    if (node->table) {
        ping->table = node->table->id;
    }
    ping->wall_ms = node->wall_ms;
    ping->member_count = members_some(node, &ping->members);
}

/* What a peer wants done now; true where it made effects. */
static bool peer_tick(struct kith_node *node, struct peer *peer)
{
    uint64_t now = node->now_ms;
    uint64_t last = peer->seen_ms > peer->since_ms ? peer->seen_ms : peer->since_ms;
    bool lost = false;
    switch (peer->state) {
    case PEER_IDLE:
        if (now < peer->retry_ms) {
            return false;
        }
        peer_connect(node, peer);
        return true;
    case PEER_CONNECTING:
    case PEER_OPENED:
        if (now - peer->since_ms < KITH_RECONNECT_MS) {
            return false;
        }
        peer_give_up(node, peer, "no answer while connecting");
        return true;
    case PEER_READY:
        if (now - last >= KITH_RECONNECT_MS) {
            peer_give_up(node, peer, "no sign of life");
            return true;
        }
        lost = doubt_tick(node, peer) || (peer->up && now - peer->seen_ms >= KITH_DOWN_MS);
        if (lost) {
            peer_set_up(node, peer, false);
        }
        if (now < peer->ping_ms) {
            return lost; /* its line in the log counts: after a pause all may be lost at once */
        }
        peer->ping_ms = now + KITH_PING_MS;
        ping_fill(node, &core_send(node, peer->conn, KITH_MSG_PING, 0)->u.ping, false);
        return true;
    }
    return false;
}

void peers_paused(struct kith_node *node, uint64_t pause_ms)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->state != PEER_IDLE) { /* with an idle one alone there is nothing to do for seconds */
            peer->seen_ms += peer->seen_ms > 0 ? pause_ms : 0;
            peer->since_ms += pause_ms;
        }
    }
    peers_late(node, pause_ms);
}

void peers_late(struct kith_node *node, uint64_t late_ms)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        peer->doubt_ms += peer->doubt_ms != 0 ? late_ms : 0;
        peer->asked_ms = peer->asked_ms != 0 ? node->now_ms : 0; /* its answer may be there, unread */
    }
}

static uint64_t peer_due(const struct peer *peer)
{
    switch (peer->state) {
    case PEER_IDLE:
        return peer->retry_ms;
    case PEER_CONNECTING:
    case PEER_OPENED:
        return peer->since_ms + KITH_RECONNECT_MS;
    case PEER_READY: {
        uint64_t due = doubt_due(peer);
        due = peer->ping_ms < due ? peer->ping_ms : due;
        uint64_t down = peer->up ? peer->seen_ms + KITH_DOWN_MS : UINT64_MAX;
        return down < due ? down : due;
    }
    }
    return UINT64_MAX;
}

void peers_tick(struct kith_node *node)
{
    if (node->now_ms < node->peers_due_ms) {
        return;
    }
    uint32_t busy = 0;
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        /* a peer makes two effects at most (what it does, and a line in the log) */
        if (busy < KITH_STEP_PINGS / 2 && peer_tick(node, peer)) {
            busy++;
        }
        uint64_t next = peer_due(peer);
        due = next < due ? next : due;
    }
    node->peers_due_ms = due;
}

uint64_t peers_due(const struct kith_node *node)
{
    return node->peers_due_ms;
}

void peers_ping(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    const struct kith_ping *ping = &msg->u.ping;
    for (uint32_t i = 0; i < ping->member_count && i < KITH_MEMBERS_MAX; i++) {
        members_learn(node, &ping->members[i]);
    }
    if (!ping->is_answer) {
        ping_fill(node, &core_send(node, conn->id, KITH_MSG_PING, msg->id)->u.ping, true);
    }
    if (node->has_cluster && conn->peer != KITH_NO_PEER &&
        kith_table_id_compare(&ping->table, &node->table->id) > 0) {
        table_ask(node, conn->id);
    }
}
