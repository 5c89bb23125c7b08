/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "ctl/backup/backup_record.h"

static const uint8_t own[12] = {7}, noise[10] = {9};
static struct kith_chunk_id refs[3];

static struct kith_backup_record record_of(enum kith_backup_type type)
{
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    record.type = type;
    switch (type) {
    case KITH_BACKUP_HEAD:
        record.u.head.cluster.bytes[3] = 4;
        record.u.head.partitions = 16;
        record.u.head.partition = 15;
        break;
    case KITH_BACKUP_ROW:
        record.u.row.partition = 3;
        record.u.row.group = kith_group_make(1, own);
        record.u.row.name = kith_bytes_make("name", 4);
        record.u.row.hash.bytes[0] = 8;
        record.u.row.state = kith_bytes_make("state", 5);
        break;
    case KITH_BACKUP_MARK:
        record.u.mark.partition = 3;
        record.u.mark.run = 2;
        record.u.mark.rows = 77;
        record.u.mark.time_ms = 1234567890123;
        record.u.mark.whole = true;
        break;
    case KITH_BACKUP_CHUNK:
        for (uint32_t i = 0; i < 3; i++) {
            refs[i] = kith_chunk_id_make(1, i, noise);
        }
        record.u.chunk.id = kith_chunk_id_make(1, 99, noise);
        record.u.chunk.checksum.bytes[5] = 6;
        record.u.chunk.ref_count = 3;
        record.u.chunk.refs = refs;
        record.u.chunk.contents = kith_bytes_make("contents", 8);
        break;
    case KITH_BACKUP_END:
        record.u.end.rows = 5;
        record.u.end.chunks = 6;
        break;
    }
    return record;
}

static enum kith_err decode(struct kith_bytes bytes, struct kith_buf *again, size_t *ret_size)
{
    struct kith_arena arena;
    struct kith_backup_record record;
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_backup_record_decode(&arena, bytes, &record, ret_size);
    if (err == KITH_OK && again) {
        kith_buf_clear(again);
        kith_backup_record_append(&record, again);
    }
    kith_arena_release(&arena);
    return err;
}

/* Each kind comes out as it went in; cut at any byte it is too little, and with any bit turned it is an
 * error. */
static void test_each(void **state)
{
    (void)state;
    for (int type = KITH_BACKUP_HEAD; type <= KITH_BACKUP_END; type++) {
        struct kith_backup_record record = record_of((enum kith_backup_type)type);
        struct kith_buf buf, again;
        size_t size = 0;
        kith_buf_init(&buf);
        kith_buf_init(&again);
        kith_backup_record_append(&record, &buf);
        assert_int_equal(decode(kith_buf_bytes(&buf), &again, &size), KITH_OK);
        assert_int_equal(size, buf.size);
        assert_true(kith_bytes_equal(kith_buf_bytes(&buf), kith_buf_bytes(&again)));
        for (size_t cut = 0; cut < buf.size; cut++) {
            assert_int_equal(decode(kith_bytes_make(buf.data, cut), NULL, &size), KITH_ETOOFEW);
            assert_true(size > cut && size <= buf.size);
        }
        for (size_t bit = 0; bit < 8 * buf.size; bit++) {
            buf.data[bit / 8] = (uint8_t)(buf.data[bit / 8] ^ 1u << bit % 8);
            assert_int_not_equal(decode(kith_buf_bytes(&buf), NULL, &size), KITH_OK);
            buf.data[bit / 8] = (uint8_t)(buf.data[bit / 8] ^ 1u << bit % 8);
        }
        kith_buf_release(&buf);
        kith_buf_release(&again);
    }
}

/* Whole by its checksum, and yet nonsense: as from a newer version, or made by hand. */
static void test_nonsense(void **state)
{
    (void)state;
    static const struct {
        enum kith_backup_type type;
        size_t at; /* in the payload */
        uint8_t value;
        enum kith_err err;
    } cases[] = {
        {KITH_BACKUP_HEAD, 0, KITH_BACKUP_FORMAT + 1, KITH_EVERSION},
        {KITH_BACKUP_HEAD, 17, 15, KITH_EFORMAT},  /* no power of two */
        {KITH_BACKUP_HEAD, 21, 16, KITH_EFORMAT},  /* partition 16 of 16 */
        {KITH_BACKUP_ROW, 2, 1, KITH_EFORMAT},     /* partition 65539 */
        {KITH_BACKUP_ROW, 20, 0x7f, KITH_EFORMAT}, /* a name that is longer than the record */
        {KITH_BACKUP_MARK, 44, 2, KITH_EFORMAT},   /* whole: 2 */
        {KITH_BACKUP_CHUNK, 36, 0x7f, KITH_EFORMAT}, /* more refs than there are */
        {KITH_BACKUP_END, 16, 7, KITH_EFORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kith_backup_record record = record_of(cases[i].type);
        struct kith_buf buf;
        size_t size = 0;
        kith_buf_init(&buf);
        kith_backup_record_append(&record, &buf);
        buf.data[KITH_BACKUP_HEAD_SIZE + cases[i].at] = cases[i].value;
        struct kith_checksum sum = kith_checksum_of(
            kith_bytes_make(buf.data + KITH_CHECKSUM_SIZE, buf.size - KITH_CHECKSUM_SIZE));
        memcpy(buf.data, sum.bytes, sizeof sum.bytes);
        assert_int_equal(decode(kith_buf_bytes(&buf), NULL, &size), cases[i].err);
        kith_buf_release(&buf);
    }
}

/* What is wrong before a whole record was damaged; what is wrong at the end was being written. */
static void test_follows(void **state)
{
    (void)state;
    struct kith_backup_record row = record_of(KITH_BACKUP_ROW), mark = record_of(KITH_BACKUP_MARK);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_backup_record_append(&row, &buf);
    size_t first = buf.size;
    assert_false(kith_backup_record_follows(kith_buf_bytes(&buf)));
    kith_backup_record_append(&mark, &buf);
    assert_true(kith_backup_record_follows(kith_buf_bytes(&buf)));
    assert_false(kith_backup_record_follows(kith_bytes_make(buf.data, buf.size - 1)));
    buf.data[20] ^= 0xff; /* the first one's size: it seems to reach beyond the end */
    assert_true(kith_backup_record_follows(kith_buf_bytes(&buf)));
    assert_false(kith_backup_record_follows(kith_bytes_make(buf.data + first, buf.size - first)));
    kith_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
