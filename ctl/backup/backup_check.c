/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_check.c - kithctl backup --check: a backup is read as a whole, without a cluster. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/backup/restore.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "ctl/screens/bar.h"

#define TOLD_MAX 20u /* one by one; what follows is counted */

struct check {
    const struct kith_ctl_args *args;
    struct kith_backup_dir dir;
    struct kith_checksum *marks;
    uint64_t rows, chunks, bytes, wrong;
    struct kith_bar bar;
    bool shown;
};

static void tell(void *arg, const char *text)
{
    struct check *check = arg;
    if (check->wrong++ < TOLD_MAX) {
        if (check->shown) {
            kith_bar_draw(NULL);
        }
        kith_report_warning(check->args->json, "%s", text);
    }
}

static void draw(struct check *check, uint64_t done, uint64_t all, const char *what)
{
    char text[KITH_BAR_SIZE];
    if (check->shown) {
        kith_bar_format(&check->bar, kith_mono_ms(), done, all, check->bytes, what, text);
        kith_bar_draw(text);
    }
}

/* Every chunk that is named is there. */
static void refs_check(struct check *check, const char *path, const struct kith_chunk_id *ids,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!kith_backup_index_find(&check->dir.chunks, &ids[i])) {
            char text[4400], hex[2 * KITH_CHUNK_ID_SIZE + 1];
            for (size_t k = 0; k < KITH_CHUNK_ID_SIZE; k++) {
                (void)snprintf(hex + 2 * k, 3, "%02x", ids[i].bytes[k]);
            }
            (void)snprintf(text, sizeof text, "%s names chunk %s, which is not there", path, hex);
            tell(check, text);
        }
    }
}

static enum kith_err pack_check(struct check *check, uint32_t pack, struct kith_error *error)
{
    char path[4200], text[4400];
    struct kith_backup_walk walk;
    struct kith_backup_record record;
    memset(&walk, 0, sizeof walk);
    kith_backup_pack_path(&check->dir, pack, path);
    walk.path = path;
    enum kith_err err = kith_backup_map(path, &walk.map, error);
    while (err == KITH_OK) {
        size_t at = walk.at;
        err = kith_backup_walk_next(&walk, &record, error);
        if (err != KITH_OK || record.type != KITH_BACKUP_CHUNK) {
            continue;
        }
        struct kith_checksum sum = kith_checksum_of(record.u.chunk.contents);
        if (!kith_checksum_equal(&sum, &record.u.chunk.checksum)) {
            (void)snprintf(text, sizeof text, "%s is damaged at byte %zu: a chunk", path, at);
            tell(check, text);
        }
        refs_check(check, path, record.u.chunk.refs, record.u.chunk.ref_count);
        check->chunks++;
        check->bytes += record.u.chunk.contents.size;
    }
    kith_backup_unmap(&walk.map);
    kith_arena_release(&walk.arena);
    if (err == KITH_ECORRUPT) {
        tell(check, error->message);
    }
    return err == KITH_ENOTFOUND || err == KITH_ECORRUPT ? KITH_OK : err;
}

static enum kith_err rows_check(struct check *check, const struct kith_backup_state *state,
                                const char *path, struct kith_error *error)
{
    struct kith_arena arena;
    enum kith_err err = KITH_OK;
    kith_arena_init(&arena, 0);
    for (const struct kith_backup_row *row = state->rows; row && err == KITH_OK; row = row->next) {
        struct kith_row decoded;
        if (!row->held.there) {
            continue;
        }
        kith_arena_reset(&arena);
        err = kith_row_decode(&arena, row->held.state, &decoded);
        for (uint32_t i = 0; err == KITH_OK && i < decoded.sibling_count; i++) {
            refs_check(check, path, decoded.siblings[i].refs, decoded.siblings[i].ref_count);
        }
        check->rows++;
    }
    kith_arena_release(&arena);
    if (err != KITH_OK) {
        (void)kith_error_set(error, err, "%.300s: a row: %s", path, kith_err_text((int)err));
        tell(check, error->message);
    }
    return err == KITH_ENOMEM ? err : KITH_OK;
}

