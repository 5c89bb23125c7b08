/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/mount_status.h"

static struct kith_meter meter;
static struct kith_fs_options options;
static struct kith_client_node node;

static char *print(void)
{
    struct kith_figures figures = {.options = &options, .options_text = "", .since_ms = 1234567};
    char *text;
    size_t size;
    figures.hook.runs = 5;
    figures.hook.failures = 2;
    options.source = "n1:7070:/a\"b\\c";
    options.mountpoint = "/mnt/\n";
    snprintf(node.address, sizeof node.address, "n1:7070");
    node.answer_us = 1500;
    figures.view.node_count = 1;
    figures.view.nodes = &node;
    figures.view.counts.requests[KITH_CLIENT_PUT] = 7;
    figures.view.counts.failed[KITH_CLIENT_PUT] = 2;
    figures.view.counts.messages[KITH_MSG_GET_REQ] = 9;
    figures.content.dirty_bytes = 4096;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    kith_stats_print(&figures, &meter, out);
    assert_int_equal(0, fclose(out));
    return text;
}

static void wants(const char *text, const char *line)
{
    if (strstr(text, line) == NULL) {
        fail_msg("no \"%s\" in:\n%s", line, text);
    }
}

static void one(uint64_t unique, uint32_t opcode, int error, uint64_t took_ns)
{
    struct kith_meter_request request;
    assert_true(kith_meter_begin(&meter, unique, opcode, 0, NULL));
    assert_true(kith_meter_end(&meter, unique, error, took_ns, &request));
}

static void test_text(void **state)
{
    (void)state;
    one(2, FUSE_LOOKUP, 0, 20000);
    one(4, FUSE_LOOKUP, ENOENT, 400000);
    one(6, FUSE_LOOKUP, EIO, UINT64_C(10000000000));
    one(8, FUSE_RENAME, 0, 1);
    one(10, FUSE_RENAME2, EEXIST, 1);
    kith_meter_count(&meter, FUSE_FORGET);
    meter.read_bytes = 11;
    char *text = print();
    wants(text, "kithfs_info{version=\"" KITH_VERSION "\",source=\"n1:7070:/a\\\"b\\\\c\","
                "mountpoint=\"/mnt/_\"} 1\n");
    wants(text, "\nkithfs_requests_total{op=\"lookup\"} 3\n");
    wants(text, "\nkithfs_requests_total{op=\"rename\"} 2\n"); /* of both opcodes */
    wants(text, "\nkithfs_requests_total{op=\"forget\"} 1\n");
    wants(text, "\nkithfs_request_errors_total{op=\"lookup\",error=\"ENOENT\"} 1\n");
    wants(text, "\nkithfs_request_errors_total{op=\"rename\",error=\"EEXIST\"} 1\n");
    wants(text, "_seconds_bucket{op=\"lookup\",le=\"1e-05\"} 0\n");
    wants(text, "_seconds_bucket{op=\"lookup\",le=\"2.5e-05\"} 1\n");
    wants(text, "_seconds_bucket{op=\"lookup\",le=\"0.0005\"} 2\n");
    wants(text, "_seconds_bucket{op=\"lookup\",le=\"5\"} 2\n");
    wants(text, "_seconds_bucket{op=\"lookup\",le=\"+Inf\"} 3\n");
    wants(text, "_seconds_sum{op=\"lookup\"} 10.000420000\n");
    wants(text, "_seconds_count{op=\"lookup\"} 3\n");
    wants(text, "\nkithfs_read_bytes_total 11\n");
    wants(text, "\nkithfs_dirty_bytes 4096\n");
    wants(text, "\nkithfs_calls_total{kind=\"put\"} 7\n");
    wants(text, "\nkithfs_call_errors_total{kind=\"put\"} 2\n");
    wants(text, "\nkithfs_node_messages_total{kind=\"get_req\"} 9\n");
    wants(text, "\nkithfs_node_up{node=\"n1:7070\",zone=\"\"} 1\n");
    wants(text, "\nkithfs_node_answer_seconds{node=\"n1:7070\",zone=\"\"} 0.001500\n");
    wants(text, "\nprocess_start_time_seconds 1234.567\n");
    assert_null(strstr(text, "duration_seconds_count{op=\"forget\"}"));
    assert_null(strstr(text, "kithfs_hook"));
    free(text);
    char program[] = "/usr/bin/settle";
    options.on_conflict = program;
    text = print();
    options.on_conflict = NULL;
    wants(text, "\nkithfs_hook_runs_total 5\n");
    wants(text, "\nkithfs_hook_failures_total 2\n");
    wants(text, "\nkithfs_hook_dropped_total 0\n");
    free(text);
}

/* Each line is a comment or NAME[{LABELS}] VALUE of a metric whose type was told before, and each
 * metric's lines stand together. */
static void test_form(void **state)
{
    (void)state;
    char *text = print(), *kept = NULL, type[128] = "", seen[16384] = "";
    for (char *line = strtok_r(text, "\n", &kept); line != NULL;
         line = strtok_r(NULL, "\n", &kept)) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            size_t size = strcspn(line + 7, " ");
            snprintf(type, sizeof type, "%.*s", (int)size, line + 7);
            char once[160];
            snprintf(once, sizeof once, " %s ", type);
            assert_null(strstr(seen, once));
            assert_true(strlen(seen) + sizeof once < sizeof seen);
            strcat(seen, once);
            continue;
        }
        if (strncmp(line, "# HELP ", 7) == 0) {
            continue;
        }
        assert_memory_equal(type, line, strlen(type));
        const char *value = strrchr(line, ' ');
        char *end;
        assert_non_null(value);
        (void)strtod(value + 1, &end);
        assert_int_equal('\0', *end);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
