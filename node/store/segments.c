/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * segments.c - writing and reading segments. Recovery is in segments_recover.c. */
#include "store/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "store/segments_int.h"
#include "store/store_crypt.h"

void segment_name(uint32_t number, char ret_name[SEGMENT_NAME_SIZE])
{
    snprintf(ret_name, SEGMENT_NAME_SIZE, "%06u.seg", number);
}

static void put_u32be(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

struct kith_bytes segment_state_key(uint32_t number, uint8_t buffer[SEGMENT_KEY_MAX])
{
    buffer[0] = SEGMENT_TAG_STATE;
    put_u32be(buffer + 1, number);
    return kith_bytes_make(buffer, 5);
}

struct kith_bytes segment_extent_key(uint32_t number, uint64_t offset,
                                     uint8_t buffer[SEGMENT_KEY_MAX])
{
    buffer[0] = SEGMENT_TAG_EXTENT;
    put_u32be(buffer + 1, number);
    put_u32be(buffer + 5, (uint32_t)(offset >> 32));
    put_u32be(buffer + 9, (uint32_t)offset);
    return kith_bytes_make(buffer, 13);
}

struct kith_bytes segment_hole_key(uint32_t number, uint64_t offset,
                                   uint8_t buffer[SEGMENT_KEY_MAX])
{
    struct kith_bytes key = segment_extent_key(number, offset, buffer);
    buffer[0] = SEGMENT_TAG_HOLE;
    return key;
}

void segment_drop(struct kith_segment *segment)
{
    if (atomic_fetch_sub(&segment->refs, 1) == 1) {
        close(segment->fd);
        kith_free(segment);
    }
}

struct kith_segment *segment_open(struct kith_store *store, uint32_t number, int flags)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(number, name);
    struct kith_segment *segment = kith_calloc(1, sizeof *segment);
    if (segment == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    segment->fd = openat(store->chunks_fd, name, O_RDWR | O_CLOEXEC | flags, 0600);
    if (segment->fd < 0) {
        int saved = errno;
        kith_free(segment);
        errno = saved;
        return NULL;
    }
    atomic_store(&segment->refs, 1);
    segment->number = number;
    return segment;
}

/* ---- Writing ----
 *
 * The kernel begins to write out a chunk at once, so that a sync finds most of it on the disk, and
 * the pages are free again when it is there: chunks come once and are seldom read soon, by a mount
 * least of all, which keeps what it wrote; so one page serves many chunks. Measured, three files of
 * 256 MiB at the same time with one fdatasync each at the end: 1.5 to 2 times as fast as with pages
 * that stay, for 0.4 to 0.6 of the CPU. Linux 6.14 and on with a file system that can (ext4, xfs,
 * btrfs); elsewhere the early beginning alone, and the pages stay. */

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x00000080 /* linux/fs.h; younger than our oldest C library */
#endif

static ssize_t write_out(struct kith_segment *segment, struct kith_bytes bytes, uint64_t offset)
{
    static atomic_bool refused; /* once is enough for the process: all segments lie in one folder */
    if (!atomic_load_explicit(&refused, memory_order_relaxed)) {
        const struct iovec part = {(void *)(uintptr_t)bytes.data, bytes.size};
        ssize_t put = pwritev2(segment->fd, &part, 1, (off_t)offset, RWF_DONTCACHE);
        if (put >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) {
            return put;
        }
        atomic_store_explicit(&refused, true, memory_order_relaxed);
    }
    ssize_t put = pwrite(segment->fd, bytes.data, bytes.size, (off_t)offset);
    if (put > 0) { /* a hint: an error of the disk is told by the sync */
        (void)sync_file_range(segment->fd, (off_t)offset, (off_t)put, SYNC_FILE_RANGE_WRITE);
    }
    return put;
}

static enum kith_err next_segment(struct store_worker *worker)
{
    struct kith_store *store = worker->store;
    uint32_t number = atomic_fetch_add(&store->segment_last, 1) + 1;
    struct kith_segment *segment = segment_open(store, number, O_CREAT | O_EXCL);
    if (segment == NULL) {
        int saved = errno;
        kith_log_error("store", "%s/%06u.seg: %s", store->chunks_path, number, strerror(saved));
        return store_err(saved);
    }
    segment->fresh = true;
    worker->full = worker->segment; /* until the commit: a rollback goes back to it */
    worker->segment = segment;
    return KITH_OK;
}

/* Into worker->sealed, for the place where it comes to lie. */
static enum kith_err seal(struct store_worker *worker, struct kith_bytes *bytes)
{
    struct kith_crypt *crypt = store_crypt_of(worker->store);
    uint8_t place[STORE_CRYPT_PLACE_MAX];
    if (crypt == NULL) {
        return KITH_OK;
    }
    kith_buf_clear(&worker->sealed);
    size_t size = bytes->size + KITH_CRYPT_OVERHEAD;
    if (!kith_buf_reserve(&worker->sealed, size)) {
        return KITH_ENOMEM;
    }
    enum kith_err err = kith_crypt_seal(
        crypt, store_crypt_place(worker->segment->number, worker->segment->end, place), *bytes,
        worker->sealed.data);
    *bytes = kith_bytes_make(worker->sealed.data, size);
    return err;
}

enum kith_err segment_append(struct store_worker *worker, struct kith_bytes bytes,
                             uint32_t *ret_segment, uint64_t *ret_offset)
{
    uint64_t stored = bytes.size + store_crypt_overhead(worker->store);
    if (worker->segment == NULL || worker->segment->end + stored > KITH_SEGMENT_MAX) {
        /* a round has a few MiB, so this happens at most once in a transaction */
        enum kith_err err = worker->full == NULL ? next_segment(worker) : KITH_ELIMIT;
        if (err != KITH_OK) {
            return err;
        }
    }
    struct kith_segment *segment = worker->segment;
    enum kith_err err = seal(worker, &bytes);
    if (err != KITH_OK) {
        return err;
    }
    size_t at = 0;
    while (at < bytes.size) {
        ssize_t put = write_out(segment, kith_bytes_make(bytes.data + at, bytes.size - at),
                                segment->end + at);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) { /* what was written lies behind the end and will be overwritten */
            int saved = put == 0 ? EIO : errno;
            kith_log_error("store", "%s/%06u.seg: %s", worker->store->chunks_path, segment->number,
                           strerror(saved));
            return store_err(saved);
        }
        at += (size_t)put;
    }
    *ret_segment = segment->number;
    *ret_offset = segment->end;
    segment->end += bytes.size;
    return KITH_OK;
}

