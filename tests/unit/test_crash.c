/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The last words of a process: each case ends a child of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crash.h"
#include "base/log.h"

static char dir[] = "/tmp/kith-test-crash-XXXXXX";
static char log_path[64], told_path[64];

static void slurp(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* Runs `die` in a child with a log and (told) a file that it is to tell; its status. */
static int child_status(void (*die)(void), bool told)
{
    unlink(log_path);
    unlink(told_path);
    int fd = open(told_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    pid_t child = fork();
    if (child == 0) {
        struct kith_error error;
        if (kith_log_open(log_path, &error) != KITH_OK) {
            _exit(100);
        }
        kith_crash_init("program");
        if (told) {
            kith_crash_file(fd);
        }
        die();
        _exit(101);
    }
    close(fd);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void die_by_assertion(void)
{
    int one = 1;
    KITH_ASSERT(one == 2);
}

/* Another process sends it. */
static void die_by_quit(void)
{
    kill(getpid(), SIGQUIT);
    for (;;) {
        pause();
    }
}

/* A thread's own; cmocka and sanitizers keep the others for themselves. */
static void die_by_fault(void)
{
    raise(SIGTRAP);
}

static void die_by_term(void)
{
    raise(SIGTERM);
}

static void an_assertion_is_in_the_log(void **state)
{
    (void)state;
    char text[1024];
    int status = child_status(die_by_assertion, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    slurp(log_path, text, sizeof text);
    assert_non_null(strstr(text, "Z error assert: "));
    assert_non_null(strstr(text, "test_crash.c:"));
    assert_non_null(strstr(text, "die_by_assertion: assertion failed: one == 2\n"));
    assert_non_null(strstr(text, "\nerror program: ended by SIGABRT\n"));
    slurp(told_path, text, sizeof text);
    assert_string_equal(text, "1");
}

static void a_signal_still_ends_it(void **state)
{
    (void)state;
    char text[1024];
    int status = child_status(die_by_quit, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    slurp(log_path, text, sizeof text);
    assert_string_equal(text, "error program: ended by SIGQUIT\n");
    slurp(told_path, text, sizeof text);
    assert_string_equal(text, "1");
}

static void without_a_file_nothing_is_told(void **state)
{
    (void)state;
    char text[1024];
    int status = child_status(die_by_fault, false);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
    slurp(log_path, text, sizeof text);
    assert_string_equal(text, "error program: ended by SIGTRAP\n");
    slurp(told_path, text, sizeof text);
    assert_string_equal(text, "");
}

static void an_orderly_end_is_none(void **state)
{
    (void)state;
    char text[1024];
    int status = child_status(die_by_term, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    slurp(log_path, text, sizeof text);
    assert_string_equal(text, "");
    slurp(told_path, text, sizeof text);
    assert_string_equal(text, "");
}

static atomic_int fault_tid;

static void *fault(void *arg)
{
    atomic_store(&fault_tid, gettid());
    raise(SIGTRAP);
    return arg;
}

/* A thread that comes to its end, and waits in writing to the file. */
static bool start_fault(void)
{
    pthread_t thread;
    char path[64], text[256] = "";
    atomic_store(&fault_tid, 0);
    if (pthread_create(&thread, NULL, fault, NULL) != 0) {
        return false;
    }
    while (strstr(text, ") S ") == NULL) {
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&fault_tid));
        FILE *file = atomic_load(&fault_tid) != 0 ? fopen(path, "r") : NULL;
        if (file != NULL) {
            text[fread(text, 1, sizeof text - 1, file)] = '\0';
            fclose(file);
        }
    }
    return true;
}

/* Two threads come to their end while the file takes nothing: neither ends the process before the
 * file was told. */
static _Noreturn void die_twice(const int ends[2])
{
    struct kith_error error;
    char byte = '0';
    ssize_t count = 0;
    (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], &byte, 1) == 1) {
        count++;
    }
    (void)fcntl(ends[1], F_SETFL, 0);
    if (kith_log_open(log_path, &error) != KITH_OK) {
        _exit(100);
    }
    kith_crash_init("program");
    kith_crash_file(ends[1]);
    if (!start_fault() || !start_fault()) {
        _exit(101);
    }
    for (; count > 0; count--) {
        if (read(ends[0], &byte, 1) != 1) {
            _exit(102);
        }
    }
    for (;;) {
        pause();
    }
}

static void the_second_to_die_waits_for_the_first(void **state)
{
    (void)state;
    int ends[2], status = 0;
    char byte, last = '\0';
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        die_twice(ends);
    }
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
    while (read(ends[0], &byte, 1) == 1) {
        last = byte;
    }
    close(ends[0]);
    assert_int_equal(last, '1');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_assertion_is_in_the_log),
        cmocka_unit_test(a_signal_still_ends_it),
        cmocka_unit_test(without_a_file_nothing_is_told),
        cmocka_unit_test(an_orderly_end_is_none),
        cmocka_unit_test(the_second_to_die_waits_for_the_first),
    };
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(told_path, sizeof told_path, "%s/told", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(log_path);
    unlink(told_path);
    rmdir(dir);
    return failed;
}
