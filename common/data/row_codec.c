/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The encoded state of a row, as row.h draws it, and its hash. Sizes are computed first, so that a
 * state is written straight to where it belongs; decoding borrows everything but two arrays. */
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "data/row.h"

/* The least that one takes, so that a count is known to be absurd before memory is asked for. */
#define CLOCK_ENTRY_MIN_BYTES 10u
#define SIBLING_MIN_BYTES     30u

#define FIXED_SIBLING_BYTES (1u + sizeof(struct kith_request_id) + sizeof(uint64_t))

_Static_assert(sizeof(struct kith_chunk_id) == KITH_CHUNK_ID_SIZE, "refs are borrowed from bytes");

/* ---- Writing ---- */

static size_t varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

static uint8_t *write_varint(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *write_u64(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        *out++ = (uint8_t)(value >> (8 * i));
    }
    return out;
}

static uint8_t *write_bytes(uint8_t *out, const void *data, size_t size)
{
    if (size != 0) {
        memcpy(out, data, size);
    }
    return out + size;
}

/* The index of a sibling's actor in the clock; *at is where the last question ended, for both are
 * ascending. A sibling is covered by its row's clock, or the row is none. */
static uint32_t actor_index(const struct kith_clock *clock, uint32_t *at,
                            const struct kith_dot *dot)
{
    while (*at < clock->count && kith_actor_compare(&clock->entries[*at].actor, &dot->actor) < 0) {
        (*at)++;
    }
    KITH_ASSERT(*at < clock->count &&
                kith_actor_compare(&clock->entries[*at].actor, &dot->actor) == 0 &&
                dot->counter <= clock->entries[*at].counter);
    return *at;
}

size_t kith_row_encoded_size(const struct kith_row *row)
{
    if (kith_row_is_empty(row)) {
        return 0;
    }
    size_t size = 1 + varint_size(row->clock.count) + varint_size(row->sibling_count);
    for (uint32_t i = 0; i < row->clock.count; i++) {
        const struct kith_clock_entry *entry = &row->clock.entries[i];
        size += 8 + varint_size(entry->actor.epoch) + varint_size(entry->counter);
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        size += varint_size(actor_index(&row->clock, &at, &sibling->dot)) +
                varint_size(sibling->dot.counter) + FIXED_SIBLING_BYTES +
                varint_size(sibling->writer.size) + sibling->writer.size +
                varint_size(sibling->ref_count) + sibling->ref_count * sizeof *sibling->refs +
                varint_size(sibling->value.size) + sibling->value.size;
    }
    return size;
}

uint8_t *kith_row_write(const struct kith_row *row, uint8_t *out)
{
    if (kith_row_is_empty(row)) {
        return out;
    }
    *out++ = KITH_ROW_FORMAT;
    out = write_varint(out, row->clock.count);
    for (uint32_t i = 0; i < row->clock.count; i++) {
        const struct kith_clock_entry *entry = &row->clock.entries[i];
        out = write_u64(out, entry->actor.run);
        out = write_varint(out, entry->actor.epoch);
        out = write_varint(out, entry->counter);
    }
    out = write_varint(out, row->sibling_count);
    uint32_t at = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        out = write_varint(out, actor_index(&row->clock, &at, &sibling->dot));
        out = write_varint(out, sibling->dot.counter);
        *out++ = sibling->kind;
        out = write_bytes(out, sibling->request.bytes, sizeof sibling->request.bytes);
        out = write_u64(out, sibling->time);
        out = write_varint(out, sibling->writer.size);
        out = write_bytes(out, sibling->writer.data, sibling->writer.size);
        out = write_varint(out, sibling->ref_count);
        out = write_bytes(out, sibling->refs, sibling->ref_count * sizeof *sibling->refs);
        out = write_varint(out, sibling->value.size);
        out = write_bytes(out, sibling->value.data, sibling->value.size);
    }
    return out;
}

void kith_row_encode(const struct kith_row *row, struct kith_buf *buf)
{
    size_t size = kith_row_encoded_size(row);
    if (size != 0 && kith_buf_reserve(buf, size)) {
        uint8_t *end = kith_row_write(row, buf->data + buf->size);
        KITH_ASSERT(end == buf->data + buf->size + size);
        buf->size += size;
    }
}

/* ---- Reading ---- */

static enum kith_err read_clock(struct kith_arena *arena, struct kith_reader *reader,
                                struct kith_clock *ret_clock)
{
    uint64_t count = kith_read_varint(reader);
    /* no entry at all would be the empty row, whose encoding is no bytes */
    if (count == 0 || count > KITH_CLOCK_ENTRIES_MAX ||
        count > kith_reader_left(reader) / CLOCK_ENTRY_MIN_BYTES) {
        return KITH_EFORMAT;
    }
    struct kith_clock_entry *entries = kith_arena_alloc(arena, (size_t)count * sizeof *entries);
    if (!entries) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        entries[i].actor.run = kith_read_u64(reader);
        entries[i].actor.epoch = kith_read_varint(reader);
        entries[i].counter = kith_read_varint(reader);
        if (entries[i].counter == 0 ||
            (i != 0 && kith_actor_compare(&entries[i - 1].actor, &entries[i].actor) >= 0)) {
            return KITH_EFORMAT;
        }
    }
    ret_clock->count = (uint32_t)count;
    ret_clock->entries = entries;
    return KITH_OK;
}

