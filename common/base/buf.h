/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * buf.h - bytes: a borrowed range, a growing buffer, a bounds-checked reader, a shared blob.
 *
 * Integers in byte formats are little-endian, except where order matters (storage keys), which are
 * big-endian. A varint is LEB128 as in protobuf, and only its shortest form is accepted, so that a
 * value has exactly one encoding. */
#ifndef KITH_BASE_BUF_H
#define KITH_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* ---- A borrowed range of bytes ---- */
struct kith_bytes {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
};

static inline struct kith_bytes kith_bytes_make(const void *data, size_t size)
{
    struct kith_bytes bytes = {(const uint8_t *)data, size};
    return bytes;
}
bool kith_bytes_equal(struct kith_bytes a, struct kith_bytes b);
/* memcmp order, a shorter prefix first; < 0, 0, > 0. */
int kith_bytes_compare(struct kith_bytes a, struct kith_bytes b);

/* ---- A growing buffer ---- */

/* Once an allocation fails `failed` stays set and further puts do nothing: check once at the end.
 */
struct kith_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed;
};

void kith_buf_init(struct kith_buf *buf);
void kith_buf_release(struct kith_buf *buf);
/* Empties it and keeps the memory; clears `failed`. */
void kith_buf_clear(struct kith_buf *buf);
/* Room for `size` more bytes at data + size(not counted in yet); false when memory is short. */
KITH_MUST_CHECK bool kith_buf_reserve(struct kith_buf *buf, size_t size);
void kith_buf_put(struct kith_buf *buf, const void *data, size_t size);
void kith_buf_put_u8(struct kith_buf *buf, uint8_t value);
void kith_buf_put_u16be(struct kith_buf *buf, uint16_t value);
void kith_buf_put_u32be(struct kith_buf *buf, uint32_t value);
void kith_buf_put_u64be(struct kith_buf *buf, uint64_t value);
void kith_buf_put_u32(struct kith_buf *buf, uint32_t value);
void kith_buf_put_u64(struct kith_buf *buf, uint64_t value);
void kith_buf_put_varint(struct kith_buf *buf, uint64_t value);
/* A varint length and the bytes. */
void kith_buf_put_sized(struct kith_buf *buf, struct kith_bytes bytes);
static inline struct kith_bytes kith_buf_bytes(const struct kith_buf *buf)
{
    return kith_bytes_make(buf->data, buf->size);
}

/* ---- A reader ---- */

/* After the first read past the end (or malformed varint) `failed` stays set and every read gives
 * zero: check once at the end. */
struct kith_reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed;
};

void kith_reader_init(struct kith_reader *reader, struct kith_bytes bytes);
uint8_t kith_read_u8(struct kith_reader *reader);
uint16_t kith_read_u16be(struct kith_reader *reader);
uint32_t kith_read_u32be(struct kith_reader *reader);
uint64_t kith_read_u64be(struct kith_reader *reader);
uint32_t kith_read_u32(struct kith_reader *reader);
uint64_t kith_read_u64(struct kith_reader *reader);
uint64_t kith_read_varint(struct kith_reader *reader);
/* `size` bytes, borrowed from the input; NULL and failed when they are not there. */
const uint8_t *kith_read(struct kith_reader *reader, size_t size);
/* A varint length and that many bytes, borrowed; failed when longer than `max`. */
struct kith_bytes kith_read_sized(struct kith_reader *reader, size_t max);
/* True when nothing failed and nothing is left. */
bool kith_reader_done(const struct kith_reader *reader);
static inline size_t kith_reader_left(const struct kith_reader *reader)
{
    return reader->size - reader->at;
}

/* ---- A blob: immutable bytes with a reference count ---- */

/* Carries chunk contents from socket to disk and back without copies. The count is atomic: any
 * thread may hold and drop references; the bytes must not change once a second holder exists. */
struct kith_blob {
    uint8_t *data;
    size_t size;
    uint32_t refs;                                     /* atomic */
    void (*release)(struct kith_blob *blob, void *arg); /* frees data (not the blob); may be NULL */
    void *arg;
};

/* A blob with `size` uninitialised bytes of its own. NULL when memory is short. */
KITH_MUST_CHECK struct kith_blob *kith_blob_new(size_t size);
/* A blob over `data`; release(blob, arg) is called when the last reference goes. NULL when memory
 * is short (release is not called then). */
KITH_MUST_CHECK struct kith_blob *kith_blob_wrap(void *data, size_t size,
                                                 void (*release)(struct kith_blob *, void *),
                                                 void *arg);
struct kith_blob *kith_blob_hold(struct kith_blob *blob); /* returns blob */
void kith_blob_drop(struct kith_blob *blob);              /* NULL is fine */

#endif
