/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * screen.h - the whole terminal, for what is shown again and again: --watch, top.
 *
 * Plain ANSI as every terminal has it since the VT100, and its second page, so that what stood there
 * before stands there afterwards: after q, Ctrl-C and any other end that can be caught, and while the
 * process is stopped (Ctrl-Z). One for a process; the thread that opens it. What is pure in it is
 * checked by tests/unit/test_screen.c, the rest by tests/integration/test_top.sh in a terminal. */
#ifndef KITH_CTL_SCREEN_H
#define KITH_CTL_SCREEN_H

#include <stdio.h>

#include "base/buf.h"

enum kith_screen_event { KITH_SCREEN_TIME, KITH_SCREEN_RESIZED, KITH_SCREEN_QUIT };

/* Takes the terminal that stdout is. False: it is none, or one that can nothing (TERM=dumb). */
KITH_MUST_CHECK bool kith_screen_open(void);
/* Gives it back; also where it was not taken. */
void kith_screen_close(void);
/* Shows the text, fitted to the terminal; lines end in '\n', colours may be in it. */
void kith_screen_draw(struct kith_bytes text);
/* Waits so long, or until something happens: TIME, RESIZED: draw again. */
enum kith_screen_event kith_screen_wait(uint32_t ms);

/* The text as it is written: lines longer than `columns` go on in the next one, at a blank where
 * there is one, but rows of tables are cut; what does not fit into `rows` is counted in the last one;
 * controls but colours are left out. Check out->failed. */
void kith_screen_fit(struct kith_bytes text, uint32_t columns, uint32_t rows,
                     struct kith_buf *out);

#endif
