/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_queue.c - what waits for a worker, and who works it off: the worker's own thread, or the
 * thread that submitted, lent for a moment. See store_wt.h. */
#include <sys/resource.h>
#include <time.h>

#include "store/store_int.h"

int store_queue_init(struct store_queue *queue)
{
    int ret = pthread_mutex_init(&queue->lock, NULL);
    return ret != 0 ? ret : pthread_cond_init(&queue->wake, NULL);
}

void store_queue_release(struct store_queue *queue)
{
    kith_free(queue->tasks);
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->wake);
}

void store_queue_stop(struct store_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stop = true;
    pthread_cond_signal(&queue->wake);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- Submitting ---- */

static bool op_needs_cluster(enum kith_store_kind kind)
{
    return kind != KITH_STORE_META_PUT && kind != KITH_STORE_COUNT &&
           kind != KITH_STORE_HINT_LIST;
}

static struct store_worker *worker_of(struct kith_store *store, const struct kith_store_op *op)
{
    switch (op->kind) {
    case KITH_STORE_CHUNK_PUT:
    case KITH_STORE_CHUNK_GET:
    case KITH_STORE_CHUNK_SYNC:
    case KITH_STORE_CHUNK_LIST:
    case KITH_STORE_CHUNK_LACK:
    case KITH_STORE_SWEEP_LIST:
    case KITH_STORE_SWEEP_LOOK:
    case KITH_STORE_SWEEP_STEP:
    case KITH_STORE_CHUNK_LEASE:
        return &store->workers[store->worker_count + op->partition % store->bulk_count];
    case KITH_STORE_SUMS:
    case KITH_STORE_SCRUB:
    case KITH_STORE_DROP:
        return (op->kind == KITH_STORE_SUMS    ? op->u.sums.chunks
                : op->kind == KITH_STORE_SCRUB ? op->u.scrub.chunks
                                               : op->u.drop.chunks)
                   ? &store->workers[store->worker_count + op->partition % store->bulk_count]
                   : &store->workers[op->partition % store->worker_count];
    case KITH_STORE_META_PUT: /* one worker for all, so that they stay in order */
    case KITH_STORE_COUNT:
    case KITH_STORE_HINT_LIST:
        return &store->workers[0];
    default:
        return &store->workers[op->partition % store->worker_count];
    }
}

static enum kith_err queue_push(struct store_queue *queue, const struct kith_store_op *op,
                                struct kith_msg_box *box)
{
    enum kith_err err = KITH_OK;
    pthread_mutex_lock(&queue->lock);
    if (queue->stop) {
        pthread_mutex_unlock(&queue->lock);
        return KITH_ECLOSED;
    }
    if (queue->count == queue->capacity) {
        uint32_t capacity = queue->capacity == 0 ? KITH_ROUND_OPS : 2u * queue->capacity;
        struct store_task *tasks = NULL;
        if (queue->count >= KITH_STORE_QUEUE_MAX) {
            err = KITH_ELIMIT;
        } else {
            tasks = kith_realloc(queue->tasks, capacity * sizeof *tasks);
            err = tasks == NULL ? KITH_ENOMEM : KITH_OK;
        }
        if (err != KITH_OK) {
            pthread_mutex_unlock(&queue->lock);
            return err;
        }
        queue->tasks = tasks;
        queue->capacity = capacity;
    }
    queue->tasks[queue->count].op = *op;
    queue->tasks[queue->count].box = box == NULL ? NULL : kith_msg_box_hold(box);
    if (op->kind == KITH_STORE_CHUNK_PUT) {
        kith_blob_hold(op->u.chunk_put.payload);
    }
    queue->count++;
    pthread_mutex_unlock(&queue->lock);
    return KITH_OK;
}

enum kith_err kith_store_submit(struct kith_store *store, const struct kith_store_op *op,
                                struct kith_msg_box *box)
{
    if (op_needs_cluster(op->kind)) {
        if (!atomic_load(&store->configured)) {
            return KITH_ENOTREADY;
        }
        if (op->partition >= store->partitions) {
            return KITH_EINVAL;
        }
    }
    return queue_push(&worker_of(store, op)->queue, op, box);
}

/* Wakes those from `first` on that sleep over work. */
static void kick_from(struct kith_store *store, uint32_t first)
{
    uint32_t total = store->worker_count + store->bulk_count;
    for (uint32_t i = first; i < total; i++) {
        struct store_queue *queue = &store->workers[i].queue;
        if (!atomic_load(&queue->sleeping)) {
            continue; /* it looks before it sleeps */
        }
        pthread_mutex_lock(&queue->lock);
        bool wake = queue->count > 0 && !queue->lent;
        pthread_mutex_unlock(&queue->lock);
        if (wake) { /* without the lock: it would wake up only to wait for it */
            pthread_cond_signal(&queue->wake);
        }
    }
}

void kith_store_kick(struct kith_store *store)
{
    kick_from(store, 0);
}

/* ---- Rounds ---- */

static uint32_t updates_weight(const struct kith_put_update *updates, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += updates[i].value.size + updates[i].context.size;
    }
    return count + (uint32_t)(bytes / KITH_ROUND_UNIT);
}

