/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Operations on records, one by one; whole histories are in test_rowop_history.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "core/rows/rowop.h"
#include "lib/random.h"

static uint8_t secret_bytes[192];
static struct kith_bytes secret;
static const struct kith_key key = {.name = {(const uint8_t *)"name", 4}};
static const struct kith_bytes nothing = {NULL, 0};

static struct kith_request_id request_of(uint64_t client, uint64_t sequence)
{
    struct kith_request_id id;
    memcpy(id.bytes, &client, 8);
    memcpy(id.bytes + 8, &sequence, 8);
    return id;
}

static struct kith_rowop_env env_of(uint64_t run, uint64_t counter)
{
    struct kith_rowop_env env = {run, counter, counter, 1000000, secret, false, NULL, false};
    return env;
}

static struct kith_rowop_result put(struct kith_arena *arena, uint64_t run, uint64_t counter,
                                    struct kith_bytes old, struct kith_bytes context,
                                    const struct kith_request_id *request)
{
    struct kith_rowop_env env = env_of(run, counter);
    struct kith_put_update update = {
        .context = context, .has_sibling = true, .value = kith_bytes_make("v", 1)};
    struct kith_rowop_result result;
    assert_int_equal(kith_rowop_put(arena, &env, &key, old, &update, kith_bytes_make("a@b", 3),
                                    counter, request, &result),
                     KITH_OK);
    return result;
}

static enum kith_err try_merge(struct kith_arena *arena, uint64_t run, uint64_t last,
                               struct kith_bytes old, struct kith_bytes state,
                               struct kith_rowop_result *ret_result)
{
    static const struct kith_request_id none;
    struct kith_rowop_env env = env_of(run, last);
    env.counter = 0;
    struct kith_replica_row row = {.state = state};
    return kith_rowop_merge(arena, &env, &key, old, &row, &none, ret_result);
}

static void assert_sound(const struct kith_rowop_result *result)
{
    struct kith_bytes state;
    struct kith_checksum hash, again;
    assert_int_equal(kith_rowop_state(&key, result->record, secret, &state, &hash), KITH_OK);
    assert_true(kith_bytes_equal(state, result->state));
    assert_true(kith_checksum_equal(&hash, &result->new_hash));
    again = kith_row_hash(&key, state, secret);
    assert_true(kith_checksum_equal(&hash, &again));
}

/* The state with its clock only: the context of one who has read it and keeps nothing. */
static struct kith_bytes clock_of(struct kith_arena *arena, const struct kith_row *row)
{
    struct kith_row context = {row->clock, 0, NULL};
    size_t size = kith_row_encoded_size(&context);
    uint8_t *bytes = kith_arena_alloc(arena, size);
    assert_non_null(bytes);
    assert_ptr_equal(kith_row_write(&context, bytes), bytes + size);
    return kith_bytes_make(bytes, size);
}

static void an_actor_lasts_as_long_as_its_note(void **state)
{
    (void)state;
    static const struct kith_checksum no_hash;
    struct kith_arena arena = {0};
    struct kith_request_id none = {{0}};
    struct kith_rowop_result first = put(&arena, 7, 10, nothing, nothing, &none);
    assert_true(first.changed && !first.existed && !first.duplicate);
    assert_true(kith_checksum_equal(&first.old_hash, &no_hash));
    assert_true(first.dot.actor.run == 7 && first.dot.actor.epoch == 10 && first.dot.counter == 10);
    assert_sound(&first);
    struct kith_bytes context = clock_of(&arena, &first.new_row);
    struct kith_rowop_result second = put(&arena, 7, 12, first.record, context, &none);
    assert_true(second.dot.actor.epoch == 10 && second.dot.counter == 12 && second.existed);
    assert_int_equal(second.new_row.clock.count, 1);
    assert_int_equal(second.new_row.sibling_count, 1);
    assert_true(kith_checksum_equal(&second.old_hash, &first.new_hash));
    assert_sound(&second);
    /* a merge from outside leaves the note alone */
    struct kith_rowop_result other = put(&arena, 8, 1, nothing, nothing, &none), merged;
    assert_int_equal(try_merge(&arena, 7, 12, second.record, other.state, &merged), KITH_OK);
    assert_sound(&merged);
    second = put(&arena, 7, 13, merged.record, nothing, &none);
    assert_true(second.dot.actor.epoch == 10);
    /* a new run */
    second = put(&arena, 9, 5, second.record, nothing, &none);
    assert_true(second.dot.actor.run == 9 && second.dot.actor.epoch == 5);
    /* the row was lost and came back by a merge: no note, a new epoch */
    assert_int_equal(try_merge(&arena, 9, 5, nothing, second.state, &merged), KITH_OK);
    assert_false(merged.existed);
    second = put(&arena, 9, 6, merged.record, nothing, &none);
    assert_true(second.dot.actor.run == 9 && second.dot.actor.epoch == 6);
    kith_arena_release(&arena);
}

