/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The store on WiredTiger: every operation, restarts, crashes, damage, full disks. Invariants 1, 5, 12. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "core/rowop.h"
#include "shell/store_wt.h"

#define PARTITIONS 64u
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
};

static void completed(void *arg, struct kith_store_results *results)
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

static void fatal(void *arg, const char *message)
{
    struct place *place = arg;
    (void)message;
    pthread_mutex_lock(&place->lock);
    place->fatal = true;
    pthread_mutex_unlock(&place->lock);
}

static uint8_t secret[192];

static enum kith_err place_open(struct place *place, struct kith_error *error)
{
    struct kith_store_options options = {.path = place->dir, .arg = place, .completed = completed,
                                         .fatal = fatal, .cache_bytes = 16u << 20,
                                         .log_file_bytes = 1u << 20};
    static uint64_t runs = 0x1234567;
    options.run = ++runs * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid();
    enum kith_err err = kith_store_open(&options, &place->store, error);
    if (err != KITH_OK) {
        place->store = NULL;
        return err;
    }
    return kith_store_configure(place->store, kith_bytes_make(secret, sizeof secret), PARTITIONS);
}

static void must_open(struct place *place)
{
    struct kith_error error = {KITH_OK, ""};
    if (place_open(place, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
}

static void release_results(struct place *place)
{
    for (uint32_t i = 0; i < place->count; i++) {
        kith_store_results_free(place->list[i]);
    }
    place->count = place->list_taken = place->done_taken = 0;
}

static void must_close(struct place *place)
{
    struct kith_error error = {KITH_OK, ""};
    release_results(place);
    enum kith_err err = kith_store_close(place->store, &error);
    place->store = NULL;
    if (err != KITH_OK) {
        fail_msg("%s", error.message);
    }
}

static void place_init(struct place *place)
{
    memset(place, 0, sizeof *place);
    snprintf(place->dir, sizeof place->dir, "/tmp/test_store_wt.XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    pthread_mutex_init(&place->lock, NULL);
    pthread_cond_init(&place->more, NULL);
}

static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry = directory == NULL ? NULL : readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        char child[512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (unlink(child) != 0) {
            remove_tree(child);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
    rmdir(path);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    place_init(place);
    must_open(place);
    *state = place;
    return 0;
}

static int teardown(void **state)
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

static const struct kith_store_done *next_done(struct place *place)
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

static void submit(struct place *place, const struct kith_store_op *op)
{
    assert_int_equal(kith_store_submit(place->store, op, NULL), KITH_OK);
}

static const struct kith_store_done *ask(struct place *place, const struct kith_store_op *op)
{
    release_results(place);
    submit(place, op);
    kith_store_kick(place->store);
    return next_done(place);
}

static struct kith_group group_of(uint32_t number)
{
    uint8_t own[12] = {0};
    memcpy(own, &number, sizeof number);
    return kith_group_make(KITH_VOLUME_FS, own);
}

static uint64_t sequence;

static struct kith_request_id next_request(void)
{
    struct kith_request_id request = {{7}};
    sequence++;
    memcpy(request.bytes + 8, &sequence, 8);
    return request;
}

static struct kith_store_op put_op(uint32_t group, const struct kith_put_update *updates,
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

static struct kith_put_update update_of(const char *name, const char *value)
{
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .has_sibling = true,
                                     .value = kith_bytes_make(value, strlen(value))};
    return update;
}

static struct kith_store_op get_op(uint32_t group, const struct kith_bytes *names, uint32_t count)
{
    struct kith_store_op op = {.id = 5, .kind = KITH_STORE_GET};
    op.u.get.group = group_of(group);
    op.partition = kith_group_partition(&op.u.get.group, PARTITIONS);
    op.u.get.name_count = count;
    op.u.get.names = names;
    return op;
}

/* The state of a row, allocated; size 0 when there is none. */
static struct kith_bytes state_of(struct place *place, uint32_t group, const char *name)
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

static void free_bytes(struct kith_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* Number of siblings; value of the first one into text. */
static uint32_t siblings_of(struct place *place, uint32_t group, const char *name, char text[32])
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

static void put_text(struct place *place, uint32_t group, const char *name, const char *value)
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

static void verify(struct place *place, uint64_t rows, uint64_t chunks)
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

/* ---- Rows ---- */

static void test_put_get(void **state)
{
    struct place *place = *state;
    char text[32];
    put_text(place, 1, "a", "one");
    assert_int_equal(siblings_of(place, 1, "a", text), 1);
    assert_string_equal(text, "one");
    put_text(place, 1, "a", "two");
    assert_int_equal(siblings_of(place, 1, "a", text), 1);
    assert_string_equal(text, "two");
    assert_int_equal(siblings_of(place, 1, "missing", text), 0);
    struct kith_put_update blind = update_of("a", "three"); /* without a context: concurrent */
    struct kith_store_op op = put_op(1, &blind, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(siblings_of(place, 1, "a", text), 2);
    verify(place, 1, 0);
    must_close(place);
    must_open(place);
    assert_int_equal(siblings_of(place, 1, "a", text), 2);
    verify(place, 1, 0);
}

static void test_duplicate_request(void **state)
{
    struct place *place = *state;
    struct kith_put_update update = update_of("a", "x");
    struct kith_store_op op = put_op(1, &update, 1);
    const struct kith_store_done *done = ask(place, &op);
    assert_false(done->u.put.duplicate);
    struct kith_dot dot = done->u.put.rows[0].dot;
    done = ask(place, &op);
    assert_true(done->u.put.duplicate);
    assert_true(kith_dot_equal(&dot, &done->u.put.rows[0].dot));
    struct kith_store_op find = {.id = 9, .kind = KITH_STORE_FIND, .partition = op.partition};
    find.u.find.group = op.u.put.group;
    find.u.find.request = op.u.put.request;
    find.u.find.name_count = 1;
    find.u.find.names = &update.name;
    done = ask(place, &find);
    assert_true(done->u.find.found);
    assert_true(kith_dot_equal(&dot, &done->u.find.rows[0].dot));
    assert_true(done->u.find.rows[0].state.size > 0);
    find.u.find.request = next_request();
    assert_false(ask(place, &find)->u.find.found);
}

static void test_batch_is_all_or_nothing(void **state)
{
    struct place *place = *state;
    char text[32];
    /* a second update that fails: a context that is no row */
    struct kith_put_update updates[3] = {update_of("a", "1"), update_of("b", "2"),
                                         update_of("c", "3")};
    updates[2].context = kith_bytes_make("rubbish", 7);
    struct kith_store_op bad = put_op(3, updates, 3);
    struct kith_put_update other = update_of("d", "4");
    struct kith_store_op good = put_op(3, &other, 1);
    release_results(place);
    submit(place, &good);
    submit(place, &bad); /* shares its transaction with a good one on each side */
    struct kith_put_update after = update_of("e", "5");
    struct kith_store_op good2 = put_op(3, &after, 1);
    submit(place, &good2);
    kith_store_kick(place->store);
    assert_int_equal(next_done(place)->err, KITH_OK);
    const struct kith_store_done *done = next_done(place);
    assert_int_equal(done->err, KITH_EFORMAT);
    assert_true(strlen(done->message) > 0);
    assert_int_equal(next_done(place)->err, KITH_OK);
    assert_int_equal(siblings_of(place, 3, "a", text), 0);
    assert_int_equal(siblings_of(place, 3, "b", text), 0);
    assert_int_equal(siblings_of(place, 3, "d", text), 1);
    assert_int_equal(siblings_of(place, 3, "e", text), 1);
    verify(place, 2, 0);
    updates[2] = updates[0]; /* a name twice */
    bad = put_op(3, updates, 3);
    assert_int_equal(ask(place, &bad)->err, KITH_EINVAL);
    verify(place, 2, 0);
}

/* More in one transaction than a log file holds. */
static void test_large_batch(void **state)
{
    struct place *place = *state;
    enum { COUNT = 60, SIZE = 60000 };
    static char names[COUNT][8];
    struct kith_put_update updates[COUNT];
    char *value = malloc(SIZE);
    memset(value, 'x', SIZE);
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%u", i);
        updates[i] = update_of(names[i], "");
        updates[i].value = kith_bytes_make(value, SIZE);
    }
    struct kith_store_op op = put_op(1, updates, COUNT);
    op.durability = KITH_DURABLE_DISK;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(next_done(place)->err, KITH_OK);
    must_close(place);
    must_open(place);
    verify(place, COUNT, 0);
    free(value);
}

static void test_merge(void **state)
{
    struct place *place = *state;
    struct kith_bytes source;
    char text[32];
    put_text(place, 4, "a", "one");
    source = state_of(place, 4, "a");
    struct kith_replica_row row = {.name = kith_bytes_make("a", 1), .state = source};
    struct kith_store_op op = {.id = 2, .kind = KITH_STORE_MERGE};
    op.u.merge.group = group_of(5);
    op.partition = kith_group_partition(&op.u.merge.group, PARTITIONS);
    op.u.merge.row_count = 1;
    op.u.merge.rows = &row;
    assert_true(ask(place, &op)->u.merge.changed);
    assert_false(ask(place, &op)->u.merge.changed);
    assert_int_equal(siblings_of(place, 5, "a", text), 1);
    row.state = kith_bytes_make("junk", 4);
    assert_int_equal(ask(place, &op)->err, KITH_EFORMAT);
    verify(place, 2, 0);
    free_bytes(source);
}

static void test_scan(void **state)
{
    struct place *place = *state;
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "n%02d", i);
        put_text(place, 6, name, "v");
    }
    put_text(place, 7, "other", "v");
    struct kith_store_op op = {.id = 3, .kind = KITH_STORE_SCAN};
    op.u.scan.group = group_of(6);
    op.partition = kith_group_partition(&op.u.scan.group, PARTITIONS);
    op.u.scan.max_rows = 20;
    uint32_t seen = 0;
    uint8_t after[8];
    for (bool more = true; more;) {
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        for (uint32_t i = 0; i < done->u.rows.row_count; i++) {
            snprintf(name, sizeof name, "n%02u", seen++);
            assert_int_equal(done->u.rows.rows[i].name.size, 3);
            assert_memory_equal(done->u.rows.rows[i].name.data, name, 3);
        }
        more = done->u.rows.more;
        memcpy(after, name, 3);
        op.u.scan.has_after = true;
        op.u.scan.after = kith_bytes_make(after, 3);
    }
    assert_int_equal(seen, 50);
    op.u.scan.has_after = false;
    op.u.scan.max_rows = 0;
    op.u.scan.max_bytes = 1; /* one row always comes */
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->u.rows.row_count, 1);
    assert_true(done->u.rows.more);
}

static void test_disk_completes_twice(void **state)
{
    struct place *place = *state;
    struct kith_put_update update = update_of("a", "x");
    struct kith_store_op op = put_op(1, &update, 1);
    op.durability = KITH_DURABLE_DISK;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->reached, KITH_DURABLE_OS);
    assert_int_equal(done->u.put.row_count, 1);
    done = next_done(place);
    assert_int_equal(done->id, op.id);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    assert_int_equal(done->err, KITH_OK);
    /* `os` before `disk`, for each, also when the committer is quick */
    enum { ROUNDS = 300, OPS = 4 };
    for (uint32_t round = 0; round < ROUNDS; round++) {
        bool at_os[OPS] = {false};
        release_results(place);
        for (uint32_t i = 0; i < OPS; i++) {
            op = put_op(i * 5 + round % 50, &update, 1);
            op.id = i;
            op.durability = KITH_DURABLE_DISK;
            submit(place, &op);
            kith_store_kick(place->store);
        }
        for (uint32_t i = 0; i < 2 * OPS; i++) {
            done = next_done(place);
            assert_int_equal(done->err, KITH_OK);
            assert_true(at_os[done->id] == (done->reached == KITH_DURABLE_DISK));
            at_os[done->id] = true;
        }
    }
}

static void test_meta(void **state)
{
    struct place *place = *state;
    struct kith_store_op op = {.id = 4, .kind = KITH_STORE_META_PUT};
    op.u.meta.key = KITH_META_TABLE;
    op.u.meta.value = kith_bytes_make("table", 5);
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    must_close(place);
    must_open(place);
    struct kith_start start;
    memset(&start, 0, sizeof start);
    kith_store_start(place->store, &start);
    assert_false(start.has_data);
    assert_int_equal(start.meta[KITH_META_TABLE].size, 5);
    assert_memory_equal(start.meta[KITH_META_TABLE].data, "table", 5);
    assert_int_equal(start.meta[KITH_META_NODE].size, 0);
    op.u.meta.key = KITH_META_KEYS;
    assert_int_equal(ask(place, &op)->err, KITH_EINVAL);
}

/* ---- Chunks ---- */

static struct kith_chunk_id chunk_id(uint32_t number)
{
    uint8_t random[10] = {0};
    memcpy(random, &number, sizeof number);
    return kith_chunk_id_make(KITH_VOLUME_FS, 1000 + number, random);
}

static struct kith_blob *chunk_blob(uint32_t number, size_t size)
{
    struct kith_blob *blob = kith_blob_new(size);
    for (size_t i = 0; i < size; i++) {
        blob->data[i] = (uint8_t)(i * 31 + number * 7 + (i >> 8));
    }
    return blob;
}

static struct kith_store_op chunk_op(uint32_t number, struct kith_blob *blob)
{
    struct kith_store_op op = {.id = 100 + number, .kind = KITH_STORE_CHUNK_PUT};
    op.u.chunk_put.id = chunk_id(number);
    op.partition = kith_chunk_partition(&op.u.chunk_put.id, PARTITIONS);
    op.u.chunk_put.payload = blob;
    op.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
    return op;
}

static enum kith_err put_chunk(struct place *place, uint32_t number, size_t size)
{
    struct kith_blob *blob = chunk_blob(number, size);
    struct kith_store_op op = chunk_op(number, blob);
    enum kith_err err = ask(place, &op)->err;
    kith_blob_drop(blob);
    return err;
}

static enum kith_err check_chunk(struct place *place, uint32_t number, size_t size)
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

static size_t chunk_size(uint32_t number)
{
    static const size_t sizes[] = {0, 1, 4096, 65536, 65537, 300000, 1u << 20};
    return sizes[number % 7];
}

static void test_chunks(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < 21; i++) {
        assert_int_equal(put_chunk(place, i, chunk_size(i)), KITH_OK);
        assert_int_equal(put_chunk(place, i, chunk_size(i)), KITH_OK); /* again */
    }
    assert_int_equal(put_chunk(place, 2, 5000), KITH_EINVAL); /* other contents, same id */
    for (uint32_t i = 0; i < 21; i++) {
        assert_int_equal(check_chunk(place, i, chunk_size(i)), KITH_OK);
    }
    assert_int_equal(check_chunk(place, 99, 0), KITH_ENOTFOUND);
    verify(place, 0, 21);
    must_close(place);
    must_open(place);
    for (uint32_t i = 0; i < 21; i++) {
        assert_int_equal(check_chunk(place, i, chunk_size(i)), KITH_OK);
    }
    struct kith_store_op op = {.id = 8, .kind = KITH_STORE_CHUNK_GET};
    op.u.chunk_get.id = chunk_id(6);
    op.partition = kith_chunk_partition(&op.u.chunk_get.id, PARTITIONS);
    op.u.chunk_get.offset = 1000;
    op.u.chunk_get.size = 50;
    struct kith_blob *blob = chunk_blob(6, chunk_size(6));
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->u.chunk.payload->size, 50);
    assert_memory_equal(done->u.chunk.payload->data, blob->data + 1000, 50);
    op.u.chunk_get.offset = (1u << 20) + 1;
    assert_int_equal(ask(place, &op)->err, KITH_EINVAL);
    kith_blob_drop(blob);
    verify(place, 0, 21);
}

