/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cert.h - who a peer is: what a certificate says, and whether it is to be believed.
 *
 * A cluster has an authority of its own (authority.h). What it signs is an X.509 certificate with
 *
 *     subject                O = the cluster's name, CN = the holder's name
 *     subjectAltName         URI kithfs:role=node|admin|client
 *                            node: DNS node.kithfs
 *                            client: URI kithfs:access=read-write|read-only
 *                            client: URI kithfs:volume=all, or one for each: kithfs:volume=<8 hex digits>
 *     extendedKeyUsage       node: serverAuth and clientAuth; else clientAuth
 *     keyUsage, basicConstraints    digitalSignature; no authority; both critical
 *
 * Why so: a node's address changes, and is reached by many names, so what a client checks is not
 * an address but that its peer is a node of this cluster: the one DNS name that all nodes bear
 * (gRPC's own check of names can be pointed at it), the key usage (any TLS library refuses a
 * client's certificate from a server) and the role. Role and limits stand in URIs and not in an
 * extension of ours, because every tool shows them (openssl x509 -text) and gRPC's and other
 * libraries' checks pass over them: an extension marked critical would make these refuse all of our
 * certificates, and one that is not critical is freedom for who does not know it. Instead the rule
 * is ours: *every* name in subjectAltName must be one that is understood here, once; a client's
 * must say all of role, access and volume; an unknown critical extension is refused. So what a
 * later version limits in a new way is refused by this one, and never taken for unlimited.
 *
 * A certificate is believed when one of the trusted authorities signed it, it has begun and not
 * ended, that authority's list does not revoke it, and all of it is understood.
 *
 * Everything here may be called from any thread; a kith_trust is immutable. Messages in errors name
 * the reason and the command that helps. Checked by tests/unit/test_cert.c and
 * tests/fuzz/fuzz_cert.c (invariant 12: these bytes come from the network). */
#ifndef KITH_TLS_CERT_H
#define KITH_TLS_CERT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define KITH_CERT_NAME_MAX        64u /* bytes of a holder's or a cluster's name: X.509's own limit */
#define KITH_CERT_NAME_SIZE       (KITH_CERT_NAME_MAX + 1)
#define KITH_CERT_SERIAL_SIZE     41u         /* at most 20 bytes in hex (RFC 5280), with the NUL */
#define KITH_CERT_VOLUMES_MAX     32u         /* named in one certificate */
#define KITH_CERT_PEM_MAX         65536u      /* bytes of a file of certificates or of a key */
#define KITH_CRL_PEM_MAX          (16u << 20) /* bytes: some 300,000 revoked certificates */
#define KITH_CERT_AUTHORITIES_MAX 8u          /* trusted at once: two while one follows the other */
#define KITH_CERT_DNS             "node.kithfs" /* of every node */

enum kith_cert_role { KITH_CERT_NODE = 1, KITH_CERT_ADMIN = 2, KITH_CERT_CLIENT = 3 };

/* What a certificate lets its holder do. A node's and an admin's is never confined. */
struct kith_cert_grant {
    enum kith_cert_role role;
    char name[KITH_CERT_NAME_SIZE]; /* kith_cert_name_fits */
    bool read_only;
    bool all_volumes;
    uint32_t volume_count;                   /* 0 where all_volumes is set */
    uint32_t volumes[KITH_CERT_VOLUMES_MAX]; /* each once, none 0 */
};

struct kith_cert {
    struct kith_cert_grant grant;
    char cluster[KITH_CERT_NAME_SIZE];
    char serial[KITH_CERT_SERIAL_SIZE]; /* lower case hex, without leading zeros */
    int64_t not_before_s, not_after_s;  /* since 1970; valid at both */
};

/* "node" "admin" "client". */
const char *kith_cert_role_name(enum kith_cert_role role);
/* 1 to KITH_CERT_NAME_MAX letters, digits and . _ - @, not beginning with . or -: so a name is also
 * a file's, needs no quotes anywhere, and is the same bytes for everybody. */
bool kith_cert_name_fits(const char *name);
/* Whether a key of that volume is the holder's to touch. */
bool kith_cert_has_volume(const struct kith_cert_grant *grant, uint32_t volume);

/* Reads the first certificate of a PEM text and understands it, but believes nothing: for who shows
 * what a file says. EFORMAT: it is no certificate, or none of a kithfs cluster's; ETOOBIG. */
KITH_MUST_CHECK enum kith_err kith_cert_read(struct kith_bytes pem, struct kith_cert *ret_cert,
                                             struct kith_error *error);

/* The cluster that an authority's certificate is of. EFORMAT: it is none's; ETOOBIG. */
KITH_MUST_CHECK enum kith_err kith_cert_cluster(struct kith_bytes authority_pem,
                                                char ret_cluster[KITH_CERT_NAME_SIZE],
                                                struct kith_error *error);

/* Whether the key is the certificate's. EINVAL: it is another's; EFORMAT: one of them cannot be
 * read (a key with a password neither); ETOOBIG. */
KITH_MUST_CHECK enum kith_err kith_cert_match(struct kith_bytes cert_pem, struct kith_bytes key_pem,
                                              struct kith_error *error);

struct kith_trust; /* authorities, and what they have revoked */

/* From the authorities' certificates and their lists, each any number in one PEM text; a list
 * is taken only with the signature of one of these authorities, and an authority need not have one
 * (crl_pem may be empty: nothing is revoked). EFORMAT, EPERM (a list that none of them signed),
 * EINVAL (no authority among them), ETOOBIG, ELIMIT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_trust_new(struct kith_bytes ca_pem, struct kith_bytes crl_pem,
                                             struct kith_trust **ret_trust,
                                             struct kith_error *error);
void kith_trust_free(struct kith_trust *trust);

/* Whether `newer` knows of all lists of `older`, in the same or a later edition, and revokes all
 * that they do: who follows files must not fall back to a list that an attacker kept, nor to one
 * that a second copy of the authority's folder has made. An authority that `newer` does not trust
 * is passed over. EPERM with a message. */
KITH_MUST_CHECK enum kith_err kith_trust_follows(const struct kith_trust *newer,
                                                 const struct kith_trust *older,
                                                 struct kith_error *error);

/* Whether one of the lists revokes that serial number. */
bool kith_trust_revokes(const struct kith_trust *trust, const char *serial);

/* Whether a peer's certificate (the first in the text) is to be believed at now_s (since 1970);
 * then all that it says. EPERM: it is not, and the message says why and whose it is; EFORMAT,
 * ETOOBIG, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_trust_check(const struct kith_trust *trust,
                                               struct kith_bytes pem, int64_t now_s,
                                               struct kith_cert *ret_cert,
                                               struct kith_error *error);

#endif
