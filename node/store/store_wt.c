/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_wt.c - opening, closing and feeding the store. */
#include "store/store_wt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/store_crypt.h"

#define LOG_FILE_MAX         (UINT64_C(64) << 20)
#define LOG_FILE_MIN         (UINT64_C(1) << 20)
#define LOG_FILE_SHARE       96u /* of the disk: one file may take so much of a small one */
/* A checkpoint after so many log files, 256 MiB to 1 GiB. It writes each page once, however often it
 * was changed; but the log is what a node reads when it begins again after a crash, some 200 MiB/s.
 * (MongoDB makes one after 2 GiB.) */
#define CHECKPOINT_LOGS_MIN  4u
#define CHECKPOINT_LOGS_MAX  16u
#define CHECKPOINT_SHARE     32u /* of the free disk: so much of it for more than the fewest */
#define HINT_SHARE           16u /* of the disk: so much may be kept for others, custody apart */
#define READY_LOGS           2u  /* made in advance */
#define CHECKPOINT_DEFAULT_S 60u
#define JOURNAL_SLOTS        16384u /* of a worker; 39 bytes each, 16 KB under large rounds */
#define JOURNAL_SLOTS_MIN    16u    /* a pass lasts for a quarter */
#define OPEN_ATTEMPTS        8u     /* each sets another table aside, or makes it anew */
#define JOIN_MS              100u
#define STUCK_MS             3000u /* for the end of threads that may wait in an engine that gave up */
/* Sessions: one a worker, the committer, verify, and WiredTiger's own threads. */
#define SESSIONS_MAX 64u

const char *const store_tables[] = {"rows",  "leaves", "tree", "refs", "chunks",
                                    "ctree", "segs",   "meta", "sums", "bad",  "hints", "marks",
                                    "gone",  "conflicts"};
const size_t store_table_count = sizeof store_tables / sizeof store_tables[0];
/* rows and chunks: larger leaf pages and values kept in the page up to the inline limit, since an
 * overflow item costs a page read each. The indices' keys are alike: prefix compression halves
 * them. */
static const char *const table_configs[] = {
    "key_format=u,value_format=u,leaf_page_max=32KB,leaf_value_max=64KB,memory_page_max=10MB",
    "key_format=u,value_format=u,leaf_page_max=16KB,prefix_compression=true",
    "key_format=u,value_format=u,leaf_page_max=32KB,leaf_value_max=64KB",
    "key_format=u,value_format=u,leaf_page_max=16KB,prefix_compression=true",
    "key_format=u,value_format=u,leaf_page_max=64KB,leaf_value_max=72KB,memory_page_max=10MB",
    "key_format=u,value_format=u,leaf_page_max=32KB,leaf_value_max=64KB",
    "key_format=u,value_format=u,leaf_page_max=16KB",
    "key_format=u,value_format=u",
    "key_format=u,value_format=u,leaf_page_max=32KB,leaf_value_max=64KB",
    "key_format=u,value_format=u",
    "key_format=u,value_format=u,leaf_page_max=32KB,leaf_value_max=64KB",
    "key_format=u,value_format=u,leaf_page_max=16KB",
    "key_format=u,value_format=u,leaf_page_max=16KB,prefix_compression=true",
    "key_format=u,value_format=u,leaf_page_max=16KB,prefix_compression=true",
};

/* LOW, SCARCE, FULL: Ceph warns at 85, stops moving data there at 90, and refuses writes at 95. */
static const uint32_t space_percent[3] = {85, 92, 95};

enum kith_err store_err(int ret)
{
    switch (ret) {
    case 0:
        return KITH_OK;
    case ENOMEM:
        return KITH_ENOMEM;
    case ENOSPC:
    case EDQUOT:
        return KITH_ENOSPC;
    case EROFS:
        return KITH_EROFS;
    case EACCES:
    case EPERM:
        return KITH_EPERM;
    case EBUSY:
        return KITH_EBUSY;
    case WT_NOTFOUND:
    case ENOENT:
        return KITH_ENOTFOUND;
    case WT_TRY_SALVAGE:
        return KITH_ECORRUPT;
    default:
        return KITH_EIO;
    }
}

enum kith_err store_random(uint64_t *ret_value)
{
    uint64_t value = 0;
    while (value == 0) {
        if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value && errno != EINTR) {
            return KITH_EIO;
        }
    }
    *ret_value = value;
    return KITH_OK;
}

/* ---- Opening ---- */

