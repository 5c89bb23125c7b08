/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_verify.c - recomputes what is derived from rows and chunks and compares (invariant 5).
 *
 * A partition at a time in a snapshot of its own, so that a long check pins little in the cache. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/store_conflict.h"

#define REFS_A_SNAPSHOT 1000u

struct verifier {
    struct kith_store *store;
    struct kith_store_verdict *verdict;
    struct kith_segment_cache *reads;
    bool contents;
    WT_SESSION *session;
    WT_CURSOR *rows, *leaves, *tree, *refs, *chunks, *ctree, *sums, *gone, *conflicts, *bad;
    struct kith_arena arena;                      /* reset for each row */
    uint32_t in_conflict;                         /* rows of the partition, recomputed */
    struct store_leaf *row_leaves, *chunk_leaves; /* [KITH_TREE_LEAVES], recomputed */
};

static void wrong(struct verifier *verifier, uint64_t *counter, const char *what,
                  uint32_t partition, uint32_t number)
{
    struct kith_store_verdict *verdict = verifier->verdict;
    (*counter)++;
    if (verdict->first[0] == '\0') {
        snprintf(verdict->first, sizeof verdict->first, "partition %u: %s (%u)", partition, what,
                 number);
    }
}

static bool exists(WT_CURSOR *cursor, struct kith_bytes key, int *ret)
{
    WT_ITEM item = {.data = key.data, .size = key.size};
    cursor->set_key(cursor, &item);
    *ret = cursor->search(cursor);
    bool found = *ret == 0;
    *ret = *ret == WT_NOTFOUND ? 0 : *ret;
    return found;
}

