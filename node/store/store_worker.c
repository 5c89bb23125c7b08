/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_worker.c - what a worker does: a transaction for a round, one log flush, completions in one
 * call. See store_wt.h; the queue is in store_queue.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/store_conflict.h"

/* ---- Setting up ---- */

int store_worker_init(struct store_worker *worker, struct kith_store *store, uint32_t index,
                      bool bulk)
{
    worker->store = store;
    worker->index = index;
    worker->bulk = bulk;
    worker->sums = bulk ? &store->chunk_tree : &store->row_tree;
    segment_cache_init(&worker->reads);
    kith_buf_init(&worker->journal.record);
    kith_buf_init(&worker->sealed);
    int ret = store_queue_init(&worker->queue);
    if (ret == 0) {
        ret = store_session(store, &worker->session);
    }
    struct {
        const char *table;
        WT_CURSOR **cursor;
        bool wanted;
    } tables[] = {
        {"rows", &worker->rows, !bulk},          {"leaves", &worker->leaves, !bulk},
        {"tree", &worker->tree, !bulk},          {"ctree", &worker->tree, bulk},
        {"refs", &worker->refs, true},           {"chunks", &worker->chunks, bulk},
        {"segs", &worker->segs, bulk},           {"meta", &worker->meta, !bulk},
        {"sums", &worker->journal_cursor, true}, {"bad", &worker->bad, true},
        {"hints", &worker->hints, !bulk},        {"marks", &worker->marks, bulk},
        {"gone", &worker->gone, !bulk},          {"conflicts", &worker->conflicts, !bulk},
    };
    for (size_t i = 0; ret == 0 && i < sizeof tables / sizeof tables[0]; i++) {
        if (tables[i].wanted) {
            ret = store_cursor(worker->session, tables[i].table, tables[i].cursor);
        }
    }
    return ret;
}

void store_worker_release(struct store_worker *worker)
{
    if (worker->store == NULL) {
        return;
    }
    if (worker->segment != NULL) {
        segment_drop(worker->segment);
    }
    segment_cache_release(&worker->reads);
    /* the session and its cursors end with the connection */
    kith_buf_release(&worker->journal.record);
    kith_buf_release(&worker->sealed);
    kith_free(worker->touched);
    kith_free(worker->hint_changes);
    kith_free(worker->conflict_changes);
    kith_free(worker->holes);
    kith_free(worker->tasks);
    store_queue_release(&worker->queue);
}

/* ---- Storage calls ---- */

enum kith_err store_break(struct store_worker *worker, int ret)
{
    worker->broken = true;
    worker->retry = ret == WT_ROLLBACK;
    if (ret == WT_PANIC) {
        store_fatal(worker->store, "the storage engine gave up", ret);
    }
    return store_err(ret);
}

static void set_item(WT_ITEM *item, struct kith_bytes bytes)
{
    memset(item, 0, sizeof *item);
    item->data = bytes.data;
    item->size = bytes.size;
}

enum kith_err store_read(struct store_worker *worker, WT_CURSOR *cursor, struct kith_bytes key,
                         struct kith_bytes *ret_value)
{
    WT_ITEM item;
    set_item(&item, key);
    cursor->set_key(cursor, &item);
    int ret = cursor->search(cursor);
    if (ret == WT_NOTFOUND) {
        *ret_value = kith_bytes_make(NULL, 0);
        return KITH_ENOTFOUND;
    }
    if (ret == 0) {
        ret = cursor->get_value(cursor, &item);
    }
    if (ret != 0) {
        return store_break(worker, ret);
    }
    *ret_value = kith_bytes_make(item.data, item.size);
    return KITH_OK;
}

enum kith_err store_write(struct store_worker *worker, WT_CURSOR *cursor, struct kith_bytes key,
                          struct kith_bytes value)
{
    WT_ITEM item;
    if (key.data != NULL) {
        set_item(&item, key);
        cursor->set_key(cursor, &item);
    }
    set_item(&item, value);
    cursor->set_value(cursor, &item);
    worker->writes++;
    int ret = cursor->insert(cursor);
    return ret == 0 ? KITH_OK : store_break(worker, ret);
}

