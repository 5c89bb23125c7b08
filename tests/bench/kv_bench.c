/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * kv_bench.c - loads the key-value path of a running cluster through the client library.
 *
 *     kv_bench --servers HOST:PORT[,...] [--pids PID[,...]] [--keys 100000] [--value 1024]
 *              [--seconds 5] [--flight 1,32] [--only put,get,mixed] [--timeout 10000]
 *              [--certs FOLDER]
 *
 * First every key is put once (the phase "load"); then put, get and 50/50, each with every number
 * in flight, over keys in an order that never has one key twice in flight. A put carries the
 * context of the last put of its key, as a writer does who has read. Latency is from submit to
 * callback. CPU seconds and memory of the nodes are read from /proc for the pids given. `max` is
 * the longest single request: the figure to look at when a node is killed or stopped meanwhile.
 *
 * One closed loop: every callback submits the next request, on the client's own thread. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/client.h"
#include "tls/identity.h"

#define LIST_MAX    16u
#define FLIGHT_MAX  1024u
#define SAMPLES_MAX (8u << 20) /* latencies of one phase; what is more is counted, not sorted */

enum work { WORK_LOAD, WORK_PUT, WORK_GET, WORK_MIXED, WORK_COUNT };
static const char *const work_names[WORK_COUNT] = {"load", "put", "get", "50/50"};

struct options {
    char *servers[LIST_MAX];
    uint32_t server_count;
    long pids[LIST_MAX];
    uint32_t pid_count;
    uint32_t flights[LIST_MAX];
    uint32_t flight_count;
    uint32_t keys, value_size, seconds, timeout_ms;
    bool only[WORK_COUNT];
    const char *certs; /* NULL: plain text */
};

struct context {
    uint8_t *data;
    size_t size;
};

struct phase;
struct slot { /* one request in flight */
    struct phase *phase;
    uint32_t key;
    bool is_put;
    uint64_t start_ns;
};

