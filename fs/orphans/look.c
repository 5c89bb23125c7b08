/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * look.c - whether names lead to a directory, and what becomes of it where they do not.
 *
 *     its own row says            and the name            then
 *     it is in P under n          leads to it             well, if P is
 *                                 does not                its name comes back, if something is in it
 *     it is in P, P is not there  leads to it             /lost+found
 *                                 does not                the same, if something is in it
 *     it is in a cycle            -                       the latest move of it: /lost+found
 *     it is removed               -                       its name comes back, if something is in it
 *
 * All of it where that has been so for a while: a directory's own row says where it is to be before the
 * name is there, and that it is removed before the name is gone. */
#include <errno.h>
#include <string.h>

#include "data/hlc.h"
#include "fs/fs.h"
#include "fs/orphans/lost.h"
#include "fs/orphans/place.h"
#include "fs/rows/rows.h"

#define KNOWN_FIRST 1024u       /* slots; half of them are used at most */
#define KNOWN_MAX   (1u << 22) /* 32 MiB; beyond that it begins anew, and looks at more twice */
#define STEPS_MAX   16u         /* directories that come back before one is left to the next check */

/* Open addressing, by the first half of a directory's id, which is its inode number. */
struct kith_known {
    uint32_t size, count;
    uint64_t *slots; /* 0 = free */
};

struct kith_known *kith_known_new(void)
{
    struct kith_known *known = kith_calloc(1, sizeof *known);
    if (known != NULL) {
        known->size = KNOWN_FIRST;
        known->slots = kith_calloc(known->size, sizeof *known->slots);
        if (known->slots == NULL) {
            kith_free(known);
            known = NULL;
        }
    }
    return known;
}

void kith_known_free(struct kith_known *known)
{
    if (known != NULL) {
        kith_free(known->slots);
        kith_free(known);
    }
}

static uint64_t known_key(const struct kith_group *group)
{
    uint64_t key;
    memcpy(&key, group->bytes + (KITH_GROUP_SIZE - KITH_DIR_ID_SIZE), sizeof key);
    return key == 0 ? 1 : key;
}

/* The slot of the key, or the one where it would be. */
static uint64_t *known_slot(const struct kith_known *known, uint64_t key)
{
    uint32_t at = (uint32_t)(key ^ key >> 32) & (known->size - 1);
    while (known->slots[at] != 0 && known->slots[at] != key) {
        at = (at + 1) & (known->size - 1);
    }
    return &known->slots[at];
}

static bool is_known(void *arg, const struct kith_group *group)
{
    const struct kith_known *known = arg;
    return *known_slot(known, known_key(group)) != 0;
}

/* Where it cannot grow it begins anew: what is forgotten is only looked at once more. */
static void known_add(struct kith_known *known, const struct kith_group *group)
{
    if (is_known(known, group)) {
        return;
    }
    if ((known->count + 1) * 2 > known->size) {
        struct kith_known grown = {.size = known->size * 2};
        grown.slots =
            grown.size > KNOWN_MAX ? NULL : kith_calloc(grown.size, sizeof *grown.slots);
        if (grown.slots == NULL) {
            memset(known->slots, 0, known->size * sizeof *known->slots);
            known->count = 0;
        } else {
            for (uint32_t i = 0; i < known->size; i++) {
                if (known->slots[i] != 0) {
                    *known_slot(&grown, known->slots[i]) = known->slots[i];
                }
            }
            kith_free(known->slots);
            known->slots = grown.slots;
            known->size = grown.size;
        }
    }
    *known_slot(known, known_key(group)) = known_key(group);
    known->count++;
}

/* The name of the directory, whatever stands there by now, leads to it again, if something is in it. */
static int bring(struct kith_fs *fs, struct kith_arena *arena, const struct kith_place *place,
                 struct kith_orphans *orphans, bool *ret_back)
{
    struct kith_lost lost = {.parent = place->record.parent,
                             .group = place->group,
                             .name_size = place->record.parent_name.size};
    memcpy(lost.name, place->record.parent_name.data, lost.name_size);
    *ret_back = false;
    int error = kith_lost_set_value(&lost, &place->record);
    error = error == 0 ? kith_lost_bring(fs, &lost, ret_back) : error;
    kith_octets_clear(&lost.value);
    if (error == EEXIST) { /* something else has its name, and the one beside it */
        error = kith_found_put(fs, arena, place, "something else has its name");
        orphans->found += error == 0 ? 1 : 0;
        return error;
    }
    orphans->back += *ret_back ? 1 : 0;
    return error;
}

