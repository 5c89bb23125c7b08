/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * status.c - the command: reads the view, shows it once or, with --watch, again and again. */
#include "ctl/screens/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/format.h"
#include "ctl/screens/again.h"
#include "text/columns.h"

/* ---- JSON ---- */

static const char *state_word(const struct kith_view_node *node)
{
    return node->up ? "up" : node->silent ? "silent" : "down";
}

/* What only a node that answers has told. */
static const char *space_word(uint32_t space)
{
    static const char *const words[] = {"wide", "low", "scarce", "full"};
    return words[space < 3 ? space : 3];
}

/* What was deleted, and is forgotten by now. */
static json_t *reap_json(const struct kith_view_node *node)
{
    bool never = node->reap_ms_ago == UINT64_MAX;
    return json_pack("{s:I, s:I, s:o, s:o}", "rows", (json_int_t)node->reaped, "floors",
                     (json_int_t)node->floors, "looked_ms_ago",
                     never ? json_null() : json_integer((json_int_t)node->reap_ms_ago), "waits_for",
                     kith_json_text(node->reap_waits, strlen(node->reap_waits)));
}

/* Contents to which nothing refers any more (kithd --sweep). */
static json_t *sweep_json(const struct kith_view_node *node)
{
    bool never = node->sweep_ms_ago == UINT64_MAX;
    return json_pack("{s:I, s:I, s:I, s:o, s:o}", "condemned", (json_int_t)node->condemned, "swept",
                     (json_int_t)node->swept, "swept_bytes", (json_int_t)node->swept_bytes,
                     "looked_ms_ago",
                     never ? json_null() : json_integer((json_int_t)node->sweep_ms_ago), "waits_for",
                     kith_json_text(node->sweep_waits, strlen(node->sweep_waits)));
}

static json_t *told_json(const struct kith_view *view, const struct kith_view_node *node)
{
    json_t *unheard = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        char uuid[KITH_UUID_TEXT_SIZE];
        if (!view->hears[(size_t)(node - view->nodes) * view->count + i]) {
            kith_uuid_format(&view->nodes[i].uuid, uuid);
            (void)json_array_append_new(unheard, json_string(uuid)); /* where memory is short the
                                                                        next one fails, too */
        }
    }
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, "
        "s:o, s:o, s:o, s:I, s:I, s:I, s:I}",
        "rows", (json_int_t)node->rows, "row_bytes", (json_int_t)node->row_bytes, "chunks",
        (json_int_t)node->chunks, "chunk_bytes", (json_int_t)node->chunk_bytes, "disk_total_bytes",
        (json_int_t)node->disk_total_bytes, "disk_free_bytes", (json_int_t)node->disk_free_bytes,
        "hints", (json_int_t)node->hints, "hint_bytes", (json_int_t)node->hint_bytes,
        "hint_oldest_ms", (json_int_t)node->hint_oldest_ms, "custody", (json_int_t)node->custody,
        "thin_rows", (json_int_t)node->thin_rows, "pairs", (json_int_t)node->pairs, "pairs_never",
        (json_int_t)node->pairs_never, "space", space_word(node->space), "pairs_oldest_ms",
        (json_int_t)node->pairs_oldest_ms, "uptime_ms", (json_int_t)node->uptime_ms, "table",
        (json_int_t)node->knows.version, "does_not_hear", unheard, "sweep", sweep_json(node),
        "reap", reap_json(node),
        "refill_total", (json_int_t)node->refill_total, "refill_left",
        (json_int_t)node->refill_left, "aged_left", (json_int_t)node->aged_left, "conflicts",
        (json_int_t)node->conflicts);
}

/* Its part of what a joint table moves. */
static json_t *move_json(const struct kith_view_node *node)
{
    return json_pack("{s:b, s:b, s:b, s:i, s:i, s:I, s:b}", "joins",
                     (node->move_flags & KITH_MEMBER_JOINS) != 0, "leaves",
                     (node->move_flags & KITH_MEMBER_LEAVES) != 0, "gone",
                     (node->move_flags & KITH_MEMBER_GONE) != 0, "gains", (int)node->gains,
                     "complete", (int)node->move_complete, "bytes", (json_int_t)node->move_bytes,
                     "awaited", (int)kith_view_awaited(node));
}

