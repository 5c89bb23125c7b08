/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "format/acl.h"

#include <string.h>

#define VERSION  2u
#define PERM_ALL 7u
#define ID_NONE  UINT32_MAX /* no user and no group has it */
#define MODE_ALL 0777u

struct entry {
    uint32_t tag, perm, id;
};

static uint32_t read_le(const uint8_t *at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint32_t)at[i] << (8 * i);
    }
    return value;
}

static size_t entry_count(struct kith_bytes acl)
{
    return (acl.size - KITH_ACL_HEAD_SIZE) / KITH_ACL_ENTRY_SIZE;
}

static struct entry entry_at(struct kith_bytes acl, size_t i)
{
    const uint8_t *at = acl.data + KITH_ACL_HEAD_SIZE + i * KITH_ACL_ENTRY_SIZE;
    struct entry entry = {read_le(at, 2), read_le(at + 2, 2), read_le(at + 4, 4)};
    return entry;
}

static bool head_fits(struct kith_bytes acl)
{
    return acl.size >= KITH_ACL_HEAD_SIZE &&
           (acl.size - KITH_ACL_HEAD_SIZE) % KITH_ACL_ENTRY_SIZE == 0 &&
           read_le(acl.data, 4) == VERSION;
}

bool kith_acl_is_empty(struct kith_bytes acl)
{
    return acl.size == KITH_ACL_HEAD_SIZE && head_fits(acl);
}

static bool is_named(uint32_t tag)
{
    return tag == KITH_ACL_USER || tag == KITH_ACL_NAMED_GROUP;
}

enum kith_err kith_acl_check(struct kith_bytes acl)
{
    uint32_t last = 0, seen = 0;
    if (acl.size > KITH_ACL_SIZE_MAX) {
        return KITH_ETOOBIG;
    }
    if (!head_fits(acl)) {
        return KITH_EINVAL;
    }
    for (size_t i = 0; i < entry_count(acl); i++) { /* the tags' numbers are in their order */
        struct entry entry = entry_at(acl, i);
        bool known = entry.tag != 0 && (entry.tag & (entry.tag - 1)) == 0 &&
                     entry.tag <= KITH_ACL_OTHERS;
        bool named = is_named(entry.tag);
        if (!known || entry.perm > PERM_ALL || entry.tag < last ||
            (entry.tag == last && !named) || (named && entry.id == ID_NONE)) {
            return KITH_EINVAL;
        }
        last = entry.tag;
        seen |= entry.tag;
    }
    const uint32_t must = KITH_ACL_OWNER | KITH_ACL_GROUP | KITH_ACL_OTHERS;
    bool masked = (seen & KITH_ACL_MASK) != 0;
    bool names = (seen & (KITH_ACL_USER | KITH_ACL_NAMED_GROUP)) != 0;
    return (seen & must) == must && (masked || !names) ? KITH_OK : KITH_EINVAL;
}

static bool has_mask(struct kith_bytes acl)
{
    return entry_at(acl, entry_count(acl) - 2).tag == KITH_ACL_MASK; /* the last are the others */
}

/* By how much the mode's bits of the entry's class are shifted; -1: it is none. */
static int class_shift(uint32_t tag, bool masked)
{
    if (tag == KITH_ACL_OWNER) {
        return 6;
    }
    if (tag == (masked ? KITH_ACL_MASK : KITH_ACL_GROUP)) {
        return 3;
    }
    return tag == KITH_ACL_OTHERS ? 0 : -1;
}

uint32_t kith_acl_mode(struct kith_bytes acl, bool *ret_plain)
{
    uint32_t mode = 0;
    bool masked = has_mask(acl);
    for (size_t i = 0; i < entry_count(acl); i++) {
        struct entry entry = entry_at(acl, i);
        int shift = class_shift(entry.tag, masked);
        mode |= shift >= 0 ? entry.perm << shift : 0;
    }
    *ret_plain = !masked;
    return mode;
}

void kith_acl_show(struct kith_bytes acl, uint32_t mode, uint8_t *ret_acl)
{
    bool masked = has_mask(acl);
    memcpy(ret_acl, acl.data, acl.size);
    for (size_t i = 0; i < entry_count(acl); i++) {
        int shift = class_shift(entry_at(acl, i).tag, masked);
        if (shift >= 0) {
            ret_acl[KITH_ACL_HEAD_SIZE + i * KITH_ACL_ENTRY_SIZE + 2] =
                (uint8_t)((mode >> shift) & PERM_ALL);
        }
    }
}

uint32_t kith_acl_inherit(struct kith_bytes acl, uint32_t mode, bool *ret_plain)
{
    return mode & (~MODE_ALL | kith_acl_mode(acl, ret_plain));
}
