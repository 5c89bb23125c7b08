/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * peers.c - the other members as seen from here: connections to them, and whom requests may go to.
 *
 *     IDLE --wanted, retry_ms--> CONNECTING --OPENED--> OPENED --their HELLO--> READY --answer--> up
 *       ^_____________________closed, silent, or idle for long enough____________|
 *
 * This node asks others over connections of its own; what they ask comes over theirs. Those to
 * co-owners of its partitions and to who stands in first are KEPT, because requests need them at
 * once; in a small cluster, those to all. Others are made when somebody wants them (a probe, a
 * change of the table) and closed after KITH_IDLE_MS without use: no node of a thousand holds a
 * thousand. Members that are down are tried for ever, a few at a time, and all members by a node
 * that reaches nobody: whoever comes back is found, and finds the others, though every seed be gone.
 *
 * UP means that what we send gets there and is answered: only what comes over our own connection
 * proves it, for what comes over theirs says nothing of the way there. A kept connection is pinged
 * each second, and is not up after KITH_DOWN_MS without an answer. Up and down only route; ownership
 * never follows from them, and they are nobody else's business (what members tell each other is
 * swim.c's). What waits for a peer is failed the moment it goes down.
 *
 * THE FAST VIEW. While a request waits for a peer that says nothing, KITH_DOWN_MS would be too long:
 *
 *     sent --200 ms silent--> asked for a sign of life --400 ms silent--> not up
 *
 * Whatever it answers ends the doubt, and brings the peer back. Time in which this node itself stood
 * still does not count: it may have been told, and not have read it. */
#include <string.h>

#include "core/internal.h"

struct peer *peer_find(struct kith_node *node, const struct kith_uuid *uuid)
{
    uint16_t member = node->peer_of_member ? kith_table_find(node->table, uuid) : KITH_NO_MEMBER;
    if (member != KITH_NO_MEMBER && node->peer_of_member[member] != KITH_NO_PEER) {
        return &node->peers[node->peer_of_member[member]];
    }
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
    peer->backoff_ms = KITH_BACKOFF_MIN_MS;
}

/* Room for so many more. */
static bool peers_room(struct kith_node *node, uint32_t more)
{
    uint32_t most = node->peer_count + more;
    if (most <= node->peer_capacity) {
        return true;
    }
    struct peer *peers = kith_realloc(node->peers, most * sizeof *peers);
    if (!peers) {
        return false;
    }
    node->peers = peers;
    uint16_t *order = kith_realloc(node->swim.order, most * sizeof *order);
    if (!order) {
        return false;
    }
    node->swim.order = order;
    uint16_t *busy = kith_realloc(node->busy, most * sizeof *busy);
    if (!busy) {
        return false;
    }
    node->busy = busy;
    node->peer_capacity = most;
    return true;
}

uint16_t peers_stranger(struct kith_node *node, const struct kith_member_info *info)
{
    const struct kith_member member = {.uuid = info->uuid, .weight = 1};
    struct peer *peer = peer_find(node, &info->uuid);
    if (!peer && node->peer_count < 2 * KITH_MEMBERS_MAX && peers_room(node, 1)) {
        peer = &node->peers[node->peer_count];
        peer_init(node, peer, &member);
        node->peer_count++;
    }
    if (!peer) {
        return KITH_NO_PEER;
    }
    members_learn(node, info);
    return peer_index(node, peer);
}

