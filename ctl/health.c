/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/health.h"

#include <string.h>

static bool hears(const struct kith_reach *reach, uint16_t who, uint16_t whom)
{
    return who == whom || !reach->hears || reach->hears[(size_t)who * reach->count + whom];
}

struct kith_partition_health kith_partition_health(const struct kith_table *table,
                                                   uint32_t partition,
                                                   const struct kith_reach *reach)
{
    const uint16_t *owners = kith_table_owners(table, partition);
    uint32_t quorum = table->owner_slots / 2 + 1;
    struct kith_partition_health health = {0, false, false};
    for (uint32_t i = 0; i < table->owner_slots; i++) {
        uint32_t together = 0; /* itself, and those that it can bring the write to */
        health.up += reach->up[owners[i]];
        for (uint32_t k = 0; reach->up[owners[i]] && k < table->owner_slots; k++) {
            together += reach->up[owners[k]] && hears(reach, owners[i], owners[k]);
        }
        health.writable = health.writable || together >= quorum;
    }
    health.readable = health.up >= quorum;
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
