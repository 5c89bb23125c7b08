/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/plan/preview.h"

#include <string.h>

#include "base/alloc.h"
#include "ctl/format.h"
#include "data/balance.h"

bool kith_preview_absent(const struct kith_view *view, uint32_t node)
{
    bool heard = view->nodes[node].up;
    for (uint32_t i = 0; i < view->count; i++) {
        heard = heard || (view->nodes[i].up && view->hears[(size_t)i * view->count + node]);
    }
    return !heard;
}

/* ---- The tables ---- */

static bool in_plan(const struct kith_plan *plan, const struct kith_uuid *node)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        if (kith_uuid_equal(&plan->changes[i].node, node)) {
            return true;
        }
    }
    return false;
}

/* Members that nobody will hear of again: of those that leave the ones that are absent; by force
 * also those of which the plan says nothing. */
static uint32_t gone_list(const struct kith_view *view, const struct kith_plan *plan, bool force,
                          struct kith_uuid *ret_gone)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_uuid *uuid = &view->nodes[i].uuid;
        bool goes = kith_plan_leaves(plan, uuid) || (force && !in_plan(plan, uuid));
        if (goes && kith_preview_absent(view, i)) {
            ret_gone[count++] = *uuid;
        }
    }
    return count;
}

static enum kith_err tables_make(const struct kith_view *view, const struct kith_plan *plan,
                                 bool force, struct kith_preview *preview, struct kith_error *error)
{
    const struct kith_table *last = view->table;
    struct kith_member *members = kith_calloc(view->count + plan->count, sizeof(*members));
    struct kith_uuid *gone = kith_calloc(view->count, sizeof(*gone));
    struct kith_table *next = NULL;
    enum kith_err err = members && gone ? KITH_OK : KITH_ENOMEM;
    if (err == KITH_OK) {
        preview->gone = gone_list(view, plan, force, gone);
        uint32_t count = kith_plan_members(last, plan, gone, preview->gone, members);
        if (count == 0) {
            err = kith_error_set(error, KITH_EINVAL, "no node would be left");
        } else if (count > KITH_MEMBERS_MAX) {
            err = kith_error_set(error, KITH_EINVAL, "a cluster has at most %u nodes",
                                 KITH_MEMBERS_MAX);
        } else {
            err = kith_balance(last, &last->cluster, last->partitions, last->replicas, members,
                               count, &next);
        }
    }
    if (err == KITH_OK) {
        err = kith_table_move(last, next, force, gone, preview->gone, &preview->joint);
        preview->moves = kith_balance_moves(last, next);
    }
    if (err != KITH_OK && (err != KITH_EINVAL || next)) {
        (void)kith_error_set(error, err, "the next table cannot be made: %s",
                             kith_err_text((int)err));
    }
    kith_table_drop(next);
    kith_free(members);
    kith_free(gone);
    return err;
}

/* ---- Who has what, and who gets it ---- */

/* The member of the view that a member of the joint table is; KITH_NO_MEMBER: it joins. */
static uint16_t in_view(const struct kith_preview *preview, const struct kith_view *view,
                        uint32_t member)
{
    return kith_table_find(view->table, &preview->joint->members[member].uuid);
}

static void nodes_count(struct kith_preview *preview, const struct kith_view *view)
{
    const struct kith_table *joint = preview->joint;
    for (uint32_t i = 0; i < joint->member_count; i++) {
        uint16_t index = in_view(preview, view, i);
        preview->nodes[i].up = index == KITH_NO_MEMBER || !kith_preview_absent(view, index);
        preview->unclear += (joint->after[i].flags & KITH_MEMBER_LEAVES) && preview->nodes[i].up &&
                            !view->nodes[index].up;
    }
    for (uint32_t p = 0; p < joint->partitions; p++) {
        const uint16_t *owners = kith_table_owners(joint, p);
        const uint16_t *next = kith_table_next_owners(joint, p);
        for (uint32_t i = 0; i < joint->owner_slots; i++) {
            preview->nodes[owners[i]].before++;
        }
        for (uint32_t i = 0; i < joint->next_slots; i++) {
            preview->nodes[next[i]].after++;
        }
    }
    for (uint32_t i = 0; i < joint->member_count; i++) {
        const struct kith_preview_node *node = &preview->nodes[i];
        preview->least += node->after > node->before ? node->after - node->before : 0;
    }
}

/* What a partition weighs with that owner; 0 where he has not said so. */
static uint64_t weight_with(const struct kith_preview *preview, const struct kith_view *view,
                            uint16_t member)
{
    uint16_t index = in_view(preview, view, member);
    if (index == KITH_NO_MEMBER || !view->nodes[index].up || view->nodes[index].owned == 0) {
        return 0;
    }
    const struct kith_view_node *node = &view->nodes[index];
    return (node->row_bytes + node->chunk_bytes) / node->owned;
}

