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
#include <time.h>

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

/* What its writer had read goes. */
static void delete_row(struct place *place, uint32_t group, const char *name)
{
    struct kith_bytes old = state_of(place, group, name);
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_buf context;
    kith_buf_init(&context);
    assert_int_equal(kith_row_decode(&arena, old, &row), KITH_OK);
    row.sibling_count = 0;
    kith_row_encode(&row, &context);
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .context = kith_buf_bytes(&context)};
    struct kith_store_op op = put_op(group, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    kith_arena_release(&arena);
    kith_buf_release(&context);
    free_bytes(old);
}

static void put_text_blind(struct place *place, const char *name)
{
    struct kith_put_update update = update_of(name, "new");
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
}

static uint32_t scrub_damaged(struct place *place, uint32_t partition)
{
    struct kith_store_op op = {.kind = KITH_STORE_SCRUB, .partition = partition};
    uint32_t damaged = 0;
    while (op.u.scrub.leaf < KITH_TREE_LEAVES) {
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        damaged += done->damaged;
        op.u.scrub.leaf = done->u.scrub.leaf;
    }
    return damaged;
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
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

/* A row that was gone when it was set aside is given up where it is proved that nobody has it; one
 * that was not gone is missed as long as nobody brings it. */
static void test_gone(void **state)
{
    struct place *place = *state;
    static const char *const rows[] = {"gone", "kept", "back", "put"};
    struct kith_bytes before[4];
    uint32_t damaged = 0;
    struct kith_group group = group_of(1);
    struct kith_store_op op = {.kind = KITH_STORE_SCRUB};
    op.partition = kith_group_partition(&group, PARTITIONS);
    for (uint32_t i = 0; i < 4; i++) {
        put_text(place, 1, rows[i], "value");
        if (i != 1) {
            delete_row(place, 1, rows[i]);
        }
        before[i] = state_of(place, 1, rows[i]);
        flip_row(place, rows[i]);
        assert_int_equal(get_row(place, rows[i], &damaged), KITH_ECORRUPT);
    }
    bring_back(place, "back", before[2]);
    put_text_blind(place, "put"); /* that is no return, and it is damaged once more */
    flip_row(place, "put");
    op.u.scrub.leaf = 0;
    assert_int_equal(scrub_damaged(place, op.partition), 1);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 3);
    uint64_t now_ms = monotonic_ms();
    const uint64_t compared_ms[] = {0, now_ms - 60000, now_ms + 60000};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(get_row(place, "gone", &damaged), KITH_ECORRUPT);
        op.u.scrub.compared_ms = compared_ms[i];
        assert_int_equal(ask(place, &op)->err, KITH_OK);
        assert_int_equal(kith_store_counts(place->store).bad_rows, i < 2 ? 3 : 2);
    }
    assert_int_equal(get_row(place, "gone", &damaged), KITH_OK);
    assert_int_equal(get_row(place, "back", &damaged), KITH_OK);
    assert_int_equal(get_row(place, "kept", &damaged), KITH_ECORRUPT);
    assert_int_equal(get_row(place, "put", &damaged), KITH_ECORRUPT);
    verify(place, 1, 0);
    must_close(place);
    must_open(place);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 2);
    bring_back(place, "kept", before[1]);
    bring_back(place, "put", before[3]);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 0);
    assert_int_equal(scan(place)->err, KITH_OK);
    flip_row(place, "put"); /* gone, and nothing of the former time is left */
    flip_row(place, "kept");
    assert_int_equal(scan(place)->err, KITH_ECORRUPT);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 2);
    must_close(place);
    must_open(place); /* all that was set aside before this run was so before any of its exchanges */
    op.u.scrub.compared_ms = 1;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(get_row(place, "put", &damaged), KITH_OK);
    assert_int_equal(get_row(place, "kept", &damaged), KITH_ECORRUPT);
    for (uint32_t i = 0; i < 4; i++) {
        free_bytes(before[i]);
    }
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
        cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
