/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "format/rowname.h"

static struct kith_bytes text(const char *string)
{
    return kith_bytes_make(string, strlen(string));
}

static void check(const struct kith_rowname *name, enum kith_rowname_kind kind,
                  struct kith_bytes base)
{
    struct kith_rowname_parts parts;
    assert_int_equal(kith_rowname_parse(kith_rowname_bytes(name), &parts), KITH_OK);
    assert_int_equal(parts.kind, kind);
    assert_true(kith_bytes_equal(parts.base, base));
}

static void test_round_trip(void **state)
{
    (void)state;
    struct kith_rowname name, shared;
    char longest[KITH_FS_NAME_MAX + 1];
    memset(longest, 'n', KITH_FS_NAME_MAX);
    longest[KITH_FS_NAME_MAX] = '\0';
    kith_rowname_shared(UINT64_C(0x0061007800690001), &shared); /* an id full of NULs and letters */
    struct kith_bytes bases[] = {text(""), text("a"), text("file.txt"), text(longest),
                                 kith_rowname_bytes(&shared)};
    enum kith_rowname_kind kinds[] = {KITH_ROWNAME_SELF, KITH_ROWNAME_ENTRY, KITH_ROWNAME_ENTRY,
                                      KITH_ROWNAME_ENTRY, KITH_ROWNAME_SHARED};
    for (size_t i = 0; i < 5; i++) {
        kith_rowname_entry(bases[i], &name);
        check(&name, kinds[i], bases[i]);
        kith_rowname_attr(bases[i], &name);
        check(&name, KITH_ROWNAME_ATTR, bases[i]);
        assert_int_equal(kith_rowname_xattr(bases[i], text("user.x"), &name), KITH_OK);
        check(&name, KITH_ROWNAME_XATTR, bases[i]);
        struct kith_rowname_parts parts;
        assert_int_equal(kith_rowname_parse(kith_rowname_bytes(&name), &parts), KITH_OK);
        assert_true(kith_bytes_equal(parts.attribute, text("user.x")));
    }
    assert_int_equal(kith_rowname_xattr(text("a"), text(""), &name), KITH_EINVAL);
}

/* An entry's own rows stand between it and the next name; shared inodes come before all entries. */
static void test_order(void **state)
{
    (void)state;
    struct kith_rowname rows[7];
    rows[0].size = 0;
    kith_rowname_attr(text(""), &rows[1]);
    kith_rowname_shared(UINT64_MAX, &rows[2]);
    kith_rowname_entry(text("a"), &rows[3]);
    kith_rowname_attr(text("a"), &rows[4]);
    assert_int_equal(kith_rowname_xattr(text("a"), text("u"), &rows[5]), KITH_OK);
    kith_rowname_entry(text("a\x01"), &rows[6]);
    for (size_t i = 1; i < 7; i++) {
        assert_true(
            kith_bytes_compare(kith_rowname_bytes(&rows[i - 1]), kith_rowname_bytes(&rows[i])) < 0);
    }
}

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t size;
    } wrong[] = {{"a\0", 2},      {"a\0b", 3},       {"a\0aa", 4}, {"a\0x", 3},
                 {"a\0xu\0v", 6}, {"\0i1234567", 9}, {"\0", 1},    {"\0q", 2},
                 {".", 1},        {"..", 2},         {"a/b", 3},   {"/", 1},
                 {"..\0a", 4},    {"a/\0xu", 5}};
    static const char *const right[] = {"...", ".a", "..a", "a.", ". "};
    struct kith_rowname_parts parts;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(kith_rowname_parse(kith_bytes_make(wrong[i].data, wrong[i].size), &parts),
                         KITH_EFORMAT);
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_int_equal(kith_rowname_parse(text(right[i]), &parts), KITH_OK);
    }
    char longer[KITH_FS_NAME_MAX + 1];
    memset(longer, 'n', sizeof longer);
    assert_int_equal(kith_rowname_parse(kith_bytes_make(longer, sizeof longer), &parts),
                     KITH_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
