/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client_core.h - the client's logic: a deterministic step machine without I/O.
 *
 *     events in ->  kith_client_core_step  -> effects out
 *
 * Time and randomness come in with the events; step never blocks; an event that is not taken (err
 * not OK) leaves the state unchanged. client.c connects it to rpc.h, tests/sim/ to a simulated
 * network.
 *
 * Connections are the core's: it numbers them (from 1, never reused) and asks for them with
 * CONNECT; the shell tells OPENED once the transport is up, then either side may send, and CLOSED
 * exactly once, also for a connection that never opened. After the core's own CLOSE nothing more
 * need come for that number, and what comes is ignored. The core sends nothing before OPENED;
 * first it sends HELLO, and it uses a connection only after the node's HELLO. A message to a
 * connection that is gone is lost.
 *
 * Requests: SUBMIT takes an operation (copied; payloads held) under a tag of the shell's choosing,
 * and exactly one DONE with that tag follows, at the latest at the request's deadline (invariant
 * 8), maybe in the same step. What DONE's result points to lives until
 * kith_client_core_release(done): call it once for each DONE, later steps may come in between.
 *
 * One thread at a time. DESIGN sections 5 and 9. Checked by tests/unit/test_client_*.c. */
#ifndef KITH_CLIENT_CLIENT_CORE_H
#define KITH_CLIENT_CLIENT_CORE_H

#include "client/client.h"

#define KITH_CLIENT_OPS_MAX     4096u /* requests under way; more are ELIMIT */
#define KITH_CLIENT_SERVERS_MAX 64u   /* doors */
/* Rows whose clocks a session keeps, about 300 bytes each. Of more the oldest goes: then only R + W > N
 * stands behind "never back in time", and nothing where fewer than R answer. */
#define KITH_SESSION_ROWS_MAX 65536u
#define KITH_SESSION_MS       43200000u /* 12 h: half of the grace of node/core/collect/reap.h */
#define KITH_CLIENT_SYNC_MAX  16384u /* ids in one CHUNK_SYNC */
#define KITH_CLIENT_WHERE_ROWS_MAX 16u
/* REPAIR_REQs sent in one second; background repair does the rest. */
#define KITH_CLIENT_REPAIRS_PER_S 500u
/* A coordinator that has not answered a put by then is passed over. */
#define KITH_CLIENT_PUT_TRY_MS 400u
/* A chunk read that is late by this asks the next owner. */
#define KITH_CLIENT_CHUNK_HEDGE_MS 300u

struct kith_client_core;
struct kith_client_done; /* a finished request that holds its result */

enum kith_client_event_kind {
    KITH_CLIENT_EVENT_TICK = 1, /* time has come to the deadline asked for, or any time */
    KITH_CLIENT_EVENT_OPENED,   /* conn is up */
    KITH_CLIENT_EVENT_CLOSED,   /* conn has ended, or never opened; reason */
    KITH_CLIENT_EVENT_MESSAGE,  /* msg on conn */
    KITH_CLIENT_EVENT_SUBMIT,   /* op under tag */
    KITH_CLIENT_EVENT_CANCEL,   /* the requests with this tag, or all: they end with ECANCELED */
    KITH_CLIENT_EVENT_WATCH,    /* begin the watch `tag` on `group`; tags of watches are their own */
    KITH_CLIENT_EVENT_UNWATCH,  /* end it, its `group` again: no effect names it any more */
};

struct kith_client_event {
    enum kith_client_event_kind kind;
    uint64_t mono_ms;           /* monotonic; never goes back between events */
    uint64_t random;            /* 64 fresh random bits */
    uint64_t conn;              /* OPENED, CLOSED, MESSAGE */
    const char *reason;         /* CLOSED: in words, for messages; may be NULL */
    const struct kith_msg *msg; /* MESSAGE */
    /* MESSAGE: the box that msg lies in, which the core may hold; NULL: the core copies what it
     * keeps (payload blobs are held in any case). */
    struct kith_msg_box *box;
    uint64_t tag; /* SUBMIT, CANCEL */
    bool all;     /* CANCEL */
    const struct kith_client_op *op; /* SUBMIT */
    const struct kith_group *group;  /* WATCH, UNWATCH */
};

enum kith_client_effect_kind {
    KITH_CLIENT_EFFECT_SEND = 1, /* msg on conn */
    KITH_CLIENT_EFFECT_CONNECT,  /* open conn to address; bulk: of the BULK class, else ROWS */
    KITH_CLIENT_EFFECT_CLOSE,    /* end conn */
    KITH_CLIENT_EFFECT_DONE,     /* the request `tag` has ended */
    /* The watch `tag` is live until `until_ms` (mono_ms); 0: not now, and when it is live again,
     * maybe at once, it is so under another number (epoch.h). Before the DONEs of the same step. */
    KITH_CLIENT_EFFECT_WATCHED,
    KITH_CLIENT_EFFECT_CHANGED,  /* under the watch `tag`: names, name_count (0: any) */
};

