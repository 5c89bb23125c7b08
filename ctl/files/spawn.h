/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * spawn.h - another program, waited for. */
#ifndef KITH_CTL_SPAWN_H
#define KITH_CTL_SPAWN_H

#include "base/buf.h"
#include "base/err.h"

/* Runs argv (ended by NULL; found in $PATH) with this process's files and environment; what it
 * writes to standard output goes into `output`, where that is not NULL. Signals of the terminal are
 * the program's meanwhile. *ret_status: its exit status, 128 + the signal that ended it, 127: it
 * could not be started. EIO, ENOMEM. Not while a link or client lives. */
KITH_MUST_CHECK enum kith_err kith_spawn(char *const argv[], struct kith_buf *output,
                                         int *ret_status, struct kith_error *error);
/* The same with `command`, a line for the shell, and behind it `arguments` as they are. */
KITH_MUST_CHECK enum kith_err kith_spawn_shell(const char *command, uint32_t count,
                                               const char *const arguments[],
                                               struct kith_buf *output, int *ret_status,
                                               struct kith_error *error);

#endif