enum kith_err store_remove(struct store_worker *worker, WT_CURSOR *cursor, struct kith_bytes key)
{
    WT_ITEM item;
    set_item(&item, key);
    cursor->set_key(cursor, &item);
    worker->writes++;
    int ret = cursor->remove(cursor);
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_break(worker, ret);
}

enum kith_err store_fail(struct store_worker *worker, struct kith_store_done *done,
                         enum kith_err err, const char *format, ...)
{
    char text[KITH_ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    done->err = err;
    const char *copy = kith_arena_copy(&worker->round->arena, text, strlen(text) + 1);
    done->message = copy == NULL ? kith_err_text((int)err) : copy;
    return err;
}

enum kith_err store_begin(struct store_worker *worker)
{
    worker->writes = 0;
    worker->bad_change = 0;
    worker->broken = false;
    worker->retry = false;
    worker->serial += worker->serial == UINT32_MAX ? 2 : 1; /* never 0, an untouched leaf's */
    worker->journal.wrote = false;
    int ret = worker->session->begin_transaction(worker->session, NULL);
    return ret == 0 ? KITH_OK : store_break(worker, ret);
}

void store_rollback(struct store_worker *worker)
{
    int ret = worker->session->rollback_transaction(worker->session, NULL);
    if (ret != 0 && ret != WT_PANIC) {
        kith_log_error("store", "rollback: %s", wiredtiger_strerror(ret));
    }
    store_tree_rollback(worker);
    store_hints_rollback(worker);
    store_conflicts_rollback(worker);
    if (worker->bulk) {
        segment_rollback(worker);
    }
}

/* Commits, or leaves nothing behind. */
enum kith_err store_commit(struct store_worker *worker)
{
    enum kith_err err = worker->writes == 0 ? KITH_OK : store_sums_write(worker);
    if (err == KITH_OK && worker->bulk && worker->writes > 0) {
        err = segment_before_commit(worker);
    }
    if (err != KITH_OK) {
        store_rollback(worker);
        return err;
    }
    int ret = worker->session->commit_transaction(worker->session, NULL);
    if (ret != 0) { /* WiredTiger has rolled back */
        err = store_break(worker, ret);
        store_tree_rollback(worker);
        store_hints_rollback(worker);
        store_conflicts_rollback(worker);
        if (worker->bulk) {
            segment_rollback(worker);
        }
        return err;
    }
    store_sums_commit(worker);
    store_tree_commit(worker);
    store_hints_commit(worker);
    store_conflicts_commit(worker);
    if (worker->bulk) {
        segment_after_commit(worker);
    }
    return KITH_OK;
}

/* ---- A round ---- */

static enum kith_err run_count(struct store_worker *worker, struct kith_store_done *done)
{
    struct kith_store_counts *counts = &done->u.counts;
    *counts = kith_store_counts(worker->store);
    enum kith_err err = store_conflicts_list(worker->store, &worker->round->arena, counts);
    return err == KITH_OK ? KITH_OK : store_fail(worker, done, err, "out of memory");
}

static void prepare_done(const struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done)
{
    memset(done, 0, sizeof *done);
    done->id = op->id;
    done->partition = op->partition;
    done->message = "";
    done->reached = KITH_DURABLE_OS;
    done->space =
        (enum kith_space)atomic_load_explicit(&worker->store->space.level, memory_order_relaxed);
}

static enum kith_err do_op(struct store_worker *worker, const struct kith_store_op *op,
                           struct kith_store_done *done)
{
    switch (op->kind) {
    case KITH_STORE_PUT:
        return store_put(worker, op, done);
    case KITH_STORE_MERGE:
        return store_merge(worker, op, done);
    case KITH_STORE_GET:
        return store_get(worker, op, done);
    case KITH_STORE_SCAN:
        return store_scan(worker, op, done);
    case KITH_STORE_GROUPS:
        return store_groups(worker, op, done);
    case KITH_STORE_FIND:
        return store_find(worker, op, done);
    case KITH_STORE_META_PUT:
        return store_meta_put(worker, op, done);
    case KITH_STORE_CHUNK_PUT:
        return store_chunk_put(worker, op, done);
    case KITH_STORE_CHUNK_GET:
        return store_chunk_get(worker, op, done);
    case KITH_STORE_CHUNK_SYNC:
        return store_chunk_sync(worker, op, done);
    case KITH_STORE_COUNT:
        return run_count(worker, done);
    case KITH_STORE_SUMS:
        return store_sums_read(worker, op, done);
    case KITH_STORE_LEAF:
        return store_leaf_read(worker, op, done);
    case KITH_STORE_ABSORB:
        return store_absorb(worker, op, done);
    case KITH_STORE_CHUNK_LIST:
        return store_chunk_list(worker, op, done);
    case KITH_STORE_CHUNK_LACK:
        return store_chunk_lack(worker, op, done);
    case KITH_STORE_SCRUB:
        return store_scrub(worker, op, done);
    case KITH_STORE_HINT_NOTE:
        return store_hint_note(worker, op, done);
    case KITH_STORE_HINT_PAGE:
        return store_hint_page(worker, op, done);
    case KITH_STORE_HINT_ACK:
        return store_hint_ack(worker, op, done);
    case KITH_STORE_HINT_DROP:
        return store_hint_drop(worker, op, done);
    case KITH_STORE_HINT_LIST:
        return store_hint_list(worker, op, done);
    case KITH_STORE_DROP:
        return store_drop(worker, op, done);
    case KITH_STORE_SWEEP_LIST:
        return store_sweep_list(worker, op, done);
    case KITH_STORE_SWEEP_LOOK:
        return store_sweep_look(worker, op, done);
    case KITH_STORE_SWEEP_STEP:
        return store_sweep_step(worker, op, done);
    case KITH_STORE_CHUNK_LEASE:
        return store_chunk_lease(worker, op, done);
    case KITH_STORE_REAP_LIST:
        return store_reap_list(worker, op, done);
    case KITH_STORE_REAP:
        return store_reap(worker, op, done);
    default:
        return store_fail(worker, done, KITH_EINVAL, "unknown storage operation %d", (int)op->kind);
    }
}

static enum kith_err run_op(struct store_worker *worker, const struct kith_store_op *op,
                            struct kith_store_done *done)
{
    prepare_done(worker, op, done);
    if (atomic_load_explicit(&worker->store->failed, memory_order_relaxed)) {
        return store_fail_failed(worker, done, KITH_OK);
    }
    if (store_damage_bars(worker, op)) {
        return store_fail(worker, done, KITH_ECORRUPT,
                          "what was stored here was damaged, and has not come from another owner "
                          "yet");
    }
    enum kith_err err = do_op(worker, op, done);
    return err == KITH_OK ? store_damage_mended(worker, op) : err;
}

bool store_again(const struct store_worker *worker, uint32_t attempt)
{
    if (!worker->retry || attempt >= KITH_ROLLBACK_RETRIES) {
        return false;
    }
    if (attempt >= KITH_ROLLBACK_AT_ONCE) {
        uint32_t doubled = attempt - KITH_ROLLBACK_AT_ONCE;
        doubled = doubled < KITH_ROLLBACK_DOUBLED ? doubled : KITH_ROLLBACK_DOUBLED;
        struct timespec moment = {0, KITH_ROLLBACK_PAUSE_NS << doubled};
        (void)nanosleep(&moment, NULL); /* a shorter one does no harm */
    }
    return true;
}

/* Sees to it that an error has its code and some words. */
static void note_error(struct store_worker *worker, struct kith_store_done *done, enum kith_err err)
{
    if (err == KITH_OK || done->err != KITH_OK) {
        return;
    }
    store_fail(worker, done, err, "%s: %s", worker->store->path, kith_err_text((int)err));
}

/* One op in a transaction of its own. */
static void run_alone(struct store_worker *worker, const struct kith_store_op *op,
                      struct kith_store_done *done)
{
    for (uint32_t attempt = 0;; attempt++) {
        prepare_done(worker, op,
                     done); /* when not even a transaction can begin, it holds another's */
        if (atomic_load(&worker->store->failed)) { /* it may have been in the round that failed */
            store_fail_failed(worker, done, KITH_EIO);
            return;
        }
        enum kith_err err = store_begin(worker);
        if (err == KITH_OK) {
            err = run_op(worker, op, done);
            if (worker->broken || (err != KITH_OK && worker->writes > 0)) {
                store_rollback(worker);
            } else {
                enum kith_err commit_err = store_commit(worker);
                err = err == KITH_OK ? commit_err : err;
            }
        }
        if (!store_again(worker, attempt)) {
            note_error(worker, done, err);
            return;
        }
    }
}

/* All in one transaction; false (nothing happened) when one of them broke it. */
static bool run_together(struct store_worker *worker, const struct store_task *tasks,
                         uint32_t count, bool *ret_wrote)
{
    if (store_begin(worker) != KITH_OK) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_store_done *done = &worker->round->dones[i];
        uint32_t writes = worker->writes;
        enum kith_err err = run_op(worker, &tasks[i].op, done);
        if (worker->broken || (err != KITH_OK && worker->writes != writes)) {
            store_rollback(worker);
            return false;
        }
        note_error(worker, done, err);
    }
    *ret_wrote = worker->writes > 0;
    return store_commit(worker) == KITH_OK;
}

