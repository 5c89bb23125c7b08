/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * segments_recover.c - segments at the start and at the end of the store's life.
 *
 * The index is the truth: a segment ends with its last extent. Behind the `synced` mark an extent
 * may be in the index while its bytes were lost with the power (the log may reach the disk before
 * the segment does): those are read and compared, and bad ones leave the index, so that a
 * CHUNK_SYNC reports them missing and their writer sends them again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/segments_int.h"
#include "store/store_int.h"

#define HOLES_A_COMMIT 256u

struct known_segment {
    uint32_t number;
    uint64_t synced;
    uint64_t end;
    bool unreadable; /* its file is missing or broken: nothing is appended to it */
};

struct known_segments {
    uint32_t count, capacity;
    struct known_segment *list; /* ascending by number */
};

static uint64_t read_u64(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint64_t read_be(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static enum kith_err known_add(struct known_segments *known, uint32_t number, uint64_t synced)
{
    if (known->count == known->capacity) {
        uint32_t capacity = known->capacity == 0 ? 64u : 2u * known->capacity;
        struct known_segment *list = kith_realloc(known->list, capacity * sizeof *list);
        if (list == NULL) {
            return KITH_ENOMEM;
        }
        known->list = list;
        known->capacity = capacity;
    }
    known->list[known->count++] = (struct known_segment){.number = number, .synced = synced};
    return KITH_OK;
}

/* All 'S' records; and, since 'E' sorts before 'S', the ends from the 'E' records in one pass would
 * mean reading every extent: the last one of each segment is looked up instead. */
static int load_states(WT_CURSOR *cursor, struct known_segments *known, enum kith_err *err)
{
    const uint8_t tag = SEGMENT_TAG_STATE;
    WT_ITEM key = {.data = &tag, .size = 1};
    WT_ITEM value;
    int exact = 0;
    cursor->set_key(cursor, &key);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && exact < 0) {
        ret = cursor->next(cursor);
    }
    while (ret == 0 && *err == KITH_OK) {
        if (cursor->get_key(cursor, &key) != 0 || cursor->get_value(cursor, &value) != 0 ||
            key.size != 5 || value.size != 8) {
            *err = KITH_ECORRUPT;
            break;
        }
        const uint8_t *bytes = key.data;
        *err = known_add(known, (uint32_t)read_be(bytes + 1, 4), read_u64(value.data, 8));
        ret = cursor->next(cursor);
    }
    return ret == WT_NOTFOUND ? 0 : ret;
}

static int load_end(WT_CURSOR *cursor, struct known_segment *segment)
{
    uint8_t buffer[SEGMENT_KEY_MAX];
    struct kith_bytes last = segment_extent_key(segment->number, UINT64_MAX, buffer);
    WT_ITEM key = {.data = last.data, .size = last.size};
    WT_ITEM value;
    int exact = 0;
    cursor->set_key(cursor, &key);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && exact > 0) {
        ret = cursor->prev(cursor);
    }
    segment->end = 0;
    if (ret == 0) {
        ret = cursor->get_key(cursor, &key);
        ret = ret == 0 ? cursor->get_value(cursor, &value) : ret;
        const uint8_t *bytes = key.data;
        if (ret == 0 && key.size == SEGMENT_KEY_MAX && value.size == SEGMENT_EXTENT_SIZE &&
            memcmp(bytes, buffer, 5) == 0) {
            const uint8_t *extent = value.data;
            segment->end = read_be(bytes + 5, 8) + read_u64(extent + KITH_CHUNK_KEY_SIZE, 4);
        }
    }
    return ret == WT_NOTFOUND ? 0 : ret;
}

/* ---- Places that are free again ---- */

