/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * versions.h - the concurrent versions of an entry's row: which of them bears the name, and by
 * which names the others are shown beside it.
 *
 * The name is borne by a directory, if there is one, else by the version with the highest (time,
 * dot): the same at every mount that knows the same versions. Versions that a person cannot tell
 * apart (equal values; one write under two dots, row.h; one directory) are one.
 *
 * The name of another version is made from it, never stored:
 *
 *     STEM.conflict-TIME-WRITER-HASH      plan.odt.conflict-20261121T013000Z-anna@mars-9f3c01d2
 *     STEM.conflict-TIME-WRITER-HASH.EXT  the same in the style KITH_CONFLICT_INFIX
 *
 * TIME is when it was written, UTC, by the clock of the node that took it; HASH 8 hex digits of a
 * hash of its dot (16 where a file of the shorter name stands there); the stem is cut at a UTF-8
 * boundary so that the whole has at most 255 bytes. What the writer's name may not hold ('/',
 * controls) is '_'.
 *
 * Pure; any thread. Checked by tests/unit/test_versions.c. */
#ifndef KITH_FORMAT_VERSIONS_H
#define KITH_FORMAT_VERSIONS_H

#include "data/row.h"
#include "format/inode_format.h"
#include "format/rowname.h"

struct kith_version {
    const struct kith_sibling *sibling; /* the row's */
    struct kith_inode_record record;    /* borrows from it and the arena */
};

/* The sibling that bears the name of an entry's row; NULL where there is none. */
const struct kith_sibling *kith_versions_winner(const struct kith_row *row);
/* Two siblings of an entry's row that a person cannot tell apart. */
bool kith_versions_alike(const struct kith_sibling *a, const struct kith_sibling *b);
/* The versions of an entry's row that differ, the one that bears the name first, the others the
 * latest first; without those of a later format, which cannot be shown. ENOMEM; where the
 * one that bears the name cannot be read, why. */
KITH_MUST_CHECK enum kith_err kith_versions_list(struct kith_arena *arena,
                                                 const struct kith_row *row,
                                                 struct kith_version **ret_versions,
                                                 uint32_t *ret_count);
/* The versions of a row that a mount shows beside each other, in the same order. Of an entry's (`kind`):
 * without references to shared inodes, but for one that bears the name. Of a shared inode's, of
 * any other kind: those that differ from the first in more than names and attributes
 * (fs/tables/seen.c). */
KITH_MUST_CHECK enum kith_err kith_versions_shown(struct kith_arena *arena,
                                                  const struct kith_row *row,
                                                  enum kith_rowname_kind kind,
                                                  struct kith_version **ret_versions,
                                                  uint32_t *ret_count);
/* Whether the row is of a file in conflict: an entry's or a shared inode's (in its directory, or in a
 * group of its own), in the filesystem, of which more than one version is shown. So a file with
 * several names is in conflict once. By this row alone: an entry counts although the shared inode that
 * its name refers to is gone, and the name leads nowhere. Cheap for a row of fewer than two siblings.
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_versions_conflict(struct kith_arena *arena,
                                                     const struct kith_key *key,
                                                     const struct kith_row *row,
                                                     bool *ret_conflict);

/* The name of the row, in the group link->link, of the shared inode that `link` (KITH_TYPE_LINK, in
 * the directory of that group) refers to: the row is in that directory, or has a group of its own.
 * */
void kith_versions_shared_row(const struct kith_group *dir, const struct kith_inode_record *link,
                              struct kith_rowname *ret_name);

enum kith_conflict_style { KITH_CONFLICT_SUFFIX, KITH_CONFLICT_INFIX };

/* The name of a version beside `base` (an entry's name). wide: with the longer hash. The size. */
size_t kith_conflict_name(struct kith_bytes base, const struct kith_sibling *sibling,
                          enum kith_conflict_style style, bool wide,
                          char ret_name[KITH_FS_NAME_MAX + 1]);
/* Cheap: false where the name cannot be one of those. */
bool kith_conflict_name_like(const char *name, size_t size);

/* What the base of a made name begins and ends with. */
struct kith_conflict_base {
    struct kith_bytes stem, extension; /* borrow from the name */
    bool cut; /* the base may have more between the two; else it is just these */
};
/* The `which`-th way (from 0) to read a name as one of those; false: there are no more. */
KITH_MUST_CHECK bool kith_conflict_base(struct kith_bytes name, enum kith_conflict_style style,
                                        unsigned which, struct kith_conflict_base *ret_base);

#endif
