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
 * A joint one has TABLE_FORMAT_JOINT, behind the number of replicas
 *
 *     u8      next slots
 *
 * and each member has, behind its weight, u8 flags, sized zone and varint weight as they will be;
 * owners have as many slots as there are members that do not join (at most `replicas`), and behind
 * them stand the next owners in the same way, as many as members that do not leave.
 *
 * The default (1024 partitions, 3 replicas, 3 members) takes 6.3 KiB; the largest table that the
 * limits allow takes 1 MiB, a quarter of a message. */
#include "data/table_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define TABLE_FORMAT       1u
#define TABLE_FORMAT_JOINT 2u

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

static bool next_valid(const struct kith_member_next *after)
{
    unsigned flags = after->flags;
    bool joins = (flags & KITH_MEMBER_JOINS) != 0;
    bool leaves = (flags & KITH_MEMBER_LEAVES) != 0;
    bool gone = (flags & KITH_MEMBER_GONE) != 0;
    return flags < 2 * KITH_MEMBER_GONE && !(joins && leaves) && (leaves || !gone) &&
           after->weight >= 1 && after->weight <= KITH_WEIGHT_MAX && zone_valid(after->zone);
}

/* Whether none of the owners is such a member. */
static bool owners_without(const struct kith_table *table, const uint16_t *owners, uint32_t slots,
                           unsigned flag)
{
    for (size_t i = 0; i < (size_t)table->partitions * slots; i++) {
        if (table->after[owners[i]].flags & flag) {
            return false;
        }
    }
    return true;
}

static uint32_t slots_without(const struct kith_table *table, unsigned flag)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->member_count; i++) {
        count += (table->after[i].flags & flag) == 0 ? 1 : 0;
    }
    return count < table->replicas ? count : table->replicas;
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

