/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_inbox.c - many put, one takes: order, the bound of messages, one wake-up for each sleep. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "shell/inbox.h"

#define PUTTERS 4u
#define PUTS    20000u /* of each */

/* A taker that sleeps on a condition variable, as the core's thread does in the network. */
struct place {
    struct kith_inbox inbox;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    uint32_t wakes; /* protected by lock */
    bool locked;    /* `wake` was called under the inbox's own lock */
};

static void wake(void *arg)
{
    struct place *place = arg;
    bool free = pthread_mutex_trylock(&place->inbox.lock) == 0;
    if (free) {
        pthread_mutex_unlock(&place->inbox.lock);
    }
    pthread_mutex_lock(&place->lock);
    place->wakes++;
    place->locked = place->locked || !free;
    pthread_cond_signal(&place->woken);
    pthread_mutex_unlock(&place->lock);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    assert_int_equal(kith_inbox_init(&place->inbox, wake, place), KITH_OK);
    pthread_mutex_init(&place->lock, NULL);
    pthread_cond_init(&place->woken, NULL);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    kith_alloc_fail_at(0);
    kith_inbox_release(&place->inbox);
    pthread_cond_destroy(&place->woken);
    pthread_mutex_destroy(&place->lock);
    free(place);
    return 0;
}

static void put(struct place *place, enum kith_inbox_kind kind, uint64_t conn)
{
    assert_int_equal(kith_inbox_put(&place->inbox, kind, conn, place), KITH_OK);
}

/* All that was put is given once, in its order, as it was put. */
static void test_order(void **state)
{
    struct place *place = *state;
    const struct kith_inbox_item *items = NULL;
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 0);
    for (uint64_t round = 0, next = 0; round < 5; round++) {
        uint32_t count = round == 2 ? 0 : 300; /* more than the first room */
        for (uint32_t i = 0; i < count; i++) {
            put(place, i % 2 == 0 ? KITH_INBOX_MESSAGE : KITH_INBOX_STORED, next + i);
        }
        assert_int_equal(kith_inbox_take(&place->inbox, &items), count);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(items[i].kind, i % 2 == 0 ? KITH_INBOX_MESSAGE : KITH_INBOX_STORED);
            assert_int_equal(items[i].conn, next + i);
            assert_ptr_equal(items[i].pointer, place);
        }
        next += count;
    }
    assert_int_equal(place->wakes, 0); /* nobody slept */
}

/* What was taken stays as it is until the next take, whatever is put meanwhile. */
static void test_taken_stays(void **state)
{
    struct place *place = *state;
    const struct kith_inbox_item *items = NULL;
    put(place, KITH_INBOX_OPENED, 1);
    put(place, KITH_INBOX_CLOSED, 2);
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 2);
    for (uint64_t i = 0; i < 1000; i++) {
        put(place, KITH_INBOX_MESSAGE, 100 + i);
    }
    assert_int_equal(items[0].kind, KITH_INBOX_OPENED);
    assert_int_equal(items[0].conn, 1);
    assert_int_equal(items[1].kind, KITH_INBOX_CLOSED);
    assert_int_equal(items[1].conn, 2);
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 1000);
    assert_int_equal(items[999].conn, 1099);
}

/* Messages are bounded; completions, ends and orders are taken all the same. */
static void test_bound(void **state)
{
    struct place *place = *state;
    const struct kith_inbox_item *items = NULL;
    for (uint32_t i = 0; i < KITH_INBOX_MAX; i++) {
        put(place, KITH_INBOX_MESSAGE, i);
    }
    assert_int_equal(kith_inbox_put(&place->inbox, KITH_INBOX_MESSAGE, 7, NULL), KITH_ELIMIT);
    for (uint32_t kind = KITH_INBOX_ACCEPTED; kind <= KITH_INBOX_FATAL; kind++) {
        if (kind != KITH_INBOX_MESSAGE) {
            put(place, (enum kith_inbox_kind)kind, kind);
        }
    }
    assert_int_equal(kith_inbox_put(&place->inbox, KITH_INBOX_MESSAGE, 7, NULL), KITH_ELIMIT);
    const uint32_t others = KITH_INBOX_FATAL - 1u;
    assert_int_equal(kith_inbox_take(&place->inbox, &items), KITH_INBOX_MAX + others);
    for (uint32_t i = 0; i < KITH_INBOX_MAX; i++) {
        assert_int_equal(items[i].conn, i); /* the refused one is not among them */
    }
    assert_int_equal(items[KITH_INBOX_MAX + others - 1].kind, KITH_INBOX_FATAL);
    put(place, KITH_INBOX_MESSAGE, 8); /* there is room again */
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 1);
    assert_int_equal(items[0].conn, 8);
}

