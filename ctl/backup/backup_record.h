/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_record.h - the records that a backup is written in.
 *
 *     16 bytes  XXH3-128 (canonical) of all that follows
 *     u8        type, then three zeros
 *     u32       bytes of the payload (LE)
 *     payload   HEAD   u8 format, 16 cluster, u32 partitions, u32 partition (UINT32_MAX: of chunks, or of
 *                      a whole stream)
 *               ROW    u32 partition, 16 group, sized name, 16 hash, the encoded state to the end; none:
 *                      no owner has the row any more
 *               MARK   u32 partition, u64 run, 16 root, u64 rows, u64 time in ms, u8 whole
 *               CHUNK  20 id, 16 checksum, varint refs, refs * 20 ids, the contents to the end
 *               END    u64 rows, u64 chunks, u8 whole: of a stream
 *
 * (integers little-endian). A file begins with a HEAD and grows at its end. What ROWs say of a
 * partition holds from the next MARK on: they and nothing else are its state in that run. A file whose
 * last record is not whole was being written to; one that is damaged before others was damaged later.
 * Pure; any thread. Checked by tests/unit/test_backup_record.c, tests/fuzz/fuzz_backup_record.c. */
#ifndef KITH_CTL_BACKUP_RECORD_H
#define KITH_CTL_BACKUP_RECORD_H

#include "base/alloc.h"
#include "data/row.h"

#define KITH_BACKUP_FORMAT    1u
#define KITH_BACKUP_HEAD_SIZE 24u         /* bytes before the payload */
#define KITH_BACKUP_PAYLOAD_MAX (3u << 19) /* a chunk of 1 MiB with 16384 refs */

enum kith_backup_type {
    KITH_BACKUP_HEAD = 1,
    KITH_BACKUP_ROW = 2,
    KITH_BACKUP_MARK = 3,
    KITH_BACKUP_CHUNK = 4,
    KITH_BACKUP_END = 5,
};

/* Borrows what it points to; refs lie in the arena that it was decoded with. */
struct kith_backup_record {
    enum kith_backup_type type;
    union {
        struct {
            struct kith_uuid cluster;
            uint32_t partitions, partition;
        } head;
        struct {
            uint32_t partition;
            struct kith_group group;
            struct kith_bytes name;
            struct kith_checksum hash; /* all zero: not known */
            struct kith_bytes state;
        } row;
        struct {
            uint32_t partition;
            uint64_t run;
            struct kith_checksum root; /* sum of the hashes, as trees have it */
            uint64_t rows, time_ms;
            bool whole; /* of a majority of the owners, each as of one moment */
        } mark;
        struct {
            struct kith_chunk_id id;
            struct kith_checksum checksum;
            uint32_t ref_count;
            const struct kith_chunk_id *refs;
            struct kith_bytes contents;
        } chunk;
        struct {
            uint64_t rows, chunks;
            bool whole;
        } end;
    } u;
};

/* Appends it; check buf->failed. */
void kith_backup_record_append(const struct kith_backup_record *record, struct kith_buf *buf);

/* The first record in the bytes, and its size. ETOOFEW: it goes on behind them (*ret_size bytes are
 * needed at least). EFORMAT: it cannot be one, or what append would not have written. ECORRUPT: not what
 * its checksum says. EVERSION: a HEAD of another format. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_backup_record_decode(struct kith_arena *arena,
                                                        struct kith_bytes bytes,
                                                        struct kith_backup_record *ret_record,
                                                        size_t *ret_size);

/* The size of the record by its first KITH_BACKUP_HEAD_SIZE bytes alone, and its type. EFORMAT. */
KITH_MUST_CHECK enum kith_err kith_backup_record_size(struct kith_bytes head,
                                                      enum kith_backup_type *ret_type,
                                                      size_t *ret_size);

/* Whether a whole record begins anywhere in the bytes but at their start: then what is wrong there is
 * no end that was being written. */
bool kith_backup_record_follows(struct kith_bytes bytes);

#endif