/* One block holds the struct and its arrays. */
struct kith_table *kith_table_alloc(const struct kith_table_shape *shape,
                                    struct kith_table_parts *ret_parts)
{
    uint32_t count = shape->member_count;
    size_t members_size = (size_t)count * sizeof(struct kith_member);
    size_t after_size = shape->next_slots > 0 ? (size_t)count * sizeof(struct kith_member_next) : 0;
    size_t owners = (size_t)shape->partitions * shape->owner_slots;
    size_t next = (size_t)shape->partitions * shape->next_slots;
    struct kith_table *table = kith_calloc(
        1, sizeof(*table) + members_size + after_size + (owners + next) * sizeof(uint16_t));
    if (!table) {
        return NULL;
    }
    ret_parts->members = (struct kith_member *)(void *)(table + 1);
    ret_parts->after = (struct kith_member_next *)(void *)(ret_parts->members + count);
    ret_parts->owners = (uint16_t *)(void *)((uint8_t *)ret_parts->after + after_size);
    ret_parts->next = ret_parts->owners + owners;
    table->refs = 1;
    table->partitions = shape->partitions;
    table->replicas = shape->replicas;
    table->member_count = count;
    table->members = ret_parts->members;
    table->owner_slots = shape->owner_slots;
    table->owners = ret_parts->owners;
    table->next_slots = shape->next_slots;
    if (shape->next_slots > 0) {
        table->next = ret_parts->next;
        table->after = ret_parts->after;
    }
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

static void owners_encode(const uint16_t *owners, size_t pairs, struct kith_buf *buf)
{
    if (!kith_buf_reserve(buf, pairs * 2)) {
        return;
    }
    uint8_t *out = buf->data + buf->size;
    for (size_t i = 0; i < pairs; i++) {
        *out++ = (uint8_t)(owners[i] & 0xff);
        *out++ = (uint8_t)(owners[i] >> 8);
    }
    buf->size += pairs * 2;
}

/* The document without its checksum. */
static void body_encode(const struct kith_table *table, struct kith_buf *buf)
{
    bool joint = kith_table_is_joint(table);
    kith_buf_put_u8(buf, joint ? TABLE_FORMAT_JOINT : TABLE_FORMAT);
    kith_buf_put(buf, table->cluster.bytes, sizeof(table->cluster.bytes));
    kith_buf_put_u64(buf, table->id.epoch);
    kith_buf_put_u64(buf, table->id.version);
    kith_buf_put_u32(buf, table->partitions);
    kith_buf_put_u8(buf, (uint8_t)table->replicas);
    if (joint) {
        kith_buf_put_u8(buf, (uint8_t)table->next_slots);
    }
    kith_buf_put_varint(buf, table->member_count);
    for (uint32_t i = 0; i < table->member_count; i++) {
        const struct kith_member *member = &table->members[i];
        kith_buf_put(buf, member->uuid.bytes, sizeof(member->uuid.bytes));
        kith_buf_put_sized(buf, kith_bytes_make(member->zone, strlen(member->zone)));
        kith_buf_put_varint(buf, member->weight);
        if (joint) {
            const struct kith_member_next *after = &table->after[i];
            kith_buf_put_u8(buf, after->flags);
            kith_buf_put_sized(buf, kith_bytes_make(after->zone, strlen(after->zone)));
            kith_buf_put_varint(buf, after->weight);
        }
    }
    owners_encode(table->owners, (size_t)table->partitions * table->owner_slots, buf);
    owners_encode(table->next, (size_t)table->partitions * table->next_slots, buf);
}

bool kith_table_valid(const struct kith_table *table)
{
    bool good = shape_valid(table->id.epoch, table->id.version, table->partitions, table->replicas,
                            table->member_count) &&
                members_valid(table->members, table->member_count) &&
                owners_valid(table->owners, table->partitions, table->owner_slots,
                             table->member_count);
    if (!good || !kith_table_is_joint(table)) {
        return good;
    }
    for (uint32_t i = 0; i < table->member_count; i++) {
        if (!next_valid(&table->after[i])) {
            return false;
        }
    }
    return owners_valid(table->next, table->partitions, table->next_slots, table->member_count) &&
           table->owner_slots == slots_without(table, KITH_MEMBER_JOINS) &&
           table->next_slots == slots_without(table, KITH_MEMBER_LEAVES) &&
           owners_without(table, table->owners, table->owner_slots, KITH_MEMBER_JOINS) &&
           owners_without(table, table->next, table->next_slots, KITH_MEMBER_LEAVES);
}

enum kith_err kith_table_seal(struct kith_table *table)
{
    if (!kith_table_valid(table)) {
        return KITH_EINVAL;
    }
    struct kith_buf body;
    kith_buf_init(&body);
    body_encode(table, &body);
    enum kith_err err = body.failed ? KITH_ENOMEM : KITH_OK;
    if (err == KITH_OK) {
        table->id.hash = kith_checksum_of(kith_buf_bytes(&body));
        table->zones = zones_count(table);
    }
    kith_buf_release(&body);
    return err;
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
    struct kith_table_shape shape = {.partitions = partitions,
                                     .replicas = replicas,
                                     .member_count = member_count,
                                     .owner_slots =
                                         replicas < member_count ? replicas : member_count};
    struct kith_table_parts parts;
    struct kith_table *table = kith_table_alloc(&shape, &parts);
    uint16_t *position = kith_calloc(member_count, sizeof(*position));
    enum kith_err err = KITH_ENOMEM;
    if (!table || !position) {
        goto out;
    }
    table->cluster = *cluster;
    table->id.epoch = epoch;
    table->id.version = version;
    err = members_sort(members, member_count, parts.members, position);
    if (err != KITH_OK) {
        goto out;
    }
    size_t pairs = (size_t)partitions * table->owner_slots;
    for (size_t i = 0; i < pairs; i++) {
        if (owners[i] >= member_count) {
            err = KITH_EINVAL;
            goto out;
        }
        parts.owners[i] = position[owners[i]];
    }
    err = kith_table_seal(table);
    if (err == KITH_OK) {
        *ret_table = table;
        table = NULL;
    }
out:
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

static bool among(const uint16_t *members, uint32_t count, uint16_t member)
{
    for (uint32_t i = 0; i < count; i++) {
        if (members[i] == member) {
            return true;
        }
    }
    return false;
}

bool kith_table_owns(const struct kith_table *table, uint32_t partition, uint16_t member)
{
    return among(kith_table_owners(table, partition), table->owner_slots, member);
}

const uint16_t *kith_table_next_owners(const struct kith_table *table, uint32_t partition)
{
    KITH_ASSERT(partition < table->partitions && kith_table_is_joint(table));
    return table->next + (size_t)partition * table->next_slots;
}

bool kith_table_holds(const struct kith_table *table, uint32_t partition, uint16_t member)
{
    return kith_table_owns(table, partition, member) ||
           (kith_table_is_joint(table) &&
            among(kith_table_next_owners(table, partition), table->next_slots, member));
}

uint32_t kith_table_holders(const struct kith_table *table, uint32_t partition,
                            uint16_t ret_members[KITH_HOLDERS_MAX])
{
    const uint16_t *owners = kith_table_owners(table, partition);
    uint32_t count = table->owner_slots;
    memcpy(ret_members, owners, count * sizeof(*owners));
    for (uint32_t i = 0; i < table->next_slots; i++) {
        uint16_t member = kith_table_next_owners(table, partition)[i];
        if (!among(owners, table->owner_slots, member)) {
            ret_members[count] = member;
            count++;
        }
    }
    return count;
}

/* How many of so many may lack a write that w are to have. */
static uint32_t spare(uint32_t slots, uint32_t w)
{
    w = w == 0 ? slots / 2 + 1 : w;
    return w < slots ? slots - w : 0;
}

uint32_t kith_table_need(const struct kith_table *table, uint32_t partition, uint32_t w)
{
    uint16_t members[KITH_HOLDERS_MAX];
    uint32_t least = spare(table->owner_slots, w);
    if (!kith_table_is_joint(table)) {
        return table->owner_slots - least;
    }
    uint32_t next = spare(table->next_slots, w);
    return kith_table_holders(table, partition, members) - (next < least ? next : least);
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
            bool leaves = kith_table_is_joint(table) &&
                          (table->after[member].flags & KITH_MEMBER_LEAVES) != 0;
            if (covered == (pass == 1) && !leaves && !kith_table_holds(table, partition, member)) {
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

static void zone_weight_decode(struct kith_reader *reader, char ret_zone[KITH_ZONE_SIZE],
                               uint32_t *ret_weight)
{
    struct kith_bytes zone = kith_read_sized(reader, KITH_ZONE_SIZE - 1);
    uint64_t weight = kith_read_varint(reader);
    reader->failed = reader->failed || weight > KITH_WEIGHT_MAX ||
                     (zone.size > 0 && memchr(zone.data, 0, zone.size) != NULL);
    if (!reader->failed && zone.size > 0) {
        memcpy(ret_zone, zone.data, zone.size);
    }
    *ret_weight = (uint32_t)weight;
}

/* `after` is NULL but for joint tables. */
static void member_decode(struct kith_reader *reader, struct kith_member *member,
                          struct kith_member_next *after)
{
    const uint8_t *uuid = kith_read(reader, sizeof(member->uuid.bytes));
    if (uuid) {
        memcpy(member->uuid.bytes, uuid, sizeof(member->uuid.bytes));
    }
    zone_weight_decode(reader, member->zone, &member->weight);
    if (after) {
        after->flags = kith_read_u8(reader);
        zone_weight_decode(reader, after->zone, &after->weight);
    }
}

static void owners_decode(struct kith_reader *reader, size_t pairs, uint16_t *ret_owners)
{
    const uint8_t *in = kith_read(reader, pairs * 2);
    for (size_t i = 0; in && i < pairs; i++) {
        ret_owners[i] = (uint16_t)(in[2 * i] | in[2 * i + 1] << 8);
    }
}

/* What the members that follow are, looked at before there is memory for them. */
static uint32_t members_peek(const struct kith_reader *reader, const struct kith_table_shape *shape,
                             unsigned flag)
{
    struct kith_reader ahead = *reader;
    uint32_t count = 0;
    for (uint32_t i = 0; i < shape->member_count && !ahead.failed; i++) {
        struct kith_member member = {.weight = 0};
        struct kith_member_next after = {.flags = 0};
        member_decode(&ahead, &member, &after);
        count += (after.flags & flag) == 0 ? 1 : 0;
    }
    return ahead.failed || count == 0 ? 0 : count < shape->replicas ? count : shape->replicas;
}

/* The table in a document whose checksum is right; its hash is not set yet. */
static enum kith_err body_decode(struct kith_reader *reader, struct kith_table **ret_table)
{
    bool joint = kith_read_u8(reader) == TABLE_FORMAT_JOINT;
    const uint8_t *cluster = kith_read(reader, 16);
    struct kith_table_id id = {.epoch = kith_read_u64(reader)};
    id.version = kith_read_u64(reader);
    struct kith_table_shape shape = {.partitions = kith_read_u32(reader)};
    shape.replicas = kith_read_u8(reader);
    shape.next_slots = joint ? kith_read_u8(reader) : 0;
    uint64_t member_count = kith_read_varint(reader);
    /* bounds before memory: each member takes at least 18 bytes, each owner 2 */
    if (reader->failed || member_count > KITH_MEMBERS_MAX ||
        !shape_valid(id.epoch, id.version, shape.partitions, shape.replicas,
                     (uint32_t)member_count) ||
        joint != (shape.next_slots > 0) || shape.next_slots > shape.replicas ||
        kith_reader_left(reader) <
            member_count * 18 + (size_t)shape.partitions * (joint ? 4 : 2)) {
        return KITH_EFORMAT;
    }
    shape.member_count = (uint32_t)member_count;
    shape.owner_slots = joint                                ? members_peek(reader, &shape,
                                                                            KITH_MEMBER_JOINS)
                        : shape.replicas < shape.member_count ? shape.replicas
                                                              : shape.member_count;
    if (shape.owner_slots == 0) {
        return KITH_EFORMAT;
    }
    struct kith_table_parts parts;
    struct kith_table *table = kith_table_alloc(&shape, &parts);
    if (!table) {
        return KITH_ENOMEM;
    }
    memcpy(table->cluster.bytes, cluster, sizeof(table->cluster.bytes));
    table->id = id;
    for (uint32_t i = 0; !reader->failed && i < shape.member_count; i++) {
        member_decode(reader, &parts.members[i], joint ? &parts.after[i] : NULL);
    }
    owners_decode(reader, (size_t)shape.partitions * shape.owner_slots, parts.owners);
    owners_decode(reader, (size_t)shape.partitions * shape.next_slots, parts.next);
    if (!kith_reader_done(reader) || !kith_table_valid(table)) {
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
    if (bytes.data[0] != TABLE_FORMAT && bytes.data[0] != TABLE_FORMAT_JOINT) {
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