static enum kith_err make_directory(const char *path, struct kith_error *error)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        struct stat st;
        if (stat(path, &st) != 0) {
            return kith_error_set(error, store_err(errno), "%s: %s", path, strerror(errno));
        }
        if (!S_ISDIR(st.st_mode)) {
            return kith_error_set(error, KITH_EINVAL,
                                  "%s: not a directory; give --data a directory of its own", path);
        }
        return KITH_OK;
    }
    return kith_error_set(error, store_err(errno),
                          "%s: cannot make this directory: %s; make it, "
                          "writable for the user that runs kithd",
                          path, strerror(errno));
}

static enum kith_err take_lock(struct kith_store *store, struct kith_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", store->path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        int saved = errno;
        return kith_error_set(error, store_err(saved),
                              "%s: %s; the data directory must be "
                              "writable for the user that runs kithd",
                              path, strerror(saved));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int saved = errno;
        char pid[24] = "";
        ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
        pid[got > 0 ? got : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        close(fd);
        if (saved == EWOULDBLOCK) {
            return kith_error_set(error, KITH_EBUSY,
                                  "%s: in use by another kithd (process %s); "
                                  "stop that one, or give this one another --data",
                                  store->path, pid[0] != '\0' ? pid : "unknown");
        }
        return kith_error_set(error, KITH_EIO, "%s: cannot be locked: %s", path, strerror(saved));
    }
    char pid[24];
    int size = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)size, 0) != size) {
        int saved = errno;
        close(fd);
        return kith_error_set(error, store_err(saved),
                              "%s: cannot be written: %s; free some space "
                              "there",
                              path, strerror(saved));
    }
    store->lock_fd = fd;
    return KITH_OK;
}

/* In words what helps when WiredTiger does not open. */
static const char *open_remedy(int ret)
{
    switch (ret) {
    case ENOSPC:
    case EDQUOT:
        return "free some space on that disk and start again";
    case EACCES:
    case EPERM:
    case EROFS:
        return "the directory and all in it must be writable for the user that runs kithd";
    case ENOMEM:
        return "give a smaller --cache";
    case EBUSY:
        return "another process has it open; stop that one";
    default:
        return "a file there is damaged: put it back from a backup, or move this directory away "
               "and "
               "start anew, so that the node fetches its data from the others";
    }
}

static enum kith_err open_failed(struct kith_store *store, int ret, struct kith_error *error)
{
    char said[sizeof store->wt_message];
    store_engine_said(store, said);
    enum kith_err err = store_err(ret);
    if (err == KITH_EIO || err == KITH_ENOTFOUND) {
        err =
            KITH_ECORRUPT; /* WT_ERROR, WT_PANIC, EINVAL, ENOENT: files that do not fit together */
    }
    return kith_error_set(error, err, "%s: cannot open the store: %s%s%.200s%s; %s", store->wt_path,
                          wiredtiger_strerror(ret), said[0] != '\0' ? " (" : "", said,
                          said[0] != '\0' ? ")" : "", open_remedy(ret));
}

/* Dirty pages wait for the checkpoint, which writes each once: with WiredTiger's own 5 % its
 * eviction thread wrote the same random pages again and again, for as much CPU time as all else;
 * with 50 % it still began before the checkpoint under a full load of puts (4 % of a node's CPU
 * time: tests/bench/README.md). */
#define EVICTION_CONFIG                                                                            \
    "eviction=(threads_min=1,threads_max=1),eviction_dirty_target=65,"                             \
    "eviction_dirty_trigger=80,eviction_checkpoint_target=0"

static enum kith_err open_wiredtiger(struct kith_store *store, struct kith_error *error)
{
    const struct kith_store_options *options = &store->options;
    /* ready files take their space at once, and after a burst there are many: on a small disk they
     * take it as they are written */
    bool small = options->log_file_bytes < LOG_FILE_MAX;
    char config[640];
    snprintf(config, sizeof config,
             "create,cache_size=%llu,session_max=%u,statistics=(fast),%s"
             "log=(enabled=true,archive=true,prealloc=true,recover=on,file_max=%llu),"
             "transaction_sync=(enabled=false),checkpoint=(wait=%u,log_size=%llu)," EVICTION_CONFIG "%s",
             (unsigned long long)options->cache_bytes, SESSIONS_MAX,
             small ? "file_extend=(log=0)," : "", (unsigned long long)options->log_file_bytes,
             options->checkpoint_s,
             (unsigned long long)(store->checkpoint_logs * options->log_file_bytes),
             store_crypt_config(store));
    enum kith_err err = store_log_mend(store, error);
    if (err != KITH_OK) {
        return err;
    }
    int ret = wiredtiger_open(store->wt_path, &store->handler, config, &store->conn);
    if (ret != 0) {
        store->conn = NULL;
        return open_failed(store, ret, error);
    }
    WT_SESSION *session;
    ret = store_session(store, &session);
    for (size_t i = 0; ret == 0 && i < store_table_count; i++) {
        ret = store_table_create(session, store_tables[i]);
    }
    if (ret == 0) {
        ret = session->close(session, NULL);
    }
    return ret == 0 ? KITH_OK : open_failed(store, ret, error);
}

