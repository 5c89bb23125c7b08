/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/hook/hook_known.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define MOST_MAX (1u << 24)

enum kith_err kith_hook_known_init(struct kith_hook_known *known, uint32_t most)
{
    KITH_ASSERT(most > 0 && most <= MOST_MAX);
    memset(known, 0, sizeof *known);
    known->most = most;
    known->slots = 2;
    while (known->slots < 2 * most) {
        known->slots *= 2;
    }
    known->young = kith_calloc(known->slots, sizeof *known->young);
    known->old = kith_calloc(known->slots, sizeof *known->old);
    if (known->young == NULL || known->old == NULL) {
        kith_hook_known_release(known);
        return KITH_ENOMEM;
    }
    return KITH_OK;
}

void kith_hook_known_release(struct kith_hook_known *known)
{
    kith_free(known->young);
    kith_free(known->old);
    memset(known, 0, sizeof *known);
}

/* Where the key is, or would be: the table is at most half full. */
static uint64_t *slot_of(uint64_t *table, uint32_t slots, uint64_t key)
{
    uint32_t at = (uint32_t)(key ^ key >> 32) & (slots - 1);
    while (table[at] != 0 && table[at] != key) {
        at = (at + 1) & (slots - 1);
    }
    return &table[at];
}

bool kith_hook_known_has(struct kith_hook_known *known, uint64_t key)
{
    key = key != 0 ? key : 1;
    if (*slot_of(known->young, known->slots, key) == key) {
        return true;
    }
    bool has = *slot_of(known->old, known->slots, key) == key;
    if (has) {
        kith_hook_known_add(known, key);
    }
    return has;
}

void kith_hook_known_add(struct kith_hook_known *known, uint64_t key)
{
    key = key != 0 ? key : 1;
    uint64_t *slot = slot_of(known->young, known->slots, key);
    if (*slot == key) {
        return;
    }
    if (known->count == known->most) {
        uint64_t *emptied = known->old;
        known->old = known->young;
        known->young = emptied;
        known->count = 0;
        memset(emptied, 0, known->slots * sizeof *emptied);
        slot = slot_of(known->young, known->slots, key);
    }
    *slot = key;
    known->count++;
}
