/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_wire_limits.c - what the wire codec refuses, on both sides, and what it mends instead. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "wire/wire_impl.h"
#include "wire_taken.h"

static void check_refused(const char *what, const uint8_t *data, size_t size)
{
    struct taken taken = {0};
    struct kith_error error = {KITH_OK, ""};
    enum kith_err err = kith_wire_unpack(kith_bytes_make(data, size), take, &taken, &error);
    if (err != KITH_EFORMAT) {
        fail_msg("%s: got %s", what, kith_err_text((int)err));
    }
    drop_all(&taken);
}

static void test_bad_input(void **state)
{
    (void)state;
#define BAD(what, ...)                        \
    do {                                      \
        static const uint8_t d[] = {__VA_ARGS__}; \
        check_refused(what, d, sizeof d);     \
    } while (0)
    BAD("tag zero", 0x00);
    BAD("endless varint", 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    BAD("length above the rest", 0x0a, 0x05, 0x08, 0x01);
    BAD("frame without a body", 0x0a, 0x02, 0x08, 0x01);
    BAD("unknown body", 0x0a, 0x05, 0x08, 0x01, 0xf2, 0x02, 0x00);
    BAD("two bodies", 0x0a, 0x04, 0x1a, 0x00, 0x1a, 0x00);
    BAD("envelope field of a wrong type", 0x08, 0x01);
    BAD("group", 0x0b, 0x0c);
    /* hello (2): protocol above 32 bits; role 2; uuid of 3 bytes; text with NUL, no UTF-8; twice */
    BAD("u32", 0x0a, 0x08, 0x12, 0x06, 0x08, 0xff, 0xff, 0xff, 0xff, 0x7f);
    BAD("enum", 0x0a, 0x04, 0x12, 0x02, 0x18, 0x02);
    BAD("uuid", 0x0a, 0x07, 0x12, 0x05, 0x22, 0x03, 1, 2, 3);
    BAD("NUL", 0x0a, 0x05, 0x12, 0x03, 0x3a, 0x01, 0);
    BAD("UTF-8", 0x0a, 0x05, 0x12, 0x03, 0x3a, 0x01, 0xc3);
    BAD("twice", 0x0a, 0x06, 0x12, 0x04, 0x08, 0x01, 0x08, 0x01);
    BAD("wrong type", 0x0a, 0x04, 0x12, 0x02, 0x20, 0x01);
    BAD("decide without a phase", 0x0a, 0x03, 0xda, 0x01, 0x00);
#undef BAD
    static const uint8_t unknown[] = {0x0a, 0x09, 0x12, 0x05, 0x08, 0x01,
                                      0x7a, 0x01, 9,    0x08, 0x07};
    struct taken taken = {0};
    assert_int_equal(kith_wire_unpack(kith_bytes_make(unknown, sizeof unknown), take, &taken, NULL),
                     KITH_OK);
    assert_int_equal(taken.boxes[0]->msg.u.hello.protocol.newest, 1);
    assert_int_equal(taken.boxes[0]->msg.id, 7);
    assert_string_equal(taken.boxes[0]->msg.u.hello.address, "");
    drop_all(&taken);
}

/* A GetReq that our encoder would not write: `count` names of `size` bytes each. */
static enum kith_err decode_names(uint32_t count, size_t size)
{
    static uint8_t name[KITH_NAME_MAX + 1];
    struct kith_buf buf;
    kith_buf_init(&buf);
    for (uint32_t i = 0; i < count; i++) {
        kith_buf_put_u8(&buf, 5u << 3 | WIRE_LEN);
        kith_buf_put_sized(&buf, kith_bytes_make(name, size));
    }
    struct kith_msg_box *box = NULL;
    enum kith_err err = kith_wire_body_unpack(KITH_MSG_GET_REQ, kith_buf_bytes(&buf), &box, NULL);
    kith_msg_box_drop(box);
    kith_buf_release(&buf);
    return err;
}

static void test_decode_limits(void **state)
{
    (void)state;
    assert_int_equal(decode_names(KITH_NAMES_MAX, 1), KITH_OK);
    assert_int_equal(decode_names(KITH_NAMES_MAX + 1, 1), KITH_EFORMAT);
    assert_int_equal(decode_names(1, KITH_NAME_MAX), KITH_OK);
    assert_int_equal(decode_names(1, KITH_NAME_MAX + 1), KITH_EFORMAT);
}

/* The encoder refuses what a receiver would; text is shortened and mended instead. */
static void test_limits(void **state)
{
    (void)state;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, 7);
    static uint8_t big[KITH_INLINE_VALUE_MAX + 1];
    struct kith_bytes names[KITH_NAMES_MAX + 1] = {{NULL, 0}};
    struct kith_msg msg = {.kind = KITH_MSG_GET_REQ};
    struct kith_error error;
    names[0] = kith_bytes_make(big, KITH_NAME_MAX + 1);
    msg.u.get_req.name_count = 1;
    msg.u.get_req.names = names;
    assert_int_equal(kith_wire_try_append(&msg, &buf, &error), KITH_EINVAL);
    assert_non_null(strstr(error.message, "GetReq.names"));
    names[0].size = KITH_NAME_MAX;
    msg.u.get_req.name_count = KITH_NAMES_MAX + 1;
    assert_int_equal(kith_wire_try_append(&msg, &buf, &error), KITH_EINVAL);
    msg.u.get_req.name_count = KITH_NAMES_MAX;
    msg.u.get_req.timeout_ms = KITH_TIMEOUT_MAX_MS + 1;
    assert_int_equal(kith_wire_try_append(&msg, &buf, &error), KITH_EINVAL);
    assert_int_equal(buf.size, 1);
    assert_false(buf.failed);
    kith_wire_append(&msg, &buf);
    assert_true(buf.failed);

    kith_buf_clear(&buf);
    char text[KITH_ERROR_MESSAGE_SIZE + 10];
    memset(text, 'x', sizeof text);
    memcpy(text, "file \xff", 6);
    text[KITH_ERROR_MESSAGE_SIZE - 2] = '\xc3'; /* a character across the limit */
    text[KITH_ERROR_MESSAGE_SIZE - 1] = '\xa9';
    text[sizeof text - 1] = '\0';
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_ADMIN_RES;
    msg.u.admin_res.status.message = text;
    assert_int_equal(kith_wire_try_append(&msg, &buf, &error), KITH_OK);
    struct taken taken = {0};
    assert_int_equal(kith_wire_unpack(kith_buf_bytes(&buf), take, &taken, NULL), KITH_OK);
    const char *got = taken.boxes[0]->msg.u.admin_res.status.message;
    assert_int_equal(strlen(got), KITH_ERROR_MESSAGE_SIZE - 2);
    assert_memory_equal(got, "file ?x", 7);
    drop_all(&taken);

    buf.size = 0;
    uint8_t *huge = kith_calloc(1, KITH_MESSAGE_MAX + 1);
    assert_non_null(huge);
    assert_int_equal(
        kith_wire_unpack(kith_bytes_make(huge, KITH_MESSAGE_MAX + 1), take, &taken, NULL),
        KITH_ETOOBIG);
    kith_free(huge);
    kith_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_decode_limits),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
