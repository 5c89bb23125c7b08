/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_cert.c - what certificates say, and which are believed. Those that our authority would never
 * issue are made by hand, with its key. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "lib/certs.h"

#define DAY_S 86400

static struct certs ca;
static struct kith_trust *trust;

static struct kith_trust *trust_of(const struct certs *certs)
{
    struct kith_error error;
    struct kith_trust *made = NULL;
    if (kith_trust_new(kith_buf_bytes(&certs->cert), kith_buf_bytes(&certs->list), &made, &error) !=
        KITH_OK) {
        fail_msg("%s", error.message);
    }
    return made;
}

static int start(void **state)
{
    (void)state;
    certs_start(&ca, "home");
    trust = trust_of(&ca);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    kith_trust_free(trust);
    certs_stop(&ca);
    return 0;
}

/* It is refused, and the message says so with these words. */
static void refused(const struct kith_trust *by, struct kith_bytes pem, int64_t now_s,
                    enum kith_err code, const char *words)
{
    struct kith_cert cert;
    struct kith_error error;
    memset(&cert, 0xa5, sizeof cert);
    struct kith_cert before = cert;
    assert_int_equal(kith_trust_check(by, pem, now_s, &cert, &error), code);
    assert_int_equal(error.code, code);
    if (!strstr(error.message, words)) {
        fail_msg("'%s' does not say '%s'", error.message, words);
    }
    assert_memory_equal(&cert, &before, sizeof cert);
}

static void test_roles(void **state)
{
    (void)state;
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN, KITH_CERT_CLIENT};
    int64_t now = (int64_t)time(NULL);
    for (size_t i = 0; i < 3; i++) {
        struct certs_own own;
        struct kith_cert cert;
        struct kith_error error;
        certs_issue(&ca, roles[i], "oak", 10, now, &own);
        assert_int_equal(kith_trust_check(trust, kith_buf_bytes(&own.cert), now, &cert, &error),
                         KITH_OK);
        assert_int_equal(cert.grant.role, roles[i]);
        assert_string_equal(cert.grant.name, "oak");
        assert_string_equal(cert.cluster, "home");
        assert_string_equal(cert.serial, own.says.serial);
        assert_int_equal(strlen(cert.serial), 32);
        assert_int_equal(cert.not_before_s, now - KITH_CERT_BACKDATE_S);
        assert_int_equal(cert.not_after_s, now + 10 * DAY_S);
        assert_true(cert.grant.all_volumes);
        assert_false(cert.grant.read_only);
        assert_true(kith_cert_has_volume(&cert.grant, 1));
        assert_int_equal(kith_cert_match(kith_buf_bytes(&own.cert), kith_buf_bytes(&own.key), NULL),
                         KITH_OK);
        certs_own_release(&own);
    }
}

static void test_confined(void **state)
{
    (void)state;
    struct kith_cert_grant grant = certs_grant_make(KITH_CERT_CLIENT, "anna@mars");
    struct certs_own own;
    struct kith_cert cert;
    grant.all_volumes = false;
    grant.read_only = true;
    for (uint32_t i = 0; i < KITH_CERT_VOLUMES_MAX; i++) {
        grant.volumes[grant.volume_count++] = i == 0 ? 0xfffffffe : i * 3;
    }
    certs_grant(&ca, &grant, 1, 0, &own);
    assert_int_equal(
        kith_trust_check(trust, kith_buf_bytes(&own.cert), (int64_t)time(NULL), &cert, NULL),
        KITH_OK);
    assert_memory_equal(&cert.grant, &grant, sizeof grant);
    assert_true(kith_cert_has_volume(&cert.grant, 3));
    assert_true(kith_cert_has_volume(&cert.grant, 0xfffffffe));
    assert_false(kith_cert_has_volume(&cert.grant, 4));
    assert_false(kith_cert_has_volume(&cert.grant, 0));
    certs_own_release(&own);
}

