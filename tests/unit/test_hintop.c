/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Records of what is kept for others: who is to have it, who has it, when nobody needs it any more. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "core/rows/hintop.h"

static uint8_t secret_bytes[192];
static struct kith_bytes secret;
static const struct kith_key key = {.name = {(const uint8_t *)"name", 4}};
static const struct kith_bytes nothing = {NULL, 0};

static struct kith_uuid uuid_of(uint8_t byte)
{
    struct kith_uuid uuid;
    memset(uuid.bytes, byte, sizeof uuid.bytes);
    return uuid;
}

/* Three owners: 1, 2 and `third`. */
static struct kith_hint_owners owners_with(struct kith_uuid uuids[3], uint8_t third)
{
    uuids[0] = uuid_of(1);
    uuids[1] = uuid_of(2);
    uuids[2] = uuid_of(third);
    return (struct kith_hint_owners){3, uuids, 2};
}

static struct kith_hint_want want_of(const struct kith_uuid *target, bool custody, bool thin)
{
    return (struct kith_hint_want){
        .custody = custody, .thin = thin, .target_count = target ? 1 : 0, .targets = target};
}

static bool wanted(const struct kith_hint *hint, uint8_t byte,
                   const struct kith_hint_owners *owners)
{
    struct kith_uuid node = uuid_of(byte);
    return kith_hint_wanted(hint, &node, owners);
}

static bool ack(struct kith_hint *hint, uint8_t byte, const struct kith_hint_owners *owners)
{
    struct kith_uuid node = uuid_of(byte);
    return kith_hint_ack(hint, &node, owners);
}

static struct kith_bytes record_of(struct kith_arena *arena, struct kith_bytes old, uint64_t run,
                                   uint64_t counter)
{
    struct kith_rowop_env env = {run, counter, counter, 1000000, secret, false, NULL, false};
    struct kith_put_update update = {.has_sibling = true, .value = kith_bytes_make("v", 1)};
    static const struct kith_request_id none;
    struct kith_rowop_result result;
    assert_int_equal(kith_rowop_put(arena, &env, &key, old, &update, kith_bytes_make("a@b", 3),
                                    counter, &none, &result),
                     KITH_OK);
    return result.record;
}

/* ---- Bytes ---- */

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_hint hint = {.exists = true, .custody = true, .first_ms = UINT64_C(1) << 41};
    struct kith_hint again;
    struct kith_bytes bytes;
    hint.target_count = KITH_HINT_NODES_MAX;
    for (uint8_t i = 0; i < KITH_HINT_NODES_MAX; i++) {
        hint.targets[i] = uuid_of(i);
    }
    hint.acked_count = 1;
    hint.acked[0] = uuid_of(77);
    hint.record = kith_bytes_make("record", 6);
    assert_int_equal(kith_hint_encode(&arena, &hint, &bytes), KITH_OK);
    assert_int_equal(kith_hint_decode(bytes, &again), KITH_OK);
    assert_true(again.exists && again.custody && !again.thin);
    assert_true(again.first_ms == hint.first_ms);
    assert_int_equal(again.target_count, KITH_HINT_NODES_MAX);
    assert_memory_equal(again.targets, hint.targets, sizeof hint.targets);
    assert_int_equal(again.acked_count, 1);
    assert_true(kith_uuid_equal(&again.acked[0], &hint.acked[0]));
    assert_true(kith_bytes_equal(again.record, hint.record));
    assert_int_equal(kith_hint_decode(nothing, &again), KITH_OK);
    assert_false(again.exists);
    kith_arena_release(&arena);
}

/* All that is before the record; the record has a checksum of its own. */
static void damaged_bytes_are_refused(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_hint hint = {.exists = true, .thin = true, .first_ms = 5, .target_count = 2};
    struct kith_hint again;
    struct kith_bytes bytes;
    hint.targets[0] = uuid_of(1);
    hint.targets[1] = uuid_of(2);
    assert_int_equal(kith_hint_encode(&arena, &hint, &bytes), KITH_OK);
    uint8_t *copy = kith_arena_copy(&arena, bytes.data, bytes.size);
    assert_non_null(copy);
    for (size_t i = 0; i < bytes.size; i++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            copy[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(kith_hint_decode(kith_bytes_make(copy, bytes.size), &again),
                             KITH_ECORRUPT);
            copy[i] ^= (uint8_t)(1u << bit);
        }
        if (i > 0) {
            assert_int_equal(kith_hint_decode(kith_bytes_make(copy, i), &again), KITH_ECORRUPT);
        }
    }
    kith_arena_release(&arena);
}

