/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/page.h"

#include <stdio.h>
#include <string.h>

#include "metrics/page_impl.h"
#include "text/figures.h"

/* ---- The head ---- */

static void top_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const char *name = *snapshot->cluster_name ? snapshot->cluster_name : "no cluster";
    kith_text_put(buf,
                  "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<meta name=\"color-scheme\" content=\"light dark\">\n"
                  "<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\n"
                  "<link rel=\"stylesheet\" href=\"page.css\">\n<title>");
    kith_text_html(buf, name);
    kith_text_put(buf, " - kithfs</title>\n<script src=\"page.js\" defer></script></head><body>\n"
                       "<main id=\"main\">\n");
}

static void heading_write(const struct kith_snapshot *snapshot,
                          const struct kith_snapshot_health *health, struct kith_buf *buf)
{
    bool below = health->below > 0;
    bool degraded = health->up < health->members;
    char node[KITH_FORMAT_SIZE];
    kith_format_node(&snapshot->status.node, node);
    kith_text_put(buf, "<header><h1>");
    kith_text_html(buf, snapshot->cluster_name);
    kith_text_put(buf, "</h1> <span class=\"badge %s\">%s</span>\n",
                  below      ? "bad"
                  : degraded ? "thin"
                             : "good",
                  below      ? "BELOW QUORUM"
                  : degraded ? "DEGRADED"
                             : "healthy");
    kith_text_put(buf,
                  "<p>table v%llu, %u partitions, %u copies; as seen by node <b>%s</b> at <b>",
                  (unsigned long long)snapshot->status.table.version, health->partitions,
                  snapshot->table->replicas, node);
    kith_text_html(buf, snapshot->address);
    kith_text_put(buf, "</b></p></header>\n<p>%u of %u nodes up. ", health->up, health->members);
    if (below) {
        kith_text_put(buf,
                      "%u of %u partitions have fewer owners up than a majority%s: what they hold "
                      "may not be as written last, and strict mounts refuse it. See: kithctl "
                      "status",
                      health->below, health->partitions,
                      health->lost > 0 ? ", some none at all" : "");
    } else {
        kith_text_put(buf, "Every file can be read and written.");
    }
    kith_text_put(buf, "</p>\n");
}

static void stale_write(uint64_t stale_ms, struct kith_buf *buf)
{
    char age[KITH_FORMAT_SIZE];
    if (stale_ms > 0) {
        kith_format_age(stale_ms, age);
        kith_text_put(buf,
                      "<p class=\"warning\" role=\"alert\">The node does not answer since %s: its "
                      "disk may hang. What follows is of before.</p>\n",
                      age);
    }
}

/* ---- The nodes ---- */

static void ago_write(struct kith_buf *buf, uint64_t ms)
{
    char age[KITH_FORMAT_SIZE];
    kith_format_age(ms, age);
    kith_text_put(buf, "<td>%s%s</td>", ms == UINT64_MAX ? "not yet" : age,
                  ms == UINT64_MAX || ms < 1000 ? "" : " ago");
}

static void peer_write(const struct kith_peer_figures *peer, struct kith_buf *buf)
{
    char bytes[KITH_FORMAT_SIZE];
    kith_text_put(buf, "<td>");
    kith_text_html(buf, peer->address);
    kith_text_put(buf, "</td><td>");
    kith_text_html(buf, peer->zone);
    kith_text_put(buf, "</td><td class=\"%s\">%s</td>", peer->up ? "is-good" : "is-bad",
                  peer->full                     ? "up, full"
                  : peer->up                     ? "up"
                  : peer->state == KITH_SUSPECT  ? "suspected"
                                                 : "DOWN");
    ago_write(buf, peer->seen_ms_ago);
    kith_text_put(buf, "<td class=\"n\">%u of %u</td><td class=\"n\">%u</td>", peer->compared,
                  peer->pairs, peer->backlog);
    ago_write(buf, peer->pairs > 0 ? peer->oldest_ms_ago : UINT64_MAX);
    kith_format_bytes(peer->bytes, bytes);
    kith_text_put(buf, "<td class=\"n\">%s</td>", bytes);
}

