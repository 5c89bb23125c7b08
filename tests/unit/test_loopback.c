/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which addresses only this machine can reach. No name but localhost is looked up. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/loopback.h"

static void only(const char *address, bool expected)
{
    struct kith_error error;
    bool is = !expected;
    print_message("%s\n", address);
    assert_int_equal(kith_loopback_only(address, &is, &error), KITH_OK);
    assert_int_equal(is, expected);
}

static void test_loopback(void **state)
{
    (void)state;
    only("127.0.0.1:7070", true);
    only("127.255.3.4:0", true);
    only("localhost:7070", true);
    only("[::1]:7070", true);
    only("[::ffff:127.0.0.1]:7070", true);
}

static void test_others(void **state)
{
    (void)state;
    only("0.0.0.0:7070", false);
    only("[::]:7070", false);
    only("10.0.1.11:7070", false);
    only("128.0.0.1:7070", false);
    only("126.255.255.255:7070", false);
    only("[fe80::1]:7070", false);
    only("[::2]:7070", false);
    only("[::ffff:10.0.0.1]:7070", false);
    only("1:7070", false);          /* 0.0.0.1 */
    only("2130706433:7070", true); /* as inet_aton reads it */
}

static void test_no_address(void **state)
{
    static const char *const bad[] = {"",         ":7070",          "127.0.0.1",
                                      "[]:7070",  "[127.0.0.1:70]", "[::1",
                                      "a b:7070", "300.0.0.1:7070", "node.example:7070"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kith_error error = {KITH_OK, ""};
        bool is;
        assert_int_equal(kith_loopback_only(bad[i], &is, &error), KITH_EINVAL);
        assert_true(error.message[0] != '\0');
    }
    char longest[400];
    struct kith_error error = {KITH_OK, ""};
    bool is;
    memset(longest, '1', sizeof longest);
    memcpy(longest + sizeof longest - 6, ":7070", 6);
    assert_int_equal(kith_loopback_only(longest, &is, &error), KITH_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
