/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ask/own_cert.h"

#include <string.h>

enum kith_err kith_ctl_identity(struct kith_identity_found *found,
                                const struct kith_identity_files **ret_files,
                                struct kith_error *error)
{
    enum kith_err err = kith_identity_find(KITH_CERT_ADMIN, true, found, error);
    *ret_files = err == KITH_OK && found->any ? &found->files : NULL;
    return err;
}

const char *kith_ctl_nobody(const char *reasons)
{
    struct kith_identity_found found;
    struct kith_error error;
    bool closed = strstr(reasons, "connection lost") != NULL;
    bool plain = kith_identity_find(KITH_CERT_ADMIN, true, &found, &error) == KITH_OK && !found.any;
    return closed && plain
               ? "is kithd running there? It may want a certificate: in ~/.config/kithfs, "
                 "$KITH_CERT, or '. DIR/env' for 'local up DIR'"
               : "is kithd running there?";
}
