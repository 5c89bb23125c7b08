/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/place.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static enum kith_err file_read(const char *path, struct kith_buf *buf, struct kith_error *error)
{
    char block[4096];
    size_t got = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        return kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(errno));
    }
    while ((got = fread(block, 1, sizeof(block), file)) > 0) {
        kith_buf_put(buf, block, got);
    }
    (void)fclose(file); /* was only read */
    kith_buf_put_u8(buf, 0);
    return buf->failed ? kith_error_set(error, KITH_ENOMEM, "out of memory") : KITH_OK;
}

enum kith_err kith_place_find(struct kith_ctl_args *args, const char *path,
                              char ret_path[KITH_PATH_SIZE], bool *ret_mounted,
                              struct kith_error *error)
{
    struct kith_buf mounts;
    char cwd[KITH_PATH_SIZE];
    char servers[KITH_PATH_SIZE] = "";
    kith_buf_init(&mounts);
    enum kith_err err = file_read("/proc/self/mountinfo", &mounts, error);
    if (err == KITH_OK && !getcwd(cwd, sizeof(cwd))) {
        err = kith_error_set(error, KITH_EIO, "where this is run: %s", strerror(errno));
    }
    if (err == KITH_OK) {
        err = kith_path_locate((const char *)mounts.data, cwd, path, ret_path, servers, error);
    }
    if (err == KITH_OK && *servers && !args->servers_given) {
        err = kith_ctl_servers(servers, args, error);
    }
    *ret_mounted = err == KITH_OK && *servers;
    kith_buf_release(&mounts);
    return err;
}
