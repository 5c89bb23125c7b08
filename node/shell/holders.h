/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * holders.h - whose connections a node has accepted, by certificate, and how many of one he may
 * have.
 *
 * The core has places for KITH_CONNS_MAX connections. One client takes no more than
 * HOLDER_CONNS_MAX of them with his certificate (a mount has two), and all clients together leave
 * HOLDERS_KEPT to nodes and administrators, so that no client's mistake or malice keeps the cluster
 * from talking, or its owner from looking. One thread. Checked by tests/unit/test_holders.c. */
#ifndef KITH_SHELL_HOLDERS_H
#define KITH_SHELL_HOLDERS_H

#include "core/limits.h"
#include "shell/conn_map.h"
#include "tls/cert.h"

#define KITH_HOLDER_CONNS_MAX 512u  /* of a client's or an admin's certificate */
#define KITH_HOLDERS_KEPT     1024u /* for those who are no clients */

struct kith_holders {             /* all zero at first */
    struct kith_conn_map conns;   /* -> struct holder */
    struct kith_conn_map serials; /* a hash -> how many connections */
    uint32_t clients;             /* connections of clients */
};

/* Notes whose it is. ELIMIT with a message: he has enough, or clients have; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_holders_add(struct kith_holders *holders, uint64_t conn,
                                               const struct kith_cert *who,
                                               struct kith_error *error);
/* Until it is removed. NULL: it is nobody's. */
const struct kith_cert_grant *kith_holders_find(const struct kith_holders *holders, uint64_t conn);
void kith_holders_remove(struct kith_holders *holders,
                         uint64_t conn);                 /* one that is there, or not */
void kith_holders_release(struct kith_holders *holders); /* when all are removed */

#endif
