/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_view.h - the cluster in memory as one node, which owns everything: what fake_client.c tells of
 * it. */
#ifndef KITH_TESTS_LIB_FAKE_VIEW_H
#define KITH_TESTS_LIB_FAKE_VIEW_H

#include "client/client.h"

/* For kith_client_view. ENOMEM; *ret_view is zeros then. */
KITH_MUST_CHECK enum kith_err fake_view(struct kith_arena *arena, bool up,
                                        const uint64_t ops[KITH_CLIENT_KINDS],
                                        struct kith_client_view *ret_view);
/* A WHERE's result, in the arena, with so many rows to be filled in; NULL: memory is short. */
struct kith_client_where *fake_where_new(struct kith_arena *arena, uint32_t row_count);
/* One chunk; and, at the end, all rows. */
void fake_where_chunk(struct kith_client_where *where, bool held);
void fake_where_rows(struct kith_client_where *where);

#endif
