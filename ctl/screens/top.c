/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/screens/top.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/screens/again.h"
#include "text/columns.h"

#define UNKNOWN     (-1.0)

struct rates { /* a second; below 0: not known */
    double reads, writes, scans;
    bool timed; /* it is known how long those took that came since: */
    struct kith_histogram read_times, write_times;
};

struct line {
    const struct kith_view_node *node;
    struct rates rates;
};

static double rate_of(uint64_t now, uint64_t then, uint64_t elapsed_ms)
{
    return (double)(now - then) * 1000.0 / (double)elapsed_ms;
}

static void times_of(const struct kith_view_node *node, const struct kith_view_node *then,
                     struct rates *rates)
{
    rates->timed = node->timed && then->timed;
    if (rates->timed) {
        kith_histogram_since(&rates->read_times, &node->read_times, &then->read_times);
        kith_histogram_since(&rates->write_times, &node->write_times, &then->write_times);
    }
}

/* The same node, the look before; one that has been started again has counted from 0. */
static struct rates rates_of(const struct kith_view_node *node, const struct kith_view *before,
                             uint64_t elapsed_ms)
{
    struct rates rates = {.reads = UNKNOWN, .writes = UNKNOWN, .scans = UNKNOWN};
    for (uint32_t i = 0; before && elapsed_ms > 0 && node->up && i < before->count; i++) {
        const struct kith_view_node *then = &before->nodes[i];
        if (kith_uuid_equal(&then->uuid, &node->uuid) && then->up &&
            then->uptime_ms <= node->uptime_ms && then->gets <= node->gets &&
            then->puts <= node->puts && then->scans <= node->scans) {
            rates.reads = rate_of(node->gets, then->gets, elapsed_ms);
            rates.writes = rate_of(node->puts, then->puts, elapsed_ms);
            rates.scans = rate_of(node->scans, then->scans, elapsed_ms);
            times_of(node, then, &rates);
        }
    }
    return rates;
}

static int urgency(const struct kith_view_node *node)
{
    return !node->up ? 2 : !node->agrees || node->space > 0 || node->thin_rows > 0 ? 1 : 0;
}

static double load(const struct rates *rates)
{
    return rates->reads < 0 ? 0 : rates->reads + rates->writes + rates->scans;
}

/* Those that need somebody first, then those that have most to do, then by name: in this order a line
 * stays where it is while nothing goes on. */
static int line_compare(const void *a, const void *b)
{
    const struct line *one = a, *other = b;
    int first = urgency(other->node) - urgency(one->node);
    double more = load(&other->rates) - load(&one->rates);
    return first != 0 ? first
           : more > 0 ? 1
           : more < 0 ? -1
                      : kith_uuid_compare(&one->node->uuid, &other->node->uuid);
}

static struct line *lines_make(const struct kith_view *view, const struct kith_view *before,
                               uint64_t elapsed_ms)
{
    struct line *lines = kith_calloc(view->count + 1u, sizeof *lines);
    for (uint32_t i = 0; lines && i < view->count; i++) {
        lines[i] = (struct line){&view->nodes[i], rates_of(&view->nodes[i], before, elapsed_ms)};
    }
    if (lines) {
        qsort(lines, view->count, sizeof *lines, line_compare);
    }
    return lines;
}

/* ---- As text ---- */

static void rate_format(double rate, char text[KITH_FORMAT_SIZE])
{
    if (rate < 0) {
        (void)snprintf(text, KITH_FORMAT_SIZE, "-");
    } else if (rate > 0 && rate < 9.95) {
        (void)snprintf(text, KITH_FORMAT_SIZE, "%.1f", rate);
    } else {
        kith_format_count((uint64_t)(rate + 0.5), text);
    }
}

/* How long all but so many of a hundred took, at most; "-" of none. */
static void time_format(const struct kith_histogram *times, double share,
                        char text[KITH_FORMAT_SIZE])
{
    if (kith_histogram_count(times) == 0) {
        (void)snprintf(text, KITH_FORMAT_SIZE, "-");
    } else {
        kith_format_duration(kith_histogram_quantile(times, share), text);
    }
}

