/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_groups.c - which groups there are that have a row without a name.
 *
 * That row is the first of its group; so each group costs one look at its first row, however many rows
 * it has, and no row is read. */
#include <string.h>

#include "store/store_int.h"

#define PREFIX_SIZE (2u + KITH_GROUP_SIZE)

/* Of the key of the first row of the next group. False: there is none. */
static bool next_group(uint8_t prefix[PREFIX_SIZE])
{
    uint32_t at = PREFIX_SIZE;
    while (at > 2 && prefix[at - 1] == 0xff) {
        prefix[--at] = 0;
    }
    if (at > 2) {
        prefix[at - 1]++;
    }
    return at > 2;
}

/* The first row at or behind the prefix: its group into it. ENOTFOUND: none of that volume. */
static enum kith_err find_group(struct store_worker *worker, uint32_t volume,
                                uint8_t prefix[PREFIX_SIZE], bool *ret_own)
{
    WT_CURSOR *cursor = worker->rows;
    WT_ITEM key = {.data = prefix, .size = PREFIX_SIZE};
    int exact = 0;
    cursor->set_key(cursor, &key);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && exact < 0) {
        ret = cursor->next(cursor);
    }
    ret = ret == 0 ? cursor->get_key(cursor, &key) : ret;
    if (ret != 0) {
        return ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
    }
    struct kith_group group;
    if (key.size < PREFIX_SIZE || memcmp(key.data, prefix, 2) != 0) {
        return KITH_ENOTFOUND;
    }
    memcpy(group.bytes, (const uint8_t *)key.data + 2, KITH_GROUP_SIZE);
    if (kith_group_volume(&group) != volume) {
        return KITH_ENOTFOUND;
    }
    memcpy(prefix + 2, group.bytes, KITH_GROUP_SIZE);
    *ret_own = key.size == PREFIX_SIZE;
    return KITH_OK;
}

enum kith_err store_groups(struct store_worker *worker, const struct kith_store_op *op,
                           struct kith_store_done *done)
{
    static const uint8_t first[KITH_GROUP_SIZE - 4];
    struct kith_group group = op->u.groups.has_after
                                  ? op->u.groups.after
                                  : kith_group_make(op->u.groups.volume, first);
    uint8_t prefix[PREFIX_SIZE] = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition};
    struct kith_group *groups =
        kith_arena_alloc(&worker->round->arena, KITH_GROUPS_MAX * sizeof *groups);
    if (groups == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    memcpy(prefix + 2, group.bytes, KITH_GROUP_SIZE);
    bool more = false;
    uint32_t count = 0;
    enum kith_err err =
        !op->u.groups.has_after || next_group(prefix) ? KITH_OK : KITH_ENOTFOUND;
    while (err == KITH_OK && !more) {
        bool own = false;
        err = find_group(worker, op->u.groups.volume, prefix, &own);
        if (err == KITH_OK && own) {
            more = count == KITH_GROUPS_MAX;
            if (!more) {
                memcpy(groups[count++].bytes, prefix + 2, KITH_GROUP_SIZE);
            }
        }
        if (err == KITH_OK && !next_group(prefix)) {
            err = KITH_ENOTFOUND;
        }
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "list of groups: %s", kith_err_text((int)err));
    }
    done->u.groups.more = more;
    done->u.groups.count = count;
    done->u.groups.groups = groups;
    return KITH_OK;
}
