/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * figures.h - what the core counts, for who shows it (node/metrics).
 *
 * Plain numbers that are read from the core's state, between two steps and on its thread; nothing of
 * it changes the core, and it costs the core nothing while nobody asks. What the store counts is in
 * the answer to a STATUS_REQ. */
#ifndef KITH_CORE_FIGURES_H
#define KITH_CORE_FIGURES_H

#include "core/node.h"
#include "core/store.h"

/* Another node: a member, or one that was one. */
struct kith_peer_figures {
    struct kith_uuid uuid;
    char address[KITH_ADDRESS_SIZE];
    char zone[KITH_ZONE_SIZE];
    char software[32];
    bool member;               /* of the table in use */
    bool up;                   /* requests go to it */
    bool full;                 /* it takes no values */
    enum kith_liveness state;  /* what members say of it */
    uint64_t seen_ms_ago;      /* UINT64_MAX: never */
    /* Anti-entropy with it. A pair is a partition of both, its rows or its chunks. */
    uint32_t pairs, compared;  /* of them: in this round */
    uint32_t running;
    uint32_t backlog;          /* never compared since the start, or known to differ */
    uint64_t oldest_ms_ago;    /* the pair that was compared longest ago; UINT64_MAX: one never was */
    uint64_t rows, chunks, bytes, tree_bytes; /* that came in this round */
};

struct kith_node_figures {
    uint32_t requests;    /* under way, the node's own work among them */
    uint32_t connections, watches;
    uint32_t reconnects;  /* members that are down and are being tried */
    uint64_t refuted;     /* suspicions of this node that it has refuted */
    uint64_t unsound;     /* records of members that did not fit their checksum */
    uint32_t handoffs;    /* hints are on their way to so many owners */
    bool repair_stopped;  /* by an administrator */
    uint64_t damaged;     /* rows and chunks found so, since the start */
    struct {
        uint32_t left;             /* partitions of this pass */
        uint64_t rows, chunks, bytes; /* of this pass */
        uint64_t ended;            /* the last one, wall clock, ms; 0: none yet */
    } scrub;
    uint32_t owned; /* partitions of which this node is an owner */
};

/* How many peers there are: those that left among them. */
uint32_t kith_node_peer_count(const struct kith_node *node);
/* Fills *ret and the first `room` peers. The core's thread, like the others. */
void kith_node_figures(const struct kith_node *node, struct kith_node_figures *ret,
                       struct kith_peer_figures peers[], uint32_t room);
/* The table in use, NULL without a cluster; the caller's own reference. */
struct kith_table *kith_node_table_hold(const struct kith_node *node);

#endif
