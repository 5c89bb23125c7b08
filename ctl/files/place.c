/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/files/place.h"

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

/* What --volume says, next to where the path lies. */
static enum kith_err volume_take(const char *path, const char *given, const char *mounted,
                                 uint32_t *ret_volume, struct kith_error *error)
{
    if (given && !kith_volume_name_fits(given)) {
        return kith_error_set(error, KITH_EINVAL, "--volume '%.80s': " KITH_VOLUME_NAME_RULE,
                              given);
    }
    if (given && *mounted && strcmp(given, mounted) != 0) {
        return kith_error_set(error, KITH_EINVAL,
                              "'%.300s' lies in a mount of volume '%s', not '%s'", path, mounted,
                              given);
    }
    *ret_volume = kith_volume_number(*mounted ? mounted : given ? given : "fs");
    return KITH_OK;
}

static bool names(const struct kith_ctl_args *args, const char *server)
{
    bool named = false;
    for (uint32_t i = 0; i < args->server_count; i++) {
        named = named || strcmp(args->servers[i], server) == 0;
    }
    return named;
}

enum kith_err kith_place_find(struct kith_ctl_args *args, const char *path, const char *given,
                              char ret_path[KITH_PATH_SIZE], uint32_t *ret_volume,
                              bool *ret_mounted, struct kith_error *error)
{
    struct kith_buf mounts;
    char cwd[KITH_PATH_SIZE];
    char servers[KITH_PATH_SIZE] = "";
    char volume[KITH_VOLUME_NAME_SIZE] = "";
    kith_buf_init(&mounts);
    enum kith_err err = file_read("/proc/self/mountinfo", &mounts, error);
    if (err == KITH_OK && !getcwd(cwd, sizeof(cwd))) {
        err = kith_error_set(error, KITH_EIO, "where this is run: %s", strerror(errno));
    }
    if (err == KITH_OK) {
        err = kith_path_locate((const char *)mounts.data, cwd, path, ret_path, servers,
                               volume, error);
    }
    /* $KITH_SERVERS may name another cluster; where it names the mount's node, and more, it is this one */
    if (err == KITH_OK && *servers && !args->servers_given && !names(args, servers)) {
        err = kith_ctl_servers(servers, args, error);
    }
    if (err == KITH_OK) {
        err = volume_take(path, given, volume, ret_volume, error);
    }
    *ret_mounted = err == KITH_OK && *servers;
    kith_buf_release(&mounts);
    return err;
}
