/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_bench.c - what the store costs by itself: rows at `os` and `disk`, reads, merges, chunks.
 * Usage: store_bench DIR [ROWS [kv]]. Prints operations a second and CPU time (of all threads) an
 * operation. Rows lie sixteen to a group and are visited in order, as files in directories are;
 * with `kv` each has a group of its own, they are visited in no order, and a put replaces what is
 * there, as plain keys do. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "store/crypt.h"
#include "store/store_wt.h"

#define PARTITIONS  1024u
#define IN_FLIGHT   64u
#define VALUE_BYTES 1024u
#define KV_STEP     7919u /* a prime: visits every row once, and neighbours far apart */
#define CONTEXT_MAX 64u   /* a clock of one entry */

struct bench {
    struct kith_store *store;
    sem_t slots;
    uint32_t errors;
    uint8_t value[VALUE_BYTES];
    struct kith_blob *blob;
    struct kith_checksum checksum;
    bool kv;
    bool putting; /* set while nothing is under way */
    struct slot {
        char name[16];
        uint8_t context[CONTEXT_MAX]; /* kv: of the row's last put */
        struct kith_bytes name_bytes;
        struct kith_put_update update;
    } * slots_of; /* [row]: what an op points to lives as long as it */
};

/* The next put of the row replaces what this one has made. */
static void keep_context(struct bench *bench, const struct kith_store_done *done)
{
    struct slot *slot = &bench->slots_of[done->id];
    struct kith_clock_entry entry = {done->u.put.rows[0].dot.actor,
                                     done->u.put.rows[0].dot.counter};
    struct kith_row row = {.clock = {1, &entry}};
    if (kith_row_encoded_size(&row) > CONTEXT_MAX) {
        abort();
    }
    size_t size = (size_t)(kith_row_write(&row, slot->context) - slot->context);
    slot->update.context = kith_bytes_make(slot->context, size);
}

static void completed(void *arg, struct kith_store_results *results)
{
    struct bench *bench = arg;
    for (uint32_t i = 0; i < results->count; i++) {
        if (results->dones[i].err != KITH_OK) {
            __atomic_add_fetch(&bench->errors, 1, __ATOMIC_RELAXED);
        } else if (bench->kv && results->dones[i].u.put.rows != NULL && bench->putting) {
            keep_context(bench, &results->dones[i]);
        }
    }
    uint32_t ended = kith_store_results_ended(results);
    kith_store_results_free(results);
    for (uint32_t i = 0; i < ended; i++) {
        sem_post(&bench->slots);
    }
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct kith_group group_of(const struct bench *bench, uint32_t number)
{
    uint8_t own[12] = {0};
    uint32_t group = bench->kv ? number : number / 16; /* as in directories */
    memcpy(own, &group, sizeof group);
    return kith_group_make(KITH_VOLUME_FS, own);
}

static struct kith_store_op row_op(struct bench *bench, uint32_t number, enum kith_store_kind kind)
{
    static uint64_t sequence;
    struct slot *slot = &bench->slots_of[number];
    struct kith_store_op op = {.id = number, .kind = kind};
    struct kith_group group = group_of(bench, number);
    op.partition = kith_group_partition(&group, PARTITIONS);
    if (kind == KITH_STORE_GET) {
        op.u.get.group = group;
        op.u.get.name_count = 1;
        op.u.get.names = &slot->name_bytes;
        return op;
    }
    sequence++;
    op.u.put.group = group;
    memcpy(op.u.put.request.bytes, "benchben", 8);
    memcpy(op.u.put.request.bytes + 8, &sequence, 8);
    op.u.put.writer = kith_bytes_make("bench@here", 10);
    op.u.put.time = sequence;
    op.u.put.wall_ms = 1000;
    op.u.put.update_count = 1;
    op.u.put.updates = &slot->update;
    return op;
}

/* A get is of what the last puts have put. */
static struct kith_store_op chunk_op(struct bench *bench, uint32_t number, enum kith_store_kind kind)
{
    static uint32_t round;
    uint8_t random[10] = {0};
    round += number == 0 && kind == KITH_STORE_CHUNK_PUT ? 1 : 0;
    memcpy(random, &number, sizeof number);
    memcpy(random + 4, &round, sizeof round);
    struct kith_store_op op = {.id = number, .kind = kind};
    struct kith_chunk_id id = kith_chunk_id_make(KITH_VOLUME_FS, number, random);
    op.partition = kith_chunk_partition(&id, PARTITIONS);
    if (kind == KITH_STORE_CHUNK_GET) {
        op.u.chunk_get.id = id;
        return op;
    }
    op.u.chunk_put.id = id;
    op.u.chunk_put.payload = bench->blob;
    op.u.chunk_put.checksum = bench->checksum;
    return op;
}

static void run(struct bench *bench, const char *what, uint32_t count, enum kith_store_kind kind,
                enum kith_durability durability)
{
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    bench->putting = kind == KITH_STORE_PUT;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = bench->kv ? (uint32_t)((uint64_t)i * KV_STEP % count) : i;
        bool chunk = kind == KITH_STORE_CHUNK_PUT || kind == KITH_STORE_CHUNK_GET;
        struct kith_store_op op =
            chunk ? chunk_op(bench, i, kind) : row_op(bench, number, kind);
        op.durability = durability;
        while (sem_trywait(&bench->slots) != 0) { /* wake the workers only when we must wait */
            kith_store_kick(bench->store);
            sem_wait(&bench->slots);
            break;
        }
        if (kith_store_submit(bench->store, &op, NULL) != KITH_OK) {
            fprintf(stderr, "store_bench: submit failed\n");
            exit(1);
        }
    }
    kith_store_kick(bench->store);
    for (uint32_t i = 0; i < IN_FLIGHT; i++) {
        sem_wait(&bench->slots);
    }
    for (uint32_t i = 0; i < IN_FLIGHT; i++) {
        sem_post(&bench->slots);
    }
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%-24s %9.0f op/s %8.1f us CPU/op", what, count / wall, cpu / count * 1e6);
    if (kind == KITH_STORE_CHUNK_PUT || kind == KITH_STORE_CHUNK_GET) {
        printf(" %8.0f MiB/s", (double)count * (double)bench->blob->size / wall / (1 << 20));
    }
    printf("%s\n", bench->errors > 0 ? "  ERRORS" : "");
}

