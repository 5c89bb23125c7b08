/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/plan/plan.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "ctl/format.h"

#define FORMAT 1 /* of the document */

static const char *const words[] = {"join", "leave", "replace", "weight", "zone"};
enum { KINDS = sizeof(words) / sizeof(words[0]) };

/* ---- The list ---- */

static void change_remove(struct kith_plan *plan, uint32_t at)
{
    plan->count--;
    memmove(&plan->changes[at], &plan->changes[at + 1],
            (plan->count - at) * sizeof(plan->changes[0]));
}

static bool names(const struct kith_plan_change *change, const struct kith_uuid *node)
{
    return kith_uuid_equal(&change->node, node) ||
           (change->kind == KITH_PLAN_REPLACE && kith_uuid_equal(&change->with, node));
}

uint32_t kith_plan_forget(struct kith_plan *plan, const struct kith_uuid *node)
{
    uint32_t before = plan->count;
    for (uint32_t i = plan->count; i > 0; i--) {
        if (names(&plan->changes[i - 1], node)) {
            change_remove(plan, i - 1);
        }
    }
    return before - plan->count;
}

const struct kith_plan_change *kith_plan_joins(const struct kith_plan *plan,
                                               const struct kith_uuid *node)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kith_plan_change *change = &plan->changes[i];
        bool joins = change->kind == KITH_PLAN_JOIN && kith_uuid_equal(&change->node, node);
        if (joins || (change->kind == KITH_PLAN_REPLACE && kith_uuid_equal(&change->with, node))) {
            return change;
        }
    }
    return NULL;
}

const struct kith_plan_change *kith_plan_leaves(const struct kith_plan *plan,
                                                const struct kith_uuid *node)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kith_plan_change *change = &plan->changes[i];
        if ((change->kind == KITH_PLAN_LEAVE || change->kind == KITH_PLAN_REPLACE) &&
            kith_uuid_equal(&change->node, node)) {
            return change;
        }
    }
    return NULL;
}

static bool same_change(const struct kith_plan_change *a, const struct kith_plan_change *b)
{
    return a->kind == b->kind && kith_uuid_equal(&a->node, &b->node) &&
           kith_uuid_equal(&a->with, &b->with) && strcmp(a->address, b->address) == 0 &&
           strcmp(a->zone, b->zone) == 0 && a->weight == b->weight;
}

/* Whether both cannot be wanted. */
static bool contradicts(const struct kith_plan_change *a, const struct kith_plan_change *b)
{
    bool attribute_a = a->kind == KITH_PLAN_WEIGHT || a->kind == KITH_PLAN_ZONE;
    bool attribute_b = b->kind == KITH_PLAN_WEIGHT || b->kind == KITH_PLAN_ZONE;
    if (attribute_a && attribute_b) {
        return a->kind == b->kind && kith_uuid_equal(&a->node, &b->node);
    }
    if (attribute_a || attribute_b) { /* a new node may get another weight than it came with */
        return kith_uuid_equal(&a->node, &b->node) && a->kind != KITH_PLAN_JOIN &&
               b->kind != KITH_PLAN_JOIN;
    }
    bool address = *a->address && strcmp(a->address, b->address) == 0; /* wiped meanwhile */
    return address || names(a, &b->node) || names(b, &a->node) ||
           (a->kind == KITH_PLAN_REPLACE && names(b, &a->with));
}

/* Of a node that is staged to join: what it is to join with. True: it was. */
static bool joiner_change(struct kith_plan *plan, const struct kith_plan_change *change)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        struct kith_plan_change *join = &plan->changes[i];
        if (join->kind != KITH_PLAN_JOIN || !kith_uuid_equal(&join->node, &change->node)) {
            continue;
        }
        if (change->kind == KITH_PLAN_WEIGHT) {
            join->weight = change->weight;
            return true;
        }
        if (change->kind == KITH_PLAN_ZONE) {
            memcpy(join->zone, change->zone, sizeof(join->zone));
            return true;
        }
    }
    return false;
}