struct phase {
    struct kith_client *client;
    const struct options *options;
    enum work work;
    struct context *contexts; /* [keys]; that of a key in flight is touched by its slot only */
    const uint8_t *value;
    atomic_uint_fast64_t next; /* the next place in the order of keys */
    uint64_t limit;            /* requests; UINT64_MAX: until `until_ns` */
    uint64_t until_ns;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint32_t flying; /* protected by lock, as is all below */
    uint64_t count, errors;
    uint32_t *latencies; /* in 100 ns */
    uint64_t max_ns;
    char error[128];
    struct slot slots[FLIGHT_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Keys of a run are its own, so that it may run again on the same cluster. */
static uint32_t run_id;

static void key_name(uint32_t key, char text[32])
{
    (void)snprintf(text, 32, "%08x-%010u", run_id, key);
}

static void on_done(void *arg, const struct kith_client_result *result);

static enum kith_err submit(struct slot *slot)
{
    struct phase *phase = slot->phase;
    char text[32];
    key_name(slot->key, text);
    struct kith_bytes name = kith_bytes_make(text, strlen(text));
    struct kith_client_op op = {.timeout_ms = phase->options->timeout_ms};
    struct kith_put_update update = {.name = name, .has_sibling = true};
    if (slot->is_put) {
        const struct context *context = &phase->contexts[slot->key];
        update.value = kith_bytes_make(phase->value, phase->options->value_size);
        update.context = kith_bytes_make(context->data, context->size);
        op.kind = KITH_CLIENT_PUT;
        op.u.put.group = kith_group_of_kv(name);
        op.u.put.update_count = 1;
        op.u.put.updates = &update;
    } else {
        op.kind = KITH_CLIENT_GET;
        op.u.get.group = kith_group_of_kv(name);
        op.u.get.name_count = 1;
        op.u.get.names = &name;
    }
    slot->start_ns = now_ns();
    return kith_client_submit(phase->client, &op, on_done, slot);
}

/* Starts the slot's next request, or ends the slot. */
static void go_on(struct slot *slot)
{
    struct phase *phase = slot->phase;
    uint64_t place = atomic_fetch_add(&phase->next, 1);
    uint32_t keys = phase->options->keys;
    bool over =
        place >= phase->limit || (phase->limit == UINT64_MAX && now_ns() >= phase->until_ns);
    enum kith_err err = KITH_OK;
    if (!over) {
        /* a step that shares no factor with the number of keys (7919 and keys that are no multiple
         * of it) visits each once in a round; FLIGHT_MAX is far below a round */
        slot->key = (uint32_t)(phase->work == WORK_LOAD ? place : place * 7919 % keys);
        slot->is_put = phase->work == WORK_LOAD || phase->work == WORK_PUT ||
                       (phase->work == WORK_MIXED && place % 2 == 0);
        err = submit(slot);
    }
    if (over || err != KITH_OK) {
        (void)pthread_mutex_lock(&phase->lock);
        if (err != KITH_OK) {
            phase->errors++;
            (void)snprintf(phase->error, sizeof(phase->error), "submit: %s",
                           kith_err_text((int)err));
        }
        phase->flying--;
        (void)pthread_cond_signal(&phase->ended);
        (void)pthread_mutex_unlock(&phase->lock);
    }
}

static void keep_context(struct phase *phase, uint32_t key, struct kith_bytes bytes)
{
    struct context *context = &phase->contexts[key];
    uint8_t *data = realloc(context->data, bytes.size);
    KITH_ASSERT(data != NULL);
    memcpy(data, bytes.data, bytes.size);
    context->data = data;
    context->size = bytes.size;
}

static void on_done(void *arg, const struct kith_client_result *result)
{
    struct slot *slot = arg;
    struct phase *phase = slot->phase;
    uint64_t took_ns = now_ns() - slot->start_ns;
    bool good = result->err == KITH_OK;
    if (good && slot->is_put) {
        keep_context(phase, slot->key, result->u.put.results[0].context);
    } else if (good) {
        good = result->u.rows.rows[0].row.sibling_count == 1 &&
               result->u.rows.rows[0].row.siblings[0].value.size == phase->options->value_size;
    }
    (void)pthread_mutex_lock(&phase->lock);
    if (!good) {
        phase->errors++;
        (void)snprintf(phase->error, sizeof(phase->error), "%.120s",
                       result->err == KITH_OK ? "a get found another value" : result->message);
    }
    if (phase->count < SAMPLES_MAX) {
        uint64_t units = took_ns / 100;
        phase->latencies[phase->count] = units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
    }
    phase->count++;
    phase->max_ns = took_ns > phase->max_ns ? took_ns : phase->max_ns;
    (void)pthread_mutex_unlock(&phase->lock);
    go_on(slot);
}

/* ---- The nodes' CPU and memory ---- */

static double cpu_seconds(const struct options *options)
{
    double total = 0;
    for (uint32_t i = 0; i < options->pid_count; i++) {
        char path[64];
        unsigned long user = 0;
        unsigned long system = 0;
        (void)snprintf(path, sizeof(path), "/proc/%ld/stat", options->pids[i]);
        FILE *file = fopen(path, "r");
        if (file == NULL) {
            continue; /* a node that was killed meanwhile */
        }
        /* fields 14 and 15; the name (field 2) has no space in it */
        if (fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                   &system) == 2) {
            total += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
        }
        (void)fclose(file);
    }
    return total;
}

static double rss_mib(long pid)
{
    char path[64];
    unsigned long pages = 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/statm", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%*u %lu", &pages) != 1) {
        pages = 0;
    }
    (void)fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

/* ---- A phase ---- */

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(const struct phase *phase, uint64_t count, double fraction)
{
    return count == 0 ? 0 : phase->latencies[(uint64_t)((double)(count - 1) * fraction)] / 1e4;
}

