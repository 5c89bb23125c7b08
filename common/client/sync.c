/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sync.c - CHUNK_SYNC: makes chunks durable at W owners each, one message a node; STATUS.
 *
 * A node that cannot be asked, or does not answer, holds nothing for this count: ids that end with
 * fewer than W holders are reported missing, and the caller puts them again; sloppy, those that all
 * owners that can be reached hold are not (chunk.c). One that flushes for
 * long is waited for, for half of the time there is; one that gives no sign of life is not. */
#include <string.h>

#include "client/core.h"

/* ---- CHUNK_SYNC ---- */

static void node_add(struct cc_sync *sync, struct cc_peer *peer, uint32_t at, uint32_t bit)
{
    uint32_t i = 0;
    while (i < sync->node_count && sync->nodes[i].peer != peer) {
        i++;
    }
    struct cc_sync_node *node = &sync->nodes[i];
    if (i == sync->node_count) {
        node->peer = peer;
        sync->node_count++;
    }
    if (node->ids != NULL) { /* the second pass: the counts are known */
        node->ids[node->count] = sync->ids[at];
        node->at[node->count] = at;
        node->bits[node->count] = bit;
    }
    node->count++;
}

static void each_owner(const struct kith_client_core *core, struct cc_sync *sync)
{
    const struct kith_table *table = core->table;
    for (uint32_t id = 0; id < sync->id_count; id++) {
        uint32_t partition = kith_chunk_partition(&sync->ids[id], table->partitions);
        uint16_t owners[KITH_HOLDERS_MAX];
        uint32_t count = kith_table_holders(table, partition, owners);
        for (uint32_t o = 0; o < count; o++) {
            node_add(sync, core->by_member[owners[o]], id, 1u << o);
        }
    }
}

static bool sync_bind(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_sync *sync = &op->u.sync;
    sync->need = op->level == KITH_LEVEL_ONE   ? 1
                 : op->level == KITH_LEVEL_ALL ? core->table->owner_slots
                                               : core->table->owner_slots / 2 + 1;
    sync->nodes = kith_arena_calloc(&op->arena, core->table->member_count, sizeof(*sync->nodes));
    if (sync->nodes == NULL) {
        return false;
    }
    each_owner(core, sync);
    for (uint32_t i = 0; i < sync->node_count; i++) {
        struct cc_sync_node *node = &sync->nodes[i];
        node->ids = kith_arena_calloc(&op->arena, node->count, sizeof(*node->ids));
        node->at = kith_arena_calloc(&op->arena, node->count, sizeof(*node->at));
        node->bits = kith_arena_calloc(&op->arena, node->count, sizeof(*node->bits));
        if (node->ids == NULL || node->at == NULL || node->bits == NULL) {
            return false;
        }
        node->count = 0;
    }
    each_owner(core, sync);
    sync->table = core->table->id;
    sync->bound = true;
    return true;
}

/* Other nodes may own the chunks by now, and bits name others: all are asked again. */
static void sync_unbind(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_sync *sync = &op->u.sync;
    cc_ask_forget_all(core, op);
    memset(sync->holders, 0, sync->id_count * sizeof(*sync->holders));
    memset(sync->gone, 0, sync->id_count * sizeof(*sync->gone));
    sync->node_count = 0;
    sync->bound = false;
}

static bool sync_is_bulk(void)
{
    return kith_wire_is_bulk(KITH_MSG_CHUNK_SYNC_REQ);
}

static uint32_t count_of(uint32_t owners)
{
    return (uint32_t)__builtin_popcount(owners);
}

/* Whether those that hold it are enough. */
static bool sync_met(const struct kith_client_core *core, const struct cc_op *op, uint32_t id)
{
    const struct cc_sync *sync = &op->u.sync;
    struct kith_quorum quorum;
    if (op->level != KITH_LEVEL_LOCAL_QUORUM && op->level != KITH_LEVEL_EACH_QUORUM &&
        !kith_table_is_joint(core->table)) {
        return count_of(sync->holders[id]) >= sync->need;
    }
    uint32_t partition = kith_chunk_partition(&sync->ids[id], core->table->partitions);
    kith_quorum_make(core->table, partition, op->level, core->zone, true, &quorum);
    return kith_quorum_met(&quorum, sync->holders[id]);
}

/* The same; sloppy, as many as there are will do. */
static bool sync_held(const struct kith_client_core *core, const struct cc_op *op, uint32_t id)
{
    const struct cc_sync *sync = &op->u.sync;
    uint32_t least = core->w_min > 0 ? core->w_min : 1;
    uint32_t held = count_of(sync->holders[id]);
    uint16_t members[KITH_HOLDERS_MAX];
    uint32_t partition = kith_chunk_partition(&sync->ids[id], core->table->partitions);
    uint32_t owners = kith_table_holders(core->table, partition, members);
    return sync_met(core, op, id) ||
           (!op->strict && held >= least &&
            count_of(sync->holders[id] | sync->gone[id]) >= owners);
}

