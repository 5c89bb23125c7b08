/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The journal of sums (store/store_sums.c): with few slots, so that it goes round many times, over
 * clean ends, kills, and changing numbers of workers. verify() compares what the disk says of each
 * leaf with its rows and chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/random.h"
#include "store_place.h"

enum { SLOTS = 32, GROUPS = 60, NAMES = 9, CHUNKS = 300, STEPS = 150, LIVES = 9 };

/* What there must be. In memory that a child shares. */
struct expected {
    bool rows[GROUPS][NAMES];
    bool chunks[CHUNKS];
    uint32_t row_count, chunk_count;
};

static void one_put(struct place *place, struct expected *expected, struct test_random *seed)
{
    uint64_t random = test_random_next(seed);
    if (random % 5 == 0) {
        uint32_t number = (uint32_t)(random >> 8) % CHUNKS;
        assert_int_equal(put_chunk(place, number, 100 + number), KITH_OK);
        expected->chunk_count += !expected->chunks[number];
        expected->chunks[number] = true;
        return;
    }
    uint32_t group = (uint32_t)(random >> 8) % GROUPS;
    uint32_t name = (uint32_t)(random >> 40) % NAMES;
    char text[2] = {(char)('a' + name), '\0'};
    put_text(place, group, text, "v");
    expected->row_count += !expected->rows[group][name];
    expected->rows[group][name] = true;
}

static void check(struct place *place, const struct expected *expected)
{
    verify(place, expected->row_count, expected->chunk_count);
}

static void options_of(struct place *place, uint32_t life)
{
    static const uint32_t workers[] = {1, 3, 2, 4, 1};
    place->workers = workers[life % 5];
    place->journal_slots = SLOTS + 8 * (life % 3);
}

static void test_goes_round(void **state)
{
    struct place *place = *state;
    struct expected expected = {0};
    struct test_random seed = {1};
    for (uint32_t life = 0; life < LIVES; life++) {
        must_close(place);
        options_of(place, life);
        must_open(place);
        check(place, &expected);
        for (uint32_t i = 0; i < STEPS; i++) {
            one_put(place, &expected, &seed);
            if (life + 2 >= LIVES || i % 50 == 7) {
                check(place, &expected);
            }
        }
        check(place, &expected);
    }
}

/* A child writes and is killed; what it was told is there, and the sums fit. */
static void test_killed(void **state)
{
    struct place *place = *state;
    must_close(place);
    struct expected *expected =
        mmap(NULL, sizeof *expected, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(expected, MAP_FAILED);
    for (uint32_t life = 0; life < LIVES; life++) {
        options_of(place, life);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct test_random seed = {100 + life};
            must_open(place);
            for (uint32_t i = 0; i < STEPS + 13 * life; i++) {
                one_put(place, expected, &seed);
            }
            raise(SIGKILL);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (life % 2 == 0) { /* else the next child finds it as this one left it */
            options_of(place, life + 1);
            must_open(place);
            check(place, expected);
            must_close(place);
        }
    }
    munmap(expected, sizeof *expected);
}

/* Several workers at once, each with its own partitions and slots. */
static void test_together(void **state)
{
    enum { OPS = 500, ROUNDS = 4 };
    struct place *place = *state;
    must_close(place);
    options_of(place, 1);
    must_open(place);
    struct kith_put_update update = update_of("n", "v");
    for (uint32_t round = 0; round < ROUNDS; round++) {
        release_results(place);
        for (uint32_t i = 0; i < OPS; i++) {
            struct kith_store_op op = put_op(i % GROUPS, &update, 1);
            submit(place, &op);
            if (i % 8 == 7) { /* many transactions, not one large one */
                kith_store_kick(place->store);
            }
        }
        kith_store_kick(place->store);
        for (uint32_t i = 0; i < OPS; i++) {
            enum kith_err err = next_done(place)->err;
            assert_true(err == KITH_OK || err == KITH_ELIMIT); /* concurrent versions of a row */
        }
        verify(place, GROUPS, 0);
    }
    must_close(place);
    must_open(place);
    verify(place, GROUPS, 0);
}

/* Several workers at once are killed: each may only have written what is its own. */
static void work_together(struct place *place, uint32_t life, atomic_uint *done)
{
    enum { OPS = 1000 };
    must_open(place);
    for (uint32_t number = life * 1000000;; number += OPS) {
        char names[OPS][12];
        struct kith_put_update updates[OPS];
        release_results(place);
        for (uint32_t i = 0; i < OPS; i++) {
            snprintf(names[i], sizeof names[i], "%u", number + i);
            updates[i] = update_of(names[i], "v");
            struct kith_store_op op = put_op((number + i) % 997, &updates[i], 1);
            submit(place, &op);
            if (i % 4 == 3) { /* many transactions, not one large one */
                kith_store_kick(place->store);
            }
        }
        for (uint32_t i = 0; i < OPS; i++) {
            (void)next_done(place);
            atomic_fetch_add(done, 1);
        }
    }
}

static void test_killed_together(void **state)
{
    struct place *place = *state;
    must_close(place);
    atomic_uint *done =
        mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(done, MAP_FAILED);
    for (uint32_t life = 0; life < 5; life++) {
        place->workers = 4;
        place->journal_slots = SLOTS;
        atomic_store(done, 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            work_together(place, life, done);
        }
        while (atomic_load(done) < 15000 + 370 * life) {
            sched_yield();
        }
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        must_open(place);
        struct kith_store_counts counts = kith_store_counts(place->store);
        verify(place, counts.rows, counts.chunks);
        must_close(place);
    }
    must_open(place);
    munmap(done, sizeof *done);
}

/* A transaction that is taken back leaves the journal as it was. */
static void test_taken_back(void **state)
{
    struct place *place = *state;
    struct expected expected = {0};
    struct test_random seed = {7};
    must_close(place);
    options_of(place, 0);
    must_open(place);
    for (uint32_t i = 0; i < 3 * SLOTS; i++) {
        one_put(place, &expected, &seed);
        struct kith_put_update updates[2] = {update_of("good", "v"), update_of("bad", "v")};
        updates[1].context = kith_bytes_make("bad", 3);
        struct kith_store_op op = put_op(i % GROUPS, updates, 2);
        assert_int_equal(ask(place, &op)->err, KITH_EFORMAT);
    }
    check(place, &expected);
    must_close(place);
    must_open(place);
    check(place, &expected);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
