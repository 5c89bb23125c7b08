/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * chunks.c - the operations on chunks.
 *
 * A record in `chunks`:
 *     u8      format, 1
 *     u8      where: 0 = the contents follow, 1 = in a segment
 *     16      checksum of the contents
 *     u32     size of the contents (LE)
 *     varint  number of references, then 20 bytes each
 *     ...     the contents; or u32 segment, u64 offset (LE)
 *
 * Contents up to KITH_CHUNK_INLINE_MAX lie in the record: they are logged and synced with the rows.
 */
#include <string.h>

#include "store/store_crypt.h"

#define CHUNK_FORMAT  1u
#define WHERE_HERE    0u
#define WHERE_SEGMENT 1u

struct kith_bytes store_chunk_key(uint32_t partition, const struct kith_chunk_id *id,
                                  uint8_t buffer[KITH_CHUNK_KEY_SIZE])
{
    buffer[0] = (uint8_t)(partition >> 8);
    buffer[1] = (uint8_t)partition;
    buffer[2] = (uint8_t)kith_tree_chunk_leaf(id);
    memcpy(buffer + STORE_CHUNK_KEY_ID, id->bytes, KITH_CHUNK_ID_SIZE);
    return kith_bytes_make(buffer, KITH_CHUNK_KEY_SIZE);
}

struct kith_chunk_id store_chunk_id(struct kith_bytes key)
{
    struct kith_chunk_id id;
    memcpy(id.bytes, key.data + STORE_CHUNK_KEY_ID, KITH_CHUNK_ID_SIZE);
    return id;
}

struct kith_checksum store_chunk_hash(const struct kith_store *store,
                                      const struct kith_chunk_id *id,
                                      const struct kith_checksum *checksum)
{
    struct kith_key key = kith_tree_chunk_key(id);
    return kith_row_hash(&key, kith_bytes_make(checksum->bytes, KITH_CHECKSUM_SIZE),
                         store_secret(store));
}

enum kith_err store_chunk_decode(struct kith_bytes record, struct store_chunk *ret)
{
    struct kith_reader reader;
    kith_reader_init(&reader, record);
    memset(ret, 0, sizeof *ret);
    uint8_t format = kith_read_u8(&reader);
    uint8_t where = kith_read_u8(&reader);
    const uint8_t *checksum = kith_read(&reader, KITH_CHECKSUM_SIZE);
    ret->size = kith_read_u32(&reader);
    uint64_t refs = kith_read_varint(&reader);
    if (reader.failed || format != CHUNK_FORMAT || where > WHERE_SEGMENT || refs > KITH_REFS_MAX ||
        ret->size > KITH_CHUNK_MAX) {
        return KITH_ECORRUPT;
    }
    memcpy(ret->checksum.bytes, checksum, KITH_CHECKSUM_SIZE);
    ret->ref_count = (uint32_t)refs;
    ret->refs = kith_read(&reader, (size_t)refs * KITH_CHUNK_ID_SIZE);
    ret->in_segment = where == WHERE_SEGMENT;
    if (ret->in_segment) {
        ret->segment = kith_read_u32(&reader);
        ret->offset = kith_read_u64(&reader);
    } else {
        ret->contents = kith_bytes_make(kith_read(&reader, ret->size), ret->size);
    }
    return kith_reader_done(&reader) ? KITH_OK : KITH_ECORRUPT;
}

