/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/screens/bar.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "text/figures.h"

#define CELLS    20u
#define KNOWN_MS 1000u /* before that rates say nothing */
#define FIRST_MS     2000u  /* before the first plain line */
#define PAUSE_MAX_MS 60000u /* between two of them */

void kith_bar_format(struct kith_bar *bar, uint64_t now_ms, uint64_t done, uint64_t all,
                     uint64_t bytes, const char *what, char ret_text[KITH_BAR_SIZE])
{
    char cells[CELLS + 1], text[2][KITH_FORMAT_SIZE];
    if (!bar->begun || done < bar->begun_done || bytes < bar->begun_bytes) {
        *bar = (struct kith_bar){true, now_ms, done, bytes}; /* who counts has begun again */
    }
    done = done < all ? done : all;
    memset(cells, '-', CELLS);
    memset(cells, '#', all == 0 ? CELLS : (size_t)((double)done / (double)all * CELLS));
    cells[CELLS] = '\0';
    kith_format_count(done, text[0]);
    kith_format_count(all, text[1]);
    size_t used = (size_t)snprintf(ret_text, KITH_BAR_SIZE, "%s of %s %.30s  [%s] %u%%", text[0],
                                   text[1], what, cells,
                                   all == 0 ? 100u : (unsigned)((double)done / (double)all * 100));
    uint64_t passed_ms = now_ms - bar->begun_ms;
    if (passed_ms < KNOWN_MS) {
        return;
    }
    if (bytes > bar->begun_bytes) {
        double rate = (double)(bytes - bar->begun_bytes) * 1000.0 / (double)passed_ms;
        kith_format_bytes((uint64_t)rate, text[0]);
        used += (size_t)snprintf(ret_text + used, KITH_BAR_SIZE - used, "  %s/s", text[0]);
    }
    if (done > bar->begun_done && done < all) {
        double left_ms =
            (double)passed_ms / (double)(done - bar->begun_done) * (double)(all - done);
        kith_format_age(left_ms < 1000 ? 1000 : (uint64_t)left_ms, text[0]);
        (void)snprintf(ret_text + used, KITH_BAR_SIZE - used, "  ETA %s", text[0]);
    }
}

bool kith_bar_shown(bool json)
{
    return !json;
}

bool kith_bar_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

bool kith_bar_due(struct kith_bar_pace *pace, uint64_t now_ms)
{
    if (pace->gap_ms == 0) { /* what is over soon tells nothing */
        pace->gap_ms = FIRST_MS;
        pace->next_ms = now_ms + FIRST_MS;
    }
    if (now_ms < pace->next_ms) {
        return false;
    }
    pace->gap_ms = 2 * pace->gap_ms < PAUSE_MAX_MS ? 2 * pace->gap_ms : PAUSE_MAX_MS;
    pace->next_ms = now_ms + pace->gap_ms;
    return true;
}

void kith_bar_draw(const char *text)
{
    static struct kith_bar_pace pace; /* of the one thing that a command does */
    if (kith_bar_terminal()) {
        (void)fprintf(stderr, "\r\033[K%s", text ? text : "");
    } else if (text && kith_bar_due(&pace, kith_mono_ms())) {
        (void)fprintf(stderr, "%s\n", text);
    }
    (void)fflush(stderr);
}
