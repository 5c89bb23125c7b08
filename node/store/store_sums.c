/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_sums.c - the sums of the trees' leaves on disk.
 *
 * A put changes one leaf of 256 in one partition of many: written one by one to where they belong,
 * the sums cost as much as the rows (a search among a quarter of a million small entries each). So
 * a transaction writes all that it changed as ONE record of a journal, and each partition's leaves
 * are written as ONE record of `tree` or `ctree` from time to time.
 *
 *     sums        'r' or 'c', u8 worker, u32be slot
 *                 u64 sequence, and for each leaf: u16be partition, u8 number, leaf
 *     tree, ctree u16be partition
 *                 u64 as of which sequence, and for each leaf that is not empty: u8 number, leaf
 *     a leaf      u64 low, u64 high of the sum, u32 number of entries, u64 bytes of contents
 *
 * (integers little-endian but where noted). A leaf stands whole in each, not as a difference. What
 * holds in every snapshot, and so after every recovery:
 *
 *     A leaf is what the record with the highest sequence in `sums` says that names it and whose
 *     sequence is above the partition's "as of"; if there is none, what `tree` says.
 *
 * The journal is a ring: each worker has slots of its own and writes them in turn. A record may
 * be overwritten once every partition it names has been written to the table after it. A pass sees
 * to that: it begins when half of the ring was used since the last one began, and with each
 * transaction it writes some partitions, so many that it ends before a quarter is used (FOLD). All
 * is in the transaction that needs it: nothing happens in the background, nobody waits.
 *
 * Sequences are the store's and only grow, over restarts too; a partition belongs to one worker at
 * a time. At open the journal is read, and what it names is written to the table: then all of it
 * may be overwritten, by whatever workers there are now. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "store/store_int.h"

#define LEAF_SIZE       28u
#define TREE_HEAD       8u
#define TREE_ENTRY      (1u + LEAF_SIZE)
#define TREE_VALUE_MAX  (TREE_HEAD + KITH_TREE_LEAVES * TREE_ENTRY)
#define SUMS_KEY_SIZE   6u
#define SUMS_HEAD       8u
#define SUMS_ENTRY      (3u + LEAF_SIZE)
#define SETTLE_A_COMMIT 64u /* partitions: half a megabyte */

/* ---- Bytes ---- */

static void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static void put_leaf(uint8_t *at, const struct store_leaf *leaf)
{
    put_u64(at, leaf->sum.low);
    put_u64(at + 8, leaf->sum.high);
    for (int i = 0; i < 4; i++) {
        at[16 + i] = (uint8_t)(leaf->count >> (8 * i));
    }
    put_u64(at + 20, leaf->bytes);
}

static void get_leaf(const uint8_t *at, struct store_leaf *ret_leaf)
{
    ret_leaf->sum.low = get_u64(at);
    ret_leaf->sum.high = get_u64(at + 8);
    ret_leaf->count =
        (uint32_t)at[16] | (uint32_t)at[17] << 8 | (uint32_t)at[18] << 16 | (uint32_t)at[19] << 24;
    ret_leaf->bytes = get_u64(at + 20);
    ret_leaf->serial = 0;
}

static bool leaf_empty(const struct store_leaf *leaf)
{
    return leaf->sum.low == 0 && leaf->sum.high == 0 && leaf->count == 0 && leaf->bytes == 0;
}

bool store_sums_table_decode(struct kith_bytes value, struct store_leaf leaves[KITH_TREE_LEAVES],
                             uint64_t *ret_as_of)
{
    if (value.size < TREE_HEAD || (value.size - TREE_HEAD) % TREE_ENTRY != 0) {
        return false;
    }
    *ret_as_of = get_u64(value.data);
    int last = -1;
    for (size_t at = TREE_HEAD; at < value.size; at += TREE_ENTRY) {
        if (value.data[at] <= last) {
            return false;
        }
        last = value.data[at];
        get_leaf(value.data + at + 1, &leaves[last]);
    }
    return true;
}

bool store_sums_next(struct kith_bytes record, size_t *at, struct store_sums_entry *ret_entry)
{
    if (*at == 0) {
        *at = SUMS_HEAD;
    }
    if (*at + SUMS_ENTRY > record.size) {
        return false;
    }
    const uint8_t *entry = record.data + *at;
    ret_entry->partition = (uint32_t)entry[0] << 8 | entry[1];
    ret_entry->number = entry[2];
    get_leaf(entry + 3, &ret_entry->leaf);
    *at += SUMS_ENTRY;
    return true;
}

