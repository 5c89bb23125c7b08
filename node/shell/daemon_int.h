/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon_int.h - what daemon.c (the loop) and daemon_run.c (beginning and end) share. */
#ifndef KITH_SHELL_DAEMON_INT_H
#define KITH_SHELL_DAEMON_INT_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/node.h"
#include "metrics/metrics.h"
#include "rpc/rpc.h"
#include "shell/conn_map.h"
#include "shell/daemon.h"
#include "shell/door.h"
#include "shell/holders.h"
#include "shell/inbox.h"
#include "shell/supervisor.h"
#include "store/store_wt.h"

#define DAEMON_RANDOM_COUNT 256u /* numbers drawn with one getrandom */

/* The door's connection to the core: the shell's number, beyond all that the transport gives. */
#define DAEMON_DOOR_CONN (UINT64_C(1) << 62)

enum daemon_client_state {
    DAEMON_CLIENT_NONE = 0,
    DAEMON_CLIENT_OPENING,
    DAEMON_CLIENT_OPEN,
    DAEMON_CLIENT_FAILED, /* the next call tries again */
};

struct door_ask;
struct door_deferred;

struct daemon {
    const struct kith_daemon_options *options;
    struct kith_inbox inbox; /* any thread */
    pthread_t core_thread;   /* runs the loop, and rpc's handlers */
    struct kith_rpc *rpc;
    char sent_list[PATH_MAX]; /* DATA/crl.pem: lists of what is revoked that are sent here */
    struct kith_store *store;
    atomic_bool ready; /* the node is in a cluster and serves */
    char address[KITH_ADDRESS_SIZE];
    char fatal_message[KITH_ERROR_MESSAGE_SIZE]; /* written once, before KITH_INBOX_FATAL is put */
    char own_server[KITH_ADDRESS_SIZE];          /* where this process reaches itself */
    struct kith_door *door;
    _Atomic(struct kith_client *) client; /* NULL until it is open */
    pthread_mutex_t door_lock;
    enum daemon_client_state client_state; /* protected by door_lock, like the next five */
    pthread_t client_thread;
    struct door_deferred *deferred, **deferred_end;
    uint32_t deferred_count;
    bool door_closed;
    struct kith_metrics *metrics; /* NULL: nobody looks; set before its threads begin */
    /* all below: the core's thread */
    struct kith_served *requests; /* NULL: nobody looks */
    uint64_t metrics_start_ms;      /* wall clock */
    struct daemon_times {           /* of the STATUS_RES that is being sent */
        struct kith_duration_bucket reads[KITH_HISTOGRAM_BOUNDS + 1];
        struct kith_duration_bucket writes[KITH_HISTOGRAM_BOUNDS + 1];
    } times;
    struct door_ask *asks; /* of the door, not answered yet */
    uint64_t ask_last;
    bool door_accepted; /* the core knows DAEMON_DOOR_CONN */
    struct kith_node *node;
    struct kith_conn_map
        to_core; /* the transport's number -> the core's; 0: the core has closed it */
    struct kith_conn_map to_rpc;
    struct kith_holders holders; /* of those accepted; with certificates only */
    uint64_t deadline_ms;
    uint64_t ops_out;    /* storage operations without their last completion */
    uint64_t bulk_bytes; /* contents of chunks among them */
    bool store_running;
    bool stopping;
    struct kith_supervisor supervisor;
    struct kith_error error;                           /* why it is stopping; OK: it was told to */
    struct kith_store_results *stalled, **stalled_end; /* completions to be given to the core */
    uint32_t stalled_at;
    struct kith_store_done *own; /* completions made here */
    uint32_t own_count, own_capacity;
    uint64_t random[DAEMON_RANDOM_COUNT];
    uint32_t random_at;
};

void daemon_random(void *bytes, size_t size);
/* Puts what must not be lost: waits for memory. Any thread. */
void daemon_put(struct daemon *daemon, enum kith_inbox_kind kind, uint64_t conn, void *pointer);
/* Until it is told to stop. */
void daemon_loop(struct daemon *daemon);
/* What is under way is completed, briefly; the store's threads end. */
void daemon_drain(struct daemon *daemon);
void daemon_discard_item(struct daemon *daemon, const struct kith_inbox_item *item);
/* After the transport's end: what nobody will handle is given back. */
void daemon_discard(struct daemon *daemon);

/* ---- daemon_door.c ---- */

KITH_MUST_CHECK enum kith_err daemon_door_open(struct daemon *daemon);
/* Answers all that waits; when it returns the door asks nothing any more. */
void daemon_door_close(struct daemon *daemon);
void daemon_door_free(struct daemon *daemon); /* after the transport's end */
void daemon_call(void *arg, struct kith_rpc_call *call, const char *method,
                 struct kith_bytes request);
/* Gives the question its number; the box is held for the caller. */
struct kith_msg_box *daemon_ask_begin(struct daemon *daemon, struct door_ask *ask);
void daemon_ask_answer(struct daemon *daemon, const struct kith_msg *msg);
void daemon_asks_end(struct daemon *daemon, const char *why);
void daemon_ask_discard(struct door_ask *ask);
/* The answer comes on the core's thread; where the door is closed, or memory short, at once. */
void daemon_ask(struct daemon *daemon, struct kith_msg_box *box, kith_door_answer answer,
                void *answer_arg);
/* Writes a line into DATA/name so that a reader sees all of it or none; removes it. */
KITH_MUST_CHECK enum kith_err daemon_file_write(const struct daemon *daemon, const char *name,
                                                const char *line, struct kith_error *error);
void daemon_file_remove(const struct daemon *daemon, const char *name);

/* ---- daemon_metrics.c ---- */

/* Where the options say so. Once the door is open and the store runs. */
void daemon_metrics_start(struct daemon *daemon);
void daemon_metrics_stop(struct daemon *daemon); /* before either ends */
/* A message has come, or goes out, on a connection of the transport. */
void daemon_metrics_came(struct daemon *daemon, uint64_t rpc, const struct kith_msg *msg);
/* Returns what is to be sent: the message itself or, in *room, with what the core does not know of. */
const struct kith_msg *daemon_metrics_goes(struct daemon *daemon, uint64_t rpc,
                                           const struct kith_msg *msg, struct kith_msg *room);

#endif
