/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tree.h - the hash tree of a partition: leaves that are sums, so that a write updates one of them.
 *
 * A leaf is the sum modulo 2^128 of the state hashes (row.h, kith_row_hash) of its keys; it is
 * written in the same transaction as the row (invariant 5). Which leaf a key is in follows from the
 * key alone. A level of KITH_TREE_NODES sums of KITH_TREE_LEAVES / KITH_TREE_NODES leaves, and the
 * root, are computed when asked for. DESIGN section 6. Pure. */
#ifndef KITH_DATA_TREE_H
#define KITH_DATA_TREE_H

#include "data/key.h"

#define KITH_TREE_LEAVES 256u /* per partition; 1024 partitions * 256 * 16 bytes = 4 MiB a node */
#define KITH_TREE_NODES 16u

struct kith_sum {
    uint64_t low, high;
};

struct kith_leaf_set { /* bit (i % 8) of byte (i / 8) stands for leaf i */
    uint8_t bits[KITH_TREE_LEAVES / 8];
};

uint32_t kith_tree_leaf(const struct kith_key *key);
/* A chunk's place in the tree of chunks, which is one of its own: as if its id were a row's key, the
 * first 16 bytes the group, and its checksum the state. */
struct kith_key kith_tree_chunk_key(const struct kith_chunk_id *id); /* borrows from *id */
uint32_t kith_tree_chunk_leaf(const struct kith_chunk_id *id);
/* sum += new - old (all-zero hashes count as nothing). */
void kith_sum_replace(struct kith_sum *sum, const struct kith_checksum *old_hash,
                      const struct kith_checksum *new_hash);
/* As on the wire: big-endian, as the hashes are. */
void kith_sum_encode(const struct kith_sum *sum, struct kith_checksum *ret_bytes);
void kith_sum_decode(const struct kith_checksum *bytes, struct kith_sum *ret_sum);
void kith_sum_add(struct kith_sum *sum, const struct kith_sum *other);
bool kith_sum_equal(const struct kith_sum *a, const struct kith_sum *b);
static inline bool kith_leaf_in(const struct kith_leaf_set *set, uint32_t leaf)
{
    return (set->bits[leaf / 8] & 1u << (leaf % 8)) != 0;
}
static inline void kith_leaf_add(struct kith_leaf_set *set, uint32_t leaf)
{
    set->bits[leaf / 8] = (uint8_t)(set->bits[leaf / 8] | 1u << (leaf % 8));
}
/* Inner level and root from the leaves of one partition. */
void kith_tree_nodes(const struct kith_sum leaves[KITH_TREE_LEAVES],
                     struct kith_sum ret_nodes[KITH_TREE_NODES]);
struct kith_sum kith_tree_root(const struct kith_sum leaves[KITH_TREE_LEAVES]);

#endif
