/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * put.c - coordination of a put: the node that the client asked gives the dots and spreads the
 * states.
 *
 *     PUT_REQ --retry?--> FIND --found--> MERGE --+
 *        |                  |not found            v
 *        +------------------+------------------> STORE --at os--> SPREAD --W copies--> OK
 *
 * FIND and MERGE: a retry may meet a coordinator that knows nothing of the first try. It asks the
 * other owners for the request id; what is found is merged (which notes the request here), and the
 * STORE that follows recognises it and gives the same results. Where nobody that can be reached
 * knows it, it is carried out again: two siblings with one request id are one write (rowop.h,
 * TWINS).
 *
 * COPIES. A store counts once it has said that the states are at the durability asked: our own by
 * its completion, another's by its answer. The states go out when they are at `os` here, so that
 * another never holds a dot that we could give out again after a kill. W - 1 of them leave at once;
 * the others may wait a few milliseconds for company, as may their answers: nobody waits for those,
 * a message by itself costs a node four times what it costs among others, and reads go to the same
 * first owners. A node that is late loses its place among the first for a while.
 *
 * OUTCOMES. Before STORE is emitted everything that fails is REFUSED (nothing happened). From then
 * on it is OK at W copies and otherwise UNKNOWN (it may yet appear), at the deadline or as soon as
 * too few owners are left to reach W; only an error of the store that says "not written" still
 * refuses.
 *
 * SLOPPY QUORUM. With fewer than W owners up a put is refused here; put_quorum_missing is where
 * other nodes will stand in for those that are down. */
#include <string.h>

#include "core/internal.h"

/* ---- Checks ---- */

/* NULL when the request is well formed, else what is wrong with it. */
static const char *put_check(struct kith_node *node, const struct kith_put_req *req)
{
    if (req->update_count == 0 || req->update_count > KITH_BATCH_MAX) {
        return core_text(node, "a batch of %u updates, 1 to %u are allowed", req->update_count,
                         KITH_BATCH_MAX);
    }
    if (req->writer.size > KITH_WRITER_MAX) {
        return "the writer's name is too long";
    }
    for (uint32_t i = 0; i < req->update_count; i++) {
        const struct kith_put_update *update = &req->updates[i];
        if (update->name.size > KITH_NAME_MAX || update->value.size > KITH_INLINE_VALUE_MAX ||
            update->ref_count > KITH_REFS_MAX || update->context.size > KITH_ROW_STATE_MAX) {
            return core_text(node, "update %u: name, value, references or context too large", i);
        }
        if (!update->has_sibling && (update->value.size > 0 || update->ref_count > 0)) {
            return core_text(node, "update %u: a delete with a value", i);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (kith_bytes_equal(update->name, req->updates[k].name)) {
                return core_text(node, "updates %u and %u are of one row", k, i);
            }
        }
    }
    return NULL;
}

/* The other owners of the partition: all, and how many of them are up. */
static uint32_t put_others(const struct kith_node *node, uint32_t partition, uint16_t others[],
                           uint8_t *ret_count)
{
    const uint16_t *owners = kith_table_owners(node->table, partition);
    uint32_t up = 0;
    uint8_t count = 0;
    for (uint32_t i = 0; i < node->table->owner_slots; i++) {
        uint16_t peer = node->peer_of_member[owners[i]];
        if (peer != KITH_NO_PEER) {
            others[count] = peer;
            count++;
            up += node->peers[peer].up ? 1 : 0;
        }
    }
    *ret_count = count;
    return up;
}

static const char *put_down_names(struct kith_node *node, const struct pending_put *put)
{
    const char *names = "";
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        if (!peer->up) {
            const char *address = peer->info.address[0] ? peer->info.address : "(address unknown)";
            names = core_text(node, "%s%s%s", names, names[0] ? ", " : "", address);
        }
    }
    return names;
}

static void put_quorum_missing(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                               const struct pending_put *put, uint32_t up)
{
    core_refuse(node, conn, msg, KITH_EUNREACH,
                core_text(node, "%u of the %u owners that must take it can be reached; down: %s",
                          up, put->w, put_down_names(node, put)));
}

/* ---- A copy of the request, for what outlives its message ---- */

