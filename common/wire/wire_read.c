/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The decoder. The bytes of a frame are copied once, into the arena of its box; byte fields then
 * borrow from the copy. Lists are counted before they are allocated, so memory follows the table's
 * limits and never what a length prefix claims (invariant 12). */
#include <string.h>

#include "wire/wire_impl.h"

struct decoder {
    struct kith_arena *arena;
    struct kith_error *error;
};

struct input {
    const uint8_t *at, *end;
};

static enum kith_err bad(struct decoder *dec, const struct wire_desc *desc, const char *field,
                         const char *what)
{
    return kith_error_set(dec->error, KITH_EFORMAT, "%s.%s: %s", desc->name, field, what);
}

/* A varint of protobuf: up to 10 bytes, in any length. */
static bool read_varint(struct input *in, uint64_t *ret_value)
{
    if (in->at < in->end && *in->at < 0x80) {
        *ret_value = *in->at++;
        return true;
    }
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (in->at == in->end) {
            return false;
        }
        uint8_t byte = *in->at++;
        if (shift == 63 && byte > 1) {
            return false;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool read_tag(struct input *in, uint32_t *ret_number, unsigned *ret_type)
{
    uint64_t tag;
    if (!read_varint(in, &tag) || tag > UINT32_MAX || tag < 8) {
        return false;
    }
    *ret_number = (uint32_t)(tag >> 3);
    *ret_type = (unsigned)(tag & 7);
    return true;
}

static bool read_sized(struct input *in, struct kith_bytes *ret_bytes)
{
    uint64_t size;
    if (!read_varint(in, &size) || size > (uint64_t)(in->end - in->at)) {
        return false;
    }
    *ret_bytes = kith_bytes_make(in->at, (size_t)size);
    in->at += size;
    return true;
}

static bool skip(struct input *in, unsigned type)
{
    uint64_t ignored;
    struct kith_bytes bytes;
    size_t fixed = type == WIRE_64 ? 8 : 4;
    switch (type) {
    case WIRE_VARINT:
        return read_varint(in, &ignored);
    case WIRE_LEN:
        return read_sized(in, &bytes);
    case WIRE_64:
    case WIRE_32:
        if ((size_t)(in->end - in->at) < fixed) {
            return false;
        }
        in->at += fixed;
        return true;
    default:
        return false; /* groups, which proto3 has not */
    }
}

#define AT(base, type, offset) ((type *)(void *)((uint8_t *)(base) + (offset)))

static void init_strings(const struct wire_desc *desc, void *base)
{
    for (unsigned i = 0; i < desc->count; i++) {
        const struct wire_field *field = &desc->fields[i];
        if (field->type == WIRE_STRING) {
            *AT(base, wire_pointer, field->offset) = "";
        } else if (field->type == WIRE_SUB && field->sub->has_strings) {
            init_strings(field->sub, AT(base, uint8_t, field->offset));
        }
    }
}

static void init_struct(const struct wire_desc *desc, void *base)
{
    memset(base, 0, desc->size);
    if (desc->has_strings) {
        init_strings(desc, base);
    }
}

static bool is_list(const struct wire_field *field)
{
    return field->type >= WIRE_SUBS;
}

static unsigned wire_type_of(const struct wire_field *field)
{
    switch ((enum wire_type)field->type) {
    case WIRE_U32:
    case WIRE_U64:
    case WIRE_BOOL:
    case WIRE_U8:
        return WIRE_VARINT;
    case WIRE_FIXED64:
        return WIRE_64;
    default:
        return WIRE_LEN;
    }
}

/* The first pass over a message with lists: counts, checks them and allocates. */
static enum kith_err alloc_lists(struct decoder *dec, const struct wire_desc *desc, struct input in,
                                 void *base)
{
    uint32_t counts[WIRE_LIST_FIELDS_MAX] = {0};
    while (in.at < in.end) {
        uint32_t number;
        unsigned type;
        if (!read_tag(&in, &number, &type) || !skip(&in, type)) {
            return bad(dec, desc, "*", "truncated or malformed");
        }
        if (number <= desc->count) {
            counts[number - 1]++; /* cannot overflow: a message is at most 4 MiB */
        }
    }
    for (unsigned i = 0; i < desc->count; i++) {
        const struct wire_field *field = &desc->fields[i];
        if (!is_list(field) || counts[i] == 0) {
            continue;
        }
        if (counts[i] > field->max) {
            return bad(dec, desc, field->name, "too many");
        }
        size_t each = field->type == WIRE_SUBS     ? field->sub->size
                      : field->type == WIRE_ARRAYS ? field->size
                                                   : sizeof(struct kith_bytes);
        void *list = kith_arena_alloc(dec->arena, counts[i] * each);
        if (!list) {
            return kith_error_set(dec->error, KITH_ENOMEM, "%s.%s: no memory for %u", desc->name,
                                  field->name, (unsigned)counts[i]);
        }
        *AT(base, wire_pointer, field->offset) = list;
    }
    return KITH_OK;
}

static enum kith_err decode(struct decoder *dec, const struct wire_desc *desc,
                            struct kith_bytes bytes, void *base);

static enum kith_err decode_text(struct decoder *dec, const struct wire_desc *desc,
                                 const struct wire_field *field, struct kith_bytes bytes,
                                 void *base)
{
    size_t max = field->type == WIRE_TEXT ? field->size - 1 : field->max;
    if (bytes.size > max) {
        return bad(dec, desc, field->name, "too long");
    }
    if (!wire_utf8_valid(bytes.data, bytes.size)) {
        return bad(dec, desc, field->name, "not UTF-8, or with a NUL");
    }
    if (field->type == WIRE_TEXT) {
        memcpy(AT(base, char, field->offset), bytes.data, bytes.size);
        return KITH_OK; /* the NUL is there already */
    }
    char *text = kith_arena_alloc(dec->arena, bytes.size + 1);
    if (!text) {
        return kith_error_set(dec->error, KITH_ENOMEM, "%s.%s: no memory", desc->name, field->name);
    }
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    *AT(base, wire_pointer, field->offset) = text;
    return KITH_OK;
}

/* The list that alloc_lists made. */
static void *list_of(const struct wire_field *field, void *base)
{
    return (void *)(uintptr_t)*AT(base, wire_pointer, field->offset);
}

/* A field with a length: bytes, text, arrays, messages and the elements of lists. */
static enum kith_err decode_sized(struct decoder *dec, const struct wire_desc *desc,
                                  const struct wire_field *field, struct kith_bytes bytes,
                                  void *base)
{
    uint32_t at = is_list(field) ? (*AT(base, uint32_t, field->extra))++ : 0;
    switch ((enum wire_type)field->type) {
    case WIRE_ARRAY:
        if (bytes.size != field->size && bytes.size != 0) {
            return bad(dec, desc, field->name, "wrong length");
        }
        memcpy(AT(base, uint8_t, field->offset), bytes.data, bytes.size);
        return KITH_OK;
    case WIRE_BYTES:
        if (bytes.size > field->max) {
            return bad(dec, desc, field->name, "too long");
        }
        *AT(base, struct kith_bytes, field->offset) = bytes;
        return KITH_OK;
    case WIRE_SUB_IF:
        *AT(base, bool, field->extra) = true;
        return decode(dec, field->sub, bytes, AT(base, uint8_t, field->offset));
    case WIRE_SUB:
        return decode(dec, field->sub, bytes, AT(base, uint8_t, field->offset));
    case WIRE_SUBS: {
        uint8_t *list = list_of(field, base);
        return decode(dec, field->sub, bytes, list + (size_t)at * field->sub->size);
    }
    case WIRE_ARRAYS: {
        uint8_t *list = list_of(field, base);
        if (bytes.size != field->size) {
            return bad(dec, desc, field->name, "wrong length");
        }
        memcpy(list + (size_t)at * field->size, bytes.data, bytes.size);
        return KITH_OK;
    }
    case WIRE_BYTESES: {
        struct kith_bytes *list = list_of(field, base);
        if (bytes.size > field->size) {
            return bad(dec, desc, field->name, "too long");
        }
        list[at] = bytes;
        return KITH_OK;
    }
    default:
        return decode_text(dec, desc, field, bytes, base);
    }
}

static enum kith_err store_varint(struct decoder *dec, const struct wire_desc *desc,
                                  const struct wire_field *field, uint64_t value, void *base)
{
    if (field->max != 0 && value > field->max && field->type != WIRE_BOOL) {
        return bad(dec, desc, field->name, "above its limit");
    }
    switch ((enum wire_type)field->type) {
    case WIRE_U32:
        *AT(base, uint32_t, field->offset) = (uint32_t)value;
        break;
    case WIRE_BOOL:
        *AT(base, bool, field->offset) = value != 0;
        break;
    case WIRE_U8:
        *AT(base, uint8_t, field->offset) = (uint8_t)value;
        break;
    default:
        *AT(base, uint64_t, field->offset) = value;
        break;
    }
    return KITH_OK;
}

static enum kith_err decode_field(struct decoder *dec, const struct wire_desc *desc,
                                  const struct wire_field *field, struct input *in, void *base)
{
    uint64_t value;
    struct kith_bytes bytes;
    switch (wire_type_of(field)) {
    case WIRE_VARINT:
        if (!read_varint(in, &value)) {
            return bad(dec, desc, field->name, "truncated");
        }
        return store_varint(dec, desc, field, value, base);
    case WIRE_64: {
        struct kith_reader reader;
        kith_reader_init(&reader, kith_bytes_make(in->at, (size_t)(in->end - in->at)));
        *AT(base, uint64_t, field->offset) = kith_read_u64(&reader);
        if (reader.failed) {
            return bad(dec, desc, field->name, "truncated");
        }
        in->at += 8;
        return KITH_OK;
    }
    default:
        if (!read_sized(in, &bytes)) {
            return bad(dec, desc, field->name, "truncated");
        }
        return decode_sized(dec, desc, field, bytes, base);
    }
}

/* Fills the struct at `base` from a message's bytes. */
static enum kith_err decode(struct decoder *dec, const struct wire_desc *desc,
                            struct kith_bytes bytes, void *base)
{
    init_struct(desc, base);
    struct input in = {bytes.data, bytes.data + bytes.size};
    if (desc->has_lists) {
        enum kith_err err = alloc_lists(dec, desc, in, base);
        if (err != KITH_OK) {
            return err;
        }
    }
    uint64_t seen = 0; /* fields by number, all below 64 */
    while (in.at < in.end) {
        uint32_t number;
        unsigned type;
        if (!read_tag(&in, &number, &type)) {
            return bad(dec, desc, "*", "truncated or malformed");
        }
        if (number > desc->count) {
            if (!skip(&in, type)) {
                return bad(dec, desc, "*", "truncated or malformed");
            }
            continue;
        }
        const struct wire_field *field = &desc->fields[number - 1];
        if (type != wire_type_of(field)) {
            return bad(dec, desc, field->name, "wrong type");
        }
        if (!is_list(field)) {
            if (seen & UINT64_C(1) << number) {
                return bad(dec, desc, field->name, "given twice");
            }
            seen |= UINT64_C(1) << number;
        }
        enum kith_err err = decode_field(dec, desc, field, &in, base);
        if (err != KITH_OK) {
            return err;
        }
    }
    return KITH_OK;
}

/* Lists and text take at most this much beside the copied bytes: what the tables allow. */
#define EXTRA_BYTES (2u << 20)

/* A box with a copy of `bytes` in its arena. */
static struct kith_msg_box *new_box(struct kith_bytes *bytes, struct kith_error *error)
{
    struct kith_msg_box *box = kith_msg_box_new(3 * bytes->size + EXTRA_BYTES);
    const uint8_t *copy = box ? kith_arena_copy(&box->arena, bytes->data, bytes->size) : NULL;
    if (!copy) {
        kith_msg_box_drop(box);
        (void)kith_error_set(error, KITH_ENOMEM, "no memory for a message of %zu bytes",
                             bytes->size);
        return NULL;
    }
    bytes->data = copy;
    return box;
}

static enum kith_err decode_body(struct kith_msg_box *box, enum kith_msg_kind kind,
                                 struct kith_bytes bytes, struct kith_error *error)
{
    const struct wire_desc *desc = wire_desc_of(kind);
    if (!desc) {
        return kith_error_set(error, KITH_EFORMAT, "no message has the number %u", (unsigned)kind);
    }
    struct decoder dec = {&box->arena, error};
    enum kith_err err = decode(&dec, desc, bytes, wire_body_of(&box->msg));
    if (err != KITH_OK) {
        return err;
    }
    box->msg.kind = kind;
    if (kind == KITH_MSG_DECIDE && box->msg.u.decide.phase < KITH_DECIDE_PREPARE) {
        return bad(&dec, desc, "phase", "missing");
    }
    if (kind == KITH_MSG_CHUNK_PUT_REQ) {
        box->msg.u.chunk_put_req.payload = NULL;
    } else if (kind == KITH_MSG_CHUNK_RES) {
        box->msg.u.chunk_res.payload = NULL;
    }
    return KITH_OK;
}

/* The fields of a Frame, or of a BulkFrame up to its payload. */
struct frame {
    bool has_id, has_body, has_payload;
    uint64_t id;
    uint32_t kind;
    struct kith_bytes body;
    uint64_t payload_size;
};

static enum kith_err read_frame(struct kith_bytes bytes, bool bulk, struct frame *ret_frame,
                                struct kith_error *error)
{
    struct input in = {bytes.data, bytes.data + bytes.size};
    struct frame frame = {0};
    bool ok = true;
    while (ok && in.at < in.end) {
        uint32_t number;
        unsigned type;
        ok = read_tag(&in, &number, &type);
        if (!ok) {
            break;
        }
        if (number == 1 && type == WIRE_VARINT) {
            ok = !frame.has_id && read_varint(&in, &frame.id);
            frame.has_id = true;
        } else if (number > 1 && type == WIRE_LEN && wire_desc_of((enum kith_msg_kind)number)) {
            ok = !frame.has_body && read_sized(&in, &frame.body);
            frame.has_body = true;
            frame.kind = number;
        } else if (bulk && number == WIRE_BULK_PAYLOAD && type == WIRE_LEN) {
            ok = read_varint(&in, &frame.payload_size) && in.at == in.end;
            frame.has_payload = true;
        } else {
            ok = skip(&in, type);
        }
    }
    if (!ok) {
        return kith_error_set(error, KITH_EFORMAT, "a frame is truncated or malformed");
    }
    if (!frame.has_body) {
        return kith_error_set(error, KITH_EFORMAT, "a frame has no message that is known here");
    }
    *ret_frame = frame;
    return KITH_OK;
}

static enum kith_err unpack_frame(struct kith_bytes bytes, struct kith_msg_box **ret_box,
                                  struct kith_error *error)
{
    struct kith_msg_box *box = new_box(&bytes, error);
    if (!box) {
        return KITH_ENOMEM;
    }
    struct frame frame;
    enum kith_err err = read_frame(bytes, false, &frame, error);
    if (err == KITH_OK) {
        box->msg.id = frame.id;
        err = decode_body(box, (enum kith_msg_kind)frame.kind, frame.body, error);
    }
    if (err != KITH_OK) {
        kith_msg_box_drop(box);
        return err;
    }
    *ret_box = box;
    return KITH_OK;
}

enum kith_err kith_wire_unpack(struct kith_bytes envelope,
                               void (*take)(void *arg, struct kith_msg_box *box), void *arg,
                               struct kith_error *error)
{
    if (envelope.size > KITH_MESSAGE_MAX) {
        return kith_error_set(error, KITH_ETOOBIG,
                              "a message of %zu bytes is above the limit of %u", envelope.size,
                              KITH_MESSAGE_MAX);
    }
    struct input in = {envelope.data, envelope.data + envelope.size};
    while (in.at < in.end) {
        uint32_t number;
        unsigned type;
        struct kith_bytes bytes;
        bool ok = read_tag(&in, &number, &type);
        if (ok && number == 1 && type == WIRE_LEN) {
            if (!read_sized(&in, &bytes)) {
                return kith_error_set(error, KITH_EFORMAT, "an envelope is truncated");
            }
            struct kith_msg_box *box;
            enum kith_err err = unpack_frame(bytes, &box, error);
            if (err != KITH_OK) {
                return err;
            }
            take(arg, box);
        } else if (!ok || number == 1 || !skip(&in, type)) {
            return kith_error_set(error, KITH_EFORMAT, "an envelope is truncated or malformed");
        }
    }
    return KITH_OK;
}

enum kith_err kith_wire_body_unpack(enum kith_msg_kind kind, struct kith_bytes bytes,
                                    struct kith_msg_box **ret_box, struct kith_error *error)
{
    if (bytes.size > KITH_MESSAGE_MAX) {
        return kith_error_set(error, KITH_ETOOBIG,
                              "a message of %zu bytes is above the limit of %u", bytes.size,
                              KITH_MESSAGE_MAX);
    }
    struct kith_msg_box *box = new_box(&bytes, error);
    if (!box) {
        return KITH_ENOMEM;
    }
    enum kith_err err = decode_body(box, kind, bytes, error);
    if (err != KITH_OK) {
        kith_msg_box_drop(box);
        return err;
    }
    *ret_box = box;
    return KITH_OK;
}

/* ---- Bulk ---- */

enum kith_err kith_wire_bulk_split(struct kith_bytes front, size_t total_size,
                                   size_t *ret_prefix_size, size_t *ret_payload_size)
{
    if (total_size > KITH_MESSAGE_MAX) {
        return KITH_ETOOBIG;
    }
    /* when the front is all there is, nothing can be missing but what is malformed */
    enum kith_err missing = front.size < total_size ? KITH_ETOOFEW : KITH_EFORMAT;
    struct input in = {front.data, front.data + front.size};
    while (in.at < in.end) {
        uint32_t number;
        unsigned type;
        if (!read_tag(&in, &number, &type)) {
            return missing;
        }
        if (number == WIRE_BULK_PAYLOAD && type == WIRE_LEN) {
            uint64_t size;
            if (!read_varint(&in, &size)) {
                return missing;
            }
            size_t prefix = (size_t)(in.at - front.data);
            if (size != total_size - prefix) {
                return KITH_EFORMAT;
            }
            if (size > KITH_CHUNK_MAX) {
                return KITH_ETOOBIG;
            }
            *ret_prefix_size = prefix;
            *ret_payload_size = (size_t)size;
            return KITH_OK;
        }
        if (!skip(&in, type)) {
            return missing;
        }
    }
    if (front.size < total_size) {
        return KITH_ETOOFEW;
    }
    *ret_prefix_size = total_size;
    *ret_payload_size = 0;
    return KITH_OK;
}

/* Gives the payload to the box and its message. */
static enum kith_err attach_payload(struct kith_msg_box *box, struct kith_blob *payload,
                                    struct kith_error *error)
{
    box->blob = payload;
    if (box->msg.kind == KITH_MSG_CHUNK_PUT_REQ) {
        box->msg.u.chunk_put_req.payload = payload;
    } else if (box->msg.kind == KITH_MSG_CHUNK_RES) {
        box->msg.u.chunk_res.payload = payload;
    } else if (payload) {
        return kith_error_set(error, KITH_EFORMAT, "%s bears a payload",
                              kith_msg_kind_name(box->msg.kind));
    }
    return KITH_OK;
}

enum kith_err kith_wire_bulk_unpack(struct kith_bytes prefix, struct kith_blob *payload,
                                    struct kith_msg_box **ret_box, struct kith_error *error)
{
    struct kith_msg_box *box = new_box(&prefix, error);
    if (!box) {
        kith_blob_drop(payload);
        return KITH_ENOMEM;
    }
    struct frame frame;
    enum kith_err err = read_frame(prefix, true, &frame, error);
    if (err == KITH_OK && (payload ? payload->size : 0) != frame.payload_size) {
        err = kith_error_set(error, KITH_EFORMAT, "a payload is shorter or longer than it says");
    }
    if (err == KITH_OK) {
        box->msg.id = frame.id;
        err = decode_body(box, (enum kith_msg_kind)frame.kind, frame.body, error);
    }
    if (err == KITH_OK && frame.has_payload && !payload) {
        payload = kith_blob_new(0);
        if (!payload) {
            err = kith_error_set(error, KITH_ENOMEM, "no memory for a payload");
        }
    }
    if (err == KITH_OK) {
        err = attach_payload(box, payload, error);
        payload = NULL;
    }
    if (err != KITH_OK) {
        kith_blob_drop(payload);
        kith_msg_box_drop(box);
        return err;
    }
    *ret_box = box;
    return KITH_OK;
}
