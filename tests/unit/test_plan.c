/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is staged: which change takes the place of which, whose names are meant, what members follow
 * from it, and the document that it is kept in. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "plan_view.h"

static struct kith_plan plan;

static bool add(struct kith_plan_change change)
{
    struct kith_error error;
    bool other = false;
    assert_int_equal(kith_plan_add(&plan, &change, &other, &error), KITH_OK);
    return other;
}

static void listed(const char *want)
{
    static const char letters[] = "jlrwz";
    char text[64] = "";
    for (uint32_t i = 0; i < plan.count; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "%s%c%x", i > 0 ? " " : "",
                       letters[plan.changes[i].kind], plan.changes[i].node.bytes[0] & 15u);
    }
    assert_string_equal(text, want);
}

static void test_add(void **state)
{
    (void)state;
    plan.count = 0;
    assert_false(add(change_join(5, "n5:7070", "fra", 1)));
    assert_false(add(change_join(5, "n5:7070", "fra", 1))); /* once more: nothing */
    listed("j5");
    assert_false(add(change_weight(5, 3))); /* of one that joins: what it joins with */
    assert_false(add(change_zone(5, "ams")));
    listed("j5");
    assert_int_equal(plan.changes[0].weight, 3);
    assert_string_equal(plan.changes[0].zone, "ams");
    assert_false(add(change_weight(1, 2)));
    assert_false(add(change_zone(1, "ams")));
    assert_true(add(change_weight(1, 4)));
    listed("j5 z1 w1");
    assert_true(add(change_leave(1))); /* has neither any more */
    listed("j5 l1");
    assert_true(add(change_replace(1, 6, "n6:7070")));
    listed("j5 r1");
    assert_true(add(change_join(7, "n6:7070", "", 1))); /* wiped, and another one now */
    listed("j5 j7");
    assert_true(add(change_replace(2, 5, "n5:7070")));
    listed("j7 r2");
    assert_false(add(change_weight(5, 2)));
    assert_true(add(change_leave(5))); /* it is not to come, then: nor to replace 2 */
    listed("j7");
    assert_true(add(change_leave(7)));
    listed("");
    for (uint32_t i = 0; i < KITH_PLAN_CHANGES_MAX; i++) {
        struct kith_plan_change change = change_weight(1, 1);
        change.node.bytes[1] = (uint8_t)(i + 1);
        assert_false(add(change));
    }
    struct kith_error error;
    struct kith_plan_change more = change_weight(2, 1);
    assert_int_equal(kith_plan_add(&plan, &more, NULL, &error), KITH_ELIMIT);
    plan.count = 0;
}

static void members_are(const struct kith_table *table, const struct kith_uuid *out, uint32_t count,
                        const char *want)
{
    struct kith_member members[16];
    char text[200] = "";
    uint32_t got = kith_plan_members(table, &plan, out, count, members);
    for (uint32_t n = 1; n < 16; n++) {
        for (uint32_t i = 0; i < got; i++) {
            size_t used = strlen(text);
            if ((members[i].uuid.bytes[0] & 15u) == n) {
                (void)snprintf(text + used, sizeof(text) - used, "%s%x:%s*%u", used > 0 ? " " : "",
                               n, members[i].zone, members[i].weight);
            }
        }
    }
    assert_string_equal(text, want);
}

static void test_members(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    plan.count = 0;
    members_are(view.table, NULL, 0, "1:ams*1 2:ams*1 3:fra*1 4:fra*2");
    (void)add(change_join(5, "n5:7070", "fra", 3));
    (void)add(change_leave(1));
    (void)add(change_replace(4, 6, "n6:7070"));
    (void)add(change_weight(2, 7));
    (void)add(change_zone(3, "lon"));
    members_are(view.table, NULL, 0, "2:ams*7 3:lon*1 5:fra*3 6:fra*2");
    (void)add(change_weight(6, 1)); /* of the one that takes its place */
    struct kith_uuid out = node_uuid(3);
    members_are(view.table, &out, 1, "2:ams*7 5:fra*3 6:fra*1");
    /* what others have done meanwhile is not done again, nor undone */
    plan.count = 0;
    (void)add(change_join(2, "n2:7070", "lon", 9));
    (void)add(change_leave(9));
    (void)add(change_weight(8, 9));
    (void)add(change_replace(7, 10, "n7:7070"));
    members_are(view.table, NULL, 0, "1:ams*1 2:ams*1 3:fra*1 4:fra*2");
    plan.count = 0;
    (void)add(change_replace(1, 2, "n2:7070")); /* who is a member: the other one only leaves */
    members_are(view.table, NULL, 0, "2:ams*1 3:fra*1 4:fra*2");
    plan.count = 0;
    kith_view_release(&view);
}

static void found(const struct kith_view *view, const char *text, uint32_t node)
{
    struct kith_uuid uuid;
    struct kith_error error;
    struct kith_uuid want = node_uuid(node);
    assert_int_equal(kith_plan_find(view, &plan, text, &uuid, &error), KITH_OK);
    assert_true(kith_uuid_equal(&uuid, &want));
}

