/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "format/field.h"

void kith_field_put(struct kith_buf *buf, uint64_t tag, struct kith_bytes value)
{
    kith_buf_put_varint(buf, tag);
    kith_buf_put_sized(buf, value);
}

void kith_field_list_init(struct kith_field_list *list, struct kith_bytes bytes)
{
    kith_reader_init(&list->reader, bytes);
    list->last_tag = 0;
}

enum kith_err kith_field_next(struct kith_field_list *list, struct kith_field *ret_field)
{
    struct kith_reader *reader = &list->reader;
    if (kith_reader_done(reader)) {
        return KITH_ENOTFOUND;
    }
    size_t start = reader->at;
    uint64_t tag = kith_read_varint(reader);
    struct kith_bytes value = kith_read_sized(reader, SIZE_MAX);
    if (reader->failed || tag <= list->last_tag) {
        return KITH_EFORMAT;
    }
    list->last_tag = tag;
    ret_field->tag = tag;
    ret_field->value = value;
    ret_field->whole = kith_bytes_make(reader->data + start, reader->at - start);
    return KITH_OK;
}
