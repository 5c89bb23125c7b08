/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rpc_ends.h - two ends of rpc.h in one process over loopback, for the tests of common/rpc.
 *
 * Every wait is for a condition, with a limit that only a failing test reaches. What fails, fails
 * the test. Include it after cmocka.h. */
#ifndef KITH_TESTS_LIB_RPC_ENDS_H
#define KITH_TESTS_LIB_RPC_ENDS_H

#include <pthread.h>
#include <stdatomic.h>

#include "rpc/rpc.h"

#define WAIT_MAX_S 20

/* Whether ends have one thread that drives, in place of queue threads. */
extern bool ends_driven;
/* Whether pairs are connected by a local socket, and not by TCP. */
extern bool ends_near;
/* With which certificate ends are that name none of their own; NULL: with none. */
extern const struct kith_identity_files *ends_tls;

/* One end and what it has seen; all protected by lock. */
struct end {
    struct kith_rpc *rpc;
    pthread_t driver; /* not protected, as the flag below */
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t accepted, opened, closed;
    uint64_t last_accepted;
    bool known; /* whose connection was accepted last: by this certificate, if it is set */
    struct kith_cert who;
    char reason[256];
    uint32_t messages;
    uint64_t next_id; /* messages must come in the order of their ids */
    bool out_of_order;
    bool echo; /* answers pings and chunk puts */
    bool hold; /* handlers block while this is set */
    struct kith_checksum checksum;
    uint32_t calls;
    struct kith_rpc_call *held; /* of /kith.v1.Test/Hold: the test finishes it */
    bool stream_gone;
    uint32_t drained;
    void (*on_closed)(void *arg); /* what a test does in that handler; or NULL. Not protected */
    void *on_closed_arg;
};

void end_start(struct end *end, const struct kith_rpc_options *options); /* options may be NULL */
void end_stop(struct end *end);
void end_lock(struct end *end);
void end_unlock(struct end *end);
/* What the other end's handlers did before what was awaited is visible behind this. */
void end_see(struct end *end);
void end_echo(struct end *end); /* from now on */
/* Waits until the counter, one of end's, has reached `want`. */
void end_wait(struct end *end, const uint32_t *counter, uint32_t want);
/* The handler that counts, for an end that a test makes itself. */
void end_on_closed(void *arg, uint64_t conn, const char *reason);

struct pair {
    struct end server, client;
    char address[32];
    uint64_t conn;
};

/* A server and a client with a connection of that class. */
void pair_start(struct pair *pair, enum kith_rpc_class cls, const struct kith_rpc_options *options);
void pair_stop(struct pair *pair);

/* Until there are so many local sockets of this name: who listens, and his end of each connection.
 * The system tells of them without a snapshot: one may be missing or there twice. */
void ends_near_wait(const char *address, uint32_t want);
void end_address(char *address, size_t size, uint16_t port);
struct kith_msg end_ping(uint64_t id);
double end_now_ms(void);

#endif
