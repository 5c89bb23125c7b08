/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * groups.c - GROUPS: which groups of a volume a partition has, as R owners know together.
 *
 *     A: a b c d | more          a page that has more says nothing about what is behind its last one, so
 *     B: a   c   f               a b c d are given out, and the next question goes on behind d
 *
 * Nothing of it is degraded or remembered: who is told of a group reads what he wants of it. */
#include <string.h>

#include "client/core.h"

static void ask(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    struct kith_msg *msg = cc_message(core, KITH_MSG_GROUPS_REQ);
    if (msg != NULL) {
        struct kith_groups_req *req = &msg->u.groups_req;
        req->table = op->table->id;
        req->timeout_ms = cc_op_left_ms(core, op);
        req->partition = op->u.groups.partition;
        req->volume = op->u.groups.volume;
        req->has_after = op->u.groups.has_after;
        req->after = op->u.groups.after;
    }
    cc_replica_ask(core, op, i, msg);
}

/* The smallest group of the pages behind those that were taken. */
static const struct kith_group *next_group(const struct cc_op *op, const uint32_t at[CC_REPS_MAX])
{
    const struct kith_group *first = NULL;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        const struct cc_groups_page *page = &op->u.groups.pages[i];
        if (op->reps[i].state == CC_REP_HAVE && at[i] < page->count &&
            (first == NULL || kith_group_compare(&page->groups[at[i]], first) < 0)) {
            first = &page->groups[at[i]];
        }
    }
    return first;
}

static void finish(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t at[CC_REPS_MAX] = {0}, count = 0, total = 0;
    const struct kith_group *bound = NULL, *group;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        const struct cc_groups_page *page = &op->u.groups.pages[i];
        if (op->reps[i].state == CC_REP_HAVE) {
            total += page->count;
            if (page->more && (bound == NULL ||
                               kith_group_compare(&page->groups[page->count - 1], bound) < 0)) {
                bound = &page->groups[page->count - 1];
            }
        }
    }
    struct kith_group *groups = kith_arena_calloc(&op->arena, total + 1u, sizeof *groups);
    if (groups == NULL) {
        cc_op_fail(core, op, KITH_ENOMEM, "out of memory");
        return;
    }
    while ((group = next_group(op, at)) != NULL &&
           (bound == NULL || kith_group_compare(group, bound) <= 0)) {
        groups[count] = *group;
        for (uint32_t i = 0; i < op->rep_count; i++) {
            const struct cc_groups_page *page = &op->u.groups.pages[i];
            at[i] += op->reps[i].state == CC_REP_HAVE && at[i] < page->count &&
                             kith_group_compare(&page->groups[at[i]], &groups[count]) == 0
                         ? 1
                         : 0;
        }
        count++;
    }
    op->result.err = KITH_OK;
    op->result.message = "";
    op->result.u.groups.more = bound != NULL;
    op->result.u.groups.partitions = op->table->partitions;
    op->result.u.groups.count = count;
    op->result.u.groups.groups = groups;
    cc_op_finish(core, op);
}

void cc_groups_drive(struct kith_client_core *core, struct cc_op *op)
{
    if (core->table != NULL && op->u.groups.partition >= core->table->partitions) {
        cc_op_fail(core, op, KITH_EINVAL, "there is no partition %u", op->u.groups.partition);
        return;
    }
    if (!cc_replicas_prepare(core, op, false)) {
        return;
    }
    cc_replicas_late(core, op, core->hedge_ms, CC_READ_TRY_MS);
    if (cc_met(op)) {
        finish(core, op);
        return;
    }
    uint32_t want = op->need + op->extra;
    for (uint32_t next = cc_replicas_next_read(core, op, want); next != CC_REPS_MAX;
         next = cc_replicas_next_read(core, op, want)) {
        ask(core, op, next);
    }
    uint32_t asked = cc_replicas_count(op, CC_REP_ASKED);
    op->waits = cc_replicas_lack(op, want);
    if (asked == 0) {
        if (cc_replicas_hope(core, op, false) || cc_replicas_short(core, op)) {
            return;
        }
        cc_replicas_again(core, op);
    }
    cc_replicas_watch(core, op, core->hedge_ms, CC_READ_TRY_MS);
}

/* Groups ascend, are of that volume, lie behind `after`, and a page with more has at least one. */
static bool page_is_valid(const struct cc_groups *asked, const struct kith_groups_res *res)
{
    const struct kith_group *before = asked->has_after ? &asked->after : NULL;
    for (uint32_t i = 0; i < res->group_count; i++) {
        if (kith_group_volume(&res->groups[i]) != asked->volume ||
            (before != NULL && kith_group_compare(&res->groups[i], before) <= 0)) {
            return false;
        }
        before = &res->groups[i];
    }
    return res->group_count > 0 || !res->more;
}

void cc_groups_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                      const struct kith_msg *msg)
{
    const struct kith_groups_res *res = &msg->u.groups_res;
    struct cc_groups_page *page = &op->u.groups.pages[i];
    if (msg->kind != KITH_MSG_GROUPS_RES) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers something else");
    } else if (res->status.err == KITH_ESTALE) {
        (void)cc_replica_stale(core, op, i, res->table); /* the drive sees which */
    } else if (cc_replica_denied(core, op, i, &res->status)) {
        return;
    } else if (res->status.err != KITH_OK) {
        cc_replica_failed(core, op, i, res->status.err, res->status.message);
    } else if (!page_is_valid(&op->u.groups, res)) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "sends a list out of order");
    } else {
        page->more = res->more;
        page->count = res->group_count;
        page->groups =
            kith_arena_copy(&op->arena, res->groups, res->group_count * sizeof *res->groups);
        if (page->groups == NULL && page->count > 0) {
            cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
        } else {
            op->reps[i].state = CC_REP_HAVE;
            op->reps[i].err = KITH_OK;
        }
    }
    cc_drive(core, op);
}
