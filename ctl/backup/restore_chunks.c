/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * restore_chunks.c - chunks into the cluster: those that it has already are leased and not sent. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ctl/backup/restore.h"

#define LEVELS_MAX 8u /* lists of lists: a file has two above its contents */

void kith_restore_batch_release(struct kith_restore_batch *batch)
{
    if (batch->restore) {
        pthread_mutex_lock(&batch->restore->lock);
        batch->restore->held -= batch->bytes;
        pthread_mutex_unlock(&batch->restore->lock);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        kith_blob_drop(batch->chunks[i].payload);
        kith_free(batch->chunks[i].refs);
    }
    memset(batch, 0, sizeof *batch);
}

static bool is_done(struct kith_restore *restore, const struct kith_chunk_id *id)
{
    pthread_mutex_lock(&restore->lock);
    bool done = kith_backup_index_find(&restore->done, id) != NULL;
    pthread_mutex_unlock(&restore->lock);
    return done;
}

/* The chunk is there. Others may have sent it, too: it counts once, whoever says so first. */
static bool done_add(struct kith_restore *restore, const struct kith_chunk_id *id, bool sent)
{
    pthread_mutex_lock(&restore->lock);
    const struct kith_backup_place *before = kith_backup_index_find(&restore->done, id);
    bool counted = before && before->pack == KITH_RESTORE_SENT;
    struct kith_backup_place place = {*id, sent || counted ? KITH_RESTORE_SENT : 0, 0};
    bool good = kith_backup_index_add(&restore->done, &place) == KITH_OK;
    restore->chunks_put += sent && !counted ? 1 : 0;
    pthread_mutex_unlock(&restore->lock);
    return good;
}

/* Whether all that are under way together hold so much that what there is of a batch is to go first. */
static bool much_held(struct kith_restore *restore)
{
    pthread_mutex_lock(&restore->lock);
    bool much = restore->held >= KITH_RESTORE_HELD;
    pthread_mutex_unlock(&restore->lock);
    return much;
}

/* ---- Several puts at a time ---- */

struct puts {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t out; /* the lock protects it and error */
    struct kith_error error;
};

static void on_put(void *arg, const struct kith_client_result *result)
{
    struct puts *puts = arg;
    pthread_mutex_lock(&puts->lock);
    if (result->err != KITH_OK && puts->error.code == KITH_OK) {
        (void)kith_error_set(&puts->error, result->err, "a chunk is not taken: %s",
                             result->message && *result->message
                                 ? result->message
                                 : kith_err_text((int)result->err));
    }
    puts->out--;
    pthread_cond_signal(&puts->changed);
    pthread_mutex_unlock(&puts->lock);
}

static void put_begin(struct kith_restore *restore, struct puts *puts,
                      const struct kith_restore_chunk *chunk)
{
    struct kith_client_op op;
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_CHUNK_PUT;
    op.u.chunk_put.id = chunk->id;
    op.u.chunk_put.checksum = chunk->checksum;
    op.u.chunk_put.ref_count = chunk->ref_count;
    op.u.chunk_put.refs = chunk->refs;
    op.u.chunk_put.payload = chunk->payload;
    pthread_mutex_lock(&puts->lock);
    puts->out++;
    pthread_mutex_unlock(&puts->lock);
    enum kith_err err = kith_client_submit(restore->client, &op, on_put, puts);
    if (err != KITH_OK) { /* it is not called */
        struct kith_client_result result = {.err = err};
        on_put(puts, &result);
    }
    pthread_mutex_lock(&restore->lock);
    restore->bytes += chunk->payload->size;
    pthread_mutex_unlock(&restore->lock);
}

static enum kith_err puts_wait(struct puts *puts, struct kith_error *error)
{
    pthread_mutex_lock(&puts->lock);
    while (puts->out > 0) {
        pthread_cond_wait(&puts->changed, &puts->lock);
    }
    pthread_mutex_unlock(&puts->lock);
    if (puts->error.code != KITH_OK) {
        *error = puts->error;
    }
    return puts->error.code;
}

/* ---- A batch ---- */

/* Leases those that are there; the others: missing[i]. */
static enum kith_err lease(struct kith_restore *restore, const struct kith_restore_batch *batch,
                           bool missing[KITH_RESTORE_CHUNKS], uint32_t *ret_missing,
                           struct kith_error *error)
{
    struct kith_chunk_id ids[KITH_RESTORE_CHUNKS];
    struct kith_client_op op;
    struct kith_client_answer answer;
    for (uint32_t i = 0; i < batch->count; i++) {
        ids[i] = batch->chunks[i].id;
        missing[i] = false;
    }
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_CHUNK_SYNC;
    op.u.chunk_sync.id_count = batch->count;
    op.u.chunk_sync.ids = ids;
    op.u.chunk_sync.lease = true;
    enum kith_err err = kith_client_call(restore->client, &op, &answer);
    const struct kith_client_result *result = &answer.result;
    *ret_missing = 0;
    if (err != KITH_OK) {
        (void)kith_error_set(error, err, "chunks cannot be leased: %s",
                             result->message && *result->message ? result->message
                                                                 : kith_err_text((int)err));
    }
    for (uint32_t k = 0; err == KITH_OK && k < result->u.chunk_sync.missing_count; k++) {
        for (uint32_t i = 0; i < batch->count; i++) {
            if (memcmp(&result->u.chunk_sync.missing[k], &ids[i], sizeof ids[i]) == 0) {
                missing[i] = true;
                ++*ret_missing;
            }
        }
    }
    kith_client_answer_release(&answer);
    return err;
}

