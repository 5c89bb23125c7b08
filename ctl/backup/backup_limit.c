/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_limit.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/config.h"

#define RATE_MAX (UINT64_C(1) << 50) /* above it there is none: sums stay in 63 bits */

enum kith_err kith_backup_limit_parse(const struct kith_ctl_args *args,
                                      struct kith_backup_limit *ret_limit,
                                      struct kith_error *error)
{
    const char *text = kith_ctl_value(args, "limit");
    memset(ret_limit, 0, sizeof *ret_limit);
    if (!text) {
        return KITH_OK;
    }
    enum kith_err err = kith_size_parse(text, &ret_limit->rate, error);
    if (err == KITH_OK && ret_limit->rate > RATE_MAX) {
        ret_limit->rate = 0;
    }
    return err == KITH_OK ? KITH_OK : kith_error_wrap(error, "--limit");
}

uint64_t kith_backup_limit_take(struct kith_backup_limit *limit, uint64_t now_ms, uint64_t bytes)
{
    if (limit->rate == 0) {
        return 0;
    }
    uint64_t passed_ms = limit->since_ms == 0 ? 1000 : now_ms - limit->since_ms;
    passed_ms = passed_ms < 3600000 ? passed_ms : 3600000;
    int64_t rate = (int64_t)limit->rate;
    limit->left += (int64_t)((double)limit->rate * (double)passed_ms / 1000.0);
    limit->left = limit->left < rate ? limit->left : rate;
    limit->left -= (int64_t)bytes;
    limit->since_ms = now_ms;
    return limit->left >= 0 ? 0 : (uint64_t)((double)-limit->left * 1000.0 / (double)rate) + 1;
}

void kith_backup_limit_wait(struct kith_backup_limit *limit, uint64_t bytes)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all there are: a process has one */
    pthread_mutex_lock(&lock);
    uint64_t ms = kith_backup_limit_take(limit, kith_mono_ms(), bytes);
    pthread_mutex_unlock(&lock);
    struct timespec wait = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    if (ms > 0) {
        (void)nanosleep(&wait, NULL); /* ended sooner by a signal: the bucket still owes it */
    }
}
