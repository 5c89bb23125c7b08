/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * certs.c - see certs.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/certs.h"

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
