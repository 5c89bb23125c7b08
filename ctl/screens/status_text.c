/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * status_text.c - the status screen: a line of the cluster, one of each node, then in words what
 * can be read and written, and each trouble with what helps. */
#include <string.h>

#include "ctl/format.h"
#include "ctl/plan/progress.h"
#include "ctl/screens/status.h"
#include "text/columns.h"

#define LINES_MAX     4u  /* of one kind of trouble; then how many more there are */
#define DISK_FULL_PCT 90u /* of a disk: worth a word */

/* ---- The table of nodes ---- */

static const char *const heads[] = {"STATE", "NODE",  "ADDRESS", "ZONE",    "OWNS", "DATA",
                                    "DISK",  "HINTS", "SEEN",    "VERSION", "MOVE"};
enum { HEADS = sizeof(heads) / sizeof(heads[0]) }; /* the last one while data moves */

static uint32_t disk_percent(const struct kith_view_node *node)
{
    uint64_t used = node->disk_total_bytes - node->disk_free_bytes;
    return (uint32_t)(used / (node->disk_total_bytes / 100 + 1));
}

/* "kithd 0.1.0": the column says only the number. */
static const char *software(const char *text)
{
    return strncmp(text, "kithd ", 6) == 0 ? text + 6 : text;
}

static void node_add(struct kith_columns *columns, const struct kith_view *view,
                     const struct kith_view_node *node)
{
    char name[KITH_FORMAT_SIZE];
    char owns[KITH_FORMAT_SIZE];
    char data[KITH_FORMAT_SIZE] = "-";
    char disk[KITH_FORMAT_SIZE] = "-";
    char hints[KITH_FORMAT_SIZE] = "-";
    char seen[KITH_FORMAT_SIZE] = "never";
    char part[48];
    kith_progress_part(node, part, sizeof(part));
    kith_format_node(&node->uuid, name);
    kith_format_share(node->owned, (uint64_t)view->table->partitions * view->table->owner_slots,
                      owns);
    if (node->seen_ms_ago != UINT64_MAX) {
        kith_format_age(node->seen_ms_ago, seen);
    }
    if (node->up) {
        kith_format_bytes(node->row_bytes + node->chunk_bytes, data);
        kith_format_count(node->hints, hints);
        if (node->disk_total_bytes > 0) {
            (void)snprintf(disk, sizeof(disk), "%u%%", disk_percent(node));
        }
    }
    const char *cells[HEADS] = {node->up       ? "UP"
                                : node->silent ? "SILENT"
                                               : "DOWN",
                                name,
                                *node->address ? node->address : "-",
                                *node->zone ? node->zone : "-",
                                owns,
                                data,
                                disk,
                                hints,
                                seen,
                                *node->software ? software(node->software) : "-",
                                part};
    enum kith_colour colour = !node->up       ? KITH_COLOUR_BAD
                              : !node->agrees ? KITH_COLOUR_WARN
                                              : KITH_COLOUR_GOOD;
    kith_columns_add(columns, colour, cells);
}

static bool nodes_print(const struct kith_view *view, FILE *out, bool colours)
{
    struct kith_columns columns;
    kith_columns_init(&columns, heads, kith_table_is_joint(view->table) ? HEADS : HEADS - 1);
    for (uint32_t i = 0; i < view->count; i++) {
        node_add(&columns, view, &view->nodes[i]);
    }
    bool good = kith_columns_print(&columns, out, colours);
    kith_columns_release(&columns);
    return good;
}

/* ---- In words ---- */

static void partitions_print(const struct kith_health *health, uint32_t count, const char *what,
                             FILE *out)
{
    char share[KITH_FORMAT_SIZE];
    kith_format_share(count, health->partitions, share);
    (void)fprintf(out, "%u of %u partitions (%s of the files) %s\n", count, health->partitions,
                  share, what);
}