static uint32_t rows_weight(const struct kith_replica_row *rows, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += rows[i].state.size;
    }
    return count + (uint32_t)(bytes / KITH_ROUND_UNIT);
}

/* How much an op adds to a round: rows, and bytes in units. */
static uint32_t op_weight(const struct kith_store_op *op)
{
    switch (op->kind) {
    case KITH_STORE_PUT:
        return updates_weight(op->u.put.updates, op->u.put.update_count);
    case KITH_STORE_MERGE:
        return rows_weight(op->u.merge.rows, op->u.merge.row_count);
    case KITH_STORE_GET:
        return op->u.get.name_count;
    case KITH_STORE_ABSORB:
    case KITH_STORE_HINT_ACK:
    case KITH_STORE_HINT_DROP:
    case KITH_STORE_DROP:
    case KITH_STORE_SWEEP_LIST:
    case KITH_STORE_SWEEP_LOOK:
    case KITH_STORE_SWEEP_STEP:
    case KITH_STORE_CHUNK_LEASE:
    case KITH_STORE_REAP_LIST:
    case KITH_STORE_REAP:
        return KITH_ROUND_UPDATES / 2u;
    case KITH_STORE_SCAN:
    case KITH_STORE_GROUPS:
    case KITH_STORE_LEAF:
    case KITH_STORE_CHUNK_LIST:
    case KITH_STORE_CHUNK_LACK:
    case KITH_STORE_SCRUB:
    case KITH_STORE_HINT_PAGE:
        return KITH_ROUND_UPDATES / 4u; /* up to 1 MiB of results */
    case KITH_STORE_CHUNK_PUT:
    case KITH_STORE_CHUNK_GET:
        return KITH_ROUND_UPDATES / 8u; /* up to 1 MiB of contents */
    default:
        return 1;
    }
}

static uint32_t round_size(const struct store_task *tasks, uint32_t count)
{
    uint32_t size = 0;
    uint32_t weight = 0;
    while (size < count && size < KITH_ROUND_OPS) {
        weight += op_weight(&tasks[size].op);
        if (size > 0 && weight > KITH_ROUND_UPDATES) {
            break;
        }
        size++;
    }
    return size;
}

/* Swaps the queue's array with the worker's. queue->lock held. */
static uint32_t swap_tasks(struct store_worker *worker)
{
    struct store_queue *queue = &worker->queue;
    struct store_task *tasks = queue->tasks;
    uint32_t capacity = queue->capacity;
    uint32_t count = queue->count;
    queue->tasks = worker->tasks;
    queue->capacity = worker->capacity;
    queue->count = 0;
    worker->tasks = tasks;
    worker->capacity = capacity;
    return count;
}

uint32_t store_queue_take(struct store_worker *worker)
{
    struct store_queue *queue = &worker->queue;
    pthread_mutex_lock(&queue->lock);
    while (queue->lent || (queue->count == 0 && !queue->stop)) {
        atomic_store(&queue->sleeping, true);
        pthread_cond_wait(&queue->wake, &queue->lock);
        atomic_store(&queue->sleeping, false);
    }
    uint32_t count = swap_tasks(worker);
    pthread_mutex_unlock(&queue->lock);
    return count;
}

