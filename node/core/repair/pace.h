/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pace.h - a bound on what background work moves: a token bucket (pace.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_PACE_H
#define KITH_CORE_PACE_H

#include "wire/msg.h"

struct kith_node;

#define KITH_PACE_MAX (UINT64_C(1) << 40) /* bytes a second */

struct pace {
    uint64_t rate;   /* bytes a second; 0 = no bound */
    int64_t balance; /* bytes that may be moved; below 0: so many too many were */
    uint64_t at_ms;  /* of which time it is */
    uint32_t parts;  /* thousandths of a byte beside it */
};

/* How long background work has to wait before it moves more; 0: not at all. */
uint64_t pace_wait_ms(struct pace *pace, uint64_t now_ms);
/* So much was moved, or is about to be. */
void pace_took(struct pace *pace, uint64_t now_ms, uint64_t bytes);
/* The same of what goes to a peer, or comes from one, in another zone; else none. */
uint64_t pace_far_wait_ms(struct kith_node *node, uint16_t peer);
void pace_far_took(struct kith_node *node, uint16_t peer, uint64_t bytes);
/* Both bounds, of what anti-entropy brings from the peer. */
uint64_t pace_repair_wait_ms(struct kith_node *node, uint16_t peer);
void pace_repair_took(struct kith_node *node, uint16_t peer, uint64_t bytes);
/* Bytes a second; 0: no bound. */
void pace_set(struct pace *pace, uint64_t now_ms, uint64_t rate);

#endif