/* Counts, for each id, the owners that nobody can ask. */
static void sync_gone(struct kith_client_core *core, struct cc_sync *sync)
{
    for (uint32_t i = 0; i < sync->node_count; i++) {
        const struct cc_sync_node *node = &sync->nodes[i];
        bool lost = cc_peer_lost_for(core, node->peer, sync_is_bulk()) >= CC_THIN_MS;
        for (uint32_t n = 0; n < node->count && (lost || node->peer->mute); n++) {
            sync->gone[node->at[n]] |= node->state != CC_REP_HAVE ? node->bits[n] : 0;
        }
    }
}

static void sync_finish(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_sync *sync = &op->u.sync;
    uint32_t missing_count = 0;
    sync_gone(core, sync);
    for (uint32_t i = 0; i < sync->id_count; i++) {
        missing_count += sync_held(core, op, i) ? 0 : 1;
    }
    struct kith_chunk_id *missing = kith_arena_calloc(&op->arena, missing_count, sizeof(*missing));
    if (missing == NULL) {
        cc_op_fail(core, op, KITH_ENOMEM, "out of memory");
        return;
    }
    uint32_t count = 0;
    uint32_t copies = sync->need;
    for (uint32_t i = 0; i < sync->id_count; i++) {
        if (!sync_held(core, op, i)) {
            missing[count++] = sync->ids[i];
        } else {
            uint32_t held = count_of(sync->holders[i]);
            copies = held < copies ? held : copies;
        }
    }
    op->result.u.chunk_sync.copies = copies;
    op->result.err = KITH_OK;
    op->result.message = "";
    op->result.u.chunk_sync.missing_count = count;
    op->result.u.chunk_sync.missing = missing;
    cc_op_finish(core, op);
}

static void sync_ask(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    struct cc_sync *sync = &op->u.sync;
    struct cc_sync_node *node = &sync->nodes[i];
    struct kith_msg *msg = cc_message(core, KITH_MSG_CHUNK_SYNC_REQ);
    if (msg != NULL) {
        msg->u.chunk_sync_req.timeout_ms = cc_op_left_ms(core, op);
        msg->u.chunk_sync_req.id_count = node->count;
        msg->u.chunk_sync_req.ids = node->ids;
        msg->u.chunk_sync_req.table = sync->table;
        msg->u.chunk_sync_req.lease = sync->lease;
    }
    node->state = cc_ask(core, op, node->peer, i, msg) ? CC_REP_ASKED : CC_REP_FAILED;
    node->asked_ms = core->now;
}

void cc_sync_drive(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_sync *sync = &op->u.sync;
    op->waits = true;
    if (core->table == NULL) {
        return;
    }
    if (sync->bound && kith_table_id_compare(&sync->table, &core->table->id) != 0) {
        sync_unbind(core, op);
    }
    if (!sync->bound && !sync_bind(core, op)) {
        cc_op_fail(core, op, KITH_ENOMEM, "out of memory");
        return;
    }
    uint32_t open = 0;
    for (uint32_t i = 0; i < sync->node_count; i++) {
        struct cc_sync_node *node = &sync->nodes[i];
        if (node->state == CC_REP_NEW && cc_peer_link(core, node->peer, sync_is_bulk()) != NULL) {
            sync_ask(core, op, i);
        } else if (node->state == CC_REP_NEW && cc_peer_down(core, node->peer, sync_is_bulk())) {
            node->state = CC_REP_FAILED;
        }
        bool silent = node->state == CC_REP_ASKED &&
                      cc_peer_silent(core, op, node->peer, node->asked_ms);
        open += node->state == CC_REP_NEW || (node->state == CC_REP_ASKED && !silent) ? 1 : 0;
    }
    uint32_t missing = 0;
    for (uint32_t i = 0; i < sync->id_count; i++) {
        missing += sync_met(core, op, i) ? 0 : 1;
    }
    uint64_t half_ms = op->started_ms + (op->deadline_ms - op->started_ms) / 2;
    if (missing == 0 || open == 0 || core->now >= half_ms) {
        sync_finish(core, op);
        return;
    }
    cc_op_wake(core, op, half_ms);
}

/* The place of the next missing id in the node's list, from `n` on; node->count: there is none. */
static uint32_t next_missing(const struct cc_sync_node *node, uint32_t n,
                             const struct kith_chunk_id *missing)
{
    while (n < node->count && memcmp(&node->ids[n], missing, sizeof(*missing)) != 0) {
        n++;
    }
    return n;
}

/* Counts what the node holds: all but the missing, which come in the order of the request. false,
 * and nothing counted, when they do not. */
