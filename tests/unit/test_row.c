/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The algebra of rows and their bytes, on random rows. What rows mean over whole histories is
 * tested in test_rowop_history.c, where actors are chosen too. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "data/row.h"
#include "lib/random.h"

/* ---- Random rows ---- */

/* Any row is a set of known dots of which some are present. The content of a sibling follows from
 * its dot, as in life: two replicas never hold different siblings under one dot. */
static struct kith_sibling sibling_of(struct kith_arena *arena, const struct kith_dot *dot)
{
    struct test_random random = {dot->actor.run * 31 + dot->actor.epoch * 7 + dot->counter};
    struct kith_sibling sibling = {.dot = *dot};
    uint8_t *bytes = kith_arena_alloc(arena, 200);
    assert_non_null(bytes);
    for (unsigned i = 0; i < 200; i++) {
        bytes[i] = (uint8_t)test_random_next(&random);
    }
    sibling.kind = (uint8_t)test_random_below(&random, 3);
    memcpy(sibling.request.bytes, bytes, sizeof sibling.request.bytes);
    sibling.time = test_random_below(&random, 4);
    sibling.writer = kith_bytes_make(bytes + 16, test_random_below(&random, KITH_WRITER_MAX + 1));
    sibling.ref_count = test_random_below(&random, 3);
    sibling.refs = (const struct kith_chunk_id *)(const void *)(bytes + 80);
    sibling.value = kith_bytes_make(bytes + 120, test_random_below(&random, 81));
    return sibling;
}

/* At most 6 actors with counters up to 4. */
static struct kith_row random_row(struct kith_arena *arena, struct test_random *random)
{
    struct kith_clock_entry *entries = kith_arena_calloc(arena, 6, sizeof *entries);
    struct kith_sibling *siblings = kith_arena_calloc(arena, 24, sizeof *siblings);
    assert_true(entries && siblings);
    struct kith_row row = {{0, entries}, 0, siblings};
    for (uint32_t actor = 0; actor < 6; actor++) {
        uint32_t counter = test_random_below(random, 9);
        if (counter > 4 || counter == 0) {
            continue;
        }
        struct kith_actor name = {actor < 4 ? UINT64_MAX / 3 * actor : 5, actor};
        entries[row.clock.count].actor = name;
        entries[row.clock.count].counter = counter;
        row.clock.count++;
    }
    /* the last two share a run and stand between the others */
    for (uint32_t i = 1; i < row.clock.count; i++) {
        for (uint32_t j = i;
             j > 0 && kith_actor_compare(&entries[j - 1].actor, &entries[j].actor) > 0; j--) {
            struct kith_clock_entry swap = entries[j];
            entries[j] = entries[j - 1];
            entries[j - 1] = swap;
        }
    }
    for (uint32_t i = 0; i < row.clock.count; i++) {
        for (uint64_t counter = 1; counter <= entries[i].counter; counter++) {
            if (test_random_below(random, 3) == 0) {
                struct kith_dot dot = {entries[i].actor, counter};
                siblings[row.sibling_count++] = sibling_of(arena, &dot);
            }
        }
    }
    return row;
}

static struct kith_bytes encode(struct kith_arena *arena, const struct kith_row *row)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(row, &buf);
    assert_false(buf.failed);
    assert_int_equal(buf.size, kith_row_encoded_size(row));
    struct kith_bytes bytes = {kith_arena_copy(arena, buf.data, buf.size), buf.size};
    assert_non_null(bytes.data);
    kith_buf_release(&buf);
    return bytes;
}

static struct kith_row merge(struct kith_arena *arena, const struct kith_row *a,
                             const struct kith_row *b)
{
    struct kith_row row;
    assert_int_equal(kith_row_merge(arena, a, b, &row), KITH_OK);
    return row;
}

static void assert_same(struct kith_arena *arena, const struct kith_row *a,
                        const struct kith_row *b)
{
    struct kith_bytes x = encode(arena, a);
    struct kith_bytes y = encode(arena, b);
    assert_true(kith_bytes_equal(x, y));
}

/* ---- Merge ---- */

