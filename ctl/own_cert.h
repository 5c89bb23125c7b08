/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * own_cert.h - the certificate that kithctl shows to nodes. */
#ifndef KITH_CTL_OWN_CERT_H
#define KITH_CTL_OWN_CERT_H

#include "tls/identity.h"

/* From $KITH_CERT, $KITH_KEY, $KITH_CA and, where it is set, $KITH_CRL: files. NULL: none of them
 * is set, or all are empty, and it is plain text. Where some are set, what is missing is told by
 * who reads them: whoever names a key does not mean plain text. */
const struct kith_identity_files *kith_ctl_identity(struct kith_identity_files *files);

/* What may help where nobody has answered, for these reasons. */
const char *kith_ctl_nobody(const char *reasons);

#endif