enum kith_err peers_prepare(struct kith_node *node, const struct kith_table *table,
                            uint16_t **ret_peer_of_member)
{
    if (!peers_room(node, table->member_count)) {
        return KITH_ENOMEM;
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

/* The next tick looks at it. */
static void peer_busy(struct kith_node *node, struct peer *peer)
{
    if (!peer->busy) {
        peer->busy = true;
        node->busy[node->busy_count++] = peer_index(node, peer);
    }
    node->peers_due_ms = node->now_ms;
}

static bool among(uint16_t member, const uint16_t *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (members[i] == member) {
            return true;
        }
    }
    return false;
}

/* Those with whom this node works for the partition's requests: its owners and who stands in for
 * them first, where this node is one of all these. */
static void keep_partition(struct kith_node *node, const struct kith_table *table,
                           uint32_t partition)
{
    uint16_t stand_ins[KITH_FALLBACKS_KEPT];
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t holders = kith_table_holders(table, partition, owners);
    uint32_t count = kith_table_fallbacks(table, partition, KITH_FALLBACKS_KEPT, stand_ins);
    if (!among(node->self, owners, holders) && !among(node->self, stand_ins, count)) {
        return;
    }
    for (uint32_t i = 0; i < holders + count; i++) {
        uint16_t member = i < holders ? owners[i] : stand_ins[i - holders];
        uint16_t peer = node->peer_of_member[member];
        if (peer != KITH_NO_PEER) {
            node->peers[peer].kept = true;
        }
    }
}

void peers_keep(struct kith_node *node)
{
    const struct kith_table *table = node->table;
    bool all = table->member_count <= node->keep_open;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        node->peers[i].member = false;
        node->peers[i].kept = false;
    }
    for (uint32_t i = 0; i < table->member_count; i++) {
        if (node->peer_of_member[i] != KITH_NO_PEER) {
            node->peers[node->peer_of_member[i]].member = true;
            node->peers[node->peer_of_member[i]].kept = all;
        }
    }
    for (uint32_t p = 0; !all && node->self != KITH_NO_MEMBER && p < table->partitions; p++) {
        keep_partition(node, table, p);
    }
    node->alone_ms = node->alone_ms > 0 ? node->alone_ms : node->now_ms;
    node->kept_count = 0;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        node->kept_count += node->peers[i].kept ? 1 : 0;
        peer_busy(node, &node->peers[i]);
    }
}

bool peers_have(const struct kith_node *node, uint64_t features)
{
    bool all = (kith_protocol_ours().features & features) == features;
    for (uint32_t i = 0; all && i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        all = !peer->member || (peer->info.features & features) == features;
    }
    return all;
}

/* Fails what waits for it: in the next tick, so that no step has too much to do. */
static void peer_fail(struct kith_node *node, struct peer *peer)
{
    uint16_t index = peer_index(node, peer);
    for (uint32_t i = 0; node->pending_count > 0 && i < node->pending_fresh; i++) {
        struct pending *pending = &node->pendings[i];
        if (pending->kind == PENDING_PUT) {
            put_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_REPAIR && pending->u.repair.waiting &&
                   pending->u.repair.peer == index) {
            repair_end(node, pending);
        } else if (pending->kind == PENDING_EXCHANGE || pending->kind == PENDING_FETCH) {
            exchange_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_RELAY) {
            relay_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_HANDOFF) {
            handoff_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_SWEEP) {
            sweep_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_LEASE) {
            lease_peer_lost(node, pending, index);
        } else if (pending->kind == PENDING_REAP) {
            reap_peer_lost(node, pending, index);
        }
    }
}

bool peer_alive(const struct peer *peer)
{
    return peer->up || (!peer->kept && peer->live != KITH_DOWN);
}

static void peer_say(struct kith_node *node, struct peer *peer)
{
    bool alive = peer_alive(peer);
    if (alive != peer->said_up && node->swim.lines < KITH_STEP_PINGS) {
        node->swim.lines++;
        peer->said_up = alive;
        core_log(node, alive ? LEVEL_INFO : LEVEL_WARN, "node %s is %s", peer->info.address,
                 alive ? "up" : "down");
    }
}

static void up_set(struct kith_node *node, struct peer *peer, bool up)
{
    if (peer->up == up) {
        return;
    }
    node->up_count -= peer->up ? 1 : 0;
    peer->up = up;
    node->up_count += up ? 1 : 0;
    if (node->up_count == 0) {
        node->alone_ms = node->now_ms;
        for (uint32_t i = 0; i < node->peer_count; i++) { /* all are tried now */
            peer_busy(node, &node->peers[i]);
        }
    }
}

static void peer_set_up(struct kith_node *node, struct peer *peer, bool up)
{
    if (peer->up == up) {
        return;
    }
    up_set(node, peer, up);
    peer->doubt_ms = 0;
    peer_say(node, peer);
    if (up) {
        exchange_peer_up(node, peer_index(node, peer));
        handoff_wake(node, 0);
        leftovers_peer_up(node, peer_index(node, peer));
    } else {
        peer_fail(node, peer);
    }
}

