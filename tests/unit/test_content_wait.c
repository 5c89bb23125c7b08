/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_content_wait.c - a write that finds no memory waits until some comes free. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/content.h"
#include "lib/fake_client.h"

#define MIB        (1u << 20)
#define DIRTY_MIB  4u
#define TIMEOUT_MS 60000u /* longer than this test */

struct writer {
    struct kith_content *content;
    atomic_int thread; /* 0: it has not begun */
    atomic_bool ended;
    enum kith_err err;
};

static void *write_byte(void *arg)
{
    struct writer *writer = arg;
    uint8_t byte = 1;
    atomic_store(&writer->thread, gettid());
    writer->err = kith_content_write(writer->content, 0, &byte, 1);
    atomic_store(&writer->ended, true);
    return NULL;
}

/* Whether the thread sleeps: nothing is left for it to do by itself. */
static bool sleeps(int thread)
{
    char path[64], state = '?';
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) {
            state = '?';
        }
        fclose(file);
    }
    return state == 'S';
}

static void test_write_waits(void **state)
{
    (void)state;
    struct kith_fake_cluster *cluster = kith_fake_cluster_new();
    struct kith_client *client = kith_fake_client_new(cluster, "anna@mars");
    struct kith_content_options options = {.client = client,
                                           .volume = KITH_VOLUME_FS,
                                           .dirty_bytes = DIRTY_MIB * MIB,
                                           .cache_bytes = DIRTY_MIB * MIB,
                                           .timeout_ms = TIMEOUT_MS};
    struct kith_content_store *store = NULL;
    struct kith_content *full = NULL;
    struct writer writer = {.content = NULL};
    pthread_t thread;
    const struct kith_bytes none = kith_bytes_make(NULL, 0);
    uint8_t *buffer = calloc(1, MIB);
    assert_int_equal(kith_content_store_new(&options, &store), KITH_OK);
    assert_int_equal(kith_content_new(store, none, &full), KITH_OK);
    assert_int_equal(kith_content_new(store, none, &writer.content), KITH_OK);
    kith_fake_hold(cluster, 0, true); /* nothing of it is sent on */
    for (uint64_t i = 0; i < DIRTY_MIB; i++) {
        assert_int_equal(kith_content_write(full, i * MIB, buffer, MIB), KITH_OK);
    }
    assert_int_equal(pthread_create(&thread, NULL, write_byte, &writer), 0);
    while (!atomic_load(&writer.ended) &&
           (atomic_load(&writer.thread) == 0 || !sleeps(atomic_load(&writer.thread)))) {
        sched_yield();
    }
    assert_false(atomic_load(&writer.ended));
    kith_fake_hold(cluster, 0, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(writer.err, KITH_OK);
    kith_content_free(full);
    kith_content_free(writer.content);
    kith_content_store_free(store);
    kith_client_close(client);
    kith_fake_cluster_free(cluster);
    free(buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_write_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
