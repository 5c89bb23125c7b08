/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The receiving side of a stream: gRPC's bytes to messages. A payload is copied once at most: not
 * at all when it arrived in one piece. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "rpc/rpc_impl.h"

#define FRONT_BYTES 4096u /* enough to find the payload but for chunks with many references */

static void give(void *arg, struct kith_msg_box *box)
{
    struct rpc_conn *conn = arg;
    rpc_count(&conn->rpc->stats.messages_received, 1);
    rpc_read_got(conn, box->msg.kind);
    conn->rpc->handlers.message(conn->rpc->handlers.arg, conn->id, box);
}

static struct kith_bytes slice_bytes(const grpc_slice *slice)
{
    return kith_bytes_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

static enum kith_err deliver_rows(struct rpc_conn *conn, grpc_byte_buffer *bytes,
                                  struct kith_error *error)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
        return kith_error_set(error, KITH_EFORMAT, "a message is compressed");
    }
    grpc_slice *first;
    enum kith_err err = KITH_OK;
    if (!grpc_byte_buffer_reader_peek(&reader, &first)) {
        /* an empty envelope: nothing to give */
    } else if (GRPC_SLICE_LENGTH(*first) == grpc_byte_buffer_length(bytes)) {
        err = kith_wire_unpack(slice_bytes(first), give, conn, error);
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
            return kith_error_set(error, KITH_EFORMAT, "a message is compressed");
        }
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        err = kith_wire_unpack(slice_bytes(&whole), give, conn, error);
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return err;
}

/* Copies [from, from + size) of the bytes. */
static bool copy_range(grpc_byte_buffer *bytes, size_t from, size_t size, uint8_t *to)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
        return false;
    }
    size_t at = 0, done = 0;
    grpc_slice *slice;
    while (done < size && grpc_byte_buffer_reader_peek(&reader, &slice)) {
        struct kith_bytes piece = slice_bytes(slice);
        size_t skip = from > at ? from - at : 0;
        if (skip < piece.size) {
            size_t part = piece.size - skip < size - done ? piece.size - skip : size - done;
            memcpy(to + done, piece.data + skip, part);
            done += part;
        }
        at += piece.size;
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return done == size;
}

/* Finds where the payload begins; *ret_front holds the fields before it and is the caller's. */
static enum kith_err split(grpc_byte_buffer *bytes, struct kith_buf *front, size_t *ret_prefix,
                           size_t *ret_payload)
{
    size_t total = grpc_byte_buffer_length(bytes);
    size_t size = total < FRONT_BYTES ? total : FRONT_BYTES;
    for (;;) {
        kith_buf_clear(front);
        if (!kith_buf_reserve(front, size + 1)) {
            return KITH_ENOMEM;
        }
        if (!copy_range(bytes, 0, size, front->data)) {
            return KITH_EFORMAT;
        }
        front->size = size;
        enum kith_err err =
            kith_wire_bulk_split(kith_buf_bytes(front), total, ret_prefix, ret_payload);
        if (err != KITH_ETOOFEW || size == total) {
            return err;
        }
        size = total - size < size * 8 ? total : size * 8;
    }
}

static void release_slice(struct kith_blob *blob, void *arg)
{
    (void)blob;
    grpc_slice_unref(*(grpc_slice *)arg);
    kith_free(arg);
}

/* A blob over the slice that ends the message, if the payload lies in it whole. */
static struct kith_blob *wrap_payload(grpc_byte_buffer *bytes, size_t size)
{
    grpc_slice_buffer *slices = &bytes->data.raw.slice_buffer;
    grpc_slice last = slices->slices[slices->count - 1];
    size_t length = GRPC_SLICE_LENGTH(last);
    /* an inlined slice moves with its holder; and a small payload must not pin a large read
     * buffer */
    if (length < size || !last.refcount || size < FRONT_BYTES) {
        return NULL;
    }
    grpc_slice *kept = kith_malloc(sizeof *kept);
    if (!kept) {
        return NULL;
    }
    *kept = grpc_slice_ref(last);
    uint8_t *start = GRPC_SLICE_START_PTR(*kept) + (length - size);
    struct kith_blob *blob = kith_blob_wrap(start, size, release_slice, kept);
    if (!blob) {
        grpc_slice_unref(*kept);
        kith_free(kept);
    }
    return blob;
}

static enum kith_err deliver_bulk(struct rpc_conn *conn, grpc_byte_buffer *bytes,
                                  struct kith_error *error)
{
    struct kith_buf front;
    kith_buf_init(&front);
    size_t prefix, payload_size;
    enum kith_err err = split(bytes, &front, &prefix, &payload_size);
    struct kith_blob *payload = NULL;
    if (err != KITH_OK) {
        (void)kith_error_set(error, err, "a bulk message: %s", kith_err_text((int)err));
    } else if (payload_size > 0) {
        payload = wrap_payload(bytes, payload_size);
        if (!payload) {
            payload = kith_blob_new(payload_size);
            if (!payload || !copy_range(bytes, prefix, payload_size, payload->data)) {
                err = kith_error_set(error, KITH_ENOMEM, "no memory for a payload of %zu bytes",
                                     payload_size);
            }
        }
    }
    struct kith_msg_box *box;
    if (err == KITH_OK) {
        err = kith_wire_bulk_unpack(kith_bytes_make(front.data, prefix), payload, &box, error);
        payload = NULL;
    }
    if (err == KITH_OK) {
        give(conn, box);
    }
    kith_blob_drop(payload);
    kith_buf_release(&front);
    return err;
}

enum kith_err rpc_conn_deliver(struct rpc_conn *conn, grpc_byte_buffer *bytes,
                               struct kith_error *error)
{
    rpc_count(&conn->rpc->stats.packets_received, 1);
    rpc_count(&conn->rpc->stats.bytes_received, grpc_byte_buffer_length(bytes));
    rpc_cork_enter();
    enum kith_err err = conn->cls == KITH_RPC_BULK ? deliver_bulk(conn, bytes, error)
                                                   : deliver_rows(conn, bytes, error);
    rpc_cork_leave();
    return err;
}
