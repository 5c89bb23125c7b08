/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Chunks that nothing refers to: listed, condemned and deleted step by step, with their places in
 * segments; what may be named anew, and leases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#define GRACE UINT64_C(1000)
#define NOW   UINT64_C(100000) /* chunks are made at 1000 and later */
#define GROUP 1u

static uint32_t partition_of(uint32_t chunk)
{
    struct kith_chunk_id id = chunk_id(chunk);
    return kith_chunk_partition(&id, PARTITIONS);
}

static const struct kith_store_done *list(struct place *place, uint32_t chunk, uint64_t now)
{
    struct kith_store_op op = {.id = 1, .kind = KITH_STORE_SWEEP_LIST};
    op.partition = partition_of(chunk);
    op.u.sweep_list.now_ms = now;
    op.u.sweep_list.grace_ms = GRACE;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done;
}

/* The chunk's entry in the list; all zero: it is not there. */
static struct kith_sweep_entry entry(struct place *place, uint32_t chunk, uint64_t now)
{
    struct kith_chunk_id id = chunk_id(chunk);
    const struct kith_store_done *done = list(place, chunk, now);
    struct kith_sweep_entry none;
    memset(&none, 0, sizeof none);
    for (uint32_t i = 0; i < done->u.sweep_list.count; i++) {
        if (memcmp(&done->u.sweep_list.chunks[i].id, &id, sizeof id) == 0) {
            return done->u.sweep_list.chunks[i];
        }
    }
    return none;
}

/* Whether the step was taken (ASK: nothing refers to it). */
static bool step(struct place *place, enum kith_sweep_step which, uint32_t chunk, uint64_t stamp,
                 uint64_t now)
{
    struct kith_sweep_chunk one = {chunk_id(chunk), stamp};
    struct kith_store_op op = {.id = 2,
                               .kind = which == KITH_SWEEP_ASK ? KITH_STORE_SWEEP_LOOK
                                                               : KITH_STORE_SWEEP_STEP,
                               .durability = KITH_DURABLE_DISK};
    op.partition = partition_of(chunk);
    op.u.sweep.now_ms = now;
    op.u.sweep.grace_ms = GRACE;
    op.u.sweep.step = which;
    op.u.sweep.count = 1;
    op.u.sweep.chunks = &one;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->reached, KITH_DURABLE_DISK);
    return done->u.sweep.kept_count == 0;
}

static void sweep(struct place *place, uint32_t chunk)
{
    assert_true(step(place, KITH_SWEEP_CONDEMN, chunk, 7, NOW));
    assert_true(step(place, KITH_SWEEP_DOOM, chunk, 7, NOW + GRACE));
    assert_true(step(place, KITH_SWEEP_DELETE, chunk, 7, NOW + GRACE));
}

static enum kith_err put_refs(struct place *place, const char *name,
                              const struct kith_chunk_id *refs, uint32_t count, bool own,
                              const struct kith_hint_want *hint, struct kith_bytes context)
{
    struct kith_put_update update = update_of(name, "v");
    update.refs = refs;
    update.ref_count = count;
    update.context = context;
    struct kith_store_op op = put_op(GROUP, &update, 1);
    op.u.put.refs = (struct kith_refs_rule){.now_ms = NOW, .grace_ms = GRACE, .own = own};
    op.u.put.hint = hint;
    const struct kith_store_done *done = ask(place, &op);
    if (done->err == KITH_ECANCELED) {
        assert_int_equal(done->u.unleased.count, count);
        assert_memory_equal(done->u.unleased.ids, refs, count * sizeof *refs);
    }
    return done->err;
}

static const struct kith_bytes nothing;

