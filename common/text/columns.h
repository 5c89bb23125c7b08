/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * columns.h - a screen of aligned columns: each as wide as its widest cell, two blanks between. */
#ifndef KITH_TEXT_COLUMNS_H
#define KITH_TEXT_COLUMNS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/alloc.h"

#define KITH_COLUMNS_MAX 16u

/* Of a row's first cell, where the screen shows colours. */
enum kith_colour { KITH_COLOUR_NONE, KITH_COLOUR_GOOD, KITH_COLOUR_WARN, KITH_COLOUR_BAD };

struct kith_columns_row;

/* init/release. One thread. */
struct kith_columns {
    struct kith_arena arena;
    uint32_t count;
    const char *const *heads; /* [count], the caller's */
    struct kith_columns_row *first, *last;
    bool failed; /* memory was short: nothing is printed */
};

void kith_columns_init(struct kith_columns *columns, const char *const heads[], uint32_t count);
void kith_columns_release(struct kith_columns *columns);
/* A row; the cells, as many as there are heads, are copied. */
void kith_columns_add(struct kith_columns *columns, enum kith_colour colour,
                      const char *const cells[]);
/* The heads, then the rows. False: memory was short. */
KITH_MUST_CHECK bool kith_columns_print(const struct kith_columns *columns, FILE *out,
                                        bool colours);

/* Whether a person looks at it who has not set NO_COLOR (no-color.org). */
bool kith_colours_shown(FILE *out);
/* He looks at what is printed to `frame`, too: it is brought to a terminal. NULL: to none. */
void kith_colours_show(FILE *frame);
/* "text", in that colour where colours are shown. */
void kith_colour_print(FILE *out, bool colours, enum kith_colour colour, const char *text);

#endif
