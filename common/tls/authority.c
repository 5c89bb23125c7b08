/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/authority.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "tls/cert_impl.h"

#define SERIAL_BITS 127 /* random; the number is positive, and at most 20 bytes in DER */
#define DAY_S       86400
#define KEY_BITS_MIN 112 /* of trust.c: OpenSSL's security level 2 */
#define CURVE       "P-256"
/* characters of all names of a certificate */
#define SAN_SIZE (64u + KITH_CERT_VOLUMES_MAX * 32u)

struct kith_authority {
    X509 *cert;
    EVP_PKEY *key;
    char cluster[KITH_CERT_NAME_SIZE];
};

static enum kith_err openssl_failed(const char *doing, struct kith_error *error)
{
    char reason[128];
    cert_openssl_text(reason, sizeof reason);
    return kith_error_set(error, KITH_EIO, "cannot %s: %s", doing, reason);
}

/* ---- Parts of a certificate ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool good = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    /* the top bit is set: all are of one length */
    bool good = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return good;
}

static bool set_times(X509 *cert, int64_t from_s, int64_t to_s)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to_s) != NULL;
}

static enum kith_err append_key(EVP_PKEY *key, struct kith_buf *out, struct kith_error *error)
{
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when it is freed */
    enum kith_err err =
        bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1
            ? cert_bio_take(bio, out, error)
            : openssl_failed("write a key", error);
    BIO_free(bio);
    return err;
}

static enum kith_err append_cert(X509 *cert, struct kith_buf *out, struct kith_error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    enum kith_err err = bio && PEM_write_bio_X509(bio, cert) == 1
                            ? cert_bio_take(bio, out, error)
                            : openssl_failed("write a certificate", error);
    BIO_free(bio);
    return err;
}

/* ---- An authority ---- */

