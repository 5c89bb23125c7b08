/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hard.h - the part of core.h that is about requests that wait until the cluster answers (hard.c),
 * and what its shell says of them. */
#ifndef KITH_CLIENT_HARD_H
#define KITH_CLIENT_HARD_H

#include "base/log.h"
#include "client/client_core.h"

struct cc_op;

/* An op has ended, and nobody is told yet: true where it waits for another attempt instead. */
bool cc_hard_park(struct kith_client_core *core, struct cc_op *op);
/* Those under the tag, or all, end with ECANCELED. */
void cc_hard_end(struct kith_client_core *core, bool all, uint64_t tag);
/* Begins the attempts that are due; all end where the client is not hard any more. */
void cc_hard_tick(struct kith_client_core *core);
/* When to call cc_hard_tick; CC_NEVER. */
uint64_t cc_hard_due(const struct kith_client_core *core);

#define KITH_HARD_TELL_MS 30000u

/* For the shell, after each step: tells the log of requests that wait, at once and then now and
 * again. *told_ms: 0 at first, its own afterwards. */
static inline void kith_hard_tell(const struct kith_client_core *core, uint64_t now_ms,
                                  uint64_t *told_ms)
{
    const char *why;
    uint32_t count = kith_client_core_parked(core, &why);
    if (count > 0 && (*told_ms == 0 || now_ms - *told_ms >= KITH_HARD_TELL_MS)) {
        kith_log_warn("client", "%u request%s wait%s until the cluster answers (hard): %s", count,
                      count == 1 ? "" : "s", count == 1 ? "s" : "", why);
        *told_ms = now_ms;
    }
}

#endif