static bool copy_bytes(struct kith_arena *arena, struct kith_bytes *bytes)
{
    bytes->data = kith_arena_copy(arena, bytes->data, bytes->size);
    return bytes->data != NULL;
}

static const struct kith_put_req *put_copy(struct kith_arena *arena, const struct kith_put_req *req)
{
    struct kith_put_req *copy = kith_arena_copy(arena, req, sizeof *req);
    struct kith_put_update *updates =
        kith_arena_copy(arena, req->updates, req->update_count * sizeof *updates);
    if (!copy || !updates || !copy_bytes(arena, &copy->writer)) {
        return NULL;
    }
    for (uint32_t i = 0; i < req->update_count; i++) {
        struct kith_put_update *update = &updates[i];
        update->refs =
            kith_arena_copy(arena, update->refs, update->ref_count * sizeof *update->refs);
        if (!update->refs || !copy_bytes(arena, &update->name) ||
            !copy_bytes(arena, &update->context) || !copy_bytes(arena, &update->value)) {
            return NULL;
        }
    }
    copy->updates = updates;
    return copy;
}

/* ---- Start ---- */

static uint32_t put_partition(const struct kith_node *node, const struct pending_put *put)
{
    return kith_group_partition(&put->req->group, node->table->partitions);
}

static void put_store(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (join_frozen(node) || kith_table_id_compare(&put->table, &node->table->id) != 0) {
        pending_refuse(node, pending, KITH_ENOTREADY, "the table changes");
        pending_end(node, pending);
        return;
    }
    pending_set_due(node, pending, pending->deadline_ms);
    put->phase = PUT_STORE;
    put->waiting = 0;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_PUT, put_partition(node, put));
    op->durability = put->durability;
    op->u.put.group = put->req->group;
    op->u.put.request = put->req->request;
    op->u.put.writer = put->req->writer;
    op->u.put.time = kith_hlc_now(&node->hlc, node->wall_ms);
    op->u.put.wall_ms = node->wall_ms;
    op->u.put.update_count = put->req->update_count;
    op->u.put.updates = put->req->updates;
}

static void put_find(struct kith_node *node, struct pending *pending,
                     const struct kith_bytes *names)
{
    struct pending_put *put = &pending->u.put;
    put->phase = PUT_FIND;
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        if (!peer->up) {
            continue;
        }
        put->waiting |= (uint8_t)(1u << i);
        peer_doubt(node, put->others[i], node->now_ms);
        struct kith_msg *msg =
            core_send(node, peer->conn, KITH_MSG_REQUEST_FIND_REQ, pending->id);
        msg->u.request_find_req.group = put->req->group;
        msg->u.request_find_req.request = put->req->request;
        msg->u.request_find_req.name_count = put->req->update_count;
        msg->u.request_find_req.names = names;
    }
}

static uint32_t put_timeout(const struct kith_node *node, uint32_t asked)
{
    return asked == 0 || asked > node->put_timeout_ms ? node->put_timeout_ms : asked;
}

/* The first try is sought for half of the time there is, at most. */
static void put_find_timer(struct kith_node *node, struct pending *pending)
{
    uint64_t half = (pending->deadline_ms - node->now_ms) / 2;
    uint64_t wait = half < KITH_FIND_TIMEOUT_MS ? half : KITH_FIND_TIMEOUT_MS;
    pending->u.put.find_until_ms = node->now_ms + wait;
    pending_set_due(node, pending, pending->u.put.find_until_ms);
}

static void put_begin(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                      const struct pending_put *plan, bool find)
{
    const struct kith_put_req *req = &msg->u.put_req;
    uint32_t timeout = put_timeout(node, req->timeout_ms);
    struct pending *pending = pending_new(node, PENDING_PUT, conn, msg, timeout);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    pending->u.put = *plan;
    node->puts++;
    if (!find) {
        put_store(node, pending);
        return;
    }
    struct kith_bytes *names =
        kith_arena_alloc(&pending->arena, req->update_count * sizeof *names);
    const struct kith_put_req *copy = put_copy(&pending->arena, req);
    if (!names || !copy) {
        pending_refuse(node, pending, KITH_EREFUSED, "out of memory");
        pending_end(node, pending);
        return;
    }
    for (uint32_t i = 0; i < req->update_count; i++) {
        names[i] = copy->updates[i].name;
    }
    pending->u.put.req = copy;
    put_find_timer(node, pending);
    put_find(node, pending, names);
}