static bool build_authority(X509 *cert, EVP_PKEY *key, const char *cluster, int64_t from_s,
                            int64_t to_s)
{
    char title[KITH_CERT_NAME_SIZE + 16];
    X509_NAME *name = X509_get_subject_name(cert);
    /* the name in full would be too long for the field where the cluster's is as long as may be */
    (void)snprintf(title, sizeof title, "kithfs authority");
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           set_times(cert, from_s, to_s) && add_name(name, "O", cluster) &&
           add_name(name, "CN", title) && X509_set_issuer_name(cert, name) == 1 &&
           X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

enum kith_err kith_authority_make(const char *cluster, uint32_t days, int64_t now_s,
                                  struct kith_buf *key_pem, struct kith_buf *cert_pem,
                                  struct kith_error *error)
{
    if (!kith_cert_name_fits(cluster)) {
        return kith_error_set(error, KITH_EINVAL,
                              "a cluster's name has 1 to %u letters, digits and . _ - @",
                              KITH_CERT_NAME_MAX);
    }
    if (days < 1 || days > KITH_CERT_DAYS_MAX) {
        return kith_error_set(error, KITH_EINVAL, "an authority is valid for 1 to %u days",
                              KITH_CERT_DAYS_MAX);
    }
    EVP_PKEY *key = EVP_EC_gen(CURVE);
    X509 *cert = X509_new();
    enum kith_err err = KITH_OK;
    if (!key || !cert ||
        !build_authority(cert, key, cluster, now_s - KITH_CERT_BACKDATE_S,
                         now_s + (int64_t)days * DAY_S)) {
        err = openssl_failed("make an authority", error);
    } else {
        err = append_key(key, key_pem, error);
    }
    if (err == KITH_OK) {
        err = append_cert(cert, cert_pem, error);
    }
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

enum kith_err kith_authority_open(struct kith_bytes cert_pem, struct kith_bytes key_pem,
                                  struct kith_authority **ret_authority, struct kith_error *error)
{
    struct kith_authority *made = kith_calloc(1, sizeof *made);
    if (!made) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    enum kith_err err = cert_load(cert_pem, "the authority's certificate", &made->cert, error);
    if (err == KITH_OK) {
        err = cert_load_key(key_pem, "the authority's key", &made->key, error);
    }
    if (err == KITH_OK && (X509_check_ca(made->cert) != 1 ||
                           !cert_name_text(X509_get_subject_name(made->cert), NID_organizationName,
                                           made->cluster, sizeof made->cluster) ||
                           !kith_cert_name_fits(made->cluster))) {
        err = kith_error_set(error, KITH_EINVAL, "the certificate is no kithfs authority's");
    }
    if (err == KITH_OK && X509_check_private_key(made->cert, made->key) != 1) {
        err = kith_error_set(error, KITH_EINVAL,
                             "the key is not that of the authority's certificate");
    }
    ERR_clear_error();
    if (err != KITH_OK) {
        kith_authority_free(made);
        return err;
    }
    *ret_authority = made;
    return KITH_OK;
}

void kith_authority_free(struct kith_authority *authority)
{
    if (authority) {
        X509_free(authority->cert);
        EVP_PKEY_free(authority->key);
        kith_free(authority);
    }
}

const char *kith_authority_cluster(const struct kith_authority *authority)
{
    return authority->cluster;
}

/* ---- Certificates ---- */

static enum kith_err check_grant(const struct kith_cert_grant *grant, struct kith_error *error)
{
    bool client = grant->role == KITH_CERT_CLIENT;
    if (!client && grant->role != KITH_CERT_NODE && grant->role != KITH_CERT_ADMIN) {
        return kith_error_set(error, KITH_EINVAL,
                              "a certificate is a node's, an admin's or a client's");
    }
    if (!kith_cert_name_fits(grant->name)) {
        return kith_error_set(error, KITH_EINVAL,
                              "a holder's name has 1 to %u letters, digits and . _ - @, and begins "
                              "with none of . -",
                              KITH_CERT_NAME_MAX);
    }
    if (!client && (grant->read_only || !grant->all_volumes || grant->volume_count > 0)) {
        return kith_error_set(
            error, KITH_EINVAL,
            "only a client's certificate can be confined to volumes or to reading");
    }
    if (client && grant->all_volumes == (grant->volume_count > 0)) {
        return kith_error_set(error, KITH_EINVAL, "a client's certificate names volumes, or all");
    }
    if (grant->volume_count > KITH_CERT_VOLUMES_MAX) {
        return kith_error_set(error, KITH_EINVAL, "a certificate names at most %u volumes",
                              KITH_CERT_VOLUMES_MAX);
    }
    for (uint32_t i = 0; i < grant->volume_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (grant->volumes[k] == grant->volumes[i]) {
                return kith_error_set(error, KITH_EINVAL, "volume %u is named twice",
                                      grant->volumes[i]);
            }
        }
        if (grant->volumes[i] == 0) {
            return kith_error_set(error, KITH_EINVAL, "there is no volume 0");
        }
    }
    return KITH_OK;
}

/* subjectAltName as OpenSSL takes it. */
static void san_text(const struct kith_cert_grant *grant, char text[SAN_SIZE])
{
    size_t at = (size_t)snprintf(text, SAN_SIZE, "URI:" CERT_URI "role=%s",
                                 kith_cert_role_name(grant->role));
    if (grant->role == KITH_CERT_NODE) {
        at += (size_t)snprintf(text + at, SAN_SIZE - at, ",DNS:" KITH_CERT_DNS);
    }
    if (grant->role != KITH_CERT_CLIENT) {
        return;
    }
    at += (size_t)snprintf(text + at, SAN_SIZE - at, ",URI:" CERT_URI "access=%s",
                           grant->read_only ? "read-only" : "read-write");
    if (grant->all_volumes) {
        at += (size_t)snprintf(text + at, SAN_SIZE - at, ",URI:" CERT_URI "volume=all");
    }
    for (uint32_t i = 0; i < grant->volume_count; i++) {
        at += (size_t)snprintf(text + at, SAN_SIZE - at, ",URI:" CERT_URI "volume=%08x",
                               grant->volumes[i]);
    }
    KITH_ASSERT(at < SAN_SIZE);
}

static bool build_cert(const struct kith_authority *authority, X509 *cert, EVP_PKEY *key,
                       const struct kith_cert_grant *grant, int64_t from_s, int64_t to_s)
{
    char names[SAN_SIZE];
    X509_NAME *name = X509_get_subject_name(cert);
    X509 *issuer = authority->cert;
    san_text(grant, names);
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           set_times(cert, from_s, to_s) && add_name(name, "O", authority->cluster) &&
           add_name(name, "CN", grant->name) &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, issuer, NID_ext_key_usage,
                         grant->role == KITH_CERT_NODE ? "serverAuth,clientAuth" : "clientAuth") &&
           add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(cert, issuer, NID_authority_key_identifier, "keyid:always") &&
           add_extension(cert, issuer, NID_subject_alt_name, names) &&
           X509_sign(cert, authority->key, EVP_sha256()) > 0;
}

