/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * explain.h - a row as each of its owners has it. */
#ifndef KITH_CTL_EXPLAIN_H
#define KITH_CTL_EXPLAIN_H

#include <jansson.h>

#include "ctl/ask/view.h"
#include "data/row.h"

enum kith_explain_state {
    KITH_EXPLAIN_NO_ANSWER, /* or no row in it: `error` */
    KITH_EXPLAIN_NEVER,     /* has no such row */
    KITH_EXPLAIN_WHOLE,     /* has all that any owner has */
    KITH_EXPLAIN_BEHIND,
    KITH_EXPLAIN_WRONG, /* the clock of another owner, with another state: must not be */
};

struct kith_explain_owner {
    const struct kith_view_node *node;
    enum kith_explain_state state;
    struct kith_checksum hash; /* of the state */
    struct kith_row row;
    uint32_t pair_count;
    struct kith_explain_pair pairs[KITH_REPLICAS_MAX]; /* when it had all that the others have */
    char error[400];
};

/* Borrows from the view and lies in an arena. */
struct kith_explain {
    const char *what; /* "key", "entry", ... */
    struct kith_group group;
    struct kith_bytes name;
    uint32_t partition;
    uint32_t count, answered;
    struct kith_explain_owner owners[KITH_REPLICAS_MAX];
    struct kith_row whole; /* the merge of all */
    bool agree;            /* those that answered */
};

/* Merges what the owners hold, and says how each stands to that. ENOMEM, ELIMIT. Pure. */
KITH_MUST_CHECK enum kith_err kith_explain_compare(struct kith_arena *arena,
                                                   struct kith_explain *explain);
/* One row on `out` (explain_text.c). ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_explain_print(const struct kith_view *view,
                                                 const struct kith_explain *explain, FILE *out,
                                                 bool colours);
/* NULL: memory is short. */
json_t *kith_explain_json(const struct kith_explain *explain);

#endif
