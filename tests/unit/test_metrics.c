/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_metrics.c - the threads that show a node: one that answers, one that does not any more, one that
 * cannot; and a port that is in use. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "metrics/metrics.h"
#include "metrics_world.h"

enum mode { ANSWERS, SILENT, REFUSES };

static struct kith_metrics *metrics;
static atomic_int mode, asked;
static char address[KITH_HTTP_ADDRESS_SIZE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void ask(void *arg)
{
    (void)arg;
    atomic_fetch_add(&asked, 1);
    if (atomic_load(&mode) == ANSWERS) {
        struct kith_snapshot *snapshot = snapshot_make(16, 4);
        snapshot->mono_ms = now_ms();
        kith_metrics_publish(metrics, snapshot);
    } else if (atomic_load(&mode) == REFUSES) {
        kith_metrics_publish(metrics, NULL);
    }
}

static void listening(void *arg, const char *where)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    (void)snprintf(address, sizeof address, "%s", where);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void start(enum mode first)
{
    static const struct kith_metrics_options options = {
        .listen = "127.0.0.1:0", .ask = ask, .listening = listening};
    atomic_store(&mode, first);
    atomic_store(&asked, 0);
    address[0] = '\0';
    metrics = kith_metrics_new(&options);
    assert_non_null(metrics);
    assert_int_equal(kith_metrics_start(metrics), KITH_OK);
    pthread_mutex_lock(&lock);
    while (address[0] == '\0') {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static int teardown(void **state)
{
    (void)state;
    uint64_t begun_ms = now_ms();
    kith_metrics_stop(metrics); /* does not wait for what is asked for */
    assert_true(now_ms() < begun_ms + 1500);
    kith_metrics_free(metrics);
    return 0;
}

/* The status; `took` is how long it took. */
static int get(const char *path, uint64_t *ret_took_ms)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    char text[65536], request[100];
    uint64_t begun_ms = now_ms();
    int status = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    size_t size = 0;
    ssize_t got = 0;
    while (size < sizeof text - 1 && (got = recv(fd, text + size, sizeof text - 1 - size, 0)) > 0) {
        size += (size_t)got;
    }
    text[size] = '\0';
    (void)close(fd);
    (void)sscanf(text, "HTTP/1.1 %d", &status);
    *ret_took_ms = now_ms() - begun_ms;
    return status;
}

/* Who asks twice in half a second gets what the first one got. */
static void test_answers(void **state)
{
    (void)state;
    uint64_t took_ms = 0;
    start(ANSWERS);
    assert_int_equal(get("/metrics", &took_ms), 200);
    assert_int_equal(get("/", &took_ms), 200);
    assert_int_equal(get("/page.css", &took_ms), 200);
    assert_int_equal(get("/nothing", &took_ms), 404);
    uint64_t begun_ms = now_ms();
    int before = atomic_load(&asked), times = 0;
    while (now_ms() < begun_ms + KITH_METRICS_FRESH_MS / 2) {
        assert_int_equal(get("/metrics", &took_ms), 200);
        times++;
    }
    assert_true(times > 2);
    assert_true(atomic_load(&asked) <= before + 1);
}

/* A core that is stuck is waited for once, not by each who asks; and is told of. */
static void test_silent(void **state)
{
    (void)state;
    uint64_t took_ms = 0;
    start(SILENT);
    assert_int_equal(get("/metrics", &took_ms), 503);
    assert_true(took_ms < 2 * KITH_METRICS_WAIT_MS);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(get(i % 2 == 0 ? "/" : "/metrics", &took_ms), 503);
        assert_true(took_ms < KITH_METRICS_WAIT_MS);
    }
    assert_int_equal(atomic_load(&asked), 1);
    struct kith_snapshot *late = snapshot_make(16, 4);
    late->mono_ms = now_ms();
    atomic_store(&mode, ANSWERS);
    kith_metrics_publish(metrics, late);
    assert_int_equal(get("/metrics", &took_ms), 200);
}

/* What is too old is no answer for Prometheus; people get to see it, and are told. */
static void test_stale(void **state)
{
    (void)state;
    uint64_t took_ms = 0;
    start(REFUSES);
    assert_int_equal(get("/metrics", &took_ms), 503);
    struct kith_snapshot *old = snapshot_make(16, 4);
    old->mono_ms = now_ms() - KITH_METRICS_STALE_MS - 1;
    kith_metrics_publish(metrics, old);
    assert_int_equal(get("/metrics", &took_ms), 503);
    assert_int_equal(get("/", &took_ms), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_answers, teardown),
        cmocka_unit_test_teardown(test_silent, teardown),
        cmocka_unit_test_teardown(test_stale, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
