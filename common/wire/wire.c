/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The encoder. A nested message is preceded by its length, which is known only afterwards: room for
 * the length is guessed from the sizes of the large fields, and what was written is moved by a byte
 * or two where the guess was wrong (correct in any case, rarely needed). */
#include "wire/wire.h"

#include <string.h>

#include "base/assert.h"
#include "wire/wire_impl.h"

struct encoder {
    struct kith_buf *buf;
    struct kith_error *error;
    enum kith_err err;
};

static unsigned varint_size(uint64_t value)
{
    return value == 0 ? 1 : (70u - (unsigned)__builtin_clzll(value)) / 7u;
}

static uint8_t *write_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Tag and varint value, at most 15 bytes. */
static void put_varint(struct kith_buf *buf, uint32_t tag, uint64_t value)
{
    if (kith_buf_reserve(buf, 15)) {
        uint8_t *at = write_varint(buf->data + buf->size, tag);
        buf->size = (size_t)(write_varint(at, value) - buf->data);
    }
}

static void put_sized(struct kith_buf *buf, uint32_t tag, const void *data, size_t size)
{
    if (kith_buf_reserve(buf, 15 + size)) {
        uint8_t *at = write_varint(buf->data + buf->size, tag);
        at = write_varint(at, size);
        if (size != 0) {
            memcpy(at, data, size);
        }
        buf->size = (size_t)(at - buf->data) + size;
    }
}

static void fail(struct encoder *enc, const struct wire_desc *desc, const struct wire_field *field,
                 uint64_t value, uint64_t max)
{
    if (enc->err == KITH_OK) {
        enc->err = kith_error_set(enc->error, KITH_EINVAL, "%s.%s: %llu is above the limit of %llu",
                                  desc->name, field->name, (unsigned long long)value,
                                  (unsigned long long)max);
    }
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

#define AT(base, type, offset) ((const type *)(const void *)((const uint8_t *)(base) + (offset)))

/* About how many bytes the encoded struct takes; only the large fields matter. */
static size_t guess_size(const struct wire_desc *desc, const void *base)
{
    size_t size = 16;
    for (unsigned i = 0; i < desc->count; i++) {
        const struct wire_field *field = &desc->fields[i];
        if (field->type == WIRE_BYTES) {
            size += AT(base, struct kith_bytes, field->offset)->size;
        } else if (field->type == WIRE_SUBS) {
            uint32_t count = *AT(base, uint32_t, field->extra);
            const uint8_t *element = *AT(base, wire_pointer, field->offset);
            for (uint32_t k = 0; count <= field->max && k < count; k++) {
                size += guess_size(field->sub, element + (size_t)k * field->sub->size);
            }
        } else if (field->type == WIRE_ARRAYS) {
            size += (size_t)*AT(base, uint32_t, field->extra) * (field->size + 2);
        } else if (field->type == WIRE_BYTESES) {
            uint32_t count = *AT(base, uint32_t, field->extra);
            const struct kith_bytes *element = *AT(base, wire_pointer, field->offset);
            for (uint32_t k = 0; count <= field->max && k < count; k++) {
                size += element[k].size + 2;
            }
        } else {
            size += field->type == WIRE_ARRAY ? field->size : 2;
        }
    }
    return size;
}

static void encode(struct encoder *enc, const struct wire_desc *desc, const void *base);

/* A nested message; nothing at all when it is empty and `omit_empty`. */
static void put_sub(struct encoder *enc, uint32_t tag, const struct wire_desc *desc,
                    const void *base, bool omit_empty)
{
    struct kith_buf *buf = enc->buf;
    size_t before = buf->size;
    unsigned room = varint_size(guess_size(desc, base));
    if (!kith_buf_reserve(buf, 15)) {
        return;
    }
    buf->size = (size_t)(write_varint(buf->data + buf->size, tag) - buf->data);
    size_t at = buf->size;
    buf->size += room;
    encode(enc, desc, base);
    if (enc->err != KITH_OK || buf->failed) {
        return;
    }
    size_t size = buf->size - at - room;
    if (size == 0 && omit_empty) {
        buf->size = before;
        return;
    }
    unsigned need = varint_size(size);
    if (need != room) {
        if (need > room && !kith_buf_reserve(buf, need - room)) {
            return;
        }
        memmove(buf->data + at + need, buf->data + at + room, size);
        buf->size = at + need + size;
    }
    write_varint(buf->data + at, size);
}

bool wire_utf8_valid(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint8_t c = text[i];
        unsigned more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : 3;
        if (c == 0 || (c >= 0x80 && c < 0xc2) || c > 0xf4 || size - i <= more) {
            return false;
        }
        for (unsigned k = 1; k <= more; k++) {
            if ((text[i + k] & 0xc0) != 0x80) {
                return false;
            }
        }
        if ((c == 0xe0 && text[i + 1] < 0xa0) || (c == 0xed && text[i + 1] > 0x9f) ||
            (c == 0xf0 && text[i + 1] < 0x90) || (c == 0xf4 && text[i + 1] > 0x8f)) {
            return false; /* overlong, a surrogate, or above U+10FFFF */
        }
        i += 1 + more;
    }
    return true;
}

