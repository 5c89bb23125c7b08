/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The three standard files, in children that lack some of them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/stdfd.h"

static bool is_null(int fd)
{
    struct stat status, null;
    return fstat(fd, &status) == 0 && stat("/dev/null", &null) == 0 &&
           status.st_rdev == null.st_rdev && S_ISCHR(status.st_mode);
}

/* Bit N of `closed`: descriptor N is. 0: all is as it should be; else what is not. */
static int look(unsigned closed)
{
    struct kith_error error;
    int pipe_fds[2];
    if (pipe(pipe_fds) != 0) {
        return 1;
    }
    for (int fd = 0; fd <= STDERR_FILENO; fd++) { /* nothing here is /dev/null yet */
        if (dup2(pipe_fds[1], fd) < 0 || ((closed & 1u << fd) != 0 && close(fd) != 0)) {
            return 2;
        }
    }
    int next = dup(pipe_fds[1]);
    close(next);
    if (kith_stdfd_init(&error) != KITH_OK) {
        return 3;
    }
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (is_null(fd) != ((closed & 1u << fd) != 0) || fcntl(fd, F_GETFD) != 0) {
            return 4;
        }
    }
    int after = dup(pipe_fds[1]); /* nothing else stays open */
    return after <= STDERR_FILENO || (closed == 0 && after != next) ? 5 : 0;
}

static void test_closed(void **state)
{
    (void)state;
    for (unsigned closed = 0; closed < 8; closed++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            _exit(look(closed));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_closed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
