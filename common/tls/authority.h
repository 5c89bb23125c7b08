/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * authority.h - a cluster's own authority: it signs certificates (cert.h), and lists of those that
 * it has revoked. Only who has its key can do either; nodes and clients have its certificate.
 *
 * Keys are elliptic (P-256), signatures ECDSA with SHA-256, serial numbers 127 random bits. What is
 * issued is valid from an hour before, since clocks differ, and never longer than its authority.
 * A list never becomes invalid by age before its authority does: a node that nobody brings a new
 * one must not stop answering.
 *
 * Nothing here touches files; all texts are PEM, appended to buffers that the caller releases,
 * those with keys by kith_pem_wipe (pem_file.h). Times are seconds since 1970. Any thread; one at a
 * time for each authority. Checked by tests/unit/test_authority.c. */
#ifndef KITH_TLS_AUTHORITY_H
#define KITH_TLS_AUTHORITY_H

#include "tls/cert.h"

#define KITH_CERT_BACKDATE_S        3600   /* how much clocks may differ */
#define KITH_CERT_DAYS_MAX          36500u /* of anything */
#define KITH_CERT_DAYS_DEFAULT      1095u  /* of what is issued: three years */
#define KITH_AUTHORITY_DAYS_DEFAULT 7300u  /* twenty years: to replace it touches every machine */

struct kith_authority;

/* A new authority for the cluster of that name (kith_cert_name_fits): its key, and its certificate.
 * EINVAL, ENOMEM, EIO (OpenSSL cannot, e.g. it has no randomness). */
KITH_MUST_CHECK enum kith_err kith_authority_make(const char *cluster, uint32_t days, int64_t now_s,
                                                  struct kith_buf *key_pem,
                                                  struct kith_buf *cert_pem,
                                                  struct kith_error *error);

/* EFORMAT: it cannot be read; EINVAL: no authority, or the key is another's; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_authority_open(struct kith_bytes cert_pem,
                                                  struct kith_bytes key_pem,
                                                  struct kith_authority **ret_authority,
                                                  struct kith_error *error);
void kith_authority_free(struct kith_authority *authority);
/* The cluster's name; as long as the authority. */
const char *kith_authority_cluster(const struct kith_authority *authority);

/* A certificate that says `grant`. With a key in old_key_pem it is for that one, and key_pem stays
 * as it is; where old_key_pem is empty a new key is appended to key_pem. *ret_cert is what it says,
 * with its serial number. EINVAL (a grant that no certificate can say; days above what the
 * authority has left; a key that nodes would not take), EFORMAT (the old key), ENOMEM, EIO. */
KITH_MUST_CHECK enum kith_err
kith_authority_issue(const struct kith_authority *authority, const struct kith_cert_grant *grant,
                     uint32_t days, int64_t now_s, struct kith_bytes old_key_pem,
                     struct kith_buf *key_pem, struct kith_buf *cert_pem,
                     struct kith_cert *ret_cert, struct kith_error *error);

/* The next list: what old_list_pem (this authority's last one; empty: there was none) revokes, and
 * the certificates with these serial numbers. Its number is the time now_s, or one above the last
 * one's. EINVAL: a serial number is none; EFORMAT, EPERM: the old list cannot be read, or is not
 * this authority's; ENOMEM, EIO. */
KITH_MUST_CHECK enum kith_err kith_authority_revoke(const struct kith_authority *authority,
                                                    struct kith_bytes old_list_pem,
                                                    const char *const serials[], uint32_t count,
                                                    int64_t now_s, struct kith_buf *list_pem,
                                                    struct kith_error *error);

#endif
