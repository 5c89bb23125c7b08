/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_SIZE 64u           /* bytes; /proc/self/fdinfo and a number */
#define INFO_SIZE 512u          /* bytes; what /proc tells of a descriptor, some short lines */
#define OUR_TYPE  "fuse.kithfs" /* in mountinfo: our subtype */

/* What the kernel knows without asking who serves the path: mask 0 asks for no attributes. */
static bool look(const char *path, int flags, struct statx *ret_status)
{
    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | flags, 0, ret_status) == 0;
}

/* A line of mountinfo (proc_pid_mountinfo(5)): "ID PARENT 0:DEVICE ROOT POINT OPTIONS TAG... - TYPE
 * SOURCE OPTIONS"; blanks in a field are written otherwise. */
static bool line_is_ours(const char *line, uint64_t id)
{
    const char *type = strstr(line, " - ");
    size_t size = sizeof OUR_TYPE - 1;
    return strtoull(line, NULL, 10) == id && type != NULL &&
           strncmp(type + 3, OUR_TYPE, size) == 0 && type[3 + size] == ' ';
}

/* A kithfs is on top there. False where it cannot be found out: before Linux 5.8, without /proc. */
static bool is_ours(const char *path)
{
    struct statx status;
    if (!look(path, 0, &status) || (status.stx_mask & STATX_MNT_ID) == 0 ||
        (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) {
        return false;
    }
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (file != NULL && !found && getline(&line, &size, file) > 0) {
        found = line_is_ours(line, status.stx_mnt_id);
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* Attributes of a dead mount may still be in the kernel's cache; these figures never are. A living
 * one has them in memory. */
static bool is_dead(const char *path)
{
    struct statfs figures;
    return statfs(path, &figures) != 0 && errno == ENOTCONN;
}

enum kith_err kith_mountpoint_check(const char *path, struct kith_error *error)
{
    struct stat status;
    if (is_ours(path) && is_dead(path)) {
        return kith_error_set(error, KITH_EBUSY,
                              "a kithfs that has died is still mounted there; unmount it first: "
                              "fusermount3 -uz %s",
                              path);
    }
    if (is_ours(path)) {
        return kith_error_set(error, KITH_EBUSY,
                              "a kithfs is already mounted there; unmount it first: "
                              "fusermount3 -u %s",
                              path);
    }
    if (stat(path, &status) != 0 && errno == ENOTCONN) {
        return kith_error_set(error, KITH_EIO,
                              "a mount there has died; unmount it first: fusermount3 -uz %s", path);
    }
    if (stat(path, &status) != 0) {
        return kith_error_set(error, KITH_EIO, "%s", strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        return kith_error_set(error, KITH_EINVAL, "not a directory");
    }
    return KITH_OK;
}

/* Linux 6.16 tells it. */
static bool number_of_file(int fuse_fd, unsigned *ret_number)
{
    char path[PATH_SIZE], info[INFO_SIZE];
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fuse_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, info, sizeof info - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    info[size > 0 ? size : 0] = '\0';
    const char *line = strstr(info, "\nfuse_connection:");
    return line != NULL && sscanf(line, "\nfuse_connection: %u", ret_number) == 1;
}

static bool number_of_path(const char *path, unsigned *ret_number)
{
    struct statx status;
    if (!look(path, AT_SYMLINK_NOFOLLOW, &status) || status.stx_dev_major != 0) {
        return false;
    }
    *ret_number = status.stx_dev_minor;
    return true;
}

bool kith_mountpoint_number(int fuse_fd, const char *path, unsigned *ret_number)
{
    return number_of_file(fuse_fd, ret_number) || number_of_path(path, ret_number);
}

bool kith_mountpoint_shows(const char *path, unsigned number)
{
    unsigned there;
    return number_of_path(path, &there) && there == number;
}

bool kith_mountpoint_lives(unsigned number)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool found = file == NULL;
    while (file != NULL && !found && getline(&line, &size, file) > 0) {
        unsigned major, minor;
        found = sscanf(line, "%*u %*u %u:%u", &major, &minor) == 2 && major == 0 && minor == number;
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return found;
}