enum kith_err kith_plan_add(struct kith_plan *plan, const struct kith_plan_change *change,
                            bool *ret_other, struct kith_error *error)
{
    bool other = false;
    bool undoes = change->kind == KITH_PLAN_LEAVE && kith_plan_joins(plan, &change->node);
    for (uint32_t i = plan->count; i > 0; i--) {
        if (same_change(&plan->changes[i - 1], change)) {
            if (ret_other) {
                *ret_other = false;
            }
            return KITH_OK;
        }
    }
    if (joiner_change(plan, change)) {
        return KITH_OK;
    }
    for (uint32_t i = plan->count; i > 0; i--) {
        if (contradicts(&plan->changes[i - 1], change)) {
            change_remove(plan, i - 1);
            other = true;
        }
    }
    if (undoes) {
        (void)kith_plan_forget(plan, &change->node); /* its weight and zone, too */
    } else if (plan->count == KITH_PLAN_CHANGES_MAX) {
        return kith_error_set(error, KITH_ELIMIT,
                              "%u changes are staged already; apply them first: kithctl plan apply",
                              KITH_PLAN_CHANGES_MAX);
    } else {
        plan->changes[plan->count++] = *change;
    }
    if (ret_other) {
        *ret_other = other;
    }
    return KITH_OK;
}

/* ---- The members to be ---- */

static struct kith_member *member_find(struct kith_member members[], uint32_t count,
                                       const struct kith_uuid *uuid)
{
    for (uint32_t i = 0; i < count; i++) {
        if (kith_uuid_equal(&members[i].uuid, uuid)) {
            return &members[i];
        }
    }
    return NULL;
}

static void member_apply(struct kith_member members[], uint32_t *count,
                         const struct kith_plan_change *change)
{
    struct kith_member *member = member_find(members, *count, &change->node);
    switch (change->kind) {
    case KITH_PLAN_JOIN:
        if (!member) {
            member = &members[(*count)++];
            memset(member, 0, sizeof(*member));
            member->uuid = change->node;
            memcpy(member->zone, change->zone, sizeof(member->zone));
            member->weight = change->weight;
        }
        return;
    case KITH_PLAN_REPLACE:
        if (member && !member_find(members, *count, &change->with)) {
            member->uuid = change->with;
            return;
        }
        break;
    case KITH_PLAN_LEAVE:
        break;
    case KITH_PLAN_WEIGHT:
    case KITH_PLAN_ZONE:
        return; /* later: of new ones, too */
    }
    if (member) { /* no longer one */
        *member = members[--*count];
    }
}

uint32_t kith_plan_members(const struct kith_table *table, const struct kith_plan *plan,
                           const struct kith_uuid out[], uint32_t out_count,
                           struct kith_member ret_members[])
{
    uint32_t count = table->member_count;
    memcpy(ret_members, table->members, count * sizeof(*ret_members));
    for (uint32_t i = 0; i < plan->count; i++) {
        member_apply(ret_members, &count, &plan->changes[i]);
    }
    for (uint32_t i = 0; i < out_count; i++) {
        struct kith_member *member = member_find(ret_members, count, &out[i]);
        if (member) {
            *member = ret_members[--count];
        }
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kith_plan_change *change = &plan->changes[i];
        struct kith_member *member = member_find(ret_members, count, &change->node);
        if (member && change->kind == KITH_PLAN_WEIGHT) {
            member->weight = change->weight;
        } else if (member && change->kind == KITH_PLAN_ZONE) {
            memcpy(member->zone, change->zone, sizeof(member->zone));
        }
    }
    return count;
}

/* ---- Who is meant ---- */

/* Whether the uuid begins so, written with or without its hyphens. */
static bool uuid_begins(const struct kith_uuid *uuid, const char *text)
{
    char whole[KITH_UUID_TEXT_SIZE];
    char bare[KITH_UUID_TEXT_SIZE];
    size_t used = 0;
    kith_uuid_format(uuid, whole);
    for (const char *at = whole; *at; at++) {
        if (*at != '-') {
            bare[used++] = *at;
        }
    }
    bare[used] = '\0';
    size_t length = strlen(text);
    return length > 0 &&
           (strncasecmp(whole, text, length) == 0 || strncasecmp(bare, text, length) == 0);
}

struct finding {
    const char *text;
    char address[KITH_ADDRESS_SIZE]; /* with a port; "": the text is none */
    uint32_t by_address, by_name;
    struct kith_uuid of_address, of_name;
    char list[300]; /* of all; or of those that it may be */
    size_t used;
};

static void list_add(struct finding *finding, const struct kith_uuid *uuid, const char *address)
{
    char name[KITH_FORMAT_SIZE];
    char one[KITH_ADDRESS_SIZE + KITH_FORMAT_SIZE + 8];
    kith_format_node(uuid, name);
    int length = snprintf(one, sizeof(one), "%s%s (%s)", finding->used > 0 ? ", " : "", name,
                          *address ? address : "no address");
    if (finding->used + (size_t)length + sizeof(", ...") < sizeof(finding->list)) {
        memcpy(finding->list + finding->used, one, (size_t)length + 1);
        finding->used += (size_t)length;
    } else if (finding->used < sizeof(finding->list) - sizeof(", ...")) {
        (void)strcpy(finding->list + finding->used, ", ...");
        finding->used = sizeof(finding->list);
    }
}

