/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "format/attrs.h"

static struct kith_attrs full(int64_t stamp)
{
    struct kith_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    struct kith_time time = {stamp, 5};
    attrs.have = KITH_ATTR_ALL;
    attrs.mode = 0640;
    attrs.uid = 1000;
    attrs.gid = UINT32_MAX;
    attrs.atime = (struct kith_time){-1, 999999999};
    attrs.mtime = (struct kith_time){INT64_MAX, 0};
    attrs.mode_stamp = attrs.owner_stamp = attrs.atime_stamp = time;
    attrs.mtime_stamp = attrs.xattrs_stamp = time;
    return attrs;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint32_t have = 0; have <= KITH_ATTR_ALL; have++) {
        struct kith_attr_record record = {77, have & 3, full(9)}, back;
        record.attrs.have = have;
        struct kith_buf buf, again;
        kith_buf_init(&buf);
        kith_buf_init(&again);
        kith_attr_record_encode(&record, &buf);
        assert_int_equal(kith_attr_record_decode(kith_buf_bytes(&buf), &back), KITH_OK);
        assert_int_equal(back.attrs.have, have);
        assert_int_equal(back.file_id, 77);
        assert_int_equal(back.changed, have & 3);
        kith_attr_record_encode(&back, &again);
        assert_true(kith_bytes_equal(kith_buf_bytes(&buf), kith_buf_bytes(&again)));
        for (size_t cut = 0; cut < buf.size; cut++) {
            assert_int_not_equal(kith_attr_record_decode(kith_bytes_make(buf.data, cut), &back),
                                 KITH_OK);
        }
        kith_buf_release(&buf);
        kith_buf_release(&again);
    }
}

static void test_merge(void **state)
{
    (void)state;
    struct kith_attrs old = full(10), edit = full(10), chmod = {0};
    chmod.have = KITH_ATTR_MODE;
    chmod.mode = 0600;
    chmod.mode_stamp.sec = 20;
    edit.mtime.sec = 30;
    edit.mtime_stamp.sec = 30;
    /* an edit that carries the old mode, and a chmod: both stay, in either order */
    struct kith_attrs a = old, b = old;
    kith_attrs_merge(&a, &edit);
    kith_attrs_merge(&a, &chmod);
    kith_attrs_merge(&b, &chmod);
    kith_attrs_merge(&b, &edit);
    assert_int_equal(a.mode, 0600);
    assert_int_equal(b.mode, 0600);
    assert_int_equal(a.mtime.sec, 30);
    assert_int_equal(b.mtime.sec, 30);
    assert_int_equal(kith_attrs_ctime(&a).sec, 30);
}

/* Who has set a mode, and learns that another one was set at the same time, takes what both allow:
 * what joins them bears the later stamp, which may be his own. */
static void test_merge_joined(void **state)
{
    (void)state;
    struct kith_attr_record both[2] = {{1, KITH_ATTR_MODE, full(10)}, {1, KITH_ATTR_MODE, full(10)}};
    struct kith_attrs joined, first, second;
    both[0].attrs.mode = 0600;
    both[0].attrs.mode_stamp.sec = 20;
    both[1].attrs.mode = 04640;
    both[1].attrs.mode_stamp.sec = 30;
    first = both[0].attrs;
    second = both[1].attrs;
    kith_attr_records_join(both, 2, &joined);
    kith_attrs_merge(&first, &joined);
    kith_attrs_merge(&second, &joined);
    assert_int_equal(first.mode, 0600);
    assert_int_equal(second.mode, 0600);
}

/* Modes that two changed at once give what both allow, and no set-id. */
static void test_concurrent_modes(void **state)
{
    (void)state;
    struct kith_attr_record records[2] = {{1, KITH_ATTR_MODE, full(10)},
                                          {1, KITH_ATTR_MODE, full(11)}};
    struct kith_attrs joined;
    records[0].attrs.mode = 04750;
    records[1].attrs.mode = 04705;
    kith_attr_records_join(records, 2, &joined);
    assert_int_equal(joined.mode, 0700);
    records[1].changed = KITH_ATTR_MTIME; /* carried along only: the later stamp's is taken */
    kith_attr_records_join(records, 2, &joined);
    assert_int_equal(joined.mode, 04705);
}

/* ACLs of two lengths; classes 640 and 660 */
static const uint8_t acl_a[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255,
                                255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255,
                                255, 255};
static const uint8_t acl_b[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0,
                                4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255,
                                32, 0, 0, 0, 255, 255, 255, 255};

static struct kith_attrs with_acl(const uint8_t *acl, size_t size, uint32_t mode, int64_t stamp)
{
    struct kith_attrs attrs = full(1);
    attrs.acl = acl;
    attrs.acl_size = (uint16_t)size;
    attrs.mode = mode;
    attrs.mode_stamp.sec = stamp;
    return attrs;
}