void store_rounds(struct store_worker *worker, uint32_t count)
{
    for (uint32_t at = 0; at < count;) {
        uint32_t size = round_size(worker->tasks + at, count - at);
        store_round(worker, worker->tasks + at, size);
        at += size;
    }
}

/* ---- Lending ---- */

/* What an op adds to a lender's round; UINT32_MAX: it is not lent. Rows of one or two pages are
 * nearly always in the cache: some 10 us each. */
static uint32_t lend_weight(const struct kith_store_op *op)
{
    uint32_t weight = 0;
    switch (op->kind) {
    case KITH_STORE_PUT:
    case KITH_STORE_MERGE:
    case KITH_STORE_GET:
        weight = op_weight(op);
        break;
    case KITH_STORE_FIND:
        weight = op->u.find.name_count;
        break;
    case KITH_STORE_SCAN: /* 0: as many as a page holds */
        weight = op->u.scan.max_rows == 0 ? UINT32_MAX : op->u.scan.max_rows;
        break;
    default:
        return UINT32_MAX;
    }
    return weight <= KITH_LEND_ROWS ? weight : UINT32_MAX;
}

/* Whether all that waits is a moment's work. queue->lock held. */
static bool queue_is_light(const struct store_queue *queue)
{
    uint32_t left = KITH_LEND_WEIGHT;
    for (uint32_t i = 0; i < queue->count; i++) {
        uint32_t weight = lend_weight(&queue->tasks[i].op);
        if (weight > left) {
            return false;
        }
        left -= weight;
    }
    return true;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* How often this thread has gone to sleep so far. */
static long sleeps(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

/* Takes the seat of a worker that sleeps over little work; false: somebody else's. */
static bool seat_take(struct store_worker *worker, uint64_t now, uint32_t *ret_count)
{
    struct store_queue *queue = &worker->queue;
    pthread_mutex_lock(&queue->lock);
    bool take = atomic_load(&queue->sleeping) && !queue->lent && !queue->stop && queue->count > 0 &&
                queue->count <= KITH_LEND_OPS && now >= queue->lend_from_ns &&
                queue_is_light(queue);
    if (take) {
        queue->lent = true;
        *ret_count = swap_tasks(worker);
    }
    pthread_mutex_unlock(&queue->lock);
    return take;
}

/* Gives it back. Where the store was slow (a page from the disk, a checkpoint, a full cache) the
 * lender stays away for so long that such waits take a small part of its time. A thread that others
 * kept from the processor has not waited for the store: it has not slept. */
static void seat_give(struct store_worker *worker, uint64_t began, bool slept)
{
    struct store_queue *queue = &worker->queue;
    uint64_t now = now_ns();
    uint64_t took = now - began;
    uint64_t pause = took < KITH_LEND_SLOW_NS || !slept ? 0 : took * KITH_LEND_PAUSE;
    pthread_mutex_lock(&queue->lock);
    queue->lent = false;
    queue->lend_from_ns = now + (pause < KITH_LEND_PAUSE_MAX_NS ? pause : KITH_LEND_PAUSE_MAX_NS);
    bool wake = queue->count > 0 || queue->stop;
    pthread_mutex_unlock(&queue->lock);
    if (wake) {
        pthread_cond_signal(&queue->wake);
    }
}

bool kith_store_lend(struct kith_store *store)
{
    bool worked = false;
    if (!store_space_wide(store)) { /* it might have to wait for a checkpoint */
        kith_store_kick(store);
        return false;
    }
    kick_from(store, store->worker_count); /* chunks are never lent: they begin meanwhile */
    for (uint32_t i = 0; i < store->worker_count; i++) {
        struct store_worker *worker = &store->workers[i];
        uint32_t count = 0;
        if (!atomic_load(&worker->queue.sleeping)) {
            continue;
        }
        uint64_t began = now_ns();
        if (seat_take(worker, began, &count)) {
            long before = sleeps();
            store_rounds(worker, count);
            seat_give(worker, began, sleeps() != before);
            worked = true;
        }
    }
    kith_store_kick(store);
    return worked;
}
