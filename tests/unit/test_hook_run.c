/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small shell scripts as hooks: what they find, what is told of them, and how they end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/hook/hook_run.h"

#define LIMIT_MS 20000u /* never reached where it is not the matter */

static char told[1u << 16]; /* all lines, each with a newline */
static uint32_t lines;

static void on_line(void *arg, const char *line)
{
    (void)arg;
    size_t used = strlen(told);
    assert_true(strlen(line) <= KITH_HOOK_LINE_MAX);
    assert_null(strchr(line, '\n'));
    snprintf(told + used, sizeof told - used, "%s\n", line);
    lines++;
}

static struct kith_hook_result run_program(const char *program, char *const args[],
                                           uint32_t limit_ms, uint32_t grace_ms, int stop_fd)
{
    char variable[] = "KITH_PATH=/a b", path[] = "PATH=/usr/bin:/bin";
    char *env[] = {variable, path, NULL};
    const struct kith_hook_call call = {.program = program,
                                        .args = args,
                                        .env = env,
                                        .limit_ms = limit_ms,
                                        .grace_ms = grace_ms,
                                        .stop_fd = stop_fd,
                                        .on_line = on_line};
    struct kith_hook_result result;
    told[0] = '\0';
    lines = 0;
    kith_hook_run(&call, &result);
    return result;
}

static struct kith_hook_result run_with(const char *script, uint32_t limit_ms, uint32_t grace_ms,
                                        int stop_fd)
{
    char shell[] = "sh", c[] = "-c", name[] = "name", first[] = "one\ntwo $(x)", text[4096];
    char *args[] = {shell, c, text, name, first, NULL};
    snprintf(text, sizeof text, "%s", script);
    return run_program("/bin/sh", args, limit_ms, grace_ms, stop_fd);
}

static struct kith_hook_result run(const char *script)
{
    return run_with(script, LIMIT_MS, LIMIT_MS, -1);
}

static void assert_end(const struct kith_hook_result *result, enum kith_hook_end end, int code)
{
    assert_int_equal(result->end, end);
    assert_int_equal(result->code, code);
}

static void test_ends(void **state)
{
    (void)state;
    struct kith_hook_result result = run("true");
    assert_end(&result, KITH_HOOK_EXITED, 0);
    result = run("exit 3");
    assert_end(&result, KITH_HOOK_EXITED, 3);
    result = run("kill -USR1 $$");
    assert_end(&result, KITH_HOOK_KILLED, SIGUSR1);
}

static void test_not_run(void **state)
{
    (void)state;
    char name[] = "nothing";
    char *args[] = {name, NULL}, *env[] = {NULL};
    const char *programs[] = {"/nowhere/nothing", "/etc/passwd", "/etc"};
    const int errors[] = {ENOENT, EACCES, EACCES};
    for (unsigned i = 0; i < 3; i++) {
        const struct kith_hook_call call = {.program = programs[i],
                                            .args = args,
                                            .env = env,
                                            .limit_ms = LIMIT_MS,
                                            .stop_fd = -1};
        struct kith_hook_result result;
        kith_hook_run(&call, &result);
        assert_end(&result, KITH_HOOK_NOT_RUN, errors[i]);
    }
}

static void test_output(void **state)
{
    (void)state;
    struct kith_hook_result result =
        run("printf '%s|' \"$@\"; echo; echo err >&2; printf 'a\\001b\\tc\\n\\nlast'");
    assert_end(&result, KITH_HOOK_EXITED, 0);
    assert_string_equal(told, "one\ntwo $(x)|\nerr\na?b\tc\n\nlast\n");
    result = run("yes | head -n 150; head -c 100000 /dev/zero | tr '\\0' x");
    assert_int_equal(lines, KITH_HOOK_LINES_MAX);
    assert_int_equal(result.lines_left_out, 51);
    result = run("head -c 100000 /dev/zero | tr '\\0' x; echo; echo next");
    assert_int_equal(strlen(told), KITH_HOOK_LINE_MAX + 1 + strlen("next\n"));
    result = run("exec >&- 2>&-; sleep 0.1; exit 4"); /* it ends, not its output */
    assert_end(&result, KITH_HOOK_EXITED, 4);
}

/* Nothing of ours but what it is given. */
static void test_finds(void **state)
{
    (void)state;
    int open_fd = fcntl(0, F_DUPFD, 100); /* not close-on-exec */
    assert_true(open_fd >= 100);
    char script[512];
    snprintf(script, sizeof script,
             "pwd; [ -e /proc/$$/fd/%d ] || echo closed; readlink /proc/$$/fd/0; echo $KITH_PATH; "
             "set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && echo leads",
             open_fd);
    (void)run(script);
    close(open_fd);
    assert_string_equal(told, "/\nclosed\n/dev/null\n/a b\nleads\n");
}

