/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_stale.c - references to chunks for which no row stands any more.
 *
 * A row and its entries in `refs` change together, in one transaction, but for one that is damaged:
 * nobody can say what it named. Its references stay when it is set aside (store_damage.c), and
 * would keep those chunks for ever. They go when it is written again, or dropped, or given up:
 *
 *     AT ONCE  as far as the damaged record can be read: any 20 bytes of it may be a chunk's id,
 *              and the index says whether they are
 *     IN TIME  all others. The row is marked, in table `bad`, and each SCRUB of rows looks through
 *              some of the index for those of marked rows:
 *
 *     bad      's', key in rows     it is to be looked for
 *              'w', key in rows     it is being looked for; then the mark goes
 *     meta     0xd0 + worker        how far, in this run: u64 run (LE), the last reference looked at
 *
 * Only marked rows are read: to read the row of each reference would be a seek for each, all over
 * the table.
 *
 * WHY NONE GOES THAT IS NEEDED. The second way takes a reference whose row is not here, or is whole
 * and does not name the chunk; never one of a row that is damaged, or set aside: so nothing goes
 * before that is back, or dropped. A row, what is set aside of it, and its references are written
 * by the worker of its partition alone, which is who looks: they do not change meanwhile. (Another
 * worker would be safe, too, for the transaction that begins to name a chunk writes the reference,
 * whether there is one or not, and WiredTiger rolls back one of the two; but that may be a put, and
 * again and again.) For who sweeps it is as if the row had been overwritten by what is here now
 * (core/collect/sweep.h). */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

#define PLACE_KEY 0xd0u    /* in meta: that of worker 0; one for each */
#define LOOK_MAX  16384u   /* references that one operation looks at: some 5 ms */
#define TAKE_MAX  256u     /* ... and removes */
#define READ_MAX  64u      /* ... and rows that it reads for them */
#define MARKS_MAX 256u     /* rows that are looked for at a time */
#define MARK_MAX  (1u + KITH_ROW_KEY_MAX)
#define VOLUME    4u       /* bytes with which groups and chunks begin */

_Static_assert(PLACE_KEY + KITH_STORE_WORKERS_MAX <= 0xf0u, "below the store's other records");

/* ---- What can be read of a damaged record ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, KITH_CHUNK_ID_SIZE);
}

static bool names(const struct store_refs *refs, const struct kith_chunk_id *id)
{
    return refs->count > 0 &&
           bsearch(id, refs->ids, refs->count, sizeof *refs->ids, compare_ids) != NULL;
}

static struct kith_bytes mark_key(uint8_t kind, struct kith_bytes key, uint8_t buffer[MARK_MAX])
{
    buffer[0] = kind;
    memcpy(buffer + 1, key.data, key.size);
    return kith_bytes_make(buffer, 1u + key.size);
}

static enum kith_err read_record(struct store_worker *worker, struct kith_bytes key,
                                 struct kith_bytes record, const struct store_refs *kept)
{
    uint8_t buffer[KITH_REF_KEY_MAX];
    struct kith_chunk_id id, last = {{0}};
    struct kith_bytes nothing;
    for (size_t at = 0; at + sizeof id.bytes <= record.size; at++) {
        memcpy(id.bytes, record.data + at, sizeof id.bytes);
        if (memcmp(id.bytes, key.data + 2, VOLUME) != 0 || /* the row's own */
            compare_ids(&id, &last) == 0 || names(kept, &id)) {
            continue;
        }
        last = id;
        struct kith_bytes ref = store_ref_key(&id, STORE_REFERRER_ROW, key, buffer);
        enum kith_err err = store_read(worker, worker->refs, ref, &nothing);
        if (err == KITH_OK) {
            err = store_remove(worker, worker->refs, ref);
        }
        if (err != KITH_OK && err != KITH_ENOTFOUND) {
            return err;
        }
    }
    return KITH_OK;
}

enum kith_err store_stale_read(struct store_worker *worker, struct kith_bytes key,
                               struct kith_bytes record, const struct store_refs *kept)
{
    uint8_t buffer[MARK_MAX];
    enum kith_err err = read_record(worker, key, record, kept);
    return err == KITH_OK ? store_write(worker, worker->bad, mark_key('s', key, buffer),
                                        kith_bytes_make("", 0))
                          : err;
}

/* ---- How far it is ---- */

struct walk {
    size_t size;                     /* 0: at the beginning */
    uint8_t after[KITH_REF_KEY_MAX]; /* looked at, with all before it */
};

