/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes from the network: the first says which way in, the rest is the input. Whatever decodes must
 * encode again, and decode to the same bytes (invariant 12). */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "wire/wire.h"

static void take(void *arg, struct kith_msg_box *box)
{
    (void)arg;
    struct kith_buf first, second;
    kith_buf_init(&first);
    kith_buf_init(&second);
    KITH_ASSERT(kith_wire_body_append(&box->msg, &first, NULL) == KITH_OK);
    struct kith_msg_box *again;
    KITH_ASSERT(kith_wire_body_unpack(box->msg.kind, kith_buf_bytes(&first), &again, NULL) ==
                KITH_OK);
    KITH_ASSERT(kith_wire_body_append(&again->msg, &second, NULL) == KITH_OK);
    KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&first), kith_buf_bytes(&second)));
    kith_msg_box_drop(again);
    kith_buf_release(&first);
    kith_buf_release(&second);
    kith_msg_box_drop(box);
}

static void bulk(struct kith_bytes input)
{
    size_t prefix, payload;
    if (kith_wire_bulk_split(input, input.size, &prefix, &payload) != KITH_OK) {
        return;
    }
    KITH_ASSERT(prefix + payload == input.size);
    struct kith_blob *blob = NULL;
    if (payload > 0) {
        blob = kith_blob_new(payload);
        KITH_ASSERT(blob);
        memcpy(blob->data, input.data + prefix, payload);
    }
    struct kith_msg_box *box;
    if (kith_wire_bulk_unpack(kith_bytes_make(input.data, prefix), blob, &box, NULL) == KITH_OK) {
        take(NULL, box);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct kith_bytes input = kith_bytes_make(data + 1, size - 1);
    struct kith_error error;
    struct kith_msg_box *box;
    if (data[0] == 0) {
        (void)!kith_wire_unpack(input, take, NULL, &error);
    } else if (data[0] == 1) {
        bulk(input);
    } else if (kith_wire_body_unpack((enum kith_msg_kind)data[0], input, &box, &error) == KITH_OK) {
        take(NULL, box);
    }
    return 0;
}
