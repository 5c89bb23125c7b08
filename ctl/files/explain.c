/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * explain.c - the command: finds the rows of a key or a path and asks every owner for its own. */
#include "ctl/files/explain.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/files/place.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "ctl/screens/status.h"
#include "text/columns.h"


/* ---- What the owners' rows say together ---- */

enum kith_err kith_explain_compare(struct kith_arena *arena, struct kith_explain *explain)
{
    struct kith_row whole;
    memset(&whole, 0, sizeof(whole));
    explain->answered = 0;
    explain->agree = true;
    for (uint32_t i = 0; i < explain->count; i++) {
        struct kith_explain_owner *owner = &explain->owners[i];
        if (owner->state != KITH_EXPLAIN_NO_ANSWER) {
            enum kith_err err = kith_row_merge(arena, &whole, &owner->row, &whole);
            if (err != KITH_OK) {
                return err;
            }
            explain->answered++;
        }
    }
    const struct kith_explain_owner *first = NULL; /* with all */
    for (uint32_t i = 0; i < explain->count; i++) {
        struct kith_explain_owner *owner = &explain->owners[i];
        if (owner->state == KITH_EXPLAIN_NO_ANSWER) {
            continue;
        }
        bool all = kith_clock_compare(&owner->row.clock, &whole.clock) == KITH_CLOCK_EQUAL;
        owner->state = kith_row_is_empty(&owner->row) ? KITH_EXPLAIN_NEVER
                       : all                          ? KITH_EXPLAIN_WHOLE
                                                      : KITH_EXPLAIN_BEHIND;
        if (owner->state == KITH_EXPLAIN_WHOLE && first &&
            !kith_checksum_equal(&owner->hash, &first->hash)) {
            owner->state = KITH_EXPLAIN_WRONG;
        }
        first = all && !first ? owner : first;
        explain->agree = explain->agree && all && owner->state != KITH_EXPLAIN_WRONG;
    }
    explain->whole = whole;
    return KITH_OK;
}

/* ---- Asking ---- */

static void owner_take(struct kith_arena *arena, struct kith_explain_owner *owner,
                       const struct kith_link_ask *ask)
{
    const struct kith_get_res *res = ask->box ? &ask->box->msg.u.get_res : NULL;
    owner->state = KITH_EXPLAIN_NO_ANSWER;
    if (!res) {
        (void)snprintf(owner->error, sizeof(owner->error), "%.399s", ask->error.message);
        return;
    }
    if (ask->box->msg.kind != KITH_MSG_GET_RES || res->status.err != KITH_OK ||
        res->row_count != 1) {
        bool refused = ask->box->msg.kind == KITH_MSG_GET_RES && res->status.err != KITH_OK;
        bool text = refused && res->status.message && *res->status.message;
        (void)snprintf(owner->error, sizeof(owner->error), "%s: %.300s", ask->address,
                       text      ? res->status.message
                       : refused ? kith_err_text((int)res->status.err)
                                 : "an answer of the wrong kind");
        return;
    }
    struct kith_row row;
    enum kith_err err = kith_row_decode(arena, res->rows[0].state, &row);
    if (err == KITH_OK) {
        err = kith_row_copy(arena, &row, &owner->row);
    }
    if (err != KITH_OK) {
        (void)snprintf(owner->error, sizeof(owner->error), "%s: its row: %s", ask->address,
                       kith_err_text((int)err));
        return;
    }
    owner->hash = res->rows[0].hash;
    owner->state = KITH_EXPLAIN_NEVER; /* until they are compared */
}

/* How far anti-entropy is there; where that cannot be learnt, the rest is told without it. */
static void pairs_ask(struct kith_link *link, struct kith_explain *explain)
{
    struct kith_link_ask asks[KITH_REPLICAS_MAX];
    struct kith_msg question;
    memset(asks, 0, sizeof(asks));
    memset(&question, 0, sizeof(question));
    question.kind = KITH_MSG_EXPLAIN_REQ;
    question.u.explain_req.group = explain->group;
    question.u.explain_req.name = explain->name;
    for (uint32_t i = 0; i < explain->count; i++) {
        asks[i].address = explain->owners[i].node->address;
    }
    kith_link_ask(link, asks, explain->count, &question, KITH_VIEW_PATIENCE_MS,
                  KITH_VIEW_PATIENCE_MS);
    for (uint32_t i = 0; i < explain->count; i++) {
        struct kith_explain_owner *owner = &explain->owners[i];
        const struct kith_explain_res *res =
            asks[i].box && asks[i].box->msg.kind == KITH_MSG_EXPLAIN_RES
                ? &asks[i].box->msg.u.explain_res
                : NULL;
        owner->pair_count = res && res->status.err == KITH_OK ? res->pair_count : 0;
        for (uint32_t k = 0; k < owner->pair_count; k++) {
            owner->pairs[k] = res->pairs[k];
        }
        kith_msg_box_drop(asks[i].box);
    }
}

