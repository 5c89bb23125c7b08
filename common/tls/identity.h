/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * identity.h - this process's own certificate and key, and whom it trusts: from files that may be
 * replaced while it runs.
 *
 * Who has them followed looks at them again once a second. What is new is taken only as a whole and
 * only where it is sound: the key is the certificate's, the authority signed it, it is valid now
 * and says the same role and cluster as the one in use, and no list of revoked certificates is
 * older than the one in use, or revokes less. Else what was in use stays, and the log says why,
 * once for each state of the files; a second is left to who copies them one by one. So certificates
 * are renewed by copying files, in any order, without an end of anything. The log also warns, once
 * a day, in the last thirty days of the own certificate.
 *
 * Checked by tests/unit/test_identity.c. */
#ifndef KITH_TLS_IDENTITY_H
#define KITH_TLS_IDENTITY_H

#include "tls/cert.h"

#define KITH_IDENTITY_LOOK_MS 1000u
#define KITH_IDENTITY_SOON_S  (30 * 86400) /* left of the own certificate: time to renew by hand */

/* Paths. The authority's certificates and lists may be several in one file (cert.h). */
struct kith_identity_files {
    const char *cert, *key, *ca;
    const char *crl; /* NULL: nothing is revoked */
    /* Of a node: where it keeps the list that an administrator has sent it, which counts beside that of
     * `crl`. The file may be missing; a list of an authority that is trusted no more is passed over. NULL:
     * none is kept. */
    const char *sent;
};

/* What the files said at one time. Immutable. */
struct kith_identity {
    uint32_t refs;                     /* atomic */
    uint64_t edition;                  /* from 1; each later one has a higher one */
    char *cert_pem, *key_pem, *ca_pem; /* ended by NUL */
    struct kith_cert own;
    struct kith_trust *trust;
};

struct kith_identity *kith_identity_hold(struct kith_identity *identity); /* returns it */
void kith_identity_drop(struct kith_identity *identity);                  /* NULL is fine */

struct kith_follow; /* the files, and what was taken from them last */

/* Reads them; the paths are copied. Errors as of pem_file.h and cert.h, with the file's name. */
KITH_MUST_CHECK enum kith_err kith_follow_new(const struct kith_identity_files *files,
                                              struct kith_follow **ret_follow,
                                              struct kith_error *error);
void kith_follow_free(struct kith_follow *follow);
/* What is in use now; held for the caller. Any thread; costs nothing but a lock. */
struct kith_identity *kith_follow_take(struct kith_follow *follow);
/* Looks at the files, where that was KITH_IDENTITY_LOOK_MS ago, and reads them when they have
 * changed: some microseconds, and with a list of a quarter of a million half a second. One thread
 * at a time; takers do not wait for it. */
void kith_follow_look(struct kith_follow *follow);
/* A list of what is revoked that came over the network: where an authority has signed it that is trusted
 * here, and it is no older than the one in use and revokes no less, it is stored in files->sent, flushed, and
 * in use when this returns. Else EPERM, EFORMAT, ETOOBIG, ENOSPC, EIO ..., with a message; EINVAL: no
 * list is kept here. By who looks. */
KITH_MUST_CHECK enum kith_err kith_follow_list(struct kith_follow *follow, struct kith_bytes pem,
                                               struct kith_error *error);

#endif
