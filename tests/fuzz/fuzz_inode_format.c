/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as the values of the filesystem's rows: an inode, attributes, an extended attribute,
 * and where a renamed row went. Refused, or something that encodes to these very bytes; of what a
 * later version has put into attributes, which is passed over, to the same after one more round. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "format/acl.h"
#include "format/inode_format.h"

static void check_err(enum kith_err err)
{
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT || err == KITH_EVERSION);
}

static void check_attrs(const struct kith_attrs *attrs)
{
    struct kith_attrs merged = *attrs;
    KITH_ASSERT(attrs->acl_size == 0 || kith_acl_check(kith_attrs_acl(attrs)) == KITH_OK);
    KITH_ASSERT(attrs->default_acl_size == 0 ||
                kith_acl_check(kith_attrs_default_acl(attrs)) == KITH_OK);
    KITH_ASSERT((attrs->have & KITH_ATTR_MODE) == 0 || attrs->mode <= 07777);
    kith_attrs_merge(&merged, attrs);
    KITH_ASSERT(merged.have == attrs->have && merged.mode == attrs->mode);
    KITH_ASSERT(!kith_attrs_widen(attrs, &merged) && !kith_attrs_narrow(attrs, &merged));
    struct kith_time ctime = kith_attrs_ctime(attrs), later = kith_attrs_ctime(&merged);
    KITH_ASSERT(kith_time_compare(&ctime, &later) == 0);
}

static void take_inode(struct kith_bytes bytes)
{
    struct kith_arena arena;
    struct kith_inode_record record;
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    enum kith_err err = kith_inode_record_decode(&arena, bytes, &record);
    check_err(err);
    if (err == KITH_OK) {
        KITH_ASSERT(kith_inode_record_type(bytes) == record.type);
        KITH_ASSERT(record.name_count <= KITH_LINKS_MAX);
        KITH_ASSERT(record.target.size <= KITH_SYMLINK_MAX);
        for (uint32_t i = 1; i < record.name_count; i++) {
            KITH_ASSERT(kith_link_name_compare(&record.names[i - 1], &record.names[i]) < 0);
        }
        check_attrs(&record.attrs);
        kith_inode_record_encode(&record, &buf);
        KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

static void take_attrs(struct kith_bytes bytes)
{
    struct kith_attr_record record, again;
    struct kith_buf first, second;
    enum kith_err err = kith_attr_record_decode(bytes, &record);
    check_err(err);
    if (err != KITH_OK) {
        return;
    }
    kith_buf_init(&first);
    kith_buf_init(&second);
    check_attrs(&record.attrs);
    kith_attr_record_encode(&record, &first);
    KITH_ASSERT(first.size <= bytes.size);
    KITH_ASSERT(kith_attr_record_decode(kith_buf_bytes(&first), &again) == KITH_OK);
    kith_attr_record_encode(&again, &second);
    KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&first), kith_buf_bytes(&second)));
    KITH_ASSERT(first.size < bytes.size || kith_bytes_equal(kith_buf_bytes(&first), bytes));
    struct kith_attr_record both[] = {record, record};
    struct kith_attrs joined;
    kith_attr_records_join(both, 2, &joined);
    KITH_ASSERT(joined.have == record.attrs.have);
    KITH_ASSERT((joined.mode & ~record.attrs.mode) == 0);
    kith_buf_release(&first);
    kith_buf_release(&second);
}

static void take_others(struct kith_bytes bytes)
{
    struct kith_xattr_record xattr;
    struct kith_moved_mark mark;
    struct kith_buf buf;
    kith_buf_init(&buf);
    enum kith_err err = kith_xattr_record_decode(bytes, &xattr);
    check_err(err);
    if (err == KITH_OK) {
        kith_xattr_record_encode(&xattr, &buf);
        KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
    }
    err = kith_moved_mark_decode(bytes, &mark);
    check_err(err);
    if (err == KITH_OK) {
        kith_buf_clear(&buf);
        kith_moved_mark_encode(&mark, &buf);
        KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&buf), bytes));
    }
    kith_buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_bytes bytes = kith_bytes_make(data, size);
    take_inode(bytes);
    take_attrs(bytes);
    take_others(bytes);
    return 0;
}