static void report(struct phase *phase, uint32_t flight, double seconds, double cpu)
{
    uint64_t count = phase->count < SAMPLES_MAX ? phase->count : SAMPLES_MAX;
    qsort(phase->latencies, count, sizeof(phase->latencies[0]), compare_u32);
    double rss = 0;
    for (uint32_t i = 0; i < phase->options->pid_count; i++) {
        double one = rss_mib(phase->options->pids[i]);
        rss = one > rss ? one : rss;
    }
    printf("%-6s %6u %10.0f %9.3f %9.3f %9.3f %9.1f %9.3f %8.0f %8.0f %7llu\n",
           work_names[phase->work], flight, (double)phase->count / seconds,
           percentile_ms(phase, count, 0.5), percentile_ms(phase, count, 0.99),
           percentile_ms(phase, count, 0.999), (double)phase->max_ns / 1e6,
           phase->count == 0 ? 0 : cpu * 1000 / (double)phase->count, rss, rss_mib(getpid()),
           (unsigned long long)phase->errors);
    if (phase->errors > 0) {
        printf("       the last error: %s\n", phase->error);
    }
    (void)fflush(stdout);
}

static uint64_t run(struct phase *phase, enum work work, uint32_t flight)
{
    uint64_t start_ns = now_ns();
    double cpu = cpu_seconds(phase->options);
    phase->work = work;
    phase->count = phase->errors = phase->max_ns = 0;
    phase->limit = work == WORK_LOAD ? phase->options->keys : UINT64_MAX;
    phase->until_ns = start_ns + phase->options->seconds * UINT64_C(1000000000);
    atomic_store(&phase->next, 0);
    phase->flying = flight;
    for (uint32_t i = 0; i < flight; i++) {
        phase->slots[i].phase = phase;
        go_on(&phase->slots[i]);
    }
    (void)pthread_mutex_lock(&phase->lock);
    while (phase->flying > 0) {
        (void)pthread_cond_wait(&phase->ended, &phase->lock);
    }
    (void)pthread_mutex_unlock(&phase->lock);
    double seconds = (double)(now_ns() - start_ns) / 1e9;
    report(phase, flight, seconds, cpu_seconds(phase->options) - cpu);
    return phase->errors;
}

/* ---- Options ---- */

static uint32_t split(char *list, char *parts[LIST_MAX])
{
    uint32_t count = 0;
    for (char *part = strtok(list, ","); part != NULL && count < LIST_MAX;
         part = strtok(NULL, ",")) {
        parts[count++] = part;
    }
    return count;
}

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < min || value > max) {
        (void)fprintf(stderr, "kv_bench: \"%s\" is no number from %u to %u\n", text, min, max);
        exit(1);
    }
    return (uint32_t)value;
}

static void parse_only(struct options *options, char *list)
{
    char *parts[LIST_MAX];
    uint32_t count = split(list, parts);
    memset(options->only, 0, sizeof(options->only));
    for (uint32_t i = 0; i < count; i++) {
        options->only[WORK_PUT] = options->only[WORK_PUT] || strcmp(parts[i], "put") == 0;
        options->only[WORK_GET] = options->only[WORK_GET] || strcmp(parts[i], "get") == 0;
        options->only[WORK_MIXED] = options->only[WORK_MIXED] || strcmp(parts[i], "mixed") == 0;
    }
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"servers", required_argument, NULL, 's'}, {"pids", required_argument, NULL, 'p'},
        {"keys", required_argument, NULL, 'k'},    {"value", required_argument, NULL, 'v'},
        {"seconds", required_argument, NULL, 't'}, {"flight", required_argument, NULL, 'f'},
        {"only", required_argument, NULL, 'o'},    {"timeout", required_argument, NULL, 'd'},
        {"certs", required_argument, NULL, 'c'},   {NULL, 0, NULL, 0}};
    char *parts[LIST_MAX];
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 's') {
            options->server_count = split(optarg, options->servers);
        } else if (c == 'p') {
            options->pid_count = split(optarg, parts);
            for (uint32_t i = 0; i < options->pid_count; i++) {
                options->pids[i] = (long)number(parts[i], 1, INT32_MAX);
            }
        } else if (c == 'f') {
            options->flight_count = split(optarg, parts);
            for (uint32_t i = 0; i < options->flight_count; i++) {
                options->flights[i] = number(parts[i], 1, FLIGHT_MAX);
            }
        } else if (c == 'k') {
            options->keys = number(optarg, 2 * FLIGHT_MAX, 100000000);
        } else if (c == 'v') {
            options->value_size = number(optarg, 1, KITH_INLINE_VALUE_MAX);
        } else if (c == 't') {
            options->seconds = number(optarg, 1, 86400);
        } else if (c == 'd') {
            options->timeout_ms = number(optarg, 1, KITH_TIMEOUT_MAX_MS);
        } else if (c == 'c') {
            options->certs = optarg;
        } else if (c == 'o') {
            parse_only(options, optarg);
        } else {
            exit(1);
        }
    }
    if (options->server_count == 0) {
        (void)fprintf(stderr, "usage: kv_bench --servers HOST:PORT[,...] [--pids PID[,...]] "
                              "[--keys N] [--value BYTES] [--seconds S] [--flight N[,...]] "
                              "[--only put,get,mixed] [--timeout MS] [--certs FOLDER]\n");
        exit(1);
    }
}

