/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_op.h - requests of the client in memory: their bounds, and copies that outlive submit. */
#ifndef KITH_TESTS_LIB_FAKE_OP_H
#define KITH_TESTS_LIB_FAKE_OP_H

#include "client/client.h"

/* The bounds that the real client keeps. */
bool fake_op_is_valid(const struct kith_client_op *op);
/* Makes everything that `op` points to a copy in the arena, but the payload of a chunk. False when
 * memory is short. */
bool fake_op_copy(struct kith_arena *arena, struct kith_client_op *op);

#endif