bool store_sums_sequence(struct kith_bytes record, uint64_t *ret_sequence)
{
    if (record.size < SUMS_HEAD || (record.size - SUMS_HEAD) % SUMS_ENTRY != 0) {
        return false;
    }
    *ret_sequence = get_u64(record.data);
    return true;
}

uint8_t store_sums_kind(bool bulk)
{
    return bulk ? 'c' : 'r';
}

/* ---- Loading ---- */

struct loader {
    struct kith_store *store;
    struct store_tree *tree;
    uint64_t *as_of;       /* [KITH_PARTITIONS_MAX] */
    struct kith_buf bytes; /* the journal's records, one after the other */
    struct loaded {
        uint64_t sequence;
        size_t at, size;
    } * records;
    size_t count, capacity;
    uint64_t last; /* the highest sequence seen */
};

static int current(WT_CURSOR *cursor, struct kith_bytes *ret_key, struct kith_bytes *ret_value)
{
    WT_ITEM key, value;
    int ret = cursor->get_key(cursor, &key);
    ret = ret == 0 ? cursor->get_value(cursor, &value) : ret;
    if (ret == 0) {
        *ret_key = kith_bytes_make(key.data, key.size);
        *ret_value = kith_bytes_make(value.data, value.size);
    }
    return ret;
}

static enum kith_err load_partition(struct loader *loader, struct kith_bytes key,
                                    struct kith_bytes value)
{
    uint32_t partition = key.size == 2 ? (uint32_t)key.data[0] << 8 | key.data[1] : UINT32_MAX;
    if (partition >= KITH_PARTITIONS_MAX) {
        return KITH_ECORRUPT;
    }
    struct store_leaf *leaves = store_tree_leaf(loader->tree, partition, 0);
    if (leaves == NULL) {
        return KITH_ENOMEM;
    }
    if (!store_sums_table_decode(value, leaves, &loader->as_of[partition])) {
        return KITH_ECORRUPT;
    }
    if (loader->as_of[partition] > loader->last) {
        loader->last = loader->as_of[partition];
    }
    return KITH_OK;
}

/* Whether the tables say all that the record says, or later. */
static bool is_past(const struct loader *loader, struct kith_bytes value, uint64_t sequence)
{
    struct store_sums_entry entry;
    for (size_t at = 0; store_sums_next(value, &at, &entry);) {
        if (entry.partition >= KITH_PARTITIONS_MAX || sequence > loader->as_of[entry.partition]) {
            return false;
        }
    }
    return true;
}

/* The tables have been read. */
static enum kith_err load_record(struct loader *loader, struct kith_bytes value)
{
    struct loaded record = {.at = loader->bytes.size, .size = value.size};
    if (!store_sums_sequence(value, &record.sequence)) {
        return KITH_ECORRUPT;
    }
    loader->last = record.sequence > loader->last ? record.sequence : loader->last;
    if (is_past(loader, value, record.sequence)) {
        return KITH_OK;
    }
    if (loader->count == loader->capacity) {
        size_t capacity = loader->capacity == 0 ? 256 : 2 * loader->capacity;
        struct loaded *records = kith_realloc(loader->records, capacity * sizeof *records);
        if (records == NULL) {
            return KITH_ENOMEM;
        }
        loader->records = records;
        loader->capacity = capacity;
    }
    kith_buf_put(&loader->bytes, value.data, value.size);
    loader->records[loader->count++] = record;
    return loader->bytes.failed ? KITH_ENOMEM : KITH_OK;
}

static int by_sequence(const void *a, const void *b)
{
    uint64_t left = ((const struct loaded *)a)->sequence;
    uint64_t right = ((const struct loaded *)b)->sequence;
    return left < right ? -1 : left > right;
}

static enum kith_err apply_journal(struct loader *loader)
{
    if (loader->count > 1) {
        qsort(loader->records, loader->count, sizeof *loader->records, by_sequence);
    }
    for (size_t i = 0; i < loader->count; i++) {
        const struct loaded *record = &loader->records[i];
        struct kith_bytes value = kith_bytes_make(loader->bytes.data + record->at, record->size);
        struct store_sums_entry entry;
        for (size_t at = 0; store_sums_next(value, &at, &entry);) {
            if (entry.partition >= KITH_PARTITIONS_MAX) {
                return KITH_ECORRUPT;
            }
            if (record->sequence <= loader->as_of[entry.partition]) {
                continue;
            }
            struct store_leaf *leaf = store_tree_leaf(loader->tree, entry.partition, entry.number);
            if (leaf == NULL) {
                return KITH_ENOMEM;
            }
            *leaf = entry.leaf;
            loader->tree->dirty[entry.partition] = true;
        }
    }
    return KITH_OK;
}