int store_table_create(WT_SESSION *session, const char *table)
{
    char uri[32];
    snprintf(uri, sizeof uri, "table:%s", table);
    for (size_t i = 0; i < store_table_count; i++) {
        if (strcmp(store_tables[i], table) == 0) {
            return session->create(session, uri, table_configs[i]);
        }
    }
    return EINVAL;
}

int store_session(struct kith_store *store, WT_SESSION **ret_session)
{
    return store->conn->open_session(store->conn, NULL, "isolation=snapshot", ret_session);
}

int store_cursor(WT_SESSION *session, const char *table, WT_CURSOR **ret_cursor)
{
    char uri[32];
    snprintf(uri, sizeof uri, "table:%s", table);
    return session->open_cursor(session, uri, NULL, "overwrite=true", ret_cursor);
}

static enum kith_err make_workers(struct kith_store *store, struct kith_error *error)
{
    uint32_t total = store->worker_count + store->bulk_count;
    store->workers = kith_calloc(total, sizeof *store->workers);
    if (store->workers == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", store->path);
    }
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < total; i++) {
        ret = store_worker_init(&store->workers[i], store, i, i >= store->worker_count);
    }
    if (ret == 0) {
        ret = store_committer_init(store);
    }
    if (ret == 0) {
        ret = store_space_init(store);
    }
    return ret == 0 ? KITH_OK : open_failed(store, ret, error);
}

static enum kith_err start_threads(struct kith_store *store, struct kith_error *error)
{
    uint32_t total = store->worker_count + store->bulk_count;
    for (uint32_t i = 0; i < total; i++) {
        struct store_worker *worker = &store->workers[i];
        if (pthread_create(&worker->thread, NULL, store_worker_main, worker) != 0) {
            return kith_error_set(error, KITH_ENOMEM, "%s: cannot start a thread", store->path);
        }
        worker->started = true;
    }
    if (pthread_create(&store->committer.thread, NULL, store_committer_main, store) != 0) {
        return kith_error_set(error, KITH_ENOMEM, "%s: cannot start a thread", store->path);
    }
    store->committer.started = true;
    if (!store_space_start(store)) {
        return kith_error_set(error, KITH_ENOMEM, "%s: cannot start a thread", store->path);
    }
    return KITH_OK;
}

static char *path_join(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = kith_malloc(size);
    if (path != NULL) {
        snprintf(path, size, "%s/%s", directory, name);
    }
    return path;
}

/* The log's files, and with them what must stay free, in proportion to the disk. */
static void size_logs(struct kith_store *store)
{
    uint64_t size = store_space_disk(store) / LOG_FILE_SHARE;
    if (store->options.log_file_bytes != 0) {
        size = store->options.log_file_bytes;
    }
    size = size > LOG_FILE_MAX ? LOG_FILE_MAX : size;
    size = size < LOG_FILE_MIN ? LOG_FILE_MIN : size;
    uint64_t logs = atomic_load(&store->space.disk_free) / CHECKPOINT_SHARE / size;
    logs = logs < CHECKPOINT_LOGS_MIN || size < LOG_FILE_MAX ? CHECKPOINT_LOGS_MIN : logs;
    logs = logs > CHECKPOINT_LOGS_MAX ? CHECKPOINT_LOGS_MAX : logs;
    store->options.log_file_bytes = size;
    if (store->options.hint_bytes_max == 0) {
        store->options.hint_bytes_max = store_space_disk(store) / HINT_SHARE;
    }
    store->checkpoint_logs = (uint32_t)logs;
    /* those of before the checkpoint, those that come while it is made, and the ready ones */
    store_space_size(store, (2u * logs + READY_LOGS) * size);
}

