/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * crash.h - the last deeds of a process that one of its own signals ends (abort, SIGSEGV ...).
 *
 * A process that may dump core first stops all its threads and closes its files only afterwards; a
 * thread that sleeps in the kernel for good keeps it from either. Whoever waits for one of these
 * files to close must therefore be told in another way, and before: that is what the file of
 * kith_crash_file is for.
 *
 * There is no stack of its own for the handlers: a thread that has used up its stack ends without
 * these deeds. */
#ifndef KITH_BASE_CRASH_H
#define KITH_BASE_CRASH_H

/* From now on each signal that would end the process with a core dump (signal(7)) first writes "1"
 * to the file of kith_crash_file and a line with `name` (static) into the log; then it does what it
 * would have done. Signals that somebody handles already (a sanitizer) are left alone. Call it
 * once, before threads are made. */
void kith_crash_init(const char *name);
/* What is written to; -1: nothing, as at first. The caller's: to be taken back before it is closed.
 * Any thread. */
void kith_crash_file(int fd);

#endif