static void can_print(const struct kith_view *view, FILE *out)
{
    const struct kith_health *health = &view->health;
    char text[200];
    bool all = health->unreadable == 0 && health->unwritable == 0;
    (void)fprintf(out, "%u of %u nodes up.%s\n", view->up, view->count,
                  all ? " Every file can be read and written." : "");
    uint32_t few = health->unreadable - health->ownerless;
    uint32_t apart = health->unwritable - health->unreadable; /* readable ones are no others */
    if (health->ownerless > 0) {
        partitions_print(health, health->ownerless,
                         "have no owner up: what they hold cannot be read until one is back.", out);
    }
    if (few > 0) {
        (void)snprintf(text, sizeof(text),
                       "have fewer than %u owners up: they can be read, maybe not as written "
                       "last, and written on fewer copies; strict mounts do neither.",
                       health->quorum);
        partitions_print(health, few, text, out);
    }
    if (apart > 0) {
        (void)snprintf(text, sizeof(text),
                       "have no %u owners that hear each other: they can be read, and written "
                       "on fewer copies; strict mounts only read.",
                       health->quorum);
        partitions_print(health, apart, text, out);
    }
    if (!all && health->unwritable < health->partitions) {
        (void)fprintf(out, "The other files can be read and written.\n");
    }
}

static void moves_print(const struct kith_view *view, FILE *out)
{
    uint32_t complete = 0;
    uint32_t gains = kith_view_gains(view, &complete);
    if (kith_table_is_joint(view->table)) {
        (void)fprintf(
            out, "Table v%llu moves data: %u of %u replicas are there. See: kithctl plan show\n",
            (unsigned long long)view->table->id.version, complete, gains);
    }
}

static void hints_print(const struct kith_view *view, FILE *out)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char name[KITH_FORMAT_SIZE];
        char count[KITH_FORMAT_SIZE];
        char size[KITH_FORMAT_SIZE];
        char age[KITH_FORMAT_SIZE];
        kith_format_node(&node->uuid, name);
        if (node->up && node->hints > 0) {
            kith_format_count(node->hints, count);
            kith_format_bytes(node->hint_bytes, size);
            kith_format_age(node->hint_oldest_ms, age);
            (void)fprintf(out,
                          "%s holds %s write%s (%s, the oldest of %s) for nodes that missed them",
                          name, count, node->hints == 1 ? "" : "s", size, age);
            kith_format_count(node->custody, count);
            (void)fprintf(out, node->custody > 0 ? "; %s of them count as copies.\n" : ".\n",
                          count);
        }
        if (node->up && node->thin_rows > 0) {
            kith_format_count(node->thin_rows, count);
            (void)fprintf(out, "%s has %s row%s that stand on fewer copies than a quorum.\n", name,
                          count, node->thin_rows == 1 ? "" : "s");
        }
    }
}

/* Those of this node that it does not hear although they answer us. */
static uint32_t unheard_name(const struct kith_view *view, uint32_t who, char *text, size_t size)
{
    uint32_t count = 0;
    size_t used = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        if (!view->nodes[i].up || view->hears[(size_t)who * view->count + i]) {
            continue;
        }
        char name[KITH_FORMAT_SIZE];
        kith_format_node(&view->nodes[i].uuid, name);
        if (count < LINES_MAX) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", count > 0 ? ", " : "", name);
        }
        count++;
    }
    if (count > LINES_MAX) {
        (void)snprintf(text + used, size - used, " and %u more", count - LINES_MAX);
    }
    return count;
}

static void disagreements_print(const struct kith_view *view, FILE *out)
{
    uint32_t told = 0;
    uint32_t more = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char name[KITH_FORMAT_SIZE];
        char others[LINES_MAX * 12 + 32];
        kith_format_node(&node->uuid, name);
        if (node->up && kith_table_id_compare(&node->knows, &view->table->id) != 0) {
            (void)fprintf(out, "%s has table v%llu: it fetches the newer one by itself.\n", name,
                          (unsigned long long)node->knows.version);
        }
        if (!node->up || unheard_name(view, i, others, sizeof(others)) == 0) {
            continue;
        }
        if (told < LINES_MAX) {
            (void)fprintf(out,
                          "%s does not hear %s: is it starting, or the network cut between them?\n",
                          name, others);
            told++;
        } else {
            more++;
        }
    }
    if (more > 0) {
        (void)fprintf(out, "%u more nodes do not hear all others.\n", more);
    }
}

