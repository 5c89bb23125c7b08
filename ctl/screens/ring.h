/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ring.h - the partition table for people: who owns what, how even, and what is short of owners. */
#ifndef KITH_CTL_RING_H
#define KITH_CTL_RING_H

#include <jansson.h>

#include "ctl/ask/view.h"

/* Numbers as ranges, "0-12, 15, 17-20", cut with "..." where the text is full. */
struct kith_ranges {
    char text[48];
    uint32_t count; /* numbers added */
    uint32_t first, last;
    bool cut;
};
/* Ascending numbers; end when all are there. Zero-initialised is an empty one. */
void kith_ranges_add(struct kith_ranges *ranges, uint32_t number);
void kith_ranges_end(struct kith_ranges *ranges);

/* The whole ring on `out`. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_ring_print(struct kith_view *view, FILE *out, bool colours);
/* One partition; `key`, where it is not NULL, is what lies there. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_ring_print_one(struct kith_view *view, uint32_t partition,
                                                  const char *key, FILE *out, bool colours);
/* NULL: memory is short. */
json_t *kith_ring_json(struct kith_view *view);
json_t *kith_ring_json_one(struct kith_view *view, uint32_t partition);

#endif
