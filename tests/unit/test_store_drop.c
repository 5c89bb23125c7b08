/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is stored of a partition goes, rows and chunks each by themselves: with all that is derived
 * from it, a few at a time, and nothing of any other partition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_flip.h"

#define GRACE UINT64_C(1000)
#define NOW   UINT64_C(100000) /* chunks are made at 1000 and later */
#define MANY  (2u * KITH_DROP_MAX + 60u)

static uint32_t row_partition(uint32_t number)
{
    struct kith_group group = group_of(number);
    return kith_group_partition(&group, PARTITIONS);
}

static uint32_t chunk_partition(uint32_t number)
{
    struct kith_chunk_id id = chunk_id(number);
    return kith_chunk_partition(&id, PARTITIONS);
}

/* The next group in the same partition as this one. */
static uint32_t group_beside(uint32_t number)
{
    uint32_t next = number + 1;
    while (row_partition(next) != row_partition(number)) {
        next++;
    }
    return next;
}

static uint32_t chunk_beside(uint32_t number)
{
    uint32_t next = number + 1;
    while (chunk_partition(next) != chunk_partition(number)) {
        next++;
    }
    return next;
}

static uint32_t chunk_elsewhere(uint32_t number)
{
    uint32_t next = number + 1;
    while (chunk_partition(next) == chunk_partition(number)) {
        next++;
    }
    return next;
}

static struct kith_store_done drop_some(struct place *place, uint32_t partition, bool chunks)
{
    struct kith_store_op op = {.id = 9, .kind = KITH_STORE_DROP, .partition = partition};
    op.u.drop.chunks = chunks;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_true(done->u.drop.count <= KITH_DROP_MAX);
    assert_true(!done->u.drop.more || done->u.drop.count == KITH_DROP_MAX);
    return *done;
}

/* All of it; how many went. */
static uint32_t drop(struct place *place, uint32_t partition, bool chunks)
{
    uint32_t count = 0;
    bool more = true;
    while (more) {
        struct kith_store_done done = drop_some(place, partition, chunks);
        count += done.u.drop.count;
        more = done.u.drop.more;
    }
    return count;
}

static enum kith_err read_row(struct place *place, uint32_t group, const char *name,
                              bool *ret_there)
{
    struct kith_bytes names[1] = {kith_bytes_make(name, strlen(name))};
    struct kith_store_op op = get_op(group, names, 1);
    const struct kith_store_done *done = ask(place, &op);
    *ret_there = done->err == KITH_OK && done->u.rows.rows[0].state.size > 0;
    return done->err;
}

static bool is_there(struct place *place, uint32_t group, const char *name)
{
    bool there = false;
    assert_int_equal(read_row(place, group, name, &there), KITH_OK);
    return there;
}

static struct kith_store_op sweep_op(uint32_t chunk, enum kith_store_kind kind,
                                     const struct kith_sweep_chunk *one)
{
    struct kith_store_op op = {.id = 2, .kind = kind, .durability = KITH_DURABLE_DISK};
    op.partition = chunk_partition(chunk);
    op.u.sweep.grace_ms = GRACE;
    op.u.sweep.count = 1;
    op.u.sweep.chunks = one;
    return op;
}

/* Whether something here refers to the chunk, as who sweeps is told. */
static bool is_named(struct place *place, uint32_t chunk)
{
    struct kith_sweep_chunk one = {chunk_id(chunk), 0};
    struct kith_store_op op = sweep_op(chunk, KITH_STORE_SWEEP_LOOK, &one);
    op.u.sweep.now_ms = NOW;
    op.u.sweep.step = KITH_SWEEP_ASK;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done->u.sweep.kept_count == 1;
}

static void sweep(struct place *place, uint32_t chunk)
{
    static const enum kith_sweep_step steps[] = {KITH_SWEEP_CONDEMN, KITH_SWEEP_DOOM,
                                                 KITH_SWEEP_DELETE};
    for (uint32_t i = 0; i < 3; i++) {
        struct kith_sweep_chunk one = {chunk_id(chunk), 7};
        struct kith_store_op op = sweep_op(chunk, KITH_STORE_SWEEP_STEP, &one);
        op.u.sweep.now_ms = NOW + i * GRACE;
        op.u.sweep.step = steps[i];
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        assert_int_equal(done->u.sweep.kept_count, 0);
    }
}

/* Whether it would be fetched: not one that is here, nor one that was swept. */
static bool is_lacking(struct place *place, uint32_t chunk)
{
    struct kith_chunk_entry entry = {.id = chunk_id(chunk), .size = 100};
    struct kith_store_op op = {.kind = KITH_STORE_CHUNK_LACK, .partition = chunk_partition(chunk)};
    op.u.chunk_lack.count = 1;
    op.u.chunk_lack.chunks = &entry;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done->u.chunk_list.count == 1;
}