static void merge_both(const struct kith_attrs *one, const struct kith_attrs *two,
                       const uint8_t *want_acl, uint32_t want_mode)
{
    struct kith_attrs a = *one, b = *two;
    kith_attrs_merge(&a, two);
    kith_attrs_merge(&b, one);
    assert_ptr_equal(a.acl_size > 0 ? a.acl : NULL, want_acl);
    assert_ptr_equal(b.acl_size > 0 ? b.acl : NULL, want_acl);
    assert_int_equal(a.mode, want_mode);
    assert_int_equal(b.mode, want_mode);
}

/* An ACL goes where the mode goes. */
static void test_acl_merge(void **state)
{
    (void)state;
    struct kith_attrs a = with_acl(acl_a, sizeof acl_a, 0640, 10);
    struct kith_attrs b = with_acl(acl_b, sizeof acl_b, 0660, 20);
    struct kith_attrs none = with_acl(NULL, 0, 0600, 30);
    merge_both(&a, &b, acl_b, 0660);
    merge_both(&b, &none, NULL, 0600);
    none.mode_stamp.sec = 15;
    merge_both(&a, &none, NULL, 0600);
    merge_both(&b, &none, acl_b, 0660);
    b.mode_stamp = a.mode_stamp; /* one joins both: the same for everybody */
    merge_both(&a, &b, memcmp(acl_a, acl_b, sizeof acl_a) > 0 ? acl_a : acl_b, 0640);
    none.mode_stamp = a.mode_stamp;
    merge_both(&a, &none, acl_a, 0600);
}

/* ACLs that two set at once, or a mode and an ACL: the latest ACL, as far as both modes go. */
static void test_acl_join(void **state)
{
    (void)state;
    struct kith_attr_record records[2];
    struct kith_attrs joined;
    records[0] = (struct kith_attr_record){1, KITH_ATTR_MODE,
                                           with_acl(acl_b, sizeof acl_b, 0660, 10)};
    records[1] =
        (struct kith_attr_record){1, KITH_ATTR_MODE, with_acl(acl_a, sizeof acl_a, 0640, 20)};
    kith_attr_records_join(records, 2, &joined);
    assert_ptr_equal(joined.acl, acl_a);
    assert_int_equal(joined.mode, 0640);
    records[1].attrs = with_acl(NULL, 0, 0604, 20); /* who is named may no more than that */
    kith_attr_records_join(records, 2, &joined);
    assert_ptr_equal(joined.acl, acl_b);
    assert_int_equal(joined.mode, 0600);
    records[0].changed = 0; /* carried along: it was removed */
    kith_attr_records_join(records, 2, &joined);
    assert_int_equal(joined.acl_size, 0);
    assert_int_equal(joined.mode, 0604);
}

static void test_default_acl(void **state)
{
    (void)state;
    struct kith_attrs none = full(1), set = full(1), gone = full(1);
    set.have |= KITH_ATTR_DEFAULT_ACL;
    set.default_acl = acl_a;
    set.default_acl_size = sizeof acl_a;
    set.default_acl_stamp.sec = 50;
    gone.have |= KITH_ATTR_DEFAULT_ACL;
    gone.default_acl_stamp.sec = 60;
    assert_int_equal(kith_attrs_ctime(&set).sec, 50);
    assert_true(kith_attrs_widen(&none, &set) && kith_attrs_narrow(&none, &set));
    assert_false(kith_attrs_widen(&none, &gone));
    struct kith_attrs attrs = none;
    kith_attrs_merge(&attrs, &set);
    kith_attrs_merge(&attrs, &none);
    assert_ptr_equal(attrs.default_acl, acl_a);
    attrs.mode_stamp.sec = 70; /* a chmod elsewhere has nothing to do with it */
    kith_attrs_merge(&attrs, &gone);
    kith_attrs_merge(&attrs, &set);
    assert_int_equal(attrs.default_acl_size, 0);
    /* and through a row */
    for (unsigned i = 0; i < 2; i++) {
        struct kith_attr_record record = {7, KITH_ATTR_DEFAULT_ACL | KITH_ATTR_MODE,
                                          i == 0 ? set : gone},
                                back;
        struct kith_buf buf;
        kith_buf_init(&buf);
        record.attrs.acl = acl_b;
        record.attrs.acl_size = sizeof acl_b;
        kith_attr_record_encode(&record, &buf);
        assert_int_equal(kith_attr_record_decode(kith_buf_bytes(&buf), &back), KITH_OK);
        assert_int_equal(back.changed, KITH_ATTR_MODE);
        assert_int_equal(back.attrs.have, KITH_ATTR_ALL | KITH_ATTR_DEFAULT_ACL);
        assert_true(kith_bytes_equal(kith_attrs_default_acl(&back.attrs),
                                     kith_attrs_default_acl(&record.attrs)));
        assert_true(kith_bytes_equal(kith_attrs_acl(&back.attrs),
                                     kith_bytes_make(acl_b, sizeof acl_b)));
        assert_int_equal(back.attrs.default_acl_stamp.sec, i == 0 ? 50 : 60);
        kith_buf_release(&buf);
    }
}

/* How many directories are in a directory: the later count; of two at the same time the same one for
 * everybody; and it has nothing to do with the time of change. */
