/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/rows/hintop.h"

#include <string.h>

#define FLAG_CUSTODY 1u
#define FLAG_THIN    2u

/* ---- Records ---- */

static bool read_nodes(struct kith_reader *reader, struct kith_uuid nodes[], uint32_t *ret_count)
{
    uint32_t count = kith_read_u8(reader);
    const uint8_t *bytes =
        count <= KITH_HINT_NODES_MAX ? kith_read(reader, count * sizeof nodes[0]) : NULL;
    if (reader->failed || !bytes) {
        return false;
    }
    memcpy(nodes, bytes, count * sizeof nodes[0]);
    *ret_count = count;
    return true;
}

enum kith_err kith_hint_decode(struct kith_bytes bytes, struct kith_hint *ret_hint)
{
    memset(ret_hint, 0, sizeof *ret_hint);
    if (bytes.size == 0) {
        return KITH_OK;
    }
    struct kith_hint hint = {.exists = true};
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t format = kith_read_u8(&reader);
    uint8_t flags = kith_read_u8(&reader);
    hint.first_ms = kith_read_varint(&reader);
    if (format != KITH_HINT_FORMAT || (flags & ~(FLAG_CUSTODY | FLAG_THIN)) != 0 ||
        !read_nodes(&reader, hint.targets, &hint.target_count) ||
        !read_nodes(&reader, hint.acked, &hint.acked_count)) {
        return KITH_ECORRUPT;
    }
    size_t head = bytes.size - kith_reader_left(&reader);
    const uint8_t *stored = kith_read(&reader, KITH_CHECKSUM_SIZE);
    struct kith_checksum computed = kith_checksum_of(kith_bytes_make(bytes.data, head));
    if (!stored || memcmp(stored, computed.bytes, sizeof computed.bytes) != 0) {
        return KITH_ECORRUPT;
    }
    hint.custody = (flags & FLAG_CUSTODY) != 0;
    hint.thin = (flags & FLAG_THIN) != 0;
    hint.record = kith_bytes_make(stored + KITH_CHECKSUM_SIZE, kith_reader_left(&reader));
    *ret_hint = hint;
    return KITH_OK;
}

enum kith_err kith_hint_encode(struct kith_arena *arena, const struct kith_hint *hint,
                               struct kith_bytes *ret_bytes)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, KITH_HINT_FORMAT);
    kith_buf_put_u8(&buf, (uint8_t)((hint->custody ? FLAG_CUSTODY : 0) |
                                    (hint->thin ? FLAG_THIN : 0)));
    kith_buf_put_varint(&buf, hint->first_ms);
    kith_buf_put_u8(&buf, (uint8_t)hint->target_count);
    kith_buf_put(&buf, hint->targets, hint->target_count * sizeof hint->targets[0]);
    kith_buf_put_u8(&buf, (uint8_t)hint->acked_count);
    kith_buf_put(&buf, hint->acked, hint->acked_count * sizeof hint->acked[0]);
    struct kith_checksum checksum = kith_checksum_of(kith_buf_bytes(&buf));
    kith_buf_put(&buf, checksum.bytes, sizeof checksum.bytes);
    kith_buf_put(&buf, hint->record.data, hint->record.size);
    uint8_t *copy = buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size);
    *ret_bytes = kith_bytes_make(copy, buf.size);
    kith_buf_release(&buf);
    return copy ? KITH_OK : KITH_ENOMEM;
}

/* ---- Who wants it, who has it ---- */

static bool among(const struct kith_uuid nodes[], uint32_t count, const struct kith_uuid *node)
{
    for (uint32_t i = 0; i < count; i++) {
        if (kith_uuid_equal(&nodes[i], node)) {
            return true;
        }
    }
    return false;
}

void kith_hint_take(struct kith_hint *hint, const struct kith_hint_want *want, uint64_t wall_ms,
                    bool changed)
{
    if (!hint->exists) {
        hint->exists = true;
        hint->first_ms = wall_ms;
    }
    if (changed) {
        hint->acked_count = 0;
    }
    hint->custody = hint->custody || want->custody;
    hint->thin = hint->thin || want->thin;
    for (uint32_t i = 0; i < want->target_count; i++) {
        if (among(hint->targets, hint->target_count, &want->targets[i])) {
            continue;
        }
        if (hint->target_count == KITH_HINT_NODES_MAX) {
            hint->custody = true; /* for everyone, then */
            break;
        }
        hint->targets[hint->target_count++] = want->targets[i];
    }
}

