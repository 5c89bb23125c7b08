/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void kith_assert_fail(const char *condition, const char *file, int line,
                                const char *function)
{
    fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, condition);
    fflush(stderr);
    abort();
}
