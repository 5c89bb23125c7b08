/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cert_issue.h - what 'kithctl init DIR' makes, for others. */
#ifndef KITH_CTL_CERT_ISSUE_H
#define KITH_CTL_CERT_ISSUE_H

#include "base/err.h"

/* Makes the folder, where it is missing, with a new authority for the cluster of that name (ca/), and with
 * a node's and an admin's files: node.key, node.crt, admin.key, admin.crt, ca.crt, crl.pem. What fails
 * half-way leaves what it has made. As kith_ca_dir_make; EEXIST: there is something of it. */
KITH_MUST_CHECK enum kith_err kith_cert_folder_make(const char *folder, const char *cluster,
                                                    const char *node, struct kith_error *error);

#endif
