/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * plan_stage.c - kithctl plan join, leave, replace, weight, zone, drop: what is to be changed,
 * noted down. Nothing of the cluster changes by it; apply does that (plan_apply.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl/ask/cluster.h"
#include "ctl/format.h"
#include "ctl/plan/plan_session.h"

/* The change's node, by the command's first word; a member, or one that is staged to join. */
static enum kith_err node_named(struct kith_plan_session *session, struct kith_plan_change *change,
                                struct kith_error *error)
{
    return kith_plan_find(&session->view, session->plan, session->args->positional[0],
                          &change->node, error);
}

/* Zones are read by people, and stand in columns. */
static enum kith_err zone_read(const char *text, char zone[KITH_ZONE_SIZE],
                               struct kith_error *error)
{
    if (strlen(text) >= KITH_ZONE_SIZE) {
        return kith_error_set(error, KITH_EINVAL,
                              "a zone's name has at most %u bytes, this one %zu",
                              KITH_ZONE_SIZE - 1, strlen(text));
    }
    memset(zone, 0, KITH_ZONE_SIZE);
    (void)strcpy(zone, strcmp(text, "-") == 0 ? "" : text);
    return KITH_OK;
}

static enum kith_err weight_read(const char *text, uint32_t *ret_weight, struct kith_error *error)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    if (!end || *end || errno != 0 || value < 1 || value > KITH_WEIGHT_MAX) {
        return kith_error_set(error, KITH_EINVAL, "a weight is a number from 1 to %u, not '%s'",
                              KITH_WEIGHT_MAX, text);
    }
    *ret_weight = (uint32_t)value;
    return KITH_OK;
}

/* A node that is staged to leave is not to be changed, nor replaced, too. */
static enum kith_err stays(const struct kith_plan_session *session, const struct kith_uuid *node,
                           struct kith_error *error)
{
    char name[KITH_FORMAT_SIZE];
    kith_format_node(node, name);
    return kith_plan_leaves(session->plan, node)
               ? kith_error_set(error, KITH_EREFUSED,
                                "%s is staged to leave; if it is to stay: kithctl plan drop %s",
                                name, name)
               : KITH_OK;
}

static enum kith_err change_make(struct kith_plan_session *session, struct kith_plan_change *change,
                                 struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    switch (change->kind) {
    case KITH_PLAN_JOIN:
        return kith_plan_newcomer(session, change->address, &change->node, error);
    case KITH_PLAN_LEAVE:
        return node_named(session, change, error);
    case KITH_PLAN_REPLACE:
        err = node_named(session, change, error);
        if (err == KITH_OK &&
            kith_table_find(session->view.table, &change->node) == KITH_NO_MEMBER) {
            err = kith_error_set(error, KITH_EREFUSED,
                                 "'%s' is no member yet: stage the other one to join instead",
                                 session->args->positional[0]);
        }
        return err == KITH_OK ? kith_plan_newcomer(session, change->address, &change->with, error)
                              : err;
    case KITH_PLAN_WEIGHT:
    case KITH_PLAN_ZONE:
        err = node_named(session, change, error);
        return err == KITH_OK ? stays(session, &change->node, error) : err;
    }
    return err;
}

static enum kith_err told(const struct kith_plan_session *session,
                          const struct kith_plan_change *change, bool other,
                          struct kith_error *error)
{
    char text[700];
    if (session->args->json) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < session->plan->count; i++) {
            (void)json_array_append_new(list, kith_plan_change_json(&session->plan->changes[i]));
        }
        if (json_array_size(list) != session->plan->count) {
            json_decref(list);
            list = NULL;
        }
        return kith_json_print(
            json_pack("{s:s, s:b, s:o}", "result", "ok", "replaced", (int)other, "changes", list),
            error);
    }
    kith_plan_change_text(change, &session->view, text, sizeof(text));
    bool there = false;
    for (uint32_t i = 0; i < session->plan->count; i++) {
        there = there || kith_uuid_equal(&session->plan->changes[i].node, &change->node);
    }
    (void)printf("Staged: %s%s\n", text,
                 !there  ? "; it was only staged to join, and is forgotten"
                 : other ? "; what was staged before for it is forgotten"
                         : "");
    (void)printf("%u change%s staged, nothing applied yet. What moves: kithctl plan show\n",
                 session->plan->count, session->plan->count == 1 ? "" : "s");
    return KITH_OK;
}