static void test_times(void **state)
{
    (void)state;
    struct certs_own own;
    struct kith_cert cert;
    int64_t now = (int64_t)time(NULL);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 1, now, &own);
    struct kith_bytes pem = kith_buf_bytes(&own.cert);
    refused(trust, pem, now + DAY_S + 1, KITH_EPERM, "the certificate of 'oak' expired at 20");
    refused(trust, pem, now - KITH_CERT_BACKDATE_S - 1, KITH_EPERM, "'oak' is valid from 20");
    assert_int_equal(kith_trust_check(trust, pem, now + DAY_S - 1, &cert, NULL), KITH_OK);
    assert_int_equal(kith_trust_check(trust, pem, now - KITH_CERT_BACKDATE_S, &cert, NULL),
                     KITH_OK);
    refused(trust, pem, now + INT64_C(40000) * DAY_S, KITH_EPERM, "expired");
    refused(trust, pem, -(INT64_C(1) << 30), KITH_EPERM, "valid from");
    certs_own_release(&own);
}

static void test_other_authority(void **state)
{
    (void)state;
    struct certs other;
    struct certs_own own;
    certs_start(&other, "home"); /* of the same name, which proves nothing */
    certs_issue(&other, KITH_CERT_NODE, "oak", 10, 0, &own);
    refused(trust, kith_buf_bytes(&own.cert), (int64_t)time(NULL), KITH_EPERM,
            "'oak' was not signed by this cluster's authority");
    refused(trust, kith_buf_bytes(&ca.cert), (int64_t)time(NULL), KITH_EPERM, "");
    refused(trust, kith_buf_bytes(&other.cert), (int64_t)time(NULL), KITH_EPERM,
            "was not signed by this cluster's authority");

    /* both are trusted while one follows the other */
    struct kith_buf both;
    struct kith_cert cert;
    struct kith_trust *two = NULL;
    kith_buf_init(&both);
    kith_buf_put(&both, ca.cert.data, ca.cert.size);
    kith_buf_put(&both, other.cert.data, other.cert.size);
    assert_int_equal(kith_trust_new(kith_buf_bytes(&both), kith_buf_bytes(&other.list), &two, NULL),
                     KITH_OK);
    assert_int_equal(
        kith_trust_check(two, kith_buf_bytes(&own.cert), (int64_t)time(NULL), &cert, NULL),
        KITH_OK);
    kith_trust_free(two);
    kith_buf_release(&both);
    certs_own_release(&own);
    certs_stop(&other);
}

static void test_revoked(void **state)
{
    (void)state;
    struct certs home;
    struct certs_own one, two;
    struct kith_cert cert;
    struct kith_error error;
    int64_t now = (int64_t)time(NULL);
    certs_start(&home, "home");
    struct kith_trust *before = trust_of(&home);
    certs_issue(&home, KITH_CERT_CLIENT, "anna", 10, 0, &one);
    certs_issue(&home, KITH_CERT_CLIENT, "anna", 10, 0, &two);
    certs_revoke(&home, one.says.serial);
    struct kith_trust *after = trust_of(&home);
    assert_int_equal(kith_trust_check(before, kith_buf_bytes(&one.cert), now, &cert, NULL),
                     KITH_OK);
    refused(after, kith_buf_bytes(&one.cert), now, KITH_EPERM, "'anna' has been revoked");
    assert_int_equal(kith_trust_check(after, kith_buf_bytes(&two.cert), now, &cert, NULL), KITH_OK);
    assert_true(kith_trust_revokes(after, one.says.serial));
    assert_false(kith_trust_revokes(after, two.says.serial));
    assert_false(kith_trust_revokes(before, one.says.serial));
    assert_false(kith_trust_revokes(after, "no number"));

    /* nobody goes back to an older list, or to none */
    assert_int_equal(kith_trust_follows(after, before, &error), KITH_OK);
    assert_int_equal(kith_trust_follows(after, after, &error), KITH_OK);
    assert_int_equal(kith_trust_follows(before, after, &error), KITH_EPERM);
    assert_non_null(strstr(error.message, "older (number "));
    struct kith_trust *none = NULL;
    assert_int_equal(
        kith_trust_new(kith_buf_bytes(&home.cert), kith_bytes_make(NULL, 0), &none, NULL), KITH_OK);
    assert_int_equal(kith_trust_follows(none, after, &error), KITH_EPERM);
    assert_int_equal(kith_trust_follows(after, none, &error), KITH_OK);
    assert_int_equal(kith_trust_follows(trust, after, &error), KITH_OK); /* another authority */
    kith_trust_free(none);
    kith_trust_free(after);
    kith_trust_free(before);
    certs_own_release(&one);
    certs_own_release(&two);
    certs_stop(&home);
}