void put_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_put_req *req = &msg->u.put_req;
    uint32_t partition =
        node->has_cluster ? kith_group_partition(&req->group, node->table->partitions) : 0;
    if (!table_admit(node, conn, msg, &req->table, partition)) {
        return;
    }
    const char *wrong = put_check(node, req);
    if (wrong) {
        core_refuse(node, conn, msg, KITH_EINVAL, wrong);
        return;
    }
    if (join_frozen(node)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY, "a table change is being decided");
        return;
    }
    struct pending_put plan = {.req = req,
                               .table = node->table->id,
                               .durability = req->durability == KITH_DURABLE_DISK
                                                 ? KITH_DURABLE_DISK
                                                 : KITH_DURABLE_OS};
    uint32_t slots = node->table->owner_slots;
    plan.w = req->w == 0 ? slots / 2 + 1 : req->w;
    plan.w = plan.w > slots ? slots : plan.w;
    uint32_t up = put_others(node, partition, plan.others, &plan.other_count);
    if (up + 1 < plan.w) {
        put_quorum_missing(node, conn, msg, &plan, up + 1);
        return;
    }
    put_begin(node, conn, msg, &plan, req->retry && up > 0);
}

/* ---- Ends ---- */

static void put_answer_ok(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (pending->answered) {
        return;
    }
    pending->answered = true;
    struct kith_put_res *res =
        &core_send(node, pending->conn, KITH_MSG_PUT_RES, pending->msg_id)->u.put_res;
    res->status = core_ok();
    res->copies = put->copies;
    res->result_count = put->result_count;
    res->results = put->results;
}

/* After a change of copies or waiting: answers when the outcome is known. */
static void put_progress(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (put->phase != PUT_SPREAD) {
        return;
    }
    uint32_t possible = put->copies + (uint32_t)__builtin_popcount(put->waiting);
    possible += pending->op_out ? 1 : 0; /* our own copy is on its way to the disk */
    if (put->copies >= put->w) {
        put_answer_ok(node, pending);
        pending_end(node, pending);
    } else if (possible < put->w) {
        pending_refuse(node, pending, KITH_EUNKNOWN,
                       core_text(node, "%u of %u copies are made; unreachable: %s", put->copies,
                                 put->w, put_down_names(node, put)));
        pending_end(node, pending);
    }
}

void put_expire(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (put->phase == PUT_FIND) {
        if (node->now_ms < pending->deadline_ms) {
            put_store(node, pending);
            return;
        }
        pending_refuse(node, pending, KITH_EREFUSED, "the other owners were asked in vain");
    } else if (put->phase == PUT_MERGE) {
        pending_refuse(node, pending, KITH_EUNKNOWN, "the deadline passed");
    } else {
        pending_refuse(node, pending, KITH_EUNKNOWN,
                       core_text(node, "%u of %u copies were made by the deadline", put->copies,
                                 put->w));
    }
    pending_end(node, pending);
}

/* ---- Find ---- */

static int put_other(const struct pending_put *put, uint16_t peer)
{
    for (int i = 0; i < put->other_count; i++) {
        if (put->others[i] == peer && (put->waiting & (1u << i))) {
            return i;
        }
    }
    return -1;
}

void put_recheck(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (put->phase == PUT_FIND && put->waiting == 0) {
        put_store(node, pending);
    } else if (put->phase == PUT_FIND) {
        pending_set_due(node, pending, put->find_until_ms); /* an answer buys no more time */
    } else {
        put_progress(node, pending);
    }
}

void put_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    int i = put_other(&pending->u.put, peer);
    if (i >= 0) {
        pending->u.put.waiting &= (uint8_t)~(1u << i);
        pending_poke(node, pending);
    }
}

