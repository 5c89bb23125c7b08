/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The store on WiredTiger: rows, the node's records, restarts, damage. Invariants 1, 5, 12. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <sys/mount.h>

#include "store_place.h"

/* WiredTiger does not free its log threads' arguments when it cannot open a damaged file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:__wt_calloc";
}

/* ---- Rows ---- */

static void test_put_get(void **state)
{
    struct place *place = *state;
    char text[32];
    put_text(place, 1, "a", "one");
    assert_int_equal(siblings_of(place, 1, "a", text), 1);
    assert_string_equal(text, "one");
    put_text(place, 1, "a", "two");
    assert_int_equal(siblings_of(place, 1, "a", text), 1);
    assert_string_equal(text, "two");
    assert_int_equal(siblings_of(place, 1, "missing", text), 0);
    struct kith_put_update blind = update_of("a", "three"); /* without a context: concurrent */
    struct kith_store_op op = put_op(1, &blind, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(siblings_of(place, 1, "a", text), 2);
    verify(place, 1, 0);
    must_close(place);
    must_open(place);
    assert_int_equal(siblings_of(place, 1, "a", text), 2);
    verify(place, 1, 0);
}

static void test_duplicate_request(void **state)
{
    struct place *place = *state;
    struct kith_put_update update = update_of("a", "x");
    struct kith_store_op op = put_op(1, &update, 1);
    const struct kith_store_done *done = ask(place, &op);
    assert_false(done->u.put.duplicate);
    struct kith_dot dot = done->u.put.rows[0].dot;
    done = ask(place, &op);
    assert_true(done->u.put.duplicate);
    assert_true(kith_dot_equal(&dot, &done->u.put.rows[0].dot));
    struct kith_store_op find = {.id = 9, .kind = KITH_STORE_FIND, .partition = op.partition};
    find.u.find.group = op.u.put.group;
    find.u.find.request = op.u.put.request;
    find.u.find.name_count = 1;
    find.u.find.names = &update.name;
    done = ask(place, &find);
    assert_true(done->u.find.found);
    assert_true(kith_dot_equal(&dot, &done->u.find.rows[0].dot));
    assert_true(done->u.find.rows[0].state.size > 0);
    find.u.find.request = next_request();
    assert_false(ask(place, &find)->u.find.found);
}

static void test_batch_is_all_or_nothing(void **state)
{
    struct place *place = *state;
    char text[32];
    /* a second update that fails: a context that is no row */
    struct kith_put_update updates[3] = {update_of("a", "1"), update_of("b", "2"),
                                         update_of("c", "3")};
    updates[2].context = kith_bytes_make("rubbish", 7);
    struct kith_store_op bad = put_op(3, updates, 3);
    struct kith_put_update other = update_of("d", "4");
    struct kith_store_op good = put_op(3, &other, 1);
    release_results(place);
    submit(place, &good);
    submit(place, &bad); /* shares its transaction with a good one on each side */
    struct kith_put_update after = update_of("e", "5");
    struct kith_store_op good2 = put_op(3, &after, 1);
    submit(place, &good2);
    kith_store_kick(place->store);
    assert_int_equal(next_done(place)->err, KITH_OK);
    const struct kith_store_done *done = next_done(place);
    assert_int_equal(done->err, KITH_EFORMAT);
    assert_true(strlen(done->message) > 0);
    assert_int_equal(next_done(place)->err, KITH_OK);
    assert_int_equal(siblings_of(place, 3, "a", text), 0);
    assert_int_equal(siblings_of(place, 3, "b", text), 0);
    assert_int_equal(siblings_of(place, 3, "d", text), 1);
    assert_int_equal(siblings_of(place, 3, "e", text), 1);
    verify(place, 2, 0);
    updates[2] = updates[0]; /* a name twice */
    bad = put_op(3, updates, 3);
    assert_int_equal(ask(place, &bad)->err, KITH_EINVAL);
    verify(place, 2, 0);
}

/* More in one transaction than a log file holds. */
static void test_large_batch(void **state)
{
    struct place *place = *state;
    enum { COUNT = 60, SIZE = 60000 };
    static char names[COUNT][8];
    struct kith_put_update updates[COUNT];
    char *value = malloc(SIZE);
    memset(value, 'x', SIZE);
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%u", i);
        updates[i] = update_of(names[i], "");
        updates[i].value = kith_bytes_make(value, SIZE);
    }
    struct kith_store_op op = put_op(1, updates, COUNT);
    op.durability = KITH_DURABLE_DISK;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(next_done(place)->err, KITH_OK);
    must_close(place);
    must_open(place);
    verify(place, COUNT, 0);
    free(value);
}

