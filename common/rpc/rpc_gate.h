/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rpc_gate.h - how many strangers may stand at a door at once, and how fast they may knock.
 *
 * Whoever can reach a port costs the process a descriptor for each connection, and with TLS some
 * 0.6 ms of its core's thread for each handshake, before he has shown who he is. So a gate counts
 * the connections that a listener has accepted, by where they come from, and says of each new one
 * whether it is let in; one that is not is closed at once, which costs microseconds.
 *
 *     all connections    half of the descriptors of the process, the last eighth of them for places
 *                        where somebody has shown who he is
 *     a place            half of that
 *     unknown ones       those that have not made a call yet which was let in: `unknown` in all,
 *                        the last quarter for known places, and `unknown_each` from one place
 *     how fast           RATE a second from one place, after a burst of unknown_each; a call that
 *                        is let in gives its one back, so that who belongs here is not counted;
 * from places where nobody has shown who he is, RATE_STRANGERS in all
 *
 * A place is an IPv4 address, the first 64 bits of an IPv6 address (what one subscriber has), or a
 * user of this machine at the local socket; the superuser and the user of the process itself, who
 * could do worse, are not slowed down there. Behind one address (NAT) strangers can keep out those
 * who are not connected yet, in proportion to how often both knock; they never touch who is.
 *
 * gRPC tells nobody that a connection has ended. A gate knows the descriptor of each and the
 * kernel's cookie of its socket: a descriptor that is given out again has ended, and once in a
 * while it looks at all of them. Its counts are upper bounds in between.
 *
 * Not locked: rpc_accept.c's lock. Checked by tests/unit/test_rpc_gate.c. */
#ifndef KITH_RPC_GATE_H
#define KITH_RPC_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define RPC_GATE_TOTAL_MAX      16384u /* connections, however many descriptors there may be */
#define RPC_GATE_UNKNOWN_MAX    1024u
#define RPC_GATE_EACH_MAX       256u /* a hundred nodes and more that start at once on one machine */
#define RPC_GATE_RATE           32u  /* a second; RATE_KNOWN: where somebody has shown who he is */
#define RPC_GATE_RATE_KNOWN     128u     /* some 8 % of a processor in handshakes */
#define RPC_GATE_RATE_STRANGERS 256u     /* 15 % */
#define RPC_GATE_KNOWN_MS       3600000u /* a place is known for so long */
#define RPC_GATE_PLACES_MAX     4096u

struct rpc_gate_limits {
    uint32_t total, each, unknown, unknown_each;
    uint32_t descriptors; /* one that is as high is refused: the rest of the process wants some */
};

/* From where somebody comes. */
struct rpc_place {
    uint8_t
        bytes[16]; /* IPv6's form, its last 8 bytes 0 but for a mapped IPv4 address; or a user */
    uint16_t port; /* 0: none */
    bool local, trusted; /* a local socket's; of the superuser, or of ourselves */
};

struct rpc_gate;

/* For a process that may have so many descriptors. */
void rpc_gate_limits_for(uint64_t descriptors, struct rpc_gate_limits *ret_limits);
KITH_MUST_CHECK enum kith_err rpc_gate_new(const struct rpc_gate_limits *limits,
                                           struct rpc_gate **ret_gate);
void rpc_gate_free(struct rpc_gate *gate);

/* Whose other end is at that address. False: it is of a kind that no listener of ours has. */
bool rpc_place_of(int fd, const struct sockaddr *address, struct rpc_place *ret_place);
/* From gRPC's words: "ipv4:1.2.3.4:567", "ipv6:%5B::1%5D:567". False: a local one's, or none. */
bool rpc_place_parse(const char *peer, struct rpc_place *ret_place);

/* Whether the connection just accepted as fd is let in; it is counted then. NULL: yes; else why
 * not, in words. now_ms: CLOCK_MONOTONIC. */
const char *rpc_gate_enter(struct rpc_gate *gate, int fd, const struct rpc_place *place,
                           uint64_t now_ms);
/* Somebody there has made a call that was let in. */
void rpc_gate_known(struct rpc_gate *gate, const struct rpc_place *place, uint64_t now_ms);
/* Whether anybody is in who has not: may be read without a lock. */
bool rpc_gate_has_unknown(const struct rpc_gate *gate);
/* At most how many are in, and of how many nobody knows who they are. */
void rpc_gate_count(const struct rpc_gate *gate, uint32_t *ret_total, uint32_t *ret_unknown);

#endif
