/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * progress.h - how far a joint table's move is: of two looks at the cluster, for what is between
 * them tells how fast it goes. Pure. */
#ifndef KITH_CTL_PROGRESS_H
#define KITH_CTL_PROGRESS_H

#include <jansson.h>

#include "ctl/ask/view.h"

struct kith_progress {
    uint32_t gains, complete; /* copies of partitions that move, and that are there */
    uint64_t bytes;           /* that came */
    uint64_t rate;            /* bytes a second, of all nodes */
    uint64_t eta_seconds;     /* UINT64_MAX: cannot be told */
    uint32_t awaited;         /* nodes that have something yet to do */
};

/* `view`: the later look; `before` (may be NULL) the one elapsed_ms earlier. */
struct kith_progress kith_progress_of(const struct kith_view *view, const struct kith_view *before,
                                      uint64_t elapsed_ms);
/* As text, ENOMEM; as JSON, NULL: memory is short. */
KITH_MUST_CHECK enum kith_err kith_progress_print(const struct kith_view *view,
                                                  const struct kith_view *before,
                                                  uint64_t elapsed_ms, FILE *out, bool colours);
json_t *kith_progress_json(const struct kith_view *view, const struct kith_view *before,
                           uint64_t elapsed_ms);
/* "joins, 12 of 614", "leaves", "3 of 3", "-": a node's part, for tables. */
void kith_progress_part(const struct kith_view_node *node, char *text, size_t size);

#endif