static bool sync_count(struct cc_sync *sync, const struct cc_sync_node *node,
                       const struct kith_chunk_sync_res *res)
{
    uint32_t n = 0;
    for (uint32_t m = 0; m < res->missing_count; m++, n++) {
        n = next_missing(node, n, &res->missing[m]);
        if (n == node->count) {
            return false;
        }
    }
    uint32_t m = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        if (m < res->missing_count &&
            memcmp(&node->ids[i], &res->missing[m], sizeof(node->ids[i])) == 0) {
            m++;
        } else {
            sync->holders[node->at[i]] |= node->bits[i];
        }
    }
    return true;
}

void cc_sync_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                    const struct kith_msg *msg)
{
    struct cc_sync *sync = &op->u.sync;
    struct cc_sync_node *node = &sync->nodes[i];
    const struct kith_chunk_sync_res *res = &msg->u.chunk_sync_res;
    if (msg->kind == KITH_MSG_CHUNK_SYNC_RES && res->status.err == KITH_OK &&
        sync_count(sync, node, res)) {
        node->state = CC_REP_HAVE;
    } else if (msg->kind == KITH_MSG_CHUNK_SYNC_RES && res->status.err == KITH_ESTALE) {
        node->state = CC_REP_FAILED; /* put again by the newer table, they are counted by it */
        cc_table_ask(core);
    } else if (msg->kind == KITH_MSG_CHUNK_SYNC_RES && res->status.err == KITH_EPERM) {
        cc_op_fail(core, op, KITH_EPERM, "%.100s: %.150s", node->peer->address,
                   res->status.message != NULL ? res->status.message : "not allowed");
        return;
    } else {
        node->state = CC_REP_FAILED;
        cc_peer_failed(core, node->peer);
    }
    cc_drive(core, op);
}

/* ---- STATUS ---- */

static struct cc_peer *status_peer(struct kith_client_core *core, const struct cc_op *op)
{
    struct cc_peer *door = op->u.status.door;
    if (door != NULL) {
        return door->identity != NULL && cc_peer_up(door->identity) ? door->identity : NULL;
    }
    struct cc_peer *slow = NULL;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        struct cc_peer *peer = core->peers[i];
        if (cc_peer_up(peer) && !peer->slow) {
            return peer;
        }
        slow = cc_peer_up(peer) ? peer : slow;
    }
    return slow;
}

void cc_status_drive(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_status *status = &op->u.status;
    op->waits = true;
    if (status->sent) {
        return;
    }
    struct cc_peer *peer = status_peer(core, op);
    if (peer != NULL) {
        status->sent = cc_ask(core, op, peer, 0, cc_message(core, KITH_MSG_STATUS_REQ));
    } else if (status->door != NULL && status->door->rows.failed &&
               status->door->rows.failed_ms >= op->started_ms) {
        cc_op_fail(core, op, KITH_EUNREACH, "%s: %s", status->door->address,
                   status->door->reason[0] != '\0' ? status->door->reason : "no answer");
    }
}

static void status_keep(struct cc_op *op, const struct kith_status_res *res,
                        struct kith_status_res *copy, bool *ret_ok)
{
    struct kith_member_info *members =
        kith_arena_copy(&op->arena, res->members, res->member_count * sizeof(*res->members));
    const char *text[4] = {res->status.message, res->node.cluster_name, res->node.software,
                           res->node.sweep.waits};
    for (uint32_t i = 0; i < 4; i++) {
        const char *from = text[i] == NULL ? "" : text[i];
        text[i] = kith_arena_copy(&op->arena, from, strlen(from) + 1);
    }
    *ret_ok = members != NULL && text[0] != NULL && text[1] != NULL && text[2] != NULL &&
              text[3] != NULL;
    *copy = *res;
    copy->members = members;
    copy->status.message = text[0];
    copy->node.cluster_name = text[1];
    copy->node.software = text[2];
    copy->node.sweep.waits = text[3];
}

void cc_status_answer(struct kith_client_core *core, struct cc_op *op, const struct kith_msg *msg,
                      struct kith_msg_box *box)
{
    (void)box; /* it is small and rare: a copy will do */
    const struct kith_status_res *res = &msg->u.status_res;
    if (msg->kind != KITH_MSG_STATUS_RES || res->status.err != KITH_OK) {
        bool other = msg->kind != KITH_MSG_STATUS_RES;
        cc_op_fail(core, op, other ? KITH_EFORMAT : res->status.err, "%.200s",
                   other || res->status.message == NULL ? "answers something else"
                                                        : res->status.message);
        return;
    }
    bool ok = false;
    struct kith_status_res *copy = kith_arena_alloc(&op->arena, sizeof(*copy));
    if (copy != NULL) {
        status_keep(op, res, copy, &ok);
    }
    if (!ok) {
        cc_op_fail(core, op, KITH_ENOMEM, "out of memory");
        return;
    }
    op->result.err = KITH_OK;
    op->result.message = "";
    op->result.u.status = copy;
    cc_op_finish(core, op);
}
