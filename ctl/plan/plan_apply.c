/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plan_apply.c - kithctl plan show, apply, revert.
 *
 * APPLYING goes so that it can be broken off anywhere and done again: the table is proposed to a
 * member; once it is in use the nodes that it names are told to join; then what was staged is
 * forgotten. Where a move is under way already, apply does what is left of that. */
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl/ask/cluster.h"
#include "ctl/format.h"
#include "ctl/plan/plan_session.h"
#include "ctl/plan/progress.h"
#include "ctl/report.h"
#include "ctl/screens/again.h"
#include "ctl/screens/bar.h"
#include "text/columns.h"

#define WAIT_MS  500u   /* between two looks of one who waits */
#define TELL_MS  2000u  /* between two lines of his */
#define STUCK_MS 30000u /* without progress for so long: he is told where to look */
#define BUSY_MS  250u   /* then a member is asked again that was busy */

static void pause_ms(uint64_t ms)
{
    const struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL); /* earlier is no harm */
}

static bool given(const struct kith_ctl_args *args, const char *name)
{
    return kith_ctl_value(args, name) != NULL;
}

/* ---- show ---- */

static enum kith_err nothing_show(const struct kith_plan_session *session, struct kith_error *error)
{
    unsigned long long version = session->view.table->id.version;
    if (session->args->json) {
        return kith_json_print(kith_json_named("cluster", session->view.name,
                                               json_pack("{s:b, s:I, s:[]}", "moving", 0, "table",
                                                         (json_int_t)version, "changes")),
                               error);
    }
    (void)printf("table v%llu   nothing is staged, and nothing moves. Stage a change: kithctl plan "
                 "--help\n",
                 version);
    return KITH_OK;
}

static enum kith_err staged_show(struct kith_plan_session *session, bool force,
                                 struct kith_error *error)
{
    struct kith_preview preview;
    enum kith_err err = kith_plan_preview(session, force, &preview, error);
    if (err != KITH_OK) {
        return err;
    }
    if (session->args->json) {
        err = kith_json_print(kith_preview_json(&preview, &session->view, session->plan), error);
    } else if (kith_preview_print(&preview, &session->view, session->plan, stdout,
                                  kith_colours_shown(stdout)) != KITH_OK) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    kith_preview_release(&preview);
    return err;
}

