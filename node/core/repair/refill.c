/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * refill.c - what a disk has lost comes back, and is not read here before: see refill.h.
 *
 * The record (KITH_META_LOST), with a checksum:
 *
 *     u8 format, u8 mute, then for rows and for chunks: u8 NONE | ALL | SOME and with SOME
 *     sized: a bit for each partition
 *
 * It is written anew as partitions come back, a few at a time: each time it is flushed, and with it
 * all that came before. A record that cannot be read says that everything is missing. */
#include <string.h>

#include "core/internal.h"

#define REFILL_FORMAT  1u
#define REFILL_TICK_MS 250u

_Static_assert(REFILL_CLASSES == (unsigned)EXCHANGE_CLASSES, "one mark for each");

enum lost { LOST_NONE = 0, LOST_ALL = 1, LOST_SOME = 2 };

/* ---- The record ---- */

struct record {
    bool mute;
    enum lost lost[REFILL_CLASSES];
    struct kith_bytes bits[REFILL_CLASSES]; /* SOME: borrowed */
};

static void record_encode(const struct record *record, struct kith_buf *buf)
{
    kith_buf_put_u8(buf, REFILL_FORMAT);
    kith_buf_put_u8(buf, record->mute ? 1 : 0);
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        kith_buf_put_u8(buf, (uint8_t)record->lost[class]);
        if (record->lost[class] == LOST_SOME) {
            kith_buf_put_sized(buf, record->bits[class]);
        }
    }
    meta_seal(buf);
}

static void record_decode(struct kith_bytes bytes, struct record *ret_record)
{
    struct kith_reader reader;
    memset(ret_record, 0, sizeof *ret_record);
    if (bytes.size == 0) {
        return;
    }
    bool good = meta_unseal(&bytes) == KITH_OK;
    kith_reader_init(&reader, bytes);
    good = good && kith_read_u8(&reader) == REFILL_FORMAT;
    ret_record->mute = kith_read_u8(&reader) != 0;
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        uint8_t lost = kith_read_u8(&reader);
        good = good && lost <= LOST_SOME;
        ret_record->lost[class] = (enum lost)lost;
        if (lost == LOST_SOME) {
            ret_record->bits[class] = kith_read_sized(&reader, KITH_PARTITIONS_MAX / 8u);
        }
    }
    if (!good || !kith_reader_done(&reader)) {
        memset(ret_record, 0, sizeof *ret_record);
        ret_record->mute = true;
        for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
            ret_record->lost[class] = LOST_ALL;
        }
    }
}

void kith_lost_encode(uint32_t lost, struct kith_bytes before, struct kith_buf *buf)
{
    struct record record;
    record_decode(before, &record);
    record.mute = record.mute || (lost & KITH_LOST_RECORDS) != 0;
    if ((lost & KITH_LOST_ROWS) != 0) {
        record.lost[EXCHANGE_ROWS] = LOST_ALL;
    }
    if ((lost & KITH_LOST_CHUNKS) != 0) {
        record.lost[EXCHANGE_CHUNKS] = LOST_ALL;
    }
    record_encode(&record, buf);
}

/* ---- Marks ---- */

static bool bit_in(const uint8_t *bits, uint32_t partition)
{
    return ((unsigned)bits[partition / 8] >> (partition % 8) & 1u) != 0;
}

static void bit_set(uint8_t *bits, uint32_t partition)
{
    bits[partition / 8] = (uint8_t)(bits[partition / 8] | 1u << (partition % 8));
}

bool refill_wants(const struct kith_node *node, uint32_t partition, bool chunks)
{
    uint32_t class = chunks ? EXCHANGE_CHUNKS : EXCHANGE_ROWS;
    const struct refill *refill = &node->refill;
    return refill->left[class] > 0 && partition < node->table->partitions &&
           bit_in(refill->open[class], partition);
}

bool refill_any(const struct kith_node *node)
{
    return node->refill.left[EXCHANGE_ROWS] + node->refill.left[EXCHANGE_CHUNKS] > 0;
}

uint32_t refill_left(const struct kith_node *node)
{
    uint32_t left = 0;
    for (uint32_t p = 0; refill_any(node) && p < node->table->partitions; p++) {
        left += refill_wants(node, p, false) || refill_wants(node, p, true) ? 1 : 0;
    }
    return left;
}

static void count(struct kith_node *node)
{
    struct refill *refill = &node->refill;
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        refill->left[class] = 0;
        for (uint32_t p = 0; refill->open[class] && p < node->table->partitions; p++) {
            refill->left[class] += bit_in(refill->open[class], p) ? 1 : 0;
        }
    }
}

void refill_release(struct kith_node *node)
{
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        kith_free(node->refill.open[class]);
        kith_free(node->refill.done[class]);
    }
}