/* Whole days from now that the authority has left, less the present second. */
static int64_t days_left(const struct kith_authority *authority, int64_t now_s)
{
    int days = 0, seconds = 0;
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)now_s);
    bool good =
        now && ASN1_TIME_diff(&days, &seconds, now, X509_get0_notAfter(authority->cert)) == 1;
    ASN1_TIME_free(now);
    return good && days >= 0 && seconds >= 0 ? days : 0;
}

enum kith_err kith_authority_issue(const struct kith_authority *authority,
                                   const struct kith_cert_grant *grant, uint32_t days,
                                   int64_t now_s, struct kith_bytes old_key_pem,
                                   struct kith_buf *key_pem, struct kith_buf *cert_pem,
                                   struct kith_cert *ret_cert, struct kith_error *error)
{
    enum kith_err err = check_grant(grant, error);
    int64_t most = days_left(authority, now_s);
    if (err == KITH_OK && (days < 1 || days > most)) {
        err =
            kith_error_set(error, KITH_EINVAL,
                           "a certificate is valid for 1 to %lld days, as long as its authority is",
                           (long long)most);
    }
    EVP_PKEY *key = NULL;
    if (err == KITH_OK && old_key_pem.size > 0) {
        err = cert_load_key(old_key_pem, "the key", &key, error);
        if (err == KITH_OK && EVP_PKEY_get_security_bits(key) < KEY_BITS_MIN) {
            err =
                kith_error_set(error, KITH_EINVAL,
                               "the key is too weak (%d bits of security; nodes want %d): issue a "
                               "certificate with a new one, with another --out",
                               EVP_PKEY_get_security_bits(key), KEY_BITS_MIN);
        }
    } else if (err == KITH_OK) {
        key = EVP_EC_gen(CURVE);
        err = key ? append_key(key, key_pem, error) : openssl_failed("make a key", error);
    }
    X509 *cert = err == KITH_OK ? X509_new() : NULL;
    if (err == KITH_OK &&
        (!cert || !build_cert(authority, cert, key, grant, now_s - KITH_CERT_BACKDATE_S,
                              now_s + (int64_t)days * DAY_S))) {
        err = openssl_failed("make a certificate", error);
    }
    if (err == KITH_OK) {
        err = cert_understand(cert, ret_cert, error); /* what is signed is what was asked */
    }
    if (err == KITH_OK) {
        err = append_cert(cert, cert_pem, error);
    }
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

/* ---- Lists ---- */

/* NULL in *ret_list: the text is empty. */
static enum kith_err load_list(const struct kith_authority *authority, struct kith_bytes pem,
                               X509_CRL **ret_list, struct kith_error *error)
{
    *ret_list = NULL;
    if (pem.size == 0) {
        return KITH_OK;
    }
    if (pem.size > KITH_CRL_PEM_MAX) {
        return kith_error_set(error, KITH_ETOOBIG, "the list of revoked certificates is too large");
    }
    BIO *bio = cert_bio(pem);
    X509_CRL *list = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!list) {
        char reason[128];
        cert_openssl_text(reason, sizeof reason);
        return kith_error_set(error, KITH_EFORMAT,
                              "the list of revoked certificates cannot be read (%s)", reason);
    }
    if (X509_CRL_verify(list, authority->key) != 1) {
        ERR_clear_error();
        X509_CRL_free(list);
        return kith_error_set(error, KITH_EPERM,
                              "the list of revoked certificates is not this authority's");
    }
    *ret_list = list;
    return KITH_OK;
}

