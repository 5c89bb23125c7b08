/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * preview_text.c - a plan on the screen, and as JSON. */
#include <string.h>

#include "ctl/format.h"
#include "ctl/plan/preview.h"
#include "text/columns.h"

#define LINE_SIZE 700u

/* ---- What is staged ---- */

static void title_print(const struct kith_preview *preview, const struct kith_view *view,
                        const struct kith_plan *plan, FILE *out)
{
    const struct kith_table *joint = preview->joint;
    char text[LINE_SIZE];
    char by_force[64] = "";
    if (joint->id.epoch != view->table->id.epoch) {
        (void)snprintf(by_force, sizeof(by_force), " of epoch %llu",
                       (unsigned long long)joint->id.epoch);
    }
    int width =
        fprintf(out, "table v%llu -> v%llu%s   ", (unsigned long long)view->table->id.version,
                (unsigned long long)joint->id.version, by_force);
    bool first = true;
    for (uint32_t i = 0; i < plan->count; i++) {
        kith_plan_change_text(&plan->changes[i], view, text, sizeof(text));
        (void)fprintf(out, "%*s%s\n", first ? 0 : width, "", text);
        first = false;
    }
    for (uint32_t i = 0; i < joint->member_count; i++) {
        const struct kith_uuid *uuid = &joint->members[i].uuid;
        if ((joint->after[i].flags & KITH_MEMBER_LEAVES) && !kith_plan_leaves(plan, uuid)) {
            struct kith_plan_change change = {.kind = KITH_PLAN_LEAVE, .node = *uuid};
            kith_plan_change_text(&change, view, text, sizeof(text));
            (void)fprintf(out, "%*s%s: it is down\n", first ? 0 : width, "", text);
            first = false;
        }
    }
    if (first) {
        (void)fputs("no change\n", out);
    }
}

/* ---- The table of nodes ---- */

static const char *address_of(const struct kith_preview *preview, const struct kith_view *view,
                              const struct kith_plan *plan, uint32_t member)
{
    const struct kith_uuid *uuid = &preview->joint->members[member].uuid;
    uint16_t index = kith_table_find(view->table, uuid);
    const struct kith_plan_change *join = kith_plan_joins(plan, uuid);
    const char *address = index != KITH_NO_MEMBER ? view->nodes[index].address
                          : join                  ? join->address
                                                  : "";
    return *address ? address : "-";
}

static bool nodes_print(const struct kith_preview *preview, const struct kith_view *view,
                        const struct kith_plan *plan, FILE *out, bool colours)
{
    static const char *const heads[] = {"NODE",       "ADDRESS",  "ZONE", "PARTITIONS",
                                        "DATA AFTER", "RECEIVES", "SENDS"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < preview->joint->member_count; i++) {
        const struct kith_preview_node *node = &preview->nodes[i];
        const char *zone = preview->joint->after[i].zone;
        char name[KITH_FORMAT_SIZE];
        char partitions[KITH_FORMAT_SIZE];
        char bytes[3][KITH_FORMAT_SIZE];
        const uint64_t figures[] = {node->data_after, node->receives, node->sends};
        kith_format_node(&preview->joint->members[i].uuid, name);
        (void)snprintf(partitions, sizeof(partitions), "%u -> %u", node->before, node->after);
        for (uint32_t k = 0; k < 3; k++) {
            kith_format_bytes(figures[k], bytes[k]);
            if (figures[k] == 0) {
                (void)strcpy(bytes[k], "-");
            }
        }
        const char *cells[] = {name,
                               address_of(preview, view, plan, i),
                               *zone ? zone : "-",
                               partitions,
                               bytes[0],
                               bytes[1],
                               bytes[2]};
        kith_columns_add(&columns, node->up ? KITH_COLOUR_NONE : KITH_COLOUR_BAD, cells);
    }
    bool good = kith_columns_print(&columns, out, colours);
    kith_columns_release(&columns);
    return good;
}

/* ---- In words ---- */

static void time_text(uint64_t seconds, char *text, size_t size)
{
    if (seconds < 60) {
        (void)snprintf(text, size, "Less than a minute");
    } else if (seconds < 3600) {
        (void)snprintf(text, size, "About %llu m", (unsigned long long)((seconds + 30) / 60));
    } else {
        (void)snprintf(text, size, "About %llu h %llu m", (unsigned long long)(seconds / 3600),
                       (unsigned long long)(seconds / 60 % 60));
    }
}

static void spread_text(struct kith_preview_spread spread, char *text, size_t size)
{
    (void)snprintf(text, size, "%u owner%s in %u zone%s", spread.owners,
                   spread.owners == 1 ? "" : "s", spread.zones, spread.zones == 1 ? "" : "s");
}

static void spreads_print(const struct kith_preview *preview, FILE *out)
{
    char now[64];
    char later[64];
    spread_text(preview->meanwhile, now, sizeof(now));
    spread_text(preview->afterwards, later, sizeof(later));
    bool same = strcmp(now, later) == 0;
    (void)fprintf(out, "Meanwhile every partition keeps %s%s%s.%s", now,
                  same ? "" : "; afterwards it has ", same ? "" : later, same ? " " : "\n");
}

