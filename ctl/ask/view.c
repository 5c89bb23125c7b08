/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ask/view.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl/ask/own_cert.h"
#include "ctl/ctl.h"

static struct kith_msg status_question(void)
{
    struct kith_msg question;
    memset(&question, 0, sizeof(question));
    question.kind = KITH_MSG_STATUS_REQ;
    return question;
}

static bool is_status(const struct kith_link_ask *ask)
{
    return ask->box && ask->box->msg.kind == KITH_MSG_STATUS_RES &&
           ask->box->msg.u.status_res.status.err == KITH_OK;
}

static void asks_drop(struct kith_link_ask *asks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        kith_msg_box_drop(asks[i].box);
    }
}

/* ---- The door: who answers with a cluster ---- */

static enum kith_err door_error(const struct kith_link_ask *asks, uint32_t count,
                                struct kith_error *error)
{
    char list[400] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_status(&asks[i])) {
            return kith_error_set(
                error, KITH_ENOTREADY,
                "%s runs but has no cluster yet; make one: kithctl init %s, or add "
                "it to one: kithctl join %s --through MEMBER",
                asks[i].address, asks[i].address, asks[i].address);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *why = asks[i].box ? "an answer of the wrong kind" : asks[i].error.message;
        size_t room = sizeof(list) - used;
        int more = snprintf(list + used, room, "%s%s", used ? "; " : "", why);
        if (more < 0 || (size_t)more + sizeof("; ...") > room) { /* half an address is another's */
            (void)snprintf(list + used, room, "%s...", used ? "; " : "");
            break;
        }
        used += (size_t)more;
    }
    return kith_error_set(error, KITH_EUNREACH, "no node answered (%s); %s", list,
                          kith_ctl_nobody(list));
}

struct door {
    struct kith_msg_box *box; /* a STATUS_RES of a node with a cluster */
    const char *address;
    uint32_t count; /* those with a cluster */
    struct kith_view_stranger *asked;
};

static void door_release(struct door *door)
{
    kith_msg_box_drop(door->box);
    kith_free(door->asked);
}

static void door_keep(struct door *door, const struct kith_link_ask *ask)
{
    const struct kith_node_status *told = &ask->box->msg.u.status_res.node;
    struct kith_view_stranger *asked = &door->asked[door->count++];
    asked->uuid = told->node;
    asked->rows = told->rows;
    asked->chunks = told->chunks;
    (void)snprintf(asked->address, sizeof(asked->address), "%s", ask->address);
}

static enum kith_err door_find(struct kith_link *link, const char *const servers[], uint32_t count,
                               uint64_t timeout_ms, uint64_t patience_ms, struct door *ret_door,
                               struct kith_error *error)
{
    struct door door = {NULL, NULL, 0, kith_calloc(count, sizeof(*door.asked))};
    struct kith_link_ask *asks = kith_calloc(count, sizeof(*asks));
    if (!asks || !door.asked) {
        kith_free(asks);
        kith_free(door.asked);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < count; i++) {
        asks[i].address = servers[i];
    }
    struct kith_msg question = status_question();
    kith_link_ask(link, asks, count, &question, timeout_ms, patience_ms);
    struct kith_link_ask *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_status(&asks[i]) ||
            kith_uuid_is_nil(&asks[i].box->msg.u.status_res.node.cluster)) {
            continue;
        }
        door_keep(&door, &asks[i]);
        if (!best || kith_table_id_compare(&asks[i].box->msg.u.status_res.node.table,
                                           &best->box->msg.u.status_res.node.table) > 0) {
            best = &asks[i];
        }
    }
    enum kith_err err = KITH_OK;
    if (best) {
        door.box = kith_msg_box_hold(best->box);
        door.address = best->address;
        *ret_door = door;
    } else {
        err = door_error(asks, count, error);
        door_release(&door);
    }
    asks_drop(asks, count);
    kith_free(asks);
    return err;
}

static enum kith_err table_fetch(struct kith_link *link, const char *door, uint64_t timeout_ms,
                                 struct kith_table **ret_table, struct kith_error *error)
{
    struct kith_link_ask ask;
    struct kith_msg question;
    memset(&ask, 0, sizeof(ask));
    memset(&question, 0, sizeof(question));
    ask.address = door;
    question.kind = KITH_MSG_TABLE_REQ;
    kith_link_ask(link, &ask, 1, &question, timeout_ms, timeout_ms);
    if (!ask.box) {
        *error = ask.error;
        return error->code;
    }
    enum kith_err err = ask.box->msg.kind == KITH_MSG_TABLE_RES
                            ? ask.box->msg.u.table_res.status.err
                            : KITH_EFORMAT;
    if (err == KITH_OK) {
        err = kith_table_decode(ask.box->msg.u.table_res.table, ret_table);
    }
    kith_msg_box_drop(ask.box);
    return err == KITH_OK ? KITH_OK
                          : kith_error_set(error, err, "%s: no partition table: %s", door,
                                           kith_err_text((int)err));
}

