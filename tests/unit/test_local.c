/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a local cluster remembers, and that no foreign process is taken for a node of it. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/local/local.h"

static void test_state(void **state)
{
    (void)state;
    static struct kith_local local;
    static struct kith_local read;
    char dir[] = "/tmp/test_local.XXXXXX";
    char file[64];
    struct kith_error error;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(kith_local_load(dir, &local, &error), KITH_OK);
    assert_int_equal(local.count, 0);
    local.count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        local.nodes[i].port = (uint16_t)(65533 + i);
        local.nodes[i].pid = (pid_t)(100 + i);
    }
    assert_int_equal(kith_local_save(&local, &error), KITH_OK);
    assert_int_equal(kith_local_load(dir, &read, &error), KITH_OK);
    assert_string_equal(read.dir, dir);
    assert_int_equal(read.count, 3);
    assert_memory_equal(read.nodes, local.nodes, 3 * sizeof(local.nodes[0]));
    (void)snprintf(file, sizeof(file), "%s/cluster.json", dir);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(kith_local_load(dir, &read, &error), KITH_ENOTFOUND);
}

static void test_state_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{}",
                                      "{\"nodes\": 3}",
                                      "{\"nodes\": [3]}",
                                      "{\"nodes\": [{\"port\": \"1\", \"pid\": 1}]}",
                                      "{\"nodes\": [{\"port\": 1}]}",
                                      "{\"nodes\": [{\"port\": 65536, \"pid\": 1}]}",
                                      "{\"nodes\": [{\"port\": -1, \"pid\": 1}]}",
                                      "{\"nodes\": [{\"port\": 1, \"pid\": -5}]}",
                                      "{\"nodes\": [{\"port\": 1, \"pid\": 4294967297}]}"};
    static struct kith_local local;
    struct kith_error error;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kith_local_decode(bad[i], &local, &error), KITH_EFORMAT);
    }
}

static void file_make(const char *dir, const char *name)
{
    char path[128];
    assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static bool file_is(const char *dir, const char *name)
{
    char path[128];
    assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
    return access(path, F_OK) == 0;
}

static void dir_make(const char *dir, const char *name)
{
    char path[128];
    assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
    assert_int_equal(mkdir(path, 0700), 0);
}

/* Only what was not there before is removed, and nothing beyond a link. */
static void test_remove(void **state)
{
    (void)state;
    static struct kith_local local;
    struct kith_local_present before[2];
    struct kith_error error;
    char link_to[64];
    char path[64];
    (void)strcpy(local.dir, "/tmp/kith-test-local.XXXXXX");
    assert_non_null(mkdtemp(local.dir));
    dir_make(local.dir, "node2");
    file_make(local.dir, "node2/old");
    file_make(local.dir, "node1.log");
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(kith_local_present(&local, i, &before[i], &error), KITH_OK);
        assert_true(before[i].data == (i == 1) && before[i].log == (i == 0));
    }
    dir_make(local.dir, "node1");
    dir_make(local.dir, "node1/deep");
    file_make(local.dir, "node1/deep/new");
    (void)snprintf(link_to, sizeof(link_to), "%.40s/node2", local.dir);
    (void)snprintf(path, sizeof(path), "%.40s/node1/link", local.dir);
    assert_int_equal(symlink(link_to, path), 0);
    file_make(local.dir, "node2.log");
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(kith_local_remove(&local, i, &before[i], &error), KITH_OK);
        assert_int_equal(kith_local_remove(&local, i, &before[i], &error), KITH_OK);
    }
    assert_false(file_is(local.dir, "node1"));
    assert_true(file_is(local.dir, "node1.log"));
    assert_true(file_is(local.dir, "node2/old"));
    assert_false(file_is(local.dir, "node2.log"));
    before[0].log = before[1].data = false;
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(kith_local_remove(&local, i, &before[i], &error), KITH_OK);
    }
    assert_int_equal(kith_local_save(&local, &error), KITH_OK);
    assert_int_equal(kith_local_forget(&local, &error), KITH_OK);
    assert_int_equal(kith_local_forget(&local, &error), KITH_OK);
    assert_int_equal(rmdir(local.dir), 0);
}

