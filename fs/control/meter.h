/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * meter.h - how many requests of which kind there were, how they ended and how long they took.
 *
 * Requests are known by the kernel's number (`unique`) from when they are read until they are
 * answered. Those under way stand in a table of SLOTS places, found by that number; of one that
 * finds no place near its own only its coming is counted. All counters are atomic and relaxed; a
 * request costs two reads of the clock and some ten atomic operations. Any thread. Checked by
 * tests/unit/test_meter.c. */
#ifndef KITH_FS_CONTROL_METER_H
#define KITH_FS_CONTROL_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define KITH_METER_OPS     64u   /* by FUSE opcode; those above are counted as 0 */
#define KITH_METER_ERRNOS  135u  /* above EHWPOISON; those above are counted as 0 */
#define KITH_METER_SLOTS   4096u /* a power of two: above what the kernel has under way as a rule */
#define KITH_METER_PROBES  32u
#define KITH_METER_BUCKETS 16u /* kith_meter_bounds_ns, and one for all above */

extern const uint64_t kith_meter_bounds_ns[KITH_METER_BUCKETS - 1];

struct kith_meter_op {
    atomic_uint_fast64_t count; /* answered, or come where no answer is wanted */
    atomic_uint_fast64_t sum_ns;
    atomic_uint_fast64_t buckets[KITH_METER_BUCKETS]; /* each for itself, not cumulated */
};

struct kith_meter_slot {
    atomic_uint_fast64_t unique; /* 0: free; UINT64_MAX: being filled */
    uint64_t started_ns;
    uint32_t opcode;
    char *line;
};

/* Zeroed is empty. Large: on the heap. */
struct kith_meter {
    struct kith_meter_op ops[KITH_METER_OPS];
    atomic_uint_fast32_t errors[KITH_METER_OPS][KITH_METER_ERRNOS];
    atomic_uint_fast64_t read_bytes, written_bytes;
    atomic_uint_fast64_t untimed; /* found no place */
    atomic_int under_way;         /* that have one */
    struct kith_meter_slot slots[KITH_METER_SLOTS];
};

struct kith_meter_request {
    uint32_t opcode;
    uint64_t took_ns;
    char *line; /* as given to begin, or NULL */
};

/* One that nobody answers has come. */
void kith_meter_count(struct kith_meter *meter, uint32_t opcode);
/* One has come. `line` is kept for its end; false: there is no place, it stays the caller's. */
bool kith_meter_begin(struct kith_meter *meter, uint64_t unique, uint32_t opcode, uint64_t now_ns,
                      char *line);
/* It is answered with that errno (0: it succeeded). False: it is not known. */
bool kith_meter_end(struct kith_meter *meter, uint64_t unique, int error, uint64_t now_ns,
                    struct kith_meter_request *ret_request);

#endif
