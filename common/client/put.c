/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * put.c - PUT: straight to an owner, which coordinates.
 *
 * One try at a time; a coordinator that is late (or that reads have found silent) is passed over
 * but still listened to: the first OK ends the op, whoever says it. Every try bears the same
 * request id, and every one after a try whose outcome is open says so (retry), so that siblings of
 * the two are one write. `open` counts tries that may have had an effect: with one, an end without
 * OK is EUNKNOWN, never a refusal.
 *
 * Many may be silent at once. So when one is, all who could take it are asked for a sign of life,
 * while it is still waited for, and who gives none (mute) comes after everybody else: whoever is
 * there is found after one silence, not after as many as there are nodes before it. */
#include <string.h>

#include "client/core.h"

/* What a coordinator may take before the next is tried; a flush to disk takes longer. */
static uint32_t try_ms(const struct cc_op *op)
{
    uint32_t limit_ms = op->u.put.durability == KITH_DURABLE_DISK ? 2 * KITH_CLIENT_PUT_TRY_MS
                                                                  : KITH_CLIENT_PUT_TRY_MS;
    uint32_t quarter_ms = (uint32_t)(op->deadline_ms - op->started_ms) / 4 + 1;
    return limit_ms < quarter_ms ? limit_ms : quarter_ms;
}

static void ask(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    struct cc_put *put = &op->u.put;
    struct kith_msg *msg = cc_message(core, KITH_MSG_PUT_REQ);
    if (msg != NULL) {
        struct kith_put_req *req = &msg->u.put_req;
        req->table = op->table->id;
        req->timeout_ms = cc_op_left_ms(core, op);
        req->request = put->request;
        req->retry = put->open > 0;
        req->durability = put->durability;
        bool zones = op->level == KITH_LEVEL_LOCAL_QUORUM || op->level == KITH_LEVEL_EACH_QUORUM;
        req->w = zones || op->level == KITH_LEVEL_QUORUM ? 0 : op->need;
        req->level = zones ? op->level : KITH_LEVEL_QUORUM;
        req->zone = zones ? core->zone : "";
        req->group = put->group;
        req->writer = put->writer;
        req->update_count = put->update_count;
        req->updates = put->updates;
        req->strict = op->strict;
        req->w_min = core->w_min;
        req->fallback = cc_is_fallback(op, i);
    }
    cc_replica_ask(core, op, i, msg);
    if (op->reps[i].state == CC_REP_ASKED) {
        put->open++;
    }
}

/* Where it has said nothing for a while, it and all others who could take it are asked for a sign
 * of life. */
static void doubt(struct kith_client_core *core, struct cc_op *op, const struct cc_rep *rep)
{
    uint64_t since_ms = rep->asked_ms;
    uint64_t last_ms = rep->peer->heard_ms > since_ms ? rep->peer->heard_ms : since_ms;
    (void)cc_peer_mute(core, op, rep->peer, since_ms);
    if (core->now < last_ms + CC_DOUBT_AFTER_MS) {
        return;
    }
    cc_replicas_fallbacks(core, op);
    for (uint32_t i = 0; i < op->rep_count; i++) {
        if (op->reps[i].state == CC_REP_NEW) {
            (void)cc_peer_mute(core, op, op->reps[i].peer, since_ms);
        }
    }
}

/* The coordinators that are asked and not yet late. */
static uint32_t in_time(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        struct cc_rep *rep = &op->reps[i];
        if (rep->state != CC_REP_ASKED) {
            continue;
        }
        /* silent: it has not answered reads either, nor a probe */
        bool silent = rep->peer->slow && !rep->peer->heard;
        uint64_t limit_ms = silent ? 3 * (uint64_t)core->hedge_ms : try_ms(op);
        limit_ms = limit_ms < try_ms(op) ? limit_ms : try_ms(op);
        if (core->now - rep->asked_ms >= limit_ms) {
            if (!rep->missed) {
                rep->missed = true;
                cc_peer_missed(core, rep->peer);
            }
            continue;
        }
        cc_op_wake(core, op, rep->asked_ms + limit_ms);
        doubt(core, op, rep);
        count++;
    }
    return count;
}

/* The first who could stand in, is heard and near; else who is heard, else the first; CC_REPS_MAX:
 * none. */
static uint32_t next_stand_in(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t first = CC_REPS_MAX, heard = CC_REPS_MAX;
    cc_replicas_fallbacks(core, op);
    for (uint32_t i = op->slots; i < op->rep_count; i++) {
        struct cc_rep *rep = &op->reps[i];
        if (rep->state != CC_REP_NEW || cc_peer_link(core, rep->peer, false) == NULL) {
            continue;
        }
        if (!rep->peer->mute && rep->peer->near) {
            return i;
        }
        heard = heard == CC_REPS_MAX && !rep->peer->mute ? i : heard;
        first = first == CC_REPS_MAX ? i : first;
    }
    return heard != CC_REPS_MAX ? heard : first;
}

