/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * inquiry.h - one question to all other members, or to the other owners of a partition, of whom each
 * has to answer: sweeping and reaping. Part of internal.h. */
#ifndef KITH_CORE_INQUIRY_H
#define KITH_CORE_INQUIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"

struct kith_node;
struct peer;

/* They are asked some at a time; the lists are in an arena. */
struct inquiry {
    uint16_t *peers;           /* those who are asked, */
    uint32_t peer_count, next; /* so far as to `next` */
    uint8_t *waits;            /* a bit for each of `waits_peers`: an answer is due */
    uint32_t waits_peers;      /* there were; others come */
    uint32_t out;              /* answers that are due */
};

/* For as many peers as there are; false: memory is short. */
bool inquiry_init(struct kith_node *node, struct kith_arena *arena, struct inquiry *inquiry);
/* Those who are to be asked next: all other members, or the partition's other owners. */
void inquiry_choose(const struct kith_node *node, struct inquiry *inquiry, uint32_t partition,
                  bool members);
/* Whether another one may be asked now; */
bool inquiry_left(const struct inquiry *inquiry);
/* he is, and his answer is due. NULL: he cannot be reached, which inquiry_unreached says. */
const struct peer *inquiry_next(struct kith_node *node, struct inquiry *inquiry);
const char *inquiry_unreached(struct kith_node *node, const struct inquiry *inquiry);
bool inquiry_waits(const struct inquiry *inquiry, uint16_t peer);
/* His answer has come; false: none was due. */
bool inquiry_got(struct inquiry *inquiry, uint16_t peer);

#endif
