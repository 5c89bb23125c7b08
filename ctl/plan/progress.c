/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/plan/progress.h"

#include <string.h>

#include "ctl/format.h"
#include "text/columns.h"

#define BAR_CELLS 20u
#define PART_SIZE 48u

/* Of the node since the look before, a second; 0 where that says nothing of it. */
static uint64_t per_second(const struct kith_view *view, const struct kith_view *before, uint32_t i,
                           uint64_t elapsed_ms, bool bytes)
{
    if (!before || elapsed_ms == 0 ||
        kith_table_id_compare(&view->table->id, &before->table->id) != 0) {
        return 0;
    }
    uint64_t now = bytes ? view->nodes[i].move_bytes : view->nodes[i].move_complete;
    uint64_t then = bytes ? before->nodes[i].move_bytes : before->nodes[i].move_complete;
    return now > then ? (now - then) * 1000 / elapsed_ms : 0;
}

/* What a partition weighs where it comes from: the mean of the owners that say it. */
static uint64_t partition_bytes(const struct kith_view *view)
{
    uint64_t bytes = 0;
    uint64_t owned = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        if (node->up && node->gains == 0) { /* what has come is counted there, too */
            bytes += node->row_bytes + node->chunk_bytes;
            owned += node->owned;
        }
    }
    return owned > 0 ? bytes / owned : 0;
}

static uint64_t node_eta(const struct kith_view *view, const struct kith_view *before, uint32_t i,
                         uint64_t elapsed_ms)
{
    const struct kith_view_node *node = &view->nodes[i];
    uint64_t left =
        node->gains - (node->move_complete < node->gains ? node->move_complete : node->gains);
    uint64_t speed = per_second(view, before, i, elapsed_ms, false);
    uint64_t bytes_speed = per_second(view, before, i, elapsed_ms, true);
    if (!kith_view_awaited(node) || left == 0) {
        return 0;
    }
    if (speed > 0) {
        return (left + speed - 1) / speed;
    }
    uint64_t expected = partition_bytes(view) * node->gains;
    if (bytes_speed == 0) {
        return UINT64_MAX;
    }
    return expected > node->move_bytes ? (expected - node->move_bytes) / bytes_speed + 1 : 1;
}

struct kith_progress kith_progress_of(const struct kith_view *view, const struct kith_view *before,
                                      uint64_t elapsed_ms)
{
    struct kith_progress progress;
    memset(&progress, 0, sizeof(progress));
    progress.gains = kith_view_gains(view, &progress.complete);
    for (uint32_t i = 0; i < view->count; i++) {
        uint64_t eta = node_eta(view, before, i, elapsed_ms);
        progress.bytes += view->nodes[i].move_bytes;
        progress.rate += per_second(view, before, i, elapsed_ms, true);
        progress.eta_seconds = eta > progress.eta_seconds ? eta : progress.eta_seconds;
        progress.awaited += kith_view_awaited(&view->nodes[i]);
    }
    return progress;
}

void kith_progress_part(const struct kith_view_node *node, char *text, size_t size)
{
    const char *word = node->move_flags & KITH_MEMBER_GONE     ? "gone"
                       : node->move_flags & KITH_MEMBER_LEAVES ? "leaves"
                       : node->move_flags & KITH_MEMBER_JOINS  ? "joins"
                                                               : "";
    if (node->gains == 0) {
        (void)snprintf(text, size, "%s", *word ? word : "-");
    } else {
        (void)snprintf(text, size, "%s%s%u of %u", word, *word ? ", " : "", node->move_complete,
                       node->gains);
    }
}

/* ---- As text ---- */

static void title_print(const struct kith_view *view, const struct kith_progress *progress,
                        FILE *out)
{
    char share[KITH_FORMAT_SIZE];
    char bytes[KITH_FORMAT_SIZE];
    char rate[KITH_FORMAT_SIZE];
    char eta[KITH_FORMAT_SIZE];
    char bar[BAR_CELLS + 1];
    uint32_t full = progress->gains > 0
                        ? (uint32_t)((uint64_t)progress->complete * BAR_CELLS / progress->gains)
                        : BAR_CELLS;
    for (uint32_t i = 0; i < BAR_CELLS; i++) {
        bar[i] = i < full ? '#' : '-';
    }
    bar[BAR_CELLS] = '\0';
    kith_format_share(progress->complete, progress->gains, share);
    kith_format_bytes(progress->bytes, bytes);
    kith_format_bytes(progress->rate, rate);
    (void)fprintf(out, "table v%llu moves data   %u of %u replicas are there  [%s] %s   %s",
                  (unsigned long long)view->table->id.version, progress->complete, progress->gains,
                  bar, share, bytes);
    if (progress->rate > 0) {
        (void)fprintf(out, " at %s/s", rate);
    }
    if (progress->eta_seconds != UINT64_MAX && progress->awaited > 0 &&
        progress->complete < progress->gains) {
        kith_format_age(progress->eta_seconds * 1000, eta);
        (void)fprintf(out, "   ETA %s", eta);
    }
    (void)fputc('\n', out);
}