static void a_request_is_carried_out_once(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_request_id request = request_of(1, 1), other = request_of(1, 2);
    struct kith_rowop_result first = put(&arena, 7, 10, nothing, nothing, &request), merged;
    struct kith_rowop_result again = put(&arena, 7, 11, first.record, nothing, &request);
    assert_true(again.duplicate && !again.changed && again.time == 10);
    assert_true(kith_dot_equal(&again.dot, &first.dot));
    assert_true(kith_bytes_equal(again.state, first.state));
    struct kith_dot dot;
    assert_int_equal(kith_rowop_find(first.record, &request, &dot), KITH_OK);
    assert_true(kith_dot_equal(&dot, &first.dot));
    assert_int_equal(kith_rowop_find(first.record, &other, &dot), KITH_ENOTFOUND);
    /* at another node, which got the row by a repair: the sibling tells */
    assert_int_equal(try_merge(&arena, 8, 1, nothing, first.state, &merged), KITH_OK);
    again = put(&arena, 8, 2, merged.record, nothing, &request);
    assert_true(again.duplicate && kith_dot_equal(&again.dot, &first.dot));
    assert_int_equal(kith_rowop_find(merged.record, &request, &dot), KITH_OK);
    /* at one that got it by replication: noted, and known even when the sibling is gone */
    struct kith_rowop_env env = env_of(8, 1);
    struct kith_replica_row row = {.state = first.state, .has_dot = true, .dot = first.dot};
    assert_int_equal(kith_rowop_merge(&arena, &env, &key, nothing, &row, &request, &merged),
                     KITH_OK);
    struct kith_bytes context = clock_of(&arena, &first.new_row);
    struct kith_rowop_result next = put(&arena, 8, 2, merged.record, context, &other);
    assert_false(next.duplicate);
    again = put(&arena, 8, 3, next.record, context, &request);
    assert_true(again.duplicate && kith_dot_equal(&again.dot, &first.dot));
    assert_true(again.time == 0);
    /* the state was here before the message: only the note is new */
    assert_int_equal(try_merge(&arena, 8, 1, nothing, first.state, &merged), KITH_OK);
    assert_int_equal(kith_rowop_merge(&arena, &env, &key, merged.record, &row, &request, &next),
                     KITH_OK);
    assert_true(next.changed && kith_checksum_equal(&next.old_hash, &next.new_hash));
    assert_sound(&next);
    assert_int_equal(kith_rowop_merge(&arena, &env, &key, next.record, &row, &request, &next),
                     KITH_OK);
    assert_false(next.changed);
    kith_arena_release(&arena);
}

static struct kith_rowop_result merge(struct kith_arena *arena, uint64_t run, uint64_t counter,
                                      struct kith_bytes old,
                                      const struct kith_rowop_result *incoming,
                                      const struct kith_request_id *request)
{
    struct kith_rowop_env env = {run, counter, 100, 1000000, secret, false, NULL, false};
    struct kith_replica_row row = {
        .state = incoming->state, .has_dot = request != NULL, .dot = incoming->dot};
    static const struct kith_request_id none;
    struct kith_rowop_result result;
    assert_int_equal(
        kith_rowop_merge(arena, &env, &key, old, &row, request ? request : &none, &result),
        KITH_OK);
    return result;
}

static struct kith_rowop_result drop(struct kith_arena *arena, uint64_t run, uint64_t counter,
                                     struct kith_bytes old, struct kith_bytes context,
                                     const struct kith_request_id *request)
{
    struct kith_rowop_env env = env_of(run, counter);
    struct kith_put_update update = {.context = context};
    struct kith_rowop_result result;
    assert_int_equal(kith_rowop_put(arena, &env, &key, old, &update, nothing, counter, request,
                                    &result),
                     KITH_OK);
    return result;
}