static void test_chunk_bad_checksum(void **state)
{
    struct place *place = *state;
    struct kith_blob *blob = chunk_blob(1, 100000);
    struct kith_store_op op = chunk_op(1, blob);
    op.u.chunk_put.checksum.bytes[3] ^= 1;
    assert_int_equal(ask(place, &op)->err, KITH_ECORRUPT);
    assert_int_equal(check_chunk(place, 1, 100000), KITH_ENOTFOUND);
    kith_blob_drop(blob);
    verify(place, 0, 0);
}

static void test_chunk_sync(void **state)
{
    struct place *place = *state;
    assert_int_equal(put_chunk(place, 1, 500000), KITH_OK);
    struct kith_chunk_id ids[3] = {chunk_id(50), chunk_id(1), chunk_id(51)};
    struct kith_store_op op = {.id = 8, .kind = KITH_STORE_CHUNK_SYNC};
    op.u.chunk_sync.id_count = 3;
    op.u.chunk_sync.ids = ids;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    assert_int_equal(done->u.chunk_sync.missing_count, 2);
    assert_memory_equal(&done->u.chunk_sync.missing[0], &ids[0], sizeof ids[0]);
    assert_memory_equal(&done->u.chunk_sync.missing[1], &ids[2], sizeof ids[0]);
}