static void merge_is_commutative_associative_idempotent(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct test_random random = {1};
    for (unsigned round = 0; round < 30000; round++) {
        struct kith_row a = random_row(&arena, &random);
        struct kith_row b = random_row(&arena, &random);
        struct kith_row c = random_row(&arena, &random);
        struct kith_row ab = merge(&arena, &a, &b), ba = merge(&arena, &b, &a);
        struct kith_row bc = merge(&arena, &b, &c), ab_c = merge(&arena, &ab, &c);
        struct kith_row a_bc = merge(&arena, &a, &bc), aa = merge(&arena, &a, &a);
        struct kith_row again = merge(&arena, &ab_c, &b);
        assert_same(&arena, &ab, &ba);
        assert_same(&arena, &ab_c, &a_bc);
        assert_same(&arena, &aa, &a);
        assert_same(&arena, &again, &ab_c);
        assert_ptr_equal(again.clock.entries, ab_c.clock.entries); /* borrowed, not copied */
        assert_ptr_equal(again.siblings, ab_c.siblings);
        kith_arena_reset(&arena);
    }
    kith_arena_release(&arena);
}

/* By the definition, dot by dot. */
static void merge_is_what_it_is_said_to_be(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct test_random random = {2};
    for (unsigned round = 0; round < 20000; round++) {
        struct kith_row a = random_row(&arena, &random), b = random_row(&arena, &random);
        struct kith_row row = merge(&arena, &a, &b);
        uint32_t expected = 0;
        for (uint32_t i = 0; i < a.sibling_count; i++) {
            const struct kith_dot *dot = &a.siblings[i].dot;
            bool stays = kith_row_find(&b, dot) || !kith_clock_covers(&b.clock, dot);
            assert_int_equal(kith_row_find(&row, dot) != NULL, stays);
            expected += stays;
        }
        for (uint32_t i = 0; i < b.sibling_count; i++) {
            const struct kith_dot *dot = &b.siblings[i].dot;
            bool stays = !kith_clock_covers(&a.clock, dot);
            assert_true(!stays || kith_row_find(&row, dot));
            expected += stays;
        }
        assert_int_equal(row.sibling_count, expected);
        for (uint32_t i = 0; i < row.clock.count; i++) {
            const struct kith_actor *actor = &row.clock.entries[i].actor;
            uint64_t x = kith_clock_get(&a.clock, actor), y = kith_clock_get(&b.clock, actor);
            assert_true(row.clock.entries[i].counter == (x > y ? x : y));
        }
        enum kith_clock_order order = kith_clock_compare(&row.clock, &a.clock);
        assert_true(order == KITH_CLOCK_EQUAL || order == KITH_CLOCK_AFTER);
        struct kith_clock clock;
        assert_int_equal(kith_clock_join(&arena, &a.clock, &b.clock, &clock), KITH_OK);
        assert_int_equal(kith_clock_compare(&clock, &row.clock), KITH_CLOCK_EQUAL);
        kith_arena_reset(&arena);
    }
    kith_arena_release(&arena);
}

/* A row of `count` siblings of one run, each an actor of its own. */
static struct kith_row wide_row(struct kith_arena *arena, uint64_t run, uint32_t count,
                                uint32_t siblings_count)
{
    struct kith_clock_entry *entries = kith_arena_calloc(arena, count, sizeof *entries);
    struct kith_sibling *siblings = kith_arena_calloc(arena, siblings_count, sizeof *siblings);
    assert_true(entries && siblings);
    for (uint32_t i = 0; i < count; i++) {
        entries[i].actor.run = run;
        entries[i].actor.epoch = i;
        entries[i].counter = 1;
        if (i < siblings_count) {
            siblings[i].dot.actor = entries[i].actor;
            siblings[i].dot.counter = 1;
        }
    }
    struct kith_row row = {{count, entries}, siblings_count, siblings};
    return row;
}