static void line_add(struct kith_columns *columns, const struct line *line)
{
    const struct kith_view_node *node = line->node;
    char text[9][KITH_FORMAT_SIZE];
    double scans = line->rates.scans > 0 ? line->rates.scans : 0;
    uint64_t total = node->disk_total_bytes;
    kith_format_node(&node->uuid, text[0]);
    rate_format(line->rates.reads + scans, text[1]);
    rate_format(line->rates.writes, text[2]);
    (void)snprintf(text[3], sizeof text[3], "%.0f%%",
                   total > 0 ? 100.0 * (double)(total - node->disk_free_bytes) / (double)total : 0);
    kith_format_count(node->hints, text[4]);
    kith_format_count(node->pairs_never, text[5]);
    kith_format_age(node->up ? node->uptime_ms : node->seen_ms_ago, text[6]);
    time_format(&line->rates.read_times, 0.99, text[7]); /* zeros where they are not known */
    time_format(&line->rates.write_times, 0.99, text[8]);
    for (uint32_t i = 1; i < 6 && !node->up; i++) {
        (void)snprintf(text[i], sizeof text[i], "-");
    }
    if (!node->up && node->seen_ms_ago == UINT64_MAX) {
        (void)snprintf(text[6], sizeof text[6], "-");
    }
    const char *cells[] = {node->up       ? "UP"
                           : node->silent ? "SILENT"
                                          : "DOWN",
                           text[0],
                           *node->address ? node->address : "-",
                           text[1],
                           text[2],
                           text[3],
                           text[4],
                           text[5],
                           text[6],
                           text[7],
                           text[8]};
    kith_columns_add(columns,
                     !node->up            ? KITH_COLOUR_BAD
                     : urgency(node) > 0 ? KITH_COLOUR_WARN
                                          : KITH_COLOUR_GOOD,
                     cells);
}

/* Of all nodes; of those that are not known nothing. */
static void total_print(const struct kith_view *view, const struct line *lines, FILE *out)
{
    static const struct kith_histogram none;
    struct rates all = {0};
    uint64_t hints = 0;
    bool known = false;
    char text[4][KITH_FORMAT_SIZE];
    for (uint32_t i = 0; i < view->count; i++) {
        hints += lines[i].node->up ? lines[i].node->hints : 0;
        if (lines[i].rates.reads >= 0) {
            known = true;
            all.reads += lines[i].rates.reads;
            all.writes += lines[i].rates.writes;
            all.scans += lines[i].rates.scans;
            kith_histogram_since(&all.read_times, &lines[i].rates.read_times, &none);
            kith_histogram_since(&all.write_times, &lines[i].rates.write_times, &none);
        }
    }
    rate_format(known ? all.reads + all.scans : UNKNOWN, text[0]);
    rate_format(known ? all.writes : UNKNOWN, text[1]);
    kith_format_count(hints, text[2]);
    kith_format_count(kith_view_conflicts(view), text[3]);
    (void)fprintf(out,
                  "%u of %u nodes up   reads %s/s   writes %s/s   hints %s   conflicts %s\n",
                  view->up, view->count, text[0], text[1], text[2], text[3]);
    time_format(&all.read_times, 0.5, text[0]);
    time_format(&all.read_times, 0.99, text[1]);
    time_format(&all.write_times, 0.5, text[2]);
    time_format(&all.write_times, 0.99, text[3]);
    (void)fprintf(out, "half of the reads in %s, 99%% in %s   half of the writes in %s, 99%% in %s\n\n",
                  text[0], text[1], text[2], text[3]);
}

enum kith_err kith_top_print(struct kith_view *view, const struct kith_view *before,
                             uint64_t elapsed_ms, FILE *out, bool colours)
{
    static const char *const heads[] = {"STATE", "NODE",   "ADDRESS", "READS",    "WRITES",   "DISK",
                                        "HINTS", "BEHIND", "SINCE",   "READ 99%", "WRITE 99%"};
    int health = kith_view_health(view);
    struct line *lines = lines_make(view, before, elapsed_ms);
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof heads / sizeof heads[0]);
    bool good = lines != NULL;
    if (good) {
        (void)fprintf(out, "Cluster %s   table v%llu   health: ", view->name,
                      (unsigned long long)view->table->id.version);
        kith_colour_print(out, colours,
                          health == KITH_CTL_OK      ? KITH_COLOUR_GOOD
                          : health == KITH_CTL_BELOW ? KITH_COLOUR_BAD
                                                     : KITH_COLOUR_WARN,
                          health == KITH_CTL_OK      ? "healthy"
                          : health == KITH_CTL_BELOW ? "BELOW QUORUM"
                                                     : "DEGRADED");
        (void)fputs(kith_table_is_joint(view->table) ? "   data moves (kithctl plan show)\n" : "\n",
                    out);
        total_print(view, lines, out);
        for (uint32_t i = 0; i < view->count; i++) {
            line_add(&columns, &lines[i]);
        }
        good = kith_columns_print(&columns, out, colours);
    }
    if (good && health != KITH_CTL_OK) {
        (void)fputs("\nWhat that means, in words: kithctl status\n", out);
    }
    kith_columns_release(&columns);
    kith_free(lines);
    return good ? KITH_OK : KITH_ENOMEM;
}

