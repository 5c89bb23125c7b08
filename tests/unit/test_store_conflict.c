/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files in conflict, on a real store: how many there are is what its rows say, whatever is done to
 * them. kith_store_verify compares the index with the rows; here, what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "lib/random.h"
#include "store_files.h"
#include "store_flip.h"

static uint32_t partition_of(uint32_t group)
{
    struct kith_group id = group_of(group);
    return kith_group_partition(&id, PARTITIONS);
}

static void expect(struct place *place, uint64_t conflicts, uint64_t rows)
{
    assert_int_equal(conflicts_told(place), conflicts);
    verify(place, rows, 0);
}

static void test_puts(void **state)
{
    struct place *place = *state;
    expect(place, 0, 0);
    put_file(place, 1, "plan", "one", NULL);
    expect(place, 0, 1);
    put_file(place, 1, "plan", "two", NULL);
    expect(place, 1, 1);
    struct kith_bytes two = state_of(place, 1, "plan");
    put_file(place, 1, "plan", "three", NULL);
    put_file(place, 2, "plan", "one", NULL);
    put_file(place, 2, "plan", "two", NULL);
    expect(place, 2, 2); /* two files, whatever they have of versions */
    assert_int_equal(conflicts_of(place, partition_of(1)),
                     partition_of(1) == partition_of(2) ? 2 : 1);
    put_file(place, 1, "plan", "both", &two); /* the third is beside it */
    expect(place, 2, 2);
    struct kith_bytes all = state_of(place, 1, "plan");
    put_file(place, 1, "plan", "settled", &all);
    expect(place, 1, 2);
    free_bytes(all);
    all = state_of(place, 2, "plan");
    put_file(place, 2, "plan", NULL, &all); /* deleted */
    expect(place, 0, 2);
    put_file(place, 2, "plan", "anew", NULL);
    expect(place, 0, 2);
    free_bytes(all);
    free_bytes(two);
}

/* What is no file, or what a person cannot tell apart. */
static void test_none(void **state)
{
    struct place *place = *state;
    struct kith_rowname shared, attr;
    struct kith_group group = group_of(1);
    kith_rowname_shared(77, &shared);
    kith_rowname_attr(kith_bytes_make("plan", 4), &attr);
    for (uint32_t i = 0; i < 2; i++) {
        const char *contents = i == 0 ? "one" : "two";
        struct kith_bytes key = kith_bytes_make("plan", 4);
        struct kith_group kv = kith_group_of_kv(key);
        put_version(place, &kv, key, contents, 0644, NULL);
        kv = kith_group_of_bucket(key);
        put_version(place, &kv, key, contents, 0644, NULL);
        put_version(place, &group, kith_rowname_bytes(&attr), contents, 0644, NULL);
        put_version(place, &group, kith_bytes_make("", 0), "same", 0600 + i, NULL);
        put_version(place, &group, kith_rowname_bytes(&shared), "same", 0600 + i, NULL);
        struct kith_put_update text = update_of("text", contents);
        struct kith_store_op op = put_op(1, &text, 1);
        assert_int_equal(ask(place, &op)->err, KITH_OK);
    }
    expect(place, 0, 6);
    put_version(place, &group, kith_rowname_bytes(&shared), "other", 0600, NULL);
    expect(place, 1, 6); /* once, however many names it has */
    put_version(place, &group, kith_bytes_make("", 0), "other", 0600, NULL);
    expect(place, 2, 6); /* in several directories */
}