/* First entry with the prefix; WT_NOTFOUND. */
static int seek(WT_CURSOR *cursor, const uint8_t *prefix, size_t size)
{
    WT_ITEM item = {.data = prefix, .size = size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    return ret == 0 && exact < 0 ? cursor->next(cursor) : ret;
}

static int entry(WT_CURSOR *cursor, struct kith_bytes *ret_key, struct kith_bytes *ret_value)
{
    WT_ITEM key, value;
    int ret = cursor->get_key(cursor, &key);
    if (ret == 0) {
        ret = cursor->get_value(cursor, &value);
    }
    if (ret == 0) {
        *ret_key = kith_bytes_make(key.data, key.size);
        *ret_value = kith_bytes_make(value.data, value.size);
    }
    return ret;
}

static bool in_partition(struct kith_bytes key, uint32_t partition, size_t min_size)
{
    return key.size >= min_size && key.data[0] == (uint8_t)(partition >> 8) &&
           key.data[1] == (uint8_t)partition;
}

/* ---- Rows ---- */

static int check_refs(struct verifier *verifier, uint32_t partition, const struct store_refs *refs,
                      enum store_referrer kind, struct kith_bytes referrer)
{
    uint8_t buffer[KITH_REF_KEY_MAX];
    int ret = 0;
    for (uint32_t i = 0; i < refs->count && ret == 0; i++) {
        if (!exists(verifier->refs, store_ref_key(&refs->ids[i], kind, referrer, buffer), &ret)) {
            wrong(verifier, &verifier->verdict->wrong_refs, "a reference is not in the index",
                  partition, i);
        }
    }
    return ret;
}

static enum kith_err row_references(struct verifier *verifier, struct kith_bytes state,
                                    struct store_refs *ret_refs, bool *ret_gone)
{
    struct kith_row row;
    enum kith_err err = kith_row_decode(&verifier->arena, state, &row);
    *ret_gone = err == KITH_OK && kith_row_is_gone(&row);
    return err == KITH_OK ? store_refs_of_row(&verifier->arena, &row, ret_refs) : err;
}

static int check_row(struct verifier *verifier, uint32_t partition, struct kith_bytes key,
                     struct kith_bytes record)
{
    struct kith_key row_key;
    struct kith_bytes state;
    struct kith_checksum hash;
    struct store_refs refs;
    bool gone = false;
    memcpy(row_key.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    row_key.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    uint32_t number = kith_tree_leaf(&row_key);
    verifier->verdict->rows++;
    struct kith_checksum nothing = {{0}};
    if (kith_rowop_state(&row_key, record, store_secret(verifier->store), &state, &hash) !=
            KITH_OK ||
        row_references(verifier, state, &refs, &gone) != KITH_OK) {
        wrong(verifier, &verifier->verdict->corrupt_rows, "a row does not fit its hash", partition,
              number);
        return 0;
    }
    kith_sum_replace(&verifier->row_leaves[number].sum, &nothing, &hash);
    verifier->row_leaves[number].count++;
    uint8_t buffer[KITH_LEAF_KEY_MAX];
    int ret = 0;
    if (!exists(verifier->leaves,
                store_leaf_key(partition, number, &row_key.group, row_key.name, buffer), &ret)) {
        wrong(verifier, &verifier->verdict->wrong_index, "a row is not in the leaf index",
              partition, number);
    }
    if (ret == 0 && exists(verifier->gone, key, &ret) != gone) {
        wrong(verifier, &verifier->verdict->wrong_index, "a row is gone, or is not, by the index",
              partition, number);
    }
    bool conflict = false;
    if (ret == 0 && store_conflict_is(&verifier->arena, key, state, &conflict) != KITH_OK) {
        return ENOMEM;
    }
    verifier->in_conflict += conflict ? 1 : 0;
    if (ret == 0 && exists(verifier->conflicts, key, &ret) != conflict) {
        wrong(verifier, &verifier->verdict->wrong_index,
              "a row is in conflict, or is not, by the index", partition, number);
    }
    return ret == 0 ? check_refs(verifier, partition, &refs, STORE_REFERRER_ROW, key) : ret;
}

static int check_rows(struct verifier *verifier, uint32_t partition)
{
    uint8_t prefix[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    int ret = seek(verifier->rows, prefix, sizeof prefix);
    while (ret == 0) {
        struct kith_bytes key, record;
        ret = entry(verifier->rows, &key, &record);
        if (ret != 0 || !in_partition(key, partition, 2)) {
            break;
        }
        bool row = key.size >= 2 + KITH_GROUP_SIZE; /* else: floors (store_reap.c) */
        ret = row ? check_row(verifier, partition, key, record) : 0;
        kith_arena_reset(&verifier->arena);
        ret = ret == 0 ? verifier->rows->next(verifier->rows) : ret;
    }
    return ret == WT_NOTFOUND ? 0 : ret;
}

/* The other direction: as many entries in the index as rows in each leaf. */
static int check_index(struct verifier *verifier, uint32_t partition)
{
    uint8_t prefix[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    uint32_t *counts = kith_calloc(KITH_TREE_LEAVES, sizeof *counts);
    if (counts == NULL) {
        return ENOMEM;
    }
    int ret = seek(verifier->leaves, prefix, sizeof prefix);
    while (ret == 0) {
        struct kith_bytes key, value;
        ret = entry(verifier->leaves, &key, &value);
        if (ret != 0 || !in_partition(key, partition, 3 + KITH_GROUP_SIZE)) {
            break;
        }
        counts[key.data[2]]++;
        ret = verifier->leaves->next(verifier->leaves);
    }
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        if (counts[i] != verifier->row_leaves[i].count) {
            wrong(verifier, &verifier->verdict->wrong_index, "the leaf index has other rows",
                  partition, i);
        }
    }
    kith_free(counts);
    return ret == WT_NOTFOUND ? 0 : ret;
}

/* The same of the rows in conflict. */
static int check_conflicts(struct verifier *verifier, uint32_t partition)
{
    uint8_t prefix[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    uint32_t count = 0;
    int ret = seek(verifier->conflicts, prefix, sizeof prefix);
    while (ret == 0) {
        struct kith_bytes key, value;
        ret = entry(verifier->conflicts, &key, &value);
        if (ret != 0 || !in_partition(key, partition, 2 + KITH_GROUP_SIZE)) {
            break;
        }
        count++;
        ret = verifier->conflicts->next(verifier->conflicts);
    }
    if (count != verifier->in_conflict) {
        wrong(verifier, &verifier->verdict->wrong_index, "the index has other rows in conflict",
              partition, count);
    }
    return ret == WT_NOTFOUND ? 0 : ret;
}

/* ---- Chunks ---- */

static int check_chunk(struct verifier *verifier, uint32_t partition, struct kith_bytes key,
                       struct kith_bytes record)
{
    struct store_chunk chunk;
    struct store_refs refs;
    struct kith_chunk_id id = store_chunk_id(key);
    uint32_t number = kith_tree_chunk_leaf(&id);
    verifier->verdict->chunks++;
    if (store_chunk_decode(record, &chunk) != KITH_OK) {
        wrong(verifier, &verifier->verdict->corrupt_chunks, "a chunk's record is damaged",
              partition, number);
        return 0;
    }
    struct kith_checksum nothing = {{0}};
    struct kith_checksum hash = store_chunk_hash(verifier->store, &id, &chunk.checksum);
    kith_sum_replace(&verifier->chunk_leaves[number].sum, &nothing, &hash);
    verifier->chunk_leaves[number].count++;
    verifier->chunk_leaves[number].bytes += chunk.size;
    uint8_t *bytes = verifier->contents ? kith_arena_alloc(&verifier->arena, chunk.size) : NULL;
    if (bytes != NULL) {
        enum kith_err err =
            store_chunk_read(verifier->store, verifier->reads, &chunk, 0, chunk.size, bytes);
        struct kith_checksum found = kith_checksum_of(kith_bytes_make(bytes, chunk.size));
        if (err != KITH_OK || !kith_checksum_equal(&found, &chunk.checksum)) {
            wrong(verifier, &verifier->verdict->corrupt_chunks, "a chunk does not fit its checksum",
                  partition, number);
        }
    }
    if (store_refs_of_ids(&verifier->arena, (const struct kith_chunk_id *)(const void *)chunk.refs,
                          chunk.ref_count, &refs) != KITH_OK) {
        return ENOMEM;
    }
    return check_refs(verifier, partition, &refs, STORE_REFERRER_CHUNK, key);
}

static int check_chunks(struct verifier *verifier, uint32_t partition)
{
    uint8_t prefix[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    int ret = seek(verifier->chunks, prefix, sizeof prefix);
    while (ret == 0) {
        struct kith_bytes key, record;
        ret = entry(verifier->chunks, &key, &record);
        if (ret != 0 || !in_partition(key, partition, KITH_CHUNK_KEY_SIZE)) {
            break;
        }
        ret = check_chunk(verifier, partition, key, record);
        kith_arena_reset(&verifier->arena);
        ret = ret == 0 ? verifier->chunks->next(verifier->chunks) : ret;
    }
    return ret == WT_NOTFOUND ? 0 : ret;
}

/* ---- Sums ---- */

/* What the journal says of this partition after its record in the table was written. */
static int read_journal(struct verifier *verifier, uint32_t partition, uint8_t kind, uint64_t as_of,
                        struct store_leaf *leaves)
{
    uint64_t seen[KITH_TREE_LEAVES] = {0};
    int ret = seek(verifier->sums, &kind, 1);
    while (ret == 0) {
        struct kith_bytes key, record;
        ret = entry(verifier->sums, &key, &record);
        if (ret != 0 || key.size == 0 || key.data[0] != kind) {
            break;
        }
        uint64_t sequence = 0;
        struct store_sums_entry change;
        bool counts = store_sums_sequence(record, &sequence) && sequence > as_of;
        for (size_t at = 0; counts && store_sums_next(record, &at, &change);) {
            if (change.partition == partition && sequence >= seen[change.number]) {
                seen[change.number] = sequence;
                leaves[change.number] = change.leaf;
            }
        }
        ret = verifier->sums->next(verifier->sums);
    }
    return ret == WT_NOTFOUND ? 0 : ret;
}

static int check_sums(struct verifier *verifier, uint32_t partition, WT_CURSOR *cursor,
                      uint8_t kind, const struct store_leaf *leaves)
{
    uint8_t bytes[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    struct store_leaf *stored = kith_calloc(KITH_TREE_LEAVES, sizeof *stored);
    if (stored == NULL) {
        return ENOMEM;
    }
    struct kith_bytes key, value;
    uint64_t as_of = 0;
    int ret = 0;
    if (exists(cursor, kith_bytes_make(bytes, sizeof bytes), &ret)) {
        ret = entry(cursor, &key, &value);
        if (ret == 0 && !store_sums_table_decode(value, stored, &as_of)) {
            wrong(verifier, &verifier->verdict->wrong_leaves, "its sums are damaged", partition, 0);
        }
    }
    if (ret == 0) {
        ret = read_journal(verifier, partition, kind, as_of, stored);
    }
    for (uint32_t i = 0; ret == 0 && i < KITH_TREE_LEAVES; i++) {
        if (!kith_sum_equal(&stored[i].sum, &leaves[i].sum) || stored[i].count != leaves[i].count ||
            stored[i].bytes != leaves[i].bytes) {
            wrong(verifier, &verifier->verdict->wrong_leaves, "a leaf has another sum", partition,
                  i);
        }
    }
    kith_free(stored);
    return ret;
}

static int check_partition(struct verifier *verifier, uint32_t partition)
{
    memset(verifier->row_leaves, 0, KITH_TREE_LEAVES * sizeof(struct store_leaf));
    memset(verifier->chunk_leaves, 0, KITH_TREE_LEAVES * sizeof(struct store_leaf));
    verifier->in_conflict = 0;
    int ret = verifier->session->begin_transaction(verifier->session, NULL);
    if (ret != 0) {
        return ret;
    }
    ret = check_rows(verifier, partition);
    ret = ret == 0 ? check_index(verifier, partition) : ret;
    ret = ret == 0 ? check_conflicts(verifier, partition) : ret;
    ret = ret == 0 ? check_chunks(verifier, partition) : ret;
    ret = ret == 0 ? check_sums(verifier, partition, verifier->tree, store_sums_kind(false),
                                verifier->row_leaves)
                   : ret;
    ret = ret == 0 ? check_sums(verifier, partition, verifier->ctree, store_sums_kind(true),
                                verifier->chunk_leaves)
                   : ret;
    int end = verifier->session->rollback_transaction(verifier->session, NULL);
    return ret == 0 ? end : ret;
}

/* ---- References without a referrer ---- */

/* The row that is set aside keeps its references (store_damage.c). */
static bool set_aside(struct verifier *verifier, struct kith_bytes row, int *ret)
{
    uint8_t buffer[1 + KITH_ROW_KEY_MAX] = {'r'};
    memcpy(buffer + 1, row.data, row.size);
    return exists(verifier->bad, kith_bytes_make(buffer, 1 + row.size), ret);
}

static int check_referrer(struct verifier *verifier, struct kith_bytes ref)
{
    if (ref.size < KITH_CHUNK_ID_SIZE + 1 + 2) {
        wrong(verifier, &verifier->verdict->wrong_refs, "a malformed reference", 0, 0);
        return 0;
    }
    uint8_t kind = ref.data[KITH_CHUNK_ID_SIZE];
    struct kith_bytes key =
        kith_bytes_make(ref.data + KITH_CHUNK_ID_SIZE + 1, ref.size - KITH_CHUNK_ID_SIZE - 1);
    if (kind == STORE_REFERRER_HINT) {
        return 0; /* of what is kept for others: too many are only kept longer */
    }
    WT_CURSOR *cursor = kind == STORE_REFERRER_ROW ? verifier->rows : verifier->chunks;
    uint32_t partition = (uint32_t)key.data[0] << 8 | key.data[1];
    struct kith_bytes found_key, record;
    struct store_refs refs = {0, NULL};
    bool gone = false;
    int ret = 0;
    bool named = false;
    if (exists(cursor, key, &ret)) {
        ret = entry(cursor, &found_key, &record);
        if (ret == 0 && kind == STORE_REFERRER_ROW) {
            struct kith_bytes state;
            struct kith_checksum hash;
            struct kith_key row_key;
            memcpy(row_key.group.bytes, key.data + 2, KITH_GROUP_SIZE);
            row_key.name =
                kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
            named = kith_rowop_state(&row_key, record, store_secret(verifier->store), &state,
                                     &hash) == KITH_OK &&
                    row_references(verifier, state, &refs, &gone) == KITH_OK;
        } else if (ret == 0) {
            struct store_chunk chunk;
            named = store_chunk_decode(record, &chunk) == KITH_OK &&
                    store_refs_of_ids(&verifier->arena,
                                      (const struct kith_chunk_id *)(const void *)chunk.refs,
                                      chunk.ref_count, &refs) == KITH_OK;
        }
        bool listed = false;
        for (uint32_t i = 0; named && i < refs.count && !listed; i++) {
            listed = memcmp(refs.ids[i].bytes, ref.data, KITH_CHUNK_ID_SIZE) == 0;
        }
        named = listed;
    }
    if (ret == 0 && !named &&
        !(kind == STORE_REFERRER_ROW && set_aside(verifier, key, &ret))) {
        wrong(verifier, &verifier->verdict->wrong_refs, "a reference without a referrer", partition,
              kind);
    }
    kith_arena_reset(&verifier->arena);
    return ret;
}

/* Up to REFS_A_SNAPSHOT entries from `from` on; *from is the next one, empty at the end. */
static int check_some_refs(struct verifier *verifier, struct kith_buf *from)
{
    int ret = verifier->session->begin_transaction(verifier->session, NULL);
    if (ret != 0) {
        return ret;
    }
    ret = seek(verifier->refs, from->data, from->size);
    uint8_t key[KITH_REF_KEY_MAX];
    for (uint32_t i = 0; ret == 0; i++) {
        struct kith_bytes ref, value;
        ret = entry(verifier->refs, &ref, &value);
        if (ret != 0 || i == REFS_A_SNAPSHOT || ref.size > sizeof key) {
            kith_buf_clear(from);
            kith_buf_put(from, ref.data, ret == 0 ? ref.size : 0);
            break;
        }
        memcpy(key, ref.data, ref.size);
        ret = check_referrer(verifier, kith_bytes_make(key, ref.size));
        ret = ret == 0 ? verifier->refs->next(verifier->refs) : ret;
    }
    if (ret == WT_NOTFOUND) {
        kith_buf_clear(from);
        ret = 0;
    }
    int end = verifier->session->rollback_transaction(verifier->session, NULL);
    return ret == 0 ? end : ret;
}

static int check_referrers(struct verifier *verifier)
{
    struct kith_buf from;
    kith_buf_init(&from);
    kith_buf_put_u8(&from, 0);
    int ret = from.failed ? ENOMEM : 0;
    while (ret == 0 && from.size > 0) {
        ret = check_some_refs(verifier, &from);
    }
    kith_buf_release(&from);
    return ret;
}

/* ---- All ---- */

static int verifier_open(struct verifier *verifier)
{
    int ret = store_session(verifier->store, &verifier->session);
    struct {
        const char *table;
        WT_CURSOR **cursor;
    } tables[] = {{"rows", &verifier->rows},     {"leaves", &verifier->leaves},
                  {"tree", &verifier->tree},     {"refs", &verifier->refs},
                  {"chunks", &verifier->chunks}, {"ctree", &verifier->ctree},
                  {"sums", &verifier->sums},     {"gone", &verifier->gone},
                  {"bad", &verifier->bad},       {"conflicts", &verifier->conflicts}};
    for (size_t i = 0; ret == 0 && i < sizeof tables / sizeof tables[0]; i++) {
        ret = store_cursor(verifier->session, tables[i].table, tables[i].cursor);
    }
    return ret;
}

enum kith_err kith_store_verify(struct kith_store *store, bool contents,
                                struct kith_store_verdict *ret_verdict, struct kith_error *error)
{
    struct kith_store_verdict verdict;
    memset(&verdict, 0, sizeof verdict);
    if (!atomic_load(&store->configured)) {
        return kith_error_set(error, KITH_ENOTREADY, "%s: this node is in no cluster yet",
                              store->path);
    }
    struct verifier verifier = {.store = store, .verdict = &verdict, .contents = contents};
    verifier.reads = kith_calloc(1, sizeof *verifier.reads);
    verifier.row_leaves = kith_calloc(KITH_TREE_LEAVES, sizeof *verifier.row_leaves);
    verifier.chunk_leaves = kith_calloc(KITH_TREE_LEAVES, sizeof *verifier.chunk_leaves);
    int ret = verifier.reads == NULL || verifier.row_leaves == NULL || verifier.chunk_leaves == NULL
                  ? ENOMEM
                  : verifier_open(&verifier);
    for (uint32_t i = 0; ret == 0 && i < store->partitions; i++) {
        ret = check_partition(&verifier, i);
    }
    if (ret == 0) {
        ret = check_referrers(&verifier);
    }
    if (verifier.session != NULL) {
        verifier.session->close(verifier.session, NULL);
    }
    if (verifier.reads != NULL) {
        segment_cache_release(verifier.reads);
    }
    kith_arena_release(&verifier.arena);
    kith_free(verifier.reads);
    kith_free(verifier.row_leaves);
    kith_free(verifier.chunk_leaves);
    if (ret != 0) {
        return kith_error_set(error, store_err(ret), "%s: %s", store->wt_path,
                              wiredtiger_strerror(ret));
    }
    *ret_verdict = verdict;
    return KITH_OK;
}
