/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * extents_codec.c - extents as bytes; the layout is at the top of extents.h. */
#include <string.h>

#include "base/assert.h"
#include "format/extents.h"

/* The least that an extent takes: how many can be there is known before memory is asked for. */
#define EXTENT_BYTES_MIN 4u
#define CHUNK_BYTES_MIN (KITH_CHUNK_ID_SIZE + KITH_CHECKSUM_SIZE + 1u)
#define ENTRY_BYTES_MIN (CHUNK_BYTES_MIN + 2u)

static void put_ref(struct kith_buf *buf, const struct kith_chunk_ref *ref)
{
    kith_buf_put(buf, ref->id.bytes, KITH_CHUNK_ID_SIZE);
    kith_buf_put(buf, ref->checksum.bytes, KITH_CHECKSUM_SIZE);
    kith_buf_put_varint(buf, ref->size - 1u);
}

static bool read_ref(struct kith_reader *reader, struct kith_chunk_ref *ret_ref)
{
    const uint8_t *id = kith_read(reader, KITH_CHUNK_ID_SIZE);
    const uint8_t *checksum = kith_read(reader, KITH_CHECKSUM_SIZE);
    uint64_t size = kith_read_varint(reader);
    if (reader->failed || size >= KITH_CHUNK_MAX) {
        return false;
    }
    memcpy(ret_ref->id.bytes, id, KITH_CHUNK_ID_SIZE);
    memcpy(ret_ref->checksum.bytes, checksum, KITH_CHECKSUM_SIZE);
    ret_ref->size = (uint32_t)size + 1u;
    return true;
}

enum kith_err kith_image_parse(struct kith_bytes bytes, struct kith_image *ret_image)
{
    struct kith_image image = {.kind = KITH_IMAGE_INLINE};
    if (bytes.size == 0) {
        *ret_image = image;
        return KITH_OK;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t format = kith_read_u8(&reader);
    uint8_t kind = kith_read_u8(&reader);
    image.size = kith_read_varint(&reader);
    image.allocated = kith_read_varint(&reader);
    if (format != KITH_IMAGE_FORMAT) {
        return KITH_EVERSION;
    }
    if (reader.failed || kind > KITH_IMAGE_INDEX || image.size > KITH_IMAGE_SIZE_MAX ||
        image.allocated > image.size) {
        return KITH_EFORMAT;
    }
    image.kind = (enum kith_image_kind)kind;
    image.body = kith_bytes_make(bytes.data + reader.at, kith_reader_left(&reader));
    if (image.kind == KITH_IMAGE_INLINE &&
        (image.body.size != image.size || image.allocated != image.size)) {
        return KITH_EFORMAT;
    }
    *ret_image = image;
    return KITH_OK;
}

void kith_image_put_head(struct kith_buf *buf, enum kith_image_kind kind, uint64_t size,
                         uint64_t allocated)
{
    kith_buf_put_u8(buf, KITH_IMAGE_FORMAT);
    kith_buf_put_u8(buf, (uint8_t)kind);
    kith_buf_put_varint(buf, size);
    kith_buf_put_varint(buf, allocated);
}

/* ---- leaves ---- */

/* Distinct chunks by id: open addressing over the random end of the id. */
struct ref_table {
    uint32_t mask;
    uint32_t count;
    uint32_t *slots;                    /* 0 = free, else index + 1 */
    const struct kith_chunk_ref **refs; /* in the order of first use */
};

static enum kith_err table_init(struct ref_table *table, uint32_t max)
{
    uint32_t size = 16;
    while (size < max * 2u) {
        size *= 2u;
    }
    memset(table, 0, sizeof(*table));
    table->mask = size - 1u;
    table->slots = kith_calloc(size, sizeof(*table->slots));
    table->refs = kith_calloc(max + 1u, sizeof(*table->refs));
    return table->slots == NULL || table->refs == NULL ? KITH_ENOMEM : KITH_OK;
}

static void table_release(struct ref_table *table)
{
    kith_free(table->slots);
    kith_free(table->refs);
}

static uint32_t table_index(struct ref_table *table, const struct kith_chunk_ref *ref)
{
    uint32_t at;
    memcpy(&at, ref->id.bytes + KITH_CHUNK_ID_SIZE - sizeof(at), sizeof(at));
    for (at &= table->mask; table->slots[at] != 0; at = (at + 1u) & table->mask) {
        const struct kith_chunk_ref *known = table->refs[table->slots[at] - 1u];
        if (memcmp(&known->id, &ref->id, sizeof(ref->id)) == 0) {
            return table->slots[at] - 1u;
        }
    }
    table->refs[table->count] = ref;
    table->slots[at] = ++table->count;
    return table->count - 1u;
}

enum kith_err kith_leaf_encode(const struct kith_leaf *leaf, uint64_t start, struct kith_buf *buf,
                               struct kith_chunk_id *refs, uint32_t *ret_ref_count)
{
    struct ref_table table;
    enum kith_err err = table_init(&table, leaf->count);
    if (err != KITH_OK) {
        table_release(&table);
        return err;
    }
    for (uint32_t i = 0; i < leaf->count; i++) {
        table_index(&table, &leaf->extents[i].chunk);
    }
    kith_buf_put_varint(buf, table.count);
    for (uint32_t i = 0; i < table.count; i++) {
        put_ref(buf, table.refs[i]);
        if (refs != NULL) {
            refs[i] = table.refs[i]->id;
        }
    }
    kith_buf_put_varint(buf, leaf->count);
    uint64_t at = start;
    for (uint32_t i = 0; i < leaf->count; i++) {
        const struct kith_extent *extent = &leaf->extents[i];
        kith_buf_put_varint(buf, extent->offset - at);
        kith_buf_put_varint(buf, extent->length - 1u);
        kith_buf_put_varint(buf, table_index(&table, &extent->chunk));
        kith_buf_put_varint(buf, extent->chunk_offset);
        at = extent->offset + extent->length;
    }
    *ret_ref_count = table.count;
    table_release(&table);
    return buf->failed ? KITH_ENOMEM : KITH_OK;
}

static bool read_chunks(struct kith_reader *reader, struct kith_chunk_ref *refs, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (!read_ref(reader, &refs[i])) {
            return false;
        }
    }
    return true;
}

