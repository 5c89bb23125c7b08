/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflict_walk.h - every name below a place in the filesystem, read from the cluster page by page,
 * to find those in conflict.
 *
 * A file with several names is told at each of them. A directory is read whole before those in it
 * (a page, and of it the directories, for each level of the tree is all that is kept). Of
 * directories of one name each is gone through. What other mounts change meanwhile may be seen or
 * not. Requests have the client's time each, the walk has none; it waits for them. One thread.
 * Checked by tests/unit/test_conflict_walk.c. */
#ifndef KITH_CONFLICTS_CONFLICT_WALK_H
#define KITH_CONFLICTS_CONFLICT_WALK_H

#include "client/client.h"
#include "conflicts/conflict_row.h"

struct kith_conflict_walk {
    /* A name in conflict: its path from where the walk began, "" for that itself. False: memory is
     * short. The arguments are the walk's. */
    bool (*found)(void *arg, struct kith_bytes path, struct kith_bytes name,
                  const struct kith_conflict *conflict);
    /* Before each page; the directory that is being read. False: the walk ends, with ECANCELED.
     * NULL: not wanted. */
    bool (*step)(void *arg, const struct kith_conflict_walk *walk, struct kith_bytes path);
    void *arg;
    /* out */
    uint64_t names, directories, conflicts;
    uint64_t unread; /* names of a later format, and directories too deep or within themselves */
    bool degraded;   /* fewer nodes than a quorum answered to some of it */
};

/* From the directory of that group on. The first directory that cannot be read ends it: the errors
 * of the client; ECANCELED (step); ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_conflict_walk_dir(struct kith_client *client,
                                                     const struct kith_group *dir,
                                                     struct kith_conflict_walk *walk,
                                                     struct kith_error *error);
/* The same from what `name` in that directory is. ENOTFOUND: nothing. */
KITH_MUST_CHECK enum kith_err kith_conflict_walk_name(struct kith_client *client,
                                                      const struct kith_group *dir,
                                                      struct kith_bytes name,
                                                      struct kith_conflict_walk *walk,
                                                      struct kith_error *error);

#endif
