/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/screens/ring.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/format.h"
#include "text/columns.h"

#define SETS_SHOWN  16u   /* sets of owners; a ring of many nodes has hundreds, --json has all */

/* ---- Ranges ---- */

static void range_put(struct kith_ranges *ranges)
{
    char one[32];
    size_t used = strlen(ranges->text);
    (void)snprintf(one, sizeof(one), ranges->first == ranges->last ? "%s%u" : "%s%u-%u",
                   used > 0 ? ", " : "", ranges->first, ranges->last);
    if (!ranges->cut && used + strlen(one) + sizeof(", ...") <= sizeof(ranges->text)) {
        (void)strcpy(ranges->text + used, one);
    } else if (!ranges->cut) {
        (void)strcpy(ranges->text + used, ", ...");
        ranges->cut = true;
    }
}

void kith_ranges_add(struct kith_ranges *ranges, uint32_t number)
{
    if (ranges->count > 0 && number == ranges->last + 1) {
        ranges->last = number;
    } else {
        kith_ranges_end(ranges);
        ranges->first = ranges->last = number;
    }
    ranges->count++;
}

void kith_ranges_end(struct kith_ranges *ranges)
{
    if (ranges->count > 0) {
        range_put(ranges);
    }
}

/* ---- Who is there ---- */

static bool *up_new(const struct kith_view *view)
{
    bool *up = kith_calloc(view->count, sizeof(*up));
    for (uint32_t i = 0; up && i < view->count; i++) {
        up[i] = view->nodes[i].up;
    }
    return up;
}

static const char *state_text(const struct kith_view_node *node)
{
    return node->up ? "UP" : node->silent ? "SILENT" : "DOWN";
}

static enum kith_colour state_colour(const struct kith_view_node *node)
{
    return node->up ? KITH_COLOUR_GOOD : KITH_COLOUR_BAD;
}

static bool joins(const struct kith_view *view, uint32_t i)
{
    return (view->nodes[i].move_flags & KITH_MEMBER_JOINS) != 0; /* it has no share yet */
}

/* Most and mean share by weight, times 1000: 1003 where the fullest has 0.3 % more than its due. */
static uint32_t balance(const struct kith_view *view)
{
    double copies = (double)view->table->partitions * view->table->owner_slots;
    double weights = 0;
    double most = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        weights += joins(view, i) ? 0 : view->table->members[i].weight;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        double due = copies * view->table->members[i].weight / weights;
        double load = (double)view->nodes[i].owned / due;
        most = load > most ? load : most;
    }
    return (uint32_t)(most * 1000 + 0.5);
}

static bool same_zone(const struct kith_view *view, uint16_t a, uint16_t b)
{
    return strcmp(view->nodes[a].zone, view->nodes[b].zone) == 0;
}

static uint32_t zones_of(const struct kith_view *view, const uint16_t *owners, uint32_t count)
{
    uint32_t zones = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool again = false;
        for (uint32_t k = 0; k < i; k++) {
            again = again || same_zone(view, owners[i], owners[k]);
        }
        zones += !again;
    }
    return zones;
}

/* ---- Nodes ---- */

static bool nodes_print(const struct kith_view *view, FILE *out, bool colours)
{
    static const char *const heads[] = {"STATE",  "NODE",   "ADDRESS", "ZONE",
                                        "WEIGHT", "COPIES", "SHARE",   "FIRST"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char text[5][KITH_FORMAT_SIZE];
        uint32_t first = 0;
        for (uint32_t p = 0; p < view->table->partitions; p++) {
            first += kith_table_owners(view->table, p)[0] == i;
        }
        kith_format_node(&node->uuid, text[0]);
        kith_format_count(view->table->members[i].weight, text[1]);
        kith_format_count(node->owned, text[2]);
        kith_format_share(node->owned, (uint64_t)view->table->partitions * view->table->owner_slots,
                          text[3]);
        kith_format_count(first, text[4]);
        const char *cells[] = {state_text(node),
                               text[0],
                               *node->address ? node->address : "-",
                               *node->zone ? node->zone : "-",
                               text[1],
                               text[2],
                               text[3],
                               text[4]};
        kith_columns_add(&columns, state_colour(node), cells);
    }
    bool good = kith_columns_print(&columns, out, colours);
    kith_columns_release(&columns);
    return good;
}

/* ---- Sets of owners ---- */

struct owner_set {
    uint16_t owners[KITH_REPLICAS_MAX]; /* ascending */
    struct kith_ranges ranges;
};

