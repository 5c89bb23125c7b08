/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir_fill.c - fills directories of a filesystem with empty files, faster than a mount can.
 *
 *     dir_fill SERVERS COUNT PATH...      COUNT files f0000000, f0000001, ... in each directory
 *     dir_fill --ask SERVERS COUNT PATH   asks for ASKED of them, in no order and one after the other,
 *                                         as a mount asks for a name that it does not know; prints
 *                                         how many there were a second
 *
 * Puts the rows that a mount would put, in batches of KITH_BATCH_MAX with FLIGHT of them under way,
 * so that a directory of a million names is there in a minute instead of in ten. The directories
 * are there, and nothing has one of the names: the puts have no context. PATH is from the root of
 * the filesystem; no part of it may be a symbolic link. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "client/client.h"
#include "format/inode_format.h"
#include "format/rowname.h"

#define SERVERS_MAX 8u
#define FLIGHT      16u /* batches under way: more only wait for each other at the owners */
#define NAME_SIZE   16u
#define ASKED       20000u

static struct kith_client *client;

static struct {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t ended;
    uint32_t flying;
    enum kith_err err; /* the first that failed */
} state = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, KITH_OK};

static void fail(const char *what, enum kith_err err)
{
    (void)fprintf(stderr, "dir_fill: %s: %s\n", what, kith_err_text((int)err));
    exit(1);
}

static void on_done(void *arg, const struct kith_client_result *result)
{
    (void)arg;
    pthread_mutex_lock(&state.lock);
    state.flying--;
    state.err = state.err == KITH_OK ? result->err : state.err;
    pthread_cond_signal(&state.ended);
    pthread_mutex_unlock(&state.lock);
}

/* Until at most so many are under way. */
static void await(uint32_t most)
{
    pthread_mutex_lock(&state.lock);
    while (state.flying > most) {
        pthread_cond_wait(&state.ended, &state.lock);
    }
    enum kith_err err = state.err;
    pthread_mutex_unlock(&state.lock);
    if (err != KITH_OK) {
        fail("a put failed", err);
    }
}

/* Goes from a directory to one in it. */
static void enter(struct kith_group *group, const char *name)
{
    struct kith_rowname row;
    struct kith_client_answer answer;
    struct kith_inode_record record;
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    kith_rowname_entry(kith_bytes_make(name, strlen(name)), &row);
    struct kith_bytes bytes = kith_rowname_bytes(&row);
    op.u.get.group = *group;
    op.u.get.names = &bytes;
    op.u.get.name_count = 1;
    enum kith_err err = kith_client_call(client, &op, &answer);
    const struct kith_sibling *winner =
        err == KITH_OK ? kith_row_winner(&answer.result.u.rows.rows[0].row) : NULL;
    if (err == KITH_OK) {
        err = winner == NULL
                  ? KITH_ENOTFOUND
                  : kith_inode_record_decode(&answer.arena, winner->value, &record);
    }
    if (err == KITH_OK && record.type != KITH_TYPE_DIR) {
        err = KITH_EINVAL;
    }
    if (err != KITH_OK) {
        fail(name, err);
    }
    *group = kith_group_make(KITH_VOLUME_FS, record.dir_id);
    kith_client_answer_release(&answer);
}

/* Distinct: an odd factor, and a random start. */
static uint64_t next_id(void)
{
    static uint64_t base, number;
    while (base == 0) {
        if (getrandom(&base, sizeof base, 0) != (ssize_t)sizeof base) {
            fail("random bits", KITH_EIO);
        }
    }
    return base + ++number * UINT64_C(0x9e3779b97f4a7c15);
}

