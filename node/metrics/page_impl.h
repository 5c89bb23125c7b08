/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * page_impl.h - what the files of the page share. */
#ifndef KITH_METRICS_PAGE_IMPL_H
#define KITH_METRICS_PAGE_IMPL_H

#include "metrics/page.h"
#include "metrics/text.h"

#define PAGE_COLOURS 10u /* page.css has so many; members share them where there are more */

/* page_ring.c: who owns what, as a picture. */
void page_ring(const struct kith_snapshot *snapshot, const struct kith_snapshot_health *health,
               struct kith_buf *buf);
/* page_chart.c: the last hour. */
void page_charts(const struct kith_history *history, uint64_t now_ms, struct kith_buf *buf);

/* Generated from page.css and page.js. */
extern const uint8_t page_css[];
extern const size_t page_css_size;
extern const uint8_t page_js[];
extern const size_t page_js_size;

#endif