static void not_found(const struct kith_view *view, const char *text, const char *message)
{
    struct kith_uuid uuid;
    struct kith_error error;
    assert_int_equal(kith_plan_find(view, &plan, text, &uuid, &error), KITH_EINVAL);
    assert_string_equal(error.message, message);
}

static void test_find(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    plan.count = 0;
    (void)add(change_join(5, "n5:7071", "", 1));
    (void)add(change_replace(4, 6, "n6:7070"));
    found(&view, "n1:7070", 1);
    found(&view, "n2", 2); /* the usual port */
    found(&view, "33333333", 3);
    found(&view, "3", 3);
    found(&view, "44444444-4444-4444-4444-444444444444", 4);
    found(&view, "4444444444", 4);
    found(&view, "n5:7071", 5);
    found(&view, "n6", 6);
    found(&view, "66", 6);
    not_found(&view, "n5",
              "no node 'n5'; there are 11111111 (n1:7070), 22222222 (n2:7070), 33333333 "
              "(n3:7070), 44444444 (n4:7070), 55555555 (n5:7071), 66666666 (n6:7070)");
    (void)add(change_join(7, "n8:7070", "", 1));
    plan.changes[2].node = node_uuid(3);
    plan.changes[2].node.bytes[15] = 0;
    not_found(&view, "333",
              "'333' may be any of 33333333 (n3:7070), 33333333 (n8:7070); write more of "
              "the name");
    found(&view, "33333333-3333-3333-3333-333333333300", 3 + 16);
    plan.count = 0;
    kith_view_release(&view);
}

static void test_document(void **state)
{
    (void)state;
    struct kith_error error;
    struct kith_buf buf;
    struct kith_plan read;
    plan.count = 0;
    (void)add(change_join(5, "n5:7070", "z\"\\", 3));
    (void)add(change_leave(1));
    (void)add(change_replace(4, 6, "[::1]:7070"));
    (void)add(change_weight(2, KITH_WEIGHT_MAX));
    (void)add(change_zone(3, ""));
    kith_buf_init(&buf);
    assert_int_equal(kith_plan_encode(&plan, &buf), KITH_OK);
    assert_int_equal(kith_plan_decode(kith_buf_bytes(&buf), &read, &error), KITH_OK);
    assert_int_equal(read.count, plan.count);
    assert_memory_equal(read.changes, plan.changes, plan.count * sizeof(plan.changes[0]));
    for (size_t size = 0; size < buf.size; size++) { /* half a document is none */
        assert_int_equal(kith_plan_decode(kith_bytes_make(buf.data, size), &read, &error),
                         KITH_EFORMAT);
        assert_int_equal(read.count, 0);
    }
    static const char *const bad[] = {
        "[]",
        "{\"changes\": 1}",
        "{\"changes\": [{}]}",
        "{\"changes\": [1]}",
        "{\"changes\": [{\"change\": \"leave\"}]}",
        "{\"changes\": [{\"change\": \"go\", \"node\": \"11111111-1111-1111-1111-111111111111\"}]}",
        "{\"changes\": [{\"change\": \"weight\", \"weight\": 0, \"node\": "
        "\"11111111-1111-1111-1111-111111111111\"}]}",
        "{\"changes\": [{\"change\": \"join\", \"weight\": 1, \"node\": "
        "\"11111111-1111-1111-1111-111111111111\"}]}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kith_plan_decode(kith_bytes_make(bad[i], strlen(bad[i])), &read, &error),
                         KITH_EFORMAT);
    }
    static const char later[] = "{\"format\": 2, \"changes\": []}";
    assert_int_equal(kith_plan_decode(kith_bytes_make(later, strlen(later)), &read, &error),
                     KITH_EVERSION);
    /* as many as there may be fit into a row's value */
    plan.count = 0;
    for (uint32_t i = 0; i < KITH_PLAN_CHANGES_MAX; i++) {
        char address[KITH_ADDRESS_SIZE];
        memset(address, 'a', sizeof(address));
        (void)snprintf(address + 260, sizeof(address) - 260, "%03u:65535", i);
        struct kith_plan_change change =
            change_join(5, address, "abcdefghijklmnopqrstuvwxyzabcde", KITH_WEIGHT_MAX);
        change.node.bytes[1] = (uint8_t)i;
        (void)add(change);
    }
    kith_buf_clear(&buf);
    assert_int_equal(kith_plan_encode(&plan, &buf), KITH_OK);
    assert_true(buf.size <= KITH_INLINE_VALUE_MAX);
    assert_int_equal(kith_plan_decode(kith_buf_bytes(&buf), &read, &error), KITH_OK);
    assert_int_equal(read.count, KITH_PLAN_CHANGES_MAX);
    kith_buf_release(&buf);
    plan.count = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
