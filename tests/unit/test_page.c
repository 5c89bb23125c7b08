/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "metrics/page.h"
#include "metrics_world.h"

#define NOW_MS UINT64_C(5000000)

static char *text;
static struct kith_history history;

static int setup(void **state)
{
    (void)state;
    memset(&history, 0, sizeof history);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(text);
    text = NULL;
    return 0;
}

static void write_of(const struct kith_snapshot *snapshot, uint64_t stale_ms)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_page_write(snapshot, &history, NOW_MS, stale_ms, &buf);
    kith_buf_put_u8(&buf, 0);
    assert_false(buf.failed);
    free(text);
    text = strdup((const char *)buf.data);
    assert_non_null(text);
    assert_int_equal(strlen(text), buf.size - 1);
    kith_buf_release(&buf);
}

static void has(const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no '%s' in:\n%s", part, text);
    }
}

static uint32_t count_of(const char *part)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        count++;
    }
    return count;
}

/* Each element that begins ends, in its order, and text has no '<' or '&' of its own. */
static void check_nesting(void)
{
    static const char *const alone[] = {"meta", "link", "!doctype"};
    char open[64][16];
    uint32_t depth = 0;
    for (const char *at = text; (at = strchr(at, '<')) != NULL; at++) {
        char name[16];
        bool ends = at[1] == '/', is_alone = false;
        const char *end = strchr(at, '>');
        assert_non_null(end);
        assert_int_equal(sscanf(at + (ends ? 2 : 1), "%15[a-z0-9!]", name), 1);
        for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
            is_alone = is_alone || strcmp(name, alone[i]) == 0;
        }
        if (ends) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (!is_alone && end[-1] != '/') {
            assert_true(depth < 64);
            (void)snprintf(open[depth++], sizeof open[0], "%s", name);
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static void test_all(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(64, 4);
    write_of(snapshot, 0);
    check_nesting();
    has("<span class=\"badge thin\">DEGRADED</span>");
    has("3 of 4 nodes up. Every file can be read and written.");
    has("aria-label=\"The ring: 64 partitions, 16 of them with all owners up, 48 with a majority, "
        "0 with fewer\"");
    assert_int_equal(count_of("<path class=\"h good\""), 1);
    assert_int_equal(count_of("<path class=\"h thin\""), 1);
    assert_int_equal(count_of("<path class=\"h bad\""), 0);
    assert_int_equal(count_of("<path class=\"o "), 12); /* four nodes at three places */
    assert_int_equal(count_of("<path class=\"o c2 off\""), 3);
    has("<td class=\"is-bad\">DOWN</td><td>90 s ago</td>");
    has("5 writes, 0 B, the oldest of 61 s");
    has("<dd>0 B of contents deleted, 0 deleted names forgotten; waits: for &lt;node&gt;</dd>");
    assert_int_equal(count_of("role=\"alert\" hidden"), 1);
    assert_int_equal(count_of("role=\"alert\""), 1);
    write_of(snapshot, 61000);
    check_nesting();
    has("<p class=\"warning\" role=\"alert\">The node does not answer since 61 s");
    snapshot->peers[0].up = false;
    write_of(snapshot, 0);
    has("<span class=\"badge bad\">BELOW QUORUM</span>");
    has("32 of 64 partitions have fewer owners up than a majority:");
    kith_snapshot_drop(snapshot);
}

/* Nothing from outside is markup, nothing is loaded from elsewhere, and no style or script is in it
 * that the Content-Security-Policy would refuse. */
static void test_escapes(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(16, 4);
    (void)snprintf(snapshot->peers[0].address, sizeof snapshot->peers[0].address,
                   "<img src=x onerror=alert(1)>");
    write_of(snapshot, 0);
    check_nesting();
    assert_null(strstr(text, "<b>\\"));
    assert_null(strstr(text, "<img"));
    has("&lt;img src=x onerror=alert(1)&gt;");
    has("<h1>a &quot;&lt;script&gt;&quot; &amp; b</h1>");
    has("<title>a &quot;&lt;script&gt;&quot; &amp; b - kithfs</title>");
    has("z&quot;&lt;b&gt;");
    assert_int_equal(count_of("<script"), 1);
    has("<script src=\"page.js\" defer></script>");
    assert_null(strstr(text, "style=\""));
    assert_null(strstr(text, "http://"));
    assert_null(strstr(text, "https://"));
    kith_snapshot_drop(snapshot);
}

/* What is as large as it may be; and a cluster of one, whose arcs are whole circles. */
static void test_sizes(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(4096, 8);
    write_of(snapshot, 0);
    check_nesting();
    has("Every 4-th partition is drawn.");
    assert_true(strlen(text) < 400000);
    kith_snapshot_drop(snapshot);
    snapshot = snapshot_make(1, 1);
    write_of(snapshot, 0);
    check_nesting();
    has("<span class=\"badge good\">healthy</span>");
    has("d=\"M210.0 35.0A175 175 0 0 1 "); /* in two halves, or more */
    kith_snapshot_drop(snapshot);
    snapshot = kith_snapshot_new();
    assert_non_null(snapshot);
    (void)snprintf(snapshot->address, sizeof snapshot->address, "host<:1");
    write_of(snapshot, 0);
    check_nesting();
    has("kithctl init host&lt;:1</code>");
    kith_snapshot_drop(snapshot);
}

static void sample(uint64_t end_ms, uint32_t reads, uint32_t p50_us)
{
    struct kith_history_sample *into = &history.samples[history.next++];
    *into = (struct kith_history_sample){.end_ms = end_ms, .span_ms = 10000};
    into->kinds[KITH_HISTORY_READS].count = reads;
    into->kinds[KITH_HISTORY_READS].p50_us = p50_us;
    into->kinds[KITH_HISTORY_READS].p99_us = 10 * p50_us;
    history.count++;
}

static void test_charts(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(16, 4);
    write_of(snapshot, 0);
    has("A sample every 10 s; none yet.");
    sample(NOW_MS - KITH_HISTORY_SPAN_MS - 1000, 777, 5); /* too old to be shown */
    sample(NOW_MS - KITH_HISTORY_SPAN_MS / 2, 50, 1000);
    sample(NOW_MS - KITH_HISTORY_SPAN_MS / 2 + 10000, 0, 0); /* nothing took time here */
    sample(NOW_MS - 10000, 500, 1000);
    sample(NOW_MS, 1000, 2000);
    history.samples[4].failures = 3;
    write_of(snapshot, 0);
    check_nesting();
    has("reads <b>100/s</b>, at most 100/s");
    has("3 of its answers");
    has("reads: half within <b>2.0 ms</b>, 99% within <b>20 ms</b>");
    /* in the middle alone, then a gap, then from 10 s ago to now; 1 ms is at a fifth of the height */
    has("<path class=\"line k0\" d=\"M351.0 130.0h.1M630.4 130.0h.1L632.0 121.0\"/>");
    kith_snapshot_drop(snapshot);
}

static void test_files(void **state)
{
    (void)state;
    struct kith_bytes file;
    const char *type = NULL;
    assert_true(kith_page_file("/page.css", &file, &type));
    assert_string_equal(type, "text/css; charset=utf-8");
    assert_true(file.size > 1000 && memcmp(file.data, "/* SPDX", 7) == 0);
    assert_true(kith_page_file("/page.js", &file, &type));
    assert_true(file.size > 500 && memcmp(file.data, "/* SPDX", 7) == 0);
    assert_false(kith_page_file("/page.c", &file, &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_charts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
