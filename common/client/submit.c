/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * submit.c - checks a request's sizes and copies it: the user's memory is his again at once. */
#include <string.h>

#include "client/where.h"

/* What a put's message may hold; the rest of KITH_MESSAGE_MAX is for frames and field tags. */
#define PUT_BYTES_MAX (KITH_MESSAGE_MAX - (64u << 10))

static bool copy_bytes(struct cc_op *op, struct kith_bytes from, struct kith_bytes *ret_bytes)
{
    return cc_op_keep(op, false, from, ret_bytes);
}

static enum kith_err copy_get(struct cc_op *op, const struct kith_client_op *from)
{
    uint32_t count = from->u.get.name_count;
    if (count == 0 || count > KITH_NAMES_MAX) {
        return KITH_EINVAL;
    }
    struct cc_get *get = &op->u.get;
    get->group = from->u.get.group;
    get->name_count = count;
    get->names = kith_arena_calloc(&op->arena, count, sizeof(*get->names));
    if (get->names == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (from->u.get.names[i].size > KITH_NAME_MAX) {
            return KITH_EINVAL;
        }
        if (!copy_bytes(op, from->u.get.names[i], &get->names[i])) {
            return KITH_ENOMEM;
        }
    }
    return KITH_OK;
}

static enum kith_err copy_scan(struct cc_op *op, const struct kith_client_op *from)
{
    if (from->u.scan.after.size > KITH_NAME_MAX) {
        return KITH_EINVAL;
    }
    struct cc_scan *scan = &op->u.scan;
    scan->group = from->u.scan.group;
    scan->has_after = from->u.scan.has_after;
    scan->max_rows = from->u.scan.max_rows;
    if (scan->max_rows == 0 || scan->max_rows > KITH_PAGE_ROWS_MAX) {
        scan->max_rows = KITH_PAGE_ROWS_MAX;
    }
    return copy_bytes(op, from->u.scan.after, &scan->after) ? KITH_OK : KITH_ENOMEM;
}

static enum kith_err copy_refs(struct cc_op *op, uint32_t count, const struct kith_chunk_id *refs,
                               struct kith_chunk_id **ret_refs)
{
    if (count > KITH_REFS_MAX) {
        return KITH_EINVAL;
    }
    *ret_refs = kith_arena_copy(&op->arena, refs, count * sizeof(*refs));
    return *ret_refs == NULL ? KITH_ENOMEM : KITH_OK;
}

static enum kith_err copy_update(struct cc_op *op, const struct kith_put_update *from,
                                 struct kith_put_update *to, size_t *total)
{
    if (from->name.size > KITH_NAME_MAX || from->value.size > KITH_INLINE_VALUE_MAX ||
        from->context.size > KITH_ROW_STATE_MAX) {
        return KITH_EINVAL;
    }
    *total += from->name.size + from->value.size + from->context.size + 64 +
              from->ref_count * sizeof(*from->refs);
    if (*total > PUT_BYTES_MAX) {
        return KITH_EINVAL;
    }
    struct kith_chunk_id *refs = NULL;
    enum kith_err err = copy_refs(op, from->ref_count, from->refs, &refs);
    if (err != KITH_OK) {
        return err;
    }
    *to = *from;
    to->refs = refs;
    if (!copy_bytes(op, from->name, &to->name) || !copy_bytes(op, from->value, &to->value) ||
        !copy_bytes(op, from->context, &to->context)) {
        return KITH_ENOMEM;
    }
    return KITH_OK;
}

struct kith_request_id kith_client_core_request_id(struct kith_client_core *core)
{
    struct kith_request_id request;
    uint64_t sequence = ++core->sequence;
    for (uint32_t i = 0; i < 8; i++) {
        request.bytes[i] = (uint8_t)(core->client_id[0] >> (56 - 8 * i));
        request.bytes[8 + i] = (uint8_t)(sequence >> (56 - 8 * i));
    }
    return request;
}

static enum kith_err copy_put(struct kith_client_core *core, struct cc_op *op,
                              const struct kith_client_op *from)
{
    uint32_t count = from->u.put.update_count;
    if (count == 0 || count > KITH_BATCH_MAX) {
        return KITH_EINVAL;
    }
    struct cc_put *put = &op->u.put;
    put->group = from->u.put.group;
    put->durability = from->u.put.durability;
    put->update_count = count;
    put->updates = kith_arena_calloc(&op->arena, count, sizeof(*put->updates));
    if (put->updates == NULL) {
        return KITH_ENOMEM;
    }
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        enum kith_err err = copy_update(op, &from->u.put.updates[i], &put->updates[i], &total);
        if (err != KITH_OK) {
            return err;
        }
    }
    static const struct kith_request_id nil;
    put->request = from->u.put.request;
    put->open = from->u.put.again ? 1 : 0; /* the earlier attempt */
    struct kith_bytes writer = from->u.put.writer.size > 0
                                   ? from->u.put.writer
                                   : kith_bytes_make(core->writer, strlen(core->writer));
    writer.size = writer.size < KITH_WRITER_MAX ? writer.size : KITH_WRITER_MAX;
    if (!copy_bytes(op, writer, &put->writer)) {
        return KITH_ENOMEM;
    }
    if (memcmp(&put->request, &nil, sizeof(nil)) == 0) {
        put->request = kith_client_core_request_id(core);
    }
    return KITH_OK;
}

