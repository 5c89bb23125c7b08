/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * table.c - the partition table as a value and as bytes.
 *
 * Encoded document, canonical (a table has exactly one encoding; decode refuses any other):
 *
 *     u8      format, TABLE_FORMAT
 *     16      cluster uuid
 *     u64     epoch (LE), at least 1
 *     u64     version (LE), at least 1
 *     u32     partitions (LE), a power of two
 *     u8      replicas
 *     varint  number of members, at least 1
 *       each: 16 uuid, sized zone (without NUL), varint weight     strictly ascending by uuid
 *     partitions * min(replicas, members) * u16 (LE) indices of owners
 *     16      XXH3-128 of all before: the hash in the table's name
 *
 * The default (1024 partitions, 3 replicas, 3 members) takes 6.3 KiB; the largest table that the
 * limits allow takes 515 KiB, an eighth of a message. */
#include "data/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define TABLE_FORMAT 1u

/* ---- Checks ---- */

/* Zones are shown on terminals and written into configuration files. */
static bool zone_valid(const char zone[KITH_ZONE_SIZE])
{
    size_t length = strnlen(zone, KITH_ZONE_SIZE);
    if (length == KITH_ZONE_SIZE) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)zone[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool shape_valid(uint64_t epoch, uint64_t version, uint32_t partitions, uint32_t replicas,
                        uint32_t member_count)
{
    return epoch >= 1 && version >= 1 && partitions >= 1 && partitions <= KITH_PARTITIONS_MAX &&
           (partitions & (partitions - 1)) == 0 && replicas >= 1 && replicas <= KITH_REPLICAS_MAX &&
           member_count >= 1 && member_count <= KITH_MEMBERS_MAX;
}

static bool owners_valid(const uint16_t *owners, uint32_t partitions, uint32_t slots,
                         uint32_t member_count)
{
    for (uint32_t p = 0; p < partitions; p++, owners += slots) {
        for (uint32_t i = 0; i < slots; i++) {
            if (owners[i] >= member_count) {
                return false;
            }
            for (uint32_t j = 0; j < i; j++) {
                if (owners[i] == owners[j]) {
                    return false;
                }
            }
        }
    }
    return true;
}

static bool members_valid(const struct kith_member *members, uint32_t member_count)
{
    for (uint32_t i = 0; i < member_count; i++) {
        if (members[i].weight < 1 || members[i].weight > KITH_WEIGHT_MAX ||
            !zone_valid(members[i].zone)) {
            return false;
        }
        if (i > 0 && kith_uuid_compare(&members[i - 1].uuid, &members[i].uuid) >= 0) {
            return false;
        }
    }
    return true;
}

/* ---- The value ---- */

/* One block holds the struct and both arrays; zeroed, refs = 1. */
static struct kith_table *table_alloc(uint32_t partitions, uint32_t replicas, uint32_t member_count,
                                      struct kith_member **ret_members, uint16_t **ret_owners)
{
    uint32_t slots = replicas < member_count ? replicas : member_count;
    size_t members_size = (size_t)member_count * sizeof(struct kith_member);
    size_t owners_size = (size_t)partitions * slots * sizeof(uint16_t);
    struct kith_table *table = kith_calloc(1, sizeof(*table) + members_size + owners_size);
    if (!table) {
        return NULL;
    }
    struct kith_member *members = (struct kith_member *)(void *)(table + 1);
    uint16_t *owners = (uint16_t *)(void *)(members + member_count);
    table->refs = 1;
    table->partitions = partitions;
    table->replicas = replicas;
    table->member_count = member_count;
    table->members = members;
    table->owner_slots = slots;
    table->owners = owners;
    *ret_members = members;
    *ret_owners = owners;
    return table;
}

/* Whether another member before this one is in its zone. */
static bool zone_seen(const struct kith_table *table, uint32_t member)
{
    for (uint32_t i = 0; i < member; i++) {
        if (strcmp(table->members[i].zone, table->members[member].zone) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t zones_count(const struct kith_table *table)
{
    uint32_t zones = 0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        zones += zone_seen(table, i) ? 0 : 1;
    }
    return zones;
}

/* A member with the caller's index, to carry owners over when members are sorted. */
struct indexed_member {
    struct kith_member member;
    uint16_t index;
};

static int indexed_compare(const void *a, const void *b)
{
    const struct indexed_member *x = a;
    const struct indexed_member *y = b;
    return kith_uuid_compare(&x->member.uuid, &y->member.uuid);
}

/* Fills members (sorted) and position[index given] = index sorted. ENOMEM. */
static enum kith_err members_sort(const struct kith_member *given, uint32_t count,
                                  struct kith_member *members, uint16_t *position)
{
    struct indexed_member *sorted = kith_calloc(count, sizeof(*sorted));
    if (!sorted) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        sorted[i].member.uuid = given[i].uuid;
        sorted[i].member.weight = given[i].weight;
        /* what lies behind the zone's NUL is no part of the value */
        memcpy(sorted[i].member.zone, given[i].zone, strnlen(given[i].zone, KITH_ZONE_SIZE));
        sorted[i].index = (uint16_t)i;
    }
    qsort(sorted, count, sizeof(*sorted), indexed_compare);
    for (uint32_t i = 0; i < count; i++) {
        members[i] = sorted[i].member;
        position[sorted[i].index] = (uint16_t)i;
    }
    kith_free(sorted);
    return KITH_OK;
}

/* The document without its checksum. */
static void body_encode(const struct kith_table *table, struct kith_buf *buf)
{
    kith_buf_put_u8(buf, TABLE_FORMAT);
    kith_buf_put(buf, table->cluster.bytes, sizeof(table->cluster.bytes));
    kith_buf_put_u64(buf, table->id.epoch);
    kith_buf_put_u64(buf, table->id.version);
    kith_buf_put_u32(buf, table->partitions);
    kith_buf_put_u8(buf, (uint8_t)table->replicas);
    kith_buf_put_varint(buf, table->member_count);
    for (uint32_t i = 0; i < table->member_count; i++) {
        const struct kith_member *member = &table->members[i];
        kith_buf_put(buf, member->uuid.bytes, sizeof(member->uuid.bytes));
        kith_buf_put_sized(buf, kith_bytes_make(member->zone, strlen(member->zone)));
        kith_buf_put_varint(buf, member->weight);
    }
    size_t pairs = (size_t)table->partitions * table->owner_slots;
    if (!kith_buf_reserve(buf, pairs * 2 + KITH_CHECKSUM_SIZE)) {
        return;
    }
    uint8_t *out = buf->data + buf->size;
    for (size_t i = 0; i < pairs; i++) {
        *out++ = (uint8_t)(table->owners[i] & 0xff);
        *out++ = (uint8_t)(table->owners[i] >> 8);
    }
    buf->size += pairs * 2;
}

enum kith_err kith_table_new(const struct kith_uuid *cluster, uint64_t epoch, uint64_t version,
                             uint32_t partitions, uint32_t replicas,
                             const struct kith_member *members, uint32_t member_count,
                             const uint16_t *owners, struct kith_table **ret_table)
{
    if (!shape_valid(epoch, version, partitions, replicas, member_count)) {
        return KITH_EINVAL;
    }
    for (uint32_t i = 0; i < member_count; i++) {
        if (!zone_valid(members[i].zone)) {
            return KITH_EINVAL;
        }
    }
    struct kith_member *sorted = NULL;
    uint16_t *placed = NULL;
    struct kith_table *table = table_alloc(partitions, replicas, member_count, &sorted, &placed);
    uint16_t *position = kith_calloc(member_count, sizeof(*position));
    struct kith_buf body;
    kith_buf_init(&body);
    enum kith_err err = KITH_ENOMEM;
    if (!table || !position) {
        goto out;
    }
    table->cluster = *cluster;
    table->id.epoch = epoch;
    table->id.version = version;
    err = members_sort(members, member_count, sorted, position);
    if (err != KITH_OK) {
        goto out;
    }
    err = KITH_EINVAL;
    if (!members_valid(sorted, member_count) ||
        !owners_valid(owners, partitions, table->owner_slots, member_count)) {
        goto out;
    }
    for (size_t i = 0; i < (size_t)partitions * table->owner_slots; i++) {
        placed[i] = position[owners[i]];
    }
    body_encode(table, &body);
    if (body.failed) {
        err = KITH_ENOMEM;
        goto out;
    }
    table->id.hash = kith_checksum_of(kith_buf_bytes(&body));
    table->zones = zones_count(table);
    *ret_table = table;
    table = NULL;
    err = KITH_OK;
out:
    kith_buf_release(&body);
    kith_free(position);
    kith_free(table);
    return err;
}

struct kith_table *kith_table_hold(struct kith_table *table)
{
    __atomic_fetch_add(&table->refs, 1, __ATOMIC_RELAXED);
    return table;
}

void kith_table_drop(struct kith_table *table)
{
    if (!table) {
        return;
    }
    uint32_t before = __atomic_fetch_sub(&table->refs, 1, __ATOMIC_ACQ_REL);
    KITH_ASSERT(before > 0);
    if (before == 1) {
        kith_free(table);
    }
}

/* ---- Questions ---- */

int kith_table_id_compare(const struct kith_table_id *a, const struct kith_table_id *b)
{
    if (a->epoch != b->epoch) {
        return a->epoch < b->epoch ? -1 : 1;
    }
    if (a->version != b->version) {
        return a->version < b->version ? -1 : 1;
    }
    int order = memcmp(a->hash.bytes, b->hash.bytes, sizeof(a->hash.bytes));
    return order < 0 ? -1 : order > 0;
}

const uint16_t *kith_table_owners(const struct kith_table *table, uint32_t partition)
{
    KITH_ASSERT(partition < table->partitions);
    return table->owners + (size_t)partition * table->owner_slots;
}

uint16_t kith_table_find(const struct kith_table *table, const struct kith_uuid *uuid)
{
    uint32_t low = 0;
    uint32_t high = table->member_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = kith_uuid_compare(&table->members[middle].uuid, uuid);
        if (order == 0) {
            return (uint16_t)middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return KITH_NO_MEMBER;
}

bool kith_table_owns(const struct kith_table *table, uint32_t partition, uint16_t member)
{
    const uint16_t *owners = kith_table_owners(table, partition);
    for (uint32_t i = 0; i < table->owner_slots; i++) {
        if (owners[i] == member) {
            return true;
        }
    }
    return false;
}

/* Whether one of the first `count` owners is in the zone. */
static bool zone_owns(const struct kith_table *table, const uint16_t *owners, uint32_t count,
                      const char *zone)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(table->members[owners[i]].zone, zone) == 0) {
            return true;
        }
    }
    return false;
}

