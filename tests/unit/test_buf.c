/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

static void what_is_put_is_read(void **state)
{
    (void)state;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, 0xfe);
    kith_buf_put_u16be(&buf, 0x1234);
    kith_buf_put_u32be(&buf, 0x12345678);
    kith_buf_put_u64be(&buf, UINT64_C(0x123456789abcdef0));
    kith_buf_put_u32(&buf, 0x12345678);
    kith_buf_put_u64(&buf, UINT64_C(0x123456789abcdef0));
    kith_buf_put_sized(&buf, kith_bytes_make("name", 4));
    assert_false(buf.failed);
    assert_int_equal(buf.data[1], 0x12);
    assert_int_equal(buf.data[15], 0x78);
    struct kith_reader reader;
    kith_reader_init(&reader, kith_buf_bytes(&buf));
    assert_int_equal(kith_read_u8(&reader), 0xfe);
    assert_int_equal(kith_read_u16be(&reader), 0x1234);
    assert_int_equal(kith_read_u32be(&reader), 0x12345678);
    assert_true(kith_read_u64be(&reader) == UINT64_C(0x123456789abcdef0));
    assert_int_equal(kith_read_u32(&reader), 0x12345678);
    assert_true(kith_read_u64(&reader) == UINT64_C(0x123456789abcdef0));
    struct kith_bytes name = kith_read_sized(&reader, 4);
    assert_true(kith_bytes_equal(name, kith_bytes_make("name", 4)));
    assert_true(kith_reader_done(&reader));
    assert_null(kith_read(&reader, 1));
    assert_true(reader.failed);
    assert_null(kith_read(&reader, 0));
    kith_buf_release(&buf);
}

static void varints_round_trip(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift <= 64; shift++) {
        for (int add = -1; add <= 1; add++) {
            uint64_t value = (shift == 64 ? 0 : UINT64_C(1) << shift) + (uint64_t)add;
            struct kith_buf buf;
            kith_buf_init(&buf);
            kith_buf_put_varint(&buf, value);
            struct kith_reader reader;
            kith_reader_init(&reader, kith_buf_bytes(&buf));
            assert_true(kith_read_varint(&reader) == value);
            assert_true(kith_reader_done(&reader));
            for (size_t cut = 0; cut < buf.size; cut++) {
                kith_reader_init(&reader, kith_bytes_make(buf.data, cut));
                assert_true(kith_read_varint(&reader) == 0);
                assert_true(reader.failed);
            }
            kith_buf_release(&buf);
        }
    }
}

static void malformed_varints_fail(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[11];
        size_t size;
    } bad[] = {
        {{0x80, 0x00}, 2}, /* longer than needed */
        {{0xff, 0x80, 0x00}, 3},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10}, /* 2^64 and more */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00}, 11},
        {{0x80}, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kith_reader reader;
        kith_reader_init(&reader, kith_bytes_make(bad[i].bytes, bad[i].size));
        assert_true(kith_read_varint(&reader) == 0);
        assert_true(reader.failed);
    }
}

static void sized_holds_its_limit(void **state)
{
    (void)state;
    struct kith_reader reader;
    kith_reader_init(&reader, kith_bytes_make("\003abc", 4));
    assert_int_equal(kith_read_sized(&reader, 2).size, 0);
    assert_true(reader.failed);
    /* a size that would wrap any addition */
    kith_reader_init(&reader, kith_bytes_make("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01z", 11));
    assert_int_equal(kith_read_sized(&reader, SIZE_MAX).size, 0);
    assert_true(reader.failed);
}

static void buffer_remembers_that_memory_was_short(void **state)
{
    (void)state;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_alloc_fail_at(1);
    kith_buf_put_u8(&buf, 1);
    kith_buf_put_u8(&buf, 2);
    assert_true(buf.failed);
    assert_int_equal(buf.size, 0);
    kith_buf_clear(&buf);
    kith_buf_put_u8(&buf, 3);
    assert_false(buf.failed);
    assert_int_equal(buf.size, 1);
    assert_false(kith_buf_reserve(&buf, SIZE_MAX));
    kith_buf_release(&buf);
}

static void bytes_compare_like_memcmp(void **state)
{
    (void)state;
    assert_true(kith_bytes_compare(kith_bytes_make("a", 1), kith_bytes_make("ab", 2)) < 0);
    assert_true(kith_bytes_compare(kith_bytes_make("b", 1), kith_bytes_make("ab", 2)) > 0);
    assert_true(kith_bytes_compare(kith_bytes_make("\xff", 1), kith_bytes_make("a", 1)) > 0);
    assert_int_equal(kith_bytes_compare(kith_bytes_make(NULL, 0), kith_bytes_make("", 0)), 0);
    assert_true(kith_bytes_equal(kith_bytes_make(NULL, 0), kith_bytes_make("", 0)));
}

static void count_release(struct kith_blob *blob, void *arg)
{
    (void)blob;
    ++*(int *)arg;
}

static void blob_is_released_once(void **state)
{
    (void)state;
    int released = 0;
    uint8_t data[4] = {1, 2, 3, 4};
    struct kith_blob *blob = kith_blob_wrap(data, sizeof data, count_release, &released);
    assert_ptr_equal(kith_blob_hold(blob), blob);
    kith_blob_drop(blob);
    assert_int_equal(released, 0);
    kith_blob_drop(blob);
    assert_int_equal(released, 1);
    blob = kith_blob_new(1000);
    memset(blob->data, 7, blob->size);
    kith_blob_drop(blob);
    kith_blob_drop(NULL);
    kith_alloc_fail_at(1);
    assert_null(kith_blob_wrap(data, sizeof data, count_release, &released));
    assert_int_equal(released, 1);
    assert_null(kith_blob_new(SIZE_MAX));
}

/* Whole chunks have memory of their own kind, used again and again. */
static void large_blobs_share_no_bytes(void **state)
{
    (void)state;
    struct kith_blob *blobs[20];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20; i++) {
            blobs[i] = kith_blob_new((1u << 20) - i * 20000u);
            assert_non_null(blobs[i]);
            assert_int_equal(blobs[i]->size, (1u << 20) - i * 20000u);
            memset(blobs[i]->data, (int)i, blobs[i]->size);
        }
        for (unsigned i = 0; i < 20; i++) {
            assert_int_equal(blobs[i]->data[0], i);
            assert_int_equal(blobs[i]->data[blobs[i]->size - 1], i);
            kith_blob_drop(blobs[i]);
        }
    }
    kith_alloc_fail_at(1);
    assert_null(kith_blob_new(1u << 20));
    blobs[0] = kith_blob_new(1u << 20);
    assert_non_null(blobs[0]);
    kith_blob_drop(blobs[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_blobs_share_no_bytes),
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(varints_round_trip),
        cmocka_unit_test(malformed_varints_fail),
        cmocka_unit_test(sized_holds_its_limit),
        cmocka_unit_test(buffer_remembers_that_memory_was_short),
        cmocka_unit_test(bytes_compare_like_memcmp),
        cmocka_unit_test(blob_is_released_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
