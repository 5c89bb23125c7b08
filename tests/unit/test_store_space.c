/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The store on small disks that are filled as fast as it takes writes: rows of all sizes, written
 * again, deleted; chunks; the node's records. However full the disk, a write is either there or
 * refused with ENOSPC, the store never gives up, and small things still go. Needs root, for the
 * disks.
 *
 * KITH_SPACE_SEEDS=N: N rounds of each disk with other seeds, from KITH_SPACE_FIRST on;
 * KITH_SPACE_MS: how long each goes on; KITH_SPACE_TEST: this test alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include "store_place.h"

/* A store that has given up leaves WiredTiger's threads behind, see store_wt.h. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_thread_leaks=0";
}

#define KEYS_MAX    20000u
#define FLIGHTS     96u
#define CONTEXT_MAX 64u /* a clock of one entry */
#define CHUNKS_MAX  20000u
#define FILL_MS     60000u /* at most; with sanitizers it takes ten seconds */

struct disk {
    uint32_t mib, cache_mib;
    uint32_t value_min, value_max; /* bytes */
    uint32_t keys;
    uint32_t chunk_percent, delete_percent;
    uint32_t chunk_bytes;
    bool fills; /* all of it, sooner or later */
};

enum what { PUT, DELETE, META, CHUNK };
enum { CHUNK_MISSING, CHUNK_STORED, CHUNK_UNCERTAIN };

struct key { /* one operation at a time */
    uint8_t context[CONTEXT_MAX];
    uint32_t context_size;
    uint32_t version; /* acknowledged; 0: none, or deleted */
    uint32_t value_size;
    bool uncertain; /* the store failed under a write, which may be there: this one */
    uint32_t other_version, other_size;
    bool busy;
};

struct flight {
    bool used;
    enum what what;
    uint32_t key, version; /* CHUNK: key is its number */
    char name[16];
    struct kith_bytes name_bytes;
    struct kith_put_update update;
    struct kith_blob *blob;
    uint8_t value[KITH_INLINE_VALUE_MAX];
};

struct run {
    const struct disk *disk;
    struct kith_store *store;
    pthread_mutex_t lock;
    pthread_cond_t ended; /* lock protects all below */
    atomic_bool fatal;    /* also read without lock */
    char fatal_message[400];
    uint32_t under_way;
    struct key keys[KEYS_MAX];
    uint8_t chunks[CHUNKS_MAX]; /* enum; refused ones are missing */
    uint32_t chunk_count;
    struct flight flights[FLIGHTS];
    uint32_t taken[4], refused[4], taken_after[4]; /* [what]; after the first refusal of a value */
    uint32_t other_errors;
    char other_message[300];
    uint32_t meta_version; /* acknowledged */
    uint32_t meta_other;   /* the store failed under it */
    uint64_t random;
};

static uint32_t draw(struct run *run, uint32_t below)
{
    run->random = run->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return below == 0 ? 0 : (uint32_t)(run->random >> 33) % below;
}

static void fill_value(uint8_t *value, uint32_t size, uint32_t key, uint32_t version)
{
    uint64_t x = ((uint64_t)key << 32 | version) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (uint32_t i = 0; i + 8 <= size; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(value + i, &x, 8);
    }
    memset(value + size / 8 * 8, (int)(version & 0x7f), size % 8);
}

static void note_put(struct run *run, struct flight *flight, const struct kith_store_done *done)
{
    struct key *key = &run->keys[flight->key];
    struct kith_clock_entry entry = {done->u.put.rows[0].dot.actor,
                                     done->u.put.rows[0].dot.counter};
    struct kith_row row = {.clock = {1, &entry}};
    if (kith_row_encoded_size(&row) > CONTEXT_MAX) {
        abort();
    }
    key->context_size = (uint32_t)(kith_row_write(&row, key->context) - key->context);
    key->version = flight->what == DELETE ? 0 : flight->version;
    key->value_size = (uint32_t)flight->update.value.size;
}

