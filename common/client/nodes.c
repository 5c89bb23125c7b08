/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nodes.c - connections, hello, the table, and the client's own fast view of nodes.
 *
 * A door is a server of the options (or an address that a STATUS named): only an address. Who
 * answers there says in his HELLO who he is; the connection then becomes that peer's, so that a
 * server under three names is one node. Doors are tried while there is no table, and again whenever
 * no member is up.
 *
 * The fast view is never shared: a node whose connection is down is skipped at once; one that is
 * silent or fails becomes slow: asked last, until some time has passed (doubling from 1 s to 30 s)
 * and it has answered a probe, so that a frozen node costs no request anything while it stays
 * frozen. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "client/core.h"

static struct cc_peer *peer_new(struct kith_client_core *core, const char *address)
{
    if (core->peer_count == CC_PEERS_MAX) {
        return NULL;
    }
    struct cc_peer *peer = kith_calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return NULL;
    }
    (void)snprintf(peer->address, sizeof(peer->address), "%s", address); /* sizes were checked */
    peer->slow_ms = CC_SLOW_MIN_MS;
    peer->silent_ms = CC_NEVER;
    peer->rtt_since_ms = CC_NEVER;
    core->peers[core->peer_count++] = peer;
    core->peers_wake_ms = core->now;
    return peer;
}

static struct cc_peer *peer_find(struct kith_client_core *core, const struct kith_uuid *uuid)
{
    for (uint32_t i = 0; i < core->peer_count; i++) {
        if (kith_uuid_equal(&core->peers[i]->uuid, uuid)) {
            return core->peers[i];
        }
    }
    return NULL;
}

struct cc_peer *cc_peer_at(struct kith_client_core *core, const char *address)
{
    for (uint32_t i = 0; i < core->peer_count; i++) {
        struct cc_peer *peer = core->peers[i];
        if (kith_uuid_is_nil(&peer->uuid) && strcmp(peer->address, address) == 0) {
            return peer;
        }
    }
    return peer_new(core, address);
}

enum kith_err cc_nodes_init(struct kith_client_core *core, uint32_t count,
                            const char *const *servers)
{
    if (count == 0 || count > KITH_CLIENT_SERVERS_MAX) {
        return KITH_EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strlen(servers[i]);
        if (size == 0 || size >= KITH_ADDRESS_SIZE) {
            return KITH_EINVAL;
        }
        struct cc_peer *peer = cc_peer_at(core, servers[i]);
        if (peer == NULL) {
            return KITH_ENOMEM;
        }
        peer->door = true;
    }
    return KITH_OK;
}

void cc_nodes_release(struct kith_client_core *core)
{
    for (uint32_t i = 0; i < core->peer_count; i++) {
        kith_free(core->peers[i]->lease.ended);
        kith_free(core->peers[i]);
    }
    kith_free(core->by_member);
    if (core->table != NULL) {
        kith_table_drop(core->table);
    }
}

/* ---- Links ---- */

static void link_try(struct kith_client_core *core, struct cc_peer *peer, struct cc_link *link)
{
    if (link->since_ms == 0) {
        link->since_ms = core->now;
    }
    link->state = CC_LINK_CONNECTING;
    link->conn = core->next_conn++;
    link->at_ms = core->now + CC_CONNECT_MS;
    cc_effect_connect(core, link->conn, peer->address, link == &peer->bulk);
}

