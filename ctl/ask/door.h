/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * door.h - a command's connection to the cluster by the client library. One thread. */
#ifndef KITH_CTL_DOOR_H
#define KITH_CTL_DOOR_H

#include "client/client.h"
#include "ctl/ctl.h"

struct kith_door {
    struct kith_client *client; /* the caller's to close */
    uint64_t deadline_ms;       /* by kith_mono_ms, of the whole command */
};

/* Opens one to args->servers, as the user who runs the command, whose requests are of that level
 * (NULL: quorum). EINVAL: there is no such level; the errors of kith_client_open. */
KITH_MUST_CHECK enum kith_err kith_door_open(const struct kith_ctl_args *args, const char *level,
                                             struct kith_door *ret_door, struct kith_error *error);
/* What is left of the command's time; at least 1. */
uint32_t kith_door_left_ms(const struct kith_door *door);
/* kith_client_call with the message carried over. */
KITH_MUST_CHECK enum kith_err kith_door_call(struct kith_client *client,
                                             const struct kith_client_op *op,
                                             struct kith_client_answer *answer,
                                             struct kith_error *error);

#endif
