/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * restore.c - kithctl restore: from a folder, partition by partition, as of a run; or from a stream, in
 * the order in which it comes. Rows of several partitions are under way at a time; one thread reads. */
#include "ctl/backup/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ask/door.h"
#include "ctl/format.h"
#include "ctl/plan/plan.h"
#include "ctl/report.h"
#include "ctl/screens/bar.h"

#define BATCH_BYTES  (KITH_PAGE_BYTES_MAX / 2)
#define DRAWN_MS     200u
#define WARNINGS_MAX 20u

struct command {
    const struct kith_ctl_args *args;
    struct kith_door door;
    struct kith_restore restore;
    struct kith_backup_dir dir;
    struct kith_restore_batch batch; /* of a stream */
    uint64_t run;
    uint32_t partitions;
    struct kith_restore_pool *pool;
    /* protected by restore.lock: */
    uint32_t done; /* partitions that are through */
    uint64_t wrong; /* what is not restored as it was */
    struct kith_bar bar;
    bool shown;
    uint64_t drawn_ms;
};

/* With the lock held. */
static void warn(void *arg, const char *text)
{
    struct command *command = arg;
    if (command->wrong++ < WARNINGS_MAX) {
        if (command->shown) {
            kith_bar_draw(NULL);
        }
        kith_report_warning(command->args->json, "%s", text);
    }
}

static void tell(struct command *command, const char *text)
{
    pthread_mutex_lock(&command->restore.lock);
    warn(command, text);
    pthread_mutex_unlock(&command->restore.lock);
}

static void draw(struct command *command, bool last)
{
    char text[KITH_BAR_SIZE];
    uint64_t now_ms = kith_mono_ms();
    pthread_mutex_lock(&command->restore.lock);
    if (command->shown && (last || now_ms - command->drawn_ms >= DRAWN_MS)) {
        command->drawn_ms = now_ms;
        kith_bar_format(&command->bar, now_ms, command->done, command->partitions,
                        command->restore.bytes, "partitions", text);
        kith_bar_draw(last ? NULL : text);
    }
    pthread_mutex_unlock(&command->restore.lock);
}

/* ---- Rows of a partition ---- */

/* What is restored of it is under way, and points into it. */
struct part {
    struct command *command;
    struct kith_backup_state state;
    struct kith_backup_log log; /* of a folder */
    uint32_t uses; /* batches, and who reads it; protected by the lock */
};

static enum kith_err part_new(struct command *command, uint32_t partition, uint32_t partitions,
                              struct part **ret_part, struct kith_error *error)
{
    struct part *part = kith_calloc(1, sizeof *part);
    if (!part) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    part->command = command;
    part->uses = 1;
    kith_backup_state_init(&part->state, partition, partitions);
    *ret_part = part;
    return KITH_OK;
}

static void part_drop(void *arg)
{
    struct part *part = arg;
    struct command *command = part->command;
    pthread_mutex_lock(&command->restore.lock);
    bool last = --part->uses == 0;
    command->done += last ? 1 : 0;
    pthread_mutex_unlock(&command->restore.lock);
    if (last) {
        kith_backup_log_release(&part->log);
        kith_backup_state_release(&part->state);
        kith_free(part);
    }
    draw(command, false);
}

static int by_group(const void *a, const void *b)
{
    const struct kith_backup_row *const *left = a, *const *right = b;
    int order = kith_group_compare(&(*left)->group, &(*right)->group);
    return order != 0 ? order : kith_bytes_compare((*left)->name, (*right)->name);
}

/* Whether it is restored: what administrators had staged is not, for it is about nodes that were. */
static bool wanted(const struct kith_backup_row *row)
{
    struct kith_group staged = kith_plan_group();
    return row->held.there && kith_row_count_siblings(row->held.state) > 0 &&
           kith_group_compare(&row->group, &staged) != 0;
}

/* From rows[0] on, those of its group that go together; how many. */
static enum kith_err batch_restore(struct part *part, struct kith_backup_row *const rows[],
                                   size_t left, uint32_t *ret_count, struct kith_error *error)
{
    struct kith_restore_row batch[KITH_BATCH_MAX];
    size_t bytes = 0;
    uint32_t count = 0;
    while (count < KITH_BATCH_MAX && count < left &&
           kith_group_compare(&rows[count]->group, &rows[0]->group) == 0 &&
           (count == 0 || bytes + rows[count]->held.state.size <= BATCH_BYTES)) {
        batch[count].name = rows[count]->name;
        batch[count].state = rows[count]->held.state;
        bytes += rows[count]->held.state.size;
        count++;
    }
    *ret_count = count;
    struct command *command = part->command;
    pthread_mutex_lock(&command->restore.lock);
    part->uses++;
    pthread_mutex_unlock(&command->restore.lock);
    enum kith_err err = kith_restore_pool_add(command->pool, &rows[0]->group, batch, count, part,
                                              error);
    if (err != KITH_OK) {
        part_drop(part);
    }
    return err;
}