/* Takes up to so many of the records; what they say is on the disk, as the log has been recovered. */
static enum kith_err holes_load(struct store_worker *worker, struct store_hole *holes,
                                uint32_t most, uint32_t *ret_count)
{
    const uint8_t tag = SEGMENT_TAG_HOLE;
    WT_CURSOR *cursor = worker->segs;
    WT_ITEM key = {.data = &tag, .size = 1};
    WT_ITEM value;
    int exact = 0;
    *ret_count = 0;
    cursor->set_key(cursor, &key);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && exact < 0) {
        ret = cursor->next(cursor);
    }
    while (ret == 0 && *ret_count < most) {
        ret = cursor->get_key(cursor, &key);
        ret = ret == 0 ? cursor->get_value(cursor, &value) : ret;
        const uint8_t *bytes = key.data;
        if (ret != 0 || key.size != SEGMENT_KEY_MAX || bytes[0] != tag || value.size != 4) {
            break;
        }
        struct store_hole *hole = &holes[(*ret_count)++];
        hole->segment = (uint32_t)read_be(bytes + 1, 4);
        hole->offset = read_be(bytes + 5, 8);
        hole->size = (uint32_t)read_u64(value.data, 4);
        ret = cursor->next(cursor);
    }
    cursor->reset(cursor);
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_err(ret);
}

/* Before anything is appended: a place behind the last extent is used again. */
static enum kith_err holes_recover(struct kith_store *store, struct store_worker *worker)
{
    struct store_hole holes[HOLES_A_COMMIT];
    uint32_t count = 0;
    do {
        enum kith_err err = holes_load(worker, holes, HOLES_A_COMMIT, &count);
        if (err == KITH_OK && count > 0) {
            segment_holes_make(store, count, holes);
            err = store_begin(worker);
        }
        for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
            uint8_t buffer[SEGMENT_KEY_MAX];
            err = store_remove(worker, worker->segs,
                               segment_hole_key(holes[i].segment, holes[i].offset, buffer));
            if (err != KITH_OK) {
                store_rollback(worker);
            }
        }
        if (err == KITH_OK && count > 0) {
            err = store_commit(worker);
        }
        if (err != KITH_OK) {
            return err;
        }
    } while (count == HOLES_A_COMMIT);
    return KITH_OK;
}

/* ---- What may have been lost ---- */

/* Whether the chunk under `key` lies where the extent says, and is whole. */
static bool extent_good(struct store_worker *worker, uint32_t number, uint64_t offset,
                        struct kith_bytes key)
{
    struct kith_bytes record;
    struct store_chunk chunk;
    if (store_read(worker, worker->chunks, key, &record) != KITH_OK ||
        store_chunk_decode(record, &chunk) != KITH_OK || !chunk.in_segment ||
        chunk.segment != number || chunk.offset != offset) {
        return false;
    }
    struct kith_blob *blob = kith_blob_new(chunk.size);
    if (blob == NULL) {
        return true; /* not known: a get will see */
    }
    enum kith_err err =
        store_chunk_read(worker->store, &worker->reads, &chunk, 0, chunk.size, blob->data);
    struct kith_checksum found = kith_checksum_of(kith_bytes_make(blob->data, chunk.size));
    kith_blob_drop(blob);
    return err == KITH_OK && kith_checksum_equal(&found, &chunk.checksum);
}

struct bad_extent {
    uint64_t offset;
    uint8_t key[KITH_CHUNK_KEY_SIZE];
};

