/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * load.c - writes to a cluster while it is hurt, and remembers what became of every write.
 *
 *     fault_load run --servers LIST --name NAME --prefix P [--keys 200] [--threads 4]
 *                    [--pause-us 1000] [--timeout-ms 4000] [--strict]    until SIGTERM; the log on
 *                    stdout
 *     fault_load read --servers LIST --prefix P [--keys 200]   what is there, on stdout
 *
 * A thread reads a key drawn at random, and writes it: mostly in the place of all that it has read,
 * sometimes blind, sometimes it deletes. Every value is the write's own id and occurs once. A line
 * of the log, times in us by CLOCK_MONOTONIC (the same in all processes of a machine):
 *
 *     w ID KEY put|blind|del RESULT READ_START READ_END WRITE_START WRITE_END DEGRADED SEEN
 *     r ID KEY ERROR READ_START READ_END                 a read that failed; nothing was written
 *
 * RESULT: OK, EUNKNOWN, or the error that says that nothing happened; DEGRADED: 1 where fewer than
 * R owners answered the read; SEEN: the ids read and replaced, "a,b", or "-". check.py judges.
 *
 * `read` reads each key from all owners, by a client that remembers nothing: "KEY ID,ID", "KEY -",
 * or "KEY !ERROR" and exit status 1. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/client.h"
#include "tls/identity.h"

#define SERVERS_MAX 16u
#define THREADS_MAX 64u
#define ID_MAX      64u

struct options {
    const char *servers[SERVERS_MAX];
    uint32_t server_count;
    const char *name, *prefix;
    uint32_t keys, threads, pause_us, timeout_ms;
    bool strict;
};

struct writer {
    const struct options *options;
    struct kith_client *client;
    uint32_t number;
    uint64_t random;
    uint64_t sequence;
};

static atomic_bool ending;

static void on_signal(int signal)
{
    (void)signal;
    atomic_store(&ending, true);
}

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* splitmix64 */
static uint64_t draw(uint64_t *random)
{
    uint64_t z = (*random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void key_name(const struct options *options, uint64_t number, char text[ID_MAX])
{
    (void)snprintf(text, ID_MAX, "%s%llu", options->prefix, (unsigned long long)number);
}

static enum kith_err row_get(struct kith_client *client, const struct options *options,
                             const char *key, bool all, struct kith_client_answer *answer)
{
    struct kith_client_op op;
    struct kith_bytes name = kith_bytes_make(key, strlen(key));
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_GET;
    op.timeout_ms = options->timeout_ms;
    op.level = all ? KITH_LEVEL_ALL : KITH_LEVEL_QUORUM;
    op.strict = all;
    op.u.get.group = kith_group_of_kv(name);
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    return kith_client_call(client, &op, answer);
}

/* "a,b", to be freed; "-" where there is none. Two siblings of one request are one write. */
static char *ids_of(const struct kith_row *row)
{
    size_t used = 0;
    char *text = calloc(row->sibling_count + 1u, ID_MAX);
    for (uint32_t i = 0; text && i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        bool again = false;
        for (uint32_t k = 0; k < i; k++) {
            again = again || memcmp(&row->siblings[k].request, &sibling->request,
                                    sizeof sibling->request) == 0;
        }
        if (!again && sibling->value.size < ID_MAX - 1) {
            used += (size_t)sprintf(text + used, "%s%.*s", used > 0 ? "," : "",
                                    (int)sibling->value.size, (const char *)sibling->value.data);
        }
    }
    if (text && used == 0) {
        (void)strcpy(text, "-");
    }
    return text;
}

static const char *word(enum kith_err err)
{
    switch ((int)err) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return #name;
        KITH_ERR_MAP(X)
#undef X
    default:
        return "EOTHER";
    }
}

static enum kith_err row_put(struct writer *writer, const char *key, const char *id,
                             const struct kith_row *seen, bool deletes)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    struct kith_put_update update;
    struct kith_buf context;
    memset(&op, 0, sizeof op);
    memset(&update, 0, sizeof update);
    kith_buf_init(&context);
    if (seen && !kith_row_is_empty(seen)) {
        struct kith_row kept = *seen;
        kept.sibling_count = 0;
        kith_row_encode(&kept, &context);
    }
    update.name = kith_bytes_make(key, strlen(key));
    update.context = kith_buf_bytes(&context);
    update.has_sibling = !deletes;
    update.value = kith_bytes_make(id, deletes ? 0 : strlen(id));
    op.kind = KITH_CLIENT_PUT;
    op.timeout_ms = writer->options->timeout_ms;
    op.u.put.group = kith_group_of_kv(update.name);
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    enum kith_err err = kith_client_call(writer->client, &op, &answer);
    kith_client_answer_release(&answer);
    kith_buf_release(&context);
    return err;
}

