/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_backup_state.c - a backup's rows of a partition against owners that answer as nodes do, and
 * change between the questions. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/backup/backup_state.h"
#include "data/row.h"

#define ROWS_MAX 64u
#define LEAF 77u

/* An owner's store: rows "rN" of one group, each with the states that it went through. */
struct store {
    struct kith_arena arena;
    uint32_t count;
    struct kith_leaf_row rows[ROWS_MAX]; /* state.size 0: not there */
    uint32_t page;                       /* rows in one answer */
    uint32_t asks, sent, writes;
    void (*meanwhile)(struct store *store); /* before each answer */
    enum kith_err err;
    bool lies; /* its sums are of rows that it does not send */
    bool one_leaf;                       /* all rows are in LEAF */
    bool old;                            /* knows no parts */
    bool disorder, strays, wrong_sum;    /* in the answers for parts */
    uint32_t named_max;                  /* that may come in a question */
    struct kith_leaf_row answer[ROWS_MAX];
    struct kith_checksum hashes[ROWS_MAX], sums[KITH_TREE_LEAVES];
};

static const uint8_t secret[192] = {1, 2, 3};
static const uint8_t own[12] = {7};

static struct kith_group the_group(void)
{
    return kith_group_make(KITH_VOLUME_FS, own);
}

/* The row as `counter` writes of `run` left it; each value stands alone. */
static struct kith_bytes state_of(struct kith_arena *arena, uint64_t run, uint64_t counter,
                                  const char *value)
{
    struct kith_clock_entry entry = {{run, 1}, counter};
    struct kith_sibling sibling = {.dot = {{run, 1}, counter},
                                   .value = kith_bytes_make(value, strlen(value))};
    struct kith_row row = {.clock = {1, &entry}, .sibling_count = *value ? 1 : 0,
                           .siblings = &sibling};
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_bytes state =
        kith_bytes_make(kith_arena_copy(arena, buf.data, buf.size), buf.size);
    kith_buf_release(&buf);
    return state;
}

static void put(struct store *store, uint32_t number, uint64_t run, uint64_t counter,
                const char *value)
{
    struct kith_leaf_row *row = &store->rows[number];
    char name[16];
    int size = snprintf(name, sizeof name, "r%u", number);
    row->group = the_group();
    for (uint32_t i = 0; store->one_leaf; i++) {
        size = snprintf(name, sizeof name, "r%u.%u", number, i);
        struct kith_key key = {row->group, kith_bytes_make(name, (size_t)size)};
        if (kith_tree_leaf(&key) == LEAF) {
            break;
        }
    }
    row->name = kith_bytes_make(kith_arena_copy(&store->arena, name, (size_t)size), (size_t)size);
    row->state = state_of(&store->arena, run, counter, value);
    struct kith_key key = {row->group, row->name};
    row->hash = kith_row_hash(&key, row->state, kith_bytes_make(secret, sizeof secret));
    store->count = number >= store->count ? number + 1 : store->count;
}

static void forget_row(struct store *store, uint32_t number)
{
    store->rows[number].state.size = 0;
}

static uint32_t leaf_of(const struct kith_leaf_row *row)
{
    struct kith_key key = {row->group, row->name};
    return kith_tree_leaf(&key);
}

static void sums_of(const struct store *store, struct kith_sum sums[KITH_TREE_LEAVES])
{
    static const struct kith_checksum none;
    memset(sums, 0, KITH_TREE_LEAVES * sizeof *sums);
    for (uint32_t i = 0; i < store->count; i++) {
        if (store->rows[i].state.size > 0) {
            kith_sum_replace(&sums[leaf_of(&store->rows[i])], &none, &store->rows[i].hash);
        }
    }
    sums[9].low += store->lies ? 1 : 0;
}

static int by_key(const void *a, const void *b)
{
    const struct kith_leaf_row *const *left = a, *const *right = b;
    return kith_bytes_compare((*left)->name, (*right)->name);
}

static bool named(const struct kith_leaf_req *req, const struct kith_checksum *hash)
{
    bool found = false;
    for (uint32_t k = 0; k < req->have_count && !found; k++) {
        found = kith_checksum_equal(&req->have[k], hash);
    }
    return found;
}

/* As a node answers for a part (store_leaf.c): in the order of the keys, with the sum of all of them up to
 * the last one that is sent. */
