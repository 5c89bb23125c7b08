/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/own_cert.h"

#include <stdlib.h>

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
