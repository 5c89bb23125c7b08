/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/exposition.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "metrics/text.h"

enum type { GAUGE, COUNTER, HISTOGRAM };

static void family(struct kith_buf *buf, const char *name, enum type type, const char *help)
{
    static const char *const types[] = {"gauge", "counter", "histogram"};
    kith_text_put(buf, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

/* A family with one value, without labels. */
static void single(struct kith_buf *buf, const char *name, enum type type, uint64_t value,
                   const char *help)
{
    family(buf, name, type, help);
    kith_text_put(buf, "%s %llu\n", name, (unsigned long long)value);
}

/* The same, of milliseconds in seconds. */
static void single_ms(struct kith_buf *buf, const char *name, uint64_t ms, const char *help)
{
    family(buf, name, GAUGE, help);
    kith_text_put(buf, "%s %llu.%03llu\n", name, (unsigned long long)(ms / 1000u),
                  (unsigned long long)(ms % 1000u));
}

/* Milliseconds since 1970 of what was so long ago; 0: never. */
static uint64_t moment_ms(const struct kith_snapshot *snapshot, uint64_t ago_ms)
{
    return ago_ms < snapshot->wall_ms ? snapshot->wall_ms - ago_ms : 0;
}

static void label(struct kith_buf *buf, const char *before, const char *value)
{
    kith_text_put(buf, "%s=\"", before);
    kith_text_label(buf, value);
    kith_text_put(buf, "\"");
}

/* ---- The node and its process ---- */

static void node_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    char node[KITH_UUID_TEXT_SIZE], cluster[KITH_UUID_TEXT_SIZE];
    kith_uuid_format(&snapshot->status.node, node);
    kith_uuid_format(&snapshot->status.cluster, cluster);
    family(buf, "kith_build_info", GAUGE, "The version that runs, as a label; always 1.");
    label(buf, "kith_build_info{version", KITH_VERSION);
    kith_text_put(buf, "} 1\n");
    family(buf, "kith_node_info", GAUGE, "Which node of which cluster this is; always 1.");
    label(buf, "kith_node_info{node", node);
    label(buf, ",cluster", cluster);
    label(buf, ",cluster_name", snapshot->cluster_name);
    label(buf, ",zone", snapshot->zone);
    label(buf, ",address", snapshot->address);
    kith_text_put(buf, "} 1\n");
}

static void process_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    struct rusage usage;
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) { /* where there is no /proc it is told as 0 */
        (void)(fscanf(file, "%*s %llu", &pages) == 1);
        (void)fclose(file);
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        long long us = (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
        family(buf, "process_cpu_seconds_total", COUNTER, "Time on processors.");
        kith_text_put(buf, "process_cpu_seconds_total %lld.%06lld\n", us / 1000000, us % 1000000);
    }
    single(buf, "process_resident_memory_bytes", GAUGE,
           pages * (unsigned long long)sysconf(_SC_PAGESIZE), "Memory that is in use.");
    single_ms(buf, "process_start_time_seconds", snapshot->start_ms,
              "When the node began, since 1970.");
}

/* ---- Requests ---- */

static void results_write(const struct kith_served_figures *requests, struct kith_buf *buf)
{
    family(buf, "kith_requests_total", COUNTER, "Requests that were answered, by what and how.");
    for (int op = 0; op < KITH_OPS; op++) {
        for (int result = 0; result < KITH_RESULTS; result++) {
            kith_text_put(buf, "kith_requests_total{op=\"%s\",result=\"%s\"} %llu\n",
                          kith_op_name((enum kith_op)op),
                          kith_result_name((enum kith_result)result),
                          (unsigned long long)requests->counts[op][result]);
        }
    }
}

static void durations_write(const struct kith_served_figures *requests, struct kith_buf *buf)
{
    static const char name[] = "kith_request_duration_seconds";
    family(buf, name, HISTOGRAM, "From a request's arrival to its answer, at this node.");
    for (int i = 0; i < KITH_OPS; i++) {
        const struct kith_histogram *histogram = &requests->durations[i];
        const char *op = kith_op_name((enum kith_op)i);
        uint64_t count = 0;
        for (uint32_t b = 0; b < KITH_HISTOGRAM_BOUNDS; b++) {
            count += histogram->buckets[b];
            kith_text_put(buf, "%s_bucket{op=\"%s\",le=\"%g\"} %llu\n", name, op,
                          (double)kith_histogram_bounds_ns[b] / 1e9, (unsigned long long)count);
        }
        count += histogram->buckets[KITH_HISTOGRAM_BOUNDS];
        kith_text_put(buf, "%s_bucket{op=\"%s\",le=\"+Inf\"} %llu\n", name, op,
                      (unsigned long long)count);
        kith_text_put(buf, "%s_sum{op=\"%s\"} %llu.%09llu\n", name, op,
                      (unsigned long long)(histogram->sum_ns / 1000000000u),
                      (unsigned long long)(histogram->sum_ns % 1000000000u));
        kith_text_put(buf, "%s_count{op=\"%s\"} %llu\n", name, op, (unsigned long long)count);
    }
}