static enum kith_err log_check(struct check *check, uint32_t partition, uint64_t run,
                               struct kith_error *error)
{
    char path[4200];
    struct kith_backup_state state;
    struct kith_backup_log log;
    kith_backup_state_init(&state, partition, check->dir.partitions);
    kith_backup_log_path(&check->dir, partition, path);
    enum kith_err err = kith_backup_log_read(&check->dir, partition, run, &state, &log, error);
    check->marks[partition] = log.mark_sum;
    if (err == KITH_ECORRUPT || err == KITH_ECLUSTER || err == KITH_EVERSION) {
        tell(check, error->message);
        err = KITH_OK;
    }
    check->bytes += log.map.size;
    if (err == KITH_OK) {
        err = rows_check(check, &state, path, error);
    }
    kith_backup_log_release(&log);
    kith_backup_state_release(&state);
    return err;
}

static enum kith_err all_check(struct check *check, struct kith_error *error)
{
    const struct kith_backup_dir *dir = &check->dir;
    const struct kith_backup_run *last = dir->run_count > 0 ? &dir->runs[dir->run_count - 1] : NULL;
    enum kith_err err = KITH_OK;
    for (uint32_t p = 0; p < dir->partitions && err == KITH_OK; p++) {
        err = log_check(check, p, last ? last->run : UINT64_MAX, error);
        draw(check, p + 1, dir->partitions, "partitions");
    }
    if (err == KITH_OK && last && !kith_backup_marks_fit(last, check->marks, dir->partitions)) {
        tell(check, "a log has lost its end: it is not as it was when its last run ended; make a "
                    "new backup into another folder");
    }
    memset(&check->bar, 0, sizeof check->bar);
    for (uint32_t pack = 1; pack <= dir->packs && err == KITH_OK; pack++) {
        err = pack_check(check, pack, error);
        draw(check, pack, dir->packs, "packs of chunks");
    }
    if (check->shown) {
        kith_bar_draw(NULL);
    }
    return err;
}

static enum kith_err print(const struct check *check, struct kith_error *error)
{
    char text[4][KITH_FORMAT_SIZE];
    const struct kith_backup_dir *dir = &check->dir;
    uint64_t run = dir->run_count > 0 ? dir->runs[dir->run_count - 1].run : 0;
    bool whole = dir->run_count > 0 && dir->runs[dir->run_count - 1].whole;
    if (check->args->json) {
        return kith_json_print(
            kith_json_named("folder", check->args->positional[0],
                            json_pack("{s:I, s:b, s:I, s:I, s:I, s:I}", "run", (json_int_t)run,
                                      "whole", (int)whole, "rows", (json_int_t)check->rows,
                                      "chunks", (json_int_t)check->chunks, "bytes",
                                      (json_int_t)check->bytes, "wrong",
                                      (json_int_t)check->wrong)),
            error);
    }
    kith_format_count(check->rows, text[0]);
    kith_format_count(check->chunks, text[1]);
    kith_format_bytes(check->bytes, text[2]);
    kith_format_count(check->wrong, text[3]);
    (void)printf("run %" PRIu64 "%s: %s rows, %s chunks, %s read; %s wrong\n", run,
                 run == 0 ? " (none has ended)" : whole ? "" : " (not whole)", text[0], text[1],
                 text[2], check->wrong == 0 ? "nothing is" : text[3]);
    return KITH_OK;
}

int kith_ctl_backup_check(const struct kith_ctl_args *args)
{
    struct check check;
    struct kith_error error;
    memset(&check, 0, sizeof check);
    check.args = args;
    check.shown = kith_bar_shown(args->json);
    if (strcmp(args->positional[0], "-") == 0) {
        (void)kith_error_set(&error, KITH_EINVAL, "--check goes with a folder");
        return kith_ctl_usage(args, &error);
    }
    if (kith_ctl_value(args, "keep")) {
        (void)kith_error_set(&error, KITH_EINVAL, "--check only reads: --keep goes with a run");
        return kith_ctl_usage(args, &error);
    }
    enum kith_err err =
        kith_backup_dir_read(&check.dir, args->positional[0], tell, &check, &error);
    check.wrong = 0; /* packs are read once more, as a whole */
    if (err == KITH_OK) {
        check.marks = kith_calloc(check.dir.partitions, sizeof *check.marks);
        err = check.marks ? all_check(&check, &error)
                         : kith_error_set(&error, KITH_ENOMEM, "out of memory");
    }
    if (err == KITH_OK) {
        err = print(&check, &error);
    }
    if (err == KITH_OK && check.wrong > 0) {
        err = kith_error_set(&error, KITH_ECORRUPT,
                             "%s is damaged: what is whole of it can be restored all the same; a "
                             "new backup needs another folder",
                             args->positional[0]);
    }
    kith_free(check.marks);
    kith_backup_dir_close(&check.dir);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
