/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * loopback.h - whether an address can be reached from other machines. */
#ifndef KITH_BASE_LOOPBACK_H
#define KITH_BASE_LOOPBACK_H

#include <stdbool.h>

#include "base/err.h"

/* Whether HOST of "HOST:PORT" ("[HOST]:PORT" for IPv6) is this machine's loopback alone: every address
 * that it stands for is in 127.0.0.0/8, or is ::1. Of names only localhost is taken: another one may
 * stand for another address by the time that somebody listens on it. EINVAL: it is no address. Any
 * thread. Checked by tests/unit/test_loopback.c. */
KITH_MUST_CHECK enum kith_err kith_loopback_only(const char *address, bool *ret_only,
                                                 struct kith_error *error);

#endif