/* References follow every change of a row and of a chunk. */
static void test_references(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id refs[4] = {chunk_id(3), chunk_id(1), chunk_id(3), chunk_id(2)};
    struct kith_put_update update = update_of("file", "v");
    update.ref_count = 4;
    update.refs = refs;
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    verify(place, 1, 0);
    put_text(place, 1, "file", "no references any more");
    verify(place, 1, 0);
    struct kith_blob *blob = chunk_blob(9, 70000);
    op = chunk_op(9, blob);
    op.u.chunk_put.ref_count = 4;
    op.u.chunk_put.refs = refs;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    kith_blob_drop(blob);
    verify(place, 1, 1);
}

/* ---- Crashes: a child works and is killed; it was forked before it had threads ---- */

struct shared_note {
    uint32_t acked_rows;
    uint32_t acked_chunks;
};

static void crash_child(struct place *place, int pipe_fd, uint32_t seed)
{
    must_open(place);
    struct shared_note note = {0, 0};
    for (uint32_t i = 0;; i++) {
        char name[16], value[16];
        snprintf(name, sizeof name, "r%u", i % 97);
        snprintf(value, sizeof value, "%u", i);
        put_text(place, i % 97, name, value);
        note.acked_rows = i;
        if (i % 5 == 0 && i / 5 < 60) {
            if (put_chunk(place, seed * 1000 + i / 5, chunk_size(i / 5)) != KITH_OK) {
                _exit(3);
            }
            note.acked_chunks = i / 5 + 1;
        }
        if (write(pipe_fd, &note, sizeof note) != sizeof note) {
            _exit(4);
        }
    }
}

