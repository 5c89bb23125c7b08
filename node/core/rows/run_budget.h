/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * run_budget.h - how often a node may take a new run without being started again.
 *
 * A node takes one when it meets dots of its own run that it has not given out (rowop.h, THE
 * WRITER'S CONTEXT). Where that is true one is enough for good: a machine that was put back from a
 * snapshot, or runs twice, has drawn nothing of what is random from then on. What is put back has
 * the budget of the snapshot, too. So honest clusters spend none or one, and the bound only meets
 * those who invent dots.
 *
 * Pure; the caller locks it. Checked by tests/unit/test_run_budget.c. */
#ifndef KITH_CORE_RUN_BUDGET_H
#define KITH_CORE_RUN_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define KITH_RUNS_AT_ONCE  8u
#define KITH_RUN_REFILL_MS 86400000u /* 24 h: one more, up to KITH_RUNS_AT_ONCE */

/* Zero-initialised is a full one. */
struct kith_run_budget {
    uint32_t spent;
    uint64_t since_ms; /* with something spent: when the next one began to come back */
};

/* Takes one at `now_ms` (monotonic). False: none is left, and nothing has changed. */
bool kith_run_budget_take(struct kith_run_budget *budget, uint64_t now_ms);

#endif
