/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_quorum.c - which owners are enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "data/quorum.h"

/* One partition; member i is owner i, in the zone named by the i-th letter. */
static struct kith_table *table_of(const char *zones)
{
    struct kith_member members[KITH_REPLICAS_MAX];
    uint16_t owners[KITH_REPLICAS_MAX];
    struct kith_uuid cluster = {{7}};
    struct kith_table *table = NULL;
    uint32_t count = (uint32_t)strlen(zones);
    memset(members, 0, sizeof members);
    for (uint32_t i = 0; i < count; i++) {
        members[i].uuid.bytes[0] = (uint8_t)(i + 1);
        members[i].weight = 1;
        members[i].zone[0] = zones[i];
        owners[i] = (uint16_t)i;
    }
    assert_int_equal(kith_table_new(&cluster, 1, 1, 1, count, members, count, owners, &table),
                     KITH_OK);
    return table;
}

static struct kith_quorum quorum_of(const char *zones, enum kith_level level, const char *zone,
                                    bool write)
{
    struct kith_quorum quorum;
    struct kith_table *table = table_of(zones);
    kith_quorum_make(table, 0, level, zone, write, &quorum);
    kith_table_drop(table);
    return quorum;
}

static uint32_t count_of(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

/* Every set, by what the level means. */
static bool enough(const char *zones, enum kith_level level, char zone, bool write, uint32_t have)
{
    uint32_t count = (uint32_t)strlen(zones), there = count_of(have);
    uint32_t in[128] = {0}, has[128] = {0};
    for (uint32_t i = 0; i < count; i++) {
        in[(uint8_t)zones[i]]++;
        has[(uint8_t)zones[i]] += have >> i & 1u;
    }
    bool each = true;
    for (uint32_t z = 0; z < 128; z++) {
        each = each && (in[z] == 0 || has[z] > in[z] / 2);
    }
    switch (level) {
    case KITH_LEVEL_ONE:
        return there >= 1;
    case KITH_LEVEL_ALL:
        return there == count;
    case KITH_LEVEL_LOCAL_QUORUM:
        if (in[(uint8_t)zone] == 0) {
            return there > count / 2;
        }
        return has[(uint8_t)zone] > in[(uint8_t)zone] / 2 &&
               (!write || there >= (count < 2 ? count : 2));
    case KITH_LEVEL_EACH_QUORUM:
        return each;
    default:
        return there > count / 2;
    }
}

/* The fewest that make it enough. */
static uint32_t fewest(const char *zones, enum kith_level level, char zone, bool write,
                       uint32_t have)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t more = 0; more < 1u << strlen(zones); more++) {
        if ((more & have) == 0 && count_of(more) < best &&
            enough(zones, level, zone, write, have | more)) {
            best = count_of(more);
        }
    }
    return best;
}

static const char *const CASES[] = {"a",       "aa",     "aaa",   "ab",     "aab",
                                    "abb",     "abc",    "aabb",  "abab",   "aaabbb",
                                    "aaabbcc", "aaaaaa", "abbbb", "aaaaaab"};

static void test_all(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++) {
        const char *zones = CASES[c];
        for (uint32_t l = 0; l < KITH_LEVELS; l++) {
            for (char zone = 'a'; zone <= 'd'; zone++) {
                for (uint32_t have = 0; have < 2u << strlen(zones); have++) {
                    uint32_t owners = have >> 1;
                    bool write = (have & 1u) != 0;
                    char name[2] = {zone, 0};
                    struct kith_quorum quorum = quorum_of(zones, (enum kith_level)l, name, write);
                    bool expected = enough(zones, (enum kith_level)l, zone, write, owners);
                    assert_int_equal(kith_quorum_met(&quorum, owners), expected);
                    assert_int_equal(kith_quorum_lacks(&quorum, owners),
                                     fewest(zones, (enum kith_level)l, zone, write, owners));
                    uint32_t helps = kith_quorum_helps(&quorum, owners, UINT32_MAX);
                    assert_int_equal(helps == 0, expected);
                    assert_int_equal(helps & owners, 0);
                    for (uint32_t i = 0; i < strlen(zones); i++) { /* each of them does help */
                        assert_true((helps >> i & 1u) == 0 ||
                                    kith_quorum_lacks(&quorum, owners | 1u << i) + 1 ==
                                        kith_quorum_lacks(&quorum, owners));
                    }
                }
            }
        }
    }
}

/* Two reads and writes of one level in one zone meet; so do each-quorum writes and local reads of
 * every zone. */
static void test_meet(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++) {
        uint32_t all = (1u << strlen(CASES[c])) - 1u;
        for (char zone = 'a'; zone <= 'c'; zone++) {
            char name[2] = {zone, 0};
            struct kith_quorum local = quorum_of(CASES[c], KITH_LEVEL_LOCAL_QUORUM, name, false);
            struct kith_quorum wrote = quorum_of(CASES[c], KITH_LEVEL_LOCAL_QUORUM, name, true);
            struct kith_quorum each = quorum_of(CASES[c], KITH_LEVEL_EACH_QUORUM, name, true);
            for (uint32_t have = 0; have <= all; have++) {
                bool met = kith_quorum_met(&wrote, have) ||
                           (strchr(CASES[c], zone) != NULL && kith_quorum_met(&each, have));
                assert_true(!met || !kith_quorum_met(&local, all & ~have));
            }
        }
    }
}