static int show(void *arg)
{
    const struct kith_ctl_args *args = arg;
    struct kith_error error;
    struct kith_plan_session session;
    bool force = given(args, "force");
    enum kith_err err = kith_plan_open(args, force, &session, &error);
    if (err == KITH_OK && kith_table_is_joint(session.view.table)) {
        err = kith_plan_progress(&session, &error);
        if (err == KITH_OK && !args->json && session.plan->count > 0) {
            (void)printf("%u change%s staged for afterwards.\n", session.plan->count,
                         session.plan->count == 1 ? " is" : "s are");
        }
    } else if (err == KITH_OK && session.plan->count == 0 && !force) {
        err = nothing_show(&session, &error);
    } else if (err == KITH_OK) {
        err = staged_show(&session, force, &error);
    }
    kith_plan_close(&session);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

int kith_ctl_plan_show(const struct kith_ctl_args *args)
{
    struct kith_ctl_args copy = *args;
    return given(args, "watch") ? kith_again(args->json, show, &copy) : show(&copy);
}

/* ---- Proposing ---- */

/* One member's answer. */
static enum kith_err propose_to(struct kith_plan_session *session, const char *address,
                                const struct kith_msg *question, struct kith_error *error)
{
    struct kith_link_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.address = address;
    uint64_t timeout_ms = session->args->timeout_ms;
    kith_link_ask(session->link, &ask, 1, question, timeout_ms, timeout_ms);
    if (!ask.box) {
        *error = ask.error;
        return error->code;
    }
    const struct kith_msg *msg = &ask.box->msg;
    const struct kith_status *status = msg->kind == KITH_MSG_PLAN_RES    ? &msg->u.plan_res.status
                                       : msg->kind == KITH_MSG_ADMIN_RES ? &msg->u.admin_res.status
                                                                         : NULL;
    enum kith_err err = KITH_OK;
    if (!status) {
        err = kith_error_set(error, KITH_EFORMAT, "%s gave an answer of the wrong kind", address);
    } else if (status->err != KITH_OK) {
        err = kith_error_set(error, status->err, "%s: %.400s", address,
                             status->message && *status->message ? status->message
                                                                 : kith_err_text((int)status->err));
    }
    kith_msg_box_drop(ask.box);
    return err;
}

/* Whom to ask: one that is up, knows the table, and stays. */
static const char *member_choose(const struct kith_view *view, const struct kith_table *next,
                                 uint32_t from, uint32_t *ret_index)
{
    for (uint32_t i = from; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        uint16_t after = kith_table_find(next, &node->uuid);
        bool leaves = after == KITH_NO_MEMBER ||
                      (next->after && (next->after[after].flags & KITH_MEMBER_LEAVES));
        if (node->up && !leaves && kith_table_id_compare(&node->knows, &view->table->id) == 0) {
            *ret_index = i;
            return node->address;
        }
    }
    return NULL;
}

/* Whether that table, or one that came of it, is in use. */
static bool in_use(struct kith_plan_session *session, const struct kith_table *next)
{
    struct kith_error ignored;
    return kith_plan_look(session, &ignored) == KITH_OK &&
           kith_table_id_compare(&session->view.table->id, &next->id) == 0;
}

/* Has the table decided; ret_door: a member that uses it. */
static enum kith_err propose(struct kith_plan_session *session, const struct kith_table *next,
                             char ret_door[KITH_ADDRESS_SIZE], struct kith_error *error)
{
    struct kith_buf buf;
    struct kith_msg question;
    kith_buf_init(&buf);
    memset(&question, 0, sizeof(question));
    kith_table_encode(next, &buf);
    question.kind = KITH_MSG_PLAN_REQ;
    question.u.plan_req.table = kith_buf_bytes(&buf);
    uint64_t deadline_ms = kith_mono_ms() + session->args->timeout_ms;
    uint32_t index = 0;
    const char *door = member_choose(&session->view, next, 0, &index);
    enum kith_err err = kith_error_set(error, KITH_EUNREACH,
                                       "no node is up that could propose the table; see: kithctl "
                                       "status");
    while (door && !buf.failed) {
        err = propose_to(session, door, &question, error);
        if (err == KITH_EBUSY && kith_mono_ms() < deadline_ms) {
            pause_ms(BUSY_MS);
        } else if (err == KITH_EUNREACH || err == KITH_ECLOSED) {
            door = member_choose(&session->view, next, index + 1, &index);
        } else {
            break;
        }
    }
    if (door) {
        (void)snprintf(ret_door, KITH_ADDRESS_SIZE, "%s", door);
    }
    bool failed = buf.failed;
    kith_buf_release(&buf);
    if (failed) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    struct kith_error told = *error;
    if (err != KITH_OK && err != KITH_EREFUSED && in_use(session, next)) {
        uint32_t any = 0; /* it was decided after all; who answered is not known */
        door = member_choose(&session->view, next, 0, &any);
        (void)snprintf(ret_door, KITH_ADDRESS_SIZE, "%s", door ? door : ret_door);
        return KITH_OK;
    }
    *error = told;
    return err;
}

/* ---- Joining ---- */

/* Whether the table waits for that node, which has not joined. */
static bool to_join(const struct kith_table *joint, const struct kith_uuid *node)
{
    uint16_t member = kith_table_find(joint, node);
    return member != KITH_NO_MEMBER && (joint->after[member].flags & KITH_MEMBER_JOINS) != 0;
}

static enum kith_err join_order(struct kith_plan_session *session, const struct kith_table *joint,
                                const struct kith_plan_change *change, const char *through,
                                struct kith_error *error)
{
    const struct kith_uuid *node =
        change->kind == KITH_PLAN_REPLACE ? &change->with : &change->node;
    const struct kith_member_next *after = &joint->after[kith_table_find(joint, node)];
    struct kith_msg order;
    memset(&order, 0, sizeof(order));
    order.kind = KITH_MSG_JOIN_CMD;
    order.u.join_cmd.through = through;
    order.u.join_cmd.zone = after->zone;
    order.u.join_cmd.weight = after->weight;
    enum kith_err err =
        kith_ctl_order(session->link, change->address, &order, session->args->timeout_ms, error);
    /* EEXIST: it has joined; EBUSY: it does so by itself (kithd --join) */
    return err == KITH_EEXIST || err == KITH_EBUSY ? KITH_OK : err;
}

/* Tells those to join that the table names; what is staged is forgotten, but for nodes that cannot
 * be told now. */
static enum kith_err join_all(struct kith_plan_session *session, const struct kith_table *joint,
                              const char *through, struct kith_error *error)
{
    struct kith_plan *plan = session->plan;
    struct kith_error first = {.code = KITH_OK};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kith_plan_change *change = &plan->changes[i];
        bool joins = change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_REPLACE;
        const struct kith_uuid *node =
            change->kind == KITH_PLAN_REPLACE ? &change->with : &change->node;
        if (joins && to_join(joint, node) &&
            join_order(session, joint, change, through, error) != KITH_OK) {
            first = first.code == KITH_OK ? *error : first;
            plan->changes[kept++] = *change;
        }
    }
    plan->count = kept;
    enum kith_err err = kith_plan_keep(session, error);
    if (first.code != KITH_OK) {
        *error = first;
        (void)kith_error_wrap(error, "the move has begun, but a new node has not joined (again: "
                                     "kithctl plan apply)");
        return first.code;
    }
    return err;
}