static void absent_print(const struct kith_view *view, FILE *out)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char name[KITH_FORMAT_SIZE];
        kith_format_node(&node->uuid, name);
        if (node->move_flags & KITH_MEMBER_GONE) {
            (void)fprintf(out, "%s is left out for good; nobody waits for it.\n", name);
        } else if (!node->up && !*node->address) {
            (void)fprintf(out, "%s is to join, and has not yet: kithctl plan apply.\n", name);
        } else if (node->silent) {
            (void)fprintf(
                out,
                "Not answering: %s. Is kithd stopped, or its machine off, cut off or overloaded?\n",
                node->error);
        } else if (!node->up) {
            (void)fprintf(out, "Down: %s. Start kithd there again.\n", node->error);
        }
    }
}

static void strangers_print(const struct kith_view *view, FILE *out)
{
    for (uint32_t i = 0; i < view->stranger_count; i++) {
        const struct kith_view_stranger *stranger = &view->strangers[i];
        char name[KITH_FORMAT_SIZE];
        kith_format_node(&stranger->uuid, name);
        (void)fprintf(out,
                      "%s at %s is no member of this cluster any more: it left, or was replaced. "
                      "Stop kithd there; to use it again start it with an empty directory, then: "
                      "kithctl plan join %s\n",
                      name, stranger->address, stranger->address);
    }
}

static void refills_print(const struct kith_view *view, FILE *out)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        char name[KITH_FORMAT_SIZE];
        if (node->up && node->refill_left > 0) {
            kith_format_node(&node->uuid, name);
            (void)fprintf(out,
                          "The disk of %s has lost data: %u of %u partitions are not back yet, and "
                          "not read there before. See: kithctl repair status\n",
                          name, node->refill_left, node->refill_total);
        }
        if (node->up && node->aged_left > 0) {
            kith_format_node(&node->uuid, name);
            (void)fprintf(out,
                          "%s was off for long, or has an older copy of its disk: %u partitions "
                          "are compared with other nodes first, and not read there before\n",
                          name, node->aged_left);
        }
    }
}

static void conflicts_print(const struct kith_view *view, FILE *out)
{
    uint64_t files = kith_view_conflicts(view);
    char count[KITH_FORMAT_SIZE];
    if (files > 0) {
        kith_format_count(files, count);
        (void)fprintf(out, "%s file%s in conflict (kithctl conflicts).\n", count,
                      files == 1 ? "" : "s");
    }
}

/* What it does no more. */
static const char *space_words(uint32_t space)
{
    static const char *const words[] = {
        "", "chunks that it has missed are not fetched",
        "and nothing more is kept there for other nodes",
        "it takes deletes and repairs only, and writes go to other nodes"};
    return words[space < 3 ? space : 3];
}

static void disks_print(const struct kith_view *view, FILE *out)
{
    uint64_t data = 0;
    uint64_t total = 0;
    uint64_t used = 0;
    char text[3][KITH_FORMAT_SIZE];
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        if (!node->up) {
            continue;
        }
        data += node->row_bytes + node->chunk_bytes;
        total += node->disk_total_bytes;
        used += node->disk_total_bytes - node->disk_free_bytes;
        if (node->space > 0 ||
            (node->disk_total_bytes > 0 && disk_percent(node) >= DISK_FULL_PCT)) {
            kith_format_node(&node->uuid, text[0]);
            kith_format_bytes(node->disk_free_bytes, text[1]);
            (void)fprintf(out,
                          "The disk of %s is %u%% full (%s left)%s%s: make room, or give it "
                          "more.\n",
                          text[0], disk_percent(node), text[1], node->space > 0 ? "; " : "",
                          space_words(node->space));
        }
    }
    kith_format_bytes(data, text[0]);
    kith_format_bytes(total, text[1]);
    (void)fprintf(out, "%s of data; the disks of the nodes that are up hold %s, %u%% full.",
                  text[0], text[1], (unsigned)(used / (total / 100 + 1)));
}