static void nodes_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_table *table = snapshot->table;
    static const struct kith_peer_figures unknown = {.seen_ms_ago = UINT64_MAX,
                                                     .oldest_ms_ago = UINT64_MAX};
    kith_text_put(buf,
                  "<section class=\"wide\"><h2>Nodes</h2>\n<div class=\"scroll\"><table><thead><tr>"
                  "<th>Node</th><th>Address</th><th>Zone</th><th>State</th><th>Seen</th>"
                  "<th>Compared</th><th>Behind</th><th>All compared</th><th>Came</th>"
                  "<th>Owns</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < table->member_count; i++) {
        char name[KITH_FORMAT_SIZE], share[KITH_FORMAT_SIZE];
        uint64_t owned = 0, all = (uint64_t)table->partitions * table->owner_slots;
        const struct kith_peer_figures *peer =
            kith_snapshot_peer(snapshot, &table->members[i].uuid);
        for (uint64_t p = 0; p < all; p++) {
            owned += table->owners[p] == i ? 1 : 0;
        }
        kith_format_node(&table->members[i].uuid, name);
        kith_format_share(owned, all, share);
        kith_text_put(buf, "<tr><td><i class=\"key c%u\"></i>%s</td>", i % PAGE_COLOURS, name);
        if (kith_uuid_equal(&table->members[i].uuid, &snapshot->status.node)) {
            kith_text_put(buf, "<td>");
            kith_text_html(buf, snapshot->address);
            kith_text_put(buf, "</td><td>");
            kith_text_html(buf, snapshot->zone);
            kith_text_put(buf, "</td><td class=\"is-good\">this one</td><td>now</td><td></td>"
                               "<td></td><td></td><td></td>");
        } else {
            peer_write(peer != NULL ? peer : &unknown, buf);
        }
        kith_text_put(buf, "<td class=\"n\">%s</td></tr>\n", share);
    }
    kith_text_put(buf,
                  "</tbody></table></div>\n<p class=\"note\">Compared, behind: partitions shared "
                  "with this node, their rows and their chunks; behind are those not compared "
                  "since its start, or known to differ. Came: what repair has fetched from there%s."
                  "</p></section>\n",
                  snapshot->figures.repair_stopped ? "; repair is STOPPED (kithctl repair start)"
                                                   : "");
}

/* ---- This node ---- */

static void item(struct kith_buf *buf, bool warns, const char *name, const char *text)
{
    kith_text_put(buf, "<div%s><dt>%s</dt><dd>", warns ? " class=\"warns\"" : "", name);
    kith_text_html(buf, text);
    kith_text_put(buf, "</dd></div>\n");
}

static void hints_write(const struct kith_node_status *status, struct kith_buf *buf)
{
    char count[KITH_FORMAT_SIZE], size[KITH_FORMAT_SIZE], age[KITH_FORMAT_SIZE], text[200];
    kith_format_count(status->hints, count);
    kith_format_bytes(status->hint_bytes, size);
    kith_format_age(status->hint_oldest_ms, age);
    (void)snprintf(text, sizeof text,
                   status->hints == 0 ? "none" : "%s writes, %s, the oldest of %s; %llu count as "
                                                 "copies",
                   count, size, age, (unsigned long long)status->custody);
    item(buf, status->hints > 0, "Kept for other nodes", text);
    kith_format_count(status->thin_rows, count);
    item(buf, status->thin_rows > 0, "Rows on too few copies", count);
    kith_format_count(status->conflicts, count);
    (void)snprintf(text, sizeof text, "%s%s", count,
                   status->conflicts > 0 ? " that this node tells of: kithctl conflicts" : "");
    item(buf, status->conflicts > 0, "Files in conflict", text);
}

static void data_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_node_status *status = &snapshot->status;
    const struct kith_cache_figures *cache = &snapshot->cache;
    char text[200], a[KITH_FORMAT_SIZE], b[KITH_FORMAT_SIZE], c[KITH_FORMAT_SIZE];
    uint64_t used = status->disk_total_bytes - status->disk_free_bytes;
    kith_format_bytes(status->row_bytes + status->chunk_bytes, a);
    kith_format_count(status->rows, b);
    kith_format_count(status->chunks, c);
    (void)snprintf(text, sizeof text, "%s in %s rows and %s chunks", a, b, c);
    item(buf, false, "Data", text);
    kith_format_share(used, status->disk_total_bytes, a);
    kith_format_bytes(status->disk_free_bytes, b);
    (void)snprintf(text, sizeof text, "%s used, %s free%s", a, b,
                   status->space == KITH_SPACE_WIDE ? "" : ": make room, or give it more");
    item(buf, status->space != KITH_SPACE_WIDE, "Disk", text);
    kith_format_bytes(cache->used_bytes, a);
    kith_format_bytes(cache->size_bytes, b);
    kith_format_share(cache->pages_asked - (cache->pages_read < cache->pages_asked
                                                ? cache->pages_read
                                                : cache->pages_asked),
                      cache->pages_asked, c);
    (void)snprintf(text, sizeof text, "%s of %s used, %s of the pages were there", a, b, c);
    item(buf, false, "Cache", text);
}