/* u::rw- u:7:r-- g::r-- m::r-- o::--- */
static const uint8_t acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
                              0, 7, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                              4, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};

static struct kith_attrs make_attrs(bool full)
{
    struct kith_attrs attrs;
    struct kith_time time = {1700000000, 5};
    memset(&attrs, 0, sizeof attrs);
    attrs.have = KITH_ATTR_ALL;
    attrs.mode = 0640;
    attrs.uid = 1000;
    attrs.gid = 1001;
    attrs.atime = attrs.mtime = time;
    attrs.mode_stamp = attrs.owner_stamp = attrs.atime_stamp = time;
    attrs.mtime_stamp = attrs.xattrs_stamp = time;
    if (full) {
        attrs.have |= KITH_ATTR_DEFAULT_ACL | KITH_ATTR_SUBDIRS;
        attrs.default_acl_stamp = attrs.subdirs_stamp = time;
        attrs.acl = attrs.default_acl = acl;
        attrs.acl_size = attrs.default_acl_size = sizeof acl;
        attrs.subdirs = 3;
    }
    return attrs;
}

static void put_inode(uint32_t number, struct kith_buf *buf)
{
    static const struct kith_link_name names[] = {{{{1}}, {(const uint8_t *)"a", 1}},
                                                  {{{1}}, {(const uint8_t *)"b", 1}},
                                                  {{{2}}, {(const uint8_t *)"a", 1}}};
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    record.type = (enum kith_type)(KITH_TYPE_FILE + number % 8);
    record.file_id = 77;
    record.btime.sec = 1600000000;
    if (record.type != KITH_TYPE_LINK) {
        record.attrs = make_attrs(record.type == KITH_TYPE_DIR);
    }
    if (record.type == KITH_TYPE_FILE || record.type == KITH_TYPE_SYMLINK) {
        record.name_count = number / 8 * 3;
        record.names = names;
    }
    if (record.type == KITH_TYPE_SYMLINK) {
        record.target = kith_bytes_make("../there", 8);
    }
    if (record.type == KITH_TYPE_FILE) {
        record.contents = kith_bytes_make("\0some image", 11);
    }
    if (record.type == KITH_TYPE_CHAR || record.type == KITH_TYPE_BLOCK) {
        record.rdev = 259;
    }
    if (record.type == KITH_TYPE_DIR) {
        memset(record.dir_id, 5, sizeof record.dir_id);
        record.has_parent = number / 8 > 0;
        record.parent_name = kith_bytes_make(record.has_parent ? "up" : "", record.has_parent * 2u);
    }
    if (record.type == KITH_TYPE_LINK) {
        memset(&record.link, 9, sizeof record.link);
    }
    kith_inode_record_encode(&record, buf);
}

/* Inodes of each type with little and with much, and the other values. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (number < 16) {
        put_inode(number, &buf);
    } else if (number < 18) {
        struct kith_attr_record record = {.file_id = 77, .changed = KITH_ATTR_MODE};
        record.attrs = make_attrs(number == 17);
        kith_attr_record_encode(&record, &buf);
    } else if (number == 18) {
        struct kith_xattr_record record = {77, {1700000000, 5}, kith_bytes_make("value", 5)};
        kith_xattr_record_encode(&record, &buf);
    } else if (number == 19) {
        struct kith_moved_mark mark = {{{3}}, kith_bytes_make("there", 5), 77};
        kith_moved_mark_encode(&mark, &buf);
    }
    size_t size = buf.size;
    KITH_ASSERT(!buf.failed && size <= KITH_FUZZ_SEED_MAX);
    if (size > 0) {
        memcpy(data, buf.data, size);
    }
    kith_buf_release(&buf);
    return size;
}
