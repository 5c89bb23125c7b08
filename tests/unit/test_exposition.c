/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_exposition.c - what is served, read line by line as the format and the conventions of names
 * have it (prometheus.io/docs/instrumenting/exposition_formats, .../practices/naming). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdlib.h>

#include "metrics/exposition.h"
#include "metrics_world.h"

#define FAMILIES_MAX 200u

static char *text;

static void write_of(const struct kith_snapshot *snapshot)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_exposition_write(snapshot, &buf);
    kith_buf_put_u8(&buf, 0);
    assert_false(buf.failed);
    free(text);
    text = strdup((const char *)buf.data);
    assert_non_null(text);
    assert_int_equal(strlen(text), buf.size - 1);
    kith_buf_release(&buf);
}

static bool ends(const char *name, const char *with)
{
    size_t size = strlen(name), tail = strlen(with);
    return size > tail && strcmp(name + size - tail, with) == 0;
}

static void check_name(const char *name, const char *type)
{
    static const char *const units[] = {"milliseconds", "microseconds", "minutes", "hours", "days",
                                        "kilobytes",    "megabytes",    "percent", "bits",  "_ms",
                                        "_kb",          "counter",      "gauge",   "histogram"};
    assert_true(strncmp(name, "kith_", 5) == 0 || strncmp(name, "process_", 8) == 0);
    for (const char *at = name; *at != '\0'; at++) {
        assert_true(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_');
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        assert_null(strstr(name, units[i]));
    }
    assert_int_equal(ends(name, "_total"), strcmp(type, "counter") == 0);
    assert_false(ends(name, "_sum") || ends(name, "_count") || ends(name, "_bucket"));
    assert_true(strcmp(type, "histogram") != 0 || ends(name, "_seconds"));
}

/* The end of the labels at `at`, which is behind the name. */
static const char *check_labels(const char *at)
{
    if (*at != '{') {
        return at;
    }
    do {
        size_t size = strspn(++at, "abcdefghijklmnopqrstuvwxyz_");
        assert_true(size > 0 && at[size] == '=' && at[size + 1] == '"');
        for (at += size + 2; *at != '"'; at++) {
            assert_true(*at != '\0' && *at != '\n');
            if (*at == '\\') {
                at++;
                assert_true(*at == '\\' || *at == '"' || *at == 'n');
            }
        }
        at++;
    } while (*at == ',');
    assert_int_equal(*at, '}');
    return at + 1;
}

/* All samples of a family are behind its HELP and TYPE; no family comes twice, and no sample. */
static uint32_t check_text(void)
{
    static char names[FAMILIES_MAX][80];
    uint32_t count = 0;
    char name[80] = "", type[16] = "", seen[80];
    char *copy = strdup(text), *rest = copy, *line = NULL;
    assert_int_equal(text[strlen(text) - 1], '\n');
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line + 7, "%79s", name), 1);
            assert_true(strlen(line) > 8 + strlen(name));
            for (uint32_t i = 0; i < count; i++) {
                assert_string_not_equal(names[i], name);
            }
            assert_true(count < FAMILIES_MAX);
            (void)snprintf(names[count++], sizeof names[0], "%s", name);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line + 7, "%79s %15s", seen, type), 2);
            assert_string_equal(seen, name);
            check_name(name, type);
        } else {
            size_t size = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
            (void)snprintf(seen, sizeof seen, "%.*s", (int)size, line);
            if (strcmp(type, "histogram") == 0) {
                assert_true(strncmp(seen, name, strlen(name)) == 0);
                assert_true(ends(seen, "_bucket") || ends(seen, "_sum") || ends(seen, "_count"));
            } else {
                assert_string_equal(seen, name);
            }
            const char *end = check_labels(line + size);
            char *after = NULL;
            assert_int_equal(*end, ' ');
            (void)strtod(end + 1, &after);
            assert_true(after > end + 1 && *after == '\0');
            char key[400];
            (void)snprintf(key, sizeof key, "\n%.*s ", (int)(end - line), line);
            const char *first = strstr(text, key);
            assert_non_null(first);
            assert_null(strstr(first + 1, key));
        }
    }
    free(copy);
    return count;
}

static void test_format(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(16, 4);
    write_of(snapshot);
    uint32_t count = check_text();
    assert_true(count > 70);
    struct kith_snapshot *none = kith_snapshot_new(); /* without a cluster, and nothing known */
    assert_non_null(none);
    write_of(none);
    assert_int_equal(check_text(), count);
    kith_snapshot_drop(none);
    kith_snapshot_drop(snapshot);
}

static void has(const char *line)
{
    char with[300];
    (void)snprintf(with, sizeof with, "\n%s\n", line);
    if (strstr(text, with) == NULL) {
        fail_msg("no line '%s' in:\n%s", line, text);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(16, 4);
    snapshot->requests.counts[KITH_OP_PUT][KITH_RESULT_UNKNOWN] = 3;
    kith_histogram_add(&snapshot->requests.durations[KITH_OP_GET], 200000);
    kith_histogram_add(&snapshot->requests.durations[KITH_OP_GET], 3000000000);
    snapshot->peers[0].oldest_ms_ago = 1495;
    snapshot->peers[0].bytes = 77;
    snapshot->status.space = KITH_SPACE_SCARCE;
    write_of(snapshot);
    has("kith_requests_total{op=\"put\",result=\"unknown\"} 3");
    has("kith_put_quorum_failures_total{reason=\"unknown\"} 3");
    has("kith_request_duration_seconds_bucket{op=\"get\",le=\"0.0001\"} 0");
    has("kith_request_duration_seconds_bucket{op=\"get\",le=\"0.00025\"} 1");
    has("kith_request_duration_seconds_bucket{op=\"get\",le=\"+Inf\"} 2");
    has("kith_request_duration_seconds_sum{op=\"get\"} 3.000200000");
    has("kith_request_duration_seconds_count{op=\"get\"} 2");
    has("kith_hints 5");
    has("kith_hint_oldest_age_seconds 61.500");
    has("kith_disk_level{level=\"scarce\"} 1");
    has("kith_disk_level{level=\"full\"} 0");
    has("kith_partitions{owners=\"all\"} 4");
    has("kith_partitions{owners=\"majority\"} 12");
    has("kith_gossip_members{state=\"down\"} 1");
    has("kith_gossip_members{state=\"alive\"} 2");
    has("kith_sweep_pass_timestamp_seconds 0.000"); /* never */
#define PEER2 "{peer=\"02000000-0000-0000-0000-000000000000\"}"
#define PEER3 "{peer=\"03000000-0000-0000-0000-000000000000\"}"
    has("kith_repair_exchange_timestamp_seconds" PEER2 " 1795465036.000");
    has("kith_repair_exchange_timestamp_seconds" PEER3 " 0.000");
    has("kith_repair_received_bytes_total" PEER2 " 77");
    has("kith_peer_up" PEER2 " 1");
    has("kith_peer_up" PEER3 " 0");
    has("kith_peer_seen_timestamp_seconds" PEER3 " 1795464947.495");
    kith_snapshot_drop(snapshot);
}

/* Names that come from outside stay within their quotes. */
static void test_escapes(void **state)
{
    (void)state;
    struct kith_snapshot *snapshot = snapshot_make(16, 4);
    (void)snprintf(snapshot->zone, sizeof snapshot->zone, "a\"b\\c\n}d\xff");
    write_of(snapshot);
    assert_non_null(strstr(text, "zone=\"a\\\"b\\\\c\\\\x0a}d\\\\xff\","));
    (void)check_text();
    kith_snapshot_drop(snapshot);
    free(text);
    text = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
