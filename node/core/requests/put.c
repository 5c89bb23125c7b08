/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * put.c - coordination of a put: the node that the client asked gives the dots and spreads the
 * states.
 *
 *     PUT_REQ --retry?--> FIND --found--> MERGE --+
 *        |                  |not found            v
 *        +------------------+------------------> STORE --at os--> SPREAD --W copies--> OK
 *                                                                  |  ^
 *                                       a copy is late, or fails   v  |states, for stand-ins
 *                                                                 REREAD
 *                                       nobody is left: NOTE that it is thin --> OK
 *
 * STORE may find that the rows refer to older chunks that nothing here refers to: they are leased
 * first (LEASE, sweep.h), and then STORE comes again.
 *
 * FIND and MERGE: a retry may meet a coordinator that knows nothing of the first try. It asks the
 * other owners, and who may have stood in for them, for the request id; what is found is merged
 * (which notes the request here), and the STORE that follows recognises it and gives the same
 * results. Where nobody that can be reached knows it, it is carried out again: two siblings with one
 * request id are one write (rowop.h, TWINS).
 *
 * SLOPPY QUORUM (DESIGN section 5). An owner that is down or late is replaced by the next node of
 * the table's order of fallbacks, which keeps the state for it (hintop.h). What is needed for W is
 * custody there, and counts; for an owner that is down beyond that it is a plain hint. Where no
 * owner can be reached the client comes to a node that is none, and that coordinates, on the hint's
 * record. Where fewer than W nodes are alive at all, those there are suffice (w_min, 1 by default),
 * flushed to disk whatever was asked, and the rows are marked as thin: the marks are worked off
 * like custody (handoff.c). `strict` has none of that: owners count, or it is refused.
 *
 * OUTCOMES. Before STORE is emitted everything that fails is REFUSED (nothing happened). From then
 * on it is OK or UNKNOWN (it may yet appear), at the deadline, or, strict, as soon as too few owners
 * are left to reach W; only an error of the store that says "not written" still refuses.
 *
 * Copies and who makes them: put_spread.c. */
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

bool put_takes(const struct kith_node *node, const struct pending_put *put, uint16_t peer)
{
    return node->peers[peer].up && !(put->value && node->peers[peer].full);
}

/* The others that hold the partition: all, and how many of them can take a copy. */
static uint32_t put_others(const struct kith_node *node, uint32_t partition,
                           struct pending_put *put)
{
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t holders = kith_table_holders(node->table, partition, owners);
    uint32_t up = 0;
    uint8_t count = 0;
    for (uint32_t i = 0; i < holders; i++) {
        uint16_t peer = node->peer_of_member[owners[i]];
        if (peer != KITH_NO_PEER) {
            put->others[count] = peer;
            count++;
            up += put_takes(node, put, peer) ? 1 : 0;
        }
    }
    put->other_count = count;
    return up;
}

const char *put_down_names(struct kith_node *node, const struct pending_put *put)
{
    const char *names = "";
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        if (!put_takes(node, put, put->others[i])) {
            const char *address = peer->info.address[0] ? peer->info.address : "(address unknown)";
            names = core_text(node, "%s%s%s%s", names, names[0] ? ", " : "", address,
                              peer->up ? " (its disk is full)" : "");
        }
    }
    return names;
}

