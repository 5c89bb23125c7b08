/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * restore_rows.c - rows into the cluster: what is there is read first, and what is missing is put. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "ctl/backup/backup_chunks.h"
#include "ctl/backup/restore.h"

/* Of one row: the versions that are to be put, the oldest first. */
struct versions {
    uint32_t count, next;
    const struct kith_sibling **siblings;
};

struct rows {
    struct kith_restore *restore;
    const struct kith_group *group;
    uint32_t count;
    const struct kith_restore_row *rows;
    struct versions *versions; /* [count] */
    struct kith_arena arena;
};

static bool same(const struct kith_sibling *a, const struct kith_sibling *b)
{
    return a->kind == b->kind && kith_bytes_equal(a->value, b->value) &&
           a->ref_count == b->ref_count &&
           (a->ref_count == 0 || memcmp(a->refs, b->refs, a->ref_count * sizeof *a->refs) == 0);
}

static bool has(const struct kith_row *row, const struct kith_sibling *sibling)
{
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (same(&row->siblings[i], sibling)) {
            return true;
        }
    }
    return false;
}

/* Those of the backup's row that the cluster's has not. Marks of where a row was moved to are left out:
 * they are for edits that come while it moves, and those are all in. */
static enum kith_err versions_find(struct rows *rows, uint32_t i, const struct kith_row *there)
{
    struct kith_row row;
    struct versions *versions = &rows->versions[i];
    enum kith_err err = kith_row_decode(&rows->arena, rows->rows[i].state, &row);
    if (err != KITH_OK) {
        return err;
    }
    versions->siblings =
        kith_arena_alloc(&rows->arena, (row.sibling_count + 1u) * sizeof *versions->siblings);
    if (!versions->siblings) {
        return KITH_ENOMEM;
    }
    for (uint32_t k = 0; k < row.sibling_count; k++) {
        const struct kith_sibling *sibling = &row.siblings[k];
        bool twice = false;
        for (uint32_t j = 0; j < versions->count && !twice; j++) {
            twice = same(versions->siblings[j], sibling); /* a write under two dots */
        }
        if (sibling->kind == KITH_SIBLING_MARK || twice || has(there, sibling)) {
            continue;
        }
        uint32_t at = versions->count++;
        for (; at > 0 && versions->siblings[at - 1]->time > sibling->time; at--) {
            versions->siblings[at] = versions->siblings[at - 1];
        }
        versions->siblings[at] = sibling;
    }
    return KITH_OK;
}

/* ETOOBIG: they do not fit into one answer. */
static enum kith_err read_rows(struct rows *rows, struct kith_error *error)
{
    struct kith_bytes names[KITH_BATCH_MAX];
    struct kith_client_op op;
    struct kith_client_answer answer;
    for (uint32_t i = 0; i < rows->count; i++) {
        names[i] = rows->rows[i].name;
    }
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_GET;
    op.strict = true; /* what a majority has */
    op.u.get.group = *rows->group;
    op.u.get.name_count = rows->count;
    op.u.get.names = names;
    enum kith_err err = kith_client_call(rows->restore->client, &op, &answer);
    const char *why = answer.result.message && *answer.result.message ? answer.result.message
                                                                       : kith_err_text((int)err);
    if (err != KITH_OK) {
        (void)kith_error_set(error, err, "rows cannot be read: %s", why);
    }
    for (uint32_t i = 0; err == KITH_OK && i < rows->count; i++) {
        err = versions_find(rows, i, &answer.result.u.rows.rows[i].row);
        if (err != KITH_OK) {
            (void)kith_error_set(error, err, "a row of the backup: %s", kith_err_text((int)err));
        }
    }
    kith_client_answer_release(&answer);
    return err;
}

static bool lacks(enum kith_err err)
{
    return err == KITH_ENOTFOUND || err == KITH_ECORRUPT || err == KITH_EBUSY;
}

/* The chunks of all that is to be put, many at a time. */
static enum kith_err chunks_together(struct rows *rows, struct kith_error *error)
{
    struct kith_backup_ids ids;
    enum kith_err err = KITH_OK;
    memset(&ids, 0, sizeof ids);
    for (uint32_t i = 0; i < rows->count && err == KITH_OK; i++) {
        for (uint32_t k = 0; k < rows->versions[i].count && err == KITH_OK; k++) {
            const struct kith_sibling *sibling = rows->versions[i].siblings[k];
            err = kith_backup_ids_add(&ids, sibling->refs, sibling->ref_count);
        }
    }
    err = err == KITH_OK ? kith_restore_chunks(rows->restore, ids.ids, (uint32_t)ids.count, error)
                         : kith_error_set(error, err, "out of memory");
    kith_backup_ids_release(&ids);
    return err;
}

