/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_ca_dir.c - the authority's folder: made whole, its index read again after a crash, and
 * locked. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/certs/ca_dir.h"

static char folder[64], path[128];

static int start(void **state)
{
    (void)state;
    struct kith_error error;
    (void)snprintf(folder, sizeof folder, "/tmp/test_ca_dir.XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/ca", folder);
    return kith_ca_dir_make(path, "home", 100, (int64_t)time(NULL), &error) == KITH_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    char command[160];
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void file(const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", path, name);
}

static void issue(const char *name, struct kith_cert *ret_cert)
{
    struct kith_ca_dir dir;
    struct kith_error error;
    struct kith_cert_grant grant = {.role = KITH_CERT_CLIENT, .all_volumes = true};
    struct kith_buf key, cert;
    kith_buf_init(&key);
    kith_buf_init(&cert);
    (void)snprintf(grant.name, sizeof grant.name, "%s", name);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_OK);
    assert_int_equal(kith_ca_dir_issue(&dir, &grant, 10, (int64_t)time(NULL),
                                       kith_bytes_make(NULL, 0), &key, &cert, ret_cert, &error),
                     KITH_OK);
    kith_ca_dir_close(&dir);
    kith_buf_release(&key);
    kith_buf_release(&cert);
}

static void test_make(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"ca.key", 0600}, {"ca.crt", 0644}, {"crl.pem", 0644}, {"index", 0600}};
    struct kith_error error;
    struct stat stat_buf;
    assert_int_equal(stat(path, &stat_buf), 0);
    assert_int_equal(stat_buf.st_mode & 07777, 0700);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[256];
        file(files[i].name, name);
        assert_int_equal(stat(name, &stat_buf), 0);
        assert_int_equal(stat_buf.st_mode & 07777, files[i].mode);
    }
    assert_int_equal(kith_ca_dir_make(path, "home", 100, (int64_t)time(NULL), &error), KITH_EEXIST);
    assert_non_null(strstr(error.message, "stays as it is"));
    char other[128];
    (void)snprintf(other, sizeof other, "%s/no/ca", folder);
    assert_int_equal(kith_ca_dir_make(other, "home", 100, 0, &error), KITH_ENOTFOUND);
    (void)snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(kith_ca_dir_make(other, "a b", 100, 0, &error), KITH_EINVAL);
    assert_int_equal(access(other, F_OK), -1);
    char command[256]; /* nothing was left of those that failed */
    (void)snprintf(command, sizeof command, "test \"$(ls %s)\" = ca", folder);
    assert_int_equal(system(command), 0);
}

static void test_issue_and_revoke(void **state)
{
    (void)state;
    struct kith_cert anna, ben;
    struct kith_ca_dir dir;
    struct kith_error error;
    issue("anna", &anna);
    issue("ben", &ben);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_OK);
    assert_string_equal(dir.cluster, "home");
    assert_int_equal(dir.count, 2);
    assert_memory_equal(&dir.entries[0].cert, &anna, sizeof anna);
    assert_memory_equal(&dir.entries[1].cert, &ben, sizeof ben);
    const char *serial = anna.serial;
    assert_int_equal(kith_ca_dir_revoke(&dir, &serial, 1, (int64_t)time(NULL), &error), KITH_OK);
    serial = ben.serial; /* the second list holds the first's, too */
    assert_int_equal(kith_ca_dir_revoke(&dir, &serial, 1, (int64_t)time(NULL), &error), KITH_OK);
    kith_ca_dir_close(&dir);
    assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK);
    assert_true(dir.entries[0].revoked);
    assert_true(dir.entries[1].revoked);
    assert_int_equal(dir.index_fd, -1);
    assert_null(dir.authority);
    kith_ca_dir_close(&dir);
}

/* crl.pem comes from a backup: what was revoked since stays so here, and is in the next list. */
static void test_older_list(void **state)
{
    (void)state;
    struct kith_cert emil, fritz;
    struct kith_ca_dir dir;
    struct kith_error error;
    char list[256], aside[256];
    file("crl.pem", list);
    file("backup", aside);
    issue("emil", &emil);
    issue("fritz", &fritz);
    assert_int_equal(link(list, aside), 0);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_OK);
    const char *serials[] = {emil.serial, "x"};
    assert_int_equal(kith_ca_dir_revoke(&dir, serials, 1, (int64_t)time(NULL), &error), KITH_OK);
    assert_int_equal(dir.unlisted, 0);
    assert_int_equal(kith_ca_dir_revoke(&dir, serials, 2, (int64_t)time(NULL), &error),
                     KITH_EINVAL);
    kith_ca_dir_close(&dir);
    assert_int_equal(rename(aside, list), 0);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_OK);
    assert_int_equal(dir.unread, 0);
    assert_int_equal(dir.unlisted, 1);
    assert_true(dir.entries[dir.count - 2].revoked);
    assert_false(dir.entries[dir.count - 1].revoked);
    assert_int_equal(kith_ca_dir_revoke(&dir, NULL, 0, (int64_t)time(NULL), &error), KITH_OK);
    struct kith_trust *trust = NULL;
    assert_int_equal(
        kith_trust_new(kith_buf_bytes(&dir.cert), kith_buf_bytes(&dir.list), &trust, &error),
        KITH_OK);
    assert_true(kith_trust_revokes(trust, emil.serial));
    assert_false(kith_trust_revokes(trust, fritz.serial));
    kith_trust_free(trust);
    kith_ca_dir_close(&dir);
    assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK);
    assert_int_equal(dir.unlisted, 0);
    kith_ca_dir_close(&dir);
}

