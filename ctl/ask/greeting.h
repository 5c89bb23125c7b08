/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * greeting.h - how kithctl begins a conversation with a node: its certificate, HELLO both ways, and what a
 * node says that will not talk. For link.h and whoever else keeps connections of its own. Any thread. */
#ifndef KITH_CTL_GREETING_H
#define KITH_CTL_GREETING_H

#include "rpc/rpc.h"

/* An rpc with one thread and the certificate of own_cert.h, and a name for this process, which it greets
 * with. The errors of kith_ctl_identity and kith_rpc_new; EIO: no random bytes. */
KITH_MUST_CHECK enum kith_err kith_greeting_rpc(const struct kith_rpc_handlers *handlers,
                                                struct kith_rpc **ret_rpc,
                                                struct kith_uuid *ret_self,
                                                struct kith_error *error);

/* HELLO on a connection that has opened. The errors of kith_rpc_send. */
KITH_MUST_CHECK enum kith_err kith_greeting_send(struct kith_rpc *rpc, uint64_t conn,
                                                 const struct kith_uuid *self);

/* Whether the message is of the greeting, and no answer. *error is then set (code KITH_OK: all is well) to why
 * the node at the address and we cannot talk: EVERSION, or why it is about to end the connection. */
bool kith_greeting_is(const struct kith_msg *msg, const char *address, struct kith_error *error);

#endif