/* A second copy of the authority's folder makes a list of its own: it is later, or of the same
 * number, and what the first one has revoked is not in it. */
static void test_fork(void **state)
{
    (void)state;
    struct certs home, copy;
    struct certs_own one, two;
    struct kith_error error;
    certs_start(&home, "home");
    certs_issue(&home, KITH_CERT_CLIENT, "anna", 10, 0, &one);
    certs_issue(&home, KITH_CERT_CLIENT, "ben", 10, 0, &two);
    copy = home;
    kith_buf_init(&copy.list);
    kith_buf_put(&copy.list, home.list.data, home.list.size);
    certs_revoke(&home, one.says.serial);
    certs_revoke(&copy, two.says.serial);
    struct kith_trust *first = trust_of(&home), *second = trust_of(&copy);
    assert_int_equal(kith_trust_follows(second, first, &error), KITH_EPERM);
    certs_revoke(&copy, two.says.serial); /* later than the first one's, for certain */
    struct kith_trust *later = trust_of(&copy);
    assert_int_equal(kith_trust_follows(later, first, &error), KITH_EPERM);
    assert_non_null(strstr(error.message, one.says.serial));
    /* the same was revoked in both, at the same time: two lists of one number */
    const char *serials[] = {one.says.serial};
    struct kith_buf lists[2];
    struct kith_trust *trusts[2];
    for (size_t i = 0; i < 2; i++) {
        kith_buf_init(&lists[i]);
        assert_int_equal(kith_authority_revoke(home.authority, kith_buf_bytes(&copy.list), serials,
                                               1, 5, &lists[i], &error),
                         KITH_OK);
        assert_int_equal(kith_trust_new(kith_buf_bytes(&home.cert), kith_buf_bytes(&lists[i]),
                                        &trusts[i], &error),
                         KITH_OK);
    }
    assert_int_equal(kith_trust_follows(trusts[0], trusts[0], &error), KITH_OK);
    assert_int_equal(kith_trust_follows(trusts[1], trusts[0], &error), KITH_EPERM); /* ECDSA */
    assert_non_null(strstr(error.message, "two different lists"));
    /* what has been merged is taken */
    certs_revoke(&copy, one.says.serial);
    struct kith_trust *both = trust_of(&copy);
    assert_int_equal(kith_trust_follows(both, first, &error), KITH_OK);
    assert_int_equal(kith_trust_follows(both, later, &error), KITH_OK);
    for (size_t i = 0; i < 2; i++) {
        kith_trust_free(trusts[i]);
        kith_buf_release(&lists[i]);
    }
    kith_trust_free(first);
    kith_trust_free(second);
    kith_trust_free(later);
    kith_trust_free(both);
    kith_buf_release(&copy.list);
    certs_own_release(&one);
    certs_own_release(&two);
    certs_stop(&home);
}

/* ---- By hand ---- */

struct forged {
    const char *cluster, *san, *usage;
    const char *name;
    int name_size; /* -1: to its NUL */
    bool critical; /* an extension that nobody knows */
};

static X509 *load(const struct kith_buf *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->size);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

