/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * histogram.h - how long something took, in fixed buckets.
 *
 * The bounds rise by 2 to 2.5 from 100 us to 10 s, three to a power of ten: an estimate of a
 * quantile is off by less than that, whatever was measured, and histograms of different nodes and
 * times can be added. One writer; a copy may be read anywhere. Checked by
 * tests/unit/test_histogram.c. */
#ifndef KITH_BASE_HISTOGRAM_H
#define KITH_BASE_HISTOGRAM_H

#include <stdint.h>

#define KITH_HISTOGRAM_BOUNDS 16u
/* Upper bounds, inclusive, in nanoseconds; ascending. */
extern const uint64_t kith_histogram_bounds_ns[KITH_HISTOGRAM_BOUNDS];

struct kith_histogram {
    uint64_t buckets[KITH_HISTOGRAM_BOUNDS + 1]; /* of each bucket alone; the last: beyond all bounds */
    uint64_t sum_ns;
};

void kith_histogram_add(struct kith_histogram *histogram, uint64_t ns);
uint64_t kith_histogram_count(const struct kith_histogram *histogram);
/* Adds what came to `from` between `before` and `now`. */
void kith_histogram_since(struct kith_histogram *sum, const struct kith_histogram *now,
                          const struct kith_histogram *before);
/* The value that `share` (0 to 1) of all are not above, in nanoseconds, interpolated in its bucket;
 * 0 where there are none, the highest bound for what is beyond it. */
uint64_t kith_histogram_quantile(const struct kith_histogram *histogram, double share);

#endif
