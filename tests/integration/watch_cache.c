/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch_cache.c - what may be believed under watches, held against a real cluster.
 *
 *     watch_cache SERVERS SECONDS
 *
 * One client watches groups and keeps what it reads there for as long as the watch allows; another
 * one, a process of its own, writes, each row by one thread, ever greater numbers. The law of
 * client.h ("Watches"): a kept number that is less than one that was acknowledged before it was
 * looked up is soon told to be out of date, by a change or by another epoch. Somebody else hurts
 * the nodes meanwhile, or stops this process. Prints what was done; exit status 1: the law was
 * broken; 2: no test. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"

#define GROUPS     8u
#define NAMES      64u /* so many rows that a burst of writes misses some */
#define ROWS       (GROUPS * NAMES)
#define WRITERS    2u
#define READERS    2u
#define SERVERS    8u
#define OWN_PUTS   50u
#define EPOCH_RUNS 1000000u
/* A change is on its way when its put is acknowledged; longer than a lease it may not be. */
#define LATE_MS 3000u
/* All write for a while, then nobody does for longer than that: a change that was not told is not
 * made good by the next one of the same row. */
#define BURST_MS 1500u
#define REST_MS  4500u
/* The process was stopped, or a machine is too busy for this test to mean anything. */
#define STOPPED_MS 1000u

struct row {
    struct kith_group group;
    char name;
    struct kith_watch *watch;
    _Atomic(uint64_t) changes; /* told so far */
    pthread_mutex_t lock;      /* of what is kept */
    bool kept;
    uint64_t number, epoch, change;
};

static struct {
    struct kith_client *writer, *reader; /* each NULL in the other's process */
    struct row rows[ROWS];
    _Atomic(uint64_t) own_told, told, hits, reads, late, latest_ms;
    atomic_bool broken;
} test;

/* Of both processes. */
static struct {
    _Atomic(uint64_t) acked[ROWS]; /* the number of the last put that was acknowledged */
    _Atomic(uint64_t) puts, failed;
    _Atomic(uint64_t) rest_ms; /* nobody writes before */
    atomic_bool go, stop;
} *shared;

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* xorshift64* (Vigna 2016) */
static uint64_t draw(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

static void changed(void *arg, const struct kith_bytes *names, uint32_t count)
{
    struct row *rows = arg; /* of one group */
    atomic_fetch_add(&test.told, 1);
    for (uint32_t i = 0; i < NAMES; i++) {
        bool named = count == 0;
        for (uint32_t n = 0; n < count; n++) {
            named = named || (names[n].size == 1 && *(const char *)names[n].data == rows[i].name);
        }
        if (named) {
            atomic_fetch_add(&rows[i].changes, 1);
        }
    }
    for (uint32_t n = 0; n < count; n++) {
        if (names[n].size == 3) {
            atomic_fetch_add(&test.own_told, 1);
        }
    }
}

static enum kith_err get(struct kith_client *client, const struct row *row,
                         struct kith_client_answer *answer)
{
    struct kith_bytes name = kith_bytes_make(&row->name, 1);
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = row->group;
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    return kith_client_call(client, &op, answer);
}

static enum kith_err put(struct kith_client *client, const struct kith_group *group,
                         struct kith_bytes name, struct kith_bytes context, uint64_t number)
{
    char value[32];
    int size = snprintf(value, sizeof(value), "%llu", (unsigned long long)number);
    struct kith_put_update update = {.name = name,
                                     .context = context,
                                     .has_sibling = true,
                                     .value = kith_bytes_make(value, (size_t)size)};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    struct kith_client_answer answer;
    op.u.put.group = *group;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    enum kith_err err = kith_client_call(client, &op, &answer);
    kith_client_answer_release(&answer);
    return err;
}

/* The greatest of the row's siblings; 0: there is none. */
static uint64_t number_of(const struct kith_row *row)
{
    uint64_t greatest = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        char text[32] = "";
        size_t size = row->siblings[i].value.size;
        memcpy(text, row->siblings[i].value.data, size < sizeof(text) ? size : sizeof(text) - 1);
        uint64_t number = strtoull(text, NULL, 10);
        greatest = number > greatest ? number : greatest;
    }
    return greatest;
}

static bool write_row(struct row *row, uint64_t number)
{
    struct kith_client_answer answer;
    struct kith_buf context;
    kith_buf_init(&context);
    bool ok = get(test.writer, row, &answer) == KITH_OK;
    if (ok) {
        struct kith_row old = answer.result.u.rows.rows[0].row;
        old.sibling_count = 0; /* replaces what is there */
        if (old.clock.count > 0) {
            kith_row_encode(&old, &context);
        }
        ok = put(test.writer, &row->group, kith_bytes_make(&row->name, 1), kith_buf_bytes(&context),
                 number) == KITH_OK;
    }
    kith_client_answer_release(&answer);
    kith_buf_release(&context);
    return ok;
}

