/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * control.h - the virtual directory .kith at the root of a mount, and the files in it:
 *
 *     status     what this mount is and how it stands, for people
 *     stats      counters and times, in Prometheus' text format
 *     conflicts  the files in conflict below the mount's root; read from the cluster at each open
 *     accesslog  a line for each finished request, while somebody has it open
 *
 * It is found by its name and never listed. Where a directory really has that name at the mount's
 * root this one hides it (-o nocontrol leaves it out). Nothing can be made, changed or removed in
 * it.
 *
 * These have node ids of their own, below every address, and are no inodes of the tables: ops.c
 * answers what is asked of them before the handlers of requests/ see it. All other requests go on
 * as they came. io.c stands between libfuse and the kernel's file, and sees each request and each
 * answer, so that nobody else need count.
 *
 * Nothing here but conflicts.c asks the cluster: the others answer at once when no node can be
 * reached.
 *
 * Uses requests.h (jobs), what the tables, the content store, the watches and the client tell of
 * themselves, and ops of requests/. mount/ begins and ends it; the timer calls its tick. */
#ifndef KITH_FS_CONTROL_CONTROL_H
#define KITH_FS_CONTROL_CONTROL_H

#include "fs/fs.h"

#define KITH_CONTROL_NAME ".kith"

/* Node ids for the kernel, and inode numbers: FUSE_ROOT_ID is below, addresses and KITH_INODE_IDS
 * above. */
enum kith_control_node {
    KITH_CONTROL_DIR = 2,
    KITH_CONTROL_STATUS,
    KITH_CONTROL_STATS,
    KITH_CONTROL_CONFLICTS,
    KITH_CONTROL_LOG,
    KITH_CONTROL_END_NODE,
};
static inline bool kith_control_has(uint64_t node)
{
    return node >= KITH_CONTROL_DIR && node < KITH_CONTROL_END_NODE;
}

KITH_MUST_CHECK enum kith_err kith_control_new(struct kith_fs *fs,
                                               struct kith_control **ret_control);
/* The mount ends: who waits for lines of the log is told the end, now and from now on. The executor
 * is still there. May be called again; control may be NULL. */
void kith_control_end(struct kith_control *control);
/* All its files are closed, or nobody will close them any more. */
void kith_control_free(struct kith_control *control);

/* What libfuse is to call: the control's handlers, and behind them those of requests/. */
extern const struct fuse_lowlevel_ops kith_control_ops;
/* The session, mounted already, is watched by io.c. Where that fails the mount goes on uncounted,
 * and the log says so. */
void kith_control_attach(struct kith_control *control, struct fuse_session *session);
/* Answers who has waited long enough for the root's attributes (root.c); when to come again, 0: no
 * need. */
uint64_t kith_control_late(struct kith_control *control, uint64_t now);
/* Once a second: a reader who waits ends where the mount was lazily unmounted. */
void kith_control_tick(struct kith_control *control);
/* A name of that directory is hidden by the virtual one. */
bool kith_control_hides(const struct kith_fs *fs, const struct kith_inode *dir, const char *name);

#endif