static enum kith_err load_tables(struct kith_store *store, struct kith_error *error)
{
    enum kith_err err = open_wiredtiger(store, error);
    if (err == KITH_OK) {
        err = store_aside_apply(store, error);
    }
    if (err == KITH_OK) {
        err = store_meta_load(store, error);
    }
    if (err == KITH_OK && (err = store_floors_init(store)) != KITH_OK) {
        err = kith_error_set(error, err, "%s: the floors of what was deleted: %s", store->wt_path,
                             kith_err_text((int)err));
    }
    return err == KITH_OK ? store_derived_load(store, error) : err;
}

/* What is asked of an engine that gave up may wait for ever: a checkpoint waits for a slot of the log
 * that nobody lets go (3.2.1; one start in some 300 on a loaded machine). */
static bool stuck(const struct kith_store *store)
{
    return store->conn != NULL && atomic_load(&store->gave_up);
}

/* Where WiredTiger gives up over a file that can be made anew: once more without that. */
static enum kith_err open_tables(struct kith_store *store, struct kith_error *error)
{
    char said[sizeof store->wt_message];
    enum kith_err err = load_tables(store, error);
    store_engine_said(store, said);
    if (err == KITH_OK || !store_derived_named(said)) {
        return err;
    }
    if (stuck(store)) {
        store->begins_again = true;
        if (!store_derived_note(store)) { /* that did not help */
            store_derived_discard(store);
        }
        return err;
    }
    kith_log_error("store", "%s: %s", store->wt_path, said);
    if (store->conn != NULL) {
        (void)store->conn->close(store->conn, NULL);
        store->conn = NULL;
    }
    store->wt_message[0] = '\0';
    store->wt_message_rank = 0;
    store_meta_release(store);
    store_tree_release(&store->row_tree);
    store_tree_release(&store->chunk_tree);
    store_derived_discard(store);
    return load_tables(store, error);
}

static enum kith_err store_fill(struct kith_store *store, struct kith_error *error)
{
    store->path = kith_strdup(store->options.path);
    store->wt_path = path_join(store->options.path, "wt");
    store->chunks_path = path_join(store->options.path, "chunks");
    if (store->path == NULL || store->wt_path == NULL || store->chunks_path == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", store->options.path);
    }
    enum kith_err err = store_crypt_look(store, error); /* a wrong key changes nothing */
    if (err == KITH_OK) {
        err = make_directory(store->path, error);
    }
    if (err == KITH_OK) {
        err = take_lock(store, error);
    }
    if (err == KITH_OK) {
        err = store_crypt_begin(store, error);
    }
    if (err == KITH_OK) {
        store_identity_load(store);
        err = store_aside_all(store, error);
    }
    if (err == KITH_OK) {
        size_logs(store);
        err = make_directory(store->wt_path, error);
    }
    if (err == KITH_OK) {
        err = make_directory(store->chunks_path, error);
    }
    if (err == KITH_OK) {
        store->chunks_fd = open(store->chunks_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (store->chunks_fd < 0) {
            err = kith_error_set(error, store_err(errno), "%s: %s", store->chunks_path,
                                 strerror(errno));
        }
    }
    if (err == KITH_OK) {
        err = open_tables(store, error);
    }
    if (err == KITH_OK) {
        err = store_hints_load(store, error);
    }
    if (err == KITH_OK) {
        err = make_workers(store, error);
    }
    if (err == KITH_OK) { /* first: what is written from here on overwrites the journal */
        err = store_derived_settle(store, error);
    }
    if (err == KITH_OK) {
        err = segments_recover(store, &store->workers[store->worker_count], error);
    }
    if (err == KITH_OK) { /* again: one worker's journal now names partitions of the others */
        err = store_derived_settle(store, error);
    }
    if (err == KITH_OK) {
        store_aside_done(store);
    }
    return err == KITH_OK ? start_threads(store, error) : err;
}

/* One for each four cores: on two, a second one only took turns with the first, and rounds were
 * small. */
static uint32_t row_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 8 ? 1u : cores > 16 ? 4u : (uint32_t)cores / 4u;
}

