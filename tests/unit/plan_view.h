/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plan_view.h - four nodes in two zones, and changes of them, for the tests of plans. Include after
 * cmocka.h. */
#ifndef KITH_UNIT_PLAN_VIEW_H
#define KITH_UNIT_PLAN_VIEW_H

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl/plan/plan.h"
#include "data/balance.h"

#define NODES      4u
#define PARTITIONS 64u

/* Node n is called by its digit; above 16: of the same beginning, another one. */
static inline struct kith_uuid node_uuid(uint32_t n)
{
    struct kith_uuid uuid;
    memset(uuid.bytes, (int)(n % 16 * 0x11), sizeof(uuid.bytes));
    if (n > 16) {
        uuid.bytes[15] = 0;
    }
    return uuid;
}

/* Nodes 1 and 2 in ams, 3 and 4 in fra, the last with twice the weight; all up, at nN:7070, with a
 * MiB for each partition. */
static inline void view_new(struct kith_view *view)
{
    static const struct kith_uuid cluster = {{9}};
    struct kith_member members[NODES];
    memset(members, 0, sizeof(members));
    memset(view, 0, sizeof(*view));
    for (uint32_t i = 0; i < NODES; i++) {
        members[i].uuid = node_uuid(i + 1);
        (void)strcpy(members[i].zone, i < 2 ? "ams" : "fra");
        members[i].weight = i == 3 ? 2 : 1;
    }
    assert_int_equal(kith_balance(NULL, &cluster, PARTITIONS, 3, members, NODES, &view->table),
                     KITH_OK);
    (void)strcpy(view->name, "home");
    view->count = NODES;
    view->nodes = kith_calloc(NODES, sizeof(*view->nodes));
    view->hears = kith_calloc((size_t)NODES * NODES, sizeof(*view->hears));
    assert_true(view->nodes && view->hears);
    memset(view->hears, true, (size_t)NODES * NODES);
    for (size_t i = 0; i < (size_t)PARTITIONS * view->table->owner_slots; i++) {
        view->nodes[view->table->owners[i]].owned++;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        struct kith_view_node *node = &view->nodes[i];
        node->uuid = members[i].uuid;
        (void)strcpy(node->zone, members[i].zone);
        (void)snprintf(node->address, sizeof(node->address), "n%u:7070", i + 1);
        node->up = node->agrees = true;
        node->knows = view->table->id;
        node->row_bytes = (uint64_t)node->owned << 18;
        node->chunk_bytes = (uint64_t)node->owned * 3 << 18;
    }
}

/* Nobody hears it any more. */
static inline void view_down(struct kith_view *view, uint32_t n)
{
    view->nodes[n - 1].up = view->nodes[n - 1].agrees = false;
    for (uint32_t i = 0; i < NODES; i++) {
        view->hears[i * NODES + n - 1] = false;
    }
}

static inline struct kith_plan_change change_of(enum kith_plan_kind kind, uint32_t n)
{
    struct kith_plan_change change;
    memset(&change, 0, sizeof(change));
    change.kind = kind;
    change.node = node_uuid(n);
    return change;
}

static inline struct kith_plan_change change_join(uint32_t n, const char *address, const char *zone,
                                                  uint32_t weight)
{
    struct kith_plan_change change = change_of(KITH_PLAN_JOIN, n);
    (void)strcpy(change.address, address);
    (void)strcpy(change.zone, zone);
    change.weight = weight;
    return change;
}

static inline struct kith_plan_change change_leave(uint32_t n)
{
    return change_of(KITH_PLAN_LEAVE, n);
}

static inline struct kith_plan_change change_replace(uint32_t n, uint32_t with, const char *address)
{
    struct kith_plan_change change = change_of(KITH_PLAN_REPLACE, n);
    change.with = node_uuid(with);
    (void)strcpy(change.address, address);
    return change;
}

static inline struct kith_plan_change change_weight(uint32_t n, uint32_t weight)
{
    struct kith_plan_change change = change_of(KITH_PLAN_WEIGHT, n);
    change.weight = weight;
    return change;
}

static inline struct kith_plan_change change_zone(uint32_t n, const char *zone)
{
    struct kith_plan_change change = change_of(KITH_PLAN_ZONE, n);
    (void)strcpy(change.zone, zone);
    return change;
}

#endif
