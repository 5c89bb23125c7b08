/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * trust.c - whether a certificate is to be believed: see cert.h. */
#include <ctype.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "tls/cert_impl.h"

#define LEVEL_BITS_112 2 /* OpenSSL's security level: no RSA below 2048 bits, no SHA-1 */

struct list {
    X509_CRL *crl;
    X509 *signer; /* one of authorities */
    uint64_t number;
};

struct kith_trust {
    X509_STORE *store; /* the authorities */
    uint32_t count, list_count;
    X509 *authorities[KITH_CERT_AUTHORITIES_MAX];
    struct list lists[KITH_CERT_AUTHORITIES_MAX]; /* one for each at most: the latest */
};

void kith_trust_free(struct kith_trust *trust)
{
    if (!trust) {
        return;
    }
    for (uint32_t i = 0; i < trust->list_count; i++) {
        X509_CRL_free(trust->lists[i].crl);
    }
    for (uint32_t i = 0; i < trust->count; i++) {
        X509_free(trust->authorities[i]);
    }
    X509_STORE_free(trust->store);
    kith_free(trust);
}

/* Whether reading ended because there is nothing more. */
static bool at_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (end) {
        ERR_clear_error();
    }
    return end;
}

static enum kith_err unreadable(const char *what, struct kith_error *error)
{
    char reason[128];
    cert_openssl_text(reason, sizeof reason);
    return kith_error_set(error, KITH_EFORMAT, "%s: %s", what, reason);
}

/* Takes the certificate over. */
static enum kith_err add_authority(struct kith_trust *trust, X509 *cert, struct kith_error *error)
{
    char cluster[KITH_CERT_NAME_SIZE];
    enum kith_err err = KITH_OK;
    if (trust->count == KITH_CERT_AUTHORITIES_MAX) {
        err = kith_error_set(error, KITH_ELIMIT, "more than %u authorities",
                             KITH_CERT_AUTHORITIES_MAX);
    } else if (X509_check_ca(cert) != 1 ||
               !cert_name_text(X509_get_subject_name(cert), NID_organizationName, cluster,
                               sizeof cluster)) {
        ERR_clear_error();
        err = kith_error_set(error, KITH_EINVAL,
                             "a certificate among the authorities' is no kithfs authority's");
    } else if (X509_STORE_add_cert(trust->store, cert) != 1) {
        err = unreadable("authorities", error);
    }
    if (err != KITH_OK) {
        X509_free(cert);
        return err;
    }
    trust->authorities[trust->count++] = cert;
    return KITH_OK;
}

static enum kith_err add_authorities(struct kith_trust *trust, struct kith_bytes pem,
                                     struct kith_error *error)
{
    if (pem.size > KITH_CERT_PEM_MAX) {
        return kith_error_set(error, KITH_ETOOBIG,
                              "authorities: %zu bytes are above the limit of %u", pem.size,
                              KITH_CERT_PEM_MAX);
    }
    BIO *bio = cert_bio(pem);
    enum kith_err err = bio ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
    while (err == KITH_OK) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!cert) {
            err = at_end() ? KITH_OK : unreadable("authorities", error);
            break;
        }
        err = add_authority(trust, cert, error);
    }
    BIO_free(bio);
    if (err == KITH_OK && trust->count == 0) {
        err = kith_error_set(error, KITH_EINVAL, "there is no authority's certificate in it");
    }
    return err;
}

/* ---- Lists of what is revoked ---- */

/* Its number; false: none, or something in it must be understood that is not. */
static bool list_plain(const X509_CRL *crl, uint64_t *ret_number)
{
    for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
        if (X509_EXTENSION_get_critical(X509_CRL_get_ext(crl, i))) {
            return false;
        }
    }
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    bool good = number && ASN1_INTEGER_get_uint64(ret_number, number) == 1;
    ASN1_INTEGER_free(number);
    ERR_clear_error();
    return good;
}

