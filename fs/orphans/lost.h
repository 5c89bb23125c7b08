/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * lost.h - how a directory gets a name: between lost.c, found.c and look.c. */
#ifndef KITH_FS_ORPHANS_LOST_H
#define KITH_FS_ORPHANS_LOST_H

#include "format/inode_format.h"
#include "fs/fs.h"

struct kith_lost {
    struct kith_lost *next;
    uint64_t due;
    struct kith_group parent, group; /* where its name was; its own */
    struct kith_octets value;        /* the row that its name had */
    size_t name_size, was_size;
    char name[KITH_FS_NAME_MAX + 1]; /* that it gets; its own row has `was` until then */
    char was[KITH_FS_NAME_MAX + 1];
};

/* The name, in `parent`; `lost` has the one that it got, where something else bears that. Two mounts that
 * do it at once do the same. EEXIST: it has no free name there. May wait. */
int kith_lost_put_name(struct kith_fs *fs, struct kith_lost *lost, struct kith_arena *arena);
/* What its name is to have: `record` less where it is. ENOMEM. */
int kith_lost_set_value(struct kith_lost *lost, const struct kith_inode_record *record);
/* Where something is in it, and it is not elsewhere: its name and its own row. *ret_back: something was put.
 * Errors as above. May wait. */
int kith_lost_bring(struct kith_fs *fs, struct kith_lost *lost, bool *ret_back);
/* Its own row, as it was read with that context, says that it is there, and any mark goes. May wait. */
int kith_lost_put_own(struct kith_fs *fs, const struct kith_lost *lost, struct kith_arena *arena,
                      struct kith_bytes context);

#endif