/* ---- Who wants it, who has it ---- */

static void a_plain_hint_is_for_its_targets(void **state)
{
    (void)state;
    struct kith_uuid uuids[3], two = uuid_of(2), three = uuid_of(3);
    struct kith_hint_owners owners = owners_with(uuids, 3);
    struct kith_hint_want want = want_of(&two, false, false);
    struct kith_hint hint = {0};
    assert_false(wanted(&hint, 2, &owners));
    kith_hint_take(&hint, &want, 1000, true);
    kith_hint_take(&hint, &want, 2000, true);
    assert_int_equal(hint.target_count, 1);
    assert_true(hint.first_ms == 1000);
    assert_true(wanted(&hint, 2, &owners) && !wanted(&hint, 1, &owners) &&
                !wanted(&hint, 3, &owners));
    want = want_of(&three, false, false);
    kith_hint_take(&hint, &want, 2000, false);
    assert_false(ack(&hint, 2, &owners));
    assert_false(wanted(&hint, 2, &owners));
    assert_true(wanted(&hint, 3, &owners));
    kith_hint_take(&hint, &want, 2000, true); /* another state: nobody has that */
    assert_true(wanted(&hint, 2, &owners));
    assert_false(ack(&hint, 3, &owners));
    assert_true(ack(&hint, 2, &owners));
}

/* It counted as one of W copies: W owners are to have it, whoever it was made for. */
static void custody_goes_when_w_owners_have_it(void **state)
{
    (void)state;
    struct kith_uuid uuids[3], two = uuid_of(2);
    struct kith_hint_owners owners = owners_with(uuids, 3);
    struct kith_hint_want want = want_of(&two, true, false);
    struct kith_hint hint = {0};
    kith_hint_take(&hint, &want, 1000, true);
    assert_true(wanted(&hint, 1, &owners) && wanted(&hint, 2, &owners) &&
                wanted(&hint, 3, &owners));
    want = want_of(&two, false, false); /* a later write of the row does not make it less */
    kith_hint_take(&hint, &want, 1000, false);
    assert_false(ack(&hint, 2, &owners));
    assert_false(ack(&hint, 2, &owners)); /* twice is once */
    assert_false(ack(&hint, 9, &owners)); /* no owner */
    assert_true(wanted(&hint, 1, &owners));
    assert_true(ack(&hint, 3, &owners));
}

/* Its target has been replaced: the owners of now are to have it; what a former one has counts for
 * nothing. */
static void a_new_table_sends_it_to_the_new_owners(void **state)
{
    (void)state;
    struct kith_uuid uuids[3], three = uuid_of(3);
    struct kith_hint_owners before = owners_with(uuids, 3);
    struct kith_uuid later[3];
    struct kith_hint_owners after = owners_with(later, 4);
    struct kith_hint_want want = want_of(&three, false, false);
    struct kith_hint hint = {0};
    kith_hint_take(&hint, &want, 1000, true);
    assert_false(wanted(&hint, 1, &before));
    assert_true(wanted(&hint, 1, &after) && wanted(&hint, 4, &after));
    assert_false(ack(&hint, 4, &after));
    assert_true(ack(&hint, 2, &after));

    struct kith_hint custody = {0};
    want = want_of(&three, true, false);
    kith_hint_take(&custody, &want, 1000, true);
    for (uint8_t i = 0; i < KITH_HINT_NODES_MAX; i++) { /* owners come and go */
        struct kith_uuid gone[3];
        struct kith_hint_owners others = owners_with(gone, (uint8_t)(50 + i));
        assert_false(ack(&custody, (uint8_t)(50 + i), &others));
    }
    assert_false(ack(&custody, 4, &after)); /* and there is room for those of now */
    assert_true(ack(&custody, 1, &after));
}

/* While data moves more must have it than afterwards: those who had it by then are asked once more,
 * and it goes; else it would stay for good, where the one that lacks it is. */
