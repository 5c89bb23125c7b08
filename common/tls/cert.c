/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/cert.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "tls/cert_impl.h"

#define URI_MAX 64u /* bytes of a name of ours; all that are known are shorter */

/* ---- Words ---- */

const char *kith_cert_role_name(enum kith_cert_role role)
{
    switch (role) {
    case KITH_CERT_NODE:
        return "node";
    case KITH_CERT_ADMIN:
        return "admin";
    case KITH_CERT_CLIENT:
        return "client";
    }
    return "unknown";
}

bool kith_cert_name_fits(const char *name)
{
    size_t size = strnlen(name, KITH_CERT_NAME_SIZE);
    if (size == 0 || size > KITH_CERT_NAME_MAX || name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-' || c == '@')) {
            return false;
        }
    }
    return true;
}

bool kith_cert_has_volume(const struct kith_cert_grant *grant, uint32_t volume)
{
    if (grant->all_volumes) {
        return true;
    }
    for (uint32_t i = 0; i < grant->volume_count; i++) {
        if (grant->volumes[i] == volume) {
            return true;
        }
    }
    return false;
}

/* ---- PEM ---- */

void cert_openssl_text(char *text, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    (void)snprintf(text, size, "%s", reason ? reason : "no reason known");
    ERR_clear_error();
}

BIO *cert_bio(struct kith_bytes bytes)
{
    return bytes.size > INT_MAX
               ? NULL
               : BIO_new_mem_buf(bytes.size ? (const void *)bytes.data : "", (int)bytes.size);
}

enum kith_err cert_bio_take(BIO *bio, struct kith_buf *out, struct kith_error *error)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);
    kith_buf_put(out, data, size > 0 ? (size_t)size : 0);
    return size > 0 && !out->failed ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
}

static enum kith_err check_size(struct kith_bytes pem, const char *what, struct kith_error *error)
{
    return pem.size <= KITH_CERT_PEM_MAX
               ? KITH_OK
               : kith_error_set(error, KITH_ETOOBIG,
                                "%s: %zu bytes are no PEM file of ours (limit %u)", what, pem.size,
                                KITH_CERT_PEM_MAX);
}

enum kith_err cert_load(struct kith_bytes pem, const char *what, X509 **ret_cert,
                        struct kith_error *error)
{
    enum kith_err err = check_size(pem, what, error);
    if (err != KITH_OK) {
        return err;
    }
    BIO *bio = cert_bio(pem);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!cert) {
        char reason[128];
        cert_openssl_text(reason, sizeof reason);
        return kith_error_set(error, KITH_EFORMAT, "%s: no certificate in PEM form (%s)", what,
                              reason);
    }
    ERR_clear_error();
    *ret_cert = cert;
    return KITH_OK;
}

/* Nobody is there to ask. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

enum kith_err cert_load_key(struct kith_bytes pem, const char *what, EVP_PKEY **ret_key,
                            struct kith_error *error)
{
    enum kith_err err = check_size(pem, what, error);
    if (err != KITH_OK) {
        return err;
    }
    BIO *bio = cert_bio(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (!key) {
        char reason[128];
        cert_openssl_text(reason, sizeof reason);
        return kith_error_set(error, KITH_EFORMAT,
                              "%s: no private key in PEM form and without a password (%s)", what,
                              reason);
    }
    ERR_clear_error();
    *ret_key = key;
    return KITH_OK;
}

/* ---- What it says ---- */

bool cert_name_text(const X509_NAME *name, int nid, char *text, size_t size)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0) {
        return false;
    }
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    int length = ASN1_STRING_length(value);
    const unsigned char *data = ASN1_STRING_get0_data(value);
    if (length <= 0 || (size_t)length >= size || memchr(data, 0, (size_t)length)) {
        return false;
    }
    memcpy(text, data, (size_t)length);
    text[length] = '\0';
    return true;
}

/* What has been said so far. */
struct said {
    struct kith_cert_grant *grant;
    bool role, access, dns;
};

static bool take_role(struct said *said, const char *value)
{
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN, KITH_CERT_CLIENT};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (!said->role && strcmp(value, kith_cert_role_name(roles[i])) == 0) {
            said->role = true;
            said->grant->role = roles[i];
            return true;
        }
    }
    return false;
}

