/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "format/inode_format.h"

#include <string.h>

#include "format/rowname.h"

#define RECORD_VERSION 1u
#define MARK_VERSION   1u

enum {
    TAG_ATTRS = 1, /* to 5 */
    TAG_BTIME = 6,
    TAG_RDEV = 7,
    TAG_TARGET = 8,
    TAG_DIR_ID = 9,
    TAG_LINK = 10,
    TAG_NAMES = 11,
    TAG_PARENT = 12,
    TAG_CONTENTS = 13,
    TAG_MORE = 14, /* to 16 */
    TAG_LAST = 16,
};

int kith_link_name_compare(const struct kith_link_name *a, const struct kith_link_name *b)
{
    int order = kith_group_compare(&a->group, &b->group);
    return order != 0 ? order : kith_bytes_compare(a->name, b->name);
}

static void put_names(const struct kith_inode_record *record, struct kith_buf *value,
                      struct kith_buf *buf)
{
    kith_buf_clear(value);
    kith_buf_put_varint(value, record->name_count);
    for (uint32_t i = 0; i < record->name_count; i++) {
        kith_buf_put(value, record->names[i].group.bytes, KITH_GROUP_SIZE);
        kith_buf_put_sized(value, record->names[i].name);
    }
    kith_field_put(buf, TAG_NAMES, kith_buf_bytes(value));
}

static void put_parent(const struct kith_inode_record *record, struct kith_buf *value,
                       struct kith_buf *buf)
{
    kith_buf_clear(value);
    kith_buf_put(value, record->parent.bytes, KITH_GROUP_SIZE);
    kith_buf_put_sized(value, record->parent_name);
    kith_buf_put_u8(value, record->removed ? 1 : 0);
    kith_field_put(buf, TAG_PARENT, kith_buf_bytes(value));
}

void kith_inode_record_encode(const struct kith_inode_record *record, struct kith_buf *buf)
{
    struct kith_buf value;
    kith_buf_init(&value);
    kith_buf_put_u8(buf, RECORD_VERSION);
    kith_buf_put_u8(buf, (uint8_t)record->type);
    kith_buf_put_u64(buf, record->file_id);
    kith_attrs_encode(&record->attrs, TAG_ATTRS, buf);
    kith_time_encode(&record->btime, &value);
    kith_field_put(buf, TAG_BTIME, kith_buf_bytes(&value));
    if (record->type == KITH_TYPE_CHAR || record->type == KITH_TYPE_BLOCK) {
        kith_buf_clear(&value);
        kith_buf_put_varint(&value, record->rdev);
        kith_field_put(buf, TAG_RDEV, kith_buf_bytes(&value));
    }
    if (record->type == KITH_TYPE_SYMLINK) {
        kith_field_put(buf, TAG_TARGET, record->target);
    }
    if (record->type == KITH_TYPE_DIR) {
        kith_field_put(buf, TAG_DIR_ID, kith_bytes_make(record->dir_id, KITH_DIR_ID_SIZE));
    }
    if (record->type == KITH_TYPE_LINK) {
        kith_field_put(buf, TAG_LINK, kith_bytes_make(record->link.bytes, KITH_GROUP_SIZE));
    }
    if (record->name_count > 0) {
        put_names(record, &value, buf);
    }
    if (record->has_parent) {
        put_parent(record, &value, buf);
    }
    if (record->contents.size > 0) {
        kith_field_put(buf, TAG_CONTENTS, record->contents);
    }
    kith_attrs_more_encode(&record->attrs, TAG_MORE, buf);
    kith_buf_put(buf, record->unknown.data, record->unknown.size);
    buf->failed = buf->failed || value.failed;
    kith_buf_release(&value);
}

static void read_group(struct kith_reader *reader, struct kith_group *group)
{
    const uint8_t *bytes = kith_read(reader, KITH_GROUP_SIZE);
    if (bytes != NULL) {
        memcpy(group->bytes, bytes, KITH_GROUP_SIZE);
    }
}

