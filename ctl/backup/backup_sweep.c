/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_sweep.c - packs of chunks without those that no kept run needs.
 *
 * What a chunk refers to was written before it: one look at all chunks from the last one to the first
 * finds all that are needed. Only the heads of records are read for that, and verified those that refer to
 * others: one of these that is damaged would make the rest of its list look as if nobody needed it. */
#include <stdio.h>
#include <string.h>

#include "ctl/backup/backup_forget.h"

#define LOOKS_MAX 16u /* more than lists of lists can need, whatever their order */

struct sweep {
    struct kith_backup_forget *forget;
    struct kith_arena arena;
    uint64_t *sizes, *live; /* of each pack, by its number */
    uint64_t *at;           /* of the pack at hand: where its records begin */
    size_t count, capacity;
    bool again; /* a chunk refers to one behind it */
};

static enum kith_err damaged(const char *path, uint64_t at, struct kith_error *error)
{
    return kith_error_set(error, KITH_ECORRUPT,
                          "%.300s is damaged at byte %llu; make a new backup into another folder",
                          path, (unsigned long long)at);
}

/* Where the records of the pack begin. */
static enum kith_err records_find(struct sweep *sweep, const char *path,
                                  const struct kith_backup_map *map, struct kith_error *error)
{
    sweep->count = 0;
    for (size_t at = 0; at + KITH_BACKUP_HEAD_SIZE <= map->size;) {
        enum kith_backup_type type;
        size_t size = 0;
        struct kith_bytes rest = kith_bytes_make(map->data + at, map->size - at);
        if (kith_backup_record_size(rest, &type, &size) != KITH_OK) {
            return damaged(path, at, error);
        }
        if (size > rest.size) {
            break; /* it was being written */
        }
        if (sweep->count == sweep->capacity) {
            size_t capacity = 2 * sweep->capacity + 1024;
            uint64_t *larger = kith_realloc(sweep->at, capacity * sizeof *larger);
            if (!larger) {
                return kith_error_set(error, KITH_ENOMEM, "out of memory");
            }
            sweep->at = larger;
            sweep->capacity = capacity;
        }
        sweep->at[sweep->count++] = at;
        at += size;
    }
    return KITH_OK;
}

/* Whether the chunk is needed, and this is the one that counts. */
static bool needed(const struct sweep *sweep, const struct kith_chunk_id *id, uint32_t pack,
                   uint64_t at)
{
    const struct kith_backup_place *place =
        kith_backup_index_find(&sweep->forget->dir->chunks, id);
    return kith_backup_index_find(&sweep->forget->live, id) && place && place->pack == pack &&
           place->at == at;
}

