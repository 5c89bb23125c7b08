/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * attrs.h - a file's attributes, and the attribute row and extended attribute rows beside its
 * inode.
 *
 * Every attribute bears the time of its last change, the stamp; of two values the later stamp's is
 * taken, field by field. So an edit (which writes the attributes as its writer knew them into the
 * inode row, with their old stamps) and a chmod (which writes the attribute row) never undo each
 * other. ctime is the latest of the stamps; a change of names gives the atime, which stays as it
 * is, a new one. Stamps come from the mount's clock; they order attributes only.
 *
 * An ACL (acl.h) travels with the mode, under its stamp: so both are always there together, in
 * memory and in the row that a new file is. A directory's default ACL is an attribute of its own.
 *
 * Attribute row, version 1:      u8 version, u64 file id (LE), fields (field.h):
 *     1 to 5  mode, owner, atime, mtime, xattrs, each with its stamp
 *     6       ACL, where there is one: the bytes of acl.h (only with a mode)
 *     7       default ACL: time stamp, the bytes; none: it was removed
 *     8       subdirs: time stamp, varint (a directory's)
 *     16      u8: which of 1 to 5 this put changed
 * Extended attribute, version 1: u8 version, u64 file id (LE), time stamp, the value to the end
 *
 * How many directories are in a directory, subdirs, is what the mount counted that changed its names
 * last: for stat, where nobody has listed it. It is no promise: of two mounts that change it at the same
 * time the later one's counts, until one that has all names in memory changes it again.
 *
 * The file id says whose they are: rows left from a file that bore the name before do not count.
 * Pure; any thread. Checked by tests/unit/test_attrs.c. */
#ifndef KITH_FORMAT_ATTRS_H
#define KITH_FORMAT_ATTRS_H

#include <stdbool.h>

#include "base/alloc.h"
#include "format/field.h"

/* Seconds since 1970 (any sign) and nanoseconds, as struct timespec, of fixed size. */
struct kith_time {
    int64_t sec;
    uint32_t nsec; /* < 10^9 */
};

enum kith_attr_bits {
    KITH_ATTR_MODE = 1,
    KITH_ATTR_OWNER = 2,
    KITH_ATTR_ATIME = 4,
    KITH_ATTR_MTIME = 8,
    KITH_ATTR_XATTRS = 16,
    KITH_ATTR_ALL = 31, /* those that everything has */
    KITH_ATTR_DEFAULT_ACL = 32, /* a directory has, or had, one */
    KITH_ATTR_SUBDIRS = 64,     /* a directory's */
};

struct kith_attrs {
    uint32_t have; /* bits: the fields that are set */
    uint32_t mode; /* permission bits and set-id, sticky: 07777 */
    uint32_t uid, gid;
    uint32_t subdirs; /* directories in it */
    bool xattrs; /* there may be extended attributes; false only where there are none */
    uint16_t acl_size, default_acl_size; /* bytes; 0: none */
    /* As kith_acl_check takes them; borrowed, as from the bytes that were decoded. Of `acl` the
     * classes do not count (acl.h). */
    const uint8_t *acl, *default_acl;
    struct kith_time atime, mtime;
    struct kith_time mode_stamp, owner_stamp, atime_stamp, mtime_stamp, xattrs_stamp;
    struct kith_time default_acl_stamp, subdirs_stamp;
};

struct kith_attr_record {
    uint64_t file_id;
    /* bits: the fields that this put changed, the others are carried along; of KITH_ATTR_ALL */
    uint32_t changed;
    struct kith_attrs attrs;
};

struct kith_xattr_record {
    uint64_t file_id;
    struct kith_time stamp;
    struct kith_bytes value;
};

int kith_time_compare(const struct kith_time *a, const struct kith_time *b);
/* Fields of `from` with a later stamp (or that `attrs` has not) replace those in `attrs`; of two modes
 * with one stamp, one of which joins concurrent ones, what both allow. ACLs stay borrowed. */
void kith_attrs_merge(struct kith_attrs *attrs, const struct kith_attrs *from);
/* Copies what they borrow of ACLs into the arena. */
KITH_MUST_CHECK enum kith_err kith_attrs_keep(struct kith_attrs *attrs, struct kith_arena *arena);
/* The latest of the stamps; zero where there is none. */
struct kith_time kith_attrs_ctime(const struct kith_attrs *attrs);

/* Whether a change of mode, owner or ACL lets somebody do more than before: a bit is there that was not,
 * or it is another's, or has another ACL. */
bool kith_attrs_widen(const struct kith_attrs *from, const struct kith_attrs *to);
/* Whether it lets somebody do less: a bit is gone, or a new owner or group puts somebody into a
 * class that may less (root, whose it was, needs no class), or it has another ACL. */
bool kith_attrs_narrow(const struct kith_attrs *from, const struct kith_attrs *to);

/* The fields of `attrs` as a field list with tags from `first_tag`, for inode_format.h too: five
 * tags. */
void kith_attrs_encode(const struct kith_attrs *attrs, uint64_t first_tag, struct kith_buf *buf);
/* Takes a field if its tag is one of the five; *ret_taken. EFORMAT. */
KITH_MUST_CHECK enum kith_err kith_attrs_field(struct kith_attrs *attrs, uint64_t first_tag,
                                               const struct kith_field *field, bool *ret_taken);

/* What not everything has - the ACLs, subdirs -, with the tag `first_tag` and the two after it, where
 * there are any. */
void kith_attrs_more_encode(const struct kith_attrs *attrs, uint64_t first_tag,
                            struct kith_buf *buf);
/* Takes a field if its tag is one of the three, after those of the attributes; borrows. EFORMAT. */
KITH_MUST_CHECK enum kith_err kith_attrs_more_field(struct kith_attrs *attrs, uint64_t first_tag,
                                                    const struct kith_field *field,
                                                    bool *ret_taken);
static inline struct kith_bytes kith_attrs_acl(const struct kith_attrs *attrs)
{
    return kith_bytes_make(attrs->acl, attrs->acl_size);
}
static inline struct kith_bytes kith_attrs_default_acl(const struct kith_attrs *attrs)
{
    return kith_bytes_make(attrs->default_acl, attrs->default_acl_size);
}

void kith_attr_record_encode(const struct kith_attr_record *record, struct kith_buf *buf);
/* EFORMAT for anything that encode would not have written, but for unknown fields; EVERSION. */
KITH_MUST_CHECK enum kith_err kith_attr_record_decode(struct kith_bytes bytes,
                                                      struct kith_attr_record *ret_record);
/* What several concurrent attribute rows say together: field by field the latest; where more than
 * one changed the mode, the intersection of the permission bits and no set-id, and the latest ACL
 * that one of them set or kept: as far as the bits let it. count >= 1. */
void kith_attr_records_join(const struct kith_attr_record *records, uint32_t count,
                            struct kith_attrs *ret_attrs);

void kith_xattr_record_encode(const struct kith_xattr_record *record, struct kith_buf *buf);
KITH_MUST_CHECK enum kith_err kith_xattr_record_decode(struct kith_bytes bytes,
                                                       struct kith_xattr_record *ret_record);

void kith_time_encode(const struct kith_time *time, struct kith_buf *buf);
/* Sets reader->failed where it is malformed. */
struct kith_time kith_time_decode(struct kith_reader *reader);

#endif
