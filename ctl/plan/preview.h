/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * preview.h - what a plan would do, before it is applied: the table that it leads to, what moves,
 * how much that is, and how many copies there are meanwhile. Pure.
 *
 * Bytes are estimates: what a node says that it holds, shared out evenly over the partitions that
 * it owns; of a partition, the mean of its owners that are up. */
#ifndef KITH_CTL_PREVIEW_H
#define KITH_CTL_PREVIEW_H

#include "ctl/plan/plan.h"

#define KITH_PREVIEW_RATE                                                                          \
    (UINT64_C(50) << 20) /* bytes a second that a node takes, where not less is set */

struct kith_preview_node {
    uint32_t before, after;               /* partitions that it owns */
    uint64_t data_after, receives, sends; /* bytes */
    bool up;                              /* those that join are taken to be */
};

/* The fewest, of all partitions, owners that are up, and zones in which these are. */
struct kith_preview_spread {
    uint32_t owners, zones;
};

struct kith_preview {
    struct kith_table *joint;        /* what is proposed */
    struct kith_preview_node *nodes; /* [joint->member_count] */
    uint32_t gone;                   /* members that are down, and leave: nobody waits for them */
    uint32_t unclear;      /* members that leave, do not answer, and that others hear: neither gone
                              nor fit to hand over */
    uint32_t moves, least; /* copies of partitions that move, and the fewest that could */
    uint64_t bytes;        /* that move */
    uint64_t seconds;      /* about, at `rate` */
    uint64_t rate;         /* bytes a second a node */
    struct kith_preview_spread now, meanwhile, afterwards;
    uint32_t short_owners; /* partitions of which fewer than a majority of the owners stay or are
                              waited for: what was written last may be lost */
    uint32_t no_owner;     /* of these, with none */
    uint64_t custody;      /* rows that count as copies, at nodes that are up */
};

/* Whether nobody knows it to be alive: neither does it answer, nor does one hear it that does. */
bool kith_preview_absent(const struct kith_view *view, uint32_t node);

/* What follows from the view's table, which is not joint, and the plan. force: the joint table has
 * an epoch of its own, and members that are absent and not in the plan go, too. EINVAL where no
 * member would be left, or nothing changes; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_preview_make(const struct kith_view *view,
                                                const struct kith_plan *plan, bool force,
                                                uint64_t rate, struct kith_preview *ret_preview,
                                                struct kith_error *error);
void kith_preview_release(struct kith_preview *preview);

/* As text, and as JSON (NULL: memory is short): preview_text.c. The text names the command that
 * applies it. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_preview_print(const struct kith_preview *preview,
                                                 const struct kith_view *view,
                                                 const struct kith_plan *plan, FILE *out,
                                                 bool colours);
json_t *kith_preview_json(const struct kith_preview *preview, const struct kith_view *view,
                          const struct kith_plan *plan);
/* What would be lost, one line of warning each; nothing where nothing would. */
void kith_preview_losses(const struct kith_preview *preview, const struct kith_view *view,
                         FILE *out);

#endif
