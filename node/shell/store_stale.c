/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_stale.c - references to chunks for which no row stands any more.
 *
 * A row and its entries in `refs` change together, in one transaction, but for one that is damaged:
 * nobody can say what it named. Its references stay when it is set aside (store_damage.c), and
 * would keep those chunks for ever. They go
 *
 *     AT ONCE  where the row is written again, or dropped, as far as the damaged record can be
 *              read: any 20 bytes of it may be a chunk's id, and the index says whether they are
 *     IN TIME  all others: a worker looks through some of the index with each SCRUB of rows, for
 *              those of its own rows, and through all of it once while the scrub goes round, or
 *              over several rounds where it is long. How far it is stands in a record of `meta`.
 *
 * WHY NONE GOES THAT IS NEEDED. The second way takes a reference whose row is not here, or is whole
 * and does not name the chunk; never one of a row that is damaged, or set aside: so nothing goes
 * before that is back, or dropped. A row, what is set aside of it, and its references are written
 * by the worker of its partition alone, which is who looks: they do not change meanwhile. (Another
 * worker would be safe, too, for the transaction that begins to name a chunk writes the reference,
 * whether there is one or not, and WiredTiger rolls back one of the two; but that may be a put, and
 * again and again.) For who sweeps it is as if the row had been overwritten by what is here now
 * (core/sweep.h). */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "shell/store_int.h"

#define PLACE_KEY 0xd0u        /* in meta: that of worker 0; one for each */
#define LOOK_MAX  2048u        /* references that one operation looks at: some 6 ms */
#define PASS_BY   8u           /* of other workers' that are as much work as one */
#define TAKE_MAX  256u         /* ... and removes */
#define READ_MAX  (16u << 20)  /* ... and bytes of rows that it reads for them */
#define KNOWN_MAX 64u          /* rows that it remembers: files that grow side by side take turns */
#define VOLUME    4u           /* bytes with which groups and chunks begin */

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