/* An id that stands twice in the table would be a second encoding of the same extents. */
static enum kith_err check_distinct(const struct kith_chunk_ref *refs, uint32_t count)
{
    struct ref_table table;
    enum kith_err err = table_init(&table, count);
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        if (table_index(&table, &refs[i]) != i) {
            err = KITH_EFORMAT;
        }
    }
    table_release(&table);
    return err;
}

static bool read_extents(struct kith_reader *reader, const struct kith_chunk_ref *refs,
                         uint64_t ref_count, uint64_t end, struct kith_leaf *leaf, uint64_t count)
{
    uint64_t at = leaf->start, used = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = kith_read_varint(reader);
        uint64_t length = kith_read_varint(reader);
        uint64_t index = kith_read_varint(reader);
        uint64_t chunk_offset = kith_read_varint(reader);
        if (reader->failed || gap > end - at || length >= KITH_REGION_SIZE || index > used ||
            index >= ref_count || chunk_offset >= refs[index].size) {
            return false;
        }
        used += index == used;
        at += gap;
        length++;
        if (length > end - at || length > refs[index].size - chunk_offset ||
            at / KITH_REGION_SIZE != (at + length - 1) / KITH_REGION_SIZE) {
            return false;
        }
        struct kith_extent *extent = &leaf->extents[leaf->count++];
        extent->offset = at;
        extent->length = (uint32_t)length;
        extent->chunk_offset = (uint32_t)chunk_offset;
        extent->chunk = refs[index];
        leaf->allocated += length;
        at += length;
    }
    return used == ref_count && kith_reader_done(reader);
}

static enum kith_err leaf_append(struct kith_extents *list, const struct kith_leaf *leaf)
{
    if (list->leaf_count == list->leaf_capacity) {
        uint32_t capacity = list->leaf_capacity == 0 ? 1 : list->leaf_capacity * 2;
        struct kith_leaf *leaves = kith_realloc(list->leaves, capacity * sizeof(*leaves));
        if (leaves == NULL) {
            return KITH_ENOMEM;
        }
        list->leaves = leaves;
        list->leaf_capacity = capacity;
    }
    list->leaves[list->leaf_count++] = *leaf;
    list->allocated += leaf->allocated;
    list->count += leaf->count;
    return KITH_OK;
}

