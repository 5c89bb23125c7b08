/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon_metrics.c - makes snapshots of the node for those who look at it (metrics/metrics.h).
 *
 * One is asked for like the door's questions: a STATUS_REQ goes through the inbox to the core, which
 * has its store count. When the answer comes, on the core's thread and between two steps, the rest is
 * copied beside it. */
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "shell/daemon_int.h"

#define ASK_ARENA_BYTES 256u

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void daemon_metrics_came(struct daemon *daemon, uint64_t rpc, const struct kith_msg *msg)
{
    if (daemon->requests != NULL && kith_served_begins(msg->kind)) {
        kith_served_begin(daemon->requests, rpc, msg, clock_ns());
    }
}

static void times_fill(const struct kith_histogram *histogram, struct kith_duration_bucket *buckets)
{
    for (uint32_t i = 0; i <= KITH_HISTOGRAM_BOUNDS; i++) {
        buckets[i].up_to_ns = i < KITH_HISTOGRAM_BOUNDS ? kith_histogram_bounds_ns[i] : UINT64_MAX;
        buckets[i].count = histogram->buckets[i];
    }
}

/* The status with the times that requests take: the core's clock is none to measure them by. */
static const struct kith_msg *with_times(struct daemon *daemon, const struct kith_msg *msg,
                                         struct kith_msg *room)
{
    struct kith_histogram reads, writes;
    kith_served_times(kith_served_figures(daemon->requests), &reads, &writes);
    times_fill(&reads, daemon->times.reads);
    times_fill(&writes, daemon->times.writes);
    *room = *msg;
    struct kith_status_res *status = &room->u.status_res;
    status->read_time_count = status->write_time_count = KITH_HISTOGRAM_BOUNDS + 1;
    status->read_times = daemon->times.reads;
    status->write_times = daemon->times.writes;
    return room;
}

const struct kith_msg *daemon_metrics_goes(struct daemon *daemon, uint64_t rpc,
                                           const struct kith_msg *msg, struct kith_msg *room)
{
    if (daemon->requests != NULL && kith_served_ends(msg->kind)) {
        kith_served_end(daemon->requests, rpc, msg, clock_ns());
    }
    bool told = daemon->requests != NULL && msg->kind == KITH_MSG_STATUS_RES;
    return told ? with_times(daemon, msg, room) : msg;
}

/* ---- Snapshots ---- */

static uint64_t wall_ms(void)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (uint64_t)wall.tv_sec * 1000u + (uint64_t)wall.tv_nsec / 1000000u;
}

/* On the core's thread. */
static enum kith_err fill(struct daemon *daemon, struct kith_snapshot *snapshot,
                 const struct kith_status_res *res)
{
    enum kith_err err = kith_snapshot_peers(snapshot, kith_node_peer_count(daemon->node));
    snapshot->mono_ms = clock_ns() / 1000000u;
    snapshot->wall_ms = wall_ms();
    snapshot->start_ms = daemon->metrics_start_ms;
    (void)snprintf(snapshot->address, sizeof snapshot->address, "%s", daemon->address);
    if (res->member_count > 0) { /* the node's own record comes first */
        (void)snprintf(snapshot->zone, sizeof snapshot->zone, "%s", res->members[0].zone);
    }
    kith_snapshot_status(snapshot, &res->node);
    kith_node_figures(daemon->node, &snapshot->figures, snapshot->peers, snapshot->peer_count);
    snapshot->table = kith_node_table_hold(daemon->node);
    snapshot->requests = *kith_served_figures(daemon->requests);
    return err;
}

struct asked {
    struct daemon *daemon;
    struct kith_snapshot *snapshot;
};

static void answered(void *arg, const struct kith_msg *msg, const struct kith_error *error)
{
    struct asked *asked = arg;
    struct kith_snapshot *snapshot = asked->snapshot;
    struct daemon *daemon = asked->daemon;
    (void)error; /* the node is ending, or short of memory: there is none this time */
    kith_free(asked);
    if (msg == NULL || msg->kind != KITH_MSG_STATUS_RES ||
        msg->u.status_res.status.err != KITH_OK ||
        fill(daemon, snapshot, &msg->u.status_res) != KITH_OK) {
        kith_snapshot_drop(snapshot);
        snapshot = NULL;
    }
    if (daemon->metrics != NULL) {
        kith_metrics_publish(daemon->metrics, snapshot);
    } else { /* it has been stopped meanwhile */
        kith_snapshot_drop(snapshot);
    }
}

/* What the store says on any thread. */
static void fill_store(struct daemon *daemon, struct kith_snapshot *snapshot)
{
    struct kith_store_cache cache;
    struct kith_store_counts counts = kith_store_counts(daemon->store);
    snapshot->bad_rows = counts.bad_rows;
    snapshot->bad_chunks = counts.bad_chunks;
    if (kith_store_cache(daemon->store, &cache) == KITH_OK) {
        snapshot->cache = (struct kith_cache_figures){cache.size_bytes, cache.used_bytes,
                                                      cache.dirty_bytes, cache.pages_asked,
                                                      cache.pages_read};
    }
}

static void ask(void *arg)
{
    struct daemon *daemon = arg;
    struct asked *asked = kith_malloc(sizeof *asked);
    struct kith_snapshot *snapshot = kith_snapshot_new();
    struct kith_msg_box *box = kith_msg_box_new(ASK_ARENA_BYTES);
    if (asked == NULL || snapshot == NULL || box == NULL) {
        kith_free(asked);
        kith_snapshot_drop(snapshot);
        if (box != NULL) {
            kith_msg_box_drop(box);
        }
        kith_metrics_publish(daemon->metrics, NULL);
        return;
    }
    fill_store(daemon, snapshot);
    *asked = (struct asked){daemon, snapshot};
    box->msg.kind = KITH_MSG_STATUS_REQ;
    daemon_ask(daemon, box, answered, asked);
}

/* ---- Beginning and end ---- */

static void listening(void *arg, const char *address)
{
    struct daemon *daemon = arg;
    struct kith_error error = {KITH_OK, ""};
    if (daemon_file_write(daemon, "metrics", address, &error) != KITH_OK) {
        kith_log_warn("kithd", "%s", error.message);
    }
}

void daemon_metrics_start(struct daemon *daemon)
{
    struct kith_metrics_options options = {
        .listen = daemon->options->metrics, .arg = daemon, .ask = ask, .listening = listening};
    daemon_file_remove(daemon, "metrics"); /* of one that was killed */
    if (options.listen == NULL) {
        return;
    }
    daemon->metrics_start_ms = wall_ms();
    daemon->requests = kith_served_new();
    daemon->metrics = daemon->requests != NULL ? kith_metrics_new(&options) : NULL;
    if (daemon->metrics == NULL || kith_metrics_start(daemon->metrics) != KITH_OK) {
        kith_log_warn("kithd", "no status page and no metrics: out of memory, or of threads");
        kith_metrics_free(daemon->metrics);
        daemon->metrics = NULL;
    }
}

void daemon_metrics_stop(struct daemon *daemon)
{
    struct kith_metrics *metrics = daemon->metrics;
    if (metrics != NULL) {
        kith_metrics_stop(metrics);
        daemon->metrics = NULL; /* what is still asked for comes to nobody */
        kith_metrics_free(metrics);
        daemon_file_remove(daemon, "metrics");
    }
}