enum kith_err segment_extent_put(struct store_worker *worker, uint32_t segment, uint64_t offset,
                                 struct kith_bytes chunk_key, uint32_t size)
{
    uint8_t buffer[SEGMENT_KEY_MAX];
    uint8_t value[SEGMENT_EXTENT_SIZE];
    size += store_crypt_overhead(worker->store);
    memcpy(value, chunk_key.data, KITH_CHUNK_KEY_SIZE);
    for (int i = 0; i < 4; i++) {
        value[KITH_CHUNK_KEY_SIZE + (size_t)i] = (uint8_t)(size >> (8 * i));
    }
    return store_write(worker, worker->segs, segment_extent_key(segment, offset, buffer),
                       kith_bytes_make(value, sizeof value));
}

enum kith_err segment_extent_remove(struct store_worker *worker, uint32_t segment, uint64_t offset)
{
    uint8_t buffer[SEGMENT_KEY_MAX];
    return store_remove(worker, worker->segs, segment_extent_key(segment, offset, buffer));
}

/* ---- Places that are free again ---- */

enum kith_err segment_hole_put(struct store_worker *worker, uint32_t segment, uint64_t offset,
                               uint32_t size)
{
    if (worker->hole_count == worker->hole_capacity) {
        uint32_t capacity = worker->hole_capacity == 0 ? 64u : 2u * worker->hole_capacity;
        struct store_hole *holes = kith_realloc(worker->holes, capacity * sizeof *holes);
        if (holes == NULL) {
            return KITH_ENOMEM;
        }
        worker->holes = holes;
        worker->hole_capacity = capacity;
    }
    uint8_t buffer[SEGMENT_KEY_MAX];
    size += store_crypt_overhead(worker->store);
    const uint8_t value[4] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
                              (uint8_t)(size >> 24)};
    struct store_hole *hole = &worker->holes[worker->hole_count++];
    hole->segment = segment;
    hole->offset = offset;
    hole->size = size;
    return store_write(worker, worker->segs, segment_hole_key(segment, offset, buffer),
                       kith_bytes_make(value, sizeof value));
}

