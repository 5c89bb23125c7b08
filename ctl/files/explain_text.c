/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "ctl/files/explain.h"
#include "ctl/format.h"
#include "data/hlc.h"
#include "text/columns.h"

#define VERSIONS_SHOWN 32u
#define DOT_SIZE       64u

static void dot_text(const struct kith_dot *dot, char text[DOT_SIZE])
{
    (void)snprintf(text, DOT_SIZE, "%016llx/%llu:%llu", (unsigned long long)dot->actor.run,
                   (unsigned long long)dot->actor.epoch, (unsigned long long)dot->counter);
}

static void group_text(const struct kith_group *group, char text[2 * KITH_GROUP_SIZE + 1])
{
    for (size_t i = 0; i < KITH_GROUP_SIZE; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", group->bytes[i]);
    }
}

static const char *state_text(const struct kith_explain_owner *owner)
{
    switch (owner->state) {
    case KITH_EXPLAIN_NO_ANSWER:
        return "no answer";
    case KITH_EXPLAIN_NEVER:
        return "none";
    case KITH_EXPLAIN_WHOLE:
        return owner->row.sibling_count > 0 ? "whole" : "deleted";
    case KITH_EXPLAIN_BEHIND:
        return "behind";
    case KITH_EXPLAIN_WRONG:
        return "WRONG";
    }
    return "-";
}

static const char *kind_text(const struct kith_sibling *sibling)
{
    return sibling->kind == KITH_SIBLING_VALUE  ? "value"
           : sibling->kind == KITH_SIBLING_MARK ? "moved"
                                                : "other";
}

/* ---- Text ---- */

/* Since it had all the rows that each other owner had then. */
static void compared_text(const struct kith_explain_owner *owner, char text[KITH_FORMAT_SIZE])
{
    uint64_t most_ms = 0;
    for (uint32_t i = 0; i < owner->pair_count; i++) {
        most_ms = owner->pairs[i].rows_ms_ago > most_ms ? owner->pairs[i].rows_ms_ago : most_ms;
    }
    if (most_ms == UINT64_MAX || owner->pair_count == 0) {
        (void)strcpy(text, owner->pair_count == 0 ? "-" : "not yet");
    } else {
        kith_format_age(most_ms, text);
    }
}

static bool owners_print(const struct kith_explain *explain, FILE *out, bool colours)
{
    static const char *const heads[] = {"STATE",    "NODE",   "ADDRESS", "ZONE",
                                        "VERSIONS", "CLOCKS", "HASH",    "COMPARED"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < explain->count; i++) {
        const struct kith_explain_owner *owner = &explain->owners[i];
        bool row = owner->state > KITH_EXPLAIN_NEVER;
        char name[KITH_FORMAT_SIZE];
        char versions[KITH_FORMAT_SIZE] = "-";
        char clocks[KITH_FORMAT_SIZE] = "-";
        char hash[KITH_FORMAT_SIZE] = "-";
        char compared[KITH_FORMAT_SIZE];
        compared_text(owner, compared);
        kith_format_node(&owner->node->uuid, name);
        if (row) {
            kith_format_count(owner->row.sibling_count, versions);
            kith_format_count(owner->row.clock.count, clocks);
            (void)snprintf(hash, sizeof(hash), "%02x%02x%02x%02x", owner->hash.bytes[0],
                           owner->hash.bytes[1], owner->hash.bytes[2], owner->hash.bytes[3]);
        }
        const char *cells[] = {state_text(owner),
                               name,
                               *owner->node->address ? owner->node->address : "-",
                               *owner->node->zone ? owner->node->zone : "-",
                               versions,
                               clocks,
                               hash,
                               compared};
        bool well = owner->state == KITH_EXPLAIN_WHOLE ||
                    (owner->state == KITH_EXPLAIN_NEVER && kith_row_is_empty(&explain->whole));
        kith_columns_add(&columns, well ? KITH_COLOUR_GOOD : KITH_COLOUR_BAD, cells);
    }
    bool good = kith_columns_print(&columns, out, colours);
    kith_columns_release(&columns);
    return good;
}

