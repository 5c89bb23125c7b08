/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * key.h - what a row and a chunk are called, and which partition holds them.
 *
 * A key is (group, name). All rows of a group lie in one partition, sorted by name, and can be
 * scanned and changed together. DESIGN section 2. Pure; any thread. */
#ifndef KITH_DATA_KEY_H
#define KITH_DATA_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define KITH_GROUP_SIZE 16u
#define KITH_NAME_MAX 1024u /* bytes; a file name is at most 255, the rest is for attribute rows */
#define KITH_CHUNK_ID_SIZE 20u
#define KITH_ROW_STATE_MAX (1u << 20)   /* bytes of an encoded row state */
#define KITH_INLINE_VALUE_MAX (64u << 10) /* bytes of one sibling's value */
#define KITH_CHUNK_MAX (1u << 20)       /* bytes of a chunk's contents */
#define KITH_CHECKSUM_SIZE 16u          /* XXH3-128, canonical (big-endian) form */
#define KITH_PARTITIONS_MAX 32768u
#define KITH_PARTITIONS_DEFAULT 1024u

#define KITH_VOLUME_FS 1u         /* the filesystem's first volume */
#define KITH_VOLUME_KV 0xffffffffu /* plain keys of key-value users */
#define KITH_VOLUME_KV_BUCKETS 0xfffffffeu /* their keys in buckets, see kith_group_of_bucket */
#define KITH_VOLUME_CLUSTER 0xfffffffdu /* what administrators note in the cluster: ctl/plan/plan.h */

struct kith_group {
    uint8_t bytes[KITH_GROUP_SIZE]; /* 4 bytes volume (big-endian), 12 bytes of its own */
};

/* Borrows its name. */
struct kith_key {
    struct kith_group group;
    struct kith_bytes name; /* 0 to KITH_NAME_MAX bytes, any values */
};

/* 4 bytes volume, 6 bytes creation time in ms (both big-endian), 10 random bytes. */
struct kith_chunk_id {
    uint8_t bytes[KITH_CHUNK_ID_SIZE];
};

struct kith_checksum {
    uint8_t bytes[KITH_CHECKSUM_SIZE];
};

struct kith_uuid {
    uint8_t bytes[16];
};

struct kith_request_id {
    uint8_t bytes[16]; /* first 8: the client (random per client object), last 8: its sequence */
};

struct kith_group kith_group_make(uint32_t volume, const uint8_t own[12]);
uint32_t kith_group_volume(const struct kith_group *group);
/* The group of a key-value user's key: (KITH_VOLUME_KV, the first 96 bits of XXH3_128(key)). */
struct kith_group kith_group_of_kv(struct kith_bytes key);
/* The group of all keys in a key-value user's bucket; name = the key. A volume apart from that of
 * plain keys, so that a key and a bucket of the same text do not meet. */
static inline struct kith_group kith_group_of_bucket(struct kith_bytes bucket)
{
    struct kith_group hashed = kith_group_of_kv(bucket);
    return kith_group_make(KITH_VOLUME_KV_BUCKETS, hashed.bytes + 4);
}
int kith_group_compare(const struct kith_group *a, const struct kith_group *b);

struct kith_chunk_id kith_chunk_id_make(uint32_t volume, uint64_t time_ms,
                                        const uint8_t random[10]);
uint32_t kith_chunk_id_volume(const struct kith_chunk_id *id);
uint64_t kith_chunk_id_time_ms(const struct kith_chunk_id *id);

/* The partition among `partitions` (a power of two, at most KITH_PARTITIONS_MAX): the top bits of
 * XXH3_64 of the group or chunk id. */
uint32_t kith_group_partition(const struct kith_group *group, uint32_t partitions);
uint32_t kith_chunk_partition(const struct kith_chunk_id *id, uint32_t partitions);

/* XXH3-128 of the bytes. */
struct kith_checksum kith_checksum_of(struct kith_bytes bytes);
bool kith_checksum_equal(const struct kith_checksum *a, const struct kith_checksum *b);

bool kith_uuid_equal(const struct kith_uuid *a, const struct kith_uuid *b);
bool kith_uuid_is_nil(const struct kith_uuid *uuid);
int kith_uuid_compare(const struct kith_uuid *a, const struct kith_uuid *b);
#define KITH_UUID_TEXT_SIZE 37
/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" with NUL. */
void kith_uuid_format(const struct kith_uuid *uuid, char ret_text[KITH_UUID_TEXT_SIZE]);
KITH_MUST_CHECK enum kith_err kith_uuid_parse(const char *text, struct kith_uuid *ret_uuid);

#endif
