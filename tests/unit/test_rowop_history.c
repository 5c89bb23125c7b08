/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The versions of DESIGN section 3 as a whole: random histories of put, keep, delete, merge, lost
 * and returned rows against an oracle that knows every write and what its writer had seen.
 *
 * One row on a few replicas. A write is an event; the oracle knows, for each, the set of events
 * whose effects its writer had read (`seen`) and which of the siblings he kept. Of a set of events
 * those values are alive that no event of the set has seen and not kept: true causal history, and
 * nothing of clocks, dots or actors. Each replica has the set of events that ever reached it,
 * through any chain of messages; losing the row empties it.
 *
 * After every step: (1) the values that a person would be shown are those that are alive; (2)
 * wherever two states, of now or before, on any replica, have equal clocks, they are equal. For the
 * real thing also (3): the siblings are exactly the live events, and the clock covers exactly the
 * dots of the set. Equal clocks and (1) are judged for the wrong variants too, (3) would condemn
 * them for form alone.
 *
 * TWINS. In two more variants a write is now and then carried out again at a replica that does not
 * know its request id. The event is the same, it has several dots. Then (1) says: no live value is
 * lost, and a dead one is shown only if it has a twin: nobody there knows yet that they are one.
 * When replicas have exchanged everything, and none has lost what it knew (calm), none is. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "core/rows/rowop.h"
#include "lib/random.h"

/* Sanitizers take ten times as long and need not see as many. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HISTORIES 10000u
#else
#define HISTORIES 100000u
#endif
#define MUTANT_HISTORIES 2000u

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

enum variant {
    RIGHT,
    TWINS,
    TWINS_CALM, /* nothing is lost or restored */
    DELETE_WITHOUT_DOT,
    KEPT_NOT_CARRIED, /* the put names what is kept; the coordinator takes it from its own row */
    NO_NEW_EPOCH,     /* the actor is remembered apart from the row, and outlives it */
    COLLAPSE_EQUAL,   /* siblings with equal contents are stored once, under the lowest dot */
};

enum { REPLICAS = 4, STEPS = 24, COPIES = 12, RECORD_MAX = 8192, TRIES = 3 };

struct event {
    uint64_t seen, kept; /* sets of events, bit i = events[i] */
    bool has_value;
    char value;
    uint32_t dot_count; /* above 1: twins */
    struct kith_dot dots[TRIES];
};

/* A state as it was at some time: a message on its way, a backup, a client's memory. */
struct copy {
    uint64_t seen;
    uint32_t clock_size; /* the first bytes of the state, up to the number of siblings */
    uint32_t state_at;
    uint32_t size;
    uint8_t record[RECORD_MAX]; /* the state is its end */
};

struct replica {
    uint64_t run, counter;
    bool has_actor; /* NO_NEW_EPOCH only */
    struct kith_actor actor;
    struct copy now;
};

struct history {
    enum variant variant;
    struct test_random random;
    struct kith_arena arena;
    uint32_t event_count;
    struct event events[STEPS];
    uint64_t values; /* events with a value */
    struct replica replicas[REPLICAS];
    uint32_t copy_count;
    struct copy copies[COPIES];
    struct kith_rowop_result result; /* of the last operation */
    uint64_t removals;               /* of twins, by merges */
};

static struct kith_bytes record_of(const struct copy *copy)
{
    return kith_bytes_make(copy->record, copy->size);
}

static struct kith_bytes state_of(const struct copy *copy)
{
    return kith_bytes_make(copy->record + copy->state_at, copy->size - copy->state_at);
}

static struct kith_row decode(struct history *h, struct kith_bytes bytes)
{
    struct kith_row row;
    assert_int_equal(kith_row_decode(&h->arena, bytes, &row), KITH_OK);
    return row;
}

static struct kith_bytes encode(struct history *h, const struct kith_row *row)
{
    size_t size = kith_row_encoded_size(row);
    uint8_t *bytes = kith_arena_alloc(&h->arena, size);
    assert_non_null(bytes);
    kith_row_write(row, bytes);
    return kith_bytes_make(bytes, size);
}