static enum kith_err check_options(struct kith_store *store, struct kith_error *error)
{
    struct kith_store_options *options = &store->options;
    if (options->cache_bytes == 0) {
        options->cache_bytes = kith_memory_cache(kith_memory_bytes(), 1);
    }
    options->workers = options->workers == 0 ? row_workers() : options->workers;
    options->bulk_workers = options->bulk_workers == 0 ? 2 : options->bulk_workers;
    options->journal_slots = options->journal_slots == 0 ? JOURNAL_SLOTS : options->journal_slots;
    options->checkpoint_s =
        options->checkpoint_s == 0 ? CHECKPOINT_DEFAULT_S : options->checkpoint_s;
    if (options->cache_bytes < KITH_STORE_CACHE_MIN || options->workers > KITH_STORE_WORKERS_MAX ||
        options->bulk_workers > KITH_STORE_WORKERS_MAX || options->run == 0 ||
        options->journal_slots < JOURNAL_SLOTS_MIN) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s: a cache of at least %u MiB and at most %u "
                              "store workers of a kind are needed, and %u slots of the journal",
                              options->path, (unsigned)(KITH_STORE_CACHE_MIN >> 20),
                              KITH_STORE_WORKERS_MAX, JOURNAL_SLOTS_MIN);
    }
    for (uint32_t i = 0; i < 3; i++) {
        options->space_percent[i] =
            options->space_percent[i] == 0 ? space_percent[i] : options->space_percent[i];
    }
    store->worker_count = options->workers;
    store->bulk_count = options->bulk_workers;
    atomic_store(&store->run, options->run);
    return KITH_OK;
}

static void store_destroy(struct kith_store *store);

static enum kith_err open_once(const struct kith_store_options *options,
                               struct kith_store **ret_store, bool *ret_again,
                               struct kith_error *error)
{
    *ret_again = false;
    struct kith_store *store = kith_calloc(1, sizeof *store);
    if (store == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", options->path);
    }
    store->options = *options;
    store->lock_fd = -1;
    store->chunks_fd = -1;
    store_engine_listen(store);
    pthread_mutex_init(&store->message_lock, NULL);
    pthread_mutex_init(&store->pool_lock, NULL);
    pthread_mutex_init(&store->identity.lock, NULL);
    store_space_prepare(&store->space);
    enum kith_err err = check_options(store, error);
    if (err == KITH_OK) {
        err = store_fill(store, error);
    }
    if (err != KITH_OK) {
        bool again = store->begins_again || store_aside_note(store) ||
                     (err == KITH_ECORRUPT && store_aside_note_all(store));
        if (again) {
            char said[sizeof store->wt_message];
            store_engine_said(store, said);
            kith_log_error("store", "%s: %s", store->wt_path, said);
        }
        if (again && stuck(store)) {
            err = kith_error_set(error, KITH_ENOTREADY,
                                 "%s: damaged files are set aside by the next start: start kithd "
                                 "again",
                                 store->wt_path);
        }
        *ret_again = again && err != KITH_ENOTREADY;
        store_destroy(store);
        return err;
    }
    store->options.path = store->path;
    store->options.key = NULL; /* the caller's */
    atomic_store(&store->opened, true);
    *ret_store = store;
    return KITH_OK;
}

enum kith_err kith_store_open(const struct kith_store_options *options,
                              struct kith_store **ret_store, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    bool again = true; /* each time without another table, or two */
    for (uint32_t attempt = 0; attempt < OPEN_ATTEMPTS && again; attempt++) {
        err = open_once(options, ret_store, &again, error);
    }
    return err;
}

/* ---- Closing ---- */

void store_join(struct kith_store *store, pthread_t thread)
{
    struct timespec until;
    int ret;
    do { /* once at least: others than the one that waits there end by themselves */
        clock_gettime(CLOCK_REALTIME, &until); /* ThreadSanitizer does not know pthread_clockjoin_np */
        until.tv_nsec += JOIN_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        ret = pthread_timedjoin_np(thread, NULL, &until);
        store->stuck_ms += ret == ETIMEDOUT && stuck(store) ? JOIN_MS : 0;
    } while (ret == ETIMEDOUT && store->stuck_ms < STUCK_MS);
    if (ret == ETIMEDOUT) {
        kith_log_error("store", "%s: a thread waits in the storage engine that gave up, and is left "
                       "there", store->wt_path);
    }
}

static void end_threads(struct kith_store *store)
{
    uint32_t total = store->workers == NULL ? 0 : store->worker_count + store->bulk_count;
    for (uint32_t i = 0; i < total; i++) {
        if (store->workers[i].started) {
            store_queue_stop(&store->workers[i].queue);
        }
    }
    for (uint32_t i = 0; i < total; i++) {
        if (store->workers[i].started) {
            store_join(store, store->workers[i].thread);
            store->workers[i].started = false;
        }
    }
    if (store->committer.started) {
        store_committer_stop(&store->committer); /* after the workers: it has their last work */
        store_join(store, store->committer.thread);
        store->committer.started = false;
    }
    store_space_stop(store); /* somebody may have waited for it */
}

