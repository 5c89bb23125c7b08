/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/assert.h"

#include <stdlib.h>

#include "base/log.h"

_Noreturn void kith_assert_fail(const char *condition, const char *file, int line,
                                const char *function)
{
    kith_log_error("assert", "%s:%d: %s: assertion failed: %s", file, line, function, condition);
    abort();
}