/* Node 7 stores a write and ends before anybody else has it; the retry draws a second dot at node
 * 8, which sends it to node 9; the name is removed by one who knows the second dot alone; node 7 is
 * back. The removed name stays removed (invariant 4), at every node that knew the retry. */
static void a_twin_goes_with_its_other(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_request_id write = request_of(1, 1), removal = request_of(1, 2);
    struct kith_rowop_result seven = put(&arena, 7, 10, nothing, nothing, &write);
    struct kith_rowop_result eight = put(&arena, 8, 20, nothing, nothing, &write);
    struct kith_rowop_result nine = merge(&arena, 9, 0, nothing, &eight, &write);
    struct kith_rowop_result gone =
        drop(&arena, 8, 21, eight.record, clock_of(&arena, &eight.new_row), &removal);
    assert_int_equal(gone.new_row.sibling_count, 0);
    nine = merge(&arena, 9, 0, nine.record, &gone, &removal);
    assert_false(nine.wants_counter);
    /* it is met in a merge: that wants a dot, and then it is gone */
    struct kith_rowop_result met[2] = {merge(&arena, 8, 0, gone.record, &seven, NULL),
                                       merge(&arena, 9, 0, nine.record, &seven, NULL)};
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(met[i].wants_counter && !met[i].changed);
        met[i] = merge(&arena, 8 + i, 30, i == 0 ? gone.record : nine.record, &seven, NULL);
        assert_true(met[i].changed && !met[i].wants_counter);
        assert_int_equal(met[i].new_row.sibling_count, 0);
        assert_true(kith_clock_covers(&met[i].new_row.clock, &seven.dot));
        assert_true(met[i].dot.counter == 30 && met[i].dot.actor.run == 8 + i);
        assert_sound(&met[i]);
        /* once is enough */
        struct kith_rowop_result again = merge(&arena, 8 + i, 0, met[i].record, &seven, NULL);
        assert_false(again.changed || again.wants_counter);
    }
    /* node 7, too, whatever it hears first; all come out the same */
    struct kith_rowop_result back = merge(&arena, 7, 0, seven.record, &gone, NULL);
    assert_int_equal(back.new_row.sibling_count, 1); /* it cannot know */
    for (uint32_t i = 0; i < 2; i++) {
        struct kith_rowop_result one = merge(&arena, 7, 0, back.record, &met[i], NULL);
        assert_int_equal(one.new_row.sibling_count, 0);
        one = merge(&arena, 7, 0, one.record, &met[1 - i], NULL);
        struct kith_rowop_result other = merge(&arena, 8, 0, met[i].record, &met[1 - i], NULL);
        assert_true(kith_bytes_equal(one.state, other.state));
    }
    kith_arena_release(&arena);
}

/* The same where the row is written often while node 7 is away, by the client of the write: a retry is
 * remembered for what may come back, its other requests are not. */
static void a_retry_is_not_forgotten(void **state)
{
    (void)state;
    for (uint32_t retry = 0; retry < 2; retry++) {
        struct kith_arena arena = {0};
        struct kith_request_id write = request_of(1, 1);
        struct kith_rowop_result seven = put(&arena, 7, 10, nothing, nothing, &write);
        struct kith_rowop_env env = env_of(8, 20);
        struct kith_put_update update = {.has_sibling = true, .value = kith_bytes_make("v", 1)};
        struct kith_rowop_result eight;
        env.retry = retry == 1;
        assert_int_equal(kith_rowop_put(&arena, &env, &key, nothing, &update, nothing, 20, &write,
                                        &eight),
                         KITH_OK);
        env = env_of(9, 0);
        env.retry = retry == 1;
        struct kith_replica_row row = {.state = eight.state, .has_dot = true, .dot = eight.dot};
        struct kith_rowop_result nine;
        assert_int_equal(kith_rowop_merge(&arena, &env, &key, nothing, &row, &write, &nine),
                         KITH_OK);
        for (uint32_t i = 0; i < 3 * KITH_REQUESTS_MAX; i++) { /* of this client, and of others */
            struct kith_request_id next = request_of(1 + i % 2 * i, 2 + i);
            eight = put(&arena, 8, 30 + i, eight.record, clock_of(&arena, &eight.new_row), &next);
            nine = merge(&arena, 9, 0, nine.record, &eight, &next);
        }
        struct kith_rowop_result met[2] = {merge(&arena, 18, 0, eight.record, &seven, NULL),
                                           merge(&arena, 19, 0, nine.record, &seven, NULL)};
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(met[i].wants_counter, retry == 1);
            assert_int_equal(met[i].new_row.sibling_count, retry == 1 ? 1 : 2);
        }
        kith_arena_release(&arena);
    }
}

