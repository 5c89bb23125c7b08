/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/own_cert.h"

#include <stdlib.h>
#include <string.h>

static const char *value_of(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

const struct kith_identity_files *kith_ctl_identity(struct kith_identity_files *files)
{
    *files = (struct kith_identity_files){value_of("KITH_CERT"), value_of("KITH_KEY"),
                                          value_of("KITH_CA"), value_of("KITH_CRL")};
    bool any = files->cert || files->key || files->ca || files->crl;
    return any ? files : NULL;
}

const char *kith_ctl_nobody(const char *reasons)
{
    struct kith_identity_files files;
    bool closed = strstr(reasons, "connection lost") != NULL;
    return closed && !kith_ctl_identity(&files)
               ? "is kithd running there? It may want a certificate: $KITH_CERT, or '. DIR/env' for "
                 "'local up DIR'"
               : "is kithd running there?";
}
