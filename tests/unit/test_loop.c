/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The end of the threads that read the kernel's requests, with a pipe in the kernel's place. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/requests/requests.h"

#define THREADS 4
#define LATE_S  20 /* then the test is ended from outside: the loop hangs */

struct place {
    struct fuse_session *session;
    int ends[2];
    struct kith_error error;
};

static atomic_int reading; /* threads in a read that waits, so far */
static int told_first;     /* errno of the read that meets the end; ENODEV for those after it */
static int told_then;

/* Nothing comes, until the other end is closed: then the kernel has unmounted. */
static ssize_t read_pipe(int fd, void *buf, size_t size, void *userdata)
{
    (void)userdata;
    reading++;
    ssize_t got = read(fd, buf, size);
    if (got == 0) {
        errno = told_first;
        told_first = told_then;
        return -1;
    }
    return got;
}

static ssize_t write_nothing(int fd, struct iovec *parts, int count, void *userdata)
{
    (void)fd;
    (void)parts;
    (void)count;
    (void)userdata;
    errno = ENODEV;
    return -1;
}

static int set_up(void **state)
{
    static const struct fuse_custom_io io = {.read = read_pipe, .writev = write_nothing};
    static struct place place;
    static char name[] = "test";
    char *words[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, words);
    reading = 0;
    told_first = told_then = ENODEV;
    place.session = fuse_session_new(&args, &kith_fs_ops, sizeof kith_fs_ops, NULL);
    fuse_opt_free_args(&args); /* libfuse's own by now */
    if (place.session == NULL || pipe(place.ends) != 0 ||
        fuse_session_custom_io(place.session, &io, place.ends[0]) != 0 ||
        kith_loop_signals(place.session, &place.error) != KITH_OK) {
        return -1;
    }
    (void)alarm(LATE_S);
    *state = &place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    (void)alarm(0);
    kith_loop_signals_end();
    fuse_session_destroy(place->session); /* closes ends[0] */
    if (place->ends[1] >= 0) {
        close(place->ends[1]);
    }
    return 0;
}

static void await_reader(void)
{
    const struct timespec moment = {0, 1000000};
    while (reading == 0) {
        nanosleep(&moment, NULL);
    }
}

static void *send_term(void *arg)
{
    await_reader();
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    return arg;
}

static void *hang_up(void *arg)
{
    struct place *place = arg;
    await_reader();
    close(place->ends[1]);
    place->ends[1] = -1;
    return NULL;
}

static void run_loop(struct place *place, void *(*ends_it)(void *))
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ends_it, place), 0);
    assert_int_equal(kith_loop(place->session, THREADS), 0);
    pthread_join(thread, NULL);
}

static void test_unmounted(void **state)
{
    run_loop(*state, hang_up);
}

/* A request was just being read. */
static void test_unmounted_while_reading(void **state)
{
    told_first = ECONNABORTED;
    run_loop(*state, hang_up);
}

/* By a write into the connection's file "abort": no unmounting, and said to be none. */
static void test_aborted(void **state)
{
    struct place *place = *state;
    pthread_t thread;
    told_first = told_then = ECONNABORTED;
    assert_int_equal(pthread_create(&thread, NULL, hang_up, place), 0);
    assert_int_equal(kith_loop(place->session, THREADS), ECONNABORTED);
    pthread_join(thread, NULL);
}

static void test_signal(void **state)
{
    run_loop(*state, send_term);
}

/* The kernel gives it to any thread that does not block it. */
static void test_signal_elsewhere(void **state)
{
    struct place *place = *state;
    sigset_t term;
    pthread_t thread;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    assert_int_equal(pthread_create(&thread, NULL, send_term, place), 0);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &term, NULL), 0);
    assert_int_equal(kith_loop(place->session, THREADS), 0);
    assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &term, NULL), 0);
    pthread_join(thread, NULL);
}

static void test_signal_before(void **state)
{
    struct place *place = *state;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(kith_loop(place->session, THREADS), 0);
}

/* The user has used up RLIMIT_SIGPENDING: the kernel sends no signals of real time any more. */
static void test_no_signals_left(void **state)
{
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_SIGPENDING, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &none), 0);
    run_loop(*state, send_term);
    assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &before), 0);
}

/* Who has it ignored, as nohup does, keeps it so. */
static void test_ignored(void **state)
{
    struct place *place = *state;
    struct sigaction now;
    kith_loop_signals_end();
    (void)signal(SIGHUP, SIG_IGN);
    assert_int_equal(kith_loop_signals(place->session, &place->error), KITH_OK);
    assert_int_equal(sigaction(SIGHUP, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_IGN);
    kith_loop_signals_end();
    (void)signal(SIGHUP, SIG_DFL);
    assert_int_equal(sigaction(SIGTERM, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_DFL);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_unmounted),        CASE(test_unmounted_while_reading),
        CASE(test_aborted),          CASE(test_signal),
        CASE(test_signal_elsewhere), CASE(test_signal_before),
        CASE(test_no_signals_left),  CASE(test_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