/* The connection is gone: what was asked on it is lost, the next try comes after the back-off. */
static void link_down(struct kith_client_core *core, struct cc_peer *peer, struct cc_link *link,
                      const char *reason)
{
    bool stood = link->state == CC_LINK_UP && core->now - link->at_ms >= CC_BACKOFF_MAX_MS;
    uint64_t conn = link->conn;
    peer->silent_ms = CC_NEVER;
    peer->rtt_since_ms = CC_NEVER;
    if (stood || link->backoff_ms == 0) {
        link->backoff_ms = CC_BACKOFF_MIN_MS;
    } else {
        link->backoff_ms *= 2;
        if (link->backoff_ms > CC_BACKOFF_MAX_MS) {
            link->backoff_ms = CC_BACKOFF_MAX_MS;
        }
    }
    uint64_t jitter = cc_random(core) % (link->backoff_ms / 2 + 1);
    bool turned_down = link->state == CC_LINK_CONNECTING &&
                       core->now + CC_CONNECT_MS - link->at_ms < CC_TURNED_DOWN_MS;
    link->down_ms = link->down_count == 0 ? core->now : link->down_ms;
    link->down_count = turned_down ? link->down_count + 1 : 0;
    link->lost_ms = link->lost_ms == 0 ? core->now : link->lost_ms;
    link->state = CC_LINK_WAITING;
    link->failed = true;
    link->failed_ms = core->now;
    link->conn = 0;
    link->at_ms = core->now + link->backoff_ms / 2 + jitter;
    core->peers_wake_ms = core->now;
    (void)snprintf(peer->reason, sizeof(peer->reason), "%s", /* cut: it is for people */
                   reason == NULL ? "connection closed" : reason);
    if (link == &peer->rows) {
        cc_watches_lost(core, peer);
    }
    if (conn != 0) {
        cc_asks_lost(core, conn);
    }
    core->waiting_dirty = true;
    if (peer->member) {
        cc_table_ask(core); /* its address may have changed */
    }
}

static void link_close(struct kith_client_core *core, struct cc_peer *peer, struct cc_link *link,
                       const char *reason)
{
    cc_effect_close(core, link->conn, reason);
    link_down(core, peer, link, reason);
}

struct cc_link *cc_peer_link(struct kith_client_core *core, struct cc_peer *peer, bool bulk)
{
    struct cc_link *link = bulk ? &peer->bulk : &peer->rows;
    if (bulk && !peer->bulk_wanted) {
        peer->bulk_wanted = true;
        core->peers_wake_ms = core->now;
        if (link->state == CC_LINK_IDLE && cc_peer_up(peer)) {
            link_try(core, peer, link);
        }
    }
    return link->state == CC_LINK_UP ? link : NULL;
}

bool cc_peer_down(const struct kith_client_core *core, const struct cc_peer *peer, bool bulk)
{
    const struct cc_link *link = bulk ? &peer->bulk : &peer->rows;
    if (link->state == CC_LINK_UP) {
        return false;
    }
    if (peer->rows.state != CC_LINK_UP && peer->rows.failed) {
        return true;
    }
    return link->failed || (link->since_ms != 0 && core->now - link->since_ms >= CC_GRACE_MS);
}

uint64_t cc_peer_lost_for(const struct kith_client_core *core, const struct cc_peer *peer,
                          bool bulk)
{
    const struct cc_link *link = bulk && peer->rows.state == CC_LINK_UP ? &peer->bulk : &peer->rows;
    return link->lost_ms == 0 ? 0 : core->now - link->lost_ms;
}

/* ---- The fast view ---- */

static void peer_slow(struct kith_client_core *core, struct cc_peer *peer)
{
    if (peer->slow) {
        return;
    }
    peer->slow = true;
    peer->heard = false;
    peer->fails = 0;
    peer->slow_until_ms = core->now + peer->slow_ms;
    peer->probe_ms = core->now;
    core->waiting_dirty = true;
    peer->slow_ms = peer->slow_ms * 2 > CC_SLOW_MAX_MS ? CC_SLOW_MAX_MS : peer->slow_ms * 2;
    core->peers_wake_ms = core->now;
}

void cc_peer_missed(struct kith_client_core *core, struct cc_peer *peer)
{
    peer_slow(core, peer);
}

void cc_peer_watch(struct kith_client_core *core, struct cc_peer *peer, uint32_t hedge_ms)
{
    if (!peer->slow && peer->silent_ms == CC_NEVER) {
        peer->silent_ms = core->now + 3 * (uint64_t)hedge_ms;
        if (peer->silent_ms < core->peers_wake_ms) {
            core->peers_wake_ms = peer->silent_ms;
        }
    }
}

