/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The groups that have a row without a name: all of a volume and partition, each once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#define GROUPS (KITH_GROUPS_MAX + 300u)
#define VOLUME 5u

/* In ascending order. */
static struct kith_group group_at(uint32_t volume, uint32_t i)
{
    uint8_t own[12] = {(uint8_t)(i >> 8), (uint8_t)i, 0xff, 0xff};
    memset(own + 2, i % 3 == 0 ? 0xff : 0, 10);
    return kith_group_make(volume, own);
}

static void put_row(struct place *place, uint32_t partition, struct kith_group group,
                    const char *name, bool there)
{
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .has_sibling = there,
                                     .value = kith_bytes_make("v", there ? 1 : 0)};
    struct kith_store_op op = {.kind = KITH_STORE_PUT, .partition = partition};
    static uint8_t requests;
    op.u.put.group = group;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    op.u.put.request.bytes[0] = ++requests;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
}

static uint32_t count_from(struct place *place, uint32_t partition, uint32_t volume, uint32_t from)
{
    struct kith_store_op op = {.kind = KITH_STORE_GROUPS, .partition = partition};
    op.u.groups.volume = volume;
    op.u.groups.has_after = from > 0;
    op.u.groups.after = group_at(volume, from - 1);
    uint32_t at = from;
    bool more = true;
    while (more) {
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        assert_true(done->u.groups.count <= KITH_GROUPS_MAX);
        more = done->u.groups.more;
        assert_true(!more || done->u.groups.count == KITH_GROUPS_MAX);
        for (uint32_t i = 0; i < done->u.groups.count; i++, at++) {
            struct kith_group want = group_at(volume, at);
            assert_int_equal(kith_group_compare(&done->u.groups.groups[i], &want), 0);
            op.u.groups.after = want;
            op.u.groups.has_after = true;
        }
    }
    return at;
}

static void test_groups(void **state)
{
    struct place *place = *state;
    assert_int_equal(count_from(place, 1, VOLUME, 0), 0);
    for (uint32_t i = 0; i < GROUPS; i++) {
        put_row(place, 1, group_at(VOLUME, i), "", i % 7 != 0); /* deleted ones, too */
        if (i % 2 == 0) {
            put_row(place, 1, group_at(VOLUME, i), "name", true);
        }
    }
    /* none of them: another volume, another partition, groups without such a row */
    put_row(place, 1, group_at(VOLUME - 1, 0xffff), "", true);
    put_row(place, 1, group_at(VOLUME + 1, 0), "", true);
    put_row(place, 0, group_at(VOLUME, 1), "", true);
    put_row(place, 2, group_at(VOLUME, 0xffff), "", true);
    put_row(place, 1, group_at(VOLUME, GROUPS), "name", true);
    assert_int_equal(count_from(place, 1, VOLUME, 0), GROUPS);
    assert_int_equal(count_from(place, 1, VOLUME, 1), GROUPS);
    assert_int_equal(count_from(place, 1, VOLUME, GROUPS - 1), GROUPS);
    assert_int_equal(count_from(place, 1, VOLUME, GROUPS), GROUPS);
    assert_int_equal(count_from(place, 3, VOLUME, 0), 0);
}

/* The last of all. */
static void test_end(void **state)
{
    struct place *place = *state;
    struct kith_store_op op = {.kind = KITH_STORE_GROUPS, .partition = PARTITIONS - 1};
    memset(&op.u.groups.after, 0xff, sizeof op.u.groups.after);
    put_row(place, PARTITIONS - 1, op.u.groups.after, "", true);
    op.u.groups.volume = UINT32_MAX;
    assert_int_equal(ask(place, &op)->u.groups.count, 1);
    op.u.groups.has_after = true;
    assert_int_equal(ask(place, &op)->u.groups.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