/* Text is for people: rather shortened, or with '?' in it, than refused. */
static void put_text(struct kith_buf *buf, uint32_t tag, const char *text, size_t max)
{
    size_t size = text ? strnlen(text, max + 1) : 0;
    if (size == 0) {
        return;
    }
    if (size > max) {
        size = max;
        while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) {
            size--; /* never cut within a character */
        }
    }
    put_sized(buf, tag, text, size);
    if (!buf->failed && !wire_utf8_valid((const uint8_t *)text, size)) {
        for (uint8_t *c = buf->data + buf->size - size; c < buf->data + buf->size; c++) {
            *c = *c >= 0x80 ? '?' : *c;
        }
    }
}

/* The lists. */
static void encode_list(struct encoder *enc, const struct wire_desc *desc,
                        const struct wire_field *field, const void *base, uint32_t tag)
{
    uint32_t count = *AT(base, uint32_t, field->extra);
    if (count > field->max) {
        fail(enc, desc, field, count, field->max);
        return;
    }
    const uint8_t *element = *AT(base, wire_pointer, field->offset);
    for (uint32_t i = 0; i < count && enc->err == KITH_OK; i++) {
        if (field->type == WIRE_SUBS) {
            put_sub(enc, tag, field->sub, element + (size_t)i * field->sub->size, false);
        } else if (field->type == WIRE_ARRAYS) {
            put_sized(enc->buf, tag, element + (size_t)i * field->size, field->size);
        } else {
            const struct kith_bytes *bytes = (const struct kith_bytes *)(const void *)element + i;
            if (bytes->size > field->size) {
                fail(enc, desc, field, bytes->size, field->size);
                return;
            }
            put_sized(enc->buf, tag, bytes->data, bytes->size);
        }
    }
}

static uint64_t load_varint(const struct wire_field *field, const void *base)
{
    switch ((enum wire_type)field->type) {
    case WIRE_U32:
        return *AT(base, uint32_t, field->offset);
    case WIRE_BOOL:
        return *AT(base, bool, field->offset);
    case WIRE_U8:
        return *AT(base, uint8_t, field->offset);
    default:
        return *AT(base, uint64_t, field->offset);
    }
}

static void encode_field(struct encoder *enc, const struct wire_desc *desc,
                         const struct wire_field *field, const void *base)
{
    struct kith_buf *buf = enc->buf;
    uint32_t tag = (uint32_t)field->number << 3 | WIRE_LEN;
    const uint8_t *at = (const uint8_t *)base + field->offset;
    switch ((enum wire_type)field->type) {
    case WIRE_U32:
    case WIRE_U64:
    case WIRE_BOOL:
    case WIRE_U8: {
        uint64_t value = load_varint(field, base);
        if (field->max != 0 && value > field->max) {
            fail(enc, desc, field, value, field->max);
        } else if (value != 0) {
            put_varint(buf, (uint32_t)field->number << 3 | WIRE_VARINT, value);
        }
        break;
    }
    case WIRE_FIXED64: {
        uint64_t value = load_varint(field, base);
        if (value != 0) {
            kith_buf_put_u8(buf, (uint8_t)(field->number << 3 | WIRE_64));
            kith_buf_put_u64(buf, value);
        }
        break;
    }
    case WIRE_ARRAY:
        if (!is_zero(at, field->size)) {
            put_sized(buf, tag, at, field->size);
        }
        break;
    case WIRE_BYTES: {
        const struct kith_bytes *bytes = AT(base, struct kith_bytes, field->offset);
        if (bytes->size > field->max) {
            fail(enc, desc, field, bytes->size, field->max);
        } else if (bytes->size != 0) {
            put_sized(buf, tag, bytes->data, bytes->size);
        }
        break;
    }
    case WIRE_STRING:
        put_text(buf, tag, *AT(base, wire_pointer, field->offset), field->max);
        break;
    case WIRE_TEXT:
        put_text(buf, tag, (const char *)at, field->size - 1);
        break;
    case WIRE_SUB:
        put_sub(enc, tag, field->sub, at, true);
        break;
    case WIRE_SUB_IF:
        if (*AT(base, bool, field->extra)) {
            put_sub(enc, tag, field->sub, at, false);
        }
        break;
    case WIRE_SUBS:
    case WIRE_ARRAYS:
    case WIRE_BYTESES:
        encode_list(enc, desc, field, base, tag);
        break;
    }
}

