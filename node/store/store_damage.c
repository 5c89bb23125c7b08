/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_damage.c - rows and chunks whose stored bytes do not fit their checksum.
 *
 * Who meets one says ECORRUPT, or leaves it out and counts it; after the round (store_worker.c) what
 * its operation named is looked at again, and what is damaged is SET ASIDE, in a transaction of its
 * own: its record goes from `rows` or `chunks` to
 *
 *     bad    'r' or 'c', key in rows or chunks    the record, as it was found
 *            'g', key in rows                     nothing; beside 'r', where the row was gone
 *
 * and the leaf of its tree is summed up anew from what is left, for a damaged record cannot say what
 * it added. So it is missing here, for anti-entropy as for everybody, and other owners bring it
 * back; with its record goes the note of the actor under which this node coordinated it. The entry
 * in `bad` goes when it is written again.
 *
 * MISSING IS NOT "NOT FOUND". A read of a row that was set aside, or a scan of its group, is answered
 * ECORRUPT until then: the others know better. So long its references stay in `refs`: too many keep
 * a chunk alive, too few lose it. Then they go (store_stale.c).
 *
 * A ROW THAT WAS GONE may never come back: the others may have reaped it meanwhile (core/collect/reap.h). So
 * it is given up where all of them were compared with since, to the end, and none has brought it: not
 * even a copy from before it was deleted. One that was not gone is missed for ever where they all
 * lack it: it is lost, and was not deleted. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store_conflict.h"

#define DAMAGE_SCAN_MAX 64u /* set aside in one go; more are met again */
#define BAD_KEY_MAX     (1u + KITH_ROW_KEY_MAX)

_Static_assert(KITH_CHUNK_KEY_SIZE <= KITH_ROW_KEY_MAX, "both fit");

static struct kith_bytes bad_key(const struct store_worker *worker, struct kith_bytes key,
                                 uint8_t buffer[BAD_KEY_MAX])
{
    buffer[0] = worker->bulk ? 'c' : 'r';
    memcpy(buffer + 1, key.data, key.size);
    return kith_bytes_make(buffer, 1u + key.size);
}

static struct kith_bytes gone_key(struct kith_bytes key, uint8_t buffer[BAD_KEY_MAX])
{
    buffer[0] = 'g';
    memcpy(buffer + 1, key.data, key.size);
    return kith_bytes_make(buffer, 1u + key.size);
}

static uint64_t bad_count(const struct store_worker *worker)
{
    return atomic_load_explicit(&worker->store->bad[worker->bulk ? 1 : 0], memory_order_relaxed);
}