/* Many retries leave room for the others, and what they leave holds no more than it may. */
static void retries_are_bounded(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_bytes record = nothing;
    struct kith_dot dot;
    uint32_t last = 4 * KITH_REQUESTS_MAX;
    for (uint32_t i = 1; i <= last; i++) {
        struct kith_rowop_env env = env_of(8, i);
        struct kith_request_id request = request_of(i, i);
        struct kith_rowop_result result;
        struct kith_put_update update = {0};
        env.retry = i % 4 != 0;
        assert_int_equal(kith_rowop_put(&arena, &env, &key, record, &update, nothing, i, &request,
                                        &result),
                         KITH_OK);
        record = result.record;
        assert_sound(&result);
    }
    uint32_t found[2] = {0, 0};
    for (uint32_t i = 1; i <= last; i++) {
        struct kith_request_id request = request_of(i, i);
        if (kith_rowop_find(record, &request, &dot) == KITH_OK) {
            assert_int_equal(i, dot.counter);
            found[i % 4 != 0]++;
        }
    }
    assert_int_equal(KITH_RETRIES_MAX, found[1]);
    assert_int_equal(KITH_REQUESTS_MAX - KITH_RETRIES_MAX, found[0]);
    kith_arena_release(&arena);
}

/* Where both are known a put takes both, whichever its writer has seen; one that keeps them leaves
 * them, and so does one who has seen none. */
static void a_put_takes_twins_along(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_request_id write = request_of(1, 1), next = request_of(1, 2);
    struct kith_rowop_result one = put(&arena, 7, 10, nothing, nothing, &write);
    struct kith_rowop_result two = put(&arena, 8, 20, nothing, nothing, &write);
    struct kith_rowop_result both = merge(&arena, 7, 0, one.record, &two, NULL);
    assert_int_equal(both.new_row.sibling_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct kith_bytes context = clock_of(&arena, i == 0 ? &one.new_row : &two.new_row);
        struct kith_rowop_result after = drop(&arena, 7, 11, both.record, context, &next);
        assert_int_equal(after.new_row.sibling_count, 0);
        after = put(&arena, 7, 11, both.record, context, &next);
        assert_int_equal(after.new_row.sibling_count, 1);
        assert_true(kith_dot_equal(&after.new_row.siblings[0].dot, &after.dot));
        assert_sound(&after);
    }
    struct kith_rowop_result after = put(&arena, 7, 11, both.record, nothing, &next);
    assert_int_equal(after.new_row.sibling_count, 3);
    after = put(&arena, 7, 11, both.record, both.state, &next);
    assert_int_equal(after.new_row.sibling_count, 3);
    after = put(&arena, 7, 11, both.record, one.state, &next);
    assert_int_equal(after.new_row.sibling_count, 3);
    kith_arena_release(&arena);
}

static void the_request_log_is_bounded(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_rowop_result result = {.record = nothing};
    struct kith_bytes context = nothing;
    struct kith_dot dot;
    for (uint64_t i = 1; i <= 200; i++) {
        struct kith_request_id request = request_of(i % 40, i);
        result = put(&arena, 7, i, result.record, context, &request);
        context = clock_of(&arena, &result.new_row);
        /* the newest 4 of 40 clients are more than 64: the last 64 are known */
        uint64_t known = 0;
        for (uint64_t j = 1; j <= i; j++) {
            request = request_of(j % 40, j);
            known += kith_rowop_find(result.record, &request, &dot) == KITH_OK;
        }
        assert_true(known == (i < 64 ? i : 64));
    }
    for (uint64_t i = 201; i <= 210; i++) {
        struct kith_request_id request = request_of(99, i);
        result = put(&arena, 7, i, result.record, context, &request);
        context = clock_of(&arena, &result.new_row);
    }
    for (uint64_t i = 201; i <= 210; i++) {
        struct kith_request_id request = request_of(99, i);
        enum kith_err err = kith_rowop_find(result.record, &request, &dot);
        assert_int_equal(err, i > 206 ? KITH_OK : KITH_ENOTFOUND);
    }
    /* after an hour, at the next write */
    struct kith_rowop_env env = env_of(7, 211);
    struct kith_put_update update = {.context = context};
    struct kith_request_id request = request_of(5, 5), last = request_of(99, 210);
    env.wall_ms += KITH_REQUEST_KEEP_MS + 1;
    assert_int_equal(
        kith_rowop_put(&arena, &env, &key, result.record, &update, nothing, 1, &request, &result),
        KITH_OK);
    assert_int_equal(kith_rowop_find(result.record, &last, &dot), KITH_ENOTFOUND);
    assert_int_equal(kith_rowop_find(result.record, &request, &dot), KITH_OK);
    kith_arena_release(&arena);
}