void cc_peer_failed(struct kith_client_core *core, struct cc_peer *peer)
{
    if (++peer->fails >= CC_FAILS_MAX) {
        peer_slow(core, peer);
    }
}

static void peer_heard(struct kith_client_core *core, struct cc_peer *peer)
{
    peer->heard_ms = core->now;
    peer->mute = false;
    if (peer->slow) {
        peer->heard = true;
        if (core->now >= peer->slow_until_ms) {
            peer->slow = false;
        } else if (core->peers_wake_ms > peer->slow_until_ms) {
            core->peers_wake_ms = peer->slow_until_ms;
        }
    } else if (peer->slow_ms > CC_SLOW_MIN_MS &&
               core->now >= peer->slow_until_ms + CC_SLOW_MAX_MS) {
        peer->slow_ms = CC_SLOW_MIN_MS; /* it has done well for long */
    }
}

void cc_peer_answered(struct kith_client_core *core, struct cc_peer *peer)
{
    peer->fails = 0;
    peer->silent_ms = CC_NEVER;
    peer_heard(core, peer);
}

/* ---- The table ---- */

/* The answer bears it; a table that a node tells of by itself does not. */
#define TABLE_ASKED_ID 1u

static void table_req(struct kith_client_core *core, struct cc_peer *peer)
{
    struct kith_msg *msg = cc_message(core, KITH_MSG_TABLE_REQ);
    if (msg != NULL) {
        msg->id = TABLE_ASKED_ID;
        cc_zones_asked(core, peer);
        if (core->table != NULL) {
            msg->u.table_req.known = core->table->id;
        }
        cc_send(core, peer->rows.conn, msg);
    }
}

/* Asks the peer for a sign of life where it has given none for a while. */
static void peer_doubt(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer,
                       uint64_t since_ms)
{
    uint64_t last_ms = since_ms > peer->heard_ms ? since_ms : peer->heard_ms;
    if (core->now < last_ms + CC_DOUBT_AFTER_MS) {
        cc_op_wake(core, op, last_ms + CC_DOUBT_AFTER_MS);
        return;
    }
    if (peer->doubt_ms == 0 && cc_peer_up(peer)) {
        table_req(core, peer);
        peer->doubt_ms = core->now;
        if (core->now + CC_DOUBT_MS < core->peers_wake_ms) {
            core->peers_wake_ms = core->now + CC_DOUBT_MS;
        }
    }
    cc_op_wake(core, op, core->now + CC_DOUBT_AFTER_MS);
}

bool cc_peer_silent(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer,
                    uint64_t since_ms)
{
    if (peer->slow && !peer->heard) {
        return true;
    }
    peer_doubt(core, op, peer, since_ms);
    return false;
}

bool cc_peer_mute(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer,
                  uint64_t since_ms)
{
    if (!peer->mute) {
        peer_doubt(core, op, peer, since_ms);
    }
    return peer->mute;
}

void cc_table_ask(struct kith_client_core *core)
{
    if (core->table_asked_ms != 0 && core->now < core->table_asked_ms + CC_TABLE_AGAIN_MS) {
        return;
    }
    uint64_t start = cc_random(core);
    for (uint32_t i = 0; i < core->peer_count; i++) {
        struct cc_peer *peer = core->peers[(start + i) % core->peer_count];
        if (cc_peer_up(peer) && !peer->slow && peer->checked) {
            table_req(core, peer);
            core->table_asked_ms = core->now;
            return;
        }
    }
}

