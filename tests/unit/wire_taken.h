/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * wire_taken.h - what the codec has unpacked. For test_wire.c and test_wire_limits.c. */
#ifndef KITH_TESTS_WIRE_TAKEN_H
#define KITH_TESTS_WIRE_TAKEN_H

#include "wire/wire.h"

#define TAKEN_MAX 64

struct taken {
    uint32_t count;
    struct kith_msg_box *boxes[TAKEN_MAX];
};

static inline void take(void *arg, struct kith_msg_box *box)
{
    struct taken *taken = arg;
    if (taken->count == TAKEN_MAX) {
        kith_msg_box_drop(box);
        return;
    }
    taken->boxes[taken->count++] = box;
}

static inline void drop_all(struct taken *taken)
{
    for (uint32_t i = 0; i < taken->count; i++) {
        kith_msg_box_drop(taken->boxes[i]);
    }
    taken->count = 0;
}

#endif