static void blind_puts_have_a_limit(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_request_id none = {{0}};
    struct kith_rowop_result result = {.record = nothing};
    for (uint64_t i = 1; i <= KITH_SIBLINGS_REFUSE; i++) {
        result = put(&arena, 7, i, result.record, nothing, &none);
    }
    assert_int_equal(result.new_row.sibling_count, KITH_SIBLINGS_REFUSE);
    struct kith_rowop_env env = env_of(7, 1000);
    struct kith_put_update update = {.has_sibling = true};
    struct kith_rowop_result other;
    assert_int_equal(
        kith_rowop_put(&arena, &env, &key, result.record, &update, nothing, 1, &none, &other),
        KITH_ELIMIT);
    update.context = clock_of(&arena, &result.new_row);
    assert_int_equal(
        kith_rowop_put(&arena, &env, &key, result.record, &update, nothing, 1, &none, &other),
        KITH_OK);
    assert_int_equal(other.new_row.sibling_count, 1);
    update.context = kith_bytes_make("\1\0", 2);
    assert_int_equal(
        kith_rowop_put(&arena, &env, &key, result.record, &update, nothing, 1, &none, &other),
        KITH_EFORMAT);
    kith_arena_release(&arena);
}

/* `count` actors of `run` and the next ones, with a dot each. */
static struct kith_bytes context_of_actors(struct kith_arena *arena, uint64_t run, uint32_t count)
{
    struct kith_clock_entry *entries = kith_arena_alloc(arena, (count + 1) * sizeof *entries);
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct kith_clock_entry){{run + i, 1}, 1};
    }
    struct kith_row row = {.clock = {count, entries}};
    return clock_of(arena, &row);
}

static enum kith_err try_put(struct kith_arena *arena, struct kith_bytes old,
                             const struct kith_put_update *update,
                             struct kith_rowop_result *ret_result)
{
    static uint64_t counter = 1000;
    struct kith_request_id none = {{0}};
    struct kith_rowop_env env = env_of(7, ++counter);
    return kith_rowop_put(arena, &env, &key, old, update, nothing, 1, &none, ret_result);
}

/* However many actors a writer invents, others can write the row; and what he says of actors that
 * the row has is taken at any length. */
static void a_context_cannot_fill_a_clock(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_rowop_result result = {.record = nothing};
    struct kith_put_update update = {.has_sibling = true};
    uint32_t taken = 0, refused = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        update.context = context_of_actors(&arena, 1000 + i * 100, i % 3 == 0 ? 100 : 1);
        enum kith_err err = try_put(&arena, result.record, &update, &result);
        assert_true(err == KITH_OK || err == KITH_ENOTREADY);
        taken += err == KITH_OK;
        refused += err != KITH_OK;
        update.context = clock_of(&arena, &result.new_row); /* an honest one, in between */
        assert_int_equal(try_put(&arena, result.record, &update, &result), KITH_OK);
    }
    assert_true(taken > 0 && refused > 4000);
    assert_true(result.new_row.clock.count <= KITH_CLOCK_CONTEXT_MAX + 1);
    update.context = context_of_actors(&arena, UINT64_C(1) << 40, KITH_CLOCK_CONTEXT_MAX + 1);
    assert_int_equal(try_put(&arena, nothing, &update, &result), KITH_ENOTREADY);

    struct kith_bytes large = context_of_actors(&arena, 9, KITH_CLOCK_ENTRIES_MAX - 8);
    assert_int_equal(try_merge(&arena, 7, 5000000, nothing, large, &result), KITH_OK);
    update.context = large;
    assert_int_equal(try_put(&arena, result.record, &update, &result), KITH_OK);
    kith_arena_release(&arena);
}