static void test_merge(void **state)
{
    struct place *place = *state;
    struct kith_bytes source;
    char text[32];
    put_text(place, 4, "a", "one");
    source = state_of(place, 4, "a");
    struct kith_replica_row row = {.name = kith_bytes_make("a", 1), .state = source};
    struct kith_store_op op = {.id = 2, .kind = KITH_STORE_MERGE};
    op.u.merge.group = group_of(5);
    op.partition = kith_group_partition(&op.u.merge.group, PARTITIONS);
    op.u.merge.row_count = 1;
    op.u.merge.rows = &row;
    assert_true(ask(place, &op)->u.merge.changed);
    assert_false(ask(place, &op)->u.merge.changed);
    assert_int_equal(siblings_of(place, 5, "a", text), 1);
    row.state = kith_bytes_make("junk", 4);
    assert_int_equal(ask(place, &op)->err, KITH_EFORMAT);
    verify(place, 2, 0);
    free_bytes(source);
}

static void test_scan(void **state)
{
    struct place *place = *state;
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "n%02d", i);
        put_text(place, 6, name, "v");
    }
    put_text(place, 7, "other", "v");
    struct kith_store_op op = {.id = 3, .kind = KITH_STORE_SCAN};
    op.u.scan.group = group_of(6);
    op.partition = kith_group_partition(&op.u.scan.group, PARTITIONS);
    op.u.scan.max_rows = 20;
    uint32_t seen = 0;
    uint8_t after[8];
    for (bool more = true; more;) {
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        for (uint32_t i = 0; i < done->u.rows.row_count; i++) {
            snprintf(name, sizeof name, "n%02u", seen++);
            assert_int_equal(done->u.rows.rows[i].name.size, 3);
            assert_memory_equal(done->u.rows.rows[i].name.data, name, 3);
        }
        more = done->u.rows.more;
        memcpy(after, name, 3);
        op.u.scan.has_after = true;
        op.u.scan.after = kith_bytes_make(after, 3);
    }
    assert_int_equal(seen, 50);
    op.u.scan.has_after = false;
    op.u.scan.max_rows = 0;
    op.u.scan.max_bytes = 1; /* one row always comes */
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->u.rows.row_count, 1);
    assert_true(done->u.rows.more);
}

/* A name of the group in that leaf, the next one from `*number` on. */
static void name_in_leaf(uint32_t group, uint32_t leaf, uint32_t *number, char name[16])
{
    struct kith_key key = {group_of(group), kith_bytes_make(name, 0)};
    do {
        snprintf(name, 16, "n%u", (*number)++);
        key.name.size = strlen(name);
    } while (kith_tree_leaf(&key) != leaf);
}

static const struct kith_store_done *ask_leaf(struct place *place, uint32_t group, uint32_t leaf,
                                              uint32_t have_count, const struct kith_checksum *have)
{
    struct kith_group of = group_of(group);
    struct kith_store_op op = {.kind = KITH_STORE_LEAF};
    op.partition = kith_group_partition(&of, PARTITIONS);
    kith_leaf_add(&op.u.leaf.leaves, leaf);
    op.u.leaf.digest = have == NULL;
    op.u.leaf.have_count = have_count;
    op.u.leaf.have = have;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done;
}