/* One at a time; and a folder that was made for nothing goes again. */
static void test_hold(void **state)
{
    (void)state;
    static struct kith_local local;
    struct kith_error error;
    char dir[64] = "/tmp/kith-test-local.XXXXXX";
    char path[80];
    int fd = -1;
    int other = -1;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/new", dir);
    assert_int_equal(kith_local_hold(path, false, &local, &fd, &error), KITH_ENOTFOUND);
    assert_int_equal(kith_local_hold(path, true, &local, &fd, &error), KITH_OK);
    assert_true(local.made && !local.has_state && local.count == 0);
    assert_int_equal(kith_local_hold(path, true, &local, &other, &error), KITH_EBUSY);
    assert_true(file_is(dir, "new"));
    assert_int_equal(kith_local_load(path, &local, &error), KITH_OK); /* reading needs no hold */
    assert_int_equal(close(fd), 0);
    assert_int_equal(kith_local_hold(path, true, &local, &fd, &error), KITH_OK);
    assert_false(local.made);
    local.count = 1;
    assert_int_equal(kith_local_save(&local, &error), KITH_OK);
    assert_int_equal(close(fd), 0);
    assert_int_equal(kith_local_hold(path, false, &local, &fd, &error), KITH_OK);
    assert_true(local.has_state && local.count == 1);
    assert_int_equal(kith_local_forget(&local, &error), KITH_OK);
    assert_int_equal(close(fd), 0);
    file_make(path, "file");
    (void)snprintf(path, sizeof(path), "%s/new/file", dir);
    assert_int_equal(kith_local_hold(path, true, &local, &fd, &error), KITH_EIO);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/new", dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

#define OURS(text) kith_local_is_ours(text, sizeof(text), "/d/node1")

static void test_is_ours(void **state)
{
    (void)state;
    assert_true(OURS("/usr/sbin/kithd\0--data\0/d/node1\0--log\0/d/node1.log"));
    assert_true(OURS("kithd\0--data\0/d/node1"));
    assert_false(OURS("kithd\0--data\0/d/node10"));
    assert_false(OURS("kithd\0--data\0/d/node"));
    assert_false(OURS("kithd"));
    assert_false(OURS("vim\0/d/node1"));
    assert_false(OURS("/d/node1"));
    assert_false(kith_local_is_ours("", 0, "/d/node1"));
    assert_false(kith_local_is_ours("kithd", 5, "/d/node1")); /* cut off */
}

static void test_find_foreign(void **state)
{
    (void)state;
    static struct kith_local local;
    struct kith_local_process process;
    struct kith_error error;
    (void)strcpy(local.dir, "/nonexistent");
    local.count = 1;
    local.nodes[0].pid = getpid(); /* it lives, but is no kithd */
    assert_int_equal(kith_local_find(&local, 0, &process, &error), KITH_OK);
    assert_int_equal(process.fd, -1);
}

static void test_ports(void **state)
{
    (void)state;
    uint16_t port = 0;
    struct kith_error error;
    assert_int_equal(kith_local_port(&port, &error), KITH_OK);
    assert_true(port > 0);
    uint16_t same = port;
    assert_int_equal(kith_local_port(&same, &error), KITH_OK);
    assert_int_equal(same, port);
    unsigned first = 0;
    FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    assert_non_null(range);
    assert_int_equal(fscanf(range, "%u", &first), 1);
    assert_int_equal(fclose(range), 0);
    for (uint32_t i = 0; i < 100 && first >= 16384; i++) { /* none that a connection may get */
        port = 0;
        assert_int_equal(kith_local_port(&port, &error), KITH_OK);
        assert_true(port >= 1024 && port < first);
    }
}

/* Two who draw at once must not get the same: each is drawn once as long as the drawer lives. */
static void test_ports_drawn_once(void **state)
{
    static bool drawn[UINT16_MAX + 1];
    struct kith_error error;
    (void)state;
    for (uint32_t i = 0; i < 400; i++) {
        uint16_t port = 0;
        assert_int_equal(kith_local_port(&port, &error), KITH_OK);
        assert_false(drawn[port]);
        drawn[port] = true;
    }
}

/* One that is listened on is in use. */
static void test_port_in_use(void **state)
{
    (void)state;
    uint16_t port = 0;
    struct kith_error error;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(kith_local_port(&port, &error), KITH_OK);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(kith_local_port(&port, &error), KITH_EBUSY);
    assert_int_equal(close(fd), 0);
    assert_int_equal(kith_local_port(&port, &error), KITH_OK);
}

/* Starts `script` as node 1's kithd and waits for its end; what it printed is in ret_log. */
static void run_script(const char *script, uint64_t cache_bytes, char ret_how[64],
                       char ret_log[256])
{
    static struct kith_local local;
    local.cache_bytes = cache_bytes;
    char program[64];
    char path[128];
    struct kith_local_process process = {-1, 0};
    struct kith_error error;
    (void)strcpy(local.dir, "/tmp/kith-test-local.XXXXXX");
    assert_non_null(mkdtemp(local.dir));
    local.count = 1;
    (void)snprintf(program, sizeof(program), "%.40s/kithd", local.dir);
    FILE *file = fopen(program, "w");
    assert_non_null(file);
    assert_true(fputs(script, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(program, 0700), 0);
    assert_int_equal(kith_local_start(&local, 0, program, &process, &error), KITH_OK);
    assert_true(process.fd >= 0 && process.pid == local.nodes[0].pid);
    assert_true(kith_local_wait_end(&process, 10000));
    kith_local_end_text(&process, ret_how, 64);
    assert_int_equal(close(process.fd), 0);
    (void)snprintf(path, sizeof(path), "%.40s/node1.log", local.dir);
    file = fopen(path, "r");
    assert_non_null(file);
    ret_log[fread(ret_log, 1, 255, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(program), 0);
    assert_int_equal(rmdir(local.dir), 0);
}

/* What a daemon says before it has opened its log, and how it ended, is not lost. */
static void test_start(void **state)
{
    (void)state;
    char how[64];
    char log[256];
    run_script("#!/bin/sh\necho no library >&2\nexit 3\n", 0, how, log);
    assert_string_equal(how, "exit status 3");
    assert_string_equal(log, "no library\n");
    run_script("#!/bin/sh\nkill -KILL $$\n", 0, how, log);
    assert_non_null(strstr(how, "signal 9"));
    assert_string_equal(log, "");
    run_script("#!/bin/sh\nshift 8; echo \"$*\" >&2\n", 0, how, log);
    assert_string_equal(log, "\n");
    run_script("#!/bin/sh\nshift 8; echo \"$*\" >&2\n", UINT64_C(64) << 20, how, log);
    assert_string_equal(log, "--cache 64M\n");
}

static void test_start_fails(void **state)
{
    (void)state;
    static struct kith_local local;
    struct kith_local_process process = {-1, 0};
    struct kith_error error;
    char path[128];
    (void)strcpy(local.dir, "/tmp/kith-test-local.XXXXXX");
    assert_non_null(mkdtemp(local.dir));
    local.count = 1;
    assert_int_equal(kith_local_start(&local, 0, "/nonexistent/kithd", &process, &error),
                     KITH_EIO);
    assert_non_null(strstr(error.message, "No such file"));
    (void)snprintf(path, sizeof(path), "%.40s/node1.log", local.dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(local.dir), 0); /* no place for a log */
    assert_int_equal(kith_local_start(&local, 0, "/bin/true", &process, &error), KITH_EIO);
    assert_non_null(strstr(error.message, "No such file"));
    assert_int_equal(process.fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state),   cmocka_unit_test(test_state_refuses),
        cmocka_unit_test(test_is_ours), cmocka_unit_test(test_find_foreign),
        cmocka_unit_test(test_ports),   cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_ports_drawn_once),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_fails), cmocka_unit_test(test_remove),
        cmocka_unit_test(test_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
