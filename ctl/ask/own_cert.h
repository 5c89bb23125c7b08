/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * own_cert.h - the certificate that kithctl shows to nodes. */
#ifndef KITH_CTL_OWN_CERT_H
#define KITH_CTL_OWN_CERT_H

#include "tls/identity_find.h"

/* By the environment, else from the folders where one lies (identity_find.h); an admin's before a client's.
 * *ret_files: NULL, and it is plain text; else files in *found. What the files hold is for who reads them to
 * judge. The errors of kith_identity_find. */
KITH_MUST_CHECK enum kith_err kith_ctl_identity(struct kith_identity_found *found,
                                                const struct kith_identity_files **ret_files,
                                                struct kith_error *error);

/* The cluster's name as that certificate has it. False: there is none, or it cannot be read. */
bool kith_ctl_own_cluster(char ret_name[KITH_CERT_NAME_SIZE]);

/* What may help where nobody has answered, for these reasons. */
const char *kith_ctl_nobody(const char *reasons);

#endif