/* The chunks of what is to be put; a version whose chunks cannot be had is left out, and said. */
static enum kith_err chunks(struct rows *rows, struct kith_error *error)
{
    struct kith_restore *restore = rows->restore;
    enum kith_err together = chunks_together(rows, error);
    if (!lacks(together)) {
        return together;
    }
    for (uint32_t i = 0; i < rows->count; i++) {
        struct versions *versions = &rows->versions[i];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < versions->count; k++) {
            const struct kith_sibling *sibling = versions->siblings[k];
            enum kith_err err =
                kith_restore_chunks(restore, sibling->refs, sibling->ref_count, error);
            if (lacks(err)) {
                char text[KITH_ERROR_MESSAGE_SIZE + 128];
                (void)snprintf(text, sizeof text, "a version of row '%.*s' is left out: %s",
                               (int)(rows->rows[i].name.size < 64 ? rows->rows[i].name.size : 64),
                               (const char *)rows->rows[i].name.data, error->message);
                pthread_mutex_lock(&restore->lock);
                restore->lost++;
                restore->warn(restore->warn_arg, text);
                pthread_mutex_unlock(&restore->lock);
            } else if (err != KITH_OK) {
                return err;
            } else {
                versions->siblings[kept++] = sibling;
            }
        }
        versions->count = kept;
    }
    return KITH_OK;
}

/* One put: of each row the next version, where the same writer wrote it, as many as fit. False: nothing
 * is left. */
static bool put_make(struct rows *rows, struct kith_put_update updates[KITH_BATCH_MAX],
                     struct kith_client_op *op)
{
    struct kith_restore *restore = rows->restore;
    size_t bytes = 0;
    uint32_t count = 0, first = 0;
    memset(op, 0, sizeof *op);
    op->kind = KITH_CLIENT_PUT;
    op->u.put.group = *rows->group;
    op->u.put.updates = updates;
    for (uint32_t i = 0; i < rows->count; i++) {
        struct versions *versions = &rows->versions[i];
        const struct kith_sibling *sibling =
            versions->next < versions->count ? versions->siblings[versions->next] : NULL;
        if (!sibling || (count > 0 && !kith_bytes_equal(sibling->writer, op->u.put.writer))) {
            continue;
        }
        bytes += sibling->value.size + sibling->ref_count * sizeof *sibling->refs +
                 rows->rows[i].name.size;
        if (count > 0 && bytes > KITH_PAGE_BYTES_MAX) {
            break;
        }
        op->u.put.writer = sibling->writer;
        struct kith_put_update *update = &updates[count++];
        memset(update, 0, sizeof *update);
        update->name = rows->rows[i].name;
        update->has_sibling = true;
        update->kind = sibling->kind;
        update->ref_count = sibling->ref_count;
        update->refs = sibling->refs;
        update->value = sibling->value;
        first += versions->next == 0 ? 1 : 0;
        versions->next++;
    }
    op->u.put.update_count = count;
    pthread_mutex_lock(&restore->lock);
    restore->rows_put += first;
    restore->versions_put += count;
    restore->bytes += bytes;
    pthread_mutex_unlock(&restore->lock);
    kith_backup_limit_wait(&restore->limit, bytes);
    return count > 0;
}

static enum kith_err put_all(struct rows *rows, struct kith_error *error)
{
    struct kith_put_update updates[KITH_BATCH_MAX];
    struct kith_client_op op;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && put_make(rows, updates, &op)) {
        struct kith_client_answer answer;
        err = kith_client_call(rows->restore->client, &op, &answer);
        if (err != KITH_OK) {
            (void)kith_error_set(error, err,
                                 "a row is not taken: %s; the same command again goes on",
                                 answer.result.message && *answer.result.message
                                     ? answer.result.message
                                     : kith_err_text((int)err));
        }
        kith_client_answer_release(&answer);
    }
    return err;
}

/* Rows that do not fit into one answer are read in halves. */
static enum kith_err part(struct kith_restore *restore, const struct kith_group *group,
                          const struct kith_restore_row *from, uint32_t count,
                          struct kith_error *error)
{
    struct rows rows = {.restore = restore, .group = group, .count = count, .rows = from};
    kith_arena_init(&rows.arena, 0);
    rows.versions = kith_arena_calloc(&rows.arena, count, sizeof *rows.versions);
    enum kith_err err = rows.versions ? read_rows(&rows, error)
                                      : kith_error_set(error, KITH_ENOMEM, "out of memory");
    if (err == KITH_OK) {
        err = chunks(&rows, error);
    }
    if (err == KITH_OK) {
        err = put_all(&rows, error);
    }
    kith_arena_release(&rows.arena);
    return err;
}

enum kith_err kith_restore_rows(struct kith_restore *restore, const struct kith_group *group,
                                const struct kith_restore_row *rows, uint32_t count,
                                struct kith_error *error)
{
    KITH_ASSERT(count > 0 && count <= KITH_BATCH_MAX);
    enum kith_err err = part(restore, group, rows, count, error);
    if (err == KITH_ETOOBIG && count > 1) {
        err = kith_restore_rows(restore, group, rows, count / 2, error);
        if (err == KITH_OK) {
            err = kith_restore_rows(restore, group, rows + count / 2, count - count / 2, error);
        }
    }
    return err;
}
