/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plan_session.h - what the plan commands share: the cluster as it is, and what is staged. */
#ifndef KITH_CTL_PLAN_SESSION_H
#define KITH_CTL_PLAN_SESSION_H

#include "ctl/plan/preview.h"


struct kith_plan_session {
    const struct kith_ctl_args *args;
    struct kith_link *link;
    struct kith_view view;
    bool has_view;
    struct kith_door door; /* client NULL: not open */
    struct kith_plan *plan;
    struct kith_buf context; /* of the row that it was read from */
};

/* Reads the cluster. With the plan: where it cannot be read and `may_lack`, that is told and
 * nothing is taken to be staged (most nodes may be gone). Release it whatever is returned. */
KITH_MUST_CHECK enum kith_err kith_plan_open(const struct kith_ctl_args *args, bool may_lack,
                                             struct kith_plan_session *session,
                                             struct kith_error *error);
void kith_plan_close(struct kith_plan_session *session);
/* Looks at the cluster again. */
KITH_MUST_CHECK enum kith_err kith_plan_look(struct kith_plan_session *session,
                                             struct kith_error *error);
/* Stores session->plan. */
KITH_MUST_CHECK enum kith_err kith_plan_keep(struct kith_plan_session *session,
                                             struct kith_error *error);
/* A node that is to join: its uuid. EREFUSED where it is of a cluster; where it is no kithd, or
 * none that answers, the errors of the link. */
KITH_MUST_CHECK enum kith_err kith_plan_newcomer(struct kith_plan_session *session,
                                                 const char *address, struct kith_uuid *ret_node,
                                                 struct kith_error *error);
/* The preview of what is staged, at the rate at which these nodes may fetch. */
KITH_MUST_CHECK enum kith_err kith_plan_preview(struct kith_plan_session *session, bool force,
                                                struct kith_preview *ret_preview,
                                                struct kith_error *error);
/* Shows the move under way: looks twice. */
KITH_MUST_CHECK enum kith_err kith_plan_progress(struct kith_plan_session *session,
                                                 struct kith_error *error);

#endif