bool kith_hint_mark(struct kith_hint *hint, const struct kith_hint_want *want, uint64_t wall_ms)
{
    if (!want->thin && hint->record.size == 0) {
        return false;
    }
    kith_hint_take(hint, want, wall_ms, true);
    return true;
}

/* Somebody it was for owns the partition no longer: those who do are to have it. */
static bool rerouted(const struct kith_hint *hint, const struct kith_hint_owners *owners)
{
    for (uint32_t i = 0; i < hint->target_count; i++) {
        if (!among(owners->uuids, owners->count, &hint->targets[i])) {
            return true;
        }
    }
    return false;
}

static bool for_all(const struct kith_hint *hint, const struct kith_hint_owners *owners)
{
    return hint->custody || hint->thin || rerouted(hint, owners);
}

/* Whether as many have it as must. */
static bool satisfied(const struct kith_hint *hint, const struct kith_hint_owners *owners)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < owners->count; i++) {
        have += among(hint->acked, hint->acked_count, &owners->uuids[i]) ? 1 : 0;
    }
    if (for_all(hint, owners)) {
        return have >= owners->w;
    }
    for (uint32_t i = 0; i < hint->target_count; i++) {
        if (!among(hint->acked, hint->acked_count, &hint->targets[i])) {
            return false;
        }
    }
    return true;
}

bool kith_hint_wanted(const struct kith_hint *hint, const struct kith_uuid *node,
                      const struct kith_hint_owners *owners)
{
    if (!hint->exists) {
        return false;
    }
    if (among(hint->acked, hint->acked_count, node)) {
        return satisfied(hint, owners);
    }
    return for_all(hint, owners) || among(hint->targets, hint->target_count, node);
}

bool kith_hint_ack(struct kith_hint *hint, const struct kith_uuid *node,
                   const struct kith_hint_owners *owners)
{
    if (!among(hint->acked, hint->acked_count, node)) {
        for (uint32_t i = 0; i < hint->acked_count; i++) { /* former owners make room */
            if (!among(owners->uuids, owners->count, &hint->acked[i])) {
                hint->acked[i] = hint->acked[--hint->acked_count];
                i--;
            }
        }
        if (hint->acked_count < KITH_HINT_NODES_MAX) {
            hint->acked[hint->acked_count++] = *node;
        }
    }
    return satisfied(hint, owners);
}

/* ---- What is sent ---- */

enum kith_err kith_hint_state(struct kith_arena *arena, const struct kith_key *key,
                              const struct kith_hint *hint, struct kith_bytes row_record,
                              struct kith_bytes secret, struct kith_bytes *ret_state,
                              struct kith_checksum *ret_hash)
{
    struct kith_bytes records[2] = {hint->record, hint->thin ? row_record
                                                              : kith_bytes_make(NULL, 0)};
    struct kith_bytes states[2] = {{NULL, 0}, {NULL, 0}};
    struct kith_row rows[2], merged;
    struct kith_checksum hash;
    enum kith_err err = KITH_OK;
    memset(&hash, 0, sizeof hash);
    for (uint32_t i = 0; i < 2 && err == KITH_OK; i++) {
        if (records[i].size > 0) {
            err = kith_rowop_state(key, records[i], secret, &states[i], &hash);
        }
    }
    if (err != KITH_OK) {
        return err;
    }
    if (states[0].size == 0 || states[1].size == 0) {
        *ret_state = states[0].size > 0 ? states[0] : states[1];
        *ret_hash = hash;
        return KITH_OK;
    }
    for (uint32_t i = 0; i < 2 && err == KITH_OK; i++) {
        err = kith_row_decode(arena, states[i], &rows[i]);
    }
    if (err == KITH_OK) {
        err = kith_row_merge(arena, &rows[0], &rows[1], &merged);
    }
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_ECORRUPT;
    }
    size_t size = kith_row_encoded_size(&merged);
    uint8_t *bytes = kith_arena_alloc(arena, size);
    if (!bytes) {
        return KITH_ENOMEM;
    }
    (void)kith_row_write(&merged, bytes);
    *ret_state = kith_bytes_make(bytes, size);
    *ret_hash = kith_row_hash(key, *ret_state, secret);
    return KITH_OK;
}