/* Which peers the members of the table are; new ones have no address until a TABLE_RES names it. */
static bool table_use(struct kith_client_core *core, struct kith_table *table)
{
    struct cc_peer **by_member = kith_calloc(table->member_count, sizeof(struct cc_peer *));
    if (by_member == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < table->member_count; i++) {
        by_member[i] = peer_find(core, &table->members[i].uuid);
        if (by_member[i] == NULL) {
            by_member[i] = peer_new(core, "");
            if (by_member[i] == NULL) {
                kith_free(by_member);
                return false;
            }
            by_member[i]->uuid = table->members[i].uuid;
        }
    }
    for (uint32_t i = 0; i < core->peer_count; i++) {
        core->peers[i]->member = false;
    }
    for (uint32_t i = 0; i < table->member_count; i++) {
        by_member[i]->member = true;
    }
    kith_free(core->by_member);
    core->by_member = by_member;
    if (core->table != NULL) {
        core->moved_ms = core->now;
        kith_table_drop(core->table);
    }
    core->table = kith_table_hold(table);
    core->cluster = table->cluster;
    core->peers_wake_ms = core->now;
    core->waiting_dirty = true;
    cc_zones_look(core);
    cc_watches_table(core);
    return true;
}

/* Uses the encoded table if it is of our cluster and newer; true when it was taken. */
static bool table_take(struct kith_client_core *core, struct kith_bytes bytes)
{
    struct kith_table *table = NULL;
    if (bytes.size == 0 || kith_table_decode(bytes, &table) != KITH_OK) {
        return false; /* a node that sends no table, or garbage, is asked again later */
    }
    bool ours =
        kith_uuid_is_nil(&core->cluster) || kith_uuid_equal(&core->cluster, &table->cluster);
    bool newer = core->table == NULL || kith_table_id_compare(&table->id, &core->table->id) > 0;
    bool taken = ours && newer && table_use(core, table);
    kith_table_drop(table);
    return taken;
}

bool cc_table_adopt(struct kith_client_core *core, struct kith_bytes bytes,
                    const struct kith_table *than)
{
    if (table_take(core, bytes)) {
        core->table_asked_ms = 0; /* for the addresses of new members */
        cc_table_ask(core);
    }
    return core->table != NULL && kith_table_id_compare(&core->table->id, &than->id) > 0;
}

static void take_member(struct kith_client_core *core, const struct kith_member_info *info)
{
    struct cc_peer *peer = peer_find(core, &info->uuid);
    size_t size = strnlen(info->address, sizeof(info->address));
    if (peer == NULL || size == 0 || size >= KITH_ADDRESS_SIZE) {
        return; /* not in the table: a node that joins, or left */
    }
    bool newer = peer->address[0] == '\0' || info->incarnation >= peer->incarnation;
    if (newer && strcmp(peer->address, info->address) != 0) {
        memcpy(peer->address, info->address, size + 1);
        for (uint32_t i = 0; i < 2; i++) { /* try the new place now */
            struct cc_link *link = i == 0 ? &peer->rows : &peer->bulk;
            if (link->state == CC_LINK_WAITING) {
                link->at_ms = core->now;
            }
        }
        core->peers_wake_ms = core->now;
    }
    if (newer) {
        peer->incarnation = info->incarnation;
    }
}

/* ---- Events ---- */

static struct cc_peer *peer_of_conn(struct kith_client_core *core, uint64_t conn,
                                    struct cc_link **ret_link)
{
    for (uint32_t i = 0; i < core->peer_count && conn != 0; i++) {
        struct cc_peer *peer = core->peers[i];
        if (peer->rows.conn == conn || peer->bulk.conn == conn) {
            *ret_link = peer->rows.conn == conn ? &peer->rows : &peer->bulk;
            return peer;
        }
    }
    return NULL;
}

void cc_nodes_opened(struct kith_client_core *core, uint64_t conn)
{
    struct cc_link *link = NULL;
    struct cc_peer *peer = peer_of_conn(core, conn, &link);
    struct kith_msg *msg = cc_message(core, KITH_MSG_HELLO);
    if (peer == NULL || link->state != CC_LINK_CONNECTING || msg == NULL) {
        return;
    }
    link->state = CC_LINK_HELLO;
    link->at_ms = core->now + CC_HELLO_MS;
    core->peers_wake_ms = core->now;
    struct kith_hello *hello = &msg->u.hello;
    hello->protocol = kith_protocol_ours();
    hello->role = KITH_ROLE_CLIENT;
    hello->cluster = core->cluster;
    memcpy(hello->node.bytes, core->client_id, sizeof(hello->node.bytes));
    hello->address = "";
    hello->software = "kithfs " KITH_VERSION;
    cc_send(core, conn, msg);
}

