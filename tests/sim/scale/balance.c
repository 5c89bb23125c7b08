/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * balance.c - the partition table: how even it is, and what a change of it moves against the least
 * that it must move; see scale.h.
 *
 * The least: of a join what the newcomer's weight entitles it to (or what is left for it where its
 * zone has a whole copy already), of a leave what the leaver held. The numbers of nodes are such
 * that each zone has the same weight: nothing but whole partitions stands in the way of a table
 * that is quite even. */
#include <stdio.h>
#include <string.h>

#include "scale.h"

static uint32_t owned_by(const struct kith_table *table, const struct kith_uuid *uuid)
{
    uint16_t member = kith_table_find(table, uuid);
    uint32_t count = 0;
    for (uint32_t p = 0; member != KITH_NO_MEMBER && p < table->partitions; p++) {
        count += kith_table_owns(table, p, member) ? 1 : 0;
    }
    return count;
}

/* Replicas that a member of that weight is entitled to. */
static double fair(const struct kith_table *table, uint32_t weight)
{
    double weights = 0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        weights += table->members[i].weight;
    }
    return (double)table->partitions * table->owner_slots * weight / weights;
}

/* Replicas of the most and of the least loaded member, over what they are entitled to. */
static void extremes(const struct kith_table *table, double *ret_most, double *ret_least)
{
    static uint32_t counts[KITH_MEMBERS_MAX];
    double one = fair(table, 1);
    memset(counts, 0, sizeof counts);
    for (uint32_t i = 0; i < table->partitions * table->owner_slots; i++) {
        counts[table->owners[i]]++;
    }
    *ret_most = 0;
    *ret_least = 1e9;
    for (uint32_t i = 0; i < table->member_count; i++) {
        double load = counts[i] / (one * table->members[i].weight);
        *ret_most = load > *ret_most ? load : *ret_most;
        *ret_least = load < *ret_least ? load : *ret_least;
    }
}

/* Partitions whose owners are not in as many zones as there could be. */
static uint32_t narrow(const struct kith_table *table)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < table->partitions; p++) {
        const uint16_t *owners = kith_table_owners(table, p);
        const char *zones[SCALE_REPLICAS];
        for (uint32_t k = 0; k < SCALE_REPLICAS; k++) {
            zones[k] = table->members[owners[k]].zone;
        }
        bool all = strcmp(zones[0], zones[1]) != 0 && strcmp(zones[0], zones[2]) != 0 &&
                   strcmp(zones[1], zones[2]) != 0;
        count += all ? 0 : 1;
    }
    return count;
}

static struct kith_table *table_after(const struct kith_table *last, uint32_t partitions,
                                      const struct kith_member *members, uint32_t count)
{
    static const struct kith_uuid cluster = {{7}};
    struct kith_table *table = NULL;
    enum kith_err err =
        kith_balance(last, &cluster, partitions, SCALE_REPLICAS, members, count, &table);
    KITH_ASSERT(err == KITH_OK);
    return table;
}

static bool one(uint32_t partitions, uint32_t count)
{
    static struct kith_member members[KITH_MEMBERS_MAX];
    for (uint32_t i = 0; i <= count; i++) {
        members[i] = scale_member(i);
    }
    struct kith_table *table = table_after(NULL, partitions, members, count);
    struct kith_table *joined = table_after(table, partitions, members, count + 1);
    struct kith_table *left = table_after(table, partitions, members, count - 1);
    double most = 0, least = 0;
    extremes(table, &most, &least);
    double newcomer = fair(joined, members[count].weight);
    uint32_t owned = owned_by(table, &members[count - 1].uuid);
    uint32_t join_moves = kith_balance_moves(table, joined);
    uint32_t leave_moves = kith_balance_moves(table, left);
    uint32_t all = partitions * SCALE_REPLICAS;
    printf("%u\t%u\t%.3f\t%.3f\t%u\t%u\t%.1f\t%.3f\t%u\t%u\t%.3f\n", partitions, count, most, least,
           narrow(table), join_moves, newcomer, 100.0 * join_moves / all, leave_moves, owned,
           100.0 * leave_moves / all);
    kith_table_drop(table);
    kith_table_drop(joined);
    kith_table_drop(left);
    return join_moves <= newcomer + 1 && leave_moves == owned;
}

bool scale_balance(void)
{
    static const uint32_t counts[] = {9, 27, 99, 297, 999};
    static const uint32_t partitions[] = {1024, 4096, 32768};
    bool least = true;
    printf("Q\tnodes\tmost/fair\tleast/fair\tnarrow\tjoin\tfair\t%%\tleave\theld\t%%\n");
    for (uint32_t q = 0; q < 3; q++) {
        for (uint32_t i = 0; i < 5; i++) {
            least = one(partitions[q], counts[i]) && least;
        }
    }
    return least;
}