/* which: 0 looks, 1 lists those that it may be, 2 lists all */
static void candidate(struct finding *finding, const struct kith_uuid *uuid, const char *address,
                      int which)
{
    bool at = *finding->address && strcmp(finding->address, address) == 0;
    bool called = uuid_begins(uuid, finding->text);
    if (which == 0 && at) {
        finding->by_address++;
        finding->of_address = *uuid;
    }
    if (which == 0 && called) {
        finding->by_name++;
        finding->of_name = *uuid;
    }
    if (which == 2 || (which == 1 && (at || called))) {
        list_add(finding, uuid, address);
    }
}

static void candidates(const struct kith_view *view, const struct kith_plan *plan, int which,
                       struct finding *finding)
{
    for (uint32_t i = 0; i < view->count; i++) {
        candidate(finding, &view->nodes[i].uuid, view->nodes[i].address, which);
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct kith_plan_change *change = &plan->changes[i];
        const struct kith_uuid *uuid =
            change->kind == KITH_PLAN_REPLACE ? &change->with : &change->node;
        if (kith_plan_joins(plan, uuid) == change &&
            kith_table_find(view->table, uuid) == KITH_NO_MEMBER) {
            candidate(finding, uuid, change->address, which);
        }
    }
}

enum kith_err kith_plan_find(const struct kith_view *view, const struct kith_plan *plan,
                             const char *text, struct kith_uuid *ret_node, struct kith_error *error)
{
    struct kith_ctl_args *scratch = kith_calloc(1, sizeof(*scratch));
    struct finding finding;
    if (!scratch) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    memset(&finding, 0, sizeof(finding));
    finding.text = text;
    if (kith_ctl_servers(text, scratch, NULL) == KITH_OK && scratch->server_count == 1) {
        memcpy(finding.address, scratch->servers[0], sizeof(finding.address));
    }
    kith_free(scratch);
    candidates(view, plan, 0, &finding);
    if (finding.by_address == 1) {
        *ret_node = finding.of_address;
        return KITH_OK;
    }
    if (finding.by_address == 0 && finding.by_name == 1) {
        *ret_node = finding.of_name;
        return KITH_OK;
    }
    bool several = finding.by_address + finding.by_name > 0;
    candidates(view, plan, several ? 1 : 2, &finding);
    return kith_error_set(error, KITH_EINVAL,
                          several ? "'%.100s' may be any of %s; write more of the name"
                                  : "no node '%.100s'; there are %s",
                          text, finding.list);
}

/* ---- The document ---- */

json_t *kith_plan_change_json(const struct kith_plan_change *change)
{
    char uuid[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&change->node, uuid);
    json_t *object = json_pack("{s:s, s:s}", "change", words[change->kind], "node", uuid);
    bool good = object != NULL;
    if (good && change->kind == KITH_PLAN_REPLACE) {
        kith_uuid_format(&change->with, uuid);
        good = json_object_set_new(object, "with", json_string(uuid)) == 0;
    }
    if (good && *change->address) {
        good = json_object_set_new(object, "address", json_string(change->address)) == 0;
    }
    if (good && (change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_ZONE)) {
        good = kith_json_bytes(object, "zone",
                               kith_bytes_make(change->zone, strlen(change->zone))) == KITH_OK;
    }
    if (good && (change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_WEIGHT)) {
        good = json_object_set_new(object, "weight", json_integer(change->weight)) == 0;
    }
    if (!good) {
        json_decref(object);
        return NULL;
    }
    return object;
}

enum kith_err kith_plan_encode(const struct kith_plan *plan, struct kith_buf *buf)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < plan->count; i++) {
        (void)json_array_append_new(list, kith_plan_change_json(&plan->changes[i])); /* counted */
    }
    bool good = json_array_size(list) == plan->count;
    json_t *document = json_pack("{s:i, s:o}", "format", FORMAT, "changes", list);
    char *text = good && document ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (!text) {
        return KITH_ENOMEM;
    }
    kith_buf_put(buf, text, strlen(text));
    free(text); /* of jansson */
    return buf->failed ? KITH_ENOMEM : KITH_OK;
}

/* A member of the object, "" where there is none; false: it does not fit. */
static bool text_read(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));
    return snprintf(out, size, "%s", text ? text : "") < (int)size;
}

static bool uuid_read(const json_t *object, const char *name, struct kith_uuid *ret_uuid)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text && kith_uuid_parse(text, ret_uuid) == KITH_OK;
}