static void test_steps(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(put_chunk(place, i, chunk_size(i)), KITH_OK);
    }
    assert_false(entry(place, 3, 1003 + GRACE - 1).fresh); /* too young */
    assert_true(entry(place, 3, NOW).fresh);
    assert_true(step(place, KITH_SWEEP_ASK, 3, 0, NOW));
    assert_true(step(place, KITH_SWEEP_CONDEMN, 3, 7, NOW));
    assert_false(entry(place, 3, NOW + GRACE - 1).ripe);
    assert_false(step(place, KITH_SWEEP_DOOM, 3, 7, NOW + 1));
    struct kith_sweep_entry ripe = entry(place, 3, NOW + GRACE);
    assert_true(ripe.ripe && !ripe.fresh && ripe.stamp == 7);
    assert_true(step(place, KITH_SWEEP_DOOM, 3, 7, NOW + GRACE));
    assert_int_equal(check_chunk(place, 3, chunk_size(3)), KITH_OK);
    assert_true(step(place, KITH_SWEEP_DELETE, 3, 7, NOW + GRACE));
    assert_int_equal(check_chunk(place, 3, chunk_size(3)), KITH_ENOTFOUND);
    assert_true(step(place, KITH_SWEEP_DELETE, 3, 7, NOW + GRACE));
    verify(place, 0, 6);
    must_close(place);
    must_open(place);
    verify(place, 0, 6);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(check_chunk(place, i, chunk_size(i)), i == 3 ? KITH_ENOTFOUND : KITH_OK);
    }
}

/* One that was swept is not fetched again, for a while. */
static void test_gone(void **state)
{
    struct place *place = *state;
    assert_int_equal(put_chunk(place, 5, 1000), KITH_OK);
    sweep(place, 5);
    struct kith_chunk_entry chunk = {.id = chunk_id(5), .size = 1000};
    struct kith_store_op op = {.kind = KITH_STORE_CHUNK_LACK, .partition = partition_of(5)};
    op.u.chunk_lack.count = 1;
    op.u.chunk_lack.chunks = &chunk;
    assert_int_equal(ask(place, &op)->u.chunk_list.count, 0);
    (void)list(place, 5, NOW + 2 * GRACE); /* forgets the mark */
    assert_int_equal(ask(place, &op)->u.chunk_list.count, 1);
}

/* Allocated bytes of all segments. */
static uint64_t segment_bytes(const struct place *place)
{
    uint64_t bytes = 0;
    for (uint32_t i = 1; i < 20; i++) {
        char path[200];
        struct stat st;
        snprintf(path, sizeof path, "%s/chunks/%06u.seg", place->dir, i);
        bytes += stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512u : 0;
    }
    return bytes;
}

/* What it took of a segment is free again, in the middle of one, too; and at the next start, where
 * the node ended before that. */
static void test_space(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(put_chunk(place, i, 1u << 20), KITH_OK);
    }
    uint64_t before = segment_bytes(place);
    if (before < 8u << 20) {
        skip(); /* a file system that compresses, or counts late */
    }
    for (uint32_t i = 0; i < 8; i += 2) {
        sweep(place, i);
    }
    assert_true(segment_bytes(place) <= before - (4u << 20));
    must_close(place);
    must_open(place);
    assert_true(segment_bytes(place) <= before - (4u << 20));
    for (uint32_t i = 10; i < 14; i++) { /* no hole is made in what comes after */
        assert_int_equal(put_chunk(place, i, 1u << 20), KITH_OK);
    }
    must_close(place);
    must_open(place);
    for (uint32_t i = 1; i < 14; i += i < 9 ? 2 : 1) {
        enum kith_err err = i == 9 ? KITH_ENOTFOUND : KITH_OK;
        assert_int_equal(check_chunk(place, i, 1u << 20), err);
    }
    verify(place, 0, 8);
}

