/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "format/attrs.h"

#include <string.h>

#include "format/acl.h"

#define ATTR_RECORD_VERSION  1u
#define XATTR_RECORD_VERSION 1u
#define TAG_FIRST            1u
#define TAG_FIRST_MORE       6u
#define TAG_CHANGED          16u
#define NSEC_PER_SEC         1000000000u
#define MODE_MASK            07777u
#define STICKY               01000u

enum { FIELD_MODE, FIELD_OWNER, FIELD_ATIME, FIELD_MTIME, FIELD_XATTRS, FIELD_COUNT };

int kith_time_compare(const struct kith_time *a, const struct kith_time *b)
{
    if (a->sec != b->sec) {
        return a->sec < b->sec ? -1 : 1;
    }
    return a->nsec == b->nsec ? 0 : a->nsec < b->nsec ? -1 : 1;
}

/* zigzag, so that times before 1970 stay short */
void kith_time_encode(const struct kith_time *time, struct kith_buf *buf)
{
    uint64_t sign = time->sec < 0 ? UINT64_MAX : 0;
    kith_buf_put_varint(buf, ((uint64_t)time->sec << 1) ^ sign);
    kith_buf_put_varint(buf, time->nsec);
}

struct kith_time kith_time_decode(struct kith_reader *reader)
{
    uint64_t zigzag = kith_read_varint(reader);
    uint64_t nsec = kith_read_varint(reader);
    if (nsec >= NSEC_PER_SEC) {
        reader->failed = true;
        nsec = 0;
    }
    uint64_t sign = (zigzag & 1) != 0 ? UINT64_MAX : 0;
    struct kith_time time = {(int64_t)((zigzag >> 1) ^ sign), (uint32_t)nsec};
    return time;
}

static bool takes(const struct kith_attrs *attrs, const struct kith_attrs *from, uint32_t bit,
                  const struct kith_time *old_stamp, const struct kith_time *new_stamp)
{
    if ((from->have & bit) == 0) {
        return false;
    }
    return (attrs->have & bit) == 0 || kith_time_compare(new_stamp, old_stamp) > 0;
}

static void take_acl(struct kith_attrs *attrs, const struct kith_attrs *from)
{
    attrs->acl = from->acl;
    attrs->acl_size = from->acl_size;
}

static void take_default_acl(struct kith_attrs *attrs, const struct kith_attrs *from)
{
    attrs->default_acl = from->default_acl;
    attrs->default_acl_size = from->default_acl_size;
}