static struct shared_note crash_once(struct place *place, uint32_t seed, uint32_t after)
{
    int pipes[2];
    struct shared_note note = {0, 0};
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        crash_child(place, pipes[1], seed);
        _exit(0);
    }
    close(pipes[1]);
    for (uint32_t i = 0; i < after; i++) {
        assert_int_equal(read(pipes[0], &note, sizeof note), sizeof note);
    }
    kill(child, SIGKILL);
    struct shared_note more;
    while (read(pipes[0], &more, sizeof more) == sizeof more) {
        note = more;
    }
    close(pipes[0]);
    waitpid(child, NULL, 0);
    return note;
}

static void test_kill_keeps_acknowledged(void **state)
{
    struct place *place = *state;
    struct place own;
    (void)place;
    place_init(&own);
    uint64_t chunks = 0;
    for (uint32_t round = 0; round < 3; round++) {
        struct shared_note note = crash_once(&own, round, 150 + 130 * round);
        must_open(&own);
        for (uint32_t i = note.acked_rows; i + 97 > note.acked_rows && i > 0; i--) {
            char name[16], text[32];
            snprintf(name, sizeof name, "r%u", i % 97);
            assert_int_equal(siblings_of(&own, i % 97, name, text), 1);
            if (i % 97 != (note.acked_rows + 1) % 97) { /* that one may have got a newer value */
                assert_int_equal(strtoul(text, NULL, 10), i);
            }
        }
        for (uint32_t i = 0; i < note.acked_chunks; i++) {
            assert_int_equal(check_chunk(&own, round * 1000 + i, chunk_size(i)), KITH_OK);
        }
        struct kith_store_counts counts = kith_store_counts(own.store);
        chunks += note.acked_chunks;
        assert_true(counts.chunks >= chunks); /* one more may have been written, not acknowledged */
        chunks = counts.chunks;
        verify(&own, counts.rows, counts.chunks);
        must_close(&own);
    }
    remove_tree(own.dir);
}