static enum kith_err owners_ask(const struct kith_ctl_args *args, struct kith_link *link,
                                const struct kith_view *view, struct kith_arena *arena,
                                struct kith_explain *explain, struct kith_error *error)
{
    struct kith_link_ask asks[KITH_REPLICAS_MAX];
    struct kith_msg question;
    const uint16_t *owners = kith_table_owners(view->table, explain->partition);
    memset(asks, 0, sizeof(asks));
    memset(&question, 0, sizeof(question));
    question.kind = KITH_MSG_GET_REQ;
    question.u.get_req.table = view->table->id;
    question.u.get_req.group = explain->group;
    question.u.get_req.name_count = 1;
    question.u.get_req.names = &explain->name;
    explain->count = view->table->owner_slots;
    for (uint32_t i = 0; i < explain->count; i++) {
        explain->owners[i].node = &view->nodes[owners[i]];
        asks[i].address = explain->owners[i].node->address;
    }
    kith_link_ask(link, asks, explain->count, &question, args->timeout_ms, KITH_VIEW_PATIENCE_MS);
    for (uint32_t i = 0; i < explain->count; i++) {
        owner_take(arena, &explain->owners[i], &asks[i]);
        kith_msg_box_drop(asks[i].box);
    }
    pairs_ask(link, explain);
    enum kith_err err = kith_explain_compare(arena, explain);
    if (err == KITH_OK && explain->answered == 0) {
        return kith_error_set(error, KITH_EUNREACH, "no owner answered (%s); see: kithctl status",
                              explain->owners[0].error);
    }
    return err == KITH_OK ? err
                          : kith_error_set(error, err, "what the owners hold cannot be merged: %s",
                                           kith_err_text((int)err));
}

/* ---- What is asked for ---- */

struct place {
    char path[KITH_PATH_SIZE]; /* "": a key */
    uint32_t volume; /* of the path */
    uint32_t count;
    struct kith_path_row rows[KITH_PATH_ROWS_MAX];
    struct kith_bytes key;
};

/* A key: "/" and "." begin a path, unless --key says otherwise. */
static enum kith_err place_of(struct kith_ctl_args *args, struct place *ret_place,
                              struct kith_error *error)
{
    const char *text = args->positional[0];
    memset(ret_place, 0, sizeof(*ret_place));
    if ((*text == '/' || *text == '.') && !kith_ctl_value(args, "key")) {
        bool mounted = false;
        return kith_place_find(args, text, kith_ctl_value(args, "volume"), ret_place->path,
                               &ret_place->volume, &mounted, error);
    }
    ret_place->key = kith_bytes_make(text, strlen(text));
    if (ret_place->key.size == 0 || ret_place->key.size > KITH_NAME_MAX) {
        return kith_error_set(error, KITH_EINVAL, "a key has 1 to %u bytes, this one %zu",
                              KITH_NAME_MAX, ret_place->key.size);
    }
    return KITH_OK;
}

static enum kith_err rows_find(const struct kith_ctl_args *args, struct place *place,
                               struct kith_error *error)
{
    struct kith_door door;
    if (!*place->path) {
        place->count = 1;
        place->rows[0].what = "key";
        place->rows[0].group = kith_group_of_kv(place->key);
        return KITH_OK;
    }
    enum kith_err err = kith_door_open(args, NULL, &door, error);
    if (err != KITH_OK) {
        return err;
    }
    err = kith_path_walk(&door, place->volume, place->path, place->rows, &place->count, error);
    kith_client_close(door.client);
    return err;
}

/* ---- The command ---- */

