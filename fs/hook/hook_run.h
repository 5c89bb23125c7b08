/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook_run.h - one run of a program, with limits.
 *
 * It is executed itself, without a shell, in a session and group of processes of its own, in "/", so
 * that it keeps no mount busy that it does not work in; with nothing of ours but standard input from
 * /dev/null, and a pipe to us as standard output and error; with no signal blocked, handled or
 * ignored. It is over when it ends itself; what it has started and left behind goes on, as a daemon of
 * its own. When its time is over, or stop_fd says so, its group gets SIGTERM, and what is left of that
 * `grace_ms` later, or when the program has ended, SIGKILL.
 *
 * A program that hangs in a call which no signal ends (a mount that does not answer) is waited for
 * until it is gone: one program at a time. But after stop_fd no longer than LEAVE_MS; then it is left
 * to init.
 *
 * Nothing here knows of the mount. It may wait, in a thread for which nobody does. SIGCHLD must not be
 * ignored, and nobody else may wait for any child. Where the calling process is killed the program
 * goes on, and its limits are gone: it could only be told of that by a program between the two. Checked
 * by tests/unit/test_hook_run.c. */
#ifndef KITH_FS_HOOK_RUN_H
#define KITH_FS_HOOK_RUN_H

#include <stddef.h>
#include <stdint.h>

#define KITH_HOOK_LINE_MAX  400u /* bytes of a line of output that are told; the rest is left out */
#define KITH_HOOK_LINES_MAX 100u /* lines of a run that are told */

struct kith_hook_call {
    const char *program; /* its path */
    char *const *args;   /* with the program's name before, NULL behind */
    char *const *env;    /* NULL behind */
    uint32_t limit_ms, grace_ms;
    int stop_fd; /* readable: the run is to end; -1: nothing says so */
    /* Each line of its output, without the newline; controls are '?'. */
    void (*on_line)(void *arg, const char *line);
    void *arg;
};

enum kith_hook_end {
    KITH_HOOK_EXITED,   /* code: its exit status */
    KITH_HOOK_KILLED,   /* by a signal of somebody else's; code: which */
    KITH_HOOK_TOO_LONG, /* its time was over */
    KITH_HOOK_STOPPED,  /* stop_fd */
    KITH_HOOK_LEFT,     /* the same, and it has not ended yet */
    KITH_HOOK_NOT_RUN,  /* code: errno */
};

struct kith_hook_result {
    enum kith_hook_end end;
    int code;
    uint32_t lines_left_out;
    uint64_t took_ms;
};

void kith_hook_run(const struct kith_hook_call *call, struct kith_hook_result *ret_result);

#endif
