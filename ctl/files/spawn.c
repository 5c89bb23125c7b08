/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/files/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

static void child(char *const argv[], int out, const struct sigaction old[2])
{
    (void)sigaction(SIGINT, &old[0], NULL);
    (void)sigaction(SIGQUIT, &old[1], NULL);
    if (out >= 0 && dup2(out, STDOUT_FILENO) < 0) {
        _exit(127);
    }
    (void)execvp(argv[0], argv);
    static const char what[] = "kithctl: cannot run ";
    const char *why = strerror(errno);
    if (write(STDERR_FILENO, what, sizeof(what) - 1) >= 0 &&
        write(STDERR_FILENO, argv[0], strlen(argv[0])) >= 0 && write(STDERR_FILENO, ": ", 2) >= 0 &&
        write(STDERR_FILENO, why, strlen(why)) >= 0) {
        (void)!write(STDERR_FILENO, "\n", 1);
    }
    _exit(127);
}

static enum kith_err read_all(int fd, struct kith_buf *output, struct kith_error *error)
{
    char block[8192];
    ssize_t got = 0;
    while ((got = read(fd, block, sizeof(block))) > 0 || (got < 0 && errno == EINTR)) {
        kith_buf_put(output, block, got > 0 ? (size_t)got : 0);
    }
    if (got < 0) {
        return kith_error_set(error, KITH_EIO, "what it answers: %s", strerror(errno));
    }
    return output->failed ? kith_error_set(error, KITH_ENOMEM, "out of memory") : KITH_OK;
}

enum kith_err kith_spawn(char *const argv[], struct kith_buf *output, int *ret_status,
                         struct kith_error *error)
{
    int ends[2] = {-1, -1};
    int status = 0;
    struct sigaction ignore;
    struct sigaction old[2];
    enum kith_err err = KITH_OK;
    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;
    if (output && pipe2(ends, O_CLOEXEC) != 0) {
        return kith_error_set(error, KITH_EIO, "cannot run %s: %s", argv[0], strerror(errno));
    }
    (void)fflush(stdout);
    (void)sigaction(SIGINT, &ignore, &old[0]);
    (void)sigaction(SIGQUIT, &ignore, &old[1]);
    pid_t pid = fork();
    if (pid == 0) {
        child(argv, ends[1], old);
    }
    int number = errno;
    if (output) {
        (void)close(ends[1]);
    }
    if (pid < 0) {
        err = kith_error_set(error, KITH_EIO, "cannot run %s: %s", argv[0], strerror(number));
    } else {
        err = output ? read_all(ends[0], output, error) : KITH_OK;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (output) {
        (void)close(ends[0]);
    }
    (void)sigaction(SIGINT, &old[0], NULL);
    (void)sigaction(SIGQUIT, &old[1], NULL);
    return err;
}

enum kith_err kith_spawn_shell(const char *command, uint32_t count, const char *const arguments[],
                               struct kith_buf *output, int *ret_status, struct kith_error *error)
{
    static const char behind[] = " \"$@\"";
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    size_t size = strlen(command) + sizeof(behind);
    char *line = kith_arena_alloc(&arena, size);
    const char **argv = kith_arena_calloc(&arena, count + 5u, sizeof(*argv));
    enum kith_err err = KITH_OK;
    if (!line || !argv) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    } else {
        (void)snprintf(line, size, "%s%s", command, behind);
        argv[0] = "sh";
        argv[1] = "-c";
        argv[2] = line;
        argv[3] = "kithctl"; /* $0 */
        memcpy(argv + 4, arguments, count * sizeof(*argv));
        err = kith_spawn((char *const *)argv, output, ret_status, error);
    }
    kith_arena_release(&arena);
    return err;
}
