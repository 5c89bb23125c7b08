/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * node.c - the life of a node's core, and the dispatch of events.
 *
 *     new --first TICK--> the new incarnation is written --completion--> serving
 *
 * Until it serves a node accepts connections but says nothing: what it says bears its
 * incarnation, and an incarnation is said only once it is on disk (ballots and membership
 * records rest on that). */
#include <string.h>

#include "core/internal.h"

#define EARLY_CONNS_MAX 64u /* connections that may wait for a node that starts */

/* ---- New and free ---- */

static enum kith_err load_identity(struct kith_node *node, const struct kith_start *start,
                                   struct kith_error *error)
{
    struct kith_bytes record = start->meta[KITH_META_NODE];
    if (record.size > 0) {
        struct kith_reader reader;
        kith_reader_init(&reader, record);
        const uint8_t *uuid = kith_read(&reader, sizeof node->uuid.bytes);
        node->incarnation = kith_read_u64(&reader);
        if (!kith_reader_done(&reader)) {
            return kith_error_set(error, KITH_EFORMAT, "the node's identity record is malformed");
        }
        memcpy(node->uuid.bytes, uuid, sizeof node->uuid.bytes);
    } else if (!kith_uuid_is_nil(&start->node)) {
        node->uuid = start->node;
    } else {
        for (uint32_t i = 0; i < sizeof node->uuid.bytes; i += 8) {
            uint64_t word = core_random(node);
            memcpy(node->uuid.bytes + i, &word, sizeof word);
        }
        node->uuid.bytes[6] = (uint8_t)((node->uuid.bytes[6] & 0x0f) | 0x40); /* RFC 9562, v4 */
        node->uuid.bytes[8] = (uint8_t)((node->uuid.bytes[8] & 0x3f) | 0x80);
    }
    node->incarnation++;
    return KITH_OK;
}

static enum kith_err load_cluster(struct kith_node *node, const struct kith_start *start,
                                  struct kith_error *error)
{
    struct kith_bytes record = start->meta[KITH_META_CLUSTER];
    if (record.size == 0) {
        return KITH_OK; /* a table without a cluster: killed while joining, see join.c */
    }
    enum kith_err err = meta_decode_cluster(record, &node->cluster);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "the cluster record is damaged");
    }
    struct kith_table *table = NULL;
    err = kith_table_decode(start->meta[KITH_META_TABLE], &table);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "the partition table is damaged");
    }
    if (!kith_uuid_equal(&table->cluster, &node->cluster.uuid) ||
        table->partitions != node->cluster.partitions) {
        kith_table_drop(table);
        return kith_error_set(error, KITH_ECORRUPT, "the partition table is of another cluster");
    }
    err = table_use(node, table, start->meta[KITH_META_TABLE]);
    kith_table_drop(table);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "no memory for the partition table");
    }
    node->has_cluster = true;
    return members_load(node, start->meta[KITH_META_MEMBERS], error);
}

static enum kith_err load_options(struct kith_node *node, const struct kith_node_options *options,
                                  struct kith_error *error)
{
    if (!options->address || strlen(options->address) >= sizeof node->address) {
        return kith_error_set(error, KITH_EINVAL, "the node's address is missing or too long");
    }
    if (options->zone && strlen(options->zone) >= sizeof node->zone) {
        return kith_error_set(error, KITH_EINVAL, "the zone's name is too long");
    }
    memcpy(node->address, options->address, strlen(options->address));
    if (options->zone) {
        memcpy(node->zone, options->zone, strlen(options->zone));
    }
    if (options->software) {
        strncpy(node->software, options->software, sizeof node->software - 1);
    }
    node->weight = options->weight > 0 ? options->weight : 1;
    pace_set(&node->pace, node->now_ms, options->repair_rate);
    pace_set(&node->zone_pace, node->now_ms, options->zone_rate);
    node->keep_open = options->keep_open > 0 ? options->keep_open : KITH_KEEP_OPEN;
    node->relay_min = options->relay_min > 0 ? options->relay_min : KITH_RELAY_MIN;
    node->put_timeout_ms =
        options->put_timeout_ms > 0 ? options->put_timeout_ms : KITH_PUT_TIMEOUT_MS;
    return KITH_OK;
}

