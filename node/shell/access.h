/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * access.h - which messages a holder of a certificate (tls/cert.h) may send to a node.
 *
 * One table over all kinds of messages says who may send one (nodes, admins, clients) and whether
 * it changes what is stored; what groups and chunks it names follows from its kind. A kind that is
 * not in the table nobody may send, and tests/unit/test_access.c fails until it is.
 *
 * A client needs each volume that a message names, the chunks included that its rows will refer to,
 * and more than reading for what changes something. What administrators note in the cluster
 * (KITH_VOLUME_CLUSTER) is no client's, whatever his certificate says. Read repair and leases
 * change nothing that anybody could read, and are for readers, too. Pure; any thread. */
#ifndef KITH_SHELL_ACCESS_H
#define KITH_SHELL_ACCESS_H

#include "tls/cert.h"
#include "wire/msg.h"

/* EPERM with a message that says what is missing. */
KITH_MUST_CHECK enum kith_err kith_access_check(const struct kith_cert_grant *grant,
                                                const struct kith_msg *msg,
                                                struct kith_error *error);

/* The same for a unary call of that method, "/kith.v1.Kv/Get"; one that is not known is refused. */
KITH_MUST_CHECK enum kith_err kith_access_check_call(const struct kith_cert_grant *grant,
                                                     const char *method, struct kith_error *error);

/* What tells the sender of a refused question so: an answer of the kind that he waits for, with
 * that error; the answer borrows its text. False: nobody waits for an answer to it. */
bool kith_access_answer(const struct kith_msg *question, const struct kith_error *error,
                        struct kith_msg *ret_answer);

#endif
