/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_record.h"

#include <string.h>

#define TYPE_AT KITH_CHECKSUM_SIZE

static void put_row(const struct kith_backup_record *record, struct kith_buf *buf)
{
    kith_buf_put_u32(buf, record->u.row.partition);
    kith_buf_put(buf, record->u.row.group.bytes, KITH_GROUP_SIZE);
    kith_buf_put_sized(buf, record->u.row.name);
    kith_buf_put(buf, record->u.row.hash.bytes, KITH_CHECKSUM_SIZE);
    kith_buf_put(buf, record->u.row.state.data, record->u.row.state.size);
}

static void put_chunk(const struct kith_backup_record *record, struct kith_buf *buf)
{
    kith_buf_put(buf, record->u.chunk.id.bytes, KITH_CHUNK_ID_SIZE);
    kith_buf_put(buf, record->u.chunk.checksum.bytes, KITH_CHECKSUM_SIZE);
    kith_buf_put_varint(buf, record->u.chunk.ref_count);
    kith_buf_put(buf, record->u.chunk.refs, record->u.chunk.ref_count * KITH_CHUNK_ID_SIZE);
    kith_buf_put(buf, record->u.chunk.contents.data, record->u.chunk.contents.size);
}

static void put_payload(const struct kith_backup_record *record, struct kith_buf *buf)
{
    switch (record->type) {
    case KITH_BACKUP_HEAD:
        kith_buf_put_u8(buf, KITH_BACKUP_FORMAT);
        kith_buf_put(buf, record->u.head.cluster.bytes, sizeof record->u.head.cluster.bytes);
        kith_buf_put_u32(buf, record->u.head.partitions);
        kith_buf_put_u32(buf, record->u.head.partition);
        return;
    case KITH_BACKUP_ROW:
        put_row(record, buf);
        return;
    case KITH_BACKUP_MARK:
        kith_buf_put_u32(buf, record->u.mark.partition);
        kith_buf_put_u64(buf, record->u.mark.run);
        kith_buf_put(buf, record->u.mark.root.bytes, KITH_CHECKSUM_SIZE);
        kith_buf_put_u64(buf, record->u.mark.rows);
        kith_buf_put_u64(buf, record->u.mark.time_ms);
        kith_buf_put_u8(buf, record->u.mark.whole);
        return;
    case KITH_BACKUP_CHUNK:
        put_chunk(record, buf);
        return;
    case KITH_BACKUP_END:
        kith_buf_put_u64(buf, record->u.end.rows);
        kith_buf_put_u64(buf, record->u.end.chunks);
        kith_buf_put_u8(buf, record->u.end.whole);
        return;
    }
}

void kith_backup_record_append(const struct kith_backup_record *record, struct kith_buf *buf)
{
    static const uint8_t none[KITH_CHECKSUM_SIZE];
    size_t at = buf->size;
    kith_buf_put(buf, none, sizeof none);
    kith_buf_put_u32(buf, record->type); /* the type and three zeros */
    kith_buf_put_u32(buf, 0);
    put_payload(record, buf);
    if (buf->failed) {
        return;
    }
    size_t size = buf->size - at - KITH_BACKUP_HEAD_SIZE;
    for (uint32_t i = 0; i < 4; i++) {
        buf->data[at + TYPE_AT + 4 + i] = (uint8_t)(size >> (8 * i));
    }
    struct kith_checksum sum =
        kith_checksum_of(kith_bytes_make(buf->data + at + TYPE_AT, buf->size - at - TYPE_AT));
    memcpy(buf->data + at, sum.bytes, sizeof sum.bytes);
}

enum kith_err kith_backup_record_size(struct kith_bytes head, enum kith_backup_type *ret_type,
                                      size_t *ret_size)
{
    struct kith_reader reader;
    kith_reader_init(&reader, head);
    (void)kith_read(&reader, KITH_CHECKSUM_SIZE);
    uint32_t type = kith_read_u32(&reader), size = kith_read_u32(&reader);
    if (reader.failed || type < KITH_BACKUP_HEAD || type > KITH_BACKUP_END ||
        size > KITH_BACKUP_PAYLOAD_MAX) {
        return KITH_EFORMAT;
    }
    *ret_type = (enum kith_backup_type)type;
    *ret_size = KITH_BACKUP_HEAD_SIZE + size;
    return KITH_OK;
}

static bool read_to(struct kith_reader *reader, void *to, size_t size)
{
    const uint8_t *bytes = kith_read(reader, size);
    if (bytes) {
        memcpy(to, bytes, size);
    }
    return bytes != NULL;
}

static struct kith_bytes read_rest(struct kith_reader *reader)
{
    size_t left = kith_reader_left(reader);
    return kith_bytes_make(kith_read(reader, left), left);
}

static bool read_flag(struct kith_reader *reader)
{
    uint8_t flag = kith_read_u8(reader);
    reader->failed = reader->failed || flag > 1;
    return flag == 1;
}

