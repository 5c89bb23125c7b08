/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * node.h - the node's core: a deterministic step machine without I/O.
 *
 *     events in ->  kith_node_step  -> effects out
 *
 * Time and randomness come in with the events; step never blocks, never allocates without a bound,
 * and an event that cannot be taken (err != OK) leaves the state unchanged. The daemon
 * (node/shell/daemon.c) connects it to gRPC and WiredTiger, the simulator (tests/sim/) to a
 * simulated network, clock and disk. The core includes no socket, thread, clock or storage header;
 * a check after the build (tests/check_core_symbols) looks at its undefined symbols.
 *
 * One thread. Everything an effect points to stays valid until the next call of step; what a STORE
 * effect points to: see store.h. DESIGN sections 4, 5, 8. */
#ifndef KITH_CORE_NODE_H
#define KITH_CORE_NODE_H

#include "core/store.h"

#define KITH_PENDING_MAX 8192u /* requests under way in a node; more are REFUSED at once, and so is what */
#define KITH_PENDING_BYTES_MAX (UINT64_C(1) << 30) /* brings more contents than these, with theirs */
/* Watches (watch.c); more are ELIMIT, and their clients do without. */
#define KITH_WATCH_MAX       524288u /* of a node, 44 bytes each: 32 clients with all they may hold */
#define KITH_WATCH_CONN_MAX  16384u  /* of a connection; a client holds no more (KITH_WATCHES_MAX) */
#define KITH_WATCH_GROUP_MAX 512u   /* of a group: one step tells them all */

struct kith_node;

/* What travels on a connection: rows and all that is small, or contents of chunks (rpc.h). */
enum kith_conn_class { KITH_CONN_ROWS = 0, KITH_CONN_BULK };

enum kith_event_kind {
    KITH_EVENT_TICK = 1,  /* time has come to the deadline asked for, or any time */
    KITH_EVENT_ACCEPTED,  /* a peer or client opened connection `conn` */
    KITH_EVENT_OPENED,    /* a connection that the core asked for is up */
    KITH_EVENT_CLOSED,    /* a connection has ended, or never opened */
    KITH_EVENT_MESSAGE,
    KITH_EVENT_STORED,    /* a completion */
};

struct kith_event {
    enum kith_event_kind kind;
    uint64_t mono_ms; /* monotonic; never goes back between events */
    uint64_t wall_ms; /* milliseconds since 1970; may jump */
    uint64_t random;  /* 64 fresh random bits */
    uint64_t conn;    /* ACCEPTED, OPENED, CLOSED, MESSAGE */
    enum kith_conn_class cls;            /* ACCEPTED */
    const struct kith_msg *msg;          /* MESSAGE */
    const struct kith_store_done *done;  /* STORED */
};

enum kith_effect_kind {
    KITH_EFFECT_SEND = 1, /* msg on conn; lost silently when the connection is gone */
    KITH_EFFECT_CONNECT,  /* open a connection `conn` (the core's number) of class cls to address */
    KITH_EFFECT_CLOSE,    /* end conn; `reason` for its log; CLOSED need not follow */
    KITH_EFFECT_STORE,    /* carry out op */
    KITH_EFFECT_LOG,      /* one line for the log: level (enum kith_log_level's number), text */
    KITH_EFFECT_READY,    /* the node has a table and serves (once) */
};

struct kith_effect {
    enum kith_effect_kind kind;
    uint64_t conn;
    enum kith_conn_class cls;
    const struct kith_msg *msg;
    const char *address;
    const char *reason;
    int level;
    const char *text;
    const struct kith_store_op *op;
};

struct kith_effects {
    uint32_t count;
    const struct kith_effect *effects; /* in the order in which they are to be carried out */
    uint64_t deadline_ms;              /* mono_ms of the next TICK wanted; UINT64_MAX = none */
};

/* Connection numbers below this are the shell's (accepted), from it on the core's (asked for). */
#define KITH_CONN_CORE_BASE (UINT64_C(1) << 63)

struct kith_node_options {
    const char *address;  /* where others reach this node, "host:port" */
    const char *zone;
    uint32_t weight;
    const char *software;
    const char *join;     /* a member's address: join through it when the node has no cluster; or NULL */
    uint32_t keep_open;      /* in a cluster of so many nodes all keep connections to all; 0 = 32 */
    uint32_t relay_min;      /* bytes of states from which on another zone gets them once; 0 = 4096 */
    uint32_t put_timeout_ms; /* bound on a put's wait for replicas; 0 = 10000 */
    uint64_t scrub_ms;    /* everything is read within that time; 0 = only when asked for */
    uint64_t scrub_rate;  /* bytes a second at most for that; 0 = no bound */
    uint64_t sweep_ms;    /* the grace of sweep.h; 0 = nothing is swept */
    uint64_t repair_rate; /* bytes a second that anti-entropy may move here; 0 = no bound */
    uint64_t zone_rate;   /* and that background work exchanges with other zones; 0 = no bound */
};

/* What the store held at the start. */
struct kith_start {
    struct kith_uuid node;   /* nil: a new store; the core makes one from `random` and stores it */
    uint64_t random[4];
    uint64_t mono_ms, wall_ms;
    bool has_data;           /* any row or chunk in the store */
    struct kith_bytes meta[KITH_META_KEYS]; /* by enum kith_meta_key; empty where missing */
};

/* A core for a store with this content. EFORMAT or ECORRUPT with a message when a meta record
 * cannot be understood. Effects of the start (connects, meta puts) come with the first step, a
 * TICK. */
KITH_MUST_CHECK enum kith_err kith_node_new(const struct kith_node_options *options,
                                            const struct kith_start *start,
                                            struct kith_node **ret_node, struct kith_error *error);
void kith_node_free(struct kith_node *node);

KITH_MUST_CHECK enum kith_err kith_node_step(struct kith_node *node, const struct kith_event *event,
                                             struct kith_effects *ret_effects);

/* What the shell's stores need to know: the cluster's secret (192 bytes; empty bytes before there
 * is a cluster) and Q. Valid while the node lives; fixed once READY came. */
struct kith_bytes kith_node_secret(const struct kith_node *node);
uint32_t kith_node_partitions(const struct kith_node *node);

#endif