static void answer_part(struct store *store, const struct kith_leaf_req *req,
                        struct kith_leaf_res *res)
{
    static const struct kith_checksum none;
    const struct kith_leaf_row *rows[ROWS_MAX];
    struct kith_sum sum = {0, 0}, skipped = {0, 0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->count; i++) {
        const struct kith_bytes name = store->rows[i].name;
        bool in = store->rows[i].state.size > 0 &&
                  kith_leaf_in(&req->leaves, leaf_of(&store->rows[i])) &&
                  (!req->has_after || kith_bytes_compare(name, req->after.name) > 0) &&
                  (!req->has_until || kith_bytes_compare(name, req->until.name) <= 0 ||
                   store->strays);
        if (in) {
            rows[count++] = &store->rows[i];
        }
    }
    qsort(rows, count, sizeof rows[0], by_key);
    for (uint32_t i = 0; i < count && !res->more; i++) {
        bool had = named(req, &rows[i]->hash);
        if (!had && res->row_count == store->page) {
            res->more = true;
            break;
        }
        kith_sum_replace(&skipped, &none, &rows[i]->hash);
        if (!had) {
            kith_sum_add(&sum, &skipped);
            memset(&skipped, 0, sizeof skipped);
            store->answer[res->row_count] = *rows[i];
            store->hashes[res->row_count++] = rows[i]->hash;
        }
    }
    if (!res->more) {
        kith_sum_add(&sum, &skipped);
    }
    if (store->disorder && res->row_count > 1) {
        struct kith_leaf_row first = store->answer[0];
        store->answer[0] = store->answer[1];
        store->answer[1] = first;
        store->hashes[0] = store->answer[0].hash;
        store->hashes[1] = first.hash;
    }
    sum.low += store->wrong_sum ? 1 : 0;
    res->part = true;
    kith_sum_encode(&sum, &res->part_sum);
}

static void answer_leaves(struct store *store, const struct kith_leaf_req *req,
                          struct kith_leaf_res *res)
{
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES && !res->more; leaf++) {
        for (uint32_t i = 0; kith_leaf_in(&req->leaves, leaf) && i < store->count; i++) {
            const struct kith_leaf_row *row = &store->rows[i];
            bool had = row->state.size == 0 || leaf_of(row) != leaf || named(req, &row->hash);
            if (!had && res->row_count == store->page) {
                res->more = true;
                break;
            }
            if (!had) {
                store->answer[res->row_count] = *row;
                store->hashes[res->row_count++] = row->hash;
            }
        }
    }
}

/* As a node answers (store_leaf.c): by leaf, those that are not named, a page of them; the sums with
 * the last page. */
static enum kith_err answer(void *arg, struct kith_leaf_req *req, struct kith_leaf_res *res,
                            struct kith_error *error)
{
    struct store *store = arg;
    struct kith_sum sums[KITH_TREE_LEAVES];
    struct kith_checksum root;
    assert_true(req->sums && req->have_count <= store->named_max);
    store->asks++;
    if (store->meanwhile) {
        store->meanwhile(store);
    }
    if (store->err != KITH_OK) {
        return kith_error_set(error, store->err, "no");
    }
    if (req->part && !store->old) {
        answer_part(store, req, res);
    } else {
        answer_leaves(store, req, res);
    }
    store->sent += res->row_count;
    res->rows = store->answer;
    res->hashes = store->hashes;
    res->hash_count = res->row_count;
    sums_of(store, sums);
    struct kith_sum sum = kith_tree_root(sums);
    kith_sum_encode(&sum, &root);
    if (!res->more && !kith_checksum_equal(&root, &req->root)) {
        for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
            kith_sum_encode(&sums[i], &store->sums[i]);
        }
        res->sums = store->sums;
        res->sum_count = KITH_TREE_LEAVES;
    }
    return KITH_OK;
}

static void store_init(struct store *store, uint32_t rows)
{
    memset(store, 0, sizeof *store);
    kith_arena_init(&store->arena, 0);
    store->page = 5;
    store->named_max = KITH_LEAF_HASHES_MAX;
    for (uint32_t i = 0; i < rows; i++) {
        put(store, i, 1, 1, "first");
    }
}