void cc_nodes_closed(struct kith_client_core *core, uint64_t conn, const char *reason)
{
    struct cc_link *link = NULL;
    struct cc_peer *peer = peer_of_conn(core, conn, &link);
    if (peer != NULL) {
        link_down(core, peer, link, reason);
    }
}

static void link_up(struct kith_client_core *core, struct cc_peer *peer, struct cc_link *link)
{
    link->state = CC_LINK_UP;
    link->lost_ms = 0;
    link->down_count = 0;
    link->failed = false;
    link->at_ms = core->now;
    peer->reason[0] = '\0';
    core->waiting_dirty = true;
    core->peers_wake_ms = core->now;
    if (link == &peer->rows) {
        peer->fails = 0;
        table_req(core, peer);
        cc_watches_up(core, peer);
        if (peer->bulk_wanted && peer->bulk.state == CC_LINK_WAITING) {
            peer->bulk.at_ms = core->now;
        }
    }
}

/* A door's connection becomes that of the node that answered there. */
static void door_hello(struct kith_client_core *core, struct cc_peer *door,
                       const struct kith_hello *hello)
{
    struct cc_peer *peer = peer_find(core, &hello->node);
    if (peer == NULL) {
        peer = peer_new(core, door->address);
        if (peer == NULL) {
            link_close(core, door, &door->rows, "too many nodes");
            return;
        }
        peer->uuid = hello->node;
    }
    door->identity = peer;
    peer->checked = !kith_uuid_is_nil(&hello->cluster);
    if (cc_peer_up(peer)) {
        cc_effect_close(core, door->rows.conn, "there is a connection already");
        memset(&door->rows, 0, sizeof(door->rows));
        core->waiting_dirty = true;
        return;
    }
    if (peer->rows.conn != 0) {
        cc_effect_close(core, peer->rows.conn, "there is a connection already");
    }
    if (peer->address[0] == '\0') {
        memcpy(peer->address, door->address, sizeof(peer->address));
    }
    peer->rows = door->rows;
    memset(&door->rows, 0, sizeof(door->rows));
    door->reason[0] = '\0';
    link_up(core, peer, &peer->rows);
}

static void take_hello(struct kith_client_core *core, struct cc_peer *peer, struct cc_link *link,
                       const struct kith_hello *hello)
{
    if (link->state != CC_LINK_HELLO) {
        return;
    }
    struct kith_protocol own = kith_protocol_ours();
    if (kith_protocol_common(&own, &hello->protocol) == 0) {
        char differ[KITH_PROTOCOL_DIFFER_SIZE];
        kith_protocol_differ(&own, "this client", &hello->protocol, "the node", differ, sizeof differ);
        cc_effect_close(core, link->conn, "no version of the protocol in common");
        link_down(core, peer, link, differ);
        return;
    }
    bool known = !kith_uuid_is_nil(&core->cluster) && !kith_uuid_is_nil(&hello->cluster);
    if (known && !kith_uuid_equal(&core->cluster, &hello->cluster)) {
        link_close(core, peer, link, "belongs to another cluster");
        return;
    }
    if (kith_uuid_is_nil(&core->cluster)) {
        core->cluster = hello->cluster;
    }
    if (kith_uuid_is_nil(&hello->node)) {
        link_close(core, peer, link, "does not say who it is");
    } else if (kith_uuid_is_nil(&peer->uuid)) {
        door_hello(core, peer, hello);
    } else if (!kith_uuid_equal(&peer->uuid, &hello->node)) {
        link_close(core, peer, link, "another node answers at this address");
    } else {
        peer->checked = !kith_uuid_is_nil(&hello->cluster);
        link_up(core, peer, link);
    }
}