static enum kith_err make_pools(struct kith_node *node, struct kith_error *error)
{
    node->effects = kith_calloc(KITH_STEP_EFFECTS, sizeof *node->effects);
    node->msgs = kith_calloc(KITH_STEP_EFFECTS, sizeof *node->msgs);
    node->ops = kith_calloc(KITH_STEP_EFFECTS, sizeof *node->ops);
    if (!node->effects || !node->msgs || !node->ops || pending_init(node) != KITH_OK ||
        conns_init(node) != KITH_OK) {
        return kith_error_set(error, KITH_ENOMEM, "no memory for a node");
    }
    return KITH_OK;
}

enum kith_err kith_node_new(const struct kith_node_options *options, const struct kith_start *start,
                            struct kith_node **ret_node, struct kith_error *error)
{
    struct kith_node *node = kith_calloc(1, sizeof *node);
    if (!node) {
        return kith_error_set(error, KITH_ENOMEM, "no memory for a node");
    }
    node->now_ms = start->mono_ms;
    node->started_ms = start->mono_ms;
    node->wall_ms = start->wall_ms;
    node->self = KITH_NO_MEMBER;
    node->table_told = KITH_CONN_SLOTS;
    node->conn_next = 1;
    node->deadline_ms = UINT64_MAX;
    node->hello_due_ms = UINT64_MAX;
    node->peers_due_ms = start->mono_ms;
    node->has_data = start->has_data;
    for (uint32_t i = 0; i < 4; i++) {
        node->random ^= start->random[i];
        (void)core_random(node);
    }
    kith_buf_init(&node->table_bytes);
    kith_buf_init(&node->table_next_bytes);
    kith_buf_init(&node->table_retired);
    kith_arena_init(&node->arena, 0);
    enum kith_err err = make_pools(node, error);
    if (err == KITH_OK) {
        err = load_options(node, options, error);
    }
    if (err == KITH_OK) {
        err = load_identity(node, start, error);
    }
    if (err == KITH_OK) {
        err = load_cluster(node, start, error);
    }
    if (err == KITH_OK) {
        err = refill_load(node, start->meta[KITH_META_LOST]);
    }
    if (err == KITH_OK) {
        node->has_data = node->has_data || refill_any(node);
        moves_load(node, start->meta[KITH_META_MOVE]);
        sweep_start(node, options->sweep_ms);
        reap_start(node, options->sweep_ms);
        err = aged_load(node, options->sweep_ms, start->meta[KITH_META_ALIVE]);
    }
    if (err == KITH_OK) {
        scrub_load(node, options->scrub_ms, options->scrub_rate, start->meta[KITH_META_SCRUB]);
        err = join_new(node, options, start->meta[KITH_META_DECIDE], error);
    }
    if (err != KITH_OK) {
        kith_node_free(node);
        return err;
    }
    *ret_node = node;
    return KITH_OK;
}

void kith_node_free(struct kith_node *node)
{
    if (!node) {
        return;
    }
    join_free(node);
    pending_release_all(node);
    watch_release_all(node);
    exchange_release(node);
    handoff_release(node);
    refill_release(node);
    aged_release(node);
    kith_free(node->conns);
    kith_free(node->peers);
    kith_free(node->swim.order);
    kith_free(node->busy);
    kith_free(node->peer_of_member);
    kith_table_drop(node->table);
    kith_table_drop(node->table_next);
    kith_buf_release(&node->table_bytes);
    kith_buf_release(&node->table_next_bytes);
    kith_buf_release(&node->table_retired);
    kith_arena_release(&node->arena);
    kith_free(node->effects);
    kith_free(node->msgs);
    kith_free(node->ops);
    kith_free(node);
}

struct kith_bytes kith_node_secret(const struct kith_node *node)
{
    return node->has_cluster
               ? kith_bytes_make(node->cluster.secret, sizeof node->cluster.secret)
               : kith_bytes_make(NULL, 0);
}

uint32_t kith_node_partitions(const struct kith_node *node)
{
    return node->has_cluster ? node->cluster.partitions : 0;
}

/* ---- Start ---- */