static X509 *signer_of(const struct kith_trust *trust, X509_CRL *crl)
{
    for (uint32_t i = 0; i < trust->count; i++) {
        X509 *cert = trust->authorities[i];
        EVP_PKEY *key = X509_get0_pubkey(cert);
        if (key && X509_NAME_cmp(X509_get_subject_name(cert), X509_CRL_get_issuer(crl)) == 0 &&
            X509_CRL_verify(crl, key) == 1) {
            return cert;
        }
    }
    ERR_clear_error();
    return NULL;
}

/* Takes the list over. */
static enum kith_err add_list(struct kith_trust *trust, X509_CRL *crl, struct kith_error *error)
{
    uint64_t number = 0;
    X509 *signer = signer_of(trust, crl);
    enum kith_err err = KITH_OK;
    if (!signer) {
        err = kith_error_set(error, KITH_EPERM,
                             "a list of revoked certificates is not signed by a trusted authority");
    } else if (!list_plain(crl, &number)) {
        err = kith_error_set(error, KITH_EFORMAT,
                             "a list of revoked certificates is of a kind that is not known here");
    }
    uint32_t at = 0;
    while (at < trust->list_count && trust->lists[at].signer != signer) {
        at++;
    }
    if (err != KITH_OK || (at < trust->list_count && trust->lists[at].number >= number)) {
        X509_CRL_free(crl);
        return err;
    }
    if (at < trust->list_count) {
        X509_CRL_free(trust->lists[at].crl);
    } else {
        trust->list_count++;
    }
    trust->lists[at] = (struct list){crl, signer, number};
    return KITH_OK;
}

static enum kith_err add_lists(struct kith_trust *trust, struct kith_bytes pem,
                               struct kith_error *error)
{
    if (pem.size > KITH_CRL_PEM_MAX) {
        return kith_error_set(error, KITH_ETOOBIG,
                              "list of revoked certificates: %zu bytes are above the limit of %u",
                              pem.size, KITH_CRL_PEM_MAX);
    }
    uint32_t count = 0;
    BIO *bio = cert_bio(pem);
    enum kith_err err = bio ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
    while (err == KITH_OK) {
        X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
        if (!crl) {
            err = at_end() ? KITH_OK : unreadable("list of revoked certificates", error);
            break;
        }
        count++;
        err = add_list(trust, crl, error);
    }
    BIO_free(bio);
    if (err == KITH_OK && pem.size > 0 && count == 0) {
        err = kith_error_set(error, KITH_EFORMAT, "there is no list of revoked certificates in it");
    }
    return err;
}

enum kith_err kith_trust_new(struct kith_bytes ca_pem, struct kith_bytes crl_pem,
                             struct kith_trust **ret_trust, struct kith_error *error)
{
    struct kith_trust *trust = kith_calloc(1, sizeof *trust);
    if (trust) {
        trust->store = X509_STORE_new();
    }
    if (!trust || !trust->store) {
        kith_trust_free(trust);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    enum kith_err err = add_authorities(trust, ca_pem, error);
    if (err == KITH_OK) {
        err = add_lists(trust, crl_pem, error);
    }
    if (err != KITH_OK) {
        kith_trust_free(trust);
        return err;
    }
    *ret_trust = trust;
    return KITH_OK;
}

/* The serial number that `older` revokes and `newer` does not, as text; false: there is none. */
static bool misses(X509_CRL *newer, X509_CRL *older, char text[KITH_CERT_SERIAL_SIZE])
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(older);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) { /* -1 where there are none */
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);
        const ASN1_INTEGER *serial = X509_REVOKED_get0_serialNumber(entry);
        X509_REVOKED *there = NULL;
        if (X509_CRL_get0_by_serial(newer, &there, (ASN1_INTEGER *)(uintptr_t)serial) == 0) {
            BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
            char *hex = number ? BN_bn2hex(number) : NULL;
            for (size_t k = 0; hex && hex[k] != '\0'; k++) {
                hex[k] = (char)tolower((unsigned char)hex[k]);
            }
            (void)snprintf(text, KITH_CERT_SERIAL_SIZE, "%s", hex ? hex : "?");
            OPENSSL_free(hex);
            BN_free(number);
            return true;
        }
    }
    return false;
}