/* A needed chunk's refs are needed, too. */
static enum kith_err refs_note(struct sweep *sweep, const char *path, struct kith_bytes bytes,
                               uint32_t pack, uint64_t at, struct kith_error *error)
{
    struct kith_backup_index *live = &sweep->forget->live;
    struct kith_backup_record record;
    size_t size = 0;
    kith_arena_reset(&sweep->arena);
    if (kith_backup_record_decode(&sweep->arena, bytes, &record, &size) != KITH_OK) {
        return damaged(path, at, error);
    }
    for (uint32_t i = 0; i < record.u.chunk.ref_count; i++) {
        struct kith_backup_place need = {record.u.chunk.refs[i], 0, 0};
        const struct kith_backup_place *place =
            kith_backup_index_find(&sweep->forget->dir->chunks, &need.id);
        bool behind = place && (place->pack > pack || (place->pack == pack && place->at > at));
        sweep->again = sweep->again || (behind && !kith_backup_index_find(live, &need.id));
        if (kith_backup_index_add(live, &need) != KITH_OK) {
            return kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    return KITH_OK;
}

static enum kith_err pack_look(struct sweep *sweep, uint32_t pack, struct kith_error *error)
{
    char path[4200];
    struct kith_backup_map map;
    kith_backup_pack_path(sweep->forget->dir, pack, path);
    enum kith_err err = kith_backup_map(path, &map, error);
    if (err == KITH_OK) {
        err = records_find(sweep, path, &map, error);
    }
    sweep->sizes[pack] = map.size;
    sweep->live[pack] = 0;
    for (size_t i = sweep->count; err == KITH_OK && i-- > 0;) {
        uint64_t at = sweep->at[i];
        struct kith_bytes rest = kith_bytes_make(map.data + at, map.size - (size_t)at);
        enum kith_backup_type type;
        size_t size = 0;
        struct kith_chunk_id id;
        struct kith_reader reader;
        err = kith_backup_record_size(rest, &type, &size); /* as it was found above */
        kith_reader_init(&reader, kith_bytes_make(rest.data + KITH_BACKUP_HEAD_SIZE,
                                                  size - KITH_BACKUP_HEAD_SIZE));
        const uint8_t *id_bytes =
            type == KITH_BACKUP_CHUNK ? kith_read(&reader, KITH_CHUNK_ID_SIZE) : NULL;
        if (!id_bytes) {
            sweep->live[pack] += type == KITH_BACKUP_HEAD ? size : 0;
            continue;
        }
        memcpy(id.bytes, id_bytes, sizeof id.bytes);
        (void)kith_read(&reader, KITH_CHECKSUM_SIZE);
        bool refers = kith_read_varint(&reader) != 0 || reader.failed;
        if (err == KITH_OK && needed(sweep, &id, pack, at)) {
            sweep->live[pack] += size;
            err = refers ? refs_note(sweep, path, kith_bytes_make(rest.data, size), pack, at, error)
                         : KITH_OK;
        }
    }
    kith_backup_unmap(&map);
    return err;
}

/* The pack with what is needed of it. */
static enum kith_err pack_anew(struct sweep *sweep, uint32_t pack, struct kith_error *error)
{
    char path[4200];
    struct kith_backup_file file = {.fd = -1};
    struct kith_backup_walk walk;
    memset(&walk, 0, sizeof walk);
    kith_backup_pack_path(sweep->forget->dir, pack, path);
    walk.path = path;
    enum kith_err err = kith_backup_map(path, &walk.map, error);
    if (err == KITH_OK) {
        err = kith_backup_anew(sweep->forget, path, UINT32_MAX, &file, error);
        while (err == KITH_OK) {
            struct kith_backup_record record;
            uint64_t at = walk.at;
            err = kith_backup_walk_next(&walk, &record, error);
            if (err == KITH_OK && record.type == KITH_BACKUP_CHUNK &&
                needed(sweep, &record.u.chunk.id, pack, at)) {
                err = kith_backup_file_add(&file, &record, error);
            }
        }
        err = kith_backup_anew_done(sweep->forget, path, walk.map.size, &file,
                                    err == KITH_ENOTFOUND ? KITH_OK : err, error);
    }
    kith_backup_unmap(&walk.map);
    kith_arena_release(&walk.arena);
    return err;
}

enum kith_err kith_backup_sweep(struct kith_backup_forget *forget, struct kith_error *error)
{
    uint32_t packs = forget->dir->packs;
    struct sweep sweep;
    memset(&sweep, 0, sizeof sweep);
    sweep.forget = forget;
    sweep.again = true;
    kith_arena_init(&sweep.arena, 0);
    sweep.sizes = kith_calloc(packs + 1u, sizeof *sweep.sizes);
    sweep.live = kith_calloc(packs + 1u, sizeof *sweep.live);
    enum kith_err err = sweep.sizes && sweep.live
                            ? KITH_OK
                            : kith_error_set(error, KITH_ENOMEM, "out of memory");
    for (uint32_t look = 0; err == KITH_OK && sweep.again; look++) {
        sweep.again = false;
        for (uint32_t pack = packs; pack > 0 && err == KITH_OK; pack--) {
            err = pack_look(&sweep, pack, error);
            kith_backup_forget_progress(forget, packs - pack + 1, packs, "packs of chunks");
        }
        if (err == KITH_OK && sweep.again && look == LOOKS_MAX) {
            err = kith_error_set(error, KITH_ECORRUPT, "%.300s: chunks refer to each other",
                                 forget->dir->path);
        }
    }
    for (uint32_t pack = 1; pack <= packs && err == KITH_OK; pack++) {
        if (kith_backup_mostly_dead(forget, sweep.sizes[pack], sweep.live[pack])) {
            err = pack_anew(&sweep, pack, error);
        }
    }
    kith_free(sweep.sizes);
    kith_free(sweep.live);
    kith_free(sweep.at);
    kith_arena_release(&sweep.arena);
    return err;
}
