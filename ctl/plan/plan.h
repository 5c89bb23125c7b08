/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plan.h - what an administrator has staged: changes of the members, kept until they are applied.
 *
 * They lie in the cluster itself, as one row in a volume of its own (plan_store.c), so that two
 * administrators see the same. Of a node only one thing can be wanted: what is staged later takes
 * the place of what it contradicts. Pure, but for load and save; one thread. */
#ifndef KITH_CTL_PLAN_H
#define KITH_CTL_PLAN_H

#include <jansson.h>

#include "ctl/ask/door.h"
#include "ctl/ask/view.h"

#define KITH_PLAN_CHANGES_MAX 100u /* so that the row stays within KITH_INLINE_VALUE_MAX */

enum kith_plan_kind {
    KITH_PLAN_JOIN,
    KITH_PLAN_LEAVE,
    KITH_PLAN_REPLACE, /* `with` gets what `node` has, its zone and its weight */
    KITH_PLAN_WEIGHT,
    KITH_PLAN_ZONE,
};

struct kith_plan_change {
    enum kith_plan_kind kind;
    struct kith_uuid node;
    struct kith_uuid with;           /* REPLACE */
    char address[KITH_ADDRESS_SIZE]; /* JOIN, REPLACE: of the new node */
    char zone[KITH_ZONE_SIZE];       /* JOIN, ZONE */
    uint32_t weight;                 /* JOIN, WEIGHT */
};

struct kith_plan {
    uint32_t count;
    struct kith_plan_change changes[KITH_PLAN_CHANGES_MAX];
};

/* Adds a change, which takes the place of those that it contradicts; a node that was to join and is
 * to leave is forgotten. *ret_other (may be NULL): something else was staged for that node. ELIMIT.
 */
KITH_MUST_CHECK enum kith_err kith_plan_add(struct kith_plan *plan,
                                            const struct kith_plan_change *change, bool *ret_other,
                                            struct kith_error *error);
/* Forgets what is staged for that node; how many changes that was. */
uint32_t kith_plan_forget(struct kith_plan *plan, const struct kith_uuid *node);
/* The change that brings that node in, or the one that takes it out; NULL: none. */
const struct kith_plan_change *kith_plan_joins(const struct kith_plan *plan,
                                               const struct kith_uuid *node);
const struct kith_plan_change *kith_plan_leaves(const struct kith_plan *plan,
                                                const struct kith_uuid *node);

/* The members after `table` by that plan, less those in `out`: at most table->member_count +
 * plan->count of them. What is said of nodes that are no members (any more) says nothing. */
uint32_t kith_plan_members(const struct kith_table *table, const struct kith_plan *plan,
                           const struct kith_uuid out[], uint32_t out_count,
                           struct kith_member ret_members[]);

/* The node that the text names: an address, the name that status shows, or the beginning of a uuid;
 * of the view's members and of those staged to join. EINVAL, with a list of what there is. */
KITH_MUST_CHECK enum kith_err kith_plan_find(const struct kith_view *view,
                                             const struct kith_plan *plan, const char *text,
                                             struct kith_uuid *ret_node, struct kith_error *error);

/* As a JSON document; ENOMEM. From one: EFORMAT, EVERSION (of a later kithctl), ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_plan_encode(const struct kith_plan *plan, struct kith_buf *buf);
KITH_MUST_CHECK enum kith_err kith_plan_decode(struct kith_bytes bytes, struct kith_plan *ret_plan,
                                               struct kith_error *error);
json_t *kith_plan_change_json(const struct kith_plan_change *change);
/* "+ node 33333333 at n3:7070 (zone fra, weight 1)": one change, for people. */
void kith_plan_change_text(const struct kith_plan_change *change, const struct kith_view *view,
                           char *text, size_t size);

/* ---- The row: plan_store.c ---- */

/* The group that it is in, with nothing else. */
struct kith_group kith_plan_group(void);

/* What there is, and the context in which it was read. Versions that several have staged at the
 * same time are merged, which is told on standard error. */
KITH_MUST_CHECK enum kith_err kith_plan_load(const struct kith_ctl_args *args,
                                             const struct kith_door *door,
                                             struct kith_plan *ret_plan, struct kith_buf *context,
                                             struct kith_error *error);
/* Takes the place of what was read with that context; an empty plan removes the row. */
KITH_MUST_CHECK enum kith_err kith_plan_save(const struct kith_door *door,
                                             const struct kith_plan *plan,
                                             struct kith_bytes context, struct kith_error *error);

#endif
