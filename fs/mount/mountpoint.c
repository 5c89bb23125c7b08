/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"

#define PATH_SIZE 64u           /* bytes; /proc/self/fdinfo and a number */
#define INFO_SIZE 512u          /* bytes; what /proc tells of a descriptor, some short lines */
#define TYPE_SIZE 64u           /* bytes of the name of a kind of filesystem; longer ones are cut */
#define LAYERS_MAX 16u           /* dead ones over each other that are unmounted */
#define OUR_TYPE  "fuse.kithfs" /* in mountinfo: our subtype */

/* What the kernel knows without asking who serves the path: mask 0 asks for no attributes. */
static bool look(const char *path, int flags, struct statx *ret_status)
{
    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | flags, 0, ret_status) == 0;
}

/* What is on top at a path. */
struct place {
    bool root;  /* the path is where it is mounted */
    bool holds; /* something else is mounted in it */
    char type[TYPE_SIZE];
};

/* A line of mountinfo (proc_pid_mountinfo(5)): "ID PARENT 0:DEVICE ROOT POINT OPTIONS TAG... - TYPE
 * SOURCE OPTIONS"; blanks in a field are written otherwise. */
static void line_take(const char *line, uint64_t id, struct place *place)
{
    char *end;
    bool own = strtoull(line, &end, 10) == id;
    const char *type = strstr(line, " - ");
    place->holds = place->holds || (!own && strtoull(end, NULL, 10) == id);
    if (own && type != NULL) {
        size_t size = strcspn(type + 3, " ");
        size = size < TYPE_SIZE ? size : TYPE_SIZE - 1;
        memcpy(place->type, type + 3, size);
        place->type[size] = '\0';
    }
}

/* Nothing, where it cannot be found out: before Linux 5.8, without /proc. */
static struct place place_at(const char *path)
{
    struct place place = {.root = false};
    struct statx status;
    if (!look(path, 0, &status) || (status.stx_mask & STATX_MNT_ID) == 0 ||
        (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) {
        return place;
    }
    place.root = true;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    while (file != NULL && getline(&line, &size, file) > 0) {
        line_take(line, status.stx_mnt_id, &place);
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return place;
}

static bool is_ours(const struct place *place)
{
    return place->root && strcmp(place->type, OUR_TYPE) == 0;
}

/* Attributes of a dead mount may still be in the kernel's cache; these figures never are. A living
 * one has them in memory. */
static bool is_dead(const char *path)
{
    struct statfs figures;
    return statfs(path, &figures) != 0 && errno == ENOTCONN;
}

enum kith_err kith_mountpoint_check(const char *path, bool over, struct kith_error *error)
{
    struct stat status;
    struct place place = place_at(path);
    if (is_ours(&place) && is_dead(path)) {
        if (!place.holds) {
            return KITH_OK;
        }
        return kith_error_set(error, KITH_EBUSY,
                              "a kithfs that has died is still mounted there, and something else in "
                              "it: unmount that first, then: fusermount3 -uz %s",
                              path);
    }
    if (is_ours(&place)) {
        return kith_error_set(error, KITH_EBUSY,
                              "a kithfs is already mounted there; unmount it first: "
                              "fusermount3 -u %s",
                              path);
    }
    if (place.root && place.type[0] != '\0' && strcmp(place.type, "autofs") != 0 && !over) {
        return kith_error_set(error, KITH_EBUSY,
                              "a filesystem (%s) is mounted there; unmount it first: umount %s; or "
                              "make a directory in it, and mount there; or hide it: -o over",
                              place.type, path);
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

/* As fusermount3 does it for users other than root, who may unmount what they have mounted. */
static bool user_detaches(const char *path)
{
    char program[] = "fusermount3", how[] = "-uz", end[] = "--";
    char *copy = kith_strdup(path);
    char *words[] = {program, how, end, copy, NULL};
    pid_t child;
    int status = 1;
    if (copy == NULL || posix_spawnp(&child, program, NULL, NULL, words, environ) != 0) {
        kith_free(copy);
        return false;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    kith_free(copy);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

enum kith_err kith_mountpoint_clear(const char *path, struct kith_error *error)
{
    for (unsigned i = 0; i < LAYERS_MAX; i++) {
        struct place place = place_at(path);
        if (!is_ours(&place) || !is_dead(path) || place.holds) {
            return KITH_OK;
        }
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && !user_detaches(path)) {
            return kith_error_set(error, KITH_EPERM,
                                  "a kithfs that has died is still mounted there, and only who has "
                                  "mounted it, or root, may unmount it: fusermount3 -uz %s",
                                  path);
        }
        kith_log_info("mount", "a kithfs that had died was still mounted at %s: unmounted", path);
    }
    return KITH_OK;
}

char *kith_mountpoint_absolute(const char *path)
{
    char *absolute = realpath(path, NULL);
    if (absolute != NULL || errno != ENOTCONN) {
        return absolute;
    }
    char *copy = strdup(path); /* its last part is the dead one's root, which nobody can ask */
    size_t size = copy != NULL ? strlen(copy) : 0;
    while (size > 1 && copy[size - 1] == '/') {
        copy[--size] = '\0';
    }
    char *slash = copy != NULL ? strrchr(copy, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : copy;
    char *parent = NULL, *whole = NULL;
    if (slash != NULL) {
        *slash = '\0';
        parent = realpath(slash == copy ? "/" : copy, NULL);
    } else if (copy != NULL) {
        parent = realpath(".", NULL);
    }
    if (parent != NULL && asprintf(&whole, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0) {
        whole = NULL;
    }
    free(parent);
    free(copy);
    errno = whole == NULL ? ENOTCONN : 0;
    return whole;
}

/* The flags that a remount would drop where it did not name them. */
static unsigned long flags_now(const char *path)
{
    static const struct {
        unsigned long shown, flag;
    } kept[] = {{ST_NOSUID, MS_NOSUID},   {ST_NODEV, MS_NODEV},           {ST_NOEXEC, MS_NOEXEC},
                {ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME},
                {ST_SYNCHRONOUS, MS_SYNCHRONOUS}};
    struct statvfs figures;
    unsigned long flags = 0;
    if (statvfs(path, &figures) == 0) {
        for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
            flags |= (figures.f_flag & kept[i].shown) != 0 ? kept[i].flag : 0;
        }
    }
    return flags;
}

enum kith_err kith_mountpoint_remount(const char *path, bool read_only, struct kith_error *error)
{
    struct place place = place_at(path);
    if (!is_ours(&place) || is_dead(path)) {
        return kith_error_set(error, KITH_ENOTFOUND,
                              "no kithfs is mounted there that could be mounted anew; without "
                              "\"remount\" one is mounted");
    }
    unsigned long flags = flags_now(path) | MS_REMOUNT | (read_only ? MS_RDONLY : 0);
    if (mount("kithfs", path, OUR_TYPE, flags, NULL) != 0) {
        return kith_error_set(error, KITH_EIO, "it cannot be made %s: %s",
                              read_only ? "read-only" : "writable",
                              errno == EBUSY  ? "files are open for writing"
                              : errno == EPERM ? "only root may do that"
                                               : strerror(errno));
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
