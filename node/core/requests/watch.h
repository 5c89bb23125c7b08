/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch.h - who is told what changes (watch.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_WATCH_H
#define KITH_CORE_WATCH_H

#include "core/conns.h"

struct kith_node;

struct watches {
    uint32_t count;
    uint32_t capacity;   /* slots, a power of two; 0 before the first watch */
    uint32_t free;       /* a list of slots */
    uint32_t *heads;     /* [capacity] chains by group */
    struct watch *pool;  /* [capacity] */
    uint32_t swept;      /* the slot that was last looked at for a lease that is over */
    uint64_t sessions;   /* begun so far */
    uint32_t table;      /* tables used so far */
    bool ending;         /* there may be connections with watches of former tables, */
    uint32_t ended_at;   /* from this slot of the table of connections on */
};

void watch_release_all(struct kith_node *node);
void watch_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
/* A store operation with this request's rows (with these rows of others; request NULL: a repair)
 * has been completed, well or not: tells those who watch the group. Nothing may fail in the step
 * after. */
void watch_tell_put(struct kith_node *node, const struct kith_put_req *req);
void watch_tell_rows(struct kith_node *node, const struct kith_group *group,
                     const struct kith_request_id *request, uint32_t count,
                     const struct kith_replica_row *rows);
void watch_conn_gone(struct kith_node *node, struct conn *conn);
/* Another table is in use, or changes cannot be told: all watches end, each with its connection's
 * session, in the ticks that follow. */
void watch_end_all(struct kith_node *node);
void watch_tick(struct kith_node *node);
uint64_t watch_due(const struct kith_node *node);

#endif