static int index_compare(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* The partitions of each set, in the order of the first of them; as many sets as there is room for.
 * *ret_more: partitions of the others. */
static uint32_t sets_collect(const struct kith_table *table, struct owner_set sets[SETS_SHOWN],
                             uint32_t *ret_more)
{
    uint32_t count = 0;
    size_t size = table->owner_slots * sizeof(uint16_t);
    *ret_more = 0;
    memset(sets, 0, SETS_SHOWN * sizeof(*sets));
    for (uint32_t p = 0; p < table->partitions; p++) {
        uint16_t owners[KITH_REPLICAS_MAX];
        memcpy(owners, kith_table_owners(table, p), size);
        qsort(owners, table->owner_slots, sizeof(owners[0]), index_compare);
        uint32_t at = 0;
        while (at < count && memcmp(sets[at].owners, owners, size) != 0) {
            at++;
        }
        if (at == count && count < SETS_SHOWN) {
            memcpy(sets[count++].owners, owners, size);
        }
        if (at < count) {
            kith_ranges_add(&sets[at].ranges, p);
        } else {
            ++*ret_more;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        kith_ranges_end(&sets[i].ranges);
    }
    return count;
}

static void owners_text(const struct kith_view *view, const uint16_t *owners, uint32_t count,
                        char *text, size_t size)
{
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        char name[KITH_FORMAT_SIZE];
        kith_format_node(&view->nodes[owners[i]].uuid, name);
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? " " : "", name);
    }
}

static bool sets_print(const struct kith_view *view, FILE *out)
{
    static const char *const heads[] = {"OWNERS", "ZONES", "PARTITIONS", "WHICH"};
    struct owner_set sets[SETS_SHOWN];
    struct kith_columns columns;
    uint32_t more = 0;
    uint32_t count = sets_collect(view->table, sets, &more);
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < count; i++) {
        char owners[KITH_REPLICAS_MAX * 10];
        char zones[KITH_FORMAT_SIZE];
        char number[KITH_FORMAT_SIZE];
        owners_text(view, sets[i].owners, view->table->owner_slots, owners, sizeof(owners));
        kith_format_count(zones_of(view, sets[i].owners, view->table->owner_slots), zones);
        kith_format_count(sets[i].ranges.count, number);
        const char *cells[] = {owners, zones, number, sets[i].ranges.text};
        kith_columns_add(&columns, KITH_COLOUR_NONE, cells);
    }
    bool good = kith_columns_print(&columns, out, false);
    kith_columns_release(&columns);
    if (more > 0) {
        (void)fprintf(out, "and %u partitions of other owners (kithctl ring --json lists all)\n",
                      more);
    }
    return good;
}

/* ---- What is short of owners ---- */

static void short_print(const struct kith_view *view, const bool *up, FILE *out)
{
    const struct kith_table *table = view->table;
    struct kith_reach reach = {view->count, up, view->hears, NULL};
    struct kith_ranges thin = {0};
    struct kith_ranges unreadable = {0};
    struct kith_ranges unwritable = {0};
    for (uint32_t p = 0; p < table->partitions; p++) {
        struct kith_partition_health health = kith_partition_health(table, p, &reach);
        if (health.up < table->owner_slots) {
            kith_ranges_add(&thin, p);
        }
        if (!health.readable) {
            kith_ranges_add(&unreadable, p);
        }
        if (!health.writable) {
            kith_ranges_add(&unwritable, p);
        }
    }
    const struct {
        struct kith_ranges *ranges;
        const char *what;
    } all[] = {{&thin, "not all owners up"},
               {&unreadable, "fewer than R owners up"},
               {&unwritable, "no W owners up that hear each other"}};
    if (thin.count == 0 && unwritable.count == 0) {
        (void)fprintf(out, "All partitions have all their owners up.\n");
        return;
    }
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        kith_ranges_end(all[i].ranges);
        (void)fprintf(out, "%-36s %u of %u partitions%s%s\n", all[i].what, all[i].ranges->count,
                      table->partitions, all[i].ranges->count > 0 ? ": " : "", all[i].ranges->text);
    }
    (void)fprintf(out, "Who is missing, and why: kithctl status\n");
}

/* Partitions whose owners are in fewer zones than they could be. */
static void zones_print(const struct kith_view *view, FILE *out)
{
    const struct kith_table *table = view->table;
    uint32_t zones = 0;
    uint32_t worse = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        bool again = joins(view, i);
        for (uint32_t k = 0; k < i; k++) {
            again = again || (!joins(view, k) && same_zone(view, (uint16_t)i, (uint16_t)k));
        }
        zones += !again;
    }
    uint32_t could = zones < table->owner_slots ? zones : table->owner_slots;
    for (uint32_t p = 0; p < table->partitions; p++) {
        worse += zones_of(view, kith_table_owners(table, p), table->owner_slots) < could;
    }
    if (zones < 2) {
        (void)fprintf(out, "All nodes are in one zone.\n");
    } else if (worse == 0) {
        (void)fprintf(out, "Every partition has its owners in %u zones (there are %u).\n", could,
                      zones);
    } else {
        (void)fprintf(out, "%u of %u partitions have their owners in fewer than %u zones.\n", worse,
                      table->partitions, could);
    }
}

