/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What can be read and written with some nodes down, or up but cut off from each other. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "ctl/screens/health.h"

#define NODES      4u
#define PARTITIONS 4u

/* Partition p belongs to p, p + 1 and p + 2, around. */
static struct kith_table *table_new(uint32_t replicas)
{
    struct kith_uuid cluster = {{9}};
    struct kith_member members[NODES];
    uint16_t owners[PARTITIONS * 3];
    memset(members, 0, sizeof(members));
    for (uint32_t i = 0; i < NODES; i++) {
        members[i].uuid.bytes[0] = (uint8_t)(i + 1);
        members[i].weight = 1;
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t k = 0; k < replicas; k++) {
            owners[p * replicas + k] = (uint16_t)((p + k) % NODES);
        }
    }
    struct kith_table *table = NULL;
    assert_int_equal(
        kith_table_new(&cluster, 1, 7, PARTITIONS, replicas, members, NODES, owners, &table),
        KITH_OK);
    return table;
}

/* up: a bit for each node; deaf: pairs of nodes that do not hear each other */
static struct kith_health health(uint32_t replicas, unsigned up_bits, const char *deaf)
{
    bool up[NODES];
    bool hears[NODES * NODES];
    memset(hears, true, sizeof(hears));
    for (uint32_t i = 0; i < NODES; i++) {
        up[i] = (up_bits >> i & 1u) != 0;
    }
    for (; *deaf; deaf += 2) {
        hears[(deaf[0] - '0') * (int)NODES + (deaf[1] - '0')] = false;
    }
    struct kith_reach reach = {NODES, up, hears, NULL};
    struct kith_table *table = table_new(replicas);
    struct kith_health got = kith_health_of(table, &reach);
    kith_table_drop(table);
    return got;
}

static void test_down(void **state)
{
    (void)state;
    struct kith_health all = health(3, 0xf, "");
    assert_int_equal(all.quorum, 2);
    assert_true(all.unreadable == 0 && all.unwritable == 0 && all.thin == 0);
    struct kith_health three = health(3, 0xe, "");
    assert_true(three.unreadable == 0 && three.unwritable == 0);
    assert_int_equal(three.thin, 3);             /* 0 owns these */
    struct kith_health two = health(3, 0xc, ""); /* 0 and 1 are down, who both own 0 and 3 */
    assert_int_equal(two.unreadable, 2);
    assert_int_equal(two.unwritable, 2);
    assert_int_equal(two.ownerless, 0);
    assert_int_equal(two.thin, 4);
    struct kith_health one = health(3, 0x8, "");
    assert_int_equal(one.unreadable, 4);
    assert_int_equal(one.ownerless, 1); /* 3 owns all but 0, 1, 2 */
    struct kith_health none = health(3, 0, "");
    assert_int_equal(none.ownerless, 4);
    struct kith_health single = health(1, 0x7, "");
    assert_int_equal(single.quorum, 1);
    assert_true(single.unreadable == 1 && single.unwritable == 1 && single.ownerless == 1);
}

static void test_cut_off(void **state)
{
    (void)state;
    /* 0 and 1 do not hear 2 and 3, nor these them: each owner of three hears another or is heard */
    struct kith_health halves = health(3, 0xf, "0203121320213031");
    assert_true(halves.unreadable == 0 && halves.unwritable == 0);
    /* 2 is down too: 0 has 0, 1 and 2; 1 has 1, 2 and 3; 2 has 2, 3 and 0; 3 has 3, 0 and 1 */
    struct kith_health worse = health(3, 0xb, "0203121320213031");
    assert_int_equal(worse.unreadable, 0);
    assert_int_equal(worse.unwritable, 2); /* 1 (by 1, 3) and 2 (by 3, 0) */
    /* heard one way is enough for the one that hears: he brings the write there */
    struct kith_health one_way = health(3, 0xb, "02031213");
    assert_int_equal(one_way.unwritable, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_down), cmocka_unit_test(test_cut_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