static void set_chunk(struct bench *bench, size_t size)
{
    kith_blob_drop(bench->blob);
    bench->blob = kith_blob_new(size);
    if (bench->blob == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < size; i++) {
        bench->blob->data[i] = (uint8_t)(i * 7 + (i >> 9));
    }
    bench->checksum = kith_checksum_of(kith_bytes_make(bench->blob->data, size));
}

static int finish(struct bench *bench)
{
    struct kith_error error = {KITH_OK, ""};
    if (kith_store_close(bench->store, &error) != KITH_OK) {
        fprintf(stderr, "store_bench: %s\n", error.message);
        return 1;
    }
    return bench->errors > 0 ? 2 : 0;
}

int main(int argc, char *argv[])
{
    static struct bench bench;
    static uint8_t secret[192];
    struct kith_error error = {KITH_OK, ""};
    if (argc < 2) {
        fprintf(stderr, "Usage: store_bench DIR [ROWS [kv|crypt]]\n");
        return 1;
    }
    uint32_t rows = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000u;
    struct kith_store_options options = {
        .path = argv[1], .run = 0x5eed, .arg = &bench, .completed = completed};
    static const struct kith_crypt_key key = {{1}};
    bench.kv = argc > 3 && strcmp(argv[3], "kv") == 0;
    options.key = argc > 3 && strcmp(argv[3], "crypt") == 0 ? &key : NULL;
    bench.slots_of = calloc(rows, sizeof *bench.slots_of);
    sem_init(&bench.slots, 0, IN_FLIGHT);
    for (uint32_t i = 0; bench.slots_of != NULL && i < rows; i++) {
        struct slot *slot = &bench.slots_of[i];
        int size = snprintf(slot->name, sizeof slot->name, "file%u", i);
        slot->name_bytes = kith_bytes_make(slot->name, (size_t)size);
        slot->update.name = slot->name_bytes;
        slot->update.has_sibling = true;
        slot->update.value = kith_bytes_make(bench.value, VALUE_BYTES);
    }
    if (bench.slots_of == NULL || kith_store_open(&options, &bench.store, &error) != KITH_OK ||
        kith_store_configure(bench.store, kith_bytes_make(secret, sizeof secret), PARTITIONS) !=
            KITH_OK) {
        fprintf(stderr, "store_bench: %s\n", error.message);
        return 1;
    }
    run(&bench, "put new 1 KiB, os", rows, KITH_STORE_PUT, KITH_DURABLE_OS);
    run(&bench, "get 1 KiB", rows, KITH_STORE_GET, KITH_DURABLE_OS);
    if (bench.kv) {
        run(&bench, "put over it, os", rows, KITH_STORE_PUT, KITH_DURABLE_OS);
        run(&bench, "put over it again, os", rows, KITH_STORE_PUT, KITH_DURABLE_OS);
        return finish(&bench);
    }
    run(&bench, "put second sibling, os", rows, KITH_STORE_PUT, KITH_DURABLE_OS);
    run(&bench, "put third, disk", rows / 4, KITH_STORE_PUT, KITH_DURABLE_DISK);
    set_chunk(&bench, 4096);
    run(&bench, "chunk put 4 KiB, os", 20000, KITH_STORE_CHUNK_PUT, KITH_DURABLE_OS);
    set_chunk(&bench, 1u << 20);
    run(&bench, "chunk put 1 MiB, os", 1000, KITH_STORE_CHUNK_PUT, KITH_DURABLE_OS);
    run(&bench, "chunk get 1 MiB", 1000, KITH_STORE_CHUNK_GET, KITH_DURABLE_OS);
    run(&bench, "chunk put 1 MiB, disk", 300, KITH_STORE_CHUNK_PUT, KITH_DURABLE_DISK);
    return finish(&bench);
}
