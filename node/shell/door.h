/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * door.h - the unary services of a node, for any gRPC client: Kv and Cluster (proto/kv.proto,
 * proto/cluster.proto).
 *
 * A Kv call becomes operations of a kith_client inside the daemon, which talks to the owners like
 * any other client; so there is one read and write path. A Cluster call becomes a message to the
 * node's core through `submit`. Everything that comes in is checked here; what is wrong with it is
 * said in the status's message (invariant 12).
 *
 * Threads: kith_door_call from any rpc thread; answers from any thread. Nothing here waits. */
#ifndef KITH_SHELL_DOOR_H
#define KITH_SHELL_DOOR_H

#include "client/client.h"
#include "rpc/rpc.h"

struct kith_door;

/* What the core answered; the message is valid until this returns. msg NULL: the core has no
 * answer, because the daemon is ending or its queue is full; `error` says so then. Any thread,
 * exactly once. */
typedef void (*kith_door_answer)(void *arg, const struct kith_msg *msg,
                                 const struct kith_error *error);

struct kith_door_options {
    void *arg;
    /* The daemon's client; NULL while there is none (no cluster yet, or not connected): Kv calls
     * are answered UNAVAILABLE. It must live until kith_door_free or kith_client_close has ended
     * every request. */
    struct kith_client *(*client)(void *arg);
    /* Gives an administrator's message (STATUS_REQ, TABLE_REQ, INIT_REQ, JOIN_CMD) to the core, as
     * if it had come on a connection. Takes the box over. */
    void (*submit)(void *arg, struct kith_msg_box *box, kith_door_answer answer, void *answer_arg);
};

KITH_MUST_CHECK enum kith_err kith_door_new(const struct kith_door_options *options,
                                            struct kith_door **ret_door);
/* Only after every call has been answered: close the client and end the submitted messages, then
 * kith_rpc_free, then this. */
void kith_door_free(struct kith_door *door);

/* For the `call` handler of kith_rpc_handlers: takes the call over; request is borrowed until it
 * returns. Methods that it does not know end UNIMPLEMENTED. */
void kith_door_call(struct kith_door *door, struct kith_rpc_call *call, const char *method,
                    struct kith_bytes request);

#endif