static bool nodes_print(const struct kith_view *view, const struct kith_view *before,
                        uint64_t elapsed_ms, FILE *out, bool colours)
{
    static const char *const heads[] = {"STATE", "NODE", "ADDRESS", "PARTITIONS",
                                        "MOVE",  "CAME", "RATE"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    uint32_t *after = kith_calloc(view->count, sizeof(*after));
    size_t pairs = (size_t)view->table->partitions * view->table->next_slots;
    for (size_t i = 0; after && i < pairs; i++) {
        after[view->table->next[i]]++;
    }
    for (uint32_t i = 0; after && i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char text[4][PART_SIZE];
        char bytes[KITH_FORMAT_SIZE];
        kith_format_node(&node->uuid, text[0]);
        (void)snprintf(text[1], sizeof(text[1]), "%u -> %u", node->owned, after[i]);
        kith_progress_part(node, text[2], sizeof(text[2]));
        kith_format_bytes(per_second(view, before, i, elapsed_ms, true), bytes);
        (void)snprintf(text[3], sizeof(text[3]), "%s/s", bytes);
        kith_format_bytes(node->move_bytes, bytes);
        bool moves = node->gains > 0 && node->up;
        const char *cells[] = {node->up       ? "UP"
                               : node->silent ? "SILENT"
                                              : "DOWN",
                               text[0],
                               *node->address ? node->address : "-",
                               text[1],
                               text[2],
                               moves ? bytes : "-",
                               moves && !node->moved ? text[3] : "-"};
        kith_columns_add(&columns,
                         !node->up                 ? KITH_COLOUR_BAD
                         : kith_view_awaited(node) ? KITH_COLOUR_WARN
                                                   : KITH_COLOUR_GOOD,
                         cells);
    }
    bool good = after && kith_columns_print(&columns, out, colours);
    kith_columns_release(&columns);
    kith_free(after);
    return good;
}

/* Why the node has not done its part. */
static void awaited_print(const struct kith_view *view, const struct kith_view_node *node,
                          FILE *out)
{
    char name[KITH_FORMAT_SIZE];
    char count[KITH_FORMAT_SIZE];
    kith_format_node(&node->uuid, name);
    bool joins = (node->move_flags & KITH_MEMBER_JOINS) != 0;
    if (!node->up) {
        (void)fprintf(out, "Waits for %s, which does not answer%s.\n", name,
                      joins ? "; if it has not joined: kithctl plan apply" : "");
    } else if (kith_table_id_compare(&node->knows, &view->table->id) != 0) {
        (void)fprintf(out, "Waits for %s, which does not know this table yet.\n", name);
    } else if (node->move_complete < node->gains) {
        (void)fprintf(out, "Waits for %s: %u partitions are to come.\n", name,
                      node->gains - node->move_complete);
    } else if (node->hints > 0) {
        kith_format_count(node->hints, count);
        (void)fprintf(out, "Waits for %s, which hands over %s writes that it keeps for others.\n",
                      name, count);
    } else {
        (void)fprintf(out, "Waits for %s to say that it is done.\n", name);
    }
}

enum kith_err kith_progress_print(const struct kith_view *view, const struct kith_view *before,
                                  uint64_t elapsed_ms, FILE *out, bool colours)
{
    struct kith_progress progress = kith_progress_of(view, before, elapsed_ms);
    title_print(view, &progress, out);
    if (!nodes_print(view, before, elapsed_ms, out, colours)) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        if (kith_view_awaited(&view->nodes[i])) {
            awaited_print(view, &view->nodes[i], out);
        }
    }
    if (progress.awaited == 0) {
        (void)fputs("All is there; the table after it is being agreed on.\n", out);
    }
    (void)fputs("Give it up: kithctl plan revert\n", out);
    return KITH_OK;
}

/* ---- JSON ---- */

json_t *kith_progress_json(const struct kith_view *view, const struct kith_view *before,
                           uint64_t elapsed_ms)
{
    struct kith_progress progress = kith_progress_of(view, before, elapsed_ms);
    json_t *list = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char uuid[KITH_UUID_TEXT_SIZE];
        kith_uuid_format(&node->uuid, uuid);
        json_t *each = json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:i, s:i, s:i, s:I, s:I, s:b}",
                                 "node", uuid, "address", node->address, "up", (int)node->up,
                                 "joins", (node->move_flags & KITH_MEMBER_JOINS) != 0, "leaves",
                                 (node->move_flags & KITH_MEMBER_LEAVES) != 0, "gone",
                                 (node->move_flags & KITH_MEMBER_GONE) != 0, "partitions",
                                 (int)node->owned, "gains", (int)node->gains, "complete",
                                 (int)node->move_complete, "bytes", (json_int_t)node->move_bytes,
                                 "rate", (json_int_t)per_second(view, before, i, elapsed_ms, true),
                                 "awaited", (int)kith_view_awaited(node));
        (void)json_array_append_new(list, each); /* counted below */
    }
    if (json_array_size(list) != view->count) {
        json_decref(list);
        return NULL;
    }
    bool known = progress.eta_seconds != UINT64_MAX;
    json_t *object = json_pack(
        "{s:b, s:I, s:I, s:i, s:i, s:i, s:I, s:I, s:o, s:o}", "moving", 1, "table",
        (json_int_t)view->table->id.version, "epoch", (json_int_t)view->table->id.epoch, "gains",
        (int)progress.gains, "complete", (int)progress.complete, "awaited", (int)progress.awaited,
        "bytes", (json_int_t)progress.bytes, "rate", (json_int_t)progress.rate, "eta_seconds",
        known ? json_integer((json_int_t)progress.eta_seconds) : json_null(), "nodes", list);
    return kith_json_named("cluster", view->name, object);
}
