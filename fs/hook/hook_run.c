/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/hook/hook_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define LEAVE_MS     2000u
#define NO_TIME      UINT64_MAX
#define CHUNK        4096u
#define DRAIN_CHUNKS 64u /* 256 KiB: what a pipe holds, and more than is told */

enum stage { RUNS, TOLD, SHOT }; /* nothing was sent; SIGTERM; SIGKILL */

struct run {
    const struct kith_hook_call *call;
    struct kith_hook_result *result;
    pid_t pid;
    int pid_fd, out; /* out: -1 when the other end is closed */
    enum stage stage;
    bool stopping, over;
    uint64_t deadline; /* ms; NO_TIME: none */
    uint32_t lines;
    size_t used;
    char line[KITH_HOOK_LINE_MAX + 1];
};

/* ---- Its output ---- */

static void end_line(struct run *run)
{
    run->line[run->used] = '\0';
    if (run->lines == KITH_HOOK_LINES_MAX) {
        run->result->lines_left_out++;
    } else if (run->call->on_line != NULL) {
        run->lines++;
        run->call->on_line(run->call->arg, run->line);
    }
    run->used = 0;
}

static void take_output(struct run *run, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '\n') {
            end_line(run);
        } else if (run->used < KITH_HOOK_LINE_MAX) {
            run->line[run->used++] = byte < ' ' && byte != '\t' ? '?' : bytes[i];
        }
    }
}

/* False: there is no more now, or ever. */
static bool read_output(struct run *run)
{
    char bytes[CHUNK];
    ssize_t got = run->out >= 0 ? read(run->out, bytes, sizeof bytes) : -1;
    if (got > 0) {
        take_output(run, bytes, (size_t)got);
    } else if (run->out >= 0 && (got == 0 || (errno != EAGAIN && errno != EINTR))) {
        close(run->out);
        run->out = -1;
    }
    return got > 0;
}

/* ---- Its end ---- */

/* The number of the group is its leader's, which is not another's while that was not waited for. */
static void signal_group(const struct run *run, int number)
{
    (void)kill(-run->pid, number); /* ESRCH: all are gone */
}

static void tell_to_end(struct run *run)
{
    signal_group(run, SIGTERM);
    run->stage = TOLD;
    run->deadline = kith_mono_ms() + run->call->grace_ms;
}

static void on_deadline(struct run *run)
{
    if (run->stage == RUNS) {
        run->result->end = KITH_HOOK_TOO_LONG;
        tell_to_end(run);
    } else if (run->stage == TOLD) {
        signal_group(run, SIGKILL);
        run->stage = SHOT;
        run->deadline = run->stopping ? kith_mono_ms() + LEAVE_MS : NO_TIME;
    } else {
        run->result->end = KITH_HOOK_LEFT;
        run->over = true;
    }
}

static void on_stop(struct run *run)
{
    run->stopping = true;
    if (run->stage == RUNS) {
        run->result->end = KITH_HOOK_STOPPED;
        tell_to_end(run);
    } else if (run->stage == SHOT) {
        run->deadline = kith_mono_ms() + LEAVE_MS;
    }
}

static void on_exit_of(struct run *run)
{
    siginfo_t info;
    int failed;
    memset(&info, 0, sizeof info);
    if (run->stage != RUNS) {
        signal_group(run, SIGKILL); /* those that it leaves behind; it is there itself, a zombie */
    }
    do {
        failed = waitid(P_PIDFD, (id_t)run->pid_fd, &info, WEXITED) != 0 ? errno : 0;
    } while (failed == EINTR);
    if (run->stage == RUNS) {
        run->result->end = failed != 0                    ? KITH_HOOK_NOT_RUN
                           : info.si_code == CLD_EXITED ? KITH_HOOK_EXITED
                                                          : KITH_HOOK_KILLED;
        run->result->code = failed != 0 ? failed : info.si_status;
    }
    run->over = true;
}

