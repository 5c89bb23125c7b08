/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_chunk.h - the chunks of a cluster in memory, for fake_client.c; tests use fake_client.h.
 *
 * A hash table by id. All zero: empty. One thread at a time. */
#ifndef KITH_TESTS_LIB_FAKE_CHUNK_H
#define KITH_TESTS_LIB_FAKE_CHUNK_H

#include "client/client.h"

#define FAKE_CHUNK_BUCKETS 4096u /* a test stores some thousands */
#define FAKE_CHUNK_SWEPT_MAX 64u

struct fake_chunks {
    struct fake_chunk *buckets[FAKE_CHUNK_BUCKETS];
    uint64_t count, bytes;
    uint32_t swept_count;
    struct kith_chunk_id swept[FAKE_CHUNK_SWEPT_MAX];
};

void fake_chunks_release(struct fake_chunks *chunks);
/* op is a CHUNK_PUT: ECORRUPT, EREFUSED (another under this id, or it names a swept one),
 * ENOMEM. */
enum kith_err fake_chunks_put(struct fake_chunks *chunks, const struct kith_client_op *op);
/* op is a CHUNK_GET; fills in u.chunk, whose payload is the caller's. ENOTFOUND, EINVAL, ECORRUPT,
 * ENOMEM. */
enum kith_err fake_chunks_get(const struct fake_chunks *chunks, const struct kith_client_op *op,
                              struct kith_client_result *ret_result);
/* Flushes it; false where it is not there. */
bool fake_chunks_sync(struct fake_chunks *chunks, const struct kith_chunk_id *id);
/* See kith_fake_lose_unsynced, kith_fake_lose_chunk, kith_fake_sweep_chunk and so on. */
uint32_t fake_chunks_lose_unsynced(struct fake_chunks *chunks);
bool fake_chunks_lose(struct fake_chunks *chunks, const struct kith_chunk_id *id);
void fake_chunks_sweep(struct fake_chunks *chunks, const struct kith_chunk_id *id, bool doomed);
uint32_t fake_chunks_sweep_sized(struct fake_chunks *chunks, size_t size, uint32_t most);
bool fake_chunks_has(const struct fake_chunks *chunks, const struct kith_chunk_id *id, bool disk);
/* Whether one of these was swept. */
bool fake_chunks_swept(const struct fake_chunks *chunks, const struct kith_chunk_id *ids,
                       uint32_t count);

#endif
