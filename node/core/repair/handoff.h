/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * handoff.h - what is kept for others goes to them (handoff.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_HANDOFF_H
#define KITH_CORE_HANDOFF_H

#include "core/pending.h"

struct kith_node;

struct handoffs {
    bool listing;      /* the list is being read, by the pending of this id */
    uint64_t list_id;
    bool again;        /* hints came, or an owner came up: it is to be read again */
    bool listed;       /* the list is of the time of this table */
    uint32_t count, capacity;
    struct kith_store_hints *list; /* partitions with hints, as it was a while ago */
    uint32_t turn;     /* the next peer that is looked at; peer_count: this node; then none */
    uint32_t out;      /* on their way to owners */
    uint64_t due_ms;
    uint64_t sent;     /* rows since it was said last */
    struct {           /* who hands over to us now */
        struct kith_uuid node;
        uint64_t until_ms;
    } senders[KITH_HANDOFF_SENDERS];
};

void handoff_release(struct kith_node *node);
/* Hints came, an owner came up, another table is in use: look soon. */
void handoff_wake(struct kith_node *node, uint64_t after_ms);
void handoff_tick(struct kith_node *node);
uint64_t handoff_due(const struct kith_node *node);
void handoff_stored(struct kith_node *node, struct pending *pending,
                    const struct kith_store_done *done);
void handoff_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                 const struct kith_handoff_res *res);
void handoff_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
/* Goes on after a pause; or the time is over. */
void handoff_expire(struct kith_node *node, struct pending *pending);
/* The other side: rows that are handed over to us. */
void handoff_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void handoff_absorbed(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done);
void hints_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);

#endif