/* Bytes of a segment that did not reach the disk before a power cut: zeros where the index says a
 * chunk is. A clean close marks all as synced, so the mark must come from a crash. */
static void test_lost_tail_leaves_the_index(void **state)
{
    (void)state;
    struct place own;
    char path[256];
    place_init(&own);
    struct shared_note note = crash_once(&own, 0, 120);
    assert_true(note.acked_chunks > 10);
    for (uint32_t i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/chunks/%06u.seg", own.dir, i);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        off_t size = lseek(fd, 0, SEEK_END);
        assert_int_equal(ftruncate(fd, size / 2), 0);
        assert_int_equal(ftruncate(fd, size), 0);
        close(fd);
    }
    must_open(&own);
    uint32_t lost = 0;
    for (uint32_t i = 0; i < note.acked_chunks; i++) {
        enum kith_err err = check_chunk(&own, i, chunk_size(i));
        assert_true(err == KITH_OK || err == KITH_ENOTFOUND);
        lost += err == KITH_ENOTFOUND ? 1 : 0;
        if (err == KITH_ENOTFOUND) { /* and can be put again */
            assert_int_equal(put_chunk(&own, i, chunk_size(i)), KITH_OK);
            assert_int_equal(check_chunk(&own, i, chunk_size(i)), KITH_OK);
        }
    }
    assert_true(lost > 0);
    struct kith_store_counts counts = kith_store_counts(own.store);
    verify(&own, counts.rows, counts.chunks);
    must_close(&own);
    remove_tree(own.dir);
}

