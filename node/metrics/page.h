/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * page.h - the status page: plain HTML and SVG that says all without a script; page.js only fetches
 * it again every few seconds.
 *
 * It shows the cluster as this one node sees it, and the node itself. page.css and page.js lie beside
 * this file and are compiled in. All text from outside (names, zones, addresses) is escaped. Any
 * thread. Checked by tests/unit/test_page.c. */
#ifndef KITH_METRICS_PAGE_H
#define KITH_METRICS_PAGE_H

#include "metrics/history.h"
#include "metrics/snapshot.h"

/* now_ms is CLOCK_MONOTONIC, the right end of the history. stale_ms: the snapshot is so old, for
 * the node does not answer; 0: it is not. Check buf->failed. */
void kith_page_write(const struct kith_snapshot *snapshot, const struct kith_history *history,
                     uint64_t now_ms, uint64_t stale_ms, struct kith_buf *buf);
/* What belongs to it: /page.css, /page.js. */
bool kith_page_file(const char *path, struct kith_bytes *ret_file, const char **ret_type);

#endif
