/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rpc.h - connections that carry messages: one gRPC bidirectional stream each, with adaptive
 * packing.
 *
 * A connection is a stream of one class: ROWS (small messages, many packed into one gRPC message
 * while a send is under way) or BULK (one message each, the payload a slice of its own). Opening
 * either end gives a connection id; all else is messages. Unary calls are the door for other
 * clients and come in as kith_rpc_call.
 *
 * Threads: `threads` queue threads run every handler below, or, when the object is `driven`, the
 * one thread that calls kith_rpc_drive and kith_rpc_free; handlers must not block and may call any
 * function here. All functions here may be called from any thread, and none waits for the network.
 * Callbacks for one connection never run at the same time and come in order: opened, messages,
 * closed (exactly one closed for each connection that was given out, also when it never opened). On
 * a connection that this side opened, what comes while no answer is awaited may wait 5 ms
 * (rpc_read.c): so each side asks on connections of its own.
 *
 * With certificates (options.tls) every connection is TLS on which both sides prove who they are:
 * who has no valid certificate of the cluster gets no answer, and an opener talks to nodes only
 * (rpc_tls.c). The files are followed while it runs, and a connection is closed when its peer's
 * certificate ends or is revoked.
 *
 * Measured on two cores: a unary call costs 40-65 us of CPU on each side, a packed stream 0.3 us a
 * message. gRPC's callback completion queues make no progress in Debian's build; `next` queues do,
 * and a server needs a thread in `next` at all times. Start daemons before kith_rpc_new: a forked
 * child cannot use gRPC. */
#ifndef KITH_RPC_RPC_H
#define KITH_RPC_RPC_H

#include "tls/identity.h"
#include "wire/wire.h"

struct kith_rpc;
struct kith_rpc_call; /* one unary or server-streaming call that waits for its answer */

enum kith_rpc_class { KITH_RPC_ROWS = 0, KITH_RPC_BULK = 1 };

struct kith_rpc_handlers {
    void *arg;
    /* A stream that a peer opened here; peer is its address text, for logs; who is what its
     * certificate says, NULL without options.tls; both until it returns. May be NULL. Streams of
     * PeerStream are nodes' (options.tls). */
    void (*accepted)(void *arg, uint64_t conn, enum kith_rpc_class cls, const char *peer,
                     const struct kith_cert *who);
    /* A connection asked for with kith_rpc_connect is up: the transport and the stream are
     * ready. */
    void (*opened)(void *arg, uint64_t conn);
    /* Takes the box over. */
    void (*message)(void *arg, uint64_t conn, struct kith_msg_box *box);
    /* The end, with the reason in words. */
    void (*closed)(void *arg, uint64_t conn, const char *reason);
    /* A call of a unary or server-streaming method; `method` is "/kith.v1.Kv/Get"; request bytes
     * are borrowed until the handler returns. It must be ended with kith_rpc_finish, at any time
     * later. NULL: such calls are answered UNIMPLEMENTED. */
    void (*call)(void *arg, struct kith_rpc_call *call, const char *method,
                 struct kith_bytes request);
};

struct kith_rpc_options {
    uint32_t threads;            /* queue threads; 1 is best for two cores */
    bool driven;                 /* no queue threads: its owner calls kith_rpc_drive */
    size_t send_limit_bytes;     /* queued unsent bytes per connection; 0 = 64 MiB */
    /* The same of all, where a queue counts with what is above 1 MiB; beyond it the longest queue's
     * connection is closed. 0 = 512 MiB. */
    size_t send_total_bytes;
    /* What has arrived for a listener and was not read, or is not whole yet; beyond it gRPC ends
     * streams, and takes no connections. 0 = an eighth of the memory, 256 MiB to 2 GiB. */
    size_t receive_total_bytes;
    uint32_t connect_timeout_ms; /* a connect that is not up by then is closed; 0 = 5000 */
    uint32_t keepalive_ms;       /* 0 = 10000; a silent peer is closed after twice that */
    /* The address by which processes of this machine connect to what this object listens on, port 0
     * being the one that was chosen: they come through a local socket then, and not by TCP. Until
     * kith_rpc_listen has returned; NULL = there is none. */
    const char *near;
    /* Own certificate and whom to trust; until kith_rpc_new has returned, which copies it. NULL:
     * plain text, and anybody. */
    const struct kith_identity_files *tls;
    enum kith_peer_role role;    /* NODE: connects to PeerStream, else to ClientStream (proto/) */
};

#define KITH_RPC_CALLS_MAX 4096u /* unary calls under way; more are answered RESOURCE_EXHAUSTED */
#define KITH_RPC_DRAIN_MS 2000u  /* a closed connection sends what is queued for at most so long */

/* EINVAL, ENOMEM; with options.tls whatever kith_follow_new says. */
KITH_MUST_CHECK enum kith_err kith_rpc_new(const struct kith_rpc_options *options,
                                           const struct kith_rpc_handlers *handlers,
                                           struct kith_rpc **ret_rpc, struct kith_error *error);
/* Closes everything, waits for the callbacks to end, frees. Not from a handler. */
void kith_rpc_free(struct kith_rpc *rpc);