/* Too few nodes are up: why, and false; or how many copies an answer needs. */
static bool put_quorum(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                       struct pending_put *put, uint32_t partition, uint32_t up)
{
    uint32_t here = up + 1; /* our own copy, as an owner or a stand-in */
    uint32_t there = 0;
    put->need = put->w;
    for (uint32_t i = 0; i < put->other_count; i++) {
        there |= put_takes(node, put, put->others[i]) ? 1u << i : 0;
    }
    uint32_t lacks = put_lacks(node, put, there, true);
    if (lacks == 0) {
        return true;
    }
    if (put->strict) {
        core_refuse(node, conn, msg, KITH_EUNREACH,
                    core_text(node,
                              "%u of the %u owners that must take it can be reached, and none may "
                              "stand in for them (strict); down: %s",
                              here, here + lacks, put_down_names(node, put)));
        return false;
    }
    /* each stands in for one that is down, and we may be one of those who do */
    uint32_t most = put->other_count - up - (put->owner ? 0u : 1u);
    uint32_t stand_ins = put_stand_ins_up(node, put, partition, most);
    if (stand_ins >= lacks) {
        return true;
    }
    put->need = here + stand_ins;
    put->quorum.set_count = 0;
    if (put->need >= put->w_min) {
        put->thin = true;
        put->durability = KITH_DURABLE_DISK;
        return true;
    }
    core_refuse(node, conn, msg, KITH_EUNREACH,
                core_text(node, "%u nodes can take it, %u are wanted at least (w_min); down: %s",
                          put->need, put->w_min, put_down_names(node, put)));
    return false;
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

/* What our own store is to keep for others beside; NULL: nothing. */
static bool put_want(struct kith_node *node, struct pending *pending,
                     const struct kith_hint_want **ret_want)
{
    const struct pending_put *put = &pending->u.put;
    *ret_want = NULL;
    if (put->owner && !put->thin) {
        return true;
    }
    *ret_want = put_hint_want(node, pending, put_partition(node, put));
    return *ret_want != NULL;
}

static void put_store(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (join_frozen(node) || put_outdated(node, put)) {
        pending_refuse(node, pending, KITH_ENOTREADY, "the table changes");
        pending_end(node, pending);
        return;
    }
    const struct kith_hint_want *want = NULL;
    if (!put_want(node, pending, &want)) {
        pending_refuse(node, pending, KITH_EREFUSED, "out of memory");
        pending_end(node, pending);
        return;
    }
    pending_set_due(node, pending, pending->deadline_ms);
    put->phase = PUT_STORE;
    put->waiting = 0;
    put->place_count = put->other_count;
    put->own_due = true;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_PUT, put_partition(node, put));
    op->durability = put->durability;
    op->u.put.group = put->req->group;
    op->u.put.request = put->req->request;
    op->u.put.retry = put->req->retry;
    op->u.put.writer = put->req->writer;
    op->u.put.time = kith_hlc_now(&node->hlc, node->wall_ms);
    op->u.put.wall_ms = node->wall_ms;
    op->u.put.update_count = put->req->update_count;
    op->u.put.updates = put->req->updates;
    op->u.put.hint = want;
    op->u.put.refs = leases_rule(node, &put->leases);
}

static void put_find(struct kith_node *node, struct pending *pending,
                     const struct kith_bytes *names)
{
    struct pending_put *put = &pending->u.put;
    put->phase = PUT_FIND;
    put_add_fallbacks(node, put, put_partition(node, put));
    for (uint32_t i = 0; i < put->place_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        if (!peer->up) {
            continue;
        }
        put->waiting |= (uint16_t)(1u << i);
        peer_doubt(node, put->others[i], node->now_ms);
        struct kith_msg *msg =
            core_send(node, peer->conn, KITH_MSG_REQUEST_FIND_REQ, pending->id);
        msg->u.request_find_req.group = put->req->group;
        msg->u.request_find_req.request = put->req->request;
        msg->u.request_find_req.name_count = put->req->update_count;
        msg->u.request_find_req.names = names;
    }
    if (put->waiting == 0) {
        put_store(node, pending);
    }
}

uint32_t put_timeout(const struct kith_node *node, uint32_t asked)
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

/* Whether we may coordinate it: as an owner, or standing in for them. */
static bool put_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                      uint32_t partition, bool *ret_owner)
{
    const struct kith_put_req *req = &msg->u.put_req;
    enum table_verdict verdict = table_check(node, &req->table, partition);
    *ret_owner = verdict == TABLE_FITS;
    if (verdict == TABLE_NOT_OURS && req->fallback && !req->strict &&
        !table_holds(node, partition)) {
        return true;
    }
    return table_admit(node, conn, msg, &req->table, partition);
}

