/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_pem_file.c - files that are there whole or not at all, and keys that nobody else can read.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/pem_file.h"

static char folder[64], path[128];

static int start(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test_pem_file.XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/key", folder);
    umask(0); /* the modes must not depend on it */
    return 0;
}

static int stop(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static uint32_t entries(const char *where)
{
    uint32_t count = 0;
    DIR *dir = opendir(where);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 ? 1 : 0;
    }
    closedir(dir);
    return count;
}

static void holds(enum kith_pem_kind kind, const char *text)
{
    struct kith_buf buf;
    struct kith_error error;
    kith_buf_init(&buf);
    if (kith_pem_read(path, kind, 100, &buf, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(buf.size, strlen(text));
    assert_memory_equal(buf.data, text, buf.size);
    kith_pem_wipe(&buf);
    assert_null(buf.data);
}

static struct kith_bytes bytes(const char *text)
{
    return kith_bytes_make(text, strlen(text));
}

static void test_write(void **state)
{
    (void)state;
    struct kith_error error;
    struct stat stat_buf;
    assert_int_equal(kith_pem_write(path, KITH_PEM_SECRET, bytes("one"), &error), KITH_OK);
    assert_int_equal(stat(path, &stat_buf), 0);
    assert_int_equal(stat_buf.st_mode & 07777, 0600);
    holds(KITH_PEM_SECRET, "one");
    assert_int_equal(kith_pem_write(path, KITH_PEM_SECRET, bytes("two"), &error), KITH_EEXIST);
    assert_non_null(strstr(error.message, "is there already"));
    holds(KITH_PEM_SECRET, "one");
    assert_int_equal(kith_pem_replace(path, KITH_PEM_PUBLIC, bytes("three"), &error), KITH_OK);
    assert_int_equal(stat(path, &stat_buf), 0);
    assert_int_equal(stat_buf.st_mode & 07777, 0644);
    holds(KITH_PEM_PUBLIC, "three");
    assert_int_equal(kith_pem_replace(path, KITH_PEM_SECRET, bytes("four"), &error), KITH_OK);
    assert_int_equal(stat(path, &stat_buf), 0);
    assert_int_equal(stat_buf.st_mode & 07777, 0600);
    assert_int_equal(entries(folder), 1);
    /* a link that leads nowhere is something that is there, too */
    char link_path[160];
    (void)snprintf(link_path, sizeof link_path, "%s/link", folder);
    assert_int_equal(symlink("/nowhere", link_path), 0);
    assert_int_equal(kith_pem_write(link_path, KITH_PEM_SECRET, bytes("x"), &error), KITH_EEXIST);
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(unlink(path), 0);
}

static void test_modes(void **state)
{
    (void)state;
    static const mode_t open_modes[] = {0640, 0604, 0660, 0644, 0777, 0610, 0601};
    struct kith_error error;
    struct kith_buf buf;
    kith_buf_init(&buf);
    assert_int_equal(kith_pem_write(path, KITH_PEM_SECRET, bytes("one"), &error), KITH_OK);
    for (size_t i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(kith_pem_read(path, KITH_PEM_SECRET, 100, &buf, &error), KITH_EPERM);
        assert_non_null(strstr(error.message, "chmod 600 /tmp/test_pem_file."));
        assert_int_equal(buf.size, 0);
    }
    assert_int_equal(chmod(path, 0400), 0);
    holds(KITH_PEM_SECRET, "one");
    if (geteuid() == 0) { /* else nobody else's file can be made */
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_int_equal(kith_pem_read(path, KITH_PEM_SECRET, 100, &buf, &error), KITH_EPERM);
        assert_non_null(strstr(error.message, "chown 0 "));
    }
    assert_int_equal(unlink(path), 0);
}

static void test_no_file(void **state)
{
    (void)state;
    struct kith_error error;
    struct kith_buf buf;
    char other[PATH_MAX + 10];
    kith_buf_init(&buf);
    assert_int_equal(kith_pem_read(path, KITH_PEM_PUBLIC, 100, &buf, &error), KITH_ENOTFOUND);
    assert_int_equal(kith_pem_read(folder, KITH_PEM_PUBLIC, 100, &buf, &error), KITH_EINVAL);
    assert_int_equal(kith_pem_read("/dev/zero", KITH_PEM_PUBLIC, 100, &buf, &error), KITH_EINVAL);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes, and nobody waits */
    assert_int_equal(kith_pem_read(path, KITH_PEM_SECRET, 100, &buf, &error), KITH_EINVAL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kith_pem_write(path, KITH_PEM_PUBLIC, bytes("12345"), &error), KITH_OK);
    assert_int_equal(kith_pem_read(path, KITH_PEM_PUBLIC, 4, &buf, &error), KITH_ETOOBIG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kith_pem_write(path, KITH_PEM_PUBLIC, bytes(""), &error), KITH_OK);
    holds(KITH_PEM_PUBLIC, "");
    assert_int_equal(unlink(path), 0);
    (void)snprintf(other, sizeof other, "%s/no/key", folder);
    assert_int_equal(kith_pem_write(other, KITH_PEM_SECRET, bytes("x"), &error), KITH_ENOTFOUND);
    memset(other, 'x', sizeof other);
    other[sizeof other - 1] = '\0';
    assert_int_equal(kith_pem_write(other, KITH_PEM_SECRET, bytes("x"), &error), KITH_EIO);
    assert_int_equal(entries(folder), 0);
}

/* A name without a folder is one in the present folder. */
static void test_here(void **state)
{
    (void)state;
    struct kith_error error;
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(kith_pem_write("key", KITH_PEM_SECRET, bytes("one"), &error), KITH_OK);
    holds(KITH_PEM_SECRET, "one");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(chdir(before), 0);
}

/* Where it cannot be written in full nothing is left, and what was there stays. */
static void test_no_room(void **state)
{
    (void)state;
    static char large[300000];
    struct kith_error error;
    struct rlimit before, limit;
    memset(large, 'x', sizeof large);
    assert_int_equal(kith_pem_write(path, KITH_PEM_PUBLIC, bytes("one"), &error), KITH_OK);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){1000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    enum kith_err err =
        kith_pem_replace(path, KITH_PEM_PUBLIC, kith_bytes_make(large, sizeof large), &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, KITH_ENOSPC);
    holds(KITH_PEM_PUBLIC, "one");
    assert_int_equal(entries(folder), 1);
    assert_int_equal(unlink(path), 0);
    if (geteuid() != 0 || mount("none", folder, "tmpfs", 0, "size=64k") != 0) {
        return; /* may not mount */
    }
    err = kith_pem_write(path, KITH_PEM_PUBLIC, kith_bytes_make(large, sizeof large), &error);
    uint32_t left = entries(folder);
    assert_int_equal(umount(folder), 0);
    assert_int_equal(err, KITH_ENOSPC);
    assert_non_null(strstr(error.message, "No space left"));
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),   cmocka_unit_test(test_modes),
        cmocka_unit_test(test_no_file), cmocka_unit_test(test_here),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
