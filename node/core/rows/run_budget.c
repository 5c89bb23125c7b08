/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/rows/run_budget.h"

bool kith_run_budget_take(struct kith_run_budget *budget, uint64_t now_ms)
{
    uint64_t passed = budget->spent == 0 || now_ms < budget->since_ms
                          ? 0
                          : (now_ms - budget->since_ms) / KITH_RUN_REFILL_MS;
    uint32_t back = passed > budget->spent ? budget->spent : (uint32_t)passed;
    budget->spent -= back;
    budget->since_ms =
        budget->spent == 0 ? now_ms : budget->since_ms + back * (uint64_t)KITH_RUN_REFILL_MS;
    if (budget->spent == KITH_RUNS_AT_ONCE) {
        return false;
    }
    budget->spent++;
    return true;
}
