/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"

#define CAPACITY_MIN_BYTES 64u

bool kith_bytes_equal(struct kith_bytes a, struct kith_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int kith_bytes_compare(struct kith_bytes a, struct kith_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

/* ---- A growing buffer ---- */

void kith_buf_init(struct kith_buf *buf)
{
    memset(buf, 0, sizeof *buf);
}

void kith_buf_release(struct kith_buf *buf)
{
    kith_free(buf->data);
    kith_buf_init(buf);
}

void kith_buf_clear(struct kith_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

bool kith_buf_reserve(struct kith_buf *buf, size_t size)
{
    if (buf->failed) {
        return false;
    }
    if (buf->capacity - buf->size >= size) {
        return true;
    }
    if (size > SIZE_MAX / 2 - buf->size) {
        buf->failed = true;
        return false;
    }
    size_t capacity = buf->capacity < CAPACITY_MIN_BYTES ? CAPACITY_MIN_BYTES : buf->capacity;
    while (capacity < buf->size + size) {
        capacity *= 2;
    }
    uint8_t *data = kith_realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void kith_buf_put(struct kith_buf *buf, const void *data, size_t size)
{
    if (size != 0 && kith_buf_reserve(buf, size)) {
        memcpy(buf->data + buf->size, data, size);
        buf->size += size;
    }
}

void kith_buf_put_u8(struct kith_buf *buf, uint8_t value)
{
    kith_buf_put(buf, &value, 1);
}

static void put_big(struct kith_buf *buf, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
    kith_buf_put(buf, bytes, size);
}

static void put_little(struct kith_buf *buf, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    kith_buf_put(buf, bytes, size);
}

void kith_buf_put_u16be(struct kith_buf *buf, uint16_t value)
{
    put_big(buf, value, 2);
}

void kith_buf_put_u32be(struct kith_buf *buf, uint32_t value)
{
    put_big(buf, value, 4);
}

void kith_buf_put_u64be(struct kith_buf *buf, uint64_t value)
{
    put_big(buf, value, 8);
}

void kith_buf_put_u32(struct kith_buf *buf, uint32_t value)
{
    put_little(buf, value, 4);
}

void kith_buf_put_u64(struct kith_buf *buf, uint64_t value)
{
    put_little(buf, value, 8);
}

void kith_buf_put_varint(struct kith_buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t size = 0;
    while (value >= 0x80) {
        bytes[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[size++] = (uint8_t)value;
    kith_buf_put(buf, bytes, size);
}

void kith_buf_put_sized(struct kith_buf *buf, struct kith_bytes bytes)
{
    kith_buf_put_varint(buf, bytes.size);
    kith_buf_put(buf, bytes.data, bytes.size);
}

/* ---- A reader ---- */

void kith_reader_init(struct kith_reader *reader, struct kith_bytes bytes)
{
    reader->data = bytes.data;
    reader->size = bytes.size;
    reader->at = 0;
    reader->failed = false;
}

const uint8_t *kith_read(struct kith_reader *reader, size_t size)
{
    static const uint8_t nothing[1];

    if (reader->failed || reader->size - reader->at < size) {
        reader->failed = true;
        return NULL;
    }
    if (size == 0) {
        return nothing; /* data may be NULL here, and NULL means failed */
    }
    const uint8_t *at = reader->data + reader->at;
    reader->at += size;
    return at;
}

static uint64_t read_big(struct kith_reader *reader, unsigned size)
{
    const uint8_t *bytes = kith_read(reader, size);
    uint64_t value = 0;
    for (unsigned i = 0; bytes && i < size; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static uint64_t read_little(struct kith_reader *reader, unsigned size)
{
    const uint8_t *bytes = kith_read(reader, size);
    uint64_t value = 0;
    for (unsigned i = 0; bytes && i < size; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

uint8_t kith_read_u8(struct kith_reader *reader)
{
    const uint8_t *bytes = kith_read(reader, 1);
    return bytes ? bytes[0] : 0;
}

uint16_t kith_read_u16be(struct kith_reader *reader)
{
    return (uint16_t)read_big(reader, 2);
}

uint32_t kith_read_u32be(struct kith_reader *reader)
{
    return (uint32_t)read_big(reader, 4);
}

uint64_t kith_read_u64be(struct kith_reader *reader)
{
    return read_big(reader, 8);
}

uint32_t kith_read_u32(struct kith_reader *reader)
{
    return (uint32_t)read_little(reader, 4);
}

uint64_t kith_read_u64(struct kith_reader *reader)
{
    return read_little(reader, 8);
}

uint64_t kith_read_varint(struct kith_reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; !reader->failed && shift < 70; shift += 7) {
        uint8_t byte = kith_read_u8(reader);
        if (shift == 63 && byte > 1) {
            break; /* beyond 64 bits */
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift != 0) {
                break; /* not the shortest form */
            }
            return reader->failed ? 0 : value;
        }
    }
    reader->failed = true;
    return 0;
}

struct kith_bytes kith_read_sized(struct kith_reader *reader, size_t max)
{
    uint64_t size = kith_read_varint(reader);
    if (size > max) {
        reader->failed = true;
    }
    const uint8_t *data = reader->failed ? NULL : kith_read(reader, (size_t)size);
    return kith_bytes_make(data, data ? (size_t)size : 0);
}

bool kith_reader_done(const struct kith_reader *reader)
{
    return !reader->failed && reader->at == reader->size;
}

/* ---- A blob ---- */

/* The bytes of kith_blob_new follow the blob in one allocation. */
struct own_blob {
    struct kith_blob blob;
    _Alignas(16) uint8_t data[];
};

/* ---- Slots: the memory of blobs that are (nearly) a whole chunk ----
 *
 * They come and go in thousands, made by one thread and dropped by another. On the heap each of
 * the threads' arenas kept its own share of holes and tops, and a mount that had written 256 MiB
 * held 400; here what is dropped last is used first, by whoever is next, and is still in the
 * processor's cache. */

#define SLOTS_KEEP 8          /* 8 MiB: what is dropped and wanted again within a moment */
#define SLOT_BYTES (1u << 20) /* KITH_CHUNK_MAX, which this layer does not know */

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ON_HEAP
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define ON_HEAP
#endif
#ifdef ON_HEAP
#define SLOT_FROM (SLOT_BYTES + 1u) /* none: so that every use after the end is seen */
#else
#define SLOT_FROM (SLOT_BYTES / 4u * 3u) /* smaller blobs would waste too much of it */
#endif

static struct {
    pthread_mutex_t lock;
    uint32_t count;         /* protected by lock */
    void *idle[SLOTS_KEEP]; /* protected by lock */
} slots = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *slot_take(void)
{
    void *slot = NULL;
    pthread_mutex_lock(&slots.lock);
    if (slots.count > 0) {
        slot = slots.idle[--slots.count];
    }
    pthread_mutex_unlock(&slots.lock);
    if (slot == NULL) {
        slot = mmap(NULL, SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        slot = slot == MAP_FAILED ? NULL : slot;
    }
    return slot;
}

static void slot_give(struct kith_blob *blob, void *slot)
{
    (void)blob;
    pthread_mutex_lock(&slots.lock);
    bool keep = slots.count < SLOTS_KEEP;
    if (keep) {
        slots.idle[slots.count++] = slot;
    }
    pthread_mutex_unlock(&slots.lock);
    if (!keep) {
        KITH_ASSERT(munmap(slot, SLOT_BYTES) == 0);
    }
}

static struct kith_blob *slot_blob(size_t size)
{
    void *slot = slot_take();
    struct kith_blob *blob = slot == NULL ? NULL : kith_blob_wrap(slot, size, slot_give, slot);
    if (slot != NULL && blob == NULL) {
        slot_give(NULL, slot);
    }
    return blob;
}

struct kith_blob *kith_blob_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct own_blob)) {
        return NULL;
    }
    if (size >= SLOT_FROM && size <= SLOT_BYTES) {
        return slot_blob(size);
    }
    struct own_blob *own = kith_malloc(sizeof *own + size);
    if (!own) {
        return NULL;
    }
    own->blob.data = own->data;
    own->blob.size = size;
    own->blob.refs = 1;
    own->blob.release = NULL;
    own->blob.arg = NULL;
    return &own->blob;
}

struct kith_blob *kith_blob_wrap(void *data, size_t size,
                                 void (*release)(struct kith_blob *, void *), void *arg)
{
    struct kith_blob *blob = kith_malloc(sizeof *blob);
    if (!blob) {
        return NULL;
    }
    blob->data = data;
    blob->size = size;
    blob->refs = 1;
    blob->release = release;
    blob->arg = arg;
    return blob;
}

struct kith_blob *kith_blob_hold(struct kith_blob *blob)
{
    uint32_t before = __atomic_fetch_add(&blob->refs, 1, __ATOMIC_RELAXED);
    KITH_ASSERT(before != 0 && before != UINT32_MAX);
    return blob;
}

void kith_blob_drop(struct kith_blob *blob)
{
    if (!blob) {
        return;
    }
    /* release: what this holder read happens before the free; acquire: so for all the others */
    uint32_t before = __atomic_fetch_sub(&blob->refs, 1, __ATOMIC_ACQ_REL);
    KITH_ASSERT(before != 0);
    if (before == 1) {
        if (blob->release) {
            blob->release(blob, blob->arg);
        }
        kith_free(blob);
    }
}
