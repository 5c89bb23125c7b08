/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading everything that is stored, unasked: what is damaged is found and set aside, wherever it
 * lies, and a sum that is wrong is put right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_flip.h"

enum { ROWS = 700, GROUP = 1, CHUNKS = 90, CHUNK = 200000, OPS_MAX = 10000 };

struct found {
    uint64_t rows, chunks, bytes, damaged, wrong;
    uint32_t ops;
};

static bool has_leaf(const struct kith_store_done *done, uint32_t from)
{
    return done->u.scrub.leaf > from || done->u.scrub.more;
}

/* As core/repair/scrub.c goes over a partition. */
static void scrub_partition(struct place *place, uint32_t partition, bool chunks,
                            struct found *found)
{
    struct kith_store_op op = {.id = 9, .kind = KITH_STORE_SCRUB, .partition = partition};
    op.u.scrub.chunks = chunks;
    while (op.u.scrub.leaf < KITH_TREE_LEAVES) {
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        assert_true(++found->ops < OPS_MAX);
        found->damaged += done->damaged;
        found->wrong += done->u.scrub.wrong;
        found->bytes += done->u.scrub.bytes;
        *(chunks ? &found->chunks : &found->rows) += done->u.scrub.count;
        if (done->damaged > 0) {
            continue;
        }
        assert_true(has_leaf(done, op.u.scrub.leaf));
        op.u.scrub.has_after = done->u.scrub.more;
        op.u.scrub.after = done->u.scrub.after;
        op.u.scrub.leaf = done->u.scrub.leaf;
    }
}

static struct found scrub(struct place *place)
{
    struct found found = {0};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        scrub_partition(place, p, false, &found);
        scrub_partition(place, p, true, &found);
    }
    return found;
}

static void fill(struct place *place)
{
    char name[16];
    for (uint32_t i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "row%u", i);
        put_text(place, i < ROWS - 100 ? GROUP : i, name, "value");
    }
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(put_chunk(place, i, i % 3 == 0 ? 100 : CHUNK), KITH_OK);
    }
}

static void test_sound(void **state)
{
    struct place *place = *state;
    assert_int_equal(scrub(place).damaged, 0); /* of nothing */
    fill(place);
    struct found found = scrub(place);
    assert_int_equal(found.damaged + found.wrong, 0);
    assert_int_equal(found.rows, ROWS);
    assert_int_equal(found.chunks, CHUNKS);
    assert_true(found.bytes >= CHUNKS * 2 / 3 * CHUNK);
    assert_true(found.ops >= 2 * PARTITIONS);
}

static void test_rows(void **state)
{
    struct place *place = *state;
    fill(place);
    struct kith_bytes before = state_of(place, GROUP, "row7");
    flip_row(place, "row7");
    flip_row(place, "row8");
    struct found found = scrub(place);
    assert_int_equal(found.damaged, 2);
    assert_int_equal(found.wrong, 0);
    verify(place, ROWS - 2, CHUNKS);
    bring_back(place, "row7", before);
    free_bytes(before);
    assert_int_equal(scrub(place).damaged, 0);
    verify(place, ROWS - 1, CHUNKS);
}

/* Contents beside WiredTiger: in the middle of the largest file of chunks. */
static void flip_contents(struct place *place)
{
    char command[400];
    snprintf(command, sizeof command,
             "f=$(ls -S %s/chunks/*.seg | head -n 1) && printf '\\377\\376\\375' | "
             "dd of=$f bs=1 seek=700000 conv=notrunc status=none",
             place->dir);
    assert_int_equal(system(command), 0);
}

static void test_chunks(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id id = chunk_id(3); /* a small one: in the table */
    fill(place);
    flip(place, "chunks", id.bytes, sizeof id.bytes);
    flip_contents(place);
    struct found found = scrub(place);
    assert_int_equal(found.damaged, 2);
    verify(place, ROWS, CHUNKS - 2);
    assert_int_equal(kith_store_counts(place->store).bad_chunks, 2);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        if (check_chunk(place, i, i % 3 == 0 ? 100 : CHUNK) == KITH_ECORRUPT) {
            assert_int_equal(put_chunk(place, i, i % 3 == 0 ? 100 : CHUNK), KITH_OK);
        }
    }
    assert_int_equal(scrub(place).damaged, 0);
    assert_int_equal(kith_store_counts(place->store).bad_chunks, 0);
    verify(place, ROWS, CHUNKS);
}

/* A file of chunks is gone; or the disk cannot read it (as the kernel says of an address where
 * nothing is). */
static void test_unreadable(void **state)
{
    struct place *place = *state;
    char command[400];
    for (uint32_t how = 0; how < 2; how++) {
        uint32_t lost = 0;
        fill(place);
        must_close(place);
        snprintf(command, sizeof command,
                 "f=$(ls -S %s/chunks/*.seg | head -n 1) && rm $f && %s", place->dir,
                 how == 0 ? "true" : "ln -s /proc/self/mem $f");
        assert_int_equal(system(command), 0);
        must_open(place);
        struct found found = scrub(place);
        assert_true(found.damaged > 0);
        for (uint32_t i = 0; i < CHUNKS; i++) {
            if (check_chunk(place, i, i % 3 == 0 ? 100 : CHUNK) == KITH_ECORRUPT) {
                lost++;
                assert_int_equal(put_chunk(place, i, i % 3 == 0 ? 100 : CHUNK), KITH_OK);
            }
        }
        assert_int_equal(lost, found.damaged);
        assert_int_equal(scrub(place).damaged, 0);
        verify(place, ROWS, CHUNKS);
    }
}

/* A sum on the disk is another one: the number of entries, or bytes, of a partition's last leaf. */
static void wrong_sum(struct place *place, const char *table, uint32_t partition)
{
    uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    must_close(place);
    must_open(place); /* the journal is in the table now */
    flip(place, table, key, sizeof key);
}

static void test_sums(void **state)
{
    struct place *place = *state;
    struct kith_group group = group_of(GROUP);
    struct kith_chunk_id id = chunk_id(1);
    fill(place);
    wrong_sum(place, "tree", kith_group_partition(&group, PARTITIONS));
    wrong_sum(place, "ctree", kith_chunk_partition(&id, PARTITIONS));
    struct found found = scrub(place);
    assert_int_equal(found.damaged, 0);
    assert_int_equal(found.wrong, 2);
    verify(place, ROWS, CHUNKS);
    must_close(place); /* on the disk, too */
    must_open(place);
    verify(place, ROWS, CHUNKS);
    assert_int_equal(scrub(place).wrong, 0);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