static void merge_keeps_the_bounds(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_row out;
    struct kith_row a = wide_row(&arena, 1, 1024, 1024), b = wide_row(&arena, 2, 1, 1);
    assert_int_equal(kith_row_merge(&arena, &a, &b, &out), KITH_ELIMIT);
    a.sibling_count = 1023;
    assert_int_equal(kith_row_merge(&arena, &a, &b, &out), KITH_OK);
    struct kith_bytes bytes = encode(&arena, &out);
    assert_int_equal(kith_row_decode(&arena, bytes, &out), KITH_OK);
    assert_int_equal(out.sibling_count, 1024);
    a = wide_row(&arena, 1, 4096, 0);
    assert_int_equal(kith_row_merge(&arena, &a, &b, &out), KITH_ELIMIT);
    bytes = encode(&arena, &a);
    assert_int_equal(kith_row_decode(&arena, bytes, &out), KITH_OK);
    a = wide_row(&arena, 1, 4097, 0);
    bytes = encode(&arena, &a);
    assert_int_equal(kith_row_decode(&arena, bytes, &out), KITH_EFORMAT);
    kith_arena_release(&arena);
}

/* ---- Put ---- */

static const struct kith_request_id no_request;

static enum kith_err put(struct kith_arena *arena, const struct kith_row *row,
                         const struct kith_row *context, uint64_t run, uint64_t counter,
                         const char *value, struct kith_row *ret_row)
{
    struct kith_row_update update = {
        .context = context->clock,
        .kept_count = context->sibling_count,
        .kept = context->siblings,
        .has_sibling = value != NULL,
        .writer = kith_bytes_make("a@b", 3),
        .value = kith_bytes_make(value, value ? strlen(value) : 0),
    };
    struct kith_dot dot = {{run, 1}, counter};
    return kith_row_put(arena, row, &update, &dot, counter, &no_request, ret_row);
}

static void put_replaces_keeps_and_deletes(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct kith_row empty = {.sibling_count = 0}, one, two, three, gone, read;
    assert_int_equal(put(&arena, &empty, &empty, 9, 1, "one", &one), KITH_OK);
    assert_int_equal(put(&arena, &one, &empty, 5, 1, "blind", &two), KITH_OK);
    assert_int_equal(two.sibling_count, 2); /* nobody has read the first: both stay */
    assert_true(two.siblings[0].dot.actor.run == 5);
    assert_string_equal((const char *)kith_row_winner(&two)->value.data, "one"); /* higher dot */
    read = two;
    read.sibling_count = 0;
    assert_int_equal(put(&arena, &two, &read, 9, 2, "three", &three), KITH_OK);
    assert_int_equal(three.sibling_count, 1);
    read = two;
    read.sibling_count = 1; /* keeps "blind" */
    assert_int_equal(put(&arena, &one, &read, 9, 2, NULL, &gone), KITH_OK);
    assert_int_equal(gone.sibling_count, 1); /* "one" is deleted, "blind" came with the put */
    assert_true(kith_clock_get(&gone.clock, &gone.siblings[0].dot.actor) == 1);
    assert_int_equal(kith_clock_compare(&gone.clock, &three.clock), KITH_CLOCK_EQUAL);
    read.clock.count = 0; /* the kept one is not in the context */
    assert_int_equal(put(&arena, &one, &read, 9, 3, NULL, &gone), KITH_EINVAL);
    read = one;
    read.sibling_count = 0;
    assert_int_equal(put(&arena, &one, &read, 9, 2, NULL, &gone), KITH_OK);
    assert_int_equal(gone.sibling_count, 0);
    assert_null(kith_row_winner(&gone));
    assert_false(kith_row_is_empty(&gone));
    kith_arena_release(&arena);
}