static json_t *node_json(const struct kith_view *view, const struct kith_view_node *node)
{
    char uuid[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&node->uuid, uuid);
    bool seen = node->seen_ms_ago != UINT64_MAX;
    json_t *object = json_pack("{s:s, s:s, s:s, s:b, s:I, s:o, s:s}", "node", uuid, "address",
                               node->address, "state", state_word(node), "agrees", node->agrees,
                               "partitions", (json_int_t)node->owned, "seen_ms_ago",
                               seen ? json_integer((json_int_t)node->seen_ms_ago) : json_null(),
                               "version", node->software);
    bool good =
        object &&
        kith_json_bytes(object, "zone", kith_bytes_make(node->zone, strlen(node->zone))) == KITH_OK;
    if (good && node->up) {
        good = json_object_update_new(object, told_json(view, node)) == 0;
    } else if (good) {
        good = json_object_set_new(object, "error",
                                   kith_json_text(node->error, strlen(node->error))) == 0;
    }
    if (good && kith_table_is_joint(view->table)) {
        good = json_object_set_new(object, "move", move_json(node)) == 0;
    }
    if (!good) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* Servers that were asked and are members no more. */
static json_t *strangers_json(const struct kith_view *view)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < view->stranger_count; i++) {
        const struct kith_view_stranger *stranger = &view->strangers[i];
        char uuid[KITH_UUID_TEXT_SIZE];
        kith_uuid_format(&stranger->uuid, uuid);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "node", uuid, "address",
                                                    stranger->address, "rows",
                                                    (json_int_t)stranger->rows, "chunks",
                                                    (json_int_t)stranger->chunks));
    } /* counted below */
    if (json_array_size(list) != view->stranger_count) {
        json_decref(list);
        return NULL;
    }
    return list;
}

json_t *kith_status_json(struct kith_view *view)
{
    static const char *const words[] = {"healthy", "degraded", "below_quorum"};
    const char *word = words[kith_view_health(view)];
    const struct kith_health *health = &view->health;
    uint32_t below =
        health->unreadable > health->unwritable ? health->unreadable : health->unwritable;
    json_t *list = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        (void)json_array_append_new(list, node_json(view, &view->nodes[i])); /* counted below */
    }
    if (json_array_size(list) != view->count) {
        json_decref(list);
        return NULL;
    }
    char uuid[KITH_UUID_TEXT_SIZE];
    uint32_t complete = 0;
    uint32_t gains = kith_view_gains(view, &complete);
    kith_uuid_format(&view->table->cluster, uuid);
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:I, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, "
        "s:o, s:o}",
        "uuid", uuid, "health", word, "epoch", (json_int_t)view->table->id.epoch, "table",
        (json_int_t)view->table->id.version, "moving", (int)kith_table_is_joint(view->table),
        "replicas_to_move", (int)gains, "replicas_moved", (int)complete, "partitions",
        (int)health->partitions, "replicas", (int)view->table->replicas, "quorum",
        (int)health->quorum, "nodes_up", (int)view->up, "partitions_below_quorum", (int)below,
        "partitions_unreadable", (int)health->unreadable, "partitions_unwritable",
        (int)health->unwritable, "partitions_ownerless", (int)health->ownerless, "partitions_thin",
        (int)health->thin, "conflicts", (json_int_t)kith_view_conflicts(view), "nodes", list,
        "former_members", strangers_json(view));
    return kith_json_named("cluster", view->name, object);
}

/* ---- Showing ---- */

static enum kith_err look_print(const struct kith_ctl_args *args, struct kith_view *view,
                                struct kith_error *error)
{
    if (args->json) {
        return kith_json_print(kith_status_json(view), error);
    }
    return kith_status_print(view, stdout, kith_colours_shown(stdout)) == KITH_OK
               ? KITH_OK
               : kith_error_set(error, KITH_ENOMEM, "out of memory");
}

static int look(const struct kith_ctl_args *args, struct kith_link *link,
                const char *const servers[], uint32_t count)
{
    struct kith_error error;
    struct kith_view view;
    if (kith_view_read(link, servers, count, args->timeout_ms, KITH_VIEW_PATIENCE_MS, &view,
                       &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    int health = kith_view_health(&view);
    enum kith_err err = look_print(args, &view, &error);
    kith_view_release(&view);
    return err == KITH_OK ? health : kith_ctl_fail(args, &error);
}

struct looking {
    const struct kith_ctl_args *args;
    struct kith_link *link;
    const char *const *servers;
    uint32_t count;
};

static int look_again(void *arg)
{
    const struct looking *looking = arg;
    return look(looking->args, looking->link, looking->servers, looking->count);
}

static int show(const struct kith_ctl_args *args, const char *const servers[], uint32_t count,
                bool again)
{
    struct kith_error error;
    struct kith_link *link = NULL;
    if (kith_link_new(&link, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    struct looking looking = {args, link, servers, count};
    int status = again ? kith_again(args->json, look_again, &looking) : look_again(&looking);
    kith_link_free(link);
    return status;
}

int kith_status_show(const struct kith_ctl_args *args, const char *const servers[], uint32_t count)
{
    return show(args, servers, count, false);
}

int kith_ctl_status(const struct kith_ctl_args *args)
{
    const char *servers[KITH_CTL_SERVERS_MAX];
    for (uint32_t i = 0; i < args->server_count; i++) {
        servers[i] = args->servers[i];
    }
    return show(args, servers, args->server_count, kith_ctl_value(args, "watch") != NULL);
}
