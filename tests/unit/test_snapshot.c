/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "metrics_world.h"

static void test_health(void **state)
{
    (void)state;
    struct kith_snapshot_health health;
    struct kith_snapshot *snapshot = snapshot_make(16, 4); /* node 3 is in three of four */
    kith_snapshot_health(snapshot, &health);
    assert_int_equal(health.partitions, 16);
    assert_int_equal(health.members, 4);
    assert_int_equal(health.up, 3);
    assert_int_equal(health.whole, 4);
    assert_int_equal(health.thin, 12);
    assert_int_equal(health.below, 0);
    snapshot->peers[0].up = false; /* node 2, too: both are in eight of them */
    kith_snapshot_health(snapshot, &health);
    assert_int_equal(health.up, 2);
    assert_int_equal(health.whole, 0);
    assert_int_equal(health.thin, 8);
    assert_int_equal(health.below, 8);
    assert_int_equal(health.lost, 0);
    snapshot->peers[2].up = false;
    kith_snapshot_health(snapshot, &health);
    assert_int_equal(health.below, 16);
    assert_int_equal(health.lost, 4);
    kith_snapshot_drop(snapshot);
}

/* Two owners: one of them is no majority. */
static void test_two(void **state)
{
    (void)state;
    struct kith_snapshot_health health;
    struct kith_snapshot *snapshot = snapshot_make(8, 2);
    kith_snapshot_health(snapshot, &health);
    assert_int_equal(health.whole, 8);
    snapshot->peers[0].up = false;
    kith_snapshot_health(snapshot, &health);
    assert_int_equal(health.below, 8);
    assert_int_equal(health.lost, 0);
    kith_snapshot_drop(snapshot);
}

static void test_texts(void **state)
{
    (void)state;
    char name[8] = "first";
    struct kith_node_status status = {.cluster_name = name, .software = name};
    struct kith_snapshot *snapshot = kith_snapshot_new();
    struct kith_snapshot_health health;
    assert_non_null(snapshot);
    kith_snapshot_health(snapshot, &health); /* without a cluster */
    assert_int_equal(health.partitions + health.members, 0);
    kith_snapshot_status(snapshot, &status);
    name[0] = 'w';
    assert_string_equal(snapshot->status.cluster_name, "first");
    assert_string_equal(snapshot->status.sweep.waits, "");
    struct kith_snapshot *held = kith_snapshot_hold(snapshot);
    kith_snapshot_drop(snapshot);
    assert_string_equal(held->status.software, "first");
    kith_snapshot_drop(held);
    kith_snapshot_drop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_two),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