static void put_keeps_the_bounds(void **state)
{
    (void)state;
    static uint8_t large[KITH_INLINE_VALUE_MAX + 1];
    struct kith_arena arena = {0};
    struct kith_row empty = {.sibling_count = 0}, row = empty;
    struct kith_row_update update = {.has_sibling = true,
                                     .value = {large, KITH_INLINE_VALUE_MAX + 1}};
    struct kith_dot dot = {{1, 1}, 1};
    assert_int_equal(kith_row_put(&arena, &row, &update, &dot, 0, &no_request, &row), KITH_ETOOBIG);
    update.value.size--;
    for (; dot.counter <= 15; dot.counter++) {
        assert_int_equal(kith_row_put(&arena, &row, &update, &dot, 0, &no_request, &row), KITH_OK);
    }
    assert_int_equal(kith_row_put(&arena, &row, &update, &dot, 0, &no_request, &row), KITH_ETOOBIG);
    assert_int_equal(row.sibling_count, 15);
    /* a merge takes it above; then what makes it smaller is taken all the same */
    struct kith_row other = empty;
    for (struct kith_dot theirs = {{2, 1}, 1}; theirs.counter <= 3; theirs.counter++) {
        assert_int_equal(kith_row_put(&arena, &other, &update, &theirs, 0, &no_request, &other),
                         KITH_OK);
    }
    row = merge(&arena, &row, &other);
    assert_true(kith_row_encoded_size(&row) > KITH_ROW_STATE_MAX);
    update.has_sibling = false;
    assert_int_equal(kith_row_put(&arena, &row, &update, &dot, 0, &no_request, &other),
                     KITH_ETOOBIG);
    update.context = row.clock;
    update.kept = row.siblings + 1;
    update.kept_count = row.sibling_count - 1;
    assert_int_equal(kith_row_put(&arena, &row, &update, &dot, 0, &no_request, &row), KITH_OK);
    assert_int_equal(row.sibling_count, 17);
    update = (struct kith_row_update){.has_sibling = true, .writer = {large, KITH_WRITER_MAX + 1}};
    assert_int_equal(kith_row_put(&arena, &empty, &update, &dot, 0, &no_request, &row),
                     KITH_EINVAL);
    update.writer.size = 0;
    update.ref_count = KITH_REFS_MAX + 1;
    assert_int_equal(kith_row_put(&arena, &empty, &update, &dot, 0, &no_request, &row),
                     KITH_ETOOBIG);
    kith_arena_release(&arena);
}

/* ---- Bytes ---- */

/* A decoded row must encode to the very bytes that it came from. */
static enum kith_err decode_checked(struct kith_arena *arena, struct kith_bytes bytes)
{
    struct kith_row row;
    enum kith_err err = kith_row_decode(arena, bytes, &row);
    if (err == KITH_OK) {
        struct kith_bytes again = encode(arena, &row);
        assert_true(kith_bytes_equal(again, bytes));
        assert_int_equal(kith_row_count_siblings(bytes), row.sibling_count);
    } else {
        assert_true(kith_row_count_siblings(bytes) <= KITH_SIBLINGS_MAX);
        assert_true(err == KITH_EFORMAT || err == KITH_EVERSION);
    }
    return err;
}

static void bytes_are_canonical(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    struct test_random random = {3};
    unsigned accepted = 0;
    for (unsigned round = 0; round < 1000; round++) {
        struct kith_row row = random_row(&arena, &random);
        struct kith_bytes bytes = encode(&arena, &row);
        assert_int_equal(decode_checked(&arena, bytes), KITH_OK);
        for (size_t cut = 1; cut < bytes.size; cut++) {
            /* memory of its own, so that a sanitizer sees a read past the end */
            uint8_t *part = kith_malloc(cut);
            memcpy(part, bytes.data, cut);
            assert_int_equal(decode_checked(&arena, kith_bytes_make(part, cut)), KITH_EFORMAT);
            kith_free(part);
        }
        for (unsigned change = 0; change < 100 && bytes.size != 0; change++) {
            uint32_t add = test_random_below(&random, 2);
            uint8_t *other = kith_malloc(bytes.size + add);
            memcpy(other, bytes.data, bytes.size);
            other[bytes.size + add - 1] |= (uint8_t)add;
            uint32_t changes = test_random_below(&random, 3);
            for (uint32_t i = 0; i <= changes; i++) {
                uint32_t at = test_random_below(&random, (uint32_t)bytes.size);
                uint32_t low = test_random_below(&random, 2);
                uint64_t value = test_random_next(&random);
                other[at] = (uint8_t)(low ? value & 3 : value);
            }
            accepted += decode_checked(&arena, kith_bytes_make(other, bytes.size + add)) == KITH_OK;
            kith_free(other);
        }
        kith_arena_reset(&arena);
    }
    assert_true(accepted > 1000); /* the mutations are not all absurd */
    assert_int_equal(decode_checked(&arena, kith_bytes_make("\1\0\0", 3)), KITH_EFORMAT);
    assert_int_equal(decode_checked(&arena, kith_bytes_make("\2", 1)), KITH_EVERSION);
    kith_arena_release(&arena);
}

