/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook_program.h - finds the program of -o on_conflict before anything is mounted.
 *
 * Reads the file system and $PATH; any thread. Checked by tests/unit/test_hook_program.c. */
#ifndef KITH_FS_HOOK_PROGRAM_H
#define KITH_FS_HOOK_PROGRAM_H

#include "base/err.h"

/* The absolute path, to be freed with kith_free, of the program that `word` names: an absolute path, or
 * a name that is looked for in $PATH as execvp(3) does. KITH_EINVAL with a message that names the word,
 * what is wrong and what to do: nobody has it, it cannot be executed by this user, or the mount at
 * `mountpoint` (absolute) would hide it. */
KITH_MUST_CHECK enum kith_err kith_hook_program(const char *word, const char *mountpoint,
                                                char **ret_path, struct kith_error *error);

#endif
