/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/mount_status.h"

#define NOW UINT64_C(1795197753123) /* 2026-11-20T18:02:33Z */

static char *text;
static struct kith_fs_options options;
static struct kith_client_node nodes[3];

static struct kith_figures usual(void)
{
    struct kith_figures figures = {.options = &options,
                                   .options_text = "",
                                   .since_ms = NOW - 840000,
                                   .now_ms = NOW,
                                   .defers = true,
                                   .watches = true};
    memset(&options, 0, sizeof options);
    memset(nodes, 0, sizeof nodes);
    options.source = "n1,n2:/p";
    options.mountpoint = "/mnt";
    figures.view.nodes = nodes;
    figures.view.node_count = 3;
    figures.view.replicas = 3;
    figures.view.table.version = 7;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(nodes[i].address, sizeof nodes[i].address, "10.0.1.1%u:7070", i);
        snprintf(nodes[i].zone, sizeof nodes[i].zone, "ams");
        nodes[i].uuid.bytes[0] = (uint8_t)i;
        nodes[i].answer_us = 1420;
        nodes[i].heard_ms_ago = 2000;
        nodes[i].lost_ms_ago = UINT64_MAX;
    }
    return figures;
}

static const char *print(const struct kith_figures *figures)
{
    size_t size;
    free(text);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_true(kith_status_print(figures, out));
    assert_int_equal(0, fclose(out));
    return text;
}

static void wants(const struct kith_figures *figures, const char *line)
{
    if (strstr(print(figures), line) == NULL) {
        fail_msg("no \"%s\" in:\n%s", line, text);
    }
}

static void test_well(void **state)
{
    struct kith_figures figures = usual();
    (void)state;
    wants(&figures, "n1,n2:/p at /mnt, since 2026-11-20T17:48:33Z (14 m ago)\n");
    wants(&figures, "Options   as usual\n");
    wants(&figures, "table v7, N=3\n");
    wants(&figures, "Mode      sloppy");
    wants(&figures, "Writes    wait in memory");
    wants(&figures, "UP     01000000  10.0.1.11:7070  ams   1.4 ms   2 s    -\n");
    wants(&figures, "3 of 3 nodes can be reached.\n");
    wants(&figures, "Unsent    0 files, 0 B of contents\n");
    assert_null(strstr(text, "NOT STORED"));
    assert_null(strstr(text, "kithctl"));
    options.strict = true;
    figures.watches = false;
    wants(&figures, "Mode      strict");
    wants(&figures, "nothing (nowatch)");
}

static void test_hook(void **state)
{
    struct kith_figures figures = usual();
    (void)state;
    assert_null(strstr(print(&figures), "Hook"));
    char program[] = "/usr/bin/set\ntle";
    options.on_conflict = program;
    figures.hook.runs = 3;
    wants(&figures, "Hook      /usr/bin/set\\x0atle: run 3 times, failed 0 times\n");
    assert_null(strstr(text, "last failure"));
    assert_null(strstr(text, "not looked at"));
    figures.hook.failures = 1;
    figures.hook.dropped = 2;
    figures.hook.failed_ms = NOW - 180000;
    snprintf(figures.hook.failure, sizeof figures.hook.failure, "/mnt/a\nb: ended with status 1");
    wants(&figures, "run 3 times, failed 1 times\n");
    wants(&figures, "          2 places were not looked at");
    wants(&figures, "          last failure 2026-11-20T17:59:33Z (3 m ago): /mnt/a\\x0ab: ended with "
                    "status 1\n");
}

static void test_nodes_away(void **state)
{
    struct kith_figures figures = usual();
    (void)state;
    nodes[0].state = KITH_NODE_DOWN;
    nodes[0].lost_ms_ago = 840000;
    snprintf(nodes[0].reason, sizeof nodes[0].reason, "connection\nrefused");
    nodes[1].state = KITH_NODE_SILENT;
    figures.defers = false;
    wants(
        &figures,
        "DOWN    00000000  10.0.1.10:7070  ams   -        2 s    connection\\x0arefused (14 m)\n");
    wants(&figures, "SILENT  01000000");
    wants(&figures, "1 of 3 nodes can be reached. See: kithctl status --servers 10.0.1.12:7070\n");
    wants(&figures, "too few nodes can be reached");
    figures.put_trouble = true;
    wants(&figures, "the last one failed");
    nodes[1].state = nodes[2].state =
        KITH_NODE_DOWN; /* the command that helps names one at least */
    wants(&figures, "0 of 3 nodes can be reached. See: kithctl status --servers 10.0.1.1");
    figures.view.node_count = 0;
    wants(&figures, "0 of 0 nodes can be reached.\n");
}

/* Each file that is not stored has its line, whatever its name is. */
static void test_not_stored(void **state)
{
    struct kith_unput_file files[2];
    struct kith_figures figures = usual();
    (void)state;
    memset(files, 0, sizeof files);
    files[0].path = "/a\nb \033[1m\xff";
    files[0].unput.since_ms = NOW - 60000;
    files[0].unput.tries = 12;
    files[0].unput.error = EIO;
    snprintf(files[0].unput.message, sizeof files[0].unput.message, "n1: it\nis gone");
    files[1].path = "/d/e";
    files[1].unput.since_ms = NOW;
    files[1].unput.tries = 1;
    files[1].unput.error = ETIMEDOUT;
    figures.unsent = 1204;
    figures.content.dirty_bytes = 3 << 20;
    figures.unput = files;
    figures.unput_listed = 2;
    figures.unput_count = 2;
    wants(&figures, "Unsent    1 204 files, 3.0 MiB of contents; 2 could not be stored so far");
    wants(&figures,
          "/a\\x0ab \\x1b[1m\\xff  2026-11-20T18:01:33Z (60 s ago)  12     Input/output error: "
          "n1: it\\x0ais gone\n");
    wants(&figures,
          "/d/e                 2026-11-20T18:02:33Z (now)       1      Connection timed out\n");
    assert_null(strstr(text, "more"));
    figures.unput_count = 10;
    wants(&figures, "... and 8 more\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well), cmocka_unit_test(test_hook),
        cmocka_unit_test(test_nodes_away),
        cmocka_unit_test(test_not_stored),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(text);
    return failed;
}
