/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_supervisor.c - what is told, as datagrams that arrive at a socket of this test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shell/supervisor.h"

static int heard = -1; /* where systemd would listen */
static char text[4096];

static int setup(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int size = snprintf(name, sizeof name, "@kith-test-supervisor-%ld", (long)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)size - 1); /* '@' stands for the NUL */
    heard = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(heard >= 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size);
    assert_int_equal(bind(heard, (struct sockaddr *)&address, length), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return close(heard);
}

/* The next datagram, "" when there is none: a datagram of AF_UNIX is there when it has been sent. */
static const char *hear(void)
{
    ssize_t size = recv(heard, text, sizeof text - 1, 0);
    assert_true(size >= 0 || errno == EAGAIN);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

static void watchdog(const char *limit_us, long pid)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%ld", pid);
    assert_int_equal(setenv("WATCHDOG_USEC", limit_us, 1), 0);
    assert_int_equal(setenv("WATCHDOG_PID", number, 1), 0);
}

static void states_are_told(void **state)
{
    (void)state;
    struct kith_supervisor supervisor;
    char large[2 * KITH_ERROR_MESSAGE_SIZE];
    kith_supervisor_init(&supervisor);
    kith_supervisor_ready(&supervisor, "n1:7070");
    assert_string_equal(hear(), "READY=1\nSTATUS=Listening on n1:7070");
    kith_supervisor_say("Serving on %s", "n1:7070");
    assert_string_equal(hear(), "STATUS=Serving on n1:7070");
    kith_supervisor_say("a peer said: %s", "no\nREADY=1");
    assert_string_equal(hear(), "STATUS=a peer said: no READY=1");
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    kith_supervisor_say("%s", large);
    assert_int_equal(strlen(hear()), strlen("STATUS=") + KITH_ERROR_MESSAGE_SIZE - 1);
    kith_supervisor_stopping();
    assert_string_equal(hear(), "STOPPING=1\nSTATUS=Ending");
    assert_string_equal(hear(), "");
}

static void fed_by_turns_alone(void **state)
{
    (void)state;
    struct kith_supervisor supervisor;
    watchdog("3000000", (long)getpid());
    kith_supervisor_init(&supervisor);
    kith_supervisor_ready(&supervisor, "n1:7070");
    assert_string_equal(hear(), "READY=1\nSTATUS=Listening on n1:7070");
    assert_string_equal(hear(), "");
    assert_int_equal(kith_supervisor_turn(&supervisor, 50000), 51000);
    assert_string_equal(hear(), "WATCHDOG=1");
    for (uint64_t now_ms = 50000; now_ms < 51000; now_ms += 10) { /* not at every turn */
        assert_int_equal(kith_supervisor_turn(&supervisor, now_ms), 51000);
        assert_string_equal(hear(), "");
    }
    assert_int_equal(kith_supervisor_turn(&supervisor, 51000), 52000);
    assert_string_equal(hear(), "WATCHDOG=1");
    assert_string_equal(hear(), "");
    assert_int_equal(kith_supervisor_turn(&supervisor, 57000), 58000); /* it was late: once */
    assert_string_equal(hear(), "WATCHDOG=1");
    assert_string_equal(hear(), "");
}

/* None asked for, another process's, nonsense, too tight. */
static void no_watchdog(void **state)
{
    (void)state;
    static const char *const limits[] = {NULL, "3000000", "soon", "0", "1999", ""};
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct kith_supervisor supervisor;
        if (limits[i] != NULL) {
            watchdog(limits[i], i == 1 ? (long)getppid() : (long)getpid());
        }
        kith_supervisor_init(&supervisor);
        assert_int_equal(kith_supervisor_turn(&supervisor, 1), UINT64_MAX);
        assert_string_equal(hear(), "");
    }
}

static void a_tight_watchdog(void **state)
{
    (void)state;
    struct kith_supervisor supervisor;
    watchdog("2000", (long)getpid());
    kith_supervisor_init(&supervisor);
    assert_int_equal(kith_supervisor_turn(&supervisor, 7), 8);
    assert_string_equal(hear(), "WATCHDOG=1");
}

/* Nobody listens any more, or nobody ever did: told to nobody, and kithd goes on. */
static void without_supervisor(void **state)
{
    (void)state;
    struct kith_supervisor supervisor;
    watchdog("3000000", (long)getpid());
    kith_supervisor_init(&supervisor);
    assert_int_equal(setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1), 0);
    kith_supervisor_ready(&supervisor, "n1:7070");
    assert_int_equal(kith_supervisor_turn(&supervisor, 50000), 51000);
    unsetenv("NOTIFY_SOCKET");
    kith_supervisor_say("still there");
    kith_supervisor_stopping();
    assert_string_equal(hear(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(states_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(fed_by_turns_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(no_watchdog, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tight_watchdog, setup, teardown),
        cmocka_unit_test_setup_teardown(without_supervisor, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