/* ---- Waiting ---- */

/* Until the table is followed by one that is settled. */
static enum kith_err settle_wait(struct kith_plan_session *session, const struct kith_table *joint,
                                 struct kith_error *error)
{
    uint64_t told_ms = 0;
    uint32_t told = UINT32_MAX;
    uint64_t heard_ms = kith_mono_ms();
    struct kith_bar bar = {.begun = false};
    bool shown = kith_bar_shown(session->args->json) && kith_bar_terminal();
    for (;;) {
        enum kith_err err = kith_plan_look(session, error);
        uint64_t now_ms = kith_mono_ms();
        if (shown) {
            kith_bar_draw(NULL); /* before anything else is said */
        }
        if (err == KITH_OK && !kith_table_is_joint(session->view.table) &&
            kith_table_id_compare(&session->view.table->id, &joint->id) > 0) {
            break;
        }
        heard_ms = err == KITH_OK ? now_ms : heard_ms;
        if (err != KITH_OK && now_ms - heard_ms >= session->args->timeout_ms) {
            return err;
        }
        struct kith_progress progress =
            err == KITH_OK ? kith_progress_of(&session->view, NULL, 0) : (struct kith_progress){0};
        if (shown && err == KITH_OK && progress.complete != told) { /* the line below tells it */
            told = progress.complete;
            told_ms = now_ms;
        }
        bool news = !shown && progress.complete != told && now_ms - told_ms >= TELL_MS;
        bool stuck = now_ms - told_ms >= STUCK_MS;
        if (err == KITH_OK && !session->args->json && (news || stuck)) {
            (void)printf("%u of %u replicas are there%s\n", progress.complete, progress.gains,
                         news ? "" : "; what it waits for: kithctl plan show");
            (void)fflush(stdout); /* trouble with it is told at the end */
            told = progress.complete;
            told_ms = now_ms;
        }
        if (err == KITH_OK && shown && progress.gains > 0) {
            char text[KITH_BAR_SIZE];
            kith_bar_format(&bar, now_ms, progress.complete, progress.gains, progress.bytes,
                            "replicas", text);
            kith_bar_draw(text);
        }
        pause_ms(WAIT_MS);
    }
    struct kith_table *reverted = NULL;
    enum kith_err err = kith_table_revert(joint, &reverted);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "out of memory");
    }
    bool given_up = session->view.table->id.version == reverted->id.version &&
                    kith_table_id_compare(&session->view.table->id, &reverted->id) == 0;
    kith_table_drop(reverted);
    return given_up ? kith_error_set(error, KITH_ECANCELED,
                                     "the move was given up: table v%llu is "
                                     "as the one before it",
                                     (unsigned long long)session->view.table->id.version)
                    : KITH_OK;
}

/* ---- apply ---- */

static uint32_t agreeing(const struct kith_view *view)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        count += view->nodes[i].up;
    }
    return count;
}

/* Whether it may be applied, by what was asked for and by who is up. */
static enum kith_err apply_check(const struct kith_plan_session *session,
                                 const struct kith_preview *preview, uint64_t version,
                                 struct kith_error *error)
{
    const struct kith_ctl_args *args = session->args;
    const struct kith_view *view = &session->view;
    uint32_t up = agreeing(view);
    bool majority = up >= view->count / 2 + 1;
    bool force = given(args, "force");
    if (version != 0 && version != preview->joint->id.version) {
        return kith_error_set(error, KITH_EREFUSED,
                              "the next table is v%llu by now, not v%llu; look again: kithctl plan "
                              "show",
                              (unsigned long long)preview->joint->id.version,
                              (unsigned long long)version);
    }
    if (!majority && !force) {
        return kith_error_set(
            error, KITH_EUNREACH,
            "%u of %u nodes are up: too few to agree on a table. Where the others "
            "are gone for good, see what is left: kithctl plan show --force",
            up, view->count);
    }
    if (majority && force) {
        return kith_error_set(error, KITH_EREFUSED,
                              "%u of %u nodes are up, who can agree: --force is for a cluster that "
                              "has lost most of its nodes; stage the others to leave: kithctl plan "
                              "leave NODE",
                              up, view->count);
    }
    if (preview->unclear > 0) {
        return kith_error_set(
            error, KITH_EBUSY,
            "a node that is to leave does not answer, but others still hear it: try "
            "again when they agree that it is down, or start it; see: kithctl plan "
            "show");
    }
    if (preview->short_owners > 0 && !given(args, "accept-loss")) {
        return kith_error_set(error, KITH_EREFUSED,
                              "%u of %u partitions keep fewer than %u of their %u owners: what was "
                              "written there last may be lost. Start the others again, or let the "
                              "rest stand for it: --accept-loss",
                              preview->short_owners, view->table->partitions,
                              view->table->owner_slots / 2 + 1, view->table->owner_slots);
    }
    return KITH_OK;
}

