/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as the small records that a node keeps on its disk: its cluster, its promises, what its
 * disk has lost, hints, marks of the sweep and floors of a partition. Refused, or something that
 * encodes to these very bytes. The first byte says which; the checksum is made right, or the fuzzer
 * would never get past it. Of a hint the second and third say how long its head is. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "core/table/decide.h"
#include "core/rows/floor.h"
#include "core/rows/hintop.h"
#include "core/internal.h"
#include "core/rows/sweepop.h"

static void check_err(enum kith_err err)
{
    KITH_ASSERT(err == KITH_OK || err == KITH_ECORRUPT || err == KITH_EFORMAT ||
                err == KITH_EVERSION);
}

static void check_same(struct kith_bytes bytes, const struct kith_buf *again)
{
    KITH_ASSERT(!again->failed && kith_bytes_equal(bytes, kith_buf_bytes(again)));
}

static void take_cluster(struct kith_bytes bytes, struct kith_buf *again)
{
    struct kith_cluster cluster;
    enum kith_err err = meta_decode_cluster(bytes, &cluster);
    check_err(err);
    if (err == KITH_OK) {
        KITH_ASSERT(memchr(cluster.name, '\0', sizeof cluster.name) != NULL);
        KITH_ASSERT(cluster.partitions - 1u < KITH_PARTITIONS_MAX);
        KITH_ASSERT(cluster.replicas - 1u < KITH_REPLICAS_MAX);
        meta_encode_cluster(&cluster, again);
        /* a name with a NUL in it ends there */
        KITH_ASSERT(again->size <= bytes.size);
        KITH_ASSERT(meta_decode_cluster(kith_buf_bytes(again), &cluster) == KITH_OK);
    }
}

static void take_acceptor(struct kith_bytes bytes, struct kith_buf *again)
{
    struct kith_acceptor acceptor, back;
    enum kith_err err = kith_acceptor_decode(&acceptor, bytes);
    check_err(err);
    if (err == KITH_OK && bytes.size > 0) {
        KITH_ASSERT((acceptor.table_size > 0) == (acceptor.accepted.round > 0));
        kith_acceptor_encode(&acceptor, again);
        KITH_ASSERT(!again->failed);
        KITH_ASSERT(kith_acceptor_decode(&back, kith_buf_bytes(again)) == KITH_OK);
        KITH_ASSERT(back.holds == acceptor.holds && back.version == acceptor.version);
        KITH_ASSERT(back.table_size == acceptor.table_size);
        if (again->data[0] == bytes.data[0]) { /* else it is of an earlier format */
            check_same(bytes, again);
        }
        kith_acceptor_release(&back);
    }
    kith_acceptor_release(&acceptor);
}

/* What is lost stays lost, and a record that cannot be read says that all is. */
static void take_lost(struct kith_bytes bytes, struct kith_buf *again)
{
    struct kith_buf twice;
    kith_buf_init(&twice);
    kith_lost_encode(0, bytes, again);
    kith_lost_encode(0, kith_buf_bytes(again), &twice);
    check_same(kith_buf_bytes(again), &twice);
    kith_buf_clear(&twice);
    kith_lost_encode(KITH_LOST_ROWS | KITH_LOST_CHUNKS | KITH_LOST_RECORDS,
                     kith_bytes_make("no record", 9), &twice);
    struct kith_buf most;
    kith_buf_init(&most);
    kith_lost_encode(KITH_LOST_ROWS | KITH_LOST_CHUNKS | KITH_LOST_RECORDS, bytes, &most);
    check_same(kith_buf_bytes(&twice), &most);
    kith_buf_release(&twice);
    kith_buf_release(&most);
}

static void take_hint(struct kith_bytes bytes)
{
    struct kith_arena arena;
    struct kith_hint hint;
    struct kith_bytes again;
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_hint_decode(bytes, &hint);
    check_err(err);
    if (err == KITH_OK && hint.exists) {
        KITH_ASSERT(hint.target_count <= KITH_HINT_NODES_MAX);
        KITH_ASSERT(hint.acked_count <= KITH_HINT_NODES_MAX);
        KITH_ASSERT(kith_hint_encode(&arena, &hint, &again) == KITH_OK);
        KITH_ASSERT(kith_bytes_equal(bytes, again));
        const struct kith_hint_owners owners = {1, hint.targets, 1};
        if (hint.target_count > 0) { /* who has it is not sent it again */
            bool over = kith_hint_ack(&hint, &hint.targets[0], &owners);
            KITH_ASSERT(over || !kith_hint_wanted(&hint, &hint.targets[0], &owners));
        }
    }
    kith_arena_release(&arena);
}

static void take_mark(struct kith_bytes bytes)
{
    struct kith_mark mark;
    uint8_t again[KITH_MARK_SIZE];
    enum kith_err err = kith_mark_decode(bytes, &mark);
    check_err(err);
    if (err == KITH_OK && bytes.size > 0) {
        kith_mark_encode(&mark, again);
        KITH_ASSERT(kith_bytes_equal(bytes, kith_bytes_make(again, sizeof again)));
        KITH_ASSERT(mark.state != KITH_MARK_DOOMED || !kith_mark_lease(&mark, 1));
    }
}

