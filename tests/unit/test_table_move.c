/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Joint tables: both configurations in one document, who takes a write, how many must have it, and
 * which tables may follow which. Invariant 6. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/buf.h"
#include "data/balance.h"

#define PARTITIONS 64u
static const struct kith_uuid cluster = {{0xc1, 1, 2, 3}};

static void member_fill(struct kith_member *member, unsigned at)
{
    memset(member, 0, sizeof(*member));
    member->uuid.bytes[0] = (uint8_t)(0x10 + 13 * (at % 16) % 200);
    member->uuid.bytes[1] = (uint8_t)at;
    member->weight = 1 + at % 3;
    member->zone[0] = (char)('a' + at % 2);
}

/* Members `first` to `end` - 1, after `last` (NULL: a first table). */
static struct kith_table *table_of(const struct kith_table *last, uint32_t replicas, unsigned first,
                                   unsigned end)
{
    struct kith_member members[32];
    for (unsigned i = first; i < end; i++) {
        member_fill(&members[i - first], i);
    }
    struct kith_table *table = NULL;
    assert_int_equal(
        kith_balance(last, &cluster, PARTITIONS, replicas, members, end - first, &table), KITH_OK);
    return table;
}

static struct kith_table *move(const struct kith_table *last, const struct kith_table *next)
{
    struct kith_table *joint = NULL;
    assert_int_equal(kith_table_move(last, next, false, NULL, 0, &joint), KITH_OK);
    return joint;
}

static bool owned_by(const struct kith_table *table, uint32_t partition,
                     const struct kith_uuid *uuid)
{
    uint16_t member = kith_table_find(table, uuid);
    return member != KITH_NO_MEMBER && kith_table_owns(table, partition, member);
}

