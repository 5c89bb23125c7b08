/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon.h - kithd's life: connects the core (core/node.h) to gRPC, the store and the clock.
 *
 *     rpc threads ----> inbox ----> core thread ----> kith_node_step ----> effects
 *     store threads -->                                  |-> kith_rpc_send (corked for the batch)
 *     signal thread -->                                  '-> kith_store_submit, one kick a batch
 *
 * THREADS. The one that calls kith_daemon_run is the core's: it alone touches the core and the maps
 * of connections. The transport's and the store's threads only put into the inbox. A thread of its
 * own waits for signals: SIGTERM and SIGINT end in order, a second one at once, SIGHUP opens the
 * log file again. The two of metrics/metrics.h ask through the inbox.
 *
 * Who supervises it is told when it listens, serves and ends, and its watchdog is fed (supervisor.h).
 *
 * It writes DATA/kithd.pid, DATA/address (where it can be reached, after listening), DATA/metrics
 * (where http is served, if it is) and DATA/crl.pem (what 'kithctl cert push' sends). */
#ifndef KITH_SHELL_DAEMON_H
#define KITH_SHELL_DAEMON_H

#include "base/err.h"
#include "tls/identity.h"
#include "wire/msg.h"

#define KITH_PORT_DEFAULT 7070u
#define KITH_BULK_BYTES_MAX                                                                        \
    (UINT64_C(512) << 20) /* of chunks on their way to disk; more are refused */

struct kith_daemon_options {
    const char *data;      /* directory */
    const char *listen;    /* "host:port", port 0 = any free */
    const char *advertise; /* where others reach this node; NULL = what it listens on */
    bool local_socket;     /* processes of this machine come through one, and not by TCP */
    const char *join;      /* a member's address, or NULL */
    const char *zone;
    uint32_t weight;
    uint64_t cache_bytes; /* 0 = by the memory */
    bool encrypt;            /* what is stored */
    const char *encrypt_key; /* its file; NULL = systemd's credential (crypt_key.h) */
    uint64_t repair_rate; /* bytes a second; 0 = no bound */
    uint64_t zone_rate;   /* the same */
    uint64_t scrub_ms;    /* everything is read within; 0 = only when asked for */
    uint64_t scrub_rate;  /* bytes a second at most for that; 0 = no bound */
    uint64_t sweep_ms;    /* the grace of core/collect/sweep.h; 0 = nothing is swept */
    uint32_t space_percent[3]; /* of the disk, see store_wt.h; 0 = its own */
    const char *log_file; /* for SIGHUP; NULL = stderr */
    const char *metrics;  /* where http is served (metrics/metrics.h); NULL = nowhere */
    struct kith_identity_files tls; /* cert NULL: plain text, and anybody may do anything */
};

/* Runs until a signal or a failure. OK when it ended in order; otherwise the reason is in *error:
 * EINVAL = options, ENOTREADY = the process is to begin anew (exec), everything else = the system.
 * Blocks signals while it runs: call it from the only thread. */
KITH_MUST_CHECK enum kith_err kith_daemon_run(const struct kith_daemon_options *options,
                                              struct kith_error *error);

#endif
