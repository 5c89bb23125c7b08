/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * again.h - the same screen again and again: --watch. */
#ifndef KITH_CTL_AGAIN_H
#define KITH_CTL_AGAIN_H

#include <stdbool.h>

/* Calls look(arg) every 2 s, until the process is ended by a signal or nobody reads any more; then
 * gives what it returned last. A terminal shows the last look only, JSON is one document a look. */
int kith_again(bool json, int (*look)(void *arg), void *arg);

#endif
