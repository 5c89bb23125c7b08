/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * space.h - how full the disk is, and what a node does less then (space.c). Part of internal.h. */
#ifndef KITH_CORE_SPACE_H
#define KITH_CORE_SPACE_H

#include "core/store.h"

struct kith_node;
struct pending;

/* With each completion. */
void space_seen(struct kith_node *node, enum kith_space space);
/* Answers ENOSPC where the disk is so full (enum kith_space), or fuller; true: it has. */
bool space_refuses(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                   uint32_t from);
/* Whether rows bear values: what deletes leave is small. */
bool space_is_value(const struct kith_replica_row *rows, uint32_t count);
void space_stored(struct kith_node *node, struct pending *pending);
void space_tick(struct kith_node *node);
uint64_t space_due(const struct kith_node *node);

#endif