void segment_holes_take(struct store_worker *worker, struct store_results *later)
{
    uint32_t count = worker->hole_kept;
    if (count == 0 || later == NULL) {
        return; /* they wait for a round that does */
    }
    worker->hole_count = worker->hole_kept = 0;
    later->holes = kith_arena_copy(&later->arena, worker->holes, count * sizeof *worker->holes);
    later->hole_count = later->holes == NULL ? 0 : count; /* then the next start makes them */
}

void segment_holes_make(struct kith_store *store, uint32_t count, const struct store_hole *holes)
{
    int fd = -1;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || holes[i].segment != holes[i - 1].segment) {
            char name[SEGMENT_NAME_SIZE];
            segment_name(holes[i].segment, name);
            if (fd >= 0) {
                close(fd);
            }
            fd = openat(store->chunks_fd, name, O_RDWR | O_CLOEXEC);
        }
        if (fd >= 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 (off_t)holes[i].offset, (off_t)holes[i].size) != 0) {
            static atomic_bool told;
            if (!atomic_exchange(&told, true)) {
                kith_log_warn("store",
                              "%s: the file system cannot give back a part of a file (%s): space "
                              "of deleted files comes back a whole segment at a time",
                              store->chunks_path, strerror(errno));
            }
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

enum kith_err segment_state_put(struct store_worker *worker, uint32_t number, uint64_t synced)
{
    uint8_t buffer[SEGMENT_KEY_MAX];
    uint8_t value[8];
    for (int i = 0; i < 8; i++) {
        value[i] = (uint8_t)(synced >> (8 * i));
    }
    return store_write(worker, worker->segs, segment_state_key(number, buffer),
                       kith_bytes_make(value, sizeof value));
}

static enum kith_err state_before_commit(struct store_worker *worker, struct kith_segment *segment)
{
    if (segment == NULL || (!segment->fresh && segment->end == segment->committed)) {
        return KITH_OK;
    }
    return segment_state_put(worker, segment->number, atomic_load(&segment->synced));
}

/* A full segment is put on disk here and now, once for each GiB, so that no later start reads it.
 */
static enum kith_err finish_full(struct store_worker *worker)
{
    struct kith_segment *full = worker->full;
    if (full == NULL) {
        return KITH_OK;
    }
    if (fdatasync(full->fd) != 0 || fsync(worker->store->chunks_fd) != 0) {
        int saved = errno;
        store_fatal(worker->store, "a chunk segment cannot be synced", saved);
        return store_err(saved);
    }
    atomic_store(&full->synced, full->end);
    return segment_state_put(worker, full->number, full->end);
}

enum kith_err segment_before_commit(struct store_worker *worker)
{
    enum kith_err err = finish_full(worker);
    return err == KITH_OK ? state_before_commit(worker, worker->segment) : err;
}

static void state_after_commit(struct store_worker *worker, struct kith_segment *segment)
{
    if (segment == NULL || (!segment->fresh && segment->end == segment->committed)) {
        return;
    }
    segment->fresh = false;
    segment->committed = segment->end;
    atomic_store(&segment->written, segment->end);
    store_commit_dirty(worker->store, segment);
}

void segment_after_commit(struct store_worker *worker)
{
    worker->hole_kept = worker->hole_count;
    state_after_commit(worker, worker->full);
    state_after_commit(worker, worker->segment);
    if (worker->full != NULL) {
        segment_drop(worker->full);
        worker->full = NULL;
    }
}

void segment_rollback(struct store_worker *worker)
{
    worker->hole_count = worker->hole_kept;
    if (worker->full != NULL || (worker->segment != NULL && worker->segment->fresh)) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(worker->segment->number, name);
        if (unlinkat(worker->store->chunks_fd, name, 0) != 0) {
            kith_log_warn("store", "%s/%s: %s", worker->store->chunks_path, name, strerror(errno));
        }
        segment_drop(worker->segment);
        worker->segment = worker->full;
        worker->full = NULL;
    }
    if (worker->segment != NULL) {
        worker->segment->end = worker->segment->committed;
    }
}

