/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_derived.c - the tables that only say again what rows and chunks say: the trees' sums (tree,
 * ctree, and their journal sums), the index of leaves (leaves), that of rows that are gone (gone) and that
 * of files in conflict (conflicts).
 *
 * They are disposable. Each has, beside what it is for, a record under MARK that says it is whole:
 * one that is missing, cannot be read, or says what it cannot, makes all of them be made anew at the
 * start, from rows and chunks; the marks come last, so that a start that was cut off is done again.
 * That costs one pass over the records, some 5 us each (no contents are read). The references
 * (refs) are made anew in the same pass, where something of what refers was set aside
 * (store_aside.c).
 *
 * WiredTiger gives up where it meets a damaged page, and does so again at every start that reads
 * it. So when that is one of these tables, a note (DIR/rebuild) tells the next start to make them
 * anew once its log is recovered; and where WiredTiger does not even open, it opens once more
 * without their files. That helps after an end in order only: recovering a log needs all files that
 * it names, and then a person has to decide. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_conflict.h"

#define MARK          0xf0u /* a key of one byte: all others are longer */
#define ROWS_A_COMMIT 1000u
#define PATH_SIZE     4096u

/* As in store_tables and their files; "ctree.wt" has "tree.wt" in it. */
static const char *const derived[] = {"leaves", "tree", "ctree", "sums", "gone", "conflicts"};
enum { DERIVED = sizeof derived / sizeof derived[0] };

bool store_derived_is_mark(struct kith_bytes key)
{
    return key.size == 1 && key.data[0] == MARK;
}

/* ---- Damaged files ---- */

bool store_derived_named(const char *message)
{
    return strstr(message, "leaves.wt") != NULL || strstr(message, "tree.wt") != NULL ||
           strstr(message, "sums.wt") != NULL || strstr(message, "gone.wt") != NULL ||
           strstr(message, "conflicts.wt") != NULL;
}

static bool note_path(const struct kith_store *store, char path[PATH_SIZE])
{
    int size = snprintf(path, PATH_SIZE, "%s/rebuild", store->path);
    return size > 0 && (size_t)size < PATH_SIZE;
}