static int run_all(struct kith_client *client, const struct options *options)
{
    struct phase *phase = calloc(1, sizeof(*phase));
    uint8_t *value = malloc(options->value_size);
    KITH_ASSERT(phase != NULL && value != NULL);
    for (uint32_t i = 0; i < options->value_size; i++) {
        value[i] = (uint8_t)(i * 2654435761u >> 13); /* not compressible at a glance */
    }
    phase->client = client;
    phase->options = options;
    phase->value = value;
    phase->contexts = calloc(options->keys, sizeof(*phase->contexts));
    phase->latencies = malloc(SAMPLES_MAX * sizeof(*phase->latencies));
    KITH_ASSERT(phase->contexts != NULL && phase->latencies != NULL);
    (void)pthread_mutex_init(&phase->lock, NULL);
    (void)pthread_cond_init(&phase->ended, NULL);
    printf("%-6s %6s %10s %9s %9s %9s %9s %9s %8s %8s %7s\n", "what", "flight", "ops/s", "p50 ms",
           "p99 ms", "p99.9 ms", "max ms", "CPU s/k", "node MiB", "own MiB", "errors");
    uint64_t errors = run(phase, WORK_LOAD, 32);
    for (uint32_t work = WORK_PUT; work < WORK_COUNT; work++) {
        for (uint32_t i = 0; options->only[work] && i < options->flight_count; i++) {
            errors += run(phase, (enum work)work, options->flights[i]);
        }
    }
    for (uint32_t i = 0; i < options->keys; i++) {
        free(phase->contexts[i].data);
    }
    free(phase->contexts);
    free(phase->latencies);
    free(phase);
    free(value);
    return errors == 0 ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct options options = {.keys = 100000,
                              .value_size = 1024,
                              .seconds = 5,
                              .flights = {1, 32},
                              .flight_count = 2,
                              .only = {true, true, true, true}};
    parse(argc, argv, &options);
    run_id = (uint32_t)now_ns();
    struct kith_client_options client_options = {.server_count = options.server_count,
                                                 .servers = (const char *const *)options.servers,
                                                 .writer = "bench"};
    struct kith_client *client = NULL;
    struct kith_error error = {KITH_OK, ""};
    char paths[3][PATH_MAX];
    static const char *const names[3] = {"client.crt", "client.key", "ca.crt"};
    for (size_t i = 0; options.certs && i < 3; i++) { /* as 'kithctl cert client' makes them */
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", options.certs, names[i]);
    }
    const struct kith_identity_files own = {paths[0], paths[1], paths[2], NULL, NULL};
    client_options.tls = options.certs ? &own : NULL;
    if (kith_client_open(&client_options, &client, &error) != KITH_OK) {
        (void)fprintf(stderr, "kv_bench: %s\n", error.message);
        return 1;
    }
    int status = run_all(client, &options);
    kith_client_close(client);
    return status;
}