/* Those that are to join are there, and are those that were staged. */
static enum kith_err newcomers_check(struct kith_plan_session *session,
                                     const struct kith_table *joint, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < session->plan->count; i++) {
        const struct kith_plan_change *change = &session->plan->changes[i];
        bool joins = change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_REPLACE;
        const struct kith_uuid *node =
            change->kind == KITH_PLAN_REPLACE ? &change->with : &change->node;
        struct kith_uuid there;
        if (!joins || !to_join(joint, node)) {
            continue;
        }
        err = kith_plan_newcomer(session, change->address, &there, error);
        if (err == KITH_OK && !kith_uuid_equal(&there, node)) {
            err = kith_error_set(error, KITH_EREFUSED,
                                 "another node runs at %s than was staged; stage it again: kithctl "
                                 "plan join %s",
                                 change->address, change->address);
        }
    }
    return err;
}

static enum kith_err applied_tell(const struct kith_plan_session *session,
                                  const struct kith_table *joint, uint32_t moves, bool waited,
                                  struct kith_error *error)
{
    unsigned long long version = joint->id.version;
    if (session->args->json) {
        return kith_json_print(json_pack("{s:s, s:I, s:I, s:b, s:I, s:i}", "result", "ok", "table",
                                         (json_int_t)version, "epoch", (json_int_t)joint->id.epoch,
                                         "settled", (int)waited, "table_now",
                                         (json_int_t)session->view.table->id.version, "moves",
                                         (int)moves),
                               error);
    }
    if (waited) {
        (void)printf("All has moved: table v%llu is settled.\n",
                     (unsigned long long)session->view.table->id.version);
    } else {
        (void)printf(
            "Table v%llu is in use and moves %u replicas. See: kithctl plan show --watch\n",
            version, moves);
    }
    return KITH_OK;
}

/* The table is in use, or was when this began. */
static enum kith_err apply_rest(struct kith_plan_session *session, const struct kith_table *joint,
                                const char *door, uint32_t moves, struct kith_error *error)
{
    enum kith_err err = join_all(session, joint, door, error);
    bool wait = given(session->args, "wait");
    if (err == KITH_OK && wait) {
        err = settle_wait(session, joint, error);
    }
    return err == KITH_OK ? applied_tell(session, joint, moves, wait, error) : err;
}

/* A move is under way: what may be left of an apply that was broken off. */
static enum kith_err resume(struct kith_plan_session *session, struct kith_error *error)
{
    struct kith_table *joint = kith_table_hold(session->view.table);
    uint32_t index = 0, complete = 0;
    const char *door = member_choose(&session->view, joint, 0, &index);
    char through[KITH_ADDRESS_SIZE] = "";
    bool left = false;
    for (uint32_t i = 0; i < session->plan->count; i++) {
        const struct kith_plan_change *change = &session->plan->changes[i];
        bool joins = change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_REPLACE;
        left = left || (joins && to_join(joint, change->kind == KITH_PLAN_REPLACE ? &change->with
                                                                                  : &change->node));
    }
    enum kith_err err = KITH_OK;
    if (!door) {
        err = kith_error_set(error, KITH_EUNREACH, "no node that is up knows the table");
    } else if (!left && (session->plan->count > 0 || !given(session->args, "wait"))) {
        err = kith_error_set(error, KITH_EBUSY,
                             "table v%llu moves data; the next change comes after it. See: kithctl "
                             "plan show --watch",
                             (unsigned long long)joint->id.version);
    } else {
        (void)snprintf(through, sizeof(through), "%s", door);
        err =
            apply_rest(session, joint, through, kith_view_gains(&session->view, &complete), error);
    }
    kith_table_drop(joint);
    return err;
}

