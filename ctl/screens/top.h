/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * top.h - what the nodes are doing, from two looks at the cluster. */
#ifndef KITH_CTL_TOP_H
#define KITH_CTL_TOP_H

#include <jansson.h>
#include <stdio.h>

#include "ctl/ask/view.h"

/* The screen. `before` is the look `elapsed_ms` ago; NULL: there was none, and there are no rates.
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_top_print(struct kith_view *view, const struct kith_view *before,
                                             uint64_t elapsed_ms, FILE *out, bool colours);
/* NULL: memory is short. */
json_t *kith_top_json(struct kith_view *view, const struct kith_view *before, uint64_t elapsed_ms);

#endif