static void put_batch(const struct kith_group *group, uint32_t first, uint32_t count)
{
    static char names[KITH_BATCH_MAX][NAME_SIZE];
    static struct kith_put_update updates[KITH_BATCH_MAX];
    struct kith_arena arena;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const struct kith_time time = {now.tv_sec, (uint32_t)now.tv_nsec};
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_inode_record record;
        struct kith_buf buf;
        kith_buf_init(&buf);
        memset(&record, 0, sizeof record);
        record.type = KITH_TYPE_FILE;
        record.file_id = next_id();
        record.btime = time;
        record.attrs.have = KITH_ATTR_ALL;
        record.attrs.mode = 0644;
        record.attrs.atime = record.attrs.mtime = time;
        record.attrs.mode_stamp = record.attrs.owner_stamp = record.attrs.atime_stamp = time;
        record.attrs.mtime_stamp = record.attrs.xattrs_stamp = time;
        kith_inode_record_encode(&record, &buf);
        void *value = buf.failed ? NULL : kith_arena_copy(&arena, buf.data, buf.size);
        if (value == NULL) {
            fail("a row", KITH_ENOMEM);
        }
        int size = snprintf(names[i], NAME_SIZE, "f%07u", first + i);
        memset(&updates[i], 0, sizeof updates[i]);
        updates[i].name = kith_bytes_make(names[i], (size_t)size);
        updates[i].has_sibling = true;
        updates[i].kind = KITH_SIBLING_VALUE;
        updates[i].value = kith_bytes_make(value, buf.size);
        kith_buf_release(&buf);
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = 60000};
    op.u.put.group = *group;
    op.u.put.durability = KITH_DURABLE_OS;
    op.u.put.updates = updates;
    op.u.put.update_count = count;
    await(FLIGHT - 1);
    pthread_mutex_lock(&state.lock);
    state.flying++;
    pthread_mutex_unlock(&state.lock);
    enum kith_err err = kith_client_submit(client, &op, on_done, NULL);
    if (err != KITH_OK) {
        fail("a put", err);
    }
    kith_arena_release(&arena);
}

/* A LOOKUP: the row of a name with the attributes beside it, from a quorum. */
static void ask_one(const struct kith_group *group, uint32_t number)
{
    char name[NAME_SIZE];
    struct kith_rowname row, attr;
    struct kith_client_answer answer;
    int size = snprintf(name, sizeof name, "f%07u", number);
    kith_rowname_entry(kith_bytes_make(name, (size_t)size), &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = *group;
    op.u.get.names = names;
    op.u.get.name_count = 2;
    enum kith_err err = kith_client_call(client, &op, &answer);
    if (err == KITH_OK && kith_row_winner(&answer.result.u.rows.rows[0].row) == NULL) {
        err = KITH_ENOTFOUND;
    }
    if (err != KITH_OK) {
        fail(name, err);
    }
    kith_client_answer_release(&answer);
}

static void ask_many(const struct kith_group *group, uint32_t count)
{
    uint64_t random = 88172645463325252u; /* xorshift64 */
    struct timespec start, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint32_t i = 0; i < ASKED; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        ask_one(group, (uint32_t)(random % count));
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) +
                     (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf("lookup_asked %.4g op/s\n", ASKED / seconds);
}

int main(int argc, char **argv)
{
    const char *servers[SERVERS_MAX];
    const bool asks = argc == 5 && strcmp(argv[1], "--ask") == 0;
    if (asks) {
        argv[1] = argv[0];
        argv++, argc--;
    }
    struct kith_client_options options = {.servers = servers, .writer = "dir_fill"};
    struct kith_error error;
    uint32_t count = argc >= 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (count == 0) {
        (void)fprintf(stderr, "dir_fill [--ask] SERVERS COUNT PATH...\n");
        return 2;
    }
    for (char *at = strtok(argv[1], ","); at != NULL && options.server_count < SERVERS_MAX;
         at = strtok(NULL, ",")) {
        servers[options.server_count++] = at;
    }
    enum kith_err err = kith_client_open(&options, &client, &error);
    if (err != KITH_OK) {
        fail("the cluster cannot be reached", err);
    }
    for (int i = 3; i < argc; i++) {
        static const uint8_t root[KITH_DIR_ID_SIZE];
        struct kith_group group = kith_group_make(KITH_VOLUME_FS, root);
        for (char *part = strtok(argv[i], "/"); part != NULL; part = strtok(NULL, "/")) {
            enter(&group, part);
        }
        if (asks) {
            ask_many(&group, count);
        }
        for (uint32_t first = 0; first < count && !asks; first += KITH_BATCH_MAX) {
            put_batch(&group, first,
                      count - first < KITH_BATCH_MAX ? count - first : KITH_BATCH_MAX);
        }
    }
    await(0);
    kith_client_close(client);
    return 0;
}
