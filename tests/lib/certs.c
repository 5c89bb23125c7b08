/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * certs.c - see certs.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/certs.h"
#include "tls/pem_file.h"

#define AUTHORITY_DAYS 3650

static void must(enum kith_err err, const struct kith_error *error)
{
    if (err != KITH_OK) {
        fail_msg("%s", error->message);
    }
}

void certs_start(struct certs *certs, const char *cluster)
{
    struct kith_error error;
    memset(certs, 0, sizeof *certs);
    /* ten days and a minute ago, so that tests can issue what has ended */
    int64_t began_s = (int64_t)time(NULL) - 864060;
    must(kith_authority_make(cluster, AUTHORITY_DAYS, began_s, &certs->key, &certs->cert, &error),
         &error);
    must(kith_authority_open(kith_buf_bytes(&certs->cert), kith_buf_bytes(&certs->key),
                             &certs->authority, &error),
         &error);
    must(kith_authority_revoke(certs->authority, kith_bytes_make(NULL, 0), NULL, 0, began_s,
                               &certs->list, &error),
         &error);
}

void certs_stop(struct certs *certs)
{
    kith_authority_free(certs->authority);
    kith_buf_release(&certs->key);
    kith_buf_release(&certs->cert);
    kith_buf_release(&certs->list);
}

struct kith_cert_grant certs_grant_make(enum kith_cert_role role, const char *name)
{
    struct kith_cert_grant grant;
    memset(&grant, 0, sizeof grant);
    grant.role = role;
    grant.all_volumes = true;
    (void)snprintf(grant.name, sizeof grant.name, "%s", name);
    return grant;
}

void certs_grant(const struct certs *certs, const struct kith_cert_grant *grant, uint32_t days,
                 int64_t now_s, struct certs_own *ret_own)
{
    struct kith_error error;
    memset(ret_own, 0, sizeof *ret_own);
    must(kith_authority_issue(certs->authority, grant, days, now_s ? now_s : (int64_t)time(NULL),
                              kith_bytes_make(NULL, 0), &ret_own->key, &ret_own->cert,
                              &ret_own->says, &error),
         &error);
}

void certs_issue(const struct certs *certs, enum kith_cert_role role, const char *name,
                 uint32_t days, int64_t now_s, struct certs_own *ret_own)
{
    struct kith_cert_grant grant = certs_grant_make(role, name);
    certs_grant(certs, &grant, days, now_s, ret_own);
}

void certs_own_release(struct certs_own *own)
{
    kith_buf_release(&own->key);
    kith_buf_release(&own->cert);
}

void certs_revoke(struct certs *certs, const char *serial)
{
    struct kith_error error;
    struct kith_buf next;
    kith_buf_init(&next);
    must(kith_authority_revoke(certs->authority, kith_buf_bytes(&certs->list), &serial, 1,
                               (int64_t)time(NULL), &next, &error),
         &error);
    kith_buf_release(&certs->list);
    certs->list = next;
}

void certs_files_start(struct certs_files *files)
{
    (void)snprintf(files->folder, sizeof files->folder, "/tmp/kith_certs.XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    (void)snprintf(files->cert, sizeof files->cert, "%s/own.crt", files->folder);
    (void)snprintf(files->key, sizeof files->key, "%s/own.key", files->folder);
    (void)snprintf(files->ca, sizeof files->ca, "%s/ca.crt", files->folder);
    (void)snprintf(files->crl, sizeof files->crl, "%s/crl.pem", files->folder);
    files->files = (struct kith_identity_files){files->cert, files->key, files->ca, files->crl,
                                                NULL};
}

void certs_files_stop(struct certs_files *files)
{
    const char *const paths[] = {files->cert, files->key, files->ca, files->crl};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        (void)unlink(paths[i]);
    }
    assert_int_equal(rmdir(files->folder), 0);
}

static void put(const char *path, enum kith_pem_kind kind, const struct kith_buf *pem)
{
    struct kith_error error;
    must(kith_pem_replace(path, kind, kith_buf_bytes(pem), &error), &error);
}

void certs_files_put_list(const struct certs_files *files, const struct certs *certs)
{
    put(files->crl, KITH_PEM_PUBLIC, &certs->list);
}

void certs_files_put(const struct certs_files *files, const struct certs *certs,
                     const struct certs_own *own)
{
    put(files->key, KITH_PEM_SECRET, &own->key);
    put(files->cert, KITH_PEM_PUBLIC, &own->cert);
    put(files->ca, KITH_PEM_PUBLIC, &certs->cert);
    certs_files_put_list(files, certs);
}