static enum kith_err load_tables(struct loader *loader, WT_SESSION *session, const char *table,
                                 uint8_t kind)
{
    WT_CURSOR *cursor = NULL;
    struct kith_bytes key, value;
    enum kith_err err = KITH_OK;
    int ret = store_cursor(session, table, &cursor);
    while (err == KITH_OK && ret == 0 && (ret = cursor->next(cursor)) == 0 &&
           (ret = current(cursor, &key, &value)) == 0) {
        err = store_derived_is_mark(key) ? KITH_OK : load_partition(loader, key, value);
    }
    if (err != KITH_OK || ret != WT_NOTFOUND) {
        return err != KITH_OK ? err : store_err(ret);
    }
    ret = store_cursor(session, "sums", &cursor);
    while (err == KITH_OK && ret == 0 && (ret = cursor->next(cursor)) == 0 &&
           (ret = current(cursor, &key, &value)) == 0) {
        if (key.size != SUMS_KEY_SIZE && !store_derived_is_mark(key)) {
            err = KITH_ECORRUPT;
        } else if (key.data[0] == kind) {
            err = load_record(loader, value);
        }
    }
    return err != KITH_OK ? err : ret == WT_NOTFOUND ? KITH_OK : store_err(ret);
}

enum kith_err store_sums_load(struct kith_store *store, bool bulk, struct kith_error *error)
{
    const char *table = bulk ? "ctree" : "tree";
    struct loader loader = {.store = store, .tree = bulk ? &store->chunk_tree : &store->row_tree};
    kith_buf_init(&loader.bytes);
    loader.as_of = kith_calloc(KITH_PARTITIONS_MAX, sizeof *loader.as_of);
    enum kith_err err = store_tree_init(loader.tree);
    err = err == KITH_OK && loader.as_of == NULL ? KITH_ENOMEM : err;
    WT_SESSION *session = NULL;
    if (err == KITH_OK) {
        err = store_err(store_session(store, &session));
    }
    if (err == KITH_OK) {
        err = load_tables(&loader, session, table, store_sums_kind(bulk));
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    if (err == KITH_OK) {
        err = apply_journal(&loader);
    }
    if (err == KITH_OK && loader.last > atomic_load(&store->sums_sequence)) {
        atomic_store(&store->sums_sequence, loader.last);
    }
    kith_buf_release(&loader.bytes);
    kith_free(loader.records);
    kith_free(loader.as_of);
    if (err != KITH_OK) {
        err = err == KITH_EIO ? KITH_ECORRUPT : err;
        return kith_error_set(error, err, "%s/%s.wt or sums.wt: cannot be read: %s", store->wt_path,
                              table, kith_err_text((int)err));
    }
    return KITH_OK;
}

/* ---- Writing ---- */

/* All leaves of the partition, as of the sequence. */
static enum kith_err write_partition(struct store_worker *worker, uint32_t partition,
                                     uint64_t sequence)
{
    const struct store_leaf *leaves = worker->sums->partitions[partition];
    uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    uint8_t value[TREE_VALUE_MAX];
    size_t size = TREE_HEAD;
    put_u64(value, sequence);
    for (uint32_t i = 0; leaves != NULL && i < KITH_TREE_LEAVES; i++) {
        if (!leaf_empty(&leaves[i])) {
            value[size] = (uint8_t)i;
            put_leaf(value + size + 1, &leaves[i]);
            size += TREE_ENTRY;
        }
    }
    return store_write(worker, worker->tree, kith_bytes_make(key, sizeof key),
                       kith_bytes_make(value, size));
}

static enum kith_err write_record(struct store_worker *worker, uint64_t sequence)
{
    struct store_journal *journal = &worker->journal;
    uint32_t slot = (uint32_t)(journal->written % worker->store->options.journal_slots);
    uint8_t key[SUMS_KEY_SIZE] = {store_sums_kind(worker->bulk), (uint8_t)worker->index,
                                  (uint8_t)(slot >> 24),         (uint8_t)(slot >> 16),
                                  (uint8_t)(slot >> 8),          (uint8_t)slot};
    size_t size = SUMS_HEAD + worker->touched_count * SUMS_ENTRY;
    kith_buf_clear(&journal->record);
    if (!kith_buf_reserve(&journal->record, size)) {
        return KITH_ENOMEM;
    }
    uint8_t *at = journal->record.data;
    put_u64(at, sequence);
    at += SUMS_HEAD;
    for (uint32_t i = 0; i < worker->touched_count; i++, at += SUMS_ENTRY) {
        const struct store_touched *entry = &worker->touched[i];
        at[0] = (uint8_t)(entry->partition >> 8);
        at[1] = (uint8_t)entry->partition;
        at[2] = entry->number;
        put_leaf(at + 3, entry->leaf);
    }
    return store_write(worker, worker->journal_cursor, kith_bytes_make(key, sizeof key),
                       kith_bytes_make(journal->record.data, size));
}

/* The partitions of a worker: every `stride`-th from `first` on. At open one does the work for all.
 */
static void own_partitions(const struct store_worker *worker, uint32_t *ret_first,
                           uint32_t *ret_stride)
{
    const struct kith_store *store = worker->store;
    bool alone = !atomic_load_explicit(&store->opened, memory_order_relaxed);
    *ret_first = alone ? 0 : worker->bulk ? worker->index - store->worker_count : worker->index;
    *ret_stride = alone ? 1 : worker->bulk ? store->bulk_count : store->worker_count;
}

/* Goes on with the pass that makes old records superfluous, or begins one. */
static enum kith_err fold(struct store_worker *worker, uint64_t sequence)
{
    struct store_journal *journal = &worker->journal;
    uint32_t slots = worker->store->options.journal_slots;
    uint32_t first, stride;
    own_partitions(worker, &first, &stride);
    journal->after = journal->pass;
    journal->folded_count = 0;
    if (!journal->pass.on && journal->written - journal->pass.began >= slots / 2) {
        journal->after.on = true;
        journal->after.next = first;
        journal->after.began = journal->written; /* it covers those before this one */
    }
    uint32_t end = worker->store->partitions; /* known before the first row or chunk was */
    uint32_t share = 1 + (end / stride + 1) / (slots / 4);
    KITH_ASSERT(share <= STORE_FOLD_MAX);
    for (uint32_t i = 0; journal->after.on && i < share; i++) {
        uint32_t partition = journal->after.next;
        if (partition >= end) {
            journal->after.on = false;
            journal->after.covered = journal->after.began;
            break;
        }
        journal->after.next += stride;
        if (worker->sums->dirty[partition]) {
            enum kith_err err = write_partition(worker, partition, sequence);
            if (err != KITH_OK) {
                return err;
            }
            journal->folded[journal->folded_count++] = (uint16_t)partition;
        }
    }
    return KITH_OK;
}

enum kith_err store_sums_write(struct store_worker *worker)
{
    struct store_journal *journal = &worker->journal;
    journal->wrote = false;
    if (worker->touched_count == 0) {
        return KITH_OK;
    }
    KITH_ASSERT(journal->written < journal->pass.covered + worker->store->options.journal_slots);
    uint64_t sequence = atomic_fetch_add(&worker->store->sums_sequence, 1) + 1;
    enum kith_err err = write_record(worker, sequence);
    if (err == KITH_OK) {
        err = fold(worker, sequence);
    }
    journal->wrote = err == KITH_OK;
    return err;
}

void store_sums_commit(struct store_worker *worker)
{
    struct store_journal *journal = &worker->journal;
    if (!journal->wrote) {
        return;
    }
    journal->wrote = false;
    journal->written++;
    journal->pass = journal->after;
    for (uint32_t i = 0; i < journal->folded_count; i++) {
        worker->sums->dirty[journal->folded[i]] = false;
    }
}

enum kith_err store_sums_settle(struct store_worker *worker)
{
    struct store_tree *tree = worker->sums;
    uint64_t sequence = atomic_load(&worker->store->sums_sequence);
    uint32_t begun = 0;
    for (uint32_t partition = 0; partition < KITH_PARTITIONS_MAX;) {
        enum kith_err err = store_begin(worker);
        for (uint32_t i = 0;
             err == KITH_OK && partition < KITH_PARTITIONS_MAX && i < SETTLE_A_COMMIT;
             partition++) {
            if (tree->dirty[partition]) {
                err = write_partition(worker, partition, sequence);
                i++;
            }
        }
        if (err != KITH_OK) {
            store_rollback(worker);
            return err;
        }
        err = store_commit(worker);
        if (err != KITH_OK) {
            return err;
        }
        memset(tree->dirty + begun, 0, (partition - begun) * sizeof *tree->dirty);
        begun = partition;
    }
    /* what this worker wrote so far, it may overwrite */
    worker->journal.pass.on = false;
    worker->journal.pass.began = worker->journal.written;
    worker->journal.pass.covered = worker->journal.written;
    return KITH_OK;
}