/* ---- Reading ---- */

void segment_cache_init(struct kith_segment_cache *cache)
{
    memset(cache, 0, sizeof *cache);
}

void segment_cache_release(struct kith_segment_cache *cache)
{
    for (uint32_t i = 0; i < KITH_SEGMENT_CACHE; i++) {
        if (cache->slots[i].used) {
            close(cache->slots[i].fd);
        }
    }
    memset(cache, 0, sizeof *cache);
}

static int cached_fd(struct kith_store *store, struct kith_segment_cache *cache, uint32_t segment)
{
    uint32_t slot = segment % KITH_SEGMENT_CACHE;
    if (cache->slots[slot].used && cache->slots[slot].number == segment) {
        return cache->slots[slot].fd;
    }
    char name[SEGMENT_NAME_SIZE];
    segment_name(segment, name);
    int fd = openat(store->chunks_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    if (cache->slots[slot].used) {
        close(cache->slots[slot].fd);
    }
    cache->slots[slot].used = true;
    cache->slots[slot].number = segment;
    cache->slots[slot].fd = fd;
    return fd;
}

/* All of the parts, from `offset` on. They are used up. */
static enum kith_err read_parts(int fd, uint64_t offset, struct iovec *parts, int count)
{
    while (count > 0) {
        ssize_t got = preadv(fd, parts, count, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got == 0 || (got < 0 && errno == EIO)) {
            return KITH_ECORRUPT; /* gone, or the disk cannot read that place any more */
        }
        if (got < 0) {
            return store_err(errno);
        }
        offset += (uint64_t)got;
        while (count > 0 && (size_t)got >= parts->iov_len) {
            got -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + got;
            parts->iov_len -= (size_t)got;
        }
    }
    return KITH_OK;
}

enum kith_err segment_read(struct kith_store *store, struct kith_segment_cache *cache,
                           uint32_t segment, uint64_t offset, uint32_t size, uint8_t *buffer)
{
    int fd = cached_fd(store, cache, segment);
    if (fd < 0) {
        int saved = errno;
        kith_log_error("store", "%s/%06u.seg: %s", store->chunks_path, segment, strerror(saved));
        return saved == ENOENT ? KITH_ECORRUPT : store_err(saved);
    }
    struct kith_crypt *crypt = store_crypt_of(store);
    uint8_t head[KITH_CRYPT_HEAD], tag[KITH_CRYPT_TAG], place[STORE_CRYPT_PLACE_MAX];
    struct iovec parts[] = {{head, sizeof head}, {buffer, size}, {tag, sizeof tag}};
    enum kith_err err =
        crypt == NULL ? read_parts(fd, offset, parts + 1, 1) : read_parts(fd, offset, parts, 3);
    if (err == KITH_OK && crypt != NULL) {
        err = kith_crypt_open_parts(crypt, store_crypt_place(segment, offset, place), head, tag,
                                    buffer, size);
    }
    return err;
}