static uint64_t alive(const struct history *h, uint64_t seen)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < h->event_count; i++) {
        if (seen >> i & 1) {
            dropped |= h->events[i].seen & ~h->events[i].kept;
        }
    }
    return seen & h->values & ~dropped;
}

static uint32_t event_of(const struct kith_sibling *sibling)
{
    uint64_t sequence;
    memcpy(&sequence, sibling->request.bytes + 8, 8);
    return (uint32_t)sequence;
}

static const char *check_shown(const struct history *h, const struct kith_row *row, uint64_t seen)
{
    uint32_t shown = 0, expected = 0; /* sets of values */
    uint64_t live = alive(h, seen);
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        shown |= 1u << (row->siblings[i].value.data[0] - 'a');
    }
    for (uint32_t i = 0; i < h->event_count; i++) {
        expected |= (live >> i & 1) ? 1u << (h->events[i].value - 'a') : 0;
    }
    if (expected & ~shown) {
        return "a live value is lost";
    }
    return shown == expected ? NULL : "a dead value is shown";
}

static const char *check_exact(const struct history *h, const struct kith_row *row, uint64_t seen)
{
    uint64_t siblings = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        uint32_t event = event_of(&row->siblings[i]);
        if (!kith_dot_equal(&row->siblings[i].dot, &h->events[event].dots[0])) {
            return "a sibling under another dot";
        }
        siblings |= UINT64_C(1) << event;
    }
    if (siblings != alive(h, seen)) {
        return "siblings are not the live events";
    }
    for (uint32_t i = 0; i < h->event_count; i++) {
        if (kith_clock_covers(&row->clock, &h->events[i].dots[0]) != (seen >> i & 1)) {
            return "the clock covers more or less than the row has seen";
        }
    }
    return NULL;
}

static bool has_twins(enum variant variant)
{
    return variant == TWINS || variant == TWINS_CALM;
}

/* ghosts: dead ones may be shown where they have a twin. */
static const char *check_twins(const struct history *h, const struct kith_row *row, uint64_t seen,
                               bool ghosts)
{
    uint64_t live = alive(h, seen), shown = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        uint32_t event = event_of(&row->siblings[i]);
        shown |= UINT64_C(1) << event;
        if (!(live >> event & 1) && (!ghosts || h->events[event].dot_count == 1)) {
            return ghosts ? "a dead value is shown" : "a dead value is shown for good";
        }
    }
    return (live & ~shown) != 0 ? "a live value is lost" : NULL;
}

static const char *check_equal_clocks(const struct copy *a, const struct copy *b)
{
    if (a->size == 0 || b->size == 0 || a->clock_size != b->clock_size ||
        memcmp(state_of(a).data, state_of(b).data, a->clock_size) != 0) {
        return NULL;
    }
    return kith_bytes_equal(state_of(a), state_of(b)) ? NULL : "equal clocks, different states";
}

static const char *check(struct history *h, const struct copy *now)
{
    struct kith_row row = decode(h, state_of(now));
    const char *failure = has_twins(h->variant) ? check_twins(h, &row, now->seen, true)
                                                : check_shown(h, &row, now->seen);
    if (!failure && h->variant == RIGHT) {
        failure = check_exact(h, &row, now->seen);
    }
    for (uint32_t i = 0; i < REPLICAS && !failure; i++) {
        failure = check_equal_clocks(now, &h->replicas[i].now);
    }
    uint32_t count = h->copy_count < COPIES ? h->copy_count : COPIES;
    for (uint32_t i = 0; i < count && !failure; i++) {
        failure = check_equal_clocks(now, &h->copies[i]);
    }
    return failure;
}

/* Copies hold far less than they have room for. */
static void copy_copy(struct copy *to, const struct copy *from)
{
    memcpy(to, from, offsetof(struct copy, record) + from->size);
}