/* ... all of them in one leaf, of which only so many can be named at a time. */
static void store_init_leaf(struct store *store, uint32_t rows, uint32_t named_max)
{
    store_init(store, 0);
    store->one_leaf = true;
    store->named_max = named_max;
    for (uint32_t i = 0; i < rows; i++) {
        put(store, i, 1, 1, "first");
    }
}

static void begin(struct kith_backup_state *state)
{
    kith_backup_state_init(state, 0, 1);
    kith_backup_state_begin(state);
}

static bool take(struct kith_backup_state *state, struct store *store)
{
    struct kith_backup_owner owner = {"a node", store, answer};
    struct kith_error error;
    bool settled = false;
    store->asks = store->sent = 0;
    state->named_max = store->named_max;
    assert_int_equal(kith_backup_state_take(state, &owner, &settled, &error), KITH_OK);
    return settled;
}

static struct kith_backup_row *find_name(struct kith_backup_state *state, struct kith_bytes name)
{
    for (struct kith_backup_row *row = state->rows; row; row = row->next) {
        if (kith_bytes_equal(row->name, name)) {
            return row;
        }
    }
    return NULL;
}

static struct kith_backup_row *find(struct kith_backup_state *state, uint32_t number)
{
    char name[16];
    int size = snprintf(name, sizeof name, "r%u", number);
    return find_name(state, kith_bytes_make(name, (size_t)size));
}

/* What was merged is what the log holds from now on. */
static void written(struct kith_backup_state *state)
{
    for (struct kith_backup_row *row = state->rows; row; row = row->next) {
        row->held = row->merged;
    }
    kith_backup_state_begin(state);
}

static void assert_as(struct kith_backup_state *state, const struct store *store)
{
    struct kith_sum sums[KITH_TREE_LEAVES];
    struct kith_checksum root, expected;
    uint64_t rows = 0, there = 0;
    sums_of(store, sums);
    struct kith_sum sum = kith_tree_root(sums);
    kith_sum_encode(&sum, &expected);
    kith_backup_state_root(state, false, &rows, &root);
    for (uint32_t i = 0; i < store->count; i++) {
        there += store->rows[i].state.size > 0;
        const struct kith_backup_row *row = find_name(state, store->rows[i].name);
        assert_true(store->rows[i].state.size == 0 ||
                    kith_bytes_equal(row->merged.state, store->rows[i].state));
    }
    assert_int_equal(rows, there);
    assert_memory_equal(&root, &expected, sizeof root);
}

/* All of it comes in pages; then nothing; then what has changed, and nothing else. */
static void test_increment(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    store_init(&store, 40);
    begin(&state);
    assert_true(take(&state, &store));
    assert_int_equal(store.sent, 40);
    assert_as(&state, &store);
    written(&state);
    assert_true(take(&state, &store));
    assert_int_equal(store.asks, 1);
    assert_int_equal(store.sent, 0);
    assert_as(&state, &store);
    written(&state);
    put(&store, 3, 1, 2, "second");
    put(&store, 4, 1, 2, ""); /* deleted: a tombstone */
    put(&store, 40, 1, 1, "new");
    assert_true(take(&state, &store));
    assert_int_equal(store.sent, 3);
    assert_as(&state, &store);
    uint32_t changed = 0;
    for (struct kith_backup_row *row = state.rows; row; row = row->next) {
        changed += kith_backup_row_changed(row);
    }
    assert_int_equal(changed, 3);
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
}

/* A row that all owners have forgotten is gone here, too, and does not come back. */
static void test_forgotten(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    store_init(&store, 20);
    begin(&state);
    assert_true(take(&state, &store));
    written(&state);
    forget_row(&store, 7);
    assert_true(take(&state, &store));
    assert_as(&state, &store);
    assert_true(kith_backup_row_changed(find(&state, 7)));
    assert_false(find(&state, 7)->merged.there);
    assert_true(store.sent < 20); /* only that leaf came again */
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
}

static void write_one(struct store *store)
{
    store->writes++;
    put(store, store->writes % 20, 1, 10 + store->writes, "busy");
}

/* Written to before each answer: what is held in the end is one moment of it. */
static void test_busy(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    store_init(&store, 20);
    store.page = 30;
    store.meanwhile = write_one;
    begin(&state);
    assert_true(take(&state, &store));
    assert_as(&state, &store);
    written(&state); /* from now on each look finds one row changed, and never the one before */
    assert_true(take(&state, &store));
    assert_true(store.asks < 6);
    assert_as(&state, &store);
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
}

