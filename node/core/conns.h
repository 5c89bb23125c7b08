/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conns.h - connections, and who is behind them (conns.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_CONNS_H
#define KITH_CORE_CONNS_H

#include "wire/msg.h"

struct kith_node;

struct conn {
    uint64_t id; /* 0 = empty slot */
    bool ours;   /* we opened it */
    bool bulk;   /* ours, and a bulk one */
    bool theirs_bulk; /* theirs, and a bulk one: what is small does not go there */
    bool hello;  /* theirs has come and was right */
    uint64_t hello_ms; /* when theirs is to have come at the latest; 0: it has, or we opened it */
    enum kith_peer_role role;
    uint16_t peer;         /* KITH_NO_PEER: a client, or not known as a member */
    struct kith_uuid node;
    /* watch.c */
    uint32_t watch_first, watch_count;
    uint64_t watch_session;  /* 0: none yet */
    uint64_t watch_until_ms; /* the lease of all its watches; 0: none */
    uint64_t watch_own;
    uint32_t watch_table; /* watches.table when the session began */
};

enum kith_err conns_init(struct kith_node *node);
struct conn *conn_find(struct kith_node *node, uint64_t id);
/* Whether a node asks; else it is refused, for good (EPERM). */
bool conn_is_node(struct kith_node *node, uint64_t id, const struct kith_msg *msg);
struct conn *conn_add(struct kith_node *node, uint64_t id, bool ours); /* NULL: full */
void conn_remove(struct kith_node *node, uint64_t id);
void conn_hello(struct kith_node *node, uint64_t conn);
void conns_tick(struct kith_node *node);
/* A line about the end of a connection; only some of them are written. */
void conn_log(struct kith_node *node, const char *what, const char *reason);
/* Takes a hello; closes the connection where it is not right. */
void conn_take_hello(struct kith_node *node, struct conn *conn, const struct kith_hello *hello);
/* Ends it with a reason for both sides. */
void conn_refuse(struct kith_node *node, struct conn *conn, enum kith_err err, const char *reason);

#endif
