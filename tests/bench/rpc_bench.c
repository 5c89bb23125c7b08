/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the transport costs: two ends in one process over loopback.
 *
 *     rpc_bench [--tls] [--near] [seconds per measurement, default 2]
 *
 * --tls: with certificates on both sides, made for this run. --near: by a local socket, not by TCP.
 *
 * Prints round trips of small messages with 1, 32 and 256 in flight (rate, median and 99th
 * percentile, CPU for each round trip over both ends, messages packed into one gRPC message) and
 * the throughput of 1 MiB chunks put with 1 and 4 in flight. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/rpc.h"
#include "tls/authority.h"
#include "tls/pem_file.h"

#define IN_FLIGHT_MAX 256u
#define SAMPLES_MAX   2000000u

static struct {
    struct kith_rpc *server, *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock */
    bool opened;
    uint32_t running; /* slots that still send */
    /* used by the client's queue thread alone while it runs */
    uint64_t conn;
    struct kith_blob *payload; /* NULL: small messages */
    double end_s;
    double sent_s[IN_FLIGHT_MAX];
    uint32_t sample_count;
    float *samples_us;
    uint64_t round_trips;
} bench = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static double clock_s(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void send_slot(uint64_t slot)
{
    static const uint8_t name_bytes[20] = "a name of 20 bytes";
    const struct kith_bytes name = {name_bytes, sizeof name_bytes};
    struct kith_msg msg = {.id = slot};
    if (bench.payload) {
        msg.kind = KITH_MSG_CHUNK_PUT_REQ;
        msg.u.chunk_put_req.payload = bench.payload;
    } else {
        msg.kind = KITH_MSG_GET_REQ;
        msg.u.get_req = (struct kith_get_req){.timeout_ms = 1000, .name_count = 1, .names = &name};
    }
    bench.sent_s[slot] = clock_s(CLOCK_MONOTONIC);
    KITH_ASSERT(kith_rpc_send(bench.client, bench.conn, &msg) == KITH_OK);
}

static void on_opened(void *arg, uint64_t conn)
{
    (void)arg;
    (void)conn;
    pthread_mutex_lock(&bench.lock);
    bench.opened = true;
    pthread_cond_broadcast(&bench.changed);
    pthread_mutex_unlock(&bench.lock);
}

static void on_request(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    (void)arg;
    static const uint8_t state[100];
    struct kith_got_row row = {.state = {state, sizeof state}};
    struct kith_msg msg = {.id = box->msg.id};
    if (box->msg.kind == KITH_MSG_CHUNK_PUT_REQ) {
        msg.kind = KITH_MSG_CHUNK_RES;
    } else {
        msg.kind = KITH_MSG_GET_RES;
        msg.u.get_res = (struct kith_get_res){.row_count = 1, .rows = &row};
    }
    KITH_ASSERT(kith_rpc_send(bench.server, conn, &msg) == KITH_OK);
    kith_msg_box_drop(box);
}

static void on_answer(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    (void)arg;
    (void)conn;
    uint64_t slot = box->msg.id;
    kith_msg_box_drop(box);
    double now = clock_s(CLOCK_MONOTONIC);
    if (bench.sample_count < SAMPLES_MAX) {
        bench.samples_us[bench.sample_count++] = (float)((now - bench.sent_s[slot]) * 1e6);
    }
    bench.round_trips++;
    if (now < bench.end_s) {
        send_slot(slot);
        return;
    }
    pthread_mutex_lock(&bench.lock);
    bench.running--;
    pthread_cond_broadcast(&bench.changed);
    pthread_mutex_unlock(&bench.lock);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void measure(uint32_t in_flight, double seconds)
{
    struct kith_rpc_stats before, after;
    kith_rpc_stats(bench.client, &before);
    bench.sample_count = 0;
    bench.round_trips = 0;
    double start = clock_s(CLOCK_MONOTONIC);
    double cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    bench.end_s = start + seconds;
    pthread_mutex_lock(&bench.lock);
    bench.running = in_flight;
    pthread_mutex_unlock(&bench.lock);
    kith_rpc_cork(bench.client);
    for (uint64_t slot = 0; slot < in_flight; slot++) {
        send_slot(slot);
    }
    kith_rpc_uncork(bench.client);
    pthread_mutex_lock(&bench.lock);
    while (bench.running > 0) {
        pthread_cond_wait(&bench.changed, &bench.lock);
    }
    pthread_mutex_unlock(&bench.lock);
    double took = clock_s(CLOCK_MONOTONIC) - start;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    kith_rpc_stats(bench.client, &after);
    qsort(bench.samples_us, bench.sample_count, sizeof *bench.samples_us, compare);
    double packets = (double)(after.packets_sent - before.packets_sent);
    double messages = (double)(after.messages_sent - before.messages_sent);
    double trips = (double)bench.round_trips;
    printf("%-9s %9u %10.0f/s %9.1f us %9.1f us %9.2f us %8.1f",
           bench.payload ? "1 MiB put" : "small", in_flight, trips / took,
           (double)bench.samples_us[bench.sample_count / 2],
           (double)bench.samples_us[bench.sample_count / 100 * 99], cpu / trips * 1e6,
           messages / packets);
    if (bench.payload) {
        printf("  %.0f MiB/s", trips / took);
    }
    printf("\n");
}

static void connect_class(const char *address, enum kith_rpc_class cls)
{
    bench.opened = false;
    KITH_ASSERT(kith_rpc_connect(bench.client, address, cls, &bench.conn, NULL) == KITH_OK);
    pthread_mutex_lock(&bench.lock);
    while (!bench.opened) {
        pthread_cond_wait(&bench.changed, &bench.lock);
    }
    pthread_mutex_unlock(&bench.lock);
}

/* ---- Certificates ---- */

static struct {
    char folder[32], paths[3][64]; /* certificate, key, authority */
    struct kith_identity_files files;
} made;

static void make_certificates(void)
{
    static const char *const names[] = {"own.crt", "own.key", "ca.crt"};
    struct kith_buf bufs[3] = {{0}}, ca_key = {0};
    struct kith_cert_grant grant = {.role = KITH_CERT_NODE, .name = "oak", .all_volumes = true};
    struct kith_authority *authority;
    struct kith_cert says;
    int64_t now_s = (int64_t)time(NULL);
    (void)snprintf(made.folder, sizeof made.folder, "/tmp/rpc_bench.XXXXXX");
    KITH_ASSERT(mkdtemp(made.folder));
    KITH_ASSERT(kith_authority_make("bench", 10, now_s, &ca_key, &bufs[2], NULL) == KITH_OK);
    KITH_ASSERT(kith_authority_open(kith_buf_bytes(&bufs[2]), kith_buf_bytes(&ca_key), &authority,
                                    NULL) == KITH_OK);
    KITH_ASSERT(kith_authority_issue(authority, &grant, 1, now_s, kith_bytes_make(NULL, 0),
                                     &bufs[1], &bufs[0], &says, NULL) == KITH_OK);
    kith_authority_free(authority);
    kith_pem_wipe(&ca_key);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(made.paths[i], sizeof made.paths[i], "%s/%s", made.folder, names[i]);
        KITH_ASSERT(kith_pem_write(made.paths[i], i == 1 ? KITH_PEM_SECRET : KITH_PEM_PUBLIC,
                                   kith_buf_bytes(&bufs[i]), NULL) == KITH_OK);
        kith_pem_wipe(&bufs[i]);
    }
    made.files = (struct kith_identity_files){made.paths[0], made.paths[1], made.paths[2], NULL, NULL};
}

static void remove_certificates(void)
{
    for (size_t i = 0; i < 3 && made.folder[0]; i++) {
        (void)unlink(made.paths[i]);
    }
    if (made.folder[0]) {
        (void)rmdir(made.folder);
    }
}

int main(int argc, char **argv)
{
    double seconds = 2.0;
    struct kith_rpc_options options = {.threads = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tls") == 0) {
            make_certificates();
            options.tls = &made.files;
        } else if (strcmp(argv[i], "--near") == 0) {
            options.near = "127.0.0.1:0";
        } else {
            seconds = atof(argv[i]);
        }
    }
    struct kith_rpc_handlers server = {.message = on_request};
    struct kith_rpc_handlers client = {.message = on_answer, .opened = on_opened};
    struct kith_error error = {KITH_ENOMEM, "no memory"};
    uint16_t port;
    char address[32];
    bench.samples_us = malloc(SAMPLES_MAX * sizeof *bench.samples_us);
    if (!bench.samples_us || kith_rpc_new(&options, &server, &bench.server, &error) != KITH_OK ||
        kith_rpc_new(&options, &client, &bench.client, &error) != KITH_OK ||
        kith_rpc_listen(bench.server, "127.0.0.1:0", &port, &error) != KITH_OK) {
        fprintf(stderr, "rpc_bench: cannot start: %s\n", error.message);
        remove_certificates();
        return 1;
    }
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    printf("%-9s %9s %12s %12s %12s %12s %8s\n", "message", "in flight", "round trips", "median",
           "p99", "CPU each", "packed");
    connect_class(address, KITH_RPC_ROWS);
    measure(1, seconds);
    measure(32, seconds);
    measure(256, seconds);
    connect_class(address, KITH_RPC_BULK);
    bench.payload = kith_blob_new(KITH_CHUNK_MAX);
    KITH_ASSERT(bench.payload);
    memset(bench.payload->data, 1, bench.payload->size);
    measure(1, seconds);
    measure(4, seconds);
    kith_rpc_free(bench.client);
    kith_rpc_free(bench.server);
    kith_blob_drop(bench.payload);
    free(bench.samples_us);
    remove_certificates();
    return 0;
}
