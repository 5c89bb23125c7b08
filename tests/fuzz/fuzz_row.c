/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as the encoded states of two rows: an error, or rows that encode to these very bytes,
 * whose merge is a row again. The first two bytes say where the second begins. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "data/row.h"

static void encode_checked(const struct kith_row *row, struct kith_buf *buf)
{
    kith_buf_clear(buf);
    kith_row_encode(row, buf);
    KITH_ASSERT(!buf->failed && buf->size == kith_row_encoded_size(row));
}

static bool decode_checked(struct kith_arena *arena, struct kith_buf *buf, struct kith_bytes bytes,
                           struct kith_row *row)
{
    enum kith_err err = kith_row_decode(arena, bytes, row);
    if (err != KITH_OK) {
        KITH_ASSERT(err == KITH_EFORMAT || err == KITH_EVERSION);
        return false;
    }
    encode_checked(row, buf);
    KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(buf), bytes));
    return true;
}

static void use(struct kith_arena *arena, struct kith_buf *buf, const struct kith_row *a,
                const struct kith_row *b)
{
    struct kith_row merged, again, copy;
    enum kith_err err = kith_row_merge(arena, a, b, &merged);
    if (err != KITH_OK) {
        KITH_ASSERT(err == KITH_ELIMIT);
        return;
    }
    encode_checked(&merged, buf);
    KITH_ASSERT(kith_row_decode(arena, kith_buf_bytes(buf), &again) == KITH_OK);
    KITH_ASSERT(kith_row_merge(arena, &merged, b, &again) == KITH_OK);
    KITH_ASSERT(kith_clock_compare(&again.clock, &merged.clock) == KITH_CLOCK_EQUAL);
    KITH_ASSERT(again.sibling_count == merged.sibling_count);
    KITH_ASSERT(kith_row_copy(arena, &merged, &copy) == KITH_OK);
    const struct kith_sibling *winner = kith_row_winner(&copy);
    KITH_ASSERT(!winner || kith_row_find(&copy, &winner->dot) == winner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t first = (size_t)(data[0] | data[1] << 8);
    data += 2;
    size -= 2;
    first = first > size ? size : first;
    struct kith_arena arena;
    struct kith_buf buf;
    struct kith_row a, b;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    bool fine = decode_checked(&arena, &buf, kith_bytes_make(data, first), &a);
    fine = decode_checked(&arena, &buf, kith_bytes_make(data + first, size - first), &b) && fine;
    if (fine) {
        use(&arena, &buf, &a, &b);
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return 0;
}

/* Pairs of rows with 1 to 4 clock entries and 0 to 3 siblings. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    if (number >= 16) {
        return 0;
    }
    struct kith_clock_entry entries[4];
    struct kith_sibling siblings[3];
    memset(siblings, 0, sizeof siblings);
    size_t first = 0, size = 2;
    for (uint32_t side = 0; side < 2; side++) {
        struct kith_row row = {{1 + number % 4, entries}, number / 4 % 4, siblings};
        for (uint32_t i = 0; i < 4; i++) {
            entries[i].actor.run = 1 + i / 2;
            entries[i].actor.epoch = 1 + i % 2 + (side & i);
            entries[i].counter = 200 + number * 10 + side;
        }
        for (uint32_t i = 0; i < row.sibling_count; i++) {
            siblings[i].dot.actor = entries[i % row.clock.count].actor;
            siblings[i].dot.counter = 150 + i + side * (number % 3);
            siblings[i].writer = kith_bytes_make("anna@mars", 9);
            siblings[i].ref_count = i;
            siblings[i].refs = (const struct kith_chunk_id
                                    *)(const void *)"0123456789abcdefghij0123456789abcdefghij";
            siblings[i].value = kith_bytes_make("some value", 10);
        }
        if (row.clock.count < row.sibling_count) {
            row.sibling_count = row.clock.count; /* siblings ascend by dot */
        }
        size = (size_t)(kith_row_write(&row, data + size) - data);
        first = side == 0 ? size - 2 : first;
    }
    data[0] = (uint8_t)first;
    data[1] = (uint8_t)(first >> 8);
    return size;
}