void kith_preview_losses(const struct kith_preview *preview, const struct kith_view *view,
                         FILE *out)
{
    const struct kith_table *joint = preview->joint;
    char text[KITH_FORMAT_SIZE];
    for (uint32_t i = 0; i < joint->member_count; i++) {
        if (joint->after[i].flags & KITH_MEMBER_GONE) {
            kith_format_node(&joint->members[i].uuid, text);
            (void)fprintf(out,
                          "%s is down and left out for good: how many writes it alone kept for "
                          "others is not known.\n",
                          text);
        }
    }
    for (uint32_t i = 0; preview->unclear > 0 && i < view->count; i++) {
        if (!view->nodes[i].up && kith_table_find(joint, &view->nodes[i].uuid) != KITH_NO_MEMBER &&
            !kith_preview_absent(view, i)) {
            kith_format_node(&view->nodes[i].uuid, text);
            (void)fprintf(out, "%s does not answer, but others still hear it.\n", text);
        }
    }
    if (preview->gone > 0) {
        kith_format_count(preview->custody, text);
        (void)fprintf(out, "Nodes that are up keep %s write%s for others that count%s as copies.\n",
                      text, preview->custody == 1 ? "" : "s", preview->custody == 1 ? "s" : "");
    }
    if (preview->short_owners > 0) {
        (void)fprintf(out,
                      "%u of %u partitions keep fewer than %u of their %u owners (%u none at all): "
                      "what was written there last may be lost.\n",
                      preview->short_owners, view->table->partitions,
                      view->table->owner_slots / 2 + 1, view->table->owner_slots,
                      preview->no_owner);
    }
}

enum kith_err kith_preview_print(const struct kith_preview *preview, const struct kith_view *view,
                                 const struct kith_plan *plan, FILE *out, bool colours)
{
    const struct kith_table *joint = preview->joint;
    char text[64];
    char rate[KITH_FORMAT_SIZE];
    title_print(preview, view, plan, out);
    if (!nodes_print(preview, view, plan, out, colours)) {
        return KITH_ENOMEM;
    }
    time_text(preview->seconds, text, sizeof(text));
    kith_format_bytes(preview->rate, rate);
    (void)fprintf(out, "Moves %u of %u replicas (the least possible: %u). %s at %s/s a node.\n",
                  preview->moves, joint->partitions * joint->next_slots, preview->least, text,
                  rate);
    kith_preview_losses(preview, view, out);
    if (joint->next_slots < joint->replicas && joint->next_slots < joint->owner_slots) {
        (void)fprintf(out, "There will be fewer nodes than copies: %u instead of %u.\n",
                      joint->next_slots, joint->replicas);
    }
    spreads_print(preview, out);
    (void)fprintf(out, "Apply: kithctl plan apply %llu%s%s\n",
                  (unsigned long long)joint->id.version,
                  joint->id.epoch != view->table->id.epoch ? " --force" : "",
                  preview->short_owners > 0 ? " --accept-loss" : "");
    return KITH_OK;
}

/* ---- JSON ---- */

static json_t *node_json(const struct kith_preview *preview, const struct kith_view *view,
                         const struct kith_plan *plan, uint32_t i)
{
    const struct kith_preview_node *node = &preview->nodes[i];
    const struct kith_member_next *after = &preview->joint->after[i];
    char uuid[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&preview->joint->members[i].uuid, uuid);
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:b, s:b, s:b, s:i, s:i, s:I, s:I, s:I, s:I}", "node", uuid, "address",
        address_of(preview, view, plan, i), "up", (int)node->up, "joins",
        (after->flags & KITH_MEMBER_JOINS) != 0, "leaves", (after->flags & KITH_MEMBER_LEAVES) != 0,
        "gone", (after->flags & KITH_MEMBER_GONE) != 0, "partitions_before", (int)node->before,
        "partitions_after", (int)node->after, "weight", (json_int_t)after->weight,
        "data_after_bytes", (json_int_t)node->data_after, "receives_bytes",
        (json_int_t)node->receives, "sends_bytes", (json_int_t)node->sends);
    if (object && kith_json_bytes(object, "zone",
                                  kith_bytes_make(after->zone, strlen(after->zone))) != KITH_OK) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *spread_json(struct kith_preview_spread spread)
{
    return json_pack("{s:i, s:i}", "owners", (int)spread.owners, "zones", (int)spread.zones);
}

json_t *kith_preview_json(const struct kith_preview *preview, const struct kith_view *view,
                          const struct kith_plan *plan)
{
    const struct kith_table *joint = preview->joint;
    json_t *nodes = json_array();
    json_t *changes = json_array();
    for (uint32_t i = 0; i < joint->member_count; i++) {
        (void)json_array_append_new(nodes, node_json(preview, view, plan, i)); /* counted below */
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        (void)json_array_append_new(changes, kith_plan_change_json(&plan->changes[i])); /* too */
    }
    if (json_array_size(nodes) != joint->member_count || json_array_size(changes) != plan->count) {
        json_decref(nodes);
        json_decref(changes);
        return NULL;
    }
    json_t *object =
        json_pack("{s:b, s:I, s:I, s:I, s:o, s:o, s:i, s:i, s:i, s:I, s:I, s:I, s:o, s:o, s:o, "
                  "s:i, s:i, s:i, "
                  "s:i, s:I}",
                  "moving", 0, "table", (json_int_t)view->table->id.version, "next_table",
                  (json_int_t)joint->id.version, "next_epoch", (json_int_t)joint->id.epoch,
                  "changes", changes, "nodes", nodes, "moves", (int)preview->moves, "moves_least",
                  (int)preview->least, "replicas", (int)(joint->partitions * joint->next_slots),
                  "bytes", (json_int_t)preview->bytes, "eta_seconds", (json_int_t)preview->seconds,
                  "rate", (json_int_t)preview->rate, "now", spread_json(preview->now), "meanwhile",
                  spread_json(preview->meanwhile), "afterwards", spread_json(preview->afterwards),
                  "gone", (int)preview->gone, "unclear", (int)preview->unclear,
                  "partitions_at_risk", (int)preview->short_owners, "partitions_without_owner",
                  (int)preview->no_owner, "custody_known", (json_int_t)preview->custody);
    return kith_json_named("cluster", view->name, object);
}
