/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * twins.c - this client's own writes that may have a twin, so that it never sees one come back.
 *
 * A put that was tried at two coordinators may have drawn two dots; the answer told of one. The
 * other may lie on the disk of a node that ended between storing and sending. Once the write has
 * been replaced, nodes remove such a twin when they meet it (core/rowop.h), but until one has, a
 * read that reaches the node that is back finds it: a name that this mount has removed would be
 * listed again (invariant 9). So the client remembers each of its writes that was tried more than
 * once, for as long as nodes do, and leaves a sibling of it out of an answer whose clock covers the
 * dot that it was told of while that one is gone: the write has been replaced. The clock of the
 * answer stays, so the next write of the row covers the twin, too.
 *
 * Only puts with more than one try are noted: failures make them, a quiet cluster none. A ring: the
 * oldest goes first. */
#include <string.h>

#include "client/core.h"

#define KEEP_MS 3600000u /* as long as nodes keep request ids */

static bool request_equal(const struct kith_request_id *a, const struct kith_request_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static void drop_oldest(struct cc_twins *twins)
{
    struct cc_twin *oldest = &twins->ring[twins->first];
    kith_free(oldest->name);
    oldest->name = NULL;
    twins->first = (twins->first + 1) % CC_TWINS_MAX;
    twins->count--;
}

void cc_twins_release(struct cc_twins *twins)
{
    while (twins->count > 0) {
        drop_oldest(twins);
    }
    kith_free(twins->ring);
}

bool cc_twins_note(struct kith_client_core *core, const struct cc_op *op,
                   const struct kith_put_res *res)
{
    struct cc_twins *twins = &core->twins;
    const struct cc_put *put = &op->u.put;
    if (twins->ring == NULL) {
        twins->ring = kith_calloc(CC_TWINS_MAX, sizeof(*twins->ring));
    }
    for (uint32_t i = 0; twins->ring != NULL && i < put->update_count; i++) {
        struct kith_bytes name = put->updates[i].name;
        uint8_t *copy = kith_malloc(name.size + 1u); /* the empty name is one, too */
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, name.data == NULL ? (const uint8_t *)"" : name.data, name.size);
        if (twins->count == CC_TWINS_MAX) {
            drop_oldest(twins);
        }
        struct cc_twin *twin = &twins->ring[(twins->first + twins->count) % CC_TWINS_MAX];
        twin->group = put->group;
        twin->name = copy;
        twin->name_size = (uint32_t)name.size;
        twin->request = put->request;
        twin->dot = res->results[i].dot;
        twin->at_ms = core->now;
        twins->count++;
    }
    return twins->ring != NULL;
}

/* Whether the sibling is of a write of ours that has been replaced under another dot. */
static bool is_ghost(const struct cc_twins *twins, const struct kith_group *group,
                     struct kith_bytes name, const struct kith_row *row,
                     const struct kith_sibling *sibling)
{
    for (uint32_t i = 0; i < twins->count; i++) {
        const struct cc_twin *twin = &twins->ring[(twins->first + i) % CC_TWINS_MAX];
        if (request_equal(&twin->request, &sibling->request) &&
            kith_bytes_equal(kith_bytes_make(twin->name, twin->name_size), name) &&
            kith_group_compare(&twin->group, group) == 0) {
            return kith_clock_covers(&row->clock, &twin->dot) &&
                   kith_row_find(row, &twin->dot) == NULL;
        }
    }
    return false;
}

bool cc_twins_drop(struct kith_client_core *core, struct cc_op *op, const struct kith_group *group,
                   struct kith_bytes name, struct kith_row *row)
{
    struct cc_twins *twins = &core->twins;
    while (twins->count > 0 && core->now - twins->ring[twins->first].at_ms > KEEP_MS) {
        drop_oldest(twins);
    }
    if (twins->count == 0) {
        return true;
    }
    struct kith_sibling *rest = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        bool goes = is_ghost(twins, group, name, row, &row->siblings[i]);
        if (goes && rest == NULL) {
            rest = kith_arena_calloc(&op->arena, row->sibling_count, sizeof(*rest));
            if (rest == NULL) {
                return false;
            }
            memcpy(rest, row->siblings, i * sizeof(*rest));
        }
        if (!goes && rest != NULL) {
            rest[count] = row->siblings[i];
        }
        count += goes ? 0 : 1;
    }
    if (rest != NULL) {
        row->siblings = rest;
        row->sibling_count = count;
    }
    return true;
}
