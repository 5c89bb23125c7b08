/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Chunks, inline and in segments; references; bit rot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

static void test_chunks(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < 21; i++) {
        assert_int_equal(put_chunk(place, i, chunk_size(i)), KITH_OK);
        assert_int_equal(put_chunk(place, i, chunk_size(i)), KITH_OK); /* again */
    }
    assert_int_equal(put_chunk(place, 2, 5000), KITH_EINVAL); /* other contents, same id */
    for (uint32_t i = 0; i < 21; i++) {
        assert_int_equal(check_chunk(place, i, chunk_size(i)), KITH_OK);
    }
    assert_int_equal(check_chunk(place, 99, 0), KITH_ENOTFOUND);
    verify(place, 0, 21);
    must_close(place);
    must_open(place);
    for (uint32_t i = 0; i < 21; i++) {
        assert_int_equal(check_chunk(place, i, chunk_size(i)), KITH_OK);
    }
    struct kith_store_op op = {.id = 8, .kind = KITH_STORE_CHUNK_GET};
    op.u.chunk_get.id = chunk_id(6);
    op.partition = kith_chunk_partition(&op.u.chunk_get.id, PARTITIONS);
    op.u.chunk_get.offset = 1000;
    op.u.chunk_get.size = 50;
    struct kith_blob *blob = chunk_blob(6, chunk_size(6));
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->u.chunk.payload->size, 50);
    assert_memory_equal(done->u.chunk.payload->data, blob->data + 1000, 50);
    op.u.chunk_get.offset = (1u << 20) + 1;
    assert_int_equal(ask(place, &op)->err, KITH_EINVAL);
    kith_blob_drop(blob);
    verify(place, 0, 21);
}

static void test_chunk_bad_checksum(void **state)
{
    struct place *place = *state;
    struct kith_blob *blob = chunk_blob(1, 100000);
    struct kith_store_op op = chunk_op(1, blob);
    op.u.chunk_put.checksum.bytes[3] ^= 1;
    assert_int_equal(ask(place, &op)->err, KITH_ECORRUPT);
    assert_int_equal(check_chunk(place, 1, 100000), KITH_ENOTFOUND);
    kith_blob_drop(blob);
    verify(place, 0, 0);
}

static void test_chunk_sync(void **state)
{
    struct place *place = *state;
    assert_int_equal(put_chunk(place, 1, 500000), KITH_OK);
    struct kith_chunk_id ids[3] = {chunk_id(50), chunk_id(1), chunk_id(51)};
    struct kith_store_op op = {.id = 8, .kind = KITH_STORE_CHUNK_SYNC};
    op.u.chunk_sync.id_count = 3;
    op.u.chunk_sync.ids = ids;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    assert_int_equal(done->u.chunk_sync.missing_count, 2);
    assert_memory_equal(&done->u.chunk_sync.missing[0], &ids[0], sizeof ids[0]);
    assert_memory_equal(&done->u.chunk_sync.missing[1], &ids[2], sizeof ids[0]);
}

/* References follow every change of a row and of a chunk. */
static void test_references(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id refs[4] = {chunk_id(3), chunk_id(1), chunk_id(3), chunk_id(2)};
    struct kith_put_update update = update_of("file", "v");
    update.ref_count = 4;
    update.refs = refs;
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    verify(place, 1, 0);
    put_text(place, 1, "file", "no references any more");
    verify(place, 1, 0);
    struct kith_blob *blob = chunk_blob(9, 70000);
    op = chunk_op(9, blob);
    op.u.chunk_put.ref_count = 4;
    op.u.chunk_put.refs = refs;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    kith_blob_drop(blob);
    verify(place, 1, 1);
}

/* Bit rot: a get says so, a put of the same chunk mends it. */
static void test_rot_is_found_and_mended(void **state)
{
    struct place *place = *state;
    char path[256];
    struct kith_store_verdict verdict;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(put_chunk(place, 1, 200000), KITH_OK);
    for (uint32_t i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/chunks/%06u.seg", place->dir, i);
        int fd = open(path, O_RDWR);
        if (fd >= 0) {
            assert_int_equal(pwrite(fd, "\xff\x00", 2, 1234), 2);
            close(fd);
        }
    }
    assert_int_equal(check_chunk(place, 1, 200000), KITH_ECORRUPT);
    release_results(place);
    assert_int_equal(kith_store_verify(place->store, true, &verdict, &error), KITH_OK);
    assert_int_equal(verdict.corrupt_chunks, 0); /* it is set aside (test_store_damage.c) */
    assert_int_equal(verdict.chunks, 0);
    assert_int_equal(verdict.wrong_leaves, 0);
    assert_int_equal(put_chunk(place, 1, 200000), KITH_OK);
    assert_int_equal(check_chunk(place, 1, 200000), KITH_OK);
    verify(place, 0, 1);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_bad_checksum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rot_is_found_and_mended, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