static bool peer_wanted(const struct kith_node *node, const struct peer *peer)
{
    return peer->kept || (peer->used_ms > 0 && node->now_ms < peer->used_ms + KITH_IDLE_MS);
}

void peer_live_changed(struct kith_node *node, struct peer *peer)
{
    peer_say(node, peer);
    peer_busy(node, peer);
    if (!peer->kept && peer->live == KITH_ALIVE) { /* of one that is kept its connection tells */
        leftovers_peer_up(node, peer_index(node, peer));
    }
}

bool peer_want(struct kith_node *node, struct peer *peer)
{
    peer->used_ms = node->now_ms;
    if (peer->state == PEER_IDLE) {
        uint64_t soonest = peer->since_ms + KITH_BACKOFF_MIN_MS;
        soonest = peer->since_ms > 0 && soonest > node->now_ms ? soonest : node->now_ms;
        peer->retry_ms = peer->retry_ms < soonest ? peer->retry_ms : soonest;
        peer_busy(node, peer);
    }
    return peer->state == PEER_READY;
}

uint64_t peer_reach(const struct kith_node *node, const struct peer *peer)
{
    if (peer->state == PEER_READY) {
        return peer->conn;
    }
    uint16_t index = peer_index(node, peer);
    for (uint32_t i = 0; i < KITH_CONN_SLOTS; i++) {
        const struct conn *conn = &node->conns[i];
        if (conn->id != 0 && conn->hello && conn->peer == index && !conn->ours &&
            !conn->theirs_bulk) {
            return conn->id;
        }
    }
    return 0;
}

void peers_heard(struct kith_node *node, const struct conn *conn, enum kith_msg_kind kind)
{
    if (conn->peer == KITH_NO_PEER) {
        return;
    }
    struct peer *peer = &node->peers[conn->peer];
    peer->seen_ms = node->now_ms;
    if (peer->state == PEER_READY && peer->conn == conn->id && kind != KITH_MSG_HELLO) {
        peer->answered_ms = node->now_ms;
        peer->doubt_ms = 0;
        peer->used_ms = kind != KITH_MSG_PING ? node->now_ms : peer->used_ms;
        peer_set_up(node, peer, true);
        swim_answered(node, conn->peer);
    } else if (peer->state == PEER_READY && !peer->up) { /* it lives: does it answer? */
        uint64_t soonest = peer->pinged_ms + KITH_PING_GAP_MS;
        peer->ping_ms = peer->ping_ms < soonest ? peer->ping_ms : soonest;
        node->peers_due_ms = soonest < node->peers_due_ms ? soonest : node->peers_due_ms;
    } else if (peer->state == PEER_IDLE && peer->kept) {
        uint64_t soonest = peer->since_ms + KITH_BACKOFF_MIN_MS;
        peer->retry_ms = peer->retry_ms < soonest ? peer->retry_ms : soonest;
        node->peers_due_ms = soonest < node->peers_due_ms ? soonest : node->peers_due_ms;
    }
}

