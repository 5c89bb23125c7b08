/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mount_stats.c - .kith/stats: Prometheus' text format, version 0.0.4. Names are those that its
 * manual advises: base units, _total for what only rises. */
#include <string.h>

#include "fs/control/mount_status.h"
#include "fs/control/words.h"

typedef unsigned long long ull;

static uint64_t get(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
    head(out, name, type, help);
    fprintf(out, "%s %llu\n", name, (ull)value);
}

/* A label's value: backslash, quote and line feed escaped; what is no printable ASCII is '_'. */
static void label(FILE *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"') {
            fputc('\\', out);
        }
        fputc(*value >= ' ' && *value < 0x7f ? *value : '_', out);
    }
}

/* ---- Requests ---- */

/* What RENAME and RENAME2 are both called: opcodes of one name are added up. */
static bool first_of_name(uint32_t opcode)
{
    for (uint32_t i = 0; i < opcode; i++) {
        if (strcmp(kith_words_op(i), kith_words_op(opcode)) == 0) {
            return false;
        }
    }
    return true;
}

struct sum {
    uint64_t count, sum_ns, buckets[KITH_METER_BUCKETS];
};

static struct sum sum_of(const struct kith_meter *meter, uint32_t opcode)
{
    struct sum sum = {.count = 0};
    for (uint32_t i = opcode; i < KITH_METER_OPS; i++) {
        if (strcmp(kith_words_op(i), kith_words_op(opcode)) != 0) {
            continue;
        }
        sum.count += get(&meter->ops[i].count);
        sum.sum_ns += get(&meter->ops[i].sum_ns);
        for (uint32_t k = 0; k < KITH_METER_BUCKETS; k++) {
            sum.buckets[k] += get(&meter->ops[i].buckets[k]);
        }
    }
    return sum;
}

static void histogram(FILE *out, const char *op, const struct sum *sum)
{
    static const char name[] = "kithfs_request_duration_seconds";
    uint64_t below = 0;
    for (uint32_t i = 0; i < KITH_METER_BUCKETS; i++) {
        below += sum->buckets[i];
        fprintf(out, "%s_bucket{op=\"%s\",le=\"", name, op);
        if (i + 1 < KITH_METER_BUCKETS) {
            fprintf(out, "%g", (double)kith_meter_bounds_ns[i] / 1e9);
        } else {
            fputs("+Inf", out);
        }
        fprintf(out, "\"} %llu\n", (ull)below);
    }
    fprintf(out, "%s_sum{op=\"%s\"} %.9f\n%s_count{op=\"%s\"} %llu\n", name, op,
            (double)sum->sum_ns / 1e9, name, op, (ull)below);
}

static uint64_t errors_of(struct kith_meter *meter, uint32_t opcode, uint32_t error)
{
    uint64_t count = 0;
    for (uint32_t i = opcode; i < KITH_METER_OPS; i++) {
        if (strcmp(kith_words_op(i), kith_words_op(opcode)) == 0) {
            count += atomic_load_explicit(&meter->errors[i][error], memory_order_relaxed);
        }
    }
    return count;
}

static void errors_print(struct kith_meter *meter, FILE *out)
{
    head(out, "kithfs_request_errors_total", "counter",
         "Answers with an error, also those that are no trouble, as \"no such file\".");
    for (uint32_t op = 0; op < KITH_METER_OPS; op++) {
        for (uint32_t error = 0; first_of_name(op) && error < KITH_METER_ERRNOS; error++) {
            uint64_t count = errors_of(meter, op, error);
            const char *name = error == 0 ? NULL : strerrorname_np((int)error);
            if (count > 0) {
                fprintf(out, "kithfs_request_errors_total{op=\"%s\",error=\"%s\"} %llu\n",
                        kith_words_op(op), name != NULL ? name : "other", (ull)count);
            }
        }
    }
}

