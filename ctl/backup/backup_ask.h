/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_ask.h - questions to chosen nodes, one after the other, on connections that stay.
 *
 * What link.h does once for all nodes, for many questions in a row. One thread. */
#ifndef KITH_CTL_BACKUP_ASK_H
#define KITH_CTL_BACKUP_ASK_H

#include "rpc/rpc.h"

struct kith_backup_asker;

KITH_MUST_CHECK enum kith_err kith_backup_asker_new(struct kith_backup_asker **ret_asker,
                                                    struct kith_error *error);
void kith_backup_asker_free(struct kith_backup_asker *asker); /* NULL is fine */

/* Sends the question (its id is set here) to the node at the address and waits for its answer, which is
 * the caller's to drop. EUNREACH, ETIMEOUT, EVERSION ..: also at once, of a node that could not be
 * reached a moment ago. */
KITH_MUST_CHECK enum kith_err kith_backup_ask(struct kith_backup_asker *asker, const char *address,
                                              const struct kith_msg *question, uint32_t timeout_ms,
                                              struct kith_msg_box **ret_box,
                                              struct kith_error *error);

#endif
