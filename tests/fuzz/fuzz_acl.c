/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as an ACL: refused, or one whose classes any mode can take, and say again. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "format/acl.h"
#include "format/attrs.h"

/* It goes through a row as it is. */
static void stored(struct kith_bytes acl)
{
    struct kith_attr_record record, back;
    struct kith_buf buf;
    memset(&record, 0, sizeof record);
    record.attrs.have = KITH_ATTR_MODE | KITH_ATTR_DEFAULT_ACL;
    record.attrs.acl = record.attrs.default_acl = acl.data;
    record.attrs.acl_size = record.attrs.default_acl_size = (uint16_t)acl.size;
    kith_buf_init(&buf);
    kith_attr_record_encode(&record, &buf);
    KITH_ASSERT(kith_attr_record_decode(kith_buf_bytes(&buf), &back) == KITH_OK);
    KITH_ASSERT(kith_bytes_equal(kith_attrs_acl(&back.attrs), acl));
    KITH_ASSERT(kith_bytes_equal(kith_attrs_default_acl(&back.attrs), acl));
    kith_buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_bytes acl = kith_bytes_make(data, size);
    enum kith_err err = kith_acl_check(acl);
    KITH_ASSERT(err == KITH_OK || err == KITH_EINVAL || err == KITH_ETOOBIG);
    KITH_ASSERT(err != KITH_OK || !kith_acl_is_empty(acl));
    for (uint32_t mode = 0; err == KITH_OK && mode < 01000; mode += 0123) {
        uint8_t shown[KITH_ACL_SIZE_MAX];
        bool plain, shown_plain;
        kith_acl_show(acl, mode, shown);
        struct kith_bytes again = kith_bytes_make(shown, size);
        KITH_ASSERT(kith_acl_check(again) == KITH_OK);
        KITH_ASSERT(kith_acl_mode(again, &shown_plain) == mode);
        uint32_t made = kith_acl_inherit(acl, mode, &plain);
        KITH_ASSERT(made == (mode & kith_acl_mode(acl, &plain)) && plain == shown_plain);
    }
    if (err == KITH_OK) {
        stored(acl);
    }
    return 0;
}

static size_t put(uint8_t *at, uint32_t tag, uint32_t perm, uint32_t id)
{
    const uint8_t entry[KITH_ACL_ENTRY_SIZE] = {(uint8_t)tag, 0, (uint8_t)perm, 0, (uint8_t)id};
    memcpy(at, entry, sizeof entry);
    return sizeof entry;
}

/* ACLs of 3 to 10 entries. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    size_t size = KITH_ACL_HEAD_SIZE;
    if (number >= 8) {
        return 0;
    }
    memset(data, 0, size);
    data[0] = 2;
    size += put(data + size, KITH_ACL_OWNER, 7, 0);
    for (uint32_t i = 0; i < number / 2; i++) {
        size += put(data + size, KITH_ACL_USER, i, i);
    }
    size += put(data + size, KITH_ACL_GROUP, number, 0);
    for (uint32_t i = 0; i < number / 2; i++) {
        size += put(data + size, KITH_ACL_NAMED_GROUP, i, i);
    }
    if (number > 0) {
        size += put(data + size, KITH_ACL_MASK, number, 0);
    }
    return size + put(data + size, KITH_ACL_OTHERS, 1, 0);
}
