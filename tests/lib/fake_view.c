/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_view.c - see fake_view.h. */
#include "lib/fake_view.h"

#include <string.h>

#define ADDRESS "fake:1"

enum kith_err fake_view(struct kith_arena *arena, bool up, const uint64_t ops[KITH_CLIENT_KINDS],
                        struct kith_client_view *ret_view)
{
    struct kith_client_node *node = kith_arena_calloc(arena, 1, sizeof(*node));
    memset(ret_view, 0, sizeof(*ret_view));
    if (node == NULL) {
        return KITH_ENOMEM;
    }
    ret_view->table.version = 1;
    ret_view->replicas = ret_view->partitions = 1;
    ret_view->node_count = 1;
    ret_view->nodes = node;
    memcpy(node->address, ADDRESS, sizeof(ADDRESS));
    node->lost_ms_ago = node->heard_ms_ago = UINT64_MAX;
    node->state = up ? KITH_NODE_UP : KITH_NODE_DOWN;
    for (unsigned i = 1; i < KITH_CLIENT_KINDS; i++) {
        ret_view->counts.requests[i] = ops[i];
    }
    return KITH_OK;
}

struct kith_client_where *fake_where_new(struct kith_arena *arena, uint32_t row_count)
{
    struct kith_client_where *where = kith_arena_calloc(arena, 1, sizeof(*where));
    struct kith_client_where_node *node = kith_arena_calloc(arena, 1, sizeof(*node));
    struct kith_client_row *rows = kith_arena_calloc(arena, row_count + 1u, sizeof(*rows));
    void *zone = kith_arena_calloc(arena, 1, sizeof(*where->zones));
    if (where == NULL || node == NULL || rows == NULL || zone == NULL) {
        return NULL;
    }
    where->owners = where->copies = where->zone_count = where->node_count = 1;
    where->zones = zone;
    where->zones[0].whole = true;
    where->nodes = node;
    where->row_count = row_count;
    where->rows = rows;
    memcpy(node->address, ADDRESS, sizeof(ADDRESS));
    node->answered = true;
    return where;
}

void fake_where_chunk(struct kith_client_where *where, bool held)
{
    where->nodes[0].chunks++;
    where->nodes[0].chunks_have += held ? 1 : 0;
    where->missing = where->missing || !held;
    where->copies = where->missing ? 0 : 1;
    where->zones[0].whole = !where->missing;
}

void fake_where_rows(struct kith_client_where *where)
{
    for (uint32_t i = 0; i < where->row_count; i++) {
        uint32_t there = kith_row_is_empty(&where->rows[i].row) ? 0 : 1;
        where->nodes[0].rows += there;
        where->nodes[0].rows_have += there;
    }
}
