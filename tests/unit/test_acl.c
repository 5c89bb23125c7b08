/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "format/acl.h"

#define NONE UINT32_MAX

struct text {
    uint8_t bytes[KITH_ACL_SIZE_MAX + 64];
    size_t size;
};

static void add(struct text *text, uint32_t tag, uint32_t perm, uint32_t id)
{
    const uint32_t parts[3] = {tag, perm, id}, sizes[3] = {2, 2, 4};
    for (unsigned part = 0; part < 3; part++) {
        for (uint32_t i = 0; i < sizes[part]; i++) {
            text->bytes[text->size++] = (uint8_t)(parts[part] >> (8 * i));
        }
    }
}

static void begin(struct text *text)
{
    memset(text, 0, sizeof *text);
    text->bytes[0] = 2;
    text->size = 4;
}

static struct kith_bytes bytes_of(const struct text *text)
{
    return kith_bytes_make(text->bytes, text->size);
}

/* u::rwx u:7:rw- g::r-x g:9:--- m::rw- o::r-- */
static void sample(struct text *text)
{
    begin(text);
    add(text, KITH_ACL_OWNER, 7, NONE);
    add(text, KITH_ACL_USER, 6, 7);
    add(text, KITH_ACL_GROUP, 5, NONE);
    add(text, KITH_ACL_NAMED_GROUP, 0, 9);
    add(text, KITH_ACL_MASK, 6, NONE);
    add(text, KITH_ACL_OTHERS, 4, NONE);
}

static void plain(struct text *text, uint32_t owner, uint32_t group, uint32_t others)
{
    begin(text);
    add(text, KITH_ACL_OWNER, owner, NONE);
    add(text, KITH_ACL_GROUP, group, NONE);
    add(text, KITH_ACL_OTHERS, others, NONE);
}

static uint32_t perm_at(const uint8_t *acl, unsigned i)
{
    return acl[4 + 8 * i + 2];
}

static void test_mode(void **state)
{
    (void)state;
    struct text text;
    bool is_plain = true;
    sample(&text);
    assert_int_equal(kith_acl_check(bytes_of(&text)), KITH_OK);
    assert_int_equal(kith_acl_mode(bytes_of(&text), &is_plain), 0764); /* the mask, not the group */
    assert_false(is_plain);
    plain(&text, 6, 4, 0);
    assert_int_equal(kith_acl_check(bytes_of(&text)), KITH_OK);
    assert_int_equal(kith_acl_mode(bytes_of(&text), &is_plain), 0640);
    assert_true(is_plain);
    begin(&text); /* a mask alone makes it more than a mode */
    add(&text, KITH_ACL_OWNER, 6, NONE);
    add(&text, KITH_ACL_GROUP, 7, NONE);
    add(&text, KITH_ACL_MASK, 4, NONE);
    add(&text, KITH_ACL_OTHERS, 1, NONE);
    assert_int_equal(kith_acl_check(bytes_of(&text)), KITH_OK);
    assert_int_equal(kith_acl_mode(bytes_of(&text), &is_plain), 0641);
    assert_false(is_plain);
}

/* chmod: the mode's classes, and nothing of the named and the owning group behind a mask. */
static void test_show(void **state)
{
    (void)state;
    struct text text;
    uint8_t shown[KITH_ACL_SIZE_MAX];
    sample(&text);
    kith_acl_show(bytes_of(&text), 02415, shown);
    const uint32_t masked[6] = {4, 6, 5, 0, 1, 5};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(perm_at(shown, i), masked[i]);
    }
    text.bytes[4 + 2] = text.bytes[4 + 4 * 8 + 2] = text.bytes[4 + 5 * 8 + 2] = 0;
    shown[4 + 2] = shown[4 + 4 * 8 + 2] = shown[4 + 5 * 8 + 2] = 0;
    assert_memory_equal(shown, text.bytes, text.size); /* and nothing else */
    plain(&text, 7, 7, 7);
    kith_acl_show(bytes_of(&text), 0640, shown);
    assert_int_equal(perm_at(shown, 0), 6);
    assert_int_equal(perm_at(shown, 1), 4);
    assert_int_equal(perm_at(shown, 2), 0);
}