static enum kith_err collect_bad(struct store_worker *worker, const struct known_segment *segment,
                                 struct kith_buf *bad)
{
    uint8_t buffer[SEGMENT_KEY_MAX];
    struct kith_bytes first = segment_extent_key(segment->number, segment->synced, buffer);
    WT_CURSOR *cursor = worker->segs;
    WT_ITEM key = {.data = first.data, .size = first.size};
    WT_ITEM value;
    int exact = 0;
    cursor->set_key(cursor, &key);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && exact < 0) {
        ret = cursor->next(cursor);
    }
    while (ret == 0) {
        ret = cursor->get_key(cursor, &key);
        ret = ret == 0 ? cursor->get_value(cursor, &value) : ret;
        const uint8_t *bytes = key.data;
        if (ret != 0 || key.size != SEGMENT_KEY_MAX || memcmp(bytes, buffer, 5) != 0 ||
            value.size != SEGMENT_EXTENT_SIZE) {
            break;
        }
        struct bad_extent entry = {.offset = read_be(bytes + 5, 8)};
        memcpy(entry.key, value.data, sizeof entry.key);
        if (!extent_good(worker, segment->number, entry.offset,
                         kith_bytes_make(entry.key, sizeof entry.key))) {
            kith_buf_put(bad, &entry, sizeof entry);
        }
        ret = cursor->next(cursor);
    }
    cursor->reset(cursor);
    if (bad->failed) {
        return KITH_ENOMEM;
    }
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_err(ret);
}

static enum kith_err remove_bad(struct store_worker *worker, uint32_t number,
                                const struct bad_extent *entry)
{
    struct kith_bytes key = kith_bytes_make(entry->key, sizeof entry->key);
    struct kith_bytes record;
    struct store_chunk chunk;
    enum kith_err err = store_begin(worker);
    if (err != KITH_OK) {
        return err;
    }
    err = store_read(worker, worker->chunks, key, &record);
    bool ours = err == KITH_OK && store_chunk_decode(record, &chunk) == KITH_OK &&
                chunk.in_segment && chunk.segment == number && chunk.offset == entry->offset;
    if (ours) {
        err = store_chunk_remove(worker, key);
    } else if (err == KITH_OK || err == KITH_ENOTFOUND) {
        err = segment_extent_remove(worker, number, entry->offset);
    }
    if (err != KITH_OK) {
        store_rollback(worker);
        return err;
    }
    return store_commit(worker);
}

/* The tail behind `synced` is read; afterwards all of the segment is whole and on disk. */
static enum kith_err check_tail(struct store_worker *worker, struct known_segment *segment)
{
    struct kith_buf bad;
    kith_buf_init(&bad);
    enum kith_err err = collect_bad(worker, segment, &bad);
    uint32_t count = (uint32_t)(bad.size / sizeof(struct bad_extent));
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        struct bad_extent entry;
        memcpy(&entry, bad.data + i * sizeof entry, sizeof entry);
        err = remove_bad(worker, segment->number, &entry);
    }
    kith_buf_release(&bad);
    if (err == KITH_OK && count > 0) {
        kith_log_warn("store",
                      "%s/%06u.seg: %u chunks had not reached the disk before the crash; they "
                      "will come from other nodes",
                      worker->store->chunks_path, segment->number, count);
        err = store_err(load_end(worker->segs, segment));
    }
    return err;
}

