/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_index.c - the chunks of a backup by their ids: a table with open addressing and linear
 * probing, at most half full. 10 random bytes of an id are its hash. */
#include <string.h>

#include "ctl/backup/backup_dir.h"

#define FIRST 1024u

static const struct kith_chunk_id nil;

static size_t home(const struct kith_backup_index *index, const struct kith_chunk_id *id)
{
    uint64_t hash;
    memcpy(&hash, id->bytes + KITH_CHUNK_ID_SIZE - sizeof hash, sizeof hash);
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 16) & (index->capacity - 1);
}

static struct kith_backup_place *slot_of(const struct kith_backup_index *index,
                                         const struct kith_chunk_id *id)
{
    size_t at = home(index, id);
    while (memcmp(&index->places[at].id, &nil, sizeof nil) != 0 &&
           memcmp(&index->places[at].id, id, sizeof *id) != 0) {
        at = (at + 1) & (index->capacity - 1);
    }
    return &index->places[at];
}

const struct kith_backup_place *kith_backup_index_find(const struct kith_backup_index *index,
                                                       const struct kith_chunk_id *id)
{
    if (index->capacity == 0 || memcmp(id, &nil, sizeof nil) == 0) {
        return NULL;
    }
    const struct kith_backup_place *place = slot_of(index, id);
    return memcmp(&place->id, &nil, sizeof nil) == 0 ? NULL : place;
}

enum kith_err kith_backup_index_add(struct kith_backup_index *index,
                                    const struct kith_backup_place *place)
{
    if (2 * (index->count + 1) > index->capacity) {
        struct kith_backup_index larger = {.capacity =
                                               index->capacity > 0 ? 2 * index->capacity : FIRST};
        larger.places = kith_calloc(larger.capacity, sizeof *larger.places);
        if (!larger.places) {
            return KITH_ENOMEM;
        }
        for (size_t i = 0; i < index->capacity; i++) {
            if (memcmp(&index->places[i].id, &nil, sizeof nil) != 0) {
                *slot_of(&larger, &index->places[i].id) = index->places[i];
            }
        }
        kith_free(index->places);
        index->places = larger.places;
        index->capacity = larger.capacity;
    }
    if (memcmp(&place->id, &nil, sizeof nil) != 0) {
        struct kith_backup_place *slot = slot_of(index, &place->id);
        index->count += memcmp(&slot->id, &nil, sizeof nil) == 0 ? 1 : 0;
        *slot = *place;
    }
    return KITH_OK;
}

void kith_backup_index_release(struct kith_backup_index *index)
{
    kith_free(index->places);
    memset(index, 0, sizeof *index);
}
