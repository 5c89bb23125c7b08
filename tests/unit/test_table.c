/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The partition table as a value and as bytes: whatever comes in gives a table or an error. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/alloc.h"
#include "data/table.h"

#define PARTITIONS 8u
static const struct kith_uuid cluster = {{0xc1, 1, 2, 3}};

static void members_fill(struct kith_member *members, uint32_t count)
{
    memset(members, 0, count * sizeof(*members));
    for (uint32_t i = 0; i < count; i++) {
        members[i].uuid.bytes[0] = (uint8_t)(0xf0 - 16 * i); /* descending: must be sorted */
        members[i].weight = 1 + 1000 * i;
        members[i].zone[0] = (char)('a' + i);
    }
}

/* Partition p belongs to members p, p+1, p+2 (mod 4), as given. */
static enum kith_err table_try(const struct kith_member *members, const uint16_t *owners,
                               struct kith_table **ret_table)
{
    return kith_table_new(&cluster, 1, 7, PARTITIONS, 3, members, 4, owners, ret_table);
}

static void owners_fill(uint16_t owners[PARTITIONS * 3])
{
    for (uint32_t i = 0; i < PARTITIONS * 3; i++) {
        owners[i] = (uint16_t)((i / 3 + i % 3) % 4);
    }
}

static struct kith_table *table_make(void)
{
    struct kith_member members[4];
    uint16_t owners[PARTITIONS * 3];
    struct kith_table *table = NULL;
    members_fill(members, 4);
    owners_fill(owners);
    assert_int_equal(table_try(members, owners, &table), KITH_OK);
    return table;
}

static void test_new_sorts_and_maps(void **state)
{
    (void)state;
    struct kith_member members[4];
    members_fill(members, 4);
    struct kith_table *table = table_make();
    assert_int_equal(table->owner_slots, 3);
    for (uint32_t i = 1; i < 4; i++) {
        assert_true(kith_uuid_compare(&table->members[i - 1].uuid, &table->members[i].uuid) < 0);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t slot = 0; slot < 3; slot++) {
            uint16_t owner = kith_table_owners(table, p)[slot];
            const struct kith_member *meant = &members[(p + slot) % 4];
            assert_true(kith_uuid_equal(&table->members[owner].uuid, &meant->uuid));
            assert_int_equal(table->members[owner].weight, meant->weight);
            assert_int_equal(kith_table_find(table, &meant->uuid), owner);
            assert_true(kith_table_owns(table, p, owner));
        }
        uint16_t other = kith_table_find(table, &members[(p + 3) % 4].uuid);
        assert_false(kith_table_owns(table, p, other));
    }
    struct kith_uuid stranger = {{0x11}};
    assert_int_equal(kith_table_find(table, &stranger), KITH_NO_MEMBER);
    assert_ptr_equal(kith_table_hold(table), table);
    kith_table_drop(table);
    kith_table_drop(table);
    kith_table_drop(NULL);
}

static void test_new_refuses(void **state)
{
    (void)state;
    struct kith_member members[4];
    uint16_t owners[PARTITIONS * 3];
    struct kith_table *table = NULL;
    owners_fill(owners);
    members_fill(members, 4);
    members[3].uuid = members[0].uuid;
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    members_fill(members, 4);
    members[2].weight = 0;
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    members[2].weight = KITH_WEIGHT_MAX + 1;
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    members_fill(members, 4);
    memset(members[1].zone, 'z', sizeof(members[1].zone));
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    members_fill(members, 4);
    members[1].zone[0] = '\n';
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    members_fill(members, 4);
    owners[5] = 4;
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    owners[5] = owners[4];
    assert_int_equal(table_try(members, owners, &table), KITH_EINVAL);
    owners_fill(owners);
    static const uint32_t bad[][5] = {/* epoch, version, partitions, replicas, members */
                                      {0, 1, 8, 3, 4}, {1, 0, 8, 3, 4},    {1, 1, 7, 3, 4},
                                      {1, 1, 0, 3, 4}, {1, 1, 8, 0, 4},    {1, 1, 8, 8, 4},
                                      {1, 1, 8, 3, 0}, {1, 1, 65536, 3, 4}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kith_table_new(&cluster, bad[i][0], bad[i][1], bad[i][2], bad[i][3],
                                        members, bad[i][4], owners, &table),
                         KITH_EINVAL);
    }
    for (uint64_t k = 1; k <= 4; k++) {
        kith_alloc_fail_at(k);
        assert_int_equal(table_try(members, owners, &table), KITH_ENOMEM);
        kith_alloc_fail_at(0);
    }
    assert_null(table);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct kith_table *table = table_make();
    struct kith_buf first;
    struct kith_buf second;
    kith_buf_init(&first);
    kith_buf_init(&second);
    kith_table_encode(table, &first);
    assert_false(first.failed);
    struct kith_table *copy = NULL;
    assert_int_equal(kith_table_decode(kith_buf_bytes(&first), &copy), KITH_OK);
    assert_int_equal(kith_table_id_compare(&table->id, &copy->id), 0);
    kith_table_encode(copy, &second);
    assert_true(kith_bytes_equal(kith_buf_bytes(&first), kith_buf_bytes(&second)));
    assert_memory_equal(table->owners, copy->owners, PARTITIONS * 3 * sizeof(uint16_t));
    for (uint32_t i = 0; i < 4; i++) {
        assert_memory_equal(&table->members[i], &copy->members[i], sizeof(struct kith_member));
    }
    kith_buf_release(&first);
    kith_buf_release(&second);
    kith_table_drop(table);
    kith_table_drop(copy);
}