enum kith_err refill_load(struct kith_node *node, struct kith_bytes bytes)
{
    struct refill *refill = &node->refill;
    struct record record;
    record_decode(bytes, &record);
    refill->mute = record.mute;
    refill->due_ms = node->now_ms;
    if (!node->has_cluster) {
        refill->stale = bytes.size > 0; /* of no cluster any more: there is nothing to come back */
        return KITH_OK;
    }
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        if (record.lost[class] == LOST_NONE) {
            continue;
        }
        refill->open[class] = kith_calloc(KITH_PARTITIONS_MAX / 8u, 1);
        refill->done[class] = kith_calloc(KITH_PARTITIONS_MAX / 8u, 1);
        if (!refill->open[class] || !refill->done[class]) {
            return KITH_ENOMEM;
        }
        for (uint32_t p = 0; p < node->table->partitions; p++) {
            bool lost = record.lost[class] == LOST_ALL || p / 8 >= record.bits[class].size ||
                        bit_in(record.bits[class].data, p);
            if (lost && table_holds(node, p)) {
                bit_set(refill->open[class], p);
            }
        }
    }
    count(node);
    refill->total = refill_left(node);
    refill->stale = bytes.size > 0 && refill->total == 0;
    return KITH_OK;
}

void refill_table_changed(struct kith_node *node, bool learnt)
{
    struct refill *refill = &node->refill;
    refill->stale = refill->stale || (refill->mute && learnt);
    refill->mute = refill->mute && !learnt;
    for (uint32_t p = 0; refill_any(node) && p < node->table->partitions; p++) {
        for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
            if (refill->open[class] && !table_holds(node, p)) {
                refill->open[class][p / 8] &= (uint8_t) ~(1u << (p % 8));
            }
        }
    }
    if (refill_any(node)) {
        count(node);
    }
    refill->due_ms = node->now_ms;
}

/* ---- What has come back ---- */

static void written(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    struct refill *refill = &node->refill;
    (void)arg;
    refill->writing = false;
    if (err != KITH_OK) {
        refill->stale = true;
        return;
    }
    bool was = refill_any(node);
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        for (uint32_t i = 0; refill->open[class] && i < KITH_PARTITIONS_MAX / 8u; i++) {
            refill->open[class][i] &= (uint8_t)~refill->done[class][i];
        }
    }
    count(node);
    if (was && !refill_any(node)) {
        core_log(node, LEVEL_INFO, "all that the disk had lost has come back from other owners");
    }
}

static void write_record(struct kith_node *node)
{
    struct refill *refill = &node->refill;
    struct record record = {.mute = refill->mute};
    uint8_t rest[REFILL_CLASSES][KITH_PARTITIONS_MAX / 8u];
    bool any = refill->mute;
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        bool some = false;
        for (uint32_t i = 0; refill->open[class] && i < KITH_PARTITIONS_MAX / 8u; i++) {
            rest[class][i] = (uint8_t)(refill->open[class][i] & ~refill->done[class][i]);
            some = some || rest[class][i] != 0;
        }
        if (some) {
            record.lost[class] = LOST_SOME;
            record.bits[class] = kith_bytes_make(rest[class], (node->table->partitions + 7u) / 8u);
        }
        any = any || some;
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (any) { /* else it is empty: nothing is lost any more */
        record_encode(&record, &buf);
    }
    refill->writing =
        !buf.failed && meta_put(node, KITH_META_LOST, kith_buf_bytes(&buf), written, 0) == KITH_OK;
    refill->stale = refill->stale && !refill->writing;
    kith_buf_release(&buf);
}

/* Marks what has come since; whether any has. */
static bool look(struct kith_node *node)
{
    struct refill *refill = &node->refill;
    const struct exchanges *exchanges = &node->exchanges;
    bool any = false;
    uint32_t pair = 0;
    for (uint32_t p = 0; p < node->table->partitions; p++) {
        while (pair < exchanges->own_count && exchanges->pairs[pair].partition < p) {
            pair++;
        }
        for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
            if (refill_wants(node, p, class == EXCHANGE_CHUNKS) &&
                moves_compared(node, p, pair, 1u << class)) {
                bit_set(refill->done[class], p);
                any = true;
            }
        }
    }
    return any;
}

void refill_tick(struct kith_node *node)
{
    struct refill *refill = &node->refill;
    if ((!refill_any(node) && !refill->stale) || refill->writing || node->now_ms < refill->due_ms) {
        return;
    }
    refill->due_ms = node->now_ms + REFILL_TICK_MS;
    if (refill_any(node) && !refill->told) {
        refill->told = true;
        core_log(node, LEVEL_WARN,
                 "the disk has lost what was stored of %u partitions: it comes from their other "
                 "owners, and until then this node answers no reads of %u of them",
                 refill->total, refill->left[EXCHANGE_ROWS]);
    }
    for (uint32_t class = 0; class < REFILL_CLASSES; class ++) {
        if (refill->done[class]) {
            memset(refill->done[class], 0, KITH_PARTITIONS_MAX / 8u);
        }
    }
    bool come = refill_any(node) && node->exchanges.made && look(node);
    if (come || refill->stale) {
        write_record(node);
    }
}

uint64_t refill_due(const struct kith_node *node)
{
    const struct refill *refill = &node->refill;
    return (refill_any(node) || refill->stale) && !refill->writing ? refill->due_ms : UINT64_MAX;
}