/* Anti-entropy: a partition's sums are those of the hashes of its leaves. */
static void test_sums(void **state)
{
    struct place *place = *state;
    char name[16];
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%u", i);
        put_text(place, 3, name, "v");
    }
    struct kith_group group = group_of(3);
    struct kith_store_op op = {.kind = KITH_STORE_SUMS};
    op.partition = kith_group_partition(&group, PARTITIONS);
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    struct kith_sum sums[KITH_TREE_LEAVES];
    memcpy(sums, done->u.sums, sizeof sums);
    uint32_t rows = 0;
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
        static const struct kith_checksum none;
        struct kith_sum sum = {0, 0};
        done = ask_leaf(place, 3, leaf, 0, NULL);
        for (uint32_t i = 0; i < done->u.leaf.row_count; i++) {
            assert_int_equal(done->u.leaf.rows[i].state.size, 0);
            kith_sum_replace(&sum, &none, &done->u.leaf.rows[i].hash);
        }
        rows += done->u.leaf.row_count;
        assert_true(kith_sum_equal(&sum, &sums[leaf]));
    }
    assert_int_equal(rows, 200);
    op.partition = (op.partition + 1) % PARTITIONS; /* nothing is there */
    done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_true(done->u.sums[0].low == 0 && done->u.sums[0].high == 0);
    op.kind = KITH_STORE_LEAF; /* all leaves at once */
    op.partition = kith_group_partition(&group, PARTITIONS);
    memset(&op.u.leaf, 0, sizeof op.u.leaf);
    memset(&op.u.leaf.leaves, 0xff, sizeof op.u.leaf.leaves);
    op.u.leaf.digest = true;
    done = ask(place, &op);
    assert_int_equal(done->u.leaf.row_count, 200);
    assert_int_equal(done->u.leaf.end, KITH_TREE_LEAVES);
    assert_false(done->u.leaf.more);
    assert_null(done->u.leaf.sums);
    op.u.leaf.digest = false;
    op.u.leaf.sums = true; /* for a backup: rows, hashes and sums of one moment */
    done = ask(place, &op);
    assert_int_equal(done->u.leaf.row_count, 200);
    assert_memory_equal(done->u.leaf.sums, sums, sizeof sums);
    op.u.leaf.have_count = KITH_LEAF_HASHES_MAX + 1;
    assert_int_equal(ask(place, &op)->err, KITH_EINVAL);
}

/* What came from another owner: rows of many groups, in one transaction. A row that cannot be merged
 * is left out, and the others are there. */
static void test_absorb(void **state)
{
    struct place *place = *state;
    struct kith_clock_entry entry = {{99, 1}, 1};
    uint8_t value[] = "there";
    struct kith_sibling sibling = {.dot = {{99, 1}, 1}, .value = kith_bytes_make(value, 5)};
    struct kith_row row = {.clock = {1, &entry}, .sibling_count = 1, .siblings = &sibling};
    struct kith_leaf_row rows[3];
    struct kith_buf buf;
    char text[32];
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    memset(rows, 0, sizeof rows);
    uint32_t number = 1, count = 0, groups[3];
    struct kith_group first = group_of(number);
    struct kith_store_op op = {.kind = KITH_STORE_ABSORB};
    op.partition = kith_group_partition(&first, PARTITIONS);
    for (; count < 3; number++) { /* of one partition */
        struct kith_group group = group_of(number);
        if (kith_group_partition(&group, PARTITIONS) == op.partition) {
            rows[count].group = group;
            rows[count].name = kith_bytes_make("a", 1);
            rows[count].state = count == 1 ? kith_bytes_make("x", 1) : kith_buf_bytes(&buf);
            groups[count++] = number;
        }
    }
    op.u.absorb.row_count = 3;
    op.u.absorb.rows = rows;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.absorb.changed, 2);
    assert_int_equal(done->u.absorb.failed, 1);
    done = ask(place, &op);
    assert_int_equal(done->u.absorb.changed, 0);
    assert_int_equal(done->u.absorb.failed, 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(siblings_of(place, groups[i], "a", text), i == 1 ? 0 : 1);
    }
    verify(place, 2, 0);
    kith_buf_release(&buf);
}