/* Bit rot: a get says so, a put of the same chunk mends it. */
static void test_rot_is_found_and_mended(void **state)
{
    struct place *place = *state;
    char path[256];
    struct kith_store_verdict verdict;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(put_chunk(place, 1, 200000), KITH_OK);
    for (uint32_t i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/chunks/%06u.seg", place->dir, i);
        int fd = open(path, O_RDWR);
        if (fd >= 0) {
            assert_int_equal(pwrite(fd, "\xff\x00", 2, 1234), 2);
            close(fd);
        }
    }
    assert_int_equal(check_chunk(place, 1, 200000), KITH_ECORRUPT);
    release_results(place);
    assert_int_equal(kith_store_verify(place->store, true, &verdict, &error), KITH_OK);
    assert_int_equal(verdict.corrupt_chunks, 1);
    assert_int_equal(put_chunk(place, 1, 200000), KITH_OK);
    assert_int_equal(check_chunk(place, 1, 200000), KITH_OK);
    verify(place, 0, 1);
}

/* ---- Random operations, many at once ---- */

static void random_round(struct place *place, uint32_t *seed)
{
    enum { OPS = 200 };
    static struct kith_put_update updates[OPS][3];
    static char names[OPS][3][8];
    static char values[OPS][64];
    static struct kith_chunk_id refs[OPS][2];
    release_results(place);
    uint32_t expected = 0;
    for (uint32_t i = 0; i < OPS; i++) {
        *seed = *seed * 1103515245u + 12345u;
        uint32_t random = *seed >> 8;
        uint32_t count = 1 + random % 3;
        snprintf(values[i], sizeof values[i], "value %u", random);
        for (uint32_t j = 0; j < count; j++) {
            snprintf(names[i][j], sizeof names[i][j], "%u", (random / 7 + j) % 20);
            updates[i][j] = update_of(names[i][j], values[i]);
            refs[i][0] = chunk_id(random % 50);
            refs[i][1] = chunk_id(random % 13);
            updates[i][j].refs = refs[i];
            updates[i][j].ref_count = random % 5 == 0 ? 2 : 0;
            updates[i][j].has_sibling = random % 4 != 0;
        }
        if (random % 17 == 0) {
            updates[i][count - 1].context = kith_bytes_make("bad", 3);
        }
        struct kith_store_op op = put_op(random % 40, updates[i], count);
        op.durability = random % 31 == 0 ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
        expected += op.durability == KITH_DURABLE_DISK && random % 17 != 0 ? 2 : 1;
        submit(place, &op);
    }
    kith_store_kick(place->store);
    for (uint32_t i = 0; i < expected; i++) {
        const struct kith_store_done *done = next_done(place);
        assert_true(done->err == KITH_OK || done->err == KITH_EFORMAT);
    }
}

static void test_random(void **state)
{
    struct place *place = *state;
    uint32_t seed = 42;
    for (uint32_t i = 0; i < 10; i++) {
        random_round(place, &seed);
    }
    struct kith_store_counts counts = kith_store_counts(place->store);
    assert_true(counts.rows > 300);
    verify(place, counts.rows, 0);
    must_close(place);
    must_open(place);
    verify(place, counts.rows, 0);
}

/* ---- What goes wrong ---- */

static void test_second_open_refused(void **state)
{
    struct place *place = *state;
    struct place other = *place;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(place_open(&other, &error), KITH_EBUSY);
    assert_non_null(strstr(error.message, place->dir));
    assert_non_null(strstr(error.message, "in use by another kithd"));
}

