/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ask/own_cert.h"

#include <stdio.h>
#include <string.h>

#include "tls/pem_file.h"

enum kith_err kith_ctl_identity(struct kith_identity_found *found,
                                const struct kith_identity_files **ret_files,
                                struct kith_error *error)
{
    enum kith_err err = kith_identity_find(KITH_CERT_ADMIN, true, found, error);
    *ret_files = err == KITH_OK && found->any ? &found->files : NULL;
    return err;
}

bool kith_ctl_own_cluster(char ret_name[KITH_CERT_NAME_SIZE])
{
    struct kith_identity_found found;
    struct kith_error error;
    struct kith_cert cert;
    struct kith_buf pem;
    bool known = false;
    if (kith_identity_find(KITH_CERT_ADMIN, true, &found, &error) != KITH_OK || !found.files.cert) {
        return false;
    }
    kith_buf_init(&pem);
    if (kith_pem_read(found.files.cert, KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX, &pem, &error) ==
            KITH_OK &&
        kith_cert_read(kith_buf_bytes(&pem), &cert, &error) == KITH_OK) {
        (void)snprintf(ret_name, KITH_CERT_NAME_SIZE, "%s", cert.cluster);
        known = true;
    }
    kith_buf_release(&pem);
    return known;
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
