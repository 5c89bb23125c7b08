/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * path.h - from a path to the rows that hold what lies there, without a mount. */
#ifndef KITH_CTL_PATH_H
#define KITH_CTL_PATH_H

#include "ctl/ask/door.h"
#include "data/volume.h"
#include "format/inode_format.h"
#include "format/rowname.h"

#define KITH_PATH_ROWS_MAX 3u
#define KITH_PATH_SIZE     8192u

/* A row with what it is for whoever asked. */
struct kith_path_row {
    const char *what; /* "the entry", ... */
    struct kith_group group;
    struct kith_rowname name;
};

/* Finds where `path` lies in the cluster: for one below a mounted kithfs (as `mounts`, the text of
 * /proc/self/mountinfo, tells) what its source adds in front, its volume, and its servers,
 * "host:port,..."; for another the path itself, and no servers (""), which is no volume's yet ("").
 * `cwd` is put before a relative one. "." and
 * ".." go as they are written: no link is followed. ETOOBIG; EINVAL for a relative path outside any
 * kithfs. Pure. */
KITH_MUST_CHECK enum kith_err kith_path_locate(const char *mounts, const char *cwd,
                                               const char *path, char ret_path[KITH_PATH_SIZE],
                                               char ret_servers[KITH_PATH_SIZE],
                                               char ret_volume[KITH_VOLUME_NAME_SIZE],
                                               struct kith_error *error);

/* Follows "/a/b/c" from the root of that volume by what a quorum says: *ret_count rows, the
 * entry first (there or not), then its attributes, then the inode that it shares with other names.
 * ENOTFOUND where a directory on the way is not there, EREFUSED where it is none; the errors of the
 * client. */
KITH_MUST_CHECK enum kith_err kith_path_walk(const struct kith_door *door, uint32_t volume,
                                             const char *path,
                                             struct kith_path_row ret_rows[KITH_PATH_ROWS_MAX],
                                             uint32_t *ret_count, struct kith_error *error);

#endif
