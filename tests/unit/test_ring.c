/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ring's screen. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "ctl/screens/ring.h"

static void test_ranges(void **state)
{
    (void)state;
    struct kith_ranges ranges = {0};
    kith_ranges_end(&ranges);
    assert_string_equal(ranges.text, "");
    static const uint32_t numbers[] = {0, 1, 2, 5, 7, 8};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        kith_ranges_add(&ranges, numbers[i]);
    }
    kith_ranges_end(&ranges);
    assert_string_equal(ranges.text, "0-2, 5, 7-8");
    assert_int_equal(ranges.count, 6);
    struct kith_ranges many = {0};
    for (uint32_t i = 0; i < 1000; i += 2) {
        kith_ranges_add(&many, i);
    }
    kith_ranges_end(&many);
    assert_string_equal(many.text, "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, ...");
    assert_int_equal(many.count, 500);
}

/* Three nodes in two zones, two copies, eight partitions; the last node is down. */
static void view_new(struct kith_view *view)
{
    struct kith_uuid cluster = {{9}};
    struct kith_member members[3];
    static const uint16_t owners[] = {0, 2, 0, 2, 1, 2, 1, 2, 0, 2, 1, 0, 2, 1, 2, 0};
    memset(members, 0, sizeof(members));
    memset(view, 0, sizeof(*view));
    for (uint32_t i = 0; i < 3; i++) {
        memset(members[i].uuid.bytes, (int)(0x11 * (i + 1)), sizeof(members[i].uuid.bytes));
        (void)strcpy(members[i].zone, i < 2 ? "ams" : "fra");
        members[i].weight = i < 2 ? 1 : 2;
    }
    assert_int_equal(kith_table_new(&cluster, 1, 7, 8, 2, members, 3, owners, &view->table),
                     KITH_OK);
    (void)strcpy(view->name, "home");
    view->count = 3;
    view->nodes = kith_calloc(3, sizeof(*view->nodes));
    view->hears = kith_calloc(9, sizeof(*view->hears));
    assert_true(view->nodes && view->hears);
    memset(view->hears, true, 9);
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        view->nodes[owners[i]].owned++;
    }
    for (uint32_t i = 0; i < 3; i++) {
        view->nodes[i].uuid = members[i].uuid;
        (void)strcpy(view->nodes[i].zone, members[i].zone);
        (void)snprintf(view->nodes[i].address, sizeof(view->nodes[i].address), "n%u:7070", i + 1);
        view->nodes[i].up = i < 2;
    }
}

static void test_screen(void **state)
{
    (void)state;
    struct kith_view view;
    char *text = NULL;
    size_t size = 0;
    view_new(&view);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_ring_print(&view, out, false), KITH_OK);
    assert_int_equal(kith_ring_print_one(&view, 5, "a\033b", out, false), KITH_OK);
    assert_int_equal(kith_ring_print_one(&view, 0, NULL, out, false), KITH_OK);
    (void)fclose(out);
    assert_string_equal(
        text,
        "Cluster home   table v7   N=2 R=2 W=2   8 partitions   balance 1.250\n"
        "STATE  NODE      ADDRESS  ZONE  WEIGHT  COPIES  SHARE  FIRST\n"
        "UP     11111111  n1:7070  ams   1       5       31.3%  3\n"
        "UP     22222222  n2:7070  ams   1       4       25.0%  3\n"
        "DOWN   33333333  n3:7070  fra   2       7       43.8%  2\n"
        "OWNERS             ZONES  PARTITIONS  WHICH\n"
        "11111111 33333333  2      4           0-1, 4, 7\n"
        "22222222 33333333  2      3           2-3, 6\n"
        "11111111 22222222  1      1           5\n"
        "1 of 8 partitions have their owners in fewer than 2 zones.\n"
        "not all owners up                    7 of 8 partitions: 0-4, 6-7\n"
        "fewer than R owners up               7 of 8 partitions: 0-4, 6-7\n"
        "no W owners up that hear each other  7 of 8 partitions: 0-4, 6-7\n"
        "Who is missing, and why: kithctl status\n"
        "Key a\\x1bb   partition 5 of 8   table v7   N=2 R=2 W=2\n"
        "STATE  NODE      ADDRESS  ZONE  ORDER\n"
        "UP     22222222  n2:7070  ams   1\n"
        "UP     11111111  n1:7070  ams   2\n"
        "2 of 2 owners up: it can be read and written.\n"
        "partition 0 of 8   table v7   N=2 R=2 W=2\n"
        "STATE  NODE      ADDRESS  ZONE  ORDER\n"
        "UP     11111111  n1:7070  ams   1\n"
        "DOWN   33333333  n3:7070  fra   2\n"
        "1 of 2 owners up: too few; what they hold can be read, maybe not as written last, "
        "and writes are kept on fewer copies.\n");
    free(text);
    json_t *json = kith_ring_json(&view);
    assert_int_equal(json_array_size(json_object_get(json, "partitions")), 8);
    json_decref(json);
    kith_view_release(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges),
                                       cmocka_unit_test(test_screen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
