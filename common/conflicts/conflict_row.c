/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "conflicts/conflict_row.h"

#include <string.h>

#include "data/hlc.h"

bool kith_conflict_none(const struct kith_row *row)
{
    if (row->sibling_count != 1 || row->siblings[0].kind != KITH_SIBLING_VALUE) {
        return row->sibling_count <= 1;
    }
    enum kith_type type = kith_inode_record_type(row->siblings[0].value);
    return type != 0 && type != KITH_TYPE_DIR && type != KITH_TYPE_LINK;
}

/* In its place among those from [1] on: the latest first, of one time as they come. */
static void insert(struct kith_conflict *conflict, const struct kith_version *version)
{
    uint32_t at = conflict->count++;
    while (at > 1 && conflict->versions[at - 1].sibling->time < version->sibling->time) {
        conflict->versions[at] = conflict->versions[at - 1];
        at--;
    }
    conflict->versions[at] = *version;
}

static int compare(struct kith_bytes a, struct kith_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void writer_add(struct kith_conflict *conflict, struct kith_bytes writer)
{
    uint32_t at = conflict->writer_count;
    for (uint32_t i = 0; i < at; i++) {
        if (compare(conflict->writers[i], writer) == 0) {
            return;
        }
    }
    conflict->writer_count++;
    while (at > 0 && compare(conflict->writers[at - 1], writer) > 0) {
        conflict->writers[at] = conflict->writers[at - 1];
        at--;
    }
    conflict->writers[at] = writer;
}

enum kith_err kith_conflict_of(struct kith_arena *arena, const struct kith_row *row,
                               const struct kith_row *shared, struct kith_conflict *ret_conflict)
{
    struct kith_version *mine = NULL;
    struct kith_version *theirs = NULL;
    uint32_t mine_count = 0;
    uint32_t their_count = 0;
    struct kith_conflict conflict;
    memset(&conflict, 0, sizeof(conflict));
    enum kith_err err = kith_versions_shown(arena, row, KITH_ROWNAME_ENTRY, &mine, &mine_count);
    bool link = err == KITH_OK && mine_count > 0 && mine[0].record.type == KITH_TYPE_LINK;
    if (link && shared) {
        err = kith_versions_shown(arena, shared, KITH_ROWNAME_SHARED, &theirs, &their_count);
    }
    if (err != KITH_OK) {
        return err;
    }
    conflict.versions =
        kith_arena_calloc(arena, mine_count + their_count + 1u, sizeof(*conflict.versions));
    conflict.writers =
        kith_arena_calloc(arena, mine_count + their_count + 1u, sizeof(*conflict.writers));
    if (!conflict.versions || !conflict.writers) {
        return KITH_ENOMEM;
    }
    if (mine_count > 0 && !(link && their_count == 0)) { /* else it leads nowhere */
        conflict.versions[conflict.count++] = link ? theirs[0] : mine[0];
        for (uint32_t i = 1; i < mine_count; i++) {
            insert(&conflict, &mine[i]);
        }
        for (uint32_t i = 1; i < their_count; i++) {
            insert(&conflict, &theirs[i]);
        }
    }
    for (uint32_t i = 0; i < conflict.count; i++) {
        uint64_t ms = kith_hlc_ms(conflict.versions[i].sibling->time);
        writer_add(&conflict, conflict.versions[i].sibling->writer);
        if (i == 1 || (i > 1 && ms < conflict.since_ms)) {
            conflict.since_ms = ms;
        }
    }
    *ret_conflict = conflict;
    return KITH_OK;
}