static int wait_ms(const struct run *run)
{
    if (run->deadline == NO_TIME) {
        return -1;
    }
    uint64_t now = kith_mono_ms();
    uint64_t left = run->deadline > now ? run->deadline - now : 0;
    return left < INT32_MAX ? (int)left : INT32_MAX;
}

static void watch_over(struct run *run)
{
    while (!run->over) {
        struct pollfd waits[3] = {{.fd = run->pid_fd, .events = POLLIN},
                                  {.fd = run->out, .events = POLLIN},
                                  {.fd = run->stopping ? -1 : run->call->stop_fd,
                                   .events = POLLIN}};
        int count = poll(waits, 3, wait_ms(run)); /* -1, EINTR: nothing is told then */
        if (count > 0 && waits[1].revents != 0) {
            (void)read_output(run);
        }
        if (count > 0 && waits[2].revents != 0) {
            on_stop(run);
        }
        if (count > 0 && waits[0].revents != 0) {
            on_exit_of(run);
        } else if (run->deadline != NO_TIME && kith_mono_ms() >= run->deadline) {
            on_deadline(run);
        }
    }
    for (unsigned i = 0; i < DRAIN_CHUNKS && read_output(run); i++) {
    }
    if (run->used > 0) {
        end_line(run);
    }
}

/* ---- Its beginning ---- */

static int set_attr(posix_spawnattr_t *attr)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int failed = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
    failed = failed != 0 ? failed : posix_spawnattr_setsigmask(attr, &none);
    return failed != 0 ? failed : posix_spawnattr_setsigdefault(attr, &all);
}

static int set_files(posix_spawn_file_actions_t *files, int out)
{
    int failed = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    failed = failed != 0 ? failed : posix_spawn_file_actions_adddup2(files, out, STDOUT_FILENO);
    failed = failed != 0 ? failed : posix_spawn_file_actions_adddup2(files, out, STDERR_FILENO);
    /* whoever opened a file without O_CLOEXEC: one of /dev/fuse would keep the mount from ending */
    failed =
        failed != 0 ? failed : posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    return failed != 0 ? failed : posix_spawn_file_actions_addchdir_np(files, "/");
}

static int spawn(const struct kith_hook_call *call, int out, pid_t *ret_pid)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    int failed = posix_spawnattr_init(&attr);
    if (failed != 0) {
        return failed;
    }
    failed = posix_spawn_file_actions_init(&files);
    if (failed == 0) {
        failed = set_attr(&attr);
        failed = failed != 0 ? failed : set_files(&files, out);
        if (failed == 0) {
            failed = posix_spawn(ret_pid, call->program, &files, &attr, call->args, call->env);
        }
        (void)posix_spawn_file_actions_destroy(&files);
    }
    (void)posix_spawnattr_destroy(&attr);
    return failed;
}

/* It runs, and is watched through run->pid_fd; else an errno. */
static int begin(struct run *run)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    run->out = ends[0];
    int failed = fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ? errno : 0;
    failed = failed != 0 ? failed : spawn(run->call, ends[1], &run->pid);
    close(ends[1]);
    if (failed != 0) {
        return failed;
    }
    run->pid_fd = pidfd_open(run->pid, 0);
    if (run->pid_fd < 0) { /* what cannot be watched must not go on */
        failed = errno;
        signal_group(run, SIGKILL);
        while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    return failed;
}

void kith_hook_run(const struct kith_hook_call *call, struct kith_hook_result *ret_result)
{
    struct run run = {.call = call, .result = ret_result, .pid_fd = -1, .out = -1};
    uint64_t started = kith_mono_ms();
    memset(ret_result, 0, sizeof *ret_result);
    run.deadline = started + call->limit_ms;
    int failed = begin(&run);
    if (failed == 0) {
        watch_over(&run);
    } else {
        ret_result->end = KITH_HOOK_NOT_RUN;
        ret_result->code = failed;
    }
    if (run.pid_fd >= 0) {
        close(run.pid_fd);
    }
    if (run.out >= 0) {
        close(run.out);
    }
    ret_result->took_ms = kith_mono_ms() - started;
}
