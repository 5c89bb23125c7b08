/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup.c - kithctl backup: partition by partition, the rows (backup_read.h), the chunks that they name
 * (backup_chunks.h), then what has changed into the log with its MARK (backup_dir.h); or all of it into
 * one stream, where chunks come before the rows that name them.
 *
 * SEVERAL PARTITIONS are under way at a time, one of each worker, for most of the time goes by waiting for
 * owners. What they share (the folder's packs and what is counted and told) is protected by one lock.
 *
 * RUNS are numbered, and a partition's part in a run is what its log says up to the last MARK of that run
 * or an earlier one. That an increment takes what has changed since the last run is not by a sequence
 * number of the nodes' stores: that is one store's, and void when its node is replaced. The hash trees say
 * the same of any node. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ask/view.h"
#include "ctl/backup/backup_chunks.h"
#include "ctl/backup/backup_dir.h"
#include "ctl/backup/backup_forget.h"
#include "ctl/backup/backup_read.h"
#include "ctl/backup/restore.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "ctl/screens/bar.h"

#define WORKERS      4u
#define TRIES        3u    /* of a partition whose chunks are gone: its rows are others by then */
#define DRAWN_MS     200u  /* between two looks at the line */
#define PATIENCE_MS  1000u /* see status.c */
#define WARNINGS_MAX 5u    /* told one by one; the others are counted */

struct backup {
    const struct kith_ctl_args *args;
    struct kith_door door;
    struct kith_backup_limit limit;
    bool streams; /* to standard output */
    uint32_t partitions;
    uint64_t run;
    uint64_t keep; /* whole runs; 0: all of them */
    struct kith_backup_forget forget;
    uint64_t forget_done; /* as told last */
    struct kith_checksum *marks; /* of each partition's last MARK; each its worker's */
    pthread_mutex_t lock;
    /* protected by lock: */
    uint32_t next, done; /* partitions: to be begun, and that are through */
    struct kith_error error; /* the first one, which ends it */
    struct kith_backup_dir dir; /* but for what stays as it was opened */
    struct kith_backup_file stream;
    struct kith_backup_index sent; /* of a stream */
    uint64_t rows, rows_new, chunks_new, bytes;
    uint32_t partial;  /* partitions that are not whole in this run */
    uint32_t warnings; /* that were told */
    struct kith_bar bar;
    bool shown;
    uint64_t drawn_ms;
};

struct worker {
    struct backup *backup;
    struct kith_backup_reader reader;
    uint64_t counted; /* of the reader's bytes */
    pthread_t thread;
};

/* ---- Progress ---- */

/* With the lock held. */
static void draw(struct backup *backup, bool last)
{
    char text[KITH_BAR_SIZE];
    uint64_t now_ms = kith_mono_ms();
    if (!backup->shown || (!last && now_ms - backup->drawn_ms < DRAWN_MS)) {
        return;
    }
    backup->drawn_ms = now_ms;
    kith_bar_format(&backup->bar, now_ms, backup->done, backup->partitions, backup->bytes,
                    "partitions", text);
    kith_bar_draw(last ? NULL : text);
}

static void on_progress(void *arg, uint64_t bytes)
{
    struct backup *backup = arg;
    pthread_mutex_lock(&backup->lock);
    backup->bytes += bytes;
    draw(backup, false);
    pthread_mutex_unlock(&backup->lock);
}

static void warn(struct backup *backup, const char *text)
{
    pthread_mutex_lock(&backup->lock);
    if (backup->warnings++ < WARNINGS_MAX) {
        if (backup->shown) {
            kith_bar_draw(NULL);
        }
        kith_report_warning(backup->args->json, "%s", text);
    }
    pthread_mutex_unlock(&backup->lock);
}

/* ---- Chunks ---- */

static bool has_chunk(void *arg, const struct kith_chunk_id *id)
{
    struct backup *backup = arg;
    pthread_mutex_lock(&backup->lock);
    bool has =
        kith_backup_index_find(backup->streams ? &backup->sent : &backup->dir.chunks, id) != NULL;
    pthread_mutex_unlock(&backup->lock);
    return has;
}

static enum kith_err put_chunk(void *arg, const struct kith_backup_record *chunk,
                               struct kith_error *error)
{
    struct backup *backup = arg;
    struct kith_backup_place place = {chunk->u.chunk.id, 0, 0};
    pthread_mutex_lock(&backup->lock);
    enum kith_err err = backup->streams ? kith_backup_file_add(&backup->stream, chunk, error)
                                        : kith_backup_dir_chunk(&backup->dir, chunk, error);
    if (err == KITH_OK && backup->streams &&
        kith_backup_index_add(&backup->sent, &place) != KITH_OK) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    backup->chunks_new += err == KITH_OK ? 1 : 0;
    pthread_mutex_unlock(&backup->lock);
    return err;
}

/* What the rows of MERGED refer to. */
static enum kith_err chunk_ids(const struct kith_backup_state *state, struct kith_backup_ids *ids,
                               struct kith_error *error)
{
    struct kith_arena arena;
    enum kith_err err = KITH_OK;
    kith_arena_init(&arena, 0);
    for (const struct kith_backup_row *row = state->rows; err == KITH_OK && row; row = row->next) {
        struct kith_row decoded;
        if (!row->merged.there) {
            continue;
        }
        kith_arena_reset(&arena);
        err = kith_row_decode(&arena, row->merged.state, &decoded);
        for (uint32_t i = 0; err == KITH_OK && i < decoded.sibling_count; i++) {
            err = kith_backup_ids_add(ids, decoded.siblings[i].refs,
                                      decoded.siblings[i].ref_count);
        }
    }
    kith_arena_release(&arena);
    return err == KITH_OK ? KITH_OK
                          : kith_error_set(error, err, "a row of partition %u: %s",
                                           state->partition, kith_err_text((int)err));
}

static enum kith_err fetch_chunks(struct backup *backup, const struct kith_backup_state *state,
                                  struct kith_error *error)
{
    struct kith_backup_sink sink = {backup, has_chunk, put_chunk, on_progress};
    struct kith_backup_ids ids;
    memset(&ids, 0, sizeof ids);
    enum kith_err err = chunk_ids(state, &ids, error);
    if (err == KITH_OK) {
        err = kith_backup_chunks(backup->door.client, &ids, &backup->limit, &sink, error);
    }
    kith_backup_ids_release(&ids);
    return err;
}

/* ---- A partition ---- */

static uint64_t wall_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What has changed, and the MARK, behind it. */
static enum kith_err rows_write(struct backup *backup, const struct kith_backup_state *state,
                                bool whole, struct kith_backup_file *file, uint64_t *rows,
                                struct kith_checksum *ret_mark, struct kith_error *error)
{
    struct kith_backup_record record;
    enum kith_err err = KITH_OK;
    for (const struct kith_backup_row *row = state->rows; err == KITH_OK && row; row = row->next) {
        if (kith_backup_row_changed(row)) {
            memset(&record, 0, sizeof record);
            record.type = KITH_BACKUP_ROW;
            record.u.row.partition = state->partition;
            record.u.row.group = row->group;
            record.u.row.name = row->name;
            record.u.row.hash = row->merged.hash;
            record.u.row.state = row->merged.state; /* none where it is gone */
            ++*rows;
            err = kith_backup_file_add(file, &record, error);
        }
    }
    if (err == KITH_OK && !backup->streams) {
        err = kith_backup_file_sync(file, error); /* the MARK stands for them */
    }
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_MARK;
    record.u.mark.partition = state->partition;
    record.u.mark.run = backup->run;
    record.u.mark.time_ms = wall_ms();
    record.u.mark.whole = whole;
    kith_backup_state_root(state, false, &record.u.mark.rows, &record.u.mark.root);
    *ret_mark = kith_backup_mark_sum(&record);
    return err == KITH_OK ? kith_backup_file_add(file, &record, error) : err;
}

static enum kith_err log_write(struct backup *backup, const struct kith_backup_state *state,
                               const struct kith_backup_log *log, bool whole, uint64_t *rows,
                               struct kith_error *error)
{
    struct kith_backup_file file = {.fd = -1};
    struct kith_backup_record head;
    char path[4200];
    memset(&head, 0, sizeof head);
    head.type = KITH_BACKUP_HEAD;
    head.u.head.cluster = backup->dir.cluster;
    head.u.head.partitions = backup->dir.partitions;
    head.u.head.partition = state->partition;
    kith_backup_log_path(&backup->dir, state->partition, path);
    enum kith_err err = KITH_OK;
    pthread_mutex_lock(&backup->lock);
    if (backup->dir.pack.fd >= 0) {
        err = kith_backup_file_sync(&backup->dir.pack, error); /* rows name chunks that are there */
    }
    pthread_mutex_unlock(&backup->lock);
    if (err == KITH_OK) {
        err = kith_backup_file_open(&file, path, log->end, &head, error);
    }
    if (err == KITH_OK) {
        err = rows_write(backup, state, whole, &file, rows, &backup->marks[state->partition],
                         error);
    }
    if (err == KITH_OK) {
        err = kith_backup_file_sync(&file, error);
    }
    kith_backup_file_close(&file);
    return err;
}

static bool anything_changed(const struct kith_backup_state *state)
{
    bool changed = false;
    for (const struct kith_backup_row *row = state->rows; row && !changed; row = row->next) {
        changed = kith_backup_row_changed(row);
    }
    return changed;
}

/* Rows and chunks; again where a chunk is gone: then the row that named it is another by now, too. */
static enum kith_err take(struct worker *worker, struct kith_backup_state *state, bool *ret_whole,
                          bool *ret_any, struct kith_error *error)
{
    struct backup *backup = worker->backup;
    struct kith_backup_took took;
    char text[KITH_ERROR_MESSAGE_SIZE + 128];
    enum kith_err err = KITH_ENOTFOUND;
    for (uint32_t i = 0; i < TRIES && err == KITH_ENOTFOUND; i++) {
        err = kith_backup_read(&worker->reader, state, &took, error);
        if (err == KITH_OK && took.answered > 0) {
            err = fetch_chunks(backup, state, error);
        }
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return err;
    }
    *ret_any = took.answered > 0;
    *ret_whole = err == KITH_OK && took.answered >= took.need && took.settled == took.answered;
    if (took.answered < took.need) {
        (void)snprintf(text, sizeof text,
                       "partition %u: %u of %u owners answered, %u are needed (%.400s); back up "
                       "again once kithctl status shows them up",
                       state->partition, took.answered, took.owners, took.need,
                       took.error.message);
        warn(backup, text);
    } else if (err == KITH_ENOTFOUND) {
        (void)snprintf(text, sizeof text, "partition %u: %.400s; see kithctl scrub",
                       state->partition, error->message);
        warn(backup, text);
    } else if (!*ret_whole) {
        (void)snprintf(text, sizeof text,
                       "partition %u: what %s has changes faster than it can be read, or is "
                       "damaged: its rows are of several moments; back up again when less is "
                       "written, see kithctl scrub",
                       state->partition, took.restless);
        warn(backup, text);
    }
    return KITH_OK;
}

static enum kith_err stream_write(struct backup *backup, const struct kith_backup_state *state,
                                  bool whole, uint64_t *rows, struct kith_error *error)
{
    struct kith_checksum mark;
    pthread_mutex_lock(&backup->lock); /* a partition's rows follow each other */
    enum kith_err err =
        state->rows ? rows_write(backup, state, whole, &backup->stream, rows, &mark, error)
                    : KITH_OK;
    pthread_mutex_unlock(&backup->lock);
    return err;
}

static enum kith_err partition_backup(struct worker *worker, uint32_t partition,
                                      struct kith_error *error)
{
    struct backup *backup = worker->backup;
    struct kith_backup_state state;
    struct kith_backup_log log;
    bool whole = false, any = false;
    uint64_t rows = 0, rows_new = 0;
    memset(&log, 0, sizeof log);
    kith_backup_state_init(&state, partition, backup->partitions);
    enum kith_err err = KITH_OK;
    if (!backup->streams) {
        err = kith_backup_log_read(&backup->dir, partition, UINT64_MAX, &state, &log, error);
        backup->marks[partition] = log.mark_sum;
    }
    if (err == KITH_OK) {
        err = take(worker, &state, &whole, &any, error);
    }
    /* what too few owners say stands only where nothing stands yet: a row that they have not got could
     * be taken for one that is gone */
    bool write = any && (whole || !log.marked || !log.mark.u.mark.whole);
    bool news = anything_changed(&state) || log.loose || (log.marked && !log.mark.u.mark.whole);
    if (err == KITH_OK && write && backup->streams) {
        err = stream_write(backup, &state, whole, &rows_new, error);
    } else if (err == KITH_OK && write && news) {
        err = log_write(backup, &state, &log, whole, &rows_new, error);
    }
    struct kith_checksum root;
    kith_backup_state_root(&state, !write, &rows, &root);
    pthread_mutex_lock(&backup->lock);
    backup->partial += whole ? 0 : 1;
    backup->rows += rows;
    backup->rows_new += rows_new;
    backup->bytes += worker->reader.bytes - worker->counted;
    worker->counted = worker->reader.bytes;
    backup->done++;
    draw(backup, false);
    pthread_mutex_unlock(&backup->lock);
    kith_backup_log_release(&log);
    kith_backup_state_release(&state);
    return err;
}

/* ---- Workers ---- */

static void worker_fail(struct backup *backup, const struct kith_error *error)
{
    pthread_mutex_lock(&backup->lock);
    if (backup->error.code == KITH_OK) {
        backup->error = *error;
    }
    pthread_mutex_unlock(&backup->lock);
}

static void *worker_run(void *arg)
{
    struct worker *worker = arg;
    struct backup *backup = worker->backup;
    struct kith_error error = {KITH_OK, ""};
    enum kith_err err =
        kith_backup_reader_init(&worker->reader, backup->door.client, &backup->limit,
                                (uint32_t)backup->args->timeout_ms, &error);
    bool more = true;
    while (err == KITH_OK && more) {
        pthread_mutex_lock(&backup->lock);
        uint32_t partition = backup->next;
        more = backup->error.code == KITH_OK && partition < backup->partitions;
        backup->next += more ? 1 : 0;
        pthread_mutex_unlock(&backup->lock);
        err = more ? partition_backup(worker, partition, &error) : KITH_OK;
    }
    if (err != KITH_OK) {
        worker_fail(backup, &error);
    }
    kith_backup_reader_release(&worker->reader);
    return NULL;
}

/* All partitions. */
static enum kith_err workers_run(struct backup *backup, struct kith_error *error)
{
    struct worker workers[WORKERS];
    uint32_t count = 0;
    memset(workers, 0, sizeof workers);
    for (; count < WORKERS; count++) {
        workers[count].backup = backup;
        if (pthread_create(&workers[count].thread, NULL, worker_run, &workers[count]) != 0) {
            struct kith_error none = {KITH_OK, ""};
            (void)kith_error_set(&none, KITH_ENOMEM, "a thread cannot be made");
            worker_fail(backup, &none);
            break;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_join(workers[i].thread, NULL); /* it was made */
    }
    *error = backup->error;
    return error->code;
}

/* ---- The command ---- */

/* Writes that stand in for owners are in a backup once they have been handed over. */
static void warn_of_hints(struct backup *backup)
{
    const char *servers[KITH_CTL_SERVERS_MAX];
    struct kith_link *link = NULL;
    struct kith_view view;
    struct kith_error error;
    uint64_t hints = 0;
    for (uint32_t i = 0; i < backup->args->server_count; i++) {
        servers[i] = backup->args->servers[i];
    }
    if (kith_link_new(&link, &error) != KITH_OK) {
        return; /* it was to be told only */
    }
    if (kith_view_read(link, servers, backup->args->server_count, backup->args->timeout_ms,
                       PATIENCE_MS, &view, &error) == KITH_OK) {
        for (uint32_t i = 0; i < view.count; i++) {
            hints += view.nodes[i].custody;
        }
        kith_view_release(&view);
    }
    if (hints > 0) {
        char text[200];
        (void)snprintf(text, sizeof text,
                       "%" PRIu64 " writes are kept for owners that were away, and are in a backup "
                       "when those have them: kithctl handoff",
                       hints);
        warn(backup, text);
    }
    kith_link_free(link);
}

static enum kith_err print(struct backup *backup, struct kith_error *error)
{
    char text[5][KITH_FORMAT_SIZE];
    bool whole = backup->partial == 0;
    uint64_t bytes = backup->bytes;
    if (backup->args->json) {
        return kith_json_print(
            kith_json_named(
                "folder", backup->args->positional[0],
                json_pack("{s:I, s:b, s:I, s:i, s:I, s:I, s:I, s:I, s:i, s:I}", "run",
                          (json_int_t)backup->run, "whole", (int)whole, "partitions",
                          (json_int_t)backup->partitions, "partial",
                          (int)backup->partial, "rows", (json_int_t)backup->rows, "new_rows",
                          (json_int_t)backup->rows_new, "new_chunks",
                          (json_int_t)backup->chunks_new, "bytes_read", (json_int_t)bytes,
                          "forgotten", (int)backup->forget.runs, "freed",
                          (json_int_t)backup->forget.freed)),
            error);
    }
    kith_format_count(backup->rows, text[0]);
    kith_format_count(backup->rows_new, text[1]);
    kith_format_count(backup->chunks_new, text[2]);
    kith_format_bytes(bytes, text[3]);
    kith_format_count(backup->partial, text[4]);
    (void)fprintf(backup->streams ? stderr : stdout,
                  "run %" PRIu64 ": %s rows, %s of them and %s chunks new, %s read%s%s%s\n",
                  backup->run, text[0], text[1], text[2], text[3], whole ? "" : "; ",
                  whole ? "" : text[4], whole ? "" : " partitions are not whole");
    if (backup->keep > 0) {
        kith_format_count(backup->forget.runs, text[0]);
        kith_format_bytes(backup->forget.freed, text[1]);
        (void)printf("forgotten: %s older run%s, %s freed; the oldest is run %" PRIu64 "\n", text[0],
                     backup->forget.runs == 1 ? "" : "s", text[1], backup->forget.oldest);
    }
    return KITH_OK;
}

static enum kith_err target_open(struct backup *backup, struct kith_error *error)
{
    struct kith_uuid cluster = kith_client_cluster(backup->door.client);
    struct kith_table *table = kith_client_table(backup->door.client);
    if (!table) {
        return kith_error_set(error, KITH_ENOTREADY, "no table is known yet; try again");
    }
    uint32_t partitions = backup->partitions = table->partitions; /* they stay for ever */
    kith_table_drop(table);
    backup->marks = kith_calloc(partitions, sizeof *backup->marks);
    if (!backup->marks) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (!backup->streams) {
        enum kith_err err = kith_backup_dir_write(&backup->dir, backup->args->positional[0],
                                                  &cluster, partitions, error);
        backup->run =
            backup->dir.run_count > 0 ? backup->dir.runs[backup->dir.run_count - 1].run + 1 : 1;
        return err;
    }
    struct kith_backup_record head;
    memset(&head, 0, sizeof head);
    head.type = KITH_BACKUP_HEAD;
    head.u.head.cluster = cluster;
    head.u.head.partitions = partitions;
    head.u.head.partition = UINT32_MAX;
    backup->run = 1;
    (void)snprintf(backup->stream.path, sizeof backup->stream.path, "standard output");
    kith_buf_init(&backup->stream.buf);
    backup->stream.fd = dup(STDOUT_FILENO);
    return backup->stream.fd < 0
               ? kith_error_set(error, KITH_EIO, "standard output is closed")
               : kith_backup_file_add(&backup->stream, &head, error);
}

static enum kith_err target_done(struct backup *backup, struct kith_error *error)
{
    bool whole = backup->partial == 0;
    if (backup->streams) {
        struct kith_backup_record end;
        memset(&end, 0, sizeof end);
        end.type = KITH_BACKUP_END;
        end.u.end.rows = backup->rows_new;
        end.u.end.chunks = backup->chunks_new;
        end.u.end.whole = whole;
        enum kith_err err = kith_backup_file_add(&backup->stream, &end, error);
        return err == KITH_OK ? kith_backup_file_flush(&backup->stream, error) : err;
    }
    char figures[160];
    (void)snprintf(figures, sizeof figures,
                   "rows %" PRIu64 " new %" PRIu64 " chunks %" PRIu64 " read %" PRIu64,
                   backup->rows, backup->rows_new, backup->chunks_new, backup->bytes);
    enum kith_err err = KITH_OK;
    if (backup->dir.pack.fd >= 0) {
        err = kith_backup_file_sync(&backup->dir.pack, error);
    }
    return err == KITH_OK ? kith_backup_dir_done(&backup->dir, backup->run, whole, backup->marks,
                                                 figures, error)
                          : err;
}

static void on_forget(void *arg, uint64_t done, uint64_t all, const char *what)
{
    struct backup *backup = arg;
    char text[KITH_BAR_SIZE];
    uint64_t now_ms = kith_mono_ms();
    if (!backup->shown || (done < all && now_ms - backup->drawn_ms < DRAWN_MS)) {
        return;
    }
    if (done < backup->forget_done) { /* the next step */
        memset(&backup->bar, 0, sizeof backup->bar);
    }
    backup->forget_done = done;
    backup->drawn_ms = now_ms;
    kith_bar_format(&backup->bar, now_ms, done, all, backup->forget.freed, what, text);
    kith_bar_draw(text);
}

/* Older runs, where that is asked for: only now that another one has ended. */
static enum kith_err forget(struct backup *backup, struct kith_error *error)
{
    if (backup->keep == 0) {
        return KITH_OK;
    }
    backup->forget.dir = &backup->dir;
    backup->forget.keep = backup->keep;
    backup->forget.dead_min = KITH_BACKUP_DEAD_MIN;
    backup->forget.progress = on_forget;
    backup->forget.progress_arg = backup;
    memset(&backup->bar, 0, sizeof backup->bar);
    enum kith_err err = kith_backup_forget(&backup->forget, error);
    if (backup->shown) {
        kith_bar_draw(NULL);
    }
    return err == KITH_OK ? err
                          : kith_error_wrap(error,
                                            "run %" PRIu64 " has ended, but older ones are not "
                                            "forgotten in full; the next --keep goes on",
                                            backup->run);
}

static enum kith_err run(struct backup *backup, struct kith_error *error)
{
    enum kith_err err = kith_door_open(backup->args, NULL, &backup->door, error);
    if (err == KITH_OK) {
        err = target_open(backup, error);
    }
    if (err == KITH_OK) {
        err = workers_run(backup, error);
    }
    if (backup->drawn_ms > 0) {
        draw(backup, true);
    }
    if (err == KITH_OK) {
        err = target_done(backup, error);
    }
    if (err == KITH_OK) {
        err = forget(backup, error);
    }
    if (err == KITH_OK) {
        warn_of_hints(backup);
    }
    return err == KITH_OK ? print(backup, error) : err;
}

static enum kith_err options_read(struct backup *backup, struct kith_error *error)
{
    const struct kith_ctl_args *args = backup->args;
    enum kith_err err = kith_backup_limit_parse(args, &backup->limit, error);
    if (err == KITH_OK) {
        err = kith_ctl_number(args, "keep", 1, UINT32_MAX, &backup->keep, error);
    }
    if (err == KITH_OK && backup->keep > 0 && backup->streams) {
        err = kith_error_set(error, KITH_EINVAL, "--keep goes with a folder: a stream is one run");
    }
    if (err == KITH_OK && backup->streams && (args->json || isatty(STDOUT_FILENO))) {
        err = kith_error_set(error, KITH_EINVAL,
                             args->json ? "--json goes with a folder: standard output is the backup"
                                        : "a terminal is no place for a backup: redirect it, or "
                                          "name a folder");
    }
    return err;
}

int kith_ctl_backup(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct backup backup;
    if (kith_ctl_value(args, "check")) {
        return kith_ctl_backup_check(args);
    }
    memset(&backup, 0, sizeof backup);
    backup.args = args;
    backup.dir.lock = backup.dir.pack.fd = backup.stream.fd = -1;
    backup.streams = strcmp(args->positional[0], "-") == 0;
    backup.shown = kith_bar_shown(args->json);
    enum kith_err err = options_read(&backup, &error);
    if (err != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    pthread_mutex_init(&backup.lock, NULL);
    err = run(&backup, &error);
    pthread_mutex_destroy(&backup.lock);
    if (backup.warnings > WARNINGS_MAX) {
        kith_report_warning(args->json, "%u more of these", backup.warnings - WARNINGS_MAX);
    }
    kith_backup_dir_close(&backup.dir);
    kith_backup_file_close(&backup.stream);
    kith_backup_index_release(&backup.sent);
    kith_free(backup.marks);
    if (backup.door.client) {
        kith_client_close(backup.door.client);
    }
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    return backup.partial > 0 ? KITH_CTL_FAILED : KITH_CTL_OK;
}
