/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * metrics.h - a node shown to those who look after it: /metrics for Prometheus, / for people.
 *
 *     thread "metrics" --ask--> core's thread --publish--> the last snapshot <-- the server's thread
 *      (every 10 s: history)                                                      (when asked for)
 *
 * THREADS. One of its own takes a snapshot every ten seconds for the history of the last hour, and
 * opens the port, again every second where it is in use: a node does its work without being looked
 * at. The server's own answers requests, from a snapshot that is at most KITH_METRICS_FRESH_MS old,
 * or that it asks for and waits for. Neither touches the core; `ask` has it make one.
 *
 * A core that does not answer within KITH_METRICS_WAIT_MS is told of: /metrics with 503, once what
 * there is is older than KITH_METRICS_STALE_MS, and the page in words. */
#ifndef KITH_METRICS_METRICS_H
#define KITH_METRICS_METRICS_H

#include "metrics/http.h"
#include "metrics/snapshot.h"

#define KITH_METRICS_LISTEN   "127.0.0.1:9470"
#define KITH_METRICS_FRESH_MS 500u
#define KITH_METRICS_WAIT_MS  2000u
#define KITH_METRICS_STALE_MS 5000u
#define KITH_METRICS_AGAIN_MS 30000u /* one that was asked for and never came is asked for again */

struct kith_metrics;

struct kith_metrics_options {
    const char *listen; /* lives until stop */
    void *arg;
    /* Has a snapshot made, which comes by kith_metrics_publish, at once or later; NULL where none
     * can be made. Any of the two threads. */
    void (*ask)(void *arg);
    /* It listens; on the thread of its own. */
    void (*listening)(void *arg, const char *address);
};

/* NULL: no memory. */
KITH_MUST_CHECK struct kith_metrics *kith_metrics_new(const struct kith_metrics_options *options);
/* Starts the threads; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_metrics_start(struct kith_metrics *metrics);
/* Takes the snapshot over. Any thread, until free. */
void kith_metrics_publish(struct kith_metrics *metrics, struct kith_snapshot *snapshot);
/* Ends the threads: when it returns, nothing is asked for any more. */
void kith_metrics_stop(struct kith_metrics *metrics);
void kith_metrics_free(struct kith_metrics *metrics); /* NULL is fine */

#endif
