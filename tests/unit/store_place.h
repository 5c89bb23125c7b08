/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_place.h - a store in a directory of its own, asked one operation at a time. For
 * test_store_wt.c, test_chunks.c and test_segments.c; include it after cmocka.h. */
#ifndef KITH_TESTS_STORE_PLACE_H
#define KITH_TESTS_STORE_PLACE_H

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "core/rows/rowop.h"
#include "store/crypt.h"
#include "store/store_wt.h"

#define PARTITIONS  64u
#define RESULTS_MAX 4096u

struct place {
    char dir[100];
    struct kith_store *store;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct kith_store_results *list[RESULTS_MAX]; /* protected by lock, like the next two */
    uint32_t count;
    bool fatal;
    uint32_t list_taken, done_taken;
    uint32_t workers, journal_slots; /* options of the store; 0: its own */
    uint64_t hint_bytes_max;
    const struct kith_crypt_key *key; /* NULL: not encrypted */
    bool damaged; /* a file is: the next to open it is another process (open_apart) */
};

static inline void completed(void *arg, struct kith_store_results *results)
{
    struct place *place = arg;
    pthread_mutex_lock(&place->lock);
    if (place->count == RESULTS_MAX) {
        abort();
    }
    place->list[place->count++] = results;
    pthread_cond_signal(&place->more);
    pthread_mutex_unlock(&place->lock);
}

static inline void fatal(void *arg, const char *message)
{
    struct place *place = arg;
    (void)message;
    pthread_mutex_lock(&place->lock);
    place->fatal = true;
    pthread_mutex_unlock(&place->lock);
}

static uint8_t secret[192];

/* In a process of its own, which then ends as if it were killed: kithd's course over a damaged file
 * that the engine gave up over. */
static inline enum kith_err open_apart(const struct kith_store_options *options)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct kith_store *store;
        struct kith_error error;
        _exit((int)kith_store_open(options, &store, &error));
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    return (enum kith_err)WEXITSTATUS(status);
}

static inline enum kith_err place_open(struct place *place, struct kith_error *error)
{
    struct kith_store_options options = {.path = place->dir,
                                         .arg = place,
                                         .completed = completed,
                                         .fatal = fatal,
                                         .workers = place->workers,
                                         .bulk_workers = place->workers,
                                         .journal_slots = place->journal_slots,
                                         .hint_bytes_max = place->hint_bytes_max,
                                         .cache_bytes = 16u << 20,
                                         .log_file_bytes = 1u << 20};
    /* any of these tests, by hand, with all of its store encrypted */
    static const struct kith_crypt_key asked = {{7}};
    options.key = place->key == NULL && getenv("KITH_TEST_ENCRYPT") != NULL ? &asked : place->key;
    static uint64_t runs = 0x1234567;
    options.run = ++runs * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid();
    enum kith_err err = KITH_ENOTREADY;
    for (uint32_t i = 0; place->damaged && err == KITH_ENOTREADY && i < 8; i++) {
        err = open_apart(&options);
    }
    place->damaged = false;
    err = kith_store_open(&options, &place->store, error);
    if (err != KITH_OK) {
        place->store = NULL;
        return err;
    }
    return kith_store_configure(place->store, kith_bytes_make(secret, sizeof secret), PARTITIONS);
}

