/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch_impl.h - between watch.c and promise.c. */
#ifndef KITH_CLIENT_WATCH_IMPL_H
#define KITH_CLIENT_WATCH_IMPL_H

#include "base/assert.h"
#include "client/core.h"

/* ---- watch.c ---- */

struct cc_watch **cc_watch_bucket(struct kith_client_core *core, const struct kith_group *group);
/* cc_watches_tick is called by then. */
void cc_watch_wake(struct kith_client_core *core, uint64_t at_ms);
/* Something is to be told of it at the end of the step. */
void cc_watch_mark(struct kith_client_core *core, struct cc_watch *watch);
/* It tells changes now. */
bool cc_promise_keeps(const struct kith_client_core *core, const struct cc_promise *promise);
/* It may have missed something, or will; cc_watch_judge is to follow. */
void cc_promise_end(struct cc_watch *watch, struct cc_promise *promise);
/* Sees what has lapsed, and what follows from how the promises stand now. */
void cc_watch_judge(struct kith_client_core *core, struct cc_watch *watch);

/* ---- promise.c ---- */

/* Who owns the group now; nobody has promised anything. cc_promises_ask, or a tick, is to follow. */
void cc_promises_bind(struct kith_client_core *core, struct cc_watch *watch);
/* Those that can be reached. */
void cc_promises_ask(struct kith_client_core *core, struct cc_watch *watch);
/* It is of no more use: the node is told with the next request. */
void cc_promise_drop(struct kith_client_core *core, const struct cc_watch *watch,
                     const struct cc_promise *promise);

#endif