enum kith_err store_chunk_read(struct kith_store *store, struct kith_segment_cache *cache,
                               const struct store_chunk *chunk, uint32_t offset, uint32_t size,
                               uint8_t *buffer)
{
    if (!chunk->in_segment) {
        if (size > 0) {
            memcpy(buffer, chunk->contents.data + offset, size);
        }
        return KITH_OK;
    }
    if (size == chunk->size || store_crypt_of(store) == NULL) {
        return segment_read(store, cache, chunk->segment, chunk->offset + offset, size, buffer);
    }
    struct kith_blob *whole = kith_blob_new(chunk->size); /* a block opens as a whole */
    if (whole == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err =
        segment_read(store, cache, chunk->segment, chunk->offset, chunk->size, whole->data);
    if (err == KITH_OK && size > 0) {
        memcpy(buffer, whole->data + offset, size);
    }
    kith_blob_drop(whole);
    return err;
}

/* ---- Put ---- */

enum kith_err store_chunk_check(struct store_worker *worker, const struct store_chunk *chunk,
                                bool *ret_good)
{
    struct kith_blob *blob = kith_blob_new(chunk->size);
    if (blob == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err =
        store_chunk_read(worker->store, &worker->reads, chunk, 0, chunk->size, blob->data);
    struct kith_checksum found = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
    kith_blob_drop(blob);
    *ret_good = err == KITH_OK && kith_checksum_equal(&found, &chunk->checksum);
    return err == KITH_ECORRUPT ? KITH_OK : err;
}

/* The record before the contents or their place; in the arena with room for both. */
static enum kith_err chunk_record(struct store_worker *worker, const struct kith_store_op *op,
                                  struct kith_bytes chunk_key, struct kith_buf *buf)
{
    struct kith_bytes contents =
        kith_bytes_make(op->u.chunk_put.payload->data, op->u.chunk_put.payload->size);
    bool here = contents.size <= KITH_CHUNK_INLINE_MAX;
    uint32_t segment = 0;
    uint64_t offset = 0;
    if (!here) {
        enum kith_err err = segment_append(worker, contents, &segment, &offset);
        if (err == KITH_OK) {
            err = segment_extent_put(worker, segment, offset, chunk_key, (uint32_t)contents.size);
        }
        if (err != KITH_OK) {
            return err;
        }
    }
    kith_buf_put_u8(buf, CHUNK_FORMAT);
    kith_buf_put_u8(buf, (uint8_t)(here ? WHERE_HERE : WHERE_SEGMENT));
    kith_buf_put(buf, op->u.chunk_put.checksum.bytes, KITH_CHECKSUM_SIZE);
    kith_buf_put_u32(buf, (uint32_t)contents.size);
    kith_buf_put_varint(buf, op->u.chunk_put.ref_count);
    kith_buf_put(buf, op->u.chunk_put.refs, (size_t)op->u.chunk_put.ref_count * KITH_CHUNK_ID_SIZE);
    if (here) {
        kith_buf_put(buf, contents.data, contents.size);
    } else {
        kith_buf_put_u32(buf, segment);
        kith_buf_put_u64(buf, offset);
    }
    return buf->failed ? KITH_ENOMEM : KITH_OK;
}

/* Index, references and sum of a chunk that is not there. */
static enum kith_err chunk_insert(struct store_worker *worker, const struct kith_store_op *op,
                                  struct kith_bytes key)
{
    struct kith_arena *arena = &worker->round->arena;
    struct store_refs none = {0, NULL};
    struct store_refs refs;
    struct kith_buf buf;
    kith_buf_init(&buf);
    enum kith_err err = chunk_record(worker, op, key, &buf);
    if (err == KITH_OK) {
        err = store_write(worker, worker->chunks, key, kith_buf_bytes(&buf));
    }
    kith_buf_release(&buf);
    if (err == KITH_OK && op->u.chunk_put.ref_count > 0) {
        err = store_refs_of_ids(arena, op->u.chunk_put.refs, op->u.chunk_put.ref_count, &refs);
        if (err == KITH_OK) {
            err = store_refs_change(worker, &none, &refs, STORE_REFERRER_CHUNK, key);
        }
    }
    if (err != KITH_OK) {
        return err;
    }
    const struct kith_chunk_id *id = &op->u.chunk_put.id;
    struct kith_checksum nothing = {{0}};
    struct kith_checksum hash = store_chunk_hash(worker->store, id, &op->u.chunk_put.checksum);
    struct store_change change = {.old_hash = &nothing,
                                  .new_hash = &hash,
                                  .count = 1,
                                  .bytes = (int64_t)op->u.chunk_put.payload->size};
    return store_tree_change(worker, op->partition, kith_tree_chunk_leaf(id), &change);
}

/* What it may take of the disk: contents in the table are in the log, too. */
static uint64_t put_bytes(const struct kith_store_op *op)
{
    uint64_t size = op->u.chunk_put.payload->size;
    return STORE_PAGES_CHUNK + (size <= KITH_CHUNK_INLINE_MAX ? 2u * size : size) +
           (uint64_t)op->u.chunk_put.ref_count * STORE_PAGES_REF;
}

/* ENOTFOUND: it may be inserted. */
static enum kith_err refs_allowed(struct store_worker *worker, const struct kith_store_op *op,
                                  struct kith_store_done *done)
{
    struct store_unleased check;
    struct store_refs refs;
    const struct store_refs none = {0, NULL};
    store_unleased_begin(&check, &op->u.chunk_put.rule, true);
    enum kith_err err = store_refs_of_ids(&worker->round->arena, op->u.chunk_put.refs,
                                          op->u.chunk_put.ref_count, &refs);
    if (err == KITH_OK) {
        err = store_unleased_check(worker, &check, &none, &refs);
    }
    if (err == KITH_OK && check.count > 0) {
        return store_unleased_end(worker, &check, done);
    }
    return err == KITH_OK ? KITH_ENOTFOUND : err;
}

enum kith_err store_chunk_put(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    const struct kith_blob *payload = op->u.chunk_put.payload;
    if (payload->size > KITH_CHUNK_MAX || op->u.chunk_put.ref_count > KITH_REFS_MAX) {
        return store_fail(worker, done, KITH_ETOOBIG,
                          "a chunk has at most %u bytes and %u "
                          "references",
                          KITH_CHUNK_MAX, KITH_REFS_MAX);
    }
    struct kith_checksum found = kith_checksum_of(kith_bytes_make(payload->data, payload->size));
    if (!kith_checksum_equal(&found, &op->u.chunk_put.checksum)) {
        return store_fail(worker, done, KITH_ECORRUPT, "the chunk does not fit its checksum");
    }
    if (!store_space_allows(worker, STORE_SPACE_VALUE, put_bytes(op))) {
        return store_fail_space(worker, done);
    }
    done->u.chunk.checksum = found;
    done->u.chunk.chunk_size = (uint32_t)payload->size;
    uint8_t buffer[KITH_CHUNK_KEY_SIZE];
    struct kith_bytes key = store_chunk_key(op->partition, &op->u.chunk_put.id, buffer);
    struct kith_bytes record;
    enum kith_err err = store_read(worker, worker->chunks, key, &record);
    if (err == KITH_OK) { /* sent again, or a repair */
        struct store_chunk old;
        bool good = false;
        err = store_chunk_decode(record, &old);
        if (err == KITH_OK && !kith_checksum_equal(&old.checksum, &found)) {
            return store_fail(worker, done, KITH_EINVAL, "a chunk of that id has other contents");
        }
        if (err == KITH_OK) {
            err = store_chunk_check(worker, &old, &good);
        }
        if (err != KITH_OK || good) {
            return err;
        }
        err = store_chunk_remove(worker, key);
        if (err == KITH_OK) {
            err = KITH_ENOTFOUND;
        }
    }
    if (err == KITH_ENOTFOUND && op->u.chunk_put.ref_count > 0) {
        err = refs_allowed(worker, op, done);
    }
    return err == KITH_ENOTFOUND ? chunk_insert(worker, op, key) : err;
}

enum kith_err store_chunk_remove(struct store_worker *worker, struct kith_bytes key)
{
    struct kith_bytes record;
    struct store_chunk chunk;
    struct store_refs none = {0, NULL};
    struct store_refs refs;
    enum kith_err err = store_read(worker, worker->chunks, key, &record);
    if (err == KITH_OK) {
        err = store_chunk_decode(record, &chunk);
    }
    if (err == KITH_OK) {
        err = store_refs_of_ids(&worker->round->arena,
                                (const struct kith_chunk_id *)(const void *)chunk.refs,
                                chunk.ref_count, &refs);
    }
    if (err == KITH_OK) { /* the record goes last: chunk borrows from it */
        err = store_refs_change(worker, &refs, &none, STORE_REFERRER_CHUNK, key);
    }
    if (err == KITH_OK && chunk.in_segment) {
        err = segment_extent_remove(worker, chunk.segment, chunk.offset);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_chunk_id id = store_chunk_id(key);
    struct kith_checksum nothing = {{0}};
    struct kith_checksum hash = store_chunk_hash(worker->store, &id, &chunk.checksum);
    struct store_change change = {
        .old_hash = &hash, .new_hash = &nothing, .count = -1, .bytes = -(int64_t)chunk.size};
    uint32_t partition = (uint32_t)key.data[0] << 8 | key.data[1];
    err = store_remove(worker, worker->chunks, key);
    if (err == KITH_OK) {
        err = store_tree_change(worker, partition, kith_tree_chunk_leaf(&id), &change);
    }
    return err;
}

/* ---- Get, sync ---- */

static enum kith_err chunk_load(struct store_worker *worker, const struct kith_store_op *op,
                                const struct store_chunk *chunk, struct kith_store_done *done)
{
    uint32_t offset = op->u.chunk_get.offset;
    if (offset > chunk->size) {
        return store_fail(worker, done, KITH_EINVAL, "the chunk has %u bytes, not %u", chunk->size,
                          offset);
    }
    uint32_t left = chunk->size - offset;
    uint32_t size =
        op->u.chunk_get.size == 0 || op->u.chunk_get.size > left ? left : op->u.chunk_get.size;
    struct kith_blob *blob = kith_blob_new(size);
    if (blob == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    enum kith_err err =
        store_chunk_read(worker->store, &worker->reads, chunk, offset, size, blob->data);
    struct kith_checksum found = kith_checksum_of(kith_bytes_make(blob->data, size));
    if (err == KITH_OK && size == chunk->size && !kith_checksum_equal(&found, &chunk->checksum)) {
        err = KITH_ECORRUPT;
    }
    struct store_results *round = worker->round;
    if (err == KITH_OK && round->blob_count == sizeof round->blobs / sizeof round->blobs[0]) {
        err = KITH_ELIMIT;
    }
    if (err == KITH_OK && op->u.chunk_get.refs) {
        done->u.chunk.refs = kith_arena_copy(&round->arena, chunk->refs,
                                             (size_t)chunk->ref_count * KITH_CHUNK_ID_SIZE);
        done->u.chunk.ref_count = chunk->ref_count;
        err = done->u.chunk.refs == NULL ? KITH_ENOMEM : KITH_OK;
    }
    if (err != KITH_OK) {
        kith_blob_drop(blob);
        return store_fail(worker, done, err, "chunk: %s", kith_err_text((int)err));
    }
    round->blobs[round->blob_count++] = blob;
    done->u.chunk.checksum = found;
    done->u.chunk.chunk_size = chunk->size;
    done->u.chunk.payload = blob;
    return KITH_OK;
}

enum kith_err store_chunk_get(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    uint8_t buffer[KITH_CHUNK_KEY_SIZE];
    struct kith_bytes key = store_chunk_key(op->partition, &op->u.chunk_get.id, buffer);
    struct kith_bytes record;
    struct store_chunk chunk;
    enum kith_err err = store_read(worker, worker->chunks, key, &record);
    if (err == KITH_OK) {
        err = store_chunk_decode(record, &chunk);
    }
    if (err == KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "this node does not hold the chunk");
    }
    return err == KITH_OK ? chunk_load(worker, op, &chunk, done) : err;
}

enum kith_err store_chunk_sync(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done)
{
    uint32_t count = op->u.chunk_sync.id_count;
    struct kith_chunk_id *missing =
        kith_arena_alloc(&worker->round->arena, count * sizeof *missing);
    if (missing == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    uint32_t missing_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_chunk_id *id = &op->u.chunk_sync.ids[i];
        uint8_t buffer[KITH_CHUNK_KEY_SIZE];
        struct kith_bytes record;
        uint32_t partition = kith_chunk_partition(id, worker->store->partitions);
        enum kith_err err =
            store_read(worker, worker->chunks, store_chunk_key(partition, id, buffer), &record);
        if (err == KITH_ENOTFOUND) {
            missing[missing_count++] = *id;
        } else if (err != KITH_OK) {
            return err;
        }
    }
    done->u.chunk_sync.missing_count = missing_count;
    done->u.chunk_sync.missing = missing;
    return KITH_OK;
}