static EVP_PKEY *load_key(const struct kith_buf *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->size);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(key);
    return key;
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void add_unknown(X509 *cert)
{
    ASN1_OBJECT *object = OBJ_txt2obj("2.25.1234567890123456789", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05\x00", 2), 1);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, 1, value);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
}

static void forge(const struct forged *like, struct kith_buf *pem)
{
    X509 *issuer = load(&ca.cert), *cert = X509_new();
    EVP_PKEY *signer = load_key(&ca.key), *key = EVP_EC_gen("P-256");
    X509_NAME *name = X509_get_subject_name(cert);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 77);
    ASN1_TIME_set(X509_getm_notBefore(cert), time(NULL) - 60);
    ASN1_TIME_set(X509_getm_notAfter(cert), time(NULL) + 3600);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    X509_set_pubkey(cert, key);
    if (like->cluster) {
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)like->cluster,
                                   -1, -1, 0);
    }
    if (like->name) {
        assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                    (const unsigned char *)like->name,
                                                    like->name_size, -1, 0),
                         1);
    }
    extend(cert, issuer, NID_basic_constraints, "critical,CA:FALSE");
    extend(cert, issuer, NID_key_usage, "critical,digitalSignature");
    extend(cert, issuer, NID_subject_key_identifier, "hash");
    extend(cert, issuer, NID_authority_key_identifier, "keyid:always");
    extend(cert, issuer, NID_ext_key_usage, like->usage ? like->usage : "clientAuth");
    if (like->san) {
        extend(cert, issuer, NID_subject_alt_name, like->san);
    }
    if (like->critical) {
        add_unknown(cert);
    }
    assert_true(X509_sign(cert, signer, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
    long size = BIO_get_mem_data(bio, &data);
    kith_buf_put(pem, data, (size_t)size);
    BIO_free(bio);
    X509_free(issuer);
    X509_free(cert);
    EVP_PKEY_free(signer);
    EVP_PKEY_free(key);
}

#define CLIENT "URI:kithfs:role=client,URI:kithfs:access=read-write,URI:kithfs:volume=all"

/* Signed by our authority, and yet: what is not understood in full is not taken. */
static void test_not_understood(void **state)
{
    (void)state;
    static const struct forged bad[] = {
        {"home", NULL, NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=client", NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:access=read-write", NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:volume=all", NULL, "anna", -1, false},
        {"home", "URI:kithfs:access=read-write,URI:kithfs:volume=all", NULL, "anna", -1, false},
        {"home", CLIENT ",URI:kithfs:quota=1", NULL, "anna", -1, false},
        {"home", CLIENT ",URI:kithfs:", NULL, "anna", -1, false},
        {"home", CLIENT ",URI:http://example.org/", NULL, "anna", -1, false},
        {"home", CLIENT ",email:anna@example.org", NULL, "anna", -1, false},
        {"home", CLIENT ",IP:10.0.0.1", NULL, "anna", -1, false},
        {"home", CLIENT ",DNS:node.kithfs", NULL, "anna", -1, false},
        {"home", CLIENT ",URI:kithfs:volume=00000001", NULL, "anna", -1, false},
        {"home", CLIENT ",URI:kithfs:access=read-only", NULL, "anna", -1, false},
        {"home", CLIENT ",URI:kithfs:role=admin", NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=root,URI:kithfs:access=read-write,URI:kithfs:volume=all", NULL,
         "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:access=none,URI:kithfs:volume=all", NULL,
         "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:access=read-only,URI:kithfs:volume=0000001",
         NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:access=read-only,URI:kithfs:volume=0000000A",
         NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:access=read-only,URI:kithfs:volume=000000010",
         NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=client,URI:kithfs:access=read-only,URI:kithfs:volume=00000000",
         NULL, "anna", -1, false},
        {"home",
         "URI:kithfs:role=client,URI:kithfs:access=read-only,URI:kithfs:volume=00000001,"
         "URI:kithfs:volume=00000001",
         NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=admin,URI:kithfs:volume=all", NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=admin,URI:kithfs:access=read-only", NULL, "anna", -1, false},
        {"home", "URI:kithfs:role=node", "serverAuth,clientAuth", "anna", -1, false},
        {"home", "URI:kithfs:role=node,DNS:example.org", "serverAuth,clientAuth", "anna", -1,
         false},
        {"home", "URI:kithfs:role=node,DNS:node.kithfs", "clientAuth", "anna", -1, false},
        {"home", CLIENT, "serverAuth,clientAuth", "anna", -1, false},
        {"home", CLIENT, "serverAuth", "anna", -1, false},
        {"home", CLIENT, "codeSigning", "anna", -1, false},
        {"other", CLIENT, NULL, "anna", -1, false},
        {NULL, CLIENT, NULL, "anna", -1, false},
        {"home", CLIENT, NULL, NULL, -1, false},
        {"home", CLIENT, NULL, "an\0na", 5, false},
        {"home", CLIENT, NULL, "anna\0", 5, false},
        {"home", CLIENT, NULL, "an\nna", -1, false},
        {"home", CLIENT, NULL, "../anna", -1, false},
        {"home", CLIENT, NULL, "\xc3\xa4nna", -1, false},
        {"home", CLIENT, NULL, "an na", -1, false},
        {"home", CLIENT, NULL, "anna", -1, true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kith_buf pem;
        kith_buf_init(&pem);
        forge(&bad[i], &pem);
        struct kith_cert cert;
        struct kith_error error = {KITH_OK, ""};
        if (kith_trust_check(trust, kith_buf_bytes(&pem), (int64_t)time(NULL), &cert, &error) !=
            KITH_EPERM) {
            fail_msg("case %zu is believed: %s", i, error.message);
        }
        assert_int_equal(error.code, KITH_EPERM);
        kith_buf_release(&pem);
    }
    const struct forged good = {"home", CLIENT, NULL, "anna", -1, false};
    struct kith_buf pem;
    struct kith_cert cert;
    kith_buf_init(&pem);
    forge(&good, &pem); /* the hand is not the reason */
    assert_int_equal(
        kith_trust_check(trust, kith_buf_bytes(&pem), (int64_t)time(NULL), &cert, NULL), KITH_OK);
    kith_buf_release(&pem);
}

/* A client's certificate, used as an authority. */
static void test_under_a_client(void **state)
{
    (void)state;
    struct certs_own own;
    struct kith_authority *authority = NULL;
    struct kith_trust *made = NULL;
    struct kith_error error;
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &own);
    assert_int_equal(kith_authority_open(kith_buf_bytes(&own.cert), kith_buf_bytes(&own.key),
                                         &authority, &error),
                     KITH_EINVAL);
    assert_int_equal(
        kith_trust_new(kith_buf_bytes(&own.cert), kith_bytes_make(NULL, 0), &made, &error),
        KITH_EINVAL);
    certs_own_release(&own);
}

static void test_changed(void **state)
{
    (void)state;
    struct certs_own own;
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &own);
    X509 *cert = load(&own.cert);
    unsigned char *der = NULL;
    int size = i2d_X509(cert, &der);
    X509_free(cert);
    uint32_t sound = 0;
    for (int i = 0; i < size; i++) { /* one bit each; where it still is a certificate */
        der[i] ^= 1;
        const unsigned char *at = der;
        X509 *changed = d2i_X509(NULL, &at, size);
        if (changed) {
            BIO *bio = BIO_new(BIO_s_mem());
            char *data;
            PEM_write_bio_X509(bio, changed);
            long pem_size = BIO_get_mem_data(bio, &data);
            struct kith_cert said;
            struct kith_error error;
            enum kith_err err = kith_trust_check(trust, kith_bytes_make(data, (size_t)pem_size),
                                                 (int64_t)time(NULL), &said, &error);
            /* a bit of how the signature or a length is written may mean the same */
            assert_true(err == KITH_EPERM || err == KITH_EFORMAT);
            sound++;
            BIO_free(bio);
            X509_free(changed);
        }
        der[i] ^= 1;
    }
    assert_true(sound > 100);
    OPENSSL_free(der);
    certs_own_release(&own);
}

static void test_bad_text(void **state)
{
    (void)state;
    struct certs_own own;
    struct kith_cert cert;
    struct kith_error error;
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &own);
    for (size_t size = 0; size + 2 < own.cert.size;
         size++) { /* the last line feed may be missing */
        enum kith_err err = kith_trust_check(trust, kith_bytes_make(own.cert.data, size),
                                             (int64_t)time(NULL), &cert, &error);
        assert_int_equal(err, KITH_EFORMAT);
        assert_int_equal(kith_cert_read(kith_bytes_make(own.cert.data, size), &cert, NULL),
                         KITH_EFORMAT);
    }
    assert_int_equal(kith_cert_read(kith_buf_bytes(&own.cert), &cert, NULL), KITH_OK);
    assert_int_equal(kith_cert_read(kith_buf_bytes(&ca.cert), &cert, &error), KITH_EFORMAT);
    assert_non_null(strstr(error.message, "names no holder"));
    uint8_t *large = kith_calloc(1, KITH_CERT_PEM_MAX + 1);
    assert_non_null(large);
    refused(trust, kith_bytes_make(large, KITH_CERT_PEM_MAX + 1), 0, KITH_ETOOBIG, "limit");
    refused(trust, kith_bytes_make(large, KITH_CERT_PEM_MAX), 0, KITH_EFORMAT, "no certificate");
    kith_free(large);
    struct kith_trust *made = NULL;
    for (size_t size = 0; size + 2 < ca.cert.size; size += 7) {
        enum kith_err err = kith_trust_new(kith_bytes_make(ca.cert.data, size),
                                           kith_bytes_make(NULL, 0), &made, &error);
        assert_true(err == KITH_EFORMAT || err == KITH_EINVAL);
    }
    for (size_t size = 1; size + 2 < ca.list.size; size += 7) {
        assert_int_equal(kith_trust_new(kith_buf_bytes(&ca.cert),
                                        kith_bytes_make(ca.list.data, size), &made, &error),
                         KITH_EFORMAT);
    }
    assert_null(made);
    certs_own_release(&own);
}