static void compared_print(const struct kith_view *view, FILE *out)
{
    uint64_t pairs = 0;
    uint64_t never = 0;
    uint64_t oldest_ms = 0;
    char age[KITH_FORMAT_SIZE];
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        pairs += node->pairs;
        never += node->pairs_never;
        oldest_ms = node->pairs_oldest_ms > oldest_ms ? node->pairs_oldest_ms : oldest_ms;
    }
    kith_format_age(oldest_ms, age);
    if (pairs == 0) {
        (void)fputc('\n', out);
    } else if (never == 0 && oldest_ms < 1000) {
        (void)fprintf(out, " Last full exchange now.\n");
    } else if (never == 0) {
        (void)fprintf(out, " Last full exchange %s ago.\n", age);
    } else {
        kith_format_share(pairs - never, pairs, age);
        (void)fprintf(out, " %s of the copies compared since the nodes' start.\n", age);
    }
}

void kith_status_sweep_print(const struct kith_view *view, FILE *out)
{
    const struct kith_view_node *waits = NULL;
    uint64_t condemned = 0, bytes = 0, ago_ms = 0, reaped = 0;
    bool never = view->up == 0; /* as far as is known */
    char age[KITH_FORMAT_SIZE], count[KITH_FORMAT_SIZE], size[KITH_FORMAT_SIZE];
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        if (!node->up) {
            continue;
        }
        condemned += node->condemned;
        bytes += node->swept_bytes;
        reaped += node->reaped;
        never = never || node->sweep_ms_ago == UINT64_MAX;
        ago_ms = node->sweep_ms_ago > ago_ms ? node->sweep_ms_ago : ago_ms;
        waits = !waits && *node->sweep_waits ? node : waits;
    }
    kith_format_age(ago_ms, age);
    kith_format_count(condemned, count);
    kith_format_bytes(bytes, size);
    if (never && !waits && condemned == 0 && bytes == 0 && reaped == 0) {
        return; /* the nodes have just started, or do not sweep */
    }
    (void)fprintf(out, "Sweep of what no file refers to: ");
    if (never) {
        (void)fprintf(out, "not all looked through yet");
    } else {
        (void)fprintf(out, "last %s%s", age, ago_ms < 1000 ? "" : " ago");
    }
    (void)fprintf(out, "; since the nodes' start %s chunk%s condemned, %s deleted", count,
                  condemned == 1 ? "" : "s", size);
    if (reaped > 0) {
        kith_format_count(reaped, count);
        (void)fprintf(out, ", %s copies of deleted names forgotten", count);
    }
    (void)fputc('.', out);
    if (waits) {
        kith_format_node(&waits->uuid, age);
        (void)fprintf(out, " %s waits: %s.", age, waits->sweep_waits);
    }
    (void)fputc('\n', out);
}

enum kith_err kith_status_print(struct kith_view *view, FILE *out, bool colours)
{
    int health = kith_view_health(view);
    const char *word = health == KITH_CTL_OK      ? "healthy"
                       : health == KITH_CTL_BELOW ? "BELOW QUORUM"
                                                  : "DEGRADED";
    (void)fprintf(out, "Cluster %s   table v%llu   N=%u R=%u W=%u   %u partitions   health: ",
                  view->name, (unsigned long long)view->table->id.version, view->table->replicas,
                  view->health.quorum, view->health.quorum, view->table->partitions);
    kith_colour_print(out, colours,
                      health == KITH_CTL_OK      ? KITH_COLOUR_GOOD
                      : health == KITH_CTL_BELOW ? KITH_COLOUR_BAD
                                                 : KITH_COLOUR_WARN,
                      word);
    (void)fputc('\n', out);
    if (!nodes_print(view, out, colours)) {
        return KITH_ENOMEM;
    }
    can_print(view, out);
    moves_print(view, out);
    absent_print(view, out);
    strangers_print(view, out);
    disagreements_print(view, out);
    hints_print(view, out);
    refills_print(view, out);
    conflicts_print(view, out);
    disks_print(view, out);
    compared_print(view, out);
    kith_status_sweep_print(view, out);
    return KITH_OK;
}
