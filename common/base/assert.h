/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * assert.h - assertions that are never compiled out.
 *
 * They state invariants of this program, never properties of its input: a failed one means that the
 * state can no longer be trusted, and stopping is safer than going on. */
#ifndef KITH_BASE_ASSERT_H
#define KITH_BASE_ASSERT_H

#define KITH_ASSERT(condition) \
    ((condition) ? (void)0 : kith_assert_fail(#condition, __FILE__, __LINE__, __func__))

/* Writes the place and the condition into the log and aborts. */
_Noreturn void kith_assert_fail(const char *condition, const char *file, int line,
                                const char *function);

#endif
