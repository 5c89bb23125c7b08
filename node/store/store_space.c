/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_space.c - what the disk can still take, so that WiredTiger never finds it full.
 *
 * WiredTiger gives up when a checkpoint, an eviction or its log finds no space, and frees what a
 * checkpoint replaces only when that is complete. So at any time
 *
 *     free bytes >= what the next checkpoint may add to the files + a reserve
 *
 * must hold. A page is dirtied whole by the smallest write in it: the first summand is not what was
 * written but what lies dirty in the cache, less what the tables' files have free inside, and is
 * asked of WiredTiger's statistics. While more is free than the whole cache and the reserve, the
 * cache's size will do for them. They are on from the start, though they cost every operation a
 * little: switching them on later would reconfigure the connection, for which WiredTiger 3.2.1
 * ends its checkpoint server and makes another; a thread that tells the former one at that moment how
 * much it has logged waits for ever, with the log's lock.
 *
 * Between two looks at the disk each write is promised bytes for its pages and its log record, more
 * than it will nearly always take, out of `room`; when that has come down to the reserve, we look
 * again. Near the end a thread makes checkpoints early, so that little is dirty and a write seldom
 * has to wait for one.
 *
 * The reserve is for what is not promised: the log's files that exist until a checkpoint has let
 * them go, the tables' own lists, pages larger than usual, other programs' writes of a second. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/log.h"
#include "store/store_int.h"

#define LOOK_MS          1000u
#define SMALL_SHARE      4u   /* of the reserve: not even deletes and the node's records get it */
#define PROMISE_SHARE    2u   /* of the reserve: what one operation may be promised at most */
#define CHECKPOINT_SHARE 32u  /* of the reserve: with less to write it is not worth a checkpoint */
#define PAUSE_MS         100u /* between two that nobody waits for */
#define WAIT_S           10   /* for a checkpoint; a disk that needs longer is as good as full */
#define WAITS_MAX        3u   /* of one operation: others may take what a checkpoint has given */
#define BACK_SHARE       10u  /* thousandths of the disk: so much less ends a level */
#define BACK_ROOM        4u   /* this part of the reserve more than it, too */
#define TABLE_EXTRA      (UINT64_C(64) << 10) /* a table's lists of blocks, its root */

static uint64_t coarse_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- Looking ---- */

static void look_at_disk(struct kith_store *store)
{
    struct store_space *space = &store->space;
    struct statvfs fs;
    atomic_store_explicit(&space->seen_ms, coarse_ms(), memory_order_relaxed);
    if (statvfs(store->path, &fs) == 0) {
        atomic_store(&space->disk_total, (uint64_t)fs.f_blocks * fs.f_frsize);
        atomic_store(&space->disk_free, (uint64_t)fs.f_bavail * fs.f_frsize);
    }
}

/* What nodes on one disk, of one machine, have alike: the run of its kernel, which containers share,
 * and the number that it gives to the filesystem. (Parts of one pool, as of ZFS or btrfs, have
 * numbers of their own, and are taken for disks of their own.) */