/* To lost+found: what is above it is gone. */
static int adopt(struct kith_fs *fs, struct kith_arena *arena, const struct kith_place *place,
                 struct kith_orphans *orphans)
{
    bool free = false, there = false, some = false;
    struct kith_bytes context;
    int error = kith_place_name(fs, arena, &place->record.parent, place->record.parent_name,
                                &place->group, &free, &there, &context);
    if (error == 0 && !there) {
        error = kith_place_inside(fs, &place->group, &some);
    }
    if (error == 0 && (there || some)) {
        error = kith_found_put(fs, arena, place, "the directory that it was in is gone");
        orphans->found += error == 0 ? 1 : 0;
    }
    return error;
}

/* `last` is gone: it is removed, or there is nothing. EAGAIN: somebody else has just brought it back. */
static int look_gone(struct kith_fs *fs, struct kith_arena *arena, struct kith_place *last,
                     uint64_t before_ms, struct kith_orphans *orphans)
{
    bool back = false;
    int error = 0;
    if (last->state == KITH_PLACE_MARKED) {
        if (kith_hlc_ms(last->time) > before_ms) {
            return 0;
        }
        error = bring(fs, arena, last, orphans, &back);
        if (error == 0 && !back) {
            error = kith_place_read(fs, arena, last);
        }
        if (error == 0 && last->state == KITH_PLACE_NAMED) {
            return EAGAIN;
        }
    }
    if (error == 0 && !back && last->below != NULL &&
        kith_hlc_ms(last->below->time) <= before_ms) {
        error = adopt(fs, arena, last->below, orphans);
    }
    return error;
}

/* The first from above to which no name leads. */
static int look_down(struct kith_fs *fs, struct kith_arena *arena, struct kith_place *last,
                     uint64_t before_ms, struct kith_known *known, struct kith_orphans *orphans)
{
    struct kith_bytes context;
    for (struct kith_place *place = last; place != NULL; place = place->below) {
        bool free = false, there = false, back = false;
        int error = kith_place_name(fs, arena, &place->record.parent, place->record.parent_name,
                                    &place->group, &free, &there, &context);
        if (error == 0 && !there && kith_hlc_ms(place->time) <= before_ms) {
            error = bring(fs, arena, place, orphans, &back);
        }
        if (error != 0 || !there) {
            return error;
        }
        known_add(known, &place->group);
    }
    return 0;
}

static int look(struct kith_fs *fs, const struct kith_group *group, uint64_t before_ms,
                struct kith_known *known, struct kith_orphans *orphans)
{
    struct kith_arena arena;
    struct kith_place *last = NULL;
    const struct kith_place *again = NULL;
    kith_arena_init(&arena, 0);
    int error = kith_way_up(fs, &arena, group, is_known, known, &last, &again);
    if (error == 0 && again != NULL) {
        const struct kith_place *latest = kith_way_latest(last, again);
        if (kith_hlc_ms(latest->time) <= before_ms) {
            error = kith_found_put(fs, &arena, latest, KITH_FOUND_CYCLE);
            orphans->found += error == 0 ? 1 : 0;
        }
    } else if (error == 0 && last->state != KITH_PLACE_NAMED) {
        error = look_gone(fs, &arena, last, before_ms, orphans);
    } else if (error == 0) {
        error = look_down(fs, &arena, last, before_ms, known, orphans);
    }
    kith_arena_release(&arena);
    return error;
}

int kith_orphan_look(struct kith_fs *fs, const struct kith_group *group, uint64_t before_ms,
                     struct kith_known *known, struct kith_orphans *orphans)
{
    if (kith_place_is_top(group)) {
        return 0;
    }
    uint64_t mended = UINT64_MAX;
    int error = 0;
    orphans->looked++;
    for (uint32_t i = 0; i < STEPS_MAX && error == 0 && mended != orphans->back + orphans->found &&
                         !is_known(known, group);
         i++) { /* above one that is back there may be another */
        mended = orphans->back + orphans->found;
        error = look(fs, group, before_ms, known, orphans);
        if (error == EAGAIN) {
            mended = UINT64_MAX;
            error = 0;
        }
    }
    orphans->failed += error != 0 ? 1 : 0;
    return error;
}