/* The wrong one: siblings that look equal are one, in the store. */
static struct kith_bytes collapse(struct history *h, const struct replica *replica,
                                  struct kith_bytes record, struct kith_bytes state)
{
    struct kith_row row = decode(h, state);
    struct kith_sibling kept[STEPS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < row.sibling_count; i++) {
        bool twin = false;
        for (uint32_t j = 0; j < count; j++) {
            twin = twin || kith_bytes_equal(kept[j].value, row.siblings[i].value);
        }
        if (!twin) {
            kept[count++] = row.siblings[i];
        }
    }
    if (count == row.sibling_count) {
        return record;
    }
    row.siblings = kept;
    row.sibling_count = count;
    struct kith_rowop_result result;
    assert_int_equal(
        try_merge(&h->arena, replica->run, UINT64_MAX, nothing, encode(h, &row), &result), KITH_OK);
    return result.record;
}

/* `record` is what the replica stores from now on. */
static void store(struct history *h, struct replica *replica, struct kith_bytes record,
                  uint64_t seen)
{
    struct copy *now = &replica->now;
    struct kith_bytes state;
    struct kith_checksum hash;
    assert_int_equal(kith_rowop_state(&key, record, secret, &state, &hash), KITH_OK);
    if (h->variant == COLLAPSE_EQUAL) {
        record = collapse(h, replica, record, state);
        assert_int_equal(kith_rowop_state(&key, record, secret, &state, &hash), KITH_OK);
    }
    assert_true(record.size <= RECORD_MAX);
    memmove(now->record, record.data, record.size);
    now->size = (uint32_t)record.size;
    now->state_at = (uint32_t)(record.size - state.size);
    now->seen = seen;
    struct kith_row row = decode(h, state_of(now));
    struct kith_row tombstone = {row.clock, 0, NULL};
    now->clock_size = (uint32_t)kith_row_encoded_size(&tombstone) - 1;
    uint32_t slot = h->copy_count++;
    copy_copy(&h->copies[slot < COPIES ? slot : test_random_below(&h->random, COPIES)], now);
}

static void forget(struct replica *replica)
{
    replica->now.size = 0;
    replica->now.state_at = 0;
    replica->now.clock_size = 0;
    replica->now.seen = 0;
}

static void restart(struct history *h, struct replica *replica)
{
    replica->run = test_random_next(&h->random);
    replica->counter = 0;
    replica->has_actor = false;
}

static const char *merge_into(struct history *h, struct replica *replica, struct kith_bytes state,
                              uint64_t seen)
{
    if (state.size == 0) {
        return NULL;
    }
    assert_int_equal(try_merge(&h->arena, replica->run, replica->counter, record_of(&replica->now),
                               state, &h->result),
                     KITH_OK);
    if (h->result.wants_counter) {
        static const struct kith_request_id none;
        struct kith_rowop_env env = env_of(replica->run, ++replica->counter);
        struct kith_replica_row row = {.state = state};
        if (!has_twins(h->variant) || h->result.changed) {
            return "a merge wants a dot";
        }
        assert_int_equal(kith_rowop_merge(&h->arena, &env, &key, record_of(&replica->now), &row,
                                          &none, &h->result),
                         KITH_OK);
        assert_true(h->result.changed || h->result.foreign_run);
        h->removals++;
    }
    if (h->result.foreign_run) {
        return "its own run looks foreign";
    }
    store(h, replica, h->result.record, replica->now.seen | seen);
    return check(h, &replica->now);
}

/* A client reads one or two replicas, or remembers what it read before, or has read nothing. */
static struct kith_row read_row(struct history *h, uint64_t *ret_seen)
{
    struct kith_row row = {.sibling_count = 0}, other;
    uint32_t how = test_random_below(&h->random, 8);
    *ret_seen = 0;
    if (how == 0) {
        return row;
    }
    uint32_t sources = 1 + (how < 4);
    for (uint32_t i = 0; i < sources; i++) {
        const struct copy *from = &h->replicas[test_random_below(&h->random, REPLICAS)].now;
        if (how == 7 && h->copy_count != 0) {
            uint32_t count = h->copy_count < COPIES ? h->copy_count : COPIES;
            from = &h->copies[test_random_below(&h->random, count)];
        }
        other = decode(h, state_of(from));
        assert_int_equal(kith_row_merge(&h->arena, &row, &other, &row), KITH_OK);
        *ret_seen |= from->seen;
    }
    return row;
}

