/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bulk.h - connections for contents of chunks (bulk.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_BULK_H
#define KITH_CORE_BULK_H

#include "core/conns.h"

struct kith_node;

/* That to the peer; 0: it is being opened, and exchange_bulk_up or _down follows. False: it cannot
 * be had now. */
bool bulk_conn(struct kith_node *node, uint16_t peer, uint64_t *ret_conn);
/* Ends it: what was asked there got no answer. */
void bulk_give_up(struct kith_node *node, uint16_t peer, const char *why);
void bulk_opened(struct kith_node *node, const struct conn *conn);
void bulk_ready(struct kith_node *node, const struct conn *conn);
void bulk_closed(struct kith_node *node, const struct conn *conn);
void bulk_tick(struct kith_node *node);
uint64_t bulk_due(const struct kith_node *node);

#endif