static enum kith_err show(const struct kith_ctl_args *args, const struct kith_view *view,
                          const struct place *place, const struct kith_explain explains[],
                          struct kith_error *error)
{
    const char *name = *place->path ? place->path : args->positional[0];
    const char *kind = *place->path ? "path" : "key";
    if (args->json) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < place->count; i++) {
            (void)json_array_append_new(list, kith_explain_json(&explains[i])); /* counted below */
        }
        if (json_array_size(list) != place->count) {
            json_decref(list);
            list = NULL;
        }
        json_t *object =
            json_pack("{s:I, s:o}", "table", (json_int_t)view->table->id.version, "rows", list);
        return kith_json_print(kith_json_named(kind, name, object), error);
    }
    (void)fputs(*place->path ? "Path " : "Key ", stdout);
    kith_print_escaped(stdout, kith_bytes_make(name, strlen(name)));
    (void)printf("   table v%llu   N=%u R=%u W=%u\n", (unsigned long long)view->table->id.version,
                 view->table->replicas, view->health.quorum, view->health.quorum);
    for (uint32_t i = 0; i < place->count; i++) {
        /* attributes that were never changed have no row: nothing to tell */
        bool there = !kith_row_is_empty(&explains[i].whole);
        if ((i == 0 || there) &&
            kith_explain_print(view, &explains[i], stdout, kith_colours_shown(stdout)) != KITH_OK) {
            return kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    kith_status_sweep_print(view, stdout);
    return KITH_OK;
}

static enum kith_err run(const struct kith_ctl_args *args, struct place *place,
                         struct kith_arena *arena, bool *ret_there, struct kith_error *error)
{
    struct kith_link *link = NULL;
    struct kith_view view;
    struct kith_explain *explains = kith_arena_calloc(arena, KITH_PATH_ROWS_MAX, sizeof(*explains));
    enum kith_err err = explains ? kith_link_new(&link, error)
                                 : kith_error_set(error, KITH_ENOMEM, "out of memory");
    if (err != KITH_OK) {
        return err;
    }
    err = kith_view_ask(link, args, &view, error);
    if (err == KITH_OK) {
        err = rows_find(args, place, error);
        for (uint32_t i = 0; err == KITH_OK && i < place->count; i++) {
            explains[i].what = place->rows[i].what;
            explains[i].group = place->rows[i].group;
            explains[i].name = *place->path ? kith_rowname_bytes(&place->rows[i].name) : place->key;
            explains[i].partition =
                kith_group_partition(&explains[i].group, view.table->partitions);
            err = owners_ask(args, link, &view, arena, &explains[i], error);
        }
        *ret_there = err == KITH_OK && !kith_row_is_empty(&explains[0].whole);
        if (err == KITH_OK) {
            err = show(args, &view, place, explains, error);
        }
        kith_view_release(&view);
    }
    kith_link_free(link);
    return err;
}

/* Who writes a path as everywhere else asks for a key that nobody has. */
static void hint(const struct kith_ctl_args *args, const struct place *place, bool there)
{
    const char *name = args->positional[0];
    if (!there && !*place->path && !kith_ctl_value(args, "key") && access(name, F_OK) == 0) {
        kith_report_warning(args->json,
                            "'%s' was taken for a key; for the file: kithctl explain ./%s", name,
                            name);
    }
}

int kith_ctl_explain(const struct kith_ctl_args *given)
{
    struct kith_error error;
    struct kith_arena arena;
    struct kith_ctl_args *args = kith_malloc(sizeof(*args));
    struct place *place = kith_malloc(sizeof(*place));
    bool there = false;
    int status = KITH_CTL_OK;
    kith_arena_init(&arena, 0);
    if (!args || !place) {
        (void)kith_error_set(&error, KITH_ENOMEM, "out of memory");
        status = kith_ctl_fail(given, &error);
    } else {
        *args = *given;
        if (place_of(args, place, &error) != KITH_OK) {
            status = kith_ctl_usage(args, &error);
        } else if (run(args, place, &arena, &there, &error) != KITH_OK) {
            status = kith_ctl_fail(args, &error);
        } else {
            status = there ? KITH_CTL_OK : KITH_CTL_NO_KEY;
            hint(args, place, there);
        }
    }
    kith_arena_release(&arena);
    kith_free(args);
    kith_free(place);
    return status;
}
