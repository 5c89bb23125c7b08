/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/screens/health.h"

#include <string.h>

static bool hears(const struct kith_reach *reach, uint16_t who, uint16_t whom)
{
    return who == whom || !reach->hears || reach->hears[(size_t)who * reach->count + whom];
}

/* Of those, itself and those that it can bring the write to: whether they are a majority. */
static bool brings(const struct kith_reach *reach, uint16_t who, const uint16_t *members,
                   uint32_t count)
{
    uint32_t together = 0;
    for (uint32_t k = 0; k < count; k++) {
        together += reach->up[members[k]] && hears(reach, who, members[k]);
    }
    return together >= count / 2 + 1;
}

struct kith_partition_health kith_partition_health(const struct kith_table *table,
                                                   uint32_t partition,
                                                   const struct kith_reach *reach)
{
    const uint16_t *owners = kith_table_owners(table, partition);
    uint32_t quorum = table->owner_slots / 2 + 1;
    struct kith_partition_health health = {0, false, false};
    uint32_t readers = 0;
    for (uint32_t i = 0; i < table->owner_slots; i++) {
        health.up += reach->up[owners[i]];
        readers += reach->reads ? reach->reads[owners[i]] : reach->up[owners[i]];
        bool writable =
            reach->up[owners[i]] && brings(reach, owners[i], owners, table->owner_slots) &&
            (!kith_table_is_joint(table) ||
             brings(reach, owners[i], kith_table_next_owners(table, partition), table->next_slots));
        health.writable = health.writable || writable;
    }
    health.readable = readers >= quorum;
    return health;
}

struct kith_health kith_health_of(const struct kith_table *table, const struct kith_reach *reach)
{
    struct kith_health health;
    memset(&health, 0, sizeof(health));
    health.quorum = table->owner_slots / 2 + 1;
    health.partitions = table->partitions;
    for (uint32_t p = 0; p < table->partitions; p++) {
        struct kith_partition_health one = kith_partition_health(table, p, reach);
        health.unreadable += !one.readable;
        health.unwritable += !one.writable;
        health.ownerless += one.up == 0;
        health.thin += one.up < table->owner_slots;
    }
    return health;
}
