/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * space.c - how full this node's disk is (enum kith_space), and what follows from it.
 *
 *     LOW      chunks that are missing here are not fetched: they would fill it, and are elsewhere
 *     SCARCE   nothing new is kept here for other nodes
 *     FULL     no values: puts and chunks are refused, from clients and from coordinators, who have
 *              been told (ping) and do not ask. Deletes, and what anti-entropy and read repair
 *              bring, are taken as long as the store finds room: without them nothing ends here
 *
 * The store says it with each completion; a node that has nothing to do asks once in a while, for
 * nobody else will tell it that there is room again. What really fits is the store's to judge, and
 * it refuses earlier where it must: these levels are so that there is a next step before that. */
#include "core/internal.h"

static const char *const words[] = {
    [KITH_SPACE_WIDE] = "the disk has room again",
    [KITH_SPACE_LOW] = "the disk fills up: chunks that are missing here are not fetched",
    [KITH_SPACE_SCARCE] = "the disk is nearly full: nothing more is kept for other nodes",
    [KITH_SPACE_FULL] = "the disk is full: deletes and repairs only",
};

void space_seen(struct kith_node *node, enum kith_space space)
{
    if (space == node->space) {
        return;
    }
    core_log(node, space > node->space ? LEVEL_WARN : LEVEL_INFO, "%s; see kithctl status",
             words[space]);
    if (space < KITH_SPACE_LOW) {
        node->exchanges.due_ms = node->now_ms; /* what waited for it */
    }
    node->space = space;
}

bool space_refuses(struct kith_node *node, uint64_t conn, const struct kith_msg *msg, uint32_t from)
{
    if (node->space < from) {
        return false;
    }
    core_refuse(node, conn, msg, KITH_ENOSPC,
                core_text(node, "node %s: %s", node->address, words[node->space]));
    return true;
}

bool space_is_value(const struct kith_replica_row *rows, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += rows[i].state.size;
    }
    return bytes > count * KITH_SMALL_STATE;
}

void space_stored(struct kith_node *node, struct pending *pending)
{
    core_stored_last(node, pending);
    pending_end(node, pending);
    node->space_ms = node->now_ms + KITH_SPACE_MS;
}

void space_tick(struct kith_node *node)
{
    if (!node->has_cluster || node->now_ms < node->space_ms) {
        return;
    }
    struct pending *pending = pending_new(node, PENDING_SPACE, 0, NULL, UINT64_MAX);
    node->space_ms = pending ? UINT64_MAX : node->now_ms + KITH_SPACE_MS;
    if (pending) {
        (void)core_store(node, pending, KITH_STORE_COUNT, 0);
    }
}

uint64_t space_due(const struct kith_node *node)
{
    return node->has_cluster ? node->space_ms : UINT64_MAX;
}
