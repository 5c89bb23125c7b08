/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/rows/floor.h"

#include <string.h>

#include "base/assert.h"

static uint64_t floor_of(const struct kith_floor *floor, uint64_t run)
{
    uint32_t first = 0, end = floor->count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (floor->entries[middle].run < run) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    bool is = first < floor->count && floor->entries[first].run == run;
    return is ? floor->entries[first].counter : 0;
}

bool kith_floor_covers(const struct kith_floor *floor, const struct kith_dot *dot)
{
    return dot->counter <= floor_of(floor, dot->actor.run);
}

bool kith_floor_covers_clock(const struct kith_floor *floor, const struct kith_clock *clock)
{
    for (uint32_t i = 0; i < clock->count; i++) {
        if (clock->entries[i].counter > floor_of(floor, clock->entries[i].actor.run)) {
            return false;
        }
    }
    return true;
}

bool kith_floor_is_sound(const struct kith_floor *floor)
{
    bool sound = floor->count <= KITH_FLOOR_RUNS_MAX;
    for (uint32_t i = 0; sound && i < floor->count; i++) {
        sound = floor->entries[i].counter > 0 &&
                (i == 0 || floor->entries[i].run > floor->entries[i - 1].run);
    }
    return sound;
}

enum kith_err kith_floor_join(struct kith_arena *arena, const struct kith_floor *a,
                              const struct kith_floor *b, struct kith_floor *ret_floor)
{
    struct kith_floor_entry *entries =
        kith_arena_alloc(arena, ((size_t)a->count + b->count) * sizeof *entries);
    if (!entries) {
        return KITH_ENOMEM;
    }
    uint32_t count = 0, i = 0, k = 0;
    uint32_t room = a->count < KITH_FLOOR_RUNS_MAX ? KITH_FLOOR_RUNS_MAX - a->count : 0;
    while (i < a->count || k < b->count) {
        bool of_a = i < a->count && (k == b->count || a->entries[i].run <= b->entries[k].run);
        bool of_b = k < b->count && (i == a->count || b->entries[k].run <= a->entries[i].run);
        if (of_a) {
            entries[count] = a->entries[i++];
        }
        if (of_a && of_b && b->entries[k].counter > entries[count].counter) {
            entries[count].counter = b->entries[k].counter;
        } else if (!of_a && room > 0) {
            entries[count] = b->entries[k];
            room--;
            of_a = true;
        }
        k += of_b ? 1 : 0;
        count += of_a ? 1 : 0;
    }
    ret_floor->count = count;
    ret_floor->entries = entries;
    return KITH_OK;
}

/* ---- Records ---- */

static bool read_floor(struct kith_reader *reader, struct kith_arena *arena,
                       struct kith_floor *floor, enum kith_err *err)
{
    uint64_t count = kith_read_varint(reader), before = 0;
    if (reader->failed || count > KITH_FLOOR_RUNS_MAX) {
        return false;
    }
    struct kith_floor_entry *entries = kith_arena_alloc(arena, count * sizeof *entries);
    if (!entries) {
        *err = KITH_ENOMEM;
        return false;
    }
    bool sound = true;
    for (uint32_t i = 0; i < count && sound; i++) {
        entries[i].run = kith_read_u64(reader);
        entries[i].counter = kith_read_varint(reader);
        sound = !reader->failed && entries[i].counter > 0 && (i == 0 || entries[i].run > before);
        before = entries[i].run;
    }
    floor->count = (uint32_t)count;
    floor->entries = entries;
    return sound;
}

enum kith_err kith_floor_decode(struct kith_arena *arena, struct kith_bytes bytes,
                                struct kith_floor_record *ret_record)
{
    struct kith_floor_record record;
    memset(&record, 0, sizeof record);
    memset(ret_record, 0, sizeof *ret_record);
    if (bytes.size == 0) {
        return KITH_OK;
    }
    if (bytes.size < KITH_CHECKSUM_SIZE) {
        return KITH_ECORRUPT;
    }
    size_t size = bytes.size - KITH_CHECKSUM_SIZE;
    struct kith_checksum checksum = kith_checksum_of(kith_bytes_make(bytes.data, size));
    if (memcmp(checksum.bytes, bytes.data + size, sizeof checksum.bytes) != 0) {
        return KITH_ECORRUPT;
    }
    enum kith_err err = KITH_ECORRUPT;
    struct kith_reader reader;
    kith_reader_init(&reader, kith_bytes_make(bytes.data, size));
    uint8_t format = kith_read_u8(&reader);
    record.stamp = kith_read_u64(&reader);
    bool sound = format == KITH_FLOOR_FORMAT && read_floor(&reader, arena, &record.floor, &err);
    if (sound) {
        record.next_stamp = kith_read_u64(&reader);
        record.next_since_ms = kith_read_u64(&reader);
        sound = read_floor(&reader, arena, &record.next, &err);
    }
    if (!sound || !kith_reader_done(&reader)) {
        return err;
    }
    *ret_record = record;
    return KITH_OK;
}

