/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * answer.c - deep copies of results, and the call that waits for one request.
 *
 * Stands apart from the client itself so that a test's client in memory uses the same code. */
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "client/client.h"

static enum kith_err copy_text(struct kith_arena *arena, const char *text, const char **ret_text)
{
    if (text == NULL) {
        *ret_text = NULL;
        return KITH_OK;
    }
    *ret_text = kith_arena_copy(arena, text, strlen(text) + 1);
    return *ret_text == NULL ? KITH_ENOMEM : KITH_OK;
}

static enum kith_err copy_bytes(struct kith_arena *arena, struct kith_bytes bytes,
                                struct kith_bytes *ret_bytes)
{
    const void *data = kith_arena_copy(arena, bytes.data, bytes.size);
    if (data == NULL) {
        return KITH_ENOMEM;
    }
    *ret_bytes = kith_bytes_make(data, bytes.size);
    return KITH_OK;
}

static enum kith_err copy_rows(struct kith_arena *arena, const struct kith_client_result *result,
                               struct kith_client_result *copy)
{
    uint32_t count = result->u.rows.row_count;
    struct kith_client_row *rows = kith_arena_calloc(arena, count, sizeof(*rows));
    if (rows == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        enum kith_err err = copy_bytes(arena, result->u.rows.rows[i].name, &rows[i].name);
        if (err == KITH_OK) {
            err = kith_row_copy(arena, &result->u.rows.rows[i].row, &rows[i].row);
        }
        if (err != KITH_OK) {
            return err;
        }
    }
    copy->u.rows.rows = rows;
    copy->u.rows.row_count = count;
    copy->u.rows.more = result->u.rows.more;
    return copy_bytes(arena, result->u.rows.last, &copy->u.rows.last);
}

static enum kith_err copy_put(struct kith_arena *arena, const struct kith_client_result *result,
                              struct kith_client_result *copy)
{
    uint32_t count = result->u.put.result_count;
    struct kith_put_result *results = kith_arena_calloc(arena, count, sizeof(*results));
    if (results == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        results[i] = result->u.put.results[i];
        enum kith_err err = copy_bytes(arena, result->u.put.results[i].context,
                                       &results[i].context);
        if (err != KITH_OK) {
            return err;
        }
    }
    copy->u.put.results = results;
    copy->u.put.result_count = count;
    copy->u.put.copies = result->u.put.copies;
    return KITH_OK;
}

