/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * http.h - a small web server for those who look at a node: GET and HEAD of a few pages.
 *
 * It trusts nobody: a connection takes one request of at most KITH_HTTP_REQUEST_MAX bytes, without a
 * body, is silent for at most KITH_HTTP_IDLE_S and gone after KITH_HTTP_LIFE_MS; there are at most
 * KITH_HTTP_CONNECTIONS, of one address KITH_HTTP_PER_ADDRESS. Answers may be neither framed,
 * embedded nor kept, and a browser loads nothing for them from elsewhere. Where it listens on
 * loopback a request must name a host there, or an address: else a page of the web could have its name
 * lead here, and read what only this machine may.
 *
 * Threads: answers are made on the server's one thread. Checked by tests/unit/test_http.c. */
#ifndef KITH_METRICS_HTTP_H
#define KITH_METRICS_HTTP_H

#include "base/buf.h"

#define KITH_HTTP_REQUEST_MAX (16u * 1024u) /* bytes of memory for a connection: line and headers */
#define KITH_HTTP_CONNECTIONS 64u
#define KITH_HTTP_PER_ADDRESS 32u /* less, that one who holds them all keeps out only himself */
#define KITH_HTTP_IDLE_S      10u
#define KITH_HTTP_LIFE_MS     60000u
#define KITH_HTTP_ADDRESS_SIZE 64u /* "[v6]:port" with the NUL */

struct kith_http;

/* The status is 200 and the body empty when it is asked for. A body that failed is status 500. */
struct kith_http_answer {
    unsigned status;
    const char *type; /* Content-Type, static */
    struct kith_buf body;
};
/* path begins with '/', is decoded and without a query; the server releases the body. */
typedef void (*kith_http_answerer)(void *arg, const char *path, struct kith_http_answer *answer);

/* "host:port" or "[v6]:port". EINVAL with a message. */
KITH_MUST_CHECK enum kith_err kith_http_check(const char *listen_at, struct kith_error *error);
/* Listens, port 0 takes a free one, and serves. EINVAL; EBUSY: the port is in use; EIO, EPERM:
 * others. ret_address is where it listens. Resolving a name may take its time. */
KITH_MUST_CHECK enum kith_err kith_http_start(const char *listen_at, kith_http_answerer answerer,
                                              void *arg, struct kith_http **ret_http,
                                              char ret_address[KITH_HTTP_ADDRESS_SIZE],
                                              struct kith_error *error);
/* To be called every few seconds: ends connections that live too long. One thread. */
void kith_http_tick(struct kith_http *http, uint64_t life_ms);
/* Waits for the answer that is being made. NULL is fine. */
void kith_http_stop(struct kith_http *http);

#endif