static void *writer_main(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;
    uint64_t random = mine + 1;
    for (uint64_t number = 1; !atomic_load(&shared->stop); number++) {
        uint32_t at = (uint32_t)(draw(&random) % (ROWS / WRITERS) * WRITERS) + mine;
        if (write_row(&test.rows[at], number)) {
            atomic_store(&shared->acked[at], number);
            atomic_fetch_add(&shared->puts, 1);
        } else {
            atomic_fetch_add(&shared->failed, 1);
        }
        (void)usleep((useconds_t)(draw(&random) % 2000)); /* so that something stays true a while */
        while (!atomic_load(&shared->stop) &&
               (now_ms() % (BURST_MS + REST_MS) >= BURST_MS ||
                now_ms() < atomic_load(&shared->rest_ms))) {
            (void)usleep(10000);
        }
    }
    return NULL;
}

/* The kept number is behind: it must soon be told so. */
static void await_word(struct row *row, uint64_t epoch, uint64_t change, uint64_t kept,
                       uint64_t acked)
{
    uint64_t start = now_ms();
    uint64_t late_ms = 0;
    while (kith_watch_epoch(row->watch) == epoch && atomic_load(&row->changes) == change) {
        if (late_ms > LATE_MS) {
            printf("row %c of group %u: %llu was believed after %llu was acknowledged\n", row->name,
                   row->group.bytes[1], (unsigned long long)kept, (unsigned long long)acked);
            atomic_store(&test.broken, true);
            atomic_store(&shared->stop, true);
            return;
        }
        (void)usleep(100);
        late_ms = now_ms() - start; /* asked once more after it: this process may be stopped */
    }
    atomic_fetch_add(&test.late, 1);
    uint64_t latest = atomic_load(&test.latest_ms);
    while (late_ms > latest &&
           !atomic_compare_exchange_weak(&test.latest_ms, &latest, late_ms)) {
    }
}

static void read_row(struct row *row, uint64_t epoch, uint64_t change)
{
    struct kith_client_answer answer;
    if (get(test.reader, row, &answer) == KITH_OK && epoch != 0) {
        (void)pthread_mutex_lock(&row->lock);
        if (kith_watch_epoch(row->watch) == epoch && atomic_load(&row->changes) == change) {
            row->kept = true;
            row->number = number_of(&answer.result.u.rows.rows[0].row);
            row->epoch = epoch;
            row->change = change;
        }
        (void)pthread_mutex_unlock(&row->lock);
    }
    kith_client_answer_release(&answer);
    atomic_fetch_add(&test.reads, 1);
}

static void *reader_main(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg + 99;
    while (!atomic_load(&shared->stop)) {
        uint32_t at = (uint32_t)(draw(&random) % ROWS);
        struct row *row = &test.rows[at];
        uint64_t acked = atomic_load(&shared->acked[at]); /* before anything is looked up */
        (void)pthread_mutex_lock(&row->lock);
        bool kept = row->kept;
        uint64_t number = row->number;
        uint64_t epoch = row->epoch;
        uint64_t change = row->change;
        (void)pthread_mutex_unlock(&row->lock);
        uint64_t now = kith_watch_epoch(row->watch);
        uint64_t changes = atomic_load(&row->changes);
        if (kept && now == epoch && changes == change) {
            atomic_fetch_add(&test.hits, 1);
            if (number < acked) {
                await_word(row, epoch, change, number, acked);
            }
        } else {
            read_row(row, now, changes);
        }
        (void)usleep(50);
    }
    return NULL;
}

static struct kith_client *open_client(char *servers)
{
    const char *list[SERVERS];
    uint32_t count = 0;
    char *rest = NULL;
    char *copy = strdup(servers);
    for (char *at = strtok_r(copy, ",", &rest); at != NULL && count < SERVERS;
         at = strtok_r(NULL, ",", &rest)) {
        list[count++] = at;
    }
    struct kith_client_options options = {.server_count = count, .servers = list, .writer = "test"};
    struct kith_client *client = NULL;
    struct kith_error error;
    if (kith_client_open(&options, &client, &error) != KITH_OK) {
        (void)fprintf(stderr, "%s\n", error.message);
        exit(2);
    }
    free(copy);
    return client;
}

/* Before the processes part: both must name the same. */
static void rows_init(void)
{
    uint64_t seed = (uint64_t)getpid() << 20 | now_ms();
    for (uint32_t i = 0; i < ROWS; i++) {
        struct row *row = &test.rows[i];
        if (i % NAMES == 0) {
            uint64_t place = draw(&seed);
            row->group.bytes[0] = 0xe0;
            row->group.bytes[1] = (uint8_t)(i / NAMES);
            memcpy(row->group.bytes + 8, &place, sizeof(place));
        } else {
            row->group = row[-1].group;
        }
        row->name = (char)('0' + i % NAMES);
        (void)pthread_mutex_init(&row->lock, NULL);
    }
}

