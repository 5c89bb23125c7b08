/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * table_move.c - the tables of a move: joint ones, and those that end them.
 *
 *     last  --kith_table_move-->  joint (owners of last; those of `next` beside)
 *                                   |-- kith_table_settle --> the owners of `next`
 *                                   `-- kith_table_revert --> the owners of last
 *
 * The two configurations of one step, as in Ongaro 2014, "Consensus: bridging theory and practice",
 * section 4.3. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "data/table_internal.h"

static bool gone_named(const struct kith_uuid *uuid, const struct kith_uuid *gone, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (kith_uuid_equal(&gone[i], uuid)) {
            return true;
        }
    }
    return false;
}

/* ---- last and next side by side ---- */

struct merge {
    const struct kith_table *last, *next;
    uint32_t at_last, at_next;
};

/* The next member of both, by uuid; its index in each, or KITH_NO_MEMBER. False: there is none. */
static bool merge_step(struct merge *merge, uint16_t *ret_last, uint16_t *ret_next)
{
    const struct kith_table *last = merge->last, *next = merge->next;
    bool has_last = merge->at_last < last->member_count;
    bool has_next = merge->at_next < next->member_count;
    if (!has_last && !has_next) {
        return false;
    }
    int order = !has_last   ? 1
                : !has_next ? -1
                            : kith_uuid_compare(&last->members[merge->at_last].uuid,
                                                &next->members[merge->at_next].uuid);
    *ret_last = order <= 0 ? (uint16_t)merge->at_last++ : KITH_NO_MEMBER;
    *ret_next = order >= 0 ? (uint16_t)merge->at_next++ : KITH_NO_MEMBER;
    return true;
}

static void after_set(struct kith_member_next *after, const struct kith_member *member)
{
    memcpy(after->zone, member->zone, sizeof(after->zone));
    after->weight = member->weight;
}

/* Fills in the members, and where those of last and next are among them. */
static void members_merge(const struct kith_table *last, const struct kith_table *next,
                          struct kith_table_parts *parts, uint16_t *of_last, uint16_t *of_next)
{
    struct merge merge = {.last = last, .next = next};
    uint16_t in_last, in_next;
    for (uint16_t i = 0; merge_step(&merge, &in_last, &in_next); i++) {
        bool joins = in_last == KITH_NO_MEMBER, leaves = in_next == KITH_NO_MEMBER;
        const struct kith_member *before =
            joins ? &next->members[in_next] : &last->members[in_last];
        parts->members[i] = *before;
        after_set(&parts->after[i], leaves ? before : &next->members[in_next]);
        if (joins) {
            parts->after[i].flags = KITH_MEMBER_JOINS;
        } else {
            of_last[in_last] = i;
        }
        if (leaves) {
            parts->after[i].flags = KITH_MEMBER_LEAVES;
        } else {
            of_next[in_next] = i;
        }
    }
}

static uint32_t members_count(const struct kith_table *last, const struct kith_table *next)
{
    struct merge merge = {.last = last, .next = next};
    uint16_t in_last, in_next;
    uint32_t count = 0;
    while (merge_step(&merge, &in_last, &in_next)) {
        count++;
    }
    return count;
}

static void owners_map(const uint16_t *owners, size_t pairs, const uint16_t *map,
                       uint16_t *ret_owners)
{
    for (size_t i = 0; i < pairs; i++) {
        ret_owners[i] = map[owners[i]];
    }
}

/* Takes the table over. */
static enum kith_err sealed(struct kith_table *table, struct kith_table **ret_table)
{
    enum kith_err err = kith_table_seal(table);
    if (err == KITH_OK) {
        *ret_table = table;
    } else {
        kith_free(table);
    }
    return err;
}

enum kith_err kith_table_move(const struct kith_table *last, const struct kith_table *next,
                              bool force, const struct kith_uuid *gone, uint32_t gone_count,
                              struct kith_table **ret_table)
{
    if (kith_table_is_joint(last) || kith_table_is_joint(next) ||
        last->partitions != next->partitions || last->replicas != next->replicas) {
        return KITH_EINVAL;
    }
    struct kith_table_shape shape = {.partitions = last->partitions,
                                     .replicas = last->replicas,
                                     .member_count = members_count(last, next),
                                     .owner_slots = last->owner_slots,
                                     .next_slots = next->owner_slots};
    if (shape.member_count > KITH_MEMBERS_MAX) {
        return KITH_EINVAL;
    }
    struct kith_table_parts parts;
    struct kith_table *table = kith_table_alloc(&shape, &parts);
    uint16_t *of_last = kith_calloc(last->member_count, sizeof(*of_last));
    uint16_t *of_next = kith_calloc(next->member_count, sizeof(*of_next));
    enum kith_err err = KITH_ENOMEM;
    if (table && of_last && of_next) {
        table->cluster = last->cluster;
        table->id.epoch = last->id.epoch + (force ? 1 : 0);
        table->id.version = last->id.version + 1;
        members_merge(last, next, &parts, of_last, of_next);
        for (uint32_t i = 0; i < shape.member_count; i++) {
            bool leaves = (parts.after[i].flags & KITH_MEMBER_LEAVES) != 0;
            if (leaves && gone_named(&parts.members[i].uuid, gone, gone_count)) {
                parts.after[i].flags |= KITH_MEMBER_GONE;
            }
        }
        size_t partitions = last->partitions;
        owners_map(last->owners, partitions * last->owner_slots, of_last, parts.owners);
        owners_map(next->owners, partitions * next->owner_slots, of_next, parts.next);
        err = sealed(table, ret_table);
    } else {
        kith_free(table);
    }
    kith_free(of_last);
    kith_free(of_next);
    return err;
}

/* ---- Out of a joint table ---- */

/* The table with those owners and the members that have not `flag`. */
static enum kith_err joint_end(const struct kith_table *joint, bool settle,
                               struct kith_table **ret_table)
{
    if (!kith_table_is_joint(joint)) {
        return KITH_EINVAL;
    }
    unsigned flag = settle ? KITH_MEMBER_LEAVES : KITH_MEMBER_JOINS;
    struct kith_member *members = kith_calloc(joint->member_count, sizeof(*members));
    uint16_t *map = kith_calloc(joint->member_count, sizeof(*map));
    uint32_t slots = settle ? joint->next_slots : joint->owner_slots;
    size_t pairs = (size_t)joint->partitions * slots;
    uint16_t *owners = kith_calloc(pairs, sizeof(*owners));
    enum kith_err err = KITH_ENOMEM;
    if (members && map && owners) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < joint->member_count; i++) {
            if (joint->after[i].flags & flag) {
                continue;
            }
            members[count] = joint->members[i];
            if (settle) {
                memcpy(members[count].zone, joint->after[i].zone, sizeof(members[count].zone));
                members[count].weight = joint->after[i].weight;
            }
            map[i] = (uint16_t)count;
            count++;
        }
        owners_map(settle ? joint->next : joint->owners, pairs, map, owners);
        err = kith_table_new(&joint->cluster, joint->id.epoch, joint->id.version + 1,
                             joint->partitions, joint->replicas, members, count, owners, ret_table);
    }
    kith_free(members);
    kith_free(map);
    kith_free(owners);
    return err;
}

enum kith_err kith_table_settle(const struct kith_table *joint, struct kith_table **ret_table)
{
    return joint_end(joint, true, ret_table);
}

enum kith_err kith_table_revert(const struct kith_table *joint, struct kith_table **ret_table)
{
    return joint_end(joint, false, ret_table);
}

enum kith_err kith_table_renumber(const struct kith_table *last, struct kith_table **ret_table)
{
    struct kith_table_shape shape = {.partitions = last->partitions,
                                     .replicas = last->replicas,
                                     .member_count = last->member_count,
                                     .owner_slots = last->owner_slots,
                                     .next_slots = last->next_slots};
    struct kith_table_parts parts;
    struct kith_table *table = kith_table_alloc(&shape, &parts);
    if (!table) {
        return KITH_ENOMEM;
    }
    table->cluster = last->cluster;
    table->id.epoch = last->id.epoch;
    table->id.version = last->id.version + 1;
    size_t partitions = last->partitions;
    memcpy(parts.members, last->members, last->member_count * sizeof(*parts.members));
    memcpy(parts.owners, last->owners, partitions * last->owner_slots * sizeof(*parts.owners));
    if (kith_table_is_joint(last)) {
        memcpy(parts.after, last->after, last->member_count * sizeof(*parts.after));
        memcpy(parts.next, last->next, partitions * last->next_slots * sizeof(*parts.next));
    }
    return sealed(table, ret_table);
}

/* ---- What may follow ---- */

/* Whether these are the same members, partition by partition, whatever their order and indices. */
static bool owners_same(const struct kith_table *a, const uint16_t *owners_a, uint32_t slots_a,
                        const struct kith_table *b, const uint16_t *owners_b, uint32_t slots_b)
{
    if (a->partitions != b->partitions || slots_a != slots_b) {
        return false;
    }
    size_t pairs = (size_t)a->partitions * slots_a;
    for (size_t i = 0; i < pairs; i++) {
        bool found = false;
        for (size_t k = i - i % slots_a; !found && k < i - i % slots_a + slots_a; k++) {
            found = kith_uuid_equal(&a->members[owners_a[i]].uuid, &b->members[owners_b[k]].uuid);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

bool kith_table_follows(const struct kith_table *last, const struct kith_table *next)
{
    if (owners_same(last, last->owners, last->owner_slots, next, next->owners, next->owner_slots)) {
        return true;
    }
    return kith_table_is_joint(last) && !kith_table_is_joint(next) &&
           owners_same(last, last->next, last->next_slots, next, next->owners, next->owner_slots);
}