/* How many of the owners that answered have it. */
static uint32_t holders(const struct kith_explain *explain, const struct kith_dot *dot)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < explain->count; i++) {
        const struct kith_explain_owner *owner = &explain->owners[i];
        count += owner->state > KITH_EXPLAIN_NEVER && kith_row_find(&owner->row, dot) != NULL;
    }
    return count;
}

static bool versions_print(const struct kith_explain *explain, FILE *out)
{
    static const char *const heads[] = {"TIME", "SIZE", "KIND", "OWNERS", "DOT"};
    struct kith_columns columns;
    uint32_t count = explain->whole.sibling_count;
    if (count == 0) {
        return true;
    }
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < count && i < VERSIONS_SHOWN; i++) {
        const struct kith_sibling *sibling = &explain->whole.siblings[i];
        char time[KITH_FORMAT_SIZE];
        char size[KITH_FORMAT_SIZE];
        char where[KITH_FORMAT_SIZE];
        char dot[DOT_SIZE];
        kith_format_time(kith_hlc_ms(sibling->time), time);
        kith_format_bytes(sibling->value.size, size);
        dot_text(&sibling->dot, dot);
        (void)snprintf(where, sizeof(where), "%u of %u", holders(explain, &sibling->dot),
                       explain->answered);
        const char *cells[] = {time, size, kind_text(sibling), where, dot};
        kith_columns_add(&columns, KITH_COLOUR_NONE, cells);
    }
    bool good = kith_columns_print(&columns, out, false);
    kith_columns_release(&columns);
    if (count > VERSIONS_SHOWN) {
        (void)fprintf(out, "and %u more versions\n", count - VERSIONS_SHOWN);
    }
    for (uint32_t i = 0; i < count && i < VERSIONS_SHOWN; i++) {
        char dot[DOT_SIZE];
        dot_text(&explain->whole.siblings[i].dot, dot);
        (void)fprintf(out, "%s by ", dot);
        kith_print_escaped(out, explain->whole.siblings[i].writer); /* maybe a terminal's words */
        (void)fputc('\n', out);
    }
    return good;
}

static void verdict_print(const struct kith_explain *explain, FILE *out)
{
    bool wrong = false;
    for (uint32_t i = 0; i < explain->count; i++) {
        const struct kith_explain_owner *owner = &explain->owners[i];
        wrong = wrong || owner->state == KITH_EXPLAIN_WRONG;
        if (owner->state == KITH_EXPLAIN_NO_ANSWER) {
            (void)fprintf(out, "No answer: %s. See: kithctl status\n", owner->error);
        }
    }
    if (wrong) {
        (void)fprintf(out,
                      "Owners have one clock and different states: this is an error of kithfs or "
                      "of a disk. Please report it.\n");
    } else if (!explain->agree) {
        (void)fprintf(out, "The owners do not agree: those that are behind get the rest when it is "
                           "read, or from the next exchange.\n");
    } else if (kith_row_is_empty(&explain->whole)) {
        (void)fprintf(out, "It was never written, as far as the %u owners that answered know.\n",
                      explain->answered);
    } else {
        (void)fprintf(
            out, "%s%u of %u owners hold the same%s.\n",
            explain->answered == explain->count ? "All " : "", explain->answered, explain->count,
            explain->whole.sibling_count == 0  ? ": it was deleted"
            : explain->whole.sibling_count > 1 ? ": several versions, written at the same "
                                                 "time"
                                               : "");
    }
}

enum kith_err kith_explain_print(const struct kith_view *view, const struct kith_explain *explain,
                                 FILE *out, bool colours)
{
    char group[2 * KITH_GROUP_SIZE + 1];
    group_text(&explain->group, group);
    (void)fprintf(out, "\nRow \"");
    kith_print_escaped(out, explain->name);
    (void)fprintf(out, "\" (%s) of group %s   partition %u of %u\n", explain->what, group,
                  explain->partition, view->table->partitions);
    if (!owners_print(explain, out, colours) || !versions_print(explain, out)) {
        return KITH_ENOMEM;
    }
    verdict_print(explain, out);
    return KITH_OK;
}

