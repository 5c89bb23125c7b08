/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_chunk.c - see fake_chunk.h. */
#include "lib/fake_chunk.h"

#include <string.h>

#include "base/assert.h"

struct fake_chunk {
    struct fake_chunk *next;
    struct kith_chunk_id id;
    struct kith_checksum checksum;
    struct kith_blob *blob;
    bool disk;
};

static size_t bucket_of(const struct kith_chunk_id *id)
{
    uint64_t hash;
    memcpy(&hash, id->bytes + KITH_CHUNK_ID_SIZE - sizeof(hash), sizeof(hash));
    return hash % FAKE_CHUNK_BUCKETS;
}

/* Where the chunk hangs, or would. */
static struct fake_chunk **slot_of(struct fake_chunks *chunks, const struct kith_chunk_id *id)
{
    struct fake_chunk **slot = &chunks->buckets[bucket_of(id)];
    while (*slot != NULL && memcmp(&(*slot)->id, id, sizeof(*id)) != 0) {
        slot = &(*slot)->next;
    }
    return slot;
}

static const struct fake_chunk *find(const struct fake_chunks *chunks,
                                     const struct kith_chunk_id *id)
{
    const struct fake_chunk *chunk = chunks->buckets[bucket_of(id)];
    while (chunk != NULL && memcmp(&chunk->id, id, sizeof(*id)) != 0) {
        chunk = chunk->next;
    }
    return chunk;
}

static void chunk_remove(struct fake_chunks *chunks, struct fake_chunk **slot)
{
    struct fake_chunk *chunk = *slot;
    *slot = chunk->next;
    chunks->count--;
    chunks->bytes -= chunk->blob->size;
    kith_blob_drop(chunk->blob);
    kith_free(chunk);
}

void fake_chunks_release(struct fake_chunks *chunks)
{
    for (size_t i = 0; i < FAKE_CHUNK_BUCKETS; i++) {
        while (chunks->buckets[i] != NULL) {
            chunk_remove(chunks, &chunks->buckets[i]);
        }
    }
}

enum kith_err fake_chunks_put(struct fake_chunks *chunks, const struct kith_client_op *op)
{
    struct kith_blob *blob = op->u.chunk_put.payload;
    struct kith_checksum sum = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
    if (!kith_checksum_equal(&sum, &op->u.chunk_put.checksum)) {
        return KITH_ECORRUPT;
    }
    if (fake_chunks_swept(chunks, op->u.chunk_put.refs, op->u.chunk_put.ref_count)) {
        return KITH_EREFUSED;
    }
    struct fake_chunk **slot = slot_of(chunks, &op->u.chunk_put.id);
    if (*slot == NULL) {
        struct fake_chunk *chunk = kith_calloc(1, sizeof(*chunk));
        struct kith_blob *copy = chunk == NULL ? NULL : kith_blob_new(blob->size);
        if (copy == NULL) {
            kith_free(chunk);
            return KITH_ENOMEM;
        }
        memcpy(copy->data, blob->data, blob->size); /* a writer that changes it later is caught */
        chunk->id = op->u.chunk_put.id;
        chunk->checksum = sum;
        chunk->blob = copy;
        *slot = chunk;
        chunks->count++;
        chunks->bytes += blob->size;
    } else if (!kith_checksum_equal(&(*slot)->checksum, &sum)) {
        return KITH_EREFUSED; /* a chunk is never altered */
    }
    (*slot)->disk = (*slot)->disk || op->u.chunk_put.durability == KITH_DURABLE_DISK;
    return KITH_OK;
}

enum kith_err fake_chunks_get(const struct fake_chunks *chunks, const struct kith_client_op *op,
                              struct kith_client_result *ret_result)
{
    const struct fake_chunk *chunk = find(chunks, &op->u.chunk_get.id);
    if (chunk == NULL) {
        return KITH_ENOTFOUND;
    }
    size_t offset = op->u.chunk_get.offset, size = op->u.chunk_get.size;
    if (offset > chunk->blob->size) {
        return KITH_EINVAL;
    }
    size_t left = chunk->blob->size - offset;
    size = size == 0 || size > left ? left : size;
    if (size == chunk->blob->size &&
        !kith_checksum_equal(&chunk->checksum, &op->u.chunk_get.checksum)) {
        return KITH_ECORRUPT;
    }
    struct kith_blob *blob = kith_blob_new(size);
    if (blob == NULL) {
        return KITH_ENOMEM;
    }
    memcpy(blob->data, chunk->blob->data + offset, size);
    ret_result->u.chunk.payload = blob;
    ret_result->u.chunk.chunk_size = (uint32_t)chunk->blob->size;
    return KITH_OK;
}

bool fake_chunks_sync(struct fake_chunks *chunks, const struct kith_chunk_id *id)
{
    struct fake_chunk *chunk = *slot_of(chunks, id);
    if (chunk != NULL) {
        chunk->disk = true;
    }
    return chunk != NULL;
}

uint32_t fake_chunks_lose_unsynced(struct fake_chunks *chunks)
{
    uint32_t lost = 0;
    for (size_t i = 0; i < FAKE_CHUNK_BUCKETS; i++) {
        struct fake_chunk **slot = &chunks->buckets[i];
        while (*slot != NULL) {
            if ((*slot)->disk) {
                slot = &(*slot)->next;
            } else {
                chunk_remove(chunks, slot);
                lost++;
            }
        }
    }
    return lost;
}

bool fake_chunks_lose(struct fake_chunks *chunks, const struct kith_chunk_id *id)
{
    struct fake_chunk **slot = slot_of(chunks, id);
    if (*slot == NULL) {
        return false;
    }
    chunk_remove(chunks, slot);
    return true;
}

void fake_chunks_sweep(struct fake_chunks *chunks, const struct kith_chunk_id *id, bool doomed)
{
    KITH_ASSERT(chunks->swept_count < FAKE_CHUNK_SWEPT_MAX);
    chunks->swept[chunks->swept_count++] = *id;
    if (!doomed) {
        (void)fake_chunks_lose(chunks, id);
    }
}

uint32_t fake_chunks_sweep_sized(struct fake_chunks *chunks, size_t size, uint32_t most)
{
    uint32_t count = 0;
    for (size_t i = 0; i < FAKE_CHUNK_BUCKETS; i++) {
        struct fake_chunk *next = NULL;
        for (struct fake_chunk *chunk = chunks->buckets[i]; chunk != NULL && count < most;
             chunk = next) {
            next = chunk->next;
            if (chunk->blob->size == size) {
                fake_chunks_sweep(chunks, &chunk->id, false);
                count++;
            }
        }
    }
    return count;
}

bool fake_chunks_swept(const struct fake_chunks *chunks, const struct kith_chunk_id *ids,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < chunks->swept_count; k++) {
            if (memcmp(&ids[i], &chunks->swept[k], sizeof(*ids)) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool fake_chunks_has(const struct fake_chunks *chunks, const struct kith_chunk_id *id, bool disk)
{
    const struct fake_chunk *chunk = find(chunks, id);
    return chunk != NULL && (!disk || chunk->disk);
}
