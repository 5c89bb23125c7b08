/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflict_walk.h - every name below a place in the filesystem, read from the cluster page by page,
 * to find those in conflict.
 *
 * A file with several names is told at each of them. A directory is read whole before those in it
 * (a page, and of it the directories, for each level of the tree is all that is kept). Of
 * directories of one name each is gone through. What other mounts change meanwhile may be seen or
 * not. Requests have the client's time each, the walk has none. One thread. */
#ifndef KITH_CTL_CONFLICT_WALK_H
#define KITH_CTL_CONFLICT_WALK_H

#include "ctl/conflict_row.h"
#include "ctl/door.h"

struct kith_conflict_walk {
    /* A name in conflict: its path from where the walk began, "" for that itself. False: memory is
     * short. The arguments are the walk's. */
    bool (*found)(void *arg, struct kith_bytes path, struct kith_bytes name,
                  const struct kith_conflict *conflict);
    /* Now and then; the directory that is being read. NULL: not wanted. */
    void (*step)(void *arg, const struct kith_conflict_walk *walk, struct kith_bytes path);
    void *arg;
    /* out */
    uint64_t names, directories, conflicts;
    uint64_t unread; /* names of a later format, and directories too deep or within themselves */
    bool degraded;   /* fewer nodes than a quorum answered to some of it */
};

/* From `path` on, "/a/b" from the root of the filesystem. ENOTFOUND, EREFUSED as kith_path_walk;
 * the errors of the client; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_conflict_walk(const struct kith_door *door, const char *path,
                                                 struct kith_conflict_walk *walk,
                                                 struct kith_error *error);

#endif