/* The owner to ask next; CC_REPS_MAX: none is linked. A mute one comes after all that are not, also
 * one of the own zone, of which a local quorum wants its copies: that is the coordinator's matter.
 */
static uint32_t next_owner(struct kith_client_core *core, const struct cc_op *op)
{
    uint32_t owner = cc_replicas_next(core, op, false, 0);
    if (owner >= op->slots || !op->reps[owner].peer->mute) {
        return owner < op->slots ? owner : CC_REPS_MAX;
    }
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        if (rep->state == CC_REP_NEW && !rep->peer->mute &&
            cc_peer_link(core, rep->peer, false) != NULL) {
            return i;
        }
    }
    return owner;
}

/* Who is to coordinate it next; CC_REPS_MAX: nobody, or nobody yet. A fallback stands in only where
 * no owner may still come, and owners that are mute come after all that are not. */
static uint32_t next_coordinator(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t owner = next_owner(core, op);
    if (owner != CC_REPS_MAX && !op->reps[owner].peer->mute) {
        return owner;
    }
    bool hope = false;
    for (uint32_t i = 0; i < op->slots; i++) {
        if (op->reps[i].state == CC_REP_NEW && !op->reps[i].peer->mute) {
            hope = cc_replica_hope(core, op, i, false) || hope; /* each is tried */
        }
    }
    if (hope) {
        return CC_REPS_MAX;
    }
    uint32_t other = next_stand_in(core, op);
    bool better = other != CC_REPS_MAX && (owner == CC_REPS_MAX || !op->reps[other].peer->mute);
    return better ? other : owner;
}

/* Nobody is left who could take it: whether the refusals are the last word. */
static bool refused(struct kith_client_core *core, struct cc_op *op)
{
    bool any = false;
    bool hope = false;
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        any = any || rep->final;
        hope =
            (!rep->final && (rep->state == CC_REP_ASKED || cc_replica_hope(core, op, i, false))) ||
            hope;
    }
    return any && !hope;
}

static void give_up(struct kith_client_core *core, struct cc_op *op, enum kith_err err)
{
    char text[CC_MESSAGE_SIZE];
    memcpy(text, op->message, sizeof(text));
    if (op->u.put.open > 0) {
        op->refused = err != KITH_EUNREACH && err != KITH_ENOTREADY && err != KITH_EBUSY;
        cc_op_fail(core, op, KITH_EUNKNOWN, "the write may yet appear (%.220s)", text);
    } else {
        cc_op_fail(core, op, err, "%s", text);
    }
}

void cc_put_drive(struct kith_client_core *core, struct cc_op *op)
{
    if (!cc_replicas_prepare(core, op, false)) {
        return;
    }
    while (in_time(core, op) == 0) {
        uint32_t next = next_coordinator(core, op);
        if (next == CC_REPS_MAX) {
            break;
        }
        ask(core, op, next);
    }
    if (in_time(core, op) > 0) {
        op->waits = true; /* for a coordinator to turn out silent */
        return;
    }
    if (refused(core, op)) {
        give_up(core, op, op->last_err);
        return;
    }
    cc_replicas_again(core, op);
}

void cc_put_deadline(struct kith_client_core *core, struct cc_op *op, enum kith_err err,
                     const char *why)
{
    uint32_t after_ms = (uint32_t)(op->deadline_ms - op->started_ms);
    if (op->u.put.open > 0) {
        cc_op_fail(core, op, KITH_EUNKNOWN,
                   "no answer within %u ms, the write may yet appear (%.180s)", after_ms, why);
    } else {
        cc_op_fail(core, op, err, "no owner could be reached within %u ms (%.190s)", after_ms, why);
    }
}

/* The row as the put made it: its context, and the writer's own sibling, if it is still there (a
 * retry may be answered with a row in which it has been replaced). */
static bool keep_row(struct kith_client_core *core, const struct cc_op *op, uint32_t i,
                     const struct kith_put_result *result, struct kith_row *row)
{
    const struct cc_put *put = &op->u.put;
    const struct kith_put_update *update = &put->updates[i];
    struct kith_sibling *siblings =
        kith_arena_alloc(&core->step_arena, (row->sibling_count + 1u) * sizeof(*siblings));
    if (siblings == NULL) {
        return false;
    }
    uint32_t at = 0;
    while (at < row->sibling_count && kith_dot_compare(&row->siblings[at].dot, &result->dot) < 0) {
        at++;
    }
    if (at > 0) { /* else there may be none */
        memcpy(siblings, row->siblings, at * sizeof(*siblings));
    }
    if (update->has_sibling && result->time != 0) {
        const struct kith_sibling own = {
            .dot = result->dot,
            .request = put->request,
            .time = result->time,
            .kind = update->kind,
            .writer = put->writer,
            .ref_count = update->ref_count,
            .refs = update->refs,
            .value = update->value,
        };
        siblings[at] = own;
        if (at < row->sibling_count) {
            memcpy(siblings + at + 1, row->siblings + at,
                   (row->sibling_count - at) * sizeof(*siblings));
        }
        row->siblings = siblings;
        row->sibling_count++;
    }
    return cc_session_keep(&core->session, &put->group, update->name, row);
}