static inline void must_open(struct place *place)
{
    struct kith_error error = {KITH_OK, ""};
    if (place_open(place, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
}

static inline void release_results(struct place *place)
{
    for (uint32_t i = 0; i < place->count; i++) {
        kith_store_results_free(place->list[i]);
    }
    place->count = place->list_taken = place->done_taken = 0;
}

static inline void must_close(struct place *place)
{
    struct kith_error error = {KITH_OK, ""};
    release_results(place);
    enum kith_err err = kith_store_close(place->store, &error);
    place->store = NULL;
    if (err != KITH_OK) {
        fail_msg("%s", error.message);
    }
}

static inline void place_init(struct place *place)
{
    memset(place, 0, sizeof *place);
    snprintf(place->dir, sizeof place->dir, "/tmp/test_store_wt.XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    pthread_mutex_init(&place->lock, NULL);
    pthread_cond_init(&place->more, NULL);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    place_init(place);
    must_open(place);
    *state = place;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *place = *state;
    if (place->store != NULL) {
        release_results(place);
        (void)kith_store_close(place->store, NULL);
    }
    remove_tree(place->dir);
    free(place);
    return 0;
}

/* ---- Asking ---- */

static inline const struct kith_store_done *next_done(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    while (place->list_taken == place->count) {
        pthread_cond_wait(&place->more, &place->lock);
    }
    struct kith_store_results *results = place->list[place->list_taken];
    const struct kith_store_done *done = &results->dones[place->done_taken++];
    if (place->done_taken == results->count) {
        place->done_taken = 0;
        place->list_taken++;
    }
    pthread_mutex_unlock(&place->lock);
    return done;
}

static inline void submit(struct place *place, const struct kith_store_op *op)
{
    assert_int_equal(kith_store_submit(place->store, op, NULL), KITH_OK);
}

static inline const struct kith_store_done *ask(struct place *place, const struct kith_store_op *op)
{
    release_results(place);
    submit(place, op);
    kith_store_kick(place->store);
    return next_done(place);
}

static inline struct kith_group group_of(uint32_t number)
{
    uint8_t own[12] = {0};
    memcpy(own, &number, sizeof number);
    return kith_group_make(KITH_VOLUME_FS, own);
}

static uint64_t sequence;

static inline struct kith_request_id next_request(void)
{
    struct kith_request_id request = {{7}};
    sequence++;
    memcpy(request.bytes + 8, &sequence, 8);
    return request;
}

static inline struct kith_store_op put_op(uint32_t group, const struct kith_put_update *updates,
                                          uint32_t count)
{
    struct kith_store_op op = {.id = 1000 + sequence, .kind = KITH_STORE_PUT};
    op.u.put.group = group_of(group);
    op.partition = kith_group_partition(&op.u.put.group, PARTITIONS);
    op.u.put.request = next_request();
    op.u.put.writer = kith_bytes_make("me@here", 7);
    op.u.put.time = sequence << 16;
    op.u.put.wall_ms = 1000;
    op.u.put.update_count = count;
    op.u.put.updates = updates;
    return op;
}

static inline struct kith_put_update update_of(const char *name, const char *value)
{
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .has_sibling = true,
                                     .value = kith_bytes_make(value, strlen(value))};
    return update;
}

static inline struct kith_store_op get_op(uint32_t group, const struct kith_bytes *names,
                                          uint32_t count)
{
    struct kith_store_op op = {.id = 5, .kind = KITH_STORE_GET};
    op.u.get.group = group_of(group);
    op.partition = kith_group_partition(&op.u.get.group, PARTITIONS);
    op.u.get.name_count = count;
    op.u.get.names = names;
    return op;
}

/* The state of a row, allocated; size 0 when there is none. */
static inline struct kith_bytes state_of(struct place *place, uint32_t group, const char *name)
{
    struct kith_bytes names[1] = {kith_bytes_make(name, strlen(name))};
    struct kith_store_op op = get_op(group, names, 1);
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.rows.row_count, 1);
    struct kith_bytes state = done->u.rows.rows[0].state;
    uint8_t *copy = malloc(state.size + 1);
    memcpy(copy, state.data == NULL ? (const void *)"" : state.data, state.size);
    return kith_bytes_make(copy, state.size);
}

static inline void free_bytes(struct kith_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* Number of siblings; value of the first one into text. */
static inline uint32_t siblings_of(struct place *place, uint32_t group, const char *name,
                                   char text[32])
{
    struct kith_bytes state = state_of(place, group, name);
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_row_decode(&arena, state, &row), KITH_OK);
    uint32_t count = row.sibling_count;
    text[0] = '\0';
    if (count > 0) {
        snprintf(text, 32, "%.*s", (int)row.siblings[0].value.size,
                 (const char *)row.siblings[0].value.data);
    }
    kith_arena_release(&arena);
    free_bytes(state);
    return count;
}

static inline void put_text(struct place *place, uint32_t group, const char *name,
                            const char *value)
{
    struct kith_bytes old = state_of(place, group, name);
    struct kith_arena arena;
    struct kith_row row;
    struct kith_buf context;
    kith_arena_init(&arena, 0);
    kith_buf_init(&context);
    assert_int_equal(kith_row_decode(&arena, old, &row), KITH_OK);
    row.sibling_count = 0;
    if (old.size > 0) {
        kith_row_encode(&row, &context);
    }
    struct kith_put_update update = update_of(name, value);
    update.context = kith_buf_bytes(&context);
    struct kith_store_op op = put_op(group, &update, 1);
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->reached, KITH_DURABLE_OS);
    kith_arena_release(&arena);
    kith_buf_release(&context);
    free_bytes(old);
}