/* All of its rows begin to be restored. */
static enum kith_err part_restore(struct part *part, struct kith_error *error)
{
    struct command *command = part->command;
    const struct kith_backup_state *state = &part->state;
    size_t count = 0;
    struct kith_backup_row **rows =
        kith_malloc((state->row_count + 1) * sizeof(struct kith_backup_row *));
    if (!rows) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (struct kith_backup_row *row = state->rows; row; row = row->next) {
        if (wanted(row)) {
            rows[count++] = row;
        }
    }
    qsort(rows, count, sizeof(struct kith_backup_row *), by_group);
    enum kith_err err = KITH_OK;
    uint32_t taken = 0;
    for (size_t at = 0; at < count && err == KITH_OK; at += taken) {
        err = batch_restore(part, rows + at, count - at, &taken, error);
    }
    pthread_mutex_lock(&command->restore.lock);
    command->restore.rows += count;
    pthread_mutex_unlock(&command->restore.lock);
    kith_free(rows);
    return err;
}

/* ---- From a folder ---- */

static enum kith_err run_choose(struct command *command, const struct kith_backup_run **ret_run,
                                struct kith_error *error)
{
    const struct kith_backup_dir *dir = &command->dir;
    uint64_t last = dir->run_count > 0 ? dir->runs[dir->run_count - 1].run : 0;
    uint64_t run = last;
    enum kith_err err =
        kith_ctl_number(command->args, "run", 1, UINT64_MAX - 1, &run, error);
    *ret_run = NULL;
    if (err == KITH_OK && run == 0) {
        err = kith_error_set(error, KITH_ENOTREADY,
                             "no run of %.300s has ended; what there is of the first one: --run 1",
                             dir->path);
    } else if (err == KITH_OK && run > last + 1) {
        err = kith_error_set(error, KITH_EINVAL,
                             "%.300s has no run %" PRIu64 ", the last one is %" PRIu64, dir->path,
                             run, last);
    } else if (err == KITH_OK && dir->run_count > 0 && run < dir->runs[0].run) {
        err = kith_error_set(error, KITH_EINVAL,
                             "run %" PRIu64 " of %.300s was forgotten (kithctl backup --keep); the "
                             "oldest there is: %" PRIu64,
                             run, dir->path, dir->runs[0].run);
    }
    for (uint32_t i = 0; err == KITH_OK && i < dir->run_count; i++) {
        *ret_run = dir->runs[i].run == run ? &dir->runs[i] : *ret_run;
    }
    command->run = run;
    if (err == KITH_OK && (!*ret_run || !(*ret_run)->whole)) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "run %" PRIu64 " is not whole: partitions that it has not are as of the run "
                       "before, or missing",
                       run);
        tell(command, text);
    }
    return err;
}

static enum kith_err folder_restore(struct command *command, struct kith_error *error)
{
    const struct kith_backup_run *run = NULL;
    enum kith_err err =
        kith_backup_dir_read(&command->dir, command->args->positional[0], warn, command, error);
    if (err == KITH_OK) {
        err = run_choose(command, &run, error);
    }
    command->restore.dir = &command->dir;
    command->partitions = err == KITH_OK ? command->dir.partitions : 0;
    struct kith_checksum *marks = kith_calloc(command->partitions + 1u, sizeof *marks);
    if (err == KITH_OK && !marks) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t p = 0; p < command->partitions && err == KITH_OK; p++) {
        struct part *part = NULL;
        err = part_new(command, p, command->partitions, &part, error);
        if (err != KITH_OK) {
            break;
        }
        err = kith_backup_log_read(&command->dir, p, command->run, &part->state, &part->log, error);
        marks[p] = part->log.mark_sum;
        if (err == KITH_ECORRUPT) { /* what stands before it is good */
            tell(command, error->message);
            err = KITH_OK;
        }
        if (err == KITH_OK) {
            err = part_restore(part, error);
        }
        part_drop(part);
    }
    if (err == KITH_OK && run && !kith_backup_marks_fit(run, marks, command->partitions)) {
        tell(command, "a log has lost its end: some rows are as of an earlier run (kithctl backup "
                      "--check)");
    }
    kith_free(marks);
    return err;
}

