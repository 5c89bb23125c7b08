/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * history.h - throughput and latency over the last hour: a sample every ten seconds, in a ring of
 * fixed size (about 25 KiB).
 *
 * A sample is what happened between two snapshots. Where none could be had, the core being stuck,
 * there is a gap: a sample says from when to when it is. One thread, or under a lock; a copy may be
 * read anywhere. Checked by tests/unit/test_history.c. */
#ifndef KITH_METRICS_HISTORY_H
#define KITH_METRICS_HISTORY_H

#include "metrics/served.h"

#define KITH_HISTORY_STEP_MS 10000u
#define KITH_HISTORY_SAMPLES 360u
#define KITH_HISTORY_SPAN_MS (KITH_HISTORY_STEP_MS * KITH_HISTORY_SAMPLES)

enum kith_history_kind {
    KITH_HISTORY_READS,  /* of rows: get, scan */
    KITH_HISTORY_WRITES, /* put */
    KITH_HISTORY_KINDS
};

struct kith_history_sample {
    uint64_t end_ms;   /* CLOCK_MONOTONIC */
    uint32_t span_ms;  /* it ends there */
    uint32_t failures; /* answers of reads and writes that were neither right nor "ask another one" */
    uint64_t bytes_in, bytes_out;
    struct {
        uint32_t count;
        uint32_t p50_us, p99_us;
    } kinds[KITH_HISTORY_KINDS];
};

struct kith_history {
    uint32_t count; /* at most KITH_HISTORY_SAMPLES */
    uint32_t next;  /* the place of the next one */
    bool begun;
    uint64_t last_ms;
    struct kith_served_figures last;
    struct kith_history_sample samples[KITH_HISTORY_SAMPLES];
};

/* Notes what came since the last call; the first one only begins. */
void kith_history_add(struct kith_history *history, uint64_t now_ms,
                      const struct kith_served_figures *figures);
/* The i-th, 0 is the oldest. */
const struct kith_history_sample *kith_history_at(const struct kith_history *history, uint32_t i);

#endif