/* Whatever holders have a write, if they are as many as are needed enough of both have it. */
static void check_need(const struct kith_table *joint, const struct kith_table *last,
                       const struct kith_table *next, uint32_t partition, uint32_t w)
{
    uint16_t holders[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(joint, partition, holders);
    uint32_t need = kith_table_need(joint, partition, w);
    uint32_t w_last = w == 0 ? last->owner_slots / 2 + 1 : w;
    uint32_t w_next = w == 0 ? next->owner_slots / 2 + 1 : w;
    w_last = w_last < last->owner_slots ? w_last : last->owner_slots;
    w_next = w_next < next->owner_slots ? w_next : next->owner_slots;
    bool tight = false; /* one fewer would not do */
    for (uint32_t set = 0; set < 1u << count; set++) {
        uint32_t of_last = 0, of_next = 0;
        for (uint32_t i = 0; i < count; i++) {
            const struct kith_uuid *uuid = &joint->members[holders[i]].uuid;
            of_last += (set >> i & 1u) && owned_by(last, partition, uuid);
            of_next += (set >> i & 1u) && owned_by(next, partition, uuid);
        }
        bool enough = of_last >= w_last && of_next >= w_next;
        uint32_t size = (uint32_t)__builtin_popcount(set);
        assert_true(size < need || enough);
        tight = tight || (size + 1 == need && !enough);
    }
    assert_true(tight);
}

static void check_joint(const struct kith_table *last, const struct kith_table *next)
{
    struct kith_table *joint = move(last, next);
    assert_true(kith_table_is_joint(joint));
    assert_int_equal(joint->id.version, last->id.version + 1);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint16_t holders[KITH_HOLDERS_MAX];
        uint32_t count = kith_table_holders(joint, p, holders);
        for (uint16_t m = 0; m < joint->member_count; m++) {
            const struct kith_uuid *uuid = &joint->members[m].uuid;
            assert_int_equal(kith_table_owns(joint, p, m), owned_by(last, p, uuid));
            bool held = owned_by(last, p, uuid) || owned_by(next, p, uuid);
            assert_int_equal(kith_table_holds(joint, p, m), held);
            uint32_t times = 0;
            for (uint32_t i = 0; i < count; i++) {
                times += holders[i] == m;
            }
            assert_int_equal(times, held);
        }
        for (uint32_t w = 0; w <= 3; w++) {
            check_need(joint, last, next, p, w);
        }
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(joint, &buf);
    struct kith_table *read = NULL;
    assert_int_equal(kith_table_decode(kith_buf_bytes(&buf), &read), KITH_OK);
    assert_int_equal(kith_table_id_compare(&read->id, &joint->id), 0);
    assert_int_equal(read->zones, joint->zones);
    kith_table_drop(read);
    kith_buf_release(&buf);
    kith_table_drop(joint);
}

static void test_joint(void **state)
{
    (void)state;
    static const struct { uint32_t replicas; unsigned before[2], after[2]; } cases[] = {
        {3, {0, 3}, {0, 4}}, {3, {0, 3}, {1, 4}}, {3, {0, 1}, {0, 2}}, {3, {0, 2}, {0, 3}},
        {3, {0, 3}, {0, 2}}, {3, {0, 2}, {0, 1}}, {3, {0, 6}, {1, 7}}, {3, {0, 3}, {3, 6}},
        {2, {0, 3}, {0, 5}}, {5, {0, 6}, {2, 9}}, {1, {0, 3}, {1, 4}}, {3, {0, 4}, {0, 4}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kith_table *last =
            table_of(NULL, cases[i].replicas, cases[i].before[0], cases[i].before[1]);
        struct kith_table *next =
            table_of(last, cases[i].replicas, cases[i].after[0], cases[i].after[1]);
        check_joint(last, next);
        kith_table_drop(next);
        kith_table_drop(last);
    }
}

/* Settled it is `next`, reverted `last`, but for the version. */
static void check_same(const struct kith_table *a, const struct kith_table *b)
{
    assert_int_equal(a->member_count, b->member_count);
    assert_int_equal(a->owner_slots, b->owner_slots);
    for (uint32_t i = 0; i < a->member_count; i++) {
        assert_true(kith_uuid_equal(&a->members[i].uuid, &b->members[i].uuid));
        assert_string_equal(a->members[i].zone, b->members[i].zone);
        assert_int_equal(a->members[i].weight, b->members[i].weight);
    }
    assert_memory_equal(a->owners, b->owners,
                        (size_t)PARTITIONS * a->owner_slots * sizeof(*a->owners));
}

static void test_ends(void **state)
{
    (void)state;
    struct kith_table *last = table_of(NULL, 3, 0, 5);
    struct kith_table *next = table_of(last, 3, 1, 7);
    struct kith_table *joint = move(last, next);
    struct kith_table *settled = NULL, *reverted = NULL, *again = NULL;
    assert_int_equal(kith_table_settle(joint, &settled), KITH_OK);
    assert_int_equal(kith_table_revert(joint, &reverted), KITH_OK);
    assert_int_equal(kith_table_renumber(joint, &again), KITH_OK);
    check_same(settled, next);
    check_same(reverted, last);
    assert_int_equal(settled->id.version, joint->id.version + 1);
    assert_int_equal(again->id.version, joint->id.version + 1);
    assert_int_equal(again->next_slots, joint->next_slots);
    assert_true(kith_table_follows(last, joint));
    assert_true(kith_table_follows(joint, settled));
    assert_true(kith_table_follows(joint, reverted));
    assert_true(kith_table_follows(joint, again));
    assert_false(kith_table_follows(last, settled)); /* nobody would have the data */
    assert_false(kith_table_follows(settled, joint));
    struct kith_table *none = NULL;
    assert_int_equal(kith_table_move(joint, next, false, NULL, 0, &none), KITH_EINVAL);
    assert_int_equal(kith_table_settle(last, &none), KITH_EINVAL);
    kith_table_drop(again);
    kith_table_drop(reverted);
    kith_table_drop(settled);
    kith_table_drop(joint);
    kith_table_drop(next);
    kith_table_drop(last);
}

static void test_flags(void **state)
{
    (void)state;
    struct kith_table *last = table_of(NULL, 3, 0, 4);
    struct kith_table *next = table_of(last, 3, 1, 5);
    struct kith_member gone, comes;
    member_fill(&gone, 0);
    member_fill(&comes, 4);
    struct kith_table *joint = NULL;
    assert_int_equal(kith_table_move(last, next, true, &gone.uuid, 1, &joint), KITH_OK);
    assert_int_equal(joint->id.epoch, last->id.epoch + 1);
    uint16_t goes = kith_table_find(joint, &gone.uuid), joins = kith_table_find(joint, &comes.uuid);
    for (uint16_t m = 0; m < joint->member_count; m++) {
        unsigned flags = m == goes    ? KITH_MEMBER_LEAVES | KITH_MEMBER_GONE
                         : m == joins ? KITH_MEMBER_JOINS
                                      : 0u;
        assert_int_equal(joint->after[m].flags, flags);
    }
    uint16_t stand_ins[8];
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint32_t count = kith_table_fallbacks(joint, p, 8, stand_ins);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(stand_ins[i] != goes && !kith_table_holds(joint, p, stand_ins[i]));
        }
    }
    kith_table_drop(joint);
    kith_table_drop(next);
    kith_table_drop(last);
}

/* Any byte that is not what it was gives an error, and so does what ends early. */
static void test_damage(void **state)
{
    (void)state;
    struct kith_table *last = table_of(NULL, 3, 0, 3);
    struct kith_table *next = table_of(last, 3, 0, 4);
    struct kith_table *joint = move(last, next);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(joint, &buf);
    size_t body = buf.size - KITH_CHECKSUM_SIZE;
    for (size_t i = 0; i < body; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            struct kith_table *read = NULL;
            buf.data[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(kith_table_decode(kith_buf_bytes(&buf), &read), KITH_OK);
            /* with a checksum that fits: what cannot be is refused, the rest is another table */
            struct kith_buf forged;
            kith_buf_init(&forged);
            kith_buf_put(&forged, buf.data, body);
            struct kith_checksum sum = kith_checksum_of(kith_buf_bytes(&forged));
            kith_buf_put(&forged, sum.bytes, sizeof(sum.bytes));
            if (kith_table_decode(kith_buf_bytes(&forged), &read) == KITH_OK) {
                struct kith_buf same;
                kith_buf_init(&same);
                kith_table_encode(read, &same);
                assert_int_equal(same.size, forged.size);
                assert_memory_equal(same.data, forged.data, same.size);
                kith_buf_release(&same);
                kith_table_drop(read);
            }
            kith_buf_release(&forged);
            buf.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    kith_buf_release(&buf);
    kith_table_drop(joint);
    kith_table_drop(next);
    kith_table_drop(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joint),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
