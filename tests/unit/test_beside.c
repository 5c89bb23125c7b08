/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a mount says of a file's versions, read; and names beside other names of one file. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "ctl/files/beside.h"

static enum kith_err parse(struct kith_arena *arena, const char *text,
                           struct kith_beside_version **versions, uint32_t *count)
{
    return kith_beside_parse(arena, "/mnt", kith_bytes_make(text, strlen(text)), versions, count);
}

static void test_parse(void **state)
{
    (void)state;
    struct kith_arena arena;
    struct kith_beside_version *versions;
    uint32_t count = 0;
    kith_arena_init(&arena, 0);
    assert_int_equal(
        parse(&arena,
              "1 2026-11-21T01:30:02Z ben@pc 812 a plan.odt\n"
              "2 - - 0 a\\012b\\134c.conflict-x\n"
              "3 2026-11-21T01:30:00Z an\\040na@\\303\\274 18446744073709551615 c\\9\n",
              &versions, &count),
        KITH_OK);
    assert_int_equal(count, 3);
    assert_int_equal(versions[0].number, 1);
    assert_string_equal(versions[0].time, "2026-11-21T01:30:02Z");
    assert_string_equal(versions[0].writer, "ben@pc");
    assert_true(versions[0].size == 812);
    assert_string_equal(versions[0].name, "a plan.odt");
    assert_string_equal(versions[0].path, "/mnt/a plan.odt");
    assert_string_equal(versions[1].name, "a\nb\\c.conflict-x");
    assert_string_equal(versions[1].writer, "-");
    assert_string_equal(versions[2].writer, "an na@\xc3\xbc");
    assert_true(versions[2].size == UINT64_MAX);
    assert_string_equal(versions[2].name, "c\\9");
    kith_arena_release(&arena);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\n",
        "1 t w 5 name",
        "1 t w 5\n",
        "1 t w 5 \n",
        "0 t w 5 n\n",
        "2 t w 5 n\n",
        "1 t w x n\n",
        "x t w 5 n\n",
        "1  w 5 n\n",
        "1 t w 5 n\n1 t w 5 n\n",
        "1 t w 5 ../n\n",
        "1 t w -x n\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct kith_arena arena;
        struct kith_beside_version *versions;
        uint32_t count = 0;
        kith_arena_init(&arena, 0);
        if (parse(&arena, texts[i], &versions, &count) != KITH_EFORMAT) {
            fail_msg("taken: %s", texts[i]);
        }
        kith_arena_release(&arena);
    }
}

static void test_same(void **state)
{
    (void)state;
#define BETWEEN ".conflict-20261121T013000Z-anna@mars-9f3c01d2"
    assert_true(kith_beside_same("two" BETWEEN, "two", "one" BETWEEN));
    assert_true(kith_beside_same("two.odt" BETWEEN, "two.odt", "o" BETWEEN));
    assert_true(kith_beside_same("two" BETWEEN ".odt", "two.odt", "one" BETWEEN ".txt"));
    assert_false(kith_beside_same("twofold" BETWEEN, "two", "one" BETWEEN));
    assert_false(kith_beside_same("tw" BETWEEN, "two", "one" BETWEEN));
    assert_false(
        kith_beside_same("two" BETWEEN, "two", "one.conflict-20261121T013000Z-anna@mars-9f3c01d3"));
    assert_false(kith_beside_same("two", "two", "one" BETWEEN));
    char base[256]; /* so long that its made name was cut */
    char made[256];
    memset(base, 'x', 255);
    base[255] = '\0';
    memset(made, 'x', 255 - strlen(BETWEEN));
    strcpy(made + 255 - strlen(BETWEEN), BETWEEN);
    assert_true(kith_beside_same(made, base, "one" BETWEEN));
    base[3] = 'y';
    assert_false(kith_beside_same(made, base, "one" BETWEEN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
