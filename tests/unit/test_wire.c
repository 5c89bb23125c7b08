/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_wire.c - the wire codec against itself and against the code that protobuf-c makes from
 * proto/: random messages of every kind, made and compared by walking the tables. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "frame.pb-c.h"
#include "wire/wire_impl.h"
#include "wire_taken.h"

#define AT(base, type, offset) ((type *)(void *)((uint8_t *)(base) + (offset)))

static uint64_t random_state;

static uint64_t draw(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t draw_below(uint64_t bound)
{
    return draw() % bound;
}

static void fill(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)draw();
    }
}

/* Sizes around those where a length prefix grows, up to max. */
static size_t random_size(size_t max)
{
    static const size_t edges[] = {0, 1, 16, 100, 126, 127, 128, 129, 300, 16383, 16384, 16400};
    size_t size = edges[draw_below(draw_below(40) == 0 ? 12 : 9)];
    return size > max ? max : size;
}

static struct kith_bytes random_bytes(struct kith_arena *arena, size_t max)
{
    size_t size = random_size(max);
    uint8_t *data = kith_arena_alloc(arena, size);
    assert_non_null(data);
    fill(data, size);
    return kith_bytes_make(data, size);
}

static void random_text(char *text, size_t max)
{
    static const char *const pieces[] = {"a", "-", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    size_t want = random_size(max);
    size_t size = 0;
    for (;;) {
        const char *piece = pieces[draw_below(5)];
        if (size + strlen(piece) > want) {
            break;
        }
        memcpy(text + size, piece, strlen(piece));
        size += strlen(piece);
    }
    text[size] = '\0';
}

static void random_struct(struct kith_arena *arena, const struct wire_desc *desc, void *base);

static void random_list(struct kith_arena *arena, const struct wire_field *field, void *base)
{
    uint32_t count = (uint32_t)draw_below(draw_below(50) == 0 ? 40 : 4);
    count = count > field->max ? field->max : count;
    size_t each = field->type == WIRE_SUBS     ? field->sub->size
                  : field->type == WIRE_ARRAYS ? field->size
                                               : sizeof(struct kith_bytes);
    uint8_t *list = kith_arena_calloc(arena, count, each);
    assert_non_null(list);
    for (uint32_t i = 0; i < count; i++) {
        if (field->type == WIRE_SUBS) {
            random_struct(arena, field->sub, list + i * each);
        } else if (field->type == WIRE_ARRAYS) {
            fill(list + i * each, each);
        } else {
            ((struct kith_bytes *)(void *)list)[i] = random_bytes(arena, field->size);
        }
    }
    *AT(base, uint32_t, field->extra) = count;
    *AT(base, wire_pointer, field->offset) = list;
}

static uint64_t random_number(uint64_t max)
{
    uint64_t value = draw() >> draw_below(64);
    return value > max ? max : value;
}

static void random_field(struct kith_arena *arena, const struct wire_field *field, void *base)
{
    void *at = AT(base, uint8_t, field->offset);
    switch ((enum wire_type)field->type) {
    case WIRE_U32:
        *(uint32_t *)at = (uint32_t)random_number(field->max);
        break;
    case WIRE_U64:
    case WIRE_FIXED64:
        *(uint64_t *)at = random_number(UINT64_MAX);
        break;
    case WIRE_BOOL:
        *(bool *)at = draw_below(2) == 0;
        break;
    case WIRE_U8:
        *(uint8_t *)at = (uint8_t)random_number(UINT8_MAX);
        break;
    case WIRE_ARRAY:
        if (draw_below(4) != 0) {
            fill(at, field->size);
        }
        break;
    case WIRE_BYTES:
        *(struct kith_bytes *)at = random_bytes(arena, field->max);
        break;
    case WIRE_STRING: {
        char *text = kith_arena_alloc(arena, field->max + 1);
        assert_non_null(text);
        random_text(text, field->max);
        *AT(base, wire_pointer, field->offset) = text;
        break;
    }
    case WIRE_TEXT:
        random_text(at, field->size - 1);
        break;
    case WIRE_SUB_IF:
        *AT(base, bool, field->extra) = draw_below(2) == 0;
        if (*AT(base, bool, field->extra)) {
            random_struct(arena, field->sub, at);
        }
        break;
    case WIRE_SUB:
        random_struct(arena, field->sub, at);
        break;
    default:
        random_list(arena, field, base);
        break;
    }
}

static void random_struct(struct kith_arena *arena, const struct wire_desc *desc, void *base)
{
    memset(base, 0, desc->size);
    for (unsigned i = 0; i < desc->count; i++) {
        random_field(arena, &desc->fields[i], base);
    }
}

static bool struct_equal(const struct wire_desc *desc, const void *a, const void *b);

static bool list_equal(const struct wire_field *field, const void *a, const void *b)
{
    uint32_t count = *AT(a, uint32_t, field->extra);
    if (count != *AT(b, uint32_t, field->extra)) {
        return false;
    }
    const uint8_t *la = *AT(a, wire_pointer, field->offset);
    const uint8_t *lb = *AT(b, wire_pointer, field->offset);
    for (uint32_t i = 0; i < count; i++) {
        bool same;
        if (field->type == WIRE_SUBS) {
            size_t at = (size_t)i * field->sub->size;
            same = struct_equal(field->sub, la + at, lb + at);
        } else if (field->type == WIRE_ARRAYS) {
            size_t at = (size_t)i * field->size;
            same = memcmp(la + at, lb + at, field->size) == 0;
        } else {
            same = kith_bytes_equal(((const struct kith_bytes *)(const void *)la)[i],
                                    ((const struct kith_bytes *)(const void *)lb)[i]);
        }
        if (!same) {
            return false;
        }
    }
    return true;
}

static bool field_equal(const struct wire_field *field, const void *a, const void *b)
{
    const void *fa = AT(a, uint8_t, field->offset);
    const void *fb = AT(b, uint8_t, field->offset);
    switch ((enum wire_type)field->type) {
    case WIRE_U32:
        return memcmp(fa, fb, 4) == 0;
    case WIRE_U64:
    case WIRE_FIXED64:
        return memcmp(fa, fb, 8) == 0;
    case WIRE_BOOL:
    case WIRE_U8:
        return memcmp(fa, fb, 1) == 0;
    case WIRE_ARRAY:
        return memcmp(fa, fb, field->size) == 0;
    case WIRE_BYTES:
        return kith_bytes_equal(*(const struct kith_bytes *)fa, *(const struct kith_bytes *)fb);
    case WIRE_STRING:
        return strcmp(*(const wire_pointer *)fa, *(const wire_pointer *)fb) == 0;
    case WIRE_TEXT:
        return strcmp(fa, fb) == 0;
    case WIRE_SUB_IF:
        return *AT(a, bool, field->extra) == *AT(b, bool, field->extra) &&
               (!*AT(a, bool, field->extra) || struct_equal(field->sub, fa, fb));
    case WIRE_SUB:
        return struct_equal(field->sub, fa, fb);
    default:
        return list_equal(field, a, b);
    }
}

static bool struct_equal(const struct wire_desc *desc, const void *a, const void *b)
{
    for (unsigned i = 0; i < desc->count; i++) {
        if (!field_equal(&desc->fields[i], a, b)) {
            print_error("%s.%s differs\n", desc->name, desc->fields[i].name);
            return false;
        }
    }
    return true;
}

static const enum kith_msg_kind kinds[] = {
#define X(name, number, member, type) KITH_MSG_##name,
    KITH_MSG_MAP(X)
#undef X
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static void random_msg(struct kith_arena *arena, enum kith_msg_kind kind, struct kith_msg *ret_msg)
{
    memset(ret_msg, 0, sizeof *ret_msg);
    ret_msg->kind = kind;
    ret_msg->id = random_number(UINT64_MAX);
    random_struct(arena, wire_desc_of(kind), &ret_msg->u);
    if (kind == KITH_MSG_DECIDE) {
        ret_msg->u.decide.phase = (enum kith_decide_phase)(1 + draw_below(5));
    }
}

static void check_same(const struct kith_msg *a, const struct kith_msg *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->id == b->id);
    assert_true(struct_equal(wire_desc_of(a->kind), &a->u, &b->u));
}

/* What protobuf-c makes of our bytes and packs again must be our bytes. */
static void check_protobuf_c(const struct kith_buf *buf)
{
    Kith__V1__Envelope *envelope = kith__v1__envelope__unpack(NULL, buf->size, buf->data);
    assert_non_null(envelope);
    size_t size = kith__v1__envelope__get_packed_size(envelope);
    assert_int_equal(size, buf->size);
    uint8_t *packed = kith_malloc(size);
    assert_non_null(packed);
    kith__v1__envelope__pack(envelope, packed);
    assert_memory_equal(packed, buf->data, size);
    kith_free(packed);
    kith__v1__envelope__free_unpacked(envelope, NULL);
}

static void test_round_trip(void **state)
{
    (void)state;
    random_state = 1;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_buf buf;
    kith_buf_init(&buf);
    for (int round = 0; round < 300; round++) {
        for (unsigned k = 0; k < KIND_COUNT; k++) {
            unsigned kind = kinds[k];
            struct kith_msg msg;
            random_msg(&arena, (enum kith_msg_kind)kind, &msg);
            kith_buf_clear(&buf);
            kith_wire_append(&msg, &buf);
            assert_false(buf.failed);
            struct taken taken = {0};
            struct kith_error error;
            enum kith_err err = kith_wire_unpack(kith_buf_bytes(&buf), take, &taken, &error);
            if (err != KITH_OK) {
                fail_msg("%s: %s", kith_msg_kind_name(msg.kind), error.message);
            }
            assert_int_equal(taken.count, 1);
            check_same(&msg, &taken.boxes[0]->msg);
            check_protobuf_c(&buf);
            drop_all(&taken);
            kith_arena_reset(&arena);
        }
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

/* Unary bodies. */
static void test_body(void **state)
{
    (void)state;
    random_state = 2;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_buf buf;
    kith_buf_init(&buf);
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        unsigned kind = kinds[k];
        struct kith_msg msg;
        random_msg(&arena, (enum kith_msg_kind)kind, &msg);
        msg.id = 0;
        kith_buf_clear(&buf);
        assert_int_equal(kith_wire_body_append(&msg, &buf, NULL), KITH_OK);
        struct kith_msg_box *box = NULL;
        assert_int_equal(kith_wire_body_unpack(msg.kind, kith_buf_bytes(&buf), &box, NULL),
                         KITH_OK);
        check_same(&msg, &box->msg);
        kith_msg_box_drop(box);
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

/* The tables name the same fields, numbers and types as proto/. */
static void check_desc(const struct wire_desc *desc, const ProtobufCMessageDescriptor *proto)
{
    assert_string_equal(desc->name, proto->short_name);
    assert_int_equal(desc->count, proto->n_fields);
    for (unsigned i = 0; i < desc->count; i++) {
        const struct wire_field *field = &desc->fields[i];
        const ProtobufCFieldDescriptor *want = &proto->fields[i];
        const char *dot = strrchr(field->name, '.');
        assert_string_equal(dot ? dot + 1 : field->name, want->name);
        assert_int_equal(field->number, want->id);
        assert_int_equal(field->number, i + 1);
        assert_true((field->type >= WIRE_SUBS) == (want->label == PROTOBUF_C_LABEL_REPEATED));
        switch (want->type) {
        case PROTOBUF_C_TYPE_UINT32:
            assert_true(field->type == WIRE_U32 || field->type == WIRE_U8);
            break;
        case PROTOBUF_C_TYPE_ENUM:
            assert_int_equal(field->type, WIRE_U32);
            break;
        case PROTOBUF_C_TYPE_UINT64:
            assert_int_equal(field->type, WIRE_U64);
            break;
        case PROTOBUF_C_TYPE_FIXED64:
            assert_int_equal(field->type, WIRE_FIXED64);
            break;
        case PROTOBUF_C_TYPE_BOOL:
            assert_int_equal(field->type, WIRE_BOOL);
            break;
        case PROTOBUF_C_TYPE_STRING:
            assert_true(field->type == WIRE_STRING || field->type == WIRE_TEXT);
            break;
        case PROTOBUF_C_TYPE_BYTES:
            assert_true(field->type == WIRE_BYTES || field->type == WIRE_ARRAY ||
                        field->type == WIRE_ARRAYS || field->type == WIRE_BYTESES);
            break;
        case PROTOBUF_C_TYPE_MESSAGE:
            check_desc(field->sub, want->descriptor);
            break;
        default:
            fail_msg("%s.%s: a type that the codec has not", desc->name, field->name);
        }
    }
}

static void test_tables(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *frame = &kith__v1__frame__descriptor;
    assert_int_equal(frame->n_fields, KIND_COUNT + 1);
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        unsigned kind = kinds[k];
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(frame, kind);
        assert_non_null(field);
        check_desc(wire_desc_of((enum kith_msg_kind)kind), field->descriptor);
    }
    assert_null(wire_desc_of((enum kith_msg_kind)0));
    assert_null(wire_desc_of((enum kith_msg_kind)1));
    assert_null(wire_desc_of((enum kith_msg_kind)(kinds[KIND_COUNT - 1] + 1)));
}

/* Envelopes concatenate; every truncation and mutation ends in an error or in messages, never
 * worse. */
static void test_concatenation_truncation_mutation(void **state)
{
    (void)state;
    random_state = 3;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_buf buf;
    kith_buf_init(&buf);
    for (int round = 0; round < 200; round++) {
        kith_buf_clear(&buf);
        struct kith_msg msgs[4];
        for (int i = 0; i < 4; i++) {
            unsigned kind = kinds[draw_below(KIND_COUNT)];
            random_msg(&arena, (enum kith_msg_kind)kind, &msgs[i]);
            kith_wire_append(&msgs[i], &buf);
        }
        struct taken taken = {0};
        assert_int_equal(kith_wire_unpack(kith_buf_bytes(&buf), take, &taken, NULL), KITH_OK);
        assert_int_equal(taken.count, 4);
        for (uint32_t i = 0; i < 4; i++) {
            check_same(&msgs[i], &taken.boxes[i]->msg);
        }
        drop_all(&taken);
        for (int cut = 0; cut < 50; cut++) {
            /* an exact copy, so that the sanitizer sees a read behind the end */
            size_t size = draw_below(buf.size);
            uint8_t *copy = kith_malloc(size);
            assert_non_null(copy);
            memcpy(copy, buf.data, size);
            struct kith_error error = {KITH_OK, ""};
            enum kith_err err = kith_wire_unpack(kith_bytes_make(copy, size), take, &taken, &error);
            assert_true(err == KITH_OK || err == KITH_EFORMAT);
            assert_true(taken.count < 4 || err == KITH_OK);
            assert_true(err == KITH_OK || error.message[0] != '\0');
            drop_all(&taken);
            for (int flip = 0; flip < 3 && size > 0; flip++) {
                copy[draw_below(size)] = (uint8_t)draw();
            }
            err = kith_wire_unpack(kith_bytes_make(copy, size), take, &taken, &error);
            assert_true(err == KITH_OK || err == KITH_EFORMAT || err == KITH_ENOMEM);
            drop_all(&taken);
            kith_free(copy);
        }
        kith_arena_reset(&arena);
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

static void check_bulk(struct kith_arena *arena, enum kith_msg_kind kind, bool with_payload)
{
    struct kith_msg msg;
    random_msg(arena, kind, &msg);
    struct kith_blob *payload = NULL;
    if (with_payload) {
        payload = kith_blob_new(random_size(KITH_CHUNK_MAX));
        assert_non_null(payload);
        fill(payload->data, payload->size);
    }
    if (kind == KITH_MSG_CHUNK_PUT_REQ) {
        msg.u.chunk_put_req.payload = payload;
    } else if (kind == KITH_MSG_CHUNK_RES) {
        msg.u.chunk_res.payload = payload;
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    struct kith_blob *out;
    kith_wire_bulk_prefix(&msg, &buf, &out);
    assert_false(buf.failed);
    assert_ptr_equal(out, payload);
    size_t prefix = buf.size;
    if (payload) {
        kith_buf_put(&buf, payload->data, payload->size);
    }

    Kith__V1__BulkFrame *frame = kith__v1__bulk_frame__unpack(NULL, buf.size, buf.data);
    assert_non_null(frame);
    assert_true(frame->id == msg.id);
    assert_int_equal(frame->body_case, kind);
    assert_int_equal(frame->payload.len, payload ? payload->size : 0);
    kith__v1__bulk_frame__free_unpacked(frame, NULL);

    size_t prefix_size, payload_size;
    for (size_t cut = 0; cut < prefix; cut++) {
        enum kith_err err = kith_wire_bulk_split(kith_bytes_make(buf.data, cut), buf.size,
                                                 &prefix_size, &payload_size);
        assert_int_equal(err, KITH_ETOOFEW);
    }
    assert_int_equal(kith_wire_bulk_split(kith_bytes_make(buf.data, prefix), buf.size, &prefix_size,
                                          &payload_size),
                     KITH_OK);
    assert_int_equal(prefix_size, prefix);
    assert_int_equal(payload_size, buf.size - prefix);
    struct kith_blob *in = NULL;
    if (payload_size > 0) {
        in = kith_blob_new(payload_size);
        assert_non_null(in);
        memcpy(in->data, buf.data + prefix, payload_size);
    }
    struct kith_msg_box *box = NULL;
    assert_int_equal(kith_wire_bulk_unpack(kith_bytes_make(buf.data, prefix), in, &box, NULL),
                     KITH_OK);
    check_same(&msg, &box->msg);
    assert_true((box->blob != NULL) == (payload != NULL));
    if (payload) {
        assert_int_equal(box->blob->size, payload->size);
        assert_memory_equal(box->blob->data, payload->data, payload->size);
    }
    kith_msg_box_drop(box);
    kith_blob_drop(payload);
    kith_buf_release(&buf);
}

static void test_bulk(void **state)
{
    (void)state;
    random_state = 4;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    for (int round = 0; round < 100; round++) {
        check_bulk(&arena, KITH_MSG_CHUNK_PUT_REQ, true);
        check_bulk(&arena, KITH_MSG_CHUNK_PUT_REQ, false);
        check_bulk(&arena, KITH_MSG_CHUNK_RES, true);
        check_bulk(&arena, KITH_MSG_CHUNK_GET_REQ, false);
        check_bulk(&arena, KITH_MSG_HELLO, false);
        kith_arena_reset(&arena);
    }
    kith_arena_release(&arena);
    size_t a, b;
    static const uint8_t lies[] = {0x6a, 0x00, 0xa2, 0x06, 0x05, 1, 2};
    assert_int_equal(kith_wire_bulk_split(kith_bytes_make(lies, sizeof lies), sizeof lies, &a, &b),
                     KITH_EFORMAT);
    static const uint8_t large[] = {0x6a, 0x00, 0xa2, 0x06, 0x81, 0x80, 0x40};
    assert_int_equal(kith_wire_bulk_split(kith_bytes_make(large, sizeof large),
                                          sizeof large + KITH_CHUNK_MAX + 1, &a, &b),
                     KITH_ETOOBIG);
    struct kith_blob *blob = kith_blob_new(3); /* a payload where none belongs */
    struct kith_msg_box *box;
    static const uint8_t get[] = {0x6a, 0x00, 0xa2, 0x06, 0x03};
    assert_int_equal(kith_wire_bulk_unpack(kith_bytes_make(get, sizeof get), blob, &box, NULL),
                     KITH_EFORMAT);
}

/* Every allocation that fails gives ENOMEM and leaks nothing. */
static void test_no_memory(void **state)
{
    (void)state;
    random_state = 5;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_msg msg;
    random_msg(&arena, KITH_MSG_JOIN_RES, &msg);
    bool done = false;
    for (uint64_t k = 1; !done; k++) {
        struct kith_buf buf;
        kith_buf_init(&buf);
        struct taken taken = {0};
        kith_alloc_fail_at(k);
        enum kith_err err = kith_wire_try_append(&msg, &buf, NULL);
        if (err == KITH_OK) {
            err = kith_wire_unpack(kith_buf_bytes(&buf), take, &taken, NULL);
        }
        kith_alloc_fail_at(0);
        assert_true(err == KITH_OK || err == KITH_ENOMEM);
        done = err == KITH_OK;
        drop_all(&taken);
        kith_buf_release(&buf);
    }
    kith_arena_release(&arena);
}

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Prints what the hot messages cost; no limit is asserted, machines differ. */
static void time_one(const char *name, const struct kith_msg *msg)
{
    enum { ROUNDS = 100000 };
    struct kith_buf buf;
    kith_buf_init(&buf);
    double start = now_s();
    for (int i = 0; i < ROUNDS; i++) {
        kith_buf_clear(&buf);
        kith_wire_append(msg, &buf);
    }
    double middle = now_s();
    for (int i = 0; i < ROUNDS; i++) {
        struct taken taken = {0};
        assert_int_equal(kith_wire_unpack(kith_buf_bytes(&buf), take, &taken, NULL), KITH_OK);
        drop_all(&taken);
    }
    double end = now_s();
    print_message("%-13s %5zu bytes: encode %4.0f ns, decode %4.0f ns\n", name, buf.size,
                  (middle - start) / ROUNDS * 1e9, (end - middle) / ROUNDS * 1e9);
    kith_buf_release(&buf);
}

static void test_speed(void **state)
{
    (void)state;
    static uint8_t bytes[2048];
    random_state = 6;
    fill(bytes, sizeof bytes);
    struct kith_bytes name = kith_bytes_make(bytes, 20);
    struct kith_table_id table = {.epoch = 1, .version = 9};
    memcpy(table.hash.bytes, bytes, 16);
    struct kith_group group;
    memcpy(group.bytes, bytes + 9, 16);
    struct kith_msg msg = {.kind = KITH_MSG_GET_REQ, .id = 12345};
    msg.u.get_req = (struct kith_get_req){.table = table, .timeout_ms = 10000, .group = group,
                                          .name_count = 1, .names = &name};
    time_one("GET_REQ", &msg);
    struct kith_got_row got = {.state = kith_bytes_make(bytes, 1100)};
    memcpy(got.hash.bytes, bytes + 5, 16);
    msg.kind = KITH_MSG_GET_RES;
    msg.u.get_res = (struct kith_get_res){.status = {KITH_OK, ""}, .row_count = 1, .rows = &got};
    time_one("GET_RES", &msg);
    struct kith_put_update update = {.name = name, .context = kith_bytes_make(bytes, 30),
                                     .has_sibling = true, .value = kith_bytes_make(bytes, 1024)};
    msg.kind = KITH_MSG_PUT_REQ;
    msg.u.put_req = (struct kith_put_req){.table = table, .timeout_ms = 10000, .group = group,
                                          .writer = kith_bytes_make("anna@mars", 9),
                                          .update_count = 1, .updates = &update};
    memcpy(msg.u.put_req.request.bytes, bytes + 70, 16);
    time_one("PUT_REQ", &msg);
    struct kith_put_result result = {.dot = {{7, 8}, 9}, .context = kith_bytes_make(bytes, 30),
                                     .time = UINT64_MAX / 3};
    msg.kind = KITH_MSG_PUT_RES;
    msg.u.put_res = (struct kith_put_res){.status = {KITH_OK, ""}, .copies = 2, .result_count = 1,
                                          .results = &result};
    time_one("PUT_RES", &msg);
    struct kith_replica_row row = {.name = name, .state = kith_bytes_make(bytes, 1100),
                                   .has_dot = true, .dot = {{7, 8}, 9}};
    msg.kind = KITH_MSG_REPLICATE_REQ;
    msg.u.replicate_req = (struct kith_replicate_req){.table = table, .timeout_ms = 10000,
                                                      .group = group, .row_count = 1, .rows = &row};
    memcpy(msg.u.replicate_req.request.bytes, bytes + 70, 16);
    time_one("REPLICATE_REQ", &msg);
    msg.kind = KITH_MSG_REPLICATE_RES;
    msg.u.replicate_res = (struct kith_replicate_res){.status = {KITH_OK, ""}};
    time_one("REPLICATE_RES", &msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_concatenation_truncation_mutation),
        cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
