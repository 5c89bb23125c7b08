/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a certificate is looked for that nobody names. What the files hold is of no interest. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/identity_find.h"

static const char *const all[] = {"client.crt", "client.key", "admin.crt", "admin.key",
                                  "ca.crt",     "crl.pem",    "node.crt",  "node.key"};
static char top[] = "/tmp/kith-find.XXXXXX";
static char folder[64];
static struct kith_identity_found found;
static struct kith_error error;

static void path_of(const char *name, char path[128])
{
    (void)snprintf(path, 128, "%s/%s", folder, name);
}

static void put(const char *name)
{
    char path[128];
    path_of(name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void drop(const char *name)
{
    char path[128];
    path_of(name, path);
    (void)unlink(path);
}

/* What the system knows of users is here that one's home is `top`. */
int getpwuid_r(uid_t uid, struct passwd *user, char *text, size_t size, struct passwd **ret_user)
{
    (void)uid;
    (void)size;
    *user = (struct passwd){.pw_dir = text};
    (void)strcpy(text, top);
    *ret_user = user;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(top + sizeof top - 7, "XXXXXX");
    if (!mkdtemp(top) || setenv("XDG_CONFIG_HOME", top, 1) != 0 || unsetenv("KITH_CERT") != 0 ||
        unsetenv("KITH_KEY") != 0 || unsetenv("KITH_CA") != 0 || unsetenv("KITH_CRL") != 0) {
        return -1;
    }
    (void)snprintf(folder, sizeof folder, "%s/kithfs", top);
    return mkdir(folder, 0700);
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        drop(all[i]);
    }
    (void)rmdir(folder);
    return rmdir(top);
}

static enum kith_err find(enum kith_cert_role wanted)
{
    memset(&found, 0x5a, sizeof found); /* all is set that is read */
    return kith_identity_find_in(folder, wanted, &found, &error);
}

static void is(const char *path, const char *name)
{
    char want[128];
    path_of(name, want);
    assert_string_equal(path, want);
}

static void test_folder(void **state)
{
    (void)state;
    assert_int_equal(find(KITH_CERT_CLIENT), KITH_OK);
    assert_false(found.any);
    put("node.crt"); /* a node's folder: nobody's who asks */
    put("node.key");
    put("ca.crt");
    assert_int_equal(find(KITH_CERT_ADMIN), KITH_OK);
    assert_false(found.any);
    put("admin.crt");
    put("admin.key");
    assert_int_equal(find(KITH_CERT_CLIENT), KITH_OK); /* better than none */
    assert_true(found.any);
    is(found.files.cert, "admin.crt");
    is(found.files.key, "admin.key");
    is(found.files.ca, "ca.crt");
    assert_null(found.files.crl);
    assert_null(found.files.sent);
    put("client.crt");
    put("client.key");
    put("crl.pem");
    assert_int_equal(find(KITH_CERT_CLIENT), KITH_OK);
    is(found.files.cert, "client.crt");
    is(found.files.crl, "crl.pem");
    assert_int_equal(find(KITH_CERT_ADMIN), KITH_OK);
    is(found.files.cert, "admin.crt");
    assert_int_equal(kith_identity_find_in("/no/such", KITH_CERT_ADMIN, &found, &error), KITH_OK);
    assert_false(found.any);
}

/* Half of it is no plain text. */
static void test_half(void **state)
{
    (void)state;
    static const char *const whole[] = {"client.crt", "client.key", "ca.crt"};
    for (size_t gone = 0; gone < 3; gone++) {
        for (size_t i = 0; i < 3; i++) {
            put(whole[i]);
        }
        drop(whole[gone]);
        assert_int_equal(find(KITH_CERT_CLIENT), KITH_ENOTFOUND);
        char want[200];
        (void)snprintf(want, sizeof want, "%s/%s is missing beside the rest", folder, whole[gone]);
        assert_non_null(strstr(error.message, want));
        assert_non_null(strstr(error.message, "kithctl cert client NAME"));
    }
}

static void test_unreadable(void **state)
{
    (void)state;
    char key[128];
    if (geteuid() == 0) { /* root reads everything: as somebody else */
        assert_int_equal(chown(top, 65534, 65534), 0);
        assert_int_equal(chown(folder, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    put("admin.crt");
    put("admin.key");
    put("ca.crt");
    path_of("admin.key", key);
    assert_int_equal(chmod(key, 0), 0);
    enum kith_err alone = find(KITH_CERT_ADMIN);
    bool told = strstr(error.message, "admin.key cannot be used: Permission denied") != NULL;
    put("client.crt");
    put("client.key");
    enum kith_err both = find(KITH_CERT_ADMIN);
    bool other = found.any && strstr(found.files.cert, "client.crt") != NULL;
    assert_int_equal(chmod(folder, 0), 0);
    enum kith_err closed = find(KITH_CERT_ADMIN);
    assert_int_equal(chmod(folder, 0700), 0);
    if (getuid() == 0) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(alone, KITH_EPERM);
    assert_true(told);
    assert_int_equal(both, KITH_OK);
    assert_true(other);
    assert_int_equal(closed, KITH_EPERM);
}

static void test_order(void **state)
{
    (void)state;
    put("client.crt");
    put("client.key");
    put("ca.crt");
    memset(&found, 0x5a, sizeof found);
    assert_int_equal(kith_identity_find(KITH_CERT_ADMIN, true, &found, &error), KITH_OK);
    assert_true(found.any);
    assert_null(found.files.sent);
    is(found.files.cert, "client.crt");
    assert_int_equal(setenv("KITH_KEY", "/k", 1), 0);
    assert_int_equal(kith_identity_find(KITH_CERT_ADMIN, true, &found, &error), KITH_OK);
    assert_true(found.any);
    assert_null(found.files.sent);
    assert_null(found.files.cert); /* that they go together is told by who reads them */
    assert_string_equal(found.files.key, "/k");
    assert_int_equal(setenv("KITH_KEY", "", 1), 0);
    assert_int_equal(kith_identity_find(KITH_CERT_ADMIN, true, &found, &error), KITH_OK);
    assert_false(found.any);
    assert_int_equal(unsetenv("KITH_KEY"), 0);
    assert_int_equal(setenv("HOME", top, 1), 0);
    assert_int_equal(setenv("XDG_CONFIG_HOME", "kithfs/..", 1), 0); /* relative: as if unset */
    if (access(KITH_IDENTITY_FOLDER, F_OK) != 0) {
        assert_int_equal(kith_identity_find(KITH_CERT_ADMIN, true, &found, &error), KITH_OK);
        assert_false(found.any);
        assert_int_equal(setenv("XDG_CONFIG_HOME", top, 1), 0);
        assert_int_equal(kith_identity_find(KITH_CERT_ADMIN, false, &found, &error), KITH_OK);
        assert_false(found.any); /* the user's does not count */
    }
}

/* As mount(8) calls a user's helper. */
static void test_no_home(void **state)
{
    (void)state;
    char config[80], moved[96];
    (void)snprintf(config, sizeof config, "%s/.config", top);
    (void)snprintf(moved, sizeof moved, "%s/.config/kithfs", top);
    put("client.crt");
    put("client.key");
    put("ca.crt");
    assert_int_equal(mkdir(config, 0700), 0);
    assert_int_equal(rename(folder, moved), 0);
    assert_int_equal(unsetenv("XDG_CONFIG_HOME"), 0);
    assert_int_equal(unsetenv("HOME"), 0);
    memset(&found, 0x5a, sizeof found);
    enum kith_err err = kith_identity_find(KITH_CERT_CLIENT, true, &found, &error);
    assert_int_equal(rename(moved, folder), 0);
    assert_int_equal(rmdir(config), 0);
    assert_int_equal(err, KITH_OK);
    assert_true(found.any);
    (void)snprintf(moved, sizeof moved, "%s/.config/kithfs/client.crt", top);
    assert_string_equal(found.files.cert, moved);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_folder), CASE(test_half), CASE(test_unreadable),
                                       CASE(test_order), CASE(test_no_home)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
