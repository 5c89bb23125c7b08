/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_client.c - see fake_client.h.
 *
 * One lock protects the cluster with all its clients; callbacks run without it. */
#include "lib/fake_client.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "data/hlc.h"
#include "lib/fake_chunk.h"
#include "lib/fake_op.h"
#include "lib/fake_rows.h"
#include "lib/fake_view.h"
#include "lib/fake_watch.h"

#define FAKE_PARTITIONS 4u
#define UNDER_WAY_MAX 65536u /* requests of one client; more are ELIMIT, as with the real one */

struct fake_fault {
    uint32_t after, count;
    enum kith_err err;
    bool apply;
};

struct kith_fake_cluster {
    pthread_mutex_t lock;
    pthread_cond_t cond; /* a request came, a hold ended, a client closes */
    struct fake_rows rows;
    struct fake_chunks chunks;
    struct kith_actor actor;
    uint64_t counter;
    struct kith_hlc hlc;
    uint64_t random;
    uint32_t delay_us;
    bool unreachable;
    bool held[KITH_CLIENT_KINDS];
    struct fake_fault faults[KITH_CLIENT_KINDS];
    struct kith_fake_counts counts;
    uint32_t clients;
    struct fake_watches watches; /* has a lock of its own */
};

struct fake_request {
    struct fake_request *next;
    struct kith_arena arena;
    struct kith_client_op op;
    uint64_t due_us;
    kith_client_cb cb;
    void *arg;
};

struct kith_client {
    struct kith_fake_cluster *cluster;
    struct fake_request *first; /* by due time, then by arrival; protected by cluster->lock */
    uint32_t queued;
    bool closing;
    char writer[KITH_WRITER_MAX + 1];
    uint64_t id, sequence;
    pthread_t thread;
};

static const struct kith_uuid fake_uuid = {.bytes = {0xfa, 0x4e}}; /* the cluster, and its node */

