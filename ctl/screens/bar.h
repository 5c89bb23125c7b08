/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bar.h - one line that tells how far something long is: a bar, its rate and when it will be done.
 *
 * Rate and end follow from all that was seen since the first call, so that they do not jump. Pure but
 * for the line itself. Checked by tests/unit/test_bar.c. */
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

/* Whether a person looks at standard error, where such a line stands. */
bool kith_bar_shown(bool json);
/* Puts the line in the place of the last one; NULL only takes that away. */
void kith_bar_draw(const char *text);

#endif
