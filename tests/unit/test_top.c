/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "ctl/screens/top.h"
#include "plan_view.h"

static struct kith_view before, now;
static char *text;

static void views_new(void)
{
    view_new(&before);
    view_new(&now);
    for (uint32_t i = 0; i < NODES; i++) {
        before.nodes[i].uptime_ms = 60000;
        before.nodes[i].gets = 1000;
        before.nodes[i].puts = 50;
        now.nodes[i].uptime_ms = 62000;
        now.nodes[i].gets = 1000;
        now.nodes[i].puts = 50;
        now.nodes[i].disk_total_bytes = 100;
        now.nodes[i].disk_free_bytes = 25;
        before.nodes[i].timed = now.nodes[i].timed = true;
        before.nodes[i].write_times.buckets[9] = now.nodes[i].write_times.buckets[9] = 7;
    }
}

static int teardown(void **state)
{
    (void)state;
    kith_view_release(&before);
    kith_view_release(&now);
    free(text);
    text = NULL;
    return 0;
}

static void print(const struct kith_view *then)
{
    size_t size = 0;
    free(text);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_top_print(&now, then, 2000, out, false), KITH_OK);
    assert_int_equal(fclose(out), 0);
}

static void has(const char *line)
{
    if (strstr(text, line) == NULL) {
        fail_msg("no '%s' in:\n%s", line, text);
    }
}

/* The first look knows no rates. */
static void test_first(void **state)
{
    (void)state;
    views_new();
    print(NULL);
    has("Cluster home   table v1   health: healthy\n"
        "4 of 4 nodes up   reads -/s   writes -/s   hints 0   conflicts 0\n"
        "half of the reads in -, 99% in -   half of the writes in -, 99% in -\n\n"
        "STATE  NODE      ADDRESS  READS  WRITES  DISK  HINTS  BEHIND  SINCE  READ 99%  WRITE 99%\n"
        "UP     11111111  n1:7070  -      -       75%   0      0       62 s   -         -\n"
        "UP     22222222  n2:7070  -      -       75%   0      0       62 s   -         -\n");
}

/* Who has most to do comes first, who is down before him. */
static void test_order(void **state)
{
    (void)state;
    views_new();
    now.nodes[2].gets += 100;
    now.nodes[2].scans += 20;
    now.nodes[2].puts += 3;
    now.nodes[1].puts += 4400;
    now.nodes[1].hints = 1204;
    view_down(&now, 4);
    now.nodes[3].seen_ms_ago = 240000;
    print(&before);
    has("3 of 4 nodes up   reads 60/s   writes 2 202/s   hints 1 204   conflicts 0\n");
    has("\nDOWN   44444444  n4:7070  -      -       -     -      -       4 m    -         -\n"
        "UP     22222222  n2:7070  0      2 200   75%   1 204  0       62 s   -         -\n"
        "UP     33333333  n3:7070  60     1.5     75%   0      0       62 s   -         -\n"
        "UP     11111111  n1:7070  0      0       75%   0      0       62 s   -         -\n");
    has("DEGRADED");
    has("What that means, in words: kithctl status\n");
}

/* A node that was started again counts from 0: that is no rate, and none below 0. */
static void test_again(void **state)
{
    (void)state;
    views_new();
    now.nodes[0].uptime_ms = 1500;
    now.nodes[0].gets = 5;
    now.nodes[1].gets = 900;
    view_down(&before, 3);
    print(&before);
    has("\nUP     11111111  n1:7070  -      -  ");
    has("\nUP     22222222  n2:7070  -      -  ");
    has("\nUP     33333333  n3:7070  -      -  ");
    has("\nUP     44444444  n4:7070  0      0  ");
    has("   reads 0/s   ");
}

/* How long what came between the two looks took: what was before does not count, nor what a node says that
 * began again. */
static void test_times(void **state)
{
    (void)state;
    views_new();
    now.nodes[0].puts += 300;
    now.nodes[0].write_times.buckets[0] += 200; /* up to 0.1 ms */
    now.nodes[1].puts += 100;
    now.nodes[1].write_times.buckets[3] += 100; /* 0.5 to 1 ms */
    now.nodes[2].uptime_ms = 1500;
    now.nodes[2].write_times.buckets[12] += 1000;
    now.nodes[3].timed = false; /* an older one */
    now.nodes[3].gets += 10;
    now.nodes[3].read_times.buckets[9] = 10;
    print(&before);
    has("half of the reads in -, 99% in -   half of the writes in 75 us, 99% in 985 us\n\n");
    has("n1:7070  0      150     75%   0      0       62 s   -         99 us\n");
    has("n2:7070  0      50      75%   0      0       62 s   -         995 us\n");
    has("n3:7070  -      -       75%   0      0       1 s    -         -\n");
    has("n4:7070  5.0    0       75%   0      0       62 s   -         -\n");
}

static void test_json(void **state)
{
    (void)state;
    views_new();
    now.nodes[2].scans += 20;
    now.nodes[0].uptime_ms = 1;
    json_t *all = kith_top_json(&now, &before, 2000);
    assert_non_null(all);
    json_t *nodes = json_object_get(all, "nodes");
    assert_int_equal(json_array_size(nodes), NODES);
    json_t *first = json_array_get(nodes, 0), *last = json_array_get(nodes, 1);
    assert_string_equal(json_string_value(json_object_get(first, "address")), "n3:7070");
    assert_true(json_real_value(json_object_get(first, "scans_per_second")) == 10.0);
    assert_true(json_is_null(json_object_get(last, "reads_per_second")));
    assert_true(json_is_null(json_object_get(json_object_get(first, "read_us"), "p99")));
    assert_string_equal(json_string_value(json_object_get(all, "cluster")), "home");
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_first, teardown),
        cmocka_unit_test_teardown(test_order, teardown),
        cmocka_unit_test_teardown(test_again, teardown),
        cmocka_unit_test_teardown(test_times, teardown),
        cmocka_unit_test_teardown(test_json, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
