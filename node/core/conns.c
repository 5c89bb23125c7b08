/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conns.c - connections: which there are, and who is behind each.
 *
 * A HELLO comes first both ways; before it nothing else is taken, and from it the core tells nodes
 * from clients. What is wrong (another protocol, another cluster) is told to the other side in an
 * ADMIN_RES with id 0 (on a connection for rows) before it is closed, so that both logs say why.
 * Who has connected and says nothing is closed, too: he holds a place.
 *
 * A table with open addressing and linear probing, at most half full. */
#include <string.h>

#include "core/internal.h"

enum kith_err conns_init(struct kith_node *node)
{
    node->conns = kith_calloc(KITH_CONN_SLOTS, sizeof *node->conns);
    return node->conns ? KITH_OK : KITH_ENOMEM;
}

static uint32_t conn_home(uint64_t id)
{
    return (uint32_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % KITH_CONN_SLOTS;
}

struct conn *conn_find(struct kith_node *node, uint64_t id)
{
    if (id == 0) {
        return NULL;
    }
    for (uint32_t i = conn_home(id); node->conns[i].id != 0; i = (i + 1) % KITH_CONN_SLOTS) {
        if (node->conns[i].id == id) {
            return &node->conns[i];
        }
    }
    return NULL;
}

struct conn *conn_add(struct kith_node *node, uint64_t id, bool ours)
{
    if (id == 0 || node->conn_count == KITH_CONNS_MAX || conn_find(node, id)) {
        return NULL;
    }
    uint32_t i = conn_home(id);
    while (node->conns[i].id != 0) {
        i = (i + 1) % KITH_CONN_SLOTS;
    }
    struct conn *conn = &node->conns[i];
    memset(conn, 0, sizeof *conn);
    conn->id = id;
    conn->ours = ours;
    conn->peer = KITH_NO_PEER;
    if (!ours) {
        conn->hello_ms = node->now_ms + KITH_HELLO_MS;
        node->hello_due_ms =
            node->hello_due_ms < conn->hello_ms ? node->hello_due_ms : conn->hello_ms;
    }
    node->conn_count++;
    return conn;
}

bool conn_is_node(struct kith_node *node, uint64_t id, const struct kith_msg *msg)
{
    const struct conn *from = conn_find(node, id);
    if (from && from->role == KITH_ROLE_NODE) {
        return true;
    }
    core_refuse(node, id, msg, KITH_EPERM, "only nodes of the cluster may do that");
    return false;
}

/* Closes the gap by moving back what would no longer be found. */
void conn_remove(struct kith_node *node, uint64_t id)
{
    struct conn *conn = conn_find(node, id);
    if (!conn) {
        return;
    }
    watch_conn_gone(node, conn);
    uint32_t gap = (uint32_t)(conn - node->conns);
    for (uint32_t i = (gap + 1) % KITH_CONN_SLOTS; node->conns[i].id != 0;
         i = (i + 1) % KITH_CONN_SLOTS) {
        uint32_t home = conn_home(node->conns[i].id);
        uint32_t from_home = (i - home + KITH_CONN_SLOTS) % KITH_CONN_SLOTS;
        uint32_t from_gap = (i - gap + KITH_CONN_SLOTS) % KITH_CONN_SLOTS;
        if (from_home >= from_gap) {
            node->conns[gap] = node->conns[i];
            gap = i;
        }
    }
    node->conns[gap].id = 0;
    node->conn_count--;
}

void conn_hello(struct kith_node *node, uint64_t conn)
{
    struct kith_hello *hello = &core_send(node, conn, KITH_MSG_HELLO, 0)->u.hello;
    hello->protocol = kith_protocol_ours();
    hello->role = KITH_ROLE_NODE;
    if (node->has_cluster) {
        hello->cluster = node->cluster.uuid;
    }
    hello->node = node->uuid;
    hello->incarnation = node->incarnation;
    hello->address = node->address;
    hello->software = node->software;
}

/* Anybody can have himself refused, or refuse us, as often as he likes. */
void conn_log(struct kith_node *node, const char *what, const char *reason)
{
    uint64_t missed = 0;
    if (node->refusals == 0 || node->now_ms - node->refused_ms >= KITH_REFUSALS_MS) {
        missed = node->refusals > KITH_REFUSALS_TOLD ? node->refusals - KITH_REFUSALS_TOLD : 0;
        node->refused_ms = node->now_ms;
        node->refusals = 0;
    }
    if (missed > 0) {
        core_log(node, LEVEL_WARN, "%llu more connections were closed", (unsigned long long)missed);
    }
    if (++node->refusals <= KITH_REFUSALS_TOLD) {
        core_log(node, LEVEL_WARN, "%s: %s", what, reason);
    }
}

void conn_refuse(struct kith_node *node, struct conn *conn, enum kith_err err, const char *reason)
{
    struct conn copy = *conn;
    conn_log(node, "connection closed", reason);
    if (!copy.bulk && !copy.theirs_bulk) { /* those have no message for it */
        core_send(node, copy.id, KITH_MSG_ADMIN_RES, 0)->u.admin_res.status =
            core_status(err, reason);
    }
    core_close(node, copy.id, reason);
    peers_closed(node, &copy);
    join_closed(node, copy.id, reason);
    conn_remove(node, copy.id);
}

/* Those that hold a place here and do not say who they are; looked for only when the one that came
 * first is late. */
void conns_tick(struct kith_node *node)
{
    uint64_t late[KITH_STEP_HELLOS];
    uint32_t count = 0;
    if (node->now_ms < node->hello_due_ms) {
        return;
    }
    /* it was us who stood still: they may have said it, and we have not read it */
    bool paused = node->now_ms - node->hello_due_ms > KITH_PAUSE_MS;
    node->hello_due_ms = UINT64_MAX;
    for (uint32_t i = 0; i < KITH_CONN_SLOTS; i++) {
        struct conn *conn = &node->conns[i];
        if (conn->id == 0 || conn->hello_ms == 0) {
            continue;
        }
        if (paused && conn->hello_ms <= node->now_ms) {
            conn->hello_ms = node->now_ms + KITH_HELLO_MS;
        }
        if (conn->hello_ms <= node->now_ms && count < KITH_STEP_HELLOS) {
            late[count++] = conn->id;
        } else if (conn->hello_ms < node->hello_due_ms) {
            node->hello_due_ms = conn->hello_ms;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct conn *conn = conn_find(node, late[i]);
        if (conn) {
            conn_refuse(node, conn, KITH_ETIMEOUT, "nobody says who is behind it");
        }
    }
}

void conn_take_hello(struct kith_node *node, struct conn *conn, const struct kith_hello *hello)
{
    char theirs[KITH_UUID_TEXT_SIZE];
    char ours[KITH_UUID_TEXT_SIZE];
    const char *who = hello->address && hello->address[0] ? hello->address : "a client";
    struct kith_protocol own = kith_protocol_ours();
    if (kith_protocol_common(&own, &hello->protocol) == 0) {
        char differ[KITH_PROTOCOL_DIFFER_SIZE];
        kith_protocol_differ(&own, node->address, &hello->protocol, who, differ, sizeof differ);
        conn_refuse(node, conn, KITH_EVERSION, core_text(node, "%s", differ));
        return;
    }
    if (node->has_cluster && !kith_uuid_is_nil(&hello->cluster) &&
        !kith_uuid_equal(&hello->cluster, &node->cluster.uuid)) {
        kith_uuid_format(&hello->cluster, theirs);
        kith_uuid_format(&node->cluster.uuid, ours);
        conn_refuse(node, conn, KITH_ECLUSTER,
                    core_text(node, "%s belongs to cluster %s, %s to cluster %s", who, theirs,
                              node->address, ours));
        return;
    }
    conn->role = hello->role == KITH_ROLE_NODE ? KITH_ROLE_NODE : KITH_ROLE_CLIENT;
    conn->node = hello->node;
    conn->hello_ms = 0;
    if (conn->role == KITH_ROLE_CLIENT) {
        conn->hello = true;
        return;
    }
    if (kith_uuid_equal(&hello->node, &node->uuid)) {
        conn_refuse(node, conn, KITH_EINVAL,
                    core_text(node, "%s is this node itself", who));
        return;
    }
    struct peer *peer = peer_find(node, &hello->node);
    if (conn->ours && conn->peer != KITH_NO_PEER &&
        (!peer || peer_index(node, peer) != conn->peer)) {
        kith_uuid_format(&node->peers[conn->peer].uuid, ours);
        kith_uuid_format(&hello->node, theirs);
        conn_refuse(node, conn, KITH_EINVAL,
                    core_text(node, "at %s, where node %s was, is node %s now", who, ours, theirs));
        return;
    }
    conn->hello = true;
    if (peer) {
        conn->peer = peer_index(node, peer);
        struct kith_member_info info = peer->info;
        info.incarnation = hello->incarnation;
        strncpy(info.address, hello->address ? hello->address : "", sizeof info.address - 1);
        info.address[sizeof info.address - 1] = 0;
        memset(info.software, 0, sizeof info.software);
        strncpy(info.software, hello->software ? hello->software : "", sizeof info.software - 1);
        info.features = hello->protocol.features;
        members_learn(node, &info);
        peers_heard(node, conn, KITH_MSG_HELLO);
    }
    if (conn->ours) {
        if (join_is_contact(node, conn->id)) {
            join_hello(node, conn, hello);
        } else {
            peers_ready(node, conn);
        }
    }
}