/* Another owner's state, by each way in which it comes. */
static void test_merge(void **state)
{
    struct place *place = *state;
    put_file(place, 1, "plan", "one", NULL);
    struct kith_bytes one = state_of(place, 1, "plan");
    put_file(place, 1, "plan", "two", NULL);
    struct kith_bytes two = state_of(place, 1, "plan");
    put_file(place, 1, "plan", "settled", &two);
    struct kith_bytes settled = state_of(place, 1, "plan");
    struct kith_store_op drop = {.id = 9, .kind = KITH_STORE_DROP, .partition = partition_of(1)};
    assert_int_equal(ask(place, &drop)->err, KITH_OK);
    expect(place, 0, 0);
    bring_back(place, "plan", one);
    expect(place, 0, 1);
    bring_back(place, "plan", two);
    expect(place, 1, 1);
    bring_back(place, "plan", settled);
    expect(place, 0, 1);
    assert_int_equal(ask(place, &drop)->err, KITH_OK);
    struct kith_replica_row row = {.name = kith_bytes_make("plan", 4), .state = two};
    struct kith_store_op merge = {.id = 10, .kind = KITH_STORE_MERGE, .partition = drop.partition};
    merge.u.merge.group = group_of(1);
    merge.u.merge.wall_ms = 1000;
    merge.u.merge.row_count = 1;
    merge.u.merge.rows = &row;
    for (uint32_t i = 0; i < 2; i++) { /* the second time it is here already */
        assert_int_equal(ask(place, &merge)->err, KITH_OK);
        expect(place, 1, 1);
    }
    free_bytes(one);
    free_bytes(two);
    free_bytes(settled);
}

/* A row that goes takes its entry with it. */
static void test_goes(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < 3; i++) {
        put_file(place, 1, i < 2 ? "plan" : "other", i == 0 ? "one" : "two", NULL);
    }
    struct kith_bytes plan = state_of(place, 1, "plan");
    expect(place, 1, 2);
    flip_row(place, "plan"); /* damaged: it is there until somebody meets it */
    assert_int_equal(conflicts_told(place), 1);
    struct kith_bytes name = kith_bytes_make("plan", 4);
    struct kith_store_op get = get_op(1, &name, 1);
    assert_int_equal(ask(place, &get)->err, KITH_ECORRUPT);
    expect(place, 0, 1); /* set aside */
    bring_back(place, "plan", plan);
    expect(place, 1, 2);
    free_bytes(plan);
    struct kith_store_op drop = {.id = 9, .kind = KITH_STORE_DROP, .partition = partition_of(1)};
    assert_int_equal(ask(place, &drop)->err, KITH_OK);
    expect(place, 0, 0);
    must_close(place);
    must_open(place);
    expect(place, 0, 0);
}

/* A deleted file whose row is forgotten under a floor. */
static void test_reaped(void **state)
{
    struct place *place = *state;
    put_file(place, 1, "plan", "one", NULL);
    put_file(place, 1, "plan", "two", NULL);
    put_file(place, 1, "kept", "one", NULL);
    put_file(place, 1, "kept", "two", NULL);
    struct kith_bytes plan = state_of(place, 1, "plan");
    put_file(place, 1, "plan", NULL, &plan);
    free_bytes(plan);
    expect(place, 1, 2);
    struct kith_store_op op = {.id = 4,
                               .kind = KITH_STORE_REAP_LIST,
                               .partition = partition_of(1),
                               .durability = KITH_DURABLE_DISK};
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.reap_list.entry_count, 1);
    struct kith_floor_entry floor = {done->u.reap_list.entries[0].run, UINT64_MAX - 1};
    op.kind = KITH_STORE_REAP;
    memset(&op.u, 0, sizeof op.u);
    op.u.reap.step = KITH_REAP_SET;
    op.u.reap.stamp = 7;
    op.u.reap.now_ms = 5000;
    op.u.reap.run = floor.run;
    op.u.reap.owner = true;
    op.u.reap.entry_count = 1;
    op.u.reap.entries = &floor;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    op.u.reap.step = KITH_REAP_REMOVE;
    op.u.reap.now_ms = 9000;
    done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.reap.reaped, 1);
    expect(place, 1, 1);
}

