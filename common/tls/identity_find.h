/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * identity_find.h - where the certificate of a mount or of kithctl lies, when nobody says it.
 *
 * First the environment: the files that KITH_CERT, KITH_KEY, KITH_CA and KITH_CRL name; where one of them is
 * set and all are empty, none is wanted. Then the user's folder, $XDG_CONFIG_HOME/kithfs (~/.config/kithfs, by
 * the system's list of users where HOME is not set), then /etc/kithfs, each as 'kithctl cert' makes one:
 * client.crt and client.key, or admin.crt and admin.key, with ca.crt, and crl.pem where there is one. A
 * folder without either pair is passed over; half a pair, or one that may not be read, is an error: who has a
 * certificate does not mean plain text.
 * Checked by tests/unit/test_identity_find.c. */
#ifndef KITH_TLS_IDENTITY_FIND_H
#define KITH_TLS_IDENTITY_FIND_H

#include <limits.h>

#include "tls/identity.h"

#define KITH_IDENTITY_FOLDER "/etc/kithfs"

struct kith_identity_found {
    bool any; /* false: plain text */
    struct kith_identity_files files; /* point to the environment, or to: */
    char cert[PATH_MAX], key[PATH_MAX], ca[PATH_MAX], crl[PATH_MAX];
};

/* wanted: the role whose pair is taken where a folder has both, KITH_CERT_CLIENT or KITH_CERT_ADMIN. user:
 * whether the user's own folder counts. ENOTFOUND, EPERM with the file and what to do; ETOOBIG. Reads the
 * environment: while nobody changes it. */
KITH_MUST_CHECK enum kith_err kith_identity_find(enum kith_cert_role wanted, bool user,
                                                 struct kith_identity_found *ret_found,
                                                 struct kith_error *error);
/* The same of one folder; !ret_found->any where it has no pair, or is not there. */
KITH_MUST_CHECK enum kith_err kith_identity_find_in(const char *folder, enum kith_cert_role wanted,
                                                    struct kith_identity_found *ret_found,
                                                    struct kith_error *error);

#endif