static void put_row(struct place *place, uint32_t group, const char *name,
                    const struct kith_chunk_id *refs, uint32_t count)
{
    struct kith_put_update update = update_of(name, "v");
    update.refs = refs;
    update.ref_count = count;
    struct kith_store_op op = put_op(group, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
}

/* A chunk of that size that names others. */
static void put_list(struct place *place, uint32_t number, size_t size,
                     const struct kith_chunk_id *refs, uint32_t count)
{
    struct kith_blob *blob = chunk_blob(number, size);
    struct kith_store_op op = chunk_op(number, blob);
    op.u.chunk_put.refs = refs;
    op.u.chunk_put.ref_count = count;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    kith_blob_drop(blob);
}

static void reopen(struct place *place)
{
    must_close(place);
    must_open(place);
}

/* ---- */

static void test_rows(void **state)
{
    struct place *place = *state;
    const uint32_t here = 1, beside = group_beside(here);
    uint32_t other = 2;
    while (row_partition(other) == row_partition(here)) {
        other++;
    }
    struct kith_chunk_id refs[3] = {chunk_id(1), chunk_id(2), chunk_id(3)};
    put_row(place, here, "one", refs, 2);
    put_row(place, here, "two", refs, 3);
    struct kith_put_update removal = {.name = kith_bytes_make("gone", 4)};
    struct kith_store_op op = put_op(here, &removal, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK); /* a tombstone */
    put_row(place, beside, "", &refs[2], 1);
    put_row(place, other, "one", &refs[1], 1);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(put_chunk(place, i, 100), KITH_OK);
        assert_true(is_named(place, i));
    }
    verify(place, 5, 3);
    assert_int_equal(drop(place, row_partition(here), false), 4);
    for (uint32_t i = 0; i < 2; i++) {
        verify(place, 1, 3);
        assert_false(is_there(place, here, "one"));
        assert_false(is_there(place, here, "gone"));
        assert_false(is_there(place, beside, ""));
        assert_true(is_there(place, other, "one"));
        assert_false(is_named(place, 1));
        assert_true(is_named(place, 2)); /* by the one elsewhere */
        assert_false(is_named(place, 3));
        for (uint32_t c = 1; c <= 3; c++) {
            assert_int_equal(check_chunk(place, c, 100), KITH_OK);
        }
        reopen(place);
    }
    assert_int_equal(drop(place, row_partition(here), false), 0);
    put_row(place, here, "one", refs, 1); /* the partition came back */
    assert_true(is_there(place, here, "one"));
    assert_true(is_named(place, 1));
    verify(place, 2, 3);
}

/* Rows and chunks of one partition go each by themselves. */
static void test_apart(void **state)
{
    struct place *place = *state;
    uint32_t chunk = 1;
    while (chunk_partition(chunk) != row_partition(1)) {
        chunk++;
    }
    put_text(place, 1, "a", "1");
    assert_int_equal(put_chunk(place, chunk, 100), KITH_OK);
    assert_int_equal(drop(place, row_partition(1), false), 1);
    assert_int_equal(check_chunk(place, chunk, 100), KITH_OK);
    put_text(place, 1, "b", "1");
    assert_int_equal(drop(place, row_partition(1), true), 1);
    assert_true(is_there(place, 1, "b"));
    assert_int_equal(check_chunk(place, chunk, 100), KITH_ENOTFOUND);
    verify(place, 1, 0);
}

/* Small ones in the table, a large one in a segment, and a list, which names others. */
static void test_chunks(void **state)
{
    struct place *place = *state;
    uint32_t own[4] = {1};
    for (uint32_t i = 1; i < 4; i++) {
        own[i] = chunk_beside(own[i - 1]);
    }
    const uint32_t other = chunk_elsewhere(1), large = chunk_elsewhere(other);
    const uint32_t before = chunk_elsewhere(large);
    struct kith_chunk_id refs[2] = {chunk_id(other), chunk_id(own[0])};
    must_close(place);
    place->workers = 1; /* one segment for all */
    must_open(place);
    assert_int_equal(put_chunk(place, before, 1u << 20), KITH_OK);
    put_list(place, other, 100, &refs[1], 1);
    assert_int_equal(put_chunk(place, own[0], 100), KITH_OK);
    assert_int_equal(put_chunk(place, own[1], 1u << 20), KITH_OK);
    assert_int_equal(put_chunk(place, large, 1u << 20), KITH_OK);
    put_list(place, own[2], 300000, refs, 2);
    assert_true(is_named(place, other));
    assert_int_equal(put_chunk(place, own[3], 100), KITH_OK);
    sweep(place, own[3]);
    assert_false(is_lacking(place, own[3])); /* it was swept: a while nobody fetches it */
    verify(place, 0, 6);
    assert_int_equal(drop(place, chunk_partition(1), true), 3);
    for (uint32_t i = 0; i < 2; i++) {
        verify(place, 0, 3);
        for (uint32_t c = 0; c < 4; c++) {
            assert_true(is_lacking(place, own[c])); /* if they come back, they come as they are */
        }
        assert_int_equal(check_chunk(place, other, 100), KITH_OK);
        assert_int_equal(check_chunk(place, large, 1u << 20), KITH_OK);
        assert_int_equal(check_chunk(place, before, 1u << 20), KITH_OK);
        assert_false(is_named(place, other));
        assert_true(is_named(place, own[0])); /* by a list elsewhere */
        reopen(place);
    }
    for (uint32_t c = 0; c < 3; c++) {
        assert_int_equal(put_chunk(place, own[c], 1u << 20), KITH_OK);
    }
    reopen(place);
    for (uint32_t c = 0; c < 3; c++) {
        assert_int_equal(check_chunk(place, own[c], 1u << 20), KITH_OK);
    }
    assert_int_equal(check_chunk(place, large, 1u << 20), KITH_OK);
    verify(place, 0, 6);
}

