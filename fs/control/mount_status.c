/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/control/mount_status.h"

#include <string.h>

#include "text/columns.h"
#include "text/figures.h"

#define TEXT_SIZE 1024u /* bytes of a cell */

/* A text in which controls are escaped, cut to fit. */
static void shown(const char *text, char ret_text[TEXT_SIZE])
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_format_text(kith_bytes_make(text, strlen(text)), &buf);
    size_t size = buf.size < TEXT_SIZE - 1 ? buf.size : TEXT_SIZE - 1;
    if (size > 0) {
        memcpy(ret_text, buf.data, size);
    }
    ret_text[size] = '\0';
    kith_buf_release(&buf);
}

/* "2026-11-23T09:18:34Z (14 m ago)". */
static void moment_text(uint64_t ms, uint64_t now_ms, char *ret_text, size_t size)
{
    char time[KITH_FORMAT_SIZE], age[KITH_FORMAT_SIZE];
    kith_format_time(ms, time);
    kith_format_age(now_ms > ms ? now_ms - ms : 0, age);
    bool now = strcmp(age, "now") == 0;
    snprintf(ret_text, size, "%s (%s%s)", time, age, now ? "" : " ago");
}

static void head_print(const struct kith_figures *figures, FILE *out)
{
    char source[TEXT_SIZE], at[TEXT_SIZE], options[TEXT_SIZE], when[96], cluster[KITH_FORMAT_SIZE];
    const struct kith_client_view *view = &figures->view;
    shown(figures->options->source, source);
    shown(figures->options->mountpoint, at);
    shown(figures->options_text, options);
    moment_text(figures->since_ms, figures->now_ms, when, sizeof when);
    kith_format_node(&view->cluster, cluster);
    fprintf(out, "kithfs %s  %s at %s, since %s\n", KITH_VERSION, source, at, when);
    fprintf(out, "Options   %s\n", options[0] != '\0' ? options : "as usual");
    fprintf(out, "Cluster   %s, table v%llu, N=%u%s", cluster,
            (unsigned long long)view->table.version, view->replicas,
            view->moving ? ", data moves between nodes" : "");
    if (view->zone[0] != '\0') {
        shown(view->zone, source);
        fprintf(out, ", this mount is in zone %s", source);
    }
    fputc('\n', out);
    fprintf(out, "Mode      %s\n",
            figures->options->strict ? "strict: reads and writes want a quorum of a file's owners"
                                     : "sloppy: goes on with the nodes that are left");
    fprintf(out, "Writes    %s\n",
            figures->defers        ? "wait in memory, a second at most"
            : figures->put_trouble ? "go straight through, for the last one failed"
                                   : "go straight through, for too few nodes can be reached");
}

static void node_add(struct kith_columns *columns, const struct kith_client_node *node)
{
    static const char *const states[] = {"UP", "SLOW", "SILENT", "DOWN"};
    static const enum kith_colour colour = KITH_COLOUR_NONE;
    char name[KITH_FORMAT_SIZE], zone[TEXT_SIZE], address[TEXT_SIZE], reason[TEXT_SIZE];
    char answers[32] = "-", heard[KITH_FORMAT_SIZE] = "-", trouble[TEXT_SIZE + 64] = "-";
    kith_format_node(&node->uuid, name);
    shown(node->zone[0] != '\0' ? node->zone : "-", zone);
    shown(node->address[0] != '\0' ? node->address : "-", address);
    if (node->answer_us > 0 && node->state != KITH_NODE_DOWN) {
        snprintf(answers, sizeof answers, "%u.%u ms", node->answer_us / 1000,
                 node->answer_us / 100 % 10);
    }
    if (node->heard_ms_ago != UINT64_MAX) {
        kith_format_age(node->heard_ms_ago, heard);
    }
    if (node->state == KITH_NODE_DOWN) {
        char lost[KITH_FORMAT_SIZE] = "";
        shown(node->reason[0] != '\0' ? node->reason : "no connection", reason);
        if (node->lost_ms_ago != UINT64_MAX) {
            kith_format_age(node->lost_ms_ago, lost);
        }
        snprintf(trouble, sizeof trouble, "%s%s%s%s", reason, lost[0] != '\0' ? " (" : "", lost,
                 lost[0] != '\0' ? ")" : "");
    } else if (node->state != KITH_NODE_UP) {
        snprintf(trouble, sizeof trouble, "%s",
                 node->state == KITH_NODE_SILENT ? "connected, but does not answer"
                                                 : "late or failing: asked after the others");
    }
    const char *const cells[] = {states[node->state], name, address, zone, answers, heard, trouble};
    kith_columns_add(columns, colour, cells);
}