static void moves_print(const struct kith_view *view, FILE *out)
{
    uint32_t complete = 0;
    uint32_t gains = kith_view_gains(view, &complete);
    if (kith_table_is_joint(view->table)) {
        (void)fprintf(out,
                      "These are the owners until all that moves is there: %u of %u replicas are. "
                      "See: kithctl plan show\n",
                      complete, gains);
    }
}

static void title_print(const struct kith_view *view, FILE *out)
{
    uint32_t uneven = balance(view);
    (void)fprintf(out,
                  "Cluster %s   table v%llu   N=%u R=%u W=%u   %u partitions   balance %u.%03u\n",
                  view->name, (unsigned long long)view->table->id.version, view->table->replicas,
                  view->health.quorum, view->health.quorum, view->table->partitions, uneven / 1000,
                  uneven % 1000);
}

enum kith_err kith_ring_print(struct kith_view *view, FILE *out, bool colours)
{
    (void)kith_view_health(view);
    bool *up = up_new(view);
    bool good = up != NULL;
    if (good) {
        title_print(view, out);
        good = nodes_print(view, out, colours) && sets_print(view, out);
    }
    if (good) {
        moves_print(view, out);
        zones_print(view, out);
        short_print(view, up, out);
    }
    kith_free(up);
    return good ? KITH_OK : KITH_ENOMEM;
}

/* ---- One partition ---- */

enum kith_err kith_ring_print_one(struct kith_view *view, uint32_t partition, const char *key,
                                  FILE *out, bool colours)
{
    static const char *const heads[] = {"STATE", "NODE", "ADDRESS", "ZONE", "ORDER"};
    const uint16_t *owners = kith_table_owners(view->table, partition);
    (void)kith_view_health(view);
    bool *up = up_new(view);
    if (!up) {
        return KITH_ENOMEM;
    }
    struct kith_reach reach = {view->count, up, view->hears, NULL};
    struct kith_partition_health health = kith_partition_health(view->table, partition, &reach);
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < view->table->owner_slots; i++) {
        const struct kith_view_node *node = &view->nodes[owners[i]];
        char name[KITH_FORMAT_SIZE];
        char order[KITH_FORMAT_SIZE];
        kith_format_node(&node->uuid, name);
        kith_format_count(i + 1, order);
        const char *cells[] = {state_text(node), name, *node->address ? node->address : "-",
                               *node->zone ? node->zone : "-", order};
        kith_columns_add(&columns, state_colour(node), cells);
    }
    if (key) {
        (void)fputs("Key ", out);
        kith_print_escaped(out, kith_bytes_make(key, strlen(key)));
        (void)fputs("   ", out);
    }
    (void)fprintf(out, "partition %u of %u   table v%llu   N=%u R=%u W=%u\n", partition,
                  view->table->partitions, (unsigned long long)view->table->id.version,
                  view->table->replicas, view->health.quorum, view->health.quorum);
    bool good = kith_columns_print(&columns, out, colours);
    kith_columns_release(&columns);
    (void)fprintf(out, "%u of %u owners up: %s.\n", health.up, view->table->owner_slots,
                  health.readable && health.writable ? "it can be read and written"
                  : health.readable ? "it can be read; the owners do not hear each "
                                      "other: writes are kept on fewer copies"
                  : health.up > 0
                      ? "too few; what they hold can be read, maybe not as written last, "
                        "and writes are kept on fewer copies"
                      : "what they hold cannot be read until one is back");
    if (kith_table_is_joint(view->table)) {
        char next[KITH_REPLICAS_MAX * 10];
        owners_text(view, kith_table_next_owners(view->table, partition), view->table->next_slots,
                    next, sizeof(next));
        (void)fprintf(out, "It moves to %s, who get what is written already.\n", next);
    }
    kith_free(up);
    return good ? KITH_OK : KITH_ENOMEM;
}

/* ---- JSON ---- */

