/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_limit.h - how fast a backup or a restore may go: a bucket of a second's bytes, which what was
 * moved is taken out of. Taking is pure; waiting is for any thread. */
#ifndef KITH_CTL_BACKUP_LIMIT_H
#define KITH_CTL_BACKUP_LIMIT_H

#include "ctl/ctl.h"

struct kith_backup_limit {
    uint64_t rate; /* bytes a second; 0: as fast as it goes */
    uint64_t since_ms;
    int64_t left; /* in the bucket; below 0: owed */
};

/* From --limit. EINVAL with a message. */
KITH_MUST_CHECK enum kith_err kith_backup_limit_parse(const struct kith_ctl_args *args,
                                                      struct kith_backup_limit *ret_limit,
                                                      struct kith_error *error);
/* So many bytes were moved. Returns for how many ms nothing more may be, from now_ms (monotonic). */
uint64_t kith_backup_limit_take(struct kith_backup_limit *limit, uint64_t now_ms, uint64_t bytes);
/* The same, and waits for it. */
void kith_backup_limit_wait(struct kith_backup_limit *limit, uint64_t bytes);

#endif