static int stage(const struct kith_ctl_args *args, struct kith_plan_change *change)
{
    struct kith_error error;
    struct kith_plan_session session;
    bool other = false;
    enum kith_err err = kith_plan_open(args, false, &session, &error);
    if (err == KITH_OK) {
        err = change_make(&session, change, &error);
    }
    if (err == KITH_OK) {
        err = kith_plan_add(session.plan, change, &other, &error);
    }
    if (err == KITH_OK) {
        struct kith_member *members = /* somebody must be left */
            kith_calloc(session.view.count + session.plan->count, sizeof(*members));
        if (!members) {
            err = kith_error_set(&error, KITH_ENOMEM, "out of memory");
        } else if (kith_plan_members(session.view.table, session.plan, NULL, 0, members) == 0) {
            err = kith_error_set(&error, KITH_EREFUSED, "no node would be left");
        }
        kith_free(members);
    }
    if (err == KITH_OK) {
        err = kith_plan_keep(&session, &error);
    }
    if (err == KITH_OK) {
        err = told(&session, change, other, &error);
    }
    kith_plan_close(&session);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

/* ---- The commands ---- */

static struct kith_plan_change change_of(enum kith_plan_kind kind)
{
    struct kith_plan_change change;
    memset(&change, 0, sizeof(change));
    change.kind = kind;
    return change;
}

int kith_ctl_plan_join(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_change change = change_of(KITH_PLAN_JOIN);
    const char *zone = kith_ctl_value(args, "zone");
    uint64_t weight = 1;
    if (kith_ctl_address(args->positional[0], change.address, &error) != KITH_OK ||
        zone_read(zone ? zone : "", change.zone, &error) != KITH_OK ||
        kith_ctl_number(args, "weight", 1, KITH_WEIGHT_MAX, &weight, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    change.weight = (uint32_t)weight;
    return stage(args, &change);
}

int kith_ctl_plan_leave(const struct kith_ctl_args *args)
{
    struct kith_plan_change change = change_of(KITH_PLAN_LEAVE);
    return stage(args, &change);
}

int kith_ctl_plan_replace(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_change change = change_of(KITH_PLAN_REPLACE);
    if (kith_ctl_address(args->positional[1], change.address, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    return stage(args, &change);
}

int kith_ctl_plan_weight(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_change change = change_of(KITH_PLAN_WEIGHT);
    if (weight_read(args->positional[1], &change.weight, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    return stage(args, &change);
}

int kith_ctl_plan_zone(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_change change = change_of(KITH_PLAN_ZONE);
    if (zone_read(args->positional[1], change.zone, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    return stage(args, &change);
}

/* What cannot be read is forgotten, too, when all is. */
static enum kith_err dropped(struct kith_plan_session *session, uint32_t *ret_count,
                             struct kith_error *error)
{
    struct kith_uuid node;
    uint32_t count = session->plan->count;
    enum kith_err err = KITH_OK;
    if (session->args->count > 0) {
        err = kith_plan_find(&session->view, session->plan, session->args->positional[0], &node,
                             error);
        count = err == KITH_OK ? kith_plan_forget(session->plan, &node) : 0;
    } else {
        session->plan->count = 0;
    }
    *ret_count = count;
    return err == KITH_OK ? kith_plan_keep(session, error) : err;
}

int kith_ctl_plan_drop(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_plan_session session;
    uint32_t count = 0;
    enum kith_err err = kith_plan_open(args, false, &session, &error);
    bool unreadable = err == KITH_EFORMAT || err == KITH_EVERSION;
    if (err == KITH_OK || (unreadable && session.door.client && args->count == 0)) {
        err = dropped(&session, &count, &error);
    }
    uint32_t left = session.plan ? session.plan->count : 0;
    kith_plan_close(&session);
    if (err == KITH_OK && args->json) {
        err = kith_json_print(json_pack("{s:s, s:i, s:i}", "result", "ok", "dropped", (int)count,
                                        "staged", (int)left),
                              &error);
    } else if (err == KITH_OK) {
        (void)printf(count == 0 ? "Nothing was staged%s.\n" : "Forgotten%s.\n",
                     args->count > 0 ? " for that node" : "");
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
