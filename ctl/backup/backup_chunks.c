/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_chunks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ctl/backup/backup_dir.h"

#define LEVELS_MAX 8u /* lists of lists: a file has two above its contents */

/* One that was asked for. */
struct fetch {
    struct fetcher *fetcher;
    struct kith_chunk_id id;
    struct kith_client_answer answer;
    bool out, done;
    struct fetch *next; /* kept, until what it refers to is there */
};

struct fetcher {
    struct kith_client *client;
    struct kith_backup_limit *limit;
    const struct kith_backup_sink *sink;
    struct kith_backup_index seen;
    struct kith_backup_ids next; /* of the level below */
    struct fetch *kept;          /* the deepest first */
    struct kith_error missing; /* the first one; its code OK: none */
    struct fetch *slots[KITH_BACKUP_CHUNKS_OUT];
    uint32_t out;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* `done` of a fetch, which the lock protects */
};

enum kith_err kith_backup_ids_add(struct kith_backup_ids *list, const struct kith_chunk_id *ids,
                                  size_t count)
{
    if (list->count + count > list->capacity) {
        size_t capacity = 2 * (list->count + count) + 64;
        struct kith_chunk_id *larger = kith_realloc(list->ids, capacity * sizeof *larger);
        if (!larger) {
            return KITH_ENOMEM;
        }
        list->ids = larger;
        list->capacity = capacity;
    }
    if (count > 0) {
        memcpy(list->ids + list->count, ids, count * sizeof *ids);
        list->count += count;
    }
    return KITH_OK;
}

void kith_backup_ids_release(struct kith_backup_ids *list)
{
    kith_free(list->ids);
    memset(list, 0, sizeof *list);
}

static void on_done(void *arg, const struct kith_client_result *result)
{
    struct fetch *fetch = arg;
    struct fetcher *fetcher = fetch->fetcher;
    /* short of memory: the answer itself then says ENOMEM */
    enum kith_err copied = kith_client_result_copy(KITH_CLIENT_CHUNK_GET, result, &fetch->answer);
    pthread_mutex_lock(&fetcher->lock);
    fetch->done = true;
    if (copied != KITH_OK) {
        fetch->answer.result.err = copied;
    }
    pthread_cond_signal(&fetcher->changed);
    pthread_mutex_unlock(&fetcher->lock);
}

static void drop(struct fetch *fetch)
{
    kith_client_answer_release(&fetch->answer);
    kith_free(fetch);
}

static enum kith_err put(struct fetcher *fetcher, const struct fetch *fetch,
                         struct kith_error *error)
{
    const struct kith_client_result *result = &fetch->answer.result;
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_CHUNK;
    record.u.chunk.id = fetch->id;
    record.u.chunk.contents =
        kith_bytes_make(result->u.chunk.payload->data, result->u.chunk.payload->size);
    record.u.chunk.checksum = kith_checksum_of(record.u.chunk.contents); /* verified by the client */
    record.u.chunk.ref_count = result->u.chunk.ref_count;
    record.u.chunk.refs = result->u.chunk.refs;
    return fetcher->sink->put(fetcher->sink->arg, &record, error);
}