static void take_table(struct kith_client_core *core, struct cc_peer *peer,
                       const struct kith_table_res *res)
{
    peer_heard(core, peer);
    if (res->status.err != KITH_OK) {
        (void)snprintf(peer->reason, sizeof(peer->reason), "%s", /* cut: it is for people */
                       res->status.message == NULL || res->status.message[0] == '\0'
                           ? kith_err_text((int)res->status.err)
                           : res->status.message);
        return;
    }
    (void)table_take(core, res->table); /* nothing newer in it is fine */
    for (uint32_t i = 0; i < res->member_count; i++) {
        take_member(core, &res->members[i]);
    }
}

void cc_nodes_heard(struct kith_client_core *core, uint64_t conn)
{
    struct cc_link *link = NULL;
    struct cc_peer *peer = peer_of_conn(core, conn, &link);
    if (peer != NULL) {
        peer->silent_ms = CC_NEVER;
        peer_heard(core, peer);
    }
}

void cc_nodes_message(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg)
{
    struct cc_link *link = NULL;
    struct cc_peer *peer = peer_of_conn(core, conn, &link);
    if (peer == NULL) {
        return;
    }
    if (msg->kind == KITH_MSG_HELLO) {
        take_hello(core, peer, link, &msg->u.hello);
    } else if (link->state == CC_LINK_UP) {
        peer->silent_ms = CC_NEVER;
        if (msg->id == TABLE_ASKED_ID) {
            cc_zones_answered(core, peer);
        }
        take_table(core, peer, &msg->u.table_res);
    }
}

/* ---- Time ---- */

static void sooner(struct kith_client_core *core, uint64_t at_ms)
{
    if (at_ms < core->peers_wake_ms) {
        core->peers_wake_ms = at_ms;
    }
}

static bool any_member_up(const struct kith_client_core *core)
{
    for (uint32_t i = 0; i < core->peer_count; i++) {
        if (core->peers[i]->member && cc_peer_up(core->peers[i])) {
            return true;
        }
    }
    return false;
}

static void link_tick(struct kith_client_core *core, struct cc_peer *peer, struct cc_link *link,
                      bool wanted)
{
    if (link->state == CC_LINK_CONNECTING && core->now >= link->at_ms) {
        link_close(core, peer, link, "timed out");
    } else if (link->state == CC_LINK_HELLO && core->now >= link->at_ms) {
        link_close(core, peer, link, "accepts, but does not answer");
    }
    if (wanted && peer->address[0] != '\0' &&
        (link->state == CC_LINK_IDLE ||
         (link->state == CC_LINK_WAITING && core->now >= link->at_ms))) {
        link_try(core, peer, link);
    }
    if (link->state == CC_LINK_CONNECTING || link->state == CC_LINK_HELLO ||
        (link->state == CC_LINK_WAITING && wanted && peer->address[0] != '\0')) {
        sooner(core, link->at_ms);
    }
    uint64_t grace_ms = link->since_ms + CC_GRACE_MS;
    if (link->state == CC_LINK_CONNECTING && !link->failed) {
        if (core->now < grace_ms) {
            sooner(core, grace_ms);
        } else {
            link->failed = true; /* who waits for it goes on without */
            core->waiting_dirty = true;
        }
    }
}

static void doubt_tick(struct kith_client_core *core, struct cc_peer *peer)
{
    if (peer->doubt_ms == 0) {
        return;
    }
    if (peer->heard_ms >= peer->doubt_ms || !cc_peer_up(peer)) {
        peer->doubt_ms = 0;
    } else if (core->now < peer->doubt_ms + CC_DOUBT_MS) {
        sooner(core, peer->doubt_ms + CC_DOUBT_MS);
    } else {
        peer->doubt_ms = 0;
        peer->heard = false; /* where it is slow already, too */
        peer->mute = true;
        core->waiting_dirty = true;
        peer_slow(core, peer);
    }
}