static void test_subdirs(void **state)
{
    (void)state;
    struct kith_attrs few = full(10), many = full(10), none = full(40);
    few.have |= KITH_ATTR_SUBDIRS;
    few.subdirs = 2;
    few.subdirs_stamp.sec = 30;
    many.have |= KITH_ATTR_SUBDIRS;
    many.subdirs = UINT32_MAX;
    many.subdirs_stamp.sec = 20;
    for (unsigned order = 0; order < 6; order++) {
        const struct kith_attrs *all[3] = {&few, &many, &none};
        struct kith_attrs merged = *all[order % 3];
        kith_attrs_merge(&merged, all[(order + 1 + order / 3) % 3]);
        kith_attrs_merge(&merged, all[(order + 2 - order / 3) % 3]);
        assert_int_equal(merged.have, KITH_ATTR_ALL | KITH_ATTR_SUBDIRS);
        assert_int_equal(merged.subdirs, 2);
        assert_int_equal(kith_attrs_ctime(&merged).sec, 40);
    }
    many.subdirs_stamp.sec = 30;
    struct kith_attrs a = few, b = many;
    kith_attrs_merge(&a, &many);
    kith_attrs_merge(&b, &few);
    assert_true(a.subdirs == UINT32_MAX && b.subdirs == UINT32_MAX);
    assert_false(kith_attrs_widen(&few, &many) || kith_attrs_narrow(&few, &many));

    struct kith_attr_record record = {7, KITH_ATTR_MTIME, many}, back;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_attr_record_encode(&record, &buf);
    assert_int_equal(kith_attr_record_decode(kith_buf_bytes(&buf), &back), KITH_OK);
    assert_int_equal(back.attrs.have, KITH_ATTR_ALL | KITH_ATTR_SUBDIRS);
    assert_true(back.attrs.subdirs == UINT32_MAX);
    assert_int_equal(back.attrs.subdirs_stamp.sec, 30);
    kith_buf_release(&buf);
}

static void test_xattr(void **state)
{
    (void)state;
    struct kith_xattr_record record = {5, {-7, 3}, kith_bytes_make("value", 5)}, back;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_xattr_record_encode(&record, &buf);
    assert_int_equal(kith_xattr_record_decode(kith_buf_bytes(&buf), &back), KITH_OK);
    assert_true(kith_bytes_equal(back.value, record.value));
    assert_int_equal(back.stamp.sec, -7);
    buf.data[0] = 2;
    assert_int_equal(kith_xattr_record_decode(kith_buf_bytes(&buf), &back), KITH_EVERSION);
    assert_int_equal(kith_xattr_record_decode(kith_bytes_make(buf.data, 9), &back), KITH_EFORMAT);
    kith_buf_release(&buf);
}

static void check_change(uint32_t mode, uint32_t uid, uint32_t gid, const struct kith_attrs *from,
                         bool widens, bool narrows)
{
    struct kith_attrs to = *from;
    to.mode = mode;
    to.uid = uid;
    to.gid = gid;
    assert_int_equal(kith_attrs_widen(from, &to), widens);
    assert_int_equal(kith_attrs_narrow(from, &to), narrows);
}

static void test_widen_narrow(void **state)
{
    (void)state;
    struct kith_attrs from = full(1);
    from.mode = 0700; /* what tar and cp make first */
    from.uid = from.gid = 0;
    check_change(0700, 0, 0, &from, false, false);
    check_change(0755, 0, 0, &from, true, false);
    check_change(0500, 0, 0, &from, false, true);
    check_change(0455, 0, 0, &from, true, true);
    check_change(0700, 1000, 1000, &from, true, false); /* root loses nothing */
    check_change(01700, 0, 0, &from, false, true);      /* sticky: fewer may delete */
    check_change(04700, 0, 0, &from, true, false);
    from.mode = 01777;
    check_change(0777, 0, 0, &from, true, false);
    from.mode = 0750;
    check_change(0750, 0, 7, &from, true, true); /* the old group is shut out */
    from.mode = 0755;
    check_change(0755, 0, 7, &from, true, false); /* group and others may the same */
    check_change(0755, 7, 0, &from, true, false);
    from.mode = 0077;
    check_change(0077, 7, 0, &from, true, true); /* the owner alone may nothing */
    from.mode = 0700;
    from.uid = 7;
    check_change(0700, 8, 0, &from, true, true); /* he who had it */
    struct kith_attrs to = with_acl(acl_a, sizeof acl_a, 0700, 1);
    from = with_acl(NULL, 0, 0700, 1);
    assert_true(kith_attrs_widen(&from, &to) && kith_attrs_narrow(&to, &from));
    assert_false(kith_attrs_widen(&to, &to) || kith_attrs_narrow(&to, &to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_joined),
        cmocka_unit_test(test_concurrent_modes),
        cmocka_unit_test(test_acl_merge),
        cmocka_unit_test(test_acl_join),
        cmocka_unit_test(test_default_acl),
        cmocka_unit_test(test_subdirs),
        cmocka_unit_test(test_xattr),
        cmocka_unit_test(test_widen_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
