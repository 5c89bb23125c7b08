/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shell/supervisor.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

/* systemd asks to be told twice in the time that it gives; a third time costs nothing, and lets one
 * turn be late. */
#define FEEDINGS 3u

/* What cannot be told is not told: kithd does its work without a supervisor. */
static void tell(const char *state)
{
    (void)sd_notify(0, state);
}

void kith_supervisor_init(struct kith_supervisor *supervisor)
{
    uint64_t limit_us = 0;
    supervisor->period_ms = 0;
    supervisor->due_ms = 0;
    if (sd_watchdog_enabled(0, &limit_us) > 0) {
        supervisor->period_ms = limit_us / 1000u / FEEDINGS;
        if (supervisor->period_ms == 0 && limit_us >= 2000u) {
            supervisor->period_ms = 1;
        }
    }
}

void kith_supervisor_ready(struct kith_supervisor *supervisor, const char *address)
{
    supervisor->due_ms = 0;
    (void)sd_notifyf(0, "READY=1\nSTATUS=Listening on %s", address);
}

void kith_supervisor_say(const char *format, ...)
{
    char line[KITH_ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *at = line; *at != '\0'; at++) {
        if (*at == '\n') { /* the next line would be another variable */
            *at = ' ';
        }
    }
    (void)sd_notifyf(0, "STATUS=%s", line);
}

void kith_supervisor_stopping(void)
{
    tell("STOPPING=1\nSTATUS=Ending");
}

uint64_t kith_supervisor_turn(struct kith_supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->period_ms == 0) {
        return UINT64_MAX;
    }
    if (now_ms >= supervisor->due_ms) {
        tell("WATCHDOG=1");
        supervisor->due_ms = now_ms + supervisor->period_ms;
    }
    return supervisor->due_ms;
}