/* Decodes a heap copy of the exact size, so that a sanitizer sees a read past the end. */
static enum kith_err decode_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = kith_malloc(size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct kith_table *table = NULL;
    enum kith_err err = kith_table_decode(kith_bytes_make(copy, size), &table);
    kith_free(copy);
    kith_table_drop(table);
    return err;
}

static void resign(struct kith_buf *buf)
{
    struct kith_bytes body = kith_bytes_make(buf->data, buf->size - KITH_CHECKSUM_SIZE);
    struct kith_checksum hash = kith_checksum_of(body);
    memcpy(buf->data + body.size, hash.bytes, sizeof(hash.bytes));
}

static void test_damage(void **state)
{
    (void)state;
    struct kith_table *table = table_make();
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(table, &buf);
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_not_equal(decode_copy(buf.data, size), KITH_OK);
    }
    for (size_t bit = 0; bit < buf.size * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(decode_copy(buf.data, buf.size), KITH_OK);
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* The same with a right checksum: a table or an error, and what is accepted is canonical. */
    uint32_t accepted = 0;
    for (size_t at = 0; at < buf.size - KITH_CHECKSUM_SIZE; at++) {
        uint8_t before = buf.data[at];
        for (uint32_t value = 0; value < 256; value++) {
            buf.data[at] = (uint8_t)value;
            resign(&buf);
            struct kith_table *other = NULL;
            if (kith_table_decode(kith_buf_bytes(&buf), &other) == KITH_OK) {
                struct kith_buf again;
                kith_buf_init(&again);
                kith_table_encode(other, &again);
                assert_true(kith_bytes_equal(kith_buf_bytes(&buf), kith_buf_bytes(&again)));
                kith_buf_release(&again);
                kith_table_drop(other);
                accepted++;
            }
        }
        buf.data[at] = before;
    }
    assert_true(accepted > 1000); /* other uuids, weights, versions ... are fine */
    resign(&buf);
    kith_buf_put_u8(&buf, 0);
    assert_int_equal(decode_copy(buf.data, buf.size), KITH_ECORRUPT);
    buf.data[0] = 3;
    assert_int_equal(decode_copy(buf.data, buf.size), KITH_EVERSION);
    kith_buf_release(&buf);
    kith_table_drop(table);
}

static void test_id_order(void **state)
{
    (void)state;
    struct kith_table_id low = {1, 9, {{0xff}}};
    struct kith_table_id high = {2, 1, {{0}}};
    assert_int_equal(kith_table_id_compare(&low, &high), -1);
    high = low;
    assert_int_equal(kith_table_id_compare(&low, &high), 0);
    high.version++;
    assert_int_equal(kith_table_id_compare(&high, &low), 1);
    high = low;
    high.hash.bytes[15] = 1;
    assert_int_equal(kith_table_id_compare(&high, &low), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_sorts_and_maps), cmocka_unit_test(test_new_refuses),
        cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_damage),
        cmocka_unit_test(test_id_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