void node_ready(struct kith_node *node)
{
    if (!node->ready_said) {
        KITH_ASSERT(node->effect_count < KITH_STEP_EFFECTS);
        struct kith_effect *effect = &node->effects[node->effect_count];
        memset(effect, 0, sizeof *effect);
        effect->kind = KITH_EFFECT_READY;
        node->effect_count++;
        node->ready_said = true;
    }
}

static void identity_stored(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    if (err != KITH_OK) {
        node->started = false;
        node->start_retry_ms = node->now_ms + KITH_START_RETRY_MS;
        return;
    }
    node->serving = true;
    if (node->has_cluster) {
        table_stranger(node);
    }
    for (uint32_t i = 0; i < KITH_CONN_SLOTS; i++) {
        if (node->conns[i].id != 0 && !node->conns[i].ours) {
            conn_hello(node, node->conns[i].id);
        }
    }
    node->peers_due_ms = node->now_ms;
}

enum kith_err node_identity_put(struct kith_node *node, uint64_t incarnation,
                                void (*then)(struct kith_node *, uint64_t, enum kith_err))
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put(&buf, node->uuid.bytes, sizeof node->uuid.bytes);
    kith_buf_put_u64(&buf, incarnation);
    enum kith_err err = buf.failed ? KITH_ENOMEM
                                   : meta_put(node, KITH_META_NODE, kith_buf_bytes(&buf), then,
                                              incarnation);
    kith_buf_release(&buf);
    return err;
}

static enum kith_err node_start(struct kith_node *node)
{
    enum kith_err err = node_identity_put(node, node->incarnation, identity_stored);
    if (err == KITH_OK) {
        node->started = true;
        if (node->has_cluster) {
            node_ready(node);
        }
    }
    return err;
}

/* ---- Events ---- */

static enum kith_err take_tick(struct kith_node *node)
{
    if (!node->started && node->now_ms >= node->start_retry_ms) {
        enum kith_err err = node_start(node);
        if (err != KITH_OK) {
            return err;
        }
    }
    pending_tick(node);
    conns_tick(node);
    if (node->serving) {
        peers_tick(node);
        swim_tick(node);
        join_tick(node);
        agree_tick(node);
        members_save(node);
        watch_tick(node);
        exchange_tick(node);
        bulk_tick(node);
        scrub_tick(node);
        space_tick(node);
        handoff_tick(node);
        moves_tick(node);
        refill_tick(node);
        aged_tick(node);
        leftovers_tick(node);
        table_tell(node);
        sweep_tick(node);
        reap_tick(node);
    }
    return KITH_OK;
}

static void take_accepted(struct kith_node *node, uint64_t id, enum kith_conn_class cls)
{
    struct conn *conn = NULL;
    if (id < KITH_CONN_CORE_BASE && (node->serving || node->conn_count < EARLY_CONNS_MAX)) {
        conn = conn_add(node, id, false);
    }
    if (!conn) {
        core_close(node, id, "too many connections");
        return;
    }
    conn->theirs_bulk = cls == KITH_CONN_BULK;
    if (node->serving) {
        conn_hello(node, id);
    }
}

static void take_opened(struct kith_node *node, uint64_t id)
{
    struct conn *conn = conn_find(node, id);
    if (!conn || !conn->ours) {
        return; /* given up in the meantime: its CLOSE is under way */
    }
    if (join_is_contact(node, id)) {
        join_opened(node, id);
    } else {
        peers_opened(node, conn);
    }
}

static void take_closed(struct kith_node *node, uint64_t id)
{
    struct conn *conn = conn_find(node, id);
    if (!conn) {
        return;
    }
    struct conn copy = *conn;
    conn_remove(node, id);
    peers_closed(node, &copy);
    join_closed(node, id, "it cannot be reached");
}