/* These have one completion only, when the disk has it. */
static bool op_only_disk(const struct kith_store_op *op)
{
    return op->kind == KITH_STORE_META_PUT || op->kind == KITH_STORE_CHUNK_SYNC ||
           op->kind == KITH_STORE_HINT_NOTE || op->kind == KITH_STORE_SWEEP_LOOK ||
           op->kind == KITH_STORE_SWEEP_STEP || op->kind == KITH_STORE_CHUNK_LEASE ||
           op->kind == KITH_STORE_REAP;
}

static bool op_writes(const struct kith_store_op *op)
{
    return op->kind == KITH_STORE_PUT || op->kind == KITH_STORE_MERGE ||
           op->kind == KITH_STORE_META_PUT || op->kind == KITH_STORE_CHUNK_PUT ||
           op->kind == KITH_STORE_CHUNK_SYNC || op->kind == KITH_STORE_ABSORB ||
           op->kind == KITH_STORE_HINT_NOTE || op->kind == KITH_STORE_HINT_ACK ||
           op->kind == KITH_STORE_HINT_DROP || op->kind == KITH_STORE_DROP ||
           op->kind == KITH_STORE_SWEEP_LIST ||
           op_only_disk(op);
}

/* A completion at `disk` is to follow. */
static bool op_wants_disk(const struct kith_store_op *op)
{
    return op_writes(op) && (op->durability == KITH_DURABLE_DISK ||
                             op_only_disk(op));
}

