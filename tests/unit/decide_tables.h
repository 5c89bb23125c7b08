/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * decide_tables.h - tables to agree on, for the tests of decide.h. Include after cmocka.h. */
#ifndef KITH_UNIT_DECIDE_TABLES_H
#define KITH_UNIT_DECIDE_TABLES_H

#include <string.h>

#include "core/table/decide.h"
#include "data/balance.h"

#define NODES_MAX 5u

static const struct kith_uuid cluster = {{0xc1}};

static inline struct kith_member member_make(uint32_t index, uint32_t weight)
{
    struct kith_member member;
    memset(&member, 0, sizeof(member));
    member.uuid.bytes[0] = (uint8_t)(index + 1);
    member.weight = weight;
    return member;
}

/* A table after `last` that differs with `salt`. */
static inline void next_encode(const struct kith_table *last, uint32_t salt, struct kith_buf *buf)
{
    struct kith_member members[NODES_MAX];
    for (uint32_t i = 0; i < last->member_count; i++) {
        members[i] = last->members[i];
        members[i].weight = 1 + salt % KITH_WEIGHT_MAX;
    }
    struct kith_table *next = NULL;
    assert_int_equal(kith_balance(last, NULL, 0, 0, members, last->member_count, &next), KITH_OK);
    kith_table_encode(next, buf);
    kith_table_drop(next);
}

/* A table after `last` with other owners: each one's next neighbour. */
static inline void change_encode(const struct kith_table *last, struct kith_buf *buf)
{
    uint16_t owners[4 * NODES_MAX];
    uint32_t count = last->partitions * last->owner_slots;
    assert_true(count <= sizeof(owners) / sizeof(owners[0]));
    for (uint32_t i = 0; i < count; i++) {
        owners[i] = (uint16_t)((last->owners[i] + 1) % last->member_count);
    }
    struct kith_table *next = NULL;
    assert_int_equal(kith_table_new(&last->cluster, last->id.epoch, last->id.version + 1,
                                    last->partitions, last->replicas, last->members,
                                    last->member_count, owners, &next),
                     KITH_OK);
    assert_int_equal(kith_decide_changes(last, next), last->member_count > 1);
    kith_table_encode(next, buf);
    kith_table_drop(next);
}

#endif