void kith_attrs_merge(struct kith_attrs *attrs, const struct kith_attrs *from)
{
    if (takes(attrs, from, KITH_ATTR_MODE, &attrs->mode_stamp, &from->mode_stamp)) {
        attrs->mode = from->mode;
        attrs->mode_stamp = from->mode_stamp;
        take_acl(attrs, from);
    } else if ((attrs->have & from->have & KITH_ATTR_MODE) != 0 &&
               kith_time_compare(&attrs->mode_stamp, &from->mode_stamp) == 0) {
        attrs->mode &= from->mode; /* one of them joins concurrent modes (kith_attr_records_join) */
        if (kith_bytes_compare(kith_attrs_acl(from), kith_attrs_acl(attrs)) > 0) {
            take_acl(attrs, from); /* any is more than none; of two the same one everywhere */
        }
    }
    if (takes(attrs, from, KITH_ATTR_OWNER, &attrs->owner_stamp, &from->owner_stamp)) {
        attrs->uid = from->uid;
        attrs->gid = from->gid;
        attrs->owner_stamp = from->owner_stamp;
    }
    if (takes(attrs, from, KITH_ATTR_ATIME, &attrs->atime_stamp, &from->atime_stamp)) {
        attrs->atime = from->atime;
        attrs->atime_stamp = from->atime_stamp;
    }
    if (takes(attrs, from, KITH_ATTR_MTIME, &attrs->mtime_stamp, &from->mtime_stamp)) {
        attrs->mtime = from->mtime;
        attrs->mtime_stamp = from->mtime_stamp;
    }
    if (takes(attrs, from, KITH_ATTR_XATTRS, &attrs->xattrs_stamp, &from->xattrs_stamp)) {
        attrs->xattrs = from->xattrs;
        attrs->xattrs_stamp = from->xattrs_stamp;
    }
    if (takes(attrs, from, KITH_ATTR_DEFAULT_ACL, &attrs->default_acl_stamp,
              &from->default_acl_stamp)) {
        take_default_acl(attrs, from);
        attrs->default_acl_stamp = from->default_acl_stamp;
    } else if ((attrs->have & from->have & KITH_ATTR_DEFAULT_ACL) != 0 &&
               kith_time_compare(&attrs->default_acl_stamp, &from->default_acl_stamp) == 0 &&
               kith_bytes_compare(kith_attrs_default_acl(from), kith_attrs_default_acl(attrs)) >
                   0) {
        take_default_acl(attrs, from);
    }
    if (takes(attrs, from, KITH_ATTR_SUBDIRS, &attrs->subdirs_stamp, &from->subdirs_stamp)) {
        attrs->subdirs = from->subdirs;
        attrs->subdirs_stamp = from->subdirs_stamp;
    } else if ((attrs->have & from->have & KITH_ATTR_SUBDIRS) != 0 &&
               kith_time_compare(&attrs->subdirs_stamp, &from->subdirs_stamp) == 0 &&
               from->subdirs > attrs->subdirs) {
        attrs->subdirs = from->subdirs; /* the same everywhere */
    }
    attrs->have |= from->have;
}

enum kith_err kith_attrs_keep(struct kith_attrs *attrs, struct kith_arena *arena)
{
    const uint8_t *acl = NULL, *default_acl = NULL;
    if (attrs->acl_size > 0) {
        acl = kith_arena_copy(arena, attrs->acl, attrs->acl_size);
    }
    if (attrs->default_acl_size > 0) {
        default_acl = kith_arena_copy(arena, attrs->default_acl, attrs->default_acl_size);
    }
    if ((acl == NULL) != (attrs->acl_size == 0) ||
        (default_acl == NULL) != (attrs->default_acl_size == 0)) {
        return KITH_ENOMEM;
    }
    attrs->acl = acl;
    attrs->default_acl = default_acl;
    return KITH_OK;
}

static void later(struct kith_time *time, const struct kith_attrs *attrs, uint32_t bit,
                  const struct kith_time *stamp)
{
    if ((attrs->have & bit) != 0 && kith_time_compare(stamp, time) > 0) {
        *time = *stamp;
    }
}

struct kith_time kith_attrs_ctime(const struct kith_attrs *attrs)
{
    struct kith_time time = {INT64_MIN, 0};
    later(&time, attrs, KITH_ATTR_MODE, &attrs->mode_stamp);
    later(&time, attrs, KITH_ATTR_OWNER, &attrs->owner_stamp);
    later(&time, attrs, KITH_ATTR_ATIME, &attrs->atime_stamp);
    later(&time, attrs, KITH_ATTR_MTIME, &attrs->mtime_stamp);
    later(&time, attrs, KITH_ATTR_XATTRS, &attrs->xattrs_stamp);
    later(&time, attrs, KITH_ATTR_DEFAULT_ACL, &attrs->default_acl_stamp);
    if (time.sec == INT64_MIN) {
        time.sec = 0;
    }
    return time;
}

/* Of two classes (shifts 6, 3, 0), what the first may do and the second may not. */
static bool may_more(uint32_t mode, unsigned shift, unsigned than)
{
    return ((mode >> shift) & ~(mode >> than) & 7u) != 0;
}

/* The sticky bit takes, so it counts the other way round. */
static uint32_t grants(const struct kith_attrs *attrs)
{
    return attrs->mode ^ STICKY;
}

