/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_store_leaf.c - a leaf of the hash tree in parts, as a backup asks for it. (Whole ones:
 * test_store_wt.c, test_sums.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "store_place.h"

/* A name of the group in that leaf, the next one from `*number` on. */
static void name_in_leaf(uint32_t group, uint32_t leaf, uint32_t *number, char name[16])
{
    struct kith_key key = {group_of(group), kith_bytes_make(name, 0)};
    do {
        snprintf(name, 16, "n%u", (*number)++);
        key.name.size = strlen(name);
    } while (kith_tree_leaf(&key) != leaf);
}

static int by_key(const void *a, const void *b)
{
    const struct kith_leaf_row *left = a, *right = b;
    int order = kith_group_compare(&left->group, &right->group);
    return order != 0 ? order : kith_bytes_compare(left->name, right->name);
}

static struct kith_sum sum_of(const struct kith_leaf_row *rows, uint32_t count)
{
    static const struct kith_checksum none;
    struct kith_sum sum = {0, 0};
    for (uint32_t i = 0; i < count; i++) {
        kith_sum_replace(&sum, &none, &rows[i].hash);
    }
    return sum;
}

#define PART_ROWS 600u /* more than are in one answer */

/* A leaf for a backup, in parts: behind a key, up to and with a key, without those that are named, but
 * with all of them in the part's sum. */
static void test_leaf_parts(void **state)
{
    struct place *place = *state;
    static struct kith_leaf_row all[PART_ROWS];
    static char names[PART_ROWS][16];
    uint32_t number = 0;
    for (uint32_t i = 0; i < PART_ROWS; i++) {
        name_in_leaf(3, 9, &number, names[i]);
        put_text(place, 3, names[i], "v");
    }
    struct kith_group group = group_of(3);
    struct kith_store_op op = {.kind = KITH_STORE_LEAF};
    op.partition = kith_group_partition(&group, PARTITIONS);
    kith_leaf_add(&op.u.leaf.leaves, 9);
    op.u.leaf.sums = op.u.leaf.part = true;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_true(done->u.leaf.more && done->u.leaf.part);
    assert_int_equal(done->u.leaf.row_count, KITH_LEAF_ROWS_MAX);
    for (uint32_t i = 0; i < PART_ROWS; i++) {
        all[i].group = group;
        all[i].name = kith_bytes_make(names[i], strlen(names[i]));
    }
    qsort(all, PART_ROWS, sizeof all[0], by_key);
    for (uint32_t i = 0; i < KITH_LEAF_ROWS_MAX; i++) {
        assert_true(kith_bytes_equal(done->u.leaf.rows[i].name, all[i].name));
        all[i].hash = done->u.leaf.rows[i].hash;
    }
    struct kith_sum sum = sum_of(all, KITH_LEAF_ROWS_MAX);
    assert_true(kith_sum_equal(&sum, &done->u.leaf.part_sum));
    op.u.leaf.has_after = true;
    op.u.leaf.after = (struct kith_key){group, all[KITH_LEAF_ROWS_MAX - 1].name};
    done = ask(place, &op);
    assert_false(done->u.leaf.more);
    assert_int_equal(done->u.leaf.row_count, PART_ROWS - KITH_LEAF_ROWS_MAX);
    for (uint32_t i = KITH_LEAF_ROWS_MAX; i < PART_ROWS; i++) {
        const struct kith_leaf_row *row = &done->u.leaf.rows[i - KITH_LEAF_ROWS_MAX];
        assert_true(kith_bytes_equal(row->name, all[i].name));
        all[i].hash = row->hash;
    }
    sum = sum_of(all, PART_ROWS);
    assert_true(kith_sum_equal(&sum, &done->u.leaf.sums[9]));
    struct kith_checksum have[3] = {all[20].hash, all[21].hash, all[30].hash};
    op.u.leaf.after.name = all[19].name;
    op.u.leaf.has_until = true;
    op.u.leaf.until = (struct kith_key){group, all[30].name};
    op.u.leaf.have_count = 3;
    op.u.leaf.have = have;
    done = ask(place, &op);
    assert_int_equal(done->u.leaf.row_count, 8);
    assert_true(kith_bytes_equal(done->u.leaf.rows[0].name, all[22].name));
    sum = sum_of(all + 20, 11);
    assert_true(kith_sum_equal(&sum, &done->u.leaf.part_sum));
    op.u.leaf.after.name = kith_bytes_make("zzz", 3); /* nothing is behind it */
    op.u.leaf.has_until = false;
    done = ask(place, &op);
    assert_true(done->err == KITH_OK && done->u.leaf.row_count == 0 && !done->u.leaf.more);
    assert_true(done->u.leaf.part_sum.low == 0 && done->u.leaf.part_sum.high == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leaf_parts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