static enum kith_err take_stored(struct kith_node *node, const struct kith_store_done *done)
{
    struct pending *pending = pending_get(node, done->id);
    if (!pending || !pending->op_out) {
        return KITH_OK;
    }
    if (pending->writing && (done->err == KITH_OK || done->err == KITH_EIO)) {
        node->has_data = true; /* EIO: it may be there, and only its flush failed */
    }
    space_seen(node, done->space);
    if (done->damaged > 0) {
        exchange_damaged(node, done->partition, done->damaged);
    }
    switch (pending->kind) {
    case PENDING_PUT:
        return put_stored(node, pending, done);
    case PENDING_MERGE:
        replicate_stored(node, pending, done);
        return KITH_OK;
    case PENDING_READ:
        read_stored(node, pending, done);
        return KITH_OK;
    case PENDING_REPAIR:
        repair_stored(node, pending);
        return KITH_OK;
    case PENDING_CHUNK:
        chunk_stored(node, pending, done);
        return KITH_OK;
    case PENDING_STATUS:
        status_stored(node, pending, done);
        return KITH_OK;
    case PENDING_META:
        core_stored_last(node, pending);
        meta_done(node, pending, done);
        return KITH_OK;
    case PENDING_VOTE:
        agree_counted(node, pending, done);
        return KITH_OK;
    case PENDING_EXCHANGE:
        exchange_stored(node, pending, done);
        return KITH_OK;
    case PENDING_FETCH:
        fetch_stored(node, pending, done);
        return KITH_OK;
    case PENDING_SCRUB:
        scrub_stored(node, pending, done);
        return KITH_OK;
    case PENDING_LEFTOVER:
        leftovers_stored(node, pending, done);
        return KITH_OK;
    case PENDING_SPACE:
        space_stored(node, pending);
        return KITH_OK;
    case PENDING_HANDOFF:
        handoff_stored(node, pending, done);
        return KITH_OK;
    case PENDING_ABSORB:
        handoff_absorbed(node, pending, done);
        return KITH_OK;
    case PENDING_HINTS:
        hints_stored(node, pending, done);
        return KITH_OK;
    case PENDING_SWEEP:
        sweep_stored(node, pending, done);
        return KITH_OK;
    case PENDING_SWEPT:
        sweep_answered(node, pending, done);
        return KITH_OK;
    case PENDING_LEASE:
        lease_stored(node, pending, done);
        return KITH_OK;
    case PENDING_REAP:
        reap_stored(node, pending, done);
        return KITH_OK;
    default:
        return KITH_OK;
    }
}

/* Answers to what this node asked of a peer. */
static enum kith_err take_answer(struct kith_node *node, struct conn *conn,
                                 const struct kith_msg *msg)
{
    struct pending *pending = pending_get(node, msg->id);
    if (!pending || conn->peer == KITH_NO_PEER) {
        return KITH_OK; /* too late, or nothing that was asked */
    }
    if (pending->kind == PENDING_PUT && msg->kind == KITH_MSG_REPLICATE_RES) {
        put_replicated(node, pending, conn->peer, &msg->u.replicate_res);
    } else if (pending->kind == PENDING_PUT && msg->kind == KITH_MSG_REQUEST_FIND_RES) {
        return put_found(node, pending, conn->peer, msg);
    } else if (pending->kind == PENDING_REPAIR && msg->kind == KITH_MSG_GET_RES) {
        return repair_got(node, pending, conn->peer, &msg->u.get_res);
    } else if (pending->kind == PENDING_EXCHANGE &&
               (msg->kind == KITH_MSG_SUMS_RES || msg->kind == KITH_MSG_LEAF_RES ||
                msg->kind == KITH_MSG_CHUNK_LIST_RES)) {
        exchange_got(node, pending, conn->peer, msg);
    } else if (pending->kind == PENDING_FETCH && msg->kind == KITH_MSG_CHUNK_RES) {
        fetch_got(node, pending, conn->peer, &msg->u.chunk_res);
    } else if (pending->kind == PENDING_RELAY) {
        relay_got(node, pending, conn->peer, msg);
    } else if (pending->kind == PENDING_HANDOFF && msg->kind == KITH_MSG_HANDOFF_RES) {
        handoff_got(node, pending, conn->peer, &msg->u.handoff_res);
    } else if (pending->kind == PENDING_SWEEP && msg->kind == KITH_MSG_SWEEP_RES) {
        sweep_got(node, pending, conn->peer, &msg->u.sweep_res);
    } else if (pending->kind == PENDING_LEASE && msg->kind == KITH_MSG_LEASE_RES) {
        lease_got(node, pending, conn->peer, &msg->u.lease_res);
    } else if (pending->kind == PENDING_REAP && msg->kind == KITH_MSG_REAP_RES) {
        reap_got(node, pending, conn->peer, &msg->u.reap_res);
    }
    return KITH_OK;
}