/* The rows of a leaf come in pages, less those that the asker has by then. */
static void test_leaf_pages(void **state)
{
    struct place *place = *state;
    enum { COUNT = 40, SIZE = 60000, LEAF = 77 };
    static char text[SIZE + 1];
    static struct kith_checksum have[COUNT];
    uint32_t number = 0, count = 0, pages = 0;
    memset(text, 'x', SIZE);
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[16];
        name_in_leaf(3, LEAF, &number, name);
        put_text(place, 3, name, text);
    }
    for (bool more = true; more; pages++) {
        const struct kith_store_done *done = ask_leaf(place, 3, LEAF, count, have);
        assert_true(done->u.leaf.row_count > 0);
        more = done->u.leaf.more;
        for (uint32_t i = 0; i < done->u.leaf.row_count; i++) {
            const struct kith_leaf_row *row = &done->u.leaf.rows[i];
            struct kith_group group = group_of(3);
            struct kith_key key = {row->group, row->name};
            assert_int_equal(kith_group_compare(&row->group, &group), 0);
            assert_int_equal(kith_tree_leaf(&key), LEAF);
            assert_true(row->state.size > SIZE);
            have[count++] = row->hash;
        }
    }
    assert_int_equal(count, COUNT);
    assert_in_range(pages, 3, 4);
    assert_int_equal(ask_leaf(place, 3, LEAF, COUNT, have)->u.leaf.row_count, 0);
    have[7].bytes[3]++; /* a row that has changed since */
    const struct kith_store_done *done = ask_leaf(place, 3, LEAF, COUNT, have);
    assert_int_equal(done->u.leaf.row_count, 1);
    assert_false(done->u.leaf.more);
}

static void test_disk_completes_twice(void **state)
{
    struct place *place = *state;
    struct kith_put_update update = update_of("a", "x");
    struct kith_store_op op = put_op(1, &update, 1);
    op.durability = KITH_DURABLE_DISK;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->reached, KITH_DURABLE_OS);
    assert_int_equal(done->u.put.row_count, 1);
    done = next_done(place);
    assert_int_equal(done->id, op.id);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    assert_int_equal(done->err, KITH_OK);
    /* `os` before `disk`, for each, also when the committer is quick */
    enum { ROUNDS = 300, OPS = 4 };
    for (uint32_t round = 0; round < ROUNDS; round++) {
        bool at_os[OPS] = {false};
        release_results(place);
        for (uint32_t i = 0; i < OPS; i++) {
            op = put_op(i * 5 + round % 50, &update, 1);
            op.id = i;
            op.durability = KITH_DURABLE_DISK;
            submit(place, &op);
            kith_store_kick(place->store);
        }
        for (uint32_t i = 0; i < 2 * OPS; i++) {
            done = next_done(place);
            assert_int_equal(done->err, KITH_OK);
            assert_true(at_os[done->id] == (done->reached == KITH_DURABLE_DISK));
            at_os[done->id] = true;
        }
    }
}

/* The thread that brings the work does it itself: then nothing is left to wait for. */
static void test_lend(void **state)
{
    struct place *place = *state;
    struct kith_put_update update = update_of("n", "v");
    uint32_t lent = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        struct kith_store_op op = put_op(i % 50, &update, 1);
        release_results(place);
        submit(place, &op);
        if (kith_store_lend(place->store)) {
            lent++;
            pthread_mutex_lock(&place->lock);
            assert_int_equal(place->count, 1);
            pthread_mutex_unlock(&place->lock);
        }
        assert_int_equal(next_done(place)->err, KITH_OK);
    }
    assert_true(lent > 0); /* the worker sleeps nearly always; a slow disk only makes it fewer */
    struct kith_store_counts counts = kith_store_counts(place->store);
    assert_int_equal(counts.rows, 50);
    verify(place, 50, 0);
}

/* Several lenders and the worker's own thread in turn: nothing is lost or done twice. */
enum { LENDERS = 3, LENDER_OPS = 300 };

struct lender {
    struct place *place;
    pthread_t thread;
    struct kith_put_update updates[LENDER_OPS];
    char names[LENDER_OPS][8];
    struct kith_store_op ops[LENDER_OPS];
};