/* ---- The members ---- */

static void gains_count(struct kith_view *view)
{
    const struct kith_table *table = view->table;
    for (uint32_t p = 0; p < table->partitions; p++) {
        const uint16_t *next = kith_table_next_owners(table, p);
        for (uint32_t i = 0; i < table->next_slots; i++) {
            view->nodes[next[i]].gains += !kith_table_owns(table, p, next[i]);
        }
    }
}

static void nodes_from_table(struct kith_view *view, const struct kith_status_res *door)
{
    for (uint32_t i = 0; i < view->count; i++) {
        struct kith_view_node *node = &view->nodes[i];
        node->uuid = view->table->members[i].uuid;
        (void)snprintf(node->zone, sizeof(node->zone), "%s", view->table->members[i].zone);
        for (uint32_t j = 0; j < door->member_count; j++) {
            const struct kith_member_info *info = &door->members[j];
            if (kith_uuid_equal(&info->uuid, &node->uuid)) {
                (void)snprintf(node->address, sizeof(node->address), "%s", info->address);
                (void)snprintf(node->software, sizeof(node->software), "%s", info->software);
                node->seen_ms_ago = info->seen_ms_ago;
            }
        }
    }
    for (size_t i = 0; i < (size_t)view->table->partitions * view->table->owner_slots; i++) {
        view->nodes[view->table->owners[i]].owned++;
    }
    if (kith_table_is_joint(view->table)) {
        for (uint32_t i = 0; i < view->count; i++) {
            view->nodes[i].move_flags = view->table->after[i].flags;
        }
        gains_count(view);
    }
}

static void self_told(struct kith_view_node *node, const struct kith_node_status *told)
{
    node->knows = told->table;
    node->rows = told->rows;
    node->row_bytes = told->row_bytes;
    node->chunks = told->chunks;
    node->chunk_bytes = told->chunk_bytes;
    node->disk_total_bytes = told->disk_total_bytes;
    node->disk_free_bytes = told->disk_free_bytes;
    node->puts = told->puts;
    node->gets = told->gets;
    node->scans = told->scans;
    node->hints = told->hints;
    node->hint_bytes = told->hint_bytes;
    node->hint_oldest_ms = told->hint_oldest_ms;
    node->custody = told->custody;
    node->thin_rows = told->thin_rows;
    node->pairs = told->pairs;
    node->pairs_never = told->pairs_never;
    node->pairs_oldest_ms = told->pairs_oldest_ms;
    node->space = told->space;
    node->refill_total = told->refill_total;
    node->refill_left = told->refill_left;
    node->aged_left = told->aged_left;
    node->conflicts = told->conflicts;
    node->uptime_ms = told->uptime_ms;
    node->condemned = told->sweep.condemned;
    node->swept = told->sweep.swept;
    node->swept_bytes = told->sweep.swept_bytes;
    node->sweep_ms_ago = told->sweep.ms_ago;
    (void)snprintf(node->sweep_waits, sizeof(node->sweep_waits), "%s",
                   told->sweep.waits ? told->sweep.waits : "");
    node->reaped = told->sweep.reaped;
    node->floors = told->sweep.floors;
    node->reap_ms_ago = told->sweep.reap_ms_ago;
    (void)snprintf(node->reap_waits, sizeof(node->reap_waits), "%s",
                   told->sweep.reap_waits ? told->sweep.reap_waits : "");
}

/* False where its buckets are none that we know. */
static bool times_take(const struct kith_duration_bucket *buckets, uint32_t count,
                       struct kith_histogram *ret_times)
{
    memset(ret_times, 0, sizeof *ret_times);
    for (uint32_t i = 0; i < count && count == KITH_HISTOGRAM_BOUNDS + 1; i++) {
        if (i < KITH_HISTOGRAM_BOUNDS && buckets[i].up_to_ns != kith_histogram_bounds_ns[i]) {
            return false;
        }
        ret_times->buckets[i] = buckets[i].count;
    }
    return count == KITH_HISTOGRAM_BOUNDS + 1;
}