static uint64_t now_us(clockid_t clock)
{
    struct timespec ts;
    KITH_ASSERT(clock_gettime(clock, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* splitmix64 (Steele et al. 2014) */
static uint64_t draw(struct kith_fake_cluster *cluster)
{
    uint64_t z = cluster->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- the cluster ---- */

struct kith_fake_cluster *kith_fake_cluster_new(void)
{
    struct kith_fake_cluster *cluster = kith_calloc(1, sizeof(*cluster));
    if (cluster == NULL) {
        return NULL;
    }
    pthread_condattr_t attr;
    KITH_ASSERT(pthread_condattr_init(&attr) == 0);
    KITH_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    KITH_ASSERT(pthread_mutex_init(&cluster->lock, NULL) == 0);
    KITH_ASSERT(pthread_cond_init(&cluster->cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
    fake_watches_init(&cluster->watches);
    cluster->random = 1;
    cluster->actor.run = draw(cluster);
    cluster->actor.epoch = 1;
    return cluster;
}

void kith_fake_cluster_free(struct kith_fake_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    KITH_ASSERT(cluster->clients == 0);
    fake_watches_release(&cluster->watches);
    fake_chunks_release(&cluster->chunks);
    fake_rows_release(&cluster->rows);
    pthread_cond_destroy(&cluster->cond);
    pthread_mutex_destroy(&cluster->lock);
    kith_free(cluster);
}

void kith_fake_set_delay(struct kith_fake_cluster *cluster, uint32_t delay_us)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->delay_us = delay_us;
    pthread_mutex_unlock(&cluster->lock);
}

void kith_fake_hold(struct kith_fake_cluster *cluster, enum kith_client_kind kind, bool held)
{
    pthread_mutex_lock(&cluster->lock);
    for (unsigned i = 1; i < KITH_CLIENT_KINDS; i++) {
        if (kind == 0 || i == kind) {
            cluster->held[i] = held;
        }
    }
    pthread_cond_broadcast(&cluster->cond);
    pthread_mutex_unlock(&cluster->lock);
}

void kith_fake_set_unreachable(struct kith_fake_cluster *cluster, bool unreachable)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->unreachable = unreachable;
    pthread_mutex_unlock(&cluster->lock);
}

void kith_fake_fail_later(struct kith_fake_cluster *cluster, enum kith_client_kind kind,
                          uint32_t after, uint32_t count, enum kith_err err, bool apply)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->faults[kind] = (struct fake_fault){after, count, err, apply};
    pthread_mutex_unlock(&cluster->lock);
}

uint32_t kith_fake_lose_unsynced(struct kith_fake_cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    uint32_t lost = fake_chunks_lose_unsynced(&cluster->chunks);
    pthread_mutex_unlock(&cluster->lock);
    return lost;
}

bool kith_fake_lose_chunk(struct kith_fake_cluster *cluster, const struct kith_chunk_id *id)
{
    pthread_mutex_lock(&cluster->lock);
    bool found = fake_chunks_lose(&cluster->chunks, id);
    pthread_mutex_unlock(&cluster->lock);
    return found;
}

void kith_fake_sweep_chunk(struct kith_fake_cluster *cluster, const struct kith_chunk_id *id,
                           bool doomed)
{
    pthread_mutex_lock(&cluster->lock);
    fake_chunks_sweep(&cluster->chunks, id, doomed);
    pthread_mutex_unlock(&cluster->lock);
}

uint32_t kith_fake_sweep_sized(struct kith_fake_cluster *cluster, size_t size, uint32_t most)
{
    pthread_mutex_lock(&cluster->lock);
    uint32_t count = fake_chunks_sweep_sized(&cluster->chunks, size, most);
    pthread_mutex_unlock(&cluster->lock);
    return count;
}

bool kith_fake_has_chunk(struct kith_fake_cluster *cluster, const struct kith_chunk_id *id,
                         bool disk)
{
    pthread_mutex_lock(&cluster->lock);
    bool has = fake_chunks_has(&cluster->chunks, id, disk);
    pthread_mutex_unlock(&cluster->lock);
    return has;
}

void kith_fake_counts(struct kith_fake_cluster *cluster, struct kith_fake_counts *ret_counts)
{
    pthread_mutex_lock(&cluster->lock);
    *ret_counts = cluster->counts;
    ret_counts->chunks = cluster->chunks.count;
    ret_counts->chunk_bytes = cluster->chunks.bytes;
    pthread_mutex_unlock(&cluster->lock);
}

void kith_fake_each_row(struct kith_fake_cluster *cluster,
                        void (*each)(void *arg, struct kith_bytes name, const struct kith_row *row),
                        void *arg)
{
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    pthread_mutex_lock(&cluster->lock);
    for (size_t i = 0; i < cluster->rows.count; i++) {
        const struct fake_row *row = cluster->rows.rows[i];
        struct kith_row state;
        if (kith_row_decode(&arena, kith_buf_bytes(&row->state), &state) == KITH_OK) {
            each(arg, kith_buf_bytes(&row->name), &state);
        }
    }
    pthread_mutex_unlock(&cluster->lock);
    kith_arena_release(&arena);
}

void kith_fake_set_watches(struct kith_fake_cluster *cluster, bool live)
{
    fake_watches_set_live(&cluster->watches, live);
}

uint32_t kith_fake_tell(struct kith_fake_cluster *cluster, const struct kith_group *group,
                        const struct kith_bytes *names, uint32_t count)
{
    return fake_watches_tell(&cluster->watches, NULL, group, names, count);
}

uint32_t kith_fake_watches(struct kith_fake_cluster *cluster)
{
    return fake_watches_count(&cluster->watches);
}

/* ---- requests for rows ---- */

static enum kith_err run_get(struct kith_fake_cluster *cluster, struct fake_request *request,
                             struct kith_client_result *result)
{
    uint32_t count = request->op.u.get.name_count;
    struct kith_client_row *rows = kith_arena_calloc(&request->arena, count, sizeof(*rows));
    if (rows == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        rows[i].name = request->op.u.get.names[i];
        enum kith_err err =
            fake_rows_load(&cluster->rows, &request->arena, &request->op.u.get.group,
                           rows[i].name, &rows[i].row);
        if (err != KITH_OK) {
            return err;
        }
    }
    result->u.rows.rows = rows;
    result->u.rows.row_count = count;
    return KITH_OK;
}

static enum kith_err run_scan(struct kith_fake_cluster *cluster, struct fake_request *request,
                              struct kith_client_result *result)
{
    const struct kith_client_op *op = &request->op;
    uint32_t max = op->u.scan.max_rows;
    max = max == 0 || max > KITH_PAGE_ROWS_MAX ? KITH_PAGE_ROWS_MAX : max;
    struct kith_client_row *rows = kith_arena_calloc(&request->arena, max, sizeof(*rows));
    if (rows == NULL) {
        return KITH_ENOMEM;
    }
    struct kith_bytes after = op->u.scan.has_after ? op->u.scan.after : kith_bytes_make(NULL, 0);
    size_t at = fake_rows_seek(&cluster->rows, &op->u.scan.group, after);
    const struct fake_row *row = fake_rows_at(&cluster->rows, at, &op->u.scan.group);
    if (op->u.scan.has_after && row != NULL &&
        kith_bytes_equal(kith_buf_bytes(&row->name), after)) {
        at++;
    }
    uint32_t count = 0, seen = 0;
    for (; (row = fake_rows_at(&cluster->rows, at, &op->u.scan.group)) != NULL && seen < max;
         at++, seen++) {
        struct kith_client_row *out = &rows[count];
        out->name.size = row->name.size;
        out->name.data = kith_arena_copy(&request->arena, row->name.data, row->name.size);
        if (out->name.data == NULL) {
            return KITH_ENOMEM;
        }
        enum kith_err err = fake_rows_load(&cluster->rows, &request->arena, &row->group, out->name,
                                           &out->row);
        if (err != KITH_OK) {
            return err;
        }
        result->u.rows.last = out->name;
        count += out->row.sibling_count > 0;
    }
    result->u.rows.rows = rows;
    result->u.rows.row_count = count;
    result->u.rows.more = fake_rows_at(&cluster->rows, at, &op->u.scan.group) != NULL;
    return KITH_OK;
}

/* Two a page, so that few directories make several. */
static enum kith_err run_groups(struct kith_fake_cluster *cluster, struct fake_request *request,
                                struct kith_client_result *result)
{
    const struct kith_client_op *op = &request->op;
    struct kith_group *groups = kith_arena_calloc(&request->arena, 2, sizeof(*groups));
    if (groups == NULL) {
        return KITH_ENOMEM;
    }
    if (op->u.groups.partition >= FAKE_PARTITIONS) {
        return KITH_EINVAL;
    }
    for (size_t i = 0; i < cluster->rows.count && !result->u.groups.more; i++) {
        const struct fake_row *row = cluster->rows.rows[i];
        if (row->name.size == 0 && kith_group_volume(&row->group) == op->u.groups.volume &&
            kith_group_partition(&row->group, FAKE_PARTITIONS) == op->u.groups.partition &&
            (!op->u.groups.has_after ||
             kith_group_compare(&row->group, &op->u.groups.after) > 0)) {
            result->u.groups.more = result->u.groups.count == 2;
            if (!result->u.groups.more) {
                groups[result->u.groups.count++] = row->group;
            }
        }
    }
    result->u.groups.partitions = FAKE_PARTITIONS;
    result->u.groups.groups = groups;
    return KITH_OK;
}

static struct kith_request_id request_id(struct kith_client *client)
{
    struct kith_request_id id;
    uint64_t sequence = ++client->sequence;
    memcpy(id.bytes, &client->id, 8);
    memcpy(id.bytes + 8, &sequence, 8);
    return id;
}

static const struct kith_sibling *find_request(const struct kith_row *row,
                                               const struct kith_request_id *id)
{
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (memcmp(&row->siblings[i].request, id, sizeof(*id)) == 0) {
            return &row->siblings[i];
        }
    }
    return NULL;
}

/* One update, computed but not stored. */
static enum kith_err put_one(struct kith_client *client, struct fake_request *request,
                             const struct kith_put_update *update,
                             const struct kith_request_id *id, uint64_t time,
                             struct kith_row *ret_row, struct kith_put_result *ret_result)
{
    struct kith_fake_cluster *cluster = client->cluster;
    struct kith_row context, before;
    enum kith_err err = kith_row_decode(&request->arena, update->context, &context);
    if (err == KITH_OK) {
        err = fake_rows_load(&cluster->rows, &request->arena, &request->op.u.put.group,
                             update->name, &before);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_row_update change = {
        .context = context.clock,
        .kept_count = context.sibling_count,
        .kept = context.siblings,
        .has_sibling = update->has_sibling,
        .kind = update->kind,
        .writer = kith_bytes_make(client->writer, strlen(client->writer)),
        .ref_count = update->ref_count,
        .refs = update->refs,
        .value = update->value,
    };
    struct kith_dot dot = {cluster->actor, ++cluster->counter};
    const struct kith_sibling *done = find_request(&before, id);
    if (done != NULL) { /* carried out already */
        *ret_row = before;
        dot = done->dot;
        time = done->time;
    } else {
        err = kith_row_put(&request->arena, &before, &change, &dot, time, id, ret_row);
    }
    if (err != KITH_OK) {
        return err;
    }
    uint32_t versions = 0;
    for (uint32_t i = 0; i < ret_row->sibling_count; i++) {
        versions += ret_row->siblings[i].kind == KITH_SIBLING_VALUE;
    }
    cluster->counts.conflicts += versions > 1;
    struct kith_row others = *ret_row; /* without the writer's own */
    struct kith_sibling *siblings =
        kith_arena_calloc(&request->arena, ret_row->sibling_count, sizeof(*siblings));
    if (siblings == NULL) {
        return KITH_ENOMEM;
    }
    others.siblings = siblings;
    others.sibling_count = 0;
    for (uint32_t i = 0; i < ret_row->sibling_count; i++) {
        if (!kith_dot_equal(&ret_row->siblings[i].dot, &dot)) {
            siblings[others.sibling_count++] = ret_row->siblings[i];
        }
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&others, &buf);
    const void *bytes = buf.failed ? NULL : kith_arena_copy(&request->arena, buf.data, buf.size);
    ret_result->dot = dot;
    ret_result->time = time;
    ret_result->context = kith_bytes_make(bytes, buf.size);
    kith_buf_release(&buf);
    return bytes == NULL ? KITH_ENOMEM : KITH_OK;
}

static enum kith_err run_put(struct kith_client *client, struct fake_request *request,
                             struct kith_client_result *result)
{
    struct kith_fake_cluster *cluster = client->cluster;
    uint32_t count = request->op.u.put.update_count;
    struct kith_row *rows = kith_arena_calloc(&request->arena, count, sizeof(*rows));
    struct kith_put_result *results = kith_arena_calloc(&request->arena, count, sizeof(*results));
    if (rows == NULL || results == NULL) {
        return KITH_ENOMEM;
    }
    static const struct kith_request_id nil;
    struct kith_request_id id = request->op.u.put.request;
    if (memcmp(&id, &nil, sizeof(id)) == 0) {
        id = request_id(client);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_put_update *update = &request->op.u.put.updates[i];
        if (fake_chunks_swept(&cluster->chunks, update->refs, update->ref_count)) {
            return KITH_EREFUSED;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t time = kith_hlc_now(&cluster->hlc, now_us(CLOCK_REALTIME) / 1000u);
        enum kith_err err = put_one(client, request, &request->op.u.put.updates[i], &id, time,
                                    &rows[i], &results[i]);
        if (err != KITH_OK) {
            return err; /* all or nothing: nothing is stored yet */
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        enum kith_err err = fake_rows_store(&cluster->rows, &request->op.u.put.group,
                                      request->op.u.put.updates[i].name, &rows[i]);
        KITH_ASSERT(err == KITH_OK);
    }
    cluster->counts.put_updates += count;
    result->u.put.results = results;
    result->u.put.result_count = count;
    result->u.put.copies = 3;
    return KITH_OK;
}

/* ---- all kinds ---- */

static enum kith_err run_chunk_sync(struct kith_fake_cluster *cluster,
                                    struct fake_request *request, struct kith_client_result *result)
{
    uint32_t count = request->op.u.chunk_sync.id_count;
    struct kith_chunk_id *missing = kith_arena_calloc(&request->arena, count, sizeof(*missing));
    if (missing == NULL) {
        return KITH_ENOMEM;
    }
    uint32_t missing_count = 0;
    bool lease = request->op.u.chunk_sync.lease;
    cluster->counts.leased += lease ? count : 0;
    for (uint32_t i = 0; i < count && lease; i++) {
        const struct kith_chunk_id *id = &request->op.u.chunk_sync.ids[i];
        if (fake_chunks_swept(&cluster->chunks, id, 1) ||
            !fake_chunks_has(&cluster->chunks, id, false)) { /* as nodes say it: node/core/requests/chunk.c */
            missing[missing_count++] = request->op.u.chunk_sync.ids[i];
        }
    }
    for (uint32_t i = 0; i < count && !lease; i++) {
        if (!fake_chunks_sync(&cluster->chunks, &request->op.u.chunk_sync.ids[i])) {
            missing[missing_count++] = request->op.u.chunk_sync.ids[i];
        }
    }
    result->u.chunk_sync.missing = missing;
    result->u.chunk_sync.missing_count = missing_count;
    return KITH_OK;
}

static enum kith_err run_status(struct kith_fake_cluster *cluster, struct fake_request *request,
                                struct kith_client_result *result)
{
    struct kith_status_res *status = kith_arena_calloc(&request->arena, 1, sizeof(*status));
    if (status == NULL) {
        return KITH_ENOMEM;
    }
    status->status.message = "";
    status->node.node = status->node.cluster = fake_uuid;
    status->node.cluster_name = "fake";
    status->node.software = KITH_VERSION;
    status->node.partitions = KITH_PARTITIONS_DEFAULT;
    status->node.replicas = 3;
    status->node.rows = cluster->rows.count;
    status->node.chunks = cluster->chunks.count;
    status->node.chunk_bytes = cluster->chunks.bytes;
    status->node.disk_total_bytes = UINT64_C(100) << 30;
    status->node.disk_free_bytes = UINT64_C(60) << 30;
    result->u.status = status;
    return KITH_OK;
}

/* The row of that name, as a get would find it. */
static enum kith_err where_row(struct kith_fake_cluster *cluster, struct fake_request *request,
                               const struct kith_client_row_name *name,
                               struct kith_client_row *ret_row)
{
    struct kith_client_result one;
    memset(&one, 0, sizeof(one));
    request->op.u.get.group = name->group;
    request->op.u.get.names = &name->name;
    request->op.u.get.name_count = 1;
    enum kith_err err = run_get(cluster, request, &one);
    *ret_row = err == KITH_OK ? one.u.rows.rows[0] : *ret_row;
    return err;
}

static enum kith_err run_where(struct kith_fake_cluster *cluster, struct fake_request *request,
                               struct kith_client_result *result)
{
    const struct kith_client_op op = request->op;
    struct kith_client_where *found = fake_where_new(&request->arena, op.u.where.row_count);
    enum kith_err err = found == NULL ? KITH_ENOMEM : KITH_OK;
    for (uint32_t i = 0; i < op.u.where.row_count && err == KITH_OK; i++) {
        err = where_row(cluster, request, &op.u.where.rows[i], &found->rows[i]);
    }
    request->op = op;
    for (uint32_t i = 0; i < op.u.where.id_count && err == KITH_OK; i++) {
        fake_where_chunk(found, fake_chunks_sync(&cluster->chunks, &op.u.where.ids[i]));
    }
    if (err == KITH_OK) {
        fake_where_rows(found);
        result->u.where = found;
    }
    return err;
}

static enum kith_err run_kind(struct kith_client *client, struct fake_request *request,
                              struct kith_client_result *result)
{
    struct kith_fake_cluster *cluster = client->cluster;
    switch (request->op.kind) {
    case KITH_CLIENT_GET:
        return run_get(cluster, request, result);
    case KITH_CLIENT_SCAN:
        return run_scan(cluster, request, result);
    case KITH_CLIENT_GROUPS:
        return run_groups(cluster, request, result);
    case KITH_CLIENT_PUT:
        return run_put(client, request, result);
    case KITH_CLIENT_CHUNK_PUT:
        return fake_chunks_put(&cluster->chunks, &request->op);
    case KITH_CLIENT_CHUNK_GET:
        return fake_chunks_get(&cluster->chunks, &request->op, result);
    case KITH_CLIENT_CHUNK_SYNC:
        return run_chunk_sync(cluster, request, result);
    case KITH_CLIENT_STATUS:
        return run_status(cluster, request, result);
    case KITH_CLIENT_WHERE:
        return run_where(cluster, request, result);
    }
    return KITH_EINVAL;
}

/* ---- the client ---- */

bool kith_fake_intrude(struct kith_fake_cluster *cluster, const struct kith_client *client,
                       struct kith_bytes name, struct kith_bytes value)
{
    static const struct kith_request_id other = {{1}};
    struct kith_row_update change = {.has_sibling = true, .value = value};
    struct kith_row before, after;
    struct kith_arena arena;
    struct kith_group put_to;
    bool done = false;
    kith_arena_init(&arena, 0);
    pthread_mutex_lock(&cluster->lock);
    const struct fake_request *request = client->first;
    if (request != NULL && request->op.kind == KITH_CLIENT_PUT) {
        const struct kith_group *group = &request->op.u.put.group;
        put_to = *group;
        uint64_t time = kith_hlc_now(&cluster->hlc, now_us(CLOCK_REALTIME) / 1000u);
        struct kith_dot dot = {cluster->actor, ++cluster->counter};
        done = fake_rows_load(&cluster->rows, &arena, group, name, &before) == KITH_OK &&
               kith_row_put(&arena, &before, &change, &dot, time, &other, &after) == KITH_OK &&
               fake_rows_store(&cluster->rows, group, name, &after) == KITH_OK;
    }
    pthread_mutex_unlock(&cluster->lock);
    kith_arena_release(&arena);
    if (done) {
        (void)fake_watches_tell(&cluster->watches, NULL, &put_to, &name, 1);
    }
    return done;
}

struct fake_watches *fake_watches_of(struct kith_client *client)
{
    return &client->cluster->watches;
}

/* Tells the watches of the others what a put has changed. */
static void tell_put(struct kith_client *client, const struct fake_request *request)
{
    uint32_t count = request->op.u.put.update_count;
    for (uint32_t i = 0; i < count; i++) { /* one by one: the names lie in the updates */
        (void)fake_watches_tell(&client->cluster->watches, client, &request->op.u.put.group,
                                &request->op.u.put.updates[i].name, 1);
    }
}

static void request_free(struct fake_request *request)
{
    if (request->op.kind == KITH_CLIENT_CHUNK_PUT) {
        kith_blob_drop(request->op.u.chunk_put.payload);
    }
    kith_arena_release(&request->arena);
    kith_free(request);
}

/* Called with the lock; runs the callback without it. */
static void execute(struct kith_client *client, struct fake_request *request)
{
    struct kith_fake_cluster *cluster = client->cluster;
    struct kith_client_result result = {.err = KITH_OK};
    struct kith_blob *blob = NULL;
    struct fake_fault *fault = &cluster->faults[request->op.kind];
    enum kith_err injected = KITH_OK;
    bool apply = true;
    if (client->closing || cluster->unreachable) {
        injected = client->closing ? KITH_ECANCELED : KITH_EUNREACH;
        apply = false;
    } else if (fault->after > 0) {
        fault->after--;
    } else if (fault->count > 0) {
        fault->count--;
        injected = fault->err;
        apply = fault->apply;
    }
    if (apply) {
        cluster->counts.ops[request->op.kind]++;
        result.err = run_kind(client, request, &result);
        if (result.err == KITH_OK && request->op.kind == KITH_CLIENT_CHUNK_GET) {
            blob = result.u.chunk.payload;
        }
    }
    bool stored = apply && request->op.kind == KITH_CLIENT_PUT && result.err == KITH_OK;
    if (injected != KITH_OK) {
        result.err = injected;
    }
    result.message = result.err == KITH_OK ? "" : kith_err_text((int)result.err);
    cluster->counts.under_way--;
    cluster->counts.calling++;
    pthread_mutex_unlock(&cluster->lock);
    if (stored) {
        tell_put(client, request);
    }
    request->cb(request->arg, &result);
    kith_blob_drop(blob);
    request_free(request);
    pthread_mutex_lock(&cluster->lock);
    cluster->counts.calling--;
}

static void *client_main(void *arg)
{
    struct kith_client *client = arg;
    struct kith_fake_cluster *cluster = client->cluster;
    pthread_mutex_lock(&cluster->lock);
    for (;;) {
        struct fake_request **slot = &client->first;
        while (*slot != NULL && cluster->held[(*slot)->op.kind] && !client->closing) {
            slot = &(*slot)->next;
        }
        struct fake_request *request = *slot;
        if (request == NULL) {
            if (client->closing) {
                break;
            }
            pthread_cond_wait(&cluster->cond, &cluster->lock);
        } else if (request->due_us > now_us(CLOCK_MONOTONIC) && !client->closing) {
            struct timespec until = {(time_t)(request->due_us / 1000000u),
                                     (long)(request->due_us % 1000000u) * 1000};
            pthread_cond_timedwait(&cluster->cond, &cluster->lock, &until);
        } else {
            *slot = request->next;
            client->queued--;
            execute(client, request);
        }
    }
    pthread_mutex_unlock(&cluster->lock);
    return NULL;
}

struct kith_client *kith_fake_client_new(struct kith_fake_cluster *cluster, const char *writer)
{
    struct kith_client *client = kith_calloc(1, sizeof(*client));
    if (client == NULL) {
        return NULL;
    }
    client->cluster = cluster;
    snprintf(client->writer, sizeof(client->writer), "%s", writer);
    pthread_mutex_lock(&cluster->lock);
    client->id = draw(cluster);
    cluster->clients++;
    pthread_mutex_unlock(&cluster->lock);
    KITH_ASSERT(pthread_create(&client->thread, NULL, client_main, client) == 0);
    return client;
}

/* A fake is made with kith_fake_client_new; servers there are none. */
enum kith_err kith_client_open(const struct kith_client_options *options,
                               struct kith_client **ret_client, struct kith_error *error)
{
    (void)options;
    *ret_client = NULL;
    return kith_error_set(error, KITH_EUNREACH, "a client in memory reaches no servers");
}

void kith_client_close(struct kith_client *client)
{
    if (client == NULL) {
        return;
    }
    struct kith_fake_cluster *cluster = client->cluster;
    pthread_mutex_lock(&cluster->lock);
    client->closing = true;
    pthread_cond_broadcast(&cluster->cond);
    pthread_mutex_unlock(&cluster->lock);
    KITH_ASSERT(pthread_join(client->thread, NULL) == 0);
    pthread_mutex_lock(&cluster->lock);
    cluster->clients--;
    pthread_mutex_unlock(&cluster->lock);
    kith_free(client);
}

enum kith_err kith_client_submit(struct kith_client *client, const struct kith_client_op *op,
                                 kith_client_cb cb, void *arg)
{
    if (!fake_op_is_valid(op)) {
        return KITH_EINVAL;
    }
    struct fake_request *request = kith_calloc(1, sizeof(*request));
    if (request == NULL) {
        return KITH_ENOMEM;
    }
    request->op = *op;
    request->cb = cb;
    request->arg = arg;
    if (!fake_op_copy(&request->arena, &request->op)) {
        kith_arena_release(&request->arena);
        kith_free(request);
        return KITH_ENOMEM;
    }
    if (op->kind == KITH_CLIENT_CHUNK_PUT) {
        kith_blob_hold(op->u.chunk_put.payload);
    }
    struct kith_fake_cluster *cluster = client->cluster;
    pthread_mutex_lock(&cluster->lock);
    if (client->queued >= UNDER_WAY_MAX || client->closing) {
        enum kith_err err = client->closing ? KITH_ECANCELED : KITH_ELIMIT;
        pthread_mutex_unlock(&cluster->lock);
        request_free(request);
        return err;
    }
    request->due_us = now_us(CLOCK_MONOTONIC) + cluster->delay_us;
    struct fake_request **slot = &client->first;
    while (*slot != NULL && (*slot)->due_us <= request->due_us) {
        slot = &(*slot)->next;
    }
    request->next = *slot;
    *slot = request;
    client->queued++;
    struct kith_fake_counts *counts = &cluster->counts;
    counts->under_way++;
    counts->under_way_max =
        counts->under_way > counts->under_way_max ? counts->under_way : counts->under_way_max;
    pthread_cond_broadcast(&cluster->cond);
    pthread_mutex_unlock(&cluster->lock);
    return KITH_OK;
}

struct kith_chunk_id kith_client_chunk_id(struct kith_client *client, uint32_t volume)
{
    uint64_t words[2];
    uint8_t bytes[10];
    pthread_mutex_lock(&client->cluster->lock);
    words[0] = draw(client->cluster);
    words[1] = draw(client->cluster);
    pthread_mutex_unlock(&client->cluster->lock);
    memcpy(bytes, words, sizeof(bytes));
    return kith_chunk_id_make(volume, now_us(CLOCK_REALTIME) / 1000u, bytes);
}

struct kith_request_id kith_client_request_id(struct kith_client *client)
{
    pthread_mutex_lock(&client->cluster->lock);
    struct kith_request_id id = request_id(client);
    pthread_mutex_unlock(&client->cluster->lock);
    return id;
}

bool kith_client_writable(struct kith_client *client, const struct kith_group *group)
{
    (void)group;
    pthread_mutex_lock(&client->cluster->lock);
    bool writable = !client->cluster->unreachable;
    pthread_mutex_unlock(&client->cluster->lock);
    return writable;
}

struct kith_uuid kith_client_cluster(struct kith_client *client)
{
    (void)client;
    return fake_uuid;
}

/* Its cluster answers, or says at once that it does not: nothing waits. */
void kith_client_hard(struct kith_client *client, bool hard)
{
    (void)client;
    (void)hard;
}

/* Of one member, who owns everything. */
struct kith_table *kith_client_table(struct kith_client *client)
{
    (void)client;
    static const uint16_t owners[1] = {0};
    const struct kith_member member = {.uuid = fake_uuid, .weight = 1};
    struct kith_table *table = NULL;
    KITH_ASSERT(kith_table_new(&fake_uuid, 1, 1, 1, 1, &member, 1, owners, &table) == KITH_OK);
    return table;
}

enum kith_err kith_client_view(struct kith_client *client, struct kith_arena *arena,
                               struct kith_client_view *ret_view)
{
    struct kith_fake_cluster *cluster = client->cluster;
    pthread_mutex_lock(&cluster->lock);
    enum kith_err err = fake_view(arena, !cluster->unreachable, cluster->counts.ops, ret_view);
    pthread_mutex_unlock(&cluster->lock);
    ret_view->cluster = kith_client_cluster(client);
    return err;
}
