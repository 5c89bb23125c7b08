/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * supervisor.h - what kithd tells who supervises it (systemd, sd_notify(3)), and the watchdog.
 *
 * Without NOTIFY_SOCKET nothing is told, and without WATCHDOG_USEC for this process there is no
 * watchdog. That is fed by the core's thread itself, between two batches, and by nothing else: a node
 * whose core does not come round any more is one that answers nothing, and is to be started again.
 *
 * Used by the core's thread only. Checked by tests/unit/test_supervisor.c. */
#ifndef KITH_SHELL_SUPERVISOR_H
#define KITH_SHELL_SUPERVISOR_H

#include <stdint.h>

#include "base/err.h"

struct kith_supervisor {
    uint64_t period_ms; /* between two feedings; 0 = no watchdog */
    uint64_t due_ms;    /* CLOCK_MONOTONIC */
};

/* Reads the environment. A watchdog that is too tight to be kept (below 2 ms) is none. */
void kith_supervisor_init(struct kith_supervisor *supervisor);
/* It listens: who depends on it may begin. Also begins the watchdog's time. */
void kith_supervisor_ready(struct kith_supervisor *supervisor, const char *address);
/* One line for people (systemctl status); cut at some hundred bytes. */
void kith_supervisor_say(const char *format, ...) KITH_PRINTF(1, 2);
void kith_supervisor_stopping(void);
/* At each turn of the core's loop: feeds the watchdog when it is due. now_ms is CLOCK_MONOTONIC.
 * Returns when the loop must have come round again; UINT64_MAX without a watchdog. */
uint64_t kith_supervisor_turn(struct kith_supervisor *supervisor, uint64_t now_ms);

#endif
