/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/history.h"

#include <string.h>

/* What its asker has to take for a failure. A node that is no owner any more, or not ready, names
 * another one. */
static bool fails(int result)
{
    return result != KITH_RESULT_OK && result != KITH_RESULT_NOT_FOUND &&
           result != KITH_RESULT_STALE && result != KITH_RESULT_NOT_READY;
}

static void kind_add(struct kith_history_sample *sample, enum kith_history_kind kind,
                     const struct kith_served_figures *now,
                     const struct kith_served_figures *before, const enum kith_op ops[],
                     uint32_t count)
{
    struct kith_histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    for (uint32_t i = 0; i < count; i++) {
        kith_histogram_since(&histogram, &now->durations[ops[i]], &before->durations[ops[i]]);
        for (int result = 0; result < KITH_RESULTS; result++) {
            if (fails(result)) {
                sample->failures +=
                    (uint32_t)(now->counts[ops[i]][result] - before->counts[ops[i]][result]);
            }
        }
    }
    sample->kinds[kind].count = (uint32_t)kith_histogram_count(&histogram);
    sample->kinds[kind].p50_us = (uint32_t)(kith_histogram_quantile(&histogram, 0.5) / 1000u);
    sample->kinds[kind].p99_us = (uint32_t)(kith_histogram_quantile(&histogram, 0.99) / 1000u);
}

void kith_history_add(struct kith_history *history, uint64_t now_ms,
                      const struct kith_served_figures *figures)
{
    static const enum kith_op reads[] = {KITH_OP_GET, KITH_OP_SCAN};
    static const enum kith_op writes[] = {KITH_OP_PUT};
    if (history->begun && now_ms > history->last_ms) {
        struct kith_history_sample *sample = &history->samples[history->next];
        uint64_t span_ms = now_ms - history->last_ms;
        memset(sample, 0, sizeof *sample);
        sample->end_ms = now_ms;
        sample->span_ms = span_ms < UINT32_MAX ? (uint32_t)span_ms : UINT32_MAX;
        sample->bytes_in = figures->bytes_in - history->last.bytes_in;
        sample->bytes_out = figures->bytes_out - history->last.bytes_out;
        kind_add(sample, KITH_HISTORY_READS, figures, &history->last, reads, 2);
        kind_add(sample, KITH_HISTORY_WRITES, figures, &history->last, writes, 1);
        history->next = (history->next + 1) % KITH_HISTORY_SAMPLES;
        history->count += history->count < KITH_HISTORY_SAMPLES ? 1 : 0;
    }
    history->begun = true;
    history->last_ms = now_ms;
    history->last = *figures;
}

const struct kith_history_sample *kith_history_at(const struct kith_history *history, uint32_t i)
{
    uint32_t oldest = history->next + KITH_HISTORY_SAMPLES - history->count;
    return &history->samples[(oldest + i) % KITH_HISTORY_SAMPLES];
}