void peer_doubt(struct kith_node *node, uint16_t index, uint64_t since_ms)
{
    struct peer *peer = &node->peers[index];
    if (!peer->up || peer->doubt_ms != 0 || peer->answered_ms > since_ms) {
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
    uint32_t most = peer->kept ? KITH_BACKOFF_MAX_MS : KITH_BACKOFF_DOWN_MS;
    uint64_t jitter = core_random(node) % (backoff / 2 + 1);
    peer->retry_ms = node->now_ms + backoff / 2 + jitter + 1;
    peer->backoff_ms = backoff * 2 < most ? backoff * 2 : most;
    node->peers_due_ms = node->now_ms;
    peer_set_up(node, peer, false);
}

/* Nobody has needed the connection for long. */
static void peer_release(struct kith_node *node, struct peer *peer)
{
    uint64_t conn = peer->conn;
    peer->state = PEER_IDLE;
    peer->since_ms = node->now_ms;
    peer->conn = 0;
    up_set(node, peer, false);
    core_close(node, conn, "not needed now");
    conn_remove(node, conn);
    peer_fail(node, peer);
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
    peer->answered_ms = 0;
    peer_ping(node, peer); /* with its answer it is up */
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

static void ping_fill(struct kith_node *node, struct kith_ping *ping, const struct peer *to,
                      bool is_answer, bool unasked)
{
    ping->is_answer = is_answer;
    if (node->table) {
        ping->table = node->table->id;
    }
    ping->wall_ms = node->wall_ms;
    ping->space = node->space;
    ping->moved = moves_done(node);
    swim_ping_fill(node, ping, to, unasked);
}

static uint64_t ping_pause_ms(const struct kith_node *node)
{
    return (uint64_t)KITH_PING_MS * (1 + node->kept_count / KITH_PING_PEERS);
}

void peer_ping(struct kith_node *node, struct peer *peer)
{
    peer->pinged_ms = node->now_ms;
    peer->ping_ms = node->now_ms + ping_pause_ms(node);
    node->peers_due_ms =
        peer->ping_ms < node->peers_due_ms ? peer->ping_ms : node->peers_due_ms;
    ping_fill(node, &core_send(node, peer->conn, KITH_MSG_PING, 0)->u.ping, peer, false, true);
}

void peer_push(struct kith_node *node, struct peer *peer)
{
    ping_fill(node, &core_send(node, peer->conn, KITH_MSG_PING, 0)->u.ping, peer, true, true);
}

static uint64_t down_ms(const struct kith_node *node)
{
    return KITH_DOWN_MS + ping_pause_ms(node) - KITH_PING_MS;
}

/* A member that is down is tried though nobody wants it; and so are all by who reaches nobody. */
static bool peer_lost(const struct kith_node *node, const struct peer *peer)
{
    return peer->member && (peer->live == KITH_DOWN || node->up_count == 0);
}

static uint32_t reconnects_most(const struct kith_node *node)
{
    bool alone = node->up_count == 0 && node->now_ms >= node->alone_ms + KITH_ALONE_MS;
    return alone ? KITH_RECONNECTS_ALONE : KITH_RECONNECTS;
}

static bool ready_tick(struct kith_node *node, struct peer *peer)
{
    uint64_t now = node->now_ms;
    uint64_t last = peer->answered_ms > peer->since_ms ? peer->answered_ms : peer->since_ms;
    if (now - last >= KITH_RECONNECT_MS) {
        peer_give_up(node, peer, "no sign of life");
        return true;
    }
    if (!peer_wanted(node, peer) && now >= peer->since_ms + KITH_IDLE_MS) {
        peer_release(node, peer);
        return true;
    }
    bool lost = doubt_tick(node, peer) ||
                (peer->up && now - peer->answered_ms >= down_ms(node));
    if (lost) {
        peer_set_up(node, peer, false);
    }
    if (now < peer->ping_ms) {
        return lost; /* its line in the log counts: after a pause all may be lost at once */
    }
    peer_ping(node, peer);
    return true;
}

/* What a peer wants done now; true where it made effects. */
static bool peer_tick(struct kith_node *node, struct peer *peer)
{
    switch (peer->state) {
    case PEER_IDLE:
        if (node->now_ms < peer->retry_ms || !peer_wanted(node, peer)) {
            return false; /* one that is lost: lost_connect() */
        }
        peer_connect(node, peer);
        return true;
    case PEER_CONNECTING:
    case PEER_OPENED:
        if (node->now_ms - peer->since_ms < KITH_RECONNECT_MS) {
            return false;
        }
        peer_give_up(node, peer, "no answer while connecting");
        return true;
    case PEER_READY:
        return ready_tick(node, peer);
    }
    return false;
}

void peers_paused(struct kith_node *node, uint64_t pause_ms)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->state != PEER_IDLE) { /* with an idle one alone there is nothing to do for seconds */
            peer->seen_ms += peer->seen_ms > 0 ? pause_ms : 0;
            peer->answered_ms += peer->answered_ms > 0 ? pause_ms : 0;
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
    swim_late(node, late_ms);
}

static uint64_t peer_due(const struct kith_node *node, const struct peer *peer)
{
    switch (peer->state) {
    case PEER_IDLE:
        return peer_wanted(node, peer) ||
                       (peer_lost(node, peer) && node->reconnects < reconnects_most(node))
                   ? peer->retry_ms
                   : UINT64_MAX;
    case PEER_CONNECTING:
    case PEER_OPENED:
        return peer->since_ms + KITH_RECONNECT_MS;
    case PEER_READY: {
        uint64_t due = doubt_due(peer);
        due = peer->ping_ms < due ? peer->ping_ms : due;
        uint64_t down = peer->up ? peer->answered_ms + down_ms(node) : UINT64_MAX;
        return down < due ? down : due;
    }
    }
    return UINT64_MAX;
}

/* Of those that are down, whoever has waited longest comes first: each has its turn, though most of
 * the others never answer. */
static void lost_connect(struct kith_node *node)
{
    uint32_t most = reconnects_most(node);
    node->reconnects = 0;
    for (uint32_t i = 0; i < node->busy_count; i++) {
        const struct peer *peer = &node->peers[node->busy[i]];
        bool trying = peer->state == PEER_CONNECTING || peer->state == PEER_OPENED;
        node->reconnects += trying && peer_lost(node, peer) && !peer_wanted(node, peer) ? 1 : 0;
    }
    for (uint32_t tries = 0; node->reconnects < most && tries < most; tries++) {
        struct peer *first = NULL;
        for (uint32_t i = 0; i < node->busy_count; i++) {
            struct peer *peer = &node->peers[node->busy[i]];
            bool waits =
                peer->state == PEER_IDLE && peer_lost(node, peer) && !peer_wanted(node, peer);
            first = waits && (!first || peer->retry_ms < first->retry_ms) ? peer : first;
        }
        if (!first || first->retry_ms > node->now_ms) {
            return;
        }
        peer_connect(node, first);
        node->reconnects += first->state == PEER_CONNECTING ? 1 : 0;
    }
}

/* In another order each time: news goes with the first pings only, and not always to the same. */
static struct peer *busy_pick(struct kith_node *node, uint32_t at)
{
    uint64_t random = core_random(node);
    uint32_t other = at + (uint32_t)(random % (node->busy_count - at));
    uint16_t index = node->busy[other];
    node->busy[other] = node->busy[at];
    node->busy[at] = index;
    return &node->peers[index];
}

void peers_tick(struct kith_node *node)
{
    if (node->now_ms < node->peers_due_ms) {
        return;
    }
    uint32_t done = 0;
    uint64_t due = UINT64_MAX, lost_due = UINT64_MAX;
    if (node->now_ms >= node->lost_due_ms) {
        lost_connect(node);
    }
    for (uint32_t i = 0; i < node->busy_count;) {
        struct peer *peer = busy_pick(node, i);
        /* a peer makes two effects at most (what it does, and a line in the log) */
        if (done < KITH_STEP_PINGS / 2 && peer_tick(node, peer)) {
            done++;
        }
        if (peer->state == PEER_IDLE && !peer_wanted(node, peer) && !peer_lost(node, peer)) {
            peer->busy = false;
            node->busy_count--;
            node->busy[i] = node->busy[node->busy_count];
            continue;
        }
        uint64_t next = peer_due(node, peer);
        due = next < due ? next : due;
        bool waits = peer->state == PEER_IDLE && !peer_wanted(node, peer);
        lost_due = waits && peer->retry_ms < lost_due ? peer->retry_ms : lost_due;
        i++;
    }
    node->peers_due_ms = due;
    node->lost_due_ms = lost_due;
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
    swim_pinged(node, conn, ping);
    if (conn->peer != KITH_NO_PEER) {
        node->peers[conn->peer].full = ping->space >= KITH_SPACE_FULL;
        moves_heard(node, conn->peer, ping);
    }
    if (!ping->is_answer) {
        const struct peer *from = conn->peer != KITH_NO_PEER ? &node->peers[conn->peer] : NULL;
        struct kith_ping *answer = &core_send(node, conn->id, KITH_MSG_PING, msg->id)->u.ping;
        ping_fill(node, answer, from, true, false);
    }
    if (node->has_cluster && conn->peer != KITH_NO_PEER &&
        kith_table_id_compare(&ping->table, &node->table->id) > 0) {
        table_ask(node, conn->id);
    }
}
