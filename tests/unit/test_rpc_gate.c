/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_rpc_gate.c - how many are let in, from where, how fast, and that who has gone is not
 * counted. Descriptors are real ones, of socket pairs; places and times are made up. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/rpc_gate.h"

#define FDS 600u

static const struct rpc_gate_limits small = {
    .total = 64, .each = 32, .unknown = 24, .unknown_each = 12, .descriptors = 4096};

static struct rpc_gate *gate;
static uint64_t now_ms = 1000000;

static void gate_start(const struct rpc_gate_limits *limits)
{
    assert_int_equal(rpc_gate_new(limits, &gate), KITH_OK);
    now_ms += 3600000;
}

static struct rpc_place place_at(const char *text)
{
    struct rpc_place place;
    if (!rpc_place_parse(text, &place)) {
        fail_msg("'%s' is no place", text);
    }
    return place;
}

/* The address a.b.0.n, one port each. */
static struct rpc_place place_no(uint32_t from, uint32_t port)
{
    char text[64];
    (void)snprintf(text, sizeof text, "ipv4:10.0.%u.%u:%u", from / 256, from % 256, port);
    return place_at(text);
}

static int open_fd(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    return pair[0];
}

/* Lets in as many as may come from there; those that are refused are closed. */
static uint32_t fill_up(uint32_t from, uint32_t tries, int fds[])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < tries; i++) {
        struct rpc_place place = place_no(from, 1000 + i);
        int fd = open_fd();
        if (rpc_gate_enter(gate, fd, &place, now_ms)) {
            close(fd);
        } else {
            fds[count++] = fd;
        }
    }
    return count;
}

static void close_all(const int fds[], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void counts(uint32_t total, uint32_t unknown)
{
    uint32_t has_total, has_unknown;
    rpc_gate_count(gate, &has_total, &has_unknown);
    assert_int_equal(has_total, total);
    assert_int_equal(has_unknown, unknown);
}

static void test_limits(void **state)
{
    (void)state;
    struct rpc_gate_limits limits;
    rpc_gate_limits_for(300, &limits);
    assert_int_equal(limits.total, 150);
    assert_int_equal(limits.each, 75);
    assert_int_equal(limits.unknown, 75);
    assert_int_equal(limits.unknown_each, 37);
    assert_int_equal(limits.descriptors, 225);
    rpc_gate_limits_for(UINT64_MAX, &limits); /* RLIM_INFINITY */
    assert_int_equal(limits.total, RPC_GATE_TOTAL_MAX);
    assert_int_equal(limits.unknown, RPC_GATE_UNKNOWN_MAX);
    assert_int_equal(limits.unknown_each, RPC_GATE_EACH_MAX);
    rpc_gate_limits_for(0, &limits);
    assert_int_equal(limits.total, 0);
}

static void test_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "unix:",
                                      "ipv4:1.2.3.4",
                                      "ipv4:1.2.3:5",
                                      "ipv6:[::1]",
                                      "ipv6:%5B::1:7",
                                      "ipv6:::1:7",
                                      "ipv4:1.2.3.4:0",
                                      "ipv4:1.2.3.4:99999",
                                      "ipv6:[]:7",
                                      "unix-abstract:a",
                                      "ipv6:[::1%5D:7"};
    struct rpc_place place, other;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(rpc_place_parse(bad[i], &place));
    }
    /* gRPC's words and the kernel's say the same */
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(567)};
    assert_int_equal(inet_pton(AF_INET, "1.2.3.4", &v4.sin_addr), 1);
    assert_true(rpc_place_of(0, (struct sockaddr *)&v4, &place));
    other = place_at("ipv4:1.2.3.4:567");
    assert_memory_equal(&place, &other, sizeof place);
    other = place_at("ipv6:%5B::ffff:1.2.3.4%5D:567"); /* of a listener for both */
    assert_memory_equal(&place, &other, sizeof place);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(567)};
    assert_int_equal(inet_pton(AF_INET6, "2001:db8:1:2:3:4:5:6", &v6.sin6_addr), 1);
    assert_true(rpc_place_of(0, (struct sockaddr *)&v6, &place));
    other = place_at("ipv6:%5B2001:db8:1:2::9%5D:567"); /* another address of the same subscriber */
    assert_memory_equal(&place, &other, sizeof place);
    other = place_at("ipv6:[2001:db8:1:3::9%25eth0]:567");
    assert_memory_not_equal(&place, &other, sizeof place);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    int fd = open_fd();
    assert_true(rpc_place_of(fd, (struct sockaddr *)&local, &place));
    assert_true(place.local && place.trusted); /* we made it ourselves */
    close(fd);
    struct sockaddr_storage none = {.ss_family = AF_UNSPEC};
    assert_false(rpc_place_of(0, (struct sockaddr *)&none, &place));
}

