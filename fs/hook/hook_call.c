/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/hook/hook_call.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/tables/tables.h"

#define GRACE_MS 3000u /* between SIGTERM and SIGKILL; the end of a mount waits for no more than that */

/* ---- Paths ---- */

/* fs->lock held. The directory's path, which ends with a slash, at the end of ret_path; NULL: there is
 * none, or it is too long. */
static const char *dir_path(const struct kith_fs *fs, const struct kith_inode *dir,
                            char ret_path[PATH_MAX])
{
    size_t at = PATH_MAX - 1;
    ret_path[at] = '\0';
    ret_path[--at] = '/';
    for (; dir != fs->root; dir = dir->entry->dir) {
        const struct kith_entry *entry = dir->entry;
        if (entry == NULL || entry->inode != dir || dir->unlinked || at < entry->name_size + 1u) {
            return NULL;
        }
        at -= entry->name_size;
        memcpy(ret_path + at, entry->name, entry->name_size);
        ret_path[--at] = '/';
    }
    return ret_path + at;
}

static const char *joined(const char *mountpoint, const char *dir, const char *name,
                          struct kith_arena *arena, size_t *ret_size)
{
    size_t root = strlen(mountpoint), middle = strlen(dir), last = strlen(name);
    root -= root > 0 && mountpoint[root - 1] == '/' ? 1 : 0;
    char *path = kith_arena_alloc(arena, root + middle + last + 1);
    if (path != NULL) {
        memcpy(path, mountpoint, root);
        memcpy(path + root, dir, middle);
        memcpy(path + root + middle, name, last + 1);
        *ret_size = root + middle + last;
    }
    return path;
}

int kith_hook_files(struct kith_fs *fs, const struct kith_inode *dir, const char *name,
                    const struct kith_other others[], uint32_t count, struct kith_arena *arena,
                    struct kith_hook_files *ret_files)
{
    char whole[PATH_MAX];
    size_t size = 0, used = 0;
    pthread_mutex_lock(&fs->lock);
    const char *in = dir_path(fs, dir, whole);
    pthread_mutex_unlock(&fs->lock);
    memset(ret_files, 0, sizeof *ret_files);
    if (in == NULL) {
        return ENOENT;
    }
    const char **versions = kith_arena_calloc(arena, KITH_HOOK_NAMED_MAX, sizeof *versions);
    ret_files->path = joined(fs->options->mountpoint, in, name, arena, &size);
    ret_files->count = count;
    ret_files->versions = versions;
    if (versions == NULL || ret_files->path == NULL) {
        return ENOMEM;
    }
    for (uint32_t i = 0; i < count && i < KITH_HOOK_NAMED_MAX && size < PATH_MAX &&
                         !fs->options->hide_conflicts;
         i++) {
        versions[i] = joined(fs->options->mountpoint, in, others[i].name, arena, &size);
        if (versions[i] == NULL) {
            return ENOMEM;
        }
        used += size + 1;
        if (used > KITH_HOOK_NAMED_BYTES) {
            break;
        }
        ret_files->named = i + 1;
    }
    return size < PATH_MAX ? 0 : ENAMETOOLONG;
}

/* ---- Arguments and environment ---- */

static char *variable(const char *name, const char *value, struct kith_arena *arena)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = kith_arena_alloc(arena, size);
    if (text != NULL) {
        (void)snprintf(text, size, "%s=%s", name, value);
    }
    return text;
}

char **kith_hook_args(const char *program, const struct kith_hook_files *files,
                      struct kith_arena *arena)
{
    char **args = kith_arena_calloc(arena, files->named + 3u, sizeof *args);
    if (args != NULL) { /* execve changes none of them */
        args[0] = (char *)(uintptr_t)program;
        args[1] = (char *)(uintptr_t)files->path;
        for (uint32_t i = 0; i < files->named; i++) {
            args[2 + i] = (char *)(uintptr_t)files->versions[i];
        }
    }
    return args;
}

static bool is_ours(const char *variable_text)
{
    static const char *const ours[] = {"KITH_PATH=", "KITH_VERSIONS=", "KITH_MOUNT="};
    for (unsigned i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strncmp(variable_text, ours[i], strlen(ours[i])) == 0) {
            return true;
        }
    }
    return false;
}

