/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_compact.c - the log of a partition with what the kept runs say, and nothing else: first counted,
 * then, where most of it is dead, written. */
#include <inttypes.h>
#include <string.h>

#include "ctl/backup/backup_forget.h"

struct marks { /* where those end that a kept run goes by */
    uint64_t *ends;
    size_t count, capacity;
};

struct compact {
    struct kith_backup_forget *forget;
    uint32_t partition;
    struct kith_backup_walk walk;
    struct marks marks;
    struct kith_backup_state all;  /* HELD: as of where it is */
    struct kith_backup_state part; /* HELD: what was said since the last one of the marks */
    struct kith_arena arena;       /* of the row at hand */
    struct kith_buf buf;           /* of the record at hand, where it is counted */
    uint64_t live;                 /* bytes */
    struct kith_backup_file *file; /* NULL: it is counted */
};

static bool marks_add(struct marks *marks, uint64_t end)
{
    if (end == 0 || (marks->count > 0 && marks->ends[marks->count - 1] == end)) {
        return true; /* none; or another run goes by it, too */
    }
    if (marks->count == marks->capacity) {
        size_t capacity = 2 * marks->capacity + 16;
        uint64_t *ends = kith_realloc(marks->ends, capacity * sizeof *ends);
        if (!ends) {
            return false;
        }
        marks->ends = ends;
        marks->capacity = capacity;
    }
    marks->ends[marks->count++] = end;
    return true;
}