static void requests_print(struct kith_meter *meter, FILE *out)
{
    head(out, "kithfs_requests_total", "counter", "Requests of the kernel that were finished.");
    for (uint32_t op = 0; op < KITH_METER_OPS; op++) {
        struct sum sum = sum_of(meter, op);
        if (first_of_name(op) && sum.count > 0) {
            fprintf(out, "kithfs_requests_total{op=\"%s\"} %llu\n", kith_words_op(op),
                    (ull)sum.count);
        }
    }
    errors_print(meter, out);
    head(out, "kithfs_request_duration_seconds", "histogram",
         "From reading a request to its answer.");
    for (uint32_t op = 0; op < KITH_METER_OPS; op++) {
        struct sum sum = sum_of(meter, op);
        uint64_t timed = 0;
        for (uint32_t i = 0; i < KITH_METER_BUCKETS; i++) {
            timed += sum.buckets[i];
        }
        if (first_of_name(op) && timed > 0) {
            histogram(out, kith_words_op(op), &sum);
        }
    }
    int under_way = atomic_load_explicit(&meter->under_way, memory_order_relaxed);
    one(out, "kithfs_requests_in_progress", "gauge", "Requests that wait for their answer.",
        under_way > 0 ? (uint64_t)under_way : 0);
    one(out, "kithfs_requests_untimed_total", "counter",
        "Requests of which only the coming was counted, for too many were under way.",
        get(&meter->untimed));
    one(out, "kithfs_read_bytes_total", "counter", "Bytes given to reads.",
        get(&meter->read_bytes));
    one(out, "kithfs_written_bytes_total", "counter", "Bytes taken from writes.",
        get(&meter->written_bytes));
}

/* ---- The mount ---- */

static void content_print(const struct kith_figures *figures, FILE *out)
{
    const struct kith_content_stats *content = &figures->content;
    one(out, "kithfs_dirty_bytes", "gauge", "Contents that wait to be sent.", content->dirty_bytes);
    one(out, "kithfs_unsent_files", "gauge", "Files with something to send.", figures->unsent);
    one(out, "kithfs_unput_files", "gauge",
        "Files that could not be stored so far, see .kith/status.", figures->unput_count);
    one(out, "kithfs_put_failures_total", "counter", "Files that could not be stored at once.",
        figures->put_failures);
    one(out, "kithfs_cache_bytes", "gauge", "Chunks of contents in memory.", content->cached_bytes);
    one(out, "kithfs_cache_hits_total", "counter", "Chunks that were read from memory.",
        content->hits);
    one(out, "kithfs_cache_misses_total", "counter", "Chunks that were read from nodes.",
        content->misses);
    one(out, "kithfs_chunk_uploads_total", "counter", "Chunks that were stored.", content->uploads);
    one(out, "kithfs_chunk_upload_failures_total", "counter",
        "Chunks that could not be stored at once.", content->upload_failures);
    one(out, "kithfs_known_names", "gauge", "Names in memory.", figures->names);
    one(out, "kithfs_known_inodes", "gauge", "Files and directories in memory.", figures->inodes);
    one(out, "kithfs_writes_deferred", "gauge",
        "1: small writes wait in memory; 0: they go straight through.", figures->defers ? 1 : 0);
}

static void watches_print(const struct kith_figures *figures, FILE *out)
{
    static const char *const saved[KITH_SAVED_COUNT] = {[KITH_SAVED_LOOKUP] = "lookup",
                                                        [KITH_SAVED_NEW] = "new_name",
                                                        [KITH_SAVED_OPEN] = "open",
                                                        [KITH_SAVED_ATTR] = "attributes"};
    const struct kith_watch_figures *watch = &figures->watch;
    one(out, "kithfs_watched_directories", "gauge", "Directories that are watched.",
        watch->watched);
    one(out, "kithfs_live_watches", "gauge", "Those of which changes are told now.", watch->live);
    one(out, "kithfs_watches_begun_total", "counter", "Watches that were begun.", watch->begun);
    one(out, "kithfs_watch_events_total", "counter", "Changes that were told.", watch->events);
    one(out, "kithfs_watch_lapses_total", "counter", "Watches that lapsed while they were used.",
        watch->lapses);
    head(out, "kithfs_watch_saved_total", "counter",
         "Questions that a watch answered without a request to nodes.");
    for (unsigned i = 0; i < KITH_SAVED_COUNT; i++) {
        fprintf(out, "kithfs_watch_saved_total{what=\"%s\"} %llu\n", saved[i],
                (ull)watch->saved[i]);
    }
}