static bool nodes_print(const struct kith_figures *figures, FILE *out)
{
    static const char *const heads[] = {"STATE",   "NODE",  "ADDRESS", "ZONE",
                                        "ANSWERS", "HEARD", "TROUBLE"};
    const struct kith_client_view *view = &figures->view;
    struct kith_columns columns;
    uint32_t good = 0;
    const char *door = "";
    kith_columns_init(&columns, heads, 7);
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct kith_client_node *node = &view->nodes[i];
        node_add(&columns, node);
        bool answers = node->state == KITH_NODE_UP || node->state == KITH_NODE_SLOW;
        good += answers ? 1 : 0;
        door = answers || door[0] == '\0' ? node->address : door;
    }
    bool ok = kith_columns_print(&columns, out, false);
    kith_columns_release(&columns);
    fprintf(out, "%u of %u nodes can be reached.", good, view->node_count);
    if (good < view->node_count && door[0] != '\0') {
        fprintf(out, " See: kithctl status --servers %s", door);
    }
    fputc('\n', out);
    return ok;
}

static bool unput_print(const struct kith_figures *figures, FILE *out)
{
    static const char *const heads[] = {"NOT STORED", "SINCE", "TRIES", "LAST ERROR"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, 4);
    for (uint32_t i = 0; i < figures->unput_listed; i++) {
        const struct kith_unput_file *file = &figures->unput[i];
        char path[TEXT_SIZE], since[96], tries[16], error[TEXT_SIZE * 2], message[TEXT_SIZE];
        shown(file->path, path);
        shown(file->unput.message, message);
        moment_text(file->unput.since_ms, figures->now_ms, since, sizeof since);
        snprintf(tries, sizeof tries, "%u", file->unput.tries);
        snprintf(error, sizeof error, "%s%s%s", strerrordesc_np(file->unput.error),
                 message[0] != '\0' ? ": " : "", message);
        const char *const cells[] = {path, since, tries, error};
        kith_columns_add(&columns, KITH_COLOUR_NONE, cells);
    }
    bool ok = figures->unput_listed == 0 || kith_columns_print(&columns, out, false);
    kith_columns_release(&columns);
    if (figures->unput_count > figures->unput_listed) {
        fprintf(out, "... and %llu more\n",
                (unsigned long long)(figures->unput_count - figures->unput_listed));
    }
    return ok;
}

static void hook_print(const struct kith_figures *figures, FILE *out)
{
    const struct kith_hook_figures *hook = &figures->hook;
    char program[TEXT_SIZE], failure[TEXT_SIZE], when[96];
    if (figures->options->on_conflict == NULL) {
        return;
    }
    shown(figures->options->on_conflict, program);
    fprintf(out, "Hook      %s: run %llu times, failed %llu times\n", program,
            (unsigned long long)hook->runs, (unsigned long long)hook->failures);
    if (hook->dropped > 0) {
        fprintf(out, "          %llu places were not looked at for conflicts (see the log)\n",
                (unsigned long long)hook->dropped);
    }
    if (hook->failed_ms != 0) {
        shown(hook->failure, failure);
        moment_text(hook->failed_ms, figures->now_ms, when, sizeof when);
        fprintf(out, "          last failure %s: %s\n", when, failure);
    }
}

bool kith_status_print(const struct kith_figures *figures, FILE *out)
{
    char dirty[KITH_FORMAT_SIZE], files[KITH_FORMAT_SIZE], cached[KITH_FORMAT_SIZE];
    char names[KITH_FORMAT_SIZE], inodes[KITH_FORMAT_SIZE], resident[KITH_FORMAT_SIZE];
    head_print(figures, out);
    fputc('\n', out);
    bool ok = nodes_print(figures, out);
    kith_format_bytes(figures->content.dirty_bytes, dirty);
    kith_format_bytes(figures->content.cached_bytes, cached);
    kith_format_bytes(figures->resident_bytes, resident);
    kith_format_count(figures->unsent, files);
    kith_format_count(figures->names, names);
    kith_format_count(figures->inodes, inodes);
    fprintf(out, "\nUnsent    %s files, %s of contents", files, dirty);
    if (figures->unput_count > 0) {
        fprintf(out, "; %llu could not be stored so far: kept in memory, and tried again",
                (unsigned long long)figures->unput_count);
    }
    fputc('\n', out);
    ok = unput_print(figures, out) && ok;
    if (figures->watches) {
        fprintf(out, "Watched   %u directories, of %u of them changes are told now\n",
                figures->watch.watched, figures->watch.live);
    } else {
        fputs("Watched   nothing (nowatch)\n", out);
    }
    hook_print(figures, out);
    fprintf(out, "Known     %s names, %s files and directories\n", names, inodes);
    fprintf(out, "Memory    %s, of which %s are contents that were read\n", resident, cached);
    return ok;
}