/* Merges are never refused: without a new run the foreign dots are taken, and the row tells. */
static void a_merge_goes_on_without_a_new_run(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    static const struct kith_request_id none;
    struct kith_rowop_result high = put(&arena, 7, 50, nothing, nothing, &none), result;
    struct kith_rowop_env env = env_of(7, 49);
    env.counter = 0;
    env.run_stays = true;
    struct kith_replica_row row = {.state = high.state};
    assert_int_equal(kith_rowop_merge(&arena, &env, &key, nothing, &row, &none, &result), KITH_OK);
    assert_true(result.changed && !result.foreign_run && !result.wants_counter);
    assert_true(kith_bytes_equal(result.state, high.state));
    result = put(&arena, 7, 50, result.record, nothing, &none);
    assert_true(result.foreign_run && !result.changed);
    kith_arena_release(&arena);
}

/* Chunks of another volume are not let in, by the update or by what its context keeps. */
static void chunks_stay_in_their_volume(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_rowop_result result;
    const uint8_t random[10] = {1};
    struct kith_chunk_id ids[2] = {kith_chunk_id_make(0, 1, random),
                                   kith_chunk_id_make(8, 1, random)};
    struct kith_put_update update = {.has_sibling = true, .ref_count = 2, .refs = ids};
    assert_int_equal(try_put(&arena, nothing, &update, &result), KITH_EINVAL);
    update.ref_count = 1;
    assert_int_equal(try_put(&arena, nothing, &update, &result), KITH_OK);
    for (uint32_t i = 0; i < 2; i++) {
        struct kith_clock_entry entry = {{99, 1}, 1};
        struct kith_sibling kept = {.dot = {{99, 1}, 1}, .ref_count = 1, .refs = &ids[i]};
        struct kith_row row = {{1, &entry}, 1, &kept};
        uint8_t bytes[200];
        assert_true(kith_row_encoded_size(&row) <= sizeof bytes);
        update.context = kith_bytes_make(bytes, (size_t)(kith_row_write(&row, bytes) - bytes));
        assert_int_equal(try_put(&arena, nothing, &update, &result),
                         i == 0 ? KITH_OK : KITH_EINVAL);
    }
    kith_arena_release(&arena);
}

static void a_foreign_run_is_noticed(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_request_id none = {{0}};
    struct kith_rowop_result high = put(&arena, 7, 50, nothing, nothing, &none), result;
    result = put(&arena, 7, 50, high.record, nothing, &none);
    assert_true(result.foreign_run && !result.changed);
    result = put(&arena, 7, 49, nothing, high.state, &none);
    assert_true(result.foreign_run && !result.changed);
    assert_int_equal(try_merge(&arena, 7, 49, nothing, high.state, &result), KITH_OK);
    assert_true(result.foreign_run && !result.changed);
    assert_int_equal(try_merge(&arena, 7, 50, nothing, high.state, &result), KITH_OK);
    assert_true(!result.foreign_run && result.changed);
    assert_int_equal(try_merge(&arena, 7, UINT64_MAX, nothing, high.state, &result), KITH_OK);
    assert_false(result.foreign_run);
    kith_arena_release(&arena);
}

/* ---- Damage ---- */

static void damaged_records_are_errors(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct test_random random = {5};
    struct kith_request_id request = request_of(1, 1);
    struct kith_rowop_result good = put(&arena, 7, 300, nothing, nothing, &request), result;
    size_t state_at = good.record.size - good.state.size;
    for (size_t size = 1; size <= good.record.size; size++) {
        for (size_t at = 0; at < size; at++) {
            uint8_t *bytes = kith_malloc(size);
            memcpy(bytes, good.record.data, size);
            uint32_t bit = test_random_below(&random, 8);
            bytes[at] ^= (uint8_t)(1u << bit);
            struct kith_bytes record = kith_bytes_make(bytes, size);
            enum kith_err err = try_merge(&arena, 7, 300, record, good.state, &result);
            assert_true(err == KITH_OK || err == KITH_ECORRUPT);
            if (size < good.record.size || at >= state_at - KITH_CHECKSUM_SIZE) {
                assert_int_equal(err, KITH_ECORRUPT);
            }
            struct kith_dot dot;
            err = kith_rowop_find(record, &request, &dot);
            assert_true(err == KITH_OK || err == KITH_ENOTFOUND || err == KITH_ECORRUPT);
            kith_free(bytes);
        }
    }
    assert_int_equal(try_merge(&arena, 7, 300, good.record, kith_bytes_make("x", 1), &result),
                     KITH_EFORMAT);
    kith_arena_release(&arena);
}