static void test_cluster(void **state)
{
    (void)state;
    struct certs_own own;
    char cluster[KITH_CERT_NAME_SIZE] = "x";
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &own);
    assert_int_equal(kith_cert_cluster(kith_buf_bytes(&own.cert), cluster, NULL), KITH_EFORMAT);
    assert_int_equal(kith_cert_cluster(kith_bytes_make("x", 1), cluster, NULL), KITH_EFORMAT);
    assert_string_equal(cluster, "x");
    assert_int_equal(kith_cert_cluster(kith_buf_bytes(&ca.cert), cluster, NULL), KITH_OK);
    assert_string_equal(cluster, "home");
    certs_own_release(&own);
}

static void test_match(void **state)
{
    (void)state;
    struct certs_own one, two;
    struct kith_error error;
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &one);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &two);
    assert_int_equal(kith_cert_match(kith_buf_bytes(&one.cert), kith_buf_bytes(&two.key), &error),
                     KITH_EINVAL);
    assert_int_equal(kith_cert_match(kith_buf_bytes(&one.cert), kith_buf_bytes(&one.cert), &error),
                     KITH_EFORMAT);
    assert_int_equal(kith_cert_match(kith_buf_bytes(&one.key), kith_buf_bytes(&one.key), &error),
                     KITH_EFORMAT);
    for (size_t size = 0; size + 2 < one.key.size; size++) {
        assert_int_equal(
            kith_cert_match(kith_buf_bytes(&one.cert), kith_bytes_make(one.key.data, size), NULL),
            KITH_EFORMAT);
    }
    certs_own_release(&one);
    certs_own_release(&two);
}

