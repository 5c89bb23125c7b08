/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exposition.h - a snapshot in Prometheus' text format, version 0.0.4.
 *
 * Names and units follow https://prometheus.io/docs/practices/naming/: base units, counters end in
 * _total, points in time are in seconds since 1970 (0: never). Checked by
 * tests/unit/test_exposition.c, which knows these rules, and by promtool where it is installed
 * (tests/integration/test_metrics.sh, which also holds them against kith-metrics(7)). */
#ifndef KITH_METRICS_EXPOSITION_H
#define KITH_METRICS_EXPOSITION_H

#include "base/buf.h"
#include "metrics/snapshot.h"

#define KITH_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Check buf->failed. */
void kith_exposition_write(const struct kith_snapshot *snapshot, struct kith_buf *buf);

#endif