/* One partition: its weight is the mean of those who say it, and they share in sending it. */
static void partition_share(struct kith_preview *preview, const struct kith_view *view,
                            uint32_t partition)
{
    const struct kith_table *joint = preview->joint;
    const uint16_t *owners = kith_table_owners(joint, partition);
    const uint16_t *next = kith_table_next_owners(joint, partition);
    uint64_t sum = 0;
    uint32_t says = 0;
    uint32_t gains = 0;
    for (uint32_t i = 0; i < joint->owner_slots; i++) {
        uint16_t index = in_view(preview, view, owners[i]);
        bool up = index != KITH_NO_MEMBER && view->nodes[index].up;
        says += up;
        sum += up ? weight_with(preview, view, owners[i]) : 0;
    }
    uint64_t weight = says > 0 ? sum / says : 0;
    for (uint32_t i = 0; i < joint->next_slots; i++) {
        struct kith_preview_node *node = &preview->nodes[next[i]];
        if (kith_table_owns(joint, partition, next[i])) {
            uint64_t own = weight_with(preview, view, next[i]);
            node->data_after += own > 0 ? own : weight;
        } else {
            gains++;
            node->receives += weight;
            node->data_after += weight;
        }
    }
    for (uint32_t i = 0; i < joint->owner_slots && says > 0; i++) {
        uint16_t index = in_view(preview, view, owners[i]);
        if (index != KITH_NO_MEMBER && view->nodes[index].up) {
            preview->nodes[owners[i]].sends += gains * weight / says;
        }
    }
    preview->bytes += gains * weight;
}

static void bytes_share(struct kith_preview *preview, const struct kith_view *view)
{
    uint64_t most = 0;
    for (uint32_t p = 0; p < preview->joint->partitions; p++) {
        partition_share(preview, view, p);
    }
    for (uint32_t i = 0; i < preview->joint->member_count; i++) {
        const struct kith_preview_node *node = &preview->nodes[i];
        most = node->receives > most ? node->receives : most;
        most = node->sends > most ? node->sends : most;
    }
    preview->seconds = (most + preview->rate - 1) / preview->rate;
}

/* ---- Copies ---- */

static bool gone(const struct kith_table *joint, uint16_t member)
{
    return (joint->after[member].flags & KITH_MEMBER_GONE) != 0;
}

/* Those of the owners that are up; `after`: in the zones where they will be. */
static struct kith_preview_spread spread_of(const struct kith_preview *preview,
                                            const uint16_t *owners, uint32_t count, bool after)
{
    const struct kith_table *joint = preview->joint;
    struct kith_preview_spread spread = {0, 0};
    for (uint32_t i = 0; i < count; i++) {
        const char *zone = after ? joint->after[owners[i]].zone : joint->members[owners[i]].zone;
        bool again = false;
        if (!preview->nodes[owners[i]].up) {
            continue;
        }
        for (uint32_t k = 0; k < i; k++) {
            const char *other =
                after ? joint->after[owners[k]].zone : joint->members[owners[k]].zone;
            again = again || (preview->nodes[owners[k]].up && strcmp(zone, other) == 0);
        }
        spread.owners++;
        spread.zones += !again;
    }
    return spread;
}

static void spread_least(struct kith_preview_spread *least, struct kith_preview_spread one)
{
    least->owners = one.owners < least->owners ? one.owners : least->owners;
    least->zones = one.zones < least->zones ? one.zones : least->zones;
}

static void copies_count(struct kith_preview *preview)
{
    const struct kith_table *joint = preview->joint;
    const struct kith_preview_spread most = {UINT32_MAX, UINT32_MAX};
    preview->now = preview->afterwards = most;
    for (uint32_t p = 0; p < joint->partitions; p++) {
        const uint16_t *owners = kith_table_owners(joint, p);
        uint32_t left = 0;
        for (uint32_t i = 0; i < joint->owner_slots; i++) {
            left += !gone(joint, owners[i]);
        }
        preview->short_owners += left < joint->owner_slots / 2 + 1;
        preview->no_owner += left == 0;
        spread_least(&preview->now, spread_of(preview, owners, joint->owner_slots, false));
        spread_least(&preview->afterwards,
                     spread_of(preview, kith_table_next_owners(joint, p), joint->next_slots, true));
    }
    preview->meanwhile =
        preview->now; /* the owners stay what they are until the next ones have all */
}

enum kith_err kith_preview_make(const struct kith_view *view, const struct kith_plan *plan,
                                bool force, uint64_t rate, struct kith_preview *ret_preview,
                                struct kith_error *error)
{
    struct kith_preview preview;
    memset(&preview, 0, sizeof(preview));
    preview.rate = rate > 0 && rate < KITH_PREVIEW_RATE ? rate : KITH_PREVIEW_RATE;
    enum kith_err err = tables_make(view, plan, force, &preview, error);
    if (err == KITH_OK) {
        preview.nodes = kith_calloc(preview.joint->member_count, sizeof(*preview.nodes));
        err = preview.nodes ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (err != KITH_OK) {
        kith_preview_release(&preview);
        return err;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        preview.custody += view->nodes[i].up ? view->nodes[i].custody : 0;
    }
    nodes_count(&preview, view);
    bytes_share(&preview, view);
    copies_count(&preview);
    *ret_preview = preview;
    return KITH_OK;
}

void kith_preview_release(struct kith_preview *preview)
{
    kith_table_drop(preview->joint);
    kith_free(preview->nodes);
    memset(preview, 0, sizeof(*preview));
}