static void note_done(struct run *run, struct flight *flight, const struct kith_store_done *done)
{
    bool full = run->refused[PUT] + run->refused[CHUNK] > 0;
    if (done->err == KITH_OK) {
        run->taken[flight->what]++;
        run->taken_after[flight->what] += full ? 1 : 0;
        if (flight->what == CHUNK) {
            run->chunks[flight->key] = CHUNK_STORED;
        } else if (flight->what == META) {
            run->meta_version = flight->version;
        } else {
            note_put(run, flight, done);
        }
    } else if (done->err == KITH_ENOSPC && strstr(done->message, "the disk is full") != NULL) {
        run->refused[flight->what]++;
    } else {
        if (flight->what == META) {
            run->meta_other = flight->version;
        } else if (flight->what != CHUNK) {
            struct key *key = &run->keys[flight->key];
            key->uncertain = true;
            key->other_version = flight->version;
            key->other_size = (uint32_t)flight->update.value.size;
        } else {
            run->chunks[flight->key] = CHUNK_UNCERTAIN;
        }
        run->other_errors++;
        snprintf(run->other_message, sizeof run->other_message, "%s: %s",
                 kith_err_text((int)done->err), done->message);
    }
    if (flight->what == CHUNK) {
        kith_blob_drop(flight->blob);
    } else if (flight->what != META) {
        run->keys[flight->key].busy = false;
    }
    flight->used = false;
    run->under_way--;
}

static void run_completed(void *arg, struct kith_store_results *results)
{
    struct run *run = arg;
    pthread_mutex_lock(&run->lock);
    for (uint32_t i = 0; i < results->count; i++) {
        note_done(run, &run->flights[results->dones[i].id], &results->dones[i]);
    }
    pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
    kith_store_results_free(results);
}

static void run_fatal(void *arg, const char *message)
{
    struct run *run = arg;
    pthread_mutex_lock(&run->lock);
    snprintf(run->fatal_message, sizeof run->fatal_message, "%s", message);
    run->fatal = true;
    pthread_mutex_unlock(&run->lock);
}