static enum kith_err read_chunk(struct kith_arena *arena, struct kith_reader *reader,
                                struct kith_backup_record *record)
{
    (void)read_to(reader, record->u.chunk.id.bytes, KITH_CHUNK_ID_SIZE);
    (void)read_to(reader, record->u.chunk.checksum.bytes, KITH_CHECKSUM_SIZE);
    uint64_t refs = kith_read_varint(reader);
    if (reader->failed || refs > KITH_REFS_MAX) {
        return KITH_EFORMAT;
    }
    const uint8_t *ids = kith_read(reader, (size_t)refs * KITH_CHUNK_ID_SIZE);
    if (!ids) {
        return KITH_EFORMAT;
    }
    record->u.chunk.ref_count = (uint32_t)refs;
    record->u.chunk.refs = kith_arena_copy(arena, ids, (size_t)refs * KITH_CHUNK_ID_SIZE);
    record->u.chunk.contents = read_rest(reader);
    size_t size = record->u.chunk.contents.size;
    return !record->u.chunk.refs                  ? KITH_ENOMEM
           : size == 0 || size > KITH_CHUNK_MAX ? KITH_EFORMAT
                                                  : KITH_OK;
}

static enum kith_err read_head(struct kith_reader *reader, struct kith_backup_record *record)
{
    if (kith_read_u8(reader) != KITH_BACKUP_FORMAT) {
        return reader->failed ? KITH_EFORMAT : KITH_EVERSION;
    }
    (void)read_to(reader, record->u.head.cluster.bytes, sizeof record->u.head.cluster.bytes);
    record->u.head.partitions = kith_read_u32(reader);
    record->u.head.partition = kith_read_u32(reader);
    uint32_t q = record->u.head.partitions, p = record->u.head.partition;
    return q > 0 && q <= KITH_PARTITIONS_MAX && (q & (q - 1)) == 0 && (p < q || p == UINT32_MAX)
               ? KITH_OK
               : KITH_EFORMAT;
}

static enum kith_err read_row(struct kith_reader *reader, struct kith_backup_record *record)
{
    record->u.row.partition = kith_read_u32(reader);
    (void)read_to(reader, record->u.row.group.bytes, KITH_GROUP_SIZE);
    record->u.row.name = kith_read_sized(reader, KITH_NAME_MAX);
    (void)read_to(reader, record->u.row.hash.bytes, KITH_CHECKSUM_SIZE);
    if (reader->failed || record->u.row.partition >= KITH_PARTITIONS_MAX) {
        return KITH_EFORMAT;
    }
    record->u.row.state = read_rest(reader);
    return record->u.row.state.size <= KITH_ROW_STATE_MAX ? KITH_OK : KITH_EFORMAT;
}

static enum kith_err read_payload(struct kith_arena *arena, struct kith_reader *reader,
                                  struct kith_backup_record *record)
{
    switch (record->type) {
    case KITH_BACKUP_HEAD:
        return read_head(reader, record);
    case KITH_BACKUP_ROW:
        return read_row(reader, record);
    case KITH_BACKUP_MARK:
        record->u.mark.partition = kith_read_u32(reader);
        record->u.mark.run = kith_read_u64(reader);
        (void)read_to(reader, record->u.mark.root.bytes, KITH_CHECKSUM_SIZE);
        record->u.mark.rows = kith_read_u64(reader);
        record->u.mark.time_ms = kith_read_u64(reader);
        record->u.mark.whole = read_flag(reader);
        return record->u.mark.partition < KITH_PARTITIONS_MAX ? KITH_OK : KITH_EFORMAT;
    case KITH_BACKUP_CHUNK:
        return read_chunk(arena, reader, record);
    case KITH_BACKUP_END:
        record->u.end.rows = kith_read_u64(reader);
        record->u.end.chunks = kith_read_u64(reader);
        record->u.end.whole = read_flag(reader);
        return KITH_OK;
    }
    return KITH_EFORMAT;
}

enum kith_err kith_backup_record_decode(struct kith_arena *arena, struct kith_bytes bytes,
                                        struct kith_backup_record *ret_record, size_t *ret_size)
{
    struct kith_reader reader;
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    *ret_size = KITH_BACKUP_HEAD_SIZE;
    if (bytes.size < KITH_BACKUP_HEAD_SIZE) {
        return KITH_ETOOFEW;
    }
    enum kith_err err = kith_backup_record_size(bytes, &record.type, ret_size);
    if (err != KITH_OK || bytes.size < *ret_size) {
        return err != KITH_OK ? err : KITH_ETOOFEW;
    }
    struct kith_checksum sum =
        kith_checksum_of(kith_bytes_make(bytes.data + TYPE_AT, *ret_size - TYPE_AT));
    if (memcmp(bytes.data, sum.bytes, sizeof sum.bytes) != 0) {
        return KITH_ECORRUPT;
    }
    kith_reader_init(&reader, kith_bytes_make(bytes.data + KITH_BACKUP_HEAD_SIZE,
                                              *ret_size - KITH_BACKUP_HEAD_SIZE));
    err = read_payload(arena, &reader, &record);
    if (err == KITH_OK && !kith_reader_done(&reader)) {
        err = KITH_EFORMAT;
    }
    if (err == KITH_OK) {
        *ret_record = record;
    }
    return err;
}

bool kith_backup_record_follows(struct kith_bytes bytes)
{
    for (size_t at = 1; at + KITH_BACKUP_HEAD_SIZE <= bytes.size; at++) {
        struct kith_bytes rest = kith_bytes_make(bytes.data + at, bytes.size - at);
        enum kith_backup_type type;
        size_t size = 0;
        if (kith_backup_record_size(rest, &type, &size) == KITH_OK && size <= rest.size) {
            struct kith_checksum sum =
                kith_checksum_of(kith_bytes_make(rest.data + TYPE_AT, size - TYPE_AT));
            if (memcmp(rest.data, sum.bytes, sizeof sum.bytes) == 0) {
                return true;
            }
        }
    }
    return false;
}