/* A shell would set them itself. */
static void test_signals(void **state)
{
    (void)state;
    sigset_t usr1, before;
    char sed[] = "sed", n[] = "-n", script[] = "s/^Sig[BI][lg][kn]:.//p";
    char file[] = "/proc/self/status", *rest = told;
    char *args[] = {sed, n, script, file, NULL};
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
    void (*pipe_before)(int) = signal(SIGPIPE, SIG_IGN);
    (void)run_program("/bin/sed", args, LIMIT_MS, LIMIT_MS, -1);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)signal(SIGPIPE, pipe_before);
    assert_int_equal(strtoull(rest, &rest, 16), 0); /* blocked */
    /* ignored: none but the C library's own, 32 and 33 */
    assert_int_equal(strtoull(rest, &rest, 16) & ~(UINT64_C(3) << 31), 0);
    assert_string_equal(rest, "\n");
}

/* What it has started and left goes on, and keeps nobody waiting. */
static void test_leaves(void **state)
{
    (void)state;
    struct kith_hook_result result = run("sleep 30 & echo $!");
    pid_t left = (pid_t)strtol(told, NULL, 10);
    assert_end(&result, KITH_HOOK_EXITED, 0);
    assert_true(result.took_ms < 10000);
    assert_true(left > 1);
    assert_int_equal(kill(left, 0), 0);
    assert_int_equal(kill(left, SIGKILL), 0);
}

static bool is_there(pid_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    bool read = file != NULL && fgets(text, sizeof text, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    return read && strstr(text, ") Z") == NULL; /* who reaps it may take his time */
}

static void assert_gone(pid_t pid)
{
    const struct timespec tick = {0, 10000000};
    assert_true(pid > 1);
    for (unsigned i = 0; i < 1000 && is_there(pid); i++) {
        nanosleep(&tick, NULL);
    }
    assert_false(is_there(pid));
}

/* Too long: its group is ended, politely or not. */
static void test_limit(void **state)
{
    (void)state;
    struct kith_hook_result result =
        run_with("sleep 30 & echo $!; trap 'kill $!; echo term; exit 0' TERM; wait", 1000,
                 LIMIT_MS, -1);
    assert_end(&result, KITH_HOOK_TOO_LONG, 0);
    assert_true(result.took_ms >= 1000 && result.took_ms < 10000);
    assert_non_null(strstr(told, "term\n"));
    assert_gone((pid_t)strtol(told, NULL, 10));
    result = run_with("trap '' TERM; (trap '' TERM; sleep 30) & echo $!; "
                      "while :; do sleep 0.05; done",
                      700, 200, -1);
    assert_end(&result, KITH_HOOK_TOO_LONG, 0);
    assert_true(result.took_ms >= 900 && result.took_ms < 10000);
    assert_gone((pid_t)strtol(told, NULL, 10));
    /* the first ends when it is told to: nobody waits for the second */
    result = run_with("(trap '' TERM; exec sh -c 'echo $$; exec sleep 30') & sleep 30", 1000,
                      LIMIT_MS, -1);
    assert_end(&result, KITH_HOOK_TOO_LONG, 0);
    assert_true(result.took_ms < 10000);
    assert_gone((pid_t)strtol(told, NULL, 10));
    result = run_with("yes", 300, LIMIT_MS, -1);
    assert_end(&result, KITH_HOOK_TOO_LONG, 0);
}

struct stopper {
    int fd;
    uint32_t after_ms;
};

static void *stop_later(void *arg)
{
    const struct stopper *stopper = arg;
    const struct timespec pause = {0, (long)stopper->after_ms * 1000000};
    const uint64_t one = 1;
    nanosleep(&pause, NULL);
    assert_int_equal(write(stopper->fd, &one, sizeof one), sizeof one);
    return NULL;
}

static struct kith_hook_result stopped(const char *script, uint32_t limit_ms, uint32_t after_ms)
{
    pthread_t thread;
    struct stopper stopper = {eventfd(0, EFD_CLOEXEC), after_ms};
    assert_true(stopper.fd >= 0);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
    struct kith_hook_result result = run_with(script, limit_ms, 300, stopper.fd);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(stopper.fd);
    return result;
}

static void test_stop(void **state)
{
    (void)state;
    struct kith_hook_result result = stopped("exec sleep 30", LIMIT_MS, 100);
    assert_end(&result, KITH_HOOK_STOPPED, 0);
    assert_true(result.took_ms < 10000);
    result = stopped("trap '' TERM; while :; do sleep 0.05; done", LIMIT_MS, 700);
    assert_end(&result, KITH_HOOK_STOPPED, 0);
    assert_true(result.took_ms >= 900 && result.took_ms < 10000);
    /* while it is being ended already */
    result = stopped("trap '' TERM; while :; do sleep 0.05; done", 100, 200);
    assert_end(&result, KITH_HOOK_TOO_LONG, 0);
    assert_true(result.took_ms < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),   cmocka_unit_test(test_not_run),
        cmocka_unit_test(test_output), cmocka_unit_test(test_finds),
        cmocka_unit_test(test_signals), cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