/* ---- From a stream ---- */

struct stream {
    struct kith_buf buf; /* the record at hand */
    struct kith_arena arena;
    struct part *part; /* the one at hand; NULL: none */
    bool begun, ended;
};

/* ETOOFEW: it ends before. */
static enum kith_err read_exactly(struct kith_buf *buf, size_t size, struct kith_error *error)
{
    if (!kith_buf_reserve(buf, size)) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (size_t end = buf->size + size; buf->size < end;) {
        ssize_t count = read(STDIN_FILENO, buf->data + buf->size, end - buf->size);
        if (count < 0 && errno != EINTR) {
            return kith_error_set(error, KITH_EIO, "standard input: %s", strerror(errno));
        }
        if (count == 0) {
            return kith_error_set(error, KITH_ETOOFEW,
                                  "the stream ends too early: the backup was broken off; what came "
                                  "of it is restored");
        }
        buf->size += count > 0 ? (size_t)count : 0;
    }
    return KITH_OK;
}

static enum kith_err record_read(struct stream *stream, struct kith_backup_record *ret_record,
                                 struct kith_error *error)
{
    enum kith_backup_type type;
    size_t size = 0;
    kith_buf_clear(&stream->buf);
    kith_arena_reset(&stream->arena);
    enum kith_err err = read_exactly(&stream->buf, KITH_BACKUP_HEAD_SIZE, error);
    if (err == KITH_OK &&
        kith_backup_record_size(kith_buf_bytes(&stream->buf), &type, &size) != KITH_OK) {
        err = kith_error_set(error, KITH_EFORMAT, "the stream is no backup, or is damaged");
    }
    if (err == KITH_OK) {
        err = read_exactly(&stream->buf, size - KITH_BACKUP_HEAD_SIZE, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    err = kith_backup_record_decode(&stream->arena, kith_buf_bytes(&stream->buf), ret_record,
                                    &size);
    return err == KITH_OK ? KITH_OK
                          : kith_error_set(error, err, "the stream is damaged: %s",
                                           kith_err_text((int)err));
}

static enum kith_err hold(struct command *command, struct stream *stream,
                          const struct kith_backup_record *record, struct kith_error *error)
{
    enum kith_err err = stream->part ? KITH_OK : part_new(command, 0, 1, &stream->part, error);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_backup_state *state = &stream->part->state;
    const uint8_t *copy = kith_arena_copy(&state->arena, record->u.row.state.data,
                                          record->u.row.state.size);
    bool good = copy && kith_backup_state_hold(
                            state, &record->u.row.group, record->u.row.name, &record->u.row.hash,
                            kith_bytes_make(copy, record->u.row.state.size)) == KITH_OK;
    return good ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
}

/* A chunk that is not taken now: the rows that name it are left out, too. */
static enum kith_err told(struct command *command, enum kith_err err,
                          const struct kith_error *error)
{
    if (err == KITH_EBUSY) {
        tell(command, error->message);
        return KITH_OK;
    }
    return err;
}

static enum kith_err mark_take(struct command *command, struct stream *stream,
                               const struct kith_backup_record *record, struct kith_error *error)
{
    enum kith_err err =
        told(command, kith_restore_chunks_flush(&command->restore, &command->batch, error), error);
    if (err == KITH_OK && stream->part) {
        err = part_restore(stream->part, error);
    }
    if (err == KITH_OK && !record->u.mark.whole) {
        char text[64];
        (void)snprintf(text, sizeof text, "partition %u is not whole", record->u.mark.partition);
        tell(command, text);
    }
    if (stream->part) {
        part_drop(stream->part);
    }
    stream->part = NULL;
    return err;
}

static enum kith_err record_take(struct command *command, struct stream *stream,
                                 const struct kith_backup_record *record, struct kith_error *error)
{
    if (!stream->begun && record->type != KITH_BACKUP_HEAD) {
        return kith_error_set(error, KITH_EFORMAT, "the stream is no backup");
    }
    switch (record->type) {
    case KITH_BACKUP_HEAD:
        stream->begun = true;
        command->partitions = record->u.head.partitions;
        return KITH_OK;
    case KITH_BACKUP_CHUNK:
        draw(command, false);
        return told(command,
                    kith_restore_chunk_add(&command->restore, &command->batch, record, error),
                    error);
    case KITH_BACKUP_ROW:
        return hold(command, stream, record, error);
    case KITH_BACKUP_MARK:
        return mark_take(command, stream, record, error);
    case KITH_BACKUP_END:
        stream->ended = true;
        return KITH_OK;
    }
    return KITH_OK;
}

static enum kith_err stream_restore(struct command *command, struct kith_error *error)
{
    struct stream stream;
    memset(&stream, 0, sizeof stream);
    kith_buf_init(&stream.buf);
    kith_arena_init(&stream.arena, 0);
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && !stream.ended) {
        struct kith_backup_record record;
        err = record_read(&stream, &record, error);
        if (err == KITH_OK) {
            err = record_take(command, &stream, &record, error);
        }
    }
    if (stream.part) {
        part_drop(stream.part);
    }
    kith_arena_release(&stream.arena);
    kith_buf_release(&stream.buf);
    return err;
}

/* ---- The command ---- */

static enum kith_err print(const struct command *command, struct kith_error *error)
{
    const struct kith_restore *restore = &command->restore;
    char text[4][KITH_FORMAT_SIZE];
    if (command->args->json) {
        return kith_json_print(
            kith_json_named(
                "folder", command->args->positional[0],
                json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "run", (json_int_t)command->run,
                          "rows", (json_int_t)restore->rows, "rows_written",
                          (json_int_t)restore->rows_put, "versions_written",
                          (json_int_t)restore->versions_put, "chunks_written",
                          (json_int_t)restore->chunks_put, "bytes_written",
                          (json_int_t)restore->bytes, "wrong", (json_int_t)command->wrong)),
            error);
    }
    kith_format_count(restore->rows, text[0]);
    kith_format_count(restore->rows_put, text[1]);
    kith_format_count(restore->chunks_put, text[2]);
    kith_format_bytes(restore->bytes, text[3]);
    (void)printf("%s rows, %s of them and %s chunks written (%s), the others were there\n", text[0],
                 text[1], text[2], text[3]);
    return KITH_OK;
}