/* A crash in the middle of a line: it is passed over, and the next line is its own. */
static void test_cut_off(void **state)
{
    (void)state;
    struct kith_cert cert;
    struct kith_ca_dir dir;
    struct kith_error error;
    char index[256];
    file("index", index);
    issue("carl", &cert);
    struct stat before;
    assert_int_equal(stat(index, &before), 0);
    assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK);
    size_t count = dir.count;
    kith_ca_dir_close(&dir);
    struct kith_buf line;
    kith_buf_init(&line);
    kith_ca_line(&cert, &line);
    for (size_t cut = 1; cut < line.size; cut += 9) {
        assert_int_equal(truncate(index, before.st_size - (off_t)cut), 0);
        assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK);
        assert_int_equal(dir.count, count - 1);
        assert_int_equal(dir.unread, 1);
        kith_ca_dir_close(&dir);
        issue("dora", &cert);
        assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK);
        /* where only the line feed was cut off the line is whole again */
        assert_int_equal(dir.count, cut == 1 ? count + 1 : count);
        assert_int_equal(dir.unread, cut == 1 ? 0 : 1);
        assert_string_equal(dir.entries[dir.count - 1].cert.serial, cert.serial);
        kith_ca_dir_close(&dir);
        /* back to where it was */
        assert_int_equal(truncate(index, before.st_size - (off_t)line.size), 0);
        issue("carl", &cert);
    }
    kith_buf_release(&line);
}

static void test_locked(void **state)
{
    (void)state;
    struct kith_ca_dir dir;
    struct kith_error error;
    char index[256];
    file("index", index);
    int fd = open(index, O_RDONLY | O_CLOEXEC);
    assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0); /* who only looks locks nobody out */
    assert_int_equal(flock(fd, LOCK_UN), 0);
    kith_ca_dir_close(&dir);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_OK);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
    kith_ca_dir_close(&dir);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    close(fd);
}

static void test_damaged(void **state)
{
    (void)state;
    struct kith_ca_dir dir;
    struct kith_error error;
    char name[256], aside[256];
    file("ca.key", name);
    file("aside", aside);
    assert_int_equal(rename(name, aside), 0);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_ENOTFOUND);
    assert_non_null(strstr(error.message, "has no ca.key"));
    assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_OK); /* looking needs none */
    kith_ca_dir_close(&dir);
    assert_int_equal(rename(aside, name), 0);
    assert_int_equal(chmod(name, 0640), 0);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_EPERM);
    assert_non_null(strstr(error.message, "chmod 600"));
    assert_int_equal(chmod(name, 0600), 0);
    assert_int_equal(kith_ca_dir_open(folder, true, &dir, &error), KITH_ENOTFOUND);
    assert_non_null(strstr(error.message, "--ca"));
    /* a list that another authority made */
    char other[128], from[256], list[256];
    (void)snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(kith_ca_dir_make(other, "home", 100, (int64_t)time(NULL), &error), KITH_OK);
    file("crl.pem", list);
    assert_int_equal(rename(list, aside), 0);
    (void)snprintf(from, sizeof from, "%s/crl.pem", other);
    assert_int_equal(rename(from, list), 0);
    assert_int_equal(kith_ca_dir_open(path, false, &dir, &error), KITH_EPERM);
    assert_int_equal(rename(aside, list), 0);
    assert_int_equal(kith_ca_dir_open(path, true, &dir, &error), KITH_OK);
    kith_ca_dir_close(&dir);
}

static void test_lines(void **state)
{
    (void)state;
    static const char good[] = "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z "
                               "read-only 00000001,0000000a";
    static const char *const bad[] = {
        "",
        "5f",
        "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only",
        "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only ",
        "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only all all",
        "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only 1",
        "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only 00000001,",
        "5f client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z none all",
        "5f client anna 2026-11-23T15:00:00Z then read-only all",
        "5f client  anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only all",
        "5f king anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only all",
        "5F client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only all",
        " client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only all",
        "5f client /anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only all",
    };
    struct kith_cert cert;
    struct kith_buf back;
    kith_buf_init(&back);
    assert_int_equal(kith_ca_line_parse(kith_bytes_make(good, sizeof good - 1), &cert), KITH_OK);
    kith_ca_line(&cert, &back);
    assert_int_equal(back.size, sizeof good);
    assert_memory_equal(back.data, good, sizeof good - 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kith_ca_line_parse(kith_bytes_make(bad[i], strlen(bad[i])), &cert),
                         KITH_EFORMAT);
    }
    for (size_t size = 0; size < sizeof good - 10; size++) {
        assert_int_equal(kith_ca_line_parse(kith_bytes_make(good, size), &cert), KITH_EFORMAT);
    }
    assert_int_equal(kith_ca_line_parse(kith_bytes_make(good, sizeof good), &cert), KITH_EFORMAT);
    kith_buf_release(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),       cmocka_unit_test(test_issue_and_revoke),
        cmocka_unit_test(test_older_list), cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_locked),     cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