static enum kith_err read_names(struct kith_arena *arena, struct kith_bytes value,
                                struct kith_inode_record *record)
{
    struct kith_reader reader;
    kith_reader_init(&reader, value);
    uint64_t count = kith_read_varint(&reader);
    if (reader.failed || count == 0 || count > KITH_LINKS_MAX) {
        return KITH_EFORMAT;
    }
    struct kith_link_name *names = kith_arena_calloc(arena, (size_t)count, sizeof *names);
    if (names == NULL) {
        return KITH_ENOMEM;
    }
    for (uint64_t i = 0; i < count && !reader.failed; i++) {
        read_group(&reader, &names[i].group);
        names[i].name = kith_read_sized(&reader, KITH_FS_NAME_MAX);
        if (i > 0 && kith_link_name_compare(&names[i - 1], &names[i]) >= 0) {
            return KITH_EFORMAT;
        }
    }
    record->names = names;
    record->name_count = (uint32_t)count;
    return kith_reader_done(&reader) ? KITH_OK : KITH_EFORMAT;
}

static enum kith_err read_parent(struct kith_bytes value, struct kith_inode_record *record)
{
    struct kith_reader reader;
    kith_reader_init(&reader, value);
    read_group(&reader, &record->parent);
    record->parent_name = kith_read_sized(&reader, KITH_FS_NAME_MAX);
    uint8_t removed = kith_read_u8(&reader);
    record->removed = removed == 1;
    record->has_parent = true;
    return kith_reader_done(&reader) && removed <= 1 ? KITH_OK : KITH_EFORMAT;
}

static enum kith_err read_field(struct kith_arena *arena, const struct kith_field *field,
                                struct kith_inode_record *record)
{
    struct kith_reader reader;
    kith_reader_init(&reader, field->value);
    switch (field->tag) {
    case TAG_BTIME:
        record->btime = kith_time_decode(&reader);
        return kith_reader_done(&reader) ? KITH_OK : KITH_EFORMAT;
    case TAG_RDEV:
        record->rdev = kith_read_varint(&reader);
        return kith_reader_done(&reader) ? KITH_OK : KITH_EFORMAT;
    case TAG_TARGET:
        record->target = field->value;
        return field->value.size <= KITH_SYMLINK_MAX ? KITH_OK : KITH_EFORMAT;
    case TAG_DIR_ID:
        if (field->value.size != KITH_DIR_ID_SIZE) {
            return KITH_EFORMAT;
        }
        memcpy(record->dir_id, field->value.data, KITH_DIR_ID_SIZE);
        return KITH_OK;
    case TAG_LINK:
        if (field->value.size != KITH_GROUP_SIZE) {
            return KITH_EFORMAT;
        }
        memcpy(record->link.bytes, field->value.data, KITH_GROUP_SIZE);
        return KITH_OK;
    case TAG_NAMES:
        return read_names(arena, field->value, record);
    case TAG_PARENT:
        return read_parent(field->value, record);
    default:
        record->contents = field->value;
        return field->value.size > 0 ? KITH_OK : KITH_EFORMAT;
    }
}

/* Which of the tags that depend on the type must and may be there. */
static bool tags_fit(enum kith_type type, uint32_t seen)
{
    uint32_t tied = 1u << TAG_RDEV | 1u << TAG_TARGET | 1u << TAG_DIR_ID | 1u << TAG_LINK;
    uint32_t want = 0;
    if (type == KITH_TYPE_CHAR || type == KITH_TYPE_BLOCK) {
        want = 1u << TAG_RDEV;
    } else if (type == KITH_TYPE_SYMLINK) {
        want = 1u << TAG_TARGET;
    } else if (type == KITH_TYPE_DIR) {
        want = 1u << TAG_DIR_ID;
    } else if (type == KITH_TYPE_LINK) {
        want = 1u << TAG_LINK;
    }
    return (seen & tied) == want && (seen & 1u << TAG_BTIME) != 0;
}