static enum kith_err walk_read(struct store_worker *worker, struct walk *walk)
{
    const uint8_t key = (uint8_t)(PLACE_KEY + worker->index);
    struct kith_bytes bytes;
    struct kith_reader reader;
    enum kith_err err = store_read(worker, worker->meta, kith_bytes_make(&key, 1), &bytes);
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return err;
    }
    kith_reader_init(&reader, bytes);
    uint64_t run = kith_read_u64(&reader); /* in another one it may have had other partitions */
    bool fits = !reader.failed && run == worker->store->options.run &&
                bytes.size - sizeof run <= sizeof walk->after;
    walk->size = fits ? bytes.size - sizeof run : 0;
    if (walk->size > 0) {
        memcpy(walk->after, bytes.data + sizeof run, walk->size);
    }
    return KITH_OK;
}

static enum kith_err walk_write(struct store_worker *worker, const struct walk *walk)
{
    const uint8_t key = (uint8_t)(PLACE_KEY + worker->index);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u64(&buf, worker->store->options.run);
    kith_buf_put(&buf, walk->after, walk->size);
    enum kith_err err = buf.failed ? KITH_ENOMEM
                                   : store_write(worker, worker->meta, kith_bytes_make(&key, 1),
                                                 kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    return err;
}

/* ---- For which rows ---- */

struct known_row {
    struct kith_bytes key;
    bool read; /* then: */
    bool keep; /* whatever it names */
    struct store_refs refs;
};

struct look {
    struct store_worker *worker;
    uint32_t row_count; /* marked: */
    struct known_row *rows; /* [MARKS_MAX], ascending by key, in the round's arena */
    uint32_t read;
    uint32_t count; /* that are to go: */
    struct kith_bytes *stale; /* [TAKE_MAX], likewise */
};

static bool is_own(const struct store_worker *worker, const uint8_t *row)
{
    uint32_t partition = (uint32_t)row[0] << 8 | row[1];
    return partition % worker->store->worker_count == worker->index;
}

/* The worker's marks of that kind, as many as there is room for. */
static enum kith_err marks_read(struct look *look, uint8_t kind)
{
    struct store_worker *worker = look->worker;
    WT_CURSOR *cursor = worker->bad;
    WT_ITEM item = {.data = &kind, .size = 1};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    ret = ret == 0 && exact < 0 ? cursor->next(cursor) : ret;
    for (; ret == 0 && look->row_count < MARKS_MAX; ret = cursor->next(cursor)) {
        ret = cursor->get_key(cursor, &item);
        const uint8_t *bytes = item.data;
        if (ret != 0 || item.size < 1 || bytes[0] != kind) {
            break;
        }
        if (item.size < 1 + 2 + KITH_GROUP_SIZE || item.size > MARK_MAX ||
            !is_own(worker, bytes + 1)) {
            continue;
        }
        const void *copy = kith_arena_copy(&worker->round->arena, bytes + 1, item.size - 1);
        if (copy == NULL) {
            return KITH_ENOMEM;
        }
        look->rows[look->row_count++].key = kith_bytes_make(copy, item.size - 1);
    }
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_break(worker, ret);
}

/* Those that are being looked for; when there are none others become so. */
static enum kith_err marks_take(struct look *look, struct walk *walk)
{
    struct store_worker *worker = look->worker;
    uint8_t buffer[MARK_MAX];
    enum kith_err err = marks_read(look, 'w');
    if (err != KITH_OK || look->row_count > 0) {
        return err;
    }
    walk->size = 0;
    err = marks_read(look, 's');
    if (err == KITH_OK && look->row_count > 0 &&
        !store_space_allows(worker, STORE_SPACE_SMALL,
                            STORE_PAGES_ROW + (uint64_t)look->row_count * STORE_PAGES_REF)) {
        look->row_count = 0; /* they have time */
    }
    for (uint32_t i = 0; i < look->row_count && err == KITH_OK; i++) {
        err = store_write(worker, worker->bad, mark_key('w', look->rows[i].key, buffer),
                          kith_bytes_make("", 0));
        if (err == KITH_OK) {
            err = store_remove(worker, worker->bad, mark_key('s', look->rows[i].key, buffer));
        }
    }
    return err;
}

/* It has been to the end. */
static enum kith_err marks_drop(struct look *look)
{
    struct store_worker *worker = look->worker;
    uint8_t buffer[MARK_MAX];
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; i < look->row_count && err == KITH_OK; i++) {
        err = store_remove(worker, worker->bad, mark_key('w', look->rows[i].key, buffer));
    }
    return err;
}

static int compare_rows(const void *a, const void *b)
{
    const struct known_row *one = a, *other = b;
    size_t size = one->key.size < other->key.size ? one->key.size : other->key.size;
    int order = memcmp(one->key.data, other->key.data, size);
    return order != 0                            ? order
           : one->key.size == other->key.size    ? 0
           : one->key.size < other->key.size     ? -1
                                                 : 1;
}

