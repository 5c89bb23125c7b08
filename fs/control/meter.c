/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/control/meter.h"

#include <stddef.h>

#define FILLING UINT64_MAX

/* From what memory answers to what waits for a node that is gone. */
const uint64_t kith_meter_bounds_ns[KITH_METER_BUCKETS - 1] = {
    10000,   25000,    50000,    100000,    250000,    500000,     1000000,   2500000,
    5000000, 10000000, 50000000, 100000000, 500000000, 1000000000, 5000000000};

static void add(atomic_uint_fast64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

static uint32_t op_of(uint32_t opcode)
{
    return opcode < KITH_METER_OPS ? opcode : 0;
}

void kith_meter_count(struct kith_meter *meter, uint32_t opcode)
{
    add(&meter->ops[op_of(opcode)].count, 1);
}

/* The kernel counts by two; an odd number is that of an interrupt. */
static struct kith_meter_slot *slot_at(struct kith_meter *meter, uint64_t unique, uint32_t probe)
{
    return &meter->slots[((unique >> 1) + probe) & (KITH_METER_SLOTS - 1)];
}

bool kith_meter_begin(struct kith_meter *meter, uint64_t unique, uint32_t opcode, uint64_t now_ns,
                      char *line)
{
    for (uint32_t i = 0; i < KITH_METER_PROBES; i++) {
        struct kith_meter_slot *slot = slot_at(meter, unique, i);
        uint_fast64_t none = 0;
        if (atomic_load_explicit(&slot->unique, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&slot->unique, &none, FILLING,
                                                    memory_order_acquire, memory_order_relaxed)) {
            slot->started_ns = now_ns;
            slot->opcode = op_of(opcode);
            slot->line = line;
            atomic_store_explicit(&slot->unique, unique, memory_order_release);
            atomic_fetch_add_explicit(&meter->under_way, 1, memory_order_relaxed);
            return true;
        }
    }
    kith_meter_count(meter, opcode);
    add(&meter->untimed, 1);
    return false;
}

static void note(struct kith_meter *meter, uint32_t op, int error, uint64_t took_ns)
{
    uint32_t bucket = 0;
    while (bucket < KITH_METER_BUCKETS - 1 && took_ns > kith_meter_bounds_ns[bucket]) {
        bucket++;
    }
    add(&meter->ops[op].count, 1);
    add(&meter->ops[op].sum_ns, took_ns);
    add(&meter->ops[op].buckets[bucket], 1);
    if (error != 0) {
        uint32_t number = error > 0 && error < (int)KITH_METER_ERRNOS ? (uint32_t)error : 0;
        atomic_fetch_add_explicit(&meter->errors[op][number], 1, memory_order_relaxed);
    }
}

bool kith_meter_end(struct kith_meter *meter, uint64_t unique, int error, uint64_t now_ns,
                    struct kith_meter_request *ret_request)
{
    for (uint32_t i = 0; i < KITH_METER_PROBES; i++) {
        struct kith_meter_slot *slot = slot_at(meter, unique, i);
        if (atomic_load_explicit(&slot->unique, memory_order_acquire) != unique) {
            continue;
        }
        uint64_t started_ns = slot->started_ns;
        ret_request->opcode = slot->opcode;
        ret_request->line = slot->line;
        ret_request->took_ns = now_ns > started_ns ? now_ns - started_ns : 0;
        slot->line = NULL;
        atomic_store_explicit(&slot->unique, 0, memory_order_release);
        atomic_fetch_sub_explicit(&meter->under_way, 1, memory_order_relaxed);
        note(meter, ret_request->opcode, error, ret_request->took_ns);
        return true;
    }
    return false;
}