/* A table that moves its one partition from members 0 to 2 to those of `next`, and the members to the
 * zones of `after`. */
static struct kith_table *joint_of(const char *zones, const char *after, const uint16_t next[3])
{
    static const uint16_t first[] = {0, 1, 2};
    struct kith_member members[6];
    struct kith_uuid cluster = {{7}};
    struct kith_table *last = NULL, *then = NULL, *joint = NULL;
    memset(members, 0, sizeof members);
    for (uint32_t i = 0; i < 6; i++) {
        members[i].uuid.bytes[0] = (uint8_t)(i + 1);
        members[i].weight = 1;
        members[i].zone[0] = zones[i];
    }
    assert_int_equal(kith_table_new(&cluster, 1, 1, 1, 3, members, 6, first, &last), KITH_OK);
    for (uint32_t i = 0; i < 6; i++) {
        members[i].zone[0] = after[i];
    }
    assert_int_equal(kith_table_new(&cluster, 1, 2, 1, 3, members, 6, next, &then), KITH_OK);
    assert_int_equal(kith_table_move(last, then, false, NULL, 0, &joint), KITH_OK);
    kith_table_drop(then);
    kith_table_drop(last);
    return joint;
}

/* The holders of `joint` that `met` names, as members. */
static uint32_t members_of(const struct kith_table *joint, uint32_t met)
{
    uint16_t holders[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(joint, 0, holders), mask = 0;
    for (uint32_t i = 0; i < count; i++) {
        mask |= (met >> i & 1u) << holders[i];
    }
    return mask;
}

/* Whether every read under the joint table meets every write of that level under `other`. */
static bool meets(const struct kith_table *joint, const struct kith_table *other,
                  enum kith_level level, const char *zone)
{
    struct kith_quorum read, write;
    kith_quorum_make(joint, 0, level, zone, false, &read);
    kith_quorum_make(other, 0, level, zone, true, &write);
    for (uint32_t r = 0; r < 64; r++) {
        for (uint32_t w = 0; w < 64 && kith_quorum_met(&read, r); w++) {
            if (kith_quorum_met(&write, w) &&
                (members_of(joint, r) & members_of(other, w)) == 0) {
                return false;
            }
        }
    }
    return true;
}

/* While data moves a read meets the writes before, during and after it: whoever is cut off with the
 * owners of before learns that they are not asked any more. */
static void test_moves(void **state)
{
    static const uint16_t nexts[][3] = {{0, 1, 2}, {0, 1, 3}, {2, 3, 4}, {3, 4, 5}, {5, 1, 0}};
    static const char *const zones[][2] = {{"aaaaaa", "aaaaaa"}, {"ababab", "ababab"},
                                           {"aaabbb", "aaabbb"}, {"abcabc", "abcabc"},
                                           {"aaaaaa", "abcabc"}, {"abcabc", "bcabca"}};
    static const enum kith_level levels[] = {KITH_LEVEL_QUORUM, KITH_LEVEL_ALL,
                                             KITH_LEVEL_LOCAL_QUORUM, KITH_LEVEL_EACH_QUORUM};
    (void)state;
    for (uint32_t n = 0; n < sizeof nexts / sizeof nexts[0]; n++) {
        for (uint32_t z = 0; z < sizeof zones / sizeof zones[0]; z++) {
            struct kith_table *settled = NULL, *given_up = NULL;
            struct kith_table *joint = joint_of(zones[z][0], zones[z][1], nexts[n]);
            assert_int_equal(kith_table_settle(joint, &settled), KITH_OK);
            assert_int_equal(kith_table_revert(joint, &given_up), KITH_OK);
            for (uint32_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
                assert_true(meets(joint, joint, levels[l], "a"));
                assert_true(meets(joint, settled, levels[l], "a"));
                assert_true(meets(joint, given_up, levels[l], "a"));
            }
            kith_table_drop(given_up);
            kith_table_drop(settled);
            kith_table_drop(joint);
        }
    }
}

static void test_words(void **state)
{
    (void)state;
    enum kith_level level = KITH_LEVEL_ONE;
    for (uint32_t i = 0; i < KITH_LEVELS; i++) {
        assert_int_equal(kith_level_parse(kith_level_text((enum kith_level)i), &level), KITH_OK);
        assert_int_equal(level, i);
    }
    assert_int_equal(kith_level_parse("local", &level), KITH_EINVAL);
    assert_int_equal(kith_level_parse("", &level), KITH_EINVAL);
    assert_string_equal(kith_level_text(KITH_LEVELS), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_meet),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
