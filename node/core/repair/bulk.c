/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bulk.c - connections for contents of chunks, one to each peer of whom some are wanted.
 *
 *     IDLE --asked for--> CONNECTING --OPENED--> OPENED --their HELLO--> READY
 *       ^____________________closed, no answer, or not used for a while____|
 *
 * Whether a peer is up follows from the connection for rows alone (peers.c): this one is only a way
 * to it, and its failure is its own. It is opened when somebody asks for it, at most as often as
 * the back-off allows. */
#include "core/internal.h"

static struct bulk_link *link_of(struct kith_node *node, const struct conn *conn)
{
    struct bulk_link *link = &node->peers[conn->peer].bulk;
    return link->conn == conn->id ? link : NULL;
}

static void link_enter(struct kith_node *node, struct bulk_link *link, enum peer_state state)
{
    link->state = state;
    link->since_ms = node->now_ms;
    node->bulk_due_ms = node->now_ms;
}

/* It has ended; the next one comes after a back-off, where that was not our wish. */
static void link_idle(struct kith_node *node, uint16_t peer, bool failed)
{
    struct bulk_link *link = &node->peers[peer].bulk;
    link->conn = 0;
    link_enter(node, link, PEER_IDLE);
    if (failed) {
        uint32_t backoff = link->backoff_ms > 0 ? link->backoff_ms : KITH_BACKOFF_MIN_MS;
        uint64_t jitter = core_random(node) % (backoff / 2 + 1);
        link->retry_ms = node->now_ms + backoff / 2 + jitter + 1;
        link->backoff_ms =
            backoff * 2 < KITH_BACKOFF_MAX_MS ? backoff * 2 : KITH_BACKOFF_MAX_MS;
    }
    exchange_bulk_down(node, peer);
    relay_bulk_down(node, peer);
}

static void link_end(struct kith_node *node, uint16_t peer, const char *why, bool failed)
{
    uint64_t conn = node->peers[peer].bulk.conn;
    core_close(node, conn, why);
    conn_remove(node, conn);
    link_idle(node, peer, failed);
}

bool bulk_conn(struct kith_node *node, uint16_t index, uint64_t *ret_conn)
{
    struct peer *peer = &node->peers[index];
    struct bulk_link *link = &peer->bulk;
    *ret_conn = link->state == PEER_READY ? link->conn : 0;
    link->used_ms = node->now_ms;
    if (link->state != PEER_IDLE) {
        return true;
    }
    if (node->now_ms < link->retry_ms || !peer->info.address[0]) {
        return false;
    }
    struct conn *conn = conn_add(node, KITH_CONN_CORE_BASE + node->conn_next, true);
    if (!conn) {
        return false;
    }
    node->conn_next++;
    conn->bulk = true;
    conn->peer = index;
    link->conn = conn->id;
    link_enter(node, link, PEER_CONNECTING);
    core_connect_bulk(node, conn->id, peer->info.address);
    return true;
}

void bulk_give_up(struct kith_node *node, uint16_t peer, const char *why)
{
    if (node->peers[peer].bulk.conn != 0) {
        link_end(node, peer, why, true);
    }
}

void bulk_opened(struct kith_node *node, const struct conn *conn)
{
    struct bulk_link *link = link_of(node, conn);
    if (link && link->state == PEER_CONNECTING) {
        link_enter(node, link, PEER_OPENED);
        conn_hello(node, conn->id);
    }
}

void bulk_ready(struct kith_node *node, const struct conn *conn)
{
    struct bulk_link *link = link_of(node, conn);
    if (link && link->state == PEER_OPENED) {
        link_enter(node, link, PEER_READY);
        link->used_ms = node->now_ms;
        link->backoff_ms = 0;
        exchange_bulk_up(node, conn->peer);
    }
}

void bulk_closed(struct kith_node *node, const struct conn *conn)
{
    if (link_of(node, conn)) {
        link_idle(node, conn->peer, true);
    }
}

static uint64_t link_due(const struct bulk_link *link)
{
    return link->state == PEER_IDLE    ? UINT64_MAX
           : link->state == PEER_READY ? link->used_ms + KITH_BULK_IDLE_MS
                                       : link->since_ms + KITH_RECONNECT_MS;
}

void bulk_tick(struct kith_node *node)
{
    if (node->now_ms < node->bulk_due_ms) {
        return;
    }
    uint32_t ended = 0;
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct bulk_link *link = &node->peers[i].bulk;
        if (node->now_ms >= link_due(link) && ended < KITH_STEP_BULK) {
            bool idle = link->state == PEER_READY;
            link_end(node, (uint16_t)i, idle ? "not needed" : "no answer while connecting", !idle);
            ended++;
        }
        uint64_t next = link_due(link);
        due = next < due ? next : due;
    }
    node->bulk_due_ms = due;
}

uint64_t bulk_due(const struct kith_node *node)
{
    return node->bulk_due_ms;
}