static void node_answered(struct kith_view *view, struct kith_view_node *node,
                          const struct kith_status_res *res)
{
    if (!kith_uuid_equal(&res->node.node, &node->uuid)) {
        (void)snprintf(node->error, sizeof(node->error), "another node answers at %s",
                       node->address);
        return;
    }
    node->up = true;
    node->seen_ms_ago = 0;
    self_told(node, &res->node);
    node->timed =
        times_take(res->read_times, res->read_time_count, &node->read_times) &&
        times_take(res->write_times, res->write_time_count, &node->write_times);
    if (kith_table_is_joint(view->table) &&
        kith_table_id_compare(&node->knows, &view->table->id) == 0) {
        node->move_complete = res->node.move_complete;
        node->move_bytes = res->node.move_bytes;
        node->moved = res->node.moved;
    }
    (void)snprintf(node->software, sizeof(node->software), "%s",
                   res->node.software ? res->node.software : "");
    size_t row = (size_t)(node - view->nodes) * view->count;
    uint32_t seen_up = 0;
    for (uint32_t i = 0; i < res->member_count; i++) {
        uint16_t index = kith_table_find(view->table, &res->members[i].uuid);
        bool itself = kith_uuid_equal(&res->members[i].uuid, &node->uuid);
        if (index != KITH_NO_MEMBER) {
            view->hears[row + index] = res->members[i].up || itself;
            seen_up += view->hears[row + index];
        }
    }
    node->agrees =
        kith_table_id_compare(&res->node.table, &view->table->id) == 0 && seen_up >= view->count;
}

/* start_ms: before the door was asked, which tells when it has seen those that do not answer */
static enum kith_err members_ask(struct kith_link *link, struct kith_view *view,
                                 uint64_t timeout_ms, uint64_t patience_ms, uint64_t start_ms,
                                 struct kith_error *error)
{
    struct kith_link_ask *asks = kith_calloc(view->count, sizeof(*asks));
    if (!asks) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < view->count; i++) {
        asks[i].address = view->nodes[i].address;
    }
    struct kith_msg question = status_question();
    kith_link_ask(link, asks, view->count, &question, timeout_ms, patience_ms);
    for (uint32_t i = 0; i < view->count; i++) {
        if (is_status(&asks[i])) {
            node_answered(view, &view->nodes[i], &asks[i].box->msg.u.status_res);
        } else {
            struct kith_view_node *node = &view->nodes[i];
            node->silent = !asks[i].box && asks[i].error.code == KITH_ETIMEOUT;
            if (node->seen_ms_ago != UINT64_MAX) { /* it was not seen since either */
                node->seen_ms_ago += kith_mono_ms() - start_ms;
            }
            (void)snprintf(node->error, sizeof(node->error), "%.399s",
                           asks[i].box ? "no status in its answer" : asks[i].error.message);
        }
    }
    asks_drop(asks, view->count);
    kith_free(asks);
    return KITH_OK;
}