bool store_derived_note(const struct kith_store *store)
{
    char path[PATH_SIZE];
    int fd = note_path(store, path) ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static bool noted(const struct kith_store *store)
{
    char path[PATH_SIZE];
    return note_path(store, path) && access(path, F_OK) == 0;
}

void store_derived_discard(const struct kith_store *store)
{
    char path[PATH_SIZE];
    for (uint32_t i = 0; i < DERIVED; i++) {
        int size = snprintf(path, sizeof path, "%s/%s.wt", store->wt_path, derived[i]);
        if (size > 0 && (size_t)size < sizeof path && unlink(path) != 0 && errno != ENOENT) {
            kith_log_error("store", "%s: cannot be removed: %s", path, strerror(errno));
        }
    }
}

/* ---- Marks ---- */

static bool marked(WT_SESSION *session, const char *table)
{
    const uint8_t byte = MARK;
    WT_ITEM key = {.data = &byte, .size = 1};
    WT_CURSOR *cursor = NULL;
    if (store_cursor(session, table, &cursor) != 0) {
        return false;
    }
    cursor->set_key(cursor, &key);
    bool found = cursor->search(cursor) == 0;
    (void)cursor->close(cursor);
    return found;
}

static bool all_marked(struct kith_store *store)
{
    WT_SESSION *session = NULL;
    bool all = store_session(store, &session) == 0;
    for (uint32_t i = 0; all && i < DERIVED; i++) {
        all = marked(session, derived[i]);
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    return all;
}

static int mark(WT_SESSION *session, const char *table)
{
    const uint8_t byte = MARK;
    WT_ITEM item = {.data = &byte, .size = 1};
    WT_CURSOR *cursor = NULL;
    int ret = store_cursor(session, table, &cursor);
    if (ret == 0) {
        cursor->set_key(cursor, &item);
        cursor->set_value(cursor, &item);
        ret = cursor->insert(cursor);
        int closed = cursor->close(cursor);
        ret = ret == 0 ? closed : ret;
    }
    return ret;
}

static int mark_all(struct kith_store *store)
{
    WT_SESSION *session = NULL;
    int ret = store_session(store, &session);
    ret = ret == 0 ? session->begin_transaction(session, NULL) : ret;
    for (uint32_t i = 0; ret == 0 && i < DERIVED; i++) {
        ret = mark(session, derived[i]);
    }
    ret = ret == 0 ? session->commit_transaction(session, NULL) : ret;
    ret = ret == 0 ? session->log_flush(session, "sync=on") : ret;
    if (session != NULL) {
        session->close(session, NULL);
    }
    char path[PATH_SIZE];
    if (ret == 0 && note_path(store, path)) {
        (void)unlink(path);
    }
    return ret;
}

/* ---- Making them anew ---- */

struct maker {
    struct kith_store *store;
    WT_SESSION *session;
    WT_CURSOR *from, *leaves, *gone, *conflicts;
    WT_CURSOR *refs; /* NULL: they stay as they are */
    struct kith_arena arena;
    uint64_t rows, chunks;
};

/* What the record at hand refers to. */
static int put_refs(struct maker *maker, const struct store_refs *refs, enum store_referrer kind,
                    struct kith_bytes referrer)
{
    uint8_t buffer[KITH_REF_KEY_MAX];
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < refs->count; i++) {
        struct kith_bytes key = store_ref_key(&refs->ids[i], kind, referrer, buffer);
        WT_ITEM item = {.data = key.data, .size = key.size}, none = {.data = "", .size = 0};
        maker->refs->set_key(maker->refs, &item);
        maker->refs->set_value(maker->refs, &none);
        ret = maker->refs->insert(maker->refs);
    }
    kith_arena_reset(&maker->arena);
    return ret;
}

static int put_row_refs(struct maker *maker, struct kith_bytes state, enum store_referrer kind,
                        struct kith_bytes key)
{
    struct kith_row row;
    struct store_refs refs;
    if (maker->refs == NULL) {
        return 0;
    }
    enum kith_err err = kith_row_decode(&maker->arena, state, &row);
    if (err == KITH_OK) {
        err = store_refs_of_row(&maker->arena, &row, &refs);
    }
    return err == KITH_OK ? put_refs(maker, &refs, kind, key) : err == KITH_ENOMEM ? ENOMEM : 0;
}

static struct store_leaf *leaf_at(struct store_tree *tree, uint32_t partition, uint32_t number)
{
    struct store_leaf *leaf = partition < KITH_PARTITIONS_MAX && number < KITH_TREE_LEAVES
                                  ? store_tree_leaf(tree, partition, number)
                                  : NULL;
    if (leaf != NULL) {
        tree->dirty[partition] = true; /* so that store_derived_settle writes it */
        leaf->count++;
    }
    return leaf;
}

static int put_index(WT_CURSOR *cursor, struct kith_bytes key)
{
    WT_ITEM item = {.data = key.data, .size = key.size}, none = {.data = "", .size = 0};
    cursor->set_key(cursor, &item);
    cursor->set_value(cursor, &none);
    return cursor->insert(cursor);
}

/* Its entries in the indices of rows that are gone, or in conflict. */
static int take_state(struct maker *maker, uint32_t partition, struct kith_bytes key,
                      struct kith_bytes state)
{
    struct kith_arena arena;
    struct kith_row row;
    bool conflict = false;
    kith_arena_init(&arena, 0);
    bool gone = kith_row_decode(&arena, state, &row) == KITH_OK && kith_row_is_gone(&row);
    int ret = store_conflict_is(&arena, key, state, &conflict) == KITH_OK ? 0 : ENOMEM;
    kith_arena_release(&arena);
    if (ret == 0 && gone) {
        ret = put_index(maker->gone, key);
    }
    if (ret == 0 && conflict) {
        ret = put_index(maker->conflicts, key);
        atomic_fetch_add(&maker->store->conflicts[partition], 1);
    }
    return ret;
}

/* One whose record is damaged counts, and adds nothing (store_damage.c). */
static int take_row(struct maker *maker, struct kith_bytes key, struct kith_bytes record)
{
    static const struct kith_checksum nothing;
    uint8_t buffer[KITH_LEAF_KEY_MAX];
    struct kith_bytes state;
    struct kith_checksum hash;
    struct kith_key row;
    if (key.size < 2 + KITH_GROUP_SIZE || key.size > KITH_ROW_KEY_MAX) {
        return 0;
    }
    uint32_t partition = (uint32_t)key.data[0] << 8 | key.data[1];
    memcpy(row.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    row.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    uint32_t number = kith_tree_leaf(&row);
    struct store_leaf *leaf = leaf_at(&maker->store->row_tree, partition, number);
    if (leaf == NULL) {
        return ENOMEM;
    }
    int ret = 0;
    if (kith_rowop_state(&row, record, store_secret(maker->store), &state, &hash) == KITH_OK) {
        kith_sum_replace(&leaf->sum, &nothing, &hash);
        ret = put_row_refs(maker, state, STORE_REFERRER_ROW, key);
        ret = ret == 0 ? take_state(maker, partition, key, state) : ret;
    }
    maker->rows++;
    if (ret != 0) {
        return ret;
    }
    struct kith_bytes entry = store_leaf_key(partition, number, &row.group, row.name, buffer);
    return put_index(maker->leaves, entry);
}

static int take_chunk(struct maker *maker, struct kith_bytes key, struct kith_bytes record)
{
    static const struct kith_checksum nothing;
    struct store_chunk chunk;
    if (key.size != KITH_CHUNK_KEY_SIZE) {
        return 0;
    }
    uint32_t partition = (uint32_t)key.data[0] << 8 | key.data[1];
    struct store_leaf *leaf = leaf_at(&maker->store->chunk_tree, partition, key.data[2]);
    if (leaf == NULL) {
        return ENOMEM;
    }
    maker->chunks++;
    if (store_chunk_decode(record, &chunk) == KITH_OK) {
        struct kith_chunk_id id = store_chunk_id(key);
        struct kith_checksum hash = store_chunk_hash(maker->store, &id, &chunk.checksum);
        kith_sum_replace(&leaf->sum, &nothing, &hash);
        leaf->bytes += chunk.size;
        struct store_refs refs;
        if (maker->refs != NULL) {
            return store_refs_of_ids(&maker->arena,
                                     (const struct kith_chunk_id *)(const void *)chunk.refs,
                                     chunk.ref_count, &refs) == KITH_OK
                       ? put_refs(maker, &refs, STORE_REFERRER_CHUNK, key)
                       : ENOMEM;
        }
    }
    return 0;
}

/* What is kept for others has no tree; it refers to chunks. */
static int take_hint(struct maker *maker, struct kith_bytes key, struct kith_bytes record)
{
    struct kith_hint hint;
    struct kith_bytes state;
    struct kith_checksum hash;
    struct kith_key row;
    if (key.size < 2 + KITH_GROUP_SIZE || kith_hint_decode(record, &hint) != KITH_OK ||
        hint.record.size == 0) {
        return 0;
    }
    memcpy(row.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    row.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    if (kith_rowop_state(&row, hint.record, store_secret(maker->store), &state, &hash) != KITH_OK) {
        return 0; /* nobody gets it */
    }
    return put_row_refs(maker, state, STORE_REFERRER_HINT, key);
}

/* All records of a table, some in each transaction. */
static int take_all(struct maker *maker, const char *table,
                    int (*take)(struct maker *, struct kith_bytes, struct kith_bytes))
{
    WT_SESSION *reader = NULL; /* of its own: its cursor stays where it is over commits */
    int ret = store_session(maker->store, &reader);
    ret = ret == 0 ? store_cursor(reader, table, &maker->from) : ret;
    ret = ret == 0 ? maker->session->begin_transaction(maker->session, NULL) : ret;
    for (uint64_t i = 1; ret == 0 && (ret = maker->from->next(maker->from)) == 0; i++) {
        WT_ITEM key, value;
        ret = maker->from->get_key(maker->from, &key);
        ret = ret == 0 ? maker->from->get_value(maker->from, &value) : ret;
        ret = ret == 0 ? take(maker, kith_bytes_make(key.data, key.size),
                              kith_bytes_make(value.data, value.size))
                       : ret;
        if (ret == 0 && i % ROWS_A_COMMIT == 0) {
            ret = maker->session->commit_transaction(maker->session, NULL);
            ret = ret == 0 ? maker->session->begin_transaction(maker->session, NULL) : ret;
        }
    }
    if (ret == WT_NOTFOUND) {
        ret = maker->session->commit_transaction(maker->session, NULL);
    }
    if (reader != NULL) {
        reader->close(reader, NULL);
    }
    return ret;
}

static int make_tables(struct kith_store *store, WT_SESSION *session)
{
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < DERIVED; i++) {
        char uri[32];
        snprintf(uri, sizeof uri, "table:%s", derived[i]);
        ret = session->drop(session, uri, "force=true");
        ret = ret == 0 ? store_table_create(session, derived[i]) : ret;
    }
    store_tree_release(&store->row_tree);
    store_tree_release(&store->chunk_tree);
    if (ret == 0 && (store_tree_init(&store->row_tree) != KITH_OK ||
                     store_tree_init(&store->chunk_tree) != KITH_OK ||
                     store_conflicts_init(store) != KITH_OK)) {
        ret = ENOMEM;
    }
    atomic_store(&store->sums_sequence, 0);
    return ret;
}

static enum kith_err make_anew(struct kith_store *store, struct kith_error *error)
{
    struct maker maker = {.store = store};
    kith_arena_init(&maker.arena, 0);
    int ret = store_session(store, &maker.session);
    ret = ret == 0 ? make_tables(store, maker.session) : ret;
    ret = ret == 0 ? store_cursor(maker.session, "leaves", &maker.leaves) : ret;
    if (ret == 0 && store->refs_anew) {
        ret = store_cursor(maker.session, "refs", &maker.refs);
    }
    ret = ret == 0 ? store_cursor(maker.session, "gone", &maker.gone) : ret;
    ret = ret == 0 ? store_cursor(maker.session, "conflicts", &maker.conflicts) : ret;
    ret = ret == 0 ? take_all(&maker, "rows", take_row) : ret;
    ret = ret == 0 ? take_all(&maker, "chunks", take_chunk) : ret;
    ret = ret == 0 && store->refs_anew ? take_all(&maker, "hints", take_hint) : ret;
    kith_arena_release(&maker.arena);
    if (maker.session != NULL) {
        maker.session->close(maker.session, NULL);
    }
    if (ret != 0) {
        return kith_error_set(error, store_err(ret),
                              "%s: the trees of what is stored cannot be made anew: %s; check the "
                              "disk and its free space",
                              store->wt_path, wiredtiger_strerror(ret));
    }
    if (maker.rows + maker.chunks > 0) {
        kith_log_warn("store",
                      "%s: the trees of what is stored were missing or wrong: made anew, of %llu "
                      "rows and %llu chunks",
                      store->path, (unsigned long long)maker.rows,
                      (unsigned long long)maker.chunks);
    }
    return KITH_OK;
}

/* ---- At the start ---- */

enum kith_err store_derived_load(struct kith_store *store, struct kith_error *error)
{
    struct kith_error why;
    uint64_t count = 0, bytes = 0;
    store->derived_marked = !noted(store) && all_marked(store);
    enum kith_err err = store->derived_marked ? store_sums_load(store, false, &why) : KITH_ECORRUPT;
    if (err == KITH_OK) {
        err = store_sums_load(store, true, &why);
    }
    if (err == KITH_OK) {
        err = store_conflicts_load(store, &why);
    }
    if (err == KITH_ECORRUPT) {
        if (store->derived_marked) {
            kith_log_error("store", "%s", why.message);
        }
        store->derived_marked = false;
        err = make_anew(store, error);
    } else if (err != KITH_OK) {
        return kith_error_set(error, err, "%s", why.message);
    }
    if (err == KITH_OK && store_damage_count(store) != KITH_OK) {
        err = kith_error_set(error, KITH_ECORRUPT,
                             "%s/bad.wt: cannot be read; move %s away and start anew, so that the "
                             "node fetches its data from the others",
                             store->wt_path, store->path);
    }
    if (err == KITH_OK) {
        store_tree_count(&store->row_tree, &count, &bytes);
        atomic_store(&store->row_count, count);
        store_tree_count(&store->chunk_tree, &count, &bytes);
        atomic_store(&store->chunk_count, count);
        atomic_store(&store->chunk_bytes, bytes);
    }
    return err;
}

enum kith_err store_derived_settle(struct kith_store *store, struct kith_error *error)
{
    enum kith_err err = store_sums_settle(&store->workers[0]);
    if (err == KITH_OK) {
        err = store_sums_settle(&store->workers[store->worker_count]);
    }
    if (err == KITH_OK && !store->derived_marked) {
        err = store_err(mark_all(store));
        store->derived_marked = err == KITH_OK;
    }
    return err == KITH_OK ? KITH_OK
                          : kith_error_set(error, err,
                                           "%s: the sums of the trees cannot be "
                                           "written: %s; check the disk and its free space",
                                           store->wt_path, kith_err_text((int)err));
}