static void test_referred(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id one = chunk_id(1), two = chunk_id(2);
    struct kith_chunk_id young =
        kith_chunk_id_make(KITH_VOLUME_FS, NOW - 1, (const uint8_t[10]){9});
    assert_int_equal(put_chunk(place, 1, 100), KITH_OK);
    assert_int_equal(put_chunk(place, 2, 100), KITH_OK);
    /* a new reference needs a lease, but where the chunk is young or a row here has one */
    assert_int_equal(put_refs(place, "a", &one, 1, true, NULL, nothing), KITH_ECANCELED);
    assert_int_equal(siblings_of(place, GROUP, "a", (char[32]){0}), 0);
    assert_int_equal(put_refs(place, "a", &young, 1, true, NULL, nothing), KITH_OK);
    struct kith_put_update update = update_of("b", "v");
    update.refs = &one;
    update.ref_count = 1;
    struct kith_store_op op = put_op(GROUP, &update, 1);
    op.u.put.refs = (struct kith_refs_rule){NOW, GRACE, true, 1, &one};
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(put_refs(place, "c", &one, 1, true, NULL, nothing), KITH_OK);
    assert_int_equal(put_refs(place, "d", &one, 1, false, NULL, nothing), KITH_ECANCELED);
    const struct kith_uuid node = {{1}};
    const struct kith_hint_want want = {.custody = true, .target_count = 1, .targets = &node};
    assert_int_equal(put_refs(place, "e", &one, 1, true, &want, nothing), KITH_ECANCELED);
    assert_false(step(place, KITH_SWEEP_ASK, 1, 0, NOW));
    assert_false(step(place, KITH_SWEEP_CONDEMN, 1, 7, NOW));
    assert_false(entry(place, 1, NOW).fresh);
    assert_true(step(place, KITH_SWEEP_ASK, 2, 0, NOW));
    /* a list of chunks is no row: what it names is kept, and to name it anew needs a lease */
    struct kith_blob *blob = chunk_blob(7, 100);
    struct kith_store_op put = chunk_op(7, blob);
    put.u.chunk_put.ref_count = 1;
    put.u.chunk_put.refs = &two;
    put.u.chunk_put.rule = (struct kith_refs_rule){.now_ms = NOW, .grace_ms = GRACE, .own = true};
    assert_int_equal(ask(place, &put)->err, KITH_ECANCELED);
    put.u.chunk_put.rule.leased_count = 1;
    put.u.chunk_put.rule.leased = &two;
    assert_int_equal(ask(place, &put)->err, KITH_OK);
    kith_blob_drop(blob);
    assert_false(step(place, KITH_SWEEP_ASK, 2, 0, NOW));
    assert_int_equal(put_refs(place, "f", &two, 1, true, NULL, nothing), KITH_ECANCELED);
}

/* Within one batch a reference goes from row to row, whichever comes first. */
static void test_moved(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id one = chunk_id(1);
    for (uint32_t first = 0; first < 2; first++) {
        uint32_t group = GROUP + first;
        struct kith_put_update update = update_of("from", "v");
        update.refs = &one;
        update.ref_count = 1;
        struct kith_store_op op = put_op(group, &update, 1);
        assert_int_equal(ask(place, &op)->err, KITH_OK);
        struct kith_bytes context = state_of(place, group, "from");
        struct kith_arena arena;
        struct kith_row row;
        struct kith_buf buf;
        kith_arena_init(&arena, 0);
        kith_buf_init(&buf);
        assert_int_equal(kith_row_decode(&arena, context, &row), KITH_OK);
        row.sibling_count = 0;
        kith_row_encode(&row, &buf);
        struct kith_put_update both[2];
        both[first] = update_of("from", "");
        both[first].has_sibling = false;
        both[first].context = kith_buf_bytes(&buf);
        both[1 - first] = update;
        both[1 - first].name = kith_bytes_make("to", 2);
        op = put_op(group, both, 2);
        op.u.put.refs = (struct kith_refs_rule){.now_ms = NOW, .grace_ms = GRACE, .own = true};
        assert_int_equal(ask(place, &op)->err, KITH_OK);
        kith_arena_release(&arena);
        kith_buf_release(&buf);
        free_bytes(context);
    }
    assert_false(step(place, KITH_SWEEP_ASK, 1, 0, NOW));
    verify(place, 4, 0);
}

