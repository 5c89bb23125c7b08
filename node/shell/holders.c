/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * holders.c - see holders.h. */
#include "shell/holders.h"

#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

struct holder {
    struct kith_cert_grant grant;
    uint64_t serial; /* its hash, which is not 0 */
};

static struct holder *find(const struct kith_holders *holders, uint64_t conn)
{
    uint64_t value = 0;
    return kith_conn_map_get(&holders->conns, conn, &value) ? (struct holder *)(uintptr_t)value
                                                            : NULL;
}

static enum kith_err check(const struct kith_holders *holders, const struct kith_cert *who,
                           uint64_t count, struct kith_error *error)
{
    if (who->grant.role == KITH_CERT_NODE) {
        return KITH_OK;
    }
    if (count >= KITH_HOLDER_CONNS_MAX) {
        return kith_error_set(
            error, KITH_ELIMIT, "%s '%s' has %u connections with this node already",
            kith_cert_role_name(who->grant.role), who->grant.name, KITH_HOLDER_CONNS_MAX);
    }
    if (who->grant.role == KITH_CERT_CLIENT &&
        holders->clients >= KITH_CONNS_MAX - KITH_HOLDERS_KEPT) {
        return kith_error_set(error, KITH_ELIMIT,
                              "clients have %u connections with this node already",
                              KITH_CONNS_MAX - KITH_HOLDERS_KEPT);
    }
    return KITH_OK;
}

enum kith_err kith_holders_add(struct kith_holders *holders, uint64_t conn,
                               const struct kith_cert *who, struct kith_error *error)
{
    uint64_t serial = XXH3_64bits(who->serial, strlen(who->serial)), count = 0;
    serial += serial == 0 ? 1 : 0;
    (void)kith_conn_map_get(&holders->serials, serial, &count);
    enum kith_err err = check(holders, who, count, error);
    if (err != KITH_OK) {
        return err;
    }
    struct holder *holder = kith_malloc(sizeof *holder);
    if (holder == NULL ||
        kith_conn_map_put(&holders->conns, conn, (uint64_t)(uintptr_t)holder) != KITH_OK) {
        kith_free(holder);
        return kith_error_set(error, KITH_ENOMEM, "this node is out of memory");
    }
    if (kith_conn_map_put(&holders->serials, serial, count + 1) != KITH_OK) {
        kith_conn_map_remove(&holders->conns, conn);
        kith_free(holder);
        return kith_error_set(error, KITH_ENOMEM, "this node is out of memory");
    }
    holder->grant = who->grant;
    holder->serial = serial;
    holders->clients += who->grant.role == KITH_CERT_CLIENT ? 1 : 0;
    return KITH_OK;
}

const struct kith_cert_grant *kith_holders_find(const struct kith_holders *holders, uint64_t conn)
{
    const struct holder *holder = find(holders, conn);
    return holder != NULL ? &holder->grant : NULL;
}

void kith_holders_remove(struct kith_holders *holders, uint64_t conn)
{
    struct holder *holder = find(holders, conn);
    uint64_t count = 0;
    if (holder == NULL) {
        return;
    }
    (void)kith_conn_map_get(&holders->serials, holder->serial, &count);
    if (count <= 1) {
        kith_conn_map_remove(&holders->serials, holder->serial);
    } else if (kith_conn_map_put(&holders->serials, holder->serial, count - 1) != KITH_OK) {
        /* to grow a table is not needed for a value that is there: it counts one too many */
    }
    holders->clients -= holder->grant.role == KITH_CERT_CLIENT ? 1 : 0;
    kith_conn_map_remove(&holders->conns, conn);
    kith_free(holder);
}

void kith_holders_release(struct kith_holders *holders)
{
    kith_conn_map_release(&holders->conns);
    kith_conn_map_release(&holders->serials);
}
