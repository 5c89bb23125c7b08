/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as an encoded table: an error, or a table that encodes to these very bytes. The
 * checksum is made right first, or the fuzzer would never get past it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "data/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put(&buf, data, size);
    struct kith_checksum hash = kith_checksum_of(kith_bytes_make(data, size));
    kith_buf_put(&buf, hash.bytes, sizeof(hash.bytes));
    struct kith_table *table = NULL;
    if (!buf.failed && kith_table_decode(kith_buf_bytes(&buf), &table) == KITH_OK) {
        struct kith_buf again;
        kith_buf_init(&again);
        kith_table_encode(table, &again);
        KITH_ASSERT(again.failed || kith_bytes_equal(kith_buf_bytes(&buf), kith_buf_bytes(&again)));
        kith_buf_release(&again);
        kith_table_drop(table);
    }
    kith_buf_release(&buf);
    return 0;
}