static void requests_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_served_figures *requests = &snapshot->requests;
    results_write(requests, buf);
    durations_write(requests, buf);
    single(buf, "kith_requests_in_progress", GAUGE, snapshot->figures.requests,
           "Requests under way, the node's own work for others among them.");
    family(buf, "kith_put_quorum_failures_total", COUNTER,
           "Puts without enough copies: refused as unreachable, or their outcome is unknown.");
    kith_text_put(buf, "kith_put_quorum_failures_total{reason=\"unreachable\"} %llu\n",
                  (unsigned long long)requests->counts[KITH_OP_PUT][KITH_RESULT_UNREACHABLE]);
    kith_text_put(buf, "kith_put_quorum_failures_total{reason=\"unknown\"} %llu\n",
                  (unsigned long long)requests->counts[KITH_OP_PUT][KITH_RESULT_UNKNOWN]);
    single(buf, "kith_put_stand_ins_total", COUNTER, requests->stood_in,
           "Puts that were answered with copies at nodes that stand in for owners.");
    single(buf, "kith_chunk_received_bytes_total", COUNTER, requests->bytes_in,
           "Contents of chunks that came in requests.");
    single(buf, "kith_chunk_sent_bytes_total", COUNTER, requests->bytes_out,
           "Contents of chunks that went out in answers.");
    single(buf, "kith_connections", GAUGE, snapshot->figures.connections,
           "Connections with clients and nodes.");
    single(buf, "kith_watches", GAUGE, snapshot->figures.watches,
           "Directories that mounts watch here.");
}

/* ---- What is kept ---- */

static void kept_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_node_status *status = &snapshot->status;
    single(buf, "kith_rows", GAUGE, status->rows, "Rows that are kept here.");
    single(buf, "kith_row_bytes", GAUGE, status->row_bytes, "Their table, on disk.");
    single(buf, "kith_chunks", GAUGE, status->chunks, "Chunks that are kept here.");
    single(buf, "kith_chunk_bytes", GAUGE, status->chunk_bytes, "Their contents.");
    single(buf, "kith_thin_rows", GAUGE, status->thin_rows,
           "Rows of its own that stand on fewer copies than were asked for.");
    single(buf, "kith_conflicts", GAUGE, status->conflicts,
           "Files in conflict, of partitions that this node tells of: the sum over all nodes "
           "counts each once.");
    single(buf, "kith_hints", GAUGE, status->hints, "Writes that are kept for other nodes.");
    single(buf, "kith_hint_bytes", GAUGE, status->hint_bytes, "Their size.");
    single_ms(buf, "kith_hint_oldest_age_seconds", status->hint_oldest_ms,
              "Age of the oldest of them, 0 without any.");
    single(buf, "kith_hints_custody", GAUGE, status->custody,
           "Those of them that count as copies.");
    single(buf, "kith_handoffs_in_progress", GAUGE, snapshot->figures.handoffs,
           "Nodes that hints are on their way to.");
}

static void disk_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    static const char *const levels[] = {"wide", "low", "scarce", "full"};
    const struct kith_node_status *status = &snapshot->status;
    const struct kith_cache_figures *cache = &snapshot->cache;
    single(buf, "kith_disk_size_bytes", GAUGE, status->disk_total_bytes,
           "The disk that the data lies on.");
    single(buf, "kith_disk_free_bytes", GAUGE, status->disk_free_bytes, "What is free of it.");
    single(buf, "kith_disk_room_bytes", GAUGE, status->disk_room_bytes,
           "What values may take of it before this node refuses them.");
    family(buf, "kith_disk_level", GAUGE,
           "1 for how full the disk is: wide, low (disk_low), scarce or full.");
    for (uint32_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        kith_text_put(buf, "kith_disk_level{level=\"%s\"} %u\n", levels[i],
                      status->space == i ? 1u : 0u);
    }
    single(buf, "kith_cache_size_bytes", GAUGE, cache->size_bytes,
           "WiredTiger's cache, as it is set.");
    single(buf, "kith_cache_used_bytes", GAUGE, cache->used_bytes, "What is in it.");
    single(buf, "kith_cache_dirty_bytes", GAUGE, cache->dirty_bytes,
           "What of that is not on disk but in the log.");
    single(buf, "kith_cache_page_requests_total", COUNTER, cache->pages_asked,
           "Pages that were asked for.");
    single(buf, "kith_cache_page_reads_total", COUNTER, cache->pages_read,
           "Pages that had to be read from disk.");
}