/* What is kept for others refers, too, until it goes. */
static void test_hint(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id one = chunk_id(1);
    const struct kith_uuid node = {{1}};
    const struct kith_hint_want want = {.target_count = 1, .targets = &node};
    struct kith_put_update update = update_of("a", "v");
    update.refs = &one;
    update.ref_count = 1;
    struct kith_store_op op = put_op(GROUP, &update, 1);
    op.u.put.hint = &want;
    uint32_t partition = op.partition;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_false(step(place, KITH_SWEEP_ASK, 1, 0, NOW));
    struct kith_store_op drop = {.kind = KITH_STORE_HINT_DROP, .partition = partition};
    drop.u.hint_drop.before_ms = UINT64_MAX;
    assert_int_equal(ask(place, &drop)->err, KITH_OK);
    assert_true(step(place, KITH_SWEEP_ASK, 1, 0, NOW));
}

static const struct kith_store_done *lease(struct place *place, const struct kith_chunk_id *ids,
                                           uint32_t count, uint64_t now)
{
    struct kith_store_op op = {.id = 3,
                               .kind = KITH_STORE_CHUNK_LEASE,
                               .durability = KITH_DURABLE_DISK};
    op.partition = kith_chunk_partition(&ids[0], PARTITIONS);
    op.u.lease.now_ms = now;
    op.u.lease.grace_ms = GRACE;
    op.u.lease.count = count;
    op.u.lease.ids = ids;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done;
}

static void test_lease(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id ids[3] = {chunk_id(1), chunk_id(2), chunk_id(3)};
    for (uint32_t i = 1; i < 3; i++) {
        assert_int_equal(put_chunk(place, i, 100), KITH_OK);
        assert_true(step(place, KITH_SWEEP_CONDEMN, i, 7, NOW));
    }
    assert_true(step(place, KITH_SWEEP_DOOM, 2, 7, NOW + GRACE));
    const struct kith_store_done *done = lease(place, ids, 3, NOW + GRACE);
    assert_int_equal(done->u.lease.held_count, 1); /* the third is not here */
    assert_memory_equal(&done->u.lease.held[0], &ids[0], sizeof ids[0]);
    assert_int_equal(done->u.lease.gone_count, 1);
    assert_memory_equal(&done->u.lease.gone[0], &ids[1], sizeof ids[1]);
    assert_false(step(place, KITH_SWEEP_DOOM, 1, 7, NOW + GRACE));
    assert_false(step(place, KITH_SWEEP_CONDEMN, 1, 8, NOW + GRACE));
    must_close(place);
    must_open(place);
    assert_false(step(place, KITH_SWEEP_CONDEMN, 1, 8, NOW + 2 * GRACE - 1));
    assert_true(step(place, KITH_SWEEP_CONDEMN, 1, 8, NOW + 2 * GRACE));
}

/* What is not here leaves nothing behind, however much is named; but a condemnation is voided. */
static void test_lease_of_nothing(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id ids[100];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            ids[i] = chunk_id(1000 * (round + 1) + i);
        }
        const struct kith_store_done *done = lease(place, ids, 100, NOW);
        assert_int_equal(done->u.lease.held_count + done->u.lease.gone_count, 0);
    }
    assert_true(step(place, KITH_SWEEP_CONDEMN, 1000, 8, NOW)); /* no mark: no lease bars it */
    struct kith_chunk_id one = chunk_id(1000);
    (void)lease(place, &one, 1, NOW + GRACE);
    assert_false(step(place, KITH_SWEEP_DOOM, 1000, 8, NOW + GRACE));
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_space, setup, teardown),
        cmocka_unit_test_setup_teardown(test_referred, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hint, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease_of_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
