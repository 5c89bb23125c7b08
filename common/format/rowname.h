/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rowname.h - the names of the rows of a directory's group.
 *
 *     ""                      the directory itself; or, in a group of its own, an inode that names of
 *                             several directories share
 *     NAME                    an entry; for a file with one name this row IS the inode
 *     ROW NUL 'a'             attributes of ROW changed since its contents were written
 *     ROW NUL 'x' ATTRIBUTE   one extended attribute of ROW
 *     NUL 'i' ID(8, BE)       an inode that several names of this directory share
 *
 * ROW is NAME, "" or a shared inode's row name. File names hold no NUL, so an entry is followed at
 * once by its own attribute rows, and shared inodes come before all entries: a scan meets an inode
 * before the names that refer to it. Pure; any thread. Checked by tests/unit/test_rowname.c. */
#ifndef KITH_FORMAT_ROWNAME_H
#define KITH_FORMAT_ROWNAME_H

#include "data/key.h"

#define KITH_FS_NAME_MAX       255u /* bytes of a file name, as everywhere on Linux */
#define KITH_FS_XATTR_NAME_MAX 255u /* bytes, XATTR_NAME_MAX */
#define KITH_SHARED_NAME_SIZE  10u
/* the longest: NAME NUL 'x' ATTRIBUTE */
#define KITH_ROWNAME_MAX (KITH_FS_NAME_MAX + 2u + KITH_FS_XATTR_NAME_MAX)

enum kith_rowname_kind {
    KITH_ROWNAME_SELF,   /* "" */
    KITH_ROWNAME_ENTRY,  /* NAME */
    KITH_ROWNAME_SHARED, /* NUL 'i' ID */
    KITH_ROWNAME_ATTR,   /* base NUL 'a' */
    KITH_ROWNAME_XATTR,  /* base NUL 'x' ATTRIBUTE */
};

/* A row's name in place; holds its own bytes. */
struct kith_rowname {
    uint16_t size;
    uint8_t data[KITH_ROWNAME_MAX];
};

struct kith_rowname_parts {
    enum kith_rowname_kind kind;
    struct kith_bytes base;      /* the row that it belongs to (itself for the first three kinds) */
    uint64_t file_id;            /* where the base is a shared inode */
    struct kith_bytes attribute; /* KITH_ROWNAME_XATTR */
};

static inline struct kith_bytes kith_rowname_bytes(const struct kith_rowname *name)
{
    return kith_bytes_make(name->data, name->size);
}

/* `base` must be a valid base (asserted by size). */
void kith_rowname_entry(struct kith_bytes base, struct kith_rowname *ret_name);
void kith_rowname_shared(uint64_t file_id, struct kith_rowname *ret_name);
void kith_rowname_attr(struct kith_bytes base, struct kith_rowname *ret_name);
/* EINVAL for an empty attribute name or one over KITH_FS_XATTR_NAME_MAX. */
KITH_MUST_CHECK enum kith_err kith_rowname_xattr(struct kith_bytes base,
                                                 struct kith_bytes attribute,
                                                 struct kith_rowname *ret_name);
/* Borrows from `name`. EFORMAT for what none of the kinds would give, and for an entry that no mount can
 * have made (with a '/', "." and ".."): whoever may write to a volume could break listings by it. */
KITH_MUST_CHECK enum kith_err kith_rowname_parse(struct kith_bytes name,
                                                 struct kith_rowname_parts *ret_parts);

#endif