/* A list counts only with the signature of an authority that is trusted. */
static void test_others_list(void **state)
{
    (void)state;
    struct certs other;
    struct kith_trust *made = NULL;
    struct kith_error error;
    certs_start(&other, "home");
    assert_int_equal(
        kith_trust_new(kith_buf_bytes(&ca.cert), kith_buf_bytes(&other.list), &made, &error),
        KITH_EPERM);
    assert_null(made);
    certs_stop(&other);
}

static void test_names(void **state)
{
    (void)state;
    char name[KITH_CERT_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[KITH_CERT_NAME_MAX] = '\0';
    assert_true(kith_cert_name_fits(name));
    name[KITH_CERT_NAME_MAX] = 'x';
    name[KITH_CERT_NAME_MAX + 1] = '\0';
    assert_false(kith_cert_name_fits(name));
    static const char *const good[] = {"a", "oak-1.example.org", "anna@mars", "_x", "9"};
    static const char *const bad[] = {"",    ".",   "..",   "-a",  "a/b",
                                      "a b", "a\n", "\xff", "a,b", "a=b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(kith_cert_name_fits(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(kith_cert_name_fits(bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),          cmocka_unit_test(test_confined),
        cmocka_unit_test(test_times),          cmocka_unit_test(test_other_authority),
        cmocka_unit_test(test_fork),           cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_not_understood), cmocka_unit_test(test_under_a_client),
        cmocka_unit_test(test_changed),        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_match),          cmocka_unit_test(test_others_list),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_cluster),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
