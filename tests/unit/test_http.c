/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "metrics/http.h"

static struct kith_http *http;
static char address[KITH_HTTP_ADDRESS_SIZE];
static uint32_t answers;
static char said[65536];

static void answer(void *arg, const char *path, struct kith_http_answer *answer)
{
    (void)arg;
    answers++;
    answer->type = "text/plain";
    if (strcmp(path, "/fails") == 0) {
        answer->body.failed = true;
    } else if (strcmp(path, "/none") == 0) {
        answer->status = 404;
    }
    kith_buf_put(&answer->body, path, strlen(path));
}

static int setup(void **state)
{
    struct kith_error error;
    (void)state;
    assert_int_equal(kith_http_start("127.0.0.1:0", answer, NULL, &http, address, &error), KITH_OK);
    answers = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kith_http_stop(http);
    return 0;
}

static int open_one(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct timeval limit = {20, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* All that comes until the end of the connection; its status, 0 without an answer. */
static int hear(int fd)
{
    size_t size = 0;
    ssize_t got = 0;
    while (size < sizeof said - 1 && (got = recv(fd, said + size, sizeof said - 1 - size, 0)) > 0) {
        size += (size_t)got;
    }
    said[size] = '\0';
    int status = 0;
    (void)sscanf(said, "HTTP/1.%*d %d", &status);
    return status;
}

static int ask(const char *request)
{
    int fd = open_one();
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    int status = hear(fd);
    (void)close(fd);
    return status;
}

#define REQUEST(method, path) method " " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static void test_get(void **state)
{
    (void)state;
    assert_int_equal(ask(REQUEST("GET", "/a%20b?x=1")), 200);
    assert_non_null(strstr(said, "\r\n\r\n/a b"));
    assert_non_null(strstr(said, "\r\nContent-Security-Policy: default-src 'none';"));
    assert_non_null(strstr(said, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(said, "\r\nX-Frame-Options: DENY\r\n"));
    assert_non_null(strstr(said, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(said, "\r\nConnection: close\r\n"));
    assert_int_equal(ask(REQUEST("HEAD", "/a")), 200);
    assert_non_null(strstr(said, "\r\nContent-Length: 2\r\n"));
    assert_string_equal(strstr(said, "\r\n\r\n"), "\r\n\r\n");
    assert_int_equal(ask(REQUEST("GET", "/none")), 404);
    assert_int_equal(ask(REQUEST("GET", "/fails")), 500);
    assert_int_equal(answers, 4);
}

/* Nobody writes anything here, and nothing that is no request gets an answer made. */
static void test_refused(void **state)
{
    static const char *const wrong[] = {
        REQUEST("DELETE", "/a"),
        REQUEST("OPTIONS", "/a"),
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        "PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(ask(wrong[i]), 405);
        assert_non_null(strstr(said, "\r\nAllow: GET, HEAD\r\n"));
    }
    assert_int_not_equal(
        ask("GET /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"), 200);
    assert_int_not_equal(ask("\x16\x03\x01\x02 no http at all\r\n\r\n"), 200);
    assert_int_equal(ask("GET a HTTP/1.0\r\n\r\n"), 400);
    assert_int_equal(ask(REQUEST("GET", "http://localhost/a")), 400);
    assert_int_equal(answers, 0);
    static char large[3 * KITH_HTTP_REQUEST_MAX];
    int size = snprintf(large, sizeof large, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(large + size, 'x', sizeof large - 1 - (size_t)size);
    int fd = open_one();
    (void)!send(fd, large, sizeof large - 1, MSG_NOSIGNAL); /* it may not even be read */
    assert_int_not_equal(hear(fd), 200);
    (void)close(fd);
    assert_int_equal(answers, 0);
    assert_int_equal(ask(REQUEST("GET", "/still")), 200);
}

/* A name of the web that leads here does not open this page to that web's scripts. */
static void test_host(void **state)
{
    static const struct {
        const char *host;
        int status;
    } cases[] = {{"localhost", 200},          {"localhost:9470", 200}, {"127.0.0.1:80", 200},
                 {"[::1]:9470", 200},         {"10.1.2.3", 200},       {"evil.example", 421},
                 {"evil.example:9470", 421},  {"localhost.evil", 421}, {"127.0.0.1.evil", 421},
                 {"[::1", 421}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[200];
        (void)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
                       cases[i].host);
        assert_int_equal(ask(request), cases[i].status);
    }
}

/* One who opens all that he may, and says nothing, or a byte now and then, does not stay. */
static void test_many(void **state)
{
    (void)state;
    int fds[KITH_HTTP_PER_ADDRESS + 8];
    uint64_t begun_s = (uint64_t)time(NULL);
    for (uint32_t i = 0; i < KITH_HTTP_PER_ADDRESS + 8; i++) {
        fds[i] = open_one();
        (void)!send(fds[i], "GET / HT", 8, MSG_NOSIGNAL);
    }
    char byte; /* the last one is not let in */
    assert_true(recv(fds[KITH_HTTP_PER_ADDRESS + 7], &byte, 1, 0) <= 0);
    kith_http_tick(http, 0); /* they have lived long enough */
    for (uint32_t i = 0; i < KITH_HTTP_PER_ADDRESS + 8; i++) {
        (void)hear(fds[i]);
        (void)close(fds[i]);
    }
    assert_true((uint64_t)time(NULL) < begun_s + KITH_HTTP_IDLE_S - 2); /* not for their silence */
    assert_int_equal(answers, 0);
    /* there is room again as soon as the server has seen them go */
    const struct timespec tick = {0, 1000000};
    int status = ask(REQUEST("GET", "/again"));
    while (status == 0 && (uint64_t)time(NULL) < begun_s + KITH_HTTP_IDLE_S) {
        (void)nanosleep(&tick, NULL);
        status = ask(REQUEST("GET", "/again"));
    }
    assert_int_equal(status, 200);
}

static void test_listen(void **state)
{
    static const char *const wrong[] = {"",       "localhost", ":80",      "a:",     "a:b",
                                        "a:70000", "::1:80",    "[]:80", "a:1x", "a:-1", "yes"};
    (void)state;
    struct kith_error error;
    struct kith_http *other = NULL;
    char where[KITH_HTTP_ADDRESS_SIZE];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(kith_http_check(wrong[i], &error), KITH_EINVAL);
        assert_int_equal(kith_http_start(wrong[i], answer, NULL, &other, where, &error),
                         KITH_EINVAL);
    }
    assert_int_equal(kith_http_check("[::1]:9470", &error), KITH_OK);
    assert_int_equal(kith_http_check("node.example:0", &error), KITH_OK);
    assert_int_equal(kith_http_start(address, answer, NULL, &other, where, &error), KITH_EBUSY);
    assert_non_null(strstr(error.message, address));
    assert_int_equal(kith_http_start("192.0.2.1:0", answer, NULL, &other, where, &error), KITH_EIO);
    if (kith_http_start("[::1]:0", answer, NULL, &other, where, &error) == KITH_OK) {
        assert_int_equal(strncmp(where, "[::1]:", 6), 0);
        kith_http_stop(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listen, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
