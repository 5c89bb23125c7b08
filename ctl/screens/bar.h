/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bar.h - one line that tells how far something long is: a bar, its rate and when it will be done.
 *
 * Rate and end follow from all that was seen since the first call, so that they do not jump. Pure but
 * for the line itself. Checked by tests/unit/test_bar.c. One thread at a time. */
#ifndef KITH_CTL_BAR_H
#define KITH_CTL_BAR_H

#include <stdbool.h>
#include <stdint.h>

#define KITH_BAR_SIZE 160u /* bytes of a line, with the NUL; with short words it fits 80 columns */

/* All zero at first. */
struct kith_bar {
    bool begun;
    uint64_t begun_ms, begun_done, begun_bytes;
};

/* "412 of 614 replicas  [#############-------] 67%  22 MiB/s  ETA 18 m". The rate is told after a second
 * and where bytes have come, the end where something was done since. */
void kith_bar_format(struct kith_bar *bar, uint64_t now_ms, uint64_t done, uint64_t all,
                     uint64_t bytes, const char *what, char ret_text[KITH_BAR_SIZE]);

/* Whether it is told at all how far it is: not to who wants JSON. */
bool kith_bar_shown(bool json);
/* Whether standard error, where such a line stands, is a terminal. */
bool kith_bar_terminal(void);
/* On a terminal the line comes in the place of the last one; NULL only takes that away. Elsewhere it is one of
 * its own, and most of them are left out (kith_bar_due), so that it does not fill a log. */
void kith_bar_draw(const char *text);

/* When a plain line is told: two seconds after the first look, and then after twice the time each, a minute at
 * most. All zero at first; true: it is time for one. */
struct kith_bar_pace {
    uint64_t next_ms, gap_ms;
};
bool kith_bar_due(struct kith_bar_pace *pace, uint64_t now_ms);

#endif