/* 64 requests are taken, 65 are not. */
static void a_log_that_is_too_long_is_damage(void **state)
{
    (void)state;
    enum { ENTRY_SIZE = 27 };
    static const uint8_t zeros[(KITH_REQUESTS_MAX + 1) * ENTRY_SIZE];
    struct kith_arena arena = {0};
    struct kith_request_id none = {{0}};
    struct kith_rowop_result good = put(&arena, 7, 300, nothing, nothing, &none), result;
    for (uint8_t count = KITH_REQUESTS_MAX; count <= KITH_REQUESTS_MAX + 1; count++) {
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_buf_put_u8(&buf, KITH_RECORD_FORMAT);
        kith_buf_put_u8(&buf, 0);
        kith_buf_put_u8(&buf, count);
        kith_buf_put(&buf, zeros, (size_t)count * ENTRY_SIZE);
        kith_buf_put(&buf, good.new_hash.bytes, sizeof good.new_hash.bytes);
        kith_buf_put(&buf, good.state.data, good.state.size);
        enum kith_err err = try_merge(&arena, 7, 300, kith_buf_bytes(&buf), good.state, &result);
        assert_int_equal(err, count == KITH_REQUESTS_MAX ? KITH_OK : KITH_ECORRUPT);
        kith_buf_release(&buf);
    }
    kith_arena_release(&arena);
}

static void short_memory_is_an_error(void **state)
{
    (void)state;
    static uint8_t large[40000];
    struct kith_arena keep = {0};
    struct kith_request_id none = {{0}};
    struct kith_rowop_env env = env_of(7, 1);
    struct kith_put_update update = {.has_sibling = true, .value = {large, sizeof large}};
    struct kith_rowop_result mine, theirs, result;
    assert_int_equal(kith_rowop_put(&keep, &env, &key, nothing, &update, nothing, 1, &none, &mine),
                     KITH_OK);
    env.run = 8;
    assert_int_equal(
        kith_rowop_put(&keep, &env, &key, nothing, &update, nothing, 1, &none, &theirs), KITH_OK);
    unsigned failures = 0;
    for (enum kith_err err = KITH_ENOMEM; err != KITH_OK; failures++) {
        struct kith_arena arena = {0};
        kith_alloc_fail_at(failures + 1);
        err = try_merge(&arena, 7, 1, mine.record, theirs.state, &result);
        if (err == KITH_OK) {
            env = env_of(7, 2);
            err = kith_rowop_put(&arena, &env, &key, result.record, &update, nothing, 1, &none,
                                 &result);
        }
        struct kith_dot dot;
        struct kith_request_id other = request_of(3, 3);
        if (err == KITH_OK) {
            err = kith_rowop_find(mine.record, &other, &dot);
            err = err == KITH_ENOTFOUND ? KITH_OK : err;
        }
        kith_alloc_fail_at(0);
        assert_true(err == KITH_OK || err == KITH_ENOMEM);
        kith_arena_release(&arena);
    }
    assert_true(failures >= 4);
    kith_arena_release(&keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_actor_lasts_as_long_as_its_note),
        cmocka_unit_test(a_request_is_carried_out_once),
        cmocka_unit_test(a_twin_goes_with_its_other),
        cmocka_unit_test(a_retry_is_not_forgotten),
        cmocka_unit_test(retries_are_bounded),
        cmocka_unit_test(a_put_takes_twins_along),
        cmocka_unit_test(the_request_log_is_bounded),
        cmocka_unit_test(blind_puts_have_a_limit),
        cmocka_unit_test(a_foreign_run_is_noticed),
        cmocka_unit_test(a_context_cannot_fill_a_clock),
        cmocka_unit_test(a_merge_goes_on_without_a_new_run),
        cmocka_unit_test(chunks_stay_in_their_volume),
        cmocka_unit_test(damaged_records_are_errors),
        cmocka_unit_test(a_log_that_is_too_long_is_damage),
        cmocka_unit_test(short_memory_is_an_error),
    };
    for (unsigned i = 0; i < sizeof secret_bytes; i++) {
        secret_bytes[i] = (uint8_t)(i * 37 + 11);
    }
    secret = kith_bytes_make(secret_bytes, sizeof secret_bytes);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