enum kith_err kith_leaf_decode(struct kith_extents *list, struct kith_bytes body, uint64_t start,
                               uint64_t end)
{
    KITH_ASSERT(list->leaf_count > 0 ? start > list->leaves[list->leaf_count - 1].start
                                     : start == 0);
    struct kith_reader reader;
    struct kith_leaf leaf = {.start = start};
    kith_reader_init(&reader, body);
    uint64_t ref_count = kith_read_varint(&reader);
    if (reader.failed || ref_count > KITH_LEAF_EXTENTS_MAX ||
        ref_count > kith_reader_left(&reader) / CHUNK_BYTES_MIN) {
        return KITH_EFORMAT;
    }
    struct kith_chunk_ref *refs = kith_calloc(ref_count + 1, sizeof(*refs));
    if (refs == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err = KITH_EFORMAT;
    uint64_t count = 0;
    if (!read_chunks(&reader, refs, ref_count)) {
        goto out;
    }
    err = check_distinct(refs, (uint32_t)ref_count);
    count = kith_read_varint(&reader);
    if (err == KITH_OK && (reader.failed || count > KITH_LEAF_EXTENTS_MAX ||
                           count > kith_reader_left(&reader) / EXTENT_BYTES_MIN)) {
        err = KITH_EFORMAT;
    }
    if (err != KITH_OK) {
        goto out;
    }
    leaf.capacity = (uint32_t)count;
    leaf.extents = kith_calloc(count + 1, sizeof(*leaf.extents));
    if (leaf.extents == NULL) {
        err = KITH_ENOMEM;
    } else if (!read_extents(&reader, refs, ref_count, end, &leaf, count)) {
        err = KITH_EFORMAT;
    } else {
        err = leaf_append(list, &leaf);
    }
out:
    if (err != KITH_OK) {
        kith_free(leaf.extents);
    }
    kith_free(refs);
    return err;
}

/* ---- entries ---- */

void kith_entries_encode(const struct kith_list_entry *entries, uint32_t count, uint64_t start,
                         struct kith_buf *buf)
{
    kith_buf_put_varint(buf, count);
    for (uint32_t i = 0; i < count; i++) {
        kith_buf_put_varint(buf, (entries[i].start - start) / KITH_REGION_SIZE);
        kith_buf_put_varint(buf, entries[i].allocated);
        put_ref(buf, &entries[i].ref);
        start = entries[i].start;
    }
}

enum kith_err kith_entries_decode(struct kith_arena *arena, struct kith_bytes body, uint64_t start,
                                  uint64_t end, struct kith_list_entry **ret_entries,
                                  uint32_t *ret_count)
{
    struct kith_reader reader;
    kith_reader_init(&reader, body);
    uint64_t count = kith_read_varint(&reader);
    if (reader.failed || count == 0 || count > kith_reader_left(&reader) / ENTRY_BYTES_MIN) {
        return KITH_EFORMAT;
    }
    struct kith_list_entry *entries = kith_arena_calloc(arena, count, sizeof(*entries));
    if (entries == NULL) {
        return KITH_ENOMEM;
    }
    uint64_t at = start;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t regions = kith_read_varint(&reader);
        entries[i].allocated = kith_read_varint(&reader);
        if (!read_ref(&reader, &entries[i].ref) || (i == 0) != (regions == 0) ||
            regions > (KITH_IMAGE_SIZE_MAX - at) / KITH_REGION_SIZE) {
            return KITH_EFORMAT;
        }
        at += regions * KITH_REGION_SIZE;
        if (i > 0 && at >= end) {
            return KITH_EFORMAT;
        }
        entries[i].start = at;
    }
    if (!kith_reader_done(&reader)) {
        return KITH_EFORMAT;
    }
    *ret_entries = entries;
    *ret_count = (uint32_t)count;
    return KITH_OK;
}

enum kith_err kith_list_chunk_body(struct kith_bytes bytes, enum kith_image_kind kind,
                                   struct kith_bytes *ret_body)
{
    if (bytes.size < 2 || bytes.data[1] != (uint8_t)kind) {
        return KITH_EFORMAT;
    }
    if (bytes.data[0] != KITH_IMAGE_FORMAT) {
        return KITH_EVERSION;
    }
    *ret_body = kith_bytes_make(bytes.data + 2, bytes.size - 2);
    return KITH_OK;
}