static void test_damaged_file(void **state)
{
    struct place *place = *state;
    struct kith_error error = {KITH_OK, ""};
    char path[256];
    put_text(place, 1, "a", "b");
    must_close(place);
    snprintf(path, sizeof path, "%s/wt/rows.wt", place->dir);
    int fd = open(path, O_RDWR);
    char junk[16384];
    memset(junk, 0x5a, sizeof junk);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk);
    close(fd);
    enum kith_err err = place_open(place, &error);
    assert_int_equal(err, KITH_ECORRUPT);
    assert_non_null(strstr(error.message, place->dir));
    assert_non_null(strstr(error.message, "backup"));
    snprintf(path, sizeof path, "%s/wt/WiredTiger.turtle", place->dir);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, junk, 100), 100);
    close(fd);
    assert_int_equal(place_open(place, &error), KITH_ECORRUPT);
}

static void test_bad_paths(void **state)
{
    struct place *place = *state;
    struct place other;
    struct kith_error error = {KITH_OK, ""};
    memset(&other, 0, sizeof other);
    snprintf(other.dir, sizeof other.dir, "%.64s/lock", place->dir); /* a file */
    assert_int_equal(place_open(&other, &error), KITH_EINVAL);
    assert_non_null(strstr(error.message, other.dir));
    snprintf(other.dir, sizeof other.dir, "/proc/nothing/here");
    assert_int_not_equal(place_open(&other, &error), KITH_OK);
    assert_non_null(strstr(error.message, other.dir));
}

static void test_read_only(void **state)
{
    struct place *place = *state;
    struct kith_error error = {KITH_OK, ""};
    must_close(place);
    if (mount(place->dir, place->dir, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, place->dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0) {
        skip(); /* not root */
    }
    enum kith_err err = place_open(place, &error);
    assert_int_equal(umount(place->dir), 0);
    assert_int_equal(err, KITH_EROFS);
    assert_non_null(strstr(error.message, place->dir));
    must_open(place);
}

/* On a disk that fills up: ENOSPC for each write that does not fit, nothing acknowledged is lost, reads
 * go on, deletes are taken, and writes again when there is room. */
static void test_full_disk(void **state)
{
    (void)state;
    struct place own;
    char text[32];
    char path[256];
    place_init(&own);
    if (mount("none", own.dir, "tmpfs", 0, "size=64m") != 0) {
        skip(); /* not root */
    }
    must_open(&own);
    put_text(&own, 1, "first", "value");
    uint32_t stored = 0;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && stored < 100) {
        err = put_chunk(&own, stored, 1u << 20);
        stored += err == KITH_OK ? 1 : 0;
    }
    assert_int_equal(err, KITH_ENOSPC);
    assert_true(stored > 20);
    struct kith_put_update update = update_of("second", "value");
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(&own, &op)->err, KITH_ENOSPC);
    assert_int_equal(siblings_of(&own, 1, "first", text), 1);
    update = update_of("first", "");
    update.has_sibling = false;
    op = put_op(1, &update, 1);
    assert_int_equal(ask(&own, &op)->err, KITH_OK);
    verify(&own, 1, stored);
    must_close(&own);
    must_open(&own);
    for (uint32_t i = 0; i < stored; i++) {
        assert_int_equal(check_chunk(&own, i, 1u << 20), KITH_OK);
    }
    release_results(&own);
    assert_false(own.fatal);
    snprintf(path, sizeof path, "size=128m");
    assert_int_equal(mount("none", own.dir, "tmpfs", MS_REMOUNT, path), 0);
    put_text(&own, 1, "second", "value");
    must_close(&own);
    umount(own.dir);
    remove_tree(own.dir);
}

int main(void)
{
    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] = (uint8_t)(i * 37 + 11);
    }
    kith_log_set_level(KITH_LOG_ERROR);
    const struct CMUnitTest crashes[] = {
        cmocka_unit_test(test_lost_tail_leaves_the_index),
        cmocka_unit_test(test_full_disk),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_duplicate_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_is_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_completes_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_bad_checksum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rot_is_found_and_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_open_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
    };
    const struct CMUnitTest kills[] = {cmocka_unit_test(test_kill_keeps_acknowledged)};
    int failed = cmocka_run_group_tests_name("kills", kills, NULL, NULL);
    failed += cmocka_run_group_tests_name("crashes", crashes, NULL, NULL);
    failed += cmocka_run_group_tests_name("operations", tests, NULL, NULL);
    return failed;
}