static enum kith_err view_make(struct kith_link *link, const struct door *door,
                               uint64_t timeout_ms, uint64_t patience_ms, uint64_t start_ms,
                               struct kith_view *ret_view, struct kith_error *error)
{
    struct kith_view view;
    memset(&view, 0, sizeof(view));
    enum kith_err err = table_fetch(link, door->address, timeout_ms, &view.table, error);
    if (err == KITH_OK) {
        const struct kith_status_res *res = &door->box->msg.u.status_res;
        (void)snprintf(view.name, sizeof(view.name), "%s",
                       res->node.cluster_name ? res->node.cluster_name : "");
        view.count = view.table->member_count;
        view.nodes = kith_calloc(view.count, sizeof(*view.nodes));
        view.hears = kith_calloc((size_t)view.count * view.count, sizeof(*view.hears));
        if (view.nodes && view.hears) {
            nodes_from_table(&view, res);
            err = members_ask(link, &view, timeout_ms, patience_ms, start_ms, error);
        } else {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    if (err != KITH_OK) {
        kith_view_release(&view);
        return err;
    }
    *ret_view = view;
    return KITH_OK;
}

/* Where a member has a newer table, the view by that: who was asked has not heard of it, as one that
 * was replaced while it was away. It stays where that fails. */
static void view_renew(struct kith_link *link, uint64_t timeout_ms, uint64_t patience_ms,
                       uint64_t start_ms, struct kith_view *view)
{
    const struct kith_view_node *best = NULL;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        const struct kith_table_id *known = best ? &best->knows : &view->table->id;
        best = node->up && kith_table_id_compare(&node->knows, known) > 0 ? node : best;
    }
    const char *server = best ? best->address : NULL;
    struct kith_error ignored;
    struct kith_view newer;
    struct door door;
    if (!best || door_find(link, &server, 1, timeout_ms, patience_ms, &door, &ignored) != KITH_OK) {
        return;
    }
    if (view_make(link, &door, timeout_ms, patience_ms, start_ms, &newer, &ignored) == KITH_OK) {
        kith_view_release(view);
        *view = newer;
    }
    door_release(&door);
}

/* Of those that were asked; the list is taken from the door. */
static void strangers_take(struct kith_view *view, struct door *door)
{
    view->strangers = door->asked;
    door->asked = NULL;
    for (uint32_t i = 0; i < door->count; i++) {
        if (kith_table_find(view->table, &view->strangers[i].uuid) == KITH_NO_MEMBER) {
            view->strangers[view->stranger_count++] = view->strangers[i];
        }
    }
}

enum kith_err kith_view_read(struct kith_link *link, const char *const servers[],
                             uint32_t server_count, uint64_t timeout_ms, uint64_t patience_ms,
                             struct kith_view *ret_view, struct kith_error *error)
{
    uint64_t start_ms = kith_mono_ms();
    struct kith_view view;
    struct door door;
    enum kith_err err =
        door_find(link, servers, server_count, timeout_ms, patience_ms, &door, error);
    if (err != KITH_OK) {
        return err;
    }
    err = view_make(link, &door, timeout_ms, patience_ms, start_ms, &view, error);
    if (err == KITH_OK) {
        view_renew(link, timeout_ms, patience_ms, start_ms, &view);
        strangers_take(&view, &door);
        (void)kith_view_health(&view);
        *ret_view = view;
    }
    door_release(&door);
    return err;
}

enum kith_err kith_view_ask(struct kith_link *link, const struct kith_ctl_args *args,
                            struct kith_view *ret_view, struct kith_error *error)
{
    const char *servers[KITH_CTL_SERVERS_MAX];
    for (uint32_t i = 0; i < args->server_count; i++) {
        servers[i] = args->servers[i];
    }
    return kith_view_read(link, servers, args->server_count, args->timeout_ms,
                          KITH_VIEW_PATIENCE_MS, ret_view, error);
}

enum kith_err kith_view_ask_once(const struct kith_ctl_args *args, struct kith_view *ret_view,
                                 struct kith_error *error)
{
    struct kith_link *link = NULL;
    enum kith_err err = kith_link_new(&link, error);
    if (err == KITH_OK) {
        err = kith_view_ask(link, args, ret_view, error);
    }
    kith_link_free(link);
    return err;
}

void kith_view_release(struct kith_view *view)
{
    kith_table_drop(view->table);
    kith_free(view->nodes);
    kith_free(view->hears);
    kith_free(view->strangers);
    memset(view, 0, sizeof(*view));
}

uint32_t kith_view_gains(const struct kith_view *view, uint32_t *ret_complete)
{
    uint32_t gains = 0;
    *ret_complete = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        gains += view->nodes[i].gains;
        *ret_complete += view->nodes[i].move_complete;
    }
    return gains;
}

uint64_t kith_view_conflicts(const struct kith_view *view)
{
    uint64_t files = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        files += view->nodes[i].up ? view->nodes[i].conflicts : 0;
    }
    return files;
}

bool kith_view_awaited(const struct kith_view_node *node)
{
    bool part = node->gains > 0 || (node->move_flags & KITH_MEMBER_LEAVES) != 0;
    return part && !node->moved && (node->move_flags & KITH_MEMBER_GONE) == 0;
}

int kith_view_health(struct kith_view *view)
{
    bool *up = kith_calloc(2 * (size_t)view->count, sizeof(*up));
    bool *reads = up + view->count;
    bool refills = false;
    view->up = 0;
    view->agree = 0;
    if (!up) {
        return KITH_CTL_BELOW;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        up[i] = view->nodes[i].up;
        /* of all: which, it does not say */
        reads[i] = up[i] && view->nodes[i].refill_left == 0 && view->nodes[i].aged_left == 0;
        refills = refills || (up[i] && !reads[i]);
        view->up += up[i];
        view->agree += view->nodes[i].agrees;
    }
    struct kith_reach reach = {view->count, up, view->hears, reads};
    view->health = kith_health_of(view->table, &reach);
    kith_free(up);
    return view->health.unreadable > 0 || view->health.unwritable > 0 ? KITH_CTL_BELOW
           : view->agree < view->count || refills                     ? KITH_CTL_FAILED
                                                                      : KITH_CTL_OK;
}