static void *lender_main(void *arg)
{
    struct lender *lender = arg;
    struct kith_store *store = lender->place->store;
    for (uint32_t i = 0; i < LENDER_OPS; i++) {
        assert_int_equal(kith_store_submit(store, &lender->ops[i], NULL), KITH_OK);
        if (i % 7 == 0) {
            kith_store_kick(store);
        } else {
            (void)kith_store_lend(store);
        }
    }
    kith_store_kick(store);
    return NULL;
}

static void test_lenders(void **state)
{
    struct place *place = *state;
    struct lender *lenders = calloc(LENDERS, sizeof *lenders);
    release_results(place);
    for (uint32_t i = 0; i < LENDERS; i++) {
        lenders[i].place = place;
        for (uint32_t j = 0; j < LENDER_OPS; j++) {
            snprintf(lenders[i].names[j], sizeof lenders[i].names[j], "%u", j);
            lenders[i].updates[j] = update_of(lenders[i].names[j], "v");
            lenders[i].ops[j] = put_op(i, &lenders[i].updates[j], 1);
        }
    }
    for (uint32_t i = 0; i < LENDERS; i++) {
        assert_int_equal(
            pthread_create(&lenders[i].thread, NULL, lender_main, &lenders[i]), 0);
    }
    for (uint32_t i = 0; i < LENDERS * LENDER_OPS; i++) {
        assert_int_equal(next_done(place)->err, KITH_OK);
    }
    for (uint32_t i = 0; i < LENDERS; i++) {
        pthread_join(lenders[i].thread, NULL);
    }
    pthread_mutex_lock(&place->lock);
    assert_int_equal(place->list_taken, place->count); /* and no completion more */
    pthread_mutex_unlock(&place->lock);
    verify(place, LENDERS * LENDER_OPS, 0);
    free(lenders);
}

/* What may take long is never the lender's. */
static void test_lend_light_only(void **state)
{
    struct place *place = *state;
    struct kith_bytes names[17];
    for (uint32_t i = 0; i < 17; i++) {
        names[i] = kith_bytes_make(&"0123456789abcdefg"[i], 1);
    }
    struct kith_store_op scan = {.kind = KITH_STORE_SCAN}; /* max_rows 0: a whole page */
    scan.u.scan.group = group_of(1);
    scan.partition = kith_group_partition(&scan.u.scan.group, PARTITIONS);
    struct kith_store_op find = {.kind = KITH_STORE_FIND, .partition = scan.partition};
    find.u.find.group = scan.u.scan.group;
    find.u.find.request = next_request();
    find.u.find.name_count = 17;
    find.u.find.names = names;
    const struct kith_store_op *ops[2] = {&scan, &find};
    for (uint32_t i = 0; i < 100; i++) { /* the worker sleeps at some of these times at least */
        release_results(place);
        submit(place, ops[i % 2]);
        assert_false(kith_store_lend(place->store));
        assert_int_equal(next_done(place)->err, KITH_OK);
    }
}

/* A stop in the middle of lending: what was taken completes, once, and nobody waits for ever. */
struct stopper {
    struct place *place;
    atomic_uint taken;
    struct lender *lender;
};

static void *stop_lender(void *arg)
{
    struct stopper *stopper = arg;
    struct kith_store *store = stopper->place->store;
    for (uint32_t i = 0; i < LENDER_OPS; i++) {
        if (kith_store_submit(store, &stopper->lender->ops[i], NULL) != KITH_OK) {
            break;
        }
        atomic_fetch_add(&stopper->taken, 1);
        (void)kith_store_lend(store);
    }
    return NULL;
}

