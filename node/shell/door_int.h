/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * door_int.h - what door.c (dispatch, Cluster) and door_kv.c (Kv) share. */
#ifndef KITH_SHELL_DOOR_INT_H
#define KITH_SHELL_DOOR_INT_H

#include "shell/door.h"

struct kith_door {
    struct kith_door_options options;
};

/* Ends a call with an error. */
void door_fail(struct kith_rpc_call *call, enum kith_err err, const char *format, ...)
    KITH_PRINTF(3, 4);

/* A method of the Kv service ("Get", ..); false: there is none of that name. Takes the call
 * over. */
bool door_kv(struct kith_door *door, struct kith_rpc_call *call, const char *method,
             struct kith_bytes request);

#endif
