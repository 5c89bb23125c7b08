/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * stdfd.h - descriptors 0, 1 and 2 are what their names say.
 *
 * A process may be started with one of them closed (`kithfs ... >&-`). The next file that it opens
 * is given that number, and whoever writes to standard error, or puts the log in its place, then
 * writes into that file, or closes it. */
#ifndef KITH_BASE_STDFD_H
#define KITH_BASE_STDFD_H

#include "base/err.h"

/* Opens /dev/null for those of the three that are closed. At the beginning of main, before anything
 * is opened. KITH_EIO: /dev/null cannot be opened. */
KITH_MUST_CHECK enum kith_err kith_stdfd_init(struct kith_error *error);

#endif
