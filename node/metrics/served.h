/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * served.h - how many requests a node answers, how, and how long that takes.
 *
 * Looks at the messages that come in and go out: a request is noted when it comes, under its
 * connection and id, and counted when its answer goes out. What is never answered (its connection
 * ended, another one than asked answers it) is not counted. At most KITH_SERVED_NOTED are
 * remembered, twice what the core takes; the oldest of four goes where there are more.
 *
 * A request costs two looks at the clock and a few cache lines. The core's thread alone; a copy of
 * the figures may be read anywhere. Checked by tests/unit/test_served.c. */
#ifndef KITH_METRICS_SERVED_H
#define KITH_METRICS_SERVED_H

#include "base/histogram.h"
#include "wire/msg.h"

#define KITH_SERVED_NOTED 16384u

/* X(NAME, label): what is asked of a node */
#define KITH_OP_MAP(X)          \
    X(PUT, "put")               \
    X(GET, "get")               \
    X(SCAN, "scan")             \
    X(GROUPS, "groups")         \
    X(CHUNK_PUT, "chunk_put")   \
    X(CHUNK_GET, "chunk_get")   \
    X(CHUNK_SYNC, "chunk_sync") \
    X(REPLICATE, "replicate")   \
    X(HANDOFF, "handoff")       \
    X(COMPARE, "compare")       \
    X(WATCH, "watch")

/* X(NAME, label): how it was answered */
#define KITH_RESULT_MAP(X)        \
    X(OK, "ok")                   \
    X(NOT_FOUND, "not_found")     \
    X(STALE, "stale")             \
    X(NOT_READY, "not_ready")     \
    X(REFUSED, "refused")         \
    X(UNREACHABLE, "unreachable") \
    X(UNKNOWN, "unknown")         \
    X(NO_SPACE, "no_space")       \
    X(CORRUPT, "corrupt")         \
    X(ERROR, "error")

enum kith_op {
#define X(name, label) KITH_OP_##name,
    KITH_OP_MAP(X)
#undef X
        KITH_OPS
};
enum kith_result {
#define X(name, label) KITH_RESULT_##name,
    KITH_RESULT_MAP(X)
#undef X
        KITH_RESULTS
};
const char *kith_op_name(enum kith_op op);
const char *kith_result_name(enum kith_result result);

struct kith_served_figures {
    uint64_t counts[KITH_OPS][KITH_RESULTS];
    struct kith_histogram durations[KITH_OPS];
    uint64_t stood_in;         /* puts that were answered with copies at others than owners */
    uint64_t bytes_in, bytes_out; /* contents of chunks: received, sent in answers */
};

struct kith_served;

/* NULL: no memory. */
KITH_MUST_CHECK struct kith_served *kith_served_new(void);
void kith_served_free(struct kith_served *served);
/* Whether begin or end would do something with such a message: else the clock need not be read. */
bool kith_served_begins(enum kith_msg_kind kind);
bool kith_served_ends(enum kith_msg_kind kind);
/* A message has come on that connection; now_ns is CLOCK_MONOTONIC. */
void kith_served_begin(struct kith_served *served, uint64_t conn, const struct kith_msg *msg,
                         uint64_t now_ns);
/* A message goes out on that connection. */
void kith_served_end(struct kith_served *served, uint64_t conn, const struct kith_msg *msg,
                       uint64_t now_ns);
const struct kith_served_figures *kith_served_figures(const struct kith_served *served);
/* How long gets and scans took; how long puts did. */
void kith_served_times(const struct kith_served_figures *figures, struct kith_histogram *ret_reads,
                       struct kith_histogram *ret_writes);

#endif