static bool take_access(struct said *said, const char *value)
{
    bool read_only = strcmp(value, "read-only") == 0;
    bool fits = !said->access && (read_only || strcmp(value, "read-write") == 0);
    said->access = said->access || fits;
    said->grant->read_only = fits ? read_only : said->grant->read_only;
    return fits;
}

static bool take_volume(struct said *said, const char *value)
{
    struct kith_cert_grant *grant = said->grant;
    if (strcmp(value, "all") == 0) {
        bool first = !grant->all_volumes && grant->volume_count == 0;
        grant->all_volumes = true;
        return first;
    }
    uint32_t volume = 0;
    for (size_t i = 0; i < 8; i++) {
        char c = value[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) { /* the NUL, too */
            return false;
        }
        volume = volume << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (value[8] != '\0' || volume == 0 || grant->all_volumes ||
        kith_cert_has_volume(grant, volume) || grant->volume_count == KITH_CERT_VOLUMES_MAX) {
        return false;
    }
    grant->volumes[grant->volume_count++] = volume;
    return true;
}

/* One name of subjectAltName; false: it is not understood, or said twice. */
static bool take_name(struct said *said, const GENERAL_NAME *name)
{
    int type = 0;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    if (type != GEN_URI && type != GEN_DNS) {
        return false;
    }
    char text[URI_MAX];
    int length = ASN1_STRING_length(value);
    const unsigned char *data = ASN1_STRING_get0_data(value);
    if (length <= 0 || (size_t)length >= sizeof text || memchr(data, 0, (size_t)length)) {
        return false;
    }
    memcpy(text, data, (size_t)length);
    text[length] = '\0';
    if (type == GEN_DNS) {
        bool fits = !said->dns && strcmp(text, KITH_CERT_DNS) == 0;
        said->dns = true;
        return fits;
    }
    static const struct {
        const char *head;
        bool (*take)(struct said *said, const char *value);
    } kinds[] = {
        {CERT_URI "role=", take_role},
        {CERT_URI "access=", take_access},
        {CERT_URI "volume=", take_volume},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t head = strlen(kinds[i].head);
        if (strncmp(text, kinds[i].head, head) == 0) {
            return kinds[i].take(said, text + head);
        }
    }
    return false;
}

static enum kith_err understand_grant(const X509 *cert, struct kith_cert_grant *grant,
                                      struct kith_error *error)
{
    struct said said = {.grant = grant};
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    if (!names) { /* none, several, or no such thing */
        ERR_clear_error();
        return kith_error_set(error, KITH_EFORMAT,
                              "it says no role: it is none of a kithfs cluster's");
    }
    bool known = true;
    for (int i = 0; known && i < sk_GENERAL_NAME_num(names); i++) {
        known = take_name(&said, sk_GENERAL_NAME_value(names, i));
    }
    GENERAL_NAMES_free(names);
    if (!known) {
        return kith_error_set(error, KITH_EFORMAT,
                              "it says something that is not known here (a newer kithfs may)");
    }
    bool volumes = grant->all_volumes || grant->volume_count > 0;
    bool client = grant->role == KITH_CERT_CLIENT;
    if (!said.role || client != said.access || client != volumes ||
        said.dns != (grant->role == KITH_CERT_NODE)) {
        return kith_error_set(error, KITH_EFORMAT,
                              "it says too little or too much of what its holder may do");
    }
    grant->all_volumes = client ? grant->all_volumes : true;
    return KITH_OK;
}

/* Seconds since 1970 of a time in a certificate. */
static bool seconds_of(const ASN1_TIME *time, int64_t *ret_s)
{
    int days = 0, seconds = 0;
    ASN1_TIME *zero = ASN1_TIME_set(NULL, 0);
    bool good = zero && ASN1_TIME_diff(&days, &seconds, zero, time) == 1;
    ASN1_TIME_free(zero);
    *ret_s = good ? (int64_t)days * 86400 + seconds : 0;
    return good;
}

static bool serial_of(const X509 *cert, char text[KITH_CERT_SERIAL_SIZE])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    BIGNUM *number = serial ? ASN1_INTEGER_to_BN(serial, NULL) : NULL;
    char *hex =
        number && !BN_is_negative(number) && !BN_is_zero(number) && BN_num_bytes(number) <= 20
            ? BN_bn2hex(number)
            : NULL;
    if (hex) {
        const char *at = hex;
        while (*at == '0') {
            at++;
        }
        size_t i = 0;
        for (; at[i] != '\0' && i + 1 < KITH_CERT_SERIAL_SIZE; i++) {
            text[i] = (char)(at[i] >= 'A' && at[i] <= 'F' ? at[i] + ('a' - 'A') : at[i]);
        }
        text[i] = '\0';
    }
    bool good = hex != NULL;
    OPENSSL_free(hex);
    BN_free(number);
    return good;
}

