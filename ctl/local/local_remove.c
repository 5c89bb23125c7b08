/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local_remove.c - taking back what a run of `local up` has made. What is removed here is gone: who
 * calls has seen with kith_local_present that it was not there before. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/local/local.h"

#define TREE_FDS 16 /* of nftw: folders that are open at once; deeper ones are opened again */

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || errno != ENOENT; /* what cannot be seen is nobody's to remove */
}

enum kith_err kith_local_present(const struct kith_local *local, uint32_t index,
                                 struct kith_local_present *ret_present, struct kith_error *error)
{
    char data[PATH_MAX];
    char log[PATH_MAX];
    enum kith_err err = kith_local_paths(local, index, data, log, error);
    if (err == KITH_OK) {
        ret_present->data = is_there(data);
        ret_present->log = is_there(log);
    }
    return err;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

enum kith_err kith_local_tree_remove(const char *path, struct kith_error *error)
{
    return !is_there(path) ||
                   nftw(path, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0
               ? KITH_OK
               : kith_error_set(error, KITH_EIO, "cannot remove %s: %s", path, strerror(errno));
}

enum kith_err kith_local_remove(const struct kith_local *local, uint32_t index,
                                const struct kith_local_present *before, struct kith_error *error)
{
    char data[PATH_MAX];
    char log[PATH_MAX];
    enum kith_err err = kith_local_paths(local, index, data, log, error);
    if (err == KITH_OK && !before->data) {
        err = kith_local_tree_remove(data, error);
    }
    if (err == KITH_OK && !before->log && unlink(log) != 0 && errno != ENOENT) {
        err = kith_error_set(error, KITH_EIO, "cannot remove %s: %s", log, strerror(errno));
    }
    return err;
}