static void work_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    const struct kith_node_status *status = &snapshot->status;
    const struct kith_node_figures *figures = &snapshot->figures;
    char text[400], a[KITH_FORMAT_SIZE], b[KITH_FORMAT_SIZE];
    if (kith_table_is_joint(snapshot->table)) {
        kith_format_bytes(status->move_bytes, a);
        (void)snprintf(text, sizeof text, "%u of %u partitions that come here are there, %s",
                       status->move_complete, status->move_gains, a);
        item(buf, false, "Data moves", text);
    }
    uint32_t back = status->refill_left + status->aged_left;
    if (back > 0) {
        (void)snprintf(text, sizeof text, "%u partitions are compared before they are read", back);
        item(buf, true, "Coming back", text);
    }
    uint64_t bad = snapshot->bad_rows + snapshot->bad_chunks;
    (void)snprintf(text, sizeof text, "%llu found since the start, %llu not back yet",
                   (unsigned long long)figures->damaged, (unsigned long long)bad);
    item(buf, bad > 0, "Damage", text);
    kith_format_bytes(figures->scrub.bytes, a);
    kith_format_age(snapshot->wall_ms - figures->scrub.ended, b);
    (void)snprintf(text, sizeof text, "%s read, %u partitions left; last pass %s%s", a,
                   figures->scrub.left, figures->scrub.ended > 0 ? b : "not yet",
                   figures->scrub.ended > 0 ? " ago" : "");
    item(buf, false, "Scrub", text);
    kith_format_bytes(status->sweep.swept_bytes, a);
    kith_format_count(status->sweep.reaped, b);
    (void)snprintf(text, sizeof text, "%s of contents deleted, %s deleted names forgotten%s%s", a,
                   b, *status->sweep.waits ? "; waits: " : "", status->sweep.waits);
    item(buf, false, "Sweep", text);
    (void)snprintf(text, sizeof text, "%u under way, %u connections, %u watches",
                   figures->requests, figures->connections, figures->watches);
    item(buf, false, "Requests", text);
    kith_format_age(status->uptime_ms, a);
    (void)snprintf(text, sizeof text, "%s, up for %s", status->software, a);
    item(buf, false, "Program", text);
}

static void node_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    kith_text_put(buf, "<section><h2>This node</h2>\n<dl>\n");
    hints_write(&snapshot->status, buf);
    data_write(snapshot, buf);
    work_write(snapshot, buf);
    kith_text_put(buf, "</dl></section>\n");
}

/* ---- The whole ---- */

static void cluster_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    struct kith_snapshot_health health;
    kith_snapshot_health(snapshot, &health);
    heading_write(snapshot, &health, buf);
    kith_text_put(buf, "<div class=\"two\"><section><h2>Ring</h2>\n");
    page_ring(snapshot, &health, buf);
    kith_text_put(buf, "</section>\n");
    node_write(snapshot, buf);
    kith_text_put(buf, "</div>\n");
    nodes_write(snapshot, buf);
}

static void alone_write(const struct kith_snapshot *snapshot, struct kith_buf *buf)
{
    kith_text_put(buf, "<header><h1>kithfs</h1> "
                       "<span class=\"badge thin\">no cluster</span></header>\n<p>"
                       "This node is in no cluster yet. Make one: <code>kithctl init ");
    kith_text_html(buf, snapshot->address);
    kith_text_put(buf, "</code>, or join one: <code>kithctl join ");
    kith_text_html(buf, snapshot->address);
    kith_text_put(buf, " --through HOST:PORT</code></p>\n");
}

void kith_page_write(const struct kith_snapshot *snapshot, const struct kith_history *history,
                     uint64_t now_ms, uint64_t stale_ms, struct kith_buf *buf)
{
    char time[KITH_FORMAT_SIZE];
    top_write(snapshot, buf);
    stale_write(stale_ms, buf);
    if (snapshot->table != NULL) {
        cluster_write(snapshot, buf);
    } else {
        alone_write(snapshot, buf);
    }
    page_charts(history, now_ms, buf);
    kith_format_time(snapshot->wall_ms, time);
    kith_text_put(buf,
                  "<footer><p>As of <time>%s</time>. For Prometheus: <a href=\"metrics\">metrics"
                  "</a>; kithd-metrics(7). The cluster as its members say: kithctl status.</p>"
                  "</footer>\n</main>\n<p id=\"silent\" class=\"warning\" role=\"alert\" hidden>"
                  "No answer from the node. What is shown is of before.</p>\n</body></html>\n",
                  time);
}

bool kith_page_file(const char *path, struct kith_bytes *ret_file, const char **ret_type)
{
    if (strcmp(path, "/page.css") == 0) {
        *ret_file = kith_bytes_make(page_css, page_css_size);
        *ret_type = "text/css; charset=utf-8";
        return true;
    }
    if (strcmp(path, "/page.js") == 0) {
        *ret_file = kith_bytes_make(page_js, page_js_size);
        *ret_type = "text/javascript; charset=utf-8";
        return true;
    }
    return false;
}