/* The context of the write: the row read, with the siblings that the client keeps; those are noted.
 */
static struct kith_row choose_kept(struct history *h, const struct replica *coordinator,
                                   const struct kith_row *read, struct event *event)
{
    struct kith_row own = decode(h, state_of(&coordinator->now));
    struct kith_sibling *siblings = kith_arena_calloc(&h->arena, STEPS, sizeof *siblings);
    assert_non_null(siblings);
    struct kith_row context = {read->clock, 0, siblings};
    uint32_t keep_all = test_random_below(&h->random, 4);
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < read->sibling_count; i++) {
        uint32_t drop = test_random_below(&h->random, 2);
        uint64_t bit = UINT64_C(1) << event_of(&read->siblings[i]);
        if (has_twins(h->variant)) { /* all or none of an event's */
            drop = (event->kept & bit) != 0 ? 0 : (dropped & bit) != 0 ? 1 : drop;
            dropped |= drop != 0 ? bit : 0;
        }
        if (keep_all == 0 || drop == 0) {
            event->kept |= UINT64_C(1) << event_of(&read->siblings[i]);
            if (h->variant != KEPT_NOT_CARRIED || kith_row_find(&own, &read->siblings[i].dot)) {
                siblings[context.sibling_count++] = read->siblings[i];
            }
        }
    }
    return context;
}

/* The wrong one: under an actor that is remembered although the row was lost. */
static void put_without_epoch(struct history *h, struct replica *replica,
                              const struct kith_put_update *update,
                              const struct kith_request_id *request)
{
    if (!replica->has_actor) {
        replica->has_actor = true;
        replica->actor.run = replica->run;
        replica->actor.epoch = replica->counter;
    }
    struct kith_row row = decode(h, state_of(&replica->now)), context = decode(h, update->context);
    struct kith_row_update row_update = {
        .context = context.clock,
        .kept_count = context.sibling_count,
        .kept = context.siblings,
        .has_sibling = update->has_sibling,
        .value = update->value,
    };
    struct kith_dot dot = {replica->actor, replica->counter};
    assert_int_equal(kith_row_put(&h->arena, &row, &row_update, &dot, 1, request, &row), KITH_OK);
    assert_int_equal(
        try_merge(&h->arena, replica->run, replica->counter, nothing, encode(h, &row), &h->result),
        KITH_OK);
    h->result.dot = dot;
}

static const char *take_dot(struct history *h, struct event *event)
{
    const struct kith_dot *dot = &h->result.dot;
    for (uint32_t i = 0; i < h->event_count; i++) {
        for (uint32_t n = 0; n < h->events[i].dot_count; n++) {
            if (kith_dot_equal(&h->events[i].dots[n], dot)) {
                return "a dot was given twice"; /* invariant 3 */
            }
        }
    }
    event->dots[event->dot_count++] = *dot;
    return NULL;
}

/* The same write once more, at a replica that may not know it. */
static const char *retry_row(struct history *h, const struct kith_put_update *update,
                             uint64_t seen, uint32_t number,
                             const struct kith_request_id *request)
{
    struct replica *replica = &h->replicas[test_random_below(&h->random, REPLICAS)];
    struct kith_rowop_env env = env_of(replica->run, ++replica->counter);
    assert_int_equal(kith_rowop_put(&h->arena, &env, &key, record_of(&replica->now), update,
                                    nothing, number, request, &h->result),
                     KITH_OK);
    if (h->result.foreign_run) {
        return "a retry finds a foreign run";
    }
    if (h->result.duplicate) {
        return NULL;
    }
    const char *failure = take_dot(h, &h->events[number]);
    if (!failure) {
        store(h, replica, h->result.record, replica->now.seen | seen | UINT64_C(1) << number);
        failure = check(h, &replica->now);
    }
    return failure;
}

