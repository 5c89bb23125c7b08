/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What anti-entropy reads of chunks: sums, lists by leaf, what is lacking, and references with the
 * contents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#define CHUNKS 200u

static struct kith_leaf_set all_leaves(void)
{
    struct kith_leaf_set set;
    memset(&set, 0xff, sizeof set);
    return set;
}

/* All chunks of all partitions are listed, by leaf and id, once each,
 * whatever page they begin on. */
static void test_list(void **state)
{
    struct place *place = *state;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(put_chunk(place, i, 10 + i), KITH_OK);
    }
    for (uint32_t partition = 0; partition < PARTITIONS; partition++) {
        struct kith_store_op op = {.kind = KITH_STORE_CHUNK_LIST, .partition = partition};
        op.u.chunk_list.leaves = all_leaves();
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        assert_false(done->u.chunk_list.more);
        uint32_t count = done->u.chunk_list.count;
        struct kith_chunk_entry first[CHUNKS];
        memcpy(first, done->u.chunk_list.chunks, count * sizeof *first);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t leaf = kith_tree_chunk_leaf(&first[i].id);
            assert_int_equal(kith_chunk_partition(&first[i].id, PARTITIONS), partition);
            assert_in_range(first[i].size, 10, 10 + CHUNKS);
            if (i > 0) {
                uint32_t before = kith_tree_chunk_leaf(&first[i - 1].id);
                assert_true(before < leaf ||
                            (before == leaf &&
                             memcmp(&first[i - 1].id, &first[i].id, sizeof first[i].id) < 0));
            }
            op.u.chunk_list.has_after = true; /* from here on */
            op.u.chunk_list.after = first[i].id;
            done = ask(place, &op);
            assert_int_equal(done->u.chunk_list.count, count - i - 1);
            assert_memory_equal(done->u.chunk_list.chunks, &first[i + 1],
                                (count - i - 1) * sizeof *first);
            op.u.chunk_list.has_after = false; /* this leaf alone */
            memset(&op.u.chunk_list.leaves, 0, sizeof op.u.chunk_list.leaves);
            kith_leaf_add(&op.u.chunk_list.leaves, leaf);
            done = ask(place, &op);
            assert_true(done->u.chunk_list.count >= 1);
            op.u.chunk_list.leaves = all_leaves();
            release_results(place);
        }
        seen += count;
        release_results(place);
    }
    assert_int_equal(seen, CHUNKS);
}

static void test_sums(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id id = chunk_id(3);
    struct kith_store_op op = {.kind = KITH_STORE_SUMS};
    op.partition = kith_chunk_partition(&id, PARTITIONS);
    op.u.sums.chunks = true;
    static const struct kith_sum empty;
    uint32_t leaf = kith_tree_chunk_leaf(&id);
    assert_true(kith_sum_equal(&ask(place, &op)->u.sums[leaf], &empty));
    assert_int_equal(put_chunk(place, 3, 100), KITH_OK);
    assert_false(kith_sum_equal(&ask(place, &op)->u.sums[leaf], &empty));
    op.u.sums.chunks = false; /* the other tree */
    assert_true(kith_sum_equal(&ask(place, &op)->u.sums[leaf], &empty));
}

static void test_lack(void **state)
{
    struct place *place = *state;
    struct kith_chunk_entry chunks[20];
    memset(chunks, 0, sizeof chunks);
    uint32_t partition = 2, count = 0, lacking = 0;
    for (uint32_t i = 0; count < 20; i++) {
        chunks[count].id = chunk_id(i);
        if (kith_chunk_partition(&chunks[count].id, PARTITIONS) != partition) {
            continue;
        }
        chunks[count].size = count;
        if (count % 3 == 0) {
            assert_int_equal(put_chunk(place, i, 100), KITH_OK);
        }
        count++;
    }
    struct kith_store_op op = {.kind = KITH_STORE_CHUNK_LACK, .partition = partition};
    op.u.chunk_lack.count = count;
    op.u.chunk_lack.chunks = chunks;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    for (uint32_t i = 0; i < count; i++) {
        if (i % 3 != 0) {
            assert_memory_equal(&done->u.chunk_list.chunks[lacking++], &chunks[i], sizeof *chunks);
        }
    }
    assert_int_equal(done->u.chunk_list.count, lacking);
}

/* References come where they are asked for, so that who takes the chunk over holds them, too. */
static void test_refs_travel(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id refs[2] = {chunk_id(8), chunk_id(9)};
    struct kith_blob *blob = chunk_blob(7, 70000);
    struct kith_store_op put = chunk_op(7, blob);
    put.u.chunk_put.ref_count = 2;
    put.u.chunk_put.refs = refs;
    assert_int_equal(ask(place, &put)->err, KITH_OK);
    struct kith_store_op op = {.kind = KITH_STORE_CHUNK_GET};
    op.u.chunk_get.id = chunk_id(7);
    op.partition = kith_chunk_partition(&op.u.chunk_get.id, PARTITIONS);
    assert_int_equal(ask(place, &op)->u.chunk.ref_count, 0);
    op.u.chunk_get.refs = true;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->u.chunk.ref_count, 2);
    assert_memory_equal(done->u.chunk.refs, refs, sizeof refs);
    kith_blob_drop(blob);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refs_travel, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