static void take_floor(struct kith_bytes bytes)
{
    struct kith_arena arena;
    struct kith_floor_record record;
    struct kith_floor joined;
    struct kith_bytes again;
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_floor_decode(&arena, bytes, &record);
    check_err(err);
    if (err == KITH_OK && bytes.size > 0) {
        KITH_ASSERT(kith_floor_is_sound(&record.floor) && kith_floor_is_sound(&record.next));
        KITH_ASSERT(kith_floor_encode(&arena, &record, &again) == KITH_OK);
        KITH_ASSERT(again.size <= bytes.size);
        KITH_ASSERT(kith_floor_join(&arena, &record.floor, &record.next, &joined) == KITH_OK);
        KITH_ASSERT(kith_floor_is_sound(&joined));
        for (uint32_t i = 0; i < record.floor.count; i++) {
            struct kith_dot dot = {{record.floor.entries[i].run, 1},
                                   record.floor.entries[i].counter};
            KITH_ASSERT(kith_floor_covers(&joined, &dot));
        }
    }
    kith_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_buf buf, again;
    if (size < 3) {
        return 0;
    }
    bool hint = data[0] % 6 == 3, mark = data[0] % 6 == 4;
    size_t head = hint ? (size_t)(data[1] | data[2] << 8) : size - 3;
    head = head > size - 3 ? size - 3 : head;
    kith_buf_init(&buf);
    kith_buf_init(&again);
    kith_buf_put(&buf, data + 3, head);
    if (!mark) {
        meta_seal(&buf);
    }
    kith_buf_put(&buf, data + 3 + head, size - 3 - head);
    struct kith_bytes bytes = kith_buf_bytes(&buf);
    switch (data[0] % 6) {
    case 0:
        take_cluster(bytes, &again);
        break;
    case 1:
        take_acceptor(bytes, &again);
        break;
    case 2:
        take_lost(bytes, &again);
        break;
    case 3:
        take_hint(bytes);
        break;
    case 4:
        take_mark(bytes);
        break;
    default:
        take_floor(bytes);
    }
    kith_buf_release(&buf);
    kith_buf_release(&again);
    return 0;
}

static struct kith_bytes seed_bytes(uint32_t which, uint32_t number, struct kith_arena *arena,
                                    struct kith_buf *buf)
{
    static const struct kith_floor_entry entries[] = {{1, 9}, {3, 300}};
    struct kith_bytes bytes = {NULL, 0};
    if (which == 0) {
        struct kith_cluster cluster = {.name = "home", .partitions = 1024, .replicas = 3};
        meta_encode_cluster(&cluster, buf);
    } else if (which == 1) {
        uint8_t table[] = "table";
        struct kith_acceptor acceptor = {.epoch = 1, .version = 2, .promised = {5, {{1}}}};
        if (number > 0) {
            acceptor.accepted = acceptor.promised;
            acceptor.table = table;
            acceptor.table_size = sizeof table;
        }
        kith_acceptor_encode(&acceptor, buf);
    } else if (which == 2) {
        kith_lost_encode(number > 0 ? KITH_LOST_ROWS : KITH_LOST_RECORDS, bytes, buf);
    } else if (which == 3) {
        struct kith_hint hint = {.exists = true, .custody = number > 0, .first_ms = 1000};
        hint.target_count = 2;
        hint.targets[1].bytes[3] = 7;
        hint.acked_count = number;
        hint.record = kith_bytes_make("record", 6);
        KITH_ASSERT(kith_hint_encode(arena, &hint, &bytes) == KITH_OK);
    } else if (which == 4) {
        uint8_t mark_bytes[KITH_MARK_SIZE];
        struct kith_mark mark = {number > 0 ? KITH_MARK_DOOMED : KITH_MARK_CONDEMNED, 3, 5, 0};
        kith_mark_encode(&mark, mark_bytes);
        kith_buf_put(buf, mark_bytes, sizeof mark_bytes);
    } else {
        struct kith_floor_record record = {number, {number, entries}, 4, 5000, {2, entries}};
        KITH_ASSERT(kith_floor_encode(arena, &record, &bytes) == KITH_OK);
    }
    return bytes.size > 0 ? bytes : kith_buf_bytes(buf);
}

/* Two of each. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    struct kith_arena arena;
    struct kith_buf buf;
    uint32_t which = number / 2;
    if (which >= 6) {
        return 0;
    }
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    struct kith_bytes bytes = seed_bytes(which, number % 2, &arena, &buf);
    size_t rest = which == 3 ? strlen("record") : 0; /* behind the checksum */
    size_t head = bytes.size - rest - (which == 4 ? 0 : KITH_CHECKSUM_SIZE);
    data[0] = (uint8_t)which;
    data[1] = (uint8_t)head;
    data[2] = (uint8_t)(head >> 8);
    memcpy(data + 3, bytes.data, head);
    memcpy(data + 3 + head, bytes.data + bytes.size - rest, rest);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return 3 + head + rest;
}