enum kith_err store_damage_count(struct kith_store *store)
{
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    uint64_t counts[2] = {0, 0};
    int ret = store_session(store, &session);
    ret = ret == 0 ? store_cursor(session, "bad", &cursor) : ret;
    while (ret == 0 && (ret = cursor->next(cursor)) == 0) {
        WT_ITEM key;
        ret = cursor->get_key(cursor, &key);
        uint8_t kind = ret == 0 && key.size > 0 ? *(const uint8_t *)key.data : 0;
        counts[0] += kind == 'r' ? 1 : 0;
        counts[1] += kind == 'c' ? 1 : 0;
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    atomic_store(&store->bad[0], counts[0]);
    atomic_store(&store->bad[1], counts[1]);
    return ret == WT_NOTFOUND ? KITH_OK : store_err(ret);
}

/* ---- Setting aside ---- */

static bool row_good(struct store_worker *worker, struct kith_bytes key, struct kith_bytes record,
                     struct kith_checksum *ret_hash)
{
    struct kith_bytes state;
    struct kith_key row;
    if (key.size < 2 + KITH_GROUP_SIZE) {
        return false;
    }
    memcpy(row.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    row.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    return kith_rowop_state(&row, record, store_secret(worker->store), &state, ret_hash) == KITH_OK;
}

enum kith_err store_damage_sum(struct store_worker *worker, const uint8_t prefix[3],
                               struct store_leaf *ret_leaf, uint32_t *damaged, uint64_t *bytes)
{
    static const struct kith_checksum nothing;
    WT_CURSOR *cursor = worker->bulk ? worker->chunks : worker->leaves;
    WT_ITEM item = {.data = prefix, .size = 3};
    int exact = 0;
    memset(ret_leaf, 0, sizeof *ret_leaf);
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    ret = ret == 0 && exact < 0 ? cursor->next(cursor) : ret;
    for (; ret == 0; ret = cursor->next(cursor)) {
        struct kith_bytes record;
        struct kith_checksum hash;
        struct store_chunk chunk;
        bool good = false;
        ret = cursor->get_key(cursor, &item);
        if (ret != 0 || item.size < 3 || memcmp(item.data, prefix, 3) != 0) {
            break;
        }
        struct kith_bytes key = kith_bytes_make(item.data, item.size);
        if (worker->bulk) {
            ret = cursor->get_value(cursor, &item);
            record = kith_bytes_make(item.data, item.size);
            good = ret == 0 && store_chunk_decode(record, &chunk) == KITH_OK;
            if (good) {
                struct kith_chunk_id id = store_chunk_id(key);
                hash = store_chunk_hash(worker->store, &id, &chunk.checksum);
                ret_leaf->bytes += chunk.size;
            }
        } else {
            uint8_t buffer[KITH_ROW_KEY_MAX]; /* the index has the leaf between */
            memcpy(buffer, key.data, 2);
            memcpy(buffer + 2, key.data + 3, key.size - 3);
            key = kith_bytes_make(buffer, key.size - 1);
            enum kith_err err = store_read(worker, worker->rows, key, &record);
            if (err != KITH_OK && err != KITH_ENOTFOUND) {
                return err;
            }
            good = err == KITH_OK && row_good(worker, key, record, &hash);
            *bytes += record.size;
        }
        if (good) {
            kith_sum_replace(&ret_leaf->sum, &nothing, &hash);
        }
        *damaged += good ? 0 : 1;
        ret_leaf->count++;
    }
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_break(worker, ret);
}

/* What the index says of the row is the last that is known of it. `again`: it was set aside before,
 * and may not have been gone then. */
static enum kith_err note_gone(struct store_worker *worker, struct kith_bytes key, bool again)
{
    uint8_t buffer[BAD_KEY_MAX];
    struct kith_bytes nothing;
    enum kith_err err = store_read(worker, worker->gone, key, &nothing);
    if (err == KITH_OK && !again) {
        err = store_write(worker, worker->bad, gone_key(key, buffer), kith_bytes_make("", 0));
    } else if (err == KITH_ENOTFOUND) {
        err = store_remove(worker, worker->bad, gone_key(key, buffer));
    }
    return err;
}

/* Takes the row out of its tables. */
static enum kith_err row_take_out(struct store_worker *worker, struct kith_bytes key)
{
    struct kith_group group;
    uint8_t buffer[KITH_LEAF_KEY_MAX];
    memcpy(group.bytes, key.data + 2, KITH_GROUP_SIZE);
    struct kith_bytes name =
        kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    struct kith_key row = {group, name};
    uint32_t partition = (uint32_t)key.data[0] << 8 | key.data[1];
    enum kith_err err = store_remove(worker, worker->rows, key);
    if (err == KITH_OK) {
        err = store_remove(worker, worker->leaves,
                           store_leaf_key(partition, kith_tree_leaf(&row), &group, name, buffer));
    }
    if (err == KITH_OK) {
        err = store_gone_change(worker, key, true, false);
    }
    if (err == KITH_OK) {
        err = store_conflict_gone(worker, key);
    }
    /* what comes back first may be an older state: what that does not cover is not dead */
    return err == KITH_OK ? store_floor_drop(worker, partition) : err;
}

static uint8_t leaf_of(const struct store_worker *worker, struct kith_bytes key)
{
    if (worker->bulk) {
        return key.data[2];
    }
    struct kith_key row;
    memcpy(row.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    row.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    return (uint8_t)kith_tree_leaf(&row);
}

static void tell(const struct store_worker *worker, struct kith_bytes key)
{
    uint32_t partition = (uint32_t)key.data[0] << 8 | key.data[1];
    if (worker->bulk) {
        char text[2 * KITH_CHUNK_ID_SIZE + 1];
        for (uint32_t i = 0; i < KITH_CHUNK_ID_SIZE; i++) {
            snprintf(text + 2 * (size_t)i, 3, "%02x", key.data[STORE_CHUNK_KEY_ID + i]);
        }
        kith_log_error("store",
                       "chunk %s of partition %u does not fit its checksum; it is set aside, and "
                       "will come from another owner",
                       text, partition);
        return;
    }
    size_t size = key.size - 2 - KITH_GROUP_SIZE;
    kith_log_error("store",
                   "row \"%.*s\" of partition %u does not fit its checksum; it is set aside, and "
                   "will come from another owner",
                   size > 64 ? 64 : (int)size,
                   size == 0 ? "" : (const char *)key.data + 2 + KITH_GROUP_SIZE, partition);
}

/* Whether what is stored there is damaged; its record, which borrows from the page. */
static enum kith_err is_damaged(struct store_worker *worker, struct kith_bytes key,
                                struct kith_bytes *ret_record, bool *ret_damaged)
{
    struct kith_checksum hash;
    struct store_chunk chunk;
    WT_CURSOR *cursor = worker->bulk ? worker->chunks : worker->rows;
    *ret_damaged = false;
    enum kith_err err = store_read(worker, cursor, key, ret_record);
    if (err != KITH_OK) {
        return err == KITH_ENOTFOUND ? KITH_OK : err;
    }
    if (!worker->bulk) {
        *ret_damaged = !row_good(worker, key, *ret_record, &hash);
        return KITH_OK;
    }
    bool good = false;
    if (store_chunk_decode(*ret_record, &chunk) == KITH_OK) {
        err = store_chunk_check(worker, &chunk, &good);
    }
    *ret_damaged = err == KITH_OK && !good;
    return err;
}

/* Sets it aside if it is damaged. */
static enum kith_err set_aside(struct store_worker *worker, struct kith_bytes key,
                               uint32_t *ret_count)
{
    uint8_t buffer[BAD_KEY_MAX];
    struct kith_bytes record;
    struct store_chunk chunk;
    struct store_leaf leaf;
    bool damaged = false;
    enum kith_err err = is_damaged(worker, key, &record, &damaged);
    if (err != KITH_OK || !damaged) {
        return err;
    }
    if (!store_space_allows(worker, STORE_SPACE_SMALL, STORE_PAGES_CHUNK + 4u * record.size)) {
        return KITH_ENOSPC;
    }
    const void *copy = kith_arena_copy(&worker->round->arena, record.data, record.size);
    bool again = false; /* a put has come between */
    err = store_damage_aside(worker, key, &again);
    if (err != KITH_OK) {
        return err;
    }
    worker->bad_change += again ? 0 : 1;
    err = copy == NULL ? KITH_ENOMEM
                       : store_write(worker, worker->bad, bad_key(worker, key, buffer),
                                     kith_bytes_make(copy, record.size));
    if (err == KITH_OK && !worker->bulk) {
        err = note_gone(worker, key, again);
        err = err == KITH_OK ? row_take_out(worker, key) : err;
    } else if (err == KITH_OK && store_chunk_decode(kith_bytes_make(copy, record.size), &chunk) ==
                                     KITH_OK) {
        err = store_chunk_remove(worker, key);
    } else if (err == KITH_OK) {
        err = store_remove(worker, worker->chunks, key);
    }
    uint8_t prefix[3] = {key.data[0], key.data[1], leaf_of(worker, key)};
    uint32_t others = 0; /* damaged, too: they will be met on their own */
    uint64_t bytes = 0;
    if (err == KITH_OK) {
        err = store_damage_sum(worker, prefix, &leaf, &others, &bytes);
    }
    if (err == KITH_OK) {
        err = store_tree_set(worker, (uint32_t)prefix[0] << 8 | prefix[1], prefix[2], &leaf);
    }
    *ret_count += err == KITH_OK ? 1 : 0;
    return err;
}

/* ---- What an operation may have met ---- */

struct suspects {
    struct store_worker *worker;
    uint32_t count;
    struct kith_bytes keys[DAMAGE_SCAN_MAX]; /* in the round's arena */
};

static void suspect(struct suspects *suspects, struct kith_bytes key)
{
    const void *copy = suspects->count < DAMAGE_SCAN_MAX
                           ? kith_arena_copy(&suspects->worker->round->arena, key.data, key.size)
                           : NULL;
    if (copy != NULL) {
        suspects->keys[suspects->count++] = kith_bytes_make(copy, key.size);
    }
}

static void suspect_row(struct suspects *suspects, uint32_t partition,
                        const struct kith_group *group, struct kith_bytes name)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    struct kith_bytes record;
    bool damaged = false;
    if (name.size > KITH_NAME_MAX) {
        return;
    }
    struct kith_bytes key = store_row_key(partition, group, name, buffer);
    if (is_damaged(suspects->worker, key, &record, &damaged) == KITH_OK && damaged) {
        suspect(suspects, key);
    }
}

/* Every record of the table that begins with the prefix; chunks: the record alone. */
static void suspect_range(struct suspects *suspects, WT_CURSOR *cursor, struct kith_bytes prefix)
{
    WT_ITEM item = {.data = prefix.data, .size = prefix.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    ret = ret == 0 && exact < 0 ? cursor->next(cursor) : ret;
    for (; ret == 0 && suspects->count < DAMAGE_SCAN_MAX; ret = cursor->next(cursor)) {
        WT_ITEM value;
        struct kith_checksum hash;
        struct store_chunk chunk;
        ret = cursor->get_key(cursor, &item);
        if (ret != 0 || item.size < prefix.size ||
            memcmp(item.data, prefix.data, prefix.size) != 0) {
            return;
        }
        ret = cursor->get_value(cursor, &value);
        if (ret != 0) {
            return;
        }
        struct kith_bytes key = kith_bytes_make(item.data, item.size);
        struct kith_bytes record = kith_bytes_make(value.data, value.size);
        bool good = suspects->worker->bulk
                        ? store_chunk_decode(record, &chunk) == KITH_OK
                        : key.size < 2 + KITH_GROUP_SIZE || /* a floor (store_reap.c) */
                              row_good(suspects->worker, key, record, &hash);
        if (!good) {
            suspect(suspects, key);
        }
    }
}

/* The chunks of its page are read again; its rows are few beside. */
static void suspect_scrub(struct suspects *suspects, const struct kith_store_op *op,
                          const struct kith_store_done *done)
{
    uint8_t prefix[3] = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition,
                         (uint8_t)done->u.scrub.leaf};
    struct kith_store_op here = *op;
    here.u.scrub.has_after = op->u.scrub.has_after && op->u.scrub.leaf == done->u.scrub.leaf;
    struct store_scrub_page page;
    if (!suspects->worker->bulk) {
        suspect_range(suspects, suspects->worker->rows, kith_bytes_make(prefix, 2));
    } else if (store_scrub_page(suspects->worker, &here, prefix, &page) == KITH_OK) {
        for (uint32_t i = 0; i < page.count; i++) {
            suspect(suspects, kith_bytes_make(page.keys[i], KITH_CHUNK_KEY_SIZE));
        }
    }
}

static void suspect_op(struct suspects *suspects, const struct kith_store_op *op,
                       const struct kith_store_done *done)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    struct kith_bytes none = {NULL, 0};
    switch (op->kind) {
    case KITH_STORE_PUT:
        for (uint32_t i = 0; i < op->u.put.update_count; i++) {
            suspect_row(suspects, op->partition, &op->u.put.group, op->u.put.updates[i].name);
        }
        return;
    case KITH_STORE_MERGE:
        for (uint32_t i = 0; i < op->u.merge.row_count; i++) {
            suspect_row(suspects, op->partition, &op->u.merge.group, op->u.merge.rows[i].name);
        }
        return;
    case KITH_STORE_ABSORB:
        for (uint32_t i = 0; i < op->u.absorb.row_count; i++) {
            suspect_row(suspects, op->partition, &op->u.absorb.rows[i].group,
                        op->u.absorb.rows[i].name);
        }
        return;
    case KITH_STORE_GET:
        for (uint32_t i = 0; i < op->u.get.name_count; i++) {
            suspect_row(suspects, op->partition, &op->u.get.group, op->u.get.names[i]);
        }
        return;
    case KITH_STORE_FIND:
        for (uint32_t i = 0; i < op->u.find.name_count; i++) {
            suspect_row(suspects, op->partition, &op->u.find.group, op->u.find.names[i]);
        }
        return;
    case KITH_STORE_SCAN:
        suspect_range(suspects, suspects->worker->rows,
                      store_row_key(op->partition, &op->u.scan.group, none, buffer));
        return;
    case KITH_STORE_GROUPS:
    case KITH_STORE_LEAF:
    case KITH_STORE_CHUNK_LIST: /* rare enough to look at all of the partition */
        buffer[0] = (uint8_t)(op->partition >> 8);
        buffer[1] = (uint8_t)op->partition;
        suspect_range(suspects,
                      suspects->worker->bulk ? suspects->worker->chunks : suspects->worker->rows,
                      kith_bytes_make(buffer, 2));
        return;
    case KITH_STORE_SCRUB:
        suspect_scrub(suspects, op, done);
        return;
    case KITH_STORE_CHUNK_GET:
        suspect(suspects, store_chunk_key(op->partition, &op->u.chunk_get.id, buffer));
        return;
    default:
        return;
    }
}

static enum kith_err settle_one(struct store_worker *worker, struct kith_bytes key,
                                uint32_t *ret_count)
{
    for (uint32_t attempt = 0;; attempt++) {
        uint32_t count = 0;
        enum kith_err err = store_begin(worker);
        if (err == KITH_OK) {
            err = set_aside(worker, key, &count);
            if (worker->broken || err != KITH_OK) {
                store_rollback(worker);
            } else {
                err = store_commit(worker);
            }
        }
        if (err == KITH_OK && count > 0) {
            worker->aside_ms = kith_mono_ms();
            tell(worker, key);
            *ret_count += count;
        }
        if (!store_again(worker, attempt)) {
            return err;
        }
    }
}

bool store_damage_settle(struct store_worker *worker, const struct store_task *tasks,
                         uint32_t count)
{
    bool wrote = false;
    for (uint32_t i = 0; i < count; i++) {
        struct kith_store_done *done = &worker->round->dones[i];
        struct suspects suspects = {.worker = worker};
        if ((done->err != KITH_ECORRUPT && done->damaged == 0) ||
            atomic_load(&worker->store->failed) || store_begin(worker) != KITH_OK) {
            continue;
        }
        suspect_op(&suspects, &tasks[i].op, done);
        store_rollback(worker);
        done->damaged = 0;
        for (uint32_t k = 0; k < suspects.count; k++) {
            enum kith_err err = settle_one(worker, suspects.keys[k], &done->damaged);
            if (err != KITH_OK) {
                kith_log_error("store", "%s: what is damaged could not be set aside: %s",
                               worker->store->path, kith_err_text((int)err));
            }
        }
        wrote = wrote || done->damaged > 0;
    }
    return wrote;
}

/* ---- Until it has come back ---- */

enum kith_err store_damage_aside(struct store_worker *worker, struct kith_bytes key,
                                 bool *ret_aside)
{
    uint8_t buffer[BAD_KEY_MAX];
    struct kith_bytes record;
    enum kith_err err = store_read(worker, worker->bad, bad_key(worker, key, buffer), &record);
    *ret_aside = err == KITH_OK;
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

static bool set_aside_before(struct store_worker *worker, struct kith_bytes key)
{
    bool aside = false;
    return store_damage_aside(worker, key, &aside) == KITH_OK && aside;
}

static bool row_aside(struct store_worker *worker, uint32_t partition,
                      const struct kith_group *group, uint32_t count,
                      const struct kith_bytes *names)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    for (uint32_t i = 0; i < count; i++) {
        if (names[i].size <= KITH_NAME_MAX &&
            set_aside_before(worker, store_row_key(partition, group, names[i], buffer))) {
            return true;
        }
    }
    return false;
}

static bool group_aside(struct store_worker *worker, uint32_t partition,
                        const struct kith_group *group)
{
    uint8_t buffer[KITH_ROW_KEY_MAX], bad[BAD_KEY_MAX];
    struct kith_bytes none = {NULL, 0};
    struct kith_bytes prefix =
        bad_key(worker, store_row_key(partition, group, none, buffer), bad);
    WT_CURSOR *cursor = worker->bad;
    WT_ITEM item = {.data = prefix.data, .size = prefix.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    ret = ret == 0 && exact < 0 ? cursor->next(cursor) : ret;
    ret = ret == 0 ? cursor->get_key(cursor, &item) : ret;
    return ret == 0 && item.size >= prefix.size &&
           memcmp(item.data, prefix.data, prefix.size) == 0;
}

bool store_damage_bars(struct store_worker *worker, const struct kith_store_op *op)
{
    uint8_t buffer[KITH_CHUNK_KEY_SIZE];
    if (bad_count(worker) == 0) {
        return false;
    }
    switch (op->kind) {
    case KITH_STORE_GET:
        return !op->u.get.hints &&
               row_aside(worker, op->partition, &op->u.get.group, op->u.get.name_count,
                         op->u.get.names);
    case KITH_STORE_FIND:
        return !op->u.find.hints &&
               row_aside(worker, op->partition, &op->u.find.group, op->u.find.name_count,
                         op->u.find.names);
    case KITH_STORE_SCAN:
        return !op->u.scan.hints && group_aside(worker, op->partition, &op->u.scan.group);
    case KITH_STORE_CHUNK_GET:
        return set_aside_before(worker,
                                store_chunk_key(op->partition, &op->u.chunk_get.id, buffer));
    default:
        return false;
    }
}

/* The entry of what lies under that key goes, with what it has left behind. ENOTFOUND: there is none. */
static enum kith_err give_up(struct store_worker *worker, struct kith_bytes key)
{
    uint8_t buffer[BAD_KEY_MAX];
    struct kith_bytes record, damaged;
    enum kith_err err = store_read(worker, worker->bad, bad_key(worker, key, buffer), &damaged);
    if (err == KITH_OK && !worker->bulk) { /* a chunk refers to what it always did */
        struct store_refs refs = {0, NULL};
        err = store_read(worker, worker->rows, key, &record);
        if (err == KITH_OK) {
            err = store_refs_of_record(worker, &worker->round->arena, key, record, &refs);
        }
        if (err == KITH_OK || err == KITH_ENOTFOUND) {
            err = store_stale_read(worker, key, damaged, &refs);
        }
        if (err == KITH_OK) {
            err = store_remove(worker, worker->bad, gone_key(key, buffer));
        }
    }
    if (err == KITH_OK) {
        worker->bad_change--;
        err = store_remove(worker, worker->bad, bad_key(worker, key, buffer));
    }
    return err;
}

static enum kith_err came_back(struct store_worker *worker, struct kith_bytes key)
{
    struct kith_bytes record;
    WT_CURSOR *cursor = worker->bulk ? worker->chunks : worker->rows;
    enum kith_err err = store_read(worker, cursor, key, &record);
    if (err == KITH_OK) {
        err = give_up(worker, key);
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* All entries of that kind and partition. */
static enum kith_err give_up_all(struct store_worker *worker, uint8_t kind, uint32_t partition)
{
    const uint8_t prefix[3] = {kind, (uint8_t)(partition >> 8), (uint8_t)partition};
    while (bad_count(worker) > 0) {
        WT_ITEM item = {.data = prefix, .size = sizeof prefix};
        int exact = 0;
        worker->bad->set_key(worker->bad, &item);
        int ret = worker->bad->search_near(worker->bad, &exact);
        ret = ret == 0 && exact < 0 ? worker->bad->next(worker->bad) : ret;
        ret = ret == 0 ? worker->bad->get_key(worker->bad, &item) : ret;
        if (ret == WT_NOTFOUND || (ret == 0 && (item.size < sizeof prefix ||
                                                memcmp(item.data, prefix, sizeof prefix) != 0))) {
            return KITH_OK;
        }
        if (ret != 0) {
            return store_break(worker, ret);
        }
        uint8_t buffer[BAD_KEY_MAX];
        size_t size = item.size < sizeof buffer ? item.size : sizeof buffer;
        memcpy(buffer, item.data, size);
        struct kith_bytes key = kith_bytes_make(buffer, size), row = {buffer + 1, size - 1};
        enum kith_err err = size < 1 + 2 + KITH_GROUP_SIZE ? KITH_ENOTFOUND : give_up(worker, row);
        if (err == KITH_ENOTFOUND) { /* an entry that says nothing */
            err = store_remove(worker, worker->bad, key);
        }
        if (err != KITH_OK) {
            return err;
        }
    }
    return KITH_OK;
}

enum kith_err store_damage_forget(struct store_worker *worker, uint32_t partition)
{
    return give_up_all(worker, worker->bulk ? 'c' : 'r', partition);
}

enum kith_err store_damage_nowhere(struct store_worker *worker, const struct kith_store_op *op)
{
    uint64_t compared_ms = op->u.scrub.compared_ms;
    int64_t before = worker->bad_change;
    if (worker->bulk || op->u.scrub.leaf != 0 || compared_ms <= worker->aside_ms) {
        return KITH_OK;
    }
    enum kith_err err = give_up_all(worker, 'g', op->partition);
    if (err == KITH_OK && worker->bad_change < before) {
        kith_log_info("store",
                      "%lld rows of partition %u that were damaged had been deleted, and no owner "
                      "has them any more: they are not waited for",
                      (long long)(before - worker->bad_change), op->partition);
    }
    return err;
}

enum kith_err store_damage_mended(struct store_worker *worker, const struct kith_store_op *op)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    enum kith_err err = KITH_OK;
    if (bad_count(worker) == 0) {
        return KITH_OK;
    }
    switch (op->kind) {
    case KITH_STORE_MERGE:
        for (uint32_t i = 0; i < op->u.merge.row_count && err == KITH_OK && !op->u.merge.hint;
             i++) {
            err = came_back(worker, store_row_key(op->partition, &op->u.merge.group,
                                                  op->u.merge.rows[i].name, buffer));
        }
        return err;
    case KITH_STORE_ABSORB:
        for (uint32_t i = 0; i < op->u.absorb.row_count && err == KITH_OK; i++) {
            const struct kith_leaf_row *row = &op->u.absorb.rows[i];
            if (row->name.size <= KITH_NAME_MAX) {
                err = came_back(worker,
                                store_row_key(op->partition, &row->group, row->name, buffer));
            }
        }
        return err;
    case KITH_STORE_CHUNK_PUT:
        return came_back(worker, store_chunk_key(op->partition, &op->u.chunk_put.id, buffer));
    default:
        return KITH_OK;
    }
}