static bool other_acl(const struct kith_attrs *from, const struct kith_attrs *to)
{
    return !kith_bytes_equal(kith_attrs_acl(from), kith_attrs_acl(to)) ||
           !kith_bytes_equal(kith_attrs_default_acl(from), kith_attrs_default_acl(to));
}

bool kith_attrs_widen(const struct kith_attrs *from, const struct kith_attrs *to)
{
    return (grants(to) & ~grants(from)) != 0 || to->uid != from->uid || to->gid != from->gid ||
           other_acl(from, to);
}

bool kith_attrs_narrow(const struct kith_attrs *from, const struct kith_attrs *to)
{
    uint32_t mode = from->mode;
    bool owner = to->uid != from->uid &&
                 (from->uid != 0 || may_more(mode, 3, 6) || may_more(mode, 0, 6));
    bool group = to->gid != from->gid && (may_more(mode, 3, 0) || may_more(mode, 0, 3));
    return (grants(from) & ~grants(to)) != 0 || owner || group || other_acl(from, to);
}

static void field_value(const struct kith_attrs *attrs, unsigned field, struct kith_buf *value)
{
    switch (field) {
    case FIELD_MODE:
        kith_buf_put_varint(value, attrs->mode);
        kith_time_encode(&attrs->mode_stamp, value);
        break;
    case FIELD_OWNER:
        kith_buf_put_varint(value, attrs->uid);
        kith_buf_put_varint(value, attrs->gid);
        kith_time_encode(&attrs->owner_stamp, value);
        break;
    case FIELD_ATIME:
        kith_time_encode(&attrs->atime, value);
        kith_time_encode(&attrs->atime_stamp, value);
        break;
    case FIELD_MTIME:
        kith_time_encode(&attrs->mtime, value);
        kith_time_encode(&attrs->mtime_stamp, value);
        break;
    default:
        kith_buf_put_varint(value, attrs->xattrs ? 1 : 0);
        kith_time_encode(&attrs->xattrs_stamp, value);
        break;
    }
}

void kith_attrs_encode(const struct kith_attrs *attrs, uint64_t first_tag, struct kith_buf *buf)
{
    struct kith_buf value;
    kith_buf_init(&value);
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if ((attrs->have & (1u << i)) == 0) {
            continue;
        }
        kith_buf_clear(&value);
        field_value(attrs, i, &value);
        kith_field_put(buf, first_tag + i, kith_buf_bytes(&value));
        buf->failed = buf->failed || value.failed;
    }
    kith_buf_release(&value);
}

static uint32_t read_u32(struct kith_reader *reader, uint32_t max)
{
    uint64_t value = kith_read_varint(reader);
    if (value > max) {
        reader->failed = true;
        return 0;
    }
    return (uint32_t)value;
}

enum kith_err kith_attrs_field(struct kith_attrs *attrs, uint64_t first_tag,
                               const struct kith_field *field, bool *ret_taken)
{
    *ret_taken = false;
    if (field->tag < first_tag || field->tag >= first_tag + FIELD_COUNT) {
        return KITH_OK;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, field->value);
    switch (field->tag - first_tag) {
    case FIELD_MODE:
        attrs->mode = read_u32(&reader, MODE_MASK);
        attrs->mode_stamp = kith_time_decode(&reader);
        break;
    case FIELD_OWNER:
        attrs->uid = read_u32(&reader, UINT32_MAX);
        attrs->gid = read_u32(&reader, UINT32_MAX);
        attrs->owner_stamp = kith_time_decode(&reader);
        break;
    case FIELD_ATIME:
        attrs->atime = kith_time_decode(&reader);
        attrs->atime_stamp = kith_time_decode(&reader);
        break;
    case FIELD_MTIME:
        attrs->mtime = kith_time_decode(&reader);
        attrs->mtime_stamp = kith_time_decode(&reader);
        break;
    default:
        attrs->xattrs = read_u32(&reader, 1) != 0;
        attrs->xattrs_stamp = kith_time_decode(&reader);
        break;
    }
    if (!kith_reader_done(&reader)) {
        return KITH_EFORMAT;
    }
    attrs->have |= 1u << (field->tag - first_tag);
    *ret_taken = true;
    return KITH_OK;
}

