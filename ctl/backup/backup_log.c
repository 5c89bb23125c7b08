/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_log.c - what the log of a partition says, as of a run. */
#include <inttypes.h>
#include <string.h>

#include "ctl/backup/backup_dir.h"

struct kith_checksum kith_backup_mark_sum(const struct kith_backup_record *mark)
{
    struct kith_buf buf;
    struct kith_checksum sum;
    kith_buf_init(&buf);
    memset(&sum, 0, sizeof sum);
    kith_backup_record_append(mark, &buf);
    if (!buf.failed) { /* else it is no MARK's, and is found not to be one */
        sum = kith_checksum_of(kith_buf_bytes(&buf));
    }
    kith_buf_release(&buf);
    return sum;
}

static enum kith_err first_record(const struct kith_backup_dir *dir, uint32_t partition,
                                  const struct kith_backup_walk *walk,
                                  const struct kith_backup_record *record,
                                  struct kith_error *error)
{
    if (record->type != KITH_BACKUP_HEAD ||
        !kith_uuid_equal(&record->u.head.cluster, &dir->cluster) ||
        record->u.head.partitions != dir->partitions || record->u.head.partition != partition) {
        return kith_error_set(error, KITH_ECLUSTER,
                              "%.300s is of another cluster or partition: it was not written here",
                              walk->path);
    }
    return KITH_OK;
}

/* Finds the last MARK of the run or before, and where what is whole ends. */
static enum kith_err find_mark(const struct kith_backup_dir *dir, uint32_t partition, uint64_t run,
                               struct kith_backup_walk *walk, struct kith_backup_log *log,
                               struct kith_error *error)
{
    struct kith_backup_record record;
    enum kith_err err = KITH_OK;
    bool later = false;
    while (err == KITH_OK) {
        size_t at = walk->at;
        err = kith_backup_walk_next(walk, &record, error);
        if (err == KITH_OK && at == 0) {
            err = first_record(dir, partition, walk, &record, error);
        }
        if (err == KITH_OK && record.type == KITH_BACKUP_MARK) {
            later = later || record.u.mark.run > run;
            if (!later) {
                log->marked = true;
                log->mark = record;
                log->mark_end = walk->at;
            }
        }
    }
    if (log->marked) {
        log->mark_sum = kith_backup_mark_sum(&log->mark);
    }
    log->end = walk->at;
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* The rows of the records before `end`. */
static enum kith_err hold_rows(struct kith_backup_walk *walk, uint64_t end, uint64_t mark_end,
                               struct kith_backup_state *state, struct kith_backup_log *log,
                               struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    walk->at = 0;
    while (err == KITH_OK && walk->at < end) {
        struct kith_backup_record record;
        bool behind = walk->at >= mark_end;
        err = kith_backup_walk_next(walk, &record, error);
        if (err == KITH_OK && record.type == KITH_BACKUP_ROW) {
            log->loose = log->loose || behind;
            err = kith_backup_state_hold(state, &record.u.row.group, record.u.row.name,
                                         &record.u.row.hash, record.u.row.state);
            if (err != KITH_OK) {
                return kith_error_set(error, err, "out of memory");
            }
        }
        if (err == KITH_OK && walk->at == mark_end && mark_end > 0) {
            uint64_t rows = 0;
            struct kith_checksum root;
            kith_backup_state_held(state, &rows, &root);
            if (rows != log->mark.u.mark.rows ||
                !kith_checksum_equal(&root, &log->mark.u.mark.root)) {
                return kith_error_set(error, KITH_ECORRUPT,
                                      "%.300s: the rows before byte %" PRIu64
                                      " are not those of run %" PRIu64
                                      "; make a new backup into another folder",
                                      walk->path, mark_end, log->mark.u.mark.run);
            }
        }
    }
    return err;
}

enum kith_err kith_backup_log_read(const struct kith_backup_dir *dir, uint32_t partition,
                                   uint64_t run, struct kith_backup_state *state,
                                   struct kith_backup_log *ret_log, struct kith_error *error)
{
    char path[4200];
    struct kith_backup_walk walk;
    struct kith_error damage = {KITH_OK, ""};
    memset(ret_log, 0, sizeof *ret_log);
    memset(&walk, 0, sizeof walk);
    kith_backup_log_path(dir, partition, path);
    walk.path = path;
    enum kith_err err = kith_backup_map(path, &walk.map, error);
    ret_log->map = walk.map;
    if (err == KITH_OK) {
        err = find_mark(dir, partition, run, &walk, ret_log, &damage);
    }
    if (err == KITH_OK || err == KITH_ECORRUPT) {
        uint64_t end = run == UINT64_MAX && err == KITH_OK ? ret_log->end : ret_log->mark_end;
        enum kith_err held = hold_rows(&walk, end, ret_log->mark_end, state, ret_log, error);
        err = held != KITH_OK ? held : err;
        if (held == KITH_OK && err == KITH_ECORRUPT) {
            *error = damage;
        }
    } else if (damage.code != KITH_OK) {
        *error = damage;
    }
    kith_arena_release(&walk.arena);
    return err;
}

void kith_backup_log_release(struct kith_backup_log *log)
{
    kith_backup_unmap(&log->map);
}
