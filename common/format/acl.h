/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * acl.h - POSIX ACLs (POSIX 1003.1e draft 17) as the kernel hands them over and as they are stored.
 *
 *     u32 version (2), entries of u16 tag, u16 permissions (rwx = 4 2 1), u32 id; little endian
 *
 * Entries come in the order owner, named users, owning group, named groups, mask, others; the id
 * counts with named users and groups alone, and there is a mask where one of those is.
 *
 * THE MODE HAS THE CLASSES. What the owner, the group class (the mask, or the owning group where
 * there is none) and the others may do stands in the mode's nine bits, and those of the entries do
 * not count: kith_acl_show puts the mode's in. So a chmod, from wherever it comes, is one in the
 * ACL as well, and the two cannot disagree. Only an ACL that has more than the three entries is
 * kept.
 *
 * Source: Linux, fs/posix_acl.c. Pure; any thread. Checked by tests/unit/test_acl.c and
 * tests/fuzz/fuzz_acl.c. */
#ifndef KITH_FORMAT_ACL_H
#define KITH_FORMAT_ACL_H

#include <stdbool.h>

#include "base/buf.h"

/* bytes: FUSE carries no more than a page, which are 511 entries */
#define KITH_ACL_SIZE_MAX   4096u
#define KITH_ACL_HEAD_SIZE  4u
#define KITH_ACL_ENTRY_SIZE 8u

enum kith_acl_tag {
    KITH_ACL_OWNER = 1,
    KITH_ACL_USER = 2,
    KITH_ACL_GROUP = 4,
    KITH_ACL_NAMED_GROUP = 8,
    KITH_ACL_MASK = 16,
    KITH_ACL_OTHERS = 32,
};

/* OK where these bytes are an ACL of that form, else EINVAL; ETOOBIG above KITH_ACL_SIZE_MAX. But for
 * kith_acl_is_empty the functions below take only such. */
KITH_MUST_CHECK enum kith_err kith_acl_check(struct kith_bytes acl);
/* Whether it is a head without entries, with which the kernel means that there is to be none. */
bool kith_acl_is_empty(struct kith_bytes acl);
/* The nine permission bits; *ret_plain: they say all of it. */
uint32_t kith_acl_mode(struct kith_bytes acl, bool *ret_plain);
/* The same ACL, with the classes of the mode; acl.size bytes to `ret_acl`. */
void kith_acl_show(struct kith_bytes acl, uint32_t mode, uint8_t *ret_acl);
/* The mode of what is made with `mode` where this is the default ACL; no umask counts then. The ACL
 * of what is made is the same, with that mode, unless *ret_plain. */
uint32_t kith_acl_inherit(struct kith_bytes acl, uint32_t mode, bool *ret_plain);

#endif