void kith_attrs_more_encode(const struct kith_attrs *attrs, uint64_t first_tag,
                            struct kith_buf *buf)
{
    struct kith_buf value;
    kith_buf_init(&value);
    if ((attrs->have & KITH_ATTR_MODE) != 0 && attrs->acl_size > 0) {
        kith_field_put(buf, first_tag, kith_attrs_acl(attrs));
    }
    if ((attrs->have & KITH_ATTR_DEFAULT_ACL) != 0) {
        kith_time_encode(&attrs->default_acl_stamp, &value);
        kith_buf_put(&value, attrs->default_acl, attrs->default_acl_size);
        kith_field_put(buf, first_tag + 1, kith_buf_bytes(&value));
    }
    if ((attrs->have & KITH_ATTR_SUBDIRS) != 0) {
        kith_buf_clear(&value);
        kith_time_encode(&attrs->subdirs_stamp, &value);
        kith_buf_put_varint(&value, attrs->subdirs);
        kith_field_put(buf, first_tag + 2, kith_buf_bytes(&value));
    }
    buf->failed = buf->failed || value.failed;
    kith_buf_release(&value);
}

static enum kith_err subdirs_field(struct kith_attrs *attrs, struct kith_bytes value)
{
    struct kith_reader reader;
    kith_reader_init(&reader, value);
    attrs->subdirs_stamp = kith_time_decode(&reader);
    attrs->subdirs = read_u32(&reader, UINT32_MAX);
    attrs->have |= KITH_ATTR_SUBDIRS;
    return kith_reader_done(&reader) ? KITH_OK : KITH_EFORMAT;
}

enum kith_err kith_attrs_more_field(struct kith_attrs *attrs, uint64_t first_tag,
                                    const struct kith_field *field, bool *ret_taken)
{
    if (field->tag == first_tag + 2) {
        *ret_taken = true;
        return subdirs_field(attrs, field->value);
    }
    bool standard = field->tag == first_tag + 1;
    struct kith_bytes acl = field->value;
    *ret_taken = false;
    if (field->tag != first_tag && !standard) {
        return KITH_OK;
    }
    if (standard) {
        struct kith_reader reader;
        kith_reader_init(&reader, field->value);
        attrs->default_acl_stamp = kith_time_decode(&reader);
        if (reader.failed) {
            return KITH_EFORMAT;
        }
        acl = kith_bytes_make(acl.data + reader.at, acl.size - reader.at);
    }
    bool none = standard && acl.size == 0;
    if ((!standard && (attrs->have & KITH_ATTR_MODE) == 0) ||
        (!none && kith_acl_check(acl) != KITH_OK)) {
        return KITH_EFORMAT;
    }
    *(standard ? &attrs->default_acl : &attrs->acl) = none ? NULL : acl.data;
    *(standard ? &attrs->default_acl_size : &attrs->acl_size) = (uint16_t)acl.size;
    attrs->have |= standard ? KITH_ATTR_DEFAULT_ACL : 0;
    *ret_taken = true;
    return KITH_OK;
}

void kith_attr_record_encode(const struct kith_attr_record *record, struct kith_buf *buf)
{
    uint8_t changed = (uint8_t)(record->changed & KITH_ATTR_ALL);
    kith_buf_put_u8(buf, ATTR_RECORD_VERSION);
    kith_buf_put_u64(buf, record->file_id);
    kith_attrs_encode(&record->attrs, TAG_FIRST, buf);
    kith_attrs_more_encode(&record->attrs, TAG_FIRST_MORE, buf);
    kith_field_put(buf, TAG_CHANGED, kith_bytes_make(&changed, 1));
}