/* ---- As JSON ---- */

static json_t *rate_json(double rate)
{
    return rate < 0 ? json_null() : json_real(rate);
}

static json_t *time_json(const struct kith_histogram *times, double share)
{
    return kith_histogram_count(times) == 0
               ? json_null()
               : json_integer((json_int_t)(kith_histogram_quantile(times, share) / 1000u));
}

static json_t *times_json(const struct kith_histogram *times)
{
    return json_pack("{s:o, s:o}", "p50", time_json(times, 0.5), "p99", time_json(times, 0.99));
}

json_t *kith_top_json(struct kith_view *view, const struct kith_view *before, uint64_t elapsed_ms)
{
    static const char *const words[] = {"healthy", "degraded", "below_quorum"};
    const char *health = words[kith_view_health(view)];
    struct line *lines = lines_make(view, before, elapsed_ms);
    json_t *list = json_array();
    for (uint32_t i = 0; lines && i < view->count; i++) {
        const struct kith_view_node *node = lines[i].node;
        char uuid[KITH_UUID_TEXT_SIZE];
        kith_uuid_format(&node->uuid, uuid);
        json_t *each = json_pack(
            "{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "node", uuid, "address",
            node->address, "up", (int)node->up, "reads_per_second",
            rate_json(lines[i].rates.reads), "writes_per_second", rate_json(lines[i].rates.writes),
            "scans_per_second", rate_json(lines[i].rates.scans), "read_us",
            times_json(&lines[i].rates.read_times), "write_us",
            times_json(&lines[i].rates.write_times), "hints",
            (json_int_t)(node->up ? node->hints : 0), "pairs_never",
            (json_int_t)(node->up ? node->pairs_never : 0), "uptime_ms",
            (json_int_t)(node->up ? node->uptime_ms : 0));
        (void)json_array_append_new(list, each); /* counted below */
    }
    kith_free(lines);
    if (json_array_size(list) != view->count) {
        json_decref(list);
        return NULL;
    }
    return kith_json_named("cluster", view->name,
                           json_pack("{s:s, s:i, s:I, s:o}", "health", health, "nodes_up",
                                     (int)view->up, "conflicts",
                                     (json_int_t)kith_view_conflicts(view), "nodes", list));
}

/* ---- The command ---- */

struct looking {
    const struct kith_ctl_args *args;
    struct kith_link *link;
    bool has; /* a look before */
    struct kith_view before;
    uint64_t before_ms;
};

static int look(void *arg)
{
    struct looking *looking = arg;
    const struct kith_ctl_args *args = looking->args;
    struct kith_error error;
    struct kith_view view;
    if (kith_view_ask(looking->link, args, &view, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    uint64_t now = kith_mono_ms();
    const struct kith_view *before = looking->has ? &looking->before : NULL;
    uint64_t elapsed_ms = now - looking->before_ms;
    int health = kith_view_health(&view);
    enum kith_err err = KITH_OK;
    if (args->json) {
        err = kith_json_print(kith_top_json(&view, before, elapsed_ms), &error);
    } else if (kith_top_print(&view, before, elapsed_ms, stdout, kith_colours_shown(stdout)) !=
               KITH_OK) {
        err = kith_error_set(&error, KITH_ENOMEM, "out of memory");
    }
    if (looking->has) {
        kith_view_release(&looking->before);
    }
    looking->has = true;
    looking->before = view;
    looking->before_ms = now;
    return err == KITH_OK ? health : kith_ctl_fail(args, &error);
}

int kith_ctl_top(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct looking looking = {.args = args};
    if (kith_link_new(&looking.link, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    int status = kith_again(args->json, look, &looking);
    if (looking.has) {
        kith_view_release(&looking.before);
    }
    kith_link_free(looking.link);
    return status;
}
