/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plan_store.c - the row that holds what is staged: an ordinary one, in the cluster's own volume,
 * which no user's key lies in. Two who stage at the same time make siblings; who reads next merges
 * them. */
#include <string.h>

#include "base/alloc.h"
#include "ctl/plan/plan.h"
#include "ctl/report.h"

static const uint8_t own[12] = "plan";

struct kith_group kith_plan_group(void)
{
    return kith_group_make(KITH_VOLUME_CLUSTER, own);
}

static struct kith_bytes plan_name(void)
{
    return kith_bytes_make("staged", 6);
}

/* The older ones first: of two that contradict each other the later one counts. */
static const struct kith_sibling *next_older(const struct kith_row *row, uint64_t after_time,
                                             const struct kith_sibling *after)
{
    const struct kith_sibling *found = NULL;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        bool behind = !after || sibling->time > after_time ||
                      (sibling->time == after_time && sibling > after);
        if (sibling->kind == KITH_SIBLING_VALUE && behind &&
            (!found || sibling->time < found->time)) {
            found = sibling;
        }
    }
    return found;
}

static enum kith_err siblings_merge(const struct kith_row *row, struct kith_plan *plan,
                                    struct kith_plan *each, uint32_t *ret_count, bool *ret_other,
                                    struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    const struct kith_sibling *sibling = next_older(row, 0, NULL);
    plan->count = 0;
    *ret_count = 0;
    *ret_other = false;
    for (; err == KITH_OK && sibling; sibling = next_older(row, sibling->time, sibling)) {
        err = kith_plan_decode(sibling->value, each, error);
        for (uint32_t i = 0; err == KITH_OK && i < each->count; i++) {
            bool other = false;
            err = kith_plan_add(plan, &each->changes[i], &other, error);
            *ret_other = *ret_other || other;
        }
        ++*ret_count;
    }
    return err;
}

enum kith_err kith_plan_load(const struct kith_ctl_args *args, const struct kith_door *door,
                             struct kith_plan *ret_plan, struct kith_buf *context,
                             struct kith_error *error)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    struct kith_bytes name = plan_name();
    struct kith_plan *each = kith_calloc(1, sizeof(*each));
    if (!each) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_GET;
    op.timeout_ms = kith_door_left_ms(door);
    op.u.get.group = kith_plan_group();
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    ret_plan->count = 0;
    enum kith_err err = kith_door_call(door->client, &op, &answer, error);
    if (err != KITH_OK) {
        err = kith_error_wrap(error, "what is staged cannot be read");
    } else {
        struct kith_row row = answer.result.u.rows.rows[0].row;
        uint32_t count = 0;
        bool other = false;
        struct kith_row clock = row;
        clock.sibling_count = 0; /* the next state takes the place of all */
        clock.siblings = NULL;
        if (context && !kith_row_is_empty(&clock)) {
            kith_row_encode(&clock, context);
        }
        err = siblings_merge(&row, ret_plan, each, &count, &other, error);
        if (err == KITH_OK && count > 1) {
            kith_report_warning(
                args->json, "%u plans were staged at the same time; they are merged%s", count,
                other ? ", and where they contradict each other the latest counts" : "");
        }
        if (context && context->failed) {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    kith_client_answer_release(&answer);
    kith_free(each);
    return err;
}

enum kith_err kith_plan_save(const struct kith_door *door, const struct kith_plan *plan,
                             struct kith_bytes context, struct kith_error *error)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    struct kith_put_update update;
    struct kith_buf value;
    kith_buf_init(&value);
    memset(&op, 0, sizeof(op));
    memset(&update, 0, sizeof(update));
    if (plan->count > 0 && kith_plan_encode(plan, &value) != KITH_OK) {
        kith_buf_release(&value);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    update.name = plan_name();
    update.context = context;
    update.has_sibling = plan->count > 0;
    update.kind = KITH_SIBLING_VALUE;
    update.value = kith_buf_bytes(&value);
    op.kind = KITH_CLIENT_PUT;
    op.timeout_ms = kith_door_left_ms(door);
    op.u.put.group = kith_plan_group();
    op.u.put.durability = KITH_DURABLE_DISK;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    enum kith_err err = kith_door_call(door->client, &op, &answer, error);
    kith_client_answer_release(&answer);
    kith_buf_release(&value);
    return err == KITH_OK ? KITH_OK : kith_error_wrap(error, "the plan cannot be stored");
}
