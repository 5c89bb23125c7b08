/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * place.h - where a directory is, by its own row, by the name that leads to it, and by what is in it.
 *
 * All reads are strict: nothing is moved on the word of fewer than a quorum. All may wait. */
#ifndef KITH_FS_ORPHANS_PLACE_H
#define KITH_FS_ORPHANS_PLACE_H

#include "format/inode_format.h"
#include "fs/fs.h"

enum kith_place_state {
    KITH_PLACE_NONE,   /* no directory, or it does not say where it is: the top does not */
    KITH_PLACE_NAMED,  /* under record.parent_name in record.parent */
    KITH_PLACE_MARKED, /* it was there, and is removed */
};

/* A directory, as its own row has it; what it points to is in an arena. */
struct kith_place {
    struct kith_place *below; /* whose parent it is; NULL: none was asked for */
    struct kith_group group;
    enum kith_place_state state;
    struct kith_inode_record record;
    struct kith_dot dot;
    uint64_t time;             /* of data/hlc.h: since when it says so */
    struct kith_bytes context; /* the clock alone */
};

/* place->group is set. */
int kith_place_read(struct kith_fs *fs, struct kith_arena *arena, struct kith_place *place);
/* What stands under the name: nothing (*ret_free), the directory `group` (*ret_there), something else; and
 * what replaces nothing of it. */
int kith_place_name(struct kith_fs *fs, struct kith_arena *arena, const struct kith_group *parent,
                    struct kith_bytes name, const struct kith_group *group, bool *ret_free,
                    bool *ret_there, struct kith_bytes *ret_context);
/* Whether a name is in it. */
int kith_place_inside(struct kith_fs *fs, const struct kith_group *group, bool *ret_some);
bool kith_place_is_top(const struct kith_group *group);
/* From `group` up by what the own rows say, up to one whose parent is the top or one that is `known`
 * (NULL: none is), or that is not NAMED: *ret_last, from which `below` leads down again. *ret_again:
 * the parent of that is this one, there is a cycle; else NULL. ELOOP: it takes no end. */
int kith_way_up(struct kith_fs *fs, struct kith_arena *arena, const struct kith_group *group,
                bool (*known)(void *arg, const struct kith_group *group), void *arg,
                struct kith_place **ret_last, const struct kith_place **ret_again);
/* The latest move of a cycle: the same for all who look. */
const struct kith_place *kith_way_latest(const struct kith_place *last,
                                         const struct kith_place *again);

/* ---- found.c ---- */
#define KITH_FOUND_CYCLE "two mounts have moved it and another directory into one another"
/* The directory goes to /lost+found, and the name that it had no longer leads to it. why: for the
 * log. */
int kith_found_put(struct kith_fs *fs, struct kith_arena *arena, const struct kith_place *place,
                   const char *why);

/* ---- look.c ---- */
struct kith_known; /* directories that lead to the top; at most some 30 MiB */
struct kith_orphans { /* what was found */
    uint64_t looked, back, found, failed;
};
struct kith_known *kith_known_new(void); /* NULL: no memory */
void kith_known_free(struct kith_known *known);
/* The directory and those above it: what leads nowhere, and has been so since before_ms (of the wall
 * clock), gets its name back, or goes to /lost+found where there is none. An empty directory without a
 * name is left alone: it was removed, or its making failed. */
int kith_orphan_look(struct kith_fs *fs, const struct kith_group *group, uint64_t before_ms,
                     struct kith_known *known, struct kith_orphans *orphans);

/* ---- check.c, for tests ---- */
/* All directories once. wait: between them; false: it ends early (ECANCELED). */
int kith_check_all(struct kith_fs *fs, uint64_t before_ms, bool (*wait)(void *arg), void *arg,
                   struct kith_orphans *orphans);
/* Whether this mount is the one to look now: no mount has begun to since `interval_ms` ago; that it has
 * is noted then. *ret_next_ms: else how long there is to wait. settle: waits for what others note at the same
 * time; false: it ends (ECANCELED). */
int kith_check_claim(struct kith_fs *fs, uint64_t interval_ms, bool (*settle)(void *arg),
                     void *arg, bool *ret_mine, uint64_t *ret_next_ms);

#endif
