/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/crypt.h"

#define ID_AT    1u
#define NONCE_AT 17u

static const struct kith_bytes place = {(const uint8_t *)"here", 4};
static const struct kith_bytes elsewhere = {(const uint8_t *)"Here", 4};

static struct kith_crypt *crypt_of(uint8_t key, uint8_t salt_byte)
{
    struct kith_crypt_key master;
    uint8_t salt[KITH_CRYPT_SALT_SIZE];
    struct kith_crypt *crypt = NULL;
    memset(master.bytes, key, sizeof master.bytes);
    memset(salt, salt_byte, sizeof salt);
    assert_int_equal(kith_crypt_new(&master, salt, &crypt), KITH_OK);
    return crypt;
}

static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    return bytes;
}

static void what_is_sealed_opens(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4096, 65537, 1u << 20};
    struct kith_crypt *crypt = crypt_of(1, 2), *later = crypt_of(1, 2);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        uint8_t *plain = pattern(size), *sealed = malloc(size + KITH_CRYPT_OVERHEAD);
        uint8_t *back = malloc(size + 1);
        struct kith_bytes block = kith_bytes_make(sealed, size + KITH_CRYPT_OVERHEAD);
        assert_int_equal(kith_crypt_seal(crypt, place, kith_bytes_make(plain, size), sealed),
                         KITH_OK);
        assert_int_equal(kith_crypt_open(later, place, block, back), KITH_OK);
        assert_memory_equal(back, plain, size);
        assert_int_equal(kith_crypt_open_parts(crypt, place, sealed,
                                               sealed + KITH_CRYPT_HEAD + size,
                                               sealed + KITH_CRYPT_HEAD, size),
                         KITH_OK);
        assert_memory_equal(sealed + KITH_CRYPT_HEAD, plain, size);
        free(plain);
        free(sealed);
        free(back);
    }
    kith_crypt_free(crypt);
    kith_crypt_free(later);
    kith_crypt_free(NULL);
}

/* Any bit, any other place, key or salt, any shorter piece: refused, and nothing of it is told. */
static void what_was_changed_does_not_open(void **state)
{
    (void)state;
    uint8_t plain[40], sealed[sizeof plain + KITH_CRYPT_OVERHEAD], back[sizeof plain];
    static const uint8_t zeros[sizeof plain];
    struct kith_crypt *crypt = crypt_of(1, 2), *others[2] = {crypt_of(1, 3), crypt_of(4, 2)};
    struct kith_bytes block = kith_bytes_make(sealed, sizeof sealed);
    memset(plain, 7, sizeof plain);
    assert_int_equal(kith_crypt_seal(crypt, place, kith_bytes_make(plain, sizeof plain), sealed),
                     KITH_OK);
    for (size_t i = 0; i < 8 * sizeof sealed; i++) {
        sealed[i / 8] ^= (uint8_t)(1u << i % 8);
        memset(back, 9, sizeof back);
        enum kith_err err = kith_crypt_open(crypt, place, block, back);
        assert_int_equal(err,
                         i < 8 && sealed[0] > KITH_CRYPT_FORMAT ? KITH_EVERSION : KITH_ECORRUPT);
        assert_true(i < 8 || memcmp(back, zeros, sizeof back) == 0);
        sealed[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_int_equal(kith_crypt_open(crypt, elsewhere, block, back), KITH_ECORRUPT);
    assert_int_equal(kith_crypt_open(others[0], place, block, back), KITH_ECORRUPT);
    assert_int_equal(kith_crypt_open(others[1], place, block, back), KITH_ECORRUPT);
    for (size_t size = 0; size < sizeof sealed; size++) {
        assert_int_equal(kith_crypt_open(crypt, place, kith_bytes_make(sealed, size), back),
                         KITH_ECORRUPT);
    }
    assert_int_equal(kith_crypt_open(crypt, place, block, back), KITH_OK);
    kith_crypt_free(crypt);
    kith_crypt_free(others[0]);
    kith_crypt_free(others[1]);
}

static void a_key_ends_before_its_nonces_do(void **state)
{
    (void)state;
    struct kith_crypt *crypt = crypt_of(1, 2), *again = crypt_of(1, 2);
    enum { BLOCKS = 100 };
    uint8_t sealed[BLOCKS][3 + KITH_CRYPT_OVERHEAD], other[3 + KITH_CRYPT_OVERHEAD], back[3];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i == 50) { /* one is left */
            kith_crypt_age(crypt, KITH_CRYPT_KEY_USES - 51);
        }
        assert_int_equal(kith_crypt_seal(crypt, place, kith_bytes_make("abc", 3), sealed[i]),
                         KITH_OK);
        assert_true((memcmp(sealed[i] + ID_AT, sealed[0] + ID_AT, 16) == 0) == (i <= 50));
        for (uint32_t k = 0; k < i; k++) {
            assert_memory_not_equal(sealed[i] + NONCE_AT, sealed[k] + NONCE_AT, 12);
        }
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct kith_bytes block = kith_bytes_make(sealed[i], sizeof sealed[i]);
        assert_int_equal(kith_crypt_open(crypt, place, block, back), KITH_OK);
        assert_memory_equal(back, "abc", 3);
    }
    assert_int_equal(kith_crypt_seal(again, place, kith_bytes_make("abc", 3), other), KITH_OK);
    assert_memory_not_equal(other + ID_AT, sealed[0] + ID_AT, 16);
    kith_crypt_free(crypt);
    kith_crypt_free(again);
}

