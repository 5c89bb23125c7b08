/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conn_map.c - see conn_map.h. */
#include "shell/conn_map.h"

#include "base/alloc.h"

static uint32_t place_of(const struct kith_conn_map *map, uint64_t key)
{
    return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (map->capacity - 1u);
}

void kith_conn_map_release(struct kith_conn_map *map)
{
    kith_free(map->pairs);
    *map = (struct kith_conn_map){0, 0, NULL};
}

static void insert(struct kith_conn_map *map, uint64_t key, uint64_t value)
{
    uint32_t at = place_of(map, key);
    while (map->pairs[at].key != 0 && map->pairs[at].key != key) {
        at = (at + 1u) & (map->capacity - 1u);
    }
    map->count += map->pairs[at].key == 0 ? 1u : 0u;
    map->pairs[at].key = key;
    map->pairs[at].value = value;
}

enum kith_err kith_conn_map_put(struct kith_conn_map *map, uint64_t key, uint64_t value)
{
    if (2u * (map->count + 1u) > map->capacity) {
        struct kith_conn_map bigger = {0, map->capacity == 0 ? 64u : 2u * map->capacity, NULL};
        bigger.pairs = kith_calloc(bigger.capacity, sizeof *bigger.pairs);
        if (bigger.pairs == NULL) {
            return KITH_ENOMEM;
        }
        for (uint32_t i = 0; i < map->capacity; i++) {
            if (map->pairs[i].key != 0) {
                insert(&bigger, map->pairs[i].key, map->pairs[i].value);
            }
        }
        kith_free(map->pairs);
        *map = bigger;
    }
    insert(map, key, value);
    return KITH_OK;
}

bool kith_conn_map_get(const struct kith_conn_map *map, uint64_t key, uint64_t *ret_value)
{
    if (map->capacity == 0) {
        return false;
    }
    for (uint32_t at = place_of(map, key); map->pairs[at].key != 0;
         at = (at + 1u) & (map->capacity - 1u)) {
        if (map->pairs[at].key == key) {
            *ret_value = map->pairs[at].value;
            return true;
        }
    }
    return false;
}

void kith_conn_map_remove(struct kith_conn_map *map, uint64_t key)
{
    if (map->capacity == 0) {
        return;
    }
    uint32_t mask = map->capacity - 1u;
    uint32_t at = place_of(map, key);
    while (map->pairs[at].key != key) {
        if (map->pairs[at].key == 0) {
            return;
        }
        at = (at + 1u) & mask;
    }
    map->count--;
    /* close the gap: move back whatever could not be found across it */
    for (uint32_t next = (at + 1u) & mask; map->pairs[next].key != 0; next = (next + 1u) & mask) {
        uint32_t home = place_of(map, map->pairs[next].key);
        if (((next - home) & mask) >= ((next - at) & mask)) {
            map->pairs[at] = map->pairs[next];
            at = next;
        }
    }
    map->pairs[at].key = 0;
}
