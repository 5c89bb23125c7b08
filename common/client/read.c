/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * read.c - GET: R owners at once, one in full, the others as digests; merge, repair.
 *
 * An answer is complete when every state that a digest names is here. Where a digest differs, the
 * differing rows are fetched in full from the one that has them. What is answered covers all that
 * this session has seen (invariant 9), or further owners are asked. With fewer than R owners to be
 * had, what they and those who stand in for them say is answered and marked degraded; with none,
 * only what is found: "not found" from a stand-in says nothing. */
#include <string.h>

#include "client/core.h"

static bool is_zero(const struct kith_checksum *hash)
{
    static const struct kith_checksum zero;
    return kith_checksum_equal(hash, &zero);
}

static void ask(struct kith_client_core *core, struct cc_op *op, uint32_t i, bool fetch)
{
    struct cc_get *get = &op->u.get;
    struct cc_rep *rep = &op->reps[i];
    struct kith_msg *msg = cc_message(core, KITH_MSG_GET_REQ);
    if (msg == NULL) {
        cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
        return;
    }
    struct kith_get_req *req = &msg->u.get_req;
    req->table = op->table->id;
    req->timeout_ms = cc_op_left_ms(core, op);
    req->group = get->group;
    req->name_count = get->name_count;
    req->names = get->names;
    rep->digest = false;
    rep->fetched = fetch;
    if (fetch) {
        struct kith_bytes *names =
            kith_arena_calloc(&core->step_arena, rep->fetch_count, sizeof(*names));
        if (names == NULL) {
            cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
            return;
        }
        for (uint32_t n = 0; n < rep->fetch_count; n++) {
            names[n] = get->names[rep->fetch[n]];
        }
        req->name_count = rep->fetch_count;
        req->names = names;
    } else {
        for (uint32_t other = 0; other < op->rep_count; other++) {
            const struct cc_rep *o = &op->reps[other];
            bool counts = o->state == CC_REP_HAVE || (o->state == CC_REP_ASKED && !o->hedged);
            rep->digest = rep->digest || (other != i && counts && !o->digest);
        }
    }
    req->digest = rep->digest;
    req->fallback = cc_is_fallback(op, i);
    cc_replica_ask(core, op, i, msg);
}

enum where { STATE_HERE, STATE_COMING, STATE_MISSING };

static bool in_fetch(const struct cc_rep *rep, uint32_t n)
{
    for (uint32_t f = 0; f < rep->fetch_count; f++) {
        if (rep->fetch[f] == n) {
            return true;
        }
    }
    return false;
}

/* Where the state is that replica i names for row n. One that a late replica was to send is
 * missing: it is fetched from another. */
static enum where state_where(const struct cc_op *op, uint32_t i, uint32_t n)
{
    const struct cc_copy *copy = &op->reps[i].rows[n];
    enum where where = STATE_MISSING;
    if (copy->has_state || is_zero(&copy->hash)) {
        return STATE_HERE;
    }
    for (uint32_t o = 0; o < op->rep_count; o++) {
        const struct cc_rep *rep = &op->reps[o];
        if (rep->rows == NULL || !kith_checksum_equal(&rep->rows[n].hash, &copy->hash)) {
            continue;
        }
        if (rep->state == CC_REP_HAVE && rep->rows[n].has_state) {
            return STATE_HERE;
        }
        bool asks = rep->state == CC_REP_HAVE || (rep->state == CC_REP_ASKED && !rep->hedged);
        if (asks && in_fetch(rep, n)) {
            where = STATE_COMING;
        }
    }
    return where;
}

/* Fetches rows that are known only by digest; true when some are on their way: nothing can be
 * merged before they are here. */
static bool fetch_missing(struct kith_client_core *core, struct cc_op *op)
{
    bool any = false;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        struct cc_rep *rep = &op->reps[i];
        for (uint32_t n = 0; rep->state == CC_REP_HAVE && n < op->u.get.name_count; n++) {
            enum where where = state_where(op, i, n);
            any = any || where != STATE_HERE;
            if (where != STATE_MISSING) {
                continue;
            }
            if (rep->fetch == NULL) {
                rep->fetch =
                    kith_arena_calloc(&op->arena, op->u.get.name_count, sizeof(*rep->fetch));
            }
            if (rep->fetch == NULL) {
                cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
                return true;
            }
            rep->fetch[rep->fetch_count++] = n;
        }
    }
    for (uint32_t i = 0; i < op->rep_count; i++) {
        if (op->reps[i].state == CC_REP_HAVE && op->reps[i].fetch_count > 0) {
            ask(core, op, i, true);
        }
    }
    return any;
}