static bool zones_all_own(const struct kith_table *table, const uint16_t *owners)
{
    uint32_t zones = 0;
    for (uint32_t i = 0; i < table->owner_slots; i++) {
        zones += zone_owns(table, owners, i, table->members[owners[i]].zone) ? 0 : 1;
    }
    return zones == table->zones;
}

uint32_t kith_table_fallbacks(const struct kith_table *table, uint32_t partition, uint32_t most,
                              uint16_t ret_members[])
{
    const uint16_t *owners = kith_table_owners(table, partition);
    uint32_t count = 0;
    for (uint32_t pass = zones_all_own(table, owners) ? 1 : 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < table->member_count && count < most; i++) {
            uint16_t member = (uint16_t)((partition + i) % table->member_count);
            bool covered = table->zones == 1 || zone_owns(table, owners, table->owner_slots,
                                                          table->members[member].zone);
            if (covered == (pass == 1) && !kith_table_owns(table, partition, member)) {
                ret_members[count] = member;
                count++;
            }
        }
    }
    return count;
}

/* ---- Bytes ---- */

void kith_table_encode(const struct kith_table *table, struct kith_buf *buf)
{
    body_encode(table, buf);
    kith_buf_put(buf, table->id.hash.bytes, sizeof(table->id.hash.bytes));
}

