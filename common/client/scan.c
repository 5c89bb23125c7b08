/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * scan.c - SCAN: pages of R replicas, merged in name order.
 *
 * A page that has more says nothing about names behind its last one; so only names up to the
 * smallest last name of such pages are given out (the bound), and the next scan goes on there.
 * Tombstones take part in the merge and are dropped after it. A directory is never loaded whole.
 *
 *     A: a b c d | more          bound = d: a b c d are merged from both, f waits for the next
 * page, B: a   c   f | more        b (missing at B) is repaired there */
#include <string.h>

#include "client/core.h"

static void ask(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    const struct cc_scan *scan = &op->u.scan;
    struct kith_msg *msg = cc_message(core, KITH_MSG_SCAN_REQ);
    if (msg != NULL) {
        struct kith_scan_req *req = &msg->u.scan_req;
        req->table = op->table->id;
        req->timeout_ms = cc_op_left_ms(core, op);
        req->group = scan->group;
        req->has_after = scan->has_after;
        req->after = scan->after;
        req->max_rows = scan->max_rows;
        req->fallback = cc_is_fallback(op, i);
    }
    cc_replica_ask(core, op, i, msg);
}

/* One merge of the pages that are here. */
struct merge {
    uint32_t asked;           /* bits of the replicas with a page */
    uint32_t at[CC_REPS_MAX]; /* the next row of each page */
    bool has_bound;
    struct kith_bytes bound;
    struct kith_client_row *rows;
    uint32_t row_count;
    bool has_last;
    struct kith_bytes last; /* the last name that was merged */
    bool more;
    uint64_t order; /* what of the session binds it */
    uint32_t known; /* rows that the session knew */
    uint32_t kept_count, kept_at; /* rows of the session's own, see session.c */
    struct kith_bytes *kept;
    struct cc_repairs *repairs;
};

static bool merge_init(struct kith_client_core *core, const struct cc_op *op, struct merge *merge,
                       struct kith_arena *arena)
{
    const struct cc_scan *scan = &op->u.scan;
    size_t total = 0;
    memset(merge, 0, sizeof(*merge));
    if (cc_session_kept_names(&core->session, op->order, &scan->group, scan->has_after,
                              scan->after, arena, &merge->kept, &merge->kept_count) != KITH_OK) {
        return false;
    }
    total = merge->kept_count;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        const struct cc_rep *rep = &op->reps[i];
        if (rep->state != CC_REP_HAVE) {
            continue;
        }
        merge->asked |= 1u << i;
        total += rep->row_count;
        if (rep->more) {
            struct kith_bytes last = rep->rows[rep->row_count - 1].name;
            if (!merge->has_bound || kith_bytes_compare(last, merge->bound) < 0) {
                merge->bound = last;
            }
            merge->has_bound = true;
            merge->more = true;
        }
    }
    merge->rows = kith_arena_calloc(arena, total, sizeof(*merge->rows));
    return merge->rows != NULL;
}

/* The copies of the smallest name not merged yet; false when there is none within the bound. */
static bool merge_next(const struct cc_op *op, struct merge *merge, struct kith_bytes *ret_name,
                       const struct cc_copy *copies[])
{
    bool any = merge->kept_at < merge->kept_count;
    struct kith_bytes first = any ? merge->kept[merge->kept_at] : kith_bytes_make(NULL, 0);
    for (uint32_t i = 0; i < op->rep_count; i++) {
        const struct cc_rep *rep = &op->reps[i];
        if ((merge->asked & (1u << i)) != 0 && merge->at[i] < rep->row_count) {
            struct kith_bytes name = rep->rows[merge->at[i]].name;
            if (!any || kith_bytes_compare(name, first) < 0) {
                first = name;
                any = true;
            }
        }
    }
    if (!any) {
        return false;
    }
    if ((merge->has_bound && kith_bytes_compare(first, merge->bound) > 0) ||
        merge->row_count == op->u.scan.max_rows) {
        merge->more = true;
        return false;
    }
    static const struct cc_copy
        none; /* a replica with a page without the row: never written there */
    for (uint32_t i = 0; i < op->rep_count; i++) {
        const struct cc_rep *rep = &op->reps[i];
        copies[i] = (merge->asked & (1u << i)) != 0 ? &none : NULL;
        if (copies[i] != NULL && merge->at[i] < rep->row_count &&
            kith_bytes_equal(rep->rows[merge->at[i]].name, first)) {
            copies[i] = &rep->rows[merge->at[i]++];
        }
    }
    if (merge->kept_at < merge->kept_count &&
        kith_bytes_equal(merge->kept[merge->kept_at], first)) {
        merge->kept_at++;
    }
    *ret_name = first;
    return true;
}