/* One that is done: written, or kept until what it refers to is. Takes it over. */
static enum kith_err take(struct fetcher *fetcher, struct fetch *fetch, struct kith_error *error)
{
    const struct kith_client_result *result = &fetch->answer.result;
    enum kith_err err = result->err;
    const char *why = result->message && *result->message ? result->message
                                                          : kith_err_text((int)err);
    if (err == KITH_ENOTFOUND || err == KITH_ECORRUPT) {
        if (fetcher->missing.code == KITH_OK) {
            char hex[2 * KITH_CHUNK_ID_SIZE + 1];
            for (size_t i = 0; i < KITH_CHUNK_ID_SIZE; i++) {
                (void)snprintf(hex + 2 * i, 3, "%02x", fetch->id.bytes[i]);
            }
            (void)kith_error_set(&fetcher->missing, KITH_ENOTFOUND, "chunk %s: %s", hex, why);
        }
        drop(fetch);
        return KITH_OK;
    }
    if (err != KITH_OK) {
        err = kith_error_set(error, err, "a chunk cannot be read: %s", why);
        drop(fetch);
        return err;
    }
    uint64_t size = result->u.chunk.payload->size;
    fetcher->sink->progress(fetcher->sink->arg, size);
    kith_backup_limit_wait(fetcher->limit, size);
    if (result->u.chunk.ref_count > 0) {
        fetch->next = fetcher->kept;
        fetcher->kept = fetch;
        return kith_backup_ids_add(&fetcher->next, result->u.chunk.refs,
                                   result->u.chunk.ref_count) == KITH_OK
                   ? KITH_OK
                   : kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    err = put(fetcher, fetch, error);
    drop(fetch);
    return err;
}

/* Waits until one of those that are out is done; NULL: none is out. */
static struct fetch *wait_one(struct fetcher *fetcher)
{
    struct fetch *found = NULL;
    pthread_mutex_lock(&fetcher->lock);
    while (fetcher->out > 0 && !found) {
        for (uint32_t i = 0; i < KITH_BACKUP_CHUNKS_OUT && !found; i++) {
            if (fetcher->slots[i] && fetcher->slots[i]->done) {
                found = fetcher->slots[i];
                fetcher->slots[i] = NULL;
                fetcher->out--;
            }
        }
        if (!found) {
            pthread_cond_wait(&fetcher->changed, &fetcher->lock);
        }
    }
    pthread_mutex_unlock(&fetcher->lock);
    return found;
}

static enum kith_err begin(struct fetcher *fetcher, const struct kith_chunk_id *id,
                           struct kith_error *error)
{
    struct fetch *fetch = kith_calloc(1, sizeof *fetch);
    struct kith_client_op op;
    if (!fetch) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    fetch->fetcher = fetcher;
    fetch->id = *id;
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_CHUNK_GET;
    op.u.chunk_get.id = *id;
    op.u.chunk_get.refs = true;
    uint32_t slot = 0;
    while (fetcher->slots[slot]) {
        slot++;
    }
    pthread_mutex_lock(&fetcher->lock);
    fetcher->slots[slot] = fetch;
    fetcher->out++;
    pthread_mutex_unlock(&fetcher->lock);
    enum kith_err err = kith_client_submit(fetcher->client, &op, on_done, fetch);
    if (err != KITH_OK) { /* it is not called */
        fetcher->slots[slot] = NULL;
        fetcher->out--;
        kith_free(fetch);
        return kith_error_set(error, err, "a chunk cannot be asked for: %s",
                              kith_err_text((int)err));
    }
    return KITH_OK;
}

/* Those of one level. */
static enum kith_err level(struct fetcher *fetcher, const struct kith_backup_ids *ids,
                           struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    for (size_t i = 0; i < ids->count && err == KITH_OK; i++) {
        struct kith_backup_place place = {ids->ids[i], 0, 0};
        if (kith_backup_index_find(&fetcher->seen, &ids->ids[i]) ||
            fetcher->sink->has(fetcher->sink->arg, &ids->ids[i])) {
            continue;
        }
        if (kith_backup_index_add(&fetcher->seen, &place) != KITH_OK) {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
        if (err == KITH_OK && fetcher->out == KITH_BACKUP_CHUNKS_OUT) {
            err = take(fetcher, wait_one(fetcher), error);
        }
        if (err == KITH_OK) {
            err = begin(fetcher, &ids->ids[i], error);
        }
    }
    struct fetch *fetch = NULL;
    while ((fetch = wait_one(fetcher)) != NULL) { /* all must end before this returns */
        if (err == KITH_OK) {
            err = take(fetcher, fetch, error);
        } else {
            drop(fetch);
        }
    }
    return err;
}

enum kith_err kith_backup_chunks(struct kith_client *client, const struct kith_backup_ids *ids,
                                 struct kith_backup_limit *limit,
                                 const struct kith_backup_sink *sink, struct kith_error *error)
{
    struct fetcher fetcher;
    memset(&fetcher, 0, sizeof fetcher);
    fetcher.client = client;
    fetcher.limit = limit;
    fetcher.sink = sink;
    pthread_mutex_init(&fetcher.lock, NULL);
    pthread_cond_init(&fetcher.changed, NULL);
    enum kith_err err = level(&fetcher, ids, error);
    for (uint32_t i = 0; err == KITH_OK && fetcher.next.count > 0; i++) {
        struct kith_backup_ids below = fetcher.next;
        memset(&fetcher.next, 0, sizeof fetcher.next);
        err = i < LEVELS_MAX ? level(&fetcher, &below, error)
                             : kith_error_set(error, KITH_EFORMAT, "chunks refer to each other");
        kith_backup_ids_release(&below);
    }
    for (struct fetch *fetch = fetcher.kept, *next; fetch; fetch = next) {
        next = fetch->next;
        /* with one missing below it, which is not told from others: none is written, all come again */
        if (err == KITH_OK && fetcher.missing.code == KITH_OK) {
            err = put(&fetcher, fetch, error);
        }
        drop(fetch);
    }
    if (err == KITH_OK && fetcher.missing.code != KITH_OK) {
        *error = fetcher.missing;
        err = error->code;
    }
    kith_backup_ids_release(&fetcher.next);
    kith_backup_index_release(&fetcher.seen);
    pthread_cond_destroy(&fetcher.changed);
    pthread_mutex_destroy(&fetcher.lock);
    return err;
}