static void test_inherit(void **state)
{
    (void)state;
    struct text text;
    bool is_plain = true;
    sample(&text); /* classes 764 */
    assert_int_equal(kith_acl_inherit(bytes_of(&text), 0666, &is_plain), 0664);
    assert_false(is_plain);
    assert_int_equal(kith_acl_inherit(bytes_of(&text), 02777, &is_plain), 02764);
    assert_int_equal(kith_acl_inherit(bytes_of(&text), 0600, &is_plain), 0600);
    plain(&text, 7, 5, 0);
    assert_int_equal(kith_acl_inherit(bytes_of(&text), 0666, &is_plain), 0640);
    assert_true(is_plain);
}

static void refused(const struct text *text)
{
    assert_int_equal(kith_acl_check(bytes_of(text)), KITH_EINVAL);
}

static void test_refused(void **state)
{
    (void)state;
    struct text text, bad;
    sample(&text);
    for (size_t size = 0; size < text.size; size++) {
        bad = text;
        bad.size = size;
        refused(&bad);
    }
    for (unsigned version = 0; version < 256; version++) {
        bad = text;
        bad.bytes[0] = (uint8_t)version;
        assert_int_equal(kith_acl_check(bytes_of(&bad)), version == 2 ? KITH_OK : KITH_EINVAL);
    }
    for (unsigned tag = 0; tag < 65536; tag++) { /* in the place of the first named user */
        bad = text;
        bad.bytes[12] = (uint8_t)tag;
        bad.bytes[13] = (uint8_t)(tag >> 8);
        assert_int_equal(kith_acl_check(bytes_of(&bad)),
                         tag == KITH_ACL_USER ? KITH_OK : KITH_EINVAL);
    }
    bad = text;
    bad.bytes[6] = 8; /* more than rwx */
    refused(&bad);
    bad = text;
    bad.bytes[7] = 1;
    refused(&bad);
    bad = text;
    memset(bad.bytes + 16, 0xff, 4); /* a user that nobody can be */
    refused(&bad);
    begin(&bad); /* names without a mask */
    add(&bad, KITH_ACL_OWNER, 7, NONE);
    add(&bad, KITH_ACL_USER, 7, 1);
    add(&bad, KITH_ACL_GROUP, 7, NONE);
    add(&bad, KITH_ACL_OTHERS, 7, NONE);
    refused(&bad);
    begin(&bad); /* out of order */
    add(&bad, KITH_ACL_GROUP, 7, NONE);
    add(&bad, KITH_ACL_OWNER, 7, NONE);
    add(&bad, KITH_ACL_OTHERS, 7, NONE);
    refused(&bad);
    plain(&bad, 7, 7, 7); /* twice the others */
    add(&bad, KITH_ACL_OTHERS, 7, NONE);
    refused(&bad);
    begin(&bad);
    refused(&bad);
    assert_true(kith_acl_is_empty(bytes_of(&bad)));
    bad.bytes[0] = 1;
    assert_false(kith_acl_is_empty(bytes_of(&bad)));
    assert_false(kith_acl_is_empty(bytes_of(&text)));
    assert_false(kith_acl_is_empty(kith_bytes_make("", 0)));
}

static void test_large(void **state)
{
    (void)state;
    struct text text;
    begin(&text);
    add(&text, KITH_ACL_OWNER, 7, NONE);
    for (uint32_t i = 0; i < 507; i++) { /* 511 in all */
        add(&text, KITH_ACL_USER, 4, i);
    }
    add(&text, KITH_ACL_GROUP, 5, NONE);
    add(&text, KITH_ACL_MASK, 5, NONE);
    add(&text, KITH_ACL_OTHERS, 5, NONE);
    assert_int_equal(kith_acl_check(bytes_of(&text)), KITH_OK);
    add(&text, KITH_ACL_OTHERS, 5, NONE);
    assert_int_equal(kith_acl_check(bytes_of(&text)), KITH_ETOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mode),    cmocka_unit_test(test_show),
        cmocka_unit_test(test_inherit), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
