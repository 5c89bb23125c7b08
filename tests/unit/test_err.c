/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"

static void texts(void **state)
{
    (void)state;
    assert_string_equal(kith_err_text(KITH_OK), "success");
    assert_string_equal(kith_err_text(KITH_ECLOSED), "connection closed");
    assert_string_equal(kith_err_text(-1), "unknown error");
    assert_string_equal(kith_err_text(10000), "unknown error");
}

static void messages_are_wrapped_and_cut(void **state)
{
    (void)state;
    struct kith_error error;
    assert_int_equal(kith_error_set(&error, KITH_EIO, "read %d bytes", 3), KITH_EIO);
    assert_int_equal(kith_error_wrap(&error, "open %s", "file"), KITH_EIO);
    assert_string_equal(error.message, "open file: read 3 bytes");
    assert_int_equal(kith_error_set(NULL, KITH_EIO, "nobody"), KITH_EIO);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kith_error_wrap(&error, "layer %d", i), KITH_EIO);
        assert_true(strlen(error.message) < sizeof error.message);
    }
    assert_memory_equal(error.message, "layer 99: layer 98: ", 20);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
    char large[2000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_int_equal(kith_error_wrap(&error, "%s", large), KITH_EIO);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(messages_are_wrapped_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