static enum kith_err apply(struct kith_plan_session *session, uint64_t version,
                           struct kith_error *error)
{
    struct kith_preview preview;
    char door[KITH_ADDRESS_SIZE] = "";
    bool force = given(session->args, "force");
    if (kith_table_is_joint(session->view.table) && !force) {
        return resume(session, error);
    }
    if (kith_table_is_joint(session->view.table)) {
        return kith_error_set(error, KITH_EBUSY,
                              "table v%llu moves data; give that up first: kithctl plan revert "
                              "--force",
                              (unsigned long long)session->view.table->id.version);
    }
    if (session->plan->count == 0 && !force) {
        return kith_error_set(error, KITH_EREFUSED, "nothing is staged; see: kithctl plan --help");
    }
    enum kith_err err = kith_plan_preview(session, force, &preview, error);
    if (err != KITH_OK) {
        return err;
    }
    if (!session->args->json) {
        kith_preview_losses(&preview, &session->view, stderr);
    }
    err = apply_check(session, &preview, version, error);
    if (err == KITH_OK) {
        err = newcomers_check(session, preview.joint, error);
    }
    if (err == KITH_OK) {
        err = propose(session, preview.joint, door, error);
    }
    if (err == KITH_OK) {
        err = apply_rest(session, preview.joint, door, preview.moves, error);
    }
    kith_preview_release(&preview);
    return err;
}

int kith_ctl_plan_apply(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_session session;
    uint64_t version = 0;
    if (args->count > 0) {
        const char *text = args->positional[0];
        text += *text == 'v' ? 1 : 0; /* as it is shown */
        for (const char *at = text; *at >= '0' && *at <= '9' && version < UINT64_MAX / 20; at++) {
            version = version * 10 + (uint64_t)(*at - '0');
        }
        if (version == 0 || strspn(text, "0123456789") != strlen(text)) {
            (void)kith_error_set(&error, KITH_EINVAL, "'%.100s' is no version of a table",
                                 args->positional[0]);
            return kith_ctl_usage(args, &error);
        }
    }
    enum kith_err err = kith_plan_open(args, given(args, "force"), &session, &error);
    if (err == KITH_OK) {
        err = apply(&session, version, &error);
    }
    kith_plan_close(&session);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

/* ---- revert ---- */

/* The same under the next epoch. */
static enum kith_err forced(struct kith_table **table)
{
    struct kith_table *plain = *table;
    struct kith_table *other = NULL;
    enum kith_err err =
        kith_table_new(&plain->cluster, plain->id.epoch + 1, plain->id.version, plain->partitions,
                       plain->replicas, plain->members, plain->member_count, plain->owners, &other);
    if (err == KITH_OK) {
        kith_table_drop(plain);
        *table = other;
    }
    return err;
}

static enum kith_err reverted_tell(const struct kith_plan_session *session,
                                   const struct kith_table *table, struct kith_error *error)
{
    const struct kith_view *before = &session->view; /* nobody has looked again */
    if (session->args->json) {
        return kith_json_print(json_pack("{s:s, s:I, s:I}", "result", "ok", "table",
                                         (json_int_t)table->id.version, "epoch",
                                         (json_int_t)table->id.epoch),
                               error);
    }
    (void)printf("The move is given up: table v%llu has the owners of before.\n",
                 (unsigned long long)table->id.version);
    for (uint32_t i = 0; i < before->count; i++) {
        char name[KITH_FORMAT_SIZE];
        if (before->nodes[i].move_flags & KITH_MEMBER_JOINS) {
            kith_format_node(&before->nodes[i].uuid, name);
            (void)printf("%s is no member any more: to add it later, start it with an empty data "
                         "directory.\n",
                         name);
        }
    }
    return KITH_OK;
}

int kith_ctl_plan_revert(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_session session;
    struct kith_table *table = NULL;
    char door[KITH_ADDRESS_SIZE] = "";
    enum kith_err err = kith_plan_open(args, true, &session, &error);
    if (err == KITH_OK && !kith_table_is_joint(session.view.table)) {
        err = kith_error_set(
            &error, KITH_EREFUSED, "table v%llu moves nothing: there is nothing to give up%s",
            (unsigned long long)session.view.table->id.version,
            session.plan->count > 0 ? "; what is staged goes by: kithctl plan drop" : "");
    }
    if (err == KITH_OK) {
        err = kith_table_revert(session.view.table, &table);
        if (err == KITH_OK && given(args, "force")) {
            err = forced(&table);
        }
        err = err == KITH_OK ? err : kith_error_set(&error, err, "out of memory");
    }
    if (err == KITH_OK) {
        err = propose(&session, table, door, &error);
    }
    if (err == KITH_OK) {
        err = reverted_tell(&session, table, &error);
    }
    kith_table_drop(table);
    kith_plan_close(&session);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
