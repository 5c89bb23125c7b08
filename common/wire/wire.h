/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * wire.h - messages to protobuf frames and back.
 *
 * An Envelope (proto/frame.proto) carries any number of Frames: a sender packs all that is queued
 * into one gRPC message. A bulk message carries one Frame whose payload field comes last, so that
 * sender and receiver keep it as a slice of its own. Pure; any thread. Never crashes on any input
 * (invariant 12), checked by tests/fuzz/fuzz_wire.c. */
#ifndef KITH_WIRE_WIRE_H
#define KITH_WIRE_WIRE_H

#include "wire/msg.h"

#define KITH_TABLE_BYTES_MAX (1u << 20) /* of an encoded table; 1024 members and 32768 partitions
                                           with 7 owners need half of it */
#define KITH_SYNC_IDS_MAX 16384u /* chunk ids in one sync: 16 GiB of chunks, 350 KiB of message */
#define KITH_SOFTWARE_MAX 63u    /* bytes of a version text in hello and status */

/* Appends one Frame to an Envelope in the making (field tag, length, body). Envelopes concatenate,
 * so appending is packing. For bulk kinds the payload is NOT written: see below. Check
 * buf->failed. */
void kith_wire_append(const struct kith_msg *msg, struct kith_buf *buf);
/* The same, but tells what was wrong: EINVAL (a field above its limit, which the receiver would
 * refuse), ENOMEM. The buffer is as before then, and `failed` not set. */
KITH_MUST_CHECK enum kith_err kith_wire_try_append(const struct kith_msg *msg, struct kith_buf *buf,
                                                   struct kith_error *error);

/* The message alone, without a Frame around it: what a unary call carries. EINVAL, ENOMEM as
 * above. */
KITH_MUST_CHECK enum kith_err kith_wire_body_append(const struct kith_msg *msg,
                                                    struct kith_buf *buf, struct kith_error *error);
/* A message of this kind from such bytes. EFORMAT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_wire_body_unpack(enum kith_msg_kind kind,
                                                    struct kith_bytes bytes,
                                                    struct kith_msg_box **ret_box,
                                                    struct kith_error *error);

/* The bytes that precede a bulk message's payload in a whole BulkFrame (its last field is the
 * payload: tag and length are in the prefix, the payload itself follows as a slice of its own).
 * *ret_payload is borrowed from the message, NULL when there is none. */
void kith_wire_bulk_prefix(const struct kith_msg *msg, struct kith_buf *buf,
                           struct kith_blob **ret_payload);

/* Unpacks an Envelope; calls take(arg, box) for each message in order, giving the box away.
 * EFORMAT, ETOOBIG, ENOMEM; messages before the malformed one have been given. */
KITH_MUST_CHECK enum kith_err kith_wire_unpack(struct kith_bytes envelope,
                                               void (*take)(void *arg, struct kith_msg_box *box),
                                               void *arg, struct kith_error *error);

/* Splits the front of a BulkFrame: *ret_prefix_size bytes of fields, then ret_payload_size bytes of
 * payload to the end. `front` is the first bytes of the message, total_size the message's size.
 * EFORMAT; ETOOBIG for a payload above KITH_CHUNK_MAX; ETOOFEW when front is too short to tell (all
 * that precedes the payload is needed; 64 KiB do but for chunks with thousands of references). */
KITH_MUST_CHECK enum kith_err kith_wire_bulk_split(struct kith_bytes front, size_t total_size,
                                                   size_t *ret_prefix_size,
                                                   size_t *ret_payload_size);
/* A message from a bulk prefix and its payload (whose reference is taken over, on an error too;
 * NULL = none, or one of no bytes). EFORMAT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_wire_bulk_unpack(struct kith_bytes prefix,
                                                    struct kith_blob *payload,
                                                    struct kith_msg_box **ret_box,
                                                    struct kith_error *error);

/* Whether messages of this kind travel on the bulk stream. */
bool kith_wire_is_bulk(enum kith_msg_kind kind);

#endif
