/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/stdfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum kith_err kith_stdfd_init(struct kith_error *error)
{
    int fd;
    do { /* the lowest free number comes first */
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0) {
        return kith_error_set(error, KITH_EIO, "/dev/null: %s", strerror(errno));
    }
    close(fd);
    return KITH_OK;
}
