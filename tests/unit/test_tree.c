/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "data/tree.h"
#include "lib/random.h"

static struct kith_checksum random_hash(struct test_random *random)
{
    struct kith_checksum hash;
    for (unsigned i = 0; i < sizeof hash.bytes; i++) {
        hash.bytes[i] = (uint8_t)test_random_next(random);
    }
    return hash;
}

/* Invariant 5: sums kept in step are the sums computed afresh, in whatever order the writes came.
 */
static void kept_sums_are_fresh_sums(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    static const struct kith_checksum nothing;
    struct test_random random = {7};
    struct kith_checksum hashes[KEYS];
    struct kith_sum leaves[KITH_TREE_LEAVES], fresh[KITH_TREE_LEAVES];
    memset(hashes, 0, sizeof hashes);
    memset(leaves, 0, sizeof leaves);
    memset(fresh, 0, sizeof fresh);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t key = test_random_below(&random, KEYS);
        uint32_t gone = test_random_below(&random, 4);
        struct kith_checksum next = gone == 0 ? nothing : random_hash(&random);
        kith_sum_replace(&leaves[key % KITH_TREE_LEAVES], &hashes[key], &next);
        hashes[key] = next;
    }
    for (unsigned i = KEYS; i > 0; i--) {
        kith_sum_replace(&fresh[(i - 1) % KITH_TREE_LEAVES], &nothing, &hashes[i - 1]);
    }
    assert_memory_equal(leaves, fresh, sizeof leaves);
    struct kith_sum nodes[KITH_TREE_NODES], sum = {0, 0};
    struct kith_sum root = kith_tree_root(leaves);
    kith_tree_nodes(leaves, nodes);
    for (unsigned i = 0; i < KITH_TREE_NODES; i++) {
        kith_sum_add(&sum, &nodes[i]);
    }
    assert_true(kith_sum_equal(&sum, &root));
    leaves[255].low++;
    struct kith_sum other[KITH_TREE_NODES];
    kith_tree_nodes(leaves, other);
    assert_false(kith_sum_equal(&other[15], &nodes[15]));
    assert_true(kith_sum_equal(&other[14], &nodes[14]));
}

static void sums_carry(void **state)
{
    (void)state;
    struct kith_sum sum = {UINT64_MAX, 1}, one = {1, 0};
    kith_sum_add(&sum, &one);
    assert_true(sum.low == 0 && sum.high == 2);
    struct kith_checksum low_one = {.bytes = {[15] = 1}}, nothing = {.bytes = {0}};
    kith_sum_replace(&sum, &low_one, &nothing);
    assert_true(sum.low == UINT64_MAX && sum.high == 1);
}

/* Also for rows with an empty name, whose partition comes from the same bytes. */
static void leaves_are_evenly_filled(void **state)
{
    (void)state;
    uint32_t load[KITH_TREE_LEAVES] = {0}, count = 0;
    for (uint32_t i = 0; count < 25600; i++) {
        struct kith_key key = {.name = {NULL, 0}};
        memset(&key, 0, sizeof key);
        memcpy(key.group.bytes, &i, sizeof i);
        if (kith_group_partition(&key.group, 64) == 5) {
            load[kith_tree_leaf(&key)]++;
            count++;
        }
    }
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        assert_in_range(load[i], 40, 170);
    }
    struct kith_key a = {.name = {(const uint8_t *)"a", 1}},
                    b = {.name = {(const uint8_t *)"b", 1}};
    memset(&a.group, 1, sizeof a.group);
    memset(&b.group, 1, sizeof b.group);
    assert_int_not_equal(kith_tree_leaf(&a), kith_tree_leaf(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_sums_are_fresh_sums),
        cmocka_unit_test(sums_carry),
        cmocka_unit_test(leaves_are_evenly_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