static enum kith_err run(struct command *command, bool streams, struct kith_error *error)
{
    enum kith_err err = kith_door_open(command->args, NULL, &command->door, error);
    command->restore.client = command->door.client;
    if (err == KITH_OK) {
        err = kith_restore_pool_new(&command->restore, part_drop, &command->pool, error);
    }
    if (err == KITH_OK) {
        err = streams ? stream_restore(command, error) : folder_restore(command, error);
    }
    if (command->pool) {
        struct kith_error failed; /* what was read before an error is restored all the same */
        enum kith_err restored = kith_restore_pool_wait(command->pool, &failed);
        if (err == KITH_OK && restored != KITH_OK) {
            *error = failed;
            err = restored;
        }
    }
    if (command->drawn_ms > 0) {
        draw(command, true);
    }
    return err == KITH_OK ? print(command, error) : err;
}

int kith_ctl_restore(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct command command;
    memset(&command, 0, sizeof command);
    command.args = args;
    command.dir.lock = command.dir.pack.fd = -1;
    command.shown = kith_bar_shown(args->json);
    pthread_mutex_init(&command.restore.lock, NULL);
    command.restore.warn = warn;
    command.restore.warn_arg = &command;
    bool streams = strcmp(args->positional[0], "-") == 0;
    enum kith_err err = kith_backup_limit_parse(args, &command.restore.limit, &error);
    if (err == KITH_OK && streams && kith_ctl_value(args, "run")) {
        err = kith_error_set(&error, KITH_EINVAL, "--run goes with a folder: a stream is one run");
    }
    if (err != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    err = run(&command, streams, &error);
    if (command.wrong > WARNINGS_MAX) {
        kith_report_warning(args->json, "%" PRIu64 " more of these", command.wrong - WARNINGS_MAX);
    }
    kith_restore_pool_free(command.pool);
    kith_restore_batch_release(&command.batch);
    kith_backup_index_release(&command.restore.done);
    kith_backup_dir_close(&command.dir);
    if (command.door.client) {
        kith_client_close(command.door.client);
    }
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    pthread_mutex_destroy(&command.restore.lock);
    return command.wrong > 0 ? KITH_CTL_FAILED : KITH_CTL_OK;
}