static uint64_t disk_id(const char *path)
{
    struct {
        char boot[64];
        uint64_t device;
    } key;
    memset(&key, 0, sizeof key);
    struct stat at;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    size_t size = file != NULL ? fread(key.boot, 1, sizeof key.boot, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (size == 0 || stat(path, &at) != 0) {
        return 0;
    }
    key.device = (uint64_t)at.st_dev;
    struct kith_checksum hash = kith_checksum_of(kith_bytes_make(&key, sizeof key));
    uint64_t id;
    memcpy(&id, hash.bytes, sizeof id);
    return id != 0 ? id : 1;
}

/* What values may take before they are refused: up to the last level, and the reserve. */
static uint64_t room_bytes(const struct kith_store *store)
{
    uint64_t total = atomic_load(&store->space.disk_total);
    uint64_t free_bytes = atomic_load(&store->space.disk_free);
    uint64_t kept = total / 100u * (100u - store->options.space_percent[KITH_SPACE_FULL - 1]);
    kept = kept > store->space.reserve_bytes ? kept : store->space.reserve_bytes;
    return free_bytes > kept ? free_bytes - kept : 0;
}

static int read_statistic(WT_CURSOR *cursor, int which, uint64_t *ret_value)
{
    const char *what, *text;
    int64_t value = 0;
    cursor->set_key(cursor, which);
    int ret = cursor->search(cursor);
    if (ret == 0) {
        ret = cursor->get_value(cursor, &what, &text, &value);
    }
    *ret_value = value < 0 ? 0 : (uint64_t)value;
    return ret;
}

/* What writing so much adds to the files: internal pages above it, and blocks are whole. */
static uint64_t with_overhead(uint64_t dirty)
{
    return dirty + dirty / 4u;
}

/* Adds what a table may grow by. */
static int table_need(struct kith_store *store, const char *name, uint64_t *need, uint64_t *dirty)
{
    WT_SESSION *session = store->space.session;
    WT_CURSOR *cursor = NULL;
    char uri[64];
    snprintf(uri, sizeof uri, "statistics:file:%s.wt", name);
    int ret = session->open_cursor(session, uri, NULL, NULL, &cursor);
    if (ret != 0) {
        return ret;
    }
    uint64_t bytes = 0, inside = 0;
    ret = read_statistic(cursor, WT_STAT_DSRC_CACHE_BYTES_DIRTY, &bytes);
    if (ret == 0) {
        ret = read_statistic(cursor, WT_STAT_DSRC_BLOCK_REUSE_BYTES, &inside);
    }
    int close_ret = cursor->close(cursor);
    *dirty += bytes;
    bytes = with_overhead(bytes);
    inside /= 2u; /* the rest may lie in pieces that are too small */
    *need += TABLE_EXTRA + (bytes > inside ? bytes - inside : 0);
    return ret != 0 ? ret : close_ret;
}

static int dirty_need(struct kith_store *store, uint64_t *ret_need)
{
    WT_SESSION *session = store->space.session;
    WT_CURSOR *cursor = NULL;
    uint64_t in_tables = 0, all = 0;
    *ret_need = 0;
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < store_table_count; i++) {
        ret = table_need(store, store_tables[i], ret_need, &in_tables);
    }
    if (ret == 0) { /* WiredTiger's own tables, too */
        ret = session->open_cursor(session, "statistics:", NULL, NULL, &cursor);
    }
    if (ret == 0) {
        ret = read_statistic(cursor, WT_STAT_CONN_CACHE_BYTES_DIRTY, &all);
        int close_ret = cursor->close(cursor);
        ret = ret != 0 ? ret : close_ret;
        *ret_need += all > in_tables ? with_overhead(all - in_tables) : 0;
    }
    return ret;
}

/* Asks for a checkpoint that begins after this moment; gives its number. lock held. */
static uint64_t want_checkpoint(struct store_space *space)
{
    space->wanted = space->begun + 1;
    pthread_cond_signal(&space->wake);
    return space->wanted;
}

/* By how much a checkpoint would make `need` smaller; 0: too little to make one. lock held. */
static int64_t gain(const struct store_space *space)
{
    uint64_t left = store_table_count * TABLE_EXTRA + space->reserve_bytes / CHECKPOINT_SHARE;
    return space->need > left ? (int64_t)(space->need - store_table_count * TABLE_EXTRA) : 0;
}

/* Whether a checkpoint should be made now, before somebody has to wait for it. lock held. */
static bool checkpoint_is_due(const struct store_space *space, uint64_t free_bytes)
{
    uint64_t above = free_bytes > space->reserve_bytes ? free_bytes - space->reserve_bytes : 0;
    return space->begun == space->done && space->need > above / 2u && gain(space) > 0 &&
           coarse_ms() - space->ended_ms >= PAUSE_MS;
}

enum kith_space store_space_level(enum kith_space before, uint64_t total_bytes, uint64_t free_bytes,
                                  const uint32_t percent[3])
{
    uint64_t used = total_bytes > free_bytes ? total_bytes - free_bytes : 0;
    uint64_t share = used / (total_bytes / 1000u + 1u); /* in thousandths */
    for (uint32_t level = KITH_SPACE_FULL; level > KITH_SPACE_WIDE; level--) {
        uint64_t from = (uint64_t)percent[level - 1] * 10u;
        if (share + (before >= level ? BACK_SHARE : 0) >= from) {
            return (enum kith_space)level;
        }
    }
    return KITH_SPACE_WIDE;
}

