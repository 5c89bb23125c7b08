/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * field.h - a list of tagged fields: varint tag, sized value; tags strictly ascending.
 *
 * A reader passes over fields it does not know and keeps their bytes, so that an older program does
 * not lose what a newer one wrote; a field with a tag from KITH_FIELD_CRITICAL on changes the
 * meaning of the others, and who does not know it must not read on (EVERSION). Pure. */
#ifndef KITH_FORMAT_FIELD_H
#define KITH_FORMAT_FIELD_H

#include "base/buf.h"

#define KITH_FIELD_CRITICAL 128u

struct kith_field {
    uint64_t tag; /* from 1 */
    struct kith_bytes value;
    struct kith_bytes whole; /* tag, length and value */
};

struct kith_field_list {
    struct kith_reader reader;
    uint64_t last_tag;
};

void kith_field_put(struct kith_buf *buf, uint64_t tag, struct kith_bytes value);
void kith_field_list_init(struct kith_field_list *list, struct kith_bytes bytes);
/* The next field; ENOTFOUND at the end, EFORMAT. Borrows. */
KITH_MUST_CHECK enum kith_err kith_field_next(struct kith_field_list *list,
                                              struct kith_field *ret_field);

#endif