static void watch_all(void)
{
    uint64_t start = now_ms();
    for (uint32_t i = 0; i < ROWS; i++) {
        struct row *row = &test.rows[i];
        row->watch = i % NAMES == 0
                         ? kith_client_watch(test.reader, &row->group, changed, row)
                         : row[-1].watch;
        if (row->watch == NULL) {
            exit(2);
        }
    }
    for (uint32_t i = 0; i < ROWS; i += NAMES) {
        while (kith_watch_epoch(test.rows[i].watch) == 0) {
            if (now_ms() - start > 20000) {
                printf("a watch is not live after 20 s\n");
                exit(1);
            }
            (void)usleep(100);
        }
    }
    printf("live after %llu ms\n", (unsigned long long)(now_ms() - start));
}

/* On a whole cluster: what the watcher itself puts is not told to it, what others put is. */
static void own_puts(void)
{
    char name[] = "own";
    for (uint32_t i = 0; i < OWN_PUTS; i++) {
        if (put(test.reader, &test.rows[i % GROUPS * NAMES].group, kith_bytes_make(name, 3),
                kith_bytes_make(NULL, 0), i) != KITH_OK) {
            (void)fprintf(stderr, "a put failed\n");
            exit(2);
        }
    }
    atomic_store(&shared->go, true);
    uint64_t start = now_ms();
    while (atomic_load(&test.told) == 0) {
        if (now_ms() - start > BURST_MS + REST_MS + LATE_MS) {
            printf("no change was told\n");
            exit(1);
        }
        (void)usleep(100);
    }
    if (atomic_load(&test.own_told) > 0) {
        printf("%llu own changes were told\n", (unsigned long long)atomic_load(&test.own_told));
        exit(1);
    }
}

static void time_epochs(void)
{
    struct timespec from, to;
    uint64_t live = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint32_t i = 0; i < EPOCH_RUNS; i++) {
        live += kith_watch_epoch(test.rows[0].watch) != 0;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("an epoch is read in %.0f ns (%llu of %u live)\n", ns / EPOCH_RUNS,
           (unsigned long long)live, EPOCH_RUNS);
}

/* `count` threads, until `stop`. */
static void run_threads(uint32_t count, void *(*run)(void *), uint64_t end_ms)
{
    pthread_t threads[READERS + WRITERS];
    for (uint32_t i = 0; i < count; i++) {
        if (pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i) != 0) {
            exit(2);
        }
    }
    uint64_t last_ms = now_ms();
    while (last_ms < end_ms && !atomic_load(&shared->stop)) {
        (void)usleep(10000);
        if (now_ms() - last_ms > STOPPED_MS) { /* what it missed must show now */
            atomic_store(&shared->rest_ms, now_ms() + LATE_MS + STOPPED_MS);
        }
        last_ms = now_ms();
    }
    atomic_store(&shared->stop, true);
    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

static void writer_process(char *servers)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not without the other */
    test.writer = open_client(servers);
    while (!atomic_load(&shared->go)) {
        (void)usleep(1000);
    }
    run_threads(WRITERS, writer_main, UINT64_MAX);
    kith_client_close(test.writer);
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: watch_cache SERVERS SECONDS\n");
        return 2;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return 2;
    }
    rows_init();
    pid_t writer = fork();
    if (writer == 0) {
        writer_process(argv[1]);
    }
    test.reader = open_client(argv[1]);
    watch_all();
    own_puts();
    time_epochs();
    (void)fflush(stdout); /* who hurts the nodes waits for this */
    run_threads(READERS, reader_main, now_ms() + strtoull(argv[2], NULL, 10) * 1000);
    int status = 0;
    if (waitpid(writer, &status, 0) != writer || status != 0) {
        (void)fprintf(stderr, "the writer failed\n");
        return 2;
    }
    uint64_t epochs = 0;
    for (uint32_t i = 0; i < ROWS; i += NAMES) {
        uint64_t epoch = kith_watch_epoch(test.rows[i].watch);
        epochs = epoch > epochs ? epoch : epochs;
        kith_client_unwatch(test.reader, test.rows[i].watch);
    }
    kith_client_close(test.reader);
    printf("hits %llu reads %llu puts %llu failed %llu told %llu late %llu latest_ms %llu "
           "epochs %llu\n",
           (unsigned long long)test.hits, (unsigned long long)test.reads,
           (unsigned long long)shared->puts, (unsigned long long)shared->failed,
           (unsigned long long)test.told, (unsigned long long)test.late,
           (unsigned long long)test.latest_ms, (unsigned long long)epochs);
    return atomic_load(&test.broken) ? 1 : 0;
}
