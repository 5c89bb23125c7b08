/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as the name of a row, as clients and nodes send it: refused, or one that its parts make
 * again. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "format/rowname.h"

static void check_parts(struct kith_bytes name, const struct kith_rowname_parts *parts)
{
    struct kith_rowname_parts base;
    KITH_ASSERT(kith_rowname_parse(parts->base, &base) == KITH_OK);
    KITH_ASSERT(base.kind != KITH_ROWNAME_ATTR && base.kind != KITH_ROWNAME_XATTR);
    KITH_ASSERT(kith_bytes_equal(base.base, parts->base) && base.file_id == parts->file_id);
    KITH_ASSERT((parts->kind == KITH_ROWNAME_XATTR) == (parts->attribute.size > 0));
    bool bare = parts->kind != KITH_ROWNAME_ATTR && parts->kind != KITH_ROWNAME_XATTR;
    KITH_ASSERT(!bare || (base.kind == parts->kind && kith_bytes_equal(name, parts->base)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_bytes name = kith_bytes_make(data, size);
    struct kith_rowname_parts parts;
    struct kith_rowname made;
    enum kith_err err = kith_rowname_parse(name, &parts);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT);
    if (err != KITH_OK) {
        return 0;
    }
    KITH_ASSERT(size <= KITH_ROWNAME_MAX);
    check_parts(name, &parts);
    if (parts.kind == KITH_ROWNAME_SHARED) {
        kith_rowname_shared(parts.file_id, &made);
    } else if (parts.kind == KITH_ROWNAME_ATTR) {
        kith_rowname_attr(parts.base, &made);
    } else if (parts.kind == KITH_ROWNAME_XATTR) {
        KITH_ASSERT(kith_rowname_xattr(parts.base, parts.attribute, &made) == KITH_OK);
    } else {
        kith_rowname_entry(parts.base, &made);
    }
    KITH_ASSERT(kith_bytes_equal(kith_rowname_bytes(&made), name));
    return 0;
}

/* Each kind, of each base, and the longest. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    struct kith_rowname base, name;
    struct kith_bytes attribute = kith_bytes_make("user.colour", 11);
    if (number >= 12) {
        return 0;
    }
    uint32_t which = number / 3;
    if (which == 0) {
        kith_rowname_shared(UINT64_C(0x0102030405060708), &base);
    } else {
        char text[KITH_FS_NAME_MAX];
        memset(text, 'n', sizeof text);
        kith_rowname_entry(kith_bytes_make(text, which == 1   ? 0
                                                 : which == 2 ? 7
                                                              : sizeof text),
                           &base);
    }
    name = base;
    if (number % 3 == 1 || base.size == 0) { /* no bytes at all would end the list */
        kith_rowname_attr(kith_rowname_bytes(&base), &name);
    } else if (number % 3 == 2) {
        KITH_ASSERT(kith_rowname_xattr(kith_rowname_bytes(&base), attribute, &name) == KITH_OK);
    }
    memcpy(data, name.data, name.size);
    return name.size;
}