static void write_pages(struct store *store)
{
    for (uint32_t i = 0; i < 20; i++) {
        put(store, i, 1, 10 + store->asks, "busier");
    }
}

/* Faster than it can be read: said, within a bounded number of questions. So are sums that are wrong. */
static void test_never_settles(void **test)
{
    (void)test;
    for (uint32_t lies = 0; lies < 2; lies++) {
        struct kith_backup_state state;
        struct store store;
        store_init(&store, 20);
        store.lies = lies == 1;
        store.page = lies == 1 ? 30 : 1;
        store.meanwhile = lies == 1 ? NULL : write_pages;
        begin(&state);
        assert_false(take(&state, &store)); /* every page finds all of it changed: there is more */
        assert_true(store.asks < 200);
        assert_true(lies == 0 || find(&state, 3)->merged.there);
        kith_backup_state_release(&state);
        kith_arena_release(&store.arena);
    }
}

/* Owners differ: each write that one of them has is in what comes of it; nobody's tombstone is undone. */
static void test_merge(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store one, two;
    store_init(&one, 10);
    store_init(&two, 10);
    put(&one, 1, 1, 2, "newer");
    put(&two, 2, 1, 2, "");
    put(&one, 3, 5, 1, "conflict");
    put(&two, 3, 6, 1, "conflict"); /* as written at the same time */
    put(&two, 10, 1, 1, "only there");
    forget_row(&two, 4);
    begin(&state);
    assert_true(take(&state, &one));
    assert_true(take(&state, &two));
    assert_true(two.sent < 10); /* what the first one had was named */
    assert_true(kith_bytes_equal(find(&state, 1)->merged.state, one.rows[1].state));
    assert_true(kith_bytes_equal(find(&state, 2)->merged.state, two.rows[2].state));
    assert_true(kith_bytes_equal(find(&state, 10)->merged.state, two.rows[10].state));
    assert_true(find(&state, 4)->merged.there);
    assert_int_equal(kith_row_count_siblings(find(&state, 3)->merged.state), 2);
    written(&state); /* nobody has row 3 like that: it comes again, once more from each */
    assert_true(take(&state, &one));
    assert_true(take(&state, &two));
    assert_int_equal(kith_row_count_siblings(find(&state, 3)->merged.state), 2);
    assert_false(kith_backup_row_changed(find(&state, 3)));
    kith_backup_state_release(&state);
    kith_arena_release(&one.arena);
    kith_arena_release(&two.arena);
}

static void spoil(struct store *store)
{
    store->page = 60;
    if (store->asks == 2) {
        store->rows[5].group = kith_group_make(KITH_VOLUME_KV, own);
    }
}

/* An owner that fails counts for nothing; answers that make no sense are refused. */
static void test_bad_answers(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    struct kith_backup_owner owner = {"a node", &store, answer};
    struct kith_error error;
    bool settled = false;
    store_init(&store, 20);
    store.err = KITH_EUNREACH;
    begin(&state);
    assert_int_equal(kith_backup_state_take(&state, &owner, &settled, &error), KITH_EUNREACH);
    assert_null(state.rows);
    store.err = KITH_OK;
    kith_backup_state_release(&state);
    kith_backup_state_init(&state, 0, 1024); /* another cluster's partitions */
    kith_backup_state_begin(&state);
    struct kith_group group = the_group();
    state.partition = (kith_group_partition(&group, 1024) + 1) % 1024;
    assert_int_equal(kith_backup_state_take(&state, &owner, &settled, &error), KITH_EFORMAT);
    kith_backup_state_release(&state);
    begin(&state); /* a row that is of no leaf that was asked for is found by its sum in the end */
    store.meanwhile = spoil;
    enum kith_err err = kith_backup_state_take(&state, &owner, &settled, &error);
    assert_true(err == KITH_EFORMAT || err == KITH_OK);
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
}

/* A leaf with more rows than can be named comes in parts: all of it; nothing; what has changed and
 * nothing else; and of what the owner has forgotten only the part that it was in comes again. */
