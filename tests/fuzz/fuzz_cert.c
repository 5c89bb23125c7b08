/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a peer's certificate, as an authority's and as a list: what is
 * believed says what the authority of the seeds has signed. Where the bytes do not begin as PEM
 * they are taken for what PEM would hold, so that mutations reach what is inside. */
#include "fuzz.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "tls/authority.h"

#define LINE 64u

const uint32_t kith_fuzz_mutations = 20000; /* each takes a third of a millisecond */

static struct {
    struct kith_buf key, cert, list;
    struct kith_authority *authority;
    struct kith_trust *trust;
    struct kith_buf issued[3]; /* one of each role */
} made;

static void make(void)
{
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN, KITH_CERT_CLIENT};
    int64_t now = (int64_t)time(NULL);
    struct kith_bytes none = kith_bytes_make(NULL, 0);
    KITH_ASSERT(kith_authority_make("home", 100, now, &made.key, &made.cert, NULL) == KITH_OK);
    KITH_ASSERT(kith_authority_open(kith_buf_bytes(&made.cert), kith_buf_bytes(&made.key),
                                    &made.authority, NULL) == KITH_OK);
    const char *serial = "1234";
    KITH_ASSERT(kith_authority_revoke(made.authority, none, &serial, 1, now, &made.list, NULL) ==
                KITH_OK);
    KITH_ASSERT(kith_trust_new(kith_buf_bytes(&made.cert), kith_buf_bytes(&made.list), &made.trust,
                               NULL) == KITH_OK);
    for (size_t i = 0; i < 3; i++) {
        struct kith_cert_grant grant = {.role = roles[i], .name = "anna", .all_volumes = true};
        struct kith_buf key;
        struct kith_cert says;
        if (roles[i] == KITH_CERT_CLIENT) {
            grant.all_volumes = false;
            grant.volumes[grant.volume_count++] = 17;
        }
        kith_buf_init(&key);
        KITH_ASSERT(kith_authority_issue(made.authority, &grant, 10, now, none, &key,
                                         &made.issued[i], &says, NULL) == KITH_OK);
        kith_buf_release(&key);
    }
}

static void wrap(const char *kind, const uint8_t *data, size_t size, struct kith_buf *out)
{
    char line[LINE + 64];
    kith_buf_put(out, line, (size_t)snprintf(line, sizeof line, "-----BEGIN %s-----\n", kind));
    for (size_t at = 0; at < size; at += LINE / 4 * 3) {
        size_t part = size - at < LINE / 4 * 3 ? size - at : LINE / 4 * 3;
        int written = EVP_EncodeBlock((unsigned char *)line, data + at, (int)part);
        kith_buf_put(out, line, (size_t)written);
        kith_buf_put_u8(out, '\n');
    }
    kith_buf_put(out, line, (size_t)snprintf(line, sizeof line, "-----END %s-----\n", kind));
}

static void look(struct kith_bytes pem)
{
    struct kith_cert cert;
    struct kith_error error;
    enum kith_err err = kith_trust_check(made.trust, pem, (int64_t)time(NULL), &cert, &error);
    KITH_ASSERT(err == KITH_OK || (error.code == err && error.message[0] != '\0'));
    if (err == KITH_OK) {
        KITH_ASSERT(strcmp(cert.grant.name, "anna") == 0 && strcmp(cert.cluster, "home") == 0);
        KITH_ASSERT(cert.grant.role != KITH_CERT_CLIENT || !kith_cert_has_volume(&cert.grant, 1));
    }
    if (kith_cert_read(pem, &cert, NULL) == KITH_OK) {
        KITH_ASSERT(kith_cert_name_fits(cert.grant.name) && kith_cert_name_fits(cert.cluster));
        KITH_ASSERT(cert.grant.volume_count <= KITH_CERT_VOLUMES_MAX);
        KITH_ASSERT(cert.grant.all_volumes == (cert.grant.volume_count == 0));
    }
}

static void look_as_authority(struct kith_bytes pem)
{
    struct kith_trust *trust = NULL;
    if (kith_trust_new(pem, kith_bytes_make(NULL, 0), &trust, NULL) == KITH_OK) {
        kith_trust_free(trust);
    }
}

static void look_as_list(struct kith_bytes pem)
{
    struct kith_trust *trust = NULL;
    if (kith_trust_new(kith_buf_bytes(&made.cert), pem, &trust, NULL) == KITH_OK) {
        KITH_ASSERT(kith_trust_revokes(trust, "1234"));
        kith_trust_free(trust);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *kind;
        void (*look)(struct kith_bytes pem);
    } looks[] = {
        {"CERTIFICATE", look}, {"CERTIFICATE", look_as_authority}, {"X509 CRL", look_as_list}};
    if (!made.trust) {
        make();
    }
    if (size > 0 && data[0] == '-') {
        for (size_t i = 0; i < 3; i++) {
            looks[i].look(kith_bytes_make(data, size));
        }
        return 0;
    }
    /* one of them for each input, by its last byte: they are slow */
    size_t which = size > 0 ? data[size - 1] % 3u : 0;
    struct kith_buf pem;
    kith_buf_init(&pem);
    wrap(looks[which].kind, data, size, &pem);
    if (!pem.failed) {
        looks[which].look(kith_buf_bytes(&pem));
    }
    kith_buf_release(&pem);
    return 0;
}

/* What a PEM text of one part holds. */
static size_t unwrap(const struct kith_buf *pem, uint8_t *data)
{
    const char *begin = memchr(pem->data, '\n', pem->size);
    size_t size = 0;
    while (begin && begin[1] != '-') {
        const char *end = strchr(begin + 1, '\n');
        size_t part = (size_t)(end - begin - 1);
        int got = EVP_DecodeBlock(data + size, (const unsigned char *)begin + 1, (int)part);
        KITH_ASSERT(got > 0);
        size_t pad = end[-1] != '=' ? 0 : end[-2] != '=' ? 1 : 2;
        size += (size_t)got - pad;
        begin = end;
    }
    return size;
}

/* The certificates, the authority's and the list; as PEM, and as what that holds. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    if (!made.trust) {
        make();
    }
    const struct kith_buf *seeds[] = {&made.issued[0], &made.issued[1], &made.issued[2], &made.cert,
                                      &made.list};
    const struct kith_buf *seed = number < 10 ? seeds[number / 2] : NULL;
    if (!seed) {
        return 0;
    }
    if (number % 2 == 1) {
        return unwrap(seed, data);
    }
    KITH_ASSERT(seed->size <= KITH_FUZZ_SEED_MAX);
    memcpy(data, seed->data, seed->size);
    return seed->size;
}
