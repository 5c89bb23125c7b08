/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * place.c - see place.h. */
#include <errno.h>
#include <string.h>

#include "format/versions.h"
#include "fs/fs.h"
#include "fs/orphans/place.h"
#include "fs/rows/rows.h"

#define DEPTH_MAX 1024u

/* What a sibling says. The bytes are copied into the arena. */
static int decode(struct kith_arena *arena, const struct kith_sibling *sibling,
                  struct kith_inode_record *ret_record)
{
    struct kith_bytes value = sibling->value;
    value.data = kith_arena_copy(arena, value.data, value.size);
    if (value.data == NULL) {
        return ENOMEM;
    }
    int error = kith_errno(kith_inode_record_decode(arena, value, ret_record));
    if (ret_record->type != KITH_TYPE_DIR || ret_record->parent_name.size == 0 ||
        ret_record->parent_name.size > KITH_FS_NAME_MAX) {
        ret_record->has_parent = false;
    }
    return error;
}

/* A mark says where the directory was when it was removed, and what it was before stays beside it
 * (kith_dir_remove): of one that was moved meanwhile it says nothing. */
static int read_row(struct kith_arena *arena, const struct kith_row *row, struct kith_place *place)
{
    const struct kith_sibling *winner = kith_row_winner(row);
    int error = 0;
    if (winner != NULL) {
        place->dot = winner->dot;
        place->time = winner->time;
        error = decode(arena, winner, &place->record);
        place->state =
            error == 0 && place->record.has_parent ? KITH_PLACE_NAMED : KITH_PLACE_NONE;
    }
    for (uint32_t i = 0; error == 0 && i < row->sibling_count; i++) {
        const struct kith_sibling *mark = &row->siblings[i];
        struct kith_inode_record was;
        if (mark->kind != KITH_SIBLING_MARK) {
            continue;
        }
        error = decode(arena, mark, &was);
        if (error == 0 && was.has_parent &&
            (place->state == KITH_PLACE_NONE ||
             (kith_group_compare(&was.parent, &place->record.parent) == 0 &&
              kith_bytes_equal(was.parent_name, place->record.parent_name)))) {
            place->state = KITH_PLACE_MARKED;
            place->record = was;
            place->dot = mark->dot;
            place->time = mark->time > place->time ? mark->time : place->time;
        }
    }
    return error;
}

int kith_place_read(struct kith_fs *fs, struct kith_arena *arena, struct kith_place *place)
{
    struct kith_client_answer answer;
    struct kith_bytes self = kith_bytes_make(NULL, 0);
    place->state = KITH_PLACE_NONE;
    int error = kith_rows_get_strict(fs, &place->group, &self, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_row bare = {row->clock, 0, NULL};
        error = read_row(arena, row, place);
        if (error == 0) {
            error = kith_errno(kith_row_context(arena, &bare, NULL, &place->context));
        }
    }
    kith_client_answer_release(&answer);
    return error;
}

int kith_place_name(struct kith_fs *fs, struct kith_arena *arena, const struct kith_group *parent,
                    struct kith_bytes name, const struct kith_group *group, bool *ret_free,
                    bool *ret_there, struct kith_bytes *ret_context)
{
    struct kith_client_answer answer;
    struct kith_version *versions;
    uint32_t count = 0;
    int error = kith_rows_get_strict(fs, parent, &name, 1, &answer);
    *ret_there = false;
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        error = kith_errno(kith_versions_list(arena, row, &versions, &count));
        for (uint32_t i = 0; error == 0 && i < count; i++) {
            *ret_there = *ret_there ||
                         (versions[i].record.type == KITH_TYPE_DIR &&
                          memcmp(versions[i].record.dir_id,
                                 group->bytes + (KITH_GROUP_SIZE - KITH_DIR_ID_SIZE),
                                 KITH_DIR_ID_SIZE) == 0);
        }
        if (error == 0) {
            error = kith_errno(kith_row_context(arena, row, NULL, ret_context));
        }
    }
    *ret_free = count == 0;
    kith_client_answer_release(&answer);
    return error;
}

int kith_place_inside(struct kith_fs *fs, const struct kith_group *group, bool *ret_some)
{
    struct kith_bytes after = kith_bytes_make(NULL, 0);
    struct kith_arena arena;
    bool more = true;
    int error = 0;
    *ret_some = false;
    kith_arena_init(&arena, 0);
    for (unsigned page = 0; more && !*ret_some && error == 0; page++) {
        struct kith_client_answer answer;
        error = kith_rows_scan(fs, group, page == 0 ? NULL : &after, 0, true, &answer);
        for (uint32_t i = 0; error == 0 && i < answer.result.u.rows.row_count; i++) {
            const struct kith_client_row *row = &answer.result.u.rows.rows[i];
            struct kith_rowname_parts parts;
            *ret_some = *ret_some || (kith_rowname_parse(row->name, &parts) == KITH_OK &&
                                      parts.kind == KITH_ROWNAME_ENTRY &&
                                      kith_versions_winner(&row->row) != NULL);
        }
        if (error == 0) {
            more = answer.result.u.rows.more;
            after = answer.result.u.rows.last;
            after.data = kith_arena_copy(&arena, after.data, after.size);
            error = after.data == NULL ? ENOMEM : 0;
        }
        kith_client_answer_release(&answer);
    }
    kith_arena_release(&arena);
    return error;
}

bool kith_place_is_top(const struct kith_group *group)
{
    static const uint8_t zero[KITH_DIR_ID_SIZE];
    return memcmp(group->bytes + (KITH_GROUP_SIZE - KITH_DIR_ID_SIZE), zero, sizeof zero) == 0;
}

int kith_way_up(struct kith_fs *fs, struct kith_arena *arena, const struct kith_group *group,
                bool (*known)(void *arg, const struct kith_group *group), void *arg,
                struct kith_place **ret_last, const struct kith_place **ret_again)
{
    struct kith_place *last = NULL;
    const struct kith_group *next = group;
    uint32_t depth = 0;
    *ret_again = NULL;
    while (next != NULL) {
        struct kith_place *place = kith_arena_calloc(arena, 1, sizeof *place);
        if (place == NULL || depth == DEPTH_MAX) {
            return place == NULL ? ENOMEM : ELOOP;
        }
        place->group = *next;
        place->below = last;
        int error = kith_place_read(fs, arena, place);
        if (error != 0) {
            return error;
        }
        last = place;
        depth++;
        next = place->state == KITH_PLACE_NAMED ? &place->record.parent : NULL;
        for (const struct kith_place *at = last; next != NULL && at != NULL; at = at->below) {
            *ret_again = kith_group_compare(&at->group, next) == 0 ? at : *ret_again;
        }
        if (next != NULL && (*ret_again != NULL || kith_place_is_top(next) ||
                             (known != NULL && known(arg, next)))) {
            next = NULL;
        }
    }
    *ret_last = last;
    return 0;
}

static bool is_later(const struct kith_place *a, const struct kith_place *b)
{
    return a->time != b->time ? a->time > b->time : kith_dot_compare(&a->dot, &b->dot) > 0;
}

const struct kith_place *kith_way_latest(const struct kith_place *last,
                                         const struct kith_place *again)
{
    const struct kith_place *latest = last;
    for (const struct kith_place *at = last; at != again; at = at->below) {
        latest = is_later(at->below, latest) ? at->below : latest;
    }
    return latest;
}
