/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_op.c - see fake_op.h. */
#include "lib/fake_op.h"

static bool copy_bytes(struct kith_arena *arena, struct kith_bytes *bytes)
{
    bytes->data = kith_arena_copy(arena, bytes->data, bytes->size);
    return bytes->data != NULL;
}

static bool copy_updates(struct kith_arena *arena, struct kith_client_op *op)
{
    uint32_t count = op->u.put.update_count;
    struct kith_put_update *updates =
        kith_arena_copy(arena, op->u.put.updates, count * sizeof(*updates));
    bool ok = updates != NULL;
    for (uint32_t i = 0; ok && i < count; i++) {
        ok = copy_bytes(arena, &updates[i].name) && copy_bytes(arena, &updates[i].context) &&
             copy_bytes(arena, &updates[i].value);
        updates[i].refs = kith_arena_copy(arena, updates[i].refs,
                                          updates[i].ref_count * sizeof(*updates[i].refs));
        ok = ok && updates[i].refs != NULL;
    }
    op->u.put.updates = updates;
    return ok;
}

bool fake_op_copy(struct kith_arena *arena, struct kith_client_op *op)
{
    if (op->kind == KITH_CLIENT_GET) {
        struct kith_bytes *names = kith_arena_copy(arena, op->u.get.names,
                                                   op->u.get.name_count * sizeof(*names));
        bool ok = names != NULL;
        for (uint32_t i = 0; ok && i < op->u.get.name_count; i++) {
            ok = copy_bytes(arena, &names[i]);
        }
        op->u.get.names = names;
        return ok;
    }
    if (op->kind == KITH_CLIENT_SCAN) {
        return !op->u.scan.has_after || copy_bytes(arena, &op->u.scan.after);
    }
    if (op->kind == KITH_CLIENT_PUT) {
        return copy_updates(arena, op);
    }
    if (op->kind == KITH_CLIENT_CHUNK_SYNC) {
        op->u.chunk_sync.ids = kith_arena_copy(arena, op->u.chunk_sync.ids,
                                               op->u.chunk_sync.id_count * KITH_CHUNK_ID_SIZE);
        return op->u.chunk_sync.ids != NULL;
    }
    if (op->kind == KITH_CLIENT_WHERE) {
        uint32_t count = op->u.where.row_count;
        struct kith_client_row_name *rows =
            kith_arena_copy(arena, op->u.where.rows, count * sizeof(*rows));
        bool ok = rows != NULL;
        for (uint32_t i = 0; ok && i < count; i++) {
            ok = copy_bytes(arena, &rows[i].name);
        }
        op->u.where.rows = rows;
        op->u.where.ids =
            kith_arena_copy(arena, op->u.where.ids, op->u.where.id_count * KITH_CHUNK_ID_SIZE);
        return ok && op->u.where.ids != NULL;
    }
    return true;
}

bool fake_op_is_valid(const struct kith_client_op *op)
{
    switch (op->kind) {
    case KITH_CLIENT_GET:
        return op->u.get.name_count >= 1 && op->u.get.name_count <= KITH_NAMES_MAX;
    case KITH_CLIENT_PUT:
        for (uint32_t i = 0; i < op->u.put.update_count; i++) {
            const struct kith_put_update *update = &op->u.put.updates[i];
            if (update->name.size > KITH_NAME_MAX || update->ref_count > KITH_REFS_MAX ||
                update->value.size > KITH_INLINE_VALUE_MAX) {
                return false;
            }
        }
        return op->u.put.update_count >= 1 && op->u.put.update_count <= KITH_BATCH_MAX;
    case KITH_CLIENT_CHUNK_PUT:
        return op->u.chunk_put.payload != NULL && op->u.chunk_put.payload->size <= KITH_CHUNK_MAX &&
               op->u.chunk_put.ref_count <= KITH_REFS_MAX;
    default:
        return op->kind >= KITH_CLIENT_GET && op->kind < KITH_CLIENT_KINDS;
    }
}
