/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * place.h - where a path that somebody typed lies: path.h with this process's mounts and
 * directory. */
#ifndef KITH_CTL_PLACE_H
#define KITH_CTL_PLACE_H

#include "ctl/files/path.h"

/* kith_path_locate; a mount's servers take the place of those that args does not name by --servers, unless
 * they are among them. *ret_volume: the mount's; elsewhere that of the name `given`, as --volume has it, or
 * of "fs" where that is NULL. *ret_mounted: it lies in a mount. The errors of that, EIO, ENOMEM; EINVAL:
 * `given` is no name, or is not that of the mount. */
KITH_MUST_CHECK enum kith_err kith_place_find(struct kith_ctl_args *args, const char *path,
                                              const char *given,
                                              char ret_path[KITH_PATH_SIZE], uint32_t *ret_volume,
                                              bool *ret_mounted,
                                              struct kith_error *error);

#endif
