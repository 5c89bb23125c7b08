/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * view.h - the cluster as its members describe it: every member is asked for its status. */
#ifndef KITH_CTL_VIEW_H
#define KITH_CTL_VIEW_H

#include "base/histogram.h"
#include "ctl/ask/link.h"
#include "ctl/screens/health.h"

/* What a node that hangs may add, twice: in finding the cluster and in asking its members. Nodes
 * that work answer in milliseconds, on a loaded machine in some hundred. */
#define KITH_VIEW_PATIENCE_MS 1000u

struct kith_ctl_args;

struct kith_view_node {
    struct kith_uuid uuid;
    char address[KITH_ADDRESS_SIZE];
    char zone[KITH_ZONE_SIZE];
    char software[32];
    bool up;              /* it answered */
    bool silent;          /* else: it, or what lies between, took the question and said nothing */
    bool agrees;          /* it is up, knows this table and holds every member for up */
    struct kith_table_id knows; /* up: the table that it has */
    uint64_t seen_ms_ago; /* by the node that answered first; 0 for one that answered */
    uint32_t owned;       /* partitions */
    uint32_t gains;       /* partitions that a joint table moves here */
    unsigned move_flags;  /* what a joint table says of it: KITH_MEMBER_JOINS ... */
    /* up: what it says of itself */
    uint64_t rows, row_bytes, chunks, chunk_bytes;
    uint64_t disk_total_bytes, disk_free_bytes;
    uint64_t hints, hint_bytes, hint_oldest_ms, custody, thin_rows;
    uint64_t puts, gets, scans; /* since its start */
    bool timed;                 /* it says how long these took: */
    struct kith_histogram read_times, write_times;
    uint32_t pairs, pairs_never;
    uint64_t pairs_oldest_ms, uptime_ms;
    uint64_t condemned, swept, swept_bytes, sweep_ms_ago; /* UINT64_MAX: not yet */
    char sweep_waits[160]; /* "": for nothing */
    uint64_t reaped, floors, reap_ms_ago; /* the same of what was deleted */
    char reap_waits[160];
    uint32_t refill_total,
        refill_left; /* partitions that its disk has lost, and has not back yet */
    uint32_t aged_left; /* those that are compared before they are read: it was away for long */
    uint32_t space; /* how full its disk is, as NodeStatus has it */
    uint64_t conflicts; /* files, of partitions of which it is the first owner up */
    /* and knows this table, which is joint: */
    uint32_t move_complete; /* of what it gains */
    uint64_t move_bytes;    /* that came */
    bool moved;             /* all is done that it has to do */
    char error[400]; /* why it did not answer */
};

/* A server that was asked, and is no member: it left, or was replaced. */
struct kith_view_stranger {
    struct kith_uuid uuid;
    char address[KITH_ADDRESS_SIZE];
    uint64_t rows, chunks; /* that it has still */
};

struct kith_view {
    char name[64];
    struct kith_table *table;
    uint32_t count;
    struct kith_view_node *nodes; /* by uuid, as in the table */
    bool *hears;    /* [count * count], row: whom the node holds for up; itself always */
    uint32_t up;
    uint32_t agree; /* nodes */
    uint32_t stranger_count;
    struct kith_view_stranger *strangers;
    struct kith_health health;
};

/* Asks the servers for the cluster, then each member, and once more where one of those has a newer
 * table; each time those that are silent when one has
 * answered have patience_ms more, or the rest of timeout_ms where that is less. EUNREACH naming
 * every server; ENOTREADY where the nodes that answered have no cluster. */
KITH_MUST_CHECK enum kith_err kith_view_read(struct kith_link *link, const char *const servers[],
                                             uint32_t server_count, uint64_t timeout_ms,
                                             uint64_t patience_ms, struct kith_view *ret_view,
                                             struct kith_error *error);
/* The same of the servers that the command line names, within its time. */
KITH_MUST_CHECK enum kith_err kith_view_ask(struct kith_link *link, const struct kith_ctl_args *args,
                                            struct kith_view *ret_view, struct kith_error *error);
/* The same over a link of its own, for who asks but once. */
KITH_MUST_CHECK enum kith_err kith_view_ask_once(const struct kith_ctl_args *args,
                                                 struct kith_view *ret_view,
                                                 struct kith_error *error);
void kith_view_release(struct kith_view *view);
/* Of a joint table: how many partitions come to another node, and are there; 0 of others. */
uint32_t kith_view_gains(const struct kith_view *view, uint32_t *ret_complete);
/* Files in conflict, of all partitions of which an owner has told. */
uint64_t kith_view_conflicts(const struct kith_view *view);
/* Whether the node has yet to do its part of the move. Nobody waits for one that is gone. */
bool kith_view_awaited(const struct kith_view_node *node);

/* KITH_CTL_OK; KITH_CTL_FAILED (degraded): a node is down, or those that are up do not agree on the
 * table or on who is; KITH_CTL_BELOW: a partition cannot be read or written with a quorum. Makes
 * `up`, `agree` and `health` of the nodes. ENOMEM is taken for KITH_CTL_BELOW. */
int kith_view_health(struct kith_view *view);

#endif
