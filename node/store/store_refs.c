/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_refs.c - the index of references: which rows and chunks name a chunk. */
#include <stdlib.h>
#include <string.h>

#include "store/store_int.h"

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, KITH_CHUNK_ID_SIZE);
}

/* Sorts only what is not sorted yet: a file's chunks mostly come in the order of their making. */
static void sort_distinct(struct store_refs *refs)
{
    bool ascending = true;
    for (uint32_t i = 1; i < refs->count && ascending; i++) {
        ascending = compare_ids(&refs->ids[i - 1], &refs->ids[i]) < 0;
    }
    if (ascending) {
        return;
    }
    qsort(refs->ids, refs->count, sizeof *refs->ids, compare_ids);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < refs->count; i++) {
        if (compare_ids(&refs->ids[kept - 1], &refs->ids[i]) != 0) {
            refs->ids[kept++] = refs->ids[i];
        }
    }
    refs->count = kept;
}

enum kith_err store_refs_of_ids(struct kith_arena *arena, const struct kith_chunk_id *ids,
                                uint32_t count, struct store_refs *ret_refs)
{
    ret_refs->count = count;
    ret_refs->ids = kith_arena_copy(arena, ids, count * sizeof *ids);
    if (ret_refs->ids == NULL) {
        return KITH_ENOMEM;
    }
    sort_distinct(ret_refs);
    return KITH_OK;
}

enum kith_err store_refs_of_row(struct kith_arena *arena, const struct kith_row *row,
                                struct store_refs *ret_refs)
{
    size_t count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        count += row->siblings[i].ref_count;
    }
    ret_refs->ids = kith_arena_alloc(arena, count * sizeof *ret_refs->ids);
    if (ret_refs->ids == NULL) {
        return KITH_ENOMEM;
    }
    ret_refs->count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        if (sibling->ref_count > 0) {
            memcpy(ret_refs->ids + ret_refs->count, sibling->refs,
                   sibling->ref_count * sizeof *sibling->refs);
            ret_refs->count += sibling->ref_count;
        }
    }
    sort_distinct(ret_refs);
    return KITH_OK;
}

enum kith_err store_refs_of_record(struct store_worker *worker, struct kith_arena *arena,
                                   struct kith_bytes key, struct kith_bytes record,
                                   struct store_refs *ret_refs)
{
    struct kith_bytes state;
    struct kith_checksum hash;
    struct kith_row row;
    struct kith_key name;
    memcpy(name.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    name.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    enum kith_err err =
        kith_rowop_state(&name, record, store_secret(worker->store), &state, &hash);
    if (err == KITH_OK) {
        err = kith_row_decode(arena, state, &row);
    }
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_ECORRUPT;
    }
    return store_refs_of_row(arena, &row, ret_refs);
}

struct kith_bytes store_ref_key(const struct kith_chunk_id *id, enum store_referrer kind,
                                struct kith_bytes referrer, uint8_t buffer[KITH_REF_KEY_MAX])
{
    memcpy(buffer, id->bytes, KITH_CHUNK_ID_SIZE);
    buffer[KITH_CHUNK_ID_SIZE] = (uint8_t)kind;
    memcpy(buffer + KITH_CHUNK_ID_SIZE + 1, referrer.data, referrer.size);
    return kith_bytes_make(buffer, KITH_CHUNK_ID_SIZE + 1 + referrer.size);
}

enum kith_err store_refs_change(struct store_worker *worker, const struct store_refs *before,
                                const struct store_refs *after, enum store_referrer kind,
                                struct kith_bytes referrer)
{
    uint8_t buffer[KITH_REF_KEY_MAX];
    uint32_t i = 0;
    uint32_t j = 0;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && (i < before->count || j < after->count)) {
        int order = i == before->count  ? 1
                    : j == after->count ? -1
                                        : compare_ids(&before->ids[i], &after->ids[j]);
        if (order < 0) {
            err = store_remove(worker, worker->refs,
                               store_ref_key(&before->ids[i], kind, referrer, buffer));
        } else if (order > 0) {
            err = store_write(worker, worker->refs,
                              store_ref_key(&after->ids[j], kind, referrer, buffer),
                              kith_bytes_make("", 0));
        }
        i += order <= 0 ? 1 : 0;
        j += order >= 0 ? 1 : 0;
    }
    return err;
}
