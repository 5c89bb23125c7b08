/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook_call.h - what the hook's program is given, and what is said of its end.
 *
 * Checked by tests/unit/test_hook_call.c, the whole by tests/unit/test_hook.c. */
#ifndef KITH_FS_HOOK_CALL_H
#define KITH_FS_HOOK_CALL_H

#include "fs/conflicts/conflicts.h"
#include "fs/hook/hook_run.h"

#define KITH_HOOK_WHAT_SIZE 128u
/* Versions that are named, and bytes of their paths: the kernel takes 128 KiB in one variable. How many
 * there are more is said in the log. */
#define KITH_HOOK_NAMED_MAX   64u
#define KITH_HOOK_NAMED_BYTES (96u << 10)

/* Absolute paths; in an arena. */
struct kith_hook_files {
    const char *path;
    uint32_t count; /* of versions beside it; `named` of them are in */
    uint32_t named;
    const char *const *versions;
};

/* Of a name in the directory as the mount shows it. ENOENT: the mount has no path to it any more;
 * ENAMETOOLONG: it is longer than a call takes. */
int kith_hook_files(struct kith_fs *fs, const struct kith_inode *dir, const char *name,
                    const struct kith_other others[], uint32_t count, struct kith_arena *arena,
                    struct kith_hook_files *ret_files);
/* Runs the program; what it says goes to the log. True: it ended with status 0. ret_what: how it ended,
 * behind its name. May wait. */
bool kith_hook_call(const struct kith_fs_options *options, const struct kith_hook_files *files,
                    int stop_fd, char ret_what[KITH_HOOK_WHAT_SIZE]);
/* The words of that, and the environment: `inherited` without what is set anew. In the arena, NULL
 * behind; NULL when memory is short. */
char **kith_hook_args(const char *program, const struct kith_hook_files *files,
                      struct kith_arena *arena);
char **kith_hook_env(char *const inherited[], const char *mountpoint,
                     const struct kith_hook_files *files, struct kith_arena *arena);

#endif
