/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * figures.c - collects what status and stats tell: from memory, each part under its own lock and
 * for a moment, so that they can be read when nothing else goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/control/impl.h"
#include "fs/control/mount_status.h"
#include "fs/rows/rows.h"

#define UNPUT_LISTED_MAX 1000u /* files that are told by name */
#define PATH_SIZE        (8u * KITH_ERROR_MESSAGE_SIZE)

static uint64_t ms_of(const struct kith_time *time)
{
    return (uint64_t)time->sec * 1000u + time->nsec / 1000000u;
}

/* proc_pid_statm(5): its second figure are pages. 0: not known. */
static uint64_t resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    bool read = fscanf(file, "%llu %llu", &size, &resident) == 2;
    fclose(file);
    return read ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static bool is_unsent(const struct kith_inode *inode)
{
    return !inode->unlinked &&
           (kith_inode_dirty(inode) || inode->attr_changed != 0 || inode->untold);
}

/* fs->lock held. Those with something to send. False: memory is short. */
static bool collect_unsent(const struct kith_fs *fs, struct kith_arena *arena,
                           struct kith_figures *figures)
{
    struct kith_unput_file *files = NULL;
    const struct kith_inode *inode = fs->dirty;
    for (; inode != NULL; inode = inode->dirty_next == fs->dirty ? NULL : inode->dirty_next) {
        char path[PATH_SIZE];
        if (!is_unsent(inode)) {
            continue;
        }
        figures->unsent++;
        if (inode->unput == NULL || inode->unput->tries == 0) {
            continue;
        }
        figures->unput_count++;
        if (figures->unput_listed == UNPUT_LISTED_MAX) {
            continue;
        }
        files = files != NULL ? files : kith_arena_calloc(arena, UNPUT_LISTED_MAX, sizeof *files);
        kith_inode_path(fs, inode, path, sizeof path);
        char *copy = kith_arena_copy(arena, path, strlen(path) + 1);
        if (files == NULL || copy == NULL) {
            return false;
        }
        files[figures->unput_listed].path = copy;
        files[figures->unput_listed++].unput = *inode->unput;
    }
    figures->unput = files;
    return true;
}

/* Everything lies in the arena. False: memory is short. */
static bool collect(struct kith_control *control, struct kith_arena *arena,
                    struct kith_buf *options, struct kith_figures *figures)
{
    struct kith_fs *fs = control->fs;
    struct kith_time now = kith_wall_time();
    memset(figures, 0, sizeof *figures);
    figures->options = fs->options;
    kith_fs_options_text(fs->options, options);
    kith_buf_put_u8(options, 0);
    figures->options_text = (const char *)options->data;
    figures->since_ms = ms_of(&control->since);
    figures->now_ms = ms_of(&now);
    figures->put_trouble = atomic_load(&fs->put_trouble);
    figures->put_failures = atomic_load(&fs->put_failures);
    figures->defers = kith_fs_defers(fs, &fs->root->dir->group);
    figures->watches = !fs->options->no_watch;
    figures->resident_bytes = resident_bytes();
    kith_content_store_stats(fs->store, &figures->content);
    pthread_mutex_lock(&fs->lock);
    kith_hook_figures(fs->hook, &figures->hook);
    figures->names = fs->entry_count;
    figures->inodes = fs->inode_count;
    kith_watch_figures(fs, &figures->watch);
    bool ok = collect_unsent(fs, arena, figures);
    pthread_mutex_unlock(&fs->lock);
    return ok && !options->failed && kith_client_view(fs->client, arena, &figures->view) == KITH_OK;
}

/* One of the two texts. */
static bool print(struct kith_control *control, bool stats, struct kith_buf *out)
{
    struct kith_arena arena;
    struct kith_figures figures;
    struct kith_buf options;
    char *text = NULL;
    size_t size = 0;
    kith_arena_init(&arena, 0);
    kith_buf_init(&options);
    bool ok = collect(control, &arena, &options, &figures);
    FILE *stream = ok ? open_memstream(&text, &size) : NULL;
    if (stream != NULL && stats) {
        kith_stats_print(&figures, &control->meter, stream);
    } else if (stream != NULL) {
        ok = kith_status_print(&figures, stream);
    }
    ok = stream != NULL && fclose(stream) == 0 && ok;
    if (ok) {
        kith_buf_put(out, text, size);
    }
    free(text); /* the C library's */
    kith_buf_release(&options);
    kith_arena_release(&arena);
    return ok && !out->failed;
}

bool kith_control_status(struct kith_control *control, struct kith_buf *out)
{
    return print(control, false, out);
}

bool kith_control_stats(struct kith_control *control, struct kith_buf *out)
{
    return print(control, true, out);
}
