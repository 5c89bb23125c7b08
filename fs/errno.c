/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * errno.c - the one place where codes become errnos, and the mount's clocks. */
#include <errno.h>
#include <time.h>

#include "fs/fs.h"

int kith_errno(enum kith_err err)
{
    switch (err) {
    case KITH_OK:
        return 0;
    case KITH_ENOMEM:
        return ENOMEM;
    case KITH_EINVAL:
        return EINVAL;
    case KITH_ETIMEOUT:
        return ETIMEDOUT;
    case KITH_ENOSPC:
        return ENOSPC;
    case KITH_EROFS:
        return EROFS;
    case KITH_ETOOBIG:
        return EFBIG;
    case KITH_ENOTFOUND:
        return ENOENT;
    case KITH_EEXIST:
        return EEXIST;
    case KITH_EBUSY:
        return EBUSY;
    case KITH_ECANCELED:
        return EINTR;
    case KITH_EPERM:
        return EPERM;
    default: /* unreachable, unknown, refused, corrupt, malformed, a limit; hard mounts wait for nodes
                before it comes to the first two */
        return EIO;
    }
}

struct kith_time kith_wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct kith_time time = {now.tv_sec, (uint32_t)now.tv_nsec};
    return time;
}