static inline void verify(struct place *place, uint64_t rows, uint64_t chunks)
{
    struct kith_store_verdict verdict;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(kith_store_verify(place->store, true, &verdict, &error), KITH_OK);
    if (verdict.first[0] != '\0') {
        fail_msg("%s", verdict.first);
    }
    assert_int_equal(verdict.rows, rows);
    assert_int_equal(verdict.chunks, chunks);
    struct kith_store_counts counts = kith_store_counts(place->store);
    assert_int_equal(counts.rows, rows);
    assert_int_equal(counts.chunks, chunks);
}

static inline void place_secret(void)
{
    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] = (uint8_t)(i * 37 + 11);
    }
    kith_log_set_level(KITH_LOG_ERROR);
}

/* ---- Chunks ---- */

static inline struct kith_chunk_id chunk_id(uint32_t number)
{
    uint8_t random[10] = {0};
    memcpy(random, &number, sizeof number);
    return kith_chunk_id_make(KITH_VOLUME_FS, 1000 + number, random);
}

static inline struct kith_blob *chunk_blob(uint32_t number, size_t size)
{
    struct kith_blob *blob = kith_blob_new(size);
    for (size_t i = 0; i < size; i++) {
        blob->data[i] = (uint8_t)(i * 31 + number * 7 + (i >> 8));
    }
    return blob;
}

static inline struct kith_store_op chunk_op(uint32_t number, struct kith_blob *blob)
{
    struct kith_store_op op = {.id = 100 + number, .kind = KITH_STORE_CHUNK_PUT};
    op.u.chunk_put.id = chunk_id(number);
    op.partition = kith_chunk_partition(&op.u.chunk_put.id, PARTITIONS);
    op.u.chunk_put.payload = blob;
    op.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
    return op;
}

static inline enum kith_err put_chunk(struct place *place, uint32_t number, size_t size)
{
    struct kith_blob *blob = chunk_blob(number, size);
    struct kith_store_op op = chunk_op(number, blob);
    enum kith_err err = ask(place, &op)->err;
    kith_blob_drop(blob);
    return err;
}

static inline enum kith_err check_chunk(struct place *place, uint32_t number, size_t size)
{
    struct kith_store_op op = {.id = 8, .kind = KITH_STORE_CHUNK_GET};
    op.u.chunk_get.id = chunk_id(number);
    op.partition = kith_chunk_partition(&op.u.chunk_get.id, PARTITIONS);
    const struct kith_store_done *done = ask(place, &op);
    if (done->err == KITH_OK) {
        struct kith_blob *blob = chunk_blob(number, size);
        assert_int_equal(done->u.chunk.chunk_size, size);
        assert_int_equal(done->u.chunk.payload->size, size);
        assert_memory_equal(done->u.chunk.payload->data, blob->data, size);
        kith_blob_drop(blob);
    }
    return done->err;
}

static inline size_t chunk_size(uint32_t number)
{
    static const size_t sizes[] = {0, 1, 4096, 65536, 65537, 300000, 1u << 20};
    return sizes[number % 7];
}

#endif