static json_t *owners_json(const struct kith_view *view, const uint16_t *owners, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char uuid[KITH_UUID_TEXT_SIZE];
        kith_uuid_format(&view->nodes[owners[i]].uuid, uuid);
        (void)json_array_append_new(list, json_string(uuid)); /* counted below */
    }
    if (json_array_size(list) != count) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *partition_json(const struct kith_view *view, const bool *up, uint32_t partition)
{
    struct kith_reach reach = {view->count, up, view->hears, NULL};
    struct kith_partition_health health = kith_partition_health(view->table, partition, &reach);
    const struct kith_table *table = view->table;
    json_t *owners = owners_json(view, kith_table_owners(table, partition), table->owner_slots);
    json_t *object = json_pack("{s:i, s:o, s:i, s:b, s:b}", "partition", (int)partition, "owners",
                               owners, "owners_up", (int)health.up, "readable",
                               (int)health.readable, "writable", (int)health.writable);
    if (object && kith_table_is_joint(table) &&
        json_object_set_new(
            object, "next_owners",
            owners_json(view, kith_table_next_owners(table, partition), table->next_slots)) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *kith_ring_json_one(struct kith_view *view, uint32_t partition)
{
    bool *up = up_new(view);
    json_t *object = up ? partition_json(view, up, partition) : NULL;
    kith_free(up);
    return object;
}

static json_t *node_json(const struct kith_view *view, uint32_t i)
{
    const struct kith_view_node *node = &view->nodes[i];
    char uuid[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&node->uuid, uuid);
    json_t *object =
        json_pack("{s:s, s:s, s:b, s:I, s:I}", "node", uuid, "address", node->address, "up",
                  (int)node->up, "weight", (json_int_t)view->table->members[i].weight, "partitions",
                  (json_int_t)node->owned);
    if (object && kith_json_bytes(object, "zone",
                                  kith_bytes_make(node->zone, strlen(node->zone))) != KITH_OK) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *kith_ring_json(struct kith_view *view)
{
    (void)kith_view_health(view);
    bool *up = up_new(view);
    json_t *nodes = json_array();
    json_t *table = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        (void)json_array_append_new(nodes, node_json(view, i)); /* counted below */
    }
    for (uint32_t p = 0; up && p < view->table->partitions; p++) {
        (void)json_array_append_new(table, partition_json(view, up, p)); /* counted below */
    }
    kith_free(up);
    if (json_array_size(nodes) != view->count ||
        json_array_size(table) != view->table->partitions) {
        json_decref(nodes);
        json_decref(table);
        return NULL;
    }
    json_t *object = json_pack(
        "{s:I, s:I, s:b, s:i, s:i, s:f, s:i, s:i, s:i, s:o, s:o}", "epoch",
        (json_int_t)view->table->id.epoch, "table", (json_int_t)view->table->id.version, "moving",
        (int)kith_table_is_joint(view->table), "replicas", (int)view->table->replicas, "quorum",
        (int)view->health.quorum, "balance", (double)balance(view) / 1000, "partitions_thin",
        (int)view->health.thin, "partitions_unreadable", (int)view->health.unreadable,
        "partitions_unwritable", (int)view->health.unwritable, "nodes", nodes, "partitions", table);
    return kith_json_named("cluster", view->name, object);
}

/* ---- The command ---- */

static enum kith_err show(const struct kith_ctl_args *args, struct kith_view *view,
                          struct kith_error *error)
{
    const char *key = kith_ctl_value(args, "key");
    uint64_t partition = UINT64_MAX;
    enum kith_err err =
        kith_ctl_number(args, "partition", 0, view->table->partitions - 1u, &partition, error);
    if (err != KITH_OK) {
        return err;
    }
    if (key) {
        struct kith_group group = kith_group_of_kv(kith_bytes_make(key, strlen(key)));
        partition = kith_group_partition(&group, view->table->partitions);
    }
    bool one = partition != UINT64_MAX;
    if (args->json) {
        return kith_json_print(
            one ? kith_ring_json_one(view, (uint32_t)partition) : kith_ring_json(view), error);
    }
    bool colours = kith_colours_shown(stdout);
    err = one ? kith_ring_print_one(view, (uint32_t)partition, key, stdout, colours)
              : kith_ring_print(view, stdout, colours);
    return err == KITH_OK ? KITH_OK : kith_error_set(error, err, "out of memory");
}

int kith_ctl_ring(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_view view;
    const char *key = kith_ctl_value(args, "key");
    uint64_t partition = 0;
    enum kith_err err =
        kith_ctl_number(args, "partition", 0, KITH_PARTITIONS_MAX - 1u, &partition, &error);
    if (err == KITH_OK && key && kith_ctl_value(args, "partition")) {
        err = kith_error_set(&error, KITH_EINVAL, "both --key and --partition are given");
    }
    if (err == KITH_OK && key && (!*key || strlen(key) > KITH_NAME_MAX)) {
        err = kith_error_set(&error, KITH_EINVAL, "--key: a key has 1 to %u bytes", KITH_NAME_MAX);
    }
    if (err != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    err = kith_view_ask_once(args, &view, &error);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    err = show(args, &view, &error);
    kith_view_release(&view);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