/* What would encode to its own bytes, and still is no row. */
static void senseless_rows_are_refused(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    static uint8_t large[KITH_INLINE_VALUE_MAX + 1];
    for (unsigned fault = 0; fault < 6; fault++) {
        struct kith_clock_entry entry = {{5, 1}, fault == 1 ? 0 : 300}, used = {{5, 1}, 300};
        struct kith_sibling sibling = {.dot = {{5, 1}, fault == 2 ? 0 : 299}};
        sibling.writer = kith_bytes_make(large, fault == 3 ? KITH_WRITER_MAX + 1 : 3);
        sibling.ref_count = fault == 4 ? KITH_REFS_MAX + 1 : 0;
        sibling.refs = kith_arena_calloc(&arena, KITH_REFS_MAX + 1, sizeof *sibling.refs);
        sibling.value = kith_bytes_make(large, fault == 5 ? KITH_INLINE_VALUE_MAX + 1 : 5);
        struct kith_row row = {{1, fault == 1 ? &entry : &used}, fault == 1 ? 0 : 1, &sibling};
        struct kith_bytes bytes = encode(&arena, &row);
        assert_int_equal(decode_checked(&arena, bytes), fault == 0 ? KITH_OK : KITH_EFORMAT);
    }
    kith_arena_release(&arena);
}

/* The bytes of one row, written down: who changes the format changes this, and KITH_ROW_FORMAT. */
static void bytes_are_as_drawn(void **state)
{
    (void)state;
    static const char expected[] = "\x01\x02"
                                   "\x05\0\0\0\0\0\0\0\x01\xac\x02"
                                   "\x05\0\0\0\0\0\0\0\x07\x07"
                                   "\x01"
                                   "\x00\xab\x02\x01"
                                   "0123456789abcdef"
                                   "\x08\x07\x06\x05\x04\x03\x02\x01"
                                   "\x03"
                                   "a@b"
                                   "\x01"
                                   "ABCDEFGHIJKLMNOPQRST"
                                   "\x02"
                                   "hi";
    struct kith_clock_entry entries[] = {{{5, 1}, 300}, {{5, 7}, 7}};
    struct kith_sibling sibling = {
        .dot = {{5, 1}, 299},
        .kind = KITH_SIBLING_MARK,
        .time = UINT64_C(0x0102030405060708),
        .writer = kith_bytes_make("a@b", 3),
        .ref_count = 1,
        .refs = (const struct kith_chunk_id *)(const void *)"ABCDEFGHIJKLMNOPQRST",
        .value = kith_bytes_make("hi", 2),
    };
    memcpy(sibling.request.bytes, "0123456789abcdef", 16);
    struct kith_row row = {{2, entries}, 1, &sibling};
    struct kith_arena arena = {0};
    struct kith_bytes bytes = encode(&arena, &row);
    assert_true(kith_bytes_equal(bytes, kith_bytes_make(expected, sizeof expected - 1)));
    kith_arena_release(&arena);
}

static void copies_borrow_nothing(void **state)
{
    (void)state;
    struct kith_arena arena = {0}, other = {0};
    struct test_random random = {4};
    for (unsigned round = 0; round < 200; round++) {
        struct kith_row row = random_row(&arena, &random), copy;
        struct kith_bytes bytes = encode(&other, &row);
        assert_int_equal(kith_row_copy(&other, &row, &copy), KITH_OK);
        kith_arena_release(&arena);
        struct kith_bytes again = encode(&other, &copy);
        assert_true(kith_bytes_equal(bytes, again));
        kith_arena_release(&other);
    }
}

