/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_rpc_accept.c - a listener under connections of nobody: gRPC's accept4 is ours, descriptors
 * are left, and who belongs here is served, meanwhile and afterwards. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/rpc_ends.h"
#include "rpc/rpc_impl.h"

#define FILES_MAX 200u
#define STRANGERS 600u

static struct rlimit before;

static int start(void **state)
{
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {FILES_MAX, before.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &few);
}

static int stop(void **state)
{
    (void)state;
    return setrlimit(RLIMIT_NOFILE, &before);
}

static struct sockaddr_in at(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    return to;
}

/* A process that connects so often, says nothing, and waits until it is told to end: 'g' when it is
 * through. */
static pid_t strangers(const char *address, int tell[2], int told[2])
{
    assert_int_equal(pipe(tell), 0);
    assert_int_equal(pipe(told), 0);
    struct sockaddr_in to = at(address);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        close(told[1]);
        close(tell[0]);
        return pid;
    }
    const struct rlimit many = {before.rlim_max < 4096 ? before.rlim_max : 4096, before.rlim_max};
    char byte = 'g';
    (void)setrlimit(RLIMIT_NOFILE, &many);
    close(tell[1]);
    for (uint32_t i = 0; i < STRANGERS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
            byte = 'b';
        }
    }
    (void)!write(told[1], &byte, 1);
    (void)!read(tell[0], &byte, 1); /* its end */
    _exit(0);
}

static void dial(struct pair *pair)
{
    uint64_t conn = 0;
    assert_int_equal(kith_rpc_connect(pair->client.rpc, pair->address, KITH_RPC_ROWS, &conn, NULL),
                     KITH_OK);
}

static void ask(struct pair *pair, uint64_t id)
{
    struct kith_msg msg = end_ping(id);
    assert_int_equal(kith_rpc_send(pair->client.rpc, pair->conn, &msg), KITH_OK);
    end_wait(&pair->client, &pair->client.messages, (uint32_t)id + 1);
}

static void test_flood(void **state)
{
    (void)state;
    struct pair pair;
    int tell[2], told[2];
    char byte = 0;
    uint32_t total, unknown;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    end_echo(&pair.server);
    ask(&pair, 0);
    rpc_door_count(pair.server.rpc, &total, &unknown);
    assert_int_equal(total, 1);
    assert_int_equal(unknown, 0); /* he has opened a stream */
    pid_t pid = strangers(pair.address, tell, told);
    assert_int_equal(read(told[0], &byte, 1), 1);
    assert_int_equal(byte, 'g');
    ask(&pair, 1);
    /* most were refused, and half of all descriptors is left */
    rpc_door_count(pair.server.rpc, &total, &unknown);
    assert_in_range(total, 2, FILES_MAX / 2 / 2);
    assert_in_range(unknown, 1, FILES_MAX / 2 / 4);
    int fds[FILES_MAX / 4];
    for (size_t i = 0; i < FILES_MAX / 4; i++) {
        fds[i] = open("/dev/null", O_RDONLY);
        assert_true(fds[i] >= 0);
    }
    for (size_t i = 0; i < FILES_MAX / 4; i++) {
        close(fds[i]);
    }
    close(tell[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(told[0]);
    ask(&pair, 2);
    /* the listener lives: they are gone, and who comes is let in soon */
    kith_rpc_close(pair.client.rpc, pair.conn, "again");
    end_wait(&pair.client, &pair.client.closed, 1);
    double until = end_now_ms() + 1e3 * WAIT_MAX_S;
    uint32_t closed = 1;
    for (bool in = false; !in;) {
        assert_true(end_now_ms() < until);
        dial(&pair);
        end_lock(&pair.client);
        in = pair.client.opened > 1; /* it may have come before the lock */
        while (!in && pair.client.closed == closed) {
            pthread_cond_wait(&pair.client.changed, &pair.client.lock);
            in = pair.client.opened > 1;
        }
        closed = pair.client.closed;
        end_unlock(&pair.client);
    }
    end_stop(&pair.client);
    end_stop(&pair.server);
}

/* Where no descriptor is left at all, by other files of the process: gRPC alone would never accept
 * again. */
static void test_none_left(void **state)
{
    (void)state;
    struct pair pair;
    int fds[FILES_MAX];
    size_t count = 0;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    struct sockaddr_in to = at(pair.address);
    int stranger = socket(AF_INET, SOCK_STREAM, 0);
    while ((fds[count] = open("/dev/null", O_RDONLY)) >= 0) {
        count++;
    }
    assert_int_equal(errno, EMFILE);
    assert_int_equal(connect(stranger, (struct sockaddr *)&to, sizeof to), 0);
    struct pollfd wait = {.fd = stranger, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, WAIT_MAX_S * 1000), 1); /* it was accepted, and reset */
    char byte;
    assert_int_equal(recv(stranger, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    while (count > 0) {
        close(fds[--count]);
    }
    close(stranger);
    stranger = socket(AF_INET, SOCK_STREAM, 0); /* a new one gets gRPC's first bytes */
    assert_int_equal(connect(stranger, (struct sockaddr *)&to, sizeof to), 0);
    wait.fd = stranger;
    assert_int_equal(poll(&wait, 1, WAIT_MAX_S * 1000), 1);
    assert_int_equal(recv(stranger, &byte, 1, 0), 1);
    close(stranger);
    pair_stop(&pair);
}

/* Listeners that are not ours are the kernel's. */
static void test_others(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair, KITH_RPC_ROWS, NULL);
    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof own;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&own, size), 0);
    assert_int_equal(listen(listener, 100), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&own, &size), 0);
    for (uint32_t i = 0; i < 100; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&own, sizeof own), 0);
        int got = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(got >= 0);
        close(got);
        close(fd);
    }
    assert_int_equal(accept4(listener, NULL, NULL, 0), -1);
    assert_int_equal(errno, EAGAIN);
    close(listener);
    pair_stop(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_left),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_flood),
    };
    int failed = cmocka_run_group_tests_name("with queue threads", tests, start, stop);
    ends_driven = true;
    return failed + cmocka_run_group_tests_name("driven", tests, start, stop);
}
