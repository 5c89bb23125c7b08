/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * certs.h - an authority and certificates for tests. What fails, fails the test. Include it after
 * cmocka.h. */
#ifndef KITH_TESTS_LIB_CERTS_H
#define KITH_TESTS_LIB_CERTS_H

#include "tls/authority.h"
#include "tls/identity.h"

struct certs {
    struct kith_buf key, cert, list; /* the authority's, and what it revokes; PEM */
    struct kith_authority *authority;
};

/* One holder's. */
struct certs_own {
    struct kith_buf key, cert;
    struct kith_cert says;
};

void certs_start(struct certs *certs, const char *cluster);
void certs_stop(struct certs *certs);
/* Valid for so many days from now_s, 0 = the present time. A client's is not confined. */
void certs_issue(const struct certs *certs, enum kith_cert_role role, const char *name,
                 uint32_t days, int64_t now_s, struct certs_own *ret_own);
void certs_grant(const struct certs *certs, const struct kith_cert_grant *grant, uint32_t days,
                 int64_t now_s, struct certs_own *ret_own);
void certs_own_release(struct certs_own *own);
void certs_revoke(struct certs *certs, const char *serial);

/* Files for kith_identity_files, in a folder of their own. */
struct certs_files {
    struct kith_identity_files files; /* into the paths */
    char folder[64], cert[96], key[96], ca[96], crl[96];
};
void certs_files_start(struct certs_files *files);
void certs_files_stop(struct certs_files *files); /* removes them */
/* Writes them over what is there: the key first. */
void certs_files_put(const struct certs_files *files, const struct certs *certs,
                     const struct certs_own *own);
/* Only the authority's list. */
void certs_files_put_list(const struct certs_files *files, const struct certs *certs);

struct kith_cert_grant certs_grant_make(enum kith_cert_role role, const char *name);

#endif
