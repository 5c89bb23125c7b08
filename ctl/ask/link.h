/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link.h - one question to many nodes, each on a connection of its own, and their answers.
 *
 * For what the client library does not do: nodes that have no cluster yet (init, join), and every
 * member's own status. A connection begins with HELLO both ways; then comes the question. */
#ifndef KITH_CTL_LINK_H
#define KITH_CTL_LINK_H

#include "rpc/rpc.h"

#define KITH_LINK_ASKS_MAX KITH_MEMBERS_MAX

struct kith_link_ask {
    const char *address;      /* in */
    struct kith_msg_box *box; /* out: the answer, the caller's to drop; NULL: none */
    struct kith_error error;  /* out, where there is none */
    uint64_t conn;            /* link's own from here on */
    bool open;
    bool done;
};

struct kith_link;

/* One thread may use a link at a time. Do not fork while it lives. */
KITH_MUST_CHECK enum kith_err kith_link_new(struct kith_link **ret_link, struct kith_error *error);
void kith_link_free(struct kith_link *link); /* NULL is fine */

/* Sends `question` (its id is set here) to all at once and waits until each has answered or
 * failed, at most timeout_ms, and at most patience_ms more once one has answered: a node that hangs
 * must not hold up what the others say. The errors: EUNREACH, ETIMEOUT, EVERSION, EFORMAT. */
void kith_link_ask(struct kith_link *link, struct kith_link_ask *asks, uint32_t count,
                   const struct kith_msg *question, uint64_t timeout_ms, uint64_t patience_ms);

#endif
