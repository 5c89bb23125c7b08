/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a record of a backup: an error, or a record that encodes to these very bytes. The
 * checksum is made right first, or the fuzzer would never get past it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "ctl/backup/backup_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct kith_bytes bytes)
{
    struct kith_arena arena;
    struct kith_backup_record record;
    size_t used = 0;
    kith_arena_init(&arena, 0);
    if (kith_backup_record_decode(&arena, bytes, &record, &used) == KITH_OK) {
        struct kith_buf again;
        kith_buf_init(&again);
        kith_backup_record_append(&record, &again);
        KITH_ASSERT(again.failed ||
                    kith_bytes_equal(kith_bytes_make(bytes.data, used), kith_buf_bytes(&again)));
        kith_buf_release(&again);
    }
    (void)kith_backup_record_follows(bytes);
    kith_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(kith_bytes_make(data, size));
    uint8_t *whole = malloc(KITH_CHECKSUM_SIZE + size + 1);
    if (whole) {
        struct kith_checksum sum = kith_checksum_of(kith_bytes_make(data, size));
        memcpy(whole, sum.bytes, sizeof sum.bytes);
        if (size > 0) {
            memcpy(whole + KITH_CHECKSUM_SIZE, data, size);
        }
        decode(kith_bytes_make(whole, KITH_CHECKSUM_SIZE + size));
        free(whole);
    }
    return 0;
}