/* Takes one merged row. EAGAIN is KITH_ENOTREADY here: it is older than what the session has seen.
 */
static enum kith_err merge_row(struct kith_client_core *core, struct cc_op *op, struct merge *merge,
                               struct kith_bytes name, const struct cc_copy *const copies[])
{
    struct kith_row row;
    uint32_t holders = 0;
    enum kith_err err = cc_merge(op, copies, &row, &holders);
    if (err != KITH_OK) {
        return err == KITH_EFORMAT ? KITH_ECORRUPT : err;
    }
    const struct kith_group *group = &op->u.scan.group;
    err = cc_merge_kept(core, op, group, name, &row, &holders);
    if (err != KITH_OK) {
        return err == KITH_EFORMAT ? KITH_ECORRUPT : err;
    }
    if (!cc_twins_drop(core, op, group, name, &row)) {
        return KITH_ENOMEM;
    }
    if (!cc_session_covered(&core->session, merge->order, group, name, &row)) {
        op->u.scan.behind = name;
        return KITH_ENOTREADY;
    }
    if (!cc_session_read(core, op, group, name, &row, holders)) {
        return KITH_ENOMEM;
    }
    merge->known += cc_session_wants(&core->session, merge->order, group, name) ? 1 : 0;
    if (merge->asked != holders) {
        cc_repair_note(op, &merge->repairs, name, merge->asked, holders);
    }
    merge->has_last = true;
    merge->last = name;
    if (row.sibling_count > 0) {
        merge->rows[merge->row_count].name = name;
        merge->rows[merge->row_count].row = row;
        merge->row_count++;
    }
    return KITH_OK;
}

struct absent {
    struct cc_op *op;
    bool found;
    struct kith_bytes name;
};

/* Stops at a name that no page has. */
static bool absent_one(void *arg, struct kith_bytes name)
{
    struct absent *absent = arg;
    for (uint32_t i = 0; i < absent->op->rep_count; i++) {
        const struct cc_rep *rep = &absent->op->reps[i];
        for (uint32_t n = 0; rep->state == CC_REP_HAVE && n < rep->row_count; n++) {
            if (kith_bytes_equal(rep->rows[n].name, name)) {
                return true;
            }
        }
    }
    absent->found = true;
    absent->name = name;
    return false;
}

/* Notes a row of the session that no page has. */
static enum kith_err note_absent(struct kith_client_core *core, struct cc_op *op,
                                 const struct merge *merge)
{
    struct cc_scan *scan = &op->u.scan;
    struct absent absent = {.op = op};
    cc_session_each(&core->session, merge->order, &scan->group, scan->has_after, scan->after,
                    merge->more, merge->last, absent_one, &absent);
    if (absent.found && !cc_op_keep(op, false, absent.name, &scan->behind)) {
        return KITH_ENOMEM;
    }
    return KITH_ENOTREADY;
}

/* OK; ENOTREADY: the pages do not cover what the session has seen. */
static enum kith_err merge_pages(struct kith_client_core *core, struct cc_op *op, bool degraded,
                                 struct merge *merge)
{
    struct cc_scan *scan = &op->u.scan;
    if (!merge_init(core, op, merge, &op->arena)) {
        return KITH_ENOMEM;
    }
    merge->order = degraded ? CC_SESSION_ANY : op->order;
    const struct cc_copy *copies[CC_REPS_MAX] = {0};
    struct kith_bytes name;
    while (merge_next(op, merge, &name, copies)) {
        enum kith_err err = merge_row(core, op, merge, name, copies);
        if (err != KITH_OK) {
            return err;
        }
    }
    /* rows of the session in this range that no page has; those that it has were counted */
    uint32_t wanted = cc_session_count(&core->session, merge->order, &scan->group, scan->has_after,
                                       scan->after, merge->more, merge->last);
    return wanted > merge->known ? note_absent(core, op, merge) : KITH_OK;
}

/* true: the op has ended. */
static bool finish(struct kith_client_core *core, struct cc_op *op, bool degraded, bool *ret_behind)
{
    struct merge merge;
    enum kith_err err = merge_pages(core, op, degraded, &merge);
    *ret_behind = err == KITH_ENOTREADY;
    if (*ret_behind) {
        return false;
    }
    if (err != KITH_OK) {
        cc_op_fail(core, op, err, "the pages cannot be merged: %s", kith_err_text((int)err));
        return true;
    }
    if (merge.repairs != NULL && !degraded) {
        cc_repair_send(core, op, merge.repairs, &op->u.scan.group);
    }
    op->result.err = KITH_OK;
    op->result.message = "";
    op->result.degraded = degraded;
    op->result.u.rows.row_count = merge.row_count;
    op->result.u.rows.rows = merge.rows;
    op->result.u.rows.more = merge.more;
    op->result.u.rows.last = merge.has_last ? merge.last : op->u.scan.after;
    cc_op_finish(core, op);
    return true;
}