static enum kith_err copy_status(struct kith_arena *arena, const struct kith_client_result *result,
                                 struct kith_client_result *copy)
{
    const struct kith_status_res *from = result->u.status;
    if (from == NULL) {
        return KITH_OK;
    }
    struct kith_status_res *to = kith_arena_copy(arena, from, sizeof(*from));
    if (to == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err = copy_text(arena, from->status.message, &to->status.message);
    if (err == KITH_OK) {
        err = copy_text(arena, from->node.cluster_name, &to->node.cluster_name);
    }
    if (err == KITH_OK) {
        err = copy_text(arena, from->node.software, &to->node.software);
    }
    if (err == KITH_OK) {
        err = copy_text(arena, from->node.sweep.waits, &to->node.sweep.waits);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_member_info *members =
        kith_arena_calloc(arena, from->member_count, sizeof(*members));
    if (members == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < from->member_count; i++) {
        members[i] = from->members[i]; /* holds its texts itself */
    }
    to->members = members;
    copy->u.status = to;
    return KITH_OK;
}

static enum kith_err copy_sync(struct kith_arena *arena, const struct kith_client_result *result,
                               struct kith_client_result *copy)
{
    uint32_t count = result->u.chunk_sync.missing_count;
    struct kith_chunk_id *ids = kith_arena_calloc(arena, count, sizeof(*ids));
    if (ids == NULL) {
        return KITH_ENOMEM;
    }
    if (count > 0) {
        memcpy(ids, result->u.chunk_sync.missing, count * sizeof(*ids));
    }
    copy->u.chunk_sync.missing = ids;
    copy->u.chunk_sync.missing_count = count;
    return KITH_OK;
}

static enum kith_err copy_groups(struct kith_arena *arena, const struct kith_client_result *result,
                                 struct kith_client_result *copy)
{
    uint32_t count = result->u.groups.count;
    struct kith_group *groups = kith_arena_calloc(arena, count + 1u, sizeof(*groups));
    if (groups == NULL) {
        return KITH_ENOMEM;
    }
    if (count > 0) {
        memcpy(groups, result->u.groups.groups, count * sizeof(*groups));
    }
    copy->u.groups = result->u.groups;
    copy->u.groups.groups = groups;
    return KITH_OK;
}

static enum kith_err copy_where(struct kith_arena *arena, const struct kith_client_result *result,
                                struct kith_client_result *copy)
{
    const struct kith_client_where *from = result->u.where;
    struct kith_client_where *to = kith_arena_copy(arena, from, sizeof(*from));
    if (to == NULL) {
        return KITH_ENOMEM;
    }
    to->zones = kith_arena_copy(arena, from->zones, from->zone_count * sizeof(*from->zones));
    to->nodes = kith_arena_copy(arena, from->nodes, from->node_count * sizeof(*from->nodes));
    to->rows = kith_arena_calloc(arena, from->row_count + 1u, sizeof(*to->rows));
    if (to->zones == NULL || to->nodes == NULL || to->rows == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < from->row_count; i++) {
        enum kith_err err = copy_bytes(arena, from->rows[i].name, &to->rows[i].name);
        if (err == KITH_OK) {
            err = kith_row_copy(arena, &from->rows[i].row, &to->rows[i].row);
        }
        if (err != KITH_OK) {
            return err;
        }
    }
    copy->u.where = to;
    return KITH_OK;
}

static enum kith_err copy_body(enum kith_client_kind kind, const struct kith_client_result *result,
                               struct kith_client_answer *answer)
{
    switch (kind) {
    case KITH_CLIENT_GET:
    case KITH_CLIENT_SCAN:
        return copy_rows(&answer->arena, result, &answer->result);
    case KITH_CLIENT_GROUPS:
        return copy_groups(&answer->arena, result, &answer->result);
    case KITH_CLIENT_PUT:
        return copy_put(&answer->arena, result, &answer->result);
    case KITH_CLIENT_CHUNK_GET:
        if (result->u.chunk.payload != NULL) {
            answer->blob = kith_blob_hold(result->u.chunk.payload);
        }
        answer->result.u.chunk.payload = answer->blob;
        answer->result.u.chunk.chunk_size = result->u.chunk.chunk_size;
        answer->result.u.chunk.checksum = result->u.chunk.checksum;
        answer->result.u.chunk.ref_count = result->u.chunk.ref_count;
        answer->result.u.chunk.refs =
            kith_arena_copy(&answer->arena, result->u.chunk.refs,
                            result->u.chunk.ref_count * sizeof(*result->u.chunk.refs));
        return answer->result.u.chunk.refs == NULL ? KITH_ENOMEM : KITH_OK;
    case KITH_CLIENT_CHUNK_SYNC:
        return copy_sync(&answer->arena, result, &answer->result);
    case KITH_CLIENT_STATUS:
        return copy_status(&answer->arena, result, &answer->result);
    case KITH_CLIENT_WHERE:
        return copy_where(&answer->arena, result, &answer->result);
    case KITH_CLIENT_CHUNK_PUT:
        return KITH_OK;
    }
    return KITH_EINVAL;
}

const char *kith_client_kind_name(enum kith_client_kind kind)
{
    static const char *const names[KITH_CLIENT_KINDS] = {
        [KITH_CLIENT_GET] = "get",
        [KITH_CLIENT_SCAN] = "scan",
        [KITH_CLIENT_GROUPS] = "groups",
        [KITH_CLIENT_PUT] = "put",
        [KITH_CLIENT_CHUNK_PUT] = "chunk_put",
        [KITH_CLIENT_CHUNK_GET] = "chunk_get",
        [KITH_CLIENT_CHUNK_SYNC] = "chunk_sync",
        [KITH_CLIENT_STATUS] = "status",
        [KITH_CLIENT_WHERE] = "where"};
    return (uint32_t)kind < KITH_CLIENT_KINDS && names[kind] != NULL ? names[kind] : "unknown";
}

enum kith_err kith_client_result_copy(enum kith_client_kind kind,
                                      const struct kith_client_result *result,
                                      struct kith_client_answer *ret_answer)
{
    memset(ret_answer, 0, sizeof(*ret_answer));
    kith_arena_init(&ret_answer->arena, 0);
    ret_answer->result.err = result->err;
    ret_answer->result.degraded = result->degraded;
    enum kith_err err = copy_text(&ret_answer->arena, result->message, &ret_answer->result.message);
    if (err == KITH_OK && result->err == KITH_OK) { /* with an error there is no body to read */
        err = copy_body(kind, result, ret_answer);
    }
    if (err != KITH_OK) {
        kith_client_answer_release(ret_answer);
        ret_answer->result.err = err;
        ret_answer->result.message = kith_err_text((int)err);
    }
    return err;
}

void kith_client_answer_release(struct kith_client_answer *answer)
{
    kith_arena_release(&answer->arena);
    kith_blob_drop(answer->blob);
    memset(answer, 0, sizeof(*answer));
}

/* One thread that waits for one callback. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum kith_client_kind kind;
    bool done;                         /* protected by lock */
    struct kith_client_answer *answer; /* the callback's until done */
};

static void waiter_wake(void *arg, const struct kith_client_result *result)
{
    struct waiter *waiter = arg;
    /* short of memory: the answer itself then says ENOMEM */
    enum kith_err copied = kith_client_result_copy(waiter->kind, result, waiter->answer);
    KITH_ASSERT(copied == KITH_OK || waiter->answer->result.err == copied);
    pthread_mutex_lock(&waiter->lock);
    waiter->done = true;
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->lock); /* under the lock: the waiter may be gone right after */
}

enum kith_err kith_client_call(struct kith_client *client, const struct kith_client_op *op,
                               struct kith_client_answer *ret_answer)
{
    memset(ret_answer, 0, sizeof(*ret_answer));
    kith_arena_init(&ret_answer->arena, 0);
    struct waiter waiter = {.kind = op->kind, .answer = ret_answer};
    KITH_ASSERT(pthread_mutex_init(&waiter.lock, NULL) == 0);
    KITH_ASSERT(pthread_cond_init(&waiter.cond, NULL) == 0);
    enum kith_err err = kith_client_submit(client, op, waiter_wake, &waiter);
    if (err == KITH_OK) {
        pthread_mutex_lock(&waiter.lock);
        while (!waiter.done) {
            pthread_cond_wait(&waiter.cond, &waiter.lock);
        }
        pthread_mutex_unlock(&waiter.lock);
        err = ret_answer->result.err;
    } else {
        ret_answer->result.err = err;
        ret_answer->result.message = kith_err_text((int)err);
    }
    pthread_cond_destroy(&waiter.cond);
    pthread_mutex_destroy(&waiter.lock);
    return err;
}
