/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/key.h"

#include <string.h>
#include <xxhash.h>

#include "base/assert.h"

#define VOLUME_SIZE 4u

static void put_big(uint8_t *out, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        out[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
}

static uint64_t get_big(const uint8_t *in, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

struct kith_group kith_group_make(uint32_t volume, const uint8_t own[12])
{
    struct kith_group group;
    put_big(group.bytes, volume, VOLUME_SIZE);
    memcpy(group.bytes + VOLUME_SIZE, own, KITH_GROUP_SIZE - VOLUME_SIZE);
    return group;
}

uint32_t kith_group_volume(const struct kith_group *group)
{
    return (uint32_t)get_big(group->bytes, VOLUME_SIZE);
}

struct kith_group kith_group_of_kv(struct kith_bytes key)
{
    struct kith_checksum hash = kith_checksum_of(key);
    return kith_group_make(KITH_VOLUME_KV, hash.bytes);
}

int kith_group_compare(const struct kith_group *a, const struct kith_group *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

struct kith_chunk_id kith_chunk_id_make(uint32_t volume, uint64_t time_ms, const uint8_t random[10])
{
    struct kith_chunk_id id;
    put_big(id.bytes, volume, VOLUME_SIZE);
    put_big(id.bytes + VOLUME_SIZE, time_ms, 6);
    memcpy(id.bytes + VOLUME_SIZE + 6, random, 10);
    return id;
}

uint32_t kith_chunk_id_volume(const struct kith_chunk_id *id)
{
    return (uint32_t)get_big(id->bytes, VOLUME_SIZE);
}

uint64_t kith_chunk_id_time_ms(const struct kith_chunk_id *id)
{
    return get_big(id->bytes + VOLUME_SIZE, 6);
}

static uint32_t partition_of(const void *data, size_t size, uint32_t partitions)
{
    KITH_ASSERT(partitions != 0 && partitions <= KITH_PARTITIONS_MAX &&
                (partitions & (partitions - 1)) == 0);
    /* the product's upper half is the hash's top log2(partitions) bits */
    uint64_t top = XXH3_64bits(data, size) >> 32;
    return (uint32_t)(top * partitions >> 32);
}

uint32_t kith_group_partition(const struct kith_group *group, uint32_t partitions)
{
    return partition_of(group->bytes, sizeof group->bytes, partitions);
}

uint32_t kith_chunk_partition(const struct kith_chunk_id *id, uint32_t partitions)
{
    return partition_of(id->bytes, sizeof id->bytes, partitions);
}

struct kith_checksum kith_checksum_of(struct kith_bytes bytes)
{
    XXH128_hash_t hash = XXH3_128bits(bytes.data, bytes.size);
    struct kith_checksum checksum;
    put_big(checksum.bytes, hash.high64, 8);
    put_big(checksum.bytes + 8, hash.low64, 8);
    return checksum;
}

bool kith_checksum_equal(const struct kith_checksum *a, const struct kith_checksum *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool kith_uuid_equal(const struct kith_uuid *a, const struct kith_uuid *b)
{
    return kith_uuid_compare(a, b) == 0;
}

bool kith_uuid_is_nil(const struct kith_uuid *uuid)
{
    static const struct kith_uuid nil;
    return kith_uuid_equal(uuid, &nil);
}

int kith_uuid_compare(const struct kith_uuid *a, const struct kith_uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

/* A dash stands before these bytes. */
static bool dash_before(size_t index)
{
    return index == 4 || index == 6 || index == 8 || index == 10;
}

void kith_uuid_format(const struct kith_uuid *uuid, char ret_text[KITH_UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_text;
    for (size_t i = 0; i < sizeof uuid->bytes; i++) {
        if (dash_before(i)) {
            *out++ = '-';
        }
        *out++ = digits[uuid->bytes[i] >> 4];
        *out++ = digits[uuid->bytes[i] & 15];
    }
    *out = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

enum kith_err kith_uuid_parse(const char *text, struct kith_uuid *ret_uuid)
{
    struct kith_uuid uuid;
    for (size_t i = 0; i < sizeof uuid.bytes; i++) {
        if (dash_before(i) && *text++ != '-') {
            return KITH_EINVAL;
        }
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]); /* text[0] may have been the NUL */
        if (low < 0) {
            return KITH_EINVAL;
        }
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0') {
        return KITH_EINVAL;
    }
    *ret_uuid = uuid;
    return KITH_OK;
}
