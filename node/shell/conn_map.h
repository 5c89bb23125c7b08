/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conn_map.h - numbers to numbers: which of the transport's connections is which of the core's.
 *
 * Open addressing, linear probing, at most half full. One owner. */
#ifndef KITH_SHELL_CONN_MAP_H
#define KITH_SHELL_CONN_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct kith_conn_map {
    uint32_t count, capacity; /* a power of two */
    struct kith_conn_pair {
        uint64_t key; /* 0 = free */
        uint64_t value;
    } * pairs;
};

void kith_conn_map_release(struct kith_conn_map *map);
/* key != 0; an old value is replaced. ENOMEM leaves the map as it was. */
KITH_MUST_CHECK enum kith_err kith_conn_map_put(struct kith_conn_map *map, uint64_t key,
                                                uint64_t value);
bool kith_conn_map_get(const struct kith_conn_map *map, uint64_t key, uint64_t *ret_value);
void kith_conn_map_remove(struct kith_conn_map *map, uint64_t key);

#endif