static void test_stop_while_lent(void **state)
{
    struct place *place = *state;
    for (uint32_t round = 0; round < 30; round++) {
        struct lender *lenders = calloc(2, sizeof *lenders);
        struct stopper stoppers[2];
        release_results(place);
        for (uint32_t i = 0; i < 2; i++) {
            stoppers[i].place = place;
            stoppers[i].lender = &lenders[i];
            atomic_store(&stoppers[i].taken, 0);
            for (uint32_t j = 0; j < LENDER_OPS; j++) {
                snprintf(lenders[i].names[j], sizeof lenders[i].names[j], "%u", j);
                lenders[i].updates[j] = update_of(lenders[i].names[j], "v");
                lenders[i].ops[j] = put_op(i, &lenders[i].updates[j], 1);
                lenders[i].ops[j].durability = j % 5 == 0 ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
            }
            assert_int_equal(
                pthread_create(&lenders[i].thread, NULL, stop_lender, &stoppers[i]), 0);
        }
        struct timespec pause = {0, (long)round * 100000};
        nanosleep(&pause, NULL);
        kith_store_stop(place->store);
        for (uint32_t i = 0; i < 2; i++) {
            pthread_join(lenders[i].thread, NULL);
        }
        uint32_t want = atomic_load(&stoppers[0].taken) + atomic_load(&stoppers[1].taken), got = 0;
        pthread_mutex_lock(&place->lock);
        for (uint32_t i = 0; i < place->count; i++) {
            got += kith_store_results_ended(place->list[i]);
        }
        pthread_mutex_unlock(&place->lock);
        assert_int_equal(got, want);
        release_results(place);
        must_close(place);
        must_open(place);
        free(lenders);
    }
}

static void test_meta(void **state)
{
    struct place *place = *state;
    struct kith_store_op op = {.id = 4, .kind = KITH_STORE_META_PUT};
    op.u.meta.key = KITH_META_TABLE;
    op.u.meta.value = kith_bytes_make("table", 5);
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    must_close(place);
    must_open(place);
    struct kith_start start;
    memset(&start, 0, sizeof start);
    kith_store_start(place->store, &start);
    assert_false(start.has_data);
    assert_int_equal(start.meta[KITH_META_TABLE].size, 5);
    assert_memory_equal(start.meta[KITH_META_TABLE].data, "table", 5);
    assert_int_equal(start.meta[KITH_META_NODE].size, 0);
    op.u.meta.key = KITH_META_KEYS;
    assert_int_equal(ask(place, &op)->err, KITH_EINVAL);
}

/* ---- Random operations, many at once ---- */

static void random_round(struct place *place, uint32_t *seed)
{
    enum { OPS = 200 };
    static struct kith_put_update updates[OPS][3];
    static char names[OPS][3][8];
    static char values[OPS][64];
    static struct kith_chunk_id refs[OPS][2];
    release_results(place);
    uint32_t expected = 0;
    for (uint32_t i = 0; i < OPS; i++) {
        *seed = *seed * 1103515245u + 12345u;
        uint32_t random = *seed >> 8;
        uint32_t count = 1 + random % 3;
        snprintf(values[i], sizeof values[i], "value %u", random);
        for (uint32_t j = 0; j < count; j++) {
            snprintf(names[i][j], sizeof names[i][j], "%u", (random / 7 + j) % 20);
            updates[i][j] = update_of(names[i][j], values[i]);
            refs[i][0] = chunk_id(random % 50);
            refs[i][1] = chunk_id(random % 13);
            updates[i][j].refs = refs[i];
            updates[i][j].ref_count = random % 5 == 0 ? 2 : 0;
            updates[i][j].has_sibling = random % 4 != 0;
        }
        if (random % 17 == 0) {
            updates[i][count - 1].context = kith_bytes_make("bad", 3);
        }
        struct kith_store_op op = put_op(random % 40, updates[i], count);
        op.durability = random % 31 == 0 ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
        expected += op.durability == KITH_DURABLE_DISK && random % 17 != 0 ? 2 : 1;
        submit(place, &op);
    }
    kith_store_kick(place->store);
    for (uint32_t i = 0; i < expected; i++) {
        const struct kith_store_done *done = next_done(place);
        assert_true(done->err == KITH_OK || done->err == KITH_EFORMAT);
    }
}

static void test_random(void **state)
{
    struct place *place = *state;
    uint32_t seed = 42;
    for (uint32_t i = 0; i < 10; i++) {
        random_round(place, &seed);
    }
    struct kith_store_counts counts = kith_store_counts(place->store);
    assert_true(counts.rows > 300);
    verify(place, counts.rows, 0);
    must_close(place);
    must_open(place);
    verify(place, counts.rows, 0);
}

