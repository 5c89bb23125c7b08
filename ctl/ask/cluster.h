/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cluster.h - orders to a node: init, join. */
#ifndef KITH_CTL_CLUSTER_H
#define KITH_CTL_CLUSTER_H

#include "ctl/ask/link.h"
#include "ctl/ctl.h"

/* Sends INIT_REQ or JOIN_CMD to the node and waits for its answer; again and again, within timeout_ms, while
 * the node is starting. The node's error and message, which names the address; or those of
 * kith_link_ask. */
KITH_MUST_CHECK enum kith_err kith_ctl_order(struct kith_link *link, const char *address,
                                             const struct kith_msg *order, uint64_t timeout_ms,
                                             struct kith_error *error);
/* What the text names, as "host:port". EINVAL where it is no address, or several; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_ctl_address(const char *text,
                                               char ret_address[KITH_ADDRESS_SIZE],
                                               struct kith_error *error);

#endif