static void test_parts(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    for (uint32_t page = 1; page <= 30; page++) {
        store_init_leaf(&store, 40, 7);
        store.page = page;
        begin(&state);
        assert_true(take(&state, &store));
        assert_true(store.sent >= 40 && store.sent < 48); /* what cannot be named yet comes twice */
        assert_as(&state, &store);
        written(&state);
        assert_true(take(&state, &store));
        assert_int_equal(store.sent, 0);
        put(&store, 3, 1, 2, "second");
        put(&store, 4, 1, 2, "");
        put(&store, 17, 1, 2, "second");
        put(&store, 40, 1, 1, "new");
        assert_true(take(&state, &store));
        assert_int_equal(store.sent, 4);
        assert_as(&state, &store);
        written(&state);
        forget_row(&store, 0);
        forget_row(&store, 20);
        forget_row(&store, 21);
        forget_row(&store, 39);
        assert_true(take(&state, &store));
        assert_true(store.sent <= 32); /* four parts, and the pages that told */
        assert_as(&state, &store);
        kith_backup_state_release(&state);
        kith_arena_release(&store.arena);
    }
}

static void write_some(struct store *store)
{
    if (store->asks % 2 == 0 && store->writes < 30) { /* between the parts of one round */
        store->writes++;
        if (store->writes % 5 == 0) {
            forget_row(store, store->writes % 40);
        } else {
            put(store, (store->writes * 7) % 45, 1, 10 + store->writes, "busy");
        }
    }
}

static void write_first(struct store *store)
{
    put(store, 0, 1, 10 + store->asks, "busy"); /* it is in the first part */
}

/* Written to between the parts: they are asked for again until the leaf is as of one moment; where that
 * never comes, it is said, within a bounded number of questions. */
static void test_parts_busy(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    store_init_leaf(&store, 40, 7);
    store.meanwhile = write_some;
    begin(&state);
    assert_true(take(&state, &store));
    assert_true(store.writes > 5);
    assert_as(&state, &store);
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
    store_init_leaf(&store, 40, 7);
    store.meanwhile = write_first;
    begin(&state);
    assert_false(take(&state, &store));
    assert_true(store.asks < 200);
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
}

/* A node that knows no parts is told apart, at once; and so are parts that are none. */
static void test_bad_parts(void **test)
{
    (void)test;
    for (uint32_t i = 0; i < 4; i++) {
        struct kith_backup_state state;
        struct store store;
        struct kith_backup_owner owner = {"a node", &store, answer};
        struct kith_error error;
        bool settled = false;
        store_init_leaf(&store, 40, 7);
        store.old = i == 0;
        store.disorder = i == 1;
        store.wrong_sum = i == 3;
        begin(&state);
        state.named_max = store.named_max;
        if (i == 2) { /* all but the first of the old rows are others by now, and come with its part */
            assert_true(take(&state, &store));
            for (uint32_t k = 0; k < 40; k++) {
                put(&store, k, 1, 2, "second");
            }
            store.strays = true;
            store.page = 60;
        }
        store.asks = 0;
        enum kith_err err = kith_backup_state_take(&state, &owner, &settled, &error);
        assert_int_equal(err, i == 0 ? KITH_EVERSION : KITH_EFORMAT);
        assert_true(i > 0 || strstr(error.message, "a node: partition 0 has more rows") != NULL);
        assert_true(store.asks < 8);
        kith_backup_state_release(&state);
        kith_arena_release(&store.arena);
    }
}

/* Every row has changed, and so few can be named that many questions in a row bring no new one. */
static void test_many_questions(void **test)
{
    (void)test;
    struct kith_backup_state state;
    struct store store;
    store_init(&store, 60);
    store.named_max = 3;
    begin(&state);
    assert_true(take(&state, &store));
    for (uint32_t i = 0; i < 60; i++) {
        put(&store, i, 1, 2, "second");
    }
    assert_true(take(&state, &store));
    assert_int_equal(store.sent, 60);
    assert_as(&state, &store);
    kith_backup_state_release(&state);
    kith_arena_release(&store.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_increment), cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_busy),      cmocka_unit_test(test_never_settles),
        cmocka_unit_test(test_merge),     cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_parts),     cmocka_unit_test(test_parts_busy),
        cmocka_unit_test(test_bad_parts), cmocka_unit_test(test_many_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
