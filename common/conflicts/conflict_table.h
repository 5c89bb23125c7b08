/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflict_table.h - names in conflict as a person reads them: a line each, aligned.
 *
 *     PATH           VERSIONS  SINCE             WRITERS
 *     plan/plan.odt  2         2026-11-20 18:02  anna@ams-pc1, ben@fra-pc3 */
#ifndef KITH_CONFLICTS_CONFLICT_TABLE_H
#define KITH_CONFLICTS_CONFLICT_TABLE_H

#include "conflicts/conflict_row.h"
#include "text/columns.h"

/* Released with kith_columns_release. */
void kith_conflict_table_init(struct kith_columns *columns);
/* Controls in the path and in writers, and what is no UTF-8, are escaped. False: memory is short.
 */
KITH_MUST_CHECK bool kith_conflict_table_add(struct kith_columns *columns, struct kith_bytes path,
                                             const struct kith_conflict *conflict);

#endif
