/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/hook/hook_program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define USUAL_PATH "/usr/local/bin:/usr/bin:/bin" /* where nobody has set one, as under mount(8) */

/* 0: it can be executed; else why not. */
static int refusal(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return errno;
    }
    if (S_ISDIR(info.st_mode)) {
        return EISDIR;
    }
    if (!S_ISREG(info.st_mode)) {
        return EACCES;
    }
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0 ? errno : 0;
}

/* In the directories of `list`; ENOENT, or why the first that is there cannot be executed. */
static int look_in(const char *list, const char *name, char ret_path[PATH_MAX])
{
    int why = ENOENT;
    while (list != NULL && *list != '\0') {
        size_t size = strcspn(list, ":");
        int written = snprintf(ret_path, PATH_MAX, "%.*s/%s", (int)size, list, name);
        /* what is no absolute path is another one in the daemon, which is in "/" */
        if (list[0] == '/' && written > 0 && written < PATH_MAX) {
            int now = refusal(ret_path);
            if (now == 0) {
                return 0;
            }
            why = why == ENOENT && now != ENOENT && now != ENOTDIR ? now : why;
        }
        list += size + (list[size] == ':' ? 1 : 0);
    }
    return why;
}

/* Whether the path leads through the mount point: nobody finds it there any more. */
static bool is_below(const char *path, const char *mountpoint)
{
    char *real = realpath(path, NULL);
    size_t size = strlen(mountpoint);
    bool below = real != NULL && strncmp(real, mountpoint, size) == 0 && real[size] == '/';
    free(real);
    return below || (strncmp(path, mountpoint, size) == 0 && path[size] == '/');
}

enum kith_err kith_hook_program(const char *word, const char *mountpoint, char **ret_path,
                                struct kith_error *error)
{
    char found[PATH_MAX];
    const char *path = word;
    int why;
    if (word[0] == '/') {
        why = refusal(word);
    } else if (word[0] == '\0' || strchr(word, '/') != NULL) {
        return kith_error_set(error, KITH_EINVAL,
                              "option on_conflict=%s: want the absolute path of a program, or the "
                              "name of one in PATH; arguments and shell commands go into a script",
                              word);
    } else {
        const char *list = getenv("PATH");
        why = look_in(list != NULL ? list : USUAL_PATH, word, found);
        path = found;
    }
    if (why == ENOENT && word[0] != '/') {
        return kith_error_set(error, KITH_EINVAL,
                              "option on_conflict=%s: there is no such program in PATH; give its "
                              "absolute path, or install it",
                              word);
    }
    if (why != 0) {
        return kith_error_set(error, KITH_EINVAL, "option on_conflict=%s: %s%s%s", word,
                              strerror(why),
                              why == EACCES ? "; is it a program that you may execute? chmod +x "
                                            : "; give the path of a program",
                              why == EACCES ? path : "");
    }
    if (is_below(path, mountpoint)) {
        return kith_error_set(error, KITH_EINVAL,
                              "option on_conflict=%s: the mount at %s would hide it; keep it "
                              "elsewhere",
                              word, mountpoint);
    }
    *ret_path = kith_strdup(path);
    return *ret_path == NULL ? kith_error_set(error, KITH_ENOMEM, "out of memory") : KITH_OK;
}