static void encode(struct encoder *enc, const struct wire_desc *desc, const void *base)
{
    for (unsigned i = 0; i < desc->count && enc->err == KITH_OK; i++) {
        encode_field(enc, desc, &desc->fields[i], base);
    }
}

/* The encoder's verdict; on an error the buffer is as it was. */
static enum kith_err finish(struct encoder *enc, size_t before)
{
    if (enc->err == KITH_OK && enc->buf->failed) {
        enc->err = kith_error_set(enc->error, KITH_ENOMEM, "no memory to encode a message");
    }
    if (enc->err != KITH_OK) {
        enc->buf->size = before;
        enc->buf->failed = false;
    }
    return enc->err;
}

static void put_frame_fields(struct encoder *enc, const struct kith_msg *msg,
                             const struct wire_desc *desc)
{
    if (msg->id != 0) {
        put_varint(enc->buf, 1u << 3 | WIRE_VARINT, msg->id);
    }
    put_sub(enc, (uint32_t)msg->kind << 3 | WIRE_LEN, desc, &msg->u, false);
}

enum kith_err kith_wire_try_append(const struct kith_msg *msg, struct kith_buf *buf,
                                   struct kith_error *error)
{
    const struct wire_desc *desc = wire_desc_of(msg->kind);
    KITH_ASSERT(desc);
    KITH_ASSERT(!buf->failed);
    struct encoder enc = {buf, error, KITH_OK};
    size_t before = buf->size;
    unsigned room = varint_size(guess_size(desc, &msg->u) + 12);
    if (kith_buf_reserve(buf, 15)) {
        buf->data[buf->size] = 1u << 3 | WIRE_LEN; /* Envelope.frames */
        size_t at = buf->size + 1;
        buf->size = at + room;
        put_frame_fields(&enc, msg, desc);
        size_t size = buf->size - at - room;
        unsigned need = varint_size(size);
        if (need != room && !buf->failed && enc.err == KITH_OK && kith_buf_reserve(buf, 10)) {
            memmove(buf->data + at + need, buf->data + at + room, size);
            buf->size = at + need + size;
        }
        if (!buf->failed) {
            write_varint(buf->data + at, size);
        }
    }
    return finish(&enc, before);
}

void kith_wire_append(const struct kith_msg *msg, struct kith_buf *buf)
{
    if (!buf->failed && kith_wire_try_append(msg, buf, NULL) != KITH_OK) {
        buf->failed = true;
    }
}

enum kith_err kith_wire_body_append(const struct kith_msg *msg, struct kith_buf *buf,
                                    struct kith_error *error)
{
    const struct wire_desc *desc = wire_desc_of(msg->kind);
    KITH_ASSERT(desc);
    KITH_ASSERT(!buf->failed);
    struct encoder enc = {buf, error, KITH_OK};
    size_t before = buf->size;
    encode(&enc, desc, &msg->u);
    return finish(&enc, before);
}

bool kith_wire_is_bulk(enum kith_msg_kind kind)
{
    return kind == KITH_MSG_CHUNK_PUT_REQ || kind == KITH_MSG_CHUNK_GET_REQ ||
           kind == KITH_MSG_CHUNK_RES;
}

void kith_wire_bulk_prefix(const struct kith_msg *msg, struct kith_buf *buf,
                           struct kith_blob **ret_payload)
{
    const struct wire_desc *desc = wire_desc_of(msg->kind);
    KITH_ASSERT(desc);
    *ret_payload = msg->kind == KITH_MSG_CHUNK_PUT_REQ ? msg->u.chunk_put_req.payload
                   : msg->kind == KITH_MSG_CHUNK_RES   ? msg->u.chunk_res.payload
                                                       : NULL;
    if (buf->failed) {
        return;
    }
    struct encoder enc = {buf, NULL, KITH_OK};
    size_t before = buf->size;
    put_frame_fields(&enc, msg, desc);
    if (*ret_payload && (*ret_payload)->size > KITH_CHUNK_MAX) {
        enc.err = KITH_EINVAL;
    }
    if (*ret_payload && enc.err == KITH_OK) {
        put_varint(buf, WIRE_BULK_PAYLOAD << 3 | WIRE_LEN, (*ret_payload)->size);
    }
    if (finish(&enc, before) != KITH_OK) {
        buf->failed = true;
    }
}