static void fewer_that_must_have_it_let_it_go(void **state)
{
    (void)state;
    struct kith_uuid uuids[4] = {uuid_of(1), uuid_of(2), uuid_of(3), uuid_of(4)};
    struct kith_hint_owners moving = {4, uuids, 3}, moved = {3, uuids, 2};
    struct kith_hint_want want = want_of(&uuids[2], true, false);
    struct kith_hint hint = {0};
    kith_hint_take(&hint, &want, 1000, true);
    assert_false(ack(&hint, 1, &moving));
    assert_false(ack(&hint, 2, &moving));
    assert_false(wanted(&hint, 1, &moving) || wanted(&hint, 2, &moving));
    assert_true(wanted(&hint, 1, &moved) && wanted(&hint, 2, &moved));
    assert_true(ack(&hint, 1, &moved));
}

static void more_targets_than_fit_are_all_owners(void **state)
{
    (void)state;
    struct kith_hint hint = {0};
    for (uint8_t i = 0; i <= KITH_HINT_NODES_MAX; i++) {
        struct kith_uuid target = uuid_of((uint8_t)(100 + i));
        struct kith_hint_want want = want_of(&target, false, false);
        assert_false(hint.custody);
        kith_hint_take(&hint, &want, 1, false);
    }
    assert_true(hint.custody);
}

/* What is marked is what is there; where a record has been delivered meanwhile, nothing is. */
static void a_mark_needs_something_to_mark(void **state)
{
    (void)state;
    struct kith_hint hint = {0};
    struct kith_hint_want custody = want_of(NULL, true, false), thin = want_of(NULL, false, true);
    assert_false(kith_hint_mark(&hint, &custody, 1));
    assert_false(hint.exists);
    assert_true(kith_hint_mark(&hint, &thin, 1));
    assert_true(hint.exists && hint.thin && !hint.custody);
    struct kith_hint kept = {.exists = true, .record = kith_bytes_make("r", 1)};
    assert_true(kith_hint_mark(&kept, &custody, 1));
    assert_true(kept.custody);
}

/* ---- What is sent ---- */

static void a_thin_row_and_a_record_go_together(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_hint hint = {.exists = true, .thin = true};
    struct kith_bytes own = record_of(&arena, nothing, 7, 10), sent, one, other;
    struct kith_checksum hash, expected;
    struct kith_row row;
    assert_int_equal(kith_hint_state(&arena, &key, &hint, own, secret, &sent, &hash), KITH_OK);
    assert_int_equal(kith_rowop_state(&key, own, secret, &one, &expected), KITH_OK);
    assert_true(kith_bytes_equal(sent, one));
    assert_true(kith_checksum_equal(&hash, &expected));
    hint.record = record_of(&arena, nothing, 8, 20);
    assert_int_equal(kith_hint_state(&arena, &key, &hint, own, secret, &sent, &hash), KITH_OK);
    assert_int_equal(kith_row_decode(&arena, sent, &row), KITH_OK);
    assert_int_equal(row.sibling_count, 2);
    expected = kith_row_hash(&key, sent, secret);
    assert_true(kith_checksum_equal(&hash, &expected));
    hint.thin = false; /* the row of our own is none of its business */
    assert_int_equal(kith_hint_state(&arena, &key, &hint, own, secret, &sent, &hash), KITH_OK);
    assert_int_equal(kith_rowop_state(&key, hint.record, secret, &other, &expected), KITH_OK);
    assert_true(kith_bytes_equal(sent, other));
    hint.record = nothing;
    assert_int_equal(kith_hint_state(&arena, &key, &hint, own, secret, &sent, &hash), KITH_OK);
    assert_int_equal(sent.size, 0);
    kith_arena_release(&arena);
}

int main(void)
{
    for (size_t i = 0; i < sizeof secret_bytes; i++) {
        secret_bytes[i] = (uint8_t)(i * 7 + 1);
    }
    secret = kith_bytes_make(secret_bytes, sizeof secret_bytes);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(damaged_bytes_are_refused),
        cmocka_unit_test(a_plain_hint_is_for_its_targets),
        cmocka_unit_test(custody_goes_when_w_owners_have_it),
        cmocka_unit_test(a_new_table_sends_it_to_the_new_owners),
        cmocka_unit_test(fewer_that_must_have_it_let_it_go),
        cmocka_unit_test(more_targets_than_fit_are_all_owners),
        cmocka_unit_test(a_mark_needs_something_to_mark),
        cmocka_unit_test(a_thin_row_and_a_record_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
