/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/capacity.h"

#include "base/alloc.h"

struct member {
    const struct kith_capacity_node *said; /* NULL: never heard */
    uint32_t owned, held;                  /* partitions */
};

static void shares_count(const struct kith_table *table, struct member *members)
{
    for (uint32_t p = 0; p < table->partitions; p++) {
        uint16_t holders[KITH_HOLDERS_MAX];
        uint32_t count = kith_table_holders(table, p, holders);
        for (uint32_t i = 0; i < count; i++) {
            members[holders[i]].held++;
            members[holders[i]].owned += i < table->owner_slots ? 1 : 0;
        }
    }
}

/* Sizes are at most 2^63, which a double holds to a part in 2^53; a quotient may be more. */
static uint64_t whole(double bytes)
{
    return bytes >= 9e18 ? (uint64_t)9e18 : (uint64_t)bytes;
}

static void stored_sum(const struct kith_table *table, const struct member *members,
                       struct kith_capacity *ret_capacity)
{
    double bytes = 0.0, rows = 0.0, owned = 0.0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        if (members[i].said != NULL && members[i].owned > 0) {
            bytes += (double)members[i].said->data_bytes;
            rows += (double)members[i].said->rows;
            owned += (double)members[i].owned;
        }
    }
    double copies = owned / (double)table->partitions;
    ret_capacity->stored_bytes = owned > 0.0 ? whole(bytes / copies) : 0;
    ret_capacity->rows = owned > 0.0 ? whole(rows / copies) : 0;
}

static bool takes(const struct member *member)
{
    return member->held > 0 && (member->said == NULL || !member->said->full);
}

/* By how much the shares of those that take values are larger, as the full ones take none. */
static double rise(const struct kith_table *table, const struct member *members)
{
    double all = 0.0, taking = 0.0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        all += (double)members[i].held;
        taking += takes(&members[i]) ? (double)members[i].held : 0.0;
    }
    return taking > 0.0 ? all / taking : 0.0;
}

static bool same_disk(const struct member *a, const struct member *b)
{
    return a == b || (b->said != NULL && b->said->disk != 0 && b->said->disk == a->said->disk);
}

/* What users can store until the disk of `of` has no room; of->said and takes(of) hold. */
static double disk_free(const struct kith_table *table, const struct member *members,
                        const struct member *of, double factor)
{
    const struct kith_capacity_node *latest = of->said;
    double share = 0.0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        const struct member *member = &members[i];
        if (takes(member) && same_disk(of, member)) {
            double own = factor * (double)member->held / (double)table->partitions;
            share += own < 1.0 ? own : 1.0;
            latest = member->said->seen > latest->seen ? member->said : latest;
        }
    }
    return (double)latest->room_bytes / share;
}

enum kith_err kith_capacity_of(const struct kith_table *table,
                               const struct kith_capacity_node *nodes, uint32_t count,
                               struct kith_capacity *ret_capacity)
{
    struct member *members = kith_calloc(table->member_count, sizeof(*members));
    if (members == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint16_t at = kith_table_find(table, &nodes[i].node);
        if (at != KITH_NO_MEMBER) {
            members[at].said = &nodes[i];
        }
    }
    shares_count(table, members);
    double factor = rise(table, members), least = 0.0;
    bool heard = false, bound = false;
    for (uint32_t i = 0; i < table->member_count; i++) {
        heard = heard || (members[i].held > 0 && members[i].said != NULL);
        if (members[i].said != NULL && takes(&members[i])) {
            double bytes = disk_free(table, members, &members[i], factor);
            least = !bound || bytes < least ? bytes : least;
            bound = true;
        }
    }
    if (heard) {
        stored_sum(table, members, ret_capacity);
        ret_capacity->free_bytes = whole(least);
    }
    kith_free(members);
    return heard ? KITH_OK : KITH_ENOTFOUND;
}
