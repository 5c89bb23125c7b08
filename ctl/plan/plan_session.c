/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/plan/plan_session.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl/ask/own_cert.h"
#include "ctl/format.h"
#include "ctl/plan/progress.h"
#include "ctl/report.h"
#include "text/columns.h"

#define LOOKS_MS 1000u /* between two looks that tell a speed */

enum kith_err kith_plan_look(struct kith_plan_session *session, struct kith_error *error)
{
    struct kith_view view;
    enum kith_err err = kith_view_ask(session->link, session->args, &view, error);
    if (err == KITH_OK) {
        if (session->has_view) {
            kith_view_release(&session->view);
        }
        session->view = view;
        session->has_view = true;
    }
    return err;
}

/* Where too few are left to say what is staged. */
static bool is_absence(enum kith_err err)
{
    return err == KITH_EUNREACH || err == KITH_ETIMEOUT || err == KITH_EIO;
}

enum kith_err kith_plan_open(const struct kith_ctl_args *args, bool may_lack,
                             struct kith_plan_session *session, struct kith_error *error)
{
    memset(session, 0, sizeof(*session));
    session->args = args;
    kith_buf_init(&session->context);
    session->plan = kith_calloc(1, sizeof(*session->plan));
    enum kith_err err = session->plan ? kith_link_new(&session->link, error)
                                      : kith_error_set(error, KITH_ENOMEM, "out of memory");
    if (err == KITH_OK) {
        err = kith_plan_look(session, error);
    }
    if (err == KITH_OK) {
        err = kith_door_open(args, NULL, &session->door, error);
        session->door.client = err == KITH_OK ? session->door.client : NULL;
    }
    if (err == KITH_OK) {
        err = kith_plan_load(args, &session->door, session->plan, &session->context, error);
        if (may_lack && is_absence(err)) {
            session->plan->count = 0;
            kith_report_warning(args->json, "%s; nothing is taken to be staged", error->message);
            err = KITH_OK;
        }
    }
    return err;
}

void kith_plan_close(struct kith_plan_session *session)
{
    if (session->door.client) {
        kith_client_close(session->door.client);
    }
    if (session->has_view) {
        kith_view_release(&session->view);
    }
    kith_link_free(session->link);
    kith_buf_release(&session->context);
    kith_free(session->plan);
    memset(session, 0, sizeof(*session));
}

enum kith_err kith_plan_keep(struct kith_plan_session *session, struct kith_error *error)
{
    session->door.deadline_ms = kith_mono_ms() + session->args->timeout_ms; /* what came before was
                                                                               another matter */
    return kith_plan_save(&session->door, session->plan, kith_buf_bytes(&session->context), error);
}

enum kith_err kith_plan_newcomer(struct kith_plan_session *session, const char *address,
                                 struct kith_uuid *ret_node, struct kith_error *error)
{
    struct kith_link_ask ask;
    struct kith_msg question;
    memset(&ask, 0, sizeof(ask));
    memset(&question, 0, sizeof(question));
    ask.address = address;
    question.kind = KITH_MSG_STATUS_REQ;
    kith_link_ask(session->link, &ask, 1, &question, session->args->timeout_ms,
                  session->args->timeout_ms);
    if (!ask.box) {
        return kith_error_set(error, ask.error.code,
                              "no answer from %.400s; %s", ask.error.message,
                              kith_ctl_nobody(ask.error.message));
    }
    const struct kith_node_status *node = &ask.box->msg.u.status_res.node;
    enum kith_err err = KITH_OK;
    if (ask.box->msg.kind != KITH_MSG_STATUS_RES ||
        ask.box->msg.u.status_res.status.err != KITH_OK) {
        err = kith_error_set(error, KITH_EFORMAT, "%s gave no status", address);
    } else if (kith_uuid_equal(&node->cluster, &session->view.table->cluster) &&
               kith_table_find(session->view.table, &node->node) != KITH_NO_MEMBER) {
        err =
            kith_error_set(error, KITH_EREFUSED, "%s is a member of this cluster already", address);
    } else if (!kith_uuid_is_nil(&node->cluster)) {
        err =
            kith_error_set(error, KITH_EREFUSED,
                           "%s has been in a cluster (\"%.64s\"); start kithd there with an empty "
                           "data directory, for only a new node can join",
                           address, node->cluster_name ? node->cluster_name : "");
    } else {
        *ret_node = node->node;
    }
    kith_msg_box_drop(ask.box);
    return err;
}

/* The least that any node may fetch in a second; 0: none has a bound. */
static uint64_t rate_ask(struct kith_plan_session *session)
{
    const struct kith_view *view = &session->view;
    struct kith_link_ask *asks = kith_calloc(view->count, sizeof(*asks));
    struct kith_msg question;
    uint64_t least = 0;
    uint32_t count = 0;
    memset(&question, 0, sizeof(question));
    question.kind = KITH_MSG_REPAIR_CMD;
    question.u.repair_cmd.action = KITH_REPAIR_STATUS;
    for (uint32_t i = 0; asks && i < view->count; i++) {
        if (view->nodes[i].up) {
            asks[count++].address = view->nodes[i].address;
        }
    }
    if (count > 0) {
        kith_link_ask(session->link, asks, count, &question, KITH_VIEW_PATIENCE_MS,
                      KITH_VIEW_PATIENCE_MS);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_msg *msg = asks[i].box ? &asks[i].box->msg : NULL;
        uint64_t rate = msg && msg->kind == KITH_MSG_REPAIR_RES ? msg->u.repair_res.rate : 0;
        least = rate > 0 && (least == 0 || rate < least) ? rate : least;
        kith_msg_box_drop(asks[i].box);
    }
    kith_free(asks);
    return least;
}

enum kith_err kith_plan_preview(struct kith_plan_session *session, bool force,
                                struct kith_preview *ret_preview, struct kith_error *error)
{
    return kith_preview_make(&session->view, session->plan, force, rate_ask(session), ret_preview,
                             error);
}

enum kith_err kith_plan_progress(struct kith_plan_session *session, struct kith_error *error)
{
    const struct timespec pause = {LOOKS_MS / 1000, (long)(LOOKS_MS % 1000) * 1000000};
    struct kith_view later;
    uint64_t start_ms = kith_mono_ms();
    (void)nanosleep(&pause, NULL); /* earlier is no harm */
    enum kith_err err = kith_view_ask(session->link, session->args, &later, error);
    if (err != KITH_OK) {
        return err;
    }
    uint64_t elapsed_ms = kith_mono_ms() - start_ms;
    bool settled = !kith_table_is_joint(later.table);
    const struct kith_view *view = settled ? &session->view : &later;
    const struct kith_view *before = settled ? NULL : &session->view;
    if (session->args->json) {
        err = kith_json_print(kith_progress_json(view, before, elapsed_ms), error);
    } else {
        err = kith_progress_print(view, before, elapsed_ms, stdout, kith_colours_shown(stdout));
        err = err == KITH_OK ? err : kith_error_set(error, err, "out of memory");
    }
    kith_view_release(&later);
    return err;
}
