/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which versions of the wire protocol two programs have in common. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "data/protocol.h"

static uint32_t common(uint32_t newest, uint32_t oldest, uint32_t their_newest, uint32_t their_oldest)
{
    struct kith_protocol ours = {newest, oldest, 0}, theirs = {their_newest, their_oldest, 0};
    uint32_t version = kith_protocol_common(&ours, &theirs);
    assert_int_equal(kith_protocol_common(&theirs, &ours), version); /* both come to the same */
    return version;
}

static void test_common(void **state)
{
    (void)state;
    assert_int_equal(common(1, 1, 1, 1), 1);
    assert_int_equal(common(2, 1, 1, 1), 1); /* releases that follow each other */
    assert_int_equal(common(3, 2, 2, 1), 2);
    assert_int_equal(common(3, 1, 2, 2), 2);
    assert_int_equal(common(3, 2, 1, 1), 0); /* one was skipped */
    assert_int_equal(common(4, 4, 3, 1), 0);
    assert_int_equal(common(2, 0, 2, 2), 2); /* who knows no range */
    assert_int_equal(common(2, 0, 1, 1), 0);
    assert_int_equal(common(2, 1, 1, 0), 1);
    assert_int_equal(common(1, 1, 0, 0), 0); /* nonsense */
    assert_int_equal(common(1, 1, 2, 3), 0);
    assert_int_equal(common(UINT32_MAX, 1, 1, 1), 1);
}

static void test_ours(void **state)
{
    (void)state;
    struct kith_protocol ours = kith_protocol_ours();
    assert_true(ours.oldest >= 1 && ours.oldest <= ours.newest);
    assert_true(ours.newest - ours.oldest <= 1); /* what is older need not be tested any more */
}

static void test_differ(void **state)
{
    (void)state;
    char text[KITH_PROTOCOL_DIFFER_SIZE];
    struct kith_protocol ours = {3, 2, 0}, theirs = {1, 1, 0};
    kith_protocol_differ(&ours, "here", &theirs, "there", text, sizeof text);
    assert_string_equal(text, "there speaks protocol version 1, here speaks protocol versions 2 to 3; "
                              "upgrade there");
    kith_protocol_differ(&theirs, "here", &ours, "there", text, sizeof text);
    assert_string_equal(text, "there speaks protocol versions 2 to 3, here speaks protocol version 1; "
                              "upgrade here");
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    struct kith_protocol most = {UINT32_MAX, UINT32_MAX - 1, 0};
    kith_protocol_differ(&most, longest, &most, longest, text, sizeof text);
    assert_non_null(strstr(text, "; upgrade xxx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