static void slow_tick(struct kith_client_core *core, struct cc_peer *peer)
{
    doubt_tick(core, peer);
    if (core->now >= peer->silent_ms) {
        peer->silent_ms = CC_NEVER;
        peer_slow(core, peer);
    }
    sooner(core, peer->silent_ms);
    if (!peer->slow || !cc_peer_up(peer)) {
        return;
    }
    if (peer->heard && core->now >= peer->slow_until_ms) {
        peer->slow = false;
        return;
    }
    if (peer->heard) {
        sooner(core, peer->slow_until_ms);
        return;
    }
    if (core->now >= peer->probe_ms) {
        table_req(core, peer);
        peer->probe_ms = core->now + CC_SLOW_MIN_MS;
    }
    sooner(core, peer->probe_ms);
}

void cc_nodes_tick(struct kith_client_core *core)
{
    core->peers_wake_ms = CC_NEVER;
    bool doors = core->table == NULL || !any_member_up(core);
    for (uint32_t i = 0; i < core->peer_count; i++) {
        struct cc_peer *peer = core->peers[i];
        bool elsewhere = peer->identity != NULL && cc_peer_up(peer->identity);
        bool wanted =
            peer->member || (peer->door && doors && !elsewhere) || (peer->wanted > 0 && !elsewhere);
        link_tick(core, peer, &peer->rows, wanted);
        link_tick(core, peer, &peer->bulk, peer->bulk_wanted && peer->member && cc_peer_up(peer));
        slow_tick(core, peer);
        if (peer->member && peer->address[0] == '\0') { /* so new that nobody could say where */
            cc_table_ask(core);
            sooner(core, core->now + CC_TABLE_AGAIN_MS);
        }
    }
    if (core->table == NULL) { /* a node that had none may have been made a member */
        for (uint32_t i = 0; i < core->peer_count; i++) {
            if (cc_peer_up(core->peers[i]) && core->now >= core->peers[i]->probe_ms) {
                core->peers[i]->probe_ms = core->now + CC_TABLE_AGAIN_MS;
                table_req(core, core->peers[i]);
            }
            if (cc_peer_up(core->peers[i])) {
                sooner(core, core->peers[i]->probe_ms);
            }
        }
    }
}

bool kith_client_core_writable(const struct kith_client_core *core, const struct kith_group *group)
{
    if (core->table == NULL) {
        return false;
    }
    uint32_t partition = kith_group_partition(group, core->table->partitions);
    const uint16_t *owners = kith_table_owners(core->table, partition);
    uint32_t good = 0;
    for (uint32_t i = 0; i < core->table->owner_slots; i++) {
        const struct cc_peer *peer = core->by_member[owners[i]];
        good += cc_peer_up(peer) && !peer->slow ? 1 : 0;
    }
    return good >= core->table->owner_slots / 2 + 1;
}

uint64_t kith_client_core_turned_down(const struct kith_client_core *core)
{
    uint64_t last_ms = 0;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        const struct cc_peer *door = core->peers[i];
        if (!door->door) {
            continue;
        }
        if (door->identity != NULL || door->rows.state != CC_LINK_WAITING ||
            door->rows.down_count < CC_TURNED_DOWN) {
            return CC_NEVER; /* somebody has answered there, or may yet */
        }
        last_ms = door->rows.down_ms > last_ms ? door->rows.down_ms : last_ms;
    }
    return last_ms;
}

void kith_client_core_reasons(const struct kith_client_core *core, char *ret_text, size_t size)
{
    size_t at = 0;
    ret_text[0] = '\0';
    for (uint32_t i = 0; i < core->peer_count && at + 1 < size; i++) {
        const struct cc_peer *door = core->peers[i];
        if (!door->door) {
            continue;
        }
        const struct cc_peer *peer = door->identity != NULL ? door->identity : door;
        int n = snprintf(ret_text + at, size - at, "%s%s: %s", at > 0 ? ", " : "", door->address,
                         peer->reason[0] != '\0' ? peer->reason : "no answer yet");
        at = n < 0 ? size : at + (size_t)n;
    }
}