static void one_round(struct writer *writer)
{
    const struct options *options = writer->options;
    struct kith_client_answer answer;
    char key[ID_MAX];
    char id[ID_MAX];
    key_name(options, draw(&writer->random) % options->keys, key);
    (void)snprintf(id, sizeof id, "%s.%u.%llu", options->name, writer->number,
                   (unsigned long long)++writer->sequence);
    uint64_t dice = draw(&writer->random) % 100;
    uint64_t read_us = now_us();
    enum kith_err err = row_get(writer->client, options, key, false, &answer);
    uint64_t got_us = now_us();
    if (err != KITH_OK) {
        (void)printf("r %s %s %s %llu %llu\n", id, key, word(err), (unsigned long long)read_us,
                     (unsigned long long)got_us);
        kith_client_answer_release(&answer);
        return;
    }
    const struct kith_row *row = &answer.result.u.rows.rows[0].row;
    bool blind = dice < 10;
    bool deletes = dice >= 90;
    char *seen = ids_of(row);
    if (!seen) {
        abort();
    }
    uint64_t write_us = now_us();
    err = row_put(writer, key, id, blind ? NULL : row, deletes);
    uint64_t end_us = now_us();
    (void)printf("w %s %s %s %s %llu %llu %llu %llu %d %s\n", id, key,
                 blind     ? "blind"
                 : deletes ? "del"
                           : "put",
                 word(err), (unsigned long long)read_us, (unsigned long long)got_us,
                 (unsigned long long)write_us, (unsigned long long)end_us, answer.result.degraded,
                 seen);
    free(seen);
    kith_client_answer_release(&answer);
}

static void *writer_main(void *arg)
{
    struct writer *writer = arg;
    const struct timespec pause = {0, (long)writer->options->pause_us * 1000};
    while (!atomic_load(&ending)) {
        one_round(writer);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static struct kith_client *client_open(const struct options *options)
{
    struct kith_client_options client;
    struct kith_client *opened = NULL;
    struct kith_error error;
    memset(&client, 0, sizeof client);
    client.server_count = options->server_count;
    client.servers = options->servers;
    client.strict = options->strict;
    const struct kith_identity_files tls = {getenv("KITH_CERT"), getenv("KITH_KEY"),
                                            getenv("KITH_CA"), getenv("KITH_CRL"), NULL};
    client.tls = tls.cert != NULL ? &tls : NULL;
    client.writer = options->name ? options->name : "reader";
    if (kith_client_open(&client, &opened, &error) != KITH_OK) {
        (void)fprintf(stderr, "fault_load: %s\n", error.message);
        exit(1);
    }
    return opened;
}

static int run(const struct options *options)
{
    pthread_t threads[THREADS_MAX];
    struct writer writers[THREADS_MAX];
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigaction(SIGTERM, &action, NULL);
    struct kith_client *client = client_open(options);
    for (uint32_t i = 0; i < options->threads; i++) {
        struct writer *writer = &writers[i];
        memset(writer, 0, sizeof *writer);
        writer->options = options;
        writer->client = client;
        writer->number = i;
        writer->random = now_us() * 977 + i;
        if (pthread_create(&threads[i], NULL, writer_main, writer) != 0) {
            return 1;
        }
    }
    for (uint32_t i = 0; i < options->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    kith_client_close(client);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int read_all(const struct options *options)
{
    struct kith_client *client = client_open(options);
    int status = 0;
    for (uint32_t i = 0; i < options->keys; i++) {
        struct kith_client_answer answer;
        char key[ID_MAX];
        key_name(options, i, key);
        enum kith_err err = row_get(client, options, key, true, &answer);
        if (err == KITH_OK) {
            char *ids = ids_of(&answer.result.u.rows.rows[0].row);
            (void)printf("%s %s\n", key, ids ? ids : "!memory");
            free(ids);
        } else {
            (void)printf("%s !%s\n", key, word(err));
            status = 1;
        }
        kith_client_answer_release(&answer);
    }
    kith_client_close(client);
    return status;
}

static void servers_split(char *list, struct options *options)
{
    for (char *one = strtok(list, ","); one && options->server_count < SERVERS_MAX;
         one = strtok(NULL, ",")) {
        options->servers[options->server_count++] = one;
    }
}

int main(int argc, char *argv[])
{
    static const struct option names[] = {
        {"servers", required_argument, NULL, 's'},    {"name", required_argument, NULL, 'n'},
        {"prefix", required_argument, NULL, 'p'},     {"keys", required_argument, NULL, 'k'},
        {"threads", required_argument, NULL, 't'},    {"pause-us", required_argument, NULL, 'u'},
        {"timeout-ms", required_argument, NULL, 'm'}, {"strict", no_argument, NULL, 'x'},
        {NULL, 0, NULL, 0}};
    struct options options = {
        .prefix = "", .keys = 200, .threads = 4, .pause_us = 1000, .timeout_ms = 4000};
    (void)setenv("GRPC_VERBOSITY", "NONE", 0);
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 's':
            servers_split(optarg, &options);
            break;
        case 'n':
            options.name = optarg;
            break;
        case 'p':
            options.prefix = optarg;
            break;
        case 'k':
            options.keys = (uint32_t)atoi(optarg);
            break;
        case 't':
            options.threads = (uint32_t)atoi(optarg);
            break;
        case 'u':
            options.pause_us = (uint32_t)atoi(optarg);
            break;
        case 'm':
            options.timeout_ms = (uint32_t)atoi(optarg);
            break;
        case 'x':
            options.strict = true;
            break;
        default:
            return 64;
        }
    }
    bool runs = optind < argc && strcmp(argv[optind], "run") == 0;
    bool reads = optind < argc && strcmp(argv[optind], "read") == 0;
    if ((!runs && !reads) || options.server_count == 0 || options.keys == 0 ||
        options.threads == 0 || options.threads > THREADS_MAX || (runs && !options.name)) {
        (void)fprintf(stderr, "usage: fault_load run|read --servers LIST ...; see load.c\n");
        return 64;
    }
    return runs ? run(&options) : read_all(&options);
}