enum kith_type kith_inode_record_type(struct kith_bytes bytes)
{
    bool known = bytes.size >= 2 && bytes.data[0] == RECORD_VERSION &&
                 bytes.data[1] >= KITH_TYPE_FILE && bytes.data[1] <= KITH_TYPE_LINK;
    return known ? (enum kith_type)bytes.data[1] : (enum kith_type)0;
}

void kith_root_record_encode(uint32_t uid, uint32_t gid, struct kith_time now, struct kith_buf *buf)
{
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_DIR;
    record.file_id = KITH_ROOT_FILE_ID;
    record.btime = now;
    record.attrs.have = KITH_ATTR_ALL | KITH_ATTR_SUBDIRS;
    record.attrs.mode = 0755;
    record.attrs.uid = uid;
    record.attrs.gid = gid;
    record.attrs.atime = record.attrs.mtime = now;
    record.attrs.mode_stamp = record.attrs.owner_stamp = record.attrs.atime_stamp = now;
    record.attrs.mtime_stamp = record.attrs.xattrs_stamp = record.attrs.subdirs_stamp = now;
    kith_inode_record_encode(&record, buf);
}

enum kith_err kith_inode_record_decode(struct kith_arena *arena, struct kith_bytes bytes,
                                       struct kith_inode_record *ret_record)
{
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t version = kith_read_u8(&reader);
    uint8_t type = kith_read_u8(&reader);
    record.file_id = kith_read_u64(&reader);
    if (reader.failed) {
        return KITH_EFORMAT;
    }
    if (version != RECORD_VERSION) {
        return KITH_EVERSION;
    }
    if (type < KITH_TYPE_FILE || type > KITH_TYPE_LINK) {
        return KITH_EFORMAT;
    }
    record.type = (enum kith_type)type;
    struct kith_field_list list;
    kith_field_list_init(&list, kith_bytes_make(bytes.data + reader.at, bytes.size - reader.at));
    struct kith_field field;
    uint32_t seen = 0;
    enum kith_err err;
    while ((err = kith_field_next(&list, &field)) == KITH_OK) {
        bool taken = false;
        if (field.tag > TAG_LAST) {
            if (field.tag >= KITH_FIELD_CRITICAL) {
                return KITH_EVERSION;
            }
            /* ascending tags: the unknown ones lie together at the end */
            if (record.unknown.size == 0) {
                size_t left = (size_t)(bytes.data + bytes.size - field.whole.data);
                record.unknown = kith_bytes_make(field.whole.data, left);
            }
            continue;
        }
        err = kith_attrs_field(&record.attrs, TAG_ATTRS, &field, &taken);
        if (err == KITH_OK && !taken) {
            err = kith_attrs_more_field(&record.attrs, TAG_MORE, &field, &taken);
        }
        if (err == KITH_OK && !taken) {
            seen |= 1u << field.tag;
            err = read_field(arena, &field, &record);
        }
        if (err != KITH_OK) {
            return err;
        }
    }
    if (err != KITH_ENOTFOUND || !tags_fit(record.type, seen)) {
        return KITH_EFORMAT;
    }
    *ret_record = record;
    return KITH_OK;
}

void kith_moved_mark_encode(const struct kith_moved_mark *mark, struct kith_buf *buf)
{
    kith_buf_put_u8(buf, MARK_VERSION);
    kith_buf_put(buf, mark->group.bytes, KITH_GROUP_SIZE);
    kith_buf_put_sized(buf, mark->name);
    kith_buf_put_u64(buf, mark->file_id);
}

enum kith_err kith_moved_mark_decode(struct kith_bytes bytes, struct kith_moved_mark *ret_mark)
{
    struct kith_moved_mark mark;
    memset(&mark, 0, sizeof mark);
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t version = kith_read_u8(&reader);
    read_group(&reader, &mark.group);
    mark.name = kith_read_sized(&reader, KITH_FS_NAME_MAX);
    mark.file_id = kith_read_u64(&reader);
    if (!kith_reader_done(&reader)) {
        return KITH_EFORMAT;
    }
    if (version != MARK_VERSION) {
        return KITH_EVERSION;
    }
    *ret_mark = mark;
    return KITH_OK;
}