enum kith_err kith_attr_record_decode(struct kith_bytes bytes, struct kith_attr_record *ret_record)
{
    struct kith_attr_record record;
    memset(&record, 0, sizeof record);
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t version = kith_read_u8(&reader);
    record.file_id = kith_read_u64(&reader);
    if (reader.failed) {
        return KITH_EFORMAT;
    }
    if (version != ATTR_RECORD_VERSION) {
        return KITH_EVERSION;
    }
    struct kith_field_list list;
    kith_field_list_init(&list, kith_bytes_make(bytes.data + reader.at, bytes.size - reader.at));
    struct kith_field field;
    bool has_changed = false;
    enum kith_err err;
    while ((err = kith_field_next(&list, &field)) == KITH_OK) {
        bool taken = false;
        err = kith_attrs_field(&record.attrs, TAG_FIRST, &field, &taken);
        if (err == KITH_OK && !taken) {
            err = kith_attrs_more_field(&record.attrs, TAG_FIRST_MORE, &field, &taken);
        }
        if (err != KITH_OK) {
            return err;
        }
        if (!taken && field.tag == TAG_CHANGED) {
            if (field.value.size != 1 || field.value.data[0] > KITH_ATTR_ALL) {
                return KITH_EFORMAT;
            }
            record.changed = field.value.data[0];
            has_changed = true;
        } else if (!taken && field.tag >= KITH_FIELD_CRITICAL) {
            return KITH_EVERSION;
        }
    }
    if (err != KITH_ENOTFOUND || !has_changed) {
        return KITH_EFORMAT;
    }
    *ret_record = record;
    return KITH_OK;
}

/* Of two that set a mode, the one whose ACL counts; NULL: none has any. */
static const struct kith_attrs *later_acl(const struct kith_attrs *a, const struct kith_attrs *b)
{
    if (b->acl_size == 0) {
        return a;
    }
    int order = a == NULL ? -1 : kith_time_compare(&a->mode_stamp, &b->mode_stamp);
    if (order == 0) {
        order = kith_bytes_compare(kith_attrs_acl(a), kith_attrs_acl(b));
    }
    return order < 0 ? b : a;
}

void kith_attr_records_join(const struct kith_attr_record *records, uint32_t count,
                            struct kith_attrs *ret_attrs)
{
    struct kith_attrs attrs = records[0].attrs;
    const struct kith_attrs *acl = NULL; /* the latest changer's that has one */
    uint32_t changers = 0;
    uint32_t mode = MODE_MASK;
    for (uint32_t i = 0; i < count; i++) {
        kith_attrs_merge(&attrs, &records[i].attrs);
        attrs.xattrs = attrs.xattrs || records[i].attrs.xattrs;
        if ((records[i].changed & records[i].attrs.have & KITH_ATTR_MODE) != 0) {
            changers++;
            mode &= records[i].attrs.mode;
            acl = later_acl(acl, &records[i].attrs);
        }
    }
    if (changers > 1) {
        attrs.mode = mode & 01777u;
        if (acl != NULL) {
            take_acl(&attrs, acl);
        }
    }
    *ret_attrs = attrs;
}

void kith_xattr_record_encode(const struct kith_xattr_record *record, struct kith_buf *buf)
{
    kith_buf_put_u8(buf, XATTR_RECORD_VERSION);
    kith_buf_put_u64(buf, record->file_id);
    kith_time_encode(&record->stamp, buf);
    kith_buf_put(buf, record->value.data, record->value.size);
}

enum kith_err kith_xattr_record_decode(struct kith_bytes bytes,
                                       struct kith_xattr_record *ret_record)
{
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t version = kith_read_u8(&reader);
    struct kith_xattr_record record = {.file_id = kith_read_u64(&reader)};
    record.stamp = kith_time_decode(&reader);
    if (reader.failed) {
        return KITH_EFORMAT;
    }
    if (version != XATTR_RECORD_VERSION) {
        return KITH_EVERSION;
    }
    record.value = kith_bytes_make(bytes.data + reader.at, bytes.size - reader.at);
    *ret_record = record;
    return KITH_OK;
}