ASN1_INTEGER *cert_serial_parse(const char *text)
{
    size_t size = strnlen(text, KITH_CERT_SERIAL_SIZE);
    BIGNUM *number = NULL;
    if (size == 0 || size >= KITH_CERT_SERIAL_SIZE || strspn(text, "0123456789abcdef") != size ||
        BN_hex2bn(&number, text) != (int)size) {
        BN_free(number);
        return NULL;
    }
    ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(number, NULL);
    BN_free(number);
    return serial;
}

enum kith_err cert_understand(const X509 *cert, struct kith_cert *ret_cert,
                              struct kith_error *error)
{
    struct kith_cert said;
    memset(&said, 0, sizeof said);
    const X509_NAME *subject = X509_get_subject_name(cert);
    if (!cert_name_text(subject, NID_commonName, said.grant.name, sizeof said.grant.name) ||
        !kith_cert_name_fits(said.grant.name) ||
        !cert_name_text(subject, NID_organizationName, said.cluster, sizeof said.cluster) ||
        !kith_cert_name_fits(said.cluster)) {
        ERR_clear_error();
        return kith_error_set(error, KITH_EFORMAT,
                              "it names no holder, or no cluster, as kithfs would");
    }
    if (!serial_of(cert, said.serial) ||
        !seconds_of(X509_get0_notBefore(cert), &said.not_before_s) ||
        !seconds_of(X509_get0_notAfter(cert), &said.not_after_s)) {
        ERR_clear_error();
        return kith_error_set(error, KITH_EFORMAT, "its serial number or its times are none");
    }
    enum kith_err err = understand_grant(cert, &said.grant, error);
    if (err == KITH_OK) {
        *ret_cert = said;
    }
    return err;
}

enum kith_err kith_cert_read(struct kith_bytes pem, struct kith_cert *ret_cert,
                             struct kith_error *error)
{
    X509 *cert = NULL;
    enum kith_err err = cert_load(pem, "certificate", &cert, error);
    if (err == KITH_OK) {
        err = cert_understand(cert, ret_cert, error);
        if (err != KITH_OK) {
            (void)kith_error_wrap(error, "certificate");
        }
    }
    X509_free(cert);
    return err;
}

enum kith_err kith_cert_cluster(struct kith_bytes authority_pem,
                                char ret_cluster[KITH_CERT_NAME_SIZE], struct kith_error *error)
{
    X509 *cert = NULL;
    char cluster[KITH_CERT_NAME_SIZE] = "";
    enum kith_err err = cert_load(authority_pem, "the authority's certificate", &cert, error);
    if (err == KITH_OK && (X509_check_ca(cert) != 1 ||
                           !cert_name_text(X509_get_subject_name(cert), NID_organizationName,
                                           cluster, sizeof cluster) ||
                           !kith_cert_name_fits(cluster))) {
        err = kith_error_set(error, KITH_EFORMAT, "the certificate is no kithfs authority's");
    }
    ERR_clear_error();
    X509_free(cert);
    if (err == KITH_OK) {
        memcpy(ret_cluster, cluster, sizeof cluster);
    }
    return err;
}

enum kith_err kith_cert_match(struct kith_bytes cert_pem, struct kith_bytes key_pem,
                              struct kith_error *error)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    enum kith_err err = cert_load(cert_pem, "certificate", &cert, error);
    if (err == KITH_OK) {
        err = cert_load_key(key_pem, "key", &key, error);
    }
    if (err == KITH_OK && X509_check_private_key(cert, key) != 1) {
        err = kith_error_set(error, KITH_EINVAL, "the key is not that of the certificate");
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(cert);
    return err;
}