static void swept_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_sweep_status *sweep = &snapshot->status.sweep;
    single(buf, "kith_tombstones_reaped_total", COUNTER, sweep->reaped,
           "Rows that were deleted long ago, and are forgotten here.");
    single(buf, "kith_tombstone_floors_total", COUNTER, sweep->floors,
           "Floors that were agreed under this node's lead.");
    single_ms(buf, "kith_tombstone_pass_timestamp_seconds",
              moment_ms(snapshot, sweep->reap_ms_ago),
              "When all that it leads was last looked through for them, 0: not yet.");
    single(buf, "kith_chunks_condemned_total", COUNTER, sweep->condemned,
           "Chunks without a reference that were condemned under this node's lead.");
    single(buf, "kith_chunks_swept_total", COUNTER, sweep->swept,
           "Copies of such chunks that were deleted here.");
    single(buf, "kith_chunks_swept_bytes_total", COUNTER, sweep->swept_bytes, "Their contents.");
    single_ms(buf, "kith_sweep_pass_timestamp_seconds", moment_ms(snapshot, sweep->ms_ago),
              "When all that it leads was last looked through for them, 0: not yet.");
}

static void damage_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_node_figures *figures = &snapshot->figures;
    single(buf, "kith_damaged_total", COUNTER, figures->damaged,
           "Rows and chunks that did not fit their checksum.");
    single(buf, "kith_quarantined_rows", GAUGE, snapshot->bad_rows,
           "Damaged rows that are not back yet.");
    single(buf, "kith_quarantined_chunks", GAUGE, snapshot->bad_chunks,
           "Damaged chunks that are not back yet.");
    single(buf, "kith_refill_partitions", GAUGE, snapshot->status.refill_left,
           "Partitions of which the disk has lost something that is not back yet.");
    single(buf, "kith_aged_partitions", GAUGE, snapshot->status.aged_left,
           "Partitions that are compared before they are read: the node was away for long.");
    single(buf, "kith_scrub_partitions_left", GAUGE, figures->scrub.left,
           "Partitions that this pass of the scrub has still to read.");
    single(buf, "kith_scrub_pass_bytes", GAUGE, figures->scrub.bytes,
           "What this pass has read so far.");
    single_ms(buf, "kith_scrub_pass_timestamp_seconds", figures->scrub.ended,
              "When the last whole pass ended, 0: not yet.");
}

/* ---- Other nodes ---- */

static void per_peer(const struct kith_snapshot *snapshot, struct kith_buf *buf, const char *name,
                     enum type type, const char *help,
                     uint64_t (*value)(const struct kith_snapshot *,
                                       const struct kith_peer_figures *),
                     bool ms)
{
    char peer[KITH_UUID_TEXT_SIZE];
    family(buf, name, type, help);
    for (uint32_t i = 0; i < snapshot->peer_count; i++) {
        uint64_t each = value(snapshot, &snapshot->peers[i]);
        kith_uuid_format(&snapshot->peers[i].uuid, peer);
        kith_text_put(buf, "%s{peer=\"%s\"} %llu", name, peer,
                      (unsigned long long)(ms ? each / 1000u : each));
        if (ms) {
            kith_text_put(buf, ".%03llu", (unsigned long long)(each % 1000u));
        }
        kith_text_put(buf, "\n");
    }
}

#define OF_PEER(name, expression)                                                                  \
    static uint64_t name(const struct kith_snapshot *snapshot,                                     \
                         const struct kith_peer_figures *peer)                                     \
    {                                                                                              \
        (void)snapshot;                                                                            \
        return expression;                                                                         \
    }
OF_PEER(of_up, peer->up ? 1 : 0)
OF_PEER(of_seen, moment_ms(snapshot, peer->seen_ms_ago))
OF_PEER(of_pairs, peer->pairs)
OF_PEER(of_compared, peer->compared)
OF_PEER(of_backlog, peer->backlog)
OF_PEER(of_running, peer->running)
OF_PEER(of_oldest, moment_ms(snapshot, peer->pairs > 0 ? peer->oldest_ms_ago : UINT64_MAX))
OF_PEER(of_rows, peer->rows)
OF_PEER(of_chunks, peer->chunks)
OF_PEER(of_bytes, peer->bytes)

