/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard of a mount, with connections that nobody serves: whose it ends, and when. Each case has
 * a process of its own for the guarded one. tests/integration/test_guard.sh shows what it is for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/mount/guard.h"

#define WAIT_MS 10000

static char dir[] = "/tmp/kith-test-guard-XXXXXX";

/* A connection with nothing behind it, mounted at `dir`, on top of what is there; -1: may not. */
static int mount_one(void)
{
    char options[128];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    (void)snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (fd >= 0 && mount("test", dir, "fuse.kith-test", MS_NODEV | MS_NOSUID, options) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void need_mounts(void)
{
    int fd = mount_one();
    if (fd < 0) {
        skip();
    }
    close(fd);
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
}

static bool is_ended(int fd, int wait_ms)
{
    struct pollfd file = {.fd = fd, .events = 0};
    return poll(&file, 1, wait_ms) == 1 && (file.revents & POLLERR) != 0;
}

static bool tells_connections(int fd)
{
    char path[64], info[512];
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(path, "re");
    size_t size = file != NULL ? fread(info, 1, sizeof info - 1, file) : 0;
    info[size] = '\0';
    if (file != NULL) {
        fclose(file);
    }
    return strstr(info, "fuse_connection:") != NULL;
}

static void test_its_own_connection(void **state)
{
    (void)state;
    need_mounts();
    struct kith_guard *guard = NULL;
    struct kith_error error;
    assert_int_equal(kith_guard_new(&guard, &error), KITH_OK);
    assert_false(kith_guard_stands(guard));
    int ours = mount_one(), over = mount_one(); /* by another, before we have looked */
    bool told = tells_connections(ours);
    if (told) {
        assert_int_equal(kith_guard_arm(guard, ours, dir, &error), KITH_OK);
        assert_true(kith_guard_stands(guard));
        kith_guard_abort(guard);
        assert_true(is_ended(ours, WAIT_MS));
    }
    kith_guard_free(guard);
    assert_false(is_ended(over, 0));
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    close(ours);
    close(over);
    if (!told) {
        skip();
    }
}

static pid_t only_child(void)
{
    char path[64];
    long child = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &child), 1);
    fclose(file);
    return (pid_t)child;
}

static pid_t stopped;
static volatile sig_atomic_t late;

static void on_alarm(int number)
{
    (void)number;
    late = 1;
    (void)kill(stopped, SIGCONT);
}

/* It is waited for at the end, but not for good. */
static void test_stopped_guard(void **state)
{
    (void)state;
    need_mounts();
    struct kith_guard *guard = NULL;
    struct kith_error error;
    int status = 0, fd = mount_one();
    assert_int_equal(kith_guard_new(&guard, &error), KITH_OK);
    assert_int_equal(kith_guard_arm(guard, fd, dir, &error), KITH_OK);
    stopped = only_child();
    assert_int_equal(kill(stopped, SIGSTOP), 0);
    assert_int_equal(waitpid(stopped, &status, WUNTRACED), stopped);
    assert_true(WIFSTOPPED(status));
    (void)signal(SIGALRM, on_alarm);
    (void)alarm(WAIT_MS / 1000);
    kith_guard_free(guard);
    (void)alarm(0);
    assert_false(late);
    assert_int_equal(waitpid(stopped, NULL, WNOHANG), -1); /* and no zombie is left */
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    close(fd);
}

static void *stay(void *arg)
{
    (void)pause();
    return arg;
}

/* What is left of a killed process is a thread that cannot end; here one that only sleeps. */
static _Noreturn void lose_first_thread(int ready)
{
    struct kith_guard *guard = NULL;
    struct kith_error error;
    const struct rlimit none = {0, 0};
    pthread_t thread;
    int fd = mount_one();
    if (setrlimit(RLIMIT_SIGPENDING, &none) != 0 || fd < 0 ||
        kith_guard_new(&guard, &error) != KITH_OK ||
        kith_guard_arm(guard, fd, dir, &error) != KITH_OK ||
        pthread_create(&thread, NULL, stay, NULL) != 0 || write(ready, "r", 1) != 1) {
        _exit(1);
    }
    pthread_exit(NULL);
}

/* The guard is told though the process is there, and has used up its signals. */
static void test_first_thread_ends(void **state)
{
    (void)state;
    need_mounts();
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        lose_first_thread(ends[1]);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    /* the connection is ended: a call that waits for it fails */
    pid_t caller = fork();
    if (caller == 0) {
        _exit(access(dir, R_OK) != 0 && open(dir, O_RDONLY) < 0 ? 0 : 1);
    }
    int status = -1;
    for (int waited = 0; waited < WAIT_MS && waitpid(caller, &status, WNOHANG) == 0; waited++) {
        const struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    bool there = waitpid(child, NULL, WNOHANG) == 0;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (status == -1) {
        waitpid(caller, NULL, 0);
    }
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    assert_true(there);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_its_own_connection),
        cmocka_unit_test(test_stopped_guard),
        cmocka_unit_test(test_first_thread_ends),
    };
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    while (umount2(dir, MNT_DETACH) == 0) { /* of a case that has failed */
    }
    rmdir(dir);
    return failed;
}
