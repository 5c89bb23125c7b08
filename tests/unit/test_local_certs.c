/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The certificates of a local cluster: whole or not at all, told to this process and to a shell, and taken
 * away again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/local/local_certs.h"

static char dir[PATH_MAX];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kith-it's certs.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    struct kith_error error;
    (void)state;
    return kith_local_tree_remove(dir, &error) == KITH_OK ? 0 : -1;
}

static bool is_there(const char *name)
{
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void load(struct kith_local *local)
{
    struct kith_error error;
    assert_int_equal(kith_local_load(dir, local, &error), KITH_OK);
}

static void test_whole(void **state)
{
    struct kith_local local;
    struct kith_error error;
    char half[PATH_MAX + 64];
    (void)state;
    load(&local);
    assert_false(local.secure);
    (void)snprintf(half, sizeof half, "%s/certs.new", dir); /* a run that was killed has left it */
    assert_int_equal(mkdir(half, 0755), 0);
    (void)snprintf(half, sizeof half, "%s/certs.new/node.key", dir);
    FILE *file = fopen(half, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    load(&local);
    assert_false(local.secure);
    assert_int_equal(kith_local_certs_make(&local, &error), KITH_OK);
    assert_true(local.secure);
    static const char *const files[] = {"node.key",  "node.crt", "admin.key",
                                        "admin.crt", "ca.crt",   "crl.pem"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[PATH_MAX];
        struct stat st;
        assert_int_equal(kith_local_cert_path(&local, files[i], path, &error), KITH_OK);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size > 0);
        assert_true(strstr(files[i], ".key") == NULL || (st.st_mode & 0777) == 0600);
    }
    assert_false(is_there("certs.new"));
    load(&local);
    assert_true(local.secure);
    assert_int_equal(kith_local_certs_make(&local, &error), KITH_EIO); /* it stays as it is */
    assert_true(is_there("certs/node.key"));
    assert_false(is_there("certs.new"));
    assert_int_equal(kith_local_certs_remove(&local, &error), KITH_OK);
    assert_false(local.secure);
    assert_false(is_there("certs"));
}

/* What a shell that reads DIR/env says of the variable. */
static void shell_says(const char *variable, char *ret_text, size_t size)
{
    char command[PATH_MAX + 128];
    assert_int_equal(setenv("IN", dir, 1), 0);
    (void)snprintf(command, sizeof command, ". \"$IN/env\" && printf %%s \"${%s-unset}\"", variable);
    FILE *file = popen(command, "r");
    assert_non_null(file);
    size_t used = fread(ret_text, 1, size - 1, file);
    ret_text[used] = '\0';
    assert_int_equal(pclose(file), 0);
}

static void test_told(void **state)
{
    struct kith_local local;
    struct kith_error error;
    char path[PATH_MAX], text[PATH_MAX];
    (void)state;
    load(&local);
    local.count = 2;
    local.nodes[0].port = 1234;
    local.nodes[1].port = 5678;
    assert_int_equal(setenv("KITH_CERT", "/other", 1), 0);
    assert_int_equal(kith_local_certs_use(&local, &error), KITH_OK); /* it has none */
    assert_string_equal(getenv("KITH_CERT"), ""); /* and none that lies in a default place */
    assert_int_equal(kith_local_env_write(&local, &error), KITH_OK);
    assert_int_equal(setenv("KITH_CERT", "/other", 1), 0);
    shell_says("KITH_CERT", text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(kith_local_certs_make(&local, &error), KITH_OK);
    assert_int_equal(kith_local_certs_use(&local, &error), KITH_OK);
    assert_int_equal(kith_local_cert_path(&local, "admin.crt", path, &error), KITH_OK);
    assert_string_equal(getenv("KITH_CERT"), path);
    assert_int_equal(kith_local_cert_path(&local, "admin.key", path, &error), KITH_OK);
    assert_string_equal(getenv("KITH_KEY"), path);
    assert_int_equal(kith_local_env_write(&local, &error), KITH_OK);
    shell_says("KITH_SERVERS", text, sizeof text);
    assert_string_equal(text, "127.0.0.1:1234,127.0.0.1:5678");
    shell_says("KITH_KEY", text, sizeof text);
    assert_string_equal(text, path);
    assert_int_equal(kith_local_certs_remove(&local, &error), KITH_OK);
    assert_false(is_there("env"));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_whole),
        CASE(test_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
