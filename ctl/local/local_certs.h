/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local_certs.h - the certificates of a local cluster, in DIR/certs: those of 'kithctl init DIR', one for
 * all nodes and an admin's. A cluster that was made without (--insecure, or by an earlier version) stays
 * so. The folder comes whole or not at all. */
#ifndef KITH_CTL_LOCAL_CERTS_H
#define KITH_CTL_LOCAL_CERTS_H

#include "ctl/local/local.h"

/* DIR/certs/NAME. ETOOBIG: longer than a path may be. */
KITH_MUST_CHECK enum kith_err kith_local_cert_path(const struct kith_local *local, const char *name,
                                                   char ret_path[PATH_MAX],
                                                   struct kith_error *error);
/* Makes them; local->secure. As kith_cert_folder_make, EIO. */
KITH_MUST_CHECK enum kith_err kith_local_certs_make(struct kith_local *local,
                                                    struct kith_error *error);
/* Removes them, and DIR/env. EIO. */
KITH_MUST_CHECK enum kith_err kith_local_certs_remove(struct kith_local *local,
                                                      struct kith_error *error);
/* From now on this process shows its nodes the admin's certificate, or none where they have none,
 * whatever the environment said. While there is one thread. ETOOBIG, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_local_certs_use(const struct kith_local *local,
                                                   struct kith_error *error);
/* Writes DIR/env, lines for a shell: what kithctl wants to know of the cluster. ETOOBIG, EIO. */
KITH_MUST_CHECK enum kith_err kith_local_env_write(const struct kith_local *local,
                                                   struct kith_error *error);

#endif