/* A batch is all or nothing: so is what it is in conflict with. */
static void test_rolled_back(void **state)
{
    struct place *place = *state;
    char name[KITH_NAME_MAX + 1];
    struct kith_bytes value = file_value("two", 0644);
    memset(name, 'n', sizeof name);
    put_file(place, 1, "plan", "one", NULL);
    struct kith_put_update updates[2] = {
        {.name = kith_bytes_make("plan", 4), .has_sibling = true, .value = value},
        {.name = kith_bytes_make(name, sizeof name), .has_sibling = true, .value = value}};
    struct kith_store_op op = put_op(1, updates, 2);
    assert_int_equal(ask(place, &op)->err, KITH_EINVAL);
    expect(place, 0, 1);
    op = put_op(1, updates, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    expect(place, 1, 1);
    free_bytes(value);
}

/* In the same transaction as the row: also for one that is killed. */
static void test_killed(void **state)
{
    struct place *place = *state;
    must_close(place);
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char name[16];
        must_open(place);
        for (uint32_t i = 0; i < 60; i++) {
            snprintf(name, sizeof name, "f%u", i / 2);
            put_file(place, i / 20, name, i % 2 == 0 ? "one" : "two", NULL);
        }
        struct kith_bytes seen = state_of(place, 0, "f3");
        put_file(place, 0, "f3", "settled", &seen);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    must_open(place);
    expect(place, 29, 30);
}

enum { GROUPS = 6, NAMES = 8 };

/* What the rows say, one by one. */
static void expect_fresh(struct place *place)
{
    uint64_t want[PARTITIONS] = {0};
    uint64_t all = 0;
    for (uint32_t g = 0; g < GROUPS; g++) {
        for (uint32_t n = 0; n < NAMES; n++) {
            char name[16];
            struct kith_arena arena;
            struct kith_row row;
            bool is = false;
            snprintf(name, sizeof name, "f%u", n);
            struct kith_key key = {group_of(g), kith_bytes_make(name, strlen(name))};
            struct kith_bytes bytes = state_of(place, g, name);
            kith_arena_init(&arena, 0);
            assert_int_equal(kith_row_decode(&arena, bytes, &row), KITH_OK);
            assert_int_equal(kith_versions_conflict(&arena, &key, &row, &is), KITH_OK);
            want[partition_of(g)] += is ? 1 : 0;
            all += is ? 1 : 0;
            kith_arena_release(&arena);
            free_bytes(bytes);
        }
    }
    assert_int_equal(conflicts_told(place), all);
    for (uint32_t g = 0; g < GROUPS; g++) {
        assert_int_equal(conflicts_of(place, partition_of(g)), want[partition_of(g)]);
    }
    struct kith_store_verdict verdict;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(kith_store_verify(place->store, false, &verdict, &error), KITH_OK);
    if (verdict.first[0] != '\0') {
        fail_msg("%s", verdict.first);
    }
}

static void test_any(void **state)
{
    struct place *place = *state;
    struct test_random random = {20261123};
    static const char *const contents[] = {"one", "two", "three", NULL};
    struct kith_bytes seen[GROUPS][NAMES] = {{{NULL, 0}}}; /* of some time before */
    for (uint32_t i = 1; i <= 3000; i++) {
        uint32_t g = (uint32_t)test_random_below(&random, GROUPS);
        uint32_t n = (uint32_t)test_random_below(&random, NAMES);
        uint32_t what = (uint32_t)test_random_below(&random, 100);
        char name[16];
        snprintf(name, sizeof name, "f%u", n);
        if (what < 30) {
            free_bytes(seen[g][n]);
            seen[g][n] = state_of(place, g, name);
        } else if (what == 30) {
            struct kith_store_op op = {
                .id = 9, .kind = KITH_STORE_DROP, .partition = partition_of(g)};
            assert_int_equal(ask(place, &op)->err, KITH_OK);
        } else {
            bool knows = seen[g][n].size > 0 && what < 75;
            put_file(place, g, name, contents[test_random_below(&random, knows ? 4 : 3)],
                     knows ? &seen[g][n] : NULL);
        }
        if (i % 1000 == 500) {
            must_close(place);
            must_open(place);
        }
        if (i % 100 == 0) {
            expect_fresh(place);
        }
    }
    for (uint32_t g = 0; g < GROUPS; g++) {
        for (uint32_t n = 0; n < NAMES; n++) {
            free_bytes(seen[g][n]);
        }
    }
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_puts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rolled_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
