/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * twins.c - this client's own writes that may have a twin, so that it never sees one come back.
 *
 * A put that was tried at two coordinators may have drawn two dots; the answer told of one. The
 * other may lie on the disk of a node that ended between storing and sending. Once the write has
 * been replaced, nodes remove such a twin when they meet it (core/rows/rowop.h), but until one has, a
 * read that reaches the node that is back finds it: a name that this mount has removed would be
 * listed again (invariant 9). So the client remembers each of its writes that was tried more than
 * once, for as long as nodes do, and leaves a sibling of it out of an answer whose clock covers the
 * dot that it was told of while that one is gone: the write has been replaced. The clock of the
 * answer stays, so the next write of the row covers the twin, too.
 *
 * And it removes what it leaves out, by a delete of its own that covers that sibling and keeps all
 * others. Nodes know the requests of a row only as long as few came after it (core/rows/rowop.h): a name
 * that was written often while a node was away has a twin on that one that no node can tell from a
 * concurrent write. All owners took it over, and every other client showed it, for good, where this
 * one did not.
 *
 * Only puts with more than one try are noted: failures make them, a quiet cluster none. A ring: the
 * oldest goes first. */
#include <string.h>

#include "base/assert.h"
#include "client/core.h"

#define KEEP_MS  3600000u /* as long as nodes keep request ids */
#define AGAIN_MS 1000u    /* a removal has ended by then, or is tried again by who meets it again */

static bool request_equal(const struct kith_request_id *a, const struct kith_request_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static void removal_drop(struct cc_twins *twins, struct cc_twin *twin)
{
    twins->due -= twin->removal != NULL ? 1 : 0;
    kith_free(twin->removal);
    twin->removal = NULL;
    twin->removal_size = 0;
}

static void drop_oldest(struct cc_twins *twins)
{
    struct cc_twin *oldest = &twins->ring[twins->first];
    kith_free(oldest->name);
    removal_drop(twins, oldest);
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
        twin->again_ms = 0;
        twins->count++;
    }
    return twins->ring != NULL;
}

/* The write of ours that the sibling is of, where that has been replaced under another dot; as the
 * answer says, or one before it in which there was nothing (one owner alone may be asked). */
static struct cc_twin *ghost_of(struct kith_client_core *core, const struct kith_group *group,
                                struct kith_bytes name, const struct kith_row *row,
                                const struct kith_sibling *sibling)
{
    struct cc_twins *twins = &core->twins;
    for (uint32_t i = 0; i < twins->count; i++) {
        struct cc_twin *twin = &twins->ring[(twins->first + i) % CC_TWINS_MAX];
        if (request_equal(&twin->request, &sibling->request) &&
            kith_bytes_equal(kith_bytes_make(twin->name, twin->name_size), name) &&
            kith_group_compare(&twin->group, group) == 0) {
            bool known = kith_clock_covers(&row->clock, &twin->dot) ||
                         cc_session_is_gone(&core->session, group, name, &twin->dot);
            bool replaced = known && kith_row_find(row, &twin->dot) == NULL;
            return replaced ? twin : NULL;
        }
    }
    return NULL;
}

/* The ghosts of a row are to be removed: it is `row` then, as far as it was read. Without memory,
 * or where it does not fit, it is left to who meets them next. */
static void removal_note(struct kith_client_core *core, struct cc_twin *ghost,
                         const struct kith_row *row)
{
    size_t size = kith_row_encoded_size(row);
    if (core->now < ghost->again_ms || size > KITH_ROW_STATE_MAX) {
        return;
    }
    removal_drop(&core->twins, ghost);
    ghost->removal = kith_malloc(size);
    if (ghost->removal != NULL) {
        (void)kith_row_write(row, ghost->removal);
        ghost->removal_size = size;
        core->twins.due++;
    }
}

void cc_twins_remove(struct kith_client_core *core)
{
    struct cc_twins *twins = &core->twins;
    for (uint32_t i = 0; i < twins->count && twins->due > 0; i++) {
        struct cc_twin *twin = &twins->ring[(twins->first + i) % CC_TWINS_MAX];
        if (twin->removal == NULL || twins->removing >= CC_TWINS_REMOVING_MAX) {
            removal_drop(twins, twin);
            continue;
        }
        struct kith_put_update update = {
            .name = kith_bytes_make(twin->name, twin->name_size),
            .context = kith_bytes_make(twin->removal, twin->removal_size)};
        struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
        op.u.put.group = twin->group;
        op.u.put.update_count = 1;
        op.u.put.updates = &update;
        if (cc_op_begin_inner(core, &op)) {
            twins->removing++;
            twin->again_ms = core->now + AGAIN_MS;
        }
        removal_drop(twins, twin);
    }
}

void cc_twins_removed(struct kith_client_core *core)
{
    KITH_ASSERT(core->twins.removing > 0);
    core->twins.removing--;
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
    struct cc_twin *ghost = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        struct cc_twin *of = ghost_of(core, group, name, row, &row->siblings[i]);
        if (of != NULL && rest == NULL) {
            rest = kith_arena_calloc(&op->arena, row->sibling_count, sizeof(*rest));
            if (rest == NULL) {
                return false;
            }
            memcpy(rest, row->siblings, i * sizeof(*rest));
        }
        if (of == NULL && rest != NULL) {
            rest[count] = row->siblings[i];
        }
        count += of == NULL ? 1 : 0;
        ghost = of != NULL ? of : ghost;
    }
    if (rest != NULL) {
        row->siblings = rest;
        row->sibling_count = count;
        removal_note(core, ghost, row);
    }
    return true;
}
