/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * own_cert.h - the certificate that kithctl shows to nodes. */
#ifndef KITH_CTL_OWN_CERT_H
#define KITH_CTL_OWN_CERT_H

#include "tls/identity.h"

/* From $KITH_CERT, $KITH_KEY, $KITH_CA and, where it is set, $KITH_CRL: files. NULL: KITH_CERT is
 * not set or empty, and it is plain text. What is missing of the others is told by who reads them.
 */
const struct kith_identity_files *kith_ctl_identity(struct kith_identity_files *files);

#endif