enum kith_err put_found(struct kith_node *node, struct pending *pending, uint16_t peer,
                        const struct kith_msg *msg)
{
    struct pending_put *put = &pending->u.put;
    const struct kith_request_find_res *res = &msg->u.request_find_res;
    int i = put_other(put, peer);
    if (put->phase != PUT_FIND || i < 0) {
        return KITH_OK;
    }
    if (res->status.err != KITH_OK || !res->found || join_frozen(node) ||
        res->row_count != put->req->update_count) {
        put->waiting &= (uint8_t)~(1u << i);
        put_recheck(node, pending);
        return KITH_OK;
    }
    /* in the order of the request; a state borrows from the message, which its box keeps for the
     * op */
    struct kith_replica_row *rows =
        kith_arena_copy(&pending->arena, res->rows, res->row_count * sizeof *rows);
    if (!rows) {
        return KITH_ENOMEM;
    }
    for (uint32_t k = 0; k < res->row_count; k++) {
        rows[k].name = put->req->updates[k].name;
    }
    put->phase = PUT_MERGE;
    put->waiting = 0;
    pending_set_due(node, pending, pending->deadline_ms);
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_MERGE, put_partition(node, put));
    op->u.merge.group = put->req->group;
    op->u.merge.request = put->req->request;
    op->u.merge.wall_ms = node->wall_ms;
    op->u.merge.row_count = res->row_count;
    op->u.merge.rows = rows;
    return KITH_OK;
}

/* ---- Store and spread ---- */

/* The row without the writer's own sibling, encoded into the arena. */
static enum kith_err put_context(struct kith_node *node, struct kith_arena *arena,
                                 const struct kith_store_put_row *row, struct kith_bytes *ret_bytes)
{
    struct kith_row state;
    enum kith_err err = kith_row_decode(&node->arena, row->state, &state);
    if (err != KITH_OK) {
        return err;
    }
    const struct kith_sibling *own = kith_row_find(&state, &row->dot);
    if (!own) {
        *ret_bytes = kith_bytes_make(kith_arena_copy(arena, row->state.data, row->state.size),
                                     row->state.size);
        return ret_bytes->data ? KITH_OK : KITH_ENOMEM;
    }
    struct kith_sibling *rest = kith_arena_alloc(&node->arena, state.sibling_count * sizeof *rest);
    if (!rest) {
        return KITH_ENOMEM;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < state.sibling_count; i++) {
        if (&state.siblings[i] != own) {
            rest[count] = state.siblings[i];
            count++;
        }
    }
    state.siblings = rest;
    state.sibling_count = count;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&state, &buf);
    uint8_t *copy = buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size);
    *ret_bytes = kith_bytes_make(copy, buf.size);
    kith_buf_release(&buf);
    return copy ? KITH_OK : KITH_ENOMEM;
}

/* Whose copies go out at once: as many as W asks for, first in the table's order, and none of a
 * node that was late; all where too few are left. The rest is not waited for, and leaves with other
 * messages. */
static uint8_t put_urgent(const struct kith_node *node, const struct pending_put *put)
{
    uint32_t wanted = put->w - 1; /* our own copy is one of them */
    uint32_t count = 0;
    uint8_t chosen = 0;
    uint8_t all = 0;
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        uint8_t bit = (uint8_t)(1u << i);
        all |= bit;
        if (peer->up && node->now_ms >= peer->late_ms && count < wanted) {
            chosen |= bit;
            count++;
        }
    }
    return count < wanted ? all : chosen;
}

static void put_spread(struct kith_node *node, struct pending *pending,
                       const struct kith_replica_row *rows)
{
    struct pending_put *put = &pending->u.put;
    put->phase = PUT_SPREAD;
    uint64_t left = put_timeout(node, 0);
    if (pending->deadline_ms > node->now_ms && pending->deadline_ms - node->now_ms < left) {
        left = pending->deadline_ms - node->now_ms;
    }
    put->urgent = put_urgent(node, put);
    put->spread_ms = node->now_ms;
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        if (!peer->up) {
            continue;
        }
        put->waiting |= (uint8_t)(1u << i);
        peer_doubt(node, put->others[i], node->now_ms);
        struct kith_msg *msg = core_send(node, peer->conn, KITH_MSG_REPLICATE_REQ, pending->id);
        struct kith_replicate_req *req = &msg->u.replicate_req;
        msg->may_wait = (put->urgent & (1u << i)) == 0;
        req->may_wait = msg->may_wait;
        req->table = node->table->id;
        req->timeout_ms = (uint32_t)left;
        req->request = put->req->request;
        req->durability = put->durability;
        req->group = put->req->group;
        req->row_count = put->result_count;
        req->rows = rows;
    }
}