/* Only who says so sleeps, only where there is nothing, and the first put wakes it, once. */
static void test_sleep(void **state)
{
    struct place *place = *state;
    const struct kith_inbox_item *items = NULL;
    assert_true(kith_inbox_sleep(&place->inbox));
    put(place, KITH_INBOX_STORED, 1);
    assert_int_equal(place->wakes, 1);
    put(place, KITH_INBOX_STORED, 2);
    assert_int_equal(place->wakes, 1);
    assert_false(kith_inbox_sleep(&place->inbox)); /* something is there */
    put(place, KITH_INBOX_STORED, 3);
    assert_int_equal(place->wakes, 1);
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 3);
    assert_true(kith_inbox_sleep(&place->inbox));
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 0); /* woken by something else */
    put(place, KITH_INBOX_STORED, 4);
    assert_int_equal(place->wakes, 1);
    assert_int_equal(kith_inbox_take(&place->inbox, &items), 1);
    assert_true(kith_inbox_sleep(&place->inbox));
    put(place, KITH_INBOX_STOP, 0);
    assert_int_equal(place->wakes, 2);
    assert_false(place->locked);
}

/* Short memory: the put fails, what is there stays. */
static void test_no_memory(void **state)
{
    struct place *place = *state;
    const struct kith_inbox_item *items = NULL;
    kith_alloc_fail_at(1);
    assert_int_equal(kith_inbox_put(&place->inbox, KITH_INBOX_CLOSED, 1, NULL), KITH_ENOMEM);
    kith_alloc_fail_at(0);
    uint32_t count = 0;
    put(place, KITH_INBOX_CLOSED, count++);
    while (count < place->inbox.capacity) {
        put(place, KITH_INBOX_CLOSED, count++);
    }
    kith_alloc_fail_at(1);
    assert_int_equal(kith_inbox_put(&place->inbox, KITH_INBOX_CLOSED, count, NULL), KITH_ENOMEM);
    kith_alloc_fail_at(0);
    assert_int_equal(kith_inbox_take(&place->inbox, &items), count);
    assert_int_equal(items[count - 1].conn, count - 1);
}

struct putter {
    pthread_t thread;
    struct place *place;
    uint64_t number;
};

static void *put_many(void *arg)
{
    struct putter *putter = arg;
    for (uint64_t i = 0; i < PUTS; i++) {
        if (kith_inbox_put(&putter->place->inbox, KITH_INBOX_STORED, putter->number << 32 | i,
                           NULL) != KITH_OK) {
            return putter;
        }
    }
    return NULL;
}

/* The taker sleeps whenever it may: it gets all, each putter's in its order, and sleeps through
 * nothing (else this ends with the time of the test). */
static void test_threads(void **state)
{
    struct place *place = *state;
    struct putter putters[PUTTERS];
    uint64_t next[PUTTERS] = {0};
    uint32_t got = 0, slept = 0, woken = 0;
    for (uint32_t i = 0; i < PUTTERS; i++) {
        putters[i] = (struct putter){.place = place, .number = i};
        assert_int_equal(pthread_create(&putters[i].thread, NULL, put_many, &putters[i]), 0);
    }
    while (got < PUTTERS * PUTS) {
        const struct kith_inbox_item *items = NULL;
        uint32_t count = kith_inbox_take(&place->inbox, &items);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t *of = &next[items[i].conn >> 32];
            assert_int_equal(items[i].conn & UINT32_MAX, *of);
            ++*of;
        }
        got += count;
        if (got < PUTTERS * PUTS && kith_inbox_sleep(&place->inbox)) {
            slept++;
            pthread_mutex_lock(&place->lock);
            while (place->wakes == woken) {
                pthread_cond_wait(&place->woken, &place->lock);
            }
            woken = place->wakes;
            pthread_mutex_unlock(&place->lock);
        }
    }
    for (uint32_t i = 0; i < PUTTERS; i++) {
        void *failed = NULL;
        pthread_join(putters[i].thread, &failed);
        assert_null(failed);
    }
    assert_int_equal(place->wakes, slept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sleep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
