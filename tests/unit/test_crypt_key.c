/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/crypt_key.h"

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1E1F"

static char dir[] = "/tmp/test_crypt_key.XXXXXX";
static char path[100];

static void put(const void *bytes, size_t size, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void assert_key(const struct kith_crypt_key *key)
{
    for (uint8_t i = 0; i < sizeof key->bytes; i++) {
        assert_int_equal(key->bytes[i], i);
    }
}

static void bytes_and_digits_are_keys(void **state)
{
    (void)state;
    struct kith_crypt_key key, raw;
    assert_int_equal(kith_crypt_key_parse(kith_bytes_make(HEX, 64), &key), KITH_OK);
    assert_key(&key);
    raw = key;
    memset(&key, 0, sizeof key);
    assert_int_equal(kith_crypt_key_parse(kith_bytes_make(HEX "\n", 65), &key), KITH_OK);
    assert_key(&key);
    memset(&key, 0, sizeof key);
    assert_int_equal(kith_crypt_key_parse(kith_bytes_make(raw.bytes, 32), &key), KITH_OK);
    assert_key(&key);
}

static void nothing_else_is(void **state)
{
    (void)state;
    struct kith_crypt_key key;
    const char *bad[] = {
        "",         "a",
        HEX "x",    HEX "\n\n",
        HEX "\r\n", " " HEX,
        "0x" HEX,   "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kith_crypt_key_parse(kith_bytes_make(bad[i], strlen(bad[i])), &key),
                         KITH_EFORMAT);
    }
    for (size_t size = 0; size < 64; size++) {
        assert_int_equal(kith_crypt_key_parse(kith_bytes_make(HEX, size), &key),
                         size == 32 ? KITH_OK : KITH_EFORMAT);
    }
}

static void assert_refused(const char *name, const char *word)
{
    struct kith_crypt_key key;
    struct kith_error error = {KITH_OK, ""};
    assert_int_not_equal(kith_crypt_key_load(name, &key, &error), KITH_OK);
    if (strstr(error.message, word) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", error.message, word);
    }
}

static void a_file_is_for_its_owner(void **state)
{
    (void)state;
    struct kith_crypt_key key;
    struct kith_error error = {KITH_OK, ""};
    put(HEX, 64, 0600);
    assert_int_equal(kith_crypt_key_load(path, &key, &error), KITH_OK);
    assert_key(&key);
    put(HEX, 64, 0400);
    assert_int_equal(kith_crypt_key_load(path, &key, &error), KITH_OK);
    put(HEX, 64, 0640);
    assert_refused(path, "chmod 600");
    put(HEX, 64, 0604);
    assert_refused(path, "chmod 600");
    put(HEX, 63, 0600);
    assert_refused(path, "it has 63 bytes; 32 random bytes, or 64 hexadecimal digits");
    put(HEX, 0, 0600);
    assert_refused(path, "it has 0 bytes");
    assert_refused("/nowhere/key", "/nowhere/key");
    assert_refused(dir, "no regular file");
}

static void a_credential_is_found(void **state)
{
    (void)state;
    struct kith_crypt_key key;
    struct kith_error error = {KITH_OK, ""};
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_refused(NULL, "--encrypt-key");
    setenv("CREDENTIALS_DIRECTORY", "/nowhere", 1);
    assert_refused(NULL, "/nowhere/kithd.key");
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    put(HEX, 64, 0440); /* as systemd does with an ACL for the service's user */
    assert_int_equal(kith_crypt_key_load(NULL, &key, &error), KITH_OK);
    assert_key(&key);
    put("x", 1, 0400);
    assert_refused(NULL, "it has 1 bytes");
    unsetenv("CREDENTIALS_DIRECTORY");
}

int main(void)
{
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    snprintf(path, sizeof path, "%s/kithd.key", dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_digits_are_keys),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(a_file_is_for_its_owner),
        cmocka_unit_test(a_credential_is_found),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(dir);
    return failed;
}