/* ---- JSON ---- */

static json_t *clock_json(const struct kith_clock *clock)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < clock->count; i++) {
        char text[DOT_SIZE];
        struct kith_dot dot = {clock->entries[i].actor, clock->entries[i].counter};
        dot_text(&dot, text);
        (void)json_array_append_new(list, json_string(text)); /* counted below */
    }
    if (json_array_size(list) != clock->count) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *sibling_json(const struct kith_explain *explain, const struct kith_sibling *sibling)
{
    char dot[DOT_SIZE];
    char time[KITH_FORMAT_SIZE];
    dot_text(&sibling->dot, dot);
    kith_format_time(kith_hlc_ms(sibling->time), time);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:I, s:i, s:i}", "dot", dot, "time", time, "kind",
                  kind_text(sibling), "size", (json_int_t)sibling->value.size, "chunks",
                  (int)sibling->ref_count, "owners", (int)holders(explain, &sibling->dot));
    if (object && kith_json_bytes(object, "writer", sibling->writer) != KITH_OK) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *ms_json(uint64_t ms)
{
    return ms == UINT64_MAX ? json_null() : json_integer((json_int_t)ms);
}

static json_t *pairs_json(const struct kith_explain_owner *owner)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < owner->pair_count; i++) {
        char uuid[KITH_UUID_TEXT_SIZE];
        kith_uuid_format(&owner->pairs[i].node, uuid);
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:o, s:o}", "with", uuid, "rows_ms_ago",
                                              ms_json(owner->pairs[i].rows_ms_ago), "chunks_ms_ago",
                                              ms_json(owner->pairs[i].chunks_ms_ago)));
    } /* counted below */
    if (json_array_size(list) != owner->pair_count) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *owner_json(const struct kith_explain_owner *owner)
{
    char uuid[KITH_UUID_TEXT_SIZE];
    char hash[2 * KITH_CHECKSUM_SIZE + 1] = "";
    kith_uuid_format(&owner->node->uuid, uuid);
    for (size_t i = 0; i < KITH_CHECKSUM_SIZE; i++) {
        (void)snprintf(hash + 2 * i, 3, "%02x", owner->hash.bytes[i]);
    }
    if (owner->state == KITH_EXPLAIN_NO_ANSWER) {
        return json_pack("{s:s, s:s, s:s, s:o}", "node", uuid, "address", owner->node->address,
                         "state", state_text(owner), "error",
                         kith_json_text(owner->error, strlen(owner->error)));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "node", uuid, "address",
                     owner->node->address, "state", state_text(owner), "hash", hash, "versions",
                     (int)owner->row.sibling_count, "clock", clock_json(&owner->row.clock),
                     "compared", pairs_json(owner));
}

json_t *kith_explain_json(const struct kith_explain *explain)
{
    char group[2 * KITH_GROUP_SIZE + 1];
    json_t *owners = json_array();
    json_t *versions = json_array();
    for (uint32_t i = 0; i < explain->count; i++) {
        (void)json_array_append_new(owners, owner_json(&explain->owners[i])); /* counted below */
    }
    for (uint32_t i = 0; i < explain->whole.sibling_count; i++) {
        (void)json_array_append_new(versions, sibling_json(explain, &explain->whole.siblings[i]));
    }
    if (json_array_size(owners) != explain->count ||
        json_array_size(versions) != explain->whole.sibling_count) {
        json_decref(owners);
        json_decref(versions);
        return NULL;
    }
    group_text(&explain->group, group);
    json_t *object =
        json_pack("{s:s, s:s, s:i, s:i, s:b, s:o, s:o}", "row", explain->what, "group", group,
                  "partition", (int)explain->partition, "answered", (int)explain->answered, "agree",
                  (int)explain->agree, "owners", owners, "versions", versions);
    if (object && kith_json_bytes(object, "name", explain->name) != KITH_OK) {
        json_decref(object);
        return NULL;
    }
    return object;
}