static const struct list *list_by(const struct kith_trust *trust, const X509 *signer)
{
    for (uint32_t i = 0; i < trust->list_count; i++) {
        if (X509_cmp(trust->lists[i].signer, signer) == 0) {
            return &trust->lists[i];
        }
    }
    return NULL;
}

enum kith_err kith_trust_follows(const struct kith_trust *newer, const struct kith_trust *older,
                                 struct kith_error *error)
{
    for (uint32_t i = 0; i < older->list_count; i++) {
        const struct list *list = &older->lists[i], *next = list_by(newer, list->signer);
        char serial[KITH_CERT_SERIAL_SIZE];
        bool trusted = false;
        for (uint32_t k = 0; k < newer->count; k++) {
            trusted = trusted || X509_cmp(newer->authorities[k], list->signer) == 0;
        }
        uint64_t number = next ? next->number : 0;
        if (trusted && number < list->number) {
            return kith_error_set(
                error, KITH_EPERM,
                "the list of revoked certificates is older (number %llu) than the "
                "one in use (%llu)",
                (unsigned long long)number, (unsigned long long)list->number);
        }
        if (trusted && next && misses(next->crl, list->crl, serial)) {
            return kith_error_set(
                error, KITH_EPERM,
                "the list of revoked certificates does not revoke %s, as the one in use does: it "
                "comes from another copy of the authority's folder; revoke that one there, too "
                "('kithctl cert revoke')",
                serial);
        }
        if (trusted && next && number == list->number &&
            X509_CRL_match(next->crl, list->crl) != 0) {
            return kith_error_set(error, KITH_EPERM,
                                  "there are two different lists of revoked certificates of the "
                                  "number %llu: the next 'kithctl cert revoke' makes a later one",
                                  (unsigned long long)number);
        }
    }
    return KITH_OK;
}

/* ---- The check ---- */

/* Whose it says that it is, for messages: no more than characters of a name. */
static void holder_text(const X509 *cert, char *text, size_t size)
{
    char name[KITH_CERT_NAME_SIZE];
    bool known = cert_name_text(X509_get_subject_name(cert), NID_commonName, name, sizeof name) &&
                 kith_cert_name_fits(name);
    (void)snprintf(text, size, "the certificate of %s%s%s", known ? "'" : "",
                   known ? name : "nobody", known ? "'" : "");
}

static void time_text(const ASN1_TIME *time, char text[32])
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1 || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        (void)snprintf(text, 32, "an unknown time");
    }
}

/* Why OpenSSL did not believe it. */
static enum kith_err refuse(X509_STORE_CTX *ctx, const X509 *cert, const char *holder,
                            struct kith_error *error)
{
    int reason = X509_STORE_CTX_get_error(ctx);
    const X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    const char *whose = at && at != cert && X509_STORE_CTX_get_error_depth(ctx) > 0
                            ? "the cluster's authority's certificate"
                            : holder;
    char when[32];
    switch (reason) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        time_text(X509_get0_notAfter(at ? at : cert), when);
        return kith_error_set(
            error, KITH_EPERM,
            "%s expired at %s: issue a new one with 'kithctl cert', or look at the "
            "clock of this machine",
            whose, when);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        time_text(X509_get0_notBefore(at ? at : cert), when);
        return kith_error_set(
            error, KITH_EPERM,
            "%s is valid from %s on: look at the clocks of this machine and of the "
            "one where it was issued",
            whose, when);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return kith_error_set(error, KITH_EPERM, "%s was not signed by this cluster's authority",
                              holder);
    default:
        return kith_error_set(error, KITH_EPERM, "%s is not to be trusted: %s", whose,
                              X509_verify_cert_error_string(reason));
    }
}