static bool add_revoked(X509_CRL *list, ASN1_INTEGER *serial, int64_t now_s)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)now_s);
    bool good = entry && when && X509_REVOKED_set_serialNumber(entry, serial) == 1 &&
                X509_REVOKED_set_revocationDate(entry, when) == 1 &&
                X509_CRL_add0_revoked(list, entry) == 1;
    ASN1_TIME_free(when);
    if (!good) {
        X509_REVOKED_free(entry);
    }
    return good;
}

static bool copy_revoked(X509_CRL *list, X509_CRL *old)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(old);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) { /* -1 where there are none */
        X509_REVOKED *copy = X509_REVOKED_dup(sk_X509_REVOKED_value(entries, i));
        if (!copy || X509_CRL_add0_revoked(list, copy) != 1) {
            X509_REVOKED_free(copy);
            return false;
        }
    }
    return true;
}

/* Everything but what is revoked newly. */
static bool build_list(const struct kith_authority *authority, X509_CRL *list, X509_CRL *old,
                       int64_t now_s)
{
    uint64_t number = 0;
    ASN1_INTEGER *last = old ? X509_CRL_get_ext_d2i(old, NID_crl_number, NULL, NULL) : NULL;
    bool good = !old || (last && ASN1_INTEGER_get_uint64(&number, last) == 1);
    ASN1_INTEGER_free(last);
    /* the time, so that two copies of one authority do not give one number to two lists for long */
    number = now_s > 0 && number < (uint64_t)now_s ? (uint64_t)now_s : number + 1;
    ASN1_INTEGER *next = ASN1_INTEGER_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)now_s);
    good = good && next && now && ASN1_INTEGER_set_uint64(next, number) == 1 &&
           X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
           X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->cert)) == 1 &&
           X509_CRL_set1_lastUpdate(list, now) == 1 &&
           X509_CRL_set1_nextUpdate(list, X509_get0_notAfter(authority->cert)) == 1 &&
           X509_CRL_add1_ext_i2d(list, NID_crl_number, next, 0, 0) == 1 &&
           (!old || copy_revoked(list, old));
    ASN1_TIME_free(now);
    ASN1_INTEGER_free(next);
    return good;
}

static enum kith_err finish_list(const struct kith_authority *authority, X509_CRL *list,
                                 struct kith_buf *out, struct kith_error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    enum kith_err err = bio && X509_CRL_sort(list) == 1 &&
                                X509_CRL_sign(list, authority->key, EVP_sha256()) > 0 &&
                                PEM_write_bio_X509_CRL(bio, list) == 1
                            ? cert_bio_take(bio, out, error)
                            : openssl_failed("make a list of revoked certificates", error);
    BIO_free(bio);
    return err;
}

enum kith_err kith_authority_revoke(const struct kith_authority *authority,
                                    struct kith_bytes old_list_pem, const char *const serials[],
                                    uint32_t count, int64_t now_s, struct kith_buf *list_pem,
                                    struct kith_error *error)
{
    X509_CRL *old = NULL;
    enum kith_err err = load_list(authority, old_list_pem, &old, error);
    if (err != KITH_OK) {
        return err;
    }
    X509_CRL *list = X509_CRL_new();
    if (!list || !build_list(authority, list, old, now_s)) {
        err = openssl_failed("make a list of revoked certificates", error);
    }
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        X509_REVOKED *there = NULL;
        ASN1_INTEGER *serial = cert_serial_parse(serials[i]);
        if (!serial) {
            err = kith_error_set(error, KITH_EINVAL, "'%.64s' is no serial number", serials[i]);
        } else if (old && X509_CRL_get0_by_serial(old, &there, serial) != 0) {
            /* it is in the list already */
        } else if (!add_revoked(list, serial, now_s)) {
            err = openssl_failed("revoke a certificate", error);
        }
        ASN1_INTEGER_free(serial);
    }
    if (err == KITH_OK) {
        err = finish_list(authority, list, list_pem, error);
    }
    ERR_clear_error();
    X509_CRL_free(list);
    X509_CRL_free(old);
    return err;
}
