/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * batch.c - updates of one group that go together, and the attribute rows that follow a file. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

struct kith_batch *kith_batch_new(void)
{
    struct kith_batch *batch = kith_calloc(1, sizeof *batch);
    if (batch != NULL) {
        kith_arena_init(&batch->arena, 0);
    }
    return batch;
}

void kith_batch_free(struct kith_batch *batch)
{
    if (batch != NULL) {
        kith_arena_release(&batch->arena);
        kith_free(batch);
    }
}

static bool copy_bytes(struct kith_batch *batch, struct kith_bytes bytes,
                       struct kith_bytes *ret_copy)
{
    ret_copy->data = kith_arena_copy(&batch->arena, bytes.data, bytes.size);
    ret_copy->size = bytes.size;
    return ret_copy->data != NULL;
}

int kith_batch_add(struct kith_batch *batch, struct kith_bytes name, struct kith_bytes context,
                   const struct kith_bytes *value, uint8_t kind, const struct kith_chunk_id *refs,
                   uint32_t ref_count)
{
    if (batch->count == KITH_BATCH_MAX) {
        return -1;
    }
    struct kith_put_update *update = &batch->updates[batch->count];
    memset(update, 0, sizeof *update);
    bool ok =
        copy_bytes(batch, name, &update->name) && copy_bytes(batch, context, &update->context);
    if (ok && value != NULL) {
        update->has_sibling = true;
        update->kind = kind;
        ok = copy_bytes(batch, *value, &update->value);
        update->refs = kith_arena_copy(&batch->arena, refs, ref_count * sizeof *refs);
        update->ref_count = ref_count;
        ok = ok && update->refs != NULL;
    }
    return ok ? (int)batch->count++ : -1;
}

int kith_batch_record(struct kith_batch *batch, const struct kith_inode_record *record,
                      struct kith_bytes *ret_value)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_inode_record_encode(record, &buf);
    bool ok = !buf.failed && copy_bytes(batch, kith_buf_bytes(&buf), ret_value);
    kith_buf_release(&buf);
    return ok ? 0 : ENOMEM;
}

int kith_batch_put(struct kith_fs *fs, struct kith_batch *batch, const struct kith_group *group,
                   struct kith_client_answer *ret_answer)
{
    return kith_rows_put(fs, group, KITH_DURABLE_OS, batch->updates, batch->count, ret_answer);
}

int kith_batch_note(struct kith_octets *octets, const struct kith_client_answer *answer, int at)
{
    return kith_octets_set(octets, answer->result.u.put.results[at].context) ? 0 : ENOMEM;
}

/* The update of a row that is in the batch already, or NULL: a batch has one of a row. */
static struct kith_put_update *batch_find(struct kith_batch *batch, struct kith_bytes name)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        if (kith_bytes_equal(batch->updates[i].name, name)) {
            return &batch->updates[i];
        }
    }
    return NULL;
}

/* Removes a row; where another file's attribute comes to its place (exchange.c), that replaces
 * it. */
static int remove_row(struct kith_batch *batch, struct kith_bytes name, struct kith_bytes context)
{
    struct kith_put_update *update = batch_find(batch, name);
    if (update != NULL) {
        return copy_bytes(batch, context, &update->context) ? 0 : ENOMEM;
    }
    if (kith_batch_add(batch, name, context, NULL, 0, NULL, 0) < 0) {
        return batch->count == KITH_BATCH_MAX ? E2BIG : ENOMEM;
    }
    return 0;
}

/* The extended attributes of the file `ids[0]` go, and come again beside `to`, of `ids[1]`. */
struct moving {
    struct kith_batch *from, *into;
    const uint64_t *ids;
    const struct kith_rowname *to; /* NULL: they go */
};

static int move_xattr(void *arg, const struct kith_client_row *row, struct kith_bytes attribute)
{
    const struct moving *moving = arg;
    struct kith_batch *into = moving->into;
    struct kith_bytes context;
    struct kith_row bare = {row->row.clock, 0, NULL};
    if (kith_row_context(&moving->from->arena, &bare, NULL, &context) != KITH_OK) {
        return ENOMEM;
    }
    int error = remove_row(moving->from, row->name, context);
    if (error != 0) {
        return error;
    }
    const struct kith_sibling *winner = kith_row_winner(&row->row);
    struct kith_xattr_record record;
    if (moving->to == NULL || winner == NULL ||
        kith_xattr_record_decode(winner->value, &record) != KITH_OK ||
        record.file_id != moving->ids[0]) {
        return 0;
    }
    struct kith_rowname name;
    if (kith_rowname_xattr(kith_rowname_bytes(moving->to), attribute, &name) != KITH_OK) {
        return EIO;
    }
    struct kith_bytes value;
    struct kith_buf buf;
    kith_buf_init(&buf);
    record.file_id = moving->ids[1];
    kith_xattr_record_encode(&record, &buf);
    bool ok = !buf.failed && copy_bytes(into, kith_buf_bytes(&buf), &value);
    kith_buf_release(&buf);
    if (!ok) {
        return ENOMEM;
    }
    struct kith_put_update *update = batch_find(into, kith_rowname_bytes(&name));
    if (update != NULL) { /* the replaced file had one of that name */
        update->has_sibling = true;
        update->value = value;
        return 0;
    }
    int at = kith_batch_add(into, kith_rowname_bytes(&name), kith_bytes_make(NULL, 0), &value,
                            KITH_SIBLING_VALUE, NULL, 0);
    return at >= 0 ? 0 : into->count == KITH_BATCH_MAX ? E2BIG : ENOMEM;
}

int kith_batch_attrs(struct kith_fs *fs, struct kith_batch *from, struct kith_batch *into,
                     struct kith_inode *inode, const struct kith_rowname *to)
{
    struct kith_group group;
    struct kith_rowname base, attr;
    pthread_mutex_lock(&fs->lock);
    bool placed = kith_inode_place(inode, &group, &base);
    bool attr_row = inode->attr_row;
    bool xattrs = (inode->attrs.have & KITH_ATTR_XATTRS) != 0 && inode->attrs.xattrs;
    const uint64_t ids[2] = {kith_inode_row_id(inode), inode->id};
    int at = 0;
    if (placed && attr_row) { /* an unlinked inode has no place, and no rows beside it */
        kith_rowname_attr(kith_rowname_bytes(&base), &attr);
        at = kith_batch_add(from, kith_rowname_bytes(&attr), kith_octets_bytes(&inode->attr_ctx),
                            NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&fs->lock);
    if (at < 0) {
        return ENOMEM;
    }
    struct moving moving = {from, into, ids, to};
    return placed && xattrs
               ? kith_rows_xattrs(fs, &group, kith_rowname_bytes(&base), true, move_xattr, &moving)
               : 0;
}