static void run_open(struct run *run, const char *dir)
{
    static uint64_t runs = 0x777;
    struct kith_error error = {KITH_OK, ""};
    struct kith_store_options options = {.path = dir,
                                         .arg = run,
                                         .completed = run_completed,
                                         .fatal = run_fatal,
                                         .cache_bytes = (uint64_t)run->disk->cache_mib << 20,
                                         .run = ++runs * UINT64_C(0x9e3779b97f4a7c15)};
    if (kith_store_open(&options, &run->store, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(
        kith_store_configure(run->store, kith_bytes_make(secret, sizeof secret), PARTITIONS),
        KITH_OK);
}

/* ---- Operations ---- */

static struct kith_store_op row_base(struct flight *flight, enum kith_store_kind kind)
{
    struct kith_store_op op = {.kind = kind};
    snprintf(flight->name, sizeof flight->name, "row%u", flight->key);
    flight->name_bytes = kith_bytes_make(flight->name, strlen(flight->name));
    op.u.put.group = group_of(flight->key / 3);
    op.partition = kith_group_partition(&op.u.put.group, PARTITIONS);
    return op;
}

/* lock held. */
static struct kith_store_op make_row(struct run *run, struct flight *flight)
{
    struct key *key = &run->keys[flight->key];
    struct kith_store_op op = row_base(flight, KITH_STORE_PUT);
    const struct disk *disk = run->disk;
    uint32_t size = disk->value_min + draw(run, disk->value_max - disk->value_min + 1);
    key->busy = true;
    flight->version = flight->what == DELETE ? 0 : 1 + draw(run, 1u << 30);
    memset(&flight->update, 0, sizeof flight->update);
    flight->update.name = flight->name_bytes;
    flight->update.context = kith_bytes_make(key->context, key->context_size);
    if (flight->what == PUT) {
        fill_value(flight->value, size, flight->key, flight->version);
        flight->update.has_sibling = true;
        flight->update.value = kith_bytes_make(flight->value, size);
    }
    op.u.put.request = next_request();
    op.u.put.writer = kith_bytes_make("me@here", 7);
    op.u.put.time = sequence << 16;
    op.u.put.wall_ms = 1000;
    op.u.put.update_count = 1;
    op.u.put.updates = &flight->update;
    return op;
}

static struct kith_store_op make_other(struct run *run, struct flight *flight)
{
    if (flight->what == META) {
        struct kith_store_op op = {.kind = KITH_STORE_META_PUT};
        flight->version = 1 + draw(run, 1u << 30);
        memcpy(flight->value, &flight->version, sizeof flight->version);
        op.u.meta.key = KITH_META_DECIDE;
        op.u.meta.value = kith_bytes_make(flight->value, 2000);
        return op;
    }
    flight->key = run->chunk_count++;
    flight->blob = chunk_blob(flight->key, run->disk->chunk_bytes);
    return chunk_op(flight->key, flight->blob);
}

/* Chooses what to do next; false: everything that could be chosen is under way. lock held. */
static bool choose(struct run *run, struct flight *flight)
{
    const struct disk *disk = run->disk;
    uint32_t dice = draw(run, 1000);
    if (dice < 2) {
        for (uint32_t i = 0; i < FLIGHTS; i++) { /* one at a time, so that the last one is known */
            if (run->flights[i].used && run->flights[i].what == META) {
                return false;
            }
        }
        flight->what = META;
        return true;
    }
    dice = draw(run, 100);
    if (dice < disk->chunk_percent && run->chunk_count < CHUNKS_MAX) {
        flight->what = CHUNK;
        return true;
    }
    flight->key = draw(run, disk->keys);
    if (run->keys[flight->key].busy) {
        return false;
    }
    flight->what =
        draw(run, 100) < disk->delete_percent && run->keys[flight->key].version != 0 ? DELETE : PUT;
    return true;
}

static void submit_one(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    while (run->under_way == FLIGHTS) {
        kith_store_kick(run->store);
        pthread_cond_wait(&run->ended, &run->lock);
    }
    uint32_t slot = 0;
    while (run->flights[slot].used) {
        slot++;
    }
    struct flight *flight = &run->flights[slot];
    if (!choose(run, flight)) {
        pthread_mutex_unlock(&run->lock);
        return;
    }
    struct kith_store_op op = flight->what == PUT || flight->what == DELETE
                                  ? make_row(run, flight)
                                  : make_other(run, flight);
    op.id = slot;
    flight->used = true;
    run->under_way++;
    pthread_mutex_unlock(&run->lock);
    assert_int_equal(kith_store_submit(run->store, &op, NULL), KITH_OK);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* An engine that gave up may not end what it was asked. */
static void wait_all(struct run *run)
{
    kith_store_kick(run->store);
    uint64_t since = 0;
    pthread_mutex_lock(&run->lock);
    while (run->under_way > 0 && (since == 0 || now_ms() - since < 3000)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        (void)pthread_cond_timedwait(&run->ended, &run->lock, &until);
        since = since == 0 && run->fatal ? now_ms() : since;
    }
    pthread_mutex_unlock(&run->lock);
}

/* ---- What must be there ---- */

struct check {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct kith_store_results *results;
};

static bool row_is(const struct kith_row *row, bool there, const uint8_t *value, uint32_t size)
{
    return there ? row->sibling_count == 1 && row->siblings[0].value.size == size &&
                       memcmp(row->siblings[0].value.data, value, size) == 0
                 : row->sibling_count == 0;
}

static void check_row(struct run *run, uint32_t number, struct kith_bytes state)
{
    static uint8_t value[KITH_INLINE_VALUE_MAX];
    struct key *key = &run->keys[number];
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_row_decode(&arena, state, &row), KITH_OK);
    assert_true(row.sibling_count <= 1);
    uint32_t size = key->value_size;
    fill_value(value, size, number, key->version);
    if (key->uncertain && !row_is(&row, key->version != 0, value, size)) {
        key->version = key->other_version;
        size = key->other_size;
        fill_value(value, size, number, key->version);
    }
    if (!row_is(&row, key->version != 0, value, size)) {
        fail_msg("row %u is not what was acknowledged", number);
    }
    kith_arena_release(&arena);
}

/* After closing and opening again: all that was acknowledged, and nothing that was refused. */
static void check_all(struct run *run, const char *dir)
{
    struct place place;
    struct kith_error error = {KITH_OK, ""};
    memset(&place, 0, sizeof place);
    snprintf(place.dir, sizeof place.dir, "%s", dir);
    pthread_mutex_init(&place.lock, NULL);
    pthread_cond_init(&place.more, NULL);
    if (place_open(&place, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    struct kith_start start;
    memset(&start, 0, sizeof start);
    kith_store_start(place.store, &start);
    if (run->meta_version != 0) {
        assert_int_equal(start.meta[KITH_META_DECIDE].size, 2000);
        uint32_t found;
        memcpy(&found, start.meta[KITH_META_DECIDE].data, sizeof found);
        assert_true(found == run->meta_version || (found == run->meta_other && found != 0));
    }
    for (uint32_t i = 0; i < run->disk->keys; i++) {
        struct flight flight = {.key = i};
        struct kith_store_op op = row_base(&flight, KITH_STORE_GET);
        op.u.get.group = op.u.put.group;
        op.u.get.name_count = 1;
        op.u.get.names = &flight.name_bytes;
        op.u.get.digest = false;
        const struct kith_store_done *done = ask(&place, &op);
        assert_int_equal(done->err, KITH_OK);
        check_row(run, i, done->u.rows.rows[0].state);
    }
    for (uint32_t i = 0; i < run->chunk_count; i++) {
        enum kith_err err = check_chunk(&place, i, run->disk->chunk_bytes);
        if (run->chunks[i] != CHUNK_UNCERTAIN) {
            assert_int_equal(err, run->chunks[i] == CHUNK_STORED ? KITH_OK : KITH_ENOTFOUND);
        }
    }
    struct kith_store_counts counts = kith_store_counts(place.store);
    verify(&place, counts.rows, counts.chunks);
    must_close(&place);
}

static uint32_t env_number(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : (uint32_t)strtoul(text, NULL, 10);
}

/* Goes on for some time after the first write was refused. */
static void fill(struct run *run)
{
    const uint64_t span = env_number("KITH_SPACE_MS", 300);
    uint64_t end = now_ms() + (run->disk->fills ? FILL_MS : 2 * span);
    for (bool full = false; now_ms() < end && !run->fatal;) {
        for (uint32_t i = 0; i < 100; i++) {
            submit_one(run);
        }
        pthread_mutex_lock(&run->lock);
        if (!full && run->refused[PUT] + run->refused[CHUNK] > 0) {
            full = true;
            end = now_ms() + span;
        }
        pthread_mutex_unlock(&run->lock);
    }
}

static struct run *begin(const struct disk *disk, uint64_t seed, const char *dir)
{
    char text[64];
    snprintf(text, sizeof text, "size=%um", disk->mib);
    assert_int_equal(mount("none", dir, "tmpfs", 0, text), 0);
    struct run *run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                           -1, 0); /* zeros; a child of ours may fill it in */
    assert_true(run != MAP_FAILED);
    run->disk = disk;
    run->random = seed * UINT64_C(0x9e3779b97f4a7c15);
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->ended, NULL);
    return run;
}

static void finish(struct run *run, const char *dir)
{
    assert_int_equal(munmap(run, sizeof *run), 0);
    assert_int_equal(umount(dir), 0);
}

static void tell(const struct run *run, uint64_t seed, const char *dir)
{
    const struct disk *disk = run->disk;
    struct statvfs fs;
    assert_int_equal(statvfs(dir, &fs), 0);
    print_message("seed %llu, %u MiB, cache %u, values %u to %u, %u %% chunks of %u:",
                  (unsigned long long)seed, disk->mib, disk->cache_mib, disk->value_min,
                  disk->value_max, disk->chunk_percent, disk->chunk_bytes);
    static const char *const names[] = {"puts", "deletes", "records", "chunks"};
    for (uint32_t i = 0; i < 4; i++) {
        if (run->taken[i] + run->refused[i] > 0) {
            print_message(" %s %u + %u, %u refused;", names[i], run->taken[i] - run->taken_after[i],
                          run->taken_after[i], run->refused[i]);
        }
    }
    print_message(" %llu KiB free%s%s\n", (unsigned long long)(fs.f_bavail * fs.f_frsize >> 10),
                  run->fatal ? "; gave up: " : "", run->fatal_message);
}

static void fill_disk(const struct disk *disk, uint64_t seed, const char *dir)
{
    struct run *run = begin(disk, seed, dir);
    run_open(run, dir);
    fill(run);
    wait_all(run);
    tell(run, seed, dir);
    struct kith_error error = {KITH_OK, ""};
    enum kith_err err = kith_store_close(run->store, &error);
    assert_false(run->fatal);
    if (run->other_errors > 0) {
        fail_msg("%u other errors: %s", run->other_errors, run->other_message);
    }
    if (err != KITH_OK) {
        fail_msg("%s", error.message);
    }
    if (disk->fills) {
        assert_true(run->refused[PUT] + run->refused[CHUNK] > 0);
        assert_int_equal(run->refused[META], 0);
        assert_int_equal(run->refused[DELETE], 0);
    }
    check_all(run, dir);
    finish(run, dir);
}

static const struct disk disks[] = {
    /* MiB, cache, values, keys, chunks %, deletes %, chunk bytes, fills */
    {48, 16, 60000, 60000, 2000, 0, 0, 1, true},
    {64, 16, 60000, 60000, 20000, 0, 2, 1, true},
    {64, 64, 60000, 60000, 300, 0, 20, 1, false},
    {96, 64, 100, 100, 20000, 0, 10, 1, false},
    {48, 64, 100, 9000, 10000, 0, 10, 1, true},
    {128, 64, 1000, 60000, 5000, 5, 30, 65536, true},
    {128, 16, 1000, 60000, 5000, 5, 2, 65536, true}, /* more is free than the cache, at first */
    {64, 32, 100, 20000, 3000, 20, 10, 4096, true},
    {96, 64, 100, 2000, 20000, 10, 10, 1u << 20, true},
};

static void test_fill(void **state)
{
    const char *dir = *state;
    uint32_t seeds = env_number("KITH_SPACE_SEEDS", 1);
    for (uint32_t seed = env_number("KITH_SPACE_FIRST", 1); seed <= seeds; seed++) {
        for (size_t i = 0; i < sizeof disks / sizeof disks[0]; i++) {
            fill_disk(&disks[i], seed, dir);
        }
    }
}

/* Another program takes what was free. The store may refuse everything, or give up: but then what
 * it acknowledged is there when there is room again. */
static void take_all(const char *path)
{
    static char zeros[1u << 16];
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    size_t size = sizeof zeros;
    while (size >= 512) {
        ssize_t put = write(fd, zeros, size);
        size = put < 0 ? size / 2 : size;
    }
    close(fd);
}

static void steal(struct run *run, uint64_t seed, const char *dir, const char *path)
{
    run_open(run, dir);
    uint64_t end = now_ms() + 100 + seed * 37 % 150;
    while (now_ms() < end) {
        submit_one(run);
    }
    kith_store_kick(run->store);
    take_all(path);
    end = now_ms() + env_number("KITH_SPACE_MS", 300);
    while (now_ms() < end && !run->fatal) {
        submit_one(run);
    }
    wait_all(run);
    assert_int_equal(unlink(path), 0);
    enum kith_err err = kith_store_close(run->store, NULL);
    assert_true(err == KITH_OK || run->fatal);
    if (run->other_errors > 0 && !run->fatal) {
        fail_msg("%u other errors: %s", run->other_errors, run->other_message);
    }
}

/* In a process of its own, for it ends with a store that has given up. */
static void steal_disk(const struct disk *disk, uint64_t seed, const char *dir)
{
    char path[128];
    struct run *run = begin(disk, seed, dir);
    snprintf(path, sizeof path, "%s/taken", dir);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct kith_error error;
        enum kith_err err = kith_log_open("/dev/null", &error); /* it says much about its end */
        steal(run, seed, dir, path);
        _exit(err == KITH_OK ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    tell(run, seed, dir);
    if (run->fatal) {
        assert_non_null(strstr(run->fatal_message, dir));
        assert_non_null(strstr(run->fatal_message, "the disk is full"));
    }
    check_all(run, dir);
    finish(run, dir);
}

static void test_stolen(void **state)
{
    const char *dir = *state;
    uint32_t seeds = env_number("KITH_SPACE_SEEDS", 2);
    for (uint32_t seed = env_number("KITH_SPACE_FIRST", 1); seed <= seeds; seed++) {
        steal_disk(&disks[seed % (sizeof disks / sizeof disks[0])], seed, dir);
    }
}

static char small_dir[64] = "/tmp/test_store_space.XXXXXX";

static int make_dir(void **state)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mkdtemp(small_dir) == NULL) {
        perror("test_store_space: no mount namespace with a small disk (is / a mount point?)");
        return -1;
    }
    *state = small_dir;
    return 0;
}

static int remove_dir(void **state)
{
    return *state == NULL ? 0 : rmdir(*state);
}

int main(void)
{
    if (geteuid() != 0) {
        printf("needs root to make small disks: skipped\n");
        return 0;
    }
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_stolen),
    };
    cmocka_set_test_filter(getenv("KITH_SPACE_TEST"));
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
