/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/tree.h"

#include <string.h>
#include <xxhash.h>

#include "base/assert.h"

#define LEAVES_PER_NODE (KITH_TREE_LEAVES / KITH_TREE_NODES)

_Static_assert((KITH_TREE_LEAVES & (KITH_TREE_LEAVES - 1)) == 0,
               "a leaf is the low bits of a hash");
_Static_assert(KITH_TREE_LEAVES % KITH_TREE_NODES == 0, "every node sums as many leaves");

uint32_t kith_tree_leaf(const struct kith_key *key)
{
    KITH_ASSERT(key->name.size <= KITH_NAME_MAX);
    uint8_t bytes[KITH_GROUP_SIZE + KITH_NAME_MAX];
    memcpy(bytes, key->group.bytes, KITH_GROUP_SIZE);
    if (key->name.size != 0) {
        memcpy(bytes + KITH_GROUP_SIZE, key->name.data, key->name.size);
    }
    /* the low bits, while the partition is in the high bits of the group's hash: a row with an
     * empty name has the same hash, and must not always fall into the same leaf of its partition */
    return (uint32_t)XXH3_64bits(bytes, KITH_GROUP_SIZE + key->name.size) & (KITH_TREE_LEAVES - 1);
}

struct kith_key kith_tree_chunk_key(const struct kith_chunk_id *id)
{
    struct kith_key key;
    memcpy(key.group.bytes, id->bytes, KITH_GROUP_SIZE);
    key.name = kith_bytes_make(id->bytes + KITH_GROUP_SIZE, KITH_CHUNK_ID_SIZE - KITH_GROUP_SIZE);
    return key;
}

uint32_t kith_tree_chunk_leaf(const struct kith_chunk_id *id)
{
    struct kith_key key = kith_tree_chunk_key(id);
    return kith_tree_leaf(&key);
}

static struct kith_sum sum_of_hash(const struct kith_checksum *hash)
{
    struct kith_sum sum = {0, 0};
    for (unsigned i = 0; i < 8; i++) {
        sum.high = sum.high << 8 | hash->bytes[i];
        sum.low = sum.low << 8 | hash->bytes[8 + i];
    }
    return sum;
}

void kith_sum_decode(const struct kith_checksum *bytes, struct kith_sum *ret_sum)
{
    *ret_sum = sum_of_hash(bytes);
}

void kith_sum_encode(const struct kith_sum *sum, struct kith_checksum *ret_bytes)
{
    for (unsigned i = 0; i < 8; i++) {
        ret_bytes->bytes[i] = (uint8_t)(sum->high >> (56 - 8 * i));
        ret_bytes->bytes[8 + i] = (uint8_t)(sum->low >> (56 - 8 * i));
    }
}

void kith_sum_add(struct kith_sum *sum, const struct kith_sum *other)
{
    uint64_t low = sum->low + other->low;
    sum->high += other->high + (low < sum->low);
    sum->low = low;
}

void kith_sum_replace(struct kith_sum *sum, const struct kith_checksum *old_hash,
                      const struct kith_checksum *new_hash)
{
    struct kith_sum gone = sum_of_hash(old_hash), come = sum_of_hash(new_hash);
    sum->high -= gone.high + (sum->low < gone.low);
    sum->low -= gone.low;
    kith_sum_add(sum, &come);
}

bool kith_sum_equal(const struct kith_sum *a, const struct kith_sum *b)
{
    return a->low == b->low && a->high == b->high;
}

void kith_tree_nodes(const struct kith_sum leaves[KITH_TREE_LEAVES],
                     struct kith_sum ret_nodes[KITH_TREE_NODES])
{
    for (uint32_t i = 0; i < KITH_TREE_NODES; i++) {
        struct kith_sum sum = {0, 0};
        for (uint32_t j = 0; j < LEAVES_PER_NODE; j++) {
            kith_sum_add(&sum, &leaves[i * LEAVES_PER_NODE + j]);
        }
        ret_nodes[i] = sum;
    }
}

struct kith_sum kith_tree_root(const struct kith_sum leaves[KITH_TREE_LEAVES])
{
    struct kith_sum sum = {0, 0};
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        kith_sum_add(&sum, &leaves[i]);
    }
    return sum;
}