/* A store whose WiredTiger gave up: closing that may wait for ever, for a transaction that was cut off
 * or for its log, and its threads go on. The process is about to end; it keeps its lock until then. */
static void abandon(struct kith_store *store)
{
    static _Atomic(struct kith_store *) abandoned; /* no leak: it is still in use */
    atomic_store(&abandoned, store);
}

static void store_destroy(struct kith_store *store)
{
    end_threads(store);
    if (stuck(store) || (store->conn != NULL && atomic_load(&store->failed))) {
        abandon(store);
        return;
    }
    atomic_store(&store->opened, false);
    uint32_t total = store->workers == NULL ? 0 : store->worker_count + store->bulk_count;
    for (uint32_t i = 0; i < total; i++) {
        store_worker_release(&store->workers[i]);
    }
    store_committer_release(store);
    if (store->conn != NULL) {
        int ret = store->conn->close(store->conn, "leak_memory=false");
        if (ret != 0) {
            kith_log_error("store", "%s: close: %s", store->wt_path, wiredtiger_strerror(ret));
        }
    }
    while (store->pool != NULL) {
        struct kith_store_results *pub = store->pool;
        store->pool = pub->next;
        kith_arena_release(&((struct store_results *)pub)->arena);
        kith_free(pub);
    }
    store_tree_release(&store->row_tree);
    store_tree_release(&store->chunk_tree);
    kith_free(store->hint_sums);
    kith_free(store->conflicts);
    store_floors_release(store);
    store_meta_release(store);
    store_identity_release(store);
    store_crypt_release(store);
    if (store->chunks_fd >= 0) {
        close(store->chunks_fd);
    }
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    pthread_mutex_destroy(&store->message_lock);
    pthread_mutex_destroy(&store->pool_lock);
    store_space_release(&store->space);
    kith_free(store->workers);
    kith_free(store->path);
    kith_free(store->wt_path);
    kith_free(store->chunks_path);
    kith_free(store);
}

void kith_store_stop(struct kith_store *store)
{
    end_threads(store);
}

enum kith_err kith_store_close(struct kith_store *store, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    end_threads(store);
    if (!atomic_load(&store->failed)) {
        err = segments_finish(store, &store->workers[store->worker_count]);
        WT_SESSION *session = store->committer.session;
        int ret = session->log_flush(session, "sync=on");
        if (ret == 0) {
            ret = session->checkpoint(session, NULL);
        }
        if (ret != 0) {
            err = KITH_EIO;
        }
    } else {
        err = KITH_EIO;
    }
    if (err != KITH_OK) {
        char said[sizeof store->wt_message];
        store_engine_said(store, said);
        kith_error_set(error, KITH_EIO, "%s: the store could not be closed in order: %s",
                       store->path, said[0] != '\0' ? said : kith_err_text((int)err));
        err = KITH_EIO;
    }
    store_destroy(store);
    return err;
}

/* ---- Use ---- */

void kith_store_start(const struct kith_store *store, struct kith_start *start)
{
    start->has_data = atomic_load(&store->row_count) != 0 ||
                      atomic_load(&store->chunk_count) != 0 ||
                      atomic_load(&store->hint_total.count) != 0;
    memcpy(start->meta, store->meta, sizeof start->meta);
}

enum kith_err kith_store_configure(struct kith_store *store, struct kith_bytes secret,
                                   uint32_t partitions)
{
    if (secret.size < KITH_SECRET_MIN || secret.size > KITH_SECRET_MAX || partitions == 0 ||
        partitions > KITH_PARTITIONS_MAX || (partitions & (partitions - 1u)) != 0) {
        return KITH_EINVAL;
    }
    if (store->secret_size != 0) { /* found at open, or a second call */
        if (!kith_bytes_equal(secret, store_secret(store)) || partitions != store->partitions) {
            return KITH_EINVAL;
        }
        atomic_store(&store->configured, true);
        return KITH_OK;
    }
    memcpy(store->secret, secret.data, secret.size);
    store->secret_size = secret.size;
    store->partitions = partitions;
    enum kith_err err = store_config_keep(store);
    if (err != KITH_OK) {
        store->secret_size = 0;
        return err;
    }
    atomic_store(&store->configured, true);
    return KITH_OK;
}
