/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mount_status.h - how a mount stands, in words: .kith/status.
 *
 * Pure; any thread. Checked by tests/unit/test_mount_status.c. */
#ifndef KITH_FS_CONTROL_MOUNT_STATUS_H
#define KITH_FS_CONTROL_MOUNT_STATUS_H

#include <stdio.h>

#include "client/client.h"
#include "fs/control/meter.h"
#include "fs/fs.h"
#include "fs/hook/hook.h"
#include "fs/tables/tables.h"

/* A file that could not be stored so far. */
struct kith_unput_file {
    const char *path; /* from the mount's root */
    struct kith_unput unput;
};

/* What is known at one moment. Borrows all that it points to. */
struct kith_figures {
    const struct kith_fs_options *options;
    const char *options_text;  /* those that are not as usual, "" */
    uint64_t since_ms, now_ms; /* by the wall clock */
    struct kith_client_view view;
    bool defers;      /* small writes wait in memory; else they go straight through */
    bool put_trouble; /* for the last put failed */
    struct kith_content_stats content;
    uint64_t unsent; /* files with something to put */
    uint64_t put_failures;
    uint64_t unput_count; /* of which it failed so far; the first of them: */
    uint32_t unput_listed;
    const struct kith_unput_file *unput;
    uint32_t names, inodes;
    bool watches; /* there are any: no -o nowatch */
    struct kith_watch_figures watch;
    struct kith_hook_figures hook; /* counts where options->on_conflict is one */
    uint64_t resident_bytes; /* of the process; 0: not known */
};

/* False: memory is short. */
KITH_MUST_CHECK bool kith_status_print(const struct kith_figures *figures, FILE *out);
/* The same with the meter's in Prometheus' text format 0.0.4: .kith/stats (mount_stats.c, checked
 * by tests/unit/test_mount_stats.c). */
void kith_stats_print(const struct kith_figures *figures, struct kith_meter *meter, FILE *out);

#endif
