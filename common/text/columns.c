/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "text/columns.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

struct kith_columns_row {
    struct kith_columns_row *next;
    enum kith_colour colour;
    const char *cells[KITH_COLUMNS_MAX];
};

void kith_columns_init(struct kith_columns *columns, const char *const heads[], uint32_t count)
{
    KITH_ASSERT(count > 0 && count <= KITH_COLUMNS_MAX);
    memset(columns, 0, sizeof(*columns));
    kith_arena_init(&columns->arena, 0);
    columns->heads = heads;
    columns->count = count;
}

void kith_columns_release(struct kith_columns *columns)
{
    kith_arena_release(&columns->arena);
}

void kith_columns_add(struct kith_columns *columns, enum kith_colour colour,
                      const char *const cells[])
{
    struct kith_columns_row *row = kith_arena_alloc(&columns->arena, sizeof(*row));
    columns->failed = columns->failed || !row;
    for (uint32_t i = 0; i < columns->count && !columns->failed; i++) {
        row->cells[i] = kith_arena_copy(&columns->arena, cells[i], strlen(cells[i]) + 1);
        columns->failed = !row->cells[i];
    }
    if (columns->failed) {
        return;
    }
    row->next = NULL;
    row->colour = colour;
    if (columns->last) {
        columns->last->next = row;
    } else {
        columns->first = row;
    }
    columns->last = row;
}

static FILE *shown;

void kith_colours_show(FILE *frame)
{
    shown = frame;
}

bool kith_colours_shown(FILE *out)
{
    const char *none = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (shown && out == shown) {
        return true;
    }
    return (!none || !*none) && term && strcmp(term, "dumb") != 0 && isatty(fileno(out));
}

void kith_colour_print(FILE *out, bool colours, enum kith_colour colour, const char *text)
{
    static const char *const codes[] = {"", "32", "33", "31"}; /* green, yellow, red */
    if (colours && colour != KITH_COLOUR_NONE) {
        (void)fprintf(out, "\033[%sm%s\033[0m", codes[colour], text);
    } else {
        (void)fputs(text, out);
    }
}

/* Nothing stands behind the last cell: a line that is copied ends where its text does. */
static void line_print(const struct kith_columns *columns, const char *const cells[],
                       const size_t widths[], FILE *out, bool colours, enum kith_colour colour)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        bool last = i + 1 == columns->count;
        size_t length = strlen(cells[i]);
        kith_colour_print(out, colours, i == 0 ? colour : KITH_COLOUR_NONE, cells[i]);
        (void)fprintf(out, "%*s", last ? 0 : (int)(widths[i] - length + 2), "");
    }
    (void)fputc('\n', out);
}

bool kith_columns_print(const struct kith_columns *columns, FILE *out, bool colours)
{
    size_t widths[KITH_COLUMNS_MAX];
    if (columns->failed) {
        return false;
    }
    for (uint32_t i = 0; i < columns->count; i++) {
        widths[i] = strlen(columns->heads[i]);
        for (const struct kith_columns_row *row = columns->first; row; row = row->next) {
            size_t length = strlen(row->cells[i]);
            widths[i] = length > widths[i] ? length : widths[i];
        }
    }
    line_print(columns, columns->heads, widths, out, false, KITH_COLOUR_NONE);
    for (const struct kith_columns_row *row = columns->first; row; row = row->next) {
        line_print(columns, row->cells, widths, out, colours, row->colour);
    }
    return true;
}
