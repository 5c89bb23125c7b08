/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * again.c - see again.h. */
#include "ctl/again.h"

#include <stdio.h>
#include <time.h>

#include "text/columns.h"

#define AGAIN_MS 2000u

int kith_again(bool json, int (*look)(void *arg), void *arg)
{
    bool screen = !json && kith_colours_shown(stdout);
    const struct timespec pause = {AGAIN_MS / 1000, (long)(AGAIN_MS % 1000) * 1000000};
    for (;;) {
        (void)fputs(screen ? "\033[H\033[J" : "", stdout);
        int status = look(arg);
        (void)fputs(json || screen ? "" : "\n", stdout);
        if (fflush(stdout) != 0) {
            return status; /* main tells it */
        }
        (void)nanosleep(&pause, NULL); /* earlier is no harm */
    }
}