static enum kith_err copy_chunk_put(struct cc_op *op, const struct kith_client_op *from)
{
    struct kith_blob *payload = from->u.chunk_put.payload;
    if (payload == NULL || payload->size == 0 || payload->size > KITH_CHUNK_MAX) {
        return KITH_EINVAL;
    }
    struct cc_chunk *chunk = &op->u.chunk;
    chunk->id = from->u.chunk_put.id;
    chunk->durability = from->u.chunk_put.durability;
    chunk->checksum = from->u.chunk_put.checksum;
    chunk->ref_count = from->u.chunk_put.ref_count;
    chunk->payload = payload;
    enum kith_err err = copy_refs(op, chunk->ref_count, from->u.chunk_put.refs, &chunk->refs);
    if (err != KITH_OK) {
        return err;
    }
    return cc_op_hold(op, NULL, payload) ? KITH_OK : KITH_ENOMEM;
}

static enum kith_err copy_sync(struct cc_op *op, const struct kith_client_op *from)
{
    struct cc_sync *sync = &op->u.sync;
    sync->id_count = from->u.chunk_sync.id_count;
    sync->lease = from->u.chunk_sync.lease;
    if (sync->id_count > KITH_CLIENT_SYNC_MAX) {
        return KITH_EINVAL;
    }
    sync->ids =
        kith_arena_copy(&op->arena, from->u.chunk_sync.ids, sync->id_count * sizeof(*sync->ids));
    sync->holders = kith_arena_calloc(&op->arena, sync->id_count, sizeof(*sync->holders));
    sync->gone = kith_arena_calloc(&op->arena, sync->id_count, sizeof(*sync->gone));
    return sync->ids == NULL || sync->holders == NULL || sync->gone == NULL ? KITH_ENOMEM : KITH_OK;
}

static enum kith_err copy_status(struct kith_client_core *core, struct cc_op *op,
                                 const struct kith_client_op *from)
{
    const char *address = from->u.status.address;
    if (address == NULL) {
        return KITH_OK;
    }
    size_t size = strlen(address);
    if (size == 0 || size >= KITH_ADDRESS_SIZE) {
        return KITH_EINVAL;
    }
    op->u.status.door = cc_peer_at(core, address);
    return op->u.status.door == NULL ? KITH_ENOMEM : KITH_OK;
}

static enum kith_err copy_where(struct cc_op *op, const struct kith_client_op *from)
{
    struct cc_where *where = kith_arena_calloc(&op->arena, 1, sizeof(*where));
    op->u.where = where;
    if (where == NULL) {
        return KITH_ENOMEM;
    }
    where->row_count = from->u.where.row_count;
    where->id_count = from->u.where.id_count;
    if (where->row_count > KITH_CLIENT_WHERE_ROWS_MAX || where->id_count > KITH_CLIENT_SYNC_MAX ||
        where->row_count + where->id_count == 0) {
        return KITH_EINVAL;
    }
    where->rows = kith_arena_calloc(&op->arena, where->row_count + 1u, sizeof(*where->rows));
    where->ids = kith_arena_copy(&op->arena, from->u.where.ids,
                                 where->id_count * sizeof(*where->ids));
    if (where->rows == NULL || where->ids == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < where->row_count; i++) {
        const struct kith_client_row_name *row = &from->u.where.rows[i];
        where->rows[i].group = row->group;
        if (row->name.size > KITH_NAME_MAX) {
            return KITH_EINVAL;
        }
        if (!copy_bytes(op, row->name, &where->rows[i].name)) {
            return KITH_ENOMEM;
        }
    }
    return KITH_OK;
}

enum kith_err cc_submit_copy(struct kith_client_core *core, struct cc_op *op,
                             const struct kith_client_op *from)
{
    op->kind = from->kind;
    op->soft = from->soft;
    bool reads = from->kind == KITH_CLIENT_GET || from->kind == KITH_CLIENT_SCAN ||
                 from->kind == KITH_CLIENT_GROUPS;
    op->level = from->level != KITH_LEVEL_QUORUM ? from->level
                : reads                          ? core->read_level
                                                 : core->write_level;
    op->strict = from->strict || core->strict || op->level == KITH_LEVEL_ALL;
    if ((uint32_t)from->level >= KITH_LEVELS) {
        return KITH_EINVAL;
    }
    switch (from->kind) {
    case KITH_CLIENT_GET:
        return copy_get(op, from);
    case KITH_CLIENT_SCAN:
        return copy_scan(op, from);
    case KITH_CLIENT_GROUPS:
        op->u.groups.partition = from->u.groups.partition;
        op->u.groups.volume = from->u.groups.volume;
        op->u.groups.has_after = from->u.groups.has_after;
        op->u.groups.after = from->u.groups.after;
        op->u.groups.pages =
            kith_arena_calloc(&op->arena, CC_REPS_MAX, sizeof(*op->u.groups.pages));
        op->strict = true;
        return op->u.groups.pages == NULL ? KITH_ENOMEM : KITH_OK;
    case KITH_CLIENT_PUT:
        return copy_put(core, op, from);
    case KITH_CLIENT_CHUNK_PUT:
        return copy_chunk_put(op, from);
    case KITH_CLIENT_CHUNK_GET:
        if (from->u.chunk_get.offset >= KITH_CHUNK_MAX || from->u.chunk_get.size > KITH_CHUNK_MAX) {
            return KITH_EINVAL;
        }
        op->u.chunk.id = from->u.chunk_get.id;
        op->u.chunk.offset = from->u.chunk_get.offset;
        op->u.chunk.size = from->u.chunk_get.size;
        op->u.chunk.checksum = from->u.chunk_get.checksum;
        op->u.chunk.with_refs = from->u.chunk_get.refs;
        return KITH_OK;
    case KITH_CLIENT_CHUNK_SYNC:
        return copy_sync(op, from);
    case KITH_CLIENT_STATUS:
        return copy_status(core, op, from);
    case KITH_CLIENT_WHERE:
        return copy_where(op, from);
    }
    return KITH_EINVAL;
}