/* `room` is what there is, as measured; values are refused below the reserve. lock held. */
static void set_level(struct kith_store *store, int64_t room)
{
    struct store_space *space = &store->space;
    enum kith_space before = (enum kith_space)atomic_load(&space->level);
    enum kith_space level =
        store_space_level(before, atomic_load(&space->disk_total), atomic_load(&space->disk_free),
                          store->options.space_percent);
    int64_t reserve = (int64_t)space->reserve_bytes;
    int64_t least = before == KITH_SPACE_FULL ? reserve + reserve / BACK_ROOM : reserve;
    bool refused = room + gain(space) < least;
    atomic_store(&space->level, (uint32_t)(refused ? KITH_SPACE_FULL : level));
}

/* Sets room anew. lock held. */
static void measure(struct kith_store *store)
{
    struct store_space *space = &store->space;
    look_at_disk(store);
    uint64_t free_bytes = atomic_load(&space->disk_free);
    uint64_t need = store->options.cache_bytes;
    if (free_bytes < space->edge_bytes) {
        if (dirty_need(store, &need) != 0) {
            need = store->options.cache_bytes;
        }
        space->need = need;
        if (checkpoint_is_due(space, free_bytes)) {
            (void)want_checkpoint(space);
        }
    }
    int64_t room = (int64_t)free_bytes - (int64_t)need;
    for (uint32_t i = 0; i < store->worker_count + store->bulk_count; i++) {
        room -= (int64_t)atomic_load(&store->workers[i].promised);
    }
    atomic_store(&space->room, room);
    space->need = need;
    set_level(store, room);
}

void store_space_look(struct kith_store *store)
{
    struct store_space *space = &store->space;
    if (coarse_ms() - atomic_load_explicit(&space->seen_ms, memory_order_relaxed) < LOOK_MS) {
        return;
    }
    pthread_mutex_lock(&space->lock);
    measure(store);
    pthread_mutex_unlock(&space->lock);
}

/* ---- Promises ---- */

static int64_t kept_back(const struct store_space *space, enum store_space_use use)
{
    return (int64_t)(use == STORE_SPACE_VALUE ? space->reserve_bytes
                                              : space->reserve_bytes / SMALL_SHARE);
}

/* Waits for what makes `need` smaller. lock held; false when it takes too long. */
static bool wait_for_less(struct kith_store *store)
{
    struct store_space *space = &store->space;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += WAIT_S;
    uint64_t wanted = want_checkpoint(space);
    while (!atomic_load(&store->failed) && !space->stop && space->done < wanted) {
        if (pthread_cond_timedwait(&space->ended, &space->lock, &end) != 0) {
            return false;
        }
    }
    return true;
}

/* The promise was taken out of room already, and that was too much: looks whether it is true. */
static bool promise_again(struct store_worker *worker, enum store_space_use use)
{
    struct kith_store *store = worker->store;
    struct store_space *space = &store->space;
    pthread_mutex_lock(&space->lock);
    bool allowed = false;
    for (uint32_t waits = 0;; waits++) {
        measure(store);
        int64_t room = atomic_load(&space->room);
        allowed = room >= kept_back(space, use);
        if (allowed || waits == WAITS_MAX || gain(space) == 0 ||
            room + gain(space) < kept_back(space, use)) {
            break;
        }
        if (worker->writes > 0) { /* its pages would stay dirty: first by itself, then this one */
            worker->broken = true;
            break;
        }
        if (!wait_for_less(store)) {
            break;
        }
    }
    if (!allowed) {
        store_space_settle(worker);
    }
    pthread_mutex_unlock(&space->lock);
    return allowed;
}

bool store_space_allows(struct store_worker *worker, enum store_space_use use, uint64_t bytes)
{
    struct store_space *space = &worker->store->space;
    uint64_t most = space->reserve_bytes / PROMISE_SHARE;
    bytes = bytes < most ? bytes : most;
    atomic_store_explicit(&worker->promised, bytes, memory_order_relaxed);
    int64_t left = atomic_fetch_sub(&space->room, (int64_t)bytes) - (int64_t)bytes;
    return left >= kept_back(space, use) || promise_again(worker, use);
}

void store_space_settle(struct store_worker *worker)
{
    atomic_store_explicit(&worker->promised, 0, memory_order_relaxed);
}

bool store_space_wide(struct kith_store *store)
{
    const struct store_space *space = &store->space;
    return atomic_load_explicit(&space->room, memory_order_relaxed) >=
           2 * (int64_t)space->reserve_bytes;
}