/* From one place: as many as have not said who they are; who has makes room for the next. */
static void test_unknown(void **state)
{
    (void)state;
    int fds[FDS];
    gate_start(&small);
    assert_false(rpc_gate_has_unknown(gate));
    assert_int_equal(fill_up(1, 100, fds), 12);
    counts(12, 12);
    struct rpc_place third = place_no(1, 1002);
    rpc_gate_known(gate, &third, now_ms);
    rpc_gate_known(gate, &third, now_ms); /* his second call */
    counts(12, 11);
    assert_int_equal(fill_up(1, 100, fds + 12), 1); /* and his knock has been given back, once */
    assert_int_equal(fill_up(2, 100, fds + 13), 6); /* the limit for all, but for known places */
    counts(19, 18);
    assert_int_equal(fill_up(3, 100, fds + 19), 0);
    /* all of the first place go: that is seen when room is wanted */
    close_all(fds, 13);
    now_ms += 100;
    assert_int_equal(fill_up(3, 100, fds), 12);
    counts(18, 18);
    assert_int_equal(fill_up(1, 100, fds + 19), 6); /* that one is known */
    close_all(fds, 12);
    close_all(fds + 13, 12);
    rpc_gate_free(gate);
}

/* Who is known is not slowed down, and is in as long as he likes; but no place has all. */
static void test_known(void **state)
{
    (void)state;
    int fds[FDS];
    uint32_t count = 0;
    gate_start(&small);
    for (uint32_t i = 0; i < 100; i++) {
        struct rpc_place place = place_no(1, 1000 + i);
        int fd = open_fd();
        if (rpc_gate_enter(gate, fd, &place, now_ms)) {
            close(fd);
        } else {
            fds[count++] = fd;
            rpc_gate_known(gate, &place, now_ms);
        }
    }
    assert_int_equal(count, small.each);
    counts(small.each, 0);
    /* strangers from elsewhere leave an eighth to the known */
    uint32_t strangers = 0;
    for (uint32_t i = 2; i < 60; i++) {
        strangers += fill_up(i, 1, fds + count + strangers);
    }
    assert_int_equal(strangers, small.unknown - small.unknown / 4);
    count += strangers;
    counts(count, strangers);
    close(fds[0]);
    now_ms += 1000;
    assert_int_equal(fill_up(1, 2, fds), 1); /* who is known has room still: there is one place */
    close_all(fds, count);
    rpc_gate_free(gate);
}

/* An eighth of all is for places that are known. */
static void test_reserve(void **state)
{
    (void)state;
    static const struct rpc_gate_limits wide = {
        .total = 64, .each = 64, .unknown = 128, .unknown_each = 64, .descriptors = 4096};
    int fds[FDS];
    gate_start(&wide);
    assert_int_equal(fill_up(1, 1, fds), 1);
    struct rpc_place first = place_no(1, 1000);
    rpc_gate_known(gate, &first, now_ms);
    assert_int_equal(fill_up(2, 100, fds + 1), 64 - 8 - 1);
    assert_int_equal(fill_up(1, 100, fds + 56), 8);
    close_all(fds, 64);
    rpc_gate_free(gate);
}

