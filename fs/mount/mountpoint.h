/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mountpoint.h - what is mounted where kithfs is to be, or is.
 *
 * Several mounts may lie one over the other at one path; the path leads to the topmost. Whoever
 * unmounts by path takes that one, so a mount that ends looks first whether it is itself. Any
 * thread. Checked by tests/integration/test_mountpoint.sh. */
#ifndef KITH_FS_MOUNTPOINT_H
#define KITH_FS_MOUNTPOINT_H

#include <stdbool.h>

#include "base/err.h"

/* Whether kithfs may be mounted there: a directory that can be reached, or a kithfs that has died,
 * which kith_mountpoint_clear takes away. KITH_EBUSY: a kithfs is mounted there already, or another
 * filesystem, unless `over` (an automount's own never counts); any other code: no. The message says
 * why and what helps. A process that serves the path but is stopped is waited for. */
KITH_MUST_CHECK enum kith_err kith_mountpoint_check(const char *path, bool over,
                                                    struct kith_error *error);

/* Unmounts what has died there, if it is a kithfs and nothing is mounted in it; who has files open
 * in it, or is in it, keeps that. Right before mounting: until then its directory keeps everybody
 * from writing below it. EPERM with a message: it is another user's. */
KITH_MUST_CHECK enum kith_err kith_mountpoint_clear(const char *path, struct kith_error *error);

/* realpath(3), also where the path leads to the root of a dead mount. For free(3); NULL: errno. */
KITH_MUST_CHECK char *kith_mountpoint_absolute(const char *path);

/* Makes a living kithfs read-only or writable, by the kernel alone; its other flags stay. */
KITH_MUST_CHECK enum kith_err kith_mountpoint_remount(const char *path, bool read_only,
                                                      struct kith_error *error);

/* The number of the connection with the kernel that this file of /dev/fuse, just mounted at `path`,
 * is: of its device (major 0), too, and its name in fusectl. Before Linux 6.16 it is looked for by
 * the path alone: not to be mounted over meanwhile. No request is sent to it. */
KITH_MUST_CHECK bool kith_mountpoint_number(int fuse_fd, const char *path, unsigned *ret_number);

/* Whether it is mounted anywhere, as far as this process sees (its mount namespace). True where that
 * cannot be found out. */
bool kith_mountpoint_lives(unsigned number);

/* Whether the path leads to that mount, to its root or below. */
bool kith_mountpoint_shows(const char *path, unsigned number);

#endif