bool store_space_is_gone(struct kith_store *store)
{
    struct statvfs fs;
    return statvfs(store->path, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < store->space.reserve_bytes / SMALL_SHARE;
}

enum kith_err store_fail_space(struct store_worker *worker, struct kith_store_done *done)
{
    return store_fail(worker, done, KITH_ENOSPC, "%s: the disk is full", worker->store->path);
}

/* As of the last checkpoint. */
static uint64_t row_bytes(const struct kith_store *store)
{
    char path[PATH_MAX];
    struct stat file;
    int length = snprintf(path, sizeof path, "%s/rows.wt", store->wt_path);
    bool known = length > 0 && (size_t)length < sizeof path && stat(path, &file) == 0;
    return known ? (uint64_t)file.st_size : 0;
}

struct kith_store_counts kith_store_counts(struct kith_store *store)
{
    store_space_look(store);
    struct kith_store_counts counts = {
        .rows = atomic_load(&store->row_count),
        .row_bytes = row_bytes(store),
        .bad_rows = atomic_load(&store->bad[0]),
        .bad_chunks = atomic_load(&store->bad[1]),
        .chunks = atomic_load(&store->chunk_count),
        .chunk_bytes = atomic_load(&store->chunk_bytes),
        .disk_total_bytes = atomic_load(&store->space.disk_total),
        .disk_free_bytes = atomic_load(&store->space.disk_free),
        .disk_id = store->space.disk_id,
        .disk_room_bytes = room_bytes(store),
        .hints = store_hints_total(store),
    };
    return counts;
}

/* ---- The thread ---- */

/* lock held. */
static void make_checkpoint(struct kith_store *store)
{
    struct store_space *space = &store->space;
    space->begun++;
    pthread_mutex_unlock(&space->lock);
    int ret = space->thread_session->checkpoint(space->thread_session, NULL);
    if (ret != 0 && ret != WT_PANIC) {
        kith_log_warn("store", "%s: checkpoint: %s", store->wt_path, wiredtiger_strerror(ret));
    }
    pthread_mutex_lock(&space->lock);
    space->done = space->begun;
    space->ended_ms = coarse_ms();
}

static void *space_main(void *arg)
{
    struct kith_store *store = arg;
    struct store_space *space = &store->space;
    pthread_setname_np(pthread_self(), "space");
    pthread_mutex_lock(&space->lock);
    while (!space->stop) {
        if (space->wanted > space->begun && !atomic_load(&store->failed)) {
            make_checkpoint(store);
            pthread_cond_broadcast(&space->ended);
        } else {
            pthread_cond_wait(&space->wake, &space->lock);
        }
    }
    pthread_mutex_unlock(&space->lock);
    return NULL;
}

/* ---- Beginning and end ---- */

uint64_t store_space_disk(struct kith_store *store)
{
    look_at_disk(store);
    return atomic_load(&store->space.disk_total);
}

void store_space_size(struct kith_store *store, uint64_t reserve_bytes)
{
    struct store_space *space = &store->space;
    space->reserve_bytes = reserve_bytes;
    space->edge_bytes = store->options.cache_bytes + 2u * reserve_bytes;
    space->disk_id = disk_id(store->path);
}

void store_space_prepare(struct store_space *space)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&space->lock, NULL);
    pthread_cond_init(&space->wake, NULL);
    pthread_cond_init(&space->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

void store_space_release(struct store_space *space)
{
    pthread_cond_destroy(&space->ended);
    pthread_cond_destroy(&space->wake);
    pthread_mutex_destroy(&space->lock);
}

int store_space_init(struct kith_store *store)
{
    struct store_space *space = &store->space;
    int ret = store_session(store, &space->session);
    if (ret == 0) {
        ret = store_session(store, &space->thread_session);
    }
    return ret;
}

bool store_space_start(struct kith_store *store)
{
    struct store_space *space = &store->space;
    pthread_mutex_lock(&space->lock);
    measure(store);
    pthread_mutex_unlock(&space->lock);
    space->started = pthread_create(&space->thread, NULL, space_main, store) == 0;
    return space->started;
}

void store_space_stop(struct kith_store *store)
{
    struct store_space *space = &store->space;
    if (!space->started) {
        return;
    }
    pthread_mutex_lock(&space->lock);
    space->stop = true;
    pthread_cond_signal(&space->wake);
    pthread_mutex_unlock(&space->lock);
    store_join(store, space->thread);
    space->started = false;
}