static void fail_writes(struct store_worker *worker, const struct store_task *tasks, uint32_t count,
                        int ret)
{
    for (uint32_t i = 0; i < count; i++) {
        struct kith_store_done *done = &worker->round->dones[i];
        if (op_writes(&tasks[i].op) && done->err == KITH_OK) {
            store_fail(worker, done, KITH_EIO, "%s: the log cannot be written: %s",
                       worker->store->wt_path, wiredtiger_strerror(ret));
        }
    }
}

static bool keep_ids(struct store_results *later, uint32_t *count,
                     const struct kith_chunk_id **ids)
{
    if (*count > 0) {
        *ids = kith_arena_copy(&later->arena, *ids, *count * sizeof **ids);
        *count = *ids == NULL ? 0 : *count;
        return *ids != NULL;
    }
    return true;
}

static bool keep_entries(struct store_results *later, struct kith_store_done *disk)
{
    uint32_t count = disk->u.reap.entry_count;
    const struct kith_floor_entry *entries = disk->u.reap.entries;
    disk->u.reap.entries = kith_arena_copy(&later->arena, entries, count * sizeof *entries);
    return disk->u.reap.entries != NULL;
}

/* The lists in an answer that waits for the disk must outlive the round's own results. */
static void keep_lists(const struct kith_store_op *op, struct store_results *later,
                       struct kith_store_done *disk)
{
    bool kept = true;
    switch (op->kind) {
    case KITH_STORE_CHUNK_SYNC:
        kept = keep_ids(later, &disk->u.chunk_sync.missing_count, &disk->u.chunk_sync.missing);
        break;
    case KITH_STORE_SWEEP_LOOK:
    case KITH_STORE_SWEEP_STEP:
        kept = keep_ids(later, &disk->u.sweep.kept_count, &disk->u.sweep.kept);
        break;
    case KITH_STORE_CHUNK_LEASE:
        kept = keep_ids(later, &disk->u.lease.held_count, &disk->u.lease.held);
        kept = keep_ids(later, &disk->u.lease.gone_count, &disk->u.lease.gone) && kept;
        break;
    case KITH_STORE_REAP:
        kept = keep_entries(later, disk);
        break;
    default:
        break;
    }
    disk->err = kept ? disk->err : KITH_ENOMEM;
}