static const char *write_row(struct history *h, struct replica *replica)
{
    static const char letters[] = "abc";
    uint64_t seen;
    uint32_t number = h->event_count;
    struct event *event = &h->events[number];
    memset(event, 0, sizeof *event);
    struct kith_row read = read_row(h, &seen);
    struct kith_row context = choose_kept(h, replica, &read, event);
    uint32_t kind = test_random_below(&h->random, 10);
    event->seen = seen;
    event->has_value = kind >= 3;
    event->value = letters[kind % 3];
    /* with twins each is of another client: the log of requests has room for all */
    struct kith_request_id request =
        request_of(has_twins(h->variant) ? 1 + number : 1 + number % 3, number);
    struct kith_put_update update = {
        .context = encode(h, &context),
        .has_sibling = event->has_value,
        .value = kith_bytes_make(&event->value, event->has_value),
    };
    uint32_t others = test_random_below(&h->random, 2); /* writes of other rows draw counters too */
    replica->counter += 1 + others;
    if (h->variant == DELETE_WITHOUT_DOT && !event->has_value) {
        h->event_count++;
        return merge_into(h, replica, update.context, seen | UINT64_C(1) << number);
    }
    struct kith_rowop_env env = env_of(replica->run, replica->counter);
    if (h->variant == NO_NEW_EPOCH) {
        put_without_epoch(h, replica, &update, &request);
    } else {
        assert_int_equal(kith_rowop_put(&h->arena, &env, &key, record_of(&replica->now), &update,
                                        nothing, number, &request, &h->result),
                         KITH_OK);
    }
    if (h->result.foreign_run || h->result.duplicate) {
        return "a new write is taken for an old one";
    }
    const char *failure = take_dot(h, event);
    if (failure) {
        return failure;
    }
    h->event_count++;
    h->values |= (uint64_t)event->has_value << number;
    store(h, replica, h->result.record, replica->now.seen | seen | UINT64_C(1) << number);
    if (h->variant == RIGHT) {
        env.counter_last = env.counter = ++replica->counter;
        assert_int_equal(kith_rowop_put(&h->arena, &env, &key, record_of(&replica->now), &update,
                                        nothing, number, &request, &h->result),
                         KITH_OK);
        if (!h->result.duplicate || h->result.changed ||
            !kith_dot_equal(&h->result.dot, &event->dots[0])) {
            return "a retry was not recognised";
        }
    }
    failure = check(h, &replica->now);
    for (uint32_t i = 1; i < TRIES && !failure && has_twins(h->variant); i++) {
        if (test_random_below(&h->random, 3) == 0) {
            failure = retry_row(h, &update, seen, number, &request);
        }
    }
    return failure;
}

static const char *step(struct history *h)
{
    struct replica *replica = &h->replicas[test_random_below(&h->random, REPLICAS)];
    const struct copy *from = &h->replicas[test_random_below(&h->random, REPLICAS)].now;
    const struct copy *old = NULL;
    if (h->copy_count != 0) {
        uint32_t count = h->copy_count < COPIES ? h->copy_count : COPIES;
        old = &h->copies[test_random_below(&h->random, count)];
    }
    uint32_t what = test_random_below(&h->random, 16);
    if (what < 7) {
        return write_row(h, replica);
    }
    if (what < 11) {
        return merge_into(h, replica, state_of(from), from->seen);
    }
    if (h->variant == TWINS_CALM && (what == 11 || what == 13)) {
        return NULL;
    }
    if (what == 11) { /* lost: quarantined, given away, or handed over and forgotten */
        forget(replica);
        return NULL;
    }
    if (what == 12) {
        restart(h, replica);
        return NULL;
    }
    if (!old) {
        return NULL;
    }
    if (what == 13) { /* a disk that lost its tail, or was restored from some backup */
        restart(h, replica);
        copy_copy(&replica->now, old);
        return check(h, &replica->now);
    }
    return merge_into(h, replica, state_of(old), old->seen); /* a message twice, late, or a hint */
}