char **kith_hook_env(char *const inherited[], const char *mountpoint,
                     const struct kith_hook_files *files, struct kith_arena *arena)
{
    size_t count = 0, size = 1, used = 0;
    for (; inherited != NULL && inherited[count] != NULL; count++) {
    }
    for (uint32_t i = 0; i < files->named; i++) {
        size += strlen(files->versions[i]) + 1;
    }
    char **env = kith_arena_calloc(arena, count + 4, sizeof *env);
    char *lines = kith_arena_alloc(arena, size);
    if (env == NULL || lines == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < files->named; i++) {
        used += (size_t)snprintf(lines + used, size - used, "%s%s", i > 0 ? "\n" : "",
                                 files->versions[i]);
    }
    lines[used] = '\0';
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_ours(inherited[i])) {
            env[at++] = inherited[i];
        }
    }
    env[at] = variable("KITH_PATH", files->path, arena);
    env[at + 1] = variable("KITH_VERSIONS", lines, arena);
    env[at + 2] = variable("KITH_MOUNT", mountpoint, arena);
    return env[at] != NULL && env[at + 1] != NULL && env[at + 2] != NULL ? env : NULL;
}

/* ---- The run ---- */

struct teller {
    const char *path;
};

static void on_line(void *arg, const char *line)
{
    const struct teller *teller = arg;
    kith_log_info("hook", "%s: %s", teller->path, line);
}

static void say(const struct kith_hook_result *result, uint32_t limit_ms,
                char ret_what[KITH_HOOK_WHAT_SIZE])
{
    unsigned long long s = result->took_ms / 1000u, ms = result->took_ms % 1000u;
    const char *name = result->end == KITH_HOOK_KILLED ? sigdescr_np(result->code) : NULL;
    switch (result->end) {
    case KITH_HOOK_EXITED:
        (void)snprintf(ret_what, KITH_HOOK_WHAT_SIZE, "ended with status %d after %llu.%03llu s",
                       result->code, s, ms);
        break;
    case KITH_HOOK_KILLED:
        (void)snprintf(ret_what, KITH_HOOK_WHAT_SIZE,
                       "was ended by signal %d (%s) after %llu.%03llu s", result->code,
                       name != NULL ? name : "of no name", s, ms);
        break;
    case KITH_HOOK_TOO_LONG:
        (void)snprintf(ret_what, KITH_HOOK_WHAT_SIZE, "took longer than %u s, and was ended",
                       limit_ms / 1000u);
        break;
    case KITH_HOOK_STOPPED:
        (void)snprintf(ret_what, KITH_HOOK_WHAT_SIZE,
                       "was ended after %llu.%03llu s: the mount ends", s, ms);
        break;
    case KITH_HOOK_LEFT:
        (void)snprintf(ret_what, KITH_HOOK_WHAT_SIZE,
                       "hangs in a call that no signal ends, and is left behind: the mount ends");
        break;
    case KITH_HOOK_NOT_RUN:
    default:
        (void)snprintf(ret_what, KITH_HOOK_WHAT_SIZE, "cannot be run: %s", strerror(result->code));
        break;
    }
}

bool kith_hook_call(const struct kith_fs_options *options, const struct kith_hook_files *files,
                    int stop_fd, char ret_what[KITH_HOOK_WHAT_SIZE])
{
    struct kith_arena arena;
    struct kith_hook_result result = {.end = KITH_HOOK_NOT_RUN, .code = ENOMEM};
    struct teller teller = {files->path};
    kith_arena_init(&arena, 0);
    char **args = kith_hook_args(options->on_conflict, files, &arena);
    char **env = kith_hook_env(environ, options->mountpoint, files, &arena);
    if (args != NULL && env != NULL) {
        const struct kith_hook_call call = {.program = options->on_conflict,
                                            .args = args,
                                            .env = env,
                                            .limit_ms = options->hook_limit_ms,
                                            .grace_ms = GRACE_MS,
                                            .stop_fd = stop_fd,
                                            .on_line = on_line,
                                            .arg = &teller};
        kith_hook_run(&call, &result);
    }
    if (files->named < files->count && !options->hide_conflicts) {
        kith_log_warn("hook", "%s has %u other versions, of which %s was told %u", files->path,
                      files->count, options->on_conflict, files->named);
    }
    if (result.lines_left_out > 0) {
        kith_log_info("hook", "%s: and %u lines more", files->path, result.lines_left_out);
    }
    say(&result, options->hook_limit_ms, ret_what);
    kith_arena_release(&arena);
    return result.end == KITH_HOOK_EXITED && result.code == 0;
}