enum kith_err kith_restore_chunks_flush(struct kith_restore *restore,
                                        struct kith_restore_batch *batch, struct kith_error *error)
{
    bool missing[KITH_RESTORE_CHUNKS], sent[KITH_RESTORE_CHUNKS];
    uint32_t count = 0;
    uint64_t bytes = 0;
    struct puts puts = {.out = 0};
    if (batch->count == 0) {
        return KITH_OK;
    }
    enum kith_err err = lease(restore, batch, missing, &count, error);
    memcpy(sent, missing, sizeof sent);
    if (err == KITH_OK && count > 0) {
        pthread_mutex_init(&puts.lock, NULL);
        pthread_cond_init(&puts.changed, NULL);
        for (uint32_t i = 0; i < batch->count; i++) {
            if (sent[i]) {
                put_begin(restore, &puts, &batch->chunks[i]);
                bytes += batch->chunks[i].payload->size;
            }
        }
        err = puts_wait(&puts, error);
        pthread_cond_destroy(&puts.changed);
        pthread_mutex_destroy(&puts.lock);
        if (err == KITH_OK) {
            err = lease(restore, batch, missing, &count, error);
        }
        kith_backup_limit_wait(&restore->limit, bytes);
    }
    for (uint32_t i = 0; i < batch->count && err == KITH_OK; i++) {
        if (!missing[i] && !done_add(restore, &batch->chunks[i].id, sent[i])) {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    kith_restore_batch_release(batch);
    if (err == KITH_OK && count > 0) { /* the mark of what was swept stays for a while (DESIGN 6) */
        err = kith_error_set(error, KITH_EBUSY,
                             "the cluster has removed a chunk of it for good, and takes it again in "
                             "a day: the same command then");
    }
    return err;
}

enum kith_err kith_restore_chunk_add(struct kith_restore *restore,
                                     struct kith_restore_batch *batch,
                                     const struct kith_backup_record *record,
                                     struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    uint32_t refs = record->u.chunk.ref_count;
    if (is_done(restore, &record->u.chunk.id)) {
        return KITH_OK;
    }
    if (batch->count == KITH_RESTORE_CHUNKS || batch->bytes >= KITH_RESTORE_BYTES || refs > 0 ||
        much_held(restore)) {
        err = kith_restore_chunks_flush(restore, batch, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_restore_chunk *chunk = &batch->chunks[batch->count];
    memset(chunk, 0, sizeof *chunk);
    chunk->id = record->u.chunk.id;
    chunk->checksum = record->u.chunk.checksum;
    chunk->ref_count = refs;
    chunk->refs = kith_malloc((refs + 1u) * sizeof *chunk->refs);
    chunk->payload = kith_blob_new(record->u.chunk.contents.size);
    batch->count++;
    batch->bytes += record->u.chunk.contents.size;
    batch->restore = restore;
    pthread_mutex_lock(&restore->lock);
    restore->held += record->u.chunk.contents.size;
    pthread_mutex_unlock(&restore->lock);
    if (!chunk->refs || !chunk->payload) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (refs > 0) {
        memcpy(chunk->refs, record->u.chunk.refs, refs * sizeof *chunk->refs);
    }
    memcpy(chunk->payload->data, record->u.chunk.contents.data, record->u.chunk.contents.size);
    return refs > 0 ? kith_restore_chunks_flush(restore, batch, error) : KITH_OK;
}

/* ---- From the folder ---- */

static enum kith_err missing(const struct kith_chunk_id *id, struct kith_error *error)
{
    char hex[2 * KITH_CHUNK_ID_SIZE + 1];
    for (size_t i = 0; i < KITH_CHUNK_ID_SIZE; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", id->bytes[i]);
    }
    return kith_error_set(error, KITH_ENOTFOUND, "the backup has no chunk %s", hex);
}

static enum kith_err chunks_below(struct kith_restore *restore, struct kith_restore_batch *batch,
                                  const struct kith_chunk_id *ids, uint32_t count, uint32_t level,
                                  struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    if (level == LEVELS_MAX) {
        return kith_error_set(error, KITH_ECORRUPT, "chunks refer to each other");
    }
    for (uint32_t i = 0; i < count && err == KITH_OK; i++) {
        struct kith_backup_record record;
        struct kith_arena arena;
        struct kith_buf bytes;
        if (is_done(restore, &ids[i])) {
            continue;
        }
        const struct kith_backup_place *place =
            restore->dir ? kith_backup_index_find(&restore->dir->chunks, &ids[i]) : NULL;
        if (!place) {
            return missing(&ids[i], error);
        }
        kith_arena_init(&arena, 0);
        kith_buf_init(&bytes);
        err = kith_backup_dir_read_chunk(restore->dir, place, &arena, &record, &bytes, error);
        if (err == KITH_OK && record.u.chunk.ref_count > 0) {
            err = chunks_below(restore, batch, record.u.chunk.refs, record.u.chunk.ref_count,
                               level + 1, error);
        }
        if (err == KITH_OK) {
            err = kith_restore_chunk_add(restore, batch, &record, error);
        }
        kith_buf_release(&bytes);
        kith_arena_release(&arena);
    }
    return err;
}

enum kith_err kith_restore_chunks(struct kith_restore *restore, const struct kith_chunk_id *ids,
                                  uint32_t count, struct kith_error *error)
{
    struct kith_restore_batch batch;
    memset(&batch, 0, sizeof batch);
    enum kith_err err = chunks_below(restore, &batch, ids, count, 0, error);
    if (err == KITH_OK) {
        err = kith_restore_chunks_flush(restore, &batch, error);
    }
    kith_restore_batch_release(&batch);
    return err;
}