/* Cuts the file to the index's end, syncs it where the tail was checked. */
static void trim_file(struct kith_store *store, struct known_segment *segment, bool sync)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(segment->number, name);
    struct stat st;
    int fd = openat(store->chunks_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        segment->unreadable = true;
    } else if ((uint64_t)st.st_size < segment->end) {
        segment->unreadable = true;
        errno = ENODATA;
    } else if ((uint64_t)st.st_size > segment->end && ftruncate(fd, (off_t)segment->end) != 0) {
        segment->unreadable = true;
    } else if (sync && fdatasync(fd) != 0) {
        segment->unreadable = true;
    }
    if (segment->unreadable && segment->end > 0) {
        kith_log_error("store", "%s/%s: %s; its chunks will come from other nodes",
                       store->chunks_path, name, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

static enum kith_err recover_one(struct kith_store *store, struct store_worker *worker,
                                 struct known_segment *segment)
{
    enum kith_err err = store_err(load_end(worker->segs, segment));
    bool tail = err == KITH_OK && segment->synced < segment->end;
    if (tail) {
        err = check_tail(worker, segment);
    }
    if (err != KITH_OK) {
        return err;
    }
    trim_file(store, segment, tail);
    if (tail && !segment->unreadable) {
        err = store_begin(worker);
        if (err == KITH_OK) {
            err = segment_state_put(worker, segment->number, segment->end);
            if (err == KITH_OK) {
                err = store_commit(worker);
            } else {
                store_rollback(worker);
            }
        }
        segment->synced = segment->end;
    }
    return err;
}

/* ---- Files, and who goes on with which ---- */

static bool known_has(const struct known_segments *known, uint32_t number)
{
    for (uint32_t i = 0; i < known->count; i++) {
        if (known->list[i].number == number) {
            return true;
        }
    }
    return false;
}

/* A file without a record was made by a transaction that never committed. */
static void remove_strangers(struct kith_store *store, const struct known_segments *known)
{
    DIR *directory = opendir(store->chunks_path);
    if (directory == NULL) {
        return;
    }
    uint32_t last = known->count == 0 ? 0 : known->list[known->count - 1].number;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        if (end == entry->d_name || strcmp(end, ".seg") != 0 || number > UINT32_MAX) {
            continue;
        }
        if (!known_has(known, (uint32_t)number) &&
            unlinkat(store->chunks_fd, entry->d_name, 0) != 0) {
            last = number > last ? (uint32_t)number : last; /* never reuse its name */
        }
    }
    closedir(directory);
    atomic_store(&store->segment_last, last);
}

static void hand_out(struct kith_store *store, const struct known_segments *known)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < known->count && next < store->bulk_count; i++) {
        const struct known_segment *found = &known->list[i];
        if (found->unreadable || found->end + KITH_SEGMENT_MAX / 16u > KITH_SEGMENT_MAX) {
            continue;
        }
        struct kith_segment *segment = segment_open(store, found->number, 0);
        if (segment == NULL) {
            continue;
        }
        segment->end = found->end;
        segment->committed = found->end;
        atomic_store(&segment->written, found->end);
        atomic_store(&segment->synced, found->end);
        segment->entry_synced = true;
        store->workers[store->worker_count + next].segment = segment;
        next++;
    }
}

enum kith_err segments_recover(struct kith_store *store, struct store_worker *worker,
                               struct kith_error *error)
{
    struct known_segments known = {0, 0, NULL};
    enum kith_err err = KITH_OK;
    int ret = load_states(worker->segs, &known, &err);
    err = err == KITH_OK ? store_err(ret) : err;
    worker->round = store_results_new(store);
    if (worker->round == NULL) {
        err = KITH_ENOMEM;
    }
    if (err == KITH_OK) {
        err = holes_recover(store, worker);
    }
    for (uint32_t i = 0; err == KITH_OK && i < known.count; i++) {
        err = recover_one(store, worker, &known.list[i]);
    }
    if (err == KITH_OK) {
        remove_strangers(store, &known);
        hand_out(store, &known);
    }
    if (worker->round != NULL) {
        kith_store_results_free(&worker->round->pub);
        worker->round = NULL;
    }
    kith_free(known.list);
    if (err != KITH_OK) {
        return kith_error_set(error, err,
                              "%s: the index of chunks cannot be read: %s; put %s back from a "
                              "backup, or move it away and start anew",
                              store->path, kith_err_text((int)err), store->path);
    }
    return KITH_OK;
}

enum kith_err segments_finish(struct kith_store *store, struct store_worker *worker)
{
    enum kith_err err = store_commit_sync(store);
    if (err == KITH_OK) {
        err = store_begin(worker);
    }
    if (err != KITH_OK) {
        return err;
    }
    for (uint32_t i = 0; err == KITH_OK && i < store->bulk_count; i++) {
        struct kith_segment *segment = store->workers[store->worker_count + i].segment;
        if (segment != NULL && !segment->fresh) {
            err = segment_state_put(worker, segment->number, atomic_load(&segment->synced));
        }
    }
    if (err != KITH_OK) {
        store_rollback(worker);
        return err;
    }
    return store_commit(worker);
}