struct kith_client_effect {
    enum kith_client_effect_kind kind;
    uint64_t conn;
    const struct kith_msg *msg;
    const char *address;
    bool bulk;
    const char *reason; /* CLOSE */
    uint64_t tag;
    enum kith_client_kind op_kind;
    const struct kith_client_result *result; /* DONE: until done is released */
    struct kith_client_done *done;
    uint64_t until_ms;              /* WATCHED */
    bool since_made; /* WATCHED: the number goes for requests that began since the watch did, too */
    uint32_t name_count;            /* CHANGED: only by a MESSAGE; the names lie in that message */
    const struct kith_bytes *names;
};

/* Valid until the next step, but for what belongs to a done. */
struct kith_client_effects {
    uint32_t count;
    const struct kith_client_effect *effects; /* to be carried out in this order */
    uint64_t deadline_ms; /* mono_ms of the next TICK wanted; UINT64_MAX = none */
};

struct kith_client_core_options {
    uint32_t server_count;
    const char *const *servers; /* copied */
    uint32_t op_timeout_ms;     /* 0 = 10000 */
    uint32_t hedge_ms;          /* 0 = 50 */
    uint32_t relay_min;         /* bytes of a chunk from which on a zone gets it once; 0 = 4096 */
    uint64_t session_ms;        /* what was seen binds reads for so long; 0 = KITH_SESSION_MS */
    const char *writer;         /* NULL = "" */
    bool strict;                /* see client.h, like the next one */
    uint32_t w_min;
    const char *zone; /* copied */
    enum kith_level read_level, write_level;
    uint64_t mono_ms;
    uint64_t random[4]; /* the client's id, and jitter */
};

/* EINVAL: no server, too many, an address that is empty or too long, a zone that is too long. The
 * first CONNECTs come with the first step, a TICK. */
KITH_MUST_CHECK enum kith_err kith_client_core_new(const struct kith_client_core_options *options,
                                                   struct kith_client_core **ret_core,
                                                   struct kith_error *error);
/* Everything under way is forgotten without DONE; unreleased dones are freed with it. */
void kith_client_core_free(struct kith_client_core *core);

/* SUBMIT: EINVAL, ELIMIT, ENOMEM, and no DONE comes. Other events: ENOMEM only. */
KITH_MUST_CHECK enum kith_err kith_client_core_step(struct kith_client_core *core,
                                                    const struct kith_client_event *event,
                                                    struct kith_client_effects *ret_effects);
void kith_client_core_release(struct kith_client_core *core, struct kith_client_done *done);

/* Whether a table is known: requests before that wait for it. */
bool kith_client_core_ready(const struct kith_client_core *core);
/* The table in use, NULL before ready; borrowed until the next step. */
struct kith_table *kith_client_core_table(const struct kith_client_core *core);
/* See kith_client_hard; what it ends, ends in the next step. */
void kith_client_core_hard(struct kith_client_core *core, bool hard);
/* How many requests have failed and wait for their next attempt; *ret_message: why the one that
 * waits longest has, until the next step. */
uint32_t kith_client_core_parked(const struct kith_client_core *core, const char **ret_message);
/* See kith_client_writable. */
bool kith_client_core_writable(const struct kith_client_core *core,
                               const struct kith_group *group);
/* Since when (mono_ms) nobody is at any of the servers: each has turned down every try of a
 * connection from then on at once (refused, unknown host), at least two of them. UINT64_MAX: not
 * so, or one is being tried; a server that is slow or silent turns nothing down. */
uint64_t kith_client_core_turned_down(const struct kith_client_core *core);
/* What each server last said, "n1:7070: connection refused, n2:7070: no answer yet"; cut. */
void kith_client_core_reasons(const struct kith_client_core *core, char *ret_text, size_t size);
/* See kith_client_view. */
KITH_MUST_CHECK enum kith_err kith_client_core_view(const struct kith_client_core *core,
                                                    uint64_t mono_ms, struct kith_arena *arena,
                                                    struct kith_client_view *ret_view);
/* See kith_client_request_id. */
struct kith_request_id kith_client_core_request_id(struct kith_client_core *core);
/* Requests that have not had their DONE. */
uint32_t kith_client_core_pending(const struct kith_client_core *core);
/* Chunk puts that have had it, and whose last copies are still on their way. */
uint32_t kith_client_core_lingering(const struct kith_client_core *core);

#endif