enum outcome { OUTCOME_ENDED, OUTCOME_WAIT, OUTCOME_BEHIND };

/* The session's view of one merged row: false when the row is older than what it has seen. */
static enum outcome session_row(struct kith_client_core *core, struct cc_op *op, uint32_t n,
                                const struct kith_row *row, uint32_t holders, bool degraded)
{
    struct cc_get *get = &op->u.get;
    struct kith_bytes name = get->names[n];
    uint64_t order = degraded ? CC_SESSION_ANY : op->order;
    if (!cc_session_covered(&core->session, order, &get->group, name, row)) {
        get->behind = n;
        return OUTCOME_BEHIND;
    }
    if (!cc_session_read(core, op, &get->group, name, row, holders)) {
        cc_op_fail(core, op, KITH_ENOMEM, "out of memory");
        return OUTCOME_ENDED;
    }
    return OUTCOME_WAIT; /* nothing against it */
}

static enum outcome finish(struct kith_client_core *core, struct cc_op *op, bool degraded)
{
    struct cc_get *get = &op->u.get;
    if (fetch_missing(core, op)) {
        return OUTCOME_WAIT;
    }
    struct kith_client_row *rows = kith_arena_calloc(&op->arena, get->name_count, sizeof(*rows));
    struct cc_repairs *repairs = NULL;
    enum kith_err err = rows == NULL ? KITH_ENOMEM : KITH_OK;
    for (uint32_t n = 0; err == KITH_OK && n < get->name_count; n++) {
        const struct cc_copy *copies[CC_REPS_MAX] = {0};
        uint32_t asked = 0;
        uint32_t holders = 0;
        for (uint32_t i = 0; i < op->rep_count; i++) {
            if (op->reps[i].state == CC_REP_HAVE) {
                copies[i] = &op->reps[i].rows[n];
                asked |= 1u << i;
            }
        }
        rows[n].name = get->names[n];
        err = cc_merge(op, copies, &rows[n].row, &holders);
        if (err == KITH_OK) {
            err = cc_merge_kept(core, op, &get->group, get->names[n], &rows[n].row, &holders);
        }
        if (err == KITH_OK && rows[n].row.clock.count == 0 && !cc_owner_has(op)) {
            return OUTCOME_WAIT; /* "not found" is for owners to say: one may come back */
        }
        if (err == KITH_OK &&
            !cc_twins_drop(core, op, &get->group, get->names[n], &rows[n].row)) {
            err = KITH_ENOMEM;
        }
        if (err != KITH_OK) {
            break;
        }
        enum outcome outcome = session_row(core, op, n, &rows[n].row, holders, degraded);
        if (outcome != OUTCOME_WAIT) {
            return outcome;
        }
        if (asked != holders) {
            cc_repair_note(op, &repairs, get->names[n], asked, holders);
        }
    }
    if (err != KITH_OK) {
        cc_op_fail(core, op, err == KITH_EFORMAT ? KITH_ECORRUPT : err,
                   "the answers cannot be merged: %s", kith_err_text((int)err));
        return OUTCOME_ENDED;
    }
    if (repairs != NULL && !degraded) {
        cc_repair_send(core, op, repairs, &get->group);
    }
    op->result.err = KITH_OK;
    op->result.message = "";
    op->result.degraded = degraded;
    op->result.u.rows.row_count = get->name_count;
    op->result.u.rows.rows = rows;
    cc_op_finish(core, op);
    return OUTCOME_ENDED;
}

/* Those who may keep something for owners that cannot be reached; how many are asked. */
static uint32_t ask_fallbacks(struct kith_client_core *core, struct cc_op *op)
{
    cc_replicas_fallbacks(core, op);
    for (uint32_t i = op->slots; i < op->rep_count; i++) {
        if (op->reps[i].state == CC_REP_NEW && cc_peer_link(core, op->reps[i].peer, false)) {
            ask(core, op, i, false);
        }
    }
    return cc_replicas_count(op, CC_REP_ASKED);
}

