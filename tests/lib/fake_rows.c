/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_rows.c - see fake_rows.h. */
#include "lib/fake_rows.h"

#include <string.h>

void fake_rows_release(struct fake_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        kith_buf_release(&rows->rows[i]->name);
        kith_buf_release(&rows->rows[i]->state);
        kith_free(rows->rows[i]);
    }
    kith_free(rows->rows);
}

size_t fake_rows_seek(const struct fake_rows *rows, const struct kith_group *group,
                      struct kith_bytes name)
{
    size_t low = 0, high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct fake_row *row = rows->rows[middle];
        int order = kith_group_compare(&row->group, group);
        if (order == 0) {
            order = kith_bytes_compare(kith_buf_bytes(&row->name), name);
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct fake_row *fake_rows_at(const struct fake_rows *rows, size_t at,
                              const struct kith_group *group)
{
    if (at < rows->count && kith_group_compare(&rows->rows[at]->group, group) == 0) {
        return rows->rows[at];
    }
    return NULL;
}

struct fake_row *fake_rows_find(const struct fake_rows *rows, const struct kith_group *group,
                                struct kith_bytes name)
{
    struct fake_row *row = fake_rows_at(rows, fake_rows_seek(rows, group, name), group);
    return row != NULL && kith_bytes_equal(kith_buf_bytes(&row->name), name) ? row : NULL;
}

enum kith_err fake_rows_store(struct fake_rows *rows, const struct kith_group *group,
                              struct kith_bytes name, const struct kith_row *state)
{
    struct fake_row *row = fake_rows_find(rows, group, name);
    if (row == NULL) {
        if (rows->count == rows->capacity) {
            size_t capacity = rows->capacity == 0 ? 64 : rows->capacity * 2;
            struct fake_row **grown =
                kith_realloc(rows->rows, capacity * sizeof(struct fake_row *));
            if (grown == NULL) {
                return KITH_ENOMEM;
            }
            rows->rows = grown;
            rows->capacity = capacity;
        }
        row = kith_calloc(1, sizeof(*row));
        if (row == NULL) {
            return KITH_ENOMEM;
        }
        row->group = *group;
        kith_buf_init(&row->name);
        kith_buf_init(&row->state);
        kith_buf_put(&row->name, name.data, name.size);
        size_t at = fake_rows_seek(rows, group, name);
        memmove(rows->rows + at + 1, rows->rows + at,
                (rows->count - at) * sizeof(struct fake_row *));
        rows->rows[at] = row;
        rows->count++;
    }
    kith_buf_clear(&row->state);
    kith_row_encode(state, &row->state);
    return row->state.failed || row->name.failed ? KITH_ENOMEM : KITH_OK;
}

enum kith_err fake_rows_load(const struct fake_rows *rows, struct kith_arena *arena,
                             const struct kith_group *group, struct kith_bytes name,
                             struct kith_row *ret_row)
{
    const struct fake_row *row = fake_rows_find(rows, group, name);
    struct kith_bytes state = {NULL, 0};
    if (row != NULL) {
        state.size = row->state.size;
        state.data = kith_arena_copy(arena, row->state.data, row->state.size);
        if (state.data == NULL) {
            return KITH_ENOMEM;
        }
    }
    return kith_row_decode(arena, state, ret_row);
}
