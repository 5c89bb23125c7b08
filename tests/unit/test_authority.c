/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_authority.c - what an authority makes, and refuses to make. What is made is read by
 * test_cert.c, too. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "lib/certs.h"

static struct certs ca;

static int start(void **state)
{
    (void)state;
    certs_start(&ca, "home");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    certs_stop(&ca);
    return 0;
}

static void test_make(void **state)
{
    (void)state;
    struct kith_buf key, cert;
    struct kith_error error;
    kith_buf_init(&key);
    kith_buf_init(&cert);
    static const char *const bad[] = {"", "a b", "a/b", "..", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kith_authority_make(bad[i], 10, 0, &key, &cert, &error), KITH_EINVAL);
    }
    assert_int_equal(kith_authority_make("a", 0, 0, &key, &cert, &error), KITH_EINVAL);
    assert_int_equal(kith_authority_make("a", KITH_CERT_DAYS_MAX + 1, 0, &key, &cert, &error),
                     KITH_EINVAL);
    assert_int_equal(key.size + cert.size, 0);
    char longest[KITH_CERT_NAME_SIZE];
    memset(longest, 'x', sizeof longest);
    longest[KITH_CERT_NAME_MAX] = '\0';
    assert_int_equal(
        kith_authority_make(longest, KITH_CERT_DAYS_MAX, (int64_t)time(NULL), &key, &cert, &error),
        KITH_OK);
    struct kith_authority *made = NULL;
    assert_int_equal(
        kith_authority_open(kith_buf_bytes(&cert), kith_buf_bytes(&key), &made, &error), KITH_OK);
    assert_string_equal(kith_authority_cluster(made), longest);
    kith_authority_free(made);
    kith_buf_release(&key);
    kith_buf_release(&cert);
}

static void test_open(void **state)
{
    (void)state;
    struct certs other;
    struct kith_authority *made = NULL;
    struct kith_error error;
    struct kith_bytes cert = kith_buf_bytes(&ca.cert), key = kith_buf_bytes(&ca.key);
    certs_start(&other, "home");
    assert_int_equal(kith_authority_open(cert, kith_buf_bytes(&other.key), &made, &error),
                     KITH_EINVAL);
    assert_non_null(strstr(error.message, "not that of"));
    assert_int_equal(kith_authority_open(cert, kith_bytes_make(NULL, 0), &made, &error),
                     KITH_EFORMAT);
    assert_int_equal(kith_authority_open(kith_bytes_make(NULL, 0), key, &made, &error),
                     KITH_EFORMAT);
    assert_int_equal(kith_authority_open(key, cert, &made, &error), KITH_EFORMAT);
    for (size_t size = 0; size + 2 < key.size; size++) {
        assert_int_equal(kith_authority_open(cert, kith_bytes_make(key.data, size), &made, &error),
                         KITH_EFORMAT);
    }
    assert_null(made);
    kith_authority_free(NULL);
    certs_stop(&other);
}

static void refused(const struct kith_cert_grant *grant, uint32_t days, const char *words)
{
    struct kith_buf key, cert;
    struct kith_cert says;
    struct kith_error error;
    kith_buf_init(&key);
    kith_buf_init(&cert);
    assert_int_equal(kith_authority_issue(ca.authority, grant, days, (int64_t)time(NULL),
                                          kith_bytes_make(NULL, 0), &key, &cert, &says, &error),
                     KITH_EINVAL);
    if (!strstr(error.message, words)) {
        fail_msg("'%s' does not say '%s'", error.message, words);
    }
    assert_int_equal(key.size + cert.size, 0);
}

static void test_refused(void **state)
{
    (void)state;
    struct kith_cert_grant good = certs_grant_make(KITH_CERT_CLIENT, "anna"), bad = good;
    refused(&good, 0, "1 to 3639 days");
    refused(&good, 3640, "1 to 3639 days"); /* its authority is ten days old, and has 3650 */
    bad.role = (enum kith_cert_role)0;
    refused(&bad, 1, "a node's, an admin's or a client's");
    bad = certs_grant_make(KITH_CERT_CLIENT, "");
    refused(&bad, 1, "a holder's name");
    bad = certs_grant_make(KITH_CERT_CLIENT, "an\nna");
    refused(&bad, 1, "a holder's name");
    memset(bad.name, 'x', sizeof bad.name); /* without an end */
    refused(&bad, 1, "a holder's name");
    bad = certs_grant_make(KITH_CERT_NODE, "oak");
    bad.read_only = true;
    refused(&bad, 1, "only a client's");
    bad = certs_grant_make(KITH_CERT_ADMIN, "oak");
    bad.all_volumes = false;
    bad.volume_count = 1;
    bad.volumes[0] = 1;
    refused(&bad, 1, "only a client's");
    bad = good;
    bad.all_volumes = false;
    refused(&bad, 1, "names volumes, or all");
    bad.volume_count = 1;
    refused(&bad, 1, "no volume 0");
    bad.volumes[0] = bad.volumes[1] = 7;
    bad.volume_count = 2;
    refused(&bad, 1, "volume 7 is named twice");
    bad.volume_count = KITH_CERT_VOLUMES_MAX + 1;
    refused(&bad, 1, "at most 32 volumes");
    bad.all_volumes = true;
    refused(&bad, 1, "names volumes, or all");
}