static bool change_read(const json_t *object, struct kith_plan_change *change)
{
    const char *word = json_string_value(json_object_get(object, "change"));
    int kind = 0;
    memset(change, 0, sizeof(*change));
    while (kind < KINDS && (!word || strcmp(word, words[kind]) != 0)) {
        kind++;
    }
    if (kind == KINDS || !uuid_read(object, "node", &change->node) ||
        !text_read(object, "address", change->address, sizeof(change->address)) ||
        !text_read(object, "zone", change->zone, sizeof(change->zone))) {
        return false;
    }
    change->kind = (enum kith_plan_kind)kind;
    bool weighs = change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_WEIGHT;
    bool comes = change->kind == KITH_PLAN_JOIN || change->kind == KITH_PLAN_REPLACE;
    json_int_t weight = json_integer_value(json_object_get(object, "weight"));
    if ((weighs && (weight < 1 || weight > (json_int_t)KITH_WEIGHT_MAX)) ||
        (comes && !*change->address) ||
        (change->kind == KITH_PLAN_REPLACE && !uuid_read(object, "with", &change->with))) {
        return false;
    }
    change->weight = weighs ? (uint32_t)weight : 0;
    return true;
}

enum kith_err kith_plan_decode(struct kith_bytes bytes, struct kith_plan *ret_plan,
                               struct kith_error *error)
{
    json_error_t ignored;
    json_t *document = json_loadb((const char *)bytes.data, bytes.size, 0, &ignored);
    const json_t *list = json_object_get(document, "changes");
    ret_plan->count = 0;
    enum kith_err err = json_is_array(list) ? KITH_OK : KITH_EFORMAT;
    if (json_integer_value(json_object_get(document, "format")) > FORMAT) {
        err = KITH_EVERSION;
    }
    size_t count = json_array_size(list);
    for (size_t i = 0; err == KITH_OK && i < count; i++) {
        if (i >= KITH_PLAN_CHANGES_MAX ||
            !change_read(json_array_get(list, i), &ret_plan->changes[i])) {
            err = KITH_EFORMAT;
        }
        ret_plan->count++;
    }
    json_decref(document);
    if (err != KITH_OK) {
        ret_plan->count = 0;
        return kith_error_set(error, err,
                              "what is staged cannot be read (%s); forget it: kithctl plan drop",
                              err == KITH_EVERSION ? "a later kithctl wrote it" : "no plan");
    }
    return KITH_OK;
}

/* ---- For people ---- */

static const char *address_of(const struct kith_view *view, const struct kith_uuid *uuid)
{
    uint16_t index = kith_table_find(view->table, uuid);
    return index != KITH_NO_MEMBER ? view->nodes[index].address : "";
}

void kith_plan_change_text(const struct kith_plan_change *change, const struct kith_view *view,
                           char *text, size_t size)
{
    char name[KITH_FORMAT_SIZE];
    char with[KITH_FORMAT_SIZE];
    uint16_t index = kith_table_find(view->table, &change->node);
    const struct kith_member *now = index != KITH_NO_MEMBER ? &view->table->members[index] : NULL;
    const char *address = address_of(view, &change->node);
    kith_format_node(&change->node, name);
    kith_format_node(&change->with, with);
    const char *at = *address ? " at " : "";
    switch (change->kind) {
    case KITH_PLAN_JOIN:
        (void)snprintf(text, size, "+ node %s at %s (%s%s%sweight %u)%s", name, change->address,
                       *change->zone ? "zone " : "", change->zone, *change->zone ? ", " : "",
                       change->weight, now ? ": it is a member already" : "");
        return;
    case KITH_PLAN_LEAVE:
        (void)snprintf(text, size, "- node %s%s%s", name, at, address);
        break;
    case KITH_PLAN_REPLACE:
        (void)snprintf(text, size, "- node %s%s%s, + node %s at %s in its place", name, at, address,
                       with, change->address);
        break;
    case KITH_PLAN_WEIGHT:
        (void)snprintf(text, size, "node %s%s%s: weight %u -> %u", name, at, address,
                       now ? now->weight : 0, change->weight);
        break;
    case KITH_PLAN_ZONE:
        (void)snprintf(text, size, "node %s%s%s: zone %s -> %s", name, at, address,
                       now && *now->zone ? now->zone : "-", *change->zone ? change->zone : "-");
        break;
    }
    if (!now) {
        size_t used = strlen(text);
        (void)snprintf(text + used, size - used, " (no member%s)",
                       change->kind == KITH_PLAN_LEAVE ? " any more" : "");
    }
}
