/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/status.h"

#include <string.h>

#include "ctl/format.h"

/* What a node that hangs may add, twice: in finding the cluster and in asking its members. Nodes
 * that work answer in milliseconds, on a loaded machine in some hundred. */
#define PATIENCE_MS 1000u

static const char *health_word(int health)
{
    return health == KITH_CTL_OK      ? "healthy"
           : health == KITH_CTL_BELOW ? "BELOW QUORUM"
                                      : "DEGRADED";
}

static void node_print(const struct kith_view *view, const struct kith_view_node *node, int width,
                       FILE *out)
{
    char name[KITH_FORMAT_SIZE];
    char owns[KITH_FORMAT_SIZE];
    char data[KITH_FORMAT_SIZE] = "-";
    char rows[KITH_FORMAT_SIZE] = "-";
    char disk[KITH_FORMAT_SIZE] = "-";
    char seen[KITH_FORMAT_SIZE];
    uint64_t pairs = (uint64_t)view->table->partitions * view->table->owner_slots;
    uint64_t permille = ((uint64_t)node->owned * 2000 / pairs + 1) / 2;
    kith_format_node(&node->uuid, name);
    if (node->seen_ms_ago == UINT64_MAX) {
        (void)snprintf(seen, sizeof(seen), "never");
    } else {
        kith_format_age(node->seen_ms_ago, seen);
    }
    (void)snprintf(owns, sizeof(owns), "%u.%u%%", (unsigned)(permille / 10),
                   (unsigned)(permille % 10));
    if (node->up) {
        kith_format_bytes(node->chunk_bytes, data);
        (void)snprintf(rows, sizeof(rows), "%llu", (unsigned long long)node->rows);
        if (node->disk_total_bytes > 0) {
            uint64_t used = node->disk_total_bytes - node->disk_free_bytes;
            (void)snprintf(disk, sizeof(disk), "%llu%%",
                           (unsigned long long)(used / (node->disk_total_bytes / 100 + 1)));
        }
    }
    (void)fprintf(out, "%-6s  %-8s  %-*s  %-6s  %-6s  %-8s  %-8s  %-4s  %-5s  %-5s  %s\n",
                  node->up       ? "UP"
                  : node->silent ? "SILENT"
                                 : "DOWN",
                  name, width, *node->address ? node->address : "-", *node->zone ? node->zone : "-",
                  owns, rows, data, disk, "-", seen, *node->software ? node->software : "-");
}

void kith_status_print(struct kith_view *view, FILE *out)
{
    int health = kith_view_health(view);
    uint32_t quorum = view->table->owner_slots / 2 + 1;
    int width = 7;
    for (uint32_t i = 0; i < view->count; i++) {
        int length = (int)strlen(view->nodes[i].address);
        width = length > width ? length : width;
    }
    (void)fprintf(out, "Cluster %s   table v%llu   N=%u R=%u W=%u   %u partitions   health: %s\n",
                  view->name, (unsigned long long)view->table->id.version, view->table->replicas,
                  quorum, quorum, view->table->partitions, health_word(health));
    (void)fprintf(out, "%-6s  %-8s  %-*s  %-6s  %-6s  %-8s  %-8s  %-4s  %-5s  %-5s  %s\n", "STATE",
                  "NODE", width, "ADDRESS", "ZONE", "OWNS", "ROWS", "CHUNKS", "DISK", "HINTS",
                  "SEEN", "VERSION");
    for (uint32_t i = 0; i < view->count; i++) {
        node_print(view, &view->nodes[i], width, out);
    }
    (void)fprintf(out, "%u of %u nodes up. ", view->up, view->count);
    if (view->below == 0) {
        (void)fprintf(out, "Every file can be read and written.\n");
    } else {
        (void)fprintf(out, "%u of %u partitions have fewer than %u live owners.\n", view->below,
                      view->table->partitions, quorum);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->nodes[i].silent) {
            (void)fprintf(
                out,
                "Not answering: %s. Is kithd stopped, or its machine off, cut off or overloaded?\n",
                view->nodes[i].error);
        } else if (!view->nodes[i].up) {
            (void)fprintf(out, "Down: %s. Start kithd there again.\n", view->nodes[i].error);
        }
    }
}

static const char *state_word(const struct kith_view_node *node)
{
    return node->up ? "up" : node->silent ? "silent" : "down";
}

static json_t *node_json(const struct kith_view_node *node)
{
    char uuid[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&node->uuid, uuid);
    json_t *object = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:s}", "node", uuid, "address",
                               node->address, "state", state_word(node), "agrees", node->agrees,
                               "partitions", (json_int_t)node->owned, "seen_ms_ago",
                               (json_int_t)node->seen_ms_ago, "version", node->software);
    if (object && kith_json_bytes(object, "zone",
                                  kith_bytes_make(node->zone, strlen(node->zone))) != KITH_OK) {
        json_decref(object);
        return NULL;
    }
    if (object && node->up) {
        json_t *more =
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "rows", (json_int_t)node->rows, "chunks",
                      (json_int_t)node->chunks, "chunk_bytes", (json_int_t)node->chunk_bytes,
                      "disk_total_bytes", (json_int_t)node->disk_total_bytes, "disk_free_bytes",
                      (json_int_t)node->disk_free_bytes);
        if (!more || json_object_update_new(object, more) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *view_json(struct kith_view *view)
{
    static const char *const words[] = {"healthy", "degraded", "below_quorum"};
    json_t *list = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        (void)json_array_append_new(list, node_json(&view->nodes[i])); /* counted below */
    }
    if (json_array_size(list) != view->count) {
        json_decref(list);
        return NULL;
    }
    char uuid[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&view->table->cluster, uuid);
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:o}", "uuid", uuid, "health",
        words[kith_view_health(view)], "epoch", (json_int_t)view->table->id.epoch, "table",
        (json_int_t)view->table->id.version, "partitions", (int)view->table->partitions, "replicas",
        (int)view->table->replicas, "partitions_below_quorum", (int)view->below, "nodes", list);
    return kith_json_named("cluster", view->name, object);
}

int kith_status_show(const struct kith_ctl_args *args, const char *const servers[], uint32_t count)
{
    struct kith_error error;
    struct kith_link *link = NULL;
    struct kith_view view;
    enum kith_err err = kith_link_new(&link, &error);
    if (err == KITH_OK) {
        err = kith_view_read(link, servers, count, args->timeout_ms, PATIENCE_MS, &view, &error);
    }
    kith_link_free(link);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    int health = kith_view_health(&view);
    if (args->json) {
        err = kith_json_print(view_json(&view), &error);
    } else {
        kith_status_print(&view, stdout);
    }
    kith_view_release(&view);
    return err == KITH_OK ? health : kith_ctl_fail(args, &error);
}

int kith_ctl_status(const struct kith_ctl_args *args)
{
    const char *servers[KITH_CTL_SERVERS_MAX];
    for (uint32_t i = 0; i < args->server_count; i++) {
        servers[i] = args->servers[i];
    }
    return kith_status_show(args, servers, args->server_count);
}