/* Whether the row that the node tells of is one once our sibling is in it: nodes may say anything.
 */
static bool takes_own(const struct kith_put_result *result, const struct kith_row *row)
{
    return kith_clock_covers(&row->clock, &result->dot) && !kith_row_find(row, &result->dot);
}

/* The rows that were written must be in every later answer; those that too few owners have are
 * kept. */
static bool note_session(struct kith_client_core *core, const struct cc_op *op,
                         const struct kith_put_res *res)
{
    for (uint32_t i = 0; i < res->result_count; i++) {
        struct kith_row row;
        const struct kith_put_result *result = &res->results[i];
        bool own = op->u.put.updates[i].has_sibling && result->time != 0;
        if (kith_row_decode(&core->step_arena, result->context, &row) != KITH_OK ||
            (own && !takes_own(result, &row)) ||
            !cc_session_note(&core->session, &op->u.put.group, op->u.put.updates[i].name,
                             &row.clock,
                             !op->u.put.updates[i].has_sibling && kith_row_is_gone(&row)) ||
            (res->owners < cc_majority(op) && !res->settled &&
             !keep_row(core, op, i, result, &row))) {
            return false;
        }
    }
    return true;
}

static bool take_results(struct cc_op *op, const struct kith_put_res *res, struct kith_msg_box *box)
{
    if (box != NULL && !cc_op_hold(op, box, NULL)) {
        return false;
    }
    struct kith_put_result *results =
        kith_arena_calloc(&op->arena, res->result_count, sizeof(*results));
    if (results == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < res->result_count; i++) {
        results[i] = res->results[i];
        if (!cc_op_keep(op, box != NULL, res->results[i].context, &results[i].context)) {
            return false;
        }
    }
    op->result.u.put.results = results;
    op->result.u.put.result_count = res->result_count;
    op->result.u.put.copies = res->copies;
    op->result.u.put.owners = res->owners;
    return true;
}

static void take_ok(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                    const struct kith_put_res *res, struct kith_msg_box *box)
{
    if (res->result_count != op->u.put.update_count) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers with too few results");
        op->reps[i].final = true;
        give_up(core, op, KITH_EUNKNOWN);
    } else if (!note_session(core, op, res) || !take_results(op, res, box) ||
               (op->u.put.open > 1 && !cc_twins_note(core, op, res))) {
        cc_op_fail(core, op, KITH_EUNKNOWN, "the answer of the write cannot be kept");
    } else {
        op->result.err = KITH_OK;
        op->result.message = "";
        cc_op_finish(core, op);
    }
}

/* Whether this answer says that nothing happened. */
static bool nothing_happened(enum kith_err err)
{
    switch (err) {
    case KITH_ESTALE:
    case KITH_EREFUSED:
    case KITH_ENOSPC:
    case KITH_EROFS:
    case KITH_ENOTREADY:
    case KITH_EUNREACH:
    case KITH_EBUSY:
    case KITH_EINVAL:
    case KITH_ELIMIT:
    case KITH_ETOOBIG:
    case KITH_EFORMAT:
    case KITH_EVERSION:
    case KITH_ECLUSTER:
    case KITH_EPERM:
        return true;
    default:
        return false;
    }
}

/* Whether every node would say the same. */
static bool is_verdict(enum kith_err err)
{
    return err == KITH_EINVAL || err == KITH_ELIMIT || err == KITH_ETOOBIG || err == KITH_EFORMAT ||
           err == KITH_EPERM;
}

void cc_put_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                   const struct kith_msg *msg, struct kith_msg_box *box)
{
    const struct kith_put_res *res = &msg->u.put_res;
    if (msg->kind != KITH_MSG_PUT_RES) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers something else");
        cc_drive(core, op);
        return;
    }
    enum kith_err err = res->status.err;
    if (err == KITH_OK) {
        take_ok(core, op, i, res, box);
        return;
    }
    if (nothing_happened(err)) {
        op->u.put.open--;
    }
    if (err == KITH_ESTALE) {
        /* asks of other tries go with the old table: they stay open */
        (void)cc_replica_stale(core, op, i, res->table); /* the drive sees which */
        cc_drive(core, op);
        return;
    }
    cc_replica_failed(core, op, i, err, res->status.message);
    if (is_verdict(err)) {
        give_up(core, op, err);
        return;
    }
    op->reps[i].final =
        err == KITH_EREFUSED || err == KITH_ENOSPC || err == KITH_EROFS || err == KITH_EUNREACH;
    cc_drive(core, op);
}
