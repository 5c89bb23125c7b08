/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "format/inode_format.h"

#define MUTATIONS 20000u

/* u::rw- u:7:r-- g::r-- m::r-- o::--- */
static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2,  0,   4,
                              0, 7, 0, 0, 0, 4, 0, 4, 0,   255, 255, 255, 255, 16, 0,
                              4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};

static struct kith_inode_record sample(enum kith_type type)
{
    static const struct kith_link_name names[2] = {{{{1}}, {(const uint8_t *)"a", 1}},
                                                   {{{1}}, {(const uint8_t *)"b", 1}}};
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    record.type = type;
    record.file_id = UINT64_C(0x0123456789abcdef);
    record.attrs.have = KITH_ATTR_MODE | KITH_ATTR_MTIME;
    record.attrs.mode = 0644;
    record.attrs.mode_stamp.sec = 1700000000;
    record.attrs.mtime.nsec = 123456789;
    record.btime.sec = 1700000001;
    record.rdev = type == KITH_TYPE_CHAR || type == KITH_TYPE_BLOCK ? 0x103 : 0;
    record.target = kith_bytes_make("target", type == KITH_TYPE_SYMLINK ? 6 : 0);
    record.dir_id[3] = type == KITH_TYPE_DIR ? 9 : 0;
    record.link.bytes[5] = type == KITH_TYPE_LINK ? 7 : 0;
    if (type == KITH_TYPE_FILE) {
        record.names = names;
        record.name_count = 2;
        record.contents = kith_bytes_make("contents", 8);
    }
    if (type == KITH_TYPE_FILE || type == KITH_TYPE_DIR) {
        record.attrs.acl = acl;
        record.attrs.acl_size = sizeof acl;
    }
    if (type == KITH_TYPE_DIR) {
        record.attrs.have |= KITH_ATTR_DEFAULT_ACL | KITH_ATTR_SUBDIRS;
        record.attrs.subdirs = 300;
        record.attrs.subdirs_stamp.sec = 1700000002;
        record.attrs.default_acl = acl;
        record.attrs.default_acl_size = sizeof acl;
        record.has_parent = record.removed = true;
        record.parent_name = kith_bytes_make("dir", 3);
    }
    return record;
}

/* Decodes; what is accepted encodes to the same bytes. */
static enum kith_err canonical(struct kith_bytes bytes)
{
    struct kith_arena arena;
    struct kith_inode_record record;
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    enum kith_err err = kith_inode_record_decode(&arena, bytes, &record);
    if (err == KITH_OK) {
        kith_inode_record_encode(&record, &buf);
        assert_true(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return err;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int type = KITH_TYPE_FILE; type <= KITH_TYPE_LINK; type++) {
        struct kith_inode_record record = sample((enum kith_type)type);
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_inode_record_encode(&record, &buf);
        assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_OK);
        for (size_t cut = 0; cut < 10; cut++) {
            assert_int_equal(canonical(kith_bytes_make(buf.data, cut)), KITH_EFORMAT);
        }
        kith_buf_release(&buf);
    }
}

/* An ACL belongs to a mode, and has the form of one. */
static void test_acl(void **state)
{
    (void)state;
    struct kith_inode_record record = sample(KITH_TYPE_DIR), back;
    struct kith_arena arena;
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    kith_inode_record_encode(&record, &buf);
    assert_int_equal(kith_inode_record_decode(&arena, kith_buf_bytes(&buf), &back), KITH_OK);
    assert_true(kith_bytes_equal(kith_attrs_acl(&back.attrs), kith_attrs_acl(&record.attrs)));
    assert_true(kith_bytes_equal(kith_attrs_default_acl(&back.attrs),
                                 kith_attrs_default_acl(&record.attrs)));
    kith_buf_clear(&buf);
    record.attrs.default_acl_size--;
    kith_inode_record_encode(&record, &buf);
    assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_EFORMAT);
    kith_buf_clear(&buf);
    record = sample(KITH_TYPE_FILE);
    record.attrs.have &= ~(uint32_t)KITH_ATTR_MODE;
    record.attrs.acl_size = 0;
    kith_inode_record_encode(&record, &buf);
    assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_OK);
    kith_field_put(&buf, 14, kith_bytes_make(acl, sizeof acl));
    assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_EFORMAT);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

/* A later version's fields come back as they were; critical ones refuse. */
static void test_unknown(void **state)
{
    (void)state;
    struct kith_inode_record record = sample(KITH_TYPE_FILE);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_inode_record_encode(&record, &buf);
    kith_field_put(&buf, 50, kith_bytes_make("later", 5));
    kith_field_put(&buf, 51, kith_bytes_make("", 0));
    assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_OK);
    kith_field_put(&buf, KITH_FIELD_CRITICAL, kith_bytes_make("x", 1));
    assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_EVERSION);
    kith_buf_clear(&buf);
    kith_inode_record_encode(&record, &buf);
    buf.data[0] = 2;
    assert_int_equal(canonical(kith_buf_bytes(&buf)), KITH_EVERSION);
    kith_buf_release(&buf);
}

/* Bytes that were tampered with never crash, and are refused or canonical. */
static void test_mutations(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int type = KITH_TYPE_FILE; type <= KITH_TYPE_LINK; type++) {
        struct kith_inode_record record = sample((enum kith_type)type);
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_inode_record_encode(&record, &buf);
        uint8_t *copy = malloc(buf.size);
        assert_non_null(copy);
        for (unsigned i = 0; i < MUTATIONS; i++) {
            memcpy(copy, buf.data, buf.size);
            for (unsigned k = 0; k <= i % 3; k++) {
                seed = seed * 1664525u + 1013904223u;
                copy[(seed >> 8) % buf.size] = (uint8_t)seed;
                seed = seed * 1664525u + 1013904223u;
            }
            size_t size = i % 2 == 0 ? buf.size : (seed >> 8) % buf.size;
            (void)canonical(kith_bytes_make(copy, size));
        }
        free(copy);
        kith_buf_release(&buf);
    }
}

static void test_mark(void **state)
{
    (void)state;
    struct kith_moved_mark mark = {{{1, 2}}, kith_bytes_make("new", 3), 42}, back;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_moved_mark_encode(&mark, &buf);
    assert_int_equal(kith_moved_mark_decode(kith_buf_bytes(&buf), &back), KITH_OK);
    assert_true(kith_bytes_equal(back.name, mark.name));
    assert_int_equal(back.file_id, 42);
    for (size_t cut = 0; cut < buf.size; cut++) {
        assert_int_not_equal(kith_moved_mark_decode(kith_bytes_make(buf.data, cut), &back),
                             KITH_OK);
    }
    kith_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_acl),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