/* More keys than are kept at hand. */
static void many_keys_are_found_again(void **state)
{
    (void)state;
    struct kith_crypt *crypt = crypt_of(1, 2);
    enum { KEYS = 200 };
    uint8_t sealed[KEYS][1 + KITH_CRYPT_OVERHEAD], back;
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t plain = (uint8_t)i;
        assert_int_equal(kith_crypt_seal(crypt, place, kith_bytes_make(&plain, 1), sealed[i]),
                         KITH_OK);
        kith_crypt_age(crypt, KITH_CRYPT_KEY_USES);
    }
    for (uint32_t i = 0; i < 3 * KEYS; i++) {
        uint32_t at = i * 7 % KEYS;
        assert_int_equal(
            kith_crypt_open(crypt, place, kith_bytes_make(sealed[at], sizeof sealed[at]), &back),
            KITH_OK);
        assert_int_equal(back, at & 0xff);
    }
    kith_crypt_free(crypt);
}

static void *seal_many(void *arg)
{
    struct kith_crypt *crypt = arg;
    uint8_t plain[300], sealed[sizeof plain + KITH_CRYPT_OVERHEAD], back[sizeof plain];
    memset(plain, 3, sizeof plain);
    for (uint32_t i = 0; i < 2000; i++) {
        if (kith_crypt_seal(crypt, place, kith_bytes_make(plain, sizeof plain), sealed) !=
                KITH_OK ||
            kith_crypt_open(crypt, place, kith_bytes_make(sealed, sizeof sealed), back) !=
                KITH_OK ||
            memcmp(plain, back, sizeof plain) != 0) {
            return arg;
        }
        if (i % 100 == 0) {
            kith_crypt_age(crypt, KITH_CRYPT_KEY_USES);
        }
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct kith_crypt *crypt = crypt_of(1, 2);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, seal_many, crypt), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    kith_crypt_free(crypt);
}

static void the_check_tells_keys_apart(void **state)
{
    (void)state;
    struct kith_crypt_key key = {{1}}, other = {{2}};
    uint8_t salts[2][KITH_CRYPT_SALT_SIZE] = {{5}, {6}}, checks[4][KITH_CRYPT_KEY_SIZE];
    assert_int_equal(kith_crypt_check(&key, salts[0], checks[0]), KITH_OK);
    assert_int_equal(kith_crypt_check(&key, salts[0], checks[1]), KITH_OK);
    assert_int_equal(kith_crypt_check(&key, salts[1], checks[2]), KITH_OK);
    assert_int_equal(kith_crypt_check(&other, salts[0], checks[3]), KITH_OK);
    assert_memory_equal(checks[0], checks[1], sizeof checks[0]);
    assert_memory_not_equal(checks[0], checks[2], sizeof checks[0]);
    assert_memory_not_equal(checks[0], checks[3], sizeof checks[0]);
}

/* What was written once opens for ever: HKDF-SHA256 and AES-256-GCM as crypt.h says, computed
 * apart. */
static void the_format_stays(void **state)
{
    (void)state;
    static const uint8_t block[] = {
        0x01, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c,
        0x0d, 0x0e, 0x0f, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e,
        0x6f, 0x57, 0x93, 0x75, 0xf7, 0x14, 0x71, 0x18, 0x6d, 0xed, 0x87, 0x4c, 0x7f, 0x06,
        0x90, 0x74, 0x10, 0x11, 0x34, 0x9c, 0xcd, 0xee, 0xdf, 0x4c, 0x7a};
    uint8_t back[sizeof block - KITH_CRYPT_OVERHEAD];
    struct kith_crypt *crypt = crypt_of(1, 2);
    assert_int_equal(kith_crypt_open(crypt, place, kith_bytes_make(block, sizeof block), back),
                     KITH_OK);
    assert_memory_equal(back, "contents", 8);
    kith_crypt_free(crypt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens),
        cmocka_unit_test(what_was_changed_does_not_open),
        cmocka_unit_test(a_key_ends_before_its_nonces_do),
        cmocka_unit_test(many_keys_are_found_again),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(the_check_tells_keys_apart),
        cmocka_unit_test(the_format_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