static void hook_print(const struct kith_figures *figures, FILE *out)
{
    const struct kith_hook_figures *hook = &figures->hook;
    if (figures->options->on_conflict == NULL) {
        return;
    }
    one(out, "kithfs_hook_runs_total", "counter", "Runs of the program of on_conflict.",
        hook->runs);
    one(out, "kithfs_hook_failures_total", "counter", "Those that did not end with status 0.",
        hook->failures);
    one(out, "kithfs_hook_looks_total", "counter", "Places that were looked at for conflicts.",
        hook->looks);
    one(out, "kithfs_hook_dropped_total", "counter",
        "Places that were not looked at for conflicts.", hook->dropped);
    one(out, "kithfs_hook_waiting", "gauge", "Places that wait to be looked at.", hook->waiting);
}

/* ---- Nodes ---- */

static void lower(FILE *out, const char *name)
{
    for (; *name != '\0'; name++) {
        fputc(*name >= 'A' && *name <= 'Z' ? *name - 'A' + 'a' : *name, out);
    }
}

static void calls_print(const struct kith_client_counts *counts, FILE *out)
{
    head(out, "kithfs_calls_total", "counter", "Requests to the cluster that ended.");
    for (unsigned i = 1; i < KITH_CLIENT_KINDS; i++) {
        fprintf(out, "kithfs_calls_total{kind=\"%s\"} %llu\n",
                kith_client_kind_name((enum kith_client_kind)i), (ull)counts->requests[i]);
    }
    head(out, "kithfs_call_errors_total", "counter", "Those that failed.");
    for (unsigned i = 1; i < KITH_CLIENT_KINDS; i++) {
        fprintf(out, "kithfs_call_errors_total{kind=\"%s\"} %llu\n",
                kith_client_kind_name((enum kith_client_kind)i), (ull)counts->failed[i]);
    }
    one(out, "kithfs_degraded_reads_total", "counter",
        "Reads that fewer nodes than a quorum answered.", counts->degraded);
    head(out, "kithfs_node_messages_total", "counter", "Messages sent to nodes.");
    for (unsigned i = 0; i < KITH_MSG_KINDS_MAX; i++) {
        if (counts->messages[i] > 0) {
            fputs("kithfs_node_messages_total{kind=\"", out);
            lower(out, kith_msg_kind_name((enum kith_msg_kind)i));
            fprintf(out, "\"} %llu\n", (ull)counts->messages[i]);
        }
    }
}

static void node_line(FILE *out, const char *name, const struct kith_client_node *node)
{
    fprintf(out, "%s{node=\"", name);
    label(out, node->address);
    fputs("\",zone=\"", out);
    label(out, node->zone);
    fputs("\"} ", out);
}

static void nodes_print(const struct kith_client_view *view, FILE *out)
{
    head(out, "kithfs_node_up", "gauge", "1: connected, and it answers.");
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct kith_client_node *node = &view->nodes[i];
        bool up = node->state == KITH_NODE_UP || node->state == KITH_NODE_SLOW;
        node_line(out, "kithfs_node_up", node);
        fprintf(out, "%d\n", up ? 1 : 0);
    }
    head(out, "kithfs_node_answer_seconds", "gauge", "What a read takes there, a moving mean.");
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct kith_client_node *node = &view->nodes[i];
        if (node->answer_us > 0) {
            node_line(out, "kithfs_node_answer_seconds", node);
            fprintf(out, "%.6f\n", node->answer_us / 1e6);
        }
    }
    one(out, "kithfs_calls_in_progress", "gauge", "Requests to the cluster under way.",
        view->pending);
}

void kith_stats_print(const struct kith_figures *figures, struct kith_meter *meter, FILE *out)
{
    head(out, "kithfs_info", "gauge", "The mount.");
    fputs("kithfs_info{version=\"" KITH_VERSION "\",source=\"", out);
    label(out, figures->options->source);
    fputs("\",mountpoint=\"", out);
    label(out, figures->options->mountpoint);
    fputs("\"} 1\n", out);
    requests_print(meter, out);
    content_print(figures, out);
    watches_print(figures, out);
    hook_print(figures, out);
    calls_print(&figures->view.counts, out);
    nodes_print(&figures->view, out);
    head(out, "process_start_time_seconds", "gauge", "When it was mounted.");
    fprintf(out, "process_start_time_seconds %llu.%03llu\n", (ull)(figures->since_ms / 1000),
            (ull)(figures->since_ms % 1000));
    one(out, "process_resident_memory_bytes", "gauge", "Memory of kithfs.",
        figures->resident_bytes);
}