static enum kith_err dispatch(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    uint64_t id = conn->id;
    switch (msg->kind) {
    case KITH_MSG_HELLO:
        return KITH_OK; /* once is enough */
    case KITH_MSG_TABLE_REQ:
        table_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_TABLE_RES:
        if (conn->role == KITH_ROLE_NODE) {
            table_res(node, msg);
        }
        return KITH_OK;
    case KITH_MSG_PUT_REQ:
        put_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_GET_REQ:
        get_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_SCAN_REQ:
        scan_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_GROUPS_REQ:
        groups_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_REPAIR_REQ:
        repair_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_CHUNK_PUT_REQ:
    case KITH_MSG_CHUNK_GET_REQ:
    case KITH_MSG_CHUNK_SYNC_REQ:
        chunk_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_REPLICATE_REQ:
        replicate_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_REQUEST_FIND_REQ:
        find_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_SUMS_REQ:
        sums_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_LEAF_REQ:
        leaf_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_CHUNK_LIST_REQ:
        chunk_list_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_HANDOFF_REQ:
        handoff_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_REAP_REQ:
        reap_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_SWEEP_REQ:
        sweep_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_LEASE_REQ:
        lease_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_SWEEP_RES:
    case KITH_MSG_LEASE_RES:
    case KITH_MSG_REAP_RES:
    case KITH_MSG_REPLICATE_RES:
    case KITH_MSG_REQUEST_FIND_RES:
    case KITH_MSG_GET_RES:
    case KITH_MSG_SUMS_RES:
    case KITH_MSG_LEAF_RES:
    case KITH_MSG_CHUNK_LIST_RES:
    case KITH_MSG_CHUNK_RES:
    case KITH_MSG_HANDOFF_RES:
        return take_answer(node, conn, msg);
    case KITH_MSG_PING:
        if (conn->role == KITH_ROLE_NODE) {
            peers_ping(node, conn, msg);
        }
        return KITH_OK;
    case KITH_MSG_PROBE_REQ:
        swim_probe_req(node, conn, msg);
        return KITH_OK;
    case KITH_MSG_PROBE_RES:
        swim_probe_res(node, msg);
        return KITH_OK;
    case KITH_MSG_MEMBERS_SYNC:
        swim_sync(node, conn, msg);
        return KITH_OK;
    case KITH_MSG_INIT_REQ:
        join_init_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_JOIN_CMD:
        join_cmd(node, id, msg);
        return KITH_OK;
    case KITH_MSG_JOIN_REQ:
        agree_join_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_JOIN_RES:
        return join_res(node, conn, msg);
    case KITH_MSG_DECIDE:
        agree_decide(node, conn, msg);
        return KITH_OK;
    case KITH_MSG_OFFER_REQ:
        offer_req(node, conn, msg);
        return KITH_OK;
    case KITH_MSG_OFFER_RES:
        if (conn->peer != KITH_NO_PEER) {
            leftovers_taken(node, conn->peer, &msg->u.offer_res);
        }
        return KITH_OK;
    case KITH_MSG_PLAN_REQ:
        agree_plan_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_STATUS_REQ:
        status_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_REPAIR_CMD:
        repair_cmd(node, id, msg);
        return KITH_OK;
    case KITH_MSG_EXPLAIN_REQ:
        explain_req(node, id, msg);
        return KITH_OK;
    case KITH_MSG_WATCH_REQ:
        watch_req(node, conn, msg);
        return KITH_OK;
    case KITH_MSG_WATCH_RES:
    case KITH_MSG_WATCH_EVENT:
    case KITH_MSG_PUT_RES:
    case KITH_MSG_SCAN_RES:
    case KITH_MSG_GROUPS_RES:
    case KITH_MSG_CHUNK_SYNC_RES:
    case KITH_MSG_STATUS_RES:
    case KITH_MSG_REPAIR_RES:
    case KITH_MSG_EXPLAIN_RES:
    case KITH_MSG_PLAN_RES:
        return KITH_OK; /* answers to questions that a node never asks */
    case KITH_MSG_REVOKED_CMD: /* it is the shell that has certificates */
        core_refuse(node, conn->id, msg, KITH_EINVAL, "there are no certificates here");
        return KITH_OK;
    case KITH_MSG_ADMIN_RES: /* a peer says why it ends the connection */
        if (conn->role == KITH_ROLE_NODE && msg->id == 0 &&
            msg->u.admin_res.status.err != KITH_OK) {
            conn_log(node, "a peer closes the connection", msg->u.admin_res.status.message);
        }
        return KITH_OK;
    }
    return KITH_OK;
}

