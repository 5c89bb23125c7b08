/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "format/rowname.h"

#include <string.h>

#include "base/assert.h"

static void name_put(struct kith_rowname *name, const void *data, size_t size)
{
    KITH_ASSERT(name->size + size <= KITH_ROWNAME_MAX);
    if (size > 0) {
        memcpy(name->data + name->size, data, size);
    }
    name->size = (uint16_t)(name->size + size);
}

void kith_rowname_entry(struct kith_bytes base, struct kith_rowname *ret_name)
{
    ret_name->size = 0;
    name_put(ret_name, base.data, base.size);
}

void kith_rowname_shared(uint64_t file_id, struct kith_rowname *ret_name)
{
    uint8_t bytes[KITH_SHARED_NAME_SIZE] = {0, 'i'};
    for (unsigned i = 0; i < 8; i++) {
        bytes[2 + i] = (uint8_t)(file_id >> (56 - 8 * i));
    }
    ret_name->size = 0;
    name_put(ret_name, bytes, sizeof bytes);
}

void kith_rowname_attr(struct kith_bytes base, struct kith_rowname *ret_name)
{
    kith_rowname_entry(base, ret_name);
    name_put(ret_name, "\0a", 2);
}

enum kith_err kith_rowname_xattr(struct kith_bytes base, struct kith_bytes attribute,
                                 struct kith_rowname *ret_name)
{
    if (attribute.size == 0 || attribute.size > KITH_FS_XATTR_NAME_MAX) {
        return KITH_EINVAL;
    }
    kith_rowname_entry(base, ret_name);
    name_put(ret_name, "\0x", 2);
    name_put(ret_name, attribute.data, attribute.size);
    return KITH_OK;
}

/* What follows the base: nothing, NUL 'a', or NUL 'x' ATTRIBUTE. */
static enum kith_err parse_suffix(struct kith_bytes rest, enum kith_rowname_kind bare,
                                  struct kith_rowname_parts *parts)
{
    if (rest.size == 0) {
        parts->kind = bare;
        return KITH_OK;
    }
    if (rest.size < 2 || rest.data[0] != 0) {
        return KITH_EFORMAT;
    }
    if (rest.data[1] == 'a' && rest.size == 2) {
        parts->kind = KITH_ROWNAME_ATTR;
        return KITH_OK;
    }
    if (rest.data[1] != 'x' || rest.size == 2 || rest.size - 2 > KITH_FS_XATTR_NAME_MAX ||
        memchr(rest.data + 2, 0, rest.size - 2) != NULL) {
        return KITH_EFORMAT;
    }
    parts->kind = KITH_ROWNAME_XATTR;
    parts->attribute = kith_bytes_make(rest.data + 2, rest.size - 2);
    return KITH_OK;
}

/* Kernels refuse whole pages of a listing that has another one. */
static bool may_be_listed(struct kith_bytes name)
{
    bool dots = name.size <= 2 && memcmp(name.data, "..", name.size) == 0;
    return !dots && memchr(name.data, '/', name.size) == NULL;
}

enum kith_err kith_rowname_parse(struct kith_bytes name, struct kith_rowname_parts *ret_parts)
{
    struct kith_rowname_parts parts = {.kind = KITH_ROWNAME_SELF};
    enum kith_rowname_kind bare = KITH_ROWNAME_SELF;
    size_t base = 0;
    if (name.size >= 2 && name.data[0] == 0 && name.data[1] == 'i') {
        if (name.size < KITH_SHARED_NAME_SIZE) {
            return KITH_EFORMAT;
        }
        base = KITH_SHARED_NAME_SIZE;
        bare = KITH_ROWNAME_SHARED;
        for (unsigned i = 0; i < 8; i++) {
            parts.file_id = parts.file_id << 8 | name.data[2 + i];
        }
    } else if (name.size > 0 && name.data[0] != 0) {
        const uint8_t *nul = memchr(name.data, 0, name.size);
        base = nul == NULL ? name.size : (size_t)(nul - name.data);
        bare = KITH_ROWNAME_ENTRY;
        if (base > KITH_FS_NAME_MAX || !may_be_listed(kith_bytes_make(name.data, base))) {
            return KITH_EFORMAT;
        }
    }
    parts.base = kith_bytes_make(name.data, base);
    struct kith_bytes suffix = {NULL, 0}; /* the empty name has no data to point behind */
    if (name.size > base) {
        suffix = kith_bytes_make(name.data + base, name.size - base);
    }
    enum kith_err err = parse_suffix(suffix, bare, &parts);
    if (err == KITH_OK) {
        *ret_parts = parts;
    }
    return err;
}