static enum kith_err read_sibling(struct kith_reader *reader, const struct kith_clock *clock,
                                  struct kith_sibling *ret_sibling)
{
    uint64_t index = kith_read_varint(reader);
    uint64_t counter = kith_read_varint(reader);
    if (index >= clock->count || counter == 0 || counter > clock->entries[index].counter) {
        return KITH_EFORMAT;
    }
    ret_sibling->dot.actor = clock->entries[index].actor;
    ret_sibling->dot.counter = counter;
    ret_sibling->kind = kith_read_u8(reader);
    const uint8_t *request = kith_read(reader, sizeof ret_sibling->request.bytes);
    if (!request) {
        return KITH_EFORMAT;
    }
    memcpy(ret_sibling->request.bytes, request, sizeof ret_sibling->request.bytes);
    ret_sibling->time = kith_read_u64(reader);
    ret_sibling->writer = kith_read_sized(reader, KITH_WRITER_MAX);
    uint64_t ref_count = kith_read_varint(reader);
    if (ref_count > KITH_REFS_MAX) {
        return KITH_EFORMAT;
    }
    ret_sibling->ref_count = (uint32_t)ref_count;
    ret_sibling->refs = (const struct kith_chunk_id *)(const void *)kith_read(
        reader, (size_t)ref_count * KITH_CHUNK_ID_SIZE);
    ret_sibling->value = kith_read_sized(reader, KITH_INLINE_VALUE_MAX);
    return reader->failed ? KITH_EFORMAT : KITH_OK;
}

uint32_t kith_row_count_siblings(struct kith_bytes bytes)
{
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    bool known = bytes.size > 0 && kith_read_u8(&reader) == KITH_ROW_FORMAT;
    uint64_t left = known ? kith_read_varint(&reader) : 0;
    for (; left > 0 && !reader.failed; left--) { /* the clock */
        (void)kith_read_u64(&reader);
        (void)kith_read_varint(&reader);
        (void)kith_read_varint(&reader);
    }
    uint64_t count = known ? kith_read_varint(&reader) : 0;
    return reader.failed || count > KITH_SIBLINGS_MAX ? 0 : (uint32_t)count;
}

enum kith_err kith_row_decode(struct kith_arena *arena, struct kith_bytes bytes,
                              struct kith_row *ret_row)
{
    struct kith_row row;
    memset(&row, 0, sizeof row);
    if (bytes.size == 0) {
        *ret_row = row;
        return KITH_OK;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    if (kith_read_u8(&reader) != KITH_ROW_FORMAT) {
        return KITH_EVERSION;
    }
    enum kith_err err = read_clock(arena, &reader, &row.clock);
    if (err != KITH_OK) {
        return err;
    }
    uint64_t count = kith_read_varint(&reader);
    if (count > KITH_SIBLINGS_MAX || count > kith_reader_left(&reader) / SIBLING_MIN_BYTES) {
        return KITH_EFORMAT;
    }
    if (count != 0) {
        struct kith_sibling *siblings = kith_arena_alloc(arena, (size_t)count * sizeof *siblings);
        if (!siblings) {
            return KITH_ENOMEM;
        }
        for (uint32_t i = 0; i < count; i++) {
            err = read_sibling(&reader, &row.clock, &siblings[i]);
            if (err != KITH_OK) {
                return err;
            }
            if (i != 0 && kith_dot_compare(&siblings[i - 1].dot, &siblings[i].dot) >= 0) {
                return KITH_EFORMAT;
            }
        }
        row.sibling_count = (uint32_t)count;
        row.siblings = siblings;
    }
    if (!kith_reader_done(&reader)) {
        return KITH_EFORMAT;
    }
    *ret_row = row;
    return KITH_OK;
}

/* ---- Hash ---- */

/* Three hashes in one go each are faster than a streamed one, whose state must live on the heap:
 * the key's, the state's, and that of both. */
struct kith_checksum kith_row_hash(const struct kith_key *key, struct kith_bytes state,
                                   struct kith_bytes secret)
{
    KITH_ASSERT(secret.size >= XXH3_SECRET_SIZE_MIN && key->name.size <= KITH_NAME_MAX);
    uint8_t name[KITH_GROUP_SIZE + KITH_NAME_MAX];
    uint8_t *end = write_bytes(name, key->group.bytes, KITH_GROUP_SIZE);
    end = write_bytes(end, key->name.data, key->name.size);
    XXH128_canonical_t both[2], whole;
    XXH128_canonicalFromHash(
        &both[0], XXH3_128bits_withSecret(name, (size_t)(end - name), secret.data, secret.size));
    XXH128_canonicalFromHash(
        &both[1], XXH3_128bits_withSecret(state.data, state.size, secret.data, secret.size));
    XXH128_canonicalFromHash(&whole,
                             XXH3_128bits_withSecret(both, sizeof both, secret.data, secret.size));
    struct kith_checksum checksum;
    memcpy(checksum.bytes, whole.digest, sizeof checksum.bytes);
    return checksum;
}
