/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a version is called that becomes a file of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ctl/files/choose.h"

static void named(const char *base, const char *writer, unsigned attempt, const char *want)
{
    char name[KITH_CHOOSE_NAME_MAX + 1];
    kith_choose_name(base, "2026-11-21T01:30:00Z", writer, attempt, name);
    assert_string_equal(name, want);
}

static void test_names(void **state)
{
    (void)state;
    named("plan.odt", "anna@mars", 1, "plan.version-20261121T013000Z-anna@mars.odt");
    named("plan.odt", "anna@mars", 2, "plan.version-20261121T013000Z-anna@mars-2.odt");
    named("plan", "a", 1, "plan.version-20261121T013000Z-a");
    named(".rc", "a", 1, ".rc.version-20261121T013000Z-a");
    named("a.", "a", 1, "a..version-20261121T013000Z-a");
    named("a.tar.gz", "a/b\nc", 1, "a.tar.version-20261121T013000Z-a_b_c.gz");
    named("a.more than sixteen", "a", 1, "a.more than sixteen.version-20261121T013000Z-a");
}

/* The bytes that follow none of UTF-8. */
static void whole(const char *name)
{
    for (const unsigned char *at = (const unsigned char *)name; *at;) {
        unsigned more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : *at >= 0xc0 ? 1 : 0;
        assert_true((*at & 0xc0) != 0x80);
        at++;
        while (more-- > 0) {
            assert_true((*at++ & 0xc0) == 0x80);
        }
    }
}

static void test_long(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) { /* the cut falls at each byte of a character */
        char base[256] = "";
        char writer[256] = "";
        char name[KITH_CHOOSE_NAME_MAX + 1];
        memset(base, 'a', shift);
        memset(writer, 'b', shift);
        while (strlen(base) + 4 + 4 < 256) {
            strcat(base, "\xf0\x9f\x98\x80");
        }
        while (strlen(writer) + 4 < 200) {
            strcat(writer, "\xf0\x9f\x98\x80");
        }
        strcat(base, ".odt");
        for (unsigned attempt = 1; attempt < 2000; attempt += 999) {
            kith_choose_name(base, "2026-11-21T01:30:00Z", writer, attempt, name);
            whole(name);
            assert_true(strlen(name) > 240);
            assert_string_equal(name + strlen(name) - 4, ".odt");
            assert_non_null(strstr(name, ".version-20261121T013000Z-"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