/* Everybody hears everything, and all are equal (invariant 2). */
static const char *converge(struct history *h)
{
    /* the removal of a twin is a write that must go round again: as often as there are replicas */
    uint32_t rounds = has_twins(h->variant) ? 2 * REPLICAS : 2;
    for (uint32_t i = 0; i < rounds * REPLICAS - 1; i++) {
        struct replica *from = &h->replicas[i % REPLICAS];
        struct replica *to = &h->replicas[(i + 1) % REPLICAS];
        const char *failure = merge_into(h, to, state_of(&from->now), from->now.seen);
        if (failure) {
            return failure;
        }
    }
    for (uint32_t i = 1; i < REPLICAS; i++) {
        if (!kith_bytes_equal(state_of(&h->replicas[i].now), state_of(&h->replicas[0].now))) {
            return "replicas that have exchanged everything differ";
        }
    }
    if (h->variant == TWINS_CALM) {
        struct kith_row row = decode(h, state_of(&h->replicas[0].now));
        return check_twins(h, &row, h->replicas[0].now.seen, false);
    }
    return NULL;
}

/* What went wrong, or NULL. */
static const char *run_history(struct history *h, enum variant variant, uint64_t seed)
{
    const char *failure = NULL;
    h->variant = variant;
    h->random.state = seed;
    h->event_count = 0;
    h->values = 0;
    h->copy_count = 0;
    for (uint32_t i = 0; i < REPLICAS; i++) {
        forget(&h->replicas[i]);
        restart(h, &h->replicas[i]);
    }
    for (uint32_t i = 0; i < STEPS && !failure; i++) {
        failure = step(h);
        kith_arena_reset(&h->arena);
    }
    if (!failure) {
        failure = converge(h);
        kith_arena_reset(&h->arena);
    }
    return failure;
}

static struct history history;

static void histories_agree_with_the_oracle(void **state)
{
    (void)state;
    uint64_t events = 0;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        const char *failure = run_history(&history, RIGHT, seed);
        if (failure) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, failure);
        }
        events += history.event_count;
    }
    assert_true(events > HISTORIES * 5);
    kith_arena_release(&history.arena);
}

static void twins_are_one_write(void **state)
{
    (void)state;
    history.removals = 0;
    for (uint64_t seed = 1; seed <= HISTORIES / 4; seed++) {
        enum variant variant = seed % 2 == 0 ? TWINS : TWINS_CALM;
        const char *failure = run_history(&history, variant, seed);
        if (failure) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, failure);
        }
    }
    print_message("%llu removals in %u histories\n", (unsigned long long)history.removals,
                  HISTORIES / 4);
    assert_true(history.removals > HISTORIES / 100);
    kith_arena_release(&history.arena);
}

/* Each wrong variant is seen by the same test, through what a person would see or invariant 2. */
static void wrong_variants_are_caught(void **state)
{
    (void)state;
    static const struct {
        enum variant variant;
        const char *name;
    } wrong[] = {
        {DELETE_WITHOUT_DOT, "delete without a dot"},
        {KEPT_NOT_CARRIED, "kept siblings not carried"},
        {NO_NEW_EPOCH, "no new epoch after a loss"},
        {COLLAPSE_EQUAL, "equal siblings collapsed"},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        unsigned caught = 0;
        const char *first = NULL;
        for (uint64_t seed = 1; seed <= MUTANT_HISTORIES; seed++) {
            const char *failure = run_history(&history, wrong[i].variant, seed);
            caught += failure != NULL;
            first = first ? first : failure;
        }
        print_message("%s: caught in %u of %u histories, first by: %s\n", wrong[i].name, caught,
                      MUTANT_HISTORIES, first ? first : "nothing");
        assert_true(caught > 0);
    }
    kith_arena_release(&history.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories_agree_with_the_oracle),
        cmocka_unit_test(twins_are_one_write),
        cmocka_unit_test(wrong_variants_are_caught),
    };
    for (unsigned i = 0; i < sizeof secret_bytes; i++) {
        secret_bytes[i] = (uint8_t)(i * 37 + 11);
    }
    secret = kith_bytes_make(secret_bytes, sizeof secret_bytes);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
