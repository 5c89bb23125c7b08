/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mount.h - a mount from its beginning to its end, and what runs beside its requests: the timer and
 * the notifier.
 *
 * On top of everything else. The other folders wake the timer and hand names to the notifier; they
 * call nothing else here. options.h, mountpoint.h and guard.h know nothing of the mount's state. */
#ifndef KITH_FS_MOUNT_MOUNT_H
#define KITH_FS_MOUNT_MOUNT_H

#include "fs/fs.h"

/* ---- mount.c ---- */
/* Connects, finds or makes the root, starts the threads. Takes over the client where given (tests:
 * a client of their own), else opens one. The message names what failed. */
KITH_MUST_CHECK enum kith_err kith_fs_new(const struct kith_fs_options *options,
                                          struct kith_client *client, struct kith_fs **ret_fs,
                                          struct kith_error *error);
/* Flushes, ends the threads, frees. Returns how many files could not be put. */
unsigned kith_fs_free(struct kith_fs *fs);
/* Mounts and serves until unmounted; `ready` is called once the kernel has answered. Returns the
 * exit code of the program. */
int kith_fs_serve(const struct kith_fs_options *options, struct kith_client *client,
                  void (*ready)(void *arg, int code, const char *message), void *arg);

/* ---- timer.c ---- */
KITH_MUST_CHECK enum kith_err kith_timer_new(struct kith_fs *fs, struct kith_timer **ret_timer);
void kith_timer_free(struct kith_timer *timer);
void kith_timer_wake(struct kith_timer *timer);

/* ---- notify.c ---- */
KITH_MUST_CHECK enum kith_err kith_notifier_new(struct kith_fs *fs,
                                                struct kith_notifier **ret_notifier);
void kith_notifier_free(struct kith_notifier *notifier);
/* Asks the kernel to forget a name, whoever uses it; or, expire, to ask for it and its attributes
 * again when it is used next. Dropped when the queue is full, or the mount is not guarded (guard.h):
 * timeouts do the work then. */
void kith_notify_entry(struct kith_notifier *notifier, fuse_ino_t parent, const char *name,
                       size_t size, bool expire);
/* Asks it to forget a node for want of room; where an older kernel does not know how to, its name. */
void kith_notify_forget(struct kith_notifier *notifier, fuse_ino_t node, fuse_ino_t parent,
                        const char *name, size_t size);

#endif
