/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * meta.c - the node's own small records: identity, cluster, table, promises, members.
 *
 * A record that cannot be written is no small thing (a promise would be lost, a table
 * forgotten): the one who waits for it is never told that it is there, the log says it, and it
 * stays as it was. */
#include <string.h>

#include "core/internal.h"

#define CLUSTER_FORMAT 1u

enum kith_err meta_put(struct kith_node *node, enum kith_meta_key key, struct kith_bytes value,
                       void (*then)(struct kith_node *, uint64_t, enum kith_err), uint64_t arg)
{
    struct pending *pending = pending_new(node, PENDING_META, 0, NULL, UINT64_MAX);
    if (!pending) {
        return KITH_ELIMIT;
    }
    uint8_t *copy = kith_arena_copy(&pending->arena, value.data, value.size);
    if (!copy) {
        pending_end(node, pending);
        return KITH_ENOMEM;
    }
    pending->u.meta.key = key;
    pending->u.meta.then = then;
    pending->u.meta.arg = arg;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_META_PUT, 0);
    op->durability = KITH_DURABLE_DISK;
    op->u.meta.key = key;
    op->u.meta.value = kith_bytes_make(copy, value.size);
    return KITH_OK;
}

void meta_done(struct kith_node *node, struct pending *pending, const struct kith_store_done *done)
{
    if (done->err != KITH_OK) {
        core_log(node, LEVEL_ERROR, "cannot store the node's own record %d: %s",
                 (int)pending->u.meta.key,
                 done->message ? done->message : kith_err_text((int)done->err));
    }
    void (*then)(struct kith_node *, uint64_t, enum kith_err) = pending->u.meta.then;
    uint64_t arg = pending->u.meta.arg;
    pending_end(node, pending);
    if (then) {
        then(node, arg, done->err);
    }
}

void meta_seal(struct kith_buf *buf)
{
    struct kith_checksum checksum = kith_checksum_of(kith_buf_bytes(buf));
    kith_buf_put(buf, checksum.bytes, sizeof checksum.bytes);
}

enum kith_err meta_unseal(struct kith_bytes *bytes)
{
    struct kith_checksum stored;
    if (bytes->size < sizeof stored.bytes) {
        return KITH_EFORMAT;
    }
    struct kith_bytes body = kith_bytes_make(bytes->data, bytes->size - sizeof stored.bytes);
    memcpy(stored.bytes, body.data + body.size, sizeof stored.bytes);
    struct kith_checksum computed = kith_checksum_of(body);
    if (!kith_checksum_equal(&stored, &computed)) {
        return KITH_ECORRUPT;
    }
    *bytes = body;
    return KITH_OK;
}

void meta_encode_cluster(const struct kith_cluster *cluster, struct kith_buf *buf)
{
    kith_buf_put_u8(buf, CLUSTER_FORMAT);
    kith_buf_put(buf, cluster->uuid.bytes, sizeof cluster->uuid.bytes);
    kith_buf_put_sized(buf, kith_bytes_make(cluster->name, strlen(cluster->name)));
    kith_buf_put_varint(buf, cluster->partitions);
    kith_buf_put_varint(buf, cluster->replicas);
    kith_buf_put(buf, cluster->secret, sizeof cluster->secret);
    meta_seal(buf);
}

enum kith_err meta_decode_cluster(struct kith_bytes bytes, struct kith_cluster *ret_cluster)
{
    enum kith_err err = meta_unseal(&bytes);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    if (kith_read_u8(&reader) != CLUSTER_FORMAT) {
        return KITH_EVERSION;
    }
    memset(ret_cluster, 0, sizeof *ret_cluster);
    const uint8_t *uuid = kith_read(&reader, sizeof ret_cluster->uuid.bytes);
    struct kith_bytes name = kith_read_sized(&reader, sizeof ret_cluster->name - 1);
    uint64_t partitions = kith_read_varint(&reader);
    uint64_t replicas = kith_read_varint(&reader);
    const uint8_t *secret = kith_read(&reader, sizeof ret_cluster->secret);
    if (!kith_reader_done(&reader) || partitions == 0 || partitions > KITH_PARTITIONS_MAX ||
        replicas == 0 || replicas > KITH_REPLICAS_MAX) {
        return KITH_EFORMAT;
    }
    memcpy(ret_cluster->uuid.bytes, uuid, sizeof ret_cluster->uuid.bytes);
    if (name.size > 0) {
        memcpy(ret_cluster->name, name.data, name.size);
    }
    ret_cluster->partitions = (uint32_t)partitions;
    ret_cluster->replicas = (uint32_t)replicas;
    memcpy(ret_cluster->secret, secret, sizeof ret_cluster->secret);
    return KITH_OK;
}