static void repair_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    single(buf, "kith_repair_stopped", GAUGE, snapshot->figures.repair_stopped ? 1 : 0,
           "1 where an administrator has stopped it (kithctl repair stop).");
    per_peer(snapshot, buf, "kith_repair_pairs", GAUGE,
             "Pairs with that node: partitions of both, their rows and their chunks.", of_pairs,
             false);
    per_peer(snapshot, buf, "kith_repair_compared_pairs", GAUGE,
             "Those of them that were compared in this round.", of_compared, false);
    per_peer(snapshot, buf, "kith_repair_backlog_pairs", GAUGE,
             "Those that were not compared since the start, or are known to differ.", of_backlog,
             false);
    per_peer(snapshot, buf, "kith_repair_running_pairs", GAUGE, "Those that are being compared.",
             of_running, false);
    per_peer(snapshot, buf, "kith_repair_exchange_timestamp_seconds", GAUGE,
             "By then all pairs had been compared, 0: not all since the start.", of_oldest, true);
    per_peer(snapshot, buf, "kith_repair_received_rows_total", COUNTER,
             "Rows that came from there in this round.", of_rows, false);
    per_peer(snapshot, buf, "kith_repair_received_chunks_total", COUNTER,
             "Chunks that came from there in this round.", of_chunks, false);
    per_peer(snapshot, buf, "kith_repair_received_bytes_total", COUNTER, "Their bytes.", of_bytes,
             false);
}

static void gossip_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    static const char *const states[] = {"alive", "suspect", "down"};
    uint32_t counts[3] = {0, 0, 0};
    char peer[KITH_UUID_TEXT_SIZE];
    family(buf, "kith_peer_info", GAUGE, "What is known of another node, as labels; always 1.");
    for (uint32_t i = 0; i < snapshot->peer_count; i++) {
        const struct kith_peer_figures *each = &snapshot->peers[i];
        kith_uuid_format(&each->uuid, peer);
        label(buf, "kith_peer_info{peer", peer);
        label(buf, ",address", each->address);
        label(buf, ",zone", each->zone);
        label(buf, ",version", each->software);
        kith_text_put(buf, "} 1\n");
        counts[each->state <= KITH_DOWN ? each->state : KITH_DOWN] += each->member ? 1 : 0;
    }
    per_peer(snapshot, buf, "kith_peer_up", GAUGE, "1 where this node holds it for up.", of_up,
             false);
    per_peer(snapshot, buf, "kith_peer_seen_timestamp_seconds", GAUGE,
             "Its last sign of life, 0: none yet.", of_seen, true);
    family(buf, "kith_gossip_members", GAUGE, "Other members, by what members say of them.");
    for (uint32_t i = 0; i < 3; i++) {
        kith_text_put(buf, "kith_gossip_members{state=\"%s\"} %u\n", states[i], counts[i]);
    }
    single(buf, "kith_gossip_refutations_total", COUNTER, snapshot->figures.refuted,
           "Times that this node was suspected, and said that it lives.");
    single(buf, "kith_gossip_unsound_records_total", COUNTER, snapshot->figures.unsound,
           "Records of members that did not fit their checksum.");
    single(buf, "kith_reconnects_in_progress", GAUGE, snapshot->figures.reconnects,
           "Members that are down and are being tried.");
}

static void table_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_node_status *status = &snapshot->status;
    struct kith_snapshot_health health;
    kith_snapshot_health(snapshot, &health);
    single(buf, "kith_table_epoch", GAUGE, status->table.epoch,
           "Of the partition table in use; 0 without a cluster.");
    single(buf, "kith_table_version", GAUGE, status->table.version, "The same.");
    single(buf, "kith_members", GAUGE, health.members, "Members of the cluster.");
    family(buf, "kith_partitions", GAUGE,
           "By how many of their owners are up, as this node sees it: all, a majority, fewer.");
    kith_text_put(buf, "kith_partitions{owners=\"all\"} %u\n", health.whole);
    kith_text_put(buf, "kith_partitions{owners=\"majority\"} %u\n", health.thin);
    kith_text_put(buf, "kith_partitions{owners=\"minority\"} %u\n", health.below);
    single(buf, "kith_owned_partitions", GAUGE, snapshot->figures.owned,
           "Partitions that this node owns.");
    single(buf, "kith_move_partitions", GAUGE, status->move_gains,
           "Partitions that the table in use moves here.");
    single(buf, "kith_move_complete_partitions", GAUGE, status->move_complete,
           "Those of them that are here.");
    single(buf, "kith_move_received_bytes", GAUGE, status->move_bytes, "What has come of them.");
}

void kith_exposition_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    node_write(snapshot, buf);
    process_write(snapshot, buf);
    requests_write(snapshot, buf);
    kept_write(snapshot, buf);
    disk_write(snapshot, buf);
    swept_write(snapshot, buf);
    damage_write(snapshot, buf);
    repair_write(snapshot, buf);
    gossip_write(snapshot, buf);
    table_write(snapshot, buf);
}
