/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * inode_format.h - the value of an entry's row: a file's inode, a directory, or a name of a shared
 * inode.
 *
 *     u8 version (1), u8 type, u64 file id (LE), fields (field.h):
 *       1 mode  2 owner  3 atime  4 mtime  5 xattrs   the attributes with their stamps (attrs.h)
 *       6 btime      time                             7 rdev     varint (devices)
 *       8 target     bytes (symlinks)                 9 dir id   12 bytes (directories)
 *      10 link       16 bytes: the group of the shared inode (KITH_TYPE_LINK)
 *      11 names      varint count, then 16 bytes group and sized name each, strictly ascending
 *      12 parent     16 bytes group, sized name, u8 removed (a directory's own row)
 *      13 contents   the image of content.h, opaque here; missing = an empty file
 *      14 ACL, 15 default ACL, 16 subdirs             as in attrs.h
 *      higher        unknown: kept as they are
 *
 * And the value of a KITH_SIBLING_MARK: where a renamed row went.
 *     u8 version (1), 16 bytes group, sized name, u64 file id (LE)
 *
 * Canonical: decode refuses what encode would not have written. Pure; any thread. Checked by
 * tests/unit/test_inode_format.c. */
#ifndef KITH_FORMAT_INODE_FORMAT_H
#define KITH_FORMAT_INODE_FORMAT_H

#include "base/alloc.h"
#include "data/key.h"
#include "format/attrs.h"

#define KITH_DIR_ID_SIZE 12u
#define KITH_ROOT_FILE_ID 1u
#define KITH_SYMLINK_MAX 4095u /* bytes, PATH_MAX without the NUL */
/* Names of one shared inode: with 255-byte names they take 35 KiB of the row's 64. */
#define KITH_LINKS_MAX 128u

enum kith_type {
    KITH_TYPE_FILE = 1,
    KITH_TYPE_DIR = 2,
    KITH_TYPE_SYMLINK = 3,
    KITH_TYPE_FIFO = 4,
    KITH_TYPE_SOCKET = 5,
    KITH_TYPE_CHAR = 6,
    KITH_TYPE_BLOCK = 7,
    KITH_TYPE_LINK = 8, /* a name; the inode is a row of its own */
};

struct kith_link_name {
    struct kith_group group;
    struct kith_bytes name;
};

struct kith_inode_record {
    enum kith_type type;
    uint64_t file_id;
    struct kith_attrs attrs;
    struct kith_time btime;
    uint64_t rdev;
    struct kith_bytes target;
    uint8_t dir_id[KITH_DIR_ID_SIZE];
    struct kith_group link;
    uint32_t name_count; /* 0 = not shared: its one name is its row's */
    const struct kith_link_name *names;
    bool has_parent;
    struct kith_group parent;
    struct kith_bytes parent_name;
    bool removed; /* rmdir has marked it */
    struct kith_bytes contents;
    struct kith_bytes unknown; /* fields of a later version, as they were */
};

struct kith_moved_mark {
    struct kith_group group;
    struct kith_bytes name;
    uint64_t file_id;
};

void kith_inode_record_encode(const struct kith_inode_record *record, struct kith_buf *buf);
/* The first row of a volume's root directory, of that owner, with mode 755. It bears a fixed file id, so
 * that two who make it at once make the same directory. */
void kith_root_record_encode(uint32_t uid, uint32_t gid, struct kith_time now, struct kith_buf *buf);
/* Borrows from `bytes`; the names lie in the arena. EFORMAT, EVERSION, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_inode_record_decode(struct kith_arena *arena,
                                                       struct kith_bytes bytes,
                                                       struct kith_inode_record *ret_record);
/* The type alone; 0 where the bytes do not begin like one of this version. */
enum kith_type kith_inode_record_type(struct kith_bytes bytes);
/* -1, 0, 1 by group, then name. */
int kith_link_name_compare(const struct kith_link_name *a, const struct kith_link_name *b);

void kith_moved_mark_encode(const struct kith_moved_mark *mark, struct kith_buf *buf);
KITH_MUST_CHECK enum kith_err kith_moved_mark_decode(struct kith_bytes bytes,
                                                     struct kith_moved_mark *ret_mark);

#endif