/* ---- Memory ---- */

static enum kith_err use_everything(struct kith_arena *arena, const struct kith_row *a,
                                    struct kith_bytes b_bytes)
{
    struct kith_row b, row;
    enum kith_err err = kith_row_decode(arena, b_bytes, &b);
    if (err == KITH_OK) {
        err = kith_row_merge(arena, a, &b, &row);
    }
    if (err == KITH_OK) {
        err = put(arena, &row, &b, 77, 1, "value", &row);
    }
    if (err == KITH_OK) {
        err = kith_row_copy(arena, &row, &row);
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (err == KITH_OK) {
        kith_row_encode(&row, &buf);
        err = buf.failed ? KITH_ENOMEM : KITH_OK;
    }
    kith_buf_release(&buf);
    return err;
}

static void short_memory_is_an_error(void **state)
{
    (void)state;
    struct kith_arena keep = {0};
    struct kith_row a = wide_row(&keep, 1, 600, 300), b = wide_row(&keep, 2, 600, 300);
    struct kith_bytes bytes = encode(&keep, &b);
    unsigned failures = 0;
    for (enum kith_err err = KITH_ENOMEM; err != KITH_OK; failures++) {
        struct kith_arena arena = {0};
        kith_alloc_fail_at(failures + 1);
        err = use_everything(&arena, &a, bytes);
        kith_alloc_fail_at(0);
        assert_true(err == KITH_OK || err == KITH_ENOMEM);
        kith_arena_release(&arena);
    }
    assert_true(failures > 5);
    failures = 0;
    for (size_t limit = 16; limit < 1u << 20; limit = limit * 3 / 2) {
        struct kith_arena arena;
        kith_arena_init(&arena, limit);
        enum kith_err err = use_everything(&arena, &a, bytes);
        assert_true(err == KITH_OK || err == KITH_ENOMEM);
        failures += err == KITH_ENOMEM;
        kith_arena_release(&arena);
    }
    assert_true(failures > 5);
    kith_arena_release(&keep);
}

static void hashes_depend_on_everything(void **state)
{
    (void)state;
    uint8_t secret[192];
    for (unsigned i = 0; i < sizeof secret; i++) {
        secret[i] = (uint8_t)(i * i);
    }
    struct kith_bytes secret_bytes = kith_bytes_make(secret, sizeof secret);
    struct kith_key key = {.name = kith_bytes_make("ab", 2)};
    memset(key.group.bytes, 1, sizeof key.group.bytes);
    struct kith_checksum first = kith_row_hash(&key, kith_bytes_make("c", 1), secret_bytes);
    struct kith_checksum other = kith_row_hash(&key, kith_bytes_make("d", 1), secret_bytes);
    assert_false(kith_checksum_equal(&first, &other));
    key.name.size = 1;
    other = kith_row_hash(&key, kith_bytes_make("bc", 2), secret_bytes);
    assert_false(kith_checksum_equal(&first, &other)); /* no sliding between name and state */
    key.name.size = 2;
    secret[20] ^= 1; /* short inputs use its first bytes only */
    other = kith_row_hash(&key, kith_bytes_make("c", 1), secret_bytes);
    assert_false(kith_checksum_equal(&first, &other));
    secret[20] ^= 1;
    other = kith_row_hash(&key, kith_bytes_make("c", 1), secret_bytes);
    assert_true(kith_checksum_equal(&first, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merge_is_commutative_associative_idempotent),
        cmocka_unit_test(merge_is_what_it_is_said_to_be),
        cmocka_unit_test(merge_keeps_the_bounds),
        cmocka_unit_test(put_replaces_keeps_and_deletes),
        cmocka_unit_test(put_keeps_the_bounds),
        cmocka_unit_test(bytes_are_canonical),
        cmocka_unit_test(senseless_rows_are_refused),
        cmocka_unit_test(bytes_are_as_drawn),
        cmocka_unit_test(copies_borrow_nothing),
        cmocka_unit_test(short_memory_is_an_error),
        cmocka_unit_test(hashes_depend_on_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