static bool member_decode(struct kith_reader *reader, struct kith_member *member)
{
    const uint8_t *uuid = kith_read(reader, sizeof(member->uuid.bytes));
    struct kith_bytes zone = kith_read_sized(reader, KITH_ZONE_SIZE - 1);
    uint64_t weight = kith_read_varint(reader);
    if (reader->failed || weight > KITH_WEIGHT_MAX) {
        return false;
    }
    memcpy(member->uuid.bytes, uuid, sizeof(member->uuid.bytes));
    if (zone.size > 0) {
        if (memchr(zone.data, 0, zone.size)) {
            return false;
        }
        memcpy(member->zone, zone.data, zone.size);
    }
    member->weight = (uint32_t)weight;
    return true;
}

/* The table in a document whose checksum is right; its hash is not set yet. */
static enum kith_err body_decode(struct kith_reader *reader, struct kith_table **ret_table)
{
    (void)kith_read_u8(reader); /* format, looked at before */
    const uint8_t *cluster = kith_read(reader, 16);
    uint64_t epoch = kith_read_u64(reader);
    uint64_t version = kith_read_u64(reader);
    uint32_t partitions = kith_read_u32(reader);
    uint32_t replicas = kith_read_u8(reader);
    uint64_t member_count = kith_read_varint(reader);
    /* bounds before memory: each member takes at least 18 bytes, each owner 2 */
    if (reader->failed || member_count > KITH_MEMBERS_MAX ||
        !shape_valid(epoch, version, partitions, replicas, (uint32_t)member_count) ||
        kith_reader_left(reader) < member_count * 18 + (size_t)partitions * 2) {
        return KITH_EFORMAT;
    }
    struct kith_member *members = NULL;
    uint16_t *owners = NULL;
    struct kith_table *table =
        table_alloc(partitions, replicas, (uint32_t)member_count, &members, &owners);
    if (!table) {
        return KITH_ENOMEM;
    }
    memcpy(table->cluster.bytes, cluster, sizeof(table->cluster.bytes));
    table->id.epoch = epoch;
    table->id.version = version;
    bool good = true;
    for (uint32_t i = 0; good && i < member_count; i++) {
        good = member_decode(reader, &members[i]);
    }
    size_t pairs = (size_t)partitions * table->owner_slots;
    const uint8_t *in = good ? kith_read(reader, pairs * 2) : NULL;
    if (!in) {
        kith_free(table);
        return KITH_EFORMAT;
    }
    for (size_t i = 0; i < pairs; i++) {
        owners[i] = (uint16_t)(in[2 * i] | in[2 * i + 1] << 8);
    }
    if (!kith_reader_done(reader) || !members_valid(members, table->member_count) ||
        !owners_valid(owners, partitions, table->owner_slots, table->member_count)) {
        kith_free(table);
        return KITH_EFORMAT;
    }
    table->zones = zones_count(table);
    *ret_table = table;
    return KITH_OK;
}

enum kith_err kith_table_decode(struct kith_bytes bytes, struct kith_table **ret_table)
{
    if (bytes.size < 1 + KITH_CHECKSUM_SIZE) {
        return KITH_EFORMAT;
    }
    if (bytes.data[0] != TABLE_FORMAT) {
        return KITH_EVERSION;
    }
    struct kith_bytes body = kith_bytes_make(bytes.data, bytes.size - KITH_CHECKSUM_SIZE);
    struct kith_checksum hash = kith_checksum_of(body);
    if (memcmp(hash.bytes, body.data + body.size, KITH_CHECKSUM_SIZE) != 0) {
        return KITH_ECORRUPT;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, body);
    struct kith_table *table = NULL;
    enum kith_err err = body_decode(&reader, &table);
    if (err != KITH_OK) {
        return err;
    }
    table->id.hash = hash;
    *ret_table = table;
    return KITH_OK;
}
