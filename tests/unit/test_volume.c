/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "data/volume.h"

/* Rows and certificates name the numbers: were they to change, every volume would be empty. */
static void numbers_are_what_they_were(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t number;
    } vectors[] = {{"fs", 1}, {"photos", 3910977917u}, {"other", 2917647746u},
                   {"a", 2660650527u}, {"A", 3696571525u}, {"team-1.archive_2026", 2427558501u},
                   {"1x", 3614558632u},
                   {"v11619449", 0xbfffffd5u}}; /* it hashes to a reserved number */
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t number = kith_volume_number(vectors[i].name);
        if (number != vectors[i].number) {
            fail_msg("%s: %u, not %u", vectors[i].name, number, vectors[i].number);
        }
    }
}

static void names_have_rules(void **state)
{
    (void)state;
    char name[KITH_VOLUME_NAME_MAX + 2];
    static const char *const good[] = {"fs", "a", "A.b_c-9", "1a", "0xg", "0y", "a.", "_",
                                       "kv2", "12.5"};
    static const char *const bad[] = {"",   "kv",  "-a",  ".a",   ".",  "..",  "0",    "12",   "007",
                                      "0x", "0x7", "0Xf", "a/b",  "a b", "a:b", "a,b", "a=b",
                                      "a\n", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!kith_volume_name_fits(good[i])) {
            fail_msg("'%s' is refused", good[i]);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (kith_volume_name_fits(bad[i])) {
            fail_msg("'%s' is taken", bad[i]);
        }
    }
    memset(name, 'a', sizeof name);
    name[KITH_VOLUME_NAME_MAX] = '\0';
    assert_true(kith_volume_name_fits(name));
    name[KITH_VOLUME_NAME_MAX] = 'a';
    name[KITH_VOLUME_NAME_MAX + 1] = '\0';
    assert_false(kith_volume_name_fits(name));
}

static void numbers_are_of_trees(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "v%u", i);
        uint32_t number = kith_volume_number(name);
        assert_true(number > 0x7fffffffu && number < 0xffffff00u);
    }
}

static void trees_are_told_from_the_rest(void **state)
{
    (void)state;
    assert_true(kith_volume_is_fs(KITH_VOLUME_FS));
    assert_true(kith_volume_is_fs(kith_volume_number("photos")));
    assert_true(kith_volume_is_fs(0x80000000u));
    assert_true(kith_volume_is_fs(0xfffffeffu));
    static const uint32_t others[] = {0, 2, 0x7fffffffu, KITH_VOLUME_KV, KITH_VOLUME_KV_BUCKETS,
                                      KITH_VOLUME_CLUSTER, 0xffffff00u};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(kith_volume_is_fs(others[i]));
    }
    static const struct {
        uint32_t volume;
        const char *text;
    } texts[] = {{1, "fs"}, {KITH_VOLUME_KV, "kv"}, {KITH_VOLUME_KV_BUCKETS, "kv"},
                 {2, "2"},  {KITH_VOLUME_CLUSTER, "4294967293"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[KITH_VOLUME_TEXT_SIZE];
        kith_volume_text(texts[i].volume, text);
        assert_string_equal(text, texts[i].text);
    }
    struct kith_group root = kith_volume_root(7);
    assert_memory_equal(root.bytes, "\0\0\0\7\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_what_they_were),
        cmocka_unit_test(names_have_rules),
        cmocka_unit_test(numbers_are_of_trees),
        cmocka_unit_test(trees_are_told_from_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
