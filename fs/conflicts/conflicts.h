/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflicts.h - the versions of a file beside the one that bears its name: shown, read, removed,
 * and made files of their own, under names that are made from them (format/versions.h).
 *
 * They need no table: the context of an entry (fs.h) is its row without the version that bears the
 * name, so it has the others, with their contents; that of a shared inode has those of its row, and
 * they stand beside each of its names. A made name is looked up by its base. A real row of that
 * name hides it, and then it has another, with a longer hash.
 *
 * What such a name leads to is an inode with `made` set: nothing is ever put for it. Its number is
 * the one that the version bears wherever it becomes a file (kith_seen_other_id), so it stays when
 * kith_other_part gives it a row of its own, and who has it open reads on. Where this mount has it
 * open for writing since it bore the name itself (tables/aside.c) it is the inode of that, and a
 * flush gives it a row of its own. A directory beside a
 * directory is one like any other, but that its name cannot be told by a row.
 *
 * References to shared inodes are no versions: two mounts gave a name to two files, and whoever
 * counts the names takes the hidden one out (links/linkset.c).
 *
 * All of it may wait; over names.h and rows.h. */
#ifndef KITH_FS_CONFLICTS_CONFLICTS_H
#define KITH_FS_CONFLICTS_CONFLICTS_H

#include "format/versions.h"
#include "fs/fs.h"

struct kith_other {
    char name[KITH_FS_NAME_MAX + 1];
    uint64_t id;                 /* st_ino */
    struct kith_version version; /* in the arena */
    bool of_inode;               /* of the row of a shared inode, not of the name's */
};

/* ---- others.c ---- */
/* Cheap: false where the name can only be that of a row, or made names are hidden. */
bool kith_conflicts_like(const struct kith_fs *fs, const char *name);
/* fs->lock held. Whether there may be others beside the entry: as cheap. */
bool kith_conflicts_beside(const struct kith_entry *entry);
/* Those of the name `base`, in the arena; none where it leads nowhere, or they are hidden. */
int kith_others_list(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                     struct kith_arena *arena, struct kith_other **ret_others,
                     uint32_t *ret_count);
/* The same, hidden or not. */
int kith_others_all(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                    struct kith_arena *arena, struct kith_other **ret_others, uint32_t *ret_count);
/* What a made name stands for; base: the name that it is made from. ENOENT: there is none. */
int kith_other_find(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                    struct kith_arena *arena, struct kith_other *ret_other,
                    char ret_base[KITH_FS_NAME_MAX + 1]);
/* Its inode, with one ref for the caller. */
int kith_other_inode(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                     struct kith_inode **ret_inode);
/* Two siblings of one row that are one version here. Those of a shared inode's row differ in the
 * names that each has seen, too, which are no matter of contents. */
bool kith_other_same(bool of_inode, const struct kith_sibling *a, const struct kith_sibling *b);
/* Whether a name that no row has is taken all the same: EEXIST, 0, or why that is not known. */
int kith_other_taken(struct kith_fs *fs, struct kith_inode *dir, const char *name);

/* ---- other_put.c; the directory is taken ---- */
/* Drops that version alone. EISDIR, ENOENT. */
int kith_other_remove(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* It becomes a file of its own, whose row has that very name: one batch, in which the version
 * leaves the row where it was (where that is in another group the new row comes first). */
int kith_other_part(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* The same with one of those that were listed beside `base`. */
int kith_other_part_from(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                         const struct kith_other *other);
/* The same with all that stand beside `base`, whose file is about to leave that name: they stay
 * where they are, and none of them takes it over. Those of a shared inode stay beside its other
 * names, while it has any. */
int kith_others_keep(struct kith_fs *fs, struct kith_inode *dir, const char *base);

/* ---- aside_name.c ---- */
/* An open file whose name another one bears (kith_aside_is) gets a name, under which it can be put:
 * that of its version, which becomes a file of its own; or that under which it is found; or, where
 * the version is gone from beside the name (somebody has removed it, and an edit beats a removal),
 * it is made anew under the name that it had there. ESTALE where nobody bears the old name any
 * more, either: somebody has moved it elsewhere, or removed it. Nothing of it is taken. */
int kith_aside_name(struct kith_fs *fs, struct kith_inode *inode);

#endif