/* ---- What goes wrong ---- */

static void test_second_open_refused(void **state)
{
    struct place *place = *state;
    struct place other = *place;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(place_open(&other, &error), KITH_EBUSY);
    assert_non_null(strstr(error.message, place->dir));
    assert_non_null(strstr(error.message, "in use by another kithd"));
}

static void test_damaged_file(void **state)
{
    struct place *place = *state;
    struct kith_error error = {KITH_OK, ""};
    char path[256];
    put_text(place, 1, "a", "b");
    must_close(place);
    snprintf(path, sizeof path, "%s/wt/meta.wt", place->dir); /* others: test_store_aside.c */
    int fd = open(path, O_RDWR);
    char junk[16384];
    memset(junk, 0x5a, sizeof junk);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk);
    close(fd);
    enum kith_err err = place_open(place, &error);
    assert_int_equal(err, KITH_ECORRUPT);
    assert_non_null(strstr(error.message, place->dir));
    assert_non_null(strstr(error.message, "backup"));
    snprintf(path, sizeof path, "%s/wt/WiredTiger.turtle", place->dir);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, junk, 100), 100);
    close(fd);
    assert_int_equal(place_open(place, &error), KITH_ECORRUPT);
}

/* The node ended while the engine made its next log file: that has a header, and nothing else. */
static void test_begun_log(void **state)
{
    struct place *place = *state;
    char path[256], next[256], value[32];
    uint8_t header[128];
    unsigned number = 0;
    put_text(place, 1, "row", "value");
    must_close(place);
    for (unsigned i = 1; i < 1000; i++) {
        snprintf(path, sizeof path, "%s/wt/WiredTigerLog.%010u", place->dir, i);
        number = access(path, F_OK) == 0 ? i : number;
    }
    assert_int_not_equal(number, 0);
    snprintf(path, sizeof path, "%s/wt/WiredTigerLog.%010u", place->dir, number);
    snprintf(next, sizeof next, "%s/wt/WiredTigerLog.%010u", place->dir, number + 1);
    int from = open(path, O_RDONLY);
    int to = open(next, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(from >= 0 && to >= 0);
    assert_int_equal(read(from, header, sizeof header), sizeof header);
    assert_int_equal(write(to, header, sizeof header), sizeof header);
    close(from);
    close(to);
    for (uint32_t i = 0; i < 3; i++) { /* and writes go on */
        must_open(place);
        assert_int_equal(siblings_of(place, 1, "row", value), 1);
        assert_string_equal(value, i == 0 ? "value" : "later");
        put_text(place, 1, "row", "later");
        verify(place, 1, 0);
        must_close(place);
    }
    must_open(place);
}

static void test_bad_paths(void **state)
{
    struct place *place = *state;
    struct place other;
    struct kith_error error = {KITH_OK, ""};
    memset(&other, 0, sizeof other);
    snprintf(other.dir, sizeof other.dir, "%.64s/lock", place->dir); /* a file */
    assert_int_equal(place_open(&other, &error), KITH_EINVAL);
    assert_non_null(strstr(error.message, other.dir));
    snprintf(other.dir, sizeof other.dir, "/proc/nothing/here");
    assert_int_not_equal(place_open(&other, &error), KITH_OK);
    assert_non_null(strstr(error.message, other.dir));
}

static void test_read_only(void **state)
{
    struct place *place = *state;
    struct kith_error error = {KITH_OK, ""};
    must_close(place);
    if (mount(place->dir, place->dir, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, place->dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0) {
        skip(); /* not root */
    }
    enum kith_err err = place_open(place, &error);
    assert_int_equal(umount(place->dir), 0);
    assert_int_equal(err, KITH_EROFS);
    assert_non_null(strstr(error.message, place->dir));
    must_open(place);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_duplicate_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_is_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaf_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absorb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_completes_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lend, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lenders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lend_light_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_while_lent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_open_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_begun_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