/* The authority that signed it; NULL with an error: it is not to be believed. */
static X509 *verify(const struct kith_trust *trust, X509 *cert, int64_t now_s, const char *holder,
                    enum kith_err *ret_err, struct kith_error *error)
{
    X509 *signer = NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || X509_STORE_CTX_init(ctx, trust->store, cert, NULL) != 1) {
        *ret_err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        X509_STORE_CTX_free(ctx);
        ERR_clear_error();
        return NULL;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_depth(param, 0); /* authorities that are between are not ours */
    X509_VERIFY_PARAM_set_auth_level(param, LEVEL_BITS_112);
    (void)X509_VERIFY_PARAM_set_flags(param,
                                      X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    (void)X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT); /* nodes are that, too */
    if (X509_verify_cert(ctx) != 1) {
        *ret_err = refuse(ctx, cert, holder, error);
    } else {
        STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
        X509 *last = sk_X509_num(chain) == 2 ? sk_X509_value(chain, 1) : NULL;
        for (uint32_t i = 0; last && i < trust->count; i++) {
            signer = X509_cmp(trust->authorities[i], last) == 0 ? trust->authorities[i] : signer;
        }
        if (!signer) { /* an authority's own, which is nobody's to show */
            *ret_err = kith_error_set(error, KITH_EPERM, "%s is an authority's own", holder);
        }
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return signer;
}

static bool is_revoked(const struct kith_trust *trust, X509 *cert, const X509 *signer)
{
    for (uint32_t i = 0; i < trust->list_count; i++) {
        X509_REVOKED *entry = NULL;
        if (trust->lists[i].signer == signer &&
            X509_CRL_get0_by_cert(trust->lists[i].crl, &entry, cert) != 0) {
            return true;
        }
    }
    return false;
}

bool kith_trust_revokes(const struct kith_trust *trust, const char *serial)
{
    bool revoked = false;
    ASN1_INTEGER *number = cert_serial_parse(serial);
    for (uint32_t i = 0; number && i < trust->list_count; i++) {
        X509_REVOKED *entry = NULL;
        revoked = revoked || X509_CRL_get0_by_serial(trust->lists[i].crl, &entry, number) != 0;
    }
    ASN1_INTEGER_free(number);
    return revoked;
}

/* What the signed certificate says must fit its authority and its role. */
static enum kith_err check_said(X509 *cert, const X509 *signer, const struct kith_cert *said,
                                const char *holder, struct kith_error *error)
{
    char cluster[KITH_CERT_NAME_SIZE];
    if (!cert_name_text(X509_get_subject_name(signer), NID_organizationName, cluster,
                        sizeof cluster) ||
        strcmp(cluster, said->cluster) != 0) {
        return kith_error_set(error, KITH_EPERM, "%s is for another cluster than its authority",
                              holder);
    }
    bool server = X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0) == 1;
    if (server != (said->grant.role == KITH_CERT_NODE)) {
        return kith_error_set(error, KITH_EPERM, "%s says %s, and its key usage does not fit that",
                              holder, kith_cert_role_name(said->grant.role));
    }
    return KITH_OK;
}

enum kith_err kith_trust_check(const struct kith_trust *trust, struct kith_bytes pem, int64_t now_s,
                               struct kith_cert *ret_cert, struct kith_error *error)
{
    X509 *cert = NULL;
    struct kith_cert said;
    char holder[KITH_CERT_NAME_SIZE + 32];
    enum kith_err err = cert_load(pem, "the peer's certificate", &cert, error);
    if (err != KITH_OK) {
        return err;
    }
    holder_text(cert, holder, sizeof holder);
    X509 *signer = verify(trust, cert, now_s, holder, &err, error);
    if (signer && is_revoked(trust, cert, signer)) {
        err = kith_error_set(error, KITH_EPERM, "%s has been revoked", holder);
    } else if (signer) {
        err = cert_understand(cert, &said, error);
        if (err != KITH_OK) {
            err = KITH_EPERM; /* a signed one: it is sound, but limits what is not known here */
            (void)kith_error_wrap(error, "%s", holder);
            if (error) {
                error->code = err;
            }
        } else {
            err = check_said(cert, signer, &said, holder, error);
        }
    }
    X509_free(cert);
    ERR_clear_error();
    if (err == KITH_OK) {
        *ret_cert = said;
    }
    return err;
}
