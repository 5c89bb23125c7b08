/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * snapshot.h - what a node says of itself at one moment, for who shows it.
 *
 * Made on the core's thread, and not changed afterwards: then it may be read and dropped on any
 * thread. It borrows nothing but the table, of which it has a reference. */
#ifndef KITH_METRICS_SNAPSHOT_H
#define KITH_METRICS_SNAPSHOT_H

#include "core/figures.h"
#include "metrics/served.h"

struct kith_cache_figures { /* WiredTiger's */
    uint64_t size_bytes, used_bytes, dirty_bytes;
    uint64_t pages_asked, pages_read; /* since the start: those read were not there */
};

struct kith_snapshot {
    uint32_t refs; /* atomic */
    uint64_t mono_ms, wall_ms;
    uint64_t start_ms; /* of the node, by the wall clock of then */
    char address[KITH_ADDRESS_SIZE];
    char zone[KITH_ZONE_SIZE];
    /* its texts are the four below */
    struct kith_node_status status;
    char cluster_name[64], software[32], sweep_waits[160], reap_waits[160];
    uint64_t bad_rows, bad_chunks; /* set aside, and not back yet */
    struct kith_node_figures figures;
    uint32_t peer_count;
    struct kith_peer_figures *peers;
    struct kith_table *table; /* NULL without a cluster */
    struct kith_served_figures requests;
    struct kith_cache_figures cache;
};

/* Empty. NULL: no memory. */
KITH_MUST_CHECK struct kith_snapshot *kith_snapshot_new(void);
/* Room for so many peers, which it has then; ENOMEM: it has none. */
KITH_MUST_CHECK enum kith_err kith_snapshot_peers(struct kith_snapshot *snapshot, uint32_t count);
/* Copies the status with its texts. */
void kith_snapshot_status(struct kith_snapshot *snapshot, const struct kith_node_status *status);
struct kith_snapshot *kith_snapshot_hold(struct kith_snapshot *snapshot);
void kith_snapshot_drop(struct kith_snapshot *snapshot); /* NULL is fine */

/* How many owners of each kind of partition are up, as this node sees it; the node itself is up. */
struct kith_snapshot_health {
    uint32_t partitions;
    uint32_t whole; /* all owners are up */
    uint32_t thin;  /* not all, but a majority */
    uint32_t below; /* fewer than a majority */
    uint32_t lost;  /* none: they are among `below` */
    uint32_t members, up;
};
void kith_snapshot_health(const struct kith_snapshot *snapshot,
                          struct kith_snapshot_health *ret_health);
/* Whether that member of the table is up; the node itself is. */
bool kith_snapshot_up(const struct kith_snapshot *snapshot, uint16_t member);
/* What the node knows of it; NULL: itself, or nothing. */
const struct kith_peer_figures *kith_snapshot_peer(const struct kith_snapshot *snapshot,
                                                   const struct kith_uuid *uuid);

#endif