/* The last MARK of each kept run or before, as kith_backup_log_read finds it, and the last one of all. */
static enum kith_err marks_find(struct compact *compact, struct kith_error *error)
{
    const struct kith_backup_dir *dir = compact->forget->dir;
    struct kith_backup_record record;
    enum kith_err err = KITH_OK;
    uint64_t last = 0;
    uint32_t run = 0;
    bool good = true;
    while (err == KITH_OK && good) {
        err = kith_backup_walk_next(&compact->walk, &record, error);
        if (err == KITH_OK && record.type == KITH_BACKUP_MARK) {
            for (; run < dir->run_count && dir->runs[run].run < record.u.mark.run; run++) {
                good = good && marks_add(&compact->marks, last);
            }
            last = compact->walk.at;
        }
    }
    good = good && marks_add(&compact->marks, last);
    if (!good) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* The chunks that a row names are needed. */
static enum kith_err chunks_note(struct compact *compact, struct kith_bytes state)
{
    struct kith_row row;
    kith_arena_reset(&compact->arena);
    enum kith_err err = kith_row_decode(&compact->arena, state, &row);
    for (uint32_t i = 0; err == KITH_OK && i < row.sibling_count; i++) {
        for (uint32_t k = 0; err == KITH_OK && k < row.siblings[i].ref_count; k++) {
            struct kith_backup_place place = {row.siblings[i].refs[k], 0, 0};
            err = kith_backup_index_add(&compact->forget->live, &place);
        }
    }
    return err;
}

static enum kith_err emit(struct compact *compact, const struct kith_backup_record *record,
                          struct kith_error *error)
{
    if (compact->file) {
        return kith_backup_file_add(compact->file, record, error);
    }
    kith_buf_clear(&compact->buf);
    kith_backup_record_append(record, &compact->buf);
    compact->live += compact->buf.size;
    enum kith_err err = compact->buf.failed ? KITH_ENOMEM : KITH_OK;
    if (err == KITH_OK && record->type == KITH_BACKUP_ROW && record->u.row.state.size > 0) {
        err = chunks_note(compact, record->u.row.state);
    }
    return err == KITH_OK ? err
                          : kith_error_set(error, err, "%.300s: a row: %s", compact->walk.path,
                                           kith_err_text((int)err));
}

static enum kith_err emit_rows(struct compact *compact, const struct kith_backup_state *state,
                               bool gone, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    for (const struct kith_backup_row *row = state->rows; row && err == KITH_OK; row = row->next) {
        struct kith_backup_record record;
        memset(&record, 0, sizeof record);
        record.type = KITH_BACKUP_ROW;
        record.u.row.partition = compact->partition;
        record.u.row.group = row->group;
        record.u.row.name = row->name;
        record.u.row.hash = row->held.hash;
        record.u.row.state = row->held.state;
        if (row->held.there || gone) {
            err = emit(compact, &record, error);
        }
    }
    return err;
}

static bool hold(struct kith_backup_state *state, const struct kith_backup_record *row)
{
    return kith_backup_state_hold(state, &row->u.row.group, row->u.row.name, &row->u.row.hash,
                                  row->u.row.state) == KITH_OK;
}

/* At a MARK that a kept run goes by: what stands then, or, behind the first one, what has changed. */
static enum kith_err mark_take(struct compact *compact, bool first,
                               const struct kith_backup_record *mark, struct kith_error *error)
{
    uint64_t rows = 0;
    struct kith_checksum root;
    kith_backup_state_held(&compact->all, &rows, &root);
    if (rows != mark->u.mark.rows || !kith_checksum_equal(&root, &mark->u.mark.root)) {
        return kith_error_set(error, KITH_ECORRUPT,
                              "%.300s: the rows before byte %zu are not those of run %" PRIu64
                              "; make a new backup into another folder",
                              compact->walk.path, compact->walk.at, mark->u.mark.run);
    }
    enum kith_err err = first ? emit_rows(compact, &compact->all, false, error)
                              : emit_rows(compact, &compact->part, true, error);
    kith_backup_state_release(&compact->part);
    kith_backup_state_init(&compact->part, compact->partition, compact->forget->dir->partitions);
    return err == KITH_OK ? emit(compact, mark, error) : err;
}

/* All of the log, from its beginning. */
static enum kith_err pass(struct compact *compact, struct kith_error *error)
{
    const struct kith_backup_dir *dir = compact->forget->dir;
    enum kith_err err = KITH_OK;
    size_t next = 0; /* of the marks */
    compact->walk.at = 0;
    compact->live = KITH_BACKUP_HEAD_SIZE;
    kith_backup_state_init(&compact->all, compact->partition, dir->partitions);
    kith_backup_state_init(&compact->part, compact->partition, dir->partitions);
    while (err == KITH_OK) {
        struct kith_backup_record record;
        err = kith_backup_walk_next(&compact->walk, &record, error);
        if (err == KITH_OK && record.type == KITH_BACKUP_ROW) {
            if (!hold(&compact->all, &record) || (next > 0 && !hold(&compact->part, &record))) {
                err = kith_error_set(error, KITH_ENOMEM, "out of memory");
            } else if (next == compact->marks.count) { /* by which the next run goes on */
                err = emit(compact, &record, error);
            }
        } else if (err == KITH_OK && record.type == KITH_BACKUP_MARK &&
                   next < compact->marks.count && compact->walk.at == compact->marks.ends[next]) {
            err = mark_take(compact, next == 0, &record, error);
            next++;
        }
    }
    kith_backup_state_release(&compact->all);
    kith_backup_state_release(&compact->part);
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

enum kith_err kith_backup_compact(struct kith_backup_forget *forget, uint32_t partition,
                                  struct kith_error *error)
{
    char path[4200];
    struct compact compact;
    struct kith_backup_file file = {.fd = -1};
    memset(&compact, 0, sizeof compact);
    compact.forget = forget;
    compact.partition = partition;
    kith_buf_init(&compact.buf);
    kith_arena_init(&compact.arena, 0);
    kith_backup_log_path(forget->dir, partition, path);
    compact.walk.path = path;
    enum kith_err err = kith_backup_map(path, &compact.walk.map, error);
    uint64_t size = compact.walk.map.size;
    if (err == KITH_OK && size > 0) {
        err = marks_find(&compact, error);
    }
    if (err == KITH_OK && size > 0) {
        err = pass(&compact, error);
    }
    if (err == KITH_OK && kith_backup_mostly_dead(forget, size, compact.live)) {
        compact.file = &file;
        err = kith_backup_anew(forget, path, partition, &file, error);
        if (err == KITH_OK) {
            err = pass(&compact, error);
        }
        err = kith_backup_anew_done(forget, path, size, &file, err, error);
    }
    kith_backup_unmap(&compact.walk.map);
    kith_arena_release(&compact.walk.arena);
    kith_arena_release(&compact.arena);
    kith_buf_release(&compact.buf);
    kith_free(compact.marks.ends);
    return err;
}