void put_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_put_req *req = &msg->u.put_req;
    bool owner = false;
    uint32_t partition =
        node->has_cluster ? kith_group_partition(&req->group, node->table->partitions) : 0;
    if (!put_admit(node, conn, msg, partition, &owner)) {
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
                               .owner = owner,
                               .strict = req->strict,
                               .w_min = req->w_min == 0 ? 1 : req->w_min,
                               .durability = req->durability == KITH_DURABLE_DISK
                                                 ? KITH_DURABLE_DISK
                                                 : KITH_DURABLE_OS};
    plan.w = kith_table_need(node->table, partition, req->w);
    if (req->level == KITH_LEVEL_LOCAL_QUORUM || req->level == KITH_LEVEL_EACH_QUORUM) {
        kith_quorum_make(node->table, partition, req->level, req->zone ? req->zone : "", true,
                         &plan.quorum);
        plan.w = kith_quorum_lacks(&plan.quorum, 0);
    }
    plan.w_min = plan.w_min > plan.w ? plan.w : plan.w_min;
    for (uint32_t i = 0; i < req->update_count; i++) {
        plan.value = plan.value || req->updates[i].has_sibling;
    }
    if (space_refuses(node, conn, msg,
                      !owner       ? KITH_SPACE_SCARCE
                      : plan.value ? KITH_SPACE_FULL
                                   : KITH_SPACE_FULL + 1u)) {
        return;
    }
    uint32_t up = put_others(node, partition, &plan);
    plan.place_count = plan.other_count;
    if (put_quorum(node, conn, msg, &plan, partition, up)) {
        put_begin(node, conn, msg, &plan, req->retry);
    }
}

/* ---- Leases: it refers to older chunks that nothing here refers to (sweep.h) ---- */

static void put_lease(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    struct pending_put *put = &pending->u.put;
    const struct kith_put_req *copy = put_copy(&pending->arena, put->req);
    if (!copy || !lease_begin(node, pending, done->u.unleased.count, done->u.unleased.ids)) {
        pending_refuse(node, pending, KITH_EREFUSED, "the chunks that it refers to cannot be leased");
        pending_end(node, pending);
        return;
    }
    put->req = copy;
    put->phase = PUT_LEASE;
}

void put_leased(struct kith_node *node, struct pending *pending, enum kith_err err,
                const char *message)
{
    if (pending->answered || pending->u.put.phase != PUT_LEASE) {
        return;
    }
    if (err == KITH_OK) {
        put_store(node, pending);
        return;
    }
    pending_refuse(node, pending, err, message);
    pending_end(node, pending);
}

/* ---- Ends ---- */

bool put_outdated(const struct kith_node *node, const struct pending_put *put)
{
    return kith_table_id_compare(&put->table, &node->table->id) != 0;
}

void put_table_changed(struct kith_node *node)
{
    for (uint32_t i = 0; i < node->pending_fresh; i++) {
        struct pending *pending = &node->pendings[i];
        if (pending->kind == PENDING_PUT && !pending->answered) {
            pending_poke(node, pending);
        }
    }
}

/* Of how many copies the client may conclude what reads of a quorum find: while data moves, those
 * of the owners, and fewer than a majority where the next owners have fewer. */
static uint32_t put_owners(const struct kith_node *node, const struct pending_put *put)
{
    const struct kith_table *table = node->table;
    if (!kith_table_is_joint(table) || put_outdated(node, put)) {
        return put->owner_copies;
    }
    uint32_t partition = kith_group_partition(&put->group, table->partitions);
    const uint16_t *next = kith_table_next_owners(table, partition);
    uint32_t now = put->owner && !put->own_due ? 1 : 0, then = 0;
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct kith_uuid *uuid = &node->peers[put->others[i]].uuid;
        bool got = (put->got & (1u << i)) != 0;
        now += got && kith_table_owns(table, partition, kith_table_find(table, uuid)) ? 1 : 0;
    }
    for (uint32_t k = 0; k < table->next_slots; k++) {
        uint16_t peer = node->peer_of_member[next[k]];
        bool got = peer == KITH_NO_PEER && put->owner && !put->own_due;
        for (uint32_t i = 0; i < put->other_count; i++) {
            got = got || (put->others[i] == peer && (put->got & (1u << i)) != 0);
        }
        then += got ? 1 : 0;
    }
    uint32_t few = table->owner_slots / 2; /* fewer than a majority */
    bool both = now > few && then > table->next_slots / 2;
    return both ? (now > then ? now : then) : now < few ? now : few;
}