static void put_floor(struct kith_buf *buf, const struct kith_floor *floor)
{
    kith_buf_put_varint(buf, floor->count);
    for (uint32_t i = 0; i < floor->count; i++) {
        kith_buf_put_u64(buf, floor->entries[i].run);
        kith_buf_put_varint(buf, floor->entries[i].counter);
    }
}

enum kith_err kith_floor_encode(struct kith_arena *arena, const struct kith_floor_record *record,
                                struct kith_bytes *ret_bytes)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, KITH_FLOOR_FORMAT);
    kith_buf_put_u64(&buf, record->stamp);
    put_floor(&buf, &record->floor);
    kith_buf_put_u64(&buf, record->next_stamp);
    kith_buf_put_u64(&buf, record->next_since_ms);
    put_floor(&buf, &record->next);
    if (!buf.failed) {
        struct kith_checksum checksum = kith_checksum_of(kith_buf_bytes(&buf));
        kith_buf_put(&buf, checksum.bytes, sizeof checksum.bytes);
    }
    const void *copy = buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size);
    *ret_bytes = kith_bytes_make(copy, copy ? buf.size : 0);
    kith_buf_release(&buf);
    return copy ? KITH_OK : KITH_ENOMEM;
}

/* ---- Steps ---- */

void kith_floor_set(struct kith_floor_record *record, uint64_t stamp, uint64_t now_ms,
                    const struct kith_floor *next)
{
    record->next_stamp = stamp;
    record->next_since_ms = now_ms;
    record->next = *next;
}

bool kith_floor_is_ripe(const struct kith_floor_record *record, uint64_t now_ms, uint64_t grace_ms)
{
    uint64_t since_ms = record->next_since_ms;
    return record->next_stamp != 0 && since_ms <= now_ms && now_ms - since_ms >= grace_ms;
}

enum kith_err kith_floor_promote(struct kith_arena *arena, struct kith_floor_record *record,
                                 uint64_t stamp, uint64_t now_ms, uint64_t grace_ms,
                                 enum kith_floor_verdict *ret_verdict, bool *ret_changed)
{
    *ret_changed = false;
    if (stamp == 0) {
        *ret_verdict = record->stamp == 0 ? KITH_FLOOR_HAS : KITH_FLOOR_LACKS;
        return KITH_OK;
    }
    if (stamp != record->stamp && stamp != record->next_stamp) {
        *ret_verdict = KITH_FLOOR_LACKS;
        return KITH_OK;
    }
    if (stamp == record->stamp) {
        *ret_verdict = KITH_FLOOR_HAS;
        return KITH_OK;
    }
    if (!kith_floor_is_ripe(record, now_ms, grace_ms)) {
        *ret_verdict = KITH_FLOOR_EARLY;
        return KITH_OK;
    }
    struct kith_floor joined;
    enum kith_err err = kith_floor_join(arena, &record->floor, &record->next, &joined);
    if (err == KITH_OK) {
        memset(&record->next, 0, sizeof record->next);
        record->floor = joined;
        record->stamp = stamp;
        record->next_stamp = record->next_since_ms = 0;
        *ret_verdict = KITH_FLOOR_HAS;
        *ret_changed = true;
    }
    return err;
}

/* ---- What is wished for ---- */

void kith_floor_wish(struct kith_floor_wish *wish, uint64_t run, uint64_t counter)
{
    uint32_t at = 0;
    while (at < wish->count && wish->entries[at].run < run) {
        at++;
    }
    bool there = at < wish->count && wish->entries[at].run == run;
    if (there) {
        struct kith_floor_entry *entry = &wish->entries[at];
        entry->counter = counter > entry->counter ? counter : entry->counter;
    } else if (wish->count == KITH_REAP_RUNS_MAX) {
        wish->full = true;
    } else {
        memmove(&wish->entries[at + 1], &wish->entries[at],
                (wish->count - at) * sizeof wish->entries[0]);
        wish->entries[at].run = run;
        wish->entries[at].counter = counter;
        wish->count++;
    }
}

void kith_floor_count(struct kith_floor_census *census, const struct kith_floor_record *record,
                      const struct kith_floor *both, const struct kith_clock *clock)
{
    if (kith_floor_covers_clock(&record->floor, clock)) {
        census->ready++;
    } else if (kith_floor_covers_clock(both, clock)) {
        census->waiting++;
    } else {
        census->others++;
    }
    for (uint32_t i = 0; i < clock->count; i++) {
        kith_floor_wish(&census->wish, clock->entries[i].actor.run, clock->entries[i].counter);
    }
}

uint32_t kith_floor_own(struct kith_bytes own, uint64_t run, uint64_t counter, uint32_t count,
                        const struct kith_floor_entry *asked, struct kith_floor_entry *ret_entries)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool earlier = false;
        struct kith_reader reader;
        kith_reader_init(&reader, own);
        while (!earlier && kith_reader_left(&reader) >= 8) {
            earlier = kith_read_u64(&reader) == asked[i].run;
        }
        if (earlier || asked[i].run == run) {
            ret_entries[found].run = asked[i].run;
            ret_entries[found].counter = asked[i].run == run ? counter : UINT64_MAX;
            found++;
        }
    }
    return found;
}