/* Driven objects only, always from one thread: waits until something has happened, kith_rpc_wake
 * was called, or CLOCK_MONOTONIC has come to until_ms (0: does not wait; UINT64_MAX: no end), and
 * runs the handlers for what has happened by then, boundedly many. */
void kith_rpc_drive(struct kith_rpc *rpc, uint64_t until_ms);
/* Ends the wait of kith_rpc_drive, or the next one. Any thread. */
void kith_rpc_wake(struct kith_rpc *rpc);

/* Listens on "host:port" (port 0 = any free); once, before or after connects. EINVAL, EBUSY (the
 * port, or the local socket's name, is in use), EPERM (options.tls is no node's certificate). */
KITH_MUST_CHECK enum kith_err kith_rpc_listen(struct kith_rpc *rpc, const char *address,
                                              uint16_t *ret_port, struct kith_error *error);

/* Starts connecting; opened or closed follows. Streams of both classes to one address share one
 * connection: a local one where somebody of this machine listens as `near` by just this address,
 * else TCP. *ret_conn is set before any callback for it runs. */
KITH_MUST_CHECK enum kith_err kith_rpc_connect(struct kith_rpc *rpc, const char *address,
                                               enum kith_rpc_class cls, uint64_t *ret_conn,
                                               struct kith_error *error);

/* Encodes and queues the message (everything is copied or held before it returns; it may be called
 * before `opened`). ECLOSED: the connection is gone (its `closed` came or will come). ELIMIT: the
 * queue is full; nothing was queued. ETOOBIG: above KITH_MESSAGE_MAX. EINVAL: a field above its
 * limit, or a chunk message on a ROWS connection, or a row message on a BULK one. ENOMEM. What
 * may_wait leaves with the next message that may not, in order, or by itself within some 5 ms. */
KITH_MUST_CHECK enum kith_err kith_rpc_send(struct kith_rpc *rpc, uint64_t conn,
                                            const struct kith_msg *msg);

/* Holds back what is sent from this thread until the matching uncork, so that many messages leave
 * in one: for the core thread around a batch of events. May be nested; the outermost uncork sends.
 * Handlers run corked: what they send leaves when the gRPC message that caused them has been
 * handled. */
void kith_rpc_cork(struct kith_rpc *rpc);
void kith_rpc_uncork(struct kith_rpc *rpc);

/* Ends the connection, after what is queued has been sent (for at most KITH_RPC_DRAIN_MS); `closed`
 * follows. Unknown ids are ignored. */
void kith_rpc_close(struct kith_rpc *rpc, uint64_t conn, const char *reason);

/* What became of a list; error: NULL where it is in use. On the object's own timer thread. */
typedef void (*kith_rpc_offered)(void *arg, uint64_t conn, uint64_t id,
                                 const struct kith_error *error);
/* Has the timer, within a second or so, take a list of what is revoked that came over the network
 * (kith_follow_list, of options.tls), and then call done(arg, conn, id, ...), once; never, where the object
 * is freed before. EINVAL: it has no certificates; EBUSY: another one waits; ENOMEM: done is not called. */
KITH_MUST_CHECK enum kith_err kith_rpc_offer_list(struct kith_rpc *rpc, struct kith_bytes pem,
                                                  kith_rpc_offered done, void *arg, uint64_t conn,
                                                  uint64_t id, struct kith_error *error);

/* Since kith_rpc_new, over all connections. packets / messages says how well packing works. */
struct kith_rpc_stats {
    uint64_t packets_sent, messages_sent, bytes_sent; /* a packet is one gRPC message */
    uint64_t packets_received, messages_received, bytes_received;
};
void kith_rpc_stats(struct kith_rpc *rpc, struct kith_rpc_stats *ret_stats);

/* ---- Unary and server-streaming calls ---- */

/* What is left of the caller's deadline, at most KITH_TIMEOUT_MAX_MS. */
uint32_t kith_rpc_call_timeout_ms(const struct kith_rpc_call *call);
/* What the caller's certificate says, until the call is finished; NULL without options.tls. */
const struct kith_cert *kith_rpc_call_who(const struct kith_rpc_call *call);
/* Sends one response message of a server-streaming call (copied). false: the caller is gone (or
 * there is no memory): finish the call. */
bool kith_rpc_stream(struct kith_rpc_call *call, struct kith_bytes response);
/* Calls drained(arg) once, when all that was streamed has left or the caller is gone: for who makes
 * the next page only when the last one has been taken. On a queue thread, or inside this function.
 * Not while an earlier one waits. */
void kith_rpc_when_drained(struct kith_rpc_call *call, void (*drained)(void *arg), void *arg);
/* Ends the call: with `response` (unary; ignored size 0 for streams) and OK, or with an error
 * mapped to the nearest gRPC status and its message (NULL or code OK: success). The call is gone
 * afterwards; kith_rpc_free waits until every call has been finished. */
void kith_rpc_finish(struct kith_rpc_call *call, struct kith_bytes response,
                     const struct kith_error *error);

#endif