/* More than goes at a time: each time what is left is in order,
 * also in a leaf that went in part. */
static void test_many(void **state)
{
    struct place *place = *state;
    uint32_t chunk = 1;
    for (uint32_t i = 0; i < MANY; i++) {
        char name[16];
        struct kith_chunk_id id = chunk_id(i);
        snprintf(name, sizeof name, "n%u", i);
        put_row(place, 1, name, &id, 1);
        assert_int_equal(put_chunk(place, chunk, 10), KITH_OK);
        chunk = i + 1 < MANY ? chunk_beside(chunk) : chunk;
    }
    verify(place, MANY, MANY);
    const bool chunks[2] = {false, true};
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t partition = chunks[i] ? chunk_partition(1) : row_partition(1);
        uint64_t rows = chunks[i] ? 0 : MANY;
        for (uint32_t left = MANY; left > 0;) {
            struct kith_store_done done = drop_some(place, partition, chunks[i]);
            assert_int_equal(done.u.drop.count, left < KITH_DROP_MAX ? left : KITH_DROP_MAX);
            left -= done.u.drop.count;
            assert_int_equal(done.u.drop.more, left > 0);
            verify(place, chunks[i] ? rows : left, chunks[i] ? left : MANY);
        }
    }
    assert_false(is_named(place, 0));
    assert_false(is_named(place, MANY - 1));
}

/* Exactly as many as go at a time: that was all. */
static void test_full(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < KITH_DROP_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%u", i);
        put_text(place, 1, name, "v");
    }
    struct kith_store_done done = drop_some(place, row_partition(1), false);
    assert_int_equal(done.u.drop.count, KITH_DROP_MAX);
    assert_false(done.u.drop.more);
    verify(place, 0, 0);
}

/* Rows that were set aside, and one that is damaged and that nobody has met: nothing of them keeps
 * readers away once they are others'. */
static void test_bad_rows(void **state)
{
    struct place *place = *state;
    bool there = false;
    struct kith_chunk_id ref = chunk_id(1);
    put_row(place, 1, "aside", &ref, 1);
    put_text(place, 1, "unmet", "2");
    put_text(place, 1, "sound", "3");
    flip_row(place, "aside");
    assert_int_equal(read_row(place, 1, "aside", &there), KITH_ECORRUPT);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 1);
    flip_row(place, "unmet");
    assert_int_equal(drop(place, row_partition(1), false), 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(kith_store_counts(place->store).bad_rows, 0);
        assert_false(is_there(place, 1, "aside"));
        assert_false(is_there(place, 1, "unmet"));
        assert_false(is_there(place, 1, "sound"));
        reopen(place);
    }
    put_text(place, 1, "aside", "again");
    assert_true(is_there(place, 1, "aside"));
}

static void test_bad_chunks(void **state)
{
    struct place *place = *state;
    const uint32_t aside = 1, unmet = chunk_beside(1), other = chunk_elsewhere(1);
    const uint32_t all[3] = {aside, unmet, other};
    for (uint32_t i = 0; i < 3; i++) {
        struct kith_chunk_id id = chunk_id(all[i]);
        assert_int_equal(put_chunk(place, all[i], 5000), KITH_OK);
        flip(place, "chunks", id.bytes, sizeof id.bytes);
    }
    assert_int_equal(check_chunk(place, aside, 5000), KITH_ECORRUPT);
    assert_int_equal(check_chunk(place, other, 5000), KITH_ECORRUPT);
    assert_int_equal(kith_store_counts(place->store).bad_chunks, 2);
    assert_int_equal(drop(place, chunk_partition(aside), true), 1);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(kith_store_counts(place->store).bad_chunks, 1);
        assert_int_equal(check_chunk(place, aside, 5000), KITH_ENOTFOUND);
        assert_int_equal(check_chunk(place, unmet, 5000), KITH_ENOTFOUND);
        assert_int_equal(check_chunk(place, other, 5000), KITH_ECORRUPT); /* of another partition */
        reopen(place);
    }
    verify(place, 0, 0);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_chunks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