void put_answer_ok(struct kith_node *node, struct pending *pending)
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
    res->owners = put_owners(node, put);
    res->settled = put->quorum.set_count > 0 &&
                   put_lacks(node, put, put->got & ((1u << put->other_count) - 1u),
                             put->owner && !put->own_due) == 0;
    res->result_count = put->result_count;
    res->results = put->results;
}

void put_expire(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (node->now_ms < pending->deadline_ms) {
        pending_set_due(node, pending, pending->deadline_ms);
        put_recheck(node, pending);
        return;
    }
    if (put->phase == PUT_FIND) {
        pending_refuse(node, pending, KITH_EREFUSED, "the other owners were asked in vain");
    } else if (put->phase == PUT_LEASE) {
        pending_refuse(node, pending, KITH_EREFUSED, "the chunks that it refers to were not leased");
    } else if (put->phase == PUT_MERGE) {
        pending_refuse(node, pending, KITH_EUNKNOWN, "the deadline passed");
    } else {
        pending_refuse(node, pending, KITH_EUNKNOWN,
                       core_text(node, "%u of %u copies were made by the deadline", put->copies,
                                 put->need));
    }
    pending_end(node, pending);
}

/* ---- Find ---- */

int put_other(const struct pending_put *put, uint16_t peer)
{
    for (int i = 0; i < put->place_count; i++) {
        if (put->others[i] == peer && (put->waiting & (1u << i))) {
            return i;
        }
    }
    return -1;
}

void put_recheck(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (put->phase == PUT_LEASE) {
        return;
    }
    if (put->phase > PUT_FIND) {
        put_progress(node, pending);
    } else if (put->waiting == 0 || node->now_ms >= put->find_until_ms) {
        put_store(node, pending);
    } else {
        pending_set_due(node, pending, put->find_until_ms); /* an answer buys no more time */
    }
}

void put_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    int i = put_other(&pending->u.put, peer);
    if (i >= 0) {
        pending->u.put.waiting &= (uint16_t)~(1u << i);
    }
    if (put_relay_lost(&pending->u.put, peer) || i >= 0) {
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
        put->waiting &= (uint16_t)~(1u << i);
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
    const struct kith_hint_want *want = NULL;
    if (!put->owner) {
        want = put_hint_want(node, pending, put_partition(node, put));
        if (!want) {
            return KITH_ENOMEM;
        }
    }
    put->phase = PUT_MERGE;
    put->waiting = 0;
    pending_set_due(node, pending, pending->deadline_ms);
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_MERGE, put_partition(node, put));
    op->u.merge.group = put->req->group;
    op->u.merge.request = put->req->request;
    op->u.merge.retry = put->req->retry;
    op->u.merge.wall_ms = node->wall_ms;
    op->u.merge.row_count = res->row_count;
    op->u.merge.rows = rows;
    op->u.merge.hint = want;
    return KITH_OK;
}

/* ---- The store's answers ---- */

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
    if (put->phase > PUT_SPREAD) {
        return put_again_stored(node, pending, done);
    }
    if (put->phase == PUT_STORE && done->err == KITH_ECANCELED) {
        core_stored_last(node, pending);
        if (pending->answered) {
            pending_end(node, pending);
        } else {
            put_lease(node, pending, done);
        }
        return KITH_OK;
    }
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
    if (put->phase == PUT_STORE && put_outdated(node, put)) {
        watch_tell_put(node, put->req); /* the client tries again, and finds it made here */
        put->phase = PUT_SPREAD;
    } else if (put->phase == PUT_STORE) {
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
        put->own_due = false;
        put->copies++;
        put->owner_copies += put->owner ? 1 : 0;
    }
    if (pending->answered && !put->lingers) { /* spread all the same; nobody counts */
        pending_end(node, pending);
        return KITH_OK;
    }
    put_progress(node, pending);
    return KITH_OK;
}