enum kith_err store_stale_read(struct store_worker *worker, struct kith_bytes key,
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

/* ---- How far it is ---- */

struct walk {
    uint32_t partition; /* of the last SCRUB */
    bool on;            /* false: it has been to the end since the scrub began a round */
    size_t size;
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
    walk->partition = kith_read_u32(&reader);
    walk->on = kith_read_u8(&reader) != 0;
    walk->size = bytes.size > 5 ? bytes.size - 5 : 0;
    if (reader.failed || walk->size > sizeof walk->after) { /* none yet */
        walk->partition = 0;
        walk->on = true;
        walk->size = 0;
    }
    if (walk->size > 0) {
        memcpy(walk->after, bytes.data + 5, walk->size);
    }
    return KITH_OK;
}

static enum kith_err walk_write(struct store_worker *worker, const struct walk *walk)
{
    const uint8_t key = (uint8_t)(PLACE_KEY + worker->index);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u32(&buf, walk->partition);
    kith_buf_put_u8(&buf, walk->on ? 1 : 0);
    kith_buf_put(&buf, walk->after, walk->size);
    enum kith_err err = buf.failed ? KITH_ENOMEM
                                   : store_write(worker, worker->meta, kith_bytes_make(&key, 1),
                                                 kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    return err;
}

/* ---- Looking ---- */

struct known_row {
    struct kith_bytes key;
    bool keep; /* whatever it names */
    struct store_refs refs;
};

struct look {
    struct store_worker *worker;
    struct kith_arena arena; /* of the rows */
    struct known_row rows[KNOWN_MAX];
    uint32_t row_count;
    uint64_t bytes;
    uint32_t count; /* that are to go: */
    struct kith_bytes *stale; /* [TAKE_MAX], in the round's arena */
};

static enum kith_err row_read(struct look *look, struct known_row *row)
{
    struct store_worker *worker = look->worker;
    struct kith_bytes record;
    enum kith_err err = store_damage_aside(worker, row->key, &row->keep);
    if (err != KITH_OK || row->keep) {
        return err;
    }
    err = store_read(worker, worker->rows, row->key, &record);
    if (err == KITH_ENOTFOUND) {
        return KITH_OK;
    }
    look->bytes += record.size;
    if (err == KITH_OK) {
        err = store_refs_of_record(worker, &look->arena, row->key, record, &row->refs);
    }
    row->keep = err == KITH_ECORRUPT && !worker->broken; /* it will be set aside */
    return row->keep ? KITH_OK : err;
}

/* The row under that key. */
static enum kith_err row_find(struct look *look, struct kith_bytes key, struct known_row **ret_row)
{
    for (uint32_t i = look->row_count; i > 0; i--) {
        if (kith_bytes_equal(look->rows[i - 1].key, key)) {
            *ret_row = &look->rows[i - 1];
            return KITH_OK;
        }
    }
    if (look->row_count == KNOWN_MAX) {
        kith_arena_reset(&look->arena);
        look->row_count = 0;
    }
    struct known_row *row = &look->rows[look->row_count];
    memset(row, 0, sizeof *row);
    const void *copy = kith_arena_copy(&look->arena, key.data, key.size);
    if (copy == NULL) {
        return KITH_ENOMEM;
    }
    row->key = kith_bytes_make(copy, key.size);
    enum kith_err err = row_read(look, row);
    look->row_count += err == KITH_OK ? 1 : 0;
    *ret_row = row;
    return err;
}

/* Of a row that is the worker's. */
static bool is_own(const struct store_worker *worker, struct kith_bytes ref)
{
    if (ref.size < KITH_CHUNK_ID_SIZE + 1 + 2 + KITH_GROUP_SIZE ||
        ref.data[KITH_CHUNK_ID_SIZE] != STORE_REFERRER_ROW) {
        return false;
    }
    const uint8_t *row = ref.data + KITH_CHUNK_ID_SIZE + 1;
    uint32_t partition = (uint32_t)row[0] << 8 | row[1];
    return partition % worker->store->worker_count == worker->index;
}

static enum kith_err look_at(struct look *look, struct kith_bytes ref)
{
    struct kith_chunk_id id;
    struct known_row *row = NULL;
    memcpy(id.bytes, ref.data, sizeof id.bytes);
    enum kith_err err = row_find(look,
                                 kith_bytes_make(ref.data + KITH_CHUNK_ID_SIZE + 1,
                                                 ref.size - KITH_CHUNK_ID_SIZE - 1),
                                 &row);
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

/* Some behind walk->after; at the end of the index the walk is over. */
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
    for (uint32_t work = 0; ret == 0; ret = cursor->next(cursor)) {
        if (work >= LOOK_MAX * PASS_BY || look->count == TAKE_MAX || look->bytes >= READ_MAX) {
            return KITH_OK;
        }
        ret = cursor->get_key(cursor, &item);
        if (ret != 0 || item.size > sizeof walk->after) {
            break;
        }
        struct kith_bytes ref = kith_bytes_make(item.data, item.size);
        bool own = is_own(look->worker, ref);
        enum kith_err err = own ? look_at(look, ref) : KITH_OK;
        if (err != KITH_OK) {
            return err;
        }
        work += own ? PASS_BY : 1;
        memcpy(walk->after, item.data, item.size);
        walk->size = item.size;
    }
    walk->on = false;
    walk->size = 0;
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_break(look->worker, ret);
}

static enum kith_err take(struct look *look)
{
    struct store_worker *worker = look->worker;
    enum kith_err err = KITH_OK;
    if (look->count == 0) {
        return KITH_OK;
    }
    for (uint32_t i = 0; i < look->count && err == KITH_OK; i++) {
        err = store_remove(worker, worker->refs, look->stale[i]);
    }
    if (err == KITH_OK) {
        kith_log_warn("store",
                      "%u references to chunks are removed: the rows that were damaged are back "
                      "without them, or gone",
                      look->count);
    }
    return err;
}

enum kith_err store_stale_walk(struct store_worker *worker, const struct kith_store_op *op)
{
    struct walk walk;
    struct look look = {.worker = worker};
    enum kith_err err = walk_read(worker, &walk);
    if (err != KITH_OK) {
        return err;
    }
    bool moved = walk.partition != op->partition;
    if (!walk.on && op->u.scrub.leaf == 0 && op->partition <= walk.partition) {
        walk.on = true;
    }
    bool goes_on = walk.on;
    walk.partition = op->partition;
    if (walk.on) {
        look.stale = kith_arena_alloc(&worker->round->arena, TAKE_MAX * sizeof *look.stale);
        err = look.stale == NULL ? KITH_ENOMEM : look_on(&look, &walk);
        if (err == KITH_OK && look.count > 0 &&
            !store_space_allows(worker, STORE_SPACE_SMALL,
                                STORE_PAGES_ROW + (uint64_t)look.count * STORE_PAGES_REF)) {
            kith_arena_release(&look.arena);
            return KITH_OK; /* they have time */
        }
        err = err == KITH_OK ? take(&look) : err;
        kith_arena_release(&look.arena);
    }
    return err == KITH_OK && (moved || goes_on) ? walk_write(worker, &walk) : err;
}
