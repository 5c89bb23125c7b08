/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rows and chunks whose bytes have changed on the disk: they are set aside by whoever meets them,
 * missing for anti-entropy, barred for readers, and there again once another owner has brought
 * them; and nothing else suffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_flip.h"

static enum kith_err get_row(struct place *place, const char *name, uint32_t *ret_damaged)
{
    struct kith_bytes names[1] = {kith_bytes_make(name, strlen(name))};
    struct kith_store_op op = get_op(1, names, 1);
    const struct kith_store_done *done = ask(place, &op);
    *ret_damaged = done->damaged;
    assert_int_equal(done->partition, op.partition);
    return done->err;
}

static const struct kith_store_done *scan(struct place *place)
{
    struct kith_store_op op = {.kind = KITH_STORE_SCAN};
    op.u.scan.group = group_of(1);
    op.partition = kith_group_partition(&op.u.scan.group, PARTITIONS);
    return ask(place, &op);
}

/* One that a get, a scan, or a read of its leaf meets. */
static void test_row(void **state)
{
    struct place *place = *state;
    for (uint32_t how = 0; how < 3; how++) {
        uint32_t damaged = 0;
        put_text(place, 1, "one", "1");
        put_text(place, 1, "two", "2");
        put_text(place, 2, "one", "elsewhere");
        struct kith_bytes before = state_of(place, 1, "one");
        flip_row(place, "one");
        if (how == 0) {
            assert_int_equal(get_row(place, "one", &damaged), KITH_ECORRUPT);
        } else if (how == 1) {
            const struct kith_store_done *done = scan(place);
            assert_int_equal(done->err, KITH_ECORRUPT);
            damaged = done->damaged;
        } else {
            struct kith_store_op op = {.kind = KITH_STORE_LEAF};
            struct kith_group group = group_of(1);
            op.partition = kith_group_partition(&group, PARTITIONS);
            memset(&op.u.leaf.leaves, 0xff, sizeof op.u.leaf.leaves);
            const struct kith_store_done *done = ask(place, &op);
            assert_int_equal(done->err, KITH_OK);
            assert_true(done->u.leaf.row_count >= 1); /* the others are there */
            damaged = done->damaged;
        }
        assert_int_equal(damaged, 1);
        verify(place, 2, 0); /* trees and index fit what is left */
        must_close(place); /* and it is known after a start, too */
        must_open(place);
        assert_int_equal(get_row(place, "one", &damaged), KITH_ECORRUPT);
        assert_int_equal(damaged, 0);
        assert_int_equal(scan(place)->err, KITH_ECORRUPT);
        assert_int_equal(get_row(place, "two", &damaged), KITH_OK);
        bring_back(place, "one", before);
        assert_int_equal(get_row(place, "one", &damaged), KITH_OK);
        assert_int_equal(scan(place)->err, KITH_OK);
        struct kith_bytes after = state_of(place, 1, "one");
        assert_true(kith_bytes_equal(before, after));
        free_bytes(before);
        free_bytes(after);
        verify(place, 3, 0);
    }
}

/* A put there is not the row: readers are still sent elsewhere. */
static void test_put_before_it_is_back(void **state)
{
    struct place *place = *state;
    uint32_t damaged = 0;
    put_text(place, 1, "one", "1");
    struct kith_bytes before = state_of(place, 1, "one");
    flip_row(place, "one");
    assert_int_equal(get_row(place, "one", &damaged), KITH_ECORRUPT);
    struct kith_put_update update = update_of("one", "new");
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    verify(place, 1, 0);
    assert_int_equal(get_row(place, "one", &damaged), KITH_ECORRUPT);
    bring_back(place, "one", before);
    assert_int_equal(get_row(place, "one", &damaged), KITH_OK);
    free_bytes(before);
}

/* A chunk in the table, and one whose record itself is damaged. */
static void test_chunk(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id id = chunk_id(1);
    assert_int_equal(put_chunk(place, 1, 5000), KITH_OK);
    assert_int_equal(put_chunk(place, 2, 5000), KITH_OK);
    flip(place, "chunks", id.bytes, sizeof id.bytes);
    assert_int_equal(check_chunk(place, 1, 5000), KITH_ECORRUPT);
    verify(place, 0, 1);
    assert_int_equal(check_chunk(place, 1, 5000), KITH_ECORRUPT); /* not "it was never here" */
    assert_int_equal(check_chunk(place, 2, 5000), KITH_OK);
    struct kith_chunk_entry entry = {.id = id, .size = 5000};
    struct kith_store_op op = {.kind = KITH_STORE_CHUNK_LACK};
    op.partition = kith_chunk_partition(&id, PARTITIONS);
    op.u.chunk_lack.count = 1;
    op.u.chunk_lack.chunks = &entry;
    assert_int_equal(ask(place, &op)->u.chunk_list.count, 1); /* it is to be fetched */
    assert_int_equal(put_chunk(place, 1, 5000), KITH_OK);
    assert_int_equal(check_chunk(place, 1, 5000), KITH_OK);
    verify(place, 0, 2);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_before_it_is_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