/* The same key again, so that only one file changes. */
static void test_renew(void **state)
{
    (void)state;
    struct certs_own own;
    struct kith_buf key, cert;
    struct kith_cert says;
    struct kith_error error;
    kith_buf_init(&key);
    kith_buf_init(&cert);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 1, 0, &own);
    assert_int_equal(kith_authority_issue(ca.authority, &own.says.grant, 20, (int64_t)time(NULL),
                                          kith_buf_bytes(&own.key), &key, &cert, &says, &error),
                     KITH_OK);
    assert_int_equal(key.size, 0);
    assert_string_not_equal(says.serial, own.says.serial);
    assert_int_equal(kith_cert_match(kith_buf_bytes(&cert), kith_buf_bytes(&own.key), &error),
                     KITH_OK);
    assert_int_equal(kith_authority_issue(ca.authority, &own.says.grant, 20, (int64_t)time(NULL),
                                          kith_buf_bytes(&own.cert), &key, &cert, &says, &error),
                     KITH_EFORMAT);
    kith_buf_release(&cert);
    certs_own_release(&own);
}

static X509_CRL *load(const struct kith_buf *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->size);
    X509_CRL *list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(list);
    return list;
}

static uint64_t number_of(const struct kith_buf *pem)
{
    uint64_t value = 0;
    X509_CRL *list = load(pem);
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
    assert_int_equal(ASN1_INTEGER_get_uint64(&value, number), 1);
    ASN1_INTEGER_free(number);
    X509_CRL_free(list);
    return value;
}

static void test_lists(void **state)
{
    (void)state;
    struct certs_own own[3];
    struct certs other;
    struct kith_buf out;
    struct kith_error error;
    kith_buf_init(&out);
    for (size_t i = 0; i < 3; i++) {
        certs_issue(&ca, KITH_CERT_CLIENT, "anna", 1, 0, &own[i]);
    }
    const char *first[] = {own[0].says.serial, own[1].says.serial};
    const char *second[] = {own[1].says.serial, own[2].says.serial, own[2].says.serial};
    assert_int_equal(
        kith_authority_revoke(ca.authority, kith_buf_bytes(&ca.list), first, 2, 1000, &out, &error),
        KITH_OK);
    struct kith_buf next;
    kith_buf_init(&next);
    int64_t now_s = (int64_t)time(NULL);
    assert_int_equal(kith_authority_revoke(ca.authority, kith_buf_bytes(&out), second, 2, now_s + 9,
                                           &next, &error),
                     KITH_OK);
    assert_true(number_of(&ca.list) >= (uint64_t)now_s - 11 * 86400);
    assert_true(number_of(&out) == number_of(&ca.list) + 1); /* though the clock went back */
    assert_true(number_of(&next) == (uint64_t)now_s + 9);
    X509_CRL *list = load(&next);
    assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list)), 3);
    /* no node stops because nobody brought it a new list */
    time_t far = time(NULL) + 86400 * 3600L;
    assert_true(X509_cmp_time(X509_CRL_get0_nextUpdate(list), &far) > 0);
    X509_CRL_free(list);

    static const char *const bad[] = {"",   "0x12", "12 ",
                                      "-1", "ABC",  "12345678901234567890123456789012345678901"};
    struct kith_buf none;
    kith_buf_init(&none);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kith_authority_revoke(ca.authority, kith_buf_bytes(&next), &bad[i], 1, 0,
                                               &none, &error),
                         KITH_EINVAL);
    }
    certs_start(&other, "home");
    assert_int_equal(
        kith_authority_revoke(other.authority, kith_buf_bytes(&next), NULL, 0, 0, &none, &error),
        KITH_EPERM);
    for (size_t size = 1; size + 2 < next.size; size += 5) {
        assert_int_equal(kith_authority_revoke(ca.authority, kith_bytes_make(next.data, size), NULL,
                                               0, 0, &none, &error),
                         KITH_EFORMAT);
    }
    assert_int_equal(none.size, 0);
    certs_stop(&other);
    kith_buf_release(&out);
    kith_buf_release(&next);
    for (size_t i = 0; i < 3; i++) {
        certs_own_release(&own[i]);
    }
}

/* Another TLS library's view: a client's certificate is no server's. */
static void test_purposes(void **state)
{
    (void)state;
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN, KITH_CERT_CLIENT};
    for (size_t i = 0; i < 3; i++) {
        struct certs_own own;
        certs_issue(&ca, roles[i], "oak", 1, 0, &own);
        BIO *bio = BIO_new_mem_buf(own.cert.data, (int)own.cert.size);
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        bool node = roles[i] == KITH_CERT_NODE;
        assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), node ? 1 : 0);
        assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 1);
        assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 1), 0);
        assert_int_equal(X509_check_host(cert, KITH_CERT_DNS, 0, 0, NULL), node ? 1 : 0);
        X509_free(cert);
        BIO_free(bio);
        certs_own_release(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),  cmocka_unit_test(test_open),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_renew), cmocka_unit_test(test_lists), cmocka_unit_test(test_purposes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