static enum kith_err take_message(struct kith_node *node, const struct kith_event *event)
{
    struct conn *conn = conn_find(node, event->conn);
    if (!conn) {
        return KITH_OK; /* closed in the meantime */
    }
    if (!conn->hello) {
        if (event->msg->kind == KITH_MSG_HELLO) {
            conn_take_hello(node, conn, &event->msg->u.hello);
        } else if (event->msg->kind == KITH_MSG_ADMIN_RES) {
            conn_log(node, "a peer closes the connection",
                     event->msg->u.admin_res.status.message);
        } else {
            conn_refuse(node, conn, KITH_EINVAL, "the first message was not a hello");
        }
        return KITH_OK;
    }
    if (!node->serving) {
        core_refuse(node, conn->id, event->msg, KITH_ENOTREADY, "the node is starting");
        return KITH_OK;
    }
    peers_heard(node, conn, event->msg->kind);
    return dispatch(node, conn, event->msg);
}

static uint64_t node_due(struct kith_node *node)
{
    uint64_t due = pending_due(node);
    due = node->hello_due_ms < due ? node->hello_due_ms : due;
    if (!node->started) {
        return node->start_retry_ms < due ? node->start_retry_ms : due;
    }
    if (!node->serving) {
        return due;
    }
    uint64_t others[] = {peers_due(node), swim_due(node),     join_due(node), agree_due(node),
                         watch_due(node), exchange_due(node), bulk_due(node), handoff_due(node),
                         scrub_due(node), space_due(node),    moves_due(node),
                         table_tell_due(node), leftovers_due(node),  sweep_due(node),
                         refill_due(node),    reap_due(node), aged_due(node)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        due = others[i] < due ? others[i] : due;
    }
    if (node->members_dirty && !node->members_writing && due > node->now_ms + KITH_PING_MS) {
        due = node->now_ms + KITH_PING_MS;
    }
    return due;
}

enum kith_err kith_node_step(struct kith_node *node, const struct kith_event *event,
                             struct kith_effects *ret_effects)
{
    kith_arena_reset(&node->arena);
    kith_buf_release(&node->table_retired);
    pending_bury(node);
    node->effect_count = 0;
    node->exchanges.tells = 0;
    node->swim.lines = 0;
    if (event->mono_ms > node->now_ms) {
        uint64_t pause_ms = event->mono_ms - node->now_ms;
        uint64_t wanted_ms = node->deadline_ms > node->now_ms ? node->deadline_ms : node->now_ms;
        node->now_ms = event->mono_ms;
        if (pause_ms > KITH_PAUSE_MS) {
            peers_paused(node, pause_ms);
        } else if (node->now_ms > wanted_ms && node->now_ms - wanted_ms > KITH_LATE_STEP_MS) {
            peers_late(node, node->now_ms - wanted_ms);
        }
    }
    node->wall_ms = event->wall_ms;
    aged_clock(node);
    node->random ^= event->random;
    enum kith_err err = KITH_OK;
    switch (event->kind) {
    case KITH_EVENT_TICK:
        err = take_tick(node);
        break;
    case KITH_EVENT_ACCEPTED:
        take_accepted(node, event->conn, event->cls);
        break;
    case KITH_EVENT_OPENED:
        take_opened(node, event->conn);
        break;
    case KITH_EVENT_CLOSED:
        take_closed(node, event->conn);
        break;
    case KITH_EVENT_MESSAGE:
        err = take_message(node, event);
        break;
    case KITH_EVENT_STORED:
        err = take_stored(node, event->done);
        break;
    }
    KITH_ASSERT(err == KITH_OK || node->effect_count == 0);
    ret_effects->count = node->effect_count;
    ret_effects->effects = node->effects;
    node->deadline_ms = node_due(node);
    ret_effects->deadline_ms = node->deadline_ms;
    return err;
}
