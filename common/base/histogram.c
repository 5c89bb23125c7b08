/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/histogram.h"

const uint64_t kith_histogram_bounds_ns[KITH_HISTOGRAM_BOUNDS] = {
    100000,    250000,    500000,     1000000,    2500000,    5000000,    10000000,   25000000,
    50000000,  100000000, 250000000,  500000000,  1000000000, 2500000000, 5000000000, 10000000000};

void kith_histogram_add(struct kith_histogram *histogram, uint64_t ns)
{
    uint32_t at = 0;
    while (at < KITH_HISTOGRAM_BOUNDS && ns > kith_histogram_bounds_ns[at]) {
        at++;
    }
    histogram->buckets[at]++;
    histogram->sum_ns += ns;
}

uint64_t kith_histogram_count(const struct kith_histogram *histogram)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i <= KITH_HISTOGRAM_BOUNDS; i++) {
        count += histogram->buckets[i];
    }
    return count;
}

void kith_histogram_since(struct kith_histogram *sum, const struct kith_histogram *now,
                          const struct kith_histogram *before)
{
    for (uint32_t i = 0; i <= KITH_HISTOGRAM_BOUNDS; i++) {
        sum->buckets[i] += now->buckets[i] - before->buckets[i];
    }
    sum->sum_ns += now->sum_ns - before->sum_ns;
}

uint64_t kith_histogram_quantile(const struct kith_histogram *histogram, double share)
{
    double wanted = share * (double)kith_histogram_count(histogram);
    double below = 0;
    for (uint32_t i = 0; i < KITH_HISTOGRAM_BOUNDS; i++) {
        double here = (double)histogram->buckets[i];
        if (here > 0 && below + here >= wanted) {
            uint64_t from = i == 0 ? 0 : kith_histogram_bounds_ns[i - 1];
            double part = wanted > below ? (wanted - below) / here : 0;
            return from + (uint64_t)(part * (double)(kith_histogram_bounds_ns[i] - from));
        }
        below += here;
    }
    return histogram->buckets[KITH_HISTOGRAM_BOUNDS] > 0
               ? kith_histogram_bounds_ns[KITH_HISTOGRAM_BOUNDS - 1]
               : 0;
}
