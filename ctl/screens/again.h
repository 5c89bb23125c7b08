/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * again.h - the same screen again and again: --watch, top. */
#ifndef KITH_CTL_AGAIN_H
#define KITH_CTL_AGAIN_H

#include <stdbool.h>

/* Calls look(arg) every 2 s, until the process is ended by a signal, nobody reads any more, or q is
 * typed; then gives what it returned last. A terminal is taken whole and shows the last look only
 * (screen.h), also what it has told as trouble; else looks follow each other, an empty line between
 * them, and JSON is one document a look. */
int kith_again(bool json, int (*look)(void *arg), void *arg);

#endif