/* ---- Looking ---- */

static enum kith_err row_read(struct look *look, struct known_row *row)
{
    struct store_worker *worker = look->worker;
    struct kith_bytes record;
    look->read++;
    row->read = true;
    enum kith_err err = store_damage_aside(worker, row->key, &row->keep);
    if (err != KITH_OK || row->keep) {
        return err;
    }
    err = store_read(worker, worker->rows, row->key, &record);
    if (err == KITH_ENOTFOUND) {
        return KITH_OK;
    }
    if (err == KITH_OK) {
        err = store_refs_of_record(worker, &worker->round->arena, row->key, record, &row->refs);
    }
    row->keep = err == KITH_ECORRUPT && !worker->broken; /* it will be set aside */
    return row->keep ? KITH_OK : err;
}

static enum kith_err look_at(struct look *look, struct kith_bytes ref)
{
    struct kith_chunk_id id;
    const size_t before = KITH_CHUNK_ID_SIZE + 1;
    if (ref.size < before + 2 + KITH_GROUP_SIZE ||
        ref.data[KITH_CHUNK_ID_SIZE] != STORE_REFERRER_ROW) {
        return KITH_OK;
    }
    const struct known_row wanted = {
        .key = kith_bytes_make(ref.data + before, ref.size - before)};
    struct known_row *row =
        bsearch(&wanted, look->rows, look->row_count, sizeof *look->rows, compare_rows);
    if (row == NULL) {
        return KITH_OK;
    }
    memcpy(id.bytes, ref.data, sizeof id.bytes);
    enum kith_err err = row->read ? KITH_OK : row_read(look, row);
    if (err != KITH_OK || row->keep || names(&row->refs, &id)) {
        return err;
    }
    const void *copy = kith_arena_copy(&look->worker->round->arena, ref.data, ref.size);
    if (copy == NULL) {
        return KITH_ENOMEM;
    }
    look->stale[look->count++] = kith_bytes_make(copy, ref.size);
    return KITH_OK;
}

/* Some behind walk->after. ENOTFOUND: to the end. */
static enum kith_err look_on(struct look *look, struct walk *walk)
{
    WT_CURSOR *cursor = look->worker->refs;
    const uint8_t first = 0;
    WT_ITEM item = {.data = walk->size > 0 ? walk->after : &first,
                    .size = walk->size > 0 ? walk->size : sizeof first};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && walk->size > 0))) {
        ret = cursor->next(cursor);
    }
    for (uint32_t seen = 0; ret == 0; ret = cursor->next(cursor), seen++) {
        if (seen == LOOK_MAX || look->count == TAKE_MAX || look->read == READ_MAX) {
            return KITH_OK;
        }
        ret = cursor->get_key(cursor, &item);
        if (ret != 0 || item.size > sizeof walk->after) {
            break;
        }
        enum kith_err err = look_at(look, kith_bytes_make(item.data, item.size));
        if (err != KITH_OK) {
            return err;
        }
        memcpy(walk->after, item.data, item.size);
        walk->size = item.size;
    }
    walk->size = 0;
    return ret == 0 || ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(look->worker, ret);
}

static enum kith_err take(struct look *look)
{
    struct store_worker *worker = look->worker;
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; i < look->count && err == KITH_OK; i++) {
        err = store_remove(worker, worker->refs, look->stale[i]);
    }
    if (err == KITH_OK && look->count > 0) {
        kith_log_warn("store",
                      "%u references to chunks are removed: the rows that were damaged are back "
                      "without them, or gone",
                      look->count);
    }
    return err;
}

enum kith_err store_stale_walk(struct store_worker *worker)
{
    struct kith_arena *arena = &worker->round->arena;
    struct walk walk;
    struct look look = {.worker = worker};
    look.rows = kith_arena_calloc(arena, MARKS_MAX, sizeof *look.rows);
    look.stale = kith_arena_alloc(arena, TAKE_MAX * sizeof *look.stale);
    enum kith_err err = look.rows == NULL || look.stale == NULL ? KITH_ENOMEM : KITH_OK;
    if (err == KITH_OK) {
        err = walk_read(worker, &walk);
    }
    if (err == KITH_OK) {
        err = marks_take(&look, &walk);
    }
    if (err != KITH_OK || look.row_count == 0) {
        return err;
    }
    err = look_on(&look, &walk);
    bool ended = err == KITH_ENOTFOUND;
    if (err == KITH_OK || ended) {
        err = take(&look);
    }
    if (err == KITH_OK && ended) {
        err = marks_drop(&look);
    }
    return err == KITH_OK ? walk_write(worker, &walk) : err;
}