static uint32_t ask_fallbacks(struct kith_client_core *core, struct cc_op *op)
{
    cc_replicas_fallbacks(core, op);
    for (uint32_t i = op->slots; i < op->rep_count; i++) {
        if (op->reps[i].state == CC_REP_NEW && cc_peer_link(core, op->reps[i].peer, false)) {
            ask(core, op, i);
        }
    }
    return cc_replicas_count(op, CC_REP_ASKED);
}

void cc_scan_drive(struct kith_client_core *core, struct cc_op *op)
{
    if (!cc_replicas_prepare(core, op, false)) {
        return;
    }
    cc_replicas_late(core, op, core->hedge_ms, CC_READ_TRY_MS);
    uint32_t have = cc_owners_count(op, CC_REP_HAVE);
    uint32_t want = op->need + op->extra;
    bool behind = false;
    if (cc_met(op)) {
        if (finish(core, op, false, &behind)) {
            return;
        }
        want = want <= have ? have + 1 : want;
    }
    for (uint32_t next = cc_replicas_next_read(core, op, want); next != CC_REPS_MAX;
         next = cc_replicas_next_read(core, op, want)) {
        ask(core, op, next);
    }
    uint32_t asked = cc_replicas_count(op, CC_REP_ASKED);
    op->waits = cc_replicas_lack(op, want);
    op->behind = op->behind || behind; /* for the message at the deadline */
    if (asked == 0 && cc_replicas_hope(core, op, false)) {
        return;
    }
    if (asked == 0 && (!cc_met(op) || behind)) {
        asked = ask_fallbacks(core, op);
    }
    /* a listing without any owner would be nearly empty: there is none */
    if (asked == 0 && cc_owner_has(op) && !behind && !op->strict &&
        finish(core, op, true, &behind)) {
        return;
    }
    op->behind = op->behind || behind;
    if (asked == 0 && behind) {
        cc_replicas_behind(core, op, op->u.scan.behind);
    } else if (asked == 0) {
        if (cc_replicas_short(core, op)) {
            return;
        }
        cc_replicas_again(core, op);
    }
    cc_replicas_watch(core, op, core->hedge_ms, CC_READ_TRY_MS);
}

/* Names ascend, lie behind `after`, and a page with more has at least one row. */
static bool page_is_valid(const struct cc_scan *scan, const struct kith_scan_res *res)
{
    if ((res->more && res->row_count == 0) || res->row_count > KITH_PAGE_ROWS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < res->row_count; i++) {
        struct kith_bytes name = res->rows[i].name;
        if (name.size > KITH_NAME_MAX) {
            return false;
        }
        if (i == 0 ? scan->has_after && kith_bytes_compare(name, scan->after) <= 0
                   : kith_bytes_compare(name, res->rows[i - 1].name) <= 0) {
            return false;
        }
    }
    return true;
}

static bool take_page(struct cc_op *op, struct cc_rep *rep, const struct kith_scan_res *res,
                      struct kith_msg_box *box)
{
    if (box != NULL && !cc_op_hold(op, box, NULL)) {
        return false;
    }
    rep->rows = kith_arena_calloc(&op->arena, res->row_count, sizeof(*rep->rows));
    if (rep->rows == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < res->row_count; i++) {
        struct cc_copy *copy = &rep->rows[i];
        copy->hash = res->rows[i].hash;
        copy->has_state = true;
        if (!cc_op_keep(op, box != NULL, res->rows[i].name, &copy->name) ||
            !cc_op_keep(op, box != NULL, res->rows[i].state, &copy->state)) {
            return false;
        }
    }
    rep->row_count = res->row_count;
    rep->more = res->more;
    return true;
}

void cc_scan_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                    const struct kith_msg *msg, struct kith_msg_box *box)
{
    struct cc_rep *rep = &op->reps[i];
    const struct kith_scan_res *res = &msg->u.scan_res;
    if (msg->kind != KITH_MSG_SCAN_RES) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers something else");
    } else if (res->status.err == KITH_ESTALE) {
        (void)cc_replica_stale(core, op, i, res->table); /* the drive sees which */
    } else if (cc_replica_denied(core, op, i, &res->status)) {
        return;
    } else if (res->status.err != KITH_OK) {
        cc_replica_failed(core, op, i, res->status.err, res->status.message);
    } else if (!page_is_valid(&op->u.scan, res)) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "sends a page out of order");
    } else if (!take_page(op, rep, res, box)) {
        cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
    } else {
        rep->state = CC_REP_HAVE;
        rep->err = KITH_OK;
    }
    cc_drive(core, op);
}
