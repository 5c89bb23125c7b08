/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "data/key.h"
#include "lib/random.h"

static void groups_and_chunk_ids_carry_their_volume(void **state)
{
    (void)state;
    struct kith_group group = kith_group_make(0x01020304, (const uint8_t *)"abcdefghijkl");
    assert_memory_equal(group.bytes, "\1\2\3\4abcdefghijkl", 16);
    assert_int_equal(kith_group_volume(&group), 0x01020304);
    struct kith_chunk_id id =
        kith_chunk_id_make(7, UINT64_C(0x0123456789ab), (const uint8_t *)"0123456789");
    assert_memory_equal(id.bytes,
                        "\0\0\0\7\x01\x23\x45\x67\x89\xab"
                        "0123456789",
                        20);
    assert_int_equal(kith_chunk_id_volume(&id), 7);
    assert_true(kith_chunk_id_time_ms(&id) == UINT64_C(0x0123456789ab));
    struct kith_group kv = kith_group_of_kv(kith_bytes_make("key", 3));
    assert_true(kith_group_volume(&kv) == KITH_VOLUME_KV);
    assert_true(kith_group_compare(&group, &kv) < 0);
}

/* The values of XXH3 are part of the format: were they to change, rows would lie elsewhere. */
static void hashes_are_what_they_were(void **state)
{
    (void)state;
    struct kith_checksum empty = kith_checksum_of(kith_bytes_make(NULL, 0));
    assert_memory_equal(empty.bytes,
                        "\x99\xaa\x06\xd3\x01\x47\x98\xd8\x60\x01\xc3\x24\x46\x8d\x49\x7f", 16);
    struct kith_group kv = kith_group_of_kv(kith_bytes_make(NULL, 0));
    assert_memory_equal(kv.bytes + 4, empty.bytes, 12);
    struct kith_checksum other = kith_checksum_of(kith_bytes_make("x", 1));
    assert_false(kith_checksum_equal(&empty, &other));
}

static void partitions_are_the_top_bits(void **state)
{
    (void)state;
    struct test_random random = {1};
    uint32_t load[1024] = {0};
    for (unsigned i = 0; i < 102400; i++) {
        struct kith_group group;
        for (unsigned j = 0; j < sizeof group.bytes; j++) {
            group.bytes[j] = (uint8_t)test_random_next(&random);
        }
        uint32_t fine = kith_group_partition(&group, KITH_PARTITIONS_MAX);
        uint32_t coarse = kith_group_partition(&group, 1024);
        assert_int_equal(coarse, fine / (KITH_PARTITIONS_MAX / 1024));
        assert_int_equal(kith_group_partition(&group, 1), 0);
        load[coarse]++;
    }
    for (unsigned i = 0; i < 1024; i++) {
        assert_in_range(load[i], 40, 170); /* 100 expected, 6 sigma */
    }
    struct kith_chunk_id id = kith_chunk_id_make(1, 2, (const uint8_t *)"0123456789");
    assert_true(kith_chunk_partition(&id, 1024) < 1024);
}

static void uuids_read_as_written(void **state)
{
    (void)state;
    struct kith_uuid uuid, again;
    char text[KITH_UUID_TEXT_SIZE];
    assert_int_equal(kith_uuid_parse("01234567-89AB-cdef-0123-456789abcdef", &uuid), KITH_OK);
    kith_uuid_format(&uuid, text);
    assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
    assert_int_equal(kith_uuid_parse(text, &again), KITH_OK);
    assert_true(kith_uuid_equal(&uuid, &again));
    assert_false(kith_uuid_is_nil(&uuid));
    for (size_t cut = 0; cut < 36; cut++) {
        char part[KITH_UUID_TEXT_SIZE] = {0};
        memcpy(part, text, cut);
        assert_int_equal(kith_uuid_parse(part, &again), KITH_EINVAL);
        memcpy(part, text, sizeof part);
        part[cut] = 'g';
        assert_int_equal(kith_uuid_parse(part, &again), KITH_EINVAL);
    }
    assert_int_equal(kith_uuid_parse("01234567-89ab-cdef-0123-456789abcdef0", &again), KITH_EINVAL);
    assert_true(kith_uuid_equal(&uuid, &again));
    memset(&again, 0, sizeof again);
    assert_true(kith_uuid_is_nil(&again));
    assert_true(kith_uuid_compare(&again, &uuid) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_and_chunk_ids_carry_their_volume),
        cmocka_unit_test(hashes_are_what_they_were),
        cmocka_unit_test(partitions_are_the_top_bits),
        cmocka_unit_test(uuids_read_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