/* Who knocks and goes, again and again. */
static void test_rate(void **state)
{
    (void)state;
    int fd;
    uint32_t in = 0;
    gate_start(&small);
    for (uint32_t i = 0; i < 1000; i++) { /* in ten seconds */
        struct rpc_place place = place_no(1, 1000 + i);
        fd = open_fd();
        in += rpc_gate_enter(gate, fd, &place, now_ms) == NULL;
        close(fd);
        now_ms += 10;
    }
    assert_in_range(in, 12 + 10 * RPC_GATE_RATE - 2, 12 + 10 * RPC_GATE_RATE + 2);
    /* where somebody is known, faster; and he himself as fast as he likes */
    struct rpc_place friend = place_no(2, 5);
    for (uint32_t i = 0; i < 1000; i++) {
        fd = open_fd();
        assert_null(rpc_gate_enter(gate, fd, &friend, now_ms));
        rpc_gate_known(gate, &friend, now_ms);
        close(fd);
        now_ms += 1;
    }
    in = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        struct rpc_place place = place_no(2, 1000 + i);
        fd = open_fd();
        in += rpc_gate_enter(gate, fd, &place, now_ms) == NULL;
        close(fd);
        now_ms += 10;
    }
    /* at most `burst` a look at who has gone (it looks ten times a second): no more than the rate
     */
    assert_in_range(in, 10 * RPC_GATE_RATE, 12 + 10 * RPC_GATE_RATE_KNOWN + 2);
    rpc_gate_free(gate);
}

/* From very many places: the bucket of all strangers, which does not touch known ones. */
static void test_strangers(void **state)
{
    (void)state;
    static const struct rpc_gate_limits wide = {
        .total = 1000, .each = 500, .unknown = 100, .unknown_each = 50, .descriptors = 4096};
    int fd;
    uint32_t in = 0;
    gate_start(&wide);
    fd = open_fd();
    struct rpc_place friend = place_no(65000, 5);
    assert_null(rpc_gate_enter(gate, fd, &friend, now_ms));
    rpc_gate_known(gate, &friend, now_ms);
    for (uint32_t i = 0; i < 20000; i++) { /* in two seconds; more places than are kept */
        struct rpc_place place = place_no(i, 1000);
        int knock = open_fd();
        in += rpc_gate_enter(gate, knock, &place, now_ms) == NULL;
        close(knock);
        now_ms += i % 10 == 9 ? 1 : 0;
    }
    assert_in_range(in, 100, 100 + 2 * RPC_GATE_RATE_STRANGERS + 2);
    struct rpc_place again = place_no(65000, 6);
    int second = open_fd();
    assert_null(rpc_gate_enter(gate, second, &again, now_ms));
    close(second);
    close(fd);
    rpc_gate_free(gate);
}

/* A descriptor that is as high is not for connections; and local users have a limit, too. */
static void test_descriptors(void **state)
{
    (void)state;
    struct rpc_gate_limits low = small;
    low.descriptors = 3;
    gate_start(&low);
    struct rpc_place place = place_no(1, 1);
    int fd = open_fd();
    assert_non_null(rpc_gate_enter(gate, fd, &place, now_ms));
    rpc_gate_free(gate);
    gate_start(&small);
    struct rpc_place user = {.local = true, .bytes = {1}};
    int fds[FDS];
    uint32_t in = 0;
    for (uint32_t i = 0; i < 100; i++) {
        fds[in] = open_fd();
        if (rpc_gate_enter(gate, fds[in], &user, now_ms)) {
            close(fds[in]);
        } else {
            in++;
        }
        now_ms += 1000;
    }
    assert_int_equal(in, small.each);
    counts(in, 0);
    struct rpc_place root = {.local = true, .trusted = true};
    assert_null(rpc_gate_enter(gate, fd, &root, now_ms));
    close_all(fds, in);
    close(fd);
    rpc_gate_free(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_parse),
        cmocka_unit_test(test_unknown),   cmocka_unit_test(test_known),
        cmocka_unit_test(test_reserve),   cmocka_unit_test(test_rate),
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