static enum kith_err put_stored_os(struct kith_node *node, struct pending *pending,
                                   const struct kith_store_done *done)
{
    struct pending_put *put = &pending->u.put;
    uint32_t count = done->u.put.row_count;
    KITH_ASSERT(count == put->req->update_count);
    struct kith_put_result *results = kith_arena_alloc(&pending->arena, count * sizeof *results);
    struct kith_replica_row *rows = kith_arena_alloc(&node->arena, count * sizeof *rows);
    if (!results || !rows) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_store_put_row *row = &done->u.put.rows[i];
        enum kith_err err = put_context(node, &pending->arena, row, &results[i].context);
        if (err != KITH_OK) {
            return err;
        }
        results[i].dot = row->dot;
        results[i].time = row->time;
        rows[i].name = put->req->updates[i].name;
        rows[i].state = row->state;
        rows[i].has_dot = true;
        rows[i].dot = row->dot;
    }
    put->results = results;
    put->result_count = count;
    put_spread(node, pending, rows);
    return KITH_OK;
}

/* What the store says, in the terms of a put. */
static enum kith_err put_error(enum kith_err err)
{
    switch (err) {
    case KITH_EINVAL:
    case KITH_ELIMIT:
    case KITH_ETOOBIG:
    case KITH_ENOSPC:
        return err;
    case KITH_EFORMAT:
        return KITH_EINVAL;
    case KITH_ECORRUPT:
    case KITH_ENOMEM:
    case KITH_EROFS:
    case KITH_ENOTREADY:
        return KITH_EREFUSED;
    default:
        return KITH_EUNKNOWN;
    }
}

enum kith_err put_stored(struct kith_node *node, struct pending *pending,
                         const struct kith_store_done *done)
{
    struct pending_put *put = &pending->u.put;
    bool last = done->err != KITH_OK || put->phase == PUT_MERGE || done->reached == put->durability;
    if (done->err != KITH_OK) {
        watch_tell_put(node, put->req); /* it may be there all the same */
        bool half = put->phase == PUT_SPREAD || put->phase == PUT_MERGE;
        core_stored_last(node, pending);
        pending_refuse(node, pending, half ? KITH_EUNKNOWN : put_error(done->err),
                       core_text(node, "node %s: %s", node->address,
                                 done->message && done->message[0]
                                     ? done->message
                                     : kith_err_text((int)done->err)));
        pending_end(node, pending);
        return KITH_OK;
    }
    if (put->phase == PUT_STORE) {
        enum kith_err err = put_stored_os(node, pending, done);
        if (err != KITH_OK) {
            return err;
        }
        watch_tell_put(node, put->req);
    }
    if (last) {
        core_stored_last(node, pending);
    }
    if (put->phase == PUT_MERGE) {
        watch_tell_put(node, put->req);
        if (pending->answered) {
            pending_end(node, pending);
        } else {
            put_store(node, pending);
        }
        return KITH_OK;
    }
    if (last) {
        put->copies++;
    }
    if (pending->answered) { /* spread all the same; nobody counts */
        pending_end(node, pending);
        return KITH_OK;
    }
    put_progress(node, pending);
    return KITH_OK;
}

/* others[i] has its copy: whoever was asked at once, where i was not, and is not through, is
 * late. */
static void put_late(struct kith_node *node, const struct pending_put *put, int i)
{
    if ((put->urgent & (1u << i)) || node->now_ms - put->spread_ms < KITH_LATE_AFTER_MS) {
        return;
    }
    for (uint32_t k = 0; k < put->other_count; k++) {
        if (put->waiting & put->urgent & (1u << k)) {
            node->peers[put->others[k]].late_ms = node->now_ms + KITH_LATE_MS;
        }
    }
}

void put_replicated(struct kith_node *node, struct pending *pending, uint16_t peer,
                    const struct kith_replicate_res *res)
{
    struct pending_put *put = &pending->u.put;
    int i = put_other(put, peer);
    if (put->phase != PUT_SPREAD || i < 0) {
        return;
    }
    put->waiting &= (uint8_t)~(1u << i);
    if (res->status.err == KITH_OK) {
        put->copies++;
        put_late(node, put, i);
    } else if (res->status.err == KITH_ESTALE) {
        table_learn(node, res->table);
    }
    put_progress(node, pending);
}