/* Sorts the dones into those that are complete and those that wait for the disk, and sends both on.
 */
static void hand_over(struct store_worker *worker, const struct store_task *tasks, uint32_t count,
                      struct store_results *later)
{
    struct store_results *now = worker->round;
    worker->round = NULL;
    segment_holes_take(worker, later);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_store_op *op = &tasks[i].op;
        struct kith_store_done *done = &now->dones[i];
        bool waits = done->err == KITH_OK && op_wants_disk(op);
        struct store_results *last = waits ? later : now;
        last->ended++;
        if (tasks[i].box != NULL) {
            last->boxes[last->box_count++] = tasks[i].box;
        }
        if (op->kind == KITH_STORE_CHUNK_PUT) {
            last->bulk_bytes += op->u.chunk_put.payload->size;
            kith_blob_drop(op->u.chunk_put.payload);
        }
        if (waits) {
            struct kith_store_done *disk = &later->dones[later->pub.count++];
            memset(disk, 0, sizeof *disk);
            if (op_only_disk(op)) {
                *disk = *done;
                keep_lists(op, later, disk);
            }
            disk->id = op->id;
            disk->space = done->space;
            disk->message = disk->err == KITH_OK ? "" : kith_err_text((int)disk->err);
            disk->reached = KITH_DURABLE_DISK;
        }
        if (!(waits && op_only_disk(op))) {
            if (kept != i) {
                now->dones[kept] = *done;
            }
            kept++;
        }
    }
    now->pub.count = kept;
    /* these first: `disk` comes after `os` for everyone who waits for both */
    if (kept > 0) {
        store_results_deliver(now);
    } else {
        kith_store_results_free(&now->pub);
    }
    if (later != NULL && later->pub.count > 0) {
        store_commit_later(worker->store, later);
    } else if (later != NULL) {
        kith_store_results_free(&later->pub);
    }
}

/* The ops of a round were not even tried: no memory for their results. The only thing that can
 * still be done is to wait for some: a completion must come. */
static struct store_results *results_wait(struct kith_store *store)
{
    for (;;) {
        struct store_results *results = store_results_new(store);
        if (results != NULL) {
            return results;
        }
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
}

void store_round(struct store_worker *worker, const struct store_task *tasks, uint32_t count)
{
    struct kith_store *store = worker->store;
    struct store_results *later = NULL;
    bool wrote = false;
    worker->round = results_wait(store);
    for (uint32_t i = 0; i < count && later == NULL; i++) {
        later = op_wants_disk(&tasks[i].op) ? results_wait(store) : NULL;
    }
    if (!run_together(worker, tasks, count, &wrote)) {
        for (uint32_t i = 0; i < count; i++) {
            run_alone(worker, &tasks[i].op, &worker->round->dones[i]);
        }
        wrote = true;
    }
    wrote = store_damage_settle(worker, tasks, count) || wrote;
    if (wrote) {
        int ret = worker->session->log_flush(worker->session, "sync=off");
        if (ret != 0) {
            fail_writes(worker, tasks, count, ret);
            store_fatal(store, "the log cannot be written", ret);
        }
    }
    store_space_settle(worker);
    hand_over(worker, tasks, count, later);
    store_space_look(store);
}

void *store_worker_main(void *arg)
{
    struct store_worker *worker = arg;
    char name[16];
    snprintf(name, sizeof name, "%s-%u", worker->bulk ? "bulk" : "store", worker->index);
    pthread_setname_np(pthread_self(), name);
    for (uint32_t count = store_queue_take(worker); count > 0; count = store_queue_take(worker)) {
        store_rounds(worker, count);
    }
    return NULL;
}
