/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/msg.h"

#include "base/assert.h"

#define X(name, number, member, type) \
    _Static_assert(number < KITH_MSG_KINDS_MAX, "kinds are counted in arrays of that size");
KITH_MSG_MAP(X)
#undef X

const char *kith_msg_kind_name(enum kith_msg_kind kind)
{
    switch (kind) {
#define X(name, number, member, type) \
    case KITH_MSG_##name:             \
        return #name;
        KITH_MSG_MAP(X)
#undef X
    }
    return "unknown";
}

/* The message itself stays uninitialised: it is a union of structs of very different sizes, and who
 * fills one sets what belongs to it. */
struct kith_msg_box *kith_msg_box_new(size_t arena_limit_bytes)
{
    struct kith_msg_box *box = kith_malloc(sizeof *box);
    if (!box) {
        return NULL;
    }
    box->refs = 1;
    box->blob = NULL;
    box->msg.kind = (enum kith_msg_kind)0;
    box->msg.id = 0;
    kith_arena_init(&box->arena, arena_limit_bytes);
    return box;
}

struct kith_msg_box *kith_msg_box_hold(struct kith_msg_box *box)
{
    __atomic_add_fetch(&box->refs, 1, __ATOMIC_RELAXED);
    return box;
}

void kith_msg_box_drop(struct kith_msg_box *box)
{
    if (!box) {
        return;
    }
    uint32_t left = __atomic_sub_fetch(&box->refs, 1, __ATOMIC_ACQ_REL);
    KITH_ASSERT(left != UINT32_MAX);
    if (left == 0) {
        kith_arena_release(&box->arena);
        kith_blob_drop(box->blob);
        kith_free(box);
    }
}