void cc_get_drive(struct kith_client_core *core, struct cc_op *op)
{
    if (!cc_replicas_prepare(core, op, false)) {
        return;
    }
    cc_replicas_late(core, op, core->hedge_ms, CC_READ_TRY_MS);
    uint32_t have = cc_owners_count(op, CC_REP_HAVE);
    uint32_t asked = cc_replicas_count(op, CC_REP_ASKED);
    uint32_t want = op->need + op->extra;
    bool behind = false;
    if (cc_met(op)) {
        enum outcome outcome = finish(core, op, false);
        if (outcome == OUTCOME_ENDED) {
            return;
        }
        behind = outcome == OUTCOME_BEHIND;
        want = behind && want <= have ? have + 1 : want;
    }
    for (uint32_t next = cc_replicas_next_read(core, op, want); next != CC_REPS_MAX;
         next = cc_replicas_next_read(core, op, want)) {
        ask(core, op, next, false);
    }
    asked = cc_replicas_count(op, CC_REP_ASKED);
    op->waits = cc_replicas_lack(op, want);
    op->behind = op->behind || behind; /* for the message at the deadline */
    if (asked == 0 && cc_replicas_hope(core, op, false)) {
        return;
    }
    if (asked == 0 && (!cc_met(op) || behind)) {
        asked = ask_fallbacks(core, op);
    }
    if (asked == 0 && !behind && !op->strict && cc_replicas_count(op, CC_REP_HAVE) > 0) {
        enum outcome outcome = finish(core, op, !cc_met(op));
        if (outcome == OUTCOME_ENDED) {
            return;
        }
        behind = outcome == OUTCOME_BEHIND;
        asked = cc_replicas_count(op, CC_REP_ASKED);
    }
    op->behind = op->behind || behind;
    if (asked == 0 && behind) {
        cc_replicas_behind(core, op, op->u.get.names[op->u.get.behind]);
    } else if (asked == 0) {
        if (cc_replicas_short(core, op)) {
            return;
        }
        cc_replicas_again(core, op);
    }
    cc_replicas_watch(core, op, core->hedge_ms, CC_READ_TRY_MS);
}

/* Takes the rows of an answer; `at` says which row of the request each is, NULL: in order. */
static bool take_rows(struct cc_op *op, struct cc_rep *rep, const struct kith_get_res *res,
                      struct kith_msg_box *box, const uint32_t *at)
{
    bool full = !rep->digest;
    bool held = full && box != NULL;
    if (held && !cc_op_hold(op, box, NULL)) {
        return false;
    }
    if (rep->rows == NULL) {
        rep->rows = kith_arena_calloc(&op->arena, op->u.get.name_count, sizeof(*rep->rows));
        if (rep->rows == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; i < res->row_count; i++) {
        struct cc_copy *copy = &rep->rows[at == NULL ? i : at[i]];
        copy->hash = res->rows[i].hash;
        copy->has_state = full;
        if (full && !cc_op_keep(op, held, res->rows[i].state, &copy->state)) {
            return false;
        }
    }
    return true;
}

void cc_get_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                   const struct kith_msg *msg, struct kith_msg_box *box)
{
    struct cc_rep *rep = &op->reps[i];
    const struct kith_get_res *res = &msg->u.get_res;
    uint32_t expected = rep->fetched ? rep->fetch_count : op->u.get.name_count;
    if (msg->kind != KITH_MSG_GET_RES) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers something else");
    } else if (res->status.err == KITH_ESTALE) {
        (void)cc_replica_stale(core, op, i, res->table); /* the drive sees which */
    } else if (cc_replica_denied(core, op, i, &res->status)) {
        return;
    } else if (res->status.err != KITH_OK) {
        cc_replica_failed(core, op, i, res->status.err, res->status.message);
    } else if (res->row_count != expected) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers with too few rows");
    } else if (!take_rows(op, rep, res, box, rep->fetched ? rep->fetch : NULL)) {
        cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
    } else {
        rep->state = CC_REP_HAVE;
        rep->digest = rep->fetched ? false : rep->digest;
        rep->fetched = false;
        rep->fetch_count = 0;
        rep->err = KITH_OK;
    }
    cc_drive(core, op);
}
