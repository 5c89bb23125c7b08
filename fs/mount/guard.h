/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * guard.h - a second process that ends the connection with the kernel when the mount dies.
 *
 * THE TROUBLE. The kernel ends a connection, and with it every call that waits for an answer, when
 * the last file of /dev/fuse is closed. The notifier (notify.c) tells the kernel by a write into
 * that file, for which the kernel takes the lock of a directory, uninterruptibly, and its holder
 * may wait for an answer of ours. Whoever kills kithfs then leaves a thread that never ends: it
 * waits for the lock, the lock's holder for an answer, and the answer for the connection's end,
 * which waits for the thread. (fuse_reverse_inval_entry; so in Linux 2.6.31 to 6.18 at least.)
 *
 * THE REMEDY is the connection's file "abort" in the kernel's file system fusectl: a write into it
 * ends all calls at once. It is open beforehand in
 *   - a child that does nothing else. It is told by a signal when the *thread* that forked it is
 *     gone (PR_SET_PDEATHSIG); pidfds, pipes and wait tell only when the whole process is;
 *   - the handler of fatal signals (base/crash.h): before a core is dumped no thread goes;
 *   - the process itself, for the end that is in order: SIGTERM while the notifier waits.
 * Where there is no such file (neither fusectl mounted nor the right to), or the child was killed,
 * nothing is told the kernel: timeouts do the work, and names that it keeps beyond this mount's
 * limit stay until it drops them by itself. What is left: a SIGKILL to both processes at the same
 * moment, as to a whole control group, while the notifier waits; then somebody has to write into
 * the file by hand (or unmount with umount -f). */
#ifndef KITH_FS_GUARD_H
#define KITH_FS_GUARD_H

#include <stdbool.h>

#include "base/err.h"

struct kith_guard;

/* Forks the child. From the thread that lives as long as the process, and before gRPC is used. */
KITH_MUST_CHECK enum kith_err kith_guard_new(struct kith_guard **ret_guard,
                                             struct kith_error *error);
/* Finds the connection of this file of /dev/fuse, mounted at `mountpoint`, and hands it over; no
 * request is sent to it. From now on it is guarded. Before Linux 6.16 it is looked for by the mount
 * point alone: not to be mounted over meanwhile. KITH_EIO, with the reason: it is not guarded. */
KITH_MUST_CHECK enum kith_err kith_guard_arm(struct kith_guard *guard, int fuse_fd,
                                             const char *mountpoint, struct kith_error *error);
/* Whether the connection is guarded, now. Any thread after kith_guard_arm; NULL: no. */
bool kith_guard_stands(const struct kith_guard *guard);
/* Ends the connection: all calls that wait for us fail with ECONNABORTED. For a mount that is
 * unmounted, or never was, nothing happens. */
void kith_guard_abort(const struct kith_guard *guard);
/* Ends the child. NULL is allowed. */
void kith_guard_free(struct kith_guard *guard);

#endif
